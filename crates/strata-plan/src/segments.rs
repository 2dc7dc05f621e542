//! Segmentations as expressions over the rows of an entity, and the summaries their models are solved from. Never assigns by a row's place.

use crate::Compiled;
use crate::attributes::{row_value, rules_expr};
use crate::expr::{Grain, Planner, double};
use crate::lifecycle;
use crate::parse;
use crate::program;
use crate::rfm::{self, People};
use crate::scope::Scope;
use crate::solved::{Clusters, Solved};
use crate::sql;
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, cast, ident, lit, when};
use std::collections::BTreeSet;
use std::sync::Arc;
use strata_spec::pipeline::{Entity, KMeans, Method, RecencyOrder, RfmMode, RowValue, Scale, Segmentation};
use strata_spec::{Pipeline, Sql};

/// The last row of a group of a ranking: rows after it belong to a higher group.
#[derive(Debug, Clone, PartialEq)]
pub struct Boundary {
    /// Its value.
    pub value: ScalarValue,
    /// Its key; `None`: every row of that value belongs to the lower group.
    pub key: Option<ScalarValue>,
}

/// One ranking that is cut into equal groups.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// Name in [`Solved::cuts`].
    pub name: String,
    /// Number of groups.
    pub bins: u32,
    /// (value, number of rows), in score order.
    pub histogram: LogicalPlan,
    value: Expr,
    filter: Expr,
    view: LogicalPlan,
    key: String,
    descending: bool,
}

/// Plans of one k-means.
#[derive(Debug, Clone)]
pub struct KMeansPlan {
    /// Key and raw features of everyone who takes part, as doubles named `f0`, `f1`, …
    pub features: LogicalPlan,
    /// Names of the features.
    pub names: Vec<String>,
    /// Raw features of the rows the centroids start at, in order, if they are given by an expression.
    pub first: Option<LogicalPlan>,
}

impl Compiled<'_> {
    /// The rows of an entity with every segmentation that is solved.
    pub fn view(&self, entity: &str, solved: &Solved) -> Result<LogicalPlan> {
        let (Some(found), Some(pinned)) = (self.pipeline.entity(entity), self.catalog.work.get(&format!("attributes:{entity}")))
        else {
            return plan_err!("the attributes of `{entity}` are not made yet");
        };
        let base = crate::scan_work("attributes", pinned)?;
        let base = unqualified(base)?;
        self.found(view(&self.planner, self.pipeline, found, base, solved))
    }

    /// Segmentations in an order in which each comes after those it names.
    pub fn segmentation_order(&self) -> Vec<&strata_spec::pipeline::Segmentation> {
        order(&self.planner, self.pipeline).into_iter().map(|i| &self.pipeline.segments[i]).collect()
    }

    /// The rankings a segmentation is solved from.
    pub fn rankings(&self, segmentation: &Segmentation, solved: &Solved) -> Result<Vec<Ranking>> {
        let view = self.view(&segmentation.entity.value, solved)?;
        let Some(entity) = self.pipeline.entity(&segmentation.entity.value) else { return Ok(vec![]) };
        let name = &segmentation.name.value;
        let wanted: Vec<(String, u32, &Sql, bool)> = match &segmentation.method {
            Method::Quantile { of, bins, .. } => vec![(name.clone(), *bins, of, false)],
            Method::Rfm(rfm) if matches!(*rfm.mode, RfmMode::Fixed(_)) || self.kept(segmentation).is_some() => vec![],
            Method::Rfm(rfm) => {
                let descending = *rfm.mode == RfmMode::Ntile && rfm.r_order == RecencyOrder::Descending;
                vec![
                    (format!("{name}.r"), rfm.bins, &rfm.recency, descending),
                    (format!("{name}.f"), rfm.bins, &rfm.frequency, false),
                    (format!("{name}.m"), rfm.bins, &rfm.monetary, false),
                ]
            }
            _ => vec![],
        };
        let mut out = vec![];
        for (name, bins, sql, descending) in wanted {
            let (value, filter) = self.found(self.value_and_filter(segmentation, sql, &view))?;
            let filter = filter.and(value.clone().is_not_null());
            let histogram = LogicalPlanBuilder::from(view.clone())
                .filter(filter.clone())?
                .project([value.clone().alias("value")])?
                .aggregate([ident("value")], [count(lit(1i64)).alias("rows")])?
                .sort([ident("value").sort(!descending, false)])?
                .build()?;
            let key = entity.key.value.clone();
            out.push(Ranking { name, bins, histogram, value, filter, view: view.clone(), key, descending });
        }
        Ok(out)
    }

    fn value_and_filter(&self, segmentation: &Segmentation, sql: &Sql, view: &LogicalPlan) -> Option<(Expr, Expr)> {
        let schema = view.schema().as_ref();
        let scope = Scope::of(schema, None);
        let value = self.planner.expr(sql, schema, &scope, Grain::Row)?;
        Some((value, member(&self.planner, segmentation, schema, &scope)?))
    }

    /// The plans of a k-means.
    pub fn kmeans(&self, segmentation: &Segmentation, model: &KMeans, solved: &Solved) -> Result<KMeansPlan> {
        let view = self.view(&segmentation.entity.value, solved)?;
        let Some(entity) = self.pipeline.entity(&segmentation.entity.value) else { return plan_err!("no entity") };
        let schema = view.schema().as_ref().clone();
        let scope = Scope::of(&schema, None);
        let filter = self.found(member(&self.planner, segmentation, &schema, &scope))?;
        let features = self.found(raw_features(&self.planner, model, &schema, &scope))?;
        let members = LogicalPlanBuilder::from(view).filter(filter)?;
        let mut columns = vec![ident(&entity.key.value)];
        columns.extend(features.iter().enumerate().map(|(i, f)| f.clone().alias(format!("f{i}"))));
        let first = match &model.init {
            strata_spec::pipeline::Init::FirstBy(sql) => {
                let by = self.found(self.planner.expr(sql, &schema, &scope, Grain::Row))?;
                let mut columns = columns.clone();
                columns.push(by.alias("#by"));
                let sort = [ident("#by").sort(true, false), ident(&entity.key.value).sort(true, false)];
                let first = members.clone().project(columns)?.sort_with_limit(sort, Some(model.k as usize))?;
                Some(first.project((0..features.len()).map(|i| ident(format!("f{i}"))))?.build()?)
            }
            strata_spec::pipeline::Init::Centroids(_) => None,
        };
        let names = model.features.iter().map(|(n, _)| n.value.clone()).collect();
        Ok(KMeansPlan { features: members.project(columns)?.build()?, names, first })
    }

    /// Number of rows and, for each feature, its non-null count and moments: `rows`, `n0`, `m0`, `n1`, …
    pub fn kmeans_moments(&self, segmentation: &str, features: usize) -> Result<LogicalPlan> {
        let moments = self.planner.names.aggregate("exact_moments")?;
        let mut aggregates = vec![count(lit(1i64)).alias("rows")];
        for i in 0..features {
            let f = ident(format!("f{i}"));
            aggregates.push(count(f.clone()).alias(format!("n{i}")));
            aggregates.push(moments.call(vec![f]).alias(format!("m{i}")));
        }
        LogicalPlanBuilder::from(self.features(segmentation)?).aggregate(Vec::<Expr>::new(), aggregates)?.build()
    }

    /// For each cluster that has members: `cluster`, `rows`, and the exact sum of each scaled feature, `s0`, `s1`, …
    pub fn kmeans_sums(&self, segmentation: &str, clusters: &Clusters) -> Result<LogicalPlan> {
        let scan = self.features(segmentation)?;
        let d = clusters.means.len();
        let scaled = scaled_columns(clusters, (0..d).map(|i| ident(format!("f{i}"))).collect());
        let named = scaled.into_iter().enumerate().map(|(i, s)| s.alias(format!("x{i}"))).collect::<Vec<_>>();
        let x: Vec<Expr> = (0..d).map(|i| ident(format!("x{i}"))).collect();
        let sum = self.planner.names.aggregate("exact_sum")?;
        let assign = assign(&self.planner, "kmeans_assign", clusters, x.clone())?;
        let mut aggregates = vec![count(lit(1i64)).alias("rows")];
        aggregates.extend(x.into_iter().enumerate().map(|(i, x)| sum.call(vec![x]).alias(format!("s{i}"))));
        LogicalPlanBuilder::from(scan).project(named)?.aggregate([assign.alias("cluster")], aggregates)?.build()
    }

    /// Raw features of everybody who takes part, without keys.
    pub fn kmeans_features(&self, segmentation: &str, features: usize) -> Result<LogicalPlan> {
        let columns = (0..features).map(|i| ident(format!("f{i}")));
        LogicalPlanBuilder::from(self.features(segmentation)?).project(columns)?.build()
    }

    /// The `n` rows farthest from their centroid, scaled, then their `cluster`; farthest first, ties by key.
    pub fn kmeans_farthest(&self, segmentation: &str, clusters: &Clusters, key: &str, n: usize) -> Result<LogicalPlan> {
        let d = clusters.means.len();
        let scaled = scaled_columns(clusters, (0..d).map(|i| ident(format!("f{i}"))).collect());
        let mut columns: Vec<Expr> = scaled.into_iter().enumerate().map(|(i, s)| s.alias(format!("x{i}"))).collect();
        columns.push(ident(key));
        let x: Vec<Expr> = (0..d).map(|i| ident(format!("x{i}"))).collect();
        let distance = assign(&self.planner, "kmeans_distance", clusters, x.clone())?.alias("distance");
        let mut all = x.clone();
        let cluster = assign(&self.planner, "kmeans_assign", clusters, x.clone())?.alias("cluster");
        all.extend([ident(key), distance, cluster]);
        let sort = [ident("distance").sort(false, false), ident(key).sort(true, false)];
        let plan = LogicalPlanBuilder::from(self.features(segmentation)?).project(columns)?.project(all)?;
        let out: Vec<Expr> = x.into_iter().chain([ident("cluster")]).collect();
        plan.sort_with_limit(sort, Some(n))?.project(out)?.build()
    }

    /// The sum of squared distances to the nearest centroid: `inertia`.
    pub fn kmeans_inertia(&self, segmentation: &str, clusters: &Clusters) -> Result<LogicalPlan> {
        let d = clusters.means.len();
        let scaled = scaled_columns(clusters, (0..d).map(|i| ident(format!("f{i}"))).collect());
        let distance = assign(&self.planner, "kmeans_distance", clusters, scaled)?;
        let sum = self.planner.names.aggregate("exact_sum")?.call(vec![distance]).alias("inertia");
        LogicalPlanBuilder::from(self.features(segmentation)?).aggregate(Vec::<Expr>::new(), [sum])?.build()
    }

    fn features(&self, segmentation: &str) -> Result<LogicalPlan> {
        match self.catalog.work.get(&format!("features:{segmentation}")) {
            Some(pinned) => unqualified(crate::scan_work("features", pinned)?),
            None => plan_err!("the features of `{segmentation}` are not made yet"),
        }
    }

    /// Sizes of each column of a segmentation: `segment`, `rows`, and `value` (the sum of the entity's value, if it has one).
    pub fn segment_sizes(&self, segmentation: &Segmentation, solved: &Solved) -> Result<LogicalPlan> {
        let view = self.view(&segmentation.entity.value, solved)?;
        let schema = view.schema().as_ref().clone();
        let scope = Scope::of(&schema, None);
        let column = segmentation.columns()[0].to_owned();
        let mut aggregates = vec![count(lit(1i64)).alias("rows")];
        if let Some(value) = self.value(&segmentation.entity.value) {
            let value = self.found(self.planner.expr(&value, &schema, &scope, Grain::Row))?;
            let sum = self.planner.names.aggregate("exact_sum")?;
            aggregates.push(sum.call(vec![double(value, &schema)?]).alias("value"));
        }
        // No column of a user begins with `#`.
        let text = as_text(&column, &schema).alias("#segment");
        LogicalPlanBuilder::from(view)
            .project(schema.iter().map(Expr::from).chain([text]).collect::<Vec<_>>())?
            .aggregate([ident("#segment")], aggregates)?
            .sort([ident("#segment").sort(true, false)])?
            .build()
    }

    /// What a row of the entity is worth: `value:` of the entity, else what its first RFM calls monetary.
    pub fn value(&self, entity: &str) -> Option<Sql> {
        let declared = self.pipeline.entity(entity)?.value.clone();
        declared.or_else(|| {
            self.pipeline.segments.iter().filter(|s| s.entity.value == entity).find_map(|s| match &s.method {
                Method::Rfm(r) => Some(r.monetary.clone()),
                _ => None,
            })
        })
    }

    /// The answer, or what was found wrong as an error.
    pub(crate) fn found<T>(&self, value: Option<T>) -> Result<T> {
        match value {
            Some(v) => Ok(v),
            None => {
                let found = std::mem::take(&mut *self.planner.found());
                let text: Vec<String> = found.into_iter().map(|d| d.message).collect();
                plan_err!("{}", text.join("; "))
            }
        }
    }
}

impl Ranking {
    /// For each (value, rank from 1): the key of the row at that rank among the rows of the value, in key order.
    pub fn keys_at(&self, wanted: Vec<(ScalarValue, u64)>) -> Result<Vec<LogicalPlan>> {
        wanted.into_iter().map(|(value, rank)| self.key_at(&value, rank)).collect()
    }

    fn key_at(&self, value: &ScalarValue, rank: u64) -> Result<LogicalPlan> {
        let same = self.value.clone().eq(lit(value.clone()));
        LogicalPlanBuilder::from(self.view.clone())
            .filter(self.filter.clone().and(same))?
            .project([ident(&self.key).alias("key")])?
            .sort([ident("key").sort(true, false)])?
            .limit(rank.saturating_sub(1) as usize, Some(1))?
            .build()
    }

    /// Whether higher groups have smaller values.
    pub fn descending(&self) -> bool {
        self.descending
    }
}

/// A scan without qualifiers, so that columns are named as the user names them.
fn unqualified(plan: LogicalPlan) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = plan.schema().iter().map(|(q, f)| Expr::from((q, f)).alias(f.name())).collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// Who takes part; null counts as no.
pub(crate) fn member(planner: &Planner, segmentation: &Segmentation, schema: &DFSchema, scope: &Scope) -> Option<Expr> {
    match &segmentation.filter {
        None => Some(lit(true)),
        Some(sql) => planner.expr(sql, schema, scope, Grain::Row).map(|e| e.is_true()),
    }
}

fn raw_features(planner: &Planner, model: &KMeans, schema: &DFSchema, scope: &Scope) -> Option<Vec<Expr>> {
    let mut out = vec![];
    for (_, sql) in &model.features {
        let expr = planner.expr(sql, schema, scope, Grain::Row);
        out.push(expr.and_then(|e| double(e, schema).map_err(|e| planner.report(crate::expr::explain(sql, &e))).ok()));
    }
    out.into_iter().collect()
}

/// (x − mean) / deviation; 0 where the deviation is 0, null where x is null.
fn scaled_columns(clusters: &Clusters, raw: Vec<Expr>) -> Vec<Expr> {
    raw.into_iter()
        .zip(clusters.means.iter().zip(&clusters.deviations))
        .map(|(x, (mean, deviation))| match *deviation == 0.0 {
            true => (x - lit(*mean)) * lit(0.0),
            false => (x - lit(*mean)) / lit(*deviation),
        })
        .collect()
}

fn assign(planner: &Planner, function: &str, clusters: &Clusters, scaled: Vec<Expr>) -> Result<Expr> {
    let d = clusters.means.len().max(1);
    let bytes: Vec<u8> = clusters.centroids.iter().flat_map(|c| c.to_le_bytes()).collect();
    let mut args = vec![lit(ScalarValue::Binary(Some(bytes))), lit((clusters.centroids.len() / d) as i64)];
    args.extend(scaled);
    Ok(planner.names.scalar(function)?.call(args))
}

fn order(planner: &Planner, pipeline: &Pipeline) -> Vec<usize> {
    program::ordered(planner, &dependencies(pipeline), "segmentations")
}

/// Each segmentation and those it names.
pub(crate) fn dependencies(pipeline: &Pipeline) -> Vec<(String, BTreeSet<String>, strata_spec::Span)> {
    let owner = |name: &str| {
        pipeline.segments.iter().find(|s| s.columns().contains(&name) || s.name.value == name).map(|s| s.name.value.clone())
    };
    pipeline
        .segments
        .iter()
        .map(|s| {
            let mut uses: BTreeSet<String> = texts(s)
                .iter()
                .filter_map(|sql| parse::expr(sql).ok())
                .flat_map(|tree| sql::names_in(&tree))
                .filter(|(q, _)| q.is_none())
                .filter_map(|(_, n)| owner(&n))
                .collect();
            if let Method::By { by, .. } = &s.method {
                uses.extend(by.iter().filter_map(|n| owner(&n.value)));
            }
            if let Method::Lifecycle(l) = &s.method {
                uses.extend(l.cohort.iter().filter_map(|n| owner(&n.value)));
            }
            (s.name.value.clone(), uses, s.name.span)
        })
        .collect()
}

/// Every expression of a segmentation.
pub(crate) fn texts(s: &Segmentation) -> Vec<&Sql> {
    let mut out: Vec<&Sql> = s.filter.iter().collect();
    match &s.method {
        Method::Rules { rules, .. } => out.extend(rules.iter().filter_map(|r| r.when.as_ref())),
        Method::Quantile { of, .. } => out.push(of),
        Method::Rfm(r) => out.extend([&r.recency, &r.frequency, &r.monetary]),
        Method::KMeans(k) => out.extend(k.features.iter().map(|(_, s)| s)),
        Method::Lifecycle(l) => {
            out.extend([&l.purchase_days, &l.recency_days, &l.gap_days, &l.gaps].into_iter().chain(&l.last_gap))
        }
        Method::Flag | Method::By { .. } => {}
    }
    out
}

/// The rows of an entity and the columns of every segmentation solved so far; `None` if one of them is wrong.
pub(crate) fn view(
    planner: &Planner,
    pipeline: &Pipeline,
    entity: &Entity,
    base: LogicalPlan,
    solved: &Solved,
) -> Option<LogicalPlan> {
    let seen = as_far_as_right(planner, pipeline, entity, base, solved)?;
    seen.wrong.is_empty().then_some(seen.plan)
}

/// The rows of an entity with the segmentations that are right.
pub(crate) struct Seen<'a> {
    pub(crate) plan: LogicalPlan,
    /// Segmentations that are wrong, or use one that is.
    pub(crate) wrong: BTreeSet<&'a str>,
}

/// As [`view`], without what is wrong, which is reported.
pub(crate) fn as_far_as_right<'a>(
    planner: &Planner,
    pipeline: &'a Pipeline,
    entity: &Entity,
    base: LogicalPlan,
    solved: &Solved,
) -> Option<Seen<'a>> {
    let mut plan = base;
    let uses = dependencies(pipeline);
    let mut wrong: BTreeSet<&str> = BTreeSet::new();
    let mut later: BTreeSet<&str> = BTreeSet::new();
    for i in order(planner, pipeline) {
        let segmentation = &pipeline.segments[i];
        if segmentation.entity.value != entity.name.value {
            continue;
        }
        // What names a segmentation that is solved later comes later itself.
        if !is_solved(segmentation, solved) || uses[i].1.iter().any(|u| later.contains(u.as_str())) {
            later.insert(&segmentation.name.value);
            continue;
        }
        if uses[i].1.iter().any(|u| wrong.contains(u.as_str())) {
            wrong.insert(&segmentation.name.value);
            continue;
        }
        let schema = plan.schema().as_ref().clone();
        let scope = Scope::of(&schema, None);
        let Some(columns) = columns(planner, segmentation, entity, &schema, &scope, solved) else {
            wrong.insert(&segmentation.name.value);
            continue;
        };
        let all: Vec<Expr> = schema.iter().map(Expr::from).chain(columns).collect();
        // Not by the builder, which looks through everything below for each segmentation: every column is resolved already.
        let built = Projection::try_new(all, Arc::new(plan)).map(LogicalPlan::Projection);
        plan = built.map_err(|e| planner.report(crate::internal(segmentation.name.span, &e))).ok()?;
    }
    Some(Seen { plan, wrong })
}

/// Whether it has to be solved from a summary of the data.
pub(crate) fn is_solved_first(segmentation: &Segmentation) -> bool {
    !is_solved(segmentation, &Solved::default())
}

fn is_solved(segmentation: &Segmentation, solved: &Solved) -> bool {
    let name = &segmentation.name.value;
    match &segmentation.method {
        Method::Quantile { .. } => solved.cuts.contains_key(name),
        Method::Rfm(r) if matches!(*r.mode, RfmMode::Fixed(_)) => true,
        Method::Rfm(_) => ["r", "f", "m"].iter().all(|s| solved.cuts.contains_key(&format!("{name}.{s}"))),
        Method::KMeans(_) => solved.clusters.contains_key(name),
        Method::Lifecycle(_) => solved.intervals.contains_key(name),
        _ => true,
    }
}

/// What a segmentation needs beyond its columns.
pub(crate) fn check(planner: &Planner, segmentation: &Segmentation, view: &LogicalPlan) {
    if let Method::KMeans(k) = &segmentation.method
        && let strata_spec::pipeline::Init::FirstBy(sql) = &k.init
    {
        let schema = view.schema().as_ref();
        let _ = planner.expr(sql, schema, &Scope::of(schema, None), Grain::Row);
    }
}

fn columns(
    planner: &Planner,
    segmentation: &Segmentation,
    entity: &Entity,
    schema: &DFSchema,
    scope: &Scope,
    solved: &Solved,
) -> Option<Vec<Expr>> {
    let name = &segmentation.name.value;
    let Some(member) = member(planner, segmentation, schema, scope) else {
        // What stands beside `where` is looked at all the same.
        let whole = Segmentation { filter: None, ..segmentation.clone() };
        let _ = columns(planner, &whole, entity, schema, scope, solved);
        return None;
    };
    let label = |others: &Option<strata_spec::Name>| match others {
        Some(o) => lit(o.value.as_str()),
        None => lit(ScalarValue::Utf8(None)),
    };
    let within = |value: Expr, others: Expr| match segmentation.filter.is_some() {
        true => when(member.clone(), value).otherwise(others).ok(),
        false => Some(value),
    };
    let key = &entity.key.value;
    match &segmentation.method {
        Method::Rules { rules, others } => {
            let value = rules_expr(planner, rules, schema, scope)?;
            Some(vec![within(value, label(others))?.alias(name)])
        }
        Method::Flag => Some(vec![member.alias(name)]),
        Method::By { by, others } => {
            let parts: Vec<_> = by.iter().map(|b| cross_part(planner, b, schema, scope)).collect();
            let parts = parts.into_iter().collect::<Option<Vec<_>>>()?;
            Some(vec![within(joined(parts), label(others))?.alias(name)])
        }
        Method::Quantile { of, bins, names, others } => {
            let value = planner.expr(of, schema, scope, Grain::Row)?;
            let tile = tile(&value, key, solved.cuts.get(name)?, false);
            match names.is_empty() {
                true => Some(vec![within(tile, lit(ScalarValue::Int32(None)))?.alias(name)]),
                false => {
                    let tile = named_tile(tile, names, *bins)?;
                    Some(vec![within(tile, label(others))?.alias(name)])
                }
            }
        }
        Method::Rfm(rfm) => {
            let people = People { name, key, schema, scope, member };
            rfm::columns(planner, &people, rfm, solved)
        }
        Method::Lifecycle(lifecycle) => {
            let people = People { name, key, schema, scope, member: member.clone() };
            let stage = lifecycle::stage(planner, &people, lifecycle, solved.intervals.get(name)?)?;
            Some(vec![within(stage, label(&lifecycle.others))?.alias(name)])
        }
        Method::KMeans(k) => {
            let clusters = solved.clusters.get(name)?;
            let features = raw_features(planner, k, schema, scope)?;
            let features = match k.scale {
                Scale::Standard | Scale::None => scaled_columns(clusters, features),
            };
            let number = assign(planner, "kmeans_assign", clusters, features).ok()?;
            match k.names.is_empty() {
                true => Some(vec![within(number, lit(ScalarValue::Int32(None)))?.alias(name)]),
                false => {
                    let named = named_tile(number + lit(1i32), &k.names, k.k)?;
                    Some(vec![within(named, label(&k.others))?.alias(name)])
                }
            }
        }
    }
}

/// A column as text.
pub(crate) fn as_text(column: &str, schema: &DFSchema) -> Expr {
    let boolean = schema.field_with_unqualified_name(column).is_ok_and(|f| f.data_type() == &arrow::datatypes::DataType::Boolean);
    match boolean {
        // A cast of a truth value that cannot be null is planned as one that can.
        true => when(ident(column).is_true(), lit("true"))
            .when(ident(column).is_false(), lit("false"))
            .end()
            .unwrap_or_else(|_| ident(column)),
        false => cast(ident(column), arrow::datatypes::DataType::Utf8),
    }
}

/// An attribute as text in a crossed segment; null is `unknown`.
fn cross_part(planner: &Planner, name: &strata_spec::Name, schema: &DFSchema, scope: &Scope) -> Option<Expr> {
    let sql = Sql { text: name.value.clone(), span: name.span, line_starts: vec![name.span.start] };
    let value = row_value(planner, &RowValue::Sql(sql), schema, scope)?;
    let text = cast(value, arrow::datatypes::DataType::Utf8);
    Some(datafusion::functions::expr_fn::coalesce(vec![text, lit("unknown")]))
}

fn joined(parts: Vec<Expr>) -> Expr {
    let mut parts = parts.into_iter();
    let first = parts.next().unwrap_or_else(|| lit(""));
    parts.fold(first, |all, part| string_concat(string_concat(all, lit(" · ")), part))
}

pub(crate) fn string_concat(a: Expr, b: Expr) -> Expr {
    datafusion::logical_expr::binary_expr(a, datafusion::logical_expr::Operator::StringConcat, b)
}

/// 1 + the number of boundaries that the row comes after in (value, key) order.
pub(crate) fn tile(value: &Expr, key: &str, cuts: &[Boundary], descending: bool) -> Expr {
    let mut out = lit(1i32);
    for cut in cuts {
        let v = lit(cut.value.clone());
        let beyond = match descending {
            true => value.clone().lt(v.clone()),
            false => value.clone().gt(v.clone()),
        };
        let after = match &cut.key {
            None => beyond,
            Some(k) => beyond.or(value.clone().eq(v).and(ident(key).gt(lit(k.clone())))),
        };
        out = out + cast(after, arrow::datatypes::DataType::Int32);
    }
    out
}

fn named_tile(tile: Expr, names: &[strata_spec::Name], bins: u32) -> Option<Expr> {
    let mut labels = names.iter().take(bins as usize).enumerate();
    let (_, first) = labels.next()?;
    let mut case = datafusion::logical_expr::case(tile).when(lit(1i32), lit(first.value.as_str()));
    for (i, name) in labels {
        case = case.when(lit(i as i32 + 1), lit(name.value.as_str()));
    }
    case.end().ok()
}
