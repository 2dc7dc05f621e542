//! Formats a pipeline file: indentation by twos, one space where one belongs, no blanks at ends. Comments stay where they are
//! said, rules and keys in their order, and what the author lined up stays lined up. Never changes what the file means.

mod columns;
mod layout;
mod lines;

use crate::diagnostic::Diagnostic;
use crate::places::Places;
use crate::problems::{Problems, Reach};
use crate::text::SourceText;
use crate::tree::{Node, Value};
use crate::yaml;

/// The formatted text; formatting it again changes nothing. Errors: what makes the text no YAML that a pipeline could be.
pub fn fmt(source: &SourceText) -> Result<String, Vec<Diagnostic>> {
    let text = source.text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let Some(before) = readable(&text)? else { return Ok(String::new()) };
    let places = Places::of(&text);
    let layout = layout::layout(&text, &places, &before);
    let mut lines = lines::lines(&text, &places, &layout);
    columns::align(&mut lines);
    let out = written(&lines);
    // INVARIANT: a formatter that is wrong leaves the file as it is.
    match readable(&out) {
        Ok(Some(after)) if same(&before, &after) => Ok(out),
        _ => Ok(source.text.clone()),
    }
}

fn readable(text: &str) -> Result<Option<Node>, Vec<Diagnostic>> {
    let mut problems = Problems::new(Reach::Language);
    let tree = yaml::tree(text, &[], &mut problems);
    match tree {
        Ok(node) if !problems.has_errors() => Ok(node),
        Ok(_) => Err(problems.into_sorted()),
        Err(broken) => {
            problems.add(broken.diagnostic.clone());
            Err(problems.into_sorted())
        }
    }
}

/// True if two trees say the same, wherever they say it.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Text(a), Value::Text(b)) => {
            let lines = |t: &crate::tree::Text| t.unfolded.as_ref().map(|u| u.text.clone());
            a.style == b.style && a.text == b.text && lines(a) == lines(b)
        }
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.key.value == b.key.value && same(&a.value, &b.value))
        }
        _ => false,
    }
}

/// The lines as text: no two blank lines together but where they are part of a value, none at either end.
fn written(lines: &[lines::Line]) -> String {
    let mut out = String::new();
    let mut blanks = 0;
    for line in lines {
        let text = line.text();
        if text.is_empty() && !line.is_content {
            blanks += 1;
            continue;
        }
        if blanks > 0 && !out.is_empty() {
            out.push('\n');
        }
        blanks = 0;
        out.push_str(&text);
        out.push('\n');
    }
    out
}
