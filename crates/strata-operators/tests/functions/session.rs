//! Sessions and tables of the function tests. Never asserts.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::execution::config::SessionConfig;
use datafusion::logical_expr::SortExpr;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use strata_operators::functions::register;

/// How a query is run; its answer must not depend on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) partitions: usize,
    pub(super) batch_size: usize,
    pub(super) shuffle: u64,
    /// Partial aggregation gives up at once and converts rows to states.
    pub(super) skip_partial: bool,
}

pub(super) const PLAIN: Shape = Shape { partitions: 1, batch_size: 8192, shuffle: 0, skip_partial: false };

/// 1, 2 and 7 partitions, small and large batches, three orders, with and without partial aggregation.
pub(super) fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for partitions in [1, 2, 7] {
        for batch_size in [3, 8192] {
            for skip_partial in [false, true] {
                shapes.push(Shape { partitions, batch_size, shuffle: shapes.len() as u64, skip_partial });
            }
        }
    }
    shapes
}

pub(super) fn session(shape: Shape) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(shape.partitions).with_batch_size(shape.batch_size);
    let options = &mut config.options_mut().execution;
    if shape.skip_partial {
        options.skip_partial_aggregation_probe_rows_threshold = 0;
        options.skip_partial_aggregation_probe_ratio_threshold = 0.0;
    }
    let mut context = SessionContext::new_with_config(config);
    register(&mut context).unwrap();
    context
}

/// The rows in another order, a function of the seed; seed 0 keeps them.
pub(super) fn shuffled(batch: &RecordBatch, seed: u64) -> RecordBatch {
    let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
    if seed > 0 {
        let scramble = |row: u32| {
            (u64::from(row) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ seed << 7).rotate_left(31).wrapping_mul(seed | 1)
        };
        order.sort_by_key(|row| scramble(*row));
    }
    take_record_batch(batch, &UInt32Array::from(order)).unwrap()
}

/// `t` in as many partitions as the shape has, each of batches of the shape's size.
pub(super) fn with_table(shape: Shape, batch: &RecordBatch) -> SessionContext {
    let batch = shuffled(batch, shape.shuffle);
    let rows = batch.num_rows().div_ceil(shape.partitions).max(1);
    let mut partitions = vec![Vec::new(); shape.partitions];
    for (partition, batches) in partitions.iter_mut().enumerate() {
        let end = batch.num_rows().min((partition + 1) * rows);
        for start in (partition * rows..end).step_by(shape.batch_size) {
            batches.push(batch.slice(start, shape.batch_size.min(end - start)));
        }
    }
    let context = session(shape);
    let table = MemTable::try_new(batch.schema(), partitions).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    context
}

/// `t` in one partition that says it is sorted by `order`.
pub(super) fn with_sorted_table(shape: Shape, batch: &RecordBatch, order: Vec<SortExpr>) -> SessionContext {
    let context = session(shape);
    let batches = (0..batch.num_rows()).step_by(shape.batch_size);
    let batches = batches.map(|start| batch.slice(start, shape.batch_size.min(batch.num_rows() - start))).collect();
    let table = MemTable::try_new(batch.schema(), vec![batches]).unwrap().with_sort_order(vec![order]);
    context.register_table("t", Arc::new(table)).unwrap();
    context
}

pub(super) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

pub(super) async fn query(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    context.sql(sql).await?.collect().await
}

/// The answer as text; doubles are printed so that different ones differ.
pub(super) async fn table(context: &SessionContext, sql: &str) -> String {
    let batches = query(context, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    pretty_format_batches(&batches).unwrap().to_string()
}

/// The first row's columns as text.
pub(super) async fn row(context: &SessionContext, sql: &str) -> Vec<String> {
    let table = table(context, sql).await;
    let line = table.lines().nth(3).unwrap_or_default();
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// The message of a query that must fail, at planning or while it runs.
pub(super) async fn failure(context: &SessionContext, sql: &str) -> String {
    match query(context, sql).await {
        Ok(batches) => panic!("{sql} gave {}", pretty_format_batches(&batches).unwrap()),
        Err(error) => error.to_string(),
    }
}

/// Runs a query and returns its answer with the sums of its operators' counters.
pub(super) async fn measured(context: &SessionContext, sql: &str) -> (String, BTreeMap<String, usize>, String) {
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let batches = collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
    let mut counters = BTreeMap::new();
    count(&plan, &mut counters);
    let text = datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string();
    (pretty_format_batches(&batches).unwrap().to_string(), counters, text)
}

fn count(plan: &Arc<dyn ExecutionPlan>, counters: &mut BTreeMap<String, usize>) {
    for metric in plan.metrics().iter().flat_map(|metrics| metrics.iter()) {
        *counters.entry(metric.value().name().to_owned()).or_default() += metric.value().as_usize();
    }
    for child in plan.children() {
        count(child, counters);
    }
}
