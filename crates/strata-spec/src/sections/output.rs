//! `outputs:` with `defaults` applied. Never writes one.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::outputs as language;
use crate::pipeline::{Class, History, Output, OutputPlanned, Rows, Select, WavePart, WriteFormat};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::column::CLASSES;
use crate::sections::export::{self, Said};
use crate::similar::nearest;
use crate::text::{Located, Name, Sql};
use crate::tree::{Entry, Node};

/// Names that decide what the rows of an output are.
pub(crate) struct RowNames<'a> {
    /// The first entity.
    pub(crate) entity: Option<&'a Name>,
    /// Profiles, also unreadable ones.
    pub(crate) profiles: Vec<&'a str>,
    /// Tables, also unreadable ones.
    pub(crate) tables: Vec<&'a str>,
}

/// What `defaults` and each output can both say.
#[derive(Default)]
struct Common {
    to: Option<Name>,
    format: Option<WriteFormat>,
    history: Option<Located<History>>,
    purpose: Option<Name>,
    classes: Option<Vec<Class>>,
    filter: Option<Sql>,
    said: Said,
    planned: OutputPlanned,
}

/// `outputs:`
pub(crate) fn outputs(node: &Node, names: &RowNames, problems: &mut Problems) -> Vec<Output> {
    let entries = read::entries(node, "`outputs`", problems);
    let mut defaults = Common::default();
    let written = entries.iter().find(|e| e.key.value == "defaults");
    let misspelt = entries.iter().find(|e| written.is_none() && is_misspelt_defaults(e));
    if let Some(entry) = misspelt {
        let message = format!("unknown key `{}` in `outputs`", shown(&entry.key.value));
        problems.add(Diagnostic::error(codes::UNKNOWN_KEY, entry.key.span, message).help("did you mean `defaults`?"));
    }
    let said = written.or(misspelt);
    if let Some(entry) = said {
        match Fields::item(&entry.value, &language::DEFAULTS, problems) {
            Some(mut f) => {
                defaults = common(&mut f);
                f.finish();
            }
            None => defaults.to = Some(read::blank(entry.value.span)),
        }
    }
    let own = said.map(|e| e.key.span);
    let rest = entries.iter().filter(|e| Some(e.key.span) != own);
    rest.filter_map(|e| output(e, &defaults, names, problems)).collect()
}

/// An output without `select` whose name is nearly `defaults`.
fn is_misspelt_defaults(entry: &Entry) -> bool {
    let selects = entry.value.entries().iter().any(|e| e.key.value == "select");
    !selects && nearest(&entry.key.value, ["defaults"]).is_some()
}

fn common(f: &mut Fields) -> Common {
    let formats = [
        ("delta", (WriteFormat::Delta, None)),
        ("parquet", (WriteFormat::Parquet, None)),
        ("csv", (WriteFormat::Csv, None)),
        ("jsonl", (WriteFormat::Jsonl, None)),
        ("xlsx", (WriteFormat::Xlsx, None)),
        ("iceberg", (WriteFormat::Parquet, Some("iceberg"))),
        ("postgres", (WriteFormat::Parquet, Some("postgres"))),
    ];
    let format = f.word("format", &formats);
    let histories =
        [("none", (History::None, None)), ("snapshot", (History::Snapshot, None)), ("scd2", (History::None, Some("scd2")))];
    let span = f.value_span("history");
    let history = f.word("history", &histories);
    let publishes = [("together", "together"), ("per_table", "per_table")];
    Common {
        to: f.name("to"),
        format: format.map(|(format, _)| format),
        history: history.map(|(history, _)| Located::new(history, span)),
        purpose: f.name("purpose"),
        classes: f.take("classes").map(|n| classes(n, f.p)),
        filter: f.sql("where"),
        said: export::said(f),
        planned: OutputPlanned {
            format: format.and_then(|(_, planned)| planned).map(str::to_owned),
            history: history.and_then(|(_, planned)| planned).map(str::to_owned),
            changes_only: f.flag("changes_only"),
            min_cell: None,
            drop: f.take("drop").map(|n| read::names(n, "`drop`", f.p)),
            partition_by: f.take("partition_by").map(|n| read::names(n, "`partition_by`", f.p)),
            publish: f.word("publish", &publishes).map(str::to_owned),
        },
    }
}

/// What the output says itself, or else the defaults.
fn planned(own: OutputPlanned, defaults: &OutputPlanned) -> OutputPlanned {
    OutputPlanned {
        format: own.format.or_else(|| defaults.format.clone()),
        history: own.history.or_else(|| defaults.history.clone()),
        changes_only: own.changes_only.or(defaults.changes_only),
        min_cell: own.min_cell.or(defaults.min_cell),
        drop: own.drop.or_else(|| defaults.drop.clone()),
        partition_by: own.partition_by.or_else(|| defaults.partition_by.clone()),
        publish: own.publish.or_else(|| defaults.publish.clone()),
    }
}

fn output(entry: &Entry, defaults: &Common, names: &RowNames, problems: &mut Problems) -> Option<Output> {
    let name = &entry.key;
    if !name.value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
        let message = format!("`{}` cannot be the name of an output", shown(&name.value));
        problems.add(
            Diagnostic::error(codes::NOT_A_NAME, name.span, message).help("names of outputs are letters, digits, `_` and `-`"),
        );
    }
    let mut f = Fields::open(&entry.value, name, &language::OUTPUT, problems)?;
    let own = common(&mut f);
    if own.to.is_none() && defaults.to.is_none() && !f.has("to") {
        let message = format!("{} does not say where `to` write", f.what);
        let help = "write `to: folder`, or `defaults: {to: \"out/{name}\"}` for all outputs";
        f.p.add(Diagnostic::error(codes::MISSING_KEY, name.span, message).help(help));
    }
    let to = own.to.or_else(|| defaults.to.clone()).unwrap_or_else(|| read::blank(name.span));
    let to = placed(to, &name.value, f.p);
    let from = f.name("from");
    let selected = f.need("select", "write `select: customer.attributes`, or a list of columns");
    let select = selected.map(|n| selects(n, f.p)).unwrap_or_default();
    f.finish();
    let from = match from {
        Some(from) => rows(&from, names, problems),
        None => inferred(&select, names, name),
    };
    let min_cell = own.said.min_cell.clone().or_else(|| defaults.said.min_cell.clone());
    let mut export = export::export(own.said, &defaults.said, name);
    let mut elsewhere = None;
    match (min_cell, &from) {
        (Some(cell), Rows::WavePart(..)) => export.min_cell = Some(cell),
        (Some(cell), _) if !problems.not_yet(cell.span, "`min_cell`", "write `min_cell` in the profile") => {
            elsewhere = Some(cell.value);
        }
        _ => {}
    }
    Some(Output {
        name: name.clone(),
        to,
        format: own.format.or(defaults.format).unwrap_or(WriteFormat::Delta),
        history: own.history.or_else(|| defaults.history.clone()).unwrap_or_else(|| Located::new(History::None, name.span)),
        from,
        select,
        purpose: own.purpose.or_else(|| defaults.purpose.clone()),
        classes: own.classes.or_else(|| defaults.classes.clone()).unwrap_or_default(),
        filter: own.filter.or_else(|| defaults.filter.clone()),
        export,
        planned: OutputPlanned { min_cell: elsewhere, ..planned(own.planned, &defaults.planned) },
    })
}

fn classes(node: &Node, problems: &mut Problems) -> Vec<Class> {
    let mut all = Vec::new();
    for name in read::names(node, "`classes`", problems) {
        match CLASSES.iter().find(|(word, _)| *word == name.value) {
            Some((_, class)) => all.push(*class),
            None => {
                let words: Vec<&str> = CLASSES.iter().map(|(word, _)| *word).collect();
                let help = problems.known_help(&name.value, "classes", &words);
                read::bad_value(codes::BAD_VALUE, name.span, format!("`{}` is not a class", shown(&name.value)), help, problems);
            }
        }
    }
    all
}

/// `to` with the output's name in place of `{name}`.
fn placed(to: Name, name: &str, problems: &mut Problems) -> Name {
    let value = to.value.replace("{name}", name);
    // Where `vars` cannot be read, variables are still there.
    if let Some(at) = value.find(['{', '}']).filter(|_| !value.contains("${")) {
        let message = format!("`{}` is not a placeholder", shown(&value[at..]));
        let unknown = Diagnostic::error(codes::BAD_PLACEHOLDER, to.span, message);
        problems.add(unknown.help("only `{name}` is, and stands for the output's name; variables are `${vars.x}`"));
    }
    Located::new(value, to.span)
}

fn selects(node: &Node, problems: &mut Problems) -> Vec<Located<Select>> {
    let names = read::names(node, "`select`", problems);
    names.into_iter().filter_map(|n| select(&n, problems).map(|s| Located::new(s, n.span))).collect()
}

fn select(name: &Name, problems: &mut Problems) -> Option<Select> {
    let mut parts = name.value.split('.');
    let selected = match (parts.next(), parts.next(), parts.next()) {
        (Some(column), None, None) if read::is_identifier(column) => Some(Select::Column(column.to_owned())),
        (Some(of), Some(part), None) if read::is_identifier(of) => match part {
            "attributes" => Some(Select::Attributes(of.to_owned())),
            "segments" => Some(Select::Segments(of.to_owned())),
            "*" => Some(Select::All(of.to_owned())),
            _ if of == "panel" => None,
            column if read::is_identifier(column) => Some(Select::Source(of.to_owned(), column.to_owned())),
            _ => None,
        },
        _ => None,
    };
    if selected.is_none() {
        let message = format!("`{}` cannot be selected", shown(&name.value));
        let help = match name.value.strip_prefix("panel.") {
            Some(wave) => format!("write `from: panel.{}`, and list the columns in `select`", shown(wave)),
            None => {
                let ways = "`source.column`, `entity.attributes`, `entity.segments` or `profile.*`";
                format!("write a column, {ways}; expressions belong to attributes")
            }
        };
        problems.add(Diagnostic::error(codes::BAD_SELECT, name.span, message).help(help));
    }
    selected
}

/// `from:` as written; whether it is declared is checked later.
fn rows(from: &Name, names: &RowNames, problems: &mut Problems) -> Rows {
    if let Some(wave) = from.value.strip_prefix("panel.") {
        let Some((wave, part)) = wave.split_once('.') else { return Rows::Wave(Located::new(wave.to_owned(), from.span)) };
        let wave = Located::new(wave.to_owned(), from.span);
        if let Some((_, found)) = WavePart::NAMES.iter().find(|(name, _)| *name == part) {
            return Rows::WavePart(wave, *found);
        }
        let help = problems.known_help(part, "parts of a wave", &WavePart::NAMES.map(|(name, _)| name));
        let message = format!("a wave has no part `{}`", shown(part));
        problems.add(Diagnostic::error(codes::UNKNOWN_ROWS, from.span, message).help(help));
        return Rows::WavePart(wave, WavePart::Eligibility);
    }
    if from.value == "panel" {
        problems.add(
            Diagnostic::error(codes::UNKNOWN_WAVE, from.span, "`from: panel` names no wave")
                .help("write `from: panel.NAME`, with a wave of the panel"),
        );
        return Rows::Entity(read::blank(from.span));
    }
    named_rows(from.clone(), names)
}

fn named_rows(name: Name, names: &RowNames) -> Rows {
    match name.value.as_str() {
        n if names.profiles.contains(&n) => Rows::Profile(name),
        n if names.tables.contains(&n) => Rows::Table(name),
        _ => Rows::Entity(name),
    }
}

/// What the rows are, from the first thing selected that says so; what does not fit is checked later.
fn inferred(select: &[Located<Select>], names: &RowNames, output: &Name) -> Rows {
    let first = select.iter().find_map(|item| match &item.value {
        Select::All(of) if names.profiles.contains(&of.as_str()) || names.tables.contains(&of.as_str()) => {
            Some(named_rows(Located::new(of.clone(), item.span), names))
        }
        Select::Attributes(of) | Select::Segments(of) => Some(Rows::Entity(Located::new(of.clone(), item.span))),
        Select::All(_) | Select::Column(_) | Select::Source(..) => None,
    });
    first.unwrap_or_else(|| Rows::Entity(names.entity.cloned().unwrap_or_else(|| read::blank(output.span))))
}
