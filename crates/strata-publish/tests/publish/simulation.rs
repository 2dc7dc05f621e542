//! The publish protocol, with either log, under thousands of seeded schedules: racing committers, twins of one run, lost replies, crashes at any store
//! call. What must hold is checked after every step. Never runs two threads, so a seed always repeats.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use arrow::datatypes::{DataType, Field, Schema};
use futures::FutureExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use strata_publish::{ContentHash, Error, Kind, Log, Manifest, PublishedTable, Receipt, Version};

use crate::faults::{Draws, FaultStore, Weather};

const LOGS: [Log; 3] = [Log::Pointer, Log::Delta, Log::DeltaByAsOf];
const SEEDS: u64 = 3_000;
const STEPS_MAX: usize = 20_000;

type Committing = Pin<Box<dyn Future<Output = Result<Version, Error>>>>;

struct Client {
    run: u64,
    /// Whether another client publishes the same run.
    has_twin: bool,
    attempts: u64,
    committing: Option<Committing>,
    done: Option<Version>,
}

/// What readers have seen: versions never change.
#[derive(Default)]
struct Seen {
    versions: BTreeMap<u64, (Version, Manifest)>,
}

fn root() -> Path {
    Path::from("lake/customer_360")
}

/// A run's rows are the same in every attempt, in other files.
async fn commit(store: Arc<dyn ObjectStore>, log: Log, run: u64, attempt: String, has_twin: bool) -> Result<Version, Error> {
    let table = PublishedTable::new(Arc::clone(&store), root(), log);
    let run_id = format!("r{run}");
    let base = table.begin().await?;
    let mut receipts = Vec::new();
    for part in 0..=(run % 2) {
        let path = format!("part-{attempt}-{part:05}.parquet");
        let object = table.run_folder(&run_id)?.join(path.as_str());
        let body = vec![b'x'; 10 + attempt.len()];
        let (rows, bytes) = (5, body.len() as i64);
        let put = store.put(&object, PutPayload::from(body)).await;
        put.map_err(|source| Error::Store { action: "write", path: object.to_string(), source })?;
        receipts.push(Receipt { path, rows, bytes, content: content(run, part), columns: vec![] });
    }
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let manifest = Manifest::new("c360", &run_id, "2025-01-01T00:00:00Z", &schema, receipts)?;
    let version = table.commit(&base, &manifest).await?;
    // Whoever was published between is a conflict, never jumped over; but a twin may have published the run on a later base.
    let next = base.current.map_or(first(log), |current| current.seq + 1);
    match version.seq <= next || has_twin {
        true => Ok(version),
        false => Err(Error::Damaged { path: run_id, detail: format!("version {} on a base before {next}", version.seq) }),
    }
}

/// Number of the first version.
fn first(log: Log) -> u64 {
    if log == Log::Pointer { 1 } else { 0 }
}

fn content(run: u64, part: u64) -> ContentHash {
    format!("{:032x}", run * 10 + part).parse().unwrap()
}

impl Seen {
    /// Looks at the table as a reader does. Errors: what a reader must never see.
    fn look(&mut self, store: &Arc<InMemory>, log: Log) -> Result<(), String> {
        let table = PublishedTable::new(Arc::clone(store) as Arc<dyn ObjectStore>, root(), log);
        let now = |what: Option<Result<Vec<Version>, Error>>| what.ok_or("the reader waits")?.map_err(|error| error.to_string());
        let versions = now(table.versions().now_or_never())?;
        let known = self.versions.len();
        for (place, version) in versions.iter().enumerate() {
            if version.seq != place as u64 + first(log) {
                return Err(format!("version {} stands at place {place}", version.seq));
            }
            let manifest =
                table.manifest(version).now_or_never().ok_or("the reader waits")?.map_err(|error| error.to_string())?;
            for file in &manifest.files {
                let object = table.run_folder(&version.run_id).map_err(|error| error.to_string())?.join(file.path.as_str());
                let meta = store.head(&object).now_or_never().ok_or("the reader waits")?.map_err(|error| error.to_string())?;
                if meta.size as i64 != file.bytes {
                    return Err(format!("`{object}` has {} bytes, not {}", meta.size, file.bytes));
                }
            }
            let entry = (version.clone(), manifest);
            if let Some(before) = self.versions.insert(version.seq, entry.clone()).filter(|before| *before != entry) {
                return Err(format!("version {} changed: {before:?} became {entry:?}", version.seq));
            }
        }
        if versions.len() < known {
            return Err("a version vanished".into());
        }
        match versions.last().filter(|_| log != Log::Pointer) {
            Some(newest) => self.look_with_delta(store, newest),
            None => Ok(()),
        }
    }

    /// The files that any reader of Delta finds, from the log's own text: those of the newest version, of one as-of.
    fn look_with_delta(&self, store: &Arc<InMemory>, newest: &Version) -> Result<(), String> {
        let mut files = std::collections::BTreeSet::new();
        for seq in 0..=newest.seq {
            let path = root().join("_delta_log").join(format!("{seq:020}.json"));
            let got = store.get(&path).now_or_never().ok_or("the reader waits")?.map_err(|error| error.to_string())?;
            let text = got.bytes().now_or_never().ok_or("the reader waits")?.map_err(|error| error.to_string())?;
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let action: serde_json::Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
                let path = |kind: &str| Some(action.get(kind)?.get("path")?.as_str()?.to_owned());
                files.extend(path("add"));
                if let Some(gone) = path("remove").filter(|gone| !files.remove(gone)) {
                    return Err(format!("`{gone}` goes and was not there"));
                }
            }
        }
        let listed = &self.versions[&newest.seq].1.files;
        let own = listed.iter().map(|file| format!("runs/{}/{}", newest.run_id, file.path)).collect();
        if files == own { Ok(()) } else { Err(format!("readers of version {} find {files:?}, not {own:?}", newest.seq)) }
    }

    /// What must hold when every client is done.
    fn check_end(&self, clients: &[Client]) -> Result<(), String> {
        for client in clients {
            let Some(done) = &client.done else { return Err("a client never ended".into()) };
            if self.versions.get(&done.seq).map(|(version, _)| version) != Some(done) {
                return Err(format!("run {} was told version {} is its own, and it is not", client.run, done.seq));
            }
            let published = self.versions.values().filter(|(version, _)| version.run_id == format!("r{}", client.run)).count();
            if published != 1 {
                return Err(format!("run {} was published {published} times", client.run));
            }
        }
        Ok(())
    }
}

fn simulate(seed: u64, log: Log, ignores_conditions: bool) -> Result<(), String> {
    let mut draws = Draws::new(seed);
    let store = Arc::new(InMemory::new());
    let runs = 1 + draws.below(3);
    let count = 1 + draws.below(4) as usize;
    let faults = draws.below(15);
    let weather = Weather { draws: Draws::new(seed ^ 0xfa17), faults, crashed: vec![false; count], ignores_conditions };
    let weather = Arc::new(Mutex::new(weather));
    let mut clients: Vec<Client> = (0..count)
        .map(|_| Client { run: draws.below(runs), has_twin: false, attempts: 0, committing: None, done: None })
        .collect();
    for index in 0..count {
        clients[index].has_twin = clients.iter().filter(|other| other.run == clients[index].run).count() > 1;
    }
    let mut seen = Seen::default();
    for _ in 0..STEPS_MAX {
        let waiting: Vec<usize> = (0..count).filter(|client| clients[*client].done.is_none()).collect();
        if waiting.is_empty() {
            return seen.check_end(&clients);
        }
        let index = waiting[draws.below(waiting.len() as u64) as usize];
        step(&mut clients[index], index, log, &store, &weather)?;
        seen.look(&store, log)?;
    }
    Err("the committers never ended".into())
}

/// Lets one client go on until it next waits for the store.
fn step(client: &mut Client, index: usize, log: Log, store: &Arc<InMemory>, weather: &Arc<Mutex<Weather>>) -> Result<(), String> {
    let (run, has_twin) = (client.run, client.has_twin);
    let committing = client.committing.get_or_insert_with(|| {
        client.attempts += 1;
        let view = FaultStore { inner: Arc::clone(store), weather: Arc::clone(weather), client: index };
        Box::pin(commit(Arc::new(view), log, run, format!("c{index}a{}", client.attempts), has_twin))
    });
    match committing.as_mut().poll(&mut Context::from_waker(futures::task::noop_waker_ref())) {
        Poll::Ready(Ok(version)) => client.done = Some(version),
        Poll::Ready(Err(error)) if matches!(error.kind(), Kind::Unavailable | Kind::Conflict) => client.committing = None,
        Poll::Ready(Err(error)) => return Err(error.to_string()),
        Poll::Pending => {
            let mut weather = weather.lock().map_err(|error| error.to_string())?;
            if std::mem::take(&mut weather.crashed[index]) {
                client.committing = None;
            }
        }
    }
    Ok(())
}

#[test]
fn racing_and_crashing_committers_publish_every_run_once_and_readers_see_whole_versions() {
    for log in LOGS {
        for seed in 0..SEEDS {
            if let Err(broken) = simulate(seed, log, false) {
                panic!("{log:?}, seed {seed}: {broken}");
            }
        }
    }
}

/// The simulation can fail: on a store that overwrites, it does.
#[test]
fn a_store_that_ignores_conditions_is_caught() {
    for log in LOGS {
        let broken = (0..SEEDS).filter(|seed| simulate(*seed, log, true).is_err()).count();
        assert!(broken > 100, "{log:?}: only {broken} of {SEEDS} seeds broke");
    }
}

#[test]
fn the_probe_tells_the_stores_apart() {
    for (ignores_conditions, expected) in [(false, Ok(())), (true, Err(Kind::Invalid))] {
        let weather = Weather { draws: Draws::new(1), faults: 0, crashed: vec![false], ignores_conditions };
        let store = FaultStore { inner: Arc::new(InMemory::new()), weather: Arc::new(Mutex::new(weather)), client: 0 };
        let table = PublishedTable::new(Arc::new(store), root(), Log::Pointer);
        let probed = futures::executor::block_on(table.probe_conditional_put("r1"));
        assert_eq!(probed.map_err(|error| error.kind()), expected);
    }
}

/// Another result under a run id that has a manifest is refused, whether it is published or not.
#[test]
fn a_run_id_cannot_get_other_rows() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let table = PublishedTable::new(Arc::clone(&store), root(), Log::Pointer);
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let manifest = |name: &str, part| {
        let receipt = Receipt { path: name.into(), rows: 5, bytes: 3, content: content(1, part), columns: vec![] };
        Manifest::new("c360", "r1", "2025-01-01", &schema, vec![receipt]).unwrap()
    };
    futures::executor::block_on(async {
        let base = table.begin().await.unwrap();
        let missing = table.commit(&base, &manifest("a", 0)).await.unwrap_err();
        assert!(matches!(missing, Error::FileMissing { .. }), "{missing}");
        for name in ["a", "b"] {
            let object = table.run_folder("r1").unwrap().join(name);
            store.put(&object, PutPayload::from_static(b"xyz")).await.unwrap();
        }
        let version = table.commit(&base, &manifest("a", 0)).await.unwrap();
        assert_eq!((version.seq, version.folder.as_str()), (1, "runs/r1"));
        assert_eq!(table.commit(&base, &manifest("b", 0)).await.unwrap(), version);
        let reused = table.commit(&base, &manifest("b", 1)).await.unwrap_err();
        assert!(matches!(reused, Error::RunReused { .. }), "{reused}");
        assert_eq!(table.manifest(&version).await.unwrap().files[0].path, "a");
    });
}

/// A damaged or later pointer is refused, not skipped: skipping would show readers an older version.
#[test]
fn a_damaged_entry_is_an_error() {
    for body in ["{", "{\"format\":2}", "{\"format\":1}"] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let table = PublishedTable::new(Arc::clone(&store), root(), Log::Pointer);
        let entry = root().join("_pointer").join(format!("{:020}.json", 1));
        let current = futures::executor::block_on(async {
            store.put(&entry, PutPayload::from(body.to_owned())).await.unwrap();
            table.current().await
        });
        assert_eq!(current.unwrap_err().kind(), Kind::Internal, "{body}");
    }
}
