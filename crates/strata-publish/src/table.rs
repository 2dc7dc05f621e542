//! What a plain table is made of: manifests, versions, and sets of tables. Never touches a store.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};

use crate::content::{CONTENT_DEFINITION, ContentHash};
use crate::error::Error;
use crate::receipt::Receipt;

/// The version of the JSON that this code writes and the highest it reads.
pub(crate) const FORMAT: u32 = 1;

/// Everything about one run's version of a table: `_manifest.json` in the run's folder. It never changes once written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this JSON.
    pub format: u32,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Id of the run, and name of its folder.
    pub run_id: String,
    /// The run's as-of, ISO 8601.
    pub as_of: String,
    /// Columns of every file, in order.
    pub schema: Vec<Column>,
    /// Rows of all files.
    pub rows: i64,
    /// Bytes of all files.
    pub bytes: i64,
    /// Sum of the files' content hashes.
    pub content: ContentHash,
    /// How `content` is defined: [`CONTENT_DEFINITION`].
    pub content_definition: String,
    /// The files, by path; paths are relative to the run's folder.
    pub files: Vec<Receipt>,
    /// What later runs go on with, by name: numbers that were solved once and hold from then on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kept: BTreeMap<String, serde_json::Value>,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its Arrow type as arrow writes and parses it, e.g. `Timestamp(µs)`.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it may hold nulls.
    pub nullable: bool,
}

/// One entry of a table's pointer log: a published run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Version of this JSON.
    pub format: u32,
    /// Place in the log, from 1.
    pub seq: u64,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Id of the run.
    pub run_id: String,
    /// The run's as-of, ISO 8601.
    pub as_of: String,
    /// Folder of the files, relative to the table.
    pub folder: String,
    /// Rows.
    pub rows: i64,
    /// Content hash of all rows.
    pub content: ContentHash,
}

/// The outputs of a pipeline whose current versions are of different runs: a run was interrupted between its commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mixed {
    /// The output with the oldest version, and its run. Runs are ordered by as-of, then by run id.
    pub oldest: (String, String),
    /// The output with the newest version, and its run.
    pub newest: (String, String),
    /// Outputs that were never published, while others were.
    pub missing: Vec<String>,
}

impl Manifest {
    /// The manifest of a run that wrote `receipts`; `schema` is that of the files
    /// ([`WriteExec::stored_schema`](crate::WriteExec::stored_schema)).
    ///
    /// Errors: `Invalid` for a run id that cannot be a folder; `Internal` for no receipts, or two of one file.
    pub fn new(pipeline: &str, run_id: &str, as_of: &str, schema: &Schema, receipts: Vec<Receipt>) -> Result<Self, Error> {
        let mut files = receipts;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let total = |of: fn(&Receipt) -> i64| files.iter().try_fold(0_i64, |sum, file| sum.checked_add(of(file)));
        let (Some(rows), Some(bytes)) = (total(|file| file.rows), total(|file| file.bytes)) else {
            return Err(Error::receipt("the rows or bytes of all files overflow".into()));
        };
        let manifest = Self {
            format: FORMAT,
            pipeline: pipeline.into(),
            run_id: run_id.into(),
            as_of: as_of.into(),
            schema: schema.fields().iter().map(|field| Column::of(field)).collect(),
            rows,
            bytes,
            content: files.iter().fold(ContentHash::default(), |sum, file| sum.plus(file.content)),
            content_definition: CONTENT_DEFINITION.into(),
            files,
            kept: BTreeMap::new(),
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks what [`Manifest::new`] promises.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_name("the run id", &self.run_id)?;
        if self.files.is_empty() {
            return Err(Error::receipt(format!("run `{}` has no files", self.run_id)));
        }
        for file in &self.files {
            check_name("the file", &file.path)?;
        }
        match self.files.windows(2).find(|pair| pair[0].path >= pair[1].path) {
            Some(pair) => Err(Error::receipt(format!("`{}` was written twice", pair[1].path))),
            None => Ok(()),
        }
    }

    /// In what the rows of `other` differ; `None` if both are the same table, whatever its files.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        if self.schema != other.schema {
            return Some("other columns".into());
        }
        let facts = |manifest: &Self| {
            [
                ("pipeline", manifest.pipeline.clone()),
                ("as-of", manifest.as_of.clone()),
                ("content definition", manifest.content_definition.clone()),
                ("rows", manifest.rows.to_string()),
                ("content", manifest.content.to_string()),
            ]
        };
        let mut pairs = facts(self).into_iter().zip(facts(other));
        pairs.find(|(own, theirs)| own != theirs).map(|((what, own), (_, theirs))| format!("{what} `{own}`, not `{theirs}`"))
    }

    /// The entry of the pointer log that publishes it as `seq`.
    pub(crate) fn version(&self, seq: u64) -> Version {
        Version {
            format: FORMAT,
            seq,
            pipeline: self.pipeline.clone(),
            run_id: self.run_id.clone(),
            as_of: self.as_of.clone(),
            folder: format!("runs/{}", self.run_id),
            rows: self.rows,
            content: self.content,
        }
    }
}

impl Column {
    fn of(field: &arrow::datatypes::Field) -> Self {
        Self { name: field.name().clone(), data_type: field.data_type().to_string(), nullable: field.is_nullable() }
    }
}

/// A name that can be one segment of a path on every store: no `=`, which readers take for a partition column, and no `_` or `.` at
/// its beginning, which they hide.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), Error> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    match first && name.len() <= 255 && name.bytes().all(inner) {
        true => Ok(()),
        false => Err(Error::Name { what, name: name.into() }),
    }
}

/// Whether the current versions of a pipeline's outputs are of different runs: `None` if they are all of one run, or none exists.
pub fn mixed_set(outputs: &[(String, Option<Version>)]) -> Option<Mixed> {
    let mut published: Vec<(&String, &Version)> = Vec::new();
    let mut missing = Vec::new();
    for (output, version) in outputs {
        match version {
            Some(version) => published.push((output, version)),
            None => missing.push(output.clone()),
        }
    }
    published.sort_by_key(|(output, version)| (&version.as_of, &version.run_id, *output));
    let (oldest, newest) = (*published.first()?, *published.last()?);
    if oldest.1.run_id == newest.1.run_id && missing.is_empty() {
        return None;
    }
    let named = |(output, version): (&String, &Version)| (output.clone(), version.run_id.clone());
    Some(Mixed { oldest: named(oldest), newest: named(newest), missing })
}

impl fmt::Display for Mixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((old, old_run), (new, new_run)) = (&self.oldest, &self.newest);
        match old_run == new_run {
            true => write!(f, "the outputs are of run `{new_run}`")?,
            false => write!(f, "the outputs are of different runs: `{old}` of `{old_run}`, `{new}` of `{new_run}`")?,
        }
        if !self.missing.is_empty() {
            write!(f, "; never published: `{}`", self.missing.join("`, `"))?;
        }
        write!(f, "; a run was interrupted while it published: run again to repair it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use arrow::datatypes::{DataType, Field, TimeUnit};

    fn receipt(path: &str) -> Receipt {
        Receipt { path: path.into(), rows: 2, bytes: 10, content: ContentHash::default(), columns: vec![] }
    }

    fn manifest(run_id: &str, files: &[&str]) -> Result<Manifest, Error> {
        let schema = Schema::new(vec![Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)]);
        Manifest::new("c360", run_id, "2025-01-01", &schema, files.iter().map(|path| receipt(path)).collect())
    }

    #[test]
    fn a_manifest_sums_and_sorts_its_files_and_its_types_parse() {
        let whole = manifest("r1", &["b", "a"]).unwrap();
        assert_eq!((whole.rows, whole.bytes, whole.files[0].path.as_str()), (4, 20, "a"));
        let parsed: DataType = whole.schema[0].data_type.parse().unwrap();
        assert_eq!(parsed, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), whole);
    }

    #[test]
    fn refuses_names_that_paths_cannot_hold() {
        for run_id in ["", "a/b", "..", "_x", ".x", "month=1", "a b", "ä"] {
            assert_eq!(manifest(run_id, &["a"]).unwrap_err().kind(), Kind::Invalid, "{run_id}");
        }
        assert_eq!(manifest("r1", &["../a"]).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(manifest("r1", &["a", "a"]).unwrap_err().kind(), Kind::Internal);
        assert_eq!(manifest("r1", &[]).unwrap_err().kind(), Kind::Internal);
    }

    #[test]
    fn tells_which_outputs_are_of_other_runs() {
        let at = |run_id: &str, as_of: &str| {
            let manifest = Manifest { as_of: as_of.into(), ..manifest(run_id, &["a"]).unwrap() };
            Some(manifest.version(1))
        };
        let set = |versions: Vec<Option<Version>>| {
            let outputs: Vec<_> = versions.into_iter().enumerate().map(|(i, version)| (format!("o{i}"), version)).collect();
            mixed_set(&outputs)
        };
        assert_eq!(set(vec![]), None);
        assert_eq!(set(vec![None, None]), None);
        assert_eq!(set(vec![at("r1", "2025"), at("r1", "2025")]), None);
        let mixed = set(vec![at("r2", "2026"), at("r1", "2025"), at("r1", "2025")]).unwrap();
        assert_eq!((mixed.oldest.clone(), mixed.newest.clone()), (("o1".into(), "r1".into()), ("o0".into(), "r2".into())));
        assert!(mixed.to_string().contains("`o1` of `r1`"));
        assert_eq!(set(vec![at("r1", "2025"), None]).unwrap().missing, ["o1"]);
    }
}
