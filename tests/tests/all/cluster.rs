//! The same pipelines on a cluster of real processes: the same tables as in one process, and nothing lost when processes are killed. Never
//! mocks a worker, a coordinator or a store.

use crate::faults::{Draw, wait_until};
use crate::takeover::succeeded;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use strata_demo::{Size, generate};
use strata_testkit::cluster::{ClusterSpec, LocalCluster};
use strata_testkit::{RunSpec, case_folders, content_of, repository, run_pipeline};

pub(crate) const AS_OF: &str = "2026-01-01T00:00:00Z";

/// The report of a run that was waited for. Fails with what everybody said.
pub(crate) fn done(cluster: &LocalCluster, mut command: Command) -> Value {
    let out = command.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "exit {:?}\n{text}\n{}\n{}",
        out.status.code(),
        String::from_utf8_lossy(&out.stderr),
        cluster.logs()
    );
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Rows and order-free content of each output of a report.
pub(crate) fn contents(report: &Value) -> BTreeMap<String, String> {
    let one = |o: &Value| {
        let manifest = std::fs::read_to_string(Path::new(o["path"].as_str().unwrap()).join("_manifest.json")).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        (o["name"].as_str().unwrap().to_owned(), format!("{} rows {}", manifest["rows"], manifest["content"]))
    };
    report["outputs"].as_array().unwrap_or_else(|| panic!("{report}")).iter().map(one).collect()
}

pub(crate) fn vars(data: &Path, out: &Path) -> Vec<(&'static str, String)> {
    vec![("data", data.display().to_string()), ("out", out.display().to_string())]
}

pub(crate) struct C360 {
    pub(crate) pipeline: PathBuf,
    pub(crate) data: PathBuf,
    /// What one process makes of it.
    pub(crate) wanted: BTreeMap<String, String>,
}

pub(crate) fn c360(work: &Path, customers: u32) -> C360 {
    let (pipeline, data) = (repository().join("pipelines/c360"), work.join("data"));
    generate(&data, &Size { customers, ..Size::default() }, 23).unwrap();
    let spec = RunSpec::new(&pipeline, &data, &work.join("one-process")).as_of(AS_OF);
    let wanted = content_of(&run_pipeline(&spec).unwrap());
    assert_eq!(wanted.len(), 4);
    C360 { pipeline, data, wanted }
}

pub(crate) fn start(cluster: &LocalCluster, c360: &C360, out: &Path, more: &[&str]) -> Child {
    let mut command = cluster.run(&c360.pipeline, &vars(&c360.data, out), &["--as-of", AS_OF, "--output", "json"]);
    command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub(crate) fn ended(cluster: &LocalCluster, child: Child) -> Value {
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "exit {:?}\n{said}\n{}", out.status.code(), cluster.logs());
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {said}"))
}

#[test]
fn cases_and_pipelines_give_the_same_tables_on_one_worker_and_on_three() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 1500);
    for workers in [1, 3] {
        let cluster =
            LocalCluster::start(&work.path().join(format!("cluster-{workers}")), ClusterSpec { workers, ..Default::default() });
        let mut ran = 0;
        for case in case_folders(&repository().join("tests/cases")).iter().filter(|c| c.join("expected").is_dir()) {
            let name = case.file_name().unwrap().to_string_lossy().into_owned();
            let out = work.path().join(format!("{name}-{workers}"));
            let here = work.path().join(format!("{name}-{workers}-here"));
            let alone = content_of(&run_pipeline(&RunSpec::new(case, case, &here)).unwrap());
            let report = done(&cluster, cluster.run(case, &vars(case, &out), &["--output", "json"]));
            assert_eq!(contents(&report), alone, "{name} on {workers} workers");
            ran += 1;
        }
        assert!(ran >= 6, "only {ran} cases");
        let out = work.path().join(format!("c360-{workers}"));
        let report = ended(&cluster, start(&cluster, &c360, &out, &[]));
        assert_eq!(contents(&report), c360.wanted, "c360 on {workers} workers");
        let shuffled: u64 = report["steps"].as_array().unwrap().iter().filter_map(|s| s["shuffled_bytes"].as_u64()).sum();
        assert!(shuffled > 100_000, "{shuffled} bytes went through exchanges");
        for source in report["sources"].as_array().unwrap().iter().filter(|s| s["read"] == true) {
            let sum: u64 = ["used", "deduplicated", "quarantined", "filtered", "after_as_of"]
                .iter()
                .filter_map(|k| source[k].as_u64())
                .sum();
            assert_eq!(Some(sum), source["in_files"].as_u64(), "{source}");
        }
    }
}

#[test]
fn three_runs_at_once_end_right_while_a_worker_is_killed_again_and_again() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 3000);
    // One pipeline runs once at a time, so the three have names of their own.
    let text = std::fs::read_to_string(c360.pipeline.join("pipeline.yaml")).unwrap();
    let pipelines: Vec<PathBuf> = (0..3)
        .map(|i| {
            let path = work.path().join(format!("c360_{i}.yaml"));
            std::fs::write(&path, text.replacen("name: c360", &format!("name: c360_{i}"), 1)).unwrap();
            path
        })
        .collect();
    let mut cluster = LocalCluster::start(&work.path().join("cluster"), ClusterSpec { workers: 2, ..Default::default() });
    let rounds = if strata_testkit::setting("STRATA_TEST_LONG").is_some() { 10 } else { 3 };
    for round in 0..rounds {
        let runs: Vec<Child> = (0..3)
            .map(|i| {
                let out = work.path().join(format!("out-{round}-{i}"));
                let mut command = cluster.run(&pipelines[i], &vars(&c360.data, &out), &["--as-of", AS_OF, "--output", "json"]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        std::thread::sleep(Duration::from_millis(700 + 450 * (round % 4)));
        let victim = (round % 2) as usize;
        cluster.kill_worker(victim);
        std::thread::sleep(Duration::from_millis(300));
        cluster.start_worker(victim);
        for run in runs {
            let report = ended(&cluster, run);
            assert_eq!(contents(&report), c360.wanted, "round {round}");
        }
    }
}

#[test]
fn a_killed_coordinator_goes_on_behind_the_last_finished_step() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 3000);
    let mut cluster = LocalCluster::start(&work.path().join("cluster"), ClusterSpec { workers: 2, ..Default::default() });
    let rounds = if strata_testkit::setting("STRATA_TEST_LONG").is_some() { 12 } else { 4 };
    let mut reused = 0;
    for round in 0..rounds {
        let out = work.path().join(format!("out-{round}"));
        let mut command =
            cluster.run(&c360.pipeline, &vars(&c360.data, &out), &["--as-of", AS_OF, "--output", "json", "--detach"]);
        let run = done_line(&mut command);
        // Somewhere behind its first step, and before its end.
        assert!(cluster.watch(&run, 0).filter(|event| event["kind"] == "step_finished").nth(round % 5).is_some());
        cluster.kill_coordinator();
        cluster.start_coordinator();
        let report = succeeded(&cluster, &run);
        assert_eq!(contents(&report), c360.wanted, "round {round}");
        reused += report["steps"].as_array().unwrap().iter().filter(|s| s["reused"] == true).count();
        let versions = std::fs::read_dir(out.join("customer_360/_pointer")).unwrap().count();
        assert_eq!(versions, 1, "one commit");
    }
    assert!(reused > 0, "no step was ever reused, so the test shows nothing");
}

/// Processor time that a process has taken so far, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Whether a process does next to nothing for half a second.
fn idles(pid: u32) -> bool {
    let before = ticks(pid);
    std::thread::sleep(Duration::from_millis(500));
    ticks(pid) - before <= 2
}

#[test]
fn a_cancelled_run_frees_every_slot() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 3000);
    let cluster = LocalCluster::start(&work.path().join("cluster"), ClusterSpec { workers: 2, ..Default::default() });
    let mut draw = Draw(6);
    let times = if strata_testkit::setting("STRATA_TEST_LONG").is_some() { 50 } else { 8 };
    let vars_of = |out: &Path| vars(&c360.data, out);
    // How long a run takes to begin on this machine now, beside whatever else it does.
    let begins = |name: String| {
        let (began, out) = (Instant::now(), work.path().join(name));
        let mut command = cluster.run(&c360.pipeline, &vars_of(&out), &["--as-of", AS_OF, "--output", "json", "--detach"]);
        let run = done_line(&mut command);
        assert!(cluster.watch(&run, 0).any(|event| event["kind"] == "step_started"));
        (began.elapsed(), run)
    };
    let (usual, run) = begins("first".into());
    succeeded(&cluster, &run);
    let mut mid_run = 0;
    for i in 0..times {
        let out = work.path().join(format!("out-{i}"));
        let mut command = cluster.run(&c360.pipeline, &vars_of(&out), &["--as-of", AS_OF, "--output", "json", "--detach"]);
        let run = done_line(&mut command);
        // A whole run takes some 1.5 s.
        std::thread::sleep(Duration::from_millis((draw.next() * 800.0) as u64));
        let cancelled = cluster.command().args(["runs", "cancel", &run, "--to", &cluster.url()]).output().unwrap();
        assert!(cancelled.status.success(), "{}", String::from_utf8_lossy(&cancelled.stderr));
        mid_run += usize::from(!out.join("customer_360/_pointer").exists());
    }
    assert!(mid_run * 2 > times, "only {mid_run} of {times} runs were cancelled before their end");
    let pids = [cluster.worker_pid(0), cluster.worker_pid(1)];
    wait_until("idle workers", Duration::from_secs(10), || pids.into_iter().all(idles));
    let before = pids.map(ticks);
    // A worker whose slot was lost would never have anything to do again. One whose task was told to stop before it had begun is free
    // when that task has failed, some seconds later.
    let worked = || [ticks(pids[0]) - before[0], ticks(pids[1]) - before[1]];
    for i in 0..4 {
        let (took, run) = begins(format!("last-{i}"));
        assert!(
            took < Duration::from_secs(5).max(3 * usual),
            "a run after {times} cancels began after {took:?}, one before them after {usual:?}"
        );
        assert_eq!(contents(&succeeded(&cluster, &run)), c360.wanted);
        if worked().into_iter().all(|ticks| ticks > 10) {
            return;
        }
    }
    panic!("one worker does nothing: {:?}\n{}", worked(), cluster.logs());
}

/// The run id that a detached run prints.
pub(crate) fn done_line(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let value: Value =
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stdout)));
    let run = value["run_id"].as_str().or(value["name"].as_str()).unwrap_or_else(|| panic!("{value}"));
    run.trim_start_matches("runs/").to_owned()
}

#[test]
fn from_s3_with_its_work_on_s3_the_tables_are_the_same() {
    let server = strata_testkit::s3::S3Server::start();
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 1000);
    server.put_folder("lake", "data", &c360.data);
    let spec =
        ClusterSpec { workers: 2, work: Some("s3://lake/work".into()), environment: server.environment(), ..Default::default() };
    let cluster = LocalCluster::start(&work.path().join("cluster"), spec);
    let vars = [("data", "s3://lake/data".to_owned()), ("out", "s3://lake/out".to_owned())];
    let report = done(&cluster, cluster.run(&c360.pipeline, &vars, &["--as-of", AS_OF, "--output", "json"]));
    let mut found = BTreeMap::new();
    for output in report["outputs"].as_array().unwrap() {
        let path = output["path"].as_str().unwrap().strip_prefix("s3://lake/").unwrap();
        let manifest: Value = serde_json::from_slice(&server.get("lake", &format!("{path}/_manifest.json")).unwrap()).unwrap();
        found.insert(output["name"].as_str().unwrap().to_owned(), format!("{} rows {}", manifest["rows"], manifest["content"]));
    }
    assert_eq!(found, c360.wanted);
}

#[test]
fn on_postgresql_a_second_coordinator_takes_over_a_run() {
    let Ok(server) = strata_testkit::postgres::PostgresServer::start() else {
        eprintln!("not run: there is no PostgreSQL server on this machine");
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 3000);
    let shared = work.path().join("work").display().to_string();
    let spec = |workers| ClusterSpec {
        workers,
        store: Some("env:STRATA_STORE".into()),
        work: Some(shared.clone()),
        environment: vec![("STRATA_STORE".into(), server.url().to_string())],
        ..Default::default()
    };
    // Each coordinator has a worker of its own: a worker knows one coordinator.
    let mut first = LocalCluster::start(&work.path().join("first"), spec(1));
    let second = LocalCluster::start(&work.path().join("second"), spec(1));
    let out = work.path().join("out");
    let mut command = first.run(&c360.pipeline, &vars(&c360.data, &out), &["--as-of", AS_OF, "--output", "json", "--detach"]);
    let run = done_line(&mut command);
    std::thread::sleep(Duration::from_millis(1500));
    first.kill_coordinator();
    let mut watch = second.command();
    watch.args(["runs", "watch", &run, "--to", &second.url()]);
    let watched = watch.output().unwrap();
    assert!(watched.status.success(), "{}\n{}", String::from_utf8_lossy(&watched.stderr), second.logs());
    let mut report = second.command();
    report.args(["runs", "report", &run, "--to", &second.url(), "--output", "json"]);
    let report = done(&second, report);
    assert_eq!(contents(&report), c360.wanted);
}
