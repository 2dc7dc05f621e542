//! Strata each of which says how its levels share the sample: people of every level, then of every crossing of levels. Never takes more of a
//! crossing than are eligible.

use super::quotas::{filled, nearest};
use super::{Stratum, broken, contract, text};
use crate::error::Result;
use crate::report::WaveReport;
use std::collections::BTreeMap;
use strata_models::allocate::{AfterBounds, Request, Shares, allocate, largest_remainder};
use strata_models::quota::{self, Cell, Level, Margin, Outcome};
use strata_spec::pipeline::Wave;
use strata_spec::pipeline::wave::{StratumRule, StratumShare};

/// How many of each stratum, so that every level of every column has what its rule gives it. Errors: `Contract` where a rule cannot give the
/// sample, or the columns cannot be met together: then with the smallest set of levels that clash.
pub(super) fn each(step: &str, wave: &Wave, strata: &[Stratum], report: &mut WaveReport) -> Result<Vec<u64>> {
    let everybody: u64 = strata.iter().map(|s| s.eligible).sum();
    let sample = report.asked.min(everybody);
    let (mut margins, mut codes) = (vec![], vec![vec![]; strata.len()]);
    for (at, rule) in wave.further.strata.iter().enumerate() {
        let mut levels: BTreeMap<String, u64> = BTreeMap::new();
        strata.iter().for_each(|s| *levels.entry(text(&s.values[at])).or_default() += s.eligible);
        let (names, sizes): (Vec<String>, Vec<u64>) = levels.into_iter().unzip();
        for (stratum, codes) in strata.iter().zip(&mut codes) {
            let own = text(&stratum.values[at]);
            codes.push(names.iter().position(|n| *n == own).unwrap_or(0) as u32);
        }
        let targets = targets(step, rule, sample, &names, &sizes)?;
        let levels = names.into_iter().zip(targets).map(|(name, target)| Level { name, target }).collect();
        margins.push(Margin { name: rule.name.value.clone(), levels });
    }
    let cells: Vec<Cell> = strata.iter().zip(codes).map(|(stratum, codes)| Cell { codes, supply: stratum.eligible }).collect();
    match quota::plan(&margins, &cells).map_err(|e| contract(step, &e))? {
        Outcome::Filled(plan) => {
            report.quotas = filled(&margins, &cells, &plan.rows);
            Ok(plan.rows)
        }
        Outcome::Clash(clash) => Err(broken(step, clash.describe(), &nearest(&margins, &clash))),
    }
}

/// People of each level of a column.
fn targets(step: &str, rule: &StratumRule, sample: u64, names: &[String], sizes: &[u64]) -> Result<Vec<u64>> {
    let column = &rule.name.value;
    let shares = match &rule.how {
        StratumShare::Shares(shares) => return of_shares(step, column, shares, sample, names, sizes),
        StratumShare::Equal => Shares::Equal,
        StratumShare::Proportional | StratumShare::Bounds { .. } => Shares::Proportional,
    };
    let (min, max) = match rule.how {
        StratumShare::Bounds { min, max } => (min.unwrap_or(0), max),
        _ => (0, None),
    };
    let request = Request { sample, sizes, shares, min, max, after_bounds: AfterBounds::Rebalance };
    let found = allocate(&request).map_err(|e| contract(step, &e))?;
    match found.shortfall {
        0 => Ok(found.rows),
        short => {
            let message = format!("`{column}` can give {} of the {sample} people asked for, {short} fewer", found.total);
            Err(broken(step, message, "raise its `max`, or lower `sample`"))
        }
    }
}

/// Levels with a share have it; what is left is divided in proportion to the people of the others.
fn of_shares(
    step: &str,
    column: &str,
    shares: &[(String, u64)],
    sample: u64,
    names: &[String],
    sizes: &[u64],
) -> Result<Vec<u64>> {
    if let Some((level, _)) = shares.iter().find(|(level, _)| !names.contains(level)) {
        let near = strata_spec::diagnostic::did_you_mean(level, names.iter().map(String::as_str));
        let all = || format!("eligible members have: {}", names.iter().take(20).cloned().collect::<Vec<_>>().join(", "));
        let help = near.map_or_else(all, |n| format!("did you mean `{n}`?"));
        return Err(broken(
            step,
            format!("the wave wants people with `{column}` = `{level}`, and no eligible member has that"),
            &help,
        ));
    }
    let given = |name: &String| shares.iter().find(|(level, _)| level == name).map(|(_, ppm)| *ppm);
    let left = 1_000_000 - shares.iter().map(|(_, ppm)| ppm).sum::<u64>().min(1_000_000);
    let others: u64 = names.iter().zip(sizes).filter(|(n, _)| given(n).is_none()).map(|(_, size)| size).sum();
    if left > 0 && others == 0 {
        let message =
            format!("the shares of `{column}` add up to {}%, and there are no other levels", (1_000_000 - left) as f64 / 1e4);
        return Err(broken(step, message, "make them add up to 100%"));
    }
    let weight = |(name, size): (&String, &u64)| match given(name) {
        Some(ppm) => ppm as f64,
        None => left as f64 * (*size as f64 / others as f64),
    };
    let weights: Vec<f64> = names.iter().zip(sizes).map(weight).collect();
    largest_remainder(&weights, sample).map_err(|e| contract(step, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::common::ScalarValue;

    fn wave(strata: &str) -> Wave {
        let text = format!(
            "version: 1\nname: p\nsources: {{c: {{parquet: c, mode: mutable, key: id}}}}\nentities: {{p: {{from: c, key: id}}}}\n\
             attributes: {{p: [{{row: {{home: c.home, age: c.age}}}}]}}\n\
             panel: {{members: {{where: age > 0}}, waves: {{w: {{sample: 40, strata: {strata}}}}}}}\n"
        );
        let loaded = strata_spec::load(&strata_spec::SourceText { path: "p".into(), text }, &[]);
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        loaded.pipeline.and_then(|p| p.wave("w").cloned()).unwrap()
    }

    /// Homes a and b, ages 1 to 3.
    fn strata() -> Vec<Stratum> {
        let of = |(home, age, eligible): (&str, i64, u64)| Stratum {
            values: vec![ScalarValue::Utf8(Some(home.to_owned())), ScalarValue::Int64(Some(age))],
            eligible,
            measures: vec![],
        };
        [("a", 1, 50), ("a", 2, 30), ("a", 3, 20), ("b", 1, 20), ("b", 2, 30), ("b", 3, 10)].map(of).to_vec()
    }

    fn drawn(rules: &str) -> std::result::Result<(Vec<u64>, Vec<u64>), String> {
        let mut report = WaveReport { asked: 40, ..Default::default() };
        let rows = each("panel w", &wave(rules), &strata(), &mut report).map_err(|e| e.to_string())?;
        assert!(strata().iter().zip(&rows).all(|(s, n)| *n <= s.eligible));
        assert!(report.quotas.iter().all(|q| q.target == q.planned), "{:?}", report.quotas);
        let home = |at: usize| rows[3 * at..3 * at + 3].iter().sum();
        let age = |at: usize| rows[at] + rows[at + 3];
        Ok((vec![home(0), home(1)], vec![age(0), age(1), age(2)]))
    }

    #[test]
    fn every_level_has_what_its_rule_gives() {
        assert_eq!(drawn("{home: proportional, age: proportional}").unwrap(), (vec![25, 15], vec![18, 15, 7]));
        assert_eq!(drawn("{home: equal, age: {min: 12}}").unwrap(), (vec![20, 20], vec![15, 13, 12]));
        assert_eq!(drawn("{home: {b: 75%}, age: {max: 14}}").unwrap(), (vec![10, 30], vec![14, 14, 12]));
        assert_eq!(drawn("{home: {a: 50%, b: 50%}, age: {\"3\": 10%}}").unwrap().1[2], 4);
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_is_in_the_way() {
        let clash = drawn("{home: {b: 100%}, age: {\"3\": 50%}}").unwrap_err();
        assert!(clash.contains("eligible") && clash.contains("nearest"), "{clash}");
        assert!(drawn("{home: {c: 10%}, age: equal}").unwrap_err().contains("`home` = `c`"));
        assert!(drawn("{home: {a: 10%, b: 20%}, age: equal}").unwrap_err().contains("30%"));
        assert!(drawn("{home: {max: 5}, age: equal}").unwrap_err().contains("10 of the 40"));
        assert!(drawn("{home: equal, age: {min: 30}}").is_err());
    }
}
