//! Counts of a wave of which small ones are not shown, nor what would tell them: within a table, and between the tables of one wave. Never
//! shows a count of 1 to k − 1 people.
//!
//! Waterfall, burden and health divide the same people, the roster of each stratum, in several ways, so what one table must hide of a
//! stratum's total all of them hide. Each division is a table with its margins, for which `strata_models::disclosure` finds what to hide.

use crate::error::{Error, Result};
use crate::report::GuardReport;
use crate::run::Run;
use crate::solve::scalar;
use arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, ident};
use std::collections::{BTreeMap, BTreeSet};
use strata_models::disclosure::{Status, Table, suppress};
use strata_plan::cells_of;
use strata_spec::Located;
use strata_spec::pipeline::{Output, Rows, Select, Wave, WavePart};

/// Cells of a table that are looked at, at most.
const CELLS_MAX: usize = 4_000;

/// A part of a wave as it is.
struct Part {
    schema: Schema,
    rows: Vec<Vec<ScalarValue>>,
}

/// Counts of people by row and column.
#[derive(Default)]
struct Counts {
    cells: BTreeMap<(String, String), u64>,
}

/// What is not shown of a table.
#[derive(Default)]
struct Hidden {
    cells: BTreeSet<(String, String)>,
    rows: BTreeSet<String>,
    columns: BTreeSet<String>,
    total: bool,
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
    // The tables of a wave are held against one another, so the strictest of them counts.
    let same = pipeline.outputs.iter().filter(|o| matches!(&o.from, Rows::WavePart(n, _) if n.value == name.value));
    let k = same.filter_map(|o| o.export.min_cell.as_ref()).map(|c| c.value).max().unwrap_or(1);
    let mut shown = read(run, step, output, *part).await?;
    let strata = cells_of(&wave).len();
    let before = present(&shown.rows);
    let people = match part {
        WavePart::Migration => migration(step, &mut shown, strata, k)?,
        _ => of_roster(run, step, output, &wave, *part, &mut shown, k).await?,
    };
    let report = GuardReport {
        output: output.name.value.clone(),
        k,
        people,
        groups: shown.rows.len() as u64,
        hidden_cells: before - present(&shown.rows),
        ..GuardReport::default()
    };
    let plan = run.planned(step, run.compiled.given(&shown.schema, shown.rows))?;
    let columns: Vec<_> = selected(output, &shown.schema).into_iter().map(ident).collect();
    let plan = LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build);
    Ok((run.planned(step, plan)?, Some(report)))
}

fn present(rows: &[Vec<ScalarValue>]) -> u64 {
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
    // What the output itself selects has to be there as well.
    run.planned(step, run.compiled.output_plan(output, &run.solved))?;
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

impl Part {
    fn place(&self, name: &str) -> usize {
        self.schema.index_of(name).unwrap_or(usize::MAX)
    }

    fn count(&self, row: usize, name: &str) -> Option<u64> {
        match self.rows.get(row)?.get(self.place(name))? {
            ScalarValue::Int64(Some(n)) => u64::try_from(*n).ok(),
            _ => None,
        }
    }

    fn text(&self, row: usize, from: usize, to: usize) -> String {
        self.rows.get(row).map_or(String::new(), |r| r[from..to].iter().map(crate::panel::text).collect::<Vec<_>>().join(" · "))
    }

    fn hide(&mut self, row: usize, names: &[&str]) {
        for name in names {
            let at = self.place(name);
            if let Some(value) = self.rows.get_mut(row).and_then(|r| r.get_mut(at)) {
                *value = ScalarValue::try_from(value.data_type()).unwrap_or(ScalarValue::Null);
            }
        }
    }
}

impl Counts {
    fn add(&mut self, row: String, column: &str, people: u64) {
        *self.cells.entry((row, column.to_owned())).or_default() += people;
    }

    fn people(&self) -> u64 {
        self.cells.values().sum()
    }

    fn hidden(&self, step: &str, k: u64) -> Result<Hidden> {
        let rows: BTreeSet<&String> = self.cells.keys().map(|(r, _)| r).collect();
        let columns: BTreeSet<&String> = self.cells.keys().map(|(_, c)| c).collect();
        let (rows, columns): (Vec<&String>, Vec<&String>) = (rows.into_iter().collect(), columns.into_iter().collect());
        if rows.is_empty() {
            return Ok(Hidden::default());
        }
        if rows.len() * columns.len() > CELLS_MAX {
            return Err(Error::Contract {
                step: step.to_owned(),
                message: format!("a table of {} by {} counts is too large for `min_cell`", rows.len(), columns.len()),
                help: "use fewer strata, or leave the output out".into(),
            });
        }
        let count = |r: &String, c: &String| self.cells.get(&(r.clone(), c.clone())).copied().unwrap_or(0);
        let counts = rows.iter().flat_map(|r| columns.iter().map(|c| count(r, c))).collect();
        let found = suppress(&Table { rows: rows.len(), columns: columns.len(), counts }, k);
        let found = found.map_err(|e| crate::panel::contract(step, &e))?;
        let gone = |s: &Status| *s != Status::Published;
        let mut out = Hidden { total: gone(&found.total), ..Hidden::default() };
        for (r, row) in rows.iter().enumerate() {
            for (c, column) in columns.iter().enumerate() {
                if gone(&found.cells[r * columns.len() + c]) {
                    out.cells.insert(((*row).clone(), (*column).clone()));
                }
            }
            if gone(&found.row_totals[r]) {
                out.rows.insert((*row).clone());
            }
        }
        out.columns = columns.iter().zip(&found.column_totals).filter(|(_, s)| gone(s)).map(|(c, _)| (*c).clone()).collect();
        Ok(out)
    }
}

impl Hidden {
    fn has(&self, row: &str, column: &str) -> bool {
        self.cells.contains(&(row.to_owned(), column.to_owned()))
    }
}

fn migration(step: &str, shown: &mut Part, strata: usize, k: u64) -> Result<u64> {
    let mut counts = Counts::default();
    for row in 0..shown.rows.len() {
        counts.add(shown.text(row, 0, strata), &shown.text(row, strata, 2 * strata), shown.count(row, "people").unwrap_or(0));
    }
    let hidden = counts.hidden(step, k)?;
    for row in 0..shown.rows.len() {
        if hidden.has(&shown.text(row, 0, strata), &shown.text(row, strata, 2 * strata)) {
            shown.hide(row, &["people"]);
        }
    }
    Ok(counts.people())
}

/// Divisions of the roster, by the names they have here.
type Divisions = BTreeMap<&'static str, Hidden>;

/// Hides what a part must not show, given everything that the parts of the wave show of the same people.
async fn of_roster(
    run: &mut Run<'_>,
    step: &str,
    output: &Output,
    wave: &Wave,
    part: WavePart,
    shown: &mut Part,
    k: u64,
) -> Result<u64> {
    let strata = cells_of(wave).len();
    let fatigue = run.compiled.pipeline().panel.as_ref().and_then(|p| p.fatigue.clone());
    let waterfall = read(run, step, output, WavePart::Waterfall).await?;
    let mut tables: BTreeMap<&'static str, Counts> = BTreeMap::new();
    for row in 0..waterfall.rows.len() {
        let (stratum, rule) = (waterfall.text(row, 0, strata), waterfall.text(row, strata, strata + 1));
        tables.entry("waterfall").or_default().add(stratum, &rule, waterfall.count(row, "people").unwrap_or(0));
    }
    let published = |p: WavePart, run: &Run<'_>| {
        let outputs = run.compiled.pipeline().outputs.iter();
        outputs.filter(|o| matches!(&o.from, Rows::WavePart(n, of) if n.value == wave.name.value && *of == p)).count() > 0
    };
    if fatigue.as_ref().is_some_and(|f| f.burden.is_some()) && published(WavePart::Burden, run) {
        let burden = read(run, step, output, WavePart::Burden).await?;
        for row in 0..burden.rows.len() {
            let surveys = burden.text(row, strata, strata + 1);
            tables.entry("burden").or_default().add(
                burden.text(row, 0, strata),
                &surveys,
                burden.count(row, "people").unwrap_or(0),
            );
        }
    }
    if published(WavePart::Health, run) {
        let health = read(run, step, output, WavePart::Health).await?;
        divide(&health, strata, &mut tables);
    }
    let people = tables.get("waterfall").map_or(0, Counts::people);
    let hidden: Divisions = tables.iter().map(|(n, t)| Ok((*n, t.hidden(step, k)?))).collect::<Result<_>>()?;
    let rows: BTreeSet<String> = hidden.values().flat_map(|h| h.rows.iter().cloned()).collect();
    let total = hidden.values().any(|h| h.total);
    match part {
        WavePart::Waterfall => of_waterfall(shown, strata, &hidden, &rows),
        WavePart::Allocation => of_allocation(step, shown, &waterfall, strata, (&hidden, &rows), k)?,
        WavePart::Burden => of_burden(shown, strata, &hidden, &rows),
        WavePart::Health => of_health(shown, strata, &hidden, (&rows, total), k),
        WavePart::Eligibility | WavePart::Migration => {}
    }
    Ok(people)
}

/// The divisions of the roster that health shows: by what it counts, what does not, and the rest.
fn divide(health: &Part, strata: usize, tables: &mut BTreeMap<&'static str, Counts>) {
    for row in 0..health.rows.len() {
        if health.text(row, 0, 1) == "all" && strata > 0 {
            continue;
        }
        let stratum = health.text(row, 1, 1 + strata);
        let of = |name: &str| health.count(row, name);
        let Some(members) = of("members") else { continue };
        let divisions = [
            ("eligible", of("eligible"), of("eligible")),
            ("asked", of("answered"), of("asked")),
            ("before", of("lost"), of("members_before")),
        ];
        for (name, inner, outer) in divisions {
            let (Some(inner), Some(outer)) = (inner, outer) else { continue };
            let table = tables.entry(name).or_default();
            table.add(stratum.clone(), "inner", inner);
            table.add(stratum.clone(), "outer", outer.saturating_sub(inner));
            table.add(stratum.clone(), "rest", members.saturating_sub(outer));
        }
        if let (Some(some), Some(full)) = (of("burden_some"), of("burden_full")) {
            let table = tables.entry("minutes").or_default();
            table.add(stratum.clone(), "inner", some);
            table.add(stratum.clone(), "outer", full);
            table.add(stratum.clone(), "rest", members.saturating_sub(some + full));
        }
    }
}

fn of_waterfall(shown: &mut Part, strata: usize, hidden: &Divisions, rows: &BTreeSet<String>) {
    let gone = |part: &Part, row: usize| {
        let (stratum, rule) = (part.text(row, 0, strata), part.text(row, strata, strata + 1));
        rows.contains(&stratum) || hidden.get("waterfall").is_some_and(|h| h.has(&stratum, &rule))
    };
    let of = |part: &Part, row: usize| part.text(row, 0, strata);
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

fn of_allocation(
    step: &str,
    shown: &mut Part,
    waterfall: &Part,
    strata: usize,
    (hidden, rows): (&Divisions, &BTreeSet<String>),
    k: u64,
) -> Result<()> {
    let last = (0..waterfall.rows.len()).filter(|r| waterfall.text(*r, strata + 1, strata + 2) == "eligible");
    let eligible: BTreeMap<String, String> =
        last.map(|r| (waterfall.text(r, 0, strata), waterfall.text(r, strata, strata + 1))).collect();
    for name in ["wanted", "drawn", "reserve"] {
        let mut counts = Counts::default();
        (0..shown.rows.len()).for_each(|row| counts.add(shown.text(row, 0, strata), name, shown.count(row, name).unwrap_or(0)));
        let of = counts.hidden(step, k)?;
        for row in 0..shown.rows.len() {
            if of.has(&shown.text(row, 0, strata), name) {
                shown.hide(row, &[name]);
            }
        }
    }
    for row in 0..shown.rows.len() {
        let stratum = shown.text(row, 0, strata);
        let told = |h: &Hidden| eligible.get(&stratum).is_some_and(|rule| h.has(&stratum, rule));
        let elsewhere = hidden.get("eligible").is_some_and(|h| h.has(&stratum, "inner"));
        if rows.contains(&stratum) || hidden.get("waterfall").is_some_and(told) || elsewhere {
            // How many are drawn follows from how many there are.
            shown.hide(row, &["eligible", "wanted", "drawn", "reserve"]);
        }
    }
    Ok(())
}

fn of_burden(shown: &mut Part, strata: usize, hidden: &Divisions, rows: &BTreeSet<String>) {
    for row in 0..shown.rows.len() {
        let (stratum, surveys) = (shown.text(row, 0, strata), shown.text(row, strata, strata + 1));
        if rows.contains(&stratum) || hidden.get("burden").is_some_and(|h| h.has(&stratum, &surveys)) {
            shown.hide(row, &["people"]);
        }
    }
}

fn of_health(shown: &mut Part, strata: usize, hidden: &Divisions, (rows, total): (&BTreeSet<String>, bool), k: u64) {
    for row in 0..shown.rows.len() {
        let is_all = shown.text(row, 0, 1) == "all" && strata > 0;
        let stratum = shown.text(row, 1, 1 + strata);
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
        shown.hide(row, &hide);
    }
}
