//! Means and totals of a stratified (and clustered) sample with their standard errors, also after calibration. It never
//! treats weights as counts: an error bar comes from the design.
//!
//! Arrays hold one entry a row, in any order.

mod change;
mod error;
mod residual;
mod strata;

use serde::{Deserialize, Serialize};

pub use change::{Answer, Movement, Person, movement};
pub use error::Error;
pub use residual::{Auxiliary, regression_residuals};

use crate::{Result, exact::Sum};
use strata::Units;

/// What to do with a stratum of one unit, whose variance is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Singleton {
    /// It is an error that names the stratum.
    Error,
    /// It adds nothing: right for units drawn with certainty.
    Certain,
    /// Its distance is taken from the mean of all strata: on the safe side.
    Centre,
}

/// A sample and how it was drawn.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// The final weights, above 0.
    pub weights: &'a [f64],
    /// The stratum of each row, from 0; empty for one stratum.
    pub strata: &'a [u32],
    /// The cluster of each row, any number, the same only within a stratum; empty if every row was drawn on its own.
    pub clusters: &'a [u32],
    /// Units (clusters, or rows) of each stratum in the population; empty if they are to be taken as endless.
    pub populations: &'a [f64],
    /// What to do with a stratum of one unit.
    pub singleton: Singleton,
}

/// An estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate, in the unit of the values (times rows, for a total).
    pub value: f64,
    /// Its standard error, in the same unit.
    pub standard_error: f64,
    /// Its variance over that of a simple random sample of as many rows without replacement; none if that is 0.
    pub deff: Option<f64>,
}

/// The weighted mean Σwy/Σw and its linearised standard error. With `auxiliary`, that of calibrated weights: residuals of the
/// regression on the calibrated measures take the place of the values. A proportion is the mean of 0 and 1; for the mean of a
/// part of the sample see [`ratio`].
///
/// Errors: `Shape`, `Value`, `NoRows`; [`Error`]: a stratum of one unit, a population smaller than its sample.
///
/// Source: Särndal, Swensson & Wretman 1992, 5.7 and 6.6.
pub fn mean(sample: &Sample<'_>, values: &[f64], auxiliary: Option<&Auxiliary<'_>>) -> Result<Estimate> {
    let found = ratio(sample, values, &vec![1.0; values.len()], auxiliary)?;
    let simple = simple_variance(sample, values, found.value, weighted(sample, |_| 1.0));
    Ok(Estimate { deff: design_effect(found.standard_error * found.standard_error, simple), ..found })
}

/// The ratio of two totals, Σwy/Σwx, and its linearised standard error, otherwise as [`mean`]; without a design effect. The
/// mean of a part of the sample is the ratio of its values to its ones, both 0 for everybody else, who must not be left out.
///
/// Errors: as [`mean`]; `Parameter` if the total below is 0.
pub fn ratio(sample: &Sample<'_>, above: &[f64], below: &[f64], auxiliary: Option<&Auxiliary<'_>>) -> Result<Estimate> {
    let units = Units::new(sample, above)?;
    Units::new(sample, below)?;
    let weight = weighted(sample, |row| below[row]);
    if weight == 0.0 {
        let wanted = "a ratio to 0 is not known: nobody belongs to the part";
        return Err(crate::Error::Parameter { name: "total below", value: weight, wanted });
    }
    let value = weighted(sample, |row| above[row]) / weight;
    let scores: Vec<f64> = above.iter().zip(below).map(|(y, x)| (y - value * x) / weight).collect();
    let variance = units.variance(sample, &residual::residuals(sample, scores, auxiliary)?)?;
    Ok(Estimate { value, standard_error: variance.sqrt(), deff: None })
}

/// The weighted total Σwy, otherwise as [`mean`].
///
/// Errors: as [`mean`].
pub fn total(sample: &Sample<'_>, values: &[f64], auxiliary: Option<&Auxiliary<'_>>) -> Result<Estimate> {
    let units = Units::new(sample, values)?;
    let weight = weighted(sample, |_| 1.0);
    let value = weighted(sample, |row| values[row]);
    let variance = units.variance(sample, &residual::residuals(sample, values.to_vec(), auxiliary)?)?;
    let simple = simple_variance(sample, values, value / weight, weight) * weight * weight;
    Ok(Estimate { value, standard_error: variance.sqrt(), deff: design_effect(variance, simple) })
}

/// The design effect of weights for one outcome: Kish's n·Σw²/(Σw)² times the part of the outcome's variance that the
/// calibrated measures leave, Σw(e − ē)²/Σw(y − ȳ)². `residuals` come from [`regression_residuals`], with a constant among the
/// measures. Below 1 where the measures explain more than the weights cost. None if the outcome does not vary.
///
/// Errors: `Shape`, `Value`, `NoRows`.
///
/// Source: Henry & Valliant 2015, eq. 3.5, without the terms that vanish where weights and residuals are not related.
pub fn outcome_design_effect(weights: &[f64], values: &[f64], residuals: &[f64]) -> Result<Option<f64>> {
    let sample = Sample { weights, strata: &[], clusters: &[], populations: &[], singleton: Singleton::Error };
    Units::new(&sample, values)?;
    Units::new(&sample, residuals)?;
    let (weight, squares) = (weighted(&sample, |_| 1.0), weighted(&sample, |row| weights[row]));
    let spread = |of: &[f64]| {
        let mean = weighted(&sample, |row| of[row]) / weight;
        weighted(&sample, |row| (of[row] - mean) * (of[row] - mean))
    };
    let (left, all) = (spread(residuals), spread(values));
    Ok((all > 0.0).then(|| weights.len() as f64 * squares / (weight * weight) * (left / all)))
}

fn design_effect(variance: f64, simple: f64) -> Option<f64> {
    (simple > 0.0).then(|| variance / simple)
}

/// Σ weight·value.
fn weighted(sample: &Sample<'_>, value: impl Fn(usize) -> f64) -> f64 {
    let mut sum = Sum::new();
    sample.weights.iter().enumerate().for_each(|(row, &weight)| sum.add_product(weight, value(row)));
    sum.value()
}

/// The variance of the mean of a simple random sample without replacement of as many rows, from a population of Σw.
fn simple_variance(sample: &Sample<'_>, values: &[f64], mean: f64, weight: f64) -> f64 {
    let rows = values.len() as f64;
    let spread = weighted(sample, |row| (values[row] - mean) * (values[row] - mean)) / weight;
    if rows < 2.0 { 0.0 } else { spread / (rows - 1.0) * ((weight - rows) / weight).max(0.0) }
}

#[cfg(test)]
mod tests;
