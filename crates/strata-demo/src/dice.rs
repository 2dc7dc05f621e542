//! Draws as a keyed hash: which number comes out depends on (seed, table, row, salt) and on nothing else.
//! Never holds a state that moves, so the order of calls does not matter.

/// What a draw belongs to, so that rows of different tables with the same number do not resemble each other.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Table {
    Product = 1,
    Store,
    Postal,
    Person,
    Day,
    Order,
    Visit,
    Survey,
    Contact,
}

/// The draws of one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dice {
    key: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64, table: Table, row: u64) -> Self {
        let key = mix(seed.wrapping_add(STEP));
        Self { key: mix(mix(key ^ (table as u64).wrapping_mul(STEP)).wrapping_add(row.wrapping_mul(STEP))) }
    }

    /// The draws of a part of the row: a line of an order, an event of a visit.
    pub(crate) fn part(self, n: u64) -> Self {
        Self { key: mix(self.key ^ mix(n.wrapping_add(STEP))) }
    }

    pub(crate) fn bits(self, salt: u64) -> u64 {
        mix(self.key.wrapping_add(salt.wrapping_mul(STEP)))
    }

    /// Evenly in [0, 1), a multiple of 2⁻⁵³.
    pub(crate) fn unit(self, salt: u64) -> f64 {
        (self.bits(salt) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Evenly in 0..n.
    pub(crate) fn below(self, salt: u64, n: u64) -> u64 {
        ((u128::from(self.bits(salt)) * u128::from(n)) >> 64) as u64
    }

    /// Evenly in from..to.
    pub(crate) fn between(self, salt: u64, from: i64, to: i64) -> i64 {
        from + self.below(salt, (to - from).max(1) as u64) as i64
    }

    pub(crate) fn chance(self, salt: u64, p: f64) -> bool {
        self.unit(salt) < p
    }

    pub(crate) fn pick<T: Copy>(self, salt: u64, from: &[T]) -> T {
        from[self.below(salt, from.len() as u64) as usize]
    }

    /// Around 0, between −1 and 1, most of it near 0: the sum of three even draws. Uses salts `salt` to `salt + 2`.
    pub(crate) fn bell(self, salt: u64) -> f64 {
        (self.unit(salt) + self.unit(salt + 1) + self.unit(salt + 2)) / 1.5 - 1.0
    }

    /// Number of successes before the first failure, at most `max`: the mean is about p / (1 − p).
    pub(crate) fn streak(self, salt: u64, p: f64, max: u64) -> u64 {
        let part = self.part(salt);
        (0..max).take_while(|n| part.chance(*n, p)).count() as u64
    }
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64 (Steele, Lea & Flood 2014): a bijection in which every input bit moves every output bit.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_and_independent_of_neighbours() {
        let mut sum = 0.0;
        let mut both = 0;
        for row in 0..20_000 {
            let dice = Dice::new(7, Table::Order, row);
            sum += dice.unit(1);
            both += u32::from(dice.chance(1, 0.5) && Dice::new(7, Table::Order, row + 1).chance(1, 0.5));
            assert!(dice.below(2, 7) < 7);
        }
        assert!((sum / 20_000.0 - 0.5).abs() < 0.01, "{sum}");
        assert!((4700..5300).contains(&both), "{both}");
    }

    #[test]
    fn seed_table_row_and_salt_all_matter() {
        let base = Dice::new(1, Table::Store, 2).bits(3);
        assert_ne!(base, Dice::new(2, Table::Store, 2).bits(3));
        assert_ne!(base, Dice::new(1, Table::Postal, 2).bits(3));
        assert_ne!(base, Dice::new(1, Table::Store, 3).bits(3));
        assert_ne!(base, Dice::new(1, Table::Store, 2).bits(4));
        assert_ne!(base, Dice::new(1, Table::Store, 2).part(0).bits(3));
    }

    /// The first output of SplitMix64 from state 0, as published with the generator.
    #[test]
    fn the_mixer_is_splitmix64() {
        assert_eq!(mix(STEP), 0xe220_a839_7b1d_cdaf);
    }
}
