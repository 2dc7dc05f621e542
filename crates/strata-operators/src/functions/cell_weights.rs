//! `strata_cell_weights` and `strata_table_weights`: the weights of a cell's rows, and of the rows of each cell of a table of margins. Never
//! depends on the order of rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder, BooleanArray};
use arrow::datatypes::{DataType, Float64Type, Int32Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use strata_models::rake::{CellWeights, TableWeights};

use super::aggregate::{Aggregate, GroupState, each_included, included, signature};
use super::columnar::{expect_arity, number_type, primitive};
use super::exact::{Exactly, binary, one_number, state_of};

/// Name of the aggregate of a cell's rows; pipelines cannot call it.
pub const CELL_WEIGHTS: &str = "strata_cell_weights";
/// Name of the aggregate of all cells; pipelines cannot call it.
pub const TABLE_WEIGHTS: &str = "strata_table_weights";

const USAGE: &str = "strata_table_weights(cell, weight)";

/// Over doubles, nulls skipped: `strata_cell_weights(weight)`, the bytes of `CellWeights`; and `strata_table_weights(cell, weight)`, the bytes of
/// a `TableWeights`, `Binary`, null without rows. Cells are numbers as `strata_cell` gives them, null where a row lies in none.
pub(super) fn functions() -> Vec<Aggregate> {
    vec![
        state_of::<CellWeights>(CELL_WEIGHTS, |types| one_number("strata_cell_weights(weight)", types)),
        Aggregate {
            name: TABLE_WEIGHTS,
            signature: signature(),
            coerce,
            returns: |_| DataType::Binary,
            state: |_| vec![("cells", DataType::Binary)],
            create: |_| Ok(Box::new(Tables::default())),
            of_nothing: ScalarValue::Null,
        },
    ]
}

/// One table per group: there is one group, but for plans that nobody makes.
#[derive(Default)]
struct Tables {
    tables: Vec<TableWeights>,
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    expect_arity(USAGE, types.len(), 2)?;
    match &types[0] {
        DataType::Int32 => Ok(vec![DataType::Int32, number_type(USAGE, &types[1])?]),
        found => plan_err!("cells of `{USAGE}` are numbers as `strata_cell` gives them, not {found}"),
    }
}

fn failed(error: strata_models::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl GroupState for Tables {
    fn groups(&self) -> usize {
        self.tables.len()
    }

    fn grow(&mut self, groups: usize) {
        self.tables.resize_with(groups, TableWeights::default);
    }

    fn update(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>) -> Result<()> {
        let (cells, weights) = (primitive::<Int32Type>(&values[0])?, primitive::<Float64Type>(&values[1])?);
        let counted = included(weights, filter);
        let nulls = cells.nulls().filter(|n| n.null_count() > 0);
        if let ([table], None, None) = (self.tables.as_mut_slice(), &counted, nulls) {
            return table.add_rows(cells.values(), weights.values()).map_err(failed);
        }
        let mut added = Ok(());
        each_included(groups, counted.as_ref(), |row, group| {
            let cell = if nulls.is_some_and(|n| n.is_null(row)) { -1 } else { cells.value(row) };
            if added.is_ok() {
                added = self.tables[group].add_rows(&[cell], &[weights.value(row)]);
            }
        });
        added.map_err(failed)
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize]) -> Result<()> {
        for (state, group) in binary(&states[0])?.iter().zip(groups) {
            if let Some(state) = state {
                self.tables[*group].merge(&TableWeights::from_bytes(state).map_err(failed)?);
            }
        }
        Ok(())
    }

    fn values(&self, n: usize) -> Result<ArrayRef> {
        let mut out = BinaryBuilder::new();
        for table in &self.tables[..n] {
            let mut bytes = vec![];
            table.to_bytes(&mut bytes);
            match table.is_empty() {
                true => out.append_null(),
                false => out.append_value(bytes),
            }
        }
        Ok(Arc::new(out.finish()))
    }

    fn states(&self, n: usize) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.values(n)?])
    }

    fn forget(&mut self, n: usize) {
        self.tables.drain(..n);
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.tables.iter().map(|t| size_of::<TableWeights>() + t.heap_bytes()).sum::<usize>()
    }

    fn convert(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut one = Self::default();
        one.grow(values[0].len());
        let groups: Vec<usize> = (0..values[0].len()).collect();
        one.update(values, &groups, filter)?;
        one.states(groups.len())
    }
}

impl Exactly for CellWeights {
    fn add(&mut self, x: f64) {
        Self::add(self, x);
    }

    fn merge(&mut self, other: &Self) {
        Self::merge(self, other);
    }

    fn to_bytes(&self, bytes: &mut Vec<u8>) {
        Self::to_bytes(self, bytes);
    }

    fn read(bytes: &[u8]) -> strata_models::Result<Self> {
        Self::from_bytes(bytes)
    }

    fn heap_bytes(&self) -> usize {
        Self::heap_bytes(self)
    }
}
