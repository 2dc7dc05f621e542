//! Raking of a drawn wave: margins of the population, cells of the sample, factors. Never moves a weight over its cap.

use super::cells::{Cells, Sample};
use super::{contract, text};
use crate::error::{Error, Result};
use crate::report::{CapReport, WeightReport};
use crate::run::Run;
use crate::solve::{integer, scalar};
use datafusion::common::ScalarValue;
use std::collections::{BTreeMap, BTreeSet};
use strata_models::calibrate::Limits;
use strata_models::rake::{self, Cell, Level, Margin, NotConverged, Options, Raked, Totals};
use strata_models::weights::Excess;
use strata_plan::Factors;
use strata_plan::weighing::CellBy;
use strata_spec::pipeline::{Absent, ScaleTo, Wave, Weights};

/// The margins of a wave's population.
pub(crate) struct Population {
    /// Values of each margin's levels.
    pub(crate) levels: Vec<Vec<ScalarValue>>,
    /// Targets.
    pub(crate) margins: Vec<Margin>,
}

/// Counts the population of every margin. Errors: `Contract` for people without a value.
pub(crate) async fn population(run: &mut Run<'_>, step: &str, wave: &Wave, weights: &Weights) -> Result<Population> {
    let mut levels: Vec<Vec<ScalarValue>> = vec![];
    let mut margins = vec![];
    for margin in &weights.rake {
        let plan = run.planned(step, run.compiled.margin(wave, &margin.value, &run.solved))?;
        let found = run.collect(step, plan).await?;
        let (mut values, mut targets) = (vec![], vec![]);
        for batch in &found {
            for row in 0..batch.num_rows() {
                let (value, rows) = (scalar(batch, 0, row)?, integer(std::slice::from_ref(batch), 1, row));
                if value.is_null() {
                    return Err(Error::Contract {
                        step: step.to_owned(),
                        message: format!("{rows} of the population have no `{}`, so its targets are not known", margin.value),
                        help: "give it a value, e.g. `coalesce(…, 'unknown')`, or leave them out with `population:`".into(),
                    });
                }
                targets.push(Level { name: text(&value), target: Some(rows as f64) });
                values.push(value);
            }
        }
        levels.push(values);
        margins.push(Margin { name: margin.value.clone(), levels: targets });
    }
    Ok(Population { levels, margins })
}

/// Weights the drawn people of a wave; gives what the report says of it.
pub(super) async fn rake_sample(run: &mut Run<'_>, step: &str, wave: &Wave, weights: &Weights) -> Result<WeightReport> {
    let Population { levels, margins } = population(run, step, wave, weights).await?;
    let (m, capped) = (weights.rake.len(), weights.cap.is_some());
    let mut by = run.planned(step, run.compiled.cells_by(wave, &levels))?;
    let Sample { mut cells, keys, weights: of_cells } = loop {
        // A cap is on the weight of a row: rows of different weights are cells of their own.
        let plan = if capped { run.compiled.design_weights(wave, &by) } else { run.compiled.cell_weights(wave, &by) };
        let plan = run.planned(step, plan)?;
        let found = run.collect(step, plan).await?;
        let cells = Cells { levels: &levels, by: &by };
        match if capped { cells.by_weight(&found)? } else { cells.of_weights(&found)? } {
            Some(sample) => break sample,
            // Somebody has a value that nobody of the population has: the columns say which.
            None => by = CellBy::Columns(weights.rake.iter().map(|r| r.value.clone()).collect()),
        }
    };
    let present = (0..m).map(|j| cells.iter().filter_map(|c| c.codes[j]).collect()).collect::<Vec<BTreeSet<u32>>>();
    let Joined { margins, codes, said: joined } = joined(weights, &margins, &present);
    for cell in &mut cells {
        cell.codes.iter_mut().zip(&codes).for_each(|(code, new)| *code = code.and_then(|c| new.get(c as usize).copied()));
    }
    let options = options(weights);
    let free = rake::rake(&margins, &cells, &options).map_err(|e| contract(step, &e))?;
    let caps = match weights.report.iter().any(|r| r.value == "cap_curve") {
        true => cap_curve(step, (&margins, &cells, &options), &free)?,
        false => vec![],
    };
    let raked = match weights.cap {
        None => free,
        Some(cap) => {
            let limits = Limits { weight_max: cap * median(&cells, &free), ..Limits::default() };
            rake::rake_within(&margins, &cells, &options, &limits).map_err(|e| contract(step, &e))?
        }
    };
    let diagnostics = match capped {
        true => rake::weight_diagnostics(cells.iter().zip(&raked.factors).map(|(c, f)| (c.weight / c.rows as f64 * f, c.rows))),
        false => rake::factored_diagnostics(of_cells.iter().zip(raked.factors.iter().copied())),
    };
    let factors = keys.into_iter().zip(&raked.factors).map(|(cell, factor)| Factors { cell, factor: *factor }).collect();
    run.solved.factors.insert(wave.name.value.clone(), factors);
    if !raked.converged {
        run.note(format!(
            "{step}: raking did not converge in {} iterations; `{}` = {} is still {:.2} % off; the weights are kept because the pipeline says `not_converged: keep`",
            raked.iterations, raked.worst.margin, raked.worst.level, 100.0 * raked.relative_difference_max
        ));
    }
    Ok(WeightReport {
        rake: weights.rake.iter().map(|r| r.value.clone()).collect(),
        iterations: raked.iterations,
        converged: raked.converged,
        worst: raked.relative_difference_max,
        sum: diagnostics.as_ref().map_or(0.0, |d| d.sum),
        min: diagnostics.as_ref().map_or(0.0, |d| d.min),
        max: diagnostics.as_ref().map_or(0.0, |d| d.max),
        deff: diagnostics.as_ref().map_or(1.0, |d| d.deff),
        ess: diagnostics.as_ref().map_or(0.0, |d| d.ess),
        caps,
        dropped: raked.dropped.iter().map(|d| format!("{} = {} ({} in the population)", d.margin, d.level, d.target)).collect(),
        joined,
    })
}

/// Margins of which levels were joined.
pub(crate) struct Joined {
    pub(crate) margins: Vec<Margin>,
    /// Of each margin, the new code of each old one.
    pub(crate) codes: Vec<Vec<u32>>,
    /// What was joined, in words.
    pub(crate) said: Vec<String>,
}

/// Joins each level that nobody has with the nearest before it that somebody has, or else behind it, as far as the pipeline lets it; `present`
/// are the levels of each margin that somebody has.
pub(crate) fn joined(weights: &Weights, margins: &[Margin], present: &[BTreeSet<u32>]) -> Joined {
    let mut out = Joined { margins: vec![], codes: vec![], said: vec![] };
    for (margin, present) in margins.iter().zip(present) {
        let named = weights.collapse.iter().flatten().any(|n| n.value == margin.name);
        let may = weights.absent == Absent::Collapse && (named || weights.collapse.iter().all(Vec::is_empty));
        let all = margin.levels.len() as u32;
        let takes = |code: u32| {
            let near = (0..=code).rev().chain(code + 1..all).find(|c| present.contains(c));
            if may { near.unwrap_or(code) } else { code }
        };
        let taken: Vec<u32> = (0..all).map(takes).collect();
        let kept: BTreeSet<u32> = taken.iter().copied().collect();
        let place: BTreeMap<u32, u32> = kept.iter().copied().zip(0..).collect();
        let mut levels: Vec<Level> = kept.iter().filter_map(|c| margin.levels.get(*c as usize).cloned()).collect();
        for (code, (level, into)) in margin.levels.iter().zip(&taken).enumerate() {
            let Some(level_into) = levels.get_mut(place[into] as usize).filter(|_| code as u32 != *into) else { continue };
            let target = level.target.unwrap_or(0.0);
            level_into.target = level_into.target.map(|t| t + target);
            let name = &margin.levels[*into as usize].name;
            out.said.push(format!("{} = {} ({target} in the population) with {name}", margin.name, level.name));
        }
        out.codes.push(taken.iter().map(|c| place[c]).collect());
        out.margins.push(Margin { name: margin.name.clone(), levels });
    }
    out
}

/// The median weight of a row.
pub(crate) fn median(cells: &[Cell], raked: &Raked) -> f64 {
    let mut groups: Vec<(f64, u64)> =
        cells.iter().zip(&raked.factors).map(|(c, f)| (c.weight / c.rows.max(1) as f64 * f, c.rows)).collect();
    groups.sort_by(|a, b| a.0.total_cmp(&b.0));
    let rows: u64 = groups.iter().map(|g| g.1).sum();
    let at = |place: u64| {
        let mut before = 0;
        groups.iter().find(|g| {
            before += g.1;
            before > place
        })
    };
    let one = |place: u64| at(place).map_or(f64::NAN, |g| g.0);
    if rows % 2 == 1 { one(rows / 2) } else { (one(rows.saturating_sub(2) / 2) + one(rows / 2)) / 2.0 }
}

/// What caps of several multiples of the median weight would cost and buy.
pub(crate) fn cap_curve(step: &str, problem: (&[Margin], &[Cell], &Options), free: &Raked) -> Result<Vec<CapReport>> {
    const MULTIPLES: [f64; 6] = [1.5, 2.0, 3.0, 4.0, 5.0, 8.0];
    let median = median(problem.1, free);
    let caps = MULTIPLES.map(|m| m * median);
    let curve = rake::cap_curve(problem, free, &caps, Excess::Proportionally).map_err(|e| contract(step, &e))?;
    let one = |(times, point): (&f64, rake::CapPoint)| CapReport {
        times_median: *times,
        cap: point.cap,
        cut_rows: point.cut_rows,
        deff_trimmed: point.trimmed.as_ref().map(|s| s.deff),
        missed: point.worst.as_ref().map(|(_, relative)| *relative),
        deff_within: point.within.as_ref().map(|s| s.deff),
    };
    Ok(MULTIPLES.iter().zip(curve).map(one).collect())
}

pub(crate) fn options(weights: &Weights) -> Options {
    Options {
        tolerance: weights.tolerance,
        iterations_max: weights.max_iterations,
        totals: Totals::Agree,
        absent: match weights.absent {
            // What can be joined is joined by now.
            Absent::Error | Absent::Collapse => rake::Absent::Error,
            Absent::DropAndRescale => rake::Absent::DropAndRescale,
        },
        scale_to: match weights.scale_to {
            ScaleTo::Population => rake::ScaleTo::Population,
            ScaleTo::Sample => rake::ScaleTo::Sample,
        },
        not_converged: if weights.keep_not_converged { NotConverged::Keep } else { NotConverged::Error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_nobody_has_is_joined_with_its_neighbour() {
        let weights = |collapse: &str| {
            let text = format!(
                "version: 1\nname: p\nsources: {{c: {{parquet: c, mode: mutable, key: id}}}}\nentities: {{p: {{from: c, key: id}}}}\n\
                 attributes: {{p: [{{row: {{age: c.age, home: c.home}}}}]}}\n\
                 panel: {{members: {{where: age > 0}}, waves: {{w: {{sample: 9, weights: {{rake: [age, home], {collapse}}}}}}}}}\n"
            );
            let loaded = strata_spec::load(&strata_spec::SourceText { path: "p".into(), text }, &[]);
            loaded.pipeline.and_then(|p| p.wave("w")?.weights.clone()).unwrap()
        };
        let level = |(name, target): &(&str, f64)| Level { name: (*name).to_owned(), target: Some(*target) };
        let margin =
            |name: &str, levels: &[(&str, f64)]| Margin { name: name.to_owned(), levels: levels.iter().map(level).collect() };
        let margins = [
            margin("age", &[("a", 1.0), ("b", 20.0), ("c", 3.0), ("d", 4.0), ("e", 50.0)]),
            margin("home", &[("x", 70.0), ("y", 8.0)]),
        ];
        let present = [BTreeSet::from([1, 4]), BTreeSet::from([0])];
        let found = joined(&weights("absent: collapse"), &margins, &present);
        let targets = |m: &Margin| m.levels.iter().map(|l| l.target.unwrap()).collect::<Vec<_>>();
        assert_eq!((targets(&found.margins[0]), targets(&found.margins[1])), (vec![28.0, 50.0], vec![78.0]));
        assert_eq!(found.codes, [vec![0, 0, 0, 0, 1], vec![0, 0]]);
        assert_eq!(found.said[0], "age = a (1 in the population) with b");
        assert_eq!(found.said.len(), 4);
        // Only the margins that may be, and none where `absent` says otherwise.
        let some = joined(&weights("absent: collapse, collapse: [home]"), &margins, &present);
        assert_eq!((some.margins[0].clone(), some.said.len()), (margins[0].clone(), 1));
        let none = joined(&weights("absent: error"), &margins, &present);
        assert_eq!((none.margins.as_slice(), none.said.len()), (margins.as_slice(), 0));
    }
}
