//! `personas:`, `typing_tool:` and `personalise:`. Never shows anybody.

use crate::text::{Name, Sql};

/// `personas:` segments told as people.
#[derive(Debug, Clone)]
pub struct Personas {
    /// Segmentations.
    pub of: Vec<Name>,
    /// Attributes to tell about.
    pub describe: Vec<Name>,
    /// Smaller groups are not shown (10).
    pub min_cell: u64,
    /// `render:` `markdown`, `json`.
    pub render: Vec<Name>,
}

/// `typing_tool:` a few questions that place a person in a segment.
#[derive(Debug, Clone)]
pub struct TypingTool {
    /// The segmentation.
    pub of: Name,
    /// The source with the answers.
    pub questions: Name,
    /// At most so many questions (8).
    pub questions_max: u32,
    /// `lda`, `multinomial`, `naive_bayes` or `tree`; lda if absent.
    pub method: Option<Name>,
    /// Cross-validated, in each segment.
    pub min_accuracy: Option<f64>,
    /// `json`, `sql`, `csv`.
    pub export: Vec<Name>,
}

/// `personalise:`
#[derive(Debug, Clone)]
pub struct Personalise {
    /// The purpose people must have consented to.
    pub purpose: Name,
    /// Items to suggest.
    pub next_best: Option<NextBest>,
    /// Offers, the first that fits.
    pub offers: Vec<(Name, Sql)>,
    /// Attribute with the channel.
    pub channel: Option<Name>,
    /// Attribute with the time.
    pub at: Option<Name>,
    /// At most so many in a time.
    pub per_customer: Option<Rate>,
    /// The permanent control group, in parts per million.
    pub control_ppm: Option<u64>,
}

/// `next_best:`
#[derive(Debug, Clone)]
pub struct NextBest {
    /// The method and its version.
    pub preset: Name,
    /// The source or table of purchases.
    pub from: Name,
    /// How many (5).
    pub top: u32,
    /// Items to leave out.
    pub exclude: Option<Name>,
    /// What to suggest to those for whom nothing is found.
    pub fallback: Option<Name>,
}

/// `2/30d`: at most so many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// In how many microseconds.
    pub within_us: i64,
}
