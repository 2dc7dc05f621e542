//! What the operators of a running plan have counted, wherever they run. Never estimates.

use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use std::sync::Arc;

/// One operator and what it has counted in all its tasks.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The operator.
    pub operator: Arc<dyn ExecutionPlan>,
    /// Its counts.
    pub metrics: MetricsSet,
}

/// How far the tasks of a plan are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tasks {
    /// Finished.
    pub done: u64,
    /// In all, of the stages known so far.
    pub all: u64,
}

/// Reads what operators have counted.
#[async_trait]
pub trait Meter: Send + Sync {
    /// Every operator of the plan. What is counted is complete once the plan's rows have ended.
    async fn readings(&self) -> Vec<Reading>;
    /// Tasks; `None` where a plan is not cut into tasks.
    async fn tasks(&self) -> Option<Tasks> {
        None
    }
    /// Bytes that tasks handed to other tasks; none where a plan is not cut into tasks.
    async fn shuffled_bytes(&self) -> u64 {
        0
    }
}

/// Reads a plan of this process.
pub(crate) struct PlanMeter(pub(crate) Arc<dyn ExecutionPlan>);

#[async_trait]
impl Meter for PlanMeter {
    async fn readings(&self) -> Vec<Reading> {
        let mut out = vec![];
        collect(&self.0, &mut out);
        out
    }
}

fn collect(plan: &Arc<dyn ExecutionPlan>, out: &mut Vec<Reading>) {
    if let Some(metrics) = plan.metrics() {
        out.push(Reading { operator: Arc::clone(plan), metrics });
    }
    for child in plan.children() {
        collect(child, out);
    }
}
