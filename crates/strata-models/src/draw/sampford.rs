//! Sampford's design of fixed size and exact probabilities, drawn with one permanent random number a row. It never rejects a
//! draw and tries again: rows are decided one after the other with their conditional probabilities.

use super::{Error, select};
use crate::{Result, exact::Sum};

/// Rows times sample, at most: two tables of that many floats are made.
const CELLS_MAX: usize = 1 << 22;

/// A draw of Σπ rows with inclusion probabilities exactly π: row by row, row k is drawn if its number is below its
/// probability given what was decided before. Positions in the order of the rows; certainties are always drawn. A changed
/// row can change the decisions on later rows: for coordination over time order sampling is better. O(N·n), for strata
/// with N·n ≤ 2^22.
///
/// Errors: `Number`, `Probability`, `Shape`; `NotWhole` if Σπ is not whole to 1e-6; `Empty`; `TooLarge`.
///
/// Source: Sampford 1967; the conditional probabilities follow from P(s) ∝ Π_{k∈s} π_k/(1 − π_k) · Σ_{k∈s} (1 − π_k).
pub fn sampford(numbers: &[f64], probabilities: &[f64]) -> Result<Vec<usize>> {
    select::check(numbers, probabilities)?;
    let (rows, sample) = free_rows(probabilities)?;
    let free: Vec<f64> = rows.iter().map(|&row| probabilities[row]).collect();
    let cells = rows.len().saturating_mul(sample);
    if cells > CELLS_MAX {
        let method = "sampford sampling";
        return Err(Error::TooLarge { method, sample, rows: rows.len(), cells, cells_max: CELLS_MAX }.into());
    }
    let tables = Tails::new(&free, sample);
    let (mut left, mut weight) = (sample, 0.0);
    let mut is_drawn: Vec<bool> = probabilities.iter().map(|&p| p >= 1.0).collect();
    for (at, &row) in rows.iter().enumerate() {
        let remaining = rows.len() - at;
        let conditional = if left == remaining { 1.0 } else { tables.conditional(at, left, weight, remaining) };
        if left > 0 && (left == remaining || numbers[row] < conditional) {
            is_drawn[row] = true;
            weight += 1.0 - free[at];
            left -= 1;
        }
    }
    Ok((0..probabilities.len()).filter(|&row| is_drawn[row]).collect())
}

/// The rows that are neither certain nor impossible, and how many of them are drawn. Errors: `NotWhole`, `Empty`.
pub(super) fn free_rows(probabilities: &[f64]) -> Result<(Vec<usize>, usize)> {
    let mut sum = Sum::new();
    let mut rows = Vec::new();
    for (row, &p) in probabilities.iter().enumerate() {
        if p > 0.0 && p < 1.0 {
            sum.add(p);
            rows.push(row);
        }
    }
    let total = sum.value();
    if (total - total.round()).abs() > 1e-6 {
        return Err(Error::NotWhole { sum: total, method: "sampford sampling" }.into());
    }
    if rows.is_empty() && !probabilities.contains(&1.0) {
        return Err(Error::Empty.into());
    }
    Ok((rows, total.round() as usize))
}

/// One row of the tables below: for m = 0, 1, … the probability that independent draws give m rows, and the expectation of
/// Σ(1 − π) over those drawn, counted only where they are m.
#[derive(Clone)]
pub(super) struct Counts {
    pub(super) chance: Vec<f64>,
    pub(super) weight: Vec<f64>,
}

impl Counts {
    /// Of no rows, for up to `sample` drawn.
    pub(super) fn new(sample: usize) -> Self {
        let mut chance = vec![0.0; sample + 1];
        chance[0] = 1.0;
        Counts { chance, weight: vec![0.0; sample + 1] }
    }

    /// With one row more.
    pub(super) fn with(&self, probability: f64) -> Self {
        let (yes, no) = (probability, 1.0 - probability);
        let mut next = self.clone();
        for m in 0..next.chance.len() {
            let (chance, weight) = if m == 0 { (0.0, 0.0) } else { (self.chance[m - 1], self.weight[m - 1]) };
            next.chance[m] = no * self.chance[m] + yes * chance;
            next.weight[m] = no * self.weight[m] + yes * (weight + no * chance);
        }
        next
    }
}

/// The counts over the rows from each row on.
struct Tails<'a> {
    probabilities: &'a [f64],
    counts: Vec<Counts>,
}

impl<'a> Tails<'a> {
    fn new(probabilities: &'a [f64], sample: usize) -> Self {
        let mut counts = vec![Counts::new(sample)];
        for &p in probabilities.iter().rev() {
            let next = counts[counts.len() - 1].with(p);
            counts.push(next);
        }
        counts.reverse();
        Tails { probabilities, counts }
    }

    /// The probability of row `at` given that `left` of the `remaining` rows from it on are still to be drawn and those
    /// drawn so far have Σ(1 − π) = `weight`. Where all samples left are too improbable for a float, `left`/`remaining`.
    fn conditional(&self, at: usize, left: usize, weight: f64, remaining: usize) -> f64 {
        if left == 0 {
            return 0.0;
        }
        let (p, here, after) = (self.probabilities[at], &self.counts[at], &self.counts[at + 1]);
        let all = weight * here.chance[left] + here.weight[left];
        let with = p * ((weight + 1.0 - p) * after.chance[left - 1] + after.weight[left - 1]);
        if all > 0.0 { with / all } else { left as f64 / remaining as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{joint_sampford, proportional_to_size};

    /// Every sample with its probability, from the definition.
    fn samples(probabilities: &[f64], sample: usize) -> Vec<(Vec<usize>, f64)> {
        let rows = probabilities.len();
        let all = (0u32..1 << rows).filter(|set| set.count_ones() as usize == sample);
        let mut samples: Vec<(Vec<usize>, f64)> = all
            .map(|set| {
                let drawn: Vec<usize> = (0..rows).filter(|row| set >> row & 1 == 1).collect();
                let odds: f64 = drawn.iter().map(|&k| probabilities[k] / (1.0 - probabilities[k])).product();
                let rest: f64 = drawn.iter().map(|&k| 1.0 - probabilities[k]).sum();
                (drawn, odds * rest)
            })
            .collect();
        let total: f64 = samples.iter().map(|sample| sample.1).sum();
        samples.iter_mut().for_each(|sample| sample.1 /= total);
        samples
    }

    #[test]
    fn conditional_probabilities_multiply_to_those_of_the_design() -> Result<()> {
        let probabilities = proportional_to_size(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3)?;
        let tables = Tails::new(&probabilities, 3);
        let (mut inclusion, mut joint) = (vec![0.0; 6], vec![0.0; 36]);
        for (drawn, wanted) in samples(&probabilities, 3) {
            let (mut found, mut left, mut weight) = (1.0, 3, 0.0);
            for (at, probability) in probabilities.iter().enumerate() {
                let p = tables.conditional(at, left, weight, 6 - at);
                if drawn.contains(&at) {
                    found *= p;
                    left -= 1;
                    weight += 1.0 - probability;
                } else {
                    found *= 1.0 - p;
                }
            }
            assert!((found - wanted).abs() < 1e-13, "{drawn:?} {found} {wanted}");
            for &k in &drawn {
                inclusion[k] += wanted;
                drawn.iter().for_each(|&l| joint[k * 6 + l] += wanted);
            }
        }
        let computed = joint_sampford(&probabilities)?;
        for k in 0..6 {
            assert!((inclusion[k] - probabilities[k]).abs() < 1e-13);
            for l in 0..6 {
                assert!((joint[k * 6 + l] - computed[k * 6 + l]).abs() < 1e-13, "{k} {l}");
            }
        }
        Ok(())
    }

    #[test]
    fn numbers_on_a_grid_give_the_probabilities() -> Result<()> {
        let probabilities = [0.5, 0.75, 0.75];
        let (steps, mut counts) = (40u32, [0u32; 3]);
        for cell in 0..steps * steps * steps {
            let at = |i: u32| (f64::from(cell / steps.pow(i) % steps) + 0.5) / f64::from(steps);
            for row in sampford(&[at(0), at(1), at(2)], &probabilities)? {
                counts[row] += 1;
            }
        }
        for (count, p) in counts.into_iter().zip(probabilities) {
            assert!((f64::from(count) / 64_000.0 - p).abs() < 0.02, "{count}");
        }
        Ok(())
    }

    #[test]
    fn the_size_is_fixed_even_against_all_odds() -> Result<()> {
        let probabilities = vec![0.5; 2400];
        let mut numbers = vec![1.0; 2400];
        assert_eq!(sampford(&numbers, &probabilities)?.len(), 1200);
        numbers.iter_mut().for_each(|u| *u = 1e-12);
        assert_eq!(sampford(&numbers, &probabilities)?.len(), 1200);
        Ok(())
    }

    #[test]
    fn certainties_are_drawn_and_bad_input_refused() -> Result<()> {
        assert_eq!(sampford(&[0.9, 0.9, 0.1, 0.9], &[0.0, 1.0, 0.5, 0.5])?, [1, 2]);
        assert_eq!(sampford(&[0.9], &[1.0])?, [0]);
        let refused = |numbers: &[f64], probabilities: &[f64]| sampford(numbers, probabilities).err();
        assert!(matches!(refused(&[0.5], &[0.5]), Some(crate::Error::Draw(Error::NotWhole { .. }))));
        assert_eq!(refused(&[0.5], &[0.0]), Some(Error::Empty.into()));
        let many = refused(&vec![0.5; 5000], &vec![0.5; 5000]);
        assert!(matches!(many, Some(crate::Error::Draw(Error::TooLarge { sample: 2500, rows: 5000, .. }))));
        Ok(())
    }
}
