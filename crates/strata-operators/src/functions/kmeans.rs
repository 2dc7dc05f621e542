//! `kmeans_assign` and `kmeans_distance`: the apply pass of k-means over columns. Never moves a centroid.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::columnar::{number_type, primitive};
use super::scalar::Scalar;

/// Rows worked on at once: three columns of them stay in the first-level cache.
const CHUNK: usize = 1_024;
const USAGE: &str = "kmeans_assign(centroids, k, f1, .., fd)";

pub(super) fn functions() -> Vec<Scalar> {
    vec![
        Scalar::new("kmeans_assign", DataType::Int32, coerce, |args| {
            nearest(args, |nearest| Arc::new(Int32Array::new(nearest.clusters.into(), nearest.nulls)))
        }),
        Scalar::new("kmeans_distance", DataType::Float64, coerce, |args| {
            nearest(args, |nearest| Arc::new(Float64Array::new(nearest.distances.into(), nearest.nulls)))
        }),
    ]
}

/// The nearest centroid of each row and the squared Euclidean distance to it, features summed in their order, ties to the lowest number.
/// `nulls` marks rows where a feature is null or not a number.
struct Nearest {
    clusters: Vec<i32>,
    distances: Vec<f64>,
    nulls: Option<NullBuffer>,
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    if types.len() < 3 {
        return plan_err!("{} arguments given: write `{USAGE}`", types.len());
    }
    let mut coerced = vec![DataType::Binary, DataType::Int64];
    for found in &types[2..] {
        coerced.push(number_type(USAGE, found)?);
    }
    Ok(coerced)
}

fn nearest(args: &ScalarFunctionArgs, output: fn(Nearest) -> ArrayRef) -> Result<ColumnarValue> {
    let features = &args.args[2..];
    let centroids = centroids(&args.args[0], &args.args[1], features.len())?;
    let one = features.iter().all(|feature| matches!(feature, ColumnarValue::Scalar(_)));
    let rows = if one { 1 } else { args.number_rows };
    let arrays = features.iter().map(|feature| feature.to_array(rows)).collect::<Result<Vec<_>>>()?;
    let columns = arrays.iter().map(|array| primitive::<Float64Type>(array)).collect::<Result<Vec<_>>>()?;
    let result = output(assign(&centroids, &columns, rows));
    if one {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
    }
    Ok(ColumnarValue::Array(result))
}

/// k × d finite numbers, row by row. Errors: `Plan`.
fn centroids(bytes: &ColumnarValue, k: &ColumnarValue, d: usize) -> Result<Vec<f64>> {
    let ColumnarValue::Scalar(ScalarValue::Binary(Some(bytes))) = bytes else {
        return plan_err!("the centroids of `{USAGE}` are a binary literal");
    };
    let k = match k {
        ColumnarValue::Scalar(ScalarValue::Int64(Some(k))) => usize::try_from(*k).unwrap_or(0),
        _ => 0,
    };
    if k == 0 || k > i32::MAX as usize {
        return plan_err!("k of `{USAGE}` is a positive integer literal");
    }
    if k.checked_mul(d).and_then(|n| n.checked_mul(8)) != Some(bytes.len()) {
        return plan_err!(
            "the centroids of `{USAGE}` are {} bytes: write {k} x {d} little-endian doubles, row by row",
            bytes.len()
        );
    }
    let (doubles, _) = bytes.as_chunks::<8>();
    let centroids: Vec<f64> = doubles.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    if centroids.iter().any(|value| !value.is_finite()) {
        return plan_err!("a centroid of `{USAGE}` is not finite: solve the clusters again without such features");
    }
    Ok(centroids)
}

fn assign(centroids: &[f64], columns: &[&Float64Array], rows: usize) -> Nearest {
    let mut clusters = vec![0_i32; rows];
    let mut distances = vec![f64::INFINITY; rows];
    let mut valid = vec![true; rows];
    let mut sums = [0.0_f64; CHUNK];
    for start in (0..rows).step_by(CHUNK) {
        let end = rows.min(start + CHUNK);
        let chunk = start..end;
        for (cluster, centroid) in centroids.chunks_exact(columns.len()).enumerate() {
            let sums = &mut sums[..end - start];
            sums.fill(0.0);
            for (column, centre) in columns.iter().zip(centroid) {
                for (sum, value) in sums.iter_mut().zip(&column.values()[chunk.clone()]) {
                    let difference = value - centre;
                    *sum += difference * difference;
                }
            }
            let best = distances[chunk.clone()].iter_mut().zip(&mut clusters[chunk.clone()]);
            for (sum, (distance, nearest)) in sums.iter().zip(best) {
                let closer = *sum < *distance;
                *distance = if closer { *sum } else { *distance };
                *nearest = if closer { cluster as i32 } else { *nearest };
            }
        }
        for column in columns {
            for (valid, value) in valid[chunk.clone()].iter_mut().zip(&column.values()[chunk.clone()]) {
                *valid &= !value.is_nan();
            }
        }
    }
    let mut nulls = Some(NullBuffer::from(valid));
    for column in columns {
        nulls = NullBuffer::union(nulls.as_ref(), column.nulls());
    }
    Nearest { clusters, distances, nulls: nulls.filter(|nulls| nulls.null_count() > 0) }
}
