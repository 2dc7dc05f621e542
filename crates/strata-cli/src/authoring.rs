//! Verbs for writing pipelines: pages of codes, presets, the schema, formatting, completions. Never runs a pipeline.

use crate::args::Args;
use crate::render;
use clap::CommandFactory;
use clap_complete::Shell;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use strata_spec::diagnostic::did_you_mean;
use strata_spec::presets::{Parameter, Preset, presets};
use strata_spec::{Reach, SourceText, codes};

/// Success.
const OK: u8 = 0;
/// Something would change.
const WOULD_CHANGE: u8 = 1;
/// Usage.
const USAGE: u8 = 2;

/// The page of a code.
pub(crate) fn explain(code: &str) -> u8 {
    match codes::explain(code) {
        Some(page) => {
            render::data(page.trim_end());
            OK
        }
        None => {
            let near = did_you_mean(&code.to_ascii_uppercase(), codes::all().map(|c| c.0));
            let near = near.map(|n| format!("did you mean `{n}`? ")).unwrap_or_default();
            render::line(&format!("error: there is no diagnostic `{code}`\n  help: {near}codes look like S0302"));
            USAGE
        }
    }
}

/// The JSON Schema of pipeline files.
pub(crate) fn schema() -> u8 {
    render::data(&serde_json::to_string_pretty(&strata_spec::schema(Reach::Version)).unwrap_or_default());
    OK
}

/// The completions of a shell.
pub(crate) fn completions(shell: Shell) -> u8 {
    let mut text = vec![];
    clap_complete::generate(shell, &mut Args::command(), "strata", &mut text);
    render::data(String::from_utf8_lossy(&text).trim_end());
    OK
}

/// What a preset stands for; without a name, the list of them.
pub(crate) fn show(name: Option<&str>) -> u8 {
    let all = presets();
    let Some(name) = name else {
        let width = all.iter().map(|p| p.name.len()).max().unwrap_or(0);
        for p in &all {
            let later = if p.instead.is_some() { "  (not in this version)" } else { "" };
            render::data(&format!("{:<width$}  {}{later}", p.name, p.doc));
        }
        return OK;
    };
    match all.iter().find(|p| p.name == name) {
        Some(preset) => {
            render::data(page(preset).trim_end());
            OK
        }
        None => {
            render::line(&format!("error: there is no preset or method `{name}`\n  help: {}", meant(name, &all)));
            USAGE
        }
    }
}

fn meant(name: &str, all: &[Preset]) -> String {
    // A version is easily forgotten.
    let stem = |p: &&Preset| p.name.split('@').next() == Some(name);
    let near = all.iter().find(stem).map(|p| p.name).or_else(|| did_you_mean(name, all.iter().map(|p| p.name)));
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are: {}", all.iter().map(|p| p.name).collect::<Vec<_>>().join(", ")),
    }
}

fn page(preset: &Preset) -> String {
    let mut out = format!("{}: {}\nwritten under `{}`\n", preset.name, preset.doc, preset.section);
    if let Some(instead) = preset.instead {
        let _ = writeln!(out, "\nnot in this version of Strata; instead, {instead}");
    }
    let _ = writeln!(out, "\nparameters (defaults in brackets; * must be written)");
    let head = |p: &Parameter| format!("{}{}", p.name, if p.is_needed { " *" } else { "" });
    let width = preset.parameters.iter().map(|p| head(p).len()).max().unwrap_or(0);
    for p in &preset.parameters {
        let _ = writeln!(out, "  {:<width$}  {}", head(p), p.doc);
        let _ = writeln!(out, "  {:<width$}    takes {}", "", p.takes);
    }
    if !preset.stands_for.is_empty() {
        let _ = writeln!(out, "\nstands for\n{}", preset.stands_for);
    }
    out
}

/// Formats files in place; with `check`, only says which would change.
pub(crate) fn fmt(paths: &[PathBuf], check: bool) -> u8 {
    let mut code = OK;
    for path in paths {
        let file = if path.is_dir() { path.join("pipeline.yaml") } else { path.clone() };
        code = code.max(match one(&file, check) {
            Ok(changes) if changes && check => WOULD_CHANGE,
            Ok(_) => OK,
            Err(failed) => failed,
        });
    }
    code
}

/// Whether a file changes, or would.
fn one(file: &Path, check: bool) -> Result<bool, u8> {
    let failed = |what: &str, e: std::io::Error| {
        render::line(&format!("error: cannot {what} `{}`: {e}", file.display()));
        USAGE
    };
    let text = std::fs::read_to_string(file).map_err(|e| failed("read", e))?;
    let source = SourceText { path: file.display().to_string(), text };
    let formatted = strata_spec::fmt(&source).map_err(|found| {
        render::diagnostics(&source, &found);
        USAGE
    })?;
    if formatted == source.text {
        return Ok(false);
    }
    let lines = changed(&source.text, &formatted);
    let verb = if check { "would change" } else { "changed" };
    render::data(&format!("{}: {lines} line{} {verb}", file.display(), render::plural(lines)));
    if !check {
        std::fs::write(file, formatted).map_err(|e| failed("write", e))?;
    }
    Ok(true)
}

/// Lines of either text that the other does not have, whichever are more.
fn changed(before: &str, after: &str) -> usize {
    let count = |a: &str, b: &str| {
        let mut left = std::collections::HashMap::<&str, usize>::new();
        b.lines().for_each(|l| *left.entry(l).or_default() += 1);
        a.lines().filter(|l| left.get_mut(l).is_none_or(|n| n.checked_sub(1).map(|less| *n = less).is_none())).count()
    };
    count(before, after).max(count(after, before)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_are_counted_once() {
        assert_eq!(changed("a\nb\nc\n", "a\n  b\nc\n"), 1);
        assert_eq!(changed("a\n\n\nb\n", "a\n\nb\n"), 1);
        assert_eq!(changed("a", "a\n"), 1);
    }

    #[test]
    fn a_forgotten_version_is_found() {
        assert!(meant("rfm", &presets()).contains("rfm@1"));
        assert!(meant("kmean", &presets()).contains("kmeans"));
        assert!(meant("zzzzzzzz", &presets()).contains("lifecycle@2"));
    }
}
