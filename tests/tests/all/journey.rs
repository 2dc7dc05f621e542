//! Complete Journey, real data: every line is accounted for and the published counts come out.

use std::path::PathBuf;
use strata_testkit::{RunSpec, content_of, repository, run_pipeline};

/// Folder of the fetched data; the test command fetches it.
fn data() -> Option<PathBuf> {
    strata_testkit::setting("STRATA_TEST_JOURNEY").map(PathBuf::from).filter(|p| p.join("transactions.parquet").is_file())
}

#[test]
fn every_line_is_accounted_for() {
    let Some(data) = data() else {
        println!("not run: the data are not fetched; tests/run.sh fetches them");
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let pipeline = repository().join("pipelines/complete_journey");
    let report = run_pipeline(&RunSpec::new(&pipeline, &data, &work.path().join("out"))).unwrap_or_else(|e| panic!("{e}"));
    let lines = report.sources.iter().find(|s| s.source == "transactions").unwrap();
    assert_eq!((lines.in_files, lines.used), (1_469_307, 1_469_307), "{lines:?}");
    let households = report.outputs.iter().find(|o| o.name == "household_360").unwrap();
    assert_eq!(households.rows, 2_469);
    assert_eq!(report.panel[0].roster, 2_469);
    assert_eq!(report.panel[0].eligible, 801);
    let weights = report.panel[0].weights.as_ref().unwrap();
    assert!(weights.converged && (weights.sum - 801.0).abs() < 1e-3, "{weights:?}");
    let again = run_pipeline(&RunSpec::new(&pipeline, &data, &work.path().join("again")).threads(7).round_trip(true));
    assert_eq!(content_of(&again.unwrap()), content_of(&report));
}
