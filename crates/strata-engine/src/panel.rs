//! One wave of a panel: waterfall → allocation → draw → weights. Never draws by a row's place.

use crate::error::{Error, Result};
use crate::report::{StratumReport, WaveReport, WeightReport};
use crate::run::Run;
use crate::solve::{float, integer, scalar};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use strata_models::allocate::{self, Request, Shares};
use strata_models::rake::{self, Cell, Level, Margin, NotConverged, Options, Totals};
use strata_plan::{Allocation, Factors};
use strata_spec::pipeline::{Absent, AfterBounds, Sample, SampleOf, ScaleTo, Wave, Weights};

/// Draws and weights a wave; gives what to say of it.
pub(crate) async fn wave(run: &mut Run<'_>, name: &str) -> Result<String> {
    let Some(wave) = run.compiled.pipeline().wave(name).cloned() else { return Ok(String::new()) };
    let step = format!("panel {name}");
    let mut report = WaveReport { wave: name.to_owned(), ..Default::default() };
    eligibility(run, &step, &mut report).await?;
    allocation(run, &step, &wave, &mut report).await?;
    let plan = run.planned(&step, run.compiled.sample_plan(&wave, &run.solved))?;
    report.drawn = run.materialise(&step, &format!("sample:{name}"), plan).await?;
    if let Some(weights) = &wave.weights {
        report.weights = Some(rake_sample(run, &step, &wave, weights).await?);
    }
    let detail = format!("{} of {} eligible drawn", report.drawn, report.eligible);
    run.report.panel.push(report);
    Ok(detail)
}

async fn eligibility(run: &mut Run<'_>, step: &str, report: &mut WaveReport) -> Result<()> {
    let waterfall = run.planned(step, run.compiled.waterfall(&run.solved))?;
    let counts = run.collect(step, waterfall.counts).await?;
    let mut failed = vec![0u64; waterfall.rules.len()];
    for batch in &counts {
        for row in 0..batch.num_rows() {
            let one = std::slice::from_ref(batch);
            let (rule, rows) = (integer(one, 0, row), integer(one, 1, row) as u64);
            report.roster += rows;
            match usize::try_from(rule) {
                Ok(i) => failed[i] = rows,
                Err(_) => report.eligible = rows,
            }
        }
    }
    report.waterfall = waterfall.rules.into_iter().zip(failed).collect();
    Ok(())
}

async fn allocation(run: &mut Run<'_>, step: &str, wave: &Wave, report: &mut WaveReport) -> Result<()> {
    let plan = run.planned(step, run.compiled.strata(wave, &run.solved))?;
    let found = run.collect(step, plan).await?;
    let mut strata = vec![];
    for batch in &found {
        for row in 0..batch.num_rows() {
            let stratum = values(batch, wave.strata.len(), row)?;
            let rows = integer(std::slice::from_ref(batch), wave.strata.len(), row) as u64;
            if let Some(at) = stratum.iter().position(ScalarValue::is_null) {
                return Err(Error::Contract {
                    step: step.to_owned(),
                    message: format!("{rows} eligible members have no `{}`, so they belong to no stratum", wave.strata[at].value),
                    help: "give it a value, e.g. `coalesce(…, 'unknown')`, or leave those members out".into(),
                });
            }
            strata.push((stratum, rows));
        }
    }
    let base = match wave.sample_of {
        SampleOf::All => report.roster,
        SampleOf::Members => report.eligible,
    };
    report.asked = match wave.sample.value {
        Sample::Count(n) => n,
        Sample::PartsPerMillion(ppm) => (u128::from(base) * u128::from(ppm) / 1_000_000) as u64,
    };
    let sizes: Vec<u64> = strata.iter().map(|(_, n)| *n).collect();
    let request = Request {
        sample: report.asked,
        sizes: &sizes,
        shares: Shares::Proportional,
        min: wave.allocate.min,
        max: wave.allocate.max,
        after_bounds: match wave.allocate.after_bounds {
            AfterBounds::Rebalance => allocate::AfterBounds::Rebalance,
            AfterBounds::Keep => allocate::AfterBounds::Keep,
        },
    };
    let solved = allocate::allocate(&request).map_err(|e| contract(step, &e))?;
    if solved.shortfall > 0 {
        run.note(format!("{step}: {} members fewer than asked for: the strata have no more", solved.shortfall));
    }
    let allocations: Vec<Allocation> = strata
        .into_iter()
        .zip(&solved.rows)
        .map(|((stratum, eligible), drawn)| Allocation { stratum, eligible, drawn: *drawn })
        .collect();
    report.strata = allocations
        .iter()
        .map(|a| StratumReport { stratum: a.stratum.iter().map(text).collect(), eligible: a.eligible, drawn: a.drawn })
        .collect();
    run.solved.allocations.insert(wave.name.value.clone(), allocations);
    Ok(())
}

async fn rake_sample(run: &mut Run<'_>, step: &str, wave: &Wave, weights: &Weights) -> Result<WeightReport> {
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
    let plan = run.planned(step, run.compiled.cells(wave))?;
    let found = run.collect(step, plan).await?;
    let m = weights.rake.len();
    let (mut cells, mut keys) = (vec![], vec![]);
    for batch in &found {
        for row in 0..batch.num_rows() {
            let key = values(batch, m, row)?;
            let codes = key.iter().zip(&levels).map(|(v, l)| l.iter().position(|x| x == v).map(|i| i as u32)).collect();
            let rows = integer(std::slice::from_ref(batch), m, row) as u64;
            cells.push(Cell { codes, weight: float(batch, m + 1, row), rows });
            keys.push(key);
        }
    }
    let raked = rake::rake(&margins, &cells, &options(weights)).map_err(|e| contract(step, &e))?;
    let diagnostics = sample_weights(run, step, wave, &keys, &raked.factors).await?;
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
        dropped: raked.dropped.iter().map(|d| format!("{} = {} ({} in the population)", d.margin, d.level, d.target)).collect(),
    })
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

fn options(weights: &Weights) -> Options {
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

fn contract(step: &str, error: &strata_models::Error) -> Error {
    let help = match error.kind() {
        strata_models::Kind::Invalid => "change the wave's numbers in the pipeline",
        _ => "join levels that few members have, or leave the margin out",
    };
    Error::Contract { step: step.to_owned(), message: error.to_string(), help: help.into() }
}

fn values(batch: &RecordBatch, columns: usize, row: usize) -> Result<Vec<ScalarValue>> {
    (0..columns).map(|c| scalar(batch, c, row)).collect()
}

fn text(value: &ScalarValue) -> String {
    match value {
        ScalarValue::Utf8(Some(s)) => s.clone(),
        other => other.to_string(),
    }
}
