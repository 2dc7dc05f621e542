//! How a panel is: coverage, response, attrition and burden by stratum, what it can still bear, and who moved between strata. Counts only:
//! never a row of one person. Rates of nobody are null.

use super::{cells_of, rules, values};
use crate::Compiled;
use crate::solved::Solved;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, case, cast, ident, lit};
use strata_spec::pipeline::Wave;
use strata_spec::pipeline::wave::Burden;
use strata_spec::was;

/// Further surveys that are told apart; more count as so many.
const SURVEYS_MAX: i64 = 6;

/// Counts of people, by their names in the table of health.
const COUNTS: [&str; 10] =
    ["members", "eligible", "asked", "answered", "contacts", "answers", "members_before", "lost", "burden_some", "burden_full"];

impl Compiled<'_> {
    /// One row a stratum, and one of everybody with null strata (`scope` is `stratum` or `all`): `members` of the roster, `eligible`,
    /// `coverage` = eligible / members; people `asked` and `answered` as `fatigue` counts contacts before as-of, `completion` = answered /
    /// asked; `contacts`, `answers`, `response` = answers / contacts; of people of the wave before (`members_before`) those `lost`, who
    /// cannot be asked for another reason than rotation, and `attrition` = lost / members_before; members who spent minutes but can take
    /// this survey (`burden_some`), who cannot (`burden_full`), and the mean of `minutes`; of everybody `r_indicator` = 1 − 2·sd of
    /// completion over those asked. Source: Schouten, Cobben & Bethlehem 2009.
    pub(super) fn health(&self, wave: &Wave, solved: &Solved) -> Result<LogicalPlan> {
        let panel = self.panel()?;
        let view = self.view(&panel.entity.value, solved)?;
        let rules = self.found(rules(&self.planner, self.pipeline, panel, Some(&wave.name.value), view.schema()))?;
        let strata: Vec<Expr> = cells_of(wave).iter().map(|s| ident(&s.value)).collect();
        let first = rules.first_failing()?;
        let flag = |condition: Expr| case(lit(true)).when(condition, lit(1i64)).otherwise(lit(0i64));
        let none = || lit(ScalarValue::Int64(None));
        let there = |name: &str| view.schema().index_of_column_by_name(None, name).is_some();
        let number = |name: &str| if there(name) { cast(ident(name), DataType::Int64) } else { none() };
        let above = |name: &str| if there(name) { flag(ident(name).gt(lit(0i64))) } else { Ok(none()) };
        let (before, lost) = match &wave.further.after {
            Some(after) => {
                let was_in = ident(format!("_panel_wave_{}", after.value)).gt(lit(0i64));
                let rotated = rules.labels.iter().position(|l| l.starts_with("rotated out of wave ")).unwrap_or(usize::MAX);
                let gone = first.clone().gt_eq(lit(0i32)).and(first.clone().not_eq(lit(i32::try_from(rotated).unwrap_or(-2))));
                (flag(was_in.clone())?, flag(was_in.and(gone))?)
            }
            None => (none(), none()),
        };
        let burden = panel.fatigue.as_ref().and_then(|f| f.burden.as_ref());
        let (minutes, some, full) = match burden {
            Some(burden) => {
                let minutes = cast(ident("_panel_minutes_0"), DataType::Float64);
                let full = minutes.clone().gt(room(burden));
                let some = minutes.clone().gt(lit(0.0f64)).and(full.clone().is_not_true());
                (minutes, flag(some)?, flag(full)?)
            }
            None => (lit(ScalarValue::Float64(None)), none(), none()),
        };
        let each = [
            lit(1i64),
            flag(first.lt(lit(0i32)))?,
            above("_panel_invited_0")?,
            above("_panel_answered_0")?,
            number("_panel_invited_0"),
            number("_panel_answered_0"),
            before,
            lost,
            some,
            full,
        ];
        let mut columns: Vec<Expr> = strata.clone();
        columns.extend(each.into_iter().zip(COUNTS).map(|(e, name)| e.alias(format!("#{name}"))));
        columns.push(minutes.alias("#minutes"));
        let people = LogicalPlanBuilder::from(view).project(columns)?.build()?;
        let mut aggregates: Vec<Expr> = COUNTS.iter().map(|name| sum(ident(format!("#{name}"))).alias(*name)).collect();
        aggregates.push(self.planner.names.aggregate("exact_mean")?.call(vec![ident("#minutes")]).alias("minutes"));
        let by_stratum = LogicalPlanBuilder::from(people.clone()).aggregate(strata.clone(), aggregates.clone())?.build()?;
        let all = LogicalPlanBuilder::from(people).aggregate(Vec::<Expr>::new(), aggregates)?.build()?;
        let all = self.with_indicator(&by_stratum, all)?;
        let kinds: Vec<DataType> = by_stratum.schema().iter().map(|(_, f)| f.data_type().clone()).collect();
        let of_strata = shown(&strata, &kinds, "stratum")?;
        let of_all = LogicalPlanBuilder::from(all).project(shown(&strata, &kinds, "all")?)?.build()?;
        match strata.is_empty() {
            true => Ok(of_all),
            false => LogicalPlanBuilder::from(by_stratum).project(of_strata)?.union(of_all)?.build(),
        }
    }

    /// One row a stratum and number of further `surveys` like this one (6 for as many or more): how many `people` can still take just so many
    /// within the time of `burden`. Counted is who could be asked if nothing had tired them: every rule holds but those of fatigue, rotation
    /// and other waves.
    pub(super) fn burden(&self, wave: &Wave, solved: &Solved) -> Result<LogicalPlan> {
        let panel = self.panel()?;
        let Some(burden) = panel.fatigue.as_ref().and_then(|f| f.burden.as_ref()) else {
            return plan_err!("the panel states no burden");
        };
        let view = self.view(&panel.entity.value, solved)?;
        let rules = self.found(rules(&self.planner, self.pipeline, panel, Some(&wave.name.value), view.schema()))?;
        let passes = |label: &String| {
            !["fatigue: ", "rotated out of wave ", "not in wave ", "reserved for wave "].iter().any(|p| label.starts_with(p))
        };
        let holds = rules.labels.iter().zip(&rules.conditions).filter(|(l, _)| passes(l)).map(|(_, c)| c.clone().is_true());
        let could = holds.reduce(Expr::and).unwrap_or_else(|| lit(true));
        let strata: Vec<Expr> = cells_of(wave).iter().map(|s| ident(&s.value)).collect();
        let left = lit(burden.most.count as f64) - cast(ident("_panel_minutes_0"), DataType::Float64);
        let fits = self.planner.names.scalar("floor")?.call(vec![left / lit(burden.this.max(1) as f64)]);
        let fits = case(lit(true))
            .when(fits.clone().lt(lit(0.0f64)), lit(0i64))
            .when(fits.clone().gt(lit(SURVEYS_MAX as f64)), lit(SURVEYS_MAX))
            .otherwise(cast(fits, DataType::Int64))?;
        let columns: Vec<Expr> = strata.iter().cloned().chain([fits.alias("surveys")]).collect();
        let by: Vec<Expr> = strata.into_iter().chain([ident("surveys")]).collect();
        let people = LogicalPlanBuilder::from(view).filter(could)?.project(columns)?;
        people.aggregate(by, [count(lit(1i64)).alias("people")])?.build()
    }

    /// One row a pair of strata that people of the wave before have: the columns they had then (`before_…`), those they have now, `people`.
    /// No rows where the wave has none before it.
    pub(super) fn migration(&self, wave: &Wave, solved: &Solved) -> Result<LogicalPlan> {
        let view = self.view(&self.panel()?.entity.value, solved)?;
        let Some(after) = &wave.further.after else {
            let field = |name: String, of: &str| -> Result<Field> {
                Ok(Field::new(name, view.schema().field_with_unqualified_name(of)?.data_type().clone(), true))
            };
            let cells = cells_of(wave);
            let before = cells.iter().map(|c| field(format!("before_{}", c.value), &c.value));
            let now = cells.iter().map(|c| field(c.value.clone(), &c.value));
            let mut fields = before.chain(now).collect::<Result<Vec<Field>>>()?;
            fields.push(Field::new("people", DataType::Int64, true));
            return values(fields, vec![]);
        };
        let mut columns: Vec<Expr> = vec![];
        for cell in cells_of(wave) {
            columns.push(ident(was(&after.value, &cell.value)).alias(format!("before_{}", cell.value)));
        }
        columns.extend(cells_of(wave).iter().map(|c| ident(&c.value)));
        let by: Vec<Expr> = columns.iter().map(|c| ident(c.schema_name().to_string())).collect();
        let was_in = ident(format!("_panel_wave_{}", after.value)).gt(lit(0i64));
        let people = LogicalPlanBuilder::from(view).filter(was_in)?.project(columns)?;
        people.aggregate(by, [count(lit(1i64)).alias("people")])?.build()
    }
}

/// Minutes that somebody may have spent who can take this survey.
fn room(burden: &Burden) -> Expr {
    lit(burden.most.count as f64 - burden.this as f64)
}

/// a / b, null for a b of 0.
fn ratio(a: &str, b: &str) -> Result<Expr> {
    let of = |name: &str| cast(ident(name), DataType::Float64);
    case(lit(true)).when(ident(b).gt(lit(0i64)), of(a) / of(b)).end()
}

impl Compiled<'_> {
    /// The row of everybody with `#r`, its R-indicator: everybody asked has the completion of the own stratum.
    fn with_indicator(&self, by_stratum: &LogicalPlan, all: LogicalPlan) -> Result<LogicalPlan> {
        let of = |name: &str| cast(ident(name), DataType::Float64);
        let square = of("answered") * of("answered") / of("asked");
        let square = case(lit(true)).when(ident("asked").gt(lit(0i64)), square).end()?;
        let rows = LogicalPlanBuilder::from(by_stratum.clone());
        let rows = rows.project([square.alias("#square"), of("asked").alias("#n"), of("answered").alias("#a")])?;
        let sum = self.planner.names.aggregate("exact_sum")?;
        let sums = [("#square", "#squares"), ("#n", "#people"), ("#a", "#yes")];
        let sums = sums.map(|(column, name)| sum.call(vec![ident(column)]).alias(name));
        let sums = rows.aggregate(Vec::<Expr>::new(), sums)?;
        let n = ident("#people");
        let variance = (ident("#squares") - ident("#yes") * ident("#yes") / n.clone()) / (n.clone() - lit(1.0f64));
        // Rounding may leave a little below 0.
        let variance = case(lit(true)).when(variance.clone().lt(lit(0.0f64)), lit(0.0f64)).otherwise(variance)?;
        let r = lit(1.0f64) - lit(2.0f64) * self.planner.names.scalar("sqrt")?.call(vec![variance]);
        let few = n.lt_eq(lit(1.0f64));
        let r = case(lit(true))
            .when(few, lit(ScalarValue::Float64(None)))
            .when(r.clone().lt(lit(0.0f64)), lit(0.0f64))
            .otherwise(r)?;
        let one = sums.project([r.alias("#r")])?.build()?;
        LogicalPlanBuilder::from(all).cross_join(one)?.build()
    }
}

/// The columns of the table of health, over counts.
fn shown(strata: &[Expr], kinds: &[DataType], scope: &str) -> Result<Vec<Expr>> {
    let is_all = scope == "all";
    let mut out = vec![lit(scope).alias("scope")];
    for (stratum, kind) in strata.iter().zip(kinds) {
        let name = stratum.schema_name().to_string();
        out.push(match is_all {
            true => cast(lit(ScalarValue::Null), kind.clone()).alias(name),
            false => stratum.clone(),
        });
    }
    let counts = |names: &[&str]| names.iter().map(|n| cast(ident(*n), DataType::Int64).alias(*n)).collect::<Vec<_>>();
    out.extend(counts(&["members", "eligible"]));
    out.push(ratio("eligible", "members")?.alias("coverage"));
    out.extend(counts(&["asked", "answered"]));
    out.push(ratio("answered", "asked")?.alias("completion"));
    out.extend(counts(&["contacts", "answers"]));
    out.push(ratio("answers", "contacts")?.alias("response"));
    out.extend(counts(&["members_before", "lost"]));
    out.push(ratio("lost", "members_before")?.alias("attrition"));
    out.extend(counts(&["burden_some", "burden_full"]));
    out.push(ident("minutes"));
    let r = if is_all { ident("#r") } else { lit(ScalarValue::Float64(None)) };
    out.push(r.alias("r_indicator"));
    Ok(out)
}
