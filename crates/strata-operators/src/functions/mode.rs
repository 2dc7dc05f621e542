//! `mode_of`: the most frequent value per group, ties to the smallest. Never returns null while a value was seen.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::AccumulatorArgs;

use super::aggregate::{Aggregate, GroupState, included, signature};
use super::columnar::expect_arity;
use super::exact::counts;
use super::tally::{Tally, list_column, single_lists};
use super::values::{Key, Values, by_type, value_type};

const USAGE: &str = "mode_of(x)";

/// `mode_of(x)`: the most frequent value, ties to the smallest, nulls not counted. The type of x, null without values.
/// Errors: `Plan` for doubles.
pub(super) fn functions() -> Vec<Aggregate> {
    vec![Aggregate {
        name: "mode_of",
        signature: signature(),
        coerce: |types| {
            expect_arity(USAGE, types.len(), 1)?;
            Ok(vec![value_type(USAGE, &types[0])?])
        },
        returns: |types| types[0].clone(),
        state: |types| vec![("values", list_of(types[0].clone())), ("counts", list_of(DataType::Int64))],
        create,
        of_nothing: ScalarValue::Null,
    }]
}

fn list_of(values: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(values, true)))
}

fn create(args: &AccumulatorArgs) -> Result<Box<dyn GroupState>> {
    by_type!(args.expr_fields[0].data_type(), Mode)
}

/// Rows per value per group. State: the list of values and the list of their counts.
struct Mode<N, V>(Tally<N, V, i64>);

impl<N: Key, V: Values<N> + 'static> Mode<N, V> {
    fn boxed(values: V) -> Box<dyn GroupState> {
        Box::new(Self(Tally::new(values)))
    }
}

impl<N: Key, V: Values<N> + 'static> GroupState for Mode<N, V> {
    fn groups(&self) -> usize {
        self.0.groups()
    }

    fn grow(&mut self, groups: usize) {
        self.0.grow(groups);
    }

    fn update(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>) -> Result<()> {
        self.0.update(&values[0], groups, included(&values[0], filter).as_ref(), 1)
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize]) -> Result<()> {
        let Some(lists) = states[1].as_list_opt::<i32>() else {
            return exec_err!("a state column is {}: the plan was made by another version, run it again", states[1].data_type());
        };
        let offsets = lists.value_offsets();
        let range = offsets[0] as usize..offsets[groups.len()] as usize;
        let counts = &counts(lists.values())?.values()[range];
        self.0.merge(&states[0], groups, Some(counts))
    }

    fn values(&self, n: usize) -> Result<ArrayRef> {
        let mut best: Vec<(i64, N)> = vec![(0, N::default()); n];
        for (group, key, count) in self.0.first(n) {
            let (most, value) = best[group];
            let better = match count.cmp(&most) {
                Ordering::Greater => true,
                Ordering::Equal => self.0.values.compare(key, value) == Ordering::Less,
                Ordering::Less => false,
            };
            if better {
                best[group] = (count, key);
            }
        }
        let valid: NullBuffer = best.iter().map(|(count, _)| *count > 0).collect();
        self.0.values.column(best.into_iter().map(|(_, key)| key).collect(), Some(valid))
    }

    fn states(&self, n: usize) -> Result<Vec<ArrayRef>> {
        let lists = self.0.lists(n)?;
        let values = self.0.values.column(lists.keys, None)?;
        let counts = Arc::new(Int64Array::from(lists.counts));
        Ok(vec![list_column(lists.offsets.clone(), values)?, list_column(lists.offsets, counts)?])
    }

    fn forget(&mut self, n: usize) {
        self.0.forget(n);
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.0.size()
    }

    fn convert(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let (offsets, values) = single_lists(&values[0], included(&values[0], filter).as_ref())?;
        let ones = Arc::new(Int64Array::from(vec![1; values.len()]));
        Ok(vec![list_column(offsets.clone(), values)?, list_column(offsets, ones)?])
    }
}
