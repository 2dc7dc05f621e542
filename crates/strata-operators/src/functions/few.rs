//! What was seen per (group, small number): a bit each, and a counter each where counts are kept, side by side in one line of the cache. Never
//! holds other numbers.

use super::tally::Count;

/// Per group, which of the first numbers it has seen, and how often.
pub(super) struct Few<C> {
    /// Bit `i`: the group has seen `i`. As long as the groups that were there when a number was last added.
    seen: Vec<u64>,
    /// Of group `g`: from `g * NUMBERS` on.
    counts: Vec<C>,
}

impl<C: Count> Few<C> {
    /// Numbers below it are kept: 64 where a bit says all, 8 where each has a counter.
    pub(super) const NUMBERS: usize = if size_of::<C>() == 0 { 64 } else { 8 };

    pub(super) fn new() -> Self {
        Self { seen: Vec::new(), counts: Vec::new() }
    }

    /// Adds to one of `groups` groups; whether the group had not seen the number.
    #[inline]
    pub(super) fn add(&mut self, groups: usize, group: usize, number: usize, count: C) -> bool {
        if self.seen.len() < groups {
            self.seen.resize(groups, 0);
            self.counts.resize(groups * Self::NUMBERS, C::default());
        }
        self.counts[group * Self::NUMBERS + number].add(count);
        let is_first = self.seen[group] >> number & 1 == 0;
        self.seen[group] |= 1 << number;
        is_first
    }

    /// Every (group, number, count) of the first `n` groups.
    pub(super) fn first(&self, n: usize) -> impl Iterator<Item = (usize, usize, C)> {
        let groups = 0..n.min(self.seen.len());
        groups.flat_map(move |group| {
            let numbers = (0..Self::NUMBERS).filter(move |number| self.seen[group] >> number & 1 == 1);
            numbers.map(move |number| (group, number, self.counts[group * Self::NUMBERS + number]))
        })
    }

    /// How many it holds.
    pub(super) fn len(&self) -> usize {
        self.seen.iter().map(|seen| seen.count_ones() as usize).sum()
    }

    /// Lets go of the first `n` groups.
    pub(super) fn forget(&mut self, n: usize) {
        let n = n.min(self.seen.len());
        self.seen.drain(..n);
        self.counts.drain(..n * Self::NUMBERS);
    }

    pub(super) fn size(&self) -> usize {
        self.seen.capacity() * size_of::<u64>() + self.counts.capacity() * size_of::<C>()
    }
}
