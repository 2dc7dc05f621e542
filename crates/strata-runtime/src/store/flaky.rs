//! What a scan of a store that fails ends with: an error that a cluster retries, wherever it struck. Never part of the product.

use super::layer::{Layer, retryable};
use crate::{Limits, session};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::common::DataFusionError;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parquet::arrow::ArrowWriter;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use strata_operators::pinned::{PinnedFile, PinnedFormat, PinnedTable};
use url::Url;

/// Where a request fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Struck {
    /// At once.
    Ask,
    /// Only where it asks for the start of a file: the footer of Parquet is read, the columns are not.
    Start,
    /// In the middle of the body.
    Body,
    /// The first two listings, behind their first name.
    Listing,
}

#[derive(Debug)]
struct Flaky {
    inner: InMemory,
    struck: Struck,
    listings: AtomicU32,
}

fn lost() -> Error {
    Error::Generic { store: "flaky", source: "connection reset".into() }
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flaky")
    }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let starts = !matches!(&options.range, Some(GetRange::Bounded(range)) if range.start >= 64);
        let mut got = self.inner.get_opts(location, options).await?;
        match self.struck {
            Struck::Ask => return Err(lost()),
            Struck::Start if starts => return Err(lost()),
            Struck::Body => {
                got.payload = GetResultPayload::Stream(futures::stream::iter([Ok("id\n1\n".into()), Err(lost())]).boxed())
            }
            _ => {}
        }
        Ok(got)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let names = self.inner.list(prefix);
        match self.struck == Struck::Listing && self.listings.fetch_add(1, Ordering::Relaxed) < 2 {
            true => names.take(1).chain(futures::stream::iter([Err(lost())])).boxed(),
            false => names,
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn flaky(struck: Struck) -> Layer {
    Layer::remote(Arc::new(Flaky { inner: InMemory::new(), struck, listings: AtomicU32::new(0) }), 4)
}

/// The error of a scan of one file in a store that is struck.
async fn scanned(format: PinnedFormat, struck: Struck) -> DataFusionError {
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let bytes = match format {
        PinnedFormat::Csv | PinnedFormat::OwnCsv => b"id\n1\n2\n".to_vec(),
        PinnedFormat::Parquet => {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..1000).map(|i| i * 7919 % 1009)));
            let mut writer = ArrowWriter::try_new(vec![], Arc::clone(&schema), None).unwrap();
            writer.write(&RecordBatch::try_new(Arc::clone(&schema), vec![ids]).unwrap()).unwrap();
            writer.into_inner().unwrap()
        }
    };
    let store = flaky(struck);
    let path = Path::from("lake/file");
    let size = bytes.len() as u64;
    let etag = store.put(&path, bytes.into()).await.unwrap().e_tag;
    let name = format!("s3://flaky-{}-{}", format == PinnedFormat::Csv, struck as u8);
    let context = session(&Limits::default()).unwrap();
    context.register_object_store(&Url::parse(&name).unwrap(), Arc::new(store));
    let file =
        PinnedFile { path: path.to_string(), size, modified_us: 0, etag, rows: None, hive_values: vec![], columns: vec![] };
    let table = PinnedTable { store: name, format, schema, hive: 0, files: vec![file], complete: vec![] };
    context.read_table(Arc::new(table)).unwrap().collect().await.unwrap_err()
}

#[tokio::test]
async fn whatever_part_of_a_scan_is_lost_a_cluster_tries_again() {
    for (format, struck) in [
        (PinnedFormat::Parquet, Struck::Ask),
        (PinnedFormat::Parquet, Struck::Start),
        (PinnedFormat::Csv, Struck::Ask),
        (PinnedFormat::Csv, Struck::Body),
    ] {
        let error = scanned(format, struck).await;
        // Of a footer DataFusion keeps the text alone.
        let footer = (format, struck) == (PinnedFormat::Parquet, Struck::Ask);
        assert_eq!(matches!(error.find_root(), DataFusionError::IoError(_)), !footer, "{format:?} {struck:?}: {error:?}");
        let error = retryable(error);
        assert!(matches!(error.find_root(), DataFusionError::IoError(_)), "{format:?} {struck:?}: {error:?}");
        assert!(error.to_string().contains("connection reset"), "{error}");
        #[cfg(feature = "cluster")]
        {
            use ballista_core::error::BallistaError;
            use ballista_core::serde::protobuf::FailedTask;
            assert!(FailedTask::from(BallistaError::from(error)).retryable, "{format:?} {struck:?}");
        }
    }
}

#[tokio::test]
async fn a_listing_that_breaks_off_gives_every_name_once() {
    let store = flaky(Struck::Listing);
    for n in 0..5 {
        store.put(&Path::from(format!("lake/{n}")), PutPayload::from_static(b"x")).await.unwrap();
    }
    let names: Vec<String> = store.list(Some(&Path::from("lake"))).map(|m| m.unwrap().location.to_string()).collect().await;
    assert_eq!(names, ["lake/0", "lake/1", "lake/2", "lake/3", "lake/4"]);
}
