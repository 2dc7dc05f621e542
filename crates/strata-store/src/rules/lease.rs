//! Who may have a lease. Never asks what time it is: the database says so.

use super::input::{TTL_MS_MAX, fenced};
use crate::error::{Error, Result};
use crate::lease::{Fence, Lease};
use crate::sql::time;

/// A lease as it is stored. A row outlives its lease, so that epochs only grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseRow {
    /// Absent: given up.
    pub(crate) holder: Option<String>,
    pub(crate) epoch: i64,
    pub(crate) expires_ms: i64,
}

impl LeaseRow {
    /// The lease that this row says `name` is under.
    pub(crate) fn lease(self, name: &str) -> Result<Lease> {
        let epoch = u64::try_from(self.epoch).map_err(|_| Error::Damaged("a lease has a negative epoch".into()))?;
        Ok(Lease { name: name.to_owned(), holder: self.holder.unwrap_or_default(), epoch, expires_at: time(self.expires_ms)? })
    }

    fn is_live(&self, now_ms: i64) -> bool {
        self.holder.is_some() && self.expires_ms > now_ms
    }

    /// Whether it ends later than any lease can that was granted until now: the clock was set back since. Who asks for it need not wait until the
    /// clock is there again, for a holder that is still at work is fenced like any other.
    fn is_of_a_later_time(&self, now_ms: i64) -> bool {
        self.expires_ms.saturating_sub(now_ms) > TTL_MS_MAX
    }
}

/// The row after `holder` asked for the lease; `None`: another has it.
pub(crate) fn grant(row: Option<LeaseRow>, holder: &str, now_ms: i64, ttl_ms: i64) -> Option<LeaseRow> {
    let epoch = match row {
        None => 1,
        Some(row) if row.holder.as_deref() == Some(holder) => row.epoch,
        Some(row) if row.is_live(now_ms) && !row.is_of_a_later_time(now_ms) => return None,
        // INVARIANT: a new holder's epoch is higher than every earlier one.
        Some(row) => row.epoch + 1,
    };
    Some(LeaseRow { holder: Some(holder.to_owned()), epoch, expires_ms: now_ms.saturating_add(ttl_ms) })
}

/// The row after the lease was prolonged. Errors: `Fenced` if it ended or another took over.
pub(crate) fn prolong(row: Option<LeaseRow>, lease: &Lease, now_ms: i64, ttl_ms: i64) -> Result<LeaseRow> {
    match row {
        Some(row) if row.is_live(now_ms) && is_of(&row, lease) => {
            Ok(LeaseRow { expires_ms: now_ms.saturating_add(ttl_ms), ..row })
        }
        _ => Err(fenced(&lease.fence())),
    }
}

/// Whether the row still is of this lease, ended or not.
pub(crate) fn is_of(row: &LeaseRow, lease: &Lease) -> bool {
    row.holder.as_deref() == Some(&lease.holder) && u64::try_from(row.epoch) == Ok(lease.epoch)
}

/// Whether the fence holds. Errors: `Fenced`.
pub(crate) fn hold(row: Option<&LeaseRow>, fence: &Fence, now_ms: i64) -> Result<()> {
    match row {
        Some(row) if row.is_live(now_ms) && u64::try_from(row.epoch) == Ok(fence.epoch) => Ok(()),
        _ => Err(fenced(fence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_keeps_nobody_from_a_lease_and_old_epochs_stay_out() {
        const DAY_MS: i64 = 86_400_000;
        let now = 1_000 * DAY_MS;
        let held = grant(None, "one", now, 10_000).unwrap();
        assert_eq!(grant(Some(held.clone()), "two", now - 1_000, 10_000), None, "a clock that moves a little");
        let taken = grant(Some(held.clone()), "two", now - 2 * DAY_MS, 10_000).unwrap();
        assert_eq!((taken.holder.as_deref(), taken.epoch, taken.expires_ms), (Some("two"), 2, now - 2 * DAY_MS + 10_000));
        let stale = Fence { name: "coordinator".into(), epoch: 1 };
        assert!(hold(Some(&held), &stale, now).is_ok());
        assert!(hold(Some(&taken), &stale, now - 2 * DAY_MS).is_err());
        // The longest lease that can be granted is nobody else's.
        let longest = grant(None, "one", now, TTL_MS_MAX).unwrap();
        assert_eq!(grant(Some(longest), "two", now, 10_000), None);
    }
}
