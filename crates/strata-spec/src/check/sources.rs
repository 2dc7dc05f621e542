//! Sources, entities, consent and what aggregates read. Never looks into a file.

use super::World;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::pipeline::{Block, FromBlock, Reference, Source};
use crate::problems::{Problems, shown};
use crate::text::{Name, Span};
use std::collections::HashMap;

pub(super) fn check(world: &World, problems: &mut Problems) {
    for source in &world.pipeline.sources {
        references(world, source, problems);
        own_columns(world, source, problems);
    }
    for entity in &world.pipeline.entities {
        // A roster is a source, or a table such as `select distinct household_id from transactions`.
        if !world.declared.has("tables", &entity.from.value) {
            must_be_source(world, &entity.from, problems);
        }
        if let Some(roster) = world.pipeline.source(&entity.from.value) {
            must_be_own(world, roster, &entity.key, "an entity key", problems);
        }
    }
    if let Some(consent) = &world.pipeline.consent {
        must_be_source(world, &consent.from, problems);
    }
    for of in &world.pipeline.attributes {
        for block in &of.blocks {
            if let Block::From(from) = block {
                aggregates(world, from, problems);
            }
        }
    }
}

pub(super) fn must_be_source(world: &World, name: &Name, problems: &mut Problems) -> bool {
    if world.declared.has("tables", &name.value) && !world.declared.has("sources", &name.value) {
        let message = format!("`{}` is a table, and a source is needed here", shown(&name.value));
        problems.add(Diagnostic::error(codes::UNKNOWN_SOURCE, name.span, message).help("name one of `sources`"));
        return false;
    }
    world.must_be(name, "sources", codes::UNKNOWN_SOURCE, "source", problems)
}

/// Reports a name that is neither a source nor a table.
pub(super) fn must_be_source_or_table(world: &World, from: &Name, problems: &mut Problems) {
    let declared = || ["sources", "tables"].into_iter().any(|section| world.declared.has(section, &from.value));
    // Tables of presets and sources over published waves are declared nowhere.
    let made = || world.pipeline.table(&from.value).is_some() || world.pipeline.source(&from.value).is_some();
    if from.value.is_empty() || declared() || made() {
        return;
    }
    let mut known = world.declared.texts("sources");
    known.extend(world.declared.texts("tables"));
    let help = problems.known_help(&from.value, "sources and tables", &known);
    let message = format!("there is no source or table `{}`", shown(&from.value));
    problems.add(Diagnostic::error(codes::UNKNOWN_SOURCE, from.span, message).help(help));
}

fn references(world: &World, source: &Source, problems: &mut Problems) {
    let mut aliases: HashMap<&str, Span> = HashMap::new();
    for reference in &source.references {
        if let Some(first) = aliases.get(reference.alias.as_str()) {
            let message =
                format!("two references of `{}` are known as `{}`", shown(&source.name.value), shown(&reference.alias.value));
            let twice = Diagnostic::error(codes::DUPLICATE_NAME, reference.alias.span, message).also(*first, "the first one");
            problems.add(twice.help(format!("write `{} as another_name`", shown(&reference.source.value))));
        }
        aliases.entry(&reference.alias.value).or_insert(reference.alias.span);
        for column in &reference.columns {
            must_be_own(world, source, column, "a reference", problems);
        }
        if must_be_source(world, &reference.source, problems) {
            key_fits(world, reference, problems);
        }
    }
}

/// A reference is a left join on the other's declared key, so that no row can double.
fn key_fits(world: &World, reference: &Reference, problems: &mut Problems) {
    let Some(other) = world.pipeline.source(&reference.source.value) else { return };
    let name = shown(&other.name.value);
    if other.key.iter().any(|k| k.value.is_empty()) {
        return;
    }
    if other.key.is_empty() {
        let message = format!("`{name}` declares no `key` to join on");
        let missing =
            Diagnostic::error(codes::REFERENCE_KEY, reference.source.span, message).also(other.name.span, "declared here");
        problems.add(missing.help(format!("add `key: column` to `{name}`")));
    } else if other.key.len() != reference.columns.len() {
        let key: Vec<&str> = other.key.iter().map(Name::as_str).collect();
        let message = format!("the key of `{name}` has {} columns, the reference has {}", key.len(), reference.columns.len());
        let help = format!("name a column for each of `{}`: `\"a, b\": {name}`", key.join("`, `"));
        problems.add(Diagnostic::error(codes::REFERENCE_KEY, reference.source.span, message).help(help));
    }
}

/// Columns that the source's own keys name, where it declares its columns.
fn own_columns(world: &World, source: &Source, problems: &mut Problems) {
    for name in source.key.iter().chain(&source.time) {
        must_be_own(world, source, name, if source.key.contains(name) { "`key`" } else { "`time`" }, problems);
    }
    for later in &source.learned_later {
        must_be_own(world, source, &later.time, "`learned_later`", problems);
        later.columns.iter().for_each(|c| must_be_own(world, source, c, "`learned_later`", problems));
    }
    source.classes.iter().for_each(|(name, _)| must_be_own(world, source, name, "`classes`", problems));
}

/// Reports a name that is none of the source's columns, where it declares them.
pub(super) fn must_be_own(world: &World, source: &Source, name: &Name, what: &str, problems: &mut Problems) {
    let Some(known) = world.own.get(source.name.as_str()) else { return };
    if name.value.is_empty() || known.contains(name.as_str()) {
        return;
    }
    let message = format!("{what} names `{}`, which `{}` does not declare", shown(&name.value), shown(&source.name.value));
    let help = match problems.may_look_at(known.len()) {
        true => {
            let derived = source.derive.iter().map(|(n, _)| n.as_str());
            let columns: Vec<&str> = source.columns.iter().map(|c| c.name.as_str()).chain(derived).collect();
            problems.known_help(&name.value, "columns", &columns)
        }
        false => "name one of its columns; mend the first problems and check again".to_owned(),
    };
    problems.add(Diagnostic::error(codes::UNKNOWN_COLUMN, name.span, message).help(help));
}

fn aggregates(world: &World, block: &FromBlock, problems: &mut Problems) {
    let from = &block.from;
    must_be_source_or_table(world, from, problems);
    let source = world.pipeline.source(&from.value).map(|s| s.time.is_some());
    let timed = source.or_else(|| world.pipeline.table(&from.value).map(|t| t.time.is_some()));
    if timed == Some(false) {
        for window in block.columns.iter().filter_map(|c| c.window.as_ref()) {
            let message = format!("`{}` has no `time`, so nothing in it can be in a window", shown(&from.value));
            let help = format!("add `time: column` to `{}`, or remove the window", shown(&from.value));
            problems.add(Diagnostic::error(codes::NEEDS_TIME, window.span, message).help(help));
        }
    }
}
