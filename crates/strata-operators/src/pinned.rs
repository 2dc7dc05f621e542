//! A table that is a fixed list of files: what a run read can always be named. Never lists a folder and never follows new files.

use crate::write::FORMULA_STARTS;
use crate::{messages, tagged};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::CsvOptions;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{CsvSource, FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::functions::regex::regexp_replace;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::expressions::{Column as PhysicalColumn, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use object_store::path::Path;
use std::collections::BTreeMap;
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
    /// Columns of a CSV in the order of its header, where that is not the table's; empty otherwise.
    pub columns: Vec<String>,
}

/// File formats of pinned tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PinnedFormat {
    /// Parquet.
    Parquet,
    /// CSV with a header.
    Csv,
    /// CSV that an output was written as: the apostrophe before text that begins like a formula is none of the text's.
    OwnCsv,
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
    /// Columns of which the files themselves say that they hold no null.
    pub complete: Vec<String>,
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

    /// The columns of the files, then `missing` ones, then those of the path.
    fn table_schema(&self, missing: &[FieldRef]) -> TableSchema {
        let split = self.schema.fields().len() - self.hive;
        let file = Schema::new(self.schema.fields()[..split].to_vec());
        let given: Vec<FieldRef> = missing.iter().chain(&self.schema.fields()[split..]).cloned().collect();
        TableSchema::builder(Arc::new(file)).with_table_partition_cols(given).build()
    }

    fn partitioned_files(&self, missing: &[FieldRef]) -> Result<Vec<PartitionedFile>> {
        self.files
            .iter()
            .map(|f| {
                let mut file = PartitionedFile::new("", f.size);
                file.object_meta.location = f.location();
                file.object_meta.e_tag = f.etag.clone();
                if let Some(t) = chrono::DateTime::from_timestamp_micros(f.modified_us) {
                    file.object_meta.last_modified = t;
                }
                file.partition_values = missing.iter().map(|m| ScalarValue::try_from(m.data_type())).collect::<Result<_>>()?;
                file.partition_values.extend(f.hive_values.iter().map(|v| ScalarValue::Utf8(Some(v.clone()))));
                Ok(file)
            })
            .collect()
    }

    /// Where a file is, as people write it.
    pub fn shown(&self, file: &PinnedFile) -> String {
        let store = self.store.strip_prefix("file://").unwrap_or(&self.store).trim_end_matches('/');
        format!("{store}/{}", file.path)
    }

    /// The table with one more column behind the others, `name`: where the file is that a row stands in.
    pub fn with_file_column(&self, name: &str) -> Self {
        let fields = self.schema.fields().iter().cloned().chain([Arc::new(hive_field(name))]);
        let mut table = Self { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())), hive: self.hive + 1, ..self.clone() };
        for file in &mut table.files {
            let shown = self.shown(file);
            file.hive_values.push(shown);
        }
        table
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
            csv: self.format != PinnedFormat::Parquet,
            own: self.format == PinnedFormat::OwnCsv,
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
                    columns: f.columns.clone(),
                })
                .collect(),
            complete: self.complete.clone(),
        })
    }

    pub(crate) fn from_message(m: messages::Pinned) -> Result<Self> {
        let schema = messages::decode_schema(&m.schema)?;
        Ok(Self {
            store: m.store,
            format: match (m.csv, m.own) {
                (false, _) => PinnedFormat::Parquet,
                (true, false) => PinnedFormat::Csv,
                (true, true) => PinnedFormat::OwnCsv,
            },
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
                    columns: f.columns,
                })
                .collect(),
            complete: m.complete,
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
        let mut layouts: BTreeMap<&[String], Vec<&PinnedFile>> = BTreeMap::new();
        for file in &self.files {
            layouts.entry(&file.columns).or_default().push(file);
        }
        if layouts.keys().all(|columns| columns.is_empty()) {
            let scan = self.scan_files(state, &[], projection.cloned(), limit)?;
            return match self.format {
                PinnedFormat::OwnCsv => without_apostrophes(state, scan),
                PinnedFormat::Csv | PinnedFormat::Parquet => Ok(scan),
            };
        }
        let wanted = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let scans = layouts.into_iter().map(|(columns, files)| self.scan_layout(state, columns, files, &wanted));
        let scans = scans.collect::<Result<Vec<_>>>()?;
        match <[_; 1]>::try_from(scans) {
            Ok([scan]) => Ok(scan),
            Err(scans) => UnionExec::try_new(scans),
        }
    }
}

impl PinnedTable {
    /// Files whose columns stand in the order of the table's.
    fn scan_files(
        &self,
        state: &dyn Session,
        missing: &[FieldRef],
        projection: Option<Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let table_schema = self.table_schema(missing);
        let source: Arc<dyn FileSource> = match self.format {
            PinnedFormat::Parquet => {
                let options = state.config_options().execution.parquet.clone();
                let options = datafusion::common::config::TableParquetOptions { global: options, ..Default::default() };
                Arc::new(ParquetSource::new(table_schema).with_table_parquet_options(options))
            }
            PinnedFormat::Csv | PinnedFormat::OwnCsv => {
                let options = CsvOptions { has_header: Some(true), ..Default::default() };
                Arc::new(CsvSource::new(table_schema).with_csv_options(options))
            }
        };
        let parts = state.config_options().execution.target_partitions.max(1);
        let groups = match self.files.is_empty() {
            true => vec![FileGroup::new(vec![])],
            false => split_by_size(self.partitioned_files(missing)?, parts),
        };
        let Ok(store) = ObjectStoreUrl::parse(&self.store) else {
            return exec_err!("`{}` is not the address of an object store", self.store);
        };
        let config = FileScanConfigBuilder::new(store, source)
            .with_file_groups(groups)
            .with_projection_indices(projection)?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// Files of one header that is not the table's: a CSV is read by position, so each order of columns is a scan of its own. Gives the
    /// columns `wanted` of the table; one that the files do not hold is null.
    fn scan_layout(
        &self,
        state: &dyn Session,
        columns: &[String],
        files: Vec<&PinnedFile>,
        wanted: &[usize],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let own = self.schema.fields().len() - self.hive;
        let of_table: Vec<FieldRef> = self.schema.fields()[..own].to_vec();
        let mut fields: Vec<FieldRef> = match columns.is_empty() {
            true => of_table.clone(),
            false => {
                let known = |name: &String| of_table.iter().find(|f| f.name() == name).cloned();
                let text = |name: &String| Arc::new(Field::new(name, DataType::Utf8, true));
                columns.iter().map(|name| known(name).unwrap_or_else(|| text(name))).collect()
            }
        };
        let absent = |f: &&FieldRef| !fields.iter().any(|known| known.name() == f.name());
        let missing: Vec<FieldRef> = of_table.iter().filter(absent).cloned().collect();
        let hive = self.schema.fields()[own..].iter();
        // As a scan orders them: columns of the file, then those that are the same for all of its rows.
        let order: Vec<FieldRef> = fields.iter().chain(&missing).chain(hive.clone()).cloned().collect();
        fields.extend(hive.cloned());
        let files = files.into_iter().cloned().collect();
        let table = Self { schema: Arc::new(Schema::new(fields)), files, ..self.clone() };
        let name = |i: &usize| self.schema.field(*i).name();
        let read = wanted.iter().filter_map(|i| order.iter().position(|f| f.name() == name(i))).collect();
        table.scan_files(state, &missing, Some(read), None)
    }
}

/// Rows as they were before they were written: an apostrophe goes that stands, alone or with others, before a character that begins a formula.
fn without_apostrophes(state: &dyn Session, scan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = scan.schema();
    let options = Arc::new(state.config_options().clone());
    let escaped = format!("^'('*[{}])", String::from_iter(FORMULA_STARTS));
    let expressions = schema.fields().iter().enumerate().map(|(i, field)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(PhysicalColumn::new(field.name(), i));
        let expression: Arc<dyn PhysicalExpr> = match field.data_type() {
            DataType::Utf8 => {
                let arguments = vec![column, text(&escaped), text("$1")];
                Arc::new(ScalarFunctionExpr::try_new(regexp_replace(), arguments, &schema, Arc::clone(&options))?)
            }
            _ => column,
        };
        Ok((expression, field.name().clone()))
    });
    let expressions = expressions.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(expressions, scan)?))
}

fn text(value: &str) -> Arc<dyn PhysicalExpr> {
    Arc::new(Literal::new(ScalarValue::from(value)))
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
