//! Where a pipeline's outputs are, and whether they belong together. Never writes.

use crate::error::{Error, Result};
use crate::guard::earlier::{self, published_before};
use crate::journal::damaged;
use crate::load::Loaded;
use crate::report::MixedSet;
use serde::Serialize;
use std::collections::BTreeMap;
use strata_plan::{Compiled, KeptCuts};
use strata_publish::{Log, PublishedTable, Version, mixed_set};
use strata_runtime::store::{self, Place};
use strata_spec::Pipeline;
use strata_spec::pipeline::{History, Method, Output, RfmMode, Segmentation, WriteFormat};

/// How often a store is probed that does not answer.
const PROBES_MAX: usize = 5;

/// One output as readers see it.
#[derive(Debug, Clone, Serialize)]
pub struct OutputState {
    /// Output.
    pub name: String,
    /// What readers open: the folder of the current version's files, of a Delta table its own; absent before the first run.
    pub path: Option<String>,
    /// Table folder.
    pub table: String,
    /// Format.
    pub format: String,
    /// Run of the current version.
    pub run_id: Option<String>,
    /// `as_of` of the current version.
    pub as_of: Option<String>,
    /// Rows.
    pub rows: Option<i64>,
}

/// An output's table.
pub(crate) struct OutputTable {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) table: PublishedTable,
    pub(crate) current: Option<Version>,
}

/// The format's name.
pub(crate) fn format_name(output: &Output) -> &'static str {
    match output.format {
        WriteFormat::Parquet => "parquet",
        WriteFormat::Csv => "csv",
        WriteFormat::Delta => "delta",
        WriteFormat::Jsonl => "jsonl",
        WriteFormat::Xlsx => "xlsx",
    }
}

/// What makes versions of an output visible.
pub(crate) fn log_of(output: &Output) -> Log {
    match (output.format, output.history.value) {
        (WriteFormat::Delta, History::None) => Log::Delta,
        (WriteFormat::Delta, History::Snapshot) => Log::DeltaByAsOf,
        (WriteFormat::Parquet | WriteFormat::Csv | WriteFormat::Jsonl | WriteFormat::Xlsx, _) => Log::Pointer,
    }
}

/// What readers open: the folder of a run's files, or a Delta table as a whole.
pub(crate) fn readers_path(output: &Output, place: &Place, folder: &str) -> String {
    if output.format == WriteFormat::Delta { place.to_string() } else { place.join(folder).to_string() }
}

/// Opens the table of each output.
pub(crate) async fn tables(pipeline: &Pipeline) -> Result<Vec<OutputTable>> {
    let mut out = vec![];
    for output in &pipeline.outputs {
        let name = output.name.value.clone();
        let failed = |message: String| Error::Failed { step: format!("output {name}"), message };
        let place = store::place(&output.to.value).map_err(|e| failed(format!("{e}\n  help: {}", e.help())))?;
        let table = PublishedTable::new(place.store.clone(), place.path.clone(), log_of(output)).on_this_machine(place.local());
        let current = table.current().await.map_err(|e| Error::of_publish(&format!("output {name}"), e))?;
        out.push(OutputTable { name, place, table, current });
    }
    Ok(out)
}

/// Name, among outputs, of the table of the rows of a source that were put aside.
pub(crate) fn quarantine_name(source: &str) -> String {
    format!("_quarantine/{source}")
}

/// Opens the table of each source of which rows can be put aside.
pub(crate) async fn quarantine_tables(pipeline: &Pipeline) -> Result<Vec<OutputTable>> {
    let mut out = vec![];
    for source in &pipeline.sources {
        let Some(folder) = pipeline.quarantine_folder(&source.name.value) else { continue };
        let name = quarantine_name(&source.name.value);
        let failed = |message: String| Error::Failed { step: format!("output {name}"), message };
        let place = store::place(&folder).map_err(|e| failed(format!("{e}\n  help: {}", e.help())))?;
        let table = PublishedTable::new(place.store.clone(), place.path.clone(), Log::Pointer).on_this_machine(place.local());
        let current = table.current().await.map_err(|e| Error::of_publish(&format!("output {name}"), e))?;
        out.push(OutputTable { name, place, table, current });
    }
    Ok(out)
}

/// Checks that every table's store honours create-if-absent, where that is not known: without it two runs could overwrite each other.
/// `token` names the objects made and removed. Errors: `Failed` where a store does not, `Unavailable` where it does not answer.
pub(crate) async fn probe(tables: &[OutputTable], token: &str) -> Result<()> {
    for table in tables.iter().filter(|t| t.place.local().is_none()) {
        let mut tries = 0;
        loop {
            tries += 1;
            match table.table.probe_conditional_put(&format!("{token}-{tries}")).await {
                Ok(()) => break,
                // A lost reply to a create is not asked for again by the client: the next probe is another object.
                Err(e) if e.kind() == strata_publish::Kind::Unavailable && tries < PROBES_MAX => {}
                Err(e) => return Err(Error::of_publish(&format!("output {}", table.name), e)),
            }
        }
    }
    Ok(())
}

/// Whether the current versions are of different runs.
pub(crate) fn mixed(tables: &[OutputTable]) -> Option<MixedSet> {
    let versions: Vec<(String, Option<Version>)> = tables.iter().map(|t| (t.name.clone(), t.current.clone())).collect();
    mixed_set(&versions).map(|m| MixedSet { oldest: m.oldest, newest: m.newest, missing: m.missing })
}

/// The cuts that frozen segmentations were published with. Errors: `Unavailable` where the store does not answer, `Internal`
/// where a manifest is damaged.
pub(crate) async fn kept_cuts(pipeline: &Pipeline, tables: &[OutputTable]) -> Result<BTreeMap<String, KeptCuts>> {
    let mut out = BTreeMap::new();
    if !pipeline.segments.iter().any(is_frozen) {
        return Ok(out);
    }
    for table in tables {
        let Some(version) = &table.current else { continue };
        let step = format!("output {}", table.name);
        let manifest = table.table.manifest(version).await.map_err(|e| Error::of_publish(&step, e))?;
        for (name, value) in manifest.kept {
            // What another version of Strata kept of something else is not for this one.
            if let Ok(cuts) = serde_json::from_value(value) {
                out.entry(name).or_insert(cuts);
            }
        }
    }
    Ok(out)
}

/// Tells `compiled` the cuts that frozen segmentations were published with, and which counts of earlier waves its own are held against, as a
/// run does. Errors: as the stores say.
pub async fn keep(compiled: &mut Compiled<'_>, loaded: &Loaded) -> Result<()> {
    let as_of = compiled.clock().as_of;
    let before = published_before(&loaded.source, &loaded.vars, compiled.pipeline(), as_of).await?;
    compiled.hold_against(earlier::digest(&before)?);
    if compiled.pipeline().segments.iter().any(is_frozen) {
        let tables = tables(compiled.pipeline()).await?;
        compiled.keep(kept_cuts(compiled.pipeline(), &tables).await?);
    }
    Ok(())
}

/// Cuts as manifests hold them.
pub(crate) fn as_kept(cuts: &BTreeMap<String, KeptCuts>) -> Result<BTreeMap<String, serde_json::Value>> {
    cuts.iter().map(|(name, cuts)| Ok((name.clone(), serde_json::to_value(cuts).map_err(|e| damaged(&e.to_string()))?))).collect()
}

fn is_frozen(segmentation: &Segmentation) -> bool {
    matches!(&segmentation.method, Method::Rfm(rfm) if matches!(*rfm.mode, RfmMode::Frozen(_)))
}

/// The current version of every output and of every table of rows that were put aside, and whether they are of different runs.
pub async fn outputs(pipeline: &Pipeline) -> Result<(Vec<OutputState>, Option<MixedSet>)> {
    let tables = tables(pipeline).await?;
    let mixed = mixed(&tables);
    let states = tables
        .iter()
        .zip(&pipeline.outputs)
        .map(|(t, output)| OutputState {
            name: t.name.clone(),
            path: t.current.as_ref().map(|v| readers_path(output, &t.place, &v.folder)),
            table: t.place.to_string(),
            format: format_name(output).to_owned(),
            run_id: t.current.as_ref().map(|v| v.run_id.clone()),
            as_of: t.current.as_ref().map(|v| v.as_of.clone()),
            rows: t.current.as_ref().map(|v| v.rows),
        })
        .collect::<Vec<_>>();
    let aside = aside(&quarantine_tables(pipeline).await?);
    Ok((states.into_iter().chain(aside).collect(), mixed))
}

/// Tables of rows that were put aside, where any ever were.
fn aside(tables: &[OutputTable]) -> Vec<OutputState> {
    let known = tables.iter().filter_map(|t| Some((t, t.current.as_ref()?)));
    let state = |(t, v): (&OutputTable, &Version)| OutputState {
        name: t.name.clone(),
        path: Some(t.place.join(&v.folder).to_string()),
        table: t.place.to_string(),
        format: "parquet".to_owned(),
        run_id: Some(v.run_id.clone()),
        as_of: Some(v.as_of.clone()),
        rows: Some(v.rows),
    };
    known.map(state).collect()
}
