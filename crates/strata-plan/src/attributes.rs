//! One pass that makes every attribute of an entity: its sources come together by the entity key, tables and aggregates are made bucket by
//! bucket, and row expressions follow. Never reads a source twice.

use crate::catalog::Catalog;
use crate::codes;
use crate::cogroup;
use crate::expr::{self, Grain, Planner, aggregates, counts};
use crate::parse;
use crate::program;
use crate::scope::{COMPUTED, Scope};
use crate::sources::{self, SourceRules, qualified_column};
use crate::sql;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Result, TableReference};
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident, lit, when};
use std::collections::{BTreeSet, HashMap};
use strata_spec::pipeline::{Block, Entity, FromBlock, Purpose, RowAttribute, RowValue, Rule};
use strata_spec::{Diagnostic, Pipeline, Sql};

/// Prefix of a source's raw rows inside a cogroup; its name without the prefix is the source with derived columns.
pub(crate) use strata_operators::cogroup::RAW;
/// Prefix of hidden columns that carry consent flags.
pub(crate) const CONSENT: &str = "_consent:";

/// Everything SQL can name, planned once, in which each relation stands as a scan of a bucket table.
pub(crate) struct Relations {
    /// Derived sources and tables, in an order in which each comes after those it reads.
    pub(crate) plans: Vec<(String, LogicalPlan)>,
    /// Rules of each source.
    pub(crate) rules: HashMap<String, SourceRules>,
}

impl Relations {
    /// The plan of a relation.
    pub(crate) fn plan(&self, name: &str) -> Option<&LogicalPlan> {
        self.plans.iter().find(|(n, _)| n == name).map(|(_, p)| p)
    }
}

/// Plans every source and table of the pipeline; what is wrong is reported.
pub(crate) fn relations(planner: &mut Planner, pipeline: &Pipeline, catalog: &Catalog) -> Relations {
    let mut out = Relations { plans: vec![], rules: HashMap::new() };
    for source in &pipeline.sources {
        let Some(pinned) = catalog.sources.get(&source.name.value) else {
            planner.lose(&source.name.value);
            source.references.iter().for_each(|r| planner.lose(&r.alias.value));
            continue;
        };
        let raw = sources::raw_schema(pinned);
        planner.names.add(&format!("{RAW}{}", source.name.value), raw.clone());
        planner.names.add(&source.name.value, raw);
        if let Some(key) = cogroup::referenced_key(pipeline, &source.name.value) {
            planner.names.add_key(&source.name.value, key);
        }
    }
    // References may point at any source, so the derived ones come after all raw ones are known.
    for source in &pipeline.sources {
        let name = &source.name.value;
        let Some(pinned) = catalog.sources.get(name) else { continue };
        if let Some(rules) = sources::rules(planner, pipeline, catalog, source, pinned) {
            out.rules.insert(name.clone(), rules);
        }
        let scan =
            planner.names.source(&format!("{RAW}{name}")).and_then(|s| LogicalPlanBuilder::scan(name.as_str(), s, None)?.build());
        let Ok(scan) = scan else { continue };
        if let Some(plan) = sources::derived(planner, pipeline, source, scan) {
            planner.names.add(name, own_columns(&plan, name));
            out.plans.push((name.clone(), plan));
        }
    }
    plan_tables(planner, pipeline, &mut out);
    out
}

/// The columns of a derived source that SQL sees under its name.
fn own_columns(plan: &LogicalPlan, name: &str) -> arrow::datatypes::SchemaRef {
    let fields: Vec<_> =
        plan.schema().iter().filter(|(q, _)| q.is_some_and(|q| q.table() == name)).map(|(_, f)| f.clone()).collect();
    std::sync::Arc::new(arrow::datatypes::Schema::new(fields))
}

fn plan_tables(planner: &mut Planner, pipeline: &Pipeline, out: &mut Relations) {
    let names: BTreeSet<String> = pipeline.tables.iter().map(|t| t.name.value.clone()).collect();
    let nodes: Vec<_> = pipeline
        .tables
        .iter()
        .map(|t| (t.name.value.clone(), sql::relations(&t.sql).intersection(&names).cloned().collect(), t.name.span))
        .map(|(n, d, s): (String, BTreeSet<String>, _)| (n.clone(), d.into_iter().collect(), s))
        .collect();
    for i in program::ordered(planner, &nodes, "tables") {
        let table = &pipeline.tables[i];
        let plan = planner.query(&table.sql);
        let stored = plan.and_then(|plan| storable(plan).map_err(|e| planner.report(expr::explain(&table.sql, &e))).ok());
        let Some(plan) = stored else {
            planner.lose(&table.name.value);
            continue;
        };
        let schema = std::sync::Arc::new(plan.schema().as_arrow().clone());
        for column in table.key.iter().chain(&table.time) {
            if schema.field_with_name(&column.value).is_err() && !planner.is_lost(&column.value) && !column.value.is_empty() {
                let all: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                planner.report(
                    Diagnostic::error(
                        codes::UNKNOWN_COLUMN,
                        column.span,
                        format!("the table `{}` selects no column `{}`", table.name.value, column.value),
                    )
                    .help(format!("it selects: {}", all.join(", "))),
                );
            }
        }
        planner.names.add(&table.name.value, schema);
        out.plans.push((table.name.value.clone(), plan));
    }
}

/// A table with the types that files hold: whether its rows pass through a file or not, they are the same.
fn storable(plan: LogicalPlan) -> Result<LogicalPlan> {
    use arrow::datatypes::DataType;
    let stored = |t: &DataType| match t {
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => Some(DataType::Int64),
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Dictionary(_, _) => Some(DataType::Utf8),
        _ => None,
    };
    if plan.schema().fields().iter().all(|f| stored(f.data_type()).is_none()) {
        return Ok(plan);
    }
    let columns: Vec<Expr> = plan
        .schema()
        .iter()
        .map(|(q, f)| match stored(f.data_type()) {
            Some(t) => datafusion::logical_expr::cast(Expr::from((q, f)), t).alias(f.name()),
            None => Expr::from((q, f)),
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// What the pass over an entity makes.
pub(crate) struct EntityPass {
    /// Rows: the entity key, every attribute, and the hidden columns.
    pub(crate) result: LogicalPlan,
    /// Attributes in the order they were declared; not those that could not be made, which are reported.
    pub(crate) attributes: Vec<String>,
}

/// Plans the rows of an entity: roster ⟕ aggregates → row expressions.
pub(crate) fn pass(
    planner: &Planner,
    pipeline: &Pipeline,
    relations: &Relations,
    entity: &Entity,
    extra: &BTreeSet<String>,
) -> Option<EntityPass> {
    let blocks: Vec<&Block> =
        pipeline.attributes.iter().filter(|a| a.entity.value == entity.name.value).flat_map(|a| &a.blocks).collect();
    let roster = roster(planner, relations, entity)?;
    let mut joined = roster;
    let mut values: Vec<Value> = vec![];
    let mut declared = vec![];
    let mut missing: BTreeSet<String> = BTreeSet::new();
    for (i, block) in blocks.iter().enumerate() {
        match block {
            Block::Row(rows) => {
                for row in rows {
                    declared.push(row.name.value.clone());
                    values.push(Value::Row(row));
                }
            }
            Block::From(block) => {
                declared.extend(block.columns.iter().map(|c| c.name.value.clone()));
                match aggregate_block(planner, pipeline, relations, entity, block, i, joined.clone()) {
                    Some((next, made)) => {
                        joined = next;
                        let is_made = |c: &str| made.iter().any(|(name, _)| name == c);
                        missing.extend(block.columns.iter().filter(|c| !is_made(c.name.as_str())).map(|c| c.name.value.clone()));
                        values.extend(made.into_iter().map(|(name, expr)| Value::Made(name, expr)));
                    }
                    None => missing.extend(block.columns.iter().map(|c| c.name.value.clone())),
                }
            }
        }
    }
    let plan = evaluate(planner, entity, joined, &values, &declared, &mut missing)?;
    // What uses them is passed over, what does not is looked at.
    missing.iter().for_each(|m| planner.lose(m));
    declared.retain(|d| !missing.contains(d));
    let plan = finish(planner, pipeline, entity, plan, &declared, extra)?;
    Some(EntityPass { result: plan, attributes: declared })
}

enum Value<'a> {
    Row(&'a RowAttribute),
    Made(String, Expr),
}

fn roster(planner: &Planner, relations: &Relations, entity: &Entity) -> Option<LogicalPlan> {
    let from = &entity.from.value;
    let plan = relations.plan(from)?;
    // The roster with its references: `stores.region` is visible to row expressions.
    let is_source = relations.rules.contains_key(from);
    let plan = match is_source {
        true => plan.clone(),
        false => {
            let scan = planner.names.source(from).and_then(|s| LogicalPlanBuilder::scan(from.as_str(), s, None)?.build());
            scan.map_err(|e| planner.report(crate::internal(entity.from.span, &e))).ok()?
        }
    };
    let key = &entity.key;
    match plan.schema().qualified_field_from_column(&Column::new(Some(TableReference::bare(from.as_str())), &key.value)) {
        Ok(_) => Some(plan),
        Err(_) if planner.is_lost(&key.value) || key.value.is_empty() => None,
        Err(_) => {
            planner.report(
                Diagnostic::error(codes::NO_ENTITY_KEY, key.span, format!("`{from}` has no column `{}`", key.value)).help(
                    near_column(&plan, from, &key.value).map_or_else(
                        || "`key` names the roster's column that identifies one entity".to_owned(),
                        |near| format!("did you mean `{near}`? `key` names the roster's column that identifies one entity"),
                    ),
                ),
            );
            None
        }
    }
}

/// The column of a relation that a name is nearest to.
fn near_column(plan: &LogicalPlan, relation: &str, name: &str) -> Option<String> {
    let own = plan.schema().iter().filter(|(q, _)| q.is_some_and(|q| q.table() == relation));
    let names: Vec<&str> = own.map(|(_, f)| f.name().as_str()).collect();
    strata_spec::diagnostic::did_you_mean(name, names.iter().copied()).map(str::to_owned)
}

/// Joins a block's aggregates to the roster; gives the attributes that are right as expressions over the joined row. `None` if none is.
fn aggregate_block(
    planner: &Planner,
    pipeline: &Pipeline,
    relations: &Relations,
    entity: &Entity,
    block: &FromBlock,
    index: usize,
    roster: LogicalPlan,
) -> Option<(LogicalPlan, Vec<(String, Expr)>)> {
    let from = &block.from.value;
    if from.is_empty() || planner.names.schema(from).is_none() && planner.is_lost(from) {
        // What can be said without it.
        block.columns.iter().for_each(|c| drop(planner.read(&c.sql, parse::expr)));
        return None;
    }
    let input = block_input(planner, pipeline, relations, from)
        .map_err(|e| planner.report(crate::internal(block.from.span, &e)))
        .ok()??;
    let schema = input.schema().as_ref().clone();
    let scope = Scope::of(&schema, Some(from));
    let key = Column::new(Some(TableReference::bare(from.as_str())), &entity.key.value);
    if schema.index_of_column(&key).is_err() {
        if planner.is_lost(&entity.key.value) || entity.key.value.is_empty() {
            return None;
        }
        planner.report(
            Diagnostic::error(
                codes::NO_ENTITY_KEY,
                block.from.span,
                format!("`{from}` has no column `{}` to tell whose rows are whose", entity.key.value),
            )
            .help(format!("select `{0}` in the table, or derive it in the source", entity.key.value)),
        );
        return None;
    }
    let filtered = match &block.filter {
        None => Some(input),
        Some(sql) => planner
            .expr(sql, &schema, &scope, Grain::Row)
            .and_then(|filter| built(planner, sql, LogicalPlanBuilder::from(input).filter(filter))),
    };
    let (table_key, time) = key_and_time(pipeline, from);
    let mut made: Vec<(Expr, String, bool)> = vec![];
    let mut columns = vec![];
    for column in &block.columns {
        let Some(expr) = planner.keyed_expr(&column.sql, &schema, &scope, Grain::Aggregate, table_key.as_deref()) else {
            continue;
        };
        let window = match &column.window {
            None => None,
            Some(window) => match &time {
                Some(time) => {
                    let (start, end) = planner.clock.window(&window.value);
                    let at = qualified_column(from, time);
                    Some(at.clone().gt_eq(crate::clock::instant(start)).and(at.lt(crate::clock::instant(end))))
                }
                None => {
                    // The check of the file says so before; here it would be a fault of ours.
                    let lost =
                        datafusion::common::DataFusionError::Internal(format!("`{from}` has no `time`, so it has no windows"));
                    planner.report(crate::internal(window.span, &lost));
                    continue;
                }
            },
        };
        columns.push((column.name.value.clone(), collect_aggregates(expr, window, index, &mut made)));
    }
    if columns.is_empty() {
        return None;
    }
    let at = block.columns.first().map(|c| &c.sql)?;
    let right_key = format!("#{index}.key");
    let group = [Expr::Column(key).alias(&right_key)];
    let aggregates = made.iter().map(|(e, name, _)| e.clone().alias(name));
    let right = built(planner, at, LogicalPlanBuilder::from(filtered?).aggregate(group, aggregates.collect::<Vec<_>>()))?;
    let on = qualified_column(&entity.from.value, &entity.key.value).eq(ident(&right_key));
    let joined = built(planner, at, LogicalPlanBuilder::from(roster).join_on(right, JoinType::Left, [on]))?;
    Some((joined, columns))
}

/// A source with its references, or a scan of a table.
fn block_input(planner: &Planner, pipeline: &Pipeline, relations: &Relations, from: &str) -> Result<Option<LogicalPlan>> {
    let scan = LogicalPlanBuilder::scan(from, planner.names.source(from)?, None)?.build()?;
    match pipeline.source(from) {
        None => Ok(Some(scan)),
        Some(_) if relations.plan(from).is_none() => Ok(None),
        Some(source) => sources::with_references(planner, pipeline, source, scan).map(Some),
    }
}

fn key_and_time(pipeline: &Pipeline, from: &str) -> (Option<Vec<String>>, Option<String>) {
    let (key, time) = match (pipeline.source(from), pipeline.table(from)) {
        (Some(s), _) => (&s.key, &s.time),
        (_, Some(t)) => (&t.key, &t.time),
        _ => return (None, None),
    };
    let key: Vec<String> = key.iter().map(|k| k.value.clone()).collect();
    // The entity key is the same for all rows of a group.
    let entities: BTreeSet<&str> = pipeline.entities.iter().map(|e| e.key.value.as_str()).collect();
    let rest: Vec<String> = key.iter().filter(|k| !entities.contains(k.as_str())).cloned().collect();
    ((!key.is_empty()).then_some(rest), time.as_ref().map(|t| t.value.clone()))
}

/// Moves an expression's aggregates into `made` (each once) and leaves columns in their place; counts of nothing are 0.
pub(crate) fn collect_aggregates(expr: Expr, window: Option<Expr>, index: usize, made: &mut Vec<(Expr, String, bool)>) -> Expr {
    let mut names: Vec<(Expr, Expr)> = vec![];
    for mut f in aggregates(&expr) {
        let original = Expr::AggregateFunction(f.clone());
        if let Some(window) = &window {
            f.params.filter = Some(Box::new(match f.params.filter.take() {
                Some(filter) => filter.and(window.clone()),
                None => window.clone(),
            }));
        }
        let zero = counts(&f);
        let new = Expr::AggregateFunction(f);
        let name = match made.iter().find(|(e, _, _)| *e == new) {
            Some((_, name, _)) => name.clone(),
            None => {
                let name = format!("#{index}.{}", made.len());
                made.push((new, name.clone(), zero));
                name
            }
        };
        let column = ident(&name);
        names.push((original, if zero { coalesce(vec![column, lit(0i64)]) } else { column }));
    }
    let replaced = expr.clone().transform_down(|e| {
        Ok(match names.iter().find(|(original, _)| *original == e) {
            Some((_, column)) => Transformed::new(column.clone(), true, TreeNodeRecursion::Jump),
            None => Transformed::no(e),
        })
    });
    replaced.map_or(expr, |t| t.data)
}

/// Adds row attributes level by level: each after those it names.
fn evaluate(
    planner: &Planner,
    entity: &Entity,
    joined: LogicalPlan,
    values: &[Value],
    declared: &[String],
    missing: &mut BTreeSet<String>,
) -> Option<LogicalPlan> {
    let all: BTreeSet<String> = declared.iter().cloned().collect();
    let nodes: Vec<(String, BTreeSet<String>, strata_spec::Span)> = values
        .iter()
        .map(|v| match v {
            Value::Made(name, _) => (name.clone(), BTreeSet::new(), strata_spec::Span::default()),
            Value::Row(row) => {
                let uses = uses(planner, &row.value, &all).unwrap_or_else(|| {
                    missing.insert(row.name.value.clone());
                    BTreeSet::new()
                });
                if uses.contains(&row.name.value) {
                    missing.insert(row.name.value.clone());
                    planner.report(
                        Diagnostic::error(
                            codes::SELF_REFERENCE,
                            row.name.span,
                            format!("`{0}` is defined by itself: a bare `{0}` is the attribute", row.name.value),
                        )
                        .help(format!("for the source's column write `{}.{}`", entity.from.value, row.name.value)),
                    );
                }
                let others = uses.into_iter().filter(|u| u != &row.name.value).collect();
                (row.name.value.clone(), others, row.name.span)
            }
        })
        .collect();
    let order = program::ordered(planner, &nodes, "attributes");
    // Those of a circle, and what hangs on it.
    missing.extend((0..nodes.len()).filter(|i| !order.contains(i)).map(|i| nodes[i].0.clone()));
    let mut plan = joined;
    let mut level: Vec<Expr> = vec![];
    let mut in_level: BTreeSet<String> = BTreeSet::new();
    for i in order {
        // What depends on something that is wrong is not wrong itself: nothing is said of it.
        if missing.contains(&nodes[i].0) || nodes[i].1.iter().any(|d| missing.contains(d)) {
            missing.insert(nodes[i].0.clone());
            continue;
        }
        if nodes[i].1.iter().any(|d| in_level.contains(d)) {
            plan = with_columns(planner, plan, std::mem::take(&mut level))?;
            in_level.clear();
        }
        let name = &nodes[i].0;
        let expr = match &values[i] {
            Value::Made(_, expr) => Some(expr.clone()),
            Value::Row(row) => {
                let schema = plan.schema().as_ref().clone();
                let scope = Scope::of(&schema, Some(&entity.from.value)).telling_of(declared.iter().cloned());
                row_value(planner, &row.value, &schema, &scope)
            }
        };
        match expr {
            Some(expr) => {
                level.push(expr.alias(format!("{COMPUTED}{name}")));
                in_level.insert(name.clone());
            }
            None => {
                missing.insert(name.clone());
            }
        }
    }
    with_columns(planner, plan, level)
}

/// Attributes that a row value names bare; `None` if it cannot be read, which is reported.
fn uses(planner: &Planner, value: &RowValue, all: &BTreeSet<String>) -> Option<BTreeSet<String>> {
    let mut out = Some(BTreeSet::new());
    for sql in texts(value) {
        match planner.read(sql, parse::expr) {
            Some(tree) => {
                let named = sql::names_in(&tree).into_iter().filter(|(q, n)| q.is_none() && all.contains(n));
                out.iter_mut().for_each(|o| o.extend(named.clone().map(|(_, n)| n)));
            }
            None => out = None,
        }
    }
    out
}

fn texts(value: &RowValue) -> Vec<&Sql> {
    match value {
        RowValue::Sql(sql) => vec![sql],
        RowValue::Rules(rules) => rules.iter().filter_map(|r| r.when.as_ref()).collect(),
    }
}

/// A row value over a schema.
pub(crate) fn row_value(planner: &Planner, value: &RowValue, schema: &DFSchema, scope: &Scope) -> Option<Expr> {
    match value {
        RowValue::Sql(sql) => planner.expr(sql, schema, scope, Grain::Row),
        RowValue::Rules(rules) => rules_expr(planner, rules, schema, scope),
    }
}

/// The first label whose condition holds.
pub(crate) fn rules_expr(planner: &Planner, rules: &[Rule], schema: &DFSchema, scope: &Scope) -> Option<Expr> {
    let mut branches = vec![];
    let mut otherwise = None;
    let mut failed = false;
    for rule in rules {
        let label = lit(rule.label.value.as_str());
        match rule.when.as_ref().map(|sql| planner.expr(sql, schema, scope, Grain::Row)) {
            Some(Some(when)) => branches.push((when, label)),
            Some(None) => failed = true,
            None => otherwise = Some(label),
        }
    }
    if failed {
        return None;
    }
    let mut branches = branches.into_iter();
    let Some((condition, label)) = branches.next() else { return otherwise };
    let mut case = when(condition, label);
    for (condition, label) in branches {
        case = case.when(condition, label);
    }
    match otherwise {
        Some(label) => case.otherwise(label).ok(),
        None => case.end().ok(),
    }
}

fn with_columns(planner: &Planner, plan: LogicalPlan, new: Vec<Expr>) -> Option<LogicalPlan> {
    if new.is_empty() {
        return Some(plan);
    }
    let columns: Vec<Expr> = plan.schema().iter().map(Expr::from).chain(new).collect();
    let built = LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build);
    built.map_err(|e| planner.report(crate::internal(strata_spec::Span::default(), &e))).ok()
}

/// Keeps the key, the attributes, consent flags and the roster columns that outputs ask for.
fn finish(
    planner: &Planner,
    pipeline: &Pipeline,
    entity: &Entity,
    plan: LogicalPlan,
    declared: &[String],
    extra: &BTreeSet<String>,
) -> Option<LogicalPlan> {
    let from = entity.from.value.as_str();
    let schema = plan.schema().as_ref().clone();
    let mut columns = vec![qualified_column(from, &entity.key.value).alias(&entity.key.value)];
    columns.extend(declared.iter().filter(|d| **d != entity.key.value).map(|d| ident(format!("{COMPUTED}{d}")).alias(d)));
    if let Some(consent) = pipeline.consent.as_ref().filter(|c| c.from.value == from) {
        // A flag names the consent source's own columns, never attributes of the same name.
        let own: Vec<_> = schema.iter().filter(|(q, _)| q.is_some()).map(|(q, f)| (q.cloned(), f.clone())).collect();
        let own = DFSchema::new_with_metadata(own, Default::default()).ok()?;
        let scope = Scope::of(&own, Some(from));
        for (purpose, flag) in &consent.purposes {
            if let Purpose::Flag(sql) = flag {
                let flag = planner.expr(sql, &own, &scope, Grain::Row)?;
                columns.push(coalesce(vec![flag, lit(false)]).alias(format!("{CONSENT}{}", purpose.value)));
            }
        }
    }
    for column in extra {
        columns.push(qualified_column(from, column).alias(format!("{from}.{column}")));
    }
    let built = LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build);
    built.map_err(|e| planner.report(crate::internal(entity.name.span, &e))).ok()
}

fn built(planner: &Planner, sql: &Sql, builder: Result<LogicalPlanBuilder>) -> Option<LogicalPlan> {
    builder.and_then(LogicalPlanBuilder::build).map_err(|e| planner.report(expr::explain(sql, &e))).ok()
}
