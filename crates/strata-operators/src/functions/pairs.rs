//! A set of (group, number) pairs of 32 bits each, eight bytes a pair in one flat table. Never holds what is counted.

/// A slot that holds no pair: no number is `u32::MAX`.
const EMPTY: u64 = u64::MAX;
/// Slots at first.
const SLOTS_MIN: usize = 1_024;
/// From so many slots on a table grows to twice its size, not to four times.
const SLOTS_LARGE: usize = 1 << 16;
/// Pairs whose slots are looked at before the first of them is added: none of these looks waits for another.
pub(super) const AHEAD: usize = 32;

/// Open addressing, at most half full. INVARIANT: `slots` is empty or has a power of two of slots.
#[derive(Default)]
pub(super) struct Pairs {
    slots: Vec<u64>,
    len: usize,
}

impl Pairs {
    /// Numbers below it are kept.
    pub(super) const NUMBERS: usize = u32::MAX as usize;

    /// How many it holds.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that it holds.
    pub(super) fn size(&self) -> usize {
        self.slots.capacity() * size_of::<u64>()
    }

    /// Makes room for so many pairs, before the first.
    pub(super) fn expect(&mut self, pairs: usize) {
        if self.len == 0 && pairs > 0 {
            self.slots = vec![EMPTY; (pairs * 2 + 2).next_power_of_two().max(SLOTS_MIN)];
        }
    }

    /// Adds a pair; whether it was not there.
    #[inline]
    pub(super) fn add(&mut self, group: u32, number: u32) -> bool {
        if self.len * 2 >= self.slots.len() {
            self.grow();
        }
        let pair = Self::pair(group, number);
        self.add_from(slot(pair, self.slots.len()), pair)
    }

    /// A pair as it is held.
    #[inline]
    pub(super) fn pair(group: u32, number: u32) -> u64 {
        u64::from(group) << 32 | u64::from(number)
    }

    /// Adds up to [`AHEAD`] pairs, and tells of each that was not there.
    #[inline]
    pub(super) fn add_all(&mut self, pairs: &[u64], mut is_new: impl FnMut(u64)) {
        while (self.len + pairs.len()) * 2 > self.slots.len() {
            self.grow();
        }
        let mut near = [(0, EMPTY); AHEAD];
        for (near, pair) in near.iter_mut().zip(pairs) {
            let at = slot(*pair, self.slots.len());
            *near = (at, self.slots[at]);
        }
        for ((at, found), pair) in near.into_iter().zip(pairs) {
            if found != *pair && self.add_from(at, *pair) {
                is_new(*pair);
            }
        }
    }

    /// Adds a pair whose first slot is known, where there is room; whether it was not there.
    #[inline]
    fn add_from(&mut self, mut slot: usize, pair: u64) -> bool {
        loop {
            match self.slots[slot] {
                EMPTY => break,
                found if found == pair => return false,
                _ => slot = (slot + 1) & (self.slots.len() - 1),
            }
        }
        self.slots[slot] = pair;
        self.len += 1;
        true
    }

    /// Every (group, number), in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.slots.iter().filter(|pair| **pair != EMPTY).map(|pair| ((pair >> 32) as u32, *pair as u32))
    }

    /// Lets go of pairs of other groups.
    pub(super) fn retain(&mut self, keeps: impl Fn(u32) -> bool) {
        let all = std::mem::take(self);
        for (group, number) in all.iter().filter(|(group, _)| keeps(*group)) {
            self.add(group, number);
        }
    }

    fn grow(&mut self) {
        let slots = match self.slots.len() {
            0 => SLOTS_MIN,
            n if n < SLOTS_LARGE => n * 4,
            n => n * 2,
        };
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; slots]);
        for pair in old.into_iter().filter(|pair| *pair != EMPTY) {
            let mut slot = slot(pair, slots);
            while self.slots[slot] != EMPTY {
                slot = (slot + 1) & (slots - 1);
            }
            self.slots[slot] = pair;
        }
    }
}

/// The first slot of a pair: the upper bits of a product of what was mixed once before.
#[inline]
fn slot(pair: u64, slots: usize) -> usize {
    let mixed = (pair ^ (pair >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed >> (u64::BITS - slots.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn pairs_are_held_once(
            pairs in prop::collection::vec((prop::sample::select(vec![0, 1, 2, u32::MAX]), 0_u32..3_000), 0..6_000),
            kept in any::<u32>(),
            expected in 0_usize..3_000,
        ) {
            let (mut ours, mut theirs) = (Pairs::default(), BTreeSet::new());
            ours.expect(expected);
            let (one_by_one, rest) = pairs.split_at(pairs.len() / 3);
            for (group, number) in one_by_one {
                prop_assert_eq!(ours.add(*group, *number), theirs.insert((*group, *number)));
            }
            for some in rest.chunks(AHEAD) {
                let (held, mut new) = (some.iter().map(|(g, n)| Pairs::pair(*g, *n)).collect::<Vec<_>>(), vec![]);
                ours.add_all(&held, |pair| new.push(pair));
                let expected = some.iter().filter(|pair| theirs.insert(**pair)).map(|(g, n)| Pairs::pair(*g, *n));
                prop_assert_eq!(new, expected.collect::<Vec<_>>());
            }
            prop_assert_eq!(ours.len(), theirs.len());
            prop_assert_eq!(ours.iter().collect::<BTreeSet<_>>(), theirs.clone());
            ours.retain(|group| group == kept % 3);
            theirs.retain(|(group, _)| *group == kept % 3);
            prop_assert_eq!(ours.len(), theirs.len());
            prop_assert_eq!(ours.iter().collect::<BTreeSet<_>>(), theirs);
        }
    }

    #[test]
    fn numbers_in_a_row_lie_apart() {
        let mut pairs = Pairs::default();
        for group in 0..300 {
            (0..300).for_each(|number| assert!(pairs.add(group, number)));
        }
        // The longest way from a pair's first slot to where it lies.
        let slots = pairs.slots.len();
        let far = pairs.slots.iter().enumerate().filter(|(_, pair)| **pair != EMPTY);
        let far = far.map(|(at, pair)| at.wrapping_sub(slot(*pair, slots)) & (slots - 1)).max();
        assert!(far.is_some_and(|far| far < 64), "{far:?} of {slots}");
    }
}
