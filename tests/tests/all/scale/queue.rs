//! Fifty runs queued at once. Never waits for one before it asks for the next.

use super::{COORDINATOR_BYTES_MAX, end_of, got, json, only_listed, posted, run_of, until};
use crate::cluster::contents;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use strata_testkit::cluster::{ClusterSpec, LocalCluster, peak_bytes};
use strata_testkit::{RunSpec, case_folders, content_of, repository, run_pipeline};

const PATIENCE: Duration = Duration::from_secs(240);

/// Two people with one id, which the roster may not have.
const BROKEN: &str = r#"version: 1
name: broken
as_of: 2026-02-01T00:00:00Z
vars: {data: ., out: ./out}
sources:
  people: {csv: "${vars.data}/people.csv", mode: mutable, key: id, columns: {id: int!, n: int!}}
tables:
  sums:
    key: id
    sql: select id, sum(n) as n from people group by id
entities:
  person: {from: people, key: id}
attributes:
  person:
    - from: sums
      columns: {n: total(n)}
outputs:
  people: {to: "${vars.out}/{name}", format: csv, select: person.attributes}
"#;

/// A pipeline that runs are asked for of.
struct Kind {
    text: String,
    data: PathBuf,
    out: PathBuf,
    /// What one process makes of it; `None` for one that fails.
    wanted: Option<BTreeMap<String, String>>,
}

/// A run that was asked for.
struct Asked {
    kind: usize,
    run: String,
    is_cancelled: bool,
}

fn kinds(work: &Path) -> Vec<Kind> {
    let cases = case_folders(&repository().join("tests/cases"));
    let mut out: Vec<Kind> = cases
        .iter()
        .filter(|c| c.join("expected").is_dir())
        .map(|case| {
            let name = case.file_name().unwrap().to_string_lossy().into_owned();
            let alone = run_pipeline(&RunSpec::new(case, case, &work.join(format!("{name}-here")))).unwrap();
            Kind {
                text: std::fs::read_to_string(case.join("pipeline.yaml")).unwrap(),
                data: case.clone(),
                out: work.join(format!("{name}-out")),
                wanted: Some(content_of(&alone)),
            }
        })
        .collect();
    std::fs::write(work.join("people.csv"), "id,n\n1,1\n1,2\n").unwrap();
    out.push(Kind { text: BROKEN.into(), data: work.to_owned(), out: work.join("broken-out"), wanted: None });
    out
}

fn ask(cluster: &LocalCluster, kind: &Kind) -> String {
    let vars = json!({"data": kind.data, "out": kind.out});
    let created = posted(cluster, "/v1/runs", &json!({"spec": {"pipeline": kind.text, "vars": vars}}));
    created["run"]["run_id"].as_str().unwrap_or_else(|| panic!("{created}")).to_owned()
}

/// 50 runs: 42 of the cases in turn, 4 among them that fail, and 4 at the end of a queue that are called off.
fn ask_for_fifty(cluster: &LocalCluster, kinds: &[Kind]) -> Vec<Asked> {
    let (cases, mut turns) = (kinds.len() - 1, (0..kinds.len() - 1).cycle());
    let mut out = vec![];
    for i in 0..46 {
        let kind = if i % 12 == 5 { cases } else { turns.next().unwrap() };
        out.push(Asked { kind, run: ask(cluster, &kinds[kind]), is_cancelled: false });
    }
    for _ in 0..4 {
        let run = ask(cluster, &kinds[0]);
        let said = posted(cluster, &format!("/v1/runs/{run}:cancel"), &json!({"reason": "called off"}));
        assert_eq!((said["state"].as_str(), said["attempt"].as_u64()), (Some("CANCELLED"), Some(0)), "{said}");
        out.push(Asked { kind: 0, run, is_cancelled: true });
    }
    out
}

fn in_state(cluster: &LocalCluster, state: &str) -> usize {
    json(cluster, &["runs", "list", "--state", state, "--limit", "100"]).as_array().unwrap().len()
}

#[test]
fn fifty_runs_queued_at_once_all_end_in_order_and_none_is_lost() {
    let work = tempfile::tempdir().unwrap();
    let kinds = kinds(work.path());
    let mut cluster = LocalCluster::start(&work.path().join("cluster"), ClusterSpec { workers: 2, ..Default::default() });
    let asked = ask_for_fifty(&cluster, &kinds);
    assert_eq!(asked.len(), 50);
    let waiting = in_state(&cluster, "queued");
    assert!(waiting >= 25, "only {waiting} runs wait: they were not queued at once");
    // Half-way the coordinator is killed: what is queued is the store's, not a process's.
    until(&cluster, "the end of ten runs", PATIENCE, || in_state(&cluster, "succeeded") >= 10);
    let mut peak = peak_bytes(cluster.coordinator_pid());
    cluster.kill_coordinator();
    cluster.start_coordinator();
    let ended: Vec<Value> = asked.iter().map(|a| end_of(&cluster, &a.run, PATIENCE)).collect();
    peak = peak.max(peak_bytes(cluster.coordinator_pid()));
    println!("{waiting} runs waited at a time; the coordinator had at most {} MB resident", peak / 1_000_000);
    assert!(peak < COORDINATOR_BYTES_MAX, "the coordinator had {peak} bytes resident");

    let known = json(&cluster, &["runs", "list", "--limit", "100"]);
    let known: BTreeSet<&str> = known.as_array().unwrap().iter().map(|r| r["run_id"].as_str().unwrap()).collect();
    assert_eq!(known, asked.iter().map(|a| a.run.as_str()).collect::<BTreeSet<_>>());
    for (asked, run) in asked.iter().zip(&ended) {
        check_end(&cluster, &kinds[asked.kind], asked, run);
    }
    // At most the four runs at work were begun a second time.
    let attempts: u64 = ended.iter().map(|r| r["attempt"].as_u64().unwrap()).sum();
    assert!((46..=50).contains(&attempts), "{attempts} attempts");
    for (i, kind) in kinds.iter().enumerate() {
        let of = |a: &&(&Asked, &Value)| a.0.kind == i && !a.0.is_cancelled;
        let runs: Vec<(&Asked, &Value)> = asked.iter().zip(&ended).filter(|pair| of(&pair)).collect();
        check_order(kind, &runs);
    }
}

fn check_end(cluster: &LocalCluster, kind: &Kind, asked: &Asked, run: &Value) {
    let outcome = |run: &Value| (run["outcome"]["class"].as_str().map(str::to_owned), run["outcome"]["exit_code"].as_u64());
    match (&kind.wanted, asked.is_cancelled) {
        (_, true) => {
            assert_eq!((run["state"].as_str(), outcome(run)), (Some("CANCELLED"), (Some("USER".into()), Some(130))), "{run}");
            assert!(run["started_at"].is_null(), "{run}");
        }
        (None, _) => {
            assert_eq!(run["state"], "FAILED", "{run}");
            assert_eq!(outcome(run), (Some("DATA_CHECK".into()), Some(3)), "{run}");
        }
        (Some(wanted), _) => {
            assert_eq!((run["state"].as_str(), outcome(run)), (Some("SUCCEEDED"), (None, Some(0))), "{run}");
            let report = got(cluster, &format!("/v1/runs/{}/report", asked.run));
            assert_eq!(&contents(&report), wanted, "{run}");
        }
    }
    assert_eq!(run_of(cluster, &asked.run)["event_seq"], run["event_seq"], "something happened after the end");
}

/// One pipeline's runs come one after the other, as they were asked for, and so do the versions of its tables.
fn check_order(kind: &Kind, runs: &[(&Asked, &Value)]) {
    let time = |run: &Value, name: &str| run[name].as_str().unwrap_or_else(|| panic!("no {name}: {run}")).to_owned();
    for pair in runs.windows(2) {
        assert!(time(pair[0].1, "ended_at") <= time(pair[1].1, "started_at"), "{} and {}", pair[0].1, pair[1].1);
    }
    let wanted: Vec<&str> = runs.iter().map(|(a, _)| a.run.as_str()).collect();
    for table in kind.wanted.iter().flatten().map(|(name, _)| kind.out.join(name)) {
        let log = std::fs::read_dir(table.join("_pointer")).unwrap();
        let mut entries: Vec<PathBuf> = log.map(|e| e.unwrap().path()).collect();
        entries.sort();
        let versions: Vec<Value> = entries.iter().map(|e| serde_json::from_slice(&std::fs::read(e).unwrap()).unwrap()).collect();
        let versions: Vec<&str> = versions.iter().map(|v| v["run_id"].as_str().unwrap()).collect();
        assert_eq!(versions, wanted, "{}", table.display());
        versions.iter().for_each(|run| only_listed(&table.join("runs").join(run)));
    }
    if kind.wanted.is_none() {
        assert!(!kind.out.join("people/_pointer").exists(), "a run that failed published its table");
    }
}
