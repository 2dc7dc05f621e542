//! Diagnostics for machines: as SARIF's schema demands, as GitHub reads them, and as JSON. Never compares whole files.

#[path = "support/validator.rs"]
mod validator;

use serde_json::{Value, json};
use strata_spec::{Diagnostic, SourceText, formats, hints, load};

const WRONG: &str = "version: 1\nname: t\nsources:\n  c: {parquet: 'ü', tiem: ts, key: id}\n  o: {parquet: o, key: [a, a]}\nentities: {p: {from: d, key: id}}\n";

fn found(text: &str) -> (SourceText, Vec<Diagnostic>) {
    let source = SourceText { path: "shop/my pipeline.yaml".to_owned(), text: text.to_owned() };
    let loaded = load(&source, &[]);
    let warnings = loaded.pipeline.as_ref().map(hints).unwrap_or_default();
    (source, loaded.diagnostics.into_iter().chain(warnings).collect())
}

/// What SARIF 2.1.0 (OASIS, 27 March 2020) demands of the objects that are written: required properties, names, types and ranges.
fn sarif_demands() -> Value {
    let message = json!({
        "type": "object", "additionalProperties": false, "anyOf": [{"required": ["text"]}, {"required": ["id"]}],
        "properties": {"text": {"type": "string"}, "markdown": {"type": "string"}, "id": {"type": "string"}},
    });
    let multiformat = json!({
        "type": "object", "additionalProperties": false, "required": ["text"],
        "properties": {"text": {"type": "string"}, "markdown": {"type": "string"}},
    });
    let place = json!({"type": "integer", "minimum": 1});
    let region = json!({
        "type": "object", "additionalProperties": false,
        "properties": {"startLine": place, "startColumn": place, "endLine": place, "endColumn": place},
    });
    let artifact = json!({"type": "object", "additionalProperties": false, "properties": {"uri": {"type": "string"}}});
    let location = json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "id": {"type": "integer", "minimum": -1}, "message": message,
            "physicalLocation": {
                "type": "object", "additionalProperties": false, "anyOf": [{"required": ["address"]}, {"required": ["artifactLocation"]}],
                "properties": {"artifactLocation": artifact, "region": region},
            },
        },
    });
    let rule = json!({
        "type": "object", "additionalProperties": false, "required": ["id"],
        "properties": {"id": {"type": "string"}, "shortDescription": multiformat, "help": multiformat},
    });
    let result = json!({
        "type": "object", "additionalProperties": false, "required": ["message"],
        "properties": {
            "ruleId": {"type": "string"}, "ruleIndex": {"type": "integer", "minimum": -1},
            "level": {"enum": ["none", "note", "warning", "error"]}, "message": message,
            "locations": {"type": "array", "items": location}, "relatedLocations": {"type": "array", "items": location},
        },
    });
    let driver = json!({
        "type": "object", "additionalProperties": false, "required": ["name"],
        "properties": {
            "name": {"type": "string"}, "version": {"type": "string"}, "semanticVersion": {"type": "string"},
            "rules": {"type": "array", "uniqueItems": true, "items": rule},
        },
    });
    let run = json!({
        "type": "object", "additionalProperties": false, "required": ["tool"],
        "properties": {
            "tool": {"type": "object", "additionalProperties": false, "required": ["driver"], "properties": {"driver": driver}},
            "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
            "artifacts": {"type": "array", "items": {"type": "object", "additionalProperties": false, "properties": {"location": artifact}}},
            "results": {"type": "array", "items": result},
        },
    });
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": false,
        "required": ["version", "runs"],
        "properties": {
            "$schema": {"type": "string"}, "version": {"enum": ["2.1.0"]},
            "runs": {"type": "array", "minItems": 0, "items": run},
        },
    })
}

#[test]
fn sarif_is_as_its_schema_demands() {
    let demands = sarif_demands();
    for text in [WRONG, "version: 1\nname: t\nsources: {c: {parquet: c, key: id}}\n", ""] {
        let (source, diagnostics) = found(text);
        let log = formats::sarif(&source, &diagnostics);
        assert_eq!(validator::validate(&demands, &log), Ok(()), "{log:#}");
        let (results, rules) = (&log["runs"][0]["results"], &log["runs"][0]["tool"]["driver"]["rules"]);
        assert_eq!(results.as_array().unwrap().len(), diagnostics.len());
        for (result, diagnostic) in results.as_array().unwrap().iter().zip(&diagnostics) {
            let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
            assert_eq!((&rule["id"], &result["ruleId"]), (&json!(diagnostic.code.0), &json!(diagnostic.code.0)));
            assert!(rule["help"]["markdown"].as_str().unwrap().contains("## Right"));
        }
    }
    let (source, diagnostics) = found(WRONG);
    let log = formats::sarif(&source, &diagnostics);
    let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "shop/my%20pipeline.yaml");
    assert_eq!(place["region"], json!({"startLine": 4, "startColumn": 21, "endLine": 4, "endColumn": 25}));
    assert_eq!(log["runs"][0]["results"][1]["relatedLocations"][0]["message"]["text"], "the first one");
}

#[test]
fn json_says_everything() {
    let (source, diagnostics) = found(WRONG);
    let list = formats::json(&source, &diagnostics);
    assert_eq!(
        list[0],
        json!({
            "code": "S0103", "title": "a key is not known here", "severity": "error", "kind": "invalid",
            "message": "unknown key `tiem` in source `c`", "label": "", "help": diagnostics[0].help, "file": "shop/my pipeline.yaml",
            "line": 4, "column": 21, "end_line": 4, "end_column": 25, "also": [],
        })
    );
    assert_eq!(list[1]["also"], json!([{"message": "the first one", "line": 5, "column": 25, "end_line": 5, "end_column": 26}]));
    let codes: Vec<&str> = list.as_array().unwrap().iter().map(|d| d["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["S0103", "S0201", "S0202"]);
    let (source, warned) = found("version: 1\nname: t\nsources: {c: {parquet: c, key: id}}\n");
    assert_eq!(formats::json(&source, &warned)[0]["severity"], "warning");
}

#[test]
fn github_gets_a_line_for_each() {
    let (source, diagnostics) = found(WRONG);
    let said = formats::github(&source, &diagnostics);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3);
    let first = "::error file=shop/my pipeline.yaml,line=4,endLine=4,col=21,endColumn=25,title=S0103 a key is not known here::unknown key `tiem` in source `c`%0Ahelp: ";
    assert!(lines[0].starts_with(first), "{}", lines[0]);
    assert_eq!(formats::github(&source, &[]), "");
}
