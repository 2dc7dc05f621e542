//! Diagnostics as SARIF 2.1.0, which code scanners show. Never names anything of the machine but the file that was given.

use super::{Region, Regions};
use crate::codes;
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::text::{SourceText, Span};
use serde_json::{Value, json};

/// One log of one run: a rule for each code that occurs, with its page, and a result for each diagnostic.
pub fn sarif(source: &SourceText, found: &[Diagnostic]) -> Value {
    let regions = Regions::of(source);
    let mut rules: Vec<Code> = found.iter().map(|d| d.code).collect();
    rules.sort_unstable();
    rules.dedup();
    let uri = uri(&source.path);
    let results: Vec<Value> = found.iter().map(|d| result(&uri, &regions, &rules, d)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "strata",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|code| rule(*code)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "artifacts": [{"location": {"uri": uri}}],
            "results": results,
        }],
    })
}

fn rule(code: Code) -> Value {
    let page = codes::explain(code.0).unwrap_or_default();
    json!({
        "id": code.0,
        "shortDescription": {"text": codes::title(code).unwrap_or(code.0)},
        "help": {"text": page, "markdown": page},
    })
}

fn result(uri: &str, regions: &Regions, rules: &[Code], d: &Diagnostic) -> Value {
    let help = d.help.as_ref().map(|h| format!("\nhelp: {h}")).unwrap_or_default();
    let mut result = json!({
        "ruleId": d.code.0,
        "ruleIndex": rules.binary_search(&d.code).unwrap_or_default(),
        "level": match d.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "message": {"text": format!("{}{help}", d.message)},
        "locations": [location(uri, regions, d.span)],
    });
    if !d.also.is_empty() {
        let related = d.also.iter().map(|(span, text)| {
            let mut place = location(uri, regions, *span);
            place["message"] = json!({"text": text});
            place
        });
        result["relatedLocations"] = related.collect();
    }
    result
}

fn location(uri: &str, regions: &Regions, span: Span) -> Value {
    let Region { line, column, end_line, end_column } = regions.region(span);
    json!({"physicalLocation": {
        "artifactLocation": {"uri": uri},
        "region": {"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column},
    }})
}

/// A path as a URI reference.
fn uri(path: &str) -> String {
    let mut out = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_uris() {
        assert_eq!(uri("shop/a b%ö.yaml"), "shop/a%20b%25%C3%B6.yaml");
        assert_eq!(uri("/data/p.yaml"), "file:///data/p.yaml");
    }
}
