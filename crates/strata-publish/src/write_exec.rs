//! The physical write: each partition of its input becomes one file and one receipt. It never makes a file part of a table.
//!
//! The same rows in the same order give the same bytes, however the input is cut into batches: rows are regrouped before they are
//! encoded, and row groups end by rows and encoded bytes alone.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, internal_datafusion_err, internal_err, plan_datafusion_err};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::TryStreamExt;
use object_store::path::Path;
use strata_operators::write::{WriteNode, WritePurpose, WriteSpec, receipt_schema};
use url::{Position, Url};

use crate::content::ContentHasher;
use crate::file::{FileJob, check_format, write_file};
use crate::stats::Stats;
use crate::stored::stored_schema;

/// Writes each input partition to one file.
///
/// Shape: as many output partitions as input partitions; each gives one row of [`receipt_schema`], or none where it had no rows.
/// Partition 0 writes a file even then, so that an empty table keeps its schema. Rows are stored as
/// [`stored_schema`](crate::stored::stored_schema) says. Memory: at most about 64 MiB of encoder and 24 MiB of upload a partition,
/// reported to the pool as what it is, without asking: a writer that was refused a little memory while a sort below it holds all of
/// it would fail the run, so the sort has to give way. Metrics: `rows_written`, `bytes_written`. Errors: `Plan` for what cannot
/// be stored, `IoError` for the store (which a cluster retries), and the input's.
#[derive(Debug)]
pub struct WriteExec {
    input: Arc<dyn ExecutionPlan>,
    spec: WriteSpec,
    stored: SchemaRef,
    ordered: Option<LexOrdering>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// Plans [`WriteNode`] as [`WriteExec`].
#[derive(Debug, Default)]
pub struct WritePlanner;

impl WriteExec {
    /// A write of the rows of `input` as `spec` says.
    pub fn try_new(input: Arc<dyn ExecutionPlan>, spec: WriteSpec) -> Result<Self> {
        spec.check()?;
        let stored = stored_schema(&input.schema())?;
        check_format(spec.format, &stored)?;
        ContentHasher::try_new(&stored)?;
        Stats::try_new(&stored, &spec.bounds)?;
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(receipt_schema()),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Ok(Self { input, spec, stored, ordered: None, properties, metrics: ExecutionPlanMetricsSet::new() })
    }

    /// The same, keeping the order of an input that is sorted as a whole: without this the optimiser drops a sort nobody asks for.
    pub fn in_order(mut self) -> Self {
        if self.input.output_partitioning().partition_count() == 1 {
            self.ordered = self.input.output_ordering().cloned();
        }
        self
    }

    /// The plan whose rows are written.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// Where and how they are written.
    pub fn spec(&self) -> &WriteSpec {
        &self.spec
    }

    /// The schema of the files.
    pub fn stored_schema(&self) -> &SchemaRef {
        &self.stored
    }

    fn job(&self, partition: usize, context: &TaskContext) -> Result<FileJob> {
        let folder =
            Url::parse(&self.spec.folder).map_err(|error| internal_datafusion_err!("`{}`: {error}", self.spec.folder))?;
        let store = context.runtime_env().object_store(ObjectStoreUrl::parse(&folder[..Position::BeforePath])?)?;
        let root = Path::from_url_path(folder.path())
            .map_err(|error| plan_datafusion_err!("the output folder `{folder}` is no path of a store: {error}"))?;
        let name = file_name(&self.spec, partition, context.task_id().as_deref());
        let consumer = MemoryConsumer::new(format!("WriteExec[{partition}]"));
        Ok(FileJob {
            store,
            path: root.clone().join(name.as_str()),
            folder: root,
            name,
            schema: Arc::clone(&self.stored),
            hasher: (self.spec.purpose == WritePurpose::Publish).then(|| ContentHasher::try_new(&self.stored)).transpose()?,
            stats: Stats::try_new(&self.stored, &self.spec.bounds)?,
            format: self.spec.format,
            purpose: self.spec.purpose,
            formulas: self.spec.formulas,
            keep_empty: partition == 0,
            reservation: consumer.register(context.memory_pool()),
            rows: MetricBuilder::new(&self.metrics).counter("rows_written", partition),
            bytes: MetricBuilder::new(&self.metrics).counter("bytes_written", partition),
        })
    }
}

/// `part-<attempt>-<partition>[-<task>].<format>`.
// INVARIANT: on a cluster the partition counts from 0 in every task, so the task's identity is part of the name; two ids never give
// one name, because every byte but letters and digits is written as `_` and two hex digits.
fn file_name(spec: &WriteSpec, partition: usize, task: Option<&str>) -> String {
    let mut name = format!("part-{}-{partition:05}", spec.attempt);
    if let Some(task) = task {
        name.push('-');
        for byte in task.bytes() {
            match byte.is_ascii_alphanumeric() {
                true => name.push(char::from(byte)),
                false => name.push_str(&format!("_{byte:02x}")),
            }
        }
    }
    format!("{name}.{}", spec.format)
}

impl ExecutionPlan for WriteExec {
    fn name(&self) -> &str {
        "WriteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.ordered.clone().map(OrderingRequirements::from)]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![match &self.ordered {
            Some(_) => Distribution::SinglePartition,
            None => Distribution::UnspecifiedDistribution,
        }])
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => {
                let ordered = self.ordered.clone();
                Ok(Arc::new(Self { ordered, ..Self::try_new(input, self.spec.clone())? }))
            }
            _ => internal_err!("WriteExec takes one input"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let job = self.job(partition, &context)?;
        let input = self.input.execute(partition, context)?;
        let receipts = futures::stream::once(write_file(job, input)).try_filter_map(|receipt| async move { Ok(receipt) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(receipt_schema(), receipts)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

impl DisplayAs for WriteExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match format {
            DisplayFormatType::TreeRender => write!(f, "folder={}", self.spec.folder),
            _ => write!(f, "WriteExec: folder={}, format={}", self.spec.folder, self.spec.format),
        }
    }
}

#[async_trait]
impl ExtensionPlanner for WritePlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<WriteNode>() else {
            return Ok(None);
        };
        match physical_inputs {
            [input] => Ok(Some(Arc::new(WriteExec::try_new(Arc::clone(input), node.spec().clone())?.in_order()))),
            _ => Err(DataFusionError::Internal("a write node takes one input".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_operators::write::{Formulas, WriteFormat};

    #[test]
    fn file_names_tell_attempts_partitions_and_tasks_apart() {
        let spec = WriteSpec {
            folder: "file:///t/runs/1".into(),
            format: WriteFormat::Parquet,
            attempt: "a1".into(),
            purpose: WritePurpose::Publish,
            bounds: vec![],
            formulas: Formulas::Escape,
        };
        assert_eq!(file_name(&spec, 3, None), "part-a1-00003.parquet");
        assert_eq!(file_name(&spec, 0, Some("TID 7 j/1.0")), "part-a1-00000-TID_207_20j_2f1_2e0.parquet");
        assert_ne!(file_name(&spec, 0, Some("a/b")), file_name(&spec, 0, Some("a_2fb")));
    }
}
