//! Raking within limits: weights as near as can be (in the sense of raking) to the base weights that meet all margins and
//! stay within limits, without trimming and raking by turns. It never gives weights that miss a margin or a limit.

use super::problem::{self, Problem};
use super::{Cell, Margin, NotConverged, Options, Raked, Worst};
use crate::allocate::{Bounded, optimum_and_scale};
use crate::calibrate::{self, Distance, Limits, Nearest, Total};
use crate::{Error, Result};

/// Rakes the cells to the margins with every weight within `limits`: each level in turn multiplies its cells by the one factor
/// that meets its target, weights beyond a limit being at it. Ratios are to the base weights scaled to the total; weights
/// are those of a row, the mean of its cell: give rows of different base weights cells of their own for a limit on every
/// row. The result as of [`super::rake`], whose rules for absent levels, totals and scale hold here too.
///
/// Errors: as [`super::rake`]; `Calibrate` for limits that exclude each other; `MarginsInfeasible`, with the least possible
/// miss, if no weights within the limits meet the margins.
///
/// Source: Deville & Särndal 1992 (truncated multiplicative distance), solved level by level (Bregman 1967).
pub fn rake_within(margins: &[Margin], cells: &[Cell], options: &Options, limits: &Limits) -> Result<Raked> {
    let problem = problem::prepare(margins, cells, options)?;
    let bounds = bounds(&problem, cells, limits)?;
    let base: Vec<f64> = problem.weights.iter().zip(&problem.factors).map(|(weight, factor)| weight * factor).collect();
    let levels = levels(&problem);
    let mut multipliers = vec![1.0; cells.len()];
    let mut weights: Vec<f64> = base.iter().zip(&bounds).map(|(base, &(low, high))| base.clamp(low, high)).collect();
    let mut fitted = Problem { weights: vec![1.0; cells.len()], factors: weights.clone(), ..problem };
    let mut iterations = 0;
    let worst = loop {
        for (members, target) in &levels {
            let of = |values: &dyn Fn(usize) -> f64| members.iter().map(|&cell| values(cell)).collect::<Vec<f64>>();
            let shares = of(&|cell| base[cell] * multipliers[cell]);
            let (lower, upper) = (of(&|cell| bounds[cell].0), of(&|cell| bounds[cell].1));
            let level = Bounded { weights: &shares, costs: &[], lower: &lower, upper: &upper, total: *target };
            let (found, scale) = optimum_and_scale(&level);
            for (&cell, weight) in members.iter().zip(found) {
                weights[cell] = weight;
                // Multipliers stay floats even where no factor helps.
                multipliers[cell] = (multipliers[cell] * scale).clamp(1e-200, 1e200);
            }
        }
        iterations += 1;
        fitted.factors.clone_from(&weights);
        let worst = fitted.worst();
        if worst.relative < options.tolerance || iterations >= options.iterations_max {
            break worst;
        }
    };
    let converged = worst.relative < options.tolerance;
    let name = |margin: usize, level: usize| (margins[margin].name.clone(), margins[margin].levels[level].name.clone());
    if !converged {
        refuse_infeasible(margins, cells, options, limits)?;
        if options.not_converged == NotConverged::Error {
            let (margin, level) = name(worst.margin, worst.level);
            let (target, achieved, relative) = (worst.target, worst.achieved, worst.relative);
            return Err(Error::NotConverged { iterations, margin, level, target, achieved, relative });
        }
    }
    let (margin, level) = name(worst.margin, worst.level);
    Ok(Raked {
        factors: weights.iter().zip(cells).map(|(weight, cell)| weight / cell.weight).collect(),
        total: fitted.total,
        iterations,
        relative_difference_max: worst.relative,
        worst: Worst { margin, level, target: worst.target, achieved: worst.achieved },
        converged,
        dropped: fitted.dropped,
    })
}

/// The least greatest relative miss of any level that weights of these cells within `limits` can have, by a linear program; 0
/// (to 1e-9) if they can meet all margins. Without limits it says whether the pattern of empty cells allows the margins at
/// all: raking then converges, if slowly where some cell must go to 0.
///
/// Errors: as [`rake_within`], but for those of convergence.
pub fn least_miss(margins: &[Margin], cells: &[Cell], options: &Options, limits: &Limits) -> Result<f64> {
    let problem = problem::prepare(margins, cells, options)?;
    Ok(nearest(&problem, cells, limits)?.0.relative)
}

fn refuse_infeasible(margins: &[Margin], cells: &[Cell], options: &Options, limits: &Limits) -> Result<()> {
    let problem = problem::prepare(margins, cells, options)?;
    let (nearest, places) = nearest(&problem, cells, limits)?;
    if nearest.relative <= options.tolerance.max(1e-9) {
        return Ok(());
    }
    let (margin, level) = places[nearest.worst];
    Err(Error::MarginsInfeasible {
        margin: margins[margin].name.clone(),
        level: margins[margin].levels[level].name.clone(),
        target: problem.margins[margin].targets[level],
        achieved: nearest.achieved,
        relative: nearest.relative,
    })
}

/// The nearest weights, and which (margin, level) each of their totals is.
fn nearest(problem: &Problem, cells: &[Cell], limits: &Limits) -> Result<(Nearest, Vec<(usize, usize)>)> {
    let base: Vec<f64> = problem.weights.iter().zip(&problem.factors).map(|(weight, factor)| weight * factor).collect();
    let bounds = bounds(problem, cells, limits)?;
    let ratios = bounds.iter().zip(&base).map(|(&(low, high), base)| (low / base, high / base)).collect();
    let mut places = Vec::new();
    let mut totals = Vec::new();
    for (margin, fitted) in problem.margins.iter().enumerate() {
        for (level, &target) in fitted.targets.iter().enumerate().filter(|(_, target)| **target > 0.0) {
            places.push((margin, level));
            totals.push(Total { name: String::new(), value: target });
        }
    }
    let is_at = |cell: usize, &(margin, level): &(usize, usize)| problem.margins[margin].codes[cell] as usize == level;
    let measures: Vec<f64> =
        (0..base.len()).flat_map(|cell| places.iter().map(move |place| f64::from(u8::from(is_at(cell, place))))).collect();
    let as_totals = calibrate::Problem {
        totals: &totals,
        measures: &measures,
        weights: &base,
        distance: Distance::Raking,
        limits: *limits,
        tolerance: 1e-9,
        iterations_max: 0,
    };
    Ok((calibrate::nearest(&as_totals, &ratios)?, places))
}

/// The least and greatest weight of each cell.
fn bounds(problem: &Problem, cells: &[Cell], limits: &Limits) -> Result<Vec<(f64, f64)>> {
    let base = problem.weights.iter().zip(&problem.factors).map(|(weight, factor)| weight * factor);
    base.zip(cells)
        .enumerate()
        .map(|(row, (base, cell))| {
            let rows = cell.rows as f64;
            let low = (base * limits.ratio_min.max(0.0)).max(limits.weight_min.max(0.0) * rows);
            let high = (base * limits.ratio_max).min(limits.weight_max * rows);
            if low <= high && high > 0.0 {
                return Ok((low, high));
            }
            let (weight, min, max) = (base / rows, limits.weight_min, limits.weight_max);
            Err(calibrate::Error::WeightLimits { row, weight, min, max }.into())
        })
        .collect()
}

/// The cells of each level that has any, and its target; margins in order.
fn levels(problem: &Problem) -> Vec<(Vec<usize>, f64)> {
    let mut levels = Vec::new();
    for margin in &problem.margins {
        let mut members = vec![Vec::new(); margin.targets.len()];
        margin.codes.iter().enumerate().for_each(|(cell, &code)| members[code as usize].push(cell));
        levels.extend(members.into_iter().zip(margin.targets.iter().copied()).filter(|(members, _)| !members.is_empty()));
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rake::{Level, rake};
    use proptest::prelude::*;

    fn margin(name: &str, targets: &[f64]) -> Margin {
        let level = |(i, &target): (usize, &f64)| Level { name: format!("{name}{i}"), target: Some(target) };
        Margin { name: name.to_owned(), levels: targets.iter().enumerate().map(level).collect() }
    }

    fn cell(codes: [u32; 2], weight: f64, rows: u64) -> Cell {
        Cell { codes: codes.map(Some).to_vec(), weight, rows }
    }

    fn table() -> (Vec<Margin>, Vec<Cell>) {
        let margins = vec![margin("a", &[60.0, 40.0]), margin("b", &[30.0, 70.0])];
        let cells = vec![cell([0, 0], 10.0, 10), cell([0, 1], 5.0, 5), cell([1, 0], 2.0, 2), cell([1, 1], 8.0, 8)];
        (margins, cells)
    }

    fn weights(raked: &Raked, cells: &[Cell]) -> Vec<f64> {
        raked.factors.iter().zip(cells).map(|(factor, cell)| factor * cell.weight).collect()
    }

    fn exact() -> Options {
        Options { tolerance: 1e-12, iterations_max: 5000, ..Options::default() }
    }

    #[test]
    fn without_limits_it_is_raking() -> Result<()> {
        let (margins, cells) = table();
        let (plain, within) = (rake(&margins, &cells, &exact())?, rake_within(&margins, &cells, &exact(), &Limits::default())?);
        for (a, b) in plain.factors.iter().zip(&within.factors) {
            assert!((a - b).abs() < 1e-9, "{plain:?} {within:?}");
        }
        Ok(())
    }

    #[test]
    fn a_cap_on_weights_is_kept_and_margins_met() -> Result<()> {
        let (margins, cells) = table();
        // Raked, x(10 + x) = 8(60 − x)(30 − x): the five rows of cell 0.1 have 33.58/5 = 6.72 each. Capped at 6.5 they are
        // 32.5, and the rest follows from the margins: 27.5, 2.5, 37.5.
        let plain = weights(&rake(&margins, &cells, &exact())?, &cells);
        assert!((plain[1] / 5.0 - 6.716).abs() < 1e-3, "{plain:?}");
        let limits = Limits { weight_max: 6.5, ..Limits::default() };
        let found = weights(&rake_within(&margins, &cells, &exact(), &limits)?, &cells);
        for (found, wanted) in found.iter().zip([27.5, 32.5, 2.5, 37.5]) {
            assert!((found - wanted).abs() < 1e-8, "{found} {wanted}");
        }
        Ok(())
    }

    #[test]
    fn what_no_weights_meet_is_refused_with_the_least_miss() -> Result<()> {
        let (margins, cells) = table();
        // 15 rows at most 3 each are 45 of 60.
        let limits = Limits { weight_max: 3.0, ..Limits::default() };
        let Err(Error::MarginsInfeasible { margin, level, target, relative, .. }) =
            rake_within(&margins, &cells, &exact(), &limits)
        else {
            panic!("it was met");
        };
        assert_eq!((margin.as_str(), target), ("b", 70.0), "{level} {relative}");
        // 13 rows at most 3 each are 39 of 70.
        assert!((relative - 31.0 / 70.0).abs() < 1e-9, "{relative}");
        assert!((least_miss(&margins, &cells, &exact(), &limits)? - relative).abs() < 1e-12);
        let none = least_miss(&margins, &cells, &exact(), &Limits::default())?;
        assert!(none < 1e-9, "{none}");
        // Without cell 0.1 the 60 of a0 must be in b0, which has 30: half is missed by both at 1/3.
        let holes = [cells[0].clone(), cells[2].clone(), cells[3].clone()];
        let miss = least_miss(&margins, &holes, &exact(), &Limits::default())?;
        assert!((miss - 1.0 / 3.0).abs() < 1e-9, "{miss}");
        let never = Limits { weight_min: 5.0, weight_max: 4.0, ..Limits::default() };
        assert!(matches!(rake_within(&margins, &cells, &exact(), &never), Err(Error::Calibrate(_))));
        Ok(())
    }

    proptest! {
        /// Margins that some weights within the limits have are met within them.
        #[test]
        fn feasible_margins_are_met(parts in prop::collection::vec((1u64..20, 0.6f64..1.6), 6)) {
            let of = |(i, &(rows, _)): (usize, &(u64, f64))| cell([i as u32 / 3, i as u32 % 3], rows as f64 * 10.0, rows);
            let cells: Vec<Cell> = parts.iter().enumerate().map(of).collect();
            let sum = |is_in: &dyn Fn(usize) -> bool| -> f64 {
                parts.iter().enumerate().filter(|(i, _)| is_in(*i)).map(|(_, &(rows, ratio))| rows as f64 * 10.0 * ratio).sum()
            };
            let margins = vec![
                margin("a", &[sum(&|i| i / 3 == 0), sum(&|i| i / 3 == 1)]),
                margin("b", &[sum(&|i| i % 3 == 0), sum(&|i| i % 3 == 1), sum(&|i| i % 3 == 2)]),
            ];
            // Ratios are to the base weights scaled to the total, so weights are limited here.
            let limits = Limits { weight_min: 5.0, weight_max: 17.0, ..Limits::default() };
            let options = Options { tolerance: 1e-8, iterations_max: 20_000, ..Options::default() };
            let raked = rake_within(&margins, &cells, &options, &limits)?;
            prop_assert!(raked.converged);
            for (weight, cell) in weights(&raked, &cells).iter().zip(&cells) {
                let weight = weight / cell.rows as f64;
                prop_assert!((5.0 - 1e-9..=17.0 + 1e-9).contains(&weight));
            }
        }
    }
}
