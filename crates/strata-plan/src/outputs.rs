//! Declared tables: which rows and columns each holds. Never lets a row out whose purpose is not consented to.

use crate::attributes::EntityPass;
use crate::exports::{PSEUDONYM, pseudonymised};
use crate::expr::{Grain, Planner};
use crate::panel::{PanelColumns, consent};
use crate::program;
use crate::scope::Scope;
use crate::solved::Solved;
use crate::{Compiled, codes};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident, lit};
use std::collections::BTreeSet;
use strata_spec::diagnostic::did_you_mean;
use strata_spec::pipeline::wave::Reserve;
use strata_spec::pipeline::{Entity, History, Output, Rows, Select, Wave, WavePart, WriteFormat};
use strata_spec::{Diagnostic, Located, Pipeline};

impl Compiled<'_> {
    /// The rows of an output. Those of a wave, a profile and of every CSV are in key order, so that exports are equal byte for byte.
    pub fn output_plan(&self, output: &Output, solved: &Solved) -> Result<LogicalPlan> {
        let rows = self.output_rows(output, solved)?;
        let rows = if output.format == WriteFormat::Delta { in_utc(rows)? } else { rows };
        if output.history.value == History::Snapshot { self.under_as_of(rows) } else { Ok(rows) }
    }

    /// Rows with the as-of in front, of a table that holds those of many.
    pub(crate) fn under_as_of(&self, rows: LogicalPlan) -> Result<LogicalPlan> {
        const AS_OF: &str = "as_of";
        if rows.schema().fields().iter().any(|f| f.name().eq_ignore_ascii_case(AS_OF)) {
            return plan_err!("with `history: snapshot` the table has a column `as_of` of its own: select it by another name");
        }
        let at = Some(self.planner.clock.as_of.timestamp_micros());
        let at = lit(datafusion::common::ScalarValue::TimestampMicrosecond(at, Some("UTC".into()))).alias(AS_OF);
        let columns: Vec<Expr> = std::iter::once(at).chain(rows.schema().iter().map(Expr::from)).collect();
        LogicalPlanBuilder::from(rows).project(columns)?.build()
    }

    fn output_rows(&self, output: &Output, solved: &Solved) -> Result<LogicalPlan> {
        match &output.from {
            Rows::Entity(name) => {
                let name = name.as_str();
                let (Some(entity), Some(pass)) = (self.pipeline.entity(name), self.passes.get(name)) else {
                    return plan_err!("there is no entity `{name}`");
                };
                let rows = self.shown_people(output, solved)?;
                let plan = self.found(selected_rows(&self.planner, self.pipeline, entity, pass, output, rows))?;
                match output.format {
                    // Those with a pseudonym are in its order already.
                    _ if output.export.pseudonym.is_some() => Ok(plan),
                    WriteFormat::Csv | WriteFormat::Jsonl | WriteFormat::Xlsx => sorted(plan, &entity.key.value),
                    WriteFormat::Parquet | WriteFormat::Delta => Ok(plan),
                }
            }
            Rows::Wave(name) => {
                let name = name.as_str();
                let Some(panel) = self.pipeline.panel.as_ref() else { return plan_err!("there is no wave `{name}`") };
                let Some(entity) = self.pipeline.entity(&panel.entity.value) else { return plan_err!("no entity") };
                let rows = self.shown_people(output, solved)?;
                // Sorted before the key may be left out.
                let rows = match output.export.pseudonym {
                    Some(_) => pseudonymised(&self.planner, self.pipeline, output, entity, rows)?,
                    None => sorted(rows, &entity.key.value)?,
                };
                let columns =
                    self.found(select(&self.planner, self.pipeline, entity, self.passes.get(&entity.name.value), output, &rows))?;
                LogicalPlanBuilder::from(rows).project(columns)?.build()
            }
            Rows::WavePart(name, part) => {
                let name = name.as_str();
                let (Some(wave), Some(panel)) = (self.pipeline.wave(name), self.pipeline.panel.as_ref()) else {
                    return plan_err!("there is no wave `{name}`");
                };
                let Some(entity) = self.pipeline.entity(&panel.entity.value) else { return plan_err!("no entity") };
                let rows = match part {
                    WavePart::Eligibility => self.shown_people(output, solved)?,
                    _ => {
                        let rows = self.wave_part(wave, *part, solved)?;
                        self.found(part_rows(&self.planner, self.pipeline, output, rows))?
                    }
                };
                let hidden = output.export.pseudonym.is_some();
                let rows = pseudonymised(&self.planner, self.pipeline, output, entity, rows)?;
                let pass = self.passes.get(&entity.name.value);
                let columns = self.found(select(&self.planner, self.pipeline, entity, pass, output, &rows))?;
                let sort: Vec<_> = self.part_order(wave, *part).iter().map(|c| ident(c).sort(true, false)).collect();
                let rows = LogicalPlanBuilder::from(rows);
                let rows = if sort.is_empty() || hidden { rows } else { rows.sort(sort)? };
                rows.project(columns)?.build()
            }
            Rows::Profile(name) => self.profile_plan(name.as_str(), solved),
            Rows::Table(name) => {
                let name = name.as_str();
                let plan = self.table_plan(name)?;
                let key: Vec<_> = self.pipeline.table(name).map_or(vec![], |t| t.key.iter().map(|k| k.value.clone()).collect());
                let sort: Vec<_> = key.iter().map(|k| ident(k).sort(true, false)).collect();
                match sort.is_empty() {
                    true => Ok(plan),
                    false => LogicalPlanBuilder::from(plan).sort(sort)?.build(),
                }
            }
        }
    }

    /// The people of an output with all columns: consented, filtered; as they are.
    pub(crate) fn unguarded(&self, output: &Output, solved: &Solved) -> Result<LogicalPlan> {
        let rows = match &output.from {
            Rows::Entity(name) => self.view(name.as_str(), solved)?,
            Rows::Wave(name) | Rows::WavePart(name, WavePart::Eligibility) => {
                let name = name.as_str();
                let Some(wave) = self.pipeline.wave(name) else { return plan_err!("there is no wave `{name}`") };
                match &output.from {
                    Rows::Wave(_) => self.standard(wave, self.weighted(wave, solved)?)?,
                    _ => self.wave_part(wave, WavePart::Eligibility, solved)?,
                }
            }
            Rows::WavePart(..) | Rows::Profile(_) | Rows::Table(_) => return plan_err!("these rows are no people"),
        };
        self.found(filtered(&self.planner, self.pipeline, output, rows))
    }

    /// The same, as coarsely as was decided.
    fn shown_people(&self, output: &Output, solved: &Solved) -> Result<LogicalPlan> {
        let rows = self.unguarded(output, solved)?;
        self.as_shown(output, solved.guards.get(&output.name.value), rows)
    }

    /// Columns whose smallest and largest value say nothing of a person: those of profiles only.
    pub fn bounds(&self, output: &Output) -> Vec<String> {
        match &output.from {
            Rows::Profile(_) => vec!["size".to_owned(), "share".to_owned()],
            _ => vec![],
        }
    }

    /// Global tables an output reads directly.
    pub fn reads_table(&self, output: &Output) -> Option<String> {
        match &output.from {
            Rows::Table(name) => Some(name.value.clone()),
            _ => None,
        }
    }

    /// Whether a plan reads data at all: used by checks.
    pub fn is_empty_plan(&self, plan: &LogicalPlan) -> bool {
        program::needs(plan).is_ok_and(|n| n.is_empty())
    }
}

fn sorted(plan: LogicalPlan, key: &str) -> Result<LogicalPlan> {
    match plan.schema().index_of_column_by_name(None, key) {
        Some(_) => LogicalPlanBuilder::from(plan).sort([ident(key).sort(true, false)])?.build(),
        None => Ok(plan),
    }
}

/// Rows in which every time stamp says its zone: one without is read as UTC everywhere, and Delta's basic protocol has no other.
pub(crate) fn in_utc(plan: LogicalPlan) -> Result<LogicalPlan> {
    use arrow::datatypes::{DataType, TimeUnit};
    let naive = |t: &DataType| matches!(t, DataType::Timestamp(_, None));
    if !plan.schema().fields().iter().any(|f| naive(f.data_type())) {
        return Ok(plan);
    }
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let column = |(q, f): (Option<&datafusion::common::TableReference>, &arrow::datatypes::FieldRef)| match naive(f.data_type()) {
        true => datafusion::logical_expr::cast(Expr::from((q, f)), utc.clone()).alias(f.name()),
        false => Expr::from((q, f)),
    };
    let columns: Vec<Expr> = plan.schema().iter().map(column).collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

impl Compiled<'_> {
    /// Checks what an output of a wave selects, before there is a wave; reports what is wrong.
    pub(crate) fn check_wave_output(&self, entity: &Entity, pass: &EntityPass, output: &Output, view: &LogicalPlan) {
        if let Rows::Wave(name) = &output.from
            && let Some(wave) = self.pipeline.wave(name.as_str())
        {
            let _ = self.wave_rows(entity, Some(pass), (output, wave), view.clone());
        }
    }

    /// A plan with the columns of an output of a wave, over rows that are not drawn; what is wrong is reported.
    pub(crate) fn wave_rows(
        &self,
        entity: &Entity,
        pass: Option<&EntityPass>,
        (output, wave): (&Output, &Wave),
        view: LogicalPlan,
    ) -> Option<LogicalPlan> {
        let (planner, pipeline) = (&self.planner, self.pipeline);
        let rows = drawn_columns(wave, view).and_then(|rows| self.standard(wave, rows)).ok()?;
        let kept = filtered(planner, pipeline, output, rows.clone());
        let rows = pseudonymised(planner, pipeline, output, entity, kept.clone().unwrap_or(rows)).ok()?;
        let columns = select(planner, pipeline, entity, pass, output, &rows)?;
        kept.and(LogicalPlanBuilder::from(rows).project(columns).and_then(LogicalPlanBuilder::build).ok())
    }
}

/// The columns that the people drawn for a wave have, over rows that are not drawn.
fn drawn_columns(wave: &Wave, view: LogicalPlan) -> Result<LogicalPlan> {
    let mut columns: Vec<Expr> = view.schema().iter().map(Expr::from).collect();
    let mut add = |name: &str, kind: ScalarValue| columns.push(lit(kind).alias(name));
    add(PanelColumns::RANK, ScalarValue::Int32(None));
    add(PanelColumns::DESIGN_WEIGHT, ScalarValue::Float64(None));
    if wave.further.replicates.is_some() {
        add(PanelColumns::REPLICATE, ScalarValue::Int32(None));
    }
    if matches!(wave.further.reserve, Some(Reserve::Share(_))) {
        add(PanelColumns::RESERVE, ScalarValue::Int32(None));
    }
    if wave.weights.is_some() {
        add(PanelColumns::WEIGHT, ScalarValue::Float64(None));
    }
    LogicalPlanBuilder::from(view).project(columns)?.build()
}

/// The rows of a part of a wave that counts: they are not of one person, so they ask for no consent.
fn part_rows(planner: &Planner, pipeline: &Pipeline, output: &Output, rows: LogicalPlan) -> Option<LogicalPlan> {
    let counts = Output { purpose: None, ..output.clone() };
    filtered(planner, pipeline, &counts, rows)
}

/// The rows of an entity's output: consented, filtered, selected.
pub(crate) fn entity_rows(
    planner: &Planner,
    pipeline: &Pipeline,
    entity: &Entity,
    pass: &EntityPass,
    output: &Output,
    view: &LogicalPlan,
) -> Option<LogicalPlan> {
    let rows = filtered(planner, pipeline, output, view.clone());
    // What is wrong with the columns is said beside what is wrong with the condition.
    let selected = selected_rows(planner, pipeline, entity, pass, output, rows.clone().unwrap_or_else(|| view.clone()));
    rows.and(selected)
}

fn selected_rows(
    planner: &Planner,
    pipeline: &Pipeline,
    entity: &Entity,
    pass: &EntityPass,
    output: &Output,
    rows: LogicalPlan,
) -> Option<LogicalPlan> {
    let rows = pseudonymised(planner, pipeline, output, entity, rows);
    let rows = rows.map_err(|e| planner.report(crate::internal(output.name.span, &e))).ok()?;
    let columns = select(planner, pipeline, entity, Some(pass), output, &rows)?;
    let built = LogicalPlanBuilder::from(rows).project(columns).and_then(LogicalPlanBuilder::build);
    built.map_err(|e| planner.report(crate::internal(output.name.span, &e))).ok()
}

fn filtered(planner: &Planner, pipeline: &Pipeline, output: &Output, rows: LogicalPlan) -> Option<LogicalPlan> {
    let mut rows = LogicalPlanBuilder::from(rows);
    let schema = rows.schema().as_ref().clone();
    if let Some(flag) = output.purpose.as_ref().and_then(|p| consent(pipeline, &p.value)) {
        rows = rows.filter(flag).map_err(|e| planner.report(crate::internal(output.name.span, &e))).ok()?;
    }
    if let Some(sql) = &output.filter {
        let filter = planner.expr(sql, &schema, &Scope::of(&schema, None), Grain::Row)?;
        rows = rows.filter(filter).map_err(|e| planner.report(crate::expr::explain(sql, &e))).ok()?;
    }
    rows.build().map_err(|e| planner.report(crate::internal(output.name.span, &e))).ok()
}

fn select(
    planner: &Planner,
    pipeline: &Pipeline,
    entity: &Entity,
    pass: Option<&EntityPass>,
    output: &Output,
    rows: &LogicalPlan,
) -> Option<Vec<Expr>> {
    let schema = rows.schema();
    let mut names: Vec<(String, String)> = vec![];
    let mut failed = false;
    let pseudonym = output.export.pseudonym.as_ref().map(|p| p.column.as_str());
    let mut add = |column: String, name: String| {
        // The pseudonym takes the place of the key.
        let (column, name) = match pseudonym {
            Some(shown) if column == entity.key.value => (PSEUDONYM.to_owned(), shown.to_owned()),
            _ => (column, name),
        };
        if !names.iter().any(|(_, n)| *n == name) {
            names.push((column, name));
        }
    };
    for item in &output.select {
        match &item.value {
            Select::Column(name) if pseudonym == Some(name.as_str()) => add(PSEUDONYM.to_owned(), name.clone()),
            Select::Column(name) => match schema.index_of_column_by_name(None, name) {
                Some(_) => add(name.clone(), name.clone()),
                None if planner.is_lost(name) => failed = true,
                None => failed |= unknown(planner, item, name, rows),
            },
            Select::Source(table, column) => add(format!("{table}.{column}"), column.clone()),
            Select::Attributes(_) => {
                let key = &entity.key.value;
                add(key.clone(), key.clone());
                for a in pass.iter().flat_map(|p| &p.attributes).filter(|a| !a.starts_with('_')) {
                    add(a.clone(), a.clone());
                }
            }
            Select::Segments(_) => {
                let key = &entity.key.value;
                add(key.clone(), key.clone());
                let all = pipeline.segments.iter().filter(|s| s.entity.value == entity.name.value);
                all.flat_map(|s| s.columns()).for_each(|c| add(c.to_owned(), c.to_owned()));
            }
            // What the parts of a wave say, and of eligibility nothing that only an attribute says.
            Select::All(of) if of == "panel" && schema.index_of_column_by_name(None, PanelColumns::FAILED_RULES).is_some() => {
                let said = [PanelColumns::ELIGIBLE, PanelColumns::FAILED_RULE, PanelColumns::FAILED_RULES];
                [entity.key.value.as_str()].into_iter().chain(said).for_each(|c| add(c.to_owned(), c.to_owned()));
            }
            Select::All(_) => schema.fields().iter().for_each(|f| add(f.name().clone(), f.name().clone())),
        }
    }
    for over in output.export.anonymity.iter().flat_map(|a| &a.over) {
        if !names.iter().any(|(_, n)| *n == over.value) {
            let known = names.iter().map(|(_, n)| n.as_str());
            let help = did_you_mean(&over.value, known)
                .map_or("add it to `select`, or leave it out".to_owned(), |near| format!("did you mean `{near}`?"));
            let message = format!("`{}` is no column of the output `{}`", over.value, output.name.value);
            planner.report(Diagnostic::error(codes::UNKNOWN_COLUMN, over.span, message).help(help));
            failed = true;
        }
    }
    (!failed).then(|| names.into_iter().map(|(column, name)| ident(column).alias(name)).collect())
}

fn unknown(planner: &Planner, item: &Located<Select>, name: &str, rows: &LogicalPlan) -> bool {
    let known: BTreeSet<&str> =
        rows.schema().fields().iter().map(|f| f.name().as_str()).filter(|n| !n.contains([':', '.', '#'])).collect();
    let help = match did_you_mean(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here are: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    };
    planner.report(
        Diagnostic::error(codes::UNKNOWN_COLUMN, item.span, format!("there is nothing named `{name}` to select")).help(help),
    );
    true
}
