//! Reading arguments that may be a column or one value, without a `ScalarValue` per row. Never casts: coercion did.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::compute;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, internal_err, plan_err};
use datafusion::logical_expr::ColumnarValue;

/// Checks the number of arguments. Errors: `Plan`, showing `usage`.
pub(super) fn expect_arity(usage: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    plan_err!("{found} arguments given: write `{usage}`")
}

/// What a dictionary holds, or the type itself.
pub(super) fn undictionaried(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => undictionaried(values),
        other => other,
    }
}

/// `Date32` where it can be one without losing anything. Errors: `Plan`, naming the cast to write.
pub(super) fn date_type(usage: &str, found: &DataType) -> Result<DataType> {
    match found {
        DataType::Date32 | DataType::Date64 | DataType::Null => Ok(DataType::Date32),
        DataType::Timestamp(..) => plan_err!(
            "`{usage}` takes dates, not a timestamp: write `local_date(ts, 'Europe/Berlin')` with the zone the day is counted in"
        ),
        other => plan_err!("`{usage}` takes dates, not {other}: write `cast(x as date)`"),
    }
}

/// `Utf8` for any text. Errors: `Plan`.
pub(super) fn text_type(usage: &str, found: &DataType) -> Result<DataType> {
    match undictionaried(found) {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Ok(DataType::Utf8),
        other => plan_err!("`{usage}` takes text, not {other}: write `cast(x as varchar)`"),
    }
}

/// `Float64` for any number. Errors: `Plan`.
pub(super) fn number_type(usage: &str, found: &DataType) -> Result<DataType> {
    if found.is_numeric() || *found == DataType::Null {
        return Ok(DataType::Float64);
    }
    plan_err!("`{usage}` takes numbers, not {found}: write `cast(x as double)`")
}

/// The text of a literal argument. Errors: `Plan` when it is a column, null or no text.
pub(super) fn literal_text<'a>(usage: &str, what: &str, argument: &'a ColumnarValue) -> Result<&'a str> {
    let ColumnarValue::Scalar(scalar) = argument else {
        return plan_err!("{what} of `{usage}` must be a literal, not a column");
    };
    match scalar.try_as_str() {
        Some(Some(text)) => Ok(text),
        _ => plan_err!("{what} of `{usage}` must be a text literal that is not null"),
    }
}

/// The array as this primitive type. Errors: `Internal` when coercion was skipped.
pub(super) fn primitive<T: ArrowPrimitiveType>(array: &dyn Array) -> Result<&PrimitiveArray<T>> {
    match array.as_primitive_opt::<T>() {
        Some(array) => Ok(array),
        None => internal_err!("expected {} values and got {}", T::DATA_TYPE, array.data_type()),
    }
}

/// `function` over a column or one value; null gives null.
pub(super) fn unary<A, O>(argument: &ColumnarValue, function: impl Fn(A::Native) -> O::Native) -> Result<ColumnarValue>
where
    A: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    each_array(argument, |array| Ok(Arc::new(primitive::<A>(array)?.unary::<_, O>(&function)) as ArrayRef))
}

/// `function` over a column or one value; null gives null, and the first failure is the call's.
pub(super) fn try_unary<A, O>(
    argument: &ColumnarValue,
    function: impl Fn(A::Native) -> Result<O::Native>,
) -> Result<ColumnarValue>
where
    A: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    each_array(argument, |array| Ok(Arc::new(primitive::<A>(array)?.try_unary::<_, O, _>(&function)?) as ArrayRef))
}

/// An array function applied to a column, or to one value as an array of length 1.
pub(super) fn each_array(argument: &ColumnarValue, function: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<ColumnarValue> {
    match argument {
        ColumnarValue::Array(array) => Ok(ColumnarValue::Array(function(array)?)),
        ColumnarValue::Scalar(scalar) => {
            let result = function(&scalar.to_array_of_size(1)?)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?))
        }
    }
}

/// `function` over two columns, a column and one value, or two values; a null on either side gives null.
pub(super) fn binary<A, B, O>(
    left: &ColumnarValue,
    right: &ColumnarValue,
    function: impl Fn(A::Native, B::Native) -> O::Native,
) -> Result<ColumnarValue>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    match (left, right) {
        (ColumnarValue::Array(left), ColumnarValue::Array(right)) => {
            if left.len() != right.len() {
                return exec_err!("columns of {} and {} rows in one call", left.len(), right.len());
            }
            let out: PrimitiveArray<O> = compute::binary(primitive::<A>(left)?, primitive::<B>(right)?, function)?;
            Ok(ColumnarValue::Array(Arc::new(out)))
        }
        (_, ColumnarValue::Scalar(right)) => match native::<B>(right)? {
            Some(right) => unary::<A, O>(left, |left| function(left, right)),
            None => null::<O>(),
        },
        (ColumnarValue::Scalar(left), _) => match native::<A>(left)? {
            Some(left) => unary::<B, O>(right, |right| function(left, right)),
            None => null::<O>(),
        },
    }
}

fn native<T: ArrowPrimitiveType>(scalar: &ScalarValue) -> Result<Option<T::Native>> {
    let array = scalar.to_array_of_size(1)?;
    let array = primitive::<T>(&array)?;
    Ok(array.is_valid(0).then(|| array.value(0)))
}

fn null<O: ArrowPrimitiveType>() -> Result<ColumnarValue> {
    Ok(ColumnarValue::Scalar(ScalarValue::try_from(&O::DATA_TYPE)?))
}
