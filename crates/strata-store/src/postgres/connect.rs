//! Reaching a PostgreSQL server and making the tables in it. Never repeats the URL, not even in an error.

use super::failure::described;
use crate::error::{Error, Result};
use crate::migrate;
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};

/// How long making a connection may take.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(10);
/// The server ends what hangs, so that a coordinator that stopped inside a transaction cannot keep a lease's row from the next one. The URL's own
/// options come later and win.
const SESSION: &str = "-c statement_timeout=30s -c lock_timeout=15s -c idle_in_transaction_session_timeout=10s";
/// Key of the advisory lock under which tables are made: `strata` in ASCII.
const MIGRATION_LOCK: &str = "SET statement_timeout = 0; SET lock_timeout = 0; SELECT pg_advisory_lock(126943972389985)";

/// How to connect. Errors: `Invalid`.
pub(super) fn configured(url: &str) -> Result<Config> {
    // The parser's message might quote the URL.
    let mut config: Config = url.parse().map_err(|_| {
        Error::Invalid("the PostgreSQL URL cannot be read\n  help: write `postgresql://user:password@host:5432/database`".into())
    })?;
    if config.get_ssl_mode() == SslMode::Require {
        return Err(Error::Invalid(
            "the PostgreSQL URL asks for TLS, which this build cannot do\n  help: leave `sslmode` out and reach the server over loopback, a private \
             network or a local TLS proxy"
                .into(),
        ));
    }
    let options = format!("{SESSION} {}", config.get_options().unwrap_or_default());
    config.options(options.trim());
    if config.get_application_name().is_none() {
        config.application_name("strata");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_MAX);
    }
    Ok(config)
}

/// Brings the tables up to date; gives whether commits are durable as the server is set.
pub(super) async fn migrate_tables(config: &Config) -> Result<bool> {
    let unavailable = |e: tokio_postgres::Error| Error::Unavailable(described(&e));
    let (mut client, connection) = config.connect(NoTls).await.map_err(unavailable)?;
    let driver = tokio::spawn(connection);
    client.batch_execute(MIGRATION_LOCK).await.map_err(unavailable)?;
    let runner = migrate::postgres()?;
    match runner.run_async(&mut client).await {
        Ok(report) => migrate::told(&report),
        Err(e) => return Err(migrate::refused(&e, &runner).unwrap_or_else(|| Error::Unavailable(migration_failure(&e)))),
    }
    let setting = client.query_one("SHOW synchronous_commit", &[]).await.map_err(unavailable)?;
    let is_durable = super::column::<&str>(&setting, 0)? != "off";
    // The lock ends with the connection.
    drop(client);
    let _ = driver.await;
    Ok(is_durable)
}

fn migration_failure(e: &refinery::Error) -> String {
    match e.kind() {
        refinery::error::Kind::Connection(_, cause) => match cause.downcast_ref() {
            Some(said) => format!("its tables could not be made: {}", described(said)),
            None => format!("its tables could not be made: {cause}"),
        },
        other => other.to_string(),
    }
}
