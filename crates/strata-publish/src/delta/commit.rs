//! The actions that publish a run. Never takes away rows of another as-of where versions stand beside one another.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use arrow::datatypes::DataType;
use chrono::{DateTime, Utc};
use object_store::ObjectMeta;
use serde_json::{Map, Value, json};

use super::actions::{Action, Add, Format, Metadata, Protocol, Remove, Texts, Transaction};
use super::schema::DeltaSchema;
use super::snapshot::{RUN_TAG, SEQ_TAG, Snapshot};
use super::{AS_OF, Rows};
use crate::error::Error;
use crate::folder::Folder;
use crate::receipt::Receipt;
use crate::table::{Manifest, Version};

/// Property of a table that holds the rows of many as-ofs.
const HISTORY: &str = "strata.history";

/// The actions of the entry after `snapshot`. Errors: `Invalid` where the table cannot have them.
pub(crate) fn actions(
    table: &Folder,
    snapshot: &Snapshot,
    manifest: &Manifest,
    version: &Version,
    present: &HashMap<String, ObjectMeta>,
    rows: Rows,
) -> Result<Vec<Action>, Error> {
    let root = table.root.to_string();
    let adds: Vec<Add> = manifest.files.iter().map(|file| add(file, manifest, version, present, rows)).collect();
    // When the last of them was written, by the clock of the store.
    let at = adds.iter().map(|a| a.modification_time).max().unwrap_or_default();
    let mut removes: Vec<Remove> = vec![];
    for known in snapshot.files.values() {
        if rows == Rows::All || goes(&root, known, &manifest.as_of)? {
            removes.push(remove(known, at));
        }
    }
    let mut out = vec![Action { commit_info: Some(info(version, at, rows)), ..Action::default() }];
    if snapshot.protocol.is_none() {
        let protocol = Protocol { min_reader_version: 1, min_writer_version: 2 };
        out.push(Action { protocol: Some(protocol), ..Action::default() });
    }
    let metadata = metadata(&root, snapshot, manifest, at, rows)?;
    if snapshot.metadata.as_ref() != Some(&metadata) {
        out.push(Action { meta_data: Some(metadata), ..Action::default() });
    }
    let txn =
        Transaction { app_id: format!("strata/{}", manifest.pipeline), version: version.seq as i64, last_updated: Some(at) };
    out.push(Action { txn: Some(txn), ..Action::default() });
    let append_only = snapshot.metadata.as_ref().and_then(|m| m.configuration.get("delta.appendOnly").cloned().flatten());
    if !removes.is_empty() && append_only.as_deref() == Some("true") {
        return Err(Error::Unsupported {
            table: root,
            why: "it is append-only (`delta.appendOnly`), and rows of it would go".into(),
        });
    }
    out.extend(removes.into_iter().map(|remove| Action { remove: Some(remove), ..Action::default() }));
    out.extend(adds.into_iter().map(|add| Action { add: Some(add), ..Action::default() }));
    Ok(out)
}

/// Whether a file of a table with history holds the rows of `as_of`, by the bounds of its column `as_of`.
fn goes(root: &str, known: &Add, as_of: &str) -> Result<bool, Error> {
    let refused = |why: String| Error::Unsupported { table: root.to_owned(), why };
    let stats: Option<Value> = known.stats.as_ref().and_then(|s| serde_json::from_str(s).ok());
    let bound = |side: &str| instant(stats.as_ref()?.get(side)?.get(AS_OF)?.as_str()?);
    let own = instant(as_of).ok_or_else(|| refused(format!("its as-of `{as_of}` is no instant")))?;
    match (bound("minValues"), bound("maxValues")) {
        (Some(least), Some(most)) if least == own && most == own => Ok(true),
        (Some(least), Some(most)) if own < least || own > most => Ok(false),
        _ => Err(refused(format!(
            "another writer put rows of several as-ofs into one file (`{}`), so those of {as_of} cannot be taken out of it: delete them \
             there, or publish a later as-of",
            known.path
        ))),
    }
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    text.parse().ok()
}

/// The table's metadata with the columns of `manifest`.
fn metadata(root: &str, snapshot: &Snapshot, manifest: &Manifest, at: i64, rows: Rows) -> Result<Metadata, Error> {
    let schema = DeltaSchema::of(root, &manifest.schema)?;
    let history = (rows == Rows::OfAsOf).then(|| (HISTORY.to_owned(), Some("snapshot".to_owned())));
    let refused = |why: &str| Error::Unsupported { table: root.to_owned(), why: why.to_owned() };
    let Some(known) = &snapshot.metadata else {
        return Ok(Metadata {
            id: id(root, &manifest.run_id),
            name: None,
            description: None,
            format: Format { provider: "parquet".into(), options: Texts::new() },
            schema_string: schema.text()?,
            partition_columns: vec![],
            configuration: history.into_iter().collect(),
            created_time: Some(at),
        });
    };
    if known.configuration.get(HISTORY) != history.as_ref().map(|(_, value)| value) {
        return Err(refused("it was written with another `history:`: give the output another folder"));
    }
    if !known.partition_columns.is_empty() {
        return Err(refused("another writer cut it into partitions: give the output another folder"));
    }
    let before: DeltaSchema =
        serde_json::from_str(&known.schema_string).map_err(|e| refused(&format!("its columns cannot be read ({e})")))?;
    if before.has_invariants() {
        return Err(refused("another writer gave its columns rules (`delta.invariants`) that this one does not check"));
    }
    // The text of a schema that did not change stays as it was written.
    let schema = match rows {
        Rows::All => schema,
        Rows::OfAsOf => before.clone().with(root, schema)?,
    };
    let schema_string = if schema == before { known.schema_string.clone() } else { schema.text()? };
    Ok(Metadata { schema_string, ..known.clone() })
}

fn info(version: &Version, at: i64, rows: Rows) -> Value {
    let mut parameters = json!({"mode": "Overwrite", "partitionBy": "[]"});
    if rows == Rows::OfAsOf {
        parameters["predicate"] = json!(format!("{AS_OF} = '{}'", version.as_of));
    }
    json!({
        "timestamp": at,
        "operation": "WRITE",
        "operationParameters": parameters,
        "isBlindAppend": false,
        "engineInfo": concat!("strata/", env!("CARGO_PKG_VERSION")),
        "strata": version,
    })
}

fn add(file: &Receipt, manifest: &Manifest, version: &Version, present: &HashMap<String, ObjectMeta>, rows: Rows) -> Add {
    let tag = |name: &str, value: String| (name.to_owned(), Some(value));
    Add {
        path: format!("{}/{}", version.folder, file.path),
        partition_values: Texts::new(),
        size: file.bytes,
        modification_time: present.get(&file.path).map_or(0, |meta| meta.last_modified.timestamp_millis()),
        data_change: true,
        stats: Some(stats(file, manifest, rows).to_string()),
        tags: Some(Texts::from([tag(RUN_TAG, version.run_id.clone()), tag(SEQ_TAG, version.seq.to_string())])),
    }
}

fn remove(known: &Add, at: i64) -> Remove {
    Remove {
        path: known.path.clone(),
        deletion_timestamp: Some(at),
        data_change: true,
        extended_file_metadata: Some(true),
        partition_values: Some(known.partition_values.clone()),
        size: Some(known.size),
    }
}

/// What the receipt knows of a file's columns. Bounds are there only for columns that the plan knows to be not personal.
fn stats(file: &Receipt, manifest: &Manifest, rows: Rows) -> Value {
    let (mut min, mut max, mut nulls) = (Map::new(), Map::new(), Map::new());
    for column in &file.columns {
        let kind = manifest.schema.iter().find(|c| c.name == column.name).and_then(|c| c.data_type.parse::<DataType>().ok());
        nulls.insert(column.name.clone(), json!(column.nulls));
        let of = |text: &Option<String>| bound(kind.as_ref()?, text.as_deref()?);
        // A bound of one side is none.
        if let (Some(least), Some(most)) = (of(&column.min), of(&column.max)) {
            min.insert(column.name.clone(), least);
            max.insert(column.name.clone(), most);
        }
    }
    if let Some(own) = instant(&manifest.as_of).filter(|_| rows == Rows::OfAsOf) {
        let own = json!(own.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
        min.insert(AS_OF.to_owned(), own.clone());
        max.insert(AS_OF.to_owned(), own);
    }
    json!({"numRecords": file.rows, "minValues": min, "maxValues": max, "nullCount": nulls})
}

/// A bound as JSON; `None` where JSON would not hold it to the last digit.
fn bound(kind: &DataType, text: &str) -> Option<Value> {
    match kind {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(json!(text.parse::<i64>().ok()?)),
        DataType::Float32 | DataType::Float64 => {
            let number = text.parse::<f64>().ok().filter(|n| n.is_finite())?;
            Some(json!(number))
        }
        DataType::Date32 | DataType::Timestamp(_, Some(_)) => Some(json!(text)),
        _ => None,
    }
}

/// The id of a table, from where it is and the run that made it: the same if that run is tried again.
fn id(root: &str, run_id: &str) -> String {
    let part = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, root, run_id).hash(&mut hasher);
        hasher.finish()
    };
    let (high, low) = (part(0), part(1));
    // Version 8 of UUIDs: bits of one's own.
    format!(
        "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 48) & 0x3fff,
        low & 0xffff_ffff_ffff
    )
}
