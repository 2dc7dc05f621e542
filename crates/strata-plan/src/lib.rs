//! A checked pipeline → the logical plans of its steps, against the columns of pinned inputs. No session, no IO: what it needs to know of
//! the world is in [`Catalog`], and what models solved is in [`Solved`].

mod allowed;
mod attributes;
mod catalog;
mod classes;
mod clock;
pub mod codes;
mod cogroup;
mod contract;
mod exports;
mod expr;
mod guard;
mod habits;
mod lean;
mod lifecycle;
mod moves;
mod names;
mod nodes;
mod output_columns;
mod outputs;
mod panel;
mod parse;
mod profiles;
mod program;
mod quarantine;
mod rfm;
mod scope;
mod segments;
mod solved;
mod sources;
mod sql;
mod table_checks;

pub use catalog::{Catalog, KeptCuts, Known};
pub use clock::Clock;
pub use contract::{Asks, TableCheck};
pub use guard::weights_of;
pub use lean::lean;
pub use moves::Moves;
pub use nodes::{Node, Required, Written, resolve};
pub use panel::{DrawnRow, Gathered, Measured, Overlap, PanelColumns, Waterfall, cells_of, is_gathered};
/// How the rows of a sample become cells, and cells' factors weights of rows.
pub mod weighing {
    pub use crate::panel::{CellBy, cell_weights, distinct, multiplied};
}
pub use quarantine::{DUPLICATES, FILE};
pub use segments::{Boundary, KMeansPlan, Ranking};
pub use solved::{Allocation, Clusters, Factors, Guard, GuardRow, Intervals, Solved};
pub use sources::{AFTER_AS_OF, FILTERED};

use attributes::{EntityPass, Relations};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use expr::Planner;
use sources::Meeting;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use strata_operators::pinned::PinnedTable;
use strata_spec::pipeline::{Entity, Rows, Select};
use strata_spec::{Diagnostic, Lost, Pipeline, Severity, Span};

/// A pipeline compiled against the columns of its inputs: asks of it, step by step, what to run.
pub struct Compiled<'a> {
    pipeline: &'a Pipeline,
    planner: Planner,
    relations: Relations,
    passes: BTreeMap<String, EntityPass>,
    /// Tables that are steps of their own, in order.
    globals: Vec<String>,
    catalog: Catalog,
}

/// What compiling found: the compiled pipeline if nothing was wrong, and everything worth saying.
pub struct Outcome<'a> {
    /// Present if and only if there is no error.
    pub compiled: Option<Compiled<'a>>,
    /// Errors and warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// Compiles `pipeline` against the pinned inputs in `catalog`. Errors: every SQL text that does not fit, all at once.
pub fn compile<'a>(pipeline: &'a Pipeline, clock: Clock, catalog: Catalog) -> Outcome<'a> {
    let (compiled, diagnostics) = planned(pipeline, clock, catalog, Lost::default());
    let failed = diagnostics.iter().any(|d| d.severity == Severity::Error);
    Outcome { compiled: (!failed).then_some(compiled), diagnostics }
}

/// What is wrong with the SQL of a file of which something could not be read: of what is whole, and of nothing that uses what is not.
/// Columns that leave the pipeline are judged by their classes, and time stamps by what is said of them, when all of it is there.
pub fn look_through(draft: &Pipeline, lost: Lost, clock: Clock, catalog: Catalog) -> Vec<Diagnostic> {
    let (_, mut found) = planned(draft, clock, catalog, lost);
    // SQL says where it is wrong; other faults are of stand-ins for what could not be read.
    let of_the_whole = [codes::CLASS, codes::LEARNED_LATER];
    found.retain(|d| !of_the_whole.contains(&d.code) && !is_internal(d) && d.span != Span::default());
    found
}

fn planned<'a>(pipeline: &'a Pipeline, clock: Clock, catalog: Catalog, lost: Lost) -> (Compiled<'a>, Vec<Diagnostic>) {
    let mut planner = Planner::new(clock, lost);
    let relations = attributes::relations(&mut planner, pipeline, &catalog);
    let mut passes = BTreeMap::new();
    let mut globals: BTreeSet<String> = BTreeSet::new();
    for entity in &pipeline.entities {
        let extra = roster_columns(&planner, pipeline, entity);
        if let Some(pass) = attributes::pass(&planner, pipeline, &relations, entity, &extra) {
            passes.insert(entity.name.value.clone(), pass);
        }
        match cogroup::global_tables(&planner, pipeline, &relations, &catalog, &entity.key.value) {
            Ok(found) => globals.extend(found.into_iter().filter(|(_, g)| *g).map(|(n, _)| n)),
            Err(e) => planner.report(internal(entity.name.span, &e)),
        }
    }
    // What is asked of all rows of a table is asked of rows that are there.
    globals.extend(pipeline.tables.iter().filter(|t| !t.checks.is_empty()).map(|t| t.name.value.clone()));
    let globals = relations.plans.iter().map(|(n, _)| n.clone()).filter(|n| globals.contains(n)).collect();
    let compiled = Compiled { pipeline, planner, relations, passes, globals, catalog };
    compiled.check();
    let mut diagnostics = std::mem::take(&mut *compiled.planner.found());
    diagnostics.sort_by_key(|d| (d.span, d.code.0, d.message.clone()));
    diagnostics.dedup();
    // A table of a preset is missing only where what the user gave it is wrong, which is said at its own place.
    let follows = |d: &Diagnostic| d.message.contains(OF_PRESETS);
    if diagnostics.iter().any(|d| d.severity == Severity::Error && !follows(d)) {
        diagnostics.retain(|d| !follows(d));
    }
    // Likewise what the engine cannot build on something that is wrong.
    if diagnostics.iter().any(|d| d.severity == Severity::Error && !is_internal(d)) {
        diagnostics.retain(|d| !is_internal(d));
    }
    (compiled, diagnostics)
}

/// Whether it is of [`internal`]: what is said of the user's SQL has a help line.
fn is_internal(diagnostic: &Diagnostic) -> bool {
    diagnostic.code == codes::TYPE && diagnostic.help.is_none()
}

/// What is said of a missing table that a preset makes: names of its tables begin with two underscores.
const OF_PRESETS: &str = "there is no source or table `__";

/// Roster columns that outputs select beyond attributes; one that is not there is reported.
fn roster_columns(planner: &Planner, pipeline: &Pipeline, entity: &Entity) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let roster = planner.names.schema(&entity.from.value);
    for output in &pipeline.outputs {
        for item in &output.select {
            if let Select::Source(table, column) = &item.value
                && table == &entity.from.value
                && let Some(roster) = roster
            {
                let names: Vec<&str> = roster.fields().iter().map(|f| f.name().as_str()).collect();
                if names.contains(&column.as_str()) {
                    out.insert(column.clone());
                } else if !planner.is_lost(column) {
                    let near = strata_spec::diagnostic::did_you_mean(column, names.iter().copied());
                    let help = near.map_or_else(
                        || format!("its columns are: {}", names.join(", ")),
                        |near| format!("did you mean `{table}.{near}`?"),
                    );
                    let message = format!("`{table}` has no column `{column}`");
                    planner.report(Diagnostic::error(codes::UNKNOWN_COLUMN, item.span, message).help(help));
                }
            }
        }
    }
    out
}

impl Compiled<'_> {
    /// The clock it was compiled with.
    pub fn clock(&self) -> Clock {
        self.planner.clock
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        self.pipeline
    }

    /// Tells the compiler where a step left its rows: `table:<name>`, `attributes:<entity>`, `features:<segmentation>`, `sample:<wave>`.
    pub fn made(&mut self, name: String, table: PinnedTable) {
        self.catalog.work.insert(name, table);
    }

    /// Tables that earlier steps left in the work area.
    pub fn made_tables(&self) -> impl Iterator<Item = (&String, &PinnedTable)> {
        self.catalog.work.iter()
    }

    /// Compiles from here on as if `known` were all that earlier steps found out; gives what was known until now.
    pub fn assume(&mut self, known: Known) -> Known {
        Known {
            work: std::mem::replace(&mut self.catalog.work, known.work),
            owned: std::mem::replace(&mut self.catalog.owned, known.owned),
        }
    }

    /// Tables that are steps of their own because their rows mix entities, in order.
    pub fn global_tables(&self) -> &[String] {
        &self.globals
    }

    /// The rows of a global table.
    pub fn table_plan(&self, name: &str) -> Result<LogicalPlan> {
        match self.relations.plan(name) {
            Some(plan) => self.inlined(plan.clone()),
            None => datafusion::common::plan_err!("there is no table `{name}`"),
        }
    }

    /// How many keys of a made global table stand in more than one row, if its SQL does not rule that out: one number.
    pub fn repeated_keys(&self, name: &str) -> Result<Option<LogicalPlan>> {
        let (Some(plan), Some(pinned)) = (self.relations.plan(name), self.catalog.work.get(&format!("table:{name}"))) else {
            return datafusion::common::plan_err!("the table `{name}` is not made yet");
        };
        let key = cogroup::unproven_key(self.pipeline, name, plan);
        if key.is_empty() {
            return Ok(None);
        }
        repeats(scan_work("t", pinned)?, &key).map(Some)
    }

    /// Sources that rows below a global table refer to, each with how many of its keys stand in more than one row: one number.
    pub fn repeated_references(&self, name: &str) -> Result<Vec<(String, LogicalPlan)>> {
        let Some(plan) = self.relations.plan(name) else { return Ok(vec![]) };
        let mut out = vec![];
        for source in self.relations_below(plan)? {
            let key = cogroup::referenced_key(self.pipeline, &source).unwrap_or_default();
            let filtered = self.pipeline.source(&source).is_some_and(|s| s.duplicates.is_some());
            let Some(rows) = self.relations.plan(&source).filter(|_| !key.is_empty() && !filtered) else { continue };
            let own = key.iter().map(|k| sources::qualified_column(&source, k)).collect::<Vec<_>>();
            let rows = self.inlined(LogicalPlanBuilder::from(rows.clone()).project(own)?.build()?)?;
            out.push((source, repeats(rows, &key)?));
        }
        Ok(out)
    }

    /// Sources and tables that are read to make `plan`, at any remove.
    fn relations_below(&self, plan: &LogicalPlan) -> Result<BTreeSet<String>> {
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let mut todo = program::needs(&self.planner.optimised.of(plan)?)?;
        while let Some((name, _)) = todo.pop_first() {
            if let (true, Some(plan)) = (!name.starts_with("raw:") && seen.insert(name.clone()), self.relations.plan(&name)) {
                for (below, columns) in program::needs(&self.planner.optimised.of(plan)?)? {
                    todo.entry(below).or_default().extend(columns);
                }
            }
        }
        Ok(seen)
    }

    /// The rows of an entity: key, attributes, hidden columns.
    pub fn attributes_plan(&self, entity: &str) -> Result<LogicalPlan> {
        let (Some(pass), Some(entity)) = (self.passes.get(entity), self.pipeline.entity(entity)) else {
            return datafusion::common::plan_err!("there is no entity `{entity}`");
        };
        cogroup::cogroup(&self.planner, self.pipeline, &self.relations, &self.catalog, entity, &pass.result)
    }

    /// Sources of which it has to be shown that all rows of a duplicate key belong to one entity, each with counts of which one that is 0 shows
    /// it: then duplicates can be looked for where the rows of an entity meet.
    pub fn owners_to_show(&self, entity: &str) -> Result<Vec<(String, Vec<LogicalPlan>)>> {
        let plan = self.attributes_plan(entity)?;
        match self.pipeline.entity(entity) {
            Some(found) => cogroup::to_show(self.pipeline, &self.catalog, &plan, &found.key.value),
            None => datafusion::common::plan_err!("there is no entity `{entity}`"),
        }
    }

    /// Tells the compiler that all rows of a source's duplicate key belong to one entity of this kind.
    pub fn owned(&mut self, source: String, entity: &str) {
        if let Some(found) = self.pipeline.entity(entity) {
            self.catalog.owned.insert((source, found.key.value.clone()));
        }
    }

    /// The type of an entity's key.
    pub fn key_type(&self, entity: &str) -> Option<DataType> {
        let (pass, entity) = (self.passes.get(entity)?, self.pipeline.entity(entity)?);
        let field = pass.result.schema().field_with_unqualified_name(&entity.key.value).ok()?;
        Some(field.data_type().clone())
    }

    /// Pinned sources by name.
    pub fn pinned_sources(&self) -> impl Iterator<Item = (&str, &PinnedTable)> {
        self.pipeline.sources.iter().filter_map(|s| self.catalog.sources.get(&s.name.value).map(|p| (s.name.value.as_str(), p)))
    }

    /// Rows of all pinned sources, if every format tells.
    pub fn source_rows(&self) -> Option<u64> {
        self.catalog.sources.values().map(PinnedTable::rows).sum()
    }

    /// Published and helper attributes of an entity, as declared.
    pub fn attributes(&self, entity: &str) -> &[String] {
        self.passes.get(entity).map_or(&[], |p| &p.attributes)
    }

    /// Replaces scans that stand for relations by their rows, outside of any cogroup.
    fn inlined(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        program::inlined(plan, &|name, columns| {
            if let Some(pinned) = self.catalog.work.get(&format!("table:{name}")) {
                return Ok(Some(scan_work(name, pinned)?));
            }
            let source_name = name.strip_prefix("raw:").unwrap_or(name);
            if name.starts_with("raw:")
                && let (Some(source), Some(rules), Some(pinned)) = (
                    self.pipeline.source(source_name),
                    self.relations.rules.get(source_name),
                    self.catalog.sources.get(source_name),
                )
            {
                return sources::usable(&self.planner.clock, source, rules, pinned, columns, Meeting::default()).map(Some);
            }
            match self.relations.plan(name) {
                Some(plan) => {
                    let columns = columns.clone();
                    let own = plan.schema().iter().filter(|(q, f)| {
                        columns.contains(f.name())
                            && (self.pipeline.table(name).is_some() || q.is_some_and(|q| q.table() == name))
                    });
                    let own: Vec<_> = own.map(datafusion::logical_expr::Expr::from).collect();
                    let plan = LogicalPlanBuilder::from(plan.clone()).project(own)?.build()?;
                    // Only the columns that are read are asked of the source below.
                    self.inlined(self.planner.optimised.of(&plan)?).map(Some)
                }
                None => Ok(None),
            }
        })
    }

    /// Checks everything that has no step yet: segments, profiles, the panel and outputs over dummy solutions.
    fn check(&self) {
        self.check_tables();
        for entity in &self.pipeline.entities {
            if self.passes.contains_key(&entity.name.value) {
                let solved = Solved::placeholder(self.pipeline);
                self.check_entity(entity, &solved);
            }
        }
    }

    fn check_entity(&self, entity: &Entity, solved: &Solved) {
        let Some(pass) = self.passes.get(&entity.name.value) else { return };
        let seen = segments::as_far_as_right(&self.planner, self.pipeline, entity, pass.result.clone(), solved);
        let Some(segments::Seen { plan: view, wrong }) = seen else { return };
        for segmentation in self.pipeline.segments.iter().filter(|s| wrong.contains(s.name.as_str())) {
            segmentation.columns().into_iter().chain([segmentation.name.as_str()]).for_each(|c| self.planner.lose(c));
        }
        for segmentation in self.pipeline.segments.iter().filter(|s| s.entity.value == entity.name.value) {
            segments::check(&self.planner, segmentation, &view);
        }
        for profile in &self.pipeline.profiles {
            profiles::plan(&self.planner, self.pipeline, profile, &view);
        }
        if let Some(panel) = self.pipeline.panel.as_ref().filter(|p| p.entity.value == entity.name.value) {
            panel::check(&self.planner, self.pipeline, panel, &view);
        }
        for output in &self.pipeline.outputs {
            classes::check(&self.planner, self.pipeline, &self.relations, entity, pass, output);
            exports::check(&self.planner, self.pipeline, &self.relations, entity, pass, output);
            if matches!(&output.from, Rows::Entity(e) if e.value == entity.name.value) {
                let _ = outputs::entity_rows(&self.planner, self.pipeline, entity, pass, output, &view);
            }
            if self.pipeline.panel.as_ref().is_some_and(|p| p.entity.value == entity.name.value) {
                self.check_wave_output(entity, pass, output, &view);
            }
        }
    }
}

/// A scan of a table of the work area, named `name`.
pub(crate) fn scan_work(name: &str, pinned: &PinnedTable) -> Result<LogicalPlan> {
    let source = provider_as_source(Arc::new(pinned.clone()));
    LogicalPlanBuilder::scan(TableReference::bare(name), source, None)?.build()
}

/// How many values of `key` stand in more than one of these rows: one number.
fn repeats(rows: LogicalPlan, key: &[String]) -> Result<LogicalPlan> {
    use datafusion::functions_aggregate::expr_fn::count;
    use datafusion::logical_expr::{Expr, ident, lit};
    let by: Vec<Expr> = key.iter().map(ident).collect();
    let grouped = LogicalPlanBuilder::from(rows).aggregate(by, [count(lit(1i64)).alias("#rows")])?;
    let repeated = grouped.filter(ident("#rows").gt(lit(1i64)))?;
    repeated.aggregate(Vec::<Expr>::new(), [count(lit(1i64))])?.build()
}

/// A defect of the compiler, at the place it was met.
pub(crate) fn internal(span: Span, error: &DataFusionError) -> Diagnostic {
    Diagnostic::error(codes::TYPE, span, error.strip_backtrace())
}
