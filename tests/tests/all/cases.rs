//! Every folder under `cases/`: a pipeline with small inputs, and the tables or the diagnostics it must give, on 1, 2 and 7 partitions and
//! with every plan sent through its wire format.

use std::path::PathBuf;
use strata_testkit::{RunSpec, case_folders, diagnose, run_pipeline};

fn cases() -> Vec<PathBuf> {
    let found = case_folders(&strata_testkit::repository().join("tests/cases"));
    assert!(found.len() >= 8, "only {} cases found", found.len());
    found
}

#[test]
fn tables_are_as_expected_on_any_number_of_partitions() {
    let mut ran = 0;
    for case in cases().iter().filter(|c| c.join("expected").is_dir()) {
        for (threads, round_trip) in [(1, false), (2, true), (7, false)] {
            let out = tempfile::tempdir().unwrap();
            let spec = RunSpec::new(case, case, out.path()).threads(threads).round_trip(round_trip);
            let report = run_pipeline(&spec).unwrap_or_else(|e| panic!("{}: {e}", case.display()));
            for expected in std::fs::read_dir(case.join("expected")).unwrap().map(|e| e.unwrap().path()) {
                let name = expected.file_stem().unwrap().to_string_lossy().into_owned();
                let output = report.outputs.iter().find(|o| o.name == name).unwrap_or_else(|| panic!("no output {name}"));
                let mut got = String::new();
                let mut files: Vec<PathBuf> = std::fs::read_dir(&output.path).unwrap().map(|e| e.unwrap().path()).collect();
                files.sort();
                for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "csv")) {
                    got.push_str(&std::fs::read_to_string(file).unwrap());
                }
                let want = std::fs::read_to_string(&expected).unwrap();
                assert_eq!(got, want, "{} on {threads} threads: {name}", case.display());
                ran += 1;
            }
            for source in report.sources.iter().filter(|s| s.read) {
                assert_eq!(source.in_files, source.accounted(), "{}: rows of {}", case.display(), source.source);
            }
        }
    }
    assert!(ran >= 12, "only {ran} tables were compared");
}

#[test]
fn wrong_pipelines_say_where_and_what_to_do() {
    let mut ran = 0;
    for case in cases() {
        let snap = case.join("diagnostics.snap");
        if let Ok(want) = std::fs::read_to_string(&snap) {
            let got = diagnose(&case);
            assert_eq!(got.trim(), want.trim(), "{}", case.display());
            ran += 1;
        }
    }
    assert!(ran >= 4, "only {ran} wrong pipelines");
}
