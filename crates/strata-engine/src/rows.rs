//! Counts what became of the rows of each source, from the operators that dropped them, and the rows a step has read so far.
//! Never estimates.

use crate::report::SourceRows;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use std::collections::BTreeMap;
use std::sync::Arc;
use strata_operators::dedup::{DedupExec, ROWS_DEDUPLICATED, ROWS_KEPT, ROWS_QUARANTINED};
use strata_operators::screen::{ROWS_SEEN, ScreenExec};
use strata_plan::{AFTER_AS_OF, FILTERED};

/// Adds what a finished plan did with each source that `known` does not hold yet.
pub(crate) fn account(plan: &Arc<dyn ExecutionPlan>, known: &mut BTreeMap<String, SourceRows>) {
    let mut here: BTreeMap<String, SourceRows> = BTreeMap::new();
    visit(plan, &mut |node| {
        if let Some(screen) = node.downcast_ref::<ScreenExec>() {
            let rows = here.entry(screen.source().to_owned()).or_default();
            // A source that a plan reads twice is counted once: every reading drops the same rows.
            if !rows.read {
                rows.read = true;
                rows.in_files = metric(node, ROWS_SEEN);
                rows.after_as_of = metric(node, &format!("strata.{AFTER_AS_OF}"));
                rows.filtered = metric(node, &format!("strata.{FILTERED}"));
                rows.used = rows.in_files - rows.after_as_of - rows.filtered;
            }
        }
    });
    visit(plan, &mut |node| {
        if let Some(dedup) = node.downcast_ref::<DedupExec>()
            && let Some(rows) = here.get_mut(dedup.source())
            && rows.deduplicated + rows.quarantined == 0
        {
            rows.deduplicated = metric(node, ROWS_DEDUPLICATED);
            rows.quarantined = metric(node, ROWS_QUARANTINED);
            rows.used = metric(node, ROWS_KEPT);
        }
    });
    for (source, rows) in here {
        known.entry(source).or_insert(rows);
    }
}

/// Rows that scans have read so far.
pub(crate) fn scanned(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let mut rows = 0;
    visit(plan, &mut |node| {
        if node.downcast_ref::<DataSourceExec>().is_some() {
            rows += node.metrics().and_then(|m| m.output_rows()).unwrap_or(0) as u64;
        }
    });
    rows
}

/// Bytes that operators spilled.
pub(crate) fn spilled(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let mut bytes = 0;
    visit(plan, &mut |node| bytes += node.metrics().and_then(|m| m.spilled_bytes()).unwrap_or(0) as u64);
    bytes
}

fn metric(node: &Arc<dyn ExecutionPlan>, name: &str) -> u64 {
    node.metrics().and_then(|m| m.sum_by_name(name)).map_or(0, |v| v.as_usize() as u64)
}

fn visit(plan: &Arc<dyn ExecutionPlan>, f: &mut dyn FnMut(&Arc<dyn ExecutionPlan>)) {
    f(plan);
    for child in plan.children() {
        visit(child, f);
    }
}
