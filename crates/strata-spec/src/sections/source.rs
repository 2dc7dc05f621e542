//! `sources:`. Never opens one.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::sources;
use crate::pipeline::{Duplicates, LearnedLater, Mode, ReadFormat, Reference, Source};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::{checks, column, window};
use crate::text::{Located, Name};
use crate::tree::{Entry, Node, Value};

/// Every source, also those with problems, so that nothing that names them goes wrong too.
pub(crate) fn all(node: &Node, problems: &mut Problems) -> Vec<Source> {
    let entries = read::named(node, "`sources`", problems);
    entries.into_iter().filter_map(|(name, node)| source(name, node, problems)).collect()
}

fn source(name: &Name, node: &Node, problems: &mut Problems) -> Option<Source> {
    let mut f = Fields::open(node, name, &sources::SOURCE, problems)?;
    let (format, path, planned_format) = place(&mut f);
    let time = f.name("time");
    let mode = f.word("mode", &[("append", Mode::Append), ("mutable", Mode::Mutable)]);
    let mode = mode.unwrap_or(if time.is_some() { Mode::Append } else { Mode::Mutable });
    let late_us = f.take("late").and_then(|n| window::exact_us(n, "`late`", f.p));
    needs_time(&mut f, mode);
    let learned_later = f.take("learned_later").map(|n| learned(n, f.p)).unwrap_or_default();
    let key = if f.refused("key") { vec![read::blank(f.value_span("key"))] } else { f.names("key") };
    f.entry("key");
    let duplicates = duplicates(&mut f);
    let filter = f.sql("where");
    let references = f.take("references").map(|n| references(n, f.p)).unwrap_or_default();
    let derive = f.take("derive").map(|n| named_sql(n, "`derive`", f.p)).unwrap_or_default();
    let mut contract = f.take("columns").map(|n| column::columns(n, f.p)).unwrap_or_default();
    if let Some(node) = f.take("classes") {
        column::classes(node, &mut contract.classes, f.p);
    }
    contract.checks.extend(f.take("checks").map(|n| checks::checks(n, f.p)).unwrap_or_default());
    let drift = f.take("drift").and_then(|n| checks::drift(n, f.p));
    let history = f.take("history").and_then(|n| checks::history(n, f.p));
    let licence = f.take("licence").and_then(|n| checks::licence(n, f.p));
    if format == ReadFormat::Csv && !f.has("columns") {
        let message = format!("the CSV source `{}` declares no columns", shown(&name.value));
        f.p.add(
            Diagnostic::error(codes::CSV_COLUMNS, name.span, message)
                .help("add `columns: {id: string!, amount: \"decimal(12,2)\"}`: CSV carries no types"),
        );
    }
    f.finish();
    Some(Source {
        name: name.clone(),
        format,
        path,
        mode,
        time,
        late_us,
        learned_later,
        key,
        duplicates,
        filter,
        references,
        derive,
        columns: contract.columns,
        classes: contract.classes,
        checks: contract.checks,
        drift,
        history,
        licence,
        planned_format,
    })
}

const FORMATS: [&str; 7] = ["parquet", "csv", "delta", "iceberg", "jsonl", "xlsx", "postgres"];

/// `parquet:` or `csv:` or another format, exactly one; a format that this version cannot read comes last.
fn place(f: &mut Fields) -> (ReadFormat, Name, Option<Name>) {
    let written: Vec<&'static str> = FORMATS.into_iter().filter(|k| f.has(k)).collect();
    let mut paths = Vec::with_capacity(written.len());
    for key in &written {
        let node = f.take(key);
        let path = node.and_then(|n| read::path(n, &format!("`{key}`"), f.p));
        paths.extend(path.map(|path| (*key, path)));
    }
    match written.as_slice() {
        [_] => {}
        [] => {
            let message = format!("{} does not say where it is", f.what);
            f.p.add(Diagnostic::error(codes::CHOOSE_ONE, f.owner, message).help("add `parquet: path` or `csv: path`"));
        }
        [first, second, ..] => {
            let message = format!("{} has both `{first}` and `{second}`", f.what);
            f.p.add(Diagnostic::error(codes::CHOOSE_ONE, f.key_span(second), message).help("keep one of them"));
        }
    }
    let format = if written.first() == Some(&"csv") { ReadFormat::Csv } else { ReadFormat::Parquet };
    let planned = paths.iter().find(|(key, _)| !matches!(*key, "parquet" | "csv"));
    let planned = planned.map(|(key, path)| Located::new((*key).to_owned(), path.span));
    let path = paths.into_iter().next().map_or_else(|| read::blank(f.owner), |(_, path)| path);
    (format, path, planned)
}

fn needs_time(f: &mut Fields, mode: Mode) {
    if f.has("time") {
        return;
    }
    if mode == Mode::Append {
        let message = format!("{} is `append` but names no `time`", f.what);
        let help = "add `time: column`: rows at or after `as_of` must not be used; or say `mode: mutable`";
        f.p.add(Diagnostic::error(codes::NEEDS_TIME, f.key_span("mode"), message).help(help));
    }
    if f.has("late") {
        let message = format!("{} says how `late` rows are, but names no `time`", f.what);
        f.p.add(Diagnostic::error(codes::NEEDS_TIME, f.key_span("late"), message).help("add `time: column`, or remove `late`"));
    }
}

fn learned(node: &Node, problems: &mut Problems) -> Vec<LearnedLater> {
    let entries = read::entries(node, "`learned_later`", problems);
    let columns = |e: &Entry, p: &mut Problems| read::names(&e.value, "`learned_later`", p);
    entries.iter().map(|e| LearnedLater { time: e.key.clone(), columns: columns(e, problems) }).collect()
}

/// `duplicates: identical`, `duplicates: {keep: latest by …}` or `keep: latest by …`.
fn duplicates(f: &mut Fields) -> Option<Duplicates> {
    let keep = f.take("keep").and_then(|n| latest(n, f.p));
    let node = f.take("duplicates");
    let written = f.has("keep") || f.has("duplicates");
    if f.has("keep") && f.has("duplicates") {
        let message = format!("{} says twice what to do with duplicates", f.what);
        f.p.add(Diagnostic::error(codes::CHOOSE_ONE, f.key_span("keep"), message).help("keep one of `duplicates` and `keep`"));
    }
    if written && !f.has("key") {
        let message = format!("{} says what to do with duplicates, but has no `key`", f.what);
        let at = if f.has("duplicates") { f.key_span("duplicates") } else { f.key_span("keep") };
        f.p.add(Diagnostic::error(codes::MISSING_KEY, at, message).help("add `key: column`, or `key: [a, b]`"));
    }
    let Some(node) = node else { return keep };
    if let Value::Map(_) = node.value {
        let mut inner = Fields::item(node, &sources::KEEP, f.p)?;
        let keep = inner.need("keep", "write `keep: latest by updated_at desc`").and_then(|n| latest(n, inner.p));
        inner.finish();
        return keep;
    }
    let written = &read::text(node, "`duplicates`", "`identical` or `{keep: latest by …}`", f.p)?.text;
    if written.trim() == "identical" { Some(Duplicates::Identical(node.span)) } else { latest(node, f.p) }
}

/// `latest by <order>`
fn latest(node: &Node, problems: &mut Problems) -> Option<Duplicates> {
    let text = read::text(node, "what to keep", "`latest by` and an order", problems)?;
    let order = ["latest", "by"].iter().try_fold(text.text.as_str(), |rest, word| {
        let after = rest.trim_start().strip_prefix(word)?;
        after.starts_with(char::is_whitespace).then_some(after)
    });
    match order.map(str::trim_start).filter(|o| !o.is_empty()) {
        Some(order) => Some(Duplicates::KeepLatest(text.sql(node.span, text.text.len() - order.len()))),
        None => {
            let help = "write `duplicates: identical`, or `keep: latest by updated_at desc, id`";
            read::bad_value(codes::BAD_VALUE, node.span, format!("duplicates cannot be `{}`", shown(&text.text)), help, problems);
            None
        }
    }
}

fn references(node: &Node, problems: &mut Problems) -> Vec<Reference> {
    if let Value::List(items) = &node.value {
        return items.iter().filter_map(|i| listed_reference(i, problems)).collect();
    }
    let entries = read::entries(node, "`references`", problems);
    entries.iter().filter_map(|e| reference(e, problems)).collect()
}

/// `{item_id: products}`, `{home_store_id: stores as home_store}`, `{"a, b": source}`
fn reference(entry: &Entry, problems: &mut Problems) -> Option<Reference> {
    let what = format!("the reference of `{}`", shown(&entry.key.value));
    let columns = entry.key.value.split(',').map(|c| Located::new(c.trim().to_owned(), entry.key.span)).collect();
    let written = read::text(&entry.value, &what, "a source, or `source as name`", problems)?;
    let words: Vec<&str> = written.text.split_whitespace().collect();
    let span = entry.value.span;
    let (source, alias) = match words.as_slice() {
        [source] => (*source, *source),
        [source, word, alias] if word.eq_ignore_ascii_case("as") => {
            read::identified(&Located::new((*alias).to_owned(), span), "`references`", problems);
            (*source, *alias)
        }
        _ => {
            read::bad_value(
                codes::BAD_VALUE,
                span,
                format!("{what} cannot be `{}`", shown(&written.text)),
                "write `source`, or `source as name`",
                problems,
            );
            return None;
        }
    };
    let alias = Located::new(alias.to_owned(), span);
    Some(Reference { columns, source: Located::new(source.to_owned(), span), alias })
}

/// `{columns: [a, b], source: x, as: y}`
fn listed_reference(node: &Node, problems: &mut Problems) -> Option<Reference> {
    let mut f = Fields::item(node, &sources::REFERENCE, problems)?;
    let columns = f.need("columns", "write `columns: [a, b]`").map(|n| read::names(n, "`columns`", f.p)).unwrap_or_default();
    let source = f.need_name("source", "write `source: name`");
    let alias = f.name("as").unwrap_or_else(|| source.clone());
    f.finish();
    Some(Reference { columns, source, alias })
}

/// `{name: SQL}` with identifiers as names.
pub(crate) fn named_sql(node: &Node, what: &str, problems: &mut Problems) -> Vec<(Name, crate::text::Sql)> {
    let entries = read::named(node, what, problems);
    let mut all = Vec::with_capacity(entries.len());
    for (name, node) in entries {
        let sql = read::sql(node, &format!("`{}`", shown(&name.value)), problems);
        all.push((name.clone(), sql.unwrap_or_else(|| read::blank_sql(node.span))));
    }
    all
}
