//! The draw of an allocated wave: where the people are, or over numbers that are gathered. Never keeps a random number.

use super::{Stratum, broken, contract, values};
use crate::error::{Error, Result};
use crate::report::WaveReport;
use crate::run::Run;
use crate::solve::{float, integer, scalar};
use datafusion::common::ScalarValue;
use std::collections::BTreeMap;
use strata_models::draw::{proportional_to_size, sampford, systematic};
use strata_models::exact::Sum;
use strata_plan::{Allocation, DrawnRow, cells_of, is_gathered};
use strata_spec::pipeline::{Design, Wave};

/// People that a gathered draw can name in a plan.
const NAMED_MAX: u64 = 50_000;
/// People whose numbers are gathered, at most.
const GATHERED_MAX: usize = 4_000_000;

/// Draws an allocated wave into the work area; gives its rows, and those that are asked at once.
pub(super) async fn draw(run: &mut Run<'_>, step: &str, wave: &Wave, report: &mut WaveReport) -> Result<(u64, u64)> {
    let name = wave.name.value.as_str();
    if wave.further.draw.size.is_some() && !is_gathered(wave) {
        scales(run, step, wave).await?;
    }
    let plan = match is_gathered(wave) {
        false => run.planned(step, run.compiled.sample_plan(wave, &run.solved))?,
        true => {
            let drawn = gathered(run, step, wave, report).await?;
            run.planned(step, run.compiled.drawn_plan(wave, drawn, &run.solved))?
        }
    };
    let rows = run.materialise(step, &format!("sample:{name}"), plan).await?;
    Ok((rows, rows - report.reserve.min(rows)))
}

/// Errors: `Contract` for sizes that are missing, negative or too few; before anything is drawn by them.
pub(super) fn check_sizes(step: &str, stratum: &Stratum, drawn: u64) -> Result<()> {
    use strata_plan::Measured::{SizeAbove, SizeKnown, SizeMin, SizeSum};
    let label = stratum.label();
    let (known, above) = (stratum.measure(SizeKnown).unwrap_or(0.0) as u64, stratum.measure(SizeAbove).unwrap_or(0.0) as u64);
    let least = stratum.measure(SizeMin).unwrap_or(f64::NAN);
    let wrong = if known < stratum.eligible {
        format!("{} of {} eligible members of `{label}` have no `size`", stratum.eligible - known, stratum.eligible)
    } else if least < 0.0 {
        format!("eligible members of `{label}` have a `size` below 0, down to {least}")
    } else if !stratum.measure(SizeSum).is_some_and(f64::is_finite) {
        format!("eligible members of `{label}` have a `size` that is not finite")
    } else if drawn > above {
        format!("{drawn} members of `{label}` are to be drawn by size, and {above} have one above 0")
    } else {
        return Ok(());
    };
    Err(broken(step, wrong, "mend `size`, e.g. `greatest(coalesce(…, 0), 0)`, or draw fewer"))
}

/// What turns sizes into probabilities, and from which size on a member is certain, of every stratum.
async fn scales(run: &mut Run<'_>, step: &str, wave: &Wave) -> Result<()> {
    let plan = run.planned(step, run.compiled.largest_sizes(wave, &run.solved))?;
    let found = run.collect(step, plan).await?;
    let k = cells_of(wave).len();
    let mut largest: BTreeMap<String, (Vec<f64>, f64)> = BTreeMap::new();
    for batch in &found {
        for row in 0..batch.num_rows() {
            let label = super::label(&values(batch, k, row)?);
            let of = largest.entry(label).or_insert_with(|| (vec![], float(batch, k + 1, row)));
            of.0.push(float(batch, k, row));
        }
    }
    let Some(allocations) = run.solved.allocations.get_mut(&wave.name.value) else { return Ok(()) };
    for allocation in allocations.iter_mut().filter(|a| a.drawn > 0) {
        if let Some((sizes, sum)) = largest.get(&super::label(&allocation.stratum)) {
            (allocation.scale, allocation.certain_from) = scale(sizes, *sum, allocation.drawn);
        }
    }
    Ok(())
}

/// probability = size × scale below the size from which on it is 1; `largest` are the n greatest sizes, falling, `sum` all of
/// them.
fn scale(largest: &[f64], sum: f64, n: u64) -> (f64, f64) {
    let mut rest = Sum::new();
    rest.add(sum);
    let mut certain = 0u64;
    for &size in largest {
        if (n - certain) as f64 * size < rest.value() || size <= 0.0 || certain >= n {
            break;
        }
        rest.add(-size);
        certain += 1;
    }
    let left = (n - certain) as f64;
    let scale = if left > 0.0 { left / rest.value() } else { 0.0 };
    let from = certain.checked_sub(1).and_then(|at| largest.get(at as usize)).copied();
    (scale, from.unwrap_or(f64::INFINITY))
}

/// Sampford draws, and systematic draws by size: decided here, over the numbers of each stratum.
async fn gathered(run: &mut Run<'_>, step: &str, wave: &Wave, report: &WaveReport) -> Result<Vec<DrawnRow>> {
    let wanted: u64 = report.invited;
    if wanted > NAMED_MAX || report.eligible as usize > GATHERED_MAX {
        let message = format!(
            "{wanted} of {} eligible members are to be drawn by a design that decides over whole strata; it can draw {NAMED_MAX} of {GATHERED_MAX}",
            report.eligible
        );
        return Err(broken(step, message, "write `draw: {by: pareto}`, which has nearly the same probabilities"));
    }
    let plans = run.planned(step, run.compiled.gathered(wave, &run.solved))?;
    let starts = match plans.starts {
        Some(plan) => {
            let found = run.collect(step, plan).await?;
            found.iter().flat_map(|b| (0..b.num_rows()).map(|row| float(b, 1, row)).collect::<Vec<_>>()).collect()
        }
        None => vec![],
    };
    let found = run.collect(step, plans.rows).await?;
    let k = cells_of(wave).len();
    let allocations: Vec<Allocation> = run.solved.allocations.get(&wave.name.value).cloned().unwrap_or_default();
    let place: BTreeMap<String, usize> = allocations.iter().enumerate().map(|(i, a)| (super::label(&a.stratum), i)).collect();
    let mut people: Vec<People> = allocations.iter().map(|_| People::default()).collect();
    for batch in &found {
        for row in 0..batch.num_rows() {
            let values = (1..=k).map(|c| scalar(batch, c, row)).collect::<Result<Vec<_>>>()?;
            let Some(of) = place.get(&super::label(&values)).and_then(|i| people.get_mut(*i)) else { continue };
            of.keys.push(scalar(batch, 0, row)?);
            of.numbers.push(float(batch, k + 1, row));
            of.sizes.push(float(batch, k + 2, row));
        }
    }
    let mut out = vec![];
    for (i, (allocation, people)) in allocations.iter().zip(people).enumerate().filter(|(_, (a, _))| a.drawn > 0) {
        let drawn = people.drawn(wave.further.draw.by, allocation.drawn, starts.get(i).copied());
        out.extend(drawn.map_err(|e| match contract(step, &e) {
            Error::Contract { step, message, help } => {
                Error::Contract { step, message: format!("stratum `{}`: {message}", super::label(&allocation.stratum)), help }
            }
            other => other,
        })?);
    }
    Ok(out)
}

/// The people of a stratum, in the order in which the design passes them.
#[derive(Default)]
struct People {
    keys: Vec<ScalarValue>,
    numbers: Vec<f64>,
    sizes: Vec<f64>,
}

impl People {
    fn drawn(self, design: Design, n: u64, start: Option<f64>) -> strata_models::Result<Vec<DrawnRow>> {
        let probabilities = proportional_to_size(&self.sizes, n)?;
        let drawn = match (design, start) {
            (Design::Systematic, Some(start)) => systematic(&probabilities, start)?,
            _ => sampford(&self.numbers, &probabilities)?,
        };
        let row = |(rank, at): (usize, usize)| DrawnRow {
            key: self.keys[at].clone(),
            rank: rank as u64 + 1,
            probability: probabilities[at],
        };
        Ok(drawn.into_iter().enumerate().map(row).collect())
    }
}

/// Rows of a one-number plan.
pub(super) fn one_count(batches: &[arrow::record_batch::RecordBatch]) -> u64 {
    integer(batches, 0, 0).max(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_those_of_the_solver() {
        for (sizes, n) in [
            (vec![50.0, 20.0, 10.0, 10.0, 10.0], 3u64),
            (vec![70.0, 20.0, 5.0, 5.0], 2),
            (vec![9.0, 9.0, 9.0, 1.0], 3),
            (vec![4.0, 3.0, 2.0, 1.0], 4),
            (vec![1.0, 1.0, 1.0, 1.0, 0.0], 2),
        ] {
            let want = proportional_to_size(&sizes, n).unwrap();
            let mut largest = sizes.clone();
            largest.sort_by(|a, b| b.total_cmp(a));
            largest.truncate(n as usize);
            let (scale, from) = scale(&largest, sizes.iter().sum(), n);
            for (size, want) in sizes.iter().zip(want) {
                let got = if *size >= from { 1.0 } else { size * scale };
                assert!((got - want).abs() < 1e-12, "{sizes:?} {n}: {got} {want}");
            }
        }
    }
}
