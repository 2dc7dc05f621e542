//! Tests of raking on problems small enough to see. They never read files.

use super::*;

fn margin(name: &str, levels: &[(&str, Option<f64>)]) -> Margin {
    let levels = levels.iter().map(|&(name, target)| Level { name: name.to_owned(), target }).collect();
    Margin { name: name.to_owned(), levels }
}

fn cell(codes: &[u32], weight: f64, rows: u64) -> Cell {
    Cell { codes: codes.iter().copied().map(Some).collect(), weight, rows }
}

fn two_by_two() -> (Vec<Margin>, Vec<Cell>) {
    let margins = vec![
        margin("sex", &[("f", Some(60.0)), ("m", Some(40.0))]),
        margin("age", &[("young", Some(30.0)), ("old", Some(70.0))]),
    ];
    let cells = vec![cell(&[0, 0], 10.0, 10), cell(&[0, 1], 5.0, 5), cell(&[1, 0], 2.0, 2), cell(&[1, 1], 8.0, 8)];
    (margins, cells)
}

#[test]
fn margins_are_met_and_odds_ratios_kept() -> Result<()> {
    let (margins, cells) = two_by_two();
    let raked = rake(&margins, &cells, &Options { tolerance: 1e-12, ..Options::default() })?;
    assert!(raked.converged && raked.relative_difference_max < 1e-12);
    let weights: Vec<f64> = raked.factors.iter().zip(&cells).map(|(factor, cell)| factor * cell.weight).collect();
    assert!((weights[0] + weights[1] - 60.0).abs() < 1e-9);
    assert!((weights[0] + weights[2] - 30.0).abs() < 1e-9);
    let odds = weights[0] * weights[3] / (weights[1] * weights[2]);
    assert!((odds - 8.0).abs() < 1e-9, "{odds}");
    Ok(())
}

#[test]
fn the_order_of_the_cells_changes_no_bit() -> Result<()> {
    let (margins, cells) = two_by_two();
    let forward = rake(&margins, &cells, &Options::default())?;
    let reversed: Vec<Cell> = cells.iter().rev().cloned().collect();
    let mut backward = rake(&margins, &reversed, &Options::default())?;
    backward.factors.reverse();
    assert_eq!(forward, backward);
    Ok(())
}

#[test]
fn iterations_are_counted_in_whole_sweeps() -> Result<()> {
    let (margins, cells) = two_by_two();
    let single = rake(&margins[..1], &[cell(&[0], 3.0, 3), cell(&[1], 9.0, 9)], &Options::default())?;
    assert_eq!((single.iterations, single.factors), (1, vec![20.0, 40.0 / 9.0]));
    let kept = Options { iterations_max: 1, not_converged: NotConverged::Keep, ..Options::default() };
    let one = rake(&margins, &cells, &kept)?;
    // After one sweep the last margin is met and the first is not.
    assert!(!one.converged && one.worst.margin == "sex");
    let old = one.factors[1] * 5.0 + one.factors[3] * 8.0;
    assert!((old - 70.0).abs() < 1e-12);
    Ok(())
}

#[test]
fn scaling_to_the_sample_drops_absent_levels() -> Result<()> {
    let (mut margins, cells) = two_by_two();
    margins[1].levels.push(Level { name: "ancient".to_owned(), target: Some(50.0) });
    margins[0].levels[0].target = Some(110.0);
    let absent = rake(&margins, &cells, &Options::default());
    let (margin, level) = ("age".to_owned(), "ancient".to_owned());
    assert_eq!(absent.err(), Some(Error::AbsentLevel { margin, level, target: 50.0 }));
    let options = Options { absent: Absent::DropAndRescale, scale_to: ScaleTo::Sample, tolerance: 1e-12, ..Options::default() };
    let raked = rake(&margins, &cells, &options)?;
    assert_eq!(raked.total, 25.0);
    assert_eq!(raked.dropped.len(), 1);
    let young = raked.factors[0] * 10.0 + raked.factors[2] * 2.0;
    assert!((young - 25.0 * 30.0 / 100.0).abs() < 1e-9);
    let women = raked.factors[0] * 10.0 + raked.factors[1] * 5.0;
    assert!((women - 25.0 * 110.0 / 150.0).abs() < 1e-9);
    Ok(())
}

#[test]
fn an_impossible_pattern_of_cells_names_the_worst_level() {
    // Every woman is young, but the margins need 60 women and 30 young.
    let (margins, _) = two_by_two();
    let cells = [cell(&[0, 0], 10.0, 10), cell(&[1, 0], 2.0, 2), cell(&[1, 1], 8.0, 8)];
    let Err(Error::NotConverged { iterations, margin, level, relative, .. }) = rake(&margins, &cells, &Options::default()) else {
        panic!("it converged");
    };
    assert_eq!((iterations, margin.as_str(), level.as_str()), (100, "sex", "m"));
    assert!(relative > 0.1);
    let forever = Options { iterations_max: 5000, not_converged: NotConverged::Keep, ..Options::default() };
    let kept = rake(&margins, &cells, &forever).unwrap();
    assert!(!kept.converged && kept.factors.iter().all(|factor| factor.is_finite()));
}

#[test]
fn what_cannot_be_met_is_named() {
    let (margins, cells) = two_by_two();
    let refused = |margins: &[Margin], cells: &[Cell]| rake(margins, cells, &Options::default()).err().unwrap();
    let mut zero = margins.clone();
    zero[0].levels[1].target = Some(0.0);
    zero[0].levels[0].target = Some(100.0);
    let (sex, m) = ("sex".to_owned(), "m".to_owned());
    assert_eq!(refused(&zero, &cells), Error::ZeroTarget { margin: sex.clone(), level: m.clone(), rows: 10 });
    zero[0].levels[1].target = None;
    assert_eq!(refused(&zero, &cells), Error::UntargetedLevel { margin: sex, level: m, rows: 10 });
    let mut null = cells.clone();
    null[1].codes[1] = None;
    assert_eq!(refused(&margins, &null), Error::NullLevel { margin: "age".to_owned(), rows: 5 });
    let mut totals = margins.clone();
    totals[1].levels[0].target = Some(30.1);
    assert!(matches!(refused(&totals, &cells), Error::MarginTotals { margin, .. } if margin == "age"));
    let rescaled = rake(&totals, &cells, &Options { totals: Totals::Rescale, ..Options::default() });
    assert!(rescaled.is_ok_and(|raked| raked.total == 100.0));
    totals[1].levels[0].target = Some(f64::NAN);
    assert!(matches!(refused(&totals, &cells), Error::Target { .. }));
    assert_eq!(refused(&margins, &[]), Error::NoRows);
    assert_eq!(refused(&[], &cells), Error::NoMargins);
    let mut weightless = cells.clone();
    weightless[2].weight = 0.0;
    assert_eq!(refused(&margins, &weightless), Error::BaseWeight { cell: 2, weight: 0.0, rows: 2 });
    let mut code = cells.clone();
    code[0].codes[0] = Some(2);
    assert!(matches!(refused(&margins, &code), Error::Shape { .. }));
    let never = rake(&margins, &cells, &Options { tolerance: 0.0, ..Options::default() });
    assert!(matches!(never, Err(Error::Parameter { name: "tolerance", .. })));
}

#[test]
fn cells_say_what_their_rows_would() {
    let rows = [(0, 1.1), (1, 0.3), (0, 2.7), (2, 1e-9), (1, 0.3), (0, 1.1), (2, 7e9)];
    let factors = [1.7, 0.0, 3e-5];
    let mut cells = vec![CellWeights::new(); 4];
    rows.iter().for_each(|(cell, weight): &(usize, f64)| cells[*cell].add(*weight));
    let found = factored_diagnostics(cells.iter().zip(factors.into_iter().chain([9.0]))).unwrap();
    let each = weight_diagnostics(rows.iter().map(|(cell, weight)| (weight * factors[*cell], 1))).unwrap();
    assert_eq!((found.n, found.min, found.max), (each.n, each.min, each.max));
    for (found, each) in [(found.sum, each.sum), (found.deff, each.deff), (found.ess, each.ess)] {
        assert!((found / each - 1.0).abs() < 1e-15, "{found} beside {each}");
    }
    assert!(factored_diagnostics([(&CellWeights::new(), 1.0)]).is_none());
    // Merged in pieces and through bytes it is the same.
    let (mut merged, mut bytes) = (CellWeights::new(), vec![]);
    for weight in [2.7, 1.1, 1.1] {
        let mut one = CellWeights::new();
        one.add(weight);
        one.to_bytes(&mut bytes);
        merged.merge(&CellWeights::from_bytes(&std::mem::take(&mut bytes)).unwrap());
    }
    let mut whole = vec![];
    merged.to_bytes(&mut bytes);
    cells[0].to_bytes(&mut whole);
    assert_eq!(bytes, whole);
    assert!(CellWeights::from_bytes(&bytes[1..]).is_err());
}

#[test]
fn diagnostics_do_not_depend_on_grouping() {
    let grouped = weight_diagnostics([(1.1, 3), (2.7, 2), (5.0, 0)]);
    let single = weight_diagnostics([(2.7, 1), (1.1, 1), (1.1, 1), (2.7, 1), (1.1, 1)]);
    assert_eq!(grouped, single);
    let equal = weight_diagnostics([(0.1, 10)]).unwrap();
    assert!((equal.deff - 1.0).abs() < 1e-15 && (equal.ess - 10.0).abs() < 1e-14);
    assert_eq!((equal.n, equal.min, equal.max), (10, 0.1, 0.1));
    assert_eq!(weight_diagnostics([]), None);
}
