//! `weights:` of a wave. Never rakes.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::panel;
use crate::pipeline::wave::{Calibrate, CalibrateDistance, Nonresponse};
use crate::pipeline::{Absent, ScaleTo, Weights};
use crate::problems::{Problems, shown};
use crate::read;
use crate::text::Name;
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
    let absents = [("error", Absent::Error), ("drop_and_rescale", Absent::DropAndRescale), ("collapse", Absent::Collapse)];
    let absent = f.word("absent", &absents).unwrap_or(Absent::Error);
    let collapse = joined(&mut f, absent, &rake);
    let tolerance = f.real("tolerance", 0.0).unwrap_or(1e-6);
    let max_iterations = f.small("max_iterations", 1).unwrap_or(100);
    let keep_not_converged = f.word("not_converged", &[("error", false), ("keep", true)]).unwrap_or(false);
    let cap = f.real("cap", 1.0);
    let report = f.names("report");
    for figure in &report {
        if !figure.value.is_empty() && !FIGURES.contains(&figure.value.as_str()) {
            let help = f.p.known_help(&figure.value, "figures", &FIGURES);
            let message = format!("`{}` is no figure of the report", shown(&figure.value));
            f.p.add(Diagnostic::error(codes::BAD_VALUE, figure.span, message).help(help));
        }
    }
    let nonresponse = f.take("nonresponse").and_then(|n| nonresponse(n, f.p));
    let calibrate = f.take("calibrate").and_then(|n| calibrate(n, f.p));
    if f.has("calibrate") && f.has("cap") {
        let (span, message) = (f.key_span("cap"), "`cap` is a limit of raking, and the weights are calibrated");
        let help = "write the limit into `calibrate: {distance: logit, least: 0.2, most: 5}`";
        f.p.add(Diagnostic::error(codes::CHOOSE_ONE, span, message).help(help));
    }
    f.finish();
    Some(Weights {
        rake,
        population,
        scale_to,
        absent,
        tolerance,
        max_iterations,
        keep_not_converged,
        collapse,
        cap,
        report,
        nonresponse,
        calibrate,
    })
}

/// The margins whose levels may be joined; `None` where none may.
fn joined(f: &mut Fields, absent: Absent, rake: &[Name]) -> Option<Vec<Name>> {
    let span = f.key_span("collapse");
    let margins = f.names("collapse");
    if absent != Absent::Collapse {
        if !margins.is_empty() {
            let message = "`collapse` says which margins' levels may be joined, and `absent` lets none be";
            let help = "write `absent: collapse`, or remove `collapse`";
            f.p.add(Diagnostic::error(codes::CHOOSE_ONE, span, message.to_owned()).help(help));
        }
        return None;
    }
    for name in margins.iter().filter(|n| !n.value.is_empty() && !rake.iter().any(|r| r.value == n.value)) {
        let known: Vec<&str> = rake.iter().map(|r| r.as_str()).collect();
        let help = f.p.known_help(&name.value, "margins", &known);
        let message = format!("`{}` is none of the margins of `rake`", shown(&name.value));
        f.p.add(Diagnostic::error(codes::BAD_VALUE, name.span, message).help(help));
    }
    Some(margins)
}

/// Figures that the report can show besides.
const FIGURES: [&str; 3] = ["deff", "n_eff", "cap_curve"];

fn nonresponse(node: &Node, problems: &mut Problems) -> Option<Nonresponse> {
    let mut f = Fields::item(node, &panel::NONRESPONSE, problems)?;
    let cells = f.need("cells", "write `cells: [lifecycle, region]`").map(|n| read::names(n, "`cells`", f.p)).unwrap_or_default();
    let found = Nonresponse {
        cells,
        factor_max: f.real("most", 1.0).unwrap_or(3.0),
        answers_min: f.whole("least", 1..=u64::MAX).unwrap_or(1),
        joins_neighbours: f.word("collapse", &[("error", false), ("neighbours", true)]).unwrap_or(false),
        unknown_are_eligible: f.word("unknown", &[("as_known", false), ("eligible", true)]).unwrap_or(false),
    };
    f.finish();
    Some(found)
}

fn calibrate(node: &Node, problems: &mut Problems) -> Option<Calibrate> {
    let mut f = Fields::item(node, &panel::CALIBRATE, problems)?;
    let distances =
        [("linear", CalibrateDistance::Linear), ("raking", CalibrateDistance::Raking), ("logit", CalibrateDistance::Logit)];
    let distance = f.word("distance", &distances);
    if !f.has("distance") {
        let message = "`calibrate` needs `distance`";
        f.p.add(Diagnostic::error(codes::MISSING_KEY, node.span, message).help("write `distance: linear`"));
    }
    let (ratio_min, ratio_max) = (f.real("least", 0.0), f.real("most", 1.0));
    if distance == Some(CalibrateDistance::Logit) && (ratio_min.is_none() || ratio_max.is_none()) {
        let help = "write `least: 0.3` and `most: 3`";
        f.p.add(Diagnostic::error(codes::MISSING_KEY, node.span, "`distance: logit` needs both limits").help(help));
    }
    if let Some(least) = ratio_min.filter(|l| *l >= 1.0) {
        let span = f.value_span("least");
        let message = format!("`least` cannot be `{least}`: weights that stay as they are must be allowed");
        read::bad_value(codes::BAD_NUMBER, span, message, "write less than 1", f.p);
    }
    f.finish();
    Some(Calibrate { distance: distance?, ratio_min, ratio_max })
}
