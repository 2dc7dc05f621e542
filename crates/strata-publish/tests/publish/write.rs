//! Writes through DataFusion: what files and receipts hold, and that a failed write leaves nothing. Never reads what it did not write.

use std::fs;
use std::path::Path as FsPath;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, Date64Array, Decimal128Array, DictionaryArray, FixedSizeListArray, Float64Array,
    Int32Array, Int64Array, LargeStringArray, NullArray, RecordBatch, StringArray, StringViewArray, StructArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::col;
use futures::StreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use strata_operators::pinned::{PinnedFile, PinnedFormat, PinnedTable};
use strata_operators::write::{Formulas, WriteFormat, WriteNode, WritePurpose, WriteSpec};
use strata_publish::{
    Kind, Log, Manifest, PublishedTable, Receipt, WriteExec, WritePlanner, decode_write, encode_write, stored_schema,
};
use tokio::sync::Notify;

fn spec(folder: &FsPath, format: WriteFormat) -> WriteSpec {
    let folder = url::Url::from_directory_path(folder).unwrap().join("runs/r1").unwrap();
    WriteSpec {
        folder: folder.into(),
        format,
        attempt: "a1".into(),
        purpose: WritePurpose::Publish,
        bounds: vec!["id".into()],
        formulas: Formulas::Escape,
    }
}

/// `count` rows from `first` on: ids, names with nulls and empty texts, amounts.
fn rows(first: i64, count: i64) -> RecordBatch {
    let ids: Vec<i64> = (first..first + count).collect();
    let name = |id: &i64| match id % 5 {
        0 => None,
        1 => Some(String::new()),
        _ => Some(format!("näme, \"{}\"\n", id % 97)),
    };
    let names: StringArray = ids.iter().map(name).collect();
    let amounts: Float64Array = ids.iter().map(|id| (id % 7 > 0).then_some(*id as f64 / 3.0)).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("id", Arc::new(Int64Array::from(ids))), ("name", Arc::new(names)), ("amount", Arc::new(amounts))];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

fn source(partitions: &[Vec<RecordBatch>], schema: &SchemaRef) -> Arc<dyn ExecutionPlan> {
    MemorySourceConfig::try_new_exec(partitions, Arc::clone(schema), None).unwrap()
}

async fn write(input: Arc<dyn ExecutionPlan>, spec: WriteSpec) -> Result<Vec<Receipt>, DataFusionError> {
    let plan = Arc::new(WriteExec::try_new(input, spec)?);
    Ok(Receipt::from_batches(&collect(plan, Arc::new(TaskContext::default())).await?).unwrap())
}

fn read(path: &FsPath) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches = reader.build().unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    concat_batches(&schema, &batches).unwrap()
}

fn run_files(folder: &FsPath) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder.join("runs/r1")) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn totals(receipts: &[Receipt]) -> (i64, String) {
    let manifest = Manifest::new("c360", "r1", "2025-01-01", &rows(0, 1).schema(), receipts.to_vec()).unwrap();
    (manifest.rows, manifest.content.to_string())
}

#[tokio::test]
async fn partitions_and_batches_do_not_change_rows_or_content() {
    let all = rows(0, 30_000);
    let mut seen = Vec::new();
    for partitions in [1_usize, 2, 7] {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = vec![Vec::new(); partitions];
        let (mut start, mut turn) = (0, 0);
        while start < all.num_rows() {
            let size = (977 + turn * 13).min(all.num_rows() - start);
            parts[turn % partitions].insert(0, all.slice(start, size));
            (start, turn) = (start + size, turn + 1);
        }
        let receipts = write(source(&parts, &all.schema()), spec(folder.path(), WriteFormat::Parquet)).await.unwrap();
        assert_eq!(receipts.len(), partitions);
        assert_eq!(run_files(folder.path()), receipts.iter().map(|receipt| receipt.path.clone()).collect::<Vec<_>>());
        for receipt in &receipts {
            let path = folder.path().join("runs/r1").join(&receipt.path);
            assert_eq!(fs::metadata(&path).unwrap().len() as i64, receipt.bytes);
            assert_eq!(read(&path).num_rows() as i64, receipt.rows);
        }
        let nulls: i64 = receipts.iter().map(|receipt| receipt.columns[1].nulls).sum();
        assert_eq!(nulls, 6_000);
        seen.push(totals(&receipts));
    }
    assert_eq!(seen[0].0, 30_000);
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    let folder = tempfile::tempdir().unwrap();
    let other = write(source(&[vec![rows(1, 30_000)]], &all.schema()), spec(folder.path(), WriteFormat::Csv)).await.unwrap();
    assert_ne!(totals(&other).1, seen[0].1);
}

#[tokio::test]
async fn the_same_rows_give_the_same_bytes_however_they_are_cut() {
    let all = rows(0, 40_000);
    for format in [WriteFormat::Parquet, WriteFormat::Csv, WriteFormat::Jsonl, WriteFormat::Xlsx] {
        let mut files = Vec::new();
        for size in [1_000, 7_001, 40_000] {
            let folder = tempfile::tempdir().unwrap();
            let cut: Vec<_> = (0..40_000).step_by(size).map(|start| all.slice(start, size.min(40_000 - start))).collect();
            let receipts = write(source(&[cut], &all.schema()), spec(folder.path(), format)).await.unwrap();
            files.push(fs::read(folder.path().join("runs/r1").join(&receipts[0].path)).unwrap());
        }
        assert!(files.iter().all(|file| *file == files[0]), "{format}");
    }
}

#[tokio::test]
async fn an_empty_table_keeps_its_schema_in_one_file() {
    let schema = rows(0, 1).schema();
    for format in [WriteFormat::Parquet, WriteFormat::Csv, WriteFormat::Jsonl, WriteFormat::Xlsx] {
        let folder = tempfile::tempdir().unwrap();
        let receipts = write(source(&[vec![], vec![], vec![rows(0, 0)]], &schema), spec(folder.path(), format)).await.unwrap();
        assert_eq!(receipts.len(), 1);
        assert_eq!((receipts[0].rows, receipts[0].content.to_string()), (0, "0".repeat(32)));
        assert_eq!((receipts[0].columns[0].min.as_deref(), receipts[0].columns[0].nulls), (None, 0));
        assert_eq!(run_files(folder.path()), [format!("part-a1-00000.{format}")]);
        let path = folder.path().join("runs/r1").join(&receipts[0].path);
        match format {
            WriteFormat::Parquet => assert_eq!(read(&path).schema().fields(), schema.fields()),
            WriteFormat::Csv => assert_eq!(fs::read_to_string(path).unwrap(), "id,name,amount\n"),
            WriteFormat::Jsonl => assert_eq!(fs::read_to_string(path).unwrap(), ""),
            WriteFormat::Xlsx => assert!(fs::read(path).unwrap().starts_with(b"PK\x03\x04")),
        }
    }
}

fn wide() -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Utf8View, true));
    let items: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None, Some("c"), Some("d")]));
    let fields = vec![Field::new("x", DataType::UInt64, true), Field::new("y", DataType::Utf8View, true)];
    let inner: Vec<ArrayRef> =
        vec![Arc::new(UInt64Array::from(vec![Some(3), None])), Arc::new(StringViewArray::from(vec!["s", "t"]))];
    let plain = Field::new("u64", DataType::UInt64, true).with_metadata([("class".into(), "none".into())].into());
    let columns: Vec<(Field, ArrayRef)> = vec![
        (plain, Arc::new(UInt64Array::from(vec![Some(i64::MAX as u64), None]))),
        (
            Field::new("view", DataType::Utf8View, true),
            Arc::new(StringViewArray::from(vec![Some("longer than twelve bytes"), None])),
        ),
        (Field::new("large", DataType::LargeUtf8, true), Arc::new(LargeStringArray::from(vec![Some(""), None]))),
        (
            Field::new("dict", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), true),
            Arc::new(vec![Some("k"), None].into_iter().collect::<DictionaryArray<Int32Type>>()),
        ),
        (
            Field::new("ns", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
            Arc::new(TimestampNanosecondArray::from(vec![Some(1_738_315_800_250_000_000), None])),
        ),
        (
            Field::new("tz", DataType::Timestamp(TimeUnit::Nanosecond, Some("+02:00".into())), true),
            Arc::new(TimestampNanosecondArray::from(vec![Some(1_738_315_800_000_000_000), None]).with_timezone("+02:00")),
        ),
        (Field::new("date", DataType::Date64, true), Arc::new(Date64Array::from(vec![Some(86_400_000), None]))),
        (
            Field::new("money", DataType::Decimal128(20, 4), true),
            Arc::new(Decimal128Array::from(vec![Some(-12_345), None]).with_precision_and_scale(20, 4).unwrap()),
        ),
        (Field::new("bytes", DataType::BinaryView, true), Arc::new(BinaryViewArray::from(vec![Some(&b"\x00\x01"[..]), None]))),
        (Field::new("nothing", DataType::Null, true), Arc::new(NullArray::new(2))),
        (
            Field::new("list", DataType::FixedSizeList(Arc::clone(&item), 2), true),
            Arc::new(FixedSizeListArray::new(item, 2, items, None)),
        ),
        (
            Field::new("pair", DataType::Struct(fields.clone().into()), true),
            Arc::new(StructArray::new(fields.into(), inner, None)),
        ),
    ];
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

#[tokio::test]
async fn wide_types_are_stored_as_every_reader_knows_them() {
    let folder = tempfile::tempdir().unwrap();
    let batch = wide();
    let mut spec = spec(folder.path(), WriteFormat::Parquet);
    spec.bounds = vec!["u64".into(), "ns".into(), "money".into(), "view".into()];
    let receipts = write(source(&[vec![batch.clone()]], &batch.schema()), spec).await.unwrap();
    let stored = read(&folder.path().join("runs/r1").join(&receipts[0].path));
    assert_eq!(stored.schema().fields(), stored_schema(&batch.schema()).unwrap().fields());
    let types: Vec<String> = stored.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(types[..4], ["Int64", "Utf8", "Utf8", "Utf8"]);
    assert_eq!(types[4..10], ["Timestamp(µs)", "Timestamp(µs, \"UTC\")", "Date32", "Decimal128(20, 4)", "Binary", "Utf8"]);
    assert!(stored.schema().fields().iter().all(|field| field.metadata().is_empty()));
    assert_eq!(stored.column(0).as_primitive::<Int64Type>().value(0), i64::MAX);
    assert_eq!(stored.column(3).as_string::<i32>().value(0), "k");
    assert_eq!(stored.column(4).as_primitive::<TimestampMicrosecondType>().value(0), 1_738_315_800_250_000);
    assert_eq!(stored.column(5).as_primitive::<TimestampMicrosecondType>().value(0), 1_738_315_800_000_000);
    assert_eq!(stored.column(10).as_list::<i32>().value(1).as_string::<i32>().value(1), "d");
    assert_eq!(stored.column(11).as_struct().column(0).as_primitive::<Int64Type>().value(0), 3);
    assert!((0..10).all(|column| stored.column(column).is_null(1)));
    let bounds = |column: usize| (receipts[0].columns[column].min.as_deref(), receipts[0].columns[column].max.as_deref());
    assert_eq!(bounds(0), (Some("9223372036854775807"), Some("9223372036854775807")));
    assert_eq!(bounds(4), (Some("2025-01-31T09:30:00.250Z"), Some("2025-01-31T09:30:00.250Z")));
    assert_eq!(bounds(7), (Some("-1.2345"), Some("-1.2345")));
    assert_eq!((bounds(1), bounds(6)), ((None, None), (None, None)), "text has no bounds, and neither has a column not named");
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_before_or_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |columns: Vec<(&str, DataType)>, format| {
        let fields: Vec<_> = columns.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let spec = WriteSpec { bounds: vec![], ..spec(folder.path(), format) };
        WriteExec::try_new(source(&[vec![]], &schema), spec).unwrap_err().to_string()
    };
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
    assert!(refused(vec![("wait", DataType::Duration(TimeUnit::Second))], WriteFormat::Parquet).contains("`wait`"));
    assert!(refused(vec![("tags", list.clone())], WriteFormat::Csv).contains("`tags`"));
    assert!(refused(vec![("tags", list)], WriteFormat::Xlsx).contains("`tags`"));
    let pair = Field::new(
        "entries",
        DataType::Struct(vec![Field::new("k", DataType::Int32, false), Field::new("v", DataType::Utf8, true)].into()),
        false,
    );
    assert!(refused(vec![("map", DataType::Map(Arc::new(pair), false))], WriteFormat::Jsonl).contains("`map`"));
    assert!(refused(vec![("a", DataType::Int32), ("a", DataType::Utf8)], WriteFormat::Parquet).contains("`a`"));
    assert!(refused(vec![], WriteFormat::Parquet).contains("at least one column"));

    let too_large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    let batch = RecordBatch::try_from_iter([("id", too_large)]).unwrap();
    let error =
        write(source(&[vec![batch.clone()]], &batch.schema()), spec(folder.path(), WriteFormat::Parquet)).await.unwrap_err();
    assert!(error.to_string().contains("`id`"), "{error}");
    assert_eq!(run_files(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn csv_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let all = rows(0, 5_000);
    let receipts = write(source(&[vec![all.clone()]], &all.schema()), spec(folder.path(), WriteFormat::Csv)).await.unwrap();
    assert_eq!((receipts[0].rows, receipts[0].columns[0].max.as_deref()), (5_000, Some("4999")));
    let path = folder.path().join("runs/r1").join(&receipts[0].path);
    let reader = arrow::csv::ReaderBuilder::new(all.schema()).with_header(true).with_batch_size(5_000);
    let back = reader.build(fs::File::open(path).unwrap()).unwrap().next().unwrap().unwrap();
    assert_eq!(back.num_rows(), 5_000);
    assert_eq!(back.column(0), all.column(0));
    assert_eq!(back.column(2), all.column(2));
    let (names, expected) = (back.column(1).as_string::<i32>(), all.column(1).as_string::<i32>());
    for row in 0..5_000 {
        let of = |array: &StringArray| if array.is_valid(row) { array.value(row).to_owned() } else { String::new() };
        assert_eq!(of(names), of(expected));
    }
}

#[tokio::test]
async fn text_that_was_escaped_for_spreadsheets_is_read_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let texts =
        [Some("=1+1"), Some("+41 1"), Some("-"), Some("@x"), Some("'=1"), Some("''+"), Some("'a"), Some("a=b"), None, Some("")];
    let ids = Int64Array::from_iter_values(-5..5);
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("text", Arc::new(StringArray::from(texts.to_vec())))];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(n, a)| (n, a, true))).unwrap();
    let written = write(source(&[vec![batch.clone()]], &batch.schema()), spec(folder.path(), WriteFormat::Csv)).await.unwrap();
    let path = folder.path().join("runs/r1").join(&written[0].path);
    let file = PinnedFile {
        path: path.to_str().unwrap().trim_start_matches('/').to_owned(),
        size: written[0].bytes as u64,
        modified_us: 0,
        etag: None,
        rows: None,
        hive_values: vec![],
        columns: vec![],
    };
    let table = PinnedTable {
        store: "file:///".into(),
        format: PinnedFormat::OwnCsv,
        schema: batch.schema(),
        hive: 0,
        files: vec![file],
        complete: vec![],
    };
    let table = PinnedTable::from_bytes(&table.to_bytes().unwrap()).unwrap();
    let state = SessionStateBuilder::new().with_default_features().build();
    let texts_of = async |projection: Option<Vec<usize>>| {
        let plan = table.scan(&state, projection.as_ref(), &[], None).await.unwrap();
        let batches = collect(plan, state.task_ctx()).await.unwrap();
        concat_batches(&batches[0].schema(), &batches).unwrap()
    };
    let whole = texts_of(None).await;
    assert_eq!(whole.column(0), batch.column(0));
    // CSV readers take an empty text for none.
    let wanted: Vec<Option<&str>> = texts.into_iter().map(|t| t.filter(|t| !t.is_empty())).collect();
    let found = whole.column(1).as_string::<i32>();
    assert_eq!(found.iter().map(|t| t.filter(|t| !t.is_empty())).collect::<Vec<_>>(), wanted);
    assert_eq!(texts_of(Some(vec![1])).await.column(0), whole.column(1));
}

#[tokio::test]
async fn the_node_survives_the_wire_and_keeps_every_column() {
    let folder = tempfile::tempdir().unwrap();
    let all = rows(0, 100);
    let state = SessionStateBuilder::new().with_default_features().build();
    let table = Arc::new(MemTable::try_new(all.schema(), vec![vec![all.clone()]]).unwrap());
    let input = LogicalPlanBuilder::scan("t", provider_as_source(table), None).unwrap().build().unwrap();
    let node = WriteNode::try_new(input.clone(), spec(folder.path(), WriteFormat::Parquet)).unwrap();
    let decoded = WriteNode::decode(&node.encode(), input).unwrap();
    assert_eq!(decoded, node);
    let plan = LogicalPlanBuilder::from(decoded.into_plan()).project([col("path")]).unwrap().build().unwrap();
    let plan = state.optimize(&plan).unwrap();
    let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(WritePlanner)]);
    let plan = planner.create_physical_plan(&plan, &state).await.unwrap();
    assert!(displayable(plan.as_ref()).indent(false).to_string().contains("WriteExec: folder=file:///"));
    let paths = collect(plan, state.task_ctx()).await.unwrap();
    assert_eq!(paths.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    let path = folder.path().join("runs/r1").join(paths[0].column(0).as_string::<i32>().value(0));
    assert_eq!(read(&path), all);

    let exec = WriteExec::try_new(source(&[vec![all.clone()]], &all.schema()), spec(folder.path(), WriteFormat::Csv)).unwrap();
    let decoded = decode_write(&encode_write(&exec), source(&[vec![all.clone()]], &all.schema())).unwrap();
    assert_eq!(decoded.spec(), exec.spec());
    let receipts = Receipt::from_batches(&collect(Arc::new(decoded), Arc::new(TaskContext::default())).await.unwrap()).unwrap();
    assert_eq!((receipts[0].rows, receipts[0].path.as_str()), (100, "part-a1-00000.csv"));
}

/// Gives out batches that do not compress, says when the last one was taken, then waits for ever or fails.
#[derive(Debug)]
struct Halting {
    schema: SchemaRef,
    drained: Arc<Notify>,
    fails: bool,
}

impl PartitionStream for Halting {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let batches = futures::stream::iter(0..80_u64).map(move |turn| {
            let noise = (0..65_536_u64).map(|i| ((turn << 32 | i).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i << 17) as i64);
            let noise: ArrayRef = Arc::new(Int64Array::from_iter_values(noise));
            Ok(RecordBatch::try_new(Arc::clone(&schema), vec![noise])?)
        });
        let (drained, fails) = (Arc::clone(&self.drained), self.fails);
        let end = futures::stream::once(async move {
            if fails {
                return Err(DataFusionError::Execution("the input failed".into()));
            }
            drained.notify_one();
            std::future::pending().await
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches.chain(end)))
    }
}

async fn halted_write(folder: &FsPath, fails: bool) -> String {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let drained = Arc::new(Notify::new());
    let halting = Halting { schema: Arc::clone(&schema), drained: Arc::clone(&drained), fails };
    let input = StreamingTableExec::try_new(schema, vec![Arc::new(halting)], None, [], false, None).unwrap();
    let plan = WriteExec::try_new(Arc::new(input), spec(folder, WriteFormat::Parquet)).unwrap();
    let mut receipts = plan.execute(0, Arc::new(TaskContext::default())).unwrap();
    let ended = tokio::select! {
        biased;
        receipt = receipts.next() => receipt.unwrap().unwrap_err().to_string(),
        () = drained.notified() => "dropped".into(),
    };
    // The upload had begun: something was there to be removed.
    if !fails {
        assert!(!run_files(folder).is_empty());
    }
    drop(receipts);
    ended
}

#[tokio::test]
async fn a_write_that_is_dropped_or_fails_leaves_nothing() {
    for (fails, expected) in [(false, "dropped"), (true, "the input failed")] {
        let folder = tempfile::tempdir().unwrap();
        let ended = halted_write(folder.path(), fails).await;
        assert!(ended.contains(expected), "{ended}");
        for _ in 0..500 {
            if run_files(folder.path()).is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(run_files(folder.path()), Vec::<String>::new());
    }
}

#[tokio::test]
async fn receipts_become_a_published_table() {
    let folder = tempfile::tempdir().unwrap();
    let all = rows(0, 1_000);
    let parts = [vec![all.slice(0, 300)], vec![all.slice(300, 700)]];
    let plan = Arc::new(WriteExec::try_new(source(&parts, &all.schema()), spec(folder.path(), WriteFormat::Parquet)).unwrap());
    let schema = Arc::clone(plan.stored_schema());
    let receipts =
        Receipt::from_batches(&collect(Arc::clone(&plan) as _, Arc::new(TaskContext::default())).await.unwrap()).unwrap();
    let metric = |name: &str| plan.metrics().unwrap().sum_by_name(name).unwrap().as_usize() as i64;
    assert_eq!(metric("rows_written"), 1_000);
    assert_eq!(metric("bytes_written"), receipts.iter().map(|receipt| receipt.bytes).sum::<i64>());
    let manifest = Manifest::new("c360", "r1", "2025-01-01", &schema, receipts).unwrap();
    let store = object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let table = PublishedTable::new(Arc::new(store), object_store::path::Path::default(), Log::Pointer);
    let version = table.commit(&table.begin().await.unwrap(), &manifest).await.unwrap();
    assert_eq!((version.seq, version.rows), (1, 1_000));
    fs::remove_file(folder.path().join("runs/r1").join(&manifest.files[0].path)).unwrap();
    let missing = table.commit(&table.begin().await.unwrap(), &manifest).await.unwrap_err();
    assert_eq!(missing.kind(), Kind::Unavailable);
}

/// A worker that stood still ends its task after the run was published without it.
#[tokio::test]
async fn a_task_that_was_overtaken_leaves_no_file_beside_a_published_table() {
    let folder = tempfile::tempdir().unwrap();
    let all = rows(0, 100);
    let attempt = |attempt: &str| WriteSpec { attempt: attempt.into(), ..spec(folder.path(), WriteFormat::Parquet) };
    let written = |spec: WriteSpec| write(source(&[vec![all.clone()]], &all.schema()), spec);
    let receipts = written(attempt("a2")).await.unwrap();
    let schema = stored_schema(&all.schema()).unwrap();
    let manifest = Manifest::new("c360", "r1", "2025-01-01", &schema, receipts).unwrap();
    let store = object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let table = PublishedTable::new(Arc::new(store), object_store::path::Path::default(), Log::Pointer);
    table.commit(&table.begin().await.unwrap(), &manifest).await.unwrap();
    let published = run_files(folder.path());
    let overtaken = written(attempt("a1")).await.unwrap_err();
    assert!(overtaken.to_string().contains("given up"), "{overtaken}");
    assert_eq!(run_files(folder.path()), published);
    // A later attempt is not kept from writing what its committer then finds published.
    let receipts = written(attempt("a3")).await.unwrap();
    assert_eq!(run_files(folder.path()).len(), published.len() + 1);
    let again = Manifest::new("c360", "r1", "2025-01-01", &schema, receipts).unwrap();
    assert_eq!(table.commit(&table.begin().await.unwrap(), &again).await.unwrap().seq, 1);
    assert_eq!(run_files(folder.path()), published);
}

#[test]
fn the_hash_does_not_depend_on_how_text_is_held() {
    let hash = |array: ArrayRef| {
        let folder = tempfile::tempdir().unwrap();
        let batch = RecordBatch::try_from_iter([("name", array)]).unwrap();
        let spec = WriteSpec { bounds: vec![], ..spec(folder.path(), WriteFormat::Parquet) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(write(source(&[vec![batch.clone()]], &batch.schema()), spec)).unwrap()[0].content
    };
    let plain = hash(Arc::new(StringArray::from(vec!["a", "b", "b"])));
    assert_eq!(hash(Arc::new(StringViewArray::from(vec!["b", "a", "b"]))), plain);
    let keys = Int32Array::from(vec![1, 0, 0]);
    assert_eq!(hash(Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from(vec!["b", "a"]))))), plain);
    assert_ne!(hash(Arc::new(StringArray::from(vec!["a", "b"]))), plain);
}
