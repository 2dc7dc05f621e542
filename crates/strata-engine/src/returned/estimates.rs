//! Weighted means of answers with their standard errors, and their movement since the wave before. Never compares people who
//! did not answer.

use super::{EstimateReport, MovementReport, ReturnReport, Returned, Weighed, broken};
use crate::error::{Error, Result};
use crate::panel::{contract, label};
use std::collections::BTreeMap;
use strata_models::estimate::{Answer, Person, Sample, Singleton, movement, ratio};
use strata_plan::Solved;
use strata_spec::pipeline::Wave;

/// Standard errors that make a change clear.
const CLEAR: f64 = 1.96;

/// Means of every measure: of everybody, and of every value of each column to estimate by.
pub(super) fn estimate(
    step: &str,
    wave: &Wave,
    returned: &Returned,
    weighed: &[Weighed],
    solved: &Solved,
    report: &mut ReturnReport,
) -> Result<()> {
    let sizes: BTreeMap<String, u64> =
        solved.allocations.get(&wave.name.value).into_iter().flatten().map(|a| (label(&a.stratum), a.eligible)).collect();
    for (at, measure) in returned.measures.iter().enumerate() {
        let rows: Vec<&Weighed> = weighed.iter().filter(|w| w.values[at].is_finite()).collect();
        if rows.is_empty() {
            let message = format!("nobody who answered has a value of `{measure}`");
            return Err(broken(step, message, "name a column that holds answers"));
        }
        if rows.len() < weighed.len() {
            report.warnings.push(format!(
                "`{measure}`: {} of {} answers have no value",
                weighed.len() - rows.len(),
                weighed.len()
            ));
        }
        let names: Vec<&String> = sizes.keys().collect();
        let mut used: Vec<&String> = rows.iter().map(|w| &w.stratum).collect();
        used.sort();
        used.dedup();
        let code = |w: &Weighed| used.iter().position(|s| **s == w.stratum).unwrap_or(0) as u32;
        let strata: Vec<u32> = rows.iter().map(|w| code(w)).collect();
        let populations: Vec<f64> = used.iter().map(|s| sizes.get(*s).map_or(0.0, |n| *n as f64)).collect();
        let known = used.iter().all(|s| names.contains(s));
        let weights: Vec<f64> = rows.iter().map(|w| w.weight).collect();
        if weights.iter().any(|w| *w <= 0.0) {
            let message = "calibration gave weights of 0 or less, from which no standard error follows".to_owned();
            return Err(broken(step, message, "set limits: `calibrate: {distance: logit, least: 0.2, most: 5}`"));
        }
        let sample = Sample {
            weights: &weights,
            strata: &strata,
            clusters: &[],
            populations: if known { &populations } else { &[] },
            singleton: Singleton::Centre,
        };
        let mut of = |part: Option<(String, String)>, is_in: &dyn Fn(&Weighed) -> bool| -> Result<()> {
            let ones: Vec<f64> = rows.iter().map(|w| f64::from(u8::from(is_in(w)))).collect();
            let above: Vec<f64> = rows.iter().zip(&ones).map(|(w, one)| if *one > 0.0 { w.values[at] } else { 0.0 }).collect();
            let found = ratio(&sample, &above, &ones, None).map_err(|e| contract(step, &e))?;
            report.estimates.push(EstimateReport {
                measure: measure.clone(),
                of: part,
                answers: ones.iter().sum::<f64>() as u64,
                mean: found.value,
                standard_error: found.standard_error,
            });
            Ok(())
        };
        of(None, &|_| true)?;
        for (b, column) in returned.by.iter().enumerate() {
            let mut values: Vec<&String> = rows.iter().map(|w| &w.by[b]).collect();
            values.sort();
            values.dedup();
            for value in values {
                of(Some((column.clone(), value.clone())), &|w| w.by[b] == *value)?;
            }
        }
    }
    Ok(())
}

/// An answer of the wave before.
struct Earlier {
    stratum: String,
    by: Vec<String>,
    weight: f64,
    values: Vec<f64>,
}

/// How every measure moved since the wave before. Errors: `Contract` where that file is not one of weights.
pub(super) fn moved(step: &str, file: &str, returned: &Returned, now: &[Weighed], report: &mut ReturnReport) -> Result<()> {
    let before = read(step, file, returned)?;
    let mut strata: Vec<&String> = before.values().map(|e| &e.stratum).chain(now.iter().map(|w| &w.stratum)).collect();
    strata.sort();
    strata.dedup();
    let stratum = |name: &String| strata.iter().position(|s| *s == name).unwrap_or(0) as u32;
    for (at, measure) in returned.measures.iter().enumerate() {
        let splits = std::iter::once(None).chain((0..returned.by.len()).map(Some));
        for split in splits {
            let mut segments: Vec<&String> = match split {
                None => vec![],
                Some(b) => before.values().map(|e| &e.by[b]).chain(now.iter().map(|w| &w.by[b])).collect(),
            };
            segments.sort();
            segments.dedup();
            let segment = |by: &[String]| split.map_or(0, |b| segments.iter().position(|s| **s == by[b]).unwrap_or(0) as u32);
            let answer = |weight: f64, value: f64, by: &[String]| {
                (value.is_finite() && weight > 0.0).then(|| Answer { weight, value, segment: segment(by) })
            };
            let mut people: BTreeMap<&String, Person> = BTreeMap::new();
            for (key, e) in &before {
                let first = answer(e.weight, e.values[at], &e.by);
                people.insert(key, Person { stratum: stratum(&e.stratum), first, second: None });
            }
            for w in now {
                let second = answer(w.weight, w.values[at], &w.by);
                let of = people.entry(&w.key).or_insert(Person { stratum: stratum(&w.stratum), first: None, second: None });
                of.second = second;
            }
            let people: Vec<Person> = people.into_values().filter(|p| p.first.is_some() || p.second.is_some()).collect();
            let both = |s: u32| {
                let has = |a: &Option<Answer>| a.is_some_and(|a| a.segment == s);
                people.iter().any(|p| has(&p.first)) && people.iter().any(|p| has(&p.second))
            };
            // A segment that one wave has nobody of has no movement.
            let lacking: Vec<u32> = (0..segments.len() as u32).filter(|s| !both(*s)).collect();
            let within = |a: Option<Answer>| a.filter(|a| !lacking.contains(&a.segment));
            let people: Vec<Person> =
                people.into_iter().map(|p| Person { first: within(p.first), second: within(p.second), ..p }).collect();
            let found = movement(&people, &[], Singleton::Centre).map_err(|e| contract(step, &e))?;
            for s in &lacking {
                report.warnings.push(format!("`{measure}` of `{}`: one of the two waves has no answer", segments[*s as usize]));
            }
            for m in found.into_iter().filter(|m| m.segment.is_some() == split.is_some()) {
                let of = m.segment.zip(split).map(|(s, b)| (returned.by[b].clone(), segments[s as usize].clone()));
                report.movements.push(MovementReport {
                    measure: measure.clone(),
                    of,
                    answers: m.people,
                    means: m.means,
                    change: m.change,
                    standard_error: m.standard_error,
                    is_clear: m.change.abs() > CLEAR * m.standard_error,
                });
            }
        }
    }
    Ok(())
}

/// The answers of a file of weights, by key.
fn read(step: &str, file: &str, returned: &Returned) -> Result<BTreeMap<String, Earlier>> {
    let failed = |message: String| Error::Failed { step: step.to_owned(), message };
    let text = std::fs::read_to_string(file).map_err(|e| failed(format!("cannot read `{file}`: {e}")))?;
    let mut lines = text.lines().map(cells);
    let head = lines.next().unwrap_or_default();
    let at = |name: &str| {
        head.iter().position(|h| h == name).ok_or_else(|| {
            let help = "give the file that `strata weights --out` wrote for that wave, with the same `--measure` and `--by`";
            broken(step, format!("`{file}` has no column `{name}`"), help)
        })
    };
    let (stratum, weight) = (at("stratum")?, at("weight")?);
    let by = returned.by.iter().map(|b| at(b)).collect::<Result<Vec<_>>>()?;
    let measures = returned.measures.iter().map(|m| at(m)).collect::<Result<Vec<_>>>()?;
    let mut out = BTreeMap::new();
    for (line, row) in lines.enumerate() {
        let cell = |c: usize| row.get(c).map(String::as_str).unwrap_or_default();
        let number = |c: usize| if cell(c).is_empty() { Some(f64::NAN) } else { cell(c).parse::<f64>().ok() };
        let found = (|| {
            let values = measures.iter().map(|&c| number(c)).collect::<Option<Vec<_>>>()?;
            let by = by.iter().map(|&c| cell(c).to_owned()).collect();
            Some(Earlier { stratum: cell(stratum).to_owned(), by, weight: number(weight)?, values })
        })();
        let Some(earlier) = found.filter(|_| row.len() == head.len()) else {
            return Err(broken(
                step,
                format!("line {} of `{file}` is not one of weights", line + 2),
                "give the file as it was written",
            ));
        };
        if out.insert(cell(0).to_owned(), earlier).is_some() {
            return Err(broken(step, format!("line {} of `{file}` repeats a key", line + 2), "give the file as it was written"));
        }
    }
    Ok(out)
}

/// The cells of a line of CSV, as this verb writes them: without line breaks inside.
fn cells(line: &str) -> Vec<String> {
    let (mut out, mut cell, mut quoted) = (vec![], String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                cell.push('"');
                chars.next();
            }
            ('"', _) => quoted = !quoted,
            (',', false) => out.push(std::mem::take(&mut cell)),
            (c, _) => cell.push(c),
        }
    }
    out.push(cell);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_csv_are_read_as_they_are_written() {
        assert_eq!(cells("a,\"b,c\",,\"d\"\"e\""), ["a", "b,c", "", "d\"e"]);
        assert_eq!(cells(""), [""]);
    }
}
