//! Edges between groups at linearly interpolated quantiles, from counts of distinct values. Never splits rows of one value.

use crate::{Error, Result};

/// Edges of `bins` groups of `total` rows: the i-th quantile lies at rank (total − 1)·i/bins, counted from 0, between the values
/// of the ranks around it. Takes (value, count), values rising, each once. O(values + bins²) time, O(bins) memory.
///
/// Source: Hyndman & Fan 1996, definition 7.
#[derive(Debug, Clone)]
pub struct QuantileEdges {
    bins: u32,
    total: u64,
    pushed: u64,
    /// Of each edge from the lowest: the values at the rank below it and at the next.
    around: Vec<(Option<f64>, Option<f64>)>,
    open: usize,
}

impl QuantileEdges {
    /// Ready for the first value. Errors: `NoTiles` if `bins` is 0.
    pub fn new(total: u64, bins: u32) -> Result<Self> {
        if bins == 0 {
            return Err(Error::NoTiles);
        }
        Ok(Self { bins, total, pushed: 0, around: vec![(None, None); bins as usize + 1], open: 0 })
    }

    /// The next value and its rows; a value of 0 rows is nothing.
    pub fn push(&mut self, value: f64, rows: u64) {
        self.pushed = self.pushed.saturating_add(rows);
        for i in self.open..self.around.len() {
            let (rank, between) = self.rank(i);
            if rank >= self.pushed {
                break;
            }
            let next = if between == 0 { rank } else { rank + 1 };
            let (below, above) = &mut self.around[i];
            below.get_or_insert(value);
            if next < self.pushed {
                above.get_or_insert(value);
            }
        }
        while self.around.get(self.open).is_some_and(|(_, above)| above.is_some()) {
            self.open += 1;
        }
    }

    /// The edges between groups, rising, each once: at most `bins` − 1. The lowest and the highest value are no edges between
    /// groups, so there are fewer where many rows have one value. Errors: `TileTotal` if other rows were pushed than were announced.
    pub fn finish(self) -> Result<Vec<f64>> {
        let mut edges = self.quantiles()?;
        edges.dedup();
        let inner = edges.len().saturating_sub(1);
        Ok(edges.into_iter().take(inner).skip(1).collect())
    }

    /// All `bins` + 1 quantiles, the lowest and the highest value among them, rising; none where there is no row. Errors: as [`Self::finish`].
    pub fn quantiles(self) -> Result<Vec<f64>> {
        if self.pushed != self.total {
            return Err(Error::TileTotal { declared: self.total, pushed: self.pushed });
        }
        let mut edges: Vec<f64> = vec![];
        for (i, around) in self.around.iter().enumerate() {
            if let (Some(below), Some(above)) = around {
                let share = self.rank(i).1 as f64 / f64::from(self.bins);
                let edge = match share < 0.5 {
                    true => below + (above - below) * share,
                    false => above - (above - below) * (1.0 - share),
                };
                edges.push(if below == above { *below } else { edge });
            }
        }
        Ok(edges)
    }

    /// The whole rank at or below an edge, and how many `bins`-ths of a rank it lies beyond.
    fn rank(&self, edge: usize) -> (u64, u64) {
        let bins = u128::from(self.bins);
        let at = u128::from(self.total.saturating_sub(1)) * edge as u128;
        ((at / bins) as u64, (at % bins) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(values: &[(f64, u64)], bins: u32) -> Vec<f64> {
        let mut edges = QuantileEdges::new(values.iter().map(|(_, n)| n).sum(), bins).unwrap();
        values.iter().for_each(|(v, n)| edges.push(*v, *n));
        edges.finish().unwrap()
    }

    #[test]
    fn quantiles_lie_between_the_ranks_around_them() {
        // Ranks 0 to 4; quartiles at 1, 2, 3.
        assert_eq!(edges(&[(1.0, 1), (2.0, 1), (4.0, 1), (8.0, 1), (16.0, 1)], 4), [2.0, 4.0, 8.0]);
        // Ranks 0 to 3; thirds at 1 and 2, quarters at 0.75, 1.5, 2.25.
        assert_eq!(edges(&[(0.0, 1), (4.0, 1), (8.0, 1), (20.0, 1)], 4), [3.0, 6.0, 11.0]);
        assert_eq!(edges(&[(0.0, 1), (10.0, 1)], 4), [2.5, 5.0, 7.5]);
    }

    #[test]
    fn equal_edges_are_dropped_so_that_ties_stay_together() {
        assert_eq!(edges(&[(1.0, 6), (2.0, 1), (3.0, 1), (9.0, 2)], 5), [1.4, 4.2]);
        assert_eq!(edges(&[(1.0, 9), (2.0, 1)], 5), Vec::<f64>::new());
        assert_eq!(edges(&[(7.0, 3)], 5), Vec::<f64>::new());
        assert_eq!(edges(&[], 5), Vec::<f64>::new());
    }

    #[test]
    fn rows_that_were_not_announced_are_refused() {
        let mut edges = QuantileEdges::new(3, 2).unwrap();
        edges.push(1.0, 1);
        assert_eq!(edges.finish(), Err(Error::TileTotal { declared: 3, pushed: 1 }));
        assert!(QuantileEdges::new(3, 0).is_err());
    }
}
