//! A pipeline with every section and form loads without a diagnostic, and says what it should. Never compares with another
//! program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use strata_spec::pipeline::*;
use strata_spec::{Loaded, SourceText, Span, Sql, load};

const COMPLETE: &str = include_str!("complete.yaml");

fn text(text: &str) -> SourceText {
    SourceText { path: "p.yaml".to_owned(), text: text.to_owned() }
}

fn loaded(source: &str, vars: &[(&str, &str)]) -> Loaded {
    let vars: Vec<(String, String)> = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    load(&text(source), &vars)
}

fn complete() -> Pipeline {
    let found = loaded(COMPLETE, &[]);
    assert!(found.diagnostics.is_empty(), "{:#?}", found.diagnostics);
    found.pipeline.unwrap()
}

/// The piece of the file that a 1-based line and column of an expression point at.
fn at(sql: &Sql, line: usize, column: usize, len: usize) -> &'static str {
    let span = sql.span_at(line, column, len);
    COMPLETE.get(span.range()).unwrap()
}

fn at_source<'a>(p: &'a Pipeline, name: &str) -> &'a Source {
    p.source(name).unwrap()
}

#[test]
fn sources_say_what_was_written() {
    let p = complete();
    assert_eq!((p.name.as_str(), p.timezone.name()), ("tiny_shop", "Europe/Berlin"));
    // Midnight in Berlin.
    let AsOf::Literal(as_of) = &p.as_of else { panic!("a literal") };
    assert_eq!(as_of.value.to_rfc3339(), "2026-01-31T23:00:00+00:00");
    let customers = at_source(&p, "customers");
    assert_eq!((customers.path.as_str(), customers.mode), ("./data/customers.parquet", Mode::Mutable));
    let Some(Duplicates::KeepLatest(order)) = &customers.duplicates else { panic!("keep latest") };
    assert_eq!(order.text, "changed_at desc, customer_id");
    assert_eq!(at(order, 1, 12, 4), "desc");
    let known: Vec<(usize, &str, &str)> =
        customers.references.iter().map(|r| (r.columns.len(), r.source.as_str(), r.alias.as_str())).collect();
    assert_eq!(known, [(1, "stores", "home_store"), (1, "stores", "stores"), (2, "areas", "areas")]);
    let stores = at_source(&p, "stores");
    let columns: Vec<(&str, ColumnKind, bool)> =
        stores.columns.iter().map(|c| (c.name.as_str(), c.kind.value, c.nullable)).collect();
    assert_eq!(columns[0], ("store_id", ColumnKind::String, false));
    assert_eq!(columns[3], ("rent", ColumnKind::Decimal(12, 2), false));
    assert_eq!(
        (stores.columns[4].allowed.clone(), stores.columns[5].allowed.clone()),
        (vec!["Mall".into(), "street".into()], vec!["s".into(), "m".into()])
    );
    assert_eq!(stores.classes.iter().map(|(n, c)| (n.as_str(), *c)).collect::<Vec<_>>(), [("region", Class::None)]);
    let orders = at_source(&p, "orders");
    assert_eq!((orders.mode, orders.late_us), (Mode::Append, Some(26 * 3_600_000_000)));
    assert!(matches!(orders.duplicates, Some(Duplicates::Identical(_))));
    assert_eq!(orders.references[0].alias.as_str(), "giver");
    let surveys = at_source(&p, "surveys");
    assert!(matches!(&surveys.duplicates, Some(Duplicates::KeepLatest(o)) if o.text == "answered_at desc"));
    assert_eq!((surveys.learned_later[0].time.as_str(), surveys.learned_later[0].columns.len()), ("closed_at", 2));
}

#[test]
fn places_inside_block_scalars_are_the_users_own() {
    let p = complete();
    let filter = at_source(&p, "orders").filter.as_ref().unwrap();
    assert_eq!(filter.text, "customer_id is not null\n  and amount > 18\n\n  and city = 'Köln' and amount < 1000");
    assert_eq!(filter.line_starts.len(), 4);
    assert_eq!(at(filter, 1, 1, 11), "customer_id");
    assert_eq!(at(filter, 2, 7, 6), "amount");
    assert_eq!(at(filter, 4, 3, 3), "and");
    let days = &p.table("days").unwrap().sql;
    assert_eq!(days.text, "select customer_id, day\nfrom orders   -- 東京\ngroup by 1, 2");
    assert_eq!((at(days, 1, 8, 11), at(days, 2, 6, 6), at(days, 3, 1, 8)), ("customer_id", "orders", "group by"));
    let source = text(COMPLETE);
    assert_eq!(source.line_column(days.span_at(3, 7, 2).start), (68, 13));
    // SQL reads folded text with its line breaks, so that places behind them are exact too.
    let net = &at_source(&p, "orders").derive[1].1;
    assert_eq!((net.text.as_str(), net.line_starts.len()), ("case when returned\nthen 0 else cents end", 2));
    assert_eq!((at(net, 1, 6, 4), at(net, 2, 13, 5)), ("when", "cents"));
    // Columns count characters, places count bytes.
    assert_eq!((at(filter, 4, 25, 6), at(days, 2, 18, 6)), ("amount", "東京"));
    // Quoted and plain one-line texts start at their content.
    let vip = p.segmentation("vip").unwrap().filter.as_ref().unwrap();
    assert_eq!((at(vip, 1, 1, 5), &COMPLETE[vip.span.start..=vip.span.start]), ("level", "\""));
    let Block::Row(row) = &p.attributes[0].blocks[0] else { panic!("row") };
    let RowValue::Sql(age) = &row[0].value else { panic!("sql") };
    assert_eq!(at(age, 1, 11, 9), "customers");
    assert_eq!(&COMPLETE[age.span.range()], age.text);
}

#[test]
fn windows_spread_into_attributes() {
    let p = complete();
    let Block::From(from) = &p.attributes[0].blocks[1] else { panic!("from") };
    let day = 24 * 3_600_000_000_i64;
    let windows: Vec<(&str, Option<Window>)> =
        from.columns.iter().map(|c| (c.name.as_str(), c.window.as_ref().map(|w| w.value))).collect();
    let trailing = |from| Some(Window { from, to: Ago::Micros(0) });
    assert_eq!(
        windows,
        [
            ("order_count", None),
            ("spend_90d", trailing(Ago::Micros(90 * day))),
            ("spend_730d_365d", Some(Window { from: Ago::Micros(730 * day), to: Ago::Micros(365 * day) })),
            ("spend_12mo", trailing(Ago::Months(12))),
            ("spend_life", None),
            ("_last", None),
        ]
    );
}

#[test]
fn keys_choose_the_kind_of_segmentation() {
    let p = complete();
    let method = |name: &str| p.segmentation(name).unwrap().method.clone();
    let Method::Rfm(rfm) = method("rfm") else { panic!("rfm") };
    assert_eq!((rfm.bins, rfm.r_order), (5, RecencyOrder::Reversed));
    assert_eq!(rfm.others.unwrap().cell, "000");
    assert_eq!(p.segmentation("rfm").unwrap().columns(), ["rfm_cell", "r_score", "f_score", "m_score"]);
    assert_eq!(p.segmentation("rfm_store").unwrap().columns(), ["sc", "sr", "sf", "sm"]);
    let Method::Rules { rules, others } = method("stage") else { panic!("rules") };
    let said: Vec<(&str, Option<&str>)> =
        rules.iter().map(|r| (r.label.as_str(), r.when.as_ref().map(|w| w.text.as_str()))).collect();
    assert_eq!(
        said,
        [
            ("prospect", Some("(order_count) = 0")),
            ("new", Some("(first) <= 60")),
            ("active", Some("(recency) <= 90")),
            ("lapsing", Some("(recency) <= 365")),
            ("lapsed", None)
        ]
    );
    assert_eq!(others.unwrap().as_str(), "young");
    assert_eq!(at(rules[0].when.as_ref().unwrap(), 1, 2, 11), "order_count");
    let Method::Rules { rules, others } = method("level") else { panic!("rules") };
    assert!(rules[1].when.is_none() && others.is_none());
    assert!(matches!(method("vip"), Method::Flag));
    assert!(matches!(method("cross"), Method::By { by, others: Some(_) } if by.len() == 2));
    assert!(matches!(method("fourth"), Method::Quantile { bins: 4, names, .. } if names.len() == 4));
    let Method::KMeans(k) = method("lifestyle") else { panic!("kmeans") };
    assert!(matches!(&k.init, Init::Centroids(c) if *c == [[0.0, 1.5], [-0.001, 2.0]]));
    assert_eq!(k.names.iter().map(|n| n.as_str()).collect::<Vec<_>>(), ["seldom", "often"]);
    assert_eq!((k.iterations, k.tolerance, k.empty, k.scale), (50, 1e-6, EmptyCluster::Farthest, Scale::Standard));
    let Method::KMeans(k) = method("plain") else { panic!("kmeans") };
    assert_eq!((k.features[1].1.text.as_str(), k.scale, k.empty), ("order_count", Scale::None, EmptyCluster::Stays));
}

#[test]
fn panels_and_outputs_say_what_was_written() {
    let p = complete();
    let panel = p.panel.as_ref().unwrap();
    assert_eq!(panel.rules.iter().map(|(n, s)| (n.as_str(), s.text.as_str())).collect::<Vec<_>>()[0], ("adult", "age >= 18"));
    assert!(matches!(&panel.numbers, Numbers::Env(n) if n.as_str() == "PANEL_KEY"));
    let wave = p.wave("2026w4").unwrap();
    assert_eq!((wave.sample.value, wave.sample_of), (Sample::PartsPerMillion(5_000), SampleOf::Members));
    let allocate = &wave.allocate;
    assert_eq!((allocate.min, allocate.max, allocate.after_bounds), (5, Some(500), AfterBounds::Keep));
    assert_eq!((allocate.by.rule, allocate.rounding), (AllocateRule::Proportional, Rounding::Nearest));
    let second = p.wave("second").unwrap();
    let weights = second.weights.as_ref().unwrap();
    assert_eq!((second.sample.value, second.allocate.after_bounds), (Sample::Count(4000), AfterBounds::Rebalance));
    assert_eq!((weights.tolerance, weights.max_iterations, weights.keep_not_converged), (1e-6, 100, true));
    let rows: Vec<String> = p.outputs.iter().map(|o| format!("{} {} {:?}", o.name.value, o.to.value, rows(&o.from))).collect();
    assert_eq!(
        rows,
        [
            r#"profile ./data/out/profile ("entity", "customer")"#,
            r#"both ./data/out/both ("entity", "customer")"#,
            r#"some ./data/out/some ("entity", "customer")"#,
            r#"who_table ./data/out/who_table ("profile", "who")"#,
            r#"day_table elsewhere/days ("table", "days")"#,
            r#"drawn ./data/out/drawn ("wave", "2026w4")"#,
            r#"shops ./data/out/shops ("entity", "store")"#,
        ]
    );
    let both = &p.outputs[1];
    assert_eq!(
        (both.format, both.classes.clone(), both.purpose.as_ref().unwrap().as_str()),
        (WriteFormat::Csv, vec![Class::DirectId], "analytics")
    );
    assert_eq!(both.select[2].value, Select::Source("customers".into(), "email".into()));
    assert_eq!(p.outputs[5].purpose.as_ref().unwrap().as_str(), "research");
    assert_eq!(p.profiles[0].stats, [Stat::Mean]);
}

fn rows(from: &Rows) -> (&'static str, &str) {
    match from {
        Rows::Entity(n) => ("entity", n.as_str()),
        Rows::Wave(n) => ("wave", n.as_str()),
        Rows::WavePart(n, part) => (part.name(), n.as_str()),
        Rows::Profile(n) => ("profile", n.as_str()),
        Rows::Table(n) => ("table", n.as_str()),
    }
}

#[test]
fn parameters_replace_defaults() {
    let found = loaded(COMPLETE, &[("data", "s3://lake"), ("floor", "21")]);
    let p = found.pipeline.unwrap();
    assert_eq!(p.outputs[0].to.as_str(), "s3://lake/out/profile");
    assert_eq!(
        p.vars,
        [("data".into(), "s3://lake".into()), ("out".into(), "s3://lake/out".into()), ("floor".into(), "21".into())]
    );
    assert!(at_source(&p, "orders").filter.as_ref().unwrap().text.contains("amount > 21\n"));
}

#[test]
fn windows_line_ends_do_not_shift_places() {
    let crlf = COMPLETE.replace('\n', "\r\n");
    let found = loaded(&crlf, &[]);
    assert!(found.diagnostics.is_empty(), "{:#?}", found.diagnostics);
    let p = found.pipeline.unwrap();
    let days = &p.table("days").unwrap().sql;
    let piece = |line, column, len| &crlf[days.span_at(line, column, len).range()];
    assert_eq!((piece(2, 6, 6), piece(3, 1, 8)), ("orders", "group by"));
}

#[test]
fn names_of_the_file_point_at_themselves() {
    let p = complete();
    let check = |name: &strata_spec::Name| assert_eq!(&COMPLETE[name.span.range()], name.value.as_str());
    p.sources.iter().for_each(|s| check(&s.name));
    p.segments.iter().for_each(|s| check(&s.name));
    p.outputs.iter().for_each(|o| check(&o.name));
    assert_eq!(p.sources.len() + p.segments.len() + p.outputs.len(), 22);
    assert_ne!(p.sources[0].name.span, Span::default());
}

/// A file of the specification, beside the checkout.
fn shared(name: &str) -> Option<String> {
    let root = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    std::fs::read_to_string(root.join("../../../shared/spec").join(name)).ok()
}

#[test]
fn the_reference_pipeline_loads_whole() {
    let Some(source) = shared("c360.yaml") else { return println!("not run: ../shared is absent") };
    let found = loaded(&source, &[]);
    assert!(found.diagnostics.is_empty(), "{:#?}", found.diagnostics);
    let p = found.pipeline.unwrap();
    assert_eq!(
        (p.sources.len(), p.tables.len(), p.attributes[0].blocks.len(), p.segments.len(), p.outputs.len()),
        (8, 4, 11, 3, 4)
    );
    let names: usize = p.attributes[0]
        .blocks
        .iter()
        .map(|b| {
            if let Block::Row(r) = b {
                r.len()
            } else if let Block::From(f) = b {
                f.columns.len()
            } else {
                0
            }
        })
        .sum();
    assert_eq!(names, 63);
}

#[test]
fn the_sketch_is_told_about_its_mistake_and_everything_later() {
    let Some(source) = shared("sketch.yaml") else { return println!("not run: ../shared is absent") };
    let found = loaded(&source, &[]);
    assert!(found.pipeline.is_none());
    let purpose: Vec<_> = found.diagnostics.iter().filter(|d| d.code.0 == "S0207").collect();
    assert_eq!(purpose.len(), 1);
    assert_eq!(&source[purpose[0].span.range()], "service");
    let later: Vec<&str> = found.diagnostics.iter().filter(|d| d.code.0 == "S0190").map(|d| &source[d.span.range()]).collect();
    for key in ["identity", "personas", "typing_tool", "personalise", "scd2"] {
        assert!(later.contains(&key), "{key}");
    }
}
