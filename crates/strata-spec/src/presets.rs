//! Presets and methods for `strata show`: parameters from the table of the language, and what each stands for. Never computes one.
//!
//! A preset joins by standing in the table (its `method:` or `preset:` word) and by one line in [`DEFINITIONS`]; a test says so
//! where that is missing.

use crate::language::{Form, Key, Shape, attributes, segments};
use crate::load::load_within;
use crate::pipeline::{Method, Pipeline};
use crate::problems::Reach;
use crate::text::SourceText;

/// A preset or method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    /// As written, e.g. `rfm@1`.
    pub name: &'static str,
    /// The section it is written in: `segments` or `attributes`.
    pub section: &'static str,
    /// One line on what it is.
    pub doc: &'static str,
    /// What to write while this version cannot run it; `None`: it can.
    pub instead: Option<&'static str>,
    /// Its parameters, in the order in which people write them.
    pub parameters: Vec<Parameter>,
    /// What it stands for, as text; empty where this version cannot run it.
    pub stands_for: String,
}

/// A parameter of a preset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Key.
    pub name: &'static str,
    /// What it takes, e.g. `SQL` or `standard | none`.
    pub takes: String,
    /// What it means, with the default in brackets.
    pub doc: &'static str,
    /// Whether it must be written.
    pub is_needed: bool,
}

/// Where the meaning of a preset is said.
enum Definition {
    /// By the reader, which makes rules of it: those of this segmentation, parameters under their own names.
    Rules(&'static str),
    /// By the compiler; this says the same in words and SQL.
    Words(&'static str),
}

/// What each preset stands for.
const DEFINITIONS: &[(&str, Definition)] = &[
    ("rfm@1", Definition::Words(include_str!("presets/rfm@1.txt"))),
    (
        "lifecycle@1",
        Definition::Rules("{method: lifecycle@1, orders: orders, first_days: first_days, recency_days: recency_days}"),
    ),
    ("lifecycle@2", Definition::Words(include_str!("presets/lifecycle@2.txt"))),
    ("kmeans", Definition::Words(include_str!("presets/kmeans.txt"))),
    ("loyalty_core@1", Definition::Words(include_str!("presets/loyalty_core@1.txt"))),
    ("preferred_time@1", Definition::Words(include_str!("presets/preferred_time@1.txt"))),
];

/// The key that names a preset, in the section that has presets by that key.
const SECTIONS: &[(&str, &str, &Form)] =
    &[("segments", "method", &segments::SEGMENTATION), ("attributes", "preset", &attributes::BLOCK)];

/// Every preset and method of the language, in its order.
pub fn presets() -> Vec<Preset> {
    let mut out = Vec::new();
    for (section, word, forms) in SECTIONS {
        for shape in shapes(forms) {
            let Some(Form::Word(words)) = shape.key(word).map(|k| k.form) else { continue };
            let now = words.now.iter().map(|name| (name, None));
            let all = now.chain(words.later.iter().map(|name| (name, Some(words.instead))));
            let shown = shape.keys.iter().filter(|k| k.name != *word && k.later.is_none());
            let parameters: Vec<Parameter> = shown.map(|k| parameter(shape, k)).collect();
            out.extend(all.map(|(name, instead)| Preset {
                name,
                section,
                doc: shape.doc,
                instead,
                parameters: parameters.clone(),
                stands_for: stands_for(name),
            }));
        }
    }
    out
}

fn shapes(form: &'static Form) -> Vec<&'static Shape> {
    match form {
        Form::Map(shape) => vec![shape],
        Form::Either(forms) => forms.iter().flat_map(shapes).collect(),
        _ => Vec::new(),
    }
}

fn parameter(shape: &Shape, key: &'static Key) -> Parameter {
    let is_needed = shape.needs.iter().any(|group| group.len() == 1 && group.contains(&key.name));
    Parameter { name: key.name, takes: takes(&key.form), doc: key.doc, is_needed }
}

/// What a form takes, for people.
fn takes(form: &Form) -> String {
    match form {
        Form::Text => "text".to_owned(),
        Form::Sql => "SQL".to_owned(),
        Form::Names => "a name or a list of names".to_owned(),
        Form::Word(words) => words.now.join(" | "),
        Form::Whole(..) => "whole number".to_owned(),
        Form::Real(_) => "number".to_owned(),
        Form::Flag => "true | false".to_owned(),
        Form::Duration(_) => "duration".to_owned(),
        Form::Window => "window".to_owned(),
        Form::Instant => "instant".to_owned(),
        Form::Share => "percentage".to_owned(),
        Form::Null => "null".to_owned(),
        Form::Cell => "value".to_owned(),
        Form::Map(shape) => {
            let now = shape.keys.iter().filter(|k| k.later.is_none()).map(|k| k.name);
            format!("{{{}}}", now.collect::<Vec<_>>().join(", "))
        }
        Form::Named(of) | Form::Labelled(of) => format!("{{name: {}, ...}}", takes(of)),
        Form::List(of) => format!("[{}, ...]", takes(of)),
        Form::Either(forms) => {
            let all = forms.iter().map(takes).filter(|t| !t.is_empty());
            all.collect::<Vec<_>>().join(" | ")
        }
    }
}

fn stands_for(name: &str) -> String {
    match DEFINITIONS.iter().find(|(n, _)| *n == name) {
        Some((_, Definition::Words(text))) => text.trim_end().to_owned(),
        Some((_, Definition::Rules(written))) => rules(written).unwrap_or_default(),
        None => String::new(),
    }
}

/// The rules that the reader makes of a segmentation, a line each.
fn rules(written: &str) -> Option<String> {
    let text = format!(
        "version: 1\nname: shown\nsources: {{people: {{parquet: people, key: id}}}}\nentities: {{person: {{from: people, key: id}}}}\n\
         segments:\n  shown: {written}\n"
    );
    let source = SourceText { path: "preset".to_owned(), text };
    let pipeline: Pipeline = load_within(&source, &[], Reach::Language).pipeline?;
    let Method::Rules { rules, .. } = &pipeline.segments.first()?.method else { return None };
    let width = rules.iter().map(|r| r.label.value.len()).max().unwrap_or(0);
    let line = |r: &crate::pipeline::Rule| {
        let when = r.when.as_ref().map_or("else", |sql| sql.text.as_str());
        format!("{:<1$}  {when}", format!("{}:", r.label.value), width + 1)
    };
    let lines: Vec<String> = rules.iter().map(line).collect();
    Some(format!("the first rule that holds gives the segment\n\n  {}", lines.join("\n  ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_that_runs_says_what_it_stands_for() {
        let all = presets();
        for name in ["rfm@1", "lifecycle@1", "lifecycle@2", "kmeans", "loyalty_core@1", "preferred_time@1"] {
            assert!(all.iter().any(|p| p.name == name), "{name}");
        }
        for preset in &all {
            let said = !preset.stands_for.is_empty();
            assert!(said || preset.instead.is_some(), "{}: add it to DEFINITIONS of presets.rs", preset.name);
        }
        for (name, _) in DEFINITIONS {
            assert!(all.iter().any(|p| p.name == *name), "{name} is not in the table of the language");
        }
    }

    #[test]
    fn rules_are_those_of_the_reader() {
        let all = presets();
        let lifecycle = all.iter().find(|p| p.name == "lifecycle@1").unwrap();
        assert!(lifecycle.stands_for.contains("active:    (recency_days) <= 120\n"), "{}", lifecycle.stands_for);
        assert!(lifecycle.stands_for.ends_with("lapsed:    else"), "{}", lifecycle.stands_for);
        let new = lifecycle.parameters.iter().find(|p| p.name == "new").unwrap();
        assert!(new.doc.contains("(60)") && !new.is_needed && new.takes == "whole number");
        assert!(lifecycle.parameters.iter().any(|p| p.name == "orders" && p.is_needed));
    }
}
