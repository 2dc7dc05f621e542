//! The life of a run: steps in order, then every output is written and checked, then each is committed, and at any moment a report says how
//! far it came. Never commits anything before everything is written.

use crate::error::{Error, Result};
use crate::files::{Files, KeptSteps};
use crate::guard::Counted;
use crate::guard::earlier::{self, Earlier};
use crate::identity::{self, Identity, MadeBy};
use crate::journal::Journal;
use crate::load::{Loaded, verdict};
use crate::meter::Meter;
use crate::outputs::{self, OutputTable};
use crate::progress::{Event, Progress};
use crate::report::{RunReport, SegmentReport, SegmentSize, SourceRows, StepReport};
use crate::runner::{Runner, Running};
use crate::steps::{PlannedStep, planned_steps};
use crate::{damage, panel, published, rows, solve};
use arrow::record_batch::RecordBatch;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::common;
use futures::StreamExt;
use futures::future::try_join_all;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use strata_operators::pinned::{PinnedFormat, PinnedTable};
use strata_operators::write::{Formulas, WriteFormat, WriteNode, WritePurpose, WriteSpec};
use strata_plan::{Compiled, Solved};
use strata_publish::{Base, Manifest, Receipt, stored_schema};
use strata_runtime::clock::{self, Stopwatch};
use strata_runtime::store::{self, Place};
use strata_runtime::sweep;
use strata_spec::SourceText;

/// How a run is done.
#[derive(Clone)]
pub struct RunOptions {
    /// Its id; `None`: a new one.
    pub run_id: Option<String>,
    /// Which attempt at it this is, from 1.
    pub attempt: u32,
    /// Address of the folder for tables between steps; every process that runs a part of it must reach it.
    pub work: String,
    /// Where reports and finished steps are kept.
    pub journal: Arc<dyn Journal>,
}

impl RunOptions {
    /// A run of this machine: tables between steps and reports below `state`, the report in `report` as well.
    pub fn local(state: &Path, report: Option<PathBuf>) -> Self {
        let run_id = clock::run_id();
        let own = state.join("runs").join(&run_id).join("report.json");
        // What is below the state folder is nobody's source. Where it cannot be written the run will say so.
        let _ = std::fs::create_dir_all(state).and_then(|()| std::fs::write(state.join(".gitignore"), "*\n"));
        Self {
            run_id: Some(run_id),
            attempt: 1,
            work: state.join("work").to_string_lossy().into_owned(),
            journal: Arc::new(Files { reports: std::iter::once(own).chain(report).collect(), steps: None }),
        }
    }

    /// The same, going on from what the last run of `pipeline` on this machine left: a step of the same inputs is not done again.
    pub fn reusing(state: &Path, report: Option<PathBuf>, pipeline: &str) -> Self {
        let anew = Self::local(state, None);
        let own = state.join("runs").join(anew.run_id.clone().unwrap_or_default()).join("report.json");
        let steps = KeptSteps::open(&state.join("steps"), pipeline);
        Self { journal: Arc::new(Files { reports: std::iter::once(own).chain(report).collect(), steps }), ..anew }
    }
}

/// A run at work.
pub(crate) struct Run<'a> {
    pub(crate) runner: &'a dyn Runner,
    pub(crate) compiled: Compiled<'a>,
    pub(crate) solved: Solved,
    pub(crate) report: RunReport,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) source: &'a SourceText,
    work: Place,
    pub(crate) journal: &'a dyn Journal,
    /// Tables of the work area, with the digest of the step that made each.
    pub(crate) made_by: MadeBy,
    /// What can change from run to run.
    pub(crate) surroundings: BTreeMap<String, String>,
    pub(crate) sources: BTreeMap<String, SourceRows>,
    pub(crate) made: Vec<(String, PinnedTable)>,
    pub(crate) spilled: u64,
    pub(crate) shuffled: u64,
    pub(crate) written: Vec<(OutputTable, Base, Manifest)>,
    /// Values of variables, as given.
    pub(crate) vars: &'a [(String, String)],
    /// Counts that earlier waves published, where outputs are held against them.
    pub(crate) before: Vec<Earlier>,
    /// Counts of this run's waves that outputs are cut from.
    pub(crate) counted: Counted,
    /// Whether checks are asked: a look at a part of the pipeline asks none.
    pub(crate) asks: bool,
}

/// Runs a loaded pipeline. The report is also given when the run fails, in the second place. Dropping the future stops the run; with a
/// journal that resumes, another attempt goes on behind its last finished step. Errors: as [`Error`] says.
pub async fn run(loaded: &Loaded, runner: &dyn Runner, options: &RunOptions, progress: &dyn Progress) -> (Result<()>, RunReport) {
    let watch = Stopwatch::start();
    let run_id = options.run_id.clone().unwrap_or_else(clock::run_id);
    let mut report = RunReport {
        format: 1,
        run_id: run_id.clone(),
        attempt: options.attempt,
        file: loaded.source.path.clone(),
        as_of: loaded.clock.as_of.to_rfc3339(),
        timezone: loaded.clock.timezone.name().to_owned(),
        started_at: clock::now().to_rfc3339(),
        state: "running".into(),
        ..Default::default()
    };
    let result = prepare_and_run(loaded, runner, options, progress, &mut report).await;
    report.seconds = watch.elapsed().as_secs_f64();
    report.state = if result.is_ok() { "succeeded" } else { "failed" }.to_owned();
    if let Err(e) = &result {
        report.class = Some(e.class().to_owned());
        report.error = Some(e.to_string());
    }
    let saved = options.journal.report(&report).await;
    let done: Vec<String> = report.steps.iter().map(|s| s.label.clone()).collect();
    let unneeded = match &result {
        Ok(()) => options.journal.keep(&done).await.unwrap_or_default().unwrap_or_else(|| vec![run_id.clone()]),
        Err(_) if options.journal.resumes() => vec![],
        Err(_) => vec![run_id.clone()],
    };
    if let Ok(work) = store::place(&options.work) {
        // What cannot be removed now is left to `gc`.
        for run in unneeded {
            let _ = sweep::clear(&work.join(&run)).await;
        }
    }
    (result.and(saved), report)
}

async fn prepare_and_run(
    loaded: &Loaded,
    runner: &dyn Runner,
    options: &RunOptions,
    progress: &dyn Progress,
    report: &mut RunReport,
) -> Result<()> {
    verdict(&loaded.diagnostics)?;
    let Some(pipeline) = &loaded.pipeline else { return Err(Error::Invalid(1)) };
    report.pipeline = pipeline.name.value.clone();
    report.warnings.extend(loaded.catalog.drift.iter().cloned());
    let outcome = strata_plan::compile(pipeline, loaded.clock, loaded.catalog.clone());
    verdict(&outcome.diagnostics)?;
    let Some(compiled) = outcome.compiled else { return Err(Error::Invalid(1)) };
    let failed = |message: String| Error::Failed { step: "work area".into(), message };
    let work = store::place(&options.work).map_err(|e| failed(e.to_string()))?.join(&report.run_id);
    let surroundings = identity::surroundings(&compiled)?;
    let journal = options.journal.as_ref();
    let around = Around { runner, progress, source: &loaded.source, vars: &loaded.vars, journal };
    let mut run = Run { surroundings, ..Run::begin(compiled, around, work, std::mem::take(report)) };
    let result = run.all().await;
    run.report.sources = run.source_rows();
    *report = run.report;
    result
}

/// What a run works with.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) runner: &'a dyn Runner,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) source: &'a SourceText,
    /// Values of variables, as given.
    pub(crate) vars: &'a [(String, String)],
    pub(crate) journal: &'a dyn Journal,
}

impl<'a> Run<'a> {
    /// A run that has not done anything.
    pub(crate) fn begin(compiled: Compiled<'a>, around: Around<'a>, work: Place, report: RunReport) -> Self {
        let Around { runner, progress, source, vars, journal } = around;
        Self {
            runner,
            compiled,
            solved: Solved::default(),
            report,
            progress,
            source,
            work,
            journal,
            made_by: MadeBy::new(),
            surroundings: BTreeMap::new(),
            sources: BTreeMap::new(),
            made: vec![],
            spilled: 0,
            shuffled: 0,
            written: vec![],
            vars,
            before: vec![],
            counted: Counted::default(),
            asks: true,
        }
    }
}

impl Run<'_> {
    pub(crate) fn say(&self, event: Event) {
        self.progress.event(event);
    }

    async fn all(&mut self) -> Result<()> {
        let tables = outputs::tables(self.compiled.pipeline()).await?;
        let aside = outputs::quarantine_tables(self.compiled.pipeline()).await?;
        outputs::probe(&tables, &self.report.run_id).await?;
        self.report.mixed_before = outputs::mixed(&tables);
        if let Some(mixed) = &self.report.mixed_before {
            self.progress.event(Event::Note(format!(
                "the outputs were a mixed set: `{}` is of run {}, `{}` of run {}; this run repairs it",
                mixed.oldest.0, mixed.oldest.1, mixed.newest.0, mixed.newest.1
            )));
        }
        self.compiled.keep(outputs::kept_cuts(self.compiled.pipeline(), &tables).await?);
        self.look_back().await?;
        let mut tables: BTreeMap<String, OutputTable> = tables.into_iter().chain(aside).map(|t| (t.name.clone(), t)).collect();
        self.journal.report(&self.report).await?;
        let steps = planned_steps(&self.compiled);
        let earlier = self.earlier().await?;
        let mut published = None;
        for (i, step) in steps.iter().enumerate() {
            let place = (i + 1, steps.len());
            let identity = self.identity(step)?;
            let found = self.found(&earlier, step, &identity)?;
            let reused = match (step, &found) {
                (PlannedStep::Write(_) | PlannedStep::Quarantine(_), Some(artifact)) if artifact.run_id != self.report.run_id => {
                    match published {
                        Some(known) => known,
                        None => *published.insert(self.is_published(&steps, &earlier, &tables)?),
                    }
                }
                (_, found) => found.is_some(),
            };
            match found.filter(|_| reused) {
                Some(artifact) => self.reuse(place, step, &identity, artifact, &mut tables)?,
                None => self.perform(place, step, identity, &mut tables).await?,
            }
        }
        Ok(())
    }

    /// Looks for the counts of earlier waves that those of this one are held against. Errors: as the stores say.
    pub(crate) async fn look_back(&mut self) -> Result<()> {
        let as_of = self.compiled.clock().as_of;
        self.before = earlier::published_before(self.source, self.vars, self.compiled.pipeline(), as_of).await?;
        self.compiled.hold_against(earlier::digest(&self.before)?);
        Ok(())
    }

    async fn perform(
        &mut self,
        (index, of): (usize, usize),
        step: &PlannedStep,
        identity: Identity,
        tables: &mut BTreeMap<String, OutputTable>,
    ) -> Result<()> {
        let watch = Stopwatch::start();
        let (label, rows) = (step.label(), self.rows_to_read(step));
        self.progress.event(Event::Started { index, of, label: label.clone(), rows });
        self.journal.began(index, of, &label).await?;
        let mark = self.mark();
        let place = step.span(self.compiled.pipeline()).map(|span| self.source.place(span));
        let known = self.sources.keys().cloned().collect();
        let done = match self.step(step, tables).await {
            Ok(detail) => self.hold_rows(&label, &known).await.map(|()| detail),
            failed => failed,
        };
        let detail = done.map_err(|e| match place {
            Some(place) => e.at(&place),
            None => e,
        })?;
        let took = watch.elapsed();
        let done = StepReport {
            label: label.clone(),
            seconds: took.as_secs_f64(),
            detail: detail.clone(),
            spilled_bytes: self.spilled - mark.spilled,
            shuffled_bytes: self.shuffled - mark.shuffled,
            reused: false,
        };
        self.report.steps.push(done.clone());
        self.record(step, identity, mark, done).await?;
        self.progress.event(Event::Finished { index, of, label, detail, took });
        Ok(())
    }

    /// Does one step; `tables` are those of the outputs that are not written yet. Gives what to say of it.
    pub(crate) async fn step(&mut self, step: &PlannedStep, tables: &mut BTreeMap<String, OutputTable>) -> Result<String> {
        match step {
            PlannedStep::Check(source) => self.check_source(source).await,
            PlannedStep::Quarantine(source) => match tables.remove(&outputs::quarantine_name(source)) {
                Some(table) => self.write_quarantine(source, table).await,
                None => Ok(String::new()),
            },
            PlannedStep::Table(name) => {
                let plan = self.planned(&format!("table {name}"), self.compiled.table_plan(name))?;
                let rows = self.materialise(&format!("table {name}"), &format!("table:{name}"), plan).await?;
                self.check_table_keys(name).await?;
                let checked = self.check_table(&format!("table {name}"), name).await?;
                Ok(format!("{rows} rows{checked}"))
            }
            PlannedStep::Attributes(entity) => self.attributes(entity).await,
            PlannedStep::Solve(name) => {
                let detail = solve::segmentation(self, name).await?;
                Ok(detail)
            }
            PlannedStep::Wave(name) => panel::wave(self, name).await,
            PlannedStep::Write(name) => {
                let Some(table) = tables.remove(name) else { return Ok(String::new()) };
                self.write_output(name, table).await
            }
            PlannedStep::Commit => self.commit().await,
        }
    }

    /// Errors: `Contract` if two rows of a global table have one key, or two rows of a source that rows below it refer to: each row of theirs
    /// would be there twice.
    async fn check_table_keys(&mut self, name: &str) -> Result<()> {
        let step = format!("table {name}");
        let referenced = self.planned(&step, self.compiled.repeated_references(name))?;
        let own = self.planned(&step, self.compiled.repeated_keys(name))?.map(|plan| (name.to_owned(), plan));
        for (name, plan) in referenced.into_iter().chain(own) {
            let n = solve::integer(&self.collect(&step, plan).await?, 0, 0);
            if n > 0 {
                return Err(Error::Contract {
                    step,
                    message: format!("{n} keys of `{name}` stand in more than one row"),
                    help: "one row a key: group by the key, say `duplicates:` at a source, or declare the key that the rows really have"
                        .into(),
                });
            }
        }
        Ok(())
    }

    fn rows_to_read(&self, step: &PlannedStep) -> Option<u64> {
        match step {
            PlannedStep::Attributes(_) => self.compiled.source_rows(),
            _ => None,
        }
    }

    /// What the compiler gave, or its error as this step's.
    pub(crate) fn planned<T>(&self, step: &str, plan: datafusion::common::Result<T>) -> Result<T> {
        plan.map_err(|e| Error::of_step(step, e))
    }

    /// All rows of a small result.
    pub(crate) async fn collect(&mut self, step: &str, plan: LogicalPlan) -> Result<Vec<RecordBatch>> {
        let mut out = vec![];
        self.each(step, plan, &mut |batch| {
            out.push(batch);
            Ok(())
        })
        .await?;
        Ok(out)
    }

    /// Hands each batch of a result on, as it comes.
    pub(crate) async fn each(
        &mut self,
        step: &str,
        plan: LogicalPlan,
        f: &mut (dyn FnMut(RecordBatch) -> Result<()> + Send),
    ) -> Result<()> {
        let plans = std::slice::from_ref(&plan);
        let mut running = match self.started(step, &plan).await {
            Ok(running) => running,
            Err(e) => return Err(self.named(step, e, plans).await),
        };
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                batch = running.rows.next() => match batch {
                    Some(Ok(batch)) => f(batch)?,
                    Some(Err(e)) => return Err(self.named(step, e, plans).await),
                    None => break,
                },
                _ = tick.tick() => {
                    let rows = rows::scanned(&running.meter.readings().await);
                    self.progress.event(Event::Moved { rows, tasks: running.meter.tasks().await });
                }
            }
        }
        self.count(running.meter.as_ref()).await;
        Ok(())
    }

    /// All rows of several small results, whose plans run beside one another where there is room.
    pub(crate) async fn collect_all(&mut self, step: &str, plans: Vec<LogicalPlan>) -> Result<Vec<Vec<RecordBatch>>> {
        let running = match try_join_all(plans.iter().map(|plan| self.started(step, plan))).await {
            Ok(running) => running,
            Err(e) => return Err(self.named(step, e, &plans).await),
        };
        let (rows, meters): (Vec<_>, Vec<_>) = running.into_iter().map(|r| (r.rows, r.meter)).unzip();
        let found = match try_join_all(rows.into_iter().map(common::collect)).await {
            Ok(found) => found,
            Err(e) => return Err(self.named(step, e, &plans).await),
        };
        for meter in meters {
            self.count(meter.as_ref()).await;
        }
        Ok(found)
    }

    async fn started(&self, step: &str, plan: &LogicalPlan) -> datafusion::common::Result<Running> {
        self.runner.start(step, strata_plan::lean(plan)?).await
    }

    /// What a failure of `plans` means; where a file is at fault and it is not said which, each is read by itself until one fails.
    async fn named(&self, step: &str, error: DataFusionError, plans: &[LogicalPlan]) -> Error {
        for (table, alone) in damage::suspects(&error, plans) {
            let read = match self.runner.start(step, alone).await {
                Ok(running) => common::collect(running.rows).await.map(|_| ()),
                Err(e) => Err(e),
            };
            if let Err(found) = read {
                let named = damage::of_file(step, &found, &table);
                return named.unwrap_or_else(|| damage::of_plans(step, error, plans));
            }
        }
        damage::of_plans(step, error, plans)
    }

    /// Adds what the operators of a finished plan have counted.
    async fn count(&mut self, meter: &dyn Meter) {
        let readings = meter.readings().await;
        self.spilled += rows::spilled(&readings);
        self.shuffled += meter.shuffled_bytes().await;
        rows::account(&readings, &mut self.sources);
    }

    /// Writes a result into the work area and tells the compiler where it is; gives its rows.
    pub(crate) async fn materialise(&mut self, step: &str, name: &str, plan: LogicalPlan) -> Result<u64> {
        let folder = name.replace([':', '/'], "-");
        let schema = stored_schema(plan.schema().as_arrow()).map_err(|e| Error::of_step(step, e))?;
        let place = self.work.join(&folder);
        let spec = WriteSpec {
            folder: self.work.url(&folder),
            format: WriteFormat::Parquet,
            attempt: format!("a{}", self.report.attempt),
            purpose: WritePurpose::Work,
            bounds: vec![],
            formulas: Formulas::Keep,
        };
        let receipts = self.write(step, plan, spec).await?;
        let rows: u64 = receipts.iter().map(|r| r.rows.max(0) as u64).sum();
        let table = PinnedTable {
            store: place.store_url.clone(),
            format: PinnedFormat::Parquet,
            schema,
            hive: 0,
            files: published::files(&place, &receipts),
            complete: vec![],
        };
        self.made.push((name.to_owned(), table.clone()));
        self.compiled.made(name.to_owned(), table);
        Ok(rows)
    }

    /// Address of a folder of the work area.
    pub(crate) fn work_url(&self, folder: &str) -> String {
        self.work.url(folder)
    }

    /// Rows of a table of the work area; 0 if it is not made.
    pub(crate) fn made_rows(&self, name: &str) -> u64 {
        self.made.iter().find(|(n, _)| n == name).and_then(|(_, t)| t.rows()).unwrap_or(0)
    }

    pub(crate) async fn write(&mut self, step: &str, plan: LogicalPlan, spec: WriteSpec) -> Result<Vec<Receipt>> {
        let node = self.planned(step, WriteNode::try_new(plan, spec))?;
        let batches = self.collect(step, node.into_plan()).await?;
        Receipt::from_batches(&batches).map_err(|e| Error::of_publish(step, e))
    }

    async fn attributes(&mut self, entity: &str) -> Result<String> {
        let step = format!("attributes of {entity}");
        for (source, counts) in self.planned(&step, self.compiled.owners_to_show(entity))? {
            let mut shown = false;
            for strayed in counts {
                shown = shown || solve::integer(&self.collect(&step, strayed).await?, 0, 0) == 0;
            }
            match shown {
                true => self.compiled.owned(source, entity),
                false => self.progress.event(Event::Note(format!(
                    "rows of `{source}` have the key of a row of another {entity}: its duplicates are looked for everywhere"
                ))),
            }
        }
        let plan = self.planned(&step, self.compiled.attributes_plan(entity))?;
        let rows = self.materialise(&step, &format!("attributes:{entity}"), plan).await?;
        let columns = self.compiled.attributes(entity).iter().filter(|a| !a.starts_with('_')).count();
        Ok(format!("{rows} rows, {columns} attributes"))
    }

    /// INVARIANT: rows of the pinned files = used + deduplicated + quarantined + filtered + after `as_of`.
    pub(crate) fn check_rows(&self) -> Result<()> {
        for source in self.source_rows().iter().filter(|s| s.read) {
            if source.accounted() != source.in_files {
                return Err(Error::Internal {
                    step: "rows".into(),
                    message: format!(
                        "`{}` holds {} rows and {} are accounted for",
                        source.source,
                        source.in_files,
                        source.accounted()
                    ),
                });
            }
        }
        Ok(())
    }

    pub(crate) fn source_rows(&self) -> Vec<SourceRows> {
        let mut out = vec![];
        for (name, pinned) in self.compiled.pinned_sources() {
            let mut rows = self.sources.get(name).cloned().unwrap_or_default();
            rows.source = name.to_owned();
            rows.files = pinned.files.len();
            rows.bytes = pinned.bytes();
            rows.in_files = pinned.rows().unwrap_or(rows.in_files);
            out.push(rows);
        }
        out
    }

    pub(crate) async fn segments(&mut self) -> Result<Vec<SegmentReport>> {
        let mut out = vec![];
        for segmentation in &self.compiled.pipeline().segments.clone() {
            let step = format!("segments {}", segmentation.name.value);
            let plan = self.planned(&step, self.compiled.segment_sizes(segmentation, &self.solved))?;
            let value_of = self.compiled.value(&segmentation.entity.value).map(|s| s.text);
            let batches = self.collect(&step, plan).await?;
            let mut sizes = vec![];
            for batch in &batches {
                for row in 0..batch.num_rows() {
                    let segment = match solve::scalar(batch, 0, row)? {
                        ScalarValue::Utf8(s) => s,
                        other => Some(other.to_string()),
                    };
                    let rows = solve::integer(std::slice::from_ref(batch), 1, row).max(0) as u64;
                    let value = match batch.num_columns() > 2 {
                        true => Some(solve::float(batch, 2, row)),
                        false => None,
                    };
                    sizes.push((segment, rows, value));
                }
            }
            let (all, worth) = (
                sizes.iter().map(|(_, n, _)| *n).sum::<u64>().max(1) as f64,
                sizes.iter().filter_map(|(_, _, v)| *v).sum::<f64>(),
            );
            let segments = sizes.into_iter().map(|(segment, rows, value)| SegmentSize {
                segment,
                rows,
                share: rows as f64 / all,
                value_share: value.filter(|_| worth != 0.0).map(|v| v / worth),
            });
            out.push(SegmentReport { segmentation: segmentation.name.value.clone(), value_of, segments: segments.collect() });
        }
        Ok(out)
    }
}
