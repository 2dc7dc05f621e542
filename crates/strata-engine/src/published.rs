//! Tables of ours as pinned tables, from what their writers said of the files. Never lists a folder, never opens a file.

use arrow::datatypes::{DataType, Field, Schema};
use std::str::FromStr;
use std::sync::Arc;
use strata_operators::pinned::{PinnedFile, PinnedFormat, PinnedTable, hive_field};
use strata_publish::{Manifest, Receipt};
use strata_runtime::store::Place;

/// The files that receipts tell of, below `folder`.
pub(crate) fn files(folder: &Place, receipts: &[Receipt]) -> Vec<PinnedFile> {
    let file = |r: &Receipt| PinnedFile {
        path: folder.path.clone().join(r.path.as_str()).to_string(),
        size: r.bytes.max(0) as u64,
        modified_us: 0,
        etag: None,
        rows: Some(r.rows.max(0) as u64),
        hive_values: vec![],
        columns: vec![],
    };
    receipts.iter().map(file).collect()
}

/// What a version of a table holds, in `folder`, as it was written, whatever a pipeline says now. Errors: in words, where the manifest names
/// a type that nobody knows.
pub(crate) fn table(folder: &Place, manifest: &Manifest) -> Result<PinnedTable, String> {
    let field = |c: &strata_publish::Column| match DataType::from_str(&c.data_type) {
        Ok(kind) => Ok(Field::new(&c.name, kind, true)),
        Err(e) => Err(format!("the manifest below `{folder}` names the type `{}`: {e}", c.data_type)),
    };
    let fields = manifest.schema.iter().map(field).collect::<Result<Vec<_>, String>>()?;
    let format = match manifest.files.first().and_then(|f| f.path.rsplit_once('.')).map(|(_, extension)| extension) {
        None | Some("parquet") => PinnedFormat::Parquet,
        Some("csv") => PinnedFormat::OwnCsv,
        Some(other) => {
            return Err(format!("`{folder}` was written as .{other}, which is not read back: only parquet, delta and csv are"));
        }
    };
    Ok(PinnedTable {
        store: folder.store_url.clone(),
        format,
        schema: Arc::new(Schema::new(fields)),
        hive: 0,
        files: files(folder, &manifest.files),
        complete: vec![],
    })
}

/// The same with a text beside every row.
pub(crate) fn with_text(mut table: PinnedTable, name: &str, text: &str) -> PinnedTable {
    let fields = table.schema.fields().iter().cloned().chain([Arc::new(hive_field(name))]);
    table.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    table.hive += 1;
    table.files.iter_mut().for_each(|f| f.hive_values.push(text.to_owned()));
    table
}
