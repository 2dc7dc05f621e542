//! Runs compiled plans on the workers. Never keeps more of a result than its rows: results of the engine's plans are summaries and receipts.

use crate::cluster::Cluster;
use crate::failure;
use crate::slots::disturbed;
use crate::small::{is_small, only_summarises};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::execution_plans::ShuffleReaderExec;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::scheduler::PartitionLocation;
use ballista_scheduler::state::execution_graph::ExecutionGraphBox;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use strata_engine::{Meter, Reading, Runner, Running, Tasks};
use strata_runtime::store::Place;

/// How often a plan's state is looked at: it costs a map look-up.
const LOOK: Duration = Duration::from_millis(4);
/// And every how many of these looks its tasks are counted.
const COUNT_EVERY: u32 = 50;
/// How long the first plan of a run waits for a worker: people start a cluster in any order.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a later plan does; as long as one that loses all workers while it runs.
const PATIENCE_LATER: Duration = Duration::from_secs(10);
/// A plan whose result was lost with its worker, or that stands still, is run again so often. Its files have other names each time.
const TRIES: u32 = 8;
/// So often workers may be lost while they run tasks of a plan: then it is taken for what they die of.
const LOST_MAX: usize = 4;
/// A plan of which no task ends and none runs for so long stands still.
const STILL: Duration = Duration::from_secs(30);

/// Runs plans on a cluster.
pub struct ClusterRunner {
    cluster: Arc<Cluster>,
    /// The work area; without it every plan goes to workers.
    work: Option<Place>,
    /// A plan has found workers.
    began: AtomicBool,
}

impl ClusterRunner {
    /// A runner on the workers of `cluster`; `work` is where tables between steps are.
    pub fn new(cluster: Arc<Cluster>, work: &str) -> Self {
        Self { cluster, work: strata_runtime::store::place(work).ok(), began: AtomicBool::new(false) }
    }
}

/// One plan under way. Stops its tasks when it is dropped before its end.
struct Job {
    cluster: Arc<Cluster>,
    seen: Arc<Seen>,
    schema: arrow::datatypes::SchemaRef,
    task: Arc<TaskContext>,
    id: Option<JobId>,
    /// Workers that were given tasks of it, by try.
    given: Vec<HashSet<String>>,
}

/// What was read of a plan's operators.
struct Seen {
    cluster: Arc<Cluster>,
    job: Mutex<Option<JobId>>,
    last: Mutex<Counted>,
}

/// A running plan at one moment.
#[derive(Default)]
struct Look {
    tasks: Tasks,
    /// Some of its tasks run.
    running: bool,
    /// Why it has to be run anew, if it has.
    disturbed: Option<String>,
}

#[derive(Default, Clone)]
struct Counted {
    readings: Vec<Reading>,
    tasks: Tasks,
    shuffled: u64,
}

#[async_trait]
impl Runner for ClusterRunner {
    async fn start(&self, label: &str, plan: LogicalPlan) -> Result<Running> {
        if let Some(work) = &self.work
            && only_summarises(&plan, work)
        {
            let optimised = self.cluster.small().optimised(&plan)?;
            if is_small(&optimised, work) {
                tracing::debug!("`{label}` is run here");
                return self.cluster.small().start(label, optimised).await;
            }
        }
        let patience = if self.began.load(Ordering::Relaxed) { PATIENCE_LATER } else { PATIENCE };
        let slots = self.cluster.wait_for_slots(patience).await?;
        self.began.store(true, Ordering::Relaxed);
        let session = self.cluster.session(slots).await?;
        let physical = self.cluster.physical(&session, &plan).await?;
        tracing::debug!("`{label}` is given to workers");
        let schema = physical.schema();
        let seen = Arc::new(Seen { cluster: Arc::clone(&self.cluster), job: Mutex::default(), last: Mutex::default() });
        let mut job = Job {
            cluster: Arc::clone(&self.cluster),
            seen: Arc::clone(&seen),
            schema: Arc::clone(&schema),
            task: session.task_ctx(),
            id: None,
            given: vec![],
        };
        let label = label.to_owned();
        let rows = stream::once(async move {
            let batches = job.run(&label, &session, physical).await?;
            Ok::<_, DataFusionError>(stream::iter(batches.into_iter().map(Ok)))
        })
        .try_flatten();
        Ok(Running { rows: Box::pin(RecordBatchStreamAdapter::new(schema, rows)), meter: seen })
    }
}

impl Job {
    async fn run(
        &mut self,
        label: &str,
        session: &datafusion::prelude::SessionContext,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<Vec<RecordBatch>> {
        let mut tried = 1;
        loop {
            // INVARIANT: a plan that is run again is submitted anew: its tasks have other names, and so have the files they write.
            let id = self.cluster.submit(label, session.clone(), Arc::clone(&plan)).await?;
            self.id = Some(id.clone());
            *self.seen.job.lock().unwrap_or_else(PoisonError::into_inner) = Some(id.clone());
            let result = match self.finished(&id).await {
                Ok(graph) => self.rows(&graph).await,
                Err(e) => Err(e),
            };
            self.id = None;
            self.given.push(self.cluster.take_given(&id));
            self.cluster.forget(&id).await;
            let lost = self.lost().await;
            match result {
                Err(e) if failure::is_passing(&e) && lost >= LOST_MAX => return Err(deadly(lost, &e)),
                Err(e) if failure::is_passing(&e) && tried < TRIES => {
                    self.cluster.wait_for_slots(PATIENCE_LATER).await?;
                    tracing::warn!("`{label}` is run again: {e}");
                    tried += 1;
                }
                other => return other,
            }
        }
    }

    /// Waits for its end. Errors: what its tasks failed with.
    async fn finished(&mut self, id: &JobId) -> Result<ExecutionGraphBox> {
        let (mut still, mut before, mut looks) = (Duration::ZERO, Tasks::default(), 0);
        loop {
            tokio::time::sleep(LOOK).await;
            looks += 1;
            match self.cluster.status(id).await {
                Some(Status::Successful(_)) => {
                    // It is said to have ended a moment before it can be read.
                    if let Some(graph) = self.cluster.ended(id).await {
                        self.seen.read(&graph);
                        return check_whole(&graph).map(|()| graph);
                    }
                    still += LOOK;
                    if still > STILL {
                        return internal_err!("the scheduler forgot a finished plan");
                    }
                    continue;
                }
                Some(Status::Failed(failed)) => return Err(failure::of_text(&failed.error)),
                _ => {}
            }
            if looks % COUNT_EVERY != 0 {
                continue;
            }
            let look = self.seen.look(id).await;
            if let Some(why) = look.disturbed {
                self.cluster.cancel(id).await;
                return Err(failure::passing(&why));
            }
            let (tasks, running) = (look.tasks, look.running);
            let moves = running || tasks != before || self.cluster.slots().await == 0;
            still = if moves { Duration::ZERO } else { still + LOOK * COUNT_EVERY };
            before = tasks;
            if still > STILL {
                if let Some(graph) = self.cluster.running(id) {
                    tracing::warn!("a plan stands still: {:?}", graph.read().await);
                }
                self.cluster.cancel(id).await;
                return Err(failure::passing("none of its tasks ran for half a minute"));
            }
        }
    }

    /// How many tries ended while, or before, a worker that had been given tasks was lost.
    async fn lost(&self) -> usize {
        let known = self.cluster.known().await;
        self.given.iter().filter(|workers| !workers.is_subset(&known)).count()
    }

    /// Its rows, in order of partitions. Errors: `IoError` if a worker that held some is gone.
    async fn rows(&self, graph: &ExecutionGraphBox) -> Result<Vec<RecordBatch>> {
        // INVARIANT: one piece a partition, the last one. Of a last stage that was begun again the engine also names the pieces that were made
        // before: to read them as well would count rows, and files, twice.
        let mut last: BTreeMap<usize, PartitionLocation> = BTreeMap::new();
        for location in graph.output_locations() {
            last.insert(location.partition_id.partition_id, location);
        }
        let Some(stage) = last.values().next().map(|l| l.partition_id.stage_id) else { return Ok(vec![]) };
        let groups: Vec<Vec<PartitionLocation>> = last.into_values().map(|l| vec![l]).collect();
        let count = groups.len();
        let reader =
            ShuffleReaderExec::try_new(stage, groups, Arc::clone(&self.schema), Partitioning::UnknownPartitioning(count))?
                // Nothing of it lies here: every piece is fetched from its worker.
                .with_work_dir("/nonexistent".to_owned());
        let mut out = vec![];
        for partition in 0..count {
            let mut rows = reader.execute(partition, Arc::clone(&self.task))?;
            while let Some(batch) = rows.next().await {
                out.push(batch.map_err(|e| failure::passing(&format!("its result is gone with its worker: {e}")))?);
            }
        }
        Ok(out)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.cluster.take_given(&id);
            self.cluster.cancel_later(id);
        }
    }
}

impl Seen {
    /// Looks at a running plan.
    async fn look(&self, id: &JobId) -> Look {
        let Some(graph) = self.cluster.running(id) else { return Look::default() };
        let graph = graph.read().await;
        let counted = counted(&graph);
        let tasks = counted.tasks;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = counted;
        Look { tasks, running: !graph.running_tasks().is_empty(), disturbed: disturbed(&graph) }
    }

    fn read(&self, graph: &ExecutionGraphBox) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = counted(graph);
    }

    fn last(&self) -> Counted {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Meter for Seen {
    async fn readings(&self) -> Vec<Reading> {
        self.last().readings
    }

    async fn tasks(&self) -> Option<Tasks> {
        Some(self.last().tasks)
    }

    async fn shuffled_bytes(&self) -> u64 {
        self.last().shuffled
    }
}

/// The end of a plan that workers die of, as far as can be told. Another try may mend it: they may have been ended by somebody.
fn deadly(lost: usize, last: &DataFusionError) -> DataFusionError {
    failure::passing(&format!(
        "{lost} times a worker was lost while it ran a task of this; does it need more memory than workers have? (the last time: {last})"
    ))
}

/// Errors: `IoError` unless every task of a plan was done, and once.
fn check_whole(graph: &ExecutionGraphBox) -> Result<()> {
    let undone = || {
        let done = graph.stages().values().all(|stage| matches!(stage, ExecutionStage::Successful(_)));
        (!done).then(|| "a stage of it was not done".to_owned())
    };
    disturbed(graph).or_else(undone).map_or(Ok(()), |why| Err(failure::passing(&why)))
}

fn counted(graph: &ExecutionGraphBox) -> Counted {
    let mut out = Counted::default();
    let mut stages: Vec<_> = graph.stages().iter().collect();
    stages.sort_by_key(|(id, _)| **id);
    for (_, stage) in stages {
        match stage {
            ExecutionStage::UnResolved(s) => out.shuffled += handed_on(&s.inputs),
            ExecutionStage::Resolved(s) => {
                out.tasks.all += s.partitions as u64;
                out.shuffled += handed_on(&s.inputs);
            }
            ExecutionStage::Running(s) => {
                out.tasks.all += s.partitions as u64;
                out.tasks.done += s.partitions.saturating_sub(s.pending.remaining() + running(&s.task_infos)) as u64;
                out.shuffled += handed_on(&s.inputs);
                read(&s.plan, s.stage_metrics.as_deref().unwrap_or_default(), &mut out.readings);
            }
            ExecutionStage::Successful(s) => {
                out.tasks.all += s.partitions as u64;
                out.tasks.done += s.partitions as u64;
                out.shuffled += handed_on(&s.inputs);
                read(&s.plan, &s.stage_metrics, &mut out.readings);
            }
            ExecutionStage::Failed(_) => {}
        }
    }
    out
}

fn running(tasks: &[ballista_scheduler::state::execution_stage::TaskInfo]) -> usize {
    use ballista_core::serde::protobuf::task_status;
    tasks
        .iter()
        .filter(|t| matches!(t.task_status, task_status::Status::Running(_)))
        .map(|t| t.global_input_partition_ids.len())
        .sum()
}

/// Bytes that a stage takes from others.
fn handed_on(inputs: &std::collections::HashMap<usize, ballista_scheduler::state::execution_stage::StageOutput>) -> u64 {
    let pieces = inputs.values().flat_map(|o| o.partition_locations.values().flatten());
    pieces.map(|l| l.partition_stats.num_bytes().unwrap_or(0)).sum()
}

/// Operators that count, in the order in which workers report them.
fn read(plan: &Arc<dyn ExecutionPlan>, metrics: &[datafusion::physical_plan::metrics::MetricsSet], out: &mut Vec<Reading>) {
    let mut operators = vec![];
    counting(plan, &mut operators);
    if operators.len() == metrics.len() {
        out.extend(operators.into_iter().zip(metrics).map(|(operator, m)| Reading { operator, metrics: m.clone() }));
    }
}

fn counting(plan: &Arc<dyn ExecutionPlan>, out: &mut Vec<Arc<dyn ExecutionPlan>>) {
    if plan.metrics().is_some() {
        out.push(Arc::clone(plan));
    }
    for child in plan.children() {
        counting(child, out);
    }
}
