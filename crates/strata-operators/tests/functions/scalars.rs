//! Scalar functions against hand-computed values and naive oracles. Never trusts one form of argument: values are tried as literals and as columns.

use std::sync::Arc;

use chrono::{Datelike, NaiveDate, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use datafusion::arrow::array::{
    Array, AsArray, Date32Array, Float64Array, Int64Array, StringArray, StringViewArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::{Date32Type, Float64Type, Int32Type, Int64Type};
use proptest::prelude::*;
use strata_operators::functions::{permanent_random_number, set_secret_resolver};

use super::session::{PLAIN, batch, failure, query, row, session, with_table};

async fn one(sql: &str) -> String {
    row(&session(PLAIN), &format!("select {sql}")).await.swap_remove(0)
}

async fn fails(sql: &str) -> String {
    failure(&session(PLAIN), &format!("select {sql}")).await
}

#[tokio::test]
async fn cents_are_exact() {
    for (sql, expected) in [
        ("cents(cast('12.34' as decimal(10, 2)))", "1234"),
        ("cents(cast('-12.3' as decimal(10, 1)))", "-1230"),
        ("cents(cast('12' as decimal(10, 0)))", "1200"),
        ("cents(cast('12.3400' as decimal(12, 4)))", "1234"),
        ("cents(cast('92233720368547758.07' as decimal(38, 2)))", "9223372036854775807"),
        ("cents(7)", "700"),
        ("cents(cast(7 as smallint))", "700"),
        ("cents(cast(7 as bigint unsigned))", "700"),
        ("cents(-92233720368547758)", "-9223372036854775800"),
        ("cents(cast(0.125 as double))", "13"),
        ("cents(cast(-0.125 as double))", "-13"),
        ("cents(cast(19.99 as double))", "1999"),
        ("cents(cast(0.1 as double) + cast(0.2 as double))", "30"),
        ("cents(null)", ""),
        ("cents(cast(null as decimal(10, 2)))", ""),
    ] {
        assert_eq!(one(sql).await, expected, "{sql}");
    }
    for (sql, help) in [
        ("cents(cast('12.345' as decimal(10, 3)))", "write `cents(round(x, 2))`"),
        ("cents(92233720368547759)", "does not fit 64 bits"),
        ("cents(cast('92233720368547758.08' as decimal(38, 2)))", "does not fit 64 bits"),
        ("cents(cast('NaN' as double))", "does not fit 64 bits"),
        ("cents(cast(1e17 as double))", "does not fit 64 bits"),
        ("cents('12.34')", "write `cents(cast(x as decimal(18, 2)))`"),
        ("cents()", "cents(x)"),
        ("cents(1, 2)", "write `cents(x)`"),
    ] {
        let message = fails(sql).await;
        assert!(message.contains(help), "{sql}: {message}");
    }
}

#[tokio::test]
async fn ages_turn_on_the_birthday() {
    for (birth, at, expected) in [
        ("2000-02-29", "2001-02-28", "0"),
        ("2000-02-29", "2001-03-01", "1"),
        ("2000-02-29", "2004-02-28", "3"),
        ("2000-02-29", "2004-02-29", "4"),
        ("1980-05-17", "2024-05-16", "43"),
        ("1980-05-17", "2024-05-17", "44"),
        ("1980-12-31", "2024-01-01", "43"),
        ("1980-03-01", "2024-02-29", "43"),
        ("2024-01-02", "2024-01-01", "-1"),
        ("0001-01-01", "2024-01-01", "2023"),
    ] {
        assert_eq!(one(&format!("age_years(date '{birth}', date '{at}')")).await, expected, "{birth} {at}");
    }
    assert_eq!(one("days_between(date '2023-12-31', date '2024-03-01')").await, "61");
    assert_eq!(one("days_between(date '2024-03-01', date '2023-12-31')").await, "-61");
    assert_eq!(one("days_between(null, date '2023-12-31')").await, "");
    let message = fails("age_years(timestamp '2024-01-01 00:00:00', date '2024-01-01')").await;
    assert!(message.contains("write `local_date("), "{message}");
    let message = fails("age_years('2024-01-01', date '2024-01-01')").await;
    assert!(message.contains("write `cast(x as date)`"), "{message}");
}

#[tokio::test]
async fn hours_and_parts_of_the_day() {
    for (hour, part) in [
        (0, "night"),
        (5, "night"),
        (6, "morning"),
        (11, "morning"),
        (12, "afternoon"),
        (17, "afternoon"),
        (18, "evening"),
        (23, "evening"),
    ] {
        assert_eq!(one(&format!("daypart({hour})")).await, part);
    }
    assert_eq!(one("daypart(null)").await, "");
    for (sql, expected) in [
        ("local_hour(timestamp '2024-03-31 00:59:59', 'Europe/Berlin')", "1"),
        ("local_hour(timestamp '2024-03-31 01:00:00', 'Europe/Berlin')", "3"),
        ("local_hour(timestamp '2024-10-27 00:30:00', 'Europe/Berlin')", "2"),
        ("local_hour(timestamp '2024-10-27 01:30:00', 'Europe/Berlin')", "2"),
        ("local_hour(timestamp '2024-06-01 18:45:00', 'Asia/Kolkata')", "0"),
        ("local_hour(timestamp '1969-12-31 23:59:59.5', 'UTC')", "23"),
        ("local_date(timestamp '2024-06-01 23:30:00', 'Europe/Berlin')", "2024-06-02"),
        ("local_date(timestamp '2024-06-01 23:30:00', 'UTC')", "2024-06-01"),
        ("local_date(timestamp '2024-01-01 04:59:59', 'America/New_York')", "2023-12-31"),
        ("local_date(timestamp '1969-12-31 23:59:59.5', 'UTC')", "1969-12-31"),
        ("local_date(date '2024-06-01', 'America/New_York')", "2024-06-01"),
        (
            "local_date(arrow_cast('2024-06-01T23:30:00+00:00', 'Timestamp(Second, Some(\"America/New_York\"))'), 'Europe/Berlin')",
            "2024-06-02",
        ),
        ("local_isodow(date '1970-01-01', 'UTC')", "4"),
        ("local_isodow(date '1969-12-28', 'UTC')", "7"),
        ("local_isodow(timestamp '2024-06-02 23:30:00', 'Europe/Berlin')", "1"),
        ("local_isodow(null, 'Europe/Berlin')", ""),
    ] {
        assert_eq!(one(sql).await, expected, "{sql}");
    }
    let message = fails("local_date(timestamp '2024-06-01 23:30:00', 'Berlin')").await;
    assert!(message.contains("`Berlin`") && message.contains("`Europe/Berlin`"), "{message}");
    let message = fails("local_hour(date '2024-06-01', 'UTC')").await;
    assert!(message.contains("a date has no hour"), "{message}");
    let message = fails("local_hour(now(), zone) from (values ('UTC'), ('GMT')) v(zone)").await;
    assert!(message.contains("must be a literal"), "{message}");
}

#[tokio::test]
async fn permanent_random_numbers_are_the_keyed_hash() {
    // Computed once with another implementation of HMAC-SHA256 and exact rationals.
    for (sql, expected) in [
        ("prn('seed:42', 'panel', 1)", 0.723_561_516_520_372_4),
        ("prn('seed:42', 'panel', '1')", 0.723_561_516_520_372_4),
        ("prn('seed:42', 'panel', -17)", 0.685_525_658_395_466_3),
        ("prn('seed:42', 'panel', 'A-007')", 0.542_820_823_009_784_2),
        ("prn('seed:42', 'other', cast(1 as smallint))", 0.515_079_284_388_114_7),
        ("prn('seed:42', 'panel', '')", 0.975_195_960_990_434_8),
        ("prn('seed:42', 'panel', cast('18446744073709551615' as bigint unsigned))", 0.785_967_979_026_693_8_f64),
    ] {
        assert_eq!(one(sql).await.parse::<f64>().unwrap(), expected, "{sql}");
    }
    assert_eq!(one("prn('seed:42', 'panel', cast(null as bigint))").await, "");
    assert_eq!(permanent_random_number(b"seed:42", "panel", "1").unwrap(), 0.723_561_516_520_372_4);

    set_secret_resolver(|name| (name == "PANEL_KEY").then(|| "s3cret".to_owned()));
    assert_eq!(one("prn('env:PANEL_KEY', 'panel', 1)").await.parse::<f64>().unwrap(), 0.781_806_874_262_351_2);
    let message = fails("prn('env:OTHER_KEY', 'panel', 1)").await;
    assert!(message.contains("`OTHER_KEY`") && !message.contains("s3cret"), "{message}");
    let message = fails("prn('hunter2', 'panel', 1)").await;
    assert!(message.contains("write `seed:42` or `env:PANEL_KEY`"), "{message}");
    let message = fails("prn(k, 'panel', 1) from (values ('seed:1'), ('seed:2')) v(k)").await;
    assert!(message.contains("must be a literal"), "{message}");
    let message = fails("prn('seed:42', 'panel', 1.5)").await;
    assert!(message.contains("an integer or text"), "{message}");
}

#[tokio::test]
async fn ids_give_the_same_number_in_every_type() {
    let texts = ["1", "20", "300"];
    let t = batch(vec![
        ("int", Arc::new(Int64Array::from(vec![1, 20, 300]))),
        ("uint", Arc::new(UInt64Array::from(vec![1, 20, 300]))),
        ("text", Arc::new(StringArray::from(texts.to_vec()))),
        ("view", Arc::new(StringViewArray::from(texts.to_vec()))),
    ]);
    let context = with_table(PLAIN, &t);
    let sql = "select prn('seed:7', 'p', int), prn('seed:7', 'p', uint), prn('seed:7', 'p', text), prn('seed:7', 'p', view),
        prn('seed:7', 'p', arrow_cast(text, 'Dictionary(Int32, Utf8)')), prn('seed:7', 'p', arrow_cast(text, 'LargeUtf8')) from t";
    let batches = query(&context, sql).await.unwrap();
    for column in batches[0].columns() {
        assert_eq!(column, batches[0].column(0));
    }
    assert_eq!(
        batches[0].column(0).as_primitive::<Float64Type>().value(1),
        permanent_random_number(b"seed:7", "p", "20").unwrap()
    );
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn day(days: i32) -> NaiveDate {
    NaiveDate::from_epoch_days(days).unwrap()
}

fn hex(numbers: &[f64]) -> String {
    numbers.iter().flat_map(|number| number.to_le_bytes()).map(|byte| format!("{byte:02X}")).collect()
}

/// The definition, a row at a time.
fn nearest(row: &[Option<f64>], centroids: &[Vec<f64>]) -> Option<(i32, f64)> {
    let row: Option<Vec<f64>> = row.iter().map(|x| x.filter(|x| !x.is_nan())).collect();
    let row = row?;
    let mut best = (0, f64::INFINITY);
    for (cluster, centroid) in centroids.iter().enumerate() {
        let mut distance = 0.0;
        for (x, c) in row.iter().zip(centroid) {
            distance += (x - c) * (x - c);
        }
        if distance < best.1 {
            best = (cluster as i32, distance);
        }
    }
    Some(best)
}

const ZONES: [&str; 7] =
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn ages_are_those_of_the_calendar(days in prop::collection::vec((-200_000_i32..60_000, 0_i32..80_000), 1..40)) {
        let births = Date32Array::from_iter(days.iter().map(|(birth, _)| (birth % 17 != 0).then_some(*birth)));
        let ats = Date32Array::from_iter_values(days.iter().map(|(birth, later)| birth + later));
        let context = with_table(PLAIN, &batch(vec![("birth", Arc::new(births.clone())), ("at", Arc::new(ats.clone()))]));
        let batches = run(query(&context, "select age_years(birth, at), days_between(birth, at), local_isodow(at, 'UTC'), age_years(birth, date '2150-02-28') from t")).unwrap();
        let (ages, between) = (batches[0].column(0).as_primitive::<Int32Type>(), batches[0].column(1).as_primitive::<Int64Type>());
        let (weekdays, fixed) = (batches[0].column(2).as_primitive::<Int32Type>(), batches[0].column(3).as_primitive::<Int32Type>());
        for row in 0..births.len() {
            prop_assert_eq!(weekdays.value(row), day(ats.value(row)).weekday().number_from_monday() as i32);
            if births.is_null(row) {
                prop_assert!(ages.is_null(row) && between.is_null(row) && fixed.is_null(row));
                continue;
            }
            let birth = day(births.value(row));
            prop_assert_eq!(ages.value(row) as u32, day(ats.value(row)).years_since(birth).unwrap());
            prop_assert_eq!(between.value(row), (day(ats.value(row)) - birth).num_days());
            prop_assert_eq!(fixed.value(row) as u32, NaiveDate::from_ymd_opt(2150, 2, 28).unwrap().years_since(birth).unwrap());
        }
    }

    #[test]
    fn local_fields_are_those_of_the_zone(
        seconds in prop::collection::vec(prop_oneof![-3_000_000_000_i64..5_000_000_000, 1_700_000_000_i64..1_710_000_000], 1..60),
        nanos in 0_i64..1_000_000_000,
        zone in prop::sample::select(&ZONES[..]),
    ) {
        let t = batch(vec![
            ("s", Arc::new(TimestampSecondArray::from(seconds.clone()))),
            ("us", Arc::new(TimestampMicrosecondArray::from_iter_values(seconds.iter().map(|s| s * 1_000_000 + nanos / 1_000)))),
            ("ns", Arc::new(TimestampNanosecondArray::from_iter_values(seconds.iter().map(|s| s * 1_000_000_000 + nanos)))),
        ]);
        let context = with_table(PLAIN, &t);
        let tz: Tz = zone.parse().unwrap();
        for unit in ["s", "us", "ns"] {
            let sql = format!("select local_date({unit}, '{zone}'), local_hour({unit}, '{zone}'), local_isodow({unit}, '{zone}') from t");
            let batches = run(query(&context, &sql)).unwrap();
            let dates = batches[0].column(0).as_primitive::<Date32Type>();
            let (hours, weekdays) = (batches[0].column(1).as_primitive::<Int32Type>(), batches[0].column(2).as_primitive::<Int32Type>());
            for (row, second) in seconds.iter().enumerate() {
                let local = Utc.timestamp_opt(*second, 0).unwrap().with_timezone(&tz);
                prop_assert_eq!(day(dates.value(row)), local.date_naive(), "{} {}", zone, second);
                prop_assert_eq!(hours.value(row) as u32, local.hour());
                prop_assert_eq!(weekdays.value(row) as u32, local.weekday().number_from_monday());
            }
        }
    }

    #[test]
    fn clusters_are_the_nearest(
        rows in prop::collection::vec(prop::array::uniform3(prop::option::weighted(0.95, prop_oneof![8 => (-4_i32..5).prop_map(f64::from), 1 => Just(f64::NAN)])), 1..40),
        centroids in prop::collection::vec(prop::collection::vec((-4_i32..5).prop_map(f64::from), 3), 1..6),
        repeat in prop_oneof![Just(1_usize), Just(60)],
    ) {
        let rows: Vec<_> = rows.iter().cycle().take(rows.len() * repeat).copied().collect();
        let feature = |at: usize| Arc::new(Float64Array::from_iter(rows.iter().map(|row| row[at])));
        let context = with_table(PLAIN, &batch(vec![("a", feature(0)), ("b", feature(1)), ("c", feature(2))]));
        let literal = hex(&centroids.concat());
        let k = centroids.len();
        let sql = format!("select kmeans_assign(X'{literal}', {k}, a, b, c), kmeans_distance(X'{literal}', {k}, a, b, c), kmeans_assign(X'{literal}', {k}, a, 1, c) from t");
        let batches = run(query(&context, &sql)).unwrap();
        let (clusters, distances) = (batches[0].column(0).as_primitive::<Int32Type>(), batches[0].column(1).as_primitive::<Float64Type>());
        let with_literal = batches[0].column(2).as_primitive::<Int32Type>();
        for (at, row) in rows.iter().enumerate() {
            let expected = nearest(row, &centroids);
            prop_assert_eq!(clusters.is_valid(at).then(|| (clusters.value(at), distances.value(at))), expected);
            let expected = nearest(&[row[0], Some(1.0), row[2]], &centroids);
            prop_assert_eq!(with_literal.is_valid(at).then(|| with_literal.value(at)), expected.map(|nearest| nearest.0));
        }
    }
}

#[tokio::test]
async fn k_means_says_what_is_wrong() {
    let two = hex(&[0.0, 10.0]);
    assert_eq!(one(&format!("kmeans_assign(X'{two}', 2, 5.0)")).await, "0");
    assert_eq!(one(&format!("kmeans_assign(X'{two}', 2, 5.1)")).await, "1");
    assert_eq!(one(&format!("kmeans_distance(X'{two}', 2, 7)")).await, "9.0");
    assert_eq!(one(&format!("kmeans_assign(X'{two}', 1, 7, 7)")).await, "0");
    for (sql, help) in [
        (format!("kmeans_assign(X'{two}', 3, 5.0)"), "3 x 1 little-endian doubles"),
        (format!("kmeans_assign(X'{two}', 0, 5.0)"), "positive integer literal"),
        (format!("kmeans_assign(X'{}', 1, 5.0)", hex(&[f64::NAN])), "not finite"),
        (format!("kmeans_assign(X'{two}', 2, 'a')"), "takes numbers"),
        (format!("kmeans_assign(X'{two}', 2)"), "kmeans_assign(centroids, k, f1, .., fd)"),
    ] {
        let message = fails(&sql).await;
        assert!(message.contains(help), "{sql}: {message}");
    }
}
