//! Counts of a wave of which small ones are not shown, nor what would tell them: within a table, between the tables of one wave, and against
//! what earlier waves published. Never shows a count of 1 to k − 1 people, nor one that is so many apart from an earlier wave's.
//!
//! Waterfall, burden and health divide the same people, the roster of each stratum, in several ways, so what one table must hide of a
//! stratum's total all of them hide. Each division is a table with its margins, for which `strata_models::disclosure` finds what to hide.

use super::counts::{Counts, ELIGIBLE, Figure, Hidden, OF_ROSTER, Part, Place};
use super::earlier::{Known, Untold, hide, known};
use crate::error::{Error, Result};
use crate::report::GuardReport;
use crate::run::Run;
use crate::solve::scalar;
use arrow::datatypes::Schema;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, ident};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use strata_plan::cells_of;
use strata_spec::Located;
use strata_spec::pipeline::{AllocateRule, Output, Rows, Sample, Select, Wave, WavePart};

/// What the counts of a wave are held against.
struct Held {
    strata: Vec<String>,
    /// Whether the pipeline says how many of each stratum are drawn, however many there are.
    is_stated: bool,
    k: u64,
    earlier: BTreeMap<String, Known>,
}

/// Counts of waves that were looked at, by wave: every output of a wave is cut from the same ones.
#[derive(Default)]
pub(crate) struct Counted {
    held: BTreeMap<String, Arc<Held>>,
    rosters: BTreeMap<String, Arc<Roster>>,
}

/// What the parts of a wave that divide its roster must not show.
struct Roster {
    /// The parts as they are.
    parts: BTreeMap<&'static str, Part>,
    hidden: Divisions,
    /// Strata, and whether everybody, whose people are not told.
    rows: BTreeSet<String>,
    total: bool,
    people: u64,
    /// Figures that are too near to those of an earlier wave.
    apart: u64,
}

/// The rows of an output of counts as readers may see them. Errors: as the step's; `Contract` for a table that is too large.
pub(super) async fn plan(run: &mut Run<'_>, step: &str, output: &Output) -> Result<(LogicalPlan, Option<GuardReport>)> {
    let pipeline = run.compiled.pipeline();
    let Rows::WavePart(name, part) = &output.from else {
        return Err(Error::Internal { step: step.to_owned(), message: "these rows are no counts".into() });
    };
    let Some(wave) = pipeline.wave(name.as_str()).cloned() else {
        return Err(Error::Internal { step: step.to_owned(), message: format!("there is no wave `{}`", name.value) });
    };
    let held = held(run, step, &wave).await?;
    // What the output itself selects has to be there.
    run.planned(step, run.compiled.output_plan(output, &run.solved))?;
    let (before, (shown, people, apart)) = match part {
        WavePart::Migration => {
            let mut shown = read(run, step, output, *part).await?;
            let before = present(&shown.rows);
            let (people, apart) = migration(step, &held, &wave, &mut shown)?;
            (before, (shown, people, apart))
        }
        _ => {
            let roster = roster(run, step, &held, output, &wave).await?;
            let whole = match roster.parts.get(part.name()) {
                Some(whole) => whole.clone(),
                None => read(run, step, output, *part).await?,
            };
            (present(&whole.rows), (roster.shown(&held, *part, whole), roster.people, roster.apart))
        }
    };
    let report = GuardReport {
        output: output.name.value.clone(),
        k: held.k,
        people,
        groups: shown.rows.len() as u64,
        hidden_cells: before - present(&shown.rows),
        held_against: held_against(run, &held),
        apart,
        ..GuardReport::default()
    };
    let plan = run.planned(step, run.compiled.given(&shown.schema, shown.rows))?;
    let columns: Vec<_> = selected(output, &shown.schema).into_iter().map(ident).collect();
    let plan = LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build);
    Ok((run.planned(step, plan)?, Some(report)))
}

/// What the counts of a wave are held against, looked up once a run.
async fn held(run: &mut Run<'_>, step: &str, wave: &Wave) -> Result<Arc<Held>> {
    if let Some(held) = run.counted.held.get(&wave.name.value) {
        return Ok(held.clone());
    }
    // The tables of a wave are held against one another, so the strictest of them counts.
    let of_wave = |o: &&Output| matches!(&o.from, Rows::WavePart(n, _) if n.value == wave.name.value);
    let same = run.compiled.pipeline().outputs.iter().filter(of_wave);
    let k = same.filter_map(|o| o.export.min_cell.as_ref()).map(|c| c.value).max().unwrap_or(1);
    let strata: Vec<String> = cells_of(wave).iter().map(|c| c.value.clone()).collect();
    let earlier = known(run, step, &strata).await?;
    let held = Arc::new(Held { strata, is_stated: is_stated(wave), k, earlier });
    run.counted.held.insert(wave.name.value.clone(), held.clone());
    Ok(held)
}

/// Whether a wave's allocation follows from what the pipeline says alone, as long as no stratum is too small for it.
fn is_stated(wave: &Wave) -> bool {
    let by = &wave.allocate.by;
    let stated =
        by.rule == AllocateRule::Fixed || by.rule == AllocateRule::Equal && matches!(wave.sample.value, Sample::Count(_));
    stated && by.budget.is_none() && wave.further.quotas.is_empty() && wave.further.strata.is_empty()
}

/// The earlier waves whose counts were looked at, each with its as-of.
fn held_against(run: &Run<'_>, held: &Held) -> Vec<(String, String)> {
    let known = run.before.iter().filter(|e| held.earlier.contains_key(&e.wave));
    known.map(|e| (e.wave.clone(), e.as_of.clone())).collect::<BTreeSet<_>>().into_iter().collect()
}

impl Held {
    /// What must not be told beside what is small.
    fn untold(&self, figures: &[Figure], tables: &BTreeMap<&'static str, Counts>) -> Untold {
        let mut out = Untold::new();
        self.earlier.values().for_each(|known| known.untold(figures, tables, self.k, &mut out));
        out
    }

    /// Divisions of one part.
    fn tables(&self, part: &Part, of: WavePart) -> BTreeMap<&'static str, Counts> {
        let mut out: BTreeMap<&'static str, Counts> = BTreeMap::new();
        for count in part.divisions(of, &self.strata) {
            if let Some(people) = count.people {
                out.entry(count.division).or_default().add(count.row, &count.column, people);
            }
        }
        out
    }
}

fn present(rows: &[Vec<datafusion::common::ScalarValue>]) -> u64 {
    rows.iter().flatten().filter(|v| !v.is_null()).count() as u64
}

/// The columns that an output selects.
fn selected(output: &Output, schema: &Schema) -> Vec<String> {
    let all = || schema.fields().iter().map(|f| f.name().clone());
    let of = |s: &Located<Select>| match &s.value {
        Select::All(_) => all().collect::<Vec<_>>(),
        Select::Column(name) => vec![name.clone()],
        _ => vec![],
    };
    let mut out: Vec<String> = vec![];
    output.select.iter().flat_map(of).for_each(|name| {
        if !out.contains(&name) {
            out.push(name)
        }
    });
    out
}

/// All rows and columns of a part, whatever the output selects.
async fn read(run: &mut Run<'_>, step: &str, output: &Output, part: WavePart) -> Result<Part> {
    let Rows::WavePart(name, _) = &output.from else {
        return Err(Error::Internal { step: step.to_owned(), message: "these rows are no counts".into() });
    };
    let select = vec![Located::new(Select::All("panel".to_owned()), output.name.span)];
    let whole = Output { from: Rows::WavePart(name.clone(), part), select, ..output.clone() };
    let plan = run.planned(step, run.compiled.output_plan(&whole, &run.solved))?;
    let schema = plan.schema().as_arrow().clone();
    let mut rows = vec![];
    for batch in &run.collect(step, plan).await? {
        for row in 0..batch.num_rows() {
            rows.push((0..batch.num_columns()).map(|c| scalar(batch, c, row)).collect::<Result<Vec<_>>>()?);
        }
    }
    Ok(Part { schema, rows })
}

fn migration(step: &str, held: &Held, wave: &Wave, shown: &mut Part) -> Result<(u64, u64)> {
    let tables = held.tables(shown, WavePart::Migration);
    let Some(counts) = tables.get("migration") else { return Ok((0, 0)) };
    let figures = shown.figures(WavePart::Migration, &held.strata);
    let mut untold = held.untold(&figures, &tables);
    let places = counts.places();
    // Those who were drawn before and are not here any more are so many as are missing.
    let after = wave.further.after.as_ref().and_then(|after| held.earlier.get(&after.value));
    for (stratum, drawn) in after.iter().flat_map(|known| &known.drawn) {
        let place: Place = (Some(stratum.clone()), None);
        let now = places.get(&place).copied().unwrap_or(0);
        if now > 0 && drawn.iter().any(|then| (1..held.k).contains(&now.abs_diff(*then))) {
            hide(&mut untold, "migration", vec![place]);
        }
    }
    let untold = untold.remove("migration").unwrap_or_default();
    let hidden = counts.hidden(step, held.k, &untold)?;
    let before: Vec<String> = held.strata.iter().map(|s| format!("before_{s}")).collect();
    for row in 0..shown.rows.len() {
        if hidden.has(&shown.text(row, &before), &shown.text(row, &held.strata)) {
            shown.hide(row, &["people"]);
        }
    }
    Ok((counts.people(), untold.len() as u64))
}

/// Divisions, by the names they have here.
type Divisions = BTreeMap<&'static str, Hidden>;

/// What the parts of a wave must not show, given everything that all of them show of the same people; found once a run.
async fn roster(run: &mut Run<'_>, step: &str, held: &Held, output: &Output, wave: &Wave) -> Result<Arc<Roster>> {
    if let Some(roster) = run.counted.rosters.get(&wave.name.value) {
        return Ok(roster.clone());
    }
    let fatigue = run.compiled.pipeline().panel.as_ref().and_then(|p| p.fatigue.clone());
    let published = |p: WavePart, run: &Run<'_>| {
        let outputs = &run.compiled.pipeline().outputs;
        outputs.iter().any(|o| matches!(&o.from, Rows::WavePart(n, of) if n.value == wave.name.value && *of == p))
    };
    let mut parts = vec![(WavePart::Waterfall, read(run, step, output, WavePart::Waterfall).await?)];
    if fatigue.as_ref().is_some_and(|f| f.burden.is_some()) && published(WavePart::Burden, run) {
        parts.push((WavePart::Burden, read(run, step, output, WavePart::Burden).await?));
    }
    for of in [WavePart::Health, WavePart::Allocation] {
        if published(of, run) {
            parts.push((of, read(run, step, output, of).await?));
        }
    }
    let mut tables: BTreeMap<&'static str, Counts> = BTreeMap::new();
    let mut figures = vec![];
    for (of, part) in &parts {
        tables.extend(held.tables(part, *of));
        if published(*of, run) {
            figures.extend(part.figures(*of, &held.strata));
        }
    }
    let mut untold = held.untold(&figures, &tables);
    for (_, health) in parts.iter().filter(|(of, _)| *of == WavePart::Health) {
        contacts(health, &held.strata, &untold, &mut tables);
    }
    let people = tables.get("waterfall").map_or(0, Counts::people);
    let apart = untold.values().flatten().collect::<BTreeSet<_>>().len() as u64;
    let hidden = together(step, held, &tables, &mut untold)?;
    let of_people = || hidden.iter().filter(|(d, _)| OF_ROSTER.contains(*d) || **d == "burden").map(|(_, h)| h);
    let rows: BTreeSet<String> = of_people().flat_map(|h| h.rows.iter().cloned()).collect();
    let total = of_people().any(|h| h.total);
    let parts = parts.into_iter().map(|(of, part)| (of.name(), part)).collect();
    let roster = Arc::new(Roster { parts, hidden, rows, total, people, apart });
    run.counted.rosters.insert(wave.name.value.clone(), roster.clone());
    Ok(roster)
}

impl Roster {
    /// A part without what it must not show.
    fn shown(&self, held: &Held, part: WavePart, mut whole: Part) -> Part {
        let (shown, strata) = (&mut whole, &held.strata);
        match part {
            WavePart::Waterfall => of_waterfall(shown, strata, &self.hidden, &self.rows),
            WavePart::Allocation => of_allocation(shown, strata, &self.hidden, &self.rows, held.is_stated),
            WavePart::Burden => of_burden(shown, strata, &self.hidden, &self.rows),
            WavePart::Health => of_health(shown, strata, &self.hidden, (&self.rows, self.total), held.k),
            WavePart::Eligibility | WavePart::Migration => {}
        }
        whole
    }
}

/// Contacts and answers as tables, where an earlier wave's are so near that some must not be told.
fn contacts(health: &Part, strata: &[String], untold: &Untold, tables: &mut BTreeMap<&'static str, Counts>) {
    for name in ["contacts", "answers"].into_iter().filter(|n| untold.contains_key(n)) {
        for row in (0..health.rows.len()).filter(|row| !health.is_all(*row, strata)) {
            let of = tables.entry(name).or_default();
            of.add(health.text(row, strata), name, health.count(row, name).unwrap_or(0));
        }
    }
}

/// What is not shown of each division, until what one hides of a sum that others have as well is hidden there too.
fn together(step: &str, held: &Held, tables: &BTreeMap<&'static str, Counts>, untold: &mut Untold) -> Result<Divisions> {
    let none = BTreeSet::new();
    let mut hidden = Divisions::new();
    // Divisions of which nothing more must not be told stay as they are.
    let mut anew: BTreeSet<&'static str> = tables.keys().copied().collect();
    loop {
        for (division, counts) in tables.iter().filter(|(d, _)| anew.contains(*d)) {
            hidden.insert(*division, counts.hidden(step, held.k, untold.get(division).unwrap_or(&none))?);
        }
        let before = untold.clone();
        for (division, h) in hidden.iter().filter(|(d, _)| OF_ROSTER.contains(*d)) {
            h.rows.iter().for_each(|r| hide(untold, division, vec![(Some(r.clone()), None)]));
            if h.total {
                hide(untold, division, vec![(None, None)]);
            }
            let (own, other) = match *division {
                "waterfall" => (ELIGIBLE, ("eligible", "inner")),
                "eligible" => ("inner", ("waterfall", ELIGIBLE)),
                _ => continue,
            };
            let cells = h.cells.iter().filter(|(_, c)| c == own).map(|(r, _)| Some(r.clone()));
            let margin = h.columns.contains(own).then_some(None);
            cells.chain(margin).for_each(|r| hide(untold, other.0, vec![(r, Some(other.1.to_owned()))]));
        }
        // It only grows, and no further than all places: in the end nothing is left to hand on.
        anew = tables.keys().copied().filter(|d| untold.get(d) != before.get(d)).collect();
        if anew.is_empty() {
            return Ok(hidden);
        }
    }
}

fn of_waterfall(shown: &mut Part, strata: &[String], hidden: &Divisions, rows: &BTreeSet<String>) {
    let gone = |part: &Part, row: usize| {
        let (stratum, rule) = (part.text(row, strata), part.word(row, "rule"));
        rows.contains(&stratum) || hidden.get("waterfall").is_some_and(|h| h.has(&stratum, &rule))
    };
    let of = |part: &Part, row: usize| part.text(row, strata);
    let all: Vec<(String, bool)> = (0..shown.rows.len()).map(|row| (of(shown, row), gone(shown, row))).collect();
    for row in 0..shown.rows.len() {
        let (stratum, is_gone) = &all[row];
        if *is_gone {
            shown.hide(row, &["people"]);
        }
        // What is left is the sum of what follows (the last row repeats itself).
        let last = all.get(row + 1).is_none_or(|(s, _)| s != stratum);
        let follows = all.iter().skip(if last { row } else { row + 1 }).take_while(|(s, _)| s == stratum);
        if follows.into_iter().any(|(_, gone)| *gone) {
            shown.hide(row, &["left"]);
        }
    }
}

fn of_allocation(shown: &mut Part, strata: &[String], hidden: &Divisions, rows: &BTreeSet<String>, is_stated: bool) {
    // Where a stratum gives all that it has, it and what the others give in its place tell how many that is.
    let is_all = |row: usize| {
        let of = |name: &str| shown.count(row, name).unwrap_or(0);
        of("drawn") + of("reserve") >= of("eligible") || of("wanted") >= of("eligible")
    };
    let follows = !is_stated || (0..shown.rows.len()).any(is_all);
    for row in 0..shown.rows.len() {
        let stratum = shown.text(row, strata);
        for name in ["wanted", "drawn", "reserve"] {
            if hidden.get(name).is_some_and(|h| h.has(&stratum, name)) {
                shown.hide(row, &[name]);
            }
        }
        let told = |division: &str, column: &str| hidden.get(division).is_some_and(|h| h.has(&stratum, column));
        if rows.contains(&stratum) || told("waterfall", ELIGIBLE) || told("eligible", "inner") {
            // How many are drawn follows from how many there are, unless the pipeline says it.
            shown.hide(row, if follows { &["eligible", "wanted", "drawn", "reserve"][..] } else { &["eligible"] });
        }
    }
}

fn of_burden(shown: &mut Part, strata: &[String], hidden: &Divisions, rows: &BTreeSet<String>) {
    for row in 0..shown.rows.len() {
        let (stratum, surveys) = (shown.text(row, strata), shown.word(row, "surveys"));
        if rows.contains(&stratum) || hidden.get("burden").is_some_and(|h| h.has(&stratum, &surveys)) {
            shown.hide(row, &["people"]);
        }
    }
}

fn of_health(shown: &mut Part, strata: &[String], hidden: &Divisions, (rows, total): (&BTreeSet<String>, bool), k: u64) {
    for row in 0..shown.rows.len() {
        let is_all = shown.is_all(row, strata);
        let stratum = shown.text(row, strata);
        let gone = |table: &str, column: &str| match (hidden.get(table), is_all) {
            (Some(h), true) => total || h.columns.contains(column),
            (Some(h), false) => rows.contains(&stratum) || h.has(&stratum, column),
            (None, _) => false,
        };
        let whole = if is_all { total } else { rows.contains(&stratum) } || shown.count(row, "members").unwrap_or(0) < k;
        let waterfall = hidden.get("waterfall").is_some_and(|h| !is_all && h.rows.contains(&stratum));
        let mut hide: Vec<&str> = vec![];
        if whole || waterfall {
            hide.extend(["members", "minutes", "coverage", "eligible"]);
        }
        if gone("eligible", "inner") || gone("eligible", "rest") {
            hide.extend(["eligible", "coverage"]);
        }
        if gone("asked", "inner") {
            hide.extend(["answered", "answers", "completion", "response"]);
        }
        if gone("asked", "rest") {
            hide.extend(["asked", "contacts", "completion", "response"]);
        }
        if gone("before", "inner") {
            hide.extend(["lost", "attrition"]);
        }
        if gone("before", "rest") {
            hide.extend(["members_before", "attrition"]);
        }
        if gone("minutes", "inner") {
            hide.push("burden_some");
        }
        if gone("minutes", "outer") {
            hide.push("burden_full");
        }
        if gone("minutes", "rest") {
            hide.extend(["burden_some", "burden_full"]);
        }
        for name in ["contacts", "answers"] {
            if gone(name, name) {
                hide.extend([name, "response"]);
            }
        }
        shown.hide(row, &hide);
    }
}
