//! What calibration leaves of a score: its residual of the regression on the calibrated measures. It never needs the totals.

use super::Sample;
use crate::{Error, Result, exact::Sum, matrix};

/// The measures the weights were calibrated (raked, post-stratified) to.
#[derive(Debug, Clone, Copy)]
pub struct Auxiliary<'a> {
    /// n·columns numbers, row by row. For margins, one 0/1 column a level; columns that depend on others do no harm.
    pub measures: &'a [f64],
    /// How many measures.
    pub columns: usize,
    /// The weights before calibration, above 0.
    pub base_weights: &'a [f64],
}

/// The scores, or without what the measures explain of them (least squares by the base weights).
///
/// Errors: `Shape`, `Value`.
///
/// Source: Deville & Särndal 1992: every calibrated estimator has the variance of the regression estimator.
pub(super) fn residuals(sample: &Sample<'_>, scores: Vec<f64>, auxiliary: Option<&Auxiliary<'_>>) -> Result<Vec<f64>> {
    match auxiliary {
        None => Ok(scores),
        Some(auxiliary) if auxiliary.base_weights.len() != sample.weights.len() => {
            let (found, wanted) = (auxiliary.base_weights.len(), sample.weights.len());
            Err(Error::Shape { what: "base weights", found, wanted })
        }
        Some(auxiliary) => regression_residuals(&scores, auxiliary),
    }
}

/// What the measures leave of the values: residuals of the regression by the base weights. One a row; columns that depend on
/// others do no harm.
///
/// Errors: `Shape`, `Value`.
pub fn regression_residuals(scores: &[f64], auxiliary: &Auxiliary<'_>) -> Result<Vec<f64>> {
    let (rows, columns) = (scores.len(), auxiliary.columns);
    let given = [("measures", auxiliary.measures.len(), rows * columns), ("base weights", auxiliary.base_weights.len(), rows)];
    for (what, found, wanted) in given {
        if found != wanted {
            return Err(Error::Shape { what, found, wanted });
        }
    }
    let bad = auxiliary.base_weights.iter().position(|d| !(*d > 0.0 && d.is_finite()));
    if let Some(index) = bad.or_else(|| auxiliary.measures.iter().position(|x| !x.is_finite())) {
        let what = if bad.is_some() { "base weight" } else { "measure" };
        let value = if bad.is_some() { auxiliary.base_weights[index] } else { auxiliary.measures[index] };
        return Err(Error::Value { what, index, value, wanted: "it must be finite, and a weight above 0" });
    }
    // Dependent columns are left out one by one: what is left explains as much.
    let mut kept: Vec<usize> = (0..columns).collect();
    loop {
        let of = |row: usize| kept.iter().map(|&j| auxiliary.measures[row * columns + j]).collect::<Vec<f64>>();
        let mut gram = matrix::Gram::new(kept.len());
        let mut right = vec![Sum::new(); kept.len()];
        for (row, &base) in auxiliary.base_weights.iter().enumerate() {
            let x = of(row);
            gram.add(base, &x);
            right.iter_mut().zip(&x).for_each(|(sum, x)| sum.add_product(base * x, scores[row]));
        }
        match matrix::Factor::new(&gram.values(), kept.len(), 1e-10) {
            Err(dependent) => {
                kept.remove(dependent.column);
            }
            Ok(factor) => {
                let slopes = factor.solve(&right.iter().map(Sum::value).collect::<Vec<_>>());
                let explained = |row: usize| of(row).iter().zip(&slopes).map(|(x, slope)| x * slope).sum::<f64>();
                return Ok(scores.iter().enumerate().map(|(row, score)| score - explained(row)).collect());
            }
        }
    }
}
