//! What a file says of itself: the footer of Parquet, the header line of CSV. Never reads more of a file than that.

use super::arrow_type;
use super::files::Found;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use strata_runtime::store::Place;
use strata_spec::pipeline::{ReadFormat, Source};

/// Read from the end of a Parquet file at once: most footers are smaller, and then there is one request.
const FOOTER_BYTES: u64 = 64 << 10;
/// Read from the start of a CSV file at once.
const HEADER_BYTES: u64 = 64 << 10;
/// A header line is never longer.
const HEADER_BYTES_MAX: u64 = 1 << 20;

/// What a file says of itself.
pub(super) struct Header {
    /// Its columns: text as plain UTF-8, times as microseconds.
    pub(super) schema: Schema,
    /// Its rows, where the format tells.
    pub(super) rows: Option<u64>,
    /// Columns that hold no null, where the format tells.
    pub(super) complete: BTreeSet<String>,
}

/// What a file says of itself. Errors: what is wrong with the file.
pub(super) async fn read(place: &Place, found: &Found, source: &Source) -> Result<Header, String> {
    let name = found.file.location();
    match source.format {
        ReadFormat::Parquet => parquet_footer(&place.store, name, found.file.size).await,
        ReadFormat::Csv => csv_header(&place.store, name, found.file.size, source).await,
    }
}

async fn parquet_footer(store: &Arc<dyn ObjectStore>, name: Path, size: u64) -> Result<Header, String> {
    let mut wanted = FOOTER_BYTES;
    let metadata = loop {
        if size == 0 {
            return Err("it is empty".to_owned());
        }
        let end = store.get_range(&name, size.saturating_sub(wanted)..size).await.map_err(|e| e.to_string())?;
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&end, size) {
            Err(ParquetError::NeedMoreData(more)) if wanted < size => wanted = (more as u64).max(wanted.saturating_mul(2)),
            parsed => break parsed.and_then(|()| reader.finish()).map_err(|e| e.to_string())?,
        }
    };
    let rows = check_footer(&metadata, size)?;
    let complete = complete(&metadata);
    let metadata = arrow_metadata(metadata)?;
    Ok(Header { schema: plain(metadata.schema()), rows: Some(rows), complete })
}

/// Plain columns that cannot be null, or of which every row group counts no null.
fn complete(metadata: &ParquetMetaData) -> BTreeSet<String> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let no_nulls = |i: usize| {
        let counted = |g: &RowGroupMetaData| g.columns().get(i).and_then(|c| c.statistics()).and_then(|s| s.null_count_opt());
        metadata.row_groups().iter().all(|g| counted(g) == Some(0))
    };
    let plain = columns.iter().enumerate().filter(|(_, c)| c.path().parts().len() == 1 && c.max_rep_level() == 0);
    plain.filter(|(i, c)| c.max_def_level() == 0 || no_nulls(*i)).map(|(_, c)| c.name().to_owned()).collect()
}

/// The footer with its Arrow columns. Errors: where the columns a writer noted for Arrow are damaged; Arrow panics at some, and a file is
/// not trusted to be whole.
fn arrow_metadata(metadata: ParquetMetaData) -> Result<ArrowReaderMetadata, String> {
    let options = ArrowReaderOptions::new();
    let read = std::panic::catch_unwind(AssertUnwindSafe(|| ArrowReaderMetadata::try_new(Arc::new(metadata), options)));
    match read {
        Ok(read) => read.map_err(|e| e.to_string()),
        Err(_) => Err("its footer is damaged: the columns it notes for Arrow".to_owned()),
    }
}

/// Rows of the file. Errors: where the footer names places outside the file or counts that cannot be, which the reader of its pages would
/// panic at.
fn check_footer(metadata: &ParquetMetaData, size: u64) -> Result<u64, String> {
    let mut rows: u64 = 0;
    for group in metadata.row_groups() {
        for column in group.columns() {
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let (start, length) = (u64::try_from(start), u64::try_from(column.compressed_size()));
            let inside = matches!((start, length), (Ok(s), Ok(l)) if s.checked_add(l).is_some_and(|end| end <= size));
            if !inside || column.num_values() < 0 || column.uncompressed_size() < 0 {
                return Err(format!(
                    "its footer is damaged: column `{}` lies outside of the file",
                    column.column_path().string()
                ));
            }
        }
        rows = u64::try_from(group.num_rows()).ok().and_then(|n| rows.checked_add(n)).ok_or("its footer is damaged: its rows")?;
    }
    match u64::try_from(metadata.file_metadata().num_rows()) {
        Ok(all) if all == rows => Ok(rows),
        _ => Err("its footer is damaged: its parts have other rows than the whole".to_owned()),
    }
}

/// Text as plain UTF-8 and no metadata: what two writers of one table differ in without differing.
fn plain(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|f| {
        let data_type = match f.data_type() {
            DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
            DataType::Dictionary(_, v) if matches!(v.as_ref(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => {
                DataType::Utf8
            }
            DataType::Timestamp(_, _) => DataType::Timestamp(TimeUnit::Microsecond, None),
            other => other.clone(),
        };
        Field::new(f.name(), data_type, true)
    });
    Schema::new(fields.collect::<Vec<_>>())
}

async fn csv_header(store: &Arc<dyn ObjectStore>, name: Path, size: u64, source: &Source) -> Result<Header, String> {
    let line = first_line(store, &name, size).await?;
    let line = line.trim_start_matches('\u{feff}').trim_end();
    let names: Vec<String> = line.split(',').map(|n| n.trim().trim_matches('"').to_owned()).collect();
    // A first line that names no declared column may be a row of somebody's data, or another file altogether: it is not shown.
    if let Some(first) = source.columns.first()
        && !source.columns.iter().any(|c| names.contains(&c.name.value))
    {
        return Err(format!("its header has no column `{}`; its first line names none of them", first.name.value));
    }
    let kind = |n: &str| source.columns.iter().find(|c| c.name.value == n).map_or(DataType::Utf8, |c| arrow_type(c.kind.value));
    let schema = Schema::new(names.iter().map(|n| Field::new(n, kind(n), true)).collect::<Vec<_>>());
    Ok(Header { schema, rows: None, complete: BTreeSet::new() })
}

async fn first_line(store: &Arc<dyn ObjectStore>, name: &Path, size: u64) -> Result<String, String> {
    let mut wanted = HEADER_BYTES;
    if size == 0 {
        return Ok(String::new());
    }
    loop {
        let start = store.get_range(name, 0..size.min(wanted)).await.map_err(|e| e.to_string())?;
        match start.iter().position(|b| *b == b'\n') {
            None if size > wanted && wanted >= HEADER_BYTES_MAX => {
                return Err(format!("its first {} KiB hold no line", HEADER_BYTES_MAX >> 10));
            }
            None if size > wanted => wanted *= 4,
            end => {
                let line = &start[..end.unwrap_or(start.len())];
                return String::from_utf8(line.to_vec()).map_err(|_| "its header is not UTF-8".to_owned());
            }
        }
    }
}
