//! A validator of JSON against the part of JSON Schema (draft-07) that this crate writes. Never passes over a keyword that it does not know.

use serde_json::Value;

/// Why a value is not valid, with the path of the place; `Ok` if it is. A keyword that is not known here is an error too.
pub(crate) fn validate(schema: &Value, value: &Value) -> Result<(), String> {
    check(schema, schema, value, "")
}

fn check(root: &Value, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let keywords = match schema {
        Value::Bool(true) => return Ok(()),
        Value::Bool(false) => return Err(format!("{path}: nothing may stand here")),
        Value::Object(keywords) => keywords,
        other => return Err(format!("`{other}` is no schema")),
    };
    if let Some(Value::String(reference)) = keywords.get("$ref") {
        // Nothing beside a reference is read.
        let name = reference.strip_prefix("#/definitions/").ok_or_else(|| format!("`{reference}` is not followed"))?;
        let found = root.get("definitions").and_then(|d| d.get(name)).ok_or_else(|| format!("`{name}` is not defined"))?;
        return check(root, found, value, path);
    }
    keywords.iter().try_for_each(|(keyword, wanted)| one(root, schema, keyword, wanted, value, path))
}

fn one(root: &Value, schema: &Value, keyword: &str, wanted: &Value, value: &Value, path: &str) -> Result<(), String> {
    let hold = |good: bool| if good { Ok(()) } else { Err(format!("{path}: {value} against {keyword} {wanted}")) };
    let count = |wanted: &Value, found: usize| wanted.as_u64().is_some_and(|least| found as u64 >= least);
    match (keyword, value) {
        ("$schema" | "title" | "description" | "definitions", _) => Ok(()),
        ("type", _) => hold(listed(wanted).iter().any(|t| t.as_str().is_some_and(|t| is_of(t, value)))),
        ("enum", _) => hold(listed(wanted).contains(value)),
        ("minimum", Value::Number(n)) => hold(n.as_f64() >= wanted.as_f64()),
        ("maximum", Value::Number(n)) => hold(n.as_f64() <= wanted.as_f64()),
        ("pattern", Value::String(text)) => hold(matches(wanted.as_str().unwrap_or_default(), text)?),
        ("minItems", Value::Array(items)) => hold(count(wanted, items.len())),
        ("minProperties", Value::Object(entries)) => hold(count(wanted, entries.len())),
        ("uniqueItems", Value::Array(items)) => hold(items.iter().enumerate().all(|(i, item)| !items[..i].contains(item))),
        ("required", Value::Object(entries)) => {
            hold(listed(wanted).iter().all(|k| k.as_str().is_some_and(|k| entries.contains_key(k))))
        }
        ("items", Value::Array(items)) => {
            items.iter().enumerate().try_for_each(|(i, item)| check(root, wanted, item, &format!("{path}/{i}")))
        }
        ("properties", Value::Object(entries)) => {
            let known = entries.iter().filter_map(|(key, value)| Some((key, wanted.get(key)?, value)));
            known.into_iter().try_for_each(|(key, schema, value)| check(root, schema, value, &format!("{path}/{key}")))
        }
        ("additionalProperties", Value::Object(entries)) => {
            let known = schema.get("properties");
            let other = entries.iter().filter(|(key, _)| known.and_then(|k| k.get(key.as_str())).is_none());
            other.into_iter().try_for_each(|(key, value)| check(root, wanted, value, &format!("{path}/{key}")))
        }
        ("propertyNames", Value::Object(entries)) => {
            let mut names = entries.keys().map(|key| Value::String(key.clone()));
            names.try_for_each(|name| check(root, wanted, &name, path))
        }
        ("allOf", _) => listed(wanted).iter().try_for_each(|schema| check(root, schema, value, path)),
        ("anyOf", _) => {
            let wrong: Vec<String> = listed(wanted).iter().filter_map(|s| check(root, s, value, path).err()).collect();
            if wrong.len() < listed(wanted).len() { Ok(()) } else { Err(format!("{path}: none of [{}]", wrong.join(" | "))) }
        }
        // About values of another type, a keyword says nothing.
        (
            "minimum"
            | "maximum"
            | "pattern"
            | "minItems"
            | "minProperties"
            | "uniqueItems"
            | "required"
            | "items"
            | "properties"
            | "additionalProperties"
            | "propertyNames",
            _,
        ) => Ok(()),
        (other, _) => Err(format!("the keyword `{other}` is not known")),
    }
}

fn listed(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        one => std::slice::from_ref(one),
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
        _ => false,
    }
}

/// The patterns that are written, by hand; another one is an error.
fn matches(pattern: &str, text: &str) -> Result<bool, String> {
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let duration = |t: &str, units: &[&str]| units.iter().any(|u| t.strip_suffix(u).is_some_and(digits));
    let all = ["d", "h", "mo"];
    Ok(match pattern {
        "^[A-Za-z_][A-Za-z0-9_]*$" => {
            text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        }
        "\\$\\{vars\\." => text.contains("${vars."),
        "^[0-9]+(d|h)$" => duration(text, &["d", "h"]),
        "^[0-9]+(d|h|mo)$" => duration(text, &all),
        "^(life|[0-9]+(d|h|mo)(\\.\\.[0-9]+(d|h|mo))?)$" => {
            text == "life" || text.split("..").count() <= 2 && text.split("..").all(|t| duration(t, &all))
        }
        "^[0-9]+(\\.[0-9]+)? *%$" => text.strip_suffix('%').is_some_and(|t| {
            let (whole, part) = t.trim_end_matches(' ').split_once('.').unwrap_or((t.trim_end_matches(' '), "0"));
            digits(whole) && digits(part)
        }),
        other => return Err(format!("the pattern `{other}` is not known")),
    })
}

#[test]
fn what_is_not_valid_is_refused() {
    use serde_json::json;
    let schema = json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"$ref": "#/definitions/n"}, "b": {"anyOf": [{"enum": ["x"]}, {"type": "string", "pattern": "\\$\\{vars\\."}]},
                       "c": {"type": "array", "minItems": 1, "items": {"type": ["string", "null"]}},
                       "d": {"type": "object", "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}, "additionalProperties": true}},
        "definitions": {"n": {"type": "integer", "minimum": 2, "maximum": 4}},
    });
    for good in [json!({"a": 3}), json!({"a": 2, "b": "x", "c": ["y", null], "d": {"e": 1}}), json!({"a": 4, "b": "${vars.b}"})] {
        assert_eq!(validate(&schema, &good), Ok(()));
    }
    let bad = [
        json!([]),
        json!({}),
        json!({"a": 1}),
        json!({"a": 5}),
        json!({"a": 2.5}),
        json!({"a": "3"}),
        json!({"a": 3, "z": 1}),
        json!({"a": 3, "b": "y"}),
        json!({"a": 3, "c": []}),
        json!({"a": 3, "c": [1]}),
        json!({"a": 3, "d": {"1e": 1}}),
    ];
    for value in bad {
        assert!(validate(&schema, &value).is_err(), "{value}");
    }
    assert!(validate(&json!({"maxLength": 3}), &json!("x")).unwrap_err().contains("maxLength"));
}
