//! Many runs, many steps, and hostile clocks on a cluster. Never mocks a process.

mod bytes;
mod clocks;
mod leftovers;
mod parity;
mod queue;
mod steps;
mod takeover;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use strata_testkit::cluster::LocalCluster;
use strata_testkit::s3::S3Server;

/// What a coordinator may have resident at most, whatever it works on.
const COORDINATOR_BYTES_MAX: u64 = 500_000_000;

/// Waits for a condition; fails with what everybody said.
fn until(cluster: &LocalCluster, what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < patience, "{what} did not happen within {patience:?}\n{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The body of an answer of the run API, which must be good.
fn got(cluster: &LocalCluster, path: &str) -> Value {
    let answer = cluster.get(path).unwrap_or_else(|| panic!("{path}: no answer\n{}", cluster.logs()));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer}"));
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    serde_json::from_str(body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
}

fn run_of(cluster: &LocalCluster, run: &str) -> Value {
    got(cluster, &format!("/v1/runs/{run}"))
}

/// Posts JSON to the run API; gives the body of the answer, which must be good.
fn posted(cluster: &LocalCluster, path: &str, body: &Value) -> Value {
    let (host, body) = (cluster.url().trim_start_matches("http://").to_owned(), body.to_string());
    let mut stream = std::net::TcpStream::connect(&host).unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n");
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer}"));
    assert!(head.starts_with("HTTP/1.1 20"), "{path}: {answer}");
    serde_json::from_str(body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
}

/// Runs a command of the binary that must succeed; gives what it wrote as JSON.
fn json(cluster: &LocalCluster, arguments: &[&str]) -> Value {
    let mut command = cluster.command();
    command.args(arguments).args(["--to", &cluster.url(), "--output", "json"]);
    crate::cluster::done(cluster, command)
}

/// The id of a run that was started without waiting.
fn detached(cluster: &LocalCluster, mut command: Command) -> String {
    command.arg("--detach");
    let accepted = crate::cluster::done(cluster, command);
    accepted["run_id"].as_str().unwrap_or_else(|| panic!("{accepted}")).to_owned()
}

/// Waits for the end of a run, whatever it is.
fn end_of(cluster: &LocalCluster, run: &str, patience: Duration) -> Value {
    let mut last = Value::Null;
    until(cluster, &format!("the end of run {run}"), patience, || {
        last = run_of(cluster, run);
        last["ended_at"].is_string()
    });
    last
}

/// The bytes of a file of a table, wherever it is.
fn read(server: Option<&S3Server>, path: &str) -> Option<Vec<u8>> {
    match (path.strip_prefix("s3://lake/"), server) {
        (Some(key), Some(server)) => server.get("lake", key),
        _ => std::fs::read(path).ok(),
    }
}

/// Rows and order-free content of each output of a report, wherever the tables are.
fn contents_at(server: &S3Server, report: &Value) -> BTreeMap<String, String> {
    let one = |o: &Value| {
        let path = format!("{}/_manifest.json", o["path"].as_str().unwrap());
        let manifest = read(Some(server), &path).unwrap_or_else(|| panic!("{path} is not there"));
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        (o["name"].as_str().unwrap().to_owned(), format!("{} rows {}", manifest["rows"], manifest["content"]))
    };
    report["outputs"].as_array().unwrap_or_else(|| panic!("{report}")).iter().map(one).collect()
}

/// Checks that a table on this machine was published once, by `run`, and that its folder holds the files of its manifest and no
/// other.
fn published_once(table: &Path, run: &str) {
    let pointers: Vec<_> = std::fs::read_dir(table.join("_pointer")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(pointers.len(), 1, "{} has several versions: {pointers:?}", table.display());
    let version: Value = serde_json::from_slice(&std::fs::read(&pointers[0]).unwrap()).unwrap();
    assert_eq!(version["run_id"], run, "{}", table.display());
    only_listed(&table.join("runs").join(run));
}

/// Checks that the folder of a published run holds the files of its manifest and no other.
fn only_listed(folder: &Path) {
    let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("_manifest.json")).unwrap()).unwrap();
    let listed = manifest["files"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap().to_owned());
    let listed: BTreeSet<String> = listed.chain(["_manifest.json", "_SUCCESS"].map(str::to_owned)).collect();
    let there: BTreeSet<String> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, listed, "{}", folder.display());
}
