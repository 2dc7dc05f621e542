//! Follows a run to its end, through broken connections. Never takes a lost connection for a failed run.

use super::client::{Backoff, Client, short};
use super::failure::{Failure, may_pass};
use super::shown::has_ended;
use crate::bars::Bars;
use crate::render;
use std::time::Duration;
use strata_engine::{Event, Progress};
use strata_proto::v1;
use strata_proto::well_known::{Struct, value::Kind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tonic::Status;

/// The run goes on, and this command does not know how.
const UNKNOWN: u8 = 76;
/// How long a follower tries to reach its coordinator again: one that is restarted comes back in that time.
const PATIENCE: Duration = Duration::from_secs(120);
/// Ended by SIGINT, by SIGTERM, once the cancel is confirmed.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// Whether a signal to this command stops the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signals {
    /// The run is this command's: it is asked to stop, and its end is waited for.
    StopTheRun,
    /// This command only looks on.
    LookAway,
}

/// A run that has ended.
pub(crate) struct Ended {
    /// The run.
    pub(crate) run: v1::Run,
    /// The exit code that a signal leads to, if one was what ended it.
    pub(crate) signal: Option<u8>,
}

struct Follower<'a> {
    client: &'a Client,
    run_id: &'a str,
    bars: &'a Bars,
    /// The last event seen.
    seen: u64,
    /// The step at work: number, of how many, label, and whether its rows are known.
    step: (usize, usize, String, bool),
    /// What a signal asked for.
    asked: Option<u8>,
}

/// Follows a run to its end. Errors: what the coordinator says; code 76 if it has not answered for long.
pub(crate) async fn follow(client: &Client, run_id: &str, bars: &Bars, signals: Signals) -> Result<Ended, Failure> {
    let own = |kind| signal(kind).map_err(|e| Failure { code: 70, message: format!("cannot hear signals: {e}") });
    let mut heard = match signals {
        Signals::StopTheRun => Some((own(SignalKind::interrupt())?, own(SignalKind::terminate())?)),
        Signals::LookAway => None,
    };
    let mut follower = Follower { client, run_id, bars, seen: 0, step: (0, 0, String::new(), false), asked: None };
    loop {
        let signal = tokio::select! {
            run = follower.until_ended() => return run.map(|run| Ended { signal: follower.stopped_by(&run), run }),
            signal = next(&mut heard) => signal,
        };
        if follower.asked.is_some() {
            // Twice: whoever asks does not want to wait.
            return Err(follower.lost("the run is being cancelled, and this command does not wait for it"));
        }
        follower.asked = Some(signal);
        bars.event(Event::Note(format!("asking run {run_id} to stop; once more and this command ends without waiting")));
        let reason = if signal == TERMINATED { "terminated" } else { "interrupted" };
        tokio::select! {
            answer = client.cancel(run_id, reason) => drop(answer.map_err(|failed| follower.failed(failed))?),
            _ = next(&mut heard) => return Err(follower.lost("the run may go on")),
        }
    }
}

async fn next(heard: &mut Option<(Signal, Signal)>) -> u8 {
    match heard {
        Some((interrupt, terminate)) => tokio::select! {
            _ = interrupt.recv() => INTERRUPTED,
            _ = terminate.recv() => TERMINATED,
        },
        None => std::future::pending().await,
    }
}

impl Follower<'_> {
    /// Errors: as [`follow`].
    async fn until_ended(&mut self) -> Result<v1::Run, Failure> {
        let mut backoff = Backoff::start(PATIENCE);
        let mut told = false;
        loop {
            let before = self.seen;
            let failed = match self.stream().await {
                Ok(()) => {
                    let run = self.client.get(self.run_id).await.map_err(|failed| self.failed(failed))?;
                    if has_ended(&run) {
                        return Ok(run);
                    }
                    Status::unavailable("the coordinator ended the connection")
                }
                Err(failed) if !may_pass(&failed) => return Err(failed.into()),
                Err(failed) => failed,
            };
            if self.seen > before {
                (backoff, told) = (Backoff::start(PATIENCE), false);
            }
            if !told {
                self.bars.event(Event::Note(format!("lost the coordinator ({}); the run goes on, trying again", short(&failed))));
                told = true;
            }
            if !backoff.pause().await {
                return Err(self.failed(failed));
            }
        }
    }

    /// Shows what happens until the coordinator ends the stream.
    async fn stream(&mut self) -> Result<(), Status> {
        let request = v1::WatchRunRequest { run_id: self.run_id.to_owned(), after_seq: self.seen };
        let mut events = self.client.runs.clone().watch_run(request).await?.into_inner();
        while let Some(message) = events.message().await? {
            if let Some(event) = message.event {
                self.seen = self.seen.max(event.seq);
                self.show(event);
            }
        }
        Ok(())
    }

    fn show(&mut self, event: v1::RunEvent) {
        let body = event.body.unwrap_or_default();
        match event.kind.as_str() {
            "progress" => self.moved(event.progress.unwrap_or_default()),
            "started" if number(&body, "attempt") > 1.0 => self.note(format!("attempt {}", number(&body, "attempt"))),
            "step_started" => {
                self.step = (number(&body, "index") as usize, number(&body, "of") as usize, text(&body, "step"), false);
                self.began(None);
            }
            "step_finished" => {
                let label = text(&body, "step");
                let index = if self.step.2 == label { self.step.0 } else { self.step.0 + 1 };
                let took = Duration::try_from_secs_f64(number(&body, "seconds")).unwrap_or_default();
                let (of, detail) = (self.step.1, text(&body, "detail"));
                self.bars.event(Event::Finished { index, of, label, detail, took });
            }
            "note" => self.note(text(&body, "text")),
            "cancel_requested" => self.note(format!("cancel requested: {}", text(&body, "reason"))),
            "resume_requested" => self.note("resumed: finished steps are kept".to_owned()),
            _ => {}
        }
    }

    /// Rows to read are known only once the step is at work.
    fn moved(&mut self, progress: v1::Progress) {
        if progress.step == self.step.2 && !self.step.3 && progress.rows_total.is_some() {
            self.step.3 = true;
            self.began(progress.rows_total);
        }
        let tasks = (progress.tasks_total > 0)
            .then_some(strata_engine::meter::Tasks { done: progress.tasks_done, all: progress.tasks_total });
        self.bars.event(Event::Moved { rows: progress.rows, tasks });
    }

    fn began(&self, rows: Option<u64>) {
        let (index, of, label, _) = self.step.clone();
        self.bars.event(Event::Started { index, of, label, rows });
    }

    fn note(&self, text: String) {
        self.bars.event(Event::Note(text));
    }

    fn stopped_by(&self, run: &v1::Run) -> Option<u8> {
        self.asked.filter(|_| run.state() == v1::RunState::Cancelled)
    }

    /// A call that was given up: nothing is known of the run.
    fn failed(&self, failed: Status) -> Failure {
        match may_pass(&failed) {
            true => self.lost(&format!("{} does not answer ({}); the run goes on", self.client.url, short(&failed))),
            false => failed.into(),
        }
    }

    fn lost(&self, why: &str) -> Failure {
        let help = format!("`strata runs watch {} --to {}` looks on again", self.run_id, self.client.url);
        Failure { code: UNKNOWN, message: format!("{why}\n  help: {help}") }
    }
}

fn kind<'a>(body: &'a Struct, name: &str) -> Option<&'a Kind> {
    body.fields.get(name)?.kind.as_ref()
}

fn number(body: &Struct, name: &str) -> f64 {
    match kind(body, name) {
        Some(Kind::NumberValue(n)) => *n,
        _ => 0.0,
    }
}

fn text(body: &Struct, name: &str) -> String {
    match kind(body, name) {
        Some(Kind::StringValue(s)) => s.clone(),
        _ => String::new(),
    }
}

/// What a follower says where nobody looks on any more.
pub(crate) fn detached(run_id: &str, url: &str) {
    render::line(&format!("run {run_id} goes on; look on: strata runs watch {run_id} --to {url}"));
}
