//! What is done to an input of a cogroup once its bucket is complete: rows are gathered before their duplicates are looked for, so that they wait
//! once. Never drops a row that the duplicate filter would keep.

use crate::dedup::{DedupExec, Filter};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use std::sync::Arc;

/// The plan whose rows are gathered, and what is done to them then.
pub(crate) struct Late {
    gathered: Arc<dyn ExecutionPlan>,
    filter: Option<Filter>,
    /// From the first to the last.
    projections: Vec<(Vec<ProjectionExpr>, SchemaRef)>,
}

impl Late {
    /// Of one partition of `input`: projections over a duplicate filter are done late, everything else before.
    pub(crate) fn of(input: &Arc<dyn ExecutionPlan>, partition: usize) -> Result<Self> {
        let (mut projections, mut at) = (vec![], input);
        while let Some(projection) = at.downcast_ref::<ProjectionExec>() {
            projections.insert(0, (projection.expr().to_vec(), at.schema()));
            at = projection.input();
        }
        match at.downcast_ref::<DedupExec>() {
            Some(dedup) => {
                let filter = Some(dedup.filter(partition)?);
                Ok(Self { gathered: Arc::clone(dedup.children()[0]), filter, projections })
            }
            None => Ok(Self { gathered: Arc::clone(input), filter: None, projections: vec![] }),
        }
    }

    /// What is gathered.
    pub(crate) fn gathered(&self) -> &Arc<dyn ExecutionPlan> {
        &self.gathered
    }

    /// All rows of the bucket as the cogroup's program sees them.
    pub(crate) fn done(&self, mut batch: RecordBatch) -> Result<RecordBatch> {
        if let Some(filter) = &self.filter {
            batch = filter.apply(batch)?;
        }
        for (exprs, schema) in &self.projections {
            let rows = batch.num_rows();
            let columns: Vec<ArrayRef> =
                exprs.iter().map(|e| e.expr.evaluate(&batch)?.into_array(rows)).collect::<Result<_>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
        }
        Ok(batch)
    }
}
