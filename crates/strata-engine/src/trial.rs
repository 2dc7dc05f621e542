//! A part of a pipeline, run to look at it: the steps that one thing needs, in this process. Never publishes anything.

use crate::error::{Error, Result};
use crate::files::Files;
use crate::load::{Loaded, verdict};
use crate::progress::{Progress, Silent};
use crate::replay::{self, PublishedDraw, Replay};
use crate::report::{RunReport, WaveReport};
use crate::returned::{self, ReturnReport, Returned, Weighed};
use crate::run::{Around, Run};
use crate::runner::Runner;
use crate::steps::PlannedStep;
use crate::{guard, panel};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use strata_plan::{Catalog, Clock, Compiled, Node, Required, Solved};
use strata_runtime::store;
use strata_spec::pipeline::Output;

/// Nothing is kept of a trial.
static UNKEPT: Files = Files { reports: Vec::new(), steps: None };
static SILENT: Silent = Silent;

/// A pipeline of which some steps are done.
pub struct Trial<'a> {
    run: Run<'a>,
    done: Vec<PlannedStep>,
}

impl<'a> Trial<'a> {
    /// A loaded pipeline over its own inputs. Tables between steps go below `work`, which is the caller's to remove. Errors:
    /// `Invalid` and
    /// `Policy` as a run.
    pub fn new(loaded: &'a Loaded, runner: &'a dyn Runner, work: &Path) -> Result<Self> {
        Self::over(loaded, loaded.catalog.clone(), loaded.clock, runner, work)
    }

    /// The same over other inputs, at another instant.
    pub fn over(loaded: &'a Loaded, catalog: Catalog, clock: Clock, runner: &'a dyn Runner, work: &Path) -> Result<Self> {
        verdict(&loaded.diagnostics)?;
        let Some(pipeline) = &loaded.pipeline else { return Err(Error::Invalid(1)) };
        let outcome = strata_plan::compile(pipeline, clock, catalog);
        verdict(&outcome.diagnostics)?;
        let Some(compiled) = outcome.compiled else { return Err(Error::Invalid(1)) };
        let failed = |e: store::Error| Error::Failed { step: "work area".into(), message: e.to_string() };
        let work = store::place(&work.to_string_lossy()).map_err(failed)?;
        let progress: &dyn Progress = &SILENT;
        let around = Around { runner, progress, source: &loaded.source, vars: &loaded.vars, journal: &UNKEPT };
        let report = RunReport { attempt: 1, ..RunReport::default() };
        let mut run = Run::begin(compiled, around, work, report);
        run.asks = false;
        Ok(Self { run, done: vec![] })
    }

    /// What was compiled.
    pub fn compiled(&self) -> &Compiled<'a> {
        &self.run.compiled
    }

    /// What a run would say of the rows that were read so far, and whose checks were not asked.
    pub fn notes(&self) -> Vec<String> {
        let pipeline = self.compiled().pipeline();
        let of_sources = pipeline.sources.iter().map(|s| &s.name.value).filter(|s| !self.compiled().table_checks(s).is_empty());
        let of_tables = pipeline.tables.iter().filter(|t| !t.checks.is_empty()).map(|t| &t.name.value);
        let unasked: Vec<String> = of_sources.chain(of_tables).map(|n| format!("`{n}`")).collect();
        let mut out = self.run.failing_rows();
        if !unasked.is_empty() {
            out.push(format!("checks of all rows together were not asked, a run asks them: {}", unasked.join(", ")));
        }
        out
    }

    /// What was solved so far.
    pub fn solved(&self) -> &Solved {
        &self.run.solved
    }

    /// Does the steps that are not done yet. Errors: as a run's.
    pub async fn make(&mut self, required: &Required) -> Result<()> {
        let tables = required.tables.iter().cloned().map(PlannedStep::Table);
        let attributes = required.attributes.iter().cloned().map(PlannedStep::Attributes);
        let solved = required.solved.iter().cloned().map(PlannedStep::Solve);
        let wave = required.wave.iter().cloned().map(PlannedStep::Wave);
        for step in tables.chain(attributes).chain(solved).chain(wave) {
            if self.done.contains(&step) {
                continue;
            }
            let place = step.span(self.run.compiled.pipeline()).map(|span| self.source().place(span));
            self.run.step(&step, &mut BTreeMap::new()).await.map_err(|e| match place {
                Some(place) => e.at(&place),
                None => e,
            })?;
            self.done.push(step);
        }
        Ok(())
    }

    /// The first rows of a node, after the steps it needs. Errors: as a run's.
    pub async fn first_rows(&mut self, node: &Node, rows: usize) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let failed = |e| Error::of_step("preview", e);
        let required = self.run.compiled.required(node).map_err(failed)?;
        self.make(&required).await?;
        let plan = match self.guarded(node).await? {
            Some(plan) => LogicalPlanBuilder::from(plan).limit(0, Some(rows)).and_then(|b| b.build()).map_err(failed)?,
            None => self.run.compiled.first_rows(node, &self.run.solved, rows).map_err(failed)?,
        };
        self.collect(plan).await
    }

    /// All rows of a node, after the steps it needs. Errors: as a run's.
    pub async fn rows(&mut self, node: &Node) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let failed = |e| Error::of_step("rows", e);
        let required = self.run.compiled.required(node).map_err(failed)?;
        self.make(&required).await?;
        let plan = match self.guarded(node).await? {
            Some(plan) => plan,
            None => self.run.compiled.node_plan(node, &self.run.solved).map_err(failed)?,
        };
        self.collect(plan).await
    }

    /// The rows of an output that guards the people in it; whoever looks at them sees no more than its readers.
    async fn guarded(&mut self, node: &Node) -> Result<Option<LogicalPlan>> {
        let Node::Output(name) = node else { return Ok(None) };
        let output = self.run.compiled.pipeline().outputs.iter().find(|o| o.name.value == *name).cloned();
        let guards = |o: &Output| o.export.anonymity.is_some() || o.export.min_cell.is_some();
        match output.filter(guards) {
            Some(output) if output.export.min_cell.is_some() && self.run.before.is_empty() => {
                self.run.look_back().await?;
                Ok(Some(guard::plan(&mut self.run, &format!("output {name}"), &output).await?.0))
            }
            Some(output) => Ok(Some(guard::plan(&mut self.run, &format!("output {name}"), &output).await?.0)),
            None => Ok(None),
        }
    }

    /// All rows of a plan of the compiled pipeline. Errors: as a run's.
    pub async fn collect(&mut self, plan: LogicalPlan) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let schema = Arc::new(plan.schema().as_arrow().clone());
        Ok((schema, self.run.collect("rows", plan).await?))
    }

    /// Counts who is eligible for a wave and allocates it, after the steps it needs; draws nobody. Gives the report and what is
    /// worth a
    /// look. Errors: as a run's; `Failed` for a wave that is none, naming the nearest.
    pub async fn planned_wave(&mut self, name: &str) -> Result<(WaveReport, Vec<String>)> {
        let wave = self.wave(name)?;
        let step = format!("panel {name}");
        let required = self.run.compiled.required(&Node::Wave(name.to_owned())).map_err(|e| Error::of_step(&step, e))?;
        self.make(&Required { wave: None, ..required }).await?;
        let place = self.source().place(wave.name.span);
        let before = self.run.report.warnings.len();
        let report = panel::planned(&mut self.run, &step, &wave).await.map_err(|e| e.at(&place))?;
        Ok((report, self.run.report.warnings.split_off(before)))
    }

    /// Weighs the answers of a wave, after the steps it needs: the wave is drawn as a run of the same inputs draws it. Errors:
    /// as a run's;
    /// `Contract` where the fieldwork does not fit the wave.
    pub async fn weighed(&mut self, name: &str, returned: &Returned) -> Result<(ReturnReport, Vec<Weighed>)> {
        let wave = self.wave(name)?;
        let required = self.run.compiled.required(&Node::Wave(name.to_owned()));
        self.make(&required.map_err(|e| Error::of_step("weights", e))?).await?;
        let place = self.source().place(wave.name.span);
        returned::weigh(&mut self.run, &wave, returned).await.map_err(|e| e.at(&place))
    }

    /// Draws a published wave again, after the steps it needs, and compares. Errors: as a run's; `Failed` for a wave that is none, or no
    /// output of its columns.
    pub async fn replay(&mut self, then: &PublishedDraw) -> Result<Replay> {
        let wave = self.wave(&then.wave)?;
        let required = self.run.compiled.required(&Node::Wave(wave.name.value.clone()));
        self.make(&required.map_err(|e| Error::of_step("replay", e))?).await?;
        let place = self.source().place(wave.name.span);
        replay::replay(&mut self.run, then).await.map_err(|e| e.at(&place))
    }

    fn wave(&self, name: &str) -> Result<strata_spec::pipeline::Wave> {
        let pipeline = self.run.compiled.pipeline();
        if let Some(wave) = pipeline.wave(name) {
            return Ok(wave.clone());
        }
        let known: Vec<&str> = pipeline.panel.iter().flat_map(|p| &p.waves).map(|w| w.name.as_str()).collect();
        let near = strata_spec::diagnostic::did_you_mean(name, known.iter().copied());
        let help = match (near, known.is_empty()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, true) => "the pipeline has no `panel`".to_owned(),
            (None, false) => format!("its waves are: {}", known.join(", ")),
        };
        Err(Error::Failed { step: "panel".into(), message: format!("the pipeline has no wave `{name}`\n  help: {help}") })
    }

    fn source(&self) -> &'a strata_spec::SourceText {
        self.run.source
    }
}
