//! Adjustment for those who did not answer, by cells: respondents of a cell stand for all its eligible people. It never
//! merges cells unless asked, and then along the declared order.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::{Result, exact::Sum};

/// What became of the people of one cell; weights are sums of base weights (or counts, for unweighted response rates).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResponseCell {
    /// Its name, for messages.
    pub name: String,
    /// Its place in the declared order: the code of each variable, the coarsest first. Cells come sorted by it.
    pub path: Vec<u32>,
    /// Weight of those who answered.
    pub respondents: f64,
    /// How many answered.
    pub respondent_rows: u64,
    /// Weight of the eligible who did not answer.
    pub nonrespondents: f64,
    /// Weight of those found ineligible.
    pub ineligible: f64,
    /// Weight of those of whom it is not known whether they are eligible.
    pub unknown: f64,
}

/// For whom people of unknown eligibility stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// They count as eligible: respondents stand for them too.
    Eligible,
    /// They are as often eligible as the known: respondents, nonrespondents and ineligible share them first.
    AsKnown,
}

/// What to do with a cell that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collapse {
    /// It is an error that names the cell.
    Error,
    /// It joins the neighbour in the declared order whose path agrees with its own for longest; of equals the next one.
    Neighbours,
}

/// The rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// No respondent stands for more than so many times its weight.
    pub factor_max: f64,
    /// Every cell has at least so many respondents; at least 1.
    pub respondents_min: u64,
    /// For whom people of unknown eligibility stand.
    pub unknown: Unknown,
    /// What to do with a cell that breaks a rule.
    pub collapse: Collapse,
}

impl Default for Options {
    fn default() -> Self {
        Options { factor_max: 3.0, respondents_min: 1, unknown: Unknown::AsKnown, collapse: Collapse::Error }
    }
}

/// The factors of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Adjustment {
    /// Multiplies the weights of respondents; those who did not answer and the unknown have weight 0 from now on.
    pub respondents: f64,
    /// Multiplies the weights of the ineligible, who keep theirs so that totals over everybody hold.
    pub ineligible: f64,
    /// The group of merged cells it belongs to, from 0.
    pub group: usize,
}

/// The adjustment of all cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adjusted {
    /// One a cell, in their order.
    pub cells: Vec<Adjustment>,
    /// Groups of cells that share their factors; as many as cells if none was merged.
    pub groups: usize,
    /// The greatest factor of respondents.
    pub factor_max: f64,
}

/// The factors that make respondents stand for their cell: f = Σ_{eligible} d / Σ_{respondents} d, with the unknown first
/// shared out as [`Unknown`] says. The weights of respondents and ineligible keep the sum of everybody's. One adjustment a
/// cell. The response rate of a cell is 1/f.
///
/// Errors: `Shape` if paths differ in length or are not sorted; `Parameter`; [`Error`]: a weight that is none, a cell that
/// breaks a rule (with [`Collapse::Neighbours`] only if all cells together do).
///
/// Source: Valliant, Dever & Kreuter 2018, 13.5.
pub fn adjust(cells: &[ResponseCell], options: &Options) -> Result<Adjusted> {
    check(cells, options)?;
    let mut groups: Vec<Group> = (0..cells.len()).map(|cell| Group::of(cells, cell)).collect();
    let mut at = 0;
    while at < groups.len() {
        let broken = match groups[at].broken_rule(cells, options) {
            None => {
                at += 1;
                continue;
            }
            Some(error) => error,
        };
        if options.collapse == Collapse::Error || groups.len() == 1 {
            return Err(broken.into());
        }
        // A neighbour that was fine before can break a rule after: it is looked at again.
        at = merge(cells, &mut groups, at);
    }
    let mut adjusted = Adjusted { cells: Vec::with_capacity(cells.len()), groups: groups.len(), factor_max: 0.0 };
    for (number, group) in groups.iter().enumerate() {
        let (respondents, ineligible) = group.factors(options.unknown);
        adjusted.factor_max = adjusted.factor_max.max(respondents);
        let adjustment = Adjustment { respondents, ineligible, group: number };
        adjusted.cells.extend(std::iter::repeat_n(adjustment, group.end - group.start));
    }
    Ok(adjusted)
}

fn check(cells: &[ResponseCell], options: &Options) -> Result<()> {
    if cells.is_empty() {
        return Err(crate::Error::NoRows);
    }
    if options.factor_max.is_nan() || options.factor_max < 1.0 {
        return Err(crate::Error::Parameter { name: "factor_max", value: options.factor_max, wanted: "it must be at least 1" });
    }
    if options.respondents_min == 0 {
        return Err(crate::Error::Parameter { name: "respondents_min", value: 0.0, wanted: "it must be at least 1" });
    }
    let depth = cells[0].path.len();
    if let Some(cell) = cells.iter().find(|cell| cell.path.len() != depth) {
        return Err(crate::Error::Shape { what: "path of a cell", found: cell.path.len(), wanted: depth });
    }
    if let Some(at) = cells.windows(2).position(|pair| pair[0].path >= pair[1].path) {
        return Err(crate::Error::Shape { what: "cells in the order of their paths", found: at + 1, wanted: cells.len() });
    }
    for cell in cells {
        let parts = [
            ("respondents", cell.respondents),
            ("nonrespondents", cell.nonrespondents),
            ("the ineligible", cell.ineligible),
            ("the unknown", cell.unknown),
        ];
        if let Some((what, value)) = parts.into_iter().find(|(_, value)| !(*value >= 0.0 && value.is_finite())) {
            return Err(Error::CellWeight { cell: cell.name.clone(), what, value }.into());
        }
    }
    Ok(())
}

/// Neighbouring cells `start..end`.
struct Group {
    start: usize,
    end: usize,
    respondents: Sum,
    rows: u64,
    nonrespondents: Sum,
    ineligible: Sum,
    unknown: Sum,
}

impl Group {
    fn of(cells: &[ResponseCell], at: usize) -> Self {
        let cell = &cells[at];
        let sum = |x: f64| {
            let mut sum = Sum::new();
            sum.add(x);
            sum
        };
        Group {
            start: at,
            end: at + 1,
            respondents: sum(cell.respondents),
            rows: cell.respondent_rows,
            nonrespondents: sum(cell.nonrespondents),
            ineligible: sum(cell.ineligible),
            unknown: sum(cell.unknown),
        }
    }

    /// The factors of respondents and of ineligible.
    fn factors(&self, unknown: Unknown) -> (f64, f64) {
        let sum = |parts: &[&Sum]| {
            let mut sum = Sum::new();
            parts.iter().for_each(|part| sum.merge(part));
            sum.value()
        };
        let respondents = self.respondents.value();
        match unknown {
            Unknown::Eligible => (sum(&[&self.respondents, &self.nonrespondents, &self.unknown]) / respondents, 1.0),
            Unknown::AsKnown => {
                let known = [&self.respondents, &self.nonrespondents, &self.ineligible];
                let share = sum(&[known[0], known[1], known[2], &self.unknown]) / sum(&known);
                (share * (sum(&known[..2]) / respondents), share)
            }
        }
    }

    fn broken_rule(&self, cells: &[ResponseCell], options: &Options) -> Option<Error> {
        let cell = || match &cells[self.start..self.end] {
            [one] => one.name.clone(),
            many => format!("{} … {}", many[0].name, many[many.len() - 1].name),
        };
        if self.rows == 0 || self.respondents.value() == 0.0 {
            let mut weight = self.nonrespondents.clone();
            weight.merge(&self.ineligible);
            weight.merge(&self.unknown);
            return Some(Error::NoRespondents { cell: cell(), weight: weight.value() });
        }
        if self.rows < options.respondents_min {
            return Some(Error::FewRespondents { cell: cell(), rows: self.rows, rows_min: options.respondents_min });
        }
        let (factor, factor_max) = (self.factors(options.unknown).0, options.factor_max);
        (factor > factor_max).then(|| Error::Factor { cell: cell(), factor, factor_max })
    }
}

/// Merges group `at` with a neighbour; the position of the merged group.
fn merge(cells: &[ResponseCell], groups: &mut Vec<Group>, at: usize) -> usize {
    let agreement = |left: usize, right: usize| {
        let (left, right) = (&cells[groups[left].end - 1].path, &cells[groups[right].start].path);
        left.iter().zip(right).take_while(|(a, b)| a == b).count()
    };
    let before = at.checked_sub(1).map(|left| agreement(left, at));
    let after = (at + 1 < groups.len()).then(|| agreement(at, at + 1));
    let left = if after >= before { at } else { at - 1 };
    let right = groups.remove(left + 1);
    let merged = &mut groups[left];
    merged.end = right.end;
    merged.rows += right.rows;
    merged.respondents.merge(&right.respondents);
    merged.nonrespondents.merge(&right.nonrespondents);
    merged.ineligible.merge(&right.ineligible);
    merged.unknown.merge(&right.unknown);
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cell(path: &[u32], respondents: f64, nonrespondents: f64, ineligible: f64, unknown: f64) -> ResponseCell {
        let name = path.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
        let (path, respondent_rows) = (path.to_vec(), respondents as u64);
        ResponseCell { name, path, respondents, respondent_rows, nonrespondents, ineligible, unknown }
    }

    fn neighbours() -> Options {
        Options { collapse: Collapse::Neighbours, ..Options::default() }
    }

    #[test]
    fn respondents_stand_for_their_cell() -> Result<()> {
        let cells = [cell(&[0], 80.0, 10.0, 6.0, 4.0), cell(&[1], 50.0, 50.0, 0.0, 0.0)];
        let adjusted = adjust(&cells, &Options::default())?;
        // 100/96 for the unknown, then 90/80.
        assert_eq!(adjusted.cells[0], Adjustment { respondents: 100.0 / 96.0 * 1.125, ineligible: 100.0 / 96.0, group: 0 });
        assert_eq!((adjusted.cells[1].respondents, adjusted.factor_max, adjusted.groups), (2.0, 2.0, 2));
        let eligible = adjust(&cells, &Options { unknown: Unknown::Eligible, ..Options::default() })?;
        assert_eq!((eligible.cells[0].respondents, eligible.cells[0].ineligible), (94.0 / 80.0, 1.0));
        Ok(())
    }

    #[test]
    fn broken_cells_are_named_or_join_their_neighbour() -> Result<()> {
        let cells = [
            cell(&[0, 0], 50.0, 50.0, 0.0, 0.0),
            cell(&[0, 1], 0.0, 20.0, 0.0, 0.0),
            cell(&[1, 0], 30.0, 0.0, 0.0, 0.0),
            cell(&[1, 1], 10.0, 30.0, 0.0, 0.0),
        ];
        let refused = adjust(&cells, &Options::default()).err();
        assert_eq!(refused, Some(Error::NoRespondents { cell: "0.1".to_owned(), weight: 20.0 }.into()));
        // 0.1 joins 0.0 (same first code): 120/50; 1.1, at 40/10, joins 1.0: 70/40.
        let merged = adjust(&cells, &neighbours())?;
        let factors: Vec<(f64, usize)> = merged.cells.iter().map(|cell| (cell.respondents, cell.group)).collect();
        assert_eq!(factors, [(2.4, 0), (2.4, 0), (1.75, 1), (1.75, 1)]);
        let factor = adjust(&cells[2..], &Options::default()).err();
        assert_eq!(factor, Some(Error::Factor { cell: "1.1".to_owned(), factor: 4.0, factor_max: 3.0 }.into()));
        let few = adjust(&cells[2..], &Options { respondents_min: 31, ..Options::default() }).err();
        assert_eq!(few, Some(Error::FewRespondents { cell: "1.0".to_owned(), rows: 30, rows_min: 31 }.into()));
        Ok(())
    }

    #[test]
    fn even_all_cells_together_may_be_too_few() {
        let cells = [cell(&[0], 0.0, 50.0, 0.0, 0.0), cell(&[1], 0.0, 20.0, 1.0, 0.0)];
        let refused = adjust(&cells, &neighbours()).err();
        assert_eq!(refused, Some(Error::NoRespondents { cell: "0 … 1".to_owned(), weight: 71.0 }.into()));
        let negative = [cell(&[0], 1.0, -1.0, 0.0, 0.0)];
        assert!(matches!(adjust(&negative, &neighbours()), Err(crate::Error::Weights(Error::CellWeight { .. }))));
        let unsorted = [cell(&[1], 1.0, 1.0, 0.0, 0.0), cell(&[0], 1.0, 1.0, 0.0, 0.0)];
        assert!(matches!(adjust(&unsorted, &neighbours()), Err(crate::Error::Shape { .. })));
        assert!(adjust(&[], &neighbours()).is_err());
    }

    proptest! {
        /// The adjusted weights of respondents and ineligible sum to the weights of everybody, merged or not.
        #[test]
        fn totals_are_kept(parts in prop::collection::vec((0u32..40, 0u32..60, 0u32..9, 0u32..9), 1..12)) {
            let float = f64::from;
            let cells: Vec<ResponseCell> = parts
                .iter()
                .enumerate()
                .map(|(i, &(rr, nr, ie, uk))| cell(&[i as u32 / 4, i as u32 % 4], float(rr), float(nr), float(ie), float(uk)))
                .collect();
            let all: f64 = cells.iter().map(|c| c.respondents + c.nonrespondents + c.ineligible + c.unknown).sum();
            match adjust(&cells, &neighbours()) {
                Ok(adjusted) => {
                    let kept: f64 = cells
                        .iter()
                        .zip(&adjusted.cells)
                        .map(|(c, a)| c.respondents * a.respondents + c.ineligible * a.ineligible)
                        .sum();
                    prop_assert!((kept - all).abs() <= 1e-9 * all);
                    prop_assert!(adjusted.cells.iter().all(|a| a.respondents <= 3.0));
                }
                Err(_) => {
                    let answered: f64 = cells.iter().map(|c| c.respondents).sum();
                    prop_assert!(answered == 0.0 || all / answered > 2.0);
                }
            }
        }
    }
}
