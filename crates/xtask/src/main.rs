//! Habits of this workspace as commands: `cargo xtask ci | tidy | bench | codegen`. Never part of what is shipped.

mod bench;
mod process;
mod tidy;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Habits of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// What has to hold before a change lands: formatting, lints, `tidy`, and every test (`tests/run.sh`).
    Ci,
    /// Holds the house rules: the crate table, module headers, lengths, and a page and a case for every diagnostic.
    Tidy,
    /// Runs Strata and its peers in turn on the same data; prints wall time, CPU time and peak memory as ratios.
    Bench(bench::BenchArgs),
    /// Generates the code of `proto/` again.
    Codegen,
}

fn main() -> ExitCode {
    let root = root();
    let done = match Args::parse().task {
        Task::Ci => ci(&root),
        Task::Tidy => tidy::tidy(&root),
        Task::Bench(args) => bench::bench(&root, &args),
        Task::Codegen => codegen(&root),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say(&format!("error: {message}"));
            ExitCode::FAILURE
        }
    }
}

/// The workspace: two folders above this crate, wherever the checkout lies now.
#[expect(clippy::disallowed_methods, reason = "cargo says where the checkout is")]
fn root() -> PathBuf {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| "crates/xtask".into());
    Path::new(&here).join("../..")
}

/// Prints a line.
#[expect(clippy::print_stdout, reason = "a tool for developers")]
fn say(line: &str) {
    println!("{line}");
}

fn ci(root: &Path) -> Result<(), String> {
    cargo(root, &["fmt", "--all", "--check"])?;
    tidy::tidy(root)?;
    cargo(root, &["clippy", "--release", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    ran(Command::new("bash").arg("tests/run.sh").current_dir(root), "tests/run.sh")
}

fn codegen(root: &Path) -> Result<(), String> {
    // The test renews what is committed where it differs, and fails once.
    let fresh = ["test", "--release", "--package", "strata-proto", "--test", "codegen"];
    match cargo(root, &fresh) {
        Ok(()) => Ok(()),
        Err(_) => cargo(root, &fresh),
    }
}

fn cargo(root: &Path, args: &[&str]) -> Result<(), String> {
    ran(Command::new("cargo").args(args).current_dir(root), &format!("cargo {}", args.join(" ")))
}

fn ran(command: &mut Command, name: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{name}` ended with {status}")),
        Err(e) => Err(format!("`{name}` cannot be started: {e}")),
    }
}
