//! Why weights could not be adjusted or trimmed. Never a bare number: every refusal names the cell or the limit.

use crate::Kind;

/// Why an adjustment gave no weights.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An inclusion probability that is none.
    #[error("the inclusion probability of stage {stage} is {value}; it must be above 0 and at most 1")]
    Probability {
        /// Position of the stage.
        stage: usize,
        /// The probability.
        value: f64,
    },
    /// A sum of weights that is none.
    #[error("the weight of {what} in cell `{cell}` is {value}; it must be finite and not negative")]
    CellWeight {
        /// The cell.
        cell: String,
        /// Which people.
        what: &'static str,
        /// Their weight.
        value: f64,
    },
    /// A cell in which nobody answered.
    #[error("nobody answered in cell `{cell}` (weight {weight}); merge it with another, or set `collapse: neighbours`")]
    NoRespondents {
        /// The cell, or the last of those merged.
        cell: String,
        /// Weight of those asked.
        weight: f64,
    },
    /// A cell whose respondents would have to stand for too many.
    #[error(
        "respondents of cell `{cell}` would have to stand for {factor} times their weight, above {factor_max}; \
         merge it with another, set `collapse: neighbours`, or raise `factor_max`"
    )]
    Factor {
        /// The cell, or the last of those merged.
        cell: String,
        /// The factor.
        factor: f64,
        /// The most that is allowed.
        factor_max: f64,
    },
    /// A cell with too few respondents.
    #[error("cell `{cell}` has {rows} respondents, fewer than {rows_min}; merge it with another, or set `collapse: neighbours`")]
    FewRespondents {
        /// The cell, or the last of those merged.
        cell: String,
        /// Its respondents.
        rows: u64,
        /// The fewest that are allowed.
        rows_min: u64,
    },
    /// A measure no row has.
    #[error("`{measure}` is 0 in every row; leave it out or merge the level with another")]
    Absent {
        /// The measure.
        measure: String,
    },
    /// A measure that says nothing new.
    #[error("`{measure}` is a combination of {on}; leave one of them out")]
    Collinear {
        /// The measure.
        measure: String,
        /// Those it is a combination of, in backticks.
        on: String,
    },
    /// Measures that tell who answered.
    #[error(
        "the measures tell apart exactly who answered and who did not, so propensities would be 0 or 1; use fewer or coarser"
    )]
    Separated,
    /// A limit that is none.
    #[error("the {what} of weights is {value}; {wanted}")]
    Limit {
        /// Which limit.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it must be.
        wanted: &'static str,
    },
    /// A cap that cannot carry the weights.
    #[error("a cap of {cap} on {rows} rows carries {most} at most, but the weights sum to {sum}; raise the cap")]
    Cap {
        /// The cap.
        cap: f64,
        /// Rows.
        rows: u64,
        /// What they can carry.
        most: f64,
        /// What they must.
        sum: f64,
    },
    /// A floor that asks for more than there is.
    #[error("a floor of {floor} on {rows} rows needs {least} at least, but the weights sum to {sum}; lower the floor")]
    Floor {
        /// The floor.
        floor: f64,
        /// Rows.
        rows: u64,
        /// What they need.
        least: f64,
        /// What there is.
        sum: f64,
    },
}

impl Error {
    /// Who has to act.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Limit { .. } | Error::Cap { .. } | Error::Floor { .. } => Kind::Invalid,
            _ => Kind::Contract,
        }
    }
}
