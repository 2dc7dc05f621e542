//! Going on behind the steps that an earlier attempt of a run finished. Never reuses a step that other inputs went into.

use crate::error::{Error, Result};
use crate::journal::{Artifact, Finished, Written, damaged, text_of};
use crate::load::Loaded;
use crate::outputs::OutputTable;
use crate::progress::Event;
use crate::report::{SourceRows, StepReport};
use crate::run::Run;
use crate::solved_wire::{self, Names, hex};
use crate::steps::PlannedStep;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;
use strata_plan::Compiled;
use strata_publish::Base;

/// How far a run was before a step.
pub(crate) struct Mark {
    pub(crate) spilled: u64,
    pub(crate) shuffled: u64,
    solved: Names,
    sources: BTreeMap<String, SourceRows>,
    models: usize,
    panel: usize,
    outputs: usize,
    warnings: usize,
    written: usize,
}

/// Digest of everything that goes into a run: the pipeline's text and variables, its clock, the pinned files, this version of Strata.
pub(crate) fn inputs(loaded: &Loaded, compiled: &Compiled<'_>) -> Result<String> {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    add(env!("CARGO_PKG_VERSION").as_bytes());
    add(loaded.source.text.as_bytes());
    add(format!("{:?}", loaded.vars).as_bytes());
    add(loaded.clock.as_of.to_rfc3339().as_bytes());
    add(loaded.clock.timezone.name().as_bytes());
    for (name, pinned) in compiled.pinned_sources() {
        add(name.as_bytes());
        add(text_of(pinned)?.as_bytes());
    }
    Ok(hex(&hash.finalize()))
}

impl Run<'_> {
    /// What earlier attempts finished with the same inputs, by label.
    pub(crate) async fn earlier(&self) -> Result<BTreeMap<String, Artifact>> {
        let mut out = BTreeMap::new();
        for finished in self.journal.finished().await? {
            if finished.digest == self.digest(&finished.step) {
                let artifact = serde_json::from_value(finished.artifact).map_err(|e| damaged(&e.to_string()))?;
                out.insert(finished.step, artifact);
            }
        }
        Ok(out)
    }

    fn digest(&self, step: &str) -> String {
        hex(&Sha256::digest(format!("{}/{step}", self.inputs).as_bytes()))
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            spilled: self.spilled,
            shuffled: self.shuffled,
            solved: Names::of(&self.solved),
            sources: self.sources.clone(),
            models: self.report.models.len(),
            panel: self.report.panel.len(),
            outputs: self.report.outputs.len(),
            warnings: self.report.warnings.len(),
            written: self.written.len(),
        }
    }

    /// Keeps what a step added since `mark`. The commit is no step to skip: committing again is how it is finished.
    pub(crate) async fn record(&mut self, step: &PlannedStep, mark: Mark, done: StepReport) -> Result<()> {
        let made = std::mem::take(&mut self.made);
        if !self.journal.resumes() || *step == PlannedStep::Commit {
            return Ok(());
        }
        let written = self.written.get(mark.written).map(|(table, base, manifest)| Written {
            name: table.name.clone(),
            base: base.current.clone(),
            manifest: manifest.clone(),
        });
        let artifact = Artifact {
            made: made.iter().map(|(name, table)| Ok((name.clone(), text_of(table)?))).collect::<Result<_>>()?,
            solved: solved_wire::added(&self.solved, &mark.solved)?,
            written,
            sources: self.sources.iter().filter(|(n, _)| !mark.sources.contains_key(*n)).map(|(n, r)| (n.clone(), r.clone())).collect(),
            models: self.report.models[mark.models..].to_vec(),
            panel: self.report.panel[mark.panel..].to_vec(),
            outputs: self.report.outputs[mark.outputs..].to_vec(),
            warnings: self.report.warnings[mark.warnings..].to_vec(),
            step: done,
        };
        let label = step.label();
        let artifact = serde_json::to_value(artifact).map_err(|e| damaged(&e.to_string()))?;
        let finished = Finished { digest: self.digest(&label), step: label, artifact };
        self.journal.record(finished, &self.report).await
    }

    /// Takes over what an earlier attempt did in a step.
    pub(crate) fn reuse(
        &mut self,
        index: usize,
        of: usize,
        step: &PlannedStep,
        artifact: Artifact,
        tables: &mut BTreeMap<String, OutputTable>,
    ) -> Result<()> {
        for (name, table) in artifact.made_tables()? {
            self.compiled.made(name, table);
        }
        solved_wire::restore(&artifact.solved, &mut self.solved)?;
        if let Some(written) = artifact.written {
            let Some(table) = tables.remove(&written.name) else {
                let message = format!("the output `{}` is gone", written.name);
                return Err(Error::Internal { step: step.label(), message });
            };
            self.written.push((table, Base { current: written.base }, written.manifest));
        }
        self.sources.extend(artifact.sources);
        self.report.models.extend(artifact.models);
        self.report.panel.extend(artifact.panel);
        self.report.outputs.extend(artifact.outputs);
        self.report.warnings.extend(artifact.warnings);
        let done = StepReport { reused: true, ..artifact.step };
        let (label, detail) = (done.label.clone(), format!("{} (done before)", done.detail));
        self.report.steps.push(done);
        self.progress.event(Event::Finished { index, of, label, detail, took: Duration::ZERO });
        Ok(())
    }
}
