//! What only SQLite files have: several processes, files that are something else. Never needs a server.

use crate::conformance::{LONG, events, get, lead, new_run};
use std::sync::{Arc, Barrier};
use std::thread;
use strata_store::{Error, RunStore, SqliteStore};
use tempfile::TempDir;

#[test]
fn many_may_make_the_same_file_at_once() {
    for _ in 0..5 {
        let folder = TempDir::new().unwrap();
        let file = Arc::new(folder.path().join("runs.db"));
        let together = Arc::new(Barrier::new(8));
        let opening = (0..8).map(|_| {
            let (file, together) = (file.clone(), together.clone());
            thread::spawn(move || {
                together.wait();
                SqliteStore::open(&file).map(drop)
            })
        });
        for opened in opening.collect::<Vec<_>>() {
            opened.join().unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn runs_and_leases_outlive_the_store() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("runs.db");
    let store = SqliteStore::open(&file).unwrap();
    let fence = lead(&store).await;
    store.create(new_run("r1")).await.unwrap();
    store.append(&fence, "r1", events(3)).await.unwrap();
    let before = get(&store, "r1").await;
    drop(store);
    let store = SqliteStore::open(&file).unwrap();
    assert_eq!(get(&store, "r1").await, before);
    store.check(&fence).await.unwrap();
    assert_eq!(store.acquire("coordinator", "another", LONG).await.unwrap(), None);
}

#[test]
fn writes_are_durable_and_files_are_in_wal_mode() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("runs.db");
    let _store = SqliteStore::open(&file).unwrap();
    let connection = rusqlite::Connection::open(&file).unwrap();
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn events_never_change() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("runs.db");
    let store = SqliteStore::open(&file).unwrap();
    store.create(new_run("r1")).await.unwrap();
    let connection = rusqlite::Connection::open(&file).unwrap();
    let e = connection.execute("UPDATE run_event SET kind = 'another'", []).unwrap_err();
    assert!(e.to_string().contains("events never change"), "{e}");
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("runs.db");
    drop(SqliteStore::open(&file).unwrap());
    let connection = rusqlite::Connection::open(&file).unwrap();
    let newer = "INSERT INTO refinery_schema_history VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')";
    connection.execute(newer, []).unwrap();
    let e = SqliteStore::open(&file).unwrap_err();
    assert!(
        matches!(&e, Error::Damaged(why) if why.contains("version 99") && why.contains("help: run the newer program")),
        "{e}"
    );
    connection
        .execute("UPDATE refinery_schema_history SET version = 1, checksum = '2' WHERE version = 99 OR version = 1", [])
        .unwrap_err();
    connection.execute("DELETE FROM refinery_schema_history WHERE version = 99", []).unwrap();
    connection.execute("UPDATE refinery_schema_history SET checksum = '2'", []).unwrap();
    let e = SqliteStore::open(&file).unwrap_err();
    assert!(matches!(&e, Error::Damaged(why) if why.contains("not made by this program")), "{e}");
}

#[test]
fn what_is_no_run_store_is_refused() {
    let folder = TempDir::new().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "these are notes, and no database at all ".repeat(100)).unwrap();
    assert!(matches!(SqliteStore::open(&text).unwrap_err(), Error::Damaged(_)));
    assert!(matches!(SqliteStore::open(&folder.path().join("no/such/folder.db")).unwrap_err(), Error::Unavailable(_)));
    assert!(matches!(SqliteStore::open(folder.path()).unwrap_err(), Error::Unavailable(_)));
}
