//! `rfm@1` as expressions over the rows of an entity: three scores, their cell and its name. Never solves a cut.

use crate::Compiled;
use crate::catalog::KeptCuts;
use crate::expr::{Grain, Planner, double};
use crate::scope::Scope;
use crate::segments::{Boundary, string_concat, tile};
use crate::solved::Solved;
use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, case, cast, lit, when};
use strata_models::rfm::name_of;
use strata_spec::Sql;
use strata_spec::pipeline::{Method, RecencyOrder, Rfm, RfmMode, Segmentation};

/// Where a segmentation's columns are computed.
pub(crate) struct People<'a> {
    /// The segmentation.
    pub(crate) name: &'a str,
    /// The entity key.
    pub(crate) key: &'a str,
    pub(crate) schema: &'a DFSchema,
    pub(crate) scope: &'a Scope,
    /// Who takes part.
    pub(crate) member: Expr,
}

impl Compiled<'_> {
    /// Tells the compiler which cuts were published, by `<segmentation>@<name>`.
    pub fn keep(&mut self, cuts: std::collections::BTreeMap<String, KeptCuts>) {
        self.catalog.kept = cuts;
    }

    /// Every published cut.
    pub fn all_kept(&self) -> &std::collections::BTreeMap<String, KeptCuts> {
        &self.catalog.kept
    }

    /// The published cuts that a frozen RFM scores at; `None` where it has to solve them.
    pub fn kept(&self, segmentation: &Segmentation) -> Option<&KeptCuts> {
        frozen_name(segmentation).and_then(|name| self.catalog.kept.get(&name))
    }

    /// The cuts of every frozen RFM, as they are to be published with this run's outputs: what was published before stays.
    pub fn cuts_to_keep(&self, solved: &Solved) -> std::collections::BTreeMap<String, KeptCuts> {
        let mut out = self.catalog.kept.clone();
        for segmentation in &self.pipeline.segments {
            let (Some(name), Method::Rfm(rfm)) = (frozen_name(segmentation), &segmentation.method) else { continue };
            let of = |part: &str| solved.cuts.get(&format!("{}.{part}", segmentation.name.value));
            if let (Some(r), Some(f), Some(m)) = (of("r"), of("f"), of("m")) {
                out.entry(name).or_insert_with(|| {
                    let [r, f, m] = [r, f, m].map(|cuts| cuts.iter().filter_map(|b| number(&b.value)).collect());
                    KeptCuts { of: texts(rfm), bins: rfm.bins, r, f, m }
                });
            }
        }
        out
    }
}

/// Under which name the cuts of a frozen RFM are published.
pub(crate) fn frozen_name(segmentation: &Segmentation) -> Option<String> {
    match &segmentation.method {
        Method::Rfm(rfm) => match &*rfm.mode {
            RfmMode::Frozen(name) => Some(format!("{}@{}", segmentation.name.value, name.value)),
            _ => None,
        },
        _ => None,
    }
}

/// What is scored, as written: cuts are of the same only if this is the same.
pub(crate) fn texts(rfm: &Rfm) -> [String; 3] {
    [&rfm.recency, &rfm.frequency, &rfm.monetary].map(|sql| sql.text.trim().to_owned())
}

impl KeptCuts {
    /// Whether they can score `rfm`: cut for the same expressions and number of groups.
    pub fn fits(&self, rfm: &Rfm) -> bool {
        self.bins == rfm.bins && self.of == texts(rfm)
    }

    /// As solved cuts of a segmentation.
    pub fn solved(&self, segmentation: &str) -> Vec<(String, Vec<Boundary>)> {
        let cuts = |of: &[f64]| of.iter().map(|v| Boundary { value: ScalarValue::Float64(Some(*v)), key: None }).collect();
        [("r", &self.r), ("f", &self.f), ("m", &self.m)].map(|(part, of)| (format!("{segmentation}.{part}"), cuts(of))).into()
    }
}

fn number(value: &ScalarValue) -> Option<f64> {
    match value {
        ScalarValue::Float64(v) => *v,
        _ => None,
    }
}

/// Score of recency, frequency and money, the cell, and the named segment where it is asked for. Null where a value is null;
/// outside `where` what `others` says.
pub(crate) fn columns(planner: &Planner, people: &People, rfm: &Rfm, solved: &Solved) -> Option<Vec<Expr>> {
    let [r, f, m] = scores(planner, people, rfm, solved)?;
    let text = |e: &Expr| cast(e.clone(), DataType::Utf8);
    let cell = string_concat(string_concat(text(&r), text(&f)), text(&m));
    let others = rfm.others.as_ref();
    let number = |v: Option<i32>| lit(ScalarValue::Int32(v));
    let within = |value: Expr, other: Expr| when(people.member.clone(), value).otherwise(other).ok();
    let words = |v: Option<String>| lit(ScalarValue::Utf8(v));
    let mut out = vec![
        within(r.clone(), number(others.map(|o| o.r)))?.alias(&rfm.columns.r.value),
        within(f.clone(), number(others.map(|o| o.f)))?.alias(&rfm.columns.f.value),
        within(m.clone(), number(others.map(|o| o.m)))?.alias(&rfm.columns.m.value),
        within(cell, words(others.map(|o| o.cell.clone())))?.alias(&rfm.columns.cell.value),
    ];
    if let Some(column) = &rfm.columns.segment {
        let other = others.and_then(|o| o.segment.clone());
        out.push(within(named(r, f, m)?, words(other))?.alias(&column.value));
    }
    Some(out)
}

/// The scores, the highest the best.
fn scores(planner: &Planner, people: &People, rfm: &Rfm, solved: &Solved) -> Option<[Expr; 3]> {
    let value = |sql: &Sql| planner.expr(sql, people.schema, people.scope, Grain::Row);
    let number = |sql: &Sql| {
        let typed = double(value(sql)?, people.schema);
        typed.map_err(|e| planner.report(crate::expr::explain(sql, &e))).ok()
    };
    let cuts = |part: &str| solved.cuts.get(&format!("{}.{part}", people.name));
    let reversed = |groups: usize, group: Expr| lit(groups as i32 + 1) - group;
    match &*rfm.mode {
        RfmMode::Ntile => {
            let part = |part: &str, sql: &Sql, descending| Some(tile(&value(sql)?, people.key, cuts(part)?, descending));
            let descending = rfm.r_order == RecencyOrder::Descending;
            let r = part("r", &rfm.recency, descending)?;
            let r = if descending { r } else { reversed(rfm.bins as usize, r) };
            Some([r, part("f", &rfm.frequency, false)?, part("m", &rfm.monetary, false)?])
        }
        RfmMode::Edges | RfmMode::Frozen(_) => {
            let part = |part: &str, sql: &Sql| Some(tile(&number(sql)?, people.key, cuts(part)?, false));
            let r = reversed(cuts("r")?.len() + 1, part("r", &rfm.recency)?);
            Some([r, part("f", &rfm.frequency)?, part("m", &rfm.monetary)?])
        }
        RfmMode::Fixed(fixed) => {
            let r = number(&rfm.recency)?;
            let r = reversed(rfm.bins as usize, counted(&fixed.r, |cut| r.clone().gt(cut)));
            let (f, m) = (number(&rfm.frequency)?, number(&rfm.monetary)?);
            let reached = |value: Expr, cuts: &[f64]| counted(cuts, |cut| value.clone().gt_eq(cut));
            Some([r, reached(f, &fixed.f), reached(m, &fixed.m)])
        }
    }
}

/// 1 + the number of cuts that `is_beyond` says the row is beyond.
fn counted(cuts: &[f64], is_beyond: impl Fn(Expr) -> Expr) -> Expr {
    cuts.iter().fold(lit(1i32), |all, cut| all + cast(is_beyond(lit(*cut)), DataType::Int32))
}

/// The name of (R, FM), FM = ⌈(F + M) / 2⌉.
fn named(r: Expr, f: Expr, m: Expr) -> Option<Expr> {
    let fm = (f + m + lit(1i32)) / lit(2i32);
    let mut cells = (1..=5u8).flat_map(|r| (1..=5u8).map(move |fm| (r, fm))).filter_map(|(r, fm)| Some((r, fm, name_of(r, fm)?)));
    let code = |r: u8, fm: u8| lit(i32::from(r) * 10 + i32::from(fm));
    let (first_r, first_fm, first) = cells.next()?;
    let mut named = case(r * lit(10i32) + fm).when(code(first_r, first_fm), lit(first));
    for (r, fm, name) in cells {
        named = named.when(code(r, fm), lit(name));
    }
    named.end().ok()
}
