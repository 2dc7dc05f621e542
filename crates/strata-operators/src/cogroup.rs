//! Several inputs brought together by one key, and a small program of plans run on each bucket of keys: every source is read once, and whatever
//! is grouped by the key is grouped in cache. Never lets two buckets share a key.

use crate::bucket::{BucketScanExec, BucketTables};
use crate::gather::{Gather, gathered};
use crate::grouped::{GroupedExec, with_quicker};
use crate::keys;
use crate::late::Late;
use crate::lookup::LookupExec;
use crate::packed;
use crate::previous::PreviousExec;
use crate::sieve::SieveExec;
use crate::sorted::SortedExec;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{concat, concat_batches};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchemaRef, DataFusionError, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, reset_plan_states};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, InputDistributionRequirements, PlanProperties,
    SendableRecordBatchStream, common,
};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use std::fmt;
use std::sync::{Arc, OnceLock};
use tokio::sync::{OnceCell, Semaphore};

/// How an input reaches the buckets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct CogroupInput {
    /// Name that the program's plans scan it by.
    pub name: String,
    /// Key column; `None`: every bucket sees the whole input (small tables only).
    pub key: Option<String>,
    /// Columns in which no two rows may agree; checked. Empty: nothing to check.
    pub unique: Vec<String>,
}

/// A table made on the way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct Stage<P> {
    /// Name that later plans scan it by.
    pub name: String,
    /// Its rows.
    pub plan: P,
    /// Columns in which no two rows may agree; checked in every bucket. Empty: nothing to check.
    pub unique: Vec<String>,
}

/// Prefix of the input that holds a source's rows as they are in its files.
pub const RAW: &str = "raw:";

/// A rule that the data break.
#[derive(Clone)]
pub struct RuleBroken {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// Opens a broken rule in a text that a worker sends.
const RULE_BROKEN: &str = "strata:rule-broken:";

impl RuleBroken {
    /// The rule in the text of an error: of a failed task the text is all that crosses the wire.
    pub fn of_text(text: &str) -> Option<Self> {
        // Hexadecimal: however the text is quoted on its way, these digits stay.
        let digits = &text[text.find(RULE_BROKEN)? + RULE_BROKEN.len()..];
        let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
        let bytes: Option<Vec<u8>> = (0..end / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()).collect();
        let (message, help) = serde_json::from_slice(&bytes?).ok()?;
        Some(Self { message, help })
    }
}

/// Made to be found again by [`RuleBroken::of_text`].
impl fmt::Display for RuleBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(RULE_BROKEN)?;
        serde_json::json!([self.message, self.help]).to_string().bytes().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// The same: a task's error may cross the wire as what `Debug` makes of it.
impl fmt::Debug for RuleBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for RuleBroken {}

/// Logical cogroup. INVARIANT: every plan of the program scans only bucket tables named by an input or an earlier stage, and each row of its
/// result depends on rows of one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct CogroupNode {
    /// Inputs, as many as `named`.
    pub inputs: Vec<LogicalPlan>,
    /// Their names and keys.
    pub named: Vec<CogroupInput>,
    /// Tables made on the way, in order.
    pub stages: Vec<Stage<LogicalPlan>>,
    /// The rows handed on.
    pub result: LogicalPlan,
    /// How many buckets the keys are spread over.
    pub buckets: usize,
}

/// Physical cogroup.
#[derive(Debug)]
pub struct CogroupExec {
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    named: Vec<CogroupInput>,
    stages: Vec<Stage<Arc<dyn ExecutionPlan>>>,
    result: Arc<dyn ExecutionPlan>,
    buckets: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    turns: Arc<Semaphore>,
    shared: Arc<Vec<OnceCell<RecordBatch>>>,
    /// The program as it runs where no memory budget is set.
    quicker: OnceLock<Plans>,
}

/// The program's plans, ready to run.
#[derive(Debug, Clone)]
struct Plans {
    stages: Vec<Stage<Arc<dyn ExecutionPlan>>>,
    result: Arc<dyn ExecutionPlan>,
}

impl UserDefinedLogicalNodeCore for CogroupNode {
    fn name(&self) -> &str {
        "Cogroup"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        self.result.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let inputs: Vec<String> =
            self.named.iter().map(|i| format!("{} by {}", i.name, i.key.as_deref().unwrap_or("all"))).collect();
        let stages: Vec<&str> = self.stages.iter().map(|s| s.name.as_str()).collect();
        write!(f, "Cogroup: inputs=[{}] stages=[{}]", inputs.join(", "), stages.join(", "))
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        if inputs.len() != self.named.len() {
            return internal_err!("a cogroup has {} inputs, not {}", self.named.len(), inputs.len());
        }
        Ok(Self { inputs, ..self.clone() })
    }
}

impl CogroupExec {
    /// A cogroup; the plans of the program have one partition each.
    pub fn try_new(
        inputs: Vec<Arc<dyn ExecutionPlan>>,
        named: Vec<CogroupInput>,
        stages: Vec<Stage<Arc<dyn ExecutionPlan>>>,
        result: Arc<dyn ExecutionPlan>,
        buckets: usize,
    ) -> Result<Self> {
        let counts: Vec<usize> = inputs
            .iter()
            .zip(&named)
            .filter(|(_, n)| n.key.is_some())
            .map(|(i, _)| i.properties().partitioning.partition_count())
            .collect();
        let partitions = counts.iter().copied().max().unwrap_or(1);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(result.schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        let shared = named.iter().map(|_| OnceCell::new()).collect();
        Ok(Self {
            inputs,
            named,
            stages,
            result,
            buckets,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            turns: Arc::new(Semaphore::new(crate::turns())),
            shared: Arc::new(shared),
            quicker: OnceLock::new(),
        })
    }

    /// The program as it runs in this process: aggregates that cannot spill take the place of those that can where no budget is set.
    fn plans(&self, pool: &dyn MemoryPool) -> Result<Plans> {
        let bounded = matches!(pool.memory_limit(), MemoryLimit::Finite(_));
        match self.quicker.get().filter(|_| !bounded) {
            Some(plans) => Ok(plans.clone()),
            None if bounded => Ok(Plans { stages: self.stages.clone(), result: Arc::clone(&self.result) }),
            None => {
                let stages = self.stages.iter().map(|s| Ok(Stage { plan: with_quicker(&s.plan)?, ..s.clone() }));
                let plans = Plans { stages: stages.collect::<Result<_>>()?, result: with_quicker(&self.result)? };
                Ok(self.quicker.get_or_init(|| plans).clone())
            }
        }
    }

    /// Names and keys of the inputs.
    pub fn named(&self) -> &[CogroupInput] {
        &self.named
    }

    /// Tables made on the way.
    pub fn stages(&self) -> &[Stage<Arc<dyn ExecutionPlan>>] {
        &self.stages
    }

    /// Plan of the rows handed on.
    pub fn result(&self) -> &Arc<dyn ExecutionPlan> {
        &self.result
    }

    /// How many buckets the keys are spread over.
    pub fn buckets(&self) -> usize {
        self.buckets
    }

    /// The key of input `i` over its columns; `None` where every bucket sees all of it.
    pub fn key_expr(&self, i: usize) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        match &self.named[i].key {
            None => Ok(None),
            Some(key) => Ok(Some(Arc::new(Column::new_with_schema(key, &self.inputs[i].schema())?))),
        }
    }

    fn distribution(&self, i: usize) -> Distribution {
        match self.key_expr(i) {
            Ok(Some(key)) => Distribution::KeyPartitioned(vec![key]),
            _ => Distribution::SinglePartition,
        }
    }
}

impl DisplayAs for CogroupExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let stages: Vec<&str> = self.stages.iter().map(|s| s.name.as_str()).collect();
        write!(f, "CogroupExec: stages=[{}]", stages.join(", "))
    }
}

impl ExecutionPlan for CogroupExec {
    fn name(&self) -> &str {
        "CogroupExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new((0..self.inputs.len()).map(|i| self.distribution(i)).collect())
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::try_new(children, self.named.clone(), self.stages.clone(), Arc::clone(&self.result), self.buckets)?))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut gathers = vec![];
        for (i, input) in self.inputs.iter().enumerate() {
            if self.named[i].key.is_some() {
                let late = Late::of(input, partition)?;
                let gather = gathered("cogroup", late.gathered(), partition, &self.metrics, &context)?;
                gathers.push(((i, late), gather));
            }
        }
        let program = Program {
            inputs: self.inputs.clone(),
            named: self.named.clone(),
            plans: self.plans(context.memory_pool().as_ref())?,
            shared: Arc::clone(&self.shared),
            context: Arc::clone(&context),
        };
        let (turns, share) = (Arc::clone(&self.turns), crate::turns_of_one(context.memory_pool().as_ref()));
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let busy = MetricBuilder::new(&self.metrics).subset_time("program_time", partition);
        let stream = stream::once(async move {
            let (inputs, futures): (Vec<(usize, Late)>, Vec<_>) = gathers.into_iter().unzip();
            let gathered = try_join_all(futures).await?;
            let Ok(turn) = turns.acquire_many_owned(share).await else { return internal_err!("the cogroup was closed") };
            let timer = busy.timer();
            let batches = program.run(inputs.into_iter().zip(gathered).collect()).await?;
            timer.done();
            // The turn is given back when the last row has been taken: were it before, the rows of all buckets would wait for whoever writes them.
            Ok::<_, DataFusionError>(stream::iter(batches).map(move |batch| {
                let _turn = &turn;
                baseline.record_output(batch.num_rows());
                Ok(batch)
            }))
        })
        .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

struct Program {
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    named: Vec<CogroupInput>,
    plans: Plans,
    shared: Arc<Vec<OnceCell<RecordBatch>>>,
    context: Arc<TaskContext>,
}

impl Program {
    async fn run(&self, gathered: Vec<((usize, Late), Gather)>) -> Result<Vec<RecordBatch>> {
        let tables = Arc::new(BucketTables::default());
        let mut held = vec![];
        for ((i, late), gather) in gathered {
            let loaded = gather.load().await?;
            let rows = vec![late.done(loaded.batch)?];
            check_unique(&self.named[i].name, &self.named[i].unique, &rows)?;
            tables.insert(&self.named[i].name, rows);
            held.push(loaded._reservation);
        }
        for (i, named) in self.named.iter().enumerate().filter(|(_, n)| n.key.is_none()) {
            tables.insert(&named.name, vec![self.shared_input(i).await?]);
        }
        let context = self.bucket_context(&tables);
        for stage in &self.plans.stages {
            let rows = run_plan(&stage.plan, &context).await?;
            check_unique(&stage.name, &stage.unique, &rows)?;
            tables.insert(&stage.name, rows);
        }
        // A column that is handed on as it is would be a slice of the whole bucket, kept and counted as that in every batch.
        let own = |batch: RecordBatch| RecordBatch::try_new(batch.schema(), batch.columns().iter().map(packed::own).collect());
        run_plan(&self.plans.result, &context).await?.into_iter().map(|batch| Ok(own(batch)?)).collect()
    }

    async fn shared_input(&self, i: usize) -> Result<RecordBatch> {
        let input = &self.inputs[i];
        let load = || async {
            let batches = common::collect(input.execute(0, Arc::clone(&self.context))?).await?;
            let rows = concat_batches(&input.schema(), &batches)?;
            check_unique(&self.named[i].name, &self.named[i].unique, std::slice::from_ref(&rows))?;
            Ok::<_, DataFusionError>(rows)
        };
        Ok(self.shared[i].get_or_try_init(load).await?.clone())
    }

    fn bucket_context(&self, tables: &Arc<BucketTables>) -> Arc<TaskContext> {
        let config = self.context.session_config().clone().with_extension(Arc::clone(tables));
        Arc::new(TaskContext::new(
            self.context.task_id(),
            self.context.session_id(),
            config,
            self.context.scalar_functions().clone(),
            self.context.higher_order_functions().clone(),
            self.context.aggregate_functions().clone(),
            self.context.window_functions().clone(),
            self.context.runtime_env(),
        ))
    }
}

/// Whether a plan of these operators alone can be executed again and again: none of them keeps anything from one bucket to the next but metrics.
fn keeps_nothing(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let known = plan.is::<BucketScanExec>() || plan.is::<ProjectionExec>() || plan.is::<CooperativeExec>();
    let ours = plan.is::<SieveExec>()
        || plan.is::<GroupedExec>()
        || plan.is::<SortedExec>()
        || plan.is::<LookupExec>()
        || plan.is::<PreviousExec>();
    (known || ours) && plan.children().into_iter().all(keeps_nothing)
}

async fn run_plan(plan: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Result<Vec<RecordBatch>> {
    // Joins keep their build side inside the plan: each bucket needs a plan with none.
    let plan = match keeps_nothing(plan) {
        true => Arc::clone(plan),
        false => reset_plan_states(Arc::clone(plan))?,
    };
    let mut batches = vec![];
    let mut stream = plan.execute(0, Arc::clone(context))?;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        if batch.num_rows() > 0 {
            batches.push(batch);
        }
    }
    Ok(batches)
}

/// Errors: `External` with a [`RuleBroken`] if two rows of the table `name` agree in all columns of `unique`.
fn check_unique(name: &str, unique: &[String], rows: &[RecordBatch]) -> Result<()> {
    let Some(schema) = rows.first().map(RecordBatch::schema).filter(|_| !unique.is_empty()) else { return Ok(()) };
    let whole = |column: &String| {
        let i = schema.index_of(column)?;
        concat(&rows.iter().map(|batch| batch.column(i).as_ref()).collect::<Vec<_>>())
    };
    let columns: Vec<ArrayRef> = unique.iter().map(whole).collect::<Result<_, _>>()?;
    let name = name.strip_prefix(RAW).unwrap_or(name);
    match keys::repeats(&columns)?.len() {
        0 => Ok(()),
        n => Err(DataFusionError::External(Box::new(RuleBroken {
            message: format!("`{name}` has {n} or more rows whose key ({}) another row has as well", unique.join(", ")),
            help: "one row a key: group by the key, say `duplicates:` at a source, or declare the key that the rows really have"
                .into(),
        }))),
    }
}
