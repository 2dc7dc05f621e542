//! Rows as CSV. Unless the file is for machines only, it never lets text pass that a spreadsheet would take for a formula.
//!
//! UTF-8 without a mark, a header, fields separated by `,`, lines ended by LF, quoted as RFC 4180 says. A null is an empty field and
//! an empty text is `""`; in a table of one column, where an empty line would be lost to most readers, a null is `""` too. Booleans
//! are `true` and `false`; dates `2025-01-31`; timestamps `2025-01-31T09:30:00Z`, with as many fractional digits as they need (3 or
//! 6); bytes lowercase hex; floats the shortest text that reads back, `NaN`, `inf` and `-inf`. Text that starts with `=`, `+`, `-`, `@`,
//! a tab or CR gets an apostrophe before it (OWASP, CSV injection), unless formulas are kept, and so does text that has one there already; what is no text is never touched.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::fmt::Write;
use strata_operators::write::{FORMULA_STARTS, Formulas};

/// How values are written, also in receipts. Timestamps hold UTC, with a time zone or without.
pub(crate) const TEXT: FormatOptions<'static> = FormatOptions::new()
    .with_display_error(false)
    .with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"))
    .with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"));

/// The header line of `schema`.
pub(crate) fn header(schema: &Schema) -> Vec<u8> {
    let mut line = String::new();
    for (index, field) in schema.fields().iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        push_text(&mut line, field.name(), Formulas::Keep);
    }
    line.push('\n');
    line.into_bytes()
}

/// The lines of `batch`, without a header.
pub(crate) fn lines(batch: &RecordBatch, formulas: Formulas) -> Result<Vec<u8>, ArrowError> {
    let columns = batch.columns().iter().map(Column::try_new).collect::<Result<Vec<_>, _>>()?;
    let null = if columns.len() == 1 { "\"\"" } else { "" };
    let mut text = String::with_capacity(batch.num_rows() * columns.len() * 8);
    for row in 0..batch.num_rows() {
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            column.push(&mut text, row, null, formulas)?;
        }
        text.push('\n');
    }
    Ok(text.into_bytes())
}

/// The one value of `array` at `row` as CSV writes it, unquoted; `None` for a null.
pub(crate) fn value(array: &dyn Array, row: usize) -> Result<Option<String>, ArrowError> {
    match array.is_null(row) {
        true => Ok(None),
        false => ArrayFormatter::try_new(array, &TEXT)?.value(row).try_to_string().map(Some),
    }
}

enum Column<'a> {
    Text(&'a arrow::array::StringArray),
    Plain(&'a dyn Array, ArrayFormatter<'a>),
}

impl<'a> Column<'a> {
    fn try_new(array: &'a ArrayRef) -> Result<Self, ArrowError> {
        match array.data_type() {
            DataType::Utf8 => Ok(Self::Text(array.as_string())),
            _ => Ok(Self::Plain(array.as_ref(), ArrayFormatter::try_new(array.as_ref(), &TEXT)?)),
        }
    }

    // A value that is no text has no comma, quote or line break: numbers, dates, hex, `true` and `false`.
    fn push(&self, text: &mut String, row: usize, null: &str, formulas: Formulas) -> Result<(), ArrowError> {
        match self {
            Self::Text(array) if array.is_null(row) => text.push_str(null),
            Self::Text(array) => push_text(text, array.value(row), formulas),
            Self::Plain(array, _) if array.is_null(row) => text.push_str(null),
            Self::Plain(_, formatter) => {
                write!(text, "{}", formatter.value(row)).map_err(|error| ArrowError::CsvError(error.to_string()))?;
            }
        }
        Ok(())
    }
}

/// Whether a spreadsheet would take the text for a formula; or it looks like one that was escaped, and would be read back as that.
fn is_formula(value: &str) -> bool {
    value.trim_start_matches('\'').starts_with(FORMULA_STARTS)
}

fn push_text(line: &mut String, value: &str, formulas: Formulas) {
    let escaped = formulas == Formulas::Escape && is_formula(value);
    let special = |byte: u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    let padded = value.starts_with([' ', '\t', '\u{feff}']) || value.ends_with([' ', '\t']);
    if !value.is_empty() && !padded && !value.bytes().any(special) {
        line.push_str(if escaped { "'" } else { "" });
        line.push_str(value);
        return;
    }
    line.push_str(if escaped { "\"'" } else { "\"" });
    line.push_str(&value.replace('"', "\"\""));
    line.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    };

    use super::*;

    fn text(columns: Vec<(&str, ArrayRef)>) -> String {
        with_formulas(columns, Formulas::Escape)
    }

    fn with_formulas(columns: Vec<(&str, ArrayRef)>, formulas: Formulas) -> String {
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
        let mut bytes = header(&batch.schema());
        bytes.extend(lines(&batch, formulas).unwrap());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_text_and_numbers_are_not_touched() {
        let texts = ["=1+1", "+49 30 1", "-5", "@SUM(A1)", "\t=1", "\r=1", "=1,2", "a=b", "007", "'=1"];
        let columns = || -> Vec<(&str, ArrayRef)> {
            vec![("t", Arc::new(StringArray::from(texts.to_vec()))), ("n", Arc::new(Int64Array::from(vec![-5; 10])))]
        };
        assert_eq!(
            text(columns()),
            "t,n\n'=1+1,-5\n'+49 30 1,-5\n'-5,-5\n'@SUM(A1),-5\n\"'\t=1\",-5\n\"'\r=1\",-5\n\"'=1,2\",-5\na=b,-5\n007,-5\n''=1,-5\n"
        );
        let kept = with_formulas(columns(), Formulas::Keep);
        assert!(kept.starts_with("t,n\n=1+1,-5\n+49 30 1,-5\n-5,-5\n"), "{kept}");
    }

    #[test]
    fn quotes_what_a_reader_would_misread() {
        let names =
            vec![Some("a"), None, Some(""), Some("x,y"), Some("say \"hi\""), Some("two\nlines"), Some("cr\r"), Some(" pad")];
        let count = names.len() as i64;
        let columns: Vec<(&str, ArrayRef)> =
            vec![("na,me", Arc::new(StringArray::from(names))), ("n", Arc::new(Int64Array::from_iter_values(0..count)))];
        let expected =
            "\"na,me\",n\na,0\n,1\n\"\",2\n\"x,y\",3\n\"say \"\"hi\"\"\",4\n\"two\nlines\",5\n\"cr\r\",6\n\" pad\",7\n";
        assert_eq!(text(columns), expected);
    }

    #[test]
    fn values_have_one_text() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("b", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
            ("d", Arc::new(Date32Array::from(vec![Some(0), Some(20119), None]))),
            ("t", Arc::new(TimestampMicrosecondArray::from(vec![Some(0), Some(1_738_315_800_250_000), None]))),
            ("u", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), Some(1_000_000), None]).with_timezone("UTC"))),
            ("p", Arc::new(Decimal128Array::from(vec![Some(-5), Some(12345), None]).with_precision_and_scale(10, 2).unwrap())),
            ("f", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN), None]))),
            ("x", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), Some(&b""[..]), None]))),
        ];
        let expected = "b,d,t,u,p,f,x\n\
            true,1970-01-01,1970-01-01T00:00:00Z,1969-12-31T23:59:59.999999Z,-0.05,0.1,00ff\n\
            false,2025-01-31,2025-01-31T09:30:00.250Z,1970-01-01T00:00:01Z,123.45,NaN,\n\
            ,,,,,,\n";
        assert_eq!(text(columns), expected);
    }

    #[test]
    fn one_column_keeps_its_null_rows() {
        let columns: Vec<(&str, ArrayRef)> = vec![("n", Arc::new(Int64Array::from(vec![Some(1), None])))];
        assert_eq!(text(columns), "n\n1\n\"\"\n");
    }
}
