//! How near weights within limits can come to totals, by a linear program: the proof that a calibration is infeasible. It
//! never looks at a distance function.

use super::{Bounds, Problem};
use crate::exact::Sum;
use crate::lp::{Column, Outcome, Program, minimise_from};
use crate::{Error, Result};

/// The weights within the limits whose greatest relative miss is least.
pub(crate) struct Nearest {
    pub(crate) relative: f64,
    pub(crate) worst: usize,
    pub(crate) achieved: f64,
}

/// First the least greatest miss, then, with no miss above it, the least sum of misses: so only totals that must be missed
/// by so much are.
pub(crate) fn nearest(problem: &Problem<'_>, bounds: &Bounds) -> Result<Nearest> {
    let least = least_miss(problem, bounds)?;
    let scales = problem.scales();
    let mut columns = ratios(problem, bounds, |j| vec![(j, 1.0)]);
    let most = least * (1.0 + 1e-9) + 1e-12;
    for j in 0..problem.totals.len() {
        columns.extend([1.0, -1.0].map(|sign| Column { cost: 1.0, lower: 0.0, upper: most, entries: vec![(j, sign)] }));
    }
    let rows = problem.totals.iter().zip(&scales).map(|(total, scale)| total.value / scale).collect();
    let basis: Vec<usize> = (0..problem.totals.len()).map(|j| problem.weights.len() + 2 * j).collect();
    let Outcome::Optimal { values, .. } = minimise_from(&Program { rows, columns }, &basis)? else {
        return Err(Error::Stuck { what: "the nearest weights", steps: 2 });
    };
    let mut nearest = Nearest { relative: least, worst: 0, achieved: f64::NAN };
    let mut greatest = -1.0;
    for (j, scale) in scales.iter().enumerate() {
        let parts = problem.weights.iter().zip(&values).enumerate();
        let mut achieved = Sum::new();
        parts.for_each(|(row, (weight, ratio))| achieved.add_product(weight * ratio, problem.measures_of(row)[j]));
        let achieved = achieved.value();
        let miss = (achieved - problem.totals[j].value).abs() / scale;
        // Several totals can be missed by as much: rounding must not choose among them.
        if miss > greatest + 1e-9 {
            (nearest.worst, nearest.achieved, greatest) = (j, achieved, miss);
        }
    }
    Ok(nearest)
}

/// The least t with |Σ d·x·g − total| ≤ t·|total| for every total. Rows 2j and 2j + 1 hold total j from above and below.
fn least_miss(problem: &Problem<'_>, bounds: &Bounds) -> Result<f64> {
    let p = problem.totals.len();
    let scales = problem.scales();
    let mut columns = ratios(problem, bounds, |j| vec![(2 * j, 1.0), (2 * j + 1, 1.0)]);
    let endless = |cost, entries| Column { cost, lower: 0.0, upper: f64::INFINITY, entries };
    columns.push(endless(1.0, (0..p).flat_map(|j| [(2 * j, -1.0), (2 * j + 1, 1.0)]).collect()));
    (0..p).for_each(|j| columns.extend([endless(0.0, vec![(2 * j, 1.0)]), endless(0.0, vec![(2 * j + 1, -1.0)])]));
    let rows = problem.totals.iter().zip(&scales).flat_map(|(total, scale)| [total.value / scale; 2]).collect();
    let basis: Vec<usize> = (0..2 * p).map(|row| problem.weights.len() + 1 + row).collect();
    match minimise_from(&Program { rows, columns }, &basis)? {
        Outcome::Optimal { objective, .. } => Ok(objective),
        // A large enough t meets every row.
        Outcome::Infeasible { .. } => Err(Error::Stuck { what: "the least miss", steps: 1 }),
    }
}

/// A column for the ratio of each row of the problem; `place` says in which rows of the program a total stands.
fn ratios(problem: &Problem<'_>, bounds: &Bounds, place: impl Fn(usize) -> Vec<(usize, f64)>) -> Vec<Column> {
    let scales = problem.scales();
    let column = |row: usize| {
        let mut entries = Vec::new();
        for (j, &x) in problem.measures_of(row).iter().enumerate().filter(|(_, x)| **x != 0.0) {
            let entry = problem.weights[row] * x / scales[j];
            entries.extend(place(j).into_iter().map(|(at, sign)| (at, sign * entry)));
        }
        let (low, high) = bounds[row];
        // A weight without a limit can be anything: so can this, for all that matters here.
        Column { cost: 0.0, lower: low.max(-1e6), upper: high.min(1e6), entries }
    };
    (0..problem.weights.len()).map(column).collect()
}
