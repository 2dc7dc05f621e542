//! `strata doctor`: whether this machine and the places of a pipeline are as a run needs them. Never prints a credential, never leaves a
//! probe behind.

use crate::args::{Given, Output};
use crate::{render, summary, verbs};
use serde_json::json;
use std::path::Path;
use strata_engine::doctor::{self, Finding};
use strata_spec::Severity;

/// Something has to be mended.
const UNFIT: u8 = 1;
/// Below this much free space a run that spills may end early.
const SPACE_MIN: u64 = 2_000_000_000;
/// Below this much free memory `--memory` has nothing to give.
const MEMORY_MIN: u64 = 500_000_000;

/// Looks at everything and says what to do.
pub(crate) async fn run(given: &Given, output: Output) -> u8 {
    let mut found = machine();
    match verbs::load(given, false).await {
        Err(e) => found.push(Finding::bad("pipeline", e.to_string(), "give a pipeline file, or a folder with a `pipeline.yaml`")),
        Ok(loaded) => {
            let places = doctor::places(&loaded).await;
            let of_places = |d: &strata_spec::Diagnostic| {
                loaded.pipeline.as_ref().is_some_and(|p| p.sources.iter().any(|s| s.path.span == d.span))
            };
            let (_, all) = verbs::compiled(&loaded);
            let errors = all.iter().filter(|d| d.severity == Severity::Error && !of_places(d)).count();
            found.push(match errors {
                0 => Finding::good("pipeline", format!("{}: no errors in the file", loaded.source.path)),
                n => Finding::bad(
                    "pipeline",
                    format!("{n} error{}", render::plural(n)),
                    format!("`strata check {}`", given.path.display()),
                ),
            });
            if let Some(pipeline) = &loaded.pipeline {
                let remote = |to: &str| to.starts_with("s3://");
                let any = pipeline.sources.iter().any(|s| remote(s.path.as_str()))
                    || pipeline.outputs.iter().any(|o| remote(o.to.as_str()));
                found.extend(any.then(credentials));
            }
            found.extend(places);
        }
    }
    let bad = found.iter().filter(|f| !f.is_good).count();
    if output == Output::Json {
        render::data(&json!({"fit": bad == 0, "findings": found}).to_string());
    } else {
        let width = found.iter().map(|f| f.about.chars().count()).max().unwrap_or(0);
        for f in &found {
            let mark = if f.is_good { "ok " } else { "BAD" };
            render::data(&format!("{mark}  {:<width$}  {}", f.about, f.found));
            if let Some(help) = &f.help {
                render::data(&format!("     {:<width$}  help: {help}", ""));
            }
        }
        render::data(&match bad {
            0 => "\neverything is as a run needs it".to_owned(),
            n => format!("\n{n} thing{} to mend", render::plural(n)),
        });
    }
    if bad > 0 { UNFIT } else { 0 }
}

fn machine() -> Vec<Finding> {
    let features = if cfg!(feature = "cluster") { "cluster, S3" } else { "one process, local files" };
    let version = env!("CARGO_PKG_VERSION");
    let system = format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH);
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    vec![
        Finding::good("version", format!("strata {version} ({features}), {system}")),
        Finding::good(
            "allocator",
            "jemalloc; a run keeps freed pages for its next rows, and gives back within a minute what it does not need",
        ),
        Finding::good("cores", cores.to_string()),
        memory(),
        space(&std::env::temp_dir()),
        Finding::good("clock", doctor::now()),
    ]
}

fn memory() -> Finding {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).map(|kb| kb * 1024)
    };
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|t| t.trim().parse::<u64>().ok());
    let (Some(total), Some(free)) = (of("MemTotal"), of("MemAvailable")) else {
        return Finding::good("memory", "this system does not tell how much there is");
    };
    let within =
        limit.filter(|l| *l < total).map(|l| format!(", of which this container may use {}", size(l))).unwrap_or_default();
    let found = format!("{} free of {}{within}", size(free), size(total));
    match free.min(limit.unwrap_or(free)) < MEMORY_MIN {
        true => Finding::bad("memory", found, "end other programs, or run with `--memory 512MB` on a larger machine"),
        false => Finding::good("memory", found),
    }
}

fn space(folder: &Path) -> Finding {
    let about = "temporary space";
    match rustix::fs::statvfs(folder) {
        Err(e) => Finding::bad(about, format!("`{}`: {e}", folder.display()), "set TMPDIR, or give `--spill-dir`"),
        Ok(s) => {
            let free = s.f_bavail.saturating_mul(s.f_frsize);
            let found = format!("{} free in `{}`", size(free), folder.display());
            match free < SPACE_MIN {
                true => Finding::bad(about, found, "make room, set TMPDIR, or give `--spill-dir` on a larger disk"),
                false => Finding::good(about, found),
            }
        }
    }
}

/// Which settings of object storage are there; never what they are.
fn credentials() -> Finding {
    let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"];
    let is_set = |n: &str| std::env::var_os(n).is_some_and(|v| !v.is_empty());
    let set: Vec<&str> = names.into_iter().filter(|n| is_set(n)).collect();
    let found = if set.is_empty() {
        "none in the environment: the machine's role is asked".to_owned()
    } else {
        format!("set: {}", set.join(", "))
    };
    match is_set(names[0]) == is_set(names[1]) {
        true => Finding::good("credentials", found),
        false => Finding::bad("credentials", found, format!("set both {} and {}, or neither", names[0], names[1])),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        b if b >= 10_000_000_000 => format!("{} GB", summary::number(b / 1_000_000_000)),
        b => format!("{} MB", summary::number(b / 1_000_000)),
    }
}
