//! Where a test's runs live: two handles on one empty database, as two coordinators have them. Never shared by two tests.

use crate::postgres_server::PostgresServer;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use strata_store::{PostgresStore, RunStore, SqliteStore};
use tempfile::TempDir;

/// Two stores on one database.
pub(crate) struct Site {
    pub(crate) a: Arc<dyn RunStore>,
    pub(crate) b: Arc<dyn RunStore>,
    /// Removed after the stores are closed.
    _folder: Option<TempDir>,
    schema: Option<String>,
}

impl Site {
    pub(crate) fn sqlite_file() -> Self {
        let folder = TempDir::new().unwrap();
        let open = || Arc::new(SqliteStore::open(&folder.path().join("runs.db")).unwrap());
        Self { a: open(), b: open(), _folder: Some(folder), schema: None }
    }

    /// In memory there is only one handle.
    pub(crate) fn sqlite_memory() -> Self {
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        Self { a: store.clone(), b: store, _folder: None, schema: None }
    }

    /// `None`, said loudly: there is no server.
    pub(crate) async fn postgres() -> Option<Self> {
        let (schema, url) = postgres_schema().await?;
        // Both at once: only one of them makes the tables.
        let (a, b) = tokio::join!(PostgresStore::connect(&url), PostgresStore::connect(&url));
        Some(Self { a: Arc::new(a.unwrap()), b: Arc::new(b.unwrap()), _folder: None, schema: Some(schema) })
    }

    /// The two in turn.
    pub(crate) fn store(&self, i: usize) -> Arc<dyn RunStore> {
        if i.is_multiple_of(2) { self.a.clone() } else { self.b.clone() }
    }

    /// Of a site on PostgreSQL; its stores' connections have this name too.
    pub(crate) fn schema(&self) -> &str {
        self.schema.as_deref().unwrap()
    }

    /// Leaves nothing behind on a server that goes on; a test that failed leaves its schema to be looked at.
    pub(crate) async fn remove(self) {
        if let Some(schema) = self.schema {
            postgres_execute(&format!("DROP SCHEMA {schema} CASCADE")).await;
        }
    }
}

/// A new, empty schema and the URL whose tables are made in it.
pub(crate) async fn postgres_schema() -> Option<(String, String)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = postgres_url()?;
    let schema = format!("strata_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    postgres_execute(&format!("CREATE SCHEMA {schema}")).await;
    let joint = if server.contains('?') { '&' } else { '?' };
    Some((schema.clone(), format!("{server}{joint}options=-csearch_path%3D{schema}&application_name={schema}")))
}

pub(crate) async fn postgres_execute(sql: &str) {
    let (client, connection) = tokio_postgres::connect(postgres_url().unwrap(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
}

/// `STRATA_TEST_POSTGRES`, or a private server if one is installed.
pub(crate) fn postgres_url() -> Option<&'static str> {
    // Never dropped: the server notices that this process is gone.
    static SERVER: OnceLock<Option<PostgresServer>> = OnceLock::new();
    static GIVEN: OnceLock<Option<String>> = OnceLock::new();
    if let Some(given) = GIVEN.get_or_init(|| std::env::var("STRATA_TEST_POSTGRES").ok()) {
        return Some(given);
    }
    let server = SERVER.get_or_init(|| match PostgresServer::start() {
        Ok(server) => Some(server),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            // Past the test harness, which hides what passing tests print.
            let mut stderr = std::io::stderr().lock();
            writeln!(stderr, "\nNOT RUN: the run store on PostgreSQL. Set STRATA_TEST_POSTGRES to a URL, or install it: {e}\n")
                .unwrap();
            None
        }
        Err(e) => panic!("{e}"),
    });
    server.as_ref().map(PostgresServer::url)
}
