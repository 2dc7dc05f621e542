//! Panels as those who run them meet them: what a wave would be, what its answers count for, what is refused and why. Never
//! looks at how
//! a number is made: the cases and the reference vectors do.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use strata_testkit::{RunSpec, binary, content_of, repository, run_pipeline};

fn copied(case: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(repository().join("tests/cases").join(case)).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_file() {
            std::fs::copy(&entry, dir.path().join(entry.file_name().unwrap())).unwrap();
        }
    }
    dir
}

fn changed(dir: &Path, file: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(dir.join(file)).unwrap();
    assert!(text.contains(from), "{from} is not in {file}");
    std::fs::write(dir.join(file), text.replace(from, to)).unwrap();
}

fn strata(dir: &Path, args: &[&str]) -> Output {
    Command::new(binary()).args(args).current_dir(dir).env("NO_COLOR", "1").env("PANEL_KEY", SECRET).output().unwrap()
}

const SECRET: &str = "correct-horse-battery-staple";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(dir: &Path, args: &[&str]) -> serde_json::Value {
    let done = strata(dir, args);
    assert_eq!(done.status.code(), Some(0), "{args:?}: {}", text(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {}", text(&done.stdout)))
}

/// What a verb says when it refuses; fails where its exit code is another, or where it does not say each of `words`.
fn refused(dir: &Path, args: &[&str], code: i32, words: &[&str]) {
    let done = strata(dir, args);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(code), "{args:?}: {said}{}", text(&done.stdout));
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

/// The rows of an output, by their first column.
fn rows(report: &strata_engine::RunReport, output: &str) -> BTreeMap<String, Vec<String>> {
    let found = report.outputs.iter().find(|o| o.name == output).unwrap();
    let files = std::fs::read_dir(&found.path).unwrap().map(|e| e.unwrap().path());
    let mut out = BTreeMap::new();
    for file in files.filter(|f| f.extension().is_some_and(|e| e == "csv")) {
        for line in std::fs::read_to_string(file).unwrap().lines().skip(1) {
            let cells: Vec<String> = line.split(',').map(str::to_owned).collect();
            out.insert(cells[0].clone(), cells);
        }
    }
    out
}

#[test]
fn a_dry_run_says_what_a_change_would_do_and_writes_nothing() {
    let dir = copied("panel_fatigue");
    let before: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    let now = json(dir.path(), &["draw", ".", "--dry-run", "--output", "json", "--what-if", "rest_after_complete=1d"]);
    let of = |part: &str| now[part][0]["wave"].clone();
    let failed = |wave: &serde_json::Value, word: &str| {
        let rules = wave["waterfall"].as_array().unwrap();
        rules.iter().find(|r| r[0].as_str().unwrap().contains(word)).map(|r| r[1].as_u64().unwrap())
    };
    let (waves, then) = (of("waves"), of("then"));
    assert_eq!(failed(&waves, "21d of rest after an answer"), Some(7));
    assert_eq!(failed(&then, "1d of rest after an answer"), Some(0));
    assert!(then["eligible"].as_u64() > waves["eligible"].as_u64());
    assert_eq!((waves["drawn"].as_u64(), waves["invited"].as_u64()), (Some(0), Some(12)));
    // Every stratum's rules and eligible add up to the roster.
    let by_stratum = waves["by_stratum"].as_array().unwrap();
    let sum: u64 = by_stratum
        .iter()
        .map(|s| {
            s["eligible"].as_u64().unwrap() + s["failed"].as_array().unwrap().iter().map(|f| f.as_u64().unwrap()).sum::<u64>()
        })
        .sum();
    assert_eq!(Some(sum), waves["roster"].as_u64());
    let after: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(before.len(), after.len(), "{after:?}");
    let said = text(&strata(dir.path(), &["draw", ".", "--dry-run", "--wave", "main", "--what-if", "adult=age >= 30"]).stdout);
    assert!(said.contains("then left") && said.contains("what if: adult=age >= 30"), "{said}");
    refused(
        dir.path(),
        &["draw", ".", "--dry-run", "--what-if", "adlut=age > 20"],
        2,
        &["no rule or setting `adlut`", "did you mean `adult`?"],
    );
    refused(dir.path(), &["draw", ".", "--dry-run", "--wave", "mian"], 1, &["no wave `mian`", "did you mean `main`?"]);
    refused(dir.path(), &["draw", ".", "--dry-run", "--what-if", "adult=agee > 20"], 2, &["agee", "did you mean `age`?"]);
    refused(dir.path(), &["draw", "."], 2, &["--dry-run"]);
}

#[test]
fn draws_do_not_depend_on_files_and_a_person_who_leaves_changes_only_the_edge() {
    let dir = copied("panel_designs");
    let run =
        |out: &str| run_pipeline(&RunSpec::new(dir.path(), dir.path(), &dir.path().join(out))).unwrap_or_else(|e| panic!("{e}"));
    let first = run("first");
    let customers = std::fs::read_to_string(dir.path().join("customers.csv")).unwrap();
    let mut lines: Vec<&str> = customers.lines().collect();
    lines[1..].reverse();
    lines[1..].rotate_left(17);
    std::fs::write(dir.path().join("customers.csv"), lines.join("\n")).unwrap();
    assert_eq!(content_of(&run("shuffled")), content_of(&first));
    // Somebody who was drawn leaves: one other comes in, in the same stratum, and nobody else moves.
    let drawn = rows(&first, "shifted");
    let leaver = drawn.keys().next().unwrap().clone();
    let without: Vec<&str> = lines.into_iter().filter(|l| !l.starts_with(&format!("{leaver},"))).collect();
    std::fs::write(dir.path().join("customers.csv"), without.join("\n")).unwrap();
    let second = run("without");
    for output in ["shifted", "srs", "pareto", "sequential"] {
        let (before, after) = (rows(&first, output), rows(&second, output));
        let gone = before.keys().filter(|k| !after.contains_key(*k)).count();
        let came = after.keys().filter(|k| !before.contains_key(*k)).count();
        assert!(gone <= 2 && came <= 2, "{output}: {gone} gone, {came} came");
    }
    let after = rows(&second, "shifted");
    assert_eq!(drawn.keys().filter(|k| !after.contains_key(*k)).collect::<Vec<_>>(), [&leaver]);
}

#[test]
fn quotas_that_cannot_be_filled_name_the_clash_and_the_nearest() {
    let dir = copied("panel_quotas");
    changed(dir.path(), "pipeline.yaml", "{north: 6 +- 2, south: 2 +- 2, west: 16 +- 4}", "{north: 6, south: 2, west: 16}");
    let words =
        ["`region` = `west` (16) need 16 people but 13 are eligible", "6 people moved", "`region` = `west`: 13 instead of 16"];
    refused(dir.path(), &["run", ".", "-p", "out=out"], 3, &words);
    changed(dir.path(), "pipeline.yaml", "{north: 6, south: 2, west: 16}", "{north: 6, soth: 2, west: 16}");
    refused(dir.path(), &["run", ".", "-p", "out=out"], 3, &["`region` = `soth`", "did you mean `south`?"]);
    changed(dir.path(), "pipeline.yaml", "{north: 6, soth: 2, west: 16}", "{north: 50%, south: 20%, west: 20%}");
    refused(dir.path(), &["run", ".", "-p", "out=out"], 3, &["quota of `region` add up to 90%"]);
    assert!(!dir.path().join("out").join("margins").join("_pointer").exists());
}

#[test]
fn data_that_no_wave_can_be_drawn_of_name_column_level_and_count() {
    let dir = copied("panel_designs");
    changed(
        dir.path(),
        "pipeline.yaml",
        "spend: customers.spend",
        "spend: \"case when customers.customer_id in ('001', '002') then null else customers.spend end\"",
    );
    refused(dir.path(), &["run", ".", "-p", "out=out"], 3, &["have no `size`", "eligible members of `"]);
    let dir = copied("panel_allocation");
    changed(dir.path(), "pipeline.yaml", "\"west, m\": 1", "\"weast, m\": 1");
    refused(dir.path(), &["run", ".", "-p", "out=out"], 3, &["`weast, m`", "did you mean `west, m`?"]);
    changed(dir.path(), "pipeline.yaml", ", \"weast, m\": 1", "");
    refused(dir.path(), &["run", ".", "-p", "out=out"], 3, &["does not say how many of `west, m` (9 eligible)"]);
    let dir = copied("panel_fatigue");
    changed(dir.path(), "pipeline.yaml", "region: customers.region", "region: \"nullif(customers.region, 'west')\"");
    refused(dir.path(), &["run", ".", "-p", "out=out"], 3, &["eligible members have no `region`", "coalesce"]);
    let dir = copied("panel_response");
    changed(dir.path(), "pipeline.yaml", "complete: status = 'complete'", "complete: status = 'done'");
    refused(dir.path(), &["run", ".", "-p", "out=out"], 3, &["answered 0 times", "rate: 30%"]);
}

#[test]
fn a_secret_key_and_its_numbers_are_in_nothing_that_is_written() {
    let dir = copied("panel_designs");
    changed(dir.path(), "pipeline.yaml", "  seed: 42", "  key: env:PANEL_KEY");
    let done = strata(dir.path(), &["run", ".", "-p", "out=out", "--report", "report.json"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let key = SECRET.as_bytes();
    let mut files = vec![dir.path().to_owned()];
    let mut seen = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(key.len()).any(|w| w == key), "{}", path.display());
        assert!(!bytes.windows(7).any(|w| w == b"#number"), "{}", path.display());
        seen += 1;
    }
    assert!(seen > 20, "{seen} files");
    assert!(!text(&done.stdout).contains(SECRET) && !text(&done.stderr).contains(SECRET));
    let missing =
        Command::new(binary()).args(["run", ".", "-p", "out=out2"]).current_dir(dir.path()).env_remove("PANEL_KEY").output();
    let said = text(&missing.unwrap().stderr);
    assert!(said.contains("PANEL_KEY") && said.contains("no value"), "{said}");
}

/// A fieldwork file: everybody drawn for the wave, of whom the first of each region do not answer.
fn fieldwork(dir: &Path, wave: &str, file: &str, shift: f64) -> BTreeMap<String, (u64, u64)> {
    let report = run_pipeline(&RunSpec::new(dir, dir, &dir.join(format!("out-{wave}")))).unwrap_or_else(|e| panic!("{e}"));
    let mut by_region: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut lines = vec!["customer_id,disposition,score".to_owned()];
    for (key, row) in rows(&report, "first") {
        let of = by_region.entry(row[1].clone()).or_default();
        of.0 += 1;
        let answers = of.0 % 3 != 1;
        of.1 += u64::from(answers);
        let score = key.parse::<f64>().unwrap() % 7.0 + if row[1] == "south" { shift } else { 0.0 };
        lines.push(if answers { format!("{key},complete,{score}") } else { format!("{key},no_answer,") });
    }
    std::fs::write(dir.join(file), lines.join("\n")).unwrap();
    by_region
}

#[test]
fn answers_are_weighed_to_the_population_and_their_movement_is_that_of_the_means() {
    let dir = copied("panel_weights");
    let by_region = fieldwork(dir.path(), "a", "before.csv", 0.0);
    fieldwork(dir.path(), "b", "after.csv", 2.0);
    let base = ["weights", ".", "--wave", "first", "--measure", "score", "--by", "region", "--output", "json"];
    let first = json(dir.path(), &[&base[..], &["--fieldwork", "before.csv", "--out", "w1.csv"]].concat());
    // One margin that is also the non-response cell: everybody counts for population / answers of the region.
    let population = [("north", 43.0), ("south", 20.0), ("west", 13.0)];
    let csv = std::fs::read_to_string(dir.path().join("w1.csv")).unwrap();
    let mut count = 0;
    for line in csv.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let of = population.iter().find(|(r, _)| *r == cells[2]).unwrap().1;
        let (drawn, answers) = by_region[cells[2]];
        let number = |c: usize| cells[c].parse::<f64>().unwrap();
        assert!((number(3) - of / drawn as f64).abs() < 1e-12, "{line}");
        assert!((number(4) - drawn as f64 / answers as f64).abs() < 1e-12, "{line}");
        assert!((number(5) - of / answers as f64).abs() < 1e-9, "{line}");
        count += 1;
    }
    assert_eq!(count, by_region.values().map(|(_, a)| a).sum::<u64>());
    assert!((first["sum"].as_f64().unwrap() - 76.0).abs() < 1e-6 && first["converged"] == true, "{first}");
    let second = json(dir.path(), &[&base[..], &["--fieldwork", "after.csv", "--before", "w1.csv"]].concat());
    let mean = |r: &serde_json::Value, of: Option<&str>| {
        let all = r["estimates"].as_array().unwrap();
        all.iter().find(|e| e["of"][1].as_str() == of).map(|e| e["mean"].as_f64().unwrap()).unwrap()
    };
    let moves = second["movements"].as_array().unwrap();
    assert_eq!(moves.len(), 4);
    for m in moves {
        let of = m["of"][1].as_str();
        let change = m["change"].as_f64().unwrap();
        assert!((change - (mean(&second, of) - mean(&first, of))).abs() < 1e-9, "{m}");
        let wanted = if of == Some("south") {
            2.0
        } else if of.is_none() {
            2.0 * 20.0 / 76.0
        } else {
            0.0
        };
        assert!((change - wanted).abs() < 1e-9, "{m}");
        // The same people: what does not move has no error.
        assert!(of.is_none() || m["standard_error"].as_f64().unwrap() < 1e-6, "{m}");
    }
}

#[test]
fn calibration_meets_every_margin() {
    let dir = copied("panel_weights");
    changed(dir.path(), "pipeline.yaml", "from: panel.first,", "from: panel.calibrated,");
    changed(dir.path(), "pipeline.yaml", "design_weight, weight]", "design_weight]");
    fieldwork(dir.path(), "a", "f.csv", 0.0);
    let args =
        ["weights", ".", "--wave", "calibrated", "--fieldwork", "f.csv", "--by", "gender", "--out", "w.csv", "--output", "json"];
    let report = json(dir.path(), &args);
    assert_eq!(report["method"], "calibrated (linear)");
    assert!(report["worst"].as_f64().unwrap() <= 1e-6, "{report}");
    let customers = std::fs::read_to_string(dir.path().join("customers.csv")).unwrap();
    let mut targets: BTreeMap<String, f64> = BTreeMap::new();
    for line in customers.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        if cells[3].parse::<u32>().unwrap() >= 18 {
            *targets.entry(cells[1].to_owned()).or_default() += 1.0;
            *targets.entry(cells[2].to_owned()).or_default() += 1.0;
        }
    }
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for line in std::fs::read_to_string(dir.path().join("w.csv")).unwrap().lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        for level in [cells[1], cells[2]] {
            *sums.entry(level.to_owned()).or_default() += cells[5].parse::<f64>().unwrap();
        }
    }
    assert_eq!(sums.keys().collect::<Vec<_>>(), targets.keys().collect::<Vec<_>>());
    for (level, target) in targets {
        assert!((sums[&level] - target).abs() < 1e-4, "{level}: {} for {target}", sums[&level]);
    }
}

#[test]
fn fieldwork_that_does_not_fit_is_refused_with_its_reason() {
    let dir = copied("panel_weights");
    fieldwork(dir.path(), "a", "good.csv", 0.0);
    let good = std::fs::read_to_string(dir.path().join("good.csv")).unwrap();
    let first = good.lines().nth(1).unwrap();
    let try_with = |text: String, more: &[&str], words: &[&str]| {
        std::fs::write(dir.path().join("f.csv"), text).unwrap();
        let args = [&["weights", ".", "--wave", "first", "--fieldwork", "f.csv"][..], more].concat();
        refused(dir.path(), &args, 3, words);
    };
    try_with(good.replace("complete", "compleet"), &[], &["no disposition in", "`compleet`", "did you mean `complete`?"]);
    try_with(format!("{good}\n{first}"), &[], &["1 rows of `f.csv` have a `customer_id` that another row has"]);
    try_with(format!("{good}\n999,complete,3"), &[], &["1 people of `f.csv` were not drawn for the wave `first`"]);
    try_with(format!("{good}\n,complete,3"), &[], &["1 rows of `f.csv` have no `customer_id`"]);
    try_with(good.replace("disposition", "dispositon"), &[], &["no column `disposition`", "did you mean `dispositon`?"]);
    try_with(good.replace("complete", "refused"), &[], &["none of the 40 people invited"]);
    try_with(good.clone(), &["--measure", "scoer"], &["no column `scoer`", "did you mean `score`?"]);
    try_with(good.clone(), &["--by", "regoin"], &["`--by regoin`", "did you mean `region`?"]);
    // Nobody of a region answers: no weights, and the reason is said.
    let south: Vec<String> = std::fs::read_to_string(dir.path().join("customers.csv"))
        .unwrap()
        .lines()
        .filter(|l| l.contains(",south,"))
        .map(|l| l[..3].to_owned())
        .collect();
    let silent = good.lines().map(|l| match south.contains(&l[..3].to_owned()) {
        true => format!("{},no_answer,", &l[..3]),
        false => l.to_owned(),
    });
    try_with(silent.collect::<Vec<_>>().join("\n"), &["--out", "w.csv"], &["south"]);
    assert!(!dir.path().join("w.csv").exists());
}
