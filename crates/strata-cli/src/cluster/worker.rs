//! `strata worker`: runs tasks. Never reads a pipeline.

use super::{FAILED, TERMINATED, TlsArgs, USAGE};
use crate::args::bytes;
use crate::render;
use clap::Args;
use std::net::IpAddr;
use std::path::PathBuf;
use strata_runtime::Limits;
use strata_worker::{Config, Error};

/// Arguments of `strata worker`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WorkerArgs {
    /// The coordinator's worker port, HOST:PORT.
    #[arg(long, default_value = "127.0.0.1:7430")]
    pub(crate) coordinator: String,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) listen: IpAddr,
    /// Host that the coordinator and other workers reach this worker at; by default the address it listens on.
    #[arg(long)]
    pub(crate) advertise: Option<String>,
    /// Port that hands out pieces of exchanges; by default any that is free.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Port that takes tasks; by default any that is free. (A killed worker that starts again at fixed ports waits until it is known as lost.)
    #[arg(long, default_value_t = 0)]
    pub(crate) task_port: u16,
    /// Tasks at a time; by default one a core.
    #[arg(long)]
    pub(crate) slots: Option<usize>,
    /// Resident memory to stay within, e.g. `4GB`.
    #[arg(long, value_parser = bytes)]
    pub(crate) memory: Option<u64>,
    /// Folder for exchanges and for rows that do not fit the memory; `strata-worker` below it is emptied at every start.
    #[arg(long, default_value = ".strata/worker")]
    pub(crate) work_dir: PathBuf,
    /// Certificates.
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

pub(crate) async fn run(args: WorkerArgs) -> Result<u8, (u8, String)> {
    let usage = |text: String| (USAGE, text);
    let Some((host, port)) = args.coordinator.rsplit_once(':').and_then(|(h, p)| Some((h.to_owned(), p.parse().ok()?))) else {
        return Err(usage(format!("`--coordinator {}` is not HOST:PORT", args.coordinator)));
    };
    let slots = args.slots.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get())).max(1);
    let config = Config {
        coordinator_host: host,
        coordinator_port: port,
        listen: args.listen,
        advertise: args.advertise.clone().unwrap_or_else(|| args.listen.to_string()),
        port: args.port,
        task_port: args.task_port,
        slots,
        limits: Limits { memory_bytes: args.memory, threads: slots, ..Limits::default() },
        work_dir: args.work_dir.clone(),
        identity: args.tls.identity().map_err(usage)?,
    };
    render::line(&format!("worker with {slots} slot{} for {}", crate::render::plural(slots), args.coordinator));
    let told = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let telling = std::sync::Arc::clone(&told);
    // The engine drains its tasks on the same signal; this only remembers that there was one.
    tokio::spawn(async move {
        if let Ok(mut signal) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            signal.recv().await;
            telling.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    strata_worker::serve(config).await.map_err(|e| match e {
        Error::Open(_) | Error::Address(_) | Error::Tls(_) => (USAGE, e.to_string()),
        other => (FAILED, other.to_string()),
    })?;
    Ok(if told.load(std::sync::atomic::Ordering::Relaxed) { TERMINATED } else { 0 })
}
