//! k-means: standard scaling, the nearest centroid, and Lloyd's step from exact per-cluster sums, so that a step has the
//! same bits on any number of workers. It never chooses the first centroids.

mod centroids;
mod lloyd;
mod scaling;

pub use centroids::Centroids;
pub use lloyd::{ClusterSums, Empty, Far, Fit, Members, Options, Step, lloyd, update};
pub use scaling::Scaling;
