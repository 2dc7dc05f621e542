//! Why quotas could not be judged. Never a clash: that is an answer.

use crate::Kind;

/// Why [`super::plan`] gave no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No quotas.
    #[error("there are no quotas; add a margin with targets")]
    NoMargins,
    /// Quotas of nobody.
    #[error("all quotas are 0; raise at least one target")]
    Empty,
    /// Margins of different totals.
    #[error(
        "the quotas of `{margin}` add up to {total} people but those of `{first}` to {first_total}; make them the same sample"
    )]
    Totals {
        /// The margin that disagrees.
        margin: String,
        /// The sum of its targets.
        total: u64,
        /// The first margin.
        first: String,
        /// The sum of the first margin's targets.
        first_total: u64,
    },
    /// A search that took too long.
    #[error(
        "whether whole numbers of people fill these quotas is not decided after {nodes} steps; use fewer margins or merge levels"
    )]
    Undecided {
        /// Programs solved.
        nodes: usize,
    },
}

impl Error {
    /// Who has to act.
    pub fn kind(&self) -> Kind {
        Kind::Invalid
    }
}
