//! Why strata could not be allocated. Never a bare number: every refusal names the stratum and what was asked of it.

use crate::Kind;

/// Why [`super::allot`] gave no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing to allocate to.
    #[error("there are no strata to allocate to; check the eligibility rules")]
    NoStrata,
    /// One label twice.
    #[error("stratum `{stratum}` is there twice; give every stratum one row")]
    Duplicate {
        /// Its label.
        stratum: String,
    },
    /// A number the method needs.
    #[error("stratum `{stratum}` has no {what}, which `{method}` allocation needs; give one for every stratum or choose another")]
    Missing {
        /// Its label.
        stratum: String,
        /// What is missing.
        what: &'static str,
        /// The method.
        method: &'static str,
    },
    /// A number outside its range.
    #[error("the {what} of stratum `{stratum}` is {value}; {wanted}")]
    Value {
        /// Its label.
        stratum: String,
        /// Which number.
        what: &'static str,
        /// What was given.
        value: f64,
        /// What it must be.
        wanted: &'static str,
    },
    /// A minimum above the maximum.
    #[error("stratum `{stratum}` has a minimum of {min} above its maximum of {max}; lower `min` or raise `max`")]
    Bounds {
        /// Its label.
        stratum: String,
        /// Its minimum.
        min: u64,
        /// Its maximum.
        max: u64,
    },
    /// More asked of a stratum than it has.
    #[error("stratum `{stratum}` must give at least {wanted} rows but has {capacity}; lower its number or merge it with another")]
    Capacity {
        /// Its label.
        stratum: String,
        /// The rows asked for.
        wanted: u64,
        /// The rows there are.
        capacity: u64,
    },
    /// The minima alone need more than the sample.
    #[error(
        "the minima of the strata need {minima} rows but the sample is {sample} \
         (the largest: {min} in stratum `{stratum}`); raise `sample` or lower the minima"
    )]
    Minima {
        /// The stratum with the largest minimum.
        stratum: String,
        /// That minimum.
        min: u64,
        /// Sum of the minima.
        minima: u64,
        /// The sample size.
        sample: u64,
    },
    /// The minima alone cost more than the budget.
    #[error(
        "the minima of the strata cost {minima} but the budget is {budget} \
         (the dearest: {cost} in stratum `{stratum}`); raise `budget` or lower the minima"
    )]
    Budget {
        /// The stratum with the dearest minimum.
        stratum: String,
        /// What that minimum costs.
        cost: f64,
        /// What all minima cost.
        minima: f64,
        /// The budget.
        budget: f64,
    },
    /// A precision that even the largest sample misses.
    #[error(
        "a standard error of {wanted} cannot be reached: with every stratum at its most it is {best}, \
         most of it from stratum `{stratum}` with {rows} rows; raise its maximum or allow a larger standard error"
    )]
    Precision {
        /// The standard error asked for.
        wanted: f64,
        /// The least that can be had.
        best: f64,
        /// The stratum that adds most to it.
        stratum: String,
        /// Its rows at most.
        rows: u64,
    },
    /// A parameter outside its range.
    #[error("`{name}` is {value}; {wanted}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What it must be.
        wanted: &'static str,
    },
}

impl Error {
    /// Who has to act.
    pub fn kind(&self) -> Kind {
        match self {
            Error::NoStrata | Error::Missing { .. } | Error::Value { .. } => Kind::Contract,
            Error::Duplicate { .. } => Kind::Internal,
            _ => Kind::Invalid,
        }
    }
}
