//! Removes repeated rows of a key, one bucket at a time, and says how many it removed and why. Never keeps one of several copies that
//! disagree: those keys are quarantined whole.

use crate::gather::gathered;
use crate::keys;
use crate::screen::Emit;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{SortOptions, filter_record_batch};
use arrow::datatypes::SchemaRef;
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
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, Partitioning, PlanProperties,
    SendableRecordBatchStream,
};
use futures::stream;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
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
    /// Columns that the rows are spread by. INVARIANT: rows of one key agree in them.
    pub spread_by: Vec<String>,
    /// How many buckets the rows are spread over.
    pub buckets: usize,
    /// Which rows come out: those that stay, or those whose copies disagree.
    pub emit: Emit,
    /// Columns in which copies may differ.
    pub carried: Vec<String>,
}

/// What a duplicate filter does, without its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DedupSpec {
    /// Source whose rows are counted.
    pub source: String,
    /// Key columns.
    pub key: Vec<String>,
    /// Which copy stays.
    pub keep: Keep,
    /// Columns that the rows are spread by.
    pub spread_by: Vec<String>,
    /// How many buckets the rows are spread over.
    pub buckets: usize,
    /// Which rows come out: those that stay, or those whose copies disagree.
    pub emit: Emit,
    /// Columns in which copies may differ.
    pub carried: Vec<String>,
}

/// Physical duplicate filter.
#[derive(Debug)]
pub struct DedupExec {
    input: Arc<dyn ExecutionPlan>,
    spec: DedupSpec,
    /// Whether its exchange is as wide as its buckets.
    is_spread: bool,
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
        let (key, by) = (self.key.join(", "), self.spread_by.join(", "));
        let what = if self.emit == Emit::Quarantined { " put aside" } else { "" };
        write!(f, "Dedup: {}{what} key=[{key}] keep={:?} by=[{by}]", self.source, self.keep)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match inputs.pop() {
            Some(input) => Ok(Self { input, ..self.clone() }),
            None => internal_err!("a duplicate filter has one input"),
        }
    }
}

impl DedupNode {
    /// What it does, without its input.
    pub fn spec(&self) -> DedupSpec {
        DedupSpec {
            source: self.source.clone(),
            key: self.key.clone(),
            keep: self.keep.clone(),
            spread_by: self.spread_by.clone(),
            buckets: self.buckets,
            emit: self.emit,
            carried: self.carried.clone(),
        }
    }

    /// The filter over `input`.
    pub fn of(input: LogicalPlan, spec: DedupSpec) -> Self {
        let DedupSpec { source, key, keep, spread_by, buckets, emit, carried } = spec;
        Self { input, source, key, keep, spread_by, buckets, emit, carried }
    }
}

impl DedupExec {
    /// The filter over `input`, whose exchange is yet to be made as wide as its buckets: nothing above may rely on how its rows lie now.
    pub fn planned(input: Arc<dyn ExecutionPlan>, spec: DedupSpec) -> Self {
        let partitioning = Partitioning::UnknownPartitioning(spec.buckets.max(1));
        Self::with(input, spec, partitioning, false)
    }

    /// The filter over `input`, which must be partitioned by the columns it is spread by.
    pub fn new(input: Arc<dyn ExecutionPlan>, spec: DedupSpec) -> Self {
        let partitioning = input.properties().partitioning.clone();
        Self::with(input, spec, partitioning, true)
    }

    fn with(input: Arc<dyn ExecutionPlan>, spec: DedupSpec, partitioning: Partitioning, is_spread: bool) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            partitioning,
            EmissionType::Final,
            input.properties().boundedness,
        );
        Self {
            input,
            spec,
            is_spread,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            turns: Arc::new(Semaphore::new(crate::turns())),
        }
    }

    /// What it does.
    pub fn spec(&self) -> &DedupSpec {
        &self.spec
    }

    /// What is done to the rows of one bucket, counted by this operator.
    pub(crate) fn filter(&self, partition: usize) -> Result<Filter> {
        let counts = Counts {
            deduplicated: MetricBuilder::new(&self.metrics).counter(ROWS_DEDUPLICATED, partition),
            quarantined: MetricBuilder::new(&self.metrics).counter(ROWS_QUARANTINED, partition),
            kept: MetricBuilder::new(&self.metrics).counter(ROWS_KEPT, partition),
        };
        Ok(Filter { rule: Rule::new(&self.schema(), &self.spec)?, counts })
    }

    /// The columns that rows are spread by, as expressions over the input.
    pub fn spread_exprs(&self) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        let schema = self.input.schema();
        self.spec.spread_by.iter().map(|k| Ok(Arc::new(Column::new_with_schema(k, &schema)?) as _)).collect()
    }
}

impl DisplayAs for DedupExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "DedupExec: {} key=[{}] keep={:?}", self.spec.source, self.spec.key.join(", "), self.spec.keep)
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
        let by = match self.spread_exprs() {
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
            Some(input) if self.is_spread => Ok(Arc::new(Self::new(input, self.spec.clone()))),
            Some(input) => Ok(Arc::new(Self::planned(input, self.spec.clone()))),
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
        let gather = gathered("duplicate filter", &self.input, partition, &self.metrics, &context)?;
        let filter = self.filter(partition)?;
        let turns = Arc::clone(&self.turns);
        let stream = stream::once(async move {
            let gather = gather.await?;
            let Ok(turn) = turns.acquire_owned().await else { return internal_err!("the duplicate filter was closed") };
            let loaded = gather.load().await?;
            let batch = filter.apply(loaded.batch)?;
            drop(turn);
            // In one piece: whoever gathers it next need not put it together again.
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

/// What is done to the rows of one bucket.
pub(crate) struct Filter {
    rule: Rule,
    counts: Counts,
}

impl Filter {
    /// The rows that stay; what becomes of the others is counted.
    pub(crate) fn apply(&self, batch: RecordBatch) -> Result<RecordBatch> {
        self.rule.apply(batch, &self.counts)
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
    emit: Emit,
    order: Option<Vec<(usize, SortOptions)>>,
}

/// What became of the rows of a key that stands in more than one.
struct Group {
    kept: u32,
    rows: Vec<u32>,
    differ: bool,
}

impl Rule {
    fn new(schema: &SchemaRef, spec: &DedupSpec) -> Result<Self> {
        let index = |name: &String| Ok(schema.index_of(name)?);
        let key: Vec<usize> = spec.key.iter().map(index).collect::<Result<_>>()?;
        let carried: Vec<usize> = spec.carried.iter().map(index).collect::<Result<_>>()?;
        let rest = (0..schema.fields().len()).filter(|i| !key.contains(i) && !carried.contains(i)).collect();
        let order = match &spec.keep {
            Keep::Identical => None,
            Keep::First(order) => Some(
                order
                    .iter()
                    .map(|(name, descending)| Ok((index(name)?, SortOptions { descending: *descending, nulls_first: false })))
                    .collect::<Result<_>>()?,
            ),
        };
        Ok(Self { key, rest, emit: spec.emit, order })
    }

    fn apply(&self, batch: RecordBatch, counts: &Counts) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let columns: Vec<ArrayRef> = self.key.iter().map(|i| Arc::clone(batch.column(*i))).collect();
        let repeats = keys::repeats(&columns)?;
        if repeats.is_empty() {
            counts.kept.add(rows);
            return Ok(if self.emit == Emit::Kept { batch } else { batch.slice(0, 0) });
        }
        let compare = self.comparator(&batch)?;
        let mut groups: BTreeMap<u32, Group> = BTreeMap::new();
        for (first, row) in repeats {
            let group = groups.entry(first).or_insert_with(|| Group { kept: first, rows: vec![first], differ: false });
            group.rows.push(row);
            match (compare(row as usize, group.kept as usize), self.order.is_some()) {
                (Ordering::Equal, _) | (Ordering::Greater, true) => {}
                (Ordering::Less, true) => group.kept = row,
                (_, false) => group.differ = true,
            }
        }
        finish(&batch, groups, counts, self.emit)
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

fn finish(batch: &RecordBatch, groups: BTreeMap<u32, Group>, counts: &Counts, emit: Emit) -> Result<RecordBatch> {
    let mut mask = vec![true; batch.num_rows()];
    let mut aside = vec![false; batch.num_rows()];
    for group in groups.into_values() {
        group.rows.iter().for_each(|row| mask[*row as usize] = false);
        mask[group.kept as usize] = !group.differ;
        group.rows.iter().for_each(|row| aside[*row as usize] = group.differ);
        match group.differ {
            true => counts.quarantined.add(group.rows.len()),
            false => counts.deduplicated.add(group.rows.len() - 1),
        }
    }
    let mask = BooleanArray::from(mask);
    counts.kept.add(mask.true_count());
    let out = if emit == Emit::Kept { mask } else { BooleanArray::from(aside) };
    Ok(filter_record_batch(batch, &out)?)
}
