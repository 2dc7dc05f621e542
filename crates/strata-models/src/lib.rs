//! The solvers: exact sums, equal-group cuts, allocation, draws, quotas, weights, k-means, RFM. Every model of Strata is
//! summarise → solve → apply; this crate is the *solve* in the middle, on small arrays, on the coordinator.
//! It never reads data, never looks at a clock and never draws a random number, and no result of it depends
//! on the order or the grouping in which the summaries arrived.

mod error;
mod lp;
mod matrix;
mod reader;

pub mod allocate;
pub mod calibrate;
pub mod disclosure;
pub mod draw;
pub mod edges;
pub mod estimate;
pub mod exact;
pub mod kmeans;
pub mod ntile;
pub mod prn;
pub mod quota;
pub mod rake;
pub mod representativeness;
pub mod rfm;
pub mod typing;
pub mod waves;
pub mod weights;

pub use error::{Error, Kind, Result};
