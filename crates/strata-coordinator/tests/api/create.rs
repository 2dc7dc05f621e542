//! Creating runs: once, with a pipeline that is right, and the same over both transports.

use crate::server::{PIPELINE, create, spec, start};
use futures::future::join_all;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use strata_coordinator::api::{Auth, auth::digest_hex};
use strata_coordinator::body::RunBody;
use strata_proto::{status, v1, well_known};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_one_run_however_many_ask_at_once() {
    let server = start(Auth::open()).await;
    let client = server.runs().await;
    let asked = (0..100).map(|_| {
        let mut client = client.clone();
        async move { client.create_run(create("night-1")).await.unwrap().into_inner() }
    });
    let answers = join_all(asked).await;
    let names: BTreeSet<String> = answers.iter().map(|a| a.run.as_ref().unwrap().run_id.clone()).collect();
    assert_eq!(names.len(), 1);
    assert_eq!(answers.iter().filter(|a| !a.existing).count(), 1);
    let listed = server.runs().await.list_runs(v1::ListRunsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.runs.len(), 1);
    assert_eq!(listed.runs[0].state(), v1::RunState::Queued);
    // The leader was called.
    tokio::time::timeout(Duration::from_secs(1), server.hub.bell.notified()).await.unwrap();
    // The same over HTTP is the same request.
    let body = json!({"request_id": "night-1", "spec": {"pipeline": PIPELINE, "file": "shop/pipeline.yaml"}});
    let answer = server.post("/v1/runs", &[], &body).await;
    assert_eq!((answer.status, answer.json()["run"]["run_id"].as_str()), (200, names.first().map(String::as_str)));
}

#[tokio::test]
async fn a_key_used_for_another_request_names_the_first_run() {
    let server = start(Auth::open()).await;
    let first = server.created("k").await;
    let mut other = create("k");
    other.spec.as_mut().unwrap().vars.insert("out".into(), "/elsewhere".into());
    let refused = server.runs().await.create_run(other).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    let problem = status::decode(refused.details()).unwrap();
    assert_eq!((problem.kind.as_str(), &problem.run_id), ("request-id-reused", &first));
    let body = json!({"request_id": "k", "spec": {"pipeline": PIPELINE, "timeout_seconds": 60}});
    let answer = server.post("/v1/runs", &[], &body).await;
    assert_eq!((answer.status, answer.json()["run_id"].as_str()), (409, Some(first.as_str())));
    assert!(answer.head.to_lowercase().contains("content-type: application/problem+json"), "{}", answer.head);
    // Without a key every call is a run of its own.
    assert_ne!(server.created("").await, server.created("").await);
    let asked = v1::LookupRunRequest { pipeline: "shop".into(), request_id: "k".into() };
    let found = server.runs().await.lookup_run(asked).await.unwrap().into_inner();
    assert_eq!(found.run.unwrap().run_id, first);
    let answer = server.get("/v1/runs:lookup?pipeline=shop&request_id=none", &[]).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn the_same_request_of_another_token_is_the_same_run() {
    let auth = format!("a runner {}\nb runner {}\n", digest_hex("token-a"), digest_hex("token-b"));
    let server = start(Auth::parse(&auth).unwrap()).await;
    let mut client = server.runs().await;
    let first = client.create_run(crate::server::by("token-a", create("k"))).await.unwrap().into_inner().run.unwrap();
    let second = client.create_run(crate::server::by("token-b", create("k"))).await.unwrap().into_inner();
    assert!(second.existing);
    assert_eq!(second.run.as_ref().map(|r| (&r.run_id, r.created_by.as_str())), Some((&first.run_id, "a")));
    let mut other = create("k");
    other.spec.as_mut().unwrap().file = "other.yaml".into();
    let refused = client.create_run(crate::server::by("token-b", other)).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn one_instant_is_one_request_however_it_is_written() {
    let server = start(Auth::open()).await;
    let mut asked = create("k");
    asked.spec.as_mut().unwrap().as_of = Some(well_known::Timestamp { seconds: 1_767_225_600, nanos: 0 });
    let first = server.runs().await.create_run(asked).await.unwrap().into_inner().run.unwrap();
    let body =
        |as_of: &str| json!({"request_id": "k", "spec": {"pipeline": PIPELINE, "file": "shop/pipeline.yaml", "as_of": as_of}});
    let answer = server.post("/v1/runs", &[], &body("2026-01-01T01:00:00+01:00")).await;
    assert_eq!((answer.status, answer.json()["run"]["run_id"].as_str()), (200, Some(first.run_id.as_str())));
    assert_eq!(server.post("/v1/runs", &[], &body("2026-01-01")).await.status, 400);
    let stored = server.hub.store.get(&first.run_id).await.unwrap().unwrap();
    assert_eq!(RunBody::of(&stored).unwrap().as_of.as_deref(), Some("2026-01-01T00:00:00Z"));
}

#[tokio::test]
async fn a_wrong_pipeline_is_refused_with_everything_that_is_wrong() {
    let server = start(Auth::open()).await;
    let wrong = PIPELINE
        .replace("mode: mutable", "mode: mutble")
        .replace("key: customer_id\n    columns", "kez: customer_id\n    columns");
    let asked = v1::CreateRunRequest { spec: Some(spec(&wrong)), request_id: "k".into(), validate_only: false };
    let refused = server.runs().await.create_run(asked.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let problem = status::decode(refused.details()).unwrap();
    assert_eq!((problem.kind.as_str(), problem.class()), ("invalid-pipeline", v1::OutcomeClass::User));
    assert!(problem.diagnostics.len() >= 2, "{problem:?}");
    assert!(problem.diagnostics.iter().all(|d| d.place.as_ref().is_some_and(|p| p.line > 1)));
    // Only asked what is wrong: an answer, not an error, and no run.
    let checked =
        server.runs().await.create_run(v1::CreateRunRequest { validate_only: true, ..asked }).await.unwrap().into_inner();
    assert_eq!((checked.run, checked.diagnostics.len()), (None, problem.diagnostics.len()));
    let right = v1::CreateRunRequest { validate_only: true, ..create("k") };
    let checked = server.runs().await.create_run(right).await.unwrap().into_inner();
    assert!(checked.run.is_none() && checked.diagnostics.iter().all(|d| d.severity() == v1::Severity::Warning), "{checked:?}");
    let answer = server.post("/v1/runs", &[], &json!({"spec": {"pipeline": wrong}})).await;
    assert_eq!((answer.status, answer.json()["diagnostics"].as_array().unwrap().len()), (422, problem.diagnostics.len()));
    assert!(server.runs().await.list_runs(v1::ListRunsRequest::default()).await.unwrap().into_inner().runs.is_empty());
}

#[tokio::test]
async fn what_breaks_a_privacy_rule_is_of_the_class_policy() {
    let server = start(Auth::open()).await;
    let leaking = PIPELINE.replace("region: customers.region", "contact: lower(email)");
    let asked = v1::CreateRunRequest { spec: Some(spec(&leaking)), ..v1::CreateRunRequest::default() };
    let refused = server.runs().await.create_run(asked).await.unwrap_err();
    assert_eq!(status::decode(refused.details()).unwrap().class(), v1::OutcomeClass::Policy);
}

#[tokio::test]
async fn relative_paths_are_refused_with_what_to_write() {
    let server = start(Auth::open()).await;
    let body = json!({"spec": {"pipeline": PIPELINE, "vars": {"data": "./data", "out": "file://out"}}});
    let answer = server.post("/v1/runs", &[], &body).await;
    let json = answer.json();
    let found = json["diagnostics"].as_array().unwrap();
    assert_eq!((answer.status, found.len()), (422, 2), "{json}");
    assert!(found[0]["help"].as_str().unwrap().contains("s3://"), "{json}");
    let checked = server.post("/v1/pipelines:check", &[], &body["spec"]).await.json();
    assert_eq!(checked["diagnostics"].as_array().unwrap().len(), 2);
    let s3 = json!({"pipeline": PIPELINE, "vars": {"out": "s3://bucket/out"}});
    let checked = server.post("/v1/pipelines:check", &[], &s3).await.json();
    assert!(checked["diagnostics"].as_array().unwrap().iter().all(|d| d["severity"] == "warning"), "{checked}");
}

#[tokio::test]
async fn what_is_too_much_is_refused() {
    let server = start(Auth::open()).await;
    for (body, status) in [
        (json!({"spec": {"pipeline": PIPELINE}, "request_id": "x".repeat(129)}), 400),
        (json!({"spec": {"pipeline": PIPELINE}, "request_id": ""}), 400),
        (json!({"spec": {"pipeline": PIPELINE, "timeout_seconds": 0}}), 400),
        (json!({"spec": {"pipeline": ""}}), 400),
        (json!({"spec": {"pipelin": PIPELINE}}), 400),
        (json!({"spec": {"pipeline": "#".repeat((1 << 20) + 1)}}), 422),
        (json!({"spec": {"pipeline": "#".repeat(5 << 20)}}), 400),
    ] {
        let answer = server.post("/v1/runs", &[], &body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    let large = v1::CreateRunRequest { spec: Some(spec(&"#".repeat(5 << 20))), ..v1::CreateRunRequest::default() };
    let refused = server.runs().await.create_run(large).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
}
