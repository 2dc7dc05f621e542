//! A plain table behind an atomic pointer. It never changes or removes a file that a version lists.
//!
//! ```text
//! <table>/runs/<run id>/part-*.parquet   immutable, written by workers
//! <table>/runs/<run id>/_manifest.json   created once, before the run is published
//! <table>/runs/<run id>/_SUCCESS         empty, for readers that look for it
//! <table>/_pointer/<20 digits>.json      the log: created once each; the highest is the current version
//! ```
//! The protocol needs a store with create-if-absent and consistent listing, and nothing else: no locks, no update in place. A
//! committer remembers the highest entry (`begin`) and creates the next one (`commit`); of all that saw the same entry one wins.
//! Entries must not be collected while a run that began before them may still commit.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, store_kind};
use crate::table::{FORMAT, Manifest, Version, check_name};

/// How often a create is tried where the store says that the object exists and then has none: S3 answers so while another
/// request for the same key is on its way.
const CREATE_TRIES: usize = 5;

/// A plain table: a folder of a store.
#[derive(Clone, Debug)]
pub struct PointerTable {
    store: Arc<dyn ObjectStore>,
    root: Path,
}

/// The version of a table that a run started from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The highest entry of the log, if any.
    pub current: Option<Version>,
}

/// What came of creating an object.
enum Created<T> {
    New,
    Found(T),
}

impl PointerTable {
    /// The table in folder `root` of `store`, which need not exist yet.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path) -> Self {
        Self { store, root }
    }

    /// Folder of a run's files.
    ///
    /// Errors: `Invalid` for an id that cannot be a folder.
    pub fn run_folder(&self, run_id: &str) -> Result<Path, Error> {
        check_name("the run id", run_id)?;
        Ok(self.root.clone().join("runs").join(run_id))
    }

    /// The version that readers see; `None` before the first.
    pub async fn current(&self) -> Result<Option<Version>, Error> {
        match self.seqs().await?.last() {
            Some(seq) => self.entry(*seq).await.map(Some),
            None => Ok(None),
        }
    }

    /// All versions, the oldest first.
    pub async fn versions(&self) -> Result<Vec<Version>, Error> {
        let mut versions = Vec::new();
        for seq in self.seqs().await? {
            versions.push(self.entry(seq).await?);
        }
        Ok(versions)
    }

    /// The files of a version.
    ///
    /// Errors: `Internal` where the manifest is damaged or not the one that was published.
    pub async fn manifest(&self, version: &Version) -> Result<Manifest, Error> {
        let path = self.manifest_path(&version.run_id)?;
        let Some(manifest) = self.read::<Manifest>(&path).await? else {
            return Err(damaged(&path, "it is published but missing".into()));
        };
        match manifest.version(version.seq) == *version {
            true => Ok(manifest),
            false => Err(damaged(&path, format!("it is not what version {} published", version.seq))),
        }
    }

    /// Remembers what the table is now: what a run is published on top of.
    pub async fn begin(&self) -> Result<Base, Error> {
        Ok(Base { current: self.current().await? })
    }

    /// Publishes a run's files on top of `base`, once: a run that is published already, under this base or another, is left as it is
    /// and its version returned.
    ///
    /// Errors: `Conflict` where another run was published since `base`, or the run has a manifest with other rows; `Unavailable` where
    /// the store did not answer, or a file is not there. Running again is always safe.
    pub async fn commit(&self, base: &Base, manifest: &Manifest) -> Result<Version, Error> {
        manifest.check()?;
        let folder = self.run_folder(&manifest.run_id)?;
        let present = self.sizes(&folder).await?;
        check_files(&folder, manifest, &present)?;
        let manifest_path = self.manifest_path(&manifest.run_id)?;
        let found = self.create(&manifest_path, manifest).await?;
        let listed = match &found {
            Created::Found(earlier) => earlier,
            Created::New => manifest,
        };
        // INVARIANT: looked for after the manifest is there: a task that ends later sees the manifest and removes its file itself.
        let present = self.sizes(&folder).await?;
        self.remove_unlisted(&folder, listed, &present).await?;
        if let Created::Found(earlier) = &found {
            self.check_same(earlier, manifest)?;
            check_files(&folder, earlier, &present)?;
            if let Some(version) = self.published(base, &manifest.run_id).await? {
                return Ok(version);
            }
        }
        let success = folder.join("_SUCCESS");
        self.store.put(&success, PutPayload::new()).await.map_err(|source| store_error("write", &success, source))?;
        self.point(base, manifest).await
    }

    /// Checks that the store honours create-if-absent, by creating an object twice. `token` names the object: a run id will do.
    ///
    /// Errors: `Invalid` where it does not, or the token cannot stand in a path.
    pub async fn probe_conditional_put(&self, token: &str) -> Result<(), Error> {
        check_name("the probe", token)?;
        let path = self.root.clone().join("_probe").join(token);
        let mut refused = false;
        for _ in 0..2 {
            match self.store.put_opts(&path, PutPayload::from_static(b"probe"), PutMode::Create.into()).await {
                Ok(_) => {}
                Err(object_store::Error::AlreadyExists { .. }) => refused = true,
                Err(source) => return Err(store_error("create", &path, source)),
            }
        }
        // The probe has served its purpose; one that cannot be removed harms nobody.
        drop(self.store.delete(&path).await);
        match refused {
            true => Ok(()),
            false => Err(Error::Unconditional { path: path.to_string() }),
        }
    }

    /// Creates the entry after `base`.
    // INVARIANT: only here is an entry written, and only if absent: it has one winner and never changes.
    async fn point(&self, base: &Base, manifest: &Manifest) -> Result<Version, Error> {
        let seq = base.current.as_ref().map_or(0, |version| version.seq) + 1;
        let version = manifest.version(seq);
        match self.create(&self.entry_path(seq), &version).await? {
            Created::New => Ok(version),
            Created::Found(winner) if winner.run_id == version.run_id => Ok(winner),
            Created::Found(winner) => {
                Err(Error::Conflict { table: self.root.to_string(), seq, winner: winner.run_id, run_id: version.run_id })
            }
        }
    }

    /// The version of a run, if it is published. Only a run whose manifest exists can be.
    async fn published(&self, base: &Base, run_id: &str) -> Result<Option<Version>, Error> {
        if let Some(version) = base.current.as_ref().filter(|version| version.run_id == run_id) {
            return Ok(Some(version.clone()));
        }
        for seq in self.seqs().await?.into_iter().rev() {
            let version = self.entry(seq).await?;
            if version.run_id == run_id {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    fn check_same(&self, earlier: &Manifest, manifest: &Manifest) -> Result<(), Error> {
        match earlier.difference(manifest) {
            None => Ok(()),
            Some(difference) => {
                Err(Error::RunReused { table: self.root.to_string(), run_id: manifest.run_id.clone(), difference })
            }
        }
    }

    /// Creates `path` with `value` as JSON. After any error the object itself is asked: a reply can be lost after its effect, and
    /// "exists" can be said of our own first try.
    async fn create<T: Serialize + DeserializeOwned>(&self, path: &Path, value: &T) -> Result<Created<T>, Error> {
        let json = serde_json::to_vec_pretty(value).map_err(|error| damaged(path, error.to_string()))?;
        let payload = PutPayload::from(json);
        let mut last = None;
        for _ in 0..CREATE_TRIES {
            let cause = match self.store.put_opts(path, payload.clone(), PutMode::Create.into()).await {
                Ok(_) => return Ok(Created::New),
                Err(cause) if store_kind(&cause) == Kind::Invalid => return Err(store_error("create", path, cause)),
                Err(cause) => cause,
            };
            match self.read::<T>(path).await {
                Ok(Some(found)) => return Ok(Created::Found(found)),
                Ok(None) if matches!(cause, object_store::Error::AlreadyExists { .. }) => last = Some(cause),
                Ok(None) => return Err(unknown(path, cause)),
                Err(damaged @ Error::Damaged { .. }) => return Err(damaged),
                Err(_) => return Err(unknown(path, cause)),
            }
        }
        let never = || object_store::Error::NotImplemented { operation: "create".into(), implementer: self.store.to_string() };
        Err(unknown(path, last.unwrap_or_else(never)))
    }

    async fn entry(&self, seq: u64) -> Result<Version, Error> {
        let path = self.entry_path(seq);
        match self.read::<Version>(&path).await? {
            Some(version) if version.seq == seq => Ok(version),
            Some(version) => Err(damaged(&path, format!("it says version {}", version.seq))),
            None => Err(damaged(&path, "it was listed but is missing".into())),
        }
    }

    /// Numbers of the log's entries, ascending.
    async fn seqs(&self) -> Result<Vec<u64>, Error> {
        let folder = self.root.clone().join("_pointer");
        let names = self.sizes(&folder).await?;
        let number = |name: &String| name.strip_suffix(".json").filter(|digits| digits.len() == 20)?.parse().ok();
        let mut seqs: Vec<u64> = names.keys().filter_map(number).collect();
        seqs.sort_unstable();
        Ok(seqs)
    }

    /// Names and sizes of the objects in a folder.
    async fn sizes(&self, folder: &Path) -> Result<HashMap<String, u64>, Error> {
        let listed: Vec<_> =
            self.store.list(Some(folder)).try_collect().await.map_err(|source| store_error("list", folder, source))?;
        let named = |meta: object_store::ObjectMeta| Some((meta.location.filename()?.to_owned(), meta.size));
        Ok(listed.into_iter().filter_map(named).collect())
    }

    /// Removes what tasks left behind that were done twice: readers take every file of the folder.
    // INVARIANT: only files of this run, which nobody reads yet or which no version lists.
    async fn remove_unlisted(&self, folder: &Path, manifest: &Manifest, present: &HashMap<String, u64>) -> Result<(), Error> {
        for name in present.keys().filter(|n| n.starts_with("part-") && !manifest.files.iter().any(|f| f.path == **n)) {
            let path = folder.clone().join(name.as_str());
            match self.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(store_error("delete", &path, source)),
            }
        }
        Ok(())
    }

    /// The JSON at `path`; `None` where there is no object.
    async fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, Error> {
        let got = match self.store.get(path).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(store_error("read", path, source)),
        };
        let bytes = got.bytes().await.map_err(|source| store_error("read", path, source))?;
        parse(path, &bytes).map(Some)
    }

    fn entry_path(&self, seq: u64) -> Path {
        self.root.clone().join("_pointer").join(format!("{seq:020}.json"))
    }

    fn manifest_path(&self, run_id: &str) -> Result<Path, Error> {
        Ok(self.run_folder(run_id)?.join("_manifest.json"))
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

/// Checks that every file of `manifest` is in its folder, whole.
fn check_files(folder: &Path, manifest: &Manifest, present: &HashMap<String, u64>) -> Result<(), Error> {
    for file in &manifest.files {
        let found = match present.get(&file.path) {
            Some(bytes) if i64::try_from(*bytes) == Ok(file.bytes) => continue,
            Some(bytes) => format!("has {bytes} bytes, not {}", file.bytes),
            None => "is not there".into(),
        };
        return Err(Error::FileMissing { path: folder.clone().join(file.path.as_str()).to_string(), found });
    }
    Ok(())
}

fn damaged(path: &Path, detail: String) -> Error {
    Error::Damaged { path: path.to_string(), detail }
}

fn store_error(action: &'static str, path: &Path, source: object_store::Error) -> Error {
    Error::Store { action, path: path.to_string(), source }
}

fn unknown(path: &Path, source: object_store::Error) -> Error {
    Error::Unknown { path: path.to_string(), source }
}
