//! Counts what became of the rows of each source, from the operators that dropped them, and the rows a step has read so far.
//! Never estimates.

use crate::meter::Reading;
use crate::report::SourceRows;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::metrics::MetricsSet;
use std::collections::BTreeMap;
use strata_operators::dedup::{DedupExec, ROWS_DEDUPLICATED, ROWS_KEPT, ROWS_QUARANTINED};
use strata_operators::screen::{ROWS_SEEN, ScreenExec};
use strata_plan::{AFTER_AS_OF, FILTERED};

/// Adds what a finished plan did with each source that `known` does not hold yet.
pub(crate) fn account(readings: &[Reading], known: &mut BTreeMap<String, SourceRows>) {
    let mut here: BTreeMap<String, SourceRows> = BTreeMap::new();
    for r in readings {
        if let Some(screen) = r.operator.downcast_ref::<ScreenExec>() {
            let rows = here.entry(screen.source().to_owned()).or_default();
            // A source that a plan reads twice is counted once: every reading drops the same rows.
            if !rows.read {
                rows.read = true;
                rows.in_files = metric(&r.metrics, ROWS_SEEN);
                rows.after_as_of = metric(&r.metrics, &format!("strata.{AFTER_AS_OF}"));
                rows.filtered = metric(&r.metrics, &format!("strata.{FILTERED}"));
                rows.used = rows.in_files - rows.after_as_of - rows.filtered;
            }
        }
    }
    for r in readings {
        if let Some(dedup) = r.operator.downcast_ref::<DedupExec>()
            && let Some(rows) = here.get_mut(&dedup.spec().source)
            && rows.deduplicated + rows.quarantined == 0
        {
            rows.deduplicated = metric(&r.metrics, ROWS_DEDUPLICATED);
            rows.quarantined = metric(&r.metrics, ROWS_QUARANTINED);
            rows.used = metric(&r.metrics, ROWS_KEPT);
        }
    }
    for (source, rows) in here {
        known.entry(source).or_insert(rows);
    }
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
