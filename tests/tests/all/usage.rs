//! The binary as its users meet it: first steps, mistakes, exit codes, what machines read.

use std::process::{Command, Output};
use strata_testkit::binary;

fn strata(args: &[&str], dir: &std::path::Path) -> Output {
    Command::new(binary()).args(args).current_dir(dir).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_quickstart_runs_and_says_where_its_tables_are() {
    let work = tempfile::tempdir().unwrap();
    let done = strata(&["init", "shop", "--run"], work.path());
    let (out, err) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{err}");
    assert!(out.contains("Tables") && out.contains("shop/out/"), "{out}");
    assert!(out.contains("who is eligible") && out.contains("share"), "{out}");
    let again = strata(&["init", "shop"], work.path());
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("not empty"));
    let vars = ["-p", "data=shop/data", "-p", "out=shop/out"];
    let check = strata(&[&["check", "shop"], &vars[..]].concat(), work.path());
    assert!(check.status.success(), "{}", text(&check.stderr));
    let plan = strata(&[&["plan", "shop"], &vars[..]].concat(), work.path());
    assert!(plan.status.success() && text(&plan.stdout).contains("attributes of"), "{}", text(&plan.stderr));
    let listed = strata(&[&["outputs", "shop", "--output", "json"], &vars[..]].concat(), work.path());
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    for output in listed.as_array().unwrap() {
        let folder = output["path"].as_str().unwrap();
        let format = output["format"].as_str().unwrap();
        let files =
            std::fs::read_dir(folder).unwrap().filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == format));
        assert!(files.count() > 0, "{output}");
    }
}

#[test]
fn mistakes_are_shown_where_they_are_and_exit_codes_say_what_to_do() {
    let work = tempfile::tempdir().unwrap();
    assert!(strata(&["init", "shop"], work.path()).status.success());
    let file = work.path().join("shop/pipeline.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    let vars = ["-p", "data=shop/data", "-p", "out=shop/out"];
    std::fs::write(&file, good.replacen("count(*)", "cuont(*)", 1).replacen("version: 1", "version: 1\nverzion: 2", 1)).unwrap();
    let done = strata(&[&["run", "shop"], &vars[..]].concat(), work.path());
    let err = text(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{err}");
    assert!(err.contains("shop/pipeline.yaml:") && err.contains("verzion"), "{err}");
    std::fs::write(&file, good.replacen("count(*)", "cuont(*)", 1)).unwrap();
    let done = strata(&[&["check", "shop", "--output", "json"], &vars[..]].concat(), work.path());
    assert_eq!(done.status.code(), Some(2));
    let found: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let first = &found["diagnostics"][0];
    assert_eq!(first["code"], "S0303", "{found}");
    assert!(first["line"].as_u64().unwrap() > 1 && first["help"].as_str().unwrap().contains("count"), "{found}");
    std::fs::write(&file, &good).unwrap();
    let done = strata(&["run", "shop", "-p", "data=nowhere", "-p", "out=shop/out"], work.path());
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains("no `.parquet` file matches"), "{}", text(&done.stderr));
    let done = strata(&["explain", "S0302"], work.path());
    assert!(done.status.success() && text(&done.stdout).len() > 80);
}

#[test]
fn data_that_break_a_declared_key_stop_the_run_and_change_no_table() {
    let work = tempfile::tempdir().unwrap();
    let pipeline = |table: &str| {
        format!(
            "version: 1\nname: keys\nas_of: 2026-02-01T00:00:00Z\nvars: {{data: .}}\nsources:\n  people:\n    csv: \"${{vars.data}}/people.csv\"\n    \
             mode: mutable\n    key: id\n    columns: {{id: int!, n: int!}}\ntables:\n  twice:\n    key: id\n    sql: {table}\nentities:\n  person: {{from: people, key: id}}\n\
             attributes:\n  person:\n    - from: twice\n      columns: {{n: total(n)}}\noutputs:\n  people: {{to: \"${{vars.data}}/out\", format: csv, select: person.attributes}}\n"
        )
    };
    let run = |sql: &str, rows: &str| {
        std::fs::write(work.path().join("pipeline.yaml"), pipeline(sql)).unwrap();
        std::fs::write(work.path().join("people.csv"), rows).unwrap();
        strata(&["run", "pipeline.yaml"], work.path())
    };
    let fine = run("select id, sum(n) as n from people group by id", "id,n\n1,1\n2,2\n");
    assert!(fine.status.success(), "{}", text(&fine.stderr));
    let before = strata(&["outputs", "pipeline.yaml"], work.path()).stdout;
    let local = "select id, n from people union all select id, n from people";
    let global =
        "select id, n from (select id, n, rank() over (order by n) as r from people) as a union all select id, n from people";
    for (sql, rows, word) in [
        (local, "id,n\n1,1\n", "`twice`"),
        (global, "id,n\n1,1\n", "`twice`"),
        ("select id, sum(n) as n from people group by id", "id,n\n1,1\n1,2\n", "`people`"),
    ] {
        let done = run(sql, rows);
        let err = text(&done.stderr);
        assert_eq!(done.status.code(), Some(3), "{sql}: {err}");
        assert!(err.contains(word) && err.contains("pipeline.yaml:") && err.contains("help"), "{err}");
    }
    assert_eq!(strata(&["outputs", "pipeline.yaml"], work.path()).stdout, before);
}
