//! `identity:` which rows of different sources are one and the same, and the columns of a consent log. Never merges anybody.

use crate::text::{Name, Sql};

/// `identity:` of one entity.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Which entity.
    pub entity: Name,
    /// `nodes:` identifiers.
    pub nodes: Vec<Identifier>,
    /// `fuzzy:` pairs that are alike.
    pub fuzzy: Vec<Fuzzy>,
    /// `overrides:` a table of reviewed pairs.
    pub overrides: Option<Name>,
    /// `golden:` columns of the merged row, and which value each keeps.
    pub golden: Vec<(Name, Golden)>,
}

/// An identifier.
#[derive(Debug, Clone)]
pub struct Identifier {
    /// Key under `nodes:`.
    pub name: Name,
    /// Sources and their columns.
    pub from: Vec<(Name, Name)>,
    /// `clean:`
    pub clean: Option<Clean>,
    /// `ignore:` values that mean nobody; `*` stands for anything.
    pub ignore: Vec<String>,
    /// More values than this in one person: do not merge.
    pub max_per_profile: Option<u64>,
    /// More people than this with one value: ignore the value.
    pub max_profiles: Option<u64>,
    /// Two values never merge.
    pub unique: bool,
}

/// How an identifier is made comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clean {
    /// Lower case, no blanks.
    Email,
    /// E.164, with the country of numbers that name none.
    Phone(String),
    /// Lower case.
    Lower,
    /// Digits only.
    Digits,
    /// No blanks around.
    Trim,
}

/// A rule for pairs that are alike.
#[derive(Debug, Clone)]
pub struct Fuzzy {
    /// Only rows that agree on all of these are compared.
    pub block: Vec<Sql>,
    /// Columns, and how each is compared.
    pub score: Vec<(Name, Comparison)>,
    /// Pairs from this probability on are one.
    pub accept: f64,
    /// Pairs from this probability on are shown to people.
    pub review: Option<f64>,
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Equal or not.
    Exact,
    /// Jaro-Winkler similarity.
    JaroWinkler,
    /// Levenshtein distance.
    Levenshtein,
    /// Equal by Soundex.
    Soundex,
    /// Days between.
    Days,
}

/// Which value a merged row keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Golden {
    /// The newest that is not null.
    Newest,
    /// The newest that was verified.
    NewestVerified,
    /// The oldest that is not null.
    Oldest,
    /// The most frequent; ties to the first in the order.
    MostFrequent,
    /// The first of these sources that has one.
    Sources(Vec<Name>),
}

/// `log:` columns of an append-only consent log.
#[derive(Debug, Clone)]
pub struct ConsentLog {
    /// Whom it is about.
    pub person: Name,
    /// Which purpose.
    pub purpose: Name,
    /// What was said.
    pub state: Name,
    /// For which channel, if consent is given by channel.
    pub channel: Option<Name>,
}

/// `on_merge:` what holds when two people turn out to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMerge {
    /// What allows least.
    MostRestrictive,
    /// What was said last.
    Latest,
}
