//! The YAML file as a tree in which everything knows its place. Never says what a value means: text stays raw text.

use crate::text::{Name, Span, Sql};

/// One value of the file.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Where; a block mapping starts at its first key, a quoted text at its quote.
    pub(crate) span: Span,
    /// What.
    pub(crate) value: Value,
}

/// The kinds of value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A scalar.
    Text(Text),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in order, without duplicate keys.
    Map(Vec<Entry>),
    /// Something already reported; readers pass over it in silence.
    Refused,
}

/// `key: value`
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Key.
    pub(crate) key: Name,
    /// Value.
    pub(crate) value: Node,
}

/// A scalar.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    /// Raw text: quotes and block indentation removed, variables replaced once `vars` has run.
    pub(crate) text: String,
    /// How it was written.
    pub(crate) style: Style,
    /// For each line of `text`, the byte of the file at which it starts. Never empty.
    pub(crate) line_starts: Vec<usize>,
    /// The same text with the line breaks that YAML folds into spaces. SQL reads this: to SQL both are white space, its places
    /// are exact, and a `--` comment ends with its line.
    pub(crate) unfolded: Option<Box<Text>>,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Bare.
    Plain,
    /// In `'` or `"`.
    Quoted,
    /// After `|`.
    Literal,
    /// After `>`.
    Folded,
}

impl Node {
    /// True if nothing was written, or `null` or `~`.
    pub(crate) fn is_null(&self) -> bool {
        match &self.value {
            Value::Text(t) => t.style == Style::Plain && matches!(t.text.as_str(), "" | "~" | "null" | "Null" | "NULL"),
            _ => false,
        }
    }

    /// True if nothing at all was written.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(&self.value, Value::Text(t) if t.style == Style::Plain && t.text.is_empty())
    }

    /// What it is, for messages.
    pub(crate) fn found(&self) -> &'static str {
        match &self.value {
            Value::Text(_) if self.is_null() => "nothing",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Refused => "something refused",
        }
    }

    /// Its entries, if it is a mapping.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Its text, if it is a scalar.
    pub(crate) fn text(&self) -> Option<&Text> {
        match &self.value {
            Value::Text(t) => Some(t),
            _ => None,
        }
    }
}

impl Text {
    /// A key as a bare value.
    pub(crate) fn plain(key: &Name) -> Self {
        Self { text: key.value.clone(), style: Style::Plain, line_starts: vec![key.span.start], unfolded: None }
    }

    /// As SQL, from byte `from` of the text on; `span` is the scalar's.
    pub(crate) fn sql(&self, span: Span, from: usize) -> Sql {
        if let Some(unfolded) = self.unfolded.as_ref().filter(|_| from == 0) {
            return unfolded.sql(span, 0);
        }
        let skipped = &self.text[..from];
        let line = skipped.matches('\n').count();
        let column = skipped.len() - skipped.rfind('\n').map_or(0, |at| at + 1);
        let text = self.text[from..].trim_end().to_owned();
        let lines = text.split('\n').count();
        let mut line_starts: Vec<usize> = self.line_starts.iter().skip(line).take(lines).copied().collect();
        match line_starts.first_mut() {
            Some(first) => *first += column,
            None => line_starts.push(span.start),
        }
        Sql { text, span, line_starts }
    }
}
