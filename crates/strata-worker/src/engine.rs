//! Runs a task as the engine does, and names what passes as such: only a task whose error is known to pass is tried again. Never retries itself.

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::client::BallistaClient;
use ballista_core::client_pool::{BallistaClientPool, PooledClient};
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::serde::protobuf::{RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport};
use ballista_core::utils::GrpcClientConfig;
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::prelude::SessionConfig;
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use strata_runtime::cluster::is_between_processes;
use strata_runtime::store::retryable;

/// The engine of tasks.
pub(crate) struct Engine(DefaultExecutionEngine);

/// One connection to each worker: it carries any number of requests and opens itself again. (The engine's own pool cannot be named from
/// outside it.)
#[derive(Default)]
struct Connections(Mutex<HashMap<(String, u16), BallistaClient>>);

#[derive(Debug)]
struct Stage(Arc<dyn QueryStageExecutor>);

impl Engine {
    pub(crate) fn new() -> Self {
        Self(DefaultExecutionEngine::with_client_pool(Arc::new(Connections::default())))
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

#[async_trait]
impl BallistaClientPool for Connections {
    async fn acquire(
        &self,
        host: &str,
        port: u16,
        config: &GrpcClientConfig,
        customize: Option<Arc<BallistaConfigGrpcEndpoint>>,
    ) -> ballista_core::error::Result<PooledClient> {
        let key = (host.to_owned(), port);
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let client = match open {
            Some(client) => client,
            None => {
                let client = BallistaClient::try_new(
                    host,
                    port,
                    config.max_message_size,
                    config.use_tls,
                    customize,
                    config.io_retries_times,
                    config.io_retry_wait_time_ms,
                    config.initial_connection_window_size,
                    config.initial_stream_window_size,
                )
                .await?;
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, client.clone());
                client
            }
        };
        Ok(PooledClient::new(client, Box::new(drop)))
    }

    async fn evict_idle(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl ExecutionEngine for Engine {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        task_id: usize,
        global_output_partition_ids: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        let stage =
            self.0.create_query_stage_exec(job_id, stage_id, task_id, global_output_partition_ids, plan, work_dir, config)?;
        Ok(Arc::new(Stage(stage)))
    }
}

/// A connection to another worker that broke in the middle is an error of the bytes to the engine, which would end the plan: it is one that passes.
fn passing(error: DataFusionError) -> DataFusionError {
    // INVARIANT: what the engine itself knows as a lost piece stays what it is: its maker is then begun again.
    if format!("{error:?}").contains("FetchFailed") {
        return error;
    }
    let error = retryable(error);
    let text = error.to_string();
    match is_between_processes(&text) {
        true => DataFusionError::IoError(std::io::Error::other(text)),
        false => error,
    }
}

/// A task that panics is a defect that ends its plan; the worker lives on. Errors: what the task says; `Internal` for its panic.
async fn caught<T>(task: impl Future<Output = Result<T>>) -> Result<T> {
    let mut task = pin!(task);
    // INVARIANT: a task that panicked is not looked at again.
    let polled = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context))) {
        Ok(polled) => polled,
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Poll::Ready(internal_err!("a task panicked: {said}"))
        }
    });
    polled.await
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl QueryStageExecutor for Stage {
    async fn execute_query_stage(&self, task_id: usize, context: Arc<TaskContext>) -> Result<Vec<ShuffleWritePartition>> {
        caught(self.0.execute_query_stage(task_id, context)).await.map_err(passing)
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        self.0.collect_plan_metrics()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.0.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        self.0.collect_window_state_reports()
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.0.collect_column_stats()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_that_says_so() {
        let rows = [1];
        let task = async move {
            tokio::task::yield_now().await;
            Ok(rows[rows.len()])
        };
        let error = caught(task).await.unwrap_err();
        assert!(matches!(error, DataFusionError::Internal(_)), "{error}");
        assert!(error.to_string().contains("a task panicked: index out of bounds"), "{error}");
        assert_eq!(caught(async { Ok(1) }).await.unwrap(), 1);
    }
}
