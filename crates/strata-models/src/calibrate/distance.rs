//! How far a weight is from its base weight: the functions F of Deville & Särndal. They never look at totals.

use serde::{Deserialize, Serialize};

/// The distance that calibrated weights keep small, by its function F: ratio = F(x·λ), F(0) = F′(0) = 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// F = 1 + u: the generalised regression estimator. Weights can be negative without limits.
    Linear,
    /// F = e^u: weights stay positive; with dummy measures this is raking.
    Raking,
    /// F = (L(U − 1) + U(1 − L)e^{Au}) / (U − 1 + (1 − L)e^{Au}), A = (U − L)/((1 − L)(U − 1)): strictly between L and U.
    Logit,
}

impl Distance {
    pub(super) fn name(self) -> &'static str {
        match self {
            Distance::Linear => "linear",
            Distance::Raking => "raking",
            Distance::Logit => "logit",
        }
    }

    /// F(u) cut at the bounds.
    pub(super) fn ratio(self, u: f64, (low, high): (f64, f64)) -> f64 {
        match self {
            Distance::Linear => (1.0 + u).clamp(low, high),
            Distance::Raking => u.exp().clamp(low, high),
            Distance::Logit => {
                // e^{Au} as a share, so that neither end overflows.
                let share = logit_share(u, low, high);
                low + (high - low) * share
            }
        }
    }

    /// F′(u); 0 where F is cut.
    pub(super) fn slope(self, u: f64, (low, high): (f64, f64)) -> f64 {
        let inside = |ratio: f64, slope: f64| if ratio > low && ratio < high { slope } else { 0.0 };
        match self {
            Distance::Linear => inside(1.0 + u, 1.0),
            Distance::Raking => inside(u.exp(), u.exp()),
            Distance::Logit => {
                let share = logit_share(u, low, high);
                let a = (high - low) / ((1.0 - low) * (high - 1.0));
                (high - low) * a * share * (1.0 - share)
            }
        }
    }

    /// The integral of F from 0 to u.
    pub(super) fn integral(self, u: f64, (low, high): (f64, f64)) -> f64 {
        // Where F is cut at `at`, it goes on as a straight line.
        let cut = |inner: &dyn Fn(f64) -> f64, from: f64, to: f64| {
            let at = u.clamp(from, to);
            inner(at)
                + if u > at {
                    high * (u - at)
                } else if u < at {
                    low * (u - at)
                } else {
                    0.0
                }
        };
        match self {
            Distance::Linear => cut(&|u| u + u * u / 2.0, low - 1.0, high - 1.0),
            Distance::Raking => cut(&|u| u.exp() - 1.0, low.ln(), high.ln()),
            Distance::Logit => {
                let a = (high - low) / ((1.0 - low) * (high - 1.0));
                let (rest, start) = (high - 1.0, 1.0 - low);
                // ln((rest + start·e^{Au})/(rest + start)), without overflow.
                let log = if a * u > 0.0 {
                    a * u + ((rest * (-a * u).exp() + start) / (rest + start)).ln()
                } else {
                    ((rest + start * (a * u).exp()) / (rest + start)).ln()
                };
                low * u + (high - low) / a * log
            }
        }
    }
}

/// (1 − L)e^{Au} / (U − 1 + (1 − L)e^{Au}).
fn logit_share(u: f64, low: f64, high: f64) -> f64 {
    let a = (high - low) / ((1.0 - low) * (high - 1.0));
    1.0 / (1.0 + (high - 1.0) / (1.0 - low) * (-a * u).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(Distance, (f64, f64)); 5] = [
        (Distance::Linear, (f64::NEG_INFINITY, f64::INFINITY)),
        (Distance::Linear, (0.5, 1.7)),
        (Distance::Raking, (0.0, f64::INFINITY)),
        (Distance::Raking, (0.6, 1.9)),
        (Distance::Logit, (0.4, 2.5)),
    ];

    #[test]
    fn all_start_at_one_with_slope_one() {
        for (distance, bounds) in ALL {
            assert!((distance.ratio(0.0, bounds) - 1.0).abs() < 1e-15, "{distance:?}");
            assert!((distance.slope(0.0, bounds) - 1.0).abs() < 1e-15, "{distance:?}");
            assert_eq!(distance.integral(0.0, bounds), 0.0);
        }
        assert_eq!(Distance::Linear.ratio(9.0, (0.5, 1.7)), 1.7);
        assert_eq!(Distance::Raking.ratio(-9.0, (0.6, 1.9)), 0.6);
        assert_eq!(Distance::Raking.slope(9.0, (0.6, 1.9)), 0.0);
        assert!(Distance::Logit.ratio(1e6, (0.4, 2.5)) <= 2.5 && Distance::Logit.ratio(-1e6, (0.4, 2.5)) >= 0.4);
    }

    #[test]
    fn slopes_and_integrals_fit_the_ratios() {
        let step = 1e-5;
        for (distance, bounds) in ALL {
            for u in [-2.0, -0.7, -0.3, 0.1, 0.45, 0.8, 1.5] {
                let rise = (distance.ratio(u + step, bounds) - distance.ratio(u - step, bounds)) / (2.0 * step);
                assert!((rise - distance.slope(u, bounds)).abs() < 1e-6, "{distance:?} {u}");
                let area = (distance.integral(u + step, bounds) - distance.integral(u - step, bounds)) / (2.0 * step);
                assert!((area - distance.ratio(u, bounds)).abs() < 1e-6, "{distance:?} {u}");
            }
        }
    }
}
