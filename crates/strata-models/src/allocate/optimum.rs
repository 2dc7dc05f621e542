//! The bounded optimum before rounding: n_h = clamp(λ·weight_h, lower_h, upper_h) with the λ that spends the total. It
//! never rounds.

use crate::{Error, Result, exact::Sum};

/// What to spend and on whom; all arrays one entry a stratum.
#[derive(Debug, Clone, Copy)]
pub struct Bounded<'a> {
    /// The shares, ≥ 0 and finite.
    pub weights: &'a [f64],
    /// The cost of a row, above 0; empty if every row costs 1.
    pub costs: &'a [f64],
    /// The least rows of each, ≥ 0.
    pub lower: &'a [f64],
    /// The most rows of each, ≥ lower.
    pub upper: &'a [f64],
    /// What Σ cost·n_h is to be.
    pub total: f64,
}

/// The real-valued allocation that spends `total`: strata beyond a bound are fixed there, the side that is further out
/// first, and the rest is shared again, at most 2H rounds. With the weights N_h·S_h/√c_h it has the least
/// Σ N_h²·S_h²/n_h of all allocations within the bounds. One number a stratum, in rows. If the uppers together cost less
/// than the total, it is the uppers; strata with weight 0 stay at their lower.
///
/// Errors: `Shape` for arrays of different lengths; `Value` for a bad number or lower > upper; `Parameter` if the lowers
/// cost more than the total.
///
/// Source: Stenger & Gabler 2005 (box-constrained Neyman allocation).
pub fn optimum(problem: &Bounded<'_>) -> Result<Vec<f64>> {
    check(problem)?;
    Ok(optimum_and_scale(problem).0)
}

/// The optimum of a checked problem, and its λ: where all are at a bound, one that keeps them there. A total below the lowers
/// gives the lowers.
pub(crate) fn optimum_and_scale(problem: &Bounded<'_>) -> (Vec<f64>, f64) {
    let strata = problem.weights.len();
    let cost = |h: usize| problem.costs.get(h).copied().unwrap_or(1.0);
    let mut rows = problem.lower.to_vec();
    let mut is_fixed: Vec<bool> = (0..strata).map(|h| problem.weights[h] == 0.0).collect();
    let mut scale = 1.0;
    loop {
        let (mut left, mut shares) = (Sum::new(), Sum::new());
        left.add(problem.total);
        for h in 0..strata {
            if is_fixed[h] {
                left.add_product(-cost(h), rows[h]);
            } else {
                shares.add_product(cost(h), problem.weights[h]);
            }
        }
        let shares = shares.value();
        if shares == 0.0 {
            return (rows, scale);
        }
        scale = left.value().max(0.0) / shares;
        let (mut lack, mut excess) = (Sum::new(), Sum::new());
        for h in (0..strata).filter(|&h| !is_fixed[h]) {
            let quota = scale * problem.weights[h];
            lack.add(cost(h) * (problem.lower[h] - quota).max(0.0));
            excess.add(cost(h) * (quota - problem.upper[h]).max(0.0));
        }
        let (lack, excess) = (lack.value(), excess.value());
        for h in 0..strata {
            if is_fixed[h] {
                continue;
            }
            let quota = scale * problem.weights[h];
            rows[h] = quota.clamp(problem.lower[h], problem.upper[h]);
            is_fixed[h] = (quota < problem.lower[h] && lack >= excess) || (quota > problem.upper[h] && excess >= lack);
        }
        if lack == 0.0 && excess == 0.0 {
            return (rows, scale);
        }
    }
}

fn check(problem: &Bounded<'_>) -> Result<()> {
    let wanted = problem.weights.len();
    let has_costs = !problem.costs.is_empty();
    for (what, found) in
        [("lower bounds", problem.lower.len()), ("upper bounds", problem.upper.len()), ("costs", problem.costs.len())]
    {
        if found != wanted && (what != "costs" || has_costs) {
            return Err(Error::Shape { what, found, wanted });
        }
    }
    let mut least = Sum::new();
    for h in 0..wanted {
        let (lower, upper) = (problem.lower[h], problem.upper[h]);
        let refused = |what, value, wanted| Err(Error::Value { what, index: h, value, wanted });
        if !(problem.weights[h] >= 0.0 && problem.weights[h].is_finite()) {
            return refused("weight", problem.weights[h], "weights must be finite and not negative");
        }
        if !(lower >= 0.0 && lower.is_finite()) {
            return refused("lower bound", lower, "lower bounds must be finite and not negative");
        }
        if upper.is_nan() || upper < lower {
            return refused("upper bound", upper, "upper bounds must not be below lower bounds");
        }
        let cost = problem.costs.get(h).copied().unwrap_or(1.0);
        if !(cost > 0.0 && cost.is_finite()) {
            return refused("cost", cost, "costs must be finite and above 0");
        }
        least.add_product(cost, lower);
    }
    if !problem.total.is_finite() || least.value() > problem.total {
        let wanted = "it must be finite and cover the lower bounds";
        return Err(Error::Parameter { name: "total", value: problem.total, wanted });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bounded<'a>(weights: &'a [f64], lower: &'a [f64], upper: &'a [f64], total: f64) -> Bounded<'a> {
        Bounded { weights, costs: &[], lower, upper, total }
    }

    #[test]
    fn strata_beyond_a_bound_are_fixed_and_the_rest_shared() -> Result<()> {
        // 60·(1, 2, 3)/6 = (10, 20, 30); the third is cut to 12 and 48 are shared 1 : 2.
        let rows = optimum(&bounded(&[1.0, 2.0, 3.0], &[0.0; 3], &[100.0, 100.0, 12.0], 60.0))?;
        assert_eq!(rows, [16.0, 32.0, 12.0]);
        let least = optimum(&bounded(&[1.0, 2.0, 3.0], &[15.0, 0.0, 0.0], &[100.0; 3], 60.0))?;
        assert_eq!(least, [15.0, 18.0, 27.0]);
        let all = optimum(&bounded(&[1.0, 0.0], &[0.0, 2.0], &[5.0, 9.0], 60.0))?;
        assert_eq!(all, [5.0, 2.0]);
        Ok(())
    }

    #[test]
    fn costs_are_spent_not_rows() -> Result<()> {
        // λ·(1·4 + 2·1) = 60: (10·4) + (20·1).
        let rows = optimum(&Bounded { costs: &[4.0, 1.0], ..bounded(&[1.0, 2.0], &[0.0; 2], &[1e9; 2], 60.0) })?;
        assert_eq!(rows, [10.0, 20.0]);
        Ok(())
    }

    #[test]
    fn bad_numbers_are_named() {
        let refused = |problem: &Bounded<'_>| optimum(problem).err();
        assert!(matches!(refused(&bounded(&[1.0], &[0.0, 1.0], &[1.0], 1.0)), Some(Error::Shape { what: "lower bounds", .. })));
        assert!(matches!(refused(&bounded(&[f64::NAN], &[0.0], &[1.0], 1.0)), Some(Error::Value { what: "weight", .. })));
        assert!(matches!(
            refused(&bounded(&[1.0], &[2.0], &[1.0], 3.0)),
            Some(Error::Value { what: "upper bound", index: 0, .. })
        ));
        assert!(matches!(refused(&bounded(&[1.0], &[2.0], &[3.0], 1.0)), Some(Error::Parameter { name: "total", .. })));
    }

    proptest! {
        /// Spends the total, and every stratum within its bounds has the same rows per weight (the condition of the optimum).
        #[test]
        fn it_is_the_optimum(
            strata in prop::collection::vec((0.01f64..50.0, 0.0f64..20.0, 0.0f64..80.0, 0.1f64..9.0), 1..12), part in 0.0f64..1.0,
        ) {
            let weights: Vec<f64> = strata.iter().map(|s| s.0).collect();
            let lower: Vec<f64> = strata.iter().map(|s| s.1).collect();
            let upper: Vec<f64> = strata.iter().map(|s| s.1 + s.2).collect();
            let costs: Vec<f64> = strata.iter().map(|s| s.3).collect();
            let spent = |rows: &[f64]| rows.iter().zip(&costs).map(|(n, c)| n * c).sum::<f64>();
            let total = spent(&lower) + part * (spent(&upper) - spent(&lower)) + 1e-9;
            let rows = optimum(&Bounded { weights: &weights, costs: &costs, lower: &lower, upper: &upper, total })?;
            prop_assert!((spent(&rows) - total.min(spent(&upper))).abs() <= 1e-9 * total.max(1.0));
            let scales: Vec<f64> = rows.iter().zip(&weights).map(|(n, w)| n / w).collect();
            if let Some(inside) = (0..rows.len()).find(|&h| rows[h] > lower[h] && rows[h] < upper[h]) {
                let scale = scales[inside];
                for h in 0..rows.len() {
                    let wanted = (scale * weights[h]).clamp(lower[h], upper[h]);
                    prop_assert!((rows[h] - wanted).abs() <= 1e-9 * wanted.max(1.0), "{rows:?}");
                }
            }
        }
    }
}
