//! Aggregates against hand-computed values and naive oracles, in every shape of execution. Never compares approximately.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use datafusion::prelude::col;
use strata_models::exact::{Moments, Sum};

use super::oracles::mode;
use super::session::{PLAIN, Shape, batch, failure, measured, query, row, session, shapes, table, with_sorted_table, with_table};

/// Every aggregate, over every kind of column of `sample`.
pub(super) const ALL: &str = "count(*) as n, exact_sum(d) as sum, exact_mean(d) as mean, exact_mean(i) as mean_i, exact_mean(price) as mean_price, exact_mean(big) as mean_big,
    exact_var_pop(d) as vp, exact_var_samp(d) as vs, exact_stddev_pop(d) as sp, exact_stddev_samp(d) as ss, exact_moments(d) as moments,
    exact_sum(d) filter (where i > 3) as some, exact_mean(i) filter (where flag) as mean_some, count_distinct(i) filter (where flag) as distinct_some,
    first_by(d, i, d, 'df,al') filter (where flag) as first_some, mode_of(name) filter (where i > 3) as mode_some,
    count_distinct(i) as c1, count_distinct(i32) as c2, count_distinct(big) as c3, count_distinct(day) as c4, count_distinct(ts) as c5, count_distinct(name) as c6,
    count_distinct(view) as c7, count_distinct(flag) as c8, count_distinct(price) as c9, count_distinct(arrow_cast(i, 'Int16')) as c10, count_distinct(arrow_cast(name, 'LargeUtf8')) as c11,
    mode_of(i) as m1, mode_of(i32) as m2, mode_of(big) as m3, mode_of(day) as m4, mode_of(ts) as m5, mode_of(name) as m6,
    mode_of(view) as m7, mode_of(flag) as m8, mode_of(price) as m9, mode_of(arrow_cast(name, 'LargeUtf8')) as m10,
    first_by(name, ts, i, 'dl,al') as f1, first_by(d, price, 'af') as f2, first_by(i, name, flag, 'al,df') as f3, first_by(flag, view, day, big, 'df,dl,al') as f4";

/// 4,000 rows in 60 groups and the group null; every column has nulls, doubles differ by 30 orders of magnitude.
pub(super) fn sample() -> RecordBatch {
    sample_of(4_000, |random| random % 61)
}

fn sample_of(rows: u64, group: impl Fn(u64) -> u64) -> RecordBatch {
    let random = |row: u64, stream: u64| {
        let mut x = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
        for _ in 0..3 {
            x = (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        }
        x ^ x >> 32
    };
    let some = |row: u64, stream: u64| (random(row, stream + 100) % 9 != 0).then(|| random(row, stream));
    let all = 0..rows;
    let float = |x: u64| (x as i64 >> 11) as f64 * 10_f64.powi((x % 30) as i32 - 30);
    let name = |x: u64| ["ash", "birch", "cedar", "", "elm", "fir", "größe"][(x % 7) as usize];
    let names: Vec<Option<&str>> = all.clone().map(|row| some(row, 7).map(name)).collect();
    let column: Vec<(&str, ArrayRef)> = vec![
        ("g", Arc::new(Int64Array::from_iter(all.clone().map(|row| Some(group(random(row, 1)) as i64).filter(|g| *g != 60))))),
        ("d", Arc::new(Float64Array::from_iter(all.clone().map(|row| some(row, 2).map(float))))),
        ("i", Arc::new(Int64Array::from_iter(all.clone().map(|row| some(row, 3).map(|x| x as i64 % 7))))),
        ("i32", Arc::new(Int32Array::from_iter(all.clone().map(|row| some(row, 4).map(|x| x as i32 % 50))))),
        ("big", Arc::new(UInt64Array::from_iter(all.clone().map(|row| some(row, 5).map(|x| u64::MAX - x % 20))))),
        (
            "price",
            Arc::new(
                Decimal128Array::from_iter(all.clone().map(|row| some(row, 6).map(|x| i128::from(x as i64 % 1000))))
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
        ),
        ("name", Arc::new(StringArray::from(names.clone()))),
        (
            "view",
            Arc::new(StringViewArray::from_iter(
                names.iter().map(|name| name.map(|name| format!("{name} and more than twelve bytes"))),
            )),
        ),
        ("flag", Arc::new(BooleanArray::from_iter(all.clone().map(|row| some(row, 8).map(|x| x % 3 == 0))))),
        ("day", Arc::new(Date32Array::from_iter(all.clone().map(|row| some(row, 9).map(|x| 19_000 + (x % 30) as i32))))),
        (
            "ts",
            Arc::new(TimestampMicrosecondArray::from_iter(
                all.map(|row| some(row, 10).map(|x| 1_700_000_000_000_000 + (x % 500) as i64 * 3_600_000_000)),
            )),
        ),
    ];
    batch(column)
}

#[tokio::test]
async fn answers_do_not_depend_on_the_shape() {
    let sample = sample();
    let grouped = format!("select g, {ALL} from t group by g order by g");
    let whole = format!("select {ALL} from t");
    let expected = (table(&with_table(PLAIN, &sample), &grouped).await, table(&with_table(PLAIN, &sample), &whole).await);
    assert_eq!(expected.0.lines().count(), 61 + 4);
    let mut skipped = 0;
    for shape in shapes() {
        let context = with_table(shape, &sample);
        let (answer, counters, plan) = measured(&context, &grouped).await;
        assert_eq!(answer, expected.0, "{shape:?}");
        assert_eq!(plan.contains("mode=Partial"), shape.partitions > 1, "{plan}");
        // A partition of one batch has nothing left to skip.
        if shape.partitions > 1 && shape.batch_size == 3 {
            assert_eq!(counters["skipped_aggregation_rows"] > 0, shape.skip_partial, "{shape:?}");
            skipped += counters["skipped_aggregation_rows"];
        }
        assert_eq!(table(&context, &whole).await, expected.1, "{shape:?}");
    }
    assert!(skipped > 4_000, "{skipped}");
}

/// One row of the groups of `sample`, computed naively.
#[derive(Default)]
struct Naive {
    doubles: Vec<f64>,
    integers: Vec<i64>,
    names: Vec<String>,
}

#[tokio::test]
async fn answers_are_those_of_naive_oracles() {
    let sample = sample();
    let mut groups: BTreeMap<Option<i64>, Naive> = BTreeMap::new();
    let (g, d, i) = (
        sample["g"].as_primitive::<Int64Type>(),
        sample["d"].as_primitive::<Float64Type>(),
        sample["i"].as_primitive::<Int64Type>(),
    );
    for (((g, d), i), name) in g.iter().zip(d).zip(i).zip(sample["name"].as_string::<i32>()) {
        let group = groups.entry(g).or_default();
        group.doubles.extend(d);
        group.integers.extend(i);
        group.names.extend(name.map(str::to_owned));
    }
    let sql = "select g, exact_sum(d), exact_mean(d), exact_mean(i), exact_var_pop(d), exact_stddev_samp(d), count_distinct(i), count_distinct(name), mode_of(i), mode_of(name), exact_moments(d)
        from t group by g order by g nulls first";
    let batches = query(&with_table(Shape { partitions: 3, batch_size: 100, ..PLAIN }, &sample), sql).await.unwrap();
    let answer = datafusion::arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    assert_eq!(answer.num_rows(), groups.len());
    for (row, (g, naive)) in groups.iter().enumerate() {
        let double = |column: usize| answer.column(column).as_primitive::<Float64Type>().value(row);
        let integer = |column: usize| answer.column(column).as_primitive::<Int64Type>().value(row);
        let (mut sum, mut moments) = (Sum::new(), Moments::new());
        naive.doubles.iter().for_each(|x| sum.add(*x));
        naive.doubles.iter().for_each(|x| moments.add(*x));
        assert_eq!(double(1), sum.value(), "{g:?}");
        assert_eq!(double(2), moments.mean().unwrap());
        assert_eq!(double(3), naive.integers.iter().sum::<i64>() as f64 / naive.integers.len() as f64);
        assert_eq!(double(4), moments.variance_population().unwrap());
        assert_eq!(double(5), moments.variance_sample().unwrap().sqrt());
        assert_eq!(integer(6), naive.integers.iter().collect::<BTreeSet<_>>().len() as i64);
        assert_eq!(integer(7), naive.names.iter().collect::<BTreeSet<_>>().len() as i64);
        assert_eq!(integer(8), mode(&naive.integers).unwrap());
        assert_eq!(answer.column(9).as_string::<i32>().value(row), mode(&naive.names).unwrap());
        let mut bytes = Vec::new();
        moments.to_bytes(&mut bytes);
        assert_eq!(answer.column(10).as_binary::<i32>().value(row), bytes);
    }
}

#[tokio::test]
async fn hand_computed_values() {
    let context = session(PLAIN);
    for (sql, expected) in [
        ("select exact_sum(x) from (values (1e100), (1.0), (-1e100)) v(x)", "1.0"),
        ("select exact_mean(x) from (values (9223372036854775807), (9223372036854775807), (1)) v(x)", "6.148914691236517e18"),
        ("select exact_mean(x) from (values (1), (2), (null)) v(x)", "1.5"),
        ("select exact_mean(cast(x as decimal(10, 2))) from (values (0.10), (0.20), (0.30)) v(x)", "0.2"),
        ("select exact_mean(cast(x as tinyint)) from (values (100), (100), (101)) v(x)", "100.33333333333333"),
        ("select exact_var_samp(x) from (values (1.0), (2.0), (3.0), (4.0)) v(x)", "1.6666666666666667"),
        ("select exact_var_pop(x) from (values (1), (2), (3), (4)) v(x)", "1.25"),
        ("select exact_stddev_pop(x) from (values (2), (4), (4), (4), (5), (5), (7), (9)) v(x)", "2.0"),
        ("select exact_stddev_samp(x) from (values (1)) v(x)", ""),
        ("select exact_var_pop(x) from (values (1)) v(x)", "0.0"),
        ("select count_distinct(x) from (values (1), (2), (null), (2)) v(x)", "2"),
        ("select count_distinct(x) from (values (null), (null)) v(x)", "0"),
        ("select mode_of(x) from (values ('b'), ('a'), ('b'), ('a'), ('c'), (null), (null), (null)) v(x)", "a"),
        ("select mode_of(x) from (values (3), (-5), (3), (-5), (9)) v(x)", "-5"),
        ("select mode_of(x) from (values (false), (true), (true)) v(x)", "true"),
        ("select mode_of(cast(x as decimal(10, 2))) from (values (1.5), (-2.5)) v(x)", "-2.50"),
        ("select first_by(x, k, 'al') from (values ('late', 2), ('first', 1), ('none', null)) v(x, k)", "first"),
        ("select first_by(x, k, 'af') from (values ('late', 2), ('first', 1), ('none', null)) v(x, k)", "none"),
        ("select first_by(x, k, 'dl') from (values ('late', 2), ('first', 1), ('none', null)) v(x, k)", "late"),
        ("select first_by(x, k, 'df') from (values ('late', 2), ('first', 1), ('none', null)) v(x, k)", "none"),
        ("select first_by(x, k, 'al') is null from (values (null, 1), ('second', 2)) v(x, k)", "true"),
        ("select first_by(x, a, b, 'dl, al') from (values ('x', 1, 1), ('y', 2, 8), ('z', 2, 7)) v(x, a, b)", "z"),
        ("select first_by(x, k, 'al') from (values ('b', 1), ('a', 1), ('c', 1)) v(x, k)", "a"),
        ("select exact_sum(x) filter (where x > 5) is null from (values (1.0), (2.0)) v(x)", "true"),
    ] {
        assert_eq!(row(&context, sql).await[0], expected, "{sql}");
    }
    let nothing = with_table(PLAIN, &sample().slice(0, 0));
    let sql = "select exact_sum(d), exact_mean(d), exact_mean(i), exact_var_pop(d), exact_moments(d), mode_of(name), first_by(d, i, 'al'), count_distinct(i) from t";
    assert_eq!(row(&nothing, sql).await, ["", "", "", "", "", "", "", "0"]);
    assert_eq!(
        query(&nothing, &format!("select g, {ALL} from t group by g"))
            .await
            .unwrap()
            .iter()
            .map(RecordBatch::num_rows)
            .sum::<usize>(),
        0
    );
}

#[tokio::test]
async fn running_windows_keep_their_state() {
    let sql = "select k, exact_sum(x) over w as s, count_distinct(x) over w as c, mode_of(y) over w as m, first_by(y, y, 'dl') over w as f
        from (values (1, 1.0, 5), (2, 1.0, 3), (3, 2.0, 3), (4, 0.5, 9)) v(k, x, y) window w as (order by k) order by k";
    let sql = sql.replace("count_distinct(x)", "count_distinct(y)");
    let expected = "\
+---+-----+---+---+---+
| k | s   | c | m | f |
+---+-----+---+---+---+
| 1 | 1.0 | 1 | 5 | 5 |
| 2 | 2.0 | 2 | 3 | 5 |
| 3 | 4.0 | 2 | 3 | 5 |
| 4 | 4.5 | 3 | 3 | 9 |
+---+-----+---+---+---+";
    assert_eq!(table(&session(PLAIN), &sql).await, expected);
}

#[tokio::test]
async fn dictionaries_are_texts() {
    let names: DictionaryArray<Int32Type> = vec![Some("b"), Some("a"), None, Some("b")].into_iter().collect();
    let context = with_table(PLAIN, &batch(vec![("x", Arc::new(names)), ("k", Arc::new(Int32Array::from(vec![4, 3, 2, 1])))]));
    assert_eq!(
        row(&context, "select mode_of(x), count_distinct(x), first_by(x, k, 'al'), first_by(k, x, 'al') from t").await,
        ["b", "2", "b", "3"]
    );
}

#[tokio::test]
async fn errors_say_what_to_write() {
    let context = with_table(PLAIN, &sample());
    for (sql, help) in [
        ("count_distinct(d)", "cast(x as decimal(18, 2))"),
        ("mode_of(d)", "cast(x as decimal(18, 2))"),
        ("exact_sum(name)", "cast(x as double)"),
        ("exact_mean(flag)", "cast(x as double)"),
        ("exact_mean(cast(i as decimal(38, 20)))", "cast(x as double)"),
        ("exact_sum(distinct d), exact_sum(distinct i)", "`select distinct`"),
        ("first_by(d, i, 'a')", "`a` is no order"),
        ("first_by(d, i, 'al,al')", "2 parts for 1 keys"),
        ("first_by(d, i, name)", "must be a text literal"),
        ("first_by(d, 'al')", "first_by(x, k1, .., kn, 'al,df')"),
        ("count_distinct(i, d)", "write `count_distinct(x)`"),
    ] {
        let message = failure(&context, &format!("select {sql} from t group by g")).await;
        assert!(message.contains(help), "{sql}: {message}");
    }
}

/// 100,000 groups, in order: groups are emitted while rows still arrive.
#[tokio::test]
async fn ordered_groups_are_emitted_as_they_close() {
    let rows = 300_000_u64;
    let sample = sample_of(rows, |random| random);
    let g: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows as i64).map(|row| row / 3)));
    let h: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows as i64).map(|row| row * 7 % 2)));
    let mut columns = sample.columns().to_vec();
    columns[0] = Arc::clone(&g);
    let mut t = RecordBatch::try_new(sample.schema(), columns).unwrap();
    t = batch(
        t.schema()
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .zip(t.columns().iter().cloned())
            .chain([("h", h)])
            .collect(),
    );

    let check = |group: &str| {
        format!(
            "select count(*), sum(n), sum(c1), sum(c6), count_distinct(m6), sum(m1), exact_sum(sum), exact_sum(vp), sum(cents(mean_price)), count(f1), sum(f3), count(f4), max(m7)
             from (select {group}, {ALL} from t group by {group})"
        )
    };
    for (group, mode) in [("g", "ordering_mode=Sorted"), ("g, h", "ordering_mode=PartiallySorted")] {
        let expected = row(&with_table(PLAIN, &t), &check(group)).await;
        assert_eq!(expected[1], rows.to_string());
        for batch_size in [100, 8192] {
            let sorted = with_sorted_table(Shape { batch_size, ..PLAIN }, &t, vec![col("g").sort(true, false)]);
            let (_, _, plan) = measured(&sorted, &check(group)).await;
            assert!(plan.contains(mode), "{plan}");
            assert_eq!(row(&sorted, &check(group)).await, expected);
        }
        let many = with_table(Shape { partitions: 2, skip_partial: true, shuffle: 5, ..PLAIN }, &t);
        assert_eq!(row(&many, &check(group)).await, expected);
        let (_, counters, _) = measured(&many, &check(group)).await;
        assert!(counters["skipped_aggregation_rows"] > 100_000);
    }
}
