//! Groups of people who look alike. It never looks at who they are.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Whether groups are large enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anonymity {
    /// The size of the smallest group; none if there are no people.
    pub smallest: Option<u64>,
    /// Positions of the groups with 1 to k − 1 people.
    pub below: Vec<usize>,
    /// People in them.
    pub people_below: u64,
    /// People in all.
    pub people: u64,
}

impl Anonymity {
    /// Whether every group has k people or none.
    pub fn holds(&self) -> bool {
        self.below.is_empty()
    }
}

/// Checks groups of people with equal quasi-identifiers, given as counts, for k-anonymity.
///
/// Errors: `Parameter` if k is 0; `TooManyRows`.
///
/// Source: Sweeney 2002.
pub fn anonymity(groups: &[u64], k: u64) -> Result<Anonymity> {
    check_k(k)?;
    let people = groups.iter().try_fold(0u64, |sum, &count| sum.checked_add(count)).ok_or(Error::TooManyRows)?;
    let below: Vec<usize> = (0..groups.len()).filter(|&at| (1..k).contains(&groups[at])).collect();
    let people_below = below.iter().map(|&at| groups[at]).sum();
    Ok(Anonymity { smallest: groups.iter().copied().filter(|&count| count > 0).min(), below, people_below, people })
}

/// Positions of the cells that two published tables of the same shape show with counts 1 to k − 1 apart: where the people of
/// one are among those of the other (a wave and its top-up), the difference is a group of so few. None stands for a
/// suppressed cell, which shows nothing.
///
/// Errors: `Parameter` if k is 0; `Shape`.
pub fn small_differences(first: &[Option<u64>], second: &[Option<u64>], k: u64) -> Result<Vec<usize>> {
    check_k(k)?;
    if first.len() != second.len() {
        return Err(Error::Shape { what: "cells of the second table", found: second.len(), wanted: first.len() });
    }
    let apart = |at: &usize| first[*at].zip(second[*at]).is_some_and(|(a, b)| (1..k).contains(&a.abs_diff(b)));
    Ok((0..first.len()).filter(apart).collect())
}

pub(super) fn check_k(k: u64) -> Result<()> {
    if k > 0 { Ok(()) } else { Err(Error::Parameter { name: "k", value: 0.0, wanted: "it must be at least 1" }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_groups_are_found() -> Result<()> {
        let found = anonymity(&[12, 3, 0, 9, 10], 10)?;
        assert_eq!((found.smallest, found.below.clone(), found.people_below, found.people), (Some(3), vec![1, 3], 12, 34));
        assert!(!found.holds() && anonymity(&[12, 0], 10)?.holds() && anonymity(&[], 10)?.smallest.is_none());
        assert!(anonymity(&[1], 0).is_err());
        Ok(())
    }

    #[test]
    fn tables_that_differ_by_few_are_found() -> Result<()> {
        let (first, second) = ([Some(50), Some(20), None, Some(9)], [Some(53), Some(20), Some(4), Some(30)]);
        assert_eq!(small_differences(&first, &second, 10)?, [0]);
        assert!(small_differences(&first, &second[..2], 10).is_err());
        Ok(())
    }
}
