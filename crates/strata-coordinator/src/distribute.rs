//! Makes a physical plan fit to be cut into tasks, or refuses it. Never changes what it computes.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, internal_err};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::Distribution;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use std::sync::Arc;

/// `plan`, with a stage of its own for every input that all tasks of an operator read whole: otherwise each of them would read it again,
/// and count its rows again. Errors: `Internal` for a leaf that cannot be cut, which every task would read whole.
pub(crate) fn distributed(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = plan.transform_up(|node| {
        if node.children().is_empty() {
            check_leaf(&node)?;
            return Ok(Transformed::no(node));
        }
        if node.output_partitioning().partition_count() < 2 {
            return Ok(Transformed::no(node));
        }
        let required = node.input_distribution_requirements();
        let children: Vec<Arc<dyn ExecutionPlan>> = node.children().into_iter().cloned().collect();
        let whole: Vec<bool> = required.per_child_distributions().map(|d| matches!(d, Distribution::SinglePartition)).collect();
        if whole.len() != children.len() || !whole.contains(&true) {
            return Ok(Transformed::no(node));
        }
        let staged = children.into_iter().zip(whole).map(|(c, whole)| if whole && !is_cut(&c) { alone(c) } else { c });
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        Ok(Transformed::yes(node.replace_children(staged.collect(), options)?))
    })?;
    Ok(plan.data)
}

fn is_cut(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.children().is_empty() && !plan.is::<DataSourceExec>()
}

fn alone(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(CoalescePartitionsExec::new(plan))
}

fn check_leaf(leaf: &Arc<dyn ExecutionPlan>) -> Result<()> {
    if leaf.is::<DataSourceExec>() || leaf.is::<EmptyExec>() || leaf.is::<PlaceholderRowExec>() {
        return Ok(());
    }
    internal_err!("`{}` cannot be cut into tasks", leaf.name())
}
