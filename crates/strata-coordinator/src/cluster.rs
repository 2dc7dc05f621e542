//! Ballista's scheduler inside the coordinator: which workers there are, and one plan's way over them. Never lets the scheduler commit, list
//! files or plan by itself.

use crate::distribute::distributed;
use crate::slots::Slots;
use crate::small::Small;
use ballista_core::JobId;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_scheduler::cluster::memory::InMemoryJobState;
use ballista_scheduler::cluster::{BallistaCluster, ClusterState, JobState};
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::create_scheduler;
use ballista_scheduler::scheduler_server::SchedulerServer;
use ballista_scheduler::state::execution_graph::ExecutionGraphBox;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::SessionContext;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use strata_runtime::cluster::{self, ClusterCodec, Identity, MESSAGE_BYTES_MAX, tls};
use strata_runtime::{Limits, LogicalCodec};
use tokio::sync::RwLock;

/// A worker that was not heard of for so long is lost; it says it is there every 2 s. The engine's default is 180. (One whose process ended is
/// found earlier: its port is closed.)
const WORKER_LOST_SECONDS: u64 = 10;
/// How often is looked for lost workers.
const LOOK_SECONDS: u64 = 1;
/// How long plans wait for any worker to come back when all are lost.
const NO_WORKERS_SECONDS: u64 = 10;
/// A task that failed for reasons outside it is tried so often.
const ATTEMPTS_MAX: usize = 4;
/// A stage is begun again so often. Each input that was lost with a worker counts, and a stage has an input for every source.
const STAGE_ATTEMPTS_MAX: usize = 64;
/// State of finished plans is removed when it was read; this is for plans whose reader went away.
const STATE_SECONDS: u64 = 600;
/// Events that may wait in the scheduler; every task start and end is one.
const EVENTS_MAX: u32 = 100_000;

/// How often is looked whether a plan has stopped.
const CLOSE_LOOK: Duration = Duration::from_millis(50);
/// And how many times before it is told to stop once more: half a second.
const CLOSE_LOOKS: usize = 10;
/// How often it is told to.
const CLOSE_TRIES_MAX: usize = 20;
/// How many times is looked at most: 10 s.
const CLOSE_LOOKS_MAX: usize = CLOSE_LOOKS * CLOSE_TRIES_MAX;

type Scheduler = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// The cluster as the coordinator sees it.
pub struct Cluster {
    scheduler: Scheduler,
    jobs: Arc<dyn JobState>,
    workers: Arc<Slots>,
    limits: Limits,
    identity: Option<Identity>,
    environment: Arc<RuntimeEnv>,
    small: Small,
    /// Plans that were told to stop and have not yet.
    closing: AtomicUsize,
}

/// How the scheduler is reached by workers.
#[derive(Debug, Clone)]
pub struct SchedulerAddress {
    /// Host that workers reach it at.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Cluster {
    /// Starts a scheduler that serves nobody yet. Errors: `Internal` if the engine refuses.
    pub async fn start(address: &SchedulerAddress, limits: Limits, identity: Option<Identity>) -> Result<Arc<Self>> {
        let engine = |e: ballista_core::error::BallistaError| internal_datafusion_err!("the scheduler: {e}");
        let environment = cluster::environment(&limits)?;
        let config = scheduler_config(address, &limits, identity.clone(), &environment);
        let workers = Arc::new(Slots::default());
        let (Some(builder), Some(producer)) = (config.override_session_builder.clone(), config.override_config_producer.clone())
        else {
            return datafusion::common::internal_err!("the scheduler has no sessions");
        };
        let jobs: Arc<dyn JobState> = Arc::new(InMemoryJobState::new(config.scheduler_id.clone(), builder, producer));
        let state = BallistaCluster::new(Arc::clone(&workers) as Arc<dyn ClusterState>, Arc::clone(&jobs));
        let scheduler = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(state, Arc::new(config)).await.map_err(engine)?;
        let small = Small::new(&limits)?;
        Ok(Arc::new(Self { scheduler, jobs, workers, limits, identity, environment, small, closing: AtomicUsize::new(0) }))
    }

    /// What workers talk to. The scheduler's own pages and its REST interface stay off: they show settings as they are.
    pub fn router(&self) -> axum::Router {
        let server = SchedulerGrpcServer::new(self.scheduler.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        tonic::service::Routes::new(server).into_axum_router().layer(axum::middleware::from_fn(same_version))
    }

    /// Runs plans that are too small for workers.
    pub(crate) fn small(&self) -> &Small {
        &self.small
    }

    /// Slots of the workers that are alive.
    pub async fn slots(&self) -> usize {
        let alive = self.workers.executor_heartbeats();
        let known = self.workers.registered_executor_metadata().await;
        known.iter().filter(|w| alive.contains_key(&w.id)).map(|w| w.specification.vcores as usize).sum()
    }

    /// Ids of the workers that are not lost.
    pub(crate) async fn known(&self) -> HashSet<String> {
        self.workers.registered_executor_metadata().await.into_iter().map(|w| w.id).collect()
    }

    /// Workers that were given tasks of a plan that has ended. It has to be asked once: until then they are kept.
    pub(crate) fn take_given(&self, job: &JobId) -> HashSet<String> {
        self.workers.take_given(job)
    }

    /// Workers that are alive: host and slots.
    pub async fn workers(&self) -> Vec<(String, usize)> {
        let alive = self.workers.executor_heartbeats();
        let known = self.workers.registered_executor_metadata().await;
        let alive = known.into_iter().filter(|w| alive.contains_key(&w.id));
        alive.map(|w| (format!("{}:{}", w.host, w.port), w.specification.vcores as usize)).collect()
    }

    /// Waits until there is a worker. Errors: `IoError` if none came.
    pub(crate) async fn wait_for_slots(&self, patience: Duration) -> Result<usize> {
        let mut waited = Duration::ZERO;
        let pause = Duration::from_millis(100);
        loop {
            match self.slots().await {
                0 if waited >= patience => {
                    let text = "no worker is connected; start one with `strata worker --coordinator HOST:PORT`";
                    return Err(DataFusionError::IoError(std::io::Error::other(text)));
                }
                0 => tokio::time::sleep(pause).await,
                slots => return Ok(slots),
            }
            waited += pause;
        }
    }

    /// Looks for lost workers, and gives back slots that no task holds, if there are any; to be called every second.
    pub(crate) async fn mend(&self) {
        self.workers.look_for_lost().await;
        let mut running: HashMap<String, u32> = HashMap::new();
        for info in self.scheduler.state.task_manager.get_running_job_cache().values() {
            let graph = info.execution_graph.read().await;
            for task in graph.running_tasks() {
                let slots = graph.task_vcores(task.stage_id, task.task_id).unwrap_or(1);
                *running.entry(task.executor_id).or_default() += slots;
            }
        }
        let found = self.workers.give_back(&running).await;
        if found == 0 {
            return;
        }
        tracing::warn!("{found} slots were held by no task and are given back");
        // The scheduler looks for work when a plan comes, so one comes: of no rows.
        let nothing = Arc::new(EmptyExec::new(Arc::new(arrow::datatypes::Schema::empty())));
        let Ok(session) = self.session(1).await else { return };
        if let Ok(job) = self.submit("look for work", session, nothing).await {
            tokio::time::sleep(CLOSE_LOOK).await;
            self.ends_within(&job, CLOSE_LOOKS_MAX).await;
            self.forget(&job).await;
            self.workers.take_given(&job);
        }
    }

    /// Whether it has ended at one of so many looks.
    async fn ends_within(&self, job: &JobId, looks: usize) -> bool {
        for _ in 0..looks {
            if !matches!(self.status(job).await, Some(Status::Running(_) | Status::Queued(_))) {
                return true;
            }
            tokio::time::sleep(CLOSE_LOOK).await;
        }
        false
    }

    /// A session that plans for `slots` slots.
    pub(crate) async fn session(&self, slots: usize) -> Result<SessionContext> {
        let mut config = cluster::config(&self.limits, slots, self.identity.as_ref());
        if self.is_one_machine().await {
            // What crosses no network is not made smaller for it: that takes more time than it saves.
            config = config.set_str("ballista.shuffle.compression.codec", "none");
        }
        cluster::session(config, Arc::clone(&self.environment))
    }

    /// Whether every worker is on this machine.
    async fn is_one_machine(&self) -> bool {
        let is_here = |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.workers.registered_executor_metadata().await.iter().all(|w| is_here(&w.host))
    }

    /// The physical plan of `plan`, fit to be cut into tasks.
    pub(crate) async fn physical(&self, session: &SessionContext, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        distributed(session.state().create_physical_plan(plan).await?)
    }

    /// Gives a plan to the workers.
    pub(crate) async fn submit(&self, label: &str, session: SessionContext, plan: Arc<dyn ExecutionPlan>) -> Result<JobId> {
        self.scheduler
            .submit_physical_plan(label, Arc::new(session), plan, None)
            .await
            .map_err(|e| internal_datafusion_err!("the scheduler did not take `{label}`: {e}"))
    }

    /// Its graph of stages while it runs.
    pub(crate) fn running(&self, job: &JobId) -> Option<Arc<RwLock<ExecutionGraphBox>>> {
        self.scheduler.state.task_manager.get_running_job_cache().get(job).map(|info| Arc::clone(&info.execution_graph))
    }

    /// Its state.
    pub(crate) async fn status(&self, job: &JobId) -> Option<Status> {
        let status = self.scheduler.state.task_manager.get_job_status(job).await.ok().flatten();
        status.and_then(|s| s.status)
    }

    /// Its graph of stages after it ended.
    pub(crate) async fn ended(&self, job: &JobId) -> Option<ExecutionGraphBox> {
        self.jobs.get_execution_graph(job).await.ok().flatten()
    }

    /// Stops its tasks on every worker, and waits for the scheduler to have done so.
    pub(crate) async fn cancel(&self, job: &JobId) {
        self.closing.fetch_add(1, Ordering::SeqCst);
        self.close(job).await;
    }

    /// The same, without waiting for it; [`Cluster::closed`] waits.
    pub(crate) fn cancel_later(self: &Arc<Self>, job: JobId) {
        self.closing.fetch_add(1, Ordering::SeqCst);
        let cluster = Arc::clone(self);
        tokio::spawn(async move { cluster.close(&job).await });
    }

    async fn close(&self, job: &JobId) {
        for _ in 0..CLOSE_TRIES_MAX {
            if let Err(e) = self.scheduler.cancel_job(job.clone()).await {
                tracing::warn!("the scheduler did not take a cancel: {e}");
            }
            // The scheduler forgets a cancel of a plan that it is still cutting into stages, and then runs it to its end: it is told again.
            if self.ends_within(job, CLOSE_LOOKS).await {
                break;
            }
        }
        self.forget(job).await;
        self.closing.fetch_sub(1, Ordering::SeqCst);
    }

    /// Waits until every plan that was told to stop has stopped.
    pub(crate) async fn closed(&self) {
        for _ in 0..CLOSE_LOOKS_MAX {
            if self.closing.load(Ordering::SeqCst) == 0 {
                return;
            }
            tokio::time::sleep(CLOSE_LOOK).await;
        }
    }

    /// Forgets it, here and on the workers.
    pub(crate) async fn forget(&self, job: &JobId) {
        self.scheduler.state.executor_manager.clean_up_job_data(job.clone());
        if let Err(e) = self.jobs.remove_job(job).await {
            tracing::debug!("a finished plan was gone already: {e}");
        }
    }
}

/// Refuses what a worker of another version asks: its registration, its heartbeats, its results.
async fn same_version(request: axum::extract::Request, next: axum::middleware::Next) -> axum::response::Response {
    let agent = request.headers().get(axum::http::header::USER_AGENT).and_then(|v| v.to_str().ok());
    match cluster::check_version(agent) {
        Ok(()) => next.run(request).await,
        Err(why) => {
            tracing::warn!("refused a worker: {why}");
            tonic::Status::failed_precondition(why).into_http::<axum::body::Body>()
        }
    }
}

fn scheduler_config(
    address: &SchedulerAddress,
    limits: &Limits,
    identity: Option<Identity>,
    environment: &Arc<RuntimeEnv>,
) -> SchedulerConfig {
    let environment = Arc::clone(environment);
    SchedulerConfig {
        external_host: address.host.clone(),
        bind_port: address.port,
        // Only a worker that takes pushed tasks can be told to stop one. Its task server has no transport security: workers put a tunnel
        // before it.
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        task_distribution: TaskDistributionPolicy::RoundRobin,
        event_loop_buffer_size: EVENTS_MAX,
        finished_job_data_clean_up_interval_seconds: STATE_SECONDS,
        finished_job_state_clean_up_interval_seconds: STATE_SECONDS,
        executor_timeout_seconds: WORKER_LOST_SECONDS,
        expire_dead_executor_interval_seconds: LOOK_SECONDS,
        no_executors_grace_period_seconds: NO_WORKERS_SECONDS,
        task_max_failures: ATTEMPTS_MAX,
        stage_max_failures: STAGE_ATTEMPTS_MAX,
        // Plans name thousands of files.
        grpc_server_max_decoding_message_size: MESSAGE_BYTES_MAX as u32,
        grpc_server_max_encoding_message_size: MESSAGE_BYTES_MAX as u32,
        grpc_client_max_message_size: MESSAGE_BYTES_MAX as u32,
        override_config_producer: Some(cluster::config_producer(limits.clone(), 1, identity.clone())),
        override_session_builder: Some(Arc::new(move |config| {
            cluster::session(config, Arc::clone(&environment)).map(|context| context.state())
        })),
        override_logical_codec: Some(Arc::new(LogicalCodec)),
        override_physical_codec: Some(Arc::new(ClusterCodec::default())),
        use_tls: identity.is_some(),
        override_create_grpc_client_endpoint: identity.map(tls::endpoints),
        ..Default::default()
    }
}
