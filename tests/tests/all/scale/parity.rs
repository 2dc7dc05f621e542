//! Real data and every case give the same tables in one process, on one worker and on three, from local files and from S3. Never
//! compares with an answer of its own making.

use super::contents_at;
use crate::cluster::{contents, done, vars};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use strata_testkit::cluster::{ClusterSpec, LocalCluster};
use strata_testkit::s3::S3Server;
use strata_testkit::{RunSpec, binary, case_folders, content_of, repository, run_pipeline, setting};

fn on_s3(data: &str, out: &str) -> [(&'static str, String); 2] {
    [("data", format!("s3://lake/{data}")), ("out", format!("s3://lake/{out}"))]
}

#[test]
fn complete_journey_is_the_same_wherever_it_runs_and_its_files_lie() {
    let Some(data) = setting("STRATA_TEST_JOURNEY").map(PathBuf::from).filter(|p| p.join("transactions.parquet").is_file())
    else {
        println!("not run: the data are not fetched; tests/run.sh fetches them");
        return;
    };
    let (server, work) = (S3Server::start(), tempfile::tempdir().unwrap());
    let pipeline = repository().join("pipelines/complete_journey");
    server.put_folder("lake", "journey", &data);
    let alone = run_pipeline(&RunSpec::new(&pipeline, &data, &work.path().join("alone"))).unwrap_or_else(|e| panic!("{e}"));
    let lines = alone.sources.iter().find(|s| s.source == "transactions").unwrap();
    assert_eq!((lines.in_files, lines.used), (1_469_307, 1_469_307));
    let wanted = content_of(&alone);
    assert!(wanted.len() >= 4, "{wanted:?}");

    let mut process = Command::new(binary());
    process.envs(server.environment()).arg("run").arg(&pipeline).args(["--output", "json", "--state"]);
    process.arg(work.path().join("state")).args(["-p", "data=s3://lake/journey", "-p", "out=s3://lake/alone"]);
    let out = process.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(contents_at(&server, &report), wanted, "one process, from S3");

    for workers in [1, 3] {
        // The tables between steps lie where the data do: on this machine with one worker, on S3 with three.
        let spec = ClusterSpec {
            workers,
            work: (workers == 3).then(|| "s3://lake/work".to_owned()),
            environment: server.environment(),
            ..Default::default()
        };
        let cluster = LocalCluster::start(&work.path().join(format!("cluster-{workers}")), spec);
        let out = work.path().join(format!("out-{workers}"));
        let report = done(&cluster, cluster.run(&pipeline, &vars(&data, &out), &["--output", "json"]));
        assert_eq!(contents(&report), wanted, "{workers} workers, local files");
        let report = done(&cluster, cluster.run(&pipeline, &on_s3("journey", &format!("out-{workers}")), &["--output", "json"]));
        assert_eq!(contents_at(&server, &report), wanted, "{workers} workers, from S3");
    }
}

/// Begins the name of a table of rows that were put aside. Each says which file it comes from, so its content is of where that lies.
const ASIDE: &str = "_quarantine/";

/// Contents of tables, of rows put aside how many they are.
fn wherever(contents: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let counted = |(name, content): (String, String)| match name.starts_with(ASIDE) {
        true => (name, content.split(' ').next().unwrap_or_default().to_owned()),
        false => (name, content),
    };
    contents.into_iter().map(counted).collect()
}

#[test]
fn every_case_from_s3_is_the_same_on_three_workers_as_in_one_process() {
    let (server, work) = (S3Server::start(), tempfile::tempdir().unwrap());
    let spec =
        ClusterSpec { workers: 3, work: Some("s3://lake/work".into()), environment: server.environment(), ..Default::default() };
    let cluster = LocalCluster::start(&work.path().join("cluster"), spec);
    let mut ran = 0;
    for case in case_folders(&repository().join("tests/cases")).iter().filter(|c| c.join("expected").is_dir()) {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let alone = content_of(&run_pipeline(&RunSpec::new(case, case, &work.path().join(&name))).unwrap());
        server.put_folder("lake", &format!("cases/{name}"), case);
        let vars = on_s3(&format!("cases/{name}"), &format!("out/{name}"));
        let report = done(&cluster, cluster.run(case, &vars, &["--output", "json"]));
        assert_eq!(wherever(contents_at(&server, &report)), wherever(alone), "{name}");
        let is_output = |o: &&Value| !o["name"].as_str().unwrap().starts_with(ASIDE);
        let outputs: Vec<&Value> = report["outputs"].as_array().unwrap().iter().filter(is_output).collect();
        assert!(outputs.iter().all(|o| o["path"].as_str().unwrap().starts_with("s3://lake/out/")), "{report}");
        assert_eq!(expected(case), outputs.len(), "{name}");
        ran += 1;
    }
    assert!(ran >= 6, "only {ran} cases");
}

/// How many tables a case says it makes.
fn expected(case: &Path) -> usize {
    std::fs::read_dir(case.join("expected")).unwrap().count()
}
