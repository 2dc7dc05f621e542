//! Where compiled plans run. The one place that knows whether that is here or on a cluster; never changes what a plan means.

use crate::meter::{Meter, PlanMeter};
use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use datafusion_proto::bytes::{
    logical_plan_from_bytes_with_extension_codec, logical_plan_to_bytes_with_extension_codec,
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use std::sync::Arc;
use strata_runtime::{Limits, LogicalCodec, PhysicalCodec};

/// A plan that is running. Dropping its rows stops it.
pub struct Running {
    /// Its rows.
    pub rows: SendableRecordBatchStream,
    /// What its operators have counted.
    pub meter: Arc<dyn Meter>,
}

/// Runs compiled plans.
#[async_trait]
pub trait Runner: Send + Sync {
    /// Starts a plan. `label` is what people know it by; it never reaches the plan.
    async fn start(&self, label: &str, plan: LogicalPlan) -> Result<Running>;
}

/// Runs plans in this process.
pub struct InProcessRunner {
    context: SessionContext,
    round_trip: bool,
}

impl InProcessRunner {
    /// A runner within `limits`.
    pub fn new(limits: &Limits) -> Result<Self> {
        strata_runtime::secrets::install();
        Ok(Self { context: strata_runtime::session(limits)?, round_trip: false })
    }

    /// Encodes and decodes every plan before it runs: what cannot cross the wire does not run here either.
    pub fn with_round_trip(mut self) -> Self {
        self.round_trip = true;
        self
    }

    /// The plan with only the columns that it needs.
    pub fn optimised(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        self.context.state().optimize(plan)
    }

    fn crossed_logical(&self, plan: &LogicalPlan, task: &TaskContext) -> Result<LogicalPlan> {
        let bytes = logical_plan_to_bytes_with_extension_codec(plan, &LogicalCodec)?;
        logical_plan_from_bytes_with_extension_codec(&bytes, task, &LogicalCodec)
    }

    fn crossed_physical(&self, plan: Arc<dyn ExecutionPlan>, task: &TaskContext) -> Result<Arc<dyn ExecutionPlan>> {
        let bytes = physical_plan_to_bytes_with_extension_codec(plan, &PhysicalCodec)?;
        physical_plan_from_bytes_with_extension_codec(&bytes, task, &PhysicalCodec)
    }
}

#[async_trait]
impl Runner for InProcessRunner {
    async fn start(&self, _: &str, plan: LogicalPlan) -> Result<Running> {
        let state = self.context.state();
        let task = self.context.task_ctx();
        // Optimised before it crosses: subqueries become joins, which have a wire format.
        let plan = if self.round_trip { self.crossed_logical(&state.optimize(&plan)?, &task)? } else { plan };
        let plan = state.create_physical_plan(&plan).await?;
        let plan = if self.round_trip { self.crossed_physical(plan, &task)? } else { plan };
        tracing::debug!(plan = %datafusion::physical_plan::displayable(plan.as_ref()).indent(false), "physical plan");
        let plan = strata_operators::spread::in_one_process(plan)?;
        let rows = execute_stream(Arc::clone(&plan), task)?;
        Ok(Running { rows, meter: Arc::new(PlanMeter(plan)) })
    }
}
