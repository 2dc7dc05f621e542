//! SQL text → syntax trees with the language's own words replaced (`total`, `first(.. order by ..)`, `/` as a double, `as_of`).
//! Never resolves a type.

use crate::clock::Clock;
use crate::codes;
use crate::habits;
use crate::names::Names;
use crate::parse;
use crate::scope::Scope;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, OrderByExpr, Query, Value, ValueWithSpan,
    VisitMut, VisitorMut,
};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use strata_spec::diagnostic::did_you_mean;
use strata_spec::{Diagnostic, Lost, Span, Sql};

/// What rewriting needs to know.
pub(crate) struct Rewrite<'a> {
    pub(crate) sql: &'a Sql,
    pub(crate) clock: &'a Clock,
    pub(crate) names: &'a Names,
    /// Names that can be seen; `None` inside a SELECT, where SQL's own rules hold.
    pub(crate) scope: Option<&'a Scope>,
    /// Columns that `first`'s order must hold; `None` where the table has no declared key.
    pub(crate) key: Option<&'a [String]>,
    /// Names of what could not be made.
    pub(crate) lost: &'a Lost,
    pub(crate) found: Vec<Diagnostic>,
    /// Whether it uses any of those.
    pub(crate) given_up: bool,
}

impl Rewrite<'_> {
    /// Replaces our words everywhere in an expression.
    pub(crate) fn expr(&mut self, expr: &mut Expr) {
        let _ = expr.visit(self);
    }

    /// Replaces our words everywhere in a SELECT.
    pub(crate) fn query(&mut self, query: &mut Query) {
        let _ = query.visit(self);
    }

    fn error(&mut self, code: strata_spec::Code, span: Span, message: String, help: String) {
        self.found.push(Diagnostic::error(code, span, message).help(help));
    }

    fn span_of(&self, ident: &Ident) -> Span {
        let at = ident.span.start;
        self.sql.span_at(at.line as usize, at.column as usize, ident.value.len())
    }

    fn resolve(&mut self, expr: &mut Expr) {
        let Some(scope) = self.scope else {
            if let Expr::Identifier(ident) = expr
                && ident.value.eq_ignore_ascii_case("as_of")
            {
                *expr = self.as_of();
            }
            return;
        };
        let resolved = match expr {
            Expr::Identifier(ident) if ident.value.eq_ignore_ascii_case("as_of") => Ok(self.as_of()),
            Expr::Identifier(ident) => scope.bare(ident),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] => scope.qualified(table, column),
                _ => return,
            },
            _ => return,
        };
        match resolved {
            Ok(found) => *expr = found,
            Err((ident, ..)) if self.lost.has(&ident.value) => self.given_up = true,
            Err((ident, message, help)) => {
                let many =
                    matches!(&*expr, Expr::CompoundIdentifier(parts) if parts.first().is_some_and(|t| t.value == ident.value));
                let help = match many && self.names.schema(&ident.value).is_some() && !help.starts_with("attributes and segments")
                {
                    true => format!(
                        "aggregate its rows in a block `- from: {0}`, or look them up by key: `references:` of the source that is read here",
                        ident.value
                    ),
                    false => help,
                };
                let span = self.span_of(&ident);
                self.error(codes::UNKNOWN_COLUMN, span, message, help);
            }
        }
    }

    fn as_of(&self) -> Expr {
        cast_to(
            string(&self.clock.as_of.naive_utc().format("%Y-%m-%dT%H:%M:%S%.6f").to_string()),
            DataType::Timestamp(None, ast::TimezoneInfo::None),
        )
    }

    fn today(&self) -> Expr {
        cast_to(string(&self.clock.day().to_string()), DataType::Date)
    }

    fn zone(&self) -> Expr {
        string(self.clock.timezone.name())
    }

    fn function(&mut self, f: &mut Function) -> Option<Expr> {
        let name = f.name.to_string().to_lowercase();
        let ident = match f.name.0.as_slice() {
            [ObjectNamePart::Identifier(i)] => i.clone(),
            _ => Ident::new(name.clone()),
        };
        if !self.names.knows_function(&name) {
            self.unknown_function(&name, &ident);
            return None;
        }
        let args = arguments(f);
        match (name.as_str(), args.len()) {
            ("total", 1) => Some(total(f)),
            ("count", 1) if is_distinct(f) => Some(renamed(f, "count_distinct")),
            ("mode", 0) if f.within_group.len() == 1 => {
                let of = f.within_group[0].expr.clone();
                let mut new = renamed_function(f, "mode_of", vec![of]);
                new.within_group = vec![];
                Some(Expr::Function(new))
            }
            ("first", 1) => self.first(f, &ident, args),
            ("avg" | "mean", 1) if f.over.is_none() => Some(renamed(f, "avg")),
            ("days_since", 1) => {
                let day = call("local_date", vec![args[0].clone(), self.zone()]);
                Some(call("days_between", vec![day, self.today()]))
            }
            ("age_years", 1) => Some(call("age_years", vec![args[0].clone(), self.today()])),
            ("hour", 1) => Some(call("local_hour", vec![args[0].clone(), self.zone()])),
            ("isodow", 1) => Some(call("local_isodow", vec![args[0].clone(), self.zone()])),
            ("daypart", 1) => Some(call("daypart", vec![call("local_hour", vec![args[0].clone(), self.zone()])])),
            ("row_sum" | "row_count", _) => self.row(&name, &ident, &args),
            ("total" | "first" | "mode" | "days_since" | "age_years" | "hour" | "isodow" | "daypart", n) => {
                let span = self.span_of(&ident);
                self.error(codes::SQL_SYNTAX, span, format!("`{name}` does not take {n} arguments"), usage(&name).to_owned());
                None
            }
            _ => None,
        }
    }

    fn unknown_function(&mut self, name: &str, ident: &Ident) {
        let span = self.span_of(ident);
        let (message, help) = match name {
            "now" | "current_date" | "current_timestamp" | "current_time" | "today" | "localtimestamp" => (
                format!("`{name}` reads the machine's clock, so two runs would differ"),
                "write `as_of`, the pipeline's only clock".to_owned(),
            ),
            "random" | "rand" | "uuid" | "gen_random_uuid" => (
                format!("`{name}` gives another result in every run"),
                "order by `md5('…' || key)` or leave the order to the permanent random number".to_owned(),
            ),
            _ => {
                let near = did_you_mean(name, self.names.function_names());
                let help = match (habits::of_function(name), near) {
                    (Some(habit), _) => habit.to_owned(),
                    (None, Some(n)) => format!("did you mean `{n}`?"),
                    (None, None) => "see the list of functions in the language's documentation".to_owned(),
                };
                (format!("there is no function `{name}`"), help)
            }
        };
        self.error(codes::UNKNOWN_FUNCTION, span, message, help);
    }

    /// `first(x order by a desc, b)` → `first_by(x, a, b, 'dl,al')`.
    fn first(&mut self, f: &Function, ident: &Ident, args: Vec<Expr>) -> Option<Expr> {
        let order = order_by(f);
        let span = self.span_of(ident);
        if order.is_empty() {
            self.error(codes::NO_TOTAL_ORDER, span, "`first` has no order".into(), usage("first").to_owned());
            return None;
        }
        let named: Vec<String> = order.iter().filter_map(|o| last_name(&o.expr)).collect();
        match self.key {
            None if !self.lost.is_empty() => self.given_up = true,
            None => self.error(
                codes::NO_TOTAL_ORDER,
                span,
                "`first` needs a table with a declared `key`, so that its order can be checked".into(),
                "declare `key:` on the source or table of this block".into(),
            ),
            Some(key) => {
                let missing: Vec<&String> = key.iter().filter(|k| !named.contains(k)).collect();
                if !missing.is_empty() {
                    let list = missing.iter().map(|k| k.as_str()).collect::<Vec<_>>().join(", ");
                    self.error(
                        codes::NO_TOTAL_ORDER,
                        span,
                        "`first` could pick one row or another: its order leaves ties".into(),
                        format!("add the rest of the table's key at the end: `… , {list}`"),
                    );
                }
            }
        }
        let spec: Vec<String> = order
            .iter()
            .map(|o| {
                let descending = o.options.asc == Some(false);
                let nulls_first = o.options.nulls_first.unwrap_or(false);
                format!("{}{}", if descending { 'd' } else { 'a' }, if nulls_first { 'f' } else { 'l' })
            })
            .collect();
        let mut new_args = args;
        new_args.extend(order.into_iter().map(|o| o.expr));
        new_args.push(string(&spec.join(",")));
        Some(Expr::Function(renamed_function(f, "first_by", new_args)))
    }

    /// `row_sum(q1..q12)`: the columns from the one to the other in the table's order, nulls skipped.
    fn row(&mut self, name: &str, ident: &Ident, args: &[Expr]) -> Option<Expr> {
        let span = self.span_of(ident);
        let mut columns = vec![];
        for arg in args {
            match arg {
                Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right } => {
                    let range = match (last_name(left), last_name(right), self.scope) {
                        (Some(from), Some(to), Some(scope)) => scope.range(&from, &to),
                        _ => None,
                    };
                    match range {
                        Some(range) => columns.extend(range),
                        None if !self.lost.is_empty() => {
                            self.given_up = true;
                            return None;
                        }
                        None => {
                            self.error(
                                codes::UNKNOWN_COLUMN,
                                span,
                                format!("`{name}` names a range of columns that is not there"),
                                "write `first_column..last_column` in the order the table has them".into(),
                            );
                            return None;
                        }
                    }
                }
                other => columns.push(other.clone()),
            }
        }
        let term = |c: Expr| match name {
            "row_sum" => call("coalesce", vec![cast_to(c, DataType::BigInt(None)), number("0")]),
            _ => Expr::Case {
                case_token: ast::helpers::attached_token::AttachedToken::empty(),
                end_token: ast::helpers::attached_token::AttachedToken::empty(),
                operand: None,
                conditions: vec![ast::CaseWhen { condition: Expr::IsNull(Box::new(c)), result: number("0") }],
                else_result: Some(Box::new(number("1"))),
            },
        };
        let sum = columns.into_iter().map(term).reduce(|a, b| Expr::BinaryOp {
            left: Box::new(a),
            op: BinaryOperator::Plus,
            right: Box::new(b),
        });
        sum.map(|s| Expr::Nested(Box::new(s)))
    }
}

impl VisitorMut for Rewrite<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => self.resolve(expr),
            Expr::Function(f) => {
                if let Some(new) = self.function(f) {
                    *expr = new;
                }
            }
            Expr::BinaryOp { left, op: op @ BinaryOperator::Divide, right } => {
                let (l, r) = (left.as_ref().clone(), right.as_ref().clone());
                **left = cast_to(l, DataType::Double(ast::ExactNumberInfo::None));
                let divisor = cast_to(r.clone(), DataType::Double(ast::ExactNumberInfo::None));
                let safe = matches!(&r, Expr::Value(v) if v.to_string().parse::<f64>().is_ok_and(|n| n != 0.0));
                **right = if safe {
                    divisor
                } else {
                    call("nullif", vec![divisor, cast_to(number("0"), DataType::Double(ast::ExactNumberInfo::None))])
                };
                *op = BinaryOperator::Divide;
            }
            Expr::BinaryOp { op: op @ BinaryOperator::DuckIntegerDivide, right, .. } => {
                let r = right.as_ref().clone();
                **right = call("nullif", vec![r, number("0")]);
                *op = BinaryOperator::Divide;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut ast::TableFactor) -> ControlFlow<()> {
        let allowed = match table {
            ast::TableFactor::Table { args: None, name, .. } => {
                if let Some(ObjectNamePart::Identifier(i)) = name.0.last() {
                    let word = name.to_string().trim_matches('"').to_owned();
                    let is_known = self.names.schema(&word).is_some() || self.is_cte(&word);
                    if !is_known && self.lost.has(&word) {
                        self.given_up = true;
                    } else if !is_known {
                        let span = self.span_of(i);
                        let near = did_you_mean(&word, self.names.relations());
                        let help = near.map_or_else(
                            || format!("declared are: {}", self.names.relations().collect::<Vec<_>>().join(", ")),
                            |n| format!("did you mean `{n}`?"),
                        );
                        self.error(codes::UNKNOWN_COLUMN, span, format!("there is no source or table `{word}`"), help);
                    }
                }
                true
            }
            ast::TableFactor::Derived { .. } | ast::TableFactor::NestedJoin { .. } => true,
            _ => false,
        };
        if !allowed {
            let span = self.sql.span;
            self.error(
                codes::NOT_ALLOWED,
                span,
                "only sources, tables and subqueries can stand after FROM".into(),
                "declare the data under `sources:` and name it here".into(),
            );
        }
        ControlFlow::Continue(())
    }
}

impl Rewrite<'_> {
    fn is_cte(&self, word: &str) -> bool {
        // Names of WITH are in the text; SQL planning reports the ones that are not.
        let lower = self.sql.text.to_lowercase();
        let word = word.to_lowercase();
        lower.contains("with ") && (lower.contains(&format!("{word} as")) || lower.contains(&format!("{word}(")))
    }
}

/// Every bare and qualified name in an expression, as (qualifier, name); nothing inside subqueries is left out.
pub(crate) fn names_in(expr: &Expr) -> Vec<(Option<String>, String)> {
    let mut out = vec![];
    let _ = ast::visit_expressions(expr, |e| {
        match e {
            Expr::Identifier(i) => out.push((None, i.value.clone())),
            Expr::CompoundIdentifier(parts) => {
                if let [table, column] = parts.as_slice() {
                    out.push((Some(table.value.clone()), column.value.clone()));
                }
            }
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    out
}

/// Every source and table that a SELECT reads; none if it cannot be read. Names that its own `with` gives are not among them.
pub(crate) fn relations(sql: &Sql) -> BTreeSet<String> {
    let Ok(query) = parse::query(sql) else { return BTreeSet::new() };
    let mut found = Relations::default();
    let _ = ast::Visit::visit(&query, &mut found);
    found.named.retain(|name| !found.own.contains(name));
    found.named
}

#[derive(Default)]
struct Relations {
    named: BTreeSet<String>,
    own: BTreeSet<String>,
}

impl ast::Visitor for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let with = query.with.iter().flat_map(|w| &w.cte_tables);
        self.own.extend(with.map(|cte| cte.alias.name.value.clone()));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        if let [ObjectNamePart::Identifier(i)] = name.0.as_slice() {
            self.named.insert(i.value.clone());
        }
        ControlFlow::Continue(())
    }
}

fn usage(name: &str) -> &'static str {
    match name {
        "first" => "write `first(x order by a desc, rest_of_key)`",
        "mode" => "write `mode() within group (order by x)`",
        "total" => "write `total(x)`: the sum, 0 where there is nothing",
        _ => "it takes one argument",
    }
}

fn arguments(f: &Function) -> Vec<Expr> {
    match &f.args {
        FunctionArguments::List(list) => list
            .args
            .iter()
            .filter_map(|a| match a {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
                _ => None,
            })
            .collect(),
        _ => vec![],
    }
}

fn order_by(f: &Function) -> Vec<OrderByExpr> {
    match &f.args {
        FunctionArguments::List(list) => list
            .clauses
            .iter()
            .find_map(|c| match c {
                FunctionArgumentClause::OrderBy(o) => Some(o.clone()),
                _ => None,
            })
            .unwrap_or_default(),
        _ => vec![],
    }
}

fn is_distinct(f: &Function) -> bool {
    matches!(&f.args, FunctionArguments::List(l) if l.duplicate_treatment == Some(DuplicateTreatment::Distinct))
        && f.over.is_none()
}

fn renamed_function(f: &Function, name: &str, args: Vec<Expr>) -> Function {
    Function { name: object(name), args: list(args), ..f.clone() }
}

fn renamed(f: &Function, name: &str) -> Expr {
    Expr::Function(renamed_function(f, name, arguments(f)))
}

fn total(f: &Function) -> Expr {
    call("coalesce", vec![renamed(f, "sum"), number("0")])
}

fn object(name: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))])
}

fn list(args: Vec<Expr>) -> FunctionArguments {
    FunctionArguments::List(FunctionArgumentList {
        duplicate_treatment: None,
        args: args.into_iter().map(|a| FunctionArg::Unnamed(FunctionArgExpr::Expr(a))).collect(),
        clauses: vec![],
    })
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: object(name),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: list(args),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

fn value(v: Value) -> Expr {
    Expr::Value(ValueWithSpan { value: v, span: datafusion::sql::sqlparser::tokenizer::Span::empty() })
}

fn string(text: &str) -> Expr {
    value(Value::SingleQuotedString(text.to_owned()))
}

fn number(text: &str) -> Expr {
    value(Value::Number(text.to_owned(), false))
}

fn cast_to(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: ast::CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn last_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(i) => Some(i.value.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|i| i.value.clone()),
        Expr::Nested(e) => last_name(e),
        _ => None,
    }
}
