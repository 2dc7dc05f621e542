//! The run store: one conformance suite on every database, random histories against a model, processes killed while they write. Never talks to
//! a database that somebody uses: SQLite files are temporary, PostgreSQL gets a schema for every test.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails; helpers are part of tests; durations are measured"
)]

mod conformance;
mod crash;
mod postgres;
#[expect(unreachable_pub, reason = "the test kit's own file: it cannot be a dependency here, it depends on the engine")]
#[path = "../../../strata-testkit/src/postgres.rs"]
mod postgres_server;
mod simulation;
mod site;
mod sqlite;

/// One module of tests for every kind of site.
macro_rules! on_every_site {
    ($($group:ident :: $test:ident,)*) => {
        mod on_sqlite_file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                crate::conformance::$group::$test(&crate::site::Site::sqlite_file()).await;
            })*
        }
        mod on_sqlite_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                crate::conformance::$group::$test(&crate::site::Site::sqlite_memory()).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                let Some(site) = crate::site::Site::postgres().await else { return };
                crate::conformance::$group::$test(&site).await;
                site.remove().await;
            })*
        }
    };
}

conformance::every_test!(on_every_site);
