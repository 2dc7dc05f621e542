//! Suppression in a table of counts with its margins: small cells go, and others with them until nobody can work the small
//! ones out. It never leaves a small cell that the published numbers pin down to fewer than k values.

use serde::{Deserialize, Serialize};

use super::flow::{Line, Network, Way};
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
const MARGIN_COST: u64 = 100;
const TOTAL_COST: u64 = 10_000;

/// Hides every cell and margin with 1 to k − 1 people, and others so that of each of them the published numbers leave at
/// least k + 1 counts possible, k or more among them. Cells with 0 are shown and never hidden for others; margins and the
/// total are hidden only where cells do not do. Small cells first, the largest of them first, each with the cheapest cycle
/// of other cells (a flow), then cells that turn out not to be needed are shown again. Deterministic; for tables up to some
/// thousand cells.
///
/// Errors: `Parameter` if k is 0; `Shape`; `TooManyRows`.
///
/// Source: Cox 1980; Kelly, Golden & Assad 1992.
pub fn suppress(table: &Table, k: u64) -> Result<Suppressed> {
    suppress_also(table, k, &[])
}

/// The same, and of the sum of each of `untold` as well the published numbers leave k + 1 possible: what another table tells together with it.
/// Sums of 0 are left as they are, as counts of 0 are. Where such a sum is of neither one row nor one column of a large table, more may be
/// hidden than need be.
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
    let targets: Vec<Target> = primary.iter().map(|&at| vec![at]).chain(sums).map(|of| grid.target(of)).collect();
    for target in &targets {
        for hidden in grid.cheapest_cycle(target, &status, k)? {
            if status[hidden] == Status::Published {
                status[hidden] = Status::Complementary;
            }
        }
    }
    grid.show_again(&mut status, &targets, k)?;
    let mut intervals = vec![];
    for target in &targets {
        let (least, most) = grid.width(&status, target, u64::MAX)?.range;
        // INVARIANT: each cycle lets its cell rise by k, and hiding more only lets more happen.
        if most - least < k as f64 - 1e-6 {
            return Err(Error::Stuck { what: "suppression", steps: targets.len() });
        }
        if let [place] = target.places[..] {
            intervals.push(Interval { row: place / (grid.columns + 1), column: place % (grid.columns + 1), least, most });
        }
    }
    intervals.sort_by_key(|of| (of.row, of.column));
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

/// Counts whose sum must not be told.
struct Target {
    places: Vec<usize>,
    /// None where they are neither of one row nor of one column: a linear program is solved.
    line: Option<Line>,
}

/// How far a target can be guessed.
struct Width {
    /// The least and the greatest sum of what is hidden of it.
    range: (f64, f64),
    /// What it takes to get there; none where that is not known.
    places: Option<Vec<usize>>,
}

/// The table with its margins as a last row and a last column.
struct Grid {
    rows: usize,
    columns: usize,
    counts: Vec<u64>,
    network: Network,
}

impl Grid {
    fn new(table: &Table) -> Result<Self> {
        let (rows, columns) = (table.rows, table.columns);
        if rows == 0 || columns == 0 || table.counts.len() != rows * columns {
            return Err(Error::Shape { what: "counts of a table", found: table.counts.len(), wanted: (rows * columns).max(1) });
        }
        table.counts.iter().try_fold(0u64, |sum, &count| sum.checked_add(count)).ok_or(Error::TooManyRows)?;
        let mut counts = vec![0; (rows + 1) * (columns + 1)];
        for (cell, &count) in table.counts.iter().enumerate() {
            let (row, column) = (cell / columns, cell % columns);
            for (row, column) in [(row, column), (row, columns), (rows, column), (rows, columns)] {
                counts[row * (columns + 1) + column] += count;
            }
        }
        let network = Network::new(rows, columns, &counts);
        Ok(Grid { rows, columns, counts, network })
    }

    fn target(&self, places: Vec<usize>) -> Target {
        Target { line: self.network.line(&places), places }
    }

    fn total(&self) -> u64 {
        self.counts[self.counts.len() - 1]
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

    /// Cost of hiding a person of a place, times the total.
    fn cost(&self, place: usize) -> i128 {
        let (row, column) = (place / (self.columns + 1), place % (self.columns + 1));
        let total = i128::from(self.total().max(1));
        match (row == self.rows, column == self.columns) {
            (true, true) => i128::from(TOTAL_COST) * total,
            (false, false) => total + i128::from(self.counts[place]),
            _ => i128::from(MARGIN_COST) * total,
        }
    }

    /// The places that must be hidden so that the sum of the counts of `target` can rise by k: those of the cheapest change of counts
    /// that keeps all sums, hidden places free of charge.
    fn cheapest_cycle(&self, target: &Target, status: &[Status], k: u64) -> Result<Vec<usize>> {
        let Some(line) = &target.line else { return self.cheapest_program(&target.places, status, k) };
        let cost = |at: usize| if status[at] == Status::Published { self.cost(at) } else { 0 };
        let costs: Vec<i128> = (0..status.len()).map(cost).collect();
        // A cell, its margins and the total can always rise together.
        self.network.cheapest(line, &costs, k).ok_or(Error::Stuck { what: "a cycle of cells to hide", steps: 1 })
    }

    /// Shows what need not be hidden for others after all, the most expensive first.
    fn show_again(&self, status: &mut [Status], targets: &[Target], k: u64) -> Result<()> {
        let mut spare: Vec<usize> = (0..status.len()).filter(|&at| status[at] == Status::Complementary).collect();
        spare.sort_by_key(|&at| (std::cmp::Reverse((self.cost(at), self.counts[at])), at));
        let programs = targets.iter().filter(|target| target.line.is_none()).count();
        if spare.len() * programs * status.len() > SPARE_WORK_MAX {
            return Ok(());
        }
        let widths = targets.iter().map(|target| self.width(status, target, k)).collect::<Result<Vec<_>>>()?;
        let mut taken: Vec<Option<Vec<usize>>> = widths.into_iter().map(|of| of.places).collect();
        for at in spare {
            status[at] = Status::Published;
            let mut found = vec![];
            // What a target's change does not touch it does not need.
            for (t, target) in targets.iter().enumerate().filter(|(t, _)| taken[*t].as_ref().is_none_or(|of| of.contains(&at))) {
                let of = self.width(status, target, k)?;
                if of.range.1 - of.range.0 < k as f64 - 1e-6 {
                    status[at] = Status::Complementary;
                    break;
                }
                found.push((t, of.places));
            }
            if status[at] == Status::Published {
                found.into_iter().for_each(|(t, places)| taken[t] = places);
            }
        }
        Ok(())
    }

    /// How far the hidden counts of `target` can be guessed; no further than `enough` counts apart is looked.
    fn width(&self, status: &[Status], target: &Target, enough: u64) -> Result<Width> {
        let Some(line) = &target.line else {
            let range = (self.extreme(status, &target.places, 1.0)?, self.extreme(status, &target.places, -1.0)?);
            return Ok(Width { range, places: None });
        };
        let is_free = |at: usize| status[at] != Status::Published;
        // Counts that nothing bounds are cut at twice the total and some.
        let bound = 2 * u128::from(self.total()) + 1_000_000;
        let up = self.network.reach(line, &is_free, bound, (Way::Up, enough));
        let down = self.network.reach(line, &is_free, bound, (Way::Down, enough.saturating_sub(up.by)));
        let own: u128 = target.places.iter().filter(|at| is_free(**at)).map(|at| u128::from(self.counts[*at])).sum();
        let range = ((own - u128::from(down.by)) as f64, (own + u128::from(up.by)) as f64);
        Ok(Width { range, places: Some(up.places.into_iter().chain(down.places).collect()) })
    }

    /// The places of a cheapest change for counts of more than one row and column.
    fn cheapest_program(&self, target: &[usize], status: &[Status], k: u64) -> Result<Vec<usize>> {
        let scale = self.total().max(1) as f64;
        let mut columns = Vec::new();
        let mut of = Vec::new();
        for at in (0..self.counts.len()).filter(|&at| self.counts[at] > 0) {
            let cost = if status[at] == Status::Published { self.cost(at) as f64 / scale } else { 0.0 };
            for sign in [1.0, -1.0] {
                let upper = if sign > 0.0 { f64::INFINITY } else { self.counts[at] as f64 };
                let mut entries = self.sums(at).map(|(row, entry)| (row, sign * entry)).to_vec();
                if target.contains(&at) {
                    entries.push((self.rows + self.columns + 2, sign));
                }
                columns.push(Column { cost, lower: 0.0, upper, entries });
                of.push(at);
            }
        }
        let mut sums = vec![0.0; self.rows + self.columns + 2];
        sums.push(k as f64);
        let Outcome::Optimal { values, .. } = minimise(&Program { rows: sums, columns })? else {
            // A cell, its margins and the total can always rise together.
            return Err(Error::Stuck { what: "a cycle of cells to hide", steps: 1 });
        };
        Ok(of.into_iter().zip(values).filter(|(_, value)| *value > 1e-6).map(|(at, _)| at).collect())
    }

    /// The least (sign 1) or greatest (sign −1) sum of the hidden counts of `target` that fits what is published. Counts that nothing
    /// bounds are cut at twice the total and some.
    fn extreme(&self, status: &[Status], target: &[usize], sign: f64) -> Result<f64> {
        let bound = 2.0 * self.total() as f64 + 1e6;
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
    fn sums_of_more_than_one_row_and_column_are_hidden_as_well() -> Result<()> {
        let whole = table(2, 3, &[40, 50, 60, 70, 80, 90]);
        let found = suppress_also(&whole, 10, &[vec![(0, 0), (1, 1)]])?;
        let hidden = |at: usize| found.cells[at] != Status::Published;
        assert!(hidden(0) || hidden(4), "{}", letters(&found.cells));
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

        /// Flows find the room that linear programs find, and changes that let as much happen.
        #[test]
        fn flows_are_as_good_as_programs(
            counts in prop::collection::vec(0u64..30, 12), shown in prop::collection::vec(any::<bool>(), 20), at in 0usize..20,
            pair in any::<bool>(),
        ) {
            let grid = Grid::new(&table(3, 4, &counts))?;
            let mut places = vec![at];
            if pair && at % 5 < 3 {
                places.push(at + 1);
            }
            places.retain(|at| grid.counts[*at] > 0);
            prop_assume!(!places.is_empty());
            let status = |at: usize| if shown[at] || grid.counts[at] == 0 { Status::Published } else { Status::Complementary };
            let status: Vec<Status> = (0..20).map(status).collect();
            let target = grid.target(places.clone());
            prop_assert!(target.line.is_some());
            let width = grid.width(&status, &target, u64::MAX)?;
            prop_assert_eq!(width.range, (grid.extreme(&status, &places, 1.0)?, grid.extreme(&status, &places, -1.0)?));
            let enough = grid.width(&status, &target, 7)?.range;
            prop_assert_eq!(enough.1 - enough.0 >= 7.0, width.range.1 - width.range.0 >= 7.0);
            // Once hidden, either change lets the target rise.
            for found in [grid.cheapest_cycle(&target, &status, 7)?, grid.cheapest_program(&places, &status, 7)?] {
                let mut status = status.clone();
                found.iter().for_each(|at| status[*at] = Status::Complementary);
                let own = places.iter().filter(|at| status[**at] != Status::Published).map(|at| grid.counts[*at] as f64).sum::<f64>();
                prop_assert!(grid.extreme(&status, &places, -1.0)? >= own + 7.0 - 1e-6);
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
