//! Raking: weights that meet several margins at once, by iterative proportional fitting on collapsed cells. It never
//! sees a row: rows are summed to cells before, and multiplied by their cell's factor after.

mod curve;
mod diagnostics;
mod problem;
mod table;
mod weights;
mod within;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, exact::Sum};
pub use curve::{CapPoint, Spread, cap_curve};
pub use diagnostics::{WeightDiagnostics, factored_diagnostics, weight_diagnostics};
use problem::Problem;
pub use table::{CELLS_MAX, TableWeights};
pub use weights::CellWeights;
pub use within::{least_miss, rake_within};

/// One level of a margin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Its name, for messages.
    pub name: String,
    /// Its population count (or share), ≥ 0; none if the rows have the level but the population does not name it.
    pub target: Option<f64>,
}

/// One variable to rake to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Margin {
    /// Its name, for messages.
    pub name: String,
    /// Its levels; a cell's code is a position here.
    pub levels: Vec<Level>,
}

/// The rows that agree in every margin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The level in each margin, none if null; as many as there are margins.
    pub codes: Vec<Option<u32>>,
    /// Sum of the base weights, finite and above 0.
    pub weight: f64,
    /// Number of rows, at least 1.
    pub rows: u64,
}

/// What to do when margins have different totals (beyond 1e-9, relative).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Totals {
    /// It is an error.
    Agree,
    /// Rescale each margin to the total of the first.
    Rescale,
}

/// What to do with a level no row has and whose target is above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// It is an error.
    Error,
    /// Drop the level and rescale the rest of its margin to the total.
    DropAndRescale,
}

/// What the weights sum to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleTo {
    /// The total of the targets.
    Population,
    /// The number of rows.
    Sample,
}

/// What to do when the iterations run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotConverged {
    /// It is an error that names the worst level.
    Error,
    /// Give the weights so far, flagged.
    Keep,
}

/// How to rake. The default is that of the pipeline language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Stop once the greatest |achieved − target| / target is below it.
    pub tolerance: f64,
    /// At most so many sweeps over all margins.
    pub iterations_max: u32,
    /// What to do when margins have different totals.
    pub totals: Totals,
    /// What to do with levels no row has.
    pub absent: Absent,
    /// What the weights sum to.
    pub scale_to: ScaleTo,
    /// What to do when the iterations run out.
    pub not_converged: NotConverged,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            tolerance: 1e-6,
            iterations_max: 100,
            totals: Totals::Agree,
            absent: Absent::Error,
            scale_to: ScaleTo::Population,
            not_converged: NotConverged::Error,
        }
    }
}

/// A level that was dropped because no row has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// The margin.
    pub margin: String,
    /// The level.
    pub level: String,
    /// The target it had.
    pub target: f64,
}

/// The level furthest from its target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// The margin.
    pub margin: String,
    /// The level.
    pub level: String,
    /// Its target, after scaling.
    pub target: f64,
    /// The sum of its weights.
    pub achieved: f64,
}

/// The answer of raking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Raked {
    /// weight = base weight · factor of the row's cell; one a cell, in their order, ≥ 0.
    pub factors: Vec<f64>,
    /// What the targets of every margin sum to: the population or the sample.
    pub total: f64,
    /// Sweeps made, at least 1.
    pub iterations: u32,
    /// The greatest |achieved − target| / target over all levels of all margins, after the last sweep.
    pub relative_difference_max: f64,
    /// The level it belongs to (the first of equals).
    pub worst: Worst,
    /// Whether it is below the tolerance.
    pub converged: bool,
    /// Levels dropped because no row has them.
    pub dropped: Vec<Dropped>,
}

/// Rakes the cells to the margins, taken in their order.
///
/// Starts from the base weights scaled to the total; one iteration multiplies each weight by target/current for each
/// margin in turn; after it, all levels of all margins are compared. Sums are exact, so the factors do not depend on
/// the order of the cells. O(cells + iterations · margins · cells).
///
/// Errors: `NoMargins`, `NoRows`, `Parameter`; `Shape` if a cell's codes do not fit the margins; `BaseWeight`;
/// `Target`, `MarginTotals`, `AbsentLevel`, `ZeroTarget`, `NullLevel`, `UntargetedLevel` for margins the cells cannot
/// meet; `NotConverged`, also where the pattern of empty cells makes the margins impossible together.
///
/// Source: Deming & Stephan 1940.
pub fn rake(margins: &[Margin], cells: &[Cell], options: &Options) -> Result<Raked> {
    let mut problem = problem::prepare(margins, cells, options)?;
    let mut iterations = 0;
    let worst = loop {
        let complete = problem.sweep();
        iterations += 1;
        let worst = problem.worst();
        if worst.relative < options.tolerance || iterations >= options.iterations_max || !complete {
            break worst;
        }
    };
    let margin = &margins[worst.margin];
    let level = &margin.levels[worst.level];
    let converged = worst.relative < options.tolerance;
    if !converged && options.not_converged == NotConverged::Error {
        return Err(Error::NotConverged {
            iterations,
            margin: margin.name.clone(),
            level: level.name.clone(),
            target: worst.target,
            achieved: worst.achieved,
            relative: worst.relative,
        });
    }
    Ok(Raked {
        factors: problem.factors,
        total: problem.total,
        iterations,
        relative_difference_max: worst.relative,
        worst: Worst { margin: margin.name.clone(), level: level.name.clone(), target: worst.target, achieved: worst.achieved },
        converged,
        dropped: problem.dropped,
    })
}

/// A level and how far it is from its target.
struct Distance {
    margin: usize,
    level: usize,
    target: f64,
    achieved: f64,
    relative: f64,
}

impl Problem {
    /// One iteration: each margin in turn. False if a level has lost all its weight, so that no factor helps.
    fn sweep(&mut self) -> bool {
        for margin in 0..self.margins.len() {
            let achieved = self.achieved(margin);
            let ratios: Vec<f64> = self.margins[margin]
                .targets
                .iter()
                .zip(&achieved)
                .map(|(&target, achieved)| if target == 0.0 { 1.0 } else { target / achieved.value() })
                .collect();
            if ratios.iter().any(|ratio| !ratio.is_finite()) {
                return false;
            }
            for (factor, &code) in self.factors.iter_mut().zip(&self.margins[margin].codes) {
                *factor *= ratios[code as usize];
            }
        }
        true
    }

    /// Sum of the weights at each level of a margin.
    fn achieved(&self, margin: usize) -> Vec<Sum> {
        let mut sums = vec![Sum::new(); self.margins[margin].targets.len()];
        for ((&code, base), factor) in self.margins[margin].codes.iter().zip(&self.weights).zip(&self.factors) {
            sums[code as usize].add(base * factor);
        }
        sums
    }

    /// The level with the greatest relative difference, the first of equals. Levels with target 0 have no rows.
    fn worst(&self) -> Distance {
        let mut worst = Distance { margin: 0, level: 0, target: self.total, achieved: self.total, relative: -1.0 };
        for (margin, fitted) in self.margins.iter().enumerate() {
            for (level, (&target, achieved)) in fitted.targets.iter().zip(self.achieved(margin)).enumerate() {
                let achieved = achieved.value();
                let relative = (achieved - target).abs() / target;
                if target > 0.0 && relative > worst.relative {
                    worst = Distance { margin, level, target, achieved, relative };
                }
            }
        }
        worst
    }
}

#[cfg(test)]
mod tests;
