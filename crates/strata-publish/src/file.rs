//! One file: rows in, encoded, hashed, streamed to the store, one receipt out. It never leaves part of a file visible.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use datafusion::common::{DataFusionError, plan_err};
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::metrics::Count;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use strata_operators::write::{Formulas, WriteFormat, WritePurpose};

use crate::content::ContentHasher;
use crate::receipt::Receipt;
use crate::stats::Stats;
use crate::stored::stored_batch;
use crate::upload::Upload;
use crate::xlsx::Workbook;
use crate::{csv, jsonl};

/// Rows of the batches that are encoded, whatever the input's: all decisions of the encoder fall at the same rows then.
const BATCH_ROWS: usize = 8192;

/// Rows of a Parquet row group, at most.
const ROW_GROUP_ROWS: usize = 128 << 10;

/// Encoded bytes of a row group, at most (estimated by the encoder).
const ROW_GROUP_BYTES: usize = 16 << 20;

/// Memory of the encoder, at which a row group ends early: reached by very wide tables whose columns compress well.
const ENCODER_BYTES_MAX: usize = 64 << 20;

/// Bytes of a column's dictionary: a column of more different values than that is stored value by value, and looking for its few repeats would
/// cost more than they save.
const DICTIONARY_BYTES: usize = 64 << 10;

/// Rows turned into text at a time.
const TEXT_ROWS: usize = 1024;

/// What it takes to write one file.
pub(crate) struct FileJob {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) folder: Path,
    pub(crate) path: Path,
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    /// None in the work area.
    pub(crate) hasher: Option<ContentHasher>,
    pub(crate) stats: Stats,
    pub(crate) format: WriteFormat,
    pub(crate) purpose: WritePurpose,
    pub(crate) formulas: Formulas,
    /// Whether the file is made without rows too.
    pub(crate) keep_empty: bool,
    pub(crate) reservation: MemoryReservation,
    pub(crate) rows: Count,
    pub(crate) bytes: Count,
}

/// Checks that a file of the format can hold every column. Errors: `Plan`, naming the column and what to do.
pub(crate) fn check_format(format: WriteFormat, schema: &Schema) -> Result<()> {
    let (what, refused) = match format {
        WriteFormat::Parquet => return Ok(()),
        WriteFormat::Jsonl => ("JSON lines", schema.fields().iter().find(|field| !jsonl::can_hold(field.data_type()))),
        WriteFormat::Csv => ("CSV", schema.fields().iter().find(|field| field.data_type().is_nested())),
        WriteFormat::Xlsx => ("a workbook", schema.fields().iter().find(|field| field.data_type().is_nested())),
    };
    if format == WriteFormat::Xlsx && schema.fields().len() > crate::xlsx::COLUMNS_MAX {
        return plan_err!("a sheet holds {} columns, the output has {}", crate::xlsx::COLUMNS_MAX, schema.fields().len());
    }
    match refused {
        Some(field) => plan_err!(
            "column `{}` has type `{}`, which {what} cannot hold: choose Parquet, or take it apart",
            field.name(),
            field.data_type()
        ),
        None => Ok(()),
    }
}

/// Writes the rows of `input` to one file. One receipt, or `None` where there are no rows and no file is kept without.
pub(crate) async fn write_file(mut job: FileJob, mut input: SendableRecordBatchStream) -> Result<Option<RecordBatch>> {
    let mut sink = None;
    let written = fill(&mut job, &mut sink, &mut input).await;
    let bytes = match (written, sink) {
        (Ok(()), None) => return Ok(None),
        (Ok(()), Some(mut sink)) => match sink.finish().await {
            Ok(bytes) => bytes,
            Err(error) => {
                sink.upload.abort().await;
                return Err(error);
            }
        },
        (Err(error), sink) => {
            if let Some(mut sink) = sink {
                sink.upload.abort().await;
            }
            return Err(error);
        }
    };
    check_not_overtaken(&job).await?;
    job.bytes.add(bytes);
    let receipt = Receipt {
        path: job.name,
        rows: job.rows.value() as i64,
        bytes: bytes as i64,
        content: job.hasher.as_ref().map(ContentHasher::sum).unwrap_or_default(),
        columns: job.stats.finish()?,
    };
    Ok(Some(Receipt::to_batch(&[receipt]).map_err(|error| DataFusionError::Internal(error.to_string()))?))
}

/// How often a manifest is asked for whose answer is cut off.
const LOOKS_MAX: u32 = 4;

/// Removes the file again if its folder was published meanwhile without it, by this attempt or a later one: then this task was given up while
/// nobody could reach it, and readers take every file of the folder. Errors: `Execution` if so.
// INVARIANT: the file is there before this looks for the manifest, and a committer looks for unlisted files after it made the manifest: one of
// the two sees the other.
async fn check_not_overtaken(job: &FileJob) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Published {
        files: Vec<Named>,
    }
    #[derive(serde::Deserialize)]
    struct Named {
        path: String,
    }
    let path = job.folder.clone().join("_manifest.json");
    let mut looks = 0;
    let manifest = loop {
        looks += 1;
        let found = match job.store.get(&path).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match found {
            Ok(bytes) => break bytes,
            Err(object_store::Error::NotFound { .. }) => return Ok(()),
            // An answer that was cut off is not asked for again by the client.
            Err(_) if looks < LOOKS_MAX => {}
            Err(error) => return Err(store_error(error)),
        }
    };
    let published: Published = serde_json::from_slice(&manifest).map_err(|error| DataFusionError::Internal(error.to_string()))?;
    let latest = published.files.iter().filter_map(|file| attempt(&file.path)).max();
    // A later attempt may write a table again that is published already: its committer finds that out.
    if published.files.iter().any(|file| file.path == job.name) || attempt(&job.name) > latest {
        return Ok(());
    }
    match job.store.delete(&job.path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => return Err(store_error(error)),
    }
    Err(DataFusionError::Execution(format!("`{}` was published without `{}`: this task was given up", job.folder, job.name)))
}

/// The number of the attempt in the name of a file; `None` where the attempt is no number.
fn attempt(name: &str) -> Option<u32> {
    name.strip_prefix("part-a")?.split('-').next()?.parse().ok()
}

async fn fill(job: &mut FileJob, sink: &mut Option<Sink>, input: &mut SendableRecordBatchStream) -> Result<()> {
    let mut regrouped = BatchCoalescer::new(Arc::clone(&job.schema), BATCH_ROWS);
    if job.keep_empty {
        *sink = Some(Sink::open(job).await?);
    }
    while let Some(batch) = input.try_next().await? {
        regrouped.push_batch(stored_batch(&batch, &job.schema)?)?;
        while let Some(batch) = regrouped.next_completed_batch() {
            write_batch(job, sink, &batch).await?;
        }
    }
    regrouped.finish_buffered_batch()?;
    while let Some(batch) = regrouped.next_completed_batch() {
        write_batch(job, sink, &batch).await?;
    }
    Ok(())
}

async fn write_batch(job: &mut FileJob, sink: &mut Option<Sink>, batch: &RecordBatch) -> Result<()> {
    if let Some(hasher) = &mut job.hasher {
        hasher.update(batch)?;
    }
    job.stats.update(batch)?;
    job.rows.add(batch.num_rows());
    let sink = match sink {
        Some(sink) => sink,
        none => none.insert(Sink::open(job).await?),
    };
    sink.write(batch).await?;
    job.reservation.resize(sink.memory_bytes());
    Ok(())
}

/// An open file.
struct Sink {
    encoder: Encoder,
    upload: Upload,
}

enum Encoder {
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Csv(Formulas),
    Jsonl,
    Xlsx(Box<Workbook>),
}

impl Sink {
    async fn open(job: &FileJob) -> Result<Self> {
        let mut upload = Upload::new(Arc::clone(&job.store), job.path.clone());
        let encoder = match job.format {
            WriteFormat::Parquet => {
                let properties = properties(job.purpose, &job.schema)?;
                Encoder::Parquet(Box::new(ArrowWriter::try_new(Vec::new(), Arc::clone(&job.schema), Some(properties))?))
            }
            WriteFormat::Csv => {
                upload.push(Bytes::from(csv::header(&job.schema))).await.map_err(store_error)?;
                Encoder::Csv(job.formulas)
            }
            WriteFormat::Jsonl => Encoder::Jsonl,
            WriteFormat::Xlsx => Encoder::Xlsx(Box::new(Workbook::try_new(&job.schema)?)),
        };
        Ok(Self { encoder, upload })
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if let Encoder::Parquet(writer) = &mut self.encoder {
            writer.write(batch)?;
            if writer.memory_size() > ENCODER_BYTES_MAX {
                writer.flush()?;
            }
            let encoded = std::mem::take(writer.inner_mut());
            return self.upload.push(Bytes::from(encoded)).await.map_err(store_error);
        }
        for start in (0..batch.num_rows()).step_by(TEXT_ROWS) {
            let rows = batch.slice(start, TEXT_ROWS.min(batch.num_rows() - start));
            let encoded = match &mut self.encoder {
                Encoder::Csv(formulas) => csv::lines(&rows, *formulas)?,
                Encoder::Jsonl => jsonl::lines(&rows)?,
                Encoder::Xlsx(workbook) => workbook.rows(&rows)?,
                Encoder::Parquet(_) => Vec::new(),
            };
            self.upload.push(Bytes::from(encoded)).await.map_err(store_error)?;
        }
        Ok(())
    }

    /// Ends the file and makes it visible. Bytes of the file.
    async fn finish(&mut self) -> Result<usize> {
        let last = match &mut self.encoder {
            Encoder::Parquet(writer) => {
                writer.finish()?;
                std::mem::take(writer.inner_mut())
            }
            Encoder::Xlsx(workbook) => workbook.finish()?,
            Encoder::Csv(_) | Encoder::Jsonl => Vec::new(),
        };
        self.upload.push(Bytes::from(last)).await.map_err(store_error)?;
        self.upload.finish().await.map_err(store_error)?;
        Ok(self.upload.written() as usize)
    }

    fn memory_bytes(&self) -> usize {
        let encoder = match &self.encoder {
            Encoder::Parquet(writer) => writer.memory_size(),
            Encoder::Csv(_) | Encoder::Jsonl => 0,
            Encoder::Xlsx(_) => crate::xlsx::MEMORY_BYTES,
        };
        encoder + self.upload.memory_bytes()
    }
}

fn properties(purpose: WritePurpose, schema: &Schema) -> Result<WriterProperties> {
    let properties = WriterProperties::builder()
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES));
    Ok(match purpose {
        WritePurpose::Publish => properties.set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?)).build(),
        WritePurpose::Work => {
            // Nothing looks for a value by statistics, and looking for repeated numbers takes longer than writing them.
            let properties = properties.set_compression(Compression::LZ4_RAW).set_statistics_enabled(EnabledStatistics::None);
            let numbers = schema.fields().iter().filter(|f| f.data_type().is_primitive());
            numbers.fold(properties, |p, f| p.set_column_dictionary_enabled(ColumnPath::from(f.name().as_str()), false)).build()
        }
    })
}

/// A store's error is an IO error: those are what a cluster retries.
fn store_error(error: object_store::Error) -> DataFusionError {
    DataFusionError::IoError(std::io::Error::other(error))
}
