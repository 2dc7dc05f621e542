//! Linear discriminants: segments with a mean each and one covariance. It never inverts a covariance that has no inverse: it
//! adds a ridge and says so.

use serde::{Deserialize, Serialize};

use super::{greatest, normalise};
use crate::{Error, Result, exact::Sum, matrix};

/// People with their segments and numeric measures.
#[derive(Debug, Clone, Copy)]
pub struct Numeric<'a> {
    /// Segments.
    pub segments: usize,
    /// The true segment of each person.
    pub truth: &'a [u32],
    /// How many measures.
    pub columns: usize,
    /// The measures of each person, one after the other; finite.
    pub measures: &'a [f64],
}

/// A linear discriminant classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Discriminant {
    /// The part of people in each segment.
    pub priors: Vec<f64>,
    /// The means of each segment, measure by measure.
    pub means: Vec<f64>,
    /// The pooled covariance, divided by people less segments, with the ridge, row by row.
    pub covariance: Vec<f64>,
    /// How many measures.
    pub columns: usize,
    /// What was added to the diagonal, as a part of it: 0 unless the covariance had no inverse.
    pub ridge: f64,
    people: Vec<u64>,
}

/// Added to the diagonal, as a part of it, if the covariance has no inverse.
const RIDGE: f64 = 1e-6;

impl Discriminant {
    /// From everybody. Sums are exact, so the order of people changes nothing.
    ///
    /// Errors: `NoRows` if a segment has nobody or there are no more people than segments; `Shape`, `Value`.
    ///
    /// Source: Fisher 1936; Venables & Ripley 2002, 12.1.
    pub fn fit(data: &Numeric<'_>) -> Result<Self> {
        check(data)?;
        let (segments, p) = (data.segments, data.columns);
        let mut people = vec![0u64; segments];
        let mut sums = vec![Sum::new(); segments * p];
        for (person, &segment) in data.truth.iter().enumerate() {
            people[segment as usize] += 1;
            let row = data.of(person).iter().enumerate();
            row.for_each(|(j, &x)| sums[segment as usize * p + j].add(x));
        }
        if people.contains(&0) || data.truth.len() <= segments {
            return Err(Error::NoRows);
        }
        let means: Vec<f64> = sums.iter().enumerate().map(|(at, sum)| sum.value() / people[at / p] as f64).collect();
        let mut gram = matrix::Gram::new(p);
        for (person, &segment) in data.truth.iter().enumerate() {
            gram.add(1.0, &away(data.of(person), &means[segment as usize * p..][..p]));
        }
        let free = (data.truth.len() - segments) as f64;
        let mut covariance: Vec<f64> = gram.values().iter().map(|sum| sum / free).collect();
        let mut ridge = 0.0;
        if matrix::Factor::new(&covariance, p, 1e-12).is_err() {
            ridge = RIDGE;
            for j in 0..p {
                // A measure that never varies is told apart by nothing.
                let own = covariance[j * p + j];
                covariance[j * p + j] = if own > 0.0 { own * (1.0 + RIDGE) } else { 1.0 };
            }
        }
        let priors = people.iter().map(|&count| count as f64 / data.truth.len() as f64).collect();
        Ok(Discriminant { priors, means, covariance, columns: p, ridge, people })
    }

    /// The probability of each segment for a person with these measures.
    ///
    /// Errors: `Shape`; `Stuck` if the covariance cannot be factored.
    pub fn probabilities(&self, measures: &[f64]) -> Result<Vec<f64>> {
        let factor = self.factor()?;
        let mut logs = self.logs(&factor, measures)?;
        normalise(&mut logs);
        Ok(logs)
    }

    /// The most probable segment, the first of equals. Errors: as [`Discriminant::probabilities`].
    pub fn predict(&self, measures: &[f64]) -> Result<u32> {
        Ok(greatest(&self.logs(&self.factor()?, measures)?))
    }

    /// The segment each person is put into by the means and covariance of all others (the priors stay). `data` is what the
    /// classifier was made from.
    ///
    /// Errors: `Shape`; `NoRows` if a segment has one person; `Stuck`.
    pub fn leave_one_out(&self, data: &Numeric<'_>) -> Result<Vec<u32>> {
        check(data)?;
        if data.truth.len() as u64 != self.people.iter().sum::<u64>() || data.columns != self.columns {
            return Err(Error::Shape {
                what: "people",
                found: data.truth.len(),
                wanted: self.people.iter().sum::<u64>() as usize,
            });
        }
        if self.people.contains(&1) {
            return Err(Error::NoRows);
        }
        let factor = self.factor()?;
        let free = (data.truth.len() - data.segments) as f64;
        let predict = |person: usize| {
            let own = data.truth[person] as usize;
            let count = self.people[own] as f64;
            let from_own = self.away_from(data.of(person), own);
            let solved = factor.solve(&from_own);
            // Without the person: covariance (free·S − c·d·dᵀ)/(free − 1), c = n/(n − 1); the own mean is c times as far.
            let part = count / ((count - 1.0) * free);
            let rest = 1.0 - part * product(&from_own, &solved);
            let logs: Vec<f64> = (0..data.segments)
                .map(|segment| {
                    let stretch = if segment == own { count / (count - 1.0) } else { 1.0 };
                    let from: Vec<f64> = self.away_from(data.of(person), segment).iter().map(|x| x * stretch).collect();
                    let across = product(&from, &solved);
                    let distance = product(&from, &factor.solve(&from)) + part * across * across / rest;
                    self.priors[segment].ln() - 0.5 * distance * (free - 1.0) / free
                })
                .collect();
            greatest(&logs)
        };
        Ok((0..data.truth.len()).map(predict).collect())
    }

    fn factor(&self) -> Result<matrix::Factor> {
        let stuck = |_| Error::Stuck { what: "a discriminant", steps: 1 };
        matrix::Factor::new(&self.covariance, self.columns, 1e-14).map_err(stuck)
    }

    fn away_from(&self, measures: &[f64], segment: usize) -> Vec<f64> {
        away(measures, &self.means[segment * self.columns..][..self.columns])
    }

    fn logs(&self, factor: &matrix::Factor, measures: &[f64]) -> Result<Vec<f64>> {
        if measures.len() != self.columns {
            return Err(Error::Shape { what: "measures", found: measures.len(), wanted: self.columns });
        }
        let log = |segment: usize| {
            let from = self.away_from(measures, segment);
            self.priors[segment].ln() - 0.5 * product(&from, &factor.solve(&from))
        };
        Ok((0..self.priors.len()).map(log).collect())
    }
}

impl Numeric<'_> {
    fn of(&self, person: usize) -> &[f64] {
        &self.measures[person * self.columns..(person + 1) * self.columns]
    }
}

fn check(data: &Numeric<'_>) -> Result<()> {
    if data.truth.is_empty() || data.columns == 0 {
        return Err(Error::NoRows);
    }
    let wanted = data.truth.len() * data.columns;
    if data.measures.len() != wanted {
        return Err(Error::Shape { what: "measures", found: data.measures.len(), wanted });
    }
    if let Some(&segment) = data.truth.iter().find(|&&segment| segment as usize >= data.segments) {
        return Err(Error::Shape { what: "segments", found: data.segments, wanted: segment as usize + 1 });
    }
    if let Some(index) = data.measures.iter().position(|x| !x.is_finite()) {
        let wanted = "fill or filter missing values first";
        return Err(Error::Value { what: "measure", index, value: data.measures[index], wanted });
    }
    Ok(())
}

fn away(measures: &[f64], means: &[f64]) -> Vec<f64> {
    measures.iter().zip(means).map(|(x, mean)| x - mean).collect()
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data<'a>(truth: &'a [u32], measures: &'a [f64], columns: usize) -> Numeric<'a> {
        Numeric { segments: 2, truth, columns, measures }
    }

    #[test]
    fn two_segments_on_a_line() -> Result<()> {
        // Means 2 and 8, pooled variance (2 + 2)/(6 − 2) = 1: at 4, ½·4 against ½·16.
        let truth = [0, 0, 0, 1, 1, 1];
        let model = Discriminant::fit(&data(&truth, &[1.0, 2.0, 3.0, 7.0, 8.0, 9.0], 1))?;
        assert_eq!((model.means.clone(), model.covariance.clone(), model.ridge), (vec![2.0, 8.0], vec![1.0], 0.0));
        let found = model.probabilities(&[4.0])?;
        assert!((found[1] / found[0] - (-6.0f64).exp()).abs() < 1e-15);
        // Half way: the first of equals.
        assert_eq!((model.predict(&[5.0])?, model.predict(&[5.1])?), (0, 1));
        assert!(model.predict(&[1.0, 2.0]).is_err());
        Ok(())
    }

    #[test]
    fn leaving_one_out_is_fitting_the_others() -> Result<()> {
        let truth: Vec<u32> = (0..30).map(|i| u32::from(i % 3 == 0)).collect();
        let noise = |i: u32, of: u32| f64::from(i * of % 17) / 3.0;
        let measures: Vec<f64> = (0..30u32).flat_map(|i| [noise(i, 7) + f64::from(truth[i as usize]), noise(i, 5)]).collect();
        let all = data(&truth, &measures, 2);
        let model = Discriminant::fit(&all)?;
        let found = model.leave_one_out(&all)?;
        for person in 0..30 {
            let keep = |i: &usize| *i != person;
            let rest: Vec<u32> = (0..30).filter(keep).map(|i| truth[i]).collect();
            let others: Vec<f64> = (0..30).filter(keep).flat_map(|i| measures[2 * i..2 * i + 2].to_vec()).collect();
            let mut without = Discriminant::fit(&data(&rest, &others, 2))?;
            without.priors.clone_from(&model.priors);
            assert_eq!(found[person], without.predict(&measures[2 * person..2 * person + 2])?, "{person}");
        }
        Ok(())
    }

    #[test]
    fn a_covariance_without_inverse_gets_a_ridge() -> Result<()> {
        let truth = [0, 0, 0, 1, 1, 1];
        // The second measure is twice the first; the third never varies.
        let measures: Vec<f64> = [1.0, 2.0, 3.0, 7.0, 8.0, 9.0].iter().flat_map(|x| [*x, 2.0 * x, 5.0]).collect();
        let model = Discriminant::fit(&data(&truth, &measures, 3))?;
        assert_eq!((model.ridge, model.predict(&[2.0, 4.0, 5.0])?, model.predict(&[8.0, 16.0, 5.0])?), (RIDGE, 0, 1));
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |truth: &[u32], measures: &[f64], columns| Discriminant::fit(&data(truth, measures, columns)).err();
        assert_eq!(refused(&[], &[], 1), Some(Error::NoRows));
        assert_eq!(refused(&[0, 0], &[1.0, 2.0], 1), Some(Error::NoRows));
        assert_eq!(refused(&[0, 1], &[1.0, 2.0], 1), Some(Error::NoRows));
        assert!(matches!(refused(&[0, 2], &[1.0, 2.0], 1), Some(Error::Shape { what: "segments", .. })));
        assert!(matches!(refused(&[0, 1], &[1.0], 1), Some(Error::Shape { what: "measures", .. })));
        assert!(matches!(refused(&[0, 1], &[1.0, f64::NAN], 1), Some(Error::Value { .. })));
    }
}
