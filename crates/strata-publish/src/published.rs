//! A table whose versions become visible at one moment each. It never changes or removes a file that a version lists.
//!
//! ```text
//! <table>/runs/<run id>/part-*.parquet   immutable, written by workers
//! <table>/runs/<run id>/_manifest.json   created once, before the run is published
//! <table>/runs/<run id>/_SUCCESS         empty, for readers that look for it
//! <table>/_pointer/<20 digits>.json      plain tables: the log; created once each, the highest is the current version
//! <table>/_delta_log/<20 digits>.json    Delta tables: the log; created once each
//! ```
//! The protocol needs a store with create-if-absent and consistent listing, and nothing else: no locks, no update in place. A
//! committer remembers the newest version (`begin`) and creates the next entry of the log (`commit`); of all that saw the same version one
//! wins. Entries must not be collected while a run that began before them may still commit.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use crate::error::Error;
use crate::folder::{Created, Folder, damaged, store_error};
use crate::table::{Manifest, Version, check_name};
use crate::unfinished::{remove_unfinished, unfinished};
use crate::{delta, pointer};

/// What makes a version visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// Numbered entries of ours.
    Pointer,
    /// A Delta log; each version takes the place of all rows before it.
    Delta,
    /// A Delta log of a table with a column `as_of`; each version adds its rows under its own as-of, and takes the place of those that are
    /// there under it.
    DeltaByAsOf,
}

/// A table: a folder of a store.
#[derive(Clone, Debug)]
pub struct PublishedTable {
    folder: Folder,
    log: Log,
    local: Option<PathBuf>,
}

/// The version of a table that a run started from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The newest version, if any.
    pub current: Option<Version>,
}

impl PublishedTable {
    /// The table in folder `root` of `store`, which need not exist yet.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, log: Log) -> Self {
        Self { folder: Folder { store, root }, log, local: None }
    }

    /// The same table, whose folder lies on this machine: files that killed processes did not finish are removed there too.
    pub fn on_this_machine(self, folder: Option<&std::path::Path>) -> Self {
        Self { local: folder.map(PathBuf::from), ..self }
    }

    /// The table in folder `root` as it was published, to read it.
    ///
    /// Errors: as the store says.
    pub async fn open(store: Arc<dyn ObjectStore>, root: Path) -> Result<Self, Error> {
        let table = Self::new(store, root, Log::Delta);
        let delta = table.folder.list(&table.folder.root.clone().join(delta::FOLDER)).await?;
        Ok(if delta.is_empty() { Self { log: Log::Pointer, ..table } } else { table })
    }

    /// Folder of a run's files.
    ///
    /// Errors: `Invalid` for an id that cannot be a folder.
    pub fn run_folder(&self, run_id: &str) -> Result<Path, Error> {
        check_name("the run id", run_id)?;
        Ok(self.folder.root.clone().join("runs").join(run_id))
    }

    /// The version that readers see; `None` before the first.
    pub async fn current(&self) -> Result<Option<Version>, Error> {
        match self.log {
            Log::Pointer => pointer::current(&self.folder).await,
            Log::Delta | Log::DeltaByAsOf => delta::current(&self.folder).await,
        }
    }

    /// All versions that the log still tells of, the oldest first.
    pub async fn versions(&self) -> Result<Vec<Version>, Error> {
        match self.log {
            Log::Pointer => pointer::versions(&self.folder).await,
            Log::Delta | Log::DeltaByAsOf => delta::versions(&self.folder).await,
        }
    }

    /// The files of a version.
    ///
    /// Errors: `Internal` where the manifest is damaged or not the one that was published.
    pub async fn manifest(&self, version: &Version) -> Result<Manifest, Error> {
        let path = self.manifest_path(&version.run_id)?;
        let Some(manifest) = self.folder.read_json::<Manifest>(&path).await? else {
            return Err(damaged(&path, "it is published but missing".into()));
        };
        match manifest.version(version.seq) == *version {
            true => Ok(manifest),
            false => Err(damaged(&path, format!("it is not what version {} published", version.seq))),
        }
    }

    /// Remembers what the table is now: what a run is published on top of.
    ///
    /// Errors: `Invalid` where the folder holds a table with a log of another kind.
    pub async fn begin(&self) -> Result<Base, Error> {
        let (own, other) = match self.log {
            Log::Pointer => (pointer::FOLDER, delta::FOLDER),
            Log::Delta | Log::DeltaByAsOf => (delta::FOLDER, pointer::FOLDER),
        };
        let has = async |log: &str| Ok::<_, Error>(!self.folder.list(&self.folder.root.clone().join(log)).await?.is_empty());
        let current = self.current().await?;
        if current.is_none() && !has(own).await? && has(other).await? {
            return Err(Error::OtherLog { table: self.folder.root.to_string(), found: other, wanted: own });
        }
        Ok(Base { current })
    }

    /// Publishes a run's files on top of `base`, once: a run that is published already, under this base or another, is left as it is
    /// and its version returned.
    ///
    /// Errors: `Conflict` where another run was published since `base`, or the run has a manifest with other rows; `Unavailable` where
    /// the store did not answer, or a file is not there; `Invalid` for columns that the table cannot have. Running again is always safe.
    pub async fn commit(&self, base: &Base, manifest: &Manifest) -> Result<Version, Error> {
        manifest.check()?;
        let folder = self.run_folder(&manifest.run_id)?;
        let present = self.folder.list(&folder).await?;
        check_files(&folder, manifest, &present)?;
        let manifest_path = self.manifest_path(&manifest.run_id)?;
        let found = self.folder.create_json(&manifest_path, manifest).await?;
        let listed = match &found {
            Created::Found(earlier) => earlier,
            Created::New => manifest,
        };
        // INVARIANT: looked for after the manifest is there: a task that ends later sees the manifest and removes its file itself.
        let present = self.folder.list(&folder).await?;
        self.remove_unlisted(&folder, listed, &present).await?;
        if let Created::Found(earlier) = &found {
            self.check_same(earlier, manifest)?;
            check_files(&folder, earlier, &present)?;
            if let Some(version) = self.published(base, &manifest.run_id).await? {
                return Ok(version);
            }
        }
        let success = folder.join("_SUCCESS");
        self.folder.store.put(&success, PutPayload::new()).await.map_err(|source| store_error("write", &success, source))?;
        match self.log {
            Log::Pointer => pointer::append(&self.folder, base, manifest).await,
            Log::Delta => delta::append(&self.folder, base, listed, &present, delta::Rows::All).await,
            Log::DeltaByAsOf => delta::append(&self.folder, base, listed, &present, delta::Rows::OfAsOf).await,
        }
    }

    /// Checks that the store honours create-if-absent, by creating an object twice. `token` names the object: a run id will do.
    ///
    /// Errors: `Invalid` where it does not, or the token cannot stand in a path.
    pub async fn probe_conditional_put(&self, token: &str) -> Result<(), Error> {
        check_name("the probe", token)?;
        let path = self.folder.root.clone().join("_probe").join(token);
        let store = &self.folder.store;
        let mut refused = false;
        for _ in 0..2 {
            match store.put_opts(&path, PutPayload::from_static(b"probe"), PutMode::Create.into()).await {
                Ok(_) => {}
                Err(object_store::Error::AlreadyExists { .. }) => refused = true,
                Err(source) => return Err(store_error("create", &path, source)),
            }
        }
        // The probe has served its purpose; one that cannot be removed harms nobody.
        drop(store.delete(&path).await);
        match refused {
            true => Ok(()),
            false => Err(Error::Unconditional { path: path.to_string() }),
        }
    }

    /// The version of a run, if it is published. Only a run whose manifest exists can be.
    async fn published(&self, base: &Base, run_id: &str) -> Result<Option<Version>, Error> {
        if let Some(version) = base.current.as_ref().filter(|version| version.run_id == run_id) {
            return Ok(Some(version.clone()));
        }
        Ok(self.versions().await?.into_iter().rev().find(|version| version.run_id == run_id))
    }

    fn check_same(&self, earlier: &Manifest, manifest: &Manifest) -> Result<(), Error> {
        match earlier.difference(manifest) {
            None => Ok(()),
            Some(difference) => {
                Err(Error::RunReused { table: self.folder.root.to_string(), run_id: manifest.run_id.clone(), difference })
            }
        }
    }

    /// Removes what tasks left behind that were done twice: readers take every file of the folder.
    // INVARIANT: only files of this run, which nobody reads yet or which no version lists.
    async fn remove_unlisted(
        &self,
        folder: &Path,
        manifest: &Manifest,
        present: &HashMap<String, ObjectMeta>,
    ) -> Result<(), Error> {
        for name in present.keys().filter(|n| n.starts_with("part-") && !manifest.files.iter().any(|f| f.path == **n)) {
            let path = folder.clone().join(name.as_str());
            match self.folder.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(store_error("delete", &path, source)),
            }
        }
        let Some(local) = &self.local else { return Ok(()) };
        let failed = |error: std::io::Error| {
            let source = object_store::Error::Generic { store: "LocalFileSystem", source: error.into() };
            store_error("delete what is unfinished in", folder, source)
        };
        let files = unfinished(&local.join("runs").join(&manifest.run_id)).map_err(failed)?;
        files.iter().try_for_each(|file| remove_unfinished(file)).map_err(failed)
    }

    fn manifest_path(&self, run_id: &str) -> Result<Path, Error> {
        Ok(self.run_folder(run_id)?.join("_manifest.json"))
    }
}

/// Checks that every file of `manifest` is in its folder, whole.
fn check_files(folder: &Path, manifest: &Manifest, present: &HashMap<String, ObjectMeta>) -> Result<(), Error> {
    for file in &manifest.files {
        let found = match present.get(&file.path) {
            Some(meta) if i64::try_from(meta.size) == Ok(file.bytes) => continue,
            Some(meta) => format!("has {} bytes, not {}", meta.size, file.bytes),
            None => "is not there".into(),
        };
        return Err(Error::FileMissing { path: folder.clone().join(file.path.as_str()).to_string(), found });
    }
    Ok(())
}
