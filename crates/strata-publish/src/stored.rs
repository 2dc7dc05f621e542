//! The types that files have: what every warehouse reads. Never changes a value other than by a checked cast.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::common::{plan_datafusion_err, plan_err};
use datafusion::error::Result;

/// A cast out of range is an error, never a null.
const CHECKED: CastOptions<'static> = CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

/// The schema that rows of `schema` have in a file: no unsigned integers, no views, no dictionaries, timestamps in microseconds
/// (one with a time zone becomes UTC), no metadata. Names, order and nullability stay.
///
/// Errors: `Plan`, naming the column: a type that no reader agrees on, two columns of one name, or no columns at all.
pub fn stored_schema(schema: &Schema) -> Result<SchemaRef> {
    if schema.fields().is_empty() {
        return plan_err!("an output needs at least one column");
    }
    let mut seen = HashSet::new();
    let mut fields = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let name = field.name();
        if !seen.insert(name) {
            return plan_err!("an output has two columns named `{name}`: rename one of them");
        }
        let stored = stored_type(field.data_type())
            .filter(|stored| stored == field.data_type() || can_cast_types(field.data_type(), stored))
            .ok_or_else(|| {
                plan_datafusion_err!("column `{name}` has type `{}`, which cannot be stored: cast it", field.data_type())
            })?;
        fields.push(Field::new(name, stored, field.is_nullable()));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// `batch` with the types of `schema`, which [`stored_schema`] made from the batch's own. Errors: a value out of range.
pub(crate) fn stored_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        columns.push(match column.data_type() == field.data_type() {
            true => Arc::clone(column),
            false => cast_with_options(column, field.data_type(), &CHECKED)
                .map_err(|error| datafusion::error::DataFusionError::from(error).context(format!("column `{}`", field.name())))?,
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// The stored type of a type; `None` where readers do not agree on any.
fn stored_type(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Time32(_) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => DataType::Decimal128(*precision, *scale),
        DataType::Dictionary(_, value) => stored_type(value)?,
        DataType::RunEndEncoded(_, value) => stored_type(value.data_type())?,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(stored_field(item)?)
        }
        DataType::ListView(item) | DataType::LargeListView(item) => DataType::List(stored_field(item)?),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(stored_field).collect::<Option<Vec<_>>>()?.into()),
        DataType::Map(entries, sorted) => DataType::Map(stored_field(entries)?, *sorted),
        DataType::Duration(_) | DataType::Interval(_) | DataType::Union(_, _) => return None,
        plain => plain.clone(),
    })
}

fn stored_field(field: &FieldRef) -> Option<FieldRef> {
    Some(Arc::new(Field::new(field.name(), stored_type(field.data_type())?, field.is_nullable())))
}
