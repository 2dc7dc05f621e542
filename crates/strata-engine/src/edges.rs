//! Edges of `rfm@1`: quantiles of this run's data, or those that an earlier run froze. Never splits customers of one value.

use crate::error::{Error, Result};
use crate::run::Run;
use crate::solve::{float, rows_of, solver};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use strata_models::edges::QuantileEdges;
use strata_plan::{Boundary, KeptCuts, Ranking};
use strata_spec::pipeline::{Rfm, RfmMode, Segmentation};

/// Finds the edges a segmentation scores at; gives what to say of it. Errors: `Contract` if frozen ones are of something else.
pub(crate) async fn rfm(run: &mut Run<'_>, segmentation: &Segmentation, rfm: &Rfm) -> Result<String> {
    let name = &segmentation.name.value;
    let step = format!("segments {name}");
    if let (RfmMode::Frozen(frozen), Some(kept)) = (&*rfm.mode, run.compiled.kept(segmentation).cloned()) {
        check(&step, &frozen.value, &kept, rfm)?;
        run.solved.cuts.extend(kept.solved(name));
        return Ok(format!("edges `{}` as they were published", frozen.value));
    }
    let rankings = run.planned(&step, run.compiled.rankings(segmentation, &run.solved))?;
    let (mut ranked, mut groups) = (0, vec![]);
    for ranking in &rankings {
        let (rows, edges) = edges(run, &step, ranking).await?;
        ranked = rows;
        groups.push((edges.len() + 1).to_string());
        let cuts = edges.into_iter().map(|edge| Boundary { value: ScalarValue::Float64(Some(edge)), key: None });
        run.solved.cuts.insert(ranking.name.clone(), cuts.collect());
    }
    let frozen = match &*rfm.mode {
        RfmMode::Frozen(frozen) => format!(", frozen as `{}`", frozen.value),
        _ => String::new(),
    };
    Ok(format!("{ranked} rows in {} groups{frozen}", groups.join(", ")))
}

fn check(step: &str, frozen: &str, kept: &KeptCuts, rfm: &Rfm) -> Result<()> {
    if kept.fits(rfm) {
        return Ok(());
    }
    Err(Error::Contract {
        step: step.to_owned(),
        message: format!("the edges `{frozen}` were frozen for `{}` in {} groups", kept.of.join("`, `"), kept.bins),
        help: "give the edges of the new definition another name under `cuts`, or go back to the old definition".into(),
    })
}

/// From a summary (rows by value) that is made twice: first for how many rows there are.
async fn edges(run: &mut Run<'_>, step: &str, ranking: &Ranking) -> Result<(u64, Vec<f64>)> {
    let mut total = 0;
    run.each(step, ranking.histogram.clone(), &mut |batch| {
        total += rows_of(&batch);
        Ok(())
    })
    .await?;
    let mut edges = QuantileEdges::new(total, ranking.bins).map_err(|e| solver(step, e))?;
    run.each(step, ranking.histogram.clone(), &mut |batch| {
        push(&mut edges, &batch);
        Ok(())
    })
    .await?;
    Ok((total, edges.finish().map_err(|e| solver(step, e))?))
}

fn push(edges: &mut QuantileEdges, histogram: &RecordBatch) {
    for row in 0..histogram.num_rows() {
        edges.push(float(histogram, 0, row), histogram.column(1).as_primitive::<Int64Type>().value(row) as u64);
    }
}
