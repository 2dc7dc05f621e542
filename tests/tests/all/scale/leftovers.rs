//! `strata gc` against real leftovers: it removes those and nothing else. Never asks it about a folder that no process made, but
//! for strangers' own.

use super::{detached, end_of, json, run_of};
use crate::cluster::{AS_OF, C360, c360, contents, done, vars};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use strata_testkit::binary;
use strata_testkit::cluster::{ClusterSpec, LocalCluster, signal};
use strata_testkit::s3::S3Server;

const PATIENCE: Duration = Duration::from_secs(90);

/// Where tables and tables between steps are.
enum Lake {
    Local(PathBuf),
    S3(S3Server),
}

impl Lake {
    fn address(&self, below: &str) -> String {
        match self {
            Self::Local(root) => root.join(below).display().to_string(),
            Self::S3(_) => format!("s3://lake/{below}"),
        }
    }

    fn environment(&self) -> Vec<(String, String)> {
        match self {
            Self::Local(_) => vec![],
            Self::S3(server) => server.environment(),
        }
    }

    /// Every file, by its path below the lake.
    fn files(&self) -> BTreeSet<String> {
        match self {
            Self::Local(root) => {
                let mut out = BTreeSet::new();
                walk(root, root, &mut out);
                out
            }
            Self::S3(server) => server.keys("lake", "").into_iter().collect(),
        }
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        match self {
            Self::Local(root) => {
                std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
                std::fs::write(root.join(path), bytes).unwrap();
            }
            Self::S3(server) => server.put("lake", path, bytes),
        }
    }
}

fn walk(root: &Path, folder: &Path, out: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        match entry.is_dir() {
            true => walk(root, &entry, out),
            false => drop(out.insert(entry.strip_prefix(root).unwrap().display().to_string())),
        }
    }
}

/// A lake, its cluster, and runs that left something in it.
struct Left {
    lake: Lake,
    cluster: LocalCluster,
    c360: C360,
    /// Published.
    good: String,
    /// Cancelled after it had written two of four tables.
    dead: String,
    /// At work, standing still.
    busy: String,
}

impl Left {
    fn make(work: &Path, lake: Lake) -> Self {
        let c360 = c360(work, 500);
        let spec =
            ClusterSpec { workers: 1, work: Some(lake.address("work")), environment: lake.environment(), ..Default::default() };
        let cluster = LocalCluster::start(&work.join("cluster"), spec);
        let out = PathBuf::from(lake.address("out"));
        let ask =
            || detached(&cluster, cluster.run(&c360.pipeline, &vars(&c360.data, &out), &["--as-of", AS_OF, "--output", "json"]));
        let good = ask();
        assert_eq!(end_of(&cluster, &good, PATIENCE)["state"], "SUCCEEDED");
        let written = |run: &str| {
            let seen = cluster.watch(run, 0).filter(|e| e["kind"] == "step_finished").find(is_second_write);
            assert!(seen.is_some(), "run {run} ended too soon\n{}", cluster.logs());
        };
        let dead = ask();
        written(&dead);
        json(&cluster, &["runs", "cancel", &dead]);
        assert_eq!(end_of(&cluster, &dead, PATIENCE)["state"], "CANCELLED");
        let busy = ask();
        written(&busy);
        // Without its worker it stays where it is.
        signal(cluster.worker_pid(0), "STOP");
        assert_eq!(run_of(&cluster, &busy)["state"], "RUNNING");
        Self { lake, cluster, c360, good, dead, busy }
    }

    /// Runs it; gives the addresses it names, below the lake.
    fn gc(&self, environment: &[(&str, String)], more: &[&str]) -> BTreeSet<String> {
        let mut command = self.cluster.command();
        command.envs(environment.iter().map(|(k, v)| (k, v))).arg("gc").arg("--store").arg(self.cluster.dir().join("runs.db"));
        command.args(["--work", &self.lake.address("work")]).args(more);
        let out = command.output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{said}");
        let root = self.lake.address("");
        let below =
            |line: &str| line.strip_prefix(root.as_str()).unwrap_or_else(|| panic!("{line} is not in the lake")).to_owned();
        String::from_utf8(out.stdout).unwrap().lines().map(below).collect()
    }

    /// Files that lie at or below one of these addresses.
    fn files_of(&self, addresses: &BTreeSet<String>) -> BTreeSet<String> {
        let lies = |file: &String| addresses.iter().any(|a| file == a || file.starts_with(&format!("{a}/")));
        self.lake.files().into_iter().filter(lies).collect()
    }

    /// Lets the run that was at work go on: it must end as if nothing had happened.
    fn go_on(&self) {
        signal(self.cluster.worker_pid(0), "CONT");
        let ended = end_of(&self.cluster, &self.busy, PATIENCE);
        assert_eq!(ended["state"], "SUCCEEDED", "{ended}\n{}", self.cluster.logs());
    }
}

/// Two outputs are written, two are not.
fn is_second_write(event: &Value) -> bool {
    event["body"]["step"] == "write customer_segments"
}

/// What the cancelled run left, and a file that a task left beside a published table; strangers' files are put there, too.
fn wanted(left: &Left) -> BTreeSet<String> {
    let (good, dead) = (&left.good, &left.dead);
    let beside = format!("out/customer_360/runs/{good}/part-a1-00000-TID_20zombie.parquet");
    left.lake.put(&beside, b"rows that are in the table already");
    for stranger in [format!("out/customer_360/runs/{good}/notes.txt"), "out/customer_360/runs/by-hand/part-1.parquet".into()] {
        left.lake.put(&stranger, b"not ours");
    }
    left.lake.put("work/somebody-elses/file", b"not ours");
    let written = ["customer_360", "customer_segments"].map(|t| format!("out/{t}/runs/{dead}"));
    // The next may have been begun before the cancel reached it.
    let begun = ["segment_profile", "panel_sample"].map(|t| format!("out/{t}/runs/{dead}"));
    let files = left.lake.files();
    let begun = begun.into_iter().filter(|folder| files.iter().any(|f| f.starts_with(&format!("{folder}/"))));
    written.into_iter().chain(begun).chain([format!("work/{dead}"), beside]).collect()
}

fn removes_what_is_left_and_nothing_else(left: &Left) {
    let wanted = wanted(left);
    let before = left.lake.files();
    let gone = left.files_of(&wanted);
    assert!(wanted.iter().all(|w| gone.iter().any(|f| f.starts_with(w.as_str()))), "{wanted:?} of {before:?}");
    assert!(before.iter().any(|f| f.starts_with(&format!("work/{}/", left.busy))), "{before:?}");

    // Nobody's request is forgotten, and nothing of a run that may be resumed removed, before its time.
    let beside = wanted.iter().filter(|w| w.contains(&left.good)).cloned().collect();
    assert_eq!(left.gc(&[], &["--dry-run"]), beside);
    assert_eq!(left.gc(&[], &["--dry-run", "--keep-days", "0"]), wanted);
    assert_eq!(left.lake.files(), before, "a dry run removed something");
    assert_eq!(run_of(&left.cluster, &left.dead)["state"], "CANCELLED");

    assert_eq!(left.gc(&[], &["--keep-days", "0"]), wanted);
    assert_eq!(left.lake.files(), before.difference(&gone).cloned().collect());
    assert!(left.cluster.get(&format!("/v1/runs/{}", left.dead)).is_some_and(|a| a.starts_with("HTTP/1.1 404")));
    assert_eq!(left.gc(&[], &["--keep-days", "0"]), BTreeSet::new());
}

#[test]
fn gc_removes_what_dead_runs_left_on_this_machine_and_nothing_else() {
    let work = tempfile::tempdir().unwrap();
    let left = Left::make(work.path(), Lake::Local(work.path().join("lake")));
    // A run of a process of its own, killed in the middle: the store has never heard of it.
    let before = left.lake.files();
    let killed = killed_process(&left);
    assert!(!killed.is_empty(), "it left nothing: {before:?}");
    removes_what_is_left_and_nothing_else(&left);
    assert_eq!(left.files_of(&killed).len(), left.lake.files().difference(&before).filter(|f| is_of(f, &killed)).count());
    // Nothing tells whether such a run is at work, so it has to be old.
    let in_days = |days: u32| {
        vec![("LD_PRELOAD", super::clocks::library()), ("FAKETIME", format!("+{days}d")), ("DONT_FAKE_MONOTONIC", "1".into())]
    };
    assert_eq!(left.gc(&in_days(6), &["--dry-run", "--keep-days", "0"]), BTreeSet::new());
    assert_eq!(left.gc(&in_days(8), &["--dry-run", "--keep-days", "9"]), BTreeSet::new());
    let kept: BTreeSet<String> = left.lake.files().difference(&left.files_of(&killed)).cloned().collect();
    assert_eq!(left.gc(&in_days(8), &["--keep-days", "0"]), killed);
    assert_eq!(left.lake.files(), kept);

    left.go_on();
    let mut report = left.cluster.command();
    report.args(["runs", "report", &left.busy, "--to", &left.cluster.url(), "--output", "json"]);
    assert_eq!(contents(&done(&left.cluster, report)), left.c360.wanted);
}

#[test]
fn gc_removes_what_dead_runs_left_on_s3_and_nothing_else() {
    let work = tempfile::tempdir().unwrap();
    let left = Left::make(work.path(), Lake::S3(S3Server::start()));
    removes_what_is_left_and_nothing_else(&left);
    left.go_on();
    let mut report = left.cluster.command();
    report.args(["runs", "report", &left.busy, "--to", &left.cluster.url(), "--output", "json"]);
    let report = done(&left.cluster, report);
    let Lake::S3(server) = &left.lake else { unreachable!() };
    assert_eq!(super::contents_at(server, &report), left.c360.wanted);
}

fn is_of(file: &str, addresses: &BTreeSet<String>) -> bool {
    addresses.iter().any(|a| file.starts_with(&format!("{a}/")))
}

/// Kills `strata run` after it has written its first table; gives the folders it left.
fn killed_process(left: &Left) -> BTreeSet<String> {
    let before = left.lake.files();
    let mut command = Command::new(binary());
    command.arg("run").arg(&left.c360.pipeline).args(["--as-of", AS_OF, "--output", "json", "--state", &left.lake.address("")]);
    for (name, value) in vars(&left.c360.data, Path::new(&left.lake.address("out"))) {
        command.arg("-p").arg(format!("{name}={value}"));
    }
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut run = None;
    super::until(&left.cluster, "the first table of a process of its own", PATIENCE, || {
        let new: Vec<String> = left.lake.files().difference(&before).cloned().collect();
        run = new.iter().find_map(|f| f.strip_prefix("out/customer_360/runs/")?.split('/').next().map(str::to_owned));
        run.is_some() || process.try_wait().unwrap().is_some()
    });
    process.kill().unwrap();
    process.wait().unwrap();
    let run = run.unwrap_or_else(|| panic!("it ended too soon"));
    let folders =
        ["work/", "out/customer_360/runs/", "out/customer_segments/runs/", "out/segment_profile/runs/", "out/panel_sample/runs/"];
    let folders = folders.map(|f| format!("{f}{run}"));
    let files = left.lake.files();
    folders.into_iter().filter(|folder| files.iter().any(|f| f.starts_with(&format!("{folder}/")))).collect()
}
