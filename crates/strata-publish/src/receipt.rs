//! Receipts: what a write task says about the one file it made. Never reads a file: a receipt is believed, and checked against the
//! folder's listing at commit.
//!
//! A receipt travels as a row and is not written beside its file. On a cluster a finished stage's rows can vanish with their worker
//! before they are fetched; receipts in the folder would not help then, because an attempt that was retried leaves some too, and a
//! listing cannot tell which set of them is one whole attempt. The engine runs the step again under a new attempt token instead.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use serde::{Deserialize, Serialize};
use strata_operators::write::receipt_schema;

use crate::content::ContentHash;
use crate::error::Error;

/// One written file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// File name, relative to the run's folder.
    pub path: String,
    /// Rows in the file.
    pub rows: i64,
    /// Bytes of the file.
    pub bytes: i64,
    /// Content hash of its rows.
    pub content: ContentHash,
    /// Statistics, one per column, in table order.
    pub columns: Vec<ColumnStats>,
}

/// What is known about one column of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnStats {
    /// Column name.
    pub name: String,
    /// Rows in which it is null.
    pub nulls: i64,
    /// Smallest value as CSV writes it; absent for columns the plan does not name, for text, and where every value is null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// Largest value, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
}

impl Receipt {
    /// The receipts in `batches`, which have [`receipt_schema`], sorted by path.
    ///
    /// Errors: `Internal` for any other schema or a value that is no receipt.
    pub fn from_batches(batches: &[RecordBatch]) -> Result<Vec<Self>, Error> {
        let mut receipts = Vec::new();
        for batch in batches {
            if batch.schema().fields() != receipt_schema().fields() {
                return Err(Error::receipt(format!("columns are {:?}", batch.schema().fields())));
            }
            for row in 0..batch.num_rows() {
                receipts.push(Self::from_row(batch, row)?);
            }
        }
        receipts.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(receipts)
    }

    /// `receipts` as one batch of [`receipt_schema`], in their order.
    pub fn to_batch(receipts: &[Self]) -> Result<RecordBatch, Error> {
        let json = |receipt: &Self| serde_json::to_string(&receipt.columns);
        let columns =
            receipts.iter().map(json).collect::<Result<Vec<_>, _>>().map_err(|error| Error::receipt(error.to_string()))?;
        let text = |values: Vec<String>| Arc::new(StringArray::from(values)) as Arc<dyn Array>;
        let number = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as Arc<dyn Array>;
        RecordBatch::try_new(
            receipt_schema(),
            vec![
                text(receipts.iter().map(|receipt| receipt.path.clone()).collect()),
                number(receipts.iter().map(|receipt| receipt.rows).collect()),
                number(receipts.iter().map(|receipt| receipt.bytes).collect()),
                text(receipts.iter().map(|receipt| receipt.content.to_string()).collect()),
                text(columns),
            ],
        )
        .map_err(|error| Error::receipt(error.to_string()))
    }

    fn from_row(batch: &RecordBatch, row: usize) -> Result<Self, Error> {
        if batch.columns().iter().any(|column| column.is_null(row)) {
            return Err(Error::receipt("a value is null".into()));
        }
        let text = |column: usize| batch.column(column).as_string::<i32>().value(row);
        let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
        let receipt = Self {
            path: text(0).to_owned(),
            rows: number(1),
            bytes: number(2),
            content: text(3).parse().map_err(Error::receipt)?,
            columns: serde_json::from_str(text(4)).map_err(|error| Error::receipt(error.to_string()))?,
        };
        match receipt.rows < 0 || receipt.bytes < 0 || receipt.path.is_empty() {
            true => Err(Error::receipt(format!("`{}` has {} rows and {} bytes", receipt.path, receipt.rows, receipt.bytes))),
            false => Ok(receipt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn receipt(path: &str) -> Receipt {
        let born = ColumnStats { name: "born".into(), nulls: 1, min: Some("1950-01-02".into()), max: Some("2001-12-31".into()) };
        let name = ColumnStats { name: "name".into(), nulls: 0, min: None, max: None };
        Receipt { path: path.into(), rows: 3, bytes: 120, content: ContentHash::default(), columns: vec![born, name] }
    }

    #[test]
    fn receipts_read_back_sorted() {
        let batch = Receipt::to_batch(&[receipt("b"), receipt("a")]).unwrap();
        assert_eq!(Receipt::from_batches(&[batch]).unwrap(), [receipt("a"), receipt("b")]);
        assert_eq!(Receipt::from_batches(&[]).unwrap(), []);
    }

    #[test]
    fn refuses_other_batches() {
        let batch = Receipt::to_batch(&[Receipt { rows: -1, ..receipt("a") }]).unwrap();
        assert_eq!(Receipt::from_batches(&[batch]).unwrap_err().kind(), Kind::Internal);
        let other = Receipt::to_batch(&[receipt("a")]).unwrap().project(&[0, 1]).unwrap();
        assert_eq!(Receipt::from_batches(&[other]).unwrap_err().kind(), Kind::Internal);
    }
}
