//! Aggregates over random rows in random shapes of execution, against the definitions. Never shares code with what it checks.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, Int32Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::{Int32Type, Int64Type};
use proptest::prelude::*;

use super::session::{batch, query, shapes, with_table};

/// The most frequent value, the smallest of them.
pub(super) fn mode<T: Ord + Clone>(values: &[T]) -> Option<T> {
    let mut counts: BTreeMap<&T, i64> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let most = *counts.values().max()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(value, _)| value.clone())
}

type Row = (Option<i32>, Option<i32>, Option<String>);

/// The row that comes first by a letter pair per key, then by x with null first.
fn first(rows: &[Row], orders: [&str; 2]) -> Option<Option<i32>> {
    let compare = |order: &str, left: Option<Ordering>, nulls: (bool, bool)| match nulls {
        (true, true) => Ordering::Equal,
        (true, false) => {
            if order.ends_with('f') {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (false, true) => {
            if order.ends_with('f') {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        (false, false) => {
            if order.starts_with('d') {
                left.unwrap().reverse()
            } else {
                left.unwrap()
            }
        }
    };
    let best = rows.iter().min_by(|a, b| {
        let k1 = compare(orders[0], a.1.zip(b.1).map(|(a, b)| a.cmp(&b)), (a.1.is_none(), b.1.is_none()));
        let k2 = compare(orders[1], a.2.as_ref().zip(b.2.as_ref()).map(|(a, b)| a.cmp(b)), (a.2.is_none(), b.2.is_none()));
        k1.then(k2).then(a.0.cmp(&b.0))
    });
    best.map(|row| row.0)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn first_rows_are_those_of_a_sort(
        rows in prop::collection::vec((0_i64..4, (prop::option::of(-2_i32..3), prop::option::of(-2_i32..3), prop::option::of("[ab]{0,2}"))), 1..60),
        k1 in prop::sample::select(&["af", "al", "df", "dl"][..]),
        k2 in prop::sample::select(&["af", "al", "df", "dl"][..]),
        shape in prop::sample::select(shapes()),
    ) {
        let t = batch(vec![
            ("g", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
            ("x", Arc::new(Int32Array::from_iter(rows.iter().map(|row| row.1.0)))),
            ("k1", Arc::new(Int32Array::from_iter(rows.iter().map(|row| row.1.1)))),
            ("k2", Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1.2.clone())))),
        ]);
        let sql = format!("select g, first_by(x, k1, k2, '{k1},{k2}') from t group by g order by g");
        let batches = run(query(&with_table(shape, &t), &sql)).unwrap();
        let mut answer = Vec::new();
        for batch in &batches {
            answer.extend(batch.column(0).as_primitive::<Int64Type>().values().iter().copied().zip(batch.column(1).as_primitive::<Int32Type>()));
        }
        let mut groups: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
        rows.iter().for_each(|row| groups.entry(row.0).or_default().push(row.1.clone()));
        let expected: Vec<_> = groups.iter().map(|(g, rows)| (*g, first(rows, [k1, k2]).unwrap())).collect();
        prop_assert_eq!(answer, expected);
    }

    #[test]
    fn sets_and_modes_are_those_of_a_map(
        rows in prop::collection::vec((0_i64..4, prop::option::of(-3_i64..4), prop::option::of("[a-c]{0,1}")), 1..80),
        shape in prop::sample::select(shapes()),
    ) {
        let t = batch(vec![
            ("g", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
            ("i", Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.1)))),
            ("s", Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2.clone())))),
        ]);
        let sql = "select g, count_distinct(i), mode_of(i), count_distinct(s), mode_of(s) from t group by g order by g";
        let batches = run(query(&with_table(shape, &t), sql)).unwrap();
        let mut answer = Vec::new();
        for batch in &batches {
            let number = |column: usize| batch.column(column).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let text = batch.column(4).as_string::<i32>().iter().nth(row).unwrap().map(str::to_owned);
                answer.push((number(0).value(row), number(1).value(row), number(2).iter().nth(row).unwrap(), number(3).value(row), text));
            }
        }
        let mut groups: BTreeMap<i64, (Vec<i64>, Vec<String>)> = BTreeMap::new();
        for (g, i, s) in &rows {
            let group = groups.entry(*g).or_default();
            group.0.extend(i);
            group.1.extend(s.clone());
        }
        let distinct = |n: usize| n as i64;
        let expected: Vec<_> = groups.iter().map(|(g, (i, s))| {
            (*g, distinct(i.iter().collect::<BTreeSet<_>>().len()), mode(i), distinct(s.iter().collect::<BTreeSet<_>>().len()), mode(s))
        }).collect();
        prop_assert_eq!(answer, expected);
    }
}
