//! Whether a pipeline's places can be read and written from here, and whether their clocks agree. Never leaves anything behind, and never
//! says what a credential is.

use crate::load::Loaded;
use chrono::Utc;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use strata_publish::{Log, PublishedTable};
use strata_runtime::clock;
use strata_runtime::store::{self, Place};
use strata_spec::Pipeline;

/// A difference of clocks that deserves a look, in seconds.
const SKEW_WARN_S: i64 = 10;
/// A difference of clocks at which requests are refused, in seconds.
const SKEW_MAX_S: i64 = 300;

/// How long a store may take to answer, in seconds.
const ANSWER_S: u64 = 20;

/// What was found out about one thing.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Which, e.g. `source orders`.
    pub about: String,
    /// Whether it is as it has to be.
    pub is_good: bool,
    /// What was found.
    pub found: String,
    /// What to do, where it is not.
    pub help: Option<String>,
}

impl Finding {
    /// As it has to be.
    pub fn good(about: impl Into<String>, found: impl Into<String>) -> Self {
        Self { about: about.into(), is_good: true, found: found.into(), help: None }
    }

    /// Not as it has to be, and what to do.
    pub fn bad(about: impl Into<String>, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { about: about.into(), is_good: false, found: found.into(), help: Some(help.into()) }
    }
}

/// Every source and output of a loaded pipeline: whether it is there, and whether it can be written.
pub async fn places(loaded: &Loaded) -> Vec<Finding> {
    let Some(pipeline) = &loaded.pipeline else { return vec![] };
    let mut out = sources(loaded, pipeline);
    let mut seen = BTreeSet::new();
    for output in &pipeline.outputs {
        let about = format!("output {}", output.name.value);
        match store::place(&output.to.value) {
            Err(e) => out.push(Finding::bad(about, e.to_string(), e.help())),
            Ok(place) => {
                let at = place.to_string();
                let found = match place.local() {
                    Some(folder) => local(folder),
                    None => in_time(remote(&place, seen.insert(place.store_url.clone()))).await,
                };
                match found {
                    Ok(found) => out.push(Finding::good(about, format!("{at}: {found}"))),
                    Err((found, help)) => out.push(Finding::bad(about, format!("{at}: {found}"), help)),
                }
            }
        }
    }
    out
}

fn sources(loaded: &Loaded, pipeline: &Pipeline) -> Vec<Finding> {
    let mut out = vec![];
    for source in &pipeline.sources {
        let about = format!("source {}", source.name.value);
        let wrong = loaded.diagnostics.iter().find(|d| d.span == source.path.span);
        out.push(match (loaded.catalog.sources.get(&source.name.value), wrong) {
            (_, Some(d)) => Finding::bad(about, d.message.clone(), d.help.clone().unwrap_or_default()),
            (Some(pinned), None) => {
                let files = pinned.files.len();
                let mb = pinned.bytes() as f64 / 1e6;
                Finding::good(about, format!("{files} file{}, {mb:.1} MB", if files == 1 { "" } else { "s" }))
            }
            (None, None) => Finding::bad(about, "it was not looked at", "mend the pipeline first: `strata check`"),
        });
    }
    out
}

type Found = Result<String, (String, String)>;

/// A local folder, or the nearest one above it that exists.
fn local(folder: &Path) -> Found {
    let there = folder.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let refused = |e: std::io::Error| {
        let help = format!("give another folder with `-p`, or the right to write below `{}`", there.display());
        (format!("cannot be written: {e}"), help)
    };
    if !there.is_dir() {
        return Err((format!("`{}` is no folder", there.display()), "give another folder with `-p`".into()));
    }
    let probe = there.join(format!(".strata-probe-{}", clock::run_id()));
    std::fs::write(&probe, b"probe").map_err(refused)?;
    std::fs::remove_file(&probe).map_err(refused)?;
    Ok(if there == folder { "can be written".into() } else { "can be made and written".to_owned() })
}

/// A store that is not there is asked for minutes before a run gives up; whoever asks a doctor waits less.
async fn in_time(answer: impl Future<Output = Found>) -> Found {
    let late = || {
        let help = "look at the network, AWS_ENDPOINT_URL and, without keys, at the machine's role".to_owned();
        (format!("did not answer in {ANSWER_S} s"), help)
    };
    tokio::time::timeout(Duration::from_secs(ANSWER_S), answer).await.unwrap_or_else(|_| Err(late()))
}

/// A folder in object storage; its clock is looked at where `with_clock` says so, once a store.
async fn remote(place: &Place, with_clock: bool) -> Found {
    let name = clock::run_id();
    let path: ObjectPath = place.path.clone().join("_probe").join(format!("doctor-{name}"));
    let refused = |what: &str, e: object_store::Error| {
        let help = match &e {
            object_store::Error::Unauthenticated { .. } | object_store::Error::PermissionDenied { .. } => {
                "give these credentials the right to list, read, write and delete here"
            }
            object_store::Error::NotFound { .. } => "make the bucket, or give another",
            _ => "look at the credentials, the region and AWS_ENDPOINT_URL; a run must list, read, write and delete here",
        };
        (format!("cannot be {what}: {e}"), help.to_owned())
    };
    place.store.list_with_delimiter(Some(&place.path)).await.map_err(|e| refused("listed", e))?;
    let before = clock::now();
    place.store.put(&path, PutPayload::from_static(b"probe")).await.map_err(|e| refused("written", e))?;
    let after = clock::now();
    let head = place.store.head(&path).await.map_err(|e| refused("read", e));
    place.store.delete(&path).await.map_err(|e| refused("cleaned up", e))?;
    let written = head?.last_modified;
    let table = PublishedTable::new(place.store.clone(), place.path.clone(), Log::Pointer);
    let conditional = table.probe_conditional_put(&format!("doctor-{name}")).await;
    conditional.map_err(|e| (e.to_string(), "publish to a store that honours create-if-absent".to_owned()))?;
    let skew = if written < before { written - before } else { (written - after).max(chrono::TimeDelta::zero()) };
    // Stores tell whole seconds.
    let skew = skew.num_seconds();
    match (with_clock, skew.abs()) {
        (true, s) if s > SKEW_MAX_S => Err((
            format!("its clock differs from this machine's by {skew} s"),
            "set this machine's clock: requests with such a clock are refused".into(),
        )),
        (true, s) if s > SKEW_WARN_S => Ok(format!("can be listed and written; its clock differs by {skew} s")),
        (true, s) => Ok(format!("can be listed and written, once only where asked; clocks agree to {} s", s + 1)),
        (false, _) => Ok("can be listed and written, once only where asked".into()),
    }
}

/// The time of day here, for people.
pub fn now() -> String {
    clock::now().with_timezone(&Utc).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_probed_and_nothing_is_left() {
        let dir = std::env::temp_dir().join(format!("strata-doctor-{}", clock::run_id()));
        std::fs::create_dir_all(&dir).unwrap();
        assert_eq!(local(&dir).unwrap(), "can be written");
        assert_eq!(local(&dir.join("a/b")).unwrap(), "can be made and written");
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        std::fs::write(dir.join("file"), "x").unwrap();
        assert!(local(&dir.join("file/below")).unwrap_err().0.contains("no folder"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
