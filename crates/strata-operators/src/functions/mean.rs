//! `exact_mean`: integers and decimals by a 128-bit sum and one rounding, doubles by an exact sum. Never adds a rounded number.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder, BooleanArray, Float64Array, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use strata_models::exact::{Moments, Sum};

use super::aggregate::{Aggregate, GroupState, each_included, included, signature};
use super::columnar::{expect_arity, primitive};
use super::exact::{Cells, binary, bytes_of_rows, counts};

const USAGE: &str = "exact_mean(x)";

/// `exact_mean(x)`: the mean of numbers, nulls skipped. `Float64`, null without rows. Errors: `Execution` beyond 128 bits.
pub(super) fn functions() -> Vec<Aggregate> {
    vec![Aggregate {
        name: "exact_mean",
        signature: signature(),
        coerce,
        returns: |_| DataType::Float64,
        state: |_| vec![("count", DataType::Int64), ("exact", DataType::Binary)],
        create,
        of_nothing: ScalarValue::Null,
    }]
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    expect_arity(USAGE, types.len(), 1)?;
    let found = &types[0];
    let coerced = match found {
        DataType::Decimal128(_, 0..=18) => found.clone(),
        DataType::Decimal32(precision, scale @ 0..) | DataType::Decimal64(precision, scale @ 0..) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::UInt64 => DataType::Decimal128(20, 0),
        _ if found.is_integer() => DataType::Int64,
        _ if found.is_floating() || *found == DataType::Null => DataType::Float64,
        _ if found.is_decimal() => {
            return plan_err!(
                "`{USAGE}` takes decimals of at most 38 digits, 0 to 18 of them after the point, not {found}: write `cast(x as double)`"
            );
        }
        _ => return plan_err!("`{USAGE}` takes numbers, not {found}: write `cast(x as double)`"),
    };
    Ok(vec![coerced])
}

fn create(args: &AccumulatorArgs) -> Result<Box<dyn GroupState>> {
    match args.expr_fields.first().map(|field| field.data_type()) {
        Some(DataType::Decimal128(_, scale)) => Ok(Box::new(WholeMean::new(Some(scale.unsigned_abs())))),
        Some(DataType::Int64) => Ok(Box::new(WholeMean::new(None))),
        _ => Ok(Box::new(FloatMean { cells: Cells::new(), counts: Vec::new() })),
    }
}

/// Means of doubles.
struct FloatMean {
    cells: Cells<Sum>,
    counts: Vec<i64>,
}

impl GroupState for FloatMean {
    fn groups(&self) -> usize {
        self.counts.len()
    }

    fn grow(&mut self, groups: usize) {
        self.cells.grow(groups);
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>) -> Result<()> {
        let numbers = primitive::<Float64Type>(&values[0])?;
        let included = included(numbers, filter);
        self.cells.update(numbers, groups, included.as_ref());
        each_included(groups, included.as_ref(), |_, group| self.counts[group] += 1);
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize]) -> Result<()> {
        for (count, group) in counts(&states[0])?.values().iter().zip(groups) {
            self.counts[*group] += count;
        }
        self.cells.merge(&states[1], groups)
    }

    fn values(&self, n: usize) -> Result<ArrayRef> {
        let groups = self.cells.first(n).zip(&self.counts);
        let means = groups.map(|(sum, n)| Moments { n: *n, sum: sum?.clone(), squares: Sum::new() }.mean());
        Ok(Arc::new(means.collect::<Float64Array>()))
    }

    fn states(&self, n: usize) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(Int64Array::from(self.counts[..n].to_vec())), self.cells.bytes(n)])
    }

    fn forget(&mut self, n: usize) {
        self.cells.forget(n);
        self.counts.drain(..n);
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.cells.size() + self.counts.capacity() * size_of::<i64>()
    }

    fn convert(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let numbers = primitive::<Float64Type>(&values[0])?;
        let included = included(numbers, filter);
        let ones = ones(numbers.len(), included.as_ref());
        Ok(vec![ones, bytes_of_rows::<Sum>(numbers, included.as_ref())])
    }
}

fn ones(rows: usize, included: Option<&NullBuffer>) -> ArrayRef {
    let ones: Vec<i64> = (0..rows).map(|row| i64::from(included.is_none_or(|included| included.is_valid(row)))).collect();
    Arc::new(Int64Array::from(ones))
}

/// Means of integers, and of decimals as integers over a power of ten.
struct WholeMean {
    sums: Vec<i128>,
    counts: Vec<i64>,
    /// The scale of decimals; `None` for integers.
    scale: Option<u8>,
}

impl WholeMean {
    fn new(scale: Option<u8>) -> Self {
        Self { sums: Vec::new(), counts: Vec::new(), scale }
    }

    fn add<T>(&mut self, values: &ArrayRef, groups: &[usize], filter: Option<&BooleanArray>) -> Result<()>
    where
        T: ArrowPrimitiveType,
        i128: From<T::Native>,
    {
        let numbers = primitive::<T>(values)?;
        let mut fits = true;
        each_included(groups, included(numbers, filter).as_ref(), |row, group| {
            let (sum, overflows) = self.sums[group].overflowing_add(i128::from(numbers.value(row)));
            self.sums[group] = sum;
            self.counts[group] += 1;
            fits &= !overflows;
        });
        if fits {
            return Ok(());
        }
        too_large()
    }
}

fn too_large() -> Result<()> {
    exec_err!("a sum in `{USAGE}` does not fit 128 bits: write `exact_mean(cast(x as double))`")
}

impl GroupState for WholeMean {
    fn groups(&self) -> usize {
        self.counts.len()
    }

    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>) -> Result<()> {
        match self.scale {
            None => self.add::<Int64Type>(&values[0], groups, filter),
            Some(_) => self.add::<Decimal128Type>(&values[0], groups, filter),
        }
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize]) -> Result<()> {
        let counts = counts(&states[0])?.values();
        for ((state, count), group) in binary(&states[1])?.iter().zip(counts).zip(groups) {
            let Some(state) = state else { continue };
            let Ok(bytes) = state.try_into() else {
                return exec_err!(
                    "a state of `{USAGE}` has {} bytes: the plan was made by another version, run it again",
                    state.len()
                );
            };
            let (sum, overflows) = self.sums[*group].overflowing_add(i128::from_le_bytes(bytes));
            if overflows {
                return too_large();
            }
            self.sums[*group] = sum;
            self.counts[*group] += count;
        }
        Ok(())
    }

    fn values(&self, n: usize) -> Result<ArrayRef> {
        let unit = 10_u128.pow(u32::from(self.scale.unwrap_or(0)));
        let groups = self.sums[..n].iter().zip(&self.counts);
        // 10^18 · 2^63 < 2^123.
        let means = groups.map(|(sum, count)| (*count > 0).then(|| ratio(*sum, u128::from(count.unsigned_abs()) * unit)));
        Ok(Arc::new(means.collect::<Float64Array>()))
    }

    fn states(&self, n: usize) -> Result<Vec<ArrayRef>> {
        let mut sums = BinaryBuilder::with_capacity(n, n * 16);
        for (sum, count) in self.sums[..n].iter().zip(&self.counts) {
            sums.append_option((*count > 0).then(|| sum.to_le_bytes()));
        }
        Ok(vec![Arc::new(Int64Array::from(self.counts[..n].to_vec())), Arc::new(sums.finish())])
    }

    fn forget(&mut self, n: usize) {
        self.sums.drain(..n);
        self.counts.drain(..n);
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sums.capacity() * size_of::<i128>() + self.counts.capacity() * size_of::<i64>()
    }

    fn convert(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let groups: Vec<usize> = (0..rows).collect();
        let mut state = Self::new(self.scale);
        state.grow(rows);
        state.update(values, &groups, filter)?;
        state.states(rows)
    }
}

/// `numerator / denominator` rounded once to the nearest double, ties to even; 0 < `denominator` < 2^127.
/// Long division to 55 or more significant bits, the last of which says whether anything follows.
fn ratio(numerator: i128, denominator: u128) -> f64 {
    let mut quotient = numerator.unsigned_abs() / denominator;
    let mut rest = numerator.unsigned_abs() % denominator;
    let mut shift = 0;
    while rest != 0 && quotient < 1 << 55 {
        rest <<= 1;
        quotient = quotient << 1 | u128::from(rest >= denominator);
        if rest >= denominator {
            rest -= denominator;
        }
        shift += 1;
    }
    // At least 56 bits are there when a rest is: the last bit is below every tie, so it may only say "more".
    quotient |= u128::from(rest != 0);
    let magnitude = quotient as f64 * 0.5_f64.powi(shift);
    if numerator < 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::ratio;
    use proptest::prelude::*;

    #[test]
    fn known_quotients_are_rounded_once() {
        assert_eq!(ratio(1, 3), 1.0 / 3.0);
        assert_eq!(ratio(-7, 2), -3.5);
        assert_eq!(ratio(0, 5), 0.0);
        assert_eq!(ratio(i128::MAX, 1), i128::MAX as f64);
        assert_eq!(ratio(1, (1 << 127) - 1), 2.0_f64.powi(-127));
        // 2^53 + 1 is a tie and goes to even; 3/2 of the last place more goes up.
        assert_eq!(ratio((1 << 53) + 1, 1), 9_007_199_254_740_992.0);
        assert_eq!(ratio((1 << 55) + 5, 4), 9_007_199_254_740_994.0);
    }

    proptest! {
        #[test]
        fn small_quotients_are_the_divisions_of_doubles(a in -(1_i64 << 53)..1 << 53, b in 1_u64..1 << 53) {
            prop_assert_eq!(ratio(i128::from(a), u128::from(b)), a as f64 / b as f64);
        }
    }
}
