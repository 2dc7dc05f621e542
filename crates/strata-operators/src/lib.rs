//! Functions and physical operators that DataFusion lacks, each with its own codec. Never builds a session and never reads a pipeline.

pub mod bucket;
mod choice;
pub mod codec;
pub mod cogroup;
pub mod dedup;
pub mod functions;
mod gather;
mod grouped;
mod keys;
mod late;
pub mod lookup;
mod messages;
pub mod numbered;
pub mod owners;
mod packed;
pub mod pinned;
pub mod planner;
pub mod previous;
pub mod screen;
mod sieve;
mod sorted;
pub mod spread;
pub mod tagged;
pub mod write;

use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool};

/// A pool below this may not hold the working memory of two buckets.
const POOL_OF_ONE_BYTES: usize = 128 << 20;

/// How many buckets a process works on at the same time: one a core, so that memory is bounded by cores, not by buckets.
pub(crate) fn turns() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get())
}

/// How many turns a bucket takes: one, or all of them where memory is so short that buckets have to follow one another.
pub(crate) fn turns_of_one(pool: &dyn MemoryPool) -> u32 {
    match pool.memory_limit() {
        MemoryLimit::Finite(bytes) if bytes < POOL_OF_ONE_BYTES => turns() as u32,
        _ => 1,
    }
}
