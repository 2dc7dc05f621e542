//! Panels: who is eligible and why not, how many each stratum gives, who is drawn, and what each counts for. Never looks at a row's place
//! in a file to pick it.

mod draw;
mod health;
mod parts;
mod weights;

pub use draw::{DrawnRow, Gathered, is_gathered};
pub use parts::Overlap;
pub use weights::{CellBy, cell_weights, distinct, multiplied};

use crate::Compiled;
use crate::attributes::CONSENT;
use crate::expr::{Grain, Planner};
use crate::parse;
use crate::scope::Scope;
use crate::solved::Solved;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, case, cast, ident, lit};
use datafusion::sql::sqlparser::ast;
use std::sync::Arc;
use strata_spec::pipeline::{Panel, Purpose, Wave};
use strata_spec::{Diagnostic, Name, Pipeline, Sql};

/// Columns that a wave adds to the rows of its panelists.
#[derive(Debug)]
pub struct PanelColumns;

impl PanelColumns {
    /// Place in the stratum's order of selection, from 1.
    pub const RANK: &str = "stratum_rank";
    /// 1 / inclusion probability: for simple draws, eligible members of the stratum / members drawn. Null in a reserve and for
    /// quotas.
    pub const DESIGN_WEIGHT: &str = "design_weight";
    /// Raked weight.
    pub const WEIGHT: &str = "weight";
    /// The sample a row belongs to, from 1; null in the reserve. Only where the wave has `replicates`.
    pub const REPLICATE: &str = "replicate";
    /// Place in the reserve, from 1; null for who is asked at once. Only where the wave has a `reserve`.
    pub const RESERVE: &str = "reserve_rank";
    /// The wave's name. This and what follows up to `ROTATION` is there where no attribute has the name.
    pub const WAVE: &str = "wave";
    /// The values of the strata, ` · ` between them.
    pub const STRATUM: &str = "stratum";
    /// The same of a wave with quotas.
    pub const QUOTA_CELL: &str = "quota_cell";
    /// The design weight; 1 where quotas were filled, null in a reserve.
    pub const BASE_WEIGHT: &str = "base_weight";
    /// The raked weight, or the base weight where nothing is raked.
    pub const FINAL_WEIGHT: &str = "final_weight";
    /// Who is rotated out together, from 0; only where the wave has a `refresh`.
    pub const ROTATION: &str = "rotation_group";
    /// Of eligibility: whether a person can be drawn.
    pub const ELIGIBLE: &str = "eligible";
    /// Of eligibility: the rule that a person fails first; null if eligible.
    pub const FAILED_RULE: &str = "failed_rule";
    /// Of eligibility: a bit for every rule that a person fails, the first rule the lowest.
    pub const FAILED_RULES: &str = "failed_rules";
}

/// The rules of eligibility in order, and the rows that count who fails which.
#[derive(Debug, Clone)]
pub struct Waterfall {
    /// Labels in order; consent comes first.
    pub rules: Vec<String>,
    /// `failed` (index of the first failing rule, −1 if none), the columns of the strata, `rows`, and then `measures` in their
    /// order.
    pub counts: LogicalPlan,
    /// What is summed up besides.
    pub measures: Vec<Measured>,
}

/// A sum over the members of a stratum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// Members whose measure is known.
    MeasureKnown,
    /// Mean of the measure.
    MeasureMean,
    /// Sample standard deviation of the measure.
    MeasureSpread,
    /// Mean cost of asking one.
    Cost,
    /// Contacts of the past.
    Invited,
    /// Answers of the past.
    Answered,
    /// Members whose size is known.
    SizeKnown,
    /// Sum of the sizes.
    SizeSum,
    /// The least size.
    SizeMin,
    /// Members with a size above 0.
    SizeAbove,
}

/// The columns whose values make the strata of a wave: those of its quotas, if it has any.
pub fn cells_of(wave: &Wave) -> Vec<&Name> {
    let mut out: Vec<&Name> = vec![];
    let quotas = wave.further.quotas.iter().flat_map(|q| &q.columns);
    let strata = wave.strata.iter().filter(|_| wave.further.quotas.is_empty());
    for name in quotas.chain(strata) {
        if !out.iter().any(|n| n.value == name.value) {
            out.push(name);
        }
    }
    out
}

struct Rules {
    labels: Vec<String>,
    conditions: Vec<Expr>,
}

impl Rules {
    /// Index of the first rule that a row fails; −1 if it is eligible. Null fails.
    fn first_failing(&self) -> Result<Expr> {
        let mut rules = self.conditions.iter().enumerate();
        let Some((_, first)) = rules.next() else { return Ok(lit(-1i32)) };
        let mut out = case(lit(true)).when(first.clone().is_not_true(), lit(0i32));
        for (i, rule) in rules {
            out = out.when(rule.clone().is_not_true(), lit(i as i32));
        }
        out.otherwise(lit(-1i32))
    }

    /// A bit for every rule that a row fails, the first rule the lowest.
    fn failing(&self) -> Result<Expr> {
        let mut out = lit(0i64);
        for (i, rule) in self.conditions.iter().enumerate().take(63) {
            let bit = case(lit(true)).when(rule.clone().is_not_true(), lit(1i64 << i)).otherwise(lit(0i64))?;
            out = out + bit;
        }
        Ok(out)
    }

    fn all_hold(&self) -> Expr {
        self.conditions.iter().cloned().map(|c| c.is_true()).reduce(Expr::and).unwrap_or_else(|| lit(true))
    }
}

/// Checks everything of a panel that needs no data.
pub(crate) fn check(planner: &Planner, pipeline: &Pipeline, panel: &Panel, view: &LogicalPlan) {
    let schema = view.schema().as_ref();
    let scope = Scope::of(schema, None);
    for name in &panel.exclude {
        let kind = schema.field_with_unqualified_name(&name.value).map(|f| f.data_type().clone());
        if let Some(kind) = kind.ok().filter(|k| *k != DataType::Boolean) {
            let message = format!("`{}` is {kind}: who is excluded is said by what is true or false", name.value);
            let help =
                format!("write a segment of them, such as `left_out: {{where: {} = 'value'}}`, and exclude that", name.value);
            planner.report(Diagnostic::error(crate::codes::TYPE, name.span, message).help(help));
        }
    }
    rules(planner, pipeline, panel, None, schema);
    for wave in &panel.waves {
        rules(planner, pipeline, panel, Some(&wave.name.value), schema);
        for name in wave.strata.iter().chain(named(wave)) {
            if schema.index_of_column_by_name(None, &name.value).is_none() && !planner.is_lost(&name.value) {
                let known = schema.fields().iter().map(|f| f.name().as_str()).filter(|n| !n.contains([':', '.', '#']));
                let near = strata_spec::diagnostic::did_you_mean(&name.value, known);
                let help =
                    near.map_or_else(|| "name an attribute or a segmentation".to_owned(), |n| format!("did you mean `{n}`?"));
                planner.report(
                    Diagnostic::error(
                        crate::codes::UNKNOWN_COLUMN,
                        name.span,
                        format!("there is no attribute or segment `{}`", name.value),
                    )
                    .help(help),
                );
            }
        }
        let draw = &wave.further.draw;
        let allocate = &wave.allocate.by;
        let population = wave.weights.iter().filter_map(|w| w.population.as_ref());
        for sql in wave.order.iter().chain(population).chain(&draw.along) {
            planner.expr(sql, schema, &scope, Grain::Row);
        }
        for sql in allocate.measure.iter().chain(&allocate.cost).chain(&draw.size) {
            number(planner, sql, schema);
        }
    }
}

/// Columns that a wave names beside its strata.
fn named(wave: &Wave) -> impl Iterator<Item = &Name> {
    let weights = wave.weights.iter();
    let cells = weights.clone().filter_map(|w| w.nonresponse.as_ref()).flat_map(|n| &n.cells);
    weights.flat_map(|w| &w.rake).chain(cells).chain(wave.further.quotas.iter().flat_map(|q| &q.columns))
}

/// A numeric expression over the members, as a double. Errors, reported: what the compiler says; a type that is no number.
fn number(planner: &Planner, sql: &Sql, schema: &DFSchema) -> Option<Expr> {
    let expr = planner.expr(sql, schema, &Scope::of(schema, None), Grain::Row)?;
    let kind = expr.get_type(schema).map_err(|e| planner.report(crate::expr::explain(sql, &e))).ok()?;
    if !kind.is_numeric() {
        let message = format!("this is to be a number, and is {}", kind);
        planner
            .report(Diagnostic::error(crate::codes::TYPE, sql.span, message).help("write `cast(… as double)`, or name a number"));
        return None;
    }
    Some(cast(expr, DataType::Float64))
}

/// Consent, the rules of `members` in order, and what the panel's settings add: for all waves, and for one.
fn rules(planner: &Planner, pipeline: &Pipeline, panel: &Panel, wave: Option<&str>, schema: &DFSchema) -> Option<Rules> {
    let scope = Scope::of(schema, None);
    let mut out = Rules { labels: vec![], conditions: vec![] };
    if let Some(purpose) = &panel.purpose
        && let Some(flag) = consent(pipeline, &purpose.value)
    {
        out.labels.push(format!("consent: {}", purpose.value));
        out.conditions.push(flag);
    }
    let mut failed = false;
    for (label, text) in &panel.rules {
        let Some(tree) = planner.read(text, parse::expr) else {
            failed = true;
            continue;
        };
        // A single `where` is split at its top-level ands, so that the waterfall says which part fails.
        let parts = if panel.rules.len() == 1 { conjuncts(tree) } else { vec![tree] };
        let Some(whole) = planner.expr(text, schema, &scope, Grain::Row) else {
            failed = true;
            continue;
        };
        match parts.len() {
            1 => {
                out.labels.push(label.value.clone());
                out.conditions.push(whole);
            }
            _ => {
                for part in parts {
                    let words = part.to_string();
                    let one = Sql { text: words.clone(), span: text.span, line_starts: vec![text.span.start] };
                    out.labels.push(words);
                    out.conditions.push(planner.expr(&one, schema, &scope, Grain::Row)?);
                }
            }
        }
    }
    for made in panel.made.iter().filter(|m| m.wave.is_none() || m.wave.as_deref() == wave) {
        out.labels.push(made.label.clone());
        out.conditions.push(planner.expr(&made.sql, schema, &scope, Grain::Row)?);
    }
    (!failed).then_some(out)
}

fn conjuncts(tree: ast::Expr) -> Vec<ast::Expr> {
    match tree {
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::And, right } => {
            let mut out = conjuncts(*left);
            out.extend(conjuncts(*right));
            out
        }
        ast::Expr::Nested(inner) if matches!(*inner, ast::Expr::BinaryOp { op: ast::BinaryOperator::And, .. }) => {
            conjuncts(*inner)
        }
        other => vec![other],
    }
}

/// The flag of a purpose; `None` if it is for everybody.
pub(crate) fn consent(pipeline: &Pipeline, purpose: &str) -> Option<Expr> {
    let consent = pipeline.consent.as_ref()?;
    let (_, found) = consent.purposes.iter().find(|(n, _)| n.value == purpose)?;
    match found {
        Purpose::Always => None,
        Purpose::Flag(_) => Some(ident(format!("{CONSENT}{purpose}"))),
    }
}

impl Compiled<'_> {
    fn panel(&self) -> Result<&Panel> {
        match &self.pipeline.panel {
            Some(panel) => Ok(panel),
            None => plan_err!("the pipeline has no panel"),
        }
    }

    fn panel_view(&self, wave: &Wave, solved: &Solved) -> Result<(LogicalPlan, Rules)> {
        let panel = self.panel()?;
        let view = self.view(&panel.entity.value, solved)?;
        let rules = self.found(rules(&self.planner, self.pipeline, panel, Some(&wave.name.value), view.schema()))?;
        Ok((view, rules))
    }

    /// Who fails which rule first in which stratum, and what allocating and drawing need to know of the strata; strata in order.
    pub fn waterfall(&self, wave: &Wave, solved: &Solved) -> Result<Waterfall> {
        let (view, rules) = self.panel_view(wave, solved)?;
        let schema = view.schema().as_ref().clone();
        let strata: Vec<Expr> = cells_of(wave).iter().map(|s| ident(&s.value)).collect();
        let mut columns: Vec<Expr> = strata.clone();
        columns.push(rules.first_failing()?.alias("failed"));
        let measured = self.measured(wave, &schema)?;
        columns.extend(measured.inputs);
        let mut by = vec![ident("failed")];
        by.extend(strata.iter().cloned());
        let mut aggregates = vec![count(lit(1i64)).alias("rows")];
        let measures = measured.aggregates.iter().map(|(m, _)| *m).collect();
        aggregates.extend(measured.aggregates.into_iter().map(|(m, e)| e.alias(format!("#{m:?}"))));
        let mut sort: Vec<_> = strata.iter().map(|b| b.clone().sort(true, false)).collect();
        sort.push(ident("failed").sort(true, false));
        let counts = LogicalPlanBuilder::from(view).project(columns)?.aggregate(by, aggregates)?.sort(sort)?.build()?;
        Ok(Waterfall { rules: rules.labels, counts, measures })
    }

    /// What a wave's allocation and draw sum up by stratum.
    fn measured(&self, wave: &Wave, schema: &DFSchema) -> Result<Inputs> {
        let mut out = Inputs::default();
        let of = |sql: &Sql| self.found(number(&self.planner, sql, schema));
        let names = &self.planner.names;
        let mean = |c: &str| Ok::<_, datafusion::common::DataFusionError>(names.aggregate("exact_mean")?.call(vec![ident(c)]));
        let by = &wave.allocate.by;
        if let Some(measure) = &by.measure {
            out.inputs.push(of(measure)?.alias("#measure"));
            out.aggregates.push((Measured::MeasureKnown, count(ident("#measure"))));
            out.aggregates.push((Measured::MeasureMean, mean("#measure")?));
            let spread = names.aggregate("exact_stddev_samp")?.call(vec![ident("#measure")]);
            out.aggregates.push((Measured::MeasureSpread, spread));
        }
        if let Some(cost) = &by.cost {
            out.inputs.push(of(cost)?.alias("#cost"));
            out.aggregates.push((Measured::Cost, mean("#cost")?));
        }
        if wave.further.response.as_ref().is_some_and(|r| r.rate_ppm.is_none()) {
            for (measure, column) in [(Measured::Invited, "_panel_invited_0"), (Measured::Answered, "_panel_answered_0")] {
                out.inputs.push(cast(ident(column), DataType::Float64).alias(format!("#{column}")));
                let sum = names.aggregate("exact_sum")?.call(vec![ident(format!("#{column}"))]);
                out.aggregates.push((measure, sum));
            }
        }
        if let Some(size) = &wave.further.draw.size {
            out.inputs.push(of(size)?.alias("#size"));
            out.aggregates.push((Measured::SizeKnown, count(ident("#size"))));
            out.aggregates.push((Measured::SizeSum, names.aggregate("exact_sum")?.call(vec![ident("#size")])));
            out.aggregates.push((Measured::SizeMin, datafusion::functions_aggregate::expr_fn::min(ident("#size"))));
            let above = case(lit(true)).when(ident("#size").gt(lit(0.0f64)), lit(1i64)).end()?;
            out.aggregates.push((Measured::SizeAbove, count(above)));
        }
        Ok(out)
    }
}

/// Columns to sum up, and how.
#[derive(Default)]
struct Inputs {
    inputs: Vec<Expr>,
    aggregates: Vec<(Measured, Expr)>,
}

/// Rows as literals; no rows is a table without any.
pub(crate) fn values(fields: Vec<Field>, rows: Vec<Vec<ScalarValue>>) -> Result<LogicalPlan> {
    let schema = Arc::new(DFSchema::try_from(Schema::new(fields))?);
    if rows.is_empty() {
        let empty = datafusion::logical_expr::EmptyRelation { produce_one_row: false, schema };
        return Ok(LogicalPlan::EmptyRelation(empty));
    }
    let rows = rows.into_iter().map(|r| r.into_iter().map(lit).collect()).collect();
    let names = schema.fields().iter().enumerate().map(|(i, f)| ident(format!("column{}", i + 1)).alias(f.name()));
    let names: Vec<Expr> = names.collect();
    LogicalPlanBuilder::values_with_schema(rows, &schema)?.project(names)?.build()
}
