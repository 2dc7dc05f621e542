//! Counts of a wave's parts: as rows, as divisions of people with their margins, and as the figures that readers see. Never decides what two
//! waves tell together.

use crate::error::{Error, Result};
use arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use std::collections::{BTreeMap, BTreeSet};
use strata_models::disclosure::{Status, Table, suppress_also};
use strata_spec::pipeline::WavePart;

/// Cells of a table that are looked at, at most.
const CELLS_MAX: usize = 40_000;
/// The rule of a waterfall that says who is left.
pub(super) const ELIGIBLE: &str = "eligible";
/// Divisions of the roster of each stratum: their rows have the same sums.
pub(super) const OF_ROSTER: [&str; 5] = ["waterfall", "eligible", "asked", "before", "minutes"];

/// A part of a wave as it is.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) schema: Schema,
    pub(super) rows: Vec<Vec<ScalarValue>>,
}

/// A count's place in a division: row and column; `None` is the margin.
pub(super) type Place = (Option<String>, Option<String>);

/// Counts of people by row and column.
#[derive(Default)]
pub(super) struct Counts {
    cells: BTreeMap<(String, String), u64>,
}

/// What is not shown of a table.
#[derive(Default, Clone, PartialEq)]
pub(super) struct Hidden {
    pub(super) cells: BTreeSet<(String, String)>,
    pub(super) rows: BTreeSet<String>,
    pub(super) columns: BTreeSet<String>,
    pub(super) total: bool,
}

/// A count of a division.
pub(super) struct Count {
    pub(super) division: &'static str,
    pub(super) row: String,
    pub(super) column: String,
    /// None where it is not known.
    pub(super) people: Option<u64>,
}

/// A count that readers see.
pub(super) struct Figure {
    /// What it counts, the same in every wave: part, row, column.
    pub(super) key: (&'static str, String, &'static str),
    pub(super) division: &'static str,
    /// What it is the sum of.
    pub(super) places: Vec<Place>,
    /// None where it is not shown.
    pub(super) people: Option<u64>,
}

impl Part {
    fn place(&self, name: &str) -> usize {
        self.schema.index_of(name).unwrap_or(usize::MAX)
    }

    /// Whether it has all columns of `names`.
    pub(super) fn has(&self, names: &[String]) -> bool {
        names.iter().all(|n| self.schema.index_of(n).is_ok())
    }

    pub(super) fn count(&self, row: usize, name: &str) -> Option<u64> {
        match self.rows.get(row)?.get(self.place(name))? {
            ScalarValue::Int64(Some(n)) => u64::try_from(*n).ok(),
            _ => None,
        }
    }

    /// Values of a row as one text.
    pub(super) fn text(&self, row: usize, names: &[String]) -> String {
        let of =
            |name: &String| self.rows.get(row).and_then(|r| r.get(self.place(name))).map_or(String::new(), crate::panel::text);
        names.iter().map(of).collect::<Vec<_>>().join(" · ")
    }

    pub(super) fn word(&self, row: usize, name: &str) -> String {
        self.text(row, &[name.to_owned()])
    }

    pub(super) fn hide(&mut self, row: usize, names: &[&str]) {
        for name in names {
            let at = self.place(name);
            if let Some(value) = self.rows.get_mut(row).and_then(|r| r.get_mut(at)) {
                *value = ScalarValue::try_from(value.data_type()).unwrap_or(ScalarValue::Null);
            }
        }
    }

    /// Whether a row of health is that of everybody.
    pub(super) fn is_all(&self, row: usize, strata: &[String]) -> bool {
        !strata.is_empty() && self.word(row, "scope") == "all"
    }

    /// Its counts as divisions of people.
    pub(super) fn divisions(&self, part: WavePart, strata: &[String]) -> Vec<Count> {
        let mut out = vec![];
        for row in 0..self.rows.len() {
            let stratum = self.text(row, strata);
            let of = |name: &str| self.count(row, name);
            let mut add = |division: &'static str, column: &str, people: Option<u64>| {
                out.push(Count { division, row: stratum.clone(), column: column.to_owned(), people });
            };
            match part {
                WavePart::Waterfall => add("waterfall", &self.word(row, "rule"), of("people")),
                WavePart::Burden => add("burden", &self.word(row, "surveys"), of("people")),
                WavePart::Migration => {
                    let before: Vec<String> = strata.iter().map(|s| format!("before_{s}")).collect();
                    let row = self.text(row, &before);
                    out.push(Count { division: "migration", row, column: stratum, people: of("people") });
                }
                WavePart::Allocation => {
                    ["wanted", "drawn", "reserve"].into_iter().for_each(|name| add(name, name, of(name)));
                }
                WavePart::Health if self.is_all(row, strata) => {}
                WavePart::Health => {
                    let of_two = [
                        ("eligible", of("eligible"), of("eligible")),
                        ("asked", of("answered"), of("asked")),
                        ("before", of("lost"), of("members_before")),
                    ];
                    let less = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a.saturating_sub(b));
                    for (name, inner, outer) in of_two {
                        add(name, "inner", inner);
                        add(name, "outer", less(outer, inner));
                        add(name, "rest", less(of("members"), outer));
                    }
                    let (some, full) = (of("burden_some"), of("burden_full"));
                    add("minutes", "inner", some);
                    add("minutes", "outer", full);
                    add("minutes", "rest", less(of("members"), some.zip(full).map(|(a, b)| a + b)));
                }
                WavePart::Eligibility => {}
            }
        }
        out
    }

    /// The counts that its readers see.
    pub(super) fn figures(&self, part: WavePart, strata: &[String]) -> Vec<Figure> {
        let mut out = vec![];
        for row in 0..self.rows.len() {
            let stratum = (!self.is_all(row, strata) || part != WavePart::Health).then(|| self.text(row, strata));
            let own = stratum.clone().unwrap_or_else(|| "all".to_owned());
            let mut add = |label: &str, name: &'static str, division: &'static str, columns: &[Option<&str>]| {
                let places = columns.iter().map(|c| (stratum.clone(), c.map(str::to_owned))).collect();
                let key = (part.name(), format!("{own}\u{1f}{label}"), name);
                out.push(Figure { key, division, places, people: self.count(row, name) });
            };
            match part {
                WavePart::Waterfall => {
                    let rule = self.word(row, "rule");
                    add(&rule, "people", "waterfall", &[Some(&rule)]);
                    let rest: Vec<String> = self.after(row, strata);
                    add(&rule, "left", "waterfall", &rest.iter().map(|r| Some(r.as_str())).collect::<Vec<_>>());
                }
                WavePart::Burden => {
                    let surveys = self.word(row, "surveys");
                    add(&surveys, "people", "burden", &[Some(&surveys)]);
                }
                WavePart::Migration => {
                    let before: Vec<String> = strata.iter().map(|s| format!("before_{s}")).collect();
                    let places = vec![(Some(self.text(row, &before)), Some(own.clone()))];
                    let key = (part.name(), format!("{}\u{1f}{own}", self.text(row, &before)), "people");
                    out.push(Figure { key, division: "migration", places, people: self.count(row, "people") });
                }
                WavePart::Allocation => {
                    add("", "eligible", "waterfall", &[Some(ELIGIBLE)]);
                    ["wanted", "drawn", "reserve"].into_iter().for_each(|name| add("", name, name, &[Some(name)]));
                }
                WavePart::Health => {
                    add("", "members", "waterfall", &[None]);
                    add("", "eligible", "eligible", &[Some("inner")]);
                    add("", "asked", "asked", &[Some("inner"), Some("outer")]);
                    add("", "answered", "asked", &[Some("inner")]);
                    add("", "members_before", "before", &[Some("inner"), Some("outer")]);
                    add("", "lost", "before", &[Some("inner")]);
                    add("", "burden_some", "minutes", &[Some("inner")]);
                    add("", "burden_full", "minutes", &[Some("outer")]);
                    add("", "contacts", "contacts", &[Some("contacts")]);
                    add("", "answers", "answers", &[Some("answers")]);
                }
                WavePart::Eligibility => {}
            }
        }
        out
    }

    /// The rules of a waterfall behind that of a row, in its stratum; the last row counts itself.
    fn after(&self, row: usize, strata: &[String]) -> Vec<String> {
        let stratum = self.text(row, strata);
        let follows = (row + 1..self.rows.len()).take_while(|r| self.text(*r, strata) == stratum);
        let out: Vec<String> = follows.map(|r| self.word(r, "rule")).collect();
        if out.is_empty() { vec![self.word(row, "rule")] } else { out }
    }
}

impl Counts {
    pub(super) fn add(&mut self, row: String, column: &str, people: u64) {
        *self.cells.entry((row, column.to_owned())).or_default() += people;
    }

    pub(super) fn people(&self) -> u64 {
        self.cells.values().sum()
    }

    /// People of every place that has some; of a margin all that it sums up.
    pub(super) fn places(&self) -> BTreeMap<Place, u64> {
        let mut out = BTreeMap::new();
        for ((row, column), people) in &self.cells {
            let (row, column) = (Some(row.clone()), Some(column.clone()));
            for place in [(row.clone(), column.clone()), (row, None), (None, column), (None, None)] {
                *out.entry(place).or_insert(0) += people;
            }
        }
        out
    }

    /// Rows, then columns.
    pub(super) fn names(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        (self.cells.keys().map(|(r, _)| r.clone()).collect(), self.cells.keys().map(|(_, c)| c.clone()).collect())
    }

    /// What is not shown where counts below `k` are not to be told, nor the sums of `untold`. Errors: `Contract` for a table that is too large.
    pub(super) fn hidden(&self, step: &str, k: u64, untold: &BTreeSet<Vec<Place>>) -> Result<Hidden> {
        let (rows, columns) = self.names();
        let (rows, columns): (Vec<String>, Vec<String>) = (rows.into_iter().collect(), columns.into_iter().collect());
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
        let at = |names: &[String], name: &Option<String>| match name {
            Some(name) => names.binary_search(name).ok(),
            None => Some(names.len()),
        };
        let place = |(r, c): &Place| Some((at(&rows, r)?, at(&columns, c)?));
        let untold: Vec<Vec<(usize, usize)>> = untold.iter().map(|of| of.iter().filter_map(place).collect()).collect();
        let found = suppress_also(&Table { rows: rows.len(), columns: columns.len(), counts }, k, &untold);
        let found = found.map_err(|e| crate::panel::contract(step, &e))?;
        let gone = |s: &Status| *s != Status::Published;
        let mut out = Hidden { total: gone(&found.total), ..Hidden::default() };
        for (r, row) in rows.iter().enumerate() {
            for (c, column) in columns.iter().enumerate() {
                if gone(&found.cells[r * columns.len() + c]) {
                    out.cells.insert((row.clone(), column.clone()));
                }
            }
            if gone(&found.row_totals[r]) {
                out.rows.insert(row.clone());
            }
        }
        out.columns = columns.into_iter().zip(&found.column_totals).filter(|(_, s)| gone(s)).map(|(c, _)| c).collect();
        Ok(out)
    }
}

impl Hidden {
    pub(super) fn has(&self, row: &str, column: &str) -> bool {
        self.cells.contains(&(row.to_owned(), column.to_owned()))
    }
}
