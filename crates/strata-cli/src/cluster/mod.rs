//! Verbs of the processes of a cluster. Never runs a step itself.

mod coordinator;
mod dev;
mod gc;
mod store;
mod worker;

use crate::render;
use clap::Args;
use std::path::PathBuf;
use strata_runtime::cluster::Identity;

pub(crate) use coordinator::CoordinatorArgs;
pub(crate) use dev::DevArgs;
pub(crate) use gc::GcArgs;
pub(crate) use worker::WorkerArgs;

/// A process that could not do its work.
const FAILED: u8 = 1;
/// Usage.
const USAGE: u8 = 2;
/// Ended by SIGTERM, in order.
const TERMINATED: u8 = 143;

/// Certificates: who this process is, and whom it believes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TlsArgs {
    /// Certificate of the cluster's own authority (PEM).
    #[arg(long, requires = "tls_cert", requires = "tls_key")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Certificate of this process (PEM), for the host names and addresses that others reach it at.
    #[arg(long, requires = "tls_ca")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, requires = "tls_ca")]
    pub(crate) tls_key: Option<PathBuf>,
}

impl TlsArgs {
    fn identity(&self) -> Result<Option<Identity>, String> {
        match (&self.tls_ca, &self.tls_cert, &self.tls_key) {
            (Some(ca), Some(cert), Some(key)) => Identity::load(ca, cert, key).map(Some).map_err(|e| e.to_string()),
            _ => Ok(None),
        }
    }
}

/// `strata coordinator`.
pub(crate) async fn coordinator(args: CoordinatorArgs) -> u8 {
    said(coordinator::run(args).await)
}

/// `strata worker`.
pub(crate) async fn worker(args: WorkerArgs) -> u8 {
    said(worker::run(args).await)
}

/// `strata dev`.
pub(crate) async fn dev(args: DevArgs) -> u8 {
    said(dev::run(args).await)
}

/// `strata gc`.
pub(crate) async fn gc(args: GcArgs) -> u8 {
    said(gc::run(args).await)
}

fn said(result: Result<u8, (u8, String)>) -> u8 {
    result.unwrap_or_else(|(code, message)| {
        render::line(&format!("error: {message}"));
        code
    })
}

/// Waits for SIGINT or SIGTERM; gives the exit code that says which.
async fn told_to_stop() -> u8 {
    let interrupted = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminated) => tokio::select! {
            _ = interrupted => 130,
            _ = terminated.recv() => TERMINATED,
        },
        Err(_) => {
            let _ = interrupted.await;
            130
        }
    }
}
