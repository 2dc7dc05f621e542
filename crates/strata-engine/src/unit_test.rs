//! A pipeline's own tests: given rows go through the same compiler and the same steps as a run's, and what comes out is held against
//! what was expected. Never reads a source's files.

use crate::error::{Error, Result};
use crate::load::Loaded;
use crate::runner::Runner;
use crate::trial::Trial;
use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use chrono_tz::Tz;
use datafusion::common::ScalarValue;
use parquet::arrow::ArrowWriter;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use strata_operators::pinned::{PinnedFile, PinnedFormat, PinnedTable};
use strata_plan::{Catalog, Clock, Node};
use strata_runtime::store;
use strata_spec::pipeline::AsOf;
use strata_spec::pipeline::test::{Cell, Expect, Row, UnitTest};
use strata_spec::{Pipeline, Span};

/// Relative difference up to which two doubles are the same: what is written has few digits.
const SAME: f64 = 1e-9;

/// A value that is not what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Where the expectation stands.
    pub span: Span,
    /// Which value, e.g. `order_count of a`.
    pub what: String,
    /// As written.
    pub expected: String,
    /// What came out.
    pub got: String,
}

/// Runs one test of a loaded pipeline; tables between steps go below `work`, an empty folder. Gives what is not as expected.
/// Errors: as a run's; `Failed` where a given value does not fit its column.
pub async fn run(loaded: &Loaded, test: &UnitTest, runner: &dyn Runner, work: &Path) -> Result<Vec<Mismatch>> {
    let Some(pipeline) = &loaded.pipeline else { return Err(Error::Invalid(1)) };
    let as_of = match &test.as_of {
        Some(AsOf::Literal(at)) => at.value,
        Some(AsOf::Run) | None => loaded.clock.as_of,
    };
    let catalog = given(loaded, pipeline, test, work)?;
    let mut trial = Trial::over(loaded, catalog, Clock { as_of, ..loaded.clock }, runner, &work.join("steps"))?;
    let Some(entity) = pipeline.entity(test.entity.as_str()) else { return Err(Error::Invalid(1)) };
    let expected: Vec<&Row> = match &test.expect {
        Expect::One(row) => vec![row],
        Expect::ByKey(rows) => rows.iter().collect(),
    };
    let key = entity.key.value.as_str();
    let names: BTreeSet<&str> = expected.iter().flat_map(|r| &r.cells).map(|c| c.column.as_str()).filter(|n| *n != key).collect();
    let stands_under = columns(pipeline, test.entity.as_str(), &names);
    let names: BTreeSet<String> = stands_under.values().cloned().collect();
    let node = Node::Columns { entity: test.entity.value.clone(), names: names.into_iter().collect() };
    let (_, batches) = trial.rows(&node).await?;
    let table = Table { key, batches, stands_under, zone: pipeline.timezone };
    match &test.expect {
        Expect::One(row) => table.compare_one(row),
        Expect::ByKey(rows) => table.compare(rows),
    }
}

/// The column that each expected name stands for: an attribute, a segment column, or a segmentation, which is its first column.
fn columns(pipeline: &Pipeline, entity: &str, names: &BTreeSet<&str>) -> BTreeMap<String, String> {
    let own = |n: &str| pipeline.segments.iter().find(|s| s.entity.value == entity && s.name.value == n);
    let column = |n: &str| own(n).and_then(|s| s.columns().first().copied()).unwrap_or(n).to_owned();
    names.iter().map(|n| ((*n).to_owned(), column(n))).collect()
}

/// The given rows as files, in place of every source's own.
fn given(loaded: &Loaded, pipeline: &Pipeline, test: &UnitTest, work: &Path) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    for source in &pipeline.sources {
        let name = source.name.value.as_str();
        let Some(known) = loaded.catalog.sources.get(name) else {
            return Err(Error::Failed {
                step: format!("given {name}"),
                message: format!(
                    "the columns of `{name}` are not known\n  help: declare `columns:` for it (`strata contract infer` \
                     writes them), or set the variables of its path with `-p`"
                ),
            });
        };
        let rows: Vec<&Row> = test.given.iter().filter(|(n, _)| n.value == name).flat_map(|(_, rows)| rows).collect();
        let fields = known.schema.fields().iter().map(|f| Field::new(f.name(), f.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        check_columns(loaded, &schema, name, &rows)?;
        let zone = pipeline.timezone;
        let arrays = schema.fields().iter().map(|f| column(loaded, f, &rows, zone)).collect::<Result<Vec<_>>>()?;
        let failed = |message: String| Error::Failed { step: format!("given {name}"), message };
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(|e| failed(e.to_string()))?;
        let path = work.join(format!("{name}.parquet"));
        let size = write(&path, &batch).map_err(failed)?;
        let place = store::place(&path.to_string_lossy()).map_err(|e| failed(e.to_string()))?;
        let file = PinnedFile {
            path: place.path.to_string(),
            size,
            modified_us: 0,
            etag: None,
            rows: Some(batch.num_rows() as u64),
            hive_values: vec![],
            columns: vec![],
        };
        let table = PinnedTable {
            store: place.store_url,
            format: PinnedFormat::Parquet,
            schema,
            hive: 0,
            files: vec![file],
            complete: vec![],
        };
        catalog.sources.insert(name.to_owned(), table);
    }
    Ok(catalog)
}

/// Errors: `Failed` at a given value whose column the source does not have.
fn check_columns(loaded: &Loaded, schema: &Schema, source: &str, rows: &[&Row]) -> Result<()> {
    for cell in rows.iter().flat_map(|r| &r.cells) {
        if schema.field_with_name(cell.column.as_str()).is_err() {
            let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            return Err(Error::Failed {
                step: loaded.source.place(cell.column.span),
                message: format!("`{source}` has no column `{}`\n  help: it has: {}", cell.column.value, names.join(", ")),
            });
        }
    }
    Ok(())
}

fn column(loaded: &Loaded, field: &Field, rows: &[&Row], zone: Tz) -> Result<ArrayRef> {
    let cell_of = |row: &Row| row.cells.iter().find(|c| c.column.value == *field.name()).cloned();
    let cells: Vec<Option<Cell>> = rows.iter().map(|r| cell_of(r)).collect();
    let written = |c: &Cell| c.text.as_ref().map(|text| in_utc(text, field.data_type(), zone).into_owned());
    let texts: StringArray = cells.iter().map(|c| c.as_ref().and_then(written)).collect();
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    if let Ok(array) = cast_with_options(&texts, field.data_type(), &strict) {
        return Ok(array);
    }
    // Which one does not fit.
    for cell in cells.iter().flatten() {
        if let Some(text) = &cell.text
            && value(text, field.data_type(), zone).is_none()
        {
            return Err(Error::Failed {
                step: loaded.source.place(cell.span),
                message: format!("`{text}` does not fit `{}`, which is {}", field.name(), kind(field.data_type())),
            });
        }
    }
    Err(Error::Failed {
        step: "given".into(),
        message: format!("`{}` cannot be given: it is {}", field.name(), kind(field.data_type())),
    })
}

fn write(path: &Path, batch: &RecordBatch) -> std::result::Result<u64, String> {
    let file = std::fs::File::create(path).map_err(|e| format!("cannot write `{}`: {e}", path.display()))?;
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).map_err(|e| e.to_string())?;
    writer.write(batch).map_err(|e| e.to_string())?;
    writer.close().map_err(|e| e.to_string())?;
    std::fs::metadata(path).map(|m| m.len()).map_err(|e| e.to_string())
}

/// A written time of the pipeline's zone as the engine reads it; other values as they are.
fn in_utc<'a>(text: &'a str, kind: &DataType, zone: Tz) -> Cow<'a, str> {
    let instant = matches!(kind, DataType::Timestamp(..)).then(|| strata_spec::instant(text.trim(), zone)).flatten();
    instant.map_or(Cow::Borrowed(text), |t| Cow::Owned(t.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()))
}

/// A written value as a value of that type.
fn value(text: &str, kind: &DataType, zone: Tz) -> Option<ScalarValue> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let array = cast_with_options(&StringArray::from(vec![in_utc(text, kind, zone).as_ref()]), kind, &strict).ok()?;
    ScalarValue::try_from_array(&array, 0).ok().filter(|v| !v.is_null())
}

fn kind(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "a text".into(),
        DataType::Boolean => "true or false".into(),
        DataType::Date32 | DataType::Date64 => "a day".into(),
        DataType::Timestamp(..) => "a time".into(),
        k if k.is_integer() => "a whole number".into(),
        k if k.is_numeric() => "a number".into(),
        other => other.to_string(),
    }
}

/// What came out.
struct Table<'a> {
    key: &'a str,
    batches: Vec<RecordBatch>,
    /// The column of each expected name.
    stands_under: BTreeMap<String, String>,
    /// Of written times.
    zone: Tz,
}

impl Table<'_> {
    fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    fn compare_one(&self, row: &Row) -> Result<Vec<Mismatch>> {
        if self.rows() != 1 {
            let expected = "one row".to_owned();
            let help = "name the rows: `expect: [{key: …, …}]`";
            return Ok(vec![Mismatch {
                span: row.span,
                what: "the number of rows".into(),
                expected,
                got: format!("{} rows ({help})", self.rows()),
            }]);
        }
        let Some(batch) = self.batches.iter().find(|b| b.num_rows() == 1) else { return Ok(vec![]) };
        let mut out = vec![];
        self.compare_row(batch, 0, row, "", &mut out)?;
        Ok(out)
    }

    fn compare(&self, rows: &[Row]) -> Result<Vec<Mismatch>> {
        let mut out = vec![];
        for row in rows {
            let Some(key) = row.cells.iter().find(|c| c.column.value == self.key) else {
                return Err(lost(&format!("an expected row says no `{}`", self.key)));
            };
            let wanted = key.text.clone().unwrap_or_default();
            match self.find(&wanted)? {
                Some((batch, at)) => self.compare_row(batch, at, row, &format!(" of {wanted}"), &mut out)?,
                None => out.push(Mismatch {
                    span: key.span,
                    what: format!("{} {wanted}", self.key),
                    expected: "a row".into(),
                    got: "none".into(),
                }),
            }
        }
        Ok(out)
    }

    fn find(&self, key: &str) -> Result<Option<(&RecordBatch, usize)>> {
        for batch in &self.batches {
            let Some(column) = batch.column_by_name(self.key) else { continue };
            let Some(wanted) = value(key, column.data_type(), self.zone) else { continue };
            for row in 0..batch.num_rows() {
                if scalar(column, row)? == wanted {
                    return Ok(Some((batch, row)));
                }
            }
        }
        Ok(None)
    }

    fn compare_row(&self, batch: &RecordBatch, at: usize, row: &Row, whose: &str, out: &mut Vec<Mismatch>) -> Result<()> {
        for cell in row.cells.iter().filter(|c| c.column.value != self.key || whose.is_empty()) {
            let name = cell.column.as_str();
            let column = batch.column_by_name(self.stands_under.get(name).map_or(name, String::as_str));
            let Some(column) = column else { return Err(lost(&format!("`{name}` was expected and not made"))) };
            let got = scalar(column, at)?;
            if !same(cell, &got, self.zone) {
                let expected = cell.text.clone().unwrap_or_else(|| "null".into());
                let fits = cell.text.as_ref().is_none_or(|t| value(t, column.data_type(), self.zone).is_some());
                let expected = if fits { expected } else { format!("{expected}, which is not {}", kind(column.data_type())) };
                let got = if got.is_null() { "null".into() } else { plain(&got) };
                out.push(Mismatch { span: cell.span, what: format!("{name}{whose}"), expected, got });
            }
        }
        Ok(())
    }
}

fn scalar(column: &dyn Array, row: usize) -> Result<ScalarValue> {
    ScalarValue::try_from_array(column, row).map_err(|e| lost(&e.to_string()))
}

/// What came out cannot be held against what was expected: that is a mistake of ours, never a test that holds.
fn lost(message: &str) -> Error {
    Error::Internal { step: "read a result".into(), message: message.into() }
}

/// A value as it is written in a pipeline file.
fn plain(value: &ScalarValue) -> String {
    let text = value.to_array().ok().and_then(|a| arrow::util::display::array_value_to_string(&a, 0).ok());
    text.unwrap_or_else(|| value.to_string())
}

fn same(cell: &Cell, got: &ScalarValue, zone: Tz) -> bool {
    let Some(text) = &cell.text else { return got.is_null() };
    if got.is_null() {
        return false;
    }
    match got {
        ScalarValue::Float64(Some(x)) => {
            text.parse::<f64>().is_ok_and(|y| (x - y).abs() <= SAME * x.abs().max(y.abs()) || *x == y)
        }
        _ => value(text, &got.data_type(), zone).is_some_and(|v| v == *got),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_spec::Name;

    fn cell(text: Option<&str>) -> Cell {
        Cell { column: Name::new("x".into(), Span::default()), span: Span::default(), text: text.map(str::to_owned) }
    }

    #[test]
    fn values_are_the_same_by_their_type() {
        let day = ScalarValue::TimestampMicrosecond(Some(1_767_571_200_000_000), None);
        for (text, got, expected) in [
            (Some("10"), ScalarValue::Int64(Some(10)), true),
            (Some("11"), ScalarValue::Int64(Some(10)), false),
            (Some("0.3"), ScalarValue::Float64(Some(0.1 + 0.2)), true),
            (Some("0.30001"), ScalarValue::Float64(Some(0.1 + 0.2)), false),
            (Some("10"), ScalarValue::Utf8(Some("10".into())), true),
            (Some("ten"), ScalarValue::Int64(Some(10)), false),
            (Some("true"), ScalarValue::Boolean(Some(true)), true),
            (Some("2026-01-05"), day.clone(), true),
            (Some("2026-01-05T01:00:00+01:00"), day.clone(), true),
            (Some("2026-01-05T00:00:01"), day, false),
            (None, ScalarValue::Int64(None), true),
            (None, ScalarValue::Int64(Some(0)), false),
            (Some("0"), ScalarValue::Int64(None), false),
        ] {
            assert_eq!(same(&cell(text), &got, Tz::UTC), expected, "{text:?} {got:?}");
        }
    }

    #[test]
    fn times_without_an_offset_are_of_the_zone() {
        let ten = ScalarValue::TimestampMicrosecond(Some(1_767_607_200_000_000), None);
        let written = |text| same(&cell(Some(text)), &ten, Tz::America__New_York);
        assert!(written("2026-01-05T05:00:00") && written("2026-01-05 05:00") && written("2026-01-05T10:00:00Z"));
        assert!(!written("2026-01-05T10:00:00"));
        let day = ScalarValue::Date32(Some(20_458));
        assert!(same(&cell(Some("2026-01-05")), &day, Tz::America__New_York), "a day is the same everywhere");
    }
}
