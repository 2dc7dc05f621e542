//! Verbs that speak to a coordinator: `run --to` and `runs …`. Never runs a step itself, and never prints a token.

mod client;
mod failure;
mod follow;
mod run;
mod runs;
mod shown;

use crate::args::{Output, Pipeline};
use crate::render;
use clap::{Args, Subcommand};
use failure::Failure;
use std::path::PathBuf;
use strata_proto::v1;

/// Success.
const OK: u8 = 0;
/// Where `strata coordinator` listens if nothing else is said.
const USUAL: &str = "http://127.0.0.1:7420";

/// How to reach a coordinator.
#[derive(Debug, Clone, Args)]
pub(crate) struct Access {
    /// File with the token to show to the coordinator; the variable STRATA_TOKEN does the same.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate (PEM) of the authority that the coordinator's certificate is signed by; `https` needs it.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// `run` on a cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunTo {
    /// Runs on the coordinator at this address, e.g. `http://127.0.0.1:7420`, instead of in this process.
    #[arg(long, value_name = "URL", conflicts_with_all = ["memory", "threads", "spill_dir", "state", "round_trip"])]
    pub(crate) to: Option<String>,
    /// Waits for the end of the run and shows its progress; so it is anyway.
    #[arg(long, requires = "to", conflicts_with = "detach")]
    wait: bool,
    /// Prints the run's id and returns at once.
    #[arg(long, requires = "to", conflicts_with = "report")]
    detach: bool,
    /// Idempotency key: the same request under the same key is the same run, however often it is asked for.
    #[arg(long, requires = "to", value_name = "KEY")]
    request_id: Option<String>,
    /// Ends the run when it has taken this long, e.g. `90s`, `30m` or `2h`; then the exit code is 124.
    #[arg(long, requires = "to", value_name = "TIME", value_parser = seconds)]
    timeout: Option<u64>,
    /// How to reach it.
    #[command(flatten)]
    access: Access,
}

/// `runs`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunsArgs {
    /// What to do.
    #[command(subcommand)]
    what: What,
    /// Address of the coordinator.
    #[arg(long, global = true, value_name = "URL", default_value = USUAL)]
    to: String,
    /// File with the token to show to the coordinator; the variable STRATA_TOKEN does the same.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate (PEM) of the authority that the coordinator's certificate is signed by; `https` needs it.
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// For people or for machines.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What to do with runs.
#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Lists runs, newest first.
    List {
        /// Only of this pipeline.
        #[arg(long)]
        pipeline: Option<String>,
        /// Only in these states, e.g. `queued,running`.
        #[arg(long, value_delimiter = ',', value_parser = state)]
        state: Vec<v1::RunState>,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Shows a run.
    Get {
        /// The run.
        run: String,
    },
    /// Follows a run to its end; the exit code is the run's.
    Watch {
        /// The run.
        run: String,
    },
    /// Prints a run's log.
    Logs {
        /// The run.
        run: String,
    },
    /// Shows what a run did.
    Report {
        /// The run.
        run: String,
    },
    /// Asks a run to stop.
    Cancel {
        /// The run.
        run: String,
        /// Why, for those who look at it later.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Queues a failed, cancelled or timed-out run again; its finished steps stay finished.
    Resume {
        /// The run.
        run: String,
        /// Follows it to its end.
        #[arg(long)]
        wait: bool,
    },
}

/// `strata run --to URL`.
pub(crate) async fn run(pipeline: &Pipeline, to: &str, asked: &RunTo, report: Option<&PathBuf>) -> u8 {
    said(run::run(pipeline, to, asked, report).await)
}

/// `strata runs …`.
pub(crate) async fn runs(args: RunsArgs) -> u8 {
    said(runs::run(args).await)
}

fn said(result: Result<u8, Failure>) -> u8 {
    result.unwrap_or_else(|failure| {
        render::line(&format!("error: {}", failure.message));
        failure.code
    })
}

fn state(name: &str) -> Result<v1::RunState, String> {
    let name = format!("RUN_STATE_{}", name.trim().to_ascii_uppercase());
    match v1::RunState::from_str_name(&name) {
        Some(v1::RunState::Unspecified) | None => {
            Err("states are queued, running, cancelling, succeeded, failed, cancelled, timed_out".into())
        }
        Some(state) => Ok(state),
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[at..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("write a time such as `90s`, `30m` or `2h`".into()),
    };
    let number: Option<u64> = text[..at].parse().ok();
    match number.and_then(|n| n.checked_mul(unit)) {
        Some(seconds) if (1..=30 * 86_400).contains(&seconds) => Ok(seconds),
        _ => Err("write a time from `1s` to `30d`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_states_are_read() {
        assert_eq!((seconds("90"), seconds("30m"), seconds("2h")), (Ok(90), Ok(1800), Ok(7200)));
        assert!(["", "0", "m", "1w", "31d", "99999999999999999999s"].iter().all(|t| seconds(t).is_err()));
        assert_eq!((state("queued"), state("TIMED_OUT")), (Ok(v1::RunState::Queued), Ok(v1::RunState::TimedOut)));
        assert!(state("unspecified").is_err() && state("done").is_err());
    }
}
