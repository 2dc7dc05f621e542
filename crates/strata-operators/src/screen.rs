//! Row rules that count what they drop: each row is kept, or counted once under the first rule it fails. Never drops a row uncounted.

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchemaRef, Result, exec_err, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream};
use futures::StreamExt;
use std::fmt;
use std::sync::Arc;

/// Metric of the rows that reached a screen; those of its rules are `strata.<label>`.
pub const ROWS_SEEN: &str = "strata.seen";

/// Logical screen: rules in order, each with the label its failures are counted under.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct ScreenNode {
    /// Input.
    pub input: LogicalPlan,
    /// Source whose rows are counted.
    pub source: String,
    /// (label, condition that must be true).
    pub rules: Vec<(String, Expr)>,
}

/// Physical screen.
#[derive(Debug)]
pub struct ScreenExec {
    input: Arc<dyn ExecutionPlan>,
    source: String,
    rules: Vec<(String, Arc<dyn PhysicalExpr>)>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl UserDefinedLogicalNodeCore for ScreenNode {
    fn name(&self) -> &str {
        "Screen"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.rules.iter().map(|(_, e)| e.clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Screen: {}", self.source)?;
        self.rules.iter().try_for_each(|(l, e)| write!(f, " {l}=[{e}]"))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Some(input), true) = (inputs.pop(), exprs.len() == self.rules.len()) else {
            return internal_err!("a screen has one input and one expression a rule");
        };
        let rules = self.rules.iter().map(|(l, _)| l.clone()).zip(exprs).collect();
        Ok(Self { input, source: self.source.clone(), rules })
    }
}

impl ScreenExec {
    /// A screen of `input` by `rules` for the rows of `source`.
    pub fn new(input: Arc<dyn ExecutionPlan>, source: String, rules: Vec<(String, Arc<dyn PhysicalExpr>)>) -> Self {
        let properties = PlanProperties::new(
            input.properties().eq_properties.clone(),
            input.properties().partitioning.clone(),
            input.properties().emission_type,
            input.properties().boundedness,
        );
        Self { input, source, rules, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }

    /// Source whose rows are counted.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Rules in order.
    pub fn rules(&self) -> &[(String, Arc<dyn PhysicalExpr>)] {
        &self.rules
    }
}

impl DisplayAs for ScreenExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ScreenExec: {}", self.source)?;
        self.rules.iter().try_for_each(|(l, e)| write!(f, " {l}=[{e}]"))
    }
}

impl ExecutionPlan for ScreenExec {
    fn name(&self) -> &str {
        "ScreenExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) => Ok(Arc::new(Self::new(input, self.source.clone(), self.rules.clone()))),
            None => internal_err!("a screen has one input"),
        }
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut next = TreeNodeRecursion::Continue;
        for (_, rule) in &self.rules {
            next = next.visit_sibling(|| f(rule))?;
        }
        Ok(next)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let seen = MetricBuilder::new(&self.metrics).counter(ROWS_SEEN, partition);
        let rules: Vec<(Arc<dyn PhysicalExpr>, Count)> = self
            .rules
            .iter()
            .map(|(label, rule)| {
                let name = format!("strata.{label}");
                (Arc::clone(rule), MetricBuilder::new(&self.metrics).counter(name, partition))
            })
            .collect();
        let stream = input.then(move |batch| {
            let screened = batch.and_then(|batch| {
                seen.add(batch.num_rows());
                screen(batch, &rules)
            });
            async {
                // An exchange above gives rows out and hardly ever waits: without this, who gathers a bucket's rows, and packs them, would get
                // its turn when all sources have been read, and what lies in between would be most of what the process holds.
                tokio::task::yield_now().await;
                screened
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

fn screen(mut batch: RecordBatch, rules: &[(Arc<dyn PhysicalExpr>, Count)]) -> Result<RecordBatch> {
    for (rule, failed) in rules {
        let value = rule.evaluate(&batch)?.into_array(batch.num_rows())?;
        let Some(mask) = value.as_any().downcast_ref::<BooleanArray>() else {
            return exec_err!("a condition must be true or false, and `{rule}` is {}", value.data_type());
        };
        // Null is not true: such a row fails the rule.
        let kept = mask.true_count();
        failed.add(mask.len() - kept);
        if kept < mask.len() {
            batch = filter_record_batch(&batch, mask)?;
        }
    }
    Ok(batch)
}
