//! What a pipeline makes, by name, to look at: which steps a thing needs, and the plan of its rows. Never publishes anything.

use crate::attributes::EntityPass;
use crate::classes;
use crate::cogroup::cogroup;
use crate::parse;
use crate::program;
use crate::segments;
use crate::solved::Solved;
use crate::sql;
use crate::{Compiled, profiles};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident};
use std::collections::BTreeSet;
use strata_spec::diagnostic::did_you_mean;
use strata_spec::pipeline::{Block, Class, Method, Rows, Segmentation, Select, WavePart};
use strata_spec::{Name, Pipeline, Sql};

/// A thing that a pipeline makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// The rows of a source that are used.
    Source(String),
    /// A table.
    Table(String),
    /// The key of an entity and some of its attributes and segment columns.
    Columns {
        /// Entity.
        entity: String,
        /// Attributes and segment columns.
        names: Vec<String>,
    },
    /// A profile.
    Profile(String),
    /// The people drawn for a wave.
    Wave(String),
    /// An output.
    Output(String),
}

/// The steps that a node needs, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Required {
    /// Tables that are steps of their own.
    pub tables: Vec<String>,
    /// Entity whose attributes are all made.
    pub attributes: Option<String>,
    /// Segmentations that are solved.
    pub solved: Vec<String>,
    /// Wave that is drawn.
    pub wave: Option<String>,
}

/// A text of the pipeline file that says what a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What it defines.
    pub name: Name,
    /// The text, with its variables replaced; `None` for what is no SQL.
    pub sql: Option<Sql>,
}

/// The node that `text` names: a bare name, `output.NAME` (or another kind), `customer.attributes`, `customer.NAME`, or
/// `customer.from.SOURCE` for the blocks over a source. Errors: what to write instead.
pub fn resolve(pipeline: &Pipeline, text: &str) -> std::result::Result<Node, String> {
    let all = named(pipeline);
    let exact: Vec<&(String, String, Node)> = all.iter().filter(|(kind, name, _)| format!("{kind}.{name}") == text).collect();
    // The blocks over a source have its name only with `customer.from.` before it.
    let bare: Vec<_> = all.iter().filter(|(kind, name, _)| name == text && !kind.contains('.')).collect();
    let found = if exact.is_empty() { bare } else { exact };
    // An output usually has the name of what it publishes; `output.NAME` is the output.
    let own: Vec<_> = found.iter().filter(|(kind, _, _)| kind != "output").copied().collect();
    let found = if own.is_empty() { found } else { own };
    match found.as_slice() {
        [] => Err(unknown(&all, text)),
        [(_, _, node)] => Ok(node.clone()),
        several => {
            let names: Vec<String> = several.iter().map(|(kind, name, _)| format!("`{kind}.{name}`")).collect();
            Err(format!("`{text}` is the name of several things\n  help: write {}", names.join(" or ")))
        }
    }
}

fn unknown(all: &[(String, String, Node)], text: &str) -> String {
    let (kind, word) = text.rsplit_once('.').map_or((None, text), |(kind, word)| (Some(kind), word));
    let of_kind = all.iter().filter(|(k, _, _)| kind.is_none_or(|kind| k == kind)).map(|(_, name, _)| name.as_str());
    let near = did_you_mean(word, of_kind).or_else(|| did_you_mean(word, all.iter().map(|(_, name, _)| name.as_str())));
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let wanted = ["source", "table", "segment", "profile", "wave", "output"];
            let names = all.iter().filter(|(k, _, _)| wanted.contains(&k.as_str())).map(|(_, n, _)| format!("`{n}`"));
            format!("name an attribute, or one of {}", names.collect::<Vec<_>>().join(", "))
        }
    };
    format!("the pipeline makes nothing named `{text}`\n  help: {help}")
}

/// Everything with a name: its kind (for attributes, the entity), the name, the node.
fn named(pipeline: &Pipeline) -> Vec<(String, String, Node)> {
    let mut out: Vec<(String, String, Node)> = vec![];
    let mut add = |kind: &str, name: &str, node: Node| out.push((kind.to_owned(), name.to_owned(), node));
    for s in &pipeline.sources {
        add("source", s.name.as_str(), Node::Source(s.name.value.clone()));
    }
    for t in &pipeline.tables {
        add("table", t.name.as_str(), Node::Table(t.name.value.clone()));
    }
    for entity in &pipeline.entities {
        let name = entity.name.as_str();
        let columns = |names: Vec<String>| Node::Columns { entity: name.to_owned(), names };
        let blocks: Vec<&Block> = pipeline.attributes.iter().filter(|a| a.entity.value == name).flat_map(|a| &a.blocks).collect();
        add("entity", name, columns(blocks.iter().flat_map(|b| names(b)).filter(|n| !n.starts_with('_')).collect()));
        add(name, "attributes", columns(blocks.iter().flat_map(|b| names(b)).filter(|n| !n.starts_with('_')).collect()));
        let sources: BTreeSet<&str> =
            blocks.iter().filter_map(|b| if let Block::From(f) = b { Some(f.from.as_str()) } else { None }).collect();
        for from in sources {
            let of_source = blocks.iter().filter(|b| matches!(b, Block::From(f) if f.from.value == from));
            add(&format!("{name}.from"), from, columns(of_source.flat_map(|b| names(b)).collect()));
        }
        for attribute in blocks.iter().flat_map(|b| names(b)) {
            add(name, &attribute, columns(vec![attribute.clone()]));
        }
    }
    for s in &pipeline.segments {
        let node = |names: Vec<&str>| Node::Columns {
            entity: s.entity.value.clone(),
            names: names.into_iter().map(str::to_owned).collect(),
        };
        add("segment", s.name.as_str(), node(s.columns()));
        for column in s.columns().into_iter().filter(|c| *c != s.name.as_str()) {
            add("segment", column, node(vec![column]));
        }
    }
    for p in &pipeline.profiles {
        add("profile", p.name.as_str(), Node::Profile(p.name.value.clone()));
    }
    for w in pipeline.panel.iter().flat_map(|p| &p.waves) {
        add("panel", w.name.as_str(), Node::Wave(w.name.value.clone()));
    }
    for o in &pipeline.outputs {
        add("output", o.name.as_str(), Node::Output(o.name.value.clone()));
    }
    out
}

fn names(block: &Block) -> Vec<String> {
    match block {
        Block::Row(row) => row.iter().map(|a| a.name.value.clone()).collect(),
        Block::From(from) => from.columns.iter().map(|a| a.name.value.clone()).collect(),
    }
}

impl Compiled<'_> {
    /// The steps that `node` needs. Errors: as the compiler says.
    pub fn required(&self, node: &Node) -> Result<Required> {
        let pipeline = self.pipeline;
        Ok(match node {
            Node::Source(_) | Node::Table(_) => Required::default(),
            Node::Columns { entity, names } if self.are_attributes(entity, names) => {
                Required { tables: self.globals_below(&self.narrowed_pass(entity, names)?)?, ..Required::default() }
            }
            Node::Columns { entity, names } => self.of_view(entity, names)?,
            Node::Profile(name) => match pipeline.profiles.iter().find(|p| p.name.value == *name) {
                Some(profile) => {
                    let described = profile.describe.iter().map(|(_, sql)| sql);
                    let mut used: Vec<String> = profile.of.iter().map(|n| n.value.clone()).collect();
                    used.extend(described.flat_map(named_in));
                    self.of_view(&profiles::owner(pipeline, profile).unwrap_or_default(), &used)?
                }
                None => Required::default(),
            },
            Node::Wave(name) => self.of_wave(name)?,
            Node::Output(name) => match pipeline.outputs.iter().find(|o| o.name.value == *name) {
                Some(output) => match &output.from {
                    Rows::Entity(entity) => {
                        let mut used: Vec<String> = output.filter.iter().flat_map(named_in).collect();
                        for item in &output.select {
                            match &item.value {
                                Select::Column(name) => used.push(name.clone()),
                                Select::Segments(_) | Select::All(_) => used.extend(self.segment_columns(entity.as_str())),
                                Select::Attributes(_) | Select::Source(..) => {}
                            }
                        }
                        self.of_view(entity.as_str(), &used)?
                    }
                    Rows::Wave(wave) | Rows::WavePart(wave, WavePart::Allocation) => self.of_wave(wave.as_str())?,
                    Rows::WavePart(wave, _) => Required { wave: None, ..self.of_wave(wave.as_str())? },
                    Rows::Profile(profile) => self.required(&Node::Profile(profile.value.clone()))?,
                    Rows::Table(table) => self.required(&Node::Table(table.value.clone()))?,
                },
                None => Required::default(),
            },
        })
    }

    /// The rows of `node`, once the steps it needs are done; without columns that no output could select. Errors: as the
    /// compiler says.
    pub fn node_plan(&self, node: &Node, solved: &Solved) -> Result<LogicalPlan> {
        match node {
            Node::Source(name) | Node::Table(name) => self.relation_rows(name),
            Node::Columns { entity, names } if self.are_attributes(entity, names) => {
                let narrowed = self.narrowed_pass(entity, names)?;
                let Some(found) = self.pipeline.entity(entity) else { return plan_err!("there is no entity `{entity}`") };
                let plan = cogroup(&self.planner, self.pipeline, &self.relations, &self.catalog, found, &narrowed)?;
                self.in_order(plan, entity, names)
            }
            Node::Columns { entity, names } => self.in_order(self.view(entity, solved)?, entity, names),
            Node::Profile(name) => self.profile_plan(name, solved),
            Node::Wave(name) => match self.pipeline.wave(name) {
                Some(wave) => visible(self.weighted(wave, solved)?),
                None => plan_err!("there is no wave `{name}`"),
            },
            Node::Output(name) => match self.pipeline.outputs.iter().find(|o| o.name.value == *name) {
                Some(output) => self.output_plan(output, solved),
                None => plan_err!("there is no output `{name}`"),
            },
        }
    }

    /// The first `rows` rows of `node`, in the order of its key where it has one.
    pub fn first_rows(&self, node: &Node, solved: &Solved, rows: usize) -> Result<LogicalPlan> {
        let plan = self.node_plan(node, solved)?;
        let key: Vec<String> = match node {
            Node::Source(name) => self.pipeline.source(name).map_or(vec![], |s| texts(&s.key)),
            Node::Table(name) => self.pipeline.table(name).map_or(vec![], |t| texts(&t.key)),
            Node::Columns { entity, .. } => self.pipeline.entity(entity).map_or(vec![], |e| vec![e.key.value.clone()]),
            Node::Profile(_) => vec![],
            Node::Wave(_) => {
                let entity = self.pipeline.panel.as_ref().and_then(|p| self.pipeline.entity(p.entity.as_str()));
                entity.map_or(vec![], |e| vec![e.key.value.clone()])
            }
            Node::Output(name) => match self.pipeline.outputs.iter().find(|o| o.name.value == *name).map(|o| &o.from) {
                Some(Rows::Entity(e)) => self.pipeline.entity(e.as_str()).map_or(vec![], |e| vec![e.key.value.clone()]),
                _ => vec![],
            },
        };
        let there = |k: &String| plan.schema().index_of_column_by_name(None, k).is_some();
        match !key.is_empty() && key.iter().all(there) {
            true => {
                let sort = key.iter().map(|k| ident(k).sort(true, false)).collect::<Vec<_>>();
                LogicalPlanBuilder::from(plan).sort_with_limit(sort, Some(rows))?.build()
            }
            false => LogicalPlanBuilder::from(plan).limit(0, Some(rows))?.build(),
        }
    }

    /// Columns of `node` that name a person by themselves, by where their values come from.
    pub fn direct_ids(&self, node: &Node) -> BTreeSet<String> {
        let pass_of = |entity: &str| self.passes.get(entity);
        let of_pass = |pass: &EntityPass, name: &str| self.is_direct(&pass.result, name);
        match node {
            Node::Source(name) | Node::Table(name) => match self.relations.plan(name) {
                Some(plan) => {
                    let all = plan.schema().fields().iter().map(|f| f.name().clone());
                    all.filter(|c| self.is_direct_of(name, c)).collect()
                }
                None => BTreeSet::new(),
            },
            Node::Columns { entity, names } => {
                let key = self.pipeline.entity(entity).map(|e| e.key.value.clone());
                let all = names.iter().cloned().chain(key);
                all.filter(|n| pass_of(entity).is_some_and(|p| of_pass(p, n))).collect()
            }
            Node::Profile(_) => BTreeSet::new(),
            Node::Wave(_) => match self.pipeline.panel.as_ref().and_then(|p| pass_of(p.entity.as_str())) {
                Some(pass) => {
                    let all = pass.result.schema().fields().iter().map(|f| f.name().clone());
                    all.filter(|n| of_pass(pass, n)).collect()
                }
                None => BTreeSet::new(),
            },
            Node::Output(name) => self.direct_ids_of_output(name),
        }
    }

    fn direct_ids_of_output(&self, name: &str) -> BTreeSet<String> {
        let Some(output) = self.pipeline.outputs.iter().find(|o| o.name.value == name) else { return BTreeSet::new() };
        let entity = match &output.from {
            Rows::Entity(e) => Some(e.value.clone()),
            Rows::Wave(_) | Rows::WavePart(..) => self.pipeline.panel.as_ref().map(|p| p.entity.value.clone()),
            Rows::Profile(_) => None,
            Rows::Table(table) => return self.direct_ids(&Node::Table(table.value.clone())),
        };
        let Some(pass) = entity.and_then(|e| self.passes.get(&e)) else { return BTreeSet::new() };
        let all = pass.result.schema().fields().iter().map(|f| f.name().clone());
        let mut out: BTreeSet<String> = all.filter(|n| self.is_direct(&pass.result, n)).collect();
        for item in &output.select {
            if let Select::Source(table, column) = &item.value
                && self.is_direct_of(table, column)
            {
                out.insert(column.clone());
            }
        }
        out
    }

    /// What the file says of `node`, in its order.
    pub fn written(&self, node: &Node) -> Vec<Written> {
        let one = |name: &Name, sql: &Sql| Written { name: name.clone(), sql: Some(sql.clone()) };
        let bare = |name: &Name| Written { name: name.clone(), sql: None };
        match node {
            Node::Source(name) => self.pipeline.source(name).map_or(vec![], |s| {
                let filter = s.filter.iter().map(|sql| one(&Name::new("where".into(), sql.span), sql));
                std::iter::once(bare(&s.name)).chain(filter).chain(s.derive.iter().map(|(n, sql)| one(n, sql))).collect()
            }),
            Node::Table(name) => self.pipeline.table(name).map_or(vec![], |t| vec![one(&t.name, &t.sql)]),
            Node::Columns { entity, names } => self.written_columns(entity, names),
            Node::Profile(name) => match self.pipeline.profiles.iter().find(|p| p.name.value == *name) {
                Some(p) => std::iter::once(bare(&p.name)).chain(p.describe.iter().map(|(n, sql)| one(n, sql))).collect(),
                None => vec![],
            },
            Node::Wave(name) => self.pipeline.wave(name).map_or(vec![], |w| vec![bare(&w.name)]),
            Node::Output(name) => match self.pipeline.outputs.iter().find(|o| o.name.value == *name) {
                Some(o) => {
                    let filter = o.filter.iter().map(|sql| one(&Name::new("where".into(), sql.span), sql));
                    std::iter::once(bare(&o.name)).chain(filter).collect()
                }
                None => vec![],
            },
        }
    }

    fn written_columns(&self, entity: &str, names: &[String]) -> Vec<Written> {
        use strata_spec::pipeline::RowValue;
        let mut out = vec![];
        let blocks = self.pipeline.attributes.iter().filter(|a| a.entity.value == entity).flat_map(|a| &a.blocks);
        for block in blocks {
            match block {
                Block::Row(row) => {
                    for a in row.iter().filter(|a| names.contains(&a.name.value)) {
                        match &a.value {
                            RowValue::Sql(sql) => out.push(Written { name: a.name.clone(), sql: Some(sql.clone()) }),
                            RowValue::Rules(rules) => out.extend(rules.iter().map(rule)),
                        }
                    }
                }
                Block::From(from) => {
                    let wanted = from.columns.iter().filter(|a| names.contains(&a.name.value));
                    out.extend(wanted.map(|a| Written { name: a.name.clone(), sql: Some(a.sql.clone()) }));
                }
            }
        }
        for s in self.pipeline.segments.iter().filter(|s| s.columns().iter().any(|c| names.iter().any(|n| n == c))) {
            let by = match &s.method {
                Method::By { by, .. } => Some(texts(by).join(", ")),
                _ => None,
            };
            let by = by.map(|text| Sql { text: format!("by {text}"), span: s.name.span, line_starts: vec![s.name.span.start] });
            out.push(Written { name: s.name.clone(), sql: by });
            out.extend(s.filter.iter().map(|sql| Written { name: Name::new("where".into(), sql.span), sql: Some(sql.clone()) }));
            match &s.method {
                Method::Rules { rules, .. } => out.extend(rules.iter().map(rule)),
                _ => {
                    let used = segments::texts(s).into_iter().filter(|t| s.filter.as_ref() != Some(t));
                    out.extend(used.map(|sql| Written { name: s.name.clone(), sql: Some(sql.clone()) }));
                }
            }
        }
        out
    }

    /// The plans behind `node`, each with what it makes: its own first, then those of the tables and sources below it. Typed
    /// against stand-ins
    /// where a step would have to run first. Errors: as the compiler says.
    pub fn explained(&mut self, node: &Node) -> Result<Vec<(String, LogicalPlan)>> {
        let solved = Solved::placeholder(self.pipeline);
        let own = match node {
            Node::Columns { entity, names } if self.are_attributes(entity, names) => {
                program::optimised(&self.narrowed_pass(entity, names)?)?
            }
            Node::Source(name) | Node::Table(name) => match self.relations.plan(name) {
                Some(plan) => self.planner.optimised.of(plan)?,
                None => return plan_err!("there is no table `{name}`"),
            },
            Node::Wave(_) => {
                // A draw is not one plan: what is drawn from is.
                let entity = self.pipeline.panel.as_ref().map(|p| p.entity.value.clone()).unwrap_or_default();
                self.assuming_attributes(|c| c.view(&entity, &solved))?
            }
            _ => {
                let of_wave = |o: &strata_spec::pipeline::Output| matches!(o.from, Rows::Wave(_) | Rows::WavePart(..));
                match node {
                    Node::Output(name) if self.pipeline.outputs.iter().any(|o| o.name.value == *name && of_wave(o)) => {
                        return self.explained(&Node::Wave(String::new()));
                    }
                    _ => self.assuming_attributes(|c| c.node_plan(node, &solved))?,
                }
            }
        };
        let own = program::optimised(&own)?;
        let mut out = vec![(String::new(), own.clone())];
        let mut todo: Vec<(String, BTreeSet<String>)> = program::needs(&own)?.into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some((name, columns)) = todo.pop() {
            if name.starts_with("raw:") || !seen.insert(name.clone()) {
                continue;
            }
            let Some(plan) = self.relations.plan(&name) else { continue };
            let own: Vec<Expr> = plan.schema().iter().filter(|(_, f)| columns.contains(f.name())).map(Expr::from).collect();
            let plan = program::optimised(&LogicalPlanBuilder::from(plan.clone()).project(own)?.build()?)?;
            todo.extend(program::needs(&plan)?);
            out.push((name, plan));
        }
        Ok(out)
    }

    /// What `make` gives while the attributes of every entity stand as made.
    fn assuming_attributes<T>(&mut self, make: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        use strata_operators::pinned::{PinnedFormat, PinnedTable};
        let stand_in = |pass: &EntityPass| PinnedTable {
            store: "file:///".into(),
            format: PinnedFormat::Parquet,
            schema: std::sync::Arc::new(pass.result.schema().as_arrow().clone()),
            hive: 0,
            files: vec![],
            complete: vec![],
        };
        let work = self.passes.iter().map(|(entity, pass)| (format!("attributes:{entity}"), stand_in(pass))).collect();
        let real = self.assume(crate::Known { work, ..crate::Known::default() });
        let made = make(self);
        self.assume(real);
        made
    }

    fn relation_rows(&self, name: &str) -> Result<LogicalPlan> {
        let Some(plan) = self.relations.plan(name) else { return plan_err!("there is no table `{name}`") };
        let is_table = self.pipeline.table(name).is_some();
        let own = plan.schema().iter().filter(|(q, _)| is_table || q.is_some_and(|q| q.table() == name));
        let own: Vec<Expr> = own.map(|(q, f)| Expr::from((q, f)).alias(f.name())).collect();
        let plan = LogicalPlanBuilder::from(plan.clone()).project(own)?.build()?;
        self.inlined(self.planner.optimised.of(&plan)?)
    }

    fn are_attributes(&self, entity: &str, names: &[String]) -> bool {
        names.iter().all(|n| self.attributes(entity).contains(n))
    }

    fn narrowed_pass(&self, entity: &str, names: &[String]) -> Result<LogicalPlan> {
        let (Some(pass), Some(found)) = (self.passes.get(entity), self.pipeline.entity(entity)) else {
            return plan_err!("there is no entity `{entity}`");
        };
        let wanted = names.iter().cloned().chain([found.key.value.clone()]).collect();
        program::narrowed(&pass.result, &wanted)
    }

    /// The key, then the columns as they are asked for.
    fn in_order(&self, plan: LogicalPlan, entity: &str, names: &[String]) -> Result<LogicalPlan> {
        let Some(found) = self.pipeline.entity(entity) else { return plan_err!("there is no entity `{entity}`") };
        let key = &found.key.value;
        let columns = std::iter::once(key).chain(names.iter().filter(|n| *n != key)).map(ident);
        LogicalPlanBuilder::from(plan).project(columns.collect::<Vec<_>>())?.build()
    }

    fn segment_columns(&self, entity: &str) -> Vec<String> {
        let own = self.pipeline.segments.iter().filter(|s| s.entity.value == entity);
        own.flat_map(|s| s.columns()).map(str::to_owned).collect()
    }

    /// All attributes of an entity, and the segmentations that `names` and those they name are.
    fn of_view(&self, entity: &str, names: &[String]) -> Result<Required> {
        let tables = match self.passes.get(entity) {
            Some(pass) => self.globals_below(&pass.result)?,
            None => vec![],
        };
        let uses = segments::dependencies(self.pipeline);
        let owns = |s: &Segmentation, n: &str| s.name.value == n || s.columns().contains(&n);
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        let mut todo: Vec<String> = names.to_vec();
        while let Some(name) = todo.pop() {
            for s in self.pipeline.segments.iter().filter(|s| owns(s, &name)) {
                if wanted.insert(s.name.value.clone()) {
                    todo.extend(uses.iter().filter(|(n, _, _)| *n == s.name.value).flat_map(|(_, used, _)| used.clone()));
                }
            }
        }
        let in_order = self.segmentation_order();
        let solved = in_order.iter().filter(|s| wanted.contains(&s.name.value) && segments::is_solved_first(s));
        let solved = solved.map(|s| s.name.value.clone()).collect();
        Ok(Required { tables, attributes: Some(entity.to_owned()), solved, wave: None })
    }

    fn of_wave(&self, name: &str) -> Result<Required> {
        let entity = self.pipeline.panel.as_ref().map(|p| p.entity.value.clone()).unwrap_or_default();
        Ok(Required { wave: Some(name.to_owned()), ..self.of_view(&entity, &self.segment_columns(&entity))? })
    }

    /// Tables below `plan` that are steps of their own.
    fn globals_below(&self, plan: &LogicalPlan) -> Result<Vec<String>> {
        let seen = self.relations_below(plan)?;
        Ok(self.globals.iter().filter(|g| seen.contains(*g)).cloned().collect())
    }

    fn is_direct(&self, plan: &LogicalPlan, column: &str) -> bool {
        classes::classes(self.pipeline, &self.relations, plan, column).contains(&Class::DirectId)
    }

    /// Whether a column of a source or table names a person.
    fn is_direct_of(&self, relation: &str, column: &str) -> bool {
        classes::of_relation(self.pipeline, &self.relations, relation, column).contains(&Class::DirectId)
    }
}

fn rule(rule: &strata_spec::pipeline::Rule) -> Written {
    let otherwise = || Sql { text: "else".into(), span: rule.label.span, line_starts: vec![rule.label.span.start] };
    Written { name: rule.label.clone(), sql: Some(rule.when.clone().unwrap_or_else(otherwise)) }
}

fn texts(names: &[Name]) -> Vec<String> {
    names.iter().map(|n| n.value.clone()).collect()
}

fn named_in(sql: &Sql) -> Vec<String> {
    let tree = parse::expr(sql).ok();
    tree.map_or(vec![], |tree| sql::names_in(&tree).into_iter().filter(|(q, _)| q.is_none()).map(|(_, n)| n).collect())
}

/// Without the columns that only the compiler knows.
fn visible(plan: LogicalPlan) -> Result<LogicalPlan> {
    let hidden = |name: &str| name.starts_with('_') || name.contains([':', '.', '#']);
    let columns: Vec<Expr> = plan.schema().iter().filter(|(_, f)| !hidden(f.name())).map(Expr::from).collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
