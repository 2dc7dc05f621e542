//! Contracts on real runs: what each kind of bad row gets, files whose columns changed, and questions about whole sources. Never takes a
//! count for the rows themselves.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use strata_testkit::{RunSpec, binary, content_of, repository, run_pipeline};

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        files.iter().for_each(|(name, text)| place.put(name, text));
        place
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn strata(&self, arguments: &[&str]) -> Output {
        Command::new(binary()).args(arguments).current_dir(self.path()).output().unwrap()
    }

    /// The report of a run that ends well.
    fn run(&self) -> Value {
        let out = self.strata(&["run", "pipeline.yaml", "--output", "json"]);
        assert!(out.status.success(), "{}\n{}", said(&out), String::from_utf8_lossy(&out.stdout));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// What a run says that ends with exit 3; nothing may be published.
    fn refused(&self) -> String {
        let before = self.table("out/profile");
        let out = self.strata(&["run", "pipeline.yaml"]);
        assert_eq!(out.status.code(), Some(3), "{}", said(&out));
        assert_eq!(self.table("out/profile"), before);
        said(&out)
    }

    /// The rows of the newest version of a CSV output.
    fn table(&self, folder: &str) -> Option<String> {
        let runs = std::fs::read_dir(self.path().join(folder).join("runs")).ok()?;
        let newest = runs.map(|r| r.unwrap().path()).max()?;
        let part =
            std::fs::read_dir(newest).unwrap().map(|f| f.unwrap().path()).find(|f| f.extension().is_some_and(|e| e == "csv"));
        part.map(|p| std::fs::read_to_string(p).unwrap())
    }
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// The rows that were put aside, from a path of their table, by (file, row).
fn aside(path: &str) -> BTreeMap<(String, i64), Value> {
    let place = Place::new(&[(
        "pipeline.yaml",
        &format!(
            "version: 1\nname: reads\nas_of: 2026-02-01T00:00:00Z\nsources:\n  aside: {{parquet: \"{path}\", mode: mutable, key: _row}}\n\
             entities: {{r: {{from: aside, key: _row}}}}\nattributes: {{r: [{{row: {{rule: aside._rule}}}}]}}\n\
             outputs: {{o: {{to: out, format: csv, select: r.attributes}}}}\n"
        ),
    )]);
    let out = place.strata(&["preview", "pipeline.yaml", "aside", "--rows", "1000", "--output", "json"]);
    assert!(out.status.success(), "{}", said(&out));
    let text = String::from_utf8_lossy(&out.stdout);
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let file = |r: &Value| Path::new(r["_file"].as_str().unwrap()).file_name().unwrap().to_string_lossy().into_owned();
    let number = |r: &Value| r["_row"].as_i64().or_else(|| r["_row"].as_str()?.parse().ok()).unwrap();
    rows.iter().map(|r| ((file(r), number(r)), r.clone())).collect()
}

#[test]
fn bad_rows_are_put_aside_with_rule_file_and_row_on_any_number_of_partitions() {
    let case = repository().join("tests/cases/contract");
    let mut first = None;
    for (threads, round_trip) in [(1, false), (2, true), (7, false)] {
        let out = tempfile::tempdir().unwrap();
        let spec = RunSpec::new(&case, &case, out.path()).threads(threads).round_trip(round_trip);
        let report = run_pipeline(&spec).unwrap();
        let orders = report.sources.iter().find(|s| s.source == "orders").unwrap();
        assert_eq!((orders.in_files, orders.quarantined, orders.deduplicated, orders.after_as_of), (11, 4, 1, 1));
        let found: Vec<(&str, &str, u64)> =
            orders.rules.iter().filter(|r| r.rows > 0).map(|r| (r.rule.as_str(), r.on_fail.as_str(), r.rows)).collect();
        let wanted = [
            ("customer_id.not_null", "quarantine", 1),
            ("channel.enum", "set_null", 1),
            ("amount.range", "quarantine", 1),
            ("store_known", "set_null", 1),
            ("not_too_much", "warn", 1),
        ];
        assert_eq!(found, wanted, "{threads} threads");
        let warned = |word: &str| report.warnings.iter().any(|w| w.contains(word));
        assert!(
            warned("`not_too_much`") && warned("check `volume`") && warned("rows of one key differ"),
            "{:?}",
            report.warnings
        );
        // No value of a row, personal or not.
        assert!(!warned("not an address") && !warned("5000") && !warned("s9") && !warned("fax"), "{:?}", report.warnings);
        let table = report.outputs.iter().find(|o| o.name == "_quarantine/orders").unwrap();
        assert!(table.committed && table.table.ends_with("_quarantine/orders"));
        let rows = aside(&table.path);
        let rules: Vec<(&str, i64, &str)> =
            rows.iter().map(|((file, row), r)| (file.as_str(), *row, r["_rule"].as_str().unwrap())).collect();
        let wanted = [
            ("2026-01-01.csv", 2, "amount.range"),
            ("2026-01-01.csv", 5, "customer_id.not_null"),
            ("2026-01-01.csv", 6, "duplicates"),
            ("2026-01-01.csv", 7, "duplicates"),
        ];
        assert_eq!(rules, wanted, "{threads} threads");
        let content = content_of(&report);
        assert_eq!(*first.get_or_insert(content.clone()), content, "{threads} threads");
    }
}

const PEOPLE: &str = "version: 1
name: people
as_of: 2026-02-01T00:00:00Z
sources:
  people:
    csv: people
    mode: mutable
    key: id
    columns:
      id: int!
      mail: {type: string, class: direct_id, format: email, on_fail: stop}
      age: int
    checks: {grown: {sql: age >= 18, on_fail: warn}}
entities: {person: {from: people, key: id}}
attributes: {person: [{row: {age: people.age}}]}
outputs: {profile: {to: out/profile, format: csv, select: person.attributes}}
";

#[test]
fn a_rule_that_stops_names_rule_count_and_files_and_no_value() {
    let place = Place::new(&[
        ("pipeline.yaml", PEOPLE),
        ("people/a.csv", "id,mail,age\n1,one@example.org,20\n2,secret words,30\n"),
        ("people/b.csv", "id,mail,age\n3,more secrets,40\n4,even more,50\n"),
        ("people/c.csv", "id,mail,age\n5,,17\n"),
    ]);
    let text = place.refused();
    for word in ["`people`: 3 rows fail the rule `mail.format`", "1 in `", "a.csv`, 2 in `", "b.csv`", "on_fail: quarantine"] {
        assert!(text.contains(word), "`{word}` is not in {text}");
    }
    assert!(!text.contains("secret") && !text.contains("even more") && !text.contains("c.csv"), "{text}");
    // Put aside instead: the table does not hold the address, the file and the row say where it is.
    place.put("pipeline.yaml", &PEOPLE.replace("format: email, on_fail: stop", "format: email, on_fail: quarantine"));
    let report = place.run();
    assert_eq!(place.table("out/profile").unwrap(), "id,age\n1,20\n5,17\n");
    let table = report["outputs"].as_array().unwrap().iter().find(|o| o["name"] == "_quarantine/people").unwrap();
    let rows = aside(table["path"].as_str().unwrap());
    assert_eq!(rows.keys().cloned().collect::<Vec<_>>(), [("a.csv".into(), 2), ("b.csv".into(), 1), ("b.csv".into(), 2)]);
    for row in rows.values() {
        assert!(row.get("mail").is_none() && row["_rule"] == "mail.format" && row.get("age").is_some(), "{row}");
    }
    // The same again: nothing is done. Then the rows are mended: the table is there, and empty.
    let again = place.run();
    let unchanged = |r: &Value| r["steps"].as_array().unwrap().iter().filter(|s| s["reused"] == true).count();
    assert_eq!(unchanged(&again), 3, "{again}");
    place.put("people/a.csv", "id,mail,age\n1,one@example.org,20\n2,two@example.org,30\n");
    place.put("people/b.csv", "id,mail,age\n3,three@example.org,40\n");
    let mended = place.run();
    let table = mended["outputs"].as_array().unwrap().iter().find(|o| o["name"] == "_quarantine/people").unwrap();
    assert_eq!((table["rows"].as_u64(), table["committed"].as_bool()), (Some(0), Some(true)));
}

/// Orders that refer to their stores: read where the rows of a person meet, or in a table that mixes people.
const REFERRING: &str = "version: 1
name: orders
as_of: 2026-02-01T00:00:00Z
sources:
  people: {csv: people.csv, mode: mutable, key: id, columns: {id: int!}}
  stores: {csv: stores.csv, mode: mutable, key: store, columns: {store: int!, city: string}}
  orders:
    csv: orders.csv
    mode: mutable
    key: order
    columns: {order: int!, id: int!, store: int, amount: int}
    references: {store: stores}
    derive: {city: stores.city}
TABLES
entities: {person: {from: people, key: id}}
attributes: {person: [{from: READ, columns: {total: sum(amount), places: count(distinct city)}}]}
outputs: {profile: {to: out/profile, format: csv, select: person.attributes}}
";

#[test]
fn a_source_that_rows_refer_to_has_one_row_a_key_or_nothing_is_published() {
    let mixing = "tables:\n  ranked:\n    key: order\n    sql: select \"order\", id, amount, city, row_number() over (partition by city order by \"order\") as nth from orders";
    for (tables, read) in [("", "orders"), (mixing, "ranked")] {
        let text = REFERRING.replace("TABLES", tables).replace("READ", read);
        let place = Place::new(&[
            ("pipeline.yaml", &text),
            ("people.csv", "id\n1\n2\n"),
            ("stores.csv", "store,city\n7,Bern\n8,Basel\n"),
            ("orders.csv", "order,id,store,amount\n1,1,7,10\n2,1,8,20\n3,2,8,30\n"),
        ]);
        place.run();
        let right = place.table("out/profile").unwrap();
        assert_eq!(right, "id,total,places\n1,30,2\n2,30,1\n", "{read}");
        place.put("stores.csv", "store,city\n7,Bern\n8,Basel\n8,Basle\n");
        let said = place.refused();
        assert!(said.contains("`stores`") && said.contains("duplicates:") && !said.contains("Basle"), "{read}: {said}");
        place.put("pipeline.yaml", &text.replace("key: store,", "key: store, duplicates: {keep: latest by city},"));
        place.run();
        assert_eq!(place.table("out/profile").unwrap(), right, "{read}");
    }
}

#[test]
fn columns_of_files_may_change_as_declared_and_not_otherwise() {
    let text = |drift: &str| PEOPLE.replace("    checks:", &format!("    drift: {{{drift}}}\n    checks:"));
    let place = Place::new(&[
        ("pipeline.yaml", PEOPLE),
        ("people/a.csv", "id,mail,age\n1,one@example.org,20\n"),
        // Another order and one more column: always read by name.
        ("people/b.csv", "age,more,id,mail\n30,x,2,two@example.org\n"),
    ]);
    place.run();
    assert_eq!(place.table("out/profile").unwrap(), "id,age\n1,20\n2,30\n");
    place.put("pipeline.yaml", &text("added: stop"));
    let said = place.refused();
    assert!(said.contains("S0318") && said.contains("`more`") && said.contains("b.csv"), "{said}");
    // A dropped column.
    place.put("people/c.csv", "mail,id\nthree@example.org,3\n");
    place.put("pipeline.yaml", PEOPLE);
    let said = place.refused();
    assert!(said.contains("S0318") && said.contains("`age`") && said.contains("c.csv") && !said.contains("a.csv"), "{said}");
    place.put("pipeline.yaml", &text("dropped: set_null"));
    place.run();
    assert_eq!(place.table("out/profile").unwrap(), "id,age\n1,20\n2,30\n3,\n");
}

/// A Parquet file of `rows`, as Strata writes it, at `to`.
fn parquet(place: &Place, columns: &str, rows: &str, to: &str) {
    let names: Vec<&str> = columns.split(", ").map(|c| c.split(':').next().unwrap()).collect();
    let attributes: Vec<String> = names[1..].iter().map(|n| format!("{n}: t.{n}")).collect();
    let made = Place::new(&[
        ("in.csv", &format!("{}\n{rows}", names.join(","))),
        (
            "pipeline.yaml",
            &format!(
                "version: 1\nname: makes\nas_of: 2026-02-01T00:00:00Z\nsources: {{t: {{csv: in.csv, mode: mutable, key: id, columns: {{{columns}}}}}}}\n\
                 entities: {{e: {{from: t, key: id}}}}\nattributes: {{e: [{{row: {{{}}}}}]}}\n\
                 outputs: {{o: {{to: out, format: parquet, select: e.attributes}}}}\n",
                attributes.join(", ")
            ),
        ),
    ]);
    let report = made.run();
    let folder = report["outputs"][0]["path"].as_str().unwrap();
    let part =
        std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).find(|f| f.extension().is_some_and(|e| e == "parquet"));
    std::fs::create_dir_all(place.path().join(to).parent().unwrap()).unwrap();
    std::fs::copy(part.unwrap(), place.path().join(to)).unwrap();
}

#[test]
fn parquet_files_of_several_shapes_are_one_source_where_the_contract_says_so() {
    let pipeline = PEOPLE
        .replace("csv: people", "parquet: people")
        .replace("      mail: {type: string, class: direct_id, format: email, on_fail: stop}\n", "");
    let text = |drift: &str| pipeline.replace("    checks:", &format!("    drift: {{{drift}}}\n    checks:"));
    let place = Place::new(&[("pipeline.yaml", &pipeline)]);
    parquet(&place, "id: int!, age: int", "1,20\n2,30\n", "people/a.parquet");
    parquet(&place, "id: int!, extra: string, age: int", "3,x,40\n", "people/b.parquet");
    place.run();
    assert_eq!(place.table("out/profile").unwrap(), "id,age\n1,20\n2,30\n3,40\n");
    parquet(&place, "id: int!, age: string", "4,50\n", "people/c.parquet");
    let said = place.refused();
    assert!(
        said.contains("S0318") && said.contains("`age`") && said.contains("c.parquet") && !said.contains("a.parquet"),
        "{said}"
    );
    place.put("pipeline.yaml", &text("retyped: cast"));
    place.run();
    assert_eq!(place.table("out/profile").unwrap(), "id,age\n1,20\n2,30\n3,40\n4,50\n");
    // What cannot be cast stops the run and names the files it may be; the value is not shown.
    parquet(&place, "id: int!, age: string", "5,unspoken\n", "people/d.parquet");
    let said = place.refused();
    assert!(said.contains("d.parquet") && !said.contains("unspoken"), "{said}");
    assert!(!said.contains("one of") && !said.contains("c.parquet"), "the one file is known: {said}");
    std::fs::remove_file(place.path().join("people/d.parquet")).unwrap();
    parquet(&place, "id: int!, extra: string", "6,x\n", "people/e.parquet");
    let said = place.refused();
    assert!(said.contains("S0318") && said.contains("`age`") && said.contains("e.parquet"), "{said}");
    place.put("pipeline.yaml", &text("retyped: cast, dropped: set_null, added: warn"));
    let plan = place.strata(&["plan", "pipeline.yaml"]);
    assert!(
        String::from_utf8_lossy(&plan.stderr).contains("`extra` of `people` is not declared"),
        "{}",
        String::from_utf8_lossy(&plan.stderr)
    );
    let report = place.run();
    assert!(report["warnings"].to_string().contains("`extra` of `people` is not declared"), "{report}");
    assert_eq!(place.table("out/profile").unwrap(), "id,age\n1,20\n2,30\n3,40\n4,50\n6,\n");
}

#[test]
fn questions_about_a_whole_source_are_asked_first() {
    let pipeline = "version: 1
name: whole
as_of: 2026-02-01T00:00:00Z
sources:
  people: {csv: people.csv, mode: mutable, key: id, columns: {id: int!}}
  visits:
    csv: visits.csv
    time: at
    mode: append
    columns: {visit: int!, id: int, at: timestamp!}
    checks:
      CHECK
entities: {person: {from: people, key: id}}
attributes: {person: [{from: visits, columns: {visits: count(*)}}]}
outputs: {profile: {to: out/profile, format: csv, select: person.attributes}}
";
    // A visit a day until the end of January, at noon; the last one comes after `as_of`.
    let visits: String = (1..=31).map(|d| format!("{d},1,2026-01-{d:02}T12:00:00\n")).collect();
    let place =
        Place::new(&[("people.csv", "id\n1\n"), ("visits.csv", &format!("visit,id,at\n{visits}99,1,2026-02-01T00:00:00\n"))]);
    let with = |check: &str| place.put("pipeline.yaml", &pipeline.replace("CHECK", check));
    for right in [
        "fresh: {freshness: 12h}",
        "volume: {volume: {of: 7d, min: 1, max: 1}}",
        "once: {unique: [visit]}",
        "some: {sql: count(*) = 31 and max(visit) < 99}",
        "known: {references: people, columns: [id]}",
    ] {
        with(right);
        place.run();
        assert_eq!(place.table("out/profile").unwrap(), "id,visits\n1,31\n", "{right}");
    }
    for (wrong, word) in [
        ("fresh: {freshness: 11h}", "12.0 hours old"),
        ("volume: {volume: {of: 7d, min: 1.1}}", "1 rows, the days before hold 1.0 a day"),
        ("once: {unique: [id]}", "30 rows repeat `id`"),
        ("some: {sql: count(*) > 31}", "`count(*) > 31` is false"),
    ] {
        with(wrong);
        let said = place.refused();
        assert!(said.contains(word), "{wrong}: {said}");
        with(&format!("{}, on_fail: warn}}", &wrong[..wrong.len() - 1]));
        let report = place.run();
        assert!(report["warnings"].to_string().contains(word), "{wrong}: {report}");
    }
    // A row of somebody who is not on the roster.
    place.put("people.csv", "id\n2\n");
    with("known: {references: people, columns: [id]}");
    let said = place.refused();
    assert!(said.contains("31 rows fail the rule `known`: `id` is no key of `people`") && said.contains("visits.csv"), "{said}");
}

#[test]
fn rows_that_repeat_are_put_aside_all_of_them() {
    let pipeline = "version: 1
name: repeats
as_of: 2026-02-01T00:00:00Z
sources:
  people: {csv: people.csv, mode: mutable, key: id, columns: {id: int!}}
  visits:
    csv: visits
    time: at
    mode: append
    columns: {visit: int, shop: string, id: int, at: timestamp!}
    checks: {once: {unique: [visit, shop], on_fail: quarantine}}
entities: {person: {from: people, key: id}}
attributes: {person: [{from: visits, columns: {visits: count(*)}}]}
outputs: {profile: {to: out/profile, format: csv, select: person.attributes}}
";
    // Rows 2 of `a` and 1 and 3 of `b` repeat; what is null, or comes after `as_of`, repeats nothing.
    let place = Place::new(&[
        ("pipeline.yaml", pipeline),
        ("people.csv", "id\n1\n2\n"),
        ("visits/a.csv", "visit,shop,id,at\n1,x,1,2026-01-01T00:00:00\n7,x,1,2026-01-02T00:00:00\n,x,1,2026-01-02T00:00:00\n"),
        (
            "visits/b.csv",
            "visit,shop,id,at\n7,x,2,2026-01-03T00:00:00\n7,y,2,2026-01-03T00:00:00\n7,x,2,2026-01-04T00:00:00\n\
             ,x,1,2026-01-02T00:00:00\n1,x,1,2026-02-01T00:00:00\n",
        ),
    ]);
    let report = place.run();
    assert_eq!(place.table("out/profile").unwrap(), "id,visits\n1,3\n2,1\n");
    let table = report["outputs"].as_array().unwrap().iter().find(|o| o["name"] == "_quarantine/visits").unwrap();
    let rows = aside(table["path"].as_str().unwrap());
    assert_eq!(rows.keys().cloned().collect::<Vec<_>>(), [("a.csv".into(), 2), ("b.csv".into(), 1), ("b.csv".into(), 3)]);
    assert!(rows.values().all(|r| r["_rule"] == "once" && r["_reason"].as_str().unwrap().contains("`visit`, `shop`")));
}

#[test]
fn checks_of_tables_are_asked_of_the_rows_that_were_made() {
    let pipeline = "version: 1
name: tables
as_of: 2026-02-01T00:00:00Z
sources:
  people: {csv: people.csv, mode: mutable, key: id, columns: {id: int!}}
  visits: {csv: visits.csv, time: at, mode: append, columns: {visit: int!, id: int, shop: string, at: timestamp!}}
tables:
  days:
    key: [id, day]
    time: at
    sql: select id, cast(at as date) as day, max(at) as at, count(*) as visits, min(shop) as shop from visits group by 1, 2
    checks:
      CHECK
entities: {person: {from: people, key: id}}
attributes: {person: [{from: days, columns: {days: count(*)}}]}
outputs: {profile: {to: out/profile, format: csv, select: person.attributes}}
";
    let visits: String = (1..=31).map(|d| format!("{d},1,s{},2026-01-{d:02}T12:00:00\n", d % 2)).collect();
    let place = Place::new(&[("people.csv", "id\n1\n"), ("visits.csv", &format!("visit,id,shop,at\n{visits}"))]);
    let with = |check: &str| place.put("pipeline.yaml", &pipeline.replace("CHECK", check));
    for right in [
        "some: {sql: visits > 0}",
        "all: {sql: count(*) = 31}",
        "once: {unique: [day]}",
        "known: {references: people, columns: [id]}",
        "fresh: {freshness: 12h}",
        "volume: {volume: {of: 7d, min: 1, max: 1}}",
        "shops: {column: shop, enum: [s0, s1]}",
    ] {
        with(right);
        place.run();
        assert_eq!(place.table("out/profile").unwrap(), "id,days\n1,31\n", "{right}");
    }
    for (wrong, word) in [
        ("some: {sql: shop <> 's0'}", "15 rows fail: `shop <> 's0'` is false"),
        ("all: {sql: count(*) > 31}", "`count(*) > 31` is false"),
        ("once: {unique: [shop]}", "29 rows repeat `shop`"),
        ("late: {column: at, max: \"timestamp '2026-01-30T00:00:00'\"}", "2 rows fail: `at` is more than"),
        ("fresh: {freshness: 11h}", "12.0 hours old"),
        ("shops: {column: shop, enum: [s0]}", "16 rows fail: `shop` is none of its 1 values"),
    ] {
        with(wrong);
        let said = place.refused();
        assert!(said.contains(word) && said.contains("of `days`") && said.contains("pipeline.yaml:8"), "{wrong}: {said}");
        with(&format!("{}, on_fail: warn}}", &wrong[..wrong.len() - 1]));
        for again in [false, true] {
            let report = place.run();
            assert!(report["warnings"].to_string().contains(word), "{wrong}, again: {again}: {report}");
        }
    }
    place.put("people.csv", "id\n2\n");
    with("known: {references: people, columns: [id]}");
    let text = place.refused();
    assert!(text.contains("31 rows fail: `id` is no key of `people`"), "{text}");
    // A preview asks no checks, and says so.
    let out = place.strata(&["preview", "pipeline.yaml", "table.days"]);
    assert!(out.status.success() && said(&out).contains("were not asked, a run asks them: `days`"), "{}", said(&out));
}

#[test]
fn a_preview_shows_rows_that_a_run_would_stop_at_and_says_so() {
    let place =
        Place::new(&[("pipeline.yaml", PEOPLE), ("people/a.csv", "id,mail,age\n1,one@example.org,20\n2,secret words,30\n")]);
    let out = place.strata(&["preview", "pipeline.yaml", "person.attributes"]);
    assert!(out.status.success(), "{}", said(&out));
    assert!(String::from_utf8_lossy(&out.stdout).contains("30"));
    let text = said(&out);
    assert!(
        text.contains("1 row of `people`: `mail.format`") && text.contains("a run stops here") && !text.contains("secret"),
        "{text}"
    );
}

#[test]
fn of_many_files_the_one_at_fault_is_named() {
    let place = Place::new(&[("pipeline.yaml", PEOPLE)]);
    for i in 0..8 {
        place.put(
            &format!("people/f{i}.csv"),
            &format!("id,mail,age\n{i},a@example.org,{}\n", if i == 5 { "twelve" } else { "20" }),
        );
    }
    let text = place.refused();
    assert!(text.contains("f5.csv") && text.contains("column 3") && !text.contains("twelve"), "{text}");
    assert!(!text.contains("one of") && !text.contains("f4.csv"), "{text}");
}
