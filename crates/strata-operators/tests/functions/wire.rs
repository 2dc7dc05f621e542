//! Encode, decode, execute: what crosses the wire gives the same answer. Never uses a codec of ours: names and literals are enough.

use std::sync::Arc;

use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::physical_plan::collect;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use datafusion_proto::bytes::{logical_plan_from_bytes, logical_plan_to_bytes, physical_plan_from_bytes, physical_plan_to_bytes};

use super::aggregates::{ALL, sample};
use super::session::{PLAIN, Shape, session, with_table};

const SCALARS: &str = "select g, d, cents(price) as cents, age_years(day, date '2024-03-01') as age, days_between(day, date '2024-03-01') as days,
    local_date(ts, 'Europe/Berlin') as local, local_hour(ts, 'America/New_York') as hour, local_isodow(ts, 'UTC') as dow, daypart(local_hour(ts, 'UTC')) as part,
    prn('seed:42', 'panel', i) as u, kmeans_assign(X'00000000000000000000000000002440', 2, d) as cluster, kmeans_distance(X'00000000000000000000000000002440', 2, d) as distance
    from t where i is not null";

async fn files(shape: Shape) -> (tempfile::TempDir, SessionContext) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t").to_str().unwrap().to_owned();
    let source = with_table(PLAIN, &sample());
    source.sql("select * from t").await.unwrap().write_parquet(&path, DataFrameWriteOptions::new(), None).await.unwrap();
    let context = session(shape);
    context.register_parquet("t", &path, ParquetReadOptions::default()).await.unwrap();
    (folder, context)
}

async fn round_trips(sql: &str, shape: Shape) {
    let (_folder, context) = files(shape).await;
    let logical = context.sql(sql).await.unwrap().into_optimized_plan().unwrap();
    let physical = context.state().create_physical_plan(&logical).await.unwrap();
    // Encoded first: an executed plan carries the filter that its own run learnt.
    let bytes = physical_plan_to_bytes(Arc::clone(&physical)).unwrap();
    let expected = collect(Arc::clone(&physical), context.task_ctx()).await.unwrap();
    let expected = pretty_format_batches(&expected).unwrap().to_string();
    assert!(expected.lines().count() > 10);

    let other = session(shape);
    let logical = logical_plan_to_bytes(&logical).unwrap();
    let decoded = logical_plan_from_bytes(&logical, &other.task_ctx()).unwrap();
    let plan = other.state().create_physical_plan(&decoded).await.unwrap();
    let answer = collect(plan, other.task_ctx()).await.unwrap();
    assert_eq!(pretty_format_batches(&answer).unwrap().to_string(), expected);

    let decoded = physical_plan_from_bytes(&bytes, &other.task_ctx()).unwrap();
    let answer = collect(decoded, other.task_ctx()).await.unwrap();
    assert_eq!(pretty_format_batches(&answer).unwrap().to_string(), expected);
}

#[tokio::test]
async fn aggregates_cross_the_wire() {
    for shape in [PLAIN, Shape { partitions: 3, ..PLAIN }, Shape { partitions: 3, skip_partial: true, ..PLAIN }] {
        round_trips(&format!("select g, {ALL} from t group by g order by g"), shape).await;
    }
}

#[tokio::test]
async fn scalars_cross_the_wire() {
    round_trips(&format!("{SCALARS} order by i, d, g limit 100"), PLAIN).await;
}
