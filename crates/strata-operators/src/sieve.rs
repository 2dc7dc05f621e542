//! A filter that hands a batch on as it is where every row stays, and copies a row once where not. Never changes the order of rows.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream};
use futures::{StreamExt, stream};
use std::fmt;
use std::sync::Arc;

/// Physical operator: the rows of `input` that `predicate` is true for.
#[derive(Debug)]
pub(crate) struct SieveExec {
    input: Arc<dyn ExecutionPlan>,
    predicate: Arc<dyn PhysicalExpr>,
    projection: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SieveExec {
    /// The same as `filter`; `None` where it stops after so many rows.
    pub(crate) fn of_filter(filter: &FilterExec) -> Option<Self> {
        filter.fetch().is_none().then(|| Self {
            input: Arc::clone(filter.input()),
            predicate: Arc::clone(filter.predicate()),
            projection: filter.projection().as_ref().map(|p| p.to_vec()),
            properties: Arc::clone(filter.properties()),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

/// Rows that are left of small batches until they are enough for one.
struct Rest {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: usize,
    /// Rows that are enough.
    enough: usize,
}

impl Rest {
    /// What to hand on once `left` came, of a batch of `of` rows.
    fn take(&mut self, left: RecordBatch, of: usize) -> Result<Option<RecordBatch>> {
        if self.batches.is_empty() && left.num_rows() * 2 >= of {
            return Ok((left.num_rows() > 0).then_some(left));
        }
        self.rows += left.num_rows();
        if left.num_rows() > 0 {
            self.batches.push(left);
        }
        match self.rows >= self.enough {
            true => self.all(),
            false => Ok(None),
        }
    }

    fn all(&mut self) -> Result<Option<RecordBatch>> {
        self.rows = 0;
        match std::mem::take(&mut self.batches) {
            none if none.is_empty() => Ok(None),
            some => Ok(Some(concat_batches(&self.schema, &some)?)),
        }
    }
}

fn sieved(batch: &RecordBatch, predicate: &Arc<dyn PhysicalExpr>, projection: Option<&[usize]>) -> Result<RecordBatch> {
    let mask = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
    let Some(mask): Option<&BooleanArray> = mask.as_boolean_opt() else {
        return exec_err!("a condition must be true or false, and `{predicate}` is {}", mask.data_type());
    };
    let narrow = projection.map(|p| batch.project(p)).transpose()?;
    let batch = narrow.as_ref().unwrap_or(batch);
    match mask.true_count() == batch.num_rows() {
        true => Ok(batch.clone()),
        false => Ok(filter_record_batch(batch, mask)?),
    }
}

impl DisplayAs for SieveExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "SieveExec: {}", self.predicate)
    }
}

impl ExecutionPlan for SieveExec {
    fn name(&self) -> &str {
        "SieveExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
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
        let Ok([input]) = <[_; 1]>::try_from(children) else { return internal_err!("a sieve has one input") };
        let filter = FilterExecBuilder::new(Arc::clone(&self.predicate), input).apply_projection(self.projection.clone())?;
        match Self::of_filter(&filter.build()?) {
            Some(sieve) => Ok(Arc::new(sieve)),
            None => internal_err!("a sieve has no limit"),
        }
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        visit(&self.predicate)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let (predicate, projection) = (Arc::clone(&self.predicate), self.projection.clone());
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let enough = (context.session_config().batch_size() / 2).max(1);
        let rest = Rest { schema: self.schema(), batches: vec![], rows: 0, enough };
        let out = stream::unfold(Some((input, rest)), move |state| {
            let (predicate, projection, baseline) = (Arc::clone(&predicate), projection.clone(), baseline.clone());
            async move {
                let (mut input, mut rest) = state?;
                while let Some(batch) = input.next().await {
                    let _timer = baseline.elapsed_compute().timer();
                    let left = batch.and_then(|batch| {
                        let left = sieved(&batch, &predicate, projection.as_deref())?;
                        rest.take(left, batch.num_rows())
                    });
                    if let Some(found) = left.transpose() {
                        return Some((found, Some((input, rest))));
                    }
                }
                rest.all().transpose().map(|last| (last, None))
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), out)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use datafusion::common::ScalarValue;
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
    use datafusion::physical_plan::common::collect;
    use proptest::prelude::*;

    fn batch(rows: &[Option<i64>]) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from(rows.to_vec()));
        let words: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|n| n.map(|n| format!("word {n}")))));
        RecordBatch::try_from_iter_with_nullable([("n", numbers, true), ("word", words, true)]).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn rows_are_those_of_the_other_filter(
            batches in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.9, 0_i64..100), 0..200), 1..12),
            most in prop::sample::select(vec![0_i64, 3, 40, 60, 97, 100]),
            narrow in any::<bool>(),
        ) {
            let batches: Vec<RecordBatch> = batches.iter().map(|b| batch(b)).collect();
            let input: Arc<dyn ExecutionPlan> = MemorySourceConfig::try_new_exec(&[batches.clone()], batches[0].schema(), None).unwrap();
            let most = Arc::new(Literal::new(ScalarValue::Int64(Some(most))));
            let below = Arc::new(BinaryExpr::new(Arc::new(Column::new("n", 0)), Operator::Lt, most));
            let filter = FilterExecBuilder::new(below, input).apply_projection(narrow.then(|| vec![1])).unwrap().build().unwrap();
            let sieve: Arc<dyn ExecutionPlan> = Arc::new(SieveExec::of_filter(&filter).unwrap());
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            let again = Arc::clone(&sieve).replace_children(vec![Arc::clone(sieve.children()[0])], options).unwrap();
            let filter: Arc<dyn ExecutionPlan> = Arc::new(filter);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let rows = |plan: &Arc<dyn ExecutionPlan>| {
                let stream = plan.execute(0, Arc::new(TaskContext::default())).unwrap();
                let found = runtime.block_on(collect(stream)).unwrap();
                assert!(found.iter().all(|b| b.num_rows() > 0));
                concat_batches(&plan.schema(), &found).unwrap()
            };
            prop_assert_eq!(rows(&sieve), rows(&filter));
            prop_assert_eq!(rows(&again), rows(&filter));
        }
    }
}
