//! Mean days between purchases for `lifecycle@2`: of everybody and of each cohort. Never holds a row of a person.

use crate::error::{Error, Result};
use crate::run::Run;
use crate::solve::{float, scalar};
use datafusion::common::ScalarValue;
use strata_models::exact::Sum;
use strata_plan::Intervals;
use strata_spec::pipeline::Segmentation;
use strata_spec::pipeline::preset::Lifecycle;

/// Cohorts at most: each is a branch of an expression.
const COHORTS_MAX: usize = 1000;

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
    let said = match (found.everybody, found.cohorts.len()) {
        (None, _) => "nobody bought on two days".to_owned(),
        (Some(mean), 0) => format!("{mean:.1} days between purchases"),
        (Some(mean), n) => format!("{mean:.1} days between purchases, {n} cohorts"),
    };
    run.solved.intervals.insert(name.clone(), found);
    Ok(said)
}
