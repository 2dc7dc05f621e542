//! Trimming: weights beyond a limit are cut, and a named rule says who gets what was cut off. It never cuts a weight that lies
//! within the limits but where the rule says so.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::{Result, exact::Sum};

/// Where weights are cut, in the unit the variant names.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// At this weight.
    Weight(f64),
    /// At so many times the median weight (the mean of the two middle ones where the rows are even).
    Median(f64),
    /// At so many times the mean weight.
    Mean(f64),
    /// At the least weight that at least this part of the rows does not exceed.
    Quantile(f64),
}

/// Who gets what was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Excess {
    /// Weights within the limits, the same amount each: w′ = clamp(w + s).
    Equally,
    /// Weights within the limits, in proportion: first w′ = min(s·w, cap), then w″ = max(s′·w′, floor).
    Proportionally,
    /// All weights, cut or not, in proportion: they may end beyond the limits again.
    Everybody,
    /// Nobody: the sum changes.
    Nobody,
}

/// Trimmed weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trimmed {
    /// The weight of a row of each group, in their order.
    pub weights: Vec<f64>,
    /// Where weights were cut from below and above.
    pub limits: (Option<f64>, Option<f64>),
    /// Rows whose weight was beyond the lower and the upper limit before.
    pub cut_rows: (u64, u64),
    /// What was cut off above, in weight.
    pub cut_off: f64,
    /// The sum of the weights after.
    pub sum: f64,
}

/// Trims weights, given as (weight, rows) of rows with equal weights. The sum is kept but for [`Excess::Nobody`]. The shares
/// are the exact solution, where iterating would come in the end. One weight a group, whatever their order. O(G log G).
///
/// Errors: `NoRows`; `Value` for a weight that is not finite and above 0; [`Error`]: a limit that is none, floor above cap,
/// limits the sum does not fit between.
///
/// Source: Potter 1990; Valliant, Dever & Kreuter 2018, 14.4.
pub fn trim(groups: &[(f64, u64)], floor: Option<Cut>, cap: Option<Cut>, excess: Excess) -> Result<Trimmed> {
    let mut sum = Sum::new();
    let mut rows = 0u64;
    for (index, &(weight, count)) in groups.iter().enumerate() {
        if !(weight > 0.0 && weight.is_finite()) {
            let wanted = "weights must be finite and above 0";
            return Err(crate::Error::Value { what: "weight", index, value: weight, wanted });
        }
        sum.add_product(weight, count as f64);
        rows = rows.checked_add(count).ok_or(crate::Error::TooManyRows)?;
    }
    if rows == 0 {
        return Err(crate::Error::NoRows);
    }
    let total = sum.value();
    let low = floor.map(|cut| limit("floor", cut, groups, total, rows)).transpose()?;
    let high = cap.map(|cut| limit("cap", cut, groups, total, rows)).transpose()?;
    if let (Some(low), Some(high)) = (low, high)
        && low > high
    {
        return Err(Error::Limit { what: "floor", value: low, wanted: "it must not be above the cap" }.into());
    }
    let (least, most) = (low.unwrap_or(0.0), high.unwrap_or(f64::INFINITY));
    let clip = |weight: f64| weight.clamp(least, most);
    let weights: Vec<f64> = match excess {
        Excess::Nobody => groups.iter().map(|group| clip(group.0)).collect(),
        Excess::Everybody => {
            let scale = total / sum_of(groups, clip).value();
            groups.iter().map(|group| clip(group.0) * scale).collect()
        }
        Excess::Equally | Excess::Proportionally => {
            check_room(low, high, rows, total)?;
            if excess == Excess::Equally {
                equally(groups, total, least, most)
            } else {
                in_proportion(groups, total, least, most)
            }
        }
    };
    let mut cut_off = Sum::new();
    let (mut below, mut above) = (0, 0);
    for &(weight, count) in groups {
        below += if weight < least { count } else { 0 };
        above += if weight > most { count } else { 0 };
        cut_off.add((weight - most).max(0.0) * count as f64);
    }
    let mut kept = Sum::new();
    weights.iter().zip(groups).for_each(|(&weight, group)| kept.add_product(weight, group.1 as f64));
    Ok(Trimmed { weights, limits: (low, high), cut_rows: (below, above), cut_off: cut_off.value(), sum: kept.value() })
}

/// Where a cut falls, in weight.
fn limit(what: &'static str, cut: Cut, groups: &[(f64, u64)], total: f64, rows: u64) -> Result<f64> {
    let (Cut::Weight(value) | Cut::Median(value) | Cut::Mean(value) | Cut::Quantile(value)) = cut;
    if !(value > 0.0 && value.is_finite()) {
        return Err(Error::Limit { what, value, wanted: "it must be finite and above 0" }.into());
    }
    Ok(match cut {
        Cut::Weight(weight) => weight,
        Cut::Median(times) => times * (ranked(groups, rows.div_ceil(2)) / 2.0 + ranked(groups, rows / 2 + 1) / 2.0),
        Cut::Mean(times) => times * (total / rows as f64),
        Cut::Quantile(part) if part <= 1.0 => ranked(groups, ((part * rows as f64).ceil() as u64).max(1)),
        Cut::Quantile(value) => return Err(Error::Limit { what, value, wanted: "a quantile must be at most 1" }.into()),
    })
}

/// The weight of the row of this rank, from 1, in ascending order.
fn ranked(groups: &[(f64, u64)], rank: u64) -> f64 {
    let mut sorted: Vec<(f64, u64)> = groups.to_vec();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut passed = 0;
    sorted
        .iter()
        .find(|group| {
            passed += group.1;
            passed >= rank
        })
        .map_or(f64::NAN, |group| group.0)
}

fn check_room(low: Option<f64>, high: Option<f64>, rows: u64, sum: f64) -> Result<()> {
    let count = rows as f64;
    if let Some(cap) = high.filter(|cap| cap * count < sum * (1.0 - 1e-12)) {
        return Err(Error::Cap { cap, rows, most: cap * count, sum }.into());
    }
    if let Some(floor) = low.filter(|floor| floor * count > sum * (1.0 + 1e-12)) {
        return Err(Error::Floor { floor, rows, least: floor * count, sum }.into());
    }
    Ok(())
}

fn sum_of(groups: &[(f64, u64)], weight: impl Fn(f64) -> f64) -> Sum {
    let mut sum = Sum::new();
    groups.iter().for_each(|group| sum.add_product(weight(group.0), group.1 as f64));
    sum
}

/// clamp(w + s) with the s that keeps the total. Between two neighbouring values of s at which a weight meets a limit, those
/// inside the limits stay the same, and s follows from them.
fn equally(groups: &[(f64, u64)], total: f64, low: f64, high: f64) -> Vec<f64> {
    let knots = groups.iter().flat_map(|group| [low - group.0, high - group.0]).filter(|knot| knot.is_finite());
    let from = knot_below(knots.collect(), |s| sum_of(groups, |weight| (weight + s).clamp(low, high)).value() <= total);
    let from = from.unwrap_or(f64::NEG_INFINITY);
    let is_low = |weight: f64| from < low - weight;
    let is_high = |weight: f64| from >= high - weight;
    let (mut rest, mut count) = (Sum::new(), 0u64);
    rest.add(total);
    for &(weight, rows) in groups {
        let kept = if is_low(weight) {
            low
        } else if is_high(weight) {
            high
        } else {
            count += rows;
            weight
        };
        rest.add_product(-kept, rows as f64);
    }
    let shift = if count > 0 { rest.value() / count as f64 } else { 0.0 };
    let shifted = |weight: f64| match (is_low(weight), is_high(weight)) {
        (true, _) => low,
        (_, true) => high,
        _ => (weight + shift).clamp(low, high),
    };
    groups.iter().map(|group| shifted(group.0)).collect()
}

/// min(s·w, cap) with the s that keeps the total, then max(s′·w′, floor) likewise.
fn in_proportion(groups: &[(f64, u64)], total: f64, low: f64, high: f64) -> Vec<f64> {
    let capped = scaled(groups, total, high, f64::min, |knot, from| from < knot);
    let again: Vec<(f64, u64)> = capped.iter().zip(groups).map(|(&weight, group)| (weight, group.1)).collect();
    scaled(&again, total, low, f64::max, |knot, from| from >= knot)
}

/// cut(s·w, limit) with the s that keeps the total; `is_free` says whether a weight that meets the limit at s = `knot` is not
/// cut for s just above `from`.
fn scaled(
    groups: &[(f64, u64)],
    total: f64,
    limit: f64,
    cut: impl Fn(f64, f64) -> f64,
    is_free: impl Fn(f64, f64) -> bool,
) -> Vec<f64> {
    if !(limit > 0.0 && limit.is_finite()) {
        return groups.iter().map(|group| group.0).collect();
    }
    let knots = groups.iter().map(|group| limit / group.0).collect();
    let from = knot_below(knots, |s| sum_of(groups, |weight| cut(weight * s, limit)).value() <= total).unwrap_or(0.0);
    let (mut rest, mut free) = (Sum::new(), Sum::new());
    rest.add(total);
    for &(weight, rows) in groups {
        if is_free(limit / weight, from) {
            free.add_product(weight, rows as f64);
        } else {
            rest.add_product(-limit, rows as f64);
        }
    }
    let scale = rest.value() / free.value();
    let weight_after = |weight: f64| if is_free(limit / weight, from) { cut(weight * scale, limit) } else { limit };
    groups.iter().map(|group| weight_after(group.0)).collect()
}

/// The greatest knot at which a rising condition still holds; none if it holds at none.
fn knot_below(mut knots: Vec<f64>, holds: impl Fn(f64) -> bool) -> Option<f64> {
    knots.sort_unstable_by(f64::total_cmp);
    knots.dedup();
    let count = knots.partition_point(|&knot| holds(knot));
    count.checked_sub(1).map(|at| knots[at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weights(groups: &[(f64, u64)], floor: Option<f64>, cap: Option<f64>, excess: Excess) -> Result<Vec<f64>> {
        Ok(trim(groups, floor.map(Cut::Weight), cap.map(Cut::Weight), excess)?.weights)
    }

    fn close(found: &[f64], wanted: &[f64]) -> bool {
        found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12)
    }

    #[test]
    fn every_rule_shares_the_excess_its_way() -> Result<()> {
        // 20 is cut to 10.
        let groups = [(20.0, 1), (4.0, 2), (2.0, 1)];
        let cut = |excess| weights(&groups, None, Some(10.0), excess);
        // 10 over three rows; over 10 of weight; over 20 of weight.
        assert!(close(&cut(Excess::Equally)?, &[10.0, 4.0 + 10.0 / 3.0, 2.0 + 10.0 / 3.0]));
        assert!(close(&cut(Excess::Proportionally)?, &[10.0, 8.0, 4.0]));
        assert!(close(&cut(Excess::Everybody)?, &[15.0, 6.0, 3.0]));
        assert!(close(&cut(Excess::Nobody)?, &[10.0, 4.0, 2.0]));
        // With a cap of 8 the 4s would get 8.8: they are cut too, and 2 takes the rest. 22 shared equally is 4 each.
        assert!(close(&weights(&groups, None, Some(8.0), Excess::Proportionally)?, &[8.0, 8.0, 6.0]));
        assert!(close(&weights(&groups, None, Some(8.0), Excess::Equally)?, &[8.0, 8.0, 6.0]));
        Ok(())
    }

    #[test]
    fn floors_work_like_caps() -> Result<()> {
        let groups = [(20.0, 1), (4.0, 2), (2.0, 1)];
        // 2 is raised to 5, and so are the 4s: 15 of 30 are left for 20.
        assert!(close(&weights(&groups, Some(5.0), None, Excess::Equally)?, &[15.0, 5.0, 5.0]));
        assert!(close(&weights(&groups, Some(5.0), None, Excess::Proportionally)?, &[15.0, 5.0, 5.0]));
        // Both: 12, then 18 for three rows shared 4 : 4 : 2 = 7.2, 7.2, 3.6; the floor of 5 takes 1.4 from the other 26.4.
        let both = weights(&groups, Some(5.0), Some(12.0), Excess::Proportionally)?;
        let scale = 25.0 / 26.4;
        assert!(close(&both, &[12.0 * scale, 7.2 * scale, 5.0]), "{both:?}");
        // w + 8/3 each: 6.67, 6.67, 4.67, of which the last is raised: 30 − 12 − 5 = 13 for two.
        assert!(close(&weights(&groups, Some(5.0), Some(12.0), Excess::Equally)?, &[12.0, 6.5, 5.0]));
        Ok(())
    }

    #[test]
    fn limits_can_be_relative() -> Result<()> {
        let groups = [(20.0, 1), (4.0, 2), (2.0, 1)];
        let at = |cut| Ok::<_, crate::Error>(trim(&groups, None, Some(cut), Excess::Nobody)?.limits.1);
        assert_eq!(at(Cut::Median(1.5))?, Some(6.0));
        assert_eq!(at(Cut::Mean(1.5))?, Some(1.5 * 7.5));
        assert_eq!((at(Cut::Quantile(0.75))?, at(Cut::Quantile(0.76))?), (Some(4.0), Some(20.0)));
        let trimmed = trim(&groups, Some(Cut::Weight(3.0)), Some(Cut::Mean(1.0)), Excess::Nobody)?;
        assert_eq!((trimmed.cut_rows, trimmed.cut_off, trimmed.sum), ((1, 1), 12.5, 7.5 + 8.0 + 3.0));
        // Two middle weights: 4 and 20.
        assert_eq!(trim(&[(20.0, 1), (4.0, 1)], None, Some(Cut::Median(1.0)), Excess::Nobody)?.limits.1, Some(12.0));
        Ok(())
    }

    #[test]
    fn limits_the_sum_does_not_fit_are_refused() {
        let groups = [(20.0, 1), (4.0, 2), (2.0, 1)];
        let refused = |floor, cap| weights(&groups, floor, cap, Excess::Equally).err();
        assert_eq!(refused(None, Some(7.0)), Some(Error::Cap { cap: 7.0, rows: 4, most: 28.0, sum: 30.0 }.into()));
        assert_eq!(refused(Some(8.0), None), Some(Error::Floor { floor: 8.0, rows: 4, least: 32.0, sum: 30.0 }.into()));
        assert!(matches!(refused(Some(9.0), Some(8.0)), Some(crate::Error::Weights(Error::Limit { what: "floor", .. }))));
        assert!(matches!(refused(None, Some(0.0)), Some(crate::Error::Weights(Error::Limit { what: "cap", .. }))));
        assert!(trim(&groups, None, Some(Cut::Quantile(1.5)), Excess::Nobody).is_err());
        assert!(matches!(weights(&[(0.0, 1)], None, None, Excess::Nobody), Err(crate::Error::Value { .. })));
        assert_eq!(weights(&[(1.0, 0)], None, None, Excess::Nobody).err(), Some(crate::Error::NoRows));
        // Exactly as much as there is room for.
        assert!(weights(&groups, None, Some(7.5), Excess::Proportionally).is_ok_and(|found| close(&found, &[7.5; 3])));
    }

    proptest! {
        /// The sum is kept, the limits hold, weights keep their order, and groups may be split.
        #[test]
        fn trimming_keeps_sum_limits_and_order(
            groups in prop::collection::vec((0.1f64..50.0, 1u64..9), 1..30), low in 0.05f64..0.99, high in 1.01f64..5.0,
        ) {
            for excess in [Excess::Equally, Excess::Proportionally] {
                let (low, high) = (Some(Cut::Mean(low)), Some(Cut::Mean(high)));
                for (floor, cap) in [(None, high), (low, None), (low, high)] {
                    let trimmed = trim(&groups, floor, cap, excess)?;
                    let total: f64 = groups.iter().map(|group| group.0 * group.1 as f64).sum();
                    prop_assert!((trimmed.sum - total).abs() <= 1e-9 * total, "{excess:?} {trimmed:?}");
                    let slack = 1e-9 * total;
                    prop_assert!(trimmed.weights.iter().all(|&w| trimmed.limits.0.is_none_or(|low| w >= low - slack)));
                    prop_assert!(trimmed.weights.iter().all(|&w| trimmed.limits.1.is_none_or(|high| w <= high + slack)));
                    for a in 0..groups.len() {
                        for b in 0..groups.len() {
                            prop_assert!(groups[a].0 > groups[b].0 || trimmed.weights[a] <= trimmed.weights[b] + slack);
                        }
                    }
                    let split: Vec<(f64, u64)> = groups.iter().flat_map(|&(w, n)| (0..n).map(move |_| (w, 1))).collect();
                    let single = trim(&split, floor, cap, excess)?.weights;
                    let grouped: Vec<f64> =
                        groups.iter().zip(&trimmed.weights).flat_map(|(&(_, n), &w)| (0..n).map(move |_| w)).collect();
                    prop_assert_eq!(single, grouped);
                }
            }
        }
    }
}
