//! The publish protocol on the local file system, with real threads. Never relies on which committer wins.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use strata_publish::{ContentHash, Error, Log, Manifest, PublishedTable, Receipt};

async fn publish(store: Arc<dyn ObjectStore>, log: Log, run_id: String) -> Result<u64, Error> {
    publish_to(&PublishedTable::new(Arc::clone(&store), Path::from("t"), log), &store, &run_id).await
}

async fn publish_to(table: &PublishedTable, store: &Arc<dyn ObjectStore>, run_id: &str) -> Result<u64, Error> {
    let file = table.run_folder(run_id)?.join("part-a-00000.parquet");
    store.put(&file, PutPayload::from_static(b"rows")).await.unwrap();
    let receipt =
        Receipt { path: "part-a-00000.parquet".into(), rows: 1, bytes: 4, content: ContentHash::default(), columns: vec![] };
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let manifest = Manifest::new("c360", run_id, "2025-01-01", &schema, vec![receipt])?;
    loop {
        let base = table.begin().await?;
        match table.commit(&base, &manifest).await {
            Err(Error::Conflict { .. }) => tokio::task::yield_now().await,
            other => return other.map(|version| version.seq),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twelve_runs_race_and_each_gets_its_own_version() {
    race(Log::Pointer, 1..=12).await;
    race(Log::Delta, 0..=11).await;
}

async fn race(log: Log, expected: std::ops::RangeInclusive<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let table = PublishedTable::new(Arc::clone(&store), Path::from("t"), log);
    table.probe_conditional_put("p1").await.unwrap();
    assert_eq!(table.current().await.unwrap(), None);
    let racing: Vec<_> = (0..12).map(|run| tokio::spawn(publish(Arc::clone(&store), log, format!("r{run}")))).collect();
    let mut seqs = Vec::new();
    for run in racing {
        seqs.push(run.await.unwrap().unwrap());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, expected.collect::<Vec<_>>());
    let versions = table.versions().await.unwrap();
    assert_eq!(table.current().await.unwrap().as_ref(), versions.last());
    for version in &versions {
        let manifest = table.manifest(version).await.unwrap();
        assert_eq!(manifest.rows, 1);
        let on_disk = folder.path().join("t").join(&version.folder);
        for name in ["_SUCCESS", "_manifest.json", "part-a-00000.parquet"] {
            assert!(on_disk.join(name).is_file(), "{name}");
        }
    }
    assert_eq!(publish(store, log, "r5".into()).await.unwrap(), versions.iter().find(|v| v.run_id == "r5").unwrap().seq);
}

#[tokio::test]
async fn what_a_killed_process_did_not_finish_is_gone_once_the_run_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let run = folder.path().join("t/runs/r1");
    std::fs::create_dir_all(&run).unwrap();
    for name in ["part-b-00000.parquet#1", "part-b-00000.parquet#12", "part-of.parquet#x", "mine#1"] {
        std::fs::write(run.join(name), "half").unwrap();
    }
    let table = PublishedTable::new(Arc::clone(&store), Path::from("t"), Log::Pointer);
    let table = table.on_this_machine(Some(&folder.path().join("t")));
    publish_to(&table, &store, "r1").await.unwrap();
    let mut left: Vec<_> = std::fs::read_dir(&run).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["_SUCCESS", "_manifest.json", "mine#1", "part-a-00000.parquet", "part-of.parquet#x"]);
}
