//! How many of each stratum are wanted, and how many are asked for that. Never allocates more than a stratum has.

use super::{Stratum, broken, contract, margins, text};
use crate::error::Result;
use crate::report::{StratumReport, WaveReport};
use crate::run::Run;
use datafusion::common::ScalarValue;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use strata_models::allocate::{self, Design, Method, Request, Shares, Shortage, Size};
use strata_models::draw::{Response, invites, response_rate};
use strata_operators::functions::{key_bytes, permanent_random_number};
use strata_plan::{Allocation, Measured, cells_of};
use strata_spec::pipeline::wave::Reserve;
use strata_spec::pipeline::{AfterBounds, AllocateRule, Numbers, Rounding, Sample, Wave};

/// Allocates a wave over its strata; `base` is what a percentage is of. Errors: `Contract` for a stratum without a value, and
/// as the
/// method says.
pub(super) fn allocate(
    run: &mut Run<'_>,
    step: &str,
    wave: &Wave,
    strata: &[Stratum],
    base: u64,
    report: &mut WaveReport,
) -> Result<Vec<Allocation>> {
    for stratum in strata {
        if let Some(at) = stratum.values.iter().position(ScalarValue::is_null) {
            let column = &cells_of(wave)[at].value;
            let message = format!("{} eligible members have no `{column}`, so they belong to no stratum", stratum.eligible);
            return Err(broken(step, message, "give it a value, e.g. `coalesce(…, 'unknown')`, or leave those members out"));
        }
    }
    report.asked = match wave.sample.value {
        Sample::Count(n) => n,
        Sample::PartsPerMillion(ppm) => (u128::from(base) * u128::from(ppm) / 1_000_000) as u64,
    };
    if !wave.further.strata.is_empty() {
        let rows = margins::each(step, wave, strata, report)?;
        note(step, wave, strata, &rows, report).into_iter().for_each(|text| run.note(text));
        return finished(run, step, wave, strata, &rows, report);
    }
    let by = &wave.allocate.by;
    let integers = matches!(by.rule, AllocateRule::Proportional | AllocateRule::Equal) && by.budget.is_none();
    let solved = match integers {
        true => simple(run, step, wave, strata, report.asked)?,
        false => by_rule(step, wave, strata, report)?,
    };
    note(step, wave, strata, &solved.rows, report).into_iter().for_each(|text| run.note(text));
    finished(run, step, wave, strata, &solved.rows, report)
}

/// What to say where strata do not give exactly what is asked for.
fn note(step: &str, wave: &Wave, strata: &[Stratum], rows: &[u64], report: &mut WaveReport) -> Option<String> {
    let total: u64 = rows.iter().sum();
    report.shortfall = report.asked.saturating_sub(total);
    let is_all = strata.iter().zip(rows).all(|(s, n)| s.eligible == *n);
    let why = if is_all { "the strata have no more" } else { "bounds and rounding" };
    match report.asked.cmp(&total) {
        Ordering::Greater => Some(format!("{step}: {} members fewer than asked for: {why}", report.shortfall)),
        // `after_bounds: keep` says that there may be more.
        Ordering::Less if wave.allocate.rounding != Rounding::LargestRemainder => {
            Some(format!("{step}: {} members more than asked for: {why}", total - report.asked))
        }
        _ => None,
    }
}

/// Proportional and equal shares, in whole numbers only.
fn simple(run: &Run<'_>, step: &str, wave: &Wave, strata: &[Stratum], asked: u64) -> Result<allocate::Allocation> {
    let sizes: Vec<u64> = strata.iter().map(|s| s.eligible).collect();
    let request = Request {
        sample: asked,
        sizes: &sizes,
        shares: match wave.allocate.by.rule {
            AllocateRule::Equal => Shares::Equal,
            _ => Shares::Proportional,
        },
        min: wave.allocate.min,
        max: wave.allocate.max,
        after_bounds: match wave.allocate.after_bounds {
            AfterBounds::Rebalance => allocate::AfterBounds::Rebalance,
            AfterBounds::Keep => allocate::AfterBounds::Keep,
        },
    };
    let rounding = rounding(run, step, wave)?;
    allocate::allocate_rounded(&request, rounding).map_err(|e| contract(step, &e))
}

/// How fractions become people; chance is a function of the panel's seed or key and the wave's name.
fn rounding(run: &Run<'_>, step: &str, wave: &Wave) -> Result<allocate::Rounding> {
    Ok(match wave.allocate.rounding {
        Rounding::LargestRemainder => allocate::Rounding::LargestRemainder,
        Rounding::Nearest => allocate::Rounding::Nearest,
        Rounding::Floor => allocate::Rounding::Floor,
        Rounding::Ceiling => allocate::Rounding::Ceiling,
        Rounding::Random => {
            let pipeline = run.compiled.pipeline();
            let Some(panel) = &pipeline.panel else { return Ok(allocate::Rounding::LargestRemainder) };
            let reference = match &panel.numbers {
                Numbers::Seed(seed) => format!("seed:{seed}"),
                Numbers::Env(name) => format!("env:{}", name.value),
            };
            let of = panel.numbers_of.as_ref().unwrap_or(&pipeline.name);
            let key = run.planned(step, key_bytes(&reference))?;
            let stream = format!("{}/rounding", of.value);
            allocate::Rounding::Random(run.planned(step, permanent_random_number(&key, &stream, &wave.name.value))?)
        }
    })
}

/// Every other rule, and budgets.
fn by_rule(step: &str, wave: &Wave, strata: &[Stratum], report: &mut WaveReport) -> Result<allocate::Allocation> {
    let by = &wave.allocate.by;
    let fixed = stated(step, wave, strata)?;
    let mut described = vec![];
    for (stratum, fixed) in strata.iter().zip(fixed) {
        let label = stratum.label();
        if let Some(known) = stratum.measure(Measured::MeasureKnown).filter(|k| *k < stratum.eligible as f64) {
            let message = format!(
                "{} of {} eligible members of `{label}` have no `measure`",
                stratum.eligible - known as u64,
                stratum.eligible
            );
            return Err(broken(step, message, "give it a value, e.g. `coalesce(…, 0)`, or leave those members out"));
        }
        // One member has no spread.
        let spread = stratum.measure(Measured::MeasureSpread).map(|s| if s.is_nan() && stratum.eligible == 1 { 0.0 } else { s });
        described.push(allocate::Stratum {
            label,
            size: stratum.eligible,
            min: wave.allocate.min.min(stratum.eligible),
            max: wave.allocate.max,
            spread,
            mean: stratum.measure(Measured::MeasureMean),
            cost: stratum.measure(Measured::Cost),
            fixed,
            ..Default::default()
        });
    }
    let method = match by.rule {
        AllocateRule::Proportional => Method::Proportional,
        AllocateRule::Equal => Method::Equal,
        AllocateRule::Neyman => Method::Neyman,
        AllocateRule::SizePower => Method::Power { exponent: by.power },
        AllocateRule::Bankier => Method::Bankier { exponent: by.power },
        AllocateRule::Optimal => Method::Optimal,
        AllocateRule::Fixed => Method::Fixed,
    };
    let size = by.budget.map_or(Size::Rows(report.asked), Size::Budget);
    let found = allocate::allot(&Design { strata: &described, method, size, shortage: Shortage::Report });
    let found = found.map_err(|e| contract(step, &e))?;
    if by.rule == AllocateRule::Fixed || by.budget.is_some() {
        report.asked = found.allocation.total + found.allocation.shortfall;
    }
    report.cost = by.cost.as_ref().map(|_| found.cost);
    report.standard_error = found.standard_error.filter(|_| by.measure.is_some());
    Ok(found.allocation)
}

/// The rows that `rows:` states of each stratum. Errors: `Contract` for a stratum it does not name, and for a name that is no
/// stratum.
fn stated(step: &str, wave: &Wave, strata: &[Stratum]) -> Result<Vec<Option<u64>>> {
    let rows = &wave.allocate.by.rows;
    if rows.is_empty() {
        return Ok(vec![None; strata.len()]);
    }
    let parts = |name: &str| name.split(',').map(|p| p.trim().to_owned()).collect::<Vec<_>>();
    let named: Vec<Vec<String>> = rows.iter().map(|(name, _)| parts(&name.value)).collect();
    let values: Vec<Vec<String>> = strata.iter().map(|s| s.values.iter().map(text).collect()).collect();
    if let Some(at) = named.iter().position(|n| !values.contains(n)) {
        let written = &rows[at].0.value;
        let labels: Vec<String> = values.iter().map(|v| v.join(", ")).collect();
        let near = strata_spec::diagnostic::did_you_mean(written, labels.iter().map(String::as_str));
        let help = near.map_or_else(
            || format!("strata with eligible members are: {}", labels.join("; ")),
            |n| format!("did you mean `{n}`?"),
        );
        return Err(broken(
            step,
            format!("`rows` of `allocate` names the stratum `{written}`, and no eligible member is in it"),
            &help,
        ));
    }
    let find = |v: &Vec<String>| named.iter().position(|n| n == v).map(|at| rows[at].1);
    values
        .iter()
        .zip(strata)
        .map(|(v, s)| match find(v) {
            Some(n) => Ok(Some(n)),
            None => {
                let message =
                    format!("`rows` of `allocate` does not say how many of `{}` ({} eligible)", v.join(", "), s.eligible);
                Err(broken(step, message, "name every stratum; 0 draws nobody of it"))
            }
        })
        .collect()
}

/// What is drawn for the rows wanted: invitations by expected response, a reserve, and what the report says of it.
pub(super) fn finished(
    run: &mut Run<'_>,
    step: &str,
    wave: &Wave,
    strata: &[Stratum],
    wanted: &[u64],
    report: &mut WaveReport,
) -> Result<Vec<Allocation>> {
    let rates = rates(step, wave, strata)?;
    let mut out = vec![];
    let (mut short, mut lacking) = (0.0f64, vec![]);
    for ((stratum, &wanted), rate) in strata.iter().zip(wanted).zip(&rates) {
        let drawn = match rate {
            None => wanted,
            Some(rate) => invites(wanted, rate, stratum.eligible).map_err(|e| contract(step, &e))?,
        };
        if wave.further.draw.size.is_some() && drawn > 0 {
            super::draw::check_sizes(step, stratum, drawn)?;
        }
        let yielded = |r: &Response| drawn as f64 * r.response * r.incidence * (1.0 - r.rejected);
        let expected = rate.as_ref().map(yielded);
        if let Some(expected) = expected.filter(|e| *e + 1e-9 < wanted as f64) {
            short += wanted as f64 - expected;
            lacking.push(stratum.label());
        }
        let reserve = match wave.further.reserve {
            Some(Reserve::Share(ppm)) => (u128::from(drawn) * u128::from(ppm)).div_ceil(1_000_000) as u64,
            _ => 0,
        };
        let reserve = reserve.min(stratum.eligible - drawn.min(stratum.eligible));
        if let Some(parts) = wave.further.replicates.map(u64::from).filter(|r| drawn > 0 && drawn < *r) {
            let message = format!("`{}` draws {drawn} members, fewer than the {parts} replicates", stratum.label());
            return Err(broken(step, message, "lower `replicates`, raise `sample`, or write `allocate: {min: …}`"));
        }
        report.strata.push(StratumReport {
            stratum: stratum.values.iter().map(text).collect(),
            eligible: stratum.eligible,
            drawn,
            wanted,
            reserve,
            response: rate.as_ref().map(|r| r.response),
            expected,
        });
        out.push(Allocation {
            stratum: stratum.values.clone(),
            eligible: stratum.eligible,
            drawn,
            reserve,
            wanted,
            scale: drawn as f64 / stratum.eligible.max(1) as f64,
            certain_from: f64::INFINITY,
        });
    }
    report.invited = out.iter().map(|a| a.drawn).sum();
    report.reserve = out.iter().map(|a| a.reserve).sum();
    if short > 0.0 {
        report.expected_shortfall = Some(short);
        let some: Vec<String> = lacking.iter().take(5).map(|l| format!("`{l}`")).collect();
        let more = if lacking.len() > 5 { format!(" and {} more", lacking.len() - 5) } else { String::new() };
        run.note(format!(
            "{step}: {short:.0} answers fewer than wanted are expected, although all eligible members of {}{more} are invited",
            some.join(", ")
        ));
    }
    Ok(out)
}

/// What is expected to become of invitations, a stratum.
fn rates(step: &str, wave: &Wave, strata: &[Stratum]) -> Result<Vec<Option<Response>>> {
    let Some(response) = &wave.further.response else { return Ok(vec![None; strata.len()]) };
    let part = |ppm: u64| ppm as f64 / 1e6;
    let (incidence, rejected) = (part(response.incidence_ppm), part(response.rejected_ppm));
    if let Some(ppm) = response.rate_ppm {
        return Ok(vec![Some(Response { response: part(ppm), incidence, rejected }); strata.len()]);
    }
    let known = |s: &Stratum, m: Measured| s.measure(m).filter(|v| v.is_finite()).unwrap_or(0.0).round() as u64;
    let invited: u64 = strata.iter().map(|s| known(s, Measured::Invited)).sum();
    let answered: u64 = strata.iter().map(|s| known(s, Measured::Answered)).sum();
    if invited == 0 || answered == 0 {
        let message =
            format!("eligible members were asked {invited} times before and answered {answered} times: there is no past rate");
        return Err(broken(step, message, "write `expect_response: {rate: 30%}` for the first waves"));
    }
    let panel = answered as f64 / invited as f64;
    let rate = |answered, invited, towards| {
        response_rate(answered, invited, towards, response.base as f64).map_err(|e| contract(step, &e))
    };
    // The rate of a segment is drawn towards the panel's, that of a stratum in it towards the segment's.
    let at = response.shrink_to.as_ref().and_then(|to| cells_of(wave).iter().position(|c| c.value == to.value));
    let mut segments: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let segment = |s: &Stratum| at.and_then(|at| s.values.get(at)).map(text);
    for s in strata {
        if let Some(name) = segment(s) {
            let of = segments.entry(name).or_default();
            *of = (of.0 + known(s, Measured::Answered), of.1 + known(s, Measured::Invited));
        }
    }
    let of = |s: &Stratum| {
        let towards = match segment(s).and_then(|name| segments.get(&name)) {
            Some((answered, invited)) if *invited > 0 => rate(*answered, *invited, panel)?,
            _ => panel,
        };
        let rate = rate(known(s, Measured::Answered), known(s, Measured::Invited), towards);
        rate.map(|response| Some(Response { response, incidence, rejected }))
    };
    strata.iter().map(of).collect()
}
