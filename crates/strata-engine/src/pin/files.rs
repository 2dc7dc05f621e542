//! Which files a path names: one file, a folder with everything below it, or a glob, on this machine and in object storage alike.
//! Never opens one.

use futures::TryStreamExt;
use glob::{MatchOptions, Pattern};
use object_store::{ObjectMeta, ObjectStoreExt};
use std::path::{Path, PathBuf};
use strata_operators::pinned::PinnedFile;
use strata_runtime::store::{self, Place};

/// As paths on a disk are matched: a `*` ends at a slash.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// One file of a source.
pub(super) struct Found {
    /// As people write it.
    pub(super) shown: String,
    /// The same for a plan; its rows and hive values are not known yet.
    pub(super) file: PinnedFile,
}

/// A path with wildcards.
struct Glob {
    whole: Pattern,
    parts: Vec<Pattern>,
    /// How many of its parts come before the first wildcard.
    literal: usize,
}

/// The files that a place names, in the order of their paths. Files below a folder count if they have the extension; names that
/// start with `_` or `.` are bookkeeping of whoever wrote them, and count only where the path names them. Errors: what the store
/// says.
pub(super) async fn matching(place: &Place, extension: &str) -> Result<Vec<Found>, String> {
    let glob = Glob::of(place.path.as_ref())?;
    let mut found = match (place.local(), &glob) {
        (Some(path), Some(glob)) => local_glob(path, glob, extension)?,
        (Some(path), None) => local_path(path, extension)?,
        (None, Some(glob)) => remote_glob(place, glob, extension).await?,
        (None, None) => remote_path(place, extension).await?,
    };
    found.sort_by(|a, b| a.file.path.split('/').cmp(b.file.path.split('/')));
    Ok(found)
}

impl Glob {
    /// The pattern in a path; `None` where it has no wildcard.
    fn of(path: &str) -> Result<Option<Self>, String> {
        let wild = |part: &str| part.contains(['*', '?', '[']);
        if !wild(path) {
            return Ok(None);
        }
        let pattern = |text: &str| Pattern::new(text).map_err(|e| format!("`{text}` is not a pattern: {e}"));
        let parts = path.split('/').map(pattern).collect::<Result<Vec<_>, _>>()?;
        let literal = path.split('/').take_while(|part| !wild(part)).count();
        Ok(Some(Self { whole: pattern(path)?, parts, literal }))
    }

    /// The folder that everything it matches is in.
    fn folder(&self) -> String {
        self.parts[..self.literal].iter().map(Pattern::as_str).collect::<Vec<_>>().join("/")
    }

    /// Whether a name that a wildcard may have matched is bookkeeping: hidden, and nothing in the pattern names hidden ones.
    fn hides(&self, path: &str) -> bool {
        let named = |name: &str| self.parts.iter().any(|p| is_hidden(p.as_str()) && p.matches(name));
        path.split('/').skip(self.literal).any(|name| is_hidden(name) && !named(name))
    }

    /// Whether it names the file at `path`, by itself or by a folder above it.
    fn names(&self, path: &str, extension: &str) -> bool {
        if self.whole.matches_with(path, OPTIONS) {
            return !self.hides(path);
        }
        path.match_indices('/').any(|(at, _)| {
            let (folder, below) = (&path[..at], &path[at + 1..]);
            self.whole.matches_with(folder, OPTIONS) && !self.hides(folder) && counts(below, extension)
        })
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['_', '.'])
}

/// Whether a file counts whose folder was named; `below` is its path from there.
fn counts(below: &str, extension: &str) -> bool {
    !below.split('/').any(is_hidden) && Path::new(below).extension().is_some_and(|e| e == extension)
}

fn local_glob(path: &Path, glob: &Glob, extension: &str) -> Result<Vec<Found>, String> {
    let text = path.to_string_lossy();
    let mut found = vec![];
    for entry in glob::glob(&text).map_err(|e| format!("`{text}` is not a pattern: {e}"))? {
        let entry = entry.map_err(|e| e.to_string())?;
        if glob.hides(entry.to_string_lossy().trim_start_matches('/')) {
            continue;
        }
        match entry.is_dir() {
            true => below(&entry, extension, &mut found)?,
            false => found.push(entry),
        }
    }
    found.iter().map(|p| local_file(p)).collect()
}

fn local_path(path: &Path, extension: &str) -> Result<Vec<Found>, String> {
    let mut found = vec![];
    if path.is_dir() {
        below(path, extension, &mut found)?;
    } else if path.is_file() {
        found.push(path.to_owned());
    }
    found.iter().map(|p| local_file(p)).collect()
}

/// Every file of the format below a folder.
fn below(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("`{}`: {e}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.file_name().is_some_and(|n| is_hidden(&n.to_string_lossy())) {
            continue;
        }
        if path.is_dir() {
            below(&path, extension, found)?;
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    Ok(())
}

fn local_file(path: &Path) -> Result<Found, String> {
    let meta = std::fs::metadata(path).map_err(|e| format!("`{}`: {e}", path.display()))?;
    let modified = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    let place = store::place(&path.to_string_lossy()).map_err(|e| e.to_string())?;
    let file = PinnedFile {
        path: place.path.to_string(),
        size: meta.len(),
        modified_us: modified.map_or(0, |d| d.as_micros() as i64),
        etag: None,
        rows: None,
        hive_values: vec![],
        columns: vec![],
    };
    Ok(Found { shown: path.display().to_string(), file })
}

async fn remote_glob(place: &Place, glob: &Glob, extension: &str) -> Result<Vec<Found>, String> {
    let folder = object_store::path::Path::parse(glob.folder()).map_err(|e| e.to_string())?;
    listed(place, &folder, |path| glob.names(path, extension)).await
}

/// A folder where something is below it, else a file.
async fn remote_path(place: &Place, extension: &str) -> Result<Vec<Found>, String> {
    let from = if place.path.is_root() { 0 } else { place.path.as_ref().len() + 1 };
    let mut any = false;
    let found = listed(place, &place.path, |path| {
        any = true;
        path.get(from..).is_some_and(|below| counts(below, extension))
    });
    let found = found.await?;
    if any || place.path.is_root() {
        return Ok(found);
    }
    match place.store.head(&place.path).await {
        Ok(meta) => Ok(vec![remote_file(place, meta)]),
        Err(object_store::Error::NotFound { .. }) => Ok(vec![]),
        Err(e) => Err(format!("`{place}`: {e}")),
    }
}

async fn listed(
    place: &Place,
    folder: &object_store::path::Path,
    mut counts: impl FnMut(&str) -> bool + Send,
) -> Result<Vec<Found>, String> {
    let folder = (!folder.is_root()).then_some(folder);
    let mut listing = place.store.list(folder);
    let mut found = vec![];
    while let Some(meta) = listing.try_next().await.map_err(|e| format!("`{place}`: {e}"))? {
        if counts(meta.location.as_ref()) {
            found.push(remote_file(place, meta));
        }
    }
    Ok(found)
}

fn remote_file(place: &Place, meta: ObjectMeta) -> Found {
    let shown = format!("{}/{}", place.store_url, meta.location);
    let file = PinnedFile {
        path: meta.location.to_string(),
        size: meta.size,
        modified_us: meta.last_modified.timestamp_micros(),
        etag: meta.e_tag,
        rows: None,
        hive_values: vec![],
        columns: vec![],
    };
    Found { shown, file }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str, path: &str) -> bool {
        Glob::of(pattern).unwrap().unwrap().names(path, "parquet")
    }

    #[test]
    fn a_glob_names_files_and_everything_below_folders() {
        assert_eq!(Glob::of("lake/orders/month=*/part.parquet").unwrap().unwrap().folder(), "lake/orders");
        assert!(Glob::of("lake/orders").unwrap().is_none());
        assert!(Glob::of("lake/[").is_err());
        for (pattern, path, expected) in [
            ("lake/*.parquet", "lake/a.parquet", true),
            ("lake/*.parquet", "lake/x/a.parquet", false),
            ("lake/*", "lake/x/y/a.parquet", true),
            ("lake/*", "lake/x/y/a.csv", false),
            ("lake/*", "lake/a.csv", true),
            ("lake/**/a.parquet", "lake/x/y/a.parquet", true),
            ("lake/month=2025-0[12]/*.parquet", "lake/month=2025-02/a.parquet", true),
            ("lake/month=2025-0[12]/*.parquet", "lake/month=2025-03/a.parquet", false),
            ("lake/*.parquet", "lake/_a.parquet", false),
            ("lake/_*.parquet", "lake/_a.parquet", true),
            ("lake/*", "lake/_work/a.parquet", false),
            ("lake/*", "lake/x/_work/a.parquet", false),
            ("_lake/*", "_lake/a.parquet", true),
        ] {
            assert_eq!(names(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn files_below_a_folder_count_unless_hidden() {
        assert!(counts("x/a.parquet", "parquet"));
        for hidden in ["_a.parquet", "x/.a.parquet", "_x/a.parquet", "x/a.csv", "x"] {
            assert!(!counts(hidden, "parquet"), "{hidden}");
        }
    }
}
