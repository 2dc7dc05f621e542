//! Response propensities by logistic regression. It never gives a model in which somebody is certain to answer or not: where
//! the measures tell the two apart exactly it says so.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::{Result, exact::Sum, matrix};

/// A fitted model of response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Propensities {
    /// One a measure, in log odds a unit of it.
    pub coefficients: Vec<f64>,
    /// The probability of each row to answer, in (0, 1).
    pub propensities: Vec<f64>,
    /// −2·log-likelihood.
    pub deviance: f64,
    /// Newton steps made.
    pub iterations: u32,
}

const ITERATIONS_MAX: u32 = 100;
/// Log odds beyond which a row counts as certain.
const CERTAIN: f64 = 30.0;

/// Fits the probability to answer as logistic(x·β), by maximum likelihood. `measures` holds the measures of each row, one
/// after the other, in the order of `names` (the first usually a constant 1; a variable with levels has a 0/1 measure for each
/// but one); `weights` multiplies the rows, empty for 1. Sums are exact, so the order of rows changes nothing.
///
/// Errors: `NoRows`, `Shape`, `Value`; [`Error`]: a measure that is 0 or a combination of others, response that the measures
/// tell apart exactly.
///
/// Source: Little 1986; McCullagh & Nelder 1989.
pub fn propensities(measures: &[f64], names: &[&str], answered: &[bool], weights: &[f64]) -> Result<Propensities> {
    let (rows, p) = (answered.len(), names.len());
    if rows == 0 || p == 0 {
        return Err(crate::Error::NoRows);
    }
    if measures.len() != rows * p {
        return Err(crate::Error::Shape { what: "measures", found: measures.len(), wanted: rows * p });
    }
    if weights.len() != rows && !weights.is_empty() {
        return Err(crate::Error::Shape { what: "weights", found: weights.len(), wanted: rows });
    }
    if let Some(index) = measures.iter().position(|x| !x.is_finite()) {
        let wanted = "fill or filter missing values first";
        return Err(crate::Error::Value { what: "measure", index, value: measures[index], wanted });
    }
    if let Some(index) = weights.iter().position(|w| !(*w > 0.0 && w.is_finite())) {
        let wanted = "weights must be finite and above 0";
        return Err(crate::Error::Value { what: "weight", index, value: weights[index], wanted });
    }
    let fit = Fit { measures, answered, weights, p };
    let mut coefficients = vec![0.0; p];
    let mut deviance = fit.deviance(&coefficients);
    for iteration in 1..=ITERATIONS_MAX {
        let step = fit.step(&coefficients).map_err(|dependent| dependent_error(&dependent, names))?;
        let mut part = 1.0;
        let (next, next_deviance) = loop {
            let next: Vec<f64> = coefficients.iter().zip(&step).map(|(b, step)| b + part * step).collect();
            let next_deviance = fit.deviance(&next);
            // Near the optimum rounding may show a rise.
            if next_deviance <= deviance * (1.0 + 1e-12) || part < 1e-6 {
                break (next, next_deviance);
            }
            part /= 2.0;
        };
        let change = (deviance - next_deviance).abs();
        (coefficients, deviance) = (next, next_deviance);
        if (0..rows).any(|row| fit.odds(row, &coefficients).abs() > CERTAIN) {
            return Err(Error::Separated.into());
        }
        // Newton's error squares itself: one step after this the change is far below a float.
        let moved = step.iter().zip(&coefficients).all(|(step, b)| step.abs() <= 1e-9 * b.abs().max(1e-9));
        if change <= 1e-13 * (deviance + 0.1) && moved {
            let propensities = (0..rows).map(|row| logistic(fit.odds(row, &coefficients))).collect();
            return Ok(Propensities { coefficients, propensities, deviance, iterations: iteration });
        }
    }
    Err(Error::Separated.into())
}

fn dependent_error(dependent: &matrix::Dependent, names: &[&str]) -> crate::Error {
    let measure = names[dependent.column].to_owned();
    let on: Vec<String> = dependent.on.iter().map(|&j| format!("`{}`", names[j])).collect();
    if on.is_empty() { Error::Absent { measure }.into() } else { Error::Collinear { measure, on: on.join(", ") }.into() }
}

struct Fit<'a> {
    measures: &'a [f64],
    answered: &'a [bool],
    weights: &'a [f64],
    p: usize,
}

impl Fit<'_> {
    fn of(&self, row: usize) -> &[f64] {
        &self.measures[row * self.p..(row + 1) * self.p]
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.get(row).copied().unwrap_or(1.0)
    }

    fn odds(&self, row: usize, coefficients: &[f64]) -> f64 {
        self.of(row).iter().zip(coefficients).map(|(x, b)| x * b).sum()
    }

    fn deviance(&self, coefficients: &[f64]) -> f64 {
        let mut sum = Sum::new();
        for (row, &answered) in self.answered.iter().enumerate() {
            let odds = self.odds(row, coefficients);
            let against = if answered { -odds } else { odds };
            // ln(1 + e^x), without overflow.
            sum.add(2.0 * self.weight(row) * (against.max(0.0) + (-against.abs()).exp().ln_1p()));
        }
        sum.value()
    }

    /// The Newton step (Xᵀ W X)⁻¹ Xᵀ(y − p).
    fn step(&self, coefficients: &[f64]) -> std::result::Result<Vec<f64>, matrix::Dependent> {
        let mut gram = matrix::Gram::new(self.p);
        let mut score = vec![Sum::new(); self.p];
        for (row, &answered) in self.answered.iter().enumerate() {
            let probability = logistic(self.odds(row, coefficients));
            let rest = f64::from(u8::from(answered)) - probability;
            gram.add(self.weight(row) * probability * (1.0 - probability), self.of(row));
            score.iter_mut().zip(self.of(row)).for_each(|(sum, &x)| sum.add_product(self.weight(row) * rest, x));
        }
        let factor = matrix::Factor::new(&gram.values(), self.p, 1e-12)?;
        Ok(factor.solve(&score.iter().map(Sum::value).collect::<Vec<_>>()))
    }
}

fn logistic(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_groups_have_their_own_rates() -> Result<()> {
        // 3 of 4 and 1 of 5: log odds ln 3 and ln ¼.
        let measures: Vec<f64> = (0..9).flat_map(|i| [1.0, f64::from(u8::from(i >= 4))]).collect();
        let answered = [true, true, true, false, true, false, false, false, false];
        let found = propensities(&measures, &["one", "group"], &answered, &[])?;
        let wanted = [3f64.ln(), 0.25f64.ln() - 3f64.ln()];
        assert!(found.coefficients.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert!((found.propensities[0] - 0.75).abs() < 1e-12 && (found.propensities[8] - 0.2).abs() < 1e-12);
        let likelihood = 3.0 * 0.75f64.ln() + 0.25f64.ln() + 0.2f64.ln() + 4.0 * 0.8f64.ln();
        assert!((found.deviance + 2.0 * likelihood).abs() < 1e-12);
        // Weights are rows.
        let weighted = propensities(&[1.0, 1.0], &["one"], &[true, false], &[3.0, 1.0])?;
        assert!((weighted.propensities[0] - 0.75).abs() < 1e-12);
        Ok(())
    }

    #[test]
    fn what_cannot_be_fitted_is_named() {
        let refused = |measures: &[f64], names: &[&str], answered: &[bool]| propensities(measures, names, answered, &[]).err();
        let separated = refused(&[1.0, 0.0, 1.0, 1.0, 1.0, 2.0, 1.0, 3.0], &["one", "x"], &[false, false, true, true]);
        assert_eq!(separated, Some(Error::Separated.into()));
        let (measure, on) = ("x".to_owned(), "`one`".to_owned());
        assert_eq!(refused(&[1.0, 2.0, 1.0, 2.0], &["one", "x"], &[true, false]), Some(Error::Collinear { measure, on }.into()));
        let measure = "x".to_owned();
        assert_eq!(refused(&[1.0, 0.0, 1.0, 0.0], &["one", "x"], &[true, false]), Some(Error::Absent { measure }.into()));
        assert_eq!(refused(&[1.0; 3], &["one"], &[true; 3]), Some(Error::Separated.into()));
        assert_eq!(refused(&[], &["one"], &[]), Some(crate::Error::NoRows));
        assert!(matches!(refused(&[1.0], &["one"], &[true, true]), Some(crate::Error::Shape { .. })));
        assert!(matches!(refused(&[f64::NAN], &["one"], &[true]), Some(crate::Error::Value { .. })));
    }
}
