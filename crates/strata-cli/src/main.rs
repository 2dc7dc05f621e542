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

/// Where the allocator reads its settings from.
const ALLOCATOR_SETTINGS: &str = "_RJEM_MALLOC_CONF";

/// Libraries in C (Zstandard, SQLite) have their memory of the system's allocator, which by itself maps each large block anew: what
/// one column of a file was compressed with is found again for the next. These are read by glibc, and by nothing else. Libraries in C
/// could have jemalloc's memory as well, but then a process does not start beside libraries that stand before the clock or the allocator.
const SYSTEM_ALLOCATOR: [(&str, &str); 3] =
    [("MALLOC_MMAP_THRESHOLD_", "33554432"), ("MALLOC_TRIM_THRESHOLD_", "134217728"), ("MALLOC_ARENA_MAX", "2")];

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    if args.moves_rows() {
        start_again_with(&allocator_settings(args.threads()));
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

/// Settings of the allocator where rows are moved. Measured on runs of 7 and 70 M rows: see `crates/README.md`, Memory.
fn allocator_settings(threads: usize) -> String {
    // Freed pages are found again where few arenas hold them; large blocks are kept for the next bucket like all others; and what is
    // free stays for a minute, because a page that comes back must be cleared.
    let everywhere = format!("narenas:{threads},oversize_threshold:0,dirty_decay_ms:60000");
    // Of a huge page all stays resident for the one piece that is used.
    if cfg!(target_os = "linux") { format!("{everywhere},thp:never") } else { everywhere }
}

/// The allocator reads its settings only when a process starts, so this one starts again with them, as the same process; settings of the
/// environment stay. Where that cannot be done the work goes on, with a higher peak, and says so.
fn start_again_with(settings: &str) {
    use std::os::unix::process::CommandExt;
    if std::env::var_os(ALLOCATOR_SETTINGS).is_some() {
        return;
    }
    let failed = match std::env::current_exe() {
        Ok(own) => {
            let system = SYSTEM_ALLOCATOR.into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
            let mut again = std::process::Command::new(own);
            again.args(std::env::args_os().skip(1)).env(ALLOCATOR_SETTINGS, settings).envs(system).exec()
        }
        Err(e) => e,
    };
    render::line(&format!("warning: the allocator keeps its own settings ({failed}); the peak of memory may be higher"));
}
