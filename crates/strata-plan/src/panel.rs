//! Panels: who is eligible and why not, how many each stratum gives, who is drawn, and what each counts for. Never looks at a row's place
//! in a file to pick it.

use crate::Compiled;
use crate::attributes::CONSENT;
use crate::expr::{Grain, Planner};
use crate::scope::Scope;
use crate::solved::Solved;
use crate::sql;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{DFSchema, JoinType, Result, ScalarValue, plan_err};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, case, cast, ident, lit};
use datafusion::sql::sqlparser::ast;
use std::sync::Arc;
use strata_spec::pipeline::{Numbers, Panel, Purpose, Wave};
use strata_spec::{Diagnostic, Pipeline, Sql};

/// Columns that a wave adds to the rows of its panelists.
#[derive(Debug)]
pub struct PanelColumns;

impl PanelColumns {
    /// Place in the stratum's order of selection, from 1.
    pub const RANK: &str = "stratum_rank";
    /// Eligible members of the stratum / members drawn.
    pub const DESIGN_WEIGHT: &str = "design_weight";
    /// Raked weight.
    pub const WEIGHT: &str = "weight";
}

/// The rules of eligibility in order, and the rows that count who fails which.
#[derive(Debug, Clone)]
pub struct Waterfall {
    /// Labels in order; consent comes first.
    pub rules: Vec<String>,
    /// `failed` (index of the first failing rule, −1 if none), `rows`.
    pub counts: LogicalPlan,
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

    fn all_hold(&self) -> Expr {
        self.conditions.iter().cloned().map(|c| c.is_true()).reduce(Expr::and).unwrap_or_else(|| lit(true))
    }
}

/// Checks everything of a panel that needs no data.
pub(crate) fn check(planner: &Planner, pipeline: &Pipeline, panel: &Panel, view: &LogicalPlan) {
    let schema = view.schema().as_ref();
    let scope = Scope::of(schema, None);
    rules(planner, pipeline, panel, schema);
    for wave in &panel.waves {
        for name in wave.strata.iter().chain(wave.weights.iter().flat_map(|w| &w.rake)) {
            if schema.index_of_column_by_name(None, &name.value).is_none() {
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
        for sql in wave.order.iter().chain(wave.weights.iter().filter_map(|w| w.population.as_ref())) {
            planner.expr(sql, schema, &scope, Grain::Row);
        }
    }
}

fn rules(planner: &Planner, pipeline: &Pipeline, panel: &Panel, schema: &DFSchema) -> Option<Rules> {
    let scope = Scope::of(schema, None);
    let mut out = Rules { labels: vec![], conditions: vec![] };
    if let Some(purpose) = &panel.purpose
        && let Some(flag) = consent(pipeline, &purpose.value)
    {
        out.labels.push(format!("consent: {}", purpose.value));
        out.conditions.push(flag);
    }
    for (label, text) in &panel.rules {
        let tree = sql::parse_expr(text).map_err(|d| planner.report(d)).ok()?;
        // A single `where` is split at its top-level ands, so that the waterfall says which part fails.
        let parts = if panel.rules.len() == 1 { conjuncts(tree) } else { vec![tree] };
        let whole = planner.expr(text, schema, &scope, Grain::Row)?;
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
    Some(out)
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

    fn panel_view(&self, solved: &Solved) -> Result<(LogicalPlan, Rules)> {
        let panel = self.panel()?;
        let view = self.view(&panel.entity.value, solved)?;
        let rules = self.found(rules(&self.planner, self.pipeline, panel, view.schema()))?;
        Ok((view, rules))
    }

    /// Who fails which rule first.
    pub fn waterfall(&self, solved: &Solved) -> Result<Waterfall> {
        let (view, rules) = self.panel_view(solved)?;
        let counts = LogicalPlanBuilder::from(view)
            .project([rules.first_failing()?.alias("failed")])?
            .aggregate([ident("failed")], [count(lit(1i64)).alias("rows")])?
            .sort([ident("failed").sort(true, false)])?
            .build()?;
        Ok(Waterfall { rules: rules.labels, counts })
    }

    /// Eligible members by stratum, in the order of the strata: their columns, then `rows`.
    pub fn strata(&self, wave: &Wave, solved: &Solved) -> Result<LogicalPlan> {
        let (view, rules) = self.panel_view(solved)?;
        let by: Vec<Expr> = wave.strata.iter().map(|s| ident(&s.value)).collect();
        let sort: Vec<_> = by.iter().map(|b| b.clone().sort(true, false)).collect();
        let counted = LogicalPlanBuilder::from(view).filter(rules.all_hold())?.aggregate(by, [count(lit(1i64)).alias("rows")])?;
        match sort.is_empty() {
            true => counted.build(),
            false => counted.sort(sort)?.build(),
        }
    }

    /// The drawn members with all their columns, their rank in the stratum and design weight.
    pub fn sample_plan(&self, wave: &Wave, solved: &Solved) -> Result<LogicalPlan> {
        let panel = self.panel()?;
        let (view, rules) = self.panel_view(solved)?;
        let Some(entity) = self.pipeline.entity(&panel.entity.value) else { return plan_err!("no entity") };
        let key = &entity.key.value;
        let schema = view.schema().as_ref().clone();
        let scope = Scope::of(&schema, None);
        let order = match &wave.order {
            Some(sql) => self.found(self.planner.expr(sql, &schema, &scope, Grain::Row))?,
            None => self.number(panel, key)?,
        };
        let strata: Vec<Expr> = wave.strata.iter().map(|s| ident(&s.value)).collect();
        let rank = datafusion::functions_window::expr_fn::row_number()
            .partition_by(strata.clone())
            .order_by(vec![ident("#order").sort(true, false), ident(key).sort(true, false)])
            .build()?
            .alias("#rank");
        let columns: Vec<Expr> = schema.iter().map(Expr::from).collect();
        let ordered = columns.iter().cloned().chain([order.alias("#order")]).collect::<Vec<_>>();
        let ranked = LogicalPlanBuilder::from(view).filter(rules.all_hold())?.project(ordered)?.window([rank])?.build()?;
        let Some(allocation) = solved.allocations.get(&wave.name.value) else {
            return plan_err!("the wave is not allocated yet");
        };
        let names: Vec<String> = (0..wave.strata.len()).map(|i| format!("#s{i}")).collect();
        let rows = allocation.iter().filter(|a| a.drawn > 0).map(|a| {
            let mut row = a.stratum.clone();
            row.push(ScalarValue::Int64(Some(a.drawn as i64)));
            row.push(ScalarValue::Float64(Some(a.eligible as f64 / a.drawn as f64)));
            row
        });
        let mut fields: Vec<Field> = wave
            .strata
            .iter()
            .zip(&names)
            .map(|(s, n)| Ok(Field::new(n, schema.field_with_unqualified_name(&s.value)?.data_type().clone(), true)))
            .collect::<Result<_>>()?;
        fields.push(Field::new("#take", DataType::Int64, true));
        fields.push(Field::new(PanelColumns::DESIGN_WEIGHT, DataType::Float64, true));
        let take = values(fields, rows.collect())?;
        let mut on: Vec<Expr> = strata.iter().zip(&names).map(|(s, n)| s.clone().eq(ident(n))).collect();
        if on.is_empty() {
            on.push(lit(true));
        }
        let mut out = columns;
        out.push(cast(ident("#rank"), DataType::Int32).alias(PanelColumns::RANK));
        out.push(ident(PanelColumns::DESIGN_WEIGHT));
        let joined = match wave.strata.is_empty() {
            true => LogicalPlanBuilder::from(ranked).cross_join(take)?,
            false => LogicalPlanBuilder::from(ranked).join_on(take, JoinType::Inner, on)?,
        };
        joined.filter(cast(ident("#rank"), DataType::Int64).lt_eq(ident("#take")))?.project(out)?.build()
    }

    /// The permanent random number of a row.
    fn number(&self, panel: &Panel, key: &str) -> Result<Expr> {
        let reference = match &panel.numbers {
            Numbers::Seed(seed) => format!("seed:{seed}"),
            Numbers::Env(name) => format!("env:{}", name.value),
        };
        let panel_name = self.pipeline.name.value.as_str();
        Ok(self.planner.names.scalar("prn")?.call(vec![lit(reference), lit(panel_name), ident(key)]))
    }

    /// Population of a margin: its level, then `rows`, in order.
    pub fn margin(&self, wave: &Wave, margin: &str, solved: &Solved) -> Result<LogicalPlan> {
        let view = self.view(&self.panel()?.entity.value, solved)?;
        let schema = view.schema().as_ref().clone();
        let population = match wave.weights.as_ref().and_then(|w| w.population.as_ref()) {
            Some(sql) => self.found(self.planner.expr(sql, &schema, &Scope::of(&schema, None), Grain::Row))?,
            None => lit(true),
        };
        LogicalPlanBuilder::from(view)
            .filter(population.is_true())?
            .aggregate([ident(margin)], [count(lit(1i64)).alias("rows")])?
            .sort([ident(margin).sort(true, false)])?
            .build()
    }

    /// Cells of a wave's margins: their columns, `rows`, and `base` (the exact sum of design weights), in order.
    pub fn cells(&self, wave: &Wave) -> Result<LogicalPlan> {
        let sample = self.sample(wave)?;
        let Some(weights) = &wave.weights else { return plan_err!("the wave `{}` has no weights", wave.name.value) };
        let by: Vec<Expr> = weights.rake.iter().map(|m| ident(&m.value)).collect();
        let sum = self.planner.names.aggregate("exact_sum")?;
        let aggregates = [count(lit(1i64)).alias("rows"), sum.call(vec![ident(PanelColumns::DESIGN_WEIGHT)]).alias("base")];
        let sort: Vec<_> = by.iter().map(|b| b.clone().sort(true, false)).collect();
        LogicalPlanBuilder::from(sample).aggregate(by, aggregates)?.sort(sort)?.build()
    }

    /// Distinct design weights within each cell: the cell's columns, the design weight, `rows`.
    pub fn design_weights(&self, wave: &Wave) -> Result<LogicalPlan> {
        let sample = self.sample(wave)?;
        let Some(weights) = &wave.weights else { return plan_err!("the wave `{}` has no weights", wave.name.value) };
        let mut by: Vec<Expr> = weights.rake.iter().map(|m| ident(&m.value)).collect();
        by.push(ident(PanelColumns::DESIGN_WEIGHT));
        LogicalPlanBuilder::from(sample).aggregate(by, [count(lit(1i64)).alias("rows")])?.build()
    }

    fn sample(&self, wave: &Wave) -> Result<LogicalPlan> {
        match self.catalog.work.get(&format!("sample:{}", wave.name.value)) {
            Some(pinned) => {
                let scan = crate::scan_work("sample", pinned)?;
                let columns: Vec<Expr> = scan.schema().iter().map(|(q, f)| Expr::from((q, f)).alias(f.name())).collect();
                LogicalPlanBuilder::from(scan).project(columns)?.build()
            }
            None => plan_err!("the wave `{}` is not drawn yet", wave.name.value),
        }
    }

    /// The drawn members with their weights.
    pub(crate) fn weighted(&self, wave: &Wave, solved: &Solved) -> Result<LogicalPlan> {
        let sample = self.sample(wave)?;
        let Some(weights) = &wave.weights else { return Ok(sample) };
        let Some(factors) = solved.factors.get(&wave.name.value) else { return plan_err!("the wave is not weighted yet") };
        let schema = sample.schema().as_ref().clone();
        let names: Vec<String> = (0..weights.rake.len()).map(|i| format!("#c{i}")).collect();
        let mut fields: Vec<Field> = weights
            .rake
            .iter()
            .zip(&names)
            .map(|(m, n)| Ok(Field::new(n, schema.field_with_unqualified_name(&m.value)?.data_type().clone(), true)))
            .collect::<Result<_>>()?;
        fields.push(Field::new("#factor", DataType::Float64, true));
        let rows = factors.iter().map(|f| {
            let mut row = f.cell.clone();
            row.push(ScalarValue::Float64(Some(f.factor)));
            row
        });
        let table = values(fields, rows.collect())?;
        let on: Vec<Expr> = weights.rake.iter().zip(&names).map(|(m, n)| ident(&m.value).eq(ident(n))).collect();
        let mut out: Vec<Expr> = schema.iter().map(Expr::from).collect();
        out.push((ident(PanelColumns::DESIGN_WEIGHT) * ident("#factor")).alias(PanelColumns::WEIGHT));
        LogicalPlanBuilder::from(sample).join_on(table, JoinType::Left, on)?.project(out)?.build()
    }
}

/// Rows as literals; no rows is a table without any.
fn values(fields: Vec<Field>, rows: Vec<Vec<ScalarValue>>) -> Result<LogicalPlan> {
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
