//! The calls about runs, whatever they arrive by. Never executes a run, and never changes one but through the store.

use crate::api::Api;
use crate::api::auth::{Actor, Role};
use crate::api::error::{Error, Result};
use crate::api::plans::{self, Checked};
use crate::api::watch;
use crate::body::RunBody;
use crate::hub::{News, What};
use serde_json::Value;
use std::time::Duration;
use strata_runtime::clock::{self, Stopwatch};
use strata_store::{Created, ListQuery, LogLine, NewRun, RunPage, RunRecord, RunState};

/// Longest wait of one call.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);
/// Longest time a run may be given.
pub(crate) const TIMEOUT_SECONDS_MAX: u64 = 30 * 24 * 3600;
/// Runs of a page if nothing is said, and at most.
const PAGE: (u32, u32) = (50, 1000);
/// Log lines of a page if nothing is said, and at most.
const LOG_PAGE: (u32, u32) = (1000, 10_000);
/// Characters of a reason.
const REASON_MAX: usize = 500;
/// Characters of a path or of a variable's name.
const NAME_MAX: usize = 4096;
/// Variables of a run.
const VARS_MAX: usize = 1000;

/// A run that is asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) body: RunBody,
    pub(crate) request_id: Option<String>,
    pub(crate) validate_only: bool,
}

/// What came of asking.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Absent if only the pipeline was to be checked.
    pub(crate) run: Option<RunRecord>,
    /// An earlier call had made it.
    pub(crate) existing: bool,
    /// What there is to say of the pipeline.
    pub(crate) checked: Checked,
}

/// Accepts a run, or gives the one that the same request made before. Errors: `Pipeline` with every diagnostic, `KeyReused`, `Invalid`, `Denied`,
/// `Busy`, `Unavailable`.
pub(crate) async fn create(api: &Api, actor: &Actor, asked: Asked) -> Result<Answer> {
    actor.may(Role::Runner)?;
    let Asked { mut body, request_id, validate_only } = asked;
    sound(&body, request_id.as_deref())?;
    body.created_by = actor.name.to_string();
    let seat = api.seats.planner().await?;
    let (text, seat) = plans::read(seat, body.clone()).await?;
    if validate_only {
        let (checked, _seat) = if text.name.is_some() { plans::compiled(seat, body).await? } else { (text, seat) };
        return Ok(Answer { run: None, existing: false, checked });
    }
    let text = text.passed()?;
    let Some(pipeline) = text.name.clone() else { return Err(Error::Internal("a pipeline without errors has no name")) };
    // A repeated request is answered even if the files it reads have changed since.
    let known = match &request_id {
        Some(key) => api.hub.store.lookup(&pipeline, key).await?,
        None => None,
    };
    let (checked, _seat) = match known {
        Some(_) => (text, seat),
        None => {
            let (checked, seat) = plans::compiled(seat, body.clone()).await?;
            (checked.passed()?, seat)
        }
    };
    let new = NewRun { run_id: clock::run_id(), pipeline, request_id, body: Value::Null };
    let created = store(api, new, body).await?;
    let existing = matches!(created, Created::Same(_));
    let (Created::New(run) | Created::Same(run)) = created;
    if !existing {
        api.hub.bell.notify_one();
        tell(api, &run).await;
    }
    Ok(Answer { run: Some(run), existing, checked })
}

/// The store compares whole bodies. Who asks is in the body, for the record, and is no part of what is asked: where only that differs, it is the
/// same request.
async fn store(api: &Api, new: NewRun, body: RunBody) -> Result<Created> {
    let with = |body: &RunBody| -> Result<NewRun> {
        let value = serde_json::to_value(body).map_err(|_| Error::Internal("the request cannot be written as JSON"))?;
        Ok(NewRun { body: value, ..new.clone() })
    };
    let original = match api.hub.store.create(with(&body)?).await {
        Err(strata_store::Error::KeyReused { original }) => original,
        other => return Ok(other?),
    };
    let first = match api.hub.store.get(&original).await? {
        Some(run) => RunBody::of(&run).map_or_else(|_| String::new(), |b| b.created_by),
        None => return Err(Error::KeyReused { original }),
    };
    if first == body.created_by {
        return Err(Error::KeyReused { original });
    }
    Ok(api.hub.store.create(with(&RunBody { created_by: first, ..body })?).await?)
}

/// A run. Errors: `NotFound`.
pub(crate) async fn get(api: &Api, actor: &Actor, run_id: &str) -> Result<RunRecord> {
    actor.may(Role::Viewer)?;
    find(api, run_id).await
}

/// A page of runs. Errors: `Invalid` for a page token or size that cannot be.
pub(crate) async fn list(api: &Api, actor: &Actor, mut query: ListQuery) -> Result<RunPage> {
    actor.may(Role::Viewer)?;
    query.page_size = sized(query.page_size, PAGE)?;
    Ok(api.hub.store.list(&query).await?)
}

/// The run of a key. Errors: `NotFound`.
pub(crate) async fn lookup(api: &Api, actor: &Actor, pipeline: &str, request_id: &str) -> Result<RunRecord> {
    actor.may(Role::Viewer)?;
    let found = api.hub.store.lookup(pipeline, request_id).await?;
    found.ok_or_else(|| Error::NotFound("no run of this pipeline was created under this request id".to_owned()))
}

/// A run once its etag is not `etag` any more (without one: once it has ended), or as it is after `timeout`. Errors: `NotFound`, `Busy`.
pub(crate) async fn wait(
    api: &Api,
    actor: &Actor,
    run_id: &str,
    timeout: Option<Duration>,
    etag: Option<&str>,
) -> Result<RunRecord> {
    actor.may(Role::Viewer)?;
    let timeout = timeout.unwrap_or(WAIT_MAX);
    if timeout > WAIT_MAX {
        return Err(Error::Invalid("one wait is at most 60 s\n  help: wait again with the run's etag".to_owned()));
    }
    let _seat = api.seats.watcher()?;
    let (watch, mut news) = (Stopwatch::start(), api.hub.listen());
    loop {
        let run = find(api, run_id).await?;
        let changed = etag.is_some_and(|e| e != run.etag());
        let left = timeout.saturating_sub(watch.elapsed());
        if run.state.is_terminal() || changed || left.is_zero() {
            return Ok(run);
        }
        watch::something(&mut news, run_id, left.min(watch::POLL)).await;
    }
}

/// Asks a run to stop. Errors: `NotFound`.
pub(crate) async fn cancel(api: &Api, actor: &Actor, run_id: &str, reason: &str) -> Result<RunRecord> {
    actor.may(Role::Runner)?;
    if reason.chars().count() > REASON_MAX {
        return Err(Error::Invalid(format!("a reason has at most {REASON_MAX} characters")));
    }
    let before = find(api, run_id).await?;
    let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
    let said =
        if reason.is_empty() { format!("asked by `{}`", actor.name) } else { format!("asked by `{}`: {reason}", actor.name) };
    let run = api.hub.store.request_cancel(run_id, &said).await?;
    changed(api, &before, &run).await;
    Ok(run)
}

/// Queues a run again. Errors: `NotFound`, `Illegal` if it succeeded.
pub(crate) async fn resume(api: &Api, actor: &Actor, run_id: &str) -> Result<RunRecord> {
    actor.may(Role::Runner)?;
    let before = find(api, run_id).await?;
    if before.state == RunState::Cancelling {
        return Err(Error::Illegal(format!("run `{run_id}` is being cancelled\n  help: resume it once it is CANCELLED")));
    }
    let run = api.hub.store.request_resume(run_id).await?;
    if run.event_seq != before.event_seq {
        let line = ("info".to_owned(), format!("resume asked by `{}`", actor.name));
        api.hub.store.log(run_id, &[line]).await?;
    }
    changed(api, &before, &run).await;
    Ok(run)
}

/// Lines of a run's log. Errors: `NotFound`.
pub(crate) async fn logs(api: &Api, actor: &Actor, run_id: &str, after_seq: u64, page_size: u32) -> Result<Vec<LogLine>> {
    actor.may(Role::Viewer)?;
    find(api, run_id).await?;
    Ok(api.hub.store.logs(run_id, after_seq, sized(page_size, LOG_PAGE)?).await?)
}

/// The run report so far. Errors: `NotFound`: no such run, or no report yet.
pub(crate) async fn report(api: &Api, actor: &Actor, run_id: &str) -> Result<Value> {
    actor.may(Role::Viewer)?;
    let run = find(api, run_id).await?;
    let report = api.hub.store.report(run_id).await?;
    report.ok_or_else(|| Error::NotFound(format!("run `{}` has no report yet: it is {}", run.run_id, run.state.name())))
}

pub(crate) async fn find(api: &Api, run_id: &str) -> Result<RunRecord> {
    api.hub.store.get(run_id).await?.ok_or_else(|| Error::no_run(run_id))
}

/// The leader looks, watchers hear. Rings even if nothing changed: a bell that was lost costs nothing to ring again.
async fn changed(api: &Api, before: &RunRecord, run: &RunRecord) {
    api.hub.bell.notify_one();
    if run.event_seq != before.event_seq {
        tell(api, run).await;
    }
}

/// The run's last event as news; whoever misses some reads the store.
async fn tell(api: &Api, run: &RunRecord) {
    if let Ok(events) = api.hub.store.events(&run.run_id, run.event_seq.saturating_sub(1), 1).await {
        for event in events {
            api.hub.tell(News { run_id: run.run_id.clone(), what: What::Event(event) });
        }
    }
}

fn sized(asked: u32, (usual, most): (u32, u32)) -> Result<u32> {
    match asked {
        0 => Ok(usual),
        n if n <= most => Ok(n),
        n => Err(Error::Invalid(format!("a page has at most {most} rows, and {n} were asked for"))),
    }
}

/// Errors: `Invalid` for what no pipeline file can be blamed for.
fn sound(body: &RunBody, request_id: Option<&str>) -> Result<()> {
    let wrong = |text: &str| Err(Error::Invalid(text.to_owned()));
    if body.pipeline.is_empty() {
        return wrong("the text of the pipeline is missing\n  help: send the file's text, not its path");
    }
    if body.file.chars().count() > NAME_MAX || body.file.chars().any(char::is_control) {
        return wrong("the pipeline's path is no path");
    }
    if body.vars.len() > VARS_MAX || body.vars.iter().any(|(name, value)| name.len() > NAME_MAX || value.len() > 16 * NAME_MAX) {
        return wrong("there are too many variables, or one is too long");
    }
    if body.timeout_seconds.is_some_and(|s| s == 0 || s > TIMEOUT_SECONDS_MAX) {
        return wrong("a timeout is from 1 s to 30 days");
    }
    match request_id {
        Some(key) if key.is_empty() || key.chars().count() > 128 || key.chars().any(char::is_control) => {
            wrong("a request id has 1 to 128 characters")
        }
        _ => Ok(()),
    }
}
