//! Holds the rows of one bucket until the bucket is complete, on disk where memory is short. Never reorders and never loses a row.

use crate::packed::{Packed, unpacked};
use crate::spread::SpreadExec;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::execution::spill_file::SpillFile;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, SpillManager};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;

/// Share of the pool that gathered rows may fill before they go to disk: the rest is for the plans that run on a bucket, which cannot spill.
const POOL_SHARE: f64 = 0.4;
/// What a bucket holds at least before it goes to disk, so that spill files do not become crumbs.
const SPILL_BYTES_MIN: usize = 128 << 10;

/// How often room for a bucket is asked for while nothing is freed, and how long between: what fills the pool is most often a bucket that is
/// nearly done.
const ASKED_MAX: u32 = 150;
const PAUSE: Duration = Duration::from_millis(20);

/// Waits for `bytes` of the pool as long as others free some. Errors: `ResourcesExhausted` if for three seconds nobody does, or there are
/// never so many.
async fn granted(pool: &dyn MemoryPool, reservation: &MemoryReservation, bytes: usize) -> Result<()> {
    let never = matches!(pool.memory_limit(), MemoryLimit::Finite(most) if bytes > most);
    let (mut asked, mut before) = (0, pool.reserved());
    loop {
        match reservation.try_grow(bytes) {
            Err(_) if !never && asked < ASKED_MAX => tokio::time::sleep(PAUSE).await,
            granted_or_not => return granted_or_not,
        }
        let now = pool.reserved();
        asked = if now < before { 0 } else { asked + 1 };
        before = now;
    }
}

/// The rows of one partition of `plan`; `name` is the operator named in memory errors.
pub(crate) fn gathered(
    name: &'static str,
    plan: &Arc<dyn ExecutionPlan>,
    partition: usize,
    metrics: &ExecutionPlanMetricsSet,
    context: &Arc<TaskContext>,
) -> Result<BoxFuture<'static, Result<Gather>>> {
    if let Some(spread) = plan.downcast_ref::<SpreadExec>() {
        return Ok(spread.gathered(partition, context)?.boxed());
    }
    let stream = plan.execute(partition, Arc::clone(context))?;
    Ok(Gather::new(name, plan.schema(), partition, metrics, Arc::clone(context)).take_all(stream).boxed())
}

/// Rows gathered so far.
pub(crate) struct Gather {
    schema: SchemaRef,
    held: Vec<Packed>,
    held_bytes: usize,
    /// Bytes of all rows when they are unpacked.
    whole_bytes: usize,
    spilled: Vec<Arc<dyn SpillFile>>,
    manager: SpillManager,
    reservation: MemoryReservation,
    loader: MemoryConsumer,
    context: Arc<TaskContext>,
    name: &'static str,
}

/// All rows of a bucket in one batch, and the memory they are accounted under.
pub(crate) struct Loaded {
    /// The rows.
    pub(crate) batch: RecordBatch,
    /// Freed when dropped.
    pub(crate) _reservation: MemoryReservation,
}

impl Gather {
    /// Nothing yet; `name` is the operator named in memory errors.
    pub(crate) fn new(
        name: &'static str,
        schema: SchemaRef,
        partition: usize,
        metrics: &ExecutionPlanMetricsSet,
        context: Arc<TaskContext>,
    ) -> Self {
        let manager = SpillManager::new(context.runtime_env(), SpillMetrics::new(metrics, partition), Arc::clone(&schema));
        let consumer = MemoryConsumer::new(format!("{name}[{partition}]")).with_can_spill(true);
        Self {
            schema,
            held: vec![],
            held_bytes: 0,
            whole_bytes: 0,
            spilled: vec![],
            manager,
            reservation: consumer.register(context.memory_pool()),
            loader: MemoryConsumer::new(format!("{name}[{partition}] one bucket")),
            context,
            name,
        }
    }

    /// Takes every batch of `input`.
    async fn take_all(mut self, mut input: SendableRecordBatchStream) -> Result<Self> {
        while let Some(batch) = input.next().await {
            let batch = batch?;
            if batch.num_rows() > 0 {
                self.push(Packed::of(&batch))?;
            }
        }
        Ok(self)
    }

    /// Takes some more rows.
    pub(crate) fn push(&mut self, piece: Packed) -> Result<()> {
        self.whole_bytes += piece.whole_bytes();
        let bytes = piece.bytes();
        let full = self.reservation.try_grow(bytes).is_err();
        self.held.push(piece);
        self.held_bytes += bytes;
        match full || (self.pool_is_crowded() && self.held_bytes >= SPILL_BYTES_MIN) {
            true => self.spill(),
            false => Ok(()),
        }
    }

    fn pool_is_crowded(&self) -> bool {
        let pool = self.context.memory_pool();
        match pool.memory_limit() {
            MemoryLimit::Finite(bytes) => pool.reserved() as f64 > POOL_SHARE * bytes as f64,
            _ => false,
        }
    }

    fn spill(&mut self) -> Result<()> {
        let held = [unpacked(&self.schema, std::mem::take(&mut self.held))?];
        if let Some(file) = self.manager.spill_record_batch_and_finish(&held, self.name)? {
            self.spilled.push(file);
        }
        self.held_bytes = 0;
        self.reservation.free();
        Ok(())
    }

    /// All rows as one batch, as soon as there is room. Errors: `ResourcesExhausted` if there is none, whoever ends meanwhile.
    pub(crate) async fn load(mut self) -> Result<Loaded> {
        let reservation = self.loader.clone_with_new_id().register(self.context.memory_pool());
        granted(self.context.memory_pool().as_ref(), &reservation, self.whole_bytes).await?;
        let mut all = std::mem::take(&mut self.held);
        for file in self.spilled.drain(..) {
            let mut stream = self.manager.read_spill_as_stream_unbuffered(file, None)?;
            while let Some(batch) = stream.next().await {
                all.push(Packed::of(&batch?));
            }
        }
        let batch = unpacked(&self.schema, all)?;
        self.reservation.free();
        Ok(Loaded { batch, _reservation: reservation })
    }
}
