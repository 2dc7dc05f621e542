//! From our logical nodes to our physical operators, and the exchanges they need. Never decides what a plan computes.

use crate::cogroup::{CogroupExec, CogroupNode, Stage};
use crate::dedup::{DedupExec, DedupNode, DedupSpec};
use crate::lookup::LookupExec;
use crate::numbered::{NumberedExec, NumberedNode};
use crate::owners::{OwnersExec, OwnersNode};
use crate::previous::PreviousExec;
use crate::screen::{ScreenExec, ScreenNode};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, internal_err};
use datafusion::execution::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::windows::BoundedWindowAggExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use std::sync::Arc;

/// Plans screens, duplicate filters and cogroups.
#[derive(Debug, Default)]
pub struct OperatorPlanner;

/// Gives duplicate filters and cogroups as many buckets as they ask for, after DataFusion has put its own exchanges in.
#[derive(Debug, Default)]
pub struct SpreadBuckets;

/// Said by a session whose operators share no budget: its buckets may be larger than was asked for.
#[derive(Debug)]
pub struct Roomy;

/// From so many buckets on, a session that is roomy takes fewer.
const BUCKETS_ALL: usize = 32;

/// How many buckets a session makes of so many. An exchange costs by the piece, and its pieces get smaller with every bucket: where there is room,
/// four times the buckets become twice as many.
fn buckets_of(asked: usize, session: &dyn Session) -> usize {
    let is_roomy = session.config().get_extension::<Roomy>().is_some();
    match is_roomy && asked > BUCKETS_ALL {
        true => (BUCKETS_ALL * asked).isqrt().next_power_of_two().min(asked),
        false => asked,
    }
}

#[async_trait]
impl ExtensionPlanner for OperatorPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if let Some(node) = node.as_any().downcast_ref::<ScreenNode>() {
            let schema = logical_inputs[0].schema();
            let rules = node
                .rules
                .iter()
                .map(|r| Ok(r.with(planner.create_physical_expr(&r.holds, schema, session, context)?)))
                .collect::<Result<_>>()?;
            let input = Arc::clone(&physical_inputs[0]);
            return Ok(Some(Arc::new(ScreenExec::new(input, node.source.clone(), rules, node.emit()))));
        }
        if let Some(node) = node.as_any().downcast_ref::<DedupNode>() {
            let buckets = buckets_of(node.buckets, session);
            return Ok(Some(Arc::new(DedupExec::planned(Arc::clone(&physical_inputs[0]), DedupSpec { buckets, ..node.spec() }))));
        }
        if let Some(node) = node.as_any().downcast_ref::<NumberedNode>() {
            return Ok(Some(Arc::new(NumberedExec::try_new(Arc::clone(&physical_inputs[0]), node.file().to_owned())?)));
        }
        if let Some(node) = node.as_any().downcast_ref::<OwnersNode>() {
            return Ok(Some(Arc::new(OwnersExec::planned(Arc::clone(&physical_inputs[0]), buckets_of(node.buckets, session)))));
        }
        if let Some(node) = node.as_any().downcast_ref::<CogroupNode>() {
            return Ok(Some(plan_cogroup(planner, node, physical_inputs, session).await?));
        }
        Ok(None)
    }
}

async fn plan_cogroup(
    planner: &dyn PhysicalPlanner,
    node: &CogroupNode,
    inputs: &[Arc<dyn ExecutionPlan>],
    session: &dyn Session,
) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(state) = session.as_any().downcast_ref::<SessionState>() else {
        return internal_err!("a cogroup is planned by a session of ours");
    };
    // A bucket is one partition: its plans must not exchange anything. There is no file in it that a filter made by a join could leave unread.
    let config = state.config().clone().with_target_partitions(1);
    let config = config.set_bool("datafusion.optimizer.enable_dynamic_filter_pushdown", false);
    let bucket = SessionStateBuilder::new_from_existing(state.clone()).with_config(config).build();
    let plan = async |logical: &LogicalPlan| {
        let logical = bucket.optimize(logical)?;
        with_lighter(one_partition(planner.create_physical_plan(&logical, &bucket).await?)?)
    };
    let mut stages = Vec::with_capacity(node.stages.len());
    for stage in &node.stages {
        stages.push(Stage { name: stage.name.clone(), plan: plan(&stage.plan).await?, unique: stage.unique.clone() });
    }
    let result = plan(&node.result).await?;
    Ok(Arc::new(CogroupExec::try_new(inputs.to_vec(), node.named.clone(), stages, result, buckets_of(node.buckets, session))?))
}

fn one_partition(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    match plan.properties().partitioning.partition_count() {
        1 => Ok(plan),
        _ => Ok(Arc::new(CoalescePartitionsExec::new(plan))),
    }
}

/// The plan with operators that do the same in less time: left joins as look-ups, because in a bucket both sides are small and the rows that look
/// need no copy; and `lag` without a state per partition, because a bucket has many of a few rows.
fn with_lighter(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let done = plan.transform_up(|plan| {
        Ok(match plan.downcast_ref::<HashJoinExec>().and_then(LookupExec::of_join) {
            Some(lookup) => Transformed::yes(Arc::new(lookup) as Arc<dyn ExecutionPlan>),
            None => match plan.downcast_ref::<BoundedWindowAggExec>().and_then(PreviousExec::of_window) {
                Some(previous) => Transformed::yes(Arc::new(previous) as Arc<dyn ExecutionPlan>),
                None => Transformed::no(plan),
            },
        })
    })?;
    Ok(done.data)
}

impl PhysicalOptimizerRule for SpreadBuckets {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let spread = plan.transform_up(|plan| {
            if let Some(dedup) = plan.downcast_ref::<DedupExec>() {
                let input = exchange(dedup.children()[0], dedup.spread_exprs()?, dedup.spec().buckets)?;
                return Ok(Transformed::yes(Arc::new(DedupExec::new(input, dedup.spec().clone()))));
            }
            if let Some(owners) = plan.downcast_ref::<OwnersExec>() {
                let input = exchange(owners.children()[0], vec![owners.key_expr()], owners.buckets())?;
                return Ok(Transformed::yes(Arc::new(OwnersExec::new(input, owners.buckets()))));
            }
            if let Some(cogroup) = plan.downcast_ref::<CogroupExec>() {
                let mut children = vec![];
                for (i, child) in cogroup.children().into_iter().enumerate() {
                    children.push(match cogroup.key_expr(i)? {
                        Some(key) => exchange(child, vec![key], cogroup.buckets())?,
                        None => one_partition(Arc::clone(child))?,
                    });
                }
                return Ok(Transformed::yes(replaced(&plan, children)?));
            }
            Ok(Transformed::no(plan))
        })?;
        Ok(spread.data)
    }

    fn name(&self) -> &str {
        "spread_buckets"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// `child` partitioned by `key` into `buckets`; an exchange that is already there is widened, not doubled.
fn exchange(child: &Arc<dyn ExecutionPlan>, key: Vec<Arc<dyn PhysicalExpr>>, buckets: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let below = match child.downcast_ref::<RepartitionExec>() {
        Some(exchange) => Arc::clone(exchange.input()),
        None => match child.downcast_ref::<CoalescePartitionsExec>() {
            Some(coalesce) => Arc::clone(coalesce.input()),
            None => Arc::clone(child),
        },
    };
    // What an operator below has spread already, e.g. where it looked for duplicates by the same key.
    if let Partitioning::Hash(by, n) = below.output_partitioning()
        && *by == key
        && *n == buckets.max(1)
    {
        return Ok(below);
    }
    Ok(Arc::new(RepartitionExec::try_new(below, Partitioning::Hash(key, buckets.max(1)))?))
}

fn replaced(plan: &Arc<dyn ExecutionPlan>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
    Arc::clone(plan).replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}
