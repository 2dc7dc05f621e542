//! Suppression in a table of counts with its margins: small cells go, and others with them until nobody can work the small
//! ones out. It never leaves a small cell that the published numbers pin down to fewer than k values.

use serde::{Deserialize, Serialize};

use super::groups::check_k;
use crate::lp::{Column, Outcome, Program, minimise};
use crate::{Error, Result};

/// A table of counts; its margins are their sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Rows of the table, at least 1.
    pub rows: usize,
    /// Columns, at least 1.
    pub columns: usize,
    /// Counts, row by row.
    pub counts: Vec<u64>,
}

/// What becomes of a cell or margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is shown.
    Published,
    /// It is hidden because it has 1 to k − 1 people.
    Primary,
    /// It is hidden so that others cannot be worked out.
    Complementary,
}

/// What an attacker can work out of a hidden small cell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Row; the number of rows stands for the margin below.
    pub row: usize,
    /// Column; the number of columns stands for the margin at the right.
    pub column: usize,
    /// The least count that fits what is published.
    pub least: f64,
    /// The greatest.
    pub most: f64,
}

/// What to publish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suppressed {
    /// The cells, row by row.
    pub cells: Vec<Status>,
    /// The margin of each row.
    pub row_totals: Vec<Status>,
    /// The margin of each column.
    pub column_totals: Vec<Status>,
    /// The total of all.
    pub total: Status,
    /// What is left to guess of every primary cell: at least k wide.
    pub intervals: Vec<Interval>,
}

/// Cost of hiding a margin and the total, where a cell costs 1 to 2.
const MARGIN_COST: f64 = 100.0;
const TOTAL_COST: f64 = 10_000.0;

/// Hides every cell and margin with 1 to k − 1 people, and others so that of each of them the published numbers leave at
/// least k + 1 counts possible, k or more among them. Cells with 0 are shown and never hidden for others; margins and the
/// total are hidden only where cells do not do. Small cells first, the largest of them first, each with the cheapest cycle
/// of other cells (a linear program), then cells that turn out not to be needed are shown again. Deterministic; for tables
/// up to some thousand cells.
///
/// Errors: `Parameter` if k is 0; `Shape`; `TooManyRows`.
///
/// Source: Cox 1980; Kelly, Golden & Assad 1992.
pub fn suppress(table: &Table, k: u64) -> Result<Suppressed> {
    check_k(k)?;
    let grid = Grid::new(table)?;
    let small = |at: &usize| (1..k).contains(&grid.counts[*at]);
    let mut primary: Vec<usize> = (0..grid.counts.len()).filter(small).collect();
    let mut status = vec![Status::Published; grid.counts.len()];
    primary.iter().for_each(|&at| status[at] = Status::Primary);
    primary.sort_by_key(|&at| (std::cmp::Reverse(grid.counts[at]), at));
    for &at in &primary {
        for hidden in grid.cheapest_cycle(at, &status, k)? {
            if status[hidden] == Status::Published {
                status[hidden] = Status::Complementary;
            }
        }
    }
    let mut spare: Vec<usize> = (0..status.len()).filter(|&at| status[at] == Status::Complementary).collect();
    spare.sort_by(|&a, &b| grid.cost(b).total_cmp(&grid.cost(a)).then(grid.counts[b].cmp(&grid.counts[a])).then(a.cmp(&b)));
    for at in spare {
        status[at] = Status::Published;
        if grid.intervals(&status, &primary, k)?.is_none() {
            status[at] = Status::Complementary;
        }
    }
    primary.sort_unstable();
    // INVARIANT: each cycle lets its cell rise by k, and hiding more only lets more happen.
    let intervals = grid.intervals(&status, &primary, k)?.ok_or(Error::Stuck { what: "suppression", steps: primary.len() })?;
    let at = |row: usize, column: usize| status[grid.place(row, column)];
    let (rows, columns) = (table.rows, table.columns);
    Ok(Suppressed {
        cells: (0..rows * columns).map(|cell| at(cell / columns, cell % columns)).collect(),
        row_totals: (0..rows).map(|row| at(row, columns)).collect(),
        column_totals: (0..columns).map(|column| at(rows, column)).collect(),
        total: at(rows, columns),
        intervals,
    })
}

/// The table with its margins as a last row and a last column.
struct Grid {
    rows: usize,
    columns: usize,
    counts: Vec<u64>,
}

impl Grid {
    fn new(table: &Table) -> Result<Self> {
        let (rows, columns) = (table.rows, table.columns);
        if rows == 0 || columns == 0 || table.counts.len() != rows * columns {
            return Err(Error::Shape { what: "counts of a table", found: table.counts.len(), wanted: (rows * columns).max(1) });
        }
        table.counts.iter().try_fold(0u64, |sum, &count| sum.checked_add(count)).ok_or(Error::TooManyRows)?;
        let mut grid = Grid { rows, columns, counts: vec![0; (rows + 1) * (columns + 1)] };
        for (cell, &count) in table.counts.iter().enumerate() {
            let (row, column) = (cell / columns, cell % columns);
            for place in [(row, column), (row, columns), (rows, column), (rows, columns)] {
                let place = grid.place(place.0, place.1);
                grid.counts[place] += count;
            }
        }
        Ok(grid)
    }

    fn place(&self, row: usize, column: usize) -> usize {
        row * (self.columns + 1) + column
    }

    /// The sums a place is part of, with its sign: of its row, and of its column behind all rows.
    fn sums(&self, place: usize) -> [(usize, f64); 2] {
        let (row, column) = (place / (self.columns + 1), place % (self.columns + 1));
        let sign = |is_margin| if is_margin { -1.0 } else { 1.0 };
        [(row, sign(column == self.columns)), (self.rows + 1 + column, sign(row == self.rows))]
    }

    fn cost(&self, place: usize) -> f64 {
        let (row, column) = (place / (self.columns + 1), place % (self.columns + 1));
        let total = self.counts[self.counts.len() - 1].max(1) as f64;
        match (row == self.rows, column == self.columns) {
            (true, true) => TOTAL_COST,
            (false, false) => 1.0 + self.counts[place] as f64 / total,
            _ => MARGIN_COST,
        }
    }

    /// The places that must be hidden so that the count at `place` can rise by k: those of the cheapest change of counts that
    /// keeps all sums, hidden places free of charge.
    fn cheapest_cycle(&self, place: usize, status: &[Status], k: u64) -> Result<Vec<usize>> {
        let mut columns = Vec::new();
        let mut of = Vec::new();
        for at in (0..self.counts.len()).filter(|&at| self.counts[at] > 0) {
            let cost = if status[at] == Status::Published { self.cost(at) } else { 0.0 };
            for sign in [1.0, -1.0] {
                let is_own = at == place;
                let most = if sign > 0.0 { f64::INFINITY } else { self.counts[at] as f64 };
                let (lower, upper) = match (is_own, sign > 0.0) {
                    (true, true) => (k as f64, k as f64),
                    (true, false) => (0.0, 0.0),
                    _ => (0.0, most),
                };
                let entries = self.sums(at).map(|(row, entry)| (row, sign * entry)).to_vec();
                columns.push(Column { cost, lower, upper, entries });
                of.push(at);
            }
        }
        let sums = vec![0.0; self.rows + self.columns + 2];
        let Outcome::Optimal { values, .. } = minimise(&Program { rows: sums, columns })? else {
            // A cell, its margins and the total can always rise together.
            return Err(Error::Stuck { what: "a cycle of cells to hide", steps: 1 });
        };
        Ok(of.into_iter().zip(values).filter(|(_, value)| *value > 1e-6).map(|(at, _)| at).collect())
    }

    /// What is left to guess of each primary place; none if one of them is left fewer than k wide.
    fn intervals(&self, status: &[Status], primary: &[usize], k: u64) -> Result<Option<Vec<Interval>>> {
        let mut intervals = Vec::with_capacity(primary.len());
        for &place in primary {
            let (most, least) = (self.extreme(status, place, -1.0)?, self.extreme(status, place, 1.0)?);
            if most - least < k as f64 - 1e-6 {
                return Ok(None);
            }
            let (row, column) = (place / (self.columns + 1), place % (self.columns + 1));
            intervals.push(Interval { row, column, least, most });
        }
        Ok(Some(intervals))
    }

    /// The least (sign 1) or greatest (sign −1) count at a hidden place that fits what is published. Counts that nothing
    /// bounds are cut at twice the total and some.
    fn extreme(&self, status: &[Status], place: usize, sign: f64) -> Result<f64> {
        let bound = 2.0 * self.counts[self.counts.len() - 1] as f64 + 1e6;
        let mut sums = vec![0.0; self.rows + self.columns + 2];
        let mut columns = Vec::new();
        let mut own = 0;
        for (at, &count) in self.counts.iter().enumerate() {
            if status[at] == Status::Published {
                self.sums(at).into_iter().for_each(|(row, entry)| sums[row] -= entry * count as f64);
                continue;
            }
            if at == place {
                own = columns.len();
            }
            let cost = if at == place { sign } else { 0.0 };
            columns.push(Column { cost, lower: 0.0, upper: bound, entries: self.sums(at).to_vec() });
        }
        match minimise(&Program { rows: sums, columns })? {
            Outcome::Optimal { values, .. } => Ok(values[own]),
            // The true counts fit.
            Outcome::Infeasible { .. } => Err(Error::Stuck { what: "the counts that fit a table", steps: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(rows: usize, columns: usize, counts: &[u64]) -> Table {
        Table { rows, columns, counts: counts.to_vec() }
    }

    fn letters(status: &[Status]) -> String {
        let letter = |status: &Status| match status {
            Status::Published => '.',
            Status::Primary => 'P',
            Status::Complementary => 'c',
        };
        status.iter().map(letter).collect()
    }

    #[test]
    fn one_small_cell_takes_three_others() -> Result<()> {
        // The cheapest square with the 3: the 20 beside it, the 25 below it, and the 30 across.
        let found = suppress(&table(3, 3, &[3, 20, 90, 25, 30, 80, 70, 60, 99]), 10)?;
        assert_eq!(letters(&found.cells), "Pc.cc....");
        assert_eq!((letters(&found.row_totals), letters(&found.column_totals)), ("...".to_owned(), "...".to_owned()));
        assert_eq!(found.total, Status::Published);
        // 3 + 20 and 3 + 25 are known: 0 to 23.
        let (row, column) = (0, 0);
        assert_eq!(found.intervals, [Interval { row, column, least: 0.0, most: 23.0 }]);
        Ok(())
    }

    #[test]
    fn safe_tables_stay_whole() -> Result<()> {
        let found = suppress(&table(2, 2, &[10, 0, 30, 12]), 10)?;
        assert_eq!((letters(&found.cells), found.intervals.len()), ("....".to_owned(), 0));
        Ok(())
    }

    #[test]
    fn margins_go_where_cells_do_not_do() -> Result<()> {
        // One row: the 4 can only hide behind another cell, and with it nothing but the margins below.
        let found = suppress(&table(1, 3, &[4, 50, 60]), 10)?;
        assert_eq!((letters(&found.cells), letters(&found.column_totals)), ("Pc.".to_owned(), "Pc.".to_owned()));
        assert_eq!((letters(&found.row_totals), found.total), (".".to_owned(), Status::Published));
        // A table of one small cell: all of it.
        let all = suppress(&table(1, 1, &[4]), 10)?;
        assert_eq!((letters(&all.cells), all.total), ("P".to_owned(), Status::Primary));
        assert!(all.intervals.iter().all(|interval| interval.most - interval.least >= 10.0));
        // A whole row below k: its margin is small too.
        let row = suppress(&table(3, 2, &[2, 3, 40, 50, 60, 70]), 10)?;
        assert_eq!((letters(&row.cells[..2]), letters(&row.row_totals[..1])), ("PP".to_owned(), "P".to_owned()));
        assert_eq!(row.total, Status::Published);
        Ok(())
    }

    #[test]
    fn bad_tables_are_refused() {
        assert!(matches!(suppress(&table(2, 2, &[1, 2, 3]), 10), Err(Error::Shape { .. })));
        assert!(matches!(suppress(&table(0, 2, &[]), 10), Err(Error::Shape { .. })));
        assert!(matches!(suppress(&table(1, 1, &[4]), 0), Err(Error::Parameter { name: "k", .. })));
        assert_eq!(suppress(&table(1, 2, &[u64::MAX, 1]), 10).err(), Some(Error::TooManyRows));
    }

    /// Every way to fill the hidden cells of a small table that fits what is published, by counting.
    fn fits(table: &Table, found: &Suppressed, most: u64) -> Vec<Vec<u64>> {
        let (rows, columns) = (table.rows, table.columns);
        let hidden: Vec<usize> = (0..rows * columns).filter(|&cell| found.cells[cell] != Status::Published).collect();
        let mut all = vec![table.counts.clone()];
        for &cell in &hidden {
            all = all
                .iter()
                .flat_map(|counts| {
                    (0..=most).map(|x| {
                        let mut counts = counts.clone();
                        counts[cell] = x;
                        counts
                    })
                })
                .collect();
        }
        let row_sum = |counts: &[u64], row: usize| counts[row * columns..(row + 1) * columns].iter().sum::<u64>();
        let column_sum = |counts: &[u64], column: usize| (0..rows).map(|row| counts[row * columns + column]).sum::<u64>();
        all.retain(|counts| {
            let rows_fit = (0..rows)
                .all(|row| found.row_totals[row] != Status::Published || row_sum(counts, row) == row_sum(&table.counts, row));
            let columns_fit = (0..columns).all(|column| {
                found.column_totals[column] != Status::Published
                    || column_sum(counts, column) == column_sum(&table.counts, column)
            });
            let sum = |counts: &[u64]| counts.iter().sum::<u64>();
            rows_fit && columns_fit && (found.total != Status::Published || sum(counts) == sum(&table.counts))
        });
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// Counting all that fits, every small cell can have at least k + 1 counts, and k or more.
        #[test]
        fn nobody_works_a_small_cell_out(counts in prop::collection::vec(prop_oneof![Just(0u64), 1u64..4, 4u64..9], 6)) {
            let (k, table) = (4, table(2, 3, &counts));
            let found = suppress(&table, k)?;
            let hidden = found.cells.iter().filter(|status| **status != Status::Published).count();
            // Small enough to count.
            prop_assume!(hidden <= 5);
            let fitting = fits(&table, &found, 16);
            for (cell, status) in found.cells.iter().enumerate() {
                prop_assert!((1..k).contains(&counts[cell]) == (*status == Status::Primary));
                if *status == Status::Primary {
                    let mut values: Vec<u64> = fitting.iter().map(|counts| counts[cell]).collect();
                    values.sort_unstable();
                    values.dedup();
                    prop_assert!(values.len() as u64 > k && values.last() >= Some(&k), "{counts:?} {found:?} {values:?}");
                }
            }
        }
    }
}
