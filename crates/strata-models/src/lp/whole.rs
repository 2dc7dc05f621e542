//! Linear programs whose answer must be whole numbers: branch and bound, depth first. It never says "impossible" unless every
//! branch is; where that would take too long it says so.

use super::{Outcome, Program, minimise};
use crate::Result;

/// The answer.
#[derive(Debug, Clone)]
pub(crate) enum Whole {
    /// The best whole numbers.
    Optimal { values: Vec<f64> },
    /// No numbers meet the rows, not even fractions.
    Infeasible,
    /// Fractions meet the rows, whole numbers do not.
    FractionsOnly,
    /// `nodes` programs were solved without an answer.
    Undecided { nodes: usize },
}

/// What is further from a whole number than this is a fraction.
const FRACTION: f64 = 1e-6;

/// Solves a program over whole numbers; bounds must be whole or infinite. With at most two rows a column, all entries 1 and
/// the rows of two groups (a table with two margins), the first program already has a whole answer.
pub(crate) fn minimise_whole(program: &Program, nodes_max: usize) -> Result<Whole> {
    let mut best: Option<(Vec<f64>, f64)> = None;
    let mut open = vec![program.clone()];
    let mut nodes = 0;
    while let Some(node) = open.pop() {
        if nodes == nodes_max {
            return Ok(match best {
                Some((values, _)) => Whole::Optimal { values },
                None => Whole::Undecided { nodes },
            });
        }
        nodes += 1;
        let (mut values, objective) = match minimise(&node)? {
            Outcome::Optimal { values, objective } => (values, objective),
            Outcome::Infeasible { .. } if nodes == 1 => return Ok(Whole::Infeasible),
            Outcome::Infeasible { .. } => continue,
        };
        if best.as_ref().is_some_and(|(_, least)| objective > least - 1e-9) {
            continue;
        }
        let Some(at) = values.iter().position(|value| (value - value.round()).abs() > FRACTION) else {
            values.iter_mut().for_each(|value| *value = value.round());
            best = Some((values, objective));
            continue;
        };
        let (mut below, mut above) = (node.clone(), node);
        below.columns[at].upper = values[at].floor();
        above.columns[at].lower = values[at].ceil();
        // The nearer side is tried first, the lower where both are as near.
        let nearer_below = values[at].fract() <= 0.5;
        open.extend(if nearer_below { [above, below] } else { [below, above] });
    }
    Ok(best.map_or(Whole::FractionsOnly, |(values, _)| Whole::Optimal { values }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lp::Column;

    fn column(cost: f64, upper: f64, entries: &[(usize, f64)]) -> Column {
        Column { cost, lower: 0.0, upper, entries: entries.to_vec() }
    }

    #[test]
    fn the_best_whole_numbers_are_found() -> Result<()> {
        // Most 5x + 4y with 6x + 4y ≤ 24 and x + 2y ≤ 6: (3, 1.5) in fractions, (4, 0) in whole numbers.
        let slack = |row| column(0.0, f64::INFINITY, &[(row, 1.0)]);
        let columns =
            vec![column(-5.0, 9.0, &[(0, 6.0), (1, 1.0)]), column(-4.0, 9.0, &[(0, 4.0), (1, 2.0)]), slack(0), slack(1)];
        let Whole::Optimal { values } = minimise_whole(&Program { rows: vec![24.0, 6.0], columns }, 100)? else {
            panic!("no answer");
        };
        assert_eq!((values[0], values[1]), (4.0, 0.0));
        Ok(())
    }

    #[test]
    fn what_only_fractions_meet_is_told_apart() -> Result<()> {
        // 2x = 3.
        let program = Program { rows: vec![3.0], columns: vec![column(0.0, 9.0, &[(0, 2.0)])] };
        assert!(matches!(minimise_whole(&program, 100)?, Whole::FractionsOnly));
        assert!(matches!(minimise_whole(&program, 1)?, Whole::Undecided { nodes: 1 }));
        let never = Program { rows: vec![30.0], ..program };
        assert!(matches!(minimise_whole(&never, 100)?, Whole::Infeasible));
        Ok(())
    }
}
