//! Processes killed while they write to an SQLite file. Never loses what was acknowledged.

use crate::conformance::{entering, new_run};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use strata_store::{Change, Event, NewEvent, RunState, RunStore, SqliteStore, StepRecord};

/// With it this test's process is the one to be killed; its value is the file.
const CHILD: &str = "STRATA_STORE_CRASH_FILE";
const THIS_TEST: &str = "crash::no_acknowledged_event_is_lost";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_event_is_lost() {
    if let Some(file) = std::env::var_os(CHILD) {
        return append_for_ever(Path::new(&file)).await;
    }
    let rounds = if std::env::var_os("STRATA_TEST_LONG").is_some_and(|v| v == "1") { 200 } else { 20 };
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("runs.db");
    let mut random = crate::simulation::Random(7);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let (mut kept, mut unacknowledged) = (0, 0);
    for round in 0..rounds {
        let before = acknowledged.load(Ordering::SeqCst);
        let (mut child, reader) = spawn(&file, &acknowledged);
        // At first and now and then while it opens the file; otherwise while it appends.
        if round >= 2 && random.below(5) > 0 {
            let deadline = Instant::now() + Duration::from_secs(60);
            while acknowledged.load(Ordering::SeqCst) == before {
                assert!(Instant::now() < deadline, "the child acknowledges nothing");
                thread::sleep(Duration::from_millis(1));
            }
        }
        thread::sleep(Duration::from_micros(random.below(60_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        let last = acknowledged.load(Ordering::SeqCst);
        let events = events_after_crash(&file).await;
        assert!(events.len() as u64 >= last, "round {round}: event {last} was acknowledged, {} are there", events.len());
        unacknowledged += events.len() as u64 - last;
        kept = events.len();
        acknowledged.store(kept as u64, Ordering::SeqCst);
    }
    assert!(kept > rounds, "hardly anything was written: {kept} events");
    println!("{rounds} processes killed; {kept} events kept, {unacknowledged} of them not yet acknowledged");
}

fn spawn(file: &Path, acknowledged: &Arc<AtomicU64>) -> (Child, JoinHandle<()>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", THIS_TEST, "--nocapture"]).env(CHILD, file).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (lines, acknowledged) = (BufReader::new(child.stdout.take().unwrap()).lines(), acknowledged.clone());
    let reader = thread::spawn(move || {
        // The last line may be cut short: only whole lines count.
        for line in lines.map_while(Result::ok) {
            if let Some(seq) = line.rsplit_once("acknowledged ").and_then(|(_, seq)| seq.strip_suffix('.')) {
                acknowledged.store(seq.parse().unwrap(), Ordering::SeqCst);
            }
        }
    });
    (child, reader)
}

/// The child: changes of one to three events, each change told once it is acknowledged.
async fn append_for_ever(file: &Path) {
    let store = SqliteStore::open(file).unwrap();
    let fence = store.acquire("coordinator", "child", Duration::from_secs(600)).await.unwrap().unwrap().fence();
    if store.get("r1").await.unwrap().is_none() {
        store.create(new_run("r1")).await.unwrap();
    }
    if store.get("r1").await.unwrap().unwrap().state == RunState::Queued {
        store.append(&fence, "r1", entering(RunState::Running)).await.unwrap();
    }
    let mut last = store.get("r1").await.unwrap().unwrap().event_seq;
    loop {
        let of = last % 3 + 1;
        let body = |i: u64| json!({"after": last, "i": i, "of": of});
        let events = (1..=of).map(|i| NewEvent { kind: "progress".into(), body: body(i) }).collect();
        let step = StepRecord { step: format!("after-{last}"), digest: "d".into(), artifact: json!(of) };
        last = store.append(&fence, "r1", Change { events, step: Some(step), ..Change::default() }).await.unwrap();
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "acknowledged {last}.").unwrap();
        stdout.flush().unwrap();
    }
}

/// The events of a file whose writer was killed: numbered without gaps, every change whole, the projection in step with them.
async fn events_after_crash(file: &Path) -> Vec<Event> {
    let store = SqliteStore::open(file).unwrap();
    let Some(run) = store.get("r1").await.unwrap() else { return Vec::new() };
    let events = store.events("r1", 0, u32::MAX).await.unwrap();
    assert!(events.iter().map(|e| e.seq).eq(1..=run.event_seq), "numbers have gaps");
    let mut changes = BTreeMap::<u64, Vec<&Event>>::new();
    for event in events.iter().filter(|e| e.kind == "progress") {
        changes.entry(event.body["after"].as_u64().unwrap()).or_default().push(event);
    }
    for (after, of_one) in &changes {
        assert_eq!(of_one.len() as u64, of_one[0].body["of"].as_u64().unwrap(), "half a change");
        assert_eq!(of_one[0].seq, after + 1);
    }
    let steps = store.steps("r1").await.unwrap();
    assert!(steps.iter().map(|s| &s.step).eq(changes.keys().map(|after| format!("after-{after}")).collect::<Vec<_>>().iter()));
    events
}
