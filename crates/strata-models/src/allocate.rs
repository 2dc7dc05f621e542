//! How many rows each stratum of a sample gets: [`allocate`] for proportional and equal shares, in integers only;
//! [`allot`] for every rule, bound, budget and precision. It never lets rounding error decide a tie.

mod allot;
mod error;
mod methods;
mod optimum;

use serde::{Deserialize, Serialize};

pub use allot::{Allotment, Design, Shortage, Size, allot, rows_for_precision};
pub use error::Error;
pub use methods::{Method, Stratum};
pub(crate) use optimum::optimum_and_scale;
pub use optimum::{Bounded, optimum};

use crate::{Error as Refused, Result};

/// What the sample is shared out by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shares {
    /// n·N_h/N.
    Proportional,
    /// n/H over the strata that have rows.
    Equal,
}

/// What happens to the rest once a stratum is moved to a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterBounds {
    /// The others make room: Σ n_h = n exactly, or a reported shortfall.
    Rebalance,
    /// The others stay: n_h = min(N_h, max(min(q_h, max), min)), whatever Σ n_h becomes.
    Keep,
}

/// What to allocate.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// n, the rows wanted.
    pub sample: u64,
    /// N_h, the eligible rows of each stratum; strata sorted by label, because ties go to the earlier.
    pub sizes: &'a [u64],
    /// The sharing rule.
    pub shares: Shares,
    /// At least so many rows of each stratum, or all it has; 0 for no minimum.
    pub min: u64,
    /// At most so many rows of each stratum.
    pub max: Option<u64>,
    /// What happens after bounds.
    pub after_bounds: AfterBounds,
}

/// The bound that decided a stratum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The minimum asked for.
    Min,
    /// The maximum asked for.
    Max,
    /// All the rows the stratum has.
    Size,
}

/// The rows of each stratum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// n_h, one a stratum, in the order of the sizes; n_h ≤ N_h.
    pub rows: Vec<u64>,
    /// Σ n_h.
    pub total: u64,
    /// Rows wanted but not to be had: max(0, n − Σ n_h).
    pub shortfall: u64,
    /// Rows above the number wanted: max(0, Σ n_h − n); only with [`AfterBounds::Keep`], or a rounding that does not keep the total.
    pub excess: u64,
    /// Strata (positions) whose share was outside a bound, and the bound they were moved to.
    pub bounded: Vec<(usize, Bound)>,
}

/// Shares `sample` out over the strata by largest remainder, within bounds.
///
/// With `Rebalance` the result is the integer rounding of n_h = clamp(λ·share_h) with λ such that Σ n_h = n: strata
/// beyond a bound are fixed there, the side that is further out first, and the rest is shared again. At most 2H rounds.
///
/// Errors: `Bounds` if min > max; `EmptySample` if n = 0, `Minima` if the minima need more than n (both only with
/// `Rebalance`: `Keep` answers those too); `TooManyRows` beyond 2^64 rows.
pub fn allocate(request: &Request<'_>) -> Result<Allocation> {
    allocate_rounded(request, Rounding::LargestRemainder)
}

/// How fractions of rows become rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// Down, and what is left over one each to the greatest remainders.
    LargestRemainder,
    /// To the nearest, halves up.
    Nearest,
    /// Down.
    Floor,
    /// Up.
    Ceiling,
    /// Up or down by one random number for all strata, in 0 to 1: stratum h has ⌊C_h + u⌋ − ⌊C_{h−1} + u⌋ rows, C_h the sum of
    /// the quotas up to it. Each has its quota on average, and their sum is exact.
    Random(f64),
}

/// The same, with another rounding of what strata get within their bounds; only `LargestRemainder` and `Random` keep the total.
///
/// Errors: as [`allocate`].
///
/// Source: Cox 1987 (unbiased rounding).
pub fn allocate_rounded(request: &Request<'_>, rounding: Rounding) -> Result<Allocation> {
    let &Request { sample, sizes, min, max, .. } = request;
    if let Some(max) = max.filter(|&max| max < min) {
        return Err(Refused::Bounds { min, max });
    }
    sizes.iter().try_fold(0u64, |sum, &size| sum.checked_add(size)).ok_or(Refused::TooManyRows)?;
    let shares: Vec<u64> = match request.shares {
        Shares::Proportional => sizes.to_vec(),
        Shares::Equal => sizes.iter().map(|&size| u64::from(size > 0)).collect(),
    };
    let lower: Vec<u64> = sizes.iter().map(|&size| size.min(min)).collect();
    let upper: Vec<u64> = sizes.iter().map(|&size| size.min(max.unwrap_or(size))).collect();
    let (rows, outside) = match request.after_bounds {
        AfterBounds::Keep => keep(&rounded(&shares, sample, rounding), &lower, &upper),
        AfterBounds::Rebalance => {
            let minima: u64 = lower.iter().sum();
            if sample == 0 {
                return Err(Refused::EmptySample);
            }
            if minima > sample {
                let strata = sizes.iter().filter(|&&size| size > 0).count();
                return Err(Refused::Minima { min, strata, minima, sample });
            }
            rebalance_rounded(sample.min(upper.iter().sum()), &shares, &lower, &upper, rounding)
        }
    };
    let total = rows.iter().fold(0u64, |sum, &rows| sum.saturating_add(rows));
    let bounded = (0..rows.len())
        .filter(|&h| outside[h])
        .map(|h| {
            let bound = match rows[h] {
                rows if rows == sizes[h] => Bound::Size,
                rows if Some(rows) == max => Bound::Max,
                _ => Bound::Min,
            };
            (h, bound)
        })
        .collect();
    Ok(Allocation { rows, total, shortfall: sample.saturating_sub(total), excess: total.saturating_sub(sample), bounded })
}

/// Shares `n` out by `weights` (any scale): ⌊n·w/Σw⌋ each, what is left over one each to the greatest remainders, ties to
/// the earlier. One count a weight, Σ = n. Weights are first counted in units of 2^−62 of the power of two above the
/// greatest, which is exact for weights within a factor of 512 of it.
///
/// Errors: `Share` if a weight is negative or not finite, or all are 0.
///
/// Source: Hare–Niemeyer.
pub fn largest_remainder(weights: &[f64], n: u64) -> Result<Vec<u64>> {
    if let Some(index) = weights.iter().position(|weight| !weight.is_finite() || *weight < 0.0) {
        return Err(Refused::Share { index, value: weights[index] });
    }
    let greatest = weights.iter().copied().fold(0.0, f64::max);
    if greatest == 0.0 {
        return Err(Refused::Share { index: 0, value: 0.0 });
    }
    // Two steps, because neither the power nor its inverse need be a float when the weights are near the ends.
    let exponent = power_of_two_above(greatest);
    let units = |weight: f64| {
        let halfway = weight * 2f64.powi(-exponent / 2);
        (halfway * 2f64.powi(-exponent - (-exponent / 2)) * 2f64.powi(62)).round() as u128
    };
    Ok(share_out_wide(&weights.iter().map(|&weight| units(weight)).collect::<Vec<_>>(), n))
}

/// The least e with `x` < 2^e.
fn power_of_two_above(x: f64) -> i32 {
    let exponent = ((x.to_bits() >> 52) & 0x7ff) as i32;
    if exponent == 0 { -1022 } else { exponent - 1022 }
}

/// Largest remainder over whole shares; all 0 if the shares are.
fn share_out(shares: &[u64], n: u64) -> Vec<u64> {
    share_out_wide(&shares.iter().map(|&share| u128::from(share)).collect::<Vec<_>>(), n)
}

/// Quotas of whole shares whose sum is below 2^64, rounded; all 0 if the shares are.
fn rounded(shares: &[u64], n: u64, rounding: Rounding) -> Vec<u64> {
    let total: u128 = shares.iter().map(|&share| u128::from(share)).sum();
    if total == 0 || rounding == Rounding::LargestRemainder {
        return share_out(shares, n);
    }
    let n = u128::from(n);
    let quota = |share: u64| (n * u128::from(share) / total, n * u128::from(share) % total);
    if let Rounding::Random(start) = rounding {
        // 53 bits of it: the product with a total below 2^64 fits.
        let start = (total * ((start.clamp(0.0, 1.0) * 2f64.powi(53)) as u128).min((1 << 53) - 1)) >> 53;
        let (mut shared, mut before) = (0, 0);
        let row = |share: &u64| {
            shared += u128::from(*share);
            let so_far = (n * shared + start) / total;
            (so_far - std::mem::replace(&mut before, so_far)) as u64
        };
        return shares.iter().map(row).collect();
    }
    let one = |share: &u64| {
        let (whole, rest) = quota(*share);
        let up = match rounding {
            Rounding::Nearest => rest >= total - rest,
            Rounding::Ceiling => rest > 0,
            _ => false,
        };
        whole as u64 + u64::from(up)
    };
    shares.iter().map(one).collect()
}

/// INVARIANT: shares are below 2^64, so `n · share` fits.
fn share_out_wide(shares: &[u128], n: u64) -> Vec<u64> {
    let total: u128 = shares.iter().sum();
    if total == 0 {
        return vec![0; shares.len()];
    }
    let n = u128::from(n);
    let mut rows: Vec<u64> = shares.iter().map(|share| (n * share / total) as u64).collect();
    let left_over = n as u64 - rows.iter().sum::<u64>();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    // A stable sort, so ties stay in the order of the strata. Fewer rows are left over than there are shares with a
    // remainder, so a whole quota is never raised, and bounds that held before rounding hold after it.
    order.sort_by_key(|&h| std::cmp::Reverse(n * shares[h] % total));
    for &h in order.iter().take(left_over as usize) {
        rows[h] += 1;
    }
    rows
}

/// Each quota moved into its bounds on its own; and which were outside.
fn keep(quotas: &[u64], lower: &[u64], upper: &[u64]) -> (Vec<u64>, Vec<bool>) {
    // A maximum below a stratum's size never is below its minimum: min ≤ max was checked.
    let rows: Vec<u64> = (0..quotas.len()).map(|h| quotas[h].clamp(lower[h], upper[h])).collect();
    let outside = rows.iter().zip(quotas).map(|(row, quota)| row != quota).collect();
    (rows, outside)
}

/// Σ lower ≤ `n` ≤ Σ upper. The rows, which sum to `n`, and which strata were fixed at a bound.
pub(crate) fn rebalance(n: u64, shares: &[u64], lower: &[u64], upper: &[u64]) -> (Vec<u64>, Vec<bool>) {
    rebalance_rounded(n, shares, lower, upper, Rounding::LargestRemainder)
}

/// The same with another rounding, which may change the sum. A quota between two whole bounds stays between them, however rounded.
fn rebalance_rounded(n: u64, shares: &[u64], lower: &[u64], upper: &[u64], rounding: Rounding) -> (Vec<u64>, Vec<bool>) {
    let mut rows = vec![0; shares.len()];
    let mut is_fixed = vec![false; shares.len()];
    loop {
        let left = u128::from(n - rows.iter().sum::<u64>());
        let free: Vec<usize> = (0..shares.len()).filter(|&h| !is_fixed[h]).collect();
        let share_total: u128 = free.iter().map(|&h| u128::from(shares[h])).sum();
        // How far, in units of 1/share_total of a row, each stratum's quota is below its minimum or above its maximum.
        let lack = |h: usize| (u128::from(lower[h]) * share_total).saturating_sub(left * u128::from(shares[h]));
        let surplus = |h: usize| (left * u128::from(shares[h])).saturating_sub(u128::from(upper[h]) * share_total);
        let lacking: u128 = free.iter().map(|&h| lack(h)).sum();
        let exceeding: u128 = free.iter().map(|&h| surplus(h)).sum();
        if lacking == 0 && exceeding == 0 {
            let quotas = rounded(&free.iter().map(|&h| shares[h]).collect::<Vec<_>>(), left as u64, rounding);
            for (&h, quota) in free.iter().zip(quotas) {
                rows[h] = quota;
            }
            return (rows, is_fixed);
        }
        for &h in &free {
            let bound = match (lack(h), surplus(h)) {
                (1.., _) if lacking >= exceeding => lower[h],
                (_, 1..) if exceeding >= lacking => upper[h],
                _ => continue,
            };
            rows[h] = bound;
            is_fixed[h] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use proptest::prelude::*;

    fn request(sample: u64, sizes: &[u64]) -> Request<'_> {
        Request { sample, sizes, shares: Shares::Proportional, min: 0, max: None, after_bounds: AfterBounds::Rebalance }
    }

    #[test]
    fn keep_is_the_rule_of_the_workload() -> Result<()> {
        let sizes = [3, 1000, 40, 40, 0];
        let kept = allocate(&Request { min: 5, after_bounds: AfterBounds::Keep, ..request(21, &sizes) })?;
        // 21·40/1083 = 0.776 twice, 21·3/1083 = 0.06, 21·1000/1083 = 19.39: the two left over go to the 40s.
        assert_eq!(kept.rows, [3, 19, 5, 5, 0]);
        assert_eq!((kept.total, kept.excess, kept.shortfall), (32, 11, 0));
        assert_eq!(kept.bounded, [(0, Bound::Size), (2, Bound::Min), (3, Bound::Min)]);
        let capped = allocate(&Request { max: Some(10), after_bounds: AfterBounds::Keep, ..request(21, &sizes) })?;
        assert_eq!((capped.rows, capped.shortfall), (vec![0, 10, 1, 1, 0], 9));
        let nobody = allocate(&Request { min: 2, after_bounds: AfterBounds::Keep, ..request(0, &sizes) })?;
        assert_eq!(nobody.rows, [2, 2, 2, 2, 0]);
        Ok(())
    }

    #[test]
    fn fractions_are_rounded_as_asked() -> Result<()> {
        // 10·(25, 15, 60)/100 = 2.5, 1.5, 6.
        let rows = |rounding| allocate_rounded(&request(10, &[25, 15, 60]), rounding);
        assert_eq!(rows(Rounding::LargestRemainder)?.rows, [3, 1, 6]);
        let nearest = rows(Rounding::Nearest)?;
        assert_eq!((nearest.rows, nearest.total, nearest.excess, nearest.shortfall), (vec![3, 2, 6], 11, 1, 0));
        let floor = rows(Rounding::Floor)?;
        assert_eq!((floor.rows, floor.excess, floor.shortfall), (vec![2, 1, 6], 0, 1));
        assert_eq!(rows(Rounding::Ceiling)?.rows, [3, 2, 6]);
        assert_eq!(rows(Rounding::Random(0.2))?.rows, [2, 2, 6]);
        assert_eq!(rows(Rounding::Random(0.7))?.rows, [3, 1, 6]);
        // Bounds come first: 9 of 10 are left for 15 and 60.
        let most = Request { max: Some(1), ..request(3, &[25, 15, 60]) };
        assert_eq!(allocate_rounded(&most, Rounding::Ceiling)?.rows, [1, 1, 1]);
        let least = Request { min: 1, ..request(10, &[1, 15, 60]) };
        assert_eq!(allocate_rounded(&least, Rounding::Floor)?.rows, [1, 1, 7]);
        Ok(())
    }

    #[test]
    fn rebalance_gives_exactly_n_or_says_what_is_missing() -> Result<()> {
        let sizes = [3, 1000, 40, 40, 0];
        let rows = allocate(&Request { min: 5, ..request(21, &sizes) })?.rows;
        assert_eq!(rows, [3, 8, 5, 5, 0]);
        let short = allocate(&Request { max: Some(10), ..request(50, &sizes) })?;
        assert_eq!((short.rows, short.total, short.shortfall), (vec![3, 10, 10, 10, 0], 33, 17));
        assert_eq!(short.bounded, [(1, Bound::Max), (2, Bound::Max), (3, Bound::Max)]);
        let all = allocate(&Request { shares: Shares::Equal, ..request(15, &[3, 4, 9]) })?;
        assert_eq!((all.rows, all.bounded), (vec![3, 4, 8], vec![(0, Bound::Size), (1, Bound::Size)]));
        assert_eq!(allocate(&request(5, &[]))?.shortfall, 5);
        Ok(())
    }

    #[test]
    fn ties_go_to_the_earlier_stratum() -> Result<()> {
        assert_eq!(allocate(&request(10, &[7, 7, 7]))?.rows, [4, 3, 3]);
        assert_eq!(allocate(&request(2, &[5, 9, 9, 5]))?.rows, [0, 1, 1, 0]);
        assert_eq!(largest_remainder(&[0.3, 0.3, 0.3], 2)?, [1, 1, 0]);
        assert_eq!(largest_remainder(&[1e-320, 2e-320, 0.0], 3)?, [1, 2, 0]);
        assert_eq!(largest_remainder(&[f64::MAX, f64::MAX], 3)?, [2, 1]);
        assert_eq!(largest_remainder(&[1.0], u64::MAX)?, [u64::MAX]);
        Ok(())
    }

    #[test]
    fn impossible_requests_name_the_numbers() {
        let minima = allocate(&Request { min: 5, ..request(12, &[3, 10, 10, 0]) });
        assert_eq!(minima.err(), Some(Error::Minima { min: 5, strata: 3, minima: 13, sample: 12 }));
        let bounds = allocate(&Request { min: 5, max: Some(4), ..request(12, &[3]) });
        assert_eq!(bounds.err(), Some(Error::Bounds { min: 5, max: 4 }));
        assert_eq!(allocate(&request(0, &[3])).err(), Some(Error::EmptySample));
        assert_eq!(allocate(&request(1, &[u64::MAX, 1])).err(), Some(Error::TooManyRows));
        assert!(matches!(largest_remainder(&[1.0, -1.0], 1), Err(Error::Share { index: 1, .. })));
        assert!(matches!(largest_remainder(&[0.0], 1), Err(Error::Share { .. })));
    }

    proptest! {
        /// Every rounding gives each stratum one of the two whole numbers beside its quota; by chance the sum is kept, and each has its
        /// quota on average over all starts.
        #[test]
        fn roundings_stay_beside_the_quotas(sizes in prop::collection::vec(0u64..50, 1..8), n in 1u64..60) {
            let total: u64 = sizes.iter().sum();
            prop_assume!(n <= total);
            let quota = |h: usize| n as f64 * sizes[h] as f64 / total as f64;
            let mut sums = vec![0u64; sizes.len()];
            let starts = 8 * total;
            for start in 0..starts {
                let u = (start as f64 + 0.5) / starts as f64;
                let found = rounded(&sizes, n, Rounding::Random(u));
                prop_assert_eq!(found.iter().sum::<u64>(), n);
                for (h, rows) in found.iter().enumerate() {
                    prop_assert!((*rows as f64 - quota(h)).abs() < 1.0);
                    sums[h] += rows;
                }
            }
            for (h, sum) in sums.iter().enumerate() {
                prop_assert!((*sum as f64 / starts as f64 - quota(h)).abs() < 1e-9, "{sizes:?} {n} {h}");
            }
        }

        /// Within bounds, exact, and no row could move from a stratum to one with a smaller share of it.
        #[test]
        fn rebalanced_is_the_bounded_optimum(
            sizes in prop::collection::vec(0u64..2000, 1..30), per_mille in 1u64..1200, min in 0u64..8, room in 0u64..200,
        ) {
            let all: u64 = sizes.iter().sum();
            let sample = (all * per_mille / 1000).max(1);
            let max = min + room;
            let asked = Request { min, max: Some(max), ..request(sample, &sizes) };
            let lower: u64 = sizes.iter().map(|&size| size.min(min)).sum();
            let upper: u64 = sizes.iter().map(|&size| size.min(max)).sum();
            match allocate(&asked) {
                Err(error) => {
                    prop_assert!(lower > sample);
                    let named = matches!(error, Error::Minima { .. });
                    prop_assert!(named);
                }
                Ok(given) => {
                    prop_assert_eq!(given.total, sample.min(upper));
                    prop_assert_eq!(given.shortfall, sample - given.total);
                    for (&rows, &size) in given.rows.iter().zip(&sizes) {
                        prop_assert!(size.min(min) <= rows && rows <= size.min(max));
                    }
                    for (a, &from) in sizes.iter().enumerate() {
                        for (b, &to) in sizes.iter().enumerate() {
                            let (na, nb) = (given.rows[a], given.rows[b]);
                            if na > from.min(min) && nb < to.min(max) {
                                // Before rounding both have the rate λ, up to their bounds, so a's rate cannot be above
                                // b's by more than the rounding of both: (na − 1)/Na < (nb + 1)/Nb.
                                prop_assert!((na - 1) * to < (nb + 1) * from, "{:?} of {:?}", given.rows, sizes);
                            }
                        }
                    }
                }
            }
        }
    }
}
