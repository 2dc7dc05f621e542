//! The language as a table: every mapping of a pipeline file, its keys, what each takes and a line on what it means.
//! Readers know a key only if it stands here, and the JSON Schema is made from it. Never reads a file.

pub(crate) mod attributes;
pub(crate) mod outputs;
pub(crate) mod panel;
pub(crate) mod people;
pub(crate) mod root;
pub(crate) mod segments;
pub(crate) mod sources;

/// A mapping with known keys.
#[derive(Debug)]
pub(crate) struct Shape {
    /// A noun for messages, such as "source" or "`weights`".
    pub(crate) what: &'static str,
    /// What it is, for editors.
    pub(crate) doc: &'static str,
    /// Its keys, in the order in which people write them.
    pub(crate) keys: &'static [Key],
    /// What any other key takes; `None`: there are no others.
    pub(crate) rest: Option<&'static Form>,
    /// Of each group, one key must be there.
    pub(crate) needs: &'static [&'static [&'static str]],
    /// Words that people look for here, and what to write instead.
    pub(crate) elsewhere: &'static [(&'static str, &'static str)],
}

/// A key of a mapping.
#[derive(Debug)]
pub(crate) struct Key {
    /// As written.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) form: Form,
    /// What it means, for editors.
    pub(crate) doc: &'static str,
    /// What to do instead while this version cannot run it; `None`: it can.
    pub(crate) later: Option<&'static str>,
}

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// Any scalar, as written.
    Text,
    /// An SQL expression or SELECT.
    Sql,
    /// A name, or a list of names.
    Names,
    /// One of a few words.
    Word(Words),
    /// A whole number in a range.
    Whole(u64, u64),
    /// A finite number, at least that.
    Real(f64),
    /// `true` or `false`.
    Flag,
    /// `7d`, `26h`; with `true`, also `12mo`.
    Duration(bool),
    /// `90d`, `730d..365d`, `life`.
    Window,
    /// A day, a moment, or `${run.as_of}`.
    Instant,
    /// `2%`.
    Share,
    /// `null`.
    Null,
    /// A scalar or `null`: a value of data.
    Cell,
    /// A mapping with known keys.
    Map(&'static Shape),
    /// A mapping from identifiers.
    Named(&'static Form),
    /// A mapping from any text.
    Labelled(&'static Form),
    /// A list.
    List(&'static Form),
    /// One of several.
    Either(&'static [Form]),
}

/// The words of a `Form::Word`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    /// Those that this version can run.
    pub(crate) now: &'static [&'static str],
    /// Those that it only knows.
    pub(crate) later: &'static [&'static str],
    /// What to write in place of those.
    pub(crate) instead: &'static str,
}

impl Shape {
    /// A mapping with those keys and no others.
    pub(crate) const fn new(what: &'static str, doc: &'static str, keys: &'static [Key]) -> Self {
        Self { what, doc, keys, rest: None, needs: &[], elsewhere: &[] }
    }

    /// Of each group, one key must be there.
    pub(crate) const fn needs(mut self, needs: &'static [&'static [&'static str]]) -> Self {
        self.needs = needs;
        self
    }

    /// Words that people look for here, and what to write instead.
    pub(crate) const fn elsewhere(mut self, elsewhere: &'static [(&'static str, &'static str)]) -> Self {
        self.elsewhere = elsewhere;
        self
    }

    /// What other keys take.
    pub(crate) const fn rest(mut self, rest: &'static Form) -> Self {
        self.rest = Some(rest);
        self
    }

    /// The key of that name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|k| k.name == name)
    }
}

/// A key.
pub(crate) const fn key(name: &'static str, form: Form, doc: &'static str) -> Key {
    Key { name, form, doc, later: None }
}

impl Key {
    /// The same, but this version cannot run it: what to do instead.
    pub(crate) const fn later(mut self, instead: &'static str) -> Self {
        self.later = Some(instead);
        self
    }
}

/// One of those words.
pub(crate) const fn word(now: &'static [&'static str]) -> Form {
    Form::Word(Words { now, later: &[], instead: "" })
}

/// One of those words; this version cannot run the second list, and says `instead`.
pub(crate) const fn words(now: &'static [&'static str], later: &'static [&'static str], instead: &'static str) -> Form {
    Form::Word(Words { now, later, instead })
}

/// Any whole number from `least` on.
pub(crate) const fn at_least(least: u64) -> Form {
    Form::Whole(least, u64::MAX)
}
