//! A coordinator from its ports to its end. Never listens beyond this machine without certificates and tokens.

use crate::api::{self, Auth};
use crate::cluster::{Cluster, SchedulerAddress};
use crate::hub::Hub;
use crate::leader::{self, Settings};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use strata_runtime::Limits;
use strata_runtime::cluster::{Identity, tls};
use strata_store::RunStore;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;

/// How long open requests may take once the coordinator is told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// How a coordinator runs.
pub struct Config {
    /// Where the run API listens.
    pub listen: SocketAddr,
    /// Where workers report.
    pub workers_listen: SocketAddr,
    /// Host that workers reach the coordinator at.
    pub advertise: String,
    /// Runs.
    pub store: Arc<dyn RunStore>,
    /// Address of the folder for tables between steps; coordinator and workers must all reach it.
    pub work: String,
    /// Runs at a time.
    pub runs_max: usize,
    /// Memory of the coordinator itself.
    pub limits: Limits,
    /// Who it is; needed beyond this machine.
    pub identity: Option<Identity>,
    /// Who may do what; needed beyond this machine.
    pub auth: Auth,
}

/// Why a coordinator did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may not listen like that.
    #[error(
        "`{address}` can be reached from other machines, and there are no {missing}\n  help: give `--tls-ca`, `--tls-cert`, `--tls-key` and `--tokens`, or listen on 127.0.0.1"
    )]
    Open {
        /// Where.
        address: SocketAddr,
        /// What is missing.
        missing: &'static str,
    },
    /// A port cannot be used.
    #[error("cannot listen on `{address}`: {why}")]
    Port {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The engine did not start.
    #[error("the scheduler did not start: {0}")]
    Engine(String),
}

/// A coordinator that listens.
pub struct Coordinator {
    /// Where the run API is.
    pub api: SocketAddr,
    /// Where workers report.
    pub workers: SocketAddr,
    /// Runs, and who watches them.
    pub hub: Arc<Hub>,
    /// Workers.
    pub cluster: Arc<Cluster>,
    tasks: tokio::task::JoinSet<()>,
    stop: tokio_util::sync::CancellationToken,
}

impl Config {
    fn check(&self) -> Result<(), Error> {
        for address in [self.listen, self.workers_listen] {
            if !address.ip().is_loopback() && self.identity.is_none() {
                return Err(Error::Open { address, missing: "certificates" });
            }
        }
        if !self.listen.ip().is_loopback() && self.auth.is_open() {
            return Err(Error::Open { address: self.listen, missing: "tokens" });
        }
        Ok(())
    }
}

/// Starts a coordinator. Errors: as [`Error`] says.
pub async fn start(config: Config) -> Result<Coordinator, Error> {
    config.check()?;
    strata_runtime::secrets::install();
    let api_port = bind(config.listen).await?;
    let worker_port = bind(config.workers_listen).await?;
    let (api, workers) = (address(&api_port, config.listen)?, address(&worker_port, config.workers_listen)?);
    let scheduler = SchedulerAddress { host: config.advertise.clone(), port: workers.port() };
    let cluster = Cluster::start(&scheduler, config.limits.clone(), config.identity.clone())
        .await
        .map_err(|e| Error::Engine(e.strip_backtrace()))?;
    let hub = Arc::new(Hub::new(config.store));
    let (stop, mut tasks) = (tokio_util::sync::CancellationToken::new(), tokio::task::JoinSet::new());
    // Workers are known by certificate, people and orchestrators by token.
    serve(&mut tasks, &stop, worker_port, cluster.router(), config.identity.as_ref().map(|i| (i, true)))?;
    let slots = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ready = {
        let slots = Arc::clone(&slots);
        move || slots.load(std::sync::atomic::Ordering::Relaxed)
    };
    let router = api::router(Arc::clone(&hub), Arc::new(config.auth), ready);
    serve(&mut tasks, &stop, api_port, router, config.identity.as_ref().map(|i| (i, false)))?;
    let watched = Arc::clone(&cluster);
    tasks.spawn(async move {
        loop {
            slots.store(watched.slots().await > 0, std::sync::atomic::Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let mended = Arc::clone(&cluster);
    tasks.spawn(async move {
        loop {
            mended.mend().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let settings = Settings { holder: strata_runtime::clock::run_id(), work: config.work, runs_max: config.runs_max.max(1) };
    tasks.spawn(leader::lead(Arc::clone(&hub), Arc::clone(&cluster), settings, stop.clone()));
    Ok(Coordinator { api, workers, hub, cluster, tasks, stop })
}

impl Coordinator {
    /// Stops: takes no more requests, ends its work where it is (the next coordinator goes on behind the last finished steps), stops its tasks
    /// on the workers.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // Watchers may never hang up.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _ = tokio::time::timeout(DRAIN, self.cluster.closed()).await;
        self.tasks.abort_all();
        let _ = tokio::time::timeout(DRAIN, async { while self.tasks.join_next().await.is_some() {} }).await;
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|e| Error::Port { address, why: e.to_string() })
}

fn address(listener: &TcpListener, asked: SocketAddr) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|e| Error::Port { address: asked, why: e.to_string() })
}

fn serve(
    tasks: &mut tokio::task::JoinSet<()>,
    stop: &tokio_util::sync::CancellationToken,
    listener: TcpListener,
    router: axum::Router,
    identity: Option<(&Identity, bool)>,
) -> Result<(), Error> {
    let stop = stop.clone();
    let served = |result: std::io::Result<()>| {
        if let Err(e) = result {
            tracing::error!("a port was closed: {e}");
        }
    };
    match identity {
        None => {
            let server = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
            tasks.spawn(async move { served(server.await) });
        }
        Some((identity, known_peers)) => {
            let address = address(&listener, SocketAddr::from(([0, 0, 0, 0], 0)))?;
            let listener = Secured { address, accepted: tls::accept(listener, identity, known_peers)? };
            let server = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
            tasks.spawn(async move { served(server.await) });
        }
    }
    Ok(())
}

/// Connections that passed their handshake, for the server.
struct Secured {
    address: SocketAddr,
    accepted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl axum::serve::Listener for Secured {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // The port was closed.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}
