//! `lifecycle@2` as an expression over the rows of an entity, and the summary that its mean intervals are solved from. Never looks at a
//! stage of this run.

use crate::Compiled;
use crate::expr::{Grain, Planner, double};
use crate::rfm::People;
use crate::scope::Scope;
use crate::segments::{as_text, member};
use crate::solved::{Intervals, Solved};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, case, ident, lit};
use strata_spec::pipeline::Segmentation;
use strata_spec::pipeline::preset::Lifecycle;
use strata_spec::{Sql, stage_helpers};

/// Column of the summary with the value of the cohort; null without one.
const COHORT: &str = "cohort";

impl Compiled<'_> {
    /// Days between purchases and how many gaps they are, of all who take part, by cohort: `cohort` (text, may be null), `days`, `gaps`;
    /// in the order of cohorts.
    pub fn interval_sums(&self, segmentation: &Segmentation, lifecycle: &Lifecycle, solved: &Solved) -> Result<LogicalPlan> {
        let view = self.view(&segmentation.entity.value, solved)?;
        let schema = view.schema().as_ref().clone();
        let scope = Scope::of(&schema, None);
        let filter = self.found(member(&self.planner, segmentation, &schema, &scope))?;
        let value = |sql: &Sql| self.found(number(&self.planner, sql, &schema, &scope));
        let cohort = cohort_text(lifecycle, &schema);
        let columns = [cohort.alias(COHORT), value(&lifecycle.gap_days)?.alias("d"), value(&lifecycle.gaps)?.alias("n")];
        let sum = self.planner.names.aggregate("exact_sum")?;
        let sums = [sum.call(vec![ident("d")]).alias("days"), sum.call(vec![ident("n")]).alias("gaps")];
        let rows = LogicalPlanBuilder::from(view).filter(filter)?.project(columns)?;
        // Where somebody has no gap, the days say nothing.
        let rows = rows.filter(ident("n").gt(lit(0.0f64)).and(ident("d").is_not_null()))?;
        rows.aggregate([ident(COHORT)], sums)?.sort([ident(COHORT).sort(true, true)])?.build()
    }

    /// How overdue people who take part were when they came back the last time, in thousandths of their interval by then, and how many
    /// they were: `overdue` (rising), `people`; `None` where the cut-offs do not follow from it. The mean intervals must be solved.
    pub fn last_returns(
        &self,
        segmentation: &Segmentation,
        lifecycle: &Lifecycle,
        intervals: &Intervals,
        solved: &Solved,
    ) -> Result<Option<LogicalPlan>> {
        let Some(last_gap) = &lifecycle.last_gap else { return Ok(None) };
        let view = self.view(&segmentation.entity.value, solved)?;
        let schema = view.schema().as_ref().clone();
        let scope = Scope::of(&schema, None);
        let filter = self.found(member(&self.planner, segmentation, &schema, &scope))?;
        let value = |sql: &Sql| self.found(number(&self.planner, sql, &schema, &scope));
        let (last, days, gaps) = (value(last_gap)?, zero(value(&lifecycle.gap_days)?), zero(value(&lifecycle.gaps)?));
        let back = gaps.clone().gt_eq(lit(1.0f64)).and(last.clone().is_not_null());
        let (days, gaps) = (days - last.clone(), gaps - lit(1.0f64));
        let overdue = self.found(overdue(&self.planner, &last, days, gaps, lifecycle, &schema, intervals))?;
        let thousandths = self.planner.names.scalar("round")?.call(vec![overdue * lit(1000.0f64)]);
        let rows = LogicalPlanBuilder::from(view).filter(filter)?.filter(back)?.project([thousandths.alias("overdue")])?;
        let rows = rows.filter(ident("overdue").is_not_null())?;
        let people = datafusion::functions_aggregate::expr_fn::count(lit(1i64)).alias("people");
        rows.aggregate([ident("overdue")], [people])?.sort([ident("overdue").sort(true, true)])?.build().map(Some)
    }
}

/// Recency in own intervals; null where no interval is known.
fn overdue(
    planner: &Planner,
    recency: &Expr,
    days: Expr,
    gaps: Expr,
    lifecycle: &Lifecycle,
    schema: &DFSchema,
    intervals: &Intervals,
) -> Option<Expr> {
    let nullif = |e: Expr| planner.names.scalar("nullif").ok().map(|f| f.call(vec![e, lit(0.0f64)]));
    let Some(everybody) = intervals.everybody else {
        // Nobody has a gap.
        return Some(lit(ScalarValue::Float64(None)));
    };
    let mut cohorts = intervals.cohorts.iter();
    let mean = match cohorts.next() {
        Some((first, mean)) => {
            let text = cohort_text(lifecycle, schema);
            let mut of = case(text).when(lit(first.as_str()), lit(*mean));
            for (cohort, mean) in cohorts {
                of = of.when(lit(cohort.as_str()), lit(*mean));
            }
            of.otherwise(lit(everybody)).ok()?
        }
        None => lit(everybody),
    };
    let prior = lit(lifecycle.prior_gaps);
    let interval = (days + prior.clone() * mean) / nullif(gaps + prior)?;
    Some(recency.clone() / nullif(interval)?)
}

/// An expression that is 0 where it is not known.
fn zero(e: Expr) -> Expr {
    coalesce(vec![e, lit(0.0f64)])
}

fn cohort_text(lifecycle: &Lifecycle, schema: &DFSchema) -> Expr {
    match &lifecycle.cohort {
        Some(name) => as_text(&name.value, schema),
        None => lit(ScalarValue::Utf8(None)),
    }
}

/// A numeric expression as a double.
fn number(planner: &Planner, sql: &Sql, schema: &DFSchema, scope: &Scope) -> Option<Expr> {
    let expr = planner.expr(sql, schema, scope, Grain::Row)?;
    double(expr, schema).map_err(|e| planner.report(crate::expr::explain(sql, &e))).ok()
}

/// The stage of a row; null for who bought nothing and is no prospect.
pub(crate) fn stage(planner: &Planner, people: &People, lifecycle: &Lifecycle, intervals: &Intervals) -> Option<Expr> {
    let numbers = [&lifecycle.purchase_days, &lifecycle.recency_days, &lifecycle.gap_days, &lifecycle.gaps];
    let numbers: Vec<Option<Expr>> = numbers.into_iter().map(|sql| number(planner, sql, people.schema, people.scope)).collect();
    let numbers: Option<Vec<Expr>> = numbers.into_iter().collect();
    let [bought, recency, days, gaps] = <[Expr; 4]>::try_from(numbers?).ok()?;
    if let Some(last_gap) = &lifecycle.last_gap {
        // Looked at where the cut-offs are found.
        number(planner, last_gap, people.schema, people.scope)?;
    }
    if let Some(cohort) = &lifecycle.cohort
        && people.schema.index_of_column_by_name(None, &cohort.value).is_none()
    {
        // Said where the name stands.
        return None;
    }
    let overdue = overdue(planner, &recency, zero(days), zero(gaps), lifecycle, people.schema, intervals)?;
    let named = |stage: &str| lit(stage);
    let none = if lifecycle.prospect { named("prospect") } else { lit(ScalarValue::Utf8(None)) };
    let mut lapsed = overdue.clone().gt(lit(intervals.lapsed));
    if let Some(cap) = lifecycle.cap_days {
        lapsed = lapsed.or(recency.clone().gt(lit(cap as f64)));
    }
    let mut slipping = overdue.clone().gt(lit(intervals.slipping));
    let was = Was::of(lifecycle, people, &recency);
    if let Some(was) = &was {
        let before = was.is("slipping").or(was.is("lapsed"));
        slipping = slipping
            .or(before.and(was.bought_since.clone().is_not_true()).and(overdue.gt_eq(lit(lifecycle.back(intervals.slipping)))));
    }
    let mut stages = case(lit(true))
        .when(bought.clone().gt(lit(0.0f64)).is_not_true(), none)
        .when(lapsed.is_true(), named("lapsed"))
        .when(slipping.is_true(), named("slipping"));
    if let Some(was) = was.filter(|_| lifecycle.reactivated) {
        let again = was.is("lapsed").and(was.bought_since.clone());
        let still = was.is("reactivated").and(was.bought_since.is_not_true());
        stages = stages.when(again.or(still).is_true(), named("reactivated"));
    }
    let new = bought.lt_eq(lit(f64::from(lifecycle.new_until)));
    stages.when(new, named("new")).otherwise(named("active")).ok()
}

/// The stage of an earlier run.
struct Was {
    stage: Expr,
    /// Whether something was bought on or after the day of that run's `as_of`; null without one.
    bought_since: Expr,
}

impl Was {
    fn of(lifecycle: &Lifecycle, people: &People, recency: &Expr) -> Option<Self> {
        lifecycle.state.as_ref()?;
        let [was, since] = stage_helpers(people.name);
        let there = |c: &String| people.schema.index_of_column_by_name(None, c).is_some();
        let since_days = datafusion::logical_expr::cast(ident(&since), arrow::datatypes::DataType::Float64);
        (there(&was) && there(&since)).then(|| Self { stage: ident(&was), bought_since: recency.clone().lt_eq(since_days) })
    }

    fn is(&self, stage: &str) -> Expr {
        self.stage.clone().eq(lit(stage)).is_true()
    }
}
