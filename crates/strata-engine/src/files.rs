//! The journal of runs on this machine: reports as files, and the finished steps of a pipeline's last run, from which the next goes on.
//! Never used by two runs of a pipeline at a time: the second one starts anew.

use crate::error::{Error, Result};
use crate::journal::{Artifact, Finished, Journal};
use crate::report::RunReport;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Reports of one run, and the steps it may reuse.
#[derive(Debug, Default)]
pub struct Files {
    /// Written whole at each change.
    pub reports: Vec<PathBuf>,
    /// Finished steps; `None`: every step is done.
    pub steps: Option<KeptSteps>,
}

/// The finished steps of a pipeline, in one file.
#[derive(Debug)]
pub struct KeptSteps {
    path: PathBuf,
    kept: Mutex<BTreeMap<String, Kept>>,
    /// Held while the run goes on.
    _lock: Option<File>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    digest: String,
    artifact: Value,
}

impl KeptSteps {
    /// The steps kept in `folder` for a pipeline. `None` where another run of it is at work, or the folder cannot be written: then nothing is
    /// reused and nothing is kept.
    pub fn open(folder: &Path, pipeline: &str) -> Option<Self> {
        std::fs::create_dir_all(folder).ok()?;
        let lock = File::create(folder.join(format!("{pipeline}.lock"))).ok()?;
        lock.try_lock().ok()?;
        Some(Self { _lock: Some(lock), ..Self::read(folder, pipeline) })
    }

    /// What is kept, to look at: nothing is locked, nothing is written.
    pub fn read(folder: &Path, pipeline: &str) -> Self {
        let path = folder.join(format!("{pipeline}.json"));
        // What cannot be read is not reused.
        let kept = std::fs::read(&path).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
        Self { path, kept: Mutex::new(kept), _lock: None }
    }

    /// Steps whose tables are still where they were.
    pub fn finished(&self) -> Vec<Finished> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = kept.into_iter().filter(|(_, k)| is_whole(&k.artifact));
        all.map(|(step, k)| Finished { step, digest: k.digest, artifact: k.artifact }).collect()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Kept>)) -> Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut kept);
        let text = serde_json::to_string(&*kept).map_err(|e| failed(e.to_string()))?;
        write_whole(&self.path, &text)
    }
}

/// Whether the files of its tables are all there, in their sizes.
fn is_whole(artifact: &Value) -> bool {
    let Ok(artifact) = serde_json::from_value::<Artifact>(artifact.clone()) else { return false };
    let Ok(tables) = artifact.made_tables() else { return false };
    let here = |path: &str, size: u64| std::fs::metadata(Path::new("/").join(path)).is_ok_and(|m| m.len() == size);
    tables.iter().flat_map(|(_, t)| &t.files).all(|f| here(&f.path, f.size))
}

fn failed(message: String) -> Error {
    Error::Failed { step: "report".into(), message }
}

fn write_whole(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    let write = || {
        std::fs::create_dir_all(&folder)?;
        let part = path.with_extension("json.part");
        std::fs::write(&part, text)?;
        std::fs::rename(&part, path)
    };
    write().map_err(|e: std::io::Error| failed(format!("cannot write `{}`: {e}", path.display())))
}

fn run_of(artifact: &Value) -> Option<String> {
    artifact["run_id"].as_str().map(str::to_owned)
}

#[async_trait]
impl Journal for Files {
    async fn finished(&self) -> Result<Vec<Finished>> {
        Ok(self.steps.as_ref().map(KeptSteps::finished).unwrap_or_default())
    }

    async fn began(&self, _: usize, _: usize, _: &str) -> Result<()> {
        Ok(())
    }

    async fn record(&self, finished: Finished, _: &RunReport) -> Result<()> {
        let Some(steps) = &self.steps else { return Ok(()) };
        let kept = Kept { digest: finished.digest, artifact: finished.artifact };
        steps.change(|all| {
            all.insert(finished.step, kept);
        })
    }

    async fn report(&self, report: &RunReport) -> Result<()> {
        let text = serde_json::to_string_pretty(report).map_err(|e| failed(e.to_string()))?;
        self.reports.iter().try_for_each(|path| write_whole(path, &text))
    }

    async fn may_commit(&self) -> Result<()> {
        Ok(())
    }

    fn resumes(&self) -> bool {
        self.steps.is_some()
    }

    async fn keep(&self, done: &[String]) -> Result<Option<Vec<String>>> {
        let Some(steps) = &self.steps else { return Ok(None) };
        let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
        steps.change(|all| {
            before.extend(all.values().filter_map(|k| run_of(&k.artifact)));
            all.retain(|step, _| done.contains(step));
            after.extend(all.values().filter_map(|k| run_of(&k.artifact)));
        })?;
        Ok(Some(before.difference(&after).cloned().collect()))
    }
}
