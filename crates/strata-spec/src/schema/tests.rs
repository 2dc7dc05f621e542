//! The schema, the table of the language and the readers agree: held against every pipeline of the repository, against pipelines
//! made from the table, and by a validator.

use super::*;
use crate::load::load_within;
use crate::problems::Problems;
use crate::text::SourceText;
use crate::tree::{Node, Style, Value as Tree};
use std::path::{Path, PathBuf};

/// A pipeline file.
static ROOT: Form = Form::Map(&PIPELINE);

#[path = "../../tests/support/validator.rs"]
mod validator;

struct Validator {
    schema: Value,
}

impl Validator {
    fn of(reach: Reach) -> Self {
        Self { schema: schema(reach) }
    }

    fn accepts(&self, value: &Value) -> Result<(), String> {
        validator::validate(&self.schema, value)
    }
}

/// A YAML file as JSON, by the core schema.
fn json_of(text: &str) -> Value {
    let mut problems = Problems::new(Reach::Language);
    let node = crate::yaml::tree(text, &[], &mut problems).unwrap().unwrap();
    assert!(!problems.has_errors());
    value_of(&node)
}

fn value_of(node: &Node) -> Value {
    match &node.value {
        Tree::Text(t) if t.style != Style::Plain => json!(t.text),
        Tree::Text(_) if node.is_null() => Value::Null,
        Tree::Text(t) => match t.text.as_str() {
            "true" | "True" | "TRUE" => json!(true),
            "false" | "False" | "FALSE" => json!(false),
            text => {
                let number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
                let whole = text.trim_start_matches('+').parse::<i64>().ok().map(|n| json!(n));
                let real = || text.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| json!(n));
                if number { whole.or_else(real).unwrap_or(json!(text)) } else { json!(text) }
            }
        },
        Tree::List(items) => items.iter().map(value_of).collect(),
        Tree::Map(entries) => Value::Object(entries.iter().map(|e| (e.key.value.clone(), value_of(&e.value))).collect()),
        Tree::Refused => panic!("refused"),
    }
}

fn pipelines() -> Vec<(PathBuf, String)> {
    let root = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../..");
    let mut all = Vec::new();
    for folder in ["pipelines", "tests/cases"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let file = entry.unwrap().path().join("pipeline.yaml");
            if let Ok(text) = std::fs::read_to_string(&file) {
                all.push((file, text));
            }
        }
    }
    all.push((PathBuf::from("complete.yaml"), include_str!("../../tests/complete.yaml").to_owned()));
    all
}

fn load(text: &str, reach: Reach) -> crate::load::Loaded {
    load_within(&SourceText { path: "p.yaml".to_owned(), text: text.to_owned() }, &[], reach)
}

#[test]
fn every_pipeline_that_loads_is_valid_and_no_key_can_be_misspelt_in_it() {
    let validator = Validator::of(Reach::Version);
    let (mut valid, mut misspelt) = (0, 0);
    for (path, text) in pipelines() {
        if load(&text, Reach::Version).pipeline.is_none() {
            continue;
        }
        let value = json_of(&text);
        validator.accepts(&value).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        valid += 1;
        for broken in misspellings(&value, &ROOT) {
            assert!(validator.accepts(&broken).is_err(), "{}: a misspelt key passes", path.display());
            misspelt += 1;
        }
    }
    assert!(valid >= 10 && misspelt >= 400, "{valid} pipelines, {misspelt} misspellings");
}

/// The value with one key misspelt, for each key of a mapping with known keys.
fn misspellings(value: &Value, form: &'static Form) -> Vec<Value> {
    let mut all = Vec::new();
    match (value, form) {
        (Value::Object(object), Form::Map(shape)) => {
            for (name, inner) in object {
                let Some(key) = shape.key(name) else { continue };
                if shape.rest.is_none() {
                    let renamed = object.iter().map(|(k, v)| (if k == name { format!("{k}_x") } else { k.clone() }, v.clone()));
                    all.push(Value::Object(renamed.collect()));
                }
                all.extend(misspellings(inner, &key.form).into_iter().map(|v| with(object, name, v)));
            }
        }
        (Value::Object(object), Form::Named(form) | Form::Labelled(form)) => {
            for (name, inner) in object {
                all.extend(misspellings(inner, form).into_iter().map(|v| with(object, name, v)));
            }
        }
        (Value::Array(items), Form::List(form)) => {
            for (index, inner) in items.iter().enumerate() {
                for made in misspellings(inner, form) {
                    let mut items = items.clone();
                    items[index] = made;
                    all.push(Value::Array(items));
                }
            }
        }
        (_, Form::Either(forms)) => {
            let fits = forms
                .iter()
                .find(|f| matches!((value, f), (Value::Object(o), Form::Map(s)) if o.keys().all(|k| s.key(k).is_some())));
            let fits = fits.or_else(|| forms.iter().find(|f| matches!((value, f), (Value::Array(_), Form::List(_)))));
            all.extend(fits.into_iter().flat_map(|f| misspellings(value, f)));
        }
        _ => {}
    }
    all
}

fn with(object: &Map<String, Value>, name: &str, value: Value) -> Value {
    let mut object = object.clone();
    object.insert(name.to_owned(), value);
    Value::Object(object)
}

/// Values of a form, so that every key of every mapping and every word occurs.
fn samples(form: &'static Form) -> Vec<Value> {
    match form {
        Form::Text | Form::Sql => vec![json!("a")],
        Form::Names => vec![json!("a"), json!(["a", "b"])],
        Form::Word(words) => words.now.iter().chain(words.later).map(|w| json!(w)).collect(),
        Form::Whole(least, _) => vec![json!(least.max(&3))],
        Form::Real(least) => vec![json!(least.max(0.5))],
        Form::Flag => vec![json!(true), json!(false)],
        Form::Duration(_) => vec![json!("7d")],
        Form::Window => vec![json!("90d"), json!("730d..365d"), json!("12mo"), json!("life")],
        Form::Instant => vec![json!("2026-01-15")],
        Form::Share => vec![json!("5%")],
        Form::Null => vec![Value::Null],
        Form::Cell => vec![json!("a"), json!(1), Value::Null],
        Form::Map(shape) => mappings(shape),
        Form::Named(value) | Form::Labelled(value) => {
            let entries = samples(value).into_iter().enumerate().map(|(i, v)| (format!("n{i}"), v));
            vec![Value::Object(entries.collect())]
        }
        Form::List(item) => vec![Value::Array(samples(item))],
        Form::Either(forms) => forms.iter().flat_map(samples).collect(),
    }
}

/// A mapping with all of its keys, and for each further value of a key one more.
fn mappings(shape: &'static Shape) -> Vec<Value> {
    let mut values: Vec<(&str, Vec<Value>)> = shape.keys.iter().map(|k| (k.name, samples(&k.form))).collect();
    if let Some(rest) = shape.rest {
        values.push(("other", samples(rest)));
    }
    let full: Map<String, Value> = values.iter().map(|(k, v)| ((*k).to_owned(), v[0].clone())).collect();
    let more = values.iter().flat_map(|(k, v)| v.iter().skip(1).map(|v| with(&full, k, v.clone())));
    std::iter::once(Value::Object(full.clone())).chain(more).collect()
}

#[test]
fn readers_know_what_the_table_says() {
    // What is wrong with these pipelines is only what keys say about each other, and names that are not declared.
    let of_the_table = ["S0103", "S0104", "S0105", "S0107", "S0115", "S0117", "S0118"];
    let validator = Validator::of(Reach::Language);
    // Words of free text that readers take apart.
    let apart = [
        "duplicates",
        "what to keep",
        "golden",
        "clean",
        "per_customer",
        "invites",
        "time zone",
        "`cuts`",
        "environment variable",
        "figure of the report",
        "`most`",
    ];
    let (mut made, mut wrong) = (0, std::collections::BTreeSet::new());
    for value in samples(&ROOT) {
        validator.accepts(&value).unwrap();
        for found in load(&value.to_string(), Reach::Language).diagnostics {
            let free = found.code.0 != "S0103" && apart.iter().any(|w| found.message.contains(w));
            if of_the_table.contains(&found.code.0) && !free {
                wrong.insert(format!("{} {} | {}", found.code, found.message, found.help.unwrap_or_default()));
            }
        }
        made += 1;
    }
    assert!(wrong.is_empty() && made >= 40, "{made}: {wrong:#?}");
}

#[test]
fn what_comes_later_is_in_neither_schema_nor_reach_of_this_version() {
    let now = schema(Reach::Version).to_string();
    let all = schema(Reach::Language).to_string();
    for word in ["changes_only", "personas", "scd2", "bg_nbd_gamma@1"] {
        assert!(!now.contains(&format!("\"{word}\"")) && all.contains(&format!("\"{word}\"")), "{word}");
    }
    assert!(now.contains("\"rfm@1\"") && now.len() < 64_000, "{}", now.len());
}
