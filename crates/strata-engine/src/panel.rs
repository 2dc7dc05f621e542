//! One wave of a panel: waterfall → allocation → draw → weights. Never draws by a row's place.

mod allocation;
mod cells;
mod draw;
pub(crate) mod history;
mod margins;
mod quotas;
pub(crate) mod raking;

use crate::error::{Error, Result};
use crate::report::{StratumWaterfall, WaveReport};
use crate::run::Run;
use crate::solve::{float, integer, scalar};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use strata_plan::{Measured, cells_of};
use strata_spec::pipeline::{SampleOf, Wave};

/// A stratum, or a cell of quotas, as the eligible are counted in it.
#[derive(Debug, Clone)]
pub(crate) struct Stratum {
    /// Values of its columns.
    pub(crate) values: Vec<ScalarValue>,
    /// Eligible members.
    pub(crate) eligible: u64,
    /// What is summed up besides; NaN where there is nothing to sum up.
    measures: Vec<(Measured, f64)>,
}

impl Stratum {
    fn measure(&self, wanted: Measured) -> Option<f64> {
        self.measures.iter().find(|(m, _)| *m == wanted).map(|(_, v)| *v)
    }

    /// Its values in a row.
    pub(crate) fn label(&self) -> String {
        label(&self.values)
    }
}

/// Draws and weights a wave; gives what to say of it.
pub(crate) async fn wave(run: &mut Run<'_>, name: &str) -> Result<String> {
    let Some(wave) = run.compiled.pipeline().wave(name).cloned() else { return Ok(String::new()) };
    let step = format!("panel {name}");
    let mut report = planned(run, &step, &wave).await?;
    let (rows, asked) = draw::draw(run, &step, &wave, &mut report).await?;
    report.drawn = asked;
    if wave.further.after.is_some() || !wave.further.not_in.is_empty() {
        report.overlaps = history::overlaps(run, &step, &wave).await?;
    }
    if let Some(weights) = &wave.weights {
        report.weights = Some(raking::rake_sample(run, &step, &wave, weights).await?);
    }
    report.record = Some(history::record(run, &step, &wave, &report)?);
    let reserve = if rows > asked { format!(", {} in reserve", rows - asked) } else { String::new() };
    let detail = format!("{} of {} eligible drawn{reserve}", report.drawn, report.eligible);
    run.report.panel.push(report);
    Ok(detail)
}

/// Counts who is eligible and allocates the wave, without drawing anybody. Errors: as the step's.
pub(crate) async fn planned(run: &mut Run<'_>, step: &str, wave: &Wave) -> Result<WaveReport> {
    history::check(run, step, wave).await?;
    let mut report = WaveReport { wave: wave.name.value.clone(), ..Default::default() };
    let strata = eligibility(run, step, wave, &mut report).await?;
    let base = match wave.sample_of {
        SampleOf::All => report.roster,
        SampleOf::Members => report.eligible,
    };
    let allocations = match wave.further.quotas.is_empty() {
        true => allocation::allocate(run, step, wave, &strata, base, &mut report)?,
        false => quotas::fill(run, step, wave, &strata, base, &mut report)?,
    };
    run.solved.allocations.insert(wave.name.value.clone(), allocations);
    Ok(report)
}

/// Who fails which rule first, in which stratum; gives the strata of the eligible, in order.
async fn eligibility(run: &mut Run<'_>, step: &str, wave: &Wave, report: &mut WaveReport) -> Result<Vec<Stratum>> {
    let waterfall = run.planned(step, run.compiled.waterfall(wave, &run.solved))?;
    let counts = run.collect(step, waterfall.counts).await?;
    let k = cells_of(wave).len();
    let mut failed = vec![0u64; waterfall.rules.len()];
    let mut by_stratum: Vec<(Vec<ScalarValue>, StratumWaterfall)> = vec![];
    let mut strata = vec![];
    for batch in &counts {
        for row in 0..batch.num_rows() {
            let one = std::slice::from_ref(batch);
            let (rule, rows) = (integer(one, 0, row), integer(one, k + 1, row) as u64);
            let values = (1..=k).map(|c| scalar(batch, c, row)).collect::<Result<Vec<_>>>()?;
            if by_stratum.last().is_none_or(|(v, _)| *v != values) {
                let none =
                    StratumWaterfall { stratum: values.iter().map(text).collect(), failed: vec![0; failed.len()], eligible: 0 };
                by_stratum.push((values.clone(), none));
            }
            report.roster += rows;
            let here = by_stratum.last_mut().map(|(_, w)| w);
            match usize::try_from(rule) {
                Ok(i) => {
                    failed[i] += rows;
                    here.into_iter().for_each(|w| w.failed[i] += rows);
                }
                Err(_) => {
                    report.eligible += rows;
                    here.into_iter().for_each(|w| w.eligible += rows);
                    let measures = waterfall.measures.iter().enumerate().map(|(i, m)| (*m, float(batch, k + 2 + i, row)));
                    strata.push(Stratum { values, eligible: rows, measures: measures.collect() });
                }
            }
        }
    }
    report.waterfall = waterfall.rules.into_iter().zip(failed).collect();
    if k > 0 {
        report.by_stratum = by_stratum.into_iter().map(|(_, w)| w).collect();
    }
    Ok(strata)
}

/// A solver's refusal.
pub(crate) fn contract(step: &str, error: &strata_models::Error) -> Error {
    let help = match error.kind() {
        strata_models::Kind::Invalid => "change the wave's numbers in the pipeline",
        _ => "join levels that few members have, or leave the margin out",
    };
    Error::Contract { step: step.to_owned(), message: error.to_string(), help: help.into() }
}

/// Values in a row.
pub(crate) fn label(values: &[ScalarValue]) -> String {
    values.iter().map(text).collect::<Vec<_>>().join(" · ")
}

/// A breach of what the data must hold for a panel.
fn broken(step: &str, message: String, help: &str) -> Error {
    Error::Contract { step: step.to_owned(), message, help: help.to_owned() }
}

fn values(batch: &RecordBatch, columns: usize, row: usize) -> Result<Vec<ScalarValue>> {
    (0..columns).map(|c| scalar(batch, c, row)).collect()
}

/// A value as people read it.
pub(crate) fn text(value: &ScalarValue) -> String {
    match value {
        ScalarValue::Utf8(Some(s)) => s.clone(),
        other => other.to_string(),
    }
}
