//! The base weights of every cell of a table of margins, added up exactly at a dozen machine instructions a row. It never depends on their order.

use super::weights::{CellWeights, Near};
use crate::{Error, Result, reader};

/// Cells of a table of margins, at most: what stands in them is part of a plan.
pub const CELLS_MAX: usize = 65_536;

const WHAT: &str = "the weights of a table of margins";
/// How many powers of two above `base` a weight that is near may be.
const SPAN: u32 = 11;
/// How many powers of two below the first weight of all `base` is.
const BELOW: u32 = 5;
/// Exponents, as they stand in the bits of a float, that a first weight may have: those of its square are those of normal floats too.
const FIRST: std::ops::Range<u32> = 600..1400;
/// What is added to the exponent of a float of 1, as it stands in its bits.
const BIAS: u32 = 1023;
const MANTISSA: u64 = (1 << 52) - 1;

/// Weights of the rows of each cell of a table. A function of the weights alone.
#[derive(Debug, Clone, Default)]
pub struct TableWeights {
    outside: u64,
    /// The exponent, as it stands in its bits, of the least weight that is near; 0 while there is none.
    base: u32,
    /// Of the rows whose weights are near, by number.
    near: Vec<Line>,
    /// Of all others.
    far: Vec<CellWeights>,
    far_heap_bytes: usize,
}

/// What the weights of a cell come to, in whole numbers of one unit. It is one line of a processor's cache.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line {
    sum: u128,
    squares: u128,
    rows: u64,
    min: f64,
    max: f64,
}

impl Line {
    const NONE: Self = Self { sum: 0, squares: 0, rows: 0, min: f64::INFINITY, max: f64::NEG_INFINITY };

    /// Adds a weight of at least `base` and less than [`SPAN`] powers of two above it.
    #[inline]
    fn add(&mut self, weight: f64, base: u32) {
        let bits = weight.to_bits();
        let up = (bits >> 52) as u32 - base;
        // 53 bits, moved by less than 11.
        self.sum += u128::from((bits & MANTISSA | (1 << 52)) << (up & 15));
        let square = (weight * weight).to_bits();
        let up = (square >> 52) as u32 - square_base(base);
        self.squares += u128::from(square & MANTISSA | (1 << 52)) << (up & 63);
        self.rows += 1;
        self.min = if weight < self.min { weight } else { self.min };
        self.max = if weight > self.max { weight } else { self.max };
    }
}

/// The exponent of the square of a weight of the exponent `base`, or the one below it.
const fn square_base(base: u32) -> u32 {
    2 * base - BIAS
}

impl TableWeights {
    /// Rows that lie in no cell.
    pub const fn outside(&self) -> u64 {
        self.outside
    }

    /// Adds rows: the cell of each, below 0 for none, and its weight. Errors: `Shape` if there is no such cell, or if one list is longer.
    pub fn add_rows(&mut self, cells: &[i32], weights: &[f64]) -> Result<()> {
        if cells.len() != weights.len() {
            return Err(Error::Shape { what: WHAT, found: weights.len(), wanted: cells.len() });
        }
        let last = cells.iter().fold(-1, |last, cell| last.max(*cell));
        if last >= CELLS_MAX as i32 {
            return Err(Error::Shape { what: "cells of a table of margins", found: last as usize + 1, wanted: CELLS_MAX });
        }
        if self.base == 0 {
            self.base = weights.iter().map(|w| (w.to_bits() >> 52) as u32).find(|e| FIRST.contains(e)).map_or(0, |e| e - BELOW);
        }
        if self.near.len() as i64 <= i64::from(last) {
            self.near.resize(last as usize + 1, Line::NONE);
        }
        let (base, some) = (self.base, self.base > 0);
        let (least, span) = (u64::from(base) << 52, u64::from(SPAN) << 52);
        for (cell, weight) in cells.iter().zip(weights) {
            // What is below 0 is far from everything, and infinities are.
            let is_near = some && weight.to_bits().wrapping_sub(least) < span;
            match self.near.get_mut(*cell as usize) {
                Some(line) if is_near => line.add(*weight, base),
                _ => self.add_far(*cell, *weight),
            }
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn add_far(&mut self, cell: i32, weight: f64) {
        match usize::try_from(cell) {
            Ok(cell) => self.change_far(cell, |weights| weights.add(weight)),
            Err(_) => self.outside += 1,
        }
    }

    fn change_far(&mut self, cell: usize, change: impl FnOnce(&mut CellWeights)) {
        if cell >= self.far.len() {
            self.far.resize_with(cell + 1, CellWeights::new);
        }
        let weights = &mut self.far[cell];
        let before = weights.heap_bytes();
        change(weights);
        let now = weights.heap_bytes();
        self.far_heap_bytes = self.far_heap_bytes + now - before;
    }

    /// Adds the rows of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.outside += other.outside;
        for (cell, weights) in other.cells() {
            self.change_far(cell, |own| own.merge(&weights));
        }
    }

    /// The number of each cell that has rows, rising, and their weights.
    pub fn cells(&self) -> impl Iterator<Item = (usize, CellWeights)> {
        (0..self.near.len().max(self.far.len())).filter_map(|cell| {
            let near = self.near.get(cell).filter(|line| line.rows > 0).map(|line| self.weights(line));
            let far = self.far.get(cell).filter(|weights| weights.rows() > 0);
            let weights = match (near, far) {
                (Some(mut near), Some(far)) => {
                    near.merge(far);
                    near
                }
                (Some(near), None) => near,
                (None, far) => far?.clone(),
            };
            Some((cell, weights))
        })
    }

    fn weights(&self, line: &Line) -> CellWeights {
        let of = |base: u32, total: u128| Near { base, total: total as i128 };
        let (sum, squares) = (of(self.base, line.sum), of(square_base(self.base), line.squares));
        CellWeights::of_near(line.rows as i64, sum, squares, line.min, line.max)
    }

    /// Appends the state; equal rows give equal bytes.
    pub fn to_bytes(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.outside.to_le_bytes());
        for (cell, weights) in self.cells() {
            bytes.extend_from_slice(&(cell as u32).to_le_bytes());
            weights.to_bytes(bytes);
        }
    }

    /// Reads the state that [`TableWeights::to_bytes`] wrote. Errors: `Corrupt` if it is not exactly one state.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self> {
        let mut table = Self { outside: u64::from_le_bytes(reader::take(&mut bytes, WHAT)?), ..Self::default() };
        while !bytes.is_empty() {
            let cell = u32::from_le_bytes(reader::take(&mut bytes, WHAT)?) as usize;
            let weights = CellWeights::read(&mut bytes)?;
            if cell >= CELLS_MAX {
                return Err(Error::Corrupt { what: WHAT, detail: "it has a cell behind the last" });
            }
            table.change_far(cell, |own| own.merge(&weights));
        }
        Ok(table)
    }

    /// Whether no row was added.
    pub fn is_empty(&self) -> bool {
        self.outside == 0 && self.cells().next().is_none()
    }

    /// Bytes on the heap, beyond `size_of::<TableWeights>()`.
    pub const fn heap_bytes(&self) -> usize {
        self.near.capacity() * size_of::<Line>() + self.far.capacity() * size_of::<CellWeights>() + self.far_heap_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weight() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => 0.1..9.0,
            2 => 1e-3..1e6,
            1 => Just(0.0),
            1 => Just(-0.0),
            1 => Just(-2.5),
            1 => any::<f64>().prop_filter("a number", |x| !x.is_nan()),
            2 => (0_u64..2047, any::<u64>()).prop_map(|(e, m)| f64::from_bits(e << 52 | m & MANTISSA)),
        ]
    }

    fn bytes(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = vec![];
        write(&mut bytes);
        bytes
    }

    fn table(rows: &[(i32, f64)], batch: usize) -> TableWeights {
        let mut table = TableWeights::default();
        for rows in rows.chunks(batch) {
            let (cells, weights): (Vec<i32>, Vec<f64>) = rows.iter().copied().unzip();
            table.add_rows(&cells, &weights).unwrap();
        }
        table
    }

    proptest! {
        #[test]
        fn a_table_has_the_weights_of_each_cells_rows(
            rows in prop::collection::vec((-1_i32..6, weight()), 0..300),
            batch in 1_usize..50,
            cut in 0_usize..300,
        ) {
            let found = table(&rows, batch);
            prop_assert_eq!(found.outside() as usize, rows.iter().filter(|r| r.0 < 0).count());
            for cell in 0..6 {
                let mut wanted = CellWeights::new();
                rows.iter().filter(|r| r.0 == cell).for_each(|r| wanted.add(r.1));
                let one = found.cells().find(|(n, _)| *n == cell as usize).map(|(_, w)| w);
                prop_assert_eq!(one.is_some(), wanted.rows() > 0);
                prop_assert_eq!(bytes(|b| one.unwrap_or_default().to_bytes(b)), bytes(|b| wanted.to_bytes(b)));
            }
            prop_assert_eq!(found.is_empty(), rows.is_empty());
            // In another order, merged, written and read: the same.
            let whole = bytes(|b| found.to_bytes(b));
            let (before, behind) = rows.split_at(cut.min(rows.len()));
            let mut other = table(&behind.iter().rev().copied().collect::<Vec<_>>(), batch + 3);
            other.merge(&table(before, batch));
            prop_assert_eq!(bytes(|b| other.to_bytes(b)), whole.clone());
            prop_assert_eq!(bytes(|b| TableWeights::from_bytes(&whole).unwrap().to_bytes(b)), whole);
        }
    }

    #[test]
    fn weights_that_are_near_each_other_need_one_line_a_cell() {
        let rows: Vec<(i32, f64)> = (0..10_000).map(|i| (i % 540, 0.5 + f64::from(i) / 10_000.0)).collect();
        let mut found = table(&rows, 8192);
        assert!(found.far.is_empty() && size_of::<Line>() == 64, "{} cells have others", found.far.len());
        found.add_rows(&[7], &[1e30]).unwrap();
        assert_eq!((found.far.len(), found.cells().nth(7).unwrap().1.max()), (8, 1e30));
    }

    #[test]
    fn rows_of_no_table_are_refused() {
        let mut table = TableWeights::default();
        assert!(table.add_rows(&[0], &[]).unwrap_err().to_string().contains("0 given, 1 needed"));
        assert!(table.add_rows(&[65_536], &[1.0]).unwrap_err().to_string().contains("cells of a table of margins"));
        assert!(table.is_empty());
    }
}
