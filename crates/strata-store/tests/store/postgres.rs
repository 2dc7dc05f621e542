//! What only PostgreSQL has: URLs, several coordinators that start at once, connections that break. Never uses a server's own databases.

use crate::conformance::{LONG, events, get, kinds, lead, new_run};
use crate::site::{Site, postgres_execute, postgres_schema};
use std::time::{Duration, Instant};
use strata_store::{Error, PostgresStore, RunStore};

#[tokio::test]
async fn bad_urls_are_refused_without_being_repeated() {
    for url in
        ["postgresql://user:s3cret@:port/x", "postgresql://user:s3cret@localhost/db?sslmode=require", "s3cret", "host='s3cret"]
    {
        let e = PostgresStore::connect(url).await.unwrap_err();
        let text = format!("{e} {e:?}");
        assert!(matches!(e, Error::Invalid(_)) && !text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let e = PostgresStore::connect(&format!("postgresql://user:s3cret@127.0.0.1:{port}/db")).await.unwrap_err();
    let text = format!("{e} {e:?}");
    assert!(matches!(e, Error::Unavailable(_)) && text.contains("refused") && !text.contains("s3cret"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_coordinators_may_start_at_once() {
    let Some((schema, url)) = postgres_schema().await else { return };
    let starting = (0..8).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { PostgresStore::connect(&url).await.map(drop) })
    });
    for started in starting.collect::<Vec<_>>() {
        started.await.unwrap().unwrap();
    }
    assert_eq!(format!("{:?}", PostgresStore::connect(&url).await.unwrap()), "PostgresStore { .. }");
    postgres_execute(&format!("DROP SCHEMA {schema} CASCADE")).await;
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let Some((schema, url)) = postgres_schema().await else { return };
    PostgresStore::connect(&url).await.unwrap();
    let newer = format!("INSERT INTO {schema}.refinery_schema_history VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')");
    postgres_execute(&newer).await;
    let e = PostgresStore::connect(&url).await.unwrap_err();
    assert!(
        matches!(&e, Error::Damaged(why) if why.contains("version 99") && why.contains("help: run the newer program")),
        "{e}"
    );
    postgres_execute(&format!("DROP SCHEMA {schema} CASCADE")).await;
}

#[tokio::test]
async fn missing_tables_are_damage_and_no_outage() {
    let Some((schema, url)) = postgres_schema().await else { return };
    let store = PostgresStore::connect(&url).await.unwrap();
    postgres_execute(&format!("DROP SCHEMA {schema} CASCADE")).await;
    let e = store.create(new_run("r1")).await.unwrap_err();
    assert!(matches!(e, Error::Damaged(_)), "{e}");
}

#[tokio::test]
async fn events_never_change() {
    let Some(site) = Site::postgres().await else { return };
    site.a.create(new_run("r1")).await.unwrap();
    let schema = site.schema().to_owned();
    let (client, connection) =
        tokio_postgres::connect(crate::site::postgres_url().unwrap(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let e = client.batch_execute(&format!("UPDATE {schema}.run_event SET kind = 'another'")).await.unwrap_err();
    assert!(e.as_db_error().unwrap().message().contains("events never change"), "{e}");
    site.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_break_are_made_again() {
    let Some(site) = Site::postgres().await else { return };
    let fence = lead(&*site.a).await;
    site.a.create(new_run("r1")).await.unwrap();
    let mut last = 1;
    for _ in 0..5 {
        postgres_execute(&format!(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = '{}'",
            site.schema()
        ))
        .await;
        last = site.a.append(&fence, "r1", events(1)).await.unwrap();
    }
    assert_eq!((kinds(&*site.a, "r1").await.len() as u64, last), (6, 6));
    site.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_that_hangs_in_a_transaction_loses_its_lease() {
    let Some(site) = Site::postgres().await else { return };
    let lease = site.a.acquire("coordinator", "one", LONG).await.unwrap().unwrap();
    site.a.create(new_run("r1")).await.unwrap();
    // As a leader does that was stopped while it appended: the server ends it after a while.
    let (mut client, connection) =
        tokio_postgres::connect(crate::site::postgres_url().unwrap(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
        .batch_execute(&format!("SET search_path = {}; SET idle_in_transaction_session_timeout = '1s'", site.schema()))
        .await
        .unwrap();
    let hanging = client.transaction().await.unwrap();
    hanging
        .batch_execute("SELECT pg_advisory_xact_lock_shared('lease'::regclass::oid::int, hashtext('coordinator'))")
        .await
        .unwrap();
    // The holder goes on beside it.
    site.a.append(&lease.fence(), "r1", events(1)).await.unwrap();
    let lease = site.a.renew(&lease, Duration::ZERO).await.unwrap();
    // Who takes over waits until nothing of the old leader can be written any more.
    let begun = Instant::now();
    let taken = site.b.acquire("coordinator", "another", LONG).await.unwrap().unwrap();
    assert!(begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(taken.epoch, lease.epoch + 1);
    assert!(hanging.commit().await.is_err());
    assert_eq!(get(&*site.a, "r1").await.event_seq, 2);
    site.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_that_is_being_resumed_is_not_forgotten() {
    let Some(site) = Site::postgres().await else { return };
    site.a.create(new_run("r1")).await.unwrap();
    site.a.request_cancel("r1", "enough").await.unwrap();
    let (mut client, connection) =
        tokio_postgres::connect(crate::site::postgres_url().unwrap(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path = {}", site.schema())).await.unwrap();
    let resuming = client.transaction().await.unwrap();
    resuming.batch_execute("UPDATE run SET state = 'QUEUED', outcome = NULL, ended_ms = NULL").await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let store = site.b.clone();
    let purging = tokio::spawn(async move { store.purge(Duration::ZERO).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(300)).await;
    resuming.commit().await.unwrap();
    assert_eq!(purging.await.unwrap(), 0);
    assert_eq!(kinds(&*site.a, "r1").await.len(), 3);
    site.remove().await;
}
