//! What a process cost: wall time, CPU time of it and its children, peak memory. Linux only; reads `/proc`. Never stops the process.

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often the process is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Ticks of a second in `/proc/PID/stat`: 100 on every Linux that people run.
const TICKS: f64 = 100.0;

/// What it cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// CPU seconds, user and system, of the process and what it started.
    pub(crate) cpu: f64,
    /// Peak resident bytes, summed over processes that were alive together.
    pub(crate) peak: u64,
}

/// Runs a command to its end. Errors: a text that says why it failed, with the last of what it wrote.
#[expect(clippy::disallowed_methods, reason = "a stop watch")]
pub(crate) fn cost(command: &mut Command) -> Result<Cost, String> {
    let begin = Instant::now();
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|e| format!("{:?} cannot be started: {e}", command.get_program()))?;
    let stderr = child.stderr.take();
    let said = std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut stderr) = stderr {
            let _ = std::io::Read::read_to_string(&mut stderr, &mut text);
        }
        text
    });
    let (mut ticks, mut peak): (HashMap<u32, u64>, u64) = (HashMap::new(), 0);
    let status = loop {
        let mut now = 0;
        for pid in family(child.id()) {
            if let Some((t, bytes)) = look(pid) {
                ticks.insert(pid, t);
                now += bytes;
            }
        }
        peak = peak.max(now);
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => std::thread::sleep(LOOK),
            Err(e) => return Err(e.to_string()),
        }
    };
    let wall = begin.elapsed().as_secs_f64();
    let said = said.join().unwrap_or_default();
    if !status.success() {
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        return Err(format!("{:?} ended with {status}: {}", command.get_program(), last.join(" | ")));
    }
    Ok(Cost { wall, cpu: ticks.values().sum::<u64>() as f64 / TICKS, peak })
}

/// A process and everything below it.
fn family(root: u32) -> Vec<u32> {
    let mut out = vec![root];
    let mut at = 0;
    while at < out.len() {
        let pid = out[at];
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            out.extend(children.split_whitespace().filter_map(|c| c.parse::<u32>().ok()));
        }
        at += 1;
    }
    out
}

/// Ticks of CPU and resident bytes (the highest so far) of one process.
fn look(pid: u32) -> Option<(u64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything; the fields begin behind its bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let high = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes = high.split_whitespace().next()?.parse::<u64>().ok()?;
    Some((ticks, kilobytes * 1024))
}
