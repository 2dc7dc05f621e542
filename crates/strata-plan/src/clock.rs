//! The pipeline's only clock: `as_of`, the day it falls on, and windows back from it. Never asks the machine for the time.

use chrono::{DateTime, Datelike, Months, NaiveDate, TimeZone, Utc};
use chrono_tz::Tz;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use strata_spec::pipeline::{Ago, Window};

/// `as_of` and the time zone days are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// The instant.
    pub as_of: DateTime<Utc>,
    /// Time zone.
    pub timezone: Tz,
}

impl Clock {
    /// `as_of` as a timestamp literal, microseconds.
    pub fn as_of_literal(&self) -> Expr {
        instant(self.as_of)
    }

    /// The local calendar day of `as_of`.
    pub fn day(&self) -> NaiveDate {
        self.as_of.with_timezone(&self.timezone).date_naive()
    }

    /// That day as a literal.
    pub fn day_literal(&self) -> Expr {
        lit(ScalarValue::Date32(Some(self.day().num_days_from_ce() - EPOCH_DAYS_FROM_CE)))
    }

    /// Whether days and hours need no conversion.
    pub fn is_utc(&self) -> bool {
        matches!(self.timezone, Tz::UTC | Tz::Etc__UTC | Tz::GMT | Tz::Etc__GMT)
    }

    /// Start (inclusive) and end (exclusive) of a window.
    pub fn window(&self, window: &Window) -> (DateTime<Utc>, DateTime<Utc>) {
        (self.back(window.from), self.back(window.to))
    }

    fn back(&self, ago: Ago) -> DateTime<Utc> {
        match ago {
            Ago::Micros(us) => self.as_of - chrono::Duration::microseconds(us),
            Ago::Months(n) => {
                let local = self.as_of.with_timezone(&self.timezone).naive_local();
                let earlier = local.checked_sub_months(Months::new(n)).unwrap_or(local);
                // A local time that a change of clocks skips or repeats: its first instant.
                match self.timezone.from_local_datetime(&earlier).earliest() {
                    Some(t) => t.with_timezone(&Utc),
                    None => Utc.from_utc_datetime(&earlier),
                }
            }
        }
    }
}

/// An instant as a timestamp literal, microseconds.
pub(crate) fn instant(at: DateTime<Utc>) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(at.timestamp_micros()), None))
}

/// Days from 0001-01-01 to 1970-01-01.
const EPOCH_DAYS_FROM_CE: i32 = 719_163;
