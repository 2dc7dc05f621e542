//! Keys of whole numbers, dates, times and texts, numbered from 0 in order of appearance. Never takes two keys for one, nor null for a value.

use super::values::{Plain, Texts, Values};
use arrow::array::{Array, ArrayRef};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};

/// Columns of a key at most.
const PARTS_MAX: usize = 4;
/// A slot that holds no key.
const EMPTY: u32 = u32::MAX;
/// Slots at first.
const SLOTS_MIN: usize = 1024;
/// Keys whose slots are looked at together.
const AHEAD: usize = 16;

/// One column of the key.
enum Part {
    /// Numbers of so many bytes, as they are.
    Number(usize, Plain),
    Text(Texts),
}

/// Numbers keys. INVARIANT: `words` holds, group by group, one word a column, and one of bits that say which columns are null where `masked`.
pub(crate) struct Numbering {
    parts: Vec<Part>,
    words: Vec<u64>,
    masked: bool,
    groups: usize,
    /// Open addressing over groups; a power of two, at most half full.
    slots: Vec<u32>,
    /// Words of the batch at hand, row by row.
    rows: Vec<u64>,
}

impl Part {
    fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Utf8 => Some(Self::Text(Texts::new(data_type.clone()))),
            DataType::Date32 | DataType::Timestamp(..) => {
                Some(Self::Number(data_type.primitive_width()?, Plain(data_type.clone())))
            }
            other if other.is_integer() => Some(Self::Number(other.primitive_width()?, Plain(other.clone()))),
            _ => None,
        }
    }

    /// Puts the word of each row to `out`, one every `stride`.
    fn write(&mut self, column: &ArrayRef, stride: usize, out: &mut [u64]) -> Result<()> {
        fn each<N: Copy>(keys: &[N], stride: usize, out: &mut [u64], word: impl Fn(N) -> u64) {
            out.iter_mut().step_by(stride).zip(keys).for_each(|(to, key)| *to = word(*key));
        }
        match self {
            Self::Text(texts) => each(&texts.keys(column, column.nulls())?, stride, out, u64::from),
            Self::Number(1, plain) => each(&Values::<u8>::keys(plain, column, None)?, stride, out, u64::from),
            Self::Number(2, plain) => each(&Values::<u16>::keys(plain, column, None)?, stride, out, u64::from),
            Self::Number(4, plain) => each(&Values::<u32>::keys(plain, column, None)?, stride, out, u64::from),
            Self::Number(_, plain) => each(&Values::<u64>::keys(plain, column, None)?, stride, out, |key| key),
        }
        if let Some(nulls) = column.nulls().filter(|n| n.null_count() > 0) {
            // What stands under a null is anything.
            out.iter_mut().step_by(stride).zip(nulls).filter(|(_, valid)| !valid).for_each(|(to, _)| *to = 0);
        }
        Ok(())
    }

    fn column(&self, words: impl Iterator<Item = u64>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        match self {
            Self::Text(texts) => texts.column(words.map(|w| w as u32).collect(), nulls),
            Self::Number(1, plain) => plain.column(words.map(|w| w as u8).collect(), nulls),
            Self::Number(2, plain) => plain.column(words.map(|w| w as u16).collect(), nulls),
            Self::Number(4, plain) => plain.column(words.map(|w| w as u32).collect(), nulls),
            Self::Number(_, plain) => plain.column(words.collect::<Vec<u64>>(), nulls),
        }
    }
}

impl Numbering {
    /// Of keys of these types; `None` where one cannot be a word, or there are too many.
    pub(crate) fn new<'a>(types: impl Iterator<Item = &'a DataType>) -> Option<Self> {
        let parts: Vec<Part> = types.map(Part::of).collect::<Option<_>>()?;
        let fits = (1..=PARTS_MAX).contains(&parts.len());
        fits.then(|| Self { parts, words: vec![], masked: false, groups: 0, slots: vec![EMPTY; SLOTS_MIN], rows: vec![] })
    }

    /// Makes room for so many keys, before the first.
    pub(crate) fn expect(&mut self, groups: usize) {
        if self.groups == 0 {
            self.slots = vec![EMPTY; (groups * 2 + 2).next_power_of_two().max(SLOTS_MIN)];
        }
    }

    /// Different keys so far.
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    /// Bytes that it holds.
    pub(crate) fn size(&self) -> usize {
        let texts: usize = self.parts.iter().map(|p| if let Part::Text(texts) = p { texts.size() } else { 0 }).sum();
        texts + 8 * (self.words.capacity() + self.rows.capacity()) + 4 * self.slots.capacity()
    }

    /// The number of each row's key. Errors: `Execution` at 4 billion keys; `Internal` where a column is of another type.
    pub(crate) fn number(&mut self, columns: &[ArrayRef], out: &mut Vec<usize>) -> Result<()> {
        let rows = columns.first().map_or(0, |c| c.len());
        if !self.masked && columns.iter().any(|c| c.null_count() > 0) {
            self.mask();
        }
        if self.groups + rows >= EMPTY as usize {
            return exec_err!("more than 4 billion groups in one bucket: more buckets would hold fewer each");
        }
        out.clear();
        out.reserve(rows);
        if let ([Part::Number(8, plain)], [column], false) = (self.parts.as_mut_slice(), columns, self.masked) {
            let words: ScalarBuffer<u64> = plain.keys(column, None)?;
            self.find::<1>(&words, out);
            return Ok(());
        }
        let stride = self.stride();
        // All words are written below, but those of nulls.
        self.rows.resize(rows * stride, 0);
        if self.masked {
            self.rows.iter_mut().skip(stride - 1).step_by(stride).for_each(|mask| *mask = 0);
        }
        for (i, (part, column)) in self.parts.iter_mut().zip(columns).enumerate() {
            part.write(column, stride, &mut self.rows[i.min(rows * stride)..])?;
            if let Some(nulls) = column.nulls().filter(|n| n.null_count() > 0) {
                let masks = self.rows.iter_mut().skip(stride - 1).step_by(stride);
                masks.zip(nulls).filter(|(_, valid)| !valid).for_each(|(mask, _)| *mask |= 1 << i);
            }
        }
        let words = std::mem::take(&mut self.rows);
        match stride {
            1 => self.find::<1>(&words, out),
            2 => self.find::<2>(&words, out),
            3 => self.find::<3>(&words, out),
            4 => self.find::<4>(&words, out),
            _ => self.find::<5>(&words, out),
        }
        self.rows = words;
        Ok(())
    }

    /// The columns of all keys, in order of their numbers.
    pub(crate) fn columns(&self) -> Result<Vec<ArrayRef>> {
        let stride = self.stride();
        let of = |(i, part): (usize, &Part)| {
            let is_valid = |group: usize| self.words[group * stride + stride - 1] & (1 << i) == 0;
            let nulls = self.masked.then(|| NullBuffer::new(BooleanBuffer::collect_bool(self.groups, is_valid)));
            part.column(self.words.iter().skip(i).step_by(stride).copied(), nulls.filter(|n| n.null_count() > 0))
        };
        self.parts.iter().enumerate().map(of).collect()
    }

    fn stride(&self) -> usize {
        self.parts.len() + usize::from(self.masked)
    }

    /// Makes room for a word of nulls in every key.
    fn mask(&mut self) {
        let old = self.stride();
        self.masked = true;
        let old = std::mem::take(&mut self.words).chunks(old).flat_map(|key| key.iter().copied().chain([0])).collect();
        self.words = old;
        self.spread(self.slots.len());
    }

    fn find<const N: usize>(&mut self, rows: &[u64], out: &mut Vec<usize>) {
        let keys = rows.as_chunks::<N>().0;
        let Some(first) = keys.first() else { return };
        let mut last = (first, self.one::<N>(first));
        for keys in keys.chunks(AHEAD) {
            let near = self.near::<N>(keys);
            out.extend(keys.iter().zip(near).map(|(key, near)| {
                // Rows of one key often lie together.
                if last.0 != key {
                    last = (key, if near == EMPTY { self.one::<N>(key) } else { near as usize });
                }
                last.1
            }));
        }
    }

    /// The group in the first slot of each key where it is that key's, else [`EMPTY`]: looks of which none waits for another.
    /// INVARIANT: there is a group.
    #[inline]
    fn near<const N: usize>(&self, keys: &[[u64; N]]) -> [u32; AHEAD] {
        let (mask, most) = (self.slots.len() - 1, self.groups as u32 - 1);
        let mut near = [EMPTY; AHEAD];
        for (near, key) in near.iter_mut().zip(keys) {
            *near = self.slots[hash(key) as usize & mask];
        }
        for (near, key) in near.iter_mut().zip(keys) {
            // Of an empty slot too: a key that has none is not that of another group.
            let group = (*near).min(most);
            let at = group as usize * N;
            *near = if self.words[at..at + N] == *key { group } else { EMPTY };
        }
        near
    }

    fn one<const N: usize>(&mut self, key: &[u64; N]) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash(key) as usize & mask;
        loop {
            let group = self.slots[slot];
            if group == EMPTY {
                break;
            }
            let at = group as usize * N;
            if self.words[at..at + N] == *key {
                return group as usize;
            }
            slot = (slot + 1) & mask;
        }
        let group = self.groups;
        self.slots[slot] = group as u32;
        self.words.extend_from_slice(key);
        self.groups += 1;
        if self.groups * 2 > self.slots.len() {
            self.spread(self.slots.len() * 4);
        }
        group
    }

    /// Puts all keys into so many slots.
    fn spread(&mut self, slots: usize) {
        let mask = slots - 1;
        let mut table = vec![EMPTY; slots];
        for (group, key) in self.words.chunks(self.stride()).enumerate() {
            let mut slot = hash(key) as usize & mask;
            while table[slot] != EMPTY {
                slot = (slot + 1) & mask;
            }
            table[slot] = group as u32;
        }
        self.slots = table;
    }
}

/// Of the words of a key: both halves of a product, so that near numbers lie far apart.
fn hash(key: &[u64]) -> u64 {
    key.iter().fold(0x243f_6a88_85a3_08d3, |hash: u64, word| {
        let product = u128::from(hash ^ word) * 0x9e37_79b9_7f4a_7c15;
        (product ^ (product >> 64)) as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Date32Array, Int64Array, StringArray};
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::Arc;

    type Row = (Option<i64>, Option<i32>, Option<u8>);

    fn columns(rows: &[Row]) -> Vec<ArrayRef> {
        let word = |n: u8| {
            ["", "a", "store", "aller Anfang", "aller Anfang ist", "ärger"]
                .get(n as usize)
                .map_or(format!("w{n}"), |w| (*w).into())
        };
        vec![
            Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|r| r.1).collect::<Date32Array>()),
            Arc::new(rows.iter().map(|r| r.2.map(word)).collect::<StringArray>()),
        ]
    }

    proptest! {
        #[test]
        fn keys_are_numbered_as_they_appear(
            rows in prop::collection::vec((prop::option::weighted(0.98, -3_i64..3), prop::option::weighted(0.98, 0..3_i32), prop::option::of(0_u8..40)), 0..3000),
            cut in 0_usize..3000,
            width in 1_usize..=3,
        ) {
            let types = [DataType::Int64, DataType::Date32, DataType::Utf8];
            let mut numbering = Numbering::new(types.iter().take(width)).unwrap();
            numbering.expect(cut);
            let mut expected: HashMap<Vec<Option<String>>, usize> = HashMap::new();
            let mut order: Vec<Row> = vec![];
            let cut = cut.min(rows.len());
            for part in [&rows[..cut], &rows[cut..]] {
                let mut found = vec![];
                numbering.number(&columns(part)[..width], &mut found).unwrap();
                let keys = part.iter().map(|r| {
                    let key = [r.0.map(|v| v.to_string()), r.1.map(|v| v.to_string()), r.2.map(|v| v.to_string())];
                    let next = expected.len();
                    *expected.entry(key[..width].to_vec()).or_insert_with(|| { order.push(*r); next })
                });
                prop_assert_eq!(found, keys.collect::<Vec<_>>());
            }
            prop_assert_eq!(numbering.groups(), order.len());
            prop_assert_eq!(numbering.columns().unwrap(), columns(&order)[..width].to_vec());
        }
    }
}
