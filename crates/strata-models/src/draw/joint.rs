//! Joint inclusion probabilities, which variances need. It never draws anybody.

use super::sampford::{Counts, free_rows};
use super::{Error, select};
use crate::Result;

/// Rows² times sample, at most.
const STEPS_MAX: usize = 1 << 28;

/// The probability that two given rows are both in a simple random sample: n(n − 1)/(N(N − 1)).
///
/// Errors: `Empty`, `TooMany`.
pub fn joint_srs(sample: u64, rows: u64) -> Result<f64> {
    super::inclusion::check_sample(sample, rows)?;
    if rows == 1 {
        return Ok(1.0);
    }
    let (n, all) = (sample as f64, rows as f64);
    Ok(n / all * ((n - 1.0) / (all - 1.0)))
}

/// The probabilities that two rows are both drawn systematically along the order given: row-major, N×N, π on the diagonal;
/// many are 0. O(N²).
///
/// Errors: `Probability`; `NotWhole` if Σπ is not whole to 1e-6.
pub fn joint_systematic(probabilities: &[f64]) -> Result<Vec<f64>> {
    select::check_probabilities(probabilities)?;
    let ends = select::cumulative(probabilities)?;
    // A row is drawn when the start lies on its arc of the circle.
    let start = |row: usize| if row == 0 { 0.0 } else { ends[row - 1].rem_euclid(1.0) };
    Ok(pairs(probabilities, |k, l| {
        let apart = (start(l) - start(k)).rem_euclid(1.0);
        let overlap = |from: f64| ((from + probabilities[l]).min(probabilities[k]) - from.max(0.0)).max(0.0);
        overlap(apart) + overlap(apart - 1.0)
    }))
}

/// The probabilities that two rows are both in a Sampford sample: row-major, N×N, π on the diagonal. O(N²·n), for N²·n ≤ 2^28.
///
/// Errors: `Probability`; `NotWhole` if Σπ is not whole to 1e-6; `Empty`; `TooLarge`.
///
/// Source: Sampford 1967.
pub fn joint_sampford(probabilities: &[f64]) -> Result<Vec<f64>> {
    select::check_probabilities(probabilities)?;
    let (rows, sample) = free_rows(probabilities)?;
    let cells = rows.len().saturating_mul(rows.len()).saturating_mul(sample);
    if cells > STEPS_MAX {
        let method = "a joint probability of sampford sampling";
        return Err(Error::TooLarge { method, sample, rows: rows.len(), cells, cells_max: STEPS_MAX }.into());
    }
    let count = rows.len();
    let mut free = vec![0.0; count * count];
    if let Some(others) = sample.checked_sub(2) {
        let p: Vec<f64> = rows.iter().map(|&row| probabilities[row]).collect();
        let all = p.iter().fold(Counts::new(sample), |counts, &p| counts.with(p)).weight[sample];
        for k in 0..count {
            let rest: Vec<usize> = (0..count).filter(|&l| l != k).collect();
            let mut tails = vec![Counts::new(others)];
            for &l in rest.iter().rev() {
                let next = tails[tails.len() - 1].with(p[l]);
                tails.push(next);
            }
            let mut heads = Counts::new(others);
            for (at, &l) in rest.iter().enumerate() {
                let tail = &tails[rest.len() - at - 1];
                let (mut chance, mut weight) = (0.0, 0.0);
                for m in 0..=others {
                    chance += heads.chance[m] * tail.chance[others - m];
                    weight += heads.weight[m] * tail.chance[others - m] + heads.chance[m] * tail.weight[others - m];
                }
                free[k * count + l] = p[k] * p[l] * ((2.0 - p[k] - p[l]) * chance + weight) / all;
                heads = heads.with(p[l]);
            }
        }
    }
    let mut place = vec![usize::MAX; probabilities.len()];
    rows.iter().enumerate().for_each(|(at, &row)| place[row] = at);
    Ok(pairs(probabilities, |k, l| free[place[k] * count + place[l]]))
}

/// The matrix of pairs: `joint` is asked for two different rows that are neither certain nor impossible.
fn pairs(probabilities: &[f64], joint: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let rows = probabilities.len();
    let is_free = |row: usize| probabilities[row] > 0.0 && probabilities[row] < 1.0;
    let mut found = Vec::with_capacity(rows * rows);
    for k in 0..rows {
        for l in 0..rows {
            found.push(match (k == l, is_free(k) && is_free(l)) {
                (true, _) => probabilities[k],
                (false, true) => joint(k, l),
                (false, false) => probabilities[k] * probabilities[l],
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{proportional_to_size, systematic};

    #[test]
    fn simple_pairs() -> Result<()> {
        // 3·2/(5·4).
        assert!((joint_srs(3, 5)? - 0.3).abs() < 1e-15);
        assert_eq!((joint_srs(1, 1)?, joint_srs(1, 5)?), (1.0, 0.0));
        Ok(())
    }

    #[test]
    fn systematic_pairs_are_those_of_all_starts() -> Result<()> {
        let probabilities = proportional_to_size(&[3.0, 1.0, 4.0, 1.0, 5.0, 90.0, 2.0, 6.0], 4)?;
        let rows = probabilities.len();
        let (steps, mut counts) = (20_000, vec![0u32; rows * rows]);
        for step in 0..steps {
            let drawn = systematic(&probabilities, (f64::from(step) + 0.5) / f64::from(steps))?;
            for &k in &drawn {
                drawn.iter().for_each(|&l| counts[k * rows + l] += 1);
            }
        }
        for (count, joint) in counts.into_iter().zip(joint_systematic(&probabilities)?) {
            assert!((f64::from(count) / f64::from(steps) - joint).abs() < 2e-4, "{count} {joint}");
        }
        Ok(())
    }

    #[test]
    fn the_pairs_of_a_row_sum_to_n_minus_one_times_its_probability() -> Result<()> {
        let sizes: Vec<f64> = (1..40).map(|i| f64::from(i * i % 23 + 1)).collect();
        let probabilities = proportional_to_size(&sizes, 9)?;
        let joint = joint_sampford(&probabilities)?;
        for k in 0..sizes.len() {
            let sum: f64 = (0..sizes.len()).filter(|&l| l != k).map(|l| joint[k * sizes.len() + l]).sum();
            assert!((sum - 8.0 * probabilities[k]).abs() < 1e-12, "{k} {sum}");
        }
        // One row: no pairs.
        assert_eq!(joint_sampford(&[0.5, 0.5])?, [0.5, 0.0, 0.0, 0.5]);
        assert!(joint_sampford(&vec![0.5; 2000]).is_err());
        Ok(())
    }
}
