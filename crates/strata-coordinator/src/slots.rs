//! Slots of workers, counted so that none is lost: the engine does not give back the slots of a task whose stage is begun again while it runs
//! (a piece of an exchange was lost), and a cluster that lost all of them stands still. Never takes a slot from a task that runs.

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::Result;
use ballista_core::serde::protobuf::ExecutorHeartbeat;
use ballista_core::serde::scheduler::{ExecutorData, ExecutorMetadata};
use ballista_scheduler::cluster::memory::InMemoryClusterState;
use ballista_scheduler::cluster::{BoundTask, ClusterState, ClusterStateEventStream, ExecutorSlot};
use ballista_scheduler::config::TaskDistributionPolicy;
use ballista_scheduler::state::task_manager::JobInfoCache;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// The engine's own count, and beside it how many slots of each worker are given out.
#[derive(Default)]
pub(crate) struct Slots {
    inner: InMemoryClusterState,
    out: Mutex<HashMap<String, u32>>,
    suspected: Mutex<HashMap<String, u32>>,
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
        let lost: Vec<ExecutorSlot> = idle
            .into_iter()
            .filter_map(|(w, n)| before.get(&w).map(|b| (w, n.min(*b))))
            .collect();
        let n = lost.iter().map(|(_, n)| n).sum();
        if n > 0 && let Err(e) = self.unbind_tasks(lost).await {
            tracing::warn!("cannot give slots back: {e}");
        }
        n
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
        let bound = self.inner.bind_schedulable_tasks(distribution, active_jobs, executors).await?;
        let mut out = self.lock();
        for (worker, task) in &bound {
            *out.entry(worker.clone()).or_default() += task.vcores_consumed;
        }
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
        // A worker that starts again at the address of another has taken its place: the other is lost now, not when it was not heard of for long.
        // Until then tasks for it would reach the new one.
        for known in self.inner.registered_executor_metadata().await {
            if known.id != worker && (&known.host, known.grpc_port) == (&metadata.host, metadata.grpc_port) {
                let never = ExecutorHeartbeat { executor_id: known.id, timestamp: 0, ..Default::default() };
                self.inner.save_executor_heartbeat(never).await?;
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
