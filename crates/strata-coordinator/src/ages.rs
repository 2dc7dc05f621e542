//! How long runs have been at work. Never believes a jump that the clock makes while this process looks on.

use crate::hub::Hub;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use strata_runtime::clock::Stopwatch;

/// Events read at a time.
const PAGE: u32 = 500;

/// Runs that this process has begun.
#[derive(Debug, Default)]
pub(crate) struct Ages(Mutex<HashMap<String, Begun>>);

#[derive(Debug)]
struct Begun {
    /// When the run was first begun, or begun after it was resumed, by the store's clock.
    since: DateTime<Utc>,
    /// How long before the watch was started.
    before: Duration,
    watch: Stopwatch,
}

impl Ages {
    /// How long a run has been at work, whose present attempt has just been entered as begun: since its first begin, or the first after it was
    /// resumed. By the store's clock, but for what this process has seen itself.
    pub(crate) async fn age(&self, hub: &Hub, run_id: &str) -> strata_store::Result<Duration> {
        let (mut since, mut last, mut after) = (None, None, 0);
        loop {
            let events = hub.store.events(run_id, after, PAGE).await?;
            for event in &events {
                match event.kind.as_str() {
                    "started" => {
                        since = since.or(Some(event.at));
                        last = Some(event.at);
                    }
                    "resume_requested" => since = None,
                    _ => {}
                }
            }
            match events.last() {
                Some(event) if events.len() == PAGE as usize => after = event.seq,
                _ => break,
            }
        }
        let (Some(since), Some(last)) = (since, last) else { return Ok(Duration::ZERO) };
        Ok(self.seen(run_id, since, (last - since).to_std().unwrap_or_default()))
    }

    /// What this process knows better than the clock.
    fn seen(&self, run_id: &str, since: DateTime<Utc>, by_the_clock: Duration) -> Duration {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match begun.get(run_id) {
            Some(known) if known.since == since => known.before + known.watch.elapsed(),
            _ => {
                let new = Begun { since, before: by_the_clock, watch: Stopwatch::start() };
                begun.insert(run_id.to_owned(), new);
                by_the_clock
            }
        }
    }

    /// Forgets a run that has ended.
    pub(crate) fn forget(&self, run_id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(run_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_makes_no_run_older_and_a_resumed_run_begins_anew() {
        let ages = Ages::default();
        let (at, days) = (DateTime::UNIX_EPOCH, Duration::from_secs(2 * 86_400));
        let minute = Duration::from_secs(60);
        assert_eq!(ages.seen("r1", at, Duration::ZERO), Duration::ZERO);
        assert!(ages.seen("r1", at, days) < minute, "this process saw it begin");
        assert_eq!(ages.seen("r2", at, days), days, "another process saw it begin");
        assert_eq!(ages.seen("r1", at + days, Duration::ZERO), Duration::ZERO);
        ages.forget("r1");
        assert_eq!(ages.seen("r1", at, days), days);
    }
}
