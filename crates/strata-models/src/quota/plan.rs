//! A plan in whole numbers that meets targets exactly, near to a proportional one. It never explains why there is none.

use super::{Error, Plan, Table};
use crate::Result;
use crate::allocate::{Bounded, optimum_and_scale};
use crate::exact::Sum;
use crate::lp::{Column, Program, Whole, minimise_whole};

/// Programs solved at most.
pub(super) const NODES_MAX: usize = 2000;
/// Sweeps over the margins to find the proportional plan. It only guides: the plan is exact without.
const SWEEPS: usize = 50;

pub(super) enum Found {
    Plan(Plan),
    None { only_fractions: bool },
}

/// The plan nearest to the proportional one that meets `targets`.
pub(super) fn whole_plan(table: &Table, targets: &[u64]) -> Result<Found> {
    let ideal = proportional(table, targets);
    // x = floor + a − c, or floor + 1 + b: the cost of |x − ideal| has corners at whole numbers only.
    let mut left: Vec<f64> = targets.iter().map(|&target| target as f64).collect();
    let mut columns = Vec::with_capacity(3 * ideal.len());
    let mut floors = Vec::with_capacity(ideal.len());
    for (cell, &ideal) in ideal.iter().enumerate() {
        let supply = table.supply[cell] as f64;
        let floor = (ideal + 1e-9).floor().clamp(0.0, supply);
        let part = (ideal - floor).clamp(0.0, 1.0);
        let entries = |sign: f64| table.rows_of[cell].iter().map(|&row| (row, sign)).collect::<Vec<_>>();
        let column = |cost, upper: f64, sign| Column { cost, lower: 0.0, upper: upper.max(0.0), entries: entries(sign) };
        columns.push(column(1.0 - 2.0 * part, (supply - floor).min(1.0), 1.0));
        columns.push(column(1.0, supply - floor - 1.0, 1.0));
        columns.push(column(1.0, floor, -1.0));
        table.rows_of[cell].iter().for_each(|&row| left[row] -= floor);
        floors.push(floor);
    }
    match minimise_whole(&Program { rows: left, columns }, NODES_MAX)? {
        Whole::Optimal { values } => {
            let part = |cell: usize| values[3 * cell] + values[3 * cell + 1] - values[3 * cell + 2];
            let rows: Vec<u64> = floors.iter().enumerate().map(|(cell, floor)| (floor + part(cell)).round() as u64).collect();
            let total = rows.iter().sum();
            Ok(Found::Plan(Plan { rows, total }))
        }
        Whole::Infeasible => Ok(Found::None { only_fractions: false }),
        Whole::FractionsOnly => Ok(Found::None { only_fractions: true }),
        Whole::Undecided { nodes } => Err(Error::Undecided { nodes }.into()),
    }
}

/// The supply raked to the targets, no cell above its supply: each level in turn shares its target in proportion.
fn proportional(table: &Table, targets: &[u64]) -> Vec<f64> {
    let supply: Vec<f64> = table.supply.iter().map(|&supply| supply as f64).collect();
    let mut weights = supply.clone();
    let mut levels: Vec<Vec<usize>> = vec![Vec::new(); targets.len()];
    for (cell, rows) in table.rows_of.iter().enumerate() {
        rows.iter().for_each(|&row| levels[row].push(cell));
    }
    for _ in 0..SWEEPS {
        let mut most = 0.0f64;
        for (cells, &target) in levels.iter().zip(targets) {
            let part: Vec<f64> = cells.iter().map(|&cell| weights[cell]).collect();
            let upper: Vec<f64> = cells.iter().map(|&cell| supply[cell]).collect();
            let lower = vec![0.0; cells.len()];
            let mut now = Sum::new();
            cells.iter().for_each(|&cell| now.add(weights[cell].min(supply[cell])));
            most = most.max((now.value() - target as f64).abs());
            let bounded = Bounded { weights: &part, costs: &[], lower: &lower, upper: &upper, total: target as f64 };
            let (_, scale) = optimum_and_scale(&bounded);
            // Weights stay floats whatever the targets ask.
            cells.iter().for_each(|&cell| weights[cell] = (weights[cell] * scale).clamp(0.0, 1e30));
        }
        if most < 1e-6 {
            break;
        }
    }
    weights.iter().zip(&supply).map(|(weight, supply)| weight.min(*supply)).collect()
}
