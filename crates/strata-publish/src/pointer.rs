//! The log of a plain table: numbered entries, the highest is the current version. Never writes an entry twice.

use object_store::path::Path;

use crate::error::Error;
use crate::folder::{Created, Folder, damaged};
use crate::published::Base;
use crate::table::{Manifest, Version};

/// Folder of the entries.
pub(crate) const FOLDER: &str = "_pointer";

/// All versions, the oldest first.
pub(crate) async fn versions(table: &Folder) -> Result<Vec<Version>, Error> {
    let mut versions = Vec::new();
    for seq in seqs(table).await? {
        versions.push(entry(table, seq).await?);
    }
    Ok(versions)
}

/// The highest.
pub(crate) async fn current(table: &Folder) -> Result<Option<Version>, Error> {
    match seqs(table).await?.last() {
        Some(seq) => entry(table, *seq).await.map(Some),
        None => Ok(None),
    }
}

/// Creates the entry after `base`.
// INVARIANT: only here is an entry written, and only if absent: it has one winner and never changes.
pub(crate) async fn append(table: &Folder, base: &Base, manifest: &Manifest) -> Result<Version, Error> {
    let seq = base.current.as_ref().map_or(0, |version| version.seq) + 1;
    let version = manifest.version(seq);
    match table.create_json(&entry_path(table, seq), &version).await? {
        Created::New => Ok(version),
        Created::Found(winner) if winner.run_id == version.run_id => Ok(winner),
        Created::Found(winner) => {
            Err(Error::Conflict { table: table.root.to_string(), seq, winner: winner.run_id, run_id: version.run_id })
        }
    }
}

async fn entry(table: &Folder, seq: u64) -> Result<Version, Error> {
    let path = entry_path(table, seq);
    match table.read_json::<Version>(&path).await? {
        Some(version) if version.seq == seq => Ok(version),
        Some(version) => Err(damaged(&path, format!("it says version {}", version.seq))),
        None => Err(damaged(&path, "it was listed but is missing".into())),
    }
}

/// Numbers of the entries, ascending.
async fn seqs(table: &Folder) -> Result<Vec<u64>, Error> {
    let names = table.list(&table.root.clone().join(FOLDER)).await?;
    let number = |name: &String| name.strip_suffix(".json").filter(|digits| digits.len() == 20)?.parse().ok();
    let mut seqs: Vec<u64> = names.keys().filter_map(number).collect();
    seqs.sort_unstable();
    Ok(seqs)
}

fn entry_path(table: &Folder, seq: u64) -> Path {
    table.root.clone().join(FOLDER).join(format!("{seq:020}.json"))
}
