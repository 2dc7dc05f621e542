//! The base weights of a cell's rows, added up exactly at a few machine instructions a row. It never depends on their order.

use crate::exact::{Moments, Sum};
use crate::{Result, reader};

const WHAT: &str = "the weights of a cell";
/// Rows that are added as whole numbers, at most: 53 bits of a float, moved by up to [`SPAN`], and as many rows stay below 2^127.
const ROWS_MAX: i64 = 1 << 33;
/// How many powers of two the greatest float may be above the least.
const SPAN: u32 = 40;
/// Exponents of floats, as they stand in their bits, that may come first: those of whatever comes later, and of parts of sums, are normal too.
const FIRST: std::ops::Range<u32> = 300..1700;
/// Bits of a part of a sum that is a float again.
const PART: u32 = 43;

/// Base weights of the rows of a cell: enough for its sum and for the diagnostics of whatever factor it gets. A function of the weights alone.
#[derive(Debug, Clone)]
pub struct CellWeights {
    rows: i64,
    sum: Near,
    squares: Near,
    /// What is not near the others.
    rest: Option<Box<Rest>>,
    min: f64,
    max: f64,
}

#[derive(Debug, Clone, Default)]
struct Rest {
    sum: Sum,
    squares: Sum,
}

/// The sum of floats above 0 of like size: `total` times 2 to the power of `base` − 1075, exactly. `base` is 0 while there are none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Near {
    pub(super) base: u32,
    pub(super) total: i128,
}

impl Near {
    /// Adds `x`, or says false where it is not near the first one.
    #[inline]
    fn add(&mut self, x: f64) -> bool {
        let bits = x.to_bits();
        // With the sign: whatever is below 0 is far from everything.
        let exponent = (bits >> 52) as u32;
        if self.base == 0 && FIRST.contains(&exponent) {
            self.base = exponent - SPAN / 2;
        }
        let up = exponent.wrapping_sub(self.base);
        if up > SPAN || self.base == 0 {
            return false;
        }
        self.total += i128::from(bits & ((1 << 52) - 1) | (1 << 52)) << up;
        true
    }

    /// Floats of which it is the sum.
    fn parts(self) -> impl Iterator<Item = f64> {
        let part = move |i: u32| {
            let bits = (self.total >> (i * PART)) & ((1 << PART) - 1);
            bits as f64 * f64::from_bits(u64::from(self.base + i * PART - 52) << 52)
        };
        (0..3).filter(move |_| self.total > 0).map(part)
    }
}

impl Default for CellWeights {
    fn default() -> Self {
        Self::new()
    }
}

impl CellWeights {
    /// Those of no rows.
    pub const fn new() -> Self {
        let none = Near { base: 0, total: 0 };
        Self { rows: 0, sum: none, squares: none, rest: None, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }

    /// Those of `rows` rows, at least one, that have been added up. INVARIANT: bases are exponents of normal floats, at least 53.
    pub(super) const fn of_near(rows: i64, sum: Near, squares: Near, min: f64, max: f64) -> Self {
        Self { rows, sum, squares, rest: None, min, max }
    }

    /// Adds the weight of a row.
    #[inline]
    pub fn add(&mut self, weight: f64) {
        let near = self.rows < ROWS_MAX;
        self.rows += 1;
        // −0 is 0, whichever came first.
        self.min = self.min.min(weight + 0.0);
        self.max = self.max.max(weight + 0.0);
        let square = weight * weight;
        if !(near && self.sum.add(weight)) {
            self.far().sum.add(weight);
        }
        if !(near && self.squares.add(square)) {
            self.far().squares.add(square);
        }
    }

    #[cold]
    #[inline(never)]
    fn far(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// Adds the rows of `other`.
    pub fn merge(&mut self, other: &Self) {
        let Moments { n, sum, squares } = other.moments();
        self.rows += n;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        let rest = self.far();
        rest.sum.merge(&sum);
        rest.squares.merge(&squares);
    }

    /// How many rows there are.
    pub const fn rows(&self) -> i64 {
        self.rows
    }

    /// The least weight; +∞ without rows.
    pub const fn min(&self) -> f64 {
        self.min
    }

    /// The greatest weight; −∞ without rows.
    pub const fn max(&self) -> f64 {
        self.max
    }

    /// Rows, the exact sum of their weights, and the exact sum of the squares of these, each rounded to a float.
    pub fn moments(&self) -> Moments {
        let Rest { mut sum, mut squares } = self.rest.as_deref().cloned().unwrap_or_default();
        self.sum.parts().for_each(|part| sum.add(part));
        self.squares.parts().for_each(|part| squares.add(part));
        Moments { n: self.rows, sum, squares }
    }

    /// Appends the state; equal weights give equal bytes.
    pub fn to_bytes(&self, bytes: &mut Vec<u8>) {
        self.moments().to_bytes(bytes);
        bytes.extend_from_slice(&self.min.to_le_bytes());
        bytes.extend_from_slice(&self.max.to_le_bytes());
    }

    /// Reads one state off the front of `bytes`. Errors: `Corrupt`.
    pub fn read(bytes: &mut &[u8]) -> Result<Self> {
        let Moments { n, sum, squares } = Moments::read(bytes)?;
        let [min, max] = [reader::take(bytes, WHAT)?, reader::take(bytes, WHAT)?].map(f64::from_le_bytes);
        Ok(Self { rows: n, rest: Some(Box::new(Rest { sum, squares })), min, max, ..Self::new() })
    }

    /// Reads the state that [`CellWeights::to_bytes`] wrote. Errors: `Corrupt` if it is not exactly one state.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self> {
        let weights = Self::read(&mut bytes)?;
        reader::end(bytes, WHAT)?;
        Ok(weights)
    }

    /// Bytes on the heap, beyond `size_of::<CellWeights>()`.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| size_of::<Rest>() + rest.sum.heap_bytes() + rest.squares.heap_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_are_those_of_exact_sums(
            floats in prop::collection::vec(
                prop_oneof![0.1..9.0, 1e-3..1e6, Just(0.0), Just(-2.5), any::<f64>(), (0_u64..2047).prop_map(|e| f64::from_bits(e << 52 | 0x9_1234_5678))],
                0..200,
            ),
            cut in 0_usize..200,
        ) {
            let (mut all, mut sum, mut squares) = (CellWeights::new(), Sum::new(), Sum::new());
            for x in &floats {
                all.add(*x);
                sum.add(*x);
                squares.add(x * x);
            }
            let bytes = |sum: &Sum| { let mut bytes = vec![]; sum.to_bytes(&mut bytes); bytes };
            let found = all.moments();
            prop_assert_eq!((found.n, bytes(&found.sum), bytes(&found.squares)), (floats.len() as i64, bytes(&sum), bytes(&squares)));
            // In another order, and merged, the same.
            let (before, behind) = floats.split_at(cut.min(floats.len()));
            let (mut one, mut other) = (CellWeights::new(), CellWeights::new());
            behind.iter().rev().for_each(|x| one.add(*x));
            before.iter().for_each(|x| other.add(*x));
            one.merge(&other);
            let whole = |weights: &CellWeights| { let mut bytes = vec![]; weights.to_bytes(&mut bytes); bytes };
            prop_assert_eq!(whole(&one), whole(&all));
            prop_assert_eq!(whole(&CellWeights::from_bytes(&whole(&all)).unwrap()), whole(&all));
        }
    }

    #[test]
    fn like_weights_need_no_rest() {
        let mut weights = CellWeights::new();
        (100..20_000).for_each(|i| weights.add(f64::from(i) / 7.0));
        assert_eq!(weights.heap_bytes(), 0);
        weights.add(0.0);
        assert!(weights.heap_bytes() > 0);
    }
}
