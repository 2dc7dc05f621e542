//! Count, exact sum and exact sum of squares: what a mean and a variance need. It never subtracts rounded
//! numbers, so a constant column has variance 0 and a tiny spread around a huge mean is not lost.

use super::Sum;
use crate::{Result, reader};

const WHAT: &str = "moments";

/// The moments of the floats added. Exact for |x| between 2^−484 and 2^511 (or 0) and fewer than 2^53 floats;
/// smaller squares lose bits below 2^−1074, larger overflow and make the variance NaN.
#[derive(Debug, Clone, Default)]
pub struct Moments {
    /// How many floats were added.
    pub n: i64,
    /// Their exact sum.
    pub sum: Sum,
    /// The exact sum of their squares.
    pub squares: Sum,
}

impl Moments {
    /// The moments of nothing.
    pub const fn new() -> Self {
        Moments { n: 0, sum: Sum::new(), squares: Sum::new() }
    }

    /// Adds `x`.
    #[inline]
    pub fn add(&mut self, x: f64) {
        self.n += 1;
        self.sum.add(x);
        self.squares.add_product(x, x);
    }

    /// Adds everything that was added to `other`.
    pub fn merge(&mut self, other: &Moments) {
        self.n += other.n;
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
    }

    /// Mean; none of no floats.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| mean(&self.sum, self.n))
    }

    /// Population variance Σ(x − mean)²/n, ≥ 0; none of no floats.
    pub fn variance_population(&self) -> Option<f64> {
        (self.n > 0).then(|| self.variance(self.n))
    }

    /// Sample variance Σ(x − mean)²/(n − 1), ≥ 0; none of fewer than two floats.
    pub fn variance_sample(&self) -> Option<f64> {
        (self.n > 1).then(|| self.variance(self.n - 1))
    }

    /// Appends the state; equal moments give equal bytes.
    pub fn to_bytes(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.n.to_le_bytes());
        self.sum.to_bytes(bytes);
        self.squares.to_bytes(bytes);
    }

    /// Reads the state that [`Moments::to_bytes`] wrote. Errors: `Corrupt` if it is not exactly one state.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Moments> {
        let moments = Self::read(&mut bytes)?;
        reader::end(bytes, WHAT)?;
        Ok(moments)
    }

    /// Reads one state off the front of `bytes`. Errors: `Corrupt`.
    pub fn read(bytes: &mut &[u8]) -> Result<Moments> {
        Ok(Moments { n: reader::take_i64(bytes, WHAT)?, sum: Sum::read(bytes)?, squares: Sum::read(bytes)? })
    }

    /// Bytes on the heap, beyond `size_of::<Moments>()`.
    pub fn heap_bytes(&self) -> usize {
        self.sum.heap_bytes() + self.squares.heap_bytes()
    }

    /// (n·Σx² − (Σx)²) / (n·divisor), the numerator exact; all scaled by a power of two near 1/n so that squares of
    /// large sums do not overflow.
    fn variance(&self, divisor: i64) -> f64 {
        let (Some(sum), Some(squares)) = (self.sum.parts(), self.squares.parts()) else {
            return f64::NAN;
        };
        let n = self.n as f64;
        let scale = f64::from_bits((1023 - u64::from(self.n.unsigned_abs().ilog2())) << 52);
        let mut numerator = Sum::new();
        for part in squares {
            numerator.add_product(part * scale, n * scale);
        }
        for (i, &a) in sum.iter().enumerate() {
            numerator.add_product(-a * scale, a * scale);
            for &b in &sum[..i] {
                numerator.add_product(-2.0 * a * scale, b * scale);
            }
        }
        let variance = numerator.value() / ((n * scale) * (divisor as f64 * scale));
        // Squares that fell below the smallest float can make the exact difference negative.
        if variance < 0.0 { 0.0 } else { variance }
    }
}

/// `sum / n` from twice the precision, `n` > 0.
pub(crate) fn mean(sum: &Sum, n: i64) -> f64 {
    let (value, rest) = sum.double_double();
    let n = n as f64;
    let quotient = value / n;
    if !quotient.is_finite() {
        return quotient;
    }
    quotient + ((-quotient).mul_add(n, value) + rest) / n
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: impl IntoIterator<Item = f64>) -> Moments {
        let mut moments = Moments::new();
        values.into_iter().for_each(|value| moments.add(value));
        moments
    }

    #[test]
    fn a_constant_column_has_no_variance() {
        for constant in [0.1, 1e150, 123_456.789, 3e-140, 0.0] {
            let constant_column = moments((0..1001).map(|_| constant));
            assert_eq!(constant_column.variance_population(), Some(0.0));
            assert_eq!(constant_column.variance_sample(), Some(0.0));
            assert_eq!(constant_column.mean(), Some(constant));
        }
    }

    #[test]
    fn a_small_spread_around_a_huge_mean_is_kept() {
        let near = moments((0..1000).map(|i| 1e15 + f64::from(i % 2)));
        assert_eq!(near.variance_population(), Some(0.25));
        assert_eq!(near.mean(), Some(1e15 + 0.5));
        let one_to_five = moments((1..=5).map(f64::from));
        assert_eq!(one_to_five.variance_population(), Some(2.0));
        assert_eq!(one_to_five.variance_sample(), Some(2.5));
    }

    #[test]
    fn too_few_floats_have_none() {
        assert_eq!(Moments::new().mean(), None);
        assert_eq!(Moments::new().variance_population(), None);
        assert_eq!(moments([7.0]).variance_sample(), None);
        assert_eq!(moments([7.0]).variance_population(), Some(0.0));
        assert!(moments([1.0, f64::NAN]).variance_population().is_some_and(f64::is_nan));
    }
}
