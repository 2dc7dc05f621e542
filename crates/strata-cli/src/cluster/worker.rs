//! `strata worker`: runs tasks. Never reads a pipeline.

use super::{FAILED, TlsArgs, USAGE, told_to_stop};
use crate::args::bytes;
use crate::render;
use clap::Args;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use strata_runtime::Limits;
use strata_worker::{Config, Ended, Error};

/// The coordinator is away; another try may find it.
const CUT_OFF: u8 = 75;
/// Before a worker that was cut off starts anew: a coordinator that sends every worker away must not be run over.
const PAUSE: Duration = Duration::from_secs(1);
/// Set for a worker that was cut off and starts anew.
const ANEW: &str = "STRATA_WORKER_ANEW";

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
        anew: std::env::var_os(ANEW).is_some(),
    };
    render::line(&format!("worker with {slots} slot{} for {}", crate::render::plural(slots), args.coordinator));
    match strata_worker::serve(config, told_to_stop()).await {
        Ok(Ended::Told(code)) => Ok(code),
        Ok(Ended::CutOff) => Err((CUT_OFF, format!("cut off from the coordinator, and {}", start_anew().await))),
        Err(e @ (Error::Open(_) | Error::Address(_) | Error::Tls(_))) => Err((USAGE, e.to_string())),
        Err(e) => Err((FAILED, e.to_string())),
    }
}

/// Starts this program again in the place of this process, with the same arguments: what its tasks still do ends with it. Gives why it cannot.
async fn start_anew() -> String {
    use std::os::unix::process::CommandExt;
    render::line("cut off from the coordinator: starting anew");
    tokio::time::sleep(PAUSE).await;
    match std::env::current_exe() {
        Ok(own) => format!(
            "cannot start anew: {}",
            std::process::Command::new(own).args(std::env::args_os().skip(1)).env(ANEW, "1").exec()
        ),
        Err(e) => format!("cannot start anew: {e}"),
    }
}
