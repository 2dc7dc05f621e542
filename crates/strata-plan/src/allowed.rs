//! Which SQL may stand in a pipeline: reads only, no order left to chance, nothing that grows without bound. Never changes a tree.

use crate::codes;
use datafusion::sql::sqlparser::ast::{
    self, Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Select, SetExpr, Value, Visit,
    Visitor, WindowType,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use strata_spec::{Code, Diagnostic, Sql};

/// Relations a SELECT may read, with those that the CTEs it names read.
const RELATIONS_MAX: usize = 100;
/// Characters that `repeat`, `lpad` and `rpad` may make in one go: a value of a table, not a way to fill memory.
const FILLED_MAX: u64 = 10_000;
/// Functions of a window whose result depends on the order of its rows.
const ORDERED: &[&str] = &["row_number", "ntile", "lag", "lead", "first_value", "last_value", "nth_value"];

/// What is wrong with an expression.
pub(crate) fn expr(sql: &Sql, tree: &Expr) -> Vec<Diagnostic> {
    let mut look = Look::new(sql, true);
    let _ = tree.visit(&mut look);
    look.found
}

/// What is wrong with a SELECT.
pub(crate) fn query(sql: &Sql, tree: &Query) -> Vec<Diagnostic> {
    let mut look = Look::new(sql, false);
    let _ = tree.visit(&mut look);
    let all: Vec<String> = look.relations.iter().map(String::as_str).map(str::to_owned).collect();
    if weight(&all, &look.named, &mut BTreeSet::new()) > RELATIONS_MAX {
        let message =
            format!("this SELECT reads more than {RELATIONS_MAX} relations, those of its WITH counted where they are named");
        look.refuse(codes::TOO_LARGE, message, "make parts of it tables of their own");
    }
    look.found
}

struct Look<'a> {
    sql: &'a Sql,
    /// Whether it is one expression, which reads no relation.
    alone: bool,
    /// Every relation, as often as it is named.
    relations: Vec<String>,
    /// What each name of a WITH reads.
    named: BTreeMap<String, Vec<String>>,
    /// Windows with a name and no order.
    unordered: BTreeSet<String>,
    found: Vec<Diagnostic>,
}

impl<'a> Look<'a> {
    fn new(sql: &'a Sql, alone: bool) -> Self {
        Self { sql, alone, relations: vec![], named: BTreeMap::new(), unordered: BTreeSet::new(), found: vec![] }
    }

    fn refuse(&mut self, code: Code, message: impl Into<String>, help: &str) {
        let new = Diagnostic::error(code, self.sql.span, message.into()).help(help);
        if !self.found.contains(&new) {
            self.found.push(new);
        }
    }

    fn function(&mut self, f: &Function) {
        let name = f.name.to_string().trim_matches('"').to_lowercase();
        let unordered = match &f.over {
            Some(WindowType::WindowSpec(w)) => w.order_by.is_empty() && w.window_name.is_none(),
            Some(WindowType::NamedWindow(w)) => self.unordered.contains(&w.value.to_lowercase()),
            None => false,
        };
        if unordered && ORDERED.contains(&name.as_str()) {
            let message = format!("`{name}` depends on the order of rows, and this window has none");
            self.refuse(codes::NO_TOTAL_ORDER, message, "write `over (… order by …)`, with the key of the table at the end");
        }
        if matches!(name.as_str(), "repeat" | "lpad" | "rpad") && filled(f).is_none_or(|n| n > FILLED_MAX) {
            let message = format!("`{name}` must say in figures how many characters it makes, at most {FILLED_MAX}");
            self.refuse(codes::TOO_LARGE, message, "write the number, e.g. `lpad(code, 8, '0')`");
        }
    }
}

/// The length that a filling function is given in figures.
fn filled(f: &Function) -> Option<u64> {
    let FunctionArguments::List(list) = &f.args else { return None };
    let literal = match list.args.get(1)? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(v))) => v.value.to_string(),
        _ => return None,
    };
    let text = match list.args.first()? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(v))) => v.value.to_string().len() as u64,
        _ => 1,
    };
    let times = if f.name.to_string().eq_ignore_ascii_case("repeat") { text } else { 1 };
    literal.parse::<u64>().ok()?.checked_mul(times)
}

/// Relations that are read if every name of a WITH stands for what it reads.
fn weight(relations: &[String], named: &BTreeMap<String, Vec<String>>, within: &mut BTreeSet<String>) -> usize {
    let mut sum: usize = 0;
    for name in relations {
        let inner = named.get(name).filter(|_| !within.contains(name));
        sum = sum.saturating_add(match inner {
            Some(inner) => {
                within.insert(name.clone());
                let weight = weight(inner, named, within);
                within.remove(name);
                weight.max(1)
            }
            None => 1,
        });
        if sum > RELATIONS_MAX {
            break;
        }
    }
    sum
}

impl Visitor for Look<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if self.alone {
            self.refuse(
                codes::NOT_ALLOWED,
                "a subquery cannot stand in an expression",
                "make it a table under `tables:` and read its columns",
            );
        }
        if let Some(with) = &query.with {
            if with.recursive {
                self.refuse(
                    codes::NOT_ALLOWED,
                    "recursive queries are not allowed",
                    "write the levels out as tables of their own",
                );
            }
            for cte in &with.cte_tables {
                let mut reads = vec![];
                let _ = ast::visit_relations(&cte.query, |r| {
                    reads.push(r.to_string().to_lowercase());
                    ControlFlow::<()>::Continue(())
                });
                self.named.entry(cte.alias.name.value.to_lowercase()).or_default().extend(reads);
            }
        }
        if (query.limit_clause.is_some() || query.fetch.is_some()) && query.order_by.is_none() {
            self.refuse(
                codes::NO_TOTAL_ORDER,
                "rows are picked with no order, so another run could pick others",
                "write `order by …`, with the key at the end",
            );
        }
        let odd = !query.locks.is_empty()
            || query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
            || matches!(
                *query.body,
                SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) | SetExpr::Table(_)
            );
        if odd {
            self.refuse(codes::NOT_ALLOWED, "this clause is not allowed", "write one plain SELECT");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if matches!(select.distinct, Some(Distinct::On(_))) {
            self.refuse(
                codes::NOT_ALLOWED,
                "`distinct on` is not allowed",
                "pick by `row_number() over (partition by … order by …) = 1` in a `qualify`",
            );
        }
        if select.into.is_some() {
            self.refuse(
                codes::NOT_ALLOWED,
                "a SELECT of a pipeline writes nothing: `into` is not allowed",
                "name the table under `tables:`",
            );
        }
        let odd = select.top.is_some()
            || !select.lateral_views.is_empty()
            || select.prewhere.is_some()
            || !select.connect_by.is_empty()
            || !select.cluster_by.is_empty()
            || !select.distribute_by.is_empty()
            || !select.sort_by.is_empty()
            || select.value_table_mode.is_some();
        if odd {
            self.refuse(codes::NOT_ALLOWED, "this clause is not allowed", "write one plain SELECT");
        }
        self.unordered.extend(select.named_window.iter().filter_map(|w| match &w.1 {
            ast::NamedWindowExpr::WindowSpec(spec) if spec.order_by.is_empty() => Some(w.0.value.to_lowercase()),
            _ => None,
        }));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &ast::TableFactor) -> ControlFlow<()> {
        let sampled =
            matches!(table, ast::TableFactor::Table { sample: Some(_), .. } | ast::TableFactor::Derived { sample: Some(_), .. });
        let odd = match table {
            ast::TableFactor::Table { with_hints, version, with_ordinality, partitions, json_path, index_hints, .. } => {
                let hints = !with_hints.is_empty() || !partitions.is_empty() || !index_hints.is_empty();
                hints || version.is_some() || *with_ordinality || json_path.is_some()
            }
            _ => false,
        };
        if sampled {
            self.refuse(
                codes::NOT_ALLOWED,
                "a sample by chance is not allowed",
                "take rows by a hash of their key, e.g. `where prn(…) < 0.1`",
            );
        }
        if odd {
            self.refuse(
                codes::NOT_ALLOWED,
                "this way to name a table is not allowed",
                "name a source or a table, with an alias if need be",
            );
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ast::ObjectName) -> ControlFlow<()> {
        self.relations.push(relation.to_string().to_lowercase());
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(f) = expr {
            self.function(f);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ast::ValueWithSpan) -> ControlFlow<()> {
        if let Value::Placeholder(name) = &value.value {
            let message = format!("`{name}` stands for a value that nobody gives");
            self.refuse(codes::NOT_ALLOWED, message, "write the value, or `${vars.name}`");
        }
        ControlFlow::Continue(())
    }
}
