//! The OpenAPI document of the HTTP API. Never lists what is not served, nor hides what is.

use crate::api::{http, wire};
use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(title = "Strata", description = "Runs of pipelines: created once, watched, stopped, resumed. The same as the gRPC services of `strata.v1`."),
    paths(
        http::create_run,
        http::list_runs,
        http::lookup_run,
        http::get_run,
        http::wait_run,
        http::watch_run,
        http::cancel_run,
        http::resume_run,
        http::list_logs,
        http::get_report,
        http::check_pipeline,
        http::plan_pipeline,
        http::explain_code
    ),
    components(schemas(wire::RunEvent, wire::Problem)),
    modifiers(&Tokens),
    security(("token" = []))
)]
struct Document;

/// Calls carry a token.
struct Tokens;

impl utoipa::Modify for Tokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// `GET /v1/openapi.json`.
pub(crate) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
