//! How much a process may use. Never read from a pipeline: limits belong to the run target.

use std::path::PathBuf;

/// What is resident besides the pool: the binary, open readers, writers' pages, and batches on their way between operators.
/// Measured on the c360 pipeline with 2 threads: 110 to 130 MB.
const RESERVE_BYTES: u64 = 128 << 20;
/// The pool never gets less than this, or nothing could run at all.
const POOL_MIN_BYTES: u64 = 32 << 20;

/// Limits of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Resident memory budget; `None`: no limit.
    pub memory_bytes: Option<u64>,
    /// Threads and partitions of a scan.
    pub threads: usize,
    /// Rows a batch.
    pub batch_rows: usize,
    /// Folder for spilled rows; `None`: the system's temporary folder.
    pub spill_dir: Option<PathBuf>,
}

impl Limits {
    /// The memory that operators share, out of the budget: the budget less a reserve for what no operator accounts for.
    pub fn pool_bytes(&self) -> Option<u64> {
        let budget = self.memory_bytes?;
        // Sorts and exchanges hold about as much again for a moment as they account for.
        Some(((budget.saturating_sub(RESERVE_BYTES)) * 3 / 5).max(POOL_MIN_BYTES))
    }
}

impl Default for Limits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get());
        Self { memory_bytes: None, threads, batch_rows: 8192, spill_dir: None }
    }
}
