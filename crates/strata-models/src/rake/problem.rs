//! Checks of a raking problem before its first iteration, and its targets on one scale. It never changes a weight.

use super::{Absent, Cell, Dropped, Margin, Options, ScaleTo, Totals};
use crate::{Error, Result, exact::Sum};

/// A checked problem: every code has a target above 0, and the targets of every margin sum to `total`.
pub(super) struct Problem {
    pub(super) margins: Vec<Fitted>,
    /// Base weight of each cell.
    pub(super) weights: Vec<f64>,
    /// The factors so far.
    pub(super) factors: Vec<f64>,
    pub(super) total: f64,
    pub(super) dropped: Vec<Dropped>,
}

/// A margin as the iterations need it.
pub(super) struct Fitted {
    /// The level of each cell.
    pub(super) codes: Vec<u32>,
    /// The scaled target of each level; 0 for a level no cell has.
    pub(super) targets: Vec<f64>,
}

/// Totals further apart than this, relative, are those of different populations.
const TOTALS_AGREE: f64 = 1e-9;

/// Checks the problem and scales it. Errors: see [`super::rake`].
pub(super) fn prepare(margins: &[Margin], cells: &[Cell], options: &Options) -> Result<Problem> {
    check_options(options)?;
    if margins.is_empty() {
        return Err(Error::NoMargins);
    }
    if cells.is_empty() {
        return Err(Error::NoRows);
    }
    let mut base = Sum::new();
    let mut rows = 0u64;
    for (index, cell) in cells.iter().enumerate() {
        if cell.codes.len() != margins.len() {
            return Err(Error::Shape { what: "codes of a cell", found: cell.codes.len(), wanted: margins.len() });
        }
        if !(cell.weight > 0.0 && cell.weight.is_finite()) || cell.rows == 0 {
            return Err(Error::BaseWeight { cell: index, weight: cell.weight, rows: cell.rows });
        }
        base.add(cell.weight);
        rows = rows.checked_add(cell.rows).ok_or(Error::TooManyRows)?;
    }
    let totals = margins.iter().map(target_total).collect::<Result<Vec<f64>>>()?;
    if options.totals == Totals::Agree {
        check_totals(margins, &totals)?;
    }
    let total = match options.scale_to {
        ScaleTo::Population => totals[0],
        ScaleTo::Sample => rows as f64,
    };
    let mut dropped = Vec::new();
    let mut fitted = Vec::with_capacity(margins.len());
    for (position, margin) in margins.iter().enumerate() {
        let (codes, rows) = count(margin, cells.iter().map(|cell| (cell.codes[position], cell.rows)))?;
        let (mut targets, gone) = targets(margin, &rows, options.absent)?;
        rescale(&mut targets, total);
        dropped.extend(gone);
        fitted.push(Fitted { codes, targets });
    }
    let start = total / base.value();
    Ok(Problem {
        margins: fitted,
        weights: cells.iter().map(|cell| cell.weight).collect(),
        factors: vec![start; cells.len()],
        total,
        dropped,
    })
}

fn check_options(options: &Options) -> Result<()> {
    let tolerance = options.tolerance;
    if !(tolerance > 0.0 && tolerance.is_finite()) {
        return Err(Error::Parameter { name: "tolerance", value: tolerance, wanted: "it must be above 0" });
    }
    if options.iterations_max == 0 {
        return Err(Error::Parameter { name: "max_iterations", value: 0.0, wanted: "it must be at least 1" });
    }
    Ok(())
}

/// Sum of a margin's targets, above 0. Errors: `Target`.
fn target_total(margin: &Margin) -> Result<f64> {
    let mut sum = Sum::new();
    let refused = |level: &str, target| Err(Error::Target { margin: margin.name.clone(), level: level.to_owned(), target });
    for level in &margin.levels {
        let target = level.target.unwrap_or(0.0);
        if !(target >= 0.0 && target.is_finite()) {
            return refused(&level.name, target);
        }
        sum.add(target);
    }
    match sum.value() {
        total if total > 0.0 && total.is_finite() => Ok(total),
        total => refused("(all)", total),
    }
}

fn check_totals(margins: &[Margin], totals: &[f64]) -> Result<()> {
    for (margin, &total) in margins.iter().zip(totals) {
        if (total - totals[0]).abs() > TOTALS_AGREE * totals[0] {
            return Err(Error::MarginTotals {
                margin: margin.name.clone(),
                total,
                first: margins[0].name.clone(),
                first_total: totals[0],
            });
        }
    }
    Ok(())
}

/// The codes of the cells in a margin, and the rows at each of its levels. Errors: `NullLevel`, `Shape`.
fn count(margin: &Margin, cells: impl Iterator<Item = (Option<u32>, u64)>) -> Result<(Vec<u32>, Vec<u64>)> {
    let levels = margin.levels.len();
    let mut rows = vec![0u64; levels];
    let mut null_rows = 0;
    let mut codes = Vec::new();
    for (code, cell_rows) in cells {
        let Some(code) = code else {
            null_rows += cell_rows;
            continue;
        };
        let Some(level_rows) = rows.get_mut(code as usize) else {
            return Err(Error::Shape { what: "levels of a margin", found: levels, wanted: code as usize + 1 });
        };
        *level_rows += cell_rows;
        codes.push(code);
    }
    if null_rows > 0 {
        return Err(Error::NullLevel { margin: margin.name.clone(), rows: null_rows });
    }
    Ok((codes, rows))
}

/// The target of each level, 0 for one no row has, and the levels dropped for that. Errors: a level that cannot be met.
fn targets(margin: &Margin, rows: &[u64], absent: Absent) -> Result<(Vec<f64>, Vec<Dropped>)> {
    let mut targets = Vec::with_capacity(rows.len());
    let mut dropped = Vec::new();
    for (level, &rows) in margin.levels.iter().zip(rows) {
        let (margin, name) = (margin.name.clone(), level.name.clone());
        targets.push(match (level.target, rows) {
            (None, 1..) => {
                return Err(Error::UntargetedLevel { margin, level: name, rows });
            }
            (Some(0.0), 1..) => {
                return Err(Error::ZeroTarget { margin, level: name, rows });
            }
            (Some(target), 1..) => target,
            (None | Some(0.0), 0) => 0.0,
            (Some(target), 0) if absent == Absent::Error => {
                return Err(Error::AbsentLevel { margin, level: name, target });
            }
            (Some(target), 0) => {
                dropped.push(Dropped { margin, level: name, target });
                0.0
            }
        });
    }
    Ok((targets, dropped))
}

/// Makes `targets` sum to `total`.
fn rescale(targets: &mut [f64], total: f64) {
    let mut kept = Sum::new();
    targets.iter().for_each(|&target| kept.add(target));
    // INVARIANT: some cell has a level with a target above 0, so the total kept is above 0. Margins that already sum to
    // the total keep their targets to the bit.
    let scale = total / kept.value();
    targets.iter_mut().for_each(|target| *target *= scale);
}
