//! Where things stand in the user's file: spans, located values and SQL text that remembers its place.
//! Never holds a parsed meaning; it only says *where*.

use std::ops::Range;

/// A byte range of the pipeline file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A value and where the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// What was written.
    pub value: T,
    /// Where.
    pub span: Span,
}

/// A name the user wrote.
pub type Name = Located<String>;

/// One SQL expression or SELECT from the file, with the place of each of its lines, so that an error inside a block scalar
/// still points at the user's own line and column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sql {
    /// The text as SQL sees it (block indentation removed, variables replaced).
    pub text: String,
    /// The whole scalar in the file.
    pub span: Span,
    /// For each line of `text`, the byte of the file at which that line starts, or [`Sql::NOWHERE`]. Never empty.
    pub line_starts: Vec<usize>,
}

/// The pipeline file: its name for messages, and its text.
#[derive(Debug, Clone)]
pub struct SourceText {
    /// Name as the user gave it.
    pub path: String,
    /// Whole text.
    pub text: String,
}

impl Span {
    /// A span over `start..end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// As a range, for slicing.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

impl<T> Located<T> {
    /// `value`, written at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    /// The same place, another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: f(self.value), span: self.span }
    }
}

impl Located<String> {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.value
    }
}

impl Sql {
    /// The start of a line that does not stand in the file: a preset made it.
    pub const NOWHERE: usize = usize::MAX;

    /// The place in the file of a 1-based line and column of `text` (columns in characters, as SQL parsers report them) and of
    /// `len` bytes from there; the whole scalar if they lie outside.
    pub fn span_at(&self, line: usize, column: usize, len: usize) -> Span {
        match self.line_starts.get(line.wrapping_sub(1)) {
            Some(start) if column > 0 && *start != Self::NOWHERE => {
                let text = self.text.split('\n').nth(line - 1).unwrap_or_default();
                let beyond = || text.len() + (column - 1).saturating_sub(text.chars().count());
                let before = text.char_indices().nth(column - 1).map_or_else(beyond, |(at, _)| at);
                Span::new(start + before, start + before + len.max(1))
            }
            _ => self.span,
        }
    }
}

impl SourceText {
    /// Line and column (both 1-based, columns in characters) of a byte offset.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let upto = &self.text[..self.floor(offset)];
        let line = upto.matches('\n').count() + 1;
        let column = upto.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
        (line, column)
    }

    /// `path:line:column` of a span's start.
    pub fn place(&self, span: Span) -> String {
        let (line, column) = self.line_column(span.start);
        format!("{}:{line}:{column}", self.path)
    }

    /// The span within the text and between its characters: behind an escape of a quoted text, places are only nearly known.
    pub(crate) fn held(&self, span: Span) -> Span {
        let start = self.floor(span.start);
        let mut end = span.end.clamp(start, self.text.len());
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        Span::new(start, end)
    }

    fn floor(&self, offset: usize) -> usize {
        let mut at = offset.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}
