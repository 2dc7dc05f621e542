//! From the people invited to weights of those who answered: non-response cells, then margins. Never gives weights that miss a
//! margin.

use super::fieldwork::{Disposition, Person};
use super::{CellReport, ReturnReport, Weighed, broken};
use crate::error::Result;
use crate::panel::raking::{self, Population};
use crate::panel::{contract, label};
use datafusion::common::ScalarValue;
use std::collections::{BTreeMap, BTreeSet};
use strata_models::calibrate::{self, Distance, Limits, Problem, Total};
use strata_models::rake::{self, Cell, Raked};
use strata_models::weights::{Collapse, Options, ResponseCell, Unknown, adjust};
use strata_spec::pipeline::wave::{Calibrate, CalibrateDistance, Nonresponse};
use strata_spec::pipeline::{Absent, Wave, Weights};

/// Weighs those who answered. Errors: `Contract` where nobody did, a value is missing, a cell breaks a rule, or no weights meet
/// the margins.
pub(super) fn weigh(
    step: &str,
    wave: &Wave,
    weights: &Weights,
    population: &Population,
    people: Vec<Person>,
    report: &mut ReturnReport,
) -> Result<Vec<Weighed>> {
    let answered = people.iter().filter(|p| p.disposition == Disposition::Complete).count();
    if answered == 0 {
        let message = format!("none of the {} people invited for `{}` answered", people.len(), wave.name.value);
        return Err(broken(step, message, "give the file when the first answers are in"));
    }
    report.response_rate = rate(&people);
    let factors = factors(step, weights.nonresponse.as_ref(), &people, report)?;
    report.margins = weights.rake.iter().map(|m| m.value.clone()).collect();
    let mut answers: Vec<(Person, f64)> =
        people.into_iter().zip(factors).filter(|(p, _)| p.disposition == Disposition::Complete).collect();
    let mut codes = answers.iter().map(|(p, _)| codes(step, weights, population, p)).collect::<Result<Vec<_>>>()?;
    let present: Vec<BTreeSet<u32>> = (0..weights.rake.len()).map(|m| codes.iter().map(|c| c[m]).collect()).collect();
    let joined = raking::joined(weights, &population.margins, &present);
    for code in codes.iter_mut().flat_map(|c| c.iter_mut().zip(&joined.codes)) {
        *code.0 = code.1.get(*code.0 as usize).copied().unwrap_or(*code.0);
    }
    report.joined = joined.said;
    let population = &Population { levels: population.levels.clone(), margins: joined.margins };
    let groups = groups(&answers, &codes);
    let final_weights = match &weights.calibrate {
        None => raked(step, weights, population, &groups, report)?,
        Some(calibrate) => calibrated(step, weights, calibrate, population, &groups, report)?,
    };
    let mut out: Vec<Option<Weighed>> = answers.iter().map(|_| None).collect();
    for (group, weight) in groups.iter().zip(&final_weights) {
        for &at in &group.rows {
            let (person, factor) = &mut answers[at];
            out[at] = Some(Weighed {
                key: std::mem::take(&mut person.key),
                stratum: std::mem::take(&mut person.stratum),
                by: std::mem::take(&mut person.by),
                base_weight: person.base,
                nonresponse_factor: *factor,
                weight: *weight,
                values: std::mem::take(&mut person.values),
            });
        }
    }
    let diagnostics = rake::weight_diagnostics(groups.iter().zip(&final_weights).map(|(g, w)| (*w, g.rows.len() as u64)));
    if let Some(d) = diagnostics {
        (report.sum, report.min, report.max, report.deff, report.ess) = (d.sum, d.min, d.max, d.deff, d.ess);
    }
    Ok(out.into_iter().flatten().collect())
}

/// Answers over the eligible, by design weights.
fn rate(people: &[Person]) -> Option<f64> {
    let sum = |of: &dyn Fn(&Person) -> bool| {
        let mut sum = strata_models::exact::Sum::new();
        people.iter().filter(|p| of(p)).for_each(|p| sum.add(p.base));
        sum.value()
    };
    let eligible = sum(&|p| p.disposition != Disposition::Ineligible);
    (eligible > 0.0).then(|| sum(&|p| p.disposition == Disposition::Complete) / eligible)
}

/// What each person's answer stands for besides itself, of those who did not answer in its cell.
fn factors(step: &str, nonresponse: Option<&Nonresponse>, people: &[Person], report: &mut ReturnReport) -> Result<Vec<f64>> {
    let Some(rules) = nonresponse else { return Ok(vec![1.0; people.len()]) };
    for (at, column) in rules.cells.iter().enumerate() {
        let missing = people.iter().filter(|p| p.cells[at].is_null()).count();
        if missing > 0 {
            let message = format!(
                "{missing} of {} people invited have no `{}`, a column of the non-response cells",
                people.len(),
                column.value
            );
            return Err(broken(step, message, "give it a value, e.g. `coalesce(…, 'unknown')`"));
        }
    }
    let mut levels: Vec<Vec<&ScalarValue>> = vec![vec![]; rules.cells.len()];
    for (at, of) in levels.iter_mut().enumerate() {
        of.extend(people.iter().map(|p| &p.cells[at]));
        of.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        of.dedup();
    }
    let path = |p: &Person| -> Vec<u32> {
        p.cells.iter().zip(&levels).map(|(v, l)| l.iter().position(|x| *x == v).unwrap_or(0) as u32).collect()
    };
    let mut by_path: BTreeMap<Vec<u32>, Vec<usize>> = BTreeMap::new();
    people.iter().enumerate().for_each(|(i, p)| by_path.entry(path(p)).or_default().push(i));
    let cells: Vec<ResponseCell> = by_path.iter().map(|(path, rows)| response_cell(path, rows, people)).collect();
    let options = Options {
        factor_max: rules.factor_max,
        respondents_min: rules.answers_min,
        unknown: if rules.unknown_are_eligible { Unknown::Eligible } else { Unknown::AsKnown },
        collapse: if rules.joins_neighbours { Collapse::Neighbours } else { Collapse::Error },
    };
    let adjusted = adjust(&cells, &options).map_err(|e| contract(step, &e))?;
    if adjusted.groups < cells.len() {
        let text = format!("{} of {} non-response cells were joined with neighbours", cells.len() - adjusted.groups, cells.len());
        report.warnings.push(text);
    }
    let mut out = vec![1.0; people.len()];
    for ((cell, adjustment), rows) in cells.iter().zip(&adjusted.cells).zip(by_path.values()) {
        rows.iter().for_each(|&i| out[i] = adjustment.respondents);
        report.cells.push(CellReport {
            cell: cell.name.clone(),
            invited: rows.len() as u64,
            answers: cell.respondent_rows,
            factor: adjustment.respondents,
            group: adjustment.group,
        });
    }
    Ok(out)
}

fn response_cell(path: &[u32], rows: &[usize], people: &[Person]) -> ResponseCell {
    let sum = |of: &[Disposition]| {
        let mut sum = strata_models::exact::Sum::new();
        rows.iter().filter(|&&i| of.contains(&people[i].disposition)).for_each(|&i| sum.add(people[i].base));
        sum.value()
    };
    ResponseCell {
        name: rows.first().map(|&i| label(&people[i].cells)).unwrap_or_default(),
        path: path.to_vec(),
        respondents: sum(&[Disposition::Complete]),
        respondent_rows: rows.iter().filter(|&&i| people[i].disposition == Disposition::Complete).count() as u64,
        nonrespondents: sum(&[Disposition::Refused, Disposition::NoAnswer]),
        ineligible: sum(&[Disposition::Ineligible]),
        unknown: sum(&[Disposition::Unknown]),
    }
}

/// The level of a person in each margin.
fn codes(step: &str, weights: &Weights, population: &Population, person: &Person) -> Result<Vec<u32>> {
    let each = person.margins.iter().zip(&population.levels).zip(&weights.rake);
    let code = |((value, levels), margin): ((&ScalarValue, &Vec<ScalarValue>), &strata_spec::Name)| {
        levels.iter().position(|l| l == value).map(|at| at as u32).ok_or_else(|| {
            let shown = if value.is_null() { "no value".to_owned() } else { format!("`{}`", crate::panel::text(value)) };
            let message = format!("an answer has {shown} in `{}`, and nobody of the population has", margin.value);
            broken(step, message, "widen `population:`, or give the column a value for everybody")
        })
    };
    each.map(code).collect()
}

/// Answers of the same levels and weight.
struct Group {
    codes: Vec<u32>,
    weight: f64,
    rows: Vec<usize>,
}

fn groups(answers: &[(Person, f64)], codes: &[Vec<u32>]) -> Vec<Group> {
    let mut found: BTreeMap<(&Vec<u32>, u64), Vec<usize>> = BTreeMap::new();
    for (at, ((person, factor), codes)) in answers.iter().zip(codes).enumerate() {
        // Weights are above 0, so their bits sort as they do.
        found.entry((codes, (person.base * factor).to_bits())).or_default().push(at);
    }
    found.into_iter().map(|((codes, bits), rows)| Group { codes: codes.clone(), weight: f64::from_bits(bits), rows }).collect()
}

fn raked(
    step: &str,
    weights: &Weights,
    population: &Population,
    groups: &[Group],
    report: &mut ReturnReport,
) -> Result<Vec<f64>> {
    let cells: Vec<Cell> = groups
        .iter()
        .map(|g| Cell {
            codes: g.codes.iter().map(|c| Some(*c)).collect(),
            weight: g.weight * g.rows.len() as f64,
            rows: g.rows.len() as u64,
        })
        .collect();
    let options = raking::options(weights);
    let free = rake::rake(&population.margins, &cells, &options).map_err(|e| contract(step, &e))?;
    if weights.report.iter().any(|r| r.value == "cap_curve") {
        report.caps = raking::cap_curve(step, (&population.margins, &cells, &options), &free)?;
    }
    report.method = "raked".to_owned();
    let raked: Raked = match weights.cap {
        None => free,
        Some(cap) => {
            report.method = format!("raked within {cap} times the median weight");
            let limits = Limits { weight_max: cap * raking::median(&cells, &free), ..Limits::default() };
            rake::rake_within(&population.margins, &cells, &options, &limits).map_err(|e| contract(step, &e))?
        }
    };
    (report.iterations, report.converged, report.worst) = (raked.iterations, raked.converged, raked.relative_difference_max);
    report.dropped =
        raked.dropped.iter().map(|d| format!("{} = {} ({} in the population)", d.margin, d.level, d.target)).collect();
    Ok(groups.iter().zip(&raked.factors).map(|(g, f)| g.weight * f).collect())
}

/// GREG, raking or logit distances to the same margins: a constant, and every level of a margin but one.
fn calibrated(
    step: &str,
    weights: &Weights,
    how: &Calibrate,
    population: &Population,
    groups: &[Group],
    report: &mut ReturnReport,
) -> Result<Vec<f64>> {
    let everybody: f64 = population.margins.first().map_or(0.0, |m| m.levels.iter().filter_map(|l| l.target).sum());
    let mut totals = vec![Total { name: "everybody".to_owned(), value: everybody }];
    let mut columns: Vec<(usize, u32)> = vec![];
    for (m, margin) in population.margins.iter().enumerate() {
        for (code, level) in margin.levels.iter().enumerate() {
            let answers: usize = groups.iter().filter(|g| g.codes[m] == code as u32).map(|g| g.rows.len()).sum();
            let target = level.target.unwrap_or(0.0);
            if answers == 0 && weights.absent != Absent::DropAndRescale {
                let message =
                    format!("`{}` = `{}`: {target} in the population, and nobody who answered", margin.name, level.name);
                return Err(broken(step, message, "join levels that few people have, or leave the margin out"));
            }
            if answers == 0 {
                report.dropped.push(format!("{} = {} ({target} in the population)", margin.name, level.name));
            } else if code > 0 {
                totals.push(Total { name: format!("{} = {}", margin.name, level.name), value: target });
                columns.push((m, code as u32));
            }
        }
    }
    let row = |g: &Group| {
        std::iter::once(1.0).chain(columns.iter().map(|(m, c)| f64::from(u8::from(g.codes[*m] == *c)))).collect::<Vec<_>>()
    };
    let measures: Vec<f64> = groups.iter().flat_map(row).collect();
    let base: Vec<f64> = groups.iter().map(|g| g.weight * g.rows.len() as f64).collect();
    let distance = match how.distance {
        CalibrateDistance::Linear => Distance::Linear,
        CalibrateDistance::Raking => Distance::Raking,
        CalibrateDistance::Logit => Distance::Logit,
    };
    let limits = Limits {
        ratio_min: how.ratio_min.unwrap_or(f64::NEG_INFINITY),
        ratio_max: how.ratio_max.unwrap_or(f64::INFINITY),
        ..Limits::default()
    };
    // Weights of the draw are scaled to everybody first, so that limits on ratios are of that.
    let sum: f64 = base.iter().sum();
    let scaled: Vec<f64> = base.iter().map(|w| w * everybody / sum).collect();
    let problem = Problem {
        totals: &totals,
        measures: &measures,
        weights: &scaled,
        distance,
        limits,
        tolerance: weights.tolerance,
        iterations_max: weights.max_iterations,
    };
    let found = calibrate::calibrate(&problem).map_err(|e| contract(step, &e))?;
    let word = match how.distance {
        CalibrateDistance::Linear => "linear",
        CalibrateDistance::Raking => "raking",
        CalibrateDistance::Logit => "logit",
    };
    report.method = format!("calibrated ({word})");
    (report.iterations, report.converged, report.worst) = (found.iterations, true, found.relative_difference_max);
    if found.at_limits != (0, 0) {
        let (low, high) = found.at_limits;
        report.warnings.push(format!("{low} groups of answers are at the least ratio, {high} at the greatest"));
    }
    Ok(found.weights.iter().zip(groups).map(|(w, g)| w / g.rows.len() as f64).collect())
}
