//! Random histories against a model that is simple enough to be read. Never random twice: a seed says everything.

use crate::conformance::{LONG, STATES, event, outcome};
use crate::site::Site;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use strata_store::{Change, Created, Error, Fence, Lease, NewRun, RunState, RunStore, SqliteStore, StepRecord};

const SEEDS: u64 = 1000;
const POSTGRES_SEEDS: u64 = 15;
const CALLS: usize = 60;
const HOLDERS: usize = 3;
const RUNS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_histories_in_memory() {
    let begun = Instant::now();
    let halves = [0, 1].map(|odd| {
        tokio::spawn(async move {
            let mut seen = BTreeMap::new();
            for seed in (0..SEEDS).filter(|seed| seed % 2 == odd) {
                let store = SqliteStore::in_memory().unwrap();
                play(&store, &store, seed, &mut seen).await;
            }
            seen
        })
    });
    let mut seen = BTreeMap::<String, u64>::new();
    for half in halves {
        half.await.unwrap().into_iter().for_each(|(answer, times)| *seen.entry(answer).or_default() += times);
    }
    println!("{SEEDS} histories of {CALLS} calls in {:?}: {seen:#?}", begun.elapsed());
    // Every kind of answer came up often: the histories are worth something.
    for answer in ["done", "nothing", "not found", "key reused", "illegal", "fenced", "invalid"] {
        assert!(seen.get(answer).is_some_and(|times| *times >= SEEDS / 2), "hardly ever: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_histories_on_postgres() {
    for seed in 0..POSTGRES_SEEDS {
        let Some(site) = Site::postgres().await else { return };
        play(&*site.a, &*site.b, seed, &mut BTreeMap::new()).await;
        site.remove().await;
    }
}

/// SplitMix64: enough for tests.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What came of a call, comparable between store and model.
type Answer = Result<String, String>;

#[derive(Debug, Clone, PartialEq)]
struct ModelRun {
    key: Option<String>,
    body: u64,
    state: RunState,
    attempt: u32,
    /// Of the outcome.
    exit_code: Option<u8>,
    reason: Option<String>,
    kinds: Vec<String>,
    steps: Vec<String>,
}

#[derive(Debug, Default)]
struct Model {
    runs: BTreeMap<String, ModelRun>,
    /// Holder, epoch, and whether it goes on (time to live: ever or never).
    lease: Option<(Option<String>, u64, bool)>,
}

#[derive(Debug)]
enum Call {
    Create { run: String, key: Option<String>, body: u64 },
    Append { fence: Fence, run: String, change: Box<Change> },
    Cancel { run: String, reason: String },
    Resume { run: String },
    Acquire { holder: String, goes_on: bool },
    Renew { lease: Lease, goes_on: bool },
    Release { lease: Lease },
    Check { fence: Fence },
}

async fn play(a: &dyn RunStore, b: &dyn RunStore, seed: u64, seen: &mut BTreeMap<String, u64>) {
    let mut random = Random(seed);
    let mut model = Model::default();
    // What each holder believes to hold, long after it may have lost it.
    let mut leases: [Option<Lease>; HOLDERS] = [None, None, None];
    for i in 0..CALLS {
        let holder = random.below(HOLDERS as u64) as usize;
        let call = next_call(&mut random, holder, leases[holder].as_ref());
        let store = if random.one_in(2) { a } else { b };
        let expected = model.call(&call);
        let answer = ask(store, &call, &mut leases[holder]).await;
        assert_eq!(answer, expected, "seed {seed}, call {i}: {call:?}\n{model:#?}");
        let name = match &answer {
            Ok(what) => what.split(' ').next().unwrap().to_owned(),
            Err(what) => what.clone(),
        };
        *seen.entry(name).or_default() += 1;
    }
    compare(a, &model, seed).await;
}

fn next_call(random: &mut Random, holder: usize, lease: Option<&Lease>) -> Call {
    let run = format!("r{}", random.below(RUNS));
    let none = Lease { name: "coordinator".into(), holder: format!("h{holder}"), epoch: 99, expires_at: Default::default() };
    let lease = lease.cloned().unwrap_or(none);
    match random.below(20) {
        0..4 => {
            let key = (!random.one_in(4)).then(|| format!("k{}", random.below(3)));
            Call::Create { run, key, body: random.below(2) }
        }
        4..12 => Call::Append { fence: lease.fence(), run, change: Box::new(next_change(random)) },
        12 => Call::Cancel { run, reason: format!("reason {}", random.below(100)) },
        13 | 14 => Call::Resume { run },
        15 | 16 => Call::Acquire { holder: format!("h{holder}"), goes_on: !random.one_in(4) },
        17 => Call::Renew { lease, goes_on: !random.one_in(3) },
        18 if random.one_in(2) => Call::Release { lease },
        _ => Call::Check { fence: lease.fence() },
    }
}

fn next_change(random: &mut Random) -> Change {
    let state = (!random.one_in(3)).then(|| STATES[random.below(7) as usize]);
    let fits = state.filter(|s| s.is_terminal()).map(outcome);
    let step = random.one_in(3).then(|| format!("s{}", random.below(3)));
    Change {
        events: (0..random.below(3)).map(|i| event(&format!("e{i}"))).collect(),
        state,
        outcome: if random.one_in(10) { Some(outcome(RunState::Failed)).filter(|_| fits.is_none()) } else { fits },
        step: step.map(|step| StepRecord { step, digest: "d".into(), artifact: json!(1) }),
        report: None,
    }
}

async fn ask(store: &dyn RunStore, call: &Call, held: &mut Option<Lease>) -> Answer {
    let ttl = |goes_on: &bool| if *goes_on { LONG } else { Duration::ZERO };
    let answer = match call {
        Call::Create { run, key, body } => {
            let new = NewRun { run_id: run.clone(), pipeline: "p".into(), request_id: key.clone(), body: json!(body) };
            store.create(new).await.map(|created| match created {
                Created::New(run) => format!("done new {}", run.run_id),
                Created::Same(run) => format!("done same {}", run.run_id),
            })
        }
        Call::Append { fence, run, change } => {
            store.append(fence, run, Change::clone(change)).await.map(|seq| format!("done {seq}"))
        }
        Call::Cancel { run, reason } => store.request_cancel(run, reason).await.map(|run| format!("done {}", run.etag())),
        Call::Resume { run } => store.request_resume(run).await.map(|run| format!("done {}", run.etag())),
        Call::Acquire { holder, goes_on } => store.acquire("coordinator", holder, ttl(goes_on)).await.map(|lease| {
            let said = lease.as_ref().map_or("nothing".into(), |l| format!("done {}", l.epoch));
            *held = lease.or(held.take());
            said
        }),
        Call::Renew { lease, goes_on } => store.renew(lease, ttl(goes_on)).await.map(|l| format!("done {}", l.epoch)),
        Call::Release { lease } => store.release(lease).await.map(|()| "done".into()),
        Call::Check { fence } => store.check(fence).await.map(|()| "done".into()),
    };
    answer.map_err(|e| match e {
        Error::NotFound(_) => "not found".into(),
        Error::KeyReused { .. } => "key reused".into(),
        Error::Illegal { .. } => "illegal".into(),
        Error::Fenced { .. } => "fenced".into(),
        Error::Invalid(_) => "invalid".into(),
        other => panic!("{other}"),
    })
}

impl Model {
    fn call(&mut self, call: &Call) -> Answer {
        match call {
            Call::Create { run, key, body } => self.create(run, key.as_deref(), *body),
            Call::Append { fence, run, change } => self.hold(fence).and_then(|()| self.run(run)?.append(change)),
            Call::Cancel { run, reason } => self.run(run).map(|found| found.cancel(run, reason)),
            Call::Resume { run } => self.run(run).and_then(|found| found.resume(run)),
            Call::Acquire { holder, goes_on } => Ok(self.acquire(holder, *goes_on)),
            Call::Renew { lease, goes_on } => {
                self.hold(&lease.fence())?;
                let held = self.lease.as_mut().filter(|(holder, ..)| holder.as_deref() == Some(&lease.holder)).ok_or("fenced")?;
                held.2 = *goes_on;
                Ok(format!("done {}", held.1))
            }
            Call::Release { lease } => {
                if let Some(held) =
                    self.lease.as_mut().filter(|held| held.0.as_deref() == Some(&lease.holder) && held.1 == lease.epoch)
                {
                    *held = (None, held.1, false);
                }
                Ok("done".into())
            }
            Call::Check { fence } => self.hold(fence).map(|()| "done".into()),
        }
    }

    fn create(&mut self, id: &str, key: Option<&str>, body: u64) -> Answer {
        if let Some((existing, run)) = self.runs.iter().find(|(_, run)| key.is_some() && run.key.as_deref() == key) {
            return if run.body == body { Ok(format!("done same {existing}")) } else { Err("key reused".into()) };
        }
        if self.runs.contains_key(id) {
            return Err("invalid".into());
        }
        let run = ModelRun {
            key: key.map(str::to_owned),
            body,
            state: RunState::Queued,
            attempt: 0,
            exit_code: None,
            reason: None,
            kinds: vec!["created".into()],
            steps: vec![],
        };
        self.runs.insert(id.to_owned(), run);
        Ok(format!("done new {id}"))
    }

    fn run(&mut self, id: &str) -> Result<&mut ModelRun, String> {
        self.runs.get_mut(id).ok_or("not found".into())
    }

    fn hold(&self, fence: &Fence) -> Result<(), String> {
        match &self.lease {
            Some((Some(_), epoch, true)) if *epoch == fence.epoch => Ok(()),
            _ => Err("fenced".into()),
        }
    }

    fn acquire(&mut self, holder: &str, goes_on: bool) -> String {
        let epoch = match &self.lease {
            None => 1,
            Some((Some(by), epoch, _)) if by == holder => *epoch,
            Some((Some(_), _, true)) => return "nothing".into(),
            Some((_, epoch, _)) => epoch + 1,
        };
        self.lease = Some((Some(holder.to_owned()), epoch, goes_on));
        format!("done {epoch}")
    }
}

impl ModelRun {
    fn append(&mut self, change: &Change) -> Answer {
        let next = change.state.unwrap_or(self.state);
        if next == self.state {
            if change.outcome.as_ref().is_some_and(|o| Some(o.exit_code) != self.exit_code) {
                return Err("invalid".into());
            }
        } else {
            if !reachable(self.state).contains(&next) {
                return Err("illegal".into());
            }
            if next.is_terminal() != change.outcome.is_some() {
                return Err("invalid".into());
            }
        }
        let again = change.state == Some(RunState::Running) && self.state == RunState::Running;
        let moved = next != self.state || again;
        self.attempt += u32::from(again);
        self.enter(next, change.outcome.as_ref().map(|o| o.exit_code));
        self.kinds.extend(change.events.iter().map(|e| e.kind.clone()));
        if moved && change.events.is_empty() {
            self.kinds.push("state_changed".into());
        }
        if let Some(step) = &change.step {
            self.steps.retain(|s| *s != step.step);
            self.steps.push(step.step.clone());
        }
        Ok(format!("done {}", self.kinds.len()))
    }

    fn cancel(&mut self, id: &str, reason: &str) -> String {
        let (next, exit_code, kinds): (_, _, &[&str]) = match self.state {
            RunState::Queued => (RunState::Cancelled, Some(130), &["cancel_requested", "cancelled"]),
            RunState::Running => (RunState::Cancelling, None, &["cancel_requested"]),
            _ => return self.etag(id),
        };
        self.enter(next, exit_code);
        self.reason = Some(reason.to_owned());
        self.kinds.extend(kinds.iter().map(|kind| (*kind).to_owned()));
        self.etag(id)
    }

    fn resume(&mut self, id: &str) -> Answer {
        match self.state {
            RunState::Queued | RunState::Running => {}
            RunState::Succeeded | RunState::Cancelling => return Err("illegal".into()),
            _ => {
                self.enter(RunState::Queued, None);
                self.kinds.push("resume_requested".into());
            }
        }
        Ok(self.etag(id))
    }

    fn enter(&mut self, next: RunState, exit_code: Option<u8>) {
        if next == self.state {
            return;
        }
        self.attempt += u32::from(next == RunState::Running);
        self.exit_code = exit_code;
        if next == RunState::Queued {
            self.reason = None;
        }
        self.state = next;
    }

    fn etag(&self, id: &str) -> String {
        format!("done {id}-{}", self.kinds.len())
    }
}

/// Written out once more, so that a slip in the crate's table does not go unnoticed.
fn reachable(state: RunState) -> &'static [RunState] {
    use RunState::*;
    match state {
        Queued => &[Running, Failed, Cancelled, TimedOut],
        Running => &[Queued, Cancelling, Succeeded, Failed, Cancelled, TimedOut],
        Cancelling => &[Succeeded, Failed, Cancelled, TimedOut],
        Succeeded => &[],
        Failed | Cancelled | TimedOut => &[Queued],
    }
}

async fn compare(store: &dyn RunStore, model: &Model, seed: u64) {
    for id in (0..RUNS).map(|i| format!("r{i}")) {
        let Some(run) = store.get(&id).await.unwrap() else {
            assert!(!model.runs.contains_key(&id), "seed {seed}: {id} is lost");
            continue;
        };
        let events = store.events(&id, 0, u32::MAX).await.unwrap();
        assert!(events.iter().map(|e| e.seq).eq(1..=run.event_seq), "seed {seed}: numbers of {id} have gaps");
        assert_eq!(run.outcome.is_some(), run.ended_at.is_some());
        let stored = ModelRun {
            key: run.request_id,
            body: run.body.as_u64().unwrap(),
            state: run.state,
            attempt: run.attempt,
            exit_code: run.outcome.map(|o| o.exit_code),
            reason: run.cancel_reason,
            kinds: events.into_iter().map(|e| e.kind).collect(),
            steps: store.steps(&id).await.unwrap().into_iter().map(|s| s.step).collect(),
        };
        assert_eq!(Some(&stored), model.runs.get(&id), "seed {seed}: {id}");
    }
}
