//! Rows of a bucket sorted by whole numbers, dates and times, all at once and by one machine word each. Never spills: it takes the place of
//! DataFusion's sort only where no memory budget is set.

use crate::keys;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, SendableRecordBatchStream, common,
};
use futures::{TryStreamExt, stream};
use std::fmt;
use std::sync::Arc;

/// Physical operator: the rows of `input` in an order; those that tie stay as they came, where no value is null and each row's values fit one word.
/// `input` has one partition.
#[derive(Debug)]
pub(crate) struct SortedExec {
    input: Arc<dyn ExecutionPlan>,
    by: LexOrdering,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SortedExec {
    /// The same as `sort`; `None` where it keeps only the first rows, or sorts by what is no whole number.
    pub(crate) fn of_sort(sort: &SortExec) -> Option<Self> {
        let schema = sort.input().schema();
        let is_word = |e: &Arc<dyn PhysicalExpr>| e.data_type(&schema).is_ok_and(|t| keys::is_word(&t));
        let whole = sort.fetch().is_none() && sort.input().output_partitioning().partition_count() == 1;
        (whole && sort.expr().iter().all(|e| is_word(&e.expr))).then(|| Self::new(Arc::clone(sort.input()), sort.expr().clone()))
    }

    fn new(input: Arc<dyn ExecutionPlan>, by: LexOrdering) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(input.schema(), [by.clone()]),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            input.properties().boundedness,
        );
        Self { input, by, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

fn sorted(rows: &RecordBatch, by: &LexOrdering) -> Result<RecordBatch> {
    let columns = by.iter().map(|e| {
        let values = e.expr.evaluate(rows)?.into_array(rows.num_rows())?;
        Ok(SortColumn { values, options: Some(e.options) })
    });
    let columns: Vec<SortColumn> = columns.collect::<Result<_>>()?;
    let order = match keys::ordered(&columns)? {
        Some(words) => {
            let mut at: Vec<(u64, u32)> = words.into_iter().zip(0..).collect();
            at.sort_unstable();
            UInt32Array::from_iter_values(at.into_iter().map(|(_, row)| row))
        }
        None => lexsort_to_indices(&columns, None)?,
    };
    Ok(take_record_batch(rows, &order)?)
}

impl DisplayAs for SortedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "SortedExec: {}", self.by)
    }
}

impl ExecutionPlan for SortedExec {
    fn name(&self) -> &str {
        "SortedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(Self::new(input, self.by.clone()))),
            Err(_) => internal_err!("a sort has one input"),
        }
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut next = TreeNodeRecursion::Continue;
        for by in &self.by {
            next = next.visit_sibling(|| visit(&by.expr))?;
        }
        Ok(next)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, Arc::clone(&context))?;
        let (by, schema) = (self.by.clone(), self.schema());
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let reservation = MemoryConsumer::new(format!("sorted[{partition}]")).register(context.memory_pool());
        let size = context.session_config().batch_size().max(1);
        let out = stream::once(async move {
            let batches = common::collect(rows).await?;
            let _timer = baseline.elapsed_compute().timer();
            let all = concat_batches(&schema, &batches)?;
            reservation.try_grow(2 * all.get_array_memory_size())?;
            let all = sorted(&all, &by)?;
            baseline.record_output(all.num_rows());
            let slices = (0..all.num_rows()).step_by(size).map(move |at| {
                let _held = &reservation;
                Ok(all.slice(at, size.min(all.num_rows() - at)))
            });
            Ok::<_, datafusion::common::DataFusionError>(stream::iter(slices))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), out.try_flatten())))
    }
}
