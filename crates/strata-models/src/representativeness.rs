//! How like its population a sample is: standardised differences, divergences, distances, and the R-indicator of response. It
//! never compares what it has too little of: it gives none.

use serde::{Deserialize, Serialize};

use crate::{Error, Result, exact::Sum};

/// Values with weights, one a row; both arrays as long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Weighted<'a> {
    /// The values, finite.
    pub values: &'a [f64],
    /// The weights, not negative, not all 0; empty for equal weights.
    pub weights: &'a [f64],
}

/// Mean and variance of weighted values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Σwx/Σw.
    pub mean: f64,
    /// Σw(x − mean)²·Σw/((Σw)² − Σw²): n − 1 in the denominator for equal weights; none for one row.
    pub variance: Option<f64>,
    /// (Σw)²/Σw², rows for equal weights.
    pub rows_effective: f64,
}

impl Weighted<'_> {
    fn weight(&self, row: usize) -> f64 {
        self.weights.get(row).copied().unwrap_or(1.0)
    }

    fn check(&self) -> Result<()> {
        let (rows, weights) = (self.values.len(), self.weights.len());
        if weights != rows && weights != 0 {
            return Err(Error::Shape { what: "weights", found: weights, wanted: rows });
        }
        if let Some(index) = self.values.iter().position(|x| !x.is_finite()) {
            let wanted = "fill or filter missing values first";
            return Err(Error::Value { what: "value", index, value: self.values[index], wanted });
        }
        if let Some(index) = self.weights.iter().position(|w| !(*w >= 0.0 && w.is_finite())) {
            let wanted = "weights must be finite and not negative";
            return Err(Error::Value { what: "weight", index, value: self.weights[index], wanted });
        }
        if (0..rows).all(|row| self.weight(row) == 0.0) { Err(Error::NoRows) } else { Ok(()) }
    }

    /// Mean and variance. Errors: `Shape`, `Value`, `NoRows`.
    pub fn spread(&self) -> Result<Spread> {
        self.check()?;
        let (mut sum, mut weight, mut squares) = (Sum::new(), Sum::new(), Sum::new());
        for (row, &x) in self.values.iter().enumerate() {
            let w = self.weight(row);
            sum.add_product(w, x);
            weight.add(w);
            squares.add_product(w, w);
        }
        let (weight, squares) = (weight.value(), squares.value());
        let mean = sum.value() / weight;
        let mut around = Sum::new();
        self.values.iter().enumerate().for_each(|(row, x)| around.add_product(self.weight(row), (x - mean) * (x - mean)));
        let free = weight * weight - squares;
        // Rounding leaves a little of one row.
        let variance = (free > 1e-12 * squares).then(|| around.value() * weight / free);
        Ok(Spread { mean, variance, rows_effective: weight * weight / squares })
    }

    /// Distinct values in order with their part of the weight.
    fn parts(&self) -> Vec<(f64, f64)> {
        let mut order: Vec<usize> = (0..self.values.len()).collect();
        order.sort_unstable_by(|&a, &b| self.values[a].total_cmp(&self.values[b]));
        let mut parts: Vec<(f64, Sum)> = Vec::new();
        let mut all = Sum::new();
        for row in order {
            all.add(self.weight(row));
            match parts.last_mut() {
                Some((value, sum)) if *value == self.values[row] => sum.add(self.weight(row)),
                _ => {
                    let mut sum = Sum::new();
                    sum.add(self.weight(row));
                    parts.push((self.values[row], sum));
                }
            }
        }
        let all = all.value();
        parts.into_iter().map(|(value, sum)| (value, sum.value() / all)).collect()
    }
}

/// |sample mean − population mean| over the population's standard deviation; none if the population does not vary. For a level
/// of a variable compare its 0/1 column.
///
/// Errors: `Shape`, `Value`, `NoRows`.
pub fn standardised_difference(sample: Weighted<'_>, population: Weighted<'_>) -> Result<Option<f64>> {
    let (sample, population) = (sample.spread()?, population.spread()?);
    let deviation = population.variance.map(f64::sqrt).filter(|deviation| *deviation > 0.0);
    Ok(deviation.map(|deviation| (sample.mean - population.mean).abs() / deviation))
}

/// The Kullback–Leibler divergence Σ p·ln(p/q) of a sample's distribution over levels from the population's, in nats; weights
/// of each level. None if the sample has a level the population lacks (it would be infinite).
///
/// Errors: `Shape`; `Share` for a weight that is negative or not finite, or if all are 0.
pub fn divergence(sample: &[f64], population: &[f64]) -> Result<Option<f64>> {
    if sample.len() != population.len() {
        return Err(Error::Shape { what: "levels of the population", found: population.len(), wanted: sample.len() });
    }
    let (p, q) = (shares(sample)?, shares(population)?);
    let mut sum = Sum::new();
    for (&p, &q) in p.iter().zip(&q).filter(|(p, _)| **p > 0.0) {
        if q == 0.0 {
            return Ok(None);
        }
        sum.add_product(p, (p / q).ln());
    }
    Ok(Some(sum.value()))
}

fn shares(weights: &[f64]) -> Result<Vec<f64>> {
    let mut sum = Sum::new();
    for (index, &value) in weights.iter().enumerate() {
        if !(value >= 0.0 && value.is_finite()) {
            return Err(Error::Share { index, value });
        }
        sum.add(value);
    }
    let sum = sum.value();
    if sum > 0.0 { Ok(weights.iter().map(|weight| weight / sum).collect()) } else { Err(Error::Share { index: 0, value: 0.0 }) }
}

/// The earth mover's distance ∫|F − G| of a sample's distribution from the population's, in the unit of the values. For levels
/// use their positions in order.
///
/// Errors: `Shape`, `Value`, `NoRows`.
pub fn earth_mover(sample: Weighted<'_>, population: Weighted<'_>) -> Result<f64> {
    sample.check()?;
    population.check()?;
    let mut steps: Vec<(f64, f64)> = sample.parts();
    steps.extend(population.parts().into_iter().map(|(value, part)| (value, -part)));
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut apart, mut distance) = (Sum::new(), Sum::new());
    for pair in steps.windows(2) {
        apart.add(pair[0].1);
        distance.add_product(apart.value().abs(), pair[1].0 - pair[0].0);
    }
    Ok(distance.value())
}

/// Panels of the integral, and the points and weights of each (Gauss–Legendre).
const PANELS: usize = 200;
const POINTS: [(f64, f64); 5] = [
    (-0.906_179_845_938_664, 0.236_926_885_056_189_1),
    (-0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
    (0.0, 0.568_888_888_888_888_9),
    (0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
    (0.906_179_845_938_664, 0.236_926_885_056_189_1),
];
/// Densities below this count as this.
const DENSITY_MIN: f64 = 1e-12;

/// The Kullback–Leibler divergence ∫ p·ln(p/q) of a sample's density from the population's over the range of both, in nats,
/// with Gaussian kernels whose width is rows_effective^(−1/5) standard deviations; not below 0. None if one of them does not
/// vary.
///
/// Errors: `Shape`, `Value`, `NoRows`.
///
/// Source: Scott 1992, 6.3 (the width).
pub fn density_divergence(sample: Weighted<'_>, population: Weighted<'_>) -> Result<Option<f64>> {
    let (Some(p), Some(q)) = (Kernels::new(sample)?, Kernels::new(population)?) else {
        return Ok(None);
    };
    let ((p_low, p_high), (q_low, q_high)) = (p.ends(), q.ends());
    let (low, high) = (p_low.min(q_low), p_high.max(q_high));
    let half = (high - low) / (2 * PANELS) as f64;
    let mut sum = Sum::new();
    for panel in 0..PANELS {
        let middle = low + half * (2 * panel + 1) as f64;
        for (point, weight) in POINTS {
            let x = middle + half * point;
            let (p, q) = (p.density(x), q.density(x));
            sum.add(weight * half * p * (p / q).ln());
        }
    }
    Ok(Some(sum.value().max(0.0)))
}

/// A density: a Gaussian at each distinct value, all of one width.
struct Kernels {
    /// Values in order with their part of the weight.
    parts: Vec<(f64, f64)>,
    width: f64,
}

impl Kernels {
    /// None if the values do not vary.
    fn new(weighted: Weighted<'_>) -> Result<Option<Self>> {
        let spread = weighted.spread()?;
        let width = spread.variance.map(|variance| variance.sqrt() * spread.rows_effective.powf(-0.2)).filter(|w| *w > 0.0);
        Ok(width.map(|width| Kernels { parts: weighted.parts(), width }))
    }

    fn ends(&self) -> (f64, f64) {
        (self.parts[0].0, self.parts[self.parts.len() - 1].0)
    }

    fn density(&self, x: f64) -> f64 {
        let kernel = |value: f64| (-0.5 * ((x - value) / self.width) * ((x - value) / self.width)).exp();
        let sum: f64 = self.parts.iter().map(|&(value, part)| part * kernel(value)).sum();
        (sum / (self.width * std::f64::consts::TAU.sqrt())).max(DENSITY_MIN)
    }
}

/// The R-indicator of response, 1 − 2·(standard deviation of the response propensities), not below 0: 1 if everybody is as
/// likely to answer. Each sampled person counts once, n − 1 below; no correction for bias. None of fewer than two.
///
/// Errors: `Value` for a propensity outside 0 to 1.
///
/// Source: Schouten, Cobben & Bethlehem 2009.
pub fn r_indicator(propensities: &[f64]) -> Result<Option<f64>> {
    if let Some(index) = propensities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        let (what, wanted) = ("response propensity", "it must lie between 0 and 1");
        return Err(Error::Value { what, index, value: propensities[index], wanted });
    }
    let mut moments = crate::exact::Moments::new();
    propensities.iter().for_each(|&p| moments.add(p));
    Ok(moments.variance_sample().map(|variance| (1.0 - 2.0 * variance.sqrt()).max(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(values: &[f64]) -> Weighted<'_> {
        Weighted { values, weights: &[] }
    }

    fn close(found: Option<f64>, wanted: f64) -> bool {
        found.is_some_and(|found| (found - wanted).abs() < 1e-12)
    }

    #[test]
    fn spreads_count_equal_weights_as_rows() -> Result<()> {
        let plain = equal(&[1.0, 2.0, 6.0]).spread()?;
        assert_eq!((plain.mean, plain.rows_effective), (3.0, 3.0));
        assert!(close(plain.variance, 7.0));
        let twice = Weighted { values: &[1.0, 2.0, 6.0], weights: &[2.0; 3] }.spread()?;
        assert_eq!((twice.mean, twice.rows_effective), (3.0, 3.0));
        assert!(close(twice.variance, 7.0));
        // Weights 1 and 3: mean 4.75, Σw(x − m)² = 18.75, Σw² = 10: 18.75·4/6.
        let unequal = Weighted { values: &[1.0, 6.0], weights: &[1.0, 3.0] }.spread()?;
        assert!(close(unequal.variance, 12.5) && (unequal.rows_effective - 1.6).abs() < 1e-15);
        assert_eq!(equal(&[5.0]).spread()?.variance, None);
        Ok(())
    }

    #[test]
    fn differences_and_distances_by_hand() -> Result<()> {
        let population = equal(&[1.0, 2.0, 3.0]);
        assert!(close(standardised_difference(equal(&[3.0, 4.0]), population)?, 1.5));
        assert_eq!(standardised_difference(population, equal(&[2.0, 2.0]))?, None);
        // Half of the sample is at 0, a quarter of the population: a quarter moves by 1.
        assert!(close(Some(earth_mover(equal(&[0.0, 0.0, 1.0, 1.0]), equal(&[0.0, 1.0, 1.0, 1.0]))?), 0.25));
        assert!(close(Some(earth_mover(equal(&[5.0]), equal(&[2.0]))?), 3.0));
        // ½ ln 2 + ½ ln ⅔.
        assert!(close(divergence(&[1.0, 1.0], &[1.0, 3.0])?, 0.5 * 2f64.ln() + 0.5 * (2.0f64 / 3.0).ln()));
        assert!(close(divergence(&[0.0, 1.0], &[0.5, 0.5])?, 2f64.ln()));
        assert_eq!(divergence(&[1.0, 1.0], &[0.0, 3.0])?, None);
        Ok(())
    }

    #[test]
    fn equal_densities_do_not_diverge() -> Result<()> {
        let values = [1.0, 2.0, 2.5, 4.0, 7.0];
        assert_eq!(density_divergence(equal(&values), equal(&values))?, Some(0.0));
        let far = density_divergence(equal(&values), equal(&[11.0, 12.0, 12.5, 14.0, 17.0]))?;
        assert!(far.is_some_and(|far| far > 5.0), "{far:?}");
        assert_eq!(density_divergence(equal(&[1.0, 1.0]), equal(&values))?, None);
        Ok(())
    }

    #[test]
    fn even_response_is_representative() -> Result<()> {
        assert_eq!(r_indicator(&[0.3; 4])?, Some(1.0));
        // Deviations ∓0.1: S = √(0.04/3).
        assert!(close(r_indicator(&[0.2, 0.4, 0.2, 0.4])?, 1.0 - 2.0 * (0.04f64 / 3.0).sqrt()));
        assert_eq!((r_indicator(&[0.0, 1.0])?, r_indicator(&[0.5])?), (Some(0.0), None));
        assert!(r_indicator(&[1.5]).is_err());
        Ok(())
    }

    #[test]
    fn bad_input_is_refused() {
        assert!(matches!(equal(&[f64::NAN]).spread(), Err(Error::Value { what: "value", .. })));
        assert!(matches!(Weighted { values: &[1.0], weights: &[-1.0] }.spread(), Err(Error::Value { what: "weight", .. })));
        assert!(matches!(Weighted { values: &[1.0], weights: &[1.0, 1.0] }.spread(), Err(Error::Shape { .. })));
        assert_eq!(Weighted { values: &[1.0], weights: &[0.0] }.spread().err(), Some(Error::NoRows));
        assert!(divergence(&[1.0], &[]).is_err() && divergence(&[0.0], &[1.0]).is_err());
    }
}
