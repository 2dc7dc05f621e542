//! What the store of local files writes until a file is whole: `part-x.parquet#1`. A process that is killed leaves it behind, and no listing of
//! the store shows it, but readers of the folder may. Never names a file that has its own name.

use std::io;
use std::path::{Path, PathBuf};

/// The unfinished files of a run's folder on this machine. Errors: the folder cannot be read; one that is not there has none.
pub fn unfinished(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut out = vec![];
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_unfinished) {
            out.push(entry.path());
        }
    }
    Ok(out)
}

/// Removes one of them; it may be gone meanwhile.
pub fn remove_unfinished(file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Source: object_store, `LocalFileSystem`, whose own names end so and which refuses others that do.
fn is_unfinished(name: &str) -> bool {
    name.starts_with("part-")
        && name.rsplit_once('#').is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}
