//! The rules by which strata share a sample: one weight a stratum. It never looks at bounds or at the sample size.

use serde::{Deserialize, Serialize};

use super::Error;

/// One stratum: what is known of it and what is asked of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stratum {
    /// Its label, once only; ties go to the label that sorts first.
    pub label: String,
    /// N_h, its eligible rows.
    pub size: u64,
    /// Rows that can be had of them, ≤ N_h; none if all can.
    pub capacity: Option<u64>,
    /// At least so many rows.
    pub min: u64,
    /// At most so many rows.
    pub max: Option<u64>,
    /// S_h, the standard deviation of the measure, ≥ 0.
    pub spread: Option<f64>,
    /// The mean of the measure, not 0.
    pub mean: Option<f64>,
    /// X_h, the total of the size measure, ≥ 0; none if it is N_h times the mean.
    pub measure: Option<f64>,
    /// c_h, the cost of a row, above 0; none if it is 1.
    pub cost: Option<f64>,
    /// The rows it gets under [`Method::Fixed`].
    pub fixed: Option<u64>,
    /// The order in which strata take more than their maximum under [`super::Shortage::Priority`]: lower first.
    pub priority: u32,
}

impl Stratum {
    /// Rows it can give.
    pub(super) fn ceiling(&self) -> u64 {
        self.capacity.map_or(self.size, |capacity| capacity.min(self.size))
    }

    /// Rows it may give.
    pub(super) fn upper(&self) -> u64 {
        self.max.map_or(self.ceiling(), |max| max.min(self.ceiling()))
    }

    pub(super) fn cost(&self) -> f64 {
        self.cost.unwrap_or(1.0)
    }

    fn refused(&self, what: &'static str, value: f64, wanted: &'static str) -> Error {
        Error::Value { stratum: self.label.clone(), what, value, wanted }
    }

    /// A number that must be there and not be negative.
    fn needed(&self, value: Option<f64>, what: &'static str, method: &'static str) -> Result<f64, Error> {
        let value = value.ok_or_else(|| Error::Missing { stratum: self.label.clone(), what, method })?;
        if value.is_finite() && value >= 0.0 {
            return Ok(value);
        }
        Err(self.refused(what, value, "it must be finite and not negative"))
    }

    pub(super) fn spread(&self, method: &'static str) -> Result<f64, Error> {
        self.needed(self.spread, "spread", method)
    }

    /// The coefficient of variation S_h/|mean|.
    fn variation(&self, method: &'static str) -> Result<f64, Error> {
        let mean = self.mean.ok_or_else(|| Error::Missing { stratum: self.label.clone(), what: "mean", method })?;
        if !mean.is_finite() || mean == 0.0 {
            return Err(self.refused("mean", mean, "it must be finite and not 0"));
        }
        Ok(self.spread(method)? / mean.abs())
    }

    /// X_h. A stratum of nobody has none and needs none.
    fn measure(&self, method: &'static str) -> Result<f64, Error> {
        let measure = self.measure.or_else(|| self.mean.map(|mean| self.size as f64 * mean));
        self.needed(measure, "size measure", method)
    }
}

/// What the sample is shared out by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The same for every stratum that has rows.
    Equal,
    /// ∝ N_h.
    Proportional,
    /// ∝ N_h^exponent; 0 is equal, ½ the square root, 1 proportional.
    Power {
        /// p, finite and ≥ 0.
        exponent: f64,
    },
    /// ∝ N_h·S_h: the least variance for a number of rows. Source: Neyman 1934.
    Neyman,
    /// ∝ N_h·S_h/√c_h: the least variance for a cost. Source: Cochran 1977, 5.5.
    Optimal,
    /// ∝ X_h^exponent·S_h/|mean_h|: between precise strata and a precise total. Source: Bankier 1988.
    Bankier {
        /// q, between 0 and 1.
        exponent: f64,
    },
    /// ∝ √(I²·W_h² + 1/H²), W_h = N_h/N: between equal (I = 0) and proportional (I → ∞). Source: Kish 1988.
    Kish {
        /// I, how much the whole matters against the strata; ≥ 0.
        importance: f64,
    },
    /// The number each stratum states.
    Fixed,
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Method::Equal => "equal",
            Method::Proportional => "proportional",
            Method::Power { .. } => "power",
            Method::Neyman => "neyman",
            Method::Optimal => "optimal",
            Method::Bankier { .. } => "bankier",
            Method::Kish { .. } => "kish",
            Method::Fixed => "fixed",
        }
    }

    /// The weight of each stratum, ≥ 0 and finite; 0 for a stratum that can give no rows.
    ///
    /// Errors: `Missing` or `Value` for a number the method needs of a stratum with rows, `Parameter`.
    pub fn weights(self, strata: &[Stratum]) -> Result<Vec<f64>, Error> {
        self.check()?;
        let occupied = strata.iter().filter(|stratum| stratum.ceiling() > 0).count() as f64;
        let total: f64 = strata.iter().map(|stratum| stratum.size as f64).sum();
        strata
            .iter()
            .map(|stratum| {
                if stratum.ceiling() == 0 {
                    return Ok(0.0);
                }
                let weight = self.weight(stratum, occupied, total)?;
                if weight.is_finite() {
                    return Ok(weight);
                }
                Err(stratum.refused("share", weight, "its size, spread, mean and cost are too far apart"))
            })
            .collect()
    }

    fn weight(self, stratum: &Stratum, occupied: f64, total: f64) -> Result<f64, Error> {
        let (size, name) = (stratum.size as f64, self.name());
        Ok(match self {
            Method::Equal => 1.0,
            Method::Proportional => size,
            Method::Power { exponent } => size.powf(exponent),
            Method::Neyman => size * stratum.spread(name)?,
            Method::Optimal => {
                stratum.needed(stratum.cost, "cost", name)?;
                size * stratum.spread(name)? / stratum.cost().sqrt()
            }
            Method::Bankier { exponent } => stratum.measure(name)?.powf(exponent) * stratum.variation(name)?,
            Method::Kish { importance } => (importance * size / total).hypot(1.0 / occupied),
            Method::Fixed => {
                let fixed = stratum.fixed;
                fixed.ok_or_else(|| Error::Missing { stratum: stratum.label.clone(), what: "number", method: name })? as f64
            }
        })
    }

    fn check(self) -> Result<(), Error> {
        let (name, value, is_good) = match self {
            Method::Power { exponent } => ("exponent", exponent, exponent >= 0.0 && exponent.is_finite()),
            Method::Bankier { exponent } => ("exponent", exponent, (0.0..=1.0).contains(&exponent)),
            Method::Kish { importance } => ("importance", importance, importance >= 0.0 && importance.is_finite()),
            _ => return Ok(()),
        };
        let wanted = if matches!(self, Method::Bankier { .. }) {
            "it must lie between 0 and 1"
        } else {
            "it must be finite and not negative"
        };
        if is_good { Ok(()) } else { Err(Error::Parameter { name, value, wanted }) }
    }
}
