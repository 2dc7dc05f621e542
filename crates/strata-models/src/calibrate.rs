//! Calibration: weights as near as can be to the base weights that meet totals of several measures at once: regression
//! (GREG), raking and logit distances, bounded or not. It never gives weights that miss the totals: it says why it cannot.

mod distance;
mod error;
mod nearest;
mod newton;

use serde::{Deserialize, Serialize};

pub use distance::Distance;
pub use error::Error;
pub(crate) use nearest::{Nearest, nearest};

use crate::{Result, exact::Sum, matrix};

/// Limits of the weights. The default sets none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// The least ratio of weight to base weight, ≥ 0 and at most 1; −∞ for none.
    pub ratio_min: f64,
    /// The greatest ratio, at least 1; ∞ for none.
    pub ratio_max: f64,
    /// The least weight; 0 for none.
    pub weight_min: f64,
    /// The greatest weight; ∞ for none.
    pub weight_max: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            ratio_min: f64::NEG_INFINITY,
            ratio_max: f64::INFINITY,
            weight_min: f64::NEG_INFINITY,
            weight_max: f64::INFINITY,
        }
    }
}

/// One total to meet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Total {
    /// The name of its measure, for messages.
    pub name: String,
    /// Σ over the population, in the unit of the measure.
    pub value: f64,
}

/// What to calibrate.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// p totals. A constant measure of 1 with the population count is usually the first; a variable with levels has a
    /// measure for each level but one.
    pub totals: &'a [Total],
    /// n·p numbers: the measures of each row, in the order of the totals.
    pub measures: &'a [f64],
    /// n base weights, above 0. Rows with equal measures may be one row with the sum of their weights, unless there are
    /// limits on weights.
    pub weights: &'a [f64],
    /// How far from the base weight a ratio is.
    pub distance: Distance,
    /// Limits of the weights; ratios beyond one are cut at it ([`Distance::Logit`] never reaches them).
    pub limits: Limits,
    /// Stop once the greatest |achieved − total| / |total| is at most this.
    pub tolerance: f64,
    /// At most so many Newton steps.
    pub iterations_max: u32,
}

/// Calibrated weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// weight / base weight of each row.
    pub ratios: Vec<f64>,
    /// The weight of each row.
    pub weights: Vec<f64>,
    /// λ, one a total: ratio = F(x·λ).
    pub multipliers: Vec<f64>,
    /// Newton steps made.
    pub iterations: u32,
    /// The greatest |achieved − total| / |total| (over Σ|weight·measure| for a total of 0).
    pub relative_difference_max: f64,
    /// The measure it belongs to (the first of equals).
    pub worst: String,
    /// Rows at their lower and at their upper limit.
    pub at_limits: (usize, usize),
}

/// Calibrates the base weights to the totals: Σ d_i·F(x_i·λ)·x_i = totals, solved by Newton steps that are halved where they
/// go too far. Sums are exact, so the weights do not depend on the order of the rows.
///
/// O(iterations·n·p²). Distances: linear F = 1 + u is the regression estimator (GREG), negative weights included; raking
/// F = e^u; logit between the ratio limits. Linear and raking with limits are cut at them.
///
/// Errors: `Shape`; [`Error`]: numbers out of range, a measure that is 0 or a combination of others, limits that exclude
/// each other, totals no weights within the limits can meet (with the least possible miss).
///
/// Source: Deville & Särndal 1992; Deville, Särndal & Sautory 1993.
pub fn calibrate(problem: &Problem<'_>) -> Result<Calibrated> {
    let bounds = check(problem)?;
    collinear(problem)?;
    match newton::solve(problem, &bounds)? {
        newton::End::Met(state) => Ok(describe(problem, &bounds, *state)),
        newton::End::Unmet { iterations, worst, relative } => {
            let nearest = nearest(problem, &bounds)?;
            if nearest.relative > problem.tolerance.max(1e-9) {
                return Err(Error::Infeasible {
                    total: problem.totals[nearest.worst].name.clone(),
                    value: problem.totals[nearest.worst].value,
                    achieved: nearest.achieved,
                    relative: nearest.relative,
                }
                .into());
            }
            Err(Error::NotConverged { iterations, total: problem.totals[worst].name.clone(), relative }.into())
        }
    }
}

/// The least and greatest ratio of each row.
pub(crate) type Bounds = Vec<(f64, f64)>;

impl Problem<'_> {
    fn measures_of(&self, row: usize) -> &[f64] {
        &self.measures[row * self.totals.len()..(row + 1) * self.totals.len()]
    }

    /// What the misses of each total are divided by: |total|, or Σ|d·x| for a total of 0.
    fn scales(&self) -> Vec<f64> {
        let scale = |j: usize| {
            if self.totals[j].value != 0.0 {
                return self.totals[j].value.abs();
            }
            let mut sum = Sum::new();
            (0..self.weights.len()).for_each(|row| sum.add((self.weights[row] * self.measures_of(row)[j]).abs()));
            sum.value()
        };
        (0..self.totals.len()).map(scale).collect()
    }
}

fn check(problem: &Problem<'_>) -> Result<Bounds> {
    let (n, p) = (problem.weights.len(), problem.totals.len());
    if problem.measures.len() != n * p {
        return Err(crate::Error::Shape { what: "measures", found: problem.measures.len(), wanted: n * p });
    }
    if n == 0 || p == 0 {
        return Err(if n == 0 { crate::Error::NoRows } else { Error::NoTotals.into() });
    }
    if !(problem.tolerance > 0.0 && problem.tolerance < 1.0) {
        let wanted = "it must be above 0 and below 1";
        return Err(crate::Error::Parameter { name: "tolerance", value: problem.tolerance, wanted });
    }
    if let Some(total) = problem.totals.iter().find(|total| !total.value.is_finite()) {
        return Err(Error::Total { total: total.name.clone(), value: total.value }.into());
    }
    if let Some(at) = problem.measures.iter().position(|x| !x.is_finite()) {
        let (row, total) = (at / p, problem.totals[at % p].name.clone());
        return Err(Error::Measure { row, total, value: problem.measures[at] }.into());
    }
    if let Some(row) = problem.weights.iter().position(|d| !(*d > 0.0 && d.is_finite())) {
        return Err(crate::Error::BaseWeight { cell: row, weight: problem.weights[row], rows: 1 });
    }
    bounds(problem)
}

fn bounds(problem: &Problem<'_>) -> Result<Bounds> {
    let Limits { ratio_min, ratio_max, weight_min, weight_max } = problem.limits;
    let is_logit = problem.distance == Distance::Logit;
    // INVARIANT of the logit distance: ratio_min < 1 < ratio_max, both finite.
    let is_good = if is_logit {
        (0.0..1.0).contains(&ratio_min) && ratio_max > 1.0 && ratio_max.is_finite()
    } else {
        ratio_min <= 1.0 && ratio_max >= 1.0
    };
    if !is_good {
        return Err(Error::Limits { ratio_min, ratio_max, distance: problem.distance.name() }.into());
    }
    if is_logit && (weight_min > 0.0 || weight_max.is_finite()) {
        return Err(Error::LogitWeights.into());
    }
    if weight_min.is_nan() || weight_max.is_nan() || weight_min > weight_max {
        return Err(Error::WeightLimits { row: 0, weight: problem.weights[0], min: weight_min, max: weight_max }.into());
    }
    let least = if problem.distance == Distance::Linear { ratio_min } else { ratio_min.max(0.0) };
    problem
        .weights
        .iter()
        .enumerate()
        .map(|(row, &weight)| {
            let (low, high) = (least.max(weight_min / weight), ratio_max.min(weight_max / weight));
            if low <= high {
                return Ok((low, high));
            }
            Err(Error::WeightLimits { row, weight, min: weight_min, max: weight_max }.into())
        })
        .collect()
}

/// Refuses measures that are 0 in every row or a combination of others.
fn collinear(problem: &Problem<'_>) -> Result<()> {
    let p = problem.totals.len();
    let mut gram = matrix::Gram::new(p);
    (0..problem.weights.len()).for_each(|row| gram.add(problem.weights[row], problem.measures_of(row)));
    let name = |j: usize| problem.totals[j].name.clone();
    match matrix::Factor::new(&gram.values(), p, 1e-10) {
        Ok(_) => Ok(()),
        Err(dependent) if dependent.on.is_empty() => Err(Error::Absent { total: name(dependent.column) }.into()),
        Err(dependent) => {
            let on: Vec<String> = dependent.on.iter().map(|&j| format!("`{}`", name(j))).collect();
            Err(Error::Collinear { total: name(dependent.column), on: on.join(", ") }.into())
        }
    }
}

fn describe(problem: &Problem<'_>, bounds: &Bounds, state: newton::State) -> Calibrated {
    let at_low = state.ratios.iter().zip(bounds).filter(|(ratio, bound)| **ratio <= bound.0).count();
    let at_high = state.ratios.iter().zip(bounds).filter(|(ratio, bound)| **ratio >= bound.1).count();
    let weights = state.ratios.iter().zip(problem.weights).map(|(ratio, weight)| ratio * weight).collect();
    Calibrated {
        weights,
        ratios: state.ratios,
        multipliers: state.multipliers,
        iterations: state.iterations,
        relative_difference_max: state.relative,
        worst: problem.totals[state.worst].name.clone(),
        at_limits: (at_low, at_high),
    }
}

#[cfg(test)]
mod tests;
