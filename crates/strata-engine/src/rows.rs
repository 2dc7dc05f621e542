//! Counts what became of the rows of each source, from the operators that dropped them, and the rows a step has read so far.
//! Never estimates.

use crate::meter::Reading;
use crate::report::{RuleRows, SourceRows};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::metrics::MetricsSet;
use std::collections::{BTreeMap, BTreeSet};
use strata_operators::dedup::{DedupExec, ROWS_DEDUPLICATED, ROWS_KEPT, ROWS_QUARANTINED};
use strata_operators::screen::{Action, Emit, ROWS_SEEN, ScreenExec};
use strata_plan::{AFTER_AS_OF, FILTERED};

/// Adds what a finished plan did with each source that `known` does not hold yet.
pub(crate) fn account(readings: &[Reading], known: &mut BTreeMap<String, SourceRows>) {
    let mut here: BTreeMap<String, SourceRows> = BTreeMap::new();
    for r in readings {
        if let Some(screen) = r.operator.downcast_ref::<ScreenExec>().filter(|s| s.emit() == Emit::Kept) {
            let rows = here.entry(screen.source().to_owned()).or_default();
            // A source that a plan reads twice is counted once: every reading drops the same rows.
            if !rows.read {
                rows.read = true;
                rows.in_files = metric(&r.metrics, ROWS_SEEN);
                rows.after_as_of = metric(&r.metrics, &format!("strata.{AFTER_AS_OF}"));
                rows.filtered = metric(&r.metrics, &format!("strata.{FILTERED}"));
                rows.rules = rules(screen, &r.metrics);
                rows.quarantined = rows.rules.iter().filter(|r| r.on_fail == QUARANTINE).map(|r| r.rows).sum();
                rows.used = rows.in_files.saturating_sub(rows.after_as_of + rows.filtered + rows.quarantined);
            }
        }
    }
    let mut filtered = BTreeSet::new();
    for r in readings {
        if let Some(dedup) = r.operator.downcast_ref::<DedupExec>().filter(|d| d.spec().emit == Emit::Kept)
            && let Some(rows) = here.get_mut(&dedup.spec().source)
            && !filtered.contains(&dedup.spec().source)
        {
            // Of a source that is read twice, the first filter that dropped any.
            if metric(&r.metrics, ROWS_DEDUPLICATED) + metric(&r.metrics, ROWS_QUARANTINED) > 0 {
                filtered.insert(dedup.spec().source.clone());
            }
            rows.deduplicated = metric(&r.metrics, ROWS_DEDUPLICATED);
            rows.quarantined += metric(&r.metrics, ROWS_QUARANTINED);
            rows.used = metric(&r.metrics, ROWS_KEPT);
        }
    }
    for (source, rows) in here {
        known.entry(source).or_insert(rows);
    }
}

/// What a rule is called that puts rows aside.
pub(crate) const QUARANTINE: &str = "quarantine";
/// What a rule is called that publishes nothing.
pub(crate) const STOP: &str = "stop";

fn rules(screen: &ScreenExec, metrics: &MetricsSet) -> Vec<RuleRows> {
    let named = |action: &Action| match action {
        Action::Drop => None,
        Action::Quarantine => Some(QUARANTINE),
        Action::SetNull(_) => Some("set_null"),
        Action::Warn => Some("warn"),
        Action::Stop => Some(STOP),
    };
    let found = screen.rules().iter().filter_map(|r| Some((r, named(&r.action)?)));
    let counted = found.map(|(r, on_fail)| RuleRows {
        rule: r.label.clone(),
        on_fail: on_fail.to_owned(),
        reason: r.reason.clone(),
        rows: metric(metrics, &format!("strata.{}", r.label)),
    });
    counted.collect()
}

/// Rows that scans have read so far.
pub(crate) fn scanned(readings: &[Reading]) -> u64 {
    let scans = readings.iter().filter(|r| r.operator.downcast_ref::<DataSourceExec>().is_some());
    scans.map(|r| r.metrics.output_rows().unwrap_or(0) as u64).sum()
}

/// Bytes that operators spilled to disk; the exchange of a cluster counts its own under another name.
pub(crate) fn spilled(readings: &[Reading]) -> u64 {
    readings.iter().map(|r| r.metrics.spilled_bytes().unwrap_or(0) as u64 + metric(&r.metrics, "spill_bytes")).sum()
}

fn metric(metrics: &MetricsSet, name: &str) -> u64 {
    metrics.sum_by_name(name).map_or(0, |v| v.as_usize() as u64)
}
