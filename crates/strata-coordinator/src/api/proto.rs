//! Between the service and protobuf messages. Never decides anything.

use crate::api::error::{Error, Result};
use crate::api::watch::Item;
use crate::api::{plans, runs, wire};
use crate::body::{RunBody, instant, written};
use crate::hub::Progress;
use chrono::{DateTime, Utc};
use prost_types::{Duration, ListValue, Struct, Timestamp, Value, value};
use strata_proto::v1;
use strata_spec::{Kind, Severity, SourceText, Span};
use strata_store::{Event, LogLine, RunRecord, RunState};

/// What a message asks for. Errors: `Invalid`.
pub(crate) fn asked(request: v1::CreateRunRequest) -> Result<runs::Asked> {
    let v1::CreateRunRequest { spec, request_id, validate_only } = request;
    let v1::RunSpec { pipeline, file, vars, as_of, timeout } = spec.unwrap_or_default();
    let body = RunBody {
        pipeline,
        file,
        vars,
        as_of: as_of.map(at).transpose()?.map(written),
        timeout_seconds: timeout.map(whole_seconds).transpose()?,
        created_by: String::new(),
    };
    Ok(runs::Asked { body, request_id: Some(request_id).filter(|k| !k.is_empty()), validate_only })
}

/// A pipeline to look at. Errors: `Invalid`.
pub(crate) fn body(spec: Option<v1::PipelineSpec>) -> Result<RunBody> {
    let v1::PipelineSpec { pipeline, file, vars, as_of } = spec.unwrap_or_default();
    Ok(RunBody { pipeline, file, vars, as_of: as_of.map(at).transpose()?.map(written), ..RunBody::default() })
}

/// A run.
pub(crate) fn run(record: RunRecord) -> v1::Run {
    let body = RunBody::of(&record).unwrap_or_default();
    v1::Run {
        etag: record.etag(),
        state: state(record.state).into(),
        outcome: record.outcome.map(|o| v1::Outcome {
            class: o.class.map_or(v1::OutcomeClass::Unspecified, wire::class).into(),
            exit_code: o.exit_code.into(),
            message: o.message,
            retryable: o.retryable,
        }),
        cancel_reason: record.cancel_reason.unwrap_or_default(),
        attempt: record.attempt,
        created_at: Some(timestamp(record.created_at)),
        started_at: record.started_at.map(timestamp),
        ended_at: record.ended_at.map(timestamp),
        event_seq: record.event_seq,
        run_id: record.run_id,
        pipeline: record.pipeline,
        request_id: record.request_id.unwrap_or_default(),
        created_by: body.created_by,
        file: body.file,
        vars: body.vars,
        as_of: body.as_of.as_deref().and_then(instant).map(timestamp),
        timeout: body.timeout_seconds.map(|s| Duration { seconds: i64::try_from(s).unwrap_or(i64::MAX), nanos: 0 }),
    }
}

/// A state on the wire.
fn state(state: RunState) -> v1::RunState {
    match state {
        RunState::Queued => v1::RunState::Queued,
        RunState::Running => v1::RunState::Running,
        RunState::Cancelling => v1::RunState::Cancelling,
        RunState::Succeeded => v1::RunState::Succeeded,
        RunState::Failed => v1::RunState::Failed,
        RunState::Cancelled => v1::RunState::Cancelled,
        RunState::TimedOut => v1::RunState::TimedOut,
    }
}

/// A state from the wire. Errors: `Invalid`.
pub(crate) fn state_of(number: i32) -> Result<RunState> {
    let known = v1::RunState::try_from(number).ok().and_then(|wanted| {
        use RunState::{Cancelled, Cancelling, Failed, Queued, Running, Succeeded, TimedOut};
        [Queued, Running, Cancelling, Succeeded, Failed, Cancelled, TimedOut].into_iter().find(|s| state(*s) == wanted)
    });
    known.ok_or_else(|| Error::Invalid(format!("{number} is not the state of a run")))
}

/// Something that happened.
pub(crate) fn event(item: Item) -> v1::RunEvent {
    match item {
        Item::Event(Event { seq, at, kind, body }) => {
            v1::RunEvent { seq, at: Some(timestamp(at)), kind, body: Some(object(body)), progress: None }
        }
        Item::Progress(Progress { step, index, of, rows, rows_total, tasks_done, tasks_total }) => v1::RunEvent {
            kind: "progress".to_owned(),
            progress: Some(v1::Progress { step, index, of, rows, rows_total, tasks_done, tasks_total }),
            ..v1::RunEvent::default()
        },
    }
}

/// A log line.
pub(crate) fn log_line(line: LogLine) -> v1::LogLine {
    v1::LogLine { seq: line.seq, at: Some(timestamp(line.at)), level: line.level, message: line.message }
}

/// A plan.
pub(crate) fn plan(plan: plans::Plan) -> v1::PlanPipelineResponse {
    let step = |(label, span): (String, Option<Span>)| v1::PlannedStep { label, place: span.map(|s| place(&plan.source, s)) };
    let source = |s: plans::PlannedSource| v1::PlannedSource { name: s.name, files: s.files, rows: s.rows, bytes: s.bytes };
    v1::PlanPipelineResponse {
        as_of: Some(timestamp(plan.as_of)),
        timezone: plan.timezone.to_owned(),
        steps: plan.steps.into_iter().map(step).collect(),
        sources: plan.sources.into_iter().map(source).collect(),
        diagnostics: diagnostics(&plan.source, &plan.warnings),
        pipeline: plan.pipeline,
    }
}

/// Diagnostics with their lines and columns.
pub(crate) fn diagnostics(source: &SourceText, found: &[strata_spec::Diagnostic]) -> Vec<v1::Diagnostic> {
    let one = |d: &strata_spec::Diagnostic| v1::Diagnostic {
        code: d.code.0.to_owned(),
        severity: match d.severity {
            Severity::Error => v1::Severity::Error,
            Severity::Warning => v1::Severity::Warning,
        }
        .into(),
        class: match d.kind {
            Kind::Invalid => v1::OutcomeClass::User,
            Kind::Policy => v1::OutcomeClass::Policy,
            Kind::Data => v1::OutcomeClass::DataCheck,
        }
        .into(),
        message: d.message.clone(),
        label: d.label.clone(),
        help: d.help.clone().unwrap_or_default(),
        file: source.path.clone(),
        place: Some(place(source, d.span)),
        also: d.also.iter().map(|(span, text)| v1::Remark { place: Some(place(source, *span)), text: text.clone() }).collect(),
    };
    found.iter().map(one).collect()
}

fn place(source: &SourceText, span: Span) -> v1::Place {
    let (line, column) = source.line_column(span.start);
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    v1::Place { line: small(line), column: small(column), start: small(span.start), end: small(span.end) }
}

/// How long a wait is. Errors: `Invalid` if it is negative.
pub(crate) fn span_of_time(duration: Duration) -> Result<std::time::Duration> {
    std::time::Duration::try_from(duration).map_err(|_| Error::Invalid("a timeout is not negative".to_owned()))
}

fn whole_seconds(duration: Duration) -> Result<u64> {
    let span = span_of_time(duration)?;
    Ok(span.as_secs() + u64::from(span.subsec_nanos() > 0))
}

fn at(timestamp: Timestamp) -> Result<DateTime<Utc>> {
    let nanos = u32::try_from(timestamp.nanos).ok();
    let at = nanos.and_then(|nanos| DateTime::from_timestamp(timestamp.seconds, nanos));
    at.ok_or_else(|| Error::Invalid("`as_of` is not an instant".to_owned()))
}

fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: at.timestamp(), nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or(0) }
}

/// JSON as protobuf has it: numbers are doubles, exact up to 2^53.
fn object(json: serde_json::Value) -> Struct {
    match value(json).kind {
        Some(value::Kind::StructValue(object)) => object,
        Some(other) => Struct { fields: [("value".to_owned(), Value { kind: Some(other) })].into() },
        None => Struct::default(),
    }
}

fn value(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    use value::Kind as K;
    let kind = match json {
        Json::Null => K::NullValue(0),
        Json::Bool(b) => K::BoolValue(b),
        Json::Number(n) => K::NumberValue(n.as_f64().unwrap_or(f64::NAN)),
        Json::String(s) => K::StringValue(s),
        Json::Array(items) => K::ListValue(ListValue { values: items.into_iter().map(value).collect() }),
        Json::Object(fields) => K::StructValue(Struct { fields: fields.into_iter().map(|(k, v)| (k, value(v))).collect() }),
    };
    Value { kind: Some(kind) }
}
