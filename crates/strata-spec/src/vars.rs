//! `vars:`, `-p k=v` and `${…}`. Never reads the environment: a pipeline knows only what it declares.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::entry_of;
use crate::language::root::PIPELINE;
use crate::problems::{GROWN_BYTES_MAX, Problems, Reach, shown};
use crate::read;
use crate::similar::nearest;
use crate::text::Span;
use crate::tree::{Entry, Node, Text, Value};

/// The one value of `as_of:` that the command line fills in.
pub(crate) const RUN_AS_OF: &str = "${run.as_of}";

/// Reads `vars:`, lets `given` override it, and replaces `${vars.…}` in every text of the file. Returns the values.
pub(crate) fn apply(root: &mut Node, given: &[(String, String)], problems: &mut Problems) -> Vec<(String, String)> {
    let vars = declared(root, given, problems);
    let section = entry_of(root, &PIPELINE, "vars");
    if section.is_some_and(|s| !matches!(s.value.value, Value::Map(_))) {
        // Reported already; what they are cannot be known.
        return vars;
    }
    let own = section.map_or(Span::default(), |s| s.key.span);
    if let Value::Map(entries) = &mut root.value {
        for entry in entries {
            let run = entry.value.text().is_some_and(|t| t.text.trim() == RUN_AS_OF);
            let is_as_of = run && (entry.key.value == "as_of" || nearest(&entry.key.value, ["as_of"]).is_some());
            if entry.key.span != own && !is_as_of {
                replace_below(entry, &vars, problems);
            }
        }
    }
    vars
}

fn declared(root: &Node, given: &[(String, String)], problems: &mut Problems) -> Vec<(String, String)> {
    let section = entry_of(root, &PIPELINE, "vars");
    let mut vars: Vec<(String, String)> = Vec::new();
    for (name, value) in section.map(|s| read::named(&s.value, "`vars`", problems)).unwrap_or_default() {
        let default =
            read::text(value, "a variable", "text", problems).and_then(|t| replaced(t, &vars, problems)).map(|t| t.text);
        let over = given.iter().rev().find(|(k, _)| *k == name.value).map(|(_, v)| v.clone());
        vars.push((name.value.clone(), over.or(default).unwrap_or_default()));
    }
    let known: Vec<&str> = vars.iter().map(|(k, _)| k.as_str()).collect();
    let unreadable = match section {
        Some(section) => !matches!(section.value.value, Value::Map(_)),
        None => root.entries().iter().any(|e| e.key.value.starts_with("param")),
    };
    if unreadable {
        return vars;
    }
    for (name, _) in given.iter().filter(|(k, _)| !known.contains(&k.as_str())) {
        let span = section.map_or(Span::default(), |s| s.key.span);
        let message = format!("`-p {}=…` sets a variable that the pipeline does not declare", shown(name));
        let help = problems.known_help(name, "variables under `vars`", &known);
        problems.add(Diagnostic::error(codes::UNDECLARED_PARAMETER, span, message).help(help));
    }
    vars
}

fn replace_below(entry: &mut Entry, vars: &[(String, String)], problems: &mut Problems) {
    if entry.key.value.contains("${") {
        let message = format!("`{}`: variables are not replaced in keys", shown(&entry.key.value));
        problems.add(Diagnostic::error(codes::UNKNOWN_VARIABLE, entry.key.span, message).help("write the name out"));
    }
    replace_in(&mut entry.value, vars, problems);
}

fn replace_in(node: &mut Node, vars: &[(String, String)], problems: &mut Problems) {
    match &mut node.value {
        Value::Text(text) if text.text.contains("${") => {
            node.value = replaced(text, vars, problems).map_or(Value::Refused, Value::Text)
        }
        Value::List(items) => items.iter_mut().for_each(|i| replace_in(i, vars, problems)),
        Value::Map(entries) => entries.iter_mut().for_each(|e| replace_below(e, vars, problems)),
        Value::Text(_) | Value::Refused => {}
    }
}

/// The text with its variables replaced; each line keeps its place, and a value of several lines stays at the line it stands in.
/// `None`, reported, if one is not known.
fn replaced(text: &Text, vars: &[(String, String)], problems: &mut Problems) -> Option<Text> {
    if let Some(unfolded) = &text.unfolded {
        // Places are exact there, so that is where problems are said.
        let unfolded = replaced(unfolded, vars, problems).map(Box::new);
        let folded = Text { unfolded: None, ..text.clone() };
        let folded = replaced(&folded, vars, &mut Problems::new(Reach::Version));
        return folded.filter(|_| unfolded.is_some()).map(|t| Text { unfolded, ..t });
    }
    let mut known = true;
    let mut out = String::with_capacity(text.text.len());
    let mut line_starts = Vec::with_capacity(text.line_starts.len());
    for (index, line) in text.text.split('\n').enumerate() {
        let start = text.line_starts.get(index).or(text.line_starts.last()).copied().unwrap_or_default();
        let (line, line_known) = replaced_line(line, start, vars, problems);
        known &= line_known;
        if index > 0 {
            out.push('\n');
        }
        line_starts.extend(std::iter::repeat_n(start, line.matches('\n').count() + 1));
        out.push_str(&line);
    }
    known.then_some(Text { text: out, style: text.style, line_starts, unfolded: None })
}

/// One line with its variables replaced, and whether all were known.
fn replaced_line(line: &str, start: usize, vars: &[(String, String)], problems: &mut Problems) -> (String, bool) {
    let mut known = true;
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("${") {
        let place = start + (line.len() - rest.len()) + at;
        out.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            let message = format!("`{}` has no closing `}}`", shown(&rest[at..]));
            problems.add(
                Diagnostic::error(codes::UNKNOWN_VARIABLE, Span::new(place, place + 2), message).help("write `${vars.name}`"),
            );
            return (out, false);
        };
        let name = rest[at + 2..at + end].trim();
        match name.strip_prefix("vars.").and_then(|n| vars.iter().find(|(k, _)| k == n)) {
            Some((_, value)) if !problems.grow(value.len()) => {
                let message = format!("variables make this file longer by more than {GROWN_BYTES_MAX} bytes");
                let help = "variables are for paths and short values; write long texts where they are used";
                problems.add(Diagnostic::error(codes::TOO_LARGE, Span::new(place, place + end + 1), message).help(help));
                return (String::new(), false);
            }
            Some((_, value)) => out.push_str(value),
            None => {
                known = false;
                problems.add(unknown(name, Span::new(place, place + end + 1), vars, problems));
            }
        }
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    (out, known)
}

fn unknown(name: &str, span: Span, vars: &[(String, String)], problems: &Problems) -> Diagnostic {
    let message = format!("`${{{}}}` is not known", shown(name));
    if name == "run.as_of" {
        let help = "`${run.as_of}` stands only in `as_of:`; in SQL, write `as_of`";
        return Diagnostic::error(codes::UNKNOWN_VARIABLE, span, message).help(help);
    }
    let known: Vec<&str> = vars.iter().map(|(k, _)| k.as_str()).collect();
    let bare = name.strip_prefix("vars.").unwrap_or(name);
    let form = if name.starts_with("vars.") { "" } else { "write `${vars.name}`; " };
    let help = format!("{form}{}", problems.known_help(bare, "variables under `vars`", &known));
    Diagnostic::error(codes::UNKNOWN_VARIABLE, span, message).help(help)
}
