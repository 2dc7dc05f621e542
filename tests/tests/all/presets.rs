//! Presets held against reference vectors of real data and plain Python, and edges that are frozen. Never compares with what an
//! earlier build of ours computed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use strata_engine::RunReport;
use strata_testkit::{RunSpec, repository, run_pipeline, run_python};

/// Rows by their first column; cells by the names of their columns.
type Rows = BTreeMap<String, BTreeMap<String, String>>;

/// A folder of reference vectors beside the checkout.
fn reference(name: &str) -> Option<PathBuf> {
    let folder = repository().join("../shared/reference/segmentation").join(name);
    match folder.is_dir() {
        true => Some(folder),
        false => {
            println!("not run: there are no reference vectors `{name}` beside this checkout");
            None
        }
    }
}

fn rows(text: &str) -> Rows {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            assert_eq!(cells.len(), header.len(), "{line}");
            (cells[0].to_owned(), header.iter().zip(&cells).map(|(h, c)| ((*h).to_owned(), (*c).to_owned())).collect())
        })
        .collect()
}

/// The rows of an output that is CSV.
fn output(report: &RunReport, name: &str) -> Rows {
    let output = report.outputs.iter().find(|o| o.name == name).unwrap();
    let mut text = String::new();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&output.path).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "csv")) {
        let part = std::fs::read_to_string(file).unwrap();
        text.push_str(if text.is_empty() { &part } else { part.split_once('\n').unwrap().1 });
    }
    rows(&text)
}

fn run(work: &Path, pipeline: &str, data: &Path, round_trip: bool) -> RunReport {
    let folder = work.join("p");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("pipeline.yaml"), pipeline).unwrap();
    let spec = RunSpec::new(&folder, data, &work.join("out")).threads(3).round_trip(round_trip);
    run_pipeline(&spec).unwrap_or_else(|e| panic!("{e}"))
}

/// Orders of the reference cases are in the shop's wall time; its last day is 2017-12-31.
const ORDERS: &str = "\
version: 1
name: reference
as_of: 2018-01-01T00:00:00Z
vars: {data: ., out: ./out}
sources:
  orders: {parquet: \"${vars.data}/orders.parquet\", time: ts, mode: append}
entities: {customer: {from: people, key: customer_id}}
outputs:
  defaults: {to: \"${vars.out}/{name}\", format: csv}
  made: {select: [SELECT]}
";

fn close(found: &str, expected: &str, relative: f64, what: &str) {
    let (a, b): (f64, f64) = (found.parse().unwrap_or(f64::NAN), expected.parse().unwrap());
    assert!((a - b).abs() <= relative * b.abs().max(1.0), "{what}: {found}, not {expected}");
}

#[test]
fn rfm_scores_are_those_of_the_reference() {
    let Some(folder) = reference("rfm_complete_journey") else { return };
    let pipeline = format!(
        "{}{}",
        ORDERS.replace("SELECT", "customer.attributes, customer.segments"),
        "\
tables:
  people: {key: customer_id, sql: select distinct customer_id from orders}
attributes:
  customer:
    - from: orders
      columns: {r_days: days_since(max(ts)) - 1, f_orders: count(*), m_total: sum(amount)}
segments:
  tiles:
    method: rfm@1
    r: r_days
    f: f_orders
    m: m_total
    r_order: reversed
    columns: {r: ntile_r, f: ntile_f, m: ntile_m, cell: ntile_cell}
  edges:
    method: rfm@1
    r: r_days
    f: f_orders
    m: m_total
    mode: edges
    columns: {r: qcut_r, f: qcut_f, m: qcut_m, cell: qcut_cell}
  fixed:
    method: rfm@1
    r: r_days
    f: f_orders
    m: m_total
    mode: fixed
    cuts: {r: [7, 30, 90, 180], f: [2, 4, 10, 25], m: [50, 200, 500, 2000]}
    columns: {r: fixed_r, f: fixed_f, m: fixed_m, cell: fixed_cell}
  kept:
    method: rfm@1
    r: r_days
    f: f_orders
    m: m_total
    mode: frozen
    cuts: 2017
    columns: {r: kr, f: kf, m: km, cell: kept_cell}
"
    );
    let work = tempfile::tempdir().unwrap();
    let made = output(&run(work.path(), &pipeline, &folder, true), "made");
    let quintiles = rows(&std::fs::read_to_string(folder.join("expected_quintile_scores.csv")).unwrap());
    let fixed = rows(&std::fs::read_to_string(folder.join("expected_fixed_scores.csv")).unwrap());
    assert_eq!(made.len(), quintiles.len());
    for (customer, expected) in &quintiles {
        let found = &made[customer];
        close(&found["m_total"], &expected["m_total"], 1e-9, customer);
        let integers = ["r_days", "f_orders", "ntile_r", "ntile_f", "ntile_m", "qcut_r", "qcut_f", "qcut_m"];
        for column in integers {
            assert_eq!(found[column], expected[column], "{column} of {customer}");
        }
        for column in ["fixed_r", "fixed_f", "fixed_m"] {
            assert_eq!(found[column], fixed[customer][column], "{column} of {customer}");
        }
        assert_eq!(found["kept_cell"], found["qcut_cell"]);
    }
    // The edges that were kept are those of the reference, and lie in every manifest.
    let manifest = std::fs::read_dir(work.path().join("out/made/runs")).unwrap().next().unwrap().unwrap().path();
    let manifest = std::fs::read_to_string(manifest.join("_manifest.json")).unwrap();
    let kept = &serde_json::from_str::<serde_json::Value>(&manifest).unwrap()["kept"]["kept@2017"];
    let edges = std::fs::read_to_string(folder.join("expected_edges.json")).unwrap();
    let edges = &serde_json::from_str::<serde_json::Value>(&edges).unwrap()["qcut_linear_interpolation"];
    for (part, column) in [("r", "r_days"), ("f", "f_orders"), ("m", "m_total")] {
        for (i, edge) in kept[part].as_array().unwrap().iter().enumerate() {
            close(edge.as_str().unwrap(), &edges[column][i + 1].to_string(), 1e-9, column);
        }
        assert_eq!(kept[part].as_array().unwrap().len(), 4);
    }
}

#[test]
fn loyalty_attributes_are_those_of_the_reference() {
    let Some(folder) = reference("loyalty_features_complete_journey") else { return };
    let pipeline = format!(
        "{}{}",
        ORDERS.replace("SELECT", "customer.attributes").replace(
            "entities:",
            "  spend: {parquet: \"${vars.data}/department_spend.parquet\", mode: mutable, key: [customer_id, department], \
             derive: {spend: amount}}\nentities:"
        ),
        "\
tables:
  people: {key: customer_id, sql: select distinct customer_id from orders}
attributes:
  customer:
    - preset: loyalty_core@1
      from: orders
      amount: amount
      discount: retail_disc + coupon_disc
      lines: lines
      category: spend
      windows: [life]
"
    );
    let work = tempfile::tempdir().unwrap();
    let made = output(&run(work.path(), &pipeline, &folder, true), "made");
    let expected = rows(&std::fs::read_to_string(folder.join("expected_features.csv")).unwrap());
    assert!(expected.len() > 2_000 && made.len() >= expected.len());
    for (customer, expected) in &expected {
        let found = &made[customer];
        let days = |name: &str| found[name].parse::<i64>().unwrap();
        // Days since 2018-01-01 here, since the day before there.
        assert_eq!((days("recency_days") - 1).to_string(), expected["recency_days"], "{customer}");
        assert_eq!((days("tenure_days") - 1).to_string(), expected["tenure_days"], "{customer}");
        assert_eq!((&found["orders_life"], &found["categories"]), (&expected["orders"], &expected["departments"]), "{customer}");
        let same = [
            ("net_life", "monetary"),
            ("basket", "basket_value"),
            ("basket_lines", "basket_lines"),
            ("discount_share", "discount_share"),
            ("gap_median", "ipi_median"),
            ("category_entropy", "department_entropy_nats"),
        ];
        for (ours, theirs) in same {
            close(&found[ours], &expected[theirs], 1e-9, &format!("{ours} of {customer}"));
        }
        let cv = 1.0 / found["regularity"].parse::<f64>().unwrap() - 1.0;
        close(&cv.to_string(), &expected["ipi_cv"], 1e-9, &format!("regularity of {customer}"));
    }
}

const SHOP: &str = "\
version: 1
name: shop
as_of: 2026-02-01T00:00:00Z
vars: {data: ., out: ./out}
sources:
  customers: {csv: \"${vars.data}/customers.csv\", mode: mutable, key: id, columns: {id: int!, r: int!, f: int!, m: int!}}
entities: {customer: {from: customers, key: id}}
attributes: {customer: [{row: {recency: r, orders: f, spend: m}}]}
segments:
  rfm: {method: rfm@1, r: recency, f: orders, m: spend, mode: frozen, cuts: FIRST, columns: {segment: segment}}
outputs:
  defaults: {to: \"${vars.out}/{name}\", format: csv}
  made: {select: [id, rfm_cell, segment]}
";

fn shop(data: &Path, factor: i64) {
    let mut text = "id,r,f,m\n".to_owned();
    (1..=10).for_each(|i| text.push_str(&format!("{i},{i},{},{}\n", i * factor, i * factor)));
    std::fs::write(data.join("customers.csv"), text).unwrap();
}

#[test]
fn frozen_edges_stay_until_their_name_changes() {
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    let cells = |report: &RunReport| output(report, "made").into_values().map(|r| r["rfm_cell"].clone()).collect::<Vec<_>>();
    shop(&data, 1);
    let first = cells(&run(work.path(), SHOP, &data, false));
    assert!(first.contains(&"511".to_owned()) && first.contains(&"155".to_owned()), "{first:?}");
    // Everybody buys ten times as much: at the frozen edges all are at the top, where new ones would say that nothing changed.
    shop(&data, 10);
    let report = run(work.path(), SHOP, &data, true);
    assert!(cells(&report).iter().all(|c| c.ends_with("55")), "{:?}", cells(&report));
    assert!(report.steps.iter().any(|s| s.detail.contains("edges `FIRST` as they were published")), "{:?}", report.steps);
    let second = run(work.path(), &SHOP.replace("FIRST", "SECOND"), &data, false);
    assert_eq!(cells(&second), first);
    // The first are not forgotten.
    assert!(cells(&run(work.path(), SHOP, &data, false)).iter().all(|c| c.ends_with("55")));
    // Edges of something else are refused.
    std::fs::write(work.path().join("p/pipeline.yaml"), SHOP.replace("m: spend", "m: spend / 2")).unwrap();
    let failed = run_pipeline(&RunSpec::new(&work.path().join("p"), &data, &work.path().join("out"))).unwrap_err();
    assert!(failed.to_string().contains("frozen for `recency`, `orders`, `spend` in 5 groups"), "{failed}");
    assert_eq!(failed.class(), "DATA_CHECK");
}

#[test]
fn presets_of_attributes_make_what_plain_python_makes() {
    for case in ["loyalty_core", "preferred_time"] {
        let folder = repository().join("tests/cases").join(case);
        let work = tempfile::tempdir().unwrap();
        let report =
            run_pipeline(&RunSpec::new(&folder, &folder, work.path()).threads(1)).unwrap_or_else(|e| panic!("{case}: {e}"));
        let made: Vec<PathBuf> = std::fs::read_dir(&report.outputs[0].path).unwrap().map(|e| e.unwrap().path()).collect();
        let [file] = made.iter().filter(|f| f.extension().is_some_and(|e| e == "csv")).collect::<Vec<_>>()[..] else {
            panic!("{case}: one file is expected of one thread: {made:?}")
        };
        let oracle = repository().join("tests/oracle/presets.py");
        run_python(&[&oracle.to_string_lossy(), case, &folder.to_string_lossy(), &file.to_string_lossy()]);
    }
}

const STAGES: &str = "\
version: 1
name: stages
as_of: AS_OF
timezone: UTC
vars: {data: ., out: ./out}
sources:
  customers:
    csv: \"${vars.data}/customers.csv\"
    mode: mutable
    key: id
    columns: {id: int!, days: int, gap_days: int, recency: int}
entities: {customer: {from: customers, key: id}}
attributes: {customer: [{row: {days: customers.days, gap_days: customers.gap_days, recency: customers.recency, gaps: 1}}]}
segments:
  stage:
    method: lifecycle@2
    purchase_days: days
    recency_days: recency
    gap_days: gap_days
    gaps: gaps
    prior_gaps: 0
    substates: reactivated
    state: \"${vars.out}/made\"
outputs:
  defaults: {to: \"${vars.out}/{name}\", format: csv}
  made: {select: [id, stage]}
";

#[test]
fn who_was_slipping_or_lapsed_is_remembered_from_the_run_before() {
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    let stages = |as_of: &str, rows: &[(i32, i32, i32)], round_trip: bool| {
        let mut text = "id,days,gap_days,recency\n".to_owned();
        rows.iter().for_each(|(id, interval, recency)| text.push_str(&format!("{id},9,{interval},{recency}\n")));
        std::fs::write(data.join("customers.csv"), text).unwrap();
        let report = run(work.path(), &STAGES.replace("AS_OF", as_of), &data, round_trip);
        output(&report, "made").into_values().map(|r| r["stage"].clone()).collect::<Vec<_>>()
    };
    // Nothing is published: intervals of 10 days, recency of 25, 50, 17, 25, 25 and 50.
    let first = [(1, 10, 25), (2, 10, 50), (3, 10, 17), (4, 10, 25), (5, 10, 25), (6, 10, 50)];
    let plain = ["slipping", "lapsed", "active", "slipping", "slipping", "lapsed"];
    assert_eq!(stages("2026-02-01", &first, false), plain);
    // Ten days on. 1 is at 1.7 intervals and bought nothing: slipping until 1.5, where 4 is below. 5 bought a week ago.
    let second = [(1, 20, 34), (2, 10, 3), (3, 10, 17), (4, 25, 35), (5, 4, 7), (6, 10, 3)];
    let remembered = ["slipping", "reactivated", "active", "active", "active", "reactivated"];
    assert_eq!(stages("2026-02-11", &second, true), remembered);
    // The same run again reads the version before it, not its own.
    assert_eq!(stages("2026-02-11", &second, false), remembered);
    // Ten more: 2 bought nothing since and stays reactivated, 6 bought again. What is published is not of the past of an earlier run.
    let third = [(1, 40, 44), (2, 10, 13), (6, 10, 2)];
    assert_eq!(stages("2026-02-21", &third, false), ["active", "reactivated", "active"]);
    assert_eq!(stages("2026-01-01", &first, false), plain);
}
