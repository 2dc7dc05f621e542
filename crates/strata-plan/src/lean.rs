//! Leaves out what a plan does not use, in one pass from the top: what the optimiser would do too, after it has looked at all of it several times.
//! Never changes what a plan gives, nor the names and the order of its columns.

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::logical_plan::TableScanBuilder;
use datafusion::logical_expr::{Aggregate, Expr, Filter, Limit, LogicalPlan, Projection, Sort, SubqueryAlias};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Columns of a plan by their places.
type Places = BTreeSet<usize>;

/// `plan` without columns that nobody reads, of projections and of scans.
pub fn lean(plan: &LogicalPlan) -> Result<LogicalPlan> {
    with_only(plan, &all(plan))
}

fn all(plan: &LogicalPlan) -> Places {
    (0..plan.schema().fields().len()).collect()
}

/// `plan` with the columns `wanted` at least, in their order. What is not known to be safe is left as it is.
fn with_only(plan: &LogicalPlan, wanted: &Places) -> Result<LogicalPlan> {
    let whole = || Ok(plan.clone());
    match plan {
        LogicalPlan::Projection(p) => {
            let kept = some_of(wanted, p.expr.len());
            let exprs: Vec<Expr> = kept.iter().map(|i| p.expr[*i].clone()).collect();
            let Some(needed) = places_of(&exprs, p.input.schema()) else { return whole() };
            let input = with_only(&p.input, &needed)?;
            Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
        }
        LogicalPlan::Filter(f) => {
            let Some(needed) = places_of([&f.predicate], f.input.schema()) else { return whole() };
            let input = with_only(&f.input, &needed.union(wanted).copied().collect())?;
            Ok(LogicalPlan::Filter(Filter::try_new(f.predicate.clone(), Arc::new(input))?))
        }
        LogicalPlan::Aggregate(a) => {
            let Some(needed) = places_of(a.group_expr.iter().chain(&a.aggr_expr), a.input.schema()) else { return whole() };
            let input = with_only(&a.input, &needed)?;
            Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), a.group_expr.clone(), a.aggr_expr.clone())?))
        }
        LogicalPlan::Sort(s) => {
            let Some(needed) = places_of(s.expr.iter().map(|e| &e.expr), s.input.schema()) else { return whole() };
            let input = with_only(&s.input, &needed.union(wanted).copied().collect())?;
            Ok(LogicalPlan::Sort(Sort { expr: s.expr.clone(), input: Arc::new(input), fetch: s.fetch }))
        }
        LogicalPlan::Limit(l) => {
            let input = with_only(&l.input, wanted)?;
            Ok(LogicalPlan::Limit(Limit { skip: l.skip.clone(), fetch: l.fetch.clone(), input: Arc::new(input) }))
        }
        LogicalPlan::SubqueryAlias(s) => {
            let input = with_only(&s.input, wanted)?;
            Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), s.alias.clone())?))
        }
        LogicalPlan::TableScan(scan) if scan.filters.is_empty() => {
            let read: Vec<usize> = match &scan.projection {
                Some(read) => read.clone(),
                None => (0..scan.source.schema().fields().len()).collect(),
            };
            let kept = some_of(wanted, read.len()).into_iter().map(|i| read[i]).collect();
            let scan = TableScanBuilder::from(scan.clone()).with_projection(Some(kept)).build()?;
            Ok(LogicalPlan::TableScan(scan))
        }
        LogicalPlan::Extension(_) | LogicalPlan::Union(_) => {
            let inputs = plan.inputs().into_iter().map(|input| with_only(input, &all(input))).collect::<Result<Vec<_>>>()?;
            plan.with_new_exprs(plan.expressions(), inputs)
        }
        _ => whole(),
    }
}

/// The places `wanted` of so many; the first where none is, because rows are counted by a column.
fn some_of(wanted: &Places, places: usize) -> Places {
    match wanted.is_empty() {
        true => (0..places.min(1)).collect(),
        false => wanted.clone(),
    }
}

/// Places of the columns that expressions name; `None` where they hold a query, or a column that `schema` has not.
fn places_of<'a>(exprs: impl IntoIterator<Item = &'a Expr>, schema: &DFSchema) -> Option<Places> {
    let mut out = Places::new();
    for expr in exprs {
        let asks = |e: &Expr| {
            matches!(
                e,
                Expr::ScalarSubquery(_)
                    | Expr::InSubquery(_)
                    | Expr::Exists(_)
                    | Expr::SetComparison(_)
                    | Expr::OuterReferenceColumn(..)
            )
        };
        if expr.exists(|e| Ok(asks(e))).ok()? {
            return None;
        }
        for column in expr.column_refs() {
            out.insert(schema.index_of_column(column).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::functions_aggregate::expr_fn::{count, sum};
    use datafusion::logical_expr::logical_plan::table_scan;
    use datafusion::logical_expr::{LogicalPlanBuilder, ident, lit};

    fn rows() -> LogicalPlanBuilder {
        let fields = ["a", "b", "c", "d"].map(|n| Field::new(n, DataType::Int64, true));
        let scan = table_scan(Some("t"), &Schema::new(fields.to_vec()), None).unwrap();
        let named = ["a", "b", "c", "d"].map(|n| Expr::from(datafusion::common::Column::new(Some("t"), n)).alias(n));
        scan.project(named).unwrap()
    }

    fn shown(plan: LogicalPlanBuilder) -> Vec<String> {
        let plan = plan.build().unwrap();
        let lean = lean(&plan).unwrap();
        assert_eq!(lean.schema(), plan.schema());
        lean.display_indent().to_string().lines().map(|l| l.trim().to_owned()).collect()
    }

    #[test]
    fn columns_that_nobody_reads_are_left_out_at_every_level() {
        let wide =
            rows().project([ident("a"), ident("b"), ident("c") + ident("d"), (ident("b") * lit(2i64)).alias("e")]).unwrap();
        let plan = wide.filter(ident("b").gt(lit(1i64))).unwrap().aggregate([ident("e")], [sum(ident("a"))]).unwrap();
        let expected = [
            "Aggregate: groupBy=[[e]], aggr=[[sum(a)]]",
            "Filter: b > Int64(1)",
            "Projection: a, b, b * Int64(2) AS e",
            "Projection: t.a AS a, t.b AS b",
            "TableScan: t projection=[a, b]",
        ];
        assert_eq!(shown(plan), expected);
    }

    #[test]
    fn rows_are_counted_by_one_column() {
        let plan = rows().sort([ident("d").sort(true, false)]).unwrap().limit(1, Some(5)).unwrap();
        let plan = plan.aggregate(Vec::<Expr>::new(), [count(lit(1i64))]).unwrap();
        let lines = shown(plan);
        assert!(lines.contains(&"TableScan: t projection=[d]".to_owned()), "{lines:?}");
        let plan = rows().aggregate(Vec::<Expr>::new(), [count(lit(1i64))]).unwrap();
        assert!(shown(plan).contains(&"TableScan: t projection=[a]".to_owned()));
    }

    #[test]
    fn what_holds_a_query_is_left_alone() {
        let asked = Arc::new(rows().project([ident("a")]).unwrap().build().unwrap());
        let plan =
            rows().filter(datafusion::logical_expr::in_subquery(ident("a"), asked)).unwrap().project([ident("b")]).unwrap();
        assert_eq!(shown(plan).iter().filter(|l| l.starts_with("TableScan: t") && !l.contains("projection=")).count(), 2);
    }
}
