//! Weights of a wave: margins of the population, cells of the sample, and the drawn people with what each counts for. Never
//! rakes.

use super::{PanelColumns, cells_of, values};
use crate::Compiled;
use crate::exports::{PSEUDONYM, pseudonymised};
use crate::expr::Grain;
use crate::scope::Scope;
use crate::solved::{Factors, Solved};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, JoinType, Result, ScalarValue, internal_err, plan_err};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF, SortExpr, cast, ident, lit};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use strata_operators::functions;
use strata_spec::pipeline::wave::Reserve;
use strata_spec::pipeline::{Output, Wave, Weights};

impl Compiled<'_> {
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

    /// The weights of each cell of a wave's margins, see [`cell_weights`].
    pub fn cell_weights(&self, wave: &Wave, by: &CellBy) -> Result<LogicalPlan> {
        cell_weights(self.asked(wave)?, by, base_weight(wave))
    }

    /// Distinct design weights within each cell: `by` of them, the design weight, `rows`.
    pub fn design_weights(&self, wave: &Wave, by: &CellBy) -> Result<LogicalPlan> {
        distinct(self.asked(wave)?, by, base_weight(wave))
    }

    /// How the rows of a wave are told apart by the levels of its margins.
    pub fn cells_by(&self, wave: &Wave, levels: &[Vec<ScalarValue>]) -> Result<CellBy> {
        let Some(weights) = &wave.weights else { return plan_err!("the wave `{}` has no weights", wave.name.value) };
        CellBy::numbers(self.sample(wave)?.schema(), &names(weights), levels)
    }

    /// The people of a wave who are asked at once: without its reserve.
    fn asked(&self, wave: &Wave) -> Result<LogicalPlan> {
        let sample = self.sample(wave)?;
        match wave.further.reserve {
            Some(Reserve::Share(_)) => LogicalPlanBuilder::from(sample).filter(ident(PanelColumns::RESERVE).is_null())?.build(),
            _ => Ok(sample),
        }
    }

    /// The people of a wave who are asked at once, in key order: the key, `#stratum` columns, `columns`, and the weight they
    /// were drawn
    /// with (1 for quotas, where it is not known).
    pub fn invited(&self, wave: &Wave, columns: &[String]) -> Result<LogicalPlan> {
        let asked = self.asked(wave)?;
        let Some(entity) = self.pipeline.entity(&self.panel()?.entity.value) else { return plan_err!("no entity") };
        let mut out = vec![ident(&entity.key.value)];
        out.extend(columns.iter().map(|c| ident(c).alias(format!("#{c}"))));
        out.push(base_weight(wave).alias("#base"));
        let key = ident(&entity.key.value).sort(true, false);
        LogicalPlanBuilder::from(asked).project(out)?.sort([key])?.build()
    }

    /// The key of everybody asked for a wave, and the pseudonym that an output gives them, in key order.
    pub fn pseudonyms(&self, wave: &Wave, output: &Output) -> Result<LogicalPlan> {
        let Some(entity) = self.pipeline.entity(&self.panel()?.entity.value) else { return plan_err!("no entity") };
        let rows = pseudonymised(&self.planner, self.pipeline, output, entity, self.asked(wave)?)?;
        let key = ident(&entity.key.value);
        LogicalPlanBuilder::from(rows).project([key.clone(), ident(PSEUDONYM)])?.sort([key.sort(true, false)])?.build()
    }

    pub(super) fn sample(&self, wave: &Wave) -> Result<LogicalPlan> {
        match self.catalog.work.get(&format!("sample:{}", wave.name.value)) {
            Some(pinned) => {
                let scan = crate::scan_work("sample", pinned)?;
                let columns: Vec<Expr> = scan.schema().iter().map(|(q, f)| Expr::from((q, f)).alias(f.name())).collect();
                LogicalPlanBuilder::from(scan).project(columns)?.build()
            }
            None => plan_err!("the wave `{}` is not drawn yet", wave.name.value),
        }
    }

    /// `rows` of a wave with the columns that files of panelists usually have; what an attribute has the name of stays as it is.
    pub(crate) fn standard(&self, wave: &Wave, rows: LogicalPlan) -> Result<LogicalPlan> {
        let panel = self.panel()?;
        let Some(entity) = self.pipeline.entity(&panel.entity.value) else { return plan_err!("no entity") };
        let schema = rows.schema().as_ref().clone();
        let mut out: Vec<Expr> = schema.iter().map(Expr::from).collect();
        let mut add = |name: &str, expr: Expr| {
            if schema.index_of_column_by_name(None, name).is_none() {
                out.push(expr.alias(name));
            }
        };
        add(PanelColumns::WAVE, lit(wave.name.value.as_str()));
        let cells: Vec<Expr> = cells_of(wave).iter().map(|c| cast(ident(&c.value), DataType::Utf8)).collect();
        let concat = self.planner.names.scalar("concat")?;
        let label = cells.into_iter().reduce(|all, next| concat.call(vec![all, lit(" · "), next]));
        match wave.further.quotas.is_empty() {
            true => add(PanelColumns::STRATUM, label.unwrap_or_else(|| lit(ScalarValue::Utf8(None)))),
            false => add(PanelColumns::QUOTA_CELL, label.unwrap_or_else(|| lit(ScalarValue::Utf8(None)))),
        }
        add(PanelColumns::BASE_WEIGHT, base_weight(wave));
        let last = if wave.weights.is_some() { ident(PanelColumns::WEIGHT) } else { base_weight(wave) };
        add(PanelColumns::FINAL_WEIGHT, last);
        if let Some(share) = wave.further.refresh_ppm.filter(|s| *s > 0) {
            let number = self.number(panel, ident(&entity.key.value), "/rotation")?;
            let group = self.planner.names.scalar("floor")?.call(vec![number * lit(1e6) / lit(share as f64)]);
            add(PanelColumns::ROTATION, cast(group, DataType::Int32));
        }
        LogicalPlanBuilder::from(rows).project(out)?.build()
    }

    /// The drawn members with their weights.
    pub(crate) fn weighted(&self, wave: &Wave, solved: &Solved) -> Result<LogicalPlan> {
        let sample = self.sample(wave)?;
        let Some(weights) = &wave.weights else { return Ok(sample) };
        let Some(factors) = solved.factors.get(&wave.name.value) else { return plan_err!("the wave is not weighted yet") };
        multiplied(sample, &names(weights), base_weight(wave), weights.cap.is_some(), factors)
    }
}

fn names(weights: &Weights) -> Vec<String> {
    weights.rake.iter().map(|m| m.value.clone()).collect()
}

/// How the cells of a table of margins are told apart.
#[derive(Debug, Clone)]
pub enum CellBy {
    /// By the columns of the margins.
    Columns(Vec<String>),
    /// By a number that a row's values have: their places among the levels of each margin.
    Number(Expr),
}

impl CellBy {
    /// By number where the types of the margins have levels and there are few cells, else by columns. Rows whose value is no level have no number.
    pub fn numbers(schema: &DFSchema, margins: &[String], levels: &[Vec<ScalarValue>]) -> Result<Self> {
        Ok(match leveled(schema, margins, levels)? {
            Some(arguments) => Self::Number(function(functions::CELL)?.call(arguments)),
            None => Self::Columns(margins.to_vec()),
        })
    }

    fn columns(&self) -> Vec<Expr> {
        match self {
            Self::Columns(margins) => margins.iter().map(ident).collect(),
            Self::Number(cell) => vec![cell.clone().alias("#cell")],
        }
    }
}

fn function(name: &str) -> Result<Arc<ScalarUDF>> {
    match functions::scalar_functions().into_iter().find(|f| f.name() == name) {
        Some(function) => Ok(function),
        None => internal_err!("there is no function `{name}`"),
    }
}

fn aggregate(name: &str) -> Result<Arc<AggregateUDF>> {
    match functions::aggregate_functions().into_iter().find(|f| f.name() == name) {
        Some(function) => Ok(function),
        None => internal_err!("there is no aggregate `{name}`"),
    }
}

/// The levels and the column of each margin, if cells can be numbered by them.
fn leveled(schema: &DFSchema, margins: &[String], levels: &[Vec<ScalarValue>]) -> Result<Option<Vec<Expr>>> {
    let cells = levels.iter().try_fold(1usize, |all, of| all.checked_mul(of.len())).unwrap_or(usize::MAX);
    let mut out = vec![];
    for (margin, levels) in margins.iter().zip(levels) {
        let data_type = schema.field_with_unqualified_name(margin)?.data_type();
        if cells > functions::CELLS_MAX || !functions::has_levels(data_type) || levels.iter().any(ScalarValue::is_null) {
            return Ok(None);
        }
        let levels: Vec<ScalarValue> = levels.iter().map(|l| l.cast_to(data_type)).collect::<Result<_>>()?;
        out.push(lit(ScalarValue::List(ScalarValue::new_list_nullable(&levels, data_type))));
        out.push(ident(margin));
    }
    Ok(Some(out))
}

fn ascending(by: &[Expr]) -> Vec<SortExpr> {
    let column = |e: &Expr| ident(e.schema_name().to_string());
    by.iter().map(|b| column(b).sort(true, false)).collect()
}

/// The weights of each cell of a sample. By columns: these, then the bytes of the cell's weights, in order; by number: one row, the bytes of the
/// table's.
pub fn cell_weights(sample: LogicalPlan, by: &CellBy, weight: Expr) -> Result<LogicalPlan> {
    let (of_cell, builder) = ("weights", LogicalPlanBuilder::from(sample));
    match by {
        CellBy::Number(cell) => {
            let all = aggregate(functions::TABLE_WEIGHTS)?.call(vec![cell.clone(), weight]);
            builder.aggregate(Vec::<Expr>::new(), [all.alias(of_cell)])?.build()
        }
        CellBy::Columns(_) => {
            let by = by.columns();
            let (sort, each) = (ascending(&by), aggregate(functions::CELL_WEIGHTS)?.call(vec![weight]));
            builder.aggregate(by, [each.alias(of_cell)])?.sort(sort)?.build()
        }
    }
}

/// Distinct weights within each cell of a sample: what it is told apart `by`, `#base`, and `rows`; in order.
pub fn distinct(sample: LogicalPlan, by: &CellBy, base: Expr) -> Result<LogicalPlan> {
    let mut by = by.columns();
    by.push(base.alias("#base"));
    let sort = ascending(&by);
    LogicalPlanBuilder::from(sample).aggregate(by, [count(lit(1i64)).alias("rows")])?.sort(sort)?.build()
}

/// A sample with `weight`, the weight `base` times the factor of the row's cell; where `by_weight`, a cell is of rows of one weight.
pub fn multiplied(
    sample: LogicalPlan,
    margins: &[String],
    base: Expr,
    by_weight: bool,
    factors: &[Factors],
) -> Result<LogicalPlan> {
    let schema = sample.schema().as_ref().clone();
    if let Some(looked_up) = if by_weight { None } else { factor_of(&schema, margins, factors)? } {
        let mut out: Vec<Expr> = schema.iter().map(Expr::from).collect();
        out.push((base * looked_up).alias(PanelColumns::WEIGHT));
        return LogicalPlanBuilder::from(sample).project(out)?.build();
    }
    let names: Vec<String> = (0..margins.len()).map(|i| format!("#c{i}")).collect();
    let mut fields: Vec<Field> = margins
        .iter()
        .zip(&names)
        .map(|(m, n)| Ok(Field::new(n, schema.field_with_unqualified_name(m)?.data_type().clone(), true)))
        .collect::<Result<_>>()?;
    if by_weight {
        fields.push(Field::new("#base", DataType::Float64, true));
    }
    fields.push(Field::new("#factor", DataType::Float64, true));
    let rows = factors.iter().map(|f| {
        let mut row = f.cell.clone();
        row.push(ScalarValue::Float64(Some(f.factor)));
        row
    });
    let table = values(fields, rows.collect())?;
    let mut on: Vec<Expr> = margins.iter().zip(&names).map(|(m, n)| ident(m).eq(ident(n))).collect();
    if by_weight {
        on.push(base.clone().eq(ident("#base")));
    }
    let mut out: Vec<Expr> = schema.iter().map(Expr::from).collect();
    out.push((base * ident("#factor")).alias(PanelColumns::WEIGHT));
    LogicalPlanBuilder::from(sample).join_on(table, JoinType::Left, on)?.project(out)?.build()
}

/// The factor of a row's cell, if cells can be numbered by the values that have one.
fn factor_of(schema: &DFSchema, margins: &[String], factors: &[Factors]) -> Result<Option<Expr>> {
    let mut levels: Vec<Vec<ScalarValue>> = vec![vec![]; margins.len()];
    for (margin, levels) in levels.iter_mut().enumerate() {
        let all: HashSet<&ScalarValue> = factors.iter().filter_map(|f| f.cell.get(margin)).collect();
        levels.extend(all.into_iter().cloned());
        // Places of numbers that follow one another are differences.
        levels.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    }
    let place_in = |levels: &Vec<ScalarValue>| levels.iter().cloned().zip(0..).collect::<HashMap<ScalarValue, usize>>();
    let places: Vec<HashMap<ScalarValue, usize>> = levels.iter().map(place_in).collect();
    let Some(arguments) = leveled(schema, margins, &levels)? else { return Ok(None) };
    let mut table = vec![ScalarValue::Float64(None); levels.iter().map(Vec::len).product()];
    for factor in factors {
        let place = |of: usize, ((value, places), levels): ((&ScalarValue, &HashMap<ScalarValue, usize>), &Vec<ScalarValue>)| {
            of * levels.len() + places.get(value).copied().unwrap_or(0)
        };
        let cell = factor.cell.iter().zip(&places).zip(&levels).fold(0, place);
        table[cell] = ScalarValue::Float64(Some(factor.factor));
    }
    let table = lit(ScalarValue::List(ScalarValue::new_list_nullable(&table, &DataType::Float64)));
    Ok(Some(function(functions::CELL_FACTOR)?.call([table].into_iter().chain(arguments).collect())))
}

/// What raking starts from: the design weight; 1 where quotas were filled, whose probabilities are not known. Null in a reserve.
fn base_weight(wave: &Wave) -> Expr {
    match (wave.further.quotas.is_empty(), &wave.further.reserve) {
        (true, _) => ident(PanelColumns::DESIGN_WEIGHT),
        (false, Some(Reserve::Share(_))) => {
            let asked = ident(PanelColumns::RESERVE).is_null();
            let one = datafusion::logical_expr::when(asked, lit(1.0f64)).end();
            one.unwrap_or_else(|_| lit(1.0f64))
        }
        (false, _) => lit(1.0f64),
    }
}
