//! Functions and physical operators that DataFusion lacks, each with its own codec. Never builds a session and never reads a pipeline.

pub mod bucket;
pub mod codec;
pub mod cogroup;
pub mod dedup;
pub mod functions;
mod gather;
mod keys;
mod messages;
pub mod numbered;
pub mod owners;
mod packed;
pub mod pinned;
pub mod planner;
pub mod screen;
pub mod tagged;
pub mod write;

/// How many buckets a process works on at the same time: one a core, so that memory is bounded by cores, not by buckets.
pub(crate) fn turns() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get())
}
