//! An expression of any text, as a row attribute, as an aggregate and as a table: compiling it ends with a plan or with diagnostics.
//! Never runs it.

#![no_main]

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use strata_operators::pinned::{PinnedFormat, PinnedTable};
use strata_plan::{Catalog, Clock, compile, look_through};
use strata_spec::{SourceText, load};

fn pipeline(row: &str, aggregate: &str, table: &str) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    format!(
        "version: 1\nname: fuzz\nas_of: 2026-02-01T00:00:00Z\nsources:\n  people: {{parquet: p, mode: mutable, key: id}}\n  \
         orders: {{parquet: o, time: at, mode: append, key: oid}}\ntables:\n  t: {{key: id, sql: {}}}\n\
         entities: {{person: {{from: people, key: id}}}}\nattributes:\n  person:\n    - row: {{x: {}}}\n    \
         - from: orders\n      columns: {{y: {}}}\n",
        quoted(table),
        quoted(row),
        quoted(aggregate)
    )
}

fn pinned(columns: &[(&str, DataType)]) -> PinnedTable {
    let fields: Vec<Field> = columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
    PinnedTable {
        store: "file:///".into(),
        format: PinnedFormat::Parquet,
        schema: Arc::new(Schema::new(fields)),
        hive: 0,
        files: vec![],
        complete: vec![],
    }
}

fuzz_target!(|text: &str| {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let people = [("id", DataType::Int64), ("name", DataType::Utf8), ("n", DataType::Float64), ("day", DataType::Date32)];
    let orders = [("oid", DataType::Int64), ("id", DataType::Int64), ("amount", DataType::Decimal128(10, 2)), ("at", time)];
    for (row, aggregate, table) in [
        (text, "count(*)", "select id from people"),
        ("1", text, "select id from people"),
        ("1", "count(*)", text),
    ] {
        let source = SourceText { path: "fuzz.yaml".to_owned(), text: pipeline(row, aggregate, table) };
        let loaded = load(&source, &[]);
        let mut catalog = Catalog::default();
        catalog.sources.insert("people".into(), pinned(&people));
        catalog.sources.insert("orders".into(), pinned(&orders));
        let clock = Clock { as_of: chrono::DateTime::UNIX_EPOCH, timezone: chrono_tz::Tz::UTC };
        match (&loaded.pipeline, &loaded.draft) {
            (Some(pipeline), _) => {
                let outcome = compile(pipeline, clock, catalog);
                let failed = outcome.diagnostics.iter().any(|d| d.severity == strata_spec::Severity::Error);
                assert_eq!(outcome.compiled.is_none(), failed, "{:?}", outcome.diagnostics);
            }
            (None, Some(draft)) => drop(look_through(draft, loaded.lost, clock, catalog)),
            (None, None) => {}
        }
    }
});
