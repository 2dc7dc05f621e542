//! A left join that looks every row up in a table held in memory: the rows that look are handed on as they are, in their order, and only what
//! is found is copied. Never drops a row, and gives a row more than once only where the table repeats its key.

use crate::keys;
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, JoinType, NullEquality, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, SendableRecordBatchStream, common,
};
use foldhash::fast::FixedState;
use futures::{StreamExt, TryStreamExt, stream};
use hashbrown::HashTable;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

/// No row.
const NONE: u32 = u32::MAX;
/// A range of keys up to so many times the rows is a table of its own.
const SPARSE_MAX: u64 = 4;

/// What of a row is held against what of a row of the table.
pub type On = (Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>);

/// Physical left join of `left` with the table `right`; both have one partition. Null is like no other value, as in SQL.
#[derive(Debug)]
pub struct LookupExec {
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    on: Vec<On>,
    /// Indexes of the columns handed on, those of `right` behind those of `left`.
    projection: Vec<usize>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl LookupExec {
    /// A left join. Errors: `Internal` where a column is out of range or a side has several partitions.
    pub fn try_new(
        left: Arc<dyn ExecutionPlan>,
        right: Arc<dyn ExecutionPlan>,
        on: Vec<On>,
        projection: Vec<usize>,
    ) -> Result<Self> {
        if on.is_empty() || [&left, &right].iter().any(|p| p.output_partitioning().partition_count() != 1) {
            return internal_err!("a look-up has a key and sides of one partition");
        }
        let found = right.schema();
        // A row that finds nothing has nulls there.
        let found = found.fields().iter().map(|f| Arc::new(f.as_ref().clone().with_nullable(true)));
        let joined = Schema::new(left.schema().fields().iter().cloned().chain(found).collect::<Vec<_>>());
        let schema = Arc::new(joined.project(&projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            left.properties().emission_type,
            left.properties().boundedness,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Self { left, right, on, projection, schema, properties: Arc::new(properties), metrics })
    }

    /// The same join as `join`; `None` where it is more than a left join of two small tables by keys that are compared exactly.
    pub(crate) fn of_join(join: &HashJoinExec) -> Option<Self> {
        let plain = *join.join_type() == JoinType::Left
            && join.filter().is_none()
            && join.null_equality() == NullEquality::NullEqualsNothing
            && !join.null_aware
            && join.dynamic_expressions_produced().is_empty();
        let (left, right) = (join.left(), join.right());
        let exact = join.on().iter().all(|(l, r)| match (l.data_type(&left.schema()), r.data_type(&right.schema())) {
            (Ok(l), Ok(r)) => l == r && is_exact(&l),
            _ => false,
        });
        if !plain || !exact {
            return None;
        }
        let width = left.schema().fields().len() + right.schema().fields().len();
        let projection = join.projection.as_ref().map_or_else(|| (0..width).collect(), |p| p.to_vec());
        let lookup = Self::try_new(Arc::clone(left), Arc::clone(right), join.on().to_vec(), projection).ok()?;
        (lookup.schema.fields() == join.schema().fields()).then_some(lookup)
    }

    /// What is compared.
    pub fn on(&self) -> &[On] {
        &self.on
    }

    /// Indexes of the columns handed on, those of the table behind those of the rows that look.
    pub fn projection(&self) -> &[usize] {
        &self.projection
    }
}

/// Whether two values of the type are equal exactly if their bytes are; floats are not.
fn is_exact(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(data_type, DataType::Utf8 | DataType::Boolean | DataType::Date32 | DataType::Decimal128(_, _))
        || matches!(data_type, DataType::Timestamp(_, _))
}

impl DisplayAs for LookupExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "LookupExec:")?;
        self.on.iter().try_for_each(|(l, r)| write!(f, " {l}={r}"))
    }
}

impl ExecutionPlan for LookupExec {
    fn name(&self) -> &str {
        "LookupExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 2]>::try_from(children) {
            Ok([left, right]) => Ok(Arc::new(Self::try_new(left, right, self.on.clone(), self.projection.clone())?)),
            Err(_) => internal_err!("a look-up has two inputs"),
        }
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut next = TreeNodeRecursion::Continue;
        for (left, right) in &self.on {
            next = next.visit_sibling(|| f(left))?;
            next = next.visit_sibling(|| f(right))?;
        }
        Ok(next)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.left.execute(partition, Arc::clone(&context))?;
        let table = self.right.execute(partition, Arc::clone(&context))?;
        let (looks, keys): (Vec<_>, Vec<_>) = self.on.iter().cloned().unzip();
        let (projection, schema, of_table) = (self.projection.clone(), Arc::clone(&self.schema), self.right.schema());
        let reservation = MemoryConsumer::new("LookupExec").register(context.memory_pool());
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let joined = stream::once(async move {
            let table = Table::of(concat_batches(&of_table, &common::collect(table).await?)?, &keys, reservation)?;
            Ok::<_, DataFusionError>(rows.map(move |batch| {
                let joined = table.joined(&batch?, &looks, &projection, &schema)?;
                baseline.record_output(joined.num_rows());
                Ok(joined)
            }))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), joined.try_flatten())))
    }
}

/// A table and where its keys stand.
struct Table {
    rows: RecordBatch,
    index: Index,
    /// The next row of the same key; empty where no key stands twice.
    next: Vec<u32>,
    _reservation: MemoryReservation,
}

/// The first row of each key.
enum Index {
    /// By key less the least key.
    Dense { least: i64, first: Vec<u32> },
    /// Open addressing over rows.
    Words { words: Vec<i64>, slots: Vec<u32> },
    /// By the bytes of a row of keys.
    Bytes { converter: RowConverter, keys: Rows, table: HashTable<u32> },
}

fn values(keys: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    keys.iter().map(|k| k.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

/// Where a value of the key is null.
fn nulls_of(columns: &[ArrayRef]) -> Option<NullBuffer> {
    columns.iter().fold(None, |all, c| NullBuffer::union(all.as_ref(), c.logical_nulls().as_ref())).filter(|n| n.null_count() > 0)
}

/// Types whose values are one word each.
fn is_word(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, _))
        || (data_type.is_integer() && *data_type != DataType::UInt64)
}

fn spread(word: i64, slots: usize) -> usize {
    ((word as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - slots.trailing_zeros())) as usize
}

fn hash(bytes: &[u8]) -> u64 {
    FixedState::default().hash_one(bytes)
}

impl Table {
    fn of(rows: RecordBatch, keys: &[Arc<dyn PhysicalExpr>], reservation: MemoryReservation) -> Result<Self> {
        let columns = values(keys, &rows)?;
        let nulls = nulls_of(&columns);
        let mut next = vec![NONE; rows.num_rows()];
        // From the last row to the first: each key leads to its first row, and from there on in order.
        let present = (0..rows.num_rows()).rev().filter(|row| nulls.as_ref().is_none_or(|n| n.is_valid(*row)));
        let index = match columns.as_slice() {
            [only] if is_word(only.data_type()) => {
                let words = keys::words(only)?;
                let range = |row| words[row];
                let least = present.clone().map(range).min().unwrap_or(0);
                let width = present.clone().map(range).max().map_or(0, |most| most.abs_diff(least));
                match width <= SPARSE_MAX * rows.num_rows() as u64 {
                    true => {
                        let mut first = vec![NONE; width as usize + 1];
                        for row in present {
                            next[row] = std::mem::replace(&mut first[words[row].abs_diff(least) as usize], row as u32);
                        }
                        Index::Dense { least, first }
                    }
                    false => {
                        let mut slots = vec![NONE; (rows.num_rows() * 2).next_power_of_two().max(2)];
                        for row in present {
                            let slot = slot_of(&words, &slots, words[row]);
                            next[row] = std::mem::replace(&mut slots[slot], row as u32);
                        }
                        Index::Words { words, slots }
                    }
                }
            }
            _ => {
                let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
                let converter = RowConverter::new(fields)?;
                let keys = converter.convert_columns(&columns)?;
                let mut table: HashTable<u32> = HashTable::with_capacity(rows.num_rows());
                for row in present {
                    let own = hash(keys.row(row).as_ref());
                    match table.find_mut(own, |r| keys.row(*r as usize) == keys.row(row)) {
                        Some(first) => next[row] = std::mem::replace(first, row as u32),
                        None => {
                            table.insert_unique(own, row as u32, |r| hash(keys.row(*r as usize).as_ref()));
                        }
                    }
                }
                Index::Bytes { converter, keys, table }
            }
        };
        if next.iter().all(|n| *n == NONE) {
            next = vec![];
        }
        reservation.try_grow(rows.get_array_memory_size() + 4 * next.len() + index.bytes())?;
        Ok(Self { rows, index, next, _reservation: reservation })
    }

    /// The rows of `batch` with what each finds.
    fn joined(
        &self,
        batch: &RecordBatch,
        looks: &[Arc<dyn PhysicalExpr>],
        projection: &[usize],
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let mut found = self.find(&values(looks, batch)?)?;
        let width = batch.num_columns();
        let mut own: Vec<ArrayRef> = batch.columns().to_vec();
        if !self.next.is_empty() {
            let repeated;
            (repeated, found) = self.all_of(&found);
            // Only columns that are handed on are worth a copy.
            for (i, column) in own.iter_mut().enumerate().filter(|(i, _)| projection.contains(i)) {
                *column = take(batch.column(i), &repeated, None)?;
            }
        }
        let nulls: Option<NullBuffer> = found.contains(&NONE).then(|| found.iter().map(|row| *row != NONE).collect());
        let nothing = nulls.as_ref().is_some_and(|n| n.null_count() == found.len());
        let rows = found.len();
        if nulls.is_some() {
            found.iter_mut().filter(|row| **row == NONE).for_each(|row| *row = 0);
        }
        let found = UInt32Array::new(found.into(), nulls);
        let columns = projection.iter().map(|i| match i.checked_sub(width) {
            None => Ok(Arc::clone(&own[*i])),
            Some(i) if nothing => Ok(new_null_array(self.rows.column(i).data_type(), rows)),
            Some(i) => Ok(take(self.rows.column(i), &found, None)?),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_>>()?, &options)?)
    }

    /// The first row that each key finds.
    fn find(&self, key: &[ArrayRef]) -> Result<Vec<u32>> {
        let nulls = nulls_of(key);
        let mut found: Vec<u32> = match &self.index {
            Index::Dense { least, first } => {
                let at = |word: &i64| usize::try_from(word.wrapping_sub(*least)).ok().filter(|_| word >= least);
                keys::words(&key[0])?.iter().map(|w| at(w).and_then(|i| first.get(i)).copied().unwrap_or(NONE)).collect()
            }
            Index::Words { words, slots } => keys::words(&key[0])?.iter().map(|w| slots[slot_of(words, slots, *w)]).collect(),
            Index::Bytes { converter, keys, table } => {
                let look = |row: arrow::row::Row| table.find(hash(row.as_ref()), |r| keys.row(*r as usize) == row).copied();
                converter.convert_columns(key)?.iter().map(|row| look(row).unwrap_or(NONE)).collect()
            }
        };
        if let Some(nulls) = nulls {
            found.iter_mut().zip(&nulls).filter(|(_, valid)| !valid).for_each(|(row, _)| *row = NONE);
        }
        Ok(found)
    }

    /// Every row that finds something once for each row found, and what it finds there.
    fn all_of(&self, first: &[u32]) -> (UInt32Array, Vec<u32>) {
        let (mut own, mut found) = (Vec::with_capacity(first.len()), Vec::with_capacity(first.len()));
        for (row, first) in first.iter().enumerate() {
            let mut at = *first;
            loop {
                own.push(row as u32);
                found.push(at);
                at = if at == NONE { NONE } else { self.next[at as usize] };
                if at == NONE {
                    break;
                }
            }
        }
        (own.into(), found)
    }
}

/// Where the key's first row stands, or the free place for it.
fn slot_of(words: &[i64], slots: &[u32], word: i64) -> usize {
    let mut slot = spread(word, slots.len());
    while slots[slot] != NONE && words[slots[slot] as usize] != word {
        slot = (slot + 1) & (slots.len() - 1);
    }
    slot
}

impl Index {
    fn bytes(&self) -> usize {
        match self {
            Self::Dense { first, .. } => 4 * first.len(),
            Self::Words { words, slots } => 8 * words.len() + 4 * slots.len(),
            Self::Bytes { keys, table, .. } => keys.size() + 5 * table.capacity(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Field;
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_plan::joins::PartitionMode;
    use proptest::prelude::*;

    fn table(names: [&str; 3], rows: &[(Option<i64>, Option<u8>)]) -> Arc<dyn ExecutionPlan> {
        let columns: [ArrayRef; 3] = [
            Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|r| r.1.map(|w| ["", "a", "ä", "abcdefghijk"][w as usize % 4])).collect::<StringArray>()),
            Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)),
        ];
        let fields: Vec<Field> = names.iter().zip(&columns).map(|(n, c)| Field::new(*n, c.data_type().clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.to_vec()).unwrap();
        // In two pieces, one of which may be empty.
        let cut = rows.len() / 3;
        let pieces = vec![batch.slice(0, cut), batch.slice(cut, rows.len() - cut)];
        MemorySourceConfig::try_new_exec(&[pieces], schema, None).unwrap()
    }

    fn sorted(plan: Arc<dyn ExecutionPlan>) -> Vec<String> {
        let context = Arc::new(TaskContext::default());
        let stream = plan.execute(0, context).unwrap();
        let batches = futures::executor::block_on(common::collect(stream)).unwrap();
        let text = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
        // Without the frame, which only a table with rows has.
        let mut lines: Vec<String> = text.lines().filter(|l| l.starts_with('|')).skip(1).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn check(
        left: &[(Option<i64>, Option<u8>)],
        right: &[(Option<i64>, Option<u8>)],
        by: &[usize],
        projection: Option<Vec<usize>>,
    ) {
        let (left, right) = (table(["a", "b", "c"], left), table(["x", "y", "z"], right));
        let on = by
            .iter()
            .map(|i| {
                let column = |plan: &Arc<dyn ExecutionPlan>| {
                    Arc::new(Column::new(plan.schema().field(*i).name(), *i)) as Arc<dyn PhysicalExpr>
                };
                (column(&left), column(&right))
            })
            .collect();
        let (mode, nulls) = (PartitionMode::CollectLeft, NullEquality::NullEqualsNothing);
        let join = HashJoinExec::try_new(left, right, on, None, &JoinType::Left, projection, mode, nulls, false).unwrap();
        let lookup = LookupExec::of_join(&join).unwrap();
        assert_eq!(sorted(Arc::new(lookup)), sorted(Arc::new(join)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(192))]
        #[test]
        fn a_look_up_gives_what_a_hash_join_gives(
            left in prop::collection::vec((prop::option::of(-4_i64..12), any::<Option<u8>>()), 0..40),
            right in prop::collection::vec((prop::option::of(-4_i64..12), any::<Option<u8>>()), 0..20),
            by in prop::sample::select(vec![vec![0], vec![1], vec![0, 1]]),
            far in any::<bool>(),
        ) {
            let far = |rows: Vec<(Option<i64>, Option<u8>)>| -> Vec<_> {
                rows.into_iter().map(|(k, w)| (k.map(|k| if far { k.wrapping_mul(i64::MAX / 5) } else { k }), w)).collect()
            };
            let (left, right) = (far(left), far(right));
            check(&left, &right, &by, None);
            check(&left, &right, &by, Some(vec![2, 5]));
        }
    }

    #[test]
    fn rows_that_look_are_handed_on_without_a_copy() {
        let (left, right) = (table(["a", "b", "c"], &[(Some(1), None); 9]), table(["x", "y", "z"], &[(Some(1), Some(1))]));
        let column = |name: &str| Arc::new(Column::new(name, 0)) as Arc<dyn PhysicalExpr>;
        let on = vec![(column("a"), column("x"))];
        let lookup = LookupExec::try_new(Arc::clone(&left), right, on, (0..6).collect()).unwrap();
        let context = Arc::new(TaskContext::default());
        let given = |plan: &dyn ExecutionPlan| {
            futures::executor::block_on(common::collect(plan.execute(0, Arc::clone(&context)).unwrap())).unwrap()
        };
        let (before, after) = (given(left.as_ref()), given(&lookup));
        assert_eq!(after.iter().map(RecordBatch::num_rows).sum::<usize>(), 9);
        for (before, after) in before.iter().zip(&after) {
            assert!(before.column(1).to_data().ptr_eq(&after.column(1).to_data()));
        }
    }
}
