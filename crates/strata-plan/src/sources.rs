//! A source from its pinned files to rows that may be used: screened by time and `where`, without duplicates, with nothing learnt too late.
//! Never counts a row twice.

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::codes;
use crate::contract::{self, Contract};
use crate::expr::{Grain, Planner};
use crate::scope::Scope;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::{DFSchema, Result, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, case, lit};
use std::collections::BTreeSet;
use std::sync::Arc;
use strata_operators::dedup::{DedupNode, DedupSpec, Keep};
use strata_operators::functions;
use strata_operators::owners::{self, OwnersNode};
use strata_operators::pinned::PinnedTable;
use strata_operators::screen::{Emit, ScreenNode, ScreenRule};
use strata_spec::pipeline::{Duplicates, Mode, Source};
use strata_spec::{Diagnostic, Pipeline};

/// Label of rows at or after `as_of`.
pub const AFTER_AS_OF: &str = "after_as_of";
/// Label of rows that `where`, a null time or a null key leaves out.
pub const FILTERED: &str = "filtered";
/// Rows a bucket should hold.
const ROWS_PER_BUCKET: u64 = 262_144;
/// Up to so many, buckets are half as large: few buckets cost little each, and smaller ones need less memory.
const BUCKETS_SMALL: u64 = 16;
/// Buckets at most: more make the pieces of an exchange too small.
const BUCKETS_MAX: usize = 256;

/// How many buckets `rows` are spread over.
pub(crate) fn buckets(rows: u64) -> usize {
    let few = (2 * rows / ROWS_PER_BUCKET).min(BUCKETS_SMALL);
    (few.max(rows / ROWS_PER_BUCKET) as usize).next_power_of_two().clamp(1, BUCKETS_MAX)
}

/// A source's SQL, planned over its raw columns.
pub(crate) struct SourceRules {
    /// `where`
    pub(crate) filter: Option<Expr>,
    /// What `columns` and `checks` say of rows.
    pub(crate) contract: Contract,
    /// Order that picks one of several rows of a key.
    keep: Option<Keep>,
    /// Raw columns that the rules need.
    pub(crate) needed: BTreeSet<String>,
}

/// Columns of the pinned files, as the pipeline sees them: the files' own types.
pub(crate) fn raw_schema(pinned: &PinnedTable) -> SchemaRef {
    Arc::new(Schema::new(pinned.schema.fields().clone()))
}

/// Checks what a source declares against its columns and plans its rules.
pub(crate) fn rules(
    planner: &Planner,
    pipeline: &Pipeline,
    catalog: &Catalog,
    source: &Source,
    pinned: &PinnedTable,
) -> Option<SourceRules> {
    let name = &source.name.value;
    let raw = &raw_schema(pinned);
    let schema = qualified(name, raw)?;
    let mut missing = vec![];
    let learned = source.learned_later.iter().flat_map(|l| std::iter::once(&l.time).chain(&l.columns));
    let references = source.references.iter().flat_map(|r| &r.columns);
    for column in source.key.iter().chain(&source.time).chain(learned).chain(references) {
        let derived = source.derive.iter().any(|(n, _)| n.value == column.value);
        if raw.field_with_name(&column.value).is_err() && !derived && !planner.is_lost(&column.value) {
            missing.push(column);
        }
    }
    let is_there = |c: &&strata_spec::Name| raw.field_with_name(&c.value).is_ok() || planner.is_lost(&c.value);
    missing.extend(contract::columns(source).into_iter().filter(|c| !is_there(c)));
    missing.retain(|c| !c.value.is_empty());
    for column in &missing {
        let all: Vec<&str> = raw.fields().iter().map(|f| f.name().as_str()).collect();
        let near = strata_spec::diagnostic::did_you_mean(&column.value, all.iter().copied());
        let help = near.map_or_else(|| format!("the files' columns are: {}", all.join(", ")), |n| format!("did you mean `{n}`?"));
        planner.report(
            Diagnostic::error(codes::FILE_COLUMNS, column.span, format!("`{name}` has no column `{}`", column.value)).help(help),
        );
    }
    warn_leaks(planner, source, raw);
    let scope = Scope::of(&schema, Some(name));
    let mut needed: BTreeSet<String> = source.time.iter().map(|t| t.value.clone()).collect();
    let filter = match &source.filter {
        None => None,
        Some(sql) => {
            let expr = planner.expr(sql, &schema, &scope, Grain::Row)?;
            needed.extend(expr.column_refs().into_iter().map(|c| c.name.clone()));
            Some(expr)
        }
    };
    let keep = match &source.duplicates {
        None => None,
        Some(Duplicates::Identical(_)) => Some(Keep::Identical),
        Some(Duplicates::KeepLatest(sql)) => {
            let order = planner.order(sql, &schema, &scope)?;
            let mut columns = vec![];
            for (expr, descending) in order {
                match expr {
                    Expr::Column(c) => columns.push((c.name, descending)),
                    _ => {
                        planner.report(
                            Diagnostic::error(codes::NOT_YET, sql.span, "the order of `keep` must name columns")
                                .help("order by columns of the source: `keep: latest by updated_at desc, line_no`"),
                        );
                        return None;
                    }
                }
            }
            Some(Keep::First(columns))
        }
    };
    if let Some(keep) = &keep {
        needed.extend(source.key.iter().map(|k| k.value.clone()));
        if let Keep::First(order) = keep {
            needed.extend(order.iter().map(|(c, _)| c.clone()));
        }
    }
    if !missing.is_empty() {
        return None;
    }
    let contract = contract::of_source(planner, pipeline, catalog, source, pinned)?;
    needed.extend(contract.needed(name));
    Some(SourceRules { filter, contract, keep, needed })
}

/// An append source with a second, undeclared time stamp would leak the future.
fn warn_leaks(planner: &Planner, source: &Source, raw: &SchemaRef) {
    if source.mode != Mode::Append {
        return;
    }
    let declared = |n: &str| {
        source.time.as_ref().is_some_and(|t| t.value == n)
            || source.learned_later.iter().any(|l| l.time.value == n || l.columns.iter().any(|c| c.value == n))
    };
    for field in raw.fields().iter().filter(|f| matches!(f.data_type(), DataType::Timestamp(_, _))) {
        if !declared(field.name()) {
            planner.report(
                Diagnostic::error(
                    codes::LEARNED_LATER,
                    source.name.span,
                    format!("the append source `{}` has a second time stamp, `{}`", source.name.value, field.name()),
                )
                .help(format!(
                    "say when it is known: `learned_later: {{{0}: [{0}]}}`; it then reads as null while it is at or after `as_of`",
                    field.name()
                )),
            );
        }
    }
}

/// `raw` with every column qualified by the source's name.
pub(crate) fn qualified(name: &str, raw: &SchemaRef) -> Option<DFSchema> {
    DFSchema::try_from_qualified_schema(TableReference::bare(name), raw).ok()
}

/// How rows of a source meet those of others.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Meeting<'a> {
    /// Entity key: rows without it are left out.
    pub(crate) key: Option<&'a str>,
    /// All rows of a duplicate key are known to have one entity key, and the rows are spread by that into so many buckets. Otherwise
    /// duplicates are looked for first, wherever they are.
    pub(crate) together: Option<usize>,
}

/// Rows of a source whose key stands under another entity as well: plans of one number each, of which one that gives 0 shows that all rows of a
/// key have one entity key. The first asks it of the key without its last column, which is often the number of a line: rows of one receipt lie
/// together, and are then one row to look at. The last asks it of the key itself.
pub(crate) fn strayed(source: &Source, pinned: &PinnedTable, entity_key: &str) -> Result<Vec<LogicalPlan>> {
    let key: Vec<&str> = source.key.iter().map(|k| k.value.as_str()).collect();
    let shorter = key.split_last().map(|(_, rest)| rest).filter(|rest| !rest.is_empty());
    shorter.into_iter().chain([&key[..]]).map(|key| strayed_by(source, pinned, key, entity_key)).collect()
}

fn strayed_by(source: &Source, pinned: &PinnedTable, key: &[&str], entity_key: &str) -> Result<LogicalPlan> {
    use datafusion::functions_aggregate::expr_fn::sum;
    use datafusion::logical_expr::ident;
    let name = &source.name.value;
    let hash = functions::scalar_functions().into_iter().find(|f| f.name() == functions::HASH64);
    let Some(hash) = hash else { return datafusion::common::internal_err!("there is no function `{}`", functions::HASH64) };
    let wanted: BTreeSet<&str> = key.iter().copied().chain([entity_key]).collect();
    let fields = pinned.schema.fields();
    let projection: Vec<usize> = (0..fields.len()).filter(|i| wanted.contains(fields[*i].name().as_str())).collect();
    let table = provider_as_source(Arc::new(pinned.clone()));
    let scan = LogicalPlanBuilder::scan(TableReference::bare(name.as_str()), table, Some(projection))?;
    let owner = qualified_column(name, entity_key);
    let key = key.iter().map(|k| qualified_column(name, k)).collect();
    let hashes = [hash.call(key).alias(owners::KEY), hash.call(vec![owner.clone()]).alias(owners::OWNER)];
    let rows = scan.filter(owner.is_not_null())?.project(hashes)?.build()?;
    let counted = extension(OwnersNode::try_new(rows, buckets(pinned.rows().unwrap_or(pinned.bytes() / 32)))?);
    LogicalPlanBuilder::from(counted).aggregate(Vec::<Expr>::new(), [sum(ident(owners::CONFLICTS))])?.build()
}

/// The usable rows of a source with the columns `wanted`: scan → screen → without duplicates → nothing learnt too late.
pub(crate) fn usable(
    clock: &Clock,
    source: &Source,
    rules: &SourceRules,
    pinned: &PinnedTable,
    wanted: &BTreeSet<String>,
    meeting: Meeting,
) -> Result<LogicalPlan> {
    let not_null = meeting.key;
    let name = &source.name.value;
    let mut scanned: BTreeSet<&str> = wanted.iter().chain(&rules.needed).map(String::as_str).collect();
    for later in &source.learned_later {
        if later.columns.iter().any(|c| scanned.contains(c.value.as_str())) {
            scanned.insert(&later.time.value);
        }
    }
    scanned.extend(not_null);
    let projection: Vec<usize> =
        (0..pinned.schema.fields().len()).filter(|i| scanned.contains(pinned.schema.field(*i).name().as_str())).collect();
    let table = provider_as_source(Arc::new(pinned.clone()));
    let mut plan = LogicalPlanBuilder::scan(TableReference::bare(name.as_str()), table, Some(projection))?.build()?;
    let column = |c: &str| qualified_column(name, c);
    plan = rules.contract.with_lookups(plan, name)?;
    plan = extension(ScreenNode::new(plan, name.clone(), screens(clock, source, rules, not_null)));
    // Columns that only the screen needed do not travel on.
    let mut carried: BTreeSet<String> = wanted.clone();
    carried.extend(not_null.map(str::to_owned));
    let later_times = source.learned_later.iter().filter(|l| l.columns.iter().any(|c| wanted.contains(&c.value)));
    carried.extend(later_times.map(|l| l.time.value.clone()));
    if let Some(keep) = &rules.keep {
        carried.extend(source.key.iter().map(|k| k.value.clone()));
        if let Keep::First(order) = keep {
            carried.extend(order.iter().map(|(c, _)| c.clone()));
        }
        plan = LogicalPlanBuilder::from(plan).project(carried.iter().map(|c| column(c)))?.build()?;
        let key: Vec<String> = source.key.iter().map(|k| k.value.clone()).collect();
        let (spread_by, buckets) = match (meeting.key, meeting.together) {
            (Some(entity), Some(buckets)) => (vec![entity.to_owned()], buckets),
            _ => (key.clone(), buckets(pinned.rows().unwrap_or(pinned.bytes() / 32))),
        };
        let (emit, carried) = (Emit::Kept, vec![]);
        let spec = DedupSpec { source: name.clone(), key, keep: keep.clone(), spread_by, buckets, emit, carried };
        plan = extension(DedupNode::of(plan, spec));
    }
    let mut wanted: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
    wanted.extend(not_null);
    let out = wanted.iter().map(|c| known_by_then(clock, source, c, column(c)));
    LogicalPlanBuilder::from(plan).project(out.collect::<Result<Vec<_>>>()?)?.build()
}

/// The rules that every row of a source meets, in order: what is known by `as_of` and passes `where` is held against the contract; then
/// rows without a time, or without the key `not_null`, are left out.
pub(crate) fn screens(clock: &Clock, source: &Source, rules: &SourceRules, not_null: Option<&str>) -> Vec<ScreenRule<Expr>> {
    let column = |c: &str| qualified_column(&source.name.value, c);
    let time = source.time.as_ref().map(|t| column(&t.value));
    let by_then = time.clone().map(|t| ScreenRule::drops(AFTER_AS_OF, t.clone().is_null().or(t.lt(clock.as_of_literal()))));
    let mut all: Vec<ScreenRule<Expr>> = by_then.into_iter().collect();
    all.extend(rules.filter.clone().map(|f| ScreenRule::drops(FILTERED, f)));
    all.extend(rules.contract.rules.iter().cloned());
    all.extend(time.map(|t| ScreenRule::drops(FILTERED, t.is_not_null())));
    all.extend(not_null.map(|k| ScreenRule::drops(FILTERED, column(k).is_not_null())));
    all
}

pub(crate) fn known_by_then(clock: &Clock, source: &Source, name: &str, value: Expr) -> Result<Expr> {
    let table = TableReference::bare(source.name.value.as_str());
    for later in &source.learned_later {
        if later.columns.iter().any(|c| c.value == name) {
            let time = Expr::Column(datafusion::common::Column::new(Some(table.clone()), &later.time.value));
            let known = case(lit(true)).when(time.lt(clock.as_of_literal()), value).end()?;
            return Ok(known.alias_qualified(Some(table), name));
        }
    }
    Ok(value)
}

/// An extension node.
pub(crate) fn extension(node: impl datafusion::logical_expr::UserDefinedLogicalNode + 'static) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

/// The source with its references joined on and its derived columns, over a scan that stands for its usable rows.
/// Every column is qualified by the source's name, those of references by their alias.
pub(crate) fn derived(planner: &Planner, pipeline: &Pipeline, source: &Source, base: LogicalPlan) -> Option<LogicalPlan> {
    let name = &source.name.value;
    let built = with_references(planner, pipeline, source, base);
    let mut plan = built.map_err(|e| planner.report(crate::internal(source.name.span, &e))).ok()?;
    for (column, sql) in &source.derive {
        let schema = plan.schema().as_ref().clone();
        let scope = Scope::of(&schema, Some(name));
        let Some(expr) = planner.expr(sql, &schema, &scope, Grain::Row) else {
            planner.lose(&column.value);
            continue;
        };
        let mut columns: Vec<Expr> = schema
            .iter()
            .filter(|(q, f)| !(q.is_some_and(|q| q.table() == name) && f.name() == &column.value))
            .map(Expr::from)
            .collect();
        columns.push(expr.alias_qualified(Some(TableReference::bare(name.as_str())), &column.value));
        let next = LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build);
        plan = next.map_err(|e| planner.report(crate::expr::explain(sql, &e))).ok()?;
    }
    Some(plan)
}

/// `base`, scanned under the source's name, with its references joined on.
pub(crate) fn with_references(planner: &Planner, pipeline: &Pipeline, source: &Source, base: LogicalPlan) -> Result<LogicalPlan> {
    let name = source.name.value.as_str();
    let mut plan = base;
    for reference in &source.references {
        let Some(other) = pipeline.source(&reference.source.value) else { continue };
        if planner.names.schema(&reference.source.value).is_none() || reference.columns.len() != other.key.len() {
            // Said where the one or the other stands.
            planner.lose(&reference.alias.value);
            continue;
        }
        let alias = TableReference::bare(reference.alias.value.as_str());
        let scan =
            LogicalPlanBuilder::scan(reference.source.value.as_str(), planner.names.source(&reference.source.value)?, None)?;
        let right = scan.alias(alias.clone())?.build()?;
        let left_keys: Vec<Expr> = reference.columns.iter().map(|c| qualified_column(name, &c.value)).collect();
        let right_keys: Vec<Expr> = other.key.iter().map(|k| qualified_column(alias.table(), &k.value)).collect();
        let on = left_keys.into_iter().zip(right_keys).map(|(l, r)| l.eq(r));
        plan = LogicalPlanBuilder::from(plan).join_on(right, datafusion::common::JoinType::Left, on)?.build()?;
    }
    Ok(plan)
}

/// `table.column`, exactly as written.
pub(crate) fn qualified_column(table: &str, column: &str) -> Expr {
    Expr::Column(datafusion::common::Column::new(Some(TableReference::bare(table)), column))
}
