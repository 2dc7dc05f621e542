//! What is known of a run. Never changes by itself: a store does that.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunState {
    /// Accepted, not begun.
    Queued,
    /// At work.
    Running,
    /// Asked to stop; its tasks are ending.
    Cancelling,
    /// Every output is committed.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended because somebody asked.
    Cancelled,
    /// Ended because it took longer than it may.
    TimedOut,
}

impl RunState {
    /// Whether nothing more happens by itself.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut)
    }

    /// Whether a run may go from this state to `next`. `Failed`, `Cancelled` and `TimedOut` runs may be queued again: that is `resume`.
    pub fn may_become(self, next: Self) -> bool {
        use RunState::*;
        match self {
            Queued => matches!(next, Running | Cancelled | Failed | TimedOut),
            Running => matches!(next, Cancelling | Succeeded | Failed | Cancelled | TimedOut | Queued),
            // A run that had committed everything before it could be stopped has succeeded.
            Cancelling => matches!(next, Cancelled | Succeeded | Failed | TimedOut),
            Failed | Cancelled | TimedOut => matches!(next, Queued),
            Succeeded => false,
        }
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Cancelling => "CANCELLING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::TimedOut => "TIMED_OUT",
        }
    }

    /// The state of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Queued, Self::Running, Self::Cancelling, Self::Succeeded, Self::Failed, Self::Cancelled, Self::TimedOut]
            .into_iter()
            .find(|s| s.name() == name)
    }
}

/// Whose turn it is after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutcomeClass {
    /// Fix the pipeline, or give memory or disk.
    User,
    /// Fix the data.
    DataCheck,
    /// Consent or a column class forbids it.
    Policy,
    /// Run it again.
    Transient,
    /// Report a defect.
    Internal,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Absent on success.
    pub class: Option<OutcomeClass>,
    /// The exit code that a command which waited for it gives.
    pub exit_code: u8,
    /// For people; never a value of the data.
    pub message: String,
    /// Whether running it again may help.
    pub retryable: bool,
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Its id, e.g. `20260101T063000-9f3c21aa`; sorts by time.
    pub run_id: String,
    /// Name of its pipeline.
    pub pipeline: String,
    /// The caller's idempotency key.
    pub request_id: Option<String>,
    /// What was asked for.
    pub body: Value,
    /// Digest of the body.
    pub body_digest: String,
    /// Where it is.
    pub state: RunState,
    /// How it ended; present in terminal states.
    pub outcome: Option<Outcome>,
    /// Why it is being cancelled.
    pub cancel_reason: Option<String>,
    /// How many times it was begun.
    pub attempt: u32,
    /// Times, on the database's clock.
    pub created_at: DateTime<Utc>,
    /// First begun.
    pub started_at: Option<DateTime<Utc>>,
    /// Came to its terminal state.
    pub ended_at: Option<DateTime<Utc>>,
    /// Its last event.
    pub event_seq: u64,
}

impl RunRecord {
    /// Changes with every event.
    pub fn etag(&self) -> String {
        format!("{}-{}", self.run_id, self.event_seq)
    }
}

/// Something that happened. Events of a run are numbered 1, 2, 3… without gaps and never change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number.
    pub seq: u64,
    /// When, on the database's clock.
    #[serde(with = "crate::rfc3339")]
    pub at: DateTime<Utc>,
    /// What, e.g. `step_finished`.
    pub kind: String,
    /// More of it.
    pub body: Value,
}

/// An event to be.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What, e.g. `step_finished`.
    pub kind: String,
    /// More of it.
    pub body: Value,
}

/// A finished step of a run: enough to go on behind it without running it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its label, unique in the run.
    pub step: String,
    /// Digest of everything that went into it.
    pub digest: String,
    /// What it made.
    pub artifact: Value,
}

/// A line of a run's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its number in the run, from 1.
    pub seq: u64,
    /// When, on the database's clock.
    #[serde(with = "crate::rfc3339")]
    pub at: DateTime<Utc>,
    /// `info`, `warn` or `error`.
    pub level: String,
    /// The line.
    pub message: String,
}
