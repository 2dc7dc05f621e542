//! Steps of the same inputs are not done again, and what is reused is what would have been made. Never takes the state folder for the answer.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use strata_demo::{Size, generate};
use strata_testkit::{binary, repository};

struct Place {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_owned();
    generate(&root.join("data"), &Size { customers: 800, ..Size::default() }, 31).unwrap();
    std::fs::create_dir(root.join("p")).unwrap();
    std::fs::copy(repository().join("pipelines/c360/pipeline.yaml"), root.join("p/pipeline.yaml")).unwrap();
    Place { _dir: dir, root }
}

impl Place {
    fn command(&self, verb: &str, as_of: &str, more: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg(verb).arg(self.root.join("p")).current_dir(&self.root);
        let (data, out) = (self.root.join("data"), self.root.join("out"));
        command.args(["-p", &format!("data={}", data.display()), "-p", &format!("out={}", out.display())]);
        command.args(["--as-of", as_of, "--output", "json"]).args(more);
        command
    }

    fn run(&self, as_of: &str, more: &[&str]) -> Value {
        json(self.command("run", as_of, more).output().unwrap())
    }

    /// Steps that a plan says are reused.
    fn foreseen(&self, as_of: &str) -> Vec<String> {
        let plan = json(self.command("plan", as_of, &[]).output().unwrap());
        let steps = plan["steps"].as_array().unwrap().iter().filter(|s| s["reused"] == true);
        steps.map(|s| s["step"].as_str().unwrap().to_owned()).collect()
    }

    fn edit(&self, from: &str, to: &str) {
        let path = self.root.join("p/pipeline.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
}

fn json(out: Output) -> Value {
    assert!(out.status.success(), "{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn reused(report: &Value) -> Vec<String> {
    let steps = report["steps"].as_array().unwrap().iter().filter(|s| s["reused"] == true);
    steps.map(|s| s["label"].as_str().unwrap().to_owned()).collect()
}

fn contents(report: &Value) -> BTreeMap<String, String> {
    let one = |o: &Value| {
        let text = std::fs::read_to_string(Path::new(o["path"].as_str().unwrap()).join("_manifest.json")).unwrap();
        let manifest: Value = serde_json::from_str(&text).unwrap();
        (o["name"].as_str().unwrap().to_owned(), format!("{} {}", manifest["rows"], manifest["content"]))
    };
    report["outputs"].as_array().unwrap().iter().map(one).collect()
}

const DAY: &str = "2026-01-01T00:00:00Z";
const ATTRIBUTES: &str = "attributes of customer";

#[test]
fn what_did_not_change_is_not_done_again_and_gives_the_same_tables() {
    let place = place();
    let first = place.run(DAY, &[]);
    assert_eq!(reused(&first), Vec::<String>::new());

    // Nothing changed: nothing is written.
    let second = place.run(DAY, &[]);
    assert_eq!(reused(&second).len(), second["steps"].as_array().unwrap().len() - 1, "{:?}", reused(&second));
    assert_eq!(first["outputs"][0]["path"], second["outputs"][0]["path"]);
    assert_eq!(second["sources"], first["sources"]);

    // Lines move, nothing else.
    place.edit("version: 1", "# moved\n\nversion: 1");
    assert_eq!(reused(&place.run(DAY, &[])), reused(&second));

    // A segment changes: attributes and other models stay, every output is of one run.
    place.edit("bins: 5", "bins: 4");
    let foreseen = place.foreseen(DAY);
    let third = place.run(DAY, &[]);
    assert_eq!(reused(&third), [ATTRIBUTES, "segments cluster"]);
    assert!(reused(&third).starts_with(&foreseen) && foreseen == [ATTRIBUTES], "{foreseen:?}");
    let runs: Vec<&Value> = third["outputs"].as_array().unwrap().iter().map(|o| &o["path"]).collect();
    let own = third["run_id"].as_str().unwrap();
    assert!(runs.iter().all(|p| p.as_str().unwrap().ends_with(own)), "{runs:?}");
    assert_eq!(contents(&third), contents(&place.run(DAY, &["--fresh"])));

    // Another instant, other rows.
    let later = "2026-01-02T00:00:00Z";
    assert_eq!(place.foreseen(later), Vec::<String>::new());
    assert_eq!(reused(&place.run(later, &[])), Vec::<String>::new());
}

#[test]
fn a_changed_file_a_lost_table_and_a_foreign_version_are_seen() {
    let place = place();
    let first = place.run(DAY, &[]);
    // The same rows in another file are other data.
    let stores = place.root.join("data/stores.parquet");
    let bytes = std::fs::read(&stores).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(&stores, bytes).unwrap();
    let second = place.run(DAY, &[]);
    assert_eq!((reused(&second), contents(&second)), (vec![], contents(&first)));

    // A run without the state published something since: what is published is not what was kept.
    let third = place.run(DAY, &["--fresh"]);
    let fourth = place.run(DAY, &[]);
    assert!(reused(&fourth).iter().all(|s| !s.starts_with("write")) && reused(&fourth).contains(&ATTRIBUTES.to_owned()));
    assert_eq!(contents(&fourth), contents(&third));

    // A table between steps is gone.
    for entry in std::fs::read_dir(place.root.join(".strata/work")).unwrap().flatten() {
        std::fs::remove_dir_all(entry.path()).unwrap();
    }
    let fifth = place.run(DAY, &[]);
    assert!(!reused(&fifth).contains(&ATTRIBUTES.to_owned()), "{:?}", reused(&fifth));
    assert_eq!(contents(&fifth), contents(&third));
}

#[test]
fn after_a_kill_the_next_run_goes_on_and_two_at_once_do_not_mix() {
    let place = place();
    let mut killed = place.command("run", DAY, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let first_step = place.root.join(".strata/steps/c360.json");
    let began = std::time::Instant::now();
    while !first_step.exists() && began.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let next = place.run(DAY, &[]);
    assert!(reused(&next).contains(&ATTRIBUTES.to_owned()), "{:?}", reused(&next));

    place.edit("bins: 5", "bins: 3");
    let children: Vec<_> =
        (0..2).map(|_| place.command("run", DAY, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).collect();
    let outs: Vec<Output> = children.into_iter().map(|c| c.wait_with_output().unwrap()).collect();
    // Whoever publishes second onto a version it did not see is refused, and says that running again is right.
    let good: Vec<&Output> = outs.iter().filter(|o| o.status.success()).collect();
    assert!(!good.is_empty() && outs.iter().all(|o| matches!(o.status.code(), Some(0 | 75))));
    let wanted = contents(&place.run(DAY, &["--fresh"]));
    assert_eq!(contents(&serde_json::from_slice(&good[0].stdout).unwrap()), wanted);
    assert_eq!(contents(&place.run(DAY, &[])), wanted);
}

#[test]
fn a_plan_says_which_columns_of_published_tables_change() {
    let dir = tempfile::tempdir().unwrap();
    let case = repository().join("tests/cases/own_tests");
    let text = std::fs::read_to_string(case.join("pipeline.yaml")).unwrap();
    let strata = |verb: &str, text: &str, more: &[&str]| {
        std::fs::write(dir.path().join("pipeline.yaml"), text).unwrap();
        let mut command = Command::new(binary());
        command.args([verb, "pipeline.yaml", "-p"]).arg(format!("data={}", case.display())).args(more).current_dir(dir.path());
        command.output().unwrap()
    };
    let outputs = |text: &str| json(strata("plan", text, &["--output", "json"]))["outputs"].clone();
    let unchanged =
        |run: &Value| serde_json::json!([{"output": "people", "run_id": run, "added": [], "dropped": [], "retyped": []}]);
    assert_eq!(outputs(&text), unchanged(&Value::Null));
    let run = json(strata("run", &text, &["--output", "json"]))["run_id"].clone();
    assert_eq!(outputs(&text), unchanged(&run));
    let edited = text
        .replace("region: coalesce(customers.region, 'unknown')", "region: length(coalesce(customers.region, 'unknown'))")
        .replace("stage, level, both]", "stage, spend, both]");
    assert_eq!(
        outputs(&edited),
        serde_json::json!([{
            "output": "people",
            "run_id": run,
            "added": [{"name": "spend", "type": "Decimal128(22, 2)"}],
            "dropped": [{"name": "level", "type": "Utf8"}],
            "retyped": [{"name": "region", "from": "Utf8", "to": "Int32"}],
        }])
    );
    let said = strata("plan", &edited, &[]);
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("- level Utf8") && said.contains("region: Utf8 -> Int32") && said.contains("+ spend"), "{said}");
}
