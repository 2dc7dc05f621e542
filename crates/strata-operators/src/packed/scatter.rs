//! Rows of several batches spread over buckets and packed in the same pass. Never reorders the rows of a bucket.

use super::{Codes, Column, Packed, ROWS_MIN, concatenated, packed, slice_bytes};
use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::take;
use datafusion::common::Result;

/// Which row goes to which bucket.
pub(crate) struct Order {
    /// Rows of all buckets, bucket by bucket, each in the order they came.
    rows: UInt32Array,
    /// Where each bucket's rows begin, and where the last ones end.
    starts: Vec<usize>,
}

impl Order {
    /// Of the bucket of each row, below `buckets`; rows of the number `buckets` go nowhere.
    pub(crate) fn of(bucket_of: &[u32], buckets: usize) -> Self {
        let mut starts = vec![0_usize; buckets + 2];
        bucket_of.iter().for_each(|b| starts[*b as usize + 1] += 1);
        (1..starts.len()).for_each(|b| starts[b] += starts[b - 1]);
        let mut next = starts.clone();
        let mut rows = vec![0_u32; bucket_of.len()];
        for (row, bucket) in bucket_of.iter().enumerate() {
            let at = &mut next[*bucket as usize];
            rows[*at] = row as u32;
            *at += 1;
        }
        starts.truncate(buckets + 1);
        rows.truncate(starts[buckets]);
        Self { rows: rows.into(), starts }
    }

    /// Rows of each bucket.
    fn each(&self) -> impl Iterator<Item = &[u32]> {
        self.starts.windows(2).map(|w| &self.rows.values()[w[0]..w[1]])
    }
}

impl Packed {
    /// The rows of `batches`, taken for one, bucket by bucket. Errors: what arrow says of arrays that are too large.
    pub(crate) fn scattered(batches: &[RecordBatch], order: &Order) -> Result<Vec<Self>> {
        let buckets = order.starts.len() - 1;
        let mut pieces: Vec<Self> =
            order.each().map(|rows| Self { rows: rows.len(), columns: vec![], bytes: 0, whole_bytes: 0 }).collect();
        let width = batches.first().map_or(0, RecordBatch::num_columns);
        let all: usize = batches.iter().map(RecordBatch::num_rows).sum();
        for i in 0..width {
            let parts: Vec<ArrayRef> = batches.iter().map(|b| ArrayRef::clone(b.column(i))).collect();
            let whole: usize = parts.iter().map(slice_bytes).sum();
            let found = if order.rows.len() < ROWS_MIN { None } else { packed(&parts) };
            let column = match found {
                Some(column) => column,
                None => Column::Whole(concatenated(&parts)?),
            };
            drop(parts);
            for (piece, part) in pieces.iter_mut().zip(column.split(order)?) {
                piece.bytes += part.bytes(buckets);
                // Its part of what all rows take: exact but for words and texts.
                piece.whole_bytes += whole * piece.rows / all.max(1);
                piece.columns.push(part);
            }
        }
        Ok(pieces)
    }
}

impl Column {
    fn split(self, order: &Order) -> Result<Vec<Self>> {
        match self {
            Self::Whole(array) => {
                let of = |w: &[usize]| Ok(Self::Whole(take(&array, &order.rows.slice(w[0], w[1] - w[0]), None)?));
                order.starts.windows(2).map(of).collect()
            }
            Self::Numbers { base, step, codes, nulls } => {
                let parts = order.each().map(|rows| Self::Numbers {
                    base,
                    step,
                    codes: codes.taken(rows),
                    nulls: nulls_of(&nulls, rows),
                });
                Ok(parts.collect())
            }
            Self::Words { words, codes, nulls } => {
                let parts = order.each().map(|rows| Self::Words {
                    words: words.clone(),
                    codes: taken(&codes, rows),
                    nulls: nulls_of(&nulls, rows),
                });
                Ok(parts.collect())
            }
        }
    }
}

impl Codes {
    fn taken(&self, rows: &[u32]) -> Self {
        match self {
            Self::Zero => Self::Zero,
            Self::Bytes(codes) => Self::Bytes(taken(codes, rows)),
            Self::Shorts(codes) => Self::Shorts(taken(codes, rows)),
            Self::Longs(codes) => Self::Longs(taken(codes, rows)),
        }
    }
}

fn taken<C: Copy>(codes: &[C], rows: &[u32]) -> Vec<C> {
    rows.iter().map(|row| codes[*row as usize]).collect()
}

/// `None` where none of the rows is null.
fn nulls_of(nulls: &Option<NullBuffer>, rows: &[u32]) -> Option<NullBuffer> {
    let valid = nulls.as_ref()?.inner();
    let taken = NullBuffer::new(BooleanBuffer::collect_bool(rows.len(), |i| valid.value(rows[i] as usize)));
    (taken.null_count() > 0).then_some(taken)
}
