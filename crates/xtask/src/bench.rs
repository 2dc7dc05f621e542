//! Strata and the peers of `../shared/bench` in turn on the same data: medians of several rounds, as ratios. Never compares runs of different
//! periods: a machine is slower at one time than at another.

use crate::process::{Cost, cost};
use crate::say;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Folder of generated data (`gen.py --sf 1 --out DIR`).
    #[arg(long)]
    data: PathBuf,
    /// Rounds; in each everybody runs once.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Threads of everybody.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Runs Strata also within this resident memory, e.g. `1GB`.
    #[arg(long)]
    memory: Option<String>,
    /// Folder of the peers: `peer_NAME.py --data DIR --out DIR --threads N`.
    #[arg(long, default_value = "../shared/bench")]
    peers_dir: PathBuf,
    /// Which of them.
    #[arg(long, value_delimiter = ',', default_value = "duckdb,polars,datafusion")]
    peers: Vec<String>,
    /// Python that has their packages.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Binary of Strata; built when it is not given.
    #[arg(long)]
    strata: Option<PathBuf>,
    /// Folder for what everybody writes; removed before each run.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

struct Runner {
    name: String,
    command: Box<dyn Fn(&Path) -> Command>,
    costs: Vec<Cost>,
}

/// Runs everybody and prints the table. Errors: nobody but Strata could run, or Strata failed.
pub(crate) fn bench(root: &Path, args: &BenchArgs) -> Result<(), String> {
    let strata = match &args.strata {
        Some(path) => path.clone(),
        None => built(root)?,
    };
    let mut runners = vec![ours(root, args, &strata, None)];
    runners.extend(args.memory.as_ref().map(|memory| ours(root, args, &strata, Some(memory))));
    let mine = runners.len();
    let folder = root.join(&args.peers_dir);
    for name in &args.peers {
        match peer(&folder, args, name) {
            Some(peer) => runners.push(peer),
            None => say(&format!("{name} did not run: there is no {}", folder.join(format!("peer_{name}.py")).display())),
        }
    }
    for round in 1..=args.runs {
        for (i, runner) in runners.iter_mut().enumerate() {
            let out = args.out.join(&runner.name);
            let _ = std::fs::remove_dir_all(&out);
            std::fs::create_dir_all(&out).map_err(|e| format!("{}: {e}", out.display()))?;
            match cost(&mut (runner.command)(&out)) {
                Ok(cost) => {
                    say(&format!("{round}/{} {:<24} {}", args.runs, runner.name, said(&cost)));
                    runner.costs.push(cost);
                }
                Err(e) if i < mine => return Err(e),
                Err(e) => say(&format!("{round}/{} {:<24} did not run: {e}", args.runs, runner.name)),
            }
        }
    }
    table(&runners, mine)
}

fn table(runners: &[Runner], mine: usize) -> Result<(), String> {
    let medians: Vec<Option<Cost>> = runners.iter().map(|r| median(&r.costs)).collect();
    let best = |of: fn(&Cost) -> f64| medians[mine..].iter().flatten().map(of).fold(f64::INFINITY, f64::min);
    let (wall, cpu, peak) = (best(|c| c.wall), best(|c| c.cpu), best(|c| c.peak as f64));
    if cpu.is_infinite() {
        return Err("no peer ran, so there is nothing to compare with".into());
    }
    say("\nmedians, and as a part of the best peer's");
    for (runner, median) in runners.iter().zip(&medians) {
        if let Some(c) = median {
            let parts = format!("wall × {:.2}, CPU × {:.2}, peak × {:.2}", c.wall / wall, c.cpu / cpu, c.peak as f64 / peak);
            say(&format!("{:<24} {}   {parts}", runner.name, said(c)));
        }
    }
    Ok(())
}

fn said(cost: &Cost) -> String {
    format!("wall {:>7.2} s  CPU {:>7.2} s  peak {:>6} MB", cost.wall, cost.cpu, cost.peak / 1_000_000)
}

/// Each measure's own median.
fn median(costs: &[Cost]) -> Option<Cost> {
    let middle = |of: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    Some(Cost { wall: middle(|c| c.wall)?, cpu: middle(|c| c.cpu)?, peak: middle(|c| c.peak as f64)? as u64 })
}

fn ours(root: &Path, args: &BenchArgs, strata: &Path, memory: Option<&String>) -> Runner {
    let (strata, pipeline, data) = (strata.to_owned(), root.join("pipelines/c360"), args.data.clone());
    let (threads, memory) = (args.threads.to_string(), memory.cloned());
    let name = memory.as_ref().map_or_else(|| "strata".to_owned(), |m| format!("strata --memory {m}"));
    let command = move |out: &Path| {
        let mut command = Command::new(&strata);
        command.arg("run").arg(&pipeline).args(["--as-of", "2026-01-01T00:00:00Z", "--fresh", "--threads", &threads]);
        command.arg("--state").arg(out.join("state"));
        for (name, path) in [("data", &data), ("out", &out.to_owned())] {
            command.arg("-p").arg(format!("{name}={}", path.display()));
        }
        command.args(memory.iter().flat_map(|m| ["--memory", m]));
        command
    };
    Runner { name, command: Box::new(command), costs: vec![] }
}

fn peer(folder: &Path, args: &BenchArgs, name: &str) -> Option<Runner> {
    let script = folder.join(format!("peer_{name}.py"));
    let (python, data, threads) = (args.python.clone(), args.data.clone(), args.threads.to_string());
    script.is_file().then(|| Runner {
        name: name.to_owned(),
        command: Box::new(move |out: &Path| {
            let mut command = Command::new(&python);
            command.arg(&script).arg("--data").arg(&data).arg("--out").arg(out).args(["--threads", &threads]);
            command
        }),
        costs: vec![],
    })
}

/// The binary, built as it is shipped.
fn built(root: &Path) -> Result<PathBuf, String> {
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--locked", "--workspace", "--bins", "--message-format", "json-render-diagnostics"]);
    let out = command.current_dir(root).stderr(std::process::Stdio::inherit()).output().map_err(|e| e.to_string())?;
    let found = String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok())
        .find_map(|m| match (m["target"]["name"].as_str(), m["executable"].as_str()) {
            (Some("strata"), Some(path)) => Some(PathBuf::from(path)),
            _ => None,
        });
    found.ok_or_else(|| "cargo built no `strata`".to_owned())
}
