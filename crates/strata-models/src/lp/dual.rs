//! Programs of few rows and very many columns with bounds, from a basis of unit columns: the dual simplex method with long
//! steps, in which one step moves thousands of columns from bound to bound. It never needs a first phase: every column can
//! stand at the bound its cost wants.
//!
//! Source: Maros 2003, chapter 10 (bound flipping ratio test).

use super::{Outcome, Place, Program, TINY, Tableau, minimise};
use crate::Result;

/// Solves a program whose columns all have finite bounds where their reduced cost is negative, starting from `basis`: for each
/// row a column with its only entry, 1 or −1, there. Costs are moved a little apart for the dual steps, so that they do not
/// turn in circles, and put back for a few primal steps at the end. Where the dual steps fail, by [`minimise`] from scratch.
pub(crate) fn minimise_from(program: &Program, basis: &[usize]) -> Result<Outcome> {
    let mut tableau = Tableau::from_basis(program, basis);
    tableau.move_costs_apart();
    let steps_max = 50 * (program.rows.len() + 20);
    for _ in 0..steps_max {
        let Some(row) = tableau.worst() else {
            tableau.price(program);
            tableau.run()?;
            return Ok(tableau.optimum(program));
        };
        if !tableau.dual_step(row) {
            break;
        }
    }
    minimise(program)
}

impl Tableau {
    /// The program at a basis of unit columns, every other column at the bound its reduced cost wants.
    fn from_basis(program: &Program, basis: &[usize]) -> Self {
        let (rows, columns) = (program.rows.len(), program.columns.len());
        // Rows are turned so that their basic column has entry 1.
        let signs: Vec<f64> = basis.iter().map(|&j| program.columns[j].entries[0].1).collect();
        let mut tableau = Tableau {
            rows,
            columns,
            width: columns,
            entries: vec![0.0; rows * columns],
            basis: basis.to_vec(),
            basic: program.rows.iter().zip(&signs).map(|(b, sign)| b * sign).collect(),
            upper: program.columns.iter().map(|column| column.upper - column.lower).collect(),
            place: vec![Place::Lower; columns],
            reduced: vec![0.0; columns],
            signs,
        };
        for (j, column) in program.columns.iter().enumerate() {
            for &(row, value) in &column.entries {
                let entry = value * tableau.signs[row];
                tableau.entries[row * columns + j] = entry;
                tableau.basic[row] -= entry * column.lower;
            }
        }
        basis.iter().for_each(|&j| tableau.place[j] = Place::Basic);
        tableau.price(program);
        for j in 0..columns {
            if tableau.place[j] == Place::Lower && tableau.reduced[j] < 0.0 {
                tableau.place[j] = Place::Upper;
                tableau.shift(j, tableau.upper[j]);
            }
        }
        tableau
    }

    /// Makes every reduced cost differ from 0 and from most others, keeping its sign.
    fn move_costs_apart(&mut self) {
        for j in 0..self.columns {
            // Spread evenly over 1 to 2.
            let part = 1.0 + (j as f64 * 0.618_033_988_749_894_9).fract();
            match self.place[j] {
                Place::Basic => {}
                Place::Lower => self.reduced[j] += 1e-6 * part,
                Place::Upper => self.reduced[j] -= 1e-6 * part,
            }
        }
    }

    /// The row whose basic value is furthest outside its bounds; none if all are within.
    fn worst(&self) -> Option<usize> {
        let mut worst = None;
        let mut most = TINY;
        for row in 0..self.rows {
            let outside = (-self.basic[row]).max(self.basic[row] - self.upper[self.basis[row]]);
            if outside > most {
                most = outside;
                worst = Some(row);
            }
        }
        worst
    }

    /// Brings the basic value of `row` to its bound; columns on the way that do not suffice go to their other bound, and the one
    /// that does goes in, so that all others keep the sign of their reduced cost. False if nothing can: the program is
    /// infeasible, or a number is too small to divide by.
    fn dual_step(&mut self, row: usize) -> bool {
        let leaving = self.basis[row];
        let rises = self.basic[row] < 0.0;
        let (target, sign) = if rises { (0.0, 1.0) } else { (self.upper[leaving], -1.0) };
        let line = &self.entries[row * self.width..(row + 1) * self.width];
        let helps = |j: usize| match self.place[j] {
            Place::Basic => false,
            Place::Lower => sign * line[j] < -TINY && self.upper[j] > 0.0,
            Place::Upper => sign * line[j] > TINY && self.upper[j] > 0.0,
        };
        let mut order: Vec<(f64, usize)> =
            (0..self.columns).filter(|&j| helps(j)).map(|j| (self.reduced[j].abs() / line[j].abs(), j)).collect();
        order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut left = (target - self.basic[row]).abs();
        let passed = order.iter().take_while(|&&(_, j)| {
            left -= line[j].abs() * self.upper[j];
            left >= 0.0
        });
        let flips = passed.count();
        let Some(&(_, entering)) = order.get(flips) else {
            return false;
        };
        for &(_, j) in &order[..flips] {
            let (place, change) = match self.place[j] {
                Place::Upper => (Place::Lower, -self.upper[j]),
                _ => (Place::Upper, self.upper[j]),
            };
            self.place[j] = place;
            self.shift(j, change);
        }
        let change = (self.basic[row] - target) / self.entries[row * self.width + entering];
        let from = if self.place[entering] == Place::Upper { self.upper[entering] } else { 0.0 };
        self.shift(entering, change);
        self.basic[row] = from + change;
        self.basis[row] = entering;
        self.place[entering] = Place::Basic;
        self.place[leaving] = if rises { Place::Lower } else { Place::Upper };
        self.pivot(row, entering);
        true
    }

    /// Moves a column that is not basic by `change`.
    fn shift(&mut self, j: usize, change: f64) {
        for row in 0..self.rows {
            self.basic[row] -= change * self.entries[row * self.width + j];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lp::Column;
    use proptest::prelude::*;

    proptest! {
        /// The nearest point, by the sum of misses, of a box's image to a target: the same least sum as by the primal steps.
        #[test]
        fn dual_and_primal_steps_agree(
            entries in prop::collection::vec(-3i32..4, 24), target in prop::collection::vec(-20i32..21, 3), width in 0.1f64..4.0,
        ) {
            let mut columns: Vec<Column> = (0..8)
                .map(|j| Column {
                    cost: 0.0,
                    lower: 0.5,
                    upper: 0.5 + width,
                    entries: (0..3).map(|row| (row, f64::from(entries[3 * j + row]))).filter(|entry| entry.1 != 0.0).collect(),
                })
                .collect();
            for row in 0..3 {
                let miss = |sign| Column { cost: 1.0, lower: 0.0, upper: 1e3, entries: vec![(row, sign)] };
                columns.extend([miss(1.0), miss(-1.0)]);
            }
            let program = Program { rows: target.iter().map(|&t| f64::from(t)).collect(), columns };
            let (Outcome::Optimal { values, objective: dual }, Outcome::Optimal { objective: primal, .. }) =
                (minimise_from(&program, &[8, 10, 12])?, minimise(&program)?)
            else {
                return Err(TestCaseError::fail("infeasible"));
            };
            prop_assert!((dual - primal).abs() < 1e-9 * primal.max(1.0), "{dual} {primal}");
            for (row, wanted) in program.rows.iter().enumerate() {
                let of = |column: &Column| column.entries.iter().filter(|entry| entry.0 == row).map(|entry| entry.1).sum::<f64>();
                let met: f64 = program.columns.iter().zip(&values).map(|(column, value)| of(column) * value).sum();
                prop_assert!((met - wanted).abs() < 1e-9, "{row}");
            }
        }
    }

    #[test]
    fn what_is_infeasible_is_left_to_the_primal_steps() -> Result<()> {
        // x + e = 9 with x, e ≤ 2.
        let column = |upper| Column { cost: 0.0, lower: 0.0, upper, entries: vec![(0, 1.0)] };
        let program = Program { rows: vec![9.0], columns: vec![column(2.0), column(2.0)] };
        assert!(matches!(minimise_from(&program, &[1])?, Outcome::Infeasible { .. }));
        Ok(())
    }
}
