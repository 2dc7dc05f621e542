//! `cents`: money as 64-bit integers. Never loses a digit silently.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, PrimitiveArray};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::columnar::{each_array, expect_arity, primitive, try_unary};
use super::scalar::Scalar;

const USAGE: &str = "cents(x)";

pub(super) fn functions() -> Vec<Scalar> {
    vec![Scalar::new("cents", DataType::Int64, coerce, cents)]
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    expect_arity(USAGE, types.len(), 1)?;
    let found = &types[0];
    let coerced = match found {
        DataType::Decimal128(..) => found.clone(),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => DataType::Decimal128(*precision, *scale),
        DataType::UInt64 => DataType::Decimal128(20, 0),
        _ if found.is_integer() || *found == DataType::Null => DataType::Int64,
        _ if found.is_floating() => DataType::Float64,
        DataType::Decimal256(..) => {
            return plan_err!(
                "`{USAGE}` takes decimals of at most 38 digits, not {found}: write `cents(cast(x as decimal(38, 2)))`"
            );
        }
        _ => {
            return plan_err!(
                "`{USAGE}` takes a decimal, an integer or a double, not {found}: write `cents(cast(x as decimal(18, 2)))`"
            );
        }
    };
    Ok(vec![coerced])
}

/// Money in cents: x × 100. `Int64`, null for null. Decimals and integers are exact; a double is `x * 100` rounded to the nearest integer, half away from zero.
/// Errors: `Execution` when the value does not fit 64 bits, is not a number, or has digits below a cent.
fn cents(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let argument = &args.args[0];
    match argument.data_type() {
        DataType::Decimal128(_, scale) => each_array(argument, |array| decimal_cents(primitive::<Decimal128Type>(array)?, scale)),
        DataType::Float64 => try_unary::<Float64Type, Int64Type>(argument, double_cents),
        _ => try_unary::<Int64Type, Int64Type>(argument, |value| match value.checked_mul(100) {
            Some(cents) => Ok(cents),
            None => exec_err!("`cents({value})` does not fit 64 bits: it takes amounts up to 92233720368547758"),
        }),
    }
}

fn decimal_cents(array: &PrimitiveArray<Decimal128Type>, scale: i8) -> Result<ArrayRef> {
    let shift = u32::from((i16::from(scale) - 2).unsigned_abs());
    let Some(factor) = 10_i128.checked_pow(shift) else {
        return plan_err!("`{USAGE}` cannot hold scale {scale}: write `cents(cast(x as decimal(38, 2)))`");
    };
    if factor == 1
        && let Some(cents) = narrowed(array)
    {
        return Ok(Arc::new(cents));
    }
    let out = array.try_unary::<_, Int64Type, _>(|value| {
        let cents = if scale <= 2 { value.checked_mul(factor) } else { Some(value / factor) };
        if scale > 2 && value % factor != 0 {
            return exec_err!(
                "`{USAGE}` would lose digits below a cent of a decimal of scale {scale}: write `cents(round(x, 2))`"
            );
        }
        match cents.and_then(|cents| i64::try_from(cents).ok()) {
            Some(cents) => Ok(cents),
            None => {
                exec_err!("`{USAGE}` of a decimal does not fit 64 bits: it takes amounts up to 92233720368547758.07")
            }
        }
    })?;
    Ok(Arc::new(out))
}

/// Cents that are cents already, without a look at each; `None` where one does not fit, if only under a null.
fn narrowed(array: &PrimitiveArray<Decimal128Type>) -> Option<PrimitiveArray<Int64Type>> {
    let mut lost = 0;
    let narrow = |value: &i128| {
        let cents = *value as i64;
        lost |= i128::from(cents) ^ value;
        cents
    };
    let cents: Vec<i64> = array.values().iter().map(narrow).collect();
    (lost == 0).then(|| PrimitiveArray::new(cents.into(), array.nulls().cloned()))
}

fn double_cents(value: f64) -> Result<i64> {
    let cents = (value * 100.0).round();
    // 2^63 is exact as a double and the first value that does not fit.
    let fits = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;
    if fits.contains(&cents) {
        return Ok(cents as i64);
    }
    exec_err!("`cents({value})` does not fit 64 bits: leave such rows out with `where` or write `nullif`")
}
