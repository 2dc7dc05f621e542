//! What every store does, as functions over a site. Never asks which database it is.

pub(crate) mod leases;
pub(crate) mod lists;
pub(crate) mod requests;
pub(crate) mod runs;

use serde_json::json;
use std::time::Duration;
use strata_store::{Change, Fence, NewEvent, NewRun, Outcome, OutcomeClass, RunRecord, RunState, RunStore};

/// All of them, for a macro that makes tests.
macro_rules! every_test {
    ($with:ident) => {
        $with! {
            requests::a_new_run_is_queued_with_its_first_event,
            requests::what_is_unknown_is_not_found,
            requests::one_key_makes_one_run_however_many_ask_at_once,
            requests::a_key_belongs_to_its_pipeline,
            requests::a_key_used_for_something_else_names_its_run,
            requests::bad_ids_and_keys_are_refused,
            requests::a_run_id_is_used_once,
            requests::values_come_back_as_they_went_in,
            requests::cancel_in_every_state,
            requests::resume_in_every_state,
            requests::a_resumed_run_keeps_its_steps,
            runs::transitions_are_those_that_may_be,
            runs::an_outcome_comes_with_a_terminal_state,
            runs::attempts_and_times,
            runs::a_change_of_state_is_always_an_event,
            runs::append_is_all_or_nothing,
            runs::events_have_no_gaps_under_concurrent_appends,
            runs::events_are_read_in_portions,
            runs::steps_in_the_order_they_finished,
            runs::the_latest_report,
            runs::logs,
            runs::logs_of_many_at_once,
            leases::one_holder_at_a_time,
            leases::of_many_at_once_one_gets_it,
            leases::renewing,
            leases::releasing,
            leases::a_fence_of_an_earlier_epoch_is_refused,
            leases::no_write_of_the_old_leader_comes_after_a_takeover,
            leases::a_lease_that_ended_is_refused,
            leases::leases_end_by_the_clock,
            leases::bad_names_and_times_are_refused,
            lists::in_both_orders,
            lists::filters,
            lists::pages_are_stable_while_runs_are_added,
            lists::bad_pages_are_refused,
            lists::purge_forgets_only_what_ended_long_ago,
        }
    };
}
pub(crate) use every_test;

pub(crate) const STATES: [RunState; 7] = [
    RunState::Queued,
    RunState::Running,
    RunState::Cancelling,
    RunState::Succeeded,
    RunState::Failed,
    RunState::Cancelled,
    RunState::TimedOut,
];

/// Longer than any test.
pub(crate) const LONG: Duration = Duration::from_secs(300);

pub(crate) fn new_run(run_id: &str) -> NewRun {
    NewRun { run_id: run_id.into(), pipeline: "customers".into(), request_id: None, body: json!({"as_of": "2026-01-01"}) }
}

pub(crate) fn keyed_run(run_id: &str, request_id: &str) -> NewRun {
    NewRun { request_id: Some(request_id.into()), ..new_run(run_id) }
}

pub(crate) fn event(kind: &str) -> NewEvent {
    NewEvent { kind: kind.into(), body: json!({}) }
}

pub(crate) fn events(n: usize) -> Change {
    Change { events: vec![event("progress"); n], ..Change::default() }
}

/// Into that state, with an outcome if it needs one.
pub(crate) fn entering(state: RunState) -> Change {
    Change {
        state: Some(state),
        outcome: state.is_terminal().then(|| outcome(state)),
        events: vec![event("entered")],
        ..Change::default()
    }
}

pub(crate) fn outcome(state: RunState) -> Outcome {
    match state {
        RunState::Succeeded => Outcome { class: None, exit_code: 0, message: "done".into(), retryable: false },
        _ => Outcome {
            class: Some(OutcomeClass::Transient),
            exit_code: 75,
            message: "the store went away".into(),
            retryable: true,
        },
    }
}

pub(crate) async fn lead(store: &dyn RunStore) -> Fence {
    store.acquire("coordinator", "tester", LONG).await.unwrap().unwrap().fence()
}

pub(crate) async fn get(store: &dyn RunStore, run_id: &str) -> RunRecord {
    store.get(run_id).await.unwrap().unwrap()
}

/// A new run, brought to that state.
pub(crate) async fn run_in(store: &dyn RunStore, fence: &Fence, run_id: &str, state: RunState) -> RunRecord {
    store.create(new_run(run_id)).await.unwrap();
    let path: &[RunState] = match state {
        RunState::Queued => &[],
        RunState::Running => &[RunState::Running],
        RunState::Cancelling => &[RunState::Running, RunState::Cancelling],
        _ => &[RunState::Running, state],
    };
    for step in path {
        store.append(fence, run_id, entering(*step)).await.unwrap();
    }
    let run = get(store, run_id).await;
    assert_eq!(run.state, state);
    run
}

/// The run's events, which are numbered 1, 2, 3… up to its `event_seq`.
pub(crate) async fn kinds(store: &dyn RunStore, run_id: &str) -> Vec<String> {
    let events = store.events(run_id, 0, u32::MAX).await.unwrap();
    assert!(events.iter().map(|e| e.seq).eq(1..=events.len() as u64), "numbers have gaps");
    assert!(events.is_sorted_by_key(|e| e.at), "time went backwards");
    assert_eq!(get(store, run_id).await.event_seq, events.len() as u64);
    events.into_iter().map(|e| e.kind).collect()
}
