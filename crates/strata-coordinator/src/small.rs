//! Plans so small that handing them to workers takes longer than running them: summaries of tables that earlier steps made. They run where the
//! run is led. Never runs a plan that writes, and never reads a file that the engine itself did not write.

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{TryStreamExt, stream};
use std::sync::Arc;
use strata_engine::{InProcessRunner, Runner, Running};
use strata_operators::pinned::PinnedTable;
use strata_operators::write::WriteNode;
use strata_runtime::Limits;
use strata_runtime::store::Place;
use tokio::sync::Semaphore;

/// Values (rows × columns) that a plan may read: as many as whoever leads a run holds of features.
const VALUES_MAX: u64 = 4_000_000;
/// So many run at a time, of all runs together: each holds what it reads.
const TURNS: usize = 2;

/// Runs small plans.
pub(crate) struct Small {
    runner: InProcessRunner,
    turns: Arc<Semaphore>,
}

impl Small {
    /// A runner of them within `limits`. Errors: `Execution` if no session can be made.
    pub(crate) fn new(limits: &Limits) -> Result<Self> {
        Ok(Self { runner: InProcessRunner::new(limits)?, turns: Arc::new(Semaphore::new(TURNS)) })
    }

    /// The plan with only the columns that it needs.
    pub(crate) fn optimised(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        self.runner.optimised(plan)
    }

    /// Plans one; its rows are made when it is its turn after they were asked for.
    pub(crate) async fn start(&self, label: &str, plan: LogicalPlan) -> Result<Running> {
        let Running { rows, meter } = self.runner.start(label, plan).await?;
        let (schema, turns) = (rows.schema(), Arc::clone(&self.turns));
        let rows = stream::once(async move {
            let Ok(_turn) = turns.acquire_owned().await else {
                return datafusion::common::internal_err!("the coordinator is ending");
            };
            // All of them before the turn is given back: nobody may hold one while waiting for the rows of another plan.
            let batches: Vec<_> = rows.try_collect().await?;
            Ok(stream::iter(batches.into_iter().map(Ok)))
        });
        Ok(Running { rows: Box::pin(RecordBatchStreamAdapter::new(schema, rows.try_flatten())), meter })
    }
}

/// Whether a plan writes nothing and reads nothing but tables below `work`. Cheap: for every plan, before it is optimised.
pub(crate) fn only_summarises(plan: &LogicalPlan, work: &Place) -> bool {
    values(plan, work).is_some()
}

/// Whether an optimised plan does so and reads few values.
pub(crate) fn is_small(optimised: &LogicalPlan, work: &Place) -> bool {
    values(optimised, work).is_some_and(|n| n <= VALUES_MAX)
}

/// Values that a plan reads; none if it writes, or reads anything but the work area.
fn values(plan: &LogicalPlan, work: &Place) -> Option<u64> {
    let mut sum = Some(0_u64);
    let walked = plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => sum = sum.zip(values_of(scan, work)).map(|(a, b)| a.saturating_add(b)),
            LogicalPlan::Extension(e) if e.node.as_any().is::<WriteNode>() => sum = None,
            LogicalPlan::Dml(_) | LogicalPlan::Ddl(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_) => sum = None,
            _ => {}
        }
        Ok(if sum.is_some() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.ok().and(sum)
}

/// Values that a scan reads; none if it reads anything but the work area.
fn values_of(scan: &TableScan, work: &Place) -> Option<u64> {
    let provider = source_as_provider(&scan.source).ok()?;
    let table = provider.downcast_ref::<PinnedTable>()?;
    let below = format!("{}/", work.path.as_ref());
    let ours = same_store(&table.store, &work.store_url) && table.files.iter().all(|f| f.path.starts_with(&below));
    let columns = scan.projected_schema.fields().len().max(1) as u64;
    ours.then(|| table.rows())?.map(|rows| rows.saturating_mul(columns))
}

fn same_store(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}
