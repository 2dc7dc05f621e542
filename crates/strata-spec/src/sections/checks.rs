//! `checks:`, `drift:`, `history:` and `licence:` of a source. Never looks at a row.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::sources;
use crate::pipeline::contract::{Added, CheckRule, Dropped, OnFail, Retyped, TextFormat, Volume};
use crate::pipeline::{Check, Drift, Licence, RowHistory};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::window;
use crate::text::{Located, Name};
use crate::tree::Node;
use chrono::NaiveDate;

/// Words of `on_fail:`.
pub(crate) const ON_FAIL: &[(&str, OnFail)] =
    &[("stop", OnFail::Stop), ("quarantine", OnFail::Quarantine), ("set_null", OnFail::SetNull), ("warn", OnFail::Warn)];
/// Words of `format:`.
pub(crate) const FORMATS: &[(&str, TextFormat)] =
    &[("email", TextFormat::Email), ("phone", TextFormat::Phone), ("url", TextFormat::Url), ("uuid", TextFormat::Uuid)];

const DAY_US: i64 = 86_400_000_000;
const RULES: [&str; 10] = ["sql", "not_null", "unique", "min", "max", "enum", "format", "references", "freshness", "volume"];
const WAYS: &str = "write one of `sql: condition`, `not_null: [column]`, `unique: [column]`, `column` with `min`, `max`, \
                    `enum` or `format`, `references: source` with `columns`, `freshness: 26h`, or `volume: {min: 0.5, max: 2}`";

/// `checks:` of a source.
pub(crate) fn checks(node: &Node, problems: &mut Problems) -> Vec<Check> {
    let entries = read::named(node, "`checks`", problems);
    entries.into_iter().filter_map(|(name, node)| check(name, node, Of::Source, problems)).collect()
}

/// Whose rows a check is about. Those of a table are computed, so there is none to put aside or to empty.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Source,
    Table,
}

/// `checks:` of a table.
pub(crate) fn checks_of_table(node: &Node, problems: &mut Problems) -> Vec<Check> {
    let entries = read::named(node, "`checks`", problems);
    entries.into_iter().filter_map(|(name, node)| check(name, node, Of::Table, problems)).collect()
}

fn check(name: &Name, node: &Node, of: Of, problems: &mut Problems) -> Option<Check> {
    let (shape, known): (_, &[_]) = match of {
        Of::Source => (&sources::CHECK, ON_FAIL),
        Of::Table => (&sources::TABLE_CHECK, &[ON_FAIL[0], ON_FAIL[3]]),
    };
    let mut f = Fields::open(node, name, shape, problems)?;
    if of == Of::Table
        && let Some(word) = ["quarantine", "set_null"].into_iter().find(|w| f.key_value_is("on_fail", w))
    {
        let message = format!("rows of a table are computed: `{word}` has none to act on in check `{}`", shown(&name.value));
        let help = "write `on_fail: stop` or `on_fail: warn`, or leave such rows out with `where` in the SELECT";
        f.p.add(Diagnostic::error(codes::WRONG_ACTION, f.key_span("on_fail"), message).help(help));
        f.pass_rest();
        return None;
    }
    let on_fail = f.word("on_fail", known).unwrap_or(OnFail::Stop);
    let on_fail = Located::new(on_fail, f.value_span("on_fail"));
    let column = f.name("column");
    let written: Vec<&str> = RULES.into_iter().filter(|k| f.has(k)).collect();
    let kinds = written.iter().filter(|k| **k != "max" || !f.has("min")).count();
    let rule = rule(&mut f, column.as_ref());
    if kinds != 1 {
        let message = match kinds {
            0 => format!("{} has no rule", f.what),
            _ => format!("{} has several rules: `{}`", f.what, written.join("`, `")),
        };
        f.p.add(Diagnostic::error(codes::CHOOSE_ONE, name.span, message).help(WAYS));
    }
    f.finish();
    let rule = rule.filter(|_| kinds == 1)?;
    let empties = match on_fail.value {
        OnFail::SetNull => empties(name, &rule, column, on_fail.span, problems),
        OnFail::Quarantine if is_of_table(&rule) => {
            let message = format!("check `{}` is about the whole table, and no row of it can be quarantined", shown(&name.value));
            let help = "write `on_fail: stop` or `on_fail: warn`";
            problems.add(Diagnostic::error(codes::WRONG_ACTION, on_fail.span, message).help(help));
            Vec::new()
        }
        _ => Vec::new(),
    };
    Some(Check { name: name.clone(), rule, on_fail, empties })
}

fn is_of_table(rule: &CheckRule) -> bool {
    matches!(rule, CheckRule::Freshness(_) | CheckRule::Volume(_))
}

/// The columns that `set_null` empties; reported if there are none, or if null is what is wrong.
fn empties(name: &Name, rule: &CheckRule, column: Option<Name>, at: crate::text::Span, problems: &mut Problems) -> Vec<Name> {
    let of_rule = match rule {
        CheckRule::Range { column, .. } | CheckRule::OneOf { column, .. } | CheckRule::Format { column, .. } => {
            vec![column.clone()]
        }
        CheckRule::References { columns, .. } => columns.clone(),
        CheckRule::Sql(_) => column.into_iter().collect(),
        CheckRule::NotNull(_) | CheckRule::Unique(_) | CheckRule::Freshness(_) | CheckRule::Volume(_) => Vec::new(),
    };
    if of_rule.is_empty() {
        let (why, help) = match rule {
            CheckRule::Sql(_) => ("does not say which", "add `column: name`, the column to empty"),
            CheckRule::NotNull(_) => ("complains of null already", "write `on_fail: quarantine`, `stop` or `warn`"),
            CheckRule::Unique(_) => ("is about several rows", "write `on_fail: quarantine`, `stop` or `warn`"),
            _ => ("is about the whole table", "write `on_fail: stop` or `on_fail: warn`"),
        };
        let message = format!("`set_null` empties a column, and check `{}` {why}", shown(&name.value));
        problems.add(Diagnostic::error(codes::WRONG_ACTION, at, message).help(help));
    }
    of_rule
}

fn rule(f: &mut Fields, column: Option<&Name>) -> Option<CheckRule> {
    let about = ["min", "max", "enum", "format"].into_iter().find(|k| f.has(k));
    if let (Some(key), None) = (about, column) {
        let message = format!("{} has `{key}`, but no `column`", f.what);
        f.p.add(Diagnostic::error(codes::MISSING_KEY, f.key_span(key), message).help("add `column: name`"));
    }
    let owner = f.owner;
    let column = || column.cloned().unwrap_or_else(|| read::blank(owner));
    let (sql, min, max) = (f.sql("sql"), f.sql("min"), f.sql("max"));
    let (not_null, unique, values) = (f.names("not_null"), f.names("unique"), f.names("enum"));
    let format = f.word("format", FORMATS);
    let other = f.name("references");
    let columns = f.names("columns");
    if f.has("references") != f.has("columns") {
        let message = format!("{} needs both `references` and `columns`", f.what);
        let help = "write `{references: stores, columns: [store_id]}`";
        f.p.add(Diagnostic::error(codes::MISSING_KEY, f.owner, message).help(help));
    }
    let freshness = f.take("freshness").and_then(|n| window::exact_us(n, "`freshness`", f.p));
    let volume = f.take("volume").and_then(|n| volume(n, f.p));
    let range = (min.is_some() || max.is_some()).then(|| CheckRule::Range { column: column(), min, max });
    let one_of = (!values.is_empty())
        .then(|| CheckRule::OneOf { column: column(), values: values.into_iter().map(|n| n.value).collect() });
    sql.map(CheckRule::Sql)
        .or((!not_null.is_empty()).then_some(CheckRule::NotNull(not_null)))
        .or((!unique.is_empty()).then_some(CheckRule::Unique(unique)))
        .or(range)
        .or(one_of)
        .or(format.map(|format| CheckRule::Format { column: column(), format }))
        .or(other.map(|source| CheckRule::References { columns, source }))
        .or(freshness.map(CheckRule::Freshness))
        .or(volume.map(CheckRule::Volume))
}

fn volume(node: &Node, problems: &mut Problems) -> Option<Volume> {
    let mut f = Fields::item(node, &sources::VOLUME, problems)?;
    let of_us = f.take("of").and_then(|n| window::exact_us(n, "`of`", f.p)).unwrap_or(7 * DAY_US);
    let (min, max) = (f.real("min", 0.0), f.real("max", 0.0));
    if !f.has("min") && !f.has("max") {
        let message = "`volume` has neither `min` nor `max`";
        f.p.add(Diagnostic::error(codes::MISSING_KEY, node.span, message).help("write `volume: {of: 7d, min: 0.5, max: 2}`"));
    }
    if let (Some(min), Some(max)) = (min, max)
        && max < min
    {
        let at = f.key_span("max");
        read::bad_value(codes::BAD_NUMBER, at, "`max` is less than `min`".to_owned(), "raise `max` or lower `min`", f.p);
    }
    f.finish();
    Some(Volume { of_us, min, max })
}

/// `drift:`
pub(crate) fn drift(node: &Node, problems: &mut Problems) -> Option<Drift> {
    let mut f = Fields::item(node, &sources::DRIFT, problems)?;
    let added = [("ignore", Added::Ignore), ("warn", Added::Warn), ("stop", Added::Stop)];
    let dropped = [("stop", Dropped::Stop), ("warn", Dropped::Warn), ("set_null", Dropped::SetNull)];
    let retyped = [("stop", Retyped::Stop), ("cast", Retyped::Cast)];
    let drift = Drift {
        added: f.word("added", &added).unwrap_or(Added::Ignore),
        dropped: f.word("dropped", &dropped).unwrap_or(Dropped::Stop),
        retyped: f.word("retyped", &retyped).unwrap_or(Retyped::Stop),
    };
    f.finish();
    Some(drift)
}

/// `history:`
pub(crate) fn history(node: &Node, problems: &mut Problems) -> Option<RowHistory> {
    let mut f = Fields::item(node, &sources::HISTORY, problems)?;
    let valid_from = f.need_name("valid_from", "write `history: {valid_from: column, valid_to: column}`");
    let valid_to = f.name("valid_to");
    f.finish();
    Some(RowHistory { valid_from, valid_to })
}

/// `licence:`
pub(crate) fn licence(node: &Node, problems: &mut Problems) -> Option<Licence> {
    let mut f = Fields::item(node, &sources::LICENCE, problems)?;
    let supplier = f.need_name("supplier", "write `supplier: name`, whose data it is");
    let expires = f.take("expires").and_then(|n| day(n, "`expires`", f.p));
    let not_for = f.names("not_for");
    f.finish();
    Some(Licence { supplier, expires, not_for })
}

fn day(node: &Node, what: &str, problems: &mut Problems) -> Option<Located<NaiveDate>> {
    let written = read::text(node, what, "a day such as `2027-06-30`", problems)?.text.trim();
    let day = NaiveDate::parse_from_str(written, "%Y-%m-%d").ok();
    if day.is_none() {
        let message = format!("{what} cannot be `{}`", shown(written));
        read::bad_value(codes::BAD_INSTANT, node.span, message, "write a day such as `2027-06-30`", problems);
    }
    day.map(|d| Located::new(d, node.span))
}
