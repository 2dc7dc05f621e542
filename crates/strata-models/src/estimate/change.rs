//! The movement of a measure from one wave to the next, by segment, with the covariance that people asked in both waves
//! bring. It never treats the waves as independent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Error, Singleton, strata};
use crate::{Result, exact::Sum};

/// What one person answered in one wave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The final weight in that wave, above 0.
    pub weight: f64,
    /// The measure.
    pub value: f64,
    /// The segment in that wave: it may change.
    pub segment: u32,
}

/// One person of either wave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// The stratum of entry, from 0.
    pub stratum: u32,
    /// The first wave, if asked in it.
    pub first: Option<Answer>,
    /// The second wave.
    pub second: Option<Answer>,
}

/// How a measure moved in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Movement {
    /// The segment; none for everybody.
    pub segment: Option<u32>,
    /// People of the segment in the first wave, in the second, and in both.
    pub people: (u64, u64, u64),
    /// Weighted means of the two waves, in the unit of the measure.
    pub means: (f64, f64),
    /// Their standard errors.
    pub standard_errors: (f64, f64),
    /// The second mean less the first.
    pub change: f64,
    /// The standard error of the change: √(V₁ + V₂ − 2·covariance).
    pub standard_error: f64,
    /// The covariance of the two means over the product of their standard errors; 0 if one of these is 0.
    pub correlation: f64,
}

/// The movement of a measure from wave to wave: for everybody, then for each segment that occurs, in order.
///
/// Means are linearised; each wave is a stratified simple random sample, `populations` the people of each stratum (empty for
/// endless ones). In a stratum with n₁ and n₂ people and n₁₂ in both, the covariance is (n₁₂ − n₁n₂/N)·r·S₁S₂, r the
/// correlation of the scores of those in both; with fewer than two of them it is taken as 0. A segment counts people by the
/// segment of each wave, so the change includes those who moved.
///
/// Errors: `NoRows` if a wave has nobody; `Shape` if a stratum has no population; `Value`; [`Error`]: a stratum of one person,
/// a population smaller than its sample, a segment that one wave has nobody of.
///
/// Source: Kish 1965, 12.4; Tam 1984; Qualité & Tillé 2008.
pub fn movement(people: &[Person], populations: &[f64], singleton: Singleton) -> Result<Vec<Movement>> {
    check(people)?;
    let mut segments: Vec<Option<u32>> = vec![None];
    let mut found: Vec<u32> =
        people.iter().flat_map(|person| [person.first, person.second]).flatten().map(|a| a.segment).collect();
    found.sort_unstable();
    found.dedup();
    segments.extend(found.into_iter().map(Some));
    segments.into_iter().map(|segment| of_segment(people, populations, singleton, segment)).collect()
}

fn check(people: &[Person]) -> Result<()> {
    for (index, person) in people.iter().enumerate() {
        for answer in [person.first, person.second].into_iter().flatten() {
            if !(answer.weight > 0.0 && answer.weight.is_finite()) {
                let wanted = "weights must be finite and above 0";
                return Err(crate::Error::Value { what: "weight of person", index, value: answer.weight, wanted });
            }
            if !answer.value.is_finite() {
                let wanted = "fill or filter missing values first";
                return Err(crate::Error::Value { what: "value of person", index, value: answer.value, wanted });
            }
        }
    }
    let has = |wave: fn(&Person) -> Option<Answer>| people.iter().any(|person| wave(person).is_some());
    if has(|person| person.first) && has(|person| person.second) { Ok(()) } else { Err(crate::Error::NoRows) }
}

/// Scores of the people of one stratum: of the first wave, of the second, and of both waves of those in both.
#[derive(Default)]
struct Scores {
    first: Vec<f64>,
    second: Vec<f64>,
    both: (Vec<f64>, Vec<f64>),
}

fn of_segment(people: &[Person], populations: &[f64], singleton: Singleton, segment: Option<u32>) -> Result<Movement> {
    let is_in = |answer: &Answer| segment.is_none_or(|segment| answer.segment == segment);
    let (first, n1) = mean(people.iter().filter_map(|person| person.first).filter(is_in));
    let (second, n2) = mean(people.iter().filter_map(|person| person.second).filter(is_in));
    if let (Some(segment), true) = (segment, n1 == 0 || n2 == 0) {
        return Err(Error::Empty { segment, wave: if n1 == 0 { 1 } else { 2 } }.into());
    }
    // People outside the segment have score 0 but count as drawn.
    let score = |answer: Answer, mean: Mean| {
        if is_in(&answer) { answer.weight * (answer.value - mean.value) / mean.weight } else { 0.0 }
    };
    let mut strata: BTreeMap<u32, Scores> = BTreeMap::new();
    let mut both = 0;
    for person in people {
        let scores = strata.entry(person.stratum).or_default();
        let (a, b) = (person.first.map(|answer| score(answer, first)), person.second.map(|answer| score(answer, second)));
        scores.first.extend(a);
        scores.second.extend(b);
        if let (Some(a), Some(b)) = (a, b) {
            scores.both.0.push(a);
            scores.both.1.push(b);
        }
        both += u64::from(person.first.as_ref().is_some_and(is_in) && person.second.as_ref().is_some_and(is_in));
    }
    let (mut v1, mut v2, mut covariance) = (Sum::new(), Sum::new(), Sum::new());
    for (&stratum, scores) in &strata {
        let most = scores.first.len().max(scores.second.len());
        let population = population(populations, stratum, most)?;
        let spread1 = spread(&scores.first, stratum, singleton)?;
        let spread2 = spread(&scores.second, stratum, singleton)?;
        let (n1, n2, n12) = (scores.first.len() as f64, scores.second.len() as f64, scores.both.0.len() as f64);
        v1.add(n1 * (1.0 - n1 / population) * spread1);
        v2.add(n2 * (1.0 - n2 / population) * spread2);
        covariance.add((n12 - n1 * n2 / population) * correlation(&scores.both) * (spread1 * spread2).sqrt());
    }
    let (v1, v2, covariance) = (v1.value().max(0.0), v2.value().max(0.0), covariance.value());
    let product = (v1 * v2).sqrt();
    Ok(Movement {
        segment,
        people: (n1, n2, both),
        means: (first.value, second.value),
        standard_errors: (v1.sqrt(), v2.sqrt()),
        change: second.value - first.value,
        standard_error: (v1 + v2 - 2.0 * covariance).max(0.0).sqrt(),
        correlation: if product > 0.0 { (covariance / product).clamp(-1.0, 1.0) } else { 0.0 },
    })
}

#[derive(Clone, Copy)]
struct Mean {
    value: f64,
    weight: f64,
}

/// The weighted mean and how many people it is of.
fn mean(answers: impl Iterator<Item = Answer>) -> (Mean, u64) {
    let (mut sum, mut weight, mut people) = (Sum::new(), Sum::new(), 0);
    for answer in answers {
        sum.add_product(answer.weight, answer.value);
        weight.add(answer.weight);
        people += 1;
    }
    let weight = weight.value();
    (Mean { value: sum.value() / weight, weight }, people)
}

/// S², the variance of scores; of nobody 0.
fn spread(scores: &[f64], stratum: u32, singleton: Singleton) -> Result<f64> {
    match scores {
        [] => Ok(0.0),
        [only] => match singleton {
            Singleton::Error => Err(Error::Singleton { stratum }.into()),
            Singleton::Certain => Ok(0.0),
            // The mean of all scores of a wave is 0.
            Singleton::Centre => Ok(only * only),
        },
        scores => Ok(strata::squares(scores) / (scores.len() as f64 - 1.0)),
    }
}

/// The correlation of the two scores of those in both waves; 0 if there are fewer than two or one does not vary.
fn correlation((first, second): &(Vec<f64>, Vec<f64>)) -> f64 {
    if first.len() < 2 {
        return 0.0;
    }
    let product = (strata::squares(first) * strata::squares(second)).sqrt();
    if product > 0.0 { (strata::products(first, second) / product).clamp(-1.0, 1.0) } else { 0.0 }
}

fn population(populations: &[f64], stratum: u32, people: usize) -> Result<f64> {
    if populations.is_empty() {
        return Ok(f64::INFINITY);
    }
    let (found, stratum) = (populations.len(), stratum as usize);
    let population = *populations.get(stratum).ok_or(crate::Error::Shape { what: "populations", found, wanted: stratum + 1 })?;
    if population.is_nan() || population < people as f64 {
        return Err(Error::Population { stratum, units: people as u64, population }.into());
    }
    Ok(population)
}
