//! Counts of two waves, published one after the other over frames that differ little: what somebody works out who has both. Never looks at
//! how that is decided: the published files are all the attacker has.

use crate::cluster::done;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use strata_testkit::cluster::{ClusterSpec, LocalCluster};
use strata_testkit::{binary, python, repository};

const K: u64 = 5;
const WAVES: [(&str, &str); 2] = [("first", "2026-02-01T00:00:00Z"), ("second", "2026-02-15T00:00:00Z")];

/// Numbers that look random, the same for the same start.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A customer: region, age, staff, opt-in.
type Customer = (&'static str, u64, bool, bool);

fn customer(n: &mut Numbers) -> Customer {
    let region = ["north", "north", "north", "south", "south", "west", "east"][n.below(7) as usize];
    (region, 15 + n.below(65), n.below(25) == 0, n.below(8) > 0)
}

/// Some leave, some come, some move or change their minds: few of each.
fn changed(people: &BTreeMap<u64, Customer>, n: &mut Numbers) -> BTreeMap<u64, Customer> {
    let mut out = people.clone();
    for id in people.keys() {
        match n.below(60) {
            0 => drop(out.remove(id)),
            1 => drop(out.insert(*id, customer(n))),
            2 => drop(out.entry(*id).and_modify(|c| c.3 = !c.3)),
            _ => {}
        }
    }
    for id in 0..n.below(9) {
        out.insert(10_000 + id, customer(n));
    }
    out
}

fn write_frame(dir: &Path, people: &BTreeMap<u64, Customer>, seed: u64) {
    let (mut customers, mut invites, mut sends) = (String::new(), String::new(), String::new());
    customers.push_str("customer_id,region,gender,age,spend,staff,opt_in\n");
    invites.push_str("invite_id,customer_id,invited_at,status,kind,minutes\n");
    sends.push_str("send_id,customer_id,sent_at\n");
    for (id, (region, age, staff, opt_in)) in people {
        let _ = writeln!(customers, "{id:05},{region},f,{age},1.5,{staff},{opt_in}");
        // The contacts of a person are the same in both frames, whoever else is there.
        let mut n = Numbers(seed * 1_000_003 + id);
        n.below(2);
        for i in 0..n.below(4) {
            let (day, minutes) = (1 + n.below(31), 5 + n.below(20));
            let status = ["complete", "none", "refused"][n.below(3) as usize];
            let _ = writeln!(invites, "{id}{i},{id:05},2026-01-{day:02} 10:00:00,{status},invite,{minutes}");
        }
        if n.below(3) == 0 {
            let _ = writeln!(sends, "{id},{id:05},2025-12-{:02} 00:00:00", 1 + n.below(31));
        }
    }
    for (name, text) in [("customers", customers), ("invites", invites), ("sends", sends)] {
        std::fs::write(dir.join(format!("{name}.csv")), text).unwrap();
    }
}

fn run(dir: &Path, wave: &str, as_of: &str) -> serde_json::Value {
    let report = dir.join(format!("report_{wave}.json"));
    let mut command = Command::new(binary());
    command.args(["run", ".", "-p", &format!("wave={wave}"), "--as-of", as_of, "--report"]).arg(&report);
    let done = command.current_dir(dir).env("NO_COLOR", "1").output().unwrap();
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap()
}

/// A folder with the case, and both waves of it published; the reports, too.
fn two_waves(seed: u64) -> (tempfile::TempDir, Vec<serde_json::Value>) {
    let dir = tempfile::tempdir().unwrap();
    let case = repository().join("tests/cases/panel_two_waves/pipeline.yaml");
    std::fs::copy(case, dir.path().join("pipeline.yaml")).unwrap();
    let mut n = Numbers(seed);
    let before: BTreeMap<u64, Customer> = (0..420).map(|id| (id, customer(&mut n))).collect();
    let after = changed(&before, &mut n);
    let frames = [&before, &after];
    let report = |(frame, (wave, as_of)): (&BTreeMap<u64, Customer>, (&str, &str))| {
        write_frame(dir.path(), frame, seed);
        run(dir.path(), wave, as_of)
    };
    let reports = frames.into_iter().zip(WAVES).map(report).collect();
    (dir, reports)
}

/// Folder of an output's newest version.
fn folder(of: &serde_json::Value) -> PathBuf {
    PathBuf::from(of["table"].as_str().unwrap().trim_start_matches("file://")).join("runs").join(of["run_id"].as_str().unwrap())
}

/// Rows and order-free content of each output, of whatever format.
fn contents(report: &serde_json::Value) -> BTreeMap<String, String> {
    let one = |o: &serde_json::Value| {
        let manifest = std::fs::read_to_string(folder(o).join("_manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        (o["name"].as_str().unwrap().to_owned(), format!("{} rows {}", manifest["rows"], manifest["content"]))
    };
    report["outputs"].as_array().unwrap().iter().map(one).collect()
}

/// Files of an output's newest version.
fn files(report: &serde_json::Value, output: &str) -> Vec<PathBuf> {
    let of = report["outputs"].as_array().unwrap().iter().find(|o| o["name"] == output).unwrap();
    let folder = folder(of);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.file_name().unwrap().to_string_lossy().starts_with("part-"));
    files.sort();
    files
}

type Row = BTreeMap<String, String>;

/// Rows of outputs, by DuckDB: an empty text is what is not shown.
fn tables<'a>(report: &serde_json::Value, outputs: &[&'a str]) -> BTreeMap<&'a str, Vec<Row>> {
    let program = "import duckdb,json,sys\n\
        def rows(f):\n  q=duckdb.sql(f\"from read_csv('{f}', all_varchar=true)\" if f.endswith('csv') else f\"from read_parquet('{f}')\")\n  \
        return [{c: '' if v is None else str(v) for c,v in zip(q.columns,r)} for r in q.fetchall()]\n\
        print(json.dumps([[r for f in fs.split('|') for r in rows(f)] for fs in sys.argv[1:]]))";
    let paths = |output: &&str| files(report, output).iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join("|");
    let done = Command::new(python()).args(["-c", program]).args(outputs.iter().map(paths)).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let all: Vec<Vec<Row>> = serde_json::from_slice(&done.stdout).unwrap();
    outputs.iter().copied().zip(all).collect()
}

fn rows(report: &serde_json::Value, output: &str) -> Vec<Row> {
    tables(report, &[output]).remove(output).unwrap()
}

/// Numbers that are known to lie between two, and sums that hold between them.
#[derive(Default)]
struct Attack {
    bounds: BTreeMap<String, (u64, u64)>,
    sums: Vec<(String, Vec<String>)>,
}

const MANY: u64 = 1_000_000;

impl Attack {
    /// A published figure; empty where it is not shown.
    fn told(&mut self, name: &str, shown: &str) {
        let of = self.bounds.entry(name.to_owned()).or_insert((0, MANY));
        if let Ok(n) = shown.parse::<u64>() {
            assert!(of.0 <= n && n <= of.1, "{name} is told twice");
            *of = (n, n);
        }
    }

    fn sum(&mut self, total: String, of: Vec<String>) {
        for name in of.iter().chain([&total]) {
            self.bounds.entry(name.clone()).or_insert((0, MANY));
        }
        self.sums.push((total, of));
    }

    /// Draws every conclusion that a sum allows, until there is none any more.
    fn conclude(&mut self) {
        loop {
            let mut moved = false;
            for (total, of) in &self.sums {
                let low: u64 = of.iter().map(|n| self.bounds[n].0).sum();
                let high: u64 = of.iter().map(|n| self.bounds[n].1).sum();
                let all = self.bounds[total];
                let mut narrow = |name: &String, low: u64, high: u64| {
                    let was = self.bounds[name];
                    let now = (was.0.max(low), was.1.min(high));
                    assert!(now.0 <= now.1, "{name}: {was:?} {low} {high}");
                    moved |= now != was;
                    now
                };
                let mut found = vec![(total.clone(), narrow(total, low, high))];
                for name in of {
                    let own = self.bounds[name];
                    let (others_low, others_high) = (low - own.0, high - own.1);
                    let now = narrow(name, all.0.saturating_sub(others_high), all.1.saturating_sub(others_low));
                    found.push((name.clone(), now));
                }
                // One at a time: the sums above are of what was known before.
                for (name, now) in found {
                    let was = self.bounds[&name];
                    self.bounds.insert(name, (was.0.max(now.0), was.1.min(now.1)));
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn known(&self, name: &str) -> Option<u64> {
        self.bounds.get(name).filter(|(low, high)| low == high).map(|(n, _)| *n)
    }
}

/// Everything that the tables of one wave tell.
fn attack(report: &serde_json::Value) -> Attack {
    let mut out = Attack::default();
    let tables = tables(report, &["waterfall", "allocation", "burden", "health", "migration"]);
    let mut by_rule: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut strata: BTreeMap<String, Vec<(String, Row)>> = BTreeMap::new();
    for row in &tables["waterfall"] {
        let name = format!("failed {} {}", row["region"], row["rule"]);
        strata.entry(row["region"].clone()).or_default().push((name, row.clone()));
    }
    for (region, rows) in &strata {
        let all: Vec<String> = rows.iter().map(|(n, _)| n.clone()).collect();
        for (at, (name, row)) in rows.iter().enumerate() {
            out.told(name, &row["people"]);
            by_rule.entry(row["rule"].clone()).or_default().push(name.clone());
            let left = format!("left {region} {}", row["rule"]);
            let rest = if at + 1 == all.len() { &all[at..] } else { &all[at + 1..] };
            out.sum(left.clone(), rest.to_vec());
            out.told(&left, &row["left"]);
        }
        out.sum(format!("members {region}"), all);
    }
    by_rule.into_iter().for_each(|(rule, of)| out.sum(format!("failed all {rule}"), of));
    let regions: Vec<String> = strata.keys().cloned().collect();
    for row in &tables["health"] {
        let of = if row["scope"] == "all" { "all".to_owned() } else { row["region"].clone() };
        for figure in
            ["members", "asked", "answered", "members_before", "lost", "burden_some", "burden_full", "contacts", "answers"]
        {
            let name = format!("{figure} {of}");
            out.told(&name, &row[figure]);
            if of == "all" {
                out.sum(name, regions.iter().map(|r| format!("{figure} {r}")).collect());
            }
        }
        out.told(&format!("failed {of} eligible"), &row["eligible"]);
        let mut divided = |parts: &[&str]| {
            out.sum(format!("{} {of}", parts[0]), parts[1..].iter().map(|p| format!("{p} {of}")).collect());
        };
        divided(&["members", "failed-any", "eligible-alias"]);
        divided(&["asked", "answered", "not answered"]);
        divided(&["members", "asked", "not asked"]);
        divided(&["members_before", "lost", "not lost"]);
        divided(&["members", "members_before", "new"]);
        divided(&["members", "burden_some", "burden_full", "no burden"]);
        out.sum(format!("failed {of} eligible"), vec![format!("eligible-alias {of}")]);
    }
    for row in &tables["allocation"] {
        out.told(&format!("failed {} eligible", row["region"]), &row["eligible"]);
        for figure in ["wanted", "drawn", "reserve"] {
            out.told(&format!("{figure} {}", row["region"]), &row[figure]);
        }
    }
    for figure in ["wanted", "drawn", "reserve"] {
        out.sum(format!("{figure} all"), regions.iter().map(|r| format!("{figure} {r}")).collect());
    }
    let burden = &tables["burden"];
    for region in &regions {
        let own = burden.iter().filter(|r| r["region"] == *region);
        let name = |r: &Row| format!("can take {region} {}", r["surveys"]);
        own.clone().for_each(|r| out.told(&name(r), &r["people"]));
        out.sum(format!("can take {region}"), own.map(name).collect());
    }
    let moved = &tables["migration"];
    let name = |r: &Row| format!("moved {} {}", r["before_region"], r["region"]);
    moved.iter().for_each(|r| out.told(&name(r), &r["people"]));
    for side in ["before_region", "region"] {
        for value in moved.iter().map(|r| r[side].clone()).collect::<BTreeSet<_>>() {
            let of = moved.iter().filter(|r| r[side] == value).map(name).collect();
            out.sum(format!("moved {side} {value}"), of);
        }
    }
    out.conclude();
    out
}

#[test]
fn nobody_works_out_from_two_waves_who_few_there_were() {
    let (mut apart, mut shown, mut hidden) = (0, 0, 0);
    for seed in [1, 2, 3, 4, 5, 6] {
        let (_dir, reports) = two_waves(seed);
        let [before, now] = [attack(&reports[0]), attack(&reports[1])];
        for of in [&before, &now] {
            for name in of.bounds.keys() {
                let known = of.known(name).filter(|_| !name.starts_with("contacts") && !name.starts_with("answers"));
                assert!(known.is_none_or(|n| n == 0 || n >= K), "seed {seed}: {name} is {known:?}");
            }
        }
        for name in now.bounds.keys() {
            let (Some(then), Some(n)) = (before.known(name), now.known(name)) else {
                hidden += 1;
                continue;
            };
            shown += 1;
            assert!(then.abs_diff(n) == 0 || then.abs_diff(n) >= K, "seed {seed}: {name} was {then} and is {n}");
        }
        // Those who were drawn and are no longer here.
        for (name, (n, high)) in now.bounds.iter().filter(|(n, _)| n.starts_with("moved before_region ")) {
            let region = name.trim_start_matches("moved before_region ");
            for then in [before.known(&format!("drawn {region}"))].into_iter().flatten().filter(|_| n == high) {
                let reserve = before.known(&format!("reserve {region}")).unwrap_or(0);
                for then in [then, then + reserve] {
                    assert!(then == *n || then.abs_diff(*n) >= K, "seed {seed}: {name} was {then} and is {n}");
                }
            }
        }
        for output in reports[1]["outputs"].as_array().unwrap().iter().filter(|o| !o["guard"].is_null()) {
            assert_eq!(output["guard"]["held_against"][0][0], "first", "{output}");
            apart += output["guard"]["apart"].as_u64().unwrap();
        }
    }
    // It is hidden because it would tell, and what does not tell is shown.
    assert!(apart > 100 && shown > 20, "{apart} figures were too near, {shown} were known of both waves, {hidden} were not");
}

#[test]
fn waves_that_are_run_again_are_the_same() {
    let (dir, reports) = two_waves(7);
    for (at, (wave, as_of)) in WAVES.iter().enumerate().rev() {
        let first = at == 0;
        if first {
            let mut n = Numbers(7);
            let before: BTreeMap<u64, Customer> = (0..420).map(|id| (id, customer(&mut n))).collect();
            write_frame(dir.path(), &before, 7);
        }
        let again = run(dir.path(), wave, as_of);
        let outputs = ["waterfall", "allocation", "burden", "health"];
        assert_eq!(tables(&again, &outputs), tables(&reports[at], &outputs), "{wave}");
        let held = &again["outputs"].as_array().unwrap().iter().find(|o| o["name"] == "waterfall").unwrap()["guard"];
        assert_eq!(held["held_against"].as_array().unwrap().is_empty(), first, "a later wave is not looked at: {held}");
    }
}

/// What the guard says of each output that has one.
fn guards(report: &serde_json::Value) -> BTreeMap<String, serde_json::Value> {
    let all = report["outputs"].as_array().unwrap().iter().filter(|o| !o["guard"].is_null());
    all.map(|o| (o["name"].as_str().unwrap().to_owned(), o["guard"].clone())).collect()
}

#[test]
fn counts_of_two_waves_are_hidden_alike_on_one_worker_and_on_three() {
    let (alone, reports) = two_waves(2);
    let work = tempfile::tempdir().unwrap();
    let pipeline = work.path().join("pipeline");
    std::fs::create_dir(&pipeline).unwrap();
    std::fs::copy(alone.path().join("pipeline.yaml"), pipeline.join("pipeline.yaml")).unwrap();
    let mut n = Numbers(2);
    let before: BTreeMap<u64, Customer> = (0..420).map(|id| (id, customer(&mut n))).collect();
    let after = changed(&before, &mut n);
    for (frame, (wave, _)) in [&before, &after].into_iter().zip(WAVES) {
        std::fs::create_dir(work.path().join(wave)).unwrap();
        write_frame(&work.path().join(wave), frame, 2);
    }
    for workers in [1, 3] {
        let dir = work.path().join(format!("cluster-{workers}"));
        let cluster = LocalCluster::start(&dir, ClusterSpec { workers, ..Default::default() });
        let out = work.path().join(format!("out-{workers}"));
        for ((wave, as_of), wanted) in WAVES.into_iter().zip(&reports) {
            let vars = [("wave", wave.to_owned()), ("data", work.path().join(wave).display().to_string())];
            let vars = [&vars[..], &[("out", out.display().to_string())]].concat();
            let report = done(&cluster, cluster.run(&pipeline, &vars, &["--as-of", as_of, "--output", "json"]));
            assert_eq!(contents(&report), contents(wanted), "{wave} on {workers} workers");
            let found = guards(&report);
            assert_eq!(found, guards(wanted), "{wave} on {workers} workers");
            let hidden: u64 = found.values().map(|g| g["hidden_cells"].as_u64().unwrap()).sum();
            assert!(found.len() == 5 && hidden > 0, "{found:?}");
        }
    }
}

#[test]
fn a_published_draw_is_done_again_and_what_differs_is_named() {
    let (dir, reports) = two_waves(8);
    let replay = |args: &[&str]| {
        let manifest = files(&reports[1], "drawn")[0].parent().unwrap().join("_manifest.json");
        let mut command = Command::new(binary());
        command.args(["draw", ".", "--replay"]).arg(manifest).args(["-p", "wave=second"]).args(args);
        let done = command.current_dir(dir.path()).env("NO_COLOR", "1").output().unwrap();
        (done.status.code(), String::from_utf8(done.stdout).unwrap() + &String::from_utf8_lossy(&done.stderr))
    };
    let (code, said) = replay(&[]);
    assert!(code == Some(0) && said.contains("the same people come out"), "{code:?} {said}");
    let published = |wave: &str| std::fs::read_dir(dir.path().join("out").join(wave).join("drawn/runs")).unwrap().count();
    assert_eq!((published("first"), published("second")), (1, 1), "nothing is published");
    // Another seed draws others, and is named; so is a frame in which somebody is missing.
    let path = dir.path().join("pipeline.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let other = text.replace("seed: 7", "seed: 8");
    assert_ne!(other, text);
    std::fs::write(&path, other).unwrap();
    let (code, said) = replay(&["--output", "json"]);
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    let named = |found: &serde_json::Value, what: &str| found["differs"].as_array().unwrap().iter().any(|d| d[0] == what);
    assert_eq!((code, &found["same"]), (Some(3), &serde_json::json!(false)), "{said}");
    assert!(named(&found, "seed of the random numbers") && !named(&found, "files of `customers`"), "{said}");
    let people: Vec<u64> = found["people"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    assert!(people[0] + people[1] == found["rows"][0].as_u64().unwrap() && people[1] > 0, "{said}");
    std::fs::write(&path, text).unwrap();
    let frame = std::fs::read_to_string(dir.path().join("customers.csv")).unwrap();
    let drawn = rows(&reports[1], "drawn")[0]["customer_id"].clone();
    let without: String = frame.lines().filter(|l| !l.starts_with(&drawn)).map(|l| l.to_owned() + "\n").collect();
    std::fs::write(dir.path().join("customers.csv"), without).unwrap();
    let (code, said) = replay(&["--output", "json"]);
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, Some(3), "{said}");
    for what in ["files of `customers`", "people on the roster", "eligible members", "allocation"] {
        assert!(named(&found, what), "{what}: {said}");
    }
    assert!(!named(&found, "seed of the random numbers") && found["people"][1].as_u64().unwrap() > 0, "{said}");
    let done = Command::new(binary()).args(["draw", ".", "--replay", "pipeline.yaml"]).current_dir(dir.path()).output().unwrap();
    assert!(done.status.code() == Some(1) && String::from_utf8_lossy(&done.stderr).contains("_manifest.json"), "{done:?}");
}

#[test]
fn who_is_drawn_for_a_wave_is_left_alone_for_as_long_as_it_reserves_them() {
    let dir = tempfile::tempdir().unwrap();
    let case = std::fs::read_to_string(repository().join("tests/cases/panel_two_waves/pipeline.yaml")).unwrap();
    let kept = case.replace("reserve: 10%}", "reserve: 30d}").replace(", reserve: 10%, after: first, refresh: 20%", "");
    assert!(kept.matches("reserve").count() == 2 && !kept.contains("after:"), "{kept}");
    let kept = kept.replace(", where: reserve_rank is null", "");
    std::fs::write(dir.path().join("pipeline.yaml"), kept).unwrap();
    let mut n = Numbers(9);
    write_frame(dir.path(), &(0..420).map(|id| (id, customer(&mut n))).collect(), 9);
    let people = |report: &serde_json::Value| -> BTreeSet<String> {
        rows(report, "drawn").into_iter().map(|r| r["customer_id"].clone()).collect()
    };
    let excluded = |report: &serde_json::Value| {
        let rules = report["panel"][0]["waterfall"].as_array().unwrap().clone();
        rules.iter().find(|r| r[0] == "reserved for wave first").map(|r| r[1].as_u64().unwrap())
    };
    // Before anything is published nobody is reserved.
    let alone = run(dir.path(), "second", "2026-02-10T00:00:00Z");
    assert_eq!(excluded(&alone), Some(0));
    let first = people(&run(dir.path(), "first", "2026-02-01T00:00:00Z"));
    assert!(!people(&alone).is_disjoint(&first), "the same numbers draw the same people");
    let within = run(dir.path(), "second", "2026-03-02T23:00:00Z");
    assert!(people(&within).is_disjoint(&first) && excluded(&within).unwrap() > 0);
    // 30 days after, and for what was drawn of an instant that had not come, it is as if they were not.
    for as_of in ["2026-03-03T00:00:00Z", "2026-01-31T00:00:00Z"] {
        let later = run(dir.path(), "second", as_of);
        assert_eq!(excluded(&later), Some(0), "{as_of}");
        assert!(!people(&later).is_disjoint(&first), "{as_of}");
    }
}
