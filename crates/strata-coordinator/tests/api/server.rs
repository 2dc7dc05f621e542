//! A coordinator's API on a port of this machine, and callers. Never more than a test needs.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use strata_coordinator::api::{self, Auth};
use strata_coordinator::hub::{Hub, News, What};
use strata_proto::v1;
use strata_proto::v1::plan_service_client::PlanServiceClient;
use strata_proto::v1::run_service_client::RunServiceClient;
use strata_store::{Change, Fence, NewEvent, Outcome, OutcomeClass, RunState, RunStore, SqliteStore};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

/// A pipeline that is right wherever its files are.
pub(crate) const PIPELINE: &str = "\
version: 1
name: shop
vars: {data: /nowhere/data, out: /nowhere/out}
sources:
  customers:
    parquet: \"${vars.data}/customers\"
    mode: mutable
    key: customer_id
    columns: {customer_id: int!, email: {type: string, class: direct_id}, region: string}
entities:
  customer: {from: customers, key: customer_id}
attributes:
  customer:
    - row:
        region: customers.region
outputs:
  defaults: {to: \"${vars.out}/{name}\", format: csv}
  profile: {select: customer.attributes}
";

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Arc<Hub>,
    pub(crate) ready: Arc<AtomicBool>,
    fence: Fence,
}

/// What an HTTP call gave.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

pub(crate) async fn start(auth: Auth) -> Server {
    let store: Arc<dyn RunStore> = Arc::new(SqliteStore::in_memory().unwrap());
    let fence = store.acquire("coordinator", "tests", Duration::from_secs(600)).await.unwrap().unwrap().fence();
    let hub = Arc::new(Hub::new(store));
    let ready = Arc::new(AtomicBool::new(true));
    let said = Arc::clone(&ready);
    let router = api::router(Arc::clone(&hub), Arc::new(auth), move || said.load(Ordering::Relaxed));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Server { address, hub, ready, fence }
}

impl Server {
    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn runs(&self) -> RunServiceClient<Channel> {
        RunServiceClient::new(self.channel().await)
    }

    pub(crate) async fn plans(&self) -> PlanServiceClient<Channel> {
        PlanServiceClient::new(self.channel().await)
    }

    /// A new run's id.
    pub(crate) async fn created(&self, request_id: &str) -> String {
        let response = self.runs().await.create_run(create(request_id)).await.unwrap().into_inner();
        response.run.unwrap().run_id
    }

    /// What the leader does: stores, then tells if it is this coordinator.
    pub(crate) async fn append(&self, run_id: &str, kind: &str, state: Option<RunState>, told: bool) -> u64 {
        let outcome = state.filter(|s| s.is_terminal()).map(|s| match s {
            RunState::Succeeded => Outcome { class: None, exit_code: 0, message: String::new(), retryable: false },
            _ => Outcome {
                class: Some(OutcomeClass::DataCheck),
                exit_code: 3,
                message: "rows do not add up".into(),
                retryable: false,
            },
        });
        let events = vec![NewEvent { kind: kind.into(), body: json!({"of": kind}) }];
        let change = Change { events, state, outcome, ..Change::default() };
        let seq = self.hub.store.append(&self.fence, run_id, change).await.unwrap();
        if told {
            for event in self.hub.store.events(run_id, 0, 10_000).await.unwrap() {
                self.hub.tell(News { run_id: run_id.to_owned(), what: What::Event(event) });
            }
        }
        seq
    }

    /// What the leader does with a report.
    pub(crate) async fn report(&self, run_id: &str, report: Value) {
        let change = Change { report: Some(report), ..Change::default() };
        self.hub.store.append(&self.fence, run_id, change).await.unwrap();
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.call("GET", path, headers, String::new()).await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
        self.call("POST", path, &headers, body.to_string()).await
    }

    /// One HTTP/1.1 call on a connection of its own, every byte read.
    pub(crate) async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let text = request(method, self.address, path, headers, &body);
        let address = self.address;
        let read = move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            String::from_utf8(all).unwrap()
        };
        let all = tokio::task::spawn_blocking(read).await.unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        Answer { status, head: head.to_owned(), body: if chunked { dechunked(body) } else { body.to_owned() } }
    }

    /// Events of an SSE stream until it ends, or until there are `most`: (id, event, data).
    pub(crate) async fn sse(&self, path: &str, headers: &[(&str, &str)], most: usize) -> Vec<(String, String, Value)> {
        let text = request("GET", self.address, path, headers, "");
        let address = self.address;
        let read = move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            let (mut found, mut next) = (vec![], (String::new(), String::new(), Value::Null));
            for line in BufReader::new(stream).lines() {
                let line = line.unwrap();
                if let Some(id) = line.strip_prefix("id: ") {
                    next.0 = id.to_owned();
                } else if let Some(kind) = line.strip_prefix("event: ") {
                    next.1 = kind.to_owned();
                } else if let Some(data) = line.strip_prefix("data: ") {
                    next.2 = serde_json::from_str(data).unwrap();
                } else if line.is_empty() && !next.1.is_empty() {
                    found.push(std::mem::take(&mut next));
                    if found.len() == most {
                        break;
                    }
                }
            }
            found
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }
}

fn request(method: &str, address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let own_host = headers.iter().any(|(name, _)| *name == "host");
    let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !own_host {
        text.push_str(&format!("host: {address}\r\n"));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n" + body
}

fn dechunked(body: &str) -> String {
    let (mut out, mut rest) = (String::new(), body);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        out.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    out
}

/// Asks for the pipeline under a key.
pub(crate) fn create(request_id: &str) -> v1::CreateRunRequest {
    v1::CreateRunRequest { spec: Some(spec(PIPELINE)), request_id: request_id.to_owned(), validate_only: false }
}

pub(crate) fn spec(pipeline: &str) -> v1::RunSpec {
    v1::RunSpec { pipeline: pipeline.to_owned(), file: "shop/pipeline.yaml".to_owned(), ..v1::RunSpec::default() }
}

/// A request that carries a token.
pub(crate) fn by<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}
