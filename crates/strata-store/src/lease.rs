//! Who works on runs. Never trusts the holder's own clock: leases live on the database's.

use chrono::{DateTime, Utc};

/// A lease that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is on, e.g. `coordinator`.
    pub name: String,
    /// Who holds it, e.g. the coordinator's instance id.
    pub holder: String,
    /// Grows by one with every new holder: the fencing token.
    pub epoch: u64,
    /// When it ends unless renewed, on the database's clock.
    pub expires_at: DateTime<Utc>,
}

/// Proof of holding a lease; checked inside every write transaction of the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// What the lease is on.
    pub name: String,
    /// Its epoch.
    pub epoch: u64,
}

impl Lease {
    /// The proof to write with.
    pub fn fence(&self) -> Fence {
        Fence { name: self.name.clone(), epoch: self.epoch }
    }
}
