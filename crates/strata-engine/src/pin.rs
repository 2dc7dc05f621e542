//! Pins a source: which files it is at this moment, how many rows they hold and which columns. Never reads a row of Parquet.

mod drift;
mod files;
mod header;

use crate::published;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, Utc};
use files::Found;
use futures::{StreamExt, stream};
use header::Header;
use std::collections::BTreeMap;
use std::sync::Arc;
use strata_operators::pinned::{PinnedFormat, PinnedTable, hive_field};
use strata_runtime::store;
use strata_spec::pipeline::{ColumnContract, ColumnKind, ReadFormat, Source};
use strata_spec::{Code, Diagnostic, PUBLISHED_AS_OF};

/// No file matches.
const NO_FILES: Code = strata_plan::codes::FILE_COLUMNS;

/// Footers and headers that are read at the same time.
const HEADERS_IN_FLIGHT: usize = 16;

/// The pinned files of a source; what is not as declared of their columns goes to `found`. Errors: a diagnostic at the source's path.
pub(crate) async fn pin(source: &Source, found: &mut Vec<Diagnostic>) -> Result<PinnedTable, Box<Diagnostic>> {
    let wrong = |message: String, help: &str| Box::new(Diagnostic::error(NO_FILES, source.path.span, message).help(help));
    let place = store::place(&source.path.value).map_err(|e| wrong(e.to_string(), e.help()))?;
    let (extension, format) = match source.format {
        ReadFormat::Parquet => ("parquet", PinnedFormat::Parquet),
        ReadFormat::Csv => ("csv", PinnedFormat::Csv),
    };
    let files = files::matching(&place, extension).await;
    let mut files = files.map_err(|e| wrong(e, "check the path; `-p data=DIR` sets a variable"))?;
    if files.is_empty() {
        return Err(wrong(format!("no `.{extension}` file matches `{place}`"), "check the path; `-p data=DIR` sets a variable"));
    }
    let reads: Vec<_> = files.iter().map(|f| header::read(&place, f, source)).collect();
    let read: Vec<_> = stream::iter(reads).buffered(HEADERS_IN_FLIGHT).collect().await;
    let mut headers = Vec::with_capacity(files.len());
    for (file, header) in files.iter_mut().zip(read) {
        let cannot = |e| wrong(format!("`{}` cannot be read: {e}", file.shown), "is the file whole, and of the declared format?");
        let header: Header = header.map_err(cannot)?;
        file.file.rows = header.rows;
        headers.push(header);
    }
    found.extend(drift::found(source, &files, &headers));
    let mut schema = Schema::empty();
    for (file, header) in files.iter().zip(&headers) {
        schema = merged(schema, &header.schema, source).map_err(|e| {
            wrong(format!("`{}` does not fit the files before it: {e}", file.shown), "files of one source have one type a column")
        })?;
    }
    let hive = hive_names(&files);
    let (schema, hive) = with_hive(declared(schema, source, &hive), hive);
    for (file, header) in files.iter_mut().zip(&headers) {
        file.file.hive_values = hive.iter().map(|h| hive_value(&file.file.path, h).unwrap_or_default()).collect();
        if format == PinnedFormat::Csv {
            file.file.columns = layout(&header.schema, &schema, hive.len());
        }
    }
    let complete = complete(&headers);
    let files = files.into_iter().map(|f| f.file).collect();
    Ok(PinnedTable { store: place.store_url, format, schema, hive: hive.len(), files, complete })
}

/// The columns of a CSV's header, if they are not those of the table in the same order.
fn layout(header: &Schema, table: &Schema, hive: usize) -> Vec<String> {
    let own = &table.fields()[..table.fields().len() - hive];
    let names = |fields: &[Arc<Field>]| fields.iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    let header = names(header.fields());
    if header == names(own) { vec![] } else { header }
}

/// Columns of which every file says that it holds no null.
fn complete(headers: &[Header]) -> Vec<String> {
    let Some((first, rest)) = headers.split_first() else { return vec![] };
    first.complete.iter().filter(|c| rest.iter().all(|h| h.complete.contains(*c))).cloned().collect()
}

/// The pinned files of a published wave: those of its table's current version; `None` if it was never published. Errors: a diagnostic at the
/// panel's `state`.
pub(crate) async fn pin_wave(source: &Source) -> Result<Option<PinnedTable>, Box<Diagnostic>> {
    let wrong = |message: String, help: &str| Box::new(Diagnostic::error(NO_FILES, source.path.span, message).help(help));
    let place = store::place(&source.path.value).map_err(|e| wrong(e.to_string(), e.help()))?;
    let unreadable =
        |e: strata_publish::Error| wrong(format!("`{place}` cannot be read: {e}"), "name the folder of an output of this panel");
    let table = strata_publish::PublishedTable::open(place.store.clone(), place.path.clone()).await.map_err(unreadable)?;
    let Some(version) = table.current().await.map_err(unreadable)? else { return Ok(None) };
    let manifest = table.manifest(&version).await.map_err(unreadable)?;
    let pinned = published::table(&place.join(&version.folder), &manifest);
    let dated = pinned.map(|table| Some(published::with_text(table, PUBLISHED_AS_OF, &version.as_of)));
    dated.map_err(|e| wrong(e, "publish the wave as parquet, delta or csv, or set `state` to an output that is"))
}

/// The published stages of a segmentation: those of the newest version of its table whose `as_of` is before `as_of`, with that beside each
/// row; `nobody`, which has the key alone, with these columns, if there is none. Errors: a diagnostic at the segmentation's `state`.
pub(crate) async fn pin_stages(
    source: &Source,
    column: &str,
    nobody: PinnedTable,
    as_of: DateTime<Utc>,
) -> Result<PinnedTable, Box<Diagnostic>> {
    let wrong = |message: String, help: &str| Box::new(Diagnostic::error(NO_FILES, source.path.span, message).help(help));
    let unreadable = |e: strata_publish::Error| wrong(e.to_string(), "name the folder of an output with this segmentation");
    let place = store::place(&source.path.value).map_err(|e| wrong(e.to_string(), e.help()))?;
    let table = strata_publish::PublishedTable::open(place.store.clone(), place.path.clone()).await.map_err(unreadable)?;
    let is_before = |v: &strata_publish::Version| DateTime::parse_from_rfc3339(&v.as_of).is_ok_and(|t| t < as_of);
    let mut versions: Vec<_> = table.versions().await.map_err(unreadable)?.into_iter().filter(is_before).collect();
    versions.sort_by_key(|v| (DateTime::parse_from_rfc3339(&v.as_of).ok(), v.seq));
    let key = nobody.schema.field(0).clone();
    for version in versions.iter().rev() {
        let manifest = table.manifest(version).await.map_err(unreadable)?;
        let pinned = published::table(&place.join(&version.folder), &manifest)
            .map_err(|e| wrong(e, "set `state` to an output that is parquet, delta or csv, or publish this one anew"))?;
        let kind = |name: &str| pinned.schema.field_with_name(name).map(|f| f.data_type().clone()).ok();
        match (kind(key.name()), kind(column)) {
            (Some(found), Some(DataType::Utf8)) if found == *key.data_type() => {
                return Ok(published::with_text(pinned, PUBLISHED_AS_OF, &version.as_of));
            }
            (Some(found), Some(DataType::Utf8)) => {
                let message = format!("`{}` was published as {found} and is {} now", key.name(), key.data_type());
                return Err(wrong(message, "publish under another folder, and name that in `state` from then on"));
            }
            // Published before it had the segmentation.
            _ => {}
        }
    }
    let added = [Field::new(column, DataType::Utf8, true), Field::new(PUBLISHED_AS_OF, DataType::Utf8, true)];
    Ok(PinnedTable { schema: Arc::new(Schema::new([vec![key], added.into()].concat())), ..nobody })
}

/// The table of a wave that is not published: no files, and only the key of the people and its as-of.
pub(crate) fn unpublished_wave(roster: &PinnedTable, key: &str) -> Option<PinnedTable> {
    let field = roster.schema.field_with_name(key).ok()?.clone();
    let schema = Arc::new(Schema::new(vec![field, Field::new(PUBLISHED_AS_OF, DataType::Utf8, true)]));
    Some(PinnedTable {
        store: roster.store.clone(),
        format: PinnedFormat::Parquet,
        schema,
        hive: 0,
        files: vec![],
        complete: vec![],
    })
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
        columns: columns.iter().map(column).collect(),
        ..Source::undeclared(name("files"), format, name(address))
    };
    let place = store::place(address).map_err(|e| format!("{e}\n  help: {}", e.help()))?;
    let is_csv = address.ends_with(".csv");
    let parquet = if is_csv { vec![] } else { files::matching(&place, "parquet").await? };
    let format = if parquet.is_empty() { ReadFormat::Csv } else { ReadFormat::Parquet };
    if parquet.is_empty() && files::matching(&place, "csv").await?.is_empty() {
        return Err(format!("no `.parquet` or `.csv` file matches `{place}`"));
    }
    pin(&source(format), &mut vec![]).await.map_err(|d| d.message)
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
        complete: vec![],
    })
}

/// Columns of both; those that are declared have the type that is declared, whatever the files say.
fn merged(known: Schema, next: &Schema, source: &Source) -> Result<Schema, String> {
    let mut fields: Vec<Arc<Field>> = known.fields().iter().cloned().collect();
    for field in next.fields() {
        match known.field_with_name(field.name()) {
            Ok(old) if old.data_type() == field.data_type() => {}
            Ok(_) if source.columns.iter().any(|c| c.name.value == *field.name()) => {}
            Ok(old) => return Err(format!("`{}` is {} here and {} before", field.name(), field.data_type(), old.data_type())),
            Err(_) => fields.push(Arc::clone(field)),
        }
    }
    Ok(Schema::new(fields))
}

/// The declared types in place of the files', for columns that are declared; one that no file holds is there as well, and null.
fn declared(schema: Schema, source: &Source, hive: &[String]) -> Schema {
    let kinds: BTreeMap<&str, DataType> =
        source.columns.iter().map(|c| (c.name.value.as_str(), arrow_type(c.kind.value))).collect();
    let fields = schema.fields().iter().map(|f| match kinds.get(f.name().as_str()) {
        Some(kind) => Field::new(f.name(), kind.clone(), true),
        None => f.as_ref().clone(),
    });
    let absent = source.columns.iter().map(|c| (c.name.value.as_str(), c.kind.value));
    let absent = absent.filter(|(name, _)| schema.field_with_name(name).is_err() && !hive.iter().any(|h| h == name));
    Schema::new(fields.chain(absent.map(|(name, kind)| Field::new(name, arrow_type(kind), true))).collect::<Vec<_>>())
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
