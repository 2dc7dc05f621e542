//! Numbers the rows of each file as they are read, from 1: what a row is found by again. Never counts on across two files.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, Result, exec_err, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream};
use futures::StreamExt;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Column with the number of a row in its file.
pub const ROW: &str = "_row";

/// Logical count over a scan of whole files: the input's columns, then [`ROW`], `Int64`, from 1 in each file.
///
/// INVARIANT: the input is the scan itself, whose files are not cut and whose rows are all read, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NumberedNode {
    input: LogicalPlan,
    file: String,
    schema: DFSchemaRef,
}

/// Physical count.
#[derive(Debug)]
pub struct NumberedExec {
    input: Arc<dyn ExecutionPlan>,
    file: String,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl NumberedNode {
    /// A count over `input`, whose column `file` names the file of a row. Errors: `Plan` where the input has a column [`ROW`].
    pub fn try_new(input: LogicalPlan, file: String) -> Result<Self> {
        let added = DFSchema::try_from(Schema::new(vec![field()]))?;
        let schema = Arc::new(input.schema().join(&added)?);
        Ok(Self { input, file, schema })
    }

    /// The column that names the file of a row.
    pub fn file(&self) -> &str {
        &self.file
    }
}

fn field() -> Field {
    Field::new(ROW, DataType::Int64, false)
}

impl PartialOrd for NumberedNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.input.partial_cmp(&other.input) {
            Some(Ordering::Equal) => self.file.partial_cmp(&other.file),
            unequal => unequal,
        }
    }
}

impl UserDefinedLogicalNodeCore for NumberedNode {
    fn name(&self) -> &str {
        "Numbered"
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
        write!(f, "Numbered: by {}", self.file)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match inputs.pop() {
            Some(input) => Self::try_new(input, self.file.clone()),
            None => internal_err!("a count of rows has one input"),
        }
    }
}

impl NumberedExec {
    /// A count over `input`. Errors: `Internal` where the input has no column `file`.
    pub fn try_new(input: Arc<dyn ExecutionPlan>, file: String) -> Result<Self> {
        input.schema().index_of(&file)?;
        let fields = input.schema().fields().iter().cloned().chain([Arc::new(field())]).collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(fields));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            input.properties().partitioning.clone(),
            input.properties().emission_type,
            input.properties().boundedness,
        );
        Ok(Self { input, file, schema, properties: Arc::new(properties) })
    }

    /// The column that names the file of a row.
    pub fn file(&self) -> &str {
        &self.file
    }
}

impl DisplayAs for NumberedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "NumberedExec: by {}", self.file)
    }
}

impl ExecutionPlan for NumberedExec {
    fn name(&self) -> &str {
        "NumberedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// It does, but a sort above must stay there: below, it would be the sorted rows that are counted.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    /// A file that is cut, or whose rows are given to several, cannot be counted.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
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
            Some(input) => Ok(Arc::new(Self::try_new(input, self.file.clone())?)),
            None => internal_err!("a count of rows has one input"),
        }
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (at, schema) = (self.input.schema().index_of(&self.file)?, Arc::clone(&self.schema));
        let mut counter = Counter::default();
        let stream = input.map(move |batch| batch.and_then(|batch| counter.numbered(&batch, at, &schema)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

/// How far the file is that is being read.
#[derive(Default)]
struct Counter {
    file: String,
    rows: i64,
}

impl Counter {
    fn numbered(&mut self, batch: &RecordBatch, at: usize, schema: &SchemaRef) -> Result<RecordBatch> {
        let Some(files) = batch.column(at).as_string_opt::<i32>() else {
            return exec_err!("the file of a row is a text, not {}", batch.column(at).data_type());
        };
        let mut numbers = Vec::with_capacity(files.len());
        for row in 0..files.len() {
            if files.value(row) != self.file {
                (self.file, self.rows) = (files.value(row).to_owned(), 0);
            }
            self.rows += 1;
            numbers.push(self.rows);
        }
        let columns = batch.columns().iter().cloned().chain([Arc::new(Int64Array::from(numbers)) as ArrayRef]).collect();
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}
