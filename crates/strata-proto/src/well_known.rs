//! Google's well-known types, for those who use the run API without `prost-types` of their own. Never converts a value with loss in silence.

pub use prost_types::{Any, Duration, ListValue, Struct, Timestamp, Value, value};
