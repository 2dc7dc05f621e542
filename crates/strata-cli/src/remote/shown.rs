//! Runs as text and as JSON. Never shows what the coordinator did not send.

use crate::args::Output;
use crate::{render, summary};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use strata_engine::RunReport;
use strata_proto::v1;
use strata_proto::well_known::Timestamp;

/// `RUN_STATE_QUEUED` → `QUEUED`.
pub(crate) fn state(run: &v1::Run) -> &'static str {
    run.state().as_str_name().trim_start_matches("RUN_STATE_")
}

/// `None` where there was no failure.
fn class(outcome: &v1::Outcome) -> Option<&'static str> {
    match outcome.class() {
        v1::OutcomeClass::Unspecified => None,
        other => Some(other.as_str_name().trim_start_matches("OUTCOME_CLASS_")),
    }
}

/// Whether nothing more happens by itself.
pub(crate) fn has_ended(run: &v1::Run) -> bool {
    use v1::RunState::{Cancelled, Failed, Succeeded, TimedOut};
    matches!(run.state(), Succeeded | Failed | Cancelled | TimedOut)
}

/// A run as the HTTP API writes it.
pub(crate) fn json(run: &v1::Run) -> Value {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "run_id": run.run_id, "pipeline": run.pipeline, "request_id": some(&run.request_id), "state": state(run),
        "outcome": run.outcome.as_ref().map(|o| json!({
            "class": class(o), "exit_code": o.exit_code, "message": o.message, "retryable": o.retryable,
        })),
        "cancel_reason": some(&run.cancel_reason), "attempt": run.attempt,
        "created_at": time(run.created_at), "started_at": time(run.started_at), "ended_at": time(run.ended_at),
        "event_seq": run.event_seq, "etag": run.etag, "created_by": run.created_by, "file": run.file, "vars": run.vars,
        "as_of": time(run.as_of), "timeout_seconds": run.timeout.map(|t| t.seconds),
    })
}

/// A run, a line for each thing known of it.
pub(crate) fn text(run: &v1::Run) -> String {
    let mut lines = vec![("run", run.run_id.clone()), ("pipeline", run.pipeline.clone()), ("state", state(run).to_owned())];
    let mut add = |name, value: Option<String>| lines.extend(value.filter(|v| !v.is_empty()).map(|v| (name, v)));
    if let Some(outcome) = &run.outcome {
        add("class", class(outcome).map(str::to_owned));
        add("exit code", Some(outcome.exit_code.to_string()));
        add("message", Some(outcome.message.clone()));
    }
    add("cancelled", Some(run.cancel_reason.clone()));
    add("created", time(run.created_at));
    add("created by", Some(run.created_by.clone()));
    add("request id", Some(run.request_id.clone()));
    add("started", time(run.started_at));
    add("ended", time(run.ended_at));
    add("attempts", Some(run.attempt.to_string()));
    add("file", Some(run.file.clone()));
    run.vars.iter().for_each(|(name, value)| add("variable", Some(format!("{name}={value}"))));
    add("as of", time(run.as_of));
    add("timeout", run.timeout.map(|t| format!("{} s", t.seconds)));
    lines
        .iter()
        .map(|(name, value)| format!("{name:<12} {}", value.replace('\n', "\n             ")))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Runs as a table.
pub(crate) fn table(runs: &[v1::Run]) -> String {
    let row = |run: &v1::Run| {
        let ended = run.outcome.as_ref().and_then(class).unwrap_or("");
        let seconds = match (run.started_at, run.ended_at) {
            (Some(a), Some(b)) => format!("{} s", b.seconds - a.seconds),
            _ => String::new(),
        };
        let created = time(run.created_at).unwrap_or_default();
        format!("{:<26} {:<11} {:<10} {:<26} {:>9}  {}", run.run_id, state(run), ended, created, seconds, run.pipeline)
    };
    let head = format!("{:<26} {:<11} {:<10} {:<26} {:>9}  {}", "RUN", "STATE", "CLASS", "CREATED", "TOOK", "PIPELINE");
    std::iter::once(head).chain(runs.iter().map(row)).collect::<Vec<_>>().join("\n")
}

/// What a run that has ended did; gives its exit code.
pub(crate) fn ended(run: &v1::Run, report: Option<&str>, output: Output) -> u8 {
    let succeeded = run.state() == v1::RunState::Succeeded;
    let known: Option<RunReport> = report.and_then(|text| serde_json::from_str(text).ok());
    match (output, report) {
        (Output::Json, Some(report)) => render::data(report),
        (Output::Json, None) => render::data(&json(run).to_string()),
        (Output::Text, _) if succeeded => match &known {
            Some(report) => render::data(&summary::text(report)),
            None => render::data(&format!("succeeded, run {}", run.run_id)),
        },
        (Output::Text, _) => failed(run, known.as_ref()),
    }
    match &run.outcome {
        Some(outcome) => u8::try_from(outcome.exit_code).unwrap_or(70),
        None => 70,
    }
}

fn failed(run: &v1::Run, report: Option<&RunReport>) {
    let message = run.outcome.as_ref().map(|o| o.message.as_str()).unwrap_or_default();
    render::line(&format!("error: run {} is {}: {message}", run.run_id, state(run)));
    let committed: Vec<&str> = report.iter().flat_map(|r| &r.outputs).filter(|o| o.committed).map(|o| o.name.as_str()).collect();
    match (report, committed.is_empty()) {
        (None, _) => {}
        (_, true) => render::line("no output was changed"),
        (_, false) => {
            render::line(&format!("already published by this run: {}; resume it to publish the rest", committed.join(", ")));
        }
    }
}

/// RFC 3339.
pub(crate) fn time(at: Option<Timestamp>) -> Option<String> {
    let at = at?;
    let at: DateTime<Utc> = DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?)?;
    Some(at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
