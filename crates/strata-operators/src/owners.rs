//! Counts keys that stand under more than one owner, from hashes of both: what shows that all rows of a key meet where rows of an owner meet.
//! Never says a key has one owner when it has two; by chance of 1 in 2^64 a pair it may say the opposite.

use crate::gather::gathered;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::Distribution;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, Partitioning, PlanProperties,
    SendableRecordBatchStream,
};
use futures::stream;
use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, LazyLock};
use tokio::sync::Semaphore;

/// Name of the hash of a row's key in the input.
pub const KEY: &str = "key";
/// Name of the hash of a row's owner in the input.
pub const OWNER: &str = "owner";
/// The only column of the output.
pub const CONFLICTS: &str = "conflicts";

static OUTPUT: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new(Schema::new(vec![Field::new(CONFLICTS, DataType::Int64, false)])));

/// Logical count; the input has the columns [`KEY`] and [`OWNER`], both `UInt64`. One row a bucket: `conflicts`, the later rows of a key
/// whose owner is not that of its first row, so 0 where every key has one owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnersNode {
    input: LogicalPlan,
    schema: DFSchemaRef,
    /// How many buckets the keys are spread over.
    pub buckets: usize,
}

/// Physical count.
#[derive(Debug)]
pub struct OwnersExec {
    input: Arc<dyn ExecutionPlan>,
    buckets: usize,
    /// Whether its exchange is as wide as its buckets.
    is_spread: bool,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    turns: Arc<Semaphore>,
}

impl OwnersNode {
    /// A count over `input`. Errors: none that a caller can cause.
    pub fn try_new(input: LogicalPlan, buckets: usize) -> Result<Self> {
        let schema = Arc::new(DFSchema::try_from(OUTPUT.as_ref().clone())?);
        Ok(Self { input, schema, buckets })
    }
}

impl PartialOrd for OwnersNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for OwnersNode {
    fn name(&self) -> &str {
        "Owners"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Owners")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match inputs.pop() {
            Some(input) => Self::try_new(input, self.buckets),
            None => internal_err!("a count of owners has one input"),
        }
    }
}

impl OwnersExec {
    /// The count over `input`, whose exchange is yet to be made as wide as its buckets.
    pub fn planned(input: Arc<dyn ExecutionPlan>, buckets: usize) -> Self {
        Self::with(input, buckets, buckets.max(1), false)
    }

    /// The count over `input`, which must be partitioned by its first column.
    pub fn new(input: Arc<dyn ExecutionPlan>, buckets: usize) -> Self {
        let partitions = input.properties().partitioning.partition_count();
        Self::with(input, buckets, partitions, true)
    }

    fn with(input: Arc<dyn ExecutionPlan>, buckets: usize, partitions: usize, is_spread: bool) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&OUTPUT)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            input.properties().boundedness,
        );
        Self {
            input,
            buckets,
            is_spread,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            turns: Arc::new(Semaphore::new(crate::turns())),
        }
    }

    /// How many buckets the keys are spread over.
    pub fn buckets(&self) -> usize {
        self.buckets
    }

    /// What the rows are spread by.
    pub fn key_expr(&self) -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(KEY, 0))
    }
}

impl DisplayAs for OwnersExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("OwnersExec")
    }
}

impl ExecutionPlan for OwnersExec {
    fn name(&self) -> &str {
        "OwnersExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::KeyPartitioned(vec![self.key_expr()])])
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
            Some(input) if self.is_spread => Ok(Arc::new(Self::new(input, self.buckets))),
            Some(input) => Ok(Arc::new(Self::planned(input, self.buckets))),
            None => internal_err!("a count of owners has one input"),
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
        let gather = gathered("count of owners", &self.input, partition, &self.metrics, &context)?;
        let turns = Arc::clone(&self.turns);
        let stream = stream::once(async move {
            let gather = gather.await?;
            let Ok(_turn) = turns.acquire_owned().await else { return internal_err!("the count of owners was closed") };
            let loaded = gather.load().await?;
            let conflicts: ArrayRef = Arc::new(Int64Array::from(vec![conflicts(&loaded.batch)?]));
            Ok(RecordBatch::try_new(Arc::clone(&OUTPUT), vec![conflicts])?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

fn conflicts(batch: &RecordBatch) -> Result<i64> {
    let (Some(_), Some(owners)) =
        (batch.column(0).as_primitive_opt::<UInt64Type>(), batch.column(1).as_primitive_opt::<UInt64Type>())
    else {
        return internal_err!("keys and owners are compared as 64-bit hashes");
    };
    let repeats = crate::keys::repeats(&[Arc::clone(batch.column(0))])?;
    let owner = |row: u32| owners.value(row as usize);
    Ok(repeats.into_iter().filter(|(first, row)| owner(*first) != owner(*row)).count() as i64)
}
