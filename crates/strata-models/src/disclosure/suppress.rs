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
    /// It is hidden because it has 1 to k − 1 people, or was asked not to be told.
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

/// Counts of a table whose sum must not be told, whatever it is: the row and the column of each; the number of rows stands for the margin
/// below, the number of columns for the one at the right.
pub type Untold = Vec<(usize, usize)>;

/// Programs that are solved to show again what need not be hidden, at most, each times the places of the table.
const SPARE_WORK_MAX: usize = 2_000_000;

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
    suppress_also(table, k, &[])
}

/// The same, and of the sum of each of `untold` as well the published numbers leave k + 1 possible: what another table tells together with it.
/// Sums of 0 are left as they are, as counts of 0 are. Of a large table more may be hidden than need be.
///
/// Errors: as [`suppress`]; `Shape` for a place outside the table.
pub fn suppress_also(table: &Table, k: u64, untold: &[Untold]) -> Result<Suppressed> {
    check_k(k)?;
    let grid = Grid::new(table)?;
    let small = |at: &usize| (1..k).contains(&grid.counts[*at]);
    let mut primary: Vec<usize> = (0..grid.counts.len()).filter(small).collect();
    let mut sums: Vec<Vec<usize>> = vec![];
    for places in untold {
        let places = grid.places(places)?;
        match places[..] {
            [] => {}
            [one] if primary.contains(&one) => {}
            [one] => primary.push(one),
            _ => sums.push(places),
        }
    }
    let mut status = vec![Status::Published; grid.counts.len()];
    primary.iter().for_each(|&at| status[at] = Status::Primary);
    primary.sort_by_key(|&at| (std::cmp::Reverse(grid.counts[at]), at));
    let targets: Vec<Vec<usize>> = primary.iter().map(|&at| vec![at]).chain(sums).collect();
    for target in &targets {
        for hidden in grid.cheapest_cycle(target, &status, k)? {
            if status[hidden] == Status::Published {
                status[hidden] = Status::Complementary;
            }
        }
    }
    let mut spare: Vec<usize> = (0..status.len()).filter(|&at| status[at] == Status::Complementary).collect();
    spare.sort_by(|&a, &b| grid.cost(b).total_cmp(&grid.cost(a)).then(grid.counts[b].cmp(&grid.counts[a])).then(a.cmp(&b)));
    if !untold.is_empty() && spare.len() * targets.len() * status.len() > SPARE_WORK_MAX {
        spare.clear();
    }
    for at in spare {
        status[at] = Status::Published;
        if grid.intervals(&status, &targets, k)?.is_none() {
            status[at] = Status::Complementary;
        }
    }
    let places = primary.len();
    primary.sort_unstable();
    let sums = targets.into_iter().skip(places);
    let targets: Vec<Vec<usize>> = primary.iter().map(|&at| vec![at]).chain(sums).collect();
    // INVARIANT: each cycle lets its cell rise by k, and hiding more only lets more happen.
    let intervals = grid.intervals(&status, &targets, k)?.ok_or(Error::Stuck { what: "suppression", steps: targets.len() })?;
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

    /// Places with counts above 0. Errors: `Shape` for one that is none of the table.
    fn places(&self, of: &Untold) -> Result<Vec<usize>> {
        let mut out = Vec::with_capacity(of.len());
        for &(row, column) in of {
            if row > self.rows || column > self.columns {
                return Err(Error::Shape { what: "rows and columns of a table", found: row.max(column), wanted: self.rows });
            }
            let at = self.place(row, column);
            if self.counts[at] > 0 && !out.contains(&at) {
                out.push(at);
            }
        }
        Ok(out)
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

    /// The places that must be hidden so that the sum of the counts of `target` can rise by k: those of the cheapest change of counts
    /// that keeps all sums, hidden places free of charge.
    fn cheapest_cycle(&self, target: &[usize], status: &[Status], k: u64) -> Result<Vec<usize>> {
        let own = match target {
            [one] => Some(*one),
            _ => None,
        };
        let mut columns = Vec::new();
        let mut of = Vec::new();
        for at in (0..self.counts.len()).filter(|&at| self.counts[at] > 0) {
            let cost = if status[at] == Status::Published { self.cost(at) } else { 0.0 };
            for sign in [1.0, -1.0] {
                let most = if sign > 0.0 { f64::INFINITY } else { self.counts[at] as f64 };
                let (lower, upper) = match (own == Some(at), sign > 0.0) {
                    (true, true) => (k as f64, k as f64),
                    (true, false) => (0.0, 0.0),
                    _ => (0.0, most),
                };
                let mut entries = self.sums(at).map(|(row, entry)| (row, sign * entry)).to_vec();
                if own.is_none() && target.contains(&at) {
                    entries.push((self.rows + self.columns + 2, sign));
                }
                columns.push(Column { cost, lower, upper, entries });
                of.push(at);
            }
        }
        let mut sums = vec![0.0; self.rows + self.columns + 2];
        if own.is_none() {
            sums.push(k as f64);
        }
        let Outcome::Optimal { values, .. } = minimise(&Program { rows: sums, columns })? else {
            // A cell, its margins and the total can always rise together.
            return Err(Error::Stuck { what: "a cycle of cells to hide", steps: 1 });
        };
        Ok(of.into_iter().zip(values).filter(|(_, value)| *value > 1e-6).map(|(at, _)| at).collect())
    }

    /// What is left to guess of each target of one place; none if a target is left fewer than k wide.
    fn intervals(&self, status: &[Status], targets: &[Vec<usize>], k: u64) -> Result<Option<Vec<Interval>>> {
        let mut intervals = Vec::with_capacity(targets.len());
        for target in targets {
            let (most, least) = (self.extreme(status, target, -1.0)?, self.extreme(status, target, 1.0)?);
            if most - least < k as f64 - 1e-6 {
                return Ok(None);
            }
            if let [place] = target[..] {
                let (row, column) = (place / (self.columns + 1), place % (self.columns + 1));
                intervals.push(Interval { row, column, least, most });
            }
        }
        Ok(Some(intervals))
    }

    /// The least (sign 1) or greatest (sign −1) sum of the hidden counts of `target` that fits what is published. Counts that nothing
    /// bounds are cut at twice the total and some.
    fn extreme(&self, status: &[Status], target: &[usize], sign: f64) -> Result<f64> {
        let bound = 2.0 * self.counts[self.counts.len() - 1] as f64 + 1e6;
        let mut sums = vec![0.0; self.rows + self.columns + 2];
        let mut columns = Vec::new();
        let mut own = vec![];
        for (at, &count) in self.counts.iter().enumerate() {
            if status[at] == Status::Published {
                self.sums(at).into_iter().for_each(|(row, entry)| sums[row] -= entry * count as f64);
                continue;
            }
            let is_own = target.contains(&at);
            if is_own {
                own.push(columns.len());
            }
            let cost = if is_own { sign } else { 0.0 };
            columns.push(Column { cost, lower: 0.0, upper: bound, entries: self.sums(at).to_vec() });
        }
        if own.is_empty() {
            return Ok(0.0);
        }
        match minimise(&Program { rows: sums, columns })? {
            Outcome::Optimal { values, .. } => Ok(own.iter().map(|at| values[*at]).sum()),
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
    fn what_another_table_tells_is_hidden_as_well() -> Result<()> {
        let whole = table(2, 3, &[40, 50, 60, 70, 80, 90]);
        // A large count that must not be told takes the cheapest square with it.
        let found = suppress_also(&whole, 10, &[vec![(0, 0)]])?;
        assert_eq!((letters(&found.cells), letters(&found.row_totals)), ("Pc.cc.".to_owned(), "..".to_owned()));
        assert_eq!(found.intervals.len(), 1);
        // The sum of two: one of them, and what is not of them, in both rows; the square of those two alone would tell it.
        let found = suppress_also(&whole, 10, &[vec![(0, 0), (0, 1)]])?;
        let hidden = |at: usize| found.cells[at] != Status::Published;
        assert!((hidden(0) || hidden(1)) && hidden(2) && hidden(5), "{}", letters(&found.cells));
        // Of a margin: its row, with the total.
        let found = suppress_also(&whole, 10, &[vec![(0, 3)]])?;
        assert_eq!(found.row_totals[0], Status::Primary);
        assert!(found.total != Status::Published || found.row_totals[1] != Status::Published);
        // What is 0 is not hidden, and what is small is hidden anyway.
        let zero = table(2, 2, &[0, 30, 40, 50]);
        assert_eq!(letters(&suppress_also(&zero, 10, &[vec![(0, 0)]])?.cells), "....");
        let small = table(3, 3, &[3, 20, 90, 25, 30, 80, 70, 60, 99]);
        assert_eq!(suppress_also(&small, 10, &[vec![(0, 0)]])?, suppress(&small, 10)?);
        assert!(matches!(suppress_also(&zero, 10, &[vec![(3, 0)]]), Err(Error::Shape { .. })));
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

        /// Counting all that fits, neither a count nor a sum that must not be told has fewer than k + 1 values.
        #[test]
        fn nobody_works_out_what_must_not_be_told(counts in prop::collection::vec(1u64..9, 6), at in 0usize..6, row in 0usize..2) {
            let (k, table) = (3, table(2, 3, &counts));
            let found = suppress_also(&table, k, &[vec![(at / 3, at % 3)], vec![(row, 0), (row, 1)]])?;
            let hidden = found.cells.iter().filter(|status| **status != Status::Published).count();
            prop_assume!(hidden <= 5);
            let fitting = fits(&table, &found, 16);
            let told = |of: &dyn Fn(&[u64]) -> u64| {
                let mut values: Vec<u64> = fitting.iter().map(|counts| of(counts)).collect();
                values.sort_unstable();
                values.dedup();
                values.len() as u64
            };
            prop_assert!(told(&|c| c[at]) > k, "{counts:?} {found:?}");
            prop_assert!(told(&|c| c[row * 3] + c[row * 3 + 1]) > k, "{counts:?} {found:?}");
        }
    }
}
