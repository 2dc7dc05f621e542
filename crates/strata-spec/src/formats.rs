//! Diagnostics as text for machines: JSON, SARIF 2.1.0 and the annotations of GitHub. Pure functions; never prints.

mod github;
mod json;
mod sarif;

pub use github::github;
pub use json::json;
pub use sarif::sarif;

use crate::text::{SourceText, Span};

/// Lines and columns of a span, from 1; columns in characters, the end one past the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) end_line: usize,
    pub(crate) end_column: usize,
}

/// Finds lines and columns without reading the file anew for each.
pub(crate) struct Regions<'a> {
    text: &'a str,
    lines: Vec<usize>,
}

impl<'a> Regions<'a> {
    pub(crate) fn of(source: &'a SourceText) -> Self {
        let starts = source.text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text: &source.text, lines: std::iter::once(0).chain(starts).collect() }
    }

    pub(crate) fn region(&self, span: Span) -> Region {
        let ((line, column), (end_line, end_column)) = (self.place(span.start), self.place(span.end.max(span.start)));
        Region { line, column, end_line, end_column }
    }

    fn place(&self, at: usize) -> (usize, usize) {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        (line, self.text[start..at].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_ends_are_behind_the_last() {
        let source = SourceText { path: "p".to_owned(), text: "ab\nöü東x\n".to_owned() };
        let regions = Regions::of(&source);
        let at = |start, end| regions.region(Span::new(start, end));
        assert_eq!(at(0, 2), Region { line: 1, column: 1, end_line: 1, end_column: 3 });
        assert_eq!(at(5, 10), Region { line: 2, column: 2, end_line: 2, end_column: 4 });
        assert_eq!(at(6, 900), Region { line: 2, column: 2, end_line: 3, end_column: 1 });
        for byte in 0..source.text.len() {
            assert_eq!(regions.place(byte), source.line_column(byte), "{byte}");
        }
    }
}
