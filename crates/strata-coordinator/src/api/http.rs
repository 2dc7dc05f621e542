//! The services as HTTP/JSON under `/v1`, with events as server-sent events. Never decides anything: each call is handed to the service.

use crate::api::auth::Actor;
use crate::api::error::{Error, Result};
use crate::api::health::Ready;
use crate::api::{Api, REQUEST_BYTES_MAX, openapi, plans, runs, watch, wire};
use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::StreamExt;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use strata_store::{ListQuery, RunState};
use utoipa::IntoParams;

/// A silent stream says so as often, so that nobody between closes it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Shared = State<Arc<Api>>;
type Caller = Extension<Actor>;
type Body<T> = std::result::Result<Json<T>, JsonRejection>;
type Asked<T> = std::result::Result<Query<T>, QueryRejection>;

/// Routes of the HTTP API.
pub(crate) fn routes(api: Arc<Api>, ready: Ready) -> Router {
    Router::new()
        .route("/v1/runs", get(list_runs).post(create_run))
        .route("/v1/runs:lookup", get(lookup_run))
        // The router knows whole segments only: `{run_id}:verb` is taken apart in one place.
        .route("/v1/runs/{target}", get(look).post(act))
        .route("/v1/runs/{run_id}/logs", get(list_logs))
        .route("/v1/runs/{run_id}/report", get(get_report))
        .route("/v1/pipelines:check", post(check_pipeline))
        .route("/v1/pipelines:plan", post(plan_pipeline))
        .route("/v1/codes/{code}", get(explain_code))
        .route("/v1/openapi.json", get(openapi::document))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(move || readiness(ready)))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(api)
}

async fn readiness(ready: Ready) -> (StatusCode, &'static str) {
    match ready() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    }
}

/// No such path, in the form its caller understands.
pub(crate) async fn no_route(method: Method, headers: HeaderMap, uri: Uri) -> Response {
    if headers.get(header::CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"application/grpc")) {
        return tonic::Status::unimplemented("there is no such service").into_http::<axum::body::Body>();
    }
    let path: String = uri.path().chars().take(128).collect();
    Error::NotFound(format!("there is no `{method} {path}`\n  help: `/v1/openapi.json` lists what there is")).into_response()
}

/// The path is there, the method is not.
pub(crate) async fn no_method() -> Response {
    let mut response =
        Error::Invalid("this path does not take this method\n  help: see `/v1/openapi.json`".to_owned()).into_response();
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}

/// Asks for a run; gives it before work starts. The same request id with the same request gives the same run.
#[utoipa::path(
    post, path = "/v1/runs", tag = "runs", request_body = wire::CreateRun,
    responses(
        (status = 201, description = "The run was created.", body = wire::CreatedRun),
        (status = 200, description = "An earlier call had created it, or `validate_only`.", body = wire::CreatedRun),
        (status = 409, description = "The request id was used for another request; `run_id` is the run it made.", body = wire::Problem),
        (status = 422, description = "The pipeline is wrong; all diagnostics.", body = wire::Problem),
    )
)]
pub(crate) async fn create_run(State(api): Shared, Extension(actor): Caller, body: Body<wire::CreateRun>) -> Result<Response> {
    let asked = given(body)?.asked().ok_or_else(no_instant)?;
    let answer = runs::create(&api, &actor, asked).await?;
    let new = answer.run.as_ref().filter(|_| !answer.existing).map(|r| format!("/v1/runs/{}", r.run_id));
    let mut response = Json(wire::CreatedRun::from(answer)).into_response();
    if let Some(location) = new.and_then(|l| HeaderValue::from_str(&l).ok()) {
        *response.status_mut() = StatusCode::CREATED;
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Which runs to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only of this pipeline.
    pipeline: Option<String>,
    /// Only in these states, separated by commas, e.g. `QUEUED,RUNNING`.
    state: Option<String>,
    /// `created_at desc` (newest first, if absent) or `created_at`.
    order_by: Option<String>,
    /// Runs a page, 1–1000; absent: 50.
    page_size: Option<u32>,
    /// From the page before.
    page_token: Option<String>,
}

/// Runs, newest first.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", params(ListParams), responses((status = 200, description = "A page of runs.", body = wire::RunList)))]
pub(crate) async fn list_runs(
    State(api): Shared,
    Extension(actor): Caller,
    asked: Asked<ListParams>,
) -> Result<Json<wire::RunList>> {
    let asked = queried(asked)?;
    let state = |name: &str| {
        RunState::of_name(&name.trim().to_ascii_uppercase()).ok_or_else(|| {
            Error::Invalid(
                "a state of the list is none\n  help: QUEUED, RUNNING, CANCELLING, SUCCEEDED, FAILED, CANCELLED, TIMED_OUT"
                    .to_owned(),
            )
        })
    };
    let states = asked.state.iter().flat_map(|s| s.split(',')).filter(|s| !s.trim().is_empty()).map(state);
    let query = ListQuery {
        pipeline: asked.pipeline,
        states: states.collect::<Result<_>>()?,
        oldest_first: match asked.order_by.as_deref() {
            None | Some("" | "created_at desc") => false,
            Some("created_at" | "created_at asc") => true,
            Some(_) => return Err(Error::Invalid("runs are ordered by `created_at desc` or `created_at`".to_owned())),
        },
        page_token: asked.page_token,
        page_size: asked.page_size.unwrap_or(0),
    };
    Ok(Json(runs::list(&api, &actor, query).await?.into()))
}

/// Which run to look up.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LookupParams {
    /// Name of the pipeline.
    pipeline: String,
    /// The request id.
    request_id: String,
}

/// The run that a request id made.
#[utoipa::path(get, path = "/v1/runs:lookup", tag = "runs", params(LookupParams), responses(
    (status = 200, description = "The run.", body = wire::Run), (status = 404, description = "There is none.", body = wire::Problem)))]
pub(crate) async fn lookup_run(
    State(api): Shared,
    Extension(actor): Caller,
    asked: Asked<LookupParams>,
) -> Result<Json<wire::Run>> {
    let asked = queried(asked)?;
    Ok(Json(runs::lookup(&api, &actor, &asked.pipeline, &asked.request_id).await?.into()))
}

/// What the paths below a run may be asked with; each takes its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LookParams {
    timeout_seconds: Option<u64>,
    etag: Option<String>,
    after_seq: Option<u64>,
}

async fn look(
    State(api): Shared,
    Extension(actor): Caller,
    Path(target): Path<String>,
    headers: HeaderMap,
    asked: Asked<LookParams>,
) -> Result<Response> {
    let asked = queried(asked)?;
    match verb(&target) {
        (run_id, "") => get_run(&api, &actor, run_id).await,
        (run_id, "wait") => wait_run(&api, &actor, run_id, &asked).await,
        (run_id, "watch") => {
            let seen = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
            watch_run(&api, &actor, run_id, seen.or(asked.after_seq).unwrap_or(0)).await
        }
        _ => Err(no_verb()),
    }
}

async fn act(State(api): Shared, Extension(actor): Caller, Path(target): Path<String>, body: Bytes) -> Result<Response> {
    match verb(&target) {
        (run_id, "cancel") => cancel_run(&api, &actor, run_id, &body).await,
        (run_id, "resume") => resume_run(&api, &actor, run_id).await,
        _ => Err(no_verb()),
    }
}

fn verb(target: &str) -> (&str, &str) {
    target.split_once(':').unwrap_or((target, ""))
}

fn no_verb() -> Error {
    Error::NotFound(
        "a run has no such verb\n  help: GET takes `:wait` and `:watch`, POST takes `:cancel` and `:resume`".to_owned(),
    )
}

/// A run.
#[utoipa::path(get, path = "/v1/runs/{run_id}", tag = "runs", params(("run_id" = String, Path, description = "The run.")), responses(
    (status = 200, description = "The run.", body = wire::Run), (status = 404, description = "There is none.", body = wire::Problem)))]
pub(crate) async fn get_run(api: &Api, actor: &Actor, run_id: &str) -> Result<Response> {
    Ok(tagged(runs::get(api, actor, run_id).await?))
}

/// A run once its etag is another (without one: once it has ended), or as it is after the timeout.
#[utoipa::path(get, path = "/v1/runs/{run_id}:wait", tag = "runs",
    params(("run_id" = String, Path, description = "The run."),
        ("timeout_seconds" = Option<u64>, Query, description = "How long, at most 60; absent: 60."),
        ("etag" = Option<String>, Query, description = "Returns as soon as the run's etag is another.")),
    responses((status = 200, description = "The run.", body = wire::Run), (status = 404, description = "There is none.", body = wire::Problem)))]
pub(crate) async fn wait_run(api: &Api, actor: &Actor, run_id: &str, asked: &LookParams) -> Result<Response> {
    let timeout = asked.timeout_seconds.map(Duration::from_secs);
    Ok(tagged(runs::wait(api, actor, run_id, timeout, asked.etag.as_deref()).await?))
}

/// What happened in a run and what happens, as server-sent events until it has ended. The id of an event is its number; progress has none.
#[utoipa::path(get, path = "/v1/runs/{run_id}:watch", tag = "runs",
    params(("run_id" = String, Path, description = "The run."),
        ("after_seq" = Option<u64>, Query, description = "Only stored events after this one."),
        ("Last-Event-ID" = Option<u64>, Header, description = "The same, as browsers send it when they reconnect.")),
    responses((status = 200, description = "Events.", body = wire::RunEvent, content_type = "text/event-stream"),
        (status = 404, description = "There is no such run.", body = wire::Problem)))]
pub(crate) async fn watch_run(api: &Api, actor: &Actor, run_id: &str, after_seq: u64) -> Result<Response> {
    let items = watch::watch(api, actor, run_id, after_seq).await?;
    let events = items.map(|item| match item {
        Ok(item) => {
            let event = wire::RunEvent::from(item);
            let sent = sse::Event::default().event(&event.kind);
            let sent = if event.seq > 0 { sent.id(event.seq.to_string()) } else { sent };
            sent.json_data(&event)
        }
        Err(error) => sse::Event::default().event("problem").json_data(error.problem()),
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// Asks a run to stop; returns at once. A run that has ended stays as it is.
#[utoipa::path(post, path = "/v1/runs/{run_id}:cancel", tag = "runs", request_body = Option<wire::CancelRun>,
    params(("run_id" = String, Path, description = "The run.")),
    responses((status = 200, description = "The run.", body = wire::Run), (status = 404, description = "There is none.", body = wire::Problem)))]
pub(crate) async fn cancel_run(api: &Api, actor: &Actor, run_id: &str, body: &Bytes) -> Result<Response> {
    let asked: wire::CancelRun = match body.is_empty() {
        true => wire::CancelRun::default(),
        false => serde_json::from_slice(body).map_err(|e| Error::Invalid(format!("the body cannot be read: {e}")))?,
    };
    Ok(tagged(runs::cancel(api, actor, run_id, &asked.reason).await?))
}

/// Queues a failed, cancelled or timed-out run again, keeping its finished steps.
#[utoipa::path(post, path = "/v1/runs/{run_id}:resume", tag = "runs", params(("run_id" = String, Path, description = "The run.")),
    responses((status = 200, description = "The run.", body = wire::Run), (status = 404, description = "There is none.", body = wire::Problem),
        (status = 409, description = "It succeeded, or is still being cancelled.", body = wire::Problem)))]
pub(crate) async fn resume_run(api: &Api, actor: &Actor, run_id: &str) -> Result<Response> {
    Ok(tagged(runs::resume(api, actor, run_id).await?))
}

/// Which lines of a log.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogParams {
    /// Only lines after this one.
    after_seq: u64,
    /// Lines a page, 1–10000; absent: 1000.
    page_size: u32,
}

/// Lines of a run's log.
#[utoipa::path(get, path = "/v1/runs/{run_id}/logs", tag = "runs", params(("run_id" = String, Path, description = "The run."), LogParams),
    responses((status = 200, description = "Lines.", body = wire::LogPage), (status = 404, description = "There is no such run.", body = wire::Problem)))]
pub(crate) async fn list_logs(
    State(api): Shared,
    Extension(actor): Caller,
    Path(run_id): Path<String>,
    asked: Asked<LogParams>,
) -> Result<Json<wire::LogPage>> {
    let asked = queried(asked)?;
    Ok(Json(runs::logs(&api, &actor, &run_id, asked.after_seq, asked.page_size).await?.into()))
}

/// The run report so far, as `strata run --output json` prints it.
#[utoipa::path(get, path = "/v1/runs/{run_id}/report", tag = "runs", params(("run_id" = String, Path, description = "The run.")),
    responses((status = 200, description = "The report.", body = Object), (status = 404, description = "No such run, or no report yet.", body = wire::Problem)))]
pub(crate) async fn get_report(State(api): Shared, Extension(actor): Caller, Path(run_id): Path<String>) -> Result<Response> {
    Ok(Json(runs::report(&api, &actor, &run_id).await?).into_response())
}

/// Everything wrong with a pipeline at once, as far as it can be said without its files.
#[utoipa::path(post, path = "/v1/pipelines:check", tag = "pipelines", request_body = wire::PipelineSpec,
    responses((status = 200, description = "What was found.", body = wire::CheckedPipeline)))]
pub(crate) async fn check_pipeline(
    State(api): Shared,
    Extension(actor): Caller,
    body: Body<wire::PipelineSpec>,
) -> Result<Json<wire::CheckedPipeline>> {
    let body = given(body)?.body().ok_or_else(no_instant)?;
    Ok(Json(plans::check(&api, &actor, body).await?.into()))
}

/// What a run would do: steps, files, rows and bytes to read.
#[utoipa::path(post, path = "/v1/pipelines:plan", tag = "pipelines", request_body = wire::PipelineSpec,
    responses((status = 200, description = "The plan.", body = wire::PlannedPipeline),
        (status = 422, description = "The pipeline is wrong; all diagnostics.", body = wire::Problem)))]
pub(crate) async fn plan_pipeline(
    State(api): Shared,
    Extension(actor): Caller,
    body: Body<wire::PipelineSpec>,
) -> Result<Json<wire::PlannedPipeline>> {
    let body = given(body)?.body().ok_or_else(no_instant)?;
    Ok(Json(plans::plan(&api, &actor, body).await?.into()))
}

/// The page of a diagnostic code.
#[utoipa::path(get, path = "/v1/codes/{code}", tag = "pipelines", params(("code" = String, Path, description = "The code, e.g. `S0302`.")),
    responses((status = 200, description = "The page.", body = wire::CodePage), (status = 404, description = "There is none.", body = wire::Problem)))]
pub(crate) async fn explain_code(Extension(actor): Caller, Path(code): Path<String>) -> Result<Json<wire::CodePage>> {
    let (code, page) = plans::explain(&actor, &code)?;
    Ok(Json(wire::CodePage { code, page }))
}

/// A run with its etag as a header as well.
fn tagged(run: strata_store::RunRecord) -> Response {
    let etag = HeaderValue::from_str(&format!("\"{}\"", run.etag()));
    let mut response = Json(wire::Run::from(run)).into_response();
    if let Ok(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

fn given<T>(body: Body<T>) -> Result<T> {
    body.map(|Json(value)| value).map_err(|rejected| Error::Invalid(format!("the body cannot be read: {}", rejected.body_text())))
}

fn queried<T>(asked: Asked<T>) -> Result<T> {
    asked
        .map(|Query(value)| value)
        .map_err(|rejected| Error::Invalid(format!("the query cannot be read: {}", rejected.body_text())))
}

fn no_instant() -> Error {
    Error::Invalid("`as_of` is not an instant\n  help: write it as RFC 3339, e.g. `2026-01-01T00:00:00Z`".to_owned())
}
