//! A mapping with known keys: hands each out once and reports the rest. Never lets a key pass in silence.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::language::{Form, Key, Shape};
use crate::problems::{Problems, Reach, shown};
use crate::read;
use crate::similar::nearest;
use crate::text::{Name, Span, Sql};
use crate::tree::{Entry, Node, Value};
use std::ops::RangeInclusive;

/// The keys of one mapping, such as a source's.
pub(crate) struct Fields<'a, 'p> {
    entries: &'a [Entry],
    seen: Vec<bool>,
    shape: &'static Shape,
    /// Known keys that misspelt ones stand for, and which those are: what they say is read, so that one slip makes one diagnostic.
    meant: Vec<(&'static str, usize)>,
    /// The mapping in messages: "source `orders`".
    pub(crate) what: String,
    /// Where a missing key is reported.
    pub(crate) owner: Span,
    /// Where problems go.
    pub(crate) p: &'p mut Problems,
}

impl<'a, 'p> Fields<'a, 'p> {
    /// The mapping under the key `owner`, which may have the keys of `shape`; `None`, reported, if it is none.
    pub(crate) fn open(node: &'a Node, owner: &Name, shape: &'static Shape, p: &'p mut Problems) -> Option<Self> {
        let what = match owner.value.is_empty() {
            true => shape.what.to_owned(),
            false => format!("{} `{}`", shape.what, shown(&owner.value)),
        };
        match &node.value {
            Value::Map(entries) => {
                let meant = meant(entries, shape, p);
                Some(Self { entries, seen: vec![false; entries.len()], shape, meant, what, owner: owner.span, p })
            }
            Value::Text(_) if node.is_null() => {
                read::empty(node, &what, "a mapping", p);
                None
            }
            _ => {
                read::wrong_kind(node, &what, "a mapping", p);
                None
            }
        }
    }

    /// The same mapping of an element of a list, which has no name.
    pub(crate) fn item(node: &'a Node, shape: &'static Shape, p: &'p mut Problems) -> Option<Self> {
        Self::open(node, &read::blank(node.span), shape, p)
    }

    /// From here on, the keys of `shape`: once it is known of which kind a mapping is.
    pub(crate) fn becomes(&mut self, shape: &'static Shape) {
        self.shape = shape;
        self.meant = meant(self.entries, shape, self.p);
    }

    /// True if the key is written, or misspelt.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    fn index_of(&self, key: &str) -> Option<usize> {
        let meant = || self.meant.iter().find(|(k, _)| *k == key).map(|(_, index)| *index);
        self.entries.iter().position(|e| e.key.value == key).or_else(meant)
    }

    fn find(&self, key: &str) -> Option<&'a Entry> {
        self.index_of(key).and_then(|index| self.entries.get(index))
    }

    /// True if the key is written with just this word.
    pub(crate) fn key_value_is(&self, key: &str, word: &str) -> bool {
        self.find(key).is_some_and(|e| e.value.text().is_some_and(|t| t.text == word))
    }

    /// Where the key is written.
    pub(crate) fn key_span(&self, key: &str) -> Span {
        self.find(key).map_or(self.owner, |e| e.key.span)
    }

    /// Where its value is written.
    pub(crate) fn value_span(&self, key: &str) -> Span {
        self.find(key).map_or(self.owner, |e| e.value.span)
    }

    /// The entry of a key, which becomes known; empty values too.
    pub(crate) fn entry(&mut self, key: &str) -> Option<&'a Entry> {
        // Tests are built for release, where a `debug_assert` says nothing.
        if cfg!(any(test, debug_assertions)) {
            assert!(self.shape.key(key).is_some(), "`{key}` is not in the table of {}", self.shape.what);
        }
        let index = self.index_of(key)?;
        let entry = self.entries.get(index)?;
        if let Some(seen) = self.seen.get_mut(index) {
            *seen |= entry.key.value == key;
        }
        Some(entry)
    }

    /// The value of a key, which becomes known. Empty values are reported and `None`; so is what this version cannot run.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        let entry = self.entry(key)?;
        let later = self.shape.key(key).and_then(|k| k.later);
        if later.is_some_and(|instead| self.p.not_yet(entry.key.span, &format!("`{key}`"), instead)) {
            return None;
        }
        if entry.value.is_absent() {
            let message = format!("`{key}` is empty");
            self.p
                .add(Diagnostic::error(codes::EMPTY, entry.key.span, message).help("write a value after it, or remove the key"));
            return None;
        }
        Some(&entry.value)
    }

    /// Like `take`; a missing key is reported.
    pub(crate) fn need(&mut self, key: &'static str, help: &str) -> Option<&'a Node> {
        let there = self.has(key);
        let node = self.take(key);
        if !there {
            let message = format!("{} needs `{key}`", self.what);
            self.p.add(Diagnostic::error(codes::MISSING_KEY, self.owner, message).help(help));
        }
        node
    }

    /// True if what the key says was refused already.
    pub(crate) fn refused(&self, key: &str) -> bool {
        self.find(key).is_some_and(|e| matches!(e.value.value, Value::Refused))
    }

    /// Any name; blank if it was refused already.
    pub(crate) fn name(&mut self, key: &'static str) -> Option<Name> {
        let node = self.take(key)?;
        match node.value {
            Value::Refused => Some(read::blank(node.span)),
            _ => read::name(node, &format!("`{key}`"), self.p),
        }
    }

    /// A name that must be there.
    pub(crate) fn need_name(&mut self, key: &'static str, help: &str) -> Name {
        let name = self.need(key, help).and_then(|n| read::name(n, &format!("`{key}`"), self.p));
        name.unwrap_or_else(|| read::blank(self.owner))
    }

    /// A name or a list of names; empty if absent.
    pub(crate) fn names(&mut self, key: &'static str) -> Vec<Name> {
        self.take(key).map(|n| read::names(n, &format!("`{key}`"), self.p)).unwrap_or_default()
    }

    /// An expression.
    pub(crate) fn sql(&mut self, key: &'static str) -> Option<Sql> {
        let node = self.take(key)?;
        Some(read::sql(node, &format!("`{key}`"), self.p).unwrap_or_else(|| read::blank_sql(node.span)))
    }

    /// An expression that must be there.
    pub(crate) fn need_sql(&mut self, key: &'static str, help: &str) -> Sql {
        let sql = self.need(key, help).and_then(|n| read::sql(n, &format!("`{key}`"), self.p));
        sql.unwrap_or_else(|| read::blank_sql(self.owner))
    }

    /// One of a few words; those that this version cannot run are reported and `None`.
    pub(crate) fn word<T: Clone>(&mut self, key: &'static str, known: &[(&str, T)]) -> Option<T> {
        let node = self.take(key)?;
        if let Some(Key { form: Form::Word(words), .. }) = self.shape.key(key) {
            if cfg!(any(test, debug_assertions)) {
                let read = known.iter().map(|(word, _)| *word);
                assert!(read.eq(words.now.iter().chain(words.later).copied()), "words of `{key}`");
            }
            let word = node.text().map(|t| t.text.as_str()).filter(|t| words.later.contains(t));
            if word.is_some_and(|word| self.p.not_yet(node.span, &format!("`{key}: {word}`"), words.instead)) {
                return None;
            }
            let listed = if words.now.is_empty() { words.later } else { words.now };
            return read::word_of(node, &format!("`{key}`"), known, listed, self.p);
        }
        read::word(node, &format!("`{key}`"), known, self.p)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let node = self.take(key)?;
        read::word(node, &format!("`{key}`"), &[("true", true), ("false", false)], self.p)
    }

    /// A whole number.
    pub(crate) fn whole(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let node = self.take(key)?;
        read::whole(node, &format!("`{key}`"), &range, self.p)
    }

    /// A whole number that fits 32 bits.
    pub(crate) fn small(&mut self, key: &'static str, least: u32) -> Option<u32> {
        self.whole(key, u64::from(least)..=u64::from(u32::MAX)).and_then(|n| u32::try_from(n).ok())
    }

    /// A number.
    pub(crate) fn real(&mut self, key: &'static str, least: f64) -> Option<f64> {
        let node = self.take(key)?;
        read::real(node, &format!("`{key}`"), least, self.p)
    }

    /// A name, where `null` is an answer too.
    pub(crate) fn name_or_null(&mut self, key: &'static str) -> Option<Name> {
        let node = self.take(key)?;
        if node.is_null() { None } else { read::name(node, &format!("`{key}`"), self.p) }
    }

    /// True if the mapping may have that key.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.shape.key(key).is_some()
    }

    /// Lets every known key pass, although nobody can say what it means here.
    pub(crate) fn pass_known(&mut self) {
        for key in self.shape.keys {
            self.entry(key.name);
        }
    }

    /// Lets every key pass that nobody asked for: which keys are allowed cannot be known.
    pub(crate) fn pass_rest(&mut self) {
        self.seen.fill(true);
    }

    /// Reports one key as unknown, and passes over the others: they cannot be judged.
    pub(crate) fn only_unknown(mut self, key: &str) {
        for (seen, entry) in self.seen.iter_mut().zip(self.entries) {
            *seen = entry.key.value != key;
        }
        self.finish();
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(self) {
        for (entry, _) in self.entries.iter().zip(&self.seen).filter(|(_, seen)| !**seen) {
            let key = &entry.key;
            let message = format!("unknown key `{}` in {}", shown(&key.value), self.what);
            let elsewhere = self.shape.elsewhere.iter().find(|(word, _)| *word == key.value);
            let help = elsewhere.map_or_else(|| self.known(&key.value), |(_, help)| (*help).to_owned());
            self.p.add(Diagnostic::error(codes::UNKNOWN_KEY, key.span, message).help(help));
        }
    }

    /// What may stand here: what can be run first, the rest only if it is near.
    fn known(&self, word: &str) -> String {
        let all: Vec<&str> = self.shape.keys.iter().map(|k| k.name).collect();
        let now: Vec<&str> = self.shape.keys.iter().filter(|k| k.later.is_none()).map(|k| k.name).collect();
        self.p.known_help_of(word, "allowed", &all, &now)
    }
}

/// Misspelt keys that are looked at in one mapping.
const MEANT_MAX: usize = 8;

/// The keys that unknown ones stand for, where they are not written themselves.
fn meant(entries: &[Entry], shape: &'static Shape, p: &Problems) -> Vec<(&'static str, usize)> {
    let unknown = entries.iter().enumerate().filter(|(_, e)| shape.key(&e.key.value).is_none() && e.key.value.len() <= 64);
    let unknown = unknown.filter(|(_, e)| !shape.elsewhere.iter().any(|(word, _)| *word == e.key.value)).take(MEANT_MAX);
    let affordable = unknown.filter(|_| p.may_look_at(shape.keys.len()));
    let near = affordable.filter_map(|(index, e)| Some((nearest(&e.key.value, shape.keys.iter().map(|k| k.name))?, index)));
    near.filter(|(key, _)| !entries.iter().any(|e| e.key.value == *key)).collect()
}

/// The entry of a key of a mapping, or of a misspelt one that stands for it.
pub(crate) fn entry_of<'a>(node: &'a Node, shape: &'static Shape, key: &str) -> Option<&'a Entry> {
    let entries = node.entries();
    let meant = || meant(entries, shape, &Problems::new(Reach::Version)).into_iter().find(|(k, _)| *k == key);
    entries.iter().find(|e| e.key.value == key).or_else(|| meant().and_then(|(_, index)| entries.get(index)))
}
