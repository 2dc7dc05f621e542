//! The `strata` binary: reads arguments, calls the engine, says what happened, exits with a code that orchestrators understand.
//! Never does the work itself.

mod args;
mod bars;
mod explain;
mod init;
mod render;
mod summary;
mod verbs;

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("STRATA_LOG"))
        .with_writer(std::io::stderr)
        .init();
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
