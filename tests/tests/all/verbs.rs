//! The verbs for writing pipelines, as their users meet them: check, test, sql, preview, diff, fmt, show, contract, doctor. Never a run
//! that publishes where none is asked for.

use std::path::Path;
use std::process::{Command, Output};
use strata_testkit::binary;
use strata_testkit::s3::S3Server;

fn strata(dir: &Path, args: &[&str]) -> Output {
    Command::new(binary()).args(args).current_dir(dir).env("NO_COLOR", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a verb printed; fails where its exit code is another.
fn said(dir: &Path, args: &[&str], code: i32) -> String {
    let done = strata(dir, args);
    assert_eq!(done.status.code(), Some(code), "{args:?}: {}{}", text(&done.stdout), text(&done.stderr));
    text(&done.stdout)
}

fn json(dir: &Path, args: &[&str], code: i32) -> serde_json::Value {
    let out = said(dir, args, code);
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {out}"))
}

const PIPELINE: &str = include_str!("../../cases/own_tests/pipeline.yaml");

const CUSTOMERS: &str = include_str!("../../cases/own_tests/customers.csv");
const ORDERS: &str = include_str!("../../cases/own_tests/orders.csv");

/// A folder with a small pipeline and its data.
fn small() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pipeline.yaml"), PIPELINE).unwrap();
    std::fs::write(dir.path().join("customers.csv"), CUSTOMERS).unwrap();
    std::fs::write(dir.path().join("orders.csv"), ORDERS).unwrap();
    dir
}

fn rewrite(dir: &Path, from: &str, to: &str) {
    assert!(PIPELINE.contains(from), "{from}");
    std::fs::write(dir.join("pipeline.yaml"), PIPELINE.replacen(from, to, 1)).unwrap();
}

#[test]
fn check_speaks_to_people_programs_and_scanners() {
    let dir = small();
    let dir = dir.path();
    let fine = strata(dir, &["check", "."]);
    let err = text(&fine.stderr);
    assert!(fine.status.success() && err.contains("no errors"), "{err}");
    assert!(err.contains("note[S0180]") && err.contains("`customers` changes in place"), "{err}");
    assert_eq!(json(dir, &["check", ".", "--output", "json"], 0)["diagnostics"][0]["code"], "S0180");
    // One mistake of the file's form would hide the second, which is one of SQL.
    rewrite(dir, "count(*)\n", "cuont(*)\n");
    let found = json(dir, &["check", ".", "--output", "json"], 2);
    let first = &found["diagnostics"][0];
    assert_eq!((first["code"].as_str(), first["severity"].as_str()), (Some("S0303"), Some("error")), "{found}");
    assert!(first["end_column"].as_u64() > first["column"].as_u64() && first["title"].is_string(), "{found}");
    let sarif = json(dir, &["check", ".", "--output", "sarif"], 2);
    assert_eq!((sarif["version"].as_str(), sarif["runs"][0]["results"][0]["ruleId"].as_str()), (Some("2.1.0"), Some("S0303")));
    let github = said(dir, &["check", ".", "--output", "github"], 2);
    assert!(github.starts_with("::error file=./pipeline.yaml,line=") && github.contains("S0303"), "{github}");
    let page = said(dir, &["explain", "s0303"], 0);
    assert!(page.starts_with("# S0303: ") && page.contains("## Right"), "{page}");
    let near = strata(dir, &["explain", "S9303"]);
    assert!(near.status.code() == Some(2) && text(&near.stderr).contains("did you mean `S0303`"), "{}", text(&near.stderr));
}

#[test]
fn presets_the_schema_and_completions_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let list = said(dir, &["show"], 0);
    assert!(list.contains("rfm@1") && list.contains("kmeans"), "{list}");
    let lifecycle = said(dir, &["show", "lifecycle@1"], 0);
    assert!(lifecycle.contains("(recency_days) <= 120") && lifecycle.contains("orders *"), "{lifecycle}");
    let rfm = said(dir, &["show", "rfm@1"], 0);
    assert!(rfm.contains("mode: frozen") && rfm.contains("Groups of each score (5)."), "{rfm}");
    let near = strata(dir, &["show", "rfm"]);
    assert!(near.status.code() == Some(2) && text(&near.stderr).contains("did you mean `rfm@1`"), "{}", text(&near.stderr));
    let schema = json(dir, &["schema"], 0);
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert!(schema["properties"]["tests"].is_object() && schema["properties"]["include"].is_null());
    for shell in ["bash", "zsh", "fish"] {
        assert!(said(dir, &["completions", shell], 0).contains("preview"), "{shell}");
    }
}

#[test]
fn fmt_keeps_comments_and_says_what_changed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let untidy = "version: 1\nname:   shop   # ours\nsources:\n    a:\n        parquet: x   \n";
    std::fs::write(dir.join("pipeline.yaml"), untidy).unwrap();
    let would = said(dir, &["fmt", "--check", "."], 1);
    assert!(would.contains("pipeline.yaml: ") && would.contains("would change"), "{would}");
    assert_eq!(std::fs::read_to_string(dir.join("pipeline.yaml")).unwrap(), untidy);
    assert!(said(dir, &["fmt", "pipeline.yaml"], 0).contains("changed"));
    let tidy = std::fs::read_to_string(dir.join("pipeline.yaml")).unwrap();
    assert!(tidy.contains("# ours") && tidy.contains("\n  a:\n    parquet: x\n"), "{tidy}");
    assert_eq!(said(dir, &["fmt", "--check", "."], 0), "");
    std::fs::write(dir.join("broken.yaml"), "a: [1\n").unwrap();
    let broken = strata(dir, &["fmt", "broken.yaml"]);
    assert!(broken.status.code() == Some(2) && text(&broken.stderr).contains("broken.yaml:"), "{}", text(&broken.stderr));
}

#[test]
fn sql_says_how_a_thing_is_made_and_what_it_reads() {
    let dir = small();
    let dir = dir.path();
    for file in ["customers.csv", "orders.csv"] {
        std::fs::remove_file(dir.join(file)).unwrap();
    }
    let spend = said(dir, &["sql", ".", "spend"], 0);
    assert!(spend.contains("spend: total(amount)") && spend.contains("pipeline.yaml:34:"), "{spend}");
    assert!(spend.contains("reads\n  orders") && spend.contains("Aggregate"), "{spend}");
    let place = json(dir, &["sql", ".", "place", "--output", "json"], 0);
    assert_eq!(place["steps"], serde_json::json!(["table ranks"]), "{place}");
    let both = json(dir, &["sql", ".", "both", "--output", "json"], 0);
    assert_eq!(both["steps"], serde_json::json!(["table ranks", "attributes of customer", "segments level"]), "{both}");
    for node in ["orders", "ranks", "customer.attributes", "customer.from.orders", "stage", "people"] {
        assert!(said(dir, &["sql", ".", node], 0).contains("as compiled"), "{node}");
    }
    let near = strata(dir, &["sql", ".", "spent"]);
    assert!(near.status.code() == Some(2) && text(&near.stderr).contains("did you mean `spend`?"), "{}", text(&near.stderr));
}

#[test]
fn preview_runs_what_is_needed_masks_people_and_publishes_nothing() {
    let dir = small();
    let dir = dir.path();
    let table = said(dir, &["preview", ".", "stage"], 0);
    let lines: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["customer_id", "stage"]);
    assert_eq!(lines[2..], [["1", "active"], ["2", "lapsed"], ["3", "never"], ["4", "active"]], "{table}");
    let rows = |node: &str, more: &[&str]| -> Vec<serde_json::Value> {
        let out = said(dir, &[&["preview", ".", node, "--output", "json"], more].concat(), 0);
        out.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    };
    let expect = |got: &[serde_json::Value], want: serde_json::Value| assert_eq!(serde_json::json!(got), want);
    expect(
        &rows("spend", &["--rows", "2"]),
        serde_json::json!([{"customer_id": 1, "spend": "15.50"}, {"customer_id": 2, "spend": "20.00"}]),
    );
    expect(&rows("level", &["--rows", "1"]), serde_json::json!([{"customer_id": 1, "level": "high"}]));
    expect(&rows("ranks", &["--rows", "1"]), serde_json::json!([{"customer_id": 1, "place": 1}]));
    expect(&rows("both", &["--rows", "1"]), serde_json::json!([{"customer_id": 1, "both": "active · high"}]));
    // `contact` is a derived column's value, which is an address in other letters.
    let one = serde_json::json!([{"customer_id": 1, "email": "***", "region": "north", "mail": "***"}]);
    expect(&rows("customers", &["--rows", "1"]), one);
    expect(&rows("contact", &["--rows", "1"]), serde_json::json!([{"customer_id": 1, "contact": "***"}]));
    let shown = rows("contact", &["--rows", "1", "--show-personal"]);
    expect(&shown, serde_json::json!([{"customer_id": 1, "contact": "ann@x.org"}]));
    assert_eq!(rows("people", &[]).len(), 4);
    assert!(!dir.join("out").exists() && !dir.join(".strata").exists(), "a preview left something behind");
    let near = strata(dir, &["preview", ".", "output.peple"]);
    assert!(near.status.code() == Some(2) && text(&near.stderr).contains("did you mean `people`?"), "{}", text(&near.stderr));
}

#[test]
fn a_personal_column_does_not_get_out_by_another_name() {
    let dir = small();
    let dir = dir.path();
    rewrite(dir, "classes: [direct_id]", "where: true");
    assert!(strata(dir, &["check", "."]).status.success());
    let select = "select: [customer_id, contact], where: true";
    rewrite(dir, "select: [customer_id, region, stage, level, both], classes: [direct_id]", select);
    let refused = strata(dir, &["check", "."]);
    let err = text(&refused.stderr);
    assert!(refused.status.code() == Some(5) && err.contains("S0312") && err.contains("`contact` is direct_id"), "{err}");
}

#[test]
fn tests_of_a_pipeline_need_no_data_and_name_each_wrong_value() {
    let dir = small();
    let dir = dir.path();
    for file in ["customers.csv", "orders.csv"] {
        std::fs::remove_file(dir.join(file)).unwrap();
    }
    let passed = said(dir, &["test", "."], 0);
    assert!(passed.contains("ok      spend adds up") && passed.ends_with("2 of 2 tests passed\n"), "{passed}");
    assert!(said(dir, &["test", ".", "--only", "key"], 0).contains("1 of 1 test passed"));
    rewrite(dir, "order_count: 2, spend: 40.50, recency_days: 12", "order_count: 3, spend: much, recency_days: 12");
    let failed = said(dir, &["test", "."], 1);
    assert!(failed.contains("FAILED  spend adds up") && failed.contains("1 of 2 tests passed"), "{failed}");
    let line = PIPELINE.lines().position(|l| l.contains("expect: {order_count: 2")).unwrap() + 1;
    assert!(failed.contains(&format!("pipeline.yaml:{line}:27: order_count: expected 3, got 2")), "{failed}");
    assert!(failed.contains("spend: expected much, which is not a number, got 40.50"), "{failed}");
    let found = json(dir, &["test", ".", "--output", "json"], 1);
    assert_eq!((found["failed"].as_u64(), found["tests"][0]["failures"][0]["got"].as_str()), (Some(1), Some("2")), "{found}");
    rewrite(
        dir,
        "amount: 0.50, ordered_at: 2026-01-20}\n        - {order_id: 2",
        "amount: x, ordered_at: 2026-01-20}\n        - {order_id: 2",
    );
    let unfit = said(dir, &["test", ".", "--only", "spend"], 1);
    assert!(unfit.contains("`x` does not fit `amount`, which is a number"), "{unfit}");
    // The rules of a contract hold for given rows as well.
    rewrite(dir, "customers: [{customer_id: 1}, {customer_id: 2}]", "customers: [{customer_id: 1}, {customer_id: 1}]");
    let twice = said(dir, &["test", ".", "--only", "key"], 1);
    assert!(twice.contains("another row has as well"), "{twice}");
    assert_eq!(strata(dir, &["test", ".", "--only", "nothing"]).status.code(), Some(2));
}

#[test]
fn diff_counts_who_would_move_and_names_them_only_if_asked() {
    let dir = small();
    let dir = dir.path();
    let before = said(dir, &["diff", "."], 0);
    assert!(before.contains("stage: nothing to compare: `people` was never published"), "{before}");
    assert!(strata(dir, &["run", "."]).status.success());
    let published = said(dir, &["outputs", "."], 0);
    assert!(said(dir, &["diff", "."], 0).contains("stage: nobody of 4 moves"));
    rewrite(dir, "recency_days <= 30", "recency_days <= 20");
    let moved = said(dir, &["diff", "."], 0);
    let row: Vec<Vec<&str>> =
        moved.lines().filter(|l| l.starts_with("active ")).map(|l| l.split_whitespace().collect()).collect();
    assert!(moved.contains("stage: 1 of 4 move") && row[0] == ["active", "1", "1", "."], "{moved}");
    let found = json(dir, &["diff", ".", "--keys", "--output", "json"], 0);
    let stage = &found["segmentations"][0];
    assert_eq!(stage["keys"], serde_json::json!([["4", "active", "lapsed"]]), "{found}");
    assert!(json(dir, &["diff", ".", "--output", "json"], 0)["segmentations"][0]["keys"].as_array().unwrap().is_empty());
    let level = &found["segmentations"][1];
    let same = |c: &serde_json::Value| c[0] == c[1];
    assert!(level["counts"].as_array().unwrap().iter().all(same), "{found}");
    // Who leaves the table, and a segmentation that is new in it.
    rewrite(dir, "classes: [direct_id]", "where: order_count > 0");
    assert!(said(dir, &["diff", "."], 0).contains("(not in the table)"));
    rewrite(dir, "  both: {by: [stage, level]}", "  fresh: {where: spend > 10}\n  both: {by: [stage, level]}");
    let text = std::fs::read_to_string(dir.join("pipeline.yaml")).unwrap().replace("level, both]", "level, both, fresh]");
    std::fs::write(dir.join("pipeline.yaml"), text).unwrap();
    assert!(said(dir, &["diff", "."], 0).contains("fresh: nothing to compare: the published `people` has no column `fresh`"));
    assert_eq!(said(dir, &["outputs", "."], 0), published);
}

#[test]
fn a_contract_is_inferred_and_can_be_declared() {
    let dir = small();
    let dir = dir.path();
    let rows: String =
        (0..40).map(|i| format!("{i},0{i},{}.5,2026-01-{:02},{}\n", i, i % 28 + 1, ["web", "store"][i % 2])).collect();
    std::fs::write(dir.join("visits.csv"), format!("visit_id,code,paid,day,channel\n{rows}40,040,,2026-01-01,web\n")).unwrap();
    let found = said(dir, &["contract", "infer", "visits.csv"], 0);
    for line in [
        "# visits.csv: 1 file, 41 rows, all rows",
        "# could be the key: visit_id, code",
        "  visit_id: int!",
        "  code: string!",
        "  paid: \"decimal(10,1)\"",
        "  day: date!",
        "  channel: \"enum(store,web)!\"",
    ] {
        assert!(found.lines().any(|l| l == line), "{line} in {found}");
    }
    let columns: String = found.lines().skip_while(|l| *l != "columns:").map(|l| format!("    {l}\n")).collect();
    let source =
        format!("version: 1\nname: v\nsources:\n  visits:\n    csv: visits.csv\n    mode: mutable\n    key: visit_id\n{columns}");
    std::fs::write(dir.join("visits.yaml"), source).unwrap();
    let check = strata(dir, &["check", "visits.yaml"]);
    assert!(text(&check.stderr).lines().all(|l| !l.contains("error[S01")), "{}", text(&check.stderr));
    let none = strata(dir, &["contract", "infer", "nowhere/*.parquet"]);
    assert!(none.status.code() == Some(1) && text(&none.stderr).contains("matches"), "{}", text(&none.stderr));
}

#[test]
fn doctor_looks_at_every_place_and_leaves_nothing() {
    let dir = small();
    let dir = dir.path();
    let fit = said(dir, &["doctor", "."], 0);
    for about in ["version", "memory", "temporary space", "source orders", "output people"] {
        assert!(fit.lines().any(|l| l.starts_with(&format!("ok   {about}"))), "{about} in {fit}");
    }
    assert!(!dir.join("out").exists());
    std::fs::remove_file(dir.join("orders.csv")).unwrap();
    std::fs::write(dir.join("out"), "a file where a folder has to be").unwrap();
    let unfit = json(dir, &["doctor", ".", "--output", "json"], 1);
    let bad = |about: &str| unfit["findings"].as_array().unwrap().iter().any(|f| f["about"] == about && f["is_good"] == false);
    assert!(bad("source orders") && bad("output people") && !bad("source customers"), "{unfit}");
}

#[test]
fn doctor_tells_who_may_write_to_a_bucket_and_keeps_secrets() {
    let server = S3Server::start();
    server.put("lake", "out/there", b"x");
    let dir = small();
    let ask = |who: Vec<(String, String)>, code: i32| {
        let mut command = Command::new(binary());
        command.args(["doctor", ".", "-p", "out=s3://lake/out", "--output", "json"]).current_dir(dir.path()).envs(who);
        let done = command.output().unwrap();
        let out = text(&done.stdout);
        assert_eq!(done.status.code(), Some(code), "{out}{}", text(&done.stderr));
        let found: serde_json::Value = serde_json::from_str(&out).unwrap();
        let of = |about: &str| found["findings"].as_array().unwrap().iter().find(|f| f["about"] == about).unwrap().clone();
        (out.clone(), of("output people"), of("credentials"))
    };
    let (all, output, credentials) = ask(server.environment(), 0);
    assert!(output["found"].as_str().unwrap().contains("clocks agree"), "{all}");
    assert!(credentials["found"].as_str().unwrap().contains("AWS_SECRET_ACCESS_KEY"), "{all}");
    assert!(!all.contains("testsecret") && !all.contains("testkey"), "{all}");
    assert_eq!(server.keys("lake", "out"), ["out/there"]);
    let (all, output, _) = ask(server.environment_of_reader(), 1);
    assert!(output["found"].as_str().unwrap().contains("cannot be written") && !all.contains("rosecret"), "{all}");
    assert!(output["help"].as_str().unwrap().contains("the right to"), "{all}");
}

#[test]
fn every_verb_has_an_example() {
    let dir = tempfile::tempdir().unwrap();
    for verb in ["check", "test", "sql", "preview", "diff", "fmt", "show", "doctor", "schema", "completions"] {
        let help = said(dir.path(), &[verb, "--help"], 0);
        assert!(help.contains(&format!("Example: strata {verb}")), "{help}");
    }
    assert!(said(dir.path(), &["contract", "infer", "--help"], 0).contains("Example: strata contract infer"));
}
