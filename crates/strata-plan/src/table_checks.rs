//! What a table promises beside its key: rules for its rows and for all of them together, as questions about the rows that its step made.
//! Never drops a row.

use crate::attributes::collect_aggregates;
use crate::catalog::Catalog;
use crate::contract::{
    Asks, Ranged, TableCheck, aggregates, key_name, known_keys, listed, must_be_condition, newest, newest_day, one_line, one_of,
    pattern, repeats,
};
use crate::expr::{Grain, Planner};
use crate::scope::Scope;
use crate::sources::qualified_column;
use crate::{Compiled, codes};
use datafusion::common::{DFSchema, JoinType, Result, plan_err};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident, lit};
use strata_spec::diagnostic::did_you_mean;
use strata_spec::pipeline::contract::{CheckRule, OnFail};
use strata_spec::pipeline::{Check, Table};
use strata_spec::{Diagnostic, Name, Pipeline, Sql};

impl Compiled<'_> {
    /// What the checks of a table ask of its rows: of those that its step made, if it is done.
    pub fn rules_of_table(&self, name: &str) -> Result<Vec<TableCheck>> {
        let Some(table) = self.pipeline.table(name).filter(|t| !t.checks.is_empty()) else { return Ok(vec![]) };
        let rows = match self.catalog.work.get(&format!("table:{name}")) {
            Some(made) => crate::scan_work(name, made)?,
            None => LogicalPlanBuilder::from(self.table_plan(name)?).alias(name)?.build()?,
        };
        self.found(of_table(&self.planner, self.pipeline, &self.catalog, table, rows))
    }

    /// Types the checks of every table; what is wrong is reported.
    pub(crate) fn check_tables(&self) {
        for table in self.pipeline.tables.iter().filter(|t| !t.checks.is_empty() && self.relations.plan(&t.name.value).is_some())
        {
            let name = table.name.value.as_str();
            let scan = self.planner.names.source(name).and_then(|s| LogicalPlanBuilder::scan(name, s, None)?.build());
            match scan {
                Ok(rows) => {
                    of_table(&self.planner, self.pipeline, &self.catalog, table, rows);
                }
                Err(e) => self.planner.report(crate::internal(table.name.span, &e)),
            }
        }
    }
}

/// The questions in the order of the file; `None` if one is wrong, which is then reported.
fn of_table(
    planner: &Planner,
    pipeline: &Pipeline,
    catalog: &Catalog,
    table: &Table,
    rows: LogicalPlan,
) -> Option<Vec<TableCheck>> {
    let schema = rows.schema().as_ref().clone();
    let scope = Scope::of(&schema, Some(&table.name.value));
    let asker = Asker { planner, pipeline, catalog, table, rows, schema, scope };
    let asked: Vec<Option<TableCheck>> = table.checks.iter().map(|check| asker.asked(check)).collect();
    asked.into_iter().collect()
}

struct Asker<'a> {
    planner: &'a Planner,
    pipeline: &'a Pipeline,
    catalog: &'a Catalog,
    table: &'a Table,
    rows: LogicalPlan,
    schema: DFSchema,
    scope: Scope,
}

impl Asker<'_> {
    fn asked(&self, check: &Check) -> Option<TableCheck> {
        let (asks, plan) = self.question(check)?;
        let plan = plan.map_err(|e| self.planner.report(crate::internal(check.name.span, &e))).ok()?;
        let stops = check.on_fail.value == OnFail::Stop;
        Some(TableCheck { name: check.name.value.clone(), stops, asks, plan })
    }

    fn question(&self, check: &Check) -> Option<(Asks, Result<LogicalPlan>)> {
        let rows = || LogicalPlanBuilder::from(self.rows.clone());
        let failing = |holds: Expr, reason: String| (Asks::Fails(reason), self.failing(rows(), holds));
        Some(match &check.rule {
            CheckRule::Sql(sql) if aggregates(self.planner, sql) => self.aggregate(sql)?,
            CheckRule::Sql(sql) => {
                let expr = self.planner.expr(sql, &self.schema, &self.scope, Grain::Row)?;
                must_be_condition(self.planner, &self.schema, sql, &expr)?;
                failing(expr.is_not_false(), format!("`{}` is false", one_line(&sql.text)))
            }
            CheckRule::NotNull(columns) => {
                let holds = self.columns(columns)?.into_iter().map(Expr::is_not_null).reduce(Expr::and)?;
                failing(holds, format!("{} is null", listed(columns)))
            }
            CheckRule::Unique(columns) => {
                let by = self.columns(columns)?;
                (Asks::Repeats(columns.iter().map(|c| c.value.clone()).collect()), repeats(rows(), by))
            }
            CheckRule::Range { column, min, max } => {
                let value = self.column(column)?;
                let ranged = Ranged { planner: self.planner, schema: &self.schema, scope: &self.scope, value };
                let (holds, reason) = ranged.within(column, min.as_ref(), max.as_ref())?;
                failing(holds, reason)
            }
            CheckRule::OneOf { column, values } => {
                let reason = format!("`{}` is none of its {} values", column.value, values.len());
                failing(one_of(self.column(column)?, values), reason)
            }
            CheckRule::Format { column, format } => {
                let (pattern, what) = pattern(*format);
                let found = self.planner.names.scalar("regexp_like");
                let found = found.map_err(|e| self.planner.report(crate::internal(check.name.span, &e))).ok()?;
                let holds = found.call(vec![self.column(column)?, lit(pattern)]).is_not_false();
                failing(holds, format!("`{}` is no {what}", column.value))
            }
            CheckRule::References { columns, source } => {
                let own = self.columns(columns)?;
                let keys = known_keys(self.planner, self.pipeline, self.catalog, source, 0)?;
                let reason = format!("{} is no key of `{}`", listed(columns), source.value);
                (Asks::Fails(reason), keys.and_then(|keys| strange(rows(), own, keys)))
            }
            CheckRule::Freshness(limit) => (Asks::Newest(*limit), newest(rows(), self.time()?)),
            CheckRule::Volume(volume) => (Asks::Rows(*volume), newest_day(&self.planner.clock, rows(), &self.time()?, *volume)),
        })
    }

    /// How many rows a condition does not hold for.
    fn failing(&self, rows: LogicalPlanBuilder, holds: Expr) -> Result<LogicalPlan> {
        rows.filter(holds.is_not_true())?.aggregate(Vec::<Expr>::new(), [count(lit(1i64)).alias("rows")])?.build()
    }

    /// A condition on all rows together.
    fn aggregate(&self, sql: &Sql) -> Option<(Asks, Result<LogicalPlan>)> {
        let expr = self.planner.expr(sql, &self.schema, &self.scope, Grain::Aggregate)?;
        must_be_condition(self.planner, &self.schema, sql, &expr)?;
        let mut made = vec![];
        let holds = collect_aggregates(expr, None, 0, &mut made).alias("holds");
        let aggregates: Vec<Expr> = made.into_iter().map(|(e, name, _)| e.alias(name)).collect();
        let all = LogicalPlanBuilder::from(self.rows.clone()).aggregate(Vec::<Expr>::new(), aggregates);
        Some((Asks::Holds(one_line(&sql.text)), all.and_then(|p| p.project([holds])?.build())))
    }

    fn time(&self) -> Option<Expr> {
        self.table.time.as_ref().and_then(|t| self.column(t))
    }

    fn columns(&self, names: &[Name]) -> Option<Vec<Expr>> {
        let all: Vec<Option<Expr>> = names.iter().map(|n| self.column(n)).collect();
        all.into_iter().collect()
    }

    /// A column of the table; reported if it has none of the name.
    fn column(&self, name: &Name) -> Option<Expr> {
        if self.schema.index_of_column_by_name(None, &name.value).is_some() {
            return Some(qualified_column(&self.table.name.value, &name.value));
        }
        if !name.value.is_empty() && !self.planner.is_lost(&name.value) {
            let all: Vec<&str> = self.schema.fields().iter().map(|f| f.name().as_str()).collect();
            let near = did_you_mean(&name.value, all.iter().copied());
            let help = near.map_or_else(|| format!("it selects: {}", all.join(", ")), |n| format!("did you mean `{n}`?"));
            let message = format!("the table `{}` selects no column `{}`", self.table.name.value, name.value);
            self.planner.report(Diagnostic::error(codes::UNKNOWN_COLUMN, name.span, message).help(help));
        }
        None
    }
}

/// How many rows have values that are no key of another source; null passes.
fn strange(rows: LogicalPlanBuilder, own: Vec<Expr>, keys: LogicalPlan) -> Result<LogicalPlan> {
    let Some(whole) = own.iter().cloned().map(Expr::is_not_null).reduce(Expr::and) else { return plan_err!("no columns") };
    let on: Vec<Expr> = own.into_iter().enumerate().map(|(i, c)| c.eq(ident(key_name(0, i)))).collect();
    let strange = rows.filter(whole)?.join_on(keys, JoinType::LeftAnti, on)?;
    strange.aggregate(Vec::<Expr>::new(), [count(lit(1i64)).alias("rows")])?.build()
}
