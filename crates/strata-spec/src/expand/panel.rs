//! What a panel's fatigue and earlier waves stand for: helper attributes that count contacts, sources over published waves, and rules.
//! Never reports anything: what is wrong with them is found where the same is found of what people write.

use super::stages::PUBLISHED_AS_OF;
use super::{Part, Surroundings, quoted, time};
use crate::pipeline::people::Rate;
use crate::pipeline::wave::{Fatigue, MadeRule, Reserve};
use crate::pipeline::{
    AggregateAttribute, Ago, Block, EntityAttributes, FromBlock, Numbers, Output, Panel, Pipeline, ReadFormat, Rows, Source,
    Terms, Wave, WavePart, Window,
};
use crate::text::{Located, Name, Span, Sql};

const HOUR_US: i64 = 3_600_000_000;
/// Before the names of helper attributes of panels.
const HELPER: &str = "_panel_";
/// Before the names of sources over published waves.
const WAVE: &str = "__wave_";

/// Whether a source stands for the published rows of a wave, which are those of its table's current version.
pub fn is_published_wave(source: &str) -> bool {
    source.starts_with(WAVE)
}

/// The source over a published wave.
pub(crate) fn wave_source(wave: &str) -> String {
    format!("{WAVE}{wave}")
}

/// The helper attribute that counts the rows of a person in a published wave.
fn wave_rows(wave: &str) -> String {
    format!("{HELPER}wave_{wave}")
}

/// The helper attribute that says of which as-of a published wave is that a person is in.
fn wave_as_of(wave: &str) -> String {
    format!("{HELPER}as_of_{wave}")
}

/// For how long nobody else asks who a wave has drawn, in microseconds.
fn kept_us(wave: &Wave) -> Option<i64> {
    match wave.further.reserve {
        Some(Reserve::For(us)) => Some(us),
        _ => None,
    }
}

/// The waves whose people a wave leaves alone for a time: all that reserve them, but the one that it goes on from.
pub fn reserving<'a>(panel: &'a Panel, wave: &'a Wave) -> impl Iterator<Item = (&'a Name, i64)> {
    let others = panel.waves.iter().filter(|w| w.name.value != wave.name.value);
    let others = others.filter(|w| wave.further.after.as_ref().is_none_or(|a| a.value != w.name.value));
    others.filter_map(|w| Some((&w.name, kept_us(w)?)))
}

/// The second stream of permanent random numbers, which rotates people.
fn second_number(panel: &Panel, pipeline: &Pipeline, key: &str) -> String {
    let reference = match &panel.numbers {
        Numbers::Seed(seed) => format!("seed:{seed}"),
        Numbers::Env(name) => format!("env:{}", name.value),
    };
    let of = panel.numbers_of.as_ref().map_or(pipeline.name.as_str(), Name::as_str);
    format!("prn('{reference}', '{}/rotation', {})", of.replace('\'', "''"), quoted(key))
}

/// Puts in place what the panel needs; what was there of an earlier call goes first. False if a source of contacts is unknown or has no time.
pub(crate) fn expand(pipeline: &mut Pipeline) -> bool {
    let Some(mut panel) = pipeline.panel.take() else { return true };
    pipeline.sources.retain(|s| !s.name.value.starts_with(WAVE));
    for of in &mut pipeline.attributes {
        let ours = |b: &Block| matches!(b, Block::From(f) if f.columns.iter().all(|c| c.name.value.starts_with(HELPER)));
        of.blocks.retain(|b| !ours(b));
    }
    let key = pipeline.entity(&panel.entity.value).map(|e| e.key.value.clone());
    let (mut rules, mut blocks, mut sources) = (exclusions(&panel), vec![], vec![]);
    let mut whole = true;
    let counted = |o: &Output| matches!(&o.from, Rows::WavePart(_, WavePart::Health | WavePart::Burden));
    if let (Some(key), Some(fatigue)) = (&key, &panel.fatigue) {
        whole = fatigue.counts.iter().all(|c| time(pipeline, c).is_some());
        if whole {
            let past = panel.waves.iter().any(|w| w.further.response.as_ref().is_some_and(|r| r.rate_ppm.is_none()));
            let past = past || pipeline.outputs.iter().any(counted);
            let (made, more) = contacts(pipeline, key, fatigue, past);
            blocks.extend(made);
            rules.extend(more);
        }
    }
    if let (Some(key), Some(state)) = (&key, &panel.state) {
        for name in looked_back_at(&panel) {
            sources.push(source(&panel, state, &name));
            blocks.push(Block::From(FromBlock {
                from: Located::new(wave_source(&name.value), name.span),
                filter: None,
                columns: std::iter::once(aggregate(&wave_rows(&name.value), plain("count(*)", name.span), None))
                    .chain(drawn_when(&panel, &name))
                    .chain(then(&panel, &pipeline.outputs, &name))
                    .collect(),
            }));
        }
        for (at, wave) in panel.waves.iter().enumerate() {
            rules.extend(of_wave(&panel, pipeline, at, wave, key));
        }
    }
    pipeline.sources.extend(sources);
    if !blocks.is_empty() {
        match pipeline.attributes.iter_mut().find(|a| a.entity.value == panel.entity.value) {
            Some(of) => of.blocks.extend(blocks),
            None => pipeline.attributes.push(EntityAttributes {
                entity: panel.entity.clone(),
                blocks,
                presets: vec![],
                models: vec![],
            }),
        }
    }
    panel.made = rules;
    pipeline.panel = Some(panel);
    whole
}

fn plain(text: &str, span: Span) -> Sql {
    Sql { text: text.to_owned(), span, line_starts: vec![Sql::NOWHERE; text.matches('\n').count() + 1] }
}

fn aggregate(name: &str, sql: Sql, window: Option<Located<Window>>) -> AggregateAttribute {
    AggregateAttribute { name: Located::new(name.to_owned(), sql.span), sql, window, terms: Terms::default() }
}

/// Since when people of a wave are reserved for it, if they are.
fn drawn_when(panel: &Panel, name: &Name) -> Option<AggregateAttribute> {
    panel.waves.iter().find(|w| w.name.value == name.value).and_then(kept_us)?;
    let text = format!("max(cast({} as timestamp))", quoted(PUBLISHED_AS_OF));
    Some(aggregate(&wave_as_of(&name.value), plain(&text, name.span), None))
}

/// Where people of a wave were, as far as an output asks how they moved since.
fn then(panel: &Panel, outputs: &[Output], before: &Name) -> Vec<AggregateAttribute> {
    let mut out: Vec<AggregateAttribute> = vec![];
    for output in outputs {
        let Rows::WavePart(name, WavePart::Migration) = &output.from else { continue };
        let wave = panel.waves.iter().find(|w| w.name.value == name.value);
        for column in
            wave.filter(|w| w.further.after.as_ref().is_some_and(|a| a.value == before.value)).iter().flat_map(|w| &w.strata)
        {
            let name = was(&before.value, &column.value);
            if !out.iter().any(|a| a.name.value == name) {
                out.push(aggregate(&name, plain(&format!("min({})", quoted(&column.value)), output.name.span), None));
            }
        }
    }
    out
}

/// The helper attribute that says in which stratum a person was in a published wave.
pub fn was(wave: &str, column: &str) -> String {
    format!("{HELPER}was_{wave}_{column}")
}

fn exclusions(panel: &Panel) -> Vec<MadeRule> {
    let one = |name: &Name| MadeRule {
        label: format!("excluded: {}", name.value),
        sql: plain(&format!("{} is not true", quoted(&name.value)), name.span),
        wave: None,
    };
    panel.exclude.iter().map(one).collect()
}

/// Waves that other waves look back at, each once.
fn looked_back_at(panel: &Panel) -> Vec<Name> {
    let mut out: Vec<Name> = vec![];
    let named = panel.waves.iter().flat_map(|w| w.further.not_in.iter().chain(&w.further.after));
    let reserved = panel.waves.iter().flat_map(|w| reserving(panel, w)).map(|(name, _)| name);
    for name in named.chain(reserved) {
        if !name.value.is_empty() && !out.iter().any(|n| n.value == name.value) {
            out.push(name.clone());
        }
    }
    out
}

/// The rules of one wave: who is in a wave it leaves out, who is reserved for another, and who is rotated out.
fn of_wave(panel: &Panel, pipeline: &Pipeline, at: usize, wave: &Wave, key: &str) -> Vec<MadeRule> {
    let only = Some(wave.name.value.clone());
    let mut out: Vec<MadeRule> = vec![];
    for name in &wave.further.not_in {
        let sql = plain(&format!("{} = 0", quoted(&wave_rows(&name.value))), name.span);
        out.push(MadeRule { label: format!("not in wave {}", name.value), sql, wave: only.clone() });
    }
    for (name, us) in reserving(panel, wave) {
        let drawn = quoted(&wave_as_of(&name.value));
        let rested = rested(&drawn, us);
        let sql = plain(&format!("{drawn} > as_of or {rested}"), name.span);
        out.push(MadeRule { label: format!("reserved for wave {}", name.value), sql, wave: only.clone() });
    }
    if let (Some(after), Some(share)) = (&wave.further.after, wave.further.refresh_ppm) {
        // The arc that is rotated out moves on with each wave, so that nobody is rotated out twice before all were once.
        let start = (at as u64 * share) % 1_000_000;
        let (start, width) = (format!("0.{start:06}"), format!("{:.6}", share as f64 / 1e6));
        let number = second_number(panel, pipeline, key);
        let text = format!(
            "{} = 0 or (case when {number} >= {start} then {number} - {start} else {number} - {start} + 1.0 end) >= {width}",
            quoted(&wave_rows(&after.value))
        );
        let sql = plain(&text, after.span);
        out.push(MadeRule { label: format!("rotated out of wave {}", after.value), sql, wave: only });
    }
    out
}

/// The published rows of a wave.
fn source(panel: &Panel, state: &Name, wave: &Name) -> Source {
    let place = panel.waves.iter().find(|w| w.name.value == wave.value).map_or(wave.span, |w| w.name.span);
    let name = Located::new(wave_source(&wave.value), place);
    Source::undeclared(name, ReadFormat::Parquet, Located::new(state.value.replace("{wave}", &wave.value), state.span))
}

/// Helper attributes over contacts, and the rules that use them.
fn contacts(pipeline: &Pipeline, key: &str, fatigue: &Fatigue, past: bool) -> (Vec<Block>, Vec<MadeRule>) {
    let Some(first) = fatigue.counts.first() else { return (vec![], vec![]) };
    let span = first.span;
    let mut made = Contacts { fatigue, span, blocks: vec![], rules: vec![] };
    for (at, from) in fatigue.counts.iter().enumerate() {
        let around =
            Surroundings { pipeline, key: quoted(key), entity_key: key, span: from.span, prefix: "", tables: String::new() };
        made.of_source(at, from, &around, past);
    }
    made.all_rules();
    (made.blocks, made.rules)
}

struct Contacts<'a> {
    fatigue: &'a Fatigue,
    span: Span,
    blocks: Vec<Block>,
    rules: Vec<MadeRule>,
}

impl Contacts<'_> {
    fn of_source(&mut self, at: usize, from: &Name, around: &Surroundings, past: bool) {
        let fatigue = self.fatigue;
        let time = around.time(from);
        let mut columns = vec![];
        let mut add = |name: &str, sql: Sql, within_us: Option<i64>| {
            let window = within_us.map(|us| Located::new(Window { from: Ago::Micros(us), to: Ago::Micros(0) }, from.span));
            columns.push(aggregate(&format!("{HELPER}{name}_{at}"), sql, window));
        };
        if let Some(invites) = &fatigue.invites {
            add("invites", plain("count(*)", invites.span), Some(invites.value.within_us));
        }
        if fatigue.rest_us.is_some() {
            add("last", plain(&format!("max({time})"), from.span), None);
        }
        if at == 0 {
            let users = |template: &str, sql: &Sql| around.sql(template, &[("x", Part::Users(sql)), ("t", Part::Text(&time))]);
            if let Some(complete) = fatigue.complete.as_ref().filter(|_| fatigue.rest_after_complete_us.is_some()) {
                add("complete", users("max(case when {x} then {t} end)", complete), None);
            }
            if let Some(in_field) = &fatigue.in_field {
                add("field", users("count(case when {x} then 1 end)", in_field), None);
            }
            if let Some(burden) = &fatigue.burden {
                add("minutes", users("total({x})", &burden.minutes), Some(burden.most.within_us));
            }
            if let (Some(complete), true) = (&fatigue.complete, past) {
                add("invited", plain("count(*)", from.span), None);
                add("answered", users("count(case when {x} then 1 end)", complete), None);
            }
        }
        if !columns.is_empty() {
            let filter = fatigue.filter.clone().filter(|_| at == 0);
            self.blocks.push(Block::From(FromBlock { from: from.clone(), filter, columns }));
        }
    }

    fn rule(&mut self, label: String, text: &str, span: Span) {
        self.rules.push(MadeRule { label, sql: plain(text, span), wave: None });
    }

    fn all_rules(&mut self) {
        let (fatigue, span) = (self.fatigue, self.span);
        let sources = 0..fatigue.counts.len();
        let column = |name: &str, at: usize| quoted(&format!("{HELPER}{name}_{at}"));
        if let Some(invites) = &fatigue.invites {
            let all: Vec<String> = sources.clone().map(|at| column("invites", at)).collect();
            let Rate { count, within_us } = invites.value;
            let label = format!("fatigue: fewer than {count} contacts in {}", shown(within_us));
            self.rule(label, &format!("{} < {count}", all.join(" + ")), invites.span);
        }
        if let Some(us) = fatigue.rest_us {
            let rested = |at: usize| rested(&column("last", at), us);
            let all: Vec<String> = sources.map(rested).collect();
            self.rule(format!("fatigue: {} of rest after a contact", shown(us)), &all.join(" and "), span);
        }
        if let Some(us) = fatigue.rest_after_complete_us {
            let text = rested(&column("complete", 0), us);
            self.rule(format!("fatigue: {} of rest after an answer", shown(us)), &text, span);
        }
        if let Some(burden) = &fatigue.burden {
            let Rate { count, within_us } = burden.most;
            let label = format!("fatigue: at most {count} minutes in {}", shown(within_us));
            self.rule(label, &format!("{} + {} <= {count}", column("minutes", 0), burden.this), burden.minutes.span);
        }
        if let Some(in_field) = &fatigue.in_field {
            self.rule("fatigue: not in the field elsewhere".to_owned(), &format!("{} = 0", column("field", 0)), in_field.span);
        }
        if let Some(never) = &fatigue.never {
            let text = format!("not coalesce((\n{}\n), false)", never.text);
            let mut line_starts = vec![Sql::NOWHERE];
            line_starts.extend(&never.line_starts);
            line_starts.push(Sql::NOWHERE);
            let sql = Sql { text, span: never.span, line_starts };
            self.rules.push(MadeRule { label: "fatigue: never".to_owned(), sql, wave: None });
        }
    }
}

/// t − last ≥ rest, or there is no last.
fn rested(last: &str, rest_us: i64) -> String {
    format!("({last} is null or {last} <= as_of - interval '{} hours')", rest_us / HOUR_US)
}

/// `720h` as `30d`.
fn shown(us: i64) -> String {
    let hours = us / HOUR_US;
    if hours % 24 == 0 { format!("{}d", hours / 24) } else { format!("{hours}h") }
}
