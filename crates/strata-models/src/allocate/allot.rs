//! Allocation by any rule to a number of rows, a budget or a precision. It never gives a stratum more rows than it has.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::methods::{Method, Stratum};
use super::optimum::{Bounded, optimum};
use super::{Allocation, Bound, Error, rebalance};
use crate::{Result, exact::Sum};

/// How large the sample is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// So many rows.
    Rows(u64),
    /// As many as Σ c_h·n_h ≤ budget allows, c_h the cost of a row.
    Budget(f64),
    /// As few as give the stratified mean this standard error; needs every spread.
    Precision(f64),
}

/// What happens to rows wanted beyond the sum of the maxima.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shortage {
    /// They are a shortfall.
    Report,
    /// Strata that have more rows than their maximum share them by the method.
    Proportional,
    /// Strata that have more rows than their maximum give them in order of priority, then label.
    Priority,
}

/// What to allocate and how.
#[derive(Debug, Clone, Copy)]
pub struct Design<'a> {
    /// The strata, in any order.
    pub strata: &'a [Stratum],
    /// The sharing rule.
    pub method: Method,
    /// The size of the sample.
    pub size: Size,
    /// What happens beyond the maxima.
    pub shortage: Shortage,
}

/// An allocation and what it costs and yields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Allotment {
    /// The rows, in the order of the strata given.
    pub allocation: Allocation,
    /// Σ c_h·n_h, in the unit of the costs.
    pub cost: f64,
    /// The standard error of the stratified mean, √(Σ N_h²·S_h²·(1/n_h − 1/N_h))/N, in the unit of the measure; none if a
    /// spread is missing or a stratum that varies has no rows.
    pub standard_error: Option<f64>,
}

/// Shares a sample out over the strata.
///
/// One count a stratum. Rows: largest remainders of clamp(λ·weight_h), ties to the label that sorts first; strata of
/// weight 0 get rows only when the others are at their most. Budget: the bounded optimum rounded down, then one row at a
/// time to the stratum whose variance falls most per cost, ties to the label that sorts first. Precision: the least
/// sample, from the real-valued optimum up, that reaches it. O(H log H) for rows; the order of the strata changes nothing.
///
/// Errors: [`Error`], which names the stratum and its numbers; `TooManyRows` beyond 2^64 rows.
///
/// Source: Cochran 1977, 5.5–5.9.
pub fn allot(design: &Design<'_>) -> Result<Allotment> {
    let mut order: Vec<usize> = (0..design.strata.len()).collect();
    order.sort_by(|&a, &b| design.strata[a].label.cmp(&design.strata[b].label));
    let strata: Vec<Stratum> = order.iter().map(|&at| design.strata[at].clone()).collect();
    check(&strata)?;
    let shares = design.method.weights(&strata)?;
    let problem = Problem { strata: &strata, shares: &shares, shortage: design.shortage };
    let (rows, wanted) = match (design.method, design.size) {
        (Method::Fixed, _) => problem.fixed()?,
        (_, Size::Rows(sample)) => (problem.rows(sample)?, sample),
        (_, Size::Budget(budget)) => problem.budget(budget)?,
        (_, Size::Precision(error)) => problem.precision(error)?,
    };
    let given = problem.describe(rows, wanted);
    // Back into the order of the strata given.
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(sorted, &at)| back[at] = sorted);
    let mut bounded: Vec<(usize, Bound)> = given.allocation.bounded.iter().map(|&(h, bound)| (order[h], bound)).collect();
    bounded.sort_by_key(|&(h, _)| h);
    let rows = back.iter().map(|&sorted| given.allocation.rows[sorted]).collect();
    Ok(Allotment { allocation: Allocation { rows, bounded, ..given.allocation }, ..given })
}

/// The rows of one stratum that give its own mean a standard error: ⌈S²/(e² + S²/N)⌉, at least 1 and at most `size`. Use it
/// as the `min` of a stratum that is reported on its own.
///
/// Errors: `Parameter` for a spread or error that is negative or not finite, or an error of 0.
///
/// Source: Cochran 1977, 4.6.
pub fn rows_for_precision(size: u64, spread: f64, standard_error: f64) -> Result<u64> {
    if !(spread >= 0.0 && spread.is_finite()) {
        return Err(Error::Parameter { name: "spread", value: spread, wanted: "it must be finite and not negative" }.into());
    }
    check_error(standard_error)?;
    if size == 0 {
        return Ok(0);
    }
    let variance = spread * spread;
    let rows = variance / (standard_error * standard_error + variance / size as f64);
    Ok((rows.ceil() as u64).clamp(1, size))
}

fn check_error(standard_error: f64) -> Result<()> {
    if standard_error > 0.0 && standard_error.is_finite() {
        return Ok(());
    }
    Err(Error::Parameter { name: "standard_error", value: standard_error, wanted: "it must be finite and above 0" }.into())
}

/// The strata are sorted by label.
fn check(strata: &[Stratum]) -> Result<()> {
    if strata.is_empty() {
        return Err(Error::NoStrata.into());
    }
    if let Some(pair) = strata.windows(2).find(|pair| pair[0].label == pair[1].label) {
        return Err(Error::Duplicate { stratum: pair[0].label.clone() }.into());
    }
    strata.iter().try_fold(0u64, |sum, stratum| sum.checked_add(stratum.size)).ok_or(crate::Error::TooManyRows)?;
    for stratum in strata {
        let label = || stratum.label.clone();
        if let Some(max) = stratum.max.filter(|&max| max < stratum.min) {
            return Err(Error::Bounds { stratum: label(), min: stratum.min, max }.into());
        }
        if stratum.min > stratum.ceiling() {
            return Err(Error::Capacity { stratum: label(), wanted: stratum.min, capacity: stratum.ceiling() }.into());
        }
        let cost = stratum.cost();
        if !(cost > 0.0 && cost.is_finite()) {
            let wanted = "it must be finite and above 0";
            return Err(Error::Value { stratum: label(), what: "cost", value: cost, wanted }.into());
        }
    }
    Ok(())
}

/// Checked strata in order of label, and their shares.
struct Problem<'a> {
    strata: &'a [Stratum],
    shares: &'a [f64],
    shortage: Shortage,
}

impl Problem<'_> {
    fn lower(&self) -> Vec<u64> {
        self.strata.iter().map(|stratum| stratum.min).collect()
    }

    fn upper(&self) -> Vec<u64> {
        self.strata.iter().map(Stratum::upper).collect()
    }

    /// The number each stratum states, and their sum.
    fn fixed(&self) -> Result<(Vec<u64>, u64)> {
        let rows: Vec<u64> = self.strata.iter().map(|stratum| stratum.fixed.unwrap_or(0)).collect();
        for (stratum, &rows) in self.strata.iter().zip(&rows) {
            let label = || stratum.label.clone();
            if rows > stratum.ceiling() {
                return Err(Error::Capacity { stratum: label(), wanted: rows, capacity: stratum.ceiling() }.into());
            }
            if rows < stratum.min {
                return Err(Error::Bounds { stratum: label(), min: stratum.min, max: rows }.into());
            }
            if let Some(max) = stratum.max.filter(|&max| rows > max) {
                return Err(Error::Bounds { stratum: label(), min: rows, max }.into());
            }
        }
        // INVARIANT: below the sum of the sizes, which fits.
        let total = rows.iter().sum();
        Ok((rows, total))
    }

    /// The rows for a sample of `sample`.
    fn rows(&self, sample: u64) -> Result<Vec<u64>> {
        if sample == 0 {
            return Err(Error::Parameter { name: "sample", value: 0.0, wanted: "it must be at least 1" }.into());
        }
        let (lower, upper) = (self.lower(), self.upper());
        let minima = lower.iter().fold(0u64, |sum, &min| sum.saturating_add(min));
        if minima > sample {
            let (stratum, min) = self.greatest(&lower.iter().map(|&min| min as f64).collect::<Vec<_>>());
            return Err(Error::Minima { stratum, min: min as u64, minima, sample }.into());
        }
        let rows = self.share(sample, &lower, &upper);
        let missing = sample - rows.iter().sum::<u64>();
        if missing == 0 || self.shortage == Shortage::Report {
            return Ok(rows);
        }
        let ceilings: Vec<u64> = self.strata.iter().map(Stratum::ceiling).collect();
        if self.shortage == Shortage::Proportional {
            return Ok(self.share(sample, &rows, &ceilings));
        }
        let mut order: Vec<usize> = (0..self.strata.len()).collect();
        order.sort_by_key(|&h| self.strata[h].priority);
        let (mut rows, mut missing) = (rows, missing);
        for h in order {
            let more = missing.min(ceilings[h] - rows[h]);
            rows[h] += more;
            missing -= more;
        }
        Ok(rows)
    }

    /// Largest remainders within bounds; Σ = `sample`, or Σ upper if that is less. Strata of share 0 come last, by size.
    fn share(&self, sample: u64, lower: &[u64], upper: &[u64]) -> Vec<u64> {
        let shares = whole_shares(self.shares);
        let (given, idle): (Vec<usize>, Vec<usize>) = (0..shares.len()).partition(|&h| shares[h] > 0);
        let of = |positions: &[usize], values: &[u64]| positions.iter().map(|&h| values[h]).collect::<Vec<u64>>();
        let sum = |positions: &[usize], values: &[u64]| of(positions, values).iter().sum::<u64>();
        let first = (sample - sum(&idle, lower)).min(sum(&given, upper));
        let second = (sample - first).min(sum(&idle, upper));
        let sizes: Vec<u64> = self.strata.iter().map(|stratum| stratum.size).collect();
        let mut rows = vec![0; shares.len()];
        for (positions, total, shares) in [(given, first, &shares), (idle, second, &sizes)] {
            let (part, _) = rebalance(total, &of(&positions, shares), &of(&positions, lower), &of(&positions, upper));
            positions.iter().zip(part).for_each(|(&h, part)| rows[h] = part);
        }
        rows
    }

    /// The rows a budget buys, and their number.
    fn budget(&self, budget: f64) -> Result<(Vec<u64>, u64)> {
        if !(budget > 0.0 && budget.is_finite()) {
            return Err(Error::Parameter { name: "budget", value: budget, wanted: "it must be finite and above 0" }.into());
        }
        let costs: Vec<f64> = self.strata.iter().map(Stratum::cost).collect();
        let (lower, upper) = (self.lower(), self.upper());
        let minima = cost_of(&costs, &lower).value();
        if minima > budget {
            let dearest: Vec<f64> = costs.iter().zip(&lower).map(|(cost, &min)| cost * min as f64).collect();
            let (stratum, cost) = self.greatest(&dearest);
            return Err(Error::Budget { stratum, cost, minima, budget }.into());
        }
        let real = self.real(&costs, budget)?;
        // A whole number that was missed by rounding alone is kept.
        let mut rows: Vec<u64> = (0..real.len()).map(|h| ((real[h] * (1.0 + 1e-12)) as u64).clamp(lower[h], upper[h])).collect();
        let mut spent = cost_of(&costs, &rows);
        for h in 0..rows.len() {
            while spent.value() > budget && rows[h] > lower[h] {
                rows[h] -= 1;
                spent.add(-costs[h]);
            }
        }
        let mut queue: BinaryHeap<Candidate> = (0..rows.len()).filter_map(|h| self.candidate(h, rows[h], upper[h])).collect();
        while let Some(best) = queue.pop() {
            let mut with = spent.clone();
            with.add(costs[best.stratum]);
            // What is too dear now stays too dear: the rest only shrinks.
            if with.value() > budget {
                continue;
            }
            spent = with;
            rows[best.stratum] += 1;
            queue.extend(self.candidate(best.stratum, rows[best.stratum], upper[best.stratum]));
        }
        let total = rows.iter().sum();
        Ok((rows, total))
    }

    /// The gain of one more row; none if there is no room or the stratum does not vary.
    fn candidate(&self, stratum: usize, rows: u64, upper: u64) -> Option<Candidate> {
        let share = self.shares[stratum];
        if rows >= upper || share == 0.0 {
            return None;
        }
        // N²S²(1/n − 1/(n + 1))/c with N·S = share·√c.
        let (n, next) = (rows as f64, rows as f64 + 1.0);
        Some(Candidate { gain: share * share / (n * next), stratum })
    }

    /// The least rows that reach a standard error, and their number.
    fn precision(&self, standard_error: f64) -> Result<(Vec<u64>, u64)> {
        check_error(standard_error)?;
        for stratum in self.strata.iter().filter(|stratum| stratum.ceiling() > 0) {
            stratum.spread("a target precision with")?;
        }
        let (lower, upper) = (self.lower(), self.upper());
        let most: Vec<f64> = upper.iter().map(|&rows| rows as f64).collect();
        if self.standard_error(&most).is_none_or(|best| best > standard_error) {
            let parts: Vec<f64> = (0..most.len()).map(|h| self.variance_of(h, most[h])).collect();
            let (stratum, _) = self.greatest(&parts);
            let rows = self.strata.iter().position(|at| at.label == stratum).map_or(0, |h| upper[h]);
            let best = self.standard_error(&most).unwrap_or(f64::INFINITY);
            return Err(Error::Precision { wanted: standard_error, best, stratum, rows }.into());
        }
        // The real-valued answer by halving: rows grow and the error falls as the total grows.
        let (mut low, mut high) = (lower.iter().sum::<u64>() as f64, most.iter().sum::<f64>());
        for _ in 0..100 {
            let middle = low + (high - low) / 2.0;
            let reached = self.standard_error(&self.real(&[], middle)?).is_some_and(|error| error <= standard_error);
            if reached { high = middle } else { low = middle }
        }
        let all: u64 = upper.iter().sum();
        let mut sample = (low.ceil() as u64).clamp(1, all);
        loop {
            let rows = self.share(sample, &lower, &upper);
            let real: Vec<f64> = rows.iter().map(|&rows| rows as f64).collect();
            if sample == all || self.standard_error(&real).is_some_and(|error| error <= standard_error) {
                let total = rows.iter().sum();
                return Ok((rows, total));
            }
            sample += 1;
        }
    }

    /// The bounded optimum that spends `total`; strata of share 0 at their minimum.
    fn real(&self, costs: &[f64], total: f64) -> Result<Vec<f64>> {
        let lower: Vec<f64> = self.lower().iter().map(|&rows| rows as f64).collect();
        let upper: Vec<f64> = self.upper().iter().map(|&rows| rows as f64).collect();
        optimum(&Bounded { weights: self.shares, costs, lower: &lower, upper: &upper, total })
    }

    /// N_h²·S_h²·(1/n_h − 1/N_h), infinite for a stratum that varies and has no rows.
    fn variance_of(&self, h: usize, rows: f64) -> f64 {
        let stratum = &self.strata[h];
        let (size, spread) = (stratum.size as f64, stratum.spread.unwrap_or(0.0));
        let total = size * spread;
        if total == 0.0 { 0.0 } else { (total * total * (1.0 / rows - 1.0 / size)).max(0.0) }
    }

    fn standard_error(&self, rows: &[f64]) -> Option<f64> {
        if self.strata.iter().any(|stratum| stratum.size > 0 && stratum.spread.is_none()) {
            return None;
        }
        let mut variance = Sum::new();
        (0..rows.len()).for_each(|h| variance.add(self.variance_of(h, rows[h])));
        let size: u64 = self.strata.iter().map(|stratum| stratum.size).sum();
        let error = variance.value().sqrt() / size as f64;
        error.is_finite().then_some(error)
    }

    /// The label and value of the stratum with the greatest value, the first of equals.
    fn greatest(&self, values: &[f64]) -> (String, f64) {
        let mut at = 0;
        for h in 1..values.len() {
            if values[h] > values[at] {
                at = h;
            }
        }
        (self.strata[at].label.clone(), values[at])
    }

    fn describe(&self, rows: Vec<u64>, wanted: u64) -> Allotment {
        let costs: Vec<f64> = self.strata.iter().map(Stratum::cost).collect();
        let total: u64 = rows.iter().sum();
        let bounded = (0..rows.len())
            .filter_map(|h| {
                let (stratum, rows) = (&self.strata[h], rows[h]);
                match rows {
                    0 => None,
                    rows if rows == stratum.ceiling() => Some((h, Bound::Size)),
                    rows if Some(rows) == stratum.max => Some((h, Bound::Max)),
                    rows if rows == stratum.min => Some((h, Bound::Min)),
                    _ => None,
                }
            })
            .collect();
        let real: Vec<f64> = rows.iter().map(|&rows| rows as f64).collect();
        Allotment {
            cost: cost_of(&costs, &rows).value(),
            standard_error: self.standard_error(&real),
            allocation: Allocation { rows, total, shortfall: wanted.saturating_sub(total), excess: 0, bounded },
        }
    }
}

fn cost_of(costs: &[f64], rows: &[u64]) -> Sum {
    let mut sum = Sum::new();
    costs.iter().zip(rows).for_each(|(&cost, &rows)| sum.add_product(cost, rows as f64));
    sum
}

/// Weights as whole shares that sum to at most 2^62: exact, up to the power of two, while they are within 2^9/H of their
/// sum, so that equal weights stay equal and ties are true ties.
fn whole_shares(weights: &[f64]) -> Vec<u64> {
    let greatest = weights.iter().copied().fold(0.0, f64::max);
    if greatest == 0.0 {
        return vec![0; weights.len()];
    }
    let mut sum = Sum::new();
    weights.iter().for_each(|&weight| sum.add(weight / greatest));
    // 1 ≤ Σ weight/greatest ≤ H.
    let units = 2f64.powi(62 - sum.value().log2().ceil() as i32 - 1);
    let exponent = super::power_of_two_above(greatest);
    let scaled = |weight: f64| weight * 2f64.powi(-exponent / 2) * 2f64.powi(-exponent - (-exponent / 2));
    weights.iter().map(|&weight| (scaled(weight) * units).round() as u64).collect()
}

/// One more row for a stratum.
struct Candidate {
    gain: f64,
    stratum: usize,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.gain.total_cmp(&other.gain).then(other.stratum.cmp(&self.stratum))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

#[cfg(test)]
mod tests;
