//! Where this process may publish: everywhere, or below one root. Whoever runs a pipeline in a process of their own owns its paths; a
//! coordinator runs other people's. Never looks at what a pipeline reads.

use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;
use strata_plan::codes;
use strata_runtime::store::{self, Place};
use strata_spec::{Diagnostic, Name, Pipeline};

static ROOT: OnceLock<Place> = OnceLock::new();

/// From here on every pipeline that this process loads may publish below `root` only. Errors: as the address says; a second root.
pub fn confine(root: &str) -> Result<(), String> {
    let place = store::place(root).map_err(|e| format!("{e}\n  help: {}", e.help()))?;
    ROOT.set(place).map_err(|_| "the outputs have a root already".to_owned())
}

/// Outputs that would be published elsewhere: each a refusal at the place that says where.
pub(crate) fn outside(pipeline: &Pipeline) -> Vec<Diagnostic> {
    ROOT.get().map(|root| outside_of(root, pipeline)).unwrap_or_default()
}

fn outside_of(root: &Place, pipeline: &Pipeline) -> Vec<Diagnostic> {
    let mut out = vec![];
    let mut look = |folder: &str, at: &Name, what: String| {
        if !is_below(root, folder) {
            let message = format!("{what} would be published to `{folder}`, outside of where outputs may be here");
            let help = format!("write a place below `{root}`");
            out.push(Diagnostic::policy(codes::OUTSIDE, at.span, message).help(help));
        }
    };
    for output in &pipeline.outputs {
        look(&output.to.value, &output.to, format!("the output `{}`", output.name.value));
    }
    // Rows are put aside beside the first output.
    let beside = pipeline.outputs.first().map(|o| &o.to);
    for source in &pipeline.sources {
        if let (Some(beside), Some(folder)) = (beside, pipeline.quarantine_folder(&source.name.value)) {
            look(&folder, beside, format!("rows of `{}` that are put aside", source.name.value));
        }
    }
    out
}

/// Whether an address is strictly below the root: its links followed, and also as a reader of URLs would take it.
fn is_below(root: &Place, address: &str) -> bool {
    let Ok(place) = store::place(address) else { return false };
    let dots = |part: &str| matches!(part.replace("%2e", ".").replace("%2E", ".").as_str(), "." | "..");
    if place.store_url != root.store_url || place.path.parts().any(|part| dots(part.as_ref()) || dots(&decoded(part.as_ref()))) {
        return false;
    }
    match (root.local(), place.local()) {
        (Some(root), Some(local)) => {
            let (root, local) = (followed(root), followed(local));
            local != root && local.starts_with(&root)
        }
        (None, None) => place.path != root.path && place.path.prefix_matches(&root.path),
        _ => false,
    }
}

/// A part of an object's path as it was written: the store's own writing has `%25` for `%`.
fn decoded(part: &str) -> String {
    part.replace("%25", "%")
}

/// A path with every link on it followed, as far as it exists.
fn followed(path: &Path) -> PathBuf {
    let mut rest = vec![];
    let mut known = path.to_owned();
    loop {
        if let Ok(real) = known.canonicalize() {
            return rest.into_iter().rev().fold(real, |p, part| p.join(part));
        }
        // A link to what is not there leads somewhere as well.
        if let Ok(to) = std::fs::read_link(&known) {
            let target = known.parent().map_or_else(|| to.clone(), |p| p.join(&to));
            return rest.into_iter().rev().fold(target, |p, part| p.join(part));
        }
        match (known.components().next_back(), known.parent().map(Path::to_owned)) {
            (Some(Component::Normal(part)), Some(parent)) => {
                rest.push(part.to_owned());
                known = parent;
            }
            _ => return rest.into_iter().rev().fold(known, |p, part| p.join(part)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_the_root_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("lake");
        for folder in ["lake/team", "elsewhere"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), root.join("link")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("lake/team"), root.join("inner")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("nowhere/yet"), root.join("dangling")).unwrap();
        let place = store::place(root.to_str().unwrap()).unwrap();
        let at = |below: &str| format!("{}/{below}", root.display());
        for right in [at("profile"), at("team/a/b"), at("inner/x"), format!("file://{}", at("x")), at("a/../b"), at("..x/..y")] {
            assert!(is_below(&place, &right), "{right}");
        }
        for wrong in [
            at(""),
            at("../elsewhere"),
            at("a/../../x"),
            at("link/x"),
            at("dangling/x"),
            at("%2e%2e/x"),
            at("a/%2E%2e/%2e./x"),
            format!("{}-2/x", root.display()),
            format!("file://{}", at("../x")),
            "file:///etc/x".to_owned(),
            "/etc/x".to_owned(),
            "../x".to_owned(),
            "s3://lake/x".to_owned(),
            "https://example.com/x".to_owned(),
            dir.path().display().to_string(),
        ] {
            assert!(!is_below(&place, &wrong), "{wrong}");
        }
    }
}
