//! A worker: Ballista's executor with our session, functions, operators and limits. Never sees a pipeline, and never commits anything.

mod engine;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::BallistaError;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_executor::health::ExecutorHealth;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use strata_runtime::cluster::tls::{self, tunnel};
use strata_runtime::cluster::{self, ClusterCodec, Identity, MESSAGE_BYTES_MAX};
use strata_runtime::{Limits, LogicalCodec};
use tokio::net::TcpListener;

/// Heartbeats a worker misses before it is lost come every so many seconds; the engine's default is 60.
const HEARTBEAT_SECONDS: u64 = 2;
/// How long a starting worker tries to reach its coordinator.
const CONNECT_SECONDS: u16 = 60;
/// What a finished plan left behind is removed after this, if the coordinator's own order to remove it got lost.
const LEFT_BEHIND_SECONDS: u64 = 3600;
/// How often is looked for such.
const SWEEP_SECONDS: u64 = 300;
/// A killed worker is known to be lost after 10 s; and some for the look-out.
const GONE: Duration = Duration::from_secs(15);
/// How often is looked whether the coordinator knows this worker.
const LOOK: Duration = Duration::from_millis(50);
/// Folder below the work folder that belongs to the worker alone: it is emptied at every start.
const OWN_FOLDER: &str = "strata-worker";

/// How a worker runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Host of the coordinator's worker port.
    pub coordinator_host: String,
    /// The coordinator's worker port.
    pub coordinator_port: u16,
    /// Address it listens on.
    pub listen: IpAddr,
    /// Host that others reach it at.
    pub advertise: String,
    /// Port that hands out pieces of exchanges; 0: any that is free.
    pub port: u16,
    /// Port that takes tasks; 0: any that is free.
    pub task_port: u16,
    /// Tasks at a time.
    pub slots: usize,
    /// Memory and disk.
    pub limits: Limits,
    /// Folder for exchanges and spilled rows.
    pub work_dir: PathBuf,
    /// Who it is; needed beyond this machine.
    pub identity: Option<Identity>,
    /// Whether it was cut off from its coordinator before: then it knocks until it is let in again. One that never was let in says why.
    pub anew: bool,
}

/// Why a worker did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may not listen like that.
    #[error(
        "`{0}` can be reached from other machines, and there are no certificates\n  help: give `--tls-ca`, `--tls-cert` and `--tls-key`, or listen on 127.0.0.1"
    )]
    Open(IpAddr),
    /// The tunnel needs one address.
    #[error(
        "with certificates a worker needs an address of its own: `{0}` is none\n  help: `--listen ADDRESS` with the address that others reach this machine at"
    )]
    Address(IpAddr),
    /// A port or folder cannot be used.
    #[error("cannot use {what}: {why}")]
    Unusable {
        /// Which.
        what: String,
        /// Why.
        why: String,
    },
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The coordinator does not take it.
    #[error("the coordinator refuses this worker: {0}")]
    Refused(String),
    /// The engine stopped.
    #[error(
        "the worker stopped: {0}\n  help: is the coordinator up, of the same version, and are the certificates of one authority?"
    )]
    Engine(String),
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended<T> {
    /// It was told to.
    Told(T),
    /// Its coordinator did not answer for a while, or takes it for lost: the process is to start anew, without what it still does.
    CutOff,
}

/// Works until it is told to stop, or is cut off from its coordinator. `told` resolves when SIGTERM or SIGINT came: the engine hears these
/// signals itself, and hands its tasks back. Errors: as [`Error`] says.
pub async fn serve<T>(config: Config, told: impl Future<Output = T>) -> Result<Ended<T>, Error> {
    if !config.listen.is_loopback() && config.identity.is_none() {
        return Err(Error::Open(config.listen));
    }
    strata_runtime::secrets::install();
    let before = config.work_dir.join(OWN_FOLDER).exists();
    let own = own_folder(&config.work_dir)?;
    if before && (config.port != 0 || config.task_port != 0) {
        // INVARIANT: at an address there is one worker for as long as anybody may ask it for pieces of exchanges: one that was killed is lost
        // before another takes its address, or the other would be asked for pieces that the first one made.
        tracing::warn!("a worker was killed here: waiting {} s until the coordinator knows", GONE.as_secs());
        tokio::time::sleep(GONE).await;
    }
    let config = Config {
        port: if config.port == 0 { free_port(config.listen)? } else { config.port },
        task_port: if config.task_port == 0 { free_port(config.listen)? } else { config.task_port },
        ..config
    };
    let inner = match &config.identity {
        None => config.listen,
        Some(identity) => {
            open_tunnels(&config, identity).await?;
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        }
    };
    let process = process_config(&config, inner, &own)?;
    let health = process.health.clone();
    let ended = work(process, told, health, config.anew).await;
    // What is left of a worker that ended in order is of no use to anybody.
    let _ = std::fs::remove_dir_all(&own);
    ended
}

async fn work<T>(
    process: ExecutorProcessConfig,
    told: impl Future<Output = T>,
    health: ExecutorHealth,
    anew: bool,
) -> Result<Ended<T>, Error> {
    let failed = |e: BallistaError| match e {
        BallistaError::GrpcError(status) => Error::Refused(status.message().to_owned()),
        other => Error::Engine(other.to_string()),
    };
    let mut engine = pin!(start_executor_process(Arc::new(process)));
    let mut told = pin!(told);
    let mut look = tokio::time::interval(LOOK);
    let mut known = anew;
    let ended = loop {
        tokio::select! {
            biased;
            told = &mut told => {
                // The engine hears signals only once the coordinator knows it; until then there is nothing to hand back.
                if health.is_ready() {
                    engine.await.map_err(failed)?;
                }
                return Ok(Ended::Told(told));
            }
            ended = &mut engine => break ended,
            _ = look.tick() => known |= health.is_ready(),
        }
    };
    match ended {
        Ok(()) => Ok(Ended::CutOff),
        Err(BallistaError::GrpcError(status)) if known && cluster::may_pass(&status) => Ok(Ended::CutOff),
        Err(e) => Err(failed(e)),
    }
}

/// A port that nobody listens on at this moment.
fn free_port(listen: IpAddr) -> Result<u16, Error> {
    let taken = |e: std::io::Error| Error::Unusable { what: format!("a port of `{listen}`"), why: e.to_string() };
    let listener = std::net::TcpListener::bind(SocketAddr::new(listen, 0)).map_err(taken)?;
    Ok(listener.local_addr().map_err(taken)?.port())
}

/// What the engine's servers take in plain on this machine, others reach through mutual TLS at the same ports of the worker's address.
async fn open_tunnels(config: &Config, identity: &Identity) -> Result<(), Error> {
    if config.listen.is_unspecified() || config.listen == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        return Err(Error::Address(config.listen));
    }
    for port in [config.port, config.task_port] {
        let address = SocketAddr::new(config.listen, port);
        let listener =
            TcpListener::bind(address).await.map_err(|e| Error::Unusable { what: format!("`{address}`"), why: e.to_string() })?;
        let accepted = tls::accept(listener, identity, true)?;
        tokio::spawn(tunnel(accepted, SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
    }
    Ok(())
}

/// The worker's own folder, empty: a killed worker leaves pieces of exchanges that nobody asks for again.
fn own_folder(work_dir: &Path) -> Result<PathBuf, Error> {
    let own = work_dir.join(OWN_FOLDER);
    let unusable = |e: std::io::Error| Error::Unusable { what: format!("`{}`", own.display()), why: e.to_string() };
    if own.exists() {
        std::fs::remove_dir_all(&own).map_err(unusable)?;
    }
    for part in ["exchange", "spill"] {
        std::fs::create_dir_all(own.join(part)).map_err(unusable)?;
    }
    Ok(own)
}

fn process_config(config: &Config, inner: IpAddr, own: &Path) -> Result<ExecutorProcessConfig, Error> {
    let engine = |e: datafusion::error::DataFusionError| Error::Engine(e.strip_backtrace());
    let limits = Limits { threads: config.slots, spill_dir: Some(own.join("spill")), ..config.limits.clone() };
    let environment = cluster::environment(&limits).map_err(engine)?;
    Ok(ExecutorProcessConfig {
        // The engine binds every address by default.
        bind_host: inner.to_string(),
        external_host: Some(config.advertise.clone()),
        port: config.port,
        grpc_port: config.task_port,
        scheduler_host: config.coordinator_host.clone(),
        scheduler_port: config.coordinator_port,
        scheduler_connect_timeout_seconds: CONNECT_SECONDS,
        vcores: config.slots,
        // Only a worker that takes pushed tasks can be told to stop one.
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        // Otherwise a folder of the system's, kept when the process is killed.
        work_dir: Some(own.join("exchange").to_string_lossy().into_owned()),
        // Otherwise rows of people lie on the disk for a week.
        job_data_ttl_seconds: LEFT_BEHIND_SECONDS,
        job_data_clean_up_interval_seconds: SWEEP_SECONDS,
        grpc_max_decoding_message_size: MESSAGE_BYTES_MAX as u32,
        grpc_max_encoding_message_size: MESSAGE_BYTES_MAX as u32,
        executor_heartbeat_interval_seconds: HEARTBEAT_SECONDS,
        // Our environment holds one pool for all tasks of the process; the engine would put a pool a task in its place.
        memory_pool_size: Some(0),
        override_execution_engine: Some(Arc::new(engine::Engine::new())),
        override_function_registry: Some(Arc::new(cluster::functions().map_err(engine)?)),
        override_runtime_producer: Some(Arc::new(move |_| Ok(Arc::clone(&environment)))),
        override_config_producer: Some(cluster::config_producer(limits, config.slots, config.identity.clone())),
        override_logical_codec: Some(Arc::new(LogicalCodec)),
        override_physical_codec: Some(Arc::new(ClusterCodec::default())),
        override_create_grpc_client_endpoint: Some(cluster::to_coordinator(config.identity.clone())),
        ..Default::default()
    })
}
