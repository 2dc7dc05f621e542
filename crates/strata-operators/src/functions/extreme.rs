//! The least or the greatest text of each group, texts known by number: what `min` and `max` give, in less time where texts repeat. Never used
//! where memory is budgeted: it keeps every text it has seen.

use super::values::{Texts, Values};
use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::compute::nullif;
use arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use std::cmp::Ordering;

/// A group without a text.
const NONE: u32 = u32::MAX;

pub(crate) struct Extreme {
    texts: Texts,
    wanted: Ordering,
    of_groups: Vec<u32>,
}

impl Extreme {
    /// In place of `function`; `None` where it is another one, or not of texts.
    pub(crate) fn of(function: &AggregateFunctionExpr) -> Option<Self> {
        let wanted = match function.fun().name() {
            "min" => Ordering::Less,
            "max" => Ordering::Greater,
            _ => return None,
        };
        let of_text = *function.field().data_type() == DataType::Utf8 && function.expressions().len() == 1;
        of_text.then(|| Self { texts: Texts::new(DataType::Utf8), wanted, of_groups: vec![] })
    }
}

/// The rows of which a filter is true.
fn included(filter: &BooleanArray) -> NullBuffer {
    NullBuffer::new(match filter.nulls() {
        Some(nulls) => filter.values() & nulls.inner(),
        None => filter.values().clone(),
    })
}

impl GroupsAccumulator for Extreme {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        let [texts] = values else { return internal_err!("`min` and `max` have one argument") };
        self.of_groups.resize(total, NONE);
        let included = NullBuffer::union(filter.map(included).as_ref(), texts.nulls());
        let keys = self.texts.keys(texts, included.as_ref())?;
        for (row, (group, key)) in groups.iter().zip(keys.iter()).enumerate() {
            let now = self.of_groups[*group];
            // Most often it is the one that is there.
            if now == *key || included.as_ref().is_some_and(|i| i.is_null(row)) {
                continue;
            }
            if now == NONE || self.texts.compare(*key, now) == self.wanted {
                self.of_groups[*group] = *key;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let keys = emit.take_needed(&mut self.of_groups);
        let nulls = keys.contains(&NONE).then(|| NullBuffer::from_iter(keys.iter().map(|k| *k != NONE)));
        self.texts.column(keys, nulls)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.update_batch(values, groups, None, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let left_out = filter.map(|f| BooleanArray::new(!included(f).inner(), None));
        values.iter().map(|v| Ok(left_out.as_ref().map_or_else(|| Ok(ArrayRef::clone(v)), |out| nullif(v, out))?)).collect()
    }

    fn size(&self) -> usize {
        self.texts.size() + self.of_groups.capacity() * size_of::<u32>()
    }
}
