//! Object storage on a real S3 server, SeaweedFS, and through a proxy that fails: the same tables, one commit, no hang. Never
//! touches a real cloud.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use strata_demo::{Size, generate};
use strata_engine::load::LoadOptions;
use strata_engine::progress::Silent;
use strata_engine::{InProcessRunner, RunOptions};
use strata_publish::{Error, Kind, Log, Manifest, PublishedTable, Version};
use strata_runtime::Limits;
use strata_runtime::store::{self, Place, S3Options};
use strata_testkit::fault_proxy::{FaultProxy, Faults};
use strata_testkit::s3::{S3Server, environment};
use strata_testkit::{binary, repository};

const AS_OF: &str = "2026-01-01T00:00:00Z";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_stack_size(16 << 20).enable_all().build().unwrap()
}

fn said(done: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

/// The real binary with an environment.
fn strata(environment: &[(String, String)], verb: &str, pipeline: &Path, data: &str, out: &str) -> Command {
    let mut command = Command::new(binary());
    command.envs(environment.iter().cloned()).arg(verb).arg(pipeline).args(["--output", "json", "--as-of", AS_OF]);
    command.arg("-p").arg(format!("data={data}")).arg("-p").arg(format!("out={out}"));
    command
}

fn json(mut command: Command) -> serde_json::Value {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&done)))
}

/// Rows and content hash of each output, by its manifest.
fn contents(outputs: &serde_json::Value, read: impl Fn(&str) -> Vec<u8>) -> Vec<String> {
    let manifest =
        |path: &str| -> serde_json::Value { serde_json::from_slice(&read(&format!("{path}/_manifest.json"))).unwrap() };
    let content = |output: &serde_json::Value| {
        let manifest = manifest(output["path"].as_str().unwrap());
        format!("{} {} {}", output["name"], manifest["rows"], manifest["content"])
    };
    outputs.as_array().unwrap().iter().map(content).collect()
}

fn local_contents(outputs: &serde_json::Value) -> Vec<String> {
    contents(outputs, |path| std::fs::read(path).unwrap())
}

fn s3_contents(server: &S3Server, outputs: &serde_json::Value) -> Vec<String> {
    contents(outputs, |url| {
        server.get("lake", url.strip_prefix("s3://lake/").unwrap()).unwrap_or_else(|| panic!("{url} is not there"))
    })
}

#[test]
fn c360_is_the_same_from_local_files_and_from_s3() {
    let server = S3Server::start();
    let work = tempfile::tempdir().unwrap();
    let (data, out) = (work.path().join("data"), work.path().join("out"));
    generate(&data, &Size { customers: 600, ..Size::default() }, 7).unwrap();
    server.put_folder("lake", "in/data", &data);
    let pipeline = repository().join("pipelines/c360");
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    let (s3_data, s3_out) = ("s3://lake/in/data", "s3://lake/out");
    let environment = server.environment();

    let planned = json(strata(&[], "plan", &pipeline, data, out));
    assert_eq!(json(strata(&environment, "plan", &pipeline, s3_data, s3_out)), planned, "pins of the same files differ");
    let run = |environment: &[(String, String)], data: &str, out: &str, state: &str| {
        let mut command = strata(environment, "run", &pipeline, data, out);
        command.arg("--state").arg(work.path().join(state));
        json(command)
    };
    run(&[], data, out, "local");
    let wanted = local_contents(&json(strata(&[], "outputs", &pipeline, data, out)));
    assert_eq!(wanted.len(), 4);
    let report = run(&environment, s3_data, s3_out, "s3");
    assert!(report["outputs"][0]["path"].as_str().unwrap().starts_with("s3://lake/out/"), "{report}");
    let outputs = json(strata(&environment, "outputs", &pipeline, s3_data, s3_out));
    assert_eq!(s3_contents(&server, &outputs), wanted);

    let mut refused = strata(&server.environment_of_reader(), "run", &pipeline, s3_data, s3_out);
    let refused = refused.arg("--state").arg(work.path().join("reader")).output().unwrap();
    assert!(!refused.status.success() && said(&refused).contains("credentials"), "{}", said(&refused));
    assert_eq!(json(strata(&environment, "outputs", &pipeline, s3_data, s3_out)), outputs, "a refused run changed a table");
}

const SHAPES: &str = r#"version: 1
name: shapes
timezone: UTC
as_of: 2026-02-01T00:00:00Z
vars: {data: ., out: ./out}
sources:
  file: {csv: "${vars.data}/one.csv", mode: mutable, key: id, columns: {id: int!, n: int!}}
  folder: {csv: "${vars.data}/folder", mode: mutable, key: id, columns: {id: int!, n: int!}}
  hive: {csv: "${vars.data}/hive", mode: mutable, key: id, columns: {id: int!, n: int!}}
  glob: {csv: "${vars.data}/hive/day=*/b*.csv", mode: mutable, key: id, columns: {id: int!, n: int!}}
entities:
  thing: {from: file, key: id}
attributes:
  thing:
    - from: folder
      columns: {in_folder: total(n)}
    - from: hive
      columns: {in_hive: total(n), first_day: min(day)}
    - from: glob
      columns: {in_glob: total(n)}
outputs:
  things: {to: "${vars.out}/{name}", format: csv, select: thing.attributes}
"#;

#[test]
fn a_file_a_folder_hive_folders_and_a_glob_name_the_same_files_everywhere() {
    let server = S3Server::start();
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    let files = [
        ("one.csv", "id,n\n1,1\n2,1\n3,1\n"),
        ("folder/a.csv", "id,n\n1,10\n"),
        ("folder/deep er/ä~b#c.csv", "id,n\n2,20\n"),
        ("folder/_work/left.csv", "id,n\n3,1000\n"),
        ("folder/.hidden.csv", "id,n\n3,1000\n"),
        ("folder/notes.txt", "not rows"),
        ("hive/day=2025-01-01/a.csv", "id,n\n1,100\n"),
        ("hive/day=2025-01-02/b.csv", "id,n\n2,200\n"),
        ("hive/day=2025-01-02/bb.csv", "id,n\n3,300\n"),
        ("hive/_SUCCESS", ""),
    ];
    for (name, text) in files {
        let path = data.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    server.put_folder("lake", "in", &data);
    let pipeline = work.path().join("shapes.yaml");
    std::fs::write(&pipeline, SHAPES).unwrap();
    let out = work.path().join("out");
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    let rows = |environment: &[(String, String)], data: &str, out: &str, state: &str| {
        let planned = json(strata(environment, "plan", &pipeline, data, out));
        let mut run = strata(environment, "run", &pipeline, data, out);
        json({
            run.args(["--round-trip", "--state"]).arg(work.path().join(state));
            run
        });
        (planned, json(strata(environment, "outputs", &pipeline, data, out)))
    };
    let (planned, outputs) = rows(&[], data, out, "local");
    let counted =
        |source: &str| planned["sources"].as_array().unwrap().iter().find(|s| s["source"] == source).unwrap()["files"].clone();
    assert_eq!(["file", "folder", "hive", "glob"].map(counted), [1, 2, 3, 2].map(serde_json::Value::from));
    let (s3_planned, s3_outputs) = rows(&server.environment(), "s3://lake/in", "s3://lake/out", "s3");
    assert_eq!(s3_planned, planned);
    assert_eq!(s3_contents(&server, &s3_outputs), local_contents(&outputs));

    let nowhere = strata(&server.environment(), "run", &pipeline, "s3://lake/nowhere", "s3://lake/out").output().unwrap();
    assert_eq!(nowhere.status.code(), Some(2), "{}", said(&nowhere));
    assert!(said(&nowhere).contains("no `.csv` file matches `s3://lake/nowhere/one.csv`"), "{}", said(&nowhere));
}

#[test]
fn a_file_changed_after_it_was_pinned_is_refused_by_name() {
    let server = S3Server::start();
    server.create_bucket("changing");
    store::register("changing", store::s3("changing", server.environment(), &S3Options::default()).unwrap());
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    generate(&data, &Size { customers: 300, ..Size::default() }, 7).unwrap();
    server.put_folder("changing", "data", &data);
    let vars = vec![("data".to_owned(), "s3://changing/data".to_owned()), ("out".to_owned(), "s3://changing/out".to_owned())];
    let as_of = Some(AS_OF.parse().unwrap());
    let runner = || InProcessRunner::new(&Limits::default()).unwrap().with_round_trip();
    runtime().block_on(async {
        let options = LoadOptions { vars, as_of, ..LoadOptions::default() };
        let loaded = strata_engine::load(&repository().join("pipelines/c360"), &options).await.unwrap();
        let run = |state: &str| RunOptions::local(&work.path().join(state), None);
        let (result, _) = strata_engine::run(&loaded, &runner(), &run("before"), &Silent).await;
        result.unwrap();
        // The same length and the same rows in another order of bytes would be enough; another file is plainer.
        server.put("changing", "data/stores.parquet", &std::fs::read(data.join("products.parquet")).unwrap());
        let (result, _) = strata_engine::run(&loaded, &runner(), &run("after"), &Silent).await;
        let error = result.unwrap_err().to_string();
        assert!(error.contains("data/stores.parquet") && error.contains("changed after the run had pinned it"), "{error}");
    });
}

/// A client that does not wait long.
fn impatient() -> S3Options {
    S3Options {
        timeout: Duration::from_secs(3),
        connect_timeout: Duration::from_secs(1),
        retry_time_max: Duration::from_secs(30),
        pause_max: Duration::from_millis(500),
        ..S3Options::default()
    }
}

fn table(place: &Place) -> PublishedTable {
    PublishedTable::new(place.store.clone(), place.path.clone(), Log::Pointer)
}

/// A run's manifest with one file, which is there.
fn written(server: &S3Server, bucket: &str, root: &str, run: &str) -> Manifest {
    server.put(bucket, &format!("{root}/runs/{run}/part-a1-00000.csv"), b"id\n1\n");
    let content = "0123456789abcdef0123456789abcdef";
    serde_json::from_value(serde_json::json!({
        "format": 1, "pipeline": "p", "run_id": run, "as_of": AS_OF, "schema": [{"name": "id", "type": "Int64", "nullable": false}],
        "rows": 1, "bytes": 5, "content": content, "content_definition": strata_publish::CONTENT_DEFINITION,
        "files": [{"path": "part-a1-00000.csv", "rows": 1, "bytes": 5, "content": content, "columns": []}],
    }))
    .unwrap()
}

#[test]
fn of_twenty_committers_on_one_version_one_wins() {
    let server = S3Server::start();
    server.create_bucket("racing");
    store::register("racing", store::s3("racing", server.environment(), &S3Options::default()).unwrap());
    runtime().block_on(async {
        let place = store::place("s3://racing/t").unwrap();
        table(&place).probe_conditional_put("p").await.unwrap();
        for round in 1..=3 {
            let base = table(&place).begin().await.unwrap();
            let mut racing = tokio::task::JoinSet::new();
            for run in 0..20 {
                let (table, base) = (table(&place), base.clone());
                let manifest = written(&server, "racing", "t", &format!("r{round}-{run}"));
                racing.spawn(async move { table.commit(&base, &manifest).await });
            }
            let ended = racing.join_all().await;
            let won: Vec<&Version> = ended.iter().filter_map(|e| e.as_ref().ok()).collect();
            assert_eq!(won.len(), 1, "{ended:?}");
            assert!(ended.iter().all(|e| matches!(e, Ok(_) | Err(Error::Conflict { .. }))), "{ended:?}");
            assert_eq!(table(&place).current().await.unwrap().as_ref(), Some(won[0]));
            assert_eq!(won[0].seq, round);
        }
    });
}

/// Publishes, as a caller does that was told to try again.
async fn persistently(table: &PublishedTable, manifest: &Manifest) -> Version {
    for _ in 0..40 {
        let ended = match table.begin().await {
            Ok(base) => table.commit(&base, manifest).await,
            Err(e) => Err(e),
        };
        match ended {
            Ok(version) => return version,
            Err(e) if matches!(e.kind(), Kind::Unavailable | Kind::Conflict) => {}
            Err(e) => panic!("{e}"),
        }
    }
    panic!("not published in 40 tries");
}

#[test]
fn errors_resets_and_lost_replies_end_in_exactly_one_commit_a_run() {
    let server = S3Server::start();
    server.create_bucket("faulty");
    let weather = [
        Faults { unavailable: 30, internal: 10, reset: 5, ..Faults::default() },
        Faults { reply_lost: 30, conflict: 20, exists: 20, ..Faults::default() },
        Faults { unavailable: 15, reset: 5, reply_lost: 15, conflict: 10, exists: 10, ..Faults::default() },
    ];
    for (seed, faults) in weather.into_iter().enumerate() {
        let proxy = FaultProxy::start(server.port(), Faults { seed: seed as u64 + 1, ..faults });
        store::register(
            "faulty",
            store::s3("faulty", environment(&proxy.endpoint(), "testkey", "testsecret"), &impatient()).unwrap(),
        );
        let root = format!("t{seed}");
        let published = runtime().block_on(async {
            let place = store::place(&format!("s3://faulty/{root}")).unwrap();
            let mut runs = tokio::task::JoinSet::new();
            for run in 0..6 {
                let (table, manifest) = (table(&place), written(&server, "faulty", &root, &format!("r{run}")));
                runs.spawn(async move { persistently(&table, &manifest).await });
            }
            let all = tokio::time::timeout(Duration::from_secs(180), runs.join_all());
            all.await.unwrap_or_else(|_| panic!("seed {seed} hangs: {:?}", proxy.counts())).len()
        });
        assert_eq!(published, 6);
        let counts = proxy.counts();
        assert!(counts.errors + counts.lost + counts.conflicts > 5, "{counts:?}");
        drop(proxy);
        let settled = store::s3("faulty", server.environment(), &S3Options::default()).unwrap();
        store::register("faulty", settled);
        let versions = runtime().block_on(table(&store::place(&format!("s3://faulty/{root}")).unwrap()).versions()).unwrap();
        let mut runs: Vec<&str> = versions.iter().map(|v| v.run_id.as_str()).collect();
        runs.sort_unstable();
        assert_eq!(runs, ["r0", "r1", "r2", "r3", "r4", "r5"], "seed {seed}: {counts:?}");
        assert_eq!(versions.iter().map(|v| v.seq).collect::<Vec<_>>(), (1..=6).collect::<Vec<_>>());
    }
}

/// Waits for a process, but not for ever.
fn ends(mut child: Child, within: Duration) -> Output {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > within {
            child.kill().unwrap();
            panic!("hangs: {}", said(&child.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn a_run_through_a_failing_network_gives_the_same_tables_and_does_not_hang() {
    let server = S3Server::start();
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    generate(&data, &Size { customers: 200, months: 3, ..Size::default() }, 9).unwrap();
    server.put_folder("lake", "data", &data);
    let pipeline = repository().join("pipelines/c360");
    let state = |name: &str| work.path().join(name);
    let (local, out) = (data.to_str().unwrap().to_owned(), state("out"));
    let mut plain = strata(&[], "run", &pipeline, &local, out.to_str().unwrap());
    plain.arg("--state").arg(state("local"));
    json(plain);
    let wanted = local_contents(&json(strata(&[], "outputs", &pipeline, &local, out.to_str().unwrap())));
    let weather = [
        ("errors", Faults { seed: 11, unavailable: 30, internal: 10, reset: 5, ..Faults::default() }),
        ("bodies", Faults { seed: 12, slow: 20, slow_bytes_per_s: 10_000, stall: 10, ..Faults::default() }),
    ];
    for (name, faults) in weather {
        let proxy = FaultProxy::start(server.port(), faults);
        let mut through = environment(&proxy.endpoint(), "testkey", "testsecret");
        through.push(("AWS_TIMEOUT".into(), "2s".into()));
        let out = format!("s3://lake/{name}");
        let mut run = strata(&through, "run", &pipeline, "s3://lake/data", &out);
        run.arg("--state").arg(state(name)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let began = Instant::now();
        let done = ends(run.spawn().unwrap(), Duration::from_secs(300));
        let counts = proxy.counts();
        println!("{name}: {:.1} s, {counts:?}", began.elapsed().as_secs_f64());
        assert!(done.status.success(), "{name}: {}", said(&done));
        assert!(counts.errors + counts.slowed + counts.stalled > 5, "{counts:?}");
        let outputs = json(strata(&server.environment(), "outputs", &pipeline, "s3://lake/data", &out));
        assert_eq!(s3_contents(&server, &outputs), wanted, "{name}");
    }
}
