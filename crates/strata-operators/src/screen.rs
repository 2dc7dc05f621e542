//! Row rules that count what they find: a row that fails one is dropped, put aside, emptied in some columns or only counted, as the rule
//! says; a row that is dropped is counted once, under the first rule that drops it. Never drops a row uncounted.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch, not, nullif, prep_null_mask_filter};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, Result, exec_err, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream};
use futures::StreamExt;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

pub(crate) mod marks;

/// Metric of the rows that reached a screen; those of its rules are `strata.<label>`.
pub const ROWS_SEEN: &str = "strata.seen";

/// Column with the name of the rule that put a row aside.
pub const RULE: &str = "_rule";
/// Column that says what the rule is.
pub const REASON: &str = "_reason";

/// What a row gets that fails a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub enum Action {
    /// It is left out.
    Drop,
    /// It is left out, and stands in the source's quarantine table.
    Quarantine,
    /// It goes on with null in these columns.
    SetNull(Vec<String>),
    /// It goes on.
    Warn,
    /// It goes on, and whoever runs the plan publishes nothing.
    Stop,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct ScreenRule<E> {
    /// Failures are counted under this label. Rules that drop may share one; it is the rule's name where there is a reason.
    pub label: String,
    /// Condition that must be true: null is not.
    pub holds: E,
    /// What a row gets for which it is not.
    pub action: Action,
    /// What a failure means, without a value of any row.
    pub reason: String,
}

/// Which rows come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd)]
pub enum Emit {
    /// Those that are used.
    Kept,
    /// Those that were put aside.
    Quarantined,
}

/// Logical screen: rules in order. With [`Emit::Quarantined`] the rows that rules put aside, with [`RULE`] and [`REASON`] behind their columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ScreenNode {
    /// Input.
    pub input: LogicalPlan,
    /// Source whose rows are counted.
    pub source: String,
    /// Rules.
    pub rules: Vec<ScreenRule<Expr>>,
    emit: Emit,
    schema: DFSchemaRef,
}

/// Physical screen.
#[derive(Debug)]
pub struct ScreenExec {
    input: Arc<dyn ExecutionPlan>,
    source: String,
    rules: Vec<ScreenRule<Arc<dyn PhysicalExpr>>>,
    emit: Emit,
    /// Whether all rows come out, those that are used marked in a last column.
    marks: bool,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl<E> ScreenRule<E> {
    /// A rule that leaves rows out.
    pub fn drops(label: &str, holds: E) -> Self {
        Self { label: label.to_owned(), holds, action: Action::Drop, reason: String::new() }
    }

    /// The same rule on another form of its condition.
    pub fn with<F>(&self, holds: F) -> ScreenRule<F> {
        ScreenRule { label: self.label.clone(), holds, action: self.action.clone(), reason: self.reason.clone() }
    }
}

impl ScreenNode {
    /// A screen that lets the rows through that are used.
    pub fn new(input: LogicalPlan, source: String, rules: Vec<ScreenRule<Expr>>) -> Self {
        let schema = Arc::clone(input.schema());
        Self { input, source, rules, emit: Emit::Kept, schema }
    }

    /// A screen that lets the rows through that rules put aside. Errors: `Plan` where the input has a column named as one of ours.
    pub fn quarantined(input: LogicalPlan, source: String, rules: Vec<ScreenRule<Expr>>) -> Result<Self> {
        let added = DFSchema::try_from(Schema::new(added()))?;
        let schema = Arc::new(input.schema().join(&added)?);
        Ok(Self { input, source, rules, emit: Emit::Quarantined, schema })
    }

    /// A screen that lets those rows through.
    pub(crate) fn of(emit: Emit, input: LogicalPlan, source: String, rules: Vec<ScreenRule<Expr>>) -> Result<Self> {
        match emit {
            Emit::Kept => Ok(Self::new(input, source, rules)),
            Emit::Quarantined => Self::quarantined(input, source, rules),
        }
    }

    /// Which rows come out.
    pub fn emit(&self) -> Emit {
        self.emit
    }
}

fn added() -> Vec<Field> {
    vec![Field::new(RULE, DataType::Utf8, false), Field::new(REASON, DataType::Utf8, false)]
}

impl PartialOrd for ScreenNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let rest = |n: &Self| (n.source.clone(), n.rules.clone(), n.emit);
        match self.input.partial_cmp(&other.input) {
            Some(Ordering::Equal) => rest(self).partial_cmp(&rest(other)),
            unequal => unequal,
        }
    }
}

impl UserDefinedLogicalNodeCore for ScreenNode {
    fn name(&self) -> &str {
        "Screen"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.rules.iter().map(|r| r.holds.clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Screen: {}", self.source)?;
        shown(f, self.emit, &self.rules)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Some(input), true) = (inputs.pop(), exprs.len() == self.rules.len()) else {
            return internal_err!("a screen has one input and one expression a rule");
        };
        let rules = self.rules.iter().zip(exprs).map(|(r, e)| r.with(e)).collect();
        Self::of(self.emit, input, self.source.clone(), rules)
    }
}

fn shown<E: fmt::Display>(f: &mut fmt::Formatter, emit: Emit, rules: &[ScreenRule<E>]) -> fmt::Result {
    if emit == Emit::Quarantined {
        write!(f, " put aside:")?;
    }
    rules.iter().try_for_each(|r| match &r.action {
        Action::Drop => write!(f, " {}=[{}]", r.label, r.holds),
        action => write!(f, " {}=[{}] {action:?}", r.label, r.holds),
    })
}

impl ScreenExec {
    /// A screen of `input` by `rules` for the rows of `source`.
    pub fn new(input: Arc<dyn ExecutionPlan>, source: String, rules: Vec<ScreenRule<Arc<dyn PhysicalExpr>>>, emit: Emit) -> Self {
        let changes = rules.iter().any(|r| matches!(r.action, Action::SetNull(_)));
        let (schema, eq) = match emit {
            // What was known of a column is not known of it any more once values are null.
            Emit::Kept if changes => (input.schema(), EquivalenceProperties::new(input.schema())),
            Emit::Kept => (input.schema(), input.properties().eq_properties.clone()),
            Emit::Quarantined => {
                let fields = input.schema().fields().iter().cloned().chain(added().into_iter().map(Arc::new)).collect::<Vec<_>>();
                let schema = Arc::new(Schema::new(fields));
                (Arc::clone(&schema), EquivalenceProperties::new(schema))
            }
        };
        let partitioning = match changes {
            true => Partitioning::UnknownPartitioning(input.properties().partitioning.partition_count()),
            false => input.properties().partitioning.clone(),
        };
        let properties = PlanProperties::new(eq, partitioning, input.properties().emission_type, input.properties().boundedness);
        let metrics = ExecutionPlanMetricsSet::new();
        Self { input, source, rules, emit, marks: false, schema, properties: Arc::new(properties), metrics }
    }

    /// The same screen with all rows, those that are used marked in a last column; `None` where a rule does more than leave rows out, or may
    /// fail at a row that a rule before it leaves out.
    pub(crate) fn marking(&self) -> Option<Self> {
        let simple = |rule: &ScreenRule<Arc<dyn PhysicalExpr>>| rule.action == Action::Drop && marks::never_fails(&rule.holds);
        if self.emit != Emit::Kept || self.rules.is_empty() || !self.rules.iter().all(simple) {
            return None;
        }
        let mut new = Self::new(Arc::clone(&self.input), self.source.clone(), self.rules.clone(), self.emit);
        new.schema = marks::with_mark(&self.schema);
        let partitions = self.properties.partitioning.partition_count();
        let all = EquivalenceProperties::new(Arc::clone(&new.schema));
        let (emission, boundedness) = (self.properties.emission_type, self.properties.boundedness);
        new.properties = Arc::new(PlanProperties::new(all, Partitioning::UnknownPartitioning(partitions), emission, boundedness));
        new.marks = true;
        Some(new)
    }

    /// Source whose rows are counted.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Rules in order.
    pub fn rules(&self) -> &[ScreenRule<Arc<dyn PhysicalExpr>>] {
        &self.rules
    }

    /// Which rows come out.
    pub fn emit(&self) -> Emit {
        self.emit
    }
}

impl DisplayAs for ScreenExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ScreenExec: {}{}", self.source, if self.marks { " (marks)" } else { "" })?;
        shown(f, self.emit, &self.rules)
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
        // Rows that are put aside come out rule by rule, and values that are emptied change their place in any order.
        let changes = self.rules.iter().any(|r| matches!(r.action, Action::SetNull(_)));
        vec![self.emit == Emit::Kept && !changes]
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
            Some(input) => {
                let new = Self::new(input, self.source.clone(), self.rules.clone(), self.emit);
                match self.marks {
                    false => Ok(Arc::new(new)),
                    true => match new.marking() {
                        Some(new) => Ok(Arc::new(new)),
                        None => internal_err!("a screen that marks rows can do so no longer"),
                    },
                }
            }
            None => internal_err!("a screen has one input"),
        }
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut next = TreeNodeRecursion::Continue;
        for rule in &self.rules {
            next = next.visit_sibling(|| f(&rule.holds))?;
        }
        Ok(next)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let seen = MetricBuilder::new(&self.metrics).counter(ROWS_SEEN, partition);
        let rules = self
            .rules
            .iter()
            .map(|rule| {
                let count = MetricBuilder::new(&self.metrics).counter(format!("strata.{}", rule.label), partition);
                let empties = match &rule.action {
                    Action::SetNull(columns) => {
                        columns.iter().map(|c| Ok(self.input.schema().index_of(c)?)).collect::<Result<_>>()?
                    }
                    _ => vec![],
                };
                Ok(Counted { rule: rule.clone(), empties, failed: count })
            })
            .collect::<Result<Vec<_>>>()?;
        let (emit, marks, schema) = (self.emit, self.marks, Arc::clone(&self.schema));
        let stream = input.then(move |batch| {
            let screened = batch.and_then(|batch| {
                seen.add(batch.num_rows());
                match emit {
                    Emit::Kept if marks => marks::marked(&batch, &rules, &schema),
                    Emit::Kept => screen(batch, &rules, &mut |_, _| Ok(())),
                    Emit::Quarantined => put_aside(batch, &rules, &schema),
                }
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

/// A rule of a partition.
struct Counted {
    rule: ScreenRule<Arc<dyn PhysicalExpr>>,
    /// Columns of `SetNull`.
    empties: Vec<usize>,
    failed: Count,
}

type PutAside<'a> = dyn FnMut(&ScreenRule<Arc<dyn PhysicalExpr>>, RecordBatch) -> Result<()> + 'a;

/// The rows that are used; those of quarantine rules are handed to `aside`.
fn screen(mut batch: RecordBatch, rules: &[Counted], aside: &mut PutAside) -> Result<RecordBatch> {
    for Counted { rule, empties, failed } in rules {
        let mask = &held(rule, &batch)?;
        // Null is not true: such a row fails the rule.
        let kept = mask.true_count();
        failed.add(mask.len() - kept);
        if kept == mask.len() {
            continue;
        }
        match &rule.action {
            Action::Drop => batch = filter_record_batch(&batch, mask)?,
            Action::Quarantine => {
                aside(rule, filter_record_batch(&batch, &fails(mask)?)?)?;
                batch = filter_record_batch(&batch, mask)?;
            }
            Action::SetNull(_) => batch = emptied(&batch, empties, &fails(mask)?)?,
            Action::Warn | Action::Stop => {}
        }
    }
    Ok(batch)
}

/// Where a rule holds.
fn held(rule: &ScreenRule<Arc<dyn PhysicalExpr>>, batch: &RecordBatch) -> Result<BooleanArray> {
    let value = rule.holds.evaluate(batch)?.into_array(batch.num_rows())?;
    match value.as_boolean_opt() {
        Some(mask) => Ok(mask.clone()),
        None => exec_err!("a condition must be true or false, and `{}` is {}", rule.holds, value.data_type()),
    }
}

/// Where a mask is not true.
fn fails(mask: &BooleanArray) -> Result<BooleanArray> {
    match mask.null_count() {
        0 => Ok(not(mask)?),
        _ => Ok(not(&prep_null_mask_filter(mask))?),
    }
}

fn emptied(batch: &RecordBatch, columns: &[usize], at: &BooleanArray) -> Result<RecordBatch> {
    let mut all = batch.columns().to_vec();
    for i in columns {
        all[*i] = nullif(&all[*i], at)?;
    }
    Ok(RecordBatch::try_new(batch.schema(), all)?)
}

/// The rows that rules put aside, each under the first of them, with the rule's name and reason.
fn put_aside(batch: RecordBatch, rules: &[Counted], schema: &SchemaRef) -> Result<RecordBatch> {
    let mut found = vec![];
    screen(batch, rules, &mut |rule, rows| {
        let constant =
            |text: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows.num_rows()))) as ArrayRef;
        let columns = rows.columns().iter().cloned().chain([constant(&rule.label), constant(&rule.reason)]).collect();
        found.push(RecordBatch::try_new(Arc::clone(schema), columns)?);
        Ok(())
    })?;
    Ok(concat_batches(schema, &found)?)
}
