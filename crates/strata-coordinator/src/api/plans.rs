//! Pipelines looked at: read, compiled, planned. Never runs a step, and never works on a thread whose stack a deep expression could exhaust.

use crate::api::Api;
use crate::api::auth::{Actor, Role};
use crate::api::error::{Error, Result};
use crate::api::place;
use crate::body::{RunBody, instant};
use chrono::{DateTime, Utc};
use std::time::Duration;
use strata_engine::load::{LoadOptions, verdict};
use strata_spec::{Diagnostic, SourceText, Span};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Stack of a thread that plans: plans are deep trees that compilers walk recursively.
const STACK_BYTES: usize = 64 << 20;
/// How long reading and compiling one pipeline may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// What was found in a pipeline.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Its text.
    pub(crate) source: SourceText,
    /// Its name; absent if it cannot be read.
    pub(crate) name: Option<String>,
    /// Everything found, in the order of the file.
    pub(crate) found: Vec<Diagnostic>,
}

/// What a run would do.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) source: SourceText,
    pub(crate) pipeline: String,
    pub(crate) as_of: DateTime<Utc>,
    pub(crate) timezone: &'static str,
    pub(crate) steps: Vec<(String, Option<Span>)>,
    pub(crate) sources: Vec<PlannedSource>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// A source of a plan.
#[derive(Debug)]
pub(crate) struct PlannedSource {
    pub(crate) name: String,
    pub(crate) files: u64,
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: u64,
}

/// Everything wrong with a pipeline. Errors: `Denied`, `Busy`, `Unavailable` if it takes too long.
pub(crate) async fn check(api: &Api, actor: &Actor, body: RunBody) -> Result<Checked> {
    actor.may(Role::Runner)?;
    let seat = api.seats.planner().await?;
    compiled(seat, body).await.map(|(checked, _)| checked)
}

/// What a run would do. Errors: `Pipeline` with everything that is wrong, besides those of [`check`].
pub(crate) async fn plan(api: &Api, actor: &Actor, body: RunBody) -> Result<Plan> {
    actor.may(Role::Runner)?;
    let seat = api.seats.planner().await?;
    let (_seat, outcome) = on_own_thread(seat, async move { planned(&body).await }).await?;
    outcome
}

/// The page of a diagnostic code. Errors: `NotFound`.
pub(crate) fn explain(actor: &Actor, code: &str) -> Result<(String, &'static str)> {
    actor.may(Role::Viewer)?;
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(16).collect::<String>().to_ascii_uppercase();
    let page = strata_spec::codes::explain(&code);
    match page {
        Some(page) => Ok((code, page)),
        None => Err(Error::NotFound(format!("there is no diagnostic `{code}`\n  help: codes look like S0302"))),
    }
}

/// Reads the text alone: fast, and the same whatever the files hold. Gives the seat back.
pub(crate) async fn read(seat: OwnedSemaphorePermit, body: RunBody) -> Result<(Checked, OwnedSemaphorePermit)> {
    let (seat, checked) = on_own_thread(seat, async move {
        let source = body.source();
        let loaded = strata_spec::load(&source, &body.vars());
        Checked { source, name: loaded.pipeline.map(|p| p.name.value), found: loaded.diagnostics }
    })
    .await?;
    Ok((checked, seat))
}

/// Reads and compiles as far as can be without the files: declared columns stand for those that are not there.
pub(crate) async fn compiled(seat: OwnedSemaphorePermit, body: RunBody) -> Result<(Checked, OwnedSemaphorePermit)> {
    let (seat, checked) = on_own_thread(seat, async move {
        let loaded = strata_engine::load::load_text(body.source(), &options(&body, true)).await;
        let mut found = loaded.diagnostics;
        if let Some(pipeline) = &loaded.pipeline {
            found.extend(place::relative(pipeline));
            if loaded.catalog.sources.len() == pipeline.sources.len() {
                found.extend(strata_plan::compile(pipeline, loaded.clock, loaded.catalog).diagnostics);
            }
        }
        found.sort_by_key(|d| d.span);
        Checked { source: loaded.source, name: loaded.pipeline.map(|p| p.name.value), found }
    })
    .await?;
    Ok((checked, seat))
}

impl Checked {
    /// The same if nothing is an error. Errors: `Pipeline`, with warnings too.
    pub(crate) fn passed(self) -> Result<Self> {
        match verdict(&self.found) {
            Ok(()) => Ok(self),
            Err(_) => Err(Error::Pipeline { source_text: Box::new(self.source), found: self.found }),
        }
    }
}

fn options(body: &RunBody, offline: bool) -> LoadOptions {
    LoadOptions { vars: body.vars(), as_of: body.as_of.as_deref().and_then(instant), offline, ..LoadOptions::default() }
}

async fn planned(body: &RunBody) -> Result<Plan> {
    let loaded = strata_engine::load::load_text(body.source(), &options(body, false)).await;
    let mut found = loaded.diagnostics;
    let outcome = match &loaded.pipeline {
        Some(pipeline) if loaded.catalog.sources.len() == pipeline.sources.len() => {
            found.extend(place::relative(pipeline));
            Some(strata_plan::compile(pipeline, loaded.clock, loaded.catalog))
        }
        _ => None,
    };
    found.extend(outcome.iter().flat_map(|o| o.diagnostics.iter().cloned()));
    found.sort_by_key(|d| d.span);
    let (None, Some(pipeline), Some(compiled)) = (verdict(&found).err(), &loaded.pipeline, outcome.and_then(|o| o.compiled))
    else {
        return Err(Error::Pipeline { source_text: Box::new(loaded.source), found });
    };
    let sources = compiled.pinned_sources().map(|(name, pinned)| PlannedSource {
        name: name.to_owned(),
        files: pinned.files.len() as u64,
        rows: pinned.rows(),
        bytes: pinned.bytes(),
    });
    Ok(Plan {
        pipeline: pipeline.name.value.clone(),
        as_of: loaded.clock.as_of,
        timezone: loaded.clock.timezone.name(),
        steps: strata_engine::planned_steps(&compiled).iter().map(|s| (s.label(), s.span(pipeline))).collect(),
        sources: sources.collect(),
        warnings: found,
        source: loaded.source,
    })
}

/// Works on a thread of its own, with a deep stack. One that takes too long is left to itself; it keeps its seat until it ends.
async fn on_own_thread<T: Send + 'static>(
    seat: OwnedSemaphorePermit,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<(OwnedSemaphorePermit, T)> {
    let (done, result) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new().name("plan".into()).stack_size(STACK_BYTES).spawn(move || {
        let made = runtime.block_on(work);
        // Whoever asked may have gone.
        let _ = done.send((seat, made));
    });
    thread.map_err(|_| Error::Unavailable("no thread can be started"))?;
    match tokio::time::timeout(DEADLINE, result).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(_)) => Err(Error::Internal("reading the pipeline failed")),
        Err(_) => Err(Error::Unavailable("reading or compiling the pipeline takes too long")),
    }
}
