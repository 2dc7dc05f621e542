//! Adjustment for nonresponse, post-stratification, trimming and raking within a cap against svy, R survey and balance.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use strata_models::calibrate::Limits;
use strata_models::rake::{Cell, Level, Margin, Options, rake, rake_within, weight_diagnostics};
use strata_models::weights::{self, Cut, Excess, ResponseCell, Unknown, adjust, trim};

use super::{Outcome, is_close, json, numbers, reference, rows};

type Row = std::collections::HashMap<String, String>;

/// The cells of rows in the order of their levels, and the cell of each row.
fn cells_of(data: &[Row], by: &[&str]) -> (Vec<Vec<String>>, Vec<usize>) {
    let key = |row: &Row| by.iter().map(|name| row[*name].clone()).collect::<Vec<_>>();
    let keys: BTreeMap<Vec<String>, usize> = data.iter().map(|row| (key(row), 0)).collect();
    let keys: Vec<_> = keys.into_keys().collect();
    let places = data.iter().map(|row| keys.binary_search(&key(row)).unwrap_or(usize::MAX)).collect();
    (keys, places)
}

fn response_cells(keys: &[Vec<String>]) -> Vec<ResponseCell> {
    let cell = |(i, key): (usize, &Vec<String>)| ResponseCell {
        name: key.join("|"),
        path: vec![i as u32],
        respondents: 0.0,
        respondent_rows: 0,
        nonrespondents: 0.0,
        ineligible: 0.0,
        unknown: 0.0,
    };
    keys.iter().enumerate().map(cell).collect()
}

#[test]
fn nonresponse_in_weighted_cells() -> Outcome {
    let Some(folder) = reference("panel") else {
        return Ok(());
    };
    for name in ["nr_cells_uk_all", "nr_cells_uk_nr"] {
        let case = json(folder.join(format!("cases/{name}.json")))?;
        let data = rows(folder.join("data/nr_dispositions.csv"))?;
        let (keys, places) = cells_of(&data, &["stype", "sch.wide"]);
        let mut cells = response_cells(&keys);
        for (row, &place) in data.iter().zip(&places) {
            let (cell, weight) = (&mut cells[place], row["pw"].parse::<f64>()?);
            match row["disp"].as_str() {
                "rr" => {
                    cell.respondents += weight;
                    cell.respondent_rows += 1;
                }
                "nr" => cell.nonrespondents += weight,
                "in" => cell.ineligible += weight,
                _ => cell.unknown += weight,
            }
        }
        let is_shared = case["params"]["unknown_to_ineligible"] == Value::Bool(true);
        let unknown = if is_shared { Unknown::AsKnown } else { Unknown::Eligible };
        let adjusted = adjust(&cells, &weights::Options { unknown, ..weights::Options::default() })?;
        let expected = numbers(&rows(folder.join(format!("expected/{name}.csv")))?, "weight")?;
        assert_eq!(expected.len(), data.len());
        for ((row, place), wanted) in data.iter().zip(places).zip(expected) {
            let factor = match row["disp"].as_str() {
                "rr" => adjusted.cells[place].respondents,
                "in" => adjusted.cells[place].ineligible,
                _ => 0.0,
            };
            let found = row["pw"].parse::<f64>()? * factor;
            assert!(is_close(&case, found, wanted), "{name} {}: {found} {wanted}", row["cds"]);
        }
    }
    Ok(())
}

#[test]
fn response_rates_of_unweighted_cells() -> Outcome {
    let Some(folder) = reference("panel") else {
        return Ok(());
    };
    let case = json(folder.join("cases/nr_rhg_strat.json"))?;
    let data = rows(folder.join("data/apistrat_response.csv"))?;
    let (keys, places) = cells_of(&data, &["stype", "sch.wide"]);
    let mut cells = response_cells(&keys);
    for (row, &place) in data.iter().zip(&places) {
        if row["status"] == "1" {
            cells[place].respondents += 1.0;
            cells[place].respondent_rows += 1;
        } else {
            cells[place].nonrespondents += 1.0;
        }
    }
    let adjusted = adjust(&cells, &weights::Options::default())?;
    let expected = rows(folder.join("expected/nr_rhg_strat.csv"))?;
    let by_id: BTreeMap<&str, f64> =
        expected.iter().map(|row| Ok((row["cds"].as_str(), row["prob_resp"].parse()?))).collect::<Outcome<_>>()?;
    assert_eq!(by_id.len(), data.len());
    for (row, place) in data.iter().zip(places) {
        // The vector has 0 for those who did not answer.
        let found = if row["status"] == "1" { 1.0 / adjusted.cells[place].respondents } else { 0.0 };
        assert!(is_close(&case, found, by_id[row["cds"].as_str()]), "{}: {found}", row["cds"]);
    }
    Ok(())
}

/// Post-stratification is raking to one margin whose levels are the cells.
#[test]
fn post_stratification() -> Outcome {
    let Some(folder) = reference("panel") else {
        return Ok(());
    };
    for (name, by) in [("poststrat_clus1_stype", &["stype"][..]), ("poststrat_srs_2way", &["stype", "awards"][..])] {
        let case = json(folder.join(format!("cases/{name}.json")))?;
        let data = rows(folder.join(case["data"].as_str().ok_or("no data")?))?;
        let (keys, places) = cells_of(&data, by);
        let mut levels = Vec::new();
        for key in &keys {
            let population = case["params"]["population"].as_array().ok_or("no population")?;
            let is_key = |level: &&Value| by.iter().zip(key).all(|(name, value)| level[*name] == Value::String(value.clone()));
            let target = population.iter().find(is_key).ok_or("no cell")?["Freq"].as_f64();
            levels.push(Level { name: key.join("|"), target });
        }
        let mut cells: Vec<Cell> =
            (0..keys.len()).map(|code| Cell { codes: vec![Some(code as u32)], weight: 0.0, rows: 0 }).collect();
        for (row, &place) in data.iter().zip(&places) {
            cells[place].weight += row["pw"].parse::<f64>()?;
            cells[place].rows += 1;
        }
        let raked = rake(&[Margin { name: "cell".to_owned(), levels }], &cells, &Options::default())?;
        assert_eq!(raked.iterations, 1);
        let expected = rows(folder.join(format!("expected/{name}.csv")))?;
        for ((row, place), wanted) in data.iter().zip(places).zip(numbers(&expected, "weight")?) {
            let found = row["pw"].parse::<f64>()? * raked.factors[place];
            assert!(is_close(&case, found, wanted), "{name} {}: {found} {wanted}", row["cds"]);
        }
    }
    Ok(())
}

/// Compares trimmed weights with a column, and their sum and extremes with the case.
fn check_trimmed(folder: &Path, name: &str, trimmed: &[f64]) -> Outcome {
    let case = json(folder.join(format!("cases/{name}.json")))?;
    let expected = numbers(&rows(folder.join(format!("expected/{name}.csv")))?, "weight")?;
    assert_eq!(expected.len(), trimmed.len());
    for (row, (&found, wanted)) in trimmed.iter().zip(expected).enumerate() {
        assert!(is_close(&case, found, wanted), "{name} {row}: {found} {wanted}");
    }
    let figures = [
        ("sum", trimmed.iter().sum()),
        ("sum_sq", trimmed.iter().map(|w| w * w).sum()),
        ("min", trimmed.iter().copied().fold(f64::INFINITY, f64::min)),
        ("max", trimmed.iter().copied().fold(0.0, f64::max)),
    ];
    for (key, found) in figures {
        if let Some(wanted) = case["expected"][key].as_f64() {
            assert!(is_close(&case, found, wanted), "{name} {key}: {found} {wanted}");
        }
    }
    Ok(())
}

#[test]
fn trimming_that_shares_equally() -> Outcome {
    let Some(folder) = reference("panel") else {
        return Ok(());
    };
    let names = ["trim_rake_clus1_once", "trim_rake_clus1_strict", "trim_rake_srs_two_sided_strict", "trim_strat_design_strict"];
    for name in names {
        let case = json(folder.join(format!("cases/{name}.json")))?;
        let weights = numbers(&rows(folder.join(format!("expected/{name}.csv")))?, "weight_in")?;
        let groups: Vec<(f64, u64)> = weights.into_iter().map(|weight| (weight, 1)).collect();
        let cut = |key: &str| case["params"][key].as_f64().map(Cut::Weight);
        check_trimmed(&folder, name, &trim(&groups, cut("lower"), cut("upper"), Excess::Equally)?.weights)?;
    }
    Ok(())
}

#[test]
fn trimming_that_shares_in_proportion() -> Outcome {
    let Some(folder) = reference("panel") else {
        return Ok(());
    };
    let groups = raked_groups(&folder)?;
    for name in ["trim_svy_abs", "trim_svy_median3", "trim_svy_two_sided"] {
        let case = json(folder.join(format!("cases/{name}.json")))?;
        let cut = |key: &str| match &case["params"][key] {
            Value::String(times) => times.split(' ').next().and_then(|times| times.parse().ok()).map(Cut::Median),
            value => value.as_f64().map(Cut::Weight),
        };
        check_trimmed(&folder, name, &trim(&groups, cut("lower"), cut("upper"), Excess::Proportionally)?.weights)?;
    }
    Ok(())
}

/// balance widens a percentile p to p + min(2/n, p/10) before it cuts.
#[test]
fn trimming_that_scales_everybody() -> Outcome {
    let Some(folder) = reference("panel") else {
        return Ok(());
    };
    let groups = raked_groups(&folder)?;
    let widened = |p: f64| p + (2.0 / groups.len() as f64).min(p / 10.0);
    let above = |p: f64| Cut::Quantile(1.0 - widened(p));
    for (name, cap) in [
        ("trim_balance_mean_ratio_2", Cut::Mean(2.0)),
        ("trim_balance_pct_05", above(0.05)),
        ("trim_balance_pct_0_10", above(0.1)),
    ] {
        check_trimmed(&folder, name, &trim(&groups, None, Some(cap), Excess::Everybody)?.weights)?;
    }
    Ok(())
}

fn raked_groups(folder: &Path) -> Outcome<Vec<(f64, u64)>> {
    let weights = numbers(&rows(folder.join("expected/rake_clus1_4m.csv"))?, "weight")?;
    Ok(weights.into_iter().map(|weight| (weight, 1)).collect())
}

/// Held to the margins, the cap and a design effect no worse than the vector's by more than 2 %, as its note says.
#[test]
fn raking_within_a_cap() -> Outcome {
    let Some(folder) = reference("panel") else {
        return Ok(());
    };
    let name = "rake_trimmed_svy_3.5";
    let case = json(folder.join(format!("cases/{name}.json")))?;
    let data = rows(folder.join("data/apiclus1.csv"))?;
    let mut margins = Vec::new();
    for (name, levels) in case["params"]["margins"].as_object().ok_or("no margins")? {
        let levels = levels.as_object().ok_or("no levels")?;
        let levels = levels.iter().map(|(name, target)| Level { name: name.clone(), target: target.as_f64() }).collect();
        margins.push(Margin { name: name.clone(), levels });
    }
    let by: Vec<&str> = margins.iter().map(|margin| margin.name.as_str()).collect();
    let (keys, places) = cells_of(&data, &by);
    let code =
        |(margin, level): (&Margin, &String)| margin.levels.iter().position(|at| at.name == *level).map(|code| code as u32);
    let mut cells: Vec<Cell> =
        keys.iter().map(|key| Cell { codes: margins.iter().zip(key).map(code).collect(), weight: 0.0, rows: 0 }).collect();
    for (row, &place) in data.iter().zip(&places) {
        cells[place].weight += row["pw"].parse::<f64>()?;
        cells[place].rows += 1;
    }
    let cap = case["params"]["cap"].as_f64().ok_or("no cap")?;
    let options = Options { tolerance: 1e-9, iterations_max: 5000, ..Options::default() };
    let raked = rake_within(&margins, &cells, &options, &Limits { weight_max: cap, ..Limits::default() })?;
    assert!(raked.converged && raked.relative_difference_max <= 1e-6);
    let weights: Vec<f64> =
        places.iter().map(|&place| raked.factors[place] * cells[place].weight / cells[place].rows as f64).collect();
    for (margin, name) in margins.iter().zip(&by) {
        for level in &margin.levels {
            let members = data.iter().zip(&weights).filter(|(row, _)| row[*name] == level.name);
            let achieved: f64 = members.map(|(_, weight)| weight).sum();
            let target = level.target.ok_or("no target")?;
            assert!((achieved - target).abs() <= 1e-6 * target, "{name} {}: {achieved} {target}", level.name);
        }
    }
    assert!(weights.iter().all(|&weight| weight <= cap * (1.0 + 1e-6)));
    let wanted = numbers(&rows(folder.join(format!("expected/{name}.csv")))?, "weight")?;
    let deff =
        |weights: &[f64]| weight_diagnostics(weights.iter().map(|&weight| (weight, 1))).map(|d| d.deff).ok_or("no weights");
    assert!(deff(&weights)? <= 1.02 * deff(&wanted)?, "{} {}", deff(&weights)?, deff(&wanted)?);
    for (found, wanted) in weights.iter().zip(&wanted) {
        assert!((found - wanted).abs() <= 0.05 * wanted, "{found} {wanted}");
    }
    Ok(())
}
