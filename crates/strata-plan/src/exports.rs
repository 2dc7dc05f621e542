//! Outputs that hide who their people are: pseudonyms in place of keys, and what may stand beside them. Never resolves a key.

use crate::attributes::{EntityPass, Relations};
use crate::classes;
use crate::codes;
use crate::expr::Planner;
use crate::panel::PanelColumns;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident, lit};
use std::collections::BTreeSet;
use strata_operators::functions;
use strata_spec::pipeline::{Class, Entity, Output, PseudonymOf, Rows, Select, Source};
use strata_spec::{Diagnostic, Located, Name, Pipeline, Span};

/// The pseudonym among the columns that an output selects from.
pub(crate) const PSEUDONYM: &str = "#pseudonym";
/// What a file of contact data may hold besides.
const BESIDE_CONTACTS: [&str; 2] = ["language", "channel"];

/// `rows` with the pseudonym of each, in its order, so that their order says nothing; as they are where the output has none.
pub(crate) fn pseudonymised(
    planner: &Planner,
    pipeline: &Pipeline,
    output: &Output,
    entity: &Entity,
    rows: LogicalPlan,
) -> Result<LogicalPlan> {
    let Some(pseudonym) = &output.export.pseudonym else { return Ok(rows) };
    let function = functions::scalar_functions().into_iter().find(|f| f.name() == functions::PSEUDONYM);
    let Some(function) = function else { return internal_err!("there is no function `{}`", functions::PSEUDONYM) };
    let export = match &pseudonym.of {
        PseudonymOf::Once(name) => format!("once:{}/{name}/{}", pipeline.name.value, planner.clock.as_of.to_rfc3339()),
        PseudonymOf::Shared(name) => format!("shared:{name}"),
    };
    let key_id = pseudonym.key_id.as_ref().map_or("", Name::as_str);
    let key = lit(format!("env:{}", pseudonym.key.value));
    let call = function.call(vec![key, lit(export), lit(key_id), ident(&entity.key.value)]);
    let columns: Vec<Expr> = rows.schema().iter().map(Expr::from).chain([call.alias(PSEUDONYM)]).collect();
    LogicalPlanBuilder::from(rows).project(columns)?.sort([ident(PSEUDONYM).sort(true, false)])?.build()
}

/// Checks what stands beside a pseudonym; reports what would tell who somebody is.
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
    let (export, hides) = (&output.export, output.export.pseudonym.is_some());
    if !ours || !hides && export.anonymity.is_none() {
        return;
    }
    let column = export.pseudonym.as_ref().map_or("", |p| p.column.as_str());
    let known = Known { relations, pass, of_keys: &only_keys(pipeline, &entity.key), pipeline };
    let own = [entity.key.value.as_str(), column];
    let selected = known.selected(entity, output, &own);
    let contacts: BTreeSet<&str> =
        selected.iter().filter(|s| s.classes.contains(&Class::DirectId)).map(|s| s.name.as_str()).collect();
    let over = output.export.anonymity.as_ref().map(|a| &a.over);
    let refuse = |span: Span, message: String, help: String| {
        planner.report(Diagnostic::policy(codes::TELLS, span, message).help(help));
    };
    let mut told = BTreeSet::new();
    for one in &selected {
        let (name, of) = (&one.name, &output.name.value);
        if hides && one.is_key {
            let message = format!("`{name}` is the entity key, beside the pseudonym that hides it in `{of}`");
            refuse(one.span, message, format!("select `{}`: the pseudonym takes its place", entity.key.value));
        } else if hides && !contacts.is_empty() && !contacts.contains(name.as_str()) && !BESIDE_CONTACTS.contains(&name.as_str())
        {
            // One for everything that a whole group of columns brings.
            if told.insert(one.span.start) {
                let with = contacts.iter().copied().collect::<Vec<_>>().join("`, `");
                let message = format!("`{name}` stands beside contact data (`{with}`) in `{of}`");
                refuse(one.span, message, "write contact data into an output of their own, with the same `export`".to_owned());
            }
        } else if is_label(output, name) && over.is_some_and(|o| !o.iter().any(|c| c.value == *name)) {
            let message = format!("`{name}` tells the strata, and `anonymity` of `{of}` does not look over it");
            refuse(one.span, message, format!("add it: `over: [{name}]`, or leave it out"));
        } else if one.classes.contains(&Class::QuasiId) && over.is_some_and(|o| !o.iter().any(|c| c.value == *name)) {
            let message = format!("`{name}` is quasi_id, and `anonymity` of `{of}` does not look over it");
            refuse(one.span, message, format!("add it: `over: [{name}]`, or leave it out"));
        }
    }
}

/// Whether a column of a wave repeats its strata.
fn is_label(output: &Output, name: &str) -> bool {
    matches!(output.from, Rows::Wave(_)) && [PanelColumns::STRATUM, PanelColumns::QUOTA_CELL].contains(&name)
}

struct Selected {
    name: String,
    span: Span,
    classes: BTreeSet<Class>,
    is_key: bool,
}

struct Known<'a> {
    pipeline: &'a Pipeline,
    /// The pipeline with the classes of keys alone: what has one there hands on a key.
    of_keys: &'a Pipeline,
    relations: &'a Relations,
    pass: &'a EntityPass,
}

impl Known<'_> {
    /// What an output selects beside the key and its pseudonym.
    fn selected(&self, entity: &Entity, output: &Output, own: &[&str]) -> Vec<Selected> {
        let mut out = vec![];
        for item in &output.select {
            match &item.value {
                Select::Source(table, column) => out.push(Selected {
                    name: column.clone(),
                    span: item.span,
                    classes: classes::of_relation(self.pipeline, self.relations, table, column),
                    is_key: !classes::of_relation(self.of_keys, self.relations, table, column).is_empty(),
                }),
                Select::Column(name) if !own.contains(&name.as_str()) => out.push(self.column(name, item)),
                Select::Attributes(_) => {
                    let published = self.pass.attributes.iter().filter(|a| !a.starts_with('_'));
                    out.extend(published.map(|name| self.column(name, item)));
                }
                Select::Segments(_) => {
                    let all = self.pipeline.segments.iter().filter(|s| s.entity.value == entity.name.value);
                    out.extend(all.flat_map(|s| s.columns()).map(|name| self.column(name, item)));
                }
                Select::Column(_) | Select::All(_) => {}
            }
        }
        out
    }

    fn column(&self, name: &str, item: &Located<Select>) -> Selected {
        Selected {
            name: name.to_owned(),
            span: item.span,
            classes: classes::classes(self.pipeline, self.relations, &self.pass.result, name),
            is_key: !classes::classes(self.of_keys, self.relations, &self.pass.result, name).is_empty(),
        }
    }
}

/// The pipeline as if columns named like the key were all that has a class.
fn only_keys(pipeline: &Pipeline, key: &Name) -> Pipeline {
    let mut out = pipeline.clone();
    let marked = |source: &mut Source| source.classes = vec![(key.clone(), Class::DirectId)];
    out.sources.iter_mut().for_each(marked);
    out
}
