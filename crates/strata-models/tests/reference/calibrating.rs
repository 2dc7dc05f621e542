//! Calibration against R survey: regression, raking and logit, bounded and not; and totals that cannot be met.

use std::collections::HashMap;

use strata_models::calibrate::{Calibrated, Distance, Error, Limits, Problem, Total, calibrate};

use super::{Outcome, is_close, json, numbers, reference, rows};

const CASES: [&str; 12] = [
    "cal_clus1_linear",
    "cal_clus1_linear_bounded",
    "cal_clus1_logit",
    "cal_clus1_raking",
    "cal_clus1_raking_bounded",
    "cal_srs_linear",
    "cal_srs_linear_bounded",
    "cal_srs_logit",
    "cal_srs_raking",
    "cal_srs_raking_bounded",
    "cal_strat_linear",
    "cal_strat_logit",
];

struct Input {
    case: serde_json::Value,
    totals: Vec<Total>,
    measures: Vec<f64>,
    weights: Vec<f64>,
}

/// A case with its design matrix in treatment contrasts; none where there are no vectors.
fn input(name: &str) -> Outcome<Option<Input>> {
    let Some(folder) = reference("panel") else {
        return Ok(None);
    };
    let case = json(folder.join(format!("cases/{name}.json")))?;
    let data = rows(folder.join(case["data"].as_str().ok_or("no data")?))?;
    let mut totals = Vec::new();
    for (name, value) in case["params"]["population"].as_object().ok_or("no population")? {
        totals.push(Total { name: name.clone(), value: value.as_f64().ok_or("no total")? });
    }
    let mut measures = Vec::new();
    for row in &data {
        for total in &totals {
            measures.push(measure(row, &total.name)?);
        }
    }
    let weights = numbers(&data, "pw")?;
    Ok(Some(Input { case, totals, measures, weights }))
}

/// `(Intercept)`, a number, or a variable and its level in one word.
fn measure(row: &HashMap<String, String>, name: &str) -> Outcome<f64> {
    if name == "(Intercept)" {
        return Ok(1.0);
    }
    if let Some(value) = row.get(name) {
        return Ok(value.parse()?);
    }
    let (variable, level) = if let Some(level) = name.strip_prefix("stype") {
        ("stype", level)
    } else {
        ("sch.wide", name.strip_prefix("sch.wide").ok_or("an unknown variable")?)
    };
    Ok(f64::from(u8::from(row[variable] == level)))
}

fn solve(input: &Input) -> Result<Calibrated, strata_models::Error> {
    let params = &input.case["params"];
    let distance = match params["calfun"].as_str() {
        Some("linear") => Distance::Linear,
        Some("raking") => Distance::Raking,
        _ => Distance::Logit,
    };
    let bound = |at: usize, none: f64| params["bounds"][at].as_f64().unwrap_or(none);
    let (ratio_min, ratio_max) = (bound(0, f64::NEG_INFINITY), bound(1, f64::INFINITY));
    calibrate(&Problem {
        totals: &input.totals,
        measures: &input.measures,
        weights: &input.weights,
        distance,
        limits: Limits { ratio_min, ratio_max, ..Limits::default() },
        tolerance: 1e-12,
        iterations_max: 200,
    })
}

#[test]
fn calibrated_weights() -> Outcome {
    for name in CASES {
        let Some(input) = input(name)? else {
            return Ok(());
        };
        let found = solve(&input)?;
        let folder = reference("panel").ok_or("no vectors")?;
        let expected = rows(folder.join(format!("expected/{name}.csv")))?;
        assert_eq!(found.weights.len(), expected.len());
        let close = |found: f64, wanted: f64, what: &str| {
            assert!(is_close(&input.case, found, wanted), "{name} {what}: {found} {wanted}");
        };
        for (row, (weight, ratio)) in numbers(&expected, "weight")?.into_iter().zip(numbers(&expected, "g")?).enumerate() {
            close(found.weights[row], weight, "weight");
            close(found.ratios[row], ratio, "g");
        }
        let wanted = |key: &str| input.case["expected"][key].as_f64().ok_or_else(|| format!("no {key}"));
        close(found.weights.iter().sum(), wanted("sum")?, "sum");
        close(found.weights.iter().map(|w| w * w).sum(), wanted("sum_sq")?, "sum_sq");
        close(found.ratios.iter().copied().fold(f64::INFINITY, f64::min), wanted("g_min")?, "g_min");
        close(found.ratios.iter().copied().fold(0.0, f64::max), wanted("g_max")?, "g_max");
        assert!(found.iterations < 20, "{name}: {} steps", found.iterations);
    }
    Ok(())
}

#[test]
fn an_infeasible_case_is_refused_with_the_least_miss() -> Outcome {
    let Some(input) = input("cal_clus1_logit_infeasible")? else {
        return Ok(());
    };
    let Err(strata_models::Error::Calibrate(Error::Infeasible { relative, .. })) = solve(&input) else {
        return Err("it was not refused".into());
    };
    let proof = input.case["expected"]["proof"]["smallest_worst_relative_miss"].as_f64().ok_or("no proof")?;
    assert!(is_close(&input.case, relative, proof), "{relative} {proof}");
    Ok(())
}
