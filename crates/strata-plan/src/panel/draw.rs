//! Draws as plans: simple, systematic, Poisson and order sampling where the people are; larger designs over gathered numbers.
//! Never keeps a
//! random number in what is drawn.

use super::{PanelColumns, cells_of, number as as_number, rules, values};
use crate::Compiled;
use crate::expr::Grain;
use crate::scope::Scope;
use crate::solved::{Allocation, Solved};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, JoinType, Result, ScalarValue, plan_err};
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, case, cast, ident, lit};
use strata_spec::pipeline::wave::Reserve;
use strata_spec::pipeline::{Design, Numbers, Panel, Wave};

/// What is gathered of the eligible where a design decides over a stratum as a whole: the key, the columns of the strata,
/// `#number`, `#size`;
/// in the order in which the design passes people.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// The rows.
    pub rows: LogicalPlan,
    /// The start of systematic draws: strata in the order of the allocation, one number each.
    pub starts: Option<LogicalPlan>,
}

/// A person drawn by a design that was decided over gathered numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct DrawnRow {
    /// The entity key.
    pub key: ScalarValue,
    /// Place in the stratum, from 1.
    pub rank: u64,
    /// Inclusion probability.
    pub probability: f64,
}

/// The eligible members of a wave, and what draws need of them.
struct Frame {
    /// Their rows.
    rows: LogicalPlan,
    /// Their columns.
    schema: DFSchema,
    /// The entity key.
    key: String,
    /// Who comes first, where people of a wave before stay in; the permanent random number, or what replaces it.
    order: Vec<Expr>,
}

/// Whether a wave's design decides over each stratum as a whole, so that its numbers are gathered.
pub fn is_gathered(wave: &Wave) -> bool {
    let draw = &wave.further.draw;
    draw.by == Design::Sampford || draw.by == Design::Systematic && draw.size.is_some()
}

impl Compiled<'_> {
    fn frame(&self, wave: &Wave, solved: &Solved) -> Result<Frame> {
        let panel = self.panel()?;
        let view = self.view(&panel.entity.value, solved)?;
        let schema = view.schema().as_ref().clone();
        let rules = self.found(rules(&self.planner, self.pipeline, panel, Some(&wave.name.value), &schema))?;
        let Some(entity) = self.pipeline.entity(&panel.entity.value) else { return plan_err!("no entity") };
        let key = entity.key.value.clone();
        let mut order = vec![];
        if let Some(after) = &wave.further.after {
            let stays = ident(format!("_panel_wave_{}", after.value)).gt(lit(0i64));
            order.push(case(lit(true)).when(stays, lit(0i32)).otherwise(lit(1i32))?);
        }
        order.push(match &wave.order {
            Some(sql) => self.found(self.planner.expr(sql, &schema, &Scope::of(&schema, None), Grain::Row))?,
            None => shifted(self.number(panel, ident(&key), "")?, wave.further.draw.shift)?,
        });
        let rows = LogicalPlanBuilder::from(view).filter(rules.all_hold())?.build()?;
        Ok(Frame { rows, schema, key, order })
    }

    /// The drawn members with all their columns, their rank in the stratum and design weight. Errors: as the compiler says; a
    /// wave that is
    /// not allocated, or of a design whose numbers are gathered.
    pub fn sample_plan(&self, wave: &Wave, solved: &Solved) -> Result<LogicalPlan> {
        let frame = self.frame(wave, solved)?;
        let Some(allocation) = solved.allocations.get(&wave.name.value) else {
            return plan_err!("the wave is not allocated yet");
        };
        match wave.further.draw.by {
            Design::Srs => self.simple(wave, frame, allocation),
            _ if is_gathered(wave) => plan_err!("the numbers of this design are gathered"),
            Design::Systematic => self.systematic(wave, frame, allocation),
            _ => self.by_size(wave, frame, allocation),
        }
    }

    /// The least of each stratum.
    fn simple(&self, wave: &Wave, frame: Frame, allocation: &[Allocation]) -> Result<LogicalPlan> {
        let columns: Vec<Expr> = frame.schema.iter().map(Expr::from).collect();
        let names: Vec<String> = (0..frame.order.len()).map(|i| format!("#order{i}")).collect();
        let order = frame.order.into_iter().zip(&names).map(|(e, n)| e.alias(n));
        let ordered: Vec<Expr> = columns.iter().cloned().chain(order).collect();
        let strata: Vec<Expr> = cells_of(wave).iter().map(|s| ident(&s.value)).collect();
        let sort = names.iter().map(|n| ident(n).sort(true, false)).chain([ident(&frame.key).sort(true, false)]).collect();
        let rank = ranked(strata, sort)?;
        let ranked = LogicalPlanBuilder::from(frame.rows).project(ordered)?.window([rank])?.build()?;
        let joined = joined(wave, &frame.schema, ranked, allocation)?;
        let drawn = ident("#rank").lt_eq(ident("#take") + ident("#reserve"));
        joined.filter(drawn)?.project(with_parts(wave, columns)?)?.build()
    }

    /// Every so many along an order; probabilities are equal, so places are whole numbers and no sum is rounded.
    fn systematic(&self, wave: &Wave, frame: Frame, allocation: &[Allocation]) -> Result<LogicalPlan> {
        let columns: Vec<Expr> = frame.schema.iter().map(Expr::from).collect();
        let strata: Vec<Expr> = cells_of(wave).iter().map(|s| ident(&s.value)).collect();
        let along = self.along(wave, &frame)?;
        let ordered: Vec<Expr> = columns.iter().cloned().chain(along.map(|e| e.alias("#along"))).collect();
        let with_order = ordered.len() > columns.len();
        let mut sort = vec![];
        if with_order {
            sort.push(ident("#along").sort(true, false));
        }
        sort.push(ident(&frame.key).sort(true, false));
        let ranked = LogicalPlanBuilder::from(frame.rows).project(ordered)?.window([ranked(strata, sort)?])?.build()?;
        let joined = joined(wave, &frame.schema, ranked, allocation)?.build()?;
        let start = self.number(self.panel()?, ident("#stratum"), "/start")?;
        let all: Vec<Expr> = joined.schema().iter().map(Expr::from).chain([start.alias("#start")]).collect();
        let point = |place: Expr| {
            let at = cast(place * ident("#take"), DataType::Float64) / cast(ident("#eligible"), DataType::Float64);
            Ok::<_, datafusion::common::DataFusionError>(self.planner.names.scalar("floor")?.call(vec![at - ident("#start")]))
        };
        let hit = point(ident("#rank"))?.gt(point(ident("#rank") - lit(1i64))?);
        LogicalPlanBuilder::from(joined).project(all)?.filter(hit)?.project(with_parts(wave, columns)?)?.build()
    }

    /// Poisson, sequential Poisson and Pareto draws: a place follows from a person's own number and probability.
    fn by_size(&self, wave: &Wave, frame: Frame, allocation: &[Allocation]) -> Result<LogicalPlan> {
        let columns: Vec<Expr> = frame.schema.iter().map(Expr::from).collect();
        let size = match &wave.further.draw.size {
            Some(sql) => self.found(as_number(&self.planner, sql, &frame.schema))?,
            None => lit(1.0f64),
        };
        let number = frame.order.into_iter().next_back().unwrap_or_else(|| lit(0.0f64));
        let more = [number.alias("#number"), size.alias("#size")];
        let rows = LogicalPlanBuilder::from(frame.rows).project(columns.iter().cloned().chain(more))?.build()?;
        let joined = joined(wave, &frame.schema, rows, allocation)?.build()?;
        let certain = ident("#size").gt_eq(ident("#certain"));
        let probability = case(lit(true)).when(certain, lit(1.0f64)).otherwise(ident("#size") * ident("#scale"))?;
        let all: Vec<Expr> = joined.schema().iter().map(Expr::from).chain([probability.alias("#probability")]).collect();
        let (u, p) = (ident("#number"), ident("#probability"));
        let odds = |x: Expr| x.clone() / (lit(1.0f64) - x);
        let place = match wave.further.draw.by {
            Design::Pareto => odds(u.clone()) / odds(p.clone()),
            _ => u.clone() / p.clone(),
        };
        let place = case(lit(true)).when(p.clone().gt_eq(lit(1.0f64)), lit(0.0f64)).otherwise(place)?;
        let with_place = LogicalPlanBuilder::from(joined).project(all)?.filter(p.clone().gt(lit(0.0f64)))?;
        let drawn = match wave.further.draw.by {
            Design::Poisson => with_place.filter(u.clone().lt(p.clone()))?,
            _ => with_place,
        };
        let kept: Vec<Expr> = drawn.schema().iter().map(Expr::from).chain([place.alias("#place")]).collect();
        let strata: Vec<Expr> = cells_of(wave).iter().map(|s| ident(&s.value)).collect();
        let sort = [ident("#place"), u, ident(&frame.key)].map(|e| e.sort(true, false)).to_vec();
        let ranked = drawn.project(kept)?.window([ranked(strata, sort)?])?;
        let ranked = match wave.further.draw.by {
            Design::Poisson => ranked,
            _ => ranked.filter(ident("#rank").lt_eq(ident("#take")))?,
        };
        let mut out = columns;
        out.push(cast(ident("#rank"), DataType::Int32).alias(PanelColumns::RANK));
        out.push((lit(1.0f64) / p).alias(PanelColumns::DESIGN_WEIGHT));
        ranked.project(out)?.build()
    }

    /// The greatest sizes of each stratum, as many as are drawn of it: the columns of the strata, `size`, and the sum of all
    /// sizes; sizes
    /// falling in each stratum.
    pub fn largest_sizes(&self, wave: &Wave, solved: &Solved) -> Result<LogicalPlan> {
        let frame = self.frame(wave, solved)?;
        let Some(sql) = &wave.further.draw.size else { return plan_err!("the wave is not drawn by size") };
        let size = self.found(as_number(&self.planner, sql, &frame.schema))?;
        let Some(allocation) = solved.allocations.get(&wave.name.value) else {
            return plan_err!("the wave is not allocated yet");
        };
        let cells: Vec<Expr> = cells_of(wave).iter().map(|s| ident(&s.value)).collect();
        let columns: Vec<Expr> = cells.iter().cloned().chain([size.alias("#size")]).collect();
        let rows = LogicalPlanBuilder::from(frame.rows).project(columns)?.build()?;
        let rank = ranked(cells.clone(), vec![ident("#size").sort(false, false)])?;
        let sum = self.planner.names.aggregate("exact_sum")?.call(vec![ident("#size")]).alias("#sum");
        let sums = LogicalPlanBuilder::from(rows.clone()).aggregate(cells.clone(), [sum])?.build()?;
        let ranked = LogicalPlanBuilder::from(rows).window([rank])?.build()?;
        let top = joined(wave, &frame.schema, ranked, allocation)?.filter(ident("#rank").lt_eq(ident("#take")))?;
        let kept: Vec<Expr> = cells.iter().cloned().chain([ident("#size"), ident("#rank")]).collect();
        let top = top.project(kept)?;
        let names: Vec<String> = (0..cells.len()).map(|i| format!("#t{i}")).collect();
        let mut renamed: Vec<Expr> = cells.iter().zip(&names).map(|(c, n)| c.clone().alias(n)).collect();
        renamed.push(ident("#sum"));
        let sums = LogicalPlanBuilder::from(sums).project(renamed)?.build()?;
        let on: Vec<Expr> = cells.iter().zip(&names).map(|(c, n)| c.clone().eq(ident(n))).collect();
        let both = if on.is_empty() { top.cross_join(sums)? } else { top.join_on(sums, JoinType::Inner, on)? };
        let mut sort: Vec<_> = cells.iter().map(|c| c.clone().sort(true, false)).collect();
        sort.push(ident("#rank").sort(true, false));
        both.sort(sort)?.project(cells.into_iter().chain([ident("#size"), ident("#sum")]))?.build()
    }

    fn along(&self, wave: &Wave, frame: &Frame) -> Result<Option<Expr>> {
        let along = wave.further.draw.along.as_ref();
        along
            .map(|sql| self.found(self.planner.expr(sql, &frame.schema, &Scope::of(&frame.schema, None), Grain::Row)))
            .transpose()
    }

    /// What a design that decides over a stratum as a whole needs of its people.
    pub fn gathered(&self, wave: &Wave, solved: &Solved) -> Result<Gathered> {
        let frame = self.frame(wave, solved)?;
        let size = match &wave.further.draw.size {
            Some(sql) => self.found(as_number(&self.planner, sql, &frame.schema))?,
            None => lit(1.0f64),
        };
        let along = self.along(wave, &frame)?;
        let mut columns = vec![ident(&frame.key)];
        columns.extend(cells_of(wave).iter().map(|s| ident(&s.value).alias(format!("#cell:{}", s.value))));
        let number = frame.order.into_iter().next_back().unwrap_or_else(|| lit(0.0f64));
        columns.push(number.alias("#number"));
        columns.push(size.alias("#size"));
        let mut sort = vec![];
        if let Some(along) = along {
            columns.push(along.alias("#along"));
            sort.push(ident("#along").sort(true, false));
        }
        sort.push(ident(&frame.key).sort(true, false));
        let rows = LogicalPlanBuilder::from(frame.rows).project(columns)?.sort(sort)?.build()?;
        let starts = match (wave.further.draw.by, solved.allocations.get(&wave.name.value)) {
            (Design::Systematic, Some(allocation)) => {
                let labels = allocation
                    .iter()
                    .enumerate()
                    .map(|(i, a)| vec![ScalarValue::Int64(Some(i as i64)), ScalarValue::Utf8(Some(label(&a.stratum)))]);
                let fields = vec![Field::new("#at", DataType::Int64, true), Field::new("#stratum", DataType::Utf8, true)];
                let start = self.number(self.panel()?, ident("#stratum"), "/start")?;
                let table = LogicalPlanBuilder::from(values(fields, labels.collect())?);
                let sorted = table.project([ident("#at"), start.alias("#start")])?.sort([ident("#at").sort(true, false)])?;
                Some(sorted.build()?)
            }
            _ => None,
        };
        Ok(Gathered { rows, starts })
    }

    /// The rows of people that were drawn by key.
    pub fn drawn_plan(&self, wave: &Wave, drawn: Vec<DrawnRow>, solved: &Solved) -> Result<LogicalPlan> {
        let frame = self.frame(wave, solved)?;
        let kind = frame.schema.field_with_unqualified_name(&frame.key)?.data_type().clone();
        let fields = vec![
            Field::new("#key", kind, true),
            Field::new(PanelColumns::RANK, DataType::Int32, true),
            Field::new(PanelColumns::DESIGN_WEIGHT, DataType::Float64, true),
        ];
        let rows = drawn.into_iter().map(|d| {
            let weight = ScalarValue::Float64(Some(1.0 / d.probability));
            vec![d.key, ScalarValue::Int32(Some(d.rank as i32)), weight]
        });
        let table = values(fields, rows.collect())?;
        let mut out: Vec<Expr> = frame.schema.iter().map(Expr::from).collect();
        out.extend([ident(PanelColumns::RANK), ident(PanelColumns::DESIGN_WEIGHT)]);
        let on = vec![ident(&frame.key).eq(ident("#key"))];
        LogicalPlanBuilder::from(frame.rows).join_on(table, JoinType::Inner, on)?.project(out)?.build()
    }

    /// The permanent random number of an id, in one of the panel's streams.
    pub(super) fn number(&self, panel: &Panel, id: Expr, stream: &str) -> Result<Expr> {
        let reference = match &panel.numbers {
            Numbers::Seed(seed) => format!("seed:{seed}"),
            Numbers::Env(name) => format!("env:{}", name.value),
        };
        let of = panel.numbers_of.as_ref().unwrap_or(&self.pipeline.name);
        Ok(self.planner.names.scalar("prn")?.call(vec![lit(reference), lit(format!("{}{stream}", of.value)), id]))
    }
}

/// A number seen from where the wave starts on the circle: (u − s) mod 1.
fn shifted(number: Expr, shift: f64) -> Result<Expr> {
    if shift == 0.0 {
        return Ok(number);
    }
    let on = number.clone() - lit(shift);
    case(lit(true)).when(number.gt_eq(lit(shift)), on.clone()).otherwise(on + lit(1.0f64))
}

fn ranked(strata: Vec<Expr>, sort: Vec<datafusion::logical_expr::SortExpr>) -> Result<Expr> {
    let rank = datafusion::functions_window::expr_fn::row_number().partition_by(strata).order_by(sort).build()?;
    Ok(cast_rank(rank))
}

fn cast_rank(rank: Expr) -> Expr {
    rank.alias("#rank")
}

/// The name of a stratum: its values in a row.
pub(super) fn label(stratum: &[ScalarValue]) -> String {
    let text = |v: &ScalarValue| match v {
        ScalarValue::Utf8(Some(s)) => s.clone(),
        other => other.to_string(),
    };
    stratum.iter().map(text).collect::<Vec<_>>().join(" · ")
}

/// `rows` beside what was allocated to their stratum; rows of strata that give nobody go. `#rank` becomes a 64-bit integer.
fn joined(wave: &Wave, schema: &DFSchema, rows: LogicalPlan, allocation: &[Allocation]) -> Result<LogicalPlanBuilder> {
    let strata = cells_of(wave);
    let replicates = u64::from(wave.further.replicates.unwrap_or(1));
    let names: Vec<String> = (0..strata.len()).map(|i| format!("#s{i}")).collect();
    let whole = |n: u64| ScalarValue::Int64(Some(n as i64));
    let taken = allocation.iter().filter(|a| a.drawn + a.reserve > 0).map(|a| {
        let mut row = a.stratum.clone();
        let weight = (a.drawn > 0 && wave.further.quotas.is_empty()).then(|| a.eligible as f64 / a.drawn as f64);
        let (scale, certain) = (ScalarValue::Float64(Some(a.scale)), ScalarValue::Float64(Some(a.certain_from)));
        row.extend([whole(a.drawn), whole(a.reserve), whole(a.eligible), whole((a.drawn / replicates).max(1))]);
        row.extend([whole(a.drawn % replicates), scale, certain, ScalarValue::Utf8(Some(label(&a.stratum)))]);
        row.push(ScalarValue::Float64(weight));
        row
    });
    let mut fields: Vec<Field> = strata
        .iter()
        .zip(&names)
        .map(|(s, n)| Ok(Field::new(n, schema.field_with_unqualified_name(&s.value)?.data_type().clone(), true)))
        .collect::<Result<_>>()?;
    for name in ["#take", "#reserve", "#eligible", "#base", "#extra"] {
        fields.push(Field::new(name, DataType::Int64, true));
    }
    fields.extend([Field::new("#scale", DataType::Float64, true), Field::new("#certain", DataType::Float64, true)]);
    fields.push(Field::new("#stratum", DataType::Utf8, true));
    fields.push(Field::new(PanelColumns::DESIGN_WEIGHT, DataType::Float64, true));
    let take = values(fields, taken.collect())?;
    let on: Vec<Expr> = strata.iter().zip(&names).map(|(s, n)| ident(&s.value).eq(ident(n))).collect();
    let joined = match strata.is_empty() {
        true => LogicalPlanBuilder::from(rows).cross_join(take)?.build()?,
        false => LogicalPlanBuilder::from(rows).join_on(take, JoinType::Inner, on)?.build()?,
    };
    let column = |(q, f): (Option<&datafusion::common::TableReference>, &std::sync::Arc<Field>)| match f.name().as_str() {
        "#rank" => cast(ident("#rank"), DataType::Int64).alias("#rank"),
        _ => Expr::from((q, f)),
    };
    let columns: Vec<Expr> = joined.schema().iter().map(column).collect();
    LogicalPlanBuilder::from(joined).project(columns)
}

/// The columns, the rank, and what a wave with replicates or a reserve says of each row.
fn with_parts(wave: &Wave, columns: Vec<Expr>) -> Result<Vec<Expr>> {
    let mut out = columns;
    let (rank, take) = (ident("#rank"), ident("#take"));
    let in_reserve = rank.clone().gt(take.clone());
    out.push(cast(rank.clone(), DataType::Int32).alias(PanelColumns::RANK));
    let reserve = matches!(wave.further.reserve, Some(Reserve::Share(_)));
    out.push(match reserve {
        false => ident(PanelColumns::DESIGN_WEIGHT),
        true => case(lit(true))
            .when(in_reserve.clone().is_not_true(), ident(PanelColumns::DESIGN_WEIGHT))
            .end()?
            .alias(PanelColumns::DESIGN_WEIGHT),
    });
    if wave.further.replicates.is_some() {
        // The first ones are one larger where a stratum does not come out even.
        let (base, extra) = (ident("#base"), ident("#extra"));
        let large = extra.clone() * (base.clone() + lit(1i64));
        let of_large = (rank.clone() - lit(1i64)) / (base.clone() + lit(1i64)) + lit(1i64);
        let of_rest = extra + (rank.clone() - lit(1i64) - large.clone()) / base + lit(1i64);
        let replicate = case(lit(true))
            .when(in_reserve.clone(), lit(ScalarValue::Int64(None)))
            .when(rank.clone().lt_eq(large), of_large)
            .otherwise(of_rest)?;
        out.push(cast(replicate, DataType::Int32).alias(PanelColumns::REPLICATE));
    }
    if reserve {
        let place = case(lit(true)).when(in_reserve, rank - take).end()?;
        out.push(cast(place, DataType::Int32).alias(PanelColumns::RESERVE));
    }
    Ok(out)
}
