//! Workers and their slots. Slots are counted so that none is lost: the engine does not give back those of a task whose stage is begun again
//! while it runs (a piece of an exchange was lost), and a cluster that lost all of them stands still. A worker whose port is closed is lost at
//! once. Never takes a slot from a task that runs.

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::{BallistaError, Result};
use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::{ExecutorHeartbeat, ExecutorStatus, executor_status, task_status};
use ballista_core::serde::scheduler::{ExecutorData, ExecutorMetadata};
use ballista_scheduler::cluster::memory::InMemoryClusterState;
use ballista_scheduler::cluster::{BoundTask, ClusterState, ClusterStateEventStream, ExecutorSlot};
use ballista_scheduler::config::TaskDistributionPolicy;
use ballista_scheduler::state::execution_graph::ExecutionGraphBox;
use ballista_scheduler::state::execution_stage::{ExecutionStage, TaskInfo};
use ballista_scheduler::state::task_manager::JobInfoCache;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long a worker's port may take to answer; one that is closed says so at once.
const KNOCK: Duration = Duration::from_millis(500);
/// A worker whose port is closed at so many looks in a row is lost.
const CLOSED_MAX: u32 = 2;
/// Workers remembered that said that they are ending; each has ended long before it is forgotten.
const ENDING_MAX: usize = 1000;

/// The engine's own count, and beside it how many slots of each worker are given out.
#[derive(Default)]
pub(crate) struct Slots {
    inner: InMemoryClusterState,
    out: Mutex<HashMap<String, u32>>,
    suspected: Mutex<HashMap<String, u32>>,
    /// Workers that were found with their port closed, and how often in a row.
    closed: Mutex<HashMap<String, u32>>,
    /// Workers that said that they are ending.
    ending: Mutex<VecDeque<String>>,
    /// Workers that were given tasks, by plan; until the plan is forgotten.
    given: Mutex<HashMap<JobId, HashSet<String>>>,
}

/// Why a part of a plan has to be done again, if one has: a stage was begun anew, or a task was lost with its worker or failed with what passes.
/// INVARIANT: such a plan is run anew as a whole, and none of its tasks is given out any more: after a worker was killed in the middle, the
/// engine has been seen to hand on fewer rows than there were, and to call it success.
pub(crate) fn disturbed(graph: &ExecutionGraphBox) -> Option<String> {
    graph.stages().values().find_map(|stage| {
        let attempt = match stage {
            ExecutionStage::UnResolved(s) => s.stage_attempt_num,
            ExecutionStage::Resolved(s) => s.stage_attempt_num,
            ExecutionStage::Running(s) => s.stage_attempt_num,
            ExecutionStage::Successful(s) => s.stage_attempt_num,
            ExecutionStage::Failed(s) => s.stage_attempt_num,
        };
        let lost = || "a worker was lost while it ran".to_owned();
        let failed = |task: &TaskInfo| match &task.task_status {
            task_status::Status::Failed(failed) if failed.retryable => match failed.failed_reason {
                Some(FailedReason::ResultLost(_)) => Some(lost()),
                _ => Some(failed.error.clone()),
            },
            _ => None,
        };
        let failed = stage.task_infos().unwrap_or_default().iter().find_map(failed);
        failed.or_else(|| (attempt > 0).then(lost))
    })
}

impl Slots {
    /// Gives back what is out and, by `running` (slots of tasks that run, by worker), at work nowhere: at this look and at the last. Gives how many.
    pub(crate) async fn give_back(&self, running: &HashMap<String, u32>) -> u32 {
        let idle: HashMap<String, u32> = {
            let out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = out.iter().map(|(w, n)| (w.clone(), n.saturating_sub(running.get(w).copied().unwrap_or(0))));
            idle.filter(|(_, n)| *n > 0).collect()
        };
        let before = std::mem::replace(&mut *self.suspected.lock().unwrap_or_else(PoisonError::into_inner), idle.clone());
        let lost: Vec<ExecutorSlot> = idle.into_iter().filter_map(|(w, n)| before.get(&w).map(|b| (w, n.min(*b)))).collect();
        let n = lost.iter().map(|(_, n)| n).sum();
        if n > 0
            && let Err(e) = self.unbind_tasks(lost).await
        {
            tracing::warn!("cannot give slots back: {e}");
        }
        n
    }

    /// Looks whether every worker's port is open, and takes one whose port is closed for lost: its process is gone. (A machine that is gone
    /// does not answer, and is known by its silence.)
    pub(crate) async fn look_for_lost(&self) {
        let mut looks = JoinSet::new();
        for worker in self.inner.registered_executor_metadata().await {
            looks.spawn(async move {
                let knocked = tokio::time::timeout(KNOCK, TcpStream::connect((worker.host.as_str(), worker.grpc_port))).await;
                matches!(knocked, Ok(Err(e)) if e.kind() == ErrorKind::ConnectionRefused).then_some(worker.id)
            });
        }
        let found: HashSet<String> = looks.join_all().await.into_iter().flatten().collect();
        let lost: Vec<String> = {
            let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
            closed.retain(|worker, _| found.contains(worker));
            found.iter().for_each(|worker| *closed.entry(worker.clone()).or_default() += 1);
            closed.iter().filter(|(_, n)| **n == CLOSED_MAX).map(|(worker, _)| worker.clone()).collect()
        };
        for worker in lost {
            tracing::warn!("worker {worker} is gone: its port is closed");
            if let Err(e) = self.never_heard(worker).await {
                tracing::warn!("cannot take a worker for lost: {e}");
            }
        }
    }

    /// Takes what is known of the workers that were given tasks of a plan: it has ended.
    pub(crate) fn take_given(&self, job: &JobId) -> HashSet<String> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).remove(job).unwrap_or_default()
    }

    fn ends(&self, worker: &str) {
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        if !ending.iter().any(|w| w == worker) {
            ending.push_back(worker.to_owned());
        }
        if ending.len() > ENDING_MAX {
            ending.pop_front();
        }
    }

    /// The engine takes a worker for lost that it has not heard of since the beginning of time.
    async fn never_heard(&self, worker: String) -> Result<()> {
        let never = ExecutorHeartbeat { executor_id: worker, timestamp: 0, ..Default::default() };
        self.inner.save_executor_heartbeat(never).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, u32>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ClusterState for Slots {
    async fn init(&self) -> Result<()> {
        self.inner.init().await
    }

    async fn bind_schedulable_tasks(
        &self,
        distribution: TaskDistributionPolicy,
        active_jobs: Arc<HashMap<JobId, JobInfoCache>>,
        executors: Option<HashSet<String>>,
    ) -> Result<Vec<BoundTask>> {
        let mut whole = HashMap::with_capacity(active_jobs.len());
        for (job, info) in active_jobs.iter() {
            if disturbed(&*info.execution_graph.read().await).is_none() {
                whole.insert(job.clone(), info.clone());
            }
        }
        let bound = self.inner.bind_schedulable_tasks(distribution, Arc::new(whole), executors).await?;
        let mut out = self.lock();
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        for (worker, task) in &bound {
            *out.entry(worker.clone()).or_default() += task.vcores_consumed;
            given.entry(task.key.job_id.clone()).or_default().insert(worker.clone());
        }
        drop(given);
        Ok(bound)
    }

    async fn unbind_tasks(&self, slots: Vec<ExecutorSlot>) -> Result<()> {
        // INVARIANT: no more is given back than is out, so that a slot that was given back here is not given back again when its task ends.
        let slots = {
            let mut out = self.lock();
            let given = slots.into_iter().map(|(worker, n)| {
                let left = out.entry(worker.clone()).or_default();
                let n = n.min(*left);
                *left -= n;
                (worker, n)
            });
            given.filter(|(_, n)| *n > 0).collect::<Vec<_>>()
        };
        self.inner.unbind_tasks(slots).await
    }

    async fn register_executor(&self, metadata: ExecutorMetadata, spec: ExecutorData) -> Result<()> {
        let worker = metadata.id.clone();
        if self.ending.lock().unwrap_or_else(PoisonError::into_inner).contains(&worker) {
            // Its heartbeats go on until its last task has ended: they must not bring it back.
            return Err(BallistaError::General(format!("worker {worker} is ending")));
        }
        // A worker that starts again at the address of another has taken its place: the other is lost now, not when it was not heard of for long.
        // Until then tasks for it would reach the new one.
        for known in self.inner.registered_executor_metadata().await {
            if known.id != worker && (&known.host, known.grpc_port) == (&metadata.host, metadata.grpc_port) {
                self.never_heard(known.id).await?;
            }
        }
        self.inner.register_executor(metadata, spec).await?;
        self.lock().insert(worker, 0);
        Ok(())
    }

    async fn save_executor_metadata(&self, metadata: ExecutorMetadata) -> Result<()> {
        self.inner.save_executor_metadata(metadata).await
    }

    async fn get_executor_metadata(&self, executor_id: &str) -> Result<ExecutorMetadata> {
        self.inner.get_executor_metadata(executor_id).await
    }

    async fn registered_executor_metadata(&self) -> Vec<ExecutorMetadata> {
        self.inner.registered_executor_metadata().await
    }

    async fn save_executor_heartbeat(&self, heartbeat: ExecutorHeartbeat) -> Result<()> {
        if matches!(heartbeat.status, Some(ExecutorStatus { status: Some(executor_status::Status::Terminating(_)) })) {
            self.ends(&heartbeat.executor_id);
        }
        self.inner.save_executor_heartbeat(heartbeat).await
    }

    async fn remove_executor(&self, executor_id: &str) -> Result<()> {
        self.inner.remove_executor(executor_id).await?;
        self.lock().remove(executor_id);
        Ok(())
    }

    fn executor_heartbeats(&self) -> HashMap<String, ExecutorHeartbeat> {
        self.inner.executor_heartbeats()
    }

    fn get_executor_heartbeat(&self, executor_id: &str) -> Option<ExecutorHeartbeat> {
        self.inner.get_executor_heartbeat(executor_id)
    }

    async fn cluster_state_events(&self) -> Result<ClusterStateEventStream> {
        self.inner.cluster_state_events().await
    }
}
