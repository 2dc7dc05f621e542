//! The log of a Delta table: which files make each version, in the basic protocol (reader 1, writer 2), which every reader of Delta knows.
//! Never uses a feature beyond it, and refuses to write where another writer did.
//!
//! Source: the Delta transaction log protocol. An entry is created if absent, so of all that saw the same version one wins. Each entry of
//! ours tells, in `commitInfo`, the version that it published; a run is never published twice.

mod actions;
mod checkpoint;
mod commit;
mod schema;
mod snapshot;

use std::collections::HashMap;

use object_store::ObjectMeta;

use crate::error::Error;
use crate::folder::{Created, Folder};
use crate::published::Base;
use crate::table::{Manifest, Version};
use actions::Action;
use snapshot::Snapshot;

/// Folder of the entries.
pub(crate) const FOLDER: &str = "_delta_log";
/// Column of the as-of, in tables that hold the rows of many.
pub(crate) const AS_OF: &str = "as_of";
/// Entries from one checkpoint to the next.
const CHECKPOINT_EVERY: u64 = 10;
/// How often the next entry is tried while others, who are no runs of ours, take it.
const APPENDS_MAX: usize = 100;

/// Whose place a version takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// All rows.
    All,
    /// Those of the same as-of.
    OfAsOf,
}

/// All versions of ours that the log tells of, the oldest first.
pub(crate) async fn versions(table: &Folder) -> Result<Vec<Version>, Error> {
    let mut versions = snapshot::told(table).await?;
    if let Some(current) = current(table).await?
        && !versions.iter().any(|v| v.seq == current.seq)
    {
        versions.push(current);
    }
    Ok(versions)
}

/// The newest version of ours.
pub(crate) async fn current(table: &Folder) -> Result<Option<Version>, Error> {
    Ok(Snapshot::read(table).await?.current)
}

/// Publishes the files of a manifest on top of `base`; `present` are the objects of its folder.
///
/// Errors: `Conflict` where another run was published since `base`; `Invalid` where the table cannot have its columns, or is written by
/// somebody with features that this one does not know.
pub(crate) async fn append(
    table: &Folder,
    base: &Base,
    manifest: &Manifest,
    present: &HashMap<String, ObjectMeta>,
    rows: Rows,
) -> Result<Version, Error> {
    for _ in 0..APPENDS_MAX {
        let mut snapshot = Snapshot::read(table).await?;
        if let Some(own) = snapshot.current.as_ref().filter(|v| v.run_id == manifest.run_id) {
            return Ok(own.clone());
        }
        let run = |v: &Option<Version>| v.as_ref().map(|v| v.run_id.clone());
        if let Some(winner) = snapshot.current.as_ref().filter(|_| run(&snapshot.current) != run(&base.current)) {
            return Err(conflict(table, winner, manifest));
        }
        let seq = snapshot.version.map_or(0, |v| v + 1);
        let version = manifest.version(seq);
        let actions = commit::actions(table, &snapshot, manifest, &version, present, rows)?;
        match table.create(&snapshot::entry_path(table, seq), actions::to_lines(&actions)?).await? {
            Created::New => {
                for action in actions {
                    snapshot.apply(seq, action);
                }
                checkpointed(table, seq, &snapshot).await;
                return Ok(version);
            }
            Created::Found(bytes) => {
                let theirs = snapshot::version_in(&actions::from_lines(&snapshot::entry_path(table, seq), &bytes)?);
                match theirs {
                    Some(own) if own.run_id == manifest.run_id => return Ok(own),
                    Some(winner) => return Err(conflict(table, &winner, manifest)),
                    // Somebody compacted or cleaned the table: that is no other version of ours.
                    None => {}
                }
            }
        }
    }
    Err(Error::Busy { table: table.root.to_string(), tries: APPENDS_MAX })
}

/// Writes a checkpoint now and then. One that fails costs readers time and nothing else, so the version stays published.
async fn checkpointed(table: &Folder, seq: u64, snapshot: &Snapshot) {
    if seq > 0
        && seq.is_multiple_of(CHECKPOINT_EVERY)
        && let Err(error) = checkpoint::write(table, seq, snapshot).await
    {
        tracing::warn!("no checkpoint of version {seq} was written, readers will read the log: {error}");
    }
}

fn conflict(table: &Folder, winner: &Version, manifest: &Manifest) -> Error {
    Error::Conflict {
        table: table.root.to_string(),
        seq: winner.seq,
        winner: winner.run_id.clone(),
        run_id: manifest.run_id.clone(),
    }
}

impl Action {
    /// What `commitInfo` says of a version of ours.
    pub(crate) fn version(&self) -> Option<Version> {
        serde_json::from_value(self.commit_info.as_ref()?.get("strata")?.clone()).ok()
    }
}
