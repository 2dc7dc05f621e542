//! The command line. Never holds a default that changes results.

use chrono::{DateTime, NaiveDate, Utc};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Customer attributes, segments and panels from one pipeline file.
#[derive(Debug, Parser)]
#[command(name = "strata", version, about, max_term_width = 110)]
pub(crate) struct Args {
    /// Publishes below this folder only (a path or `s3://…`): for whoever runs the pipelines of others.
    #[arg(long, global = true)]
    pub(crate) outputs_root: Option<String>,
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
        /// How many customers the retailer has.
        #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
        customers: u32,
        /// Runs the pipeline as well, and prints where its tables are.
        #[arg(long)]
        run: bool,
    },
    /// Checks a pipeline: every error at once, each with its place and what to do. Runs nothing.
    #[command(after_help = "Example: strata check shop --output sarif > found.sarif")]
    Check {
        /// Pipeline and variables.
        #[command(flatten)]
        given: Given,
        /// For people, or for machines.
        #[arg(long, value_enum, default_value_t = Findings::Text)]
        output: Findings,
    },
    /// Runs the tests that the pipeline holds: given rows, expected values. Needs no data.
    #[command(after_help = "Example: strata test shop --only 'late orders'")]
    Test {
        /// Pipeline and variables.
        #[command(flatten)]
        pipeline: Pipeline,
        /// Only tests whose name holds this.
        #[arg(long)]
        only: Option<String>,
    },
    /// Shows how one thing is made: what the file says, what it reads, the compiled plan. Runs nothing.
    #[command(
        after_help = "Example: strata sql shop net_365d\n\nNODE is a source, table, attribute, segment, profile, wave or output; \
        `customer.attributes` is all of an entity, `output.NAME` an output that is named as what it publishes."
    )]
    Sql {
        /// Pipeline file, or a folder with a `pipeline.yaml`, and variables.
        #[command(flatten)]
        pipeline: Pipeline,
        /// What to show.
        node: String,
    },
    /// Runs only what one thing needs, in this process, and shows its first rows. Publishes nothing.
    #[command(after_help = "Example: strata preview shop lifecycle --rows 5 -p data=./data")]
    Preview {
        /// Pipeline and variables.
        #[command(flatten)]
        pipeline: Pipeline,
        /// What to show: as in `strata sql`.
        node: String,
        /// How many rows.
        #[arg(long, default_value_t = 20)]
        rows: usize,
        /// Shows columns of the class `direct_id`, which are masked otherwise.
        #[arg(long)]
        show_personal: bool,
    },
    /// Shows who would enter and leave each segment if this file were published.
    #[command(after_help = "Example: strata diff shop -p data=./data -p out=./out --keys 10")]
    Diff {
        /// Pipeline and variables.
        #[command(flatten)]
        pipeline: Pipeline,
        /// Names the first of those who move, by their key.
        #[arg(long, value_name = "N", default_value_t = 0, num_args = 0..=1, default_missing_value = "10")]
        keys: usize,
    },
    /// Shows what a wave of the panel would be: who is eligible and why others are not, how many each stratum gives, what to
    /// expect.
    #[command(after_help = "Example: strata draw shop --wave spring --dry-run --what-if rest=20d --what-if 'adult=age >= 21'")]
    Draw {
        /// Pipeline and variables.
        #[command(flatten)]
        pipeline: Pipeline,
        /// Which wave; all of them if absent.
        #[arg(long)]
        wave: Option<String>,
        /// Draws nobody and writes nothing: `strata run` draws.
        #[arg(long, required_unless_present = "replay")]
        dry_run: bool,
        /// The `_manifest.json` of a published wave: draws it again, and says whether the same people come out.
        #[arg(long, value_name = "MANIFEST", conflicts_with_all = ["dry_run", "wave", "what_if"])]
        replay: Option<String>,
        /// Changes a setting of `fatigue`, `sample`, or a rule of `members`, and shows both.
        #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
        what_if: Vec<(String, String)>,
    },
    /// Weighs the answers that came back from a wave, and says how measures moved since the wave before.
    #[command(
        after_help = "Example: strata weights shop --wave spring --fieldwork answers.csv --measure satisfaction --by lifecycle \
        --out spring.csv\n\nThe file holds the entity key, `disposition` (complete, refused, no_answer, ineligible, unknown) and answers."
    )]
    Weights {
        /// Pipeline and variables.
        #[command(flatten)]
        pipeline: Pipeline,
        /// Which wave.
        #[arg(long)]
        wave: String,
        /// What came back: CSV or Parquet.
        #[arg(long)]
        fieldwork: String,
        /// The weights of an earlier wave, as `--out` wrote them: says how measures moved.
        #[arg(long)]
        before: Option<String>,
        /// A column of the fieldwork that is a number, to estimate.
        #[arg(long)]
        measure: Vec<String>,
        /// An attribute or segmentation to estimate by.
        #[arg(long)]
        by: Vec<String>,
        /// Writes the weights here, as CSV.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Writes the report here, as JSON.
        #[arg(long)]
        report: Option<PathBuf>,
    },
    /// Formats pipeline files in place; comments and order stay.
    #[command(after_help = "Example: strata fmt --check pipelines/*/pipeline.yaml")]
    Fmt {
        /// Pipeline files, or folders with a `pipeline.yaml`.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Changes nothing; says what would change, and exits with 1 if anything would.
        #[arg(long)]
        check: bool,
    },
    /// Prints what a preset or method stands for: parameters, defaults, rules; without a name, lists them.
    #[command(after_help = "Example: strata show lifecycle@1")]
    Show {
        /// The preset, with its version.
        preset: Option<String>,
    },
    /// Writes contracts for files.
    #[command(subcommand)]
    Contract(Contract),
    /// Looks at this machine and at every place of a pipeline: what a run needs, and what to do where it is not so.
    #[command(after_help = "Example: strata doctor shop -p data=s3://lake/shop -p out=s3://lake/out")]
    Doctor {
        /// Pipeline and variables.
        #[command(flatten)]
        pipeline: Pipeline,
    },
    /// Prints the JSON Schema of pipeline files, for editors.
    #[command(after_help = "Example: strata schema > strata.schema.json\n\nand as the first line of a pipeline: \
        # yaml-language-server: $schema=./strata.schema.json")]
    Schema,
    /// Prints the completions of a shell.
    #[command(after_help = "Example: strata completions bash > ~/.local/share/bash-completion/completions/strata")]
    Completions {
        /// Shell.
        shell: clap_complete::Shell,
    },
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

/// Verbs on contracts.
#[derive(Debug, Subcommand)]
pub(crate) enum Contract {
    /// Prints the `columns:` block that a source over these files could declare: types, nulls, few-valued texts, keys.
    #[command(after_help = "Example: strata contract infer 'data/transactions/*/*.parquet'")]
    Infer {
        /// Files, folders, globs or `s3://bucket/path`.
        #[arg(required = true)]
        paths: Vec<String>,
    },
}

/// A pipeline and what it is read with.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Given {
    /// Pipeline file, or a folder with a `pipeline.yaml`.
    pub(crate) path: PathBuf,
    /// Sets a variable of the pipeline: `-p data=DIR`.
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) vars: Vec<(String, String)>,
    /// The instant the run looks back from, e.g. `2026-01-01T00:00:00Z`.
    #[arg(long, value_parser = instant)]
    pub(crate) as_of: Option<DateTime<Utc>>,
}

/// The same, and the form of what is printed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Pipeline {
    /// Pipeline and variables.
    #[command(flatten)]
    pub(crate) given: Given,
    /// For people or for machines.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// Form of diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Findings {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// SARIF 2.1.0, for code scanners.
    Sarif,
    /// Annotations of GitHub Actions.
    Github,
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
    /// Whether this process moves rows: it runs pipelines, or tasks of them.
    pub(crate) fn moves_rows(&self) -> bool {
        match &self.verb {
            #[cfg(feature = "cluster")]
            Verb::Coordinator(_) | Verb::Worker(_) => true,
            verb => matches!(verb, Verb::Run { .. }),
        }
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
