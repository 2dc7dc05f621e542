//! Raking against R survey, and Kish's design effect against four tools.

use std::collections::BTreeMap;

use strata_models::rake::{Cell, Level, Margin, Options, rake, weight_diagnostics};

use super::{Outcome, json, reference, rows};

const CASES: [&str; 6] =
    ["rake_clus1_2m", "rake_clus1_4m", "rake_srs_2m", "rake_srs_4m", "rake_srs_2way_plus_1", "rake_strat_3m"];

#[test]
fn raked_weights() -> Outcome {
    let Some(folder) = reference("panel") else {
        return Ok(());
    };
    for name in CASES {
        let case = json(folder.join(format!("cases/{name}.json")))?;
        let data = rows(folder.join(case["data"].as_str().ok_or("no data")?))?;
        let mut margins = Vec::new();
        for (name, levels) in case["params"]["margins"].as_object().ok_or("no margins")? {
            let levels = levels.as_object().ok_or("no levels")?;
            let levels = levels.iter().map(|(name, target)| Level { name: name.clone(), target: target.as_f64() });
            margins.push(Margin { name: name.clone(), levels: levels.collect() });
        }
        let mut cells: BTreeMap<Vec<Option<u32>>, (f64, u64)> = BTreeMap::new();
        let mut row_codes = Vec::new();
        for row in &data {
            let code =
                |margin: &Margin| margin.levels.iter().position(|level| level.name == row[&margin.name]).map(|code| code as u32);
            let codes: Vec<_> = margins.iter().map(code).collect();
            let cell = cells.entry(codes.clone()).or_default();
            cell.0 += row["pw"].parse::<f64>()?;
            cell.1 += 1;
            row_codes.push(codes);
        }
        let keys: Vec<_> = cells.keys().cloned().collect();
        let cells: Vec<Cell> = cells.into_iter().map(|(codes, (weight, rows))| Cell { codes, weight, rows }).collect();
        let options = Options { tolerance: 1e-12, iterations_max: 2000, ..Options::default() };
        let raked = rake(&margins, &cells, &options)?;
        let expected: BTreeMap<String, f64> = rows(folder.join(format!("expected/{name}.csv")))?
            .into_iter()
            .map(|row| Ok((row["cds"].clone(), row["weight"].parse()?)))
            .collect::<Outcome<_>>()?;
        let mut weights = Vec::new();
        for (row, codes) in data.iter().zip(row_codes) {
            let cell = keys.binary_search(&codes).map_err(|_| "a row without a cell")?;
            let weight = row["pw"].parse::<f64>()? * raked.factors[cell];
            let wanted = expected[&row["cds"]];
            assert!((weight - wanted).abs() <= 1e-7 + 1e-7 * wanted, "{name} {}: {weight} {wanted}", row["cds"]);
            weights.push(weight);
        }
        assert_eq!(weights.len(), expected.len());
        let diagnostics = weight_diagnostics(weights.into_iter().map(|weight| (weight, 1))).ok_or("no weights")?;
        for (found, key) in [(diagnostics.sum, "sum"), (diagnostics.min, "min"), (diagnostics.max, "max")] {
            let wanted = case["expected"][key].as_f64().ok_or("no number")?;
            assert!((found - wanted).abs() <= 1e-7 + 1e-7 * wanted, "{name} {key}: {found} {wanted}");
        }
        assert!(raked.relative_difference_max <= 1e-10);
    }
    Ok(())
}

#[test]
fn design_effects() -> Outcome {
    let Some(folder) = reference("panel") else {
        return Ok(());
    };
    for name in CASES {
        let case = json(folder.join(format!("cases/kish_{name}.json")))?;
        let weights = rows(folder.join(format!("expected/{name}.csv")))?;
        let weights = weights.iter().map(|row| Ok((row["weight"].parse::<f64>()?, 1))).collect::<Outcome<Vec<_>>>()?;
        let found = weight_diagnostics(weights).ok_or("no weights")?;
        for (found, key) in [(found.deff, "deff"), (found.ess, "ess")] {
            let wanted = case["expected"][key].as_f64().ok_or("no number")?;
            assert!((found - wanted).abs() <= 1e-12 + 1e-12 * wanted, "{name} {key}: {found} {wanted}");
        }
    }
    Ok(())
}
