//! A cluster of real processes on this machine: a coordinator and workers that can be killed and started again. Never shares a process with
//! the test.

use crate::binary;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A coordinator and its workers.
pub struct LocalCluster {
    dir: PathBuf,
    store: String,
    work: String,
    api: u16,
    workers_port: u16,
    environment: Vec<(String, String)>,
    coordinator_environment: Vec<(String, String)>,
    worker_environment: Vec<(String, String)>,
    extra: Vec<String>,
    worker_arguments: Vec<String>,
    coordinator: Option<Child>,
    workers: Vec<Worker>,
}

struct Worker {
    child: Option<Child>,
}

/// How a cluster is made.
#[derive(Debug, Clone, Default)]
pub struct ClusterSpec {
    /// Workers of one slot each.
    pub workers: usize,
    /// Run store; a SQLite file if absent.
    pub store: Option<String>,
    /// Work area; a folder if absent.
    pub work: Option<String>,
    /// Environment of every process.
    pub environment: Vec<(String, String)>,
    /// More environment of the coordinator alone.
    pub coordinator_environment: Vec<(String, String)>,
    /// More environment of the workers alone.
    pub worker_environment: Vec<(String, String)>,
    /// More arguments of the coordinator.
    pub coordinator_arguments: Vec<String>,
    /// More arguments of each worker.
    pub worker_arguments: Vec<String>,
}

impl LocalCluster {
    /// Starts it below `dir`, and waits until every worker is there.
    pub fn start(dir: &Path, spec: ClusterSpec) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let mut cluster = Self {
            dir: dir.to_owned(),
            store: spec.store.unwrap_or_else(|| dir.join("runs.db").display().to_string()),
            work: spec.work.unwrap_or_else(|| dir.join("work").display().to_string()),
            api: free_port(),
            workers_port: free_port(),
            environment: spec.environment,
            coordinator_environment: spec.coordinator_environment,
            worker_environment: spec.worker_environment,
            extra: spec.coordinator_arguments,
            worker_arguments: spec.worker_arguments,
            coordinator: None,
            workers: vec![],
        };
        cluster.start_coordinator();
        for _ in 0..spec.workers {
            cluster.workers.push(Worker { child: None });
        }
        for i in 0..spec.workers {
            cluster.start_worker(i);
        }
        cluster.wait_until_ready();
        cluster
    }

    /// Where the run API is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api)
    }

    /// The port that workers report to.
    pub fn workers_port(&self) -> u16 {
        self.workers_port
    }

    /// Folder of everything.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts the coordinator (again), at the same ports.
    pub fn start_coordinator(&mut self) {
        let mut command = self.command();
        command.envs(self.coordinator_environment.iter().map(|(k, v)| (k, v)));
        command.args(["coordinator", "--listen", &format!("127.0.0.1:{}", self.api)]);
        command.args(["--workers-listen", &format!("127.0.0.1:{}", self.workers_port)]);
        command.args(["--store", &self.store, "--work", &self.work]).args(&self.extra);
        self.coordinator = Some(spawn(command, &self.dir.join("coordinator.log")));
        wait(|| std::net::TcpStream::connect(("127.0.0.1", self.api)).is_ok(), "the coordinator");
    }

    /// Starts a worker (again).
    pub fn start_worker(&mut self, i: usize) {
        let mut command = self.command();
        command.envs(self.worker_environment.iter().map(|(k, v)| (k, v)));
        command.args(["worker", "--slots", "1", "--coordinator", &format!("127.0.0.1:{}", self.workers_port)]);
        command.arg("--work-dir").arg(self.dir.join(format!("worker-{i}"))).args(&self.worker_arguments);
        self.workers[i].child = Some(spawn(command, &self.dir.join(format!("worker-{i}.log"))));
    }

    /// SIGKILL for the coordinator.
    pub fn kill_coordinator(&mut self) {
        kill(&mut self.coordinator);
    }

    /// SIGKILL for a worker.
    pub fn kill_worker(&mut self, i: usize) {
        kill(&mut self.workers[i].child);
    }

    /// The process id of a worker.
    pub fn worker_pid(&self, i: usize) -> u32 {
        self.workers[i].child.as_ref().map_or(0, Child::id)
    }

    /// The process id of the coordinator.
    pub fn coordinator_pid(&self) -> u32 {
        self.coordinator.as_ref().map_or(0, Child::id)
    }

    /// The exit code of a worker that was told to end; waits for it.
    pub fn ended_worker(&mut self, i: usize) -> Option<i32> {
        ended(&mut self.workers[i].child)
    }

    /// The exit code of the coordinator that was told to end; waits for it.
    pub fn ended_coordinator(&mut self) -> Option<i32> {
        ended(&mut self.coordinator)
    }

    /// Folder that a worker keeps its pieces of exchanges in: a folder a plan, below it one a stage.
    pub fn exchange(&self, i: usize) -> PathBuf {
        self.dir.join(format!("worker-{i}/strata-worker/exchange"))
    }

    /// What the coordinator has said so far.
    pub fn coordinator_log(&self) -> String {
        std::fs::read_to_string(self.dir.join("coordinator.log")).unwrap_or_default()
    }

    /// The events of a run after `after`, as they happen, until the run has ended or the coordinator is gone.
    pub fn watch(&self, run: &str, after: u64) -> Watch {
        use std::io::{BufRead, BufReader, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.api)).unwrap();
        write!(stream, "GET /v1/runs/{run}:watch?after_seq={after} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        Watch { lines: BufReader::new(stream).lines() }
    }

    /// Waits until a worker is there.
    pub fn wait_until_ready(&self) {
        wait(|| self.get("/readyz").is_some_and(|r| r.starts_with("HTTP/1.1 200")), "a worker");
    }

    /// The whole answer to a GET of the run API.
    pub fn get(&self, path: &str) -> Option<String> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.api)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut out = String::new();
        stream.read_to_string(&mut out).ok()?;
        Some(out)
    }

    /// `strata …` with the environment of the cluster.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.envs(self.environment.iter().map(|(k, v)| (k, v))).stdin(Stdio::null());
        command
    }

    /// `strata run PIPELINE --to …` with variables.
    pub fn run(&self, pipeline: &Path, vars: &[(&str, String)], more: &[&str]) -> Command {
        let mut command = self.command();
        command.arg("run").arg(pipeline).args(["--to", &self.url()]);
        for (name, value) in vars {
            command.arg("-p").arg(format!("{name}={value}"));
        }
        command.args(more);
        command
    }

    /// What the processes said, for a failed test.
    pub fn logs(&self) -> String {
        let mut out = String::new();
        for entry in std::fs::read_dir(&self.dir).unwrap().flatten().filter(|e| e.path().extension().is_some_and(|x| x == "log"))
        {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(40).collect();
            out.push_str(&format!("== {}\n", entry.path().display()));
            tail.iter().rev().for_each(|line| out.push_str(&format!("{line}\n")));
        }
        out
    }
}

/// The events of a run, as JSON; progress, which is no event, is left out.
pub struct Watch {
    lines: std::io::Lines<std::io::BufReader<std::net::TcpStream>>,
}

impl Iterator for Watch {
    type Item = serde_json::Value;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = self.lines.next()?.ok()?;
            let Some(event) = line.strip_prefix("data:").and_then(|data| serde_json::from_str(data).ok()) else { continue };
            let event: serde_json::Value = event;
            if event["seq"].as_u64().is_some_and(|seq| seq > 0) {
                return Some(event);
            }
        }
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        for i in 0..self.workers.len() {
            self.kill_worker(i);
        }
        self.kill_coordinator();
    }
}

fn spawn(mut command: Command, log: &Path) -> Child {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    command.env("STRATA_LOG", "warn").stdout(Stdio::null()).stderr(file).spawn().unwrap()
}

fn kill(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a stop watch")]
fn ended(child: &mut Option<Child>) -> Option<i32> {
    let mut child = child.take()?;
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if began.elapsed() > PATIENCE {
            kill(&mut Some(child));
            panic!("a process that was told to end goes on");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[expect(clippy::disallowed_methods, reason = "a stop watch")]
fn wait(ready: impl Fn() -> bool, what: &str) {
    let began = Instant::now();
    while !ready() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come up");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sends a signal, e.g. `STOP` or `CONT`, to a process of the test.
pub fn signal(pid: u32, name: &str) {
    assert!(pid > 0, "no such process");
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap();
    assert!(sent.success(), "SIG{name} could not be sent");
}

/// The most memory that a process has had resident so far, in bytes.
pub fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_else(|e| panic!("process {pid}: {e}"));
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_else(|| panic!("no VmHWM in {status}"));
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or_else(|e| panic!("{line}: {e}")) * 1024
}

/// A port that is free, with the next one.
pub fn free_port() -> u16 {
    for _ in 0..200 {
        let one = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = one.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
    panic!("no free ports")
}
