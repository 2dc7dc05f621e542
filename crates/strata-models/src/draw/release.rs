//! A draw cut into replicates and a reserve, and the probability that follows from what was released. It never draws.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::Result;

/// Where a drawn row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// In the sample, in this replicate, from 0.
    Main {
        /// The replicate.
        replicate: usize,
    },
    /// In the reserve, at this place, from 1.
    Reserve {
        /// The place.
        rank: usize,
    },
}

/// Cuts a draw in its order into `replicates` of equal size (the first ones one larger where it does not come out even) and a
/// reserve of the last `reserve` rows. One part a place of the draw. Every replicate is a valid sample if the order is that
/// of the permanent random numbers under equal probabilities, or of a second, independent random number under any design.
///
/// Errors: `TooMany` if the reserve is larger than the draw; `Replicates` if there are none or more than rows before the
/// reserve.
pub fn parts(drawn: usize, reserve: usize, replicates: usize) -> Result<Vec<Part>> {
    let Some(main) = drawn.checked_sub(reserve) else {
        return Err(Error::TooMany { sample: reserve as u64, rows: drawn as u64 }.into());
    };
    if replicates == 0 || replicates > main.max(1) {
        return Err(Error::Replicates { rows: main, replicates }.into());
    }
    let mut parts = Vec::with_capacity(drawn);
    for replicate in 0..replicates {
        let rows = main / replicates + usize::from(replicate < main % replicates);
        parts.extend(std::iter::repeat_n(Part::Main { replicate }, rows));
    }
    parts.extend((1..=reserve).map(|rank| Part::Reserve { rank }));
    Ok(parts)
}

/// The replicate of each drawn row, from 0, by a second random number that is independent of the draw: rows in the order of
/// it (ties to the earlier), cut as by [`parts`]. Use it where the draw is not of equal probability.
///
/// Errors: `Number`, `Empty`, `Replicates`.
pub fn replicates(second: &[f64], replicates: usize) -> Result<Vec<usize>> {
    let order = super::srs(second, second.len())?;
    let mut found = vec![0; second.len()];
    for (part, row) in parts(second.len(), 0, replicates)?.into_iter().zip(order) {
        if let Part::Main { replicate } = part {
            found[row] = replicate;
        }
    }
    Ok(found)
}

/// The inclusion probability of a row once `released` of the `drawn` rows of its stratum went out: π·released/drawn. The base
/// weight is its inverse.
///
/// Errors: `Probability`; `TooMany` if more were released than drawn; `Empty` if none was.
pub fn probability_released(probability: f64, released: u64, drawn: u64) -> Result<f64> {
    super::select::check_probabilities(&[probability])?;
    super::inclusion::check_sample(released, drawn)?;
    Ok(probability * (released as f64 / drawn as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_cut_in_its_order() -> Result<()> {
        let main = |replicate| Part::Main { replicate };
        let reserve = |rank| Part::Reserve { rank };
        assert_eq!(parts(7, 2, 2)?, [main(0), main(0), main(0), main(1), main(1), reserve(1), reserve(2)]);
        assert_eq!(parts(3, 0, 3)?, [main(0), main(1), main(2)]);
        assert_eq!(parts(2, 2, 1)?, [reserve(1), reserve(2)]);
        assert_eq!(parts(3, 1, 3).err(), Some(Error::Replicates { rows: 2, replicates: 3 }.into()));
        assert_eq!(parts(3, 1, 0).err(), Some(Error::Replicates { rows: 2, replicates: 0 }.into()));
        assert_eq!(parts(3, 4, 1).err(), Some(Error::TooMany { sample: 4, rows: 3 }.into()));
        Ok(())
    }

    #[test]
    fn a_second_number_cuts_any_draw() -> Result<()> {
        assert_eq!(replicates(&[0.9, 0.1, 0.5, 0.3, 0.7], 2)?, [1, 0, 0, 0, 1]);
        Ok(())
    }

    #[test]
    fn what_was_released_counts() -> Result<()> {
        assert_eq!(probability_released(0.5, 3, 4)?, 0.375);
        assert_eq!(probability_released(0.5, 5, 4).err(), Some(Error::TooMany { sample: 5, rows: 4 }.into()));
        assert_eq!(probability_released(0.5, 0, 4).err(), Some(Error::Empty.into()));
        Ok(())
    }
}
