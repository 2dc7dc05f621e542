//! Outputs: what they select from, for which purpose, and where they go. Never asks for consent itself; the plan does.

use super::World;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::pipeline::{History, Output, Rows, Select, WavePart, WriteFormat};
use crate::problems::{Problems, shown};
use crate::similar::nearest;
use crate::text::{Located, Span};
use std::collections::HashMap;

pub(super) fn check(world: &World, problems: &mut Problems) {
    let mut places: HashMap<&str, (&str, Span)> = HashMap::new();
    for output in &world.pipeline.outputs {
        world.must_be_purpose(output.purpose.as_ref(), problems);
        let entity = entity_of(world, output, problems);
        for item in &output.select {
            selected(world, output, entity.as_deref(), item, problems);
        }
        guards(world, output, problems);
        exact_beside_hidden(world, output, problems);
        not_a_folder(output, problems);
        history(output, problems);
        let place = output.to.value.trim_end_matches('/');
        if let Some((first, span)) = places.get(place).filter(|_| !place.is_empty()) {
            let message = format!("outputs `{}` and `{}` write to one place", shown(first), shown(&output.name.value));
            let same = Diagnostic::error(codes::SAME_DESTINATION, output.name.span, message).also(*span, "the first one");
            problems.add(same.help("give each its own folder: `to: \"out/{name}\"`"));
        } else {
            places.insert(place, (&output.name.value, output.name.span));
        }
    }
}

/// Pseudonyms and anonymity are of people; parts of a wave need what they count.
fn guards(world: &World, output: &Output, problems: &mut Problems) {
    let people = matches!(&output.from, Rows::Entity(_) | Rows::Wave(_) | Rows::WavePart(_, WavePart::Eligibility));
    let export = &output.export;
    let pseudonym = export.pseudonym.as_ref().map(|p| ("pseudonym", p.key.span));
    let anonymity = export.anonymity.as_ref().and_then(|a| a.over.first()).map(|o| ("anonymity", o.span));
    for (key, span) in pseudonym.into_iter().chain(anonymity).filter(|_| !people) {
        let message = format!("`{key}` of output `{}`: its rows are no people", shown(&output.name.value));
        let help = "leave it out; counts of a wave take `min_cell: 10`";
        problems.add(Diagnostic::error(codes::BAD_VALUE, span, message).help(help));
    }
    if let (Some(cell), Rows::WavePart(_, WavePart::Eligibility)) = (&export.min_cell, &output.from) {
        let message = "`min_cell` is of counts, and these rows are people".to_owned();
        problems.add(Diagnostic::error(codes::BAD_VALUE, cell.span, message).help("write `anonymity: {k: 10, over: [columns]}`"));
    }
    if let (Some(cell), Some(filter)) = (&export.min_cell, &output.filter) {
        let message = "`min_cell` looks at all counts of a wave, and `where` leaves some out".to_owned();
        let wrong = Diagnostic::error(codes::CHOOSE_ONE, filter.span, message).also(cell.span, "asked for here");
        problems.add(wrong.help("remove one of them"));
    }
    let Rows::WavePart(name, part) = &output.from else { return };
    let Some(panel) = &world.pipeline.panel else { return };
    let fatigue = panel.fatigue.as_ref();
    let missing = match part {
        WavePart::Health if fatigue.is_none_or(|f| f.complete.is_none()) => {
            Some(("answers over contacts", "write `fatigue: {counts: invites, complete: condition}` for the panel"))
        }
        WavePart::Burden if fatigue.is_none_or(|f| f.burden.is_none()) => {
            Some(("minutes", "write `fatigue: {counts: invites, burden: {minutes: minutes, most: 60/90d, this: 12}}`"))
        }
        _ => None,
    };
    if let Some((counts, help)) = missing {
        let message = format!("`{}` of a wave counts {counts}, and nothing says what that is", part.name());
        problems.add(Diagnostic::error(codes::MISSING_KEY, name.span, message).help(help));
    }
}

/// The wave whose people an output counts.
fn counted(output: &Output) -> Option<&str> {
    match &output.from {
        Rows::WavePart(wave, part) if *part != WavePart::Eligibility && !wave.value.is_empty() => Some(&wave.value),
        _ => None,
    }
}

/// The counts of a wave are hidden in all its tables or in none, and no other wave is counted beside them: what one table shows as it is
/// tells what another hides.
fn exact_beside_hidden(world: &World, output: &Output, problems: &mut Problems) {
    let (Some(wave), hides) = (counted(output), output.export.min_cell.is_some()) else { return };
    let hidden = |o: &&Output| o.export.min_cell.is_some() && counted(o).is_some();
    let others = world.pipeline.outputs.iter().filter(hidden);
    let own = shown(&output.name.value);
    let same = others.clone().find(|o| counted(o) == Some(wave)).filter(|_| !hides);
    if let Some((other, cell)) = same.and_then(|o| Some((o, o.export.min_cell.as_ref()?))) {
        let hider = shown(&other.name.value);
        let message = format!("`{own}` shows counts of wave `{}` as they are, of which `{hider}` hides small ones", shown(wave));
        let wrong = Diagnostic::error(codes::MISSING_KEY, output.name.span, message).also(cell.span, "hidden here");
        problems.add(wrong.help(format!("write `min_cell: {}` into `{own}` too, or leave one of the two out", cell.value)));
        return;
    }
    // Of two that both hide, the second is said.
    let is_first = |o: &Output| o.name.span.start < output.name.span.start;
    let mut of_other_waves = others.filter(|o| counted(o) != Some(wave) && (!hides || is_first(o)));
    if let Some(other) = of_other_waves.next() {
        let hider = shown(&other.name.value);
        let message =
            format!("`{own}` counts wave `{}` in the run in which `{hider}` hides small counts of another", shown(wave));
        let wrong = Diagnostic::error(codes::CHOOSE_ONE, output.name.span, message).also(other.name.span, "of another wave");
        let help =
            "count one wave a run, `from: panel.${vars.wave}.waterfall`: what is published of it is held against earlier waves";
        problems.add(wrong.help(help));
    }
}

/// Only a Delta table holds rows of many runs beside one another.
fn history(output: &Output, problems: &mut Problems) {
    if output.history.value == History::Snapshot && output.format != WriteFormat::Delta {
        let message = format!("output `{}` keeps a history, and its files are no Delta table", shown(&output.name.value));
        let help = "write `format: delta`; the runs of a plain table stay in `runs/` of its folder until you remove them";
        problems.add(Diagnostic::error(codes::BAD_VALUE, output.history.span, message).help(help));
    }
}

/// A table's folder is named plainly: what another reader of the path would take for another folder, or what Strata keeps for itself, is
/// refused. Where an output may lie at all is for whoever runs the pipeline to say.
fn not_a_folder(output: &Output, problems: &mut Problems) {
    let to = output.to.value.as_str();
    let own = to.split_once("://").map_or(to, |(_, rest)| rest);
    let lower = own.to_ascii_lowercase();
    let wrong = if to.is_empty() {
        return;
    } else if own.chars().any(char::is_control) {
        "has characters that cannot be seen"
    } else if own.split('/').all(str::is_empty) {
        "is the root of everything"
    } else if ["%2e", "%2f", "%5c", "%00"].iter().any(|code| lower.contains(code)) {
        "hides a part of the path in percent codes"
    } else if own.split('/').skip_while(|part| matches!(*part, "" | "." | "..")).any(|part| part == "..") {
        "goes down and up again"
    } else if own.split('/').any(|part| matches!(part, "_pointer" | "_delta_log" | ".strata"))
        || own.trim_end_matches('/').ends_with("/runs")
    {
        "is a folder that Strata keeps for itself"
    } else {
        return;
    };
    let message = format!("`to: {}` of output `{}` {wrong}", shown(to), shown(&output.name.value));
    let span = if output.to.span == Span::default() { output.name.span } else { output.to.span };
    problems.add(
        Diagnostic::error(codes::BAD_VALUE, span, message).help("write a folder of its own, e.g. `to: \"${vars.out}/{name}\"`"),
    );
}

/// The entity whose people the rows are; `None` for profiles and tables, or if it is not known.
fn entity_of(world: &World, output: &Output, problems: &mut Problems) -> Option<String> {
    match &output.from {
        Rows::Entity(name) => {
            if name.value.is_empty() || world.declared.has("entities", &name.value) {
                return (!name.value.is_empty()).then(|| name.value.clone());
            }
            let mut known = world.declared.texts("entities");
            known.extend(world.declared.texts("profiles"));
            known.extend(world.declared.texts("tables"));
            let help = problems.known_help(&name.value, "entities, profiles and tables", &known);
            let message = format!("there is no entity `{}` for the rows of this output", shown(&name.value));
            problems.add(Diagnostic::error(codes::UNKNOWN_ENTITY, name.span, message).help(help));
            None
        }
        Rows::Wave(name) | Rows::WavePart(name, _) => {
            world.must_be(name, "waves", codes::UNKNOWN_WAVE, "wave", problems);
            world.pipeline.panel.as_ref().map(|p| p.entity.value.clone()).filter(|e| !e.is_empty())
        }
        Rows::Profile(_) | Rows::Table(_) => None,
    }
}

fn selected(world: &World, output: &Output, entity: Option<&str>, item: &Located<Select>, problems: &mut Problems) {
    match &item.value {
        Select::Column(name) => {
            let pseudonym = output.export.pseudonym.as_ref().is_some_and(|p| p.column.value == *name);
            if let (Rows::Entity(_), Some(entity), false) = (&output.from, entity, pseudonym) {
                column(world, entity, name, item.span, problems);
            }
        }
        Select::Source(of, column) => source_column(world, of, column, item.span, problems),
        Select::Attributes(of) | Select::Segments(of) => {
            let name = Located::new(of.clone(), item.span);
            let inferred = matches!(&output.from, Rows::Entity(e) if e.span == item.span);
            let known = inferred || world.must_be_entity(&name, problems);
            if known && entity != Some(of) && entity_rows_are_known(world, output, entity) {
                mixed(output, item.span, problems);
            }
        }
        Select::All(of) => {
            let fits = match &output.from {
                Rows::Profile(name) | Rows::Table(name) => name.value == *of,
                Rows::WavePart(..) => of == "panel",
                Rows::Entity(_) | Rows::Wave(_) => false,
            };
            if fits && of == "panel" {
                return;
            }
            if !world.declared.has("profiles", of) && !world.declared.has("tables", of) {
                let mut known = world.declared.texts("profiles");
                known.extend(world.declared.texts("tables"));
                let help = problems.known_help(of, "profiles and tables", &known);
                let message = format!("`{}.*`: there is no profile or table `{}`", shown(of), shown(of));
                problems.add(Diagnostic::error(codes::UNKNOWN_ROWS, item.span, message).help(help));
            } else if !fits {
                mixed(output, item.span, problems);
            }
        }
    }
}

fn entity_rows_are_known(world: &World, output: &Output, entity: Option<&str>) -> bool {
    match &output.from {
        Rows::Entity(_) | Rows::Wave(_) | Rows::WavePart(..) => entity.is_some_and(|e| world.declared.has("entities", e)),
        Rows::Profile(_) | Rows::Table(_) => true,
    }
}

fn mixed(output: &Output, span: Span, problems: &mut Problems) {
    let (Rows::Entity(rows) | Rows::Wave(rows) | Rows::WavePart(rows, _) | Rows::Profile(rows) | Rows::Table(rows)) =
        &output.from;
    let message = format!("output `{}` has other rows: those of `{}`", shown(&output.name.value), shown(&rows.value));
    let mixed = Diagnostic::error(codes::MIXED_ROWS, span, message).also(rows.span, "the rows are said here");
    problems.add(mixed.help("make two outputs of it, or mend `from`"));
}

/// A bare name in an output with one row an entity.
fn column(world: &World, entity: &str, name: &str, span: Span, problems: &mut Problems) {
    if !world.columns.readable {
        return;
    }
    let Some(found) = world.pipeline.entity(entity).filter(|e| !e.key.value.is_empty()) else { return };
    let unread = world.declared.has("segments", name) && world.pipeline.segmentation(name).is_none();
    if !world.columns.has(entity, name) && found.key.value != name && !unread {
        let message = format!("`{}` is neither an attribute nor a segment column of `{}`", shown(name), shown(entity));
        let made =
            world.pipeline.segmentation(name).map(|s| format!("segmentation `{name}` makes `{}`", s.columns().join("`, `")));
        let mut known = if problems.may_look_at(world.columns.by_entity.get(entity).map_or(0, Vec::len)) {
            world.columns.of_entity(entity)
        } else {
            Vec::new()
        };
        known.push(&found.key.value);
        known.retain(|k| !k.starts_with('_'));
        let roster = format!("; a column of the roster is written `{}.{}`", found.from.value, shown(name));
        let help = made.unwrap_or_else(|| {
            let known = problems.known_help(name, "columns", &known);
            if known.starts_with("did you mean") { known } else { format!("{known}{roster}") }
        });
        problems.add(Diagnostic::error(codes::UNKNOWN_ATTRIBUTE, span, message).help(help));
    } else if name.starts_with('_') {
        let message = format!("`{}` is a helper and not published", shown(name));
        problems.add(
            Diagnostic::error(codes::BAD_SELECT, span, message)
                .help("remove the leading `_` from its name, or the name from `select`"),
        );
    }
}

/// `customers.email`: a source, or the name that a reference gives to one.
fn source_column(world: &World, of: &str, column: &str, span: Span, problems: &mut Problems) {
    if world.relations.contains(of) || world.declared.has("sources", of) || !world.declared.references_readable {
        return;
    }
    let mut known: Vec<&str> = Vec::new();
    if problems.may_look_at(world.relations.len()) {
        known.extend(&world.relations);
        known.sort_unstable();
    }
    let message = format!("there is no source `{}`", shown(of));
    let entity = world
        .pipeline
        .entity(of)
        .map(|e| format!("`{of}` is an entity: write `{}.{}`, or the bare name of an attribute", e.from.value, shown(column)));
    let whole = nearest(column, ["attributes", "segments"]).filter(|_| entity.is_some());
    let entity = whole.map(|part| format!("did you mean `{}.{part}`?", shown(of))).or(entity);
    let help = entity.unwrap_or_else(|| problems.known_help(of, "sources", &known));
    problems.add(Diagnostic::error(codes::UNKNOWN_SOURCE, span, message).help(help));
}
