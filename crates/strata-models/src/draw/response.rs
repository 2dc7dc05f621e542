//! How many invitations a number of completes takes, from response rates that lean on the whole panel where a stratum has
//! little history. It never rounds down.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::Result;

/// What becomes of invitations in a stratum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// Of those invited, the part that answers; above 0, at most 1.
    pub response: f64,
    /// Of those who answer, the part that is eligible (incidence); above 0, at most 1.
    pub incidence: f64,
    /// Of the eligible answers, the part that is rejected; at least 0, below 1.
    pub rejected: f64,
}

/// Invitations that are expected to give `completes`: ⌈n/(rr·ir·(1 − bad))⌉, at most `available`. A quotient within 1e-9,
/// relative, of a whole number counts as that number.
///
/// Errors: `Rate`.
pub fn invites(completes: u64, rates: &Response, available: u64) -> Result<u64> {
    for (what, value) in [("response rate", rates.response), ("incidence", rates.incidence)] {
        if !(value > 0.0 && value <= 1.0) {
            return Err(Error::Rate { what, value, wanted: "it must be above 0 and at most 1" }.into());
        }
    }
    if !(0.0..1.0).contains(&rates.rejected) {
        let (what, wanted) = ("rejected part", "it must be at least 0 and below 1");
        return Err(Error::Rate { what, value: rates.rejected, wanted }.into());
    }
    let needed = completes as f64 / (rates.response * rates.incidence * (1.0 - rates.rejected));
    let whole = needed.round();
    let rows = if (needed - whole).abs() <= 1e-9 * whole { whole } else { needed.ceil() };
    Ok(if rows >= available as f64 { available } else { rows as u64 })
}

/// The response rate of a stratum, shrunk toward that of the panel: (answers + base·panel)/(invited + base). The base is how
/// many invitations the panel's rate counts for; show it beside the rate.
///
/// Errors: `Rate` for a panel rate outside 0 to 1 or a base that is negative or not finite; `TooMany` if more answered than
/// were invited; `Empty` if neither history nor base is there.
pub fn response_rate(answers: u64, invited: u64, panel: f64, base: f64) -> Result<f64> {
    if !(0.0..=1.0).contains(&panel) {
        return Err(
            Error::Rate { what: "response rate of the panel", value: panel, wanted: "it must lie between 0 and 1" }.into()
        );
    }
    if !(base >= 0.0 && base.is_finite()) {
        let (what, wanted) = ("base of the response rate", "it must be finite and not negative");
        return Err(Error::Rate { what, value: base, wanted }.into());
    }
    if answers > invited {
        return Err(Error::TooMany { sample: answers, rows: invited }.into());
    }
    let known = invited as f64 + base;
    if known == 0.0 {
        return Err(Error::Empty.into());
    }
    Ok((answers as f64 + base * panel) / known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invitations_are_rounded_up_and_capped() -> Result<()> {
        let rates = Response { response: 0.4, incidence: 0.5, rejected: 0.1 };
        // 100/0.18 = 555.6.
        assert_eq!(invites(100, &rates, 10_000)?, 556);
        assert_eq!(invites(100, &rates, 500)?, 500);
        // 81/(0.9·0.9) is 100 but for rounding.
        let even = Response { response: 0.9, incidence: 0.9, rejected: 0.0 };
        assert_eq!(invites(81, &even, 10_000)?, 100);
        assert_eq!(invites(0, &even, 10)?, 0);
        assert_eq!(invites(u64::MAX, &rates, 7)?, 7);
        Ok(())
    }

    #[test]
    fn rates_outside_their_range_are_refused() {
        let rates = Response { response: 0.0, incidence: 0.5, rejected: 0.1 };
        let refused = |rates: &Response| invites(1, rates, 9).err();
        assert!(matches!(refused(&rates), Some(crate::Error::Draw(Error::Rate { what: "response rate", .. }))));
        assert!(refused(&Response { response: 1.1, ..rates }).is_some());
        assert!(refused(&Response { response: 0.5, incidence: f64::NAN, ..rates }).is_some());
        assert!(refused(&Response { response: 0.5, rejected: 1.0, ..rates }).is_some());
    }

    #[test]
    fn little_history_leans_on_the_panel() -> Result<()> {
        // 9 of 10 alone is 0.9; with a base of 50 at 0.3: 24/60.
        assert_eq!(response_rate(9, 10, 0.3, 50.0)?, 0.4);
        assert_eq!(response_rate(0, 0, 0.3, 50.0)?, 0.3);
        assert_eq!(response_rate(9, 10, 0.3, 0.0)?, 0.9);
        assert_eq!(response_rate(0, 0, 0.3, 0.0).err(), Some(Error::Empty.into()));
        assert_eq!(response_rate(2, 1, 0.3, 1.0).err(), Some(Error::TooMany { sample: 2, rows: 1 }.into()));
        assert!(response_rate(1, 2, 1.3, 1.0).is_err() && response_rate(1, 2, 0.3, -1.0).is_err());
        Ok(())
    }
}
