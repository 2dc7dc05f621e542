//! What a source promises beyond its types: checks, drift, history and licence. Never holds data.

use super::{Duplicates, Mode, Pipeline, ReadFormat, Source};
use crate::text::{Located, Name, Sql};
use chrono::NaiveDate;

/// `checks:` a rule for the rows of a source or table, or for the whole of it.
#[derive(Debug, Clone)]
pub struct Check {
    /// Key under `checks:`; the column's name if it stands in `columns:`.
    pub name: Name,
    /// The rule.
    pub rule: CheckRule,
    /// `on_fail:` (stop).
    pub on_fail: Located<OnFail>,
    /// Columns that `set_null` empties. Not empty if and only if `on_fail` is `set_null`.
    pub empties: Vec<Name>,
}

/// What must hold.
#[derive(Debug, Clone)]
pub enum CheckRule {
    /// `sql:` a row is bad where it is false; null passes.
    Sql(Sql),
    /// `not_null:` none of the columns is null.
    NotNull(Vec<Name>),
    /// `unique:` no two rows agree on all of the columns.
    Unique(Vec<Name>),
    /// `min:` and `max:` of a column, both included; null passes.
    Range {
        /// Column.
        column: Name,
        /// Least value.
        min: Option<Sql>,
        /// Greatest value.
        max: Option<Sql>,
    },
    /// `enum:` of a column; null passes.
    OneOf {
        /// Column.
        column: Name,
        /// Values.
        values: Vec<String>,
    },
    /// `format:` of a column; null passes.
    Format {
        /// Column.
        column: Name,
        /// What its text must look like.
        format: TextFormat,
    },
    /// `references:` the columns together are a key of the other source; null passes.
    References {
        /// Own columns, as many as the other's key has.
        columns: Vec<Name>,
        /// The other source.
        source: Name,
    },
    /// `freshness:` the newest row is at most so old, in microseconds before `as_of`.
    Freshness(i64),
    /// `volume:` rows of the newest day against the mean of the days before.
    Volume(Volume),
}

/// Bounds of the newest day's rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Volume {
    /// How far back the days before go, in microseconds.
    pub of_us: i64,
    /// At least so many times their mean.
    pub min: Option<f64>,
    /// At most so many times their mean.
    pub max: Option<f64>,
}

/// What a row gets that fails a check; for a rule about the whole table, what the run gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFail {
    /// Nothing is published.
    Stop,
    /// The row goes to the quarantine table with rule, reason, file and row.
    Quarantine,
    /// The columns at fault read as null.
    SetNull,
    /// It is counted and said.
    Warn,
}

/// Formats of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// One address.
    Email,
    /// A number with its country's prefix.
    Phone,
    /// An absolute URL.
    Url,
    /// A UUID.
    Uuid,
}

/// `drift:` what to do when the files' columns are not as declared. Columns go by name: their order never matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drift {
    /// `added:` (ignore).
    pub added: Added,
    /// `dropped:` (stop).
    pub dropped: Dropped,
    /// `retyped:` (stop).
    pub retyped: Retyped,
}

/// What a column does that is not declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is not read.
    Ignore,
    /// It is said.
    Warn,
    /// Nothing is published.
    Stop,
}

/// What a declared column does that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Nothing is published.
    Stop,
    /// It is said, and reads as null.
    Warn,
    /// It reads as null.
    SetNull,
}

/// What a declared column of another type does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retyped {
    /// Nothing is published.
    Stop,
    /// It is cast; what cannot be cast stops the run.
    Cast,
}

/// `history:` of a mutable source: from when to when a row held.
#[derive(Debug, Clone)]
pub struct RowHistory {
    /// Column with the first instant.
    pub valid_from: Name,
    /// Column with the instant at which it ended; null: it still holds.
    pub valid_to: Option<Name>,
}

/// `licence:` terms of third-party data.
#[derive(Debug, Clone)]
pub struct Licence {
    /// Whose data it is.
    pub supplier: Name,
    /// The day after which it must not be used.
    pub expires: Option<Located<NaiveDate>>,
    /// Purposes it must not be used for.
    pub not_for: Vec<Name>,
}

impl Source {
    /// Files of which nothing is declared, as what is read whole.
    pub fn undeclared(name: Name, format: ReadFormat, path: Name) -> Self {
        Self {
            name,
            format,
            path,
            mode: Mode::Mutable,
            time: None,
            late_us: None,
            learned_later: vec![],
            key: vec![],
            duplicates: None,
            filter: None,
            references: vec![],
            derive: vec![],
            columns: vec![],
            classes: vec![],
            checks: vec![],
            drift: None,
            history: None,
            licence: None,
            planned_format: None,
        }
    }

    /// Whether rows of it can be put aside: by a rule, or because copies of a key differ.
    pub fn quarantines(&self) -> bool {
        let by_column = self.columns.iter().filter_map(|c| c.on_fail.as_ref()).any(|f| f.value == OnFail::Quarantine);
        let by_check = self.checks.iter().any(|c| c.on_fail.value == OnFail::Quarantine);
        by_column || by_check || matches!(self.duplicates, Some(Duplicates::Identical(_)))
    }
}

impl Pipeline {
    /// Folder of the table with the rows of a source that are put aside: `_quarantine/<source>` beside the first output. `None` where there is
    /// no output, or no row can be put aside.
    pub fn quarantine_folder(&self, source: &str) -> Option<String> {
        self.source(source).filter(|s| s.quarantines())?;
        let first = self.outputs.first()?.to.value.trim_end_matches('/');
        let beside = match first.rsplit_once('/') {
            // The root of a store, or of a disk, has nothing beside it.
            Some((parent, _)) if !parent.ends_with('/') && !parent.is_empty() => format!("{parent}/"),
            Some(_) => format!("{first}/"),
            None => String::new(),
        };
        Some(format!("{beside}_quarantine/{source}"))
    }
}
