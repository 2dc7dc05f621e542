//! The command line. Never holds a default that changes results.

use chrono::{DateTime, NaiveDate, Utc};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Customer attributes, segments and panels from one pipeline file.
#[derive(Debug, Parser)]
#[command(name = "strata", version, about, max_term_width = 110)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Makes a folder with a pipeline and a small retailer's generated data to try it on.
    Init {
        /// Folder to make.
        #[arg(default_value = "strata-quickstart")]
        dir: PathBuf,
        /// Runs the pipeline as well, and prints where its tables are.
        #[arg(long)]
        run: bool,
    },
    /// Checks a pipeline: every error at once, each with its place and what to do. Runs nothing.
    Check(Pipeline),
    /// Shows what a run would do and why: steps, files, rows and bytes to read.
    Plan {
        /// Pipeline and variables.
        #[command(flatten)]
        pipeline: Pipeline,
        /// Folder for tables between steps and for run reports.
        #[arg(long, default_value = ".strata")]
        state: PathBuf,
    },
    /// Runs a pipeline and publishes its outputs.
    Run {
        /// Pipeline and variables.
        #[command(flatten)]
        pipeline: Pipeline,
        /// Resident memory to stay within, e.g. `512MB` or `4GB`.
        #[arg(long, value_parser = bytes)]
        memory: Option<u64>,
        /// Threads.
        #[arg(long)]
        threads: Option<usize>,
        /// Folder for rows that do not fit the memory.
        #[arg(long)]
        spill_dir: Option<PathBuf>,
        /// Folder for tables between steps and for run reports.
        #[arg(long, default_value = ".strata")]
        state: PathBuf,
        /// Writes the run report (JSON) here as well.
        #[arg(long)]
        report: Option<PathBuf>,
        /// Does every step, whatever an earlier run on this machine left.
        #[arg(long)]
        fresh: bool,
        /// Sends every plan through its wire format before it runs, as a cluster would.
        #[arg(long, hide = true)]
        round_trip: bool,
        /// On a cluster instead.
        #[cfg(feature = "cluster")]
        #[command(flatten)]
        remote: crate::remote::RunTo,
    },
    /// Lists where the current version of each output is.
    Outputs(Pipeline),
    /// Looks at the runs of a coordinator, stops them and lets them go on.
    #[cfg(feature = "cluster")]
    Runs(crate::remote::RunsArgs),
    /// Serves the run API and gives work to workers, until it is told to stop.
    #[cfg(feature = "cluster")]
    Coordinator(crate::cluster::CoordinatorArgs),
    /// Runs tasks for a coordinator, until it is told to stop.
    #[cfg(feature = "cluster")]
    Worker(crate::cluster::WorkerArgs),
    /// Starts a whole cluster on this machine, to try.
    #[cfg(feature = "cluster")]
    Dev(crate::cluster::DevArgs),
    /// Removes what ended runs left behind.
    #[cfg(feature = "cluster")]
    Gc(crate::cluster::GcArgs),
    /// Explains a diagnostic code, e.g. `strata explain S0302`.
    Explain {
        /// The code.
        code: String,
    },
}

/// A pipeline and what it is run with.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Pipeline {
    /// Pipeline file, or a folder with a `pipeline.yaml`.
    pub(crate) path: PathBuf,
    /// Sets a variable of the pipeline: `-p data=DIR`.
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) vars: Vec<(String, String)>,
    /// The instant the run looks back from, e.g. `2026-01-01T00:00:00Z`.
    #[arg(long, value_parser = instant)]
    pub(crate) as_of: Option<DateTime<Utc>>,
    /// For people or for machines.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// Form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Args {
    /// Whether `--memory` is given.
    pub(crate) fn has_memory_budget(&self) -> bool {
        #[cfg(feature = "cluster")]
        if let Verb::Worker(worker) = &self.verb {
            return worker.memory.is_some();
        }
        matches!(&self.verb, Verb::Run { memory: Some(_), .. })
    }

    /// Threads of the process.
    pub(crate) fn threads(&self) -> usize {
        let given = match &self.verb {
            Verb::Run { threads, .. } => *threads,
            _ => None,
        };
        given.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, |n| n.get())).max(1)
    }
}

pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, e.g. `-p data=./data`".into()),
    }
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.with_timezone(&Utc));
    }
    match text.parse::<NaiveDate>() {
        Ok(_) => Err(format!("a day is not an instant; write `{text}T00:00:00Z`, or with the offset of your time zone")),
        Err(_) => Err("write an instant such as `2026-01-01T00:00:00Z`".into()),
    }
}

pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..at].parse().map_err(|_| "write a size such as `512MB`".to_owned())?;
    let unit: u64 = match text[at..].trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" => 1000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "KIB" => 1 << 10,
        "MIB" => 1 << 20,
        "GIB" => 1 << 30,
        _ => return Err("write a size such as `512MB` or `4GB`".into()),
    };
    match number * unit {
        n if n < 192_000_000 => Err("at least 192MB are needed".into()),
        n => Ok(n),
    }
}
