//! Rows as JSON lines (RFC 8259, UTF-8): one object a row, columns in order. It never leaves a column out: a null is `null`.
//!
//! Whole numbers and decimals are numbers with all their digits; floats the shortest text that reads back, and `null` where JSON has no
//! number (NaN, infinite); dates, times and timestamps text as in RFC 3339; bytes lowercase hex; lists arrays, structs objects.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::util::display::ArrayFormatter;

use crate::csv::TEXT;

/// Whether a value of the type has a form in JSON lines: everything but maps, whose keys need not be text.
pub(crate) fn can_hold(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => can_hold(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| can_hold(field.data_type())),
        other => !other.is_nested(),
    }
}

/// The lines of `batch`, whose columns [`can_hold`] allows.
pub(crate) fn lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let schema = batch.schema();
    let keys = schema.fields().iter().map(|field| quoted(field.name())).collect::<Result<Vec<_>, _>>()?;
    let mut out = String::with_capacity(batch.num_rows() * keys.len() * 16);
    for row in 0..batch.num_rows() {
        for (at, (key, column)) in keys.iter().zip(batch.columns()).enumerate() {
            out.push(if at == 0 { '{' } else { ',' });
            out.push_str(key);
            out.push(':');
            push(&mut out, column, row)?;
        }
        out.push_str("}\n");
    }
    Ok(out.into_bytes())
}

fn push(out: &mut String, array: &dyn Array, row: usize) -> Result<(), ArrowError> {
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Utf8 => out.push_str(&quoted(array.as_string::<i32>().value(row))?),
        DataType::Float32 => push_float(out, f64::from(array.as_primitive::<Float32Type>().value(row)), array, row)?,
        DataType::Float64 => push_float(out, array.as_primitive::<Float64Type>().value(row), array, row)?,
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            for at in 0..items.len() {
                out.push(if at == 0 { '[' } else { ',' });
                push(out, &items, at)?;
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        DataType::Struct(fields) => {
            let parts = array.as_struct();
            for (at, field) in fields.iter().enumerate() {
                out.push(if at == 0 { '{' } else { ',' });
                out.push_str(&quoted(field.name())?);
                out.push(':');
                push(out, parts.column(at), row)?;
            }
            out.push_str(if fields.is_empty() { "{}" } else { "}" });
        }
        DataType::Boolean | DataType::Decimal128(..) | DataType::Decimal256(..) => out.push_str(&text(array, row)?),
        plain if plain.is_integer() => out.push_str(&text(array, row)?),
        _ => out.push_str(&quoted(&text(array, row)?)?),
    }
    Ok(())
}

fn push_float(out: &mut String, value: f64, array: &dyn Array, row: usize) -> Result<(), ArrowError> {
    match value.is_finite() {
        true => out.push_str(&text(array, row)?),
        false => out.push_str("null"),
    }
    Ok(())
}

fn text(array: &dyn Array, row: usize) -> Result<String, ArrowError> {
    ArrayFormatter::try_new(array, &TEXT)?.value(row).try_to_string()
}

fn quoted(text: &str) -> Result<String, ArrowError> {
    serde_json::to_string(text).map_err(|error| ArrowError::JsonError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray,
        TimestampMicrosecondArray,
    };
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn every_value_has_one_form() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(StringArray::from(vec![Some("007"), Some("a\"b\n"), None]))),
            ("n", Arc::new(Int64Array::from(vec![Some(9_007_199_254_740_993), Some(-1), None]))),
            ("ok", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
            ("p", Arc::new(Decimal128Array::from(vec![Some(-5), Some(12345), None]).with_precision_and_scale(10, 2).unwrap())),
            ("f", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN), None]))),
            ("d", Arc::new(Date32Array::from(vec![Some(20119), Some(0), None]))),
            ("t", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_738_315_800_250_000), Some(0), None]))),
            ("l", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), Some(vec![]), None]))),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
        let text = String::from_utf8(lines(&batch).unwrap()).unwrap();
        let expected = [
            r#"{"id":"007","n":9007199254740993,"ok":true,"p":-0.05,"f":0.1,"d":"2025-01-31","t":"2025-01-31T09:30:00.250Z","l":[1,null]}"#,
            r#"{"id":"a\"b\n","n":-1,"ok":false,"p":123.45,"f":null,"d":"1970-01-01","t":"1970-01-01T00:00:00Z","l":[]}"#,
            r#"{"id":null,"n":null,"ok":null,"p":null,"f":null,"d":null,"t":null,"l":null}"#,
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }
}
