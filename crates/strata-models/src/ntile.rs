//! Equal groups (`ntile`) from counts of distinct values: where each cut falls, and how many rows of the value
//! it falls on belong below it. It never sees keys: the caller fetches the key at the rank a cut names.

use crate::{Error, Result};

/// Where one cut falls: after the row of global rank `rank`, which is the `rows_below`-th row, in key order, of
/// those with `value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut<T> {
    /// The value of the last row below the cut.
    pub value: T,
    /// Rows of `value` below the cut, in key order: 1 to `rows_of_value`.
    pub rows_below: u64,
    /// Rows of `value` in all.
    pub rows_of_value: u64,
    /// Rows below the cut.
    pub rank: u64,
}

impl<T> Cut<T> {
    /// Whether the cut falls between two values, so that no key is needed.
    pub fn is_between_values(&self) -> bool {
        self.rows_below == self.rows_of_value
    }
}

/// Cuts `total` rows into `bins` equal groups, with total = bins·q + r: the first r groups have q + 1 rows, the
/// others q (none where total < bins). Takes (value, count) in the order the groups are numbered in, each value
/// once: ascending, or descending for a score where less is better. O(values + bins) time, O(bins) memory.
///
/// Source: `ntile` of SQL:2003.
#[derive(Debug, Clone)]
pub struct TileCuts<T> {
    bins: u32,
    total: u64,
    pushed: u64,
    cuts: Vec<Cut<T>>,
}

impl<T: Clone> TileCuts<T> {
    /// Ready for the first value. Errors: `NoTiles` if `bins` is 0.
    pub fn new(total: u64, bins: u32) -> Result<Self> {
        if bins == 0 {
            return Err(Error::NoTiles);
        }
        Ok(TileCuts { bins, total, pushed: 0, cuts: Vec::new() })
    }

    /// The next value and its rows; a value of 0 rows is nothing.
    #[inline]
    pub fn push(&mut self, value: &T, rows: u64) {
        let before = self.pushed;
        self.pushed = before.saturating_add(rows);
        while self.pushed > before && self.cuts.len() < self.bins as usize - 1 {
            let rank = rank_of_cut(self.total, self.bins, self.cuts.len() as u32 + 1);
            if rank > self.pushed {
                break;
            }
            let rows_below = rank - before;
            self.cuts.push(Cut { value: value.clone(), rows_below, rows_of_value: rows, rank });
        }
    }

    /// The bins − 1 cuts in order; none if there are no rows. Errors: `TileTotal` if the rows pushed are not `total`.
    pub fn finish(self) -> Result<Vec<Cut<T>>> {
        if self.pushed != self.total {
            return Err(Error::TileTotal { declared: self.total, pushed: self.pushed });
        }
        Ok(self.cuts)
    }
}

/// Rows in groups 1 to `cut` together.
pub fn rank_of_cut(total: u64, bins: u32, cut: u32) -> u64 {
    let (bins, cut) = (u64::from(bins.max(1)), u64::from(cut));
    total / bins * cut + cut.min(total % bins)
}

/// The group, from 1, of a row: `is_after` says whether the row comes strictly after the last row below a cut, in the
/// order of (value, key). `cuts` are in order, in whatever form the caller keeps them.
pub fn tile_of<C>(cuts: &[C], is_after: impl FnMut(&C) -> bool) -> u32 {
    cuts.partition_point(is_after) as u32 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups of rows by their rank, straight from the definition.
    fn expected(total: u64, bins: u32) -> Vec<u32> {
        let (quotient, remainder) = (total / u64::from(bins), total % u64::from(bins));
        (1..=bins)
            .flat_map(|tile| {
                let rows = quotient + u64::from(u64::from(tile) <= remainder);
                std::iter::repeat_n(tile, rows as usize)
            })
            .collect()
    }

    #[test]
    fn groups_follow_the_definition_with_and_without_ties() -> Result<()> {
        for total in 0..40u64 {
            for bins in 1..12 {
                for tied in [1u64, 2, 3, 7, 40] {
                    // Row i has value i / tied and key i.
                    let mut cuts = TileCuts::new(total, bins)?;
                    for value in 0..total.div_ceil(tied) {
                        cuts.push(&value, tied.min(total - value * tied));
                    }
                    let cuts = cuts.finish()?;
                    assert_eq!(cuts.len(), if total == 0 { 0 } else { bins as usize - 1 });
                    let with_keys: Vec<_> = cuts.iter().map(|cut| (cut.value, cut.value * tied + cut.rows_below - 1)).collect();
                    let tiles: Vec<_> = (0..total).map(|row| tile_of(&with_keys, |cut| (row / tied, row) > *cut)).collect();
                    assert_eq!(tiles, expected(total, bins), "{total} rows, {bins} bins, {tied} tied");
                    assert!(cuts.iter().all(|cut| cut.rank == cut.value * tied + cut.rows_below));
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_cut_between_values_needs_no_key() -> Result<()> {
        let mut cuts = TileCuts::new(4, 2)?;
        cuts.push(&"a", 2);
        cuts.push(&"nobody", 0);
        cuts.push(&"b", 2);
        let cuts = cuts.finish()?;
        assert_eq!(cuts, [Cut { value: "a", rows_below: 2, rows_of_value: 2, rank: 2 }]);
        assert!(cuts[0].is_between_values());
        Ok(())
    }

    #[test]
    fn wrong_totals_and_no_bins_are_errors() -> Result<()> {
        assert_eq!(TileCuts::<u8>::new(4, 0).err(), Some(Error::NoTiles));
        let mut cuts = TileCuts::new(4, 2)?;
        cuts.push(&1, 3);
        assert_eq!(cuts.finish().err(), Some(Error::TileTotal { declared: 4, pushed: 3 }));
        Ok(())
    }
}
