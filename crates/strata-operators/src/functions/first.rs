//! `first_by`: the value of the row that comes first in a stated order. Never depends on which of two equal rows came earlier.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::physical_expr::expressions::Literal;

use super::aggregate::{Aggregate, GroupState, StateColumns, each_included, kept, signature};
use super::columnar::{text_type, undictionaried};

const USAGE: &str = "first_by(x, k1, .., kn, 'al,df')";
/// The arena is packed when more than this and more than half of it is garbage.
const GARBAGE_MIN: usize = 1 << 16;

/// `first_by(x, k1, .., kn, spec)`: x, maybe null, of the first row in the order of the keys, ties to the smallest x (null
/// before all). The type of x, null without rows. Errors: `Plan` for a spec that is not two letters per key.
pub(super) fn functions() -> Vec<Aggregate> {
    vec![Aggregate {
        name: "first_by",
        signature: signature(),
        coerce,
        returns: |types| types[0].clone(),
        state,
        create,
        of_nothing: ScalarValue::Null,
    }]
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    let [columns @ .., spec] = types else {
        return plan_err!("no arguments given: write `{USAGE}`");
    };
    if columns.len() < 2 {
        return plan_err!("{} arguments given: write `{USAGE}`", types.len());
    }
    let mut coerced: Vec<DataType> = columns.iter().map(|found| undictionaried(found).clone()).collect();
    for found in &coerced {
        if !RowConverter::supports_fields(&[SortField::new(found.clone())]) {
            return plan_err!("`{USAGE}` cannot order values of type {found}: name one of its fields");
        }
    }
    text_type(USAGE, spec)?;
    coerced.push(spec.clone());
    Ok(coerced)
}

/// Whether a row was seen (its x and keys may all be null), then x and the keys of the first row.
fn state(types: &[DataType]) -> StateColumns {
    let columns = types[..types.len() - 1].iter().map(|found| ("column", found.clone()));
    std::iter::once(("seen", DataType::Boolean)).chain(columns).collect()
}

fn create(args: &AccumulatorArgs) -> Result<Box<dyn GroupState>> {
    let spec = args.exprs.last().and_then(|expr| expr.downcast_ref::<Literal>());
    let Some(Some(Some(spec))) = spec.map(|literal| literal.value().try_as_str()) else {
        return plan_err!("the order of `{USAGE}` must be a text literal that is not null");
    };
    let orders = orders(spec)?;
    let columns = &args.expr_fields[..args.expr_fields.len() - 1];
    if columns.len() != orders.len() + 1 {
        return plan_err!("the order `{spec}` has {} parts for {} keys: write `{USAGE}`", orders.len(), columns.len() - 1);
    }
    let mut types: Vec<DataType> = columns.iter().map(|field| field.data_type().clone()).collect();
    types.rotate_left(1);
    Ok(Box::new(First::new(types, orders)?))
}

/// Two letters per key: `a` or `d` for ascending or descending, `f` or `l` for nulls first or last. Errors: `Plan`.
fn orders(spec: &str) -> Result<Vec<SortOptions>> {
    let order = |part: &str| {
        let (descending, nulls_first) = match part.trim() {
            "af" => (false, true),
            "al" => (false, false),
            "df" => (true, true),
            "dl" => (true, false),
            other => {
                return plan_err!(
                    "`{other}` is no order: write `a` or `d`, then `f` or `l` for nulls first or last, per key, as in `{USAGE}`"
                );
            }
        };
        Ok(SortOptions { descending, nulls_first })
    };
    spec.split(',').map(order).collect()
}

/// Per group the bytes of its first row: its keys in the stated order, then x, so that comparing bytes compares keys and then x.
struct First {
    /// Of the keys, then of x.
    types: Vec<DataType>,
    converter: RowConverter,
    arena: Vec<u8>,
    /// Where each group's row lies; length 0 before the first row (a row has at least two bytes).
    slots: Vec<Slot>,
    garbage: usize,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    start: usize,
    len: u32,
}

impl First {
    /// Types of the keys, then of x; one order per key.
    fn new(types: Vec<DataType>, orders: Vec<SortOptions>) -> Result<Self> {
        let orders = orders.into_iter().chain([SortOptions::default()]);
        let fields = types.iter().zip(orders).map(|(found, order)| SortField::new_with_options(found.clone(), order));
        let converter = RowConverter::new(fields.collect())?;
        Ok(Self { types, converter, arena: Vec::new(), slots: Vec::new(), garbage: 0 })
    }

    fn offer(&mut self, group: usize, row: &[u8]) {
        let slot = self.slots[group];
        let old = slot.start..slot.start + slot.len as usize;
        if slot.len > 0 && self.arena[old.clone()] <= *row {
            return;
        }
        let start = if row.len() <= old.len() {
            self.arena[old.start..old.start + row.len()].copy_from_slice(row);
            self.garbage += old.len() - row.len();
            old.start
        } else {
            self.garbage += old.len();
            self.arena.extend_from_slice(row);
            self.arena.len() - row.len()
        };
        self.slots[group] = Slot { start, len: row.len() as u32 };
    }

    fn offer_all(&mut self, rows: &Rows, groups: &[usize], included: Option<&NullBuffer>) {
        each_included(groups, included, |row, group| self.offer(group, rows.row(row).data()));
        if self.garbage > GARBAGE_MIN && self.garbage > self.arena.len() / 2 {
            self.pack();
        }
    }

    fn pack(&mut self) {
        let mut arena = Vec::with_capacity(self.arena.len() - self.garbage);
        for slot in &mut self.slots {
            let start = arena.len();
            arena.extend_from_slice(&self.arena[slot.start..slot.start + slot.len as usize]);
            slot.start = start;
        }
        self.arena = arena;
        self.garbage = 0;
    }

    /// The columns of the first `n` groups, keys then x; nulls where no row was seen.
    fn columns(&self, n: usize) -> Result<Vec<ArrayRef>> {
        let nothing: Vec<ArrayRef> = self.types.iter().map(|found| new_null_array(found, 1)).collect();
        let nothing = self.converter.convert_columns(&nothing)?;
        let parser = self.converter.parser();
        let rows = self.slots[..n].iter().map(|slot| match slot.len {
            0 => nothing.row(0),
            len => parser.parse(&self.arena[slot.start..slot.start + len as usize]),
        });
        Ok(self.converter.convert_rows(rows)?)
    }

    fn seen(&self, n: usize) -> ArrayRef {
        let seen = self.slots[..n].iter().map(|slot| Some(slot.len > 0));
        Arc::new(seen.collect::<BooleanArray>())
    }
}

/// x, k1, .., kn as k1, .., kn, x.
fn keys_first(columns: &[ArrayRef]) -> Vec<ArrayRef> {
    let mut columns = columns.to_vec();
    columns.rotate_left(1);
    columns
}

impl GroupState for First {
    fn groups(&self) -> usize {
        self.slots.len()
    }

    fn grow(&mut self, groups: usize) {
        self.slots.resize(groups, Slot::default());
    }

    fn update(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>) -> Result<()> {
        let rows = self.converter.convert_columns(&keys_first(&values[..self.types.len()]))?;
        self.offer_all(&rows, groups, kept(filter).as_ref());
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize]) -> Result<()> {
        let Some(seen) = states[0].as_boolean_opt() else {
            return exec_err!("a state column is {}: the plan was made by another version, run it again", states[0].data_type());
        };
        self.update(&states[1..], groups, Some(seen))
    }

    fn values(&self, n: usize) -> Result<ArrayRef> {
        Ok(self.columns(n)?.swap_remove(self.types.len() - 1))
    }

    fn states(&self, n: usize) -> Result<Vec<ArrayRef>> {
        let mut columns = self.columns(n)?;
        columns.rotate_right(1);
        columns.insert(0, self.seen(n));
        Ok(columns)
    }

    fn forget(&mut self, n: usize) {
        self.garbage += self.slots[..n].iter().map(|slot| slot.len as usize).sum::<usize>();
        self.slots.drain(..n);
        if self.garbage > self.arena.len() / 2 {
            self.pack();
        }
    }

    fn size(&self) -> usize {
        size_of::<Self>()
            + self.converter.size()
            + self.arena.capacity()
            + self.slots.capacity() * size_of::<Slot>()
            + self.types.capacity() * size_of::<DataType>()
    }

    fn convert(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let kept = kept(filter);
        let seen = (0..rows).map(|row| Some(kept.as_ref().is_none_or(|kept| kept.is_valid(row))));
        let mut states: Vec<ArrayRef> = vec![Arc::new(seen.collect::<BooleanArray>())];
        states.extend_from_slice(&values[..self.types.len()]);
        Ok(states)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};

    #[test]
    fn replaced_rows_do_not_pile_up() -> Result<()> {
        let mut state = First::new(vec![DataType::Int64, DataType::Utf8], orders("dl")?)?;
        state.grow(3);
        for round in 0..200_i64 {
            let keys = Int64Array::from_iter_values((0..90).map(|row| round * 90 + row));
            let texts = keys.values().iter().map(|key| "x".repeat(40 * *key as usize / 90));
            let texts = StringArray::from_iter_values(texts);
            let groups: Vec<usize> = (0..90).map(|row| row % 3).collect();
            state.update(&[Arc::new(texts), Arc::new(keys)], &groups, None)?;
        }
        assert!(state.size() < 1 << 20, "{}", state.size());
        state.forget(1);
        assert_eq!(state.groups(), 2);
        let states = state.states(2)?;
        assert_eq!(states[2].as_ref(), &Int64Array::from(vec![200 * 90 - 2, 200 * 90 - 1]));
        let longest = state.values(2)?;
        assert_eq!(longest.as_string::<i32>().value(1).len(), 40 * (200 * 90 - 1) / 90);
        Ok(())
    }
}
