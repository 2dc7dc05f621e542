//! Tests of quotas on tables small enough to see, and against every plan there is. They never read files.

use proptest::prelude::*;

use super::*;

fn margin(name: &str, levels: &[(&str, u64)]) -> Margin {
    let levels = levels.iter().map(|&(name, target)| Level { name: name.to_owned(), target }).collect();
    Margin { name: name.to_owned(), levels }
}

fn cells(table: &[(&[u32], u64)]) -> Vec<Cell> {
    table.iter().map(|&(codes, supply)| Cell { codes: codes.to_vec(), supply }).collect()
}

fn filled(margins: &[Margin], cells: &[Cell]) -> Plan {
    match plan(margins, cells) {
        Ok(Outcome::Filled(plan)) => plan,
        other => panic!("{other:?}"),
    }
}

fn clash(margins: &[Margin], cells: &[Cell]) -> Clash {
    match plan(margins, cells) {
        Ok(Outcome::Clash(clash)) => *clash,
        other => panic!("{other:?}"),
    }
}

fn names(clash: &Clash) -> Vec<(&str, Side)> {
    clash.quotas.iter().map(|quota| (quota.level.as_str(), quota.side)).collect()
}

fn sexes_and_ages(f: u64, m: u64, young: u64, old: u64) -> [Margin; 2] {
    [margin("sex", &[("f", f), ("m", m)]), margin("age", &[("young", young), ("old", old)])]
}

#[test]
fn interlocked_quotas_are_filled_or_the_shortest_is_named() {
    let quotas = [margin("cell", &[("north", 5), ("south", 7), ("west", 0)])];
    let eligible = cells(&[(&[0], 9), (&[1], 7), (&[2], 4)]);
    assert_eq!(filled(&quotas, &eligible), Plan { rows: vec![5, 7, 0], total: 12 });
    let short = clash(&quotas, &cells(&[(&[0], 9), (&[1], 3), (&[2], 4)]));
    assert_eq!((names(&short), short.is_smallest), (vec![("south", Side::Needs)], true));
    assert_eq!((short.needed, short.available), (7.0, Some(3.0)));
    // Four are missing in the south: the north has them; the west, not asked for, stays out.
    assert_eq!((short.nearest, short.moved, short.plan.rows), (vec![vec![9, 3, 0]], 8, vec![9, 3, 0]));
    assert_eq!(short.quotas[0].supply, 3);
    let few = clash(&quotas, &cells(&[(&[0], 2), (&[1], 3), (&[2], 4)]));
    // All nine who are eligible; the south lacks most.
    assert_eq!((few.nearest.clone(), few.plan.total, names(&few)), (vec![vec![2, 3, 4]], 9, vec![("south", Side::Needs)]));
}

#[test]
fn two_margins_are_filled_in_proportion() {
    // All four cells have 100 people: 60/40 by 30/70 is 18, 42, 12, 28.
    let quotas = sexes_and_ages(60, 40, 30, 70);
    let even = cells(&[(&[0, 0], 100), (&[0, 1], 100), (&[1, 0], 100), (&[1, 1], 100)]);
    assert_eq!(filled(&quotas, &even).rows, [18, 42, 12, 28]);
    // Only 10 young women: the odds ratio of a tenth is kept, as far as whole people can (7·17/(53·23) = 0.098).
    let few = cells(&[(&[0, 0], 10), (&[0, 1], 100), (&[1, 0], 100), (&[1, 1], 100)]);
    assert_eq!(filled(&quotas, &few).rows, [7, 53, 23, 17]);
    // In proportion it would be 9.35 young women, but there are 9.
    let all = cells(&[(&[0, 0], 9), (&[0, 1], 52), (&[1, 0], 100), (&[1, 1], 100)]);
    assert_eq!(filled(&quotas, &all).rows, [9, 51, 21, 19]);
    // No young women at all, and 60 + 30 + 10 people.
    let none = cells(&[(&[0, 1], 100), (&[1, 0], 100), (&[1, 1], 10)]);
    assert_eq!(filled(&quotas, &none).rows, [60, 30, 10]);
}

#[test]
fn the_smallest_clash_of_two_margins_has_its_proof() {
    // Women are nearly all old: 60 women and 10 old people cannot be: 50 would have to be young, and 5 are.
    let quotas = sexes_and_ages(60, 40, 90, 10);
    let found = clash(&quotas, &cells(&[(&[0, 0], 5), (&[0, 1], 200), (&[1, 0], 300), (&[1, 1], 300)]));
    assert_eq!(names(&found), [("f", Side::Needs), ("old", Side::Limits)]);
    assert_eq!((found.is_smallest, found.needed, found.available), (true, 50.0, Some(5.0)));
    assert_eq!(
        found.describe(),
        "the quotas `sex` = `f` (60) need 50 people beyond those that `age` = `old` (10) allow, but 5 are eligible there"
    );
    // 45 people have to move from a quota to its neighbour, in one margin or the other: 90 in all.
    assert_eq!((found.moved, found.plan.total), (90, 100));
    let sums = |of: usize, code: u32| -> u64 {
        let codes = [[0, 0], [0, 1], [1, 0], [1, 1]];
        codes.iter().zip(&found.plan.rows).filter(|(codes, _)| codes[of] == code).map(|(_, rows)| rows).sum()
    };
    assert_eq!(found.nearest, [[sums(0, 0), sums(0, 1)], [sums(1, 0), sums(1, 1)]]);
}

#[test]
fn three_margins_may_clash_only_in_whole_people() {
    // Of eight cells only those with an odd number of second levels, one person each: one of every level means half a person
    // of each cell.
    let quotas =
        [margin("a", &[("a0", 1), ("a1", 1)]), margin("b", &[("b0", 1), ("b1", 1)]), margin("c", &[("c0", 1), ("c1", 1)])];
    let odd = cells(&[(&[0, 0, 1], 1), (&[0, 1, 0], 1), (&[1, 0, 0], 1), (&[1, 1, 1], 1)]);
    let found = clash(&quotas, &odd);
    assert_eq!((found.available, found.is_smallest), (None, false));
    assert!(!found.quotas.is_empty() && found.describe().starts_with("no whole numbers"), "{found:?}");
    // Two people, one of them moved in one margin.
    assert_eq!((found.plan.total, found.moved), (2, 2));
}

#[test]
fn senseless_quotas_are_refused() {
    let eligible = cells(&[(&[0, 0], 5)]);
    let refused = |margins: &[Margin], cells: &[Cell]| plan(margins, cells).err().unwrap();
    assert_eq!(refused(&[], &eligible), Error::NoMargins.into());
    assert_eq!(refused(&sexes_and_ages(0, 0, 0, 0), &eligible), Error::Empty.into());
    let (margin, first) = ("age".to_owned(), "sex".to_owned());
    assert_eq!(refused(&sexes_and_ages(1, 2, 1, 3), &eligible), Error::Totals { margin, total: 4, first, first_total: 3 }.into());
    assert!(matches!(refused(&sexes_and_ages(1, 2, 1, 2), &cells(&[(&[0], 5)])), crate::Error::Shape { .. }));
    assert!(matches!(refused(&sexes_and_ages(1, 2, 1, 2), &cells(&[(&[0, 2], 5)])), crate::Error::Shape { .. }));
}

/// Every way to take up to the supply of each cell.
fn all_plans(supply: &[u64]) -> Vec<Vec<u64>> {
    supply.iter().fold(vec![vec![]], |plans, &most| {
        plans.iter().flat_map(|plan| (0..=most).map(|rows| [&plan[..], &[rows]].concat())).collect()
    })
}

fn sums(cells: &[Cell], rows: &[u64], levels: &[usize]) -> Vec<Vec<u64>> {
    let mut sums: Vec<Vec<u64>> = levels.iter().map(|&levels| vec![0; levels]).collect();
    for (cell, rows) in cells.iter().zip(rows) {
        cell.codes.iter().enumerate().for_each(|(margin, &code)| sums[margin][code as usize] += rows);
    }
    sums
}

/// Compares with every plan there is.
fn agrees_with_all_plans(margins: &[Margin], eligible: &[Cell]) -> std::result::Result<(), TestCaseError> {
    let levels: Vec<usize> = margins.iter().map(|margin| margin.levels.len()).collect();
    let targets: Vec<Vec<u64>> = margins.iter().map(|m| m.levels.iter().map(|level| level.target).collect()).collect();
    let plans = all_plans(&eligible.iter().map(|cell| cell.supply).collect::<Vec<_>>());
    let all_sums: Vec<Vec<Vec<u64>>> = plans.iter().map(|plan| sums(eligible, plan, &levels)).collect();
    match plan(margins, eligible)? {
        Outcome::Filled(plan) => prop_assert_eq!(sums(eligible, &plan.rows, &levels), targets),
        Outcome::Clash(found) => {
            prop_assert!(!all_sums.contains(&targets), "{targets:?}");
            let place = |quota: &Clashing| {
                let margin = margins.iter().position(|margin| margin.name == quota.margin).unwrap();
                (margin, margins[margin].levels.iter().position(|level| level.name == quota.level).unwrap())
            };
            let rows: Vec<(usize, usize)> = found.quotas.iter().map(place).collect();
            let can = |rows: &[(usize, usize)]| {
                all_sums.iter().any(|sums| rows.iter().all(|&(margin, level)| sums[margin][level] == targets[margin][level]))
            };
            prop_assert!(!can(&rows), "{found:?} does not clash");
            for at in 0..rows.len() {
                let rest: Vec<_> =
                    rows.iter().copied().enumerate().filter(|&(other, _)| other != at).map(|(_, row)| row).collect();
                prop_assert!(can(&rest), "{found:?} is not the smallest");
            }
            if let Some(available) = found.available {
                prop_assert!(found.needed > available + 1e-6, "{found:?}");
            }
            // The nearest quotas: nothing with as many people is nearer.
            let total = found.plan.total;
            let distance = |sums: &[Vec<u64>]| -> u64 {
                sums.iter().flatten().zip(targets.iter().flatten()).map(|(a, b)| a.abs_diff(*b)).sum()
            };
            let people = |sums: &[Vec<u64>]| sums[0].iter().sum::<u64>();
            let least = all_sums.iter().filter(|sums| people(sums) == total).map(|sums| distance(sums)).min();
            prop_assert_eq!(Some(found.moved), least);
            prop_assert_eq!(total, targets[0].iter().sum::<u64>().min(eligible.iter().map(|cell| cell.supply).sum()));
            prop_assert_eq!(sums(eligible, &found.plan.rows, &levels), found.nearest);
        }
    }
    Ok(())
}

fn named(name: &str, targets: &[u64]) -> Margin {
    let levels = targets.iter().enumerate().map(|(i, &target)| Level { name: format!("{name}{i}"), target });
    Margin { name: name.to_owned(), levels: levels.collect() }
}

/// The same total, cut at other places.
fn cut(total: u64, at: &[u64]) -> Vec<u64> {
    let mut ends: Vec<u64> = at.iter().map(|x| x % (total + 1)).collect();
    ends.extend([0, total]);
    ends.sort_unstable();
    ends.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn two_margins_agree_with_all_plans(
        supply in prop::collection::vec(0u64..4, 6), total in 1u64..9, a in 0u64..9, b in prop::collection::vec(0u64..9, 2),
    ) {
        let margins = [named("a", &cut(total, &[a])), named("b", &cut(total, &b))];
        let eligible: Vec<Cell> =
            (0u32..6).map(|i| Cell { codes: vec![i / 3, i % 3], supply: supply[i as usize] }).filter(|c| c.supply > 0).collect();
        agrees_with_all_plans(&margins, &eligible)?;
    }

    #[test]
    fn three_margins_agree_with_all_plans(
        supply in prop::collection::vec(0u64..3, 8), total in 1u64..7, cuts in prop::collection::vec(0u64..7, 3),
    ) {
        let margins: Vec<Margin> = ["a", "b", "c"].iter().zip(&cuts).map(|(name, &at)| named(name, &cut(total, &[at]))).collect();
        let eligible: Vec<Cell> = (0..8)
            .map(|i| Cell { codes: vec![i / 4, i / 2 % 2, i % 2], supply: supply[i as usize] })
            .filter(|cell| cell.supply > 0)
            .collect();
        agrees_with_all_plans(&margins, &eligible)?;
    }
}
