//! Small linear programs with bounded columns: minimise c·x with A·x = b and lower ≤ x ≤ upper, by the simplex method on a
//! dense tableau. It never picks a pivot by anything but the numbers and the order of the columns, so its answer is a
//! function of the program alone. For a few hundred rows and up to about 10^5 columns.
//!
//! Source: Chvátal 1983, chapters 3 and 8 (two phases, upper bounds); Bland 1977 where the steps stand still.

mod dual;
mod whole;

use crate::{Error, Result};
pub(crate) use dual::minimise_from;
pub(crate) use whole::{Whole, minimise_whole};

/// A program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    /// b, one a row; rows should be scaled so that their numbers are not far from 1, or be whole numbers.
    pub(crate) rows: Vec<f64>,
    /// One a variable.
    pub(crate) columns: Vec<Column>,
}

/// A variable.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// Its cost.
    pub(crate) cost: f64,
    /// Its least value, finite.
    pub(crate) lower: f64,
    /// Its greatest value, which may be infinite.
    pub(crate) upper: f64,
    /// Its entries that are not 0: (row, value), each row once.
    pub(crate) entries: Vec<(usize, f64)>,
}

/// The answer.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// The optimum.
    Optimal {
        /// One value a column.
        values: Vec<f64>,
        /// Σ cost·value.
        objective: f64,
    },
    /// No x meets the rows within the bounds; `multipliers` y prove it: y·b is greater than the most y·A·x can be.
    Infeasible {
        /// One number a row.
        multipliers: Vec<f64>,
    },
}

/// Reduced costs and entries below this are 0.
const TINY: f64 = 1e-9;

/// Solves the program. Errors: `Stuck` after far more steps than any program needs; a program whose cost can fall without
/// end is one too.
pub(crate) fn minimise(program: &Program) -> Result<Outcome> {
    let mut tableau = Tableau::new(program);
    let scale = program.rows.iter().fold(1.0f64, |most, b| most.max(b.abs()));
    tableau.run()?;
    if tableau.artificial_sum() > TINY * scale {
        return Ok(Outcome::Infeasible { multipliers: tableau.multipliers() });
    }
    // Artificial variables are 0 from now on.
    tableau.upper[tableau.columns..].fill(0.0);
    tableau.price(program);
    tableau.run()?;
    Ok(tableau.optimum(program))
}

/// Divides `row` by its entry in column `j` and takes it from all other rows, and from the reduced costs, so that theirs is 0.
fn clear_column(entries: &mut [f64], reduced: &mut [f64], width: usize, row: usize, j: usize) {
    let pivot = entries[row * width + j];
    let line: Vec<f64> = entries[row * width..(row + 1) * width].iter().map(|entry| entry / pivot).collect();
    let clear = |target: &mut [f64]| {
        let factor = target[j];
        if factor != 0.0 {
            target.iter_mut().zip(&line).for_each(|(entry, x)| *entry -= factor * x);
            target[j] = 0.0;
        }
    };
    entries.chunks_exact_mut(width).enumerate().filter(|(other, _)| *other != row).for_each(|(_, other)| clear(other));
    clear(reduced);
    entries[row * width..(row + 1) * width].copy_from_slice(&line);
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Basic,
    Lower,
    Upper,
}

/// Columns are shifted to lower 0; in the first phase there is one artificial column a row behind them.
struct Tableau {
    rows: usize,
    columns: usize,
    width: usize,
    /// B⁻¹A, row-major.
    entries: Vec<f64>,
    /// The basic variable of each row, and its value.
    basis: Vec<usize>,
    basic: Vec<f64>,
    upper: Vec<f64>,
    place: Vec<Place>,
    reduced: Vec<f64>,
    /// −1 for rows that were turned round so that b ≥ 0.
    signs: Vec<f64>,
}

impl Tableau {
    /// The first phase: artificial variables cost 1, all others 0.
    fn new(program: &Program) -> Self {
        let (rows, columns) = (program.rows.len(), program.columns.len());
        let width = columns + rows;
        let mut basic = program.rows.clone();
        for column in &program.columns {
            column.entries.iter().for_each(|&(row, value)| basic[row] -= value * column.lower);
        }
        let signs: Vec<f64> = basic.iter().map(|&b| if b < 0.0 { -1.0 } else { 1.0 }).collect();
        basic.iter_mut().zip(&signs).for_each(|(b, sign)| *b *= sign);
        let mut entries = vec![0.0; rows * width];
        let mut reduced = vec![0.0; width];
        for (j, column) in program.columns.iter().enumerate() {
            for &(row, value) in &column.entries {
                entries[row * width + j] = value * signs[row];
                reduced[j] -= value * signs[row];
            }
        }
        (0..rows).for_each(|row| entries[row * width + columns + row] = 1.0);
        let mut upper: Vec<f64> = program.columns.iter().map(|column| column.upper - column.lower).collect();
        upper.extend(std::iter::repeat_n(f64::INFINITY, rows));
        let mut place = vec![Place::Lower; columns];
        place.extend(std::iter::repeat_n(Place::Basic, rows));
        let basis = (columns..width).collect();
        Tableau { rows, columns, width, entries, basis, basic, upper, place, reduced, signs }
    }

    /// The reduced costs of the program's own costs at the current basis.
    fn price(&mut self, program: &Program) {
        let cost = |j: usize| program.columns.get(j).map_or(0.0, |column| column.cost);
        self.reduced = (0..self.width).map(cost).collect();
        for row in 0..self.rows {
            let price = cost(self.basis[row]);
            let line = &self.entries[row * self.width..(row + 1) * self.width];
            if price != 0.0 {
                self.reduced.iter_mut().zip(line).for_each(|(reduced, entry)| *reduced -= price * entry);
            }
        }
        self.basis.iter().for_each(|&j| self.reduced[j] = 0.0);
    }

    /// Steps to the optimum of the current costs.
    fn run(&mut self) -> Result<()> {
        let steps_max = 200 * (self.width + 100);
        // Steps that changed nothing in a row; after so many, Bland's rule until one does.
        let mut still = 0;
        for _ in 0..steps_max {
            let by_index = still > 2 * self.rows + 20;
            let Some(entering) = self.entering(by_index) else {
                return Ok(());
            };
            let Some(moved) = self.step(entering, by_index) else {
                break;
            };
            still = if moved > TINY { 0 } else { still + 1 };
        }
        Err(Error::Stuck { what: "a linear program", steps: steps_max })
    }

    /// The column that lowers the cost most a unit, or the first that lowers it; none at the optimum.
    fn entering(&self, by_index: bool) -> Option<usize> {
        let mut best = None;
        let mut most = TINY;
        for j in 0..self.width {
            let gain = match self.place[j] {
                Place::Basic => continue,
                Place::Lower => -self.reduced[j],
                Place::Upper => self.reduced[j],
            };
            if gain > most && self.upper[j] > 0.0 {
                best = Some(j);
                if by_index {
                    break;
                }
                most = gain;
            }
        }
        best
    }

    /// Moves column `j` as far as it goes; how far. None if it goes without end.
    fn step(&mut self, j: usize, by_index: bool) -> Option<f64> {
        let sign = if self.place[j] == Place::Lower { 1.0 } else { -1.0 };
        let mut length = self.upper[j];
        let mut leaving: Option<usize> = None;
        for row in 0..self.rows {
            let change = sign * self.entries[row * self.width + j];
            if change.abs() <= TINY {
                continue;
            }
            let room = if change > 0.0 { self.basic[row] } else { self.upper[self.basis[row]] - self.basic[row] };
            let at = (room / change.abs()).max(0.0);
            let is_tie = length.is_finite() && (at - length).abs() <= 1e-12 * length.max(1.0);
            let is_better = match leaving {
                _ if at < length && !is_tie => true,
                Some(other) if is_tie && by_index => self.basis[row] < self.basis[other],
                Some(other) if is_tie => change.abs() > self.entries[other * self.width + j].abs(),
                _ => false,
            };
            if is_better {
                length = at;
                leaving = Some(row);
            }
        }
        if !length.is_finite() {
            return None;
        }
        for row in 0..self.rows {
            self.basic[row] -= sign * length * self.entries[row * self.width + j];
        }
        let Some(row) = leaving else {
            self.place[j] = if self.place[j] == Place::Lower { Place::Upper } else { Place::Lower };
            return Some(length);
        };
        let out = self.basis[row];
        let goes_down = sign * self.entries[row * self.width + j] > 0.0;
        self.place[out] = if goes_down { Place::Lower } else { Place::Upper };
        self.basic[row] = if sign > 0.0 { length } else { self.upper[j] - length };
        self.basis[row] = j;
        self.place[j] = Place::Basic;
        self.pivot(row, j);
        Some(length)
    }

    /// Makes column `j` the unit column of `row`.
    fn pivot(&mut self, row: usize, j: usize) {
        clear_column(&mut self.entries, &mut self.reduced, self.width, row, j);
    }

    fn artificial_sum(&self) -> f64 {
        let artificial = |row: &usize| self.basis[*row] >= self.columns;
        (0..self.rows).filter(artificial).map(|row| self.basic[row].max(0.0)).sum()
    }

    /// The multipliers of the first phase: y = 1 − reduced cost of the artificial column, in the signs of the program.
    fn multipliers(&self) -> Vec<f64> {
        (0..self.rows).map(|row| self.signs[row] * (1.0 - self.reduced[self.columns + row])).collect()
    }

    fn optimum(&self, program: &Program) -> Outcome {
        let values = self.values(program);
        let objective = program.columns.iter().zip(&values).map(|(column, value)| column.cost * value).sum();
        Outcome::Optimal { values, objective }
    }

    fn values(&self, program: &Program) -> Vec<f64> {
        let mut values: Vec<f64> = (0..self.columns)
            .map(|j| match self.place[j] {
                Place::Upper => program.columns[j].upper,
                _ => program.columns[j].lower,
            })
            .collect();
        for (&j, &basic) in self.basis.iter().zip(&self.basic) {
            if let Some(column) = program.columns.get(j) {
                values[j] = (column.lower + basic).clamp(column.lower, column.upper);
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn column(cost: f64, upper: f64, entries: &[f64]) -> Column {
        let entries = entries.iter().copied().enumerate().filter(|entry| entry.1 != 0.0).collect();
        Column { cost, lower: 0.0, upper, entries }
    }

    fn optimum(program: &Program) -> (Vec<f64>, f64) {
        match minimise(program).unwrap() {
            Outcome::Optimal { values, objective } => (values, objective),
            Outcome::Infeasible { multipliers } => panic!("infeasible: {multipliers:?}"),
        }
    }

    #[test]
    fn a_textbook_program() {
        // Most 3x + 5y with x ≤ 4, 2y ≤ 12, 3x + 2y ≤ 18: x = 2, y = 6.
        let free = f64::INFINITY;
        let slacks = [column(0.0, free, &[1.0, 0.0]), column(0.0, free, &[0.0, 1.0])];
        let mut columns = vec![column(-3.0, 4.0, &[0.0, 3.0]), column(-5.0, free, &[2.0, 2.0])];
        columns.extend(slacks);
        let (values, objective) = optimum(&Program { rows: vec![12.0, 18.0], columns });
        assert_eq!((values[0], values[1], objective), (2.0, 6.0, -36.0));
    }

    #[test]
    fn lower_bounds_and_negative_right_sides() {
        // x + y = −1, x in [−5, −2], y in [0, 9]; least x + 2y: x = −2, y = 1; least −x − 2y: x = −5, y = 4.
        let program = |cost: f64| Program {
            rows: vec![-1.0],
            columns: vec![
                Column { cost, lower: -5.0, upper: -2.0, entries: vec![(0, 1.0)] },
                Column { cost: 2.0 * cost, lower: 0.0, upper: 9.0, entries: vec![(0, 1.0)] },
            ],
        };
        assert_eq!(optimum(&program(1.0)), (vec![-2.0, 1.0], 0.0));
        assert_eq!(optimum(&program(-1.0)), (vec![-5.0, 4.0], -3.0));
    }

    #[test]
    fn what_cannot_be_is_proved() {
        // x + y = 5 with x, y ≤ 2.
        let program = Program { rows: vec![5.0], columns: vec![column(0.0, 2.0, &[1.0]), column(0.0, 2.0, &[1.0])] };
        let Outcome::Infeasible { multipliers } = minimise(&program).unwrap() else {
            panic!("feasible");
        };
        assert_eq!(multipliers, [1.0]);
        // Nothing bounds x: its cost falls without end.
        let endless = Program { rows: vec![], columns: vec![column(-1.0, f64::INFINITY, &[])] };
        assert!(matches!(minimise(&endless), Err(Error::Stuck { .. })));
    }

    proptest! {
        /// Transport between 3 and 4 places: the answer meets the rows within the bounds in whole numbers, and is the
        /// least of all; what is called impossible is, by its proof.
        #[test]
        fn transports_are_optimal(
            costs in prop::collection::vec(0i32..9, 12), caps in prop::collection::vec(0u32..4, 12),
            from in prop::collection::vec(0u32..5, 3), to in prop::collection::vec(0u32..5, 4),
        ) {
            let rows: Vec<f64> = from.iter().chain(&to).map(|&x| f64::from(x)).collect();
            let columns: Vec<Column> = (0..12)
                .map(|j| {
                    let entries = vec![(j / 4, 1.0), (3 + j % 4, 1.0)];
                    Column { cost: f64::from(costs[j]), lower: 0.0, upper: f64::from(caps[j]), entries }
                })
                .collect();
            match minimise(&Program { rows: rows.clone(), columns: columns.clone() })? {
                Outcome::Optimal { values, objective } => {
                    for (row, wanted) in rows.iter().enumerate() {
                        let met: f64 = (0..12).filter(|&j| j / 4 == row || 3 + j % 4 == row).map(|j| values[j]).sum();
                        prop_assert!((met - wanted).abs() < 1e-9);
                    }
                    prop_assert!(values.iter().zip(&columns).all(|(x, c)| x.fract() == 0.0 && (0.0..=c.upper).contains(x)));
                    let paid: f64 = columns.iter().zip(&values).map(|(column, value)| column.cost * value).sum();
                    prop_assert_eq!(paid, objective);
                    prop_assert!(has_prices(&columns, &values), "{values:?}");
                }
                Outcome::Infeasible { multipliers } => {
                    let needed: f64 = multipliers.iter().zip(&rows).map(|(y, b)| y * b).sum();
                    let most: f64 = columns
                        .iter()
                        .map(|c| c.upper * c.entries.iter().map(|&(row, a)| multipliers[row] * a).sum::<f64>().max(0.0))
                        .sum();
                    prop_assert!(needed > most + 0.5, "{multipliers:?}");
                }
            }
        }
    }

    /// Whether no cycle of exchanges lowers the cost, which proves the optimum (Bellman–Ford over 7 places).
    fn has_prices(columns: &[Column], values: &[f64]) -> bool {
        let mut price = [0.0f64; 7];
        for _ in 0..8 {
            let mut changed = false;
            for (column, &value) in columns.iter().zip(values) {
                let (a, b) = (column.entries[0].0, column.entries[1].0);
                if value < column.upper && price[a] + column.cost < price[b] - 1e-9 {
                    price[b] = price[a] + column.cost;
                    changed = true;
                }
                if value > 0.0 && price[b] - column.cost < price[a] - 1e-9 {
                    price[a] = price[b] - column.cost;
                    changed = true;
                }
            }
            if !changed {
                return true;
            }
        }
        false
    }
}
