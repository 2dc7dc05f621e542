//! `columns:` and `classes:` of a source: the declared contract. Never guesses a type.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::sources;
use crate::pipeline::contract::{CheckRule, OnFail};
use crate::pipeline::{Check, Class, ColumnContract, ColumnKind};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::checks;
use crate::text::{Located, Name, Span};
use crate::tree::{Node, Value};
use std::collections::HashMap;

/// Words of `classes:`.
pub(crate) const CLASSES: &[(&str, Class)] =
    &[("direct_id", Class::DirectId), ("quasi_id", Class::QuasiId), ("sensitive", Class::Sensitive), ("none", Class::None)];

const TYPES: &[(&str, ColumnKind)] = &[
    ("string", ColumnKind::String),
    ("int", ColumnKind::Int),
    ("bigint", ColumnKind::Bigint),
    ("double", ColumnKind::Double),
    ("boolean", ColumnKind::Boolean),
    ("date", ColumnKind::Date),
    ("timestamp", ColumnKind::Timestamp),
];

/// What `columns:` says.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    /// The columns.
    pub(crate) columns: Vec<ColumnContract>,
    /// Classes written inside.
    pub(crate) classes: Vec<(Name, Class)>,
    /// Rules for values written inside.
    pub(crate) checks: Vec<Check>,
}

/// The contract of a source.
pub(crate) fn columns(node: &Node, problems: &mut Problems) -> Columns {
    let mut all = Columns::default();
    for (name, node) in read::named(node, "`columns`", problems) {
        let column = column(name, node, &mut all, problems);
        all.columns.push(column);
    }
    all
}

/// `classes:` of a source, added to those written inside `columns:`.
pub(crate) fn classes(node: &Node, classes: &mut Vec<(Name, Class)>, problems: &mut Problems) {
    let inside: HashMap<String, Span> = classes.iter().map(|(n, _)| (n.value.clone(), n.span)).collect();
    for (name, node) in read::named(node, "`classes`", problems) {
        let class = read::word(node, &format!("the class of `{}`", name.value), CLASSES, problems);
        if let Some(first) = inside.get(&name.value) {
            let message = format!("`{}` has two classes", name.value);
            let twice = Diagnostic::error(codes::DUPLICATE_NAME, name.span, message).also(*first, "the first one");
            problems.add(twice.help("write the class in `columns` or in `classes`, not in both"));
        } else if let Some(class) = class {
            classes.push((name.clone(), class));
        }
    }
}

fn column(name: &Name, node: &Node, all: &mut Columns, problems: &mut Problems) -> ColumnContract {
    let mut contract = ColumnContract {
        name: name.clone(),
        kind: Located::new(ColumnKind::String, node.span),
        nullable: true,
        allowed: Vec::new(),
        on_fail: None,
    };
    if !matches!(node.value, Value::Map(_)) {
        let written = read::text(node, &format!("the type of `{}`", name.value), "a type such as `string!`", problems);
        if let Some(t) = written {
            declare(&mut contract, &t.text, node.span, problems);
        }
        return contract;
    }
    let Some(mut f) = Fields::open(node, name, &sources::COLUMN, problems) else { return contract };
    if let Some(kind) = f.need("type", "write `type: string`, for example")
        && let Some(t) = read::text(kind, "`type`", "a type such as `string!`", f.p)
    {
        declare(&mut contract, &t.text, kind.span, f.p);
    }
    if let Some(nullable) = f.flag("nullable") {
        contract.nullable = nullable;
    }
    if let Some(node) = f.take("enum") {
        contract.allowed = read::names(node, "`enum`", f.p).into_iter().map(|n| n.value).collect();
    }
    if let Some(class) = f.word("class", CLASSES) {
        all.classes.push((name.clone(), class));
    }
    contract.on_fail = f.word("on_fail", checks::ON_FAIL).map(|w| Located::new(w, f.value_span("on_fail")));
    let on_fail = contract.on_fail.clone().unwrap_or(Located::new(OnFail::Stop, name.span));
    let (min, max) = (f.sql("min"), f.sql("max"));
    let range = (min.is_some() || max.is_some()).then(|| CheckRule::Range { column: name.clone(), min, max });
    let format = f.word("format", checks::FORMATS).map(|format| CheckRule::Format { column: name.clone(), format });
    for rule in range.into_iter().chain(format) {
        let empties = if on_fail.value == OnFail::SetNull { vec![name.clone()] } else { Vec::new() };
        all.checks.push(Check { name: name.clone(), rule, on_fail: on_fail.clone(), empties });
    }
    if !contract.nullable && on_fail.value == OnFail::SetNull {
        let message = format!("`{}` is never null, and `set_null` would make it so", shown(&name.value));
        f.p.add(
            Diagnostic::error(codes::WRONG_ACTION, on_fail.span, message)
                .help("remove the `!` of its type, or write `on_fail: quarantine`"),
        );
    }
    f.finish();
    contract
}

/// Reads `decimal(12,2)!` and the like into the contract.
fn declare(contract: &mut ColumnContract, written: &str, span: Span, problems: &mut Problems) {
    let written = lower_case_word(written.trim());
    let bare = written.strip_suffix('!').unwrap_or(&written).trim();
    contract.nullable = !written.ends_with('!');
    let (word, arguments) = match bare.split_once('(') {
        Some((word, rest)) => (word.trim(), rest.strip_suffix(')').map(|r| r.split(',').map(str::trim).collect::<Vec<_>>())),
        None => (bare, None),
    };
    let kind = match (word, arguments) {
        ("decimal", Some(a)) => decimal(&a),
        ("enum", Some(a)) if a.iter().all(|v| !v.is_empty()) => {
            contract.allowed = a.into_iter().map(str::to_owned).collect();
            Some(ColumnKind::String)
        }
        (word, None) if !bare.contains('(') => TYPES.iter().find(|(t, _)| *t == word).map(|(_, k)| *k),
        _ => None,
    };
    match kind {
        Some(kind) => contract.kind = Located::new(kind, span),
        None => {
            let decimals = "write `decimal(p,s)` with 1 to 38 digits, of which `s` stand behind the point: `decimal(12,2)`";
            if word == "decimal" {
                let message = format!("`{}` is not a column type", shown(&written));
                read::bad_value(codes::BAD_TYPE, span, message, decimals, problems);
                return;
            }
            let known = ["string", "int", "bigint", "double", "boolean", "date", "timestamp", "decimal(p,s)", "enum(a,b)"];
            let help = problems.known_help(word, "types", &known);
            read::bad_value(codes::BAD_TYPE, span, format!("`{}` is not a column type", shown(&written)), help, problems);
        }
    }
}

fn decimal(arguments: &[&str]) -> Option<ColumnKind> {
    let [precision, scale] = arguments else { return None };
    let precision: u8 = precision.parse().ok().filter(|p| (1..=38).contains(p))?;
    let scale: i8 = scale.parse().ok()?;
    let fits = scale >= 0 && u8::try_from(scale).is_ok_and(|s| s <= precision);
    fits.then_some(ColumnKind::Decimal(precision, scale))
}

/// Lower case before a bracket; the values of an enum keep theirs.
fn lower_case_word(written: &str) -> String {
    match written.split_once('(') {
        Some((word, rest)) => format!("{}({rest}", word.to_ascii_lowercase()),
        None => written.to_ascii_lowercase(),
    }
}
