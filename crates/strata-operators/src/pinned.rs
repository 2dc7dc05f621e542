//! A table that is a fixed list of files: what a run read can always be named. Never lists a folder and never follows new files.

use crate::{messages, tagged};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::CsvOptions;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{CsvSource, FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use object_store::path::Path;
use std::sync::Arc;

/// One pinned file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PinnedFile {
    /// Path inside the store, without a leading slash.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Last change, microseconds since 1970.
    pub modified_us: i64,
    /// Entity tag of the store, where it gives one.
    pub etag: Option<String>,
    /// Rows, where the format tells (Parquet footers).
    pub rows: Option<u64>,
    /// Values of the hive columns, in order.
    pub hive_values: Vec<String>,
}

/// File formats of pinned tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PinnedFormat {
    /// Parquet.
    Parquet,
    /// CSV with a header.
    Csv,
}

/// A fixed list of files with one schema. INVARIANT: `schema` is the files' columns followed by the hive columns (all Utf8).
#[derive(Debug, Clone, PartialEq)]
pub struct PinnedTable {
    /// URL of the object store, e.g. `file:///`.
    pub store: String,
    /// Format of every file.
    pub format: PinnedFormat,
    /// Columns.
    pub schema: SchemaRef,
    /// How many of the last columns come from the path (`month=2025-01`).
    pub hive: usize,
    /// The files.
    pub files: Vec<PinnedFile>,
}

impl PinnedFile {
    /// What readers ask the store for: the path, and the entity tag with it where there is one.
    pub fn location(&self) -> Path {
        let name = match &self.etag {
            Some(etag) => tagged::name(&self.path, etag),
            None => self.path.clone(),
        };
        // A path of a store is one already; encoding it again would name another file.
        Path::parse(&name).unwrap_or_else(|_| Path::from(name))
    }
}

impl PinnedTable {
    /// Rows of all files, if every file tells.
    pub fn rows(&self) -> Option<u64> {
        self.files.iter().map(|f| f.rows).sum()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.size).sum()
    }

    fn table_schema(&self) -> TableSchema {
        let split = self.schema.fields().len() - self.hive;
        let file = arrow::datatypes::Schema::new(self.schema.fields()[..split].to_vec());
        let hive: Vec<FieldRef> = self.schema.fields()[split..].to_vec();
        TableSchema::builder(Arc::new(file)).with_table_partition_cols(hive).build()
    }

    fn partitioned_files(&self) -> Vec<PartitionedFile> {
        self.files
            .iter()
            .map(|f| {
                let mut file = PartitionedFile::new("", f.size);
                file.object_meta.location = f.location();
                file.object_meta.e_tag = f.etag.clone();
                if let Some(t) = chrono::DateTime::from_timestamp_micros(f.modified_us) {
                    file.object_meta.last_modified = t;
                }
                file.partition_values = f.hive_values.iter().map(|v| ScalarValue::Utf8(Some(v.clone()))).collect();
                file
            })
            .collect()
    }

    /// The table as a message, to be kept.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok(prost::Message::encode_to_vec(&self.to_message()?))
    }

    /// The table that [`PinnedTable::to_bytes`] gave. Errors: `Internal` for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let message: messages::Pinned =
            prost::Message::decode(bytes).map_err(|e| datafusion::common::internal_datafusion_err!("a pinned table: {e}"))?;
        Self::from_message(message)
    }

    pub(crate) fn to_message(&self) -> Result<messages::Pinned> {
        let schema: datafusion_proto::protobuf::Schema = self.schema.as_ref().try_into()?;
        Ok(messages::Pinned {
            store: self.store.clone(),
            csv: self.format == PinnedFormat::Csv,
            schema: prost::Message::encode_to_vec(&schema),
            hive: self.hive as u64,
            files: self
                .files
                .iter()
                .map(|f| messages::PinnedFile {
                    path: f.path.clone(),
                    size: f.size,
                    modified_us: f.modified_us,
                    etag: f.etag.clone(),
                    rows: f.rows,
                    hive_values: f.hive_values.clone(),
                })
                .collect(),
        })
    }

    pub(crate) fn from_message(m: messages::Pinned) -> Result<Self> {
        let schema = messages::decode_schema(&m.schema)?;
        Ok(Self {
            store: m.store,
            format: if m.csv { PinnedFormat::Csv } else { PinnedFormat::Parquet },
            schema,
            hive: m.hive as usize,
            files: m
                .files
                .into_iter()
                .map(|f| PinnedFile {
                    path: f.path,
                    size: f.size,
                    modified_us: f.modified_us,
                    etag: f.etag,
                    rows: f.rows,
                    hive_values: f.hive_values,
                })
                .collect(),
        })
    }
}

/// A hive column: text, never null.
pub fn hive_field(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

#[async_trait]
impl TableProvider for PinnedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let table_schema = self.table_schema();
        let source: Arc<dyn FileSource> = match self.format {
            PinnedFormat::Parquet => {
                let options = state.config_options().execution.parquet.clone();
                let options = datafusion::common::config::TableParquetOptions { global: options, ..Default::default() };
                Arc::new(ParquetSource::new(table_schema).with_table_parquet_options(options))
            }
            PinnedFormat::Csv => {
                let options = CsvOptions { has_header: Some(true), ..Default::default() };
                Arc::new(CsvSource::new(table_schema).with_csv_options(options))
            }
        };
        let parts = state.config_options().execution.target_partitions.max(1);
        let groups = match self.files.is_empty() {
            true => vec![FileGroup::new(vec![])],
            false => split_by_size(self.partitioned_files(), parts),
        };
        let Ok(store) = ObjectStoreUrl::parse(&self.store) else {
            return exec_err!("`{}` is not the address of an object store", self.store);
        };
        let config = FileScanConfigBuilder::new(store, source)
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// At most `parts` groups of about equal bytes: the largest file first, each to the lightest group.
fn split_by_size(mut files: Vec<PartitionedFile>, parts: usize) -> Vec<FileGroup> {
    files.sort_by(|a, b| {
        b.object_meta.size.cmp(&a.object_meta.size).then_with(|| a.object_meta.location.cmp(&b.object_meta.location))
    });
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, vec![]); parts.min(files.len())];
    for file in files {
        if let Some(lightest) = groups.iter_mut().min_by_key(|g| g.0) {
            lightest.0 += file.object_meta.size;
            lightest.1.push(file);
        }
    }
    groups.into_iter().map(|(_, files)| FileGroup::new(files)).collect()
}
