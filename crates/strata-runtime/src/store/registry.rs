//! The stores of this process by URL, built when first asked for. Never holds more than one store a bucket.

use super::Error;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::ObjectStore;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use url::{Position, Url};

/// Stores by scheme and authority.
#[derive(Debug, Default)]
struct Stores(RwLock<BTreeMap<String, Arc<dyn ObjectStore>>>);

static STORES: LazyLock<Arc<Stores>> = LazyLock::new(Arc::default);

/// The process's stores as DataFusion asks for them: `file:///`, and any `s3://bucket` with this process's own settings. So a
/// plan carries URLs and every process opens them for itself.
pub fn registry() -> Arc<dyn ObjectStoreRegistry> {
    Arc::clone(&STORES) as Arc<dyn ObjectStoreRegistry>
}

/// Takes `store` for a bucket from now on in this process, whatever the environment says.
#[cfg(feature = "cluster")]
pub fn register(bucket: &str, store: Arc<dyn ObjectStore>) {
    STORES.0.write().unwrap_or_else(PoisonError::into_inner).insert(format!("s3://{bucket}"), store);
}

/// The store of a URL. Errors: as [`Error`] says.
pub(super) fn store_of(url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
    let name = name(url);
    if let Some(store) = STORES.0.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
        return Ok(Arc::clone(store));
    }
    let built = build(url)?;
    // Of two that built the same one, the first is kept: its limit holds for all.
    Ok(Arc::clone(STORES.0.write().unwrap_or_else(PoisonError::into_inner).entry(name).or_insert(built)))
}

fn build(url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
    match url.scheme() {
        "file" => Ok(super::local()),
        #[cfg(feature = "cluster")]
        "s3" => super::s3(url.host_str().unwrap_or_default(), super::s3::environment(), &super::S3Options::default()),
        #[cfg(not(feature = "cluster"))]
        "s3" => Err(Error::LeftOut(url.to_string())),
        _ => Err(Error::Scheme(url.to_string())),
    }
}

fn name(url: &Url) -> String {
    format!("{}://{}", url.scheme(), &url[Position::BeforeHost..Position::AfterPort])
}

impl ObjectStoreRegistry for Stores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name(url), store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        store_of(url).map_err(|e| DataFusionError::Execution(format!("{e}\n  help: {}", e.help())))
    }
}
