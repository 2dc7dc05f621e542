//! Outputs as Delta tables: what delta-rs, Polars and DuckDB read of them, locally and from an S3 server, over runs that replace, add to and
//! change the columns of a table. Never reads a table by our own means alone.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use strata_testkit::s3::S3Server;
use strata_testkit::{binary, readers_python, repository};

const PIPELINE: &str = r#"version: 1
name: little
timezone: UTC
as_of: ${run.as_of}
vars: {out: ./out}
sources:
  customers: {csv: customers.csv, mode: mutable, key: id, columns: {id: int!, joined: date, seen: timestamp, spent: "decimal(12,2)"}}
entities:
  customer: {from: customers, key: id}
attributes:
  customer:
    - row:
        spent: customers.spent
        seen: customers.seen
        joined: customers.joined
        half: customers.spent / 2
        big: spent > 10
outputs:
  defaults: {to: "${vars.out}/{name}"}
  newest: {select: [id, spent, seen, joined, half, big]}
  all: {select: [id, spent, seen, joined, half, big], history: snapshot}
"#;
const COLUMNS: [(&str, &str); 6] = [
    ("id", "integer"),
    ("spent", "decimal(12,2)"),
    ("seen", "timestamp"),
    ("joined", "date"),
    ("half", "double"),
    ("big", "boolean"),
];

fn folder(rows: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pipeline.yaml"), PIPELINE).unwrap();
    customers(dir.path(), rows);
    dir
}

fn customers(dir: &Path, rows: &str) {
    std::fs::write(dir.join("customers.csv"), format!("id,joined,seen,spent\n{rows}")).unwrap();
}

fn edit(dir: &Path, from: &str, to: &str) {
    let path = dir.join("pipeline.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

fn strata(dir: &Path, environment: &[(String, String)], args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).current_dir(dir).env("NO_COLOR", "1").envs(environment.iter().cloned()).output().unwrap()
}

fn run(dir: &Path, environment: &[(String, String)], as_of: &str, out: &str) -> Value {
    let out = format!("out={out}");
    let done = strata(dir, environment, &["run", ".", "--as-of", as_of, "-p", &out, "--output", "json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// What the three readers find; they agree.
fn read(table: &str, more: &[&str]) -> Value {
    let script = repository().join("tests/oracle/read_delta.py");
    let done = Command::new(readers_python()).arg(script).arg(table).args(more).output().unwrap();
    assert!(done.status.success(), "{table}: {}", String::from_utf8_lossy(&done.stderr));
    let mut found: Value = serde_json::from_slice(&done.stdout).unwrap();
    let rows = found["rows"].as_object().unwrap().clone();
    let one = rows["deltalake"].clone();
    for (reader, theirs) in &rows {
        assert_eq!(*theirs, one, "{reader} reads {table} otherwise");
    }
    found["rows"] = one;
    found
}

fn columns(names: &[(&str, &str)]) -> Value {
    Value::Object(names.iter().map(|(n, t)| ((*n).to_owned(), json!(t))).collect())
}

const FIRST: &str = "1,2024-02-29,2025-06-01T10:30:00.250Z,20.50\n2,,,\n";
const SECOND: &str = "1,2024-02-29,2025-07-01T00:00:00Z,21.00\n3,2025-01-01,2025-07-02T00:00:00Z,5.00\n";

fn first_rows() -> Value {
    json!([
        ["1", "20.50", "2025-06-01 10:30:00.250000+00:00", "2024-02-29", "10.25", "True"],
        ["2", null, null, null, null, null],
    ])
}

fn second_rows() -> Value {
    json!([
        ["1", "21.00", "2025-07-01 00:00:00+00:00", "2024-02-29", "10.5", "True"],
        ["3", "5.00", "2025-07-02 00:00:00+00:00", "2025-01-01", "2.5", "False"],
    ])
}

/// Rows of a table with history: the as-of comes first.
fn under(as_of: &str, rows: &Value) -> Vec<Value> {
    let with = |row: &Value| json!([vec![json!(as_of)], row.as_array().unwrap().clone()].concat());
    rows.as_array().unwrap().iter().map(with).collect()
}

#[test]
fn three_readers_agree_on_tables_that_are_replaced_and_tables_that_grow() {
    let dir = folder(FIRST);
    let dir = dir.path();
    let out = dir.join("out");
    let at = |name: &str| out.join(name).to_str().unwrap().to_owned();
    let report = run(dir, &[], "2025-07-15T00:00:00Z", "out");
    assert_eq!(report["outputs"][0]["format"], "delta", "{report}");
    assert!(report["outputs"][0]["path"].as_str().unwrap().ends_with("/newest"), "{report}");
    let newest = read(&at("newest"), &[]);
    assert_eq!((&newest["version"], &newest["columns"], &newest["rows"]), (&json!(0), &columns(&COLUMNS), &first_rows()));
    let with_as_of: Vec<_> = std::iter::once(("as_of", "timestamp")).chain(COLUMNS).collect();
    let all = read(&at("all"), &[]);
    let first = under("2025-07-15 00:00:00+00:00", &first_rows());
    assert_eq!((&all["columns"], &all["rows"]), (&columns(&with_as_of), &json!(first)));

    // Nothing changed: nothing is published again.
    run(dir, &[], "2025-07-15T00:00:00Z", "out");
    assert_eq!(read(&at("newest"), &[])["version"], 0);

    // A later as-of takes the place of the rows of one table and stands beside those of the other.
    customers(dir, SECOND);
    run(dir, &[], "2025-08-15T00:00:00Z", "out");
    assert_eq!(read(&at("newest"), &[])["rows"], second_rows());
    let second = under("2025-08-15 00:00:00+00:00", &second_rows());
    assert_eq!(read(&at("all"), &[])["rows"], json!([first.clone(), second].concat()));
    assert_eq!(read(&at("newest"), &["--version", "0"])["rows"], first_rows(), "time travel");

    // The same as-of again: its rows are replaced, the others stay; a new column is null in earlier rows.
    customers(dir, FIRST);
    edit(dir, "joined, half, big]}", "joined, half, big, cents]}");
    edit(dir, "joined, half, big], history", "joined, half, big, cents], history");
    edit(dir, "big: spent > 10", "big: spent > 10\n        cents: cents(spent)");
    run(dir, &[], "2025-08-15T00:00:00Z", "out");
    let cents = |rows: &[Value], values: [Value; 2]| -> Vec<Value> {
        rows.iter().zip(values).map(|(r, v)| json!([r.as_array().unwrap().clone(), vec![v]].concat())).collect()
    };
    let (before, after) = (cents(&first, [Value::Null, Value::Null]), under("2025-08-15 00:00:00+00:00", &first_rows()));
    let after = cents(&after, [json!("2050"), Value::Null]);
    let all = read(&at("all"), &[]);
    assert_eq!((&all["columns"]["cents"], &all["rows"]), (&json!("long"), &json!([before, after].concat())));
    let narrow = read(&at("newest"), &[]);
    assert_eq!(narrow["rows"], json!(cents(first_rows().as_array().unwrap(), [json!("2050"), Value::Null])));

    // A column that changes its type is refused where earlier rows stay, before anything is committed.
    edit(dir, "cents: cents(spent)", "cents: cast(cents(spent) as varchar)");
    let refused = strata(dir, &[], &["run", ".", "--as-of", "2025-09-15T00:00:00Z"]);
    let err = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && err.contains("cannot have the column `cents`") && err.contains("another name"), "{err}");
    assert_eq!(read(&at("newest"), &[])["rows"], narrow["rows"]);
}

#[test]
fn a_table_that_others_clean_and_that_grew_long_goes_on() {
    let dir = folder(FIRST);
    let dir = dir.path();
    let at = |name: &str| dir.join("out").join(name).to_str().unwrap().to_owned();
    let mut wanted = vec![];
    for day in 10..23 {
        let as_of = format!("2025-08-{day}T00:00:00Z");
        run(dir, &[], &as_of, "out");
        wanted.extend(under(&format!("2025-08-{day} 00:00:00+00:00"), &first_rows()));
    }
    let log = dir.join("out/all/_delta_log");
    assert!(log.join("00000000000000000010.checkpoint.parquet").is_file() && log.join("_last_checkpoint").is_file());
    // Readers begin at the checkpoint; so do we, where earlier entries are gone.
    for seq in 0..=10 {
        std::fs::remove_file(log.join(format!("{seq:020}.json"))).unwrap();
    }
    assert_eq!(read(&at("all"), &[])["rows"], json!(wanted));
    run(dir, &[], "2025-08-23T00:00:00Z", "out");
    wanted.extend(under("2025-08-23 00:00:00+00:00", &first_rows()));
    assert_eq!(read(&at("all"), &[])["rows"], json!(wanted));
    // Another writer compacts the files, removes ours, writes its own checkpoint and cleans the log.
    for name in ["all", "newest"] {
        let before = read(&at(name), &[])["rows"].clone();
        assert_eq!(read(&at(name), &["--compact"])["rows"], before, "{name}");
    }
    customers(dir, SECOND);
    run(dir, &[], "2025-08-24T00:00:00Z", "out");
    wanted.extend(under("2025-08-24 00:00:00+00:00", &second_rows()));
    assert_eq!(read(&at("all"), &[])["rows"], json!(wanted));
    assert_eq!(read(&at("newest"), &[])["rows"], second_rows());
    let outputs = strata(dir, &[], &["outputs", ".", "--as-of", "2025-08-24T00:00:00Z", "--output", "json"]);
    let outputs: Value = serde_json::from_slice(&outputs.stdout).unwrap();
    assert_eq!(outputs[0]["rows"], 2, "{outputs}");
}

#[test]
fn a_folder_of_another_format_and_a_table_of_other_writers_are_refused() {
    let dir = folder(FIRST);
    let dir = dir.path();
    run(dir, &[], "2025-08-15T00:00:00Z", "out");
    let refused = |from: &str, to: &str, says: &str| {
        edit(dir, from, to);
        let done = strata(dir, &[], &["run", ".", "--as-of", "2025-08-16T00:00:00Z"]);
        let err = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && err.contains(says), "{err}");
        edit(dir, to, from);
    };
    refused("half, big]}", "half, big], format: csv}", "was published with another format");
    refused("half, big], history: snapshot}", "half, big]}", "was written with another `history:`");
    let log = dir.join("out/newest/_delta_log/00000000000000000001.json");
    std::fs::write(
        &log,
        "{\"protocol\":{\"minReaderVersion\":3,\"minWriterVersion\":7,\"readerFeatures\":[],\"writerFeatures\":[]}}\n",
    )
    .unwrap();
    refused("name: little", "name: litle", "another writer raised its protocol to reader 3 and writer 7");
}

#[test]
fn tables_on_s3_are_read_from_there() {
    let server = S3Server::start();
    let dir = folder(FIRST);
    let environment = server.environment();
    run(dir.path(), &environment, "2025-07-15T00:00:00Z", "s3://lake/out");
    customers(dir.path(), SECOND);
    run(dir.path(), &environment, "2025-08-15T00:00:00Z", "s3://lake/out");
    let endpoint = server.endpoint();
    let more = ["--endpoint", endpoint.as_str(), "--key", "testkey", "--secret", "testsecret"];
    assert_eq!(read("s3://lake/out/newest", &more)["rows"], second_rows());
    let first = under("2025-07-15 00:00:00+00:00", &first_rows());
    let second = under("2025-08-15 00:00:00+00:00", &second_rows());
    assert_eq!(read("s3://lake/out/all", &more)["rows"], json!([first, second].concat()));
}
