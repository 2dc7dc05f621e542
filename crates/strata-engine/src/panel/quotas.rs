//! Quotas: how many of each cell fill them all, or why that cannot be. Never fills a quota with people who are not eligible.

use super::{Stratum, allocation, broken, contract, text};
use crate::error::Result;
use crate::report::{QuotaReport, WaveReport};
use crate::run::Run;
use strata_models::allocate::largest_remainder;
use strata_models::quota::{self, Cell, Clash, Level, Margin, Outcome};
use strata_plan::{Allocation, cells_of};
use strata_spec::pipeline::wave::{Quota, Target};
use strata_spec::pipeline::{Sample, Wave};

/// Allocates a wave over the cells of its quotas. Errors: `Contract` if no people fill them, naming the smallest set of quotas
/// that clash
/// and the nearest that could be filled; within the tolerances the nearest are taken.
pub(super) fn fill(
    run: &mut Run<'_>,
    step: &str,
    wave: &Wave,
    strata: &[Stratum],
    base: u64,
    report: &mut WaveReport,
) -> Result<Vec<Allocation>> {
    report.asked = match wave.sample.value {
        Sample::Count(n) => n,
        Sample::PartsPerMillion(ppm) => (u128::from(base) * u128::from(ppm) / 1_000_000) as u64,
    };
    let quotas = &wave.further.quotas;
    let margins = quotas.iter().map(|q| margin(step, q, report.asked)).collect::<Result<Vec<_>>>()?;
    let (cells, places) = cells(wave, strata);
    named(step, quotas, strata, wave)?;
    let outside: u64 = strata.iter().zip(&places).filter(|(_, p)| p.is_none()).map(|(s, _)| s.eligible).sum();
    if outside > 0 {
        run.note(format!("{step}: {outside} eligible members are in no quota cell, and are not drawn"));
    }
    let plan = match quota::plan(&margins, &cells).map_err(|e| contract(step, &e))? {
        Outcome::Filled(plan) => plan,
        Outcome::Clash(clash) => {
            if !is_within(quotas, &margins, &clash, report.asked) {
                return Err(broken(step, clash.describe(), &nearest(&margins, &clash)));
            }
            run.note(format!("{step}: {}; quotas moved by {} people, within their tolerances", clash.describe(), clash.moved));
            clash.plan
        }
    };
    let wanted: Vec<u64> = places.iter().map(|p| p.map_or(0, |at| plan.rows[at])).collect();
    report.quotas = filled(&margins, &cells, &plan.rows);
    allocation::finished(run, step, wave, strata, &wanted, report)
}

fn name(levels: &[String]) -> String {
    levels.join(", ")
}

/// Targets in people; shares of the sample by largest remainder.
fn margin(step: &str, quota: &Quota, sample: u64) -> Result<Margin> {
    let columns = quota.columns.iter().map(|c| c.value.as_str()).collect::<Vec<_>>().join(", ");
    let shares: Vec<u64> =
        quota.cells.iter().filter_map(|(_, t)| if let Sample::PartsPerMillion(p) = t.of { Some(p) } else { None }).collect();
    if !shares.is_empty() && shares.len() < quota.cells.len() {
        let message = format!("the quota of `{columns}` has both shares and numbers of people");
        return Err(broken(step, message, "write all of them as shares, or all as numbers"));
    }
    let targets = match shares.is_empty() {
        true => quota.cells.iter().map(|(_, t)| if let Sample::Count(n) = t.of { n } else { 0 }).collect(),
        false => {
            let sum: u64 = shares.iter().sum();
            if sum != 1_000_000 {
                let message = format!("the shares of the quota of `{columns}` add up to {}%", sum as f64 / 1e4);
                return Err(broken(step, message, "make them add up to 100%"));
            }
            let weights: Vec<f64> = shares.iter().map(|s| *s as f64).collect();
            largest_remainder(&weights, sample).map_err(|e| contract(step, &e))?
        }
    };
    let total: u64 = targets.iter().sum();
    if total != sample {
        let message = format!("the quota of `{columns}` asks for {total} people, the sample is {sample}");
        return Err(broken(step, message, "make the numbers of every quota add up to `sample`"));
    }
    let levels = quota.cells.iter().zip(targets).map(|((levels, _), target)| Level { name: name(levels), target });
    Ok(Margin { name: columns, levels: levels.collect() })
}

/// The strata that lie in a cell of every quota, and the place of each stratum among them.
fn cells(wave: &Wave, strata: &[Stratum]) -> (Vec<Cell>, Vec<Option<usize>>) {
    let columns = cells_of(wave);
    let mut cells = vec![];
    let mut places = vec![];
    for stratum in strata {
        let values: Vec<String> = stratum.values.iter().map(text).collect();
        let code = |q: &Quota| {
            let own: Option<Vec<&String>> =
                q.columns.iter().map(|c| columns.iter().position(|n| n.value == c.value).and_then(|at| values.get(at))).collect();
            let own = own?;
            q.cells.iter().position(|(levels, _)| levels.iter().eq(own.iter().copied())).map(|at| at as u32)
        };
        let has_all = !stratum.values.iter().any(datafusion::common::ScalarValue::is_null);
        let codes: Option<Vec<u32>> = wave.further.quotas.iter().map(code).collect();
        places.push(codes.filter(|_| has_all).map(|codes| {
            cells.push(Cell { codes, supply: stratum.eligible });
            cells.len() - 1
        }));
    }
    (cells, places)
}

/// Errors: `Contract` for a level that a quota wants people of and that no eligible member has, with the levels there are.
fn named(step: &str, quotas: &[Quota], strata: &[Stratum], wave: &Wave) -> Result<()> {
    let columns = cells_of(wave);
    for quota in quotas {
        for (at, column) in quota.columns.iter().enumerate() {
            let Some(place) = columns.iter().position(|n| n.value == column.value) else { continue };
            let mut known: Vec<String> =
                strata.iter().filter(|s| !s.values[place].is_null()).map(|s| text(&s.values[place])).collect();
            known.sort_unstable();
            known.dedup();
            for (levels, target) in &quota.cells {
                let wanted = !matches!(target.of, Sample::Count(0));
                if wanted && !known.contains(&levels[at]) {
                    let near = strata_spec::diagnostic::did_you_mean(&levels[at], known.iter().map(String::as_str));
                    let help = near.map_or_else(
                        || format!("eligible members have: {}", known.iter().take(20).cloned().collect::<Vec<_>>().join(", ")),
                        |n| format!("did you mean `{n}`?"),
                    );
                    let message = format!(
                        "the quota wants people with `{}` = `{}`, and no eligible member has that",
                        column.value, levels[at]
                    );
                    return Err(broken(step, message, &help));
                }
            }
        }
    }
    Ok(())
}

/// Whether the nearest quotas that can be filled are as near as their tolerances allow.
fn is_within(quotas: &[Quota], margins: &[Margin], clash: &Clash, sample: u64) -> bool {
    let mut all = quotas.iter().zip(margins).zip(&clash.nearest);
    let near = |((quota, margin), nearest): ((&Quota, &Margin), &Vec<u64>)| {
        let mut each = quota.cells.iter().zip(&margin.levels).zip(nearest);
        each.all(|(((_, target), level), n)| level.target.abs_diff(*n) <= tolerance(target, sample))
    };
    clash.plan.total == sample && all.all(near)
}

/// How far a quota may be missed, in people.
fn tolerance(target: &Target, sample: u64) -> u64 {
    match target.of {
        Sample::Count(_) => target.tolerance,
        Sample::PartsPerMillion(_) => (u128::from(sample) * u128::from(target.tolerance) / 1_000_000) as u64,
    }
}

/// What to do about a clash: the quotas that could be filled.
pub(super) fn nearest(margins: &[Margin], clash: &Clash) -> String {
    let mut changes = vec![];
    for (margin, nearest) in margins.iter().zip(&clash.nearest) {
        for (level, n) in margin.levels.iter().zip(nearest).filter(|(l, n)| l.target != **n) {
            changes.push(format!("`{}` = `{}`: {} instead of {}", margin.name, level.name, n, level.target));
        }
    }
    format!("the nearest quotas that can be filled ({} people moved): {}", clash.moved, changes.join("; "))
}

/// What the report says of each quota.
pub(super) fn filled(margins: &[Margin], cells: &[Cell], rows: &[u64]) -> Vec<QuotaReport> {
    let mut out = vec![];
    for (at, margin) in margins.iter().enumerate() {
        for (code, level) in margin.levels.iter().enumerate() {
            let of_level = cells.iter().zip(rows).filter(|(c, _)| c.codes.get(at) == Some(&(code as u32)));
            let (supply, planned) = of_level.fold((0, 0), |(s, p), (cell, rows)| (s + cell.supply, p + rows));
            out.push(QuotaReport {
                quota: margin.name.clone(),
                level: level.name.clone(),
                target: level.target,
                eligible: supply,
                planned,
            });
        }
    }
    out
}
