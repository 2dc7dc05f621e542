//! The SQL that both databases understand, and rows as they are stored. Never runs anything. Parameters are `$1`, `$2`… in the order in which
//! they first appear: SQLite numbers them so.

use crate::error::{Error, Result};
use crate::rules::page::Cursor;
use crate::run::{Event, LogLine, RunRecord, RunState, StepRecord};
use crate::store::ListQuery;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;

macro_rules! run_columns {
    () => {
        "run_id, pipeline, request_id, body, body_digest, state, outcome, cancel_reason, attempt, created_ms, started_ms, ended_ms, event_seq"
    };
}

/// Parameters: the columns of a run in order.
pub(crate) const INSERT_RUN: &str = concat!(
    "INSERT INTO run (",
    run_columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING"
);
/// Parameter: run id.
pub(crate) const RUN: &str = concat!("SELECT ", run_columns!(), " FROM run WHERE run_id = $1");
/// Parameters: pipeline, request id.
pub(crate) const RUN_OF_KEY: &str = concat!("SELECT ", run_columns!(), " FROM run WHERE pipeline = $1 AND request_id = $2");
/// Parameters: state, outcome, cancel reason, attempt, started, ended, event seq, run id.
pub(crate) const UPDATE_RUN: &str = "UPDATE run SET state = $1, outcome = $2, cancel_reason = $3, attempt = $4, started_ms = $5, ended_ms = $6, \
     event_seq = $7 WHERE run_id = $8";
/// Parameters: run id, seq, at, kind, body.
pub(crate) const INSERT_EVENT: &str = "INSERT INTO run_event (run_id, seq, at_ms, kind, body) VALUES ($1, $2, $3, $4, $5)";
/// Parameters: run id, after, limit.
pub(crate) const EVENTS: &str =
    "SELECT seq, at_ms, kind, body FROM run_event WHERE run_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
/// Parameters: run id, step, digest, artifact.
pub(crate) const PUT_STEP: &str = "INSERT INTO run_step (run_id, step, position, digest, artifact) \
     VALUES ($1, $2, (SELECT coalesce(max(position), 0) + 1 FROM run_step WHERE run_id = $1), $3, $4) \
     ON CONFLICT (run_id, step) DO UPDATE SET position = excluded.position, digest = excluded.digest, artifact = excluded.artifact";
/// Parameter: run id.
pub(crate) const STEPS: &str = "SELECT step, digest, artifact FROM run_step WHERE run_id = $1 ORDER BY position";
/// Parameters: run id, report.
pub(crate) const PUT_REPORT: &str =
    "INSERT INTO run_report (run_id, report) VALUES ($1, $2) ON CONFLICT (run_id) DO UPDATE SET report = excluded.report";
/// Parameter: run id.
pub(crate) const REPORT: &str = "SELECT report FROM run_report WHERE run_id = $1";
/// Parameter: run id.
pub(crate) const LAST_LOG: &str = "SELECT coalesce(max(seq), 0) FROM run_log WHERE run_id = $1";
/// Parameters: run id, seq, at, level, message.
pub(crate) const INSERT_LOG: &str = "INSERT INTO run_log (run_id, seq, at_ms, level, message) VALUES ($1, $2, $3, $4, $5)";
/// Parameters: run id, after, limit.
pub(crate) const LOGS: &str =
    "SELECT seq, at_ms, level, message FROM run_log WHERE run_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
/// Parameter: name.
pub(crate) const LEASE: &str = "SELECT holder, epoch, expires_ms FROM lease WHERE name = $1";
/// Parameters: name, holder, epoch, expires.
pub(crate) const PUT_LEASE: &str = "INSERT INTO lease (name, holder, epoch, expires_ms) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = excluded.epoch, expires_ms = excluded.expires_ms";

/// Runs forgotten in one transaction: others get a turn in between.
pub(crate) const PURGED_AT_ONCE: u32 = 200;

/// A parameter of a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Arg {
    Text(String),
    Int(i64),
}

/// The statement for a page of runs and one more, with its parameters.
pub(crate) fn list(query: &ListQuery, after: Option<Cursor>) -> (String, Vec<Arg>) {
    let mut args = Vec::new();
    let mut place = |arg: Arg| {
        args.push(arg);
        format!("${}", args.len())
    };
    let mut conditions = Vec::new();
    if let Some(pipeline) = &query.pipeline {
        conditions.push(format!("pipeline = {}", place(Arg::Text(pipeline.clone()))));
    }
    if !query.states.is_empty() {
        // Each once: PostgreSQL keeps every form of the statement prepared.
        let once: BTreeSet<_> = query.states.iter().map(|s| s.name()).collect();
        let names: Vec<_> = once.into_iter().map(|name| place(Arg::Text(name.to_owned()))).collect();
        conditions.push(format!("state IN ({})", names.join(", ")));
    }
    let (order, beyond) = if query.oldest_first { ("ASC", ">") } else { ("DESC", "<") };
    if let Some(Cursor { created_ms, run_id }) = after {
        conditions.push(format!("(created_ms, run_id) {beyond} ({}, {})", place(Arg::Int(created_ms)), place(Arg::Text(run_id))));
    }
    let limit = place(Arg::Int(i64::from(query.page_size) + 1));
    let mut sql = concat!("SELECT ", run_columns!(), " FROM run").to_owned();
    for (i, condition) in conditions.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(sql, " {} {condition}", if i == 0 { "WHERE" } else { "AND" });
    }
    let _ = write!(sql, " ORDER BY created_ms {order}, run_id {order} LIMIT {limit}");
    (sql, args)
}

/// A run as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunRow {
    pub(crate) run_id: String,
    pub(crate) pipeline: String,
    pub(crate) request_id: Option<String>,
    pub(crate) body: String,
    pub(crate) body_digest: String,
    pub(crate) state: String,
    pub(crate) outcome: Option<String>,
    pub(crate) cancel_reason: Option<String>,
    pub(crate) attempt: i64,
    pub(crate) created_ms: i64,
    pub(crate) started_ms: Option<i64>,
    pub(crate) ended_ms: Option<i64>,
    pub(crate) event_seq: i64,
}

impl RunRow {
    /// The row of a run.
    pub(crate) fn of(run: &RunRecord) -> Result<Self> {
        Ok(Self {
            run_id: run.run_id.clone(),
            pipeline: run.pipeline.clone(),
            request_id: run.request_id.clone(),
            body: run.body.to_string(),
            body_digest: run.body_digest.clone(),
            state: run.state.name().to_owned(),
            outcome: run.outcome.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)?,
            cancel_reason: run.cancel_reason.clone(),
            attempt: i64::from(run.attempt),
            created_ms: run.created_at.timestamp_millis(),
            started_ms: run.started_at.map(|t| t.timestamp_millis()),
            ended_ms: run.ended_at.map(|t| t.timestamp_millis()),
            event_seq: number(run.event_seq),
        })
    }

    /// The run of a row. Errors: `Damaged`.
    pub(crate) fn record(self) -> Result<RunRecord> {
        Ok(RunRecord {
            state: RunState::of_name(&self.state).ok_or_else(|| unreadable("a run is in an unknown state"))?,
            body: json(&self.body)?,
            outcome: self.outcome.as_deref().map(serde_json::from_str).transpose().map_err(unreadable)?,
            attempt: u32::try_from(self.attempt).map_err(unreadable)?,
            created_at: time(self.created_ms)?,
            started_at: self.started_ms.map(time).transpose()?,
            ended_at: self.ended_ms.map(time).transpose()?,
            event_seq: count(self.event_seq)?,
            run_id: self.run_id,
            pipeline: self.pipeline,
            request_id: self.request_id,
            body_digest: self.body_digest,
            cancel_reason: self.cancel_reason,
        })
    }
}

/// An event of its columns.
pub(crate) fn event(seq: i64, at_ms: i64, kind: String, body: &str) -> Result<Event> {
    Ok(Event { seq: count(seq)?, at: time(at_ms)?, kind, body: json(body)? })
}

/// A step of its columns.
pub(crate) fn step(step: String, digest: String, artifact: &str) -> Result<StepRecord> {
    Ok(StepRecord { step, digest, artifact: json(artifact)? })
}

/// A line of its columns.
pub(crate) fn log_line(seq: i64, at_ms: i64, level: String, message: String) -> Result<LogLine> {
    Ok(LogLine { seq: count(seq)?, at: time(at_ms)?, level, message })
}

/// JSON as it is stored. Errors: `Damaged`.
pub(crate) fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(unreadable)
}

/// A stored time. Errors: `Damaged`.
pub(crate) fn time(ms: i64) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_millis(ms).ok_or_else(|| unreadable("a time is out of bounds"))
}

/// A number as databases store it; beyond their range nothing is.
pub(crate) fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn count(n: i64) -> Result<u64> {
    u64::try_from(n).map_err(unreadable)
}

fn unreadable(why: impl std::fmt::Display) -> Error {
    Error::Damaged(why.to_string())
}
