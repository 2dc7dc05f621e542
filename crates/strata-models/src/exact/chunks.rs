//! The wide form of an exact sum: a fixed-point number over the whole range of floats, in chunks of 32 bits
//! whose carries wait. It never rounds but in [`Chunks::value`], and never sees a number that is not finite.

use crate::{Error, Result, reader};

/// Chunk `i` counts units of 2^(32·i − 1074); the last leaves room for 2^77 additions of the largest float.
const CHUNKS: usize = 68;
const LOW: i64 = 0xffff_ffff;
/// An addition changes a chunk by less than 2^52 + 2^32: so many fit in 63 bits before carries must move.
const PENDING_MAX: u32 = 1000;

#[derive(Clone)]
pub(super) struct Chunks {
    chunks: [i64; CHUNKS],
    pending: u32,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Chunks { chunks: [0; CHUNKS], pending: 0 }
    }

    /// Adds a finite `x`.
    #[inline]
    pub(super) fn add(&mut self, x: f64) {
        let bits = x.to_bits();
        let fraction = bits & ((1 << 52) - 1);
        let exponent = (bits >> 52) & 0x7ff;
        // |x| = mantissa · 2^(position − 1074); subnormals have no leading 1.
        let (mantissa, position) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        let (chunk, shift) = ((position >> 5) as usize, position & 31);
        let low = ((mantissa << shift) as i64) & LOW;
        let high = (mantissa >> (32 - shift)) as i64;
        if x.is_sign_negative() {
            self.chunks[chunk] -= low;
            self.chunks[chunk + 1] -= high;
        } else {
            self.chunks[chunk] += low;
            self.chunks[chunk + 1] += high;
        }
        self.pending += 1;
        if self.pending >= PENDING_MAX {
            self.carry();
        }
    }

    pub(super) fn merge(&mut self, other: &Chunks) {
        self.carry();
        for (mine, theirs) in self.chunks.iter_mut().zip(&other.chunks) {
            *mine += theirs;
        }
        self.pending = other.pending + 1;
        if self.pending >= PENDING_MAX {
            self.carry();
        }
    }

    /// The nearest float, ties to even; an infinity beyond the largest.
    pub(super) fn value(&self) -> f64 {
        let (negative, magnitude) = self.magnitude();
        let Some(top) = magnitude.iter().rposition(|&chunk| chunk != 0) else {
            return 0.0;
        };
        let width = 32 * top + 32 - magnitude[top].leading_zeros() as usize;
        let rounded = if width <= 53 {
            // The bits of a float up to 2^53 units of 2^−1074 are that count itself.
            f64::from_bits(bits_from(&magnitude, 0))
        } else {
            let shift = width - 53;
            let kept = bits_from(&magnitude, shift) & ((1 << 53) - 1);
            let half = bit(&magnitude, shift - 1);
            let up = half && (kept & 1 == 1 || any_below(&magnitude, shift - 1));
            // Rounding up to 2^53 carries into the exponent, and the largest exponent is infinity: both by plain addition.
            match (shift as u64) < 2046 {
                true => f64::from_bits(((shift as u64) << 52) + kept + u64::from(up)),
                false => f64::INFINITY,
            }
        };
        if negative { -rounded } else { rounded }
    }

    /// Sign, first chunk, number of chunks, then that many chunks of 32 bits.
    pub(super) fn to_bytes(&self, bytes: &mut Vec<u8>) {
        let (negative, magnitude) = self.magnitude();
        let first = magnitude.iter().position(|&chunk| chunk != 0).unwrap_or(0);
        let last = magnitude.iter().rposition(|&chunk| chunk != 0).map_or(first, |last| last + 1);
        bytes.extend_from_slice(&[u8::from(negative), first as u8, (last - first) as u8]);
        for chunk in &magnitude[first..last] {
            bytes.extend_from_slice(&chunk.to_le_bytes());
        }
    }

    /// Reads what [`Chunks::to_bytes`] wrote. Errors: `Corrupt`.
    pub(super) fn read(bytes: &mut &[u8], what: &'static str) -> Result<Self> {
        let [negative, first, count] = reader::take(bytes, what)?;
        if negative > 1 || usize::from(first) + usize::from(count) > CHUNKS {
            return Err(Error::Corrupt { what, detail: "its chunks are out of range" });
        }
        let mut new = Chunks::new();
        for chunk in &mut new.chunks[usize::from(first)..][..usize::from(count)] {
            let magnitude = i64::from(u32::from_le_bytes(reader::take(bytes, what)?));
            *chunk = if negative == 1 { -magnitude } else { magnitude };
        }
        new.carry();
        Ok(new)
    }

    /// Moves carries up: after it every chunk but the last is in [0, 2^32).
    fn carry(&mut self) {
        let mut carried = 0;
        for chunk in &mut self.chunks[..CHUNKS - 1] {
            let total = *chunk + carried;
            *chunk = total & LOW;
            carried = total >> 32;
        }
        self.chunks[CHUNKS - 1] += carried;
        self.pending = 1;
    }

    /// Sign and absolute value, every chunk below 2^32.
    fn magnitude(&self) -> (bool, [u32; CHUNKS]) {
        let mut copy = self.clone();
        copy.carry();
        // INVARIANT: the chunks below the last are not negative after a carry, so the last has the sign of the sum.
        let negative = copy.chunks[CHUNKS - 1] < 0;
        if negative {
            for chunk in &mut copy.chunks {
                *chunk = -*chunk;
            }
            copy.carry();
        }
        (negative, copy.chunks.map(|chunk| chunk as u32))
    }
}

/// 64 bits from bit `from` on; zeros beyond the end.
fn bits_from(magnitude: &[u32; CHUNKS], from: usize) -> u64 {
    let word = |i: usize| u128::from(magnitude.get(from / 32 + i).copied().unwrap_or(0));
    ((word(0) | word(1) << 32 | word(2) << 64) >> (from % 32)) as u64
}

fn bit(magnitude: &[u32; CHUNKS], at: usize) -> bool {
    magnitude[at / 32] >> (at % 32) & 1 == 1
}

fn any_below(magnitude: &[u32; CHUNKS], at: usize) -> bool {
    magnitude[..at / 32].iter().any(|&chunk| chunk != 0) || magnitude[at / 32] & ((1 << (at % 32)) - 1) != 0
}
