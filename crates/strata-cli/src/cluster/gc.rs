//! `strata gc`: removes what ended runs left in the work area, and forgets old runs. Never touches a table, or anything of a run that may go on.

use super::{FAILED, USAGE, store};
use crate::render;
use clap::Args;
use std::collections::BTreeSet;
use std::time::Duration;
use strata_runtime::sweep;
use strata_store::RunState;

/// Arguments of `strata gc`.
#[derive(Debug, Clone, Args)]
pub(crate) struct GcArgs {
    /// Where runs are kept, as for `strata coordinator`.
    #[arg(long, default_value = ".strata/runs.db")]
    pub(crate) store: String,
    /// The work area, as for `strata coordinator`.
    #[arg(long, default_value = ".strata/work")]
    pub(crate) work: String,
    /// Runs that ended longer ago are forgotten, with their request ids.
    #[arg(long, default_value_t = 30)]
    pub(crate) keep_days: u64,
    /// Only says what it would remove.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(args: GcArgs) -> Result<u8, (u8, String)> {
    let failed = |text: String| (FAILED, text);
    let runs = store::open(&args.store).await.map_err(failed)?;
    let work = strata_runtime::store::place(&args.work).map_err(|e| (USAGE, e.to_string()))?;
    let keep = Duration::from_secs(args.keep_days * 86_400);
    let mut removed = BTreeSet::new();
    for run_id in sweep::folders(&work).await.map_err(|e| failed(e.to_string()))? {
        // What another tool put there, or a run that may be resumed, stays.
        let gone = match runs.get(&run_id).await.map_err(|e| failed(e.to_string()))? {
            None => false,
            Some(run) => match (run.state, run.ended_at) {
                (RunState::Succeeded, _) => true,
                (state, Some(at)) if state.is_terminal() => {
                    (strata_runtime::clock::now() - at).to_std().is_ok_and(|age| age > keep)
                }
                _ => false,
            },
        };
        if !gone {
            continue;
        }
        if !args.dry_run {
            sweep::clear(&work.join(&run_id)).await.map_err(|e| failed(e.to_string()))?;
        }
        removed.insert(run_id);
    }
    let forgotten = if args.dry_run { 0 } else { runs.purge(keep).await.map_err(|e| failed(e.to_string()))? };
    let verb = if args.dry_run { "would remove" } else { "removed" };
    render::line(&format!("{verb} the work of {} runs, forgot {forgotten} runs", removed.len()));
    for run_id in removed {
        render::data(&run_id);
    }
    Ok(0)
}
