//! What a Delta table is, replayed from its log: the newest checkpoint, and the entries after it. Never skips an entry.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;

use super::actions::{Action, Add, Metadata, Protocol, Remove, Transaction, from_lines};
use super::{FOLDER, checkpoint};
use crate::error::Error;
use crate::folder::{Folder, damaged};
use crate::table::{Manifest, Version};

/// Entries that are read at a time.
const READS: usize = 16;
/// Tag of a file that tells the run it is of, where entries were cleaned away.
pub(crate) const RUN_TAG: &str = "strata.run_id";
/// Tag of a file that tells the version it came with.
pub(crate) const SEQ_TAG: &str = "strata.seq";

/// The state of a table.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// The newest entry; `None` where there is no table yet.
    pub(crate) version: Option<u64>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) metadata: Option<Metadata>,
    /// Files of the table, by path.
    pub(crate) files: BTreeMap<String, Add>,
    /// Files that were of it.
    pub(crate) removed: BTreeMap<String, Remove>,
    pub(crate) transactions: BTreeMap<String, Transaction>,
    /// The newest version of ours.
    pub(crate) current: Option<Version>,
}

/// What lies in the folder of the log.
struct Listed {
    /// Entries, ascending.
    entries: Vec<u64>,
    /// Parts of each checkpoint that is whole, by version.
    checkpoints: BTreeMap<u64, Vec<Path>>,
}

impl Snapshot {
    /// The state that the log tells. Errors: `Internal` where an entry is missing or damaged, `Invalid` where it has features of other
    /// writers that change what files hold.
    pub(crate) async fn read(table: &Folder) -> Result<Self, Error> {
        let listed = list(table).await?;
        let mut snapshot = Self::default();
        let newest = listed.checkpoints.last_key_value();
        if let Some((version, parts)) = newest {
            for action in checkpoint::read(table, parts).await? {
                snapshot.apply(*version, action);
            }
            snapshot.version = Some(*version);
        }
        let after: Vec<u64> = listed.entries.iter().copied().filter(|v| newest.is_none_or(|(c, _)| v > c)).collect();
        let first = snapshot.version.map_or(0, |v| v + 1);
        if let Some((place, gap)) = after.iter().enumerate().find(|(place, v)| **v != first + *place as u64) {
            let path = entry_path(table, first + place as u64);
            return Err(damaged(&path, format!("it is missing, and entry {gap} is there")));
        }
        let mut read = stream::iter(after.into_iter().map(|v| entry(table, v))).buffered(READS);
        while let Some((version, actions)) = read.try_next().await? {
            for action in actions {
                snapshot.apply(version, action);
            }
            snapshot.version = Some(version);
        }
        drop(read);
        snapshot.check(table)?;
        if snapshot.current.is_none() {
            snapshot.current = snapshot.earlier(table, &listed).await?;
        }
        Ok(snapshot)
    }

    /// Lets an action of entry `version` have its effect.
    pub(crate) fn apply(&mut self, version: u64, action: Action) {
        if let Some(own) = action.version().filter(|v| v.seq == version) {
            self.current = Some(own);
        }
        let Action { protocol, meta_data, txn, add, remove, .. } = action;
        self.protocol = protocol.or(self.protocol.take());
        self.metadata = meta_data.or(self.metadata.take());
        if let Some(txn) = txn {
            self.transactions.insert(txn.app_id.clone(), txn);
        }
        if let Some(add) = add {
            self.removed.remove(&add.path);
            self.files.insert(add.path.clone(), add);
        }
        if let Some(remove) = remove {
            self.files.remove(&remove.path);
            self.removed.insert(remove.path.clone(), remove);
        }
    }

    /// Errors: `Invalid` where the table needs more than the basic protocol.
    fn check(&self, table: &Folder) -> Result<(), Error> {
        let refused = |why: String| Err(Error::Unsupported { table: table.root.to_string(), why });
        match &self.protocol {
            Some(p) if p.min_reader_version > 1 || p.min_writer_version > 2 => refused(format!(
                "another writer raised its protocol to reader {} and writer {}, and this one writes reader 1 and writer 2",
                p.min_reader_version, p.min_writer_version
            )),
            None if self.version.is_some() => refused("its log says no protocol".into()),
            _ => Ok(()),
        }
    }

    /// The newest version of ours, where the entries after the newest checkpoint tell of none.
    async fn earlier(&self, table: &Folder, listed: &Listed) -> Result<Option<Version>, Error> {
        for seq in listed.entries.iter().rev() {
            if let Some(own) = version_in(&entry(table, *seq).await?.1) {
                return Ok(Some(own));
            }
        }
        let tag = |add: &Add, name: &str| add.tags.as_ref().and_then(|t| t.get(name)).cloned().flatten();
        let told = self.files.values().filter_map(|add| Some((tag(add, SEQ_TAG)?.parse::<u64>().ok()?, tag(add, RUN_TAG)?)));
        let Some((seq, run_id)) = told.max() else { return Ok(None) };
        let path = table.root.clone().join("runs").join(run_id.as_str()).join("_manifest.json");
        match table.read_json::<Manifest>(&path).await? {
            Some(manifest) => Ok(Some(manifest.version(seq))),
            None => Err(damaged(&path, "it is published but missing".into())),
        }
    }
}

/// The versions of ours that the entries tell of, the oldest first.
pub(crate) async fn told(table: &Folder) -> Result<Vec<Version>, Error> {
    let listed = list(table).await?;
    let read = stream::iter(listed.entries.into_iter().map(|v| entry(table, v))).buffered(READS);
    read.try_filter_map(|(_, actions)| async move { Ok(version_in(&actions)) }).try_collect().await
}

/// The version of ours that an entry published.
pub(crate) fn version_in(actions: &[Action]) -> Option<Version> {
    actions.iter().find_map(Action::version)
}

/// Where an entry stands.
pub(crate) fn entry_path(table: &Folder, version: u64) -> Path {
    table.root.clone().join(FOLDER).join(format!("{version:020}.json"))
}

async fn entry(table: &Folder, version: u64) -> Result<(u64, Vec<Action>), Error> {
    let path = entry_path(table, version);
    match table.read(&path).await? {
        Some(bytes) => Ok((version, from_lines(&path, &bytes)?)),
        None => Err(damaged(&path, "it was listed but is missing".into())),
    }
}

async fn list(table: &Folder) -> Result<Listed, Error> {
    let folder = table.root.clone().join(FOLDER);
    let mut entries = vec![];
    let mut parts: BTreeMap<u64, BTreeMap<(u64, u64), Path>> = BTreeMap::new();
    for name in table.list(&folder).await?.keys() {
        let mut words = name.split('.');
        let digits = |word: Option<&str>, len: usize| word.filter(|w| w.len() == len)?.parse::<u64>().ok();
        let (Some(version), rest) = (digits(words.next(), 20), words.collect::<Vec<_>>()) else { continue };
        let place = folder.clone().join(name.as_str());
        match rest.as_slice() {
            ["json"] => entries.push(version),
            ["checkpoint", "parquet"] => drop(parts.entry(version).or_default().insert((1, 1), place)),
            ["checkpoint", part, of, "parquet"] => {
                if let (Some(part), Some(of)) = (digits(Some(part), 10), digits(Some(of), 10)) {
                    parts.entry(version).or_default().insert((of, part), place);
                }
            }
            _ => {}
        }
    }
    entries.sort_unstable();
    let whole = parts.into_iter().filter_map(|(version, parts)| {
        // Two writers may have cut it into other numbers of parts: one set that is whole will do.
        let sizes: BTreeSet<u64> = parts.keys().map(|(of, _)| *of).collect();
        let whole = |of: &u64| parts.keys().filter(|(o, _)| o == of).count() as u64 == *of;
        let of = sizes.into_iter().find(whole)?;
        Some((version, parts.into_iter().filter(|((o, _), _)| *o == of).map(|(_, p)| p).collect()))
    });
    Ok(Listed { entries, checkpoints: whole.collect() })
}
