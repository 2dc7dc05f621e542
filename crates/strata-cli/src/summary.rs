//! What a run did, as a person reads it: rows and where each went, segments, panel, tables. Never shows a person.

use std::fmt::Write;
use strata_engine::RunReport;
use strata_engine::report::{SegmentReport, WaveReport};

/// Segments shown of one segmentation.
const SEGMENTS_SHOWN: usize = 12;

/// The whole summary.
pub(crate) fn text(report: &RunReport) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "\n{} as of {} ({})", report.pipeline, report.as_of, report.timezone);
    rows(&mut out, report);
    report.segments.iter().for_each(|s| segments(&mut out, s));
    for model in &report.models {
        let settled = if model.settled { "settled" } else { "stopped before it settled" };
        let _ = writeln!(
            out,
            "\nk-means {}: {} rows, {} after {} iterations, inertia {:.1}",
            model.segmentation,
            number(model.rows),
            settled,
            model.iterations,
            model.inertia
        );
    }
    report.panel.iter().for_each(|w| wave(&mut out, w));
    if !report.warnings.is_empty() {
        let _ = writeln!(out, "\nWorth a look");
        report.warnings.iter().for_each(|w| {
            let _ = writeln!(out, "  - {w}");
        });
    }
    let _ = writeln!(out, "\nTables");
    let width = report.outputs.iter().map(|o| o.name.len()).max().unwrap_or(0);
    for o in &report.outputs {
        let unchanged = if o.run_id == report.run_id { "" } else { "  (unchanged)" };
        let _ = writeln!(out, "  {:<width$}  {:>10} rows  {}{unchanged}", o.name, number(o.rows), o.path);
    }
    let _ = write!(out, "\n{} in {:.1} s, run {}", report.state, report.seconds, report.run_id);
    out
}

fn rows(out: &mut String, report: &RunReport) {
    let head = ["rows of", "in files", "used", "duplicates", "quarantined", "filtered", "after as-of"];
    let mut table: Vec<Vec<String>> = vec![head.iter().map(|h| (*h).to_owned()).collect()];
    for s in &report.sources {
        let mut row = vec![s.source.clone(), number(s.in_files)];
        match s.read {
            true => row.extend([s.used, s.deduplicated, s.quarantined, s.filtered, s.after_as_of].map(number)),
            false => row.extend(["not needed", "", "", "", ""].map(str::to_owned)),
        }
        table.push(row);
    }
    let _ = writeln!(out);
    grid(out, &table);
}

fn segments(out: &mut String, s: &SegmentReport) {
    let worth = s.segments.iter().any(|x| x.value_share.is_some());
    let mut head = vec![format!("segments {}", s.segmentation), "members".into(), "share".into()];
    if worth {
        let of = s.value_of.as_deref().unwrap_or("value");
        head.push(format!("share of {of}"));
    }
    let mut table = vec![head];
    let mut all: Vec<_> = s.segments.iter().collect();
    let more = all.len().saturating_sub(SEGMENTS_SHOWN);
    if more > 0 {
        all.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.segment.cmp(&b.segment)));
        all.truncate(SEGMENTS_SHOWN);
    }
    for x in all {
        let mut row = vec![x.segment.clone().unwrap_or_else(|| "(none)".into()), number(x.rows), percent(x.share)];
        if worth {
            row.push(x.value_share.map_or(String::new(), percent));
        }
        table.push(row);
    }
    let _ = writeln!(out);
    grid(out, &table);
    if more > 0 {
        let _ = writeln!(out, "  and {more} smaller segments: see the run report");
    }
}

fn wave(out: &mut String, w: &WaveReport) {
    let _ = writeln!(out, "\npanel {}: who is eligible", w.wave);
    let mut left = w.roster;
    let mut table = vec![vec!["rule".to_owned(), "fail here first".into(), "left".into()]];
    table.push(vec!["everyone on the roster".into(), String::new(), number(left)]);
    for (rule, failed) in &w.waterfall {
        left = left.saturating_sub(*failed);
        table.push(vec![rule.clone(), number(*failed), number(left)]);
    }
    grid(out, &table);
    let _ = writeln!(
        out,
        "\npanel {}: {} asked for, {} drawn of {} eligible",
        w.wave,
        number(w.asked),
        number(w.drawn),
        number(w.eligible)
    );
    let mut table = vec![vec!["stratum".to_owned(), "eligible".into(), "drawn".into()]];
    for s in w.strata.iter().take(30) {
        table.push(vec![s.stratum.join(" · "), number(s.eligible), number(s.drawn)]);
    }
    grid(out, &table);
    if w.strata.len() > 30 {
        let _ = writeln!(out, "  and {} more strata: see the run report", w.strata.len() - 30);
    }
    if let Some(x) = &w.weights {
        let state = if x.converged { "converged" } else { "NOT converged, kept as the pipeline says" };
        let _ = writeln!(
            out,
            "weights raked to {}: {state} after {} iterations; from {:.3} to {:.3}, sum {:.1}, design effect {:.2}, effective sample {:.0}",
            x.rake.join(", "),
            x.iterations,
            x.min,
            x.max,
            x.sum,
            x.deff,
            x.ess
        );
        for d in &x.dropped {
            let _ = writeln!(out, "  nobody in the sample has {d}: dropped, the margin rescaled");
        }
    }
}

/// A table with the first column left and the others right.
fn grid(out: &mut String, table: &[Vec<String>]) {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| table.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in table {
        let _ = write!(out, " ");
        for (c, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[c].saturating_sub(cell.chars().count()));
            let _ = match c {
                0 => write!(out, " {cell}{pad}"),
                _ => write!(out, "  {pad}{cell}"),
            };
        }
        let _ = writeln!(out);
    }
}

/// `1234567` → `1,234,567`.
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

fn percent(share: f64) -> String {
    format!("{:.1} %", (1000.0 * share).round() / 10.0 + 0.0)
}
