//! Progress: a bar on a terminal, one line a step elsewhere. Never prints on standard output.

use crate::render;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;
use strata_engine::{Event, Progress};
use strata_runtime::clock::Stopwatch;

/// How often a step that takes long says so where there is no terminal.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Shows a run's progress.
pub(crate) struct Bars {
    bar: Option<Mutex<ProgressBar>>,
    quiet: bool,
    /// The step at work, since when, and when it was last heard of.
    step: Mutex<(String, Stopwatch, Stopwatch)>,
}

impl Bars {
    /// Bars where a person looks, lines elsewhere; nothing if `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let step = Mutex::new((String::new(), Stopwatch::start(), Stopwatch::start()));
        Self { bar: terminal.then(|| Mutex::new(ProgressBar::hidden())), quiet, step }
    }

    fn with_bar(&self, f: impl FnOnce(&mut ProgressBar)) {
        if let Some(bar) = &self.bar {
            f(&mut bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        }
    }

    fn begin(&self, label: &str) {
        let mut step = self.step.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *step = (label.to_owned(), Stopwatch::start(), Stopwatch::start());
    }

    fn heartbeat(&self, rows: u64) {
        let mut step = self.step.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.bar.is_none() && step.2.elapsed() >= HEARTBEAT {
            step.2 = Stopwatch::start();
            render::line(&format!(
                "     {} at work for {:.0} s, {} rows read",
                step.0,
                step.1.elapsed().as_secs_f64(),
                crate::summary::number(rows)
            ));
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner).suspend(|| render::line(text)),
            None => render::line(text),
        }
    }
}

impl Progress for Bars {
    fn event(&self, event: Event) {
        if self.quiet {
            return;
        }
        match event {
            Event::Started { index, of, label, rows } => {
                self.begin(&label);
                self.with_bar(|bar| {
                    bar.finish_and_clear();
                    let known = rows.filter(|r| *r > 0);
                    let next = known.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
                    let form = match known {
                        Some(_) => "{prefix} {msg:<28} {wide_bar} {human_pos}/{human_len} rows",
                        None => "{prefix} {msg:<28} {spinner}",
                    };
                    if let Ok(style) = ProgressStyle::with_template(form) {
                        next.set_style(style);
                    }
                    next.set_prefix(format!("[{index}/{of}]"));
                    next.set_message(label);
                    next.enable_steady_tick(std::time::Duration::from_millis(120));
                    *bar = next;
                });
            }
            Event::Moved { rows, .. } => {
                self.with_bar(|bar| bar.set_position(rows));
                self.heartbeat(rows);
            }
            Event::Finished { index, label, detail, took, .. } => {
                self.with_bar(|bar| bar.finish_and_clear());
                self.say(&format!("{index:>3}. {label:<28} {detail:<44} {:>7.2} s", took.as_secs_f64()));
            }
            Event::Note(text) => self.say(&format!("note: {text}")),
        }
    }
}
