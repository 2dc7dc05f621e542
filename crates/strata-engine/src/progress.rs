//! What a run tells while it works. Never prints: the command line does.

use crate::meter::Tasks;
use std::time::Duration;

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step began.
    Started {
        /// Place, from 1.
        index: usize,
        /// How many steps there are.
        of: usize,
        /// What it does.
        label: String,
        /// Rows it will read, if known.
        rows: Option<u64>,
    },
    /// It goes on.
    Moved {
        /// Rows read so far.
        rows: u64,
        /// Tasks of a cluster done and in all.
        tasks: Option<Tasks>,
    },
    /// It ended well.
    Finished {
        /// Place, from 1.
        index: usize,
        /// How many steps there are.
        of: usize,
        /// What it does.
        label: String,
        /// What came of it, for people.
        detail: String,
        /// How long it took.
        took: Duration,
    },
    /// Something a person should know.
    Note(String),
}

/// Hears events.
pub trait Progress: Send + Sync {
    /// Takes one.
    fn event(&self, event: Event);
}

/// Hears nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event) {}
}
