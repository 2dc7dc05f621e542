//! `weights:` of a wave. Never rakes.

use crate::fields::Fields;
use crate::pipeline::{Absent, ScaleTo, Weights};
use crate::problems::Problems;
use crate::read;
use crate::tree::Node;

/// `weights:`
pub(crate) fn weights(node: &Node, problems: &mut Problems) -> Option<Weights> {
    let owner = read::blank(node.span);
    let mut f = Fields::open(node, &owner, "`weights`", problems)?;
    let rake = f
        .need("rake", "write `rake: [region, gender]`, the margins in order")
        .map(|n| read::names(n, "`rake`", f.p))
        .unwrap_or_default();
    let population = f.sql("population");
    let scales = [("population", ScaleTo::Population), ("sample", ScaleTo::Sample)];
    let scale_to = f.word("scale_to", &scales).unwrap_or(ScaleTo::Population);
    let absents = [("error", Absent::Error), ("drop_and_rescale", Absent::DropAndRescale)];
    let instead = "write `absent: drop_and_rescale`, or join the levels in an attribute";
    let absent = f.word_or_later("absent", &absents, &["collapse"], instead).unwrap_or(Absent::Error);
    let tolerance = f.real("tolerance", 0.0).unwrap_or(1e-6);
    let max_iterations = f.small("max_iterations", 1).unwrap_or(100);
    let keep_not_converged = f.word("not_converged", &[("error", false), ("keep", true)]).unwrap_or(false);
    let trim = "weights are not trimmed: join small levels in an attribute";
    f.later(&[
        ("cap", trim),
        ("trim", trim),
        ("report", "the design effect is not reported: compute it from the weights"),
        ("calibrate", "write `rake: [margins]`"),
        ("collapse", instead),
    ]);
    f.finish();
    Some(Weights { rake, population, scale_to, absent, tolerance, max_iterations, keep_not_converged })
}
