//! A published draw, done again from its pipeline and inputs, and held against what was published. Never publishes anything, and never says
//! who the people are.

use crate::error::{Error, Result};
use crate::guard;
use crate::published;
use crate::report::DrawRecord;
use crate::run::Run;
use crate::solve::scalar;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, ident};
use object_store::ObjectStoreExt;
use serde::Serialize;
use std::collections::BTreeSet;
use strata_operators::write::{Formulas, WriteFormat, WritePurpose, WriteSpec};
use strata_publish::{CONTENT_DEFINITION, ContentHash, Manifest, stored_schema};
use strata_runtime::store::{self, Place};
use strata_spec::pipeline::{Output, Rows};

/// Name of a manifest in the folder of its run.
const MANIFEST: &str = "_manifest.json";
/// Before the name of a wave in a manifest.
const DRAW: &str = "draw:";
/// People whose keys are held against one another, at most.
const PEOPLE_MAX: usize = 5_000_000;

/// What was published of a wave.
#[derive(Debug, Clone)]
pub struct PublishedDraw {
    /// The wave.
    pub wave: String,
    /// What its draw followed from.
    pub record: DrawRecord,
    manifest: Manifest,
    folder: Place,
}

/// How a draw that was done again compares.
#[derive(Debug, Clone, Serialize)]
pub struct Replay {
    /// The wave.
    pub wave: String,
    /// The output whose rows were made again.
    pub output: String,
    /// The run that published it.
    pub run_id: String,
    /// The instant that both are of.
    pub as_of: String,
    /// Whether every row is the same: the same people, with the same columns.
    pub same: bool,
    /// Content hash of the published rows, and of those made now.
    pub content: (String, String),
    /// Rows published, and made now.
    pub rows: (u64, u64),
    /// People that both have, that only the published rows have, and that only those made now have; absent where the rows are the same, or
    /// hold no key that can be read back.
    pub people: Option<(u64, u64, u64)>,
    /// What the draw follows from and is not what it was: what, then, now.
    pub differs: Vec<(String, String, String)>,
}

/// Reads the manifest of a run of a wave's output, or of the folder it lies in. Errors: `Failed` where it is none, or of no drawn wave.
pub async fn published_draw(address: &str) -> Result<PublishedDraw> {
    let failed = |message: String| Error::Failed { step: "replay".into(), message };
    let folder = address.trim_end_matches('/');
    let folder = folder.strip_suffix(MANIFEST).map_or(folder, |f| f.trim_end_matches('/'));
    let folder = store::place(if folder.is_empty() { "." } else { folder });
    let folder = folder.map_err(|e| failed(format!("{e}\n  help: {}", e.help())))?;
    let file = folder.join(MANIFEST);
    let help = "name the `_manifest.json` in a folder `runs/…` of the output of a wave";
    let read = async { file.store.get(&file.path).await?.bytes().await };
    let bytes = read.await.map_err(|e| failed(format!("cannot read `{file}`: {e}\n  help: {help}")))?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|e| failed(format!("`{file}` is no manifest: {e}\n  help: {help}")))?;
    let record = manifest.kept.iter().find_map(|(name, value)| {
        let record: DrawRecord = serde_json::from_value(value.clone()).ok()?;
        Some((name.strip_prefix(DRAW)?.to_owned(), record))
    });
    let Some((wave, record)) = record else {
        return Err(failed(format!("`{file}` says nothing of a draw\n  help: {help}")));
    };
    if manifest.content_definition != CONTENT_DEFINITION {
        return Err(failed(format!(
            "`{file}` was hashed as `{}`, this version of Strata hashes as `{CONTENT_DEFINITION}`\n  help: replay it with the version that published it",
            manifest.content_definition
        )));
    }
    Ok(PublishedDraw { wave, record, manifest, folder })
}

/// Compares what the run drew for the wave with what was published. INVARIANT: the steps that the wave needs are done. Errors: as a run's.
pub(crate) async fn replay(run: &mut Run<'_>, then: &PublishedDraw) -> Result<Replay> {
    let Some(now) = run.report.panel.iter().rev().find(|w| w.wave == then.wave).and_then(|w| w.record.clone()) else {
        return Err(Error::Internal { step: "replay".into(), message: "the wave was not drawn".into() });
    };
    let (output, plan) = rows_of(run, then).await?;
    let schema = stored_schema(plan.schema().as_arrow()).map_err(|e| Error::of_step("replay", e))?;
    let people = keys(run, &output, then);
    let spec = WriteSpec {
        folder: run.work_url("replay"),
        format: WriteFormat::Parquet,
        attempt: "a1".to_owned(),
        purpose: WritePurpose::Publish,
        bounds: vec![],
        formulas: Formulas::Keep,
    };
    let receipts = run.write("replay", plan.clone(), spec).await?;
    let content = receipts.iter().fold(ContentHash::default(), |sum, r| sum.plus(r.content));
    let rows = receipts.iter().map(|r| r.rows.max(0) as u64).sum();
    let columns: Vec<(String, String)> = schema.fields().iter().map(|f| (f.name().clone(), f.data_type().to_string())).collect();
    let published: Vec<(String, String)> = then.manifest.schema.iter().map(|c| (c.name.clone(), c.data_type.clone())).collect();
    let mut differs = differences(&then.record, &now);
    if columns != published {
        let text = |of: &[(String, String)]| of.iter().map(|(n, t)| format!("{n}: {t}")).collect::<Vec<_>>().join(", ");
        differs.push(("columns".to_owned(), text(&published), text(&columns)));
    }
    let same = columns == published && content == then.manifest.content;
    let people = match (same, people) {
        (false, Some((key, published))) => compare(run, &key, published, plan).await?,
        _ => None,
    };
    Ok(Replay {
        wave: then.wave.clone(),
        output: output.name.value.clone(),
        run_id: then.manifest.run_id.clone(),
        as_of: then.record.as_of.clone(),
        same,
        content: (then.manifest.content.to_string(), content.to_string()),
        rows: (then.manifest.rows.max(0) as u64, rows),
        people,
        differs,
    })
}

/// The output that the manifest is of: the one that is published there, or else the first of the wave with its columns.
async fn rows_of(run: &mut Run<'_>, then: &PublishedDraw) -> Result<(Output, LogicalPlan)> {
    let of_wave = |o: &&Output| matches!(&o.from, Rows::Wave(w) if w.value == then.wave);
    let outputs: Vec<Output> = run.compiled.pipeline().outputs.iter().filter(of_wave).cloned().collect();
    let below = |o: &Output| {
        let own = store::place(&o.to.value).map(|p| p.join(&format!("runs/{}", then.manifest.run_id)));
        own.is_ok_and(|p| p.path == then.folder.path && p.store_url == then.folder.store_url)
    };
    let columns: Vec<&str> = then.manifest.schema.iter().map(|c| c.name.as_str()).collect();
    let (own, others): (Vec<Output>, Vec<Output>) = outputs.into_iter().partition(below);
    let own_place = !own.is_empty();
    for output in own.into_iter().chain(others) {
        let (plan, _) = guard::plan(run, "replay", &output).await?;
        let has = plan.schema().fields().iter().map(|f| f.name().as_str()).eq(columns.iter().copied());
        if has || own_place {
            return Ok((output, plan));
        }
    }
    Err(Error::Failed {
        step: "replay".into(),
        message: format!(
            "the pipeline has no output of wave `{}` with the columns {}\n  help: give the variables that the run was given, with `-p`",
            then.wave,
            columns.join(", ")
        ),
    })
}

/// The column that says who somebody is, and the published rows; `None` where they hold none or cannot be read back.
fn keys(run: &Run<'_>, output: &Output, then: &PublishedDraw) -> Option<(String, LogicalPlan)> {
    let pipeline = run.compiled.pipeline();
    let key = match &output.export.pseudonym {
        Some(pseudonym) => pseudonym.column.value.clone(),
        None => pipeline.entity(&pipeline.panel.as_ref()?.entity.value)?.key.value.clone(),
    };
    let table = published::table(&then.folder, &then.manifest).ok()?;
    table.schema.field_with_name(&key).ok()?;
    Some((key, run.compiled.published_rows(&table).ok()?))
}

/// People of both, of the published rows alone, and of those made now alone.
async fn compare(run: &mut Run<'_>, key: &str, published: LogicalPlan, now: LogicalPlan) -> Result<Option<(u64, u64, u64)>> {
    if now.schema().field_with_unqualified_name(key).is_err() {
        return Ok(None);
    }
    let mut all: Vec<BTreeSet<String>> = vec![];
    for plan in [published, now] {
        let plan = LogicalPlanBuilder::from(plan).project([ident(key)]).and_then(LogicalPlanBuilder::build);
        let plan = run.planned("replay", plan)?;
        let mut keys = BTreeSet::new();
        let mut add = |batch: arrow::record_batch::RecordBatch| {
            for row in 0..batch.num_rows() {
                if keys.len() < PEOPLE_MAX {
                    keys.insert(crate::panel::text(&scalar(&batch, 0, row)?));
                }
            }
            Ok(())
        };
        run.each("replay", plan, &mut add).await?;
        all.push(keys);
    }
    let [then, now] = &all[..] else { return Ok(None) };
    let both = then.intersection(now).count() as u64;
    let whole = then.len() < PEOPLE_MAX && now.len() < PEOPLE_MAX;
    Ok(whole.then(|| (both, then.len() as u64 - both, now.len() as u64 - both)))
}

/// What a draw follows from, where it is not the same.
fn differences(then: &DrawRecord, now: &DrawRecord) -> Vec<(String, String, String)> {
    let seed = |r: &DrawRecord| r.seed.map_or_else(|| "a secret key".to_owned(), |s| s.to_string());
    let digest = |text: &str| if text.is_empty() { "not kept".to_owned() } else { text.chars().take(16).collect() };
    let mut all = vec![
        ("as-of".to_owned(), then.as_of.clone(), now.as_of.clone()),
        ("settings of the wave".to_owned(), digest(&then.wave), digest(&now.wave)),
        ("name of the random numbers".to_owned(), then.numbers.clone(), now.numbers.clone()),
        ("seed of the random numbers".to_owned(), seed(then), seed(now)),
    ];
    let sources: BTreeSet<&String> = then.frame.keys().chain(now.frame.keys()).collect();
    for source in sources {
        let of = |r: &DrawRecord| r.frame.get(source).map_or_else(|| "no such source".to_owned(), |d| digest(d));
        all.push((format!("files of `{source}`"), of(then), of(now)));
    }
    for (what, a, b) in [
        ("people on the roster", then.roster, now.roster),
        ("eligible members", then.eligible, now.eligible),
        ("drawn", then.drawn, now.drawn),
        ("in reserve", then.reserve, now.reserve),
    ] {
        all.push((what.to_owned(), a.to_string(), b.to_string()));
    }
    // A draw of an earlier version kept none.
    if !then.allocation.is_empty() {
        all.push(("allocation".to_owned(), digest(&then.allocation), digest(&now.allocation)));
    }
    all.push(("the pipeline as a whole".to_owned(), digest(&then.pipeline), digest(&now.pipeline)));
    all.retain(|(_, a, b)| a != b);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_and_nothing_else() {
        let frame = [("customers".to_owned(), "0123456789abcdef0".to_owned())].into();
        let then = DrawRecord { seed: Some(5), eligible: 100, wave: "aa".into(), frame, ..DrawRecord::default() };
        assert!(differences(&then, &then).is_empty());
        let frame = [("customers".to_owned(), "1".to_owned())].into();
        let now = DrawRecord { seed: None, eligible: 99, frame, allocation: "x".into(), ..then.clone() };
        let named: Vec<(String, String, String)> = differences(&then, &now);
        let names: Vec<&str> = named.iter().map(|(n, _, _)| n.as_str()).collect();
        assert_eq!(names, ["seed of the random numbers", "files of `customers`", "eligible members"]);
        assert_eq!((named[0].1.as_str(), named[0].2.as_str(), named[1].1.as_str()), ("5", "a secret key", "0123456789abcdef"));
        let differs = differences(&DrawRecord { allocation: "y".into(), ..then.clone() }, &now);
        assert!(differs.iter().any(|(n, _, _)| n == "allocation"));
    }
}
