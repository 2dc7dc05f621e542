//! Standard scaling of features. It never sees more of the data than their moments.

use serde::{Deserialize, Serialize};

use crate::{Error, Result, exact::Moments};

/// x ↦ (x − mean) / deviation, 0 where the deviation is 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// Mean of each feature.
    pub means: Vec<f64>,
    /// Population standard deviation of each feature.
    pub deviations: Vec<f64>,
}

impl Scaling {
    /// From the moments of each feature. Errors: `Feature` if a mean or deviation is not finite (a NaN or infinity
    /// among the values, or values beyond 1e153), `NoRows` if there are no values.
    pub fn from_moments(moments: &[Moments]) -> Result<Self> {
        let mut scaling = Scaling { means: Vec::new(), deviations: Vec::new() };
        for (feature, moments) in moments.iter().enumerate() {
            let (Some(mean), Some(variance)) = (moments.mean(), moments.variance_population()) else {
                return Err(Error::NoRows);
            };
            if let Some(&value) = [mean, variance].iter().find(|x| !x.is_finite()) {
                return Err(Error::Feature { point: 0, feature, value });
            }
            scaling.means.push(mean);
            scaling.deviations.push(variance.sqrt());
        }
        Ok(scaling)
    }

    /// The scaled value of one feature.
    #[inline]
    pub fn apply(&self, feature: usize, x: f64) -> f64 {
        let deviation = self.deviations[feature];
        if deviation == 0.0 { 0.0 } else { (x - self.means[feature]) / deviation }
    }

    /// Scales a point in place; its length is the number of features.
    #[inline]
    pub fn apply_all(&self, point: &mut [f64]) {
        for (feature, x) in point.iter_mut().enumerate() {
            *x = self.apply(feature, *x);
        }
    }
}
