//! `weights:` of a wave. Never rakes.

use crate::fields::Fields;
use crate::language::panel;
use crate::pipeline::{Absent, ScaleTo, Weights};
use crate::problems::Problems;
use crate::read;
use crate::tree::Node;

/// `weights:`
pub(crate) fn weights(node: &Node, problems: &mut Problems) -> Option<Weights> {
    let mut f = Fields::item(node, &panel::WEIGHTS, problems)?;
    let rake = f
        .need("rake", "write `rake: [region, gender]`, the margins in order")
        .map(|n| read::names(n, "`rake`", f.p))
        .unwrap_or_default();
    let population = f.sql("population");
    let scales = [("population", ScaleTo::Population), ("sample", ScaleTo::Sample)];
    let scale_to = f.word("scale_to", &scales).unwrap_or(ScaleTo::Population);
    let absents = [
        ("error", (Absent::Error, false)),
        ("drop_and_rescale", (Absent::DropAndRescale, false)),
        ("collapse", (Absent::Error, true)),
    ];
    let (absent, collapses) = f.word("absent", &absents).unwrap_or((Absent::Error, false));
    let order = f.names("collapse");
    let collapse = (collapses || !order.is_empty()).then_some(order);
    let tolerance = f.real("tolerance", 0.0).unwrap_or(1e-6);
    let max_iterations = f.small("max_iterations", 1).unwrap_or(100);
    let keep_not_converged = f.word("not_converged", &[("error", false), ("keep", true)]).unwrap_or(false);
    let cap = f.real("cap", 0.0);
    let report = f.names("report");
    f.finish();
    Some(Weights { rake, population, scale_to, absent, tolerance, max_iterations, keep_not_converged, collapse, cap, report })
}
