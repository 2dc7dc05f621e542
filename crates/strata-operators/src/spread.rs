//! The exchange of one process: rows are spread over buckets many batches at a time, and packed in the same pass, straight into what waits for a
//! bucket to be complete. Never hands on a row before all rows have been read.

use crate::cogroup::CogroupExec;
use crate::dedup::DedupExec;
use crate::gather::Gather;
use crate::grouped::row_by_row;
use crate::owners::OwnersExec;
use crate::packed::{Order, Packed};
use crate::screen::marks::marking;
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef, UInt64Type};
use datafusion::common::hash_utils::create_hashes;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, Time};
use datafusion::physical_plan::repartition::{REPARTITION_RANDOM_STATE, RepartitionExec};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
    Partitioning, PlanProperties, SendableRecordBatchStream,
};
use futures::future::{BoxFuture, FutureExt, Shared, WeakShared};
use futures::{StreamExt, stream};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Rows of a bucket that one pass should give it: the more, the less each piece costs.
const ROWS_OF_ONE: usize = 512;
/// Rows of one pass at most: what is spread should stay in the cache of a core.
const ROWS_MAX: usize = 65_536;

/// Partitions that are read at the same time, of whatever source: an open file holds pages, and what is read by turns is no sooner at its end.
static READERS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(crate::turns()));

/// Spreads rows by the hash of columns. INVARIANT: a row goes where DataFusion's own hash exchange would bring it.
#[derive(Debug)]
pub struct SpreadExec {
    input: Arc<dyn ExecutionPlan>,
    by: Vec<Arc<dyn PhysicalExpr>>,
    buckets: usize,
    takes: Takes,
    /// Columns of the rows that are spread.
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    spread: Mutex<Option<Spread>>,
}

/// Which rows are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    All,
    /// Those that the last column marks, without it.
    Marked,
    /// All but those that are equal to the row right before them, in columns of 64 bits.
    Changes,
}

/// All has been read, or why it was not.
type Read = Shared<BoxFuture<'static, Result<(), Arc<DataFusionError>>>>;

/// What has been spread so far.
#[derive(Clone)]
struct Spread {
    buckets: Arc<Buckets>,
    /// Whoever waits for a bucket holds it; when nobody does, reading stops.
    read: WeakShared<BoxFuture<'static, Result<(), Arc<DataFusionError>>>>,
}

struct Buckets {
    each: Vec<Mutex<Option<Gather>>>,
    is_read: AtomicBool,
}

impl fmt::Debug for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spread over {}", self.buckets.each.len())
    }
}

/// `plan` with exchanges of this process where a bucket is gathered above them, and with filters of ours; for plans that run here, whole.
pub fn in_one_process(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let done = plan.transform_up(|plan| {
        if let Some(quicker) = row_by_row(&plan)? {
            return Ok(Transformed::yes(quicker));
        }
        if !gathers(&plan) {
            return Ok(Transformed::no(plan));
        }
        let takes = if plan.is::<OwnersExec>() { Takes::Changes } else { Takes::All };
        let children = plan.children().into_iter().map(|child| Ok(spread_of(child, takes)?.unwrap_or_else(|| Arc::clone(child))));
        let children = children.collect::<Result<Vec<_>>>()?;
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        Ok(Transformed::yes(plan.replace_children(children, options)?))
    })?;
    Ok(done.data)
}

fn gathers(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<CogroupExec>() || plan.is::<DedupExec>() || plan.is::<OwnersExec>()
}

fn spread_of(child: &Arc<dyn ExecutionPlan>, takes: Takes) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(exchange) = child.downcast_ref::<RepartitionExec>() else { return Ok(None) };
    let Partitioning::Hash(by, buckets) = exchange.partitioning() else { return Ok(None) };
    let (input, takes) = match marking(exchange.input())? {
        Some(marking) if takes == Takes::All => (marking, Takes::Marked),
        _ => (Arc::clone(exchange.input()), takes),
    };
    Ok(Some(Arc::new(SpreadExec::taking(takes, input, by.clone(), *buckets))))
}

impl SpreadExec {
    /// Rows of `input` spread `by` the hash of expressions.
    pub fn new(input: Arc<dyn ExecutionPlan>, by: Vec<Arc<dyn PhysicalExpr>>, buckets: usize) -> Self {
        Self::taking(Takes::All, input, by, buckets)
    }

    fn taking(takes: Takes, input: Arc<dyn ExecutionPlan>, by: Vec<Arc<dyn PhysicalExpr>>, buckets: usize) -> Self {
        let fields = input.schema().fields().clone();
        let schema = match (takes, fields.split_last()) {
            (Takes::Marked, Some((_, rest))) => Arc::new(Schema::new(rest.to_vec())),
            _ => input.schema(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::Hash(by.clone(), buckets),
            EmissionType::Final,
            input.properties().boundedness,
        );
        Self {
            input,
            by,
            buckets,
            takes,
            schema,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            spread: Mutex::new(None),
        }
    }

    /// The rows of a bucket, as soon as all rows have been read. Each bucket is given out once.
    pub(crate) fn gathered(
        &self,
        bucket: usize,
        context: &Arc<TaskContext>,
    ) -> Result<impl Future<Output = Result<Gather>> + use<>> {
        let mut slot = self.spread.lock().unwrap_or_else(PoisonError::into_inner);
        let (buckets, read) = match slot.as_ref() {
            Some(spread) => (Arc::clone(&spread.buckets), spread.read.upgrade()),
            None => {
                let (buckets, read) = self.begin(context)?;
                let Some(weak) = read.downgrade() else { return internal_err!("an exchange ended before it began") };
                *slot = Some(Spread { buckets: Arc::clone(&buckets), read: weak });
                (buckets, Some(read))
            }
        };
        Ok(async move {
            match read {
                Some(read) => read.await.map_err(DataFusionError::Shared)?,
                None if buckets.is_read.load(Ordering::Acquire) => {}
                None => return internal_err!("the exchange was stopped"),
            }
            match buckets.each[bucket].lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(gather) => Ok(gather),
                None => internal_err!("bucket {bucket} was taken twice"),
            }
        })
    }

    fn begin(&self, context: &Arc<TaskContext>) -> Result<(Arc<Buckets>, Read)> {
        let inputs = self.input.output_partitioning().partition_count();
        let streams = (0..inputs).map(|i| self.input.execute(i, Arc::clone(context))).collect::<Result<Vec<_>>>()?;
        let gather = |bucket| Gather::new("exchange", Arc::clone(&self.schema), bucket, &self.metrics, Arc::clone(context));
        let buckets = Arc::new(Buckets {
            each: (0..self.buckets).map(|bucket| Mutex::new(Some(gather(bucket)))).collect(),
            is_read: AtomicBool::new(false),
        });
        let into = Arc::clone(&buckets);
        let (by, takes) = (self.by.clone(), self.takes);
        let time = MetricBuilder::new(&self.metrics).subset_time("spread_time", 0);
        // Whoever reads another exchange waits for its readers: were each to wait for a turn too, nobody would go on.
        let in_turn = !self.input.exists(|plan| Ok(plan.is::<Self>()))?;
        let read = async move {
            let mut tasks = JoinSet::new();
            for stream in streams {
                let (by, into, time) = (by.clone(), Arc::clone(&into), time.clone());
                tasks.spawn(Spreader { by, takes, into, time, in_turn }.read(stream));
            }
            while let Some(ended) = tasks.join_next().await {
                ended.map_err(|e| Arc::new(DataFusionError::External(Box::new(e))))?.map_err(Arc::new)?;
            }
            into.is_read.store(true, Ordering::Release);
            Ok(())
        };
        Ok((buckets, read.boxed().shared()))
    }
}

/// Reads one partition of the input.
struct Spreader {
    by: Vec<Arc<dyn PhysicalExpr>>,
    takes: Takes,
    into: Arc<Buckets>,
    time: Time,
    in_turn: bool,
}

impl Spreader {
    async fn read(self, mut input: SendableRecordBatchStream) -> Result<()> {
        let _turn = match self.in_turn {
            true => Some(READERS.acquire().await.map_err(|e| DataFusionError::External(Box::new(e)))?),
            false => None,
        };
        let most = (self.into.each.len() * ROWS_OF_ONE).min(ROWS_MAX);
        let (mut waiting, mut rows) = (vec![], 0);
        while let Some(batch) = input.next().await {
            let batch = batch?;
            rows += batch.num_rows();
            waiting.push(batch);
            if rows >= most {
                self.spread(&std::mem::take(&mut waiting))?;
                rows = 0;
                // Whoever reads another source, or writes, is not kept waiting.
                tokio::task::yield_now().await;
            }
        }
        self.spread(&waiting)
    }

    fn spread(&self, batches: &[RecordBatch]) -> Result<()> {
        let _timer = self.time.timer();
        let buckets = self.into.each.len();
        let mut bucket_of = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
        let mut hashes = vec![];
        let mut taken = Vec::with_capacity(batches.len());
        for batch in batches {
            let rows = batch.num_rows();
            let keys: Vec<ArrayRef> = self.by.iter().map(|e| e.evaluate(batch)?.into_array(rows)).collect::<Result<_>>()?;
            hashes.clear();
            hashes.resize(rows, 0);
            create_hashes(&keys, REPARTITION_RANDOM_STATE.random_state(), &mut hashes)?;
            let from = bucket_of.len();
            bucket_of.extend(hashes.iter().map(|hash| (hash % buckets as u64) as u32));
            let (columns, left_out) = self.takes.of(batch)?;
            // What belongs to no bucket lies behind them all.
            left_out.iter().for_each(|row| bucket_of[from + row] = buckets as u32);
            taken.push(columns);
        }
        let order = Order::of(&bucket_of, buckets);
        for (bucket, piece) in Packed::scattered(&taken, &order)?.into_iter().enumerate().filter(|(_, p)| p.rows() > 0) {
            match self.into.each[bucket].lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                Some(gather) => gather.push(piece)?,
                None => return internal_err!("bucket {bucket} was taken before it was complete"),
            }
        }
        Ok(())
    }
}

impl Takes {
    /// The columns of a batch that are spread, and its rows that are not.
    fn of(self, batch: &RecordBatch) -> Result<(RecordBatch, Vec<usize>)> {
        match self {
            Self::All => Ok((batch.clone(), vec![])),
            Self::Marked => {
                let last = batch.num_columns() - 1;
                let Some(mark) = batch.column(last).as_boolean_opt() else { return internal_err!("rows without a mark") };
                let rest = batch.project(&(0..last).collect::<Vec<_>>())?;
                let left_out = if mark.has_false() { (!mark.values()).set_indices().collect() } else { vec![] };
                Ok((rest, left_out))
            }
            Self::Changes => {
                let words = batch.columns().iter().map(|c| c.as_primitive_opt::<UInt64Type>());
                let Some(words) = words.collect::<Option<Vec<_>>>() else { return internal_err!("rows that are no hashes") };
                let same = |row: &usize| words.iter().all(|w| w.value(*row) == w.value(row - 1));
                Ok((batch.clone(), (1..batch.num_rows()).filter(same).collect()))
            }
        }
    }
}

impl DisplayAs for SpreadExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let by: Vec<String> = self.by.iter().map(ToString::to_string).collect();
        write!(f, "SpreadExec: by=[{}], buckets={}", by.join(", "), self.buckets)?;
        match self.takes {
            Takes::All => Ok(()),
            takes => write!(f, ", takes={takes:?}"),
        }
    }
}

impl ExecutionPlan for SpreadExec {
    fn name(&self) -> &str {
        "SpreadExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::UnspecifiedDistribution])
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) => Ok(Arc::new(Self::taking(self.takes, input, self.by.clone(), self.buckets))),
            None => internal_err!("an exchange has one input"),
        }
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for by in &self.by {
            visit(by)?;
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let gathered = self.gathered(partition, &context)?;
        let stream = stream::once(async move { Ok(gathered.await?.load().await?.batch) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::{Emit, ScreenExec, ScreenRule};
    use arrow::array::{BooleanArray, Float64Array, Int64Array, StringArray, UInt64Array};
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Field, Int64Type};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, Literal};
    use datafusion::physical_plan::common::collect;
    use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

    /// Rows `from` to `to`, in pieces of different sizes.
    fn rows(from: i64, to: i64) -> Vec<RecordBatch> {
        let at = |from: i64, to: i64| {
            let n = || from..to;
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("key", Arc::new(n().map(|i| (i % 97 != 0).then_some(i * 7 % 1001)).collect::<Int64Array>())),
                ("row", Arc::new(Int64Array::from_iter_values(n()))),
                ("wide", Arc::new(n().map(|i| i as u64 * 0x9e37_79b9_7f4a).collect::<UInt64Array>())),
                ("far", Arc::new(n().map(|i| (i % 5 != 0).then_some(i * (i64::MAX / 1_000_000))).collect::<Int64Array>())),
                (
                    "word",
                    Arc::new(
                        n().map(|i| (i % 11 != 0).then(|| ["store", "", "online, ä"][i as usize % 3])).collect::<StringArray>(),
                    ),
                ),
                ("text", Arc::new(n().map(|i| Some(format!("text {i}"))).collect::<StringArray>())),
                ("flag", Arc::new(n().map(|i| (i % 13 != 0).then_some(i % 2 == 0)).collect::<BooleanArray>())),
                ("ratio", Arc::new(n().map(|i| Some(i as f64 / 3.0)).collect::<Float64Array>())),
            ];
            let fields: Vec<Field> = columns.iter().map(|(n, c)| Field::new(*n, c.data_type().clone(), true)).collect();
            RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, c)| c).collect()).unwrap()
        };
        let (mut out, mut next, mut size) = (vec![], from, 1);
        while next < to {
            out.push(at(next, (next + size).min(to)));
            (next, size) = (next + size, size * 5 % 4099 + 1);
        }
        out
    }

    fn source(partitions: &[Vec<RecordBatch>]) -> Arc<dyn ExecutionPlan> {
        MemorySourceConfig::try_new_exec(partitions, partitions[0][0].schema(), None).unwrap()
    }

    fn sorted(batches: &[RecordBatch], schema: &arrow::datatypes::SchemaRef) -> RecordBatch {
        let all = concat_batches(schema, batches).unwrap();
        let order = arrow::compute::sort_to_indices(all.column(1), None, None).unwrap();
        arrow::compute::take_record_batch(&all, &order).unwrap()
    }

    /// What a source gives, screened, by names of columns: `key` is there, and `row` lies below `last`.
    fn screened(last: i64, most: i64) -> (Arc<dyn ExecutionPlan>, Arc<ScreenExec>) {
        let input = source(&[rows(0, most), rows(most, most * 2)]);
        let rule = |label: &str, holds: Arc<dyn PhysicalExpr>| ScreenRule::drops(label, holds);
        let below = BinaryExpr::new(
            Arc::new(Column::new("row", 1)),
            Operator::Lt,
            Arc::new(Literal::new(datafusion::common::ScalarValue::Int64(Some(last)))),
        );
        let there = IsNotNullExpr::new(Arc::new(Column::new("key", 0)));
        let rules = vec![rule("there", Arc::new(there)), rule("below", Arc::new(below))];
        let screen = Arc::new(ScreenExec::new(input, "rows".into(), rules, Emit::Kept));
        let names: Vec<ProjectionExpr> = [("word", 4), ("row", 1), ("key", 0), ("flag", 6)]
            .map(|(n, i)| ProjectionExpr { expr: Arc::new(Column::new(n, i)), alias: format!("the {n}") })
            .to_vec();
        let named = ProjectionExec::try_new(names, Arc::clone(&screen) as Arc<dyn ExecutionPlan>).unwrap();
        (Arc::new(named), screen)
    }

    fn failures(plan: &Arc<dyn ExecutionPlan>, label: &str) -> usize {
        let own = plan.metrics().and_then(|m| m.sum_by_name(label)).map_or(0, |v| v.as_usize());
        own + plan.children().into_iter().map(|c| failures(c, label)).sum::<usize>()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn rows_that_are_marked_are_those_that_are_left() {
        let context = Arc::new(TaskContext::default());
        let by = || vec![Arc::new(Column::new("the key", 2)) as Arc<dyn PhysicalExpr>];
        // Most rows are used; few are; none is.
        for last in [39_000, 3_000, 0] {
            let (plain, _) = screened(last, 20_000);
            let exchange = RepartitionExec::try_new(screened(last, 20_000).0, Partitioning::Hash(by(), 5)).unwrap();
            let exchange: Arc<dyn ExecutionPlan> = Arc::new(exchange);
            let marking = spread_of(&exchange, Takes::All).unwrap().unwrap();
            assert!(datafusion::physical_plan::displayable(marking.as_ref()).indent(false).to_string().contains("(marks)"));
            let plain: Arc<dyn ExecutionPlan> = Arc::new(SpreadExec::new(plain, by(), 5));
            assert_eq!(marking.schema(), plain.schema());
            for bucket in 0..5 {
                let rows = |plan: &Arc<dyn ExecutionPlan>| collect(plan.execute(bucket, Arc::clone(&context)).unwrap());
                let (found, expected) = (rows(&marking).await.unwrap(), rows(&plain).await.unwrap());
                assert_eq!(sorted(&found, &plain.schema()), sorted(&expected, &plain.schema()), "bucket {bucket} of {last}");
            }
            for label in ["strata.seen", "strata.there", "strata.below"] {
                assert_eq!(failures(&marking, label), failures(&plain, label), "{label} of {last}");
            }
            assert_eq!(failures(&marking, "strata.there"), 40_000_usize.div_ceil(97));
        }
    }

    #[test]
    fn a_rule_that_may_fail_where_another_does_not_hold_is_not_marked() {
        let (_, screen) = screened(10, 10);
        assert!(screen.marking().is_some());
        let by_row = BinaryExpr::new(
            Arc::new(Literal::new(datafusion::common::ScalarValue::Int64(Some(1)))),
            Operator::Divide,
            Arc::new(Column::new("row", 1)),
        );
        let holds: Arc<dyn PhysicalExpr> = Arc::new(IsNotNullExpr::new(Arc::new(by_row)));
        let rules = vec![ScreenRule::drops("divided", holds)];
        assert!(ScreenExec::new(source(&[rows(0, 10)]), "rows".into(), rules, Emit::Kept).marking().is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn rows_in_a_row_that_are_equal_are_spread_once() {
        let column = |v: Vec<u64>| Arc::new(UInt64Array::from(v)) as ArrayRef;
        let keys = column(vec![7, 7, 7, 8, 8, 7, 9]);
        let owners = column(vec![1, 1, 2, 2, 2, 1, 3]);
        let batch = RecordBatch::try_from_iter([("key", keys), ("owner", owners)]).unwrap();
        let by = vec![Arc::new(Column::new("key", 0)) as Arc<dyn PhysicalExpr>];
        let spread = SpreadExec::taking(Takes::Changes, source(&[vec![batch]]), by, 1);
        let found = collect(spread.execute(0, Arc::new(TaskContext::default())).unwrap()).await.unwrap();
        let column = |i: usize| found[0].column(i).as_primitive::<UInt64Type>().values().to_vec();
        assert_eq!((column(0), column(1)), (vec![7, 7, 8, 7, 9], vec![1, 2, 2, 1, 3]));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn rows_go_where_the_other_exchange_brings_them_and_keep_their_order() {
        let context = Arc::new(TaskContext::default());
        for (buckets, last) in [(1, 10), (7, 40_000), (32, 40_000)] {
            let input = || source(&[rows(0, last), rows(last, last * 2)]);
            let key = || vec![Arc::new(Column::new("key", 0)) as Arc<dyn PhysicalExpr>];
            let ours = SpreadExec::new(input(), key(), buckets);
            let theirs: Arc<dyn ExecutionPlan> =
                Arc::new(RepartitionExec::try_new(input(), Partitioning::Hash(key(), buckets)).unwrap());
            let expected: Vec<_> = (0..buckets).map(|b| theirs.execute(b, Arc::clone(&context)).unwrap()).map(collect).collect();
            let expected = futures::future::join_all(expected).await;
            for (bucket, expected) in expected.into_iter().enumerate() {
                let found = collect(ours.execute(bucket, Arc::clone(&context)).unwrap()).await.unwrap();
                assert_eq!(sorted(&found, &ours.schema()), sorted(&expected.unwrap(), &ours.schema()), "bucket {bucket}");
                let numbers = found[0].column(1).as_primitive::<Int64Type>().values().to_vec();
                for half in [|n: &i64, last: i64| *n < last, |n: &i64, last: i64| *n >= last] {
                    assert!(numbers.iter().filter(|n| half(n, last)).is_sorted(), "bucket {bucket} is out of order");
                }
            }
        }
    }

    #[tokio::test]
    async fn whoever_waits_for_a_bucket_hears_why_there_is_none() {
        let one: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(1_i64.into()));
        let zero: Arc<dyn PhysicalExpr> = Arc::new(Column::new("row", 1));
        let broken = ProjectionExpr { expr: Arc::new(BinaryExpr::new(one, Operator::Divide, zero)), alias: "key".into() };
        let input = ProjectionExec::try_new(vec![broken], source(&[rows(0, 100)])).unwrap();
        let spread = SpreadExec::new(Arc::new(input), vec![Arc::new(Column::new("key", 0))], 3);
        let context = Arc::new(TaskContext::default());
        let streams: Vec<_> = (0..3).map(|b| collect(spread.execute(b, Arc::clone(&context)).unwrap())).collect();
        for found in futures::future::join_all(streams).await {
            assert!(found.unwrap_err().to_string().contains("Divide by zero"));
        }
    }

    #[tokio::test]
    async fn a_bucket_is_given_out_once() {
        let spread = SpreadExec::new(source(&[rows(0, 100)]), vec![Arc::new(Column::new("key", 0))], 2);
        let context = Arc::new(TaskContext::default());
        assert!(spread.gathered(0, &context).unwrap().await.is_ok());
        assert!(spread.gathered(0, &context).unwrap().await.is_err());
        assert!(spread.gathered(1, &context).unwrap().await.is_ok());
    }
}
