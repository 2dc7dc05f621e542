//! A store that fails, loses replies and crashes its client, as a seed says. Never sleeps and never draws from the system.

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// SplitMix64. Source: Steele, Lea & Flood 2014.
#[derive(Debug)]
pub(crate) struct Draws(u64);

/// What the clients of one store share.
#[derive(Debug)]
pub(crate) struct Weather {
    pub(crate) draws: Draws,
    /// Faults still to come.
    pub(crate) faults: u64,
    /// Whether each client has crashed.
    pub(crate) crashed: Vec<bool>,
    /// The store overwrites where it is told to create.
    pub(crate) ignores_conditions: bool,
}

/// One client's view of a store.
#[derive(Debug)]
pub(crate) struct FaultStore {
    pub(crate) inner: Arc<InMemory>,
    pub(crate) weather: Arc<Mutex<Weather>>,
    pub(crate) client: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Well,
    FailBefore,
    FailAfter,
    /// The store says `AlreadyExists` without any effect (S3's 409 while another request is on its way).
    BusyBefore,
    /// The client's own second try meets the effect of its first.
    ExistsAfter,
    CrashBefore,
    CrashAfter,
}

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % end
    }
}

impl FaultStore {
    fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self, conditional: bool) -> Fate {
        let mut weather = self.weather();
        if weather.faults == 0 || weather.draws.below(3) > 0 {
            return Fate::Well;
        }
        weather.faults -= 1;
        match weather.draws.below(6) {
            0 => Fate::FailBefore,
            1 => Fate::FailAfter,
            2 => Fate::CrashBefore,
            3 => Fate::CrashAfter,
            4 if conditional => Fate::BusyBefore,
            5 if conditional => Fate::ExistsAfter,
            _ => Fate::FailAfter,
        }
    }

    /// Runs one operation: others may act before it, and between its effect and its reply.
    async fn meet<T>(&self, path: &Path, conditional: bool, operation: impl Future<Output = Result<T>> + Send) -> Result<T> {
        yield_once().await;
        let fate = self.fate(conditional);
        match fate {
            Fate::FailBefore => return Err(failed()),
            Fate::BusyBefore => return Err(exists(path)),
            Fate::CrashBefore => return self.crash().await,
            _ => {}
        }
        let reply = operation.await;
        yield_once().await;
        match fate {
            Fate::FailAfter => Err(failed()),
            Fate::ExistsAfter => Err(exists(path)),
            Fate::CrashAfter => self.crash().await,
            _ => reply,
        }
    }

    async fn crash<T>(&self) -> T {
        self.weather().crashed[self.client] = true;
        pending().await
    }
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn failed() -> Error {
    Error::Generic { store: "fault", source: "connection reset".into() }
}

fn exists(path: &Path) -> Error {
    Error::AlreadyExists { path: path.to_string(), source: "412".into() }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.client)
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut opts: PutOptions) -> Result<PutResult> {
        let conditional = matches!(opts.mode, PutMode::Create);
        if self.weather().ignores_conditions {
            opts.mode = PutMode::Overwrite;
        }
        self.meet(location, conditional, self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.meet(location, false, self.inner.put_multipart_opts(location, opts)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.meet(location, false, self.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.meet(location, false, self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let view = Self { inner: Arc::clone(&self.inner), weather: Arc::clone(&self.weather), client: self.client };
        let prefix = prefix.cloned().unwrap_or_default();
        let listed = async move {
            let found = view.inner.list(Some(&prefix)).try_collect::<Vec<_>>();
            let found = view.meet(&prefix, false, found).await?;
            Ok::<_, Error>(futures::stream::iter(found.into_iter().map(Ok)))
        };
        futures::stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
