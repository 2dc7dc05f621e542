//! Rotation: groups of panelists that come in, stay a number of waves and rest. It never depends on who is in a group.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A rotation plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// G, the number of groups.
    pub groups: u32,
    /// k, the waves a group is in, at least 1.
    pub waves_in: u32,
    /// m, the waves it then rests before it comes back; none if it never does.
    pub waves_out: Option<u32>,
}

/// The rotation group of a person, 0 to G − 1: ⌊G·u′⌋ with u′ a second random number of the person, in (0, 1].
///
/// Errors: `Parameter` for no groups, `Value` for a number outside (0, 1].
pub fn rotation_group(groups: u32, number: f64) -> Result<u32> {
    if groups == 0 {
        return Err(Error::Parameter { name: "rotation_groups", value: 0.0, wanted: "it must be at least 1" });
    }
    if !(number > 0.0 && number <= 1.0) {
        let (what, wanted) = ("second number", "it must lie between 0 and 1");
        return Err(Error::Value { what, index: 0, value: number, wanted });
    }
    Ok(((f64::from(groups) * number) as u32).min(groups - 1))
}

impl Rotation {
    /// The plan, checked: with groups that come back, every wave must have the same number of groups, so G is a multiple of
    /// k + m.
    ///
    /// Errors: `Parameter`.
    pub fn new(groups: u32, waves_in: u32, waves_out: Option<u32>) -> Result<Self> {
        if waves_in == 0 {
            return Err(Error::Parameter { name: "waves_in", value: 0.0, wanted: "it must be at least 1" });
        }
        let period = waves_in.saturating_add(waves_out.unwrap_or(0));
        let is_even = if waves_out.is_some() { groups.is_multiple_of(period) } else { groups >= waves_in };
        if groups == 0 || !is_even {
            let wanted = "it must be a multiple of `waves_in` + `waves_out` (without `waves_out`: at least `waves_in`)";
            return Err(Error::Parameter { name: "rotation_groups", value: f64::from(groups), wanted });
        }
        Ok(Rotation { groups, waves_in, waves_out })
    }

    /// Whether a group is in a wave, counted from 0. In each wave one group (of every k + m) comes in and one goes out: group
    /// g comes in at wave g − k + 1; groups that were to come in before wave 0 are in from the start.
    pub fn is_in(&self, group: u32, wave: u32) -> bool {
        let since = i64::from(wave) - i64::from(group) + i64::from(self.waves_in) - 1;
        match self.waves_out {
            Some(out) => since.rem_euclid(i64::from(self.waves_in) + i64::from(out)) < i64::from(self.waves_in),
            None => (0..i64::from(self.waves_in)).contains(&since),
        }
    }

    /// The groups of a wave, in order. With groups that never come back there are G − k + 1 waves of k groups; later ones have
    /// fewer.
    pub fn groups_of(&self, wave: u32) -> Vec<u32> {
        (0..self.groups).filter(|&group| self.is_in(group, wave)).collect()
    }

    /// The part of a wave's people who are expected in the wave `lag` later: (k − 1)/k for the next one; less what attrition
    /// takes. In [0, 1].
    pub fn expected_overlap(&self, lag: u32) -> f64 {
        let (waves_in, lag) = (u64::from(self.waves_in), u64::from(lag));
        let common = match self.waves_out {
            None => waves_in.saturating_sub(lag),
            Some(out) => {
                let period = waves_in + u64::from(out);
                (0..waves_in).filter(|phase| (phase + lag) % period < waves_in).count() as u64
            }
        };
        common as f64 / waves_in as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fall_into_groups() -> Result<()> {
        let groups = [0.01, 0.24999, 0.25, 0.999, 1.0].map(|u| rotation_group(4, u));
        assert_eq!(groups, [Ok(0), Ok(0), Ok(1), Ok(3), Ok(3)]);
        assert!(rotation_group(0, 0.5).is_err() && rotation_group(4, 0.0).is_err() && rotation_group(4, f64::NAN).is_err());
        Ok(())
    }

    #[test]
    fn one_group_comes_and_one_goes() -> Result<()> {
        let never_back = Rotation::new(6, 3, None)?;
        assert_eq!(never_back.groups_of(0), [0, 1, 2]);
        assert_eq!(never_back.groups_of(1), [1, 2, 3]);
        assert_eq!(never_back.groups_of(3), [3, 4, 5]);
        assert_eq!(never_back.groups_of(5), [5]);
        // 2 in, 2 out: of four groups two are in, and each wave one comes and one goes.
        let back = Rotation::new(4, 2, Some(2))?;
        let waves: Vec<Vec<u32>> = (0..5).map(|wave| back.groups_of(wave)).collect();
        assert_eq!(waves, [vec![0, 1], vec![1, 2], vec![2, 3], vec![0, 3], vec![0, 1]]);
        Ok(())
    }

    #[test]
    fn the_expected_overlap_is_that_of_the_groups() -> Result<()> {
        for rotation in [Rotation::new(8, 4, None)?, Rotation::new(12, 4, Some(8))?, Rotation::new(10, 3, Some(2))?] {
            for lag in 0..5 {
                let (now, later) = (rotation.groups_of(0), rotation.groups_of(lag));
                let common = now.iter().filter(|group| later.contains(group)).count();
                assert_eq!(rotation.expected_overlap(lag), common as f64 / now.len() as f64, "{rotation:?} {lag}");
            }
        }
        assert_eq!(Rotation::new(4, 4, None)?.expected_overlap(1), 0.75);
        // Always the same people.
        assert_eq!(Rotation::new(3, 3, Some(0))?.expected_overlap(7), 1.0);
        Ok(())
    }

    #[test]
    fn uneven_plans_are_refused() {
        assert!(Rotation::new(5, 2, Some(2)).is_err());
        assert!(Rotation::new(0, 1, None).is_err());
        assert!(Rotation::new(2, 3, None).is_err());
        assert!(Rotation::new(4, 0, None).is_err());
    }
}
