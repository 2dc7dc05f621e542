//! What a cap on weights costs and buys: design effect, effective sample and missed margins for each of several caps. It
//! never chooses one.

use serde::{Deserialize, Serialize};

use super::{Cell, Margin, Options, Raked, Worst, problem, rake_within, weight_diagnostics};
use crate::calibrate::Limits;
use crate::weights::{Cut, Excess, trim};
use crate::{Error, Result};

/// The spread of weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Kish's design effect, ≥ 1.
    pub deff: f64,
    /// The effective sample size, in rows.
    pub ess: f64,
    /// The greatest weight.
    pub max: f64,
}

/// What follows from one cap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapPoint {
    /// The cap, in weight.
    pub cap: f64,
    /// Rows whose weight was above it.
    pub cut_rows: u64,
    /// After cutting the weights and sharing the excess, without raking again; none if the cap cannot carry the weights.
    pub trimmed: Option<Spread>,
    /// The level that is then missed most, and by how much, relative.
    pub worst: Option<(Worst, f64)>,
    /// After raking within the cap, which meets all margins; none if no weights do.
    pub within: Option<Spread>,
}

/// One point a cap, in their order, for raked cells. Weights are those of a row, the mean of its cell: give rows of different
/// base weights cells of their own.
///
/// Errors: `Shape` if there is not one factor a cell; as [`super::rake`] for the problem itself; `Weights` for a cap that is
/// none.
pub fn cap_curve(
    (margins, cells, options): (&[Margin], &[Cell], &Options),
    raked: &Raked,
    caps: &[f64],
    excess: Excess,
) -> Result<Vec<CapPoint>> {
    if raked.factors.len() != cells.len() {
        return Err(Error::Shape { what: "factors", found: raked.factors.len(), wanted: cells.len() });
    }
    let mean = |(factor, cell): (&f64, &Cell)| (factor * cell.weight / cell.rows as f64, cell.rows);
    let groups: Vec<(f64, u64)> = raked.factors.iter().zip(cells).map(mean).collect();
    caps.iter()
        .map(|&cap| {
            let cut_rows = groups.iter().filter(|group| group.0 > cap).map(|group| group.1).sum();
            let trimmed = match trim(&groups, None, Some(Cut::Weight(cap)), excess) {
                Ok(trimmed) => Some(trimmed.weights),
                Err(Error::Weights(crate::weights::Error::Cap { .. })) => None,
                Err(error) => return Err(error),
            };
            let worst = trimmed.as_ref().map(|weights| worst(margins, cells, options, weights)).transpose()?;
            let limits = Limits { weight_max: cap, ..Limits::default() };
            let within = match rake_within(margins, cells, options, &limits) {
                Ok(found) if found.converged => Some(found),
                Ok(_) | Err(Error::MarginsInfeasible { .. } | Error::NotConverged { .. }) => None,
                Err(error) => return Err(error),
            };
            let raked_groups = within.map(|found| found.factors.iter().zip(cells).map(mean).collect::<Vec<_>>());
            let trimmed_groups = trimmed.map(|weights| weights.into_iter().zip(cells).map(|(w, cell)| (w, cell.rows)).collect());
            Ok(CapPoint { cap, cut_rows, trimmed: spread(trimmed_groups), worst, within: spread(raked_groups) })
        })
        .collect()
}

fn spread(groups: Option<Vec<(f64, u64)>>) -> Option<Spread> {
    let found = weight_diagnostics(groups?)?;
    Some(Spread { deff: found.deff, ess: found.ess, max: found.max })
}

/// The level missed most by the weights of rows, and by how much.
fn worst(margins: &[Margin], cells: &[Cell], options: &Options, weights: &[f64]) -> Result<(Worst, f64)> {
    let mut problem = problem::prepare(margins, cells, options)?;
    problem.factors = weights.iter().zip(cells).map(|(weight, cell)| weight * cell.rows as f64 / cell.weight).collect();
    let worst = problem.worst();
    let margin = &margins[worst.margin];
    let (name, level) = (margin.name.clone(), margin.levels[worst.level].name.clone());
    Ok((Worst { margin: name, level, target: worst.target, achieved: worst.achieved }, worst.relative))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rake::{Level, rake};

    #[test]
    fn lower_caps_cost_margins_and_buy_effective_sample() -> Result<()> {
        let margin = |name: &str, targets: &[f64]| Margin {
            name: name.to_owned(),
            levels: targets.iter().map(|&target| Level { name: target.to_string(), target: Some(target) }).collect(),
        };
        let margins = [margin("a", &[60.0, 40.0]), margin("b", &[30.0, 70.0])];
        let cell = |a, b, rows| Cell { codes: vec![Some(a), Some(b)], weight: rows as f64, rows };
        let cells = [cell(0, 0, 10), cell(0, 1, 5), cell(1, 0, 2), cell(1, 1, 8)];
        let options = Options { tolerance: 1e-10, iterations_max: 5000, ..Options::default() };
        let raked = rake(&margins, &cells, &options)?;
        let caps = [100.0, 6.5, 5.5, 3.0];
        let curve = cap_curve((&margins, &cells, &options), &raked, &caps, Excess::Proportionally)?;
        // Nothing is cut: all three are the same.
        assert_eq!(curve[0].cut_rows, 0);
        assert!(curve[0].worst.as_ref().is_some_and(|worst| worst.1 < 1e-9));
        let deff = |spread: &Option<Spread>| spread.as_ref().map_or(f64::NAN, |spread| spread.deff);
        assert!((deff(&curve[0].trimmed) - deff(&curve[0].within)).abs() < 1e-9);
        // 6.5 is kept and all margins met: weights 2.75, 6.5, 1.25, 4.6875.
        assert_eq!(curve[1].cut_rows, 5);
        let squares = 10.0 * 2.75f64.powi(2) + 5.0 * 6.5f64.powi(2) + 2.0 * 1.25f64.powi(2) + 8.0 * 4.6875f64.powi(2);
        assert!((deff(&curve[1].within) - 25.0 * squares / 1e4).abs() < 1e-6, "{curve:?}");
        assert!(curve[1].worst.as_ref().is_some_and(|worst| worst.1 > 1e-3));
        // At 5.5 the 70 of the second level of b take 27.5 and 42.5: too many for the 40 of the second level of a.
        assert!(curve[2].within.is_none() && curve[2].trimmed.is_some());
        assert!(deff(&curve[2].trimmed) < deff(&curve[1].trimmed));
        // 25 rows at 3 carry 75 of 100.
        assert_eq!((curve[3].trimmed.clone(), curve[3].worst.clone()), (None, None));
        assert!(cap_curve((&margins, &cells, &options), &raked, &[0.0], Excess::Nobody).is_err());
        Ok(())
    }
}
