//! What the coordinator writes of a run: changes, events, steps, reports, logs. Never without a lease.

use super::{STATES, entering, event, events, get, kinds, lead, new_run, outcome, run_in};
use crate::site::Site;
use serde_json::json;
use strata_store::{Change, Error, Fence, RunState, StepRecord};

pub(crate) async fn transitions_are_those_that_may_be(site: &Site) {
    let fence = lead(&*site.a).await;
    for from in STATES {
        for to in STATES {
            let id = format!("r-{}-{}", from.name(), to.name());
            let before = run_in(&*site.a, &fence, &id, from).await;
            // To stay is no transition; an outcome then is no news.
            let change = if from == to { Change { outcome: None, ..entering(to) } } else { entering(to) };
            let appended = site.a.append(&fence, &id, change).await;
            let after = get(&*site.b, &id).await;
            if from == to || from.may_become(to) {
                assert_eq!(appended.unwrap(), before.event_seq + 1);
                assert_eq!((after.state, after.event_seq), (to, before.event_seq + 1));
                assert_eq!((after.outcome.is_some(), after.ended_at.is_some()), (to.is_terminal(), to.is_terminal()));
            } else {
                let e = appended.unwrap_err();
                let named = matches!(&e, Error::Illegal { run_id, from: f, to: t } if *run_id == id && *f == from.name() && *t == to.name());
                assert!(named, "{e}");
                assert_eq!(after, before);
            }
            kinds(&*site.a, &id).await;
        }
    }
}

pub(crate) async fn an_outcome_comes_with_a_terminal_state(site: &Site) {
    let fence = lead(&*site.a).await;
    let before = run_in(&*site.a, &fence, "r1", RunState::Running).await;
    let bad = [
        Change { outcome: None, ..entering(RunState::Failed) },
        Change { outcome: Some(outcome(RunState::Failed)), ..entering(RunState::Queued) },
        Change { outcome: Some(outcome(RunState::Failed)), ..events(1) },
    ];
    for change in bad {
        assert!(matches!(site.a.append(&fence, "r1", change).await.unwrap_err(), Error::Invalid(_)));
    }
    assert_eq!(get(&*site.a, "r1").await, before);
    site.a.append(&fence, "r1", entering(RunState::Succeeded)).await.unwrap();
    // Saying the same again does no harm; saying something else is refused.
    site.a.append(&fence, "r1", entering(RunState::Succeeded)).await.unwrap();
    let other = Change { outcome: Some(outcome(RunState::Failed)), ..entering(RunState::Succeeded) };
    assert!(matches!(site.a.append(&fence, "r1", other).await.unwrap_err(), Error::Invalid(_)));
    assert_eq!(get(&*site.a, "r1").await.outcome, Some(outcome(RunState::Succeeded)));
}

pub(crate) async fn attempts_and_times(site: &Site) {
    let fence = lead(&*site.a).await;
    let begun = run_in(&*site.a, &fence, "r1", RunState::Running).await;
    assert_eq!((begun.attempt, begun.ended_at), (1, None));
    assert!(begun.started_at.unwrap() >= begun.created_at);
    // Begun again by the next who leads, then handed back and begun again.
    site.a.append(&fence, "r1", entering(RunState::Running)).await.unwrap();
    assert_eq!(get(&*site.a, "r1").await.attempt, 2);
    for state in [RunState::Queued, RunState::Running, RunState::TimedOut] {
        site.a.append(&fence, "r1", entering(state)).await.unwrap();
    }
    let ended = get(&*site.a, "r1").await;
    assert_eq!((ended.attempt, ended.started_at, ended.created_at), (3, begun.started_at, begun.created_at));
    assert!(ended.ended_at.unwrap() >= ended.started_at.unwrap());
    assert_eq!(ended.outcome, Some(outcome(RunState::TimedOut)));
    let last = site.a.events("r1", ended.event_seq - 1, 1).await.unwrap().remove(0);
    assert_eq!(Some(last.at), ended.ended_at);
}

pub(crate) async fn a_change_of_state_is_always_an_event(site: &Site) {
    let fence = lead(&*site.a).await;
    let queued = run_in(&*site.a, &fence, "r1", RunState::Queued).await;
    let seq = site.a.append(&fence, "r1", Change { state: Some(RunState::Running), ..Change::default() }).await.unwrap();
    assert_eq!((seq, kinds(&*site.a, "r1").await.last().unwrap().as_str()), (2, "state_changed"));
    assert_ne!(get(&*site.a, "r1").await.etag(), queued.etag());
    assert_eq!(site.a.append(&fence, "r1", Change::default()).await.unwrap(), 2);
}

pub(crate) async fn append_is_all_or_nothing(site: &Site) {
    let fence = lead(&*site.a).await;
    let before = run_in(&*site.a, &fence, "r1", RunState::Running).await;
    let step = StepRecord { step: "profiles".into(), digest: "d".into(), artifact: json!(1) };
    let all = Change {
        events: vec![event("one"), event("two")],
        step: Some(step),
        report: Some(json!({"rows": 1})),
        ..Change::default()
    };
    let unnamed = vec![event("fine"), event("")];
    let refused = [
        (fence.clone(), Change { state: Some(RunState::Failed), ..all.clone() }),
        (fence.clone(), Change { events: unnamed, ..all.clone() }),
        (Fence { epoch: fence.epoch + 1, ..fence.clone() }, all.clone()),
        (Fence { name: "other".into(), ..fence.clone() }, all.clone()),
    ];
    for (fence, change) in refused {
        site.a.append(&fence, "r1", change).await.unwrap_err();
    }
    assert_eq!(get(&*site.b, "r1").await, before);
    assert_eq!(kinds(&*site.b, "r1").await.len() as u64, before.event_seq);
    assert_eq!((site.b.steps("r1").await.unwrap(), site.b.report("r1").await.unwrap()), (vec![], None));
    let change = Change { state: Some(RunState::Succeeded), outcome: Some(outcome(RunState::Succeeded)), ..all };
    assert_eq!(site.a.append(&fence, "r1", change).await.unwrap(), before.event_seq + 2);
    assert_eq!((site.b.steps("r1").await.unwrap().len(), site.b.report("r1").await.unwrap()), (1, Some(json!({"rows": 1}))));
}

pub(crate) async fn events_have_no_gaps_under_concurrent_appends(site: &Site) {
    let fence = lead(&*site.a).await;
    let begun = run_in(&*site.a, &fence, "r1", RunState::Running).await;
    let writers = (0..20).map(|writer| {
        let (store, fence) = (site.store(writer), fence.clone());
        tokio::spawn(async move {
            let mut last = 0;
            for i in 0..10 {
                let change = Change { events: vec![event(&format!("of-{writer}")); i % 3 + 1], ..Change::default() };
                let seq = store.append(&fence, "r1", change).await.unwrap();
                assert!(seq > last);
                last = seq;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let kinds = kinds(&*site.a, "r1").await;
    assert_eq!(kinds.len() as u64, begun.event_seq + 20 * 19);
    assert!((0..20).all(|writer| kinds.iter().filter(|kind| **kind == format!("of-{writer}")).count() == 19));
}

pub(crate) async fn events_are_read_in_portions(site: &Site) {
    let fence = lead(&*site.a).await;
    run_in(&*site.a, &fence, "r1", RunState::Queued).await;
    assert_eq!(site.a.append(&fence, "r1", events(9)).await.unwrap(), 10);
    let numbers = async |after, limit| site.b.events("r1", after, limit).await.unwrap().iter().map(|e| e.seq).collect::<Vec<_>>();
    assert_eq!(numbers(0, 3).await, [1, 2, 3]);
    assert_eq!(numbers(8, 3).await, [9, 10]);
    assert_eq!(numbers(10, 3).await, [] as [u64; 0]);
    assert_eq!(numbers(u64::MAX, u32::MAX).await, [] as [u64; 0]);
    assert_eq!(numbers(0, 0).await, [] as [u64; 0]);
}

pub(crate) async fn steps_in_the_order_they_finished(site: &Site) {
    let fence = lead(&*site.a).await;
    run_in(&*site.a, &fence, "r1", RunState::Running).await;
    run_in(&*site.a, &fence, "r2", RunState::Running).await;
    let finish = async |run: &str, step: &str, digest: &str| {
        let step = StepRecord { step: step.into(), digest: digest.into(), artifact: json!({"of": digest}) };
        site.a.append(&fence, run, Change { step: Some(step), ..events(1) }).await.unwrap();
    };
    finish("r1", "z", "1").await;
    finish("r1", "a", "2").await;
    finish("r2", "a", "3").await;
    finish("r1", "m", "4").await;
    // Finished again with other input: the latest counts.
    finish("r1", "z", "5").await;
    let steps = site.b.steps("r1").await.unwrap();
    let named: Vec<_> = steps.iter().map(|s| (s.step.as_str(), s.digest.as_str())).collect();
    assert_eq!(named, [("a", "2"), ("m", "4"), ("z", "5")]);
    assert_eq!(steps[2].artifact, json!({"of": "5"}));
}

pub(crate) async fn the_latest_report(site: &Site) {
    let fence = lead(&*site.a).await;
    run_in(&*site.a, &fence, "r1", RunState::Running).await;
    assert_eq!(site.a.report("r1").await.unwrap(), None);
    for report in [json!({"steps": 1}), json!({"steps": 2})] {
        site.a.append(&fence, "r1", Change { report: Some(report), ..events(1) }).await.unwrap();
    }
    site.a.append(&fence, "r1", events(1)).await.unwrap();
    assert_eq!(site.b.report("r1").await.unwrap(), Some(json!({"steps": 2})));
}

pub(crate) async fn logs(site: &Site) {
    site.a.create(new_run("r1")).await.unwrap();
    let line = |level: &str, message: &str| (level.to_owned(), message.to_owned());
    site.a.log("r1", &[line("info", "read 3 files"), line("warn", "a\0b ☃")]).await.unwrap();
    site.a.log("r1", &[]).await.unwrap();
    site.b.log("r1", &[line("error", "")]).await.unwrap();
    let lines = site.a.logs("r1", 0, 10).await.unwrap();
    let read: Vec<_> = lines.iter().map(|l| (l.seq, l.level.as_str(), l.message.as_str())).collect();
    assert_eq!(read, [(1, "info", "read 3 files"), (2, "warn", "a\u{fffd}b ☃"), (3, "error", "")]);
    assert_eq!(site.a.logs("r1", 1, 1).await.unwrap(), lines[1..2]);
    assert!(matches!(site.a.log("r1", &[line("shout", "x")]).await.unwrap_err(), Error::Invalid(_)));
    // A log is no event.
    assert_eq!(get(&*site.a, "r1").await.event_seq, 1);
}

pub(crate) async fn logs_of_many_at_once(site: &Site) {
    site.a.create(new_run("r1")).await.unwrap();
    let writers = (0..20).map(|i| {
        let store = site.store(i);
        tokio::spawn(async move { store.log("r1", &vec![("info".to_owned(), format!("{i}")); 5]).await.unwrap() })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let lines = site.a.logs("r1", 0, 1000).await.unwrap();
    assert!(lines.iter().map(|l| l.seq).eq(1..=100));
    assert!(lines.chunks(5).all(|of_one| of_one.iter().all(|l| l.message == of_one[0].message)));
}
