//! Bytes that went through exchanges and bytes that did not fit the memory, as a run's report tells them. Never takes a number
//! for granted.

use super::{detached, end_of, json};
use crate::cluster::{AS_OF, c360, contents, vars};
use serde_json::Value;
use std::time::Duration;
use strata_testkit::cluster::{ClusterSpec, LocalCluster};

fn bytes(step: &Value, name: &str) -> u64 {
    step[name].as_u64().unwrap_or_else(|| panic!("no {name}: {step}"))
}

fn step<'a>(report: &'a Value, label: &str) -> &'a Value {
    let steps = report["steps"].as_array().unwrap_or_else(|| panic!("{report}"));
    steps
        .iter()
        .find(|s| s["label"].as_str().is_some_and(|l| l.starts_with(label)))
        .unwrap_or_else(|| panic!("no {label}: {report}"))
}

#[test]
fn the_report_of_a_run_on_a_cluster_tells_bytes_shuffled_and_spilled() {
    let work = tempfile::tempdir().unwrap();
    let c360 = c360(work.path(), 24_000);
    let spec = ClusterSpec { workers: 2, worker_arguments: vec!["--memory".into(), "256MB".into()], ..Default::default() };
    let cluster = LocalCluster::start(&work.path().join("cluster"), spec);
    let vars = vars(&c360.data, &work.path().join("out"));
    let run = detached(&cluster, cluster.run(&c360.pipeline, &vars, &["--as-of", AS_OF, "--output", "json"]));
    let ended = end_of(&cluster, &run, Duration::from_secs(240));
    assert_eq!(ended["state"], "SUCCEEDED", "{ended}\n{}", cluster.logs());
    let report = json(&cluster, &["runs", "report", &run]);
    assert_eq!(contents(&report), c360.wanted);
    let told: Vec<String> = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| format!("{} {} {}", s["label"], s["shuffled_bytes"], s["spilled_bytes"]))
        .collect();
    println!("step, bytes shuffled, bytes spilled: {told:#?}");
    // The attributes take every source through exchanges, and more than fits; a panel is drawn by stratum.
    let attributes = step(&report, "attributes");
    assert!(bytes(attributes, "shuffled_bytes") > 50_000_000, "{told:?}");
    assert!(bytes(attributes, "spilled_bytes") > 10_000_000, "{told:?}");
    assert!(bytes(step(&report, "panel"), "shuffled_bytes") > 100_000, "{told:?}");
    // Rows are written where they lie, and a file needs no room for all of them.
    let write = step(&report, "write customer_360");
    assert_eq!((bytes(write, "shuffled_bytes"), bytes(write, "spilled_bytes")), (0, 0), "{told:?}");
    // What was told while it ran is what the report says in the end.
    let events: Vec<Value> = cluster.watch(&run, 0).filter(|e| e["kind"] == "step_finished").collect();
    assert!(events.len() >= 8, "{events:?}");
    for event in &events {
        let step = step(&report, event["body"]["step"].as_str().unwrap());
        for name in ["shuffled_bytes", "spilled_bytes"] {
            assert_eq!(bytes(&event["body"], name), bytes(step, name), "{event}");
        }
    }
}
