//! Pages of codes: each has one, each is used, and what a page calls wrong is wrong with that code, what it calls right is right.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use strata_spec::{Diagnostic, Reach, SourceText, codes, explain, hints, load_within};

fn crates() -> PathBuf {
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("..")
}

fn rust_files(folder: &Path, out: &mut Vec<(PathBuf, String)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|e| e.unwrap().path()) {
        match path.extension().and_then(|e| e.to_str()) {
            Some("rs") => out.push((path.clone(), std::fs::read_to_string(&path).unwrap())),
            _ if path.is_dir() => rust_files(&path, out),
            _ => {}
        }
    }
}

/// Every `S` and four digits between quotes in a text.
fn quoted(text: &str) -> BTreeSet<String> {
    let is_code = |c: &&str| c.len() == 5 && c.starts_with('S') && c[1..].bytes().all(|b| b.is_ascii_digit());
    text.split('"').filter(is_code).map(str::to_owned).collect()
}

#[test]
fn every_code_has_a_page_and_every_page_a_code_that_is_used() {
    let mut own = Vec::new();
    rust_files(&crates().join("strata-spec/src"), &mut own);
    let table = own.iter().find(|(p, _)| p.ends_with("src/codes.rs")).unwrap().1.clone();
    let uses: String = own.iter().filter(|(p, _)| !p.ends_with("src/codes.rs")).map(|(_, t)| t.as_str()).collect();
    for line in table.lines().filter(|l| l.contains(" = \"S")) {
        let name = line.split_whitespace().next().unwrap();
        assert!(uses.contains(&format!("codes::{name}")), "{name} is never used");
    }
    // Plans are made by a crate above this one; its table is read as text.
    let plan = std::fs::read_to_string(crates().join("strata-plan/src/codes.rs")).unwrap();
    let of_plans = quoted(&plan);
    assert!(of_plans.len() >= 17, "{of_plans:?}");
    let pages: BTreeSet<String> = codes::all().map(|c| c.0.to_owned()).collect();
    let own: BTreeSet<String> = table.lines().filter(|l| l.contains(" = \"S")).flat_map(quoted).collect();
    let all: BTreeSet<String> = own.union(&of_plans).cloned().collect();
    assert_eq!(pages, all, "pages and codes differ");
    let mut everywhere = Vec::new();
    for entry in std::fs::read_dir(crates()).unwrap() {
        rust_files(&entry.unwrap().path().join("src"), &mut everywhere);
    }
    for (path, text) in everywhere.iter().filter(|(p, _)| !p.ends_with("strata-spec/src/codes.rs")) {
        for code in quoted(text).iter().filter(|c| *c != "S9999") {
            assert!(explain(code).is_some(), "{} names {code}, which has no page", path.display());
        }
    }
    let files: BTreeSet<String> = std::fs::read_dir(crates().join("strata-spec/src/pages"))
        .unwrap()
        .map(|e| e.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(files, pages, "files and codes differ");
}

/// The text of the fenced block behind a heading, and its language.
fn example<'a>(page: &'a str, heading: &str) -> (&'a str, &'a str) {
    let behind = page.split_once(&format!("## {heading}\n\n```")).unwrap().1;
    let (language, rest) = behind.split_once('\n').unwrap();
    (language, rest.split_once("```").unwrap().0)
}

/// What a fragment leaves out, so that it is a pipeline.
fn whole(fragment: &str) -> String {
    let has = |key: &str| fragment.lines().any(|l| l.starts_with(&format!("{key}:")));
    let mut out = String::new();
    let mut add = |key: &str, text: &str| {
        if !has(key) {
            out.push_str(text);
        }
    };
    add("version", "version: 1\n");
    add("name", "name: shop\n");
    let own_sources = has("sources") && !fragment.contains("customers:");
    add(
        "sources",
        "sources:\n  customers: {parquet: customers.parquet, key: customer_id}\n  orders: {parquet: orders.parquet, time: ordered_at, key: order_id}\n",
    );
    if !own_sources {
        add("entities", "entities: {customer: {from: customers, key: customer_id}}\n");
        let row = "attributes:\n  customer:\n    - row: {age: age_years(birth_date), region: customers.region}\n";
        let orders =
            "    - from: orders\n      columns: {order_count: count(*), spend: total(amount), recency_days: max(days)}\n";
        let no_orders = has("sources") && !fragment.contains("orders:");
        add("attributes", &if no_orders { row.to_owned() } else { format!("{row}{orders}") });
    }
    out + fragment
}

fn found(fragment: &str) -> Vec<Diagnostic> {
    let source = SourceText { path: "p.yaml".to_owned(), text: whole(fragment) };
    // What needs a construct that comes later is about that construct.
    let first = load_within(&source, &[], Reach::Version);
    let later = first.diagnostics.iter().any(|d| d.code == codes::NOT_YET);
    let loaded = if later && fragment.contains("checks:") { load_within(&source, &[], Reach::Language) } else { first };
    let warnings = loaded.pipeline.as_ref().map(hints).unwrap_or_default();
    loaded.diagnostics.into_iter().chain(warnings).collect()
}

#[test]
fn what_pages_call_wrong_is_wrong_and_what_they_call_right_is_right() {
    let mut tried = 0;
    for code in codes::all() {
        let page = explain(code.0).unwrap();
        let of_plans = code.0 >= "S0300";
        for (heading, is_wrong) in [("Wrong", true), ("Right", false)] {
            let (language, text) = example(page, heading);
            if language != "yaml" {
                continue;
            }
            let found = found(text);
            let said: Vec<&str> = found.iter().map(|d| d.code.0).filter(|c| *c != "S0180" || code.0 == "S0180").collect();
            match (is_wrong, of_plans) {
                (true, false) => assert!(said.contains(&code.0), "{code} is not said of its example, but {said:?}"),
                // What only plans see is text to this crate; two of their codes are said earlier, if the reader sees it.
                (true, true) => assert!(matches!(said.as_slice(), [] | ["S0123" | "S0207"]), "{code}: {found:#?}"),
                (false, _) => assert!(said.is_empty(), "{code}, {heading}: {found:#?}"),
            }
            tried += 1;
        }
    }
    assert!(tried >= 115, "only {tried} examples were tried");
}
