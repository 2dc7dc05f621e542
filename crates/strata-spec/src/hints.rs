//! What runs but deserves a look. Never an error, and never said of a pipeline that is wrong.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::pipeline::{Mode, Pipeline, Source};
use crate::problems::shown;

/// Warnings about a checked pipeline, for `check`: sources whose past cannot be rebuilt.
pub fn hints(pipeline: &Pipeline) -> Vec<Diagnostic> {
    no_past(pipeline).into_iter().collect()
}

fn no_past(pipeline: &Pipeline) -> Option<Diagnostic> {
    let changing: Vec<&Source> = pipeline.sources.iter().filter(|s| s.mode == Mode::Mutable && s.history.is_none()).collect();
    let (first, others) = changing.split_first()?;
    let names: Vec<String> = changing.iter().map(|s| format!("`{}`", shown(&s.name.value))).collect();
    let rest = match others.is_empty() {
        true => "changes in place and keeps no history: a run as of the past sees it as it is now",
        false => "change in place and keep no history: a run as of the past sees them as they are now",
    };
    let message = format!("{} {rest}", names.join(", "));
    let mut warning = Diagnostic::warning(codes::NO_PAST, first.name.span, message)
        .help("for a past day, read a copy that was kept that day; where it does not matter, leave it");
    warning.also = others.iter().map(|s| (s.name.span, "this one too".to_owned())).collect();
    Some(warning)
}
