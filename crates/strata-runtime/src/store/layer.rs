//! What every store here does besides storing: it reads a pinned file only while it is the pinned one, bounds its requests, and
//! says of a failure whether trying again can help. Never caches, and never retries but a listing: that is done below (requests
//! and bodies of objects) and above (tasks).

use crate::clock::Stopwatch;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::DataFusionError;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, OBJECT_STORE_COALESCE_DEFAULT,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    coalesce_ranges,
};
use std::collections::HashSet;
use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use strata_operators::tagged;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How a failure begins that may go away by itself. DataFusion keeps only the text of some errors: [`retryable`] finds it there.
const UNANSWERED: &str = "the store did not answer";

/// How often a listing that breaks off is taken up again without a name in between.
const LISTINGS_MAX: u32 = 10;

/// How long after the last name that still happens.
const LISTING_TIME_MAX: Duration = Duration::from_secs(180);

/// The pause before the first time; each later one is twice as long.
const LISTING_PAUSE: Duration = Duration::from_millis(50);

/// A store as Strata uses it.
pub(super) struct Layer {
    inner: Arc<dyn ObjectStore>,
    /// Leaves to ask a store over the network; `None` for local files, whose failures need no explanation either.
    requests: Option<Semaphore>,
}

/// The reason of a failed request to a store.
#[derive(Debug, thiserror::Error)]
#[error("{UNANSWERED}: {0}")]
struct Unanswered(#[source] Box<dyn StdError + Send + Sync>);

/// Why a pinned file is not read.
#[derive(Debug, thiserror::Error)]
#[error("it was changed after the run had pinned it; run again to read it as it is now")]
struct Changed;

/// The same error with an `IoError` at its root where trying again can help: what a cluster looks for, and what a run calls
/// unavailable.
///
/// Most failures of a store have it already; DataFusion turns those of reading a Parquet footer into text, and these are found by
/// it.
pub fn retryable(error: DataFusionError) -> DataFusionError {
    match error.find_root() {
        DataFusionError::IoError(_) => error,
        _ => match error.strip_backtrace() {
            text if is_unanswered(&text) => DataFusionError::IoError(std::io::Error::other(text)),
            _ => error,
        },
    }
}

/// Whether a message tells of a failure that may go away by itself.
pub fn is_unanswered(message: &str) -> bool {
    message.contains(UNANSWERED)
}

impl Layer {
    /// A store of this machine.
    pub(super) fn local(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, requests: None }
    }

    /// A store over the network, with at most `requests_max` requests waiting for their answer.
    #[cfg(any(feature = "cluster", test))]
    pub(super) fn remote(inner: Arc<dyn ObjectStore>, requests_max: usize) -> Self {
        Self { inner, requests: Some(Semaphore::new(requests_max.max(1))) }
    }

    /// What this store's errors become.
    fn explain(&self) -> fn(Error) -> Error {
        match self.requests {
            Some(_) => explained,
            None => |error| error,
        }
    }

    /// Leave to ask. Held until the answer begins and not while its body is read: readers that wait for each other, e.g. both
    /// sides of a merge, could otherwise hold all of them for ever.
    async fn ask(&self) -> Option<SemaphorePermit<'_>> {
        match &self.requests {
            // The semaphore is never closed.
            Some(requests) => requests.acquire().await.ok(),
            None => None,
        }
    }

    async fn get_pinned(&self, name: &Path, path: &Path, etag: &str, mut options: GetOptions) -> Result<GetResult> {
        options.if_match = Some(etag.to_owned());
        let mut got = self.inner.get_opts(path, options).await.map_err(|e| match e {
            Error::Precondition { .. } | Error::NotModified { .. } => changed(path),
            other => self.explain()(other),
        })?;
        // Some stores ignore the condition.
        match &got.meta.e_tag {
            Some(now) if opaque(now) != opaque(etag) => Err(changed(path)),
            _ => {
                got.meta.location = name.clone();
                Ok(got)
            }
        }
    }
}

/// A listing that is begun again where it broke off: the client does not ask again for a page whose body stops half-way. Names
/// that were given are not given twice. They are remembered, because not every store lists in an order that one could go on from.
struct Listing {
    store: Arc<dyn ObjectStore>,
    prefix: Option<Path>,
    offset: Option<Path>,
    given: HashSet<Path>,
    failures: u32,
    since: Stopwatch,
    names: BoxStream<'static, Result<ObjectMeta>>,
}

impl Listing {
    fn new(store: Arc<dyn ObjectStore>, prefix: Option<Path>, offset: Option<Path>) -> Self {
        let names = begin(&store, prefix.as_ref(), offset.as_ref());
        Self { store, prefix, offset, given: HashSet::new(), failures: 0, since: Stopwatch::start(), names }
    }

    async fn next(mut self) -> Result<Option<(ObjectMeta, Self)>> {
        loop {
            match self.names.try_next().await.map_err(explained) {
                Ok(None) => return Ok(None),
                Ok(Some(meta)) => {
                    if self.given.insert(meta.location.clone()) {
                        (self.failures, self.since) = (0, Stopwatch::start());
                        return Ok(Some((meta, self)));
                    }
                }
                Err(e) if self.goes_on_after(&e) => {
                    tokio::time::sleep(LISTING_PAUSE * 2_u32.saturating_pow(self.failures)).await;
                    self.failures += 1;
                    self.names = begin(&self.store, self.prefix.as_ref(), self.offset.as_ref());
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn goes_on_after(&self, error: &Error) -> bool {
        self.failures < LISTINGS_MAX && self.since.elapsed() < LISTING_TIME_MAX && is_unanswered(&error.to_string())
    }

    fn names(self) -> BoxStream<'static, Result<ObjectMeta>> {
        futures::stream::try_unfold(self, Self::next).boxed()
    }
}

fn begin(store: &Arc<dyn ObjectStore>, prefix: Option<&Path>, offset: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
    match offset {
        Some(offset) => store.list_with_offset(prefix, offset),
        None => store.list(prefix),
    }
}

/// A failure of the transport, marked as such: its root is an `IoError`. Everything else is left as it is, and so is a request
/// that the store understood and refused, e.g. for a bucket that is not there.
fn explained(error: Error) -> Error {
    match error {
        Error::Generic { store, source } if !source.is::<DataFusionError>() && !is_refusal(&source.to_string()) => {
            let cause = std::io::Error::other(Unanswered(source));
            Error::Generic { store, source: Box::new(DataFusionError::IoError(cause)) }
        }
        other => other,
    }
}

/// Whether a failure is an answer of the 400s, as object_store writes them, that stays the same however often one asks.
fn is_refusal(text: &str) -> bool {
    text.split_once("status code: ")
        .is_some_and(|(_, code)| code.starts_with('4') && !["408", "429"].iter().any(|c| code.starts_with(c)))
}

fn changed(path: &Path) -> Error {
    Error::Precondition { path: path.to_string(), source: Box::new(Changed) }
}

/// What two spellings of one entity tag share.
fn opaque(etag: &str) -> &str {
    etag.trim().trim_start_matches("W/").trim_matches('"')
}

/// The path and the entity tag of a pinned file; `None` for any other name.
fn pinned(name: &Path) -> Result<Option<(Path, String)>> {
    match tagged::parse(name.as_ref()) {
        Some((path, etag)) => Ok(Some((Path::parse(path)?, etag))),
        None => Ok(None),
    }
}

#[async_trait]
impl ObjectStore for Layer {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let _leave = self.ask().await;
        self.inner.put_opts(location, payload, opts).await.map_err(self.explain())
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let _leave = self.ask().await;
        self.inner.put_multipart_opts(location, opts).await.map_err(self.explain())
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let _leave = self.ask().await;
        let mut got = match pinned(location)? {
            Some((path, etag)) => self.get_pinned(location, &path, &etag, options).await?,
            None => self.inner.get_opts(location, options).await.map_err(self.explain())?,
        };
        got.payload = match got.payload {
            GetResultPayload::Stream(body) => GetResultPayload::Stream(body.map_err(self.explain()).boxed()),
            file => file,
        };
        Ok(got)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match tagged::is_reserved(location.as_ref()) {
            true => coalesce_ranges(ranges, |range| self.get_range(location, range), OBJECT_STORE_COALESCE_DEFAULT).await,
            false => {
                let _leave = self.ask().await;
                self.inner.get_ranges(location, ranges).await.map_err(self.explain())
            }
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations).map_err(self.explain()).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.requests {
            Some(_) => Listing::new(Arc::clone(&self.inner), prefix.cloned(), None).names(),
            None => self.inner.list(prefix),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.requests {
            Some(_) => Listing::new(Arc::clone(&self.inner), prefix.cloned(), Some(offset.clone())).names(),
            None => self.inner.list_with_offset(prefix, offset),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let _leave = self.ask().await;
        self.inner.list_with_delimiter(prefix).await.map_err(self.explain())
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let _leave = self.ask().await;
        self.inner.copy_opts(from, to, options).await.map_err(self.explain())
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let _leave = self.ask().await;
        self.inner.rename_opts(from, to, options).await.map_err(self.explain())
    }
}

/// Says no more than the name: what is inside holds credentials.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    async fn layer() -> (Layer, Path) {
        let layer = Layer::remote(Arc::new(InMemory::new()), 1);
        let path = Path::from("lake/orders.csv");
        layer.put(&path, PutPayload::from_static(b"id\n1\n")).await.unwrap();
        (layer, path)
    }

    #[tokio::test]
    async fn a_pinned_file_is_read_until_it_changes() {
        let (layer, path) = layer().await;
        let meta = layer.head(&path).await.unwrap();
        let name = Path::parse(tagged::name(path.as_ref(), &meta.e_tag.unwrap())).unwrap();
        assert_eq!(layer.get_range(&name, 0..2).await.unwrap().as_ref(), b"id");
        assert_eq!(layer.get_ranges(&name, &[0..2, 3..4]).await.unwrap(), vec![Bytes::from("id"), Bytes::from("1")]);
        assert_eq!(layer.head(&name).await.unwrap().location, name);
        layer.put(&path, PutPayload::from_static(b"id\n2\n")).await.unwrap();
        for said in [
            layer.get_range(&name, 0..2).await.unwrap_err().to_string(),
            layer.get_ranges(&name, std::slice::from_ref(&(0..2))).await.unwrap_err().to_string(),
            layer.get(&name).await.unwrap_err().to_string(),
        ] {
            assert!(said.contains("lake/orders.csv") && said.contains("changed after the run had pinned it"), "{said}");
        }
    }

    #[test]
    fn what_trying_again_can_help_has_an_io_error_at_its_root() {
        let lost = || Error::Generic { store: "S3", source: "connection reset".into() };
        let by_chain = DataFusionError::ObjectStore(Box::new(explained(explained(lost()))));
        assert!(matches!(by_chain.find_root(), DataFusionError::IoError(_)), "{by_chain:?}");
        let by_text = || DataFusionError::Plan(format!("Failed to fetch metadata for file x: {}", explained(lost())));
        assert!(matches!(retryable(by_text()).find_root(), DataFusionError::IoError(_)));
        assert!(matches!(retryable(by_text().context("scan")).find_root(), DataFusionError::IoError(_)));
        let no_bucket = Error::Generic { store: "S3", source: "Server returned non-2xx status code: 404 Not Found".into() };
        for lasting in [changed(&Path::from("x")), no_bucket] {
            let lasting = DataFusionError::ObjectStore(Box::new(explained(lasting)));
            assert!(matches!(retryable(lasting).find_root(), DataFusionError::ObjectStore(_)));
        }
        let busy = Error::Generic { store: "S3", source: "Server returned non-2xx status code: 503 Slow Down".into() };
        assert!(matches!(DataFusionError::ObjectStore(Box::new(explained(busy))).find_root(), DataFusionError::IoError(_)));
    }
}
