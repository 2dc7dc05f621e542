//! A run of a thousand steps. Never needs more data than a few hundred rows.

use super::COORDINATOR_BYTES_MAX;
use crate::cluster::done;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Instant;
use strata_testkit::cluster::{ClusterSpec, LocalCluster, peak_bytes};
use strata_testkit::setting;

/// Tables, segmentations and outputs of a generated pipeline; each is a step, and there are two more.
struct Size {
    tables: usize,
    segmentations: usize,
    outputs: usize,
}

const PEOPLE: i64 = 200;

/// Writes a pipeline and its data. Each table ranks everybody, so none of them is a part of another step.
fn generate(folder: &Path, size: &Size) {
    let mut csv = "customer_id,spend,visits\n".to_owned();
    (1..=PEOPLE).for_each(|i| writeln!(csv, "{i},{},{}", i * 7 % 101, i * 13 % 17).unwrap());
    std::fs::write(folder.join("customers.csv"), csv).unwrap();
    let mut text = r#"version: 1
name: wide
as_of: 2026-02-01T00:00:00Z
timezone: UTC
vars: {data: ., out: ./out}
sources:
  customers:
    csv: "${vars.data}/customers.csv"
    mode: mutable
    key: customer_id
    columns: {customer_id: int!, spend: int!, visits: int!}
entities:
  customer: {from: customers, key: customer_id}
attributes:
  customer:
    - row: {spend: customers.spend, visits: customers.visits}
tables:
"#
    .to_owned();
    let mut line = |line: String| writeln!(text, "{line}").unwrap();
    for i in 0..size.tables {
        line(format!("  t{i}:\n    key: customer_id\n    sql: |"));
        line("      select customer_id,".to_owned());
        line(format!("        rank() over (order by spend + {i} * visits desc, customer_id) as place from customers"));
    }
    line("segments:".to_owned());
    (0..size.segmentations)
        .for_each(|i| line(format!("  q{i}: {{quantile: spend + {i} * visits, bins: 2, names: [low, high]}}")));
    line("outputs:\n  defaults: {to: \"${vars.out}/{name}\", format: csv}".to_owned());
    (0..size.outputs).for_each(|i| line(format!("  o{i}: {{select: t{}.*}}", i % size.tables)));
    std::fs::write(folder.join("pipeline.yaml"), text).unwrap();
}

/// Customer to place, as the output `o<i>` has it.
fn places(report: &Value, i: usize) -> BTreeMap<i64, i64> {
    let name = format!("o{i}");
    let output = report["outputs"].as_array().unwrap().iter().find(|o| o["name"] == name.as_str()).unwrap();
    let folder = std::fs::read_dir(output["path"].as_str().unwrap()).unwrap().map(|e| e.unwrap().path());
    let files: Vec<_> = folder.filter(|p| p.extension().is_some_and(|e| e == "csv")).collect();
    let lines = files.iter().flat_map(|f| {
        let text = std::fs::read_to_string(f).unwrap();
        let rows =
            text.lines().skip(1).map(|l| l.split_once(',').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).unwrap());
        rows.collect::<Vec<(i64, i64)>>()
    });
    lines.collect()
}

/// The same, worked out here.
fn wanted(i: usize) -> BTreeMap<i64, i64> {
    let worth = |id: i64| id * 7 % 101 + i as i64 * (id * 13 % 17);
    let mut order: Vec<i64> = (1..=PEOPLE).collect();
    order.sort_by_key(|id| (-worth(*id), *id));
    order.iter().zip(1..).map(|(id, place)| (*id, place)).collect()
}

#[test]
fn a_run_of_a_thousand_steps_ends_and_the_coordinator_stays_small() {
    let long = setting("STRATA_TEST_LONG").is_some();
    let size = match long {
        true => Size { tables: 490, segmentations: 20, outputs: 490 },
        false => Size { tables: 145, segmentations: 10, outputs: 145 },
    };
    let work = tempfile::tempdir().unwrap();
    generate(work.path(), &size);
    let cluster = LocalCluster::start(&work.path().join("cluster"), ClusterSpec { workers: 2, ..Default::default() });
    let before = peak_bytes(cluster.coordinator_pid());
    let began = Instant::now();
    let vars = crate::cluster::vars(work.path(), &work.path().join("out"));
    let report = done(&cluster, cluster.run(work.path(), &vars, &["--output", "json"]));
    let peak = peak_bytes(cluster.coordinator_pid());
    let steps = report["steps"].as_array().unwrap().len();
    let kept: u64 = ["runs.db", "runs.db-wal"].iter().filter_map(|f| Some(cluster.dir().join(f).metadata().ok()?.len())).sum();
    println!(
        "{steps} steps in {:.1} s; the coordinator had {} MB resident before and at most {} MB; its store has {} MB",
        began.elapsed().as_secs_f64(),
        before / 1_000_000,
        peak / 1_000_000,
        kept / 1_000_000
    );
    assert_eq!(steps, size.tables + size.segmentations + size.outputs + 2);
    assert!(!long || steps >= 1000);
    assert!(peak < COORDINATOR_BYTES_MAX, "the coordinator had {peak} bytes resident");
    assert!(kept < 100_000_000, "the store has {kept} bytes");
    assert!(report["steps"].as_array().unwrap().iter().all(|s| s["reused"] == false), "a step ran twice");
    for i in [0, 1, size.outputs / 2, size.outputs - 1] {
        assert_eq!(places(&report, i), wanted(i), "o{i}");
    }
}
