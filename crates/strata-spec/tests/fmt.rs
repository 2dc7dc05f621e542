//! Formatting: comments stay, meaning stays, and a second time changes nothing. Never compares more than text and pipelines.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::path::{Path, PathBuf};
use strata_spec::{Reach, SourceText, fmt, load_within};

fn source(text: &str) -> SourceText {
    SourceText { path: "p.yaml".to_owned(), text: text.to_owned() }
}

fn formatted(text: &str) -> String {
    fmt(&source(text)).unwrap_or_else(|e| panic!("{e:#?}"))
}

/// What a file says, without its places.
fn meaning(text: &str) -> String {
    let loaded = load_within(&source(text), &[], Reach::Language);
    let wrong: Vec<String> = loaded.diagnostics.iter().map(|d| format!("{} {}", d.code, d.message)).collect();
    let said = format!("{:?} {:?}", loaded.pipeline, loaded.draft);
    let mut out = String::new();
    let mut rest = said.as_str();
    while let Some(at) = ["Span { start: ", "line_starts: ["].iter().filter_map(|m| rest.find(m)).min() {
        out.push_str(&rest[..at]);
        let close = if rest[at..].starts_with("Span") { '}' } else { ']' };
        rest = &rest[at + rest[at..].find(close).unwrap() + 1..];
    }
    out.push_str(rest);
    format!("{out}\n{}", wrong.join("\n"))
}

fn comments(text: &str) -> Vec<&str> {
    text.lines().filter_map(|l| l.find('#').map(|at| l[at..].trim_end())).collect()
}

fn pipelines() -> Vec<(PathBuf, String)> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../..");
    let mut all = vec![(PathBuf::from("complete.yaml"), include_str!("complete.yaml").to_owned())];
    for folder in ["pipelines", "tests/cases"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let file = entry.unwrap().path().join("pipeline.yaml");
            if let Ok(text) = std::fs::read_to_string(&file) {
                all.push((file, text));
            }
        }
    }
    all
}

/// Asserts that two texts are equal, and shows the first line that is not.
fn equal(found: &str, wanted: &str, what: &str) {
    let (a, b): (Vec<&str>, Vec<&str>) = (found.lines().collect(), wanted.lines().collect());
    if let Some(first) = (0..a.len().max(b.len())).find(|i| a.get(*i) != b.get(*i)) {
        let near = |lines: &[&str]| lines.iter().skip(first.saturating_sub(2)).take(5).copied().collect::<Vec<_>>().join("\n");
        panic!("{what}, line {}:\n{}\n-- instead of\n{}", first + 1, near(&a), near(&b));
    }
    assert!(found == wanted, "{what}: line ends differ");
}

fn holds(path: &Path, text: &str) -> bool {
    let Ok(once) = fmt(&source(text)) else { return false };
    equal(&formatted(&once), &once, &format!("{} is formatted differently a second time", path.display()));
    equal(&meaning(&once), &meaning(text), &format!("{} means something else", path.display()));
    assert_eq!(comments(&once), comments(text), "{} has other comments", path.display());
    true
}

#[test]
fn every_pipeline_means_the_same_afterwards() {
    let all = pipelines();
    let formatted = all.iter().filter(|(path, text)| holds(path, text)).count();
    assert!(formatted >= 15, "{formatted} of {}", all.len());
}

#[test]
fn the_pipelines_that_people_read_are_formatted() {
    for (path, text) in pipelines().iter().filter(|(p, _)| p.to_string_lossy().contains("/pipelines/")) {
        equal(&formatted(text), text, &path.display().to_string());
    }
}

#[test]
fn spaces_are_put_right() {
    let before = "\n\nversion:   1   \nname: t\nsources:\n     a:   { parquet :  'x y' ,key: [ a,b ] }   # one\n     # of b\n     b:\n         parquet: y  \n\n\n         where: |\n             x > 1   \n                and y\n\n             and z\n      # deeper\n\n# end\n";
    let after = "version: 1\nname: t\nsources:\n  a: {parquet: 'x y', key: [a, b]}             # one\n  # of b\n  b:\n    parquet: y\n\n    where: |\n      x > 1   \n         and y\n\n      and z\n  # deeper\n\n# end\n";
    assert_eq!(formatted(before), after);
}

#[test]
fn what_is_lined_up_stays_lined_up() {
    let before = "sources:\n   stores:     {parquet: s}   # a\n   products:   {parquet: p}   # b\n   x: {parquet: x}\n                 # not\n   yy: {parquet: y} # c\n";
    let after = "sources:\n  stores:   {parquet: s}      # a\n  products: {parquet: p}      # b\n  x: {parquet: x}\n                 # not\n  yy: {parquet: y}  # c\n";
    let text = formatted(before);
    assert_eq!(text.replace("                 # not", "  # not"), after.replace("                 # not", "  # not"));
}

#[test]
fn lists_and_long_flows_are_indented_by_twos() {
    let before = "attributes:\n customer:\n - row: {a: b,\n    c: d,\n     e: [f,\n    g]}\n - from:   o\n   columns:\n          n: >-\n            count(*)\n            + 1\n          m: a +\n             b\n -   |\n   x\n";
    let after = "attributes:\n  customer:\n    - row: {a: b,\n        c: d,\n        e: [f,\n          g]}\n    - from: o\n      columns:\n        n: >-\n          count(*)\n          + 1\n        m: a +\n          b\n    - |\n      x\n";
    let found = fmt(&source(before));
    assert_eq!(found.as_deref().unwrap_or("no"), after, "{found:#?}");
}

#[test]
fn what_is_not_yaml_is_said_and_not_touched() {
    let wrong = fmt(&source("a: 'x' || y\n")).unwrap_err();
    assert_eq!((wrong.len(), wrong[0].code.0), (1, "S0101"));
    assert_eq!(fmt(&source("a: 1\na: 2\n")).unwrap_err()[0].code.0, "S0102");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, rng_seed: RngSeed::Fixed(20260202), ..ProptestConfig::default() })]

    /// Blanks, blank lines and comments put where they change nothing.
    #[test]
    fn untidy_files_become_tidy(edits in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..6), 1..30), step in 1_usize..6) {
        let (_, text) = &pipelines()[0];
        let mut lines: Vec<String> = indented(text, step);
        for (at, what) in edits {
            let at = at.index(lines.len());
            match what {
                0 => lines[at].push_str("   "),
                1 => lines.insert(at, String::new()),
                2 => lines.insert(at, "   # said".to_owned()),
                3 => lines[at] = lines[at].replacen(": {", ":   { ", 1),
                4 => lines[at] = lines[at].replacen(", ", ",", 1),
                _ => lines[at].push_str(" # more"),
            }
        }
        let text = lines.join("\n");
        if let Ok(once) = fmt(&source(&text)) {
            // A formatter that gives up leaves the text as it is.
            prop_assert!(step == 2 || once != text);
            holds(Path::new("edited"), &text);
        }
    }

    /// Whatever is written, the answer is text that means the same, or what is wrong with it.
    #[test]
    fn any_yaml_survives(text in "([ ]{0,4}(- |[a-c]: |\"x\"|'y'|\\||>|\\{|\\}|\\[|\\]|,|x|#|---|é|1)?(a|: | |\r?\n)?){0,40}") {
        if let Ok(once) = fmt(&source(&text)) {
            prop_assert_eq!(fmt(&source(&once)).unwrap_or_default(), once);
        }
    }
}

/// The file with `step` blanks a level.
fn indented(text: &str, step: usize) -> Vec<String> {
    text.lines()
        .map(|l| {
            let blanks = l.len() - l.trim_start().len();
            format!("{}{}", " ".repeat(blanks / 2 * step + blanks % 2), l.trim_start())
        })
        .collect()
}
