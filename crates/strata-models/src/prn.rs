//! Coordination of studies on the circle of permanent random numbers: each study starts at a shift and draws clockwise from
//! it. Two studies with the same shift ask the same people (a panel over time); shifts further apart than a study is wide
//! ask fresh ones. It never makes a random number.
//!
//! A simple draw of the fraction f from the shift s takes the people on the arc from s to s + f, up to sampling error.

use serde::{Deserialize, Serialize};

use crate::{Error, Result, exact::Sum};

/// The steps of the circle: numbers are odd multiples of 2^−54, shifts multiples of 2^−53.
const STEPS: u64 = 1 << 53;

/// What a study takes of the circle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Arc {
    /// Where it starts, in [0, 1).
    pub shift: f64,
    /// The largest fraction it draws of any stratum, in [0, 1].
    pub fraction: f64,
}

/// A number seen from a shift: (u − s) mod 1, in (0, 1], exactly on the grid of the numbers, so that no two numbers change
/// their order but at the shift itself. Draws with a shift use this in place of the number.
///
/// Errors: `Value` for a number outside (0, 1], `Parameter` for a shift outside [0, 1).
pub fn shifted(number: f64, shift: f64) -> Result<f64> {
    if !(number > 0.0 && number <= 1.0) {
        return Err(Error::Value { what: "number", index: 0, value: number, wanted: "it must lie between 0 and 1" });
    }
    if !(0.0..1.0).contains(&shift) {
        return Err(Error::Parameter { name: "shift", value: shift, wanted: "it must be at least 0 and below 1" });
    }
    let step = ((number * STEPS as f64) as u64).min(STEPS - 1);
    let from = ((shift * STEPS as f64).round() as u64).min(STEPS - 1);
    let away = if step >= from { step - from } else { step + STEPS - from };
    Ok((away as f64 + 0.5) / STEPS as f64)
}

/// The part of the population two studies both ask, in expectation: the length the two arcs share, in [0, 1].
///
/// Errors: `Value`.
pub fn overlap(a: Arc, b: Arc) -> Result<f64> {
    check(&[a, b])?;
    Ok(shared(a, b))
}

/// Shifts for studies that are to ask different people: each starts where the one before ends. One shift a fraction, in order.
/// They share nobody while the fractions sum to 1 at most; [`forced_overlap`] says how much they must beyond.
///
/// Errors: `Value`.
pub fn shifts_apart(fractions: &[f64]) -> Result<Vec<f64>> {
    check(&fractions.iter().map(|&fraction| Arc { shift: 0.0, fraction }).collect::<Vec<_>>())?;
    let mut end = Sum::new();
    let mut shifts = Vec::with_capacity(fractions.len());
    for &fraction in fractions {
        shifts.push(on_circle(end.value()));
        end.add(fraction);
    }
    Ok(shifts)
}

/// What studies of these fractions must share at least: max(0, Σ fractions − 1), of the population.
///
/// Errors: `Value`.
pub fn forced_overlap(fractions: &[f64]) -> Result<f64> {
    check(&fractions.iter().map(|&fraction| Arc { shift: 0.0, fraction }).collect::<Vec<_>>())?;
    let mut sum = Sum::new();
    sum.add(-1.0);
    fractions.iter().for_each(|&fraction| sum.add(fraction));
    Ok(sum.value().max(0.0))
}

/// A shift for a new study, and what it shares with those before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fresh {
    /// Where to start, in [0, 1).
    pub shift: f64,
    /// The part of the population it shares with each study before, in their order.
    pub shared: Vec<f64>,
}

/// The shift at which a study of `fraction` shares the least with the `others`, summed over them: at 0, at the end of one of
/// them, or so that it ends where one begins; the least such shift where several are as good.
///
/// Errors: `Value`.
pub fn fresh(fraction: f64, others: &[Arc]) -> Result<Fresh> {
    check(others)?;
    check(&[Arc { shift: 0.0, fraction }])?;
    // The shared length is piecewise linear in the shift, with corners only there.
    let mut shifts = vec![0.0];
    for other in others {
        shifts.extend([on_circle(other.shift + other.fraction), on_circle(other.shift - fraction + 1.0)]);
    }
    shifts.sort_by(f64::total_cmp);
    let mut best: Option<(f64, Fresh)> = None;
    for shift in shifts {
        let each: Vec<f64> = others.iter().map(|&other| shared(Arc { shift, fraction }, other)).collect();
        let mut sum = Sum::new();
        each.iter().for_each(|&part| sum.add(part));
        // Rounding of a corner must not make a later shift the better one.
        if best.as_ref().is_none_or(|(least, _)| sum.value() < least - 1e-12) {
            best = Some((sum.value(), Fresh { shift, shared: each }));
        }
    }
    Ok(best.map_or(Fresh { shift: 0.0, shared: Vec::new() }, |(_, fresh)| fresh))
}

/// How many people two studies are expected to share, given the rows of each stratum and what each study draws of them:
/// Σ N_h·(length the arcs of stratum h share). In people.
///
/// Errors: `Shape` for arrays of different lengths, `Value`, `Parameter` for a shift outside [0, 1).
pub fn expected_common(sizes: &[u64], first: (f64, &[u64]), second: (f64, &[u64])) -> Result<f64> {
    for rows in [first.1, second.1] {
        if rows.len() != sizes.len() {
            return Err(Error::Shape { what: "rows drawn of each stratum", found: rows.len(), wanted: sizes.len() });
        }
    }
    let mut sum = Sum::new();
    for (h, &size) in sizes.iter().enumerate().filter(|&(_, &size)| size > 0) {
        let arc = |(shift, rows): (f64, &[u64])| Arc { shift, fraction: rows[h] as f64 / size as f64 };
        check(&[arc(first), arc(second)])?;
        sum.add_product(size as f64, shared(arc(first), arc(second)));
    }
    Ok(sum.value())
}

fn check(arcs: &[Arc]) -> Result<()> {
    for (index, arc) in arcs.iter().enumerate() {
        if !(0.0..1.0).contains(&arc.shift) {
            return Err(Error::Parameter { name: "shift", value: arc.shift, wanted: "it must be at least 0 and below 1" });
        }
        if !(0.0..=1.0).contains(&arc.fraction) {
            let (what, wanted) = ("sampling fraction", "it must lie between 0 and 1");
            return Err(Error::Value { what, index, value: arc.fraction, wanted });
        }
    }
    Ok(())
}

/// The length two arcs share.
fn shared(a: Arc, b: Arc) -> f64 {
    let apart = on_circle(b.shift - a.shift + 1.0);
    let overlap = |from: f64| ((from + b.fraction).min(a.fraction) - from.max(0.0)).max(0.0);
    overlap(apart) + overlap(apart - 1.0)
}

/// `x` mod 1, in [0, 1); `x` ≥ 0. What rounds to 1 is 0.
fn on_circle(x: f64) -> f64 {
    let part = x - x.floor();
    if part >= 1.0 { 0.0 } else { part }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::srs;
    use proptest::prelude::*;

    fn arc(shift: f64, fraction: f64) -> Arc {
        Arc { shift, fraction }
    }

    fn close(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() < 1e-12
    }

    #[test]
    fn numbers_are_turned_exactly() -> Result<()> {
        assert_eq!(shifted(0.75, 0.5)?, 0.25 + 0.5 / STEPS as f64);
        assert_eq!(shifted(0.25, 0.5)?, 0.75 + 0.5 / STEPS as f64);
        // Just before the shift is the far end, however small the numbers.
        assert!(shifted(0.5 / STEPS as f64, 1.0 / STEPS as f64)? > 0.999);
        assert!(shifted(1.0, 0.0)? <= 1.0);
        assert!(shifted(0.0, 0.5).is_err() && shifted(0.5, 1.0).is_err() && shifted(f64::NAN, 0.5).is_err());
        Ok(())
    }

    #[test]
    fn arcs_share_what_they_cover() -> Result<()> {
        assert!(close(overlap(arc(0.0, 0.3), arc(0.2, 0.3))?, 0.1));
        assert!(close(overlap(arc(0.9, 0.3), arc(0.0, 0.1))?, 0.1));
        assert_eq!(overlap(arc(0.0, 0.3), arc(0.3, 0.7))?, 0.0);
        // 0.8 and 0.6 of the circle share at least 0.4: here on both sides.
        assert!(close(overlap(arc(0.0, 0.8), arc(0.7, 0.6))?, 0.1 + 0.3));
        assert!(overlap(arc(1.0, 0.3), arc(0.0, 0.1)).is_err() && overlap(arc(0.0, 1.3), arc(0.0, 0.1)).is_err());
        Ok(())
    }

    #[test]
    fn studies_apart_share_only_what_they_must() -> Result<()> {
        let shifts = shifts_apart(&[0.5, 0.25, 0.5, 0.1])?;
        assert_eq!(shifts, [0.0, 0.5, 0.75, 0.25]);
        assert_eq!(forced_overlap(&[0.5, 0.25, 0.5])?, 0.25);
        assert_eq!(forced_overlap(&[0.5, 0.25])?, 0.0);
        Ok(())
    }

    #[test]
    fn a_fresh_study_starts_where_least_was_asked() -> Result<()> {
        let others = [arc(0.0, 0.25), arc(0.5, 0.25)];
        assert_eq!(fresh(0.25, &others)?, Fresh { shift: 0.25, shared: vec![0.0, 0.0] });
        // 0.5 must share 0.25 with one of them: the least shift at which it does is 0.
        assert_eq!(fresh(0.5, &others)?, Fresh { shift: 0.0, shared: vec![0.25, 0.0] });
        assert_eq!(fresh(0.5, &[])?, Fresh { shift: 0.0, shared: vec![] });
        let end = fresh(0.25, &[arc(0.0, 0.5), arc(0.75, 0.25)])?;
        assert_eq!((end.shift, end.shared), (0.5, vec![0.0, 0.0]));
        Ok(())
    }

    #[test]
    fn people_in_common_are_counted_by_stratum() -> Result<()> {
        // Stratum 0: [0, 0.5) and [0.4, 0.6): 0.1·100; stratum 1: [0, 0.1) and [0.4, 0.8): none.
        let found = expected_common(&[100, 50, 0], (0.0, &[50, 5, 0]), (0.4, &[20, 20, 0]))?;
        assert!(close(found, 10.0), "{found}");
        assert!(expected_common(&[100], (0.0, &[]), (0.4, &[20])).is_err());
        Ok(())
    }

    proptest! {
        /// Draws from shifts apart share nobody, draws from one shift are nested, for any numbers.
        #[test]
        fn draws_are_coordinated(numbers in prop::collection::hash_set(1u64..STEPS, 90..200), shift in 0.0f64..0.999) {
            let numbers: Vec<f64> = numbers.iter().map(|&k| (k as f64 + 0.5) / STEPS as f64).collect();
            let turned = numbers.iter().map(|&u| shifted(u, shift)).collect::<Result<Vec<f64>>>()?;
            let (small, large) = (srs(&turned, 10)?, srs(&turned, 20)?);
            prop_assert!(small.iter().all(|row| large.contains(row)));
            let edge = turned[large[19]];
            prop_assume!(edge < 0.45);
            let beyond = (shift + edge + 1e-9).rem_euclid(1.0).min(1.0 - 1e-12);
            let fresh = numbers.iter().map(|&u| shifted(u, beyond)).collect::<Result<Vec<f64>>>()?;
            prop_assert!(srs(&fresh, 5)?.iter().all(|row| !large.contains(row)));
        }
    }
}
