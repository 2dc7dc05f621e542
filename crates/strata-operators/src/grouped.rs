//! Aggregates by whole numbers and words within a bucket: each key is a few machine words in one table that fits a cache. Never spills: it takes
//! the place of DataFusion's aggregate only where no memory budget is set.

use crate::choice::{self, with_choices};
use crate::functions::aggregate::like_before;
use crate::functions::distinct::Before;
use crate::functions::extreme::Extreme;
use crate::functions::numbering::Numbering;
use crate::sieve::SieveExec;
use crate::sorted::SortedExec;
use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputOrderMode, PlanProperties,
    SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt, stream};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Physical operator: a row a group in the order in which groups appear, its key columns, then its aggregates. `input` has one partition.
#[derive(Debug)]
pub(crate) struct GroupedExec {
    input: Arc<dyn ExecutionPlan>,
    by: Vec<Arc<dyn PhysicalExpr>>,
    aggregates: Vec<Aggregate>,
    schema: SchemaRef,
    /// Most groups that a bucket had so far: the next will have about as many.
    most: Arc<AtomicUsize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// One aggregate, what it is given, and of which rows.
#[derive(Debug, Clone)]
struct Aggregate {
    function: Arc<AggregateFunctionExpr>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    /// What it held in earlier buckets.
    before: Arc<Before>,
}

impl Aggregate {
    /// Of rows of `input`.
    fn state(&self, input: &Schema) -> Result<Box<dyn GroupsAccumulator>> {
        if let Some(extreme) = Extreme::of(&self.function) {
            return Ok(Box::new(extreme));
        }
        match self.arguments.first() {
            Some(first) => like_before(&self.function, &first.data_type(input)?, &self.before),
            None => self.function.create_groups_accumulator(),
        }
    }
}

/// A filter or projection that does the same in less time, with or without a budget; `None` where there is none.
pub(crate) fn row_by_row(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(sieve) = plan.downcast_ref::<FilterExec>().and_then(SieveExec::of_filter) {
        return Ok(Some(Arc::new(sieve)));
    }
    plan.downcast_ref::<ProjectionExec>().map_or(Ok(None), choice::of_projection)
}

/// `plan` with operators that do the same in less time and cannot spill.
pub(crate) fn with_quicker(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let done = Arc::clone(plan).transform_up(|plan| {
        if let Some(grouped) = plan.downcast_ref::<AggregateExec>().and_then(GroupedExec::of_aggregate) {
            return Ok(Transformed::yes(Arc::new(grouped) as Arc<dyn ExecutionPlan>));
        }
        if let Some(quicker) = row_by_row(&plan)? {
            return Ok(Transformed::yes(quicker));
        }
        Ok(match plan.downcast_ref::<SortExec>().and_then(SortedExec::of_sort) {
            Some(sorted) => Transformed::yes(Arc::new(sorted) as Arc<dyn ExecutionPlan>),
            None => Transformed::no(plan),
        })
    })?;
    Ok(done.data)
}

impl GroupedExec {
    /// The same as `aggregate`; `None` where it does more than this operator can.
    fn of_aggregate(aggregate: &AggregateExec) -> Option<Self> {
        let group = aggregate.group_expr();
        let whole = matches!(aggregate.mode(), AggregateMode::Single | AggregateMode::SinglePartitioned)
            && aggregate.input().output_partitioning().partition_count() == 1
            && *aggregate.input_order_mode() == InputOrderMode::Linear;
        let plain = group.is_single() && !group.is_empty() && aggregate.limit_options().is_none();
        let schema = aggregate.schema();
        let keys = group.expr().len();
        let fits = Numbering::new(schema.fields().iter().take(keys).map(|f| f.data_type())).is_some();
        if !whole || !plain || !fits || !aggregate.aggr_expr().iter().all(|a| a.groups_accumulator_supported()) {
            return None;
        }
        let input = aggregate.input().schema();
        let aggregates = aggregate.aggr_expr().iter().zip(aggregate.filter_expr()).map(|(function, filter)| {
            let order = function.order_bys().iter().map(|o| Arc::clone(&o.expr));
            let arguments = function.expressions().into_iter().chain(order);
            let arguments = arguments.map(|e| Ok(with_choices(&e, &input)?.data)).collect::<Result<_>>().ok()?;
            Some(Aggregate { function: Arc::clone(function), arguments, filter: filter.clone(), before: Arc::default() })
        });
        let by = group.expr().iter().map(|(e, _)| Arc::clone(e)).collect();
        Some(Self::new(Arc::clone(aggregate.input()), by, aggregates.collect::<Option<_>>()?, schema))
    }

    fn new(input: Arc<dyn ExecutionPlan>, by: Vec<Arc<dyn PhysicalExpr>>, aggregates: Vec<Aggregate>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            input.properties().boundedness,
        );
        let (most, metrics) = (Arc::new(AtomicUsize::new(0)), ExecutionPlanMetricsSet::new());
        Self { input, by, aggregates, schema, most, properties: Arc::new(properties), metrics }
    }
}

/// Groups and their aggregates so far.
struct Groups {
    numbering: Numbering,
    states: Vec<Box<dyn GroupsAccumulator>>,
    /// Group of each row of the batch at hand.
    of_rows: Vec<usize>,
    reservation: MemoryReservation,
}

impl Groups {
    fn take(&mut self, batch: &RecordBatch, by: &[Arc<dyn PhysicalExpr>], aggregates: &[Aggregate]) -> Result<()> {
        let rows = batch.num_rows();
        let evaluated = |e: &Arc<dyn PhysicalExpr>| e.evaluate(batch)?.into_array(rows);
        let keys: Vec<ArrayRef> = by.iter().map(evaluated).collect::<Result<_>>()?;
        self.numbering.number(&keys, &mut self.of_rows)?;
        let groups = self.numbering.groups();
        for (state, aggregate) in self.states.iter_mut().zip(aggregates) {
            let arguments: Vec<ArrayRef> = aggregate.arguments.iter().map(evaluated).collect::<Result<_>>()?;
            let filter: Option<ArrayRef> = aggregate.filter.as_ref().map(evaluated).transpose()?;
            let filter: Option<&BooleanArray> = filter.as_ref().map(|f| f.as_boolean());
            state.update_batch(&arguments, &self.of_rows, filter, groups)?;
        }
        let bytes = self.numbering.size() + self.states.iter().map(|s| s.size()).sum::<usize>();
        self.reservation.try_resize(bytes)
    }

    fn done(mut self, schema: &SchemaRef) -> Result<RecordBatch> {
        let mut columns = self.numbering.columns()?;
        for state in &mut self.states {
            columns.push(state.evaluate(EmitTo::All)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

impl DisplayAs for GroupedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let by: Vec<String> = self.by.iter().map(ToString::to_string).collect();
        let aggregates: Vec<&str> = self.aggregates.iter().map(|a| a.function.name()).collect();
        write!(f, "GroupedExec: by=[{}], aggr=[{}]", by.join(", "), aggregates.join(", "))
    }
}

impl ExecutionPlan for GroupedExec {
    fn name(&self) -> &str {
        "GroupedExec"
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
            Ok([input]) => {
                let new = Self::new(input, self.by.clone(), self.aggregates.clone(), Arc::clone(&self.schema));
                Ok(Arc::new(Self { most: Arc::clone(&self.most), ..new }))
            }
            Err(_) => internal_err!("groups have one input"),
        }
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let of = |a: &Aggregate| a.arguments.iter().chain(&a.filter).cloned().collect::<Vec<_>>();
        let all: Vec<_> = self.by.iter().cloned().chain(self.aggregates.iter().flat_map(of)).collect();
        let mut next = TreeNodeRecursion::Continue;
        for expression in &all {
            next = next.visit_sibling(|| visit(expression))?;
        }
        Ok(next)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut rows = self.input.execute(partition, Arc::clone(&context))?;
        let keys = self.schema.fields().iter().take(self.by.len()).map(|f| f.data_type());
        let Some(mut numbering) = Numbering::new(keys) else { return internal_err!("keys of groups changed their types") };
        numbering.expect(self.most.load(Ordering::Relaxed));
        let most = Arc::clone(&self.most);
        let states = self.aggregates.iter().map(|a| a.state(&self.input.schema())).collect::<Result<_>>()?;
        let reservation = MemoryConsumer::new(format!("groups[{partition}]")).register(context.memory_pool());
        let mut groups = Groups { numbering, states, of_rows: vec![], reservation };
        let (by, aggregates, schema) = (self.by.clone(), self.aggregates.clone(), self.schema());
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let size = context.session_config().batch_size().max(1);
        let out = stream::once(async move {
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                let _timer = baseline.elapsed_compute().timer();
                groups.take(&batch, &by, &aggregates)?;
            }
            most.fetch_max(groups.numbering.groups(), Ordering::Relaxed);
            let all = groups.done(&schema)?;
            baseline.record_output(all.num_rows());
            let slices = (0..all.num_rows()).step_by(size).map(move |at| Ok(all.slice(at, size.min(all.num_rows() - at))));
            Ok::<_, datafusion::common::DataFusionError>(stream::iter(slices))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), out.try_flatten())))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests build their own sessions")]
mod tests {
    use super::*;
    use arrow::array::{Date32Array, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::MemTable;
    use datafusion::physical_plan::{collect, displayable};
    use datafusion::prelude::{SessionConfig, SessionContext};
    use proptest::prelude::*;

    type Row = (Option<u8>, Option<i32>, Option<i64>);

    async fn session(rows: &[Row], batch: usize) -> SessionContext {
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1).with_batch_size(batch));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("who", Arc::new(StringArray::from_iter(rows.iter().map(|r| r.0.map(|k| format!("p{}", k % 5)))))),
            ("day", Arc::new(rows.iter().map(|r| r.1.map(|d| d % 3)).collect::<Date32Array>())),
            ("n", Arc::new(rows.iter().map(|r| r.2.map(|n| n % 100)).collect::<Int64Array>())),
        ];
        let fields: Vec<Field> = columns.iter().map(|(n, c)| Field::new(*n, c.data_type().clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns.into_iter().map(|(_, c)| c).collect()).unwrap();
        session.register_table("t", Arc::new(MemTable::try_new(schema, vec![vec![rows]]).unwrap())).unwrap();
        session
    }

    async fn both(session: &SessionContext, sql: &str) -> (Arc<dyn ExecutionPlan>, Arc<dyn ExecutionPlan>, bool) {
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let ours = with_quicker(&plan).unwrap();
        let replaced = displayable(ours.as_ref()).indent(false).to_string().contains("GroupedExec");
        (plan, ours, replaced)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn groups_and_their_order_are_those_of_the_other_aggregate(
            rows in prop::collection::vec(any::<Row>(), 0..200),
            batch in 1_usize..40,
            by in prop::sample::select(vec!["who", "day", "day, who", "day, who, n"]),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let session = session(&rows, batch).await;
                let sql = format!(
                    "select {by}, count(*) as c, sum(n) as s, min(who) as w, max(who) filter (where n > 0) as x,
                     count(n) filter (where day is not null) as f from t group by {by}"
                );
                let (theirs, ours, replaced) = both(&session, &sql).await;
                assert!(replaced);
                let text = |batches: &[RecordBatch]| arrow::util::pretty::pretty_format_batches(batches).unwrap().to_string();
                let (theirs, ours) = (collect(theirs, session.task_ctx()).await, collect(ours, session.task_ctx()).await);
                let lines = |t: String| t.lines().filter(|l| l.starts_with('|')).skip(1).map(str::to_owned).collect::<Vec<_>>();
                assert_eq!(lines(text(&ours.unwrap())), lines(text(&theirs.unwrap())));
            });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn rows_are_sorted_as_by_the_other_sort(
            rows in prop::collection::vec((Just(None), prop::option::of(any::<i32>()), prop::option::weighted(0.9, any::<i64>())), 0..200),
            has_nulls in any::<bool>(),
            batch in 1_usize..40,
            by in prop::sample::select(vec!["day", "day desc, n", "n desc nulls last, day", "n nulls first"]),
        ) {
            let rows: Vec<Row> = rows.into_iter().filter(|r| has_nulls || (r.1.is_some() && r.2.is_some())).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let session = session(&rows, batch).await;
                // What ties is the same row, by all that is shown of it.
                let sql = format!("select day, n from t order by {by}, day, n");
                let plan = session.sql(&sql).await.unwrap().create_physical_plan().await.unwrap();
                let ours = with_quicker(&plan).unwrap();
                assert!(displayable(ours.as_ref()).indent(false).to_string().contains("SortedExec"));
                let text = |batches: &[RecordBatch]| arrow::util::pretty::pretty_format_batches(batches).unwrap().to_string();
                let (theirs, ours) = (collect(plan, session.task_ctx()).await, collect(ours, session.task_ctx()).await);
                let lines = |t: String| t.lines().filter(|l| l.starts_with('|')).skip(1).map(str::to_owned).collect::<Vec<_>>();
                assert_eq!(lines(text(&ours.unwrap())), lines(text(&theirs.unwrap())));
            });
        }
    }

    #[tokio::test]
    async fn what_it_cannot_do_is_left_alone() {
        let session = session(&[(Some(1), Some(1), Some(1))], 8).await;
        for sql in [
            "select count(*) from t",
            "select cast(n as double) as x, count(*) from t group by 1",
            "select who, day, count(*) from t group by rollup (who, day)",
            "select distinct n from t limit 1",
        ] {
            assert!(!both(&session, sql).await.2, "{sql}");
        }
        assert!(both(&session, "select distinct n from t").await.2);
    }

    #[test]
    fn a_key_of_another_type_is_none() {
        assert!(Numbering::new([DataType::Float64].iter()).is_none());
    }
}
