//! One slip makes one diagnostic: wherever a real pipeline is broken, what is said is about that place, and nothing else is called wrong.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use strata_spec::{Loaded, SourceText, load};

const COMPLETE: &str = include_str!("complete.yaml");

fn pipelines() -> Vec<(&'static str, String)> {
    let root = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../pipelines");
    let quickstart = std::fs::read_to_string(root.join("quickstart/pipeline.yaml")).unwrap();
    vec![("complete", COMPLETE.to_owned()), ("quickstart", quickstart)]
}

fn said(text: &str) -> (SourceText, Loaded) {
    let source = SourceText { path: "p.yaml".to_owned(), text: text.to_owned() };
    let loaded = load(&source, &[]);
    (source, loaded)
}

/// The lines of the text, and where `key: value` stands without anything nested below it.
fn values(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |l: &str| l.len() - l.trim_start().len();
    let is_text = |l: &&&str| !l.trim().is_empty() && !l.trim_start().starts_with('#');
    (0..lines.len())
        .filter(|i| {
            let item = lines[*i].trim_start();
            let own = indent(lines[*i]) + if item.starts_with("- ") { 2 } else { 0 };
            let nested = lines[i + 1..].iter().find(is_text).is_some_and(|next| indent(next) > own);
            // A row of a list in brackets takes in the next one when it is cut: where that is told is another matter.
            item.contains(": ") && !item.starts_with('#') && !item.starts_with("- {") && !nested
        })
        .collect()
}

#[test]
fn text_that_yaml_cannot_read_is_told_once() {
    let mut tried = 0;
    for (name, text) in pipelines() {
        for line in values(&text) {
            for bad in ["'x' || y", "[a", "{a: b", "\"open", "%x", "a: b", "- a", "!x y", "@x"] {
                let mut lines: Vec<&str> = text.lines().collect();
                let key = lines[line].split_once(": ").unwrap().0;
                let broken = format!("{key}: {bad}");
                lines[line] = &broken;
                let (source, loaded) = said(&lines.join("\n"));
                let places: Vec<usize> = loaded.diagnostics.iter().map(|d| source.line_column(d.span.start).0).collect();
                // Two brackets of one line that are open are two mistakes.
                let two = places.len() == 2 && bad.starts_with(['[', '{']) && key.contains('{');
                assert!(places.len() == 1 || two, "{name}, line {}: `{broken}`: {:#?}", line + 1, loaded.diagnostics);
                assert!(places[0] == line + 1, "{name}, line {}: `{broken}` is told at line {}", line + 1, places[0]);
                tried += 1;
            }
        }
    }
    assert!(tried >= 1500, "{tried}");
}

/// Keys of the language that stand in both files, and are no names of the user's.
const KEYS: &[&str] = &[
    "version",
    "name",
    "as_of",
    "timezone",
    "vars",
    "sources",
    "consent",
    "entities",
    "tables",
    "attributes",
    "segments",
    "profiles",
    "panel",
    "outputs",
    "parquet",
    "time",
    "mode",
    "late",
    "learned_later",
    "key",
    "duplicates",
    "where",
    "references",
    "derive",
    "columns",
    "classes",
    "from",
    "purposes",
    "sql",
    "row",
    "rules",
    "window",
    "windows",
    "method",
    "bins",
    "quantile",
    "names",
    "others",
    "features",
    "scale",
    "init",
    "describe",
    "stats",
    "members",
    "waves",
    "sample",
    "sample_of",
    "strata",
    "allocate",
    "weights",
    "rake",
    "population",
    "absent",
    "select",
    "format",
    "defaults",
    "purpose",
    "seed",
    "lapsing",
    "first_days",
];

#[test]
fn a_misspelt_key_is_told_once_with_the_right_one() {
    let mut tried = 0;
    for (name, text) in pipelines() {
        for key in KEYS {
            let places: Vec<usize> = text.match_indices(&format!("{key}:")).map(|(at, _)| at).collect();
            for at in places {
                let line = text[..at].rfind('\n').map_or(0, |n| n + 1);
                let whole = text[..at].ends_with([' ', '{', '\n']);
                if !whole || text[line..at].contains('#') {
                    continue;
                }
                // The last two letters swapped.
                let mut letters: Vec<char> = key.chars().collect();
                let last = letters.len() - 1;
                letters.swap(last, last - 1);
                let misspelt: String = letters.into_iter().collect();
                let (source, loaded) = said(&format!("{}{misspelt}{}", &text[..at], &text[at + key.len()..]));
                let place = format!("{name}, line {}: `{misspelt}`", source.line_column(at).0);
                let [one] = loaded.diagnostics.as_slice() else { unreachable!("{place}: {:#?}", loaded.diagnostics) };
                let meant = one.help.as_deref().is_some_and(|h| h.starts_with(&format!("did you mean `{key}`?")));
                assert!(one.code.0 == "S0103" && one.span.start == at && meant, "{place}: {one:#?}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 200, "{tried}");
}
