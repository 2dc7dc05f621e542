//! `rules:` of attributes, segments and panels. Never sorts: the order in the file is the meaning.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::pipeline::Rule;
use crate::problems::Problems;
use crate::read;
use crate::tree::{Node, Value};

/// Rules in order; `else` once at most, and last.
pub(crate) fn rules(node: &Node, problems: &mut Problems) -> Vec<Rule> {
    if let Value::List(_) = node.value {
        let help = "write `rules: {gold: spend > 100, rest: else}`, or a line each without `-`: the first that holds wins";
        let message = "`rules` must be a mapping of labels and conditions, found a list";
        problems.add(Diagnostic::error(codes::WRONG_KIND, node.span, message).help(help));
        return Vec::new();
    }
    let entries = read::entries(node, "`rules`", problems);
    let mut rules = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let what = format!("rule `{}`", crate::problems::shown(&entry.key.value));
        let is_else = entry.value.text().is_some_and(|t| t.text.trim() == "else");
        if is_else && index + 1 < entries.len() {
            let message = format!("{what} is `else`, but rules follow it");
            problems.add(
                Diagnostic::error(codes::ELSE_PLACE, entry.value.span, message)
                    .help("move it to the end; only one rule can be `else`"),
            );
        }
        let when = if is_else {
            None
        } else {
            Some(read::sql(&entry.value, &what, problems).unwrap_or_else(|| read::blank_sql(entry.value.span)))
        };
        rules.push(Rule { label: entry.key.clone(), when });
    }
    rules
}
