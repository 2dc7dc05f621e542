//! The tables of one bucket: what the plans inside a cogroup scan. Never outlives its bucket.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Constraint, Constraints, Result, internal_err, project_schema};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream};
use futures::stream;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A named table that exists only inside a cogroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketTable {
    /// Name of the cogroup's input or stage.
    pub name: String,
    /// Columns.
    pub schema: SchemaRef,
    constraints: Constraints,
}

/// Scan of a bucket's table.
#[derive(Debug)]
pub struct BucketScanExec {
    name: String,
    table_schema: SchemaRef,
    projection: Vec<usize>,
    properties: Arc<PlanProperties>,
}

/// The rows of one bucket's tables; travels as an extension of the bucket's session config.
#[derive(Debug, Default)]
pub(crate) struct BucketTables {
    tables: Mutex<HashMap<String, Arc<[RecordBatch]>>>,
}

impl BucketTables {
    pub(crate) fn insert(&self, name: &str, rows: Vec<RecordBatch>) {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), rows.into());
    }

    fn get(&self, name: &str) -> Option<Arc<[RecordBatch]>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

impl BucketTable {
    /// A table; no two of its rows agree in all columns of `key`, where there is one, which whoever fills the table sees to.
    pub fn new(name: String, schema: SchemaRef, key: &[String]) -> Self {
        let at: Option<Vec<usize>> = key.iter().map(|k| schema.index_of(k).ok()).collect();
        let unique = at.filter(|at| !at.is_empty()).map(Constraint::Unique);
        Self { name, schema, constraints: Constraints::new_unverified(unique.into_iter().collect()) }
    }

    /// Columns in which no two rows agree; none where nothing is known.
    pub fn key(&self) -> Vec<String> {
        let unique = self.constraints.iter().find_map(|c| if let Constraint::Unique(at) = c { Some(at) } else { None });
        unique.into_iter().flatten().map(|i| self.schema.field(*i).name().clone()).collect()
    }
}

#[async_trait]
impl TableProvider for BucketTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let projection = projection.cloned().unwrap_or_else(all);
        Ok(Arc::new(BucketScanExec::try_new(self.name.clone(), Arc::clone(&self.schema), projection)?))
    }
}

impl BucketScanExec {
    /// A scan of the columns `projection` of the bucket's table `name`.
    pub fn try_new(name: String, table_schema: SchemaRef, projection: Vec<usize>) -> Result<Self> {
        let schema = project_schema(&table_schema, Some(&projection))?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self { name, table_schema, projection, properties: Arc::new(properties) })
    }

    /// Name of the table.
    pub fn table(&self) -> &str {
        &self.name
    }

    /// Columns of the whole table.
    pub fn table_schema(&self) -> &SchemaRef {
        &self.table_schema
    }

    /// Indexes of the columns read.
    pub fn projection(&self) -> &[usize] {
        &self.projection
    }
}

impl DisplayAs for BucketScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "BucketScanExec: {}", self.name)
    }
}

impl ExecutionPlan for BucketScanExec {
    fn name(&self) -> &str {
        "BucketScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(tables) = context.session_config().get_extension::<BucketTables>() else {
            return internal_err!("the bucket table `{}` was read outside its cogroup", self.name);
        };
        let Some(batches) = tables.get(&self.name) else {
            return internal_err!("the bucket table `{}` was read before it was made", self.name);
        };
        // By name: a stage keeps only the columns that somebody reads.
        let names = self.schema();
        let narrow = |batch: &RecordBatch| {
            let columns = names.fields().iter().map(|f| batch.schema().index_of(f.name())).collect::<Result<Vec<_>, _>>()?;
            batch.project(&columns)
        };
        let batches = batches.iter().map(narrow).collect::<Result<Vec<_>, _>>()?;
        let size = context.session_config().batch_size().max(1);
        let slices = batches.into_iter().flat_map(move |batch| {
            let rows = batch.num_rows();
            (0..rows).step_by(size).map(move |at| Ok(batch.slice(at, size.min(rows - at))))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream::iter(slices))))
    }
}
