//! Weights before and after calibration: base weights, adjustment for those who did not answer, trimming. It never loses
//! weight without saying so.

mod error;
mod nonresponse;
mod propensity;
mod trim;

pub use error::Error;
pub use nonresponse::{Adjusted, Adjustment, Collapse, Options, ResponseCell, Unknown, adjust};
pub use propensity::{Propensities, propensities};
pub use trim::{Cut, Excess, Trimmed, trim};

use crate::Result;

/// The base weight of a row: 1 over the product of its conditional inclusion probabilities, one a stage or wave. ≥ 1.
///
/// Errors: `Probability` if one is not above 0 and at most 1.
///
/// Source: Horvitz & Thompson 1952.
pub fn base_weight(probabilities: &[f64]) -> Result<f64> {
    if let Some(stage) = probabilities.iter().position(|p| !(*p > 0.0 && *p <= 1.0)) {
        return Err(Error::Probability { stage, value: probabilities[stage] }.into());
    }
    Ok(1.0 / probabilities.iter().product::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_multiply() -> Result<()> {
        assert_eq!((base_weight(&[0.5, 0.25])?, base_weight(&[1.0])?, base_weight(&[])?), (8.0, 1.0, 1.0));
        assert_eq!(base_weight(&[0.5, 0.0]).err(), Some(Error::Probability { stage: 1, value: 0.0 }.into()));
        assert!(base_weight(&[1.5]).is_err() && base_weight(&[f64::NAN]).is_err());
        Ok(())
    }
}
