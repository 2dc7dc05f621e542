//! The place where diagnostics gather while a file is read. Never stops a reader: reading goes on after every one.

use crate::codes;
use crate::diagnostic::{Diagnostic, Severity, did_you_mean};
use crate::text::Span;
use std::cell::Cell;

/// More than this many are counted, not kept: nobody reads them, and a hostile file must not fill memory.
const KEPT_MAX: usize = 1000;
/// Names that are looked at in search of similar ones, all problems together: enough for 100 mistakes among 200 names.
const SIMILAR_NAMES_MAX: usize = 20_000;
/// Words longer than this get no similar name.
const SIMILAR_CHARS_MAX: usize = 64;
/// Names listed in a help line.
const LISTED_MAX: usize = 24;

/// Bytes that the values of variables may put into a file: a few that name one another twice would otherwise fill memory.
pub(crate) const GROWN_BYTES_MAX: usize = 1 << 20;

/// How much of the language is let pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// What this version can run; the rest is refused with S0190.
    Version,
    /// All of it: for what only reads, such as a formatter.
    Language,
}

/// Diagnostics so far.
#[derive(Debug)]
pub(crate) struct Problems {
    list: Vec<Diagnostic>,
    dropped: usize,
    ahead: bool,
    names_left: Cell<usize>,
    grown_left: Cell<usize>,
}

impl Problems {
    /// None yet. `Reach::Language` lets pass what this version cannot run.
    pub(crate) fn new(reach: Reach) -> Self {
        Self {
            list: Vec::new(),
            dropped: 0,
            ahead: reach == Reach::Language,
            names_left: Cell::new(SIMILAR_NAMES_MAX),
            grown_left: Cell::new(GROWN_BYTES_MAX),
        }
    }

    /// One more.
    pub(crate) fn add(&mut self, diagnostic: Diagnostic) {
        if self.list.len() < KEPT_MAX {
            self.list.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    /// Whether the file may grow by this many bytes more; they are counted.
    pub(crate) fn grow(&self, bytes: usize) -> bool {
        let left = self.grown_left.get().checked_sub(bytes);
        self.grown_left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// None yet, with the same reach.
    pub(crate) fn like(&self) -> Self {
        Self {
            list: Vec::new(),
            dropped: 0,
            ahead: self.ahead,
            names_left: Cell::new(SIMILAR_NAMES_MAX),
            grown_left: Cell::new(GROWN_BYTES_MAX),
        }
    }

    /// Those of another list as well.
    pub(crate) fn append(&mut self, other: Self) {
        self.dropped += other.dropped;
        other.list.into_iter().for_each(|d| self.add(d));
    }

    /// True if anything stops the run.
    pub(crate) fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// All of them, in the order of the file.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|a| (a.span, a.code));
        self.list.dedup();
        if let (true, Some(last)) = (self.dropped > 0, self.list.last()) {
            let message = format!("{} more problems are not shown", self.dropped);
            let more = Diagnostic::error(codes::TOO_MANY, last.span, message).help("mend the first ones and check again");
            self.list.push(more);
        }
        self.list
    }

    /// A help line for an unknown word: the nearest known one, and what there is.
    pub(crate) fn known_help(&self, word: &str, kind: &str, known: &[&str]) -> String {
        self.known_help_of(word, kind, known, known)
    }

    /// The same; `near` are words that may be meant, `listed` those that are shown.
    pub(crate) fn known_help_of(&self, word: &str, kind: &str, near: &[&str], listed: &[&str]) -> String {
        if self.list.len() >= KEPT_MAX {
            return String::new();
        }
        let meant = self.similar(word, near).map(|k| format!("did you mean `{k}`? ")).unwrap_or_default();
        if listed.is_empty() {
            return format!("{meant}there are no {kind}");
        }
        let mut shown: Vec<String> = listed.iter().take(LISTED_MAX).map(|k| format!("`{k}`")).collect();
        if listed.len() > LISTED_MAX {
            shown.push(format!("{} more", listed.len() - LISTED_MAX));
        }
        format!("{meant}{kind}: {}", shown.join(", "))
    }

    fn similar<'k>(&self, word: &str, known: &[&'k str]) -> Option<&'k str> {
        let bounded = word.len() <= SIMILAR_CHARS_MAX && self.may_look_at(known.len());
        if bounded { did_you_mean(word, known.iter().copied()) } else { None }
    }

    /// True if so many names may still be looked at for a help line: a hostile file must not take long.
    pub(crate) fn may_look_at(&self, names: usize) -> bool {
        let left = self.names_left.get().checked_sub(names);
        self.names_left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// An S0190 for what is right, but later; `instead` says what to do now. False if what comes later is read as well.
    pub(crate) fn not_yet(&mut self, span: Span, what: &str, instead: &str) -> bool {
        if !self.ahead {
            let message = format!("{what} is not in this version of Strata");
            self.add(Diagnostic::error(codes::NOT_YET, span, message).label("not supported yet").help(instead));
        }
        !self.ahead
    }
}

/// The user's text as messages show it: one line, not endless.
pub(crate) fn shown(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let short: String = line.chars().take(60).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}
