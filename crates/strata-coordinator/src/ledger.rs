//! What happens in a run at work, into the store and to whoever watches. Never writes under a lease that another took over: the store refuses.

use crate::hub::{Hub, News, Progress as Far, What};
use async_trait::async_trait;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use strata_engine::{Error, Event, Finished, Journal, Progress, RunReport};
use strata_store::{Change, Fence, NewEvent, StepRecord};

/// Events of the store told to watchers at a time.
const NEWS: u32 = 500;

/// The run's journal and its progress.
pub(crate) struct Ledger {
    hub: Arc<Hub>,
    fence: Fence,
    run_id: String,
    /// The last event that watchers were told.
    told: tokio::sync::Mutex<u64>,
    /// How many commits were told.
    committed: AtomicUsize,
    far: Mutex<Far>,
    lines: Mutex<Vec<(String, String)>>,
}

impl Ledger {
    pub(crate) fn new(hub: Arc<Hub>, fence: Fence, run_id: String) -> Self {
        Self {
            hub,
            fence,
            run_id,
            told: tokio::sync::Mutex::new(0),
            committed: AtomicUsize::new(0),
            far: Mutex::default(),
            lines: Mutex::default(),
        }
    }

    /// Keeps the pinned files of the run.
    pub(crate) async fn pinned(&self, pins: Finished) -> strata_store::Result<()> {
        let files = pins.artifact["sources"].as_object().map_or(0, serde_json::Map::len);
        let event = NewEvent { kind: "pinned".into(), body: json!({"sources": files}) };
        let step = StepRecord { step: pins.step, digest: pins.digest, artifact: pins.artifact };
        self.append(Change { events: vec![event], step: Some(step), ..Default::default() }).await
    }

    /// Tells watchers what the store holds that they have not heard.
    pub(crate) async fn news(&self) {
        let mut told = self.told.lock().await;
        while let Ok(events) = self.hub.store.events(&self.run_id, *told, NEWS).await {
            let last = events.len() < NEWS as usize;
            for event in events {
                *told = event.seq;
                self.hub.tell(News { run_id: self.run_id.clone(), what: What::Event(event) });
            }
            if last {
                return;
            }
        }
    }

    /// Writes log lines that wait.
    pub(crate) async fn drain(&self) {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner));
        if !lines.is_empty()
            && let Err(e) = self.hub.store.log(&self.run_id, &lines).await
        {
            tracing::warn!(run = %self.run_id, "cannot write its log: {e}");
        }
    }

    async fn append(&self, change: Change) -> strata_store::Result<()> {
        self.hub.store.append(&self.fence, &self.run_id, change).await?;
        self.drain().await;
        self.news().await;
        Ok(())
    }

    async fn keep(&self, change: Change) -> Result<(), Error> {
        self.append(change).await.map_err(|e| of_store(&e))
    }

    fn line(&self, level: &str, message: String) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push((level.to_owned(), message));
    }
}

fn of_store(error: &strata_store::Error) -> Error {
    let (step, message) = ("run store".to_owned(), error.to_string());
    match error {
        strata_store::Error::Fenced { .. } => Error::Conflict { step, message },
        strata_store::Error::Unavailable(_) => Error::Unavailable { step, message },
        _ => Error::Internal { step, message },
    }
}

fn value(report: &RunReport) -> Option<serde_json::Value> {
    serde_json::to_value(report).ok()
}

#[async_trait]
impl Journal for Ledger {
    async fn finished(&self) -> Result<Vec<Finished>, Error> {
        let steps = self.hub.store.steps(&self.run_id).await.map_err(|e| of_store(&e))?;
        Ok(steps.into_iter().map(|s| Finished { step: s.step, digest: s.digest, artifact: s.artifact }).collect())
    }

    async fn began(&self, index: usize, of: usize, step: &str) -> Result<(), Error> {
        let event = NewEvent { kind: "step_started".into(), body: json!({"index": index, "of": of, "step": step}) };
        self.keep(Change { events: vec![event], ..Default::default() }).await
    }

    async fn record(&self, finished: Finished, report: &RunReport) -> Result<(), Error> {
        let last = report.steps.last();
        let body = json!({
            "step": finished.step,
            "detail": last.map(|s| &s.detail),
            "seconds": last.map(|s| s.seconds),
            "spilled_bytes": last.map(|s| s.spilled_bytes),
            "shuffled_bytes": last.map(|s| s.shuffled_bytes),
        });
        let step = StepRecord { step: finished.step, digest: finished.digest, artifact: finished.artifact };
        let events = vec![NewEvent { kind: "step_finished".into(), body }];
        self.keep(Change { events, step: Some(step), ..Default::default() }).await
    }

    async fn report(&self, report: &RunReport) -> Result<(), Error> {
        let committed: Vec<&str> = report.outputs.iter().filter(|o| o.committed).map(|o| o.name.as_str()).collect();
        // Each is told once: all of them with every event would be a square of their number in a log that only grows.
        let told = self.committed.swap(committed.len(), Ordering::Relaxed);
        let body = json!({"state": report.state, "committed": committed.get(told..).unwrap_or_default()});
        let events = vec![NewEvent { kind: "report".into(), body }];
        self.keep(Change { events, report: value(report), ..Default::default() }).await
    }

    async fn may_commit(&self) -> Result<(), Error> {
        self.hub.store.check(&self.fence).await.map_err(|e| of_store(&e))
    }

    fn resumes(&self) -> bool {
        true
    }

    async fn keep(&self, _: &[String]) -> Result<Option<Vec<String>>, Error> {
        // The next run of a pipeline may be led by another machine with another version: it starts anew.
        Ok(None)
    }
}

impl Progress for Ledger {
    fn event(&self, event: Event) {
        let mut far = self.far.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { index, of, label, rows } => {
                *far = Far { step: label, index: index as u32, of: of as u32, rows_total: rows, ..Default::default() };
            }
            Event::Moved { rows, tasks } => {
                far.rows = rows;
                let tasks = tasks.unwrap_or_default();
                (far.tasks_done, far.tasks_total) = (tasks.done, tasks.all);
            }
            Event::Finished { index, of, label, detail, took } => {
                self.line("info", format!("{index}/{of} {label}: {detail} in {:.2} s", took.as_secs_f64()));
                return;
            }
            Event::Note(text) => {
                self.line("warn", text);
                return;
            }
        }
        self.hub.tell(News { run_id: self.run_id.clone(), what: What::Progress(far.clone()) });
    }
}
