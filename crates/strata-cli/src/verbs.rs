//! One function a verb, each giving the exit code. Never prints what an engine function did not say.

use crate::args::{Args, Contract, Given, Output, Pipeline, Verb};
use crate::bars::Bars;
use crate::{authoring, check, contract, diff, doctor, init, look, panel, render, summary, unit_tests};
use serde_json::json;
use std::path::{Path, PathBuf};
use strata_engine::load::{LoadOptions, Loaded, verdict};
use strata_engine::{Error, InProcessRunner, RunOptions, RunReport, SchemaChange};
use strata_plan::Outcome;
use strata_runtime::Limits;
use strata_spec::{Diagnostic, Severity};

/// Success.
const OK: u8 = 0;
/// Usage.
const USAGE: u8 = 2;

/// Does what the arguments say.
pub(crate) async fn run(args: Args) -> u8 {
    let threads = args.threads();
    if let Some(Err(e)) = args.outputs_root.as_deref().map(strata_engine::confine) {
        render::line(&format!("error: {e}"));
        return USAGE;
    }
    match args.verb {
        Verb::Init { dir, customers, run } => init(&dir, customers, run, threads).await,
        Verb::Check { given, output } => check::check(&given, output).await,
        Verb::Test { pipeline, only } => unit_tests::run(&pipeline.given, only.as_deref(), pipeline.output).await,
        Verb::Sql { pipeline, node } => look::sql(&pipeline.given, &node, pipeline.output).await,
        Verb::Preview { pipeline, node, rows, show_personal } => {
            look::preview(&pipeline.given, &node, rows, show_personal, pipeline.output).await
        }
        Verb::Diff { pipeline, keys } => diff::run(&pipeline.given, keys, pipeline.output).await,
        Verb::Draw { pipeline, replay: Some(manifest), .. } => panel::replay(&pipeline.given, &manifest, pipeline.output).await,
        Verb::Draw { pipeline, wave, what_if, .. } => {
            panel::draw(&pipeline.given, wave.as_deref(), &what_if, pipeline.output).await
        }
        Verb::Weights { pipeline, wave, fieldwork, before, measure, by, out, report } => {
            let returned = strata_engine::returned::Returned { fieldwork, before, measures: measure, by };
            panel::weights(&pipeline.given, &wave, &returned, &panel::Places { out, report }, pipeline.output).await
        }
        Verb::Fmt { paths, check } => authoring::fmt(&paths, check),
        Verb::Show { preset } => authoring::show(preset.as_deref()),
        Verb::Contract(Contract::Infer { paths }) => contract::run(&paths).await,
        Verb::Doctor { pipeline } => doctor::run(&pipeline.given, pipeline.output).await,
        Verb::Schema => authoring::schema(),
        Verb::Completions { shell } => authoring::completions(shell),
        Verb::Plan { pipeline, state } => plan(&pipeline, &state).await,
        #[cfg(feature = "cluster")]
        Verb::Run { pipeline, report, remote, .. } if remote.to.is_some() => {
            let to = remote.to.clone().unwrap_or_default();
            crate::remote::run(&pipeline, &to, &remote, report.as_ref()).await
        }
        Verb::Run { pipeline, memory, spill_dir, state, report, fresh, round_trip, .. } => {
            let limits = Limits { memory_bytes: memory, threads, spill_dir, ..Limits::default() };
            execute(&pipeline, &limits, Place { state, report, fresh }, round_trip).await
        }
        Verb::Outputs(pipeline) => outputs(&pipeline).await,
        #[cfg(feature = "cluster")]
        Verb::Runs(args) => crate::remote::runs(args).await,
        #[cfg(feature = "cluster")]
        Verb::Coordinator(args) => crate::cluster::coordinator(args).await,
        #[cfg(feature = "cluster")]
        Verb::Worker(args) => crate::cluster::worker(args).await,
        #[cfg(feature = "cluster")]
        Verb::Dev(args) => crate::cluster::dev(args).await,
        #[cfg(feature = "cluster")]
        Verb::Gc(args) => crate::cluster::gc(args).await,
        Verb::Explain { code } => authoring::explain(&code),
    }
}

/// Loads a pipeline; `offline`, without its files where their columns are declared.
pub(crate) async fn load(given: &Given, offline: bool) -> Result<Loaded, Error> {
    let options = LoadOptions { vars: given.vars.clone(), as_of: given.as_of, offline, pins: None };
    strata_engine::load(&given.path, &options).await
}

/// A folder for tables between steps, which goes when it is dropped. Errors: `Failed`.
pub(crate) fn scratch() -> Result<tempfile::TempDir, Error> {
    let made = tempfile::Builder::new().prefix("strata-").tempdir();
    made.map_err(|e| Error::Failed { step: "work area".into(), message: format!("cannot make a temporary folder: {e}") })
}

/// Says what went wrong; gives the exit code.
pub(crate) fn failed(error: &Error) -> u8 {
    render::line(&format!("error: {error}"));
    error.exit_code()
}

/// Everything wrong with a loaded pipeline, and the exit code it leads to.
pub(crate) fn compiled<'a>(loaded: &'a Loaded) -> (Option<Outcome<'a>>, Vec<Diagnostic>) {
    let mut found = loaded.diagnostics.clone();
    let outcome = match (&loaded.pipeline, verdict(&found)) {
        (Some(pipeline), _) if loaded.catalog.sources.len() == pipeline.sources.len() => {
            Some(strata_plan::compile(pipeline, loaded.clock, loaded.catalog.clone()))
        }
        _ => None,
    };
    if let Some(outcome) = &outcome {
        found.extend(outcome.diagnostics.iter().cloned());
    }
    found.sort_by_key(|d| d.span);
    (outcome, found)
}

/// Says what was found; gives the exit code.
pub(crate) fn say(loaded: &Loaded, found: &[Diagnostic], output: Output) -> u8 {
    match output {
        Output::Text => render::diagnostics(&loaded.source, found),
        Output::Json => render::data(&json!({"diagnostics": render::diagnostics_json(&loaded.source, found)}).to_string()),
    }
    verdict(found).map_or_else(|e| e.exit_code(), |()| OK)
}

async fn plan(pipeline: &Pipeline, state: &Path) -> u8 {
    let loaded = match load(&pipeline.given, false).await {
        Ok(loaded) => loaded,
        Err(e) => return failed(&e),
    };
    let (outcome, found) = compiled(&loaded);
    let Some(mut compiled) = outcome.and_then(|o| o.compiled) else { return say(&loaded, &found, pipeline.output) };
    if found.iter().any(|d| d.severity == Severity::Error) {
        return say(&loaded, &found, pipeline.output);
    }
    if pipeline.output == Output::Text {
        // Columns that changed, above all.
        let files = |d: &&Diagnostic| d.code == strata_plan::codes::DRIFT;
        render::diagnostics(&loaded.source, &found.iter().filter(files).cloned().collect::<Vec<_>>());
    }
    if let Err(e) = strata_engine::keep(&mut compiled, &loaded).await {
        return failed(&e);
    }
    let steps = match strata_engine::foresee(&mut compiled, state) {
        Ok(steps) => steps,
        Err(e) => return failed(&e),
    };
    let changes = strata_engine::schema_changes(&compiled).await;
    let sources: Vec<_> = compiled.pinned_sources().collect();
    if pipeline.output == Output::Json {
        let steps: Vec<_> = steps.iter().map(|s| json!({"step": s.step.label(), "reused": s.reused, "why": s.why})).collect();
        let sources: Vec<_> = sources
            .iter()
            .map(|(n, p)| json!({"source": n, "files": p.files.len(), "rows": p.rows(), "bytes": p.bytes()}))
            .collect();
        let outputs = match &changes {
            Ok(changes) => json!(changes),
            Err(e) => json!({"error": e.to_string()}),
        };
        let all = json!({"as_of": loaded.clock.as_of.to_rfc3339(), "steps": steps, "sources": sources, "outputs": outputs});
        render::data(&all.to_string());
        return OK;
    }
    render::data(&format!("as of {} ({})\n\nreads", loaded.clock.as_of.to_rfc3339(), loaded.clock.timezone.name()));
    let bytes: u64 = sources.iter().map(|(_, p)| p.bytes()).sum();
    for (name, pinned) in sources {
        let rows = pinned.rows().map_or_else(|| "?".to_owned(), summary::number);
        let files = pinned.files.len();
        render::data(&format!(
            "  {name:<24} {rows:>14} rows  {:>10.1} MB in {files} file{}",
            pinned.bytes() as f64 / 1e6,
            render::plural(files)
        ));
    }
    render::data(&format!("  {:<24} {:>19}  {:>10.1} MB", "at most", "", bytes as f64 / 1e6));
    render::data("\nsteps");
    for (i, step) in steps.iter().enumerate() {
        let what = if step.reused { "reuse" } else { "run" };
        render::data(&format!("  {:>2}. {what:<6}{:<32} {}", i + 1, step.step.label(), step.why));
    }
    say_columns(&changes);
    OK
}

fn say_columns(changes: &Result<Vec<SchemaChange>, Error>) {
    render::data("\ncolumns of outputs");
    match changes {
        Ok(changes) => changes.iter().for_each(|c| render::data(&format!("  {:<24} {}", c.output, columns(c)))),
        Err(e) => render::line(&format!("note: what is published cannot be looked at, so nobody can say what changes: {e}")),
    }
}

/// What becomes of the columns of an output, for people.
fn columns(change: &SchemaChange) -> String {
    let Some(run) = &change.run_id else { return "published for the first time".to_owned() };
    if !change.is_change() {
        return format!("as in run {run}");
    }
    let added = change.added.iter().map(|c| format!("+ {} {}", c.name, c.kind));
    let dropped = change.dropped.iter().map(|c| format!("- {} {}", c.name, c.kind));
    let retyped = change.retyped.iter().map(|c| format!("{}: {} -> {}", c.name, c.from, c.to));
    format!("{} (since run {run})", added.chain(dropped).chain(retyped).collect::<Vec<_>>().join(", "))
}

/// What a run leaves on this machine, and where.
struct Place {
    state: PathBuf,
    report: Option<PathBuf>,
    /// Whether every step is done, whatever is there.
    fresh: bool,
}

async fn execute(pipeline: &Pipeline, limits: &Limits, place: Place, round_trip: bool) -> u8 {
    let loaded = match load(&pipeline.given, false).await {
        Ok(loaded) => loaded,
        Err(e) => return failed(&e),
    };
    let options = match loaded.pipeline.as_ref().filter(|_| !place.fresh) {
        Some(checked) => RunOptions::reusing(&place.state, place.report, &checked.name.value),
        None => RunOptions::local(&place.state, place.report),
    };
    let runner = match InProcessRunner::new(limits) {
        Ok(runner) if round_trip => runner.with_round_trip(),
        Ok(runner) => runner,
        Err(e) => return failed(&Error::of_step("start", e)),
    };
    let json = pipeline.output == Output::Json;
    let bars = Bars::new(json);
    let (result, report) = strata_engine::run(&loaded, &runner, &options, &bars).await;
    finish(&loaded, result, &report, json)
}

fn finish(loaded: &Loaded, result: Result<(), Error>, report: &RunReport, json: bool) -> u8 {
    if let Err(Error::Invalid(_) | Error::Policy(_) | Error::NotAsDeclared(_)) = &result {
        let (_, found) = compiled(loaded);
        let found: Vec<Diagnostic> = found.into_iter().filter(|d| d.severity == Severity::Error || !json).collect();
        return say(loaded, &found, if json { Output::Json } else { Output::Text });
    }
    match (&result, json) {
        (_, true) => render::data(&serde_json::to_string(report).unwrap_or_default()),
        (Ok(()), false) => render::data(&summary::text(report)),
        (Err(e), false) => {
            render::line(&format!("error: {e}"));
            let committed: Vec<&str> = report.outputs.iter().filter(|o| o.committed).map(|o| o.name.as_str()).collect();
            match committed.is_empty() {
                true => render::line("no output was changed"),
                false => render::line(&format!(
                    "already published by this run: {}; run it again to publish the rest",
                    committed.join(", ")
                )),
            }
        }
    }
    result.map_or_else(|e| e.exit_code(), |()| OK)
}

async fn outputs(pipeline: &Pipeline) -> u8 {
    let loaded = match load(&pipeline.given, true).await {
        Ok(loaded) => loaded,
        Err(e) => return failed(&e),
    };
    // Where tables are does not depend on whether the inputs are still there.
    let Some(checked) = &loaded.pipeline else { return say(&loaded, &loaded.diagnostics, pipeline.output) };
    match strata_engine::outputs(checked).await {
        Err(e) => failed(&e),
        Ok((states, mixed)) => {
            if pipeline.output == Output::Json {
                render::data(&serde_json::to_string(&states).unwrap_or_default());
            } else {
                for s in &states {
                    let path = s.path.as_deref().unwrap_or("(never published)");
                    render::data(&format!("{:<24} {path}", s.name));
                }
            }
            if let Some(m) = mixed {
                render::line(&format!(
                    "warning: mixed set: `{}` is of run {}, `{}` of run {}; run the pipeline again",
                    m.oldest.0, m.oldest.1, m.newest.0, m.newest.1
                ));
            }
            OK
        }
    }
}

async fn init(dir: &std::path::Path, customers: u32, and_run: bool, threads: usize) -> u8 {
    if let Err(message) = init::make(dir, customers) {
        render::line(&format!("error: {message}"));
        return USAGE;
    }
    render::line(&format!(
        "made {0}: the pipeline is {0}/pipeline.yaml, a generated retailer's data are below {0}/data",
        dir.display()
    ));
    let run = format!("strata run {0} -p data={0}/data -p out={0}/out --as-of 2026-01-01T00:00:00Z", dir.display());
    if !and_run {
        render::line(&format!("next: {run}"));
        return OK;
    }
    let text = |p: &str| dir.join(p).display().to_string();
    let given = Given {
        path: dir.to_owned(),
        vars: vec![("data".into(), text("data")), ("out".into(), text("out"))],
        as_of: chrono::DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").ok().map(|t| t.with_timezone(&chrono::Utc)),
    };
    let pipeline = Pipeline { given, output: Output::Text };
    let limits = Limits { threads, ..Limits::default() };
    let code = execute(&pipeline, &limits, Place { state: dir.join(".strata"), report: None, fresh: true }, false).await;
    if code == OK {
        render::line(&format!("\nlook at {0}/pipeline.yaml, change something, and run it again:\n  {run}", dir.display()));
    }
    code
}
