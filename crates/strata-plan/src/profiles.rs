//! Profiles: one long table that says how each segment differs from everyone. Never shows a segment smaller than `min_cell`.

use crate::Compiled;
use crate::expr::{Grain, Planner, double};
use crate::scope::Scope;
use crate::segments::as_text;
use crate::solved::Solved;
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, ident, lit};
use strata_spec::Pipeline;
use strata_spec::pipeline::{Profile, Stat};

impl Compiled<'_> {
    /// The rows of a profile: `kind`, `segment`, `size`, `share`, then `mean_x` and `index_x` of each thing described.
    pub fn profile_plan(&self, name: &str, solved: &Solved) -> Result<LogicalPlan> {
        let Some(profile) = self.pipeline.profiles.iter().find(|p| p.name.value == name) else {
            return plan_err!("there is no profile `{name}`");
        };
        let Some(entity) = owner(self.pipeline, profile) else { return plan_err!("the profile `{name}` has no entity") };
        let view = self.view(&entity, solved)?;
        self.found(plan(&self.planner, self.pipeline, profile, &view))
    }
}

/// The entity whose segments a profile describes.
pub(crate) fn owner(pipeline: &Pipeline, profile: &Profile) -> Option<String> {
    let of = profile.of.first()?;
    let found = pipeline.segments.iter().find(|s| s.name.value == of.value || s.columns().contains(&of.value.as_str()));
    found.map(|s| s.entity.value.clone()).or_else(|| pipeline.entities.first().map(|e| e.name.value.clone()))
}

/// Plans a profile over the rows of its entity.
pub(crate) fn plan(planner: &Planner, pipeline: &Pipeline, profile: &Profile, view: &LogicalPlan) -> Option<LogicalPlan> {
    let schema = view.schema().as_ref().clone();
    let scope = Scope::of(&schema, None);
    let mut described = vec![];
    for (name, sql) in &profile.describe {
        let expr = planner.expr(sql, &schema, &scope, Grain::Row);
        let expr = expr.and_then(|e| double(e, &schema).map_err(|e| planner.report(crate::expr::explain(sql, &e))).ok());
        described.push(expr.map(|e| (name.value.clone(), e)));
    }
    let described = described.into_iter().collect::<Option<Vec<_>>>()?;
    let mut columns = vec![];
    for of in &profile.of {
        let by_name = pipeline.segments.iter().find(|s| s.name.value == of.value);
        let column = by_name.map_or(of.value.as_str(), |s| s.columns()[0]);
        if schema.index_of_column_by_name(None, column).is_none() {
            if planner.is_lost(column) {
                return None;
            }
            planner.report(
                strata_spec::Diagnostic::error(
                    crate::codes::UNKNOWN_COLUMN,
                    of.span,
                    format!("there is no segmentation `{column}`"),
                )
                .help("`of:` names segmentations"),
            );
            return None;
        }
        columns.push((of.value.clone(), column.to_owned()));
    }
    let built = build(planner, profile, view, &described, &columns);
    built.map_err(|e| planner.report(crate::internal(profile.name.span, &e))).ok()
}

fn build(
    planner: &Planner,
    profile: &Profile,
    view: &LogicalPlan,
    described: &[(String, Expr)],
    columns: &[(String, String)],
) -> Result<LogicalPlan> {
    let mean = planner.names.aggregate("exact_mean")?;
    let means = |prefix: &str| {
        let mut out = vec![count(lit(1i64)).alias(format!("{prefix}rows"))];
        out.extend((0..described.len()).map(|i| mean.call(vec![ident(format!("x{i}"))]).alias(format!("{prefix}m{i}"))));
        out
    };
    // Described values first, so that each is computed once a row.
    let mut base: Vec<Expr> = described.iter().enumerate().map(|(i, (_, e))| e.clone().alias(format!("x{i}"))).collect();
    let schema = view.schema().as_ref();
    base.extend(columns.iter().enumerate().map(|(i, (_, c))| as_text(c, schema).alias(format!("segment{i}"))));
    let base = LogicalPlanBuilder::from(view.clone()).project(base)?.build()?;
    let all = LogicalPlanBuilder::from(base.clone()).aggregate(Vec::<Expr>::new(), means("all_"))?.build()?;
    let mut union: Option<LogicalPlanBuilder> = None;
    for (i, (kind, _)) in columns.iter().enumerate() {
        let segment = format!("segment{i}");
        let mut out = vec![lit(kind.as_str()).alias("kind"), ident(&segment).alias("segment"), ident("rows")];
        out.extend((0..described.len()).map(|j| ident(format!("m{j}"))));
        let part = LogicalPlanBuilder::from(base.clone())
            .filter(ident(&segment).is_not_null())?
            .aggregate([ident(&segment)], means(""))?
            .filter(ident("rows").gt_eq(lit(profile.min_cell.unwrap_or(0) as i64)))?
            .project(out)?;
        union = Some(match union {
            None => part,
            Some(u) => u.union(part.build()?)?,
        });
    }
    let Some(union) = union else { return plan_err!("a profile needs at least one segmentation under `of:`") };
    let joined = union.cross_join(all)?;
    let rows = |n: &str| cast(ident(n), DataType::Float64);
    let mut out =
        vec![ident("kind"), ident("segment"), ident("rows").alias("size"), (rows("rows") / rows("all_rows")).alias("share")];
    for (i, (name, _)) in described.iter().enumerate() {
        let (segment, all) = (ident(format!("m{i}")), ident(format!("all_m{i}")));
        for stat in &profile.stats {
            out.push(match stat {
                Stat::Mean => segment.clone().alias(format!("mean_{name}")),
                Stat::Index => (lit(100.0) * segment.clone() / safe(planner, all.clone())?).alias(format!("index_{name}")),
            });
        }
    }
    let sort = [ident("kind").sort(true, false), ident("segment").sort(true, false)];
    joined.project(out)?.sort(sort)?.build()
}

fn safe(planner: &Planner, expr: Expr) -> Result<Expr> {
    Ok(planner.names.scalar("nullif")?.call(vec![expr, lit(0.0)]))
}
