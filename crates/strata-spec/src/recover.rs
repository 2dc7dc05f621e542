//! Reading on behind a syntax error: the text at fault is painted over, so that the rest of the file is read too and no error
//! hides another. Never changes where anything stands.

use crate::places::Places;
use crate::problems::Problems;
use crate::text::Span;
use crate::tree::Node;
use crate::yaml::{self, Broken};

/// Most syntax errors that are reported.
const ERRORS_MAX: usize = 20;
/// Most text that is read again, in bytes: a large broken file is given up early.
const AGAIN_BYTES_MAX: usize = 2 << 20;
/// What is painted over what cannot be read. One byte long, so that every place stays; it means nothing to YAML.
const PAINT: u8 = b'x';

/// The tree of a file, as far as it can be read; `None` if not at all. What could not be read is reported, and `Refused` in the
/// tree.
pub(crate) fn tree(source: &str, problems: &mut Problems) -> Option<Node> {
    let mut found = problems.like();
    let mut broken = match yaml::tree(source, &[], &mut found) {
        Ok(node) => {
            problems.append(found);
            return node;
        }
        Err(broken) => broken,
    };
    let mut draft = Draft { text: source.to_owned(), passed: Vec::new(), budget: AGAIN_BYTES_MAX };
    for _ in 0..ERRORS_MAX {
        problems.add(broken.diagnostic.clone());
        let next = if broken.mendable { draft.mend(broken.at, problems) } else { None };
        match next {
            Some(Ok((node, found))) => {
                problems.append(found);
                return node;
            }
            Some(Err(next)) => broken = next,
            None => break,
        }
    }
    problems.append(found);
    None
}

/// The file with what could not be read painted over.
struct Draft {
    text: String,
    passed: Vec<Span>,
    budget: usize,
}

type Read = Result<(Option<Node>, Problems), Box<Broken>>;

impl Draft {
    /// Paints over as little as possible at the error and reads again; `None` if nothing helps.
    fn mend(&mut self, stopped: usize, problems: &Problems) -> Option<Read> {
        let places = Places::of(&self.text);
        let line = places.line_index(stopped);
        let opened = places.open_bracket(&self.text, stopped).map(|open| {
            let of_line = places.line_span(&self.text, places.line_index(open));
            (vec![content(&self.text, Span::new(open, of_line.end))], places.line_span(&self.text, line).end)
        });
        for (paint, until) in opened.into_iter().chain(self.candidates(&places, line)) {
            self.budget = self.budget.checked_sub(self.text.len())?;
            let text = painted(&self.text, &paint);
            let mut passed = self.passed.clone();
            passed.extend(paint.first().copied());
            let mut found = problems.like();
            match yaml::tree(&text, &passed, &mut found) {
                Ok(node) => return Some(Ok((node, found))),
                Err(next) if next.at > until => {
                    (self.text, self.passed) = (text, passed);
                    return Some(Err(next));
                }
                Err(_) => {}
            }
        }
        None
    }

    /// What to paint over, the least first: lines, of which the first becomes a value, and the last byte that may have been at
    /// fault.
    fn candidates(&self, places: &Places, line: usize) -> Vec<(Vec<Span>, usize)> {
        let at = |index: usize| places.line_span(&self.text, index);
        let mut all = Vec::new();
        if let Some(value) = value_of(&self.text, at(line)).filter(|_| !self.in_brackets(places, line)) {
            all.push((vec![value], at(line).end));
        }
        let mut depth = indent(&self.text[at(line).range()]).unwrap_or(0).max(1);
        for above in (0..line).rev() {
            let Some(outer) = indent(&self.text[at(above).range()]).filter(|i| *i < depth) else { continue };
            depth = outer;
            let end = (line + 1..places.count()).find(|l| indent(&self.text[at(*l).range()]).is_some_and(|i| i <= outer));
            let block: Vec<Span> = (above + 1..end.unwrap_or(places.count()))
                .map(|l| content(&self.text, at(l)))
                .filter(|s| s.start < s.end)
                .collect();
            if let Some(last) = block.last() {
                all.push((block.clone(), last.end));
            }
            if outer == 0 {
                break;
            }
        }
        all
    }

    /// True if a `{` or `[` of an earlier line of the same section is open at the line: then the line is not where the mistake
    /// is.
    fn in_brackets(&self, places: &Places, line: usize) -> bool {
        let texts = (0..line).rev().map(|l| &self.text[places.line_span(&self.text, l).range()]);
        let section: Vec<&str> = texts.take_while(|t| indent(t) != Some(0)).collect();
        section.iter().map(|t| brackets(t)).sum::<i64>() > 0
    }
}

fn brackets(line: &str) -> i64 {
    let code = line.split(" #").next().unwrap_or_default();
    let count = |c: char| i64::try_from(code.matches(c).count()).unwrap_or(0);
    count('{') + count('[') - count('}') - count(']')
}

/// Blanks before the first character; a tab counts as many. `None` for empty lines and comments.
fn indent(line: &str) -> Option<usize> {
    let text = line.trim_start();
    let before = &line[..line.len() - text.len()];
    (!text.is_empty() && !text.starts_with('#')).then(|| before.chars().map(|c| if c == '\t' { 8 } else { 1 }).sum())
}

/// What stands in a line, without the blanks around it.
fn content(source: &str, line: Span) -> Span {
    let text = &source[line.range()];
    let start = line.start + (text.len() - text.trim_start().len());
    Span::new(start, (start + text.trim().len()).max(start))
}

/// The value of `key: value` or `- key: value` in a line.
fn value_of(source: &str, line: Span) -> Option<Span> {
    let text = &source[line.range()];
    let key = text.find(": ")?;
    let name = text[..key].trim_start_matches([' ', '-']);
    let value = content(source, Span::new(line.start + key + 2, line.end));
    let plain = !name.is_empty() && !name.contains(['{', '[', '\'', '"', '#']);
    (plain && value.start < value.end).then_some(value)
}

/// The text with the first span turned into a word and the others into blanks; no byte moves.
fn painted(text: &str, paint: &[Span]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (index, span) in paint.iter().enumerate() {
        let with = if index == 0 { PAINT } else { b' ' };
        bytes.iter_mut().take(span.end).skip(span.start).for_each(|b| *b = with);
    }
    // Whole characters are painted over with ASCII, so this is UTF-8 still.
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problems::Reach;

    fn codes(source: &str) -> Vec<(String, usize)> {
        let mut problems = Problems::new(Reach::Version);
        tree(source, &mut problems);
        let places = Places::of(source);
        problems.into_sorted().into_iter().map(|d| (d.code.to_string(), places.line_index(d.span.start) + 1)).collect()
    }

    #[test]
    fn reading_goes_on_behind_syntax_errors() {
        let at = |line| ("S0101".to_owned(), line);
        assert_eq!(
            codes("a:\n  b: 'x' || y\n  c: %d\n  e: [1] = f\ng: 1\ng: 2\n"),
            [at(2), at(3), at(4), ("S0102".to_owned(), 6)]
        );
        assert_eq!(codes("a:\n  b: {c: d\n  e: f\ng: 'x' || y\n"), [at(2), at(4)]);
        assert_eq!(codes("a:\n  b: \"x\n  c: 1\n  c: 2\n"), [at(2), ("S0102".to_owned(), 4)]);
    }

    #[test]
    fn painting_moves_nothing() {
        assert_eq!(painted("a: 東京 b\n  c\n", &[Span::new(3, 11), Span::new(14, 15)]), "a: xxxxxxxx\n   \n");
    }
}
