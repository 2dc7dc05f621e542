//! A leading coordinator that stands still past its lease and then goes on, while another has taken over. Never asks the stale
//! one to behave.

use super::{detached, end_of, got, published_once, run_of, until};
use crate::cluster::{AS_OF, C360, c360, contents, vars};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use strata_testkit::cluster::{ClusterSpec, LocalCluster, signal};
use strata_testkit::postgres::PostgresServer;
use strata_testkit::setting;

const PATIENCE: Duration = Duration::from_secs(120);
/// What a coordinator says whose lease another took.
const LOST: &str = "no longer leads";

/// The outputs of the pipeline, in its order.
const OUTPUTS: [&str; 4] = ["customer_360", "customer_segments", "segment_profile", "panel_sample"];

/// When the leader is stopped, and when it may go on.
struct Round {
    /// The first event of which this holds.
    stop: fn(&Value) -> bool,
    /// Goes on while the other is at work; otherwise after the run has ended.
    goes_on_meanwhile: bool,
}

fn finished(event: &Value, step: &str) -> bool {
    event["kind"] == "step_finished" && event["body"]["step"].as_str().is_some_and(|s| s.starts_with(step))
}

fn rounds() -> Vec<Round> {
    let long = setting("STRATA_TEST_LONG").is_some();
    let committing = |e: &Value| e["kind"] == "report" && e["body"]["state"] == "committing";
    let mut out = vec![
        Round { stop: |e| finished(e, "panel"), goes_on_meanwhile: true },
        Round { stop: committing, goes_on_meanwhile: false },
    ];
    if long {
        let stops: [fn(&Value) -> bool; 5] = [
            |e| e["kind"] == "started",
            |e| finished(e, "attributes"),
            |e| finished(e, "segments"),
            |e| finished(e, "write"),
            committing,
        ];
        out.extend(stops.into_iter().flat_map(|stop| [true, false].map(|goes_on_meanwhile| Round { stop, goes_on_meanwhile })));
    }
    out
}

#[test]
fn a_leader_that_stood_still_past_its_lease_writes_nothing_when_it_goes_on() {
    let Ok(server) = PostgresServer::start() else {
        eprintln!("not run: there is no PostgreSQL server on this machine");
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 6000);
    let spec = || ClusterSpec {
        workers: 1,
        store: Some("env:STRATA_STORE".into()),
        work: Some(work.path().join("work").display().to_string()),
        environment: vec![("STRATA_STORE".into(), server.url().to_string())],
        ..Default::default()
    };
    // The first to be there leads. In each round the leader stands still, so that the other leads in the next.
    let mut leader = LocalCluster::start(&work.path().join("one"), spec());
    let mut other = LocalCluster::start(&work.path().join("two"), spec());
    for (i, round) in rounds().iter().enumerate() {
        stand_still(&leader, &other, &c360, &work.path().join(format!("out-{i}")), round);
        std::mem::swap(&mut leader, &mut other);
    }
}

fn stand_still(leader: &LocalCluster, other: &LocalCluster, c360: &C360, out: &Path, round: &Round) {
    let said = |cluster: &LocalCluster| cluster.coordinator_log().matches(LOST).count();
    let before = said(leader);
    let run = detached(leader, leader.run(&c360.pipeline, &vars(&c360.data, out), &["--as-of", AS_OF, "--output", "json"]));
    let seen = leader.watch(&run, 0).find(|e| (round.stop)(e));
    signal(leader.coordinator_pid(), "STOP");
    assert!(seen.is_some(), "the run ended too soon\n{}", leader.logs());
    until(other, "the take-over", PATIENCE, || {
        let now = run_of(other, &run);
        assert!(now["ended_at"].is_null() || now["attempt"] == 2, "it ended under its first leader: {now}");
        now["attempt"] == 2
    });
    if round.goes_on_meanwhile {
        signal(leader.coordinator_pid(), "CONT");
    }
    let ended = end_of(other, &run, PATIENCE);
    if !round.goes_on_meanwhile {
        signal(leader.coordinator_pid(), "CONT");
    }
    assert_eq!(ended["state"], "SUCCEEDED", "{ended}\n{}", other.logs());
    until(leader, "the end of the stale lease", PATIENCE, || said(leader) > before);
    // The stale one serves again: it takes a run, which the other works on with it looking on.
    let more = out.join("more");
    let next = detached(leader, leader.run(&c360.pipeline, &vars(&c360.data, &more), &["--as-of", AS_OF, "--output", "json"]));
    assert_eq!(end_of(leader, &next, PATIENCE)["state"], "SUCCEEDED", "{}", other.logs());

    let after = run_of(leader, &run);
    assert_eq!(after, ended, "something was written after the end");
    assert_eq!(after["attempt"], 2, "{after}");
    no_stale_event(&leader.watch(&run, 0).collect::<Vec<_>>());
    let report = got(leader, &format!("/v1/runs/{run}/report"));
    assert_eq!(contents(&report), c360.wanted);
    for table in c360.wanted.keys() {
        published_once(&out.join(table), &run);
        published_once(&more.join(table), &next);
    }
}

/// INVARIANT: after the second attempt was begun each step is begun and finished once at most, and the last event is the end.
fn no_stale_event(events: &[Value]) {
    let begun: Vec<usize> = (0..events.len()).filter(|i| events[*i]["kind"] == "started").collect();
    assert_eq!(begun.len(), 2, "{events:?}");
    for kind in ["step_started", "step_finished"] {
        let steps = events[begun[1]..].iter().filter(|e| e["kind"] == kind).map(|e| e["body"]["step"].as_str().unwrap());
        let mut steps: Vec<&str> = steps.collect();
        let all = steps.len();
        steps.sort_unstable();
        steps.dedup();
        assert_eq!(steps.len(), all, "two coordinators wrote {kind}: {events:?}");
    }
    // Each output is told once as committed.
    let told = events[begun[1]..].iter().filter(|e| e["kind"] == "report" && e["body"]["state"] == "committing");
    let told: Vec<&Value> = told.flat_map(|e| e["body"]["committed"].as_array().unwrap()).collect();
    assert_eq!(told, OUTPUTS, "{events:?}");
    assert_eq!(events.last().unwrap()["kind"], "succeeded");
}
