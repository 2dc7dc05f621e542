//! What sections that this version only reads say about others: checks, tests, identity, presets, personas and waves. Never runs
//! one.

use super::World;
use super::sources::{must_be_own, must_be_source, must_be_source_or_table};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::pipeline::contract::CheckRule;
use crate::pipeline::identity::Golden;
use crate::pipeline::test::{Expect, Row, UnitTest};
use crate::pipeline::wave::Reserve;
use crate::pipeline::{AttributePreset, Check, PlannedMethod, Wave};
use crate::problems::{Problems, shown};
use crate::text::{Name, Span};

pub(super) fn check(world: &World, problems: &mut Problems) {
    for source in &world.pipeline.sources {
        let own = |c: &Name, what: &str, p: &mut Problems| must_be_own(world, source, c, what, p);
        let of = Checked { world, name: &source.name, time: source.time.is_some(), own: &own };
        source.checks.iter().for_each(|c| check_of(&of, c, problems));
        if let Some(history) = &source.history {
            must_be_own(world, source, &history.valid_from, "`history`", problems);
            history.valid_to.iter().for_each(|n| must_be_own(world, source, n, "`history`", problems));
        }
        for purpose in source.licence.iter().flat_map(|l| &l.not_for) {
            world.must_be_purpose(Some(purpose), problems);
        }
    }
    for table in &world.pipeline.tables {
        // What a table selects is known when its SQL is planned.
        let of = Checked { world, name: &table.name, time: table.time.is_some(), own: &|_, _, _| {} };
        table.checks.iter().for_each(|c| check_of(&of, c, problems));
    }
    identity(world, problems);
    presets(world, problems);
    segments(world, problems);
    people(world, problems);
    panel(world, problems);
    world.pipeline.tests.iter().for_each(|t| test(world, t, problems));
}

/// A source or table whose checks are looked at.
struct Checked<'a> {
    world: &'a World<'a>,
    name: &'a Name,
    /// Whether it has a time.
    time: bool,
    /// Reports a column that it does not have.
    own: &'a dyn Fn(&Name, &str, &mut Problems),
}

fn check_of(of: &Checked, check: &Check, problems: &mut Problems) {
    let (world, name) = (of.world, of.name);
    let columns: Vec<&Name> = match &check.rule {
        CheckRule::NotNull(columns) | CheckRule::Unique(columns) => columns.iter().collect(),
        CheckRule::Range { column, .. } | CheckRule::OneOf { column, .. } | CheckRule::Format { column, .. } => vec![column],
        CheckRule::References { columns, source: other } => {
            if must_be_source(world, other, problems) {
                key_fits(world, columns.len(), other, problems);
            }
            columns.iter().collect()
        }
        CheckRule::Freshness(_) | CheckRule::Volume(_) => {
            if !of.time {
                let message =
                    format!("check `{}` counts from a time, and `{}` has none", shown(&check.name.value), shown(&name.value));
                let help = format!("add `time: column` to `{}`, or remove the check", shown(&name.value));
                problems.add(Diagnostic::error(codes::NEEDS_TIME, check.name.span, message).help(help));
            }
            Vec::new()
        }
        CheckRule::Sql(_) => check.empties.iter().collect(),
    };
    for column in columns {
        (of.own)(column, &format!("check `{}`", shown(&check.name.value)), problems);
    }
}

fn key_fits(world: &World, columns: usize, other: &Name, problems: &mut Problems) {
    let Some(found) = world.pipeline.source(&other.value) else { return };
    if found.key.len() == columns {
        return;
    }
    let key: Vec<&str> = found.key.iter().map(Name::as_str).collect();
    let message = match key.len() {
        0 => format!("`{}` declares no `key` to look up", shown(&other.value)),
        n => format!("the key of `{}` has {n} columns, `columns` has {columns}", shown(&other.value)),
    };
    let help = match key.len() {
        0 => format!("add `key: column` to `{}`", shown(&other.value)),
        _ => format!("name a column for each of `{}`", key.join("`, `")),
    };
    problems.add(Diagnostic::error(codes::REFERENCE_KEY, other.span, message).also(found.name.span, "declared here").help(help));
}

fn identity(world: &World, problems: &mut Problems) {
    for identity in &world.pipeline.identity {
        world.must_be_entity(&identity.entity, problems);
        for (source, column) in identity.nodes.iter().flat_map(|n| &n.from) {
            if must_be_source(world, source, problems)
                && let Some(found) = world.pipeline.source(&source.value)
            {
                must_be_own(world, found, column, "an identifier", problems);
            }
        }
        for (_, golden) in &identity.golden {
            if let Golden::Sources(sources) = golden {
                sources.iter().for_each(|s| {
                    must_be_source(world, s, problems);
                });
            }
        }
    }
}

fn presets(world: &World, problems: &mut Problems) {
    for of in &world.pipeline.attributes {
        for preset in &of.presets {
            let named: Vec<&Name> = match preset {
                AttributePreset::LoyaltyCore(p) => [&p.from].into_iter().chain(&p.category).chain(&p.engagement).collect(),
                AttributePreset::PreferredTime(p) => vec![&p.from],
            };
            for name in named {
                must_be_source_or_table(world, name, problems);
            }
            match preset {
                AttributePreset::LoyaltyCore(p) => {
                    [&p.from].into_iter().chain(&p.engagement).for_each(|n| needs_time(world, n, "`loyalty_core@1`", problems));
                }
                AttributePreset::PreferredTime(p) => needs_time(world, &p.from, "`preferred_time@1`", problems),
            }
        }
        for model in &of.models {
            needs_time(world, &model.from, &format!("`{}`", model.model.value), problems);
        }
    }
}

fn needs_time(world: &World, from: &Name, what: &str, problems: &mut Problems) {
    let source = world.pipeline.source(&from.value).map(|s| s.time.is_some());
    if source.or_else(|| world.pipeline.table(&from.value).map(|t| t.time.is_some())) == Some(false) {
        let message = format!("{what} counts from a time, and `{}` has none", shown(&from.value));
        let help = format!("add `time: column` to `{}`", shown(&from.value));
        problems.add(Diagnostic::error(codes::NEEDS_TIME, from.span, message).help(help));
    }
}

fn segments(world: &World, problems: &mut Problems) {
    for segmentation in &world.pipeline.segments {
        match &segmentation.planned {
            Some(PlannedMethod::Watch(watch)) => watch.of.iter().for_each(|n| world.must_be_segmentation(n, problems)),
            Some(PlannedMethod::Sql { .. }) | None => {}
        }
    }
}

fn people(world: &World, problems: &mut Problems) {
    let entity = world.pipeline.entities.first().map_or("", |e| e.name.as_str());
    if let Some(personas) = &world.pipeline.personas {
        personas.of.iter().for_each(|n| world.must_be_segmentation(n, problems));
        personas.describe.iter().for_each(|n| world.must_be_column(n, entity, problems));
    }
    if let Some(tool) = &world.pipeline.typing_tool {
        world.must_be_segmentation(&tool.of, problems);
        must_be_source(world, &tool.questions, problems);
    }
    if let Some(personal) = &world.pipeline.personalise {
        world.must_be_purpose(Some(&personal.purpose), problems);
        personal.next_best.iter().for_each(|n| must_be_source_or_table(world, &n.from, problems));
        personal.channel.iter().chain(&personal.at).for_each(|n| world.must_be_column(n, entity, problems));
    }
}

fn panel(world: &World, problems: &mut Problems) {
    let Some(panel) = &world.pipeline.panel else { return };
    let entity = panel.entity.value.as_str();
    panel.exclude.iter().for_each(|n| world.must_be_column(n, entity, problems));
    for counted in panel.fatigue.iter().flat_map(|f| &f.counts) {
        must_be_source_or_table(world, counted, problems);
        needs_time(world, counted, "`fatigue`", problems);
    }
    panel.waves.iter().for_each(|w| wave(world, w, entity, problems));
    for (at, wave) in panel.waves.iter().enumerate() {
        if panel.state.is_none() && matches!(wave.further.reserve, Some(Reserve::For(_))) {
            let message = format!(
                "`{}` is reserved for a time, other waves read from where it is published, and the panel has no `state`",
                shown(&wave.name.value)
            );
            let help = "write `state: \"${vars.out}/{wave}\"`, the folder of the output with `from: panel.{wave}`";
            problems.add(Diagnostic::error(codes::MISSING_KEY, wave.name.span, message).help(help));
        }
        for name in wave.further.not_in.iter().chain(&wave.further.after) {
            earlier(world, &panel.waves[..at], name, problems);
            if panel.state.is_none() && world.declared.has("waves", &name.value) {
                let message = format!(
                    "people of `{}` are read from where it is published, and the panel has no `state`",
                    shown(&name.value)
                );
                let help = "write `state: \"${vars.out}/{wave}\"`, the folder of the output with `from: panel.{wave}`";
                problems.add(Diagnostic::error(codes::MISSING_KEY, name.span, message).help(help));
            }
        }
    }
}

/// A wave can look back at waves that stand before it.
fn earlier(world: &World, before: &[Wave], name: &Name, problems: &mut Problems) {
    if world.must_be(name, "waves", codes::UNKNOWN_WAVE, "wave", problems)
        && !before.iter().any(|w| w.name.value == name.value)
        && world.pipeline.wave(&name.value).is_some()
    {
        let message = format!("`{}` is no earlier wave", shown(&name.value));
        problems
            .add(Diagnostic::error(codes::UNKNOWN_WAVE, name.span, message).help("waves stand in their order: name one above"));
    }
}

fn wave(world: &World, wave: &Wave, entity: &str, problems: &mut Problems) {
    for name in wave.further.quotas.iter().flat_map(|q| &q.columns) {
        world.must_be_column(name, entity, problems);
    }
    let response = wave.further.response.as_ref();
    for name in response.iter().flat_map(|r| &r.shrink_to) {
        world.must_be_segmentation(name, problems);
        let known = world.pipeline.segmentation(&name.value).is_some();
        if known && !wave.strata.iter().any(|s| s.value == name.value) {
            let message = format!("`shrink_to: {}` is none of the `strata` of `{}`", shown(&name.value), shown(&wave.name.value));
            let help = "name one of them, and strata within its segments beside it: `strata: [lifecycle, region]`";
            problems.add(Diagnostic::error(codes::BAD_VALUE, name.span, message).help(help));
        }
        if response.is_some_and(|r| r.rate_ppm.is_some()) {
            let message = "`rate` is the same for everybody: `shrink_to` is of rates of the past".to_owned();
            problems.add(
                Diagnostic::error(codes::CHOOSE_ONE, name.span, message).help("write `model: past_rate`, or remove `shrink_to`"),
            );
        }
    }
    let cells = wave.weights.iter().filter_map(|w| w.nonresponse.as_ref()).flat_map(|n| &n.cells);
    for name in cells {
        world.must_be_column(name, entity, problems);
    }
    let counted = world.pipeline.panel.as_ref().and_then(|p| p.fatigue.as_ref()).is_some_and(|f| f.complete.is_some());
    if response.is_some_and(|r| r.rate_ppm.is_none()) && !counted {
        let message =
            format!("the past rate of `{}` is answers over contacts, and nothing says what those are", shown(&wave.name.value));
        let help = "write `fatigue: {counts: invites, complete: condition}` for the panel, or `expect_response: {rate: 30%}`";
        problems.add(Diagnostic::error(codes::MISSING_KEY, wave.name.span, message).help(help));
    }
}

fn test(world: &World, test: &UnitTest, problems: &mut Problems) {
    let entity_known = world.must_be_entity(&test.entity, problems);
    for (name, rows) in &test.given {
        if must_be_source(world, name, problems)
            && let Some(source) = world.pipeline.source(&name.value)
        {
            let columns = rows.iter().flat_map(|r| &r.cells).map(|c| &c.column);
            columns.for_each(|c| must_be_own(world, source, c, "a given row", problems));
        }
    }
    if !entity_known {
        return;
    }
    let key = world.pipeline.entity(&test.entity.value).map_or("", |e| e.key.as_str());
    let rows: Vec<&Row> = match &test.expect {
        Expect::One(row) => vec![row],
        Expect::ByKey(rows) => rows.iter().collect(),
    };
    for row in rows {
        if matches!(test.expect, Expect::ByKey(_)) && !row.cells.iter().any(|c| c.column.value == key) {
            let message = format!("an expected row does not say which `{}` it is", shown(&test.entity.value));
            let help = format!("add `{}` to the row", shown(key));
            problems.add(Diagnostic::error(codes::MISSING_KEY, start(row.span), message).help(help));
        }
        let columns = row.cells.iter().map(|c| &c.column).filter(|c| c.value != key);
        columns.for_each(|c| world.must_be_column(c, &test.entity.value, problems));
    }
}

fn start(span: Span) -> Span {
    Span::new(span.start, span.start)
}
