//! Packed pieces put together again. Never reorders.

use super::{Codes, Column, Number, Packed, of_numbers};
use arrow::array::StringArray;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, NullBufferBuilder, PrimitiveArray, RecordBatch, RecordBatchOptions,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::concat;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion::common::{Result, exec_err, internal_err};
use std::sync::Arc;

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

/// One column of all pieces.
fn column(data_type: &DataType, parts: Vec<Column>, pieces: &[Packed], rows: usize) -> Result<ArrayRef> {
    if let ([Column::Whole(_)], Some(Column::Whole(array))) = (parts.as_slice(), parts.first()) {
        return Ok(Arc::clone(array));
    }
    if parts.iter().all(|p| matches!(p, Column::Whole(_))) && !parts.is_empty() {
        let arrays: Vec<&dyn Array> =
            parts.iter().filter_map(|p| if let Column::Whole(a) = p { Some(a.as_ref()) } else { None }).collect();
        return Ok(concat(&arrays)?);
    }
    match data_type {
        DataType::Utf8 => spelled(parts, pieces, rows),
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

/// Bytes that are copied at once: words are short most often, and as many bytes as a word has are slower than eight.
const EIGHT: usize = 8;

/// Words one after the other, as the parts of a string array.
struct Speller {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    nulls: NullBufferBuilder,
}

fn spelled(parts: Vec<Column>, pieces: &[Packed], rows: usize) -> Result<ArrayRef> {
    let mut out = Speller { offsets: Vec::with_capacity(rows + 1), bytes: vec![], nulls: NullBufferBuilder::new(rows) };
    out.offsets.push(0);
    for (part, piece) in parts.into_iter().zip(pieces) {
        let own = match part {
            Column::Whole(array) => {
                out.append(array.as_string());
                array.nulls().cloned()
            }
            Column::Words { words, codes, nulls } => {
                out.spell(&words, &codes, nulls.as_ref());
                nulls
            }
            Column::Numbers { .. } => return internal_err!("a column of words holds numbers"),
        };
        match own {
            Some(own) => out.nulls.append_buffer(&own),
            None => out.nulls.append_n_non_nulls(piece.rows),
        }
        if out.bytes.len() > i32::MAX as usize {
            return exec_err!("the words of one column of one bucket are more than 2 GiB: more buckets would hold fewer each");
        }
    }
    let array = StringArray::try_new(OffsetBuffer::new(out.offsets.into()), out.bytes.into(), out.nulls.finish())?;
    Ok(Arc::new(array))
}

impl Speller {
    fn append(&mut self, array: &StringArray) {
        let (from, to) = (array.value_offsets()[0], array.value_offsets()[array.len()]);
        let base = self.bytes.len() as i32 - from;
        self.offsets.extend(array.value_offsets()[1..].iter().map(|at| base.wrapping_add(*at)));
        self.bytes.extend_from_slice(&array.value_data()[from as usize..to as usize]);
    }

    fn spell(&mut self, words: &StringArray, codes: &[u8], nulls: Option<&NullBuffer>) {
        let short: Vec<(usize, Option<[u8; EIGHT]>)> = (0..words.len())
            .map(|w| {
                let word = words.value(w).as_bytes();
                let mut eight = [0; EIGHT];
                let fits = eight.get_mut(..word.len()).map(|start| start.copy_from_slice(word)).is_some();
                (word.len(), fits.then_some(eight))
            })
            .collect();
        let longest = short.iter().map(|(length, _)| *length).max().unwrap_or(0);
        self.bytes.reserve(codes.len() * longest.min(EIGHT) + EIGHT);
        for (row, code) in codes.iter().enumerate() {
            if nulls.is_none_or(|n| n.is_valid(row)) {
                match &short[*code as usize] {
                    (length, Some(eight)) => {
                        let end = self.bytes.len() + length;
                        self.bytes.extend_from_slice(eight);
                        self.bytes.truncate(end);
                    }
                    (_, None) => self.bytes.extend_from_slice(words.value(*code as usize).as_bytes()),
                }
            }
            self.offsets.push(self.bytes.len() as i32);
        }
    }
}
