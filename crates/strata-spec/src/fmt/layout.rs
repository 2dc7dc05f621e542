//! Where each line of a file belongs: its new indentation, and which lines are the inside of a value. Never writes.

use crate::places::Places;
use crate::text::Span;
use crate::tree::{Node, Style, Value};
use std::collections::HashMap;

/// Blanks a level.
pub(super) const STEP: usize = 2;

/// What is known of the lines.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Every scalar, keys too, in order.
    pub(super) scalars: Vec<Span>,
    /// New indentation of lines that start a key, an item or a value.
    pub(super) indents: HashMap<usize, usize>,
    /// Lines inside block scalars: old and new indentation of their content.
    pub(super) content: HashMap<usize, (usize, usize)>,
    /// Lines inside other scalars, and their new indentation.
    pub(super) folded: HashMap<usize, usize>,
}

struct Maker<'a> {
    text: &'a str,
    places: &'a Places,
    layout: Layout,
}

/// The layout of a tree that was read from `text`.
pub(super) fn layout(text: &str, places: &Places, root: &Node) -> Layout {
    let mut maker = Maker { text, places, layout: Layout::default() };
    maker.node(root, 0, 0);
    maker.layout.scalars.sort_unstable();
    maker.layout
}

impl Maker<'_> {
    /// `indent` is that of the node if it starts a line; `parent` that of the key or dash it belongs to.
    fn node(&mut self, node: &Node, indent: usize, parent: usize) {
        match &node.value {
            Value::Text(text) if text.style == Style::Plain && text.text.is_empty() => {}
            Value::Text(text) => self.scalar(node.span, text.style, indent, parent),
            Value::List(items) if !self.is_flow(node) => {
                for item in items {
                    self.item(item, indent);
                }
            }
            Value::List(items) => {
                self.starts(node.span.start, indent);
                items.iter().for_each(|item| self.flow(item));
            }
            Value::Map(entries) if !self.is_flow(node) => {
                for entry in entries {
                    self.layout.scalars.push(entry.key.span);
                    self.starts(entry.key.span.start, indent);
                    if entry.value.span != entry.key.span {
                        self.node(&entry.value, indent + STEP, indent);
                    }
                }
            }
            Value::Map(_) => {
                self.starts(node.span.start, indent);
                self.flow(node);
            }
            Value::Refused => {}
        }
    }

    /// An item of a block list, whose dash stands before it.
    fn item(&mut self, item: &Node, indent: usize) {
        let before = &self.text[..item.span.start];
        let header = before.trim_end_matches([' ', '\n', '|', '>', '+']).trim_end_matches(|c: char| c.is_ascii_digit());
        let dash = match header.ends_with('-') {
            true => header.len() - 1,
            false => before.rfind('-').unwrap_or(item.span.start),
        };
        self.starts(dash, indent);
        self.node(item, indent + STEP, indent);
    }

    fn flow(&mut self, node: &Node) {
        match &node.value {
            Value::Text(text) if text.text.is_empty() && text.style == Style::Plain => {}
            Value::Text(_) => self.layout.scalars.push(node.span),
            Value::List(items) => items.iter().for_each(|item| self.flow(item)),
            Value::Map(entries) => {
                for entry in entries {
                    self.layout.scalars.push(entry.key.span);
                    if entry.value.span != entry.key.span {
                        self.flow(&entry.value);
                    }
                }
            }
            Value::Refused => {}
        }
    }

    fn scalar(&mut self, span: Span, style: Style, indent: usize, parent: usize) {
        let (first, last) = (self.places.line_index(span.start), self.places.line_index(span.end.max(span.start + 1) - 1));
        if matches!(style, Style::Literal | Style::Folded) {
            let old = span.start - self.places.line_span(self.text, first).start;
            let new = self.declared_indent(span.start).map_or(parent + STEP, |declared| parent + declared);
            // Blank lines above the first are part of the text.
            let above =
                (0..first).rev().take_while(|l| self.text[self.places.line_span(self.text, *l).range()].trim().is_empty());
            for line in above.collect::<Vec<_>>().into_iter().chain(first..=last) {
                self.layout.content.insert(line, (old, new));
            }
            return;
        }
        self.layout.scalars.push(span);
        self.starts(span.start, indent);
        for line in first + 1..=last {
            self.layout.folded.insert(line, parent + STEP);
        }
    }

    /// The `2` of `|2`.
    fn declared_indent(&self, content: usize) -> Option<usize> {
        let header = self.text[..content].trim_end().rsplit('\n').next()?;
        let mark = header.rfind(['|', '>'])?;
        header[mark..].chars().find_map(|c| c.to_digit(10)).and_then(|d| usize::try_from(d).ok())
    }

    /// The line of that byte gets the indentation, if nothing stands before the byte.
    fn starts(&mut self, at: usize, indent: usize) {
        let line = self.places.line_index(at);
        let start = self.places.line_span(self.text, line).start;
        if self.text[start..at].trim().is_empty() {
            self.layout.indents.insert(line, indent);
        }
    }

    fn is_flow(&self, node: &Node) -> bool {
        self.text[node.span.start..].starts_with(['[', '{'])
    }
}
