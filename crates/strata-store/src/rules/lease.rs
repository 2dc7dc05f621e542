//! Who may have a lease. Never asks what time it is: the database says so.

use super::input::fenced;
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
}

/// The row after `holder` asked for the lease; `None`: another has it.
pub(crate) fn grant(row: Option<LeaseRow>, holder: &str, now_ms: i64, ttl_ms: i64) -> Option<LeaseRow> {
    let epoch = match row {
        None => 1,
        Some(row) if row.holder.as_deref() == Some(holder) => row.epoch,
        Some(row) if row.is_live(now_ms) => return None,
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
