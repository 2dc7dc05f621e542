//! `strata coordinator`: the run API and the scheduler in one process. Never runs a task.

use super::{FAILED, TlsArgs, USAGE, store, told_to_stop};
use crate::render;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use strata_coordinator::serve::{self, Config, Coordinator};
use strata_coordinator::{Auth, AuthError};
use strata_runtime::Limits;

/// Arguments of `strata coordinator`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CoordinatorArgs {
    /// Where the run API listens (gRPC and HTTP).
    #[arg(long, default_value = "127.0.0.1:7420")]
    pub(crate) listen: SocketAddr,
    /// Where workers report.
    #[arg(long, default_value = "127.0.0.1:7430")]
    pub(crate) workers_listen: SocketAddr,
    /// Host that workers reach this coordinator at.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) advertise: String,
    /// Where runs are kept: a SQLite file, `postgres://…`, or `env:NAME` of a variable that holds the address.
    #[arg(long, default_value = ".strata/runs.db")]
    pub(crate) store: String,
    /// Folder for tables between steps (a path or `s3://…`), which coordinator and workers must all reach.
    #[arg(long, default_value = ".strata/work")]
    pub(crate) work: String,
    /// Runs at a time.
    #[arg(long, default_value_t = 4)]
    pub(crate) runs: usize,
    /// File of tokens: who may do what.
    #[arg(long)]
    pub(crate) tokens: Option<PathBuf>,
    /// Certificates.
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

pub(crate) async fn run(args: CoordinatorArgs) -> Result<u8, (u8, String)> {
    let coordinator = start(&args).await?;
    render::line(&format!("run API on {}, workers report to {}", coordinator.api, coordinator.workers));
    let code = told_to_stop().await;
    coordinator.stop().await;
    render::line("stopped; runs at work go on when a coordinator is started again");
    Ok(code)
}

/// Starts it.
pub(crate) async fn start(args: &CoordinatorArgs) -> Result<Coordinator, (u8, String)> {
    let identity = args.tls.identity().map_err(|e| (USAGE, e))?;
    let auth = match &args.tokens {
        None => Auth::open(),
        Some(path) => Auth::load(path).map_err(|e: AuthError| (USAGE, e.to_string()))?,
    };
    let store = store::open(&args.store).await.map_err(|e| (FAILED, e))?;
    let work = match strata_runtime::store::place(&args.work) {
        // Workers need not share this process's current folder.
        Ok(place) => place.to_string(),
        Err(e) => return Err((USAGE, e.to_string())),
    };
    let config = Config {
        listen: args.listen,
        workers_listen: args.workers_listen,
        advertise: args.advertise.clone(),
        store,
        work,
        runs_max: args.runs,
        limits: Limits::default(),
        identity,
        auth,
    };
    serve::start(config).await.map_err(|e| match e {
        serve::Error::Open { .. } | serve::Error::Tls(_) => (USAGE, e.to_string()),
        other => (FAILED, other.to_string()),
    })
}
