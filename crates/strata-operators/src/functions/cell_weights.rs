//! `strata_cell_weights` and `strata_table_weights`: the weights of a cell's rows, and of the rows of each cell of a table of margins. Never
//! depends on the order of rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder, BooleanArray};
use arrow::datatypes::{DataType, Float64Type, Int32Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use strata_models::rake::CellWeights;

use super::aggregate::{Aggregate, GroupState, each_included, included, signature};
use super::cell::CELLS_MAX;
use super::columnar::{expect_arity, number_type, primitive};
use super::exact::{Exactly, binary, one_number, state_of};

/// Name of the aggregate of a cell's rows; pipelines cannot call it.
pub const CELL_WEIGHTS: &str = "strata_cell_weights";
/// Name of the aggregate of all cells; pipelines cannot call it.
pub const TABLE_WEIGHTS: &str = "strata_table_weights";

const USAGE: &str = "strata_table_weights(cell, weight)";

/// Over doubles, nulls skipped: `strata_cell_weights(weight)`, the bytes of `CellWeights`; and `strata_table_weights(cell, weight)`, the bytes of
/// a [`TableWeights`], `Binary`, null without rows. Cells are numbers as `strata_cell` gives them, null where a row lies in none.
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

/// The weights of each cell of a table of margins.
#[derive(Debug, Default)]
pub struct TableWeights {
    /// Rows that lie in no cell.
    pub outside: u64,
    /// By number; those behind the last one with rows are not there.
    pub cells: Vec<CellWeights>,
    heap_bytes: usize,
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

impl TableWeights {
    /// Reads the bytes that the aggregate gives. Errors: `Execution` if they are not those of a table.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self> {
        let mut table = Self::default();
        let corrupt = |error| DataFusionError::External(Box::new(error));
        let Some(outside) = take(&mut bytes) else { return exec_err!("the weights of a table of margins end too early") };
        table.outside = u64::from_le_bytes(outside);
        while let Some(number) = take(&mut bytes) {
            let number = u32::from_le_bytes(number) as usize;
            let weights = CellWeights::read(&mut bytes).map_err(corrupt)?;
            if number >= CELLS_MAX {
                return exec_err!("a table of margins has no cell {number}");
            }
            table.cell(number).merge(&weights);
        }
        match bytes.is_empty() {
            true => Ok(table),
            false => exec_err!("the weights of a table of margins end too early"),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.outside.to_le_bytes().to_vec();
        for (number, weights) in self.cells.iter().enumerate().filter(|(_, w)| w.rows() > 0) {
            bytes.extend_from_slice(&(number as u32).to_le_bytes());
            weights.to_bytes(&mut bytes);
        }
        bytes
    }

    fn cell(&mut self, number: usize) -> &mut CellWeights {
        if number >= self.cells.len() {
            self.cells.resize_with(number + 1, CellWeights::new);
        }
        &mut self.cells[number]
    }

    fn merge(&mut self, other: &Self) {
        self.outside += other.outside;
        for (number, weights) in other.cells.iter().enumerate().filter(|(_, w)| w.rows() > 0) {
            let cell = self.cell(number);
            let before = cell.heap_bytes();
            cell.merge(weights);
            let now = cell.heap_bytes();
            self.heap_bytes = self.heap_bytes + now - before;
        }
    }

    /// Adds a row: its cell, below 0 for none. INVARIANT: `number` is below [`CELLS_MAX`].
    #[inline]
    fn add(&mut self, number: i32, weight: f64) {
        match usize::try_from(number) {
            Ok(number) => {
                let cell = self.cell(number);
                let before = cell.heap_bytes();
                cell.add(weight);
                let now = cell.heap_bytes();
                self.heap_bytes = self.heap_bytes + now - before;
            }
            Err(_) => self.outside += 1,
        }
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.cells.capacity() * size_of::<CellWeights>() + self.heap_bytes
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = bytes.split_first_chunk::<N>()?;
    *bytes = tail;
    Some(*head)
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
        if let Some(number) = cells.values().iter().find(|number| **number >= CELLS_MAX as i32) {
            return exec_err!("a table of margins has no cell {number}");
        }
        let counted = included(weights, filter);
        let nulls = cells.nulls().filter(|n| n.null_count() > 0);
        if let ([table], None, None) = (self.tables.as_mut_slice(), &counted, nulls) {
            cells.values().iter().zip(weights.values()).for_each(|(number, weight)| table.add(*number, *weight));
            return Ok(());
        }
        each_included(groups, counted.as_ref(), |row, group| {
            let is_none = nulls.is_some_and(|n| n.is_null(row));
            self.tables[group].add(if is_none { -1 } else { cells.value(row) }, weights.value(row));
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize]) -> Result<()> {
        for (state, group) in binary(&states[0])?.iter().zip(groups) {
            if let Some(state) = state {
                self.tables[*group].merge(&TableWeights::from_bytes(state)?);
            }
        }
        Ok(())
    }

    fn values(&self, n: usize) -> Result<ArrayRef> {
        let mut out = BinaryBuilder::new();
        for table in &self.tables[..n] {
            match table.cells.is_empty() && table.outside == 0 {
                true => out.append_null(),
                false => out.append_value(table.to_bytes()),
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
        size_of::<Self>() + self.tables.iter().map(TableWeights::size).sum::<usize>()
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
