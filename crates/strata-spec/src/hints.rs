//! What runs but deserves a look. Never an error, and never said of a pipeline that is wrong.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::pipeline::{AttributePreset, Mode, Pipeline, Source};
use crate::problems::shown;

/// Warnings about a checked pipeline, for `check`: sources whose past cannot be rebuilt, and attributes that presets leave out.
pub fn hints(pipeline: &Pipeline) -> Vec<Diagnostic> {
    let presets = pipeline.attributes.iter().flat_map(|of| &of.presets);
    no_past(pipeline).into_iter().chain(presets.filter_map(left_out)).collect()
}

/// What `loyalty_core@1` does not make, because it is not told what from.
fn left_out(preset: &AttributePreset) -> Option<Diagnostic> {
    let AttributePreset::LoyaltyCore(core) = preset else { return None };
    let inputs = [
        (core.engagement.is_empty(), "engagement", "the days since an engagement"),
        (core.lines.is_none(), "lines", "the lines of a basket"),
        (core.discount.is_none(), "discount", "the shares of discounts"),
        (core.returned.is_none(), "returned", "the rate of returns"),
        (core.category.is_none(), "category", "the breadth of categories"),
        (core.channel.is_none(), "channel", "what is said of channels"),
    ];
    let missing: Vec<_> = inputs.into_iter().filter(|(missing, _, _)| *missing).collect();
    let (_, first, _) = missing.first()?;
    let made: Vec<&str> = missing.iter().map(|(_, _, made)| *made).collect();
    let keys: Vec<String> = missing.iter().map(|(_, key, _)| format!("`{key}`")).collect();
    let message = format!("`loyalty_core@1` leaves out {}", made.join(", "));
    let help = format!(
        "write `{first}: …` to have the first of them; the keys are {}; where nothing is missed, leave it",
        keys.join(", ")
    );
    Some(Diagnostic::warning(codes::LEFT_OUT, core.span, message).help(help))
}

/// Whether what a source held before cannot be known: published waves never change.
fn is_changing(source: &Source) -> bool {
    let is_published = crate::is_published_wave(&source.name.value) || crate::published_stages(&source.name.value).is_some();
    source.mode == Mode::Mutable && source.history.is_none() && !is_published
}

fn no_past(pipeline: &Pipeline) -> Option<Diagnostic> {
    let changing: Vec<&Source> = pipeline.sources.iter().filter(|s| is_changing(s)).collect();
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
