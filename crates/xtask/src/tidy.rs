//! The house rules that no compiler knows: the crate table, module headers, lengths of files, and a page and a case for every diagnostic.
//! Never changes a file.

use crate::say;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of code (no tests, comments or blank lines) that a file may have: beyond, it wants to be two ideas.
const CODE_LINES_MAX: usize = 500;
/// Checks everything and says all that is wrong. Errors: how much is wrong.
pub(crate) fn tidy(root: &Path) -> Result<(), String> {
    let mut wrong = vec![];
    crates(root, &mut wrong)?;
    let files = sources(root)?;
    files.iter().for_each(|file| source(root, file, &mut wrong));
    diagnostics(root, &mut wrong)?;
    wrong.iter().for_each(|w| say(w));
    match wrong.len() {
        0 => {
            say(&format!("tidy: {} files, nothing to say", files.len()));
            Ok(())
        }
        n => Err(format!("tidy: {n} thing{} to mend", if n == 1 { "" } else { "s" })),
    }
}

/// The table of crates/README.md against what the manifests say.
fn crates(root: &Path, wrong: &mut Vec<String>) -> Result<(), String> {
    let readme = read(&root.join("crates/README.md"))?;
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in readme.lines().filter(|l| l.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if let [name, _, uses] = cells.as_slice()
            && let Some(name) = name.strip_prefix('`').and_then(|n| n.strip_suffix('`'))
            && (name.starts_with("strata-") || name == "xtask")
        {
            told.insert(name.to_owned(), uses.split(", ").filter(|u| *u != "–").map(str::to_owned).collect());
        }
    }
    let real = manifests(root)?;
    for (name, uses) in &real {
        match told.get(name) {
            None => wrong.push(format!("crates/README.md: the table has no row for `{name}`")),
            Some(told) if told != uses => {
                let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
                wrong.push(format!("crates/README.md: `{name}` uses [{}], and the table says [{}]", list(uses), list(told)));
            }
            Some(_) => {}
        }
    }
    let gone = told.keys().filter(|name| !real.contains_key(*name));
    wrong.extend(gone.map(|name| format!("crates/README.md: the table has a row for `{name}`, which is no crate")));
    Ok(())
}

/// What each crate of the workspace uses of the others, without `strata-`; not what only its tests use.
fn manifests(root: &Path) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
    let out =
        Command::new("cargo").args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root).output();
    let out = out.map_err(|e| format!("cargo metadata: {e}"))?;
    let all: Value = serde_json::from_slice(&out.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let mut found = BTreeMap::new();
    for package in all["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        if name == "strata-tests" {
            continue;
        }
        let uses = package["dependencies"].as_array().into_iter().flatten();
        let uses =
            uses.filter(|d| d["kind"].is_null()).filter_map(|d| d["name"].as_str()?.strip_prefix("strata-").map(str::to_owned));
        found.insert(name.to_owned(), uses.collect());
    }
    Ok(found)
}

/// Every source file that people write.
fn sources(root: &Path) -> Result<Vec<PathBuf>, String> {
    let (mut out, mut folders) = (vec![], vec![root.join("crates"), root.join("tests")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "generated" && name != "target" && name != "fuzz" {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    out.sort();
    Ok(out)
}

fn source(root: &Path, file: &Path, wrong: &mut Vec<String>) {
    let named = file.strip_prefix(root).unwrap_or(file).display().to_string();
    let Ok(text) = fs::read_to_string(file) else {
        wrong.push(format!("{named}: not text"));
        return;
    };
    if !text.starts_with("//! ") {
        wrong.push(format!("{named}:1: opens with no `//!` that says what it is, and what it never does"));
    }
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("//")).count();
    if lines > CODE_LINES_MAX {
        wrong.push(format!("{named}: {lines} lines of code, more than {CODE_LINES_MAX}: it wants to be two ideas"));
    }
}

/// Every diagnostic has a page, and a case or a test that shows it; every page is of one.
fn diagnostics(root: &Path, wrong: &mut Vec<String>) -> Result<(), String> {
    let codes = read(&root.join("crates/strata-spec/src/codes.rs"))?;
    let codes = in_text(codes.split("#[cfg(test)]").next().unwrap_or_default());
    let folder = root.join("crates/strata-spec/src/pages");
    let pages: BTreeSet<String> = fs::read_dir(&folder)
        .map_err(|e| format!("{}: {e}", folder.display()))?
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.strip_suffix(".md").map(str::to_owned))
        .collect();
    let mut shown = BTreeSet::new();
    let mut folders = vec![root.join("tests")];
    folders.extend(fs::read_dir(root.join("crates")).map_err(|e| e.to_string())?.flatten().map(|c| c.path().join("tests")));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.extension().and_then(|e| e.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("snap" | "rs") => shown.extend(in_text(&fs::read_to_string(&path).unwrap_or_default())),
                _ => {}
            }
        }
    }
    wrong.extend(codes.difference(&pages).map(|c| format!("{c}: no page crates/strata-spec/src/pages/{c}.md")));
    wrong.extend(pages.difference(&codes).map(|c| format!("{c}: a page of no diagnostic")));
    wrong.extend(codes.difference(&shown).map(|c| format!("{c}: no case and no test shows it")));
    Ok(())
}

/// Codes such as S0302 in a text.
fn in_text(text: &str) -> BTreeSet<String> {
    let is_code = |at: &usize| {
        let code = text.get(*at..at + 5);
        let alone = !text[..*at].chars().next_back().is_some_and(char::is_alphanumeric)
            && !text.get(at + 5..).and_then(|t| t.chars().next()).is_some_and(char::is_alphanumeric);
        alone && code.is_some_and(|c| c[1..].bytes().all(|b| b.is_ascii_digit()))
    };
    text.match_indices('S').map(|(at, _)| at).filter(is_code).map(|at| text[at..at + 5].to_owned()).collect()
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}
