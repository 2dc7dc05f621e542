//! Whether the coordinator answers (`/healthz`) and whether new runs would be worked on (`/readyz`, `grpc.health.v1`). Never asks for a token.

use futures::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// Whether new runs would be worked on.
pub(crate) type Ready = Arc<dyn Fn() -> bool + Send + Sync>;

/// How often a watched health is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The health service.
pub(crate) struct HealthService {
    pub(crate) ready: Ready,
}

fn status(ready: &Ready) -> ServingStatus {
    if ready() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// The whole server and its two services have one health.
fn known(service: &str) -> bool {
    matches!(service, "" | "strata.v1.RunService" | "strata.v1.PlanService")
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        match known(&request.get_ref().service) {
            true => Ok(Response::new(response(status(&self.ready)))),
            false => Err(Status::not_found("there is no such service")),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (ready, known) = (Arc::clone(&self.ready), known(&request.get_ref().service));
        let changes = futures::stream::unfold(None, move |before| {
            let ready = Arc::clone(&ready);
            async move {
                loop {
                    let now = if known { status(&ready) } else { ServingStatus::ServiceUnknown };
                    if before != Some(now) {
                        return Some((Ok(response(now)), Some(now)));
                    }
                    tokio::time::sleep(LOOK).await;
                }
            }
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
