//! The c360 pipeline against an independent implementation in DuckDB, on generated data; and against the benchmark's peer where it is at hand.

use std::path::{Path, PathBuf};
use std::process::Command;
use strata_demo::{Size, append_day, generate};
use strata_engine::RunReport;
use strata_testkit::{RunSpec, content_of, python, repository, run_pipeline, run_python};

const AS_OF: &str = "2026-01-01T00:00:00Z";

fn run(data: &Path, out: &Path, as_of: &str, change: impl FnOnce(RunSpec) -> RunSpec) -> RunReport {
    let pipeline = repository().join("pipelines/c360");
    let spec = change(RunSpec::new(&pipeline, data, out).as_of(as_of));
    run_pipeline(&spec).unwrap_or_else(|e| panic!("c360: {e}"))
}

fn oracle(data: &Path, work: &Path, day: &str, report: &RunReport) {
    let wanted = work.join(format!("oracle-{day}"));
    let oracle = repository().join("tests/oracle");
    run_python(&[
        oracle.join("c360_oracle.py").to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
        "--out",
        wanted.to_str().unwrap(),
        "--as-of",
        day,
    ]);
    let got = work.join(format!("strata-{day}"));
    std::fs::create_dir_all(&got).unwrap();
    for output in &report.outputs {
        std::os::unix::fs::symlink(&output.path, got.join(&output.name)).unwrap();
    }
    run_python(&[oracle.join("compare.py").to_str().unwrap(), got.to_str().unwrap(), wanted.to_str().unwrap()]);
}

#[test]
fn equals_the_oracle_on_both_days_and_does_not_depend_on_partitions_or_file_order() {
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    generate(&data, &Size { customers: 1500, ..Size::default() }, 11).unwrap();
    let out = work.path().join("out");
    let first = run(&data, &out, AS_OF, |s| s.threads(2));
    oracle(&data, work.path(), "2026-01-01", &first);
    let whole = content_of(&first);
    assert_eq!(whole.len(), 4);
    for threads in [1, 7] {
        let again =
            run(&data, &work.path().join(format!("out{threads}")), AS_OF, |s| s.threads(threads).round_trip(threads == 7));
        assert_eq!(content_of(&again), whole, "{threads} partitions");
    }
    let shuffled = work.path().join("shuffled");
    copy_in_another_order(&data, &shuffled);
    assert_eq!(content_of(&run(&shuffled, &work.path().join("out-s"), AS_OF, |s| s)), whole, "files in another order");
    append_day(&data, "2026-01-01".parse().unwrap(), 11).unwrap();
    let second = run(&data, &out, "2026-01-02T00:00:00Z", |s| s);
    oracle(&data, work.path(), "2026-01-02", &second);
    let lines = first.sources.iter().find(|s| s.source == "transactions").unwrap();
    assert!(lines.deduplicated > 0 && lines.filtered > 0 && lines.after_as_of > 0, "{lines:?}");
}

#[test]
fn a_small_memory_budget_spills_and_gives_the_same_tables() {
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    generate(&data, &Size { customers: 12_000, ..Size::default() }, 3).unwrap();
    let free = run(&data, &work.path().join("a"), AS_OF, |s| s);
    let tight = run(&data, &work.path().join("b"), AS_OF, |s| s.memory(208_000_000));
    assert_eq!(content_of(&free), content_of(&tight));
    let spilled: u64 = tight.steps.iter().map(|s| s.spilled_bytes).sum();
    assert!(spilled > 0, "nothing was spilled, so the test shows nothing");
}

/// The same files under names that sort the other way round.
fn copy_in_another_order(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let mut entries: Vec<PathBuf> = std::fs::read_dir(from).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    let n = entries.len();
    for (i, entry) in entries.iter().enumerate() {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        if entry.is_dir() {
            let renamed = if name.contains('=') { format!("part{:03}", n - i) } else { name };
            copy_in_another_order(entry, &to.join(renamed));
        } else {
            let renamed = if name.starts_with("part") { format!("z{:03}-{name}", n - i) } else { name };
            std::fs::copy(entry, to.join(renamed)).unwrap();
        }
    }
}

#[test]
fn equals_the_benchmark_peer_where_it_is_at_hand() {
    let bench = repository().join("../shared/bench");
    if !bench.join("peer_duckdb.py").is_file() {
        println!("not run: ../shared is absent");
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    let text = |p: &Path| p.to_str().unwrap().to_owned();
    run_python(&[&text(&bench.join("gen.py")), "--sf", "0.1", "--out", &text(&data), "--seed", "42"]);
    let days = [("2026-01-01", AS_OF), ("2026-01-02", "2026-01-02T00:00:00Z")];
    for (day, as_of) in days {
        if day == "2026-01-02" {
            run_python(&[&text(&bench.join("gen.py")), "--sf", "0.1", "--out", &text(&data), "--append-day", "2026-01-01"]);
        }
        let report = run(&data, &work.path().join(format!("out-{day}")), as_of, |s| s);
        let (peer, ours) = (work.path().join(format!("peer-{day}")), work.path().join(format!("ours-{day}")));
        std::fs::create_dir_all(&peer).unwrap();
        std::fs::create_dir_all(&ours).unwrap();
        let done = Command::new(python())
            .current_dir(&bench)
            .args(["peer_duckdb.py", "--data", &text(&data), "--out", &text(&peer), "--as-of", day])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        for output in &report.outputs {
            std::os::unix::fs::symlink(&output.path, ours.join(&output.name)).unwrap();
        }
        run_python(&[&text(&bench.join("compare.py")), &text(&ours), &text(&peer)]);
    }
}
