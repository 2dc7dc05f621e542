//! Faults of the coordinator, and of several who want the same tables: a run is taken over, done once, and nothing is mixed. Never mocks a
//! process or a signal.

use crate::cluster::{AS_OF, C360, c360, contents, done_line, ended, start, vars};
use crate::faults::{Draw, check_folders, cluster, long, said, wait_until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use strata_testkit::binary;
use strata_testkit::cluster::{ClusterSpec, LocalCluster, signal};
use strata_testkit::fault_proxy::{FaultProxy, Faults, Moment};
use strata_testkit::s3::{S3Server, environment};

const OUTPUTS: [&str; 4] = ["customer_360", "customer_segments", "segment_profile", "panel_sample"];

/// Waits for a run's end by its events; gives its report. Fails unless it succeeded.
pub(crate) fn succeeded(cluster: &LocalCluster, run: &str) -> Value {
    let strata = |verb: &[&str]| {
        let out = cluster.command().arg("runs").args(verb).args(["--to", &cluster.url()]).output().unwrap();
        assert!(out.status.success(), "{verb:?}: {}\n{}", said(&out), cluster.logs());
        out.stdout
    };
    strata(&["watch", run]);
    serde_json::from_slice(&strata(&["report", run, "--output", "json"])).unwrap()
}

/// Runs of the versions of an output in a folder, the oldest first.
fn versions(out: &Path, output: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(out.join(output).join("_pointer")) else { return vec![] };
    let mut entries: Vec<_> = entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|x| x == "json")).collect();
    entries.sort();
    let run = |text: String| serde_json::from_str::<Value>(&text).unwrap()["run_id"].as_str().unwrap().to_owned();
    entries.iter().map(|path| run(std::fs::read_to_string(path).unwrap())).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What a kill after an event is told apart by.
fn moment(event: &Value) -> String {
    let body = &event["body"];
    match event["kind"].as_str().unwrap() {
        "report" => format!("report {} {}", text(&body["state"]), body["committed"]),
        kind => format!("{kind} {}", text(&body["step"])),
    }
}

/// Whether the short test kills the coordinator after the first such event; the long one does after each that is new.
fn is_a_moment(event: &Value, met: &BTreeSet<String>) -> bool {
    let moment = moment(event);
    let kind = event["kind"].as_str().unwrap();
    let kinds = ["started", "pinned", "step_started", "step_finished"];
    let first = kinds.contains(&kind) && !met.iter().any(|m| m.split(' ').next() == Some(kind));
    let chosen = first || ["step_finished write panel_sample", "report committing []"].contains(&moment.as_str());
    !met.contains(&moment) && (chosen || long())
}

#[test]
fn a_coordinator_killed_after_every_kind_of_event_goes_on_there_and_commits_once() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 1500);
    let mut cluster = cluster(work.path(), 2);
    let [out, later] = ["out", "later"].map(|name| work.path().join(name));
    let detached = |cluster: &LocalCluster, out: &Path| {
        done_line(&mut cluster.run(&c360.pipeline, &vars(&c360.data, out), &["--as-of", AS_OF, "--output", "json", "--detach"]))
    };
    let run = detached(&cluster, &out);
    // Of one pipeline one run is at work: this one stays in the queue while the coordinator is killed again and again.
    let queued = detached(&cluster, &later);
    let (mut met, mut kills, mut after) = (BTreeSet::new(), vec![], 0);
    let terminal = ["succeeded", "failed", "cancelled", "timed_out"];
    let mut over = false;
    while !over {
        let mut kill = false;
        for event in cluster.watch(&run, after) {
            after = event["seq"].as_u64().unwrap();
            over = terminal.contains(&event["kind"].as_str().unwrap());
            kill = is_a_moment(&event, &met) && !over;
            met.insert(moment(&event));
            if kill || over {
                break;
            }
        }
        if kill {
            cluster.kill_coordinator();
            kills.push(met.iter().next_back().cloned());
            cluster.start_coordinator();
        }
    }
    println!("{} kills, {} kinds of events", kills.len(), met.len());
    assert!(kills.len() >= 6, "{met:?}");
    let report = succeeded(&cluster, &run);
    assert_eq!(contents(&report), c360.wanted);
    check_folders(&report);
    check_events(&cluster.watch(&run, 0).collect::<Vec<_>>(), kills.len());
    assert_eq!(contents(&succeeded(&cluster, &queued)), c360.wanted);
    for (out, run) in [(&out, &run), (&later, &queued)] {
        assert!(OUTPUTS.iter().all(|output| versions(out, output) == [run.clone()]), "{}", out.display());
    }
}

/// Each step ends once and is not begun after that. A kill makes one attempt more, unless the coordinator had just come up again: an event that
/// was written right before a kill is seen only then.
fn check_events(events: &[Value], kills: usize) {
    let mut finished: BTreeMap<String, usize> = BTreeMap::new();
    for event in events {
        let step = text(&event["body"]["step"]);
        match event["kind"].as_str().unwrap() {
            "step_started" => assert_eq!(finished.get(&step), None, "`{step}` was done again: {events:?}"),
            "step_finished" => *finished.entry(step).or_default() += 1,
            _ => {}
        }
    }
    assert!(finished.len() > 5 && finished.values().all(|n| *n == 1), "{finished:?}");
    let attempts = events.iter().filter(|e| e["kind"] == "started").count();
    assert!(attempts > kills / 2 && attempts <= kills + 1, "{attempts} attempts, {kills} kills");
}

/// The state of an output in the bucket: how many versions, after checking that each is whole.
fn whole_versions(server: &S3Server, table: &str) -> usize {
    let json = |path: &str| server.get("lake", path).map(|b| serde_json::from_slice::<Value>(&b).unwrap());
    let entry = |seq: usize| json(&format!("{table}/_pointer/{seq:020}.json"));
    let found: Vec<Value> = (1..).map_while(entry).collect();
    for version in &found {
        let folder = format!("{table}/{}", version["folder"].as_str().unwrap());
        let manifest = json(&format!("{folder}/_manifest.json")).unwrap_or_else(|| panic!("{folder} has no manifest"));
        for file in manifest["files"].as_array().unwrap() {
            let bytes = server.get("lake", &format!("{folder}/{}", file["path"].as_str().unwrap())).unwrap();
            assert_eq!(Some(bytes.len() as u64), file["bytes"].as_u64(), "{folder}");
        }
    }
    found.len()
}

/// A cluster whose coordinator reaches the store through a proxy, and what it shall make.
struct Gated {
    server: S3Server,
    proxy: FaultProxy,
    cluster: LocalCluster,
    c360: C360,
}

fn gated(work: &Path) -> Gated {
    let server = S3Server::start();
    let proxy = FaultProxy::start(server.port(), Faults::default());
    let spec = ClusterSpec {
        workers: 2,
        environment: server.environment(),
        coordinator_environment: environment(&proxy.endpoint(), "testkey", "testsecret"),
        ..Default::default()
    };
    Gated { c360: c360(work, 1000), cluster: LocalCluster::start(&work.join("cluster"), spec), proxy, server }
}

impl Gated {
    fn begin(&self, out: &str) -> String {
        let vars = [("data", self.c360.data.display().to_string()), ("out", format!("s3://lake/{out}"))];
        done_line(&mut self.cluster.run(&self.c360.pipeline, &vars, &["--as-of", AS_OF, "--output", "json", "--detach"]))
    }

    fn check(&self, report: &Value) {
        let content = |output: &Value| {
            let path = output["path"].as_str().unwrap().strip_prefix("s3://lake/").unwrap();
            let manifest: Value =
                serde_json::from_slice(&self.server.get("lake", &format!("{path}/_manifest.json")).unwrap()).unwrap();
            (text(&output["name"]), format!("{} rows {}", manifest["rows"], manifest["content"]))
        };
        let found: BTreeMap<_, _> = report["outputs"].as_array().unwrap().iter().map(content).collect();
        assert_eq!(found, self.c360.wanted);
    }

    fn committed(&self, out: &str) -> Vec<usize> {
        OUTPUTS.iter().map(|output| whole_versions(&self.server, &format!("{out}/{output}"))).collect()
    }
}

#[test]
fn a_coordinator_killed_around_a_commit_leaves_outputs_absent_or_complete_and_ends_with_one_commit() {
    let work = tempfile::tempdir().unwrap();
    let mut gated = gated(work.path());
    // Which request the coordinator dies at, whether it was done, and how many versions the outputs then have.
    let moments = [
        ("customer_360/runs/", Moment::Before, [0, 0, 0, 0]),
        ("customer_360/_pointer/", Moment::Before, [0, 0, 0, 0]),
        ("customer_360/_pointer/", Moment::After, [1, 0, 0, 0]),
        ("segment_profile/_pointer/", Moment::Before, [1, 1, 0, 0]),
        ("panel_sample/_pointer/", Moment::After, [1, 1, 1, 1]),
    ];
    let chosen = if long() { vec![0, 1, 2, 3, 4] } else { vec![0, 2, 4] };
    for (i, (path, moment, then)) in chosen.into_iter().map(|i| (i, moments[i])) {
        let out = format!("out-{i}");
        let held = gated.proxy.hold("PUT", &format!("{out}/{path}"), moment);
        let run = gated.begin(&out);
        held.recv_timeout(Duration::from_secs(120)).unwrap_or_else(|e| panic!("{path}: {e}\n{}", gated.cluster.logs()));
        gated.cluster.kill_coordinator();
        assert_eq!(gated.committed(&out), then, "{path} {moment:?}");
        gated.cluster.start_coordinator();
        gated.check(&succeeded(&gated.cluster, &run));
        assert_eq!(gated.committed(&out), [1; 4], "{path} {moment:?}");
        // Running the pipeline again is one commit more.
        if i == 4 {
            let again = gated.begin(&out);
            gated.check(&succeeded(&gated.cluster, &again));
            assert_eq!(gated.committed(&out), [2; 4]);
        }
    }
}

#[test]
fn eight_runs_of_one_pipeline_at_once_are_done_one_after_the_other() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 600);
    let (cluster, out) = (cluster(work.path(), 2), work.path().join("out"));
    let asked: Vec<_> = (0..8)
        .map(|_| {
            let mut command =
                cluster.run(&c360.pipeline, &vars(&c360.data, &out), &["--as-of", AS_OF, "--output", "json", "--detach"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut runs = BTreeSet::new();
    for child in asked {
        let run: Value = ended(&cluster, child);
        runs.insert(run["run_id"].as_str().unwrap().trim_start_matches("runs/").to_owned());
    }
    assert_eq!(runs.len(), 8);
    for run in &runs {
        let report = succeeded(&cluster, run);
        assert_eq!(contents(&report), c360.wanted);
        check_folders(&report);
    }
    // Every run published each output once, and all outputs have the same history.
    let history = versions(&out, OUTPUTS[0]);
    assert_eq!(history.iter().cloned().collect::<BTreeSet<_>>(), runs);
    assert!(OUTPUTS.iter().all(|output| versions(&out, output) == history && history.len() == 8), "{history:?}");
}

#[test]
fn two_processes_that_write_the_same_folder_never_mix() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 1000);
    let mut draw = Draw(8);
    let (mut refused, mut both) = (0, 0);
    for round in 0..if long() { 30 } else { 6 } {
        let out = work.path().join(format!("out-{round}"));
        let begin = |state: &str| {
            let mut command = Command::new(binary());
            command.arg("run").arg(&c360.pipeline).args(["--as-of", AS_OF, "--output", "json"]);
            for (name, value) in vars(&c360.data, &out) {
                command.arg("-p").arg(format!("{name}={value}"));
            }
            command.arg("--state").arg(work.path().join(format!("{state}-{round}")));
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let first = begin("one");
        std::thread::sleep(Duration::from_millis((draw.next() * 300.0) as u64));
        let done = [first, begin("two")].map(|child| child.wait_with_output().unwrap());
        let won = done.iter().filter(|out| out.status.success()).count();
        for out in done.iter().filter(|out| !out.status.success()) {
            assert_eq!(out.status.code(), Some(75), "{}", said(out));
            refused += 1;
        }
        both += won / 2;
        assert!(won > 0, "{}\n{}", said(&done[0]), said(&done[1]));
        let history = versions(&out, OUTPUTS[0]);
        assert_eq!(history.len(), won, "{history:?}");
        assert!(OUTPUTS.iter().all(|output| versions(&out, output) == history), "round {round}: mixed");
        for out in done.iter().filter(|out| out.status.success()) {
            let report = serde_json::from_slice(&out.stdout).unwrap();
            assert_eq!(contents(&report), c360.wanted);
            check_folders(&report);
        }
    }
    println!("{refused} refused, {both} times both were done, one after the other");
}

#[test]
fn a_coordinator_told_to_stop_hands_its_runs_to_the_next_at_once() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 1500);
    let mut cluster = cluster(work.path(), 2);
    for round in 0..if long() { 6 } else { 2 } {
        let out = work.path().join(format!("out-{round}"));
        let mut command =
            cluster.run(&c360.pipeline, &vars(&c360.data, &out), &["--as-of", AS_OF, "--output", "json", "--detach"]);
        let run = done_line(&mut command);
        let at = if round % 2 == 0 { "step_finished" } else { "step_started" };
        assert!(cluster.watch(&run, 0).any(|event| event["kind"] == at));
        let told = Instant::now();
        signal(cluster.coordinator_pid(), "TERM");
        assert_eq!(cluster.ended_coordinator(), Some(143), "{}", cluster.logs());
        assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
        cluster.start_coordinator();
        let up = Instant::now();
        let again = |event: &Value| event["kind"] == "started" && event["body"]["attempt"] == 2;
        assert!(cluster.watch(&run, 0).any(|event| again(&event)), "{}", cluster.logs());
        assert!(up.elapsed() < Duration::from_secs(5), "taken over after {:?}", up.elapsed());
        let report = succeeded(&cluster, &run);
        assert_eq!(contents(&report), c360.wanted);
        check_folders(&report);
        assert!(OUTPUTS.iter().all(|output| versions(&out, output) == [run.clone()]));
    }
}

/// A text as HTTP/2 headers carry it (RFC 7541, appendix B), for the few characters that a version and a name have.
fn packed(text: &str) -> Vec<u8> {
    let mut bits = String::new();
    for c in text.chars() {
        bits += &match c {
            '0'..='2' => format!("{:05b}", c as u8 - b'0'),
            '3'..='9' => format!("{:06b}", 0x19 + (c as u8 - b'3')),
            '.' => "010111".to_owned(),
            '/' => "011000".to_owned(),
            'a' => "00011".to_owned(),
            's' => "01000".to_owned(),
            't' => "01001".to_owned(),
            'r' => "101100".to_owned(),
            other => panic!("`{other}` has no code here"),
        };
    }
    // What follows in the last byte is not known, so that byte is left out.
    bits.as_bytes().chunks_exact(8).map(|b| u8::from_str_radix(std::str::from_utf8(b).unwrap(), 2).unwrap()).collect()
}

/// Hands bytes on, the first of two texts replaced by the second.
fn hand_on(mut source: TcpStream, mut sink: TcpStream, change: Option<(Vec<u8>, Vec<u8>)>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = source.read(&mut buffer) {
        if let Some((from, to)) = &change
            && let Some(at) = (0..n.saturating_sub(from.len())).find(|at| buffer[*at..].starts_with(from))
        {
            buffer[at..at + to.len()].copy_from_slice(to);
        }
        if sink.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    // The other side may have hung up first.
    let _ = sink.shutdown(std::net::Shutdown::Both);
}

/// A port before `port` behind which a worker of version `own` is one of version `other`: what it calls itself is changed on the way.
fn of_another_version(port: u16, own: &str, other: &str) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let here = listener.local_addr().unwrap().port();
    let change = (packed(&format!("strata/{own}")), packed(&format!("strata/{other}")));
    assert!(change.0.len() == change.1.len() && change.0 != change.1);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (back, answers, change) = (client.try_clone().unwrap(), server.try_clone().unwrap(), change.clone());
            std::thread::spawn(move || hand_on(client, server, Some(change)));
            std::thread::spawn(move || hand_on(answers, back, None));
        }
    });
    here
}

#[test]
fn a_worker_of_another_version_is_refused_and_both_sides_say_why() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 600);
    let cluster = cluster(work.path(), 1);
    let own = env!("CARGO_PKG_VERSION");
    let digit = own.chars().next().unwrap();
    // A digit whose code is as long.
    let next = if digit < '3' { (digit as u8 - b'0' + 1) % 3 + b'0' } else { (digit as u8 - b'3' + 1) % 7 + b'3' };
    let other = own.replacen(digit, &char::from(next).to_string(), 1);
    let port = of_another_version(cluster.workers_port(), own, &other);
    let mut worker = cluster.command();
    worker.args(["worker", "--slots", "1", "--coordinator", &format!("127.0.0.1:{port}"), "--work-dir"]);
    worker.arg(work.path().join("other")).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut worker = worker.spawn().unwrap();
    wait_until("the refused worker's end", Duration::from_secs(30), || worker.try_wait().unwrap().is_some());
    let out = worker.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    let why = format!("this worker is Strata {other}, the coordinator is Strata {own}");
    assert!(said(&out).contains(&why), "{}", said(&out));
    assert!(cluster.coordinator_log().contains(&why), "{}", cluster.logs());
    assert_eq!(contents(&ended(&cluster, start(&cluster, &c360, &work.path().join("out"), &[]))), c360.wanted);
}
