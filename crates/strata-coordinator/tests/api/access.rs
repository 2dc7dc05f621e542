//! Who may call what, and that a token is never said again.

use crate::server::{Server, by, create, start};
use serde_json::json;
use strata_coordinator::api::Auth;
use strata_coordinator::api::auth::digest_hex;
use strata_proto::v1;
use tonic::Code;

const TOKENS: [(&str, &str, &str); 3] =
    [("ann", "viewer", "canary-viewer-81f2"), ("bot", "runner", "canary-runner-93c0"), ("eve", "admin", "canary-admin-5d7e")];

async fn guarded() -> Server {
    let lines: Vec<String> = TOKENS.iter().map(|(name, role, token)| format!("{name} {role} {}", digest_hex(token))).collect();
    start(Auth::parse(&lines.join("\n")).unwrap()).await
}

/// Every call over HTTP: method, path, body, and whether it needs the role `runner`.
fn calls(run_id: &str) -> Vec<(&'static str, String, serde_json::Value, bool)> {
    let run = |below: &str| format!("/v1/runs/{run_id}{below}");
    let pipeline = json!({"pipeline": crate::server::PIPELINE});
    vec![
        ("GET", "/v1/runs".into(), json!({}), false),
        ("GET", run(""), json!({}), false),
        ("GET", run(":wait?timeout_seconds=0"), json!({}), false),
        ("GET", run("/logs"), json!({}), false),
        ("GET", run("/report"), json!({}), false),
        ("GET", "/v1/runs:lookup?pipeline=shop&request_id=k".into(), json!({}), false),
        ("GET", "/v1/codes/S0302".into(), json!({}), false),
        ("POST", "/v1/pipelines:check".into(), pipeline.clone(), true),
        ("POST", "/v1/pipelines:plan".into(), pipeline.clone(), true),
        ("POST", "/v1/runs".into(), json!({"spec": pipeline, "validate_only": true}), true),
        ("POST", run(":cancel"), json!({}), true),
        ("POST", run(":resume"), json!({}), true),
    ]
}

#[tokio::test]
async fn every_call_needs_its_role() {
    let server = guarded().await;
    let created = server.runs().await.create_run(by(TOKENS[1].2, create("k"))).await.unwrap().into_inner().run.unwrap();
    assert_eq!(created.created_by, "bot");
    for (method, path, body, needs_runner) in calls(&created.run_id) {
        for (name, role, token) in TOKENS {
            let bearer = format!("Bearer {token}");
            let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
            let answer = server.call(method, &path, &headers, body.to_string()).await;
            let refused = needs_runner && role == "viewer";
            assert_eq!(answer.status == 403, refused, "{name} {method} {path}: {} {}", answer.status, answer.body);
            assert_ne!(answer.status, 401);
            TOKENS.iter().for_each(|(_, _, secret)| assert!(!answer.body.contains(secret) && !answer.head.contains(secret)));
        }
        for wrong in [None, Some("Bearer canary-none-77aa"), Some("Basic Y2FuYXJ5"), Some("Bearer ")] {
            let mut headers = vec![("content-type", "application/json")];
            headers.extend(wrong.map(|w| ("authorization", w)));
            let answer = server.call(method, &path, &headers, body.to_string()).await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert!(answer.head.to_lowercase().contains("www-authenticate: bearer"));
            assert!(!format!("{}{}", answer.head, answer.body).contains("canary"), "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn the_same_over_grpc() {
    let server = guarded().await;
    let mut runs = server.runs().await;
    let id = runs.create_run(by(TOKENS[1].2, create("k"))).await.unwrap().into_inner().run.unwrap().run_id;
    let viewer = TOKENS[0].2;
    let get = || v1::GetRunRequest { run_id: id.clone() };
    let watch = || v1::WatchRunRequest { run_id: id.clone(), after_seq: 0 };
    let cancel = || v1::CancelRunRequest { run_id: id.clone(), reason: String::new() };
    runs.get_run(by(viewer, get())).await.unwrap();
    runs.watch_run(by(viewer, watch())).await.unwrap();
    assert_eq!(runs.cancel_run(by(viewer, cancel())).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(runs.create_run(by(viewer, create("l"))).await.unwrap_err().code(), Code::PermissionDenied);
    let refused = server.plans().await.check_pipeline(by(viewer, v1::CheckPipelineRequest::default())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    for refused in [
        runs.get_run(get()).await.unwrap_err(),
        runs.get_run(by("canary-none-77aa", get())).await.unwrap_err(),
        runs.watch_run(watch()).await.unwrap_err(),
        runs.cancel_run(by("canary-none-77aa", cancel())).await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert!(!format!("{refused:?}").contains("canary"), "{refused:?}");
    }
    let stopped = runs.cancel_run(by(TOKENS[2].2, cancel())).await.unwrap().into_inner().run.unwrap();
    assert_eq!(stopped.cancel_reason, "asked by `eve`");
    // Nothing that is kept knows a token.
    let kept = format!(
        "{:?}{:?}{:?}",
        server.hub.store.get(&id).await.unwrap(),
        server.hub.store.events(&id, 0, 100).await.unwrap(),
        server.hub.store.logs(&id, 0, 100).await.unwrap()
    );
    TOKENS.iter().for_each(|(_, _, secret)| assert!(!kept.contains(secret)));
}

#[tokio::test]
async fn health_and_documentation_need_no_token() {
    let server = guarded().await;
    for path in ["/healthz", "/readyz", "/v1/openapi.json"] {
        assert_eq!(server.get(path, &[]).await.status, 200, "{path}");
    }
    assert_eq!(server.get("/v1/nothing", &[]).await.status, 401);
}

#[tokio::test]
async fn without_tokens_pages_of_other_sites_are_refused() {
    let server = start(Auth::open()).await;
    let id = server.created("k").await;
    let path = format!("/v1/runs/{id}:cancel");
    let foreign = server.call("POST", &path, &[("origin", "https://evil.example")], String::new()).await;
    let renamed = server.call("POST", &path, &[("host", "evil.example:80")], String::new()).await;
    assert_eq!((foreign.status, renamed.status), (403, 403));
    assert_eq!(server.call("POST", &path, &[], String::new()).await.status, 200);
}
