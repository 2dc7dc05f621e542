//! What the API and the leader share: the store, a bell for the queue and for cancels, live progress, and how old runs are. Never stores progress.

use crate::ages::Ages;
use serde::Serialize;
use std::sync::Arc;
use strata_store::{Event, RunStore};
use tokio::sync::{Notify, broadcast};

/// News kept for a slow watcher; one that falls further behind reads the store again.
const NEWS_MAX: usize = 1024;

/// Shared by everything in a coordinator.
pub struct Hub {
    /// Runs.
    pub store: Arc<dyn RunStore>,
    /// Rings when a run was created, resumed or asked to stop: the leader looks.
    pub bell: Notify,
    /// How long runs have been at work.
    pub(crate) ages: Ages,
    news: broadcast::Sender<News>,
}

/// Something that just happened in a run.
#[derive(Debug, Clone)]
pub struct News {
    /// The run.
    pub run_id: String,
    /// What.
    pub what: What,
}

/// What just happened.
#[derive(Debug, Clone)]
pub enum What {
    /// An event that the store holds.
    Event(Event),
    /// Progress of the step at work; not stored.
    Progress(Progress),
}

/// How far the step at work is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Progress {
    /// Label of the step.
    pub step: String,
    /// Its number, from 1.
    pub index: u32,
    /// Steps in all.
    pub of: u32,
    /// Rows read so far.
    pub rows: u64,
    /// Rows to read, if known.
    pub rows_total: Option<u64>,
    /// Tasks done and in all, of the stages known so far.
    pub tasks_done: u64,
    /// See `tasks_done`.
    pub tasks_total: u64,
}

impl Hub {
    /// A hub over `store`.
    pub fn new(store: Arc<dyn RunStore>) -> Self {
        Self { store, bell: Notify::new(), ages: Ages::default(), news: broadcast::channel(NEWS_MAX).0 }
    }

    /// Tells whoever watches.
    pub fn tell(&self, news: News) {
        // Nobody may be listening.
        let _ = self.news.send(news);
    }

    /// News from now on.
    pub fn listen(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }
}
