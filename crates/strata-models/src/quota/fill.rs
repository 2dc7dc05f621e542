//! Filling a plan with people, in the order of their permanent random numbers, and the state of a quota in the field. It
//! never takes anybody twice.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The people who fill a plan: of each cell, the planned number with the least random numbers (ties to the earlier). Positions
/// of people in their order. `cells` is the cell of each person, `numbers` the random number.
///
/// Errors: `Shape` if arrays do not fit, or a cell has fewer people than planned.
pub fn fill(rows: &[u64], cells: &[u32], numbers: &[f64]) -> Result<Vec<usize>> {
    if cells.len() != numbers.len() {
        return Err(Error::Shape { what: "random numbers", found: numbers.len(), wanted: cells.len() });
    }
    if let Some(&cell) = cells.iter().find(|&&cell| cell as usize >= rows.len()) {
        return Err(Error::Shape { what: "cells of the plan", found: rows.len(), wanted: cell as usize + 1 });
    }
    let mut order: Vec<usize> = (0..cells.len()).collect();
    order.sort_unstable_by(|&a, &b| numbers[a].total_cmp(&numbers[b]).then(a.cmp(&b)));
    let mut left = rows.to_vec();
    let mut chosen: Vec<usize> = order
        .into_iter()
        .filter(|&person| {
            let left = &mut left[cells[person] as usize];
            let is_chosen = *left > 0;
            *left -= u64::from(is_chosen);
            is_chosen
        })
        .collect();
    if let Some(cell) = left.iter().position(|&left| left > 0) {
        let (found, wanted) = ((rows[cell] - left[cell]) as usize, rows[cell] as usize);
        return Err(Error::Shape { what: "people of a planned cell", found, wanted });
    }
    chosen.sort_unstable();
    Ok(chosen)
}

/// How a quota stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// More are wanted, and there are people left for them.
    Open,
    /// Exactly filled.
    Full,
    /// More than wanted.
    Over,
    /// More are wanted than are left.
    Unfillable,
}

/// The state of a quota of `target` people of whom `filled` are in and `left` could still come.
pub fn state(target: u64, filled: u64, left: u64) -> State {
    match filled.cmp(&target) {
        std::cmp::Ordering::Greater => State::Over,
        std::cmp::Ordering::Equal => State::Full,
        std::cmp::Ordering::Less if target - filled <= left => State::Open,
        std::cmp::Ordering::Less => State::Unfillable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_filled_by_the_least_numbers() -> Result<()> {
        let cells = [0, 1, 0, 1, 0, 1];
        assert_eq!(fill(&[2, 1], &cells, &[0.9, 0.5, 0.1, 0.5, 0.3, 0.7])?, [1, 2, 4]);
        assert!(matches!(fill(&[4, 1], &cells, &[0.5; 6]), Err(Error::Shape { found: 3, wanted: 4, .. })));
        assert!(fill(&[4], &cells, &[0.5; 6]).is_err() && fill(&[4, 1], &cells, &[0.5]).is_err());
        Ok(())
    }

    #[test]
    fn states_follow_from_three_counts() {
        let states = [state(5, 3, 2), state(5, 3, 1), state(5, 5, 0), state(5, 6, 9)];
        assert_eq!(states, [State::Open, State::Unfillable, State::Full, State::Over]);
    }
}
