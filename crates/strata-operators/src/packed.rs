//! A batch held small: a column of whole numbers as distances from its least value in as few bytes as they need, a column of few different words
//! as numbers of words. What waits for its bucket to be complete is most of what a run holds. Never loses a bit: what is unpacked is what was packed.

mod scatter;
mod unpack;

pub(crate) use scatter::Order;
pub(crate) use unpack::unpacked;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::array::{MutableArrayData, NullBufferBuilder, make_array};
use arrow::buffer::NullBuffer;
use arrow::compute::concat;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion::common::Result;
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
    whole_bytes: usize,
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
    /// The number, if it fits; its low bits otherwise.
    fn whole(self) -> i64;
    fn widen(value: i64) -> Self;
}

impl Number for i32 {
    fn narrow(self) -> Option<i64> {
        Some(i64::from(self))
    }
    fn whole(self) -> i64 {
        i64::from(self)
    }
    fn widen(value: i64) -> Self {
        value as Self
    }
}

impl Number for i64 {
    fn narrow(self) -> Option<i64> {
        Some(self)
    }
    fn whole(self) -> i64 {
        self
    }
    fn widen(value: i64) -> Self {
        value
    }
}

impl Number for i128 {
    fn narrow(self) -> Option<i64> {
        i64::try_from(self).ok()
    }
    fn whole(self) -> i64 {
        self as i64
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

use of_numbers;

impl Packed {
    /// `batch`, smaller where it can be.
    pub(crate) fn of(batch: &RecordBatch) -> Self {
        let small = batch.num_rows() < ROWS_MIN;
        let columns: Vec<Column> = batch
            .columns()
            .iter()
            .map(|c| if small { None } else { packed(std::slice::from_ref(c)) }.unwrap_or_else(|| Column::Whole(own(c))))
            .collect();
        let bytes = columns.iter().map(|c| c.bytes(1)).sum();
        Self { rows: batch.num_rows(), columns, bytes, whole_bytes: whole_bytes(batch) }
    }

    /// Rows that it holds.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that its rows take when they are unpacked.
    pub(crate) fn whole_bytes(&self) -> usize {
        self.whole_bytes
    }
}

/// Bytes that a batch takes when it is not packed; what it is a slice of is not counted.
fn whole_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(slice_bytes).sum()
}

fn slice_bytes(column: &ArrayRef) -> usize {
    column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
}

impl Column {
    /// Bytes that it holds, of its words only its part where so many pieces share them.
    fn bytes(&self, holders: usize) -> usize {
        let of_nulls = |nulls: &Option<NullBuffer>| nulls.as_ref().map_or(0, |n| n.len() / 8);
        match self {
            Self::Whole(array) => array.get_array_memory_size(),
            Self::Numbers { codes, nulls, .. } => of_nulls(nulls) + codes.bytes(),
            Self::Words { words, codes, nulls } => of_nulls(nulls) + codes.len() + words.get_array_memory_size() / holders.max(1),
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

/// The parts of a column, one after the other, as one that is smaller; `None` where it would not be.
fn packed(parts: &[ArrayRef]) -> Option<Column> {
    match parts.first()?.data_type() {
        DataType::Utf8 => words(&parts.iter().map(|p| p.as_string()).collect::<Vec<_>>()),
        other => of_numbers!(other, T => numbers(&parts.iter().map(|p| p.as_primitive::<T>()).collect::<Vec<_>>()), None),
    }
}

/// The parts as one array. Errors: what arrow says of arrays that are too large.
fn concatenated(parts: &[ArrayRef]) -> Result<ArrayRef> {
    match parts {
        [only] => Ok(Arc::clone(only)),
        _ => Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?),
    }
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

/// Which values of the parts are null, in memory of its own; None where none is.
fn own_nulls<A: Array>(parts: &[&A]) -> Option<NullBuffer> {
    if parts.iter().all(|p| p.null_count() == 0) {
        return None;
    }
    let mut all = NullBufferBuilder::new(parts.iter().map(|p| p.len()).sum());
    for part in parts {
        match part.nulls() {
            Some(nulls) => all.append_buffer(nulls),
            None => all.append_n_non_nulls(part.len()),
        }
    }
    all.finish()
}

/// None where the numbers are too far apart.
fn numbers<T: ArrowPrimitiveType<Native: Number>>(parts: &[&PrimitiveArray<T>]) -> Option<Column> {
    let steps: &[i64] = match T::DATA_TYPE {
        DataType::Timestamp(_, _) => &STEPS,
        _ => &[],
    };
    let all: Vec<&[T::Native]> = parts.iter().map(|p| &p.values()[..]).collect();
    let all_fit = all.iter().all(|p| p.iter().all(|v| v.narrow().is_some()));
    let Some(nulls) = own_nulls(parts) else {
        return if all_fit { coded(&all, None, steps) } else { None };
    };
    let each = || all.iter().flat_map(|p| p.iter()).zip(&nulls);
    if !all_fit && each().any(|(value, valid)| valid && value.narrow().is_none()) {
        return None;
    }
    // What stands under a null is anything; the first value stands there now, so that it widens nothing.
    let first = each().find(|(_, valid)| *valid).map_or(0, |(value, _)| value.whole());
    let values: Vec<i64> = each().map(|(value, valid)| if valid { value.whole() } else { first }).collect();
    coded(&[&values[..]], Some(nulls), steps)
}

/// The numbers as distances from the least of them; all fit 64 bits. None where they are too far apart.
fn coded<N: Number>(parts: &[&[N]], nulls: Option<NullBuffer>, steps: &[i64]) -> Option<Column> {
    let ends = |ends: (i64, i64), v: &N| (ends.0.min(v.whole()), ends.1.max(v.whole()));
    let (base, most) = parts.iter().fold((i64::MAX, i64::MIN), |found, part| part.iter().fold(found, ends));
    if base > most {
        return None;
    }
    let widest = most.checked_sub(base)?;
    if widest == 0 {
        return Some(Column::Numbers { base, step: 1, codes: Codes::Zero, nulls });
    }
    let of_step = |step: i64| Some((step, codes_of(step, parts, base, widest)?));
    let (step, codes) = steps.iter().find_map(|step| of_step(*step)).or_else(|| of_step(1))?;
    Some(Column::Numbers { base, step, codes, nulls })
}

/// A time stamp in microseconds is often one of days, or of seconds, or of milliseconds.
const STEPS: [i64; 3] = [86_400_000_000, 1_000_000, 1_000];

/// Distances from `base` as numbers of steps; None where one is no whole number, or too large.
fn codes_of<N: Number>(step: i64, parts: &[&[N]], base: i64, widest: i64) -> Option<Codes> {
    match step {
        86_400_000_000 => codes::<86_400_000_000, N>(parts, base, widest),
        1_000_000 => codes::<1_000_000, N>(parts, base, widest),
        1_000 => codes::<1_000, N>(parts, base, widest),
        _ => codes::<1, N>(parts, base, widest),
    }
}

/// How many values tell that a step does not fit, before all are tried.
const TRIED: usize = 16;

fn codes<const STEP: i64, N: Number>(parts: &[&[N]], base: i64, widest: i64) -> Option<Codes> {
    if parts.iter().any(|part| part.iter().take(TRIED).any(|v| (v.whole() - base) % STEP != 0)) {
        return None;
    }
    let rows = parts.iter().map(|p| p.len()).sum();
    match widest / STEP {
        ..=0xff => each_code::<STEP, N, u8>(parts, base, rows, |code| code as u8).map(Codes::Bytes),
        0x100..=0xffff => each_code::<STEP, N, u16>(parts, base, rows, |code| code as u16).map(Codes::Shorts),
        0x1_0000..=0xffff_ffff => each_code::<STEP, N, u32>(parts, base, rows, |code| code as u32).map(Codes::Longs),
        _ => None,
    }
}

fn each_code<const STEP: i64, N: Number, C>(parts: &[&[N]], base: i64, rows: usize, of: impl Fn(i64) -> C) -> Option<Vec<C>> {
    let mut out = Vec::with_capacity(rows);
    let mut rest = 0;
    for part in parts {
        out.extend(part.iter().map(|v| {
            let distance = v.whole() - base;
            let code = distance / STEP;
            rest |= distance - code * STEP;
            of(code)
        }));
    }
    (rest == 0).then_some(out)
}

/// None where there are too many different words.
fn words(parts: &[&StringArray]) -> Option<Column> {
    let nulls = own_nulls(parts);
    let mut found: Vec<(Start, &[u8])> = vec![];
    let mut codes: Vec<u8> = Vec::with_capacity(parts.iter().map(|p| p.len()).sum());
    let mut last: Option<usize> = None;
    for part in parts {
        let bytes = part.value_data();
        for (row, at) in part.value_offsets().windows(2).enumerate() {
            if part.is_null(row) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, TimestampMicrosecondArray,
    };
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    type Row = (Option<i64>, Option<i64>, u8, bool);

    fn batch(rows: &[Row]) -> RecordBatch {
        let words = ["store", "online", "app", "", "ärger, und noch mehr"];
        let wide = |f: fn(&Row) -> Option<i64>| rows.iter().map(f).collect::<Vec<_>>();
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
