//! SQL text → syntax trees as they are written, within limits on their size. Never replaces a word.

use crate::{codes, habits};
use datafusion::sql::sqlparser::ast::{Expr, OrderByExpr, Query, Statement};
use datafusion::sql::sqlparser::dialect::DuckDbDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use strata_spec::{Diagnostic, Sql};
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

/// The expression of `sql`, still in the user's words.
pub(crate) fn expr(sql: &Sql) -> Result<Expr, Diagnostic> {
    let tokens = tokens(sql)?;
    let mut parser = Parser::new(&DuckDbDialect {}).with_tokens_with_locations(tokens);
    let expr = parser.parse_expr().map_err(|e| syntax(sql, &e, habits::of_expression(&sql.text)))?;
    ended(sql, &parser).map(|()| expr)
}

fn ended(sql: &Sql, parser: &Parser) -> Result<(), Diagnostic> {
    match parser.peek_token().token {
        Token::EOF => Ok(()),
        other => {
            let at = parser.peek_token().span.start;
            let span = sql.span_at(at.line as usize, at.column as usize, other.to_string().len());
            let help = habits::of_expression(&sql.text)
                .unwrap_or("one expression is expected here; quote the whole text if YAML cut it short");
            Err(Diagnostic::error(codes::SQL_SYNTAX, span, format!("the expression ends before `{other}`")).help(help))
        }
    }
}

/// The ordering `a desc, b` of `sql`.
pub(crate) fn order(sql: &Sql) -> Result<Vec<OrderByExpr>, Diagnostic> {
    let tokens = tokens(sql)?;
    let mut parser = Parser::new(&DuckDbDialect {}).with_tokens_with_locations(tokens);
    let order = parser.parse_comma_separated(Parser::parse_order_by_expr).map_err(|e| syntax(sql, &e, None))?;
    ended(sql, &parser).map(|()| order)
}

/// The SELECT of `sql`, still in the user's words.
pub(crate) fn query(sql: &Sql) -> Result<Query, Diagnostic> {
    let tokens = tokens(sql)?;
    let mut parser = Parser::new(&DuckDbDialect {}).with_tokens_with_locations(tokens);
    let mut statements = parser.parse_statements().map_err(|e| syntax(sql, &e, habits::of_text(&sql.text)))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => Ok(*query),
        _ => Err(Diagnostic::error(codes::NOT_ALLOWED, sql.span, "a table's `sql:` must be one SELECT")
            .help("write one `select … from …`; other statements are not allowed in a pipeline")),
    }
}

/// The tokens of `sql`, with the language's own words as names.
pub(crate) fn tokens(sql: &Sql) -> Result<Vec<TokenWithSpan>, Diagnostic> {
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

fn syntax(sql: &Sql, error: &ParserError, habit: Option<&'static str>) -> Diagnostic {
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
    .help(habit.unwrap_or("mend the text at the mark; put the whole text in quotes or under `|` if YAML cut it short"))
}
