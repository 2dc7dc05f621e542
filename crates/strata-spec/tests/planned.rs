//! What this version reads but cannot run: typed as it was written with `Reach::Language`, refused with S0190 otherwise, and its
//! mistakes told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use strata_spec::pipeline::contract::{Added, CheckRule, Dropped, OnFail, Retyped, TextFormat};
use strata_spec::pipeline::identity::{Clean, Comparison, Golden};
use strata_spec::pipeline::people::Rate;
use strata_spec::pipeline::preset::{PlannedMethod, RfmMode, TimePart};
use strata_spec::pipeline::test::Expect;
use strata_spec::pipeline::wave::{Reserve, StratumShare, Target};
use strata_spec::pipeline::{Ago, AttributePreset, Method, OnMerge, OutputPlanned, Pipeline, Sample};
use strata_spec::{Reach, SourceText, load_within};

const PLANNED: &str = include_str!("planned.yaml");
const DAY_US: i64 = 86_400_000_000;

fn source(text: &str) -> SourceText {
    SourceText { path: "p.yaml".to_owned(), text: text.to_owned() }
}

fn planned() -> Pipeline {
    let loaded = load_within(&source(PLANNED), &[], Reach::Language);
    assert!(loaded.diagnostics.is_empty(), "{:#?}", loaded.diagnostics);
    loaded.pipeline.unwrap()
}

#[test]
fn this_version_refuses_each_and_nothing_else_is_wrong() {
    let loaded = load_within(&source(PLANNED), &[], Reach::Version);
    assert!(loaded.pipeline.is_none() && loaded.draft.is_some());
    let other: Vec<_> = loaded.diagnostics.iter().filter(|d| d.code.0 != "S0190").collect();
    assert!(other.is_empty(), "{other:#?}");
    assert!(loaded.diagnostics.len() >= 36, "{}", loaded.diagnostics.len());
    assert!(loaded.diagnostics.iter().all(|d| d.help.as_deref().is_some_and(|h| !h.is_empty())));
}

#[test]
fn contracts_say_what_was_written() {
    let p = planned();
    let orders = p.source("orders").unwrap();
    let said: Vec<(&str, OnFail)> = orders.checks.iter().map(|c| (c.name.as_str(), c.on_fail.value)).collect();
    assert_eq!(
        said,
        [
            ("amount", OnFail::Quarantine),
            ("email", OnFail::SetNull),
            ("paid", OnFail::Quarantine),
            ("filled", OnFail::Stop),
            ("once", OnFail::Quarantine),
            ("channels", OnFail::Warn),
            ("stores", OnFail::SetNull),
            ("fresh", OnFail::Stop),
            ("volume", OnFail::Warn),
        ]
    );
    let CheckRule::Range { column, min: Some(min), max: None } = &orders.checks[0].rule else { panic!("a range") };
    assert_eq!((column.as_str(), min.text.as_str(), &PLANNED[min.span.range()]), ("amount", "0", "0"));
    assert!(matches!(&orders.checks[1].rule, CheckRule::Format { format: TextFormat::Email, .. }));
    assert_eq!(orders.checks[1].empties[0].as_str(), "email");
    assert!(matches!(&orders.checks[2].rule, CheckRule::Sql(sql) if sql.text == "amount > 0 or returned"));
    assert!(matches!(&orders.checks[5].rule, CheckRule::OneOf { values, .. } if *values == ["web", "store"]));
    assert!(matches!(&orders.checks[6].rule, CheckRule::References { source, .. } if source.as_str() == "stores"));
    assert!(matches!(orders.checks[7].rule, CheckRule::Freshness(us) if us == 26 * 3_600_000_000));
    let CheckRule::Volume(volume) = orders.checks[8].rule.clone() else { panic!("a volume") };
    assert_eq!((volume.of_us, volume.min, volume.max), (7 * DAY_US, Some(0.5), Some(2.0)));
    let drift = orders.drift.unwrap();
    assert_eq!((drift.added, drift.dropped, drift.retyped), (Added::Warn, Dropped::SetNull, Retyped::Cast));
    let areas = p.source("areas").unwrap();
    let licence = areas.licence.as_ref().unwrap();
    assert_eq!((licence.supplier.as_str(), licence.expires.as_ref().unwrap().value.to_string()), ("Acxia", "2027-06-30".into()));
    assert_eq!(areas.planned_format.as_ref().unwrap().as_str(), "delta");
    assert_eq!(areas.history.as_ref().unwrap().valid_from.as_str(), "from_day");
    assert_eq!(p.table("days").unwrap().checks.len(), 1);
    assert_eq!(orders.columns[1].on_fail.as_ref().unwrap().value, OnFail::Quarantine);
    assert_eq!(p.include[0].as_str(), "segments.yaml");
}

#[test]
fn people_say_what_was_written() {
    let p = planned();
    let consent = p.consent.as_ref().unwrap();
    let log = consent.log.as_ref().unwrap();
    assert_eq!(
        (log.person.as_str(), log.state.as_str(), consent.on_merge),
        ("customer_id", "state", Some(OnMerge::MostRestrictive))
    );
    assert_eq!(consent.expires.as_ref().unwrap().value, Ago::Months(24));
    let identity = &p.identity[0];
    assert_eq!((identity.nodes[1].clean.clone(), identity.nodes[0].max_per_profile), (Some(Clean::Phone("AU".into())), Some(5)));
    assert!(identity.nodes[2].unique && identity.nodes[0].ignore == ["*@test.example"]);
    assert_eq!(
        (identity.fuzzy[0].block[0].text.as_str(), identity.fuzzy[0].score[1].1),
        ("soundex(last_name)", Comparison::Exact)
    );
    assert_eq!((identity.fuzzy[0].accept, identity.fuzzy[0].review), (0.95, Some(0.85)));
    assert!(
        matches!(&identity.golden[1].1, Golden::Sources(s) if s.len() == 2) && identity.golden[0].1 == Golden::NewestVerified
    );
    assert_eq!(p.personas.as_ref().unwrap().render.len(), 2);
    let tool = p.typing_tool.as_ref().unwrap();
    assert_eq!((tool.of.as_str(), tool.questions_max, tool.min_accuracy), ("level", 8, Some(0.75)));
    let personal = p.personalise.as_ref().unwrap();
    assert_eq!((personal.per_customer, personal.control_ppm), (Some(Rate { count: 2, within_us: 7 * DAY_US }), Some(50_000)));
    assert_eq!((personal.offers[0].0.as_str(), personal.next_best.as_ref().unwrap().top), ("second_shop_10", 5));
}

#[test]
fn attributes_and_segments_say_what_was_written() {
    let p = planned();
    let of = &p.attributes[0];
    let AttributePreset::LoyaltyCore(core) = &of.presets[0] else { panic!("loyalty_core@1") };
    assert_eq!((core.from.as_str(), core.amount.text.as_str(), core.windows.len()), ("orders", "amount", 3));
    assert!(core.windows[2].1.is_none() && core.prefix.as_ref().unwrap().as_str() == "loyal_");
    let AttributePreset::PreferredTime(time) = &of.presets[1] else { panic!("preferred_time@1") };
    assert_eq!((time.by.as_slice(), time.min_events, time.smoothing), ([TimePart::Daypart, TimePart::Hour].as_slice(), 5, 10.0));
    assert_eq!((of.models[0].model.as_str(), of.models[0].horizon.as_ref().unwrap().value), ("bg_nbd_gamma@1", Ago::Months(12)));
    let planned = |name: &str| p.segmentation(name).unwrap().planned.clone().unwrap();
    assert!(matches!(planned("upper"), PlannedMethod::Sql { sql, .. } if sql.text == "upper(region)"));
    let Method::Lifecycle(stage) = p.segmentation("stage").unwrap().method.clone() else { panic!("lifecycle@2") };
    assert_eq!(
        (stage.prior_gaps, stage.new_until, stage.slipping, stage.back, stage.lapsed),
        (4.0, 3, Some(2.0), Some(1.5), None)
    );
    assert!(stage.prospect && !stage.reactivated && stage.cap_days == Some(540));
    assert_eq!(stage.state.as_ref().unwrap().as_str(), "out/people");
    assert!(matches!(planned("drift"), PlannedMethod::Watch(w) if w.psi_stop == Some(0.25)));
    assert!(p.segmentation("drift").unwrap().columns().is_empty() && p.segmentation("stage").unwrap().columns() == ["stage"]);
    let modes = ["edges", "fixed", "frozen"].map(|name| {
        let Method::Rfm(rfm) = p.segmentation(name).unwrap().method.clone() else { panic!("rfm") };
        *rfm.mode
    });
    assert_eq!(modes[0], RfmMode::Edges);
    assert!(matches!(&modes[1], RfmMode::Fixed(cuts) if cuts.r == [30.0, 90.0] && cuts.m.len() == 2));
    assert!(matches!(&modes[2], RfmMode::Frozen(name) if name.as_str() == "2026-Q3"));
    assert_eq!(p.segmentation("edges").unwrap().columns(), ["ec", "er", "ef", "em", "rfm_segment"]);
    let Method::KMeans(k) = p.segmentation("style").unwrap().method.clone() else { panic!("kmeans") };
    let set = &k.planned;
    assert!(set.robust && set.parallel_init && set.median_for_nulls && set.leave_out_p99_5);
    assert_eq!((set.k_from, set.refit.as_deref(), set.min_stability), (Some((4, 9)), Some("quarterly"), Some(0.75)));
    assert_eq!(p.segmentation("place").unwrap().min_size, Some(500));
}

#[test]
fn panels_outputs_and_tests_say_what_was_written() {
    let p = planned();
    let panel = p.panel.as_ref().unwrap();
    let fatigue = panel.fatigue.as_ref().unwrap();
    assert_eq!((fatigue.invites.as_ref().unwrap().value.count, fatigue.rest_after_complete_us), (2, Some(21 * DAY_US)));
    let wave = &panel.waves[0];
    assert_eq!(panel.exclude[0].as_str(), "level");
    assert_eq!(wave.strata.iter().map(|n| n.as_str()).collect::<Vec<_>>(), ["level", "region", "upper"]);
    let shares: Vec<StratumShare> = wave.further.strata.iter().map(|s| s.how.clone()).collect();
    assert_eq!(
        shares,
        [
            StratumShare::Proportional,
            StratumShare::Bounds { min: Some(150), max: None },
            StratumShare::Shares(vec![("NORTH".into(), 250_000)])
        ]
    );
    let quotas = &panel.waves[1].further.quotas;
    assert_eq!(quotas[0].cells[0], (vec!["top".to_owned()], Target { of: Sample::PartsPerMillion(500_000), tolerance: 30_000 }));
    assert_eq!(
        (quotas[1].columns.len(), quotas[1].cells[0].0.as_slice()),
        (2, ["top".to_owned(), "north".to_owned()].as_slice())
    );
    let set = &wave.further;
    assert_eq!(
        (panel.waves[1].further.refresh_ppm, set.reserve, set.replicates),
        (Some(200_000), Some(Reserve::For(30 * DAY_US)), Some(4))
    );
    assert_eq!(set.response.as_ref().unwrap().rate_ppm, Some(300_000));
    let weights = wave.weights.as_ref().unwrap();
    assert_eq!((weights.cap, weights.report.len(), weights.collapse.as_ref().map(Vec::len)), (Some(5.0), 2, Some(2)));
    let all = OutputPlanned {
        format: Some("iceberg".into()),
        history: Some("scd2".into()),
        changes_only: Some(true),
        min_cell: Some(30),
        publish: Some("together".into()),
        ..OutputPlanned::default()
    };
    let mut own = p.outputs[0].planned.clone();
    assert_eq!((own.drop.take().unwrap().len(), own.partition_by.take().unwrap().len()), (1, 1));
    assert_eq!(own, all);
    let [one, by_key] = p.tests.as_slice() else { panic!("two tests") };
    assert_eq!((one.given[0].0.as_str(), one.given[0].1.len(), one.as_of.is_some()), ("orders", 2, true));
    let Expect::One(row) = &one.expect else { panic!("one row") };
    let cells: Vec<(&str, Option<&str>)> = row.cells.iter().map(|c| (c.column.as_str(), c.text.as_deref())).collect();
    assert_eq!(cells, [("order_count", Some("2")), ("region", None)]);
    assert_eq!(&PLANNED[row.cells[0].span.range()], "2");
    assert!(
        matches!(&by_key.expect, Expect::ByKey(rows) if rows.len() == 2 && by_key.name.as_ref().unwrap().as_str() == "two people")
    );
}

/// The file with one piece replaced, and what is said of it: code and a word of the help, in order.
fn wrong(piece: &str, instead: &str, expected: &[(&str, &str)]) {
    assert_eq!(PLANNED.matches(piece).count(), 1, "{piece}");
    // What presets make is not known here, so that beside them no name is unknown.
    let presets = PLANNED.lines().any(|l| l.contains("- {preset:") && l.contains(piece));
    let text: String = PLANNED.lines().filter(|l| presets || !l.contains("- {preset:")).map(|l| format!("{l}\n")).collect();
    let found = load_within(&source(&text.replace(piece, instead)), &[], Reach::Language).diagnostics;
    let said: Vec<&str> = found.iter().map(|d| d.code.0).collect();
    assert_eq!(said, expected.iter().map(|(code, _)| *code).collect::<Vec<_>>(), "{instead}: {found:#?}");
    for (d, (_, word)) in found.iter().zip(expected) {
        assert!(d.help.as_deref().unwrap().contains(word), "`{word}` is not in {d:#?}");
    }
}

#[test]
fn wrong_checks_say_so() {
    wrong(
        "{sql: amount > 0 or returned, on_fail: quarantine}",
        "{sql: amount > 0, on_fail: set_null}",
        &[("S0130", "add `column")],
    );
    wrong(
        "{not_null: [order_id, amount]}",
        "{not_null: [order_id, amuont], on_fail: set_null}",
        &[("S0210", "amount"), ("S0130", "quarantine")],
    );
    wrong("{freshness: 26h}", "{freshness: 26h, on_fail: quarantine}", &[("S0130", "stop")]);
    wrong("{unique: [order_id], on_fail: quarantine}", "{unique: [order_id], sql: amount > 0}", &[("S0120", "one of")]);
    wrong("{unique: [order_id], on_fail: quarantine}", "{on_fail: quarantine}", &[("S0120", "one of")]);
    wrong(
        "{references: stores, columns: [store_id], on_fail: set_null}",
        "{references: storse, columns: [store]}",
        &[("S0202", "stores"), ("S0210", "store_id")],
    );
    wrong(
        "{references: stores, columns: [store_id], on_fail: set_null}",
        "{references: stores}",
        &[("S0106", "columns: [store_id]"), ("S0208", "store_id")],
    );
    wrong("{of: 7d, min: 0.5, max: 2}", "{min: 2, max: 0.5}", &[("S0116", "raise")]);
    wrong("{of: 7d, min: 0.5, max: 2}", "{of: 7d}", &[("S0106", "min: 0.5")]);
    wrong("{column: channel, enum: [web, store], on_fail: warn}", "{enum: [web, store]}", &[("S0106", "column: name")]);
    wrong("expires: 2027-06-30", "expires: next year", &[("S0118", "2027-06-30")]);
    wrong("not_for: [ads]", "not_for: [adds]", &[("S0207", "ads")]);
}

#[test]
fn wrong_methods_say_so() {
    wrong(
        "cuts: {r: [30, 90], f: [2, 5], m: [50, 200]}",
        "cuts: {r: [90, 30], f: [2], m: [50, 200]}",
        &[("S0116", "lowest"), ("S0128", "write 2")],
    );
    wrong("mode: fixed, bins: 3, cuts: {r: [30, 90], f: [2, 5], m: [50, 200]}", "mode: fixed", &[("S0106", "cuts: {r:")]);
    wrong("mode: frozen, cuts: 2026-Q3", "cuts: 2026-Q3", &[("S0120", "mode: frozen")]);
    wrong("slipping: 2\n    back: 1.5", "slipping: 5\n    back: 6", &[("S0116", "follow"), ("S0116", "follow")]);
    wrong("k: 4..9", "k: 9..4", &[("S0116", "4..9")]);
    wrong("watch: [level, stage]", "watch: [levle, stage]", &[("S0204", "level")]);
    wrong("cohort: region", "cohort: regoin", &[("S0209", "region")]);
    wrong("preset: preferred_time@1, from: orders", "preset: preferred_time@1, from: stores", &[("S0123", "add `time")]);
    wrong("by: [daypart, hour]", "by: [day_part]", &[("S0115", "daypart")]);
    wrong("model: bg_nbd_gamma@1", "model: bg_nbd@1", &[("S0115", "bg_nbd_gamma@1")]);
}

#[test]
fn wrong_people_and_panels_say_so() {
    wrong("phone(AU)", "phone(au)", &[("S0115", "phone(CC)")]);
    wrong("email: newest_verified", "email: newst", &[("S0115", "newest")]);
    wrong("accept: 0.95, review: 0.85", "accept: 0.85, review: 0.95", &[("S0116", "lower `review`")]);
    wrong("last_name: jaro_winkler", "last_name: jaro", &[("S0115", "jaro_winkler")]);
    wrong("invites: 2/30d", "invites: 2 a month", &[("S0117", "2/30d")]);
    wrong("control: 5%", "control: 5", &[("S0116", "100%")]);
    wrong("{top: 50% +- 3, rest: 50%}", "{top: half}", &[("S0116", "50% +- 3")]);
    wrong("{\"top, north\": 20}", "{top: 20}", &[("S0128", "one value a column")]);
    wrong("expect_response: {rate: 30%}", "expect_response: {rate: 30%, model: past_rate}", &[("S0120", "past_rate")]);
    wrong("{NORTH: 25%}", "{NORTH: 75%, SOUTH: 75%}", &[("S0116", "shares")]);
}

#[test]
fn wrong_tests_say_so() {
    wrong("expect: {order_count: 2, region: null}", "expect: {order_cuont: 2}", &[("S0209", "order_count")]);
    wrong("{customer_id: a, order_count: 1}", "{order_count: 1}", &[("S0106", "add `customer_id`")]);
    wrong("as_of: 2026-01-15", "as_of: ${run.as_of}", &[("S0113", "as_of")]);
    wrong("{orders: [{customer_id: a, amount: 40}", "{ordres: [{customer_id: a, amount: 40}", &[("S0202", "orders")]);
    wrong("channel: web, amount: 10", "chanel: web, amount: [10]", &[("S0210", "channel"), ("S0104", "number")]);
}
