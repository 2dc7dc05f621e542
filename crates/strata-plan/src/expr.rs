//! Syntax trees → typed expressions whose value does not depend on the order of rows or on the machine's time zone. Never builds a plan.

use crate::allowed;
use crate::clock::Clock;
use crate::codes;
use crate::names::Names;
use crate::parse;
use crate::program::Optimised;
use crate::scope::Scope;
use crate::sql::Rewrite;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result, SchemaError, plan_err};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, cast, lit};
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;
use std::sync::{Mutex, MutexGuard, PoisonError};
use strata_spec::{Diagnostic, Lost, Sql};

/// Plans SQL texts; keeps what it finds wrong.
pub(crate) struct Planner {
    pub(crate) clock: Clock,
    pub(crate) names: Names,
    found: Mutex<Vec<Diagnostic>>,
    /// Names of what is wrong itself: nothing is said of what uses them.
    lost: Mutex<Lost>,
    pub(crate) optimised: Optimised,
}

/// Whether aggregates belong in an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grain {
    /// One row in, one value out.
    Row,
    /// Many rows in, one value out.
    Aggregate,
}

impl Planner {
    pub(crate) fn new(clock: Clock, lost: Lost) -> Self {
        Self { clock, names: Names::new(), found: Mutex::default(), lost: Mutex::new(lost), optimised: Optimised::default() }
    }

    fn lost(&self) -> MutexGuard<'_, Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on nothing is said of what uses `name`: it could not be made, and why is said where it stands.
    pub(crate) fn lose(&self, name: &str) {
        self.lost().add(name);
    }

    /// Whether a name that is not known is that of something that could not be made.
    pub(crate) fn is_lost(&self, name: &str) -> bool {
        self.lost().has(name)
    }

    /// What was found wrong so far.
    pub(crate) fn found(&self) -> MutexGuard<'_, Vec<Diagnostic>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn report(&self, diagnostic: Diagnostic) {
        self.found().push(diagnostic);
    }

    /// The expression `sql` over `schema`; `None` if something is wrong, which is then reported.
    pub(crate) fn expr(&self, sql: &Sql, schema: &DFSchema, scope: &Scope, grain: Grain) -> Option<Expr> {
        self.keyed_expr(sql, schema, scope, grain, None)
    }

    /// The same, for aggregates over a table with this key.
    pub(crate) fn keyed_expr(
        &self,
        sql: &Sql,
        schema: &DFSchema,
        scope: &Scope,
        grain: Grain,
        key: Option<&[String]>,
    ) -> Option<Expr> {
        let mut tree = self.read(sql, parse::expr)?;
        self.permit(allowed::expr(sql, &tree))?;
        self.rewrite(sql, Some(scope), key, |r| r.expr(&mut tree))?;
        let expr = self.lower(sql, tree, schema)?;
        self.check_grain(sql, &expr, schema, grain)?;
        Some(expr)
    }

    /// An order over `schema`: (expression, descending).
    pub(crate) fn order(&self, sql: &Sql, schema: &DFSchema, scope: &Scope) -> Option<Vec<(Expr, bool)>> {
        let order = self.read(sql, parse::order)?;
        let mut out = vec![];
        for mut item in order {
            self.permit(allowed::expr(sql, &item.expr))?;
            self.rewrite(sql, Some(scope), None, |r| r.expr(&mut item.expr))?;
            out.push((self.lower(sql, item.expr, schema)?, item.options.asc == Some(false)));
        }
        Some(out)
    }

    /// The plan of a SELECT over the declared relations, each standing as a scan of a bucket table of its name.
    pub(crate) fn query(&self, sql: &Sql) -> Option<LogicalPlan> {
        let mut query = self.read(sql, parse::query)?;
        self.permit(allowed::query(sql, &query))?;
        self.rewrite(sql, None, None, |r| r.query(&mut query))?;
        let planner = SqlToRel::new_with_options(&self.names, options());
        let plan = planner.sql_statement_to_plan(ast::Statement::Query(Box::new(query)));
        let plan = plan.and_then(|p| self.exact_plan(p));
        plan.map_err(|e| self.report_of(sql, &e)).ok()
    }

    /// The tree of a text. One that the file's own errors left empty is passed over.
    pub(crate) fn read<T>(&self, sql: &Sql, parse: impl FnOnce(&Sql) -> std::result::Result<T, Diagnostic>) -> Option<T> {
        if sql.text.trim().is_empty() {
            return None;
        }
        parse(sql).map_err(|d| self.report(d)).ok()
    }

    /// Reports what DataFusion says, unless it is of a name that could not be made.
    fn report_of(&self, sql: &Sql, error: &DataFusionError) {
        if let DataFusionError::SchemaError(schema, _) = error.find_root()
            && let SchemaError::FieldNotFound { field, .. } = schema.as_ref()
            && (self.is_lost(&field.name) || field.relation.as_ref().is_some_and(|r| self.is_lost(r.table())))
        {
            return;
        }
        self.report(explain(sql, error));
    }

    fn permit(&self, refused: Vec<Diagnostic>) -> Option<()> {
        let clean = refused.is_empty();
        self.found().extend(refused);
        clean.then_some(())
    }

    fn rewrite(&self, sql: &Sql, scope: Option<&Scope>, key: Option<&[String]>, f: impl FnOnce(&mut Rewrite)) -> Option<()> {
        let lost = self.lost();
        let mut rewrite =
            Rewrite { sql, clock: &self.clock, names: &self.names, scope, key, lost: &lost, found: vec![], given_up: false };
        f(&mut rewrite);
        let clean = rewrite.found.is_empty() && !rewrite.given_up;
        self.found().extend(rewrite.found);
        clean.then_some(())
    }

    fn lower(&self, sql: &Sql, tree: ast::Expr, schema: &DFSchema) -> Option<Expr> {
        let planner = SqlToRel::new_with_options(&self.names, options());
        let expr = planner.sql_to_expr(tree, schema, &mut PlannerContext::new());
        let expr = expr.and_then(|e| self.exact(e, schema));
        // Asking for the type finds operands that do not fit, with no data at hand.
        let typed = expr.and_then(|e| e.get_type(schema).map(|_| e));
        typed.map_err(|e| self.report_of(sql, &e)).ok()
    }

    fn check_grain(&self, sql: &Sql, expr: &Expr, schema: &DFSchema, grain: Grain) -> Option<()> {
        let aggregates = expr.exists(|e| Ok(matches!(e, Expr::AggregateFunction(_)))).unwrap_or(false);
        let wrong = match grain {
            Grain::Row if aggregates => {
                Some(("this sees one row, so it cannot aggregate", "move it into a block `from:` the table whose rows it counts"))
            }
            Grain::Aggregate if !aggregates || bare_column(expr) => Some((
                "many rows become one here, so every column must stand inside an aggregate",
                "write e.g. `max(x)`, `total(x)` or `first(x order by …)`",
            )),
            _ => None,
        };
        let _ = schema;
        match wrong {
            None => Some(()),
            Some((message, help)) => {
                self.report(Diagnostic::error(codes::AGGREGATE_MISPLACED, sql.span, message).help(help));
                None
            }
        }
    }

    /// The same value, whatever the order of rows: float sums, means and variances by exact accumulators; days in the pipeline's zone.
    pub(crate) fn exact(&self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        Ok(expr.transform_up(|e| self.exact_one(e, schema))?.data)
    }

    fn exact_one(&self, expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        match expr {
            Expr::AggregateFunction(f) => {
                let argument = f.params.args.first().map(|a| a.get_type(schema)).transpose()?;
                match exact_name(f.func.name(), argument.as_ref()) {
                    None => Ok(Transformed::no(Expr::AggregateFunction(f))),
                    Some(name) => {
                        let func = self.names.aggregate(name)?;
                        Ok(Transformed::yes(Expr::AggregateFunction(AggregateFunction { func, ..f })))
                    }
                }
            }
            // In UTC too: whole days are counted there without going through a calendar.
            Expr::Cast(c) if c.field.data_type() == &DataType::Date32 => match c.expr.get_type(schema)? {
                DataType::Timestamp(_, _) => {
                    let zone = lit(self.clock.timezone.name());
                    Ok(Transformed::yes(self.names.scalar("local_date")?.call(vec![*c.expr, zone])))
                }
                _ => Ok(Transformed::no(Expr::Cast(c))),
            },
            Expr::ScalarFunction(f)
                if !self.clock.is_utc()
                    && ["date_part", "date_trunc", "date_bin", "to_char"].contains(&f.func.name())
                    && f.args.iter().any(|a| matches!(a.get_type(schema), Ok(DataType::Timestamp(_, _)))) =>
            {
                plan_err!("`{}` of a time stamp would count in UTC", f.func.name())
            }
            other => Ok(Transformed::no(other)),
        }
    }

    fn exact_plan(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let exact = plan.transform_up_with_subqueries(|node| {
            let mut schema = DFSchema::empty();
            for input in node.inputs() {
                schema.merge(input.schema());
            }
            let preserve = NamePreserver::new(&node);
            node.map_expressions(|e| {
                let saved = preserve.save(&e);
                e.transform_up(|e| self.exact_one(e, &schema)).map(|t| t.update_data(|e| saved.restore(e)))
            })
        })?;
        exact.data.recompute_schema()
    }
}

/// Our exact aggregate in place of DataFusion's, where the argument's type needs one.
fn exact_name(name: &str, argument: Option<&DataType>) -> Option<&'static str> {
    let float = matches!(argument, Some(DataType::Float64 | DataType::Float32 | DataType::Float16));
    let decimal = matches!(argument, Some(DataType::Decimal128(_, _) | DataType::Decimal256(_, _)));
    match name {
        "sum" if float => Some("exact_sum"),
        "avg" if !decimal => Some("exact_mean"),
        "stddev" | "stddev_samp" => Some("exact_stddev_samp"),
        "stddev_pop" => Some("exact_stddev_pop"),
        "var" | "var_samp" | "var_sample" => Some("exact_var_samp"),
        "var_pop" | "var_population" => Some("exact_var_pop"),
        _ => None,
    }
}

/// A column outside every aggregate.
fn bare_column(expr: &Expr) -> bool {
    match expr {
        Expr::AggregateFunction(_) => false,
        Expr::Column(_) => true,
        other => {
            let mut found = false;
            let _ = other.apply_children(|child| {
                found |= bare_column(child);
                Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
            });
            found
        }
    }
}

fn options() -> ParserOptions {
    ParserOptions {
        enable_ident_normalization: false,
        collect_spans: true,
        map_string_types_to_utf8view: false,
        ..ParserOptions::default()
    }
}

/// What the planner says, at its place in the user's file.
pub(crate) fn explain(sql: &Sql, error: &DataFusionError) -> Diagnostic {
    let span = error.diagnostic().and_then(|d| d.span).map_or(sql.span, |s| {
        sql.span_at(s.start.line as usize, s.start.column as usize, (s.end.column.saturating_sub(s.start.column)) as usize)
    });
    if let DataFusionError::SchemaError(schema, _) = error.find_root() {
        return match schema.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let known: Vec<&str> = valid_fields.iter().map(|f| f.name.as_str()).collect();
                let help = match strata_spec::diagnostic::did_you_mean(&field.name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("columns that can be seen here: {}", known.join(", ")),
                };
                Diagnostic::error(codes::UNKNOWN_COLUMN, span, format!("there is no column `{}`", field.flat_name())).help(help)
            }
            other => Diagnostic::error(codes::UNKNOWN_COLUMN, span, other.to_string().to_lowercase())
                .help("write `table.column` to say which one"),
        };
    }
    let text = error.find_root().strip_backtrace();
    let text = text.trim_start_matches("Error during planning: ").trim_start_matches("This feature is not implemented: ");
    if text.contains("would count in UTC") {
        return Diagnostic::error(codes::TIMEZONE, span, text.to_owned())
            .help("use `hour(ts)`, `isodow(ts)`, `daypart(ts)` or `cast(ts as date)`, which count in the pipeline's time zone");
    }
    let of_types = |text: String| Diagnostic::error(codes::TYPE, span, text);
    if let Some((message, help)) = no_such_arguments(text) {
        return of_types(message).help(help);
    }
    if text.contains("comparison operation") && (text.contains("Timestamp(") || text.contains("Date32")) && text.contains("Int64")
    {
        return of_types(text.to_owned())
            .help("write a day as `date '2017-06-01'`: without quotes it is a subtraction; `as_of - 30d` is an instant");
    }
    let (times, arithmetic) = (text.contains("Timestamp(") || text.contains("Date32"), text.contains("arithmetic expression"));
    of_types(text.to_owned()).help(match times && arithmetic {
        true => "`days_since(x)` counts the days up to `as_of`; a time earlier is `x - interval '3 days'`, days between are `cast(x as date) - cast(y as date)`",
        false => "`cast(x as double)`, `cast(x as bigint)` or `cast(x as date)` converts",
    })
}

/// What DataFusion says, at length and as a fault of its own, of a function that does not take what it is given.
fn no_such_arguments(text: &str) -> Option<(String, String)> {
    let (_, call) = text.split_once("No function matches the given name and argument types '")?;
    let (call, rest) = call.split_once('\'')?;
    let (name, given) = call.strip_suffix(')')?.split_once('(')?;
    let candidates = rest.split_once("Candidate functions:").map_or("", |(_, list)| list);
    let lines = candidates.lines().map(|line| line.trim().to_lowercase()).filter(|line| line.starts_with(&name.to_lowercase()));
    let takes: Vec<String> = lines.map(|line| format!("`{line}`")).collect();
    let given = if given.is_empty() { "nothing".to_owned() } else { given.replace("Utf8", "a text") };
    let help = match takes.is_empty() {
        true => "`cast(x as double)`, `cast(x as bigint)` or `cast(x as date)` converts".to_owned(),
        false => format!("it takes {}; `cast(x as double)` or `cast(x as bigint)` converts", takes.join(", ")),
    };
    Some((format!("`{name}` does not take {given}"), help))
}

/// Whether the aggregate of no rows is 0 rather than null.
pub(crate) fn counts(f: &AggregateFunction) -> bool {
    matches!(f.func.name(), "count" | "count_distinct")
}

/// `expr` as a double. Errors: `Plan` for what is neither a number nor a truth value.
pub(crate) fn double(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    match expr.get_type(schema)? {
        DataType::Float64 => Ok(expr),
        number if number.is_numeric() || matches!(number, DataType::Boolean | DataType::Null) => {
            Ok(cast(expr, DataType::Float64))
        }
        other => plan_err!("this is to be a number, and is {other}"),
    }
}

/// Names of the aggregates in an expression, each once, in the order they stand.
pub(crate) fn aggregates(expr: &Expr) -> Vec<AggregateFunction> {
    datafusion::logical_expr::utils::find_aggregate_exprs([expr])
        .into_iter()
        .filter_map(|e| match e {
            Expr::AggregateFunction(f) => Some(f),
            _ => None,
        })
        .collect()
}
