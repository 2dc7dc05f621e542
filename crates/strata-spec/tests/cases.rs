//! The folders `tests/cases/wrong_*` whose mistakes this crate finds: every diagnostic with place, code, message and help, as in
//! `diagnostics.snap`. The integration tests hold the same files against the whole program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use strata_spec::{SourceText, codes, load};

fn cases() -> Vec<PathBuf> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../tests/cases");
    let mut all: Vec<PathBuf> = std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).collect();
    all.retain(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("wrong_")));
    all.sort();
    all
}

/// What is wrong with a case: a line each, as the integration tests write it.
fn said(case: &Path) -> String {
    let text = std::fs::read_to_string(case.join("pipeline.yaml")).unwrap();
    let source = SourceText { path: "pipeline.yaml".to_owned(), text };
    let vars = [("data".to_owned(), case.display().to_string()), ("out".to_owned(), "out".to_owned())];
    let line = |d: &strata_spec::Diagnostic| {
        let (row, column) = source.line_column(d.span.start);
        format!("{row}:{column} {} {} | {}", d.code, d.message, d.help.as_deref().unwrap_or("-"))
    };
    load(&source, &vars).diagnostics.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn wrong_pipelines_say_where_and_what_to_do() {
    let mut held = 0;
    let mut of_plans = 0;
    for case in cases() {
        let want = std::fs::read_to_string(case.join("diagnostics.snap")).unwrap();
        let got = said(&case);
        if got.is_empty() {
            // Only plans see what is wrong with it.
            assert!(want.lines().all(|l| l.split(' ').nth(1).is_some_and(|code| code >= "S0300")), "{}", case.display());
            of_plans += 1;
            continue;
        }
        // What plans add, of the part of the file that is right, stands between.
        let own: Vec<&str> = want.lines().filter(|l| l.split(' ').nth(1).is_some_and(|code| code < "S0300")).collect();
        assert_eq!(got.trim(), own.join("\n"), "{}", case.display());
        held += 1;
    }
    assert!(held >= 60 && of_plans >= 6, "{held} cases, {of_plans} of plans");
}

#[test]
fn every_code_of_this_crate_has_a_case() {
    let snaps: String = cases().iter().map(|c| std::fs::read_to_string(c.join("diagnostics.snap")).unwrap()).collect();
    // A file of a megabyte, a thousand problems, `-p` and warnings are no cases: tests of their own hold them.
    let elsewhere = ["S0111", "S0114", "S0180", "S0181", "S0199"];
    let missing: Vec<&str> =
        codes::all().map(|c| c.0).filter(|c| *c < "S0300" && !elsewhere.contains(c) && !snaps.contains(c)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
