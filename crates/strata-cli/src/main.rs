//! The `strata` binary: reads arguments, calls the engine, says what happened, exits with a code that orchestrators understand.
//! Never does the work itself.

mod args;
mod authoring;
mod bars;
mod check;
#[cfg(feature = "cluster")]
mod cluster;
mod contract;
mod diff;
mod doctor;
mod init;
mod logs;
mod look;
mod panel;
#[cfg(feature = "cluster")]
mod remote;
mod render;
mod summary;
mod table;
mod unit_tests;
mod verbs;

use clap::Parser;
use std::process::ExitCode;

/// Milliseconds after which the allocator gives freed pages back; -1 is never.
const PURGE: &str = "MIMALLOC_PURGE_DELAY";
/// Whether it takes huge pages: fewer faults, but a page stays resident for the one piece of it that is used.
const HUGE_PAGES: &str = "MIMALLOC_ALLOW_THP";

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    if let Some(settings) = allocator(&args) {
        start_again_with(settings);
    }
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("STRATA_LOG"))
        .with_writer(std::io::stderr)
        .init();
    logs::listen();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads())
        // Plans are deep trees; optimisers and planners walk them recursively.
        .thread_stack_size(16 << 20)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => ExitCode::from(runtime.block_on(verbs::run(args))),
        Err(e) => {
            render::line(&format!("error: cannot start threads: {e}"));
            ExitCode::from(70)
        }
    }
}

/// Settings of the allocator, by what this process is. Measured on a run of 7 M rows: see `crates/README.md`, Memory.
fn allocator(args: &args::Args) -> Option<[(&'static str, &'static str); 2]> {
    match args.role() {
        // The budget is of resident memory: what is freed must not count.
        args::Role::Budgeted => Some([(PURGE, "0"), (HUGE_PAGES, "0")]),
        // The next bucket needs them again: given back sooner, each is fetched and zeroed twice.
        args::Role::Shared => Some([(PURGE, "1000"), (HUGE_PAGES, "0")]),
        // The machine is there for it, and the next task needs the pages again.
        args::Role::Worker => Some([(PURGE, "-1"), (HUGE_PAGES, "0")]),
        args::Role::Other => None,
    }
}

/// The allocator reads its settings only when a process starts, so this one starts again with them, as the same process; settings of the
/// environment stay. Where that cannot be done the work goes on, with a higher peak, and says so.
#[expect(clippy::disallowed_methods, reason = "settings of this process's allocator")]
fn start_again_with(settings: [(&'static str, &'static str); 2]) {
    use std::os::unix::process::CommandExt;
    if settings.iter().any(|(name, _)| std::env::var_os(name).is_some()) {
        return;
    }
    let failed = match std::env::current_exe() {
        Ok(own) => std::process::Command::new(own).args(std::env::args_os().skip(1)).envs(settings).exec(),
        Err(e) => e,
    };
    render::line(&format!("warning: the allocator keeps its own settings ({failed}); the peak of memory may be higher"));
}
