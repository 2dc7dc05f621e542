//! Looking through and clearing what runs leave behind: folders of the work area, and files below tables that no version lists. Never follows
//! anything out of the place it was given, and never names a file that readers of a table may read.

use crate::store::Place;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use strata_publish::{Log, PublishedTable, Version, remove_unfinished, unfinished};

/// Something that a run left behind.
#[derive(Debug, Clone)]
pub struct Leftover {
    /// The run.
    pub run_id: String,
    /// Its folder.
    pub place: Place,
    /// What of it.
    pub what: What,
    /// When the youngest file was written, by the clock of the store.
    pub newest: Option<DateTime<Utc>>,
}

/// What of a folder is left over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// All of a folder of the work area.
    Work,
    /// All of a folder of a table that no version names.
    Unpublished,
    /// Files that the version that names the folder does not list.
    Beside {
        /// Whole ones.
        whole: Vec<Path>,
        /// Those that a killed process did not finish, on this machine.
        unfinished: Vec<PathBuf>,
    },
}

/// Why leftovers could not be found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] object_store::Error),
    /// The table.
    #[error(transparent)]
    Table(#[from] strata_publish::Error),
    /// A folder of this machine.
    #[error("{0}: {1}")]
    Folder(String, #[source] std::io::Error),
}

/// Names of the folders right below a place.
pub async fn folders(place: &Place) -> object_store::Result<Vec<String>> {
    let listed = place.store.list_with_delimiter(Some(&place.path)).await?;
    Ok(listed.common_prefixes.iter().filter_map(|p| p.filename().map(str::to_owned)).collect())
}

/// Removes everything below a place.
pub async fn clear(place: &Place) -> object_store::Result<()> {
    let paths = place.store.list(Some(&place.path)).map_ok(|o| o.location).boxed();
    place.store.delete_stream(paths).try_collect::<Vec<_>>().await?;
    if let Some(folder) = place.local() {
        // Empty folders are no objects.
        let _ = std::fs::remove_dir_all(folder);
    }
    Ok(())
}

/// The folders of runs in a work area.
pub async fn work(area: &Place) -> Result<Vec<Leftover>, Error> {
    let mut out = vec![];
    for run_id in folders(area).await? {
        let place = area.join(&run_id);
        let objects = objects(&place).await?;
        if is_something(&place, &objects) {
            let newest = newest(&place, &objects);
            out.push(Leftover { run_id, place, what: What::Work, newest });
        }
    }
    Ok(out)
}

/// What lies below a table that no version of it lists: folders of runs that were never published, and in folders of published runs the files of
/// tasks that were done twice.
pub async fn unlisted(table: &Place) -> Result<Vec<Leftover>, Error> {
    let runs = table.join("runs");
    let mut found: Vec<(String, Vec<ObjectMeta>)> = vec![];
    for run_id in folders(&runs).await? {
        let place = runs.join(&run_id);
        let objects = objects(&place).await?;
        if is_something(&place, &objects) {
            found.push((run_id, objects));
        }
    }
    // INVARIANT: the log is read after the folders: what was published in between is listed.
    let of = |log| PublishedTable::new(table.store.clone(), table.path.clone(), log);
    let (published, delta) = (of(Log::Pointer), of(Log::Delta).versions().await?);
    let versions: HashMap<String, Version> =
        published.versions().await?.into_iter().chain(delta).map(|v| (v.folder.clone(), v)).collect();
    let mut out = vec![];
    for (run_id, objects) in found {
        let place = runs.join(&run_id);
        let (objects, what) = match versions.get(&format!("runs/{run_id}")) {
            None => (objects, What::Unpublished),
            Some(version) => {
                let listed: HashSet<String> = published.manifest(version).await?.files.into_iter().map(|f| f.path).collect();
                let is_beside =
                    |o: &ObjectMeta| o.location.filename().is_some_and(|n| n.starts_with("part-") && !listed.contains(n));
                let beside: Vec<ObjectMeta> = objects.into_iter().filter(is_beside).collect();
                let unfinished = place.local().map_or(Ok(vec![]), unfinished).map_err(|e| Error::Folder(place.to_string(), e))?;
                if beside.is_empty() && unfinished.is_empty() {
                    continue;
                }
                let whole = beside.iter().map(|o| o.location.clone()).collect();
                (beside, What::Beside { whole, unfinished })
            }
        };
        let newest = newest(&place, &objects);
        out.push(Leftover { run_id, place, what, newest });
    }
    Ok(out)
}

impl Leftover {
    /// Its addresses: of the folder, or of each file.
    pub fn addresses(&self) -> Vec<String> {
        match &self.what {
            What::Work | What::Unpublished => vec![self.place.to_string()],
            What::Beside { whole, unfinished } => {
                let whole = whole.iter().filter_map(|f| Some(self.place.join(f.filename()?).to_string()));
                whole.chain(unfinished.iter().map(|f| f.display().to_string())).collect()
            }
        }
    }

    /// Removes it.
    pub async fn remove(&self) -> Result<(), Error> {
        let What::Beside { whole, unfinished } = &self.what else { return Ok(clear(&self.place).await?) };
        for file in whole {
            match self.place.store.delete(file).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let failed = |e| Error::Folder(self.place.to_string(), e);
        unfinished.iter().try_for_each(|file| remove_unfinished(file)).map_err(failed)
    }
}

async fn objects(place: &Place) -> object_store::Result<Vec<ObjectMeta>> {
    place.store.list(Some(&place.path)).try_collect().await
}

/// Some servers of object storage go on listing folders whose last object was removed.
fn is_something(place: &Place, objects: &[ObjectMeta]) -> bool {
    place.local().is_some() || !objects.is_empty()
}

/// When the youngest of them was written; of a local folder without files, when the folder was.
fn newest(place: &Place, objects: &[ObjectMeta]) -> Option<DateTime<Utc>> {
    let folder = || std::fs::metadata(place.local()?).and_then(|m| m.modified()).ok().map(DateTime::from);
    objects.iter().map(|o| o.last_modified).max().or_else(folder)
}
