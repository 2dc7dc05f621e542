//! `strata gc`: removes what ended runs left behind, in the work area and below tables, and forgets old runs. Never touches a file that a version
//! of a table lists, or anything of a run that may go on.

use super::{FAILED, USAGE, store};
use crate::render;
use chrono::{DateTime, Utc};
use clap::Args;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use strata_coordinator::body::RunBody;
use strata_runtime::clock;
use strata_runtime::store::{Place, place};
use strata_runtime::sweep::{self, Leftover, What};
use strata_spec::{Pipeline, SourceText};
use strata_store::{ListQuery, RunState, RunStore};

/// Runs read from the store at a time.
const PAGE: u32 = 200;
/// What a run left that the store does not know, for it ran in a process of its own, must be so old at least: nothing tells whether it is still
/// at work, and clocks may be days off.
const UNKNOWN_DAYS_MIN: u64 = 7;

/// Arguments of `strata gc`.
#[derive(Debug, Clone, Args)]
pub(crate) struct GcArgs {
    /// A pipeline below whose tables is looked as well, besides those of every run in the store.
    pub(crate) pipeline: Option<PathBuf>,
    /// Sets a variable of the pipeline: `-p data=DIR`.
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", value_parser = crate::args::pair, requires = "pipeline")]
    pub(crate) vars: Vec<(String, String)>,
    /// Where runs are kept, as for `strata coordinator`.
    #[arg(long, default_value = ".strata/runs.db")]
    pub(crate) store: String,
    /// The work area, as for `strata coordinator`.
    #[arg(long, default_value = ".strata/work")]
    pub(crate) work: String,
    /// Runs that ended longer ago are forgotten, with their request ids; what they left is removed, so they cannot be resumed.
    #[arg(long, default_value_t = 30)]
    pub(crate) keep_days: u64,
    /// Only says what it would remove.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(args: GcArgs) -> Result<u8, (u8, String)> {
    let failed = |text: String| (FAILED, text);
    let runs = store::open(&args.store).await.map_err(failed)?;
    let work = place(&args.work).map_err(|e| (USAGE, e.to_string()))?;
    let keep = Duration::from_secs(args.keep_days.saturating_mul(86_400));
    let mut found = sweep::work(&work).await.map_err(|e| failed(e.to_string()))?;
    let mut code = 0;
    for address in tables(&args, runs.as_ref()).await? {
        match unlisted(&address).await {
            Ok(more) => found.extend(more),
            // A table that cannot be read keeps the others from nothing.
            Err(e) => {
                render::line(&format!("warning: nothing is removed below `{address}`: {e}"));
                code = FAILED;
            }
        }
    }
    let mut removed = BTreeSet::new();
    for leftover in &found {
        if !is_over(runs.as_ref(), leftover, keep).await.map_err(|e| failed(e.to_string()))? {
            continue;
        }
        if !args.dry_run {
            leftover.remove().await.map_err(|e| failed(e.to_string()))?;
        }
        leftover.addresses().iter().for_each(|a| render::data(a));
        removed.insert(leftover.run_id.clone());
    }
    let verb = if args.dry_run { "would remove" } else { "removed" };
    let forgotten = if args.dry_run || code != 0 { 0 } else { runs.purge(keep).await.map_err(|e| failed(e.to_string()))? };
    render::line(&format!("{verb} what {} runs left, forgot {forgotten} runs", removed.len()));
    Ok(code)
}

/// Whether nobody will come back to it.
async fn is_over(runs: &dyn RunStore, leftover: &Leftover, keep: Duration) -> strata_store::Result<bool> {
    let older = |at: DateTime<Utc>, than: Duration| (clock::now() - at).to_std().is_ok_and(|age| age >= than);
    Ok(match runs.get(&leftover.run_id).await? {
        Some(run) if !run.state.is_terminal() => false,
        // Nothing is added to a table by a run that succeeded.
        Some(run) if run.state == RunState::Succeeded && leftover.what != What::Unpublished => true,
        // Any other may be resumed as long as it is known.
        Some(run) => run.ended_at.is_some_and(|at| older(at, keep)),
        None => {
            let age = keep.max(Duration::from_secs(UNKNOWN_DAYS_MIN * 86_400));
            clock::is_run_id(&leftover.run_id) && leftover.newest.is_some_and(|at| older(at, age))
        }
    })
}

async fn unlisted(address: &str) -> Result<Vec<Leftover>, String> {
    let table: Place = place(address).map_err(|e| e.to_string())?;
    sweep::unlisted(&table).await.map_err(|e| e.to_string())
}

/// Addresses of the tables that runs of the store write, and of the pipeline that was given.
async fn tables(args: &GcArgs, runs: &dyn RunStore) -> Result<BTreeSet<String>, (u8, String)> {
    let mut out = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut query = ListQuery { page_size: PAGE, ..ListQuery::default() };
    loop {
        let page = runs.list(&query).await.map_err(|e| (FAILED, e.to_string()))?;
        for run in &page.runs {
            // A run whose body cannot be read wrote nothing.
            let Ok(body) = RunBody::of(run) else { continue };
            if seen.insert((body.pipeline.clone(), body.vars.clone()))
                && let Some(pipeline) = strata_spec::load(&body.source(), &body.vars()).pipeline
            {
                out.extend(written_by(&pipeline));
            }
        }
        query.page_token = page.next_page_token;
        if query.page_token.is_none() {
            break;
        }
    }
    if let Some(path) = &args.pipeline {
        let file = if path.is_dir() { path.join("pipeline.yaml") } else { path.clone() };
        let text = std::fs::read_to_string(&file).map_err(|e| (USAGE, format!("cannot read `{}`: {e}", file.display())))?;
        let source = SourceText { path: file.display().to_string(), text };
        match strata_spec::load(&source, &args.vars).pipeline {
            Some(pipeline) => out.extend(written_by(&pipeline)),
            None => return Err((USAGE, format!("`{}` has errors\n  help: `strata check` shows them", file.display()))),
        }
    }
    Ok(out)
}

fn written_by(pipeline: &Pipeline) -> impl Iterator<Item = String> + '_ {
    let aside = pipeline.sources.iter().filter_map(|s| pipeline.quarantine_folder(&s.name.value));
    pipeline.outputs.iter().map(|o| o.to.value.clone()).chain(aside)
}
