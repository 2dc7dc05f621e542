//! Why weights could not be calibrated. Never only "did not converge" where nothing could: then it gives the least miss.

use crate::Kind;

/// Why [`super::calibrate`] gave no weights.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing to calibrate to.
    #[error("calibration needs at least one total; add one to `calibrate`")]
    NoTotals,
    /// A total that is no number.
    #[error("the total of `{total}` is {value}; totals must be finite")]
    Total {
        /// The measure.
        total: String,
        /// Its total.
        value: f64,
    },
    /// A measure that is no number.
    #[error("`{total}` is {value} in row {row}; measures must be finite: fill or filter nulls first")]
    Measure {
        /// The measure.
        total: String,
        /// Position of the row.
        row: usize,
        /// Its value there.
        value: f64,
    },
    /// A measure no row has.
    #[error("`{total}` is 0 in every row, so no weights can meet its total; leave it out or merge the level with another")]
    Absent {
        /// The measure.
        total: String,
    },
    /// A measure that says nothing new.
    #[error(
        "`{total}` is a combination of {on}; leave one of them out (of a variable with levels, one level is always left out)"
    )]
    Collinear {
        /// The measure.
        total: String,
        /// Those it is a combination of, in backticks.
        on: String,
    },
    /// Ratio limits that exclude the base weight.
    #[error(
        "the ratio limits {ratio_min} and {ratio_max} do not fit `{distance}`: 1 must lie between them \
         (strictly, and both finite and not negative, for `logit`)"
    )]
    Limits {
        /// The least ratio.
        ratio_min: f64,
        /// The greatest ratio.
        ratio_max: f64,
        /// The distance.
        distance: &'static str,
    },
    /// Weight limits with the logit distance.
    #[error("limits on weights do not go with `logit`, whose limits are ratios; use `raking` or `linear`")]
    LogitWeights,
    /// Limits that leave a row no weight.
    #[error(
        "row {row}, base weight {weight}, has no weight within both the ratio limits and the weight limits {min} to {max}; \
         widen them"
    )]
    WeightLimits {
        /// Position of the row.
        row: usize,
        /// Its base weight.
        weight: f64,
        /// The least weight.
        min: f64,
        /// The greatest weight.
        max: f64,
    },
    /// Totals that nothing within the limits meets.
    #[error(
        "no weights within the limits meet the totals: at best the worst of them, `{total}`, is {achieved} \
         for {value} ({relative:.2e} off); widen the limits or leave a total out"
    )]
    Infeasible {
        /// The measure with the greatest relative miss.
        total: String,
        /// Its total.
        value: f64,
        /// What comes nearest.
        achieved: f64,
        /// The least possible greatest relative miss.
        relative: f64,
    },
    /// Totals that only the very limits meet.
    #[error(
        "calibration did not converge in {iterations} steps: `{total}` is still {relative:.2e} off, though weights at the limits \
         meet all totals; widen the limits, raise `max_iterations` or use `linear`"
    )]
    NotConverged {
        /// Steps made.
        iterations: u32,
        /// The measure with the greatest relative miss.
        total: String,
        /// That miss.
        relative: f64,
    },
}

impl Error {
    /// Who has to act.
    pub fn kind(&self) -> Kind {
        match self {
            Error::NoTotals | Error::Total { .. } | Error::Limits { .. } | Error::LogitWeights => Kind::Invalid,
            _ => Kind::Contract,
        }
    }
}
