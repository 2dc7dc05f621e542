//! Names that stand in a file of which something could not be read: what uses one may be right. Never says what is wrong.

use crate::diagnostic::{Diagnostic, Severity};
use crate::pipeline::{Block, Pipeline};
use crate::places::Places;
use crate::text::Span;
use std::collections::BTreeSet;

/// Errors that are looked at: of a file with more there is enough to say.
const ERRORS_MAX: usize = 500;
/// Lines above an error whose keys may stand for names that were not made.
const PARENTS_MAX: usize = 3;

/// Names that are written somewhere and that nobody can say anything of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lost {
    names: BTreeSet<String>,
    /// What makes several names, `spend_90d` for one.
    stems: BTreeSet<String>,
    all: bool,
}

impl Lost {
    /// Adds a name.
    pub fn add(&mut self, name: impl Into<String>) {
        self.names.insert(name.into());
    }

    /// Whether a name that is not known may be one of these.
    pub fn has(&self, name: &str) -> bool {
        let stem = |s: &String| name.strip_prefix(s.as_str()).is_some_and(|rest| rest.starts_with('_'));
        self.all || self.names.contains(name) || self.stems.iter().any(stem)
    }

    /// Whether nothing is lost.
    pub fn is_empty(&self) -> bool {
        !self.all && self.names.is_empty() && self.stems.is_empty()
    }
}

/// What `draft` lost of the file `text`; `all` if not even the names of its attributes are known. Columns whose type could not be
/// read are taken out of the draft.
pub(crate) fn of(text: &str, draft: &mut Pipeline, found: &[Diagnostic], all: bool) -> Lost {
    let errors: Vec<Span> = found.iter().filter(|d| d.severity == Severity::Error).map(|d| d.span).take(ERRORS_MAX).collect();
    let hit = |span: Span| errors.iter().any(|e| e.start < span.end && span.start < e.end);
    for source in &mut draft.sources {
        source.columns.retain(|c| !hit(c.kind.span));
    }
    let made = names(draft);
    let mut lost = Lost { all, ..Lost::default() };
    lost.names = keys(text).into_iter().filter(|k| !made.contains(k)).map(str::to_owned).collect();
    // Also what is marked itself, such as a name that stands twice.
    let is_name = |t: &&str| !t.is_empty() && t.chars().all(|c| c.is_alphanumeric() || c == '_');
    lost.names.extend(errors.iter().filter_map(|e| text.get(e.range())).filter(is_name).map(str::to_owned));
    let places = Places::of(text);
    for error in errors {
        let mut line = places.line_index(error.start);
        for _ in 0..=PARENTS_MAX {
            let content = &text[places.line_span(text, line).range()];
            lost.stems.extend(keys(content).into_iter().filter(|k| !made.contains(k)).map(str::to_owned));
            let indent = |l: usize| {
                let content = &text[places.line_span(text, l).range()];
                let blanks = content.len() - content.trim_start().len();
                (!content.trim().is_empty()).then_some(blanks)
            };
            let depth = indent(line).unwrap_or(usize::MAX);
            match (0..line).rev().find(|l| indent(*l).is_some_and(|i| i < depth)) {
                Some(above) => line = above,
                None => break,
            }
        }
    }
    lost
}

/// Every word before a colon, whatever it is.
fn keys(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = BTreeSet::new();
    for (at, _) in text.match_indices(':') {
        let before = text[..at].trim_end_matches([' ', '"', '\'']);
        let start = before.char_indices().rev().take_while(|(_, c)| is_part(*c)).last().map_or(before.len(), |(i, _)| i);
        if start < before.len() {
            out.insert(&before[start..]);
        }
    }
    out
}

/// Names that the draft has, of whatever SQL can name.
fn names(draft: &Pipeline) -> BTreeSet<&str> {
    let mut out = BTreeSet::new();
    for source in &draft.sources {
        out.insert(source.name.as_str());
        out.extend(source.columns.iter().map(|c| c.name.as_str()));
        out.extend(source.derive.iter().map(|(n, _)| n.as_str()));
        out.extend(source.references.iter().map(|r| r.alias.as_str()));
    }
    out.extend(draft.tables.iter().map(|t| t.name.as_str()));
    out.extend(draft.entities.iter().map(|e| e.name.as_str()));
    for block in draft.attributes.iter().flat_map(|a| &a.blocks) {
        match block {
            Block::Row(rows) => out.extend(rows.iter().map(|r| r.name.as_str())),
            Block::From(from) => out.extend(from.columns.iter().map(|c| c.name.as_str())),
        }
    }
    out.extend(draft.segments.iter().flat_map(|s| s.columns()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_before_colons_are_keys() {
        assert_eq!(keys("a: {b : x, 'c d': y}\n- e_1: f::g").into_iter().collect::<Vec<_>>(), ["a", "b", "d", "e_1", "f"]);
    }

    #[test]
    fn a_stem_stands_for_names_that_begin_with_it() {
        let lost = Lost { stems: ["spend".to_owned()].into(), ..Lost::default() };
        assert!(lost.has("spend_90d") && !lost.has("spender") && !lost.has("spent"));
        assert!(!lost.is_empty() && Lost::default().is_empty());
    }
}
