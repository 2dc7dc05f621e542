//! Screens, duplicate filters and cogroups cross the wire, logically and physically, and give the same rows; copies that differ are
//! quarantined, all of them.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Column, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, ident, lit};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use datafusion_proto::bytes::{
    logical_plan_from_bytes_with_extension_codec as logical_from, logical_plan_to_bytes_with_extension_codec as logical_to,
    physical_plan_from_bytes_with_extension_codec as physical_from, physical_plan_to_bytes_with_extension_codec as physical_to,
};
use std::sync::Arc;
use strata_operators::bucket::BucketTable;
use strata_operators::cogroup::{CogroupInput, CogroupNode, Stage};
use strata_operators::dedup::{DedupNode, Keep, ROWS_DEDUPLICATED, ROWS_QUARANTINED};
use strata_operators::numbered::NumberedNode;
use strata_operators::pinned::{PinnedFile, PinnedFormat, PinnedTable};
use strata_operators::screen::{Action, Emit, ScreenNode, ScreenRule};
use strata_runtime::{Limits, LogicalCodec, PhysicalCodec, session};

fn file(dir: &std::path::Path, name: &str, rows: &[(i64, i64, Option<&str>)]) -> PinnedFile {
    let schema = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("n", DataType::Int64, true),
        Field::new("word", DataType::Utf8, true),
    ]));
    let batch = RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1))),
            Arc::new(StringArray::from_iter(rows.iter().map(|r| r.2))),
        ],
    )
    .unwrap();
    let path = dir.join(name);
    let mut writer = parquet::arrow::ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    let path = path.to_string_lossy().trim_start_matches('/').to_owned();
    PinnedFile { path, size, modified_us: 1, etag: None, rows: Some(rows.len() as u64), hive_values: vec![], columns: vec![] }
}

fn node(n: impl datafusion::logical_expr::UserDefinedLogicalNode + 'static) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(n) })
}

/// word → (rows, sum of n), over rows with a word, without copies.
fn plan(table: PinnedTable, keep: Keep) -> LogicalPlan {
    let schema = table.schema.clone();
    let scan = LogicalPlanBuilder::scan("t", provider_as_source(Arc::new(table)), None).unwrap().build().unwrap();
    let word = Expr::Column(Column::new(Some(TableReference::bare("t")), "word"));
    let screened = node(ScreenNode::new(scan, "t".into(), vec![ScreenRule::drops("filtered", word.is_not_null())]));
    let input = node(DedupNode {
        input: screened,
        source: "t".into(),
        key: vec!["key".into()],
        keep,
        spread_by: vec!["key".into()],
        buckets: 4,
        emit: Emit::Kept,
        carried: vec![],
    });
    let bucket = |name: &str, schema| provider_as_source(Arc::new(BucketTable::new(name.into(), schema, &[])));
    let stage = LogicalPlanBuilder::scan("rows", bucket("rows", schema), None)
        .unwrap()
        .aggregate([ident("word")], [count(lit(1i64)).alias("rows"), sum(ident("n")).alias("total")])
        .unwrap()
        .build()
        .unwrap();
    let made = Arc::new(stage.schema().as_arrow().clone());
    let result = LogicalPlanBuilder::scan("words", bucket("words", made), None)
        .unwrap()
        .project([ident("word"), ident("rows"), ident("total")])
        .unwrap()
        .build()
        .unwrap();
    node(CogroupNode {
        inputs: vec![input],
        named: vec![CogroupInput { name: "rows".into(), key: Some("word".into()), unique: vec!["key".into()] }],
        stages: vec![Stage { name: "words".into(), plan: stage, unique: vec!["word".into()] }],
        result,
        buckets: 3,
    })
}

fn rule(label: &str, holds: Expr, action: Action) -> ScreenRule<Expr> {
    ScreenRule { label: label.into(), holds, action, reason: format!("{label} does not hold") }
}

/// Rows with the file and the number of each, held against one rule of every kind.
fn held(table: &PinnedTable, emit: Emit) -> LogicalPlan {
    let table = table.with_file_column("_file");
    let scan = LogicalPlanBuilder::scan("t", provider_as_source(Arc::new(table)), None).unwrap().build().unwrap();
    let numbered = node(NumberedNode::try_new(scan, "_file".into()).unwrap());
    let column = |name: &str| Expr::Column(Column::new(Some(TableReference::bare("t")), name));
    let rules = vec![
        rule("first", column("n").gt(lit(10i64)), Action::Drop),
        rule("empties", column("key").not_eq(lit(5i64)), Action::SetNull(vec!["word".into()])),
        rule("word", column("word").is_not_null(), Action::Quarantine),
        rule("few", column("n").lt(lit(60i64)), Action::Warn),
        rule("none", column("n").lt(lit(60i64)), Action::Stop),
    ];
    let screen = match emit {
        Emit::Kept => ScreenNode::new(numbered, "t".into(), rules),
        Emit::Quarantined => ScreenNode::quarantined(numbered, "t".into(), rules).unwrap(),
    };
    let names = ["key", "word", "_row"].map(ident);
    let more = if emit == Emit::Quarantined { vec![ident("_rule")] } else { vec![] };
    LogicalPlanBuilder::from(node(screen)).project(names.into_iter().chain(more)).unwrap().build().unwrap()
}

fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut out = vec![];
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cell = |c: usize| arrow::util::display::array_value_to_string(batch.column(c), row).unwrap();
            out.push((0..batch.num_columns()).map(cell).collect::<Vec<_>>().join(" "));
        }
    }
    out.sort();
    out
}

fn counted(plan: &Arc<dyn ExecutionPlan>, name: &str) -> usize {
    let own = plan.metrics().and_then(|m| m.sum_by_name(name)).map_or(0, |v| v.as_usize());
    own + plan.children().into_iter().map(|c| counted(c, name)).sum::<usize>()
}

async fn run(context: &SessionContext, plan: &LogicalPlan) -> (Vec<String>, Arc<dyn ExecutionPlan>) {
    let task = context.task_ctx();
    let crossed = logical_from(&logical_to(plan, &LogicalCodec).unwrap(), &task, &LogicalCodec).unwrap();
    assert_eq!(crossed.display_indent().to_string(), plan.display_indent().to_string());
    let physical = context.state().create_physical_plan(&crossed).await.unwrap();
    let bytes = physical_to(Arc::clone(&physical), &PhysicalCodec).unwrap();
    let crossed = physical_from(&bytes, &task, &PhysicalCodec).unwrap();
    let here = collect(Arc::clone(&physical), Arc::clone(&task)).await.unwrap();
    let there = collect(Arc::clone(&crossed), task).await.unwrap();
    assert_eq!(lines(&here), lines(&there));
    (lines(&there), crossed)
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_cross_the_wire_and_count_what_they_drop() {
    let dir = tempfile::tempdir().unwrap();
    let first = [(1, 10, Some("a")), (2, 20, Some("a")), (3, 30, Some("b")), (4, 40, None)];
    let second = [(2, 20, Some("a")), (3, 31, Some("b")), (5, 50, Some("b")), (6, 60, Some("c"))];
    let files = vec![file(dir.path(), "1.parquet", &first), file(dir.path(), "2.parquet", &second)];
    let schema = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("n", DataType::Int64, true),
        Field::new("word", DataType::Utf8, true),
    ]));
    let table = PinnedTable { store: "file:///".into(), format: PinnedFormat::Parquet, schema, hive: 0, files, complete: vec![] };
    for threads in [1, 2, 7] {
        let context = session(&Limits { threads, ..Limits::default() }).unwrap();
        let (rows, done) = run(&context, &plan(table.clone(), Keep::Identical)).await;
        assert_eq!(rows, ["a 2 30", "b 1 50", "c 1 60"], "{threads} partitions");
        assert_eq!((counted(&done, ROWS_DEDUPLICATED), counted(&done, ROWS_QUARANTINED)), (1, 2));
        assert_eq!(counted(&done, "strata.filtered"), 1);
        let latest = Keep::First(vec![("n".into(), true)]);
        let (rows, done) = run(&context, &plan(table.clone(), latest)).await;
        assert_eq!(rows, ["a 2 30", "b 2 81", "c 1 60"], "{threads} partitions");
        assert_eq!((counted(&done, ROWS_DEDUPLICATED), counted(&done, ROWS_QUARANTINED)), (2, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rules_put_aside_is_the_rest_of_what_they_let_pass() {
    let dir = tempfile::tempdir().unwrap();
    let first = [(1, 10, Some("a")), (2, 20, Some("a")), (3, 30, Some("b")), (4, 40, None)];
    let second = [(2, 20, Some("a")), (3, 31, Some("b")), (5, 50, Some("b")), (6, 60, Some("c"))];
    let files = vec![file(dir.path(), "1.parquet", &first), file(dir.path(), "2.parquet", &second)];
    let schema = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("n", DataType::Int64, true),
        Field::new("word", DataType::Utf8, true),
    ]));
    let table = PinnedTable { store: "file:///".into(), format: PinnedFormat::Parquet, schema, hive: 0, files, complete: vec![] };
    for threads in [1, 2, 7] {
        let context = session(&Limits { threads, ..Limits::default() }).unwrap();
        let (rows, done) = run(&context, &held(&table, Emit::Kept)).await;
        assert_eq!(rows, ["2 a 1", "2 a 2", "3 b 2", "3 b 3", "6 c 4"], "{threads} partitions");
        let counts = ["first", "empties", "word", "few", "none"].map(|l| counted(&done, &format!("strata.{l}")));
        assert_eq!(counts, [1, 1, 2, 1, 1], "{threads} partitions");
        let (rows, _) = run(&context, &held(&table, Emit::Quarantined)).await;
        assert_eq!(rows, ["4  4 word", "5  3 word"], "{threads} partitions");
        let differ = DedupNode {
            input: LogicalPlanBuilder::from(held(&table, Emit::Kept)).build().unwrap(),
            source: "t".into(),
            key: vec!["key".into()],
            keep: Keep::Identical,
            spread_by: vec!["key".into()],
            buckets: 4,
            emit: Emit::Quarantined,
            carried: vec!["_row".into()],
        };
        // Copies that differ in nothing but where they stand are the same.
        let (rows, _) = run(&context, &node(differ.clone())).await;
        assert!(rows.is_empty(), "{rows:?}");
        let (rows, _) = run(&context, &node(DedupNode { carried: vec![], ..differ })).await;
        assert_eq!(rows, ["2 a 1", "2 a 2", "3 b 2", "3 b 3"], "{threads} partitions");
    }
}
