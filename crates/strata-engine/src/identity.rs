//! What the results of a step depend on, as one digest: two steps with one digest make the same rows. Never depends on where a file of the
//! work area lies, on a place in the pipeline file, or on what runs otherwise.

use crate::error::{Error, Result};
use crate::journal::text_of;
use crate::solved_wire::hex;
use crate::steps::PlannedStep;
use datafusion::logical_expr::LogicalPlan;
use datafusion_proto::bytes::logical_plan_to_bytes_with_extension_codec;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use strata_operators::pinned::{PinnedFile, PinnedTable};
use strata_plan::{Compiled, Intervals, Known, Solved};
use strata_runtime::LogicalCodec;
use strata_spec::pipeline::{Method, Numbers};

/// Digest of a step, and what it can be said to depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Of everything.
    pub(crate) digest: String,
    /// Whether a secret goes into it, whose value no digest holds: only the run itself may go on with it.
    pub(crate) secret: bool,
}

/// Tables of the work area, each with the digest of the step that made it.
pub(crate) type MadeBy = BTreeMap<String, String>;

/// The identity of a step whose earlier steps are done. Errors: as the compiler says.
pub(crate) fn of_step(compiled: &mut Compiled<'_>, solved: &Solved, made: &MadeBy, step: &PlannedStep) -> Result<Identity> {
    let stand_ins = compiled.made_tables().map(|(name, table)| (name.clone(), stand_in(table, made.get(name)))).collect();
    let real = compiled.assume(Known { work: stand_ins, ..Known::default() });
    let found = parts(compiled, solved, step);
    compiled.assume(real);
    let Parts { plans, whole, text } = found.map_err(|e| Error::of_step(&step.label(), e))?;
    let mut hash = Sha256::new();
    let mut secret = text.contains("env:");
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    add(build().as_bytes());
    add(step.label().as_bytes());
    add(without_places(&text).as_bytes());
    let encoded = |plan: &LogicalPlan| logical_plan_to_bytes_with_extension_codec(plan, &LogicalCodec);
    // What two plans do not use cannot make them differ.
    let used = plans.iter().map(|plan| strata_plan::lean(plan).and_then(|p| encoded(&p)));
    for bytes in used.chain(whole.iter().map(encoded)) {
        let bytes = bytes.map_err(|e| Error::of_step(&step.label(), e))?;
        secret |= bytes.windows(4).any(|w| w == b"env:");
        add(&bytes);
    }
    Ok(Identity { digest: hex(&hash.finalize()), secret })
}

/// What can change from run to run, each with a digest: `as_of`, and the pinned files of each source.
pub(crate) fn surroundings(compiled: &Compiled<'_>) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::from([(AS_OF.to_owned(), compiled.clock().as_of.to_rfc3339())]);
    for (name, pinned) in compiled.pinned_sources() {
        out.insert(format!("data of {name}"), hex(&Sha256::digest(text_of(pinned)?.as_bytes())));
    }
    Ok(out)
}

/// Name of the run's instant among its surroundings.
const AS_OF: &str = "as_of";

/// Why a step is not what it was: what changed around it, or else its definition.
pub(crate) fn changed(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> String {
    let differ: Vec<&str> = now.iter().filter(|(k, v)| before.get(*k) != Some(*v)).map(|(k, _)| k.as_str()).collect();
    match differ.is_empty() {
        true => "its definition, or that of a step before it, changed".to_owned(),
        false => format!("changed: {}", differ.join(", ")),
    }
}

/// This build of Strata: another one may compute otherwise.
fn build() -> String {
    let bytes = std::env::current_exe().and_then(std::fs::metadata).map_or(0, |m| m.len());
    format!("{} {bytes}", env!("CARGO_PKG_VERSION"))
}

/// What a step's results follow from.
#[derive(Default)]
struct Parts {
    /// Plans of which only what they use counts.
    plans: Vec<LogicalPlan>,
    /// Plans of which everything counts.
    whole: Vec<LogicalPlan>,
    /// Settings.
    text: String,
}

fn parts(compiled: &Compiled<'_>, solved: &Solved, step: &PlannedStep) -> datafusion::common::Result<Parts> {
    let pipeline = compiled.pipeline();
    let only = |plan: LogicalPlan| Parts { plans: vec![plan], ..Parts::default() };
    Ok(match step {
        PlannedStep::Check(name) => {
            let asked = compiled.table_checks(name);
            let text = asked.iter().map(|c| format!("{}{:?}{}", c.name, c.asks, c.stops)).collect();
            Parts { plans: asked.iter().map(|c| c.plan.clone()).collect(), text, ..Parts::default() }
        }
        PlannedStep::Quarantine(name) => {
            Parts { plans: compiled.quarantine_plan(name)?.into_iter().collect(), ..Parts::default() }
        }
        PlannedStep::Table(name) => {
            let asked = compiled.rules_of_table(name)?;
            let text = asked.iter().map(|c| format!("{}{:?}{}", c.name, c.asks, c.stops)).collect();
            let plans = std::iter::once(compiled.table_plan(name)?).chain(asked.into_iter().map(|c| c.plan)).collect();
            Parts { plans, text, ..Parts::default() }
        }
        PlannedStep::Attributes(entity) => only(compiled.attributes_plan(entity)?),
        PlannedStep::Solve(name) => {
            let Some(segmentation) = pipeline.segmentation(name) else { return Ok(Parts::default()) };
            let plans = match &segmentation.method {
                Method::KMeans(model) => {
                    let plans = compiled.kmeans(segmentation, model, solved)?;
                    std::iter::once(plans.features).chain(plans.first).collect()
                }
                Method::Lifecycle(lifecycle) => {
                    let any = Intervals { everybody: Some(1.0), ..Intervals::default() };
                    let returns = compiled.last_returns(segmentation, lifecycle, &any, solved)?;
                    std::iter::once(compiled.interval_sums(segmentation, lifecycle, solved)?).chain(returns).collect()
                }
                _ => compiled.rankings(segmentation, solved)?.into_iter().map(|r| r.histogram).collect(),
            };
            Parts { plans, text: format!("{segmentation:?}{:?}", compiled.kept(segmentation)), ..Parts::default() }
        }
        PlannedStep::Wave(name) => {
            let (Some(wave), Some(panel)) = (pipeline.wave(name), &pipeline.panel) else { return Ok(Parts::default()) };
            let mut plans = vec![compiled.waterfall(wave, solved)?.counts];
            for margin in wave.weights.iter().flat_map(|w| &w.rake) {
                plans.push(compiled.margin(wave, &margin.value, solved)?);
            }
            // The sample carries whatever outputs ask of the rows it is drawn from.
            let whole = vec![compiled.view(&panel.entity.value, solved)?];
            let text = format!("{panel:?}{wave:?}{}", key_fingerprint(&panel.numbers)?);
            Parts { plans, whole, text }
        }
        PlannedStep::Write(name) => {
            let Some(output) = pipeline.outputs.iter().find(|o| o.name.value == *name) else { return Ok(Parts::default()) };
            let key = output.export.pseudonym.as_ref().map(|p| Numbers::Env(p.key.clone()));
            let key = key.map_or(Ok(String::new()), |key| key_fingerprint(&key))?;
            let strictest: Vec<_> = pipeline.outputs.iter().map(|o| (&o.from, &o.export.min_cell)).collect();
            let before = if output.export.min_cell.is_some() { compiled.held_against() } else { "" };
            let text = format!("{output:?}{:?}{key}{strictest:?}{before}", compiled.cuts_to_keep(solved));
            Parts { plans: vec![compiled.output_plan(output, solved)?], text, ..Parts::default() }
        }
        PlannedStep::Commit => Parts::default(),
    })
}

/// What stands for a panel's secret key in the identity of a draw: another key draws other people. Nobody can tell the key from it, and
/// it is hashed once more with everything else. Errors: as the key's, where it has no value.
fn key_fingerprint(numbers: &Numbers) -> datafusion::common::Result<String> {
    let Numbers::Env(name) = numbers else { return Ok(String::new()) };
    let key = strata_operators::functions::key_bytes(&format!("env:{}", name.value))?;
    let mut hash = Sha256::new_with_prefix(b"strata panel key\x1f");
    hash.update(&key);
    Ok(hex(&hash.finalize()))
}

/// A table with the columns of `table` whose only file is named by what made it.
fn stand_in(table: &PinnedTable, made_by: Option<&String>) -> PinnedTable {
    let file = PinnedFile {
        path: made_by.cloned().unwrap_or_default(),
        size: 0,
        modified_us: 0,
        etag: None,
        rows: None,
        hive_values: vec![],
        columns: vec![],
    };
    PinnedTable { store: "work://".to_owned(), hive: 0, files: vec![file], ..table.clone() }
}

/// A text form of settings without the places in the pipeline file: moving a line changes nothing.
pub(crate) fn without_places(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, open, close)) = [("Span {", '}'), ("line_starts: [", ']')]
        .iter()
        .filter_map(|(open, close)| rest.find(open).map(|at| (at, *open, *close)))
        .min()
    {
        out.push_str(&rest[..at]);
        let after = &rest[at + open.len()..];
        rest = after.find(close).map_or("", |end| &after[end + 1..]);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_left_out_and_nothing_else() {
        let text = "Spanned { value: 5, span: Span { start: 3, end: 9 } }, Sql { text: \"a\", line_starts: [1, 2], span: Span { start: 1, end: 2 } }";
        assert_eq!(without_places(text), "Spanned { value: 5, span:  }, Sql { text: \"a\", , span:  }");
    }

    #[test]
    fn what_changed_is_named() {
        let map = |v: &[(&str, &str)]| v.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<BTreeMap<_, _>>();
        let before = map(&[("as_of", "1"), ("data of orders", "x")]);
        assert_eq!(changed(&before, &map(&[("as_of", "1"), ("data of orders", "y")])), "changed: data of orders");
        assert!(changed(&before, &before).starts_with("its definition"));
    }
}
