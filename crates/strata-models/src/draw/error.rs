//! Why nobody could be drawn. Never a bare number: every refusal says what was asked for and what there is.

use crate::Kind;

/// Why a draw gave no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A random number that is none.
    #[error("the permanent random number of row {row} is {value}; it must lie between 0 and 1")]
    Number {
        /// Position of the row.
        row: usize,
        /// Its number.
        value: f64,
    },
    /// A probability that is none.
    #[error("the inclusion probability of row {row} is {value}; it must lie between 0 and 1")]
    Probability {
        /// Position of the row.
        row: usize,
        /// Its probability.
        value: f64,
    },
    /// A size that is none.
    #[error("the size of row {row} is {value}; sizes must be finite and not negative: fill or filter them first")]
    Size {
        /// Position of the row.
        row: usize,
        /// Its size.
        value: f64,
    },
    /// A draw of nobody.
    #[error("the sample size is 0; raise `sample`")]
    Empty,
    /// A draw of more than there are.
    #[error("{sample} rows are to be drawn but only {rows} can be; lower `sample` or widen the eligibility rules")]
    TooMany {
        /// Rows asked for.
        sample: u64,
        /// Rows there are (with a size above 0 where sizes matter).
        rows: u64,
    },
    /// Probabilities that do not sum to a whole number.
    #[error(
        "the inclusion probabilities sum to {sum}, but {method} draws a fixed number of rows: they must sum to a whole number"
    )]
    NotWhole {
        /// Their sum.
        sum: f64,
        /// The method.
        method: &'static str,
    },
    /// A stratum too large for an exact method.
    #[error("{method} of {sample} out of {rows} rows is too large ({cells} steps, at most {cells_max}); use pareto instead")]
    TooLarge {
        /// The method.
        method: &'static str,
        /// Rows to draw.
        sample: usize,
        /// Rows there are.
        rows: usize,
        /// Rows times sample.
        cells: usize,
        /// The most that is allowed.
        cells_max: usize,
    },
    /// A rate outside its range.
    #[error("the {what} is {value}; {wanted}")]
    Rate {
        /// Which rate.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it must be.
        wanted: &'static str,
    },
    /// More replicates than rows.
    #[error("{rows} rows cannot be cut into {replicates} replicates; ask for at least 1 and at most {rows}")]
    Replicates {
        /// Rows drawn.
        rows: usize,
        /// Replicates asked for.
        replicates: usize,
    },
}

impl Error {
    /// Who has to act.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Number { .. } | Error::Probability { .. } | Error::NotWhole { .. } => Kind::Internal,
            Error::Size { .. } | Error::TooMany { .. } => Kind::Contract,
            _ => Kind::Invalid,
        }
    }
}
