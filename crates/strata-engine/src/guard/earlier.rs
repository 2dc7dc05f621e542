//! Counts of earlier waves, as they are published: where they are, and what they tell together with those of this wave. Never reads what was
//! published of a later as-of: a wave that is run again gives the same tables.

use super::counts::{Count, Counts, ELIGIBLE, Figure, OF_ROSTER, Part, Place};
use crate::error::{Error, Result};
use crate::journal::text_of;
use crate::published;
use crate::run::Run;
use crate::solve::scalar;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use strata_operators::pinned::PinnedTable;
use strata_plan::cells_of;
use strata_publish::{Manifest, PublishedTable, Version};
use strata_runtime::store::{self, Place as Folder};
use strata_spec::pipeline::{Output, Rows, WavePart};
use strata_spec::{Pipeline, SourceText};

/// Versions of one table that are looked through for a wave's, at most.
const VERSIONS_MAX: usize = 100;
/// Where the manifest of an output of counts says of which wave they are.
const COUNTS_OF: &str = "counts_of";

/// Counts that an earlier wave published.
#[derive(Debug, Clone)]
pub(crate) struct Earlier {
    pub(crate) wave: String,
    pub(crate) part: WavePart,
    pub(crate) as_of: String,
    pub(crate) table: PinnedTable,
}

/// What the manifest of an output of counts keeps.
pub(crate) fn kept(output: &Output) -> Option<(String, serde_json::Value)> {
    match &output.from {
        Rows::WavePart(wave, part) if *part != WavePart::Eligibility => Some((COUNTS_OF.to_owned(), wave.value.clone().into())),
        _ => None,
    }
}

/// Digest of what is held against the counts of this run.
pub(crate) fn digest(earlier: &[Earlier]) -> Result<String> {
    let mut hash = Sha256::new();
    for e in earlier {
        hash.update(format!("{}\u{1f}{}\u{1f}{}\u{1f}{}\u{1e}", e.wave, e.part.name(), e.as_of, text_of(&e.table)?));
    }
    Ok(if earlier.is_empty() { String::new() } else { crate::solved_wire::hex(&hash.finalize()) })
}

/// What waves of an earlier as-of published of their counts, where an output hides small counts of a wave: the newest version of each, at the
/// place that the same pipeline gives it when a variable names that wave. `vars` are the given variables. Errors: `Unavailable` where a store
/// does not answer, `Contract` for tables that are not read back.
pub(crate) async fn published_before(
    source: &SourceText,
    vars: &[(String, String)],
    pipeline: &Pipeline,
    as_of: DateTime<Utc>,
) -> Result<Vec<Earlier>> {
    let hides = |o: &Output| match &o.from {
        Rows::WavePart(wave, _) if o.export.min_cell.is_some() => Some(wave.value.clone()),
        _ => None,
    };
    let Some(own) = pipeline.outputs.iter().find_map(hides) else { return Ok(vec![]) };
    let waves: Vec<&str> = pipeline.panel.iter().flat_map(|p| &p.waves).map(|w| w.name.as_str()).collect();
    let at = waves.iter().position(|w| *w == own).unwrap_or(0);
    let strata = |name: &str| pipeline.wave(name).map(|w| cells_of(w).iter().map(|c| c.value.clone()).collect::<Vec<_>>());
    let mut out = vec![];
    for (other, name) in waves.iter().enumerate().filter(|(_, w)| **w != own && strata(w) == strata(&own)) {
        for (output, part) in outputs_of(source, vars, pipeline, &own, name) {
            let step = format!("counts of wave {name}");
            let Some((place, version, manifest)) = newest(&step, &output, name, as_of, other < at).await? else { continue };
            let table = published::table(&place.join(&version.folder), &manifest).map_err(|message| Error::Contract {
                step: step.clone(),
                message: format!("small counts are hidden against those of earlier waves, and {message}"),
                help: "publish counts as parquet, delta or csv, and the earlier wave's once more".into(),
            })?;
            out.push(Earlier { wave: (*name).to_owned(), part, as_of: version.as_of.clone(), table });
        }
    }
    Ok(out)
}

/// The outputs of counts that the pipeline has when the variable that names wave `own` names `other`.
fn outputs_of(
    source: &SourceText,
    vars: &[(String, String)],
    pipeline: &Pipeline,
    own: &str,
    other: &str,
) -> Vec<(Output, WavePart)> {
    let mut out: Vec<(Output, WavePart)> = vec![];
    for (variable, _) in pipeline.vars.iter().filter(|(_, value)| value == own) {
        let given = vars.iter().filter(|(k, _)| k != variable).cloned();
        let given: Vec<_> = given.chain([(variable.clone(), other.to_owned())]).collect();
        let loaded = strata_spec::load(source, &given);
        let Some(then) = loaded.pipeline.or(loaded.draft) else { continue };
        let allowed = crate::confine::outside(&then).is_empty();
        for output in then.outputs.into_iter().filter(|_| allowed) {
            let Rows::WavePart(name, part) = &output.from else { continue };
            if name.value == other && *part != WavePart::Eligibility && !out.iter().any(|(o, _)| o.to.value == output.to.value) {
                let part = *part;
                out.push((output, part));
            }
        }
    }
    out
}

/// The newest version of an output that holds counts of `wave` and is of an earlier as-of; or of the same, for a wave that comes first.
async fn newest(
    step: &str,
    output: &Output,
    wave: &str,
    as_of: DateTime<Utc>,
    comes_first: bool,
) -> Result<Option<(Folder, Version, Manifest)>> {
    let unread = |e| Error::of_publish(step, e);
    let failed = |e: store::Error| Error::Failed { step: step.to_owned(), message: format!("{e}\n  help: {}", e.help()) };
    let place = store::place(&output.to.value).map_err(failed)?;
    let table = PublishedTable::open(place.store.clone(), place.path.clone()).await.map_err(unread)?;
    let instant = |v: &Version| DateTime::parse_from_rfc3339(&v.as_of).ok();
    let is_before = |v: &Version| instant(v).is_some_and(|t| t < as_of || comes_first && t == as_of);
    let mut versions: Vec<Version> = table.versions().await.map_err(unread)?.into_iter().filter(is_before).collect();
    versions.sort_by_key(|v| (instant(v), v.seq));
    for version in versions.into_iter().rev().take(VERSIONS_MAX) {
        let manifest = table.manifest(&version).await.map_err(unread)?;
        let of = manifest.kept.get(COUNTS_OF).and_then(|v| v.as_str());
        if of.is_none_or(|of| of == wave) {
            return Ok(Some((place, version, manifest)));
        }
    }
    Ok(None)
}

/// What readers know of a wave.
#[derive(Default)]
pub(super) struct Known {
    figures: BTreeMap<(&'static str, String, &'static str), u64>,
    margins: BTreeMap<(&'static str, Place), u64>,
    /// Of each stratum: who was drawn, with and without the reserve.
    pub(super) drawn: BTreeMap<String, Vec<u64>>,
}

/// What must not be told of each division.
pub(super) type Untold = BTreeMap<&'static str, BTreeSet<Vec<Place>>>;

/// What readers know of each earlier wave.
pub(super) async fn known(run: &mut Run<'_>, step: &str, strata: &[String]) -> Result<BTreeMap<String, Known>> {
    let mut out: BTreeMap<String, Known> = BTreeMap::new();
    for earlier in run.before.clone() {
        let plan = run.planned(step, run.compiled.published_rows(&earlier.table))?;
        let schema = plan.schema().as_arrow().clone();
        let mut rows = vec![];
        for batch in &run.collect(step, plan).await? {
            for row in 0..batch.num_rows() {
                rows.push((0..batch.num_columns()).map(|c| scalar(batch, c, row)).collect::<Result<Vec<_>>>()?);
            }
        }
        let part = Part { schema, rows };
        // Counts whose strata the output left out cannot be held against these.
        if part.has(&keys(earlier.part, strata)) {
            out.entry(earlier.wave).or_default().learn(&part, earlier.part, strata);
        }
    }
    Ok(out)
}

/// Columns that say what a count of a part is of.
fn keys(part: WavePart, strata: &[String]) -> Vec<String> {
    let more: Vec<String> = match part {
        WavePart::Waterfall => vec!["rule".to_owned()],
        WavePart::Burden => vec!["surveys".to_owned()],
        WavePart::Health => vec!["scope".to_owned()],
        WavePart::Migration => strata.iter().map(|s| format!("before_{s}")).collect(),
        WavePart::Allocation | WavePart::Eligibility => vec![],
    };
    strata.iter().cloned().chain(more).collect()
}

/// Divisions of the same people have the same sums of their rows.
fn group(division: &'static str, (_, column): &Place) -> &'static str {
    if column.is_none() && OF_ROSTER.contains(&division) { "roster" } else { division }
}

impl Known {
    fn learn(&mut self, part: &Part, of: WavePart, strata: &[String]) {
        for f in part.figures(of, strata) {
            let Some(people) = f.people else { continue };
            if let [place] = &f.places[..] {
                self.margin(f.division, place.clone(), people);
            }
            self.figures.insert(f.key, people);
        }
        let mut sums: BTreeMap<(&'static str, Place), Option<u64>> = BTreeMap::new();
        for Count { division, row, column, people } in part.divisions(of, strata) {
            let places =
                [(Some(row.clone()), Some(column.clone())), (Some(row.clone()), None), (None, Some(column)), (None, None)];
            for place in places {
                let sum = sums.entry((division, place)).or_insert(Some(0));
                *sum = sum.zip(people).map(|(a, b)| a + b);
            }
        }
        for ((division, place), people) in sums {
            if let Some(people) = people {
                self.margin(division, place, people);
            }
        }
        for row in (0..part.rows.len()).filter(|_| of == WavePart::Allocation) {
            let (drawn, reserve) = (part.count(row, "drawn"), part.count(row, "reserve"));
            let both = drawn.into_iter().chain(drawn.zip(reserve).map(|(d, r)| d + r));
            self.drawn.entry(part.text(row, strata)).or_default().extend(both);
        }
    }

    /// Keeps what is known of a place; who is eligible stands in two divisions.
    fn margin(&mut self, division: &'static str, place: Place, people: u64) {
        self.margins.insert((group(division, &place), place.clone()), people);
        match (division, &place.1) {
            ("waterfall", Some(c)) if c == ELIGIBLE => {
                self.margins.insert(("eligible", (place.0, Some("inner".to_owned()))), people);
            }
            ("eligible", Some(c)) if c == "inner" => {
                self.margins.insert(("waterfall", (place.0, Some(ELIGIBLE.to_owned()))), people);
            }
            _ => {}
        }
    }

    /// Adds to `untold` what the counts of this wave tell together with those of this earlier one: differences of 1 to k − 1 people.
    pub(super) fn untold(&self, figures: &[Figure], tables: &BTreeMap<&'static str, Counts>, k: u64, untold: &mut Untold) {
        let small = |a: u64, b: Option<&u64>| b.is_some_and(|b| (1..k).contains(&a.abs_diff(*b)));
        for f in figures {
            if f.people.is_some_and(|a| small(a, self.figures.get(&f.key))) {
                hide(untold, f.division, f.places.clone());
            }
        }
        for (division, counts) in tables {
            let (rows, columns) = counts.names();
            let people = counts.places();
            let rows: Vec<Option<String>> = rows.into_iter().map(Some).chain([None]).collect();
            let columns: Vec<Option<String>> = columns.into_iter().map(Some).chain([None]).collect();
            for place in rows.iter().flat_map(|r| columns.iter().map(move |c| (r.clone(), c.clone()))) {
                if small(people.get(&place).copied().unwrap_or(0), self.margins.get(&(group(division, &place), place.clone()))) {
                    hide(untold, division, vec![place]);
                }
            }
        }
    }
}

/// What is not told of one division of the roster's rows is told by none.
pub(super) fn hide(untold: &mut Untold, division: &'static str, places: Vec<Place>) {
    let all = match &places[..] {
        [(_, None)] if OF_ROSTER.contains(&division) => &OF_ROSTER[..],
        _ => &[division],
    };
    all.iter().for_each(|d| {
        untold.entry(d).or_default().insert(places.clone());
    });
}
