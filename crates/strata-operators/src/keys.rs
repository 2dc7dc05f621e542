//! Finds rows that repeat a key: integer keys are packed into one machine word, all others are compared as rows. Never decides which stays.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{SortColumn, cast};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, UInt64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::Result;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::sync::Arc;

/// A slot of the table that holds no row.
const EMPTY: u32 = u32::MAX;

/// Pairs (first row of the key, later row of the same key), by the later row. Null is a value like any other.
pub(crate) fn repeats(key: &[ArrayRef]) -> Result<Vec<(u32, u32)>> {
    if let [only] = key
        && let Some(words) = only.as_primitive_opt::<UInt64Type>().filter(|w| w.null_count() == 0)
    {
        return Ok(repeated_words(words.values()));
    }
    match packed(key)? {
        Some(words) => Ok(repeated_words(&words)),
        None => repeated_rows(key),
    }
}

/// One word a row, different for different keys; `None` where the key is not of integers without nulls, or its range needs more bits.
fn packed(key: &[ArrayRef]) -> Result<Option<Vec<u64>>> {
    packed_in_order(key.iter().map(|column| (column, false)))
}

/// One word a row, in the order that rows are to have; `None` as for keys.
pub(crate) fn ordered(columns: &[SortColumn]) -> Result<Option<Vec<u64>>> {
    packed_in_order(columns.iter().map(|c| (&c.values, c.options.is_some_and(|o| o.descending))))
}

/// Whether columns of this type are packed, where no value is null and the range allows.
pub(crate) fn is_word(data_type: &DataType) -> bool {
    match data_type {
        DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Date32 => true,
        t => t.is_integer() && *t != DataType::UInt64,
    }
}

/// Of columns, each with whether it descends.
fn packed_in_order<'a>(columns: impl Iterator<Item = (&'a ArrayRef, bool)>) -> Result<Option<Vec<u64>>> {
    let (mut parts, mut rows) = (vec![], 0);
    for (column, descends) in columns {
        let Some(integers) = integers(column)? else { return Ok(None) };
        rows = integers.len();
        parts.push((integers, descends));
    }
    let mut words = vec![0u64; rows];
    let mut bits = 0;
    for (part, descends) in &parts {
        let values = part.as_primitive::<Int64Type>().values();
        let (Some(least), Some(greatest)) = (values.iter().min(), values.iter().max()) else { continue };
        let width = u64::BITS - greatest.abs_diff(*least).leading_zeros();
        if bits + width > u64::BITS {
            return Ok(None);
        }
        // A full word leaves nothing of the parts before it, which then have no bits.
        let from = if *descends { *greatest } else { *least };
        words.iter_mut().zip(values).for_each(|(w, v)| *w = w.checked_shl(width).unwrap_or(0) | v.abs_diff(from));
        bits += width;
    }
    Ok(Some(words))
}

fn integers(column: &ArrayRef) -> Result<Option<ArrayRef>> {
    if !is_word(column.data_type()) || column.null_count() > 0 {
        return Ok(None);
    }
    let column = match column.data_type() {
        // Days become 64 bits in two steps.
        DataType::Date32 => cast(column, &DataType::Int32)?,
        _ => column.clone(),
    };
    Ok(Some(cast(&column, &DataType::Int64)?))
}

/// Values of a column of integers, days or microseconds as words; what stands under a null is anything.
pub(crate) fn words(column: &ArrayRef) -> Result<Vec<i64>> {
    let days = match column.data_type() {
        DataType::Date32 => cast(column, &DataType::Int32)?,
        _ => Arc::clone(column),
    };
    Ok(cast(&days, &DataType::Int64)?.as_primitive::<Int64Type>().values().to_vec())
}

/// Open addressing over row numbers: the words themselves stay where they are.
fn repeated_words(words: &[u64]) -> Vec<(u32, u32)> {
    let size = (words.len() * 2).next_power_of_two().max(2);
    let shift = u64::BITS - size.trailing_zeros();
    let mut table = vec![EMPTY; size];
    let mut out = vec![];
    for (row, word) in words.iter().enumerate() {
        let mut slot = (word.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> shift) as usize;
        loop {
            match table[slot] {
                EMPTY => {
                    table[slot] = row as u32;
                    break;
                }
                first if words[first as usize] == *word => {
                    out.push((first, row as u32));
                    break;
                }
                _ => slot = (slot + 1) & (size - 1),
            }
        }
    }
    out
}

fn repeated_rows(key: &[ArrayRef]) -> Result<Vec<(u32, u32)>> {
    let fields = key.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(key)?;
    let hasher = FixedState::default();
    let hash = |row: u32| hasher.hash_one(rows.row(row as usize).as_ref());
    let mut table: HashTable<u32> = HashTable::with_capacity(rows.num_rows());
    let mut out = vec![];
    for row in 0..rows.num_rows() as u32 {
        let own = hash(row);
        match table.find(own, |first| rows.row(*first as usize) == rows.row(row as usize)) {
            Some(first) => out.push((*first, row)),
            None => {
                table.insert_unique(own, row, |r| hash(*r));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, Int64Array, StringArray};
    use proptest::prelude::*;

    #[test]
    fn a_key_over_the_whole_range_of_a_word_is_still_compared_whole() {
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX, 0, i64::MIN, -1, 0]));
        assert_eq!(repeats(&[Arc::clone(&wide)]).unwrap(), [(0, 3), (2, 5)]);
        let second: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 1, 2, 1, 1]));
        assert_eq!(repeats(&[wide, second]).unwrap(), [(2, 5)]);
    }

    #[test]
    fn nulls_are_equal_to_each_other() {
        let key: ArrayRef = Arc::new(Int32Array::from(vec![None, Some(1), None, Some(1), Some(0)]));
        assert_eq!(repeats(&[key]).unwrap(), [(0, 2), (1, 3)]);
    }

    proptest! {
        #[test]
        fn packed_keys_repeat_where_rows_do(rows in prop::collection::vec((-3i64..3, any::<i32>().prop_map(|v| v % 4)), 0..200)) {
            let a: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)));
            let b: ArrayRef = Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.1)));
            let as_text: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1.to_string())));
            prop_assert!(packed(&[Arc::clone(&a), Arc::clone(&b)]).unwrap().is_some());
            let wanted: Vec<(u32, u32)> = (0..rows.len())
                .filter_map(|i| rows[..i].iter().position(|r| *r == rows[i]).map(|first| (first as u32, i as u32)))
                .collect();
            prop_assert_eq!(&repeats(&[Arc::clone(&a), b]).unwrap(), &wanted);
            prop_assert_eq!(&repeats(&[a, as_text]).unwrap(), &wanted);
        }
    }
}
