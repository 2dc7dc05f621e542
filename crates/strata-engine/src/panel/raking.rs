//! Raking of a drawn wave: margins of the population, cells of the sample, factors. Never moves a weight over its cap.

use super::{contract, text, values};
use crate::error::{Error, Result};
use crate::report::{CapReport, WeightReport};
use crate::run::Run;
use crate::solve::{float, integer, scalar};
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;
use datafusion::common::{ScalarValue, internal_datafusion_err};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use strata_models::calibrate::Limits;
use strata_models::exact::Sum;
use strata_models::rake::{self, Cell, Level, Margin, NotConverged, Options, Raked, Totals};
use strata_models::weights::Excess;
use strata_plan::Factors;
use strata_plan::weighing::CellBy;
use strata_spec::pipeline::{Absent, ScaleTo, Wave, Weights};

/// The margins of a wave's population.
pub(crate) struct Population {
    /// Values of each margin's levels.
    pub(crate) levels: Vec<Vec<ScalarValue>>,
    /// Targets.
    pub(crate) margins: Vec<Margin>,
}

/// Counts the population of every margin. Errors: `Contract` for people without a value.
pub(crate) async fn population(run: &mut Run<'_>, step: &str, wave: &Wave, weights: &Weights) -> Result<Population> {
    let mut levels: Vec<Vec<ScalarValue>> = vec![];
    let mut margins = vec![];
    for margin in &weights.rake {
        let plan = run.planned(step, run.compiled.margin(wave, &margin.value, &run.solved))?;
        let found = run.collect(step, plan).await?;
        let (mut values, mut targets) = (vec![], vec![]);
        for batch in &found {
            for row in 0..batch.num_rows() {
                let (value, rows) = (scalar(batch, 0, row)?, integer(std::slice::from_ref(batch), 1, row));
                if value.is_null() {
                    return Err(Error::Contract {
                        step: step.to_owned(),
                        message: format!("{rows} of the population have no `{}`, so its targets are not known", margin.value),
                        help: "give it a value, e.g. `coalesce(…, 'unknown')`, or leave them out with `population:`".into(),
                    });
                }
                targets.push(Level { name: text(&value), target: Some(rows as f64) });
                values.push(value);
            }
        }
        levels.push(values);
        margins.push(Margin { name: margin.value.clone(), levels: targets });
    }
    Ok(Population { levels, margins })
}

/// Weights the drawn people of a wave; gives what the report says of it.
pub(super) async fn rake_sample(run: &mut Run<'_>, step: &str, wave: &Wave, weights: &Weights) -> Result<WeightReport> {
    let Population { levels, margins } = population(run, step, wave, weights).await?;
    let (m, capped) = (weights.rake.len(), weights.cap.is_some());
    // Drawn by size, everybody has a weight of their own; else the few weights of each cell say what it sums up to as well.
    let by_size = wave.further.draw.size.is_some() && !capped;
    let mut by = run.planned(step, run.compiled.cells_by(wave, &levels))?;
    let found = loop {
        let plan = if by_size { run.compiled.cells(wave, &by) } else { run.compiled.design_weights(wave, &by) };
        let plan = run.planned(step, plan)?;
        let found = run.collect(step, plan).await?;
        if matches!(by, CellBy::Columns(_)) || found.iter().all(|batch| batch.column(0).null_count() == 0) {
            break found;
        }
        // Somebody has a value that nobody of the population has: the columns say which.
        by = CellBy::Columns(weights.rake.iter().map(|r| r.value.clone()).collect());
    };
    let cells = Cells { levels: &levels, by };
    let Sample { cells: mut found_cells, keys, distinct } = match (capped, by_size) {
        (true, _) => cells.by_weight(&found)?,
        (false, true) => cells.summed(&found)?,
        (false, false) => cells.of_weights(&found)?,
    };
    let present = (0..m).map(|j| found_cells.iter().filter_map(|c| c.codes[j]).collect()).collect::<Vec<BTreeSet<u32>>>();
    let Joined { margins, codes, said: joined } = joined(weights, &margins, &present);
    for cell in &mut found_cells {
        cell.codes.iter_mut().zip(&codes).for_each(|(code, new)| *code = code.and_then(|c| new.get(c as usize).copied()));
    }
    let (cells_by, cells) = (cells, found_cells);
    let options = options(weights);
    let free = rake::rake(&margins, &cells, &options).map_err(|e| contract(step, &e))?;
    let caps = match weights.report.iter().any(|r| r.value == "cap_curve") {
        true => cap_curve(step, (&margins, &cells, &options), &free)?,
        false => vec![],
    };
    let raked = match weights.cap {
        None => free,
        Some(cap) => {
            let limits = Limits { weight_max: cap * median(&cells, &free), ..Limits::default() };
            rake::rake_within(&margins, &cells, &options, &limits).map_err(|e| contract(step, &e))?
        }
    };
    let diagnostics = match capped {
        true => rake::weight_diagnostics(cells.iter().zip(&raked.factors).map(|(c, f)| (c.weight / c.rows as f64 * f, c.rows))),
        false if by_size => sample_weights(run, step, wave, (&cells_by, &keys), &raked.factors).await?,
        false => rake::weight_diagnostics(distinct.iter().map(|(cell, base, rows)| (base * raked.factors[*cell], *rows))),
    };
    let factors = keys.into_iter().zip(&raked.factors).map(|(cell, factor)| Factors { cell, factor: *factor }).collect();
    run.solved.factors.insert(wave.name.value.clone(), factors);
    if !raked.converged {
        run.note(format!(
            "{step}: raking did not converge in {} iterations; `{}` = {} is still {:.2} % off; the weights are kept because the pipeline says `not_converged: keep`",
            raked.iterations, raked.worst.margin, raked.worst.level, 100.0 * raked.relative_difference_max
        ));
    }
    Ok(WeightReport {
        rake: weights.rake.iter().map(|r| r.value.clone()).collect(),
        iterations: raked.iterations,
        converged: raked.converged,
        worst: raked.relative_difference_max,
        sum: diagnostics.as_ref().map_or(0.0, |d| d.sum),
        min: diagnostics.as_ref().map_or(0.0, |d| d.min),
        max: diagnostics.as_ref().map_or(0.0, |d| d.max),
        deff: diagnostics.as_ref().map_or(1.0, |d| d.deff),
        ess: diagnostics.as_ref().map_or(0.0, |d| d.ess),
        caps,
        dropped: raked.dropped.iter().map(|d| format!("{} = {} ({} in the population)", d.margin, d.level, d.target)).collect(),
        joined,
    })
}

/// A sample as raking takes it.
struct Sample {
    cells: Vec<Cell>,
    /// What its rows have in common.
    keys: Vec<Vec<ScalarValue>>,
    /// Of each weight in a cell: the cell, the weight, and its rows; none where the weights are looked up afterwards.
    distinct: Vec<(usize, f64, u64)>,
}

/// How the cells of a sample stand in rows of a plan's result.
struct Cells<'a> {
    levels: &'a [Vec<ScalarValue>],
    by: CellBy,
}

impl Cells<'_> {
    /// Columns that say which cell it is.
    fn width(&self) -> usize {
        match &self.by {
            CellBy::Columns(margins) => margins.len(),
            CellBy::Number(_) => 1,
        }
    }

    /// The values that a row's cell has in common.
    fn key(&self, batch: &RecordBatch, row: usize) -> Result<Vec<ScalarValue>> {
        if let CellBy::Columns(margins) = &self.by {
            return values(batch, margins.len(), row);
        }
        let Some(numbers) = batch.column(0).as_primitive_opt::<Int32Type>() else {
            return Err(Error::of_step(
                "weights",
                internal_datafusion_err!("cells are numbered by `{}`", batch.column(0).data_type()),
            ));
        };
        let mut rest = numbers.value(row) as usize;
        let mut key: Vec<ScalarValue> = Vec::with_capacity(self.levels.len());
        for levels in self.levels.iter().rev() {
            key.push(levels[rest % levels.len()].clone());
            rest /= levels.len();
        }
        key.reverse();
        Ok(key)
    }

    fn codes(&self, key: &[ScalarValue]) -> Vec<Option<u32>> {
        key.iter().zip(self.levels).map(|(v, l)| l.iter().position(|x| x == v).map(|i| i as u32)).collect()
    }

    /// From sums of cells.
    fn summed(&self, found: &[RecordBatch]) -> Result<Sample> {
        let (m, mut out) = (self.width(), Sample { cells: vec![], keys: vec![], distinct: vec![] });
        for batch in found {
            for row in 0..batch.num_rows() {
                let key = self.key(batch, row)?;
                let rows = integer(std::slice::from_ref(batch), m, row) as u64;
                out.cells.push(Cell { codes: self.codes(&key), weight: float(batch, m + 1, row), rows });
                out.keys.push(key);
            }
        }
        Ok(out)
    }

    /// From weights in cells. A cap is on the weight of a row: rows of different weights are cells of their own.
    fn by_weight(&self, found: &[RecordBatch]) -> Result<Sample> {
        let (m, mut out) = (self.width(), Sample { cells: vec![], keys: vec![], distinct: vec![] });
        for batch in found {
            for row in 0..batch.num_rows() {
                let mut key = self.key(batch, row)?;
                let codes = self.codes(&key);
                key.push(scalar(batch, m, row)?);
                let rows = integer(std::slice::from_ref(batch), m + 1, row) as u64;
                out.cells.push(Cell { codes, weight: float(batch, m, row) * rows as f64, rows });
                out.keys.push(key);
            }
        }
        Ok(out)
    }

    /// From weights in cells, which stand in order: what each cell sums up to, exactly.
    fn of_weights(&self, found: &[RecordBatch]) -> Result<Sample> {
        let (m, mut out) = (self.width(), Sample { cells: vec![], keys: vec![], distinct: vec![] });
        let mut sum = Sum::new();
        for batch in found {
            for row in 0..batch.num_rows() {
                let key = self.key(batch, row)?;
                let (base, rows) = (float(batch, m, row), integer(std::slice::from_ref(batch), m + 1, row) as u64);
                if out.keys.last() != Some(&key) {
                    sum = Sum::new();
                    out.cells.push(Cell { codes: self.codes(&key), weight: 0.0, rows: 0 });
                    out.keys.push(key);
                }
                sum.add_product(base, rows as f64);
                out.distinct.push((out.cells.len() - 1, base, rows));
                if let Some(cell) = out.cells.last_mut() {
                    (cell.weight, cell.rows) = (sum.value(), cell.rows + rows);
                }
            }
        }
        Ok(out)
    }
}

/// Margins of which levels were joined.
pub(crate) struct Joined {
    pub(crate) margins: Vec<Margin>,
    /// Of each margin, the new code of each old one.
    pub(crate) codes: Vec<Vec<u32>>,
    /// What was joined, in words.
    pub(crate) said: Vec<String>,
}

/// Joins each level that nobody has with the nearest before it that somebody has, or else behind it, as far as the pipeline lets it; `present`
/// are the levels of each margin that somebody has.
pub(crate) fn joined(weights: &Weights, margins: &[Margin], present: &[BTreeSet<u32>]) -> Joined {
    let mut out = Joined { margins: vec![], codes: vec![], said: vec![] };
    for (margin, present) in margins.iter().zip(present) {
        let named = weights.collapse.iter().flatten().any(|n| n.value == margin.name);
        let may = weights.absent == Absent::Collapse && (named || weights.collapse.iter().all(Vec::is_empty));
        let all = margin.levels.len() as u32;
        let takes = |code: u32| {
            let near = (0..=code).rev().chain(code + 1..all).find(|c| present.contains(c));
            if may { near.unwrap_or(code) } else { code }
        };
        let taken: Vec<u32> = (0..all).map(takes).collect();
        let kept: BTreeSet<u32> = taken.iter().copied().collect();
        let place: BTreeMap<u32, u32> = kept.iter().copied().zip(0..).collect();
        let mut levels: Vec<Level> = kept.iter().filter_map(|c| margin.levels.get(*c as usize).cloned()).collect();
        for (code, (level, into)) in margin.levels.iter().zip(&taken).enumerate() {
            let Some(level_into) = levels.get_mut(place[into] as usize).filter(|_| code as u32 != *into) else { continue };
            let target = level.target.unwrap_or(0.0);
            level_into.target = level_into.target.map(|t| t + target);
            let name = &margin.levels[*into as usize].name;
            out.said.push(format!("{} = {} ({target} in the population) with {name}", margin.name, level.name));
        }
        out.codes.push(taken.iter().map(|c| place[c]).collect());
        out.margins.push(Margin { name: margin.name.clone(), levels });
    }
    out
}

/// The median weight of a row.
pub(crate) fn median(cells: &[Cell], raked: &Raked) -> f64 {
    let mut groups: Vec<(f64, u64)> =
        cells.iter().zip(&raked.factors).map(|(c, f)| (c.weight / c.rows.max(1) as f64 * f, c.rows)).collect();
    groups.sort_by(|a, b| a.0.total_cmp(&b.0));
    let rows: u64 = groups.iter().map(|g| g.1).sum();
    let at = |place: u64| {
        let mut before = 0;
        groups.iter().find(|g| {
            before += g.1;
            before > place
        })
    };
    let one = |place: u64| at(place).map_or(f64::NAN, |g| g.0);
    if rows % 2 == 1 { one(rows / 2) } else { (one(rows.saturating_sub(2) / 2) + one(rows / 2)) / 2.0 }
}

/// What caps of several multiples of the median weight would cost and buy.
pub(crate) fn cap_curve(step: &str, problem: (&[Margin], &[Cell], &Options), free: &Raked) -> Result<Vec<CapReport>> {
    const MULTIPLES: [f64; 6] = [1.5, 2.0, 3.0, 4.0, 5.0, 8.0];
    let median = median(problem.1, free);
    let caps = MULTIPLES.map(|m| m * median);
    let curve = rake::cap_curve(problem, free, &caps, Excess::Proportionally).map_err(|e| contract(step, &e))?;
    let one = |(times, point): (&f64, rake::CapPoint)| CapReport {
        times_median: *times,
        cap: point.cap,
        cut_rows: point.cut_rows,
        deff_trimmed: point.trimmed.as_ref().map(|s| s.deff),
        missed: point.worst.as_ref().map(|(_, relative)| *relative),
        deff_within: point.within.as_ref().map(|s| s.deff),
    };
    Ok(MULTIPLES.iter().zip(curve).map(one).collect())
}

/// Diagnostics of the weights from the distinct (cell, design weight) of the sample.
async fn sample_weights(
    run: &mut Run<'_>,
    step: &str,
    wave: &Wave,
    (cells, keys): (&Cells<'_>, &[Vec<ScalarValue>]),
    factors: &[f64],
) -> Result<Option<rake::WeightDiagnostics>> {
    let plan = run.planned(step, run.compiled.design_weights(wave, &cells.by))?;
    let found = run.collect(step, plan).await?;
    let m = cells.width();
    let factors: HashMap<&[ScalarValue], f64> = keys.iter().map(Vec::as_slice).zip(factors.iter().copied()).collect();
    let mut weights = vec![];
    for batch in &found {
        for row in 0..batch.num_rows() {
            if let Some(factor) = factors.get(cells.key(batch, row)?.as_slice()) {
                let rows = integer(std::slice::from_ref(batch), m + 1, row) as u64;
                weights.push((float(batch, m, row) * factor, rows));
            }
        }
    }
    Ok(rake::weight_diagnostics(weights))
}

pub(crate) fn options(weights: &Weights) -> Options {
    Options {
        tolerance: weights.tolerance,
        iterations_max: weights.max_iterations,
        totals: Totals::Agree,
        absent: match weights.absent {
            // What can be joined is joined by now.
            Absent::Error | Absent::Collapse => rake::Absent::Error,
            Absent::DropAndRescale => rake::Absent::DropAndRescale,
        },
        scale_to: match weights.scale_to {
            ScaleTo::Population => rake::ScaleTo::Population,
            ScaleTo::Sample => rake::ScaleTo::Sample,
        },
        not_converged: if weights.keep_not_converged { NotConverged::Keep } else { NotConverged::Error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::Float64Type;
    use datafusion::execution::FunctionRegistry;
    use datafusion::logical_expr::{LogicalPlan, ident};
    use std::sync::Arc;
    use strata_plan::weighing;

    #[test]
    fn a_level_that_nobody_has_is_joined_with_its_neighbour() {
        let weights = |collapse: &str| {
            let text = format!(
                "version: 1\nname: p\nsources: {{c: {{parquet: c, mode: mutable, key: id}}}}\nentities: {{p: {{from: c, key: id}}}}\n\
                 attributes: {{p: [{{row: {{age: c.age, home: c.home}}}}]}}\n\
                 panel: {{members: {{where: age > 0}}, waves: {{w: {{sample: 9, weights: {{rake: [age, home], {collapse}}}}}}}}}\n"
            );
            let loaded = strata_spec::load(&strata_spec::SourceText { path: "p".into(), text }, &[]);
            loaded.pipeline.and_then(|p| p.wave("w")?.weights.clone()).unwrap()
        };
        let level = |(name, target): &(&str, f64)| Level { name: (*name).to_owned(), target: Some(*target) };
        let margin =
            |name: &str, levels: &[(&str, f64)]| Margin { name: name.to_owned(), levels: levels.iter().map(level).collect() };
        let margins = [
            margin("age", &[("a", 1.0), ("b", 20.0), ("c", 3.0), ("d", 4.0), ("e", 50.0)]),
            margin("home", &[("x", 70.0), ("y", 8.0)]),
        ];
        let present = [BTreeSet::from([1, 4]), BTreeSet::from([0])];
        let found = joined(&weights("absent: collapse"), &margins, &present);
        let targets = |m: &Margin| m.levels.iter().map(|l| l.target.unwrap()).collect::<Vec<_>>();
        assert_eq!((targets(&found.margins[0]), targets(&found.margins[1])), (vec![28.0, 50.0], vec![78.0]));
        assert_eq!(found.codes, [vec![0, 0, 0, 0, 1], vec![0, 0]]);
        assert_eq!(found.said[0], "age = a (1 in the population) with b");
        assert_eq!(found.said.len(), 4);
        // Only the margins that may be, and none where `absent` says otherwise.
        let some = joined(&weights("absent: collapse, collapse: [home]"), &margins, &present);
        assert_eq!((some.margins[0].clone(), some.said.len()), (margins[0].clone(), 1));
        let none = joined(&weights("absent: error"), &margins, &present);
        assert_eq!((none.margins.as_slice(), none.said.len()), (margins.as_slice(), 0));
    }

    /// Rows of a sample in memory: four margins of 6, 2, 9 and 5 levels, as codes or as text, and a weight of `distinct` possible ones.
    fn frame(rows: u64, text: bool, distinct: u64) -> Vec<RecordBatch> {
        let mut n = 20_261_122_u64;
        let mut below = |m: u64| {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (n >> 33) % m
        };
        let mut out = vec![];
        for start in (0..rows).step_by(8192) {
            let mut columns: Vec<Vec<u64>> = vec![vec![]; 4];
            let mut base = vec![];
            for _ in start..rows.min(start + 8192) {
                let age = below(6).min(below(6));
                let levels = [age, below(2).max(u64::from(age == 0)), below(9).min(below(9)), below(5).max(below(5))];
                columns.iter_mut().zip(levels).for_each(|(c, level)| c.push(level));
                base.push(0.5 + below(distinct) as f64 / distinct as f64);
            }
            let array = |(name, codes): (&&str, &Vec<u64>)| -> ArrayRef {
                match text {
                    true => Arc::new(StringArray::from_iter_values(codes.iter().map(|c| format!("{name}{c}")))),
                    false => Arc::new(Int64Array::from_iter_values(codes.iter().map(|c| *c as i64))),
                }
            };
            let mut arrays: Vec<(&str, ArrayRef)> = MARGINS.iter().zip(&columns).map(|(m, c)| (*m, array((m, c)))).collect();
            arrays.push((strata_plan::PanelColumns::DESIGN_WEIGHT, Arc::new(Float64Array::from(base))));
            out.push(RecordBatch::try_from_iter(arrays).unwrap());
        }
        out
    }

    const MARGINS: [&str; 4] = ["age", "sex", "region", "segment"];
    const LEVELS: [u64; 4] = [6, 2, 9, 5];

    /// Processor time of this process so far, in hundredths of a second (Linux: user and system).
    fn processor() -> f64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<f64> = stat.rsplit(')').next().unwrap_or("").split_whitespace().filter_map(|f| f.parse().ok()).collect();
        // After the name and the state: the 14th and 15th of all.
        fields.get(10).zip(fields.get(11)).map_or(0.0, |(user, system)| user + system)
    }

    /// Cells, factors and the weight of every row from rows in memory, as a wave has them; the greatest relative miss of a margin.
    async fn weighed(
        context: &datafusion::prelude::SessionContext,
        frame: Vec<RecordBatch>,
        (texts, by_size): (bool, bool),
    ) -> f64 {
        let margins: Vec<String> = MARGINS.map(str::to_owned).to_vec();
        let (base, rows) = (ident(strata_plan::PanelColumns::DESIGN_WEIGHT), context.read_batches(frame).unwrap());
        let run = async |plan: LogicalPlan| context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
        let sample = rows.logical_plan().clone();
        let levels: Vec<Vec<ScalarValue>> = MARGINS
            .iter()
            .zip(LEVELS)
            .map(|(name, n)| {
                let value = |code: u64| if texts { format!("{name}{code}").as_str().into() } else { (code as i64).into() };
                (0..n).map(value).collect()
            })
            .collect();
        let from = processor();
        let by = CellBy::numbers(sample.schema(), &margins, &levels).unwrap();
        assert_eq!(matches!(by, CellBy::Number(_)), !texts);
        let sum = context.udaf("exact_sum").unwrap().call(vec![base.clone()]);
        let plan = match by_size {
            true => weighing::summed(sample.clone(), &by, sum),
            false => weighing::distinct(sample.clone(), &by, base.clone()),
        };
        let found = run(plan.unwrap()).await;
        let cells = Cells { levels: &levels, by };
        let sample_of = if by_size { cells.summed(&found) } else { cells.of_weights(&found) }.unwrap();
        let everybody = 1e6;
        let level = |l: &ScalarValue, of: usize| Level { name: text(l), target: Some(everybody / of as f64) };
        let targets: Vec<Margin> = MARGINS
            .iter()
            .zip(&levels)
            .map(|(m, of)| Margin { name: (*m).to_owned(), levels: of.iter().map(|l| level(l, of.len())).collect() })
            .collect();
        let raked = rake::rake(&targets, &sample_of.cells, &Options::default()).unwrap();
        let factors: Vec<Factors> = sample_of
            .keys
            .iter()
            .zip(&raked.factors)
            .map(|(cell, factor)| Factors { cell: cell.clone(), factor: *factor })
            .collect();
        let plan = weighing::multiplied(sample, &margins, base, false, &factors).unwrap();
        let weighed = run(plan).await;
        println!("cells, factors, weights of rows: {:.2} processor seconds", (processor() - from) / 100.0);
        let mut sums: BTreeMap<(usize, String), f64> = BTreeMap::new();
        for batch in &weighed {
            let weights = batch.column_by_name(strata_plan::PanelColumns::WEIGHT).unwrap().as_primitive::<Float64Type>().clone();
            for row in 0..batch.num_rows() {
                for m in 0..4 {
                    *sums.entry((m, text(&scalar(batch, m, row).unwrap()))).or_default() += weights.value(row);
                }
            }
        }
        let miss = |((m, _), sum): (&(usize, String), &f64)| (sum / (everybody / levels[*m].len() as f64) - 1.0).abs();
        sums.iter().map(miss).fold(0.0, f64::max)
    }

    /// With `STRATA_RAKING_ROWS` it says what weighing so many rows in memory takes; few rows show that the weights are right.
    #[test]
    fn rows_in_memory_have_weights_that_meet_the_margins() {
        let rows = std::env::var_os("STRATA_RAKING_ROWS").and_then(|n| n.to_str()?.parse().ok()).unwrap_or(20_000);
        let context = strata_runtime::session(&strata_runtime::Limits::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        for (text, by_size) in [(false, false), (false, true), (true, false), (true, true)] {
            // Drawn by size everybody has a weight of their own.
            let frame = frame(rows, text, if by_size { 1 << 30 } else { 5 });
            println!(
                "{rows} rows, {}, weights {}",
                if text { "text" } else { "codes" },
                if by_size { "by size" } else { "by stratum" }
            );
            let miss = runtime.block_on(weighed(&context, frame, (text, by_size)));
            assert!(miss < 2e-6, "text {text}, by size {by_size}: {miss}");
        }
    }
}
