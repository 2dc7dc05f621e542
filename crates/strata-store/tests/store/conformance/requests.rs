//! What users ask for: create, cancel, resume. Never needs a lease, except to bring runs where they are to be.

use super::{STATES, entering, event, get, keyed_run, kinds, lead, new_run, run_in};
use crate::site::Site;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use strata_store::{Change, Created, Error, ListQuery, NewEvent, NewRun, OutcomeClass, RunState, StepRecord};

pub(crate) async fn a_new_run_is_queued_with_its_first_event(site: &Site) {
    let Created::New(run) = site.a.create(keyed_run("r1", "k1")).await.unwrap() else { panic!("it is new") };
    assert_eq!((run.run_id.as_str(), run.pipeline.as_str(), run.request_id.as_deref()), ("r1", "customers", Some("k1")));
    assert_eq!((run.state, run.attempt, run.event_seq), (RunState::Queued, 0, 1));
    assert_eq!((&run.outcome, &run.cancel_reason, run.started_at, run.ended_at), (&None, &None, None, None));
    assert_eq!(run.body_digest.len(), 64);
    assert_eq!(site.b.get("r1").await.unwrap().unwrap(), run);
    assert_eq!(site.b.lookup("customers", "k1").await.unwrap().unwrap(), run);
    assert_eq!(kinds(&*site.b, "r1").await, ["created"]);
    assert_eq!(run.etag(), "r1-1");
}

pub(crate) async fn what_is_unknown_is_not_found(site: &Site) {
    let fence = lead(&*site.a).await;
    assert_eq!(site.a.get("r0").await.unwrap(), None);
    assert_eq!(site.a.lookup("customers", "k0").await.unwrap(), None);
    assert_eq!(site.a.events("r0", 0, 10).await.unwrap(), []);
    assert_eq!(site.a.steps("r0").await.unwrap(), []);
    assert_eq!(site.a.report("r0").await.unwrap(), None);
    assert_eq!(site.a.logs("r0", 0, 10).await.unwrap(), []);
    // What cannot be an id is no id, and no fault of the database's.
    assert_eq!((site.a.get("r\0").await.unwrap(), site.a.lookup("a\0", "b\0").await.unwrap()), (None, None));
    assert_eq!((site.a.events("r\0", 0, 1).await.unwrap(), site.a.logs("r\0", 0, 1).await.unwrap()), (vec![], vec![]));
    let query = ListQuery { pipeline: Some("a\0".into()), page_size: 1, ..ListQuery::default() };
    assert_eq!(site.a.list(&query).await.unwrap().runs, []);
    assert!(matches!(site.a.request_cancel("r\0", "").await.unwrap_err(), Error::NotFound(id) if id == "r\0"));
    let errors = [
        site.a.append(&fence, "r0", entering(RunState::Running)).await.unwrap_err(),
        site.a.request_cancel("r0", "no need").await.unwrap_err(),
        site.a.request_resume("r0").await.unwrap_err(),
        site.a.log("r0", &[("info".into(), "hello".into())]).await.unwrap_err(),
    ];
    assert!(errors.iter().all(|e| matches!(e, Error::NotFound(id) if id == "r0")), "{errors:?}");
}

pub(crate) async fn one_key_makes_one_run_however_many_ask_at_once(site: &Site) {
    let asking = (0..100).map(|i| {
        let store = site.store(i);
        tokio::spawn(async move { store.create(keyed_run(&format!("r{i}"), "k1")).await.unwrap() })
    });
    let mut new = 0;
    let mut ids = BTreeSet::new();
    for answer in asking.collect::<Vec<_>>() {
        match answer.await.unwrap() {
            Created::New(run) => {
                new += 1;
                ids.insert(run.run_id);
            }
            Created::Same(run) => {
                ids.insert(run.run_id);
            }
        }
    }
    assert_eq!((new, ids.len()), (1, 1));
    let query = ListQuery { page_size: 1000, ..ListQuery::default() };
    assert_eq!(site.a.list(&query).await.unwrap().runs.len(), 1);
    assert_eq!(kinds(&*site.a, ids.first().unwrap()).await, ["created"]);
}

pub(crate) async fn a_key_belongs_to_its_pipeline(site: &Site) {
    site.a.create(keyed_run("r1", "k1")).await.unwrap();
    let other = NewRun { pipeline: "orders".into(), body: json!(2), ..keyed_run("r2", "k1") };
    assert!(matches!(site.a.create(other).await.unwrap(), Created::New(_)));
    assert_eq!(site.a.lookup("orders", "k1").await.unwrap().unwrap().run_id, "r2");
    // Without a key nothing is ever the same.
    for id in ["r3", "r4"] {
        assert!(matches!(site.a.create(new_run(id)).await.unwrap(), Created::New(_)));
    }
}

pub(crate) async fn a_key_used_for_something_else_names_its_run(site: &Site) {
    let body = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let first = NewRun { body: body(r#"{"a": 1, "b": {"c": [1, 2], "d": null}}"#), ..keyed_run("r1", "k1") };
    site.a.create(first).await.unwrap();
    let reordered = NewRun { body: body(r#"{"b": {"d": null, "c": [1, 2]}, "a": 1}"#), ..keyed_run("r2", "k1") };
    let Created::Same(run) = site.b.create(reordered).await.unwrap() else { panic!("it is the same request") };
    assert_eq!(run.run_id, "r1");
    let other = NewRun { body: body(r#"{"a": 1, "b": {"c": [2, 1], "d": null}}"#), ..keyed_run("r3", "k1") };
    let e = site.b.create(other).await.unwrap_err();
    assert!(matches!(&e, Error::KeyReused { original } if original == "r1"), "{e}");
    assert_eq!(site.a.get("r3").await.unwrap(), None);
}

pub(crate) async fn bad_ids_and_keys_are_refused(site: &Site) {
    let named = |pipeline: &str| NewRun { pipeline: pipeline.into(), ..new_run("r1") };
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let bad = [
        new_run(""),
        new_run("a b"),
        new_run("a/b"),
        new_run(&"r".repeat(129)),
        keyed_run("r1", ""),
        keyed_run("r1", &"k".repeat(129)),
        keyed_run("r1", "a\0b"),
        named(""),
        named("a\nb"),
        NewRun { body: deep, ..new_run("r1") },
    ];
    for run in bad {
        let e = site.a.create(run).await.unwrap_err();
        assert!(matches!(&e, Error::Invalid(why) if why.contains("help: ")), "{e}");
    }
    site.a.create(keyed_run(&"r".repeat(128), &"é".repeat(128))).await.unwrap();
    assert!(site.a.lookup("customers", &"é".repeat(128)).await.unwrap().is_some());
}

pub(crate) async fn a_run_id_is_used_once(site: &Site) {
    site.a.create(keyed_run("r1", "k1")).await.unwrap();
    for run in [new_run("r1"), keyed_run("r1", "k2")] {
        assert!(matches!(site.b.create(run).await.unwrap_err(), Error::Invalid(_)));
    }
    assert_eq!(get(&*site.a, "r1").await.request_id.as_deref(), Some("k1"));
}

pub(crate) async fn values_come_back_as_they_went_in(site: &Site) {
    let text = r#"{"z": "Zoë \u0000 ☃ \" \\", "a": [1.5, -0.0, 9007199254740993, 18446744073709551615, true, null], "": {}}"#;
    let value: Value = serde_json::from_str(text).unwrap();
    let fence = lead(&*site.a).await;
    site.a.create(NewRun { body: value.clone(), ..new_run("r1") }).await.unwrap();
    let change = Change {
        events: vec![NewEvent { kind: "kind ☃ 'quoted'".into(), body: value.clone() }],
        step: Some(StepRecord { step: "Schritt – 1".into(), digest: "d".into(), artifact: value.clone() }),
        report: Some(value.clone()),
        ..Change::default()
    };
    site.a.append(&fence, "r1", change).await.unwrap();
    assert_eq!(get(&*site.b, "r1").await.body.to_string(), value.to_string());
    let event = site.b.events("r1", 1, 1).await.unwrap().remove(0);
    assert_eq!((event.kind.as_str(), event.body.to_string()), ("kind ☃ 'quoted'", value.to_string()));
    assert_eq!(site.b.steps("r1").await.unwrap()[0].artifact, value);
    assert_eq!(site.b.report("r1").await.unwrap().unwrap(), value);
    let cancelled = site.a.request_cancel("r1", "a\0b").await.unwrap();
    assert_eq!(cancelled.cancel_reason.as_deref(), Some("a\u{fffd}b"));
}

pub(crate) async fn cancel_in_every_state(site: &Site) {
    let fence = lead(&*site.a).await;
    for state in STATES {
        let id = format!("r-{}", state.name());
        let before = run_in(&*site.a, &fence, &id, state).await;
        let after = site.b.request_cancel(&id, "enough").await.unwrap();
        assert_eq!(after, get(&*site.a, &id).await);
        let added = kinds(&*site.a, &id).await.split_off(before.event_seq as usize);
        match state {
            RunState::Queued => {
                assert_eq!((after.state, after.attempt), (RunState::Cancelled, 0));
                assert_eq!(added, ["cancel_requested", "cancelled"]);
                let outcome = after.outcome.unwrap();
                assert_eq!((outcome.exit_code, outcome.class, outcome.retryable), (130, Some(OutcomeClass::User), false));
                assert!(after.ended_at.is_some());
            }
            RunState::Running => {
                assert_eq!((after.state, after.outcome, after.ended_at), (RunState::Cancelling, None, None));
                assert_eq!(added, ["cancel_requested"]);
                assert_eq!(site.a.events(&id, before.event_seq, 1).await.unwrap()[0].body, json!({"reason": "enough"}));
            }
            _ => {
                assert_eq!((after, added), (before, vec![]));
                continue;
            }
        }
        let again = site.a.request_cancel(&id, "really").await.unwrap();
        assert_eq!(again.cancel_reason.as_deref(), Some("enough"));
    }
}

pub(crate) async fn resume_in_every_state(site: &Site) {
    let fence = lead(&*site.a).await;
    for state in STATES {
        let id = format!("r-{}", state.name());
        let before = run_in(&*site.a, &fence, &id, state).await;
        let after = site.b.request_resume(&id).await;
        let added = kinds(&*site.a, &id).await.split_off(before.event_seq as usize);
        match state {
            RunState::Queued | RunState::Running => assert_eq!((after.unwrap(), added), (before, vec![])),
            RunState::Succeeded | RunState::Cancelling => {
                let e = after.unwrap_err();
                assert!(
                    matches!(&e, Error::Illegal { run_id, from, to: "QUEUED" } if *run_id == id && *from == state.name()),
                    "{e}"
                );
                assert_eq!((get(&*site.a, &id).await, added), (before, vec![]));
            }
            RunState::Failed | RunState::Cancelled | RunState::TimedOut => {
                let after = after.unwrap();
                assert_eq!((after.state, &after.outcome, after.ended_at), (RunState::Queued, &None, None));
                assert_eq!((after.attempt, after.started_at, &after.cancel_reason), (1, before.started_at, &None));
                assert_eq!(added, ["resume_requested"]);
                assert_eq!(after, get(&*site.a, &id).await);
            }
        }
    }
}

pub(crate) async fn a_resumed_run_keeps_its_steps(site: &Site) {
    let fence = lead(&*site.a).await;
    run_in(&*site.a, &fence, "r1", RunState::Running).await;
    let step = StepRecord { step: "profiles".into(), digest: "d1".into(), artifact: json!({"rows": 3}) };
    let finished = Change { events: vec![event("step_finished")], step: Some(step.clone()), ..Change::default() };
    site.a.append(&fence, "r1", finished).await.unwrap();
    site.a.request_cancel("r1", "enough").await.unwrap();
    site.a.append(&fence, "r1", entering(RunState::Cancelled)).await.unwrap();
    assert_eq!(get(&*site.a, "r1").await.cancel_reason.as_deref(), Some("enough"));
    site.b.request_resume("r1").await.unwrap();
    assert_eq!(site.b.steps("r1").await.unwrap(), [step]);
    site.a.append(&fence, "r1", entering(RunState::Running)).await.unwrap();
    let run = get(&*site.a, "r1").await;
    assert_eq!((run.attempt, run.cancel_reason), (2, None));
}
