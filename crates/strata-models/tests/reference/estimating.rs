//! Means, totals, their standard errors and design effects against R survey, also after post-stratification and raking.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use strata_models::estimate::{Auxiliary, Estimate, Sample, Singleton, mean, total};

use super::{Outcome, is_close, json, numbers, reference, rows};

type Row = HashMap<String, String>;

/// A sample as its columns.
struct Columns {
    data: Vec<Row>,
    weights: Vec<f64>,
    strata: Vec<u32>,
    clusters: Vec<u32>,
    populations: Vec<f64>,
    /// Base weights, measures and their number, where the weights were calibrated.
    auxiliary: Option<(Vec<f64>, Vec<f64>, usize)>,
}

impl Columns {
    fn estimate(&self, values: &[f64], of: &str) -> Outcome<Estimate> {
        let sample = Sample {
            weights: &self.weights,
            strata: &self.strata,
            clusters: &self.clusters,
            populations: &self.populations,
            singleton: Singleton::Error,
        };
        let auxiliary = self.auxiliary.as_ref();
        let auxiliary =
            auxiliary.map(|(base_weights, measures, columns)| Auxiliary { measures, columns: *columns, base_weights });
        let estimate = if of == "mean" { mean } else { total };
        Ok(estimate(&sample, values, auxiliary.as_ref())?)
    }

    /// A column of numbers, or one level of stype as 0 and 1.
    fn values(&self, name: &str) -> Outcome<Vec<f64>> {
        match name.strip_prefix("stype") {
            Some(level) => Ok(self.data.iter().map(|row| f64::from(u8::from(row["stype"] == level))).collect()),
            None => numbers(&self.data, name),
        }
    }
}

/// The rows of a case's data with the design its R code declares.
fn columns(folder: &Path, name: &str, case: &Value) -> Outcome<Columns> {
    let data = rows(folder.join(case["data"].as_str().ok_or("no data")?))?;
    let base = numbers(&data, "pw")?;
    let fpc = numbers(&data, "fpc")?;
    let mut found =
        Columns { weights: base.clone(), strata: vec![], clusters: vec![], populations: vec![fpc[0]], auxiliary: None, data };
    if name.starts_with("est_clus1") {
        found.clusters = numbers(&found.data, "dnum")?.into_iter().map(|cluster| cluster as u32).collect();
    }
    if name == "est_strat" {
        let code = |row: &Row| ["E", "H", "M"].iter().position(|level| row["stype"] == *level).unwrap_or(9) as u32;
        found.strata = found.data.iter().map(code).collect();
        found.populations =
            (0..3).map(|h| found.strata.iter().zip(&fpc).find(|(s, _)| **s == h).map_or(0.0, |(_, f)| *f)).collect();
    }
    let (calibrated, levels): (&str, &[(&str, &str)]) = match name {
        "est_clus1_poststrat" => ("poststrat_clus1_stype", &[("stype", "E"), ("stype", "H"), ("stype", "M")]),
        "est_clus1_raked" => {
            ("rake_clus1_2m", &[("stype", "E"), ("stype", "H"), ("stype", "M"), ("sch.wide", "No"), ("sch.wide", "Yes")])
        }
        _ => return Ok(found),
    };
    found.weights = numbers(&rows(folder.join(format!("expected/{calibrated}.csv")))?, "weight")?;
    let is = |row: &Row, (name, level): &(&str, &str)| f64::from(u8::from(row[*name] == *level));
    let measures = found.data.iter().flat_map(|row| levels.iter().map(move |level| is(row, level))).collect();
    found.auxiliary = Some((base, measures, levels.len()));
    Ok(found)
}

#[test]
fn means_totals_and_their_errors() -> Outcome {
    let Some(folder) = reference("panel") else {
        return Ok(());
    };
    for name in ["est_srs", "est_strat", "est_clus1", "est_clus1_poststrat", "est_clus1_raked"] {
        let case = json(folder.join(format!("cases/{name}.json")))?;
        let columns = columns(&folder, name, &case)?;
        // The calls of the case, in order: means, a total, and for the simple sample means again.
        for (estimates, of) in
            case["expected"]["estimates"].as_array().ok_or("no estimates")?.iter().zip(["mean", "total", "mean"])
        {
            for wanted in estimates.as_array().ok_or("no estimates")? {
                let variable = wanted["name"].as_str().ok_or("no name")?;
                let found = columns.estimate(&columns.values(variable)?, of)?;
                let figures = [("estimate", Some(found.value)), ("se", Some(found.standard_error)), ("deff", found.deff)];
                for (key, found) in figures {
                    if let Some(wanted) = wanted[key].as_f64() {
                        let found = found.ok_or("no figure")?;
                        assert!(is_close(&case, found, wanted), "{name} {of} {variable} {key}: {found} {wanted}");
                    }
                }
            }
        }
    }
    Ok(())
}
