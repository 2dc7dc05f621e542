//! Rows that are left out are marked rather than taken out where whoever gathers them copies each row anyway. Never evaluates what could fail at
//! a row that is left out.

use super::{Counted, ScreenExec, held};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, IsNullExpr, Literal, NotExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use std::sync::Arc;

/// The last column: whether a row is used. No column of a user begins with `#`.
const MARK: &str = "#kept";
/// Where less than this part of a batch's rows is used, they are taken out at once: marked rows are packed too.
const WORTH: (usize, usize) = (3, 4);

/// `schema` with the mark.
pub(crate) fn with_mark(schema: &SchemaRef) -> SchemaRef {
    let mark = Arc::new(Field::new(MARK, DataType::Boolean, false));
    Arc::new(Schema::new(schema.fields().iter().cloned().chain([mark]).collect::<Vec<_>>()))
}

/// `plan` with all rows of the screen below it, and the mark; `None` where anything but names of columns stands between.
pub(crate) fn marking(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(screen) = plan.downcast_ref::<ScreenExec>() {
        return Ok(screen.marking().map(|s| Arc::new(s) as Arc<dyn ExecutionPlan>));
    }
    let Some(projection) = plan.downcast_ref::<ProjectionExec>() else { return Ok(None) };
    if !projection.expr().iter().all(|p| p.expr.is::<Column>()) {
        return Ok(None);
    }
    let Some(input) = marking(projection.input())? else { return Ok(None) };
    let last = input.schema().fields().len() - 1;
    let mark = ProjectionExpr { expr: Arc::new(Column::new(MARK, last)), alias: MARK.to_owned() };
    let all: Vec<ProjectionExpr> = projection.expr().iter().cloned().chain([mark]).collect();
    Ok(Some(Arc::new(ProjectionExec::try_new(all, input)?)))
}

/// Whether it has a value for every row, whatever stands there.
pub(super) fn never_fails(expr: &Arc<dyn PhysicalExpr>) -> bool {
    use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
    let simple = match expr.downcast_ref::<BinaryExpr>() {
        Some(binary) => {
            matches!(binary.op(), And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
        }
        None if expr.is::<Column>() || expr.is::<Literal>() => true,
        None => expr.is::<IsNullExpr>() || expr.is::<IsNotNullExpr>() || expr.is::<NotExpr>(),
    };
    simple && expr.children().into_iter().all(never_fails)
}

/// All rows of a batch with the mark of those that every rule holds for; each that fails is counted under the first rule that it fails.
pub(super) fn marked(batch: &RecordBatch, rules: &[Counted], schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let mut kept = BooleanBuffer::new_set(rows);
    let mut left = rows;
    for Counted { rule, failed, .. } in rules {
        let mask = held(rule, batch)?;
        if mask.true_count() == rows {
            continue;
        }
        kept = match mask.nulls() {
            Some(nulls) => &(&kept & mask.values()) & nulls.inner(),
            None => &kept & mask.values(),
        };
        let now = kept.count_set_bits();
        failed.add(left - now);
        left = now;
    }
    let marked = |batch: &RecordBatch, mark: BooleanBuffer| {
        let mark: ArrayRef = Arc::new(BooleanArray::new(mark, None));
        Ok(RecordBatch::try_new(Arc::clone(schema), batch.columns().iter().cloned().chain([mark]).collect())?)
    };
    match left * WORTH.1 < rows * WORTH.0 {
        true => marked(&filter_record_batch(batch, &BooleanArray::new(kept, None))?, BooleanBuffer::new_set(left)),
        false => marked(batch, kept),
    }
}
