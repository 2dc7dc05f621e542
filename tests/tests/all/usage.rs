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
