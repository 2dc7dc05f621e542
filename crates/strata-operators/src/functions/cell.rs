//! `strata_cell` and `strata_cell_factor`: the cell of a table of margins that a row lies in, and what stands in that cell. Never counts.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int32Array, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use hashbrown::HashMap;

pub use strata_models::rake::CELLS_MAX;

use super::columnar::primitive;
use super::scalar::Scalar;
use super::values::HASHER;

/// Name of the function that numbers cells; pipelines cannot call it.
pub const CELL: &str = "strata_cell";
/// Name of the function that looks up a number by cell; pipelines cannot call it.
pub const CELL_FACTOR: &str = "strata_cell_factor";

const USAGE: &str = "strata_cell(levels, column, ..)";
const FACTOR_USAGE: &str = "strata_cell_factor(factors, levels, column, ..)";
/// The number of a row that lies in no cell.
const NONE: i32 = -1;
/// Numbers between the least and the greatest level are looked up in a table where they are no more than so many.
const DENSE_MAX: usize = 65_536;

pub(super) fn functions() -> Vec<Scalar> {
    vec![
        Scalar::new(CELL, DataType::Int32, |types| pairs(USAGE, types), cell),
        Scalar::new(CELL_FACTOR, DataType::Float64, coerce_factor, cell_factor),
    ]
}

/// Whether values of this type can be levels. Texts are not: to look each up takes as long as to group by it.
#[must_use]
pub fn has_levels(data_type: &DataType) -> bool {
    level_type(data_type).is_some()
}

fn level_type(found: &DataType) -> Option<DataType> {
    match found {
        DataType::Boolean => Some(DataType::Int64),
        DataType::UInt64 => None,
        integer if integer.is_integer() => Some(DataType::Int64),
        _ => None,
    }
}

fn pairs(usage: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    if types.is_empty() || !types.len().is_multiple_of(2) {
        return plan_err!("{} arguments given: write `{usage}`", types.len());
    }
    let mut out = vec![];
    for found in types.iter().skip(1).step_by(2) {
        let Some(level) = level_type(found) else {
            return plan_err!("levels of `{usage}` are integers or booleans, not {found}");
        };
        out.push(DataType::List(Arc::new(Field::new_list_field(level.clone(), true))));
        out.push(level);
    }
    Ok(out)
}

fn coerce_factor(types: &[DataType]) -> Result<Vec<DataType>> {
    let Some((_, rest)) = types.split_first() else { return plan_err!("no arguments given: write `{FACTOR_USAGE}`") };
    let mut out = vec![DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)))];
    out.extend(pairs(FACTOR_USAGE, rest)?);
    Ok(out)
}

/// The number of the cell of each row: the place of the first column's value among its levels, times the levels of the second column, plus its
/// place, and so on, `Int32` from 0; null where a column is null or holds no level. Levels are lists of different values, none of them null, of
/// at most [`CELLS_MAX`] cells. Errors: `Plan` for other levels.
fn cell(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let Cells { cells, some_outside, one } = Cells::of(USAGE, &args.args, args.number_rows)?;
    let nulls = some_outside.then(|| NullBuffer::from_iter(cells.iter().map(|cell| *cell >= 0)));
    given(Arc::new(Int32Array::new(cells.into(), nulls)), one)
}

/// What the list has at the cell of each row; null where the row is in no cell or the list has null there. Errors: `Plan` where the list is not
/// as long as there are cells, or for levels as in [`cell`].
fn cell_factor(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let Some((factors, pairs)) = args.args.split_first() else {
        return internal_err!("`{CELL_FACTOR}` was planned without arguments");
    };
    let factors = list(FACTOR_USAGE, factors)?;
    let factors = primitive::<Float64Type>(&factors)?;
    let all: usize = pairs.iter().step_by(2).map(|levels| Ok(list(FACTOR_USAGE, levels)?.len())).product::<Result<usize>>()?;
    if all != factors.len() {
        return plan_err!("`{FACTOR_USAGE}` has {} factors for {all} cells", factors.len());
    }
    let Cells { cells, some_outside, one } = Cells::of(FACTOR_USAGE, pairs, args.number_rows)?;
    let values = factors.values();
    let out: Vec<f64> = cells.iter().map(|cell| values.get(*cell as usize).copied().unwrap_or(0.0)).collect();
    let has = |cell: &i32| *cell >= 0 && factors.is_valid(*cell as usize);
    let some_without = some_outside || (factors.null_count() > 0 && !cells.iter().all(has));
    let nulls = some_without.then(|| NullBuffer::from_iter(cells.iter().map(has)));
    given(Arc::new(Float64Array::new(out.into(), nulls)), one)
}

fn given(out: ArrayRef, one: bool) -> Result<ColumnarValue> {
    Ok(if one { ColumnarValue::Scalar(ScalarValue::try_from_array(&out, 0)?) } else { ColumnarValue::Array(out) })
}

/// The values of a list literal. Errors: `Plan` for anything else.
fn list(usage: &str, argument: &ColumnarValue) -> Result<ArrayRef> {
    match argument {
        ColumnarValue::Scalar(ScalarValue::List(list)) if list.len() == 1 && list.is_valid(0) => Ok(list.value(0)),
        _ => plan_err!("levels and factors of `{usage}` are literal lists"),
    }
}

/// The cells of a batch.
struct Cells {
    /// Of each row, [`NONE`] for none.
    cells: Vec<i32>,
    /// Whether a row may lie in none.
    some_outside: bool,
    /// Whether all arguments are literals, which are one row.
    one: bool,
}

impl Cells {
    fn of(usage: &str, pairs: &[ColumnarValue], rows: usize) -> Result<Self> {
        let one = pairs.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if one { 1 } else { rows };
        let (mut all, mut columns) = (1_usize, vec![]);
        for pair in pairs.chunks(2) {
            let [levels, column] = pair else { return internal_err!("`{usage}` was planned with half a pair") };
            let (levels, column) = (list(usage, levels)?, column.to_array(rows)?);
            all = all.saturating_mul(levels.len());
            if all > CELLS_MAX || levels.null_count() > 0 {
                return plan_err!("levels of `{usage}` are not null, and of {CELLS_MAX} cells at most");
            }
            columns.push((primitive::<Int64Type>(&levels)?.clone(), primitive::<Int64Type>(&column)?.clone()));
        }
        if let Some(cells) = of_differences(&columns, rows) {
            return Ok(Self { cells, some_outside: false, one });
        }
        let mut out = Self { cells: vec![0; rows], some_outside: true, one };
        for (levels, column) in &columns {
            out.go_on(levels.values(), column.values());
            if let Some(nulls) = column.nulls().filter(|n| n.null_count() > 0) {
                out.cells.iter_mut().zip(nulls).filter(|(_, valid)| !valid).for_each(|(cell, _)| *cell = NONE);
            }
        }
        Ok(out)
    }

    /// Goes on to the place of each value among the levels; from none, and to none, it is none.
    fn go_on(&mut self, levels: &[i64], column: &[i64]) {
        let n = levels.len() as i32;
        let (least, most) = (levels.iter().min().copied().unwrap_or(0), levels.iter().max().copied().unwrap_or(0));
        if most.abs_diff(least) < DENSE_MAX as u64 {
            let mut table = vec![NONE; most.abs_diff(least) as usize + 1];
            levels.iter().zip(0..).for_each(|(level, code)| table[level.abs_diff(least) as usize] = code);
            for (cell, value) in self.cells.iter_mut().zip(column) {
                let place = value.wrapping_sub(least) as u64;
                on(cell, n, table.get(place as usize).copied().unwrap_or(NONE));
            }
            return;
        }
        let mut table = HashMap::with_capacity_and_hasher(levels.len(), HASHER);
        table.extend(levels.iter().copied().zip(0..));
        self.cells.iter_mut().zip(column).for_each(|(cell, value)| on(cell, n, table.get(value).copied().unwrap_or(NONE)));
    }
}

/// The cells of rows where the levels of every column follow one another and every value is one of them: places are differences then.
fn of_differences(columns: &[(Int64Array, Int64Array)], rows: usize) -> Option<Vec<i32>> {
    let (mut cells, mut signs) = (vec![0_i32; rows], 0_i64);
    for (levels, column) in columns {
        let (least, n) = (*levels.values().first()?, levels.len() as i32);
        let is_run = levels.values().iter().zip(0..).all(|(level, place)| level.checked_sub(least) == Some(place));
        if !is_run || column.null_count() > 0 {
            return None;
        }
        let most = least + i64::from(n) - 1;
        for (cell, value) in cells.iter_mut().zip(column.values()) {
            let place = value.wrapping_sub(least);
            // Where a value is below the first level or above the last, a difference has a sign.
            signs |= place | most.wrapping_sub(*value);
            *cell = cell.wrapping_mul(n).wrapping_add(place as i32);
        }
    }
    (signs >= 0).then_some(cells)
}

/// Goes on to the place `code` among `levels`; from none, and to none, it is none.
fn on(cell: &mut i32, levels: i32, code: i32) {
    let none = (*cell | code) >> 31;
    *cell = (cell.wrapping_mul(levels).wrapping_add(code)) | none;
}
