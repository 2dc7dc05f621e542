//! The services as gRPC, with health and reflection. Never decides anything: each call is handed to the service and its answer written down.

use crate::api::auth::Actor;
use crate::api::error::Error;
use crate::api::health::{HealthService, Ready};
use crate::api::{Api, REQUEST_BYTES_MAX, plans, proto, runs, watch};
use axum::Router;
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use strata_proto::v1::plan_service_server::{PlanService, PlanServiceServer};
use strata_proto::v1::run_service_server::{RunService, RunServiceServer};
use strata_proto::v1::*;
use strata_store::ListQuery;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_server::HealthServer;

type Answer<T> = Result<Response<T>, Status>;

struct Grpc(Arc<Api>);

/// Routes of every gRPC service.
pub(crate) fn routes(api: &Arc<Api>, ready: &Ready) -> Router {
    let grpc = || Grpc(Arc::clone(api));
    let routes = Routes::new(RunServiceServer::new(grpc()).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(PlanServiceServer::new(grpc()).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(HealthServer::new(HealthService { ready: Arc::clone(ready) }));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    match reflection {
        Ok(reflection) => routes.add_service(reflection),
        Err(error) => {
            tracing::error!(%error, "no reflection: the descriptors of the API cannot be read");
            routes
        }
    }
    .into_axum_router()
}

/// Who calls and what is asked.
fn opened<T>(request: Request<T>) -> Result<(Actor, T), Status> {
    let (_, extensions, message) = request.into_parts();
    match extensions.get::<Actor>() {
        Some(actor) => Ok((actor.clone(), message)),
        None => Err(Error::Unauthenticated.into()),
    }
}

fn one<T>(message: T) -> Answer<T> {
    Ok(Response::new(message))
}

#[tonic::async_trait]
impl RunService for Grpc {
    async fn create_run(&self, request: Request<CreateRunRequest>) -> Answer<CreateRunResponse> {
        let (actor, request) = opened(request)?;
        let answer = runs::create(&self.0, &actor, proto::asked(request)?).await?;
        let diagnostics = proto::diagnostics(&answer.checked.source, &answer.checked.found);
        one(CreateRunResponse { run: answer.run.map(proto::run), existing: answer.existing, diagnostics })
    }

    async fn get_run(&self, request: Request<GetRunRequest>) -> Answer<GetRunResponse> {
        let (actor, request) = opened(request)?;
        let run = runs::get(&self.0, &actor, &request.run_id).await?;
        one(GetRunResponse { run: Some(proto::run(run)) })
    }

    async fn list_runs(&self, request: Request<ListRunsRequest>) -> Answer<ListRunsResponse> {
        let (actor, request) = opened(request)?;
        let query = ListQuery {
            pipeline: Some(request.pipeline).filter(|p| !p.is_empty()),
            states: request.states.into_iter().map(proto::state_of).collect::<Result<_, Error>>()?,
            oldest_first: request.oldest_first,
            page_token: Some(request.page_token).filter(|t| !t.is_empty()),
            page_size: request.page_size,
        };
        let page = runs::list(&self.0, &actor, query).await?;
        let runs = page.runs.into_iter().map(proto::run).collect();
        one(ListRunsResponse { runs, next_page_token: page.next_page_token.unwrap_or_default() })
    }

    async fn lookup_run(&self, request: Request<LookupRunRequest>) -> Answer<LookupRunResponse> {
        let (actor, request) = opened(request)?;
        let run = runs::lookup(&self.0, &actor, &request.pipeline, &request.request_id).await?;
        one(LookupRunResponse { run: Some(proto::run(run)) })
    }

    async fn wait_run(&self, request: Request<WaitRunRequest>) -> Answer<WaitRunResponse> {
        let (actor, request) = opened(request)?;
        let timeout = request.timeout.map(proto::span_of_time).transpose()?;
        let etag = Some(request.etag.as_str()).filter(|e| !e.is_empty());
        let run = runs::wait(&self.0, &actor, &request.run_id, timeout, etag).await?;
        one(WaitRunResponse { run: Some(proto::run(run)) })
    }

    type WatchRunStream = Pin<Box<dyn Stream<Item = Result<WatchRunResponse, Status>> + Send>>;

    async fn watch_run(&self, request: Request<WatchRunRequest>) -> Answer<Self::WatchRunStream> {
        let (actor, request) = opened(request)?;
        let items = watch::watch(&self.0, &actor, &request.run_id, request.after_seq).await?;
        let events = items.map(|item| match item {
            Ok(item) => Ok(WatchRunResponse { event: Some(proto::event(item)) }),
            Err(error) => Err(error.into()),
        });
        Ok(Response::new(Box::pin(events)))
    }

    async fn cancel_run(&self, request: Request<CancelRunRequest>) -> Answer<CancelRunResponse> {
        let (actor, request) = opened(request)?;
        let run = runs::cancel(&self.0, &actor, &request.run_id, &request.reason).await?;
        one(CancelRunResponse { run: Some(proto::run(run)) })
    }

    async fn resume_run(&self, request: Request<ResumeRunRequest>) -> Answer<ResumeRunResponse> {
        let (actor, request) = opened(request)?;
        let run = runs::resume(&self.0, &actor, &request.run_id).await?;
        one(ResumeRunResponse { run: Some(proto::run(run)) })
    }

    async fn list_logs(&self, request: Request<ListLogsRequest>) -> Answer<ListLogsResponse> {
        let (actor, request) = opened(request)?;
        let lines = runs::logs(&self.0, &actor, &request.run_id, request.after_seq, request.page_size).await?;
        one(ListLogsResponse { lines: lines.into_iter().map(proto::log_line).collect() })
    }

    async fn get_report(&self, request: Request<GetReportRequest>) -> Answer<GetReportResponse> {
        let (actor, request) = opened(request)?;
        let report = runs::report(&self.0, &actor, &request.run_id).await?;
        one(GetReportResponse { report_json: report.to_string() })
    }
}

#[tonic::async_trait]
impl PlanService for Grpc {
    async fn check_pipeline(&self, request: Request<CheckPipelineRequest>) -> Answer<CheckPipelineResponse> {
        let (actor, request) = opened(request)?;
        let checked = plans::check(&self.0, &actor, proto::body(request.spec)?).await?;
        one(CheckPipelineResponse { diagnostics: proto::diagnostics(&checked.source, &checked.found) })
    }

    async fn plan_pipeline(&self, request: Request<PlanPipelineRequest>) -> Answer<PlanPipelineResponse> {
        let (actor, request) = opened(request)?;
        let plan = plans::plan(&self.0, &actor, proto::body(request.spec)?).await?;
        one(proto::plan(plan))
    }

    async fn explain_code(&self, request: Request<ExplainCodeRequest>) -> Answer<ExplainCodeResponse> {
        let (actor, request) = opened(request)?;
        let (code, page) = plans::explain(&actor, &request.code)?;
        one(ExplainCodeResponse { code, page: page.to_owned() })
    }
}
