//! What happens in a run, as it happens: first what the store holds, then what is told, each event once and in order. Never ends a run by ending.

use crate::api::Api;
use crate::api::auth::{Actor, Role};
use crate::api::error::{Error, Result};
use crate::api::runs::find;
use crate::hub::{Hub, News, Progress, What};
use futures::Stream;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use strata_store::Event;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior};

/// How often the store is asked: another coordinator may be the one that works on the run.
pub(crate) const POLL: Duration = Duration::from_secs(1);
/// Events read at once.
const EVENTS_MAX: u32 = 256;
/// Kinds of events after which a run may have ended.
const ENDINGS: [&str; 4] = ["succeeded", "failed", "cancelled", "timed_out"];

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    /// An event of the store.
    Event(Event),
    /// How far the step at work is.
    Progress(Progress),
}

/// A watched run.
struct Watch {
    hub: Arc<Hub>,
    run_id: String,
    /// INVARIANT: every event up to this one was handed on or is in `ready`, and none after it.
    last: u64,
    news: Receiver<News>,
    ready: VecDeque<Item>,
    /// The store may hold more than was read.
    behind: bool,
    ended: bool,
    poll: Interval,
    _seat: OwnedSemaphorePermit,
}

/// The events of a run after `after_seq` and its progress, until the run has ended and all was handed on. Errors: `NotFound`, `Busy`; in the
/// stream, once and last, what the store says.
pub(crate) async fn watch(
    api: &Api,
    actor: &Actor,
    run_id: &str,
    after_seq: u64,
) -> Result<impl Stream<Item = Result<Item>> + Send + use<>> {
    actor.may(Role::Viewer)?;
    let seat = api.seats.watcher()?;
    let run = find(api, run_id).await?;
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = Watch {
        hub: Arc::clone(&api.hub),
        run_id: run.run_id,
        last: after_seq,
        // Listens before it reads: what happens in between is heard, and dropped if it was read.
        news: api.hub.listen(),
        ready: VecDeque::new(),
        behind: true,
        ended: false,
        poll,
        _seat: seat,
    };
    Ok(futures::stream::unfold(watch, |mut watch| async move { watch.next().await.map(|item| (item, watch)) }))
}

/// Returns when something was told of the run, or after `most`.
pub(crate) async fn something(news: &mut Receiver<News>, run_id: &str, most: Duration) {
    let heard = async {
        loop {
            match news.recv().await {
                Ok(News { run_id: of, what: What::Event(_) }) if of == run_id => return,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    // Either way the caller looks again.
    let _ = tokio::time::timeout(most, heard).await;
}

impl Watch {
    async fn next(&mut self) -> Option<Result<Item>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(Ok(item));
            }
            if self.ended {
                return None;
            }
            if !self.behind {
                self.listen().await;
            } else if let Err(error) = self.read().await {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }

    /// Reads what the store holds more. The run is read before its events: if it had ended by then, its last event is among them.
    async fn read(&mut self) -> Result<()> {
        let run = self.hub.store.get(&self.run_id).await?.ok_or_else(|| Error::no_run(&self.run_id))?;
        self.behind = false;
        if run.event_seq > self.last {
            let events = self.hub.store.events(&self.run_id, self.last, EVENTS_MAX).await?;
            // A page that is empty though there should be more is asked for again at the next poll, not at once.
            self.behind = !events.is_empty();
            for event in events {
                self.last = event.seq;
                self.ready.push_back(Item::Event(event));
            }
        }
        let caught_up = run.event_seq <= self.last;
        self.behind &= !caught_up;
        self.ended = run.state.is_terminal() && caught_up;
        Ok(())
    }

    async fn listen(&mut self) {
        tokio::select! {
            told = self.news.recv() => match told {
                Ok(news) if news.run_id == self.run_id => self.heard(news.what),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.behind = true,
                Err(RecvError::Closed) => {
                    self.poll.tick().await;
                    self.behind = true;
                }
            },
            _ = self.poll.tick() => self.behind = true,
        }
    }

    fn heard(&mut self, what: What) {
        match what {
            What::Progress(progress) => self.ready.push_back(Item::Progress(progress)),
            What::Event(event) if event.seq == self.last + 1 => {
                self.last = event.seq;
                self.behind = ENDINGS.contains(&event.kind.as_str());
                self.ready.push_back(Item::Event(event));
            }
            What::Event(event) => self.behind = event.seq > self.last,
        }
    }
}
