//! What a wave says besides who is drawn: who can be and why not, the waterfall by stratum, the allocation. Never names a drawn
//! person.

use super::{PanelColumns, cells_of, rules, values};
use crate::Compiled;
use crate::solved::Solved;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, WindowFrame, case, cast, ident, lit};
use datafusion::logical_expr::{WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, expr::WindowFunction};
use strata_operators::pinned::PinnedTable;
use strata_spec::pipeline::{Wave, WavePart};

/// What a wave shares with an earlier one.
#[derive(Debug, Clone)]
pub struct Overlap {
    /// Labels of the rules, in order.
    pub rules: Vec<String>,
    /// Of the earlier wave: `failed` (index of the first failing rule now, −1 if none), `rows`.
    pub failing: LogicalPlan,
    /// How many are drawn again: one number.
    pub both: LogicalPlan,
}

impl Compiled<'_> {
    /// The rows of a part of a wave, unsorted. Errors: as the compiler says.
    pub(crate) fn wave_part(&self, wave: &Wave, part: WavePart, solved: &Solved) -> Result<LogicalPlan> {
        match part {
            WavePart::Eligibility => self.eligibility(wave, solved),
            WavePart::Waterfall => self.waterfall_rows(wave, solved),
            WavePart::Allocation => self.allocation_rows(wave, solved),
            WavePart::Health => self.health(wave, solved),
            WavePart::Burden => self.burden(wave, solved),
            WavePart::Migration => self.migration(wave, solved),
        }
    }

    /// Everyone on the roster with all columns, whether they can be drawn, the rule they fail first, and all they fail.
    fn eligibility(&self, wave: &Wave, solved: &Solved) -> Result<LogicalPlan> {
        let panel = self.panel()?;
        let view = self.view(&panel.entity.value, solved)?;
        let rules = self.found(rules(&self.planner, self.pipeline, panel, Some(&wave.name.value), view.schema()))?;
        let mut columns: Vec<Expr> = view.schema().iter().map(Expr::from).collect();
        let first = rules.first_failing()?;
        columns.push(first.clone().lt(lit(0i32)).alias(PanelColumns::ELIGIBLE));
        columns.push(rule_name(first, &rules.labels, None)?.alias(PanelColumns::FAILED_RULE));
        columns.push(rules.failing()?.alias(PanelColumns::FAILED_RULES));
        LogicalPlanBuilder::from(view).project(columns)?.build()
    }

    /// One row a stratum and rule that anybody fails first: the strata, `step` (from 1), `rule`, `people` who fail it first,
    /// and how many
    /// are `left` after it; last the rule `eligible` with those who are.
    fn waterfall_rows(&self, wave: &Wave, solved: &Solved) -> Result<LogicalPlan> {
        let panel = self.panel()?;
        let view = self.view(&panel.entity.value, solved)?;
        let rules = self.found(rules(&self.planner, self.pipeline, panel, Some(&wave.name.value), view.schema()))?;
        let strata: Vec<Expr> = cells_of(wave).iter().map(|s| ident(&s.value)).collect();
        let last = rules.labels.len() as i32 + 1;
        let first = rules.first_failing()?;
        let step = case(lit(true)).when(first.clone().lt(lit(0i32)), lit(last)).otherwise(first + lit(1i32))?;
        let columns: Vec<Expr> = strata.iter().cloned().chain([step.alias("step")]).collect();
        let by: Vec<Expr> = strata.iter().cloned().chain([ident("step")]).collect();
        let counted = LogicalPlanBuilder::from(view).project(columns)?.aggregate(by, [count(lit(1i64)).alias("people")])?;
        let from_here = WindowFrame::new_bounds(
            WindowFrameUnits::Rows,
            WindowFrameBound::CurrentRow,
            WindowFrameBound::Following(ScalarValue::UInt64(None)),
        );
        let function = WindowFunctionDefinition::AggregateUDF(datafusion::functions_aggregate::sum::sum_udaf());
        let here_and_on = Expr::from(WindowFunction::new(function, vec![ident("people")]))
            .partition_by(strata.clone())
            .order_by(vec![ident("step").sort(true, false)])
            .window_frame(from_here)
            .build()?;
        let windowed = counted.window([here_and_on.alias("#left")])?;
        let name = rule_name(ident("step") - lit(1i32), &rules.labels, Some("eligible"))?;
        let eligible = ident("step").eq(lit(last));
        let left = case(lit(true)).when(eligible, ident("people")).otherwise(ident("#left") - ident("people"))?;
        let mut out = strata;
        out.extend([ident("step"), name.alias("rule"), ident("people"), cast(left, DataType::Int64).alias("left")]);
        windowed.project(out)?.build()
    }

    /// One row a stratum or quota cell: its values, `eligible`, `wanted`, `drawn` and `reserve`.
    fn allocation_rows(&self, wave: &Wave, solved: &Solved) -> Result<LogicalPlan> {
        let view = self.view(&self.panel()?.entity.value, solved)?;
        let schema: &DFSchema = view.schema();
        let mut fields: Vec<Field> = cells_of(wave)
            .iter()
            .map(|s| Ok(Field::new(&s.value, schema.field_with_unqualified_name(&s.value)?.data_type().clone(), true)))
            .collect::<Result<_>>()?;
        fields.extend(["eligible", "wanted", "drawn", "reserve"].map(|n| Field::new(n, DataType::Int64, true)));
        let whole = |n: u64| ScalarValue::Int64(Some(n as i64));
        let rows = solved.allocations.get(&wave.name.value).map(Vec::as_slice).unwrap_or_default().iter().map(|a| {
            let mut row = a.stratum.clone();
            row.extend([a.eligible, a.wanted, a.drawn, a.reserve].map(whole));
            row
        });
        values(fields, rows.collect())
    }

    /// The published rows of an earlier wave, as pinned; `None` if no wave looks back at it.
    pub fn published_wave(&self, wave: &str) -> Option<&PinnedTable> {
        self.catalog.sources.get(&format!("__wave_{wave}"))
    }

    /// What a drawn wave shares with an earlier one.
    pub fn overlap(&self, wave: &Wave, before: &str, solved: &Solved) -> Result<Overlap> {
        let panel = self.panel()?;
        let view = self.view(&panel.entity.value, solved)?;
        let rules = self.found(rules(&self.planner, self.pipeline, panel, Some(&wave.name.value), view.schema()))?;
        let was_in = ident(format!("_panel_wave_{before}")).gt(lit(0i64));
        let failing = LogicalPlanBuilder::from(view)
            .filter(was_in.clone())?
            .project([rules.first_failing()?.alias("failed")])?
            .aggregate([ident("failed")], [count(lit(1i64)).alias("rows")])?
            .sort([ident("failed").sort(true, false)])?
            .build()?;
        let both = LogicalPlanBuilder::from(self.sample(wave)?).filter(was_in)?;
        let both = both.aggregate(Vec::<Expr>::new(), [count(lit(1i64))])?.build()?;
        Ok(Overlap { rules: rules.labels, failing, both })
    }

    /// Columns by which the rows of a part of a wave are in order.
    pub(crate) fn part_order(&self, wave: &Wave, part: WavePart) -> Vec<String> {
        let strata = cells_of(wave).iter().map(|s| s.value.clone()).collect::<Vec<_>>();
        match part {
            WavePart::Eligibility => {
                let entity = self.pipeline.panel.as_ref().and_then(|p| self.pipeline.entity(&p.entity.value));
                entity.map(|e| e.key.value.clone()).into_iter().collect()
            }
            WavePart::Waterfall => strata.into_iter().chain(["step".to_owned()]).collect(),
            WavePart::Allocation => strata,
            WavePart::Health => std::iter::once("scope".to_owned()).chain(strata).collect(),
            WavePart::Burden => strata.into_iter().chain(["surveys".to_owned()]).collect(),
            WavePart::Migration => strata.iter().map(|s| format!("before_{s}")).chain(strata.iter().cloned()).collect(),
        }
    }
}

/// The name of a rule by its index; `beyond` for an index that is none, null without it.
fn rule_name(index: Expr, labels: &[String], beyond: Option<&str>) -> Result<Expr> {
    let beyond = lit(ScalarValue::Utf8(beyond.map(str::to_owned)));
    let mut names = labels.iter().enumerate();
    let Some((_, first)) = names.next() else { return Ok(beyond) };
    let mut out = case(index);
    let mut out = out.when(lit(0i32), lit(first.as_str()));
    for (i, label) in names {
        out = out.when(lit(i as i32), lit(label.as_str()));
    }
    out.otherwise(beyond)
}
