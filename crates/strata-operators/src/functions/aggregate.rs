//! The one shape of our aggregates: flat state for all groups, and the two adapters DataFusion wants. Never boxes a group.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::distinct::{self, Before};
use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

/// The state of every group of one aggregate, in a few flat vectors. Group numbers are below `groups()`.
/// INVARIANT: `values` and `states` depend on the rows seen per group only, never on their order or on how they were split and merged.
pub(super) trait GroupState: Send + Sync {
    /// How many groups there are.
    fn groups(&self) -> usize;
    /// Adds empty groups until there are this many.
    fn grow(&mut self, groups: usize);
    /// Adds rows: one group number per row; rows outside the filter do not count.
    fn update(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>) -> Result<()>;
    /// Adds states that `states` made: one group number per state.
    fn merge(&mut self, states: &[ArrayRef], groups: &[usize]) -> Result<()>;
    /// The results of the first `n` groups.
    fn values(&self, n: usize) -> Result<ArrayRef>;
    /// The states of the first `n` groups.
    fn states(&self, n: usize) -> Result<Vec<ArrayRef>>;
    /// Drops the first `n` groups; the others move down by `n`.
    fn forget(&mut self, n: usize);
    /// Makes room for as many values as one before it held, and notes how many it holds in the end; most states need no room.
    fn expect(&mut self, _before: &Arc<Before>) {}
    /// Bytes held, in constant time.
    fn size(&self) -> usize;

    /// The states of groups of one row each; rows outside the filter are groups without rows.
    fn convert(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>>;
}

/// Names and types of an aggregate's state columns, for its coerced argument types.
pub(super) type StateColumns = Vec<(&'static str, DataType)>;

/// An aggregate function of ours. Two are equal when their names are: there is one of each.
#[derive(Debug)]
pub(super) struct Aggregate {
    pub(super) name: &'static str,
    pub(super) signature: Signature,
    /// The types the state will see, or what to write instead.
    pub(super) coerce: fn(&[DataType]) -> Result<Vec<DataType>>,
    pub(super) returns: fn(&[DataType]) -> DataType,
    pub(super) state: fn(&[DataType]) -> StateColumns,
    pub(super) create: fn(&AccumulatorArgs) -> Result<Box<dyn GroupState>>,
    /// What no rows give; null makes the result nullable.
    pub(super) of_nothing: ScalarValue,
}

/// The signature all of ours share.
pub(super) fn signature() -> Signature {
    Signature::user_defined(Volatility::Immutable)
}

/// Which rows count: those that are not null and that the filter keeps; `None` is all of them.
pub(super) fn included(array: &dyn Array, filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    NullBuffer::union(array.nulls(), kept(filter).as_ref())
}

/// The rows a filter keeps; `None` is all of them.
pub(super) fn kept(filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let filter = filter?;
    let kept = match filter.nulls() {
        Some(nulls) => filter.values() & nulls.inner(),
        None => filter.values().clone(),
    };
    Some(NullBuffer::new(kept))
}

/// Calls `visit(row, group)` for every row that counts.
pub(super) fn each_included(groups: &[usize], included: Option<&NullBuffer>, mut visit: impl FnMut(usize, usize)) {
    match included {
        None => groups.iter().enumerate().for_each(|(row, group)| visit(row, *group)),
        Some(included) => {
            for (row, group) in groups.iter().enumerate() {
                if included.is_valid(row) {
                    visit(row, *group);
                }
            }
        }
    }
}

impl PartialEq for Aggregate {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Aggregate {}

impl Hash for Aggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Aggregate {
    fn start(&self, args: &AccumulatorArgs) -> Result<Box<dyn GroupState>> {
        if args.is_distinct {
            return plan_err!("`{}(distinct ..)` is not supported: aggregate a `select distinct` instead", self.name);
        }
        (self.create)(args)
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        (self.coerce)(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok((self.returns)(&(self.coerce)(arg_types)?))
    }

    fn is_nullable(&self) -> bool {
        self.of_nothing.is_null()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        if self.of_nothing.is_null() {
            return ScalarValue::try_from(data_type);
        }
        Ok(self.of_nothing.clone())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let types: Vec<DataType> = args.input_fields.iter().map(|field| field.data_type().clone()).collect();
        let columns = (self.state)(&types).into_iter().enumerate();
        Ok(columns
            .map(|(index, (name, data_type))| {
                let name = format_state_name(args.name, &format!("{name}{index}"));
                Arc::new(Field::new(name, data_type, true))
            })
            .collect())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let mut state = self.start(&args)?;
        state.grow(1);
        Ok(Box::new(OneGroup { name: self.name, state, zeros: Vec::new() }))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(ManyGroups { state: self.start(&args)? }))
    }
}

struct ManyGroups {
    state: Box<dyn GroupState>,
}

/// The state of `function`, whose first argument is of this type, with room for as many values as one before it held.
/// Errors: as of the function.
pub(crate) fn like_before(
    function: &AggregateFunctionExpr,
    data_type: &DataType,
    before: &Arc<Before>,
) -> Result<Box<dyn GroupsAccumulator>> {
    match distinct::like_before(function, data_type, before) {
        Some(state) => Ok(Box::new(ManyGroups { state: state? })),
        None => function.create_groups_accumulator(),
    }
}

impl ManyGroups {
    fn count(&self, emit_to: EmitTo) -> usize {
        match emit_to {
            EmitTo::All => self.state.groups(),
            EmitTo::First(n) => n,
        }
    }
}

impl GroupsAccumulator for ManyGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.state.grow(total_num_groups);
        self.state.update(values, group_indices, opt_filter)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let n = self.count(emit_to);
        let values = self.state.values(n)?;
        self.state.forget(n);
        Ok(values)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let n = self.count(emit_to);
        let states = self.state.states(n)?;
        self.state.forget(n);
        Ok(states)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.state.grow(total_num_groups);
        self.state.merge(values, group_indices)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.state.convert(values, opt_filter)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.state.size()
    }
}

/// The whole input as one group. Reading the result keeps the state: a running window reads it per row.
struct OneGroup {
    name: &'static str,
    state: Box<dyn GroupState>,
    zeros: Vec<usize>,
}

impl fmt::Debug for OneGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneGroup").field("name", &self.name).finish_non_exhaustive()
    }
}

impl OneGroup {
    fn reserve_zeros(&mut self, rows: usize) {
        if self.zeros.len() < rows {
            self.zeros.resize(rows, 0);
        }
    }
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |array| array.len());
        self.reserve_zeros(rows);
        self.state.update(values, &self.zeros[..rows], None)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.state.values(1)?, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.state.size() + self.zeros.capacity() * size_of::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.state.states(1)?.iter().map(|array| ScalarValue::try_from_array(array, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, |array| array.len());
        self.reserve_zeros(rows);
        self.state.merge(states, &self.zeros[..rows])
    }
}
