//! Raking of a drawn wave: margins of the population, cells of the sample, factors. Never moves a weight over its cap.

use super::{contract, text, values};
use crate::error::{Error, Result};
use crate::report::{CapReport, WeightReport};
use crate::run::Run;
use crate::solve::{float, integer, scalar};
use datafusion::common::ScalarValue;
use strata_models::calibrate::Limits;
use strata_models::rake::{self, Cell, Level, Margin, NotConverged, Options, Raked, Totals};
use strata_models::weights::Excess;
use strata_plan::Factors;
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
    let capped = weights.cap.is_some();
    // A cap is on the weight of a row: rows of different design weights are cells of their own.
    let plan = if capped { run.compiled.design_weights(wave) } else { run.compiled.cells(wave) };
    let plan = run.planned(step, plan)?;
    let found = run.collect(step, plan).await?;
    let m = weights.rake.len();
    let (mut cells, mut keys) = (vec![], vec![]);
    for batch in &found {
        for row in 0..batch.num_rows() {
            let mut key = values(batch, m, row)?;
            let codes = key.iter().zip(&levels).map(|(v, l)| l.iter().position(|x| x == v).map(|i| i as u32)).collect();
            let (rows, weight) = match capped {
                true => {
                    key.push(scalar(batch, m, row)?);
                    let rows = integer(std::slice::from_ref(batch), m + 1, row) as u64;
                    (rows, float(batch, m, row) * rows as f64)
                }
                false => (integer(std::slice::from_ref(batch), m, row) as u64, float(batch, m + 1, row)),
            };
            cells.push(Cell { codes, weight, rows });
            keys.push(key);
        }
    }
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
        false => sample_weights(run, step, wave, &keys, &raked.factors).await?,
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
    })
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
    keys: &[Vec<ScalarValue>],
    factors: &[f64],
) -> Result<Option<rake::WeightDiagnostics>> {
    let plan = run.planned(step, run.compiled.design_weights(wave))?;
    let found = run.collect(step, plan).await?;
    let m = keys.first().map_or(0, Vec::len);
    let mut weights = vec![];
    for batch in &found {
        for row in 0..batch.num_rows() {
            let key = values(batch, m, row)?;
            if let Some(i) = keys.iter().position(|k| *k == key) {
                let rows = integer(std::slice::from_ref(batch), m + 1, row) as u64;
                weights.push((float(batch, m, row) * factors[i], rows));
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
            Absent::Error => rake::Absent::Error,
            Absent::DropAndRescale => rake::Absent::DropAndRescale,
        },
        scale_to: match weights.scale_to {
            ScaleTo::Population => rake::ScaleTo::Population,
            ScaleTo::Sample => rake::ScaleTo::Sample,
        },
        not_converged: if weights.keep_not_converged { NotConverged::Keep } else { NotConverged::Error },
    }
}
