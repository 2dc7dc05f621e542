//! How much the API does at once. Never lets a queue grow without end: who finds it full is told to come again.

use crate::api::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls being answered at once; streams count while they are opened.
const CALLS_MAX: usize = 1024;
/// Open watches and waits.
const WATCHERS_MAX: usize = 512;
/// Pipelines being checked or planned at once: each takes a thread and its stack.
const PLANNERS_MAX: usize = 4;
/// Calls that wait for their turn to plan.
const PLANNERS_WAITING_MAX: usize = 256;

/// The seats of one API.
pub(crate) struct Seats {
    calls: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    planners: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Default for Seats {
    fn default() -> Self {
        let of = |n| Arc::new(Semaphore::new(n));
        Self { calls: of(CALLS_MAX), watchers: of(WATCHERS_MAX), planners: of(PLANNERS_MAX), waiting: AtomicUsize::new(0) }
    }
}

impl Seats {
    /// A seat for a call. Errors: `Busy`.
    pub(crate) fn call(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.calls).try_acquire_owned().map_err(|_| Error::Busy("calls"))
    }

    /// A seat for a watch or a wait, kept while it lasts. Errors: `Busy`.
    pub(crate) fn watcher(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.watchers).try_acquire_owned().map_err(|_| Error::Busy("watches"))
    }

    /// A seat to plan in, once it is this call's turn. Errors: `Busy`.
    pub(crate) async fn planner(&self) -> Result<OwnedSemaphorePermit> {
        let waiting = Waiting::join(&self.waiting)?;
        let seat = Arc::clone(&self.planners).acquire_owned().await.map_err(|_| Error::Busy("plans"));
        drop(waiting);
        seat
    }
}

/// A place in the queue; given back also when the call is dropped while it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize) -> Result<Self> {
        let before = count.fetch_add(1, Ordering::AcqRel);
        let place = Self(count);
        if before < PLANNERS_WAITING_MAX { Ok(place) } else { Err(Error::Busy("plans")) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
