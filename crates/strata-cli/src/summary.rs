//! What a run did, as a person reads it: rows and where each went, segments, panel, tables. Never shows a person.

use std::fmt::Write;
use strata_engine::RunReport;
use strata_engine::report::{CapReport, GuardReport, SegmentReport, WaveReport};

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
        o.guard.iter().for_each(|g| guard(&mut out, g));
    }
    let _ = write!(out, "\n{} in {:.1} s, run {}", report.state, report.seconds, report.run_id);
    out
}

/// What it cost to hide the people of an output.
fn guard(out: &mut String, g: &GuardReport) {
    if g.groups > 0 && g.smallest.is_none() {
        let _ = writeln!(
            out,
            "    counts of 1 to {} are not shown, nor what would tell them: {} empty",
            g.k.saturating_sub(1),
            number(g.hidden_cells)
        );
        let before = g.held_against.iter().map(|(wave, as_of)| format!("{wave} as of {as_of}")).collect::<Vec<_>>().join(", ");
        if !before.is_empty() {
            let _ =
                writeln!(out, "    held against the published counts of {before}: {} figures too near to show", number(g.apart));
        }
        return;
    }
    let taken = g.steps.iter().filter(|(_, step)| *step > 0).map(|(column, step)| format!("{column} by {step}"));
    let taken = taken.collect::<Vec<_>>().join(", ");
    let coarser = if taken.is_empty() { "no column coarser".to_owned() } else { format!("coarser: {taken}") };
    let _ = writeln!(
        out,
        "    {} groups of people who look alike, the smallest {} (at least {}); {coarser}; columns left empty of {} of {}",
        number(g.groups),
        number(g.smallest.unwrap_or(0)),
        g.k,
        number(g.left_empty),
        number(g.people)
    );
}

fn rows(out: &mut String, report: &RunReport) {
    let head = ["rows of", "in files", "used", "duplicates", "quarantined", "filtered", "after as-of"];
    let mut table: Vec<Vec<String>> = vec![head.iter().map(|h| (*h).to_owned()).collect()];
    for s in &report.sources {
        let name = s.source.strip_prefix("__wave_").map(|w| format!("published wave {w}"));
        let mut row = vec![name.unwrap_or_else(|| s.source.clone()), number(s.in_files)];
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

/// Eligibility, allocation and what to expect of a wave, beside the same after a change.
pub(crate) fn plan_of_wave(out: &mut String, w: &WaveReport, then: Option<&WaveReport>) {
    let _ = writeln!(out, "\npanel {}: who is eligible", w.wave);
    let mut left = (w.roster, then.map(|t| t.roster));
    let mut head = vec!["rule".to_owned(), "fail here first".into(), "left".into()];
    head.extend(then.map(|_| vec!["then fail here".to_owned(), "then left".into()]).into_iter().flatten());
    let mut table = vec![head];
    let mut first = vec!["everyone on the roster".into(), String::new(), number(left.0)];
    first.extend(left.1.map(|n| vec![String::new(), number(n)]).into_iter().flatten());
    table.push(first);
    let both = w.waterfall.iter().map(|(r, _)| r).chain(then.into_iter().flat_map(|t| &t.waterfall).map(|(r, _)| r));
    let mut rules: Vec<&String> = vec![];
    both.for_each(|r| {
        if !rules.contains(&r) {
            rules.push(r)
        }
    });
    for rule in rules {
        let of = |w: &WaveReport| w.waterfall.iter().find(|(r, _)| r == rule).map(|(_, n)| *n);
        let mut row = vec![rule.clone()];
        left.0 = left.0.saturating_sub(of(w).unwrap_or(0));
        row.extend(of(w).map_or(vec![String::new(); 2], |n| vec![number(n), number(left.0)]));
        if let (Some(then), Some(there)) = (then, left.1) {
            let there = there.saturating_sub(of(then).unwrap_or(0));
            left.1 = Some(there);
            row.extend(of(then).map_or(vec![String::new(); 2], |n| vec![number(n), number(there)]));
        }
        table.push(row);
    }
    grid(out, &table);
    let totals = |w: &WaveReport| {
        let mut text =
            format!("{} asked for, {} to invite of {} eligible", number(w.asked), number(w.invited), number(w.eligible));
        if w.reserve > 0 {
            let _ = write!(text, ", {} in reserve", number(w.reserve));
        }
        if w.shortfall > 0 {
            let _ = write!(text, ", {} short", number(w.shortfall));
        }
        if let Some(cost) = w.cost {
            let _ = write!(text, ", cost {cost:.2}");
        }
        if let Some(error) = w.standard_error {
            let _ = write!(text, ", standard error of the measure {error:.4}");
        }
        text
    };
    let _ = writeln!(out, "\npanel {}: {}", w.wave, totals(w));
    if let Some(then) = then {
        let _ = writeln!(out, "  then: {}", totals(then));
    }
    strata(out, w);
    quotas(out, w);
}

fn strata(out: &mut String, w: &WaveReport) {
    let (expects, keeps) = (w.strata.iter().any(|s| s.response.is_some()), w.strata.iter().any(|s| s.reserve > 0));
    let mut head = vec!["stratum".to_owned(), "eligible".into()];
    if expects {
        head.extend(["wanted", "response", "expected"].map(str::to_owned));
    }
    head.push(if expects { "invited" } else { "drawn" }.to_owned());
    head.extend(keeps.then(|| "reserve".to_owned()));
    let mut table = vec![head];
    for s in w.strata.iter().take(30) {
        let mut row = vec![s.stratum.join(" · "), number(s.eligible)];
        if expects {
            let response = s.response.map_or(String::new(), percent);
            row.extend([number(s.wanted), response, s.expected.map_or(String::new(), |e| format!("{e:.1}"))]);
        }
        row.push(number(s.drawn));
        row.extend(keeps.then(|| number(s.reserve)));
        table.push(row);
    }
    grid(out, &table);
    if w.strata.len() > 30 {
        let _ = writeln!(out, "  and {} more strata: see the run report", w.strata.len() - 30);
    }
}

fn quotas(out: &mut String, w: &WaveReport) {
    if w.quotas.is_empty() {
        return;
    }
    let mut table = vec![["quota", "eligible", "target", "planned"].map(str::to_owned).to_vec()];
    for q in &w.quotas {
        table.push(vec![format!("{} = {}", q.quota, q.level), number(q.eligible), number(q.target), number(q.planned)]);
    }
    grid(out, &table);
}

/// What caps on weights would cost and buy.
pub(crate) fn caps(out: &mut String, caps: &[CapReport]) {
    if caps.is_empty() {
        return;
    }
    let head = ["cap (medians)", "weight", "rows above", "design effect cut", "margin missed by", "design effect within"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for c in caps {
        let of = |n: Option<f64>| n.map_or("none".to_owned(), |n| format!("{n:.3}"));
        let missed = c.missed.map_or("none".to_owned(), percent);
        let cells = [format!("{:.2}", c.cap), number(c.cut_rows), of(c.deff_trimmed), missed, of(c.deff_within)];
        table.push(std::iter::once(format!("{}", c.times_median)).chain(cells).collect());
    }
    grid(out, &table);
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
    let reserve = if w.reserve > 0 { format!(", {} in reserve", number(w.reserve)) } else { String::new() };
    let _ = writeln!(
        out,
        "\npanel {}: {} asked for, {} drawn of {} eligible{reserve}",
        w.wave,
        number(w.asked),
        number(w.drawn),
        number(w.eligible)
    );
    strata(out, w);
    quotas(out, w);
    for o in &w.overlaps {
        let lost: Vec<String> = o.lost.iter().map(|(rule, n)| format!("{} {rule}", number(*n))).collect();
        let lost = if lost.is_empty() { String::new() } else { format!("; not eligible now: {}", lost.join(", ")) };
        let _ = writeln!(
            out,
            "of wave {}: {} people, {} could be asked again, {} are{lost}",
            o.before,
            number(o.people),
            number(o.due),
            number(o.both)
        );
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
        caps(out, &x.caps);
        for d in &x.dropped {
            let _ = writeln!(out, "  nobody in the sample has {d}: dropped, the margin rescaled");
        }
        for joined in &x.joined {
            let _ = writeln!(out, "  nobody in the sample has a level of a margin, joined: {joined}");
        }
    }
}

/// A table with the first column left and the others right.
pub(crate) fn grid(out: &mut String, table: &[Vec<String>]) {
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
