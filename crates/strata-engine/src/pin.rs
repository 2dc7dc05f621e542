//! Pins a source: which files it is at this moment, how many rows they hold and which columns. Never reads a row of Parquet.

mod files;
mod header;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use files::Found;
use futures::{StreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use strata_operators::pinned::{PinnedFormat, PinnedTable, hive_field};
use strata_runtime::store;
use strata_spec::pipeline::{ColumnContract, ColumnKind, ReadFormat, Source};
use strata_spec::{Code, Diagnostic};

/// No file matches.
const NO_FILES: Code = strata_plan::codes::FILE_COLUMNS;

/// Footers and headers that are read at the same time.
const HEADERS_IN_FLIGHT: usize = 16;

/// The pinned files of a source. Errors: a diagnostic at the source's path.
pub(crate) async fn pin(source: &Source) -> Result<PinnedTable, Box<Diagnostic>> {
    let wrong = |message: String, help: &str| Box::new(Diagnostic::error(NO_FILES, source.path.span, message).help(help));
    let place = store::place(&source.path.value).map_err(|e| wrong(e.to_string(), e.help()))?;
    let (extension, format) = match source.format {
        ReadFormat::Parquet => ("parquet", PinnedFormat::Parquet),
        ReadFormat::Csv => ("csv", PinnedFormat::Csv),
    };
    let found = files::matching(&place, extension).await;
    let mut found = found.map_err(|e| wrong(e, "check the path; `-p data=DIR` sets a variable"))?;
    if found.is_empty() {
        return Err(wrong(format!("no `.{extension}` file matches `{place}`"), "check the path; `-p data=DIR` sets a variable"));
    }
    let reads: Vec<_> = found.iter().map(|f| header::read(&place, f, source)).collect();
    let headers: Vec<_> = stream::iter(reads).buffered(HEADERS_IN_FLIGHT).collect().await;
    let mut schema: Option<Schema> = None;
    for (found, header) in found.iter_mut().zip(headers) {
        let shown = &found.shown;
        let (file_schema, rows) = header
            .map_err(|e| wrong(format!("`{shown}` cannot be read: {e}"), "is the file whole, and of the declared format?"))?;
        found.file.rows = rows;
        schema = Some(match schema {
            None => file_schema,
            Some(known) => merged(known, &file_schema).map_err(|e| {
                wrong(format!("`{shown}` does not fit the files before it: {e}"), "files of one source have one type a column")
            })?,
        });
    }
    let hive = hive_names(&found);
    let (schema, hive) = with_hive(declared(schema.unwrap_or_else(Schema::empty), source), hive);
    for found in &mut found {
        found.file.hive_values = hive.iter().map(|h| hive_value(&found.file.path, h).unwrap_or_default()).collect();
    }
    let files = found.into_iter().map(|f| f.file).collect();
    Ok(PinnedTable { store: place.store_url, format, schema, hive: hive.len(), files })
}

/// The pinned files of a published wave: those of its table's current version; `None` if it was never published. Errors: a
/// diagnostic at the
/// panel's `state`.
pub(crate) async fn pin_wave(source: &Source) -> Result<Option<PinnedTable>, Box<Diagnostic>> {
    let wrong = |message: String, help: &str| Box::new(Diagnostic::error(NO_FILES, source.path.span, message).help(help));
    let place = store::place(&source.path.value).map_err(|e| wrong(e.to_string(), e.help()))?;
    let table = strata_publish::PointerTable::new(place.store.clone(), place.path.clone());
    let current = table.current().await;
    let current =
        current.map_err(|e| wrong(format!("`{place}` cannot be read: {e}"), "name the folder of an output of this panel"))?;
    let Some(version) = current else { return Ok(None) };
    let path = source.path.clone().map(|_| place.join(&version.folder).to_string());
    pin(&Source { path, ..source.clone() }).await.map(Some)
}

/// The table of a wave that is not published: no files, and only the key of the people.
pub(crate) fn unpublished_wave(roster: &PinnedTable, key: &str) -> Option<PinnedTable> {
    let field = roster.schema.field_with_name(key).ok()?.clone();
    let schema = Arc::new(Schema::new(vec![field]));
    Some(PinnedTable { store: roster.store.clone(), format: PinnedFormat::Parquet, schema, hive: 0, files: vec![] })
}

/// The files that an address names, as a source without a declaration. Errors: what is wrong, in words.
pub(crate) async fn pin_address(address: &str) -> Result<PinnedTable, String> {
    pin_declared(address, &[]).await
}

/// The same with some columns of declared types, where the files have them. Errors: as above.
pub(crate) async fn pin_declared(address: &str, columns: &[(&str, ColumnKind)]) -> Result<PinnedTable, String> {
    use strata_spec::{Located, Name, Span};
    let name = |text: &str| Name::new(text.to_owned(), Span::default());
    let column = |(column, kind): &(&str, ColumnKind)| ColumnContract {
        name: name(column),
        kind: Located::new(*kind, Span::default()),
        nullable: true,
        allowed: vec![],
        on_fail: None,
    };
    let source = |format| Source {
        name: name("files"),
        format,
        path: name(address),
        mode: strata_spec::pipeline::Mode::Mutable,
        time: None,
        late_us: None,
        learned_later: vec![],
        key: vec![],
        duplicates: None,
        filter: None,
        references: vec![],
        derive: vec![],
        columns: columns.iter().map(column).collect(),
        classes: vec![],
        checks: vec![],
        drift: None,
        history: None,
        licence: None,
        planned_format: None,
    };
    let place = store::place(address).map_err(|e| format!("{e}\n  help: {}", e.help()))?;
    let is_csv = address.ends_with(".csv");
    let parquet = if is_csv { vec![] } else { files::matching(&place, "parquet").await? };
    let format = if parquet.is_empty() { ReadFormat::Csv } else { ReadFormat::Parquet };
    if parquet.is_empty() && files::matching(&place, "csv").await?.is_empty() {
        return Err(format!("no `.parquet` or `.csv` file matches `{place}`"));
    }
    pin(&source(format)).await.map_err(|d| d.message)
}

/// The table a source would be if its files were there: only declared columns, no files.
pub(crate) fn unpinned(source: &Source) -> Option<PinnedTable> {
    let fields: Vec<Field> =
        source.columns.iter().map(|c| Field::new(&c.name.value, arrow_type(c.kind.value), c.nullable)).collect();
    (!fields.is_empty()).then(|| PinnedTable {
        store: "file:///".into(),
        format: PinnedFormat::Parquet,
        schema: Arc::new(Schema::new(fields)),
        hive: 0,
        files: vec![],
    })
}

fn merged(known: Schema, next: &Schema) -> Result<Schema, String> {
    let mut fields: Vec<Arc<Field>> = known.fields().iter().cloned().collect();
    for field in next.fields() {
        match known.field_with_name(field.name()) {
            Ok(old) if old.data_type() == field.data_type() => {}
            Ok(old) => return Err(format!("`{}` is {} here and {} before", field.name(), field.data_type(), old.data_type())),
            Err(_) => fields.push(Arc::clone(field)),
        }
    }
    Ok(Schema::new(fields))
}

/// The declared types in place of the files', for columns that are declared.
fn declared(schema: Schema, source: &Source) -> Schema {
    let kinds: BTreeMap<&str, DataType> =
        source.columns.iter().map(|c| (c.name.value.as_str(), arrow_type(c.kind.value))).collect();
    let fields = schema.fields().iter().map(|f| match kinds.get(f.name().as_str()) {
        Some(kind) => Field::new(f.name(), kind.clone(), true),
        None => f.as_ref().clone(),
    });
    Schema::new(fields.collect::<Vec<_>>())
}

fn arrow_type(kind: ColumnKind) -> DataType {
    match kind {
        ColumnKind::String => DataType::Utf8,
        ColumnKind::Int => DataType::Int32,
        ColumnKind::Bigint => DataType::Int64,
        ColumnKind::Double => DataType::Float64,
        ColumnKind::Boolean => DataType::Boolean,
        ColumnKind::Date => DataType::Date32,
        ColumnKind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        ColumnKind::Decimal(p, s) => DataType::Decimal128(p, s),
    }
}

/// Names of `k=v` folders that every file has.
fn hive_names(files: &[Found]) -> Vec<String> {
    let names = |f: &Found| -> Vec<String> { hive_parts(&f.file.path).map(|(name, _)| name.to_owned()).collect() };
    let Some(first) = files.first() else { return vec![] };
    names(first).into_iter().filter(|n| files.iter().all(|f| names(f).contains(n))).collect()
}

fn hive_value(path: &str, name: &str) -> Option<String> {
    hive_parts(path).find(|(k, _)| k == &name).map(|(_, v)| v.to_owned())
}

/// The `k=v` folders above a file.
fn hive_parts(path: &str) -> impl Iterator<Item = (&str, &str)> {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/').filter_map(|folder| folder.split_once('='))
}

/// The files' columns, then those of the path that the files do not hold themselves; and the names of the latter.
fn with_hive(schema: Schema, hive: Vec<String>) -> (SchemaRef, Vec<String>) {
    // All or none: the values of a file are given in the order of all hive names.
    if hive.iter().any(|h| schema.field_with_name(h).is_ok()) {
        return (Arc::new(schema), vec![]);
    }
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    fields.extend(hive.iter().map(|h| Arc::new(hive_field(h))));
    (Arc::new(Schema::new(fields)), hive)
}
