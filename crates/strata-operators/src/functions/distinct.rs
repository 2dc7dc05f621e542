//! `count_distinct`: the number of different values per group. Never estimates, and never counts nulls.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::AccumulatorArgs;

use super::aggregate::{Aggregate, GroupState, included, signature};
use super::columnar::expect_arity;
use super::tally::{Tally, list_column, single_lists};
use super::values::{Key, Values, by_type, value_type};

const USAGE: &str = "count_distinct(x)";

/// `count_distinct(x)`: how many different values there are, nulls not counted. `Int64`, 0 without rows.
/// Errors: `Plan` for doubles.
pub(super) fn functions() -> Vec<Aggregate> {
    vec![Aggregate {
        name: "count_distinct",
        signature: signature(),
        coerce: |types| {
            expect_arity(USAGE, types.len(), 1)?;
            Ok(vec![value_type(USAGE, &types[0])?])
        },
        returns: |_| DataType::Int64,
        state: |types| vec![("values", DataType::List(Arc::new(Field::new_list_field(types[0].clone(), true))))],
        create,
        of_nothing: ScalarValue::Int64(Some(0)),
    }]
}

fn create(args: &AccumulatorArgs) -> Result<Box<dyn GroupState>> {
    by_type!(args.expr_fields[0].data_type(), Distinct)
}

/// Different values per group. State: their list.
struct Distinct<N, V>(Tally<N, V, ()>);

impl<N: Key, V: Values<N> + 'static> Distinct<N, V> {
    fn boxed(values: V) -> Box<dyn GroupState> {
        Box::new(Self(Tally::new(values)))
    }
}

impl<N: Key, V: Values<N> + 'static> GroupState for Distinct<N, V> {
    fn groups(&self) -> usize {
        self.0.groups()
    }

    fn grow(&mut self, groups: usize) {
        self.0.grow(groups);
    }

    fn update(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>) -> Result<()> {
        self.0.update(&values[0], groups, included(&values[0], filter).as_ref(), ())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize]) -> Result<()> {
        self.0.merge(&states[0], groups, None)
    }

    fn values(&self, n: usize) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(self.0.sizes()[..n].to_vec())))
    }

    fn states(&self, n: usize) -> Result<Vec<ArrayRef>> {
        let lists = self.0.lists(n)?;
        let values = self.0.values.column(lists.keys, None)?;
        Ok(vec![list_column(lists.offsets, values)?])
    }

    fn forget(&mut self, n: usize) {
        self.0.forget(n);
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.0.size()
    }

    fn convert(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let (offsets, values) = single_lists(&values[0], included(&values[0], filter).as_ref())?;
        Ok(vec![list_column(offsets, values)?])
    }
}
