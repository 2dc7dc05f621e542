//! What the generated data promises, held against files that were really written.
//! Never compares with rows copied from a run: every test states a property.

#![expect(clippy::unwrap_used, reason = "test")]

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use chrono::NaiveDate;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use strata_demo::{Error, Size, append_day, generate};

const DAY_US: i64 = 86_400_000_000;
const AS_OF: i64 = 20_454 * DAY_US;

fn small() -> Size {
    Size { customers: 600, months: 25, ..Size::default() }
}

fn made(seed: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    generate(dir.path(), &small(), seed).unwrap();
    dir
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn read(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().unwrap().map(|b| b.unwrap()).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn table(dir: &Path, name: &str) -> RecordBatch {
    let all: Vec<_> = files(&dir.join(name)).iter().map(|f| read(f)).collect();
    concat_batches(&all[0].schema(), &all).unwrap()
}

fn col(batch: &RecordBatch, name: &str) -> ArrayRef {
    batch.column_by_name(name).unwrap().clone()
}

fn longs(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    col(batch, name).as_primitive::<Int64Type>().iter().collect()
}

fn instants(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    col(batch, name).as_primitive::<TimestampMicrosecondType>().iter().collect()
}

fn row(batch: &RecordBatch, i: usize) -> String {
    batch
        .columns()
        .iter()
        .map(|c| if c.is_null(i) { "NULL".to_owned() } else { array_value_to_string(c, i).unwrap() })
        .collect::<Vec<_>>()
        .join("|")
}

fn line_key(batch: &RecordBatch, i: usize) -> (i64, i32) {
    (col(batch, "txn_id").as_primitive::<Int64Type>().value(i), col(batch, "line_no").as_primitive::<Int32Type>().value(i))
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
    let (a, b, c) = (made(7), made(7), made(8));
    let names = |d: &Path| files(d).iter().map(|f| f.strip_prefix(d).unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(a.path()), names(b.path()));
    for name in names(a.path()) {
        assert_eq!(
            std::fs::read(a.path().join(&name)).unwrap(),
            std::fs::read(b.path().join(&name)).unwrap(),
            "{}",
            name.display()
        );
    }
    for name in ["customers.parquet", "products.parquet", "survey_responses.parquet", "transactions/month=2025-12/part-0.parquet"]
    {
        assert_ne!(std::fs::read(a.path().join(name)).unwrap(), std::fs::read(c.path().join(name)).unwrap(), "{name}");
    }
}

#[test]
fn a_second_generation_leaves_nothing_of_the_first() {
    let dir = made(7);
    append_day(dir.path(), Size::default().as_of, 7).unwrap();
    generate(dir.path(), &Size { months: 2, ..small() }, 7).unwrap();
    let months: BTreeSet<_> =
        std::fs::read_dir(dir.path().join("transactions")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(months.len(), 3, "{months:?}");
    assert!(files(dir.path()).iter().all(|f| !f.to_string_lossy().contains("part-day")));
}

#[test]
fn schemas_are_those_of_the_workload() {
    let dir = made(7);
    for (file, columns) in SCHEMAS {
        let schema = read(&dir.path().join(file)).schema();
        let found: Vec<_> = schema.fields().iter().map(|f| format!("{} {}", f.name(), kind(f.data_type()))).collect();
        let expected: Vec<_> = columns.split(", ").map(|c| c.trim().to_owned()).collect();
        assert_eq!(found, expected, "{file}");
    }
}

fn kind(t: &DataType) -> &'static str {
    match t {
        DataType::Int8 => "tinyint",
        DataType::Int32 => "int",
        DataType::Int64 => "bigint",
        DataType::Float64 => "double",
        DataType::Utf8 => "string",
        DataType::Boolean => "boolean",
        DataType::Date32 => "date",
        DataType::Decimal128(10, 2) => "money",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "instant",
        _ => "unexpected",
    }
}

const SCHEMAS: [(&str, &str); 8] = [
    (
        "customers.parquet",
        "customer_id bigint, email string, phone string, first_name string, last_name string, birth_date date, gender string, \
         postal_code string, home_store_id int, joined_at instant, signup_channel string, email_opt_in boolean, \
         sms_opt_in boolean, research_opt_in boolean",
    ),
    ("products.parquet", "item_id bigint, department string, category string, brand string, list_price money"),
    ("stores.parquet", "store_id int, region string, square_metres int"),
    (
        "postal_demographics.parquet",
        "postal_code string, region string, urbanicity string, median_income int, household_size double",
    ),
    (
        "survey_responses.parquet",
        "customer_id bigint, wave string, answered_at instant, q1 tinyint, q2 tinyint, q3 tinyint, q4 tinyint, q5 tinyint, \
         q6 tinyint, q7 tinyint, q8 tinyint, q9 tinyint, q10 tinyint, q11 tinyint, q12 tinyint",
    ),
    ("panel_contacts.parquet", "customer_id bigint, study_id string, sent_at instant, responded_at instant"),
    (
        "transactions/month=2025-12/part-0.parquet",
        "txn_id bigint, line_no int, customer_id bigint, store_id int, channel string, ts instant, item_id bigint, \
         quantity int, unit_price money, discount money, is_return boolean",
    ),
    (
        "web_events/month=2025-12/part-0.parquet",
        "event_id bigint, session_id bigint, customer_id bigint, cookie_id string, ts instant, event_type string, \
         item_id bigint, device string, utm_channel string",
    ),
];

#[test]
fn copies_are_identical_and_some_lie_in_another_file_of_the_month() {
    let dir = made(7);
    let mut seen: HashMap<(i64, i32), (String, PathBuf)> = HashMap::new();
    let (mut rows, mut copies, mut elsewhere) = (0, 0, 0);
    for file in files(&dir.path().join("transactions")) {
        let batch = read(&file);
        rows += batch.num_rows();
        for i in 0..batch.num_rows() {
            let text = row(&batch, i);
            if let Some((first, at)) = seen.get(&line_key(&batch, i)) {
                assert_eq!(first, &text);
                assert_eq!(at.parent(), file.parent());
                copies += 1;
                elsewhere += usize::from(at != &file);
            } else {
                seen.insert(line_key(&batch, i), (text, file.clone()));
            }
        }
    }
    let share = copies as f64 / rows as f64;
    assert!((0.005..0.015).contains(&share), "{copies} of {rows}");
    assert!(elsewhere > 0 && elsewhere < copies, "{elsewhere} of {copies}");
}

#[test]
fn lines_lie_in_the_month_of_their_time_and_agree_within_a_transaction() {
    let dir = made(7);
    let day = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
    append_day(dir.path(), day, 7).unwrap();
    let mut heads: HashMap<i64, String> = HashMap::new();
    for file in files(&dir.path().join("transactions")) {
        let batch = read(&file);
        let month = file.parent().unwrap().file_name().unwrap().to_string_lossy().replace("month=", "");
        let text = |name: &str, i: usize| array_value_to_string(&col(&batch, name), i).unwrap();
        for i in 0..batch.num_rows() {
            assert!(text("ts", i).starts_with(&month), "{} in {month}", text("ts", i));
            let head = [text("customer_id", i), text("ts", i), text("channel", i), text("store_id", i)].join("|");
            assert_eq!(heads.entry(line_key(&batch, i).0).or_insert_with(|| head.clone()), &head);
        }
    }
}

#[test]
fn every_customer_is_on_the_roster_and_keys_are_unique() {
    let dir = made(7);
    append_day(dir.path(), Size::default().as_of, 7).unwrap();
    let roster: HashSet<i64> = longs(&read(&dir.path().join("customers.parquet")), "customer_id").into_iter().flatten().collect();
    assert_eq!(roster.len(), 600);
    for name in ["transactions", "web_events"] {
        assert!(longs(&table(dir.path(), name), "customer_id").iter().flatten().all(|c| roster.contains(c)), "{name}");
    }
    let events = longs(&table(dir.path(), "web_events"), "event_id");
    assert_eq!(events.iter().flatten().collect::<HashSet<_>>().len(), events.len());
    let survey = read(&dir.path().join("survey_responses.parquet"));
    let keys: HashSet<_> = (0..survey.num_rows()).map(|i| row(&survey.project(&[0, 1]).unwrap(), i)).collect();
    assert_eq!(keys.len(), survey.num_rows());
    let items: HashSet<i64> = longs(&read(&dir.path().join("products.parquet")), "item_id").into_iter().flatten().collect();
    assert!(longs(&table(dir.path(), "transactions"), "item_id").iter().flatten().all(|i| items.contains(i)));
}

#[test]
fn the_promised_edge_cases_occur() {
    let dir = made(7);
    let lines = table(dir.path(), "transactions");
    for name in ["customer_id", "store_id", "item_id", "discount"] {
        assert!(col(&lines, name).null_count() > 0, "{name}");
    }
    assert!(col(&lines, "discount").as_primitive::<Decimal128Type>().iter().flatten().any(|d| d == 0));
    let back = col(&lines, "is_return").as_boolean().clone();
    let mut txns: BTreeMap<i64, [usize; 2]> = BTreeMap::new();
    for i in 0..lines.num_rows() {
        txns.entry(line_key(&lines, i).0).or_default()[usize::from(back.value(i))] += 1;
    }
    assert!(txns.values().any(|n| n[0] == 0), "a transaction of returns only");
    assert!(txns.values().any(|n| n[0] > 0 && n[1] > 0), "an exchange");
    let events = table(dir.path(), "web_events");
    assert!(
        col(&events, "customer_id").null_count() > 0
            && col(&events, "item_id").null_count() > 0
            && col(&events, "utm_channel").null_count() > 0
    );
    let people = read(&dir.path().join("customers.parquet"));
    for name in ["email", "phone", "birth_date", "gender", "postal_code", "home_store_id"] {
        assert!(col(&people, name).null_count() > 0, "{name}");
    }
    assert!(col(&people, "postal_code").as_string::<i32>().iter().flatten().any(|c| c.starts_with('0')));
    let survey = read(&dir.path().join("survey_responses.parquet"));
    assert!((1..=12).all(|q| col(&survey, &format!("q{q}")).null_count() > 0));
    let buyers: HashSet<i64> = longs(&lines, "customer_id").into_iter().flatten().collect();
    assert!((1..=600).any(|c| !buyers.contains(&c)), "a customer who never buys");
    assert!(
        people
            .column(1)
            .as_string::<i32>()
            .iter()
            .flatten()
            .all(|e| ["@example.com", "@mail.test", "@post.test"].iter().any(|d| e.ends_with(d)))
    );
}

#[test]
fn some_customers_order_once_and_some_twice_in_a_day() {
    let dir = made(7);
    let lines = table(dir.path(), "transactions");
    let (who, when) = (longs(&lines, "customer_id"), instants(&lines, "ts"));
    let back = col(&lines, "is_return").as_boolean().clone();
    let mut orders: HashMap<i64, HashSet<(i64, i64)>> = HashMap::new();
    for i in (0..lines.num_rows()).filter(|i| !back.value(*i)) {
        if let (Some(c), Some(t)) = (who[i], when[i]) {
            orders.entry(c).or_default().insert((t / DAY_US, line_key(&lines, i).0));
        }
    }
    assert!(orders.values().any(|o| o.len() == 1));
    assert!(orders.values().any(|o| o.iter().map(|(d, _)| d).collect::<HashSet<_>>().len() < o.len()));
}

#[test]
fn rows_lie_on_the_edges_of_windows_and_a_few_after_as_of() {
    let dir = made(7);
    let contacts = read(&dir.path().join("panel_contacts.parquet"));
    let known: Vec<(&str, Vec<i64>)> = vec![
        ("transactions", instants(&table(dir.path(), "transactions"), "ts").into_iter().flatten().collect()),
        ("web_events", instants(&table(dir.path(), "web_events"), "ts").into_iter().flatten().collect()),
        ("survey", instants(&read(&dir.path().join("survey_responses.parquet")), "answered_at").into_iter().flatten().collect()),
        ("contacts", instants(&contacts, "sent_at").into_iter().flatten().collect()),
        ("answers", instants(&contacts, "responded_at").into_iter().flatten().collect()),
    ];
    for (name, times) in &known {
        let after = times.iter().filter(|t| **t >= AS_OF).count();
        assert!(after > 0 && after * 10 < times.len(), "{name}: {after} of {}", times.len());
    }
    for days in [0, 90, 180, 365, 730] {
        assert!(known[0].1.contains(&(AS_OF - days * DAY_US)), "an order exactly {days} days before");
    }
    assert!(known[3].1.contains(&(AS_OF - 90 * DAY_US)), "a contact exactly 90 days before");
}

#[test]
fn an_appended_day_adds_files_late_lines_and_copies_and_changes_none() {
    let dir = tempfile::tempdir().unwrap();
    generate(dir.path(), &Size { customers: 1500, months: 3, ..small() }, 7).unwrap();
    let day = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
    let before: BTreeMap<_, _> = files(dir.path()).into_iter().map(|f| (f.clone(), std::fs::read(f).unwrap())).collect();
    let old: HashSet<_> = {
        let lines = table(dir.path(), "transactions");
        (0..lines.num_rows()).map(|i| row(&lines, i)).collect()
    };
    let summary = append_day(dir.path(), day, 7).unwrap();
    let added: Vec<_> = files(dir.path()).into_iter().filter(|f| !before.contains_key(f)).collect();
    assert!(before.iter().all(|(f, bytes)| &std::fs::read(f).unwrap() == bytes));
    assert_eq!(added.len() as u64, summary.files);
    let (mut fresh, mut late, mut again) = (0, 0, 0);
    for file in added.iter().filter(|f| f.to_string_lossy().contains("transactions")) {
        let batch = read(file);
        for (i, ts) in instants(&batch, "ts").into_iter().flatten().enumerate() {
            let copy = old.contains(&row(&batch, i));
            again += usize::from(copy);
            fresh += usize::from(!copy && ts >= AS_OF);
            late += usize::from(!copy && ts < AS_OF);
        }
    }
    assert!(fresh > 0 && late > 0 && again > 0, "{fresh} {late} {again}");
}

#[test]
fn wrong_requests_say_what_to_do() {
    let dir = made(7);
    let day = |d| NaiveDate::from_ymd_opt(2026, 1, d).unwrap();
    assert!(matches!(append_day(dir.path(), day(1), 8), Err(Error::Seed { made: 7, asked: 8 })));
    assert!(matches!(append_day(dir.path(), day(1) - chrono::Days::new(1), 7), Err(Error::Day { .. })));
    append_day(dir.path(), day(1), 7).unwrap();
    assert!(matches!(append_day(dir.path(), day(1), 7), Err(Error::Day { .. })));
    append_day(dir.path(), day(2), 7).unwrap();
    assert!(matches!(generate(dir.path(), &Size { customers: 1, ..small() }, 7), Err(Error::Size(_))));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(append_day(empty.path(), day(1), 7), Err(Error::Io { .. })));
}
