//! A batch held small: a column of whole numbers as distances from its least value in as few bytes as they need, a column of few different words
//! as numbers of words. What waits for its bucket to be complete is most of what a run holds. Never loses a bit: what is unpacked is what was packed.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::array::{MutableArrayData, NullBufferBuilder, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::concat;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion::common::{Result, internal_err};
use std::sync::Arc;

/// Batches of fewer rows are held as they are.
const ROWS_MIN: usize = 64;
/// A column with more different words than this is held as it is.
const WORDS_MAX: usize = 32;

/// A batch.
pub(crate) struct Packed {
    rows: usize,
    columns: Vec<Column>,
    bytes: usize,
}

enum Column {
    Whole(ArrayRef),
    /// Value = base + step × code; zero where null.
    Numbers {
        base: i64,
        step: i64,
        codes: Codes,
        nulls: Option<NullBuffer>,
    },
    /// Value = words[code]; zero where null.
    Words {
        words: StringArray,
        codes: Vec<u8>,
        nulls: Option<NullBuffer>,
    },
}

enum Codes {
    /// Every one is zero.
    Zero,
    Bytes(Vec<u8>),
    Shorts(Vec<u16>),
    Longs(Vec<u32>),
}

/// A whole number that may fit 64 bits.
trait Number: Copy {
    fn narrow(self) -> Option<i64>;
    fn widen(value: i64) -> Self;
}

impl Number for i32 {
    fn narrow(self) -> Option<i64> {
        Some(i64::from(self))
    }
    fn widen(value: i64) -> Self {
        value as Self
    }
}

impl Number for i64 {
    fn narrow(self) -> Option<i64> {
        Some(self)
    }
    fn widen(value: i64) -> Self {
        value
    }
}

impl Number for i128 {
    fn narrow(self) -> Option<i64> {
        i64::try_from(self).ok()
    }
    fn widen(value: i64) -> Self {
        Self::from(value)
    }
}

/// Runs `$body` with `$T` standing for the arrow type of a column of whole numbers; `$else` for any other.
macro_rules! of_numbers {
    ($data_type:expr, $T:ident => $body:expr, $else:expr) => {
        match $data_type {
            DataType::Int32 => {
                type $T = Int32Type;
                $body
            }
            DataType::Date32 => {
                type $T = Date32Type;
                $body
            }
            DataType::Int64 => {
                type $T = Int64Type;
                $body
            }
            DataType::Timestamp(TimeUnit::Second, _) => {
                type $T = TimestampSecondType;
                $body
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                type $T = TimestampMillisecondType;
                $body
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                type $T = TimestampMicrosecondType;
                $body
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                type $T = TimestampNanosecondType;
                $body
            }
            DataType::Decimal128(_, _) => {
                type $T = Decimal128Type;
                $body
            }
            _ => $else,
        }
    };
}

impl Packed {
    /// `batch`, smaller where it can be.
    pub(crate) fn of(batch: &RecordBatch) -> Self {
        let small = batch.num_rows() < ROWS_MIN;
        let columns: Vec<Column> =
            batch.columns().iter().map(|c| if small { Column::Whole(own(c)) } else { packed(c) }).collect();
        let bytes = columns.iter().map(Column::bytes).sum();
        Self { rows: batch.num_rows(), columns, bytes }
    }

    /// Bytes that a batch takes when it is not packed; what it is a slice of is not counted.
    pub(crate) fn whole_bytes(batch: &RecordBatch) -> usize {
        batch.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or_else(|_| c.get_array_memory_size())).sum()
    }

    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The rows of all pieces, one after the other, as one batch. Errors: `Internal` if a piece is of another schema.
pub(crate) fn unpacked(schema: &SchemaRef, mut pieces: Vec<Packed>) -> Result<RecordBatch> {
    let rows = pieces.iter().map(|p| p.rows).sum();
    if pieces.iter().any(|p| p.columns.len() != schema.fields().len()) {
        return internal_err!("a piece of a bucket has other columns");
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields().iter().rev() {
        // Each is freed as soon as it is unpacked.
        let parts: Vec<Column> = pieces.iter_mut().filter_map(|p| p.columns.pop()).collect();
        columns.push(column(field.data_type(), parts, &pieces, rows)?);
    }
    columns.reverse();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

impl Column {
    fn bytes(&self) -> usize {
        let of_nulls = |nulls: &Option<NullBuffer>| nulls.as_ref().map_or(0, |n| n.len() / 8);
        match self {
            Self::Whole(array) => array.get_array_memory_size(),
            Self::Numbers { codes, nulls, .. } => of_nulls(nulls) + codes.bytes(),
            Self::Words { words, codes, nulls } => of_nulls(nulls) + codes.len() + words.get_array_memory_size(),
        }
    }
}

impl Codes {
    fn bytes(&self) -> usize {
        match self {
            Self::Zero => 0,
            Self::Bytes(codes) => codes.len(),
            Self::Shorts(codes) => 2 * codes.len(),
            Self::Longs(codes) => 4 * codes.len(),
        }
    }
}

fn packed(column: &ArrayRef) -> Column {
    let found = match column.data_type() {
        DataType::Utf8 => words(column.as_string()),
        other => of_numbers!(other, T => numbers(column.as_primitive::<T>()), None),
    };
    found.unwrap_or_else(|| Column::Whole(own(column)))
}

/// The column in memory of its own: what arrives from an exchange is a slice of a whole message, which it would keep alive.
pub(crate) fn own(column: &ArrayRef) -> ArrayRef {
    let data = column.to_data();
    if data.get_slice_memory_size().is_ok_and(|own| column.get_array_memory_size() <= 2 * own + 1024) {
        return Arc::clone(column);
    }
    let mut copy = MutableArrayData::new(vec![&data], false, data.len());
    match copy.try_extend(0, 0, data.len()) {
        Ok(()) => make_array(copy.freeze()),
        // Only a copy of more than fits an offset fails, which a slice of one array is not.
        Err(_) => Arc::clone(column),
    }
}

/// Which values are null, in memory of its own; None where none is.
fn own_nulls(nulls: Option<&NullBuffer>) -> Option<NullBuffer> {
    let nulls = nulls.filter(|n| n.null_count() > 0)?;
    let bits = Buffer::from_slice_ref(nulls.inner().sliced().as_slice());
    Some(NullBuffer::new(BooleanBuffer::new(bits, 0, nulls.len())))
}

/// None where the numbers are too far apart.
fn numbers<T: ArrowPrimitiveType<Native: Number>>(array: &PrimitiveArray<T>) -> Option<Column> {
    let nulls = own_nulls(array.nulls());
    let all_fit = array.values().iter().all(|v| v.narrow().is_some());
    if !all_fit && nulls.is_none() {
        return None;
    }
    let mut values: Vec<i64> = array.values().iter().map(|v| v.narrow().unwrap_or(0)).collect();
    if let Some(nulls) = &nulls {
        // What stands under a null is anything; the first value stands there now, so that it widens nothing.
        let first = nulls.valid_indices().next().map_or(0, |i| values[i]);
        if !all_fit && nulls.valid_indices().any(|i| array.values()[i].narrow().is_none()) {
            return None;
        }
        values.iter_mut().zip(nulls).filter(|(_, valid)| !valid).for_each(|(value, _)| *value = first);
    }
    let base = values.iter().copied().min()?;
    let widest = values.iter().copied().max()?.checked_sub(base)?;
    if widest == 0 {
        return Some(Column::Numbers { base, step: 1, codes: Codes::Zero, nulls });
    }
    let steps: &[i64] = match T::DATA_TYPE {
        DataType::Timestamp(_, _) => &STEPS,
        _ => &[],
    };
    let of_step = |step: i64| Some((step, codes_of(step, &values, base, widest)?));
    let (step, codes) = steps.iter().find_map(|step| of_step(*step)).or_else(|| of_step(1))?;
    Some(Column::Numbers { base, step, codes, nulls })
}

/// A time stamp in microseconds is often one of days, or of seconds, or of milliseconds.
const STEPS: [i64; 3] = [86_400_000_000, 1_000_000, 1_000];

/// Distances from `base` as numbers of steps; None where one is no whole number, or too large.
fn codes_of(step: i64, values: &[i64], base: i64, widest: i64) -> Option<Codes> {
    match step {
        86_400_000_000 => codes::<86_400_000_000>(values, base, widest),
        1_000_000 => codes::<1_000_000>(values, base, widest),
        1_000 => codes::<1_000>(values, base, widest),
        _ => codes::<1>(values, base, widest),
    }
}

/// How many values tell that a step does not fit, before all are tried.
const TRIED: usize = 16;

fn codes<const STEP: i64>(values: &[i64], base: i64, widest: i64) -> Option<Codes> {
    if values.iter().take(TRIED).any(|v| (v - base) % STEP != 0) {
        return None;
    }
    let mut rest = 0;
    let mut code = |v: &i64| {
        let code = (v - base) / STEP;
        rest |= (v - base) - code * STEP;
        code
    };
    let codes = match widest / STEP {
        ..=0xff => Codes::Bytes(values.iter().map(|v| code(v) as u8).collect()),
        ..=0xffff => Codes::Shorts(values.iter().map(|v| code(v) as u16).collect()),
        ..=0xffff_ffff => Codes::Longs(values.iter().map(|v| code(v) as u32).collect()),
        _ => return None,
    };
    (rest == 0).then_some(codes)
}

/// None where there are too many different words.
fn words(array: &StringArray) -> Option<Column> {
    let nulls = own_nulls(array.nulls());
    let (offsets, bytes) = (array.value_offsets(), array.value_data());
    let mut found: Vec<(Start, &[u8])> = vec![];
    let (mut codes, mut last): (Vec<u8>, _) = (Vec::with_capacity(array.len()), None);
    for (row, at) in offsets.windows(2).enumerate() {
        if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
            codes.push(0);
            continue;
        }
        let word = &bytes[at[0] as usize..at[1] as usize];
        let start = Start::of(bytes, at[0] as usize, word.len());
        let same = |(s, w): &(Start, &[u8])| *s == start && (word.len() <= START || *w == word);
        // Words often come in runs.
        let code = match last.filter(|at: &usize| same(&found[*at])).or_else(|| found.iter().position(same)) {
            Some(code) => code,
            None if found.len() < WORDS_MAX => {
                found.push((start, word));
                found.len() - 1
            }
            None => return None,
        };
        last = Some(code);
        codes.push(code as u8);
    }
    let words: Option<Vec<&str>> = found.iter().map(|(_, word)| std::str::from_utf8(word).ok()).collect();
    Some(Column::Words { words: StringArray::from(words?), codes, nulls })
}

/// Bytes of a word that are compared as one number.
const START: usize = 8;

/// A word's length and its first bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Start {
    length: usize,
    bytes: u64,
}

impl Start {
    /// Of the word that stands at `at` in `all`.
    fn of(all: &[u8], at: usize, length: usize) -> Self {
        let bytes = match all.get(at..at + START).and_then(|eight| <[u8; START]>::try_from(eight).ok()) {
            Some(eight) if length >= START => u64::from_le_bytes(eight),
            Some(eight) => u64::from_le_bytes(eight) & ((1 << (8 * length)) - 1),
            // The last words of a buffer.
            None => {
                let mut eight = [0; START];
                eight[..length.min(START)].copy_from_slice(&all[at..at + length.min(START)]);
                u64::from_le_bytes(eight)
            }
        };
        Self { length, bytes }
    }
}

/// One column of all pieces.
fn column(data_type: &DataType, mut parts: Vec<Column>, pieces: &[Packed], rows: usize) -> Result<ArrayRef> {
    if let ([Column::Whole(_)], Some(Column::Whole(array))) = (parts.as_slice(), parts.first()) {
        return Ok(Arc::clone(array));
    }
    if parts.iter().all(|p| matches!(p, Column::Whole(_))) && !parts.is_empty() {
        let arrays: Vec<&dyn Array> =
            parts.iter().filter_map(|p| if let Column::Whole(a) = p { Some(a.as_ref()) } else { None }).collect();
        return Ok(concat(&arrays)?);
    }
    match data_type {
        DataType::Utf8 => {
            let mut arrays: Vec<ArrayRef> = vec![];
            for part in parts.drain(..) {
                arrays.push(match part {
                    Column::Whole(array) => array,
                    Column::Words { words, codes, nulls } => spelled(&words, &codes, nulls),
                    Column::Numbers { .. } => return internal_err!("a column of words holds numbers"),
                });
            }
            if arrays.is_empty() {
                return Ok(arrow::array::new_empty_array(data_type));
            }
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            Ok(concat(&arrays)?)
        }
        other => of_numbers!(other, T => counted::<T>(other, parts, pieces, rows), match parts.is_empty() {
            true => Ok(arrow::array::new_empty_array(other)),
            false => internal_err!("a column of {other} was packed"),
        }),
    }
}

fn counted<T: ArrowPrimitiveType<Native: Number>>(
    data_type: &DataType,
    parts: Vec<Column>,
    pieces: &[Packed],
    rows: usize,
) -> Result<ArrayRef> {
    let mut values: Vec<T::Native> = Vec::with_capacity(rows);
    let mut nulls = NullBufferBuilder::new(rows);
    for (part, piece) in parts.into_iter().zip(pieces) {
        let own = match part {
            Column::Whole(array) => {
                values.extend_from_slice(array.as_primitive::<T>().values());
                array.nulls().cloned()
            }
            Column::Numbers { base, step, codes, nulls } => {
                let value = |code: i64| T::Native::widen(base + step * code);
                match codes {
                    Codes::Zero => values.extend(std::iter::repeat_n(value(0), piece.rows)),
                    Codes::Bytes(codes) => values.extend(codes.iter().map(|c| value(i64::from(*c)))),
                    Codes::Shorts(codes) => values.extend(codes.iter().map(|c| value(i64::from(*c)))),
                    Codes::Longs(codes) => values.extend(codes.iter().map(|c| value(i64::from(*c)))),
                }
                nulls
            }
            Column::Words { .. } => return internal_err!("a column of {data_type} holds words"),
        };
        match own {
            Some(own) => nulls.append_buffer(&own),
            None => nulls.append_n_non_nulls(piece.rows),
        }
    }
    let array = PrimitiveArray::<T>::try_new(ScalarBuffer::from(values), nulls.finish())?;
    Ok(Arc::new(array.with_data_type(data_type.clone())))
}

fn spelled(words: &StringArray, codes: &[u8], nulls: Option<NullBuffer>) -> ArrayRef {
    let lengths: Vec<usize> = (0..words.len()).map(|w| words.value_length(w) as usize).collect();
    let is_null = |row: usize| nulls.as_ref().is_some_and(|n| n.is_null(row));
    let length = |row: usize| if is_null(row) { 0 } else { lengths[codes[row] as usize] };
    let offsets = OffsetBuffer::from_lengths((0..codes.len()).map(length));
    let total = offsets.last().map_or(0, |n| *n as usize);
    let mut bytes = Vec::with_capacity(total + START);
    let short: Vec<Option<[u8; START]>> = (0..words.len())
        .map(|w| {
            let mut eight = [0; START];
            eight.get_mut(..lengths[w])?.copy_from_slice(words.value(w).as_bytes());
            Some(eight)
        })
        .collect();
    for (row, code) in codes.iter().enumerate().filter(|(row, _)| !is_null(*row)) {
        match &short[*code as usize] {
            // Eight bytes at once, and those beyond the word cut off again, are quicker than as many as it has.
            Some(eight) => {
                let end = bytes.len() + lengths[*code as usize];
                bytes.extend_from_slice(eight);
                bytes.truncate(end);
            }
            None => bytes.extend_from_slice(words.value(*code as usize).as_bytes()),
        }
        debug_assert_eq!(bytes.len(), offsets[row + 1] as usize);
    }
    Arc::new(StringArray::new(offsets, bytes.into(), nulls))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, TimestampMicrosecondArray,
    };
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    fn batch(rows: &[(Option<i64>, Option<i64>, u8, bool)]) -> RecordBatch {
        let words = ["store", "online", "app", "", "ärger, und noch mehr"];
        let wide = |f: fn(&(Option<i64>, Option<i64>, u8, bool)) -> Option<i64>| rows.iter().map(f).collect::<Vec<_>>();
        let (a, b) = (wide(|r| r.0), wide(|r| r.1));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("wide", Arc::new(Int64Array::from(a.clone()))),
            ("near", Arc::new(Int64Array::from(b.iter().map(|v| v.map(|v| v % 300)).collect::<Vec<_>>()))),
            ("days", Arc::new(Date32Array::from(b.iter().map(|v| v.map(|v| (v % 70_000) as i32)).collect::<Vec<_>>()))),
            ("n", Arc::new(Int32Array::from(rows.iter().map(|r| i32::from(r.2)).collect::<Vec<_>>()))),
            (
                "at",
                Arc::new(
                    TimestampMicrosecondArray::from(b.iter().map(|v| v.map(|v| (v % 5_000_000) * 1_000_000)).collect::<Vec<_>>())
                        .with_timezone("UTC"),
                ),
            ),
            (
                "money",
                Arc::new(
                    Decimal128Array::from(a.iter().map(|v| v.map(|v| i128::from(v) * 3)).collect::<Vec<_>>())
                        .with_precision_and_scale(38, 2)
                        .unwrap(),
                ),
            ),
            ("word", Arc::new(StringArray::from(rows.iter().map(|r| r.3.then(|| words[r.2 as usize % 5])).collect::<Vec<_>>()))),
            ("text", Arc::new(StringArray::from(a.iter().map(|v| v.map(|v| v.to_string())).collect::<Vec<_>>()))),
            ("flag", Arc::new(BooleanArray::from(rows.iter().map(|r| r.3).collect::<Vec<_>>()))),
            ("ratio", Arc::new(Float64Array::from(a.iter().map(|v| v.map(|v| v as f64 / 7.0)).collect::<Vec<_>>()))),
        ];
        let fields: Vec<Field> = columns.iter().map(|(n, c)| Field::new(*n, c.data_type().clone(), true)).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, c)| c).collect()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn what_is_unpacked_is_what_was_packed(
            rows in prop::collection::vec((any::<Option<i64>>(), any::<Option<i64>>(), any::<u8>(), any::<bool>()), 0..400),
            cut in 0_usize..400,
        ) {
            let all = batch(&rows);
            let cut = cut.min(rows.len());
            let parts = [all.slice(0, cut), all.slice(cut, rows.len() - cut)];
            let packed = parts.iter().map(Packed::of).collect();
            prop_assert_eq!(unpacked(&all.schema(), packed).unwrap(), concat_batches(&all.schema(), &parts).unwrap());
        }
    }

    #[test]
    fn numbers_that_are_near_one_another_take_a_byte_each() {
        let rows: Vec<_> = (0..1000).map(|i| (Some(5_000_000_000 + i % 200), Some(i), 1, true)).collect();
        let all = batch(&rows).project(&[0, 4, 6]).unwrap();
        assert!(all.get_array_memory_size() > 20_000);
        assert!(Packed::of(&all).bytes() < 1000 + 2000 + 1000 + 1000, "{}", Packed::of(&all).bytes());
    }
}
