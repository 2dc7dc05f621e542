//! The objects of a table's folder: listed, read, created once. Never changes an object that is there.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, store_kind};
use crate::table::FORMAT;

/// How often a create is tried where the store says that the object exists and then has none: S3 answers so while another
/// request for the same key is on its way.
const CREATE_TRIES: usize = 5;

/// A folder of a store.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) root: Path,
}

/// What came of creating an object.
pub(crate) enum Created<T> {
    New,
    Found(T),
}

impl Folder {
    /// Creates `path`. After any error the object itself is asked: a reply can be lost after its effect, and "exists" can be said of our own
    /// first try. Gives what is there instead. Errors: `Unavailable` where it is not known what is there.
    pub(crate) async fn create(&self, path: &Path, bytes: Bytes) -> Result<Created<Bytes>, Error> {
        let payload = PutPayload::from_bytes(bytes);
        let mut last = None;
        for _ in 0..CREATE_TRIES {
            let cause = match self.store.put_opts(path, payload.clone(), PutMode::Create.into()).await {
                Ok(_) => return Ok(Created::New),
                Err(cause) if store_kind(&cause) == Kind::Invalid => return Err(store_error("create", path, cause)),
                Err(cause) => cause,
            };
            match self.read(path).await {
                Ok(Some(found)) => return Ok(Created::Found(found)),
                Ok(None) if matches!(cause, object_store::Error::AlreadyExists { .. }) => last = Some(cause),
                Ok(None) | Err(_) => return Err(unknown(path, cause)),
            }
        }
        let never = || object_store::Error::NotImplemented { operation: "create".into(), implementer: self.store.to_string() };
        Err(unknown(path, last.unwrap_or_else(never)))
    }

    /// Creates `path` with `value` as JSON.
    pub(crate) async fn create_json<T: Serialize + DeserializeOwned>(&self, path: &Path, value: &T) -> Result<Created<T>, Error> {
        let json = serde_json::to_vec_pretty(value).map_err(|error| damaged(path, error.to_string()))?;
        match self.create(path, json.into()).await? {
            Created::New => Ok(Created::New),
            Created::Found(bytes) => parse(path, &bytes).map(Created::Found),
        }
    }

    /// The object at `path`; `None` where there is none.
    pub(crate) async fn read(&self, path: &Path) -> Result<Option<Bytes>, Error> {
        let got = match self.store.get(path).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(store_error("read", path, source)),
        };
        got.bytes().await.map(Some).map_err(|source| store_error("read", path, source))
    }

    /// The JSON at `path`; `None` where there is no object.
    pub(crate) async fn read_json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, Error> {
        match self.read(path).await? {
            Some(bytes) => parse(path, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// The objects below a folder, by name.
    pub(crate) async fn list(&self, folder: &Path) -> Result<HashMap<String, ObjectMeta>, Error> {
        let listed: Vec<_> =
            self.store.list(Some(folder)).try_collect().await.map_err(|source| store_error("list", folder, source))?;
        let named = |meta: ObjectMeta| Some((meta.location.filename()?.to_owned(), meta));
        Ok(listed.into_iter().filter_map(named).collect())
    }
}

/// Reads one of our JSON objects; one of a later format is refused before its fields are looked at.
fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, Error> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| damaged(path, error.to_string()))?;
    if head.format > FORMAT {
        return Err(damaged(path, format!("its format is {}, and this version reads {FORMAT}", head.format)));
    }
    serde_json::from_slice(bytes).map_err(|error| damaged(path, error.to_string()))
}

pub(crate) fn damaged(path: &Path, detail: String) -> Error {
    Error::Damaged { path: path.to_string(), detail }
}

pub(crate) fn store_error(action: &'static str, path: &Path, source: object_store::Error) -> Error {
    Error::Store { action, path: path.to_string(), source }
}

fn unknown(path: &Path, source: object_store::Error) -> Error {
    Error::Unknown { path: path.to_string(), source }
}
