//! What a source promises, as conditions on its rows and as questions about the whole of it. Never drops a row: the screen does.

use crate::attributes::collect_aggregates;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::codes;
use crate::expr::{Grain, Planner};
use crate::parse;
use crate::scope::Scope;
use crate::sources::{qualified, qualified_column, raw_schema};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, JoinType, Result, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::expr_fn::{count, max, sum};
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, ident, in_list, lit,
};
use datafusion::sql::sqlparser::ast;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use strata_operators::pinned::PinnedTable;
use strata_operators::screen::{Action, ScreenRule};
use strata_spec::pipeline::contract::{CheckRule, OnFail, TextFormat, Volume};
use strata_spec::pipeline::{Ago, Check, ColumnContract, Source, Window};
use strata_spec::{Diagnostic, Name, Pipeline, Sql};

const DAY_US: i64 = 86_400_000_000;
const INSTANT: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// What is held against the rows of a source, and against the whole of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contract {
    /// In the order of the file: columns, then checks.
    pub(crate) rules: Vec<ScreenRule<Expr>>,
    /// Other sources whose keys rows are held against.
    lookups: Vec<Lookup>,
    /// Questions about all rows together.
    tables: Vec<TableCheck>,
}

/// The keys of another source.
#[derive(Debug, Clone)]
struct Lookup {
    /// Own columns, one for each of the other's key.
    columns: Vec<String>,
    /// One row a key: its columns, as [`key_name`] says, and [`mark_name`], which is true.
    keys: LogicalPlan,
    index: usize,
}

/// A question about all rows of a source.
#[derive(Debug, Clone)]
pub struct TableCheck {
    /// Name of the check.
    pub name: String,
    /// Whether a failure publishes nothing; otherwise it is said.
    pub stops: bool,
    /// What is asked.
    pub asks: Asks,
    /// One row that answers it.
    pub plan: LogicalPlan,
}

/// What a question's answer means.
#[derive(Debug, Clone, PartialEq)]
pub enum Asks {
    /// How many rows agree with an earlier one in these columns: `Int64`, 0 is right.
    Repeats(Vec<String>),
    /// The newest time, microseconds as `Int64` or null: at most so many microseconds before `as_of`.
    Newest(i64),
    /// Rows of the last 24 hours, and of the time before that the bounds name: two `Int64`.
    Rows(Volume),
    /// Whether the condition holds: `Boolean`; null holds. Its text.
    Holds(String),
    /// How many rows fail: `Int64`, 0 is right. Why they do.
    Fails(String),
}

impl Contract {
    /// Raw columns of the source `name` that the rules read or empty.
    pub(crate) fn needed(&self, name: &str) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        for rule in &self.rules {
            let own = |c: &&datafusion::common::Column| c.relation.as_ref().is_some_and(|r| r.table() == name);
            out.extend(rule.holds.column_refs().into_iter().filter(own).map(|c| c.name.clone()));
            if let Action::SetNull(columns) = &rule.action {
                out.extend(columns.iter().cloned());
            }
        }
        out.extend(self.lookups.iter().flat_map(|l| l.columns.iter().cloned()));
        out
    }

    /// Rows of the source `name` with what its lookups found beside them.
    pub(crate) fn with_lookups(&self, rows: LogicalPlan, name: &str) -> Result<LogicalPlan> {
        let mut plan = rows;
        for lookup in &self.lookups {
            let key = |(i, c): (usize, &String)| ident(key_name(lookup.index, i)).eq(qualified_column(name, c));
            let on: Vec<Expr> = lookup.columns.iter().enumerate().map(key).collect();
            // The keys are what is held while the rows pass.
            plan = LogicalPlanBuilder::from(lookup.keys.clone()).join_on(plan, JoinType::Right, on)?.build()?;
        }
        Ok(plan)
    }

    /// Whether a rule puts rows aside.
    pub(crate) fn quarantines(&self) -> bool {
        self.rules.iter().any(|r| r.action == Action::Quarantine)
    }

    /// Questions about all rows together.
    pub(crate) fn tables(&self) -> &[TableCheck] {
        &self.tables
    }
}

pub(crate) fn key_name(lookup: usize, column: usize) -> String {
    format!("#key:{lookup}:{column}")
}

pub(crate) fn mark_name(lookup: usize) -> String {
    format!("#known:{lookup}")
}

/// Columns that checks name.
pub(crate) fn columns(source: &Source) -> Vec<&Name> {
    let mut out: Vec<&Name> = vec![];
    for check in &source.checks {
        match &check.rule {
            CheckRule::NotNull(columns) | CheckRule::Unique(columns) | CheckRule::References { columns, .. } => {
                out.extend(columns)
            }
            CheckRule::Range { column, .. } | CheckRule::OneOf { column, .. } | CheckRule::Format { column, .. } => {
                out.push(column)
            }
            CheckRule::Sql(_) | CheckRule::Freshness(_) | CheckRule::Volume(_) => {}
        }
        out.extend(&check.empties);
    }
    out
}

/// The contract of a source over its pinned columns; `None` if something is wrong, which is then reported.
pub(crate) fn of_source(
    planner: &Planner,
    pipeline: &Pipeline,
    catalog: &Catalog,
    source: &Source,
    pinned: &PinnedTable,
) -> Option<Contract> {
    let schema = qualified(&source.name.value, &raw_schema(pinned))?;
    let scope = Scope::of(&schema, Some(&source.name.value));
    let maker = Maker { planner, pipeline, catalog, source, pinned, schema, scope };
    let mut contract = Contract::default();
    for column in source.columns.iter().filter(|c| pinned.schema.field_with_name(&c.name.value).is_ok()) {
        maker.column(column, &mut contract);
    }
    let done: Vec<Option<()>> = source.checks.iter().map(|check| maker.check(check, &mut contract)).collect();
    done.into_iter().collect::<Option<Vec<()>>>()?;
    Some(contract)
}

struct Maker<'a> {
    planner: &'a Planner,
    pipeline: &'a Pipeline,
    catalog: &'a Catalog,
    source: &'a Source,
    pinned: &'a PinnedTable,
    schema: DFSchema,
    scope: Scope,
}

impl Maker<'_> {
    fn own(&self, column: &str) -> Expr {
        qualified_column(&self.source.name.value, column)
    }

    /// What a declared column says of its values.
    fn column(&self, column: &ColumnContract, contract: &mut Contract) {
        let name = column.name.value.as_str();
        let on_fail = column.on_fail.as_ref().map_or(OnFail::Stop, |f| f.value);
        let is_given = self.pinned.schema.index_of(name).is_ok_and(|i| i + self.pinned.hive >= self.pinned.schema.fields().len());
        if !column.nullable && !is_given && !self.pinned.complete.iter().any(|c| c == name) {
            let reason = format!("`{name}` is null");
            contract.rules.push(rule(format!("{name}.not_null"), self.own(name).is_not_null(), on_fail, &[], reason));
        }
        if !column.allowed.is_empty() {
            let reason = format!("`{name}` is none of its {} values", column.allowed.len());
            let holds = one_of(self.own(name), &column.allowed);
            let empties = [column.name.clone()];
            contract.rules.push(rule(format!("{name}.enum"), holds, on_fail, &empties, reason));
        }
    }

    fn check(&self, check: &Check, contract: &mut Contract) -> Option<()> {
        let (holds, reason) = match &check.rule {
            CheckRule::Sql(sql) if aggregates(self.planner, sql) => return self.aggregate(check, sql, contract),
            CheckRule::Sql(sql) => {
                let expr = self.planner.expr(sql, &self.schema, &self.scope, Grain::Row)?;
                must_be_condition(self.planner, &self.schema, sql, &expr)?;
                (expr.is_not_false(), format!("`{}` is false", one_line(&sql.text)))
            }
            CheckRule::NotNull(columns) => {
                let holds = columns.iter().map(|c| self.own(&c.value).is_not_null()).reduce(Expr::and)?;
                (holds, format!("{} is null", listed(columns)))
            }
            CheckRule::Range { column, min, max } => self.range(column, min.as_ref(), max.as_ref())?,
            CheckRule::OneOf { column, values } => {
                (one_of(self.own(&column.value), values), format!("`{}` is none of its {} values", column.value, values.len()))
            }
            CheckRule::Format { column, format } => {
                let (pattern, what) = pattern(*format);
                let found = self.planner.names.scalar("regexp_like");
                let found = found.map_err(|e| self.planner.report(crate::internal(check.name.span, &e))).ok()?;
                (
                    found.call(vec![self.own(&column.value), lit(pattern)]).is_not_false(),
                    format!("`{}` is no {what}", column.value),
                )
            }
            CheckRule::References { columns, source } => self.references(check, columns, source, contract)?,
            CheckRule::Unique(columns) if check.on_fail.value == OnFail::Quarantine => self.repeated(check, columns, contract)?,
            CheckRule::Unique(_) | CheckRule::Freshness(_) | CheckRule::Volume(_) => return self.table(check, contract),
        };
        contract.rules.push(rule(label(check), holds, check.on_fail.value, &check.empties, reason));
        Some(())
    }

    fn range(&self, column: &Name, min: Option<&Sql>, max: Option<&Sql>) -> Option<(Expr, String)> {
        let of = Ranged { planner: self.planner, schema: &self.schema, scope: &self.scope, value: self.own(&column.value) };
        of.within(column, min, max)
    }

    /// Looks the columns up among the keys of another source: those of its rows that are known by `as_of` and pass its `where`.
    fn references(&self, check: &Check, columns: &[Name], other: &Name, contract: &mut Contract) -> Option<(Expr, String)> {
        let index = contract.lookups.len();
        let keys = known_keys(self.planner, self.pipeline, self.catalog, other, index)?;
        let plan = keys.map_err(|e| self.planner.report(crate::internal(check.name.span, &e))).ok()?;
        let names: Vec<String> = columns.iter().map(|c| c.value.clone()).collect();
        let found = names.iter().map(|c| self.own(c).is_null()).fold(ident(mark_name(index)).is_true(), Expr::or);
        contract.lookups.push(Lookup { columns: names, keys: plan, index });
        Some((found, format!("{} is no key of `{}`", listed(columns), other.value)))
    }

    /// Looks the columns up among the values that more than one row of the source has: each of those rows fails.
    fn repeated(&self, check: &Check, columns: &[Name], contract: &mut Contract) -> Option<(Expr, String)> {
        let index = contract.lookups.len();
        let names: Vec<String> = columns.iter().map(|c| c.value.clone()).collect();
        let by = names.iter().enumerate().map(|(i, c)| self.own(c).alias(key_name(index, i)));
        let rows = self.rows(&names)?;
        let repeated = |rows: LogicalPlan| {
            let grouped = LogicalPlanBuilder::from(rows).aggregate(by.collect::<Vec<_>>(), [count(lit(1i64)).alias("#rows")])?;
            let known = (0..names.len()).map(|i| ident(key_name(index, i))).chain([lit(true).alias(mark_name(index))]);
            grouped.filter(ident("#rows").gt(lit(1i64)))?.project(known)?.build()
        };
        let keys = repeated(rows).map_err(|e| self.planner.report(crate::internal(check.name.span, &e))).ok()?;
        contract.lookups.push(Lookup { columns: names, keys, index });
        Some((ident(mark_name(index)).is_not_true(), format!("another row has the same {}", listed(columns))))
    }

    /// Rows that are known by `as_of` and pass `where`, with at least the columns `wanted`.
    fn rows(&self, wanted: &[String]) -> Option<LogicalPlan> {
        let name = &self.source.name.value;
        let filter = match &self.source.filter {
            Some(sql) => Some(self.planner.expr(sql, &self.schema, &self.scope, Grain::Row)?),
            None => None,
        };
        let time = self.source.time.as_ref().map(|t| t.value.clone());
        let refs = filter.iter().flat_map(|f| f.column_refs().into_iter().map(|c| c.name.clone()));
        let read: BTreeSet<String> = wanted.iter().cloned().chain(time.clone()).chain(refs).collect();
        let fields = self.pinned.schema.fields();
        let projection = (0..fields.len()).filter(|i| read.contains(fields[*i].name())).collect();
        let table = provider_as_source(Arc::new(self.pinned.clone()));
        let by_then = time.map(|t| self.own(&t).lt(self.planner.clock.as_of_literal()));
        let built = LogicalPlanBuilder::scan(TableReference::bare(name.as_str()), table, Some(projection));
        let built = by_then.into_iter().chain(filter).fold(built, |plan, f| plan?.filter(f));
        let built = built.and_then(LogicalPlanBuilder::build);
        built.map_err(|e| self.planner.report(crate::internal(self.source.name.span, &e))).ok()
    }

    /// A condition on all rows together.
    fn aggregate(&self, check: &Check, sql: &Sql, contract: &mut Contract) -> Option<()> {
        if matches!(check.on_fail.value, OnFail::Quarantine | OnFail::SetNull) {
            let message =
                format!("check `{}` is about all rows together: no row of it can be put aside or emptied", check.name.value);
            let wrong = Diagnostic::error(codes::AGGREGATE_MISPLACED, check.on_fail.span, message);
            self.planner.report(wrong.help("write `on_fail: stop` or `on_fail: warn`, or a condition on one row"));
            return None;
        }
        let expr = self.planner.expr(sql, &self.schema, &self.scope, Grain::Aggregate)?;
        must_be_condition(self.planner, &self.schema, sql, &expr)?;
        let rows = self.rows(&expr.column_refs().into_iter().map(|c| c.name.clone()).collect::<Vec<_>>())?;
        let mut made = vec![];
        let holds = collect_aggregates(expr, None, 0, &mut made).alias("holds");
        let aggregates: Vec<Expr> = made.into_iter().map(|(e, name, _)| e.alias(name)).collect();
        let plan =
            LogicalPlanBuilder::from(rows).aggregate(Vec::<Expr>::new(), aggregates).and_then(|p| p.project([holds])?.build());
        self.ask(check, Asks::Holds(one_line(&sql.text)), plan, contract)
    }

    /// A question about the whole of the source.
    fn table(&self, check: &Check, contract: &mut Contract) -> Option<()> {
        let rows = |wanted: &[String]| self.rows(wanted).map(LogicalPlanBuilder::from);
        let (asks, plan) = match (&check.rule, &self.source.time) {
            (CheckRule::Unique(columns), _) => {
                let names: Vec<String> = columns.iter().map(|c| c.value.clone()).collect();
                let by = names.iter().map(|c| self.own(c)).collect();
                (Asks::Repeats(names.clone()), repeats(rows(&names)?, by))
            }
            (CheckRule::Freshness(limit), Some(time)) => (Asks::Newest(*limit), newest(rows(&[])?, self.own(&time.value))),
            (CheckRule::Volume(volume), Some(time)) => {
                let plan = newest_day(&self.planner.clock, rows(&[])?, &self.own(&time.value), *volume);
                (Asks::Rows(*volume), plan)
            }
            _ => return None,
        };
        self.ask(check, asks, plan, contract)
    }

    fn ask(&self, check: &Check, asks: Asks, plan: Result<LogicalPlan>, contract: &mut Contract) -> Option<()> {
        let plan = plan.map_err(|e| self.planner.report(crate::internal(check.name.span, &e))).ok()?;
        let stops = check.on_fail.value == OnFail::Stop;
        contract.tables.push(TableCheck { name: check.name.value.clone(), stops, asks, plan });
        Some(())
    }
}

/// Whether an expression is about many rows.
pub(crate) fn aggregates(planner: &Planner, sql: &Sql) -> bool {
    let Ok(tree) = parse::expr(sql) else { return false };
    let found = ast::visit_expressions(&tree, |e| match e {
        ast::Expr::Function(f) if f.over.is_none() => {
            let name = f.name.to_string().trim_matches('"').to_lowercase();
            let ours = ["total", "first", "mode"].contains(&name.as_str());
            match ours || planner.names.aggregate(&name).is_ok() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Reports a check that is neither true nor false.
pub(crate) fn must_be_condition(planner: &Planner, schema: &DFSchema, sql: &Sql, expr: &Expr) -> Option<()> {
    match expr.get_type(schema) {
        Ok(DataType::Boolean | DataType::Null) => Some(()),
        found => {
            let kind = found.map_or_else(|e| e.strip_backtrace(), |t| t.to_string());
            let message = format!("a check is true or false, and this is {kind}");
            planner.report(Diagnostic::error(codes::TYPE, sql.span, message).help("write a condition: `amount > 0`"));
            None
        }
    }
}

/// A column that is held against a least and a greatest value.
pub(crate) struct Ranged<'a> {
    pub(crate) planner: &'a Planner,
    pub(crate) schema: &'a DFSchema,
    pub(crate) scope: &'a Scope,
    /// The column.
    pub(crate) value: Expr,
}

impl Ranged<'_> {
    /// That it lies within, and what is said of it where it does not. Null passes.
    pub(crate) fn within(&self, column: &Name, min: Option<&Sql>, max: Option<&Sql>) -> Option<(Expr, String)> {
        let mut holds: Option<Expr> = None;
        let mut said = vec![];
        for (bound, least) in [(min, true), (max, false)] {
            let Some(sql) = bound else { continue };
            let limit = self.planner.expr(sql, self.schema, self.scope, Grain::Row)?;
            self.must_be_time(column, sql, &limit)?;
            let value = self.value.clone();
            let within = if least { value.gt_eq(limit) } else { value.lt_eq(limit) };
            if let Err(e) = within.get_type(self.schema) {
                self.planner.report(crate::expr::explain(sql, &e));
                return None;
            }
            said.push(format!("{} than {}", if least { "less" } else { "more" }, one_line(&sql.text)));
            holds = Some(match holds {
                Some(other) => other.and(within),
                None => within,
            });
        }
        Some((holds?.is_not_false(), format!("`{}` is {}", column.value, said.join(" or "))))
    }

    /// A day without quotes is a subtraction, and a number is some day.
    fn must_be_time(&self, column: &Name, sql: &Sql, limit: &Expr) -> Option<()> {
        let kind = |e: &Expr| e.get_type(self.schema).ok();
        let is_time = kind(&self.value).is_some_and(|t| t.is_temporal());
        if !is_time || !kind(limit).is_some_and(|t| t.is_numeric()) {
            return Some(());
        }
        let message = format!("`{}` is a time, and `{}` is a number", column.value, one_line(&sql.text));
        self.planner.report(Diagnostic::error(codes::TYPE, sql.span, message).help("write a day as `date '2020-01-31'`"));
        None
    }
}

/// The keys of another source as [`Lookup::keys`]; `None` where it is not there, which is said where it is looked at.
pub(crate) fn known_keys(
    planner: &Planner,
    pipeline: &Pipeline,
    catalog: &Catalog,
    other: &Name,
    index: usize,
) -> Option<Result<LogicalPlan>> {
    let source = pipeline.source(&other.value)?;
    let pinned = catalog.sources.get(&other.value)?;
    let schema = qualified(&other.value, &raw_schema(pinned))?;
    let keys: Vec<String> = source.key.iter().map(|k| k.value.clone()).collect();
    if keys.iter().any(|k| pinned.schema.field_with_name(k).is_err()) {
        return None;
    }
    let rows = Maker { planner, pipeline, catalog, source, pinned, scope: Scope::of(&schema, Some(&other.value)), schema }
        .rows(&keys)?;
    let known = |rows: LogicalPlan| {
        let key = |k: &String| qualified_column(&other.value, k);
        let named = keys.iter().enumerate().map(|(i, k)| key(k).alias(key_name(index, i)));
        let distinct = LogicalPlanBuilder::from(rows).project(named)?.distinct()?;
        let columns = (0..keys.len()).map(|i| ident(key_name(index, i))).chain([lit(true).alias(mark_name(index))]);
        distinct.project(columns)?.build()
    };
    Some(known(rows))
}

/// How many rows agree with an earlier one in all of `by`; a row with a null in one of them agrees with none.
pub(crate) fn repeats(rows: LogicalPlanBuilder, by: Vec<Expr>) -> Result<LogicalPlan> {
    let whole = by.iter().cloned().map(Expr::is_not_null).reduce(Expr::and).unwrap_or_else(|| lit(true));
    let grouped = rows.filter(whole)?.aggregate(by, [count(lit(1i64)).alias("#rows")])?;
    let more = grouped.aggregate(Vec::<Expr>::new(), [sum(ident("#rows") - lit(1i64)).alias("#more")])?;
    more.project([ident("#more").alias("repeats")])?.build()
}

/// The newest time, in microseconds.
pub(crate) fn newest(rows: LogicalPlanBuilder, time: Expr) -> Result<LogicalPlan> {
    let newest = rows.aggregate(Vec::<Expr>::new(), [max(time).alias("#newest")])?;
    newest.project([cast(cast(ident("#newest"), INSTANT), DataType::Int64).alias("newest")])?.build()
}

/// Rows of the last 24 hours, and of the time before that `volume` names.
pub(crate) fn newest_day(clock: &Clock, rows: LogicalPlanBuilder, time: &Expr, volume: Volume) -> Result<LogicalPlan> {
    let ago = |us| Window { from: Ago::Micros(us), to: Ago::Micros(0) };
    let at = |us| crate::clock::instant(clock.window(&ago(us)).0);
    let last = count(lit(1i64)).filter(time.clone().gt_eq(at(DAY_US))).build()?;
    let before = time.clone().gt_eq(at(DAY_US.saturating_add(volume.of_us))).and(time.clone().lt(at(DAY_US)));
    let before = count(lit(1i64)).filter(before).build()?;
    rows.aggregate(Vec::<Expr>::new(), [last.alias("last"), before.alias("before")])?.build()
}

fn rule(label: String, holds: Expr, on_fail: OnFail, empties: &[Name], reason: String) -> ScreenRule<Expr> {
    let action = match on_fail {
        OnFail::Stop => Action::Stop,
        OnFail::Quarantine => Action::Quarantine,
        OnFail::SetNull => Action::SetNull(empties.iter().map(|c| c.value.clone()).collect()),
        OnFail::Warn => Action::Warn,
    };
    ScreenRule { label, holds, action, reason }
}

/// The name a check is counted under; what stands in `columns:` is named by the column and what is asked of it.
fn label(check: &Check) -> String {
    let name = &check.name.value;
    match &check.rule {
        CheckRule::Range { column, .. } if column.value == *name => format!("{name}.range"),
        CheckRule::Format { column, .. } if column.value == *name => format!("{name}.format"),
        _ => name.clone(),
    }
}

/// Null passes.
pub(crate) fn one_of(column: Expr, values: &[String]) -> Expr {
    in_list(column, values.iter().map(lit).collect(), false).is_not_false()
}

pub(crate) fn listed(columns: &[Name]) -> String {
    columns.iter().map(|c| format!("`{}`", c.value)).collect::<Vec<_>>().join(", ")
}

pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a text of that format looks like, and what it is called.
pub(crate) fn pattern(format: TextFormat) -> (&'static str, &'static str) {
    match format {
        TextFormat::Email => (
            r"^[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]+@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+$",
            "e-mail address",
        ),
        TextFormat::Phone => (r"^\+[1-9]([ ().-]{0,2}[0-9]){6,14}$", "phone number with its country's prefix"),
        TextFormat::Url => (r"^[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#]+[^\s]*$", "absolute URL"),
        TextFormat::Uuid => ("^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$", "UUID"),
    }
}
