//! Going on behind the steps that an earlier attempt of a run, or an earlier run, finished. Never reuses a step that other inputs went into.

use crate::error::{Error, Result};
use crate::identity::{self, Identity, MadeBy};
use crate::journal::{Artifact, Finished, Written, damaged, text_of};
use crate::outputs::{self, OutputTable};
use crate::progress::Event;
use crate::report::{OutputReport, SourceRows, StepReport};
use crate::run::Run;
use crate::solved_wire::{self, Names};
use crate::steps::PlannedStep;
use std::collections::BTreeMap;
use std::time::Duration;
use strata_plan::{Compiled, Solved};
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

impl Run<'_> {
    /// What earlier attempts, or an earlier run, finished, by label.
    pub(crate) async fn earlier(&self) -> Result<BTreeMap<String, Finished>> {
        Ok(self.journal.finished().await?.into_iter().map(|f| (f.step.clone(), f)).collect())
    }

    /// What a step's results depend on. INVARIANT: the steps before it are done.
    pub(crate) fn identity(&mut self, step: &PlannedStep) -> Result<Identity> {
        identity::of_step(&mut self.compiled, &self.solved, &self.made_by, step)
    }

    /// What `earlier` holds of a step of this identity.
    pub(crate) fn found(
        &self,
        earlier: &BTreeMap<String, Finished>,
        step: &PlannedStep,
        identity: &Identity,
    ) -> Result<Option<Artifact>> {
        let Some(finished) = earlier.get(&step.label()) else { return Ok(None) };
        let artifact: Artifact = serde_json::from_value(finished.artifact.clone()).map_err(|e| damaged(&e.to_string()))?;
        let own = artifact.run_id == self.report.run_id;
        Ok((finished.digest == identity.digest && (own || !artifact.secret)).then_some(artifact))
    }

    /// Whether every output is what an earlier run published of the same inputs: then none is written again. One that is not makes all be
    /// written, so that the set is never mixed.
    pub(crate) fn is_published(
        &mut self,
        steps: &[PlannedStep],
        earlier: &BTreeMap<String, Finished>,
        tables: &BTreeMap<String, OutputTable>,
    ) -> Result<bool> {
        for step in steps {
            let (name, may_lack) = match step {
                PlannedStep::Write(name) => (name.clone(), false),
                PlannedStep::Quarantine(source) => (outputs::quarantine_name(source), true),
                _ => continue,
            };
            let identity = self.identity(step)?;
            let Some(artifact) = self.found(earlier, step, &identity)? else { return Ok(false) };
            let current = tables.get(&name).and_then(|t| t.current.as_ref());
            match (artifact.written, current) {
                (Some(w), Some(v)) if w.manifest.run_id == v.run_id && v.run_id != self.report.run_id => {}
                // Nothing was put aside, and nothing ever was.
                (None, None) if may_lack => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
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
    pub(crate) async fn record(&mut self, step: &PlannedStep, identity: Identity, mark: Mark, done: StepReport) -> Result<()> {
        let made = std::mem::take(&mut self.made);
        self.made_by.extend(made.iter().map(|(name, _)| (name.clone(), identity.digest.clone())));
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
            sources: self
                .sources
                .iter()
                .filter(|(n, _)| !mark.sources.contains_key(*n))
                .map(|(n, r)| (n.clone(), r.clone()))
                .collect(),
            models: self.report.models[mark.models..].to_vec(),
            panel: self.report.panel[mark.panel..].to_vec(),
            outputs: self.report.outputs[mark.outputs..].to_vec(),
            warnings: self.report.warnings[mark.warnings..].to_vec(),
            step: done,
            run_id: self.report.run_id.clone(),
            surroundings: self.surroundings.clone(),
            secret: identity.secret,
        };
        let label = step.label();
        let artifact = serde_json::to_value(artifact).map_err(|e| damaged(&e.to_string()))?;
        let finished = Finished { digest: identity.digest, step: label, artifact };
        self.journal.record(finished, &self.report).await
    }

    /// Takes over what an earlier attempt, or an earlier run, did in a step.
    pub(crate) fn reuse(
        &mut self,
        (index, of): (usize, usize),
        step: &PlannedStep,
        identity: &Identity,
        artifact: Artifact,
        tables: &mut BTreeMap<String, OutputTable>,
    ) -> Result<()> {
        let own = artifact.run_id == self.report.run_id;
        take_over(&artifact, identity, &mut self.compiled, &mut self.solved, &mut self.made_by)?;
        if let Some(written) = artifact.written.filter(|_| own) {
            let Some(table) = tables.remove(&written.name) else {
                let message = format!("the output `{}` is gone", written.name);
                return Err(Error::Internal { step: step.label(), message });
            };
            self.written.push((table, Base { current: written.base }, written.manifest));
        }
        self.sources.extend(artifact.sources);
        self.report.models.extend(artifact.models);
        self.report.panel.extend(artifact.panel);
        self.report.outputs.extend(artifact.outputs.into_iter().map(|o| OutputReport { committed: o.committed || !own, ..o }));
        self.report.warnings.extend(artifact.warnings);
        let done = StepReport { reused: true, ..artifact.step };
        let why = if own { "done before".to_owned() } else { format!("unchanged since run {}", artifact.run_id) };
        let (label, detail) = (done.label.clone(), format!("{} ({why})", done.detail));
        self.report.steps.push(done);
        self.progress.event(Event::Finished { index, of, label, detail, took: Duration::ZERO });
        Ok(())
    }
}

/// Makes tables and solved numbers of a finished step known.
pub(crate) fn take_over(
    artifact: &Artifact,
    identity: &Identity,
    compiled: &mut Compiled<'_>,
    solved: &mut Solved,
    made_by: &mut MadeBy,
) -> Result<()> {
    for (name, table) in artifact.made_tables()? {
        made_by.insert(name.clone(), identity.digest.clone());
        compiled.made(name, table);
    }
    solved_wire::restore(&artifact.solved, solved)
}
