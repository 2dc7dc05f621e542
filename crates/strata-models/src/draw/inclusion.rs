//! Inclusion probabilities of designs of fixed size. It never draws anybody.

use super::Error;
use crate::{Result, exact::Sum};

/// The probability of each row of a stratum under simple random sampling, n/N.
///
/// Errors: `Empty`, `TooMany`.
pub fn equal_probability(sample: u64, rows: u64) -> Result<f64> {
    check_sample(sample, rows)?;
    Ok(sample as f64 / rows as f64)
}

/// The probability of each row under sampling of `sample` rows proportional to size: n·x_i/Σx; rows where that is 1 or more
/// are certainties, and the rest of the sample is shared again by the others, until no more are added. One number a row,
/// in [0, 1]; Σ = `sample`.
///
/// Errors: `Size` for a size that is negative or not finite; `Empty`; `TooMany` if fewer rows have a size above 0.
///
/// Source: Särndal, Swensson & Wretman 1992, 3.6.
pub fn proportional_to_size(sizes: &[f64], sample: u64) -> Result<Vec<f64>> {
    if let Some(row) = sizes.iter().position(|size| !(*size >= 0.0 && size.is_finite())) {
        return Err(Error::Size { row, value: sizes[row] }.into());
    }
    check_sample(sample, sizes.iter().filter(|&&size| size > 0.0).count() as u64)?;
    let mut is_certain = vec![false; sizes.len()];
    let mut certain = 0u64;
    loop {
        let mut total = Sum::new();
        (0..sizes.len()).filter(|&row| !is_certain[row]).for_each(|row| total.add(sizes[row]));
        let (total, left) = (total.value(), (sample - certain) as f64);
        let before = certain;
        for row in 0..sizes.len() {
            if !is_certain[row] && left * sizes[row] >= total && sizes[row] > 0.0 {
                is_certain[row] = true;
                certain += 1;
            }
        }
        if certain == before {
            let probability = |row: usize| if is_certain[row] { 1.0 } else { (left * sizes[row] / total).max(0.0) };
            return Ok((0..sizes.len()).map(probability).collect());
        }
    }
}

pub(super) fn check_sample(sample: u64, rows: u64) -> Result<()> {
    if sample == 0 {
        return Err(Error::Empty.into());
    }
    if sample > rows {
        return Err(Error::TooMany { sample, rows }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn certainties_are_found_in_rounds() -> Result<()> {
        // 3·(50, 20, 10, 10, 10)/100: the first is certain; 2·20/50 = 0.8 is not.
        assert_eq!(proportional_to_size(&[50.0, 20.0, 10.0, 10.0, 10.0], 3)?, [1.0, 0.8, 0.4, 0.4, 0.4]);
        // 2·(70, 20, 5, 5): 70 is certain; then 1·20/30.
        assert_eq!(proportional_to_size(&[70.0, 20.0, 5.0, 5.0], 2)?, [1.0, 20.0 / 30.0, 5.0 / 30.0, 5.0 / 30.0]);
        // Every row with a size is wanted.
        assert_eq!(proportional_to_size(&[1.0, 0.0, 7.0], 2)?, [1.0, 0.0, 1.0]);
        assert_eq!(proportional_to_size(&[3.0; 4], 4)?, [1.0; 4]);
        assert_eq!(equal_probability(3, 12)?, 0.25);
        Ok(())
    }

    #[test]
    fn impossible_samples_are_refused() {
        let refused = |sizes: &[f64], sample| proportional_to_size(sizes, sample).err();
        assert_eq!(refused(&[1.0, -2.0], 1), Some(Error::Size { row: 1, value: -2.0 }.into()));
        assert_eq!(refused(&[1.0, 0.0], 2), Some(Error::TooMany { sample: 2, rows: 1 }.into()));
        assert_eq!(refused(&[1.0], 0), Some(Error::Empty.into()));
        assert!(refused(&[f64::NAN], 1).is_some());
        assert_eq!(equal_probability(3, 2).err(), Some(Error::TooMany { sample: 3, rows: 2 }.into()));
    }

    proptest! {
        #[test]
        fn probabilities_sum_to_the_sample(sizes in prop::collection::vec(0.01f64..1000.0, 1..60), part in 0.0f64..1.0) {
            let sample = ((sizes.len() as f64 * part) as u64).max(1);
            let found = proportional_to_size(&sizes, sample)?;
            let mut sum = Sum::new();
            found.iter().for_each(|&p| sum.add(p));
            prop_assert!((sum.value() - sample as f64).abs() < 1e-9);
            prop_assert!(found.iter().all(|p| (0.0..=1.0).contains(p)));
            // Below certainty, probability is proportional to size.
            let free: Vec<usize> = (0..sizes.len()).filter(|&row| found[row] < 1.0).collect();
            for pair in free.windows(2) {
                prop_assert!((found[pair[0]] / sizes[pair[0]] - found[pair[1]] / sizes[pair[1]]).abs() < 1e-12);
            }
        }
    }
}
