//! Tests of estimates and movements with numbers worked by hand, and against every sample there is. They never read files.

use super::*;

fn simple<'a>(weights: &'a [f64], populations: &'a [f64]) -> Sample<'a> {
    Sample { weights, strata: &[], clusters: &[], populations, singleton: Singleton::Error }
}

fn close(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() <= 1e-12 * wanted.abs().max(1.0)
}

#[test]
fn a_simple_sample_has_its_textbook_error() -> Result<()> {
    // 1, 2, 3, 6 of 20: mean 3, S² = 14/3; V = S²/4·(1 − 4/20).
    let sample = simple(&[5.0; 4], &[20.0]);
    let found = mean(&sample, &[1.0, 2.0, 3.0, 6.0], None)?;
    let variance: f64 = 14.0 / 3.0 / 4.0 * 0.8;
    assert!(close(found.value, 3.0) && close(found.standard_error, variance.sqrt()), "{found:?}");
    assert!(found.deff.is_some_and(|deff| close(deff, 1.0)));
    let sum = total(&sample, &[1.0, 2.0, 3.0, 6.0], None)?;
    assert!(close(sum.value, 60.0) && close(sum.standard_error, 20.0 * variance.sqrt()));
    assert_eq!(mean(&sample, &[7.0; 4], None)?, Estimate { value: 7.0, standard_error: 0.0, deff: None });
    Ok(())
}

#[test]
fn strata_and_clusters_add_up() -> Result<()> {
    // Stratum 0: clusters {1, 3} and {5}; stratum 1: rows 2 and 4; all of weight 1, with replacement.
    // Total: cluster sums 4 and 5: 2·0.5 = 1; rows 2 and 4: 2·2 = 4.
    let sample = Sample { strata: &[0, 0, 0, 1, 1], clusters: &[7, 7, 8, 9, 10], ..simple(&[1.0; 5], &[]) };
    let found = total(&sample, &[1.0, 3.0, 5.0, 2.0, 4.0], None)?;
    assert!(close(found.value, 15.0) && close(found.standard_error, 5f64.sqrt()), "{found:?}");
    let split = Sample { strata: &[0, 1, 1, 1, 1], ..sample };
    let cluster = Error::Cluster { cluster: 7, first: 0, second: 1 };
    assert_eq!(total(&split, &[1.0; 5], None).err(), Some(cluster.into()));
    Ok(())
}

#[test]
fn a_stratum_of_one_follows_its_policy() -> Result<()> {
    let with = |singleton| total(&Sample { strata: &[0, 0, 1], singleton, ..simple(&[1.0; 3], &[]) }, &[1.0, 3.0, 5.0], None);
    assert_eq!(with(Singleton::Error).err(), Some(Error::Singleton { stratum: 1 }.into()));
    assert!(close(with(Singleton::Certain)?.standard_error, 2.0));
    // The mean of all is 3: (5 − 3)² more.
    assert!(close(with(Singleton::Centre)?.standard_error, 8f64.sqrt()));
    Ok(())
}

#[test]
fn what_calibration_explains_is_no_error() -> Result<()> {
    // y = 2x + e with e orthogonal to (1, x): only e is left.
    let (x, e) = ([0.0, 1.0, 2.0, 3.0], [1.0, -1.0, -1.0, 1.0]);
    let y: Vec<f64> = x.iter().zip(e).map(|(x, e)| 2.0 * x + e).collect();
    let measures: Vec<f64> = x.iter().flat_map(|&x| [1.0, x, 1.0 + x]).collect();
    let base_weights = [1.0; 4];
    let auxiliary = Auxiliary { measures: &measures, columns: 3, base_weights: &base_weights };
    let sample = simple(&[2.0; 4], &[]);
    let found = total(&sample, &y, Some(&auxiliary))?;
    // 4/3·Σ(2e)².
    assert!(close(found.standard_error, (4.0 / 3.0 * 16.0f64).sqrt()), "{found:?}");
    let short = Auxiliary { columns: 2, ..auxiliary };
    assert!(matches!(total(&sample, &y, Some(&short)), Err(crate::Error::Shape { .. })));
    Ok(())
}

#[test]
fn a_part_of_the_sample_is_a_ratio() -> Result<()> {
    // 2 and 6 of four rows: mean 4; scores (∓2, 0, 0)/2: (−1, 1, 0, 0), 4/3·2.
    let sample = simple(&[1.0; 4], &[]);
    let found = ratio(&sample, &[2.0, 6.0, 0.0, 0.0], &[1.0, 1.0, 0.0, 0.0], None)?;
    assert!(close(found.value, 4.0) && close(found.standard_error, (8.0f64 / 3.0).sqrt()), "{found:?}");
    assert!(matches!(ratio(&sample, &[1.0; 4], &[0.0; 4], None), Err(crate::Error::Parameter { .. })));
    Ok(())
}

#[test]
fn an_outcome_that_is_explained_costs_less() -> Result<()> {
    // Weights 1, 1, 2: Kish 3·6/16. Residuals a tenth of the values: a hundredth of the variance.
    let (weights, values) = ([1.0, 1.0, 2.0], [1.0, 5.0, 9.0]);
    let found = outcome_design_effect(&weights, &values, &values.map(|y| y / 10.0))?;
    assert!(found.is_some_and(|found| close(found, 18.0 / 16.0 / 100.0)), "{found:?}");
    assert_eq!(outcome_design_effect(&weights, &[3.0; 3], &[0.0; 3])?, None);
    let auxiliary = Auxiliary { measures: &[1.0; 3], columns: 1, base_weights: &weights };
    let left = regression_residuals(&values, &auxiliary)?;
    assert!(left.iter().zip([-5.0, -1.0, 3.0]).all(|(a, b)| close(*a, b)), "{left:?}");
    Ok(())
}

#[test]
fn bad_samples_are_refused() {
    let values = [1.0, 2.0];
    assert_eq!(mean(&simple(&[], &[]), &[], None).err(), Some(crate::Error::NoRows));
    assert!(matches!(mean(&simple(&[1.0], &[]), &values, None), Err(crate::Error::Shape { what: "values", .. })));
    assert!(matches!(mean(&simple(&[1.0, 0.0], &[]), &values, None), Err(crate::Error::Value { what: "weight", .. })));
    assert!(matches!(mean(&simple(&[1.0, 1.0], &[]), &[1.0, f64::NAN], None), Err(crate::Error::Value { .. })));
    let few = mean(&simple(&[1.0, 1.0], &[1.0]), &values, None).err();
    assert_eq!(few, Some(Error::Population { stratum: 0, units: 2, population: 1.0 }.into()));
}

fn person(first: Option<f64>, second: Option<f64>) -> Person {
    let answer = |value| Answer { weight: 1.0, value, segment: 0 };
    Person { stratum: 0, first: first.map(answer), second: second.map(answer) }
}

#[test]
fn the_same_people_are_compared_in_pairs() -> Result<()> {
    // Differences 1, 2, 3: mean 2, S² = 1, V = 1/3; the waves themselves vary by 100.
    let people = [(10.0, 11.0), (20.0, 22.0), (30.0, 33.0)].map(|(a, b)| person(Some(a), Some(b)));
    let all = movement(&people, &[], Singleton::Error)?[0];
    assert_eq!((all.segment, all.people, all.means), (None, (3, 3, 3), (20.0, 22.0)));
    assert!(close(all.change, 2.0) && close(all.standard_error, (1.0f64 / 3.0).sqrt()), "{all:?}");
    assert!(close(all.standard_errors.0, (100.0f64 / 3.0).sqrt()) && close(all.correlation, 1.0));
    // From a population of 12 a quarter is seen twice.
    let finite = movement(&people, &[12.0], Singleton::Error)?[0];
    assert!(close(finite.standard_error, (1.0f64 / 3.0 * 0.75).sqrt()), "{finite:?}");
    Ok(())
}

#[test]
fn different_people_add_their_variances() -> Result<()> {
    let people = [person(Some(1.0), None), person(Some(3.0), None), person(None, Some(5.0)), person(None, Some(9.0))];
    let all = movement(&people, &[], Singleton::Error)?[0];
    // 2/2 + 8/2.
    assert!(close(all.change, 5.0) && close(all.standard_error, 5f64.sqrt()) && all.correlation == 0.0, "{all:?}");
    Ok(())
}

#[test]
fn segments_move_on_their_own() -> Result<()> {
    let answer = |value, segment| Some(Answer { weight: 2.0, value, segment });
    let at = |first, second| Person { stratum: 0, first, second };
    let people = [
        at(answer(1.0, 0), answer(2.0, 0)),
        at(answer(3.0, 0), answer(6.0, 1)),
        at(answer(5.0, 1), answer(6.0, 1)),
        at(answer(7.0, 1), None),
    ];
    let found = movement(&people, &[], Singleton::Error)?;
    let of = |segment| found.iter().find(|m| m.segment == segment).copied().ok_or(crate::Error::NoRows);
    let (zero, one) = (of(Some(0))?, of(Some(1))?);
    assert_eq!((zero.people, zero.means, zero.change), ((2, 1, 1), (2.0, 2.0), 0.0));
    assert_eq!((one.people, one.means), ((2, 2, 1), (6.0, 6.0)));
    // First wave: scores ∓½·(1)·… of people 3 and 4, 0 of the others: (−½, ½): S² = 0.5/3 over 4 people.
    assert!(close(one.standard_errors.0, (4.0 * 0.5 / 3.0f64).sqrt()) && one.standard_errors.1 == 0.0, "{one:?}");
    let gone = [at(answer(1.0, 0), answer(2.0, 0)), at(answer(1.0, 1), answer(2.0, 0))];
    assert_eq!(movement(&gone, &[], Singleton::Error).err(), Some(Error::Empty { segment: 1, wave: 2 }.into()));
    assert_eq!(movement(&gone[..1], &[], Singleton::Error).err(), Some(Error::Singleton { stratum: 0 }.into()));
    assert_eq!(movement(&[person(Some(1.0), None)], &[], Singleton::Error).err(), Some(crate::Error::NoRows));
    Ok(())
}

/// Every pair of waves of 4 out of 6 people with 3 in both: the mean of the estimated variances is the variance of the
/// estimated changes, as far as an estimated correlation can (it is not exactly unbiased).
#[test]
fn the_error_of_a_change_is_right_over_all_samples() -> Result<()> {
    let (y1, y2) = ([1.0, 4.0, 2.0, 8.0, 5.0, 7.0], [2.0, 5.0, 4.0, 9.0, 5.0, 11.0]);
    let (mut changes, mut variances) = (Vec::new(), Vec::new());
    let sets: Vec<u32> = (0u32..64).filter(|set| set.count_ones() == 4).collect();
    for &a in &sets {
        for &b in sets.iter().filter(|&&b| (a & b).count_ones() == 3) {
            let is_in = |set: u32, i: usize| set >> i & 1 == 1;
            let people: Vec<Person> =
                (0..6).map(|i| person(is_in(a, i).then_some(y1[i]), is_in(b, i).then_some(y2[i]))).collect();
            let all = movement(&people, &[6.0], Singleton::Error)?[0];
            changes.push(all.change);
            variances.push(all.standard_error * all.standard_error);
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let centre = mean(&changes);
    let true_variance = mean(&changes.iter().map(|change| (change - centre) * (change - centre)).collect::<Vec<_>>());
    let ratio = mean(&variances) / true_variance;
    assert!((ratio - 1.0).abs() < 0.1, "{ratio}");
    Ok(())
}
