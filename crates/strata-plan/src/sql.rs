//! SQL text → syntax trees with the language's own words replaced (`total`, `first(.. order by ..)`, `/` as a double, `as_of`).
//! Never resolves a type.

use crate::clock::Clock;
use crate::codes;
use crate::names::Names;
use crate::scope::Scope;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, OrderByExpr, Query, Statement, Value,
    ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::DuckDbDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use strata_spec::diagnostic::did_you_mean;
use strata_spec::{Diagnostic, Span, Sql};

/// Operators an expression may have.
const OPERATORS_MAX: usize = 500;
/// Bytes an SQL text may have.
const BYTES_MAX: usize = 64 * 1024;
/// Brackets that may be open at once: the parser tries what it cannot read again and again, twice as often with each.
const DEPTH_MAX: usize = 40;

/// Words that make the tree deeper.
const OPERATOR_WORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "xor",
    "union",
    "intersect",
    "except",
    "case",
    "between",
    "is",
    "isnull",
    "notnull",
    "like",
    "ilike",
    "similar",
    "rlike",
    "regexp",
    "glob",
    "in",
    "any",
    "all",
    "interval",
    "collate",
    "at",
    "join",
    "select",
    "date",
    "time",
    "timestamp",
    "prior",
];

/// What rewriting needs to know.
pub(crate) struct Rewrite<'a> {
    pub(crate) sql: &'a Sql,
    pub(crate) clock: &'a Clock,
    pub(crate) names: &'a Names,
    /// Names that can be seen; `None` inside a SELECT, where SQL's own rules hold.
    pub(crate) scope: Option<&'a Scope>,
    /// Columns that `first`'s order must hold; `None` where the table has no declared key.
    pub(crate) key: Option<&'a [String]>,
    pub(crate) found: Vec<Diagnostic>,
}

/// The expression of `sql`, still in the user's words.
pub(crate) fn parse_expr(sql: &Sql) -> Result<Expr, Diagnostic> {
    let tokens = tokens(sql)?;
    let mut parser = Parser::new(&DuckDbDialect {}).with_tokens_with_locations(tokens);
    let expr = parser.parse_expr().map_err(|e| syntax(sql, &e))?;
    ended(sql, &parser).map(|()| expr)
}

fn ended(sql: &Sql, parser: &Parser) -> Result<(), Diagnostic> {
    match parser.peek_token().token {
        Token::EOF => Ok(()),
        other => {
            let at = parser.peek_token().span.start;
            let span = sql.span_at(at.line as usize, at.column as usize, other.to_string().len());
            Err(Diagnostic::error(codes::SQL_SYNTAX, span, format!("the expression ends before `{other}`"))
                .help("one expression is expected here; quote the whole text if YAML cut it short"))
        }
    }
}

/// The ordering `a desc, b` of `sql`.
pub(crate) fn parse_order(sql: &Sql) -> Result<Vec<OrderByExpr>, Diagnostic> {
    let tokens = tokens(sql)?;
    let mut parser = Parser::new(&DuckDbDialect {}).with_tokens_with_locations(tokens);
    let order = parser.parse_comma_separated(Parser::parse_order_by_expr).map_err(|e| syntax(sql, &e))?;
    ended(sql, &parser).map(|()| order)
}

/// The SELECT of `sql`, still in the user's words.
pub(crate) fn parse_query(sql: &Sql) -> Result<Query, Diagnostic> {
    let tokens = tokens(sql)?;
    let mut parser = Parser::new(&DuckDbDialect {}).with_tokens_with_locations(tokens);
    let mut statements = parser.parse_statements().map_err(|e| syntax(sql, &e))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => Ok(*query),
        _ => Err(Diagnostic::error(codes::NOT_ALLOWED, sql.span, "a table's `sql:` must be one SELECT")
            .help("write one `select … from …`; other statements are not allowed in a pipeline")),
    }
}

fn tokens(sql: &Sql) -> Result<Vec<TokenWithSpan>, Diagnostic> {
    let too_large = || {
        Diagnostic::error(codes::TOO_LARGE, sql.span, "this SQL is too large").help(format!(
            "at most {OPERATORS_MAX} operators, {DEPTH_MAX} brackets in one another and {BYTES_MAX} bytes; put parts of it into attributes or tables of their own"
        ))
    };
    if sql.text.len() > BYTES_MAX {
        return Err(too_large());
    }
    let text = own_words(&sql.text);
    let mut out = vec![];
    Tokenizer::new(&DuckDbDialect {}, &text).tokenize_with_location_into_buf(&mut out).map_err(|e| {
        let span = sql.span_at(e.location.line as usize, e.location.column as usize, 1);
        Diagnostic::error(codes::SQL_SYNTAX, span, format!("cannot read the SQL: {}", e.message.to_lowercase()))
    })?;
    let operators = out.iter().filter(|t| is_operator(&t.token)).count();
    match operators > OPERATORS_MAX || depth(&out) > DEPTH_MAX {
        true => Err(too_large()),
        false => Ok(out),
    }
}

/// Whether a token can make the tree deeper. A chain of any such is a tree as deep as it is long, and what walks it does so on the stack.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(w) => OPERATOR_WORDS.iter().any(|k| w.value.eq_ignore_ascii_case(k)),
        Token::Number(..)
        | Token::Char(_)
        | Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::SemiColon
        | Token::EOF => false,
        Token::RParen | Token::RBracket | Token::RBrace => false,
        other => !is_string(other),
    }
}

fn is_string(token: &Token) -> bool {
    use Token::{DollarQuotedString, EscapedStringLiteral, HexStringLiteral, NationalStringLiteral};
    matches!(
        token,
        Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | DollarQuotedString(_)
            | EscapedStringLiteral(_)
            | HexStringLiteral(_)
            | NationalStringLiteral(_)
    )
}

/// The most brackets that are open at once.
fn depth(tokens: &[TokenWithSpan]) -> usize {
    let (mut open, mut most) = (0usize, 0);
    for t in tokens {
        match t.token {
            Token::LParen | Token::LBracket | Token::LBrace => open += 1,
            Token::RParen | Token::RBracket | Token::RBrace => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// `q1..q12` → `q1||q12` and `as_of - 7d` → `as_of - interval '7 day'`: the two things of ours that SQL cannot read.
fn own_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quote = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '.') if rest.starts_with("..") => {
                out.push_str("||");
                rest = &rest[2..];
                continue;
            }
            (None, 'a' | 'A') if !out.ends_with(|p: char| p.is_alphanumeric() || p == '_' || p == '.') => {
                if let Some((sql, len)) = as_of_distance(rest) {
                    out.push_str(&sql);
                    rest = &rest[len..];
                    continue;
                }
            }
            _ => {}
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// `as_of - 7d` at the start of `text` as SQL, and how many bytes of `text` it covers.
fn as_of_distance(text: &str) -> Option<(String, usize)> {
    let after = text.get(..5).filter(|w| w.eq_ignore_ascii_case("as_of")).map(|_| &text[5..])?;
    let sign_at = after.trim_start();
    let sign = sign_at.chars().next().filter(|c| matches!(c, '-' | '+'))?;
    let number_at = sign_at[1..].trim_start();
    let digits = number_at.chars().take_while(char::is_ascii_digit).count();
    let unit: String = number_at[digits..].chars().take_while(char::is_ascii_alphabetic).collect();
    let word = match unit.as_str() {
        "d" => "day",
        "h" => "hour",
        "mo" => "month",
        "w" => "week",
        "min" => "minute",
        _ => return None,
    };
    if digits == 0 {
        return None;
    }
    let len = text.len() - number_at.len() + digits + unit.len();
    Some((format!("as_of {sign} interval '{} {word}'", &number_at[..digits]), len))
}

fn syntax(sql: &Sql, error: &ParserError) -> Diagnostic {
    let text = match error {
        ParserError::TokenizerError(t) | ParserError::ParserError(t) => t.clone(),
        ParserError::RecursionLimitExceeded => "it is nested too deeply".to_owned(),
    };
    let (message, at) = match text.rsplit_once(" at Line: ") {
        Some((m, at)) => (m.to_owned(), at.split_once(", Column: ")),
        None => (text.clone(), None),
    };
    let place = at.and_then(|(l, c)| Some((l.trim().parse().ok()?, c.trim().parse().ok()?)));
    let span = place.map_or(sql.span, |(l, c): (usize, usize)| sql.span_at(l, c, 1));
    Diagnostic::error(
        codes::SQL_SYNTAX,
        span,
        format!("cannot read the SQL: {}", message.trim_start_matches("sql parser error: ")),
    )
    .help("mend the text at the mark; put the whole text in quotes or under `|` if YAML cut it short")
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
            Err((ident, message, help)) => {
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
                let help = match near {
                    Some(n) => format!("did you mean `{n}`?"),
                    None => "see the list of functions in the language's documentation".to_owned(),
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
                    if self.names.schema(&word).is_none() && !self.is_cte(&word) {
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

/// Every word of an SQL text: enough to see which tables it may read.
pub(crate) fn words(sql: &Sql) -> BTreeSet<String> {
    match tokens(sql) {
        Ok(tokens) => tokens
            .into_iter()
            .filter_map(|t| match t.token {
                Token::Word(w) => Some(w.value),
                _ => None,
            })
            .collect(),
        Err(_) => BTreeSet::new(),
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
