//! Object stores by address: local files, and S3 where it is built in. Never takes a credential from a plan or a pipeline: only
//! from the environment of the process that reads or writes.

#[cfg(test)]
mod flaky;
mod layer;
mod registry;
#[cfg(feature = "cluster")]
mod s3;

use layer::Layer;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use std::fmt;
use std::path::{Component, PathBuf};
use std::sync::{Arc, LazyLock};
use strata_operators::tagged;
use url::Url;

pub use layer::{is_unanswered, retryable};
#[cfg(feature = "cluster")]
pub use registry::register;
pub use registry::registry;
#[cfg(feature = "cluster")]
pub use s3::{S3Options, s3};

/// What is wrong with an address.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A scheme without a store here.
    #[error("`{0}` is neither a local path nor an address of the form `s3://bucket/path`")]
    Scheme(String),
    /// Object storage in a build without it.
    #[error("`{0}` is in object storage, which this build of strata leaves out")]
    LeftOut(String),
    /// A path that cannot be used.
    #[error("`{0}` cannot be used as a path: {1}")]
    Path(String, String),
    /// The settings of a store, which come from the environment, are incomplete or wrong.
    #[error("`{0}` cannot be reached with these settings: {1}")]
    Settings(String, String),
}

impl Error {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Scheme(_) => "give a local file, folder or glob, or `s3://bucket/path`",
            Self::LeftOut(_) => "use a build with the feature `cluster`, which `cargo install --path crates/strata-cli` has",
            Self::Path(..) => "rename it, or give another path",
            Self::Settings(..) => {
                "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and for another store than Amazon's AWS_ENDPOINT_URL"
            }
        }
    }
}

/// A place in a store: a file, a folder, or a pattern of them. Displays as people write it: a local path, or `s3://bucket/path`.
#[derive(Debug, Clone)]
pub struct Place {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The store's URL, `file:///` or `s3://bucket`.
    pub store_url: String,
    /// Path inside it.
    pub path: Path,
    local: Option<PathBuf>,
}

/// The store of local files, rooted at `/`.
#[expect(clippy::disallowed_methods, reason = "the one place that builds the store of local files")]
pub fn local() -> Arc<dyn ObjectStore> {
    static LOCAL: LazyLock<Arc<dyn ObjectStore>> = LazyLock::new(|| Arc::new(Layer::local(Arc::new(LocalFileSystem::new()))));
    Arc::clone(&LOCAL)
}

/// Its URL.
pub fn local_url() -> Url {
    match Url::parse("file:///") {
        Ok(url) => url,
        Err(_) => unreachable!("a constant URL"),
    }
}

/// The place that `address` names; relative paths are relative to the current folder. Errors: as [`Error`] says; nothing is
/// contacted.
pub fn place(address: &str) -> Result<Place, Error> {
    let place = match address.split_once("://") {
        Some(("file", rest)) => local_place(address, rest)?,
        Some(("s3", rest)) => s3_place(address, rest)?,
        Some(_) => return Err(Error::Scheme(address.to_owned())),
        None => local_place(address, address)?,
    };
    match tagged::is_reserved(place.path.as_ref()) {
        true => Err(Error::Path(address.to_owned(), format!("the folder `{}` is reserved for strata", tagged::FOLDER))),
        false => Ok(place),
    }
}

fn local_place(address: &str, text: &str) -> Result<Place, Error> {
    let absolute = std::path::absolute(text).map_err(|e| Error::Path(address.to_owned(), e.to_string()))?;
    let local = without_dots(&absolute);
    let path = Path::from_absolute_path(&local).map_err(|e| Error::Path(address.to_owned(), e.to_string()))?;
    Ok(Place { store: self::local(), store_url: "file:///".to_owned(), path, local: Some(local) })
}

fn s3_place(address: &str, rest: &str) -> Result<Place, Error> {
    let wrong = |why: String| Error::Path(address.to_owned(), why);
    let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() || !bucket.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_')) {
        return Err(wrong(format!("`{bucket}` is not the name of a bucket")));
    }
    let store_url = format!("s3://{bucket}");
    let url = Url::parse(&store_url).map_err(|e| wrong(e.to_string()))?;
    let path = Path::parse(path).map_err(|e| wrong(e.to_string()))?;
    Ok(Place { store: registry::store_of(&url)?, store_url, path, local: None })
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
    /// The local path; `None` in object storage.
    pub fn local(&self) -> Option<&std::path::Path> {
        self.local.as_deref()
    }

    /// The URL of a folder or file below this place.
    pub fn url(&self, below: &str) -> String {
        if let Some(local) = &self.local {
            let joined = if below.is_empty() { local.clone() } else { local.join(below) };
            return match Url::from_file_path(&joined) {
                Ok(url) => url.to_string(),
                Err(()) => format!("file://{}", joined.display()),
            };
        }
        let path = self.join(below).path;
        let Ok(mut url) = Url::parse(&self.store_url) else { return format!("{}/{path}", self.store_url) };
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path.parts().map(|part| part.as_ref().to_owned()));
        }
        url.to_string()
    }

    /// The place below this one.
    pub fn join(&self, below: &str) -> Self {
        let path = below.split('/').filter(|p| !p.is_empty()).fold(self.path.clone(), |p, part| p.join(part));
        let local = self.local.as_ref().map(|local| if below.is_empty() { local.clone() } else { local.join(below) });
        Self { path, local, store: Arc::clone(&self.store), store_url: self.store_url.clone() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.local, self.path.is_root()) {
            (Some(local), _) => write!(f, "{}", local.display()),
            (None, true) => f.write_str(&self.store_url),
            (None, false) => write!(f, "{}/{}", self.store_url, self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_places_are_absolute_and_without_dots() {
        let place = place("/data/../lake/./orders").unwrap();
        assert_eq!(place.to_string(), "/lake/orders");
        assert_eq!(place.path.as_ref(), "lake/orders");
        assert_eq!(place.join("runs/7").url("part 1.parquet"), "file:///lake/orders/runs/7/part%201.parquet");
        assert_eq!(super::place("file:///lake/orders").unwrap().local(), Some(std::path::Path::new("/lake/orders")));
    }

    #[test]
    fn addresses_that_name_no_store_say_what_to_give() {
        let wrong = |address: &str| super::place(address).unwrap_err();
        assert!(wrong("gs://lake/orders").help().contains("s3://bucket/path"));
        assert!(matches!(wrong("/@pinned/x"), Error::Path(..)));
        #[cfg(not(feature = "cluster"))]
        assert!(wrong("s3://lake/orders").help().contains("feature `cluster`"));
    }

    #[cfg(feature = "cluster")]
    #[test]
    fn no_credential_is_ever_shown() {
        let settings = [
            ("AWS_ACCESS_KEY_ID", "canary-id"),
            ("AWS_SECRET_ACCESS_KEY", "canary-secret"),
            ("AWS_SESSION_TOKEN", "canary-token"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        register("canary", s3("canary", settings, &S3Options::default()).unwrap());
        let place = super::place("s3://canary/x").unwrap();
        let shown = format!("{place:?} {place} {:?} {} {:?}", place.store, place.store, registry());
        assert!(shown.contains("canary") && !shown.contains("canary-"), "{shown}");
    }

    #[cfg(feature = "cluster")]
    #[test]
    fn plain_http_has_to_be_allowed() {
        let endpoint = ("AWS_ENDPOINT_URL".to_owned(), "http://127.0.0.1:1".to_owned());
        let refused = s3("lake", [endpoint.clone()], &S3Options::default()).unwrap_err();
        assert!(refused.to_string().contains("AWS_ALLOW_HTTP"), "{refused}");
        s3("lake", [endpoint, ("AWS_ALLOW_HTTP".to_owned(), "true".to_owned())], &S3Options::default()).unwrap();
    }

    #[cfg(feature = "cluster")]
    #[test]
    fn object_storage_is_named_by_bucket_and_key() {
        let place = super::place("s3://lake/orders/month=1 a").unwrap();
        assert_eq!((place.store_url.as_str(), place.path.as_ref()), ("s3://lake", "orders/month=1 a"));
        assert_eq!(place.local(), None);
        assert_eq!(place.join("x.parquet").to_string(), "s3://lake/orders/month=1 a/x.parquet");
        assert_eq!(place.url("x.parquet"), "s3://lake/orders/month=1%20a/x.parquet");
        assert_eq!(super::place("s3://lake").unwrap().to_string(), "s3://lake");
        assert_eq!(super::place("s3://lake").unwrap().url(""), "s3://lake");
        for wrong in ["s3://", "s3:///orders", "s3://LAKE/x", "s3://lake/a/../b", "s3://lake/@pinned/x"] {
            assert!(matches!(super::place(wrong), Err(Error::Path(..))), "{wrong}");
        }
    }
}
