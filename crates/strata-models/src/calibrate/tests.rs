//! Tests of calibration on problems small enough to solve by hand. They never read files.

use proptest::prelude::*;

use super::*;

fn totals(values: &[(&str, f64)]) -> Vec<Total> {
    values.iter().map(|&(name, value)| Total { name: name.to_owned(), value }).collect()
}

fn problem<'a>(totals: &'a [Total], measures: &'a [f64], weights: &'a [f64], distance: Distance) -> Problem<'a> {
    Problem { totals, measures, weights, distance, limits: Limits::default(), tolerance: 1e-12, iterations_max: 100 }
}

fn refused(problem: &Problem<'_>) -> Error {
    match calibrate(problem) {
        Err(crate::Error::Calibrate(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn close(found: &[f64], wanted: &[f64]) -> bool {
    found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-10)
}

#[test]
fn linear_calibration_is_regression() -> crate::Result<()> {
    // Three rows of weight 10 with x = 0, 1, 2: N = 30 and Σx = 30. For N = 36, Σx = 42: misses 6 and 12;
    // (30 30; 30 50)·λ = (6, 12): λ = (−0.1, 0.3); ratios 1 + λ₀ + λ₁x.
    let totals = totals(&[("n", 36.0), ("x", 42.0)]);
    let found = calibrate(&problem(&totals, &[1.0, 0.0, 1.0, 1.0, 1.0, 2.0], &[10.0; 3], Distance::Linear))?;
    assert!(close(&found.ratios, &[0.9, 1.2, 1.5]) && close(&found.weights, &[9.0, 12.0, 15.0]), "{found:?}");
    assert!(close(&found.multipliers, &[-0.1, 0.3]));
    assert_eq!((found.iterations, found.at_limits), (1, (0, 0)));
    Ok(())
}

#[test]
fn one_total_is_a_ratio_whatever_the_distance() -> crate::Result<()> {
    let totals = totals(&[("n", 45.0)]);
    for distance in [Distance::Linear, Distance::Raking, Distance::Logit] {
        let limits = Limits { ratio_min: 0.2, ratio_max: 3.0, ..Limits::default() };
        let found = calibrate(&Problem { limits, ..problem(&totals, &[1.0; 3], &[5.0, 10.0, 15.0], distance) })?;
        assert!(close(&found.ratios, &[1.5; 3]), "{distance:?} {found:?}");
    }
    Ok(())
}

#[test]
fn raking_meets_two_margins_like_proportional_fitting() -> crate::Result<()> {
    // The 2×2 table 10 5; 2 8 to margins 60/40 and 30/70 keeps its odds ratio of 8.
    let totals = totals(&[("n", 100.0), ("f", 60.0), ("young", 30.0)]);
    let measures = [1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0];
    let found = calibrate(&problem(&totals, &measures, &[10.0, 5.0, 2.0, 8.0], Distance::Raking))?.weights;
    assert!(close(&[found[0] + found[1], found[0] + found[2], found.iter().sum()], &[60.0, 30.0, 100.0]), "{found:?}");
    assert!((found[0] * found[3] / (found[1] * found[2]) - 8.0).abs() < 1e-9);
    Ok(())
}

#[test]
fn limits_cut_and_the_others_make_room() -> crate::Result<()> {
    // As above, but no ratio above 1.4: x = 2 is at 1.4 (14); the others have N = 22 and Σx = 14: 8 and 14.
    let totals = totals(&[("n", 36.0), ("x", 42.0)]);
    let measures = [1.0, 0.0, 1.0, 1.0, 1.0, 2.0];
    for distance in [Distance::Linear, Distance::Raking] {
        let limits = Limits { ratio_min: 0.5, ratio_max: 1.45, ..Limits::default() };
        let found = calibrate(&Problem { limits, ..problem(&totals, &measures, &[10.0; 3], distance) })?;
        assert!(close(&found.ratios, &[0.85, 1.3, 1.45]), "{distance:?} {found:?}");
        assert_eq!(found.at_limits, (0, 1));
        let cap = Limits { weight_max: 14.5, ..Limits::default() };
        let capped = calibrate(&Problem { limits: cap, ..problem(&totals, &measures, &[10.0; 3], distance) })?;
        assert!(close(&capped.weights, &[8.5, 13.0, 14.5]), "{distance:?} {capped:?}");
    }
    Ok(())
}

#[test]
fn infeasible_totals_are_told_with_the_least_miss() {
    // No ratio above 1.1: at most 33 of 36, 8.33 % off; then Σx: 33 of 42 is 21 % off, and better is not to be had.
    let totals = totals(&[("n", 36.0), ("x", 42.0)]);
    let measures = [1.0, 0.0, 1.0, 1.0, 1.0, 2.0];
    for distance in [Distance::Linear, Distance::Raking, Distance::Logit] {
        let limits = Limits { ratio_min: 0.5, ratio_max: 1.1, ..Limits::default() };
        let Error::Infeasible { total, value, achieved, relative } =
            refused(&Problem { limits, ..problem(&totals, &measures, &[10.0; 3], distance) })
        else {
            panic!("{distance:?}");
        };
        assert_eq!((total.as_str(), value), ("x", 42.0));
        assert!((achieved - 33.0).abs() < 1e-9 && (relative - 9.0 / 42.0).abs() < 1e-9, "{achieved} {relative}");
    }
}

#[test]
fn too_few_steps_are_told_apart() {
    // Only ratios of exactly 2 meet the total: logit comes near, but not in ten steps.
    let totals = totals(&[("n", 60.0)]);
    let limits = Limits { ratio_min: 0.5, ratio_max: 2.0, ..Limits::default() };
    let asked = Problem { limits, iterations_max: 10, ..problem(&totals, &[1.0; 3], &[10.0; 3], Distance::Logit) };
    assert!(matches!(refused(&asked), Error::NotConverged { iterations: 10, total, .. } if total == "n"));
}

#[test]
fn dependent_measures_are_named() {
    let totals = totals(&[("n", 36.0), ("f", 20.0), ("m", 16.0)]);
    let measures = [1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0];
    let (total, on) = ("m".to_owned(), "`n`, `f`".to_owned());
    assert_eq!(refused(&problem(&totals, &measures, &[10.0; 3], Distance::Raking)), Error::Collinear { total, on });
    let nobody = [1.0, 1.0, 0.0, 1.0, 0.5, 0.0, 1.0, 0.0, 0.0];
    let total = "m".to_owned();
    assert_eq!(refused(&problem(&totals, &nobody, &[10.0; 3], Distance::Linear)), Error::Absent { total });
}

#[test]
fn bad_input_is_named() {
    let one = totals(&[("n", 36.0)]);
    let of = |measures, weights| problem(&one, measures, weights, Distance::Linear);
    assert_eq!(calibrate(&of(&[], &[])).err(), Some(crate::Error::NoRows));
    assert!(matches!(calibrate(&of(&[1.0, 2.0], &[1.0])), Err(crate::Error::Shape { .. })));
    assert!(matches!(calibrate(&of(&[1.0], &[0.0])), Err(crate::Error::BaseWeight { .. })));
    assert!(matches!(refused(&of(&[f64::NAN], &[1.0])), Error::Measure { row: 0, .. }));
    assert_eq!(refused(&problem(&[], &[], &[1.0], Distance::Linear)), Error::NoTotals);
    let nan = totals(&[("n", f64::NAN)]);
    assert!(matches!(refused(&problem(&nan, &[1.0], &[1.0], Distance::Linear)), Error::Total { .. }));
    let with = |limits, distance| refused(&Problem { limits, distance, ..of(&[1.0], &[1.0]) });
    let none = Limits::default();
    assert!(matches!(with(none, Distance::Logit), Error::Limits { distance: "logit", .. }));
    assert!(matches!(with(Limits { ratio_max: 0.9, ..none }, Distance::Linear), Error::Limits { .. }));
    let both = Limits { ratio_min: 0.5, ratio_max: 2.0, weight_max: 3.0, ..none };
    assert_eq!(with(both, Distance::Logit), Error::LogitWeights);
    let never = Limits { ratio_max: 1.0, weight_min: 2.0, ..none };
    assert!(matches!(with(never, Distance::Raking), Error::WeightLimits { row: 0, .. }));
    assert!(calibrate(&Problem { tolerance: 0.0, ..of(&[1.0], &[1.0]) }).is_err());
}

proptest! {
    /// Totals that some weights within the limits have are met, and the order of the rows changes no bit.
    #[test]
    fn feasible_totals_are_met(
        rows in prop::collection::vec((0.5f64..20.0, -3.0f64..9.0, any::<bool>(), 0.7f64..1.4), 6..50),
    ) {
        let measures: Vec<f64> = rows.iter().flat_map(|row| [1.0, row.1, f64::from(u8::from(row.2))]).collect();
        let weights: Vec<f64> = rows.iter().map(|row| row.0).collect();
        let total = |j: usize| rows.iter().enumerate().map(|(i, row)| row.0 * row.3 * measures[3 * i + j]).sum::<f64>();
        prop_assume!(total(1).abs() > 1.0 && total(2) > 1.0 && rows.iter().any(|row| !row.2));
        let totals = totals(&[("n", total(0)), ("x", total(1)), ("b", total(2))]);
        for distance in [Distance::Linear, Distance::Raking, Distance::Logit] {
            let limits = Limits { ratio_min: 0.5, ratio_max: 2.0, ..Limits::default() };
            let asked = Problem { limits, tolerance: 1e-9, ..problem(&totals, &measures, &weights, distance) };
            let found = match calibrate(&asked) {
                Err(crate::Error::Calibrate(Error::Collinear { .. })) => return Ok(()),
                found => found?,
            };
            prop_assert!(found.relative_difference_max <= 1e-9);
            prop_assert!(found.ratios.iter().all(|ratio| (0.5..=2.0).contains(ratio)));
            let backward_measures: Vec<f64> = measures.chunks(3).rev().flatten().copied().collect();
            let backward_weights: Vec<f64> = weights.iter().rev().copied().collect();
            let mut backward =
                calibrate(&Problem { measures: &backward_measures, weights: &backward_weights, ..asked })?.ratios;
            backward.reverse();
            prop_assert_eq!(&backward, &found.ratios);
        }
    }
}
