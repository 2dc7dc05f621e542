//! The API's JSON: what stands in bodies and in the OpenAPI document. Never a domain type: names here are a promise to callers.

use crate::api::watch::Item;
use crate::api::{plans, runs};
use crate::body::{RunBody, instant, written};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use strata_proto::v1;
use strata_spec::{Kind, Severity, SourceText, Span};
use strata_store::{OutcomeClass, RunRecord};
use utoipa::ToSchema;

/// What is asked for.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RunSpec {
    /// Text of the pipeline file, at most 1 MiB.
    #[schema(required = true)]
    pipeline: String,
    /// Its path, for messages.
    file: String,
    /// Values of `vars`, as `-p name=value` gives them.
    vars: BTreeMap<String, String>,
    /// RFC 3339: the instant the run looks back from; absent: the pipeline's own, else the start of the day of creation in its time zone.
    as_of: Option<String>,
    /// The run is ended when it has taken this long; absent: never. At most 30 days.
    timeout_seconds: Option<u64>,
}

/// Asks for a run.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CreateRun {
    /// What to run.
    #[schema(required = true)]
    spec: RunSpec,
    /// Idempotency key, 1–128 characters, unique with the pipeline's name; absent: every call makes a run.
    request_id: Option<String>,
    /// Only says what is wrong with the pipeline; no run is made.
    validate_only: bool,
}

/// The run that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedRun {
    /// The run; absent with `validate_only`.
    run: Option<Run>,
    /// Whether an earlier call had made it.
    existing: bool,
    /// Warnings; with `validate_only` errors as well.
    diagnostics: Vec<Diagnostic>,
}

/// A run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Run {
    /// Its id; sorts by time.
    pub(crate) run_id: String,
    /// Name of its pipeline.
    pipeline: String,
    /// The caller's idempotency key.
    request_id: Option<String>,
    /// `QUEUED`, `RUNNING`, `CANCELLING`, `SUCCEEDED`, `FAILED`, `CANCELLED` or `TIMED_OUT`.
    state: &'static str,
    /// How it ended; present in terminal states.
    outcome: Option<Outcome>,
    /// Why it is being or was cancelled, and who asked.
    cancel_reason: Option<String>,
    /// How many times it was begun.
    attempt: u32,
    /// When it was accepted, RFC 3339.
    created_at: String,
    /// When it first began.
    started_at: Option<String>,
    /// When it came to its terminal state.
    ended_at: Option<String>,
    /// Number of its last event.
    event_seq: u64,
    /// Changes with every event.
    etag: String,
    /// Who asked for it.
    created_by: String,
    /// The pipeline's path as it was sent.
    file: String,
    /// Values of `vars` as they were sent.
    vars: BTreeMap<String, String>,
    /// The instant it looks back from, if one was sent.
    as_of: Option<String>,
    /// How long it may take, if that is limited.
    timeout_seconds: Option<u64>,
}

/// How a run ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Outcome {
    /// `USER`, `DATA_CHECK`, `POLICY`, `TRANSIENT` or `INTERNAL`; absent on success.
    class: Option<&'static str>,
    /// The exit code of a command that waited for it.
    exit_code: u8,
    /// For people.
    message: String,
    /// Whether running it again may help.
    retryable: bool,
}

/// A page of runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunList {
    /// The runs.
    runs: Vec<Run>,
    /// For the next page; absent: this is the last.
    next_page_token: Option<String>,
}

/// Asks a run to stop.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CancelRun {
    /// Why, for people.
    pub(crate) reason: String,
}

/// Something that happened in a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunEvent {
    /// Its number; 0 for progress, which is not stored.
    pub(crate) seq: u64,
    /// When; absent for progress.
    at: Option<String>,
    /// What, e.g. `created`, `step_finished`, `progress`.
    pub(crate) kind: String,
    /// More of it.
    #[schema(value_type = Object)]
    body: Value,
}

/// Lines of a log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogPage {
    /// The lines; fewer than asked for: there are no more yet.
    lines: Vec<LogLine>,
}

/// A line of a run's log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogLine {
    /// Its number in the run, from 1.
    seq: u64,
    /// When.
    at: String,
    /// `info`, `warn` or `error`.
    level: String,
    /// The line.
    message: String,
}

/// A pipeline and what it is looked at with.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PipelineSpec {
    /// Text of the pipeline file.
    #[schema(required = true)]
    pipeline: String,
    /// Its path, for messages.
    file: String,
    /// Values of `vars`.
    vars: BTreeMap<String, String>,
    /// RFC 3339: the instant the run would look back from.
    as_of: Option<String>,
}

/// What is wrong with a pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckedPipeline {
    /// Everything found, in the order of the file.
    diagnostics: Vec<Diagnostic>,
}

/// What a run would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlannedPipeline {
    /// Name of the pipeline.
    pipeline: String,
    /// The instant it would look back from.
    as_of: String,
    /// Time zone of days and hours.
    timezone: &'static str,
    /// Steps in the order they run.
    steps: Vec<PlannedStep>,
    /// What it would read.
    sources: Vec<PlannedSource>,
    /// Warnings.
    diagnostics: Vec<Diagnostic>,
}

/// A step of a plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlannedStep {
    /// What it does.
    label: String,
    /// Where the pipeline declares what it makes.
    place: Option<Place>,
}

/// A source of a plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlannedSource {
    /// Its name.
    name: String,
    /// Files.
    files: u64,
    /// Rows, where the format tells.
    rows: Option<u64>,
    /// Bytes.
    bytes: u64,
}

/// The page of a diagnostic code.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CodePage {
    /// The code.
    pub(crate) code: String,
    /// Its page.
    pub(crate) page: &'static str,
}

/// One thing wrong with a pipeline's text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Diagnostic {
    /// Stable code, e.g. `S0302`.
    code: &'static str,
    /// `error` or `warning`.
    severity: &'static str,
    /// `USER`, or `POLICY` where consent or a column class forbids it.
    class: &'static str,
    /// One sentence.
    message: String,
    /// Short text beside the marked place.
    label: String,
    /// What to do next.
    help: Option<String>,
    /// The file as the caller named it.
    file: String,
    /// Where.
    place: Place,
    /// Other places that matter.
    also: Vec<Remark>,
}

/// A place in a pipeline's text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Place {
    /// Line, from 1.
    line: usize,
    /// Column in characters, from 1.
    column: usize,
    /// First byte.
    start: usize,
    /// One past the last byte.
    end: usize,
}

/// Another place that matters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Remark {
    /// Where.
    place: Place,
    /// Why it matters.
    text: String,
}

/// Why a call failed, RFC 9457 (`application/problem+json`).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind of problem, e.g. `urn:strata:problem:not-found`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The kind in words.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What happened and what to do.
    pub(crate) detail: String,
    /// `USER`, `POLICY`, `TRANSIENT` or `INTERNAL`.
    pub(crate) class: String,
    /// Whether the same call may succeed later.
    pub(crate) retryable: bool,
    /// The run that this is about: where a request id was used before, the run it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<String>,
    /// What is wrong with the pipeline.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl RunSpec {
    /// The body of a run. Errors: `None` if `as_of` is no instant.
    fn body(self) -> Option<RunBody> {
        let as_of = match self.as_of {
            Some(text) => Some(written(instant(&text)?)),
            None => None,
        };
        let Self { pipeline, file, vars, timeout_seconds, .. } = self;
        Some(RunBody { pipeline, file, vars, as_of, timeout_seconds, created_by: String::new() })
    }
}

impl CreateRun {
    /// What the service is asked. `None` if `as_of` is no instant.
    pub(crate) fn asked(self) -> Option<runs::Asked> {
        let Self { spec, request_id, validate_only } = self;
        spec.body().map(|body| runs::Asked { body, request_id, validate_only })
    }
}

impl PipelineSpec {
    /// The body to look at. `None` if `as_of` is no instant.
    pub(crate) fn body(self) -> Option<RunBody> {
        let Self { pipeline, file, vars, as_of } = self;
        RunSpec { pipeline, file, vars, as_of, timeout_seconds: None }.body()
    }
}

impl From<runs::Answer> for CreatedRun {
    fn from(answer: runs::Answer) -> Self {
        let diagnostics = diagnostics(&answer.checked.source, &answer.checked.found);
        Self { run: answer.run.map(Run::from), existing: answer.existing, diagnostics }
    }
}

impl From<RunRecord> for Run {
    fn from(record: RunRecord) -> Self {
        let body = RunBody::of(&record).unwrap_or_default();
        Self {
            etag: record.etag(),
            state: record.state.name(),
            outcome: record.outcome.map(|o| Outcome {
                class: o.class.and_then(|c| class_name(class(c))),
                exit_code: o.exit_code,
                message: o.message,
                retryable: o.retryable,
            }),
            cancel_reason: record.cancel_reason,
            attempt: record.attempt,
            created_at: time(record.created_at),
            started_at: record.started_at.map(time),
            ended_at: record.ended_at.map(time),
            event_seq: record.event_seq,
            run_id: record.run_id,
            pipeline: record.pipeline,
            request_id: record.request_id,
            created_by: body.created_by,
            file: body.file,
            vars: body.vars,
            as_of: body.as_of,
            timeout_seconds: body.timeout_seconds,
        }
    }
}

impl From<strata_store::RunPage> for RunList {
    fn from(page: strata_store::RunPage) -> Self {
        Self { runs: page.runs.into_iter().map(Run::from).collect(), next_page_token: page.next_page_token }
    }
}

impl From<Item> for RunEvent {
    fn from(item: Item) -> Self {
        match item {
            Item::Event(e) => Self { seq: e.seq, at: Some(time(e.at)), kind: e.kind, body: e.body },
            Item::Progress(p) => Self { seq: 0, at: None, kind: "progress".to_owned(), body: json!(p) },
        }
    }
}

impl From<Vec<strata_store::LogLine>> for LogPage {
    fn from(lines: Vec<strata_store::LogLine>) -> Self {
        let line = |l: strata_store::LogLine| LogLine { seq: l.seq, at: time(l.at), level: l.level, message: l.message };
        Self { lines: lines.into_iter().map(line).collect() }
    }
}

impl From<plans::Checked> for CheckedPipeline {
    fn from(checked: plans::Checked) -> Self {
        Self { diagnostics: diagnostics(&checked.source, &checked.found) }
    }
}

impl From<plans::Plan> for PlannedPipeline {
    fn from(plan: plans::Plan) -> Self {
        let step = |(label, span): (String, Option<Span>)| PlannedStep { label, place: span.map(|s| place(&plan.source, s)) };
        let source = |s: plans::PlannedSource| PlannedSource { name: s.name, files: s.files, rows: s.rows, bytes: s.bytes };
        Self {
            as_of: time(plan.as_of),
            timezone: plan.timezone,
            steps: plan.steps.into_iter().map(step).collect(),
            sources: plan.sources.into_iter().map(source).collect(),
            diagnostics: diagnostics(&plan.source, &plan.warnings),
            pipeline: plan.pipeline,
        }
    }
}

/// Diagnostics with their lines and columns.
pub(crate) fn diagnostics(source: &SourceText, found: &[strata_spec::Diagnostic]) -> Vec<Diagnostic> {
    let one = |d: &strata_spec::Diagnostic| Diagnostic {
        code: d.code.0,
        severity: match d.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        class: match d.kind {
            Kind::Invalid => "USER",
            Kind::Policy => "POLICY",
            Kind::Data => "DATA_CHECK",
        },
        message: d.message.clone(),
        label: d.label.clone(),
        help: d.help.clone(),
        file: source.path.clone(),
        place: place(source, d.span),
        also: d.also.iter().map(|(span, text)| Remark { place: place(source, *span), text: text.clone() }).collect(),
    };
    found.iter().map(one).collect()
}

fn place(source: &SourceText, span: Span) -> Place {
    let (line, column) = source.line_column(span.start);
    Place { line, column, start: span.start, end: span.end }
}

/// The store's classes on the wire.
pub(crate) fn class(class: OutcomeClass) -> v1::OutcomeClass {
    match class {
        OutcomeClass::User => v1::OutcomeClass::User,
        OutcomeClass::DataCheck => v1::OutcomeClass::DataCheck,
        OutcomeClass::Policy => v1::OutcomeClass::Policy,
        OutcomeClass::Transient => v1::OutcomeClass::Transient,
        OutcomeClass::Internal => v1::OutcomeClass::Internal,
    }
}

/// A class as JSON says it. `None`: there was no failure.
pub(crate) fn class_name(class: v1::OutcomeClass) -> Option<&'static str> {
    match class {
        v1::OutcomeClass::Unspecified => None,
        v1::OutcomeClass::User => Some("USER"),
        v1::OutcomeClass::DataCheck => Some("DATA_CHECK"),
        v1::OutcomeClass::Policy => Some("POLICY"),
        v1::OutcomeClass::Transient => Some("TRANSIENT"),
        v1::OutcomeClass::Internal => Some("INTERNAL"),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
