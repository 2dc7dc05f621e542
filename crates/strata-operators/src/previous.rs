//! What the row before held, within partitions of sorted rows: the window function `lag(x)`, a batch at a time. Never changes, drops or reorders
//! a row.

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::compute::{cast, concat, nullif, partition};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::window::{StandardWindowExpr, StandardWindowFunctionExpr, WindowExpr};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowUDFExpr};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputOrderMode, PlanProperties,
    SendableRecordBatchStream,
};
use futures::StreamExt;
use std::fmt;
use std::sync::Arc;

/// Physical operator: the columns of `input`, then for each of `values` what it was in the row before, null in the first row of a partition.
/// `input` has one partition, and rows that agree in `by` lie together.
#[derive(Debug)]
pub struct PreviousExec {
    input: Arc<dyn ExecutionPlan>,
    values: Vec<Arc<dyn PhysicalExpr>>,
    by: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl PreviousExec {
    /// `schema`: that of the input and a nullable column for each of `values`. Errors: `Internal` where it is not, or the input has several
    /// partitions.
    pub fn try_new(
        input: Arc<dyn ExecutionPlan>,
        values: Vec<Arc<dyn PhysicalExpr>>,
        by: Vec<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
    ) -> Result<Self> {
        let width = input.schema().fields().len() + values.len();
        if schema.fields().len() != width || input.output_partitioning().partition_count() != 1 {
            return internal_err!("rows before others are of one partition, and have a column a value");
        }
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(Arc::clone(&schema), input.output_ordering().cloned()),
            Partitioning::UnknownPartitioning(1),
            input.properties().emission_type,
            input.properties().boundedness,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Self { input, values, by, schema, properties: Arc::new(properties), metrics })
    }

    /// The same as `window`; `None` where it asks for more than the row before.
    pub(crate) fn of_window(window: &BoundedWindowAggExec) -> Option<Self> {
        let values = window.window_expr().iter().map(|e| value_before(e.as_ref())).collect::<Option<Vec<_>>>()?;
        let by = window.window_expr().first()?.partition_by().to_vec();
        let alike = window.window_expr().iter().all(|e| e.partition_by() == by.as_slice());
        if !alike || window.input_order_mode != InputOrderMode::Sorted {
            return None;
        }
        Self::try_new(Arc::clone(window.input()), values, by, window.schema()).ok()
    }

    /// What is taken from the row before.
    pub fn values(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.values
    }

    /// What rows of one partition have in common.
    pub fn by(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.by
    }
}

/// What a window expression takes from the row before, if that is all it does.
fn value_before(expression: &dyn WindowExpr) -> Option<Arc<dyn PhysicalExpr>> {
    let standard = expression.as_any().downcast_ref::<StandardWindowExpr>()?;
    let function = standard.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>()?;
    let [value] = function.args() else { return None };
    let kind = expression.field().ok()?.data_type().clone();
    // Its directions and treatment of nulls are its own: it is asked what it does.
    let column = |values: [Option<i64>; 4]| cast(&Int64Array::from(values.to_vec()), &kind).ok();
    let (sample, wanted) = (column([Some(1), None, Some(2), Some(3)])?, column([None, Some(1), None, Some(2)])?);
    let shifted = function.fun().name() == "lag"
        && function.create_evaluator().ok()?.evaluate_all(&[sample], 4).is_ok_and(|found| found.as_ref() == wanted.as_ref());
    (shifted && kind != DataType::Null).then(|| Arc::clone(value))
}

impl DisplayAs for PreviousExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PreviousExec:")?;
        self.values.iter().try_for_each(|v| write!(f, " {v}"))?;
        write!(f, " by")?;
        self.by.iter().try_for_each(|k| write!(f, " {k}"))
    }
}

impl ExecutionPlan for PreviousExec {
    fn name(&self) -> &str {
        "PreviousExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
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
            Ok([input]) => Ok(Arc::new(Self::try_new(input, self.values.clone(), self.by.clone(), Arc::clone(&self.schema))?)),
            Err(_) => internal_err!("rows before others have one input"),
        }
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut next = TreeNodeRecursion::Continue;
        for expression in self.values.iter().chain(&self.by) {
            next = next.visit_sibling(|| f(expression))?;
        }
        Ok(next)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let (values, by, schema) = (self.values.clone(), self.by.clone(), Arc::clone(&self.schema));
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let mut last: Option<Last> = None;
        let out = rows.map(move |batch| {
            let batch = batch?;
            let (values, by) = (evaluated(&values, &batch)?, evaluated(&by, &batch)?);
            let out = with_previous(&batch, &values, &by, last.as_ref(), &schema)?;
            if let Some(row) = batch.num_rows().checked_sub(1) {
                let of = |columns: &[ArrayRef]| columns.iter().map(|c| c.slice(row, 1)).collect();
                last = Some(Last { values: of(&values), by: of(&by) });
            }
            baseline.record_output(out.num_rows());
            Ok(out)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), out)))
    }
}

/// The last row that was seen, a column of one row each.
struct Last {
    values: Vec<ArrayRef>,
    by: Vec<ArrayRef>,
}

fn evaluated(expressions: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    expressions.iter().map(|e| e.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

fn with_previous(
    batch: &RecordBatch,
    values: &[ArrayRef],
    by: &[ArrayRef],
    last: Option<&Last>,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let mut columns = batch.columns().to_vec();
    if rows == 0 {
        columns.extend(values.iter().map(|v| new_null_array(v.data_type(), 0)));
        return Ok(RecordBatch::try_new(Arc::clone(schema), columns)?);
    }
    let mut firsts = vec![false; rows];
    if !by.is_empty() {
        partition(by)?.ranges().iter().for_each(|range| firsts[range.start] = true);
    }
    firsts[0] = !last.is_some_and(|last| goes_on(last, by));
    let firsts = BooleanArray::from(firsts);
    for (i, value) in values.iter().enumerate() {
        let before = last.map_or_else(|| new_null_array(value.data_type(), 1), |last| Arc::clone(&last.values[i]));
        let shifted = concat(&[before.as_ref(), value.slice(0, rows - 1).as_ref()])?;
        columns.push(nullif(&shifted, &firsts)?);
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Whether the first of these rows belongs to the partition of the last one before.
fn goes_on(last: &Last, by: &[ArrayRef]) -> bool {
    by.iter().zip(&last.by).all(|(now, before)| now.slice(0, 1).as_ref() == before.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, StringArray};
    use arrow::datatypes::{Field, Schema};
    use datafusion::common::tree_node::{Transformed, TreeNode};
    use datafusion::datasource::MemTable;
    use datafusion::physical_plan::{collect, displayable};
    use datafusion::prelude::{SessionConfig, SessionContext};
    use proptest::prelude::*;

    type Row = (Option<u8>, Option<i32>);

    #[expect(clippy::disallowed_methods, reason = "a plain session: nothing of ours but the operator")]
    async fn session(rows: &[Row], batch: usize) -> SessionContext {
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1).with_batch_size(batch));
        let who = StringArray::from_iter(rows.iter().map(|(k, _)| k.map(|k| format!("p{}", k % 5))));
        let day = Int32Array::from_iter(rows.iter().map(|(_, d)| *d));
        let fields = vec![Field::new("who", DataType::Utf8, true), Field::new("day", DataType::Int32, true)];
        let schema = Arc::new(Schema::new(fields));
        let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(who), Arc::new(day)]).unwrap();
        session.register_table("t", Arc::new(MemTable::try_new(schema, vec![vec![rows]]).unwrap())).unwrap();
        session
    }

    /// The plan of a query, with what can be taken from the row before taken so; how often that was.
    async fn planned(session: &SessionContext, sql: &str) -> (Arc<dyn ExecutionPlan>, Arc<dyn ExecutionPlan>, usize) {
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let mut found = 0;
        let ours = Arc::clone(&plan).transform_up(|node| {
            Ok(match node.downcast_ref::<BoundedWindowAggExec>().and_then(PreviousExec::of_window) {
                Some(previous) => {
                    found += 1;
                    Transformed::yes(Arc::new(previous) as Arc<dyn ExecutionPlan>)
                }
                None => Transformed::no(node),
            })
        });
        (plan, ours.unwrap().data, found)
    }

    const SQL: &str = "select who, day, lag(day) over (partition by who order by day) as d, lag(day + 1) over (partition by who \
                       order by day) as e from t order by who, day, d, e";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_row_before_is_what_lag_gives(rows in prop::collection::vec(any::<Row>(), 0..60), batch in 1_usize..20) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let session = session(&rows, batch).await;
                let (theirs, ours, found) = planned(&session, SQL).await;
                assert_eq!(found, 1, "{}", displayable(theirs.as_ref()).indent(false));
                let text = |batches: &[RecordBatch]| arrow::util::pretty::pretty_format_batches(batches).unwrap().to_string();
                let (theirs, ours) = (collect(theirs, session.task_ctx()).await, collect(ours, session.task_ctx()).await);
                let lines = |t: String| t.lines().filter(|l| l.starts_with('|')).skip(1).map(str::to_owned).collect::<Vec<_>>();
                assert_eq!(lines(text(&ours.unwrap())), lines(text(&theirs.unwrap())));
            });
        }
    }

    #[tokio::test]
    async fn what_asks_for_more_is_left_alone() {
        let session = session(&[(Some(1), Some(1))], 8).await;
        for other in [
            "lag(day, 2) over (partition by who order by day)",
            "lag(day, 1, 0) over (partition by who order by day)",
            "lag(day) ignore nulls over (partition by who order by day)",
            "lead(day) over (partition by who order by day)",
            "sum(day) over (partition by who order by day)",
        ] {
            let (.., found) = planned(&session, &format!("select who, {other} as d from t")).await;
            assert_eq!(found, 0, "{other}");
        }
        let (.., found) = planned(&session, "select lag(day) over (order by day) as d from t").await;
        assert_eq!(found, 1, "without partitions");
    }
}
