//! How a run changes: the whole state machine. Never writes: it says what is to be written.

use super::input::{check_change, digest};
use crate::error::{Error, Result};
use crate::run::{Event, NewEvent, Outcome, OutcomeClass, RunRecord, RunState, StepRecord};
use crate::store::{Change, Created, NewRun};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// What a command gives that waited for a run which was cancelled.
const EXIT_CANCELLED: u8 = 130;

/// What is to be written in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Update {
    /// The run afterwards.
    pub(crate) run: RunRecord,
    /// Numbered from where the run was.
    pub(crate) events: Vec<Event>,
    pub(crate) step: Option<StepRecord>,
    pub(crate) report: Option<Value>,
}

/// A new run and its event `created`.
pub(crate) fn create(new: &NewRun, now: DateTime<Utc>) -> Update {
    let body_digest = digest(&new.body);
    let body = json!({"pipeline": new.pipeline, "request_id": new.request_id, "body_digest": body_digest});
    let run = RunRecord {
        run_id: new.run_id.clone(),
        pipeline: new.pipeline.clone(),
        request_id: new.request_id.clone(),
        body: new.body.clone(),
        body_digest,
        state: RunState::Queued,
        outcome: None,
        cancel_reason: None,
        attempt: 0,
        created_at: now,
        started_at: None,
        ended_at: None,
        event_seq: 0,
    };
    update(run, vec![event("created", body)], now)
}

/// The run that a key made before. Errors: `KeyReused` if it was asked for something else.
pub(crate) fn same(existing: RunRecord, new: &NewRun) -> Result<Created> {
    match existing.body_digest == digest(&new.body) {
        true => Ok(Created::Same(existing)),
        false => Err(Error::KeyReused { original: existing.run_id }),
    }
}

/// The error of a run id that another run has.
pub(crate) fn id_taken() -> Error {
    Error::Invalid("the run id was used before\n  help: make a new id for every run".into())
}

/// A run after a change. Errors: `Illegal` for a state that cannot be reached; `Invalid`.
pub(crate) fn append(run: &RunRecord, change: &Change, now: DateTime<Utc>) -> Result<Update> {
    check_change(change)?;
    let mut after = run.clone();
    let mut events = change.events.clone();
    let next = change.state.unwrap_or(run.state);
    // A run that its leader died under is begun again where it stands.
    let begun_again = run.state == RunState::Running && change.state == Some(RunState::Running) && change.outcome.is_none();
    if next != run.state || begun_again {
        enter(&mut after, next, change.outcome.clone(), now)?;
        // The etag changes with every change of state, and the log alone tells how a run came to be where it is.
        if events.is_empty() {
            events.push(event("state_changed", json!({"from": run.state.name(), "to": next.name()})));
        }
    } else if change.outcome.is_some() && change.outcome != run.outcome {
        return Err(Error::Invalid(
            "an outcome comes with the terminal state it belongs to\n  help: give both in one change".into(),
        ));
    }
    Ok(Update { step: change.step.clone(), report: change.report.clone(), ..update(after, events, now) })
}

/// A run after it was asked to stop; `None`: nothing happens.
pub(crate) fn cancel(run: &RunRecord, reason: &str, now: DateTime<Utc>) -> Result<Option<Update>> {
    let mut after = run.clone();
    let mut events = vec![event("cancel_requested", json!({"reason": reason}))];
    match run.state {
        RunState::Queued => {
            let outcome = Outcome {
                class: Some(OutcomeClass::User),
                exit_code: EXIT_CANCELLED,
                message: "cancelled before it began".into(),
                retryable: false,
            };
            enter(&mut after, RunState::Cancelled, Some(outcome), now)?;
            events.push(event("cancelled", json!({"reason": reason})));
        }
        RunState::Running => enter(&mut after, RunState::Cancelling, None, now)?,
        _ => return Ok(None),
    }
    after.cancel_reason = Some(reason.to_owned());
    Ok(Some(update(after, events, now)))
}

/// A run queued again; `None`: nothing happens. Errors: `Illegal` for a run that succeeded or is being cancelled.
pub(crate) fn resume(run: &RunRecord, now: DateTime<Utc>) -> Result<Option<Update>> {
    if matches!(run.state, RunState::Queued | RunState::Running) {
        return Ok(None);
    }
    let mut after = run.clone();
    enter(&mut after, RunState::Queued, None, now)?;
    Ok(Some(update(after, vec![event("resume_requested", json!({"from": run.state.name()}))], now)))
}

fn enter(run: &mut RunRecord, next: RunState, outcome: Option<Outcome>, now: DateTime<Utc>) -> Result<()> {
    if next != run.state && !run.state.may_become(next) {
        return Err(Error::Illegal { run_id: run.run_id.clone(), from: run.state.name(), to: next.name() });
    }
    // INVARIANT: a run has an outcome and an end exactly in terminal states; the tables check it too.
    if next.is_terminal() != outcome.is_some() {
        return Err(Error::Invalid(format!(
            "{} and an outcome do not fit\n  help: terminal states need an outcome, others have none",
            next.name()
        )));
    }
    run.state = next;
    run.ended_at = next.is_terminal().then_some(now);
    run.outcome = outcome;
    match next {
        RunState::Running => {
            run.attempt = run.attempt.saturating_add(1);
            run.started_at = run.started_at.or(Some(now));
        }
        RunState::Queued => run.cancel_reason = None,
        _ => {}
    }
    Ok(())
}

fn update(mut run: RunRecord, events: Vec<NewEvent>, now: DateTime<Utc>) -> Update {
    // INVARIANT: numbers go on from the run's last one, and the run's row is locked: no gaps, no number twice.
    let events: Vec<Event> =
        (run.event_seq + 1..).zip(events).map(|(seq, new)| Event { seq, at: now, kind: new.kind, body: new.body }).collect();
    run.event_seq = events.last().map_or(run.event_seq, |last| last.seq);
    Update { run, events, step: None, report: None }
}

fn event(kind: &str, body: Value) -> NewEvent {
    NewEvent { kind: kind.to_owned(), body }
}
