//! The file of the fieldwork, held against the wave that was drawn. Never takes a person who was not drawn, or the same one
//! twice.

use super::{ReturnReport, Returned, broken};
use crate::error::{Error, Result};
use crate::panel::{label, text};
use crate::pin;
use crate::run::Run;
use crate::solve::{float, scalar};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use std::collections::BTreeMap;
use std::sync::Arc;
use strata_plan::cells_of;
use strata_spec::Pipeline;
use strata_spec::pipeline::{ColumnKind, Output, Rows, Wave, Weights};

/// The column that says what became of a person.
const DISPOSITION: &str = "disposition";

/// What became of somebody who was invited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disposition {
    /// Answered.
    Complete,
    /// Said no, or broke off.
    Refused,
    /// Gave no answer.
    NoAnswer,
    /// Turned out not to belong to those asked.
    Ineligible,
    /// Nothing is known, not even whether the person could have been asked.
    Unknown,
}

impl Disposition {
    /// Every disposition, by its word.
    pub const WORDS: [(&str, Self); 5] = [
        ("complete", Self::Complete),
        ("refused", Self::Refused),
        ("no_answer", Self::NoAnswer),
        ("ineligible", Self::Ineligible),
        ("unknown", Self::Unknown),
    ];
}

/// An invited person.
pub(super) struct Person {
    /// The entity key, as text.
    pub(super) key: String,
    /// The name of the stratum.
    pub(super) stratum: String,
    /// Values of the margins.
    pub(super) margins: Vec<ScalarValue>,
    /// Values of the non-response cells.
    pub(super) cells: Vec<ScalarValue>,
    /// Values of the columns to estimate by.
    pub(super) by: Vec<String>,
    /// The weight of the draw.
    pub(super) base: f64,
    /// What became of it.
    pub(super) disposition: Disposition,
    /// Answers.
    pub(super) values: Vec<f64>,
}

/// Everybody invited, in key order, with what became of them. Errors: `Contract` for a file that does not fit the wave.
pub(super) async fn people(
    run: &mut Run<'_>,
    step: &str,
    wave: &Wave,
    weights: &Weights,
    returned: &Returned,
    report: &mut ReturnReport,
) -> Result<Vec<Person>> {
    let strata: Vec<String> = cells_of(wave).iter().map(|s| s.value.clone()).collect();
    let margins: Vec<String> = weights.rake.iter().map(|m| m.value.clone()).collect();
    let cells: Vec<String> = weights.nonresponse.iter().flat_map(|n| &n.cells).map(|c| c.value.clone()).collect();
    let wanted: Vec<&String> = strata.iter().chain(&margins).chain(&cells).chain(&returned.by).collect();
    let mut columns: Vec<String> = vec![];
    wanted.into_iter().for_each(|c| {
        if !columns.contains(c) {
            columns.push(c.clone())
        }
    });
    let plan = run.compiled.invited(wave, &columns).map_err(|_| unknown_by(step, run, returned))?;
    let mut answers = read(run, step, wave, returned).await?;
    let found = run.collect(step, plan).await?;
    let mut out = vec![];
    for batch in &found {
        for row in 0..batch.num_rows() {
            let key = text(&scalar(batch, 0, row)?);
            let value = |name: &String| scalar(batch, columns.iter().position(|c| c == name).unwrap_or(0) + 1, row);
            let of = |names: &[String]| names.iter().map(value).collect::<Result<Vec<_>>>();
            let answer = answers.remove(&key);
            if answer.is_none() {
                report.not_in_file += 1;
            }
            let (disposition, values) = answer.unwrap_or((Disposition::NoAnswer, vec![f64::NAN; returned.measures.len()]));
            out.push(Person {
                stratum: label(&of(&strata)?),
                margins: of(&margins)?,
                cells: of(&cells)?,
                by: of(&returned.by)?.iter().map(text).collect(),
                base: float(batch, columns.len() + 1, row),
                key,
                disposition,
                values,
            });
        }
    }
    if !answers.is_empty() {
        let message =
            format!("{} people of `{}` were not drawn for the wave `{}`", answers.len(), returned.fieldwork, wave.name.value);
        let help = "give the file of this wave, and the `--as-of` and data it was drawn with";
        return Err(broken(step, message, help));
    }
    report.invited = out.len() as u64;
    for (word, disposition) in Disposition::WORDS {
        report.dispositions.push((word.to_owned(), out.iter().filter(|p| p.disposition == disposition).count() as u64));
    }
    Ok(out)
}

fn unknown_by(step: &str, run: &Run<'_>, returned: &Returned) -> Error {
    let entity = run.compiled.pipeline().panel.as_ref().map(|p| p.entity.value.clone()).unwrap_or_default();
    let known: Vec<String> = run.compiled.attributes(&entity).iter().filter(|a| !a.starts_with('_')).cloned().collect();
    let wrong = returned.by.iter().find(|b| !known.contains(b)).cloned().unwrap_or_default();
    let near = strata_spec::diagnostic::did_you_mean(&wrong, known.iter().map(String::as_str));
    let help = near.map_or_else(|| "name an attribute or a segmentation".to_owned(), |n| format!("did you mean `{n}`?"));
    broken(step, format!("`--by {wrong}`: there is no attribute or segmentation of that name"), &help)
}

/// What the file says of each key.
async fn read(
    run: &mut Run<'_>,
    step: &str,
    wave: &Wave,
    returned: &Returned,
) -> Result<BTreeMap<String, (Disposition, Vec<f64>)>> {
    let file = returned.fieldwork.as_str();
    let pipeline = run.compiled.pipeline();
    let entity = pipeline.panel.as_ref().and_then(|p| pipeline.entity(&p.entity.value));
    let mut key = entity.map(|e| e.key.value.clone()).unwrap_or_default();
    let mut kind = entity.and_then(|e| run.compiled.key_type(&e.name.value));
    let mut declared = vec![(DISPOSITION, ColumnKind::String)];
    let failed = |message: String| Error::Failed { step: step.to_owned(), message };
    // Before any column is declared: a missing one is told with the nearest that is there.
    let found = pin::pin_address(file).await.map_err(failed)?;
    let names: Vec<String> = found.schema.fields().iter().map(|f| f.name().clone()).collect();
    let hidden: Vec<Output> = if names.contains(&key) { vec![] } else { exported(pipeline, wave, &names) };
    if let Some(pseudonym) = hidden.first().and_then(|o| o.export.pseudonym.as_ref()) {
        (key, kind) = (pseudonym.column.value.clone(), Some(DataType::Utf8));
    }
    declared.extend(kind.as_ref().and_then(of_type).map(|k| (key.as_str(), k)));
    declared.extend(returned.measures.iter().map(|m| (m.as_str(), ColumnKind::Double)));
    for needed in [key.as_str(), DISPOSITION].into_iter().chain(returned.measures.iter().map(String::as_str)) {
        if !names.iter().any(|n| n == needed) {
            let near = strata_spec::diagnostic::did_you_mean(needed, names.iter().map(String::as_str));
            let help = near.map_or_else(|| format!("its columns are: {}", names.join(", ")), |n| format!("did you mean `{n}`?"));
            return Err(broken(step, format!("`{file}` has no column `{needed}`"), &help));
        }
    }
    let pinned = pin::pin_declared(file, &declared).await.map_err(failed)?;
    let at = |name: &str| names.iter().position(|n| n == name).unwrap_or(0);
    for measure in &returned.measures {
        let kind = pinned.schema.field(at(measure)).data_type();
        if !kind.is_numeric() && *kind != DataType::Boolean {
            return Err(broken(step, format!("`{measure}` of `{file}` is no number but {kind}"), "write its answers as numbers"));
        }
    }
    let scan =
        LogicalPlanBuilder::scan("fieldwork", provider_as_source(Arc::new(pinned)), None).and_then(LogicalPlanBuilder::build);
    let found = run.collect(step, scan.map_err(|e| Error::of_step(step, e))?).await?;
    let mut out = BTreeMap::new();
    let (mut nulls, mut twice, mut words) = (0u64, 0u64, BTreeMap::<String, u64>::new());
    for batch in &found {
        for row in 0..batch.num_rows() {
            let (id, word) = (scalar(batch, at(&key), row)?, scalar(batch, at(DISPOSITION), row)?);
            if id.is_null() {
                nulls += 1;
                continue;
            }
            let word = if word.is_null() { String::new() } else { text(&word).trim().to_lowercase() };
            let Some((_, disposition)) = Disposition::WORDS.into_iter().find(|(w, _)| *w == word) else {
                *words.entry(word).or_default() += 1;
                continue;
            };
            let values = returned.measures.iter().map(|m| float(batch, at(m), row)).collect();
            twice += u64::from(out.insert(text(&id), (disposition, values)).is_some());
        }
    }
    if nulls > 0 {
        return Err(broken(
            step,
            format!("{nulls} rows of `{file}` have no `{key}`"),
            "every row needs the key of who was invited",
        ));
    }
    if let Some((word, rows)) = words.iter().max_by_key(|(_, n)| **n) {
        let all: u64 = words.values().sum();
        let known = Disposition::WORDS.map(|(w, _)| w);
        let near = strata_spec::diagnostic::did_you_mean(word, known);
        let help = near.map_or_else(|| format!("write one of {}", known.join(", ")), |n| format!("did you mean `{n}`?"));
        let shown = if word.is_empty() { "nothing".to_owned() } else { format!("`{word}`") };
        let message = format!("`{DISPOSITION}` of `{file}` is no disposition in {all} rows, {shown} in {rows} of them");
        return Err(broken(step, message, &help));
    }
    if twice > 0 {
        return Err(broken(
            step,
            format!("{twice} rows of `{file}` have a `{key}` that another row has as well"),
            "one row a person",
        ));
    }
    match hidden.is_empty() {
        true => Ok(out),
        false => by_key(run, step, wave, &hidden, out).await,
    }
}

/// Outputs of a wave whose pseudonyms a file may have in place of keys.
fn exported(pipeline: &Pipeline, wave: &Wave, names: &[String]) -> Vec<Output> {
    let of_wave = |o: &&Output| matches!(&o.from, Rows::Wave(w) if w.value == wave.name.value);
    let named = |o: &&Output| o.export.pseudonym.as_ref().is_some_and(|p| names.contains(&p.column.value));
    pipeline.outputs.iter().filter(of_wave).filter(named).cloned().collect()
}

/// Answers by key, of a file that has pseudonyms of one of the outputs. What nobody of the wave has stays as it is.
async fn by_key(
    run: &mut Run<'_>,
    step: &str,
    wave: &Wave,
    outputs: &[Output],
    answers: BTreeMap<String, (Disposition, Vec<f64>)>,
) -> Result<BTreeMap<String, (Disposition, Vec<f64>)>> {
    let mut best: BTreeMap<String, String> = BTreeMap::new();
    for output in outputs {
        let plan = run.planned(step, run.compiled.pseudonyms(wave, output))?;
        let mut keys = BTreeMap::new();
        for batch in &run.collect(step, plan).await? {
            for row in 0..batch.num_rows() {
                let (key, name) = (text(&scalar(batch, 0, row)?), text(&scalar(batch, 1, row)?));
                if answers.contains_key(&name) {
                    keys.insert(name, key);
                }
            }
        }
        if keys.len() > best.len() {
            best = keys;
        }
    }
    Ok(answers.into_iter().map(|(name, answer)| (best.get(&name).cloned().unwrap_or(name), answer)).collect())
}

/// The type to declare, so that ids are read as the roster has them.
fn of_type(kind: &DataType) -> Option<ColumnKind> {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(ColumnKind::String),
        DataType::Int32 | DataType::Int16 | DataType::Int8 => Some(ColumnKind::Int),
        DataType::Int64 => Some(ColumnKind::Bigint),
        _ => None,
    }
}
