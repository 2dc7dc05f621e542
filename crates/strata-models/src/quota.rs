//! Quotas: how many people of each cell fill them exactly, interlocked (one margin whose levels are the cells) or not (several
//! margins at once). Where none can, the smallest set of quotas that clash, and the nearest quotas that can be filled. It
//! never fills a quota with more people than are eligible.

mod clash;
mod error;
mod fill;
mod plan;

use serde::{Deserialize, Serialize};

pub use error::Error;
pub use fill::{State, fill, state};

use crate::Result;

/// One quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Its name, for messages.
    pub name: String,
    /// People wanted.
    pub target: u64,
}

/// One variable with quotas; all margins have the same total.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Margin {
    /// Its name, for messages.
    pub name: String,
    /// Its levels; a cell's code is a position here.
    pub levels: Vec<Level>,
}

/// The eligible people who agree in every margin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The level in each margin; as many as there are margins.
    pub codes: Vec<u32>,
    /// How many they are.
    pub supply: u64,
}

/// How many people of each cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// One count a cell, in their order, ≤ supply.
    pub rows: Vec<u64>,
    /// Their sum.
    pub total: u64,
}

/// What a quota in a clash does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// It asks for people.
    Needs,
    /// It allows no more.
    Limits,
}

/// A quota in a clash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clashing {
    /// The margin.
    pub margin: String,
    /// The level.
    pub level: String,
    /// People wanted.
    pub target: u64,
    /// Eligible people at the level.
    pub supply: u64,
    /// What it does.
    pub side: Side,
}

/// Why the quotas cannot be filled together, and what could be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clash {
    /// The quotas that cannot be filled together, whatever becomes of the others. Without any one of them they can be.
    pub quotas: Vec<Clashing>,
    /// Whether no smaller set clashes; false where proving it would have taken too long.
    pub is_smallest: bool,
    /// What the quotas that need people ask for beyond what those that limit allow.
    pub needed: f64,
    /// The eligible people who could give it, fewer than `needed`. None if the quotas clash only because people are whole.
    pub available: Option<f64>,
    /// The nearest quotas that can be filled, in the shape of the margins.
    pub nearest: Vec<Vec<u64>>,
    /// Σ|nearest − target| over all quotas.
    pub moved: u64,
    /// A plan that fills the nearest quotas.
    pub plan: Plan,
}

impl Clash {
    /// One sentence that names the quotas and the numbers.
    pub fn describe(&self) -> String {
        let name = |quota: &Clashing| format!("`{}` = `{}` ({})", quota.margin, quota.level, quota.target);
        let of = |side: Side| self.quotas.iter().filter(|quota| quota.side == side).map(name).collect::<Vec<_>>().join(", ");
        let (needs, limits) = (of(Side::Needs), of(Side::Limits));
        let Some(available) = self.available else {
            return format!("no whole numbers of people fill the quotas {needs} together");
        };
        let needed = self.needed;
        if limits.is_empty() {
            return format!("the quotas {needs} need {needed} people but {available} are eligible");
        }
        format!("the quotas {needs} need {needed} people beyond those that {limits} allow, but {available} are eligible there")
    }
}

/// What came of the quotas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// They can be filled, so.
    Filled(Plan),
    /// They cannot.
    Clash(Box<Clash>),
}

/// Plans how many people of each cell fill every quota exactly.
///
/// The plan is the one nearest (by Σ|difference|) to sharing each quota in proportion to the people eligible, raked to all
/// margins at once. A table with one or two margins always has a plan in whole numbers if it has one at all; for three and
/// more the search branches. The smallest clash is found by hitting sets: what can be filled without it, what it must hit.
/// The nearest quotas keep the total (or all eligible people, if they are fewer) and move as few people as possible. Ties
/// are settled by the order of margins, levels and cells alone.
///
/// Errors: `Shape`; [`Error`]: no margins, totals that differ, a search too large.
///
/// Source: Gale 1957 (clashes of two margins); Reiter 1987 (hitting sets).
pub fn plan(margins: &[Margin], cells: &[Cell]) -> Result<Outcome> {
    let table = Table::new(margins, cells)?;
    match plan::whole_plan(&table, &table.targets)? {
        plan::Found::Plan(plan) => Ok(Outcome::Filled(plan)),
        plan::Found::None { only_fractions } => {
            clash::explain(margins, &table, only_fractions).map(|c| Outcome::Clash(Box::new(c)))
        }
    }
}

/// Margins and cells, checked: every level of every margin is one row.
struct Table {
    /// The rows each margin starts at, and their number in all at the end.
    starts: Vec<usize>,
    targets: Vec<u64>,
    /// The rows of each cell, one a margin.
    rows_of: Vec<Vec<usize>>,
    supply: Vec<u64>,
    total: u64,
}

impl Table {
    fn new(margins: &[Margin], cells: &[Cell]) -> Result<Self> {
        let Some(first) = margins.first() else {
            return Err(Error::NoMargins.into());
        };
        let mut starts = vec![0];
        let mut targets = Vec::new();
        let sum = |margin: &Margin| margin.levels.iter().try_fold(0u64, |sum, level| sum.checked_add(level.target));
        let total = sum(first).ok_or(crate::Error::TooManyRows)?;
        for margin in margins {
            let found = sum(margin).ok_or(crate::Error::TooManyRows)?;
            if found != total {
                let (margin, first) = (margin.name.clone(), first.name.clone());
                return Err(Error::Totals { margin, total: found, first, first_total: total }.into());
            }
            targets.extend(margin.levels.iter().map(|level| level.target));
            starts.push(targets.len());
        }
        if total == 0 {
            return Err(Error::Empty.into());
        }
        cells.iter().try_fold(0u64, |sum, cell| sum.checked_add(cell.supply)).ok_or(crate::Error::TooManyRows)?;
        let mut rows_of = Vec::with_capacity(cells.len());
        for cell in cells {
            if cell.codes.len() != margins.len() {
                let (found, wanted) = (cell.codes.len(), margins.len());
                return Err(crate::Error::Shape { what: "codes of a cell", found, wanted });
            }
            let row = |(at, &code): (usize, &u32)| {
                let (found, wanted) = (margins[at].levels.len(), code as usize + 1);
                if wanted > found {
                    return Err(crate::Error::Shape { what: "levels of a margin", found, wanted });
                }
                Ok(starts[at] + code as usize)
            };
            rows_of.push(cell.codes.iter().enumerate().map(row).collect::<Result<Vec<usize>>>()?);
        }
        Ok(Table { starts, targets, rows_of, supply: cells.iter().map(|cell| cell.supply).collect(), total })
    }

    /// Eligible people at each level.
    fn supply_of_rows(&self) -> Vec<u64> {
        self.sums(&self.supply)
    }

    /// Sums of cells at each level.
    fn sums(&self, cells: &[u64]) -> Vec<u64> {
        let mut sums = vec![0; self.targets.len()];
        for (rows, &count) in self.rows_of.iter().zip(cells) {
            rows.iter().for_each(|&row| sums[row] += count);
        }
        sums
    }
}

#[cfg(test)]
mod tests;
