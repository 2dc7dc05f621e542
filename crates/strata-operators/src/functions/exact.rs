//! Exact float sums, means and variances per group, whatever the order of rows. Never rounds before the result is asked for.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Float64Array, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use strata_models::exact::{Moments, Sum};

use super::aggregate::{Aggregate, GroupState, each_included, included, signature};
use super::columnar::{expect_arity, number_type, primitive};

/// Over doubles, nulls skipped, null without rows: `exact_sum(x)`, the population and sample variances `exact_var_pop(x)` and
/// `exact_var_samp(x)` (null below two rows), their roots `exact_stddev_pop(x)` and `exact_stddev_samp(x)`, each `Float64`; and
/// `exact_moments(x)`, the bytes of `Moments`, `Binary`. Source: Neal 2015.
pub(super) fn functions() -> Vec<Aggregate> {
    vec![
        number("exact_sum", |types| one_number("exact_sum(x)", types), |_| Ok(Box::new(Exact::new(Output::Number(sum))))),
        number(
            "exact_var_pop",
            |types| one_number("exact_var_pop(x)", types),
            |_| Ok(Box::new(Exact::new(Output::Number(Moments::variance_population)))),
        ),
        number(
            "exact_var_samp",
            |types| one_number("exact_var_samp(x)", types),
            |_| Ok(Box::new(Exact::new(Output::Number(Moments::variance_sample)))),
        ),
        number(
            "exact_stddev_pop",
            |types| one_number("exact_stddev_pop(x)", types),
            |_| Ok(Box::new(Exact::new(Output::Number(|of: &Moments| of.variance_population().map(f64::sqrt))))),
        ),
        number(
            "exact_stddev_samp",
            |types| one_number("exact_stddev_samp(x)", types),
            |_| Ok(Box::new(Exact::new(Output::Number(|of: &Moments| of.variance_sample().map(f64::sqrt))))),
        ),
        state_of::<Moments>("exact_moments", |types| one_number("exact_moments(x)", types)),
    ]
}

/// What is kept per group: additions commute, and equal contents give equal bytes.
pub(super) trait Exactly: Default + Send + Sync + 'static {
    fn add(&mut self, x: f64);
    fn merge(&mut self, other: &Self);
    fn to_bytes(&self, bytes: &mut Vec<u8>);
    fn read(bytes: &[u8]) -> strata_models::Result<Self>;
    fn heap_bytes(&self) -> usize;
}

/// What a group gives at the end.
enum Output<E> {
    Number(fn(&E) -> Option<f64>),
    State,
}

/// One accumulator per group, and how many rows it holds. State: its bytes, null without rows.
struct Exact<E> {
    cells: Cells<E>,
    output: Output<E>,
}

/// A column of accumulators whose size is known at any time.
pub(super) struct Cells<E> {
    cells: Vec<E>,
    /// Whether a group has rows at all.
    seen: Vec<bool>,
    heap_bytes: usize,
}

pub(super) fn one_number(usage: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    expect_arity(usage, types.len(), 1)?;
    Ok(vec![number_type(usage, &types[0])?])
}

fn number(
    name: &'static str,
    coerce: fn(&[DataType]) -> Result<Vec<DataType>>,
    create: fn(&datafusion::logical_expr::function::AccumulatorArgs) -> Result<Box<dyn GroupState>>,
) -> Aggregate {
    Aggregate {
        name,
        signature: signature(),
        coerce,
        returns: |_| DataType::Float64,
        state: |_| vec![("exact", DataType::Binary)],
        create,
        of_nothing: ScalarValue::Null,
    }
}

fn sum(sum: &Sum) -> Option<f64> {
    Some(sum.value())
}

impl<E: Exactly> Cells<E> {
    pub(super) fn new() -> Self {
        Self { cells: Vec::new(), seen: Vec::new(), heap_bytes: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    pub(super) fn grow(&mut self, groups: usize) {
        self.cells.resize_with(groups, E::default);
        self.seen.resize(groups, false);
    }

    pub(super) fn update(&mut self, values: &Float64Array, groups: &[usize], included: Option<&NullBuffer>) {
        let numbers = values.values();
        each_included(groups, included, |row, group| {
            let cell = &mut self.cells[group];
            let before = cell.heap_bytes();
            cell.add(numbers[row]);
            self.heap_bytes += cell.heap_bytes();
            self.heap_bytes -= before;
            self.seen[group] = true;
        });
    }

    pub(super) fn merge(&mut self, states: &ArrayRef, groups: &[usize]) -> Result<()> {
        let states = binary(states)?;
        for (state, group) in states.iter().zip(groups) {
            let Some(state) = state else { continue };
            let other = E::read(state).map_err(|error| DataFusionError::External(Box::new(error)))?;
            let cell = &mut self.cells[*group];
            let before = cell.heap_bytes();
            cell.merge(&other);
            self.heap_bytes += cell.heap_bytes();
            self.heap_bytes -= before;
            self.seen[*group] = true;
        }
        Ok(())
    }

    /// The accumulator of each of the first `n` groups; `None` without rows.
    pub(super) fn first(&self, n: usize) -> impl Iterator<Item = Option<&E>> {
        self.cells[..n].iter().zip(&self.seen).map(|(cell, seen)| seen.then_some(cell))
    }

    pub(super) fn bytes(&self, n: usize) -> ArrayRef {
        let mut out = BinaryBuilder::with_capacity(n, n * 16);
        let mut bytes = Vec::new();
        for cell in self.first(n) {
            append(cell, &mut bytes, &mut out);
        }
        Arc::new(out.finish())
    }

    pub(super) fn forget(&mut self, n: usize) {
        self.heap_bytes -= self.cells[..n].iter().map(E::heap_bytes).sum::<usize>();
        if n == self.cells.len() {
            *self = Self::new();
        } else {
            self.cells.drain(..n);
            self.seen.drain(..n);
        }
    }

    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.cells.capacity() * size_of::<E>() + self.seen.capacity() + self.heap_bytes
    }
}

/// One state per row, without a column of accumulators.
pub(super) fn bytes_of_rows<E: Exactly>(values: &Float64Array, included: Option<&NullBuffer>) -> ArrayRef {
    let mut out = BinaryBuilder::with_capacity(values.len(), values.len() * 16);
    let mut bytes = Vec::new();
    for (row, number) in values.values().iter().enumerate() {
        let cell = included.is_none_or(|included| included.is_valid(row)).then(|| {
            let mut cell = E::default();
            cell.add(*number);
            cell
        });
        append(cell.as_ref(), &mut bytes, &mut out);
    }
    Arc::new(out.finish())
}

fn append<E: Exactly>(cell: Option<&E>, bytes: &mut Vec<u8>, out: &mut BinaryBuilder) {
    match cell {
        None => out.append_null(),
        Some(cell) => {
            bytes.clear();
            cell.to_bytes(bytes);
            out.append_value(&bytes);
        }
    }
}

/// A state column as binary. Errors: `Execution` when it is something else.
pub(super) fn binary(states: &ArrayRef) -> Result<&BinaryArray> {
    match states.as_binary_opt::<i32>() {
        Some(states) => Ok(states),
        None => exec_err!("a state column is {}: the plan was made by another version, run it again", states.data_type()),
    }
}

/// A column of row counts. Errors: `Execution` when it is something else.
pub(super) fn counts(states: &ArrayRef) -> Result<&Int64Array> {
    match states.as_primitive_opt::<Int64Type>() {
        Some(states) => Ok(states),
        None => exec_err!("a state column is {}: the plan was made by another version, run it again", states.data_type()),
    }
}

impl<E: Exactly> Exact<E> {
    fn new(output: Output<E>) -> Self {
        Self { cells: Cells::new(), output }
    }
}

impl<E: Exactly> GroupState for Exact<E> {
    fn groups(&self) -> usize {
        self.cells.len()
    }

    fn grow(&mut self, groups: usize) {
        self.cells.grow(groups);
    }

    fn update(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>) -> Result<()> {
        let numbers = primitive::<Float64Type>(&values[0])?;
        self.cells.update(numbers, groups, included(numbers, filter).as_ref());
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize]) -> Result<()> {
        self.cells.merge(&states[0], groups)
    }

    fn values(&self, n: usize) -> Result<ArrayRef> {
        Ok(match self.output {
            Output::State => self.cells.bytes(n),
            Output::Number(number) => Arc::new(self.cells.first(n).map(|cell| cell.and_then(number)).collect::<Float64Array>()),
        })
    }

    fn states(&self, n: usize) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.cells.bytes(n)])
    }

    fn forget(&mut self, n: usize) {
        self.cells.forget(n);
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.cells.size()
    }

    fn convert(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let numbers = primitive::<Float64Type>(&values[0])?;
        Ok(vec![bytes_of_rows::<E>(numbers, included(numbers, filter).as_ref())])
    }
}

/// An aggregate of one `Float64` that gives the bytes of its state.
pub(super) fn state_of<E: Exactly>(name: &'static str, coerce: fn(&[DataType]) -> Result<Vec<DataType>>) -> Aggregate {
    Aggregate { returns: |_| DataType::Binary, ..number(name, coerce, |_| Ok(Box::new(Exact::<E>::new(Output::State)))) }
}

impl Exactly for Sum {
    fn add(&mut self, x: f64) {
        Sum::add(self, x);
    }

    fn merge(&mut self, other: &Self) {
        Sum::merge(self, other);
    }

    fn to_bytes(&self, bytes: &mut Vec<u8>) {
        Sum::to_bytes(self, bytes);
    }

    fn read(bytes: &[u8]) -> strata_models::Result<Self> {
        Sum::from_bytes(bytes)
    }

    fn heap_bytes(&self) -> usize {
        Sum::heap_bytes(self)
    }
}

impl Exactly for Moments {
    fn add(&mut self, x: f64) {
        Moments::add(self, x);
    }

    fn merge(&mut self, other: &Self) {
        Moments::merge(self, other);
    }

    fn to_bytes(&self, bytes: &mut Vec<u8>) {
        Moments::to_bytes(self, bytes);
    }

    fn read(bytes: &[u8]) -> strata_models::Result<Self> {
        Moments::from_bytes(bytes)
    }

    fn heap_bytes(&self) -> usize {
        Moments::heap_bytes(self)
    }
}
