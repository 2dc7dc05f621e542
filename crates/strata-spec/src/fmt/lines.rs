//! The lines of a file, taken apart and put together with one space where one belongs. Never breaks or joins lines.

use super::layout::{Layout, STEP};
use crate::places::Places;
use crate::text::Span;

/// A line as it will be written.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Blanks before it.
    pub(super) indent: usize,
    /// What stands there, without the comment.
    pub(super) code: String,
    /// Characters of `key:`, if the line is a key and its value.
    pub(super) key: Option<usize>,
    /// Blanks between them; more than one where values are lined up.
    pub(super) gap: usize,
    /// Where the value began, in characters from the key.
    pub(super) value_was_at: usize,
    /// The comment behind the code, and the column that it stood in.
    pub(super) comment: Option<(String, usize)>,
    /// Blanks before the comment.
    pub(super) comment_gap: usize,
    /// True if the line is a part of a value, even if it is empty.
    pub(super) is_content: bool,
    /// True if only a comment stands on it.
    pub(super) is_comment: bool,
    old_indent: usize,
    dashes: usize,
    has_structure: bool,
    in_brackets: bool,
}

impl Line {
    /// The line as text.
    pub(super) fn text(&self) -> String {
        let mut out = " ".repeat(if self.code.is_empty() && self.comment.is_none() { 0 } else { self.indent });
        match self.key {
            Some(key) => {
                let at = self.code.char_indices().nth(key).map_or(self.code.len(), |(at, _)| at);
                out.push_str(&self.code[..at]);
                out.push_str(&" ".repeat(self.gap));
                out.push_str(self.code[at..].trim_start());
            }
            None => out.push_str(&self.code),
        }
        if let Some((comment, _)) = &self.comment {
            out.push_str(&" ".repeat(self.comment_gap));
            out.push_str(comment);
        }
        out
    }

    /// Characters before the comment.
    pub(super) fn width(&self) -> usize {
        let more = if self.key.is_some() { self.gap.saturating_sub(1) } else { 0 };
        self.indent + self.code.chars().count() + more
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scalar,
    Open,
    Close,
    Comma,
    Colon,
    Dash,
}

struct Piece<'a> {
    kind: Kind,
    text: &'a str,
    at: usize,
}

struct Reader<'a> {
    text: &'a str,
    places: &'a Places,
    layout: &'a Layout,
    depth: usize,
    /// Indentation of the line with the outermost open bracket, dashes included.
    base: usize,
}

/// Every line of the file.
pub(super) fn lines(text: &str, places: &Places, layout: &Layout) -> Vec<Line> {
    let mut reader = Reader { text, places, layout, depth: 0, base: 0 };
    let mut lines: Vec<Line> = (0..places.count()).map(|index| reader.line(index)).collect();
    comments(&mut lines);
    lines
}

impl<'a> Reader<'a> {
    fn line(&mut self, index: usize) -> Line {
        let span = self.places.line_span(self.text, index);
        let raw = &self.text[span.range()];
        if let Some((old, new)) = self.layout.content.get(&index) {
            let blanks = raw.len() - raw.trim_start_matches(' ').len();
            // A line of blanks alone may be shorter than its indentation; what is longer is a part of the text.
            let code = raw.get(blanks.min(*old)..).unwrap_or_default().to_owned();
            let indent = if code.is_empty() { 0 } else { *new };
            return Line { indent, code, is_content: true, ..Line::default() };
        }
        if raw.trim_end() == "---" || (index == 0 && raw.starts_with('%')) {
            return Line { code: raw.trim_end().to_owned(), has_structure: true, ..Line::default() };
        }
        let inside = self.layout.folded.get(&index).copied();
        let open = self.depth;
        let (pieces, comment) = self.pieces(span);
        let closers = pieces.iter().take_while(|p| p.kind == Kind::Close).count();
        let old_indent = raw.chars().take_while(|c| c.is_whitespace()).count();
        let indent = match (inside, open) {
            (Some(indent), _) => indent,
            (None, 0) => self.layout.indents.get(&index).copied().unwrap_or(old_indent),
            (None, _) => self.base + STEP * open.saturating_sub(closers).max(1),
        };
        let dashes = pieces.iter().take_while(|p| p.kind == Kind::Dash).count();
        if open == 0 && self.depth > 0 {
            self.base = indent + STEP * dashes;
        }
        let comment = comment.map(|c| (c.to_owned(), raw[..raw.len() - c.len()].chars().count()));
        let mut line = Line {
            indent,
            code: joined(&pieces),
            is_content: inside.is_some(),
            is_comment: pieces.is_empty() && comment.is_some(),
            in_brackets: open > 0,
            comment: comment.map(|(c, at)| (c.trim_end().to_owned(), at)),
            old_indent,
            dashes,
            has_structure: open == 0 && inside.is_none() && !pieces.is_empty(),
            gap: 1,
            ..Line::default()
        };
        if let [key, colon, value, ..] = pieces.as_slice()
            && (key.kind, colon.kind) == (Kind::Scalar, Kind::Colon)
            && line.has_structure
        {
            line.key = Some(key.text.chars().count() + 1);
            line.value_was_at = self.text[key.at..value.at].chars().count();
        }
        line
    }

    /// What stands on a line, and its comment.
    fn pieces(&mut self, line: Span) -> (Vec<Piece<'a>>, Option<&'a str>) {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut at = line.start;
        let scalars = self.layout.scalars.partition_point(|s| s.end <= line.start);
        let mut scalars = self.layout.scalars[scalars..].iter().peekable();
        while at < line.end {
            while scalars.next_if(|s| s.end <= at).is_some() {}
            if let Some(scalar) = scalars.peek().filter(|s| s.start <= at) {
                let end = scalar.end.min(line.end);
                let text = self.text[at..end].trim();
                let start = at + (self.text[at..end].len() - self.text[at..end].trim_start().len());
                if !text.is_empty() {
                    pieces.push(Piece { kind: Kind::Scalar, text, at: start });
                }
                at = end.max(at + 1);
                continue;
            }
            let rest = &self.text[at..line.end];
            let Some(c) = rest.chars().next() else { break };
            let kind = match c {
                '#' => return (pieces, Some(rest)),
                '{' | '[' => Kind::Open,
                '}' | ']' => Kind::Close,
                ',' => Kind::Comma,
                ':' => Kind::Colon,
                '-' | '?' => Kind::Dash,
                _ if c.is_whitespace() => {
                    at += c.len_utf8();
                    continue;
                }
                // The header of a block scalar.
                _ => Kind::Scalar,
            };
            let len = if kind == Kind::Scalar { rest.find(char::is_whitespace).unwrap_or(rest.len()) } else { 1 };
            match kind {
                Kind::Open => self.depth += 1,
                Kind::Close => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            pieces.push(Piece { kind, text: &rest[..len], at });
            at += len;
        }
        (pieces, None)
    }
}

fn joined(pieces: &[Piece]) -> String {
    let mut out = String::new();
    let mut last: Option<Kind> = None;
    for piece in pieces {
        let together = matches!(piece.kind, Kind::Comma | Kind::Colon | Kind::Close) || matches!(last, None | Some(Kind::Open));
        if !together {
            out.push(' ');
        }
        out.push_str(piece.text);
        last = Some(piece.kind);
    }
    out
}

/// Lines with only a comment belong to the line below them, or to the block above if they are indented deeper.
fn comments(lines: &mut [Line]) {
    let mut levels: Vec<(usize, usize)> = Vec::new();
    let mut behind: Option<usize> = None;
    let mut next = (0, 0);
    let mut below: Vec<(usize, usize)> = Vec::with_capacity(lines.len());
    for line in lines.iter().rev() {
        below.push(next);
        next = if line.has_structure { (line.old_indent, line.indent) } else { next };
    }
    below.reverse();
    for index in 0..lines.len() {
        let line = &lines[index];
        if line.has_structure {
            levels.retain(|(old, _)| *old < line.old_indent);
            levels.push((line.old_indent, line.indent));
            if line.dashes > 0 {
                levels.push((line.old_indent + STEP * line.dashes, line.indent + STEP * line.dashes));
            }
        }
        let column = line.comment.as_ref().map(|(_, at)| *at);
        if !line.is_comment {
            behind = column.filter(|_| line.has_structure);
            continue;
        }
        if behind.is_some() && behind == column {
            // It goes on what the comment above began.
            lines[index].is_comment = false;
            lines[index].indent = 0;
            continue;
        }
        behind = None;
        if line.in_brackets {
            continue;
        }
        let old = line.old_indent;
        let below = below[index];
        let level = levels.iter().chain([&below]).filter(|(level, _)| *level <= old).max_by_key(|(level, _)| *level);
        lines[index].indent = if old < below.0 { below.1 } else { level.map_or(below.1, |(_, new)| *new) };
    }
}
