//! Readers of single values: text, names, words, numbers, SQL. Never reads a mapping's keys; `fields` does.

use crate::advice;
use crate::codes;
use crate::diagnostic::{Code, Diagnostic};
use crate::problems::{Problems, shown};
use crate::text::{Located, Name, Span, Sql};
use crate::tree::{Entry, Node, Text, Value};
use std::ops::RangeInclusive;

/// Stands for a name that could not be read; the problem is already reported, and checks pass over it.
pub(crate) fn blank(span: Span) -> Name {
    Located::new(String::new(), span)
}

/// Stands for an expression that could not be read.
pub(crate) fn blank_sql(span: Span) -> Sql {
    Sql { text: String::new(), span, line_starts: vec![span.start] }
}

/// A name as an SQL expression.
pub(crate) fn name_as_sql(name: &Name) -> Sql {
    Sql { text: name.value.clone(), span: name.span, line_starts: vec![name.span.start] }
}

/// True for `[A-Za-z_][A-Za-z0-9_]*`.
pub(crate) fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_') && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A scalar that is not empty. `what` is the value in messages, `expected` what it must be.
pub(crate) fn text<'a>(node: &'a Node, what: &str, expected: &str, problems: &mut Problems) -> Option<&'a Text> {
    match &node.value {
        Value::Text(text) if !node.is_null() => Some(text),
        Value::Text(_) => {
            empty(node, what, expected, problems);
            None
        }
        _ => {
            wrong_kind(node, what, expected, problems);
            None
        }
    }
}

/// Reports an empty value.
pub(crate) fn empty(node: &Node, what: &str, expected: &str, problems: &mut Problems) {
    let message = format!("{what} is empty");
    problems.add(Diagnostic::error(codes::EMPTY, node.span, message).help(format!("write {expected}, or remove the key")));
}

/// Reports a value of the wrong kind, unless it is already refused.
pub(crate) fn wrong_kind(node: &Node, what: &str, expected: &str, problems: &mut Problems) {
    if !matches!(node.value, Value::Refused) {
        let message = format!("{what} must be {expected}, found {}", node.found());
        problems.add(Diagnostic::error(codes::WRONG_KIND, node.span, message).help(format!("write {expected}")));
    }
}

/// Reports a value that is not among those allowed.
pub(crate) fn bad_value(code: Code, span: Span, message: String, help: impl Into<String>, problems: &mut Problems) {
    problems.add(Diagnostic::error(code, span, message).help(help));
}

/// Any text as a name.
pub(crate) fn name(node: &Node, what: &str, problems: &mut Problems) -> Option<Name> {
    let value = text(node, what, "a name", problems)?.text.trim().to_owned();
    if value.is_empty() {
        empty(node, what, "a name", problems);
        return None;
    }
    Some(Located::new(value, node.span))
}

/// Where files are.
pub(crate) fn path(node: &Node, what: &str, problems: &mut Problems) -> Option<Name> {
    let value = text(node, what, "one path", problems)?.text.trim().to_owned();
    Some(Located::new(value, node.span))
}

/// A name that SQL can write without quotes.
pub(crate) fn identifier(node: &Node, what: &str, problems: &mut Problems) -> Option<Name> {
    let name = name(node, what, problems)?;
    identified(&name, what, problems).then_some(name)
}

/// Reports a name that is not an identifier.
pub(crate) fn identified(name: &Name, what: &str, problems: &mut Problems) -> bool {
    let good = is_identifier(&name.value);
    // Variables in keys are reported already.
    if !good && !name.value.contains("${") {
        let message = format!("`{}` cannot be a name in {what}", shown(&name.value));
        let expression = name.value.chars().any(|c| !c.is_alphanumeric() && !matches!(c, '_' | '-' | ' ' | '.'));
        let help = match expression {
            true => format!("names are letters from a to z, digits and `_`; if this is part of an expression: {}", advice::QUOTE),
            false => "names are letters from a to z, digits and `_`, and do not start with a digit".to_owned(),
        };
        problems.add(Diagnostic::error(codes::NOT_A_NAME, name.span, message).help(help));
    }
    good
}

/// One name or a list of names, none twice.
pub(crate) fn names(node: &Node, what: &str, problems: &mut Problems) -> Vec<Name> {
    let names: Vec<Name> = match &node.value {
        Value::List(items) if items.is_empty() => {
            empty(node, what, "at least one name", problems);
            Vec::new()
        }
        Value::List(items) => items.iter().filter_map(|i| name(i, &format!("a name in {what}"), problems)).collect(),
        Value::Text(_) => name(node, what, problems).into_iter().collect(),
        _ => {
            wrong_kind(node, what, "a name or a list of names", problems);
            Vec::new()
        }
    };
    once_each(&names, what, problems);
    names
}

/// Reports names that stand twice in a list.
pub(crate) fn once_each(names: &[Name], what: &str, problems: &mut Problems) {
    let mut seen: std::collections::HashMap<&str, Span> = std::collections::HashMap::new();
    for name in names {
        if let Some(first) = seen.get(name.as_str()) {
            let message = format!("`{}` stands twice in {what}", shown(&name.value));
            problems.add(
                Diagnostic::error(codes::DUPLICATE_NAME, name.span, message)
                    .also(*first, "the first one")
                    .help("remove one of them"),
            );
        } else {
            seen.insert(name.as_str(), name.span);
        }
    }
}

/// An SQL expression or SELECT; never parsed here.
pub(crate) fn sql(node: &Node, what: &str, problems: &mut Problems) -> Option<Sql> {
    match &node.value {
        Value::Text(t) if !node.is_absent() && !t.text.trim().is_empty() => Some(t.sql(node.span, 0)),
        Value::Text(_) => {
            empty(node, what, "an SQL expression", problems);
            None
        }
        Value::Refused => None,
        _ => {
            let message = format!("{what} must be an SQL expression, found {}", node.found());
            let help = format!("if this is an expression: {}", advice::QUOTE);
            problems.add(Diagnostic::error(codes::WRONG_KIND, node.span, message).help(help));
            None
        }
    }
}

/// One of a few words.
pub(crate) fn word<T: Clone>(node: &Node, what: &str, known: &[(&str, T)], problems: &mut Problems) -> Option<T> {
    let words: Vec<&str> = known.iter().map(|(k, _)| *k).collect();
    word_of(node, what, known, &words, problems)
}

/// The same; only some of the words are listed where another stands.
pub(crate) fn word_of<T: Clone>(
    node: &Node,
    what: &str,
    known: &[(&str, T)],
    listed: &[&str],
    problems: &mut Problems,
) -> Option<T> {
    let written = &text(node, what, "one word", problems)?.text;
    let found = known.iter().find(|(k, _)| k == written).map(|(_, v)| v.clone());
    if found.is_none() {
        let words: Vec<&str> = known.iter().map(|(k, _)| *k).collect();
        let help = problems.known_help_of(written, "allowed", &words, listed);
        bad_value(codes::BAD_VALUE, node.span, format!("{what} cannot be `{}`", shown(written)), help, problems);
    }
    found
}

/// A whole number in a range.
pub(crate) fn whole(node: &Node, what: &str, range: &RangeInclusive<u64>, problems: &mut Problems) -> Option<u64> {
    let written = &text(node, what, "a whole number", problems)?.text;
    let digits = written.bytes().all(|b| b.is_ascii_digit()) && !(written.len() > 1 && written.starts_with('0'));
    let value = if digits { written.parse::<u64>().ok().filter(|n| range.contains(n)) } else { None };
    if value.is_none() {
        let help = match *range.end() {
            end if end >= u64::from(u32::MAX) => {
                format!("write a whole number, at least {}, without leading zeros", range.start())
            }
            end => format!("write a whole number from {} to {end}, without leading zeros", range.start()),
        };
        bad_value(codes::BAD_NUMBER, node.span, format!("{what} cannot be `{}`", shown(written)), help, problems);
    }
    value
}

/// A finite number, at least `least`.
pub(crate) fn real(node: &Node, what: &str, least: f64, problems: &mut Problems) -> Option<f64> {
    let written = &text(node, what, "a number", problems)?.text;
    let value = written.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= least);
    if value.is_none() {
        let bound = if least == f64::MIN { String::new() } else { format!(", at least {least}") };
        bad_value(
            codes::BAD_NUMBER,
            node.span,
            format!("{what} cannot be `{}`", shown(written)),
            format!("write a number{bound}"),
            problems,
        );
    }
    value
}

/// The entries of a mapping that is not empty; the keys may be any text.
pub(crate) fn entries<'a>(node: &'a Node, what: &str, problems: &mut Problems) -> &'a [Entry] {
    match &node.value {
        Value::Map(entries) => {
            if entries.is_empty() {
                empty(node, what, "at least one entry", problems);
            }
            entries
        }
        Value::Text(_) if node.is_null() => {
            empty(node, what, "a mapping", problems);
            &[]
        }
        _ => {
            wrong_kind(node, what, "a mapping of names", problems);
            &[]
        }
    }
}

/// The entries of a mapping whose keys must be identifiers; keys that are none are reported and stay in.
pub(crate) fn named<'a>(node: &'a Node, what: &str, problems: &mut Problems) -> Vec<(&'a Name, &'a Node)> {
    let all = entries(node, what, problems);
    for entry in all {
        identified(&entry.key, what, problems);
    }
    all.iter().map(|e| (&e.key, &e.value)).collect()
}

/// The items of a list that is not empty.
pub(crate) fn items<'a>(node: &'a Node, what: &str, expected: &str, problems: &mut Problems) -> &'a [Node] {
    match &node.value {
        Value::List(items) => {
            if items.is_empty() {
                empty(node, what, expected, problems);
            }
            items
        }
        Value::Text(_) if node.is_null() => {
            empty(node, what, expected, problems);
            &[]
        }
        _ => {
            wrong_kind(node, what, expected, problems);
            &[]
        }
    }
}
