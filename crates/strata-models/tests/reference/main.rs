//! The solvers against reference vectors of established tools, read in place. Never asserts less than the vector's own
//! tolerance; where the vectors are absent it says so.

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

mod allocation;
mod calibrating;
mod comparing;
mod drawing;
mod estimating;
mod kmeans;
mod raking;
mod rfm;
mod typing;
mod waves;
mod weighting;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A folder of reference vectors, or none (said on stderr) where there are none.
#[expect(clippy::disallowed_methods, reason = "where the checkout lies is known only at run time")]
fn reference(name: &str) -> Option<PathBuf> {
    let shared = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").ok()?).join("../../../shared");
    if shared.is_dir() {
        return Some(shared.join("reference").join(name));
    }
    eprintln!("not run: ../shared is absent");
    None
}

fn json(path: PathBuf) -> Outcome<serde_json::Value> {
    Ok(serde_json::from_reader(File::open(path)?)?)
}

/// The rows of a CSV file, by column name.
fn rows(path: PathBuf) -> Outcome<Vec<std::collections::HashMap<String, String>>> {
    Ok(csv::Reader::from_path(path)?.deserialize().collect::<Result<_, _>>()?)
}

/// A column of numbers of a CSV file.
fn numbers(rows: &[std::collections::HashMap<String, String>], name: &str) -> Outcome<Vec<f64>> {
    rows.iter().map(|row| Ok(row.get(name).ok_or_else(|| format!("no column {name}"))?.parse()?)).collect()
}

/// Whether |found − wanted| ≤ abs + rel·|wanted| with the tolerance of the case.
fn is_close(case: &serde_json::Value, found: f64, wanted: f64) -> bool {
    let tolerance = |key: &str| case["tolerance"][key].as_f64().unwrap_or(0.0);
    (found - wanted).abs() <= tolerance("abs") + tolerance("rel") * wanted.abs()
}

fn parquet(path: PathBuf) -> Outcome<RecordBatch> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let schema = builder.schema().clone();
    let batches = builder.build()?.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

fn column(batch: &RecordBatch, name: &str) -> Outcome<ArrayRef> {
    Ok(batch.column_by_name(name).ok_or_else(|| format!("no column {name}"))?.clone())
}

fn floats(batch: &RecordBatch, name: &str) -> Outcome<Vec<f64>> {
    let array = cast(&column(batch, name)?, &DataType::Float64)?;
    Ok(array.as_primitive::<Float64Type>().values().to_vec())
}

fn integers(batch: &RecordBatch, name: &str) -> Outcome<Vec<i64>> {
    let array = cast(&column(batch, name)?, &DataType::Int64)?;
    Ok(array.as_primitive::<Int64Type>().values().to_vec())
}

/// The panel cases by kind, as the modules here test them: a new case or kind fails until it is added.
const PANEL_CASES: [(&str, usize); 30] = [
    ("allocation", 16),
    ("allocation_real", 2),
    ("calibrate", 12),
    ("calibrate_infeasible", 1),
    ("estimate", 5),
    ("henry_valliant", 1),
    ("kish", 6),
    ("largest_remainder", 4),
    ("nonresponse_unweighted_cells", 1),
    ("nonresponse_weighted_cells", 2),
    ("poststratify", 2),
    ("pps_inclusion", 3),
    ("pps_joint_sampford", 1),
    ("pps_joint_systematic", 1),
    ("pps_order", 2),
    ("pps_poisson", 1),
    ("pps_systematic", 1),
    ("r_indicator", 5),
    ("rake", 6),
    ("rake_trimmed", 1),
    ("representativeness", 2),
    ("response_propensity", 1),
    ("srs_inclusion_strata", 1),
    ("trim", 4),
    ("trim_redistribute", 3),
    ("trim_rescale", 3),
    ("typing_golden_questions", 1),
    ("typing_lda", 1),
    ("typing_naive_bayes", 1),
    ("wave_overlap", 1),
];

#[test]
fn every_panel_case_is_tested() -> Outcome {
    let Some(folder) = reference("panel") else {
        return Ok(());
    };
    let manifest = json(folder.join("MANIFEST.json"))?;
    let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for case in manifest.as_array().ok_or("no cases")? {
        *counts.entry(case["kind"].as_str().ok_or("no kind")?).or_default() += 1;
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), PANEL_CASES);
    Ok(())
}
