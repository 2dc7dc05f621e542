//! SIGKILL at any moment: every output stays whole, a mixed set is named, and running again repairs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use strata_demo::{Size, generate};
use strata_testkit::{binary, outputs_json, repository};

struct Place {
    data: PathBuf,
    out: PathBuf,
    state: PathBuf,
}

fn command(place: &Place, as_of: &str) -> Command {
    let mut command = Command::new(binary());
    command.arg("run").arg(repository().join("pipelines/c360"));
    command.arg("-p").arg(format!("data={}", place.data.display())).arg("-p").arg(format!("out={}", place.out.display()));
    command.arg("--state").arg(&place.state).args(["--fresh", "--as-of", as_of, "--output", "json"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Every output's current version: its run, after checking that each file of its manifest is there with its size.
fn whole(place: &Place) -> Vec<Option<String>> {
    let vars = [("data", place.data.as_path()), ("out", place.out.as_path())];
    let states = outputs_json(&repository().join("pipelines/c360"), &vars);
    let mut runs = vec![];
    for state in states.as_array().unwrap() {
        let Some(path) = state["path"].as_str() else {
            runs.push(None);
            continue;
        };
        let manifest = std::fs::read_to_string(Path::new(path).join("_manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let files = manifest["files"].as_array().unwrap();
        assert!(!files.is_empty());
        for file in files {
            let size = std::fs::metadata(Path::new(path).join(file["path"].as_str().unwrap())).unwrap().len();
            assert_eq!(Some(size as i64), file["bytes"].as_i64(), "{state}");
        }
        runs.push(state["run_id"].as_str().map(str::to_owned));
    }
    assert_eq!(runs.len(), 4);
    runs
}

#[test]
fn killed_at_any_moment_every_output_is_old_or_new_and_running_again_finishes() {
    let work = tempfile::tempdir().unwrap();
    let place = Place { data: work.path().join("data"), out: work.path().join("out"), state: work.path().join("state") };
    generate(&place.data, &Size { customers: 1500, ..Size::default() }, 5).unwrap();
    let start = std::time::Instant::now();
    assert!(command(&place, "2026-01-01T00:00:00Z").status().unwrap().success());
    let once = start.elapsed();
    let before = whole(&place);
    let wanted = 10;
    let (mut mixed, mut killed, mut tried) = (0, 0, 0);
    let mut shortest = once;
    while killed < wanted && tried < 60 {
        let began = std::time::Instant::now();
        let mut child = command(&place, "2026-01-01T00:00:00Z").spawn().unwrap();
        // Spread over the whole run, closer together towards its end, where outputs are committed.
        let share = f64::from((tried * 7) % 16) / 16.0;
        let at = 1.0 - (1.0 - share).powi(2);
        std::thread::sleep(Duration::from_secs_f64(shortest.as_secs_f64() * at));
        tried += 1;
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        } else {
            shortest = shortest.min(began.elapsed());
        }
        child.wait().unwrap();
        let now = whole(&place);
        if now.iter().any(|r| *r != now[0]) {
            mixed += 1;
        }
    }
    assert_eq!(killed, wanted, "of {tried} runs");
    println!("killed {killed} runs, {mixed} of them between commits");
    assert!(command(&place, "2026-01-01T00:00:00Z").status().unwrap().success());
    let after = whole(&place);
    assert!(after.iter().all(|r| r.is_some() && *r == after[0]) && after != before);
}

#[test]
fn a_mixed_set_is_named_and_the_next_run_repairs_it() {
    let work = tempfile::tempdir().unwrap();
    let place = Place { data: work.path().join("data"), out: work.path().join("out"), state: work.path().join("state") };
    generate(&place.data, &Size { customers: 600, ..Size::default() }, 5).unwrap();
    for _ in 0..2 {
        assert!(command(&place, "2026-01-01T00:00:00Z").status().unwrap().success());
    }
    // What a kill between the first and the second commit leaves: one output new, the others old.
    for output in ["customer_segments", "segment_profile", "panel_sample"] {
        let log = place.out.join(output).join("_pointer");
        let mut entries: Vec<PathBuf> = std::fs::read_dir(log).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        std::fs::remove_file(entries.last().unwrap()).unwrap();
    }
    let runs = whole(&place);
    assert!(runs.iter().any(|r| *r != runs[0]));
    let report = work.path().join("report.json");
    let mut again = command(&place, "2026-01-01T00:00:00Z");
    assert!(again.arg("--report").arg(&report).status().unwrap().success());
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(report["mixed_before"]["newest"][0], "customer_360");
    let runs = whole(&place);
    assert!(runs.iter().all(|r| *r == runs[0]));
}
