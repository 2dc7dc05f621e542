//! Removes repeated rows of a key, one bucket of keys at a time, and says how many it removed and why. Never keeps one of several copies
//! that disagree: those keys are quarantined whole.

use crate::gather::Gather;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{SortOptions, filter_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchemaRef, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::Distribution;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PlanProperties, SendableRecordBatchStream,
};
use foldhash::fast::FixedState;
use futures::{StreamExt, TryStreamExt, stream};
use hashbrown::HashTable;
use std::cmp::Ordering;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Metric of rows dropped because another copy was kept.
pub const ROWS_DEDUPLICATED: &str = "strata.deduplicated";
/// Metric of rows dropped because their copies disagree.
pub const ROWS_QUARANTINED: &str = "strata.quarantined";
/// Metric of rows that left a duplicate filter.
pub const ROWS_KEPT: &str = "strata.kept";

/// Which copy of a key stays.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub enum Keep {
    /// Copies are identical and any one stays; keys whose copies differ are quarantined, every copy.
    Identical,
    /// The first in an order of columns, each (name, descending); nulls last; what still ties goes to the smallest row.
    First(Vec<(String, bool)>),
}

/// Logical duplicate filter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct DedupNode {
    /// Input.
    pub input: LogicalPlan,
    /// Source whose rows are counted.
    pub source: String,
    /// Key columns.
    pub key: Vec<String>,
    /// Which copy stays.
    pub keep: Keep,
    /// How many buckets the keys are spread over.
    pub buckets: usize,
}

/// Physical duplicate filter.
#[derive(Debug)]
pub struct DedupExec {
    input: Arc<dyn ExecutionPlan>,
    source: String,
    key: Vec<String>,
    keep: Keep,
    buckets: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    turns: Arc<Semaphore>,
}

impl UserDefinedLogicalNodeCore for DedupNode {
    fn name(&self) -> &str {
        "Dedup"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Dedup: {} key=[{}] keep={:?}", self.source, self.key.join(", "), self.keep)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match inputs.pop() {
            Some(input) => Ok(Self { input, ..self.clone() }),
            None => internal_err!("a duplicate filter has one input"),
        }
    }
}

impl DedupExec {
    /// The filter over `input`, which must be partitioned by `key`.
    pub fn new(input: Arc<dyn ExecutionPlan>, source: String, key: Vec<String>, keep: Keep, buckets: usize) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            input.properties().partitioning.clone(),
            EmissionType::Final,
            input.properties().boundedness,
        );
        Self {
            input,
            source,
            key,
            keep,
            buckets,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            turns: Arc::new(Semaphore::new(crate::turns())),
        }
    }

    /// Source whose rows are counted.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Key columns.
    pub fn key(&self) -> &[String] {
        &self.key
    }

    /// Which copy stays.
    pub fn keep(&self) -> &Keep {
        &self.keep
    }

    /// How many buckets the keys are spread over.
    pub fn buckets(&self) -> usize {
        self.buckets
    }

    /// The key as expressions over the input.
    pub fn key_exprs(&self) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        let schema = self.input.schema();
        self.key.iter().map(|k| Ok(Arc::new(Column::new_with_schema(k, &schema)?) as _)).collect()
    }
}

impl DisplayAs for DedupExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "DedupExec: {} key=[{}] keep={:?}", self.source, self.key.join(", "), self.keep)
    }
}

impl ExecutionPlan for DedupExec {
    fn name(&self) -> &str {
        "DedupExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let by = match self.key_exprs() {
            Ok(exprs) => Distribution::KeyPartitioned(exprs),
            Err(_) => Distribution::SinglePartition,
        };
        InputDistributionRequirements::new(vec![by])
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
            Some(input) => Ok(Arc::new(Self::new(input, self.source.clone(), self.key.clone(), self.keep.clone(), self.buckets))),
            None => internal_err!("a duplicate filter has one input"),
        }
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let gather = Gather::new("duplicate filter", self.schema(), partition, &self.metrics, Arc::clone(&context));
        let rule = Rule::new(&self.schema(), &self.key, &self.keep)?;
        let counts = Counts {
            deduplicated: MetricBuilder::new(&self.metrics).counter(ROWS_DEDUPLICATED, partition),
            quarantined: MetricBuilder::new(&self.metrics).counter(ROWS_QUARANTINED, partition),
            kept: MetricBuilder::new(&self.metrics).counter(ROWS_KEPT, partition),
        };
        let turns = Arc::clone(&self.turns);
        let size = context.session_config().batch_size();
        let stream = stream::once(async move {
            let gather = gather.take_all(input).await?;
            let Ok(turn) = turns.acquire_owned().await else { return internal_err!("the duplicate filter was closed") };
            let loaded = gather.load().await?;
            let batch = rule.apply(loaded.batch, &counts)?;
            let rows = batch.num_rows();
            // The turn and the memory are held until the last slice is handed on.
            let held = (turn, loaded._reservation);
            let slices = stream::iter((0..rows).step_by(size.max(1))).map(move |at| {
                let _ = &held;
                Ok(batch.slice(at, size.min(rows - at)))
            });
            Ok(slices)
        })
        .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

struct Counts {
    deduplicated: Count,
    quarantined: Count,
    kept: Count,
}

/// What to keep of a bucket, with columns resolved.
struct Rule {
    key: Vec<usize>,
    rest: Vec<usize>,
    order: Option<Vec<(usize, SortOptions)>>,
}

/// What became of the rows of one key.
struct Group {
    kept: u32,
    copies: u32,
    differ: bool,
}

impl Rule {
    fn new(schema: &SchemaRef, key: &[String], keep: &Keep) -> Result<Self> {
        let index = |name: &String| Ok(schema.index_of(name)?);
        let key: Vec<usize> = key.iter().map(index).collect::<Result<_>>()?;
        let rest = (0..schema.fields().len()).filter(|i| !key.contains(i)).collect();
        let order = match keep {
            Keep::Identical => None,
            Keep::First(order) => Some(
                order
                    .iter()
                    .map(|(name, descending)| Ok((index(name)?, SortOptions { descending: *descending, nulls_first: false })))
                    .collect::<Result<_>>()?,
            ),
        };
        Ok(Self { key, rest, order })
    }

    fn apply(&self, batch: RecordBatch, counts: &Counts) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let columns: Vec<ArrayRef> = self.key.iter().map(|i| Arc::clone(batch.column(*i))).collect();
        let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
        let keys = RowConverter::new(fields)?.convert_columns(&columns)?;
        let compare = self.comparator(&batch)?;
        let hasher = FixedState::default();
        let mut table: HashTable<u32> = HashTable::with_capacity(rows);
        let mut groups: Vec<Group> = Vec::with_capacity(rows);
        for row in 0..rows {
            let key = keys.row(row);
            let hash = hasher.hash_one(key.as_ref());
            let known = table.find(hash, |g| keys.row(groups[*g as usize].kept as usize) == key).copied();
            match known {
                None => {
                    let at = groups.len() as u32;
                    groups.push(Group { kept: row as u32, copies: 1, differ: false });
                    table.insert_unique(hash, at, |g| hasher.hash_one(keys.row(groups[*g as usize].kept as usize).as_ref()));
                }
                Some(at) => {
                    let group = &mut groups[at as usize];
                    group.copies += 1;
                    match compare(row, group.kept as usize) {
                        Ordering::Equal => {}
                        Ordering::Less if self.order.is_some() => group.kept = row as u32,
                        _ if self.order.is_some() => {}
                        _ => group.differ = true,
                    }
                }
            }
        }
        counts.kept.add(0);
        finish(batch, &groups, counts)
    }

    /// Compares two rows: by the order first, then by every column outside the key.
    fn comparator(&self, batch: &RecordBatch) -> Result<impl Fn(usize, usize) -> Ordering + use<>> {
        let mut parts = vec![];
        for (i, options) in self.order.iter().flatten() {
            let column = batch.column(*i);
            parts.push(arrow::array::make_comparator(column, column, *options)?);
        }
        for i in &self.rest {
            let column = batch.column(*i);
            parts.push(arrow::array::make_comparator(column, column, SortOptions::default())?);
        }
        Ok(move |a: usize, b: usize| parts.iter().map(|compare| compare(a, b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal))
    }
}

fn finish(batch: RecordBatch, groups: &[Group], counts: &Counts) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let quarantined: usize = groups.iter().filter(|g| g.differ).map(|g| g.copies as usize).sum();
    let kept = groups.iter().filter(|g| !g.differ).count();
    counts.quarantined.add(quarantined);
    counts.kept.add(kept);
    counts.deduplicated.add(rows - quarantined - kept);
    if kept == rows {
        return Ok(batch);
    }
    let mut mask = vec![false; rows];
    groups.iter().filter(|g| !g.differ).for_each(|g| mask[g.kept as usize] = true);
    Ok(filter_record_batch(&batch, &BooleanArray::from(mask))?)
}
