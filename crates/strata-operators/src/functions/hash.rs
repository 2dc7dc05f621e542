//! `strata_hash64`: one 64-bit word of several columns, the same in every process of a version. Never for results: what it gives may change.

use std::sync::Arc;

use arrow::array::UInt64Array;
use arrow::datatypes::DataType;
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::scalar::Scalar;

/// Name of the function; pipelines cannot call it.
pub const HASH64: &str = "strata_hash64";
const SEED: QualityRandomState = QualityRandomState::with_seed(0x0057_4e45_5253);

pub(super) fn functions() -> Vec<Scalar> {
    vec![Scalar::new(HASH64, DataType::UInt64, coerce, hash)]
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [] => plan_err!("`{HASH64}` takes at least one column"),
        _ => Ok(types.to_vec()),
    }
}

/// A hash of each row over all columns: equal rows have equal hashes, null is a value. Never null.
fn hash(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let columns = ColumnarValue::values_to_arrays(&args.args)?;
    let mut hashes = vec![0; args.number_rows];
    create_hashes(&columns, &SEED, &mut hashes)?;
    Ok(ColumnarValue::Array(Arc::new(UInt64Array::from(hashes))))
}
