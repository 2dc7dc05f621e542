//! Prints: diagnostics with the user's own lines, and lines of text. Never decides what is an error.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::Value;
use std::io::{IsTerminal, Write};
use strata_spec::{Diagnostic, Severity, SourceText};

/// A line for people, on standard error.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Data, on standard output.
pub(crate) fn data(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Every diagnostic, with its lines.
pub(crate) fn diagnostics(source: &SourceText, found: &[Diagnostic]) {
    for d in found {
        one(source, d, if d.severity == Severity::Error { Level::ERROR } else { Level::WARNING });
    }
    let errors = found.iter().filter(|d| d.severity == Severity::Error).count();
    if errors > 0 {
        line(&format!("{errors} error{} in {}; `strata explain CODE` says more", plural(errors), source.path));
    }
}

/// What is not wrong, but worth knowing.
pub(crate) fn notes(source: &SourceText, hints: &[Diagnostic]) {
    hints.iter().for_each(|d| one(source, d, Level::NOTE));
}

fn one(source: &SourceText, d: &Diagnostic, level: Level<'_>) {
    let plain = !std::io::stderr().is_terminal() || no_color();
    let renderer = if plain { Renderer::plain() } else { Renderer::styled() };
    let clamp = |span: strata_spec::Span| {
        let end = span.end.min(source.text.len());
        let start = floor(&source.text, span.start.min(end));
        start..floor(&source.text, end.max(start))
    };
    let mut snippet = Snippet::source(source.text.as_str())
        .path(source.path.as_str())
        .annotation(AnnotationKind::Primary.span(clamp(d.span)).label(d.label.as_str()));
    for (span, text) in &d.also {
        snippet = snippet.annotation(AnnotationKind::Context.span(clamp(*span)).label(text.as_str()));
    }
    let mut group: Group<'_> = level.primary_title(d.message.as_str()).id(d.code.0).element(snippet);
    if let Some(help) = &d.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    line(&renderer.render(&[group]).to_string());
}

/// Diagnostics for machines.
pub(crate) fn diagnostics_json(source: &SourceText, found: &[Diagnostic]) -> Value {
    strata_spec::formats::json(source, found)
}

/// `s` unless there is one.
pub(crate) fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[expect(clippy::disallowed_methods, reason = "a setting of the terminal, read where it is used")]
fn no_color() -> bool {
    std::env::var("NO_COLOR").is_ok_and(|v| !v.is_empty())
}
