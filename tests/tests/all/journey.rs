//! Complete Journey, real data: every line is accounted for and the published counts come out.

use std::path::PathBuf;
use strata_testkit::{RunSpec, content_of, repository, run_pipeline};

/// Folder of the fetched data; the test command fetches it.
fn data() -> Option<PathBuf> {
    strata_testkit::setting("STRATA_TEST_JOURNEY").map(PathBuf::from).filter(|p| p.join("transactions.parquet").is_file())
}

#[test]
fn every_line_is_accounted_for() {
    let Some(data) = data() else {
        println!("not run: the data are not fetched; tests/run.sh fetches them");
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let pipeline = repository().join("pipelines/complete_journey");
    let report = run_pipeline(&RunSpec::new(&pipeline, &data, &work.path().join("out"))).unwrap_or_else(|e| panic!("{e}"));
    let lines = report.sources.iter().find(|s| s.source == "transactions").unwrap();
    assert_eq!((lines.in_files, lines.used), (1_469_307, 1_469_307), "{lines:?}");
    let households = report.outputs.iter().find(|o| o.name == "household_360").unwrap();
    assert_eq!(households.rows, 2_469);
    assert_eq!(report.panel[0].roster, 2_469);
    assert_eq!(report.panel[0].eligible, 801);
    let weights = report.panel[0].weights.as_ref().unwrap();
    assert!(weights.converged && (weights.sum - 801.0).abs() < 1e-3, "{weights:?}");
    let again = run_pipeline(&RunSpec::new(&pipeline, &data, &work.path().join("again")).threads(7).round_trip(true));
    assert_eq!(content_of(&again.unwrap()), content_of(&report));
}

/// The three waves of the community, as `waves.sh` draws, fields and weighs them.
fn community(data: &std::path::Path, work: &std::path::Path, waves: &str) {
    let script = repository().join("pipelines/community/waves.sh");
    let mut command = std::process::Command::new(script);
    command.arg(data).arg(work).env("STRATA", strata_testkit::binary()).env("PYTHON", strata_testkit::python());
    command.env("COMMUNITY_EXPORT_KEY", "of a test");
    let done = command.env("WAVES", waves).env("NO_COLOR", "1").output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
}

fn json(path: PathBuf) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

/// Households of a wave that are asked at once, from the invitations that count as contacts from then on.
fn asked(work: &std::path::Path, wave: &str) -> std::collections::BTreeSet<String> {
    let text = std::fs::read_to_string(work.join(format!("invites/{wave}.csv"))).unwrap();
    text.lines().skip(1).map(|l| l.split(',').nth(1).unwrap().to_owned()).collect()
}

/// The rows of a table of counts, by their columns.
fn counts(work: &std::path::Path, table: &str) -> Vec<std::collections::BTreeMap<String, String>> {
    let runs = std::fs::read_dir(work.join("out").join(table).join("runs")).unwrap().map(|e| e.unwrap().path());
    let files = std::fs::read_dir(runs.max().unwrap()).unwrap().map(|e| e.unwrap().path());
    let file = files.into_iter().find(|f| f.extension().is_some_and(|e| e == "csv")).unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let head: Vec<String> = text.lines().next().unwrap().split(',').map(str::to_owned).collect();
    text.lines().skip(1).map(|l| head.iter().cloned().zip(l.split(',').map(str::to_owned)).collect()).collect()
}

#[test]
fn a_community_is_asked_three_times_and_its_movement_is_found() {
    let Some(data) = data() else {
        println!("not run: the data are not fetched; tests/run.sh fetches them");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    community(&data, &work, "spring summer autumn");
    let waves = ["spring", "summer", "autumn"];
    let people: Vec<_> = waves.iter().map(|w| asked(&work, w)).collect();
    for (at, wave) in waves.iter().enumerate() {
        let run = json(work.join(format!("run_{wave}.json")));
        let report = &run["panel"][0];
        assert_eq!(report["drawn"].as_u64().unwrap(), people[at].len() as u64, "{wave}");
        let weights = json(work.join(format!("weights_{wave}.json")));
        assert_eq!(weights["converged"], true, "{wave}");
        assert!(weights["worst"].as_f64().unwrap() <= 1e-6 && (weights["sum"].as_f64().unwrap() - 1_723.0).abs() < 0.1, "{wave}");
        let answers = weights["dispositions"][0][1].as_f64().unwrap();
        assert!((answers - 240.0).abs() < 50.0, "{wave}: {answers} answers");
        if at > 0 {
            let both = people[at - 1].intersection(&people[at]).count() as u64;
            let overlap = &report["overlaps"][0];
            assert_eq!((overlap["before"].as_str(), overlap["both"].as_u64()), (Some(waves[at - 1]), Some(both)));
            // Everybody who could be asked again is, and the others have their reason.
            assert_eq!(overlap["due"], overlap["both"], "{overlap}");
            let lost: u64 = overlap["lost"].as_array().unwrap().iter().map(|l| l[1].as_u64().unwrap()).sum();
            assert_eq!(lost + both, people[at - 1].len() as u64);
            assert!(run["sources"].as_array().unwrap().iter().any(|s| s["source"] == format!("__wave_{}", waves[at - 1])));
        }
    }
    // What a panel manager reads: counts that are not small, and rates of the contacts that were made.
    let health = counts(&work, "health_summer");
    let all = health.iter().find(|r| r["scope"] == "all").unwrap();
    let number = |name: &str| all[name].parse::<f64>().unwrap();
    assert_eq!(number("members_before"), people[0].len() as f64);
    assert!((number("completion") - number("answered") / number("asked")).abs() < 1e-12);
    assert!((0.0..=1.0).contains(&number("r_indicator")) && number("attrition") < 1.0);
    for table in ["waterfall_summer", "allocation_summer", "burden_summer"] {
        for row in counts(&work, table) {
            for name in ["people", "left", "eligible", "wanted", "drawn", "reserve"] {
                let shown = row.get(name).and_then(|n| n.parse::<u64>().ok());
                assert!(shown.is_none_or(|n| n == 0 || n >= 5), "{table}: {row:?}");
            }
        }
    }
    // What to ask of whom is told in every wave, and follows from no count that is not shown.
    for wave in waves {
        let allocation = counts(&work, &format!("allocation_{wave}"));
        assert!(
            allocation.len() == 3 && allocation.iter().all(|r| r["wanted"] == "80" && !r["drawn"].is_empty()),
            "{allocation:?}"
        );
    }
    assert!(counts(&work, "allocation_autumn").iter().all(|r| r["eligible"].is_empty()));
    // Who was in spring is in one cell of where people were and are, and nobody was in a wave before spring.
    let moved: u64 = counts(&work, "migration_summer").iter().filter_map(|r| r["people"].parse::<u64>().ok()).sum();
    let empty = counts(&work, "migration_summer").iter().any(|r| r["people"].is_empty());
    assert!(moved == people[0].len() as u64 || empty && moved < people[0].len() as u64, "{moved}");
    assert!(counts(&work, "migration_spring").is_empty());
    let guard = &json(work.join("run_summer.json"))["outputs"][1]["guard"];
    assert!(guard["smallest"].as_u64().unwrap() >= 10, "{guard}");
    let moved = json(work.join("weights_summer.json"));
    let of = |value: &str| moved["movements"].as_array().unwrap().iter().find(|m| m["of"][1] == value).unwrap().clone();
    let light = of("light");
    let (change, error) = (light["change"].as_f64().unwrap(), light["standard_error"].as_f64().unwrap());
    assert!((change + 0.9).abs() < 3.0 * error && error < 0.4, "{light}");
    // Doing a wave again changes nobody.
    community(&data, &work, "autumn");
    assert_eq!(asked(&work, "autumn"), people[2]);
    // An earlier wave of other settings is no wave to go on from.
    let pipeline = dir.path().join("pipeline.yaml");
    let text = std::fs::read_to_string(repository().join("pipelines/community/pipeline.yaml")).unwrap();
    let summer = text.find("    summer:").unwrap();
    let edited = text[..summer].to_owned() + &text[summer..].replacen("refresh: 25%", "refresh: 30%", 1);
    std::fs::write(&pipeline, edited).unwrap();
    let mut command = std::process::Command::new(strata_testkit::binary());
    command.arg("run").arg(&pipeline).args(["-p", "wave=autumn", "--as-of", "2017-10-02T00:00:00-04:00", "--state"]);
    let of = |name: &str, path: &std::path::Path| format!("{name}={}", path.display());
    command.arg(work.join("other")).arg("-p").arg(of("data", &data)).arg("-p").arg(of("work", &work));
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(3), "{said}");
    assert!(said.contains("`summer` was drawn by other settings than the file has now"), "{said}");
}
