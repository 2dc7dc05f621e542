//! What sections say about each other: names that must exist, and names that must not exist twice. Never parses SQL, never needs
//! data.

mod outputs;
mod people;
mod planned;
mod sources;

use crate::codes;
use crate::diagnostic::{Code, Diagnostic};
use crate::fields::entry_of;
use crate::language::Shape;
use crate::language::panel::PANEL;
use crate::language::people::CONSENT;
use crate::language::root::PIPELINE;
use crate::pipeline::{Block, Pipeline, Source};
use crate::problems::{Problems, shown};
use crate::text::{Name, Span};
use crate::tree::{Node, Value};
use std::collections::{HashMap, HashSet};

/// Names as they stand in the file, also of things that could not be read: one mistake must not make others.
pub(crate) struct Declared {
    sections: HashMap<&'static str, Section>,
    attributes_readable: bool,
    references_readable: bool,
}

/// Names of one section.
struct Section {
    names: Vec<Name>,
    set: HashSet<String>,
    unreadable: bool,
}

/// Holds every section against the others.
pub(crate) fn check<'a>(pipeline: &'a Pipeline, declared: &'a Declared, problems: &mut Problems) {
    let of_source = |s: &'a Source| {
        let derived = s.derive.iter().map(|(n, _)| n.as_str());
        (s.name.as_str(), s.columns.iter().map(|c| c.name.as_str()).chain(derived).collect())
    };
    let aliases = pipeline.sources.iter().flat_map(|s| &s.references).map(|r| r.alias.as_str());
    let world = World {
        pipeline,
        declared,
        columns: Columns::of(pipeline, declared, problems),
        own: pipeline.sources.iter().filter(|s| !s.columns.is_empty()).map(of_source).collect(),
        relations: aliases.chain(declared.texts("sources")).collect(),
    };
    declared.no_name_twice(problems);
    sources::check(&world, problems);
    people::check(&world, problems);
    outputs::check(&world, problems);
    planned::check(&world, problems);
}

/// What the checks look at.
struct World<'a> {
    pipeline: &'a Pipeline,
    declared: &'a Declared,
    columns: Columns<'a>,
    /// Declared columns of each source that declares any, and those it derives.
    own: HashMap<&'a str, HashSet<&'a str>>,
    /// Sources, and the names that references give them.
    relations: HashSet<&'a str>,
}

/// Attributes and segment columns, by entity.
struct Columns<'a> {
    by_entity: HashMap<&'a str, Vec<&'a str>>,
    places: HashMap<(&'a str, &'a str), Span>,
    readable: bool,
}

impl Declared {
    /// The names in a file.
    pub(crate) fn of(root: &Node, attributes_readable: bool) -> Self {
        let section = |path: &[(&'static Shape, &str)]| {
            let start = Some(root);
            let node = path.iter().fold(start, |node, (shape, key)| entry_of(node?, shape, key).map(|e| &e.value));
            let names: Vec<Name> = node.map(Node::entries).unwrap_or_default().iter().map(|e| e.key.clone()).collect();
            let unreadable = node.is_some_and(|n| !matches!(n.value, Value::Map(_)));
            Section { set: names.iter().map(|n| n.value.clone()).collect(), names, unreadable }
        };
        let mut sections = HashMap::new();
        for name in ["sources", "tables", "entities", "segments", "profiles"] {
            sections.insert(name, section(&[(&PIPELINE, name)]));
        }
        sections.insert("purposes", section(&[(&PIPELINE, "consent"), (&CONSENT, "purposes")]));
        sections.insert("waves", section(&[(&PIPELINE, "panel"), (&PANEL, "waves")]));
        let refused = |n: &Node| !matches!(n.value, Value::Map(_) | Value::List(_));
        let sources = entry_of(root, &PIPELINE, "sources").into_iter().flat_map(|e| e.value.entries());
        let lost = |s: &Node| refused(s) || s.entries().iter().any(|e| e.key.value == "references" && refused(&e.value));
        let references_readable = !sources.map(|e| &e.value).any(lost);
        Self { sections, attributes_readable, references_readable }
    }

    /// Not every attribute is known: nobody can say that one is not there.
    pub(crate) fn attributes_are_unknown(&mut self) {
        self.attributes_readable = false;
    }

    /// Whether every attribute is known.
    pub(crate) fn attributes_are_known(&self) -> bool {
        self.attributes_readable
    }

    /// Names of a section as text.
    pub(crate) fn texts(&self, section: &str) -> Vec<&str> {
        self.names(section).iter().map(|n| n.value.as_str()).collect()
    }

    fn names(&self, section: &str) -> &[Name] {
        self.sections.get(section).map(|s| s.names.as_slice()).unwrap_or_default()
    }

    fn is_unreadable(&self, section: &str) -> bool {
        self.sections.get(section).is_some_and(|s| s.unreadable)
    }

    fn has(&self, section: &str, name: &str) -> bool {
        self.sections.get(section).is_some_and(|s| s.unreadable || s.set.contains(name))
    }

    /// Sources, tables, entities and profiles share one set of names.
    fn no_name_twice(&self, problems: &mut Problems) {
        let mut first: HashMap<&str, (&str, Span)> = HashMap::new();
        for section in ["sources", "tables", "entities", "profiles"] {
            for name in self.names(section) {
                if let Some((other, span)) = first.get(name.as_str()) {
                    let message = format!("`{}` is the name of one of the {other} already", shown(&name.value));
                    let twice = Diagnostic::error(codes::DUPLICATE_NAME, name.span, message).also(*span, "the first one");
                    problems.add(twice.help("sources, tables, entities and profiles share one set of names: rename one"));
                } else {
                    first.insert(&name.value, (section, name.span));
                }
            }
        }
    }
}

impl<'a> Columns<'a> {
    /// Gathers them, and reports names that stand twice.
    fn of(pipeline: &'a Pipeline, declared: &'a Declared, problems: &mut Problems) -> Self {
        let mut by_entity: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut places: HashMap<(&str, &str), Span> = HashMap::new();
        let mut add = |entity: &'a str, name: &'a str, span: Span| {
            if let Some(at) = places.get(&(entity, name)) {
                let message = format!("`{}` is an attribute or segment column of `{}` already", shown(name), shown(entity));
                let twice = Diagnostic::error(codes::DUPLICATE_NAME, span, message).also(*at, "the first one");
                problems.add(twice.help("attributes and segment columns share one set of names: rename one"));
            } else {
                places.insert((entity, name), span);
                by_entity.entry(entity).or_default().push(name);
            }
        };
        for of in &pipeline.attributes {
            for block in &of.blocks {
                let names: Vec<&Name> = match block {
                    Block::Row(row) => row.iter().map(|a| &a.name).collect(),
                    Block::From(from) => from.columns.iter().map(|a| &a.name).collect(),
                };
                names.into_iter().for_each(|n| add(&of.entity.value, &n.value, n.span));
            }
        }
        for segmentation in &pipeline.segments {
            for column in segmentation.columns() {
                add(&segmentation.entity.value, column, segmentation.name.span);
            }
        }
        let whole = pipeline.segments.len() == declared.names("segments").len();
        Self { by_entity, places, readable: declared.attributes_readable && whole && !declared.is_unreadable("segments") }
    }

    fn of_entity(&self, entity: &str) -> Vec<&'a str> {
        self.by_entity.get(entity).cloned().unwrap_or_default()
    }

    fn has(&self, entity: &str, name: &str) -> bool {
        self.places.contains_key(&(entity, name))
    }
}

impl World<'_> {
    /// Reports a name that its section does not declare. Unreadable names pass.
    fn must_be(&self, name: &Name, section: &'static str, code: Code, kind: &str, problems: &mut Problems) -> bool {
        let known = name.value.is_empty() || self.declared.has(section, &name.value);
        if !known {
            let help = match problems.may_look_at(self.declared.names(section).len()) {
                true => problems.known_help(&name.value, section, &self.declared.texts(section)),
                false => format!("name one of `{section}`; mend the first problems and check again"),
            };
            let message = format!("there is no {kind} `{}`", shown(&name.value));
            problems.add(Diagnostic::error(code, name.span, message).help(help));
        }
        known
    }

    fn must_be_entity(&self, name: &Name, problems: &mut Problems) -> bool {
        self.must_be(name, "entities", codes::UNKNOWN_ENTITY, "entity", problems)
    }

    fn must_be_purpose(&self, name: Option<&Name>, problems: &mut Problems) {
        let Some(name) = name else { return };
        if self.pipeline.consent.is_none() && self.declared.names("purposes").is_empty() {
            let message = format!("there is no purpose `{}`: the pipeline declares no consent", shown(&name.value));
            let help = format!(
                "add `consent: {{from: source, purposes: {{{}: always}}}}`, or a flag column in place of `always`",
                shown(&name.value)
            );
            problems.add(Diagnostic::error(codes::UNKNOWN_PURPOSE, name.span, message).help(help));
            return;
        }
        self.must_be(name, "purposes", codes::UNKNOWN_PURPOSE, "purpose", problems);
    }

    fn must_be_segmentation(&self, name: &Name, problems: &mut Problems) {
        self.must_be(name, "segments", codes::UNKNOWN_SEGMENTATION, "segmentation", problems);
    }

    /// Reports a name that is neither an attribute nor a segment column of the entity.
    fn must_be_column(&self, name: &Name, entity: &str, problems: &mut Problems) {
        if !self.columns.readable || name.value.is_empty() || self.pipeline.entity(entity).is_none() {
            return;
        }
        if !self.columns.has(entity, &name.value) && !self.declared.has("segments", &name.value) {
            let made = self.columns.by_entity.get(entity).map_or(0, Vec::len);
            let help = match problems.may_look_at(made + self.declared.names("segments").len()) {
                true => self.columns_help(name, entity, problems),
                false => "name an attribute or a segment column; mend the first problems and check again".to_owned(),
            };
            let message = format!("`{}` is neither an attribute nor a segment column", shown(&name.value));
            problems.add(Diagnostic::error(codes::UNKNOWN_ATTRIBUTE, name.span, message).help(help));
        }
    }

    fn columns_help(&self, name: &Name, entity: &str, problems: &Problems) -> String {
        // Helpers of a pipeline and of presets begin with `_`: who looks for one writes that.
        let mut known = self.columns.of_entity(entity);
        known.retain(|k| !k.starts_with('_') || name.value.starts_with('_'));
        known.extend(self.declared.texts("segments"));
        known.sort_unstable();
        known.dedup();
        problems.known_help(&name.value, "attributes and segments", &known)
    }
}
