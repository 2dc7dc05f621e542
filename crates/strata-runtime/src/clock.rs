//! The time of day and run ids: bookkeeping only. Never reaches a plan or a table's values.

use chrono::{DateTime, Utc};
use std::time::{Duration, Instant};

/// Now.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Measures how long something took.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A new run id: the time to the second and eight random hex digits, e.g. `20260101T063000-9f3c21aa`. Sorts by time.
#[expect(clippy::disallowed_methods, reason = "the one place that makes run ids")]
pub fn run_id() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{}-{}", now().format("%Y%m%dT%H%M%S"), &random[..8])
}
