//! Personal columns and the outputs that may hold them. A class travels with a value that is handed on as it is (a column, a cast, a
//! coalesce, a part of a text); it does not travel through a count, a comparison or a band. Never lets a class out that an output does not name.

use crate::attributes::{EntityPass, Relations};
use crate::codes;
use crate::expr::Planner;
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan};
use std::collections::BTreeSet;
use strata_spec::pipeline::{Class, Entity, Output, Rows, Select};
use strata_spec::{Diagnostic, Pipeline, Span};

/// Functions that hand on (part of) their argument.
const HANDS_ON: &[&str] = &[
    "coalesce",
    "nvl",
    "lower",
    "upper",
    "trim",
    "btrim",
    "ltrim",
    "rtrim",
    "substr",
    "substring",
    "left",
    "right",
    "concat",
    "concat_ws",
    "replace",
    "split_part",
    "initcap",
    "first_by",
    "min",
    "max",
    "mode_of",
    "regexp_replace",
    "to_char",
    "reverse",
    "lpad",
    "rpad",
    "nullif",
    "greatest",
    "least",
];

/// Checks the columns of an output against the classes it may hold.
pub(crate) fn check(
    planner: &Planner,
    pipeline: &Pipeline,
    relations: &Relations,
    entity: &Entity,
    pass: &EntityPass,
    output: &Output,
) {
    let ours = match &output.from {
        Rows::Entity(e) => e.value == entity.name.value,
        Rows::Wave(_) | Rows::WavePart(..) => pipeline.panel.as_ref().is_some_and(|p| p.entity.value == entity.name.value),
        Rows::Profile(_) | Rows::Table(_) => false,
    };
    if !ours {
        return;
    }
    for item in &output.select {
        match &item.value {
            Select::Source(table, column) => {
                refuse(planner, output, item.span, column, of_relation(pipeline, relations, table, column));
            }
            // A pseudonym stands in its place.
            Select::Column(name) if output.export.pseudonym.is_some() && *name == entity.key.value => {}
            Select::Column(name) => refuse(planner, output, item.span, name, classes(pipeline, relations, &pass.result, name)),
            Select::Attributes(_) => {
                for name in pass.attributes.iter().filter(|a| !a.starts_with('_')) {
                    refuse(planner, output, item.span, name, classes(pipeline, relations, &pass.result, name));
                }
            }
            Select::Segments(_) | Select::All(_) => {}
        }
    }
}

fn refuse(planner: &Planner, output: &Output, span: Span, column: &str, classes: BTreeSet<Class>) {
    for class in classes.into_iter().filter(|c| *c != Class::None && !output.classes.contains(c)) {
        let name = class_name(class);
        planner.report(
            Diagnostic::policy(
                codes::CLASS,
                span,
                format!("`{column}` is {name}, and the output `{}` is not cleared for it", output.name.value),
            )
            .help(format!("leave it out, or clear the output: `classes: [{name}]`")),
        );
    }
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::DirectId => "direct_id",
        Class::QuasiId => "quasi_id",
        Class::Sensitive => "sensitive",
        Class::None => "none",
    }
}

fn source_class(pipeline: &Pipeline, source: &str, column: &str) -> Option<Class> {
    let source = pipeline.sources.iter().find(|s| s.name.value == source)?;
    source.classes.iter().find(|(n, _)| n.value == column).map(|(_, c)| *c)
}

/// Classes of a column of a plan, by what it hands on.
pub(crate) fn classes(pipeline: &Pipeline, relations: &Relations, plan: &LogicalPlan, name: &str) -> BTreeSet<Class> {
    let column = match plan.schema().index_of_column_by_name(None, name) {
        Some(i) => Column::from(plan.schema().qualified_field(i)),
        None => return BTreeSet::new(),
    };
    let mut out = BTreeSet::new();
    column_classes(&World { pipeline, relations }, plan, &column, &mut out);
    out
}

/// Classes of a column of a source or table: declared, or of what it hands on.
pub(crate) fn of_relation(pipeline: &Pipeline, relations: &Relations, relation: &str, column: &str) -> BTreeSet<Class> {
    let mut out = BTreeSet::new();
    relation_classes(&World { pipeline, relations }, relation, column, &mut out);
    out
}

/// What lineage is followed through.
struct World<'a> {
    pipeline: &'a Pipeline,
    relations: &'a Relations,
}

/// INVARIANT: a derived column and a column of a table have the classes of what they are made of, unless the file declares another.
fn relation_classes(world: &World, relation: &str, column: &str, out: &mut BTreeSet<Class>) {
    if let Some(declared) = source_class(world.pipeline, relation, column) {
        out.insert(declared);
        return;
    }
    let Some(plan) = world.relations.plan(relation) else { return };
    let own = Column::new(Some(TableReference::bare(relation)), column);
    match plan.schema().index_of_column(&own) {
        Ok(_) => column_classes(world, plan, &own, out),
        Err(_) => {
            if let Some(i) = plan.schema().index_of_column_by_name(None, column) {
                column_classes(world, plan, &Column::from(plan.schema().qualified_field(i)), out);
            }
        }
    }
}

fn column_classes(world: &World, plan: &LogicalPlan, column: &Column, out: &mut BTreeSet<Class>) {
    match plan {
        LogicalPlan::Projection(p) => {
            if let Ok(i) = p.schema.index_of_column(column) {
                expr_classes(world, &p.input, &p.expr[i], out);
            }
        }
        LogicalPlan::Aggregate(a) => {
            if let Ok(i) = a.schema.index_of_column(column) {
                let all: Vec<&Expr> = a.group_expr.iter().chain(&a.aggr_expr).collect();
                if let Some(e) = all.get(i) {
                    expr_classes(world, &a.input, e, out);
                }
            }
        }
        LogicalPlan::TableScan(scan) => {
            let table = column.relation.as_ref().map_or(scan.table_name.table(), |r| r.table());
            let stands_for = crate::program::bucket_table(scan).unwrap_or_default();
            match stands_for.strip_prefix("raw:") {
                Some(source) => {
                    let declared = source_class(world.pipeline, source, &column.name);
                    out.extend(declared.or_else(|| source_class(world.pipeline, table, &column.name)));
                }
                None => relation_classes(world, &stands_for, &column.name, out),
            }
        }
        LogicalPlan::SubqueryAlias(s) => {
            let inner = Column::from_name(&column.name);
            column_classes(world, &s.input, &inner, out);
        }
        other => {
            for input in other.inputs() {
                if input.schema().index_of_column(column).is_ok() {
                    column_classes(world, input, column, out);
                }
            }
        }
    }
}

fn expr_classes(world: &World, input: &LogicalPlan, expr: &Expr, out: &mut BTreeSet<Class>) {
    match expr {
        Expr::Column(c) => column_classes(world, input, c, out),
        Expr::Alias(a) => expr_classes(world, input, &a.expr, out),
        Expr::Cast(c) => expr_classes(world, input, &c.expr, out),
        Expr::BinaryExpr(b) if b.op == datafusion::logical_expr::Operator::StringConcat => {
            expr_classes(world, input, &b.left, out);
            expr_classes(world, input, &b.right, out);
        }
        Expr::Case(c) => {
            c.when_then_expr.iter().for_each(|(_, then)| expr_classes(world, input, then, out));
            c.else_expr.iter().for_each(|e| expr_classes(world, input, e, out));
        }
        Expr::ScalarFunction(f) if HANDS_ON.contains(&f.func.name()) => {
            f.args.iter().for_each(|a| expr_classes(world, input, a, out));
        }
        Expr::AggregateFunction(f) if HANDS_ON.contains(&f.func.name()) => {
            f.params.args.iter().take(1).for_each(|a| expr_classes(world, input, a, out));
        }
        _ => {}
    }
}
