//! Mean days between purchases for `lifecycle@2`, of everybody and of each cohort, and the cut-offs that follow from the past. Never holds a row of a person.

use crate::error::{Error, Result};
use crate::run::Run;
use crate::solve::{float, scalar, solver};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::common::ScalarValue;
use strata_models::edges::QuantileEdges;
use strata_models::exact::Sum;
use strata_plan::Intervals;
use strata_spec::pipeline::Segmentation;
use strata_spec::pipeline::preset::Lifecycle;

/// Cohorts at most: each is a branch of an expression.
const COHORTS_MAX: usize = 1000;

/// Returns are counted by their interval in thousandths.
const THOUSANDTHS: f64 = 1000.0;
/// The 80th and the 95th percentile of returns are twentieths.
const TWENTIETHS: u32 = 20;
const SLIPPING: usize = 16;
const LAPSED: usize = 19;

/// Solves the means of one segmentation; gives what to say of it. Errors: `Contract` for too many cohorts.
pub(crate) async fn solve(run: &mut Run<'_>, segmentation: &Segmentation, lifecycle: &Lifecycle) -> Result<String> {
    let name = &segmentation.name.value;
    let step = format!("segments {name}");
    let plan = run.planned(&step, run.compiled.interval_sums(segmentation, lifecycle, &run.solved))?;
    let (mut days, mut gaps) = (Sum::new(), Sum::new());
    let mut found = Intervals::default();
    for batch in run.collect(&step, plan).await? {
        for row in 0..batch.num_rows() {
            let (d, n) = (float(&batch, 1, row), float(&batch, 2, row));
            days.add(d);
            gaps.add(n);
            if let ScalarValue::Utf8(Some(cohort)) = scalar(&batch, 0, row)? {
                found.cohorts.push((cohort, d / n));
            }
        }
    }
    if found.cohorts.len() > COHORTS_MAX {
        let cohort = lifecycle.cohort.as_ref().map_or("", |c| c.as_str());
        return Err(Error::Contract {
            step,
            message: format!("`{cohort}` has {} values, a cohort at most {COHORTS_MAX}", found.cohorts.len()),
            help: "name an attribute of fewer values under `cohort`, or leave it out".into(),
        });
    }
    found.everybody = (gaps.value() > 0.0).then(|| days.value() / gaps.value());
    let mut said = match (found.everybody, found.cohorts.len()) {
        (None, _) => "nobody bought on two days".to_owned(),
        (Some(mean), 0) => format!("{mean:.1} days between purchases"),
        (Some(mean), n) => format!("{mean:.1} days between purchases, {n} cohorts"),
    };
    [found.slipping, found.lapsed] =
        [lifecycle.slipping.unwrap_or(Lifecycle::SLIPPING), lifecycle.lapsed.unwrap_or(Lifecycle::LAPSED)];
    if lifecycle.last_gap.is_some() {
        said += &cut_offs(run, segmentation, lifecycle, &mut found).await?;
    }
    run.solved.intervals.insert(name.clone(), found);
    Ok(said)
}

/// Finds the cut-offs that are not given; gives what to say of them. Errors: `Contract` if what is found does not go with what is given.
async fn cut_offs(
    run: &mut Run<'_>,
    segmentation: &Segmentation,
    lifecycle: &Lifecycle,
    found: &mut Intervals,
) -> Result<String> {
    let step = format!("segments {}", segmentation.name.value);
    let Some(plan) = run.planned(&step, run.compiled.last_returns(segmentation, lifecycle, found, &run.solved))? else {
        return Ok(String::new());
    };
    let mut returns: Vec<(f64, u64)> = vec![];
    run.each(&step, plan, &mut |batch| {
        let people = batch.column(1).as_primitive::<Int64Type>();
        returns.extend((0..batch.num_rows()).map(|row| (float(&batch, 0, row) / THOUSANDTHS, people.value(row) as u64)));
        Ok(())
    })
    .await?;
    let people = returns.iter().map(|(_, people)| people).sum();
    let mut quantiles = QuantileEdges::new(people, TWENTIETHS).map_err(|e| solver(&step, e))?;
    returns.iter().for_each(|(overdue, people)| quantiles.push(*overdue, *people));
    let quantiles = quantiles.quantiles().map_err(|e| solver(&step, e))?;
    let whence = match (quantiles.get(SLIPPING), quantiles.get(LAPSED)) {
        (Some(slipping), Some(lapsed)) => {
            found.slipping = lifecycle.slipping.unwrap_or(*slipping);
            found.lapsed = lifecycle.lapsed.unwrap_or(*lapsed);
            format!("as {people} came back")
        }
        _ => "as nobody came back yet".to_owned(),
    };
    let Intervals { slipping, lapsed, .. } = *found;
    if slipping > lapsed {
        return Err(Error::Contract {
            step,
            message: format!("slipping begins beyond {slipping:.3} intervals and lapsed beyond {lapsed:.3}, {whence}"),
            help: "leave out `slipping` and `lapsed`, so that both are found, or give both without `last_gap`".into(),
        });
    }
    Ok(format!("; slipping beyond {slipping:.3} and lapsed beyond {lapsed:.3} of them, {whence}"))
}
