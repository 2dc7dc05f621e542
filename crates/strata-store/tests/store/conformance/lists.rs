//! Lists of runs, page by page, and forgetting old ones. Never two runs in one place.

use super::{STATES, entering, event, get, keyed_run, lead, new_run, run_in};
use crate::site::Site;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use strata_store::{Change, Created, Error, ListQuery, NewRun, RunRecord, RunState, RunStore, StepRecord};

fn query(page_size: u32) -> ListQuery {
    ListQuery { page_size, ..ListQuery::default() }
}

/// All pages, and how many they were.
async fn pages(store: &dyn RunStore, mut query: ListQuery) -> (Vec<RunRecord>, usize) {
    let (mut runs, mut count) = (Vec::new(), 0);
    loop {
        let page = store.list(&query).await.unwrap();
        count += 1;
        assert!(page.runs.len() <= query.page_size as usize);
        runs.extend(page.runs);
        query.page_token = page.next_page_token;
        if query.page_token.is_none() {
            return (runs, count);
        }
    }
}

fn ids(runs: &[RunRecord]) -> Vec<&str> {
    runs.iter().map(|r| r.run_id.as_str()).collect()
}

pub(crate) async fn in_both_orders(site: &Site) {
    assert_eq!(pages(&*site.a, query(10)).await, (vec![], 1));
    for i in 0..12 {
        site.a.create(new_run(&format!("r{i:02}"))).await.unwrap();
    }
    let newest: Vec<String> = (0..12).rev().map(|i| format!("r{i:02}")).collect();
    for (page_size, expected) in [(1, 12), (5, 3), (6, 2), (12, 1), (1000, 1)] {
        let (runs, count) = pages(&*site.b, query(page_size)).await;
        assert_eq!((ids(&runs), count), (newest.iter().map(String::as_str).collect(), expected));
        let (mut oldest, _) = pages(&*site.b, ListQuery { oldest_first: true, ..query(page_size) }).await;
        oldest.reverse();
        assert_eq!(oldest, runs);
    }
}

pub(crate) async fn filters(site: &Site) {
    let fence = lead(&*site.a).await;
    for state in STATES {
        run_in(&*site.a, &fence, &format!("r-{}", state.name()), state).await;
    }
    site.a.create(NewRun { pipeline: "orders".into(), ..new_run("r-other") }).await.unwrap();
    let of = async |pipeline: Option<&str>, states: &[RunState]| {
        let query = ListQuery { pipeline: pipeline.map(str::to_owned), states: states.to_vec(), ..query(2) };
        pages(&*site.b, query).await.0.into_iter().map(|r| r.run_id).collect::<BTreeSet<_>>().len()
    };
    assert_eq!(of(None, &[]).await, 8);
    assert_eq!(of(Some("customers"), &[]).await, 7);
    assert_eq!(of(Some("orders"), &[]).await, 1);
    assert_eq!(of(Some("nothing"), &[]).await, 0);
    assert_eq!(of(None, &[RunState::Queued]).await, 2);
    assert_eq!(of(Some("customers"), &[RunState::Queued, RunState::Failed, RunState::Queued]).await, 2);
    assert_eq!(of(None, &STATES).await, 8);
}

pub(crate) async fn pages_are_stable_while_runs_are_added(site: &Site) {
    for oldest_first in [false, true] {
        let name = |i: usize| format!("{}{i:03}", if oldest_first { "b" } else { "a" });
        let pipeline = name(0);
        let add = async |i| {
            let run = NewRun { pipeline: pipeline.clone(), ..new_run(&name(i)) };
            site.b.create(run).await.unwrap();
        };
        for i in 0..20 {
            add(i).await;
        }
        let mut query = ListQuery { pipeline: Some(pipeline.clone()), oldest_first, ..query(3) };
        let (mut seen, mut next) = (Vec::new(), 20);
        loop {
            let page = site.a.list(&query).await.unwrap();
            seen.extend(page.runs.into_iter().map(|r| r.run_id));
            query.page_token = page.next_page_token;
            if query.page_token.is_none() {
                break;
            }
            if next < 40 {
                add(next).await;
                next += 1;
            }
        }
        let distinct: BTreeSet<_> = seen.iter().cloned().collect();
        assert_eq!(distinct.len(), seen.len(), "a run came twice");
        assert!((0..20).all(|i| distinct.contains(&name(i))), "a run was left out");
        // Newer runs come before the first page of newest first, and after the last one of oldest first.
        assert_eq!(seen.len(), if oldest_first { next } else { 20 });
    }
}

pub(crate) async fn bad_pages_are_refused(site: &Site) {
    for i in 0..5 {
        site.a.create(new_run(&format!("r{i}"))).await.unwrap();
    }
    let token = site.a.list(&query(2)).await.unwrap().next_page_token.unwrap();
    // Another page size is another page of the same list.
    assert_eq!(site.a.list(&ListQuery { page_token: Some(token.clone()), ..query(1000) }).await.unwrap().runs.len(), 3);
    let mut tampered = token.clone();
    tampered.replace_range(20..21, if &token[20..21] == "0" { "1" } else { "0" });
    let of = |token: &str| ListQuery { page_token: Some(token.into()), ..query(2) };
    let bad = [
        query(0),
        query(1001),
        of(""),
        of("abc"),
        of("☃☃☃☃☃☃☃☃☃☃"),
        of(&token[..token.len() - 1]),
        of(&tampered),
        ListQuery { oldest_first: true, ..of(&token) },
        ListQuery { pipeline: Some("customers".into()), ..of(&token) },
        ListQuery { states: vec![RunState::Queued], ..of(&token) },
    ];
    for query in bad {
        let e = site.a.list(&query).await.unwrap_err();
        assert!(matches!(e, Error::Invalid(_)), "{e}");
    }
}

pub(crate) async fn purge_forgets_only_what_ended_long_ago(site: &Site) {
    let fence = lead(&*site.a).await;
    for state in STATES {
        run_in(&*site.a, &fence, &format!("r-{}", state.name()), state).await;
    }
    site.a.create(keyed_run("r-full", "k1")).await.unwrap();
    site.a.log("r-full", &[("info".into(), "hello".into())]).await.unwrap();
    let step = StepRecord { step: "s".into(), digest: "d".into(), artifact: json!(1) };
    let full = Change { events: vec![event("e")], step: Some(step), report: Some(json!(1)), ..entering(RunState::Failed) };
    site.a.append(&fence, "r-full", full).await.unwrap();
    assert_eq!(site.a.purge(Duration::from_secs(60)).await.unwrap(), 0);
    assert_eq!(site.a.purge(Duration::MAX).await.unwrap(), 0);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(site.b.purge(Duration::from_millis(1)).await.unwrap(), 5);
    for state in STATES {
        assert_eq!(site.a.get(&format!("r-{}", state.name())).await.unwrap().is_none(), state.is_terminal());
    }
    assert_eq!(site.a.events("r-full", 0, 10).await.unwrap(), []);
    assert_eq!((site.a.steps("r-full").await.unwrap(), site.a.report("r-full").await.unwrap()), (vec![], None));
    assert_eq!(site.a.logs("r-full", 0, 10).await.unwrap(), []);
    // Its key is free again; others go on.
    assert!(matches!(site.a.create(keyed_run("r-full", "k1")).await.unwrap(), Created::New(_)));
    site.a.append(&fence, "r-RUNNING", entering(RunState::Succeeded)).await.unwrap();
    // More than are forgotten at once.
    for i in 0..210 {
        site.store(i).create(new_run(&format!("many-{i}"))).await.unwrap();
        site.store(i).request_cancel(&format!("many-{i}"), "").await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(site.a.purge(Duration::from_millis(1)).await.unwrap(), 211);
    assert_eq!(get(&*site.a, "r-QUEUED").await.state, RunState::Queued);
}
