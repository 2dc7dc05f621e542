//! Why quotas cannot be filled: the smallest set that clashes, and the nearest quotas that can be. It never changes a target
//! that was given.

use super::plan::{Found, NODES_MAX, whole_plan};
use super::{Clash, Clashing, Error, Margin, Plan, Side, Table};
use crate::lp::{Column, Outcome, Program, Whole, minimise, minimise_whole};
use crate::{Result, allocate};

/// Rounds of the hitting-set search, and steps of each search for a least hitting set.
const ROUNDS_MAX: usize = 300;
const STEPS_MAX: usize = 200_000;

/// Explains a table that has no plan.
pub(super) fn explain(margins: &[Margin], table: &Table, only_fractions: bool) -> Result<Clash> {
    let (rows, is_smallest) = if only_fractions { (whole_clash(table)?, false) } else { smallest(table)? };
    let multipliers = if only_fractions { None } else { proof(table, &rows)? };
    let (nearest, plan) = nearest(table)?;
    let supply = table.supply_of_rows();
    let sign = |row: usize| multipliers.as_ref().map_or(1.0, |multipliers| multipliers[row]);
    let quotas = rows
        .iter()
        .map(|&row| {
            let margin = table.starts.partition_point(|&start| start <= row) - 1;
            Clashing {
                margin: margins[margin].name.clone(),
                level: margins[margin].levels[row - table.starts[margin]].name.clone(),
                target: table.targets[row],
                supply: supply[row],
                side: if sign(row) < 0.0 { Side::Limits } else { Side::Needs },
            }
        })
        .collect();
    let needed = rows.iter().map(|&row| sign(row) * table.targets[row] as f64).sum();
    let available = multipliers.as_ref().map(|multipliers| {
        let taken = |cell: usize| table.rows_of[cell].iter().map(|&row| multipliers[row]).sum::<f64>().max(0.0);
        (0..table.supply.len()).map(|cell| table.supply[cell] as f64 * taken(cell)).sum()
    });
    let moved = nearest.iter().zip(&table.targets).map(|(near, &target)| near.abs_diff(target)).sum();
    let nearest = table.starts.windows(2).map(|ends| nearest[ends[0]..ends[1]].to_vec()).collect();
    Ok(Clash { quotas, is_smallest, needed, available, nearest, moved, plan })
}

/// A smallest set of rows that no numbers meet together, sorted, and whether it is proved to be smallest.
fn smallest(table: &Table) -> Result<(Vec<usize>, bool)> {
    let supply = table.supply_of_rows();
    let short = |row: &usize| table.targets[*row].saturating_sub(supply[*row]);
    // A quota that is short on its own is a smallest set; the one that lacks most, the first of equals.
    if let Some(row) = (0..supply.len()).rev().max_by_key(short).filter(|row| short(row) > 0) {
        return Ok((vec![row], true));
    }
    let mut to_hit: Vec<Vec<usize>> = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let Some(hard) = least_hitting_set(&to_hit, supply.len()) else {
            break;
        };
        match missed(table, &hard)? {
            None => return Ok((hard, true)),
            Some(missed) => to_hit.push(missed),
        }
    }
    Ok((irreducible(table, |rows| Ok(missed_of(table, rows)?.is_none()))?, false))
}

/// A set of which every part is needed for the clash: rows are left out one after the other while the rest still clashes.
fn irreducible(table: &Table, clashes: impl Fn(&[usize]) -> Result<bool>) -> Result<Vec<usize>> {
    let mut rows: Vec<usize> = (0..table.targets.len()).collect();
    for row in 0..table.targets.len() {
        let rest: Vec<usize> = rows.iter().copied().filter(|&other| other != row).collect();
        if clashes(&rest)? {
            rows = rest;
        }
    }
    Ok(rows)
}

/// Rows that fractions meet but whole numbers do not.
fn whole_clash(table: &Table) -> Result<Vec<usize>> {
    irreducible(table, |rows| match minimise_whole(&program(table, rows, false), NODES_MAX)? {
        Whole::Optimal { .. } => Ok(false),
        Whole::Infeasible | Whole::FractionsOnly => Ok(true),
        Whole::Undecided { nodes } => Err(Error::Undecided { nodes }.into()),
    })
}

/// With the rows of `hard` met exactly and the others missed by as little as possible in sum: the rows that are missed. None
/// if nothing meets `hard`.
fn missed(table: &Table, hard: &[usize]) -> Result<Option<Vec<usize>>> {
    let mut all = program(table, &(0..table.targets.len()).collect::<Vec<_>>(), false);
    for row in (0..table.targets.len()).filter(|row| !hard.contains(row)) {
        all.columns.extend(slacks(row, f64::INFINITY));
    }
    let Outcome::Optimal { values, .. } = minimise(&all)? else {
        return Ok(None);
    };
    let mut sums = vec![0.0; table.targets.len()];
    for (rows, value) in table.rows_of.iter().zip(&values) {
        rows.iter().for_each(|&row| sums[row] += value);
    }
    Ok(Some((0..sums.len()).filter(|&row| (sums[row] - table.targets[row] as f64).abs() > 1e-6).collect()))
}

/// As [`missed`], but the rows outside `rows` do not matter.
fn missed_of(table: &Table, rows: &[usize]) -> Result<Option<()>> {
    Ok(matches!(minimise(&program(table, rows, false))?, Outcome::Optimal { .. }).then_some(()))
}

/// The multipliers, one a row of the table, that prove that nothing meets `rows`; none if something does.
fn proof(table: &Table, rows: &[usize]) -> Result<Option<Vec<f64>>> {
    let Outcome::Infeasible { multipliers } = minimise(&program(table, rows, false))? else {
        return Ok(None);
    };
    let mut all = vec![0.0; table.targets.len()];
    rows.iter().zip(&multipliers).for_each(|(&row, &y)| all[row] = (y * 1e6).round() / 1e6);
    Ok(Some(all))
}

/// The cells within their supply, to meet the targets of `rows`, and with `total` a last row that counts everybody.
fn program(table: &Table, rows: &[usize], total: bool) -> Program {
    let mut place = vec![None; table.targets.len()];
    rows.iter().enumerate().for_each(|(at, &row)| place[row] = Some(at));
    let columns = table.rows_of.iter().zip(&table.supply).map(|(of, &supply)| {
        let mut entries: Vec<(usize, f64)> = of.iter().filter_map(|&row| place[row]).map(|at| (at, 1.0)).collect();
        entries.extend(total.then_some((rows.len(), 1.0)));
        Column { cost: 0.0, lower: 0.0, upper: supply as f64, entries }
    });
    Program { columns: columns.collect(), rows: rows.iter().map(|&row| table.targets[row] as f64).collect() }
}

/// What a row may be missed by, downwards and upwards, at a cost of 1 each.
fn slacks(row: usize, upper: f64) -> [Column; 2] {
    [1.0, -1.0].map(|sign| Column { cost: 1.0, lower: 0.0, upper, entries: vec![(row, sign)] })
}

/// The nearest targets that can be met, and a plan for them.
fn nearest(table: &Table) -> Result<(Vec<u64>, Plan)> {
    let eligible: u64 = table.supply.iter().sum();
    let total = table.total.min(eligible);
    let targets = if table.starts.len() == 2 { nearest_of_one(table, total) } else { nearest_of_many(table, total)? };
    match whole_plan(table, &targets)? {
        Found::Plan(plan) => Ok((targets, plan)),
        // The targets are the sums of a plan, so there is one.
        Found::None { .. } => Err(crate::Error::Stuck { what: "the nearest quotas", steps: 1 }),
    }
}

/// One margin: what is short is shared by the levels with people left, in proportion to their targets.
fn nearest_of_one(table: &Table, total: u64) -> Vec<u64> {
    let supply = table.supply_of_rows();
    let lower: Vec<u64> = table.targets.iter().zip(&supply).map(|(&target, &supply)| target.min(supply)).collect();
    let (rows, _) = allocate::rebalance(total, &table.targets, &lower, &supply);
    let missing = total - rows.iter().sum::<u64>();
    // Levels with a target of 0 come in only when all others are used up.
    if missing == 0 { rows } else { allocate::rebalance(total, &supply, &rows, &supply).0 }
}

/// Several margins: the sums of the whole numbers that miss the targets by the least sum.
fn nearest_of_many(table: &Table, total: u64) -> Result<Vec<u64>> {
    let all: Vec<usize> = (0..table.targets.len()).collect();
    let mut nearest = program(table, &all, true);
    nearest.rows.push(total as f64);
    all.iter().for_each(|&row| nearest.columns.extend(slacks(row, total as f64 + table.total as f64)));
    match minimise_whole(&nearest, NODES_MAX)? {
        Whole::Optimal { values } => {
            let cells: Vec<u64> = values[..table.supply.len()].iter().map(|value| value.round() as u64).collect();
            Ok(table.sums(&cells))
        }
        // Any `total` people give some sums.
        Whole::Infeasible | Whole::FractionsOnly => Err(crate::Error::Stuck { what: "the nearest quotas", steps: 2 }),
        Whole::Undecided { nodes } => Err(Error::Undecided { nodes }.into()),
    }
}

/// A smallest set of rows, sorted, that has one of each set; none if finding it takes too long.
fn least_hitting_set(sets: &[Vec<usize>], rows: usize) -> Option<Vec<usize>> {
    let mut search = Search { sets, best: (0..rows).collect(), steps: 0 };
    search.extend(&mut Vec::new());
    search.best.sort_unstable();
    (search.steps < STEPS_MAX).then_some(search.best)
}

struct Search<'a> {
    sets: &'a [Vec<usize>],
    best: Vec<usize>,
    steps: usize,
}

impl Search<'_> {
    /// Tries every row of the smallest set that `chosen` does not hit, in order.
    fn extend(&mut self, chosen: &mut Vec<usize>) {
        self.steps += 1;
        if self.steps >= STEPS_MAX {
            return;
        }
        let open = self.sets.iter().filter(|set| !set.iter().any(|row| chosen.contains(row)));
        let Some(set) = open.min_by_key(|set| set.len()) else {
            if chosen.len() < self.best.len() {
                self.best.clone_from(chosen);
            }
            return;
        };
        if chosen.len() + 1 >= self.best.len() {
            return;
        }
        for &row in set {
            chosen.push(row);
            self.extend(chosen);
            chosen.pop();
        }
    }
}
