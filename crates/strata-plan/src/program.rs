//! Puts everything that is grouped by one entity into one pass over its sources: which tables stay inside a bucket of keys, which columns
//! each source must bring, and in which order tables are made. Never lets a plan cross buckets.

use crate::expr::Planner;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, Result};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder, TableScan};
use datafusion::optimizer::{Analyzer, Optimizer, OptimizerContext};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use strata_operators::bucket::BucketTable;

/// Columns read of each bucket table.
pub(crate) type Needs = BTreeMap<String, BTreeSet<String>>;

/// How a relation reaches a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By this key column.
    Keyed(String),
    /// Whole, to every bucket.
    Shared,
}

/// The plan with types settled and columns pruned, as a session would do it.
pub(crate) fn optimised(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let plan = Analyzer::new().execute_and_check(plan.clone(), &ConfigOptions::default(), |_, _| {})?;
    Optimizer::new().optimize(plan, &OptimizerContext::new().without_query_execution_start_time(), |_, _| {})
}

/// Plans over bucket tables that were optimised before: the identity of a step and the step itself ask for the same ones.
#[derive(Default)]
pub(crate) struct Optimised(Mutex<HashMap<LogicalPlan, LogicalPlan>>);

impl Optimised {
    /// As [`optimised`]. Of a plan that reads anything but bucket tables nothing is kept: which files a scan reads is no part of its equality.
    pub(crate) fn of(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        let is_other = |node: &LogicalPlan| matches!(node, LogicalPlan::TableScan(scan) if bucket_table(scan).is_none());
        let mut others = false;
        plan.apply_with_subqueries(|node| {
            others |= is_other(node) || matches!(node, LogicalPlan::Extension(_));
            Ok(if others { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if others {
            return optimised(plan);
        }
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(plan) {
            return Ok(found.clone());
        }
        let made = optimised(plan)?;
        known().insert(plan.clone(), made.clone());
        Ok(made)
    }
}

/// Columns of each bucket table that an optimised plan reads.
pub(crate) fn needs(plan: &LogicalPlan) -> Result<Needs> {
    let mut out = Needs::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(name) = bucket_table(scan)
        {
            let entry = out.entry(name).or_default();
            entry.extend(scan.projected_schema.fields().iter().map(|f| f.name().clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(out)
}

/// Name of the bucket table that a scan stands for.
pub(crate) fn bucket_table(scan: &TableScan) -> Option<String> {
    let provider = source_as_provider(&scan.source).ok()?;
    provider.downcast_ref::<BucketTable>().map(|b| b.name.clone())
}

/// What an optimised plan's rows depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Local {
    /// On rows of one key only; the key stands in these output columns.
    Key(BTreeSet<usize>),
    /// On shared tables only.
    Shared,
    /// On rows of several keys.
    No,
}

/// Whether each row of an optimised plan depends on rows of one key.
pub(crate) fn locality(plan: &LogicalPlan, reach: &HashMap<String, Reach>) -> Local {
    let child = |i: usize| plan.inputs().get(i).map_or(Local::No, |p| locality(p, reach));
    match plan {
        LogicalPlan::TableScan(scan) => match bucket_table(scan).and_then(|n| reach.get(&n).cloned()) {
            Some(Reach::Shared) => Local::Shared,
            Some(Reach::Keyed(key)) => match scan.projected_schema.index_of_column_by_name(None, &key) {
                Some(i) => Local::Key([i].into()),
                None => Local::No,
            },
            None => Local::No,
        },
        LogicalPlan::Filter(f) if !has_subquery(&f.predicate) => child(0),
        LogicalPlan::Sort(s) if s.fetch.is_none() => child(0),
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Distinct(Distinct::All(_)) => child(0),
        LogicalPlan::Projection(p) => carry(&child(0), p.input.as_ref(), &p.expr),
        LogicalPlan::Aggregate(a) => match (child(0), carry(&child(0), &a.input, &a.group_expr)) {
            (Local::Key(_), Local::Key(k)) if !k.is_empty() && !grouping_set(&a.group_expr) => Local::Key(k),
            (Local::Shared, _) => Local::Shared,
            _ => Local::No,
        },
        LogicalPlan::Window(w) => match child(0) {
            Local::Key(keys) if w.window_expr.iter().all(|e| partitioned(e, &w.input, &keys)) => Local::Key(keys),
            Local::Shared => Local::Shared,
            _ => Local::No,
        },
        LogicalPlan::Join(join) => joined(join, child(0), child(1)),
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => Local::Shared,
        LogicalPlan::Union(u) => {
            let all: Vec<Local> = u.inputs.iter().map(|p| locality(p, reach)).collect();
            let keys = all.iter().map(|l| if let Local::Key(k) = l { Some(k.clone()) } else { None });
            match keys.reduce(|a, b| Some(a?.intersection(&b?).copied().collect())).flatten() {
                Some(k) if !k.is_empty() => Local::Key(k),
                _ => Local::No,
            }
        }
        _ => Local::No,
    }
}

fn grouping_set(exprs: &[Expr]) -> bool {
    exprs.iter().any(|e| matches!(e, Expr::GroupingSet(_)))
}

fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|e| Ok(matches!(e, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_)))).unwrap_or(true)
}

/// Which of `exprs` hand on a key column of `input`.
fn carry(local: &Local, input: &LogicalPlan, exprs: &[Expr]) -> Local {
    let Local::Key(keys) = local else { return local.clone() };
    let is_key = |e: &Expr| column_of(e).and_then(|c| input.schema().index_of_column(c).ok()).is_some_and(|i| keys.contains(&i));
    let out: BTreeSet<usize> = exprs.iter().enumerate().filter(|(_, e)| is_key(e)).map(|(i, _)| i).collect();
    match exprs.iter().any(has_subquery) {
        true => Local::No,
        false => Local::Key(out),
    }
}

fn column_of(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(c) => Some(c),
        Expr::Alias(a) => column_of(&a.expr),
        _ => None,
    }
}

fn partitioned(expr: &Expr, input: &LogicalPlan, keys: &BTreeSet<usize>) -> bool {
    match expr {
        Expr::Alias(a) => partitioned(&a.expr, input, keys),
        Expr::WindowFunction(w) => w
            .params
            .partition_by
            .iter()
            .any(|e| column_of(e).and_then(|c| input.schema().index_of_column(c).ok()).is_some_and(|i| keys.contains(&i))),
        _ => false,
    }
}

fn joined(join: &datafusion::logical_expr::Join, left: Local, right: Local) -> Local {
    let width = join.left.schema().fields().len();
    let left_only = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark);
    let right_only = matches!(join.join_type, JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark);
    let shift = |keys: &BTreeSet<usize>| -> BTreeSet<usize> { keys.iter().map(|k| k + width).collect() };
    match (left, right) {
        (Local::Key(l), Local::Key(r)) => {
            let index = |plan: &LogicalPlan, e: &Expr| column_of(e).and_then(|c| plan.schema().index_of_column(c).ok());
            let same_key = join.on.iter().any(|(a, b)| {
                index(&join.left, a).is_some_and(|i| l.contains(&i)) && index(&join.right, b).is_some_and(|i| r.contains(&i))
            });
            match same_key {
                false => Local::No,
                true if left_only => Local::Key(l),
                true if right_only => Local::Key(r),
                true => match join.join_type {
                    JoinType::Inner => Local::Key(l.union(&shift(&r)).copied().collect()),
                    JoinType::Left => Local::Key(l),
                    JoinType::Right => Local::Key(shift(&r)),
                    _ => Local::No,
                },
            }
        }
        (Local::Key(l), Local::Shared) if left_only || matches!(join.join_type, JoinType::Inner | JoinType::Left) => {
            Local::Key(l)
        }
        (Local::Shared, Local::Key(r)) if right_only => Local::Key(r),
        (Local::Shared, Local::Key(r)) if matches!(join.join_type, JoinType::Inner | JoinType::Right) => Local::Key(shift(&r)),
        (Local::Shared, Local::Shared) => Local::Shared,
        _ => Local::No,
    }
}

/// Whether the SQL itself makes `key` unique: it groups by, or keeps the distinct values of, columns that are all in the key.
pub(crate) fn is_unique(plan: &LogicalPlan, key: &BTreeSet<&str>) -> bool {
    match plan {
        LogicalPlan::Aggregate(a) => {
            let group = a.group_expr.len();
            !grouping_set(&a.group_expr) && (0..group).all(|i| key.contains(a.schema.field(i).name().as_str()))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => input.schema().fields().iter().all(|f| key.contains(f.name().as_str())),
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Window(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().first().is_some_and(|p| is_unique(p, key))
        }
        LogicalPlan::Projection(p) => {
            // By the names the columns have below.
            let below: BTreeSet<&str> = p
                .expr
                .iter()
                .zip(p.schema.fields())
                .filter(|(_, f)| key.contains(f.name().as_str()))
                .filter_map(|(e, _)| column_of(e).map(|c| c.name.as_str()))
                .collect();
            is_unique(&p.input, &below)
        }
        _ => false,
    }
}

/// `plan` with only the columns `wanted`, in the plan's order.
pub(crate) fn narrowed(plan: &LogicalPlan, wanted: &BTreeSet<String>) -> Result<LogicalPlan> {
    let keep: Vec<Expr> = plan.schema().iter().filter(|(_, f)| wanted.contains(f.name())).map(Expr::from).collect();
    LogicalPlanBuilder::from(plan.clone()).project(keep)?.build()
}

/// `plan` with every scan of a bucket table replaced by what `make` gives for the table and the columns read.
pub(crate) fn inlined(
    plan: LogicalPlan,
    make: &dyn Fn(&str, &BTreeSet<String>) -> Result<Option<LogicalPlan>>,
) -> Result<LogicalPlan> {
    use datafusion::common::tree_node::Transformed;
    let done = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
        let Some(name) = bucket_table(scan) else { return Ok(Transformed::no(node)) };
        let columns = scan.projected_schema.fields().iter().map(|f| f.name().clone()).collect();
        match make(&name, &columns)? {
            None => Ok(Transformed::no(node)),
            Some(rows) => {
                let order: Vec<Expr> = scan
                    .projected_schema
                    .fields()
                    .iter()
                    .map(|f| Ok(Expr::from(rows.schema().qualified_field_from_column(&Column::from_name(f.name()))?)))
                    .collect::<Result<_>>()?;
                let named = LogicalPlanBuilder::from(rows).project(order)?.alias(scan.table_name.clone())?.build()?;
                Ok(Transformed::yes(named))
            }
        }
    })?;
    done.data.recompute_schema()
}

/// Tables in an order in which each comes after those it reads; a loop is named.
pub(crate) fn ordered(planner: &Planner, nodes: &[(String, BTreeSet<String>, strata_spec::Span)], what: &str) -> Vec<usize> {
    let mut done: Vec<usize> = vec![];
    let mut left: Vec<usize> = (0..nodes.len()).collect();
    while !left.is_empty() {
        let ready: Vec<usize> =
            left.iter().copied().filter(|i| !nodes[*i].1.iter().any(|d| left.iter().any(|j| &nodes[*j].0 == d))).collect();
        if ready.is_empty() {
            let names: Vec<&str> = loop_of(nodes, &left).iter().map(|i| nodes[*i].0.as_str()).collect();
            if names.iter().any(|n| planner.is_lost(n)) {
                break;
            }
            let at = left[0];
            planner.report(
                strata_spec::Diagnostic::error(
                    crate::codes::CYCLE,
                    nodes[at].2,
                    format!("these {what} depend on one another in a circle: {}", names.join(" → ")),
                )
                .help("compute one of them from columns of a source"),
            );
            break;
        }
        left.retain(|i| !ready.contains(i));
        done.extend(ready);
    }
    done
}

fn loop_of(nodes: &[(String, BTreeSet<String>, strata_spec::Span)], left: &[usize]) -> Vec<usize> {
    let mut path = vec![left[0]];
    loop {
        let last = path[path.len() - 1];
        let next = left.iter().copied().find(|j| nodes[last].1.contains(&nodes[*j].0));
        match next {
            None => return path,
            Some(n) => {
                if let Some(at) = path.iter().position(|p| *p == n) {
                    path.drain(..at);
                    path.push(n);
                    return path;
                }
                path.push(n);
            }
        }
    }
}
