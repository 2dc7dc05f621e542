//! Who moves between segments: a published table beside the same table computed anew, joined by key. Never writes either.

use crate::Compiled;
use crate::segments::as_text;
use crate::solved::Solved;
use datafusion::common::{JoinType, Result, plan_err};
use datafusion::functions::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, ident, lit, when};
use strata_operators::pinned::PinnedTable;
use strata_spec::pipeline::{Output, Rows, Segmentation};

/// Plans of the moves of one segmentation.
#[derive(Debug, Clone)]
pub struct Moves {
    /// `from`, `to`, `rows`, in order; everybody of either table.
    pub counts: LogicalPlan,
    /// `key`, `from`, `to` of those who move, in key order.
    pub movers: LogicalPlan,
}

impl Moves {
    /// What stands for a row that the table does not hold.
    pub const ABSENT: &'static str = "(not in the table)";
    /// What stands for no segment.
    pub const NONE: &'static str = "(none)";
}

impl Compiled<'_> {
    /// The first output of the entity that holds its key and the segmentation.
    pub fn output_of(&self, segmentation: &Segmentation, solved: &Solved) -> Result<Option<&Output>> {
        let Some(entity) = self.pipeline.entity(&segmentation.entity.value) else { return Ok(None) };
        for output in &self.pipeline.outputs {
            if !matches!(&output.from, Rows::Entity(e) if e.value == entity.name.value) {
                continue;
            }
            let plan = self.output_plan(output, solved)?;
            let has = |name: &str| plan.schema().index_of_column_by_name(None, name).is_some();
            if has(&entity.key.value) && segmentation.columns().first().is_some_and(|c| has(c)) {
                return Ok(Some(output));
            }
        }
        Ok(None)
    }

    /// Who moves, from the published table of `output` to the same table as it would be now. Errors: where the published
    /// table lacks the key
    /// or the segmentation.
    pub fn moves(&self, segmentation: &Segmentation, output: &Output, published: &PinnedTable, solved: &Solved) -> Result<Moves> {
        let (Some(entity), Some(column)) =
            (self.pipeline.entity(&segmentation.entity.value), segmentation.columns().first().map(|c| (*c).to_owned()))
        else {
            return plan_err!("the segmentation has no column");
        };
        let key = entity.key.value.as_str();
        let old = crate::scan_work("published", published)?;
        let names: Vec<Expr> = old.schema().iter().map(|(q, f)| Expr::from((q, f)).alias(f.name())).collect();
        let old = LogicalPlanBuilder::from(old).project(names)?.build()?;
        let new = self.output_plan(output, solved)?;
        let kind = new.schema().field_with_unqualified_name(key)?.data_type().clone();
        let side = |plan: LogicalPlan, i: u8| -> Result<LogicalPlan> {
            let segment = coalesce(vec![as_text(&column, plan.schema()), lit(Moves::NONE)]).alias(format!("s{i}"));
            let key = cast(ident(key), kind.clone()).alias(format!("k{i}"));
            LogicalPlanBuilder::from(plan).project([key, segment])?.build()
        };
        let both =
            LogicalPlanBuilder::from(side(old, 0)?).join_on(side(new, 1)?, JoinType::Full, [ident("k0").eq(ident("k1"))])?;
        let absent = |i: u8| when(ident(format!("k{i}")).is_null(), lit(Moves::ABSENT)).otherwise(ident(format!("s{i}")));
        let both = both.project([
            coalesce(vec![ident("k0"), ident("k1")]).alias("key"),
            absent(0)?.alias("from"),
            absent(1)?.alias("to"),
        ])?;
        let both = both.build()?;
        let order = |names: &[&str]| names.iter().map(|n| ident(*n).sort(true, false)).collect::<Vec<_>>();
        let counts = LogicalPlanBuilder::from(both.clone())
            .aggregate([ident("from"), ident("to")], [count(lit(1i64)).alias("rows")])?
            .sort(order(&["from", "to"]))?
            .build()?;
        let moved = ident("from").not_eq(ident("to"));
        let movers = LogicalPlanBuilder::from(both).filter(moved)?.sort(order(&["key"]))?.build()?;
        Ok(Moves { counts, movers })
    }
}
