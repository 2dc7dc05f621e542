//! How an output guards the people in it: pseudonyms, anonymity, formulas. Never holds a secret: keys are names of them.

use crate::text::{Located, Name};

/// How an output guards the people in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Export {
    /// `formulas: keep`: text in CSV that a spreadsheet would take for a formula is not escaped.
    pub keeps_formulas: bool,
    /// `pseudonym:` what stands in place of the entity key.
    pub pseudonym: Option<Pseudonym>,
    /// `anonymity:` how alike people must look.
    pub anonymity: Option<Anonymity>,
    /// `min_cell:` of counts of a wave: smaller ones are not shown, and nobody can work them out.
    pub min_cell: Option<Located<u64>>,
}

/// `pseudonym:` a keyed hash in place of the entity key.
#[derive(Debug, Clone, PartialEq)]
pub struct Pseudonym {
    /// `key: env:NAME` the name of the secret.
    pub key: Name,
    /// `as:` its column (`panelist_id`).
    pub column: Name,
    /// `export:` or `shared:`
    pub of: PseudonymOf,
    /// `key_id:` written before each pseudonym, so that it can be told which key made it.
    pub key_id: Option<Name>,
}

/// Within what pseudonyms are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PseudonymOf {
    /// `export: NAME` outputs of that name of one as-of; the output's own name if absent.
    Once(String),
    /// `shared: NAME` everything that says so, in every run.
    Shared(String),
}

/// `anonymity:` nobody is in a group of fewer than k who look alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Anonymity {
    /// `k:` (10).
    pub k: u64,
    /// `over:` columns by which others could know a person.
    pub over: Vec<Name>,
    /// `generalise:` how each of them is made coarser, step by step.
    pub ladders: Vec<(Name, Vec<LadderStep>)>,
    /// `leave_out:` the share of people of whom these columns may be left empty, in parts per million.
    pub leave_out_ppm: u64,
    /// `weights:`
    pub weights: WeightsShown,
}

/// A step of making a column coarser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LadderStep {
    /// Labels, and the values that each takes the place of; other values stay.
    Labels(Vec<(String, Vec<String>)>),
    /// `all`: every value is `*`.
    All,
}

/// What is shown of weights, which tell strata apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WeightsShown {
    /// The mean of those who look alike.
    CellMean,
    /// Rounded to multiples of this; who then differs does not look alike.
    Rounded(f64),
}
