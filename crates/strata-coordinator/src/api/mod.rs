//! The run API: gRPC and HTTP/JSON on one port over the store of runs. Never executes a run: it rings the leader's bell.

pub mod auth;
pub mod error;

mod grpc;
mod health;
mod http;
mod openapi;
mod place;
mod plans;
mod proto;
mod runs;
mod seats;
mod watch;
mod wire;

pub use auth::{Auth, FileError as AuthError};
pub use error::Error;

use crate::hub::Hub;
use axum::Router;
use axum::middleware;
use std::sync::Arc;

/// Bytes of a request: a pipeline of 1 MiB, escaped, and its variables.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 << 20;

/// What every call of the API works with.
pub(crate) struct Api {
    pub(crate) hub: Arc<Hub>,
    pub(crate) seats: seats::Seats,
}

/// The run API over `hub` for those whom `auth` admits: gRPC services (runs, plans, health, reflection) and the same as HTTP/JSON under `/v1`.
/// `ready` says whether new runs would be worked on; `/readyz` and the health service hand it on.
pub fn router(hub: Arc<Hub>, auth: Arc<Auth>, ready: impl Fn() -> bool + Send + Sync + 'static) -> Router {
    let api = Arc::new(Api { hub, seats: seats::Seats::default() });
    let ready: health::Ready = Arc::new(ready);
    let gate = auth::Gate { auth, api: Arc::clone(&api) };
    http::routes(Arc::clone(&api), Arc::clone(&ready))
        .merge(grpc::routes(&api, &ready))
        .fallback(http::no_route)
        .method_not_allowed_fallback(http::no_method)
        .layer(middleware::from_fn_with_state(gate, auth::admit))
}
