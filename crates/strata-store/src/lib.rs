//! Runs, their events and the lease of the coordinator that works on them: [`RunStore`] on SQLite (embedded) and on PostgreSQL (several
//! coordinators). Never decides what a run does, and never holds a secret.

mod error;
mod lease;
mod run;
mod store;

pub use error::{Error, Result};
pub use lease::{Fence, Lease};
pub use run::{Event, LogLine, NewEvent, Outcome, OutcomeClass, RunRecord, RunState, StepRecord};
pub use store::{Change, Created, ListQuery, NewRun, RunPage, RunStore};
