//! `count_distinct`: the number of different values per group. Never estimates, and never counts nulls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::aggregate::{Aggregate, GroupState, included, signature};
use super::columnar::expect_arity;
use super::tally::{Tally, list_column, single_lists};
use super::values::{Key, Values, by_type, value_type};

const NAME: &str = "count_distinct";
const USAGE: &str = "count_distinct(x)";

/// `count_distinct(x)`: how many different values there are, nulls not counted. `Int64`, 0 without rows.
/// Errors: `Plan` for doubles.
pub(super) fn functions() -> Vec<Aggregate> {
    vec![Aggregate {
        name: NAME,
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

/// The state of `function` where that is `count_distinct` of values of this type, with room for as many as one before it held.
/// Errors: as of the function.
pub(super) fn like_before(
    function: &AggregateFunctionExpr,
    data_type: &DataType,
    before: &Arc<Before>,
) -> Option<Result<Box<dyn GroupState>>> {
    if function.fun().name() != NAME || function.is_distinct() {
        return None;
    }
    let fresh = || -> Result<Box<dyn GroupState>> { by_type!(data_type, Distinct) };
    Some(fresh().map(|mut state| {
        state.expect(before);
        state
    }))
}

/// Most that a state held so far, of numbers of 32 bits and of others: the next of the same aggregate will hold about as many.
#[derive(Debug, Default)]
pub(crate) struct Before([AtomicUsize; 2]);

impl Before {
    fn note(&self, held: [usize; 2]) {
        self.0.iter().zip(held).for_each(|(most, held)| {
            most.fetch_max(held, Ordering::Relaxed);
        });
    }

    fn held(&self) -> [usize; 2] {
        [0, 1].map(|i| self.0[i].load(Ordering::Relaxed))
    }
}

/// Different values per group. State: their list.
struct Distinct<N, V> {
    tally: Tally<N, V, ()>,
    before: Option<Arc<Before>>,
}

impl<N: Key, V: Values<N> + 'static> Distinct<N, V> {
    fn boxed(values: V) -> Box<dyn GroupState> {
        Box::new(Self { tally: Tally::new(values), before: None })
    }
}

impl<N: Key, V: Values<N> + 'static> GroupState for Distinct<N, V> {
    fn groups(&self) -> usize {
        self.tally.groups()
    }

    fn grow(&mut self, groups: usize) {
        self.tally.grow(groups);
    }

    fn update(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>) -> Result<()> {
        self.tally.update(&values[0], groups, included(&values[0], filter).as_ref(), ())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize]) -> Result<()> {
        self.tally.merge(&states[0], groups, None)
    }

    fn values(&self, n: usize) -> Result<ArrayRef> {
        if let Some(before) = &self.before {
            before.note(self.tally.held());
        }
        Ok(Arc::new(Int64Array::from(self.tally.sizes()[..n].to_vec())))
    }

    fn states(&self, n: usize) -> Result<Vec<ArrayRef>> {
        let lists = self.tally.lists(n)?;
        let values = self.tally.values.column(lists.keys, None)?;
        Ok(vec![list_column(lists.offsets, values)?])
    }

    fn expect(&mut self, before: &Arc<Before>) {
        self.tally.expect(before.held());
        self.before = Some(Arc::clone(before));
    }

    fn forget(&mut self, n: usize) {
        self.tally.forget(n);
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.tally.size()
    }

    fn convert(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let (offsets, values) = single_lists(&values[0], included(&values[0], filter).as_ref())?;
        Ok(vec![list_column(offsets, values)?])
    }
}
