//! Clocks two days off, and clocks that jump while a run is at work. Never sets the machine's clock: libfaketime tells each
//! process its own.

use super::{detached, end_of, got, json, run_of, until};
use crate::cluster::{AS_OF, C360, c360, contents, vars};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use strata_testkit::cluster::{ClusterSpec, LocalCluster, signal};
use strata_testkit::python;

const PATIENCE: Duration = Duration::from_secs(90);

/// A cluster whose processes read the time from files.
struct Clocks {
    cluster: LocalCluster,
    coordinator: PathBuf,
    workers: PathBuf,
}

impl Clocks {
    fn start(work: &Path) -> Self {
        let library = library();
        let clock = |name: &str| {
            let file = work.join(format!("{name}.time"));
            std::fs::write(&file, "+0").unwrap();
            let environment = [
                ("LD_PRELOAD", library.clone()),
                ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
                // Read at each look, so that it can jump.
                ("FAKETIME_NO_CACHE", "1".into()),
                // What measures how long something takes goes on as it does on a machine whose clock is set.
                ("DONT_FAKE_MONOTONIC", "1".into()),
            ];
            (file, environment.map(|(k, v)| (k.to_owned(), v)).to_vec())
        };
        let ((coordinator, of_coordinator), (workers, of_workers)) = (clock("coordinator"), clock("workers"));
        let spec = ClusterSpec {
            workers: 2,
            coordinator_environment: of_coordinator,
            worker_environment: of_workers,
            ..Default::default()
        };
        let cluster = LocalCluster::start(&work.join("cluster"), spec);
        for pid in [cluster.coordinator_pid(), cluster.worker_pid(0), cluster.worker_pid(1)] {
            let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
            assert!(maps.contains("libfaketime"), "process {pid} has the machine's clock");
        }
        Self { cluster, coordinator, workers }
    }

    fn set(&self, coordinator: &str, workers: &str) {
        set(&self.coordinator, coordinator);
        set(&self.workers, workers);
    }

    fn asked(&self, c360: &C360, out: &Path, timeout: &str) -> String {
        let more = ["--as-of", AS_OF, "--output", "json", "--timeout", timeout];
        detached(&self.cluster, self.cluster.run(&c360.pipeline, &vars(&c360.data, out), &more))
    }

    /// Waits for a run that must succeed, with the tables and the logical time of one process.
    fn right(&self, c360: &C360, run: &str, what: &str) -> Value {
        let ended = end_of(&self.cluster, run, PATIENCE);
        assert_eq!(ended["state"], "SUCCEEDED", "{what}: {ended}\n{}", self.cluster.logs());
        let report = got(&self.cluster, &format!("/v1/runs/{run}/report"));
        assert_eq!(contents(&report), c360.wanted, "{what}");
        assert_eq!(report["as_of"], "2026-01-01T00:00:00+00:00", "{what}");
        ended
    }
}

/// A process must never read half a file.
fn set(clock: &Path, offset: &str) {
    let part = clock.with_extension("part");
    std::fs::write(&part, offset).unwrap();
    std::fs::rename(&part, clock).unwrap();
}

/// The library that tells a process another time; tests/run.sh installs it beside Python.
pub(super) fn library() -> String {
    let find = "import importlib.util as u; print(u.find_spec('libfaketime').submodule_search_locations[0])";
    let out = Command::new(python()).args(["-c", find]).output().unwrap();
    let folder = String::from_utf8(out.stdout).unwrap();
    let library = Path::new(folder.trim()).join("vendor/libfaketime/src/libfaketime.so.1");
    assert!(library.is_file(), "libfaketime is not installed; run the tests by tests/run.sh");
    library.display().to_string()
}

/// The day of a time of the run API, as seconds since 1970 by GNU date.
fn seconds(at: &str) -> i64 {
    let out = Command::new("date").args(["-u", "-d", at, "+%s"]).output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().parse().unwrap_or_else(|e| panic!("{at}: {e}"))
}

fn days_off(run: &Value) -> f64 {
    let real = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    (seconds(run["created_at"].as_str().unwrap()) - real) as f64 / 86_400.0
}

#[test]
fn clocks_two_days_off_change_no_table_and_no_time_limit() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 1000);
    let clocks = Clocks::start(work.path());
    for (i, (coordinator, workers)) in [("+2d", "+0"), ("-2d", "+0"), ("+0", "+2d"), ("+0", "-2d")].into_iter().enumerate() {
        let what = format!("coordinator {coordinator}, workers {workers}");
        clocks.set(coordinator, workers);
        let run = clocks.asked(&c360, &work.path().join(format!("off-{i}")), "10m");
        let ended = clocks.right(&c360, &run, &what);
        let wanted = match coordinator {
            "+2d" => 2.0,
            "-2d" => -2.0,
            _ => 0.0,
        };
        assert!((days_off(&ended) - wanted).abs() < 0.1, "{what}: {ended}");
    }
    // A jump while a run is at work: the lease that ended by the new clock is taken again, and no time limit has passed.
    for (i, (from, to)) in [("+0", "+2d"), ("+2d", "+0"), ("+0", "-2d")].into_iter().enumerate() {
        clocks.set(from, "+0");
        let run = clocks.asked(&c360, &work.path().join(format!("jump-{i}")), "10m");
        let seen = clocks.cluster.watch(&run, 0).find(|e| e["kind"] == "step_finished");
        clocks.set(to, "+0");
        assert!(seen.is_some(), "the run ended too soon");
        clocks.right(&c360, &run, &format!("a jump from {from} to {to}"));
    }
    a_dead_lease_of_a_later_time_keeps_nobody_waiting(clocks, &c360, work.path());
}

fn a_dead_lease_of_a_later_time_keeps_nobody_waiting(mut clocks: Clocks, c360: &C360, work: &Path) {
    clocks.set("+2d", "+0");
    // Asked and done at the later time, so the lease was renewed there.
    let run = clocks.asked(c360, &work.join("later"), "10m");
    clocks.right(c360, &run, "before the coordinator is killed");
    clocks.cluster.kill_coordinator();
    clocks.set("-2d", "+0");
    clocks.cluster.start_coordinator();
    let run = clocks.asked(c360, &work.join("earlier"), "10m");
    clocks.right(c360, &run, "after the clock was set back by four days");
}

#[test]
fn time_limits_hold_whatever_the_clock_does_and_begin_anew_when_a_run_is_resumed() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 500);
    let clocks = Clocks::start(work.path());
    let cluster = &clocks.cluster;
    // Nothing moves while the workers stand still.
    let workers = [cluster.worker_pid(0), cluster.worker_pid(1)];
    for (i, jump) in ["-2d", "+0"].into_iter().enumerate() {
        workers.iter().for_each(|pid| signal(*pid, "STOP"));
        let run = clocks.asked(&c360, &work.path().join(format!("out-{i}")), "4s");
        until(cluster, "the begin", PATIENCE, || run_of(cluster, &run)["state"] == "RUNNING");
        let began = std::time::Instant::now();
        clocks.set(jump, "+0");
        let ended = end_of(cluster, &run, PATIENCE);
        let took = began.elapsed();
        workers.iter().for_each(|pid| signal(*pid, "CONT"));
        assert_eq!((ended["state"].as_str(), ended["outcome"]["exit_code"].as_u64()), (Some("TIMED_OUT"), Some(124)), "{ended}");
        assert!((Duration::from_secs(3)..Duration::from_secs(30)).contains(&took), "{took:?}: {ended}");
        let resumed = json(cluster, &["runs", "resume", &run]);
        assert_eq!(resumed["state"], "QUEUED", "{resumed}");
        // It needs less than four seconds, unless the machine is busy: then it times out again, and is resumed again.
        let mut last = Value::Null;
        for _ in 0..10 {
            last = end_of(cluster, &run, PATIENCE);
            if last["state"] != "TIMED_OUT" {
                break;
            }
            json(cluster, &["runs", "resume", &run]);
        }
        assert_eq!(last["state"], "SUCCEEDED", "{last}\n{}", cluster.logs());
        let report = got(cluster, &format!("/v1/runs/{run}/report"));
        assert_eq!(contents(&report), c360.wanted);
    }
}
