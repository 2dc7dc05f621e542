//! What whole-system tests share: running pipelines in this process or as the real binary, and independent answers from Python. Never part of
//! the product.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot set itself up must say so at once")]

pub mod cluster;

pub mod fault_proxy;
pub mod postgres;
pub mod s3;

use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use strata_engine::load::{LoadOptions, verdict};
use strata_engine::progress::Silent;
use strata_engine::{Error, InProcessRunner, RunOptions, RunReport};
use strata_runtime::Limits;

/// One run of a pipeline.
#[derive(Debug, Clone)]
pub struct RunSpec {
    pipeline: PathBuf,
    data: PathBuf,
    out: PathBuf,
    as_of: Option<DateTime<Utc>>,
    limits: Limits,
    round_trip: bool,
}

impl RunSpec {
    /// `pipeline` with `-p data=` and `-p out=`.
    pub fn new(pipeline: &Path, data: &Path, out: &Path) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            data: data.to_owned(),
            out: out.to_owned(),
            as_of: None,
            limits: Limits::default(),
            round_trip: false,
        }
    }

    /// `--as-of`.
    pub fn as_of(mut self, at: &str) -> Self {
        self.as_of = DateTime::parse_from_rfc3339(at).ok().map(|t| t.with_timezone(&Utc));
        self
    }

    /// `--threads`, which is also the number of partitions.
    pub fn threads(mut self, n: usize) -> Self {
        self.limits.threads = n;
        self
    }

    /// `--memory`.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.limits.memory_bytes = Some(bytes);
        self
    }

    /// Sends every plan through its wire format first.
    pub fn round_trip(mut self, yes: bool) -> Self {
        self.round_trip = yes;
        self
    }
}

/// Runs a pipeline in this process. Errors: as the engine's.
pub fn run_pipeline(spec: &RunSpec) -> Result<RunReport, Error> {
    let vars = vec![("data".to_owned(), text(&spec.data)), ("out".to_owned(), text(&spec.out))];
    let options = LoadOptions { vars, as_of: spec.as_of, ..LoadOptions::default() };
    let runtime = runtime();
    let loaded = runtime.block_on(strata_engine::load(&spec.pipeline, &options))?;
    verdict(&loaded.diagnostics).inspect_err(|_| eprintln!("{}", listed(&loaded.source, &loaded.diagnostics)))?;
    let runner = InProcessRunner::new(&spec.limits).map_err(|e| Error::of_step("start", e))?;
    let runner = if spec.round_trip { runner.with_round_trip() } else { runner };
    let state = spec.out.join(".strata");
    let (result, report) = runtime.block_on(strata_engine::run(&loaded, &runner, &RunOptions::local(&state, None), &Silent));
    result.map(|()| report)
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_stack_size(16 << 20).enable_all().build();
    runtime.unwrap_or_else(|e| panic!("no threads: {e}"))
}

/// What is wrong with the pipeline of a case, a line each: `line:column code message | help`.
pub fn diagnose(case: &Path) -> String {
    let vars = vec![("data".to_owned(), text(case)), ("out".to_owned(), "out".to_owned())];
    let options = LoadOptions { vars, offline: true, ..LoadOptions::default() };
    let loaded = runtime().block_on(strata_engine::load(case, &options)).unwrap_or_else(|e| panic!("{}: {e}", case.display()));
    let mut found = loaded.diagnostics.clone();
    if let Some(pipeline) = &loaded.pipeline {
        found.extend(strata_plan::compile(pipeline, loaded.clock, loaded.catalog.clone()).diagnostics);
    }
    // Where the repository lies is not part of what is said.
    listed(&loaded.source, &found).replace(&format!("{}/", text(case)), "")
}

fn listed(source: &strata_spec::SourceText, found: &[strata_spec::Diagnostic]) -> String {
    let line = |d: &strata_spec::Diagnostic| {
        let (row, column) = source.line_column(d.span.start);
        format!("{row}:{column} {} {} | {}", d.code, d.message, d.help.as_deref().unwrap_or("-"))
    };
    found.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Folders with a `pipeline.yaml` below `root`, in order.
pub fn case_folders(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
    let mut out: Vec<PathBuf> =
        entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.join("pipeline.yaml").is_file()).collect();
    out.sort();
    out
}

/// The order-free content hash of each output.
pub fn content_of(report: &RunReport) -> BTreeMap<String, String> {
    let one = |o: &strata_engine::report::OutputReport| {
        let path = Path::new(&o.path).join("_manifest.json");
        let manifest = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap_or_default();
        (o.name.clone(), format!("{} rows {}", manifest["rows"], manifest["content"]))
    };
    report.outputs.iter().map(one).collect()
}

/// The root of the repository: asked for at run time, because a target folder may serve several checkouts.
pub fn repository() -> PathBuf {
    let from = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(std::env::current_dir, |d| Ok(d.into()));
    let from = from.unwrap_or_else(|e| panic!("{e}"));
    let root = from.ancestors().find(|p| p.join("Cargo.lock").is_file());
    root.unwrap_or_else(|| panic!("{} is in no checkout of the project", from.display())).to_owned()
}

/// The real binary, beside the test's own in the target folder.
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_else(|e| panic!("{e}"));
    let found = own.ancestors().skip(1).map(|p| p.join("strata")).find(|p| p.is_file());
    found.unwrap_or_else(|| panic!("the `strata` binary is not built; run the tests by tests/run.sh"))
}

/// `strata outputs --output json` of the real binary.
pub fn outputs_json(pipeline: &Path, vars: &[(&str, &Path)]) -> serde_json::Value {
    let mut command = Command::new(binary());
    command.arg("outputs").arg(pipeline).args(["--output", "json"]);
    for (name, value) in vars {
        command.arg("-p").arg(format!("{name}={}", value.display()));
    }
    let done = command.output().unwrap_or_else(|e| panic!("{e}"));
    serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&done.stderr)))
}

/// A setting of the test command.
#[expect(clippy::disallowed_methods, reason = "tests/run.sh hands its settings on by the environment")]
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The Python that tests/run.sh installed readers and oracles into.
pub fn python() -> String {
    setting("STRATA_TEST_PYTHON").unwrap_or_else(|| panic!("no Python with DuckDB; run the tests by tests/run.sh"))
}

/// The Python that tests/run.sh installed readers of Delta tables into.
pub fn readers_python() -> String {
    setting("STRATA_TEST_READERS").unwrap_or_else(|| panic!("no Python with readers of Delta; run the tests by tests/run.sh"))
}

/// Runs a script; fails with what it said unless it exits with 0.
pub fn run_python(args: &[&str]) {
    let done = Command::new(python()).args(args).output().unwrap_or_else(|e| panic!("{e}"));
    if !done.status.success() {
        let said = [done.stdout, done.stderr].map(|s| String::from_utf8_lossy(&s).into_owned()).join("\n");
        panic!("{} failed:\n{said}", args.join(" "));
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
