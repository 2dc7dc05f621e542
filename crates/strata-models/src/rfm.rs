//! Recency, frequency, monetary: the cell of three scores, and the name of a cell. It never scores anybody: scores are
//! equal groups ([`crate::ntile`]) or cuts.

use crate::{Error, Result};

/// The eleven names of `rfm@1`, best first.
pub const NAMES: [&str; 11] = [
    "Champions",
    "Loyal",
    "Potential loyalist",
    "New",
    "Promising",
    "Needs attention",
    "About to sleep",
    "Cannot lose",
    "At risk",
    "Hibernating",
    "Lost",
];

/// The three digits of the scores; `000` is a customer without a purchase. One digit each: scores above 9 are not RFM.
pub fn cell(r: u8, f: u8, m: u8) -> String {
    format!("{r}{f}{m}")
}

/// FM, the joint score of frequency and monetary value: ⌈(F + M)/2⌉.
pub fn fm(f: u8, m: u8) -> u8 {
    (u16::from(f) + u16::from(m)).div_ceil(2) as u8
}

/// The name of the cell (R, FM), both 1 to 5, 5 the best; none outside. All 25 cells have exactly one name.
pub fn name_of(r: u8, fm: u8) -> Option<&'static str> {
    let position = match (r, fm) {
        (5, 4 | 5) | (4, 5) => 0,
        (4, 4) | (3, 4 | 5) => 1,
        (4 | 5, 2 | 3) => 2,
        (5, 1) => 3,
        (4, 1) => 4,
        (3, 3) => 5,
        (3, 1 | 2) => 6,
        (1 | 2, 5) => 7,
        (1 | 2, 3 | 4) => 8,
        (2, 1 | 2) | (1, 2) => 9,
        (1, 1) => 10,
        _ => return None,
    };
    Some(NAMES[position])
}

/// The name of the scores. Errors: `Score` if one is outside 1 to 5.
pub fn name(r: u8, f: u8, m: u8) -> Result<&'static str> {
    let is_score = |score: u8| (1..=5).contains(&score);
    name_of(r, fm(f, m)).filter(|_| is_score(f) && is_score(m)).ok_or(Error::Score { r, f, m })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the specification, as it is written there.
    const TABLE: &str = "Champions 55 54 45 · Loyal 44 35 34 · Potential loyalist 53 52 43 42 · New 51 · Promising 41 · \
        Needs attention 33 · About to sleep 32 31 · Cannot lose 25 15 · At risk 24 23 14 13 · Hibernating 22 21 12 · Lost 11";

    #[test]
    fn all_25_cells_have_the_name_of_the_table() {
        let mut seen = Vec::new();
        for (row, entry) in TABLE.split(" · ").enumerate() {
            let digits = entry.find(|c: char| c.is_ascii_digit()).unwrap();
            let (name, cells) = entry.split_at(digits);
            assert_eq!(NAMES[row], name.trim());
            for cell in cells.split(' ') {
                let (r, fm) = (cell.as_bytes()[0] - b'0', cell.as_bytes()[1] - b'0');
                assert_eq!(name_of(r, fm), Some(name.trim()), "{cell}");
                seen.push((r, fm));
            }
        }
        seen.sort_unstable();
        let all: Vec<_> = (1..=5).flat_map(|r| (1..=5).map(move |fm| (r, fm))).collect();
        assert_eq!(seen, all);
    }

    #[test]
    fn the_highest_score_is_the_best_customer() {
        assert_eq!(name(5, 5, 5), Ok("Champions"));
        assert_eq!(name(1, 1, 1), Ok("Lost"));
        assert_eq!(name(1, 5, 5), Ok("Cannot lose"));
        // ⌈(1 + 2)/2⌉ = 2.
        assert_eq!(name(4, 1, 2), Ok("Potential loyalist"));
    }

    #[test]
    fn scores_outside_are_errors() {
        for (r, f, m) in [(0, 1, 1), (6, 1, 1), (1, 0, 2), (1, 6, 4), (1, 4, 6)] {
            assert_eq!(name(r, f, m), Err(Error::Score { r, f, m }));
        }
        assert_eq!(cell(0, 0, 0), "000");
        assert_eq!(cell(5, 1, 3), "513");
    }
}
