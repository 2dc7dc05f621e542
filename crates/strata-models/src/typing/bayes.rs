//! Naive Bayes over questions with levels. It never gives a probability of 0: every answer counts as given α times more.

use serde::{Deserialize, Serialize};

use super::{Answers, greatest, normalise};
use crate::{Error, Result};

/// A naive Bayes classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NaiveBayes {
    /// The questions it asks, as positions among those of the answers it was made from.
    pub questions: Vec<usize>,
    /// ln of the part of people in each segment; −∞ for an empty one.
    pub log_priors: Vec<f64>,
    /// ln P(level | segment): for each question asked, segment by segment, level by level.
    pub log_likelihoods: Vec<Vec<f64>>,
    /// Levels of each question asked.
    pub levels: Vec<usize>,
}

impl NaiveBayes {
    /// From the answers of the people for whom `is_used` holds: P(level | segment) = (count + α)/(people + α·levels).
    ///
    /// Errors: `Parameter` if α is not above 0; `Shape` for an unknown question; `NoRows` if nobody is used.
    ///
    /// Source: Hastie, Tibshirani & Friedman 2009, 6.6.3 (with Laplace's rule).
    pub fn fit(answers: &Answers<'_>, questions: &[usize], alpha: f64, is_used: impl Fn(usize) -> bool) -> Result<Self> {
        if !(alpha > 0.0 && alpha.is_finite()) {
            return Err(Error::Parameter { name: "alpha", value: alpha, wanted: "it must be finite and above 0" });
        }
        if let Some(&question) = questions.iter().find(|&&question| question >= answers.levels.len()) {
            return Err(Error::Shape { what: "questions", found: answers.levels.len(), wanted: question + 1 });
        }
        let segments = answers.segments;
        let mut people = vec![0u64; segments];
        let mut counts: Vec<Vec<u64>> = questions.iter().map(|&q| vec![0; segments * answers.levels[q]]).collect();
        for person in (0..answers.truth.len()).filter(|&person| is_used(person)) {
            let segment = answers.truth[person] as usize;
            people[segment] += 1;
            for (counts, &question) in counts.iter_mut().zip(questions) {
                counts[segment * answers.levels[question] + answers.answer(person, question)] += 1;
            }
        }
        let all: u64 = people.iter().sum();
        if all == 0 {
            return Err(Error::NoRows);
        }
        let log_likelihoods = counts.iter().zip(questions).map(|(counts, &question)| {
            let levels = answers.levels[question];
            let log = |(at, &count): (usize, &u64)| {
                ((count as f64 + alpha) / (people[at / levels] as f64 + alpha * levels as f64)).ln()
            };
            counts.iter().enumerate().map(log).collect()
        });
        Ok(NaiveBayes {
            questions: questions.to_vec(),
            log_likelihoods: log_likelihoods.collect(),
            levels: questions.iter().map(|&question| answers.levels[question]).collect(),
            log_priors: people.iter().map(|&count| (count as f64 / all as f64).ln()).collect(),
        })
    }

    /// The probability of each segment given the answers to the questions asked, in their order.
    ///
    /// Errors: `Shape` for another number of answers or an unknown level.
    pub fn probabilities(&self, answers: &[u32]) -> Result<Vec<f64>> {
        let mut logs = self.logs(answers)?;
        normalise(&mut logs);
        Ok(logs)
    }

    /// The most probable segment, the first of equals. Errors: as [`NaiveBayes::probabilities`].
    pub fn predict(&self, answers: &[u32]) -> Result<u32> {
        Ok(greatest(&self.logs(answers)?))
    }

    fn logs(&self, answers: &[u32]) -> Result<Vec<f64>> {
        if answers.len() != self.questions.len() {
            return Err(Error::Shape { what: "answers", found: answers.len(), wanted: self.questions.len() });
        }
        let mut logs = self.log_priors.clone();
        for ((&answer, &levels), likelihoods) in answers.iter().zip(&self.levels).zip(&self.log_likelihoods) {
            let answer = answer as usize;
            if answer >= levels {
                return Err(Error::Shape { what: "levels of a question", found: levels, wanted: answer + 1 });
            }
            logs.iter_mut().enumerate().for_each(|(segment, log)| *log += likelihoods[segment * levels + answer]);
        }
        Ok(logs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihoods_are_counts_and_one() -> Result<()> {
        // Segment 0 answers 0, 0, 1; segment 1 answers 1.
        let answers = Answers::new(2, &[0, 0, 0, 1], &[2], &[0, 0, 1, 1])?;
        let model = NaiveBayes::fit(&answers, &[0], 1.0, |_| true)?;
        let parts: Vec<f64> = model.log_likelihoods[0].iter().map(|log| log.exp()).collect();
        assert!(parts.iter().zip([0.6, 0.4, 1.0 / 3.0, 2.0 / 3.0]).all(|(a, b)| (a - b).abs() < 1e-15), "{parts:?}");
        // Answer 1: ¾·0.4 against ¼·⅔: 0.3 and 1/6.
        let found = model.probabilities(&[1])?;
        assert!((found[0] - 0.3 / (0.3 + 1.0 / 6.0)).abs() < 1e-15 && model.predict(&[1])? == 0);
        // Of the last two people both answer 1, so both segments have the same likelihoods: the first of equals.
        let half = NaiveBayes::fit(&answers, &[0], 1.0, |person| person >= 2)?;
        assert_eq!((half.predict(&[0])?, half.predict(&[1])?), (0, 0));
        assert!(model.predict(&[2]).is_err() && model.predict(&[]).is_err());
        assert!(NaiveBayes::fit(&answers, &[0], 0.0, |_| true).is_err());
        assert!(NaiveBayes::fit(&answers, &[1], 1.0, |_| true).is_err());
        assert_eq!(NaiveBayes::fit(&answers, &[0], 1.0, |_| false).err(), Some(Error::NoRows));
        Ok(())
    }
}
