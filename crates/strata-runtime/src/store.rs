//! Object stores by address. Never takes a credential from a pipeline.

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use std::path::{Component, PathBuf};
use std::sync::Arc;
use url::Url;

/// What is wrong with an address.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A scheme without a store here.
    #[error("`{0}` is not a local path; this version of Strata reads and writes local files")]
    Scheme(String),
    /// A path that cannot be used.
    #[error("`{0}` cannot be used as a path: {1}")]
    Path(String, String),
}

/// A place in a store.
#[derive(Debug, Clone)]
pub struct Place {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The store's URL, e.g. `file:///`.
    pub store_url: String,
    /// Path inside it.
    pub path: Path,
    /// The same as a local path, for people.
    pub local: PathBuf,
}

/// The store of local files, rooted at `/`.
#[expect(clippy::disallowed_methods, reason = "the one place that builds object stores")]
pub fn local() -> Arc<dyn ObjectStore> {
    Arc::new(LocalFileSystem::new())
}

/// Its URL.
pub fn local_url() -> Url {
    match Url::parse("file:///") {
        Ok(url) => url,
        Err(_) => unreachable!("a constant URL"),
    }
}

/// The place that `address` names; relative paths are relative to the current folder.
pub fn place(address: &str) -> Result<Place, Error> {
    let text = match address.split_once("://") {
        Some(("file", rest)) => rest,
        Some(_) => return Err(Error::Scheme(address.to_owned())),
        None => address,
    };
    let absolute = std::path::absolute(text).map_err(|e| Error::Path(address.to_owned(), e.to_string()))?;
    let local = without_dots(&absolute);
    let path = Path::from_absolute_path(&local).map_err(|e| Error::Path(address.to_owned(), e.to_string()))?;
    Ok(Place { store: self::local(), store_url: "file:///".to_owned(), path, local })
}

fn without_dots(path: &std::path::Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

impl Place {
    /// The URL of a folder or file below this place.
    pub fn url(&self, below: &str) -> String {
        let joined = if below.is_empty() { self.local.clone() } else { self.local.join(below) };
        match Url::from_file_path(&joined) {
            Ok(url) => url.to_string(),
            Err(()) => format!("file://{}", joined.display()),
        }
    }

    /// The place below this one.
    pub fn join(&self, below: &str) -> Self {
        let path = below.split('/').filter(|p| !p.is_empty()).fold(self.path.clone(), |p, part| p.join(part));
        Self { path, local: self.local.join(below), store: Arc::clone(&self.store), store_url: self.store_url.clone() }
    }
}
