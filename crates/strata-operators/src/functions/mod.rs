//! Scalar and aggregate functions of ours, all found by name: configuration is a literal argument. Never stateful between calls, never reads a clock.
//!
//! Errors are `Plan` when the pipeline must change (a type, a missing literal) and `Execution` when a value in the data cannot be represented.

pub(crate) mod aggregate;
mod cell;
mod cell_weights;
mod columnar;
mod dates;
pub(crate) mod distinct;
mod exact;
pub(crate) mod extreme;
mod few;
mod first;
mod hash;
mod kmeans;
mod mean;
mod mode;
mod money;
pub(crate) mod numbering;
mod pairs;
mod prn;
mod pseudonym;
mod scalar;
mod tally;
mod values;
mod zones;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

pub use cell::{CELL, CELL_FACTOR, CELLS_MAX, has_levels};
pub use cell_weights::{CELL_WEIGHTS, TABLE_WEIGHTS};
pub use hash::HASH64;
pub use prn::{SecretResolver, key_bytes, permanent_random_number, set_secret_resolver};
pub use pseudonym::PSEUDONYM;

/// Every scalar function of ours, in the order of their names' files.
#[must_use]
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let own = [money::functions(), dates::functions(), zones::functions(), prn::functions(), kmeans::functions()];
    own.into_iter()
        .chain([hash::functions(), pseudonym::functions(), cell::functions()])
        .flatten()
        .map(|function| Arc::new(ScalarUDF::from(function)))
        .collect()
}

/// Every aggregate function of ours. Each keeps flat state for all groups and merges to the same value in any order.
#[must_use]
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    [exact::functions(), mean::functions(), distinct::functions(), mode::functions(), first::functions()]
        .into_iter()
        .chain([cell_weights::functions()])
        .flatten()
        .map(|function| Arc::new(AggregateUDF::from(function)))
        .collect()
}

/// Adds every function of ours to a session or task registry; functions of the same name are replaced. Errors: a registry that is read only.
pub fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for function in scalar_functions() {
        registry.register_udf(function)?;
    }
    for function in aggregate_functions() {
        registry.register_udaf(function)?;
    }
    Ok(())
}
