//! The multipliers that meet the totals, by Newton steps. It never takes a step that makes things worse.

use super::{Bounds, Problem};
use crate::{Result, exact::Sum, matrix};

/// Where the steps ended.
pub(super) enum End {
    Met(Box<State>),
    Unmet { iterations: u32, worst: usize, relative: f64 },
}

/// Multipliers and what follows from them.
pub(super) struct State {
    pub(super) multipliers: Vec<f64>,
    pub(super) ratios: Vec<f64>,
    pub(super) iterations: u32,
    /// The greatest relative miss and its total.
    pub(super) relative: f64,
    pub(super) worst: usize,
    /// total − achieved.
    misses: Vec<f64>,
    /// Σ of squared relative misses.
    merit: f64,
    /// Σ d·∫F − λ·totals: convex, least where the totals are met.
    potential: f64,
}

/// Shortest part of a step that is tried.
const PART_MIN: f64 = 1e-5;

/// Steps from λ = 0 until the totals are met, the steps run out, or none helps.
pub(super) fn solve(problem: &Problem<'_>, bounds: &Bounds) -> Result<End> {
    let scales = problem.scales();
    let mut state = evaluate(problem, bounds, &scales, vec![0.0; problem.totals.len()]);
    for iteration in 0..=problem.iterations_max {
        if state.relative <= problem.tolerance {
            state.iterations = iteration;
            return Ok(End::Met(Box::new(state)));
        }
        let next = if iteration < problem.iterations_max { improve(problem, bounds, &scales, &state) } else { None };
        match next {
            Some(next) => state = next,
            None => return Ok(End::Unmet { iterations: iteration, worst: state.worst, relative: state.relative }),
        }
    }
    Ok(End::Unmet { iterations: problem.iterations_max, worst: state.worst, relative: state.relative })
}

fn evaluate(problem: &Problem<'_>, bounds: &Bounds, scales: &[f64], multipliers: Vec<f64>) -> State {
    let p = problem.totals.len();
    let mut achieved = vec![Sum::new(); p];
    let mut potential = Sum::new();
    let mut ratios = Vec::with_capacity(problem.weights.len());
    for (row, &weight) in problem.weights.iter().enumerate() {
        let x = problem.measures_of(row);
        let u = product(x, &multipliers);
        let ratio = problem.distance.ratio(u, bounds[row]);
        let scaled = weight * ratio;
        for (sum, &x) in achieved.iter_mut().zip(x) {
            if x != 0.0 {
                sum.add_product(scaled, x);
            }
        }
        potential.add(weight * problem.distance.integral(u, bounds[row]));
        ratios.push(ratio);
    }
    let (mut worst, mut relative, mut merit) = (0, -1.0, 0.0);
    let mut misses = Vec::with_capacity(p);
    for j in 0..p {
        achieved[j].add(-problem.totals[j].value);
        potential.add_product(-multipliers[j], problem.totals[j].value);
        let miss = -achieved[j].value();
        let part = (miss / scales[j]).abs();
        // A ratio beyond the largest float misses by everything.
        let part = if part.is_nan() { f64::INFINITY } else { part };
        if part > relative {
            (worst, relative) = (j, part);
        }
        merit += part * part;
        misses.push(miss);
    }
    State { multipliers, ratios, iterations: 0, relative, worst, misses, merit, potential: potential.value() }
}

/// The state after the best part of a Newton step; where the slopes are singular (too many rows at their limits) or no part
/// helps, of a shorter step towards steepest descent. None if nothing helps.
fn improve(problem: &Problem<'_>, bounds: &Bounds, scales: &[f64], state: &State) -> Option<State> {
    let p = problem.totals.len();
    let (mut slopes, mut all) = (matrix::Gram::new(p), matrix::Gram::new(p));
    for (row, &weight) in problem.weights.iter().enumerate() {
        let x = problem.measures_of(row);
        slopes.add(weight * problem.distance.slope(product(x, &state.multipliers), bounds[row]), x);
        all.add(weight, x);
    }
    let (slopes, all) = (slopes.values(), all.values());
    // Marquardt's ridge: none at first.
    for ridge in [0.0, 1e-4, 1.0] {
        let mut matrix = slopes.clone();
        (0..p).for_each(|j| matrix[j * p + j] += ridge * all[j * p + j]);
        let Ok(factor) = matrix::Factor::new(&matrix, p, 1e-14) else {
            continue;
        };
        let step = factor.solve(&state.misses);
        let descent = product(&step, &state.misses);
        let mut part = 1.0;
        while part >= PART_MIN && descent > 0.0 {
            let multipliers = state.multipliers.iter().zip(&step).map(|(at, step)| at + part * step).collect();
            let next = evaluate(problem, bounds, scales, multipliers);
            let falls = next.potential <= state.potential - 1e-4 * part * descent;
            if next.merit <= (1.0 - 1e-4 * part) * state.merit || (falls && next.merit.is_finite()) {
                return Some(next);
            }
            part /= 2.0;
        }
    }
    None
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
