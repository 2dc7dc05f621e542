//! How much a process may use. Never read from a pipeline: limits belong to the run target.

use std::path::PathBuf;

/// What is resident besides the pool: the binary, open readers, writers' pages, and batches on their way between operators.
/// Measured on the c360 pipeline with 2 threads: 110 to 130 MB.
const RESERVE_BYTES: u64 = 128 << 20;
/// Below this budget batches are small.
const SMALL_BYTES: u64 = 2 << 30;
/// The pool never gets less than this, or nothing could run at all.
const POOL_MIN_BYTES: u64 = 32 << 20;

/// Limits of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Resident memory budget; `None`: no limit.
    pub memory_bytes: Option<u64>,
    /// Threads and partitions of a scan.
    pub threads: usize,
    /// Rows a batch, if memory allows.
    pub batch_rows_max: usize,
    /// Folder for spilled rows; `None`: the system's temporary folder.
    pub spill_dir: Option<PathBuf>,
}

impl Limits {
    /// The memory that operators share, out of the budget: the budget less a reserve for what no operator accounts for.
    pub fn pool_bytes(&self) -> Option<u64> {
        let budget = self.memory_bytes?;
        // Exchanges and sorts hold about as much again for a moment as they account for.
        Some((budget.saturating_sub(RESERVE_BYTES) * 2 / 5).max(POOL_MIN_BYTES))
    }

    /// Rows a batch: an exchange keeps one batch in the making for every bucket, so a small budget needs small batches.
    pub fn batch_rows(&self) -> usize {
        let small = self.memory_bytes.is_some_and(|b| b < SMALL_BYTES);
        if small { self.batch_rows_max.min(2048) } else { self.batch_rows_max }.max(1)
    }
}

impl Default for Limits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get());
        Self { memory_bytes: None, threads, batch_rows_max: 8192, spill_dir: None }
    }
}
