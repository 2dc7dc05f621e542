//! Pins a source: which files it is at this moment, how many rows they hold and which columns. Never reads a row of Parquet.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strata_operators::pinned::{PinnedFile, PinnedFormat, PinnedTable, hive_field};
use strata_runtime::store;
use strata_spec::pipeline::{ColumnKind, ReadFormat, Source};
use strata_spec::{Code, Diagnostic};

/// No file matches.
const NO_FILES: Code = strata_plan::codes::FILE_COLUMNS;

/// The pinned files of a source. Errors: a diagnostic at the source's path.
pub(crate) fn pin(source: &Source) -> Result<PinnedTable, Box<Diagnostic>> {
    let wrong = |message: String, help: &str| Box::new(Diagnostic::error(NO_FILES, source.path.span, message).help(help));
    let place = store::place(&source.path.value).map_err(|e| wrong(e.to_string(), "give a local file, folder or glob"))?;
    let extension = match source.format {
        ReadFormat::Parquet => "parquet",
        ReadFormat::Csv => "csv",
    };
    let files = matching(place.local().unwrap_or(Path::new("")), extension)
        .map_err(|e| wrong(e, "check the path; `-p data=DIR` sets a variable"))?;
    if files.is_empty() {
        return Err(wrong(format!("no `.{extension}` file matches `{place}`"), "check the path; `-p data=DIR` sets a variable"));
    }
    let hive = hive_names(&files);
    let mut schema: Option<Schema> = None;
    let mut pinned = vec![];
    for (path, _) in &files {
        let (file_schema, rows) = match source.format {
            ReadFormat::Parquet => parquet_footer(path),
            ReadFormat::Csv => csv_header(path, source),
        }
        .map_err(|e| {
            wrong(format!("`{}` cannot be read: {e}", path.display()), "is the file whole, and of the declared format?")
        })?;
        schema = Some(match schema {
            None => file_schema,
            Some(known) => merged(known, &file_schema).map_err(|e| {
                wrong(
                    format!("`{}` does not fit the files before it: {e}", path.display()),
                    "files of one source have one type a column",
                )
            })?,
        });
        let meta = std::fs::metadata(path).map_err(|e| wrong(format!("`{}`: {e}", path.display()), "check its permissions"))?;
        let modified = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        let place = store::place(&path.to_string_lossy()).map_err(|e| wrong(e.to_string(), "rename the file"))?;
        pinned.push(PinnedFile {
            path: place.path.to_string(),
            size: meta.len(),
            modified_us: modified.map_or(0, |d| d.as_micros() as i64),
            etag: None,
            rows,
            hive_values: hive.iter().map(|h| hive_value(path, h).unwrap_or_default()).collect(),
        });
    }
    let schema = schema.unwrap_or_else(Schema::empty);
    let (schema, hive) = with_hive(declared(schema, source), &hive);
    let format = match source.format {
        ReadFormat::Parquet => PinnedFormat::Parquet,
        ReadFormat::Csv => PinnedFormat::Csv,
    };
    let mut pinned = pinned;
    if hive == 0 {
        pinned.iter_mut().for_each(|f| f.hive_values.clear());
    }
    Ok(PinnedTable { store: place.store_url, format, schema, hive, files: pinned })
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

fn matching(path: &Path, extension: &str) -> Result<Vec<(PathBuf, u64)>, String> {
    let text = path.to_string_lossy().into_owned();
    let mut found = vec![];
    if text.contains(['*', '?', '[']) {
        let glob = glob::glob(&text).map_err(|e| format!("`{text}` is not a pattern: {e}"))?;
        for entry in glob {
            let entry = entry.map_err(|e| e.to_string())?;
            match entry.is_dir() {
                true => below(&entry, extension, &mut found)?,
                false => found.push(entry),
            }
        }
    } else if path.is_dir() {
        below(path, extension, &mut found)?;
    } else if path.is_file() {
        found.push(path.to_owned());
    }
    found.sort();
    Ok(found.into_iter().map(|p| (p, 0)).collect())
}

/// Every file of the format below a folder; names that start with `_` or `.` are bookkeeping of whoever wrote them.
fn below(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("`{}`: {e}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|e| e.to_string())?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(['_', '.']));
        if hidden {
            continue;
        }
        if path.is_dir() {
            below(&path, extension, found)?;
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    Ok(())
}

fn parquet_footer(path: &Path) -> Result<(Schema, Option<u64>), String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|e| e.to_string())?;
    let rows = metadata.metadata().file_metadata().num_rows();
    Ok((plain(metadata.schema()), Some(rows as u64)))
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

fn csv_header(path: &Path, source: &Source) -> Result<(Schema, Option<u64>), String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let mut line = String::new();
    BufReader::new(file).read_line(&mut line).map_err(|e| e.to_string())?;
    let line = line.trim_start_matches('\u{feff}').trim_end();
    let names: Vec<String> = line.split(',').map(|n| n.trim().trim_matches('"').to_owned()).collect();
    for column in &source.columns {
        if !names.contains(&column.name.value) {
            return Err(format!("its header has no column `{}`; it has: {}", column.name.value, names.join(", ")));
        }
    }
    let kind = |n: &str| source.columns.iter().find(|c| c.name.value == n).map_or(DataType::Utf8, |c| arrow_type(c.kind.value));
    Ok((Schema::new(names.iter().map(|n| Field::new(n, kind(n), true)).collect::<Vec<_>>()), None))
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
fn hive_names(files: &[(PathBuf, u64)]) -> Vec<String> {
    let names = |p: &Path| -> Vec<String> {
        let folders = p.parent().map(|d| d.components().collect::<Vec<_>>()).unwrap_or_default();
        folders.iter().filter_map(|c| c.as_os_str().to_str()?.split_once('=').map(|(k, _)| k.to_owned())).collect()
    };
    let Some((first, _)) = files.first() else { return vec![] };
    let first = names(first);
    first.into_iter().filter(|n| files.iter().all(|(p, _)| names(p).contains(n))).collect()
}

fn hive_value(path: &Path, name: &str) -> Option<String> {
    path.components().filter_map(|c| c.as_os_str().to_str()?.split_once('=')).find(|(k, _)| k == &name).map(|(_, v)| v.to_owned())
}

/// The files' columns, then those of the path that the files do not hold themselves.
fn with_hive(schema: Schema, hive: &[String]) -> (SchemaRef, usize) {
    let new: Vec<&String> = hive.iter().filter(|h| schema.field_with_name(h).is_err()).collect();
    // All or none: the values of a file are given in the order of all hive names.
    if new.len() != hive.len() {
        return (Arc::new(schema), 0);
    }
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    fields.extend(new.iter().map(|h| Arc::new(hive_field(h))));
    (Arc::new(Schema::new(fields)), hive.len())
}
