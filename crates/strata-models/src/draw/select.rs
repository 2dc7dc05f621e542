//! Selection from permanent random numbers: simple, systematic, Poisson and the two order-sampling designs. It never looks
//! at the position of a row but to break a tie.

use serde::{Deserialize, Serialize};

use super::{Error, inclusion};
use crate::{Result, exact::Sum};

/// How order sampling ranks rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ranking {
    /// u/π. Source: Ohlsson 1998.
    SequentialPoisson,
    /// u(1 − π)/((1 − u)π): inclusion probabilities closer to π. Source: Rosén 1997.
    Pareto,
}

/// The rank of a row: those with the least are drawn. 0 for a certainty (π ≥ 1), infinite for π ≤ 0. A function of the
/// row's own numbers, so that it can be computed wherever the row is.
pub fn rank(ranking: Ranking, number: f64, probability: f64) -> f64 {
    if probability >= 1.0 {
        return 0.0;
    }
    if probability <= 0.0 {
        return f64::INFINITY;
    }
    match ranking {
        Ranking::SequentialPoisson => number / probability,
        Ranking::Pareto => number * (1.0 - probability) / ((1.0 - number) * probability),
    }
}

/// The `sample` rows with the least numbers, in that order: a simple random sample, every beginning of which is one too.
/// O(N + n log n).
///
/// Errors: `Number`, `Empty`, `TooMany`.
pub fn srs(numbers: &[f64], sample: usize) -> Result<Vec<usize>> {
    check_numbers(numbers)?;
    inclusion::check_sample(sample as u64, numbers.len() as u64)?;
    Ok(least(sample, numbers.len(), |row| (numbers[row], numbers[row])))
}

/// The `sample` rows with the least ranks, in that order; certainties first. Rows of equal rank are in the order of their
/// numbers. O(N + n log n).
///
/// Errors: `Number`, `Probability`, `Shape`, `Empty`; `TooMany` if fewer rows have π > 0.
pub fn order_sample(ranking: Ranking, numbers: &[f64], probabilities: &[f64], sample: usize) -> Result<Vec<usize>> {
    check(numbers, probabilities)?;
    let rows = probabilities.iter().filter(|&&p| p > 0.0).count();
    inclusion::check_sample(sample as u64, rows as u64)?;
    Ok(least(sample, numbers.len(), |row| (rank(ranking, numbers[row], probabilities[row]), numbers[row])))
}

/// The rows with number < π, in the order of the rows; their number varies ([`poisson_size`]).
///
/// Errors: `Number`, `Probability`, `Shape`.
pub fn poisson(numbers: &[f64], probabilities: &[f64]) -> Result<Vec<usize>> {
    check(numbers, probabilities)?;
    Ok((0..numbers.len()).filter(|&row| numbers[row] < probabilities[row]).collect())
}

/// How many rows a Poisson draw gives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PoissonSize {
    /// Σπ.
    pub expected: f64,
    /// √Σπ(1 − π).
    pub standard_deviation: f64,
}

/// The expected size of a Poisson draw and its standard deviation, in rows.
///
/// Errors: `Probability`.
pub fn poisson_size(probabilities: &[f64]) -> Result<PoissonSize> {
    check_probabilities(probabilities)?;
    let (mut expected, mut variance) = (Sum::new(), Sum::new());
    for &p in probabilities {
        expected.add(p);
        variance.add_product(p, 1.0 - p);
    }
    Ok(PoissonSize { expected: expected.value(), standard_deviation: variance.value().sqrt() })
}

/// A systematic sample along the order of the rows: row k is drawn if one of the points start, start + 1, … lies in
/// (V_{k−1}, V_k], V_k = π_1 + … + π_k over the rows below certainty; certainties are always drawn. `start` is one number
/// in (0, 1), usually the permanent random number of the stratum. Positions in the order of the rows. Sort the rows before
/// (by region, by spend) to spread the sample.
///
/// Errors: `Number` (row 0 stands for the start), `Probability`; `NotWhole` if Σπ is not whole to 1e-6.
///
/// Source: Madow 1949.
pub fn systematic(probabilities: &[f64], start: f64) -> Result<Vec<usize>> {
    check_numbers(&[start])?;
    check_probabilities(probabilities)?;
    let ends = cumulative(probabilities)?;
    let mut before = (0.0 - start).floor();
    let mut drawn = Vec::new();
    for (row, &probability) in probabilities.iter().enumerate() {
        if probability >= 1.0 {
            drawn.push(row);
            continue;
        }
        let after = (ends[row] - start).floor();
        if after > before {
            drawn.push(row);
        }
        before = after;
    }
    Ok(drawn)
}

/// V_k of each row, each an exact sum rounded once; certainties add nothing. The last is a whole number.
pub(super) fn cumulative(probabilities: &[f64]) -> Result<Vec<f64>> {
    let mut sum = Sum::new();
    let mut ends: Vec<f64> = probabilities
        .iter()
        .map(|&p| {
            sum.add(if p < 1.0 { p } else { 0.0 });
            sum.value()
        })
        .collect();
    let (total, whole) = (sum.value(), sum.value().round());
    if (total - whole).abs() > 1e-6 {
        return Err(Error::NotWhole { sum: total, method: "systematic sampling" }.into());
    }
    // Rounding of the probabilities must not cost the last row that has one.
    for (end, &p) in ends.iter_mut().zip(probabilities).rev() {
        *end = whole;
        if p > 0.0 && p < 1.0 {
            break;
        }
    }
    Ok(ends)
}

/// The `sample` rows with the least keys; ties to the earlier row.
fn least(sample: usize, rows: usize, key: impl Fn(usize) -> (f64, f64)) -> Vec<usize> {
    let compare = |&a: &usize, &b: &usize| {
        let ((a0, a1), (b0, b1)) = (key(a), key(b));
        a0.total_cmp(&b0).then(a1.total_cmp(&b1)).then(a.cmp(&b))
    };
    let mut order: Vec<usize> = (0..rows).collect();
    if sample < rows {
        order.select_nth_unstable_by(sample, compare);
        order.truncate(sample);
    }
    order.sort_unstable_by(compare);
    order
}

pub(super) fn check(numbers: &[f64], probabilities: &[f64]) -> Result<()> {
    if numbers.len() != probabilities.len() {
        let (found, wanted) = (probabilities.len(), numbers.len());
        return Err(crate::Error::Shape { what: "inclusion probabilities", found, wanted });
    }
    check_numbers(numbers)?;
    check_probabilities(probabilities)
}

fn check_numbers(numbers: &[f64]) -> Result<()> {
    // A number just below 1 may have been rounded to it.
    match numbers.iter().position(|u| !(*u > 0.0 && *u <= 1.0)) {
        Some(row) => Err(Error::Number { row, value: numbers[row] }.into()),
        None => Ok(()),
    }
}

pub(super) fn check_probabilities(probabilities: &[f64]) -> Result<()> {
    match probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        Some(row) => Err(Error::Probability { row, value: probabilities[row] }.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_least_numbers_are_drawn_and_ties_go_to_the_earlier() -> Result<()> {
        assert_eq!(srs(&[0.9, 0.2, 0.5, 0.2, 0.1], 3)?, [4, 1, 3]);
        assert_eq!(srs(&[0.5, 0.5, 0.5], 2)?, [0, 1]);
        assert_eq!(srs(&[0.5], 1)?, [0]);
        Ok(())
    }

    #[test]
    fn order_sampling_ranks_by_number_and_probability() -> Result<()> {
        let (numbers, probabilities) = ([0.5, 0.2, 0.9, 0.3], [0.5, 0.1, 1.0, 0.4]);
        // u/π: 1, 2, certain, 0.75.
        assert_eq!(order_sample(Ranking::SequentialPoisson, &numbers, &probabilities, 2)?, [2, 3]);
        assert_eq!(order_sample(Ranking::SequentialPoisson, &numbers, &probabilities, 3)?, [2, 3, 0]);
        // Pareto: 1, 0.25/0.111 = 2.25, 0, 0.4286/0.6667 = 0.643.
        assert!((rank(Ranking::Pareto, 0.2, 0.1) - 2.25).abs() < 1e-12);
        assert!((rank(Ranking::Pareto, 0.3, 0.4) - 9.0 / 14.0).abs() < 1e-12);
        assert_eq!(order_sample(Ranking::Pareto, &numbers, &probabilities, 4)?, [2, 3, 0, 1]);
        let none = order_sample(Ranking::Pareto, &numbers, &[0.0, 0.5, 0.5, 0.0], 3);
        assert_eq!(none.err(), Some(Error::TooMany { sample: 3, rows: 2 }.into()));
        Ok(())
    }

    #[test]
    fn poisson_takes_what_is_below_its_probability() -> Result<()> {
        assert_eq!(poisson(&[0.5, 0.2, 0.99], &[0.5, 0.3, 1.0])?, [1, 2]);
        let size = poisson_size(&[0.5, 0.5, 1.0])?;
        assert_eq!((size.expected, size.standard_deviation), (2.0, 0.5f64.sqrt()));
        Ok(())
    }

    #[test]
    fn systematic_points_fall_into_the_prefix_sums() -> Result<()> {
        // V: 0.4, 0.8, (certain), 1.2, 1.6, 2.0; points 0.7 and 1.7.
        let probabilities = [0.4, 0.4, 1.0, 0.4, 0.4, 0.4];
        assert_eq!(systematic(&probabilities, 0.7)?, [1, 2, 5]);
        // A point on a prefix sum belongs to the row that ends there.
        assert_eq!(systematic(&[0.5, 0.5], 0.5)?, [0]);
        // Ten times 0.1 sums to 1 though rounded sums do not.
        assert_eq!(systematic(&[0.1; 10], 1.0 - f64::EPSILON / 2.0)?, [9]);
        assert!(matches!(systematic(&[0.5, 0.4], 0.5), Err(crate::Error::Draw(Error::NotWhole { .. }))));
        Ok(())
    }

    #[test]
    fn numbers_and_probabilities_are_checked() {
        assert_eq!(srs(&[0.5, 0.0], 1).err(), Some(Error::Number { row: 1, value: 0.0 }.into()));
        assert_eq!(poisson(&[0.5], &[1.5]).err(), Some(Error::Probability { row: 0, value: 1.5 }.into()));
        assert!(matches!(poisson(&[0.5], &[]), Err(crate::Error::Shape { .. })));
        assert_eq!(srs(&[0.5], 2).err(), Some(Error::TooMany { sample: 2, rows: 1 }.into()));
    }

    proptest! {
        /// Taking one row away changes a simple draw by that row and the one that moves up, and nobody else.
        #[test]
        fn a_person_who_leaves_changes_only_the_edge(
            numbers in prop::collection::vec(1u32..1_000_000, 3..80), leaver in any::<prop::sample::Index>(),
            part in 0.05f64..0.9,
        ) {
            let numbers: Vec<f64> = numbers.iter().map(|&u| f64::from(u) / 1e6).collect();
            let sample = ((numbers.len() as f64 * part) as usize).clamp(1, numbers.len() - 1);
            let leaver = leaver.index(numbers.len());
            let before = srs(&numbers, sample)?;
            let rest: Vec<f64> = (0..numbers.len()).filter(|&row| row != leaver).map(|row| numbers[row]).collect();
            let after: Vec<usize> = srs(&rest, sample)?.iter().map(|&row| row + usize::from(row >= leaver)).collect();
            let gone = before.iter().filter(|row| !after.contains(row)).count();
            prop_assert_eq!(gone, usize::from(before.contains(&leaver)));
        }

        /// Systematic draws have the right size and every certainty, wherever they start.
        #[test]
        fn systematic_draws_are_of_fixed_size(
            sizes in prop::collection::vec(0.01f64..50.0, 2..60), part in 0.05f64..0.95, start in 1e-9f64..1.0,
        ) {
            let sample = ((sizes.len() as f64 * part) as u64).max(1);
            let probabilities = inclusion::proportional_to_size(&sizes, sample)?;
            let drawn = systematic(&probabilities, start)?;
            prop_assert_eq!(drawn.len() as u64, sample);
            prop_assert!((0..sizes.len()).all(|row| probabilities[row] < 1.0 || drawn.contains(&row)));
        }
    }
}
