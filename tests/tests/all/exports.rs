//! Files for a community platform: nobody's key, contact data or number in them, nobody in a group of fewer than k, nothing to link two
//! exports by. Never looks at how that is decided: the files are all it has, and a key that it knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use strata_testkit::{binary, python, repository};

const KEY: &str = "an export key that nobody may find";
const K: usize = 6;

/// A folder with the case, and both waves of it published.
fn two_waves() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["pipeline.yaml", "customers.csv"] {
        std::fs::copy(repository().join("tests/cases/exports").join(file), dir.path().join(file)).unwrap();
    }
    for (wave, as_of) in [("spring", "2026-02-01T00:00:00Z"), ("summer", "2026-05-01T00:00:00Z")] {
        let report = format!("report_{wave}.json");
        let done = run(dir.path(), &["-p", &format!("wave={wave}"), "--as-of", as_of, "--report", &report], Some(KEY));
        assert!(done.status.success(), "{}", said(&done));
    }
    dir
}

fn run(dir: &Path, args: &[&str], key: Option<&str>) -> Output {
    let mut command = Command::new(binary());
    command.args(["run", "."]).args(args).current_dir(dir).env("NO_COLOR", "1").env_remove("EXPORT_KEY");
    if let Some(key) = key {
        command.env("EXPORT_KEY", key);
    }
    command.output().unwrap()
}

fn said(done: &Output) -> String {
    String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)
}

/// The file of an output's newest run.
fn file(dir: &Path, wave: &str, output: &str) -> PathBuf {
    let runs = std::fs::read_dir(dir.join("out").join(wave).join(output).join("runs")).unwrap().map(|e| e.unwrap().path());
    let files = std::fs::read_dir(runs.max().unwrap()).unwrap().map(|e| e.unwrap().path());
    files.filter(|f| f.file_name().unwrap().to_string_lossy().starts_with("part-")).max().unwrap()
}

/// Rows of an output by column, from CSV or JSON lines.
fn rows(dir: &Path, wave: &str, output: &str) -> Vec<BTreeMap<String, String>> {
    let path = file(dir, wave, output);
    let text = std::fs::read_to_string(&path).unwrap();
    if path.extension().unwrap() == "jsonl" {
        let value = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        let row = |line: &str| {
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
            object.iter().map(|(k, v)| (k.clone(), if v.is_null() { String::new() } else { value(v) })).collect()
        };
        return text.lines().map(row).collect();
    }
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    lines.map(|l| head.iter().zip(l.split(',')).map(|(h, v)| ((*h).to_owned(), v.to_owned())).collect()).collect()
}

/// Pseudonyms as anybody with the key makes them, by Python's own HMAC.
fn pseudonyms(export: &str, ids: &[String]) -> Vec<String> {
    let program = "import base64,hmac,sys\nkey,export=sys.argv[1].encode(),sys.argv[2].encode()\n\
        for i in sys.argv[3:]: print(base64.b32encode(hmac.new(key,export+b'\\x1f'+i.encode(),'sha256').digest()[:20]).decode())";
    let done = Command::new(python()).args(["-c", program, KEY, export]).args(ids).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn column<'a>(rows: &'a [BTreeMap<String, String>], name: &str) -> Vec<&'a str> {
    rows.iter().map(|r| r[name].as_str()).collect()
}

#[test]
fn pseudonyms_are_an_hmac_of_the_export_and_link_only_what_says_so() {
    let dir = two_waves();
    let ids: Vec<String> = (1..=180).map(|n| format!("{n:03}")).collect();
    let of_export = |name: &str, as_of: &str| {
        let made = pseudonyms(&format!("once:exports/{name}/{as_of}"), &ids);
        made.into_iter().zip(&ids).map(|(p, id)| (p, id.clone())).collect::<BTreeMap<_, _>>()
    };
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (wave, as_of) in [("spring", "2026-02-01T00:00:00+00:00"), ("summer", "2026-05-01T00:00:00+00:00")] {
        let known = of_export("platform", as_of);
        let panelists = rows(dir.path(), wave, "same_as_lines");
        let contacts = rows(dir.path(), wave, "contacts");
        let names = column(&panelists, "panelist_id");
        assert_eq!(names, column(&contacts, "panelist_id"), "one export, in one order");
        assert!(names.is_sorted() && names.len() >= 70);
        for row in &contacts {
            let id = &known[row["panelist_id"].strip_prefix("k1-").unwrap()];
            assert_eq!(row["email"], format!("p{id}@canary.example"));
        }
        let nicknames = rows(dir.path(), wave, "nicknames");
        let own = of_export("nicknames", as_of);
        assert!(nicknames.iter().all(|r| own.contains_key(&r["panelist_id"]) && r.len() == 2));
        seen.insert(format!("platform {wave}"), names.iter().map(|n| n.trim_start_matches("k1-").to_owned()).collect());
        seen.insert(format!("nicknames {wave}"), column(&nicknames, "panelist_id").into_iter().map(str::to_owned).collect());
        seen.insert(
            format!("rounded {wave}"),
            column(&rows(dir.path(), wave, "left_out"), "panelist_id").into_iter().map(str::to_owned).collect(),
        );
    }
    for (one, names) in &seen {
        for (other, others) in seen.iter().filter(|(o, _)| *o > one) {
            assert!(names.is_disjoint(others), "{one} and {other} share a pseudonym");
        }
    }
    let (before, after) = (rows(dir.path(), "spring", "everybody"), rows(dir.path(), "summer", "everybody"));
    assert_eq!(column(&before, "someone"), column(&after, "someone"), "chosen to be the same in every run");
    let shared: BTreeSet<String> = pseudonyms("shared:all", &ids).into_iter().collect();
    assert!(column(&before, "someone").iter().all(|n| shared.contains(*n)));
}

#[test]
fn nobody_is_in_a_group_of_few_in_either_wave_and_the_report_says_what_it_cost() {
    let dir = two_waves();
    for wave in ["spring", "summer"] {
        let report: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(dir.path().join(format!("report_{wave}.json"))).unwrap()).unwrap();
        for output in ["same_as_lines", "left_out"] {
            let found = rows(dir.path(), wave, output);
            let mut groups: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
            for row in &found {
                // Weights tell strata apart, so they count as well.
                let key = ["region", "age", "home"].iter().map(|c| row[*c].as_str()).collect();
                groups.entry(key).or_default().push(&row["final_weight"]);
            }
            for (group, weights) in &groups {
                assert!(weights.len() >= K, "{wave} {output}: {group:?} are {}", weights.len());
                let shown: BTreeSet<&&str> = weights.iter().filter(|w| !w.is_empty()).collect();
                let rounded = output == "left_out" && group.iter().any(|v| !v.is_empty());
                assert!(rounded || shown.len() <= 1, "{wave} {output}: {group:?} {shown:?}");
                for weight in shown.iter().filter(|_| rounded) {
                    let alike = weights.iter().filter(|w| *w == *weight).count();
                    assert!(alike >= K, "{wave} {output}: {group:?} {weight} are {alike}");
                    assert!((weight.parse::<f64>().unwrap() * 2.0).fract() == 0.0, "{weight}");
                }
            }
            let said = report["outputs"].as_array().unwrap().iter().find(|o| o["name"] == output).unwrap();
            let guard = &said["guard"];
            let empty = found.iter().filter(|r| ["region", "age", "home"].iter().all(|c| r[*c].is_empty())).count();
            assert_eq!((guard["k"].as_u64(), guard["people"].as_u64()), (Some(K as u64), Some(found.len() as u64)));
            assert_eq!(guard["left_empty"].as_u64(), Some(empty as u64), "{wave} {output}");
            assert!(guard["smallest"].as_u64().unwrap() >= K as u64);
            let unguarded = rows(dir.path(), wave, "same_as_lines").len();
            assert_eq!(unguarded, found.len(), "nobody is lost");
        }
    }
}

#[test]
fn keys_numbers_and_ids_are_in_no_file_and_no_word() {
    let dir = two_waves();
    let mut folders = vec![dir.path().join("out"), dir.path().join(".strata")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).into_iter().flatten().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let has = |word: &str| bytes.windows(word.len()).any(|w| w == word.as_bytes());
            assert!(!has(KEY), "{}", path.display());
            let name = path.to_string_lossy();
            let contacts = name.contains("/contacts/");
            assert!(contacts || !has("canary.example") || name.contains("/work/"), "{}", path.display());
            if name.contains("/out/") {
                // Whoever reads a file of people finds no key of the roster in it.
                assert!(!has("customer_id") && !has("#number") && !has("prn("), "{}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} files");
    let missing = run(dir.path(), &["--as-of", "2026-02-01T00:00:00Z"], None);
    let text = said(&missing);
    assert!(!missing.status.success() && text.contains("EXPORT_KEY") && text.contains("no value"), "{text}");
}

#[test]
fn a_workbook_holds_what_the_lines_hold_and_runs_nothing() {
    let dir = two_waves();
    let program = "import sys,zipfile,json\nimport xml.etree.ElementTree as E\nz=zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
        n='{http://schemas.openxmlformats.org/spreadsheetml/2006/main}'\n\
        [E.fromstring(z.read(f)) for f in z.namelist()]\nt=E.fromstring(z.read('xl/worksheets/sheet1.xml'))\nout=[]\n\
        for r in t.iter(n+'row'):\n  out.append([''.join(x.text or '' for x in c.iter() if x.tag in (n+'t',n+'v')) for c in r])\n\
        assert not list(t.iter(n+'f'))\nprint(json.dumps(out))";
    let done = Command::new(python()).args(["-c", program]).arg(file(dir.path(), "summer", "panelists")).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    let table: Vec<Vec<String>> = serde_json::from_slice(&done.stdout).unwrap();
    let lines = rows(dir.path(), "summer", "same_as_lines");
    assert_eq!(table[0], ["panelist_id", "wave", "region", "age", "home", "base_weight", "final_weight"]);
    assert_eq!(table.len(), lines.len() + 1);
    for (row, line) in table[1..].iter().zip(&lines) {
        assert_eq!((&row[0], &row[1]), (&line["panelist_id"], &line["wave"]));
        let number = |text: &str| text.parse::<f64>().ok();
        let (found, wanted) = (number(&row[row.len() - 1]), number(&line["final_weight"]));
        assert!(found.zip(wanted).is_none_or(|(a, b)| (a - b).abs() < 1e-12) && found.is_some() == wanted.is_some(), "{row:?}");
    }
    // What a spreadsheet would run is text in CSV.
    let everybody = std::fs::read_to_string(file(dir.path(), "summer", "everybody")).unwrap();
    for word in [",'=1+1,", ",'+49 30,", ",'@sum,", ",'-5,"] {
        assert!(everybody.contains(word), "{word}");
    }
    // The same bytes again.
    let before = std::fs::read(file(dir.path(), "summer", "panelists")).unwrap();
    let again = run(dir.path(), &["-p", "wave=summer", "--as-of", "2026-05-01T00:00:00Z", "--threads", "3"], Some(KEY));
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(std::fs::read(file(dir.path(), "summer", "panelists")).unwrap(), before);
}

#[test]
fn small_counts_are_not_shown_and_cannot_be_worked_out() {
    let dir = two_waves();
    for (output, counts) in
        [("waterfall", vec!["people", "left"]), ("allocation", vec!["eligible", "wanted", "drawn", "reserve"])]
    {
        for row in rows(dir.path(), "spring", output) {
            for count in &counts {
                let shown = row[*count].parse::<u64>().ok();
                assert!(shown.is_none_or(|n| n == 0 || n >= K as u64), "{output}: {row:?}");
            }
        }
    }
    // What is left after a rule, less what is left after the next, is what the next leaves out.
    let waterfall = rows(dir.path(), "spring", "waterfall");
    for pair in waterfall.windows(2).filter(|p| p[0]["region"] == p[1]["region"]) {
        if let (Ok(a), Ok(b)) = (pair[0]["left"].parse::<u64>(), pair[1]["left"].parse::<u64>()) {
            assert!(a == b || a - b >= K as u64, "{pair:?}");
        }
    }
    assert!(waterfall.iter().any(|r| r["people"].is_empty()), "nothing was small: {waterfall:?}");
}

#[test]
fn what_cannot_be_hidden_is_refused_with_the_count() {
    let dir = tempfile::tempdir().unwrap();
    let case = repository().join("tests/cases/exports");
    std::fs::copy(case.join("customers.csv"), dir.path().join("customers.csv")).unwrap();
    let text = std::fs::read_to_string(case.join("pipeline.yaml")).unwrap();
    let changed = text.replace("k: 6\n      over", "k: 100\n      over");
    assert_ne!(changed, text);
    std::fs::write(dir.path().join("pipeline.yaml"), changed).unwrap();
    let done = run(dir.path(), &["--as-of", "2026-02-01T00:00:00Z"], Some(KEY));
    let text = said(&done);
    assert_eq!(done.status.code(), Some(3), "{text}");
    assert!(text.contains("100") && text.contains("leave_out"), "{text}");
    assert!(!dir.path().join("out/spring/contacts/_pointer").exists(), "nothing is published");
}
