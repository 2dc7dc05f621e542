//! How coarsely the people of an output are shown, so that nobody stands out. Never shows a group of fewer than k, and says what it cost.

mod cells;
mod counts;
pub(crate) mod earlier;

pub(crate) use cells::Counted;

use crate::error::{Error, Result};
use crate::report::GuardReport;
use crate::run::Run;
use crate::solve::{float, integer, scalar};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use std::collections::{BTreeMap, BTreeSet};
use strata_models::disclosure::{Class, Ladder, generalise};
use strata_models::exact::Sum;
use strata_plan::{Guard, GuardRow, weights_of};
use strata_spec::pipeline::{Anonymity, LadderStep, Output, WeightsShown};

/// Groups that are looked at, at most.
const GROUPS_MAX: usize = 1_000_000;

/// The rows of an output as readers may see them, and what that cost. Errors: `Contract` where nobody can be hidden in what is declared.
pub(crate) async fn plan(run: &mut Run<'_>, step: &str, output: &Output) -> Result<(LogicalPlan, Option<GuardReport>)> {
    if output.export.min_cell.is_some() {
        return cells::plan(run, step, output).await;
    }
    let Some(anonymity) = &output.export.anonymity else {
        return Ok((run.planned(step, run.compiled.output_plan(output, &run.solved))?, None));
    };
    let groups = alike(run, step, output, anonymity).await?;
    let (guard, report) = decide(step, output, anonymity, &groups)?;
    run.solved.guards.insert(output.name.value.clone(), guard);
    Ok((run.planned(step, run.compiled.output_plan(output, &run.solved))?, Some(report)))
}

/// People who look alike.
struct Alike {
    /// Values of the columns, as text, then rounded weights.
    key: Vec<Option<String>>,
    people: u64,
    /// Of each weight: people who have one, and their sum.
    weights: Vec<(u64, f64)>,
}

async fn alike(run: &mut Run<'_>, step: &str, output: &Output, anonymity: &Anonymity) -> Result<Vec<Alike>> {
    let Some(plan) = run.planned(step, run.compiled.alike(output, &run.solved))? else { return Ok(vec![]) };
    let weights = weights_of(output).len();
    let rounded = if matches!(anonymity.weights, WeightsShown::Rounded(_)) { weights } else { 0 };
    let keys = anonymity.over.len() + rounded;
    let mut out = vec![];
    for batch in &run.collect(step, plan).await? {
        for row in 0..batch.num_rows() {
            let one = std::slice::from_ref(batch);
            let key = (0..keys).map(|c| Ok(text_of(scalar(batch, c, row)?))).collect::<Result<_>>()?;
            let weight = |w: usize| (integer(one, keys + 1 + 2 * w, row).max(0) as u64, float(batch, keys + 2 + 2 * w, row));
            let people = integer(one, keys, row).max(0) as u64;
            out.push(Alike { key, people, weights: (0..weights).map(weight).collect() });
        }
    }
    match out.len() > GROUPS_MAX {
        true => Err(Error::Contract {
            step: step.to_owned(),
            message: format!(
                "the columns of `over` make {} groups of people who look alike, and {GROUPS_MAX} can be looked at",
                out.len()
            ),
            help: "band what has many values in an attribute, e.g. ages in tens".into(),
        }),
        false => Ok(out),
    }
}

fn text_of(value: ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => text,
        _ => None,
    }
}

/// Labels of the values of one column at each step; step 0 is the values themselves.
struct Steps {
    labels: Vec<Vec<Option<String>>>,
}

impl Steps {
    fn of(values: Vec<Option<String>>, ladder: &[LadderStep]) -> Self {
        let mut labels = vec![values];
        for step in ladder {
            let before = labels.last().cloned().unwrap_or_default();
            let coarser = |label: Option<String>| match step {
                LadderStep::All => Some("*".to_owned()),
                LadderStep::Labels(all) => {
                    label.map(|l| all.iter().find(|(_, of)| of.contains(&l)).map_or(l.clone(), |(to, _)| to.clone()))
                }
            };
            labels.push(before.into_iter().map(coarser).collect());
        }
        Self { labels }
    }

    fn ladder(&self, name: &str) -> Ladder {
        let codes = |labels: &Vec<Option<String>>| {
            let known: BTreeSet<&Option<String>> = labels.iter().collect();
            let place: BTreeMap<&Option<String>, u32> = known.into_iter().zip(0..).collect();
            labels.iter().map(|l| place.get(l).copied().unwrap_or(0)).collect()
        };
        Ladder { name: name.to_owned(), steps: self.labels.iter().skip(1).map(codes).collect() }
    }
}

fn decide(step: &str, output: &Output, anonymity: &Anonymity, groups: &[Alike]) -> Result<(Guard, GuardReport)> {
    let columns = groups.first().map_or(anonymity.over.len(), |g| g.key.len());
    let (mut steps, mut codes): (Vec<Steps>, Vec<Vec<u32>>) = (vec![], vec![]);
    for column in 0..columns {
        let values: BTreeSet<&Option<String>> = groups.iter().map(|g| &g.key[column]).collect();
        let place: BTreeMap<&Option<String>, u32> = values.iter().copied().zip(0..).collect();
        codes.push(groups.iter().map(|g| place.get(&g.key[column]).copied().unwrap_or(0)).collect());
        let name = anonymity.over.get(column).map(|o| o.value.as_str());
        let ladder = anonymity.ladders.iter().find(|(n, _)| Some(n.value.as_str()) == name).map_or(&[][..], |(_, s)| s);
        steps.push(Steps::of(values.into_iter().cloned().collect(), ladder));
    }
    let name = |c: usize| anonymity.over.get(c).map_or("weights", |o| o.value.as_str());
    let ladders: Vec<Ladder> = steps.iter().enumerate().map(|(c, s)| s.ladder(name(c))).collect();
    let classes: Vec<Class> =
        (0..groups.len()).map(|g| Class { codes: codes.iter().map(|c| c[g]).collect(), people: groups[g].people }).collect();
    let most = anonymity.leave_out_ppm as f64 / 1e6;
    let found = generalise(&classes, &ladders, anonymity.k, most).map_err(|e| refused(step, &e))?;
    let label = |c: usize, g: usize| steps[c].labels[found.steps[c]][codes[c][g] as usize].clone();
    let people = groups.iter().map(|g| g.people).sum();
    let empty =
        left_empty(anonymity.k, people, most, &found.suppressed, groups, &|g| (0..columns).map(|c| label(c, g)).collect());
    let empty = empty.ok_or_else(|| refused_few(step, anonymity.k))?;
    let over = anonymity.over.len();
    let shown: Vec<Vec<Option<String>>> =
        (0..groups.len()).map(|g| (0..columns).map(|c| if empty[g] { None } else { label(c, g) }).collect()).collect();
    let means = means(&shown, groups);
    let row = |g: usize| GuardRow {
        key: groups[g].key.clone(),
        shown: shown[g][..over].to_vec(),
        weights: match (anonymity.weights, empty[g]) {
            // Rounded weights are part of what they have in common.
            (WeightsShown::Rounded(_), false) => {
                shown[g][over..].iter().map(|w| w.as_ref().and_then(|w| w.parse().ok())).collect()
            }
            _ => means.get(&shown[g]).cloned().unwrap_or_default(),
        },
    };
    let mut sizes: BTreeMap<&Vec<Option<String>>, u64> = BTreeMap::new();
    groups.iter().zip(&shown).for_each(|(g, s)| *sizes.entry(s).or_default() += g.people);
    let report = GuardReport {
        output: output.name.value.clone(),
        k: anonymity.k,
        people,
        groups: sizes.len() as u64,
        smallest: sizes.values().copied().filter(|n| *n > 0).min(),
        left_empty: groups.iter().zip(&empty).filter(|(_, e)| **e).map(|(g, _)| g.people).sum(),
        steps: (0..over).map(|c| (name(c).to_owned(), found.steps[c] as u64)).collect(),
        loss: found.loss,
        ..GuardReport::default()
    };
    // INVARIANT: nobody is shown in a group of fewer than k.
    match report.smallest.is_some_and(|n| n < anonymity.k) {
        true => Err(refused_few(step, anonymity.k)),
        false => Ok((Guard { rows: (0..groups.len()).map(row).collect() }, report)),
    }
}

/// Whose columns are left empty: those suppressed, and where they are fewer than k the smallest groups besides. `None` where that would be
/// more than `most` of the people.
fn left_empty(
    k: u64,
    people: u64,
    most: f64,
    suppressed: &[bool],
    groups: &[Alike],
    label: &dyn Fn(usize) -> Vec<Option<String>>,
) -> Option<Vec<bool>> {
    let mut empty = suppressed.to_vec();
    let mut shown: BTreeMap<Vec<Option<String>>, (u64, Vec<usize>)> = BTreeMap::new();
    for g in (0..groups.len()).filter(|g| !empty[*g]) {
        let of = shown.entry(label(g)).or_default();
        of.0 += groups[g].people;
        of.1.push(g);
    }
    let mut hidden: u64 = (0..groups.len()).filter(|g| empty[*g]).map(|g| groups[g].people).sum();
    // Who has nothing in any column looks like those whose columns are left empty.
    let (nothing, mut rest): (Vec<_>, Vec<_>) = shown.into_iter().partition(|(label, _)| label.iter().all(Option::is_none));
    let alike: u64 = nothing.iter().map(|(_, (people, _))| people).sum();
    rest.retain(|(_, (people, _))| *people > 0);
    // Stable: of groups of one size the first label.
    rest.sort_by_key(|(_, (people, _))| *people);
    let mut smallest = rest.into_iter();
    while hidden > 0 && hidden + alike < k {
        let (_, (people, of)) = smallest.next()?;
        of.into_iter().for_each(|g| empty[g] = true);
        hidden += people;
    }
    (hidden as f64 <= most * people as f64).then_some(empty)
}

/// The mean of each weight over those who are shown alike; none where nobody of them has one.
fn means(shown: &[Vec<Option<String>>], groups: &[Alike]) -> BTreeMap<Vec<Option<String>>, Vec<Option<f64>>> {
    let mut sums: BTreeMap<&Vec<Option<String>>, Vec<(u64, Sum)>> = BTreeMap::new();
    for (shown, group) in shown.iter().zip(groups) {
        let of = sums.entry(shown).or_insert_with(|| group.weights.iter().map(|_| (0, Sum::new())).collect());
        for ((count, sum), (n, total)) in of.iter_mut().zip(&group.weights) {
            if *n > 0 {
                *count += n;
                sum.add(*total);
            }
        }
    }
    let mean = |(n, sum): &(u64, Sum)| (*n > 0).then(|| sum.value() / *n as f64);
    sums.into_iter().map(|(s, of)| (s.clone(), of.iter().map(mean).collect())).collect()
}

fn refused(step: &str, error: &strata_models::Error) -> Error {
    let help = "declare coarser steps (`all` last), leave a column out of the output, or allow more: `leave_out: 5%`";
    Error::Contract { step: step.to_owned(), message: error.to_string(), help: help.into() }
}

fn refused_few(step: &str, k: u64) -> Error {
    Error::Contract {
        step: step.to_owned(),
        message: format!("fewer than {k} people would be left without these columns, and so stand out"),
        help: "allow more to be left empty: `leave_out: 10%`, or declare coarser steps (`all` last)".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(age: &str, home: &str, people: u64, weight: f64) -> Alike {
        let key = vec![Some(age.to_owned()), Some(home.to_owned())];
        Alike { key, people, weights: vec![(people, weight * people as f64)] }
    }

    fn output(pipeline: &str) -> Output {
        let text = format!(
            "version: 1\nname: p\nsources: {{c: {{parquet: c, mode: mutable, key: id}}}}\nentities: {{c: {{from: c, key: id}}}}\n\
             outputs:\n  o: {{to: out, select: [id], anonymity: {pipeline}}}\n"
        );
        let source = strata_spec::SourceText { path: "p".into(), text };
        let loaded = strata_spec::load_within(&source, &[], strata_spec::Reach::Language);
        loaded.draft.or(loaded.pipeline).map(|p| p.outputs[0].clone()).unwrap()
    }

    fn decided(anonymity: &str, groups: &[Alike]) -> std::result::Result<(Guard, GuardReport), String> {
        let output = output(anonymity);
        let anonymity = output.export.anonymity.clone().unwrap();
        decide("write o", &output, &anonymity, groups).map_err(|e| e.to_string())
    }

    #[test]
    fn small_groups_are_left_empty_and_so_many_that_nobody_stands_out_for_it() {
        let groups =
            [group("20", "one", 30, 1.0), group("20", "two", 3, 5.0), group("30", "one", 12, 2.0), group("30", "two", 20, 1.0)];
        let (guard, report) = decided("{over: [age, home]}", &groups).unwrap();
        // 3 alone would stand out: the 12 go with them.
        assert_eq!((report.left_empty, report.smallest, report.groups), (15, Some(15), 3));
        assert_eq!(guard.rows[1].shown, [None, None]);
        assert_eq!(guard.rows[2].shown, [None, None]);
        assert_eq!(guard.rows[2].weights, [Some((15.0 + 24.0) / 15.0)]);
        assert_eq!(guard.rows[0].weights, [Some(1.0)]);
        // That is 15 of 65 people, and no more than a fifth may be left empty.
        assert!(decided("{over: [age, home], leave_out: 20%}", &groups).unwrap_err().contains("fewer than 10"));
        assert_eq!(decided("{k: 3, over: [age, home]}", &groups).unwrap().1.left_empty, 0);
    }

    #[test]
    fn columns_are_made_coarser_as_little_as_can_be() {
        let groups =
            [group("20", "one", 6, 1.0), group("25", "one", 6, 3.0), group("30", "one", 20, 2.0), group("60", "two", 15, 1.0)];
        let ladder = "{over: [age, home], generalise: {age: [{young: [\"20\", \"25\"]}, all], home: [all]}}";
        let (guard, report) = decided(ladder, &groups).unwrap();
        assert_eq!((report.steps, report.left_empty), (vec![("age".to_owned(), 1), ("home".to_owned(), 0)], 0));
        assert_eq!(guard.rows[0].shown, [Some("young".to_owned()), Some("one".to_owned())]);
        assert_eq!((guard.rows[0].weights.clone(), guard.rows[1].weights.clone()), (vec![Some(2.0)], vec![Some(2.0)]));
        let few = [group("20", "one", 4, 1.0)];
        assert!(decided(ladder, &few).unwrap_err().contains("10"));
        assert_eq!(output(ladder).export.anonymity.unwrap().weights, WeightsShown::CellMean);
        let nobody = decided(ladder, &[]).unwrap().1;
        assert_eq!((nobody.people, nobody.smallest), (0, None));
    }
}
