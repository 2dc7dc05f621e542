//! Runs, their events and the lease of the coordinator that works on them: [`RunStore`] on SQLite (embedded) and on PostgreSQL (several
//! coordinators). Never decides what a run does, and never holds a secret.

mod error;
mod lease;
mod migrate;
mod postgres;
mod rfc3339;
mod rules;
mod run;
mod sql;
mod sqlite;
mod store;

pub use error::{Error, Result};
pub use lease::{Fence, Lease};
pub use postgres::PostgresStore;
pub use run::{Event, LogLine, NewEvent, Outcome, OutcomeClass, RunRecord, RunState, StepRecord};
pub use sqlite::SqliteStore;
pub use store::{Change, Created, ListQuery, NewRun, RunPage, RunStore};
