//! Who would move between segments if a pipeline were published: its outputs as they are, beside what it makes now. Never publishes
//! anything.

use crate::error::{Error, Result};
use crate::load::Loaded;
use crate::outputs::{self, OutputTable};
use crate::published;
use crate::runner::Runner;
use crate::solve::{integer, scalar};
use crate::trial::Trial;
use serde::Serialize;
use std::path::Path;
use strata_plan::{Moves, Node};
use strata_spec::pipeline::Segmentation;

/// Moves of one segmentation.
#[derive(Debug, Clone, Serialize)]
pub struct SegmentMoves {
    /// Segmentation.
    pub segmentation: String,
    /// Output that is compared; absent if none holds the segmentation and the key.
    pub output: Option<String>,
    /// Run of its current version.
    pub run_id: Option<String>,
    /// `as_of` of its current version.
    pub as_of: Option<String>,
    /// Why nothing is compared.
    pub why_not: Option<String>,
    /// (from, to, rows), in order; also of those who stay.
    pub counts: Vec<(String, String, u64)>,
    /// (key, from, to) of the first who move, if asked for.
    pub keys: Vec<(String, String, String)>,
}

/// Moves of every segmentation; with the first `keys` keys of those who move. Errors: as a run's.
pub async fn moves(loaded: &Loaded, runner: &dyn Runner, work: &Path, keys: usize) -> Result<Vec<SegmentMoves>> {
    let Some(pipeline) = &loaded.pipeline else { return Err(Error::Invalid(1)) };
    let mut trial = Trial::new(loaded, runner, work)?;
    let tables = outputs::tables(pipeline).await?;
    let mut out = vec![];
    for segmentation in &pipeline.segments {
        out.push(of_segmentation(&mut trial, &tables, segmentation, keys).await?);
    }
    Ok(out)
}

async fn of_segmentation(
    trial: &mut Trial<'_>,
    tables: &[OutputTable],
    segmentation: &Segmentation,
    keys: usize,
) -> Result<SegmentMoves> {
    let name = segmentation.name.value.clone();
    let step = format!("segments {name}");
    let failed = |e| Error::of_step(&step, e);
    let mut out =
        SegmentMoves { segmentation: name, output: None, run_id: None, as_of: None, why_not: None, counts: vec![], keys: vec![] };
    let entity = segmentation.entity.value.clone();
    let all = trial.compiled().pipeline().segments.iter().filter(|s| s.entity.value == entity).flat_map(|s| s.columns());
    let names = all.map(str::to_owned).collect();
    let required = trial.compiled().required(&Node::Columns { entity, names }).map_err(failed)?;
    trial.make(&required).await?;
    let Some(output) = trial.compiled().output_of(segmentation, trial.solved()).map_err(failed)?.cloned() else {
        out.why_not = Some("no output holds it together with the entity's key".into());
        return Ok(out);
    };
    out.output = Some(output.name.value.clone());
    let Some(table) = tables.iter().find(|t| t.name == output.name.value) else { return Ok(out) };
    let Some(version) = &table.current else {
        out.why_not = Some(format!("`{}` was never published", table.name));
        return Ok(out);
    };
    (out.run_id, out.as_of) = (Some(version.run_id.clone()), Some(version.as_of.clone()));
    let manifest = table.table.manifest(version).await.map_err(|e| Error::of_publish(&step, e))?;
    let published = published::table(&table.place.join(&version.folder), &manifest);
    let published = published.map_err(|message| Error::Failed { step: step.clone(), message })?;
    let key = trial.compiled().pipeline().entity(&segmentation.entity.value).map(|e| e.key.value.clone()).unwrap_or_default();
    let column = segmentation.columns().first().map(|c| (*c).to_owned()).unwrap_or_default();
    if let Some(missing) = [key, column].iter().find(|c| published.schema.field_with_name(c).is_err()) {
        out.why_not = Some(format!("the published `{}` has no column `{missing}`", table.name));
        return Ok(out);
    }
    let plans = trial.compiled().moves(segmentation, &output, &published, trial.solved()).map_err(failed)?;
    let text = |batch: &arrow::record_batch::RecordBatch, column, row| scalar(batch, column, row).map(|s| shown(&s));
    for batch in &trial.collect(plans.counts).await?.1 {
        for row in 0..batch.num_rows() {
            let rows = integer(std::slice::from_ref(batch), 2, row).max(0) as u64;
            out.counts.push((text(batch, 0, row)?, text(batch, 1, row)?, rows));
        }
    }
    if keys > 0 {
        let first = datafusion::logical_expr::LogicalPlanBuilder::from(plans.movers).limit(0, Some(keys)).and_then(|b| b.build());
        for batch in &trial.collect(first.map_err(failed)?).await?.1 {
            for row in 0..batch.num_rows() {
                out.keys.push((text(batch, 0, row)?, text(batch, 1, row)?, text(batch, 2, row)?));
            }
        }
    }
    Ok(out)
}

fn shown(value: &datafusion::common::ScalarValue) -> String {
    if value.is_null() { Moves::NONE.to_owned() } else { value.to_string() }
}
