//! Checkpoints: the state of a table in one Parquet file, so that readers need not read the log from its beginning. Never the only place of
//! anything: entries stay.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::json;

use super::FOLDER;
use super::actions::{Action, from_lines, to_lines};
use super::snapshot::Snapshot;
use crate::error::Error;
use crate::folder::{Folder, damaged, store_error};

/// How long a file that went is told of, so that whoever removes it waits for its readers: seven days, Delta's own default.
const REMOVED_KEPT_MS: i64 = 7 * 24 * 3_600_000;

/// Writes the state at `version`.
pub(crate) async fn write(table: &Folder, version: u64, snapshot: &Snapshot) -> Result<(), Error> {
    let folder = table.root.clone().join(FOLDER);
    let path = folder.clone().join(format!("{version:020}.checkpoint.parquet"));
    let actions = actions(snapshot);
    let failed = |e: String| damaged(&path, e);
    let bytes = encoded(&to_lines(&actions)?).map_err(failed)?;
    table.store.put(&path, PutPayload::from(bytes)).await.map_err(|source| store_error("write", &path, source))?;
    let last = folder.join("_last_checkpoint");
    let hint = json!({"version": version, "size": actions.len()}).to_string();
    table.store.put(&last, PutPayload::from(hint)).await.map_err(|source| store_error("write", &last, source))?;
    Ok(())
}

/// The actions in the parts of a checkpoint, of this writer or another.
pub(crate) async fn read(table: &Folder, parts: &[Path]) -> Result<Vec<Action>, Error> {
    let mut out = vec![];
    for path in parts {
        let Some(bytes) = table.read(path).await? else {
            return Err(damaged(path, "it was listed but is missing".into()));
        };
        let lines = decoded(bytes).map_err(|e| damaged(path, e))?;
        out.extend(from_lines(path, &lines)?);
    }
    Ok(out)
}

fn actions(snapshot: &Snapshot) -> Vec<Action> {
    let newest = snapshot.removed.values().filter_map(|r| r.deletion_timestamp).max().unwrap_or_default();
    let recent = snapshot.removed.values().filter(|r| r.deletion_timestamp.unwrap_or(0) > newest - REMOVED_KEPT_MS);
    let mut out = vec![
        Action { protocol: snapshot.protocol.clone(), ..Action::default() },
        Action { meta_data: snapshot.metadata.clone(), ..Action::default() },
    ];
    out.extend(snapshot.transactions.values().map(|txn| Action { txn: Some(txn.clone()), ..Action::default() }));
    // What a checkpoint tells of is no change.
    out.extend(recent.map(|r| {
        let remove = super::actions::Remove { data_change: false, ..r.clone() };
        Action { remove: Some(remove), ..Action::default() }
    }));
    out.extend(snapshot.files.values().map(|a| {
        let add = super::actions::Add { data_change: false, ..a.clone() };
        Action { add: Some(add), ..Action::default() }
    }));
    out
}

fn encoded(lines: &[u8]) -> Result<Vec<u8>, String> {
    let schema = schema();
    let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).build_decoder().map_err(|e| e.to_string())?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(vec![], schema, Some(properties)).map_err(|e| e.to_string())?;
    let mut rest = lines;
    while !rest.is_empty() {
        let taken = decoder.decode(rest).map_err(|e| e.to_string())?;
        rest = &rest[taken..];
        if let Some(batch) = decoder.flush().map_err(|e| e.to_string())? {
            writer.write(&batch).map_err(|e| e.to_string())?;
        }
    }
    writer.into_inner().map_err(|e| e.to_string())
}

fn decoded(bytes: Bytes) -> Result<Vec<u8>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|e| e.to_string())?;
    let known: BTreeSet<String> = schema().fields().iter().flat_map(|f| paths(f)).collect();
    let columns = reader.parquet_schema().columns().iter().enumerate();
    // What other writers add for their own readers, such as statistics as columns, is not read.
    let kept = columns.filter(|(_, c)| {
        let parts: Vec<&str> = c.path().parts().iter().map(String::as_str).take(2).collect();
        known.contains(&parts.join("."))
    });
    let mask = ProjectionMask::leaves(reader.parquet_schema(), kept.map(|(i, _)| i).collect::<Vec<_>>());
    let batches = reader.with_projection(mask).build().map_err(|e| e.to_string())?;
    let mut writer = LineDelimitedWriter::new(vec![]);
    for batch in batches {
        let batch: RecordBatch = batch.map_err(|e| e.to_string())?;
        writer.write(&batch).map_err(|e| e.to_string())?;
    }
    writer.finish().map_err(|e| e.to_string())?;
    Ok(writer.into_inner())
}

/// `add.path` and so on.
fn paths(field: &Field) -> Vec<String> {
    match field.data_type() {
        DataType::Struct(fields) => fields.iter().map(|f| format!("{}.{}", field.name(), f.name())).collect(),
        _ => vec![field.name().clone()],
    }
}

fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let int = |name: &str| Field::new(name, DataType::Int32, true);
    let flag = |name: &str| Field::new(name, DataType::Boolean, true);
    let map = |name: &str| {
        let (key, value) = (Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true));
        Field::new_map(name, "key_value", key, value, false, true)
    };
    let list = |name: &str| Field::new_list(name, Field::new("element", DataType::Utf8, true), true);
    let of = |name: &str, fields: Vec<Field>| Field::new(name, DataType::Struct(Fields::from(fields)), true);
    Arc::new(Schema::new(vec![
        of("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        of(
            "add",
            vec![
                text("path"),
                map("partitionValues"),
                long("size"),
                long("modificationTime"),
                flag("dataChange"),
                text("stats"),
                map("tags"),
            ],
        ),
        of(
            "remove",
            vec![
                text("path"),
                long("deletionTimestamp"),
                flag("dataChange"),
                flag("extendedFileMetadata"),
                map("partitionValues"),
                long("size"),
            ],
        ),
        of(
            "metaData",
            vec![
                text("id"),
                text("name"),
                text("description"),
                of("format", vec![text("provider"), map("options")]),
                text("schemaString"),
                list("partitionColumns"),
                map("configuration"),
                long("createdTime"),
            ],
        ),
        of("protocol", vec![int("minReaderVersion"), int("minWriterVersion")]),
    ]))
}
