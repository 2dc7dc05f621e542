//! What a panel loses from wave to wave and what replaces it. Rates of nobody are unknown, never 0.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Members lost for one reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// The reason.
    pub reason: String,
    /// Members lost for it.
    pub members: u64,
    /// Their part of all who were due; none if nobody was.
    pub rate: Option<f64>,
}

/// What became of the members due in a wave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attrition {
    /// Members due.
    pub due: u64,
    /// By reason, in the order given.
    pub lost: Vec<Lost>,
    /// Members lost in all.
    pub lost_total: u64,
    /// Members who stay.
    pub retained: u64,
    /// lost_total/due; none if nobody was due.
    pub rate: Option<f64>,
}

/// Attrition of a wave, or of a stratum of it, by reason; each member counts for one reason.
///
/// Errors: `Shape` if more were lost than were due.
pub fn attrition(due: u64, lost: &[(&str, u64)]) -> Result<Attrition> {
    let total = lost.iter().try_fold(0u64, |sum, (_, members)| sum.checked_add(*members)).ok_or(Error::TooManyRows)?;
    if total > due {
        return Err(Error::Shape { what: "members due", found: due as usize, wanted: total as usize });
    }
    let rate = |members: u64| (due > 0).then(|| members as f64 / due as f64);
    let lost = lost.iter().map(|&(reason, members)| Lost { reason: reason.to_owned(), members, rate: rate(members) });
    Ok(Attrition { due, lost: lost.collect(), lost_total: total, retained: due - total, rate: rate(total) })
}

/// The part of the first wave's members still there after each wave, given what was lost in each: Π(1 − rate), counted over
/// those due in each wave (so that members who rest by plan are not lost). One number a wave, none from the first wave on in
/// which nobody was due.
pub fn retained_after(waves: &[Attrition]) -> Vec<Option<f64>> {
    let mut kept = Some(1.0);
    waves
        .iter()
        .map(|wave| {
            kept = kept.zip(wave.rate).map(|(kept, rate)| kept * (1.0 - rate));
            kept
        })
        .collect()
}

/// What a stratum takes in to be full again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUp {
    /// New members, in the order of their random numbers.
    pub new: u64,
    /// Wanted but not to be had.
    pub shortfall: u64,
    /// Members above the target: they stay, nobody is sent away.
    pub excess: u64,
}

/// New members of a stratum: target − retained, at most the non-members there are.
pub fn top_up(target: u64, retained: u64, available: u64) -> TopUp {
    let wanted = target.saturating_sub(retained);
    let new = wanted.min(available);
    TopUp { new, shortfall: wanted - new, excess: retained.saturating_sub(target) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_counted_by_reason() -> Result<()> {
        let found = attrition(200, &[("withdrawn", 10), ("moved", 0), ("silent", 30)])?;
        assert_eq!((found.lost_total, found.retained, found.rate), (40, 160, Some(0.2)));
        let rates: Vec<Option<f64>> = found.lost.iter().map(|lost| lost.rate).collect();
        assert_eq!(rates, [Some(0.05), Some(0.0), Some(0.15)]);
        let nobody = attrition(0, &[("withdrawn", 0)])?;
        assert_eq!((nobody.rate, nobody.lost[0].rate, nobody.retained), (None, None, 0));
        assert!(matches!(attrition(5, &[("a", 3), ("b", 3)]), Err(Error::Shape { found: 5, wanted: 6, .. })));
        Ok(())
    }

    #[test]
    fn retention_multiplies() -> Result<()> {
        let waves = [attrition(100, &[("a", 20)])?, attrition(40, &[("a", 10)])?, attrition(0, &[])?, attrition(5, &[])?];
        assert_eq!(retained_after(&waves), [Some(0.8), Some(0.8 * 0.75), None, None]);
        Ok(())
    }

    #[test]
    fn strata_are_topped_up_to_their_target() {
        assert_eq!(top_up(100, 80, 50), TopUp { new: 20, shortfall: 0, excess: 0 });
        assert_eq!(top_up(100, 80, 5), TopUp { new: 5, shortfall: 15, excess: 0 });
        assert_eq!(top_up(100, 110, 50), TopUp { new: 0, shortfall: 0, excess: 10 });
    }
}
