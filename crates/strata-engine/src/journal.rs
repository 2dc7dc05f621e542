//! What a run has finished, kept where the next process finds it: a run that is killed goes on behind its last finished step.
//! Never decides what runs.

use crate::error::{Error, Result};
use crate::report::{ModelReport, OutputReport, RunReport, SourceRows, StepReport, WaveReport};
use crate::solved_wire;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use strata_operators::pinned::PinnedTable;
use strata_plan::Catalog;
use strata_publish::{Manifest, Version};

/// A finished step.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Its label, unique in the run.
    pub step: String,
    /// Digest of everything that went into it.
    pub digest: String,
    /// What it made.
    pub artifact: Value,
}

/// Keeps what a run has finished, and its report.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Steps that earlier attempts of this run finished.
    async fn finished(&self) -> Result<Vec<Finished>>;
    /// A step begins.
    async fn began(&self, index: usize, of: usize, step: &str) -> Result<()>;
    /// A step ended well. What is recorded survives any crash from here on.
    async fn record(&self, finished: Finished, report: &RunReport) -> Result<()>;
    /// The report changed.
    async fn report(&self, report: &RunReport) -> Result<()>;
    /// Asked right before each commit. Errors: `Conflict` if another process took the run over.
    async fn may_commit(&self) -> Result<()>;
    /// Whether a failed run may be resumed, so that what it made is kept.
    fn resumes(&self) -> bool;
    /// The run ended well and `steps` are what it did: the next run of the pipeline may go on from there. Gives the runs whose tables nobody
    /// needs any more; `None` where every run starts anew.
    async fn keep(&self, steps: &[String]) -> Result<Option<Vec<String>>>;
}

/// Files that were written for an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Written {
    /// Output.
    pub(crate) name: String,
    /// The version it goes on top of.
    pub(crate) base: Option<Version>,
    /// The files.
    pub(crate) manifest: Manifest,
}

/// What a step added to the run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Artifact {
    pub(crate) step: StepReport,
    /// The run that did it.
    #[serde(default)]
    pub(crate) run_id: String,
    /// What can change from run to run, as it was.
    #[serde(default)]
    pub(crate) surroundings: BTreeMap<String, String>,
    /// Whether a secret went into it.
    #[serde(default)]
    pub(crate) secret: bool,
    /// Tables of the work area, as hexadecimal messages.
    pub(crate) made: Vec<(String, String)>,
    pub(crate) solved: Value,
    pub(crate) written: Option<Written>,
    pub(crate) sources: BTreeMap<String, SourceRows>,
    pub(crate) models: Vec<ModelReport>,
    pub(crate) panel: Vec<WaveReport>,
    pub(crate) outputs: Vec<OutputReport>,
    pub(crate) warnings: Vec<String>,
}

impl Artifact {
    pub(crate) fn made_tables(&self) -> Result<Vec<(String, PinnedTable)>> {
        self.made.iter().map(|(name, hex)| Ok((name.clone(), table_of(hex)?))).collect()
    }
}

/// A pinned table as text.
pub(crate) fn text_of(table: &PinnedTable) -> Result<String> {
    let bytes = table.to_bytes().map_err(|e| damaged(&e.to_string()))?;
    Ok(solved_wire::hex(&bytes))
}

fn table_of(text: &str) -> Result<PinnedTable> {
    let bytes = solved_wire::unhex(text).ok_or_else(|| damaged("not hexadecimal"))?;
    PinnedTable::from_bytes(&bytes).map_err(|e| damaged(&e.to_string()))
}

/// The pinned sources of a run, to be kept with it: every attempt reads the same files.
pub fn pins_to_json(catalog: &Catalog) -> Result<Value> {
    let sources = catalog.sources.iter().map(|(n, t)| Ok((n.clone(), text_of(t)?))).collect::<Result<_>>()?;
    serde_json::to_value(Pins { sources, drift: catalog.drift.clone() }).map_err(|e| damaged(&e.to_string()))
}

/// What is kept of a catalog.
#[derive(serde::Serialize, serde::Deserialize)]
struct Pins {
    sources: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    drift: Vec<String>,
}

/// The catalog that [`pins_to_json`] kept.
pub fn pins_from_json(value: &Value) -> Result<Catalog> {
    let Pins { sources, drift } = serde_json::from_value(value.clone()).map_err(|e| damaged(&e.to_string()))?;
    let sources = sources.iter().map(|(n, t)| Ok((n.clone(), table_of(t)?))).collect::<Result<HashMap<_, _>>>()?;
    Ok(Catalog { sources, drift, ..Catalog::default() })
}

pub(crate) fn damaged(why: &str) -> Error {
    Error::Internal { step: "resume".into(), message: format!("what an earlier attempt recorded cannot be read: {why}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_hears_what_the_first_found_of_columns() {
        let catalog = Catalog { drift: vec!["`x` of `y` is \"new\"".into()], ..Catalog::default() };
        let kept = pins_to_json(&catalog).unwrap();
        let back = pins_from_json(&serde_json::from_str(&kept.to_string()).unwrap()).unwrap();
        assert_eq!((back.drift, back.sources.len()), (catalog.drift, 0));
        assert_eq!(pins_to_json(&Catalog::default()).unwrap().to_string(), r#"{"sources":{}}"#);
    }
}
