//! Diagnostics as JSON. Never changes a field's name or meaning: programs read them.

use super::{Region, Regions};
use crate::codes;
use crate::diagnostic::{Diagnostic, Kind, Severity};
use crate::text::SourceText;
use serde_json::{Value, json};

/// A list of objects: `code`, `title`, `severity`, `kind`, `message`, `label`, `help` (or null), `file`, `line`, `column`,
/// `end_line`, `end_column` (from 1; columns in characters, the end one past the last) and `also`, other places with a `message`
/// each.
pub fn json(source: &SourceText, found: &[Diagnostic]) -> Value {
    let regions = Regions::of(source);
    Value::Array(found.iter().map(|d| one(source, &regions, d)).collect())
}

fn one(source: &SourceText, regions: &Regions, d: &Diagnostic) -> Value {
    let Region { line, column, end_line, end_column } = regions.region(d.span);
    let also = |(span, message): &(crate::text::Span, String)| {
        let Region { line, column, end_line, end_column } = regions.region(*span);
        json!({"message": message, "line": line, "column": column, "end_line": end_line, "end_column": end_column})
    };
    json!({
        "code": d.code.0,
        "title": codes::title(d.code),
        "severity": match d.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "kind": match d.kind { Kind::Invalid => "invalid", Kind::Policy => "policy", Kind::Data => "data" },
        "message": d.message,
        "label": d.label,
        "help": d.help,
        "file": source.path,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
        "also": d.also.iter().map(also).collect::<Vec<_>>(),
    })
}
