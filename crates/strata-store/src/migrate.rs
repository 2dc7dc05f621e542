//! The tables, version by version. Never changes a migration that was released: it adds the next one.

use crate::error::{Error, Result};
use refinery::error::Kind;
use refinery::{Migration, Runner};

const SQLITE: &[(&str, &str)] = &[("V1__runs", include_str!("../migrations/sqlite/V1__runs.sql"))];
const POSTGRES: &[(&str, &str)] = &[("V1__runs", include_str!("../migrations/postgres/V1__runs.sql"))];

/// What brings an SQLite file up to date.
pub(crate) fn sqlite() -> Result<Runner> {
    runner(SQLITE)
}

/// What brings a PostgreSQL schema up to date.
pub(crate) fn postgres() -> Result<Runner> {
    runner(POSTGRES)
}

/// What went wrong. `None`: the database did not answer or somebody else migrated at the same time.
pub(crate) fn refused(failure: &refinery::Error, runner: &Runner) -> Option<Error> {
    let known = runner.get_migrations().iter().map(Migration::version).max().unwrap_or_default();
    match failure.kind() {
        Kind::Connection(..) => None,
        Kind::MissingVersion(applied) if applied.version() > known => Some(Error::Damaged(format!(
            "its tables are of version {}, this program knows versions up to {known}\n  help: run the newer program; an older one would lose what \
             it does not know",
            applied.version()
        ))),
        other => Some(Error::Damaged(format!(
            "{other}\n  help: the tables were not made by this program; give it a database of its own"
        ))),
    }
}

/// Tells that tables were made or changed.
pub(crate) fn told(report: &refinery::Report) {
    for migration in report.applied_migrations() {
        tracing::info!(version = migration.version(), "brought the run store's tables up to date");
    }
}

fn runner(migrations: &[(&str, &str)]) -> Result<Runner> {
    let parsed: Result<Vec<_>, _> = migrations.iter().map(|(name, sql)| Migration::unapplied(name, sql)).collect();
    let parsed = parsed.map_err(|e| Error::Damaged(format!("a migration of this program cannot be read: {e}")))?;
    // Grouped: all of them and their history in one transaction. Refinery would otherwise commit a migration before it notes that it did.
    Ok(Runner::new(&parsed).set_grouped(true))
}
