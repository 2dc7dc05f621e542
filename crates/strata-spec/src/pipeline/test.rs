//! `tests:` given rows and the values they must lead to. Never runs one.

use super::AsOf;
use crate::text::{Name, Span};

/// An element of `tests:`.
#[derive(Debug, Clone)]
pub struct UnitTest {
    /// `name:`
    pub name: Option<Name>,
    /// Where it stands.
    pub span: Span,
    /// Which entity.
    pub entity: Name,
    /// `as_of:`; `None`: the pipeline's.
    pub as_of: Option<AsOf>,
    /// `given:` rows of sources, in order; sources that are not given are empty.
    pub given: Vec<(Name, Vec<Row>)>,
    /// `expect:`
    pub expect: Expect,
}

/// A row of data.
#[derive(Debug, Clone)]
pub struct Row {
    /// Where it stands.
    pub span: Span,
    /// Columns and values.
    pub cells: Vec<Cell>,
}

/// A value of data.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Column.
    pub column: Name,
    /// Where the value stands.
    pub span: Span,
    /// As written; `None` is null.
    pub text: Option<String>,
}

/// What a test expects.
#[derive(Debug, Clone)]
pub enum Expect {
    /// Values of the one row there is.
    One(Row),
    /// Rows that are found by the entity's key.
    ByKey(Vec<Row>),
}
