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

/// A new run id: the time to the second, three hex digits of the millisecond and five of chance, e.g. `20260101T063000-1f3c21aa`. Sorts by
/// time: which of two outputs is of the newer run is told by it.
#[expect(clippy::disallowed_methods, reason = "the one place that makes run ids")]
pub fn run_id() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let now = now();
    // A leap second has up to 2,000 milliseconds, which fit three digits as well.
    format!("{}-{:03x}{}", now.format("%Y%m%dT%H%M%S"), now.timestamp_subsec_millis(), &random[..5])
}

/// Whether a name has the form of what [`run_id`] makes.
pub fn is_run_id(name: &str) -> bool {
    let fits = |i: usize, b: u8| match i {
        8 => b == b'T',
        15 => b == b'-',
        0..15 => b.is_ascii_digit(),
        _ => b.is_ascii_hexdigit() && !b.is_ascii_uppercase(),
    };
    name.len() == 24 && name.bytes().enumerate().all(|(i, b)| fits(i, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_are_known_by_their_form() {
        assert!(is_run_id(&run_id()) && is_run_id("20260101T063000-9f3c21aa"));
        for other in [
            "",
            "20260101T063000-9f3c21a",
            "20260101T063000-9F3C21AA",
            "20260101-063000-9f3c21aa",
            "customers",
            "2026010éT63000-9f3c21aa",
        ] {
            assert!(!is_run_id(other), "{other}");
        }
    }

    #[test]
    fn run_ids_of_one_second_sort_by_time() {
        let (first, from) = (run_id(), now());
        while now() < from + chrono::TimeDelta::milliseconds(1) {
            std::thread::yield_now();
        }
        assert!(first < run_id());
    }
}
