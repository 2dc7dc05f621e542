//! A damaged file is named: what the Parquet reader says of a page does not tell whose page it was. Never opens a file.

use crate::Error;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use strata_operators::pinned::{PinnedFormat, PinnedTable};

/// Files that a message names; the rest are counted.
const NAMED_MAX: usize = 8;

/// What DataFusion says of a step that ran `plans`. `Contract`, with the Parquet files it may be, where the bytes of a file are not what its
/// format says.
pub(crate) fn of_plans(step: &str, error: DataFusionError, plans: &[LogicalPlan]) -> Error {
    let said = error.strip_backtrace();
    let damaged = said.contains("Parquet error") || said.contains("Parquet argument error");
    // A store that fails while a page is read says so through the Parquet reader: what has a class of its own keeps it.
    match (Error::of_step(step, error), files(plans)) {
        (Error::Failed { .. }, files) if damaged && !files.is_empty() => Error::Contract {
            step: step.to_owned(),
            message: format!("{} cannot be read: {said}", listed(&files)),
            help: "is the file whole? copy it again from where it came, or leave it out".to_owned(),
        },
        (other, _) => other,
    }
}

fn listed(files: &[String]) -> String {
    let named = files.iter().take(NAMED_MAX).map(|f| format!("`{f}`")).collect::<Vec<_>>().join(", ");
    match files.len() {
        1 => named,
        n if n <= NAMED_MAX => format!("one of {named}"),
        n => format!("one of {named} and {} more", n - NAMED_MAX),
    }
}

fn files(plans: &[LogicalPlan]) -> Vec<String> {
    let mut out = vec![];
    for plan in plans {
        files_of(plan, &mut out);
    }
    out.sort();
    out.dedup();
    out
}

fn files_of(plan: &LogicalPlan, out: &mut Vec<String>) {
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = provider.downcast_ref::<PinnedTable>()
            && table.format == PinnedFormat::Parquet
        {
            let store = table.store.strip_prefix("file://").unwrap_or(&table.store).trim_end_matches('/');
            out.extend(table.files.iter().map(|f| format!("{store}/{}", f.path)));
        }
        Ok(TreeNodeRecursion::Continue)
    });
}
