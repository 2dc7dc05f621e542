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
    // Only the lines that are shown are handed on: the renderer goes through all it gets, for each of up to a thousand diagnostics.
    let spans = || std::iter::once(d.span).chain(d.also.iter().map(|(span, _)| *span));
    let place = |at: usize| floor(&source.text, at.min(source.text.len()));
    let (first, last) = (place(spans().map(|s| s.start).min().unwrap_or(0)), place(spans().map(|s| s.end).max().unwrap_or(0)));
    let from = source.text[..first].rfind('\n').map_or(0, |at| at + 1);
    let to = source.text[last.max(first)..].find('\n').map_or(source.text.len(), |at| last.max(first) + at + 1);
    let clamp = |span: strata_spec::Span| place(span.start) - from..place(span.end.max(span.start)) - from;
    let mut snippet = Snippet::source(&source.text[from..to])
        .line_start(source.line_column(from).0)
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
