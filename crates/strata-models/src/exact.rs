//! Exact sums of floats: whatever the order of the additions, the grouping of the merges or the number of
//! workers, the value is the exact sum rounded once. It never rounds before [`Sum::value`].
//!
//! A sum starts as four floats that keep each other's rounding errors, without any heap, so that millions of small
//! groups stay small; a sum that needs more becomes a fixed-point number as wide as the range of floats (Neal 2015).
//! Both stand for the same exact number.

mod chunks;
mod moments;

use crate::{Result, error::Error, reader};
use chunks::Chunks;
pub use moments::Moments;
pub(crate) use moments::mean;

/// The exact sum of the floats added to it.
///
/// The value of any NaN, or of +∞ and −∞ together, is NaN; else of any infinity, that infinity; a sum beyond
/// the largest float is the infinity of its sign, but only at the end: partial sums may pass the largest float
/// and come back. A sum of exactly nothing (also of −0.0 alone) is +0.0. Exact for up to 2^77 additions.
///
/// Source: Neal, *Fast exact summation using small and large superaccumulators*, 2015; Shewchuk, *Adaptive
/// precision floating-point arithmetic*, 1997.
#[derive(Clone)]
pub struct Sum(Repr);

#[derive(Clone)]
enum Repr {
    Few(Few),
    Many(Box<Chunks>),
    /// An infinity or NaN was added: the finite part no longer matters.
    NotFinite(f64),
}

/// Floats whose exact sum is the sum: the running sum, the running sum of its rounding errors, of theirs, and so on.
#[derive(Clone, Copy)]
struct Few([f64; FEW]);

const FEW: usize = 4;
/// Above this the error of an addition might itself overflow: such sums are held as chunks.
const FEW_MAX: f64 = f64::from_bits(0x7fb0_0000_0000_0000); // 2^1020
const WHAT: &str = "an exact sum";
const TAG_CHUNKS: u8 = 5;
const TAG_NOT_FINITE: u8 = 6;

impl Default for Sum {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sum({:e})", self.value())
    }
}

impl Sum {
    /// The sum of nothing: 0.
    pub const fn new() -> Self {
        Sum(Repr::Few(Few([0.0; FEW])))
    }

    /// Adds `x`.
    #[inline]
    pub fn add(&mut self, x: f64) {
        let is_added = match &mut self.0 {
            Repr::Few(few) => few.add(x),
            Repr::Many(chunks) if x.is_finite() => {
                chunks.add(x);
                true
            }
            _ => false,
        };
        if !is_added {
            self.add_rare(x);
        }
    }

    /// Adds `a · b` as `p + e` with `p` the rounded product and `e` its rounding error. Exact while
    /// 2^−968 ≤ |a · b| < 2^1024; below, off by less than 2^−1074 (a function of `a` and `b` alone, so still
    /// independent of order); above, an infinity.
    #[inline]
    pub fn add_product(&mut self, a: f64, b: f64) {
        let p = a * b;
        self.add(p);
        if p.is_finite() {
            self.add(a.mul_add(b, -p));
        }
    }

    /// Adds everything that was added to `other`.
    pub fn merge(&mut self, other: &Sum) {
        match (&mut self.0, &other.0) {
            (_, Repr::Few(few)) => {
                for part in few.0 {
                    self.add(part);
                }
            }
            (_, Repr::NotFinite(x)) => self.add(*x),
            (Repr::Many(chunks), Repr::Many(others)) => chunks.merge(others),
            (Repr::Few(few), Repr::Many(others)) => {
                let mut chunks = others.clone();
                for part in few.0 {
                    chunks.add(part);
                }
                self.0 = Repr::Many(chunks);
            }
            (Repr::NotFinite(_), Repr::Many(_)) => {}
        }
    }

    /// The exact sum, rounded once to the nearest float, ties to even.
    pub fn value(&self) -> f64 {
        match &self.0 {
            Repr::Few(few) => round(&Expansion::of(&few.0)),
            Repr::Many(chunks) => chunks.value(),
            Repr::NotFinite(x) => *x,
        }
    }

    /// The sum to twice the precision: `(value, rest)` with `rest` the rounded difference between the exact sum and
    /// `value`. The rest of a value that is not finite is 0.
    pub fn double_double(&self) -> (f64, f64) {
        let value = self.value();
        if !value.is_finite() {
            return (value, 0.0);
        }
        let mut rest = self.clone();
        rest.add(-value);
        (value, rest.value())
    }

    /// The floats whose exact sum this is, largest first: each is the rest so far, rounded. A function of the
    /// exact sum alone. None if the sum is not finite or rounds to an infinity.
    pub fn parts(&self) -> Option<Vec<f64>> {
        let mut rest = self.clone();
        let mut parts = Vec::new();
        loop {
            let part = rest.value();
            if !part.is_finite() {
                return None;
            }
            if part == 0.0 {
                return Some(parts);
            }
            parts.push(part);
            rest.add(-part);
        }
    }

    /// Appends the state. Equal sums give equal bytes, in whatever order they were made: 1 byte for 0, 9 for a
    /// float, at most 283.
    pub fn to_bytes(&self, bytes: &mut Vec<u8>) {
        if let Repr::NotFinite(x) = self.0 {
            bytes.push(TAG_NOT_FINITE);
            bytes.extend_from_slice(&x.to_le_bytes());
            return;
        }
        match self.parts() {
            Some(parts) if parts.len() <= FEW => {
                bytes.push(parts.len() as u8);
                for part in parts {
                    bytes.extend_from_slice(&part.to_le_bytes());
                }
            }
            _ => {
                bytes.push(TAG_CHUNKS);
                self.to_chunks().to_bytes(bytes);
            }
        }
    }

    /// Reads the state that [`Sum::to_bytes`] wrote. Errors: `Corrupt` if it is not exactly one state.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Sum> {
        let sum = Self::read(&mut bytes)?;
        reader::end(bytes, WHAT)?;
        Ok(sum)
    }

    /// Reads one state off the front of `bytes`. Errors: `Corrupt`.
    pub fn read(bytes: &mut &[u8]) -> Result<Sum> {
        let [tag] = reader::take(bytes, WHAT)?;
        let mut sum = Sum::new();
        match tag {
            0..=4 => {
                for _ in 0..tag {
                    let part = f64::from_le_bytes(reader::take(bytes, WHAT)?);
                    if !part.is_finite() {
                        return Err(Error::Corrupt { what: WHAT, detail: "a part of it is not finite" });
                    }
                    sum.add(part);
                }
            }
            TAG_CHUNKS => sum.0 = Repr::Many(Box::new(Chunks::read(bytes, WHAT)?)),
            TAG_NOT_FINITE => sum.add(f64::from_le_bytes(reader::take(bytes, WHAT)?)),
            _ => {
                return Err(Error::Corrupt { what: WHAT, detail: "its first byte is unknown" });
            }
        }
        Ok(sum)
    }

    /// Bytes on the heap, beyond `size_of::<Sum>()`: 0 for a short sum.
    pub fn heap_bytes(&self) -> usize {
        if matches!(self.0, Repr::Many(_)) { size_of::<Chunks>() } else { 0 }
    }

    /// What the short form cannot take: a fifth part, a huge number, an infinity or NaN.
    #[cold]
    #[inline(never)]
    fn add_rare(&mut self, x: f64) {
        match &mut self.0 {
            // INVARIANT: NaN is always the one NaN, whatever was added first.
            Repr::NotFinite(old) if x.is_nan() || (x.is_infinite() && x != *old) => *old = f64::NAN,
            Repr::NotFinite(_) => {}
            _ if x.is_nan() => self.0 = Repr::NotFinite(f64::NAN),
            _ if x.is_infinite() => self.0 = Repr::NotFinite(x),
            Repr::Many(chunks) => chunks.add(x),
            Repr::Few(_) => {
                let mut chunks = Box::new(self.to_chunks());
                chunks.add(x);
                self.0 = Repr::Many(chunks);
            }
        }
    }

    /// The finite sum as chunks.
    fn to_chunks(&self) -> Chunks {
        match &self.0 {
            Repr::Many(chunks) => (**chunks).clone(),
            Repr::Few(few) => {
                let mut chunks = Chunks::new();
                for part in few.0 {
                    chunks.add(part);
                }
                chunks
            }
            Repr::NotFinite(_) => Chunks::new(),
        }
    }
}

impl Few {
    /// Adds `x` and says true, or changes nothing and says false if the sum does not fit (or is not finite).
    #[inline]
    fn add(&mut self, x: f64) -> bool {
        let (a, error) = two_sum(self.0[0], x);
        let is_small = a.abs() < FEW_MAX; // false for NaN too
        if !is_small {
            return false;
        }
        let (b, error) = two_sum(self.0[1], error);
        if error != 0.0 {
            return self.add_deep(a, b, error);
        }
        self.0[0] = a;
        self.0[1] = b;
        true
    }

    /// Goes on below the second float, and joins all five if even the fourth leaves an error.
    fn add_deep(&mut self, a: f64, b: f64, error: f64) -> bool {
        let (c, error) = two_sum(self.0[2], error);
        let (d, error) = two_sum(self.0[3], error);
        if error == 0.0 {
            self.0 = [a, b, c, d];
            return true;
        }
        let fewest = Expansion::of(&[a, b, c, d, error]).compress();
        if fewest.len > FEW {
            return false;
        }
        let mut parts = [0.0; FEW];
        for (part, &float) in parts.iter_mut().zip(fewest.as_slice().iter().rev()) {
            *part = float;
        }
        self.0 = parts;
        true
    }
}

/// Floats of which no two have bits of the same weight: smallest first, none 0.
struct Expansion {
    len: usize,
    floats: [f64; FEW + 1],
}

impl Expansion {
    /// The expansion with the same exact sum as `floats`, at most [`FEW`] + 1 of them (Shewchuk's GROW-EXPANSION, one
    /// float at a time).
    fn of(floats: &[f64]) -> Self {
        let mut grown = Expansion { len: 0, floats: [0.0; FEW + 1] };
        for &float in floats {
            let mut top = float;
            let mut len = 0;
            for i in 0..grown.len {
                let (sum, error) = two_sum(top, grown.floats[i]);
                top = sum;
                len = grown.put(len, error);
            }
            grown.len = grown.put(len, top);
        }
        grown
    }

    /// The same sum in the fewest floats: growing leaves some of few bits each (Shewchuk's COMPRESS).
    fn compress(&self) -> Self {
        let mut down = [0.0; FEW + 1];
        let mut count = 0;
        let mut rest = 0.0;
        for &float in self.as_slice().iter().rev() {
            let (sum, error) = two_sum(rest, float);
            rest = sum;
            if error != 0.0 {
                down[count] = sum;
                count += 1;
                rest = error;
            }
        }
        let mut up = Expansion { len: 0, floats: [0.0; FEW + 1] };
        for &float in down[..count].iter().rev() {
            let (sum, error) = two_sum(float, rest);
            rest = sum;
            up.len = up.put(up.len, error);
        }
        up.len = up.put(up.len, rest);
        up
    }

    fn as_slice(&self) -> &[f64] {
        &self.floats[..self.len]
    }

    /// Writes `float` at `len` unless it is 0; gives the length after it.
    fn put(&mut self, len: usize, float: f64) -> usize {
        if float == 0.0 {
            return len;
        }
        self.floats[len] = float;
        len + 1
    }
}

/// The sum of an expansion, rounded once. Adds from the top until something is lost; what is lost, and the sign of what
/// lies below it, decide a tie.
fn round(expansion: &Expansion) -> f64 {
    let mut rest = expansion.as_slice().iter().rev();
    let mut top = rest.next().copied().unwrap_or(0.0);
    while let Some(&part) = rest.next() {
        let sum = top + part;
        let error = part - (sum - top);
        top = sum;
        if error != 0.0 {
            if let Some(&below) = rest.next()
                && (error < 0.0) == (below < 0.0)
            {
                // `error` may be exactly half a step, rounded to even: then `below` breaks the tie.
                let twice = error * 2.0;
                let next = top + twice;
                if next - top == twice {
                    top = next;
                }
            }
            break;
        }
    }
    top
}

/// `a + b` rounded, and the error of the rounding: together exact (Knuth).
#[inline]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_kept = sum - a;
    (sum, (a - (sum - b_kept)) + (b - b_kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> Sum {
        let mut sum = Sum::new();
        for &value in values {
            sum.add(value);
        }
        sum
    }

    #[test]
    fn short_sums_stay_off_the_heap() {
        let money = sum(&(0..10_000).map(|i| f64::from(i) * 0.01).collect::<Vec<_>>());
        assert_eq!(money.heap_bytes(), 0);
        assert!(size_of::<Sum>() <= 40);
        let wide = sum(&[1e300, 1e200, 1e100, 1.0, 1e-100]);
        assert_eq!(wide.heap_bytes(), size_of::<Chunks>());
        assert_eq!(wide.value(), 1e300);
    }

    #[test]
    fn ties_go_to_even_unless_something_lies_below() {
        let half = f64::EPSILON / 2.0;
        assert_eq!(sum(&[1.0, half]).value(), 1.0);
        assert_eq!(sum(&[1.0 + f64::EPSILON, half]).value(), 1.0 + 2.0 * f64::EPSILON);
        assert_eq!(sum(&[1.0, half, 1e-300]).value(), 1.0 + f64::EPSILON);
        assert_eq!(sum(&[1.0, half, -1e-300]).value(), 1.0);
    }

    #[test]
    fn what_is_not_finite_has_rules() {
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY, 1.0]).value().is_nan());
        assert!(sum(&[f64::NAN, f64::INFINITY]).value().is_nan());
        assert_eq!(sum(&[1.0, f64::NEG_INFINITY, 1e308]).value(), f64::NEG_INFINITY);
        assert_eq!(sum(&[f64::MAX, f64::MAX]).value(), f64::INFINITY);
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]).value(), f64::MAX);
        assert_eq!(sum(&[-0.0, -0.0]).value().to_bits(), 0);
        assert_eq!(sum(&[0.1, -0.1]).value().to_bits(), 0);
    }

    #[test]
    fn garbage_is_refused() {
        for bytes in [&[][..], &[7], &[1, 0], &[5, 2, 0, 0], &[5, 0, 60, 20], &[0, 0], &[1, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f]] {
            assert!(matches!(Sum::from_bytes(bytes), Err(Error::Corrupt { .. })), "{bytes:?}");
        }
    }
}
