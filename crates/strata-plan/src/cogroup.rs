//! A plan over bucket tables as one cogroup: which inputs it needs, how they are spread, and which tables cannot be made bucket by bucket.
//! Never reads a source twice.

use crate::attributes::{RAW, Relations};
use crate::catalog::Catalog;
use crate::expr::Planner;
use crate::program::{self, Local, Needs, Reach};
use crate::sources::{self, Meeting, extension};
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use strata_operators::cogroup::{CogroupInput, CogroupNode, Stage};
use strata_operators::dedup::DedupNode;
use strata_spec::Pipeline;
use strata_spec::pipeline::Entity;

/// Turns a plan over bucket tables into one cogroup of its inputs.
pub(crate) fn cogroup(
    planner: &Planner,
    pipeline: &Pipeline,
    relations: &Relations,
    catalog: &Catalog,
    entity: &Entity,
    result: &LogicalPlan,
) -> Result<LogicalPlan> {
    let key = entity.key.value.as_str();
    // Optimised here: subqueries become joins, which cross the wire.
    let result = planner.optimised.of(result)?;
    let mut wanted: Needs = program::needs(&result)?;
    let mut stages: Vec<Stage<LogicalPlan>> = vec![];
    // Backwards: what later plans read decides what earlier ones keep.
    for (name, plan) in relations.plans.iter().rev() {
        let Some(columns) = wanted.get(name).cloned() else { continue };
        if catalog.work.contains_key(&format!("table:{name}")) || is_plain(pipeline, name) {
            continue;
        }
        let mut columns = columns;
        let unique = key_to_check(pipeline, entity, name, Some(plan), &columns);
        columns.extend(unique.iter().cloned());
        if plan.schema().iter().any(|(_, f)| f.name() == key) && !columns.contains(key) {
            columns.insert(key.to_owned());
        }
        let own = match relations.rules.contains_key(name) {
            true => narrowed_source(plan, name, &columns)?,
            false => program::narrowed(plan, &columns)?,
        };
        let own = planner.optimised.of(&own)?;
        for (table, read) in program::needs(&own)? {
            wanted.entry(table).or_default().extend(read);
        }
        stages.push(Stage { name: name.clone(), plan: own, unique });
    }
    stages.reverse();
    let made: BTreeSet<String> = stages.iter().map(|s| s.name.clone()).collect();
    let mut inputs = vec![];
    let mut named = vec![];
    let mut reach = HashMap::new();
    let given = || wanted.iter().filter(|(n, _)| !made.contains(*n));
    let sizes = given().map(|(name, _)| size(pipeline, catalog, name, key)).collect::<Result<Vec<_>>>()?;
    let buckets = sources::buckets(sizes.iter().filter(|(keyed, _)| *keyed).map(|(_, rows)| rows).sum());
    for ((name, columns), (keyed, _)) in given().zip(sizes) {
        let by = keyed.then(|| key.to_owned());
        let plan = input(planner, pipeline, relations, catalog, name, columns, by.as_deref(), buckets)?;
        reach.insert(name.clone(), by.clone().map_or(Reach::Shared, Reach::Keyed));
        named.push(CogroupInput { name: name.clone(), key: by, unique: key_to_check(pipeline, entity, name, None, columns) });
        inputs.push(plan);
    }
    for stage in &stages {
        let local = program::locality(&stage.plan, &reach);
        reach.insert(stage.name.clone(), if local == Local::Shared { Reach::Shared } else { Reach::Keyed(key.to_owned()) });
    }
    Ok(extension(CogroupNode { inputs, named, stages, result, buckets }))
}

/// The declared key of a table whose SQL does not make it unique by itself: it is checked on the rows.
pub(crate) fn unproven_key(pipeline: &Pipeline, name: &str, plan: &LogicalPlan) -> Vec<String> {
    let Some(table) = pipeline.table(name) else { return vec![] };
    let key: Vec<String> = table.key.iter().map(|k| k.value.clone()).collect();
    let keys: BTreeSet<&str> = key.iter().map(String::as_str).collect();
    if program::is_unique(plan, &keys) { vec![] } else { key }
}

/// The declared key of a source that others refer to: a row of theirs finds one row of it, or plans would give it twice.
pub(crate) fn referenced_key(pipeline: &Pipeline, name: &str) -> Option<Vec<String>> {
    let source = pipeline.source(name).filter(|s| !s.key.is_empty())?;
    let mut references = pipeline.sources.iter().flat_map(|s| &s.references);
    references.any(|r| r.source.value == name).then(|| source.key.iter().map(|k| k.value.clone()).collect())
}

/// Columns in which no two rows of a relation may agree, where nothing but a check of its rows says so: the entity key of a roster, the declared
/// key of a table, and that of a source which others refer to and of which plans read it. `plan`: how a table is made here.
fn key_to_check(
    pipeline: &Pipeline,
    entity: &Entity,
    name: &str,
    plan: Option<&LogicalPlan>,
    columns: &BTreeSet<String>,
) -> Vec<String> {
    let source = pipeline.source(name.strip_prefix(RAW).unwrap_or(name));
    let filtered = |key: &[String]| source.is_some_and(|s| s.duplicates.is_some() && s.key.iter().map(|k| &k.value).eq(key));
    // A source that is the roster is read with its references, from its raw rows.
    let from = &entity.from.value;
    if (source.is_some() && name == format!("{RAW}{from}")) || (source.is_none() && name == from) {
        let key = vec![entity.key.value.clone()];
        let made = plan.is_some_and(|p| program::is_unique(p, &BTreeSet::from([key[0].as_str()])));
        return if made || filtered(&key) { vec![] } else { key };
    }
    match (source, plan) {
        (None, Some(plan)) => unproven_key(pipeline, name, plan),
        _ => referenced_key(pipeline, name).filter(|k| !filtered(k) && k.iter().all(|k| columns.contains(k))).unwrap_or_default(),
    }
}

/// A source whose derived form is its raw form needs no stage of its own.
fn is_plain(pipeline: &Pipeline, name: &str) -> bool {
    pipeline.source(name).is_some_and(|s| s.references.is_empty() && s.derive.is_empty())
}

fn narrowed_source(plan: &LogicalPlan, name: &str, wanted: &BTreeSet<String>) -> Result<LogicalPlan> {
    let own = plan.schema().iter().filter(|(q, f)| q.is_some_and(|q| q.table() == name) && wanted.contains(f.name()));
    LogicalPlanBuilder::from(plan.clone()).project(own.map(Expr::from).collect::<Vec<_>>())?.build()
}

/// Whether an input has the entity key, and how many rows it has.
fn size(pipeline: &Pipeline, catalog: &Catalog, name: &str, key: &str) -> Result<(bool, u64)> {
    let source = name.strip_prefix(RAW).unwrap_or(name);
    let pinned = match pipeline.source(source) {
        Some(_) => catalog.sources.get(source),
        None => catalog.work.get(&format!("table:{name}")),
    };
    match pinned {
        Some(p) => Ok((p.schema.field_with_name(key).is_ok(), p.rows().unwrap_or(p.bytes() / 32))),
        None => datafusion::common::plan_err!("the table `{name}` is not made yet"),
    }
}

/// The rows of an input; those of an entity's source are spread over `buckets` where that is known to bring duplicates together.
#[expect(clippy::too_many_arguments, reason = "what a plan is made from, and the one input it is made for")]
fn input(
    planner: &Planner,
    pipeline: &Pipeline,
    relations: &Relations,
    catalog: &Catalog,
    name: &str,
    columns: &BTreeSet<String>,
    key: Option<&str>,
    buckets: usize,
) -> Result<LogicalPlan> {
    let source_name = name.strip_prefix(RAW).unwrap_or(name);
    if let Some(source) = pipeline.source(source_name)
        && let (Some(pinned), Some(rules)) = (catalog.sources.get(source_name), relations.rules.get(source_name))
    {
        // A key that holds the entity key says so itself; of others it has to be shown.
        let shown =
            |k: &str| source.key.iter().any(|c| c.value == k) || catalog.owned.contains(&(source_name.to_owned(), k.to_owned()));
        let meeting = Meeting { key, together: key.filter(|k| shown(k)).map(|_| buckets) };
        return sources::usable(&planner.clock, source, rules, pinned, columns, meeting);
    }
    match catalog.work.get(&format!("table:{name}")) {
        Some(pinned) => {
            let mut columns = columns.clone();
            columns.extend(key.map(str::to_owned));
            program::narrowed(&crate::scan_work(name, pinned)?, &columns)
        }
        None => datafusion::common::plan_err!("the table `{name}` is not made yet"),
    }
}

/// Sources whose duplicates a pass looks for by their own key, though they have the entity key: each with counts of the rows of a key that
/// belong to different entities, as [`sources::strayed`].
pub(crate) fn to_show(
    pipeline: &Pipeline,
    catalog: &Catalog,
    pass: &LogicalPlan,
    key: &str,
) -> Result<Vec<(String, Vec<LogicalPlan>)>> {
    let mut names = BTreeSet::new();
    pass.apply(|node| {
        if let LogicalPlan::Extension(e) = node
            && let Some(dedup) = e.node.as_any().downcast_ref::<DedupNode>()
            && dedup.spread_by == dedup.key
        {
            names.insert(dedup.source.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let mut out = vec![];
    for name in names {
        let (Some(source), Some(pinned)) = (pipeline.source(&name), catalog.sources.get(&name)) else { continue };
        if pinned.schema.field_with_name(key).is_ok() && !source.key.iter().any(|c| c.value == key) {
            out.push((name, sources::strayed(source, pinned, key)?));
        }
    }
    Ok(out)
}

/// Tables that cannot be made bucket by bucket, because their rows mix keys: each becomes a step of its own.
pub(crate) fn global_tables(
    planner: &Planner,
    pipeline: &Pipeline,
    relations: &Relations,
    catalog: &Catalog,
    key: &str,
) -> Result<BTreeMap<String, bool>> {
    let mut reach: HashMap<String, Reach> = HashMap::new();
    for (name, pinned) in &catalog.sources {
        let by = match pinned.schema.field_with_name(key) {
            Ok(_) => Reach::Keyed(key.to_owned()),
            Err(_) => Reach::Shared,
        };
        reach.insert(format!("{RAW}{name}"), by.clone());
        reach.insert(name.clone(), by);
    }
    let mut out = BTreeMap::new();
    for (name, plan) in relations.plans.iter().filter(|(n, _)| pipeline.table(n).is_some()) {
        let local = program::locality(&planner.optimised.of(plan)?, &reach);
        let (global, by) = match local {
            Local::Key(keys) if keys.iter().any(|i| plan.schema().field(*i).name() == key) => {
                (false, Reach::Keyed(key.to_owned()))
            }
            Local::Shared => (false, Reach::Shared),
            _ => {
                let has_key = plan.schema().iter().any(|(_, f)| f.name() == key);
                (true, if has_key { Reach::Keyed(key.to_owned()) } else { Reach::Shared })
            }
        };
        reach.insert(name.clone(), by);
        out.insert(name.clone(), global);
    }
    Ok(out)
}
