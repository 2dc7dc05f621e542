//! Columns of values as fixed-width keys and back: numbers and dates as they are, texts by number. Never orders rows.

use std::cmp::Ordering;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BooleanArray, LargeStringBuilder, StringBuilder, StringViewBuilder, make_array,
};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeType, DataType, UInt8Type};
use datafusion::common::{Result, internal_err, plan_err};
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::columnar::{primitive, undictionaried};

/// Hashes are the same on every worker: results never depend on them, and neither does memory.
pub(super) const HASHER: FixedState = FixedState::with_seed(0x5354_5241_5441);

/// A fixed-width key of a value.
pub(super) trait Key: ArrowNativeType + Ord + Hash {}
impl<N: ArrowNativeType + Ord + Hash> Key for N {}

/// Turns columns of one type into keys and keys back into columns. Equal values have equal keys.
pub(super) trait Values<N: Key>: Send + Sync {
    fn fresh(&self) -> Self;
    /// A key per row; what stands where a row is not included means nothing.
    fn keys(&mut self, array: &ArrayRef, included: Option<&NullBuffer>) -> Result<ScalarBuffer<N>>;
    /// The values of keys; rows outside `nulls` are null.
    fn column(&self, keys: Vec<N>, nulls: Option<NullBuffer>) -> Result<ArrayRef>;
    /// The order of two values.
    fn compare(&self, left: N, right: N) -> Ordering;
    /// Lets go of values that no key of `live` needs any more; may renumber them.
    fn retain<'a>(&mut self, live: impl ExactSizeIterator<Item = &'a mut N>);
    /// Whether `retain` with this many keys is worth its time.
    fn is_sparse(&self, live: usize) -> bool;
    fn size(&self) -> usize;
}

/// The type as which values of a type are kept. Errors: `Plan`, for types that have no exact equality or order.
pub(super) fn value_type(usage: &str, found: &DataType) -> Result<DataType> {
    let kept = match undictionaried(found) {
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => DataType::Decimal128(*precision, *scale),
        DataType::Null => DataType::Int64,
        DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) => {
            return plan_err!(
                "`{usage}` takes integers, decimals, dates, timestamps, texts and booleans, not {found}: write `cast(x as varchar)`"
            );
        }
        other => other.clone(),
    };
    match &kept {
        _ if kept.is_integer() => {}
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) | DataType::Decimal128(..) => {}
        DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {}
        _ if kept.is_floating() => {
            return plan_err!(
                "`{usage}` counts equal values, and doubles are seldom equal: write `cast(x as decimal(18, 2))` or `cast(x as bigint)`"
            );
        }
        _ => {
            return plan_err!(
                "`{usage}` takes integers, decimals, dates, timestamps, texts and booleans, not {found}: write `cast(x as varchar)`"
            );
        }
    }
    Ok(kept)
}

/// Values that are fixed-width numbers already.
pub(super) struct Plain(pub(super) DataType);

impl<N: Key> Values<N> for Plain {
    fn fresh(&self) -> Self {
        Self(self.0.clone())
    }

    fn keys(&mut self, array: &ArrayRef, _included: Option<&NullBuffer>) -> Result<ScalarBuffer<N>> {
        if *array.data_type() != self.0 {
            return internal_err!("expected {} values and got {}", self.0, array.data_type());
        }
        let data = array.to_data();
        match data.buffers().first() {
            Some(buffer) => Ok(ScalarBuffer::new(buffer.clone(), data.offset(), data.len())),
            None => internal_err!("{} values without a buffer", self.0),
        }
    }

    fn column(&self, keys: Vec<N>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let builder = ArrayData::builder(self.0.clone()).len(keys.len()).nulls(nulls);
        Ok(make_array(builder.add_buffer(Buffer::from_vec(keys)).build()?))
    }

    fn compare(&self, left: N, right: N) -> Ordering {
        left.cmp(&right)
    }

    fn retain<'a>(&mut self, _live: impl ExactSizeIterator<Item = &'a mut N>) {}

    fn is_sparse(&self, _live: usize) -> bool {
        false
    }

    fn size(&self) -> usize {
        0
    }
}

/// Booleans, as 0 and 1.
pub(super) struct Flags;

impl Values<u8> for Flags {
    fn fresh(&self) -> Self {
        Self
    }

    fn keys(&mut self, array: &ArrayRef, _included: Option<&NullBuffer>) -> Result<ScalarBuffer<u8>> {
        let bytes = cast(array, &DataType::UInt8)?;
        Ok(primitive::<UInt8Type>(&bytes)?.values().clone())
    }

    fn column(&self, keys: Vec<u8>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::new(keys.into_iter().map(|key| key == 1).collect(), nulls)))
    }

    fn compare(&self, left: u8, right: u8) -> Ordering {
        left.cmp(&right)
    }

    fn retain<'a>(&mut self, _live: impl ExactSizeIterator<Item = &'a mut u8>) {}

    fn is_sparse(&self, _live: usize) -> bool {
        false
    }

    fn size(&self) -> usize {
        0
    }
}

/// Texts, each kept once for all groups and known by its number in order of arrival.
pub(super) struct Texts {
    data_type: DataType,
    numbers: HashTable<Seen>,
    bytes: String,
    /// Where each text ends.
    ends: Vec<usize>,
    /// The text that was last asked for: texts often come in runs.
    last: Option<Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    glance: Glance,
    number: u32,
}

/// A text's length, and its first and last bytes: all of them where it has no more than sixteen.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Glance {
    length: u32,
    first: u64,
    last: u64,
}

impl Glance {
    /// Texts of so many bytes are told apart by it.
    const WHOLE: usize = 16;

    #[inline]
    fn of(text: &str) -> Self {
        let text = text.as_bytes();
        let n = text.len();
        let four = |at: usize| text.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes);
        let eight = |at: usize| text.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_le_bytes);
        let (first, last) = match n {
            0 => (0, 0),
            1..4 => (u64::from(text[0]) | u64::from(text[n / 2]) << 8 | u64::from(text[n - 1]) << 16, 0),
            4..8 => (u64::from(four(0)) | u64::from(four(n - 4)) << 32, 0),
            _ => (eight(0), eight(n - 8)),
        };
        // A length that does not fit is told apart with the text itself.
        Self { length: n as u32, first, last }
    }

    /// A hash of the text that it is of.
    #[inline]
    fn hash(&self, text: &str) -> u64 {
        if text.len() > Self::WHOLE {
            return HASHER.hash_one(text);
        }
        let folded = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            (product ^ (product >> 64)) as u64
        };
        folded(
            folded(self.first ^ 0x243f_6a88_85a3_08d3, 0x9e37_79b9_7f4a_7c15) ^ self.last ^ u64::from(self.length) << 32,
            0xd6e8_feb8_6659_fd93,
        )
    }
}

impl Texts {
    pub(super) fn new(data_type: DataType) -> Self {
        Self { data_type, numbers: HashTable::new(), bytes: String::new(), ends: Vec::new(), last: None }
    }

    fn text(&self, number: u32) -> &str {
        text(&self.bytes, &self.ends, number)
    }

    #[inline]
    fn number(&mut self, value: &str) -> u32 {
        let glance = Glance::of(value);
        let (bytes, ends) = (&self.bytes, &self.ends);
        let same =
            |seen: &Seen| seen.glance == glance && (value.len() <= Glance::WHOLE || text(bytes, ends, seen.number) == value);
        if let Some(seen) = self.last.filter(same) {
            return seen.number;
        }
        let hash = glance.hash(value);
        if let Some(seen) = self.numbers.find(hash, same) {
            self.last = Some(*seen);
            return seen.number;
        }
        let number = self.ends.len() as u32;
        self.bytes.push_str(value);
        self.ends.push(self.bytes.len());
        let (bytes, ends) = (&self.bytes, &self.ends);
        self.numbers.insert_unique(hash, Seen { glance, number }, |seen| seen.glance.hash(text(bytes, ends, seen.number)));
        number
    }

    fn numbers<'a>(&mut self, texts: impl Iterator<Item = Option<&'a str>>, included: Option<&NullBuffer>) -> ScalarBuffer<u32> {
        let numbers = texts.enumerate().map(|(row, text)| match text {
            Some(text) if included.is_none_or(|included| included.is_valid(row)) => self.number(text),
            _ => 0,
        });
        numbers.collect::<Vec<_>>().into()
    }
}

fn text<'a>(bytes: &'a str, ends: &[usize], number: u32) -> &'a str {
    let number = number as usize;
    let start = if number == 0 { 0 } else { ends[number - 1] };
    &bytes[start..ends[number]]
}

impl Values<u32> for Texts {
    fn fresh(&self) -> Self {
        Self::new(self.data_type.clone())
    }

    fn keys(&mut self, array: &ArrayRef, included: Option<&NullBuffer>) -> Result<ScalarBuffer<u32>> {
        if self.ends.len() + array.len() > u32::MAX as usize {
            return datafusion::common::resources_err!(
                "more than 4 billion different texts in one partition: use more partitions"
            );
        }
        match array.data_type() {
            DataType::Utf8 => Ok(self.numbers(array.as_string::<i32>().iter(), included)),
            DataType::LargeUtf8 => Ok(self.numbers(array.as_string::<i64>().iter(), included)),
            DataType::Utf8View => Ok(self.numbers(array.as_string_view().iter(), included)),
            found => internal_err!("expected texts and got {found}"),
        }
    }

    fn column(&self, keys: Vec<u32>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        let texts = keys.iter().enumerate().map(|(row, key)| valid(row).then(|| self.text(*key)));
        Ok(match self.data_type {
            DataType::Utf8View => {
                let mut out = StringViewBuilder::with_capacity(keys.len());
                texts.for_each(|text| out.append_option(text));
                Arc::new(out.finish())
            }
            DataType::LargeUtf8 => {
                let mut out = LargeStringBuilder::with_capacity(keys.len(), keys.len() * 16);
                texts.for_each(|text| out.append_option(text));
                Arc::new(out.finish())
            }
            _ => {
                let mut out = StringBuilder::with_capacity(keys.len(), keys.len() * 16);
                texts.for_each(|text| out.append_option(text));
                Arc::new(out.finish())
            }
        })
    }

    fn compare(&self, left: u32, right: u32) -> Ordering {
        self.text(left).cmp(self.text(right))
    }

    fn retain<'a>(&mut self, live: impl ExactSizeIterator<Item = &'a mut u32>) {
        let old = std::mem::replace(self, self.fresh());
        for number in live {
            *number = self.number(old.text(*number));
        }
    }

    fn is_sparse(&self, live: usize) -> bool {
        live < self.ends.len() / 2
    }

    fn size(&self) -> usize {
        self.numbers.allocation_size() + self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

/// Builds `$state<N, V>` for the key width `N` and the values `V` of a type.
macro_rules! by_type {
    ($data_type:expr, $state:ident) => {{
        use arrow::datatypes::DataType;
        use $crate::functions::values::{Flags, Plain, Texts};
        let plain = Plain($data_type.clone());
        Ok(match $data_type {
            DataType::Int8 => $state::<i8, _>::boxed(plain),
            DataType::Int16 => $state::<i16, _>::boxed(plain),
            DataType::Int32 | DataType::Date32 => $state::<i32, _>::boxed(plain),
            DataType::Int64 | DataType::Date64 | DataType::Timestamp(..) => $state::<i64, _>::boxed(plain),
            DataType::UInt8 => $state::<u8, _>::boxed(plain),
            DataType::UInt16 => $state::<u16, _>::boxed(plain),
            DataType::UInt32 => $state::<u32, _>::boxed(plain),
            DataType::UInt64 => $state::<u64, _>::boxed(plain),
            DataType::Decimal128(..) => $state::<i128, _>::boxed(plain),
            DataType::Boolean => $state::<u8, _>::boxed(Flags),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => $state::<u32, _>::boxed(Texts::new($data_type.clone())),
            other => return datafusion::common::internal_err!("values of type {other} have no keys"),
        })
    }};
}
pub(super) use by_type;
