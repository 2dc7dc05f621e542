//! Who is in both of two waves. It never needs anything of a person but the key.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Two waves beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// People of the first wave.
    pub before: u64,
    /// People of the second.
    pub after: u64,
    /// People in both.
    pub common: u64,
    /// In the first only.
    pub lost: u64,
    /// In the second only.
    pub new: u64,
}

impl Overlap {
    /// Of the first wave, the part that is in the second; none if the first had nobody.
    pub fn retention(&self) -> Option<f64> {
        (self.before > 0).then(|| self.common as f64 / self.before as f64)
    }

    /// Of the second wave, the part that was in the first; none if the second has nobody.
    pub fn returning(&self) -> Option<f64> {
        (self.after > 0).then(|| self.common as f64 / self.after as f64)
    }
}

/// From three counts.
///
/// Errors: `Shape` if more are in both than in one.
pub fn overlap_of(before: u64, after: u64, common: u64) -> Result<Overlap> {
    if common > before.min(after) {
        let (found, wanted) = (before.min(after) as usize, common as usize);
        return Err(Error::Shape { what: "people of a wave", found, wanted });
    }
    Ok(Overlap { before, after, common, lost: before - common, new: after - common })
}

/// Of the keys of two waves, each sorted and without duplicates. O(before + after).
///
/// Errors: `Shape` if keys are not sorted or there twice.
pub fn overlap<K: Ord>(before: &[K], after: &[K]) -> Result<Overlap> {
    for keys in [before, after] {
        if let Some(at) = keys.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(Error::Shape { what: "sorted keys of a wave, each once", found: at + 1, wanted: keys.len() });
        }
    }
    let (mut a, mut b, mut common) = (0, 0, 0);
    while a < before.len() && b < after.len() {
        let order = before[a].cmp(&after[b]);
        a += usize::from(order.is_le());
        b += usize::from(order.is_ge());
        common += u64::from(order.is_eq());
    }
    overlap_of(before.len() as u64, after.len() as u64, common)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_merged() -> Result<()> {
        let found = overlap(&["a", "c", "d", "f"], &["b", "c", "f"])?;
        assert_eq!(found, Overlap { before: 4, after: 3, common: 2, lost: 2, new: 1 });
        assert_eq!((found.retention(), found.returning()), (Some(0.5), Some(2.0 / 3.0)));
        let none = overlap::<u64>(&[], &[])?;
        assert_eq!((none.retention(), none.returning()), (None, None));
        assert!(matches!(overlap(&[2, 1], &[1]), Err(Error::Shape { .. })));
        assert!(matches!(overlap(&[1], &[1, 1]), Err(Error::Shape { .. })));
        assert!(matches!(overlap_of(3, 2, 3), Err(Error::Shape { .. })));
        Ok(())
    }
}
