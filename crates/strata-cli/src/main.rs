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

/// Set while freed pages go back to the system at once.
const PURGE: &str = "MIMALLOC_PURGE_DELAY";

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    if args.has_memory_budget() {
        return_freed_pages();
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

/// Under a memory budget the allocator must not keep freed pages for later: it reads that setting only when a process starts, so this one
/// starts again with it, as the same process. Where that cannot be done the run goes on, with a higher peak, and says so.
#[expect(clippy::disallowed_methods, reason = "a setting of this process's allocator")]
fn return_freed_pages() {
    use std::os::unix::process::CommandExt;
    if std::env::var(PURGE).is_ok() {
        return;
    }
    let failed = match std::env::current_exe() {
        Ok(own) => std::process::Command::new(own).args(std::env::args_os().skip(1)).env(PURGE, "0").exec(),
        Err(e) => e,
    };
    render::line(&format!("warning: freed memory is kept for reuse ({failed}); the peak may pass `--memory`"));
}
