//! Faults of workers on a cluster, each with what must hold after it. Never mocks a process or a signal.

use crate::cluster::{AS_OF, C360, c360, contents, done, ended, start, vars};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::time::{Duration, Instant};
use strata_testkit::cluster::{ClusterSpec, LocalCluster, signal};
use strata_testkit::fault_proxy::{FaultProxy, Faults, Moment};
use strata_testkit::s3::{S3Server, environment};

/// A worker whose process is gone is known as lost after 2 to 3 s; on a busy machine some more.
const KNOWN_AS_LOST: Duration = Duration::from_secs(5);
/// How long a plan waits for a worker when all are lost.
const GRACE: Duration = Duration::from_secs(10);
/// What the specification allows beyond that.
const ALLOWED: Duration = Duration::from_secs(10);

pub(crate) fn long() -> bool {
    strata_testkit::setting("STRATA_TEST_LONG").is_some()
}

pub(crate) fn cluster(dir: &Path, workers: usize) -> LocalCluster {
    LocalCluster::start(&dir.join("cluster"), ClusterSpec { workers, ..Default::default() })
}

pub(crate) fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout)
}

/// Waits for something that has to happen.
pub(crate) fn wait_until(what: &str, within: Duration, mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Draws below 1. Source: SplitMix64, Steele, Lea & Flood 2014.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Readers take every file of a version's folder: there are those that its manifest lists, whole, and no other.
pub(crate) fn check_folders(report: &Value) {
    for output in report["outputs"].as_array().unwrap() {
        let folder = Path::new(output["path"].as_str().unwrap());
        let manifest: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("_manifest.json")).unwrap()).unwrap();
        let listed: BTreeSet<(String, u64)> = manifest["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| (f["path"].as_str().unwrap().to_owned(), f["bytes"].as_u64().unwrap()))
            .collect();
        let there: BTreeSet<(String, u64)> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap())
            .map(|e| (e.file_name().to_string_lossy().into_owned(), e.metadata().unwrap().len()))
            .filter(|(name, _)| !name.starts_with('_'))
            .collect();
        assert_eq!(there, listed, "{output}");
    }
}

fn check(report: &Value, c360: &C360, when: &str) {
    assert_eq!(contents(report), c360.wanted, "{when}");
    check_folders(report);
}

/// How often a plan was run anew, by the coordinator's log.
fn run_anew(cluster: &LocalCluster) -> usize {
    cluster.coordinator_log().matches("is run again").count()
}

#[test]
fn a_worker_killed_at_any_moment_costs_time_and_nothing_else() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 3000);
    let mut cluster = cluster(work.path(), 2);
    let began = Instant::now();
    check(&ended(&cluster, start(&cluster, &c360, &work.path().join("out"), &[])), &c360, "undisturbed");
    let mut whole = began.elapsed();
    let (wanted, mut killed, mut tried) = (if long() { 20 } else { 5 }, 0, 0);
    let mut draw = Draw(1);
    while killed < wanted && tried < 3 * wanted {
        let (at, victim) = (draw.next(), tried % 2);
        let began = Instant::now();
        let mut run = start(&cluster, &c360, &work.path().join(format!("out-{tried}")), &[]);
        std::thread::sleep(whole.mul_f64(at));
        let after_its_end = run.try_wait().unwrap().is_some();
        cluster.kill_worker(victim);
        let report = ended(&cluster, run);
        check(&report, &c360, &format!("try {tried}: worker {victim} killed at {at:.2} of a run"));
        cluster.start_worker(victim);
        match after_its_end {
            true => whole = whole.min(began.elapsed()),
            false => killed += 1,
        }
        tried += 1;
    }
    println!("{killed} kills during runs, {} after their ends; {} plans were run anew", tried - killed, run_anew(&cluster));
    assert_eq!(killed, wanted, "of {tried} tries");
    assert!(run_anew(&cluster) > 0, "no kill ever hit a plan, so the test shows nothing");
}

/// Plans whose stages this worker has written pieces of, with how many stages.
fn exchanged(cluster: &LocalCluster, worker: usize) -> Vec<(PathBuf, usize)> {
    let Ok(plans) = std::fs::read_dir(cluster.exchange(worker)) else { return vec![] };
    let stages = |plan: &PathBuf| std::fs::read_dir(plan).map_or(0, |stages| stages.flatten().count());
    plans.flatten().map(|plan| plan.path()).map(|plan| (plan.clone(), stages(&plan))).collect()
}

#[test]
fn a_worker_killed_after_it_wrote_its_exchange_has_it_made_again() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 3000);
    let mut cluster = cluster(work.path(), 2);
    for round in 0..if long() { 6 } else { 2 } {
        let (victim, before) = (round % 2, run_anew(&cluster));
        let run = start(&cluster, &c360, &work.path().join(format!("out-{round}")), &[]);
        // A worker has one slot: where pieces of several stages lie, those of the first are whole.
        let written = |cluster: &LocalCluster| exchanged(cluster, victim).iter().any(|(_, stages)| *stages > 2);
        wait_until("pieces of an exchange", Duration::from_secs(60), || written(&cluster));
        cluster.kill_worker(victim);
        check(&ended(&cluster, run), &c360, &format!("round {round}"));
        assert!(run_anew(&cluster) > before, "nothing was made again");
        cluster.start_worker(victim);
    }
}

#[test]
fn when_every_worker_is_killed_the_run_fails_in_time_or_goes_on_when_they_come_back() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 3000);
    let mut cluster = cluster(work.path(), 2);
    let kill_all = |cluster: &mut LocalCluster, out: &str| -> (Child, Instant) {
        let run = start(cluster, &c360, &work.path().join(out), &[]);
        let at_work = |cluster: &LocalCluster| !exchanged(cluster, 0).is_empty() || !exchanged(cluster, 1).is_empty();
        wait_until("a plan at work", Duration::from_secs(60), || at_work(cluster));
        cluster.kill_worker(0);
        cluster.kill_worker(1);
        (run, Instant::now())
    };
    let (run, killed) = kill_all(&mut cluster, "failed");
    let out = run.wait_with_output().unwrap();
    let took = killed.elapsed();
    assert_eq!(out.status.code(), Some(75), "{}\n{}", said(&out), cluster.logs());
    assert!(said(&out).contains("worker"), "{}", said(&out));
    println!("failed after {took:?}");
    assert!(took < KNOWN_AS_LOST + GRACE + ALLOWED, "{took:?}\n{}", cluster.logs());
    for i in 0..2 {
        cluster.start_worker(i);
    }
    cluster.wait_until_ready();

    let (run, _) = kill_all(&mut cluster, "recovered");
    // Long enough that both are known as lost, and within the grace.
    std::thread::sleep(KNOWN_AS_LOST);
    for i in 0..2 {
        cluster.start_worker(i);
    }
    check(&ended(&cluster, run), &c360, "after the workers came back");
}

const PEOPLE: &str = r#"version: 1
name: people
timezone: UTC
as_of: 2026-02-01T00:00:00Z
vars: {data: ., out: ./out}
sources:
  people: {csv: "${vars.data}/people.csv", mode: mutable, key: id, columns: {id: int!, n: int!}}
entities:
  person: {from: people, key: id}
attributes:
  person:
    - from: people
      columns: {all: total(n)}
outputs:
  persons: {to: "${vars.out}/{name}", format: csv, select: person.attributes}
"#;

/// Which worker a connection on this machine is of. None if its process has ended.
fn owner(cluster: &LocalCluster, peer: std::net::SocketAddr) -> Option<usize> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let own = format!(":{:04X}", peer.port());
    let column = |line: &str, i: usize| line.split_whitespace().nth(i).unwrap_or_default().to_owned();
    let line = table.lines().find(|l| column(l, 1).ends_with(&own))?;
    let socket = format!("socket:[{}]", column(line, 9));
    let has = |pid: u32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        files.filter_map(|f| std::fs::read_link(f.path()).ok()).any(|f| f.as_os_str() == socket.as_str())
    };
    (0..2).find(|i| has(cluster.worker_pid(*i)))
}

#[test]
fn a_task_that_kills_every_worker_it_reaches_ends_its_own_run_and_no_other() {
    let (server, work) = (S3Server::start(), tempfile::tempdir().unwrap());
    let c360 = c360(work.path(), 1500);
    let pipeline = work.path().join("people.yaml");
    std::fs::write(&pipeline, PEOPLE).unwrap();
    server.put("lake", "poison/people.csv", b"id,n\n1,1\n2,2\n");
    let proxy = FaultProxy::start(server.port(), Faults::default());
    let spec = ClusterSpec {
        workers: 2,
        environment: server.environment(),
        worker_environment: environment(&proxy.endpoint(), "testkey", "testsecret"),
        ..Default::default()
    };
    let mut cluster = LocalCluster::start(&work.path().join("cluster"), spec);
    let mut held = proxy.hold("GET", "poison/people.csv", Moment::Before);
    let vars = [("data", "s3://lake/poison".to_owned()), ("out", "s3://lake/poisoned".to_owned())];
    let mut poison = cluster.run(&pipeline, &vars, &["--output", "json"]);
    let mut poison = poison.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let (mut killed, mut healthy, began) = (0, 0, Instant::now());
    let mut other = start(&cluster, &c360, &work.path().join("out-0"), &[]);
    while poison.try_wait().unwrap().is_none() {
        // Each loss is seen after 10 s, and a plan that the scheduler forgot to go on with after 30 s; on a busy machine several come together.
        assert!(began.elapsed() < Duration::from_secs(420), "{killed} killed\n{}", cluster.logs());
        if let Ok(peer) = held.recv_timeout(Duration::from_millis(20)) {
            let victim = owner(&cluster, peer);
            victim.into_iter().for_each(|worker| cluster.kill_worker(worker));
            killed += u32::from(victim.is_some());
            held = proxy.hold("GET", "poison/people.csv", Moment::Before);
            victim.into_iter().for_each(|worker| cluster.start_worker(worker));
        }
        if other.try_wait().unwrap().is_some() {
            check(&ended(&cluster, other), &c360, "beside the poison");
            healthy += 1;
            other = start(&cluster, &c360, &work.path().join(format!("out-{healthy}")), &[]);
        }
    }
    let out = poison.wait_with_output().unwrap();
    check(&ended(&cluster, other), &c360, "beside the poison");
    println!("{killed} workers killed in {:?}, {healthy} other runs ended meanwhile", began.elapsed());
    // A try may run two tasks at a time, one a worker, and one more try may fall between the last loss that counts and its being seen.
    assert!((4..=10).contains(&killed), "{killed} {}\n{}", said(&out), cluster.logs());
    assert_eq!(out.status.code(), Some(75), "{}", said(&out));
    let named = ["attributes of person", "people.yaml:", "4 times a worker was lost"];
    assert!(named.iter().all(|n| said(&out).contains(n)), "{}", said(&out));
    // Without the poison, in the same cluster, it ends well.
    drop(held);
    server.put("lake", "sound/people.csv", b"id,n\n1,1\n2,2\n");
    let vars = [("data", "s3://lake/sound".to_owned()), ("out", "s3://lake/sound-out".to_owned())];
    done(&cluster, cluster.run(&pipeline, &vars, &["--output", "json"]));
}

#[test]
fn a_task_that_fails_every_time_names_its_step_and_leaves_workers_and_other_runs_alone() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 1500);
    let (data, poisoned) = (work.path().join("poisoned"), work.path().join("poisoned.yaml"));
    std::fs::rename(&c360.data, &data).unwrap();
    let copied = std::process::Command::new("cp").arg("-r").arg(&data).arg(&c360.data).status().unwrap();
    assert!(copied.success());
    let text = std::fs::read_to_string(c360.pipeline.join("pipeline.yaml")).unwrap();
    std::fs::write(&poisoned, text.replacen("name: c360", "name: poisoned", 1)).unwrap();
    // The header of the first page: it is there, its footer is sound, and it cannot be read.
    let file = data.join("survey_responses.parquet");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4..36].fill(0xff);
    std::fs::write(&file, bytes).unwrap();
    let cluster = cluster(work.path(), 2);
    let before = [cluster.worker_pid(0), cluster.worker_pid(1)];
    let other = start(&cluster, &c360, &work.path().join("out"), &[]);
    let began = Instant::now();
    let mut command = cluster.run(&poisoned, &vars(&data, &work.path().join("never")), &["--as-of", AS_OF, "--output", "json"]);
    let out = command.output().unwrap();
    println!("failed after {:?}", began.elapsed());
    // A file that cannot be read is a matter of the data.
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    assert!(said(&out).contains("attributes of customer") && said(&out).contains("poisoned.yaml:"), "{}", said(&out));
    assert_eq!(run_anew(&cluster), 0, "what fails every time was tried again\n{}", cluster.logs());
    assert!(!work.path().join("never/customer_360/_pointer").exists());
    check(&ended(&cluster, other), &c360, "beside the failing run");
    let alive = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z "));
    assert!(before.into_iter().all(alive), "{}", cluster.logs());
    assert_eq!(before, [cluster.worker_pid(0), cluster.worker_pid(1)]);
}

#[test]
fn a_worker_told_to_stop_hands_its_tasks_over_and_says_so() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 3000);
    let mut cluster = cluster(work.path(), 2);
    for round in 0..if long() { 10 } else { 2 } {
        let victim = round % 2;
        let run = start(&cluster, &c360, &work.path().join(format!("out-{round}")), &[]);
        wait_until("work of the worker", Duration::from_secs(60), || !exchanged(&cluster, victim).is_empty());
        let told = Instant::now();
        signal(cluster.worker_pid(victim), "TERM");
        assert_eq!(cluster.ended_worker(victim), Some(143), "{}", cluster.logs());
        assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
        assert!(!cluster.exchange(victim).exists(), "it left its pieces behind");
        check(&ended(&cluster, run), &c360, &format!("round {round}"));
        cluster.start_worker(victim);
    }
}

#[test]
fn a_worker_outlives_its_coordinator_and_can_be_told_to_stop_at_any_time() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 1500);
    let mut cluster = cluster(work.path(), 2);
    let before = cluster.worker_pid(0);
    cluster.kill_coordinator();
    let log = |i: usize| std::fs::read_to_string(work.path().join(format!("cluster/worker-{i}.log"))).unwrap();
    wait_until("workers that look for their coordinator", Duration::from_secs(60), || {
        (0..2).all(|i| log(i).rsplit_once("starting anew").is_some_and(|(_, after)| after.contains("Failed to connect")))
    });
    signal(cluster.worker_pid(1), "TERM");
    assert_eq!(cluster.ended_worker(1), Some(143), "{}", cluster.logs());
    cluster.start_coordinator();
    cluster.wait_until_ready();
    assert_eq!(cluster.worker_pid(0), before);
    check(&ended(&cluster, start(&cluster, &c360, &work.path().join("out"), &[])), &c360, "after the outage");
}
