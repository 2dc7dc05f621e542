//! Watching and waiting: every event once, in order, to the end; stopping and going on.

use crate::server::{Server, create, start};
use std::time::Duration;
use strata_coordinator::api::Auth;
use strata_coordinator::hub::{News, Progress, What};
use strata_proto::{v1, well_known};
use strata_runtime::clock::Stopwatch;
use strata_store::RunState::{Running, Succeeded};
use tonic::{Code, Streaming};

async fn opened(server: &Server, run_id: &str, after_seq: u64) -> Streaming<v1::WatchRunResponse> {
    let request = v1::WatchRunRequest { run_id: run_id.to_owned(), after_seq };
    server.runs().await.watch_run(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<v1::WatchRunResponse>) -> Option<v1::RunEvent> {
    let message = tokio::time::timeout(Duration::from_secs(10), stream.message()).await.unwrap();
    message.unwrap().map(|m| m.event.unwrap())
}

async fn rest(mut stream: Streaming<v1::WatchRunResponse>) -> Vec<v1::RunEvent> {
    let mut all = vec![];
    while let Some(event) = next(&mut stream).await {
        all.push(event);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_has_every_event_once_and_ends_with_the_run() {
    let server = start(Auth::open()).await;
    let run_id = server.created("k").await;
    let mut early = opened(&server, &run_id, 0).await;
    assert_eq!(next(&mut early).await.map(|e| (e.seq, e.kind)), Some((1, "created".into())));
    server.append(&run_id, "started", Some(Running), true).await;
    for i in 0..600 {
        // Some are told, some only stored, as if another coordinator wrote them; told events are told again, as a leader that begins does.
        server.append(&run_id, &format!("n{i}"), None, i % 50 == 0).await;
    }
    let last = server.append(&run_id, "succeeded", Some(Succeeded), true).await;
    let seen: Vec<u64> = rest(early).await.iter().map(|e| e.seq).collect();
    assert_eq!(seen, (2..=last).collect::<Vec<_>>());
    let late: Vec<u64> = rest(opened(&server, &run_id, 300).await).await.iter().map(|e| e.seq).collect();
    assert_eq!(late, (301..=last).collect::<Vec<_>>());
    assert!(rest(opened(&server, &run_id, last).await).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_another_coordinator_is_watched_through_the_store() {
    let server = start(Auth::open()).await;
    let run_id = server.created("k").await;
    let stream = opened(&server, &run_id, 0).await;
    server.append(&run_id, "started", Some(Running), false).await;
    server.append(&run_id, "succeeded", Some(Succeeded), false).await;
    let kinds: Vec<String> = rest(stream).await.into_iter().map(|e| e.kind).filter(|k| k != "state_changed").collect();
    assert_eq!(kinds, ["created", "started", "succeeded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_seen_and_not_numbered() {
    let server = start(Auth::open()).await;
    let run_id = server.created("k").await;
    let mut stream = opened(&server, &run_id, 0).await;
    next(&mut stream).await;
    let progress = Progress { step: "attributes of customer".into(), index: 1, of: 3, rows: 7, ..Progress::default() };
    server.hub.tell(News { run_id: "another".into(), what: What::Progress(Progress::default()) });
    server.hub.tell(News { run_id: run_id.clone(), what: What::Progress(progress) });
    let seen = next(&mut stream).await.unwrap();
    assert_eq!((seen.seq, seen.kind.as_str(), seen.progress.unwrap().rows), (0, "progress", 7));
    // A watcher that hangs up stops nothing.
    drop(stream);
    let run = server.runs().await.get_run(v1::GetRunRequest { run_id }).await.unwrap().into_inner().run.unwrap();
    assert_eq!(run.state(), v1::RunState::Queued);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_too_slow_for_the_news_misses_nothing() {
    let server = start(Auth::open()).await;
    let run_id = server.created("k").await;
    let mut stream = opened(&server, &run_id, 0).await;
    next(&mut stream).await;
    server.append(&run_id, "started", Some(Running), true).await;
    for _ in 0..5_000 {
        server.hub.tell(News { run_id: run_id.clone(), what: What::Progress(Progress::default()) });
    }
    let last = server.append(&run_id, "succeeded", Some(Succeeded), true).await;
    let stored: Vec<u64> = rest(stream).await.iter().map(|e| e.seq).filter(|s| *s > 0).collect();
    assert_eq!(stored, (2..=last).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_go_on_where_they_stopped() {
    let server = start(Auth::open()).await;
    let run_id = server.created("k").await;
    server.append(&run_id, "started", Some(Running), true).await;
    let first = server.sse(&format!("/v1/runs/{run_id}:watch"), &[], 2).await;
    assert_eq!((first[0].0.as_str(), first[0].1.as_str()), ("1", "created"));
    let seen = first.last().unwrap().0.clone();
    server.append(&run_id, "step_finished", None, true).await;
    let last = server.append(&run_id, "succeeded", Some(Succeeded), true).await;
    let after = server.sse(&format!("/v1/runs/{run_id}:watch"), &[("last-event-id", &seen)], 100).await;
    let ids: Vec<u64> = after.iter().map(|e| e.0.parse().unwrap()).collect();
    assert_eq!(ids, (seen.parse::<u64>().unwrap() + 1..=last).collect::<Vec<_>>());
    assert!(after.iter().any(|(_, kind, data)| kind == "step_finished" && data["body"]["of"] == "step_finished"));
    let none = server.get("/v1/runs/none:watch", &[]).await;
    assert_eq!(none.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_with_a_change_the_end_or_its_timeout() {
    let server = start(Auth::open()).await;
    let run = server.runs().await.create_run(create("k")).await.unwrap().into_inner().run.unwrap();
    let wait = |etag: &str, seconds: i64| v1::WaitRunRequest {
        run_id: run.run_id.clone(),
        timeout: Some(well_known::Duration { seconds, nanos: 0 }),
        etag: etag.to_owned(),
    };
    let began = Stopwatch::start();
    let same = server.runs().await.wait_run(wait(&run.etag, 1)).await.unwrap().into_inner().run.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1) && same.etag == run.etag);
    let mut client = server.runs().await;
    let changed = tokio::spawn({
        let request = wait(&run.etag, 30);
        async move { client.wait_run(request).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.append(&run.run_id, "started", Some(Running), true).await;
    let began = Stopwatch::start();
    let changed = changed.await.unwrap().unwrap().into_inner().run.unwrap();
    assert!(began.elapsed() < Duration::from_millis(900) && changed.state() == v1::RunState::Running);
    // Without an etag: until it has ended.
    let mut client = server.runs().await;
    let ended = tokio::spawn({
        let request = wait("", 30);
        async move { client.wait_run(request).await }
    });
    server.append(&run.run_id, "step_finished", None, true).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!ended.is_finished());
    server.append(&run.run_id, "failed", Some(strata_store::RunState::Failed), true).await;
    let ended = ended.await.unwrap().unwrap().into_inner().run.unwrap();
    let outcome = ended.outcome.unwrap();
    assert_eq!((outcome.class(), outcome.exit_code), (v1::OutcomeClass::DataCheck, 3));
    let refused = server.runs().await.wait_run(wait("", 61)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let answer = server.get(&format!("/v1/runs/{}:wait?timeout_seconds=5", run.run_id), &[]).await;
    assert_eq!(answer.json()["state"], "FAILED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_stopped_and_goes_on() {
    let server = start(Auth::open()).await;
    let run_id = server.created("k").await;
    let path = |verb: &str| format!("/v1/runs/{run_id}:{verb}");
    let stopped = server.post(&path("cancel"), &[], &serde_json::json!({"reason": "too\nslow"})).await.json();
    assert_eq!(
        (stopped["state"].as_str(), stopped["cancel_reason"].as_str()),
        (Some("CANCELLED"), Some("asked by `local`: tooslow"))
    );
    assert_eq!(stopped["outcome"]["exit_code"], 130);
    tokio::time::timeout(Duration::from_secs(1), server.hub.bell.notified()).await.unwrap();
    // Again changes nothing.
    assert_eq!(server.call("POST", &path("cancel"), &[], String::new()).await.json()["etag"], stopped["etag"]);
    let queued = server.runs().await.resume_run(v1::ResumeRunRequest { run_id: run_id.clone() }).await.unwrap().into_inner();
    assert_eq!(queued.run.unwrap().state(), v1::RunState::Queued);
    // A watch from the start passes the old end.
    let mut stream = opened(&server, &run_id, 0).await;
    server.append(&run_id, "started", Some(Running), true).await;
    server.append(&run_id, "succeeded", Some(Succeeded), true).await;
    let mut kinds = vec![];
    while let Some(event) = next(&mut stream).await {
        kinds.push(event.kind);
    }
    assert!(kinds.contains(&"resume_requested".to_owned()) && kinds.contains(&"succeeded".to_owned()), "{kinds:?}");
    let refused = server.runs().await.resume_run(v1::ResumeRunRequest { run_id: run_id.clone() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(server.post(&path("resume"), &[], &serde_json::json!({})).await.status, 409);
}
