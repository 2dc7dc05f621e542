//! The only session constructor: every process plans and runs with the same settings, functions and operators. Never built anywhere else.

use crate::limits::Limits;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::{SessionConfig, SessionContext};
use std::num::NonZeroUsize;
use std::sync::Arc;
use strata_operators::functions;
use strata_operators::planner::{OperatorPlanner, Roomy, SpreadBuckets};
use strata_publish::{WriteExec, WritePlanner};

/// Consumers named in a memory error.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::new(5).unwrap();

#[derive(Debug, Default)]
struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let ours: Vec<Arc<dyn datafusion::physical_planner::ExtensionPlanner + Send + Sync>> =
            vec![Arc::new(OperatorPlanner), Arc::new(WritePlanner)];
        DefaultPhysicalPlanner::with_extension_planners(ours).create_physical_plan(plan, session).await
    }
}

/// A write over many buckets makes a few files, not one a bucket.
#[derive(Debug, Default)]
struct FewFiles;

impl PhysicalOptimizerRule for FewFiles {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let files = config.execution.target_partitions.max(1);
        let done = plan.transform_up(|plan| match plan.downcast_ref::<WriteExec>() {
            Some(write) if write.input().properties().partitioning.partition_count() > files => {
                let few = RepartitionExec::try_new(Arc::clone(write.input()), Partitioning::RoundRobinBatch(files))?;
                let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
                Ok(Transformed::yes(Arc::clone(&plan).replace_children(vec![Arc::new(few)], options)?))
            }
            _ => Ok(Transformed::no(plan)),
        })?;
        Ok(done.data)
    }

    fn name(&self) -> &str {
        "few_files"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A session with our settings, functions and operators. Errors: `Execution` if the spill folder cannot be used.
pub fn session(limits: &Limits) -> Result<SessionContext> {
    let config = match limits.memory_bytes {
        None => config(limits).with_extension(Arc::new(Roomy)),
        Some(_) => config(limits),
    };
    Ok(SessionContext::new_with_state(state(config, Arc::new(environment(limits)?))?))
}

/// Memory, disk and stores of a process.
pub(crate) fn environment(limits: &Limits) -> Result<RuntimeEnv> {
    let mut runtime = RuntimeEnvBuilder::new()
        .with_object_store_registry(crate::store::registry())
        // Files are pinned lists: nothing is listed, so no listing may be remembered.
        .with_object_list_cache_limit(0)
        .with_metadata_cache_limit(64 << 20);
    if let Some(bytes) = limits.pool_bytes() {
        // Greedy: hundreds of buckets would get crumbs of a pool that is shared fairly. They leave room by themselves.
        let pool: Arc<dyn MemoryPool> = Arc::new(TrackConsumersPool::new(GreedyMemoryPool::new(bytes as usize), NAMED_CONSUMERS));
        runtime = runtime.with_memory_pool(pool);
    }
    if let Some(dir) = &limits.spill_dir {
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![dir.clone()]));
        runtime = runtime.with_disk_manager_builder(disk);
    }
    runtime.build()
}

/// Settings that every process plans and runs with.
pub(crate) fn config(limits: &Limits) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(limits.threads.max(1))
        .with_batch_size(limits.batch_rows())
        .with_information_schema(false);
    let options = config.options_mut();
    // Strings of one bucket must not keep the pages of a whole file alive.
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    // Counts of what a screen drops must not depend on statistics.
    options.execution.parquet.pruning = false;
    options.execution.collect_statistics = false;
    if limits.memory_bytes.is_some() {
        // Sorts inside a bucket are small: a large reserve for merging would fail them before they began.
        options.execution.sort_spill_reservation_bytes = 1 << 20;
    }
    config
}

/// The state of a session: our functions, planners and rules.
pub(crate) fn state(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> Result<SessionState> {
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_query_planner(Arc::new(Planner))
        .with_physical_optimizer_rule(Arc::new(SpreadBuckets))
        .with_physical_optimizer_rule(Arc::new(FewFiles))
        .build();
    functions::register(&mut state)?;
    Ok(state)
}
