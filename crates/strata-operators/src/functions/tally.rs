//! A flat table of what was seen per (group, value), the state under `count_distinct` and `mode_of`; the few smallest values have places of
//! their own, and where nothing is counted, values of 32 bits a table of their own. Never holds a container per group.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::filter;
use arrow::datatypes::Field;
use datafusion::common::{Result, exec_err, resources_err};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::aggregate::each_included;
use super::few::Few;
use super::pairs::{AHEAD, Pairs};
use super::values::{HASHER, Key, Values};

/// Below this many slots a table is not made smaller.
const SMALL: usize = 1_024;

struct Seen<N, C> {
    group: u32,
    key: N,
    count: C,
}

/// What is kept per (group, value): `()` or a count.
pub(super) trait Count: Copy + Default + Send + Sync + 'static {
    fn add(&mut self, other: Self);
}

impl Count for () {
    fn add(&mut self, (): Self) {}
}

impl Count for i64 {
    fn add(&mut self, other: Self) {
        *self += other;
    }
}

/// Per group, its distinct values.
pub(super) struct Tally<N, V, C> {
    pub(super) values: V,
    /// Keys that are small numbers.
    few: Few<C>,
    /// Where nothing is counted, keys that are numbers of 32 bits.
    pairs: Pairs,
    /// All others.
    table: HashTable<Seen<N, C>>,
    /// Distinct values of each group.
    sizes: Vec<i64>,
    /// The number in the table of the first group: forgetting groups renumbers none. It wraps.
    base: u32,
}

/// Distinct values of each group in ascending order, one group after another.
pub(super) struct Lists<N, C> {
    pub(super) offsets: Vec<i32>,
    pub(super) keys: Vec<N>,
    pub(super) counts: Vec<C>,
}

impl<N: Key, V: Values<N>, C: Count> Tally<N, V, C> {
    pub(super) fn new(values: V) -> Self {
        Self { values, few: Few::new(), pairs: Pairs::default(), table: HashTable::new(), sizes: Vec::new(), base: 0 }
    }

    /// How many (group, value) there are beside the few smallest values: as numbers of 32 bits, and as others.
    pub(super) fn held(&self) -> [usize; 2] {
        [self.pairs.len(), self.table.len()]
    }

    /// Makes room for as many as another one held, before the first.
    pub(super) fn expect(&mut self, held: [usize; 2]) {
        self.pairs.expect(held[0]);
        self.table.reserve(held[1], |seen| hash(seen.group, &seen.key));
    }

    pub(super) fn groups(&self) -> usize {
        self.sizes.len()
    }

    pub(super) fn grow(&mut self, groups: usize) {
        self.sizes.resize(groups, 0);
    }

    /// Distinct values of each group.
    pub(super) fn sizes(&self) -> &[i64] {
        &self.sizes
    }

    /// Adds `count` for each included row's value.
    pub(super) fn update(&mut self, array: &ArrayRef, groups: &[usize], included: Option<&NullBuffer>, count: C) -> Result<()> {
        let keys = self.values.keys(array, included)?;
        if size_of::<C>() == 0 {
            self.add_all(&keys, groups, included);
            return Ok(());
        }
        each_included(groups, included, |row, group| self.add(group, keys[row], count));
        Ok(())
    }

    /// The same where nothing is counted: pairs wait until some of them are added together.
    fn add_all(&mut self, keys: &[N], groups: &[usize], included: Option<&NullBuffer>) {
        let (mut waiting, mut n) = ([0; AHEAD], 0);
        each_included(groups, included, |row, group| match keys[row].to_usize() {
            Some(number) if (Few::<C>::NUMBERS..Pairs::NUMBERS).contains(&number) => {
                waiting[n] = Pairs::pair(self.base.wrapping_add(group as u32), number as u32);
                n += 1;
                if n == AHEAD {
                    self.add_pairs(&waiting);
                    n = 0;
                }
            }
            _ => self.add(group, keys[row], C::default()),
        });
        self.add_pairs(&waiting[..n]);
    }

    fn add_pairs(&mut self, pairs: &[u64]) {
        let (sizes, base) = (&mut self.sizes, self.base);
        self.pairs.add_all(pairs, |pair| sizes[((pair >> 32) as u32).wrapping_sub(base) as usize] += 1);
    }

    /// Adds the lists that `column` made: `counts[i]` for each value of a list, or the default without counts.
    pub(super) fn merge(&mut self, lists: &ArrayRef, groups: &[usize], counts: Option<&[C]>) -> Result<()> {
        let Some(lists) = lists.as_list_opt::<i32>() else {
            return exec_err!("a state column is {}: the plan was made by another version, run it again", lists.data_type());
        };
        let offsets = lists.value_offsets();
        let (start, end) = (offsets[0] as usize, offsets[groups.len()] as usize);
        let keys = self.values.keys(&lists.values().slice(start, end - start), None)?;
        for (range, group) in offsets.windows(2).zip(groups) {
            for at in range[0] as usize - start..range[1] as usize - start {
                self.add(*group, keys[at], counts.map_or_else(C::default, |counts| counts[at]));
            }
        }
        Ok(())
    }

    #[inline]
    fn add(&mut self, group: usize, key: N, count: C) {
        let is_first = match key.to_usize() {
            Some(number) if number < Few::<C>::NUMBERS => self.few.add(self.sizes.len(), group, number, count),
            Some(number) if size_of::<C>() == 0 && number < Pairs::NUMBERS => {
                self.pairs.add(self.base.wrapping_add(group as u32), number as u32)
            }
            _ => self.add_to_table(group, key, count),
        };
        self.sizes[group] += i64::from(is_first);
    }

    /// Whether the group had not seen the key.
    #[inline]
    fn add_to_table(&mut self, group: usize, key: N, count: C) -> bool {
        if self.table.len() == self.table.capacity() {
            // Four times as large, not twice: each entry is moved once more, not several times.
            self.table.reserve(3 * self.table.len() + 1, |seen| hash(seen.group, &seen.key));
        }
        let numbered = self.base.wrapping_add(group as u32);
        let seen = |seen: &Seen<N, C>| seen.group == numbered && seen.key == key;
        match self.table.entry(hash(numbered, &key), seen, |seen| hash(seen.group, &seen.key)) {
            Entry::Occupied(mut seen) => {
                seen.get_mut().count.add(count);
                false
            }
            Entry::Vacant(slot) => {
                slot.insert(Seen { group: numbered, key, count });
                true
            }
        }
    }

    /// Every (group, value, count) of the first `n` groups, in no order.
    pub(super) fn first(&self, n: usize) -> impl Iterator<Item = (usize, N, C)> {
        let few = self.few.first(n).map(|(group, number, count)| (group, N::usize_as(number), count));
        let pairs = self.pairs.iter().map(|(group, number)| (group, N::usize_as(number as usize), C::default()));
        let seen = self.table.iter().map(|seen| (seen.group, seen.key, seen.count));
        let seen = pairs.chain(seen).map(|(group, key, count)| (group.wrapping_sub(self.base) as usize, key, count));
        few.chain(seen.filter(move |(group, ..)| *group < n))
    }

    /// The distinct values of the first `n` groups. Errors: `ResourcesExhausted` beyond 2^31 values at once.
    pub(super) fn lists(&self, n: usize) -> Result<Lists<N, C>> {
        let mut offsets = Vec::with_capacity(n + 1);
        offsets.push(0_i32);
        let mut total = 0_i32;
        for size in &self.sizes[..n] {
            let Some(next) = i32::try_from(*size).ok().and_then(|size| total.checked_add(size)) else {
                return resources_err!("more than 2 billion distinct values of one partition: use more partitions");
            };
            total = next;
            offsets.push(total);
        }
        let mut next: Vec<i32> = offsets[..n].to_vec();
        let mut seen = vec![(N::default(), C::default()); total as usize];
        for (group, key, count) in self.first(n) {
            seen[next[group] as usize] = (key, count);
            next[group] += 1;
        }
        for range in offsets.windows(2) {
            let group = &mut seen[range[0] as usize..range[1] as usize];
            group.sort_unstable_by(|left, right| self.values.compare(left.0, right.0));
        }
        let (keys, counts) = seen.into_iter().unzip();
        Ok(Lists { offsets, keys, counts })
    }

    pub(super) fn forget(&mut self, n: usize) {
        self.sizes.drain(..n);
        self.few.forget(n);
        if self.sizes.is_empty() {
            self.clear();
            self.values = self.values.fresh();
            self.base = 0;
            return;
        }
        let base = self.base;
        let stays = |group: u32| group.wrapping_sub(base) as usize >= n;
        self.table.retain(|seen| stays(seen.group));
        if self.pairs.len() > 0 {
            self.pairs.retain(stays);
        }
        self.base = base.wrapping_add(n as u32);
        self.shrink();
    }

    fn shrink(&mut self) {
        // By the tables first, which are cheap to ask: what is few is only counted where they alone would be sparse.
        let held = self.table.len() + self.pairs.len();
        if self.values.is_sparse(held) && self.values.is_sparse(held + self.few.len()) {
            let mut seen: Vec<_> = self.first(self.sizes.len()).collect();
            self.clear();
            self.values.retain(seen.iter_mut().map(|(_, key, _)| key));
            self.sizes.fill(0);
            for (group, key, count) in seen {
                self.add(group, key, count);
            }
        } else if self.table.capacity() > SMALL.max(8 * self.table.len()) {
            self.table.shrink_to(SMALL.max(2 * self.table.len()), |seen| hash(seen.group, &seen.key));
        }
    }

    fn clear(&mut self) {
        (self.table, self.pairs, self.few) = (HashTable::new(), Pairs::default(), Few::new());
    }

    pub(super) fn size(&self) -> usize {
        self.values.size()
            + self.few.size()
            + self.pairs.size()
            + self.table.allocation_size()
            + self.sizes.capacity() * size_of::<i64>()
    }
}

/// A column of lists: list `i` is `values[offsets[i]..offsets[i + 1]]`.
pub(super) fn list_column(offsets: Vec<i32>, values: ArrayRef) -> Result<ArrayRef> {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::new(offsets.into()), values, None)?))
}

/// Lists of the one value of each included row, and of nothing for the others.
pub(super) fn single_lists(array: &ArrayRef, included: Option<&NullBuffer>) -> Result<(Vec<i32>, ArrayRef)> {
    let Some(included) = included else {
        return Ok(((0..=array.len() as i32).collect(), Arc::clone(array)));
    };
    let kept = BooleanArray::new(included.inner().clone(), None);
    let mut end = 0;
    let mut offsets = Vec::with_capacity(array.len() + 1);
    offsets.push(end);
    for row in 0..array.len() {
        end += i32::from(included.is_valid(row));
        offsets.push(end);
    }
    Ok((offsets, filter(array, &kept)?))
}

#[inline]
fn hash<N: Hash>(group: u32, key: &N) -> u64 {
    let mut hasher = HASHER.build_hasher();
    hasher.write_u32(group);
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::values::{Plain, Texts};
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::DataType;

    /// Groups open and close while rows arrive; group `g` sees the texts `g` and `g + 1`, the second twice.
    #[test]
    fn small_and_large_numbers_are_counted_alike() -> Result<()> {
        let numbers = [-1_i64, 0, 7, 8, 63, 64, 1 << 40, 7, -1, 8, 64, 7];
        let array: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
        let groups: Vec<usize> = (0..numbers.len()).map(|row| row % 2).collect();
        let (mut distinct, mut counted) =
            (Tally::<i64, _, ()>::new(Plain(DataType::Int64)), Tally::<i64, _, i64>::new(Plain(DataType::Int64)));
        distinct.grow(3);
        counted.grow(3);
        distinct.update(&array, &groups, None, ())?;
        counted.update(&array, &groups, None, 1)?;
        let wanted: Vec<Vec<(i64, i64)>> =
            vec![vec![(-1, 2), (7, 1), (63, 1), (64, 1), (1 << 40, 1)], vec![(0, 1), (7, 2), (8, 2), (64, 1)], vec![]];
        let of = |lists: &Lists<i64, i64>, group: usize| {
            let range = lists.offsets[group] as usize..lists.offsets[group + 1] as usize;
            lists.keys[range.clone()].iter().copied().zip(lists.counts[range].iter().copied()).collect::<Vec<_>>()
        };
        let lists = counted.lists(3)?;
        assert_eq!((0..3).map(|g| of(&lists, g)).collect::<Vec<_>>(), wanted);
        assert_eq!(distinct.lists(3)?.keys, lists.keys);
        assert_eq!((distinct.sizes(), counted.sizes()), (&[5, 4, 0][..], &[5, 4, 0][..]));
        counted.forget(1);
        let lists = counted.lists(2)?;
        assert_eq!((of(&lists, 0), of(&lists, 1)), (wanted[1].clone(), vec![]));
        counted.grow(3);
        counted.update(&array, &vec![2; numbers.len()], None, 1)?;
        assert_eq!(counted.sizes(), [4, 0, 7]);
        Ok(())
    }

    #[test]
    fn forgotten_groups_take_their_texts_along() -> Result<()> {
        let mut tally = Tally::<u32, Texts, i64>::new(Texts::new(DataType::Utf8));
        let mut first = 0;
        for _ in 0..2_000 {
            tally.grow(10);
            let rows: Vec<usize> = (5..10).chain(5..10).chain(5..10).collect();
            let texts = rows.iter().enumerate().map(|(row, group)| format!("{:06}", first + group + row.min(9) / 5));
            let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
            tally.update(&texts, &rows, None, 1)?;
            let lists = tally.lists(10)?;
            let column = tally.values.column(lists.keys[lists.offsets[5] as usize..].to_vec(), None)?;
            let expected = (5..10).flat_map(|group| [first + group, first + group + 1]);
            let expected = StringArray::from_iter_values(expected.map(|text| format!("{text:06}")));
            assert_eq!(column.as_ref(), &expected);
            assert!(lists.counts.ends_with(&[1, 2, 1, 2, 1, 2, 1, 2, 1, 2]));
            tally.forget(5);
            first += 5;
        }
        assert_eq!(tally.groups(), 5);
        assert!(tally.size() < 10_000, "{}", tally.size());
        tally.forget(5);
        assert_eq!(tally.lists(0)?.keys, Vec::<u32>::new());
        Ok(())
    }
}
