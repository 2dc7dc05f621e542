//! The tables as Arrow batches, and their Parquet files. Never decides a value; it only gives rows their columns.

use crate::catalog::{CATEGORIES, REGIONS};
use crate::dice::{Dice, Table};
use crate::feedback::{Contact, Response};
use crate::orders::Line;
use crate::people::roster_row;
use crate::visits::Event;
use crate::{Error, World, midnight, month_of, number_of, partition};
use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Field, Schema};
use chrono::{Days, NaiveDate};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Where a customers file says how it was made.
const NOTE: &str = "strata_demo";

/// The roster.
pub(crate) fn customers(world: &World) -> Result<RecordBatch, Error> {
    let rows: Vec<_> = world.people.iter().map(|p| roster_row(p, world.size.as_of)).collect();
    let rows = &rows;
    batch(vec![
        must("customer_id", Int64Array::from_iter_values(world.people.iter().map(|p| i64::from(p.id)))),
        may("email", StringArray::from_iter(rows.iter().map(|r| r.email.as_deref()))),
        may("phone", StringArray::from_iter(rows.iter().map(|r| r.phone.as_deref()))),
        may("first_name", StringArray::from_iter_values(rows.iter().map(|r| r.first_name))),
        may("last_name", StringArray::from_iter_values(rows.iter().map(|r| r.last_name))),
        may("birth_date", Date32Array::from_iter(rows.iter().map(|r| r.birth_date.map(|d| number_of(d) as i32)))),
        may("gender", StringArray::from_iter(rows.iter().map(|r| r.gender))),
        may("postal_code", StringArray::from_iter(rows.iter().map(|r| r.postal_code.as_deref()))),
        may("home_store_id", Int32Array::from_iter(rows.iter().map(|r| r.home_store_id))),
        may("joined_at", TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.joined_at))),
        may("signup_channel", StringArray::from_iter_values(rows.iter().map(|r| r.signup_channel))),
        may("email_opt_in", BooleanArray::from_iter(rows.iter().map(|r| Some(r.email_opt_in)))),
        may("sms_opt_in", BooleanArray::from_iter(rows.iter().map(|r| Some(r.sms_opt_in)))),
        may("research_opt_in", BooleanArray::from_iter(rows.iter().map(|r| Some(r.research_opt_in)))),
    ])
}

/// Products.
pub(crate) fn products(world: &World) -> Result<RecordBatch, Error> {
    let rows = &world.catalog.products;
    batch(vec![
        may("item_id", Int64Array::from_iter_values(rows.iter().map(|r| r.item_id))),
        may("department", StringArray::from_iter_values(rows.iter().map(|r| CATEGORIES[r.category].0))),
        may("category", StringArray::from_iter_values(rows.iter().map(|r| CATEGORIES[r.category].1))),
        may("brand", StringArray::from_iter_values(rows.iter().map(|r| &r.brand))),
        may("list_price", money(rows.iter().map(|r| Some(r.list_cents)))?),
    ])
}

/// Stores.
pub(crate) fn stores(world: &World) -> Result<RecordBatch, Error> {
    let rows = &world.catalog.stores;
    batch(vec![
        may("store_id", Int32Array::from_iter_values(rows.iter().map(|r| r.store_id))),
        may("region", StringArray::from_iter_values(rows.iter().map(|r| REGIONS[r.region]))),
        may("square_metres", Int32Array::from_iter_values(rows.iter().map(|r| r.square_metres))),
    ])
}

/// Postal codes.
pub(crate) fn postal_demographics(world: &World) -> Result<RecordBatch, Error> {
    let rows = &world.catalog.postal;
    batch(vec![
        may("postal_code", StringArray::from_iter_values(rows.iter().map(|r| &r.code))),
        may("region", StringArray::from_iter_values(rows.iter().map(|r| REGIONS[r.region]))),
        may("urbanicity", StringArray::from_iter_values(rows.iter().map(|r| r.urbanicity))),
        may("median_income", Int32Array::from_iter(rows.iter().map(|r| r.median_income))),
        may("household_size", Float64Array::from_iter_values(rows.iter().map(|r| r.household_size))),
    ])
}

/// Survey responses.
pub(crate) fn survey_responses(rows: &[Response]) -> Result<RecordBatch, Error> {
    let mut columns = vec![
        must("customer_id", Int64Array::from_iter_values(rows.iter().map(|r| r.customer_id))),
        may("wave", StringArray::from_iter_values(rows.iter().map(|r| &r.wave))),
        may("answered_at", TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.answered_at))),
    ];
    columns.extend((0..12).map(|q| may(&format!("q{}", q + 1), Int8Array::from_iter(rows.iter().map(|r| r.answers[q])))));
    batch(columns)
}

/// Research contacts.
pub(crate) fn panel_contacts(rows: &[Contact]) -> Result<RecordBatch, Error> {
    batch(vec![
        may("customer_id", Int64Array::from_iter_values(rows.iter().map(|r| r.customer_id))),
        may("study_id", StringArray::from_iter_values(rows.iter().map(|r| &r.study_id))),
        may("sent_at", TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.sent_at))),
        may("responded_at", TimestampMicrosecondArray::from_iter(rows.iter().map(|r| r.responded_at))),
    ])
}

/// Transaction lines.
pub(crate) fn lines(rows: &[Line]) -> Result<RecordBatch, Error> {
    batch(vec![
        must("txn_id", Int64Array::from_iter_values(rows.iter().map(|r| r.txn_id))),
        must("line_no", Int32Array::from_iter_values(rows.iter().map(|r| r.line_no))),
        may("customer_id", Int64Array::from_iter(rows.iter().map(|r| r.customer_id))),
        may("store_id", Int32Array::from_iter(rows.iter().map(|r| r.store_id))),
        must("channel", StringArray::from_iter_values(rows.iter().map(|r| r.channel))),
        must("ts", TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.ts))),
        may("item_id", Int64Array::from_iter(rows.iter().map(|r| r.item_id))),
        must("quantity", Int32Array::from_iter_values(rows.iter().map(|r| r.quantity))),
        must("unit_price", money(rows.iter().map(|r| Some(r.unit_cents)))?),
        may("discount", money(rows.iter().map(|r| r.discount_cents))?),
        must("is_return", BooleanArray::from_iter(rows.iter().map(|r| Some(r.is_return)))),
    ])
}

/// Web events.
pub(crate) fn events(rows: &[Event]) -> Result<RecordBatch, Error> {
    batch(vec![
        must("event_id", Int64Array::from_iter_values(rows.iter().map(|r| r.event_id))),
        must("session_id", Int64Array::from_iter_values(rows.iter().map(|r| r.session_id))),
        may("customer_id", Int64Array::from_iter(rows.iter().map(|r| r.customer_id))),
        may("cookie_id", StringArray::from_iter_values(rows.iter().map(|r| &r.cookie_id))),
        must("ts", TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.ts))),
        must("event_type", StringArray::from_iter_values(rows.iter().map(|r| r.event_type))),
        may("item_id", Int64Array::from_iter(rows.iter().map(|r| r.item_id))),
        may("device", StringArray::from_iter_values(rows.iter().map(|r| r.device))),
        may("utm_channel", StringArray::from_iter(rows.iter().map(|r| r.utm_channel))),
    ])
}

/// Writes one file, zstd, and returns its size. Its folders are made.
pub(crate) fn write(path: &Path, batches: &[RecordBatch], note: Option<String>) -> Result<u64, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let bad = |source| Error::Parquet { path: path.to_owned(), source };
    std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(io)?;
    let level = ZstdLevel::try_new(3).map_err(bad)?;
    let note = note.map(|n| vec![KeyValue::new(NOTE.to_owned(), n)]);
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).set_key_value_metadata(note).build();
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    let mut writer = ArrowWriter::try_new(File::create(path).map_err(io)?, schema, Some(properties)).map_err(bad)?;
    for batch in batches {
        writer.write(batch).map_err(bad)?;
    }
    writer.close().map_err(bad)?;
    Ok(std::fs::metadata(path).map_err(io)?.len())
}

/// What a customers file says about how it was made.
pub(crate) fn read_note(path: &Path) -> Result<Option<String>, Error> {
    let reader = open(path)?;
    let notes = reader.metadata().file_metadata().key_value_metadata();
    Ok(notes.and_then(|all| all.iter().find(|n| n.key == NOTE)).and_then(|n| n.value.clone()))
}

/// 0.5 % of the lines of the seven days before `day` that were delivered already, each once, one batch a month.
pub(crate) fn delivered_again(dir: &Path, day: NaiveDate) -> Result<Vec<(NaiveDate, RecordBatch)>, Error> {
    let week = day - Days::new(7);
    let mut months = vec![month_of(week), month_of(day)];
    months.dedup();
    let mut again = Vec::new();
    for month in months {
        let mut seen = HashSet::new();
        let mut batches = Vec::new();
        for path in parquet_files(&dir.join(partition("transactions", month)))? {
            let bad = |source| Error::Parquet { path: path.clone(), source };
            for batch in open(&path)?.build().map_err(bad)? {
                let batch = batch?;
                batches.push(filter_record_batch(&batch, &chosen(&path, &batch, midnight(week), midnight(day), &mut seen)?)?);
            }
        }
        if let Some(first) = batches.first() {
            let all = concat_batches(&first.schema(), &batches)?;
            if all.num_rows() > 0 {
                again.push((month, all));
            }
        }
    }
    Ok(again)
}

fn chosen(path: &Path, batch: &RecordBatch, from: i64, to: i64, seen: &mut HashSet<(i64, i32)>) -> Result<BooleanArray, Error> {
    let missing = |name: &str| Error::Parquet {
        path: path.to_owned(),
        source: ParquetError::General(format!("column `{name}` is missing")),
    };
    let txn = column::<Int64Array>(batch, "txn_id").ok_or_else(|| missing("txn_id"))?;
    let line = column::<Int32Array>(batch, "line_no").ok_or_else(|| missing("line_no"))?;
    let ts = column::<TimestampMicrosecondArray>(batch, "ts").ok_or_else(|| missing("ts"))?;
    let choose = |i: usize| {
        let dice = Dice::new(0, Table::Order, txn.value(i) as u64).part(line.value(i) as u64);
        (from..to).contains(&ts.value(i)) && dice.chance(80, 0.005) && seen.insert((txn.value(i), line.value(i)))
    };
    Ok((0..batch.num_rows()).map(choose).map(Some).collect())
}

fn column<'a, T: 'static>(batch: &'a RecordBatch, name: &str) -> Option<&'a T> {
    batch.column_by_name(name)?.as_any().downcast_ref::<T>()
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, Error> {
    let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|source| Error::Parquet { path: path.to_owned(), source })
}

fn parquet_files(dir: &Path) -> Result<Vec<std::path::PathBuf>, Error> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let io = |source| Error::Io { path: dir.to_owned(), source };
    let mut files =
        std::fs::read_dir(dir).map_err(io)?.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(io)?;
    files.retain(|f| f.extension().is_some_and(|e| e == "parquet"));
    files.sort();
    Ok(files)
}

type Column = (Field, ArrayRef);

fn must(name: &str, values: impl Array + 'static) -> Column {
    (Field::new(name, values.data_type().clone(), false), Arc::new(values))
}

fn may(name: &str, values: impl Array + 'static) -> Column {
    (Field::new(name, values.data_type().clone(), true), Arc::new(values))
}

fn money(cents: impl Iterator<Item = Option<i64>>) -> Result<Decimal128Array, Error> {
    Ok(cents.map(|c| c.map(i128::from)).collect::<Decimal128Array>().with_precision_and_scale(10, 2)?)
}

fn batch(columns: Vec<Column>) -> Result<RecordBatch, Error> {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}
