//! Answers that came back from a wave: who answered, what each counts for, and what moved since the wave before. Never holds a
//! person in a
//! report, and never weighs an answer of somebody who was not drawn.

mod estimates;
mod fieldwork;
mod weigh;

use crate::error::{Error, Result};
use crate::report::CapReport;
use crate::run::Run;
use serde::{Deserialize, Serialize};
use strata_spec::pipeline::Wave;

pub use fieldwork::Disposition;

/// What came back, and what is asked of it.
#[derive(Debug, Clone, Default)]
pub struct Returned {
    /// File of the fieldwork: the entity key, `disposition`, and answers.
    pub fieldwork: String,
    /// File of the weights of an earlier wave, as this verb wrote it.
    pub before: Option<String>,
    /// Columns of the fieldwork that are numbers to estimate.
    pub measures: Vec<String>,
    /// Attributes and segmentations to estimate by.
    pub by: Vec<String>,
}

/// An answer and what it counts for.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighed {
    /// The entity key, as text.
    pub key: String,
    /// The stratum it was drawn in.
    pub stratum: String,
    /// Values of the columns to estimate by.
    pub by: Vec<String>,
    /// 1 / inclusion probability; 1 where quotas were filled.
    pub base_weight: f64,
    /// What it stands for besides, of those who did not answer.
    pub nonresponse_factor: f64,
    /// The final weight.
    pub weight: f64,
    /// Answers, in the order of the measures; NaN where there is none.
    pub values: Vec<f64>,
}

/// What is said of the answers of a wave.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ReturnReport {
    /// Version of this format.
    pub format: u32,
    /// Wave.
    pub wave: String,
    /// `as_of`, RFC 3339.
    pub as_of: String,
    /// People invited.
    pub invited: u64,
    /// (disposition, people), in order; who is not in the file counts as `no_answer`.
    pub dispositions: Vec<(String, u64)>,
    /// People invited who are not in the file.
    pub not_in_file: u64,
    /// Answers / those eligible, weighted by design.
    pub response_rate: Option<f64>,
    /// Non-response cells.
    pub cells: Vec<CellReport>,
    /// How the weights were made: `raked`, `raked within a cap`, or `calibrated`.
    pub method: String,
    /// Margins.
    pub margins: Vec<String>,
    /// Sweeps or steps.
    pub iterations: u32,
    /// Whether every target was met.
    pub converged: bool,
    /// Greatest relative miss of a target.
    pub worst: f64,
    /// Levels that nobody who answered has, where the pipeline lets them be dropped.
    pub dropped: Vec<String>,
    /// Such levels that were joined with another, and with which.
    #[serde(default)]
    pub joined: Vec<String>,
    /// Sum of the weights.
    pub sum: f64,
    /// Smallest weight.
    pub min: f64,
    /// Largest weight.
    pub max: f64,
    /// Design effect of weighting.
    pub deff: f64,
    /// Effective sample size.
    pub ess: f64,
    /// What caps would cost and buy, if that is asked for.
    pub caps: Vec<CapReport>,
    /// Weighted means.
    pub estimates: Vec<EstimateReport>,
    /// Changes since the wave before.
    pub movements: Vec<MovementReport>,
    /// What is worth a look.
    pub warnings: Vec<String>,
}

/// A non-response cell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CellReport {
    /// Its values.
    pub cell: String,
    /// People invited.
    pub invited: u64,
    /// Answers.
    pub answers: u64,
    /// What an answer stands for.
    pub factor: f64,
    /// Cells of one group share their factor.
    pub group: usize,
}

/// A weighted mean.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EstimateReport {
    /// Measure.
    pub measure: String,
    /// Column and value, or everybody.
    pub of: Option<(String, String)>,
    /// Answers.
    pub answers: u64,
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
}

/// How a measure moved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MovementReport {
    /// Measure.
    pub measure: String,
    /// Column and value, or everybody.
    pub of: Option<(String, String)>,
    /// Answers before, now, and of people who gave both.
    pub answers: (u64, u64, u64),
    /// Means before and now.
    pub means: (f64, f64),
    /// Now less before.
    pub change: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// True where the change is more than 1.96 standard errors.
    pub is_clear: bool,
}

/// Weighs what came back of a drawn wave. Errors: `Contract` where the file does not fit the wave, or no weights meet the
/// margins.
pub(crate) async fn weigh(run: &mut Run<'_>, wave: &Wave, returned: &Returned) -> Result<(ReturnReport, Vec<Weighed>)> {
    let step = format!("weights {}", wave.name.value);
    let Some(weights) = wave.weights.clone() else {
        let help = "write `weights: {rake: [region, gender]}` for the wave";
        return Err(broken(&step, format!("the wave `{}` has no `weights`", wave.name.value), help));
    };
    let mut report = ReturnReport {
        format: 1,
        wave: wave.name.value.clone(),
        as_of: run.compiled.clock().as_of.to_rfc3339(),
        ..ReturnReport::default()
    };
    let people = fieldwork::people(run, &step, wave, &weights, returned, &mut report).await?;
    let population = crate::panel::raking::population(run, &step, wave, &weights).await?;
    let weighed = weigh::weigh(&step, wave, &weights, &population, people, &mut report)?;
    estimates::estimate(&step, wave, returned, &weighed, &run.solved, &mut report)?;
    if let Some(before) = &returned.before {
        estimates::moved(&step, before, returned, &weighed, &mut report)?;
    }
    Ok((report, weighed))
}

fn broken(step: &str, message: String, help: &str) -> Error {
    Error::Contract { step: step.to_owned(), message, help: help.to_owned() }
}
