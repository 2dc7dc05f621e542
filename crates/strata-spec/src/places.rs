//! Where characters and lines of a file lie, in bytes. Never looks at what they say.

use crate::text::Span;
use crate::tree::{Style, Text};

/// Where characters and lines of the file lie, in bytes: the parser counts characters.
pub(crate) struct Places {
    /// Byte of each character; empty for ASCII files, where they are the same.
    bytes: Vec<usize>,
    /// First byte of each line.
    lines: Vec<usize>,
    len: usize,
}

impl Places {
    /// Of a file.
    pub(crate) fn of(source: &str) -> Self {
        let bytes = if source.is_ascii() { Vec::new() } else { source.char_indices().map(|(at, _)| at).collect() };
        let raw = source.as_bytes();
        let mut lines = vec![0];
        for (at, byte) in raw.iter().enumerate() {
            if *byte == b'\n' || (*byte == b'\r' && raw.get(at + 1) != Some(&b'\n')) {
                lines.push(at + 1);
            }
        }
        Self { bytes, lines, len: source.len() }
    }

    /// The byte of a character.
    pub(crate) fn byte(&self, character: usize) -> usize {
        if self.bytes.is_empty() { character.min(self.len) } else { self.bytes.get(character).copied().unwrap_or(self.len) }
    }

    /// The line of a byte, from 0.
    pub(crate) fn line_index(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// A line without its end.
    pub(crate) fn line_span(&self, source: &str, index: usize) -> Span {
        let start = self.lines.get(index).copied().unwrap_or(self.len);
        let next = self.lines.get(index + 1).copied().unwrap_or(self.len);
        Span::new(start, start + source[start..next].trim_end_matches(['\n', '\r']).len())
    }

    /// The text of the line of a byte.
    pub(crate) fn line_of<'s>(&self, source: &'s str, at: usize) -> &'s str {
        &source[self.line_span(source, self.line_index(at)).range()]
    }

    /// For each line of `text`, where it starts in the file. Exact for one line and for `|`; for folded text, each line of
    /// `text` starts at its first character, and places behind a fold are as if the fold were one space.
    pub(crate) fn line_starts(&self, source: &str, content: Span, text: &str, style: Style) -> Vec<usize> {
        if !text.contains('\n') {
            return vec![content.start];
        }
        if style == Style::Literal {
            let first = self.line_index(content.start);
            let indent = content.start - self.lines.get(first).copied().unwrap_or(content.start);
            let blank = text.len() - text.trim_start_matches('\n').len();
            return (0..text.split('\n').count())
                .map(|line| self.line_span(source, (first + line).saturating_sub(blank)))
                .map(|line| (line.start + indent).min(line.end))
                .collect();
        }
        let solid: Vec<usize> = source[content.range()]
            .char_indices()
            .filter(|(_, c)| !c.is_whitespace())
            .map(|(at, _)| content.start + at)
            .collect();
        let mut before = 0;
        text.split('\n')
            .map(|line| {
                let start = solid.get(before).copied().unwrap_or(content.end);
                before += line.chars().filter(|c| !c.is_whitespace()).count();
                start
            })
            .collect()
    }

    /// The innermost `{` or `[` that is open at a byte, in its section or the one above: quotes and comments do not count.
    pub(crate) fn open_bracket(&self, source: &str, at: usize) -> Option<usize> {
        // What begins a section ends the one before it, where the bracket may be.
        let before = source.get(..at)?.trim_end().len().saturating_sub(1);
        let lines = (0..=self.line_index(before)).rev().map(|l| self.line_span(source, l).start);
        let mut sections = lines.filter(|start| source[*start..].starts_with(|c: char| c.is_ascii_alphanumeric()));
        let own = sections.next().unwrap_or(0);
        open_within(source, own, at).or_else(|| open_within(source, sections.next()?, own))
    }

    /// How many lines there are.
    pub(crate) fn count(&self) -> usize {
        self.lines.len()
    }

    /// The comment behind a value on its last line, if there is one.
    pub(crate) fn comment_behind(&self, source: &str, span: Span) -> Option<Span> {
        let line = self.line_span(source, self.line_index(span.end.max(span.start + 1) - 1));
        let rest = source.get(span.end..line.end)?;
        let at = span.end + (rest.len() - rest.trim_start().len());
        (at > span.end && source[at..].starts_with('#')).then(|| Span::new(at, line.end))
    }

    /// A text of several lines with its line breaks, where YAML folds them: `None` if it is not folded, or has escapes.
    pub(crate) fn unfolded(&self, source: &str, content: Span, style: Style) -> Option<Text> {
        let raw = source.get(content.range())?;
        let escaped = style == Style::Quoted && (raw.contains('\\') || raw.contains("''"));
        if style == Style::Literal || escaped || !raw.contains('\n') {
            return None;
        }
        let (first, last) = (self.line_index(content.start), self.line_index(content.end.max(content.start + 1) - 1));
        let (mut lines, mut line_starts) = (Vec::new(), Vec::new());
        for index in first..=last {
            let line = self.line_span(source, index);
            let within = Span::new(line.start.max(content.start), line.end.min(content.end).max(line.start.max(content.start)));
            let text = source.get(within.range())?;
            line_starts.push(within.start + (text.len() - text.trim_start().len()));
            lines.push(text.trim());
        }
        Some(Text { text: lines.join("\n"), style: Style::Literal, line_starts, unfolded: None })
    }
}

fn open_within(source: &str, start: usize, end: usize) -> Option<usize> {
    let (mut open, mut quote, mut before) = (Vec::new(), None, ' ');
    let mut comment = false;
    for (index, c) in source.get(start..end)?.char_indices() {
        match (quote, c) {
            (_, '\n') => comment = false,
            _ if comment => {}
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '#') if before.is_whitespace() => comment = true,
            (None, '\'' | '"') if !before.is_alphanumeric() => quote = Some(c),
            (None, '{' | '[') => open.push(start + index),
            (None, '}' | ']') => {
                open.pop();
            }
            _ => {}
        }
        before = c;
    }
    open.pop()
}
