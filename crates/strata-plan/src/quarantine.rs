//! Rows that were put aside, and the files that hold bad rows: plans that read a source again, once it is known that there are any. Never
//! copies a personal column: the file and the number of a row say where it is.

use crate::Compiled;
use crate::contract::TableCheck;
use crate::sources::{self, extension, known_by_then, qualified_column, screens};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, ident, lit};
use std::collections::BTreeSet;
use std::sync::Arc;
use strata_operators::dedup::{DedupNode, DedupSpec, Keep};
use strata_operators::numbered::{NumberedNode, ROW};
use strata_operators::pinned::PinnedTable;
use strata_operators::screen::{Emit, REASON, RULE, ScreenNode, ScreenRule};
use strata_spec::pipeline::{Class, Source};

/// Column with the file of a row.
pub const FILE: &str = "_file";
/// What copies are put aside under that differ.
pub const DUPLICATES: &str = "duplicates";

/// How the run reads a source whose copies of a key must be the same.
struct Reading {
    rules: Vec<ScreenRule<Expr>>,
    key: Vec<String>,
    /// Columns in which copies are compared, and the key.
    compared: BTreeSet<String>,
}

impl Compiled<'_> {
    /// Questions about the whole of a source.
    pub fn table_checks(&self, source: &str) -> &[TableCheck] {
        self.relations.rules.get(source).map_or(&[], |r| r.contract.tables())
    }

    /// Whether rows of a source can be put aside.
    pub fn quarantines(&self, source: &str) -> bool {
        self.pipeline.source(source).is_some_and(Source::quarantines)
    }

    /// The rows of a source that are put aside: its columns that are not personal, then rule, reason, file and row, in the order of files and
    /// rows. `None` if none can be. INVARIANT: the same rows as the steps counted that read the source.
    pub fn quarantine_plan(&self, name: &str) -> Result<Option<LogicalPlan>> {
        let Some((source, pinned)) = self.contracted(name).filter(|_| self.quarantines(name)) else { return Ok(None) };
        let Some(rules) = self.relations.rules.get(name) else { return Ok(None) };
        let personal = |column: &str| source.classes.iter().any(|(n, class)| n.value == column && *class != Class::None);
        let fields = pinned.schema.fields().iter().map(|f| f.name().clone());
        let published: Vec<String> = fields.filter(|f| !personal(f)).collect();
        let mut wanted: BTreeSet<String> = published.iter().cloned().chain(rules.needed.iter().cloned()).collect();
        wanted.extend(source.learned_later.iter().map(|l| l.time.value.clone()));
        let clock = &self.planner.clock;
        let out = |rule: Expr, reason: Expr| {
            let column = |c: &String| Ok(known_by_then(clock, source, c, qualified_column(name, c))?.alias(c));
            let added = [rule.alias(RULE), reason.alias(REASON), qualified_column(name, FILE).alias(FILE), ident(ROW).alias(ROW)];
            let all = published.iter().map(column).chain(added.into_iter().map(Ok)).collect::<Result<Vec<_>>>()?;
            Ok::<_, datafusion::common::DataFusionError>(all)
        };
        let mut plans = vec![];
        if rules.contract.quarantines() {
            let rows = rules.contract.with_lookups(numbered(source, pinned, &wanted)?, name)?;
            let aside = ScreenNode::quarantined(rows, name.to_owned(), screens(clock, source, rules, None))?;
            plans.push(LogicalPlanBuilder::from(extension(aside)).project(out(ident(RULE), ident(REASON))?)?);
        }
        if let Some(reading) = self.reading(name)? {
            wanted.extend(reading.compared.iter().cloned());
            let rows = rules.contract.with_lookups(numbered(source, pinned, &wanted)?, name)?;
            let kept = extension(ScreenNode::new(rows, name.to_owned(), reading.rules));
            let columns = wanted.iter().map(|c| qualified_column(name, c)).chain([qualified_column(name, FILE), ident(ROW)]);
            let kept = LogicalPlanBuilder::from(kept).project(columns)?.build()?;
            let carried = wanted.iter().filter(|c| !reading.compared.contains(*c)).cloned();
            let spec = DedupSpec {
                source: name.to_owned(),
                spread_by: reading.key.clone(),
                key: reading.key,
                keep: Keep::Identical,
                buckets: sources::buckets(pinned.rows().unwrap_or(pinned.bytes() / 32)),
                emit: Emit::Quarantined,
                carried: carried.chain([FILE.to_owned(), ROW.to_owned()]).collect(),
            };
            let differ = extension(DedupNode::of(kept, spec));
            let reason = lit("rows of one key differ");
            plans.push(LogicalPlanBuilder::from(differ).project(out(lit(DUPLICATES), reason)?)?);
        }
        let mut plans = plans.into_iter();
        let Some(mut all) = plans.next() else { return Ok(None) };
        for other in plans {
            all = all.union(other.build()?)?;
        }
        all.sort([ident(FILE).sort(true, false), ident(ROW).sort(true, false)])?.build().map(Some)
    }

    /// The same columns without a row.
    pub fn empty_quarantine_plan(&self, name: &str) -> Result<Option<LogicalPlan>> {
        let plan = self.quarantine_plan(name)?;
        Ok(plan.map(|p| LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::clone(p.schema()) })))
    }

    /// The files with rows that fail a rule of a source, and how many each holds, in order; `None` if there is no such rule.
    pub fn failing_files(&self, name: &str, label: &str) -> Result<Option<LogicalPlan>> {
        let (Some((source, pinned)), Some(rules)) = (self.contracted(name), self.relations.rules.get(name)) else {
            return Ok(None);
        };
        let mut before = screens(&self.planner.clock, source, rules, None);
        let Some(at) = before.iter().position(|r| r.label == label) else { return Ok(None) };
        let failing = before[at].holds.clone().is_not_true();
        before.truncate(at);
        let rows = rules.contract.with_lookups(scan(source, &pinned.with_file_column(FILE), &rules.needed)?, name)?;
        let rows = extension(ScreenNode::new(rows, name.to_owned(), before));
        let by_file = LogicalPlanBuilder::from(rows).filter(failing)?;
        let by_file = by_file.aggregate([qualified_column(name, FILE).alias(FILE)], [count(lit(1i64)).alias("rows")])?;
        by_file.sort([ident(FILE).sort(true, false)])?.build().map(Some)
    }

    fn contracted(&self, name: &str) -> Option<(&strata_spec::pipeline::Source, &PinnedTable)> {
        self.pipeline.source(name).zip(self.catalog.sources.get(name))
    }

    /// How the first step that reads a source looks for its duplicates.
    fn reading(&self, name: &str) -> Result<Option<Reading>> {
        let tables = self.globals.iter().map(|t| self.table_plan(t));
        let attributes = self.pipeline.entities.iter().map(|e| self.attributes_plan(&e.name.value));
        for plan in tables.chain(attributes) {
            let mut found = None;
            plan?.apply_with_subqueries(|node| {
                if let LogicalPlan::Extension(e) = node
                    && let Some(dedup) = e.node.as_any().downcast_ref::<DedupNode>()
                    && dedup.source == name
                    && dedup.keep == Keep::Identical
                {
                    let compared = dedup.input.schema().fields().iter().map(|f| f.name().clone()).collect();
                    found = screen_below(&dedup.input).map(|rules| Reading { rules, key: dedup.key.clone(), compared });
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

fn screen_below(plan: &LogicalPlan) -> Option<Vec<ScreenRule<Expr>>> {
    if let LogicalPlan::Extension(e) = plan
        && let Some(screen) = e.node.as_any().downcast_ref::<ScreenNode>()
    {
        return Some(screen.rules.clone());
    }
    plan.inputs().into_iter().find_map(screen_below)
}

/// Columns of a source with the file and the number of each row.
fn numbered(source: &Source, pinned: &PinnedTable, wanted: &BTreeSet<String>) -> Result<LogicalPlan> {
    let rows = scan(source, &pinned.with_file_column(FILE), wanted)?;
    Ok(extension(NumberedNode::try_new(rows, FILE.to_owned())?))
}

fn scan(source: &Source, pinned: &PinnedTable, wanted: &BTreeSet<String>) -> Result<LogicalPlan> {
    let fields = pinned.schema.fields();
    let read = |i: &usize| wanted.contains(fields[*i].name()) || fields[*i].name() == FILE;
    let table = provider_as_source(Arc::new(pinned.clone()));
    let projection = (0..fields.len()).filter(read).collect();
    LogicalPlanBuilder::scan(TableReference::bare(source.name.value.as_str()), table, Some(projection))?.build()
}
