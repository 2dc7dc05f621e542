//! What else is served: lists, logs, reports, plans, health, reflection and the OpenAPI document.

use crate::server::{PIPELINE, Server, start};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use strata_coordinator::api::Auth;
use strata_proto::v1;
use strata_store::RunState;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

#[tokio::test]
async fn lists_go_page_by_page() {
    let server = start(Auth::open()).await;
    let mut made = BTreeSet::new();
    for i in 0..5 {
        made.insert(server.created(&format!("k{i}")).await);
    }
    let begun = made.first().unwrap();
    server.append(begun, "started", Some(RunState::Running), true).await;
    let mut seen = vec![];
    let mut path = "/v1/runs?page_size=2&pipeline=shop".to_owned();
    loop {
        let page = server.get(&path, &[]).await.json();
        seen.extend(page["runs"].as_array().unwrap().iter().map(|r| r["run_id"].as_str().unwrap().to_owned()));
        match page["next_page_token"].as_str() {
            Some(token) => path = format!("/v1/runs?page_size=2&pipeline=shop&page_token={token}"),
            None => break,
        }
    }
    assert_eq!((seen.len(), seen.iter().cloned().collect::<BTreeSet<_>>()), (5, made.clone()));
    let running = server.get("/v1/runs?state=running,CANCELLING", &[]).await.json();
    assert_eq!(running["runs"].as_array().unwrap().len(), 1);
    let request =
        v1::ListRunsRequest { states: vec![v1::RunState::Queued.into()], oldest_first: true, ..v1::ListRunsRequest::default() };
    assert_eq!(server.runs().await.list_runs(request).await.unwrap().into_inner().runs.len(), 4);
    for wrong in ["state=DONE", "page_size=1001", "order_by=name", "colour=red", "page_size=x"] {
        assert_eq!(server.get(&format!("/v1/runs?{wrong}"), &[]).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = start(Auth::open()).await;
    for path in ["/v1/runs/none", "/v1/runs/none:wait", "/v1/runs/none/logs", "/v1/runs/none/report", "/v1/codes/S9999", "/v1/x"]
    {
        let answer = server.get(path, &[]).await;
        assert_eq!((answer.status, answer.json()["type"].as_str()), (404, Some("urn:strata:problem:not-found")), "{path}");
    }
    assert_eq!(server.get("/v1/runs/none:start", &[]).await.status, 404);
    assert_eq!(server.call("DELETE", "/v1/runs", &[], String::new()).await.status, 405);
    let get = v1::GetRunRequest { run_id: "none".into() };
    assert_eq!(server.runs().await.get_run(get).await.unwrap_err().code(), Code::NotFound);
    let cancel = v1::CancelRunRequest { run_id: "none".into(), ..v1::CancelRunRequest::default() };
    assert_eq!(server.runs().await.cancel_run(cancel).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn logs_and_reports_are_handed_on() {
    let server = start(Auth::open()).await;
    let id = server.created("k").await;
    let none = server.get(&format!("/v1/runs/{id}/report"), &[]).await;
    assert!(none.status == 404 && none.json()["detail"].as_str().unwrap().contains("no report yet"));
    server.append(&id, "started", Some(RunState::Running), true).await;
    let report = json!({"format": 1, "run_id": id, "sources": [], "seconds": 1.5, "rows": 9_007_199_254_740_993_u64});
    server.report(&id, report.clone()).await;
    assert_eq!(server.get(&format!("/v1/runs/{id}/report"), &[]).await.json(), report);
    let sent = server.runs().await.get_report(v1::GetReportRequest { run_id: id.clone() }).await.unwrap().into_inner();
    assert_eq!(serde_json::from_str::<Value>(&sent.report_json).unwrap(), report);
    let lines: Vec<(String, String)> = (0..3).map(|i| ("info".to_owned(), format!("line {i}"))).collect();
    server.hub.store.log(&id, &lines).await.unwrap();
    let page = server.get(&format!("/v1/runs/{id}/logs?after_seq=1&page_size=1"), &[]).await.json();
    assert_eq!(page["lines"].as_array().unwrap().iter().map(|l| l["message"].as_str().unwrap()).collect::<Vec<_>>(), ["line 1"]);
    let request = v1::ListLogsRequest { run_id: id, after_seq: 0, page_size: 0 };
    assert_eq!(server.runs().await.list_logs(request).await.unwrap().into_inner().lines.len(), 3);
}

#[tokio::test]
async fn pipelines_are_explained() {
    let server = start(Auth::open()).await;
    let page = server.get("/v1/codes/s0302", &[]).await.json();
    assert!(page["code"] == "S0302" && page["page"].as_str().unwrap().len() > 50);
    // A plan needs the files.
    let spec = v1::PipelineSpec { pipeline: PIPELINE.replace("name: shop", "nam: shop"), ..v1::PipelineSpec::default() };
    let refused = server.plans().await.plan_pipeline(v1::PlanPipelineRequest { spec: Some(spec) }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let explained = server.plans().await.explain_code(v1::ExplainCodeRequest { code: "S0302".into() }).await.unwrap();
    assert_eq!(explained.into_inner().page, page["page"].as_str().unwrap());
}

#[tokio::test]
async fn health_says_whether_runs_would_be_worked_on() {
    let server = start(Auth::open()).await;
    let mut health = HealthClient::new(server.channel().await);
    let asked = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let serving = health.check(asked("strata.v1.RunService")).await.unwrap().into_inner();
    assert_eq!(serving.status(), ServingStatus::Serving);
    server.ready.store(false, Ordering::Relaxed);
    assert_eq!(health.check(asked("")).await.unwrap().into_inner().status(), ServingStatus::NotServing);
    assert_eq!(health.check(asked("other")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!((server.get("/healthz", &[]).await.status, server.get("/readyz", &[]).await.status), (200, 503));
    let mut watched = health.watch(asked("")).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    server.ready.store(true, Ordering::Relaxed);
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
}

#[tokio::test]
async fn reflection_describes_the_services() {
    let server = start(Auth::open()).await;
    let mut client = ServerReflectionClient::new(server.channel().await);
    let asked = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let requests = futures::stream::iter([
        asked(MessageRequest::ListServices(String::new())),
        asked(MessageRequest::FileContainingSymbol("strata.v1.RunService".into())),
    ]);
    let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response else {
        panic!("no list of services");
    };
    let names: BTreeSet<String> = list.service.into_iter().map(|s| s.name).collect();
    for name in ["strata.v1.RunService", "strata.v1.PlanService", "grpc.health.v1.Health"] {
        assert!(names.contains(name), "{names:?}");
    }
    let described = answers.message().await.unwrap().unwrap().message_response;
    assert!(matches!(described, Some(MessageResponse::FileDescriptorResponse(_))), "{described:?}");
}

/// Every route there is, as the document should list it.
const ROUTES: [(&str, &str); 13] = [
    ("post", "/v1/runs"),
    ("get", "/v1/runs"),
    ("get", "/v1/runs:lookup"),
    ("get", "/v1/runs/{run_id}"),
    ("get", "/v1/runs/{run_id}:wait"),
    ("get", "/v1/runs/{run_id}:watch"),
    ("post", "/v1/runs/{run_id}:cancel"),
    ("post", "/v1/runs/{run_id}:resume"),
    ("get", "/v1/runs/{run_id}/logs"),
    ("get", "/v1/runs/{run_id}/report"),
    ("post", "/v1/pipelines:check"),
    ("post", "/v1/pipelines:plan"),
    ("get", "/v1/codes/{code}"),
];

#[tokio::test]
async fn the_document_lists_every_route_and_every_route_is_served() {
    let server = start(Auth::open()).await;
    let id = server.created("k").await;
    let document = server.get("/v1/openapi.json", &[]).await.json();
    let listed: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(move |m| (m.clone(), path.clone())))
        .collect();
    let expected: BTreeSet<(String, String)> = ROUTES.iter().map(|(m, p)| ((*m).to_owned(), (*p).to_owned())).collect();
    assert_eq!(listed, expected);
    for (method, path) in ROUTES.iter().filter(|(_, p)| !p.ends_with(":watch") && !p.ends_with(":wait")) {
        assert_ne!(served(&server, method, &path.replace("{run_id}", &id)).await, 405, "{method} {path}");
    }
    every_reference_is_defined(&document, &document);
}

async fn served(server: &Server, method: &str, path: &str) -> u16 {
    server.call(&method.to_uppercase(), path, &[], String::new()).await.status
}

fn every_reference_is_defined(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let pointer = reference.trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{reference} is not defined");
            }
            fields.values().for_each(|v| every_reference_is_defined(document, v));
        }
        Value::Array(items) => items.iter().for_each(|v| every_reference_is_defined(document, v)),
        _ => {}
    }
}
