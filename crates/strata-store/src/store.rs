//! The store of runs as its users see it. Two implementations: SQLite and PostgreSQL; one conformance suite.

use crate::error::Result;
use crate::lease::{Fence, Lease};
use crate::run::{Event, LogLine, NewEvent, Outcome, RunRecord, RunState, StepRecord};
use async_trait::async_trait;
use serde_json::Value;
use std::time::Duration;

/// A run to be.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// Its id; the caller makes it.
    pub run_id: String,
    /// Name of its pipeline.
    pub pipeline: String,
    /// Idempotency key, 1–128 characters, unique with the pipeline.
    pub request_id: Option<String>,
    /// What is asked for.
    pub body: Value,
}

/// What came of creating a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// It is new.
    New(RunRecord),
    /// The same was asked for before under this key: that run.
    Same(RunRecord),
}

/// Which runs to list; newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListQuery {
    /// Only of this pipeline.
    pub pipeline: Option<String>,
    /// Only in one of these states; empty: any.
    pub states: Vec<RunState>,
    /// Oldest first instead.
    pub oldest_first: bool,
    /// From the last page.
    pub page_token: Option<String>,
    /// Runs a page, 1–1000; any other number, the default 0 too, is refused.
    pub page_size: u32,
}

/// A page of runs.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunRecord>,
    /// Present if there are more.
    pub next_page_token: Option<String>,
}

/// Events to append, and what becomes of the run with them: all or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// In order.
    pub events: Vec<NewEvent>,
    /// New state; must be reachable from the present one ([`RunState::may_become`]) or be the same.
    pub state: Option<RunState>,
    /// With a terminal state.
    pub outcome: Option<Outcome>,
    /// A step that finished.
    pub step: Option<StepRecord>,
    /// The run report so far.
    pub report: Option<Value>,
}

/// Runs, their append-only events, and leases. What was acknowledged survives any crash of any process.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// Accepts a run as `Queued` with the event `created`; under one key and pipeline there is one run, whoever asks how often at once.
    /// Errors: `KeyReused`, naming the original, if the key was used with another body; `Invalid` for a bad key or id.
    async fn create(&self, run: NewRun) -> Result<Created>;
    /// A run. `None`: there is none.
    async fn get(&self, run_id: &str) -> Result<Option<RunRecord>>;
    /// The run of a key.
    async fn lookup(&self, pipeline: &str, request_id: &str) -> Result<Option<RunRecord>>;
    /// A page of runs.
    async fn list(&self, query: &ListQuery) -> Result<RunPage>;
    /// Appends events and changes the run with them, in one transaction that also checks the fence. Entering `Running`, from
    /// `Running` too, counts an attempt and sets `started_at` once; entering a terminal state sets `ended_at` and needs an
    /// outcome. A change of state without an event gets the event `state_changed`, so that the etag changes; a step that finishes
    /// again replaces its earlier record. Gives the last event's number.
    /// Errors: `Fenced` if another holds the lease or it ended; `Illegal` for a state that cannot be reached; `NotFound`.
    async fn append(&self, fence: &Fence, run_id: &str, change: Change) -> Result<u64>;
    /// Asks a run to stop, without a lease: `Queued` → `Cancelled` at once (exit code 130), `Running` → `Cancelling`; in any other state nothing
    /// happens. Events `cancel_requested`, `cancelled`. Errors: `NotFound`.
    async fn request_cancel(&self, run_id: &str, reason: &str) -> Result<RunRecord>;
    /// Queues a failed, cancelled or timed-out run again, keeping its finished steps; event `resume_requested`. In `Queued` and `Running` nothing
    /// happens. Errors: `Illegal` for a run that succeeded or is being cancelled; `NotFound`.
    async fn request_resume(&self, run_id: &str) -> Result<RunRecord>;
    /// Events after `after_seq`, in order, at most `limit`.
    async fn events(&self, run_id: &str, after_seq: u64, limit: u32) -> Result<Vec<Event>>;
    /// Finished steps in the order they finished.
    async fn steps(&self, run_id: &str) -> Result<Vec<StepRecord>>;
    /// The latest report.
    async fn report(&self, run_id: &str) -> Result<Option<Value>>;
    /// Adds log lines (level, message).
    async fn log(&self, run_id: &str, lines: &[(String, String)]) -> Result<()>;
    /// Log lines after `after_seq`, at most `limit`.
    async fn logs(&self, run_id: &str, after_seq: u64, limit: u32) -> Result<Vec<LogLine>>;
    /// Takes the lease if it is free, ended, or already this holder's; `None` if another has it. A new holder gets a new epoch.
    async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>>;
    /// Prolongs it. Errors: `Fenced` if it is no longer held.
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease>;
    /// Gives it up, so that another can take it at once. Nothing happens if it is no longer held.
    async fn release(&self, lease: &Lease) -> Result<()>;
    /// Whether the fence still holds. Errors: `Fenced`.
    async fn check(&self, fence: &Fence) -> Result<()>;
    /// Forgets terminal runs that ended more than `keep` ago, with their events, steps, logs and reports; gives how many.
    async fn purge(&self, keep: Duration) -> Result<u64>;
}
