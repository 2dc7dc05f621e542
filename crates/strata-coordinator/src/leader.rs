//! The coordinator that holds the lease works on queued runs, each in a task of its own, and takes over what another left. Never writes
//! anything under a lease it no longer holds.

use crate::body::RunBody;
use crate::cluster::Cluster;
use crate::hub::Hub;
use crate::ledger::Ledger;
use crate::runner::ClusterRunner;
use futures::FutureExt;
use serde_json::json;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use strata_engine::journal::{pins_from_json, pins_to_json};
use strata_engine::{Error as RunError, Finished, Journal, RunOptions, RunReport};
use strata_store::{Change, Fence, Lease, ListQuery, NewEvent, Outcome, OutcomeClass, RunRecord, RunState};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Name of the lease.
const LEASE: &str = "coordinator";
/// How long it lasts without being renewed.
const TTL: Duration = Duration::from_secs(10);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(3);
/// How often one who waits for it asks.
const ASK: Duration = Duration::from_secs(1);
/// How often the queue is looked at when nobody rings.
const LOOK: Duration = Duration::from_secs(1);
/// Label of the record of pinned files.
const PINS: &str = "pin sources";
/// A run may be begun so often for every step it finishes: one that kills its coordinator must not do so for ever.
const BEGUN_MAX: u32 = 10;
/// Runs looked at a time.
const PAGE: u32 = 200;

/// How the leader works.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Who it is, in leases.
    pub(crate) holder: String,
    /// Address of the folder for tables between steps; coordinator and workers must all reach it.
    pub(crate) work: String,
    /// Runs at a time.
    pub(crate) runs_max: usize,
}

/// Works until it is told to stop; the lease is then free at once.
pub(crate) async fn lead(hub: Arc<Hub>, cluster: Arc<Cluster>, settings: Settings, stop: CancellationToken) {
    loop {
        match hub.store.acquire(LEASE, &settings.holder, TTL).await {
            Ok(Some(lease)) => {
                tracing::info!(epoch = lease.epoch, "leads");
                match Leader::new(&hub, &cluster, &settings, lease.clone()).work(&stop).await {
                    Some(lost) => tracing::warn!("no longer leads: {lost}"),
                    None => {
                        if let Err(e) = hub.store.release(&lease).await {
                            tracing::warn!("cannot give the lease back: {e}");
                        }
                        return;
                    }
                }
            }
            Ok(None) => {}
            Err(e) => tracing::warn!("cannot ask for the lease: {e}"),
        }
        tokio::select! {
            () = tokio::time::sleep(ASK) => {}
            () = stop.cancelled() => return,
        }
    }
}

struct Leader {
    hub: Arc<Hub>,
    cluster: Arc<Cluster>,
    settings: Settings,
    lease: Lease,
    /// Runs at work, by pipeline: of one pipeline one run is at work at a time, for they write the same tables.
    busy: BTreeMap<String, String>,
    tasks: JoinSet<String>,
    stops: BTreeMap<String, tokio::sync::watch::Sender<Option<Stop>>>,
}

/// Why a run is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Cancelled,
}

impl Leader {
    fn new(hub: &Arc<Hub>, cluster: &Arc<Cluster>, settings: &Settings, lease: Lease) -> Self {
        Self {
            hub: Arc::clone(hub),
            cluster: Arc::clone(cluster),
            settings: settings.clone(),
            lease,
            busy: BTreeMap::new(),
            tasks: JoinSet::new(),
            stops: BTreeMap::new(),
        }
    }

    /// Gives why the lease was lost; `None` if it was told to stop. Dropping the tasks stops every run's work here; the next leader goes on
    /// behind their finished steps.
    async fn work(mut self, stop: &CancellationToken) -> Option<String> {
        let mut renew = tokio::time::interval(RENEW);
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = stop.cancelled() => return None,
                _ = renew.tick() => match self.hub.store.renew(&self.lease, TTL).await {
                    Ok(lease) => self.lease = lease,
                    Err(e @ strata_store::Error::Fenced { .. }) => return Some(e.to_string()),
                    // The store may come back before the lease ends; every write checks it anyway.
                    Err(e) => tracing::warn!("cannot renew the lease: {e}"),
                },
                Some(ended) = self.tasks.join_next() => {
                    if let Ok(run_id) = ended {
                        self.busy.retain(|_, r| *r != run_id);
                        self.stops.remove(&run_id);
                    }
                    self.look().await;
                }
                () = self.hub.bell.notified() => self.look().await,
                _ = look.tick() => self.look().await,
            }
        }
    }

    async fn look(&mut self) {
        if let Err(e) = self.start_and_stop().await {
            tracing::warn!("cannot read the queue: {e}");
        }
    }

    async fn start_and_stop(&mut self) -> strata_store::Result<()> {
        let mine: BTreeSet<&String> = self.busy.values().collect();
        let query = ListQuery { states: vec![RunState::Cancelling], oldest_first: true, page_size: PAGE, ..Default::default() };
        for run in self.hub.store.list(&query).await?.runs {
            match self.stops.get(&run.run_id) {
                Some(stop) => drop(stop.send(Some(Stop::Cancelled))),
                // Another coordinator was asked to stop it and went away.
                None if !mine.contains(&run.run_id) => ended_before(&self.hub, &self.lease.fence(), &run).await,
                None => {}
            }
        }
        let mut query = ListQuery {
            states: vec![RunState::Running, RunState::Queued],
            oldest_first: true,
            page_size: PAGE,
            ..Default::default()
        };
        // A pipeline with pages of queued runs keeps no other from being begun.
        while self.busy.len() < self.settings.runs_max {
            let page = self.hub.store.list(&query).await?;
            for run in page.runs {
                if self.busy.len() < self.settings.runs_max && !self.busy.contains_key(&run.pipeline) {
                    self.begin(run);
                }
            }
            query.page_token = page.next_page_token;
            if query.page_token.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn begin(&mut self, run: RunRecord) {
        let (stop, stopped) = tokio::sync::watch::channel(None);
        self.busy.insert(run.pipeline.clone(), run.run_id.clone());
        self.stops.insert(run.run_id.clone(), stop);
        let work = Work {
            hub: Arc::clone(&self.hub),
            cluster: Arc::clone(&self.cluster),
            settings: self.settings.clone(),
            fence: self.lease.fence(),
            run,
        };
        self.tasks.spawn(async move {
            match AssertUnwindSafe(work.through(stopped)).catch_unwind().await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => work.left(e).await,
                Err(panic) => work.fail(panicked(panic.as_ref())).await,
            }
            work.run.run_id
        });
    }
}

/// INVARIANT: a run that makes its coordinator panic ends; otherwise its pipeline would be busy for ever.
fn panicked(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    format!("the coordinator panicked while it worked on it: {said}")
}

async fn ended_before(hub: &Hub, fence: &Fence, run: &RunRecord) {
    let change = ending(RunState::Cancelled, cancelled(run), None);
    if let Err(e) = hub.store.append(fence, &run.run_id, change).await {
        tracing::warn!(run = %run.run_id, "cannot end a cancelled run: {e}");
    }
}

fn cancelled(run: &RunRecord) -> Outcome {
    let message = run.cancel_reason.clone().unwrap_or_else(|| "cancelled".into());
    Outcome { class: None, exit_code: 130, message, retryable: false }
}

fn ending(state: RunState, outcome: Outcome, report: Option<&RunReport>) -> Change {
    let kind = match state {
        RunState::Succeeded => "succeeded",
        RunState::Cancelled => "cancelled",
        RunState::TimedOut => "timed_out",
        _ => "failed",
    };
    let body = json!({"message": outcome.message, "class": outcome.class, "exit_code": outcome.exit_code});
    Change {
        events: vec![NewEvent { kind: kind.into(), body }],
        state: Some(state),
        outcome: Some(outcome),
        report: report.and_then(|r| serde_json::to_value(r).ok()),
        ..Default::default()
    }
}

/// One run at work.
struct Work {
    hub: Arc<Hub>,
    cluster: Arc<Cluster>,
    settings: Settings,
    fence: Fence,
    run: RunRecord,
}

impl Work {
    /// From its beginning, or from where another left it, to its end. Errors: of the store; the run stays as it is for the next who leads.
    async fn through(&self, mut stopped: tokio::sync::watch::Receiver<Option<Stop>>) -> strata_store::Result<()> {
        let body = RunBody::of(&self.run)?;
        let attempt = self.run.attempt + 1;
        let steps = self.hub.store.steps(&self.run.run_id).await?.len() as u32;
        if attempt > BEGUN_MAX * (steps + 1) {
            let message = format!(
                "it was begun {} times and stopped each time without an end: see the coordinator's log",
                self.run.attempt
            );
            let outcome = Outcome { class: Some(OutcomeClass::Internal), exit_code: 70, message, retryable: false };
            return self.hub.store.append(&self.fence, &self.run.run_id, ending(RunState::Failed, outcome, None)).await.map(drop);
        }
        let started = NewEvent { kind: "started".into(), body: json!({"attempt": attempt}) };
        let change = Change { events: vec![started], state: Some(RunState::Running), ..Default::default() };
        self.hub.store.append(&self.fence, &self.run.run_id, change).await?;
        let ledger = Arc::new(Ledger::new(Arc::clone(&self.hub), self.fence.clone(), self.run.run_id.clone()));
        let limit = match body.timeout_seconds {
            None => None,
            Some(s) => Some(Duration::from_secs(s).saturating_sub(self.hub.ages.age(&self.hub, &self.run.run_id).await?)),
        };
        let (state, outcome, report) = tokio::select! {
            ended = self.execute(&body, attempt, &ledger) => ended?,
            () = told(&mut stopped) => (RunState::Cancelled, cancelled(&self.latest().await), None),
            () = sleep(limit) => (RunState::TimedOut, timed_out(body.timeout_seconds), None),
        };
        ledger.drain().await;
        if report.is_none() {
            // It is said to have stopped when its tasks have.
            self.cluster.closed().await;
        }
        let change = ending(state, outcome, report.as_ref());
        self.hub.store.append(&self.fence, &self.run.run_id, change).await?;
        self.hub.ages.forget(&self.run.run_id);
        ledger.news().await;
        Ok(())
    }

    /// After an error of the store: one that passes leaves the run to be begun again, any other ends it.
    async fn left(&self, error: strata_store::Error) {
        use strata_store::Error::{Fenced, Unavailable};
        tracing::warn!(run = %self.run.run_id, "left: {error}");
        if matches!(error, Fenced { .. } | Unavailable(_)) {
            // Not begun again at once: what does not answer needs a moment.
            tokio::time::sleep(LOOK).await;
            return;
        }
        self.fail(error.to_string()).await;
    }

    /// Ends it as a defect.
    async fn fail(&self, message: String) {
        let outcome = Outcome { class: Some(OutcomeClass::Internal), exit_code: 70, message, retryable: false };
        if let Err(e) = self.hub.store.append(&self.fence, &self.run.run_id, ending(RunState::Failed, outcome, None)).await {
            tracing::warn!(run = %self.run.run_id, "cannot end it: {e}");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn latest(&self) -> RunRecord {
        self.hub.store.get(&self.run.run_id).await.ok().flatten().unwrap_or_else(|| self.run.clone())
    }

    async fn execute(
        &self,
        body: &RunBody,
        attempt: u32,
        ledger: &Arc<Ledger>,
    ) -> strata_store::Result<(RunState, Outcome, Option<RunReport>)> {
        let mut options = body.load_options(self.run.created_at);
        let pins = self.hub.store.steps(&self.run.run_id).await?.into_iter().find(|s| s.step == PINS);
        options.pins = pins.as_ref().and_then(|s| {
            // Steps that are kept are of the files they read: where those are others now, they are done again.
            let lost = |e: RunError| tracing::warn!(run = %self.run.run_id, "the pinned files cannot be read ({e}): sources are pinned anew");
            pins_from_json(&s.artifact).map_err(lost).ok()
        });
        let loaded = strata_engine::load::load_text(body.source(), &options).await;
        if options.pins.is_none()
            && strata_engine::load::verdict(&loaded.diagnostics).is_ok()
            && let Ok(artifact) = pins_to_json(&loaded.catalog)
        {
            ledger.pinned(Finished { step: PINS.into(), digest: PINS.into(), artifact }).await?;
        }
        let runner = ClusterRunner::new(Arc::clone(&self.cluster), &self.settings.work);
        let options = RunOptions {
            run_id: Some(self.run.run_id.clone()),
            attempt,
            work: self.settings.work.clone(),
            journal: Arc::clone(ledger) as Arc<dyn Journal>,
        };
        let (result, report) = strata_engine::run(&loaded, &runner, &options, ledger.as_ref()).await;
        self.hub.store.check(&self.fence).await?;
        Ok(match result {
            Ok(()) => (
                RunState::Succeeded,
                Outcome { class: None, exit_code: 0, message: String::new(), retryable: false },
                Some(report),
            ),
            Err(e) => (RunState::Failed, outcome_of(&e, &loaded), Some(report)),
        })
    }
}

/// Waits until the run is told to stop.
async fn told(stopped: &mut tokio::sync::watch::Receiver<Option<Stop>>) {
    if stopped.wait_for(Option::is_some).await.is_err() {
        // Nobody is left who could tell.
        std::future::pending::<()>().await;
    }
}

async fn sleep(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

fn timed_out(seconds: Option<u64>) -> Outcome {
    let message = format!("it took longer than {} s", seconds.unwrap_or_default());
    Outcome { class: None, exit_code: 124, message, retryable: false }
}

fn outcome_of(error: &RunError, loaded: &strata_engine::Loaded) -> Outcome {
    let class = match error.class() {
        "DATA_CHECK" => OutcomeClass::DataCheck,
        "POLICY" => OutcomeClass::Policy,
        "TRANSIENT" => OutcomeClass::Transient,
        "INTERNAL" => OutcomeClass::Internal,
        _ => OutcomeClass::User,
    };
    let mut message = error.to_string();
    for d in loaded.diagnostics.iter().filter(|d| d.severity == strata_spec::Severity::Error).take(20) {
        message.push_str(&format!("\n{}: {}", loaded.source.place(d.span), d.message));
    }
    Outcome { class: Some(class), exit_code: error.exit_code(), message, retryable: class == OutcomeClass::Transient }
}
