//! The choice of questions by cross-validated accuracy, and the accuracy that is left when the choice is made without the
//! people it is judged on. It never asks about a question nobody answered.

use serde::{Deserialize, Serialize};

use super::NaiveBayes;
use crate::{Error, Result};

/// People with their segments and their answers to questions with levels.
#[derive(Debug, Clone, Copy)]
pub struct Answers<'a> {
    /// Segments.
    pub segments: usize,
    /// The true segment of each person.
    pub truth: &'a [u32],
    /// Levels of each question.
    pub levels: &'a [usize],
    /// The answers of each person, one after the other.
    pub answers: &'a [u32],
}

impl<'a> Answers<'a> {
    /// Checked. Errors: `NoRows`; `Shape` for arrays, segments or answers that do not fit.
    pub fn new(segments: usize, truth: &'a [u32], levels: &'a [usize], answers: &'a [u32]) -> Result<Self> {
        if truth.is_empty() {
            return Err(Error::NoRows);
        }
        if answers.len() != truth.len() * levels.len() {
            return Err(Error::Shape { what: "answers", found: answers.len(), wanted: truth.len() * levels.len() });
        }
        if let Some(&segment) = truth.iter().find(|&&segment| segment as usize >= segments) {
            return Err(Error::Shape { what: "segments", found: segments, wanted: segment as usize + 1 });
        }
        for (at, &answer) in answers.iter().enumerate() {
            let found = levels[at % levels.len()];
            if answer as usize >= found {
                return Err(Error::Shape { what: "levels of a question", found, wanted: answer as usize + 1 });
            }
        }
        Ok(Answers { segments, truth, levels, answers })
    }

    pub(super) fn answer(&self, person: usize, question: usize) -> usize {
        self.answers[person * self.levels.len() + question] as usize
    }

    fn of(&self, person: usize, questions: &[usize]) -> Vec<u32> {
        questions.iter().map(|&question| self.answer(person, question) as u32).collect()
    }
}

/// Questions chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Their positions; in the order they were chosen, or sorted where all sets were tried.
    pub questions: Vec<usize>,
    /// People put right when each fold is judged by the others.
    pub correct: u64,
    /// Whether all sets of so many questions were tried.
    pub is_exhaustive: bool,
}

/// Sets of questions tried at most.
const SETS_MAX: u64 = 10_000;

/// The segment each person is put into by naive Bayes over `questions`, made from the people of the other folds. `folds` is
/// the fold of each person, any number.
///
/// Errors: `Shape`, `Parameter`; `NoRows` if all people are of one fold.
pub fn cross_validated(answers: &Answers<'_>, questions: &[usize], folds: &[u32], alpha: f64) -> Result<Vec<u32>> {
    judged(answers, questions, folds, alpha, None)
}

/// As [`cross_validated`], without the people of the fold `without`, who stay at segment 0.
fn judged(answers: &Answers<'_>, questions: &[usize], folds: &[u32], alpha: f64, without: Option<u32>) -> Result<Vec<u32>> {
    if folds.len() != answers.truth.len() {
        return Err(Error::Shape { what: "folds", found: folds.len(), wanted: answers.truth.len() });
    }
    let mut predicted = vec![0; folds.len()];
    for fold in distinct(folds).into_iter().filter(|&fold| Some(fold) != without) {
        let model = NaiveBayes::fit(answers, questions, alpha, |person| folds[person] != fold && Some(folds[person]) != without)?;
        for person in (0..folds.len()).filter(|&person| folds[person] == fold) {
            predicted[person] = model.predict(&answers.of(person, questions))?;
        }
    }
    Ok(predicted)
}

fn distinct(folds: &[u32]) -> Vec<u32> {
    let mut distinct = folds.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}

fn correct(answers: &Answers<'_>, questions: &[usize], folds: &[u32], alpha: f64, without: Option<u32>) -> Result<u64> {
    let predicted = judged(answers, questions, folds, alpha, without)?;
    let is_right = |person: &usize| Some(folds[*person]) != without && predicted[*person] == answers.truth[*person];
    Ok((0..folds.len()).filter(is_right).count() as u64)
}

/// Up to `count` questions, each the one that with those before puts most people right, the first of equals. One entry a step.
///
/// Errors: as [`cross_validated`]; `Parameter` for more questions than there are.
pub fn forward_questions(answers: &Answers<'_>, count: usize, folds: &[u32], alpha: f64) -> Result<Vec<Chosen>> {
    forward(answers, count, folds, alpha, None)
}

fn forward(answers: &Answers<'_>, count: usize, folds: &[u32], alpha: f64, without: Option<u32>) -> Result<Vec<Chosen>> {
    check_count(answers, count)?;
    let mut path: Vec<Chosen> = Vec::new();
    for _ in 0..count {
        let before = path.last().map_or(Vec::new(), |chosen| chosen.questions.clone());
        let mut best: Option<Chosen> = None;
        for question in (0..answers.levels.len()).filter(|question| !before.contains(question)) {
            let questions = [&before[..], &[question]].concat();
            let correct = correct(answers, &questions, folds, alpha, without)?;
            if best.as_ref().is_none_or(|best| correct > best.correct) {
                best = Some(Chosen { questions, correct, is_exhaustive: false });
            }
        }
        path.extend(best);
    }
    Ok(path)
}

/// The `count` questions that put most people right when each fold is judged by the others: of all sets where there are at
/// most 10,000 (the first of equals in the order of positions), else by forward selection.
///
/// Errors: as [`forward_questions`].
pub fn best_questions(answers: &Answers<'_>, count: usize, folds: &[u32], alpha: f64) -> Result<Chosen> {
    best(answers, count, folds, alpha, None)
}

fn best(answers: &Answers<'_>, count: usize, folds: &[u32], alpha: f64, without: Option<u32>) -> Result<Chosen> {
    check_count(answers, count)?;
    let all = answers.levels.len();
    if sets(all, count) > SETS_MAX {
        let path = forward(answers, count, folds, alpha, without)?;
        return path.into_iter().next_back().ok_or(Error::NoRows);
    }
    let mut questions: Vec<usize> = (0..count).collect();
    let mut best: Option<Chosen> = None;
    loop {
        let correct = correct(answers, &questions, folds, alpha, without)?;
        if best.as_ref().is_none_or(|best| correct > best.correct) {
            best = Some(Chosen { questions: questions.clone(), correct, is_exhaustive: true });
        }
        // The next set in the order of positions.
        let Some(at) = (0..count).rev().find(|&at| questions[at] < all - count + at) else {
            return best.ok_or(Error::NoRows);
        };
        questions[at] += 1;
        for later in at + 1..count {
            questions[later] = questions[later - 1] + 1;
        }
    }
}

/// The segment each person is put into by the best `count` questions chosen without the person's fold: what to expect of the
/// tool on new people. One segment a person.
///
/// Errors: as [`best_questions`]; `NoRows` if there are fewer than three folds.
pub fn honest(answers: &Answers<'_>, count: usize, folds: &[u32], alpha: f64) -> Result<Vec<u32>> {
    if folds.len() != answers.truth.len() {
        return Err(Error::Shape { what: "folds", found: folds.len(), wanted: answers.truth.len() });
    }
    let mut predicted = vec![0; folds.len()];
    for fold in distinct(folds) {
        let chosen = best(answers, count, folds, alpha, Some(fold))?;
        let model = NaiveBayes::fit(answers, &chosen.questions, alpha, |person| folds[person] != fold)?;
        for person in (0..folds.len()).filter(|&person| folds[person] == fold) {
            predicted[person] = model.predict(&answers.of(person, &chosen.questions))?;
        }
    }
    Ok(predicted)
}

fn check_count(answers: &Answers<'_>, count: usize) -> Result<()> {
    if (1..=answers.levels.len()).contains(&count) {
        return Ok(());
    }
    let wanted = "it must be at least 1 and at most the questions there are";
    Err(Error::Parameter { name: "questions", value: count as f64, wanted })
}

/// Sets of `count` out of `all`, or far too many.
fn sets(all: usize, count: usize) -> u64 {
    let mut sets = 1u64;
    for i in 0..count.min(all - count) as u64 {
        sets = sets.saturating_mul(all as u64 - i) / (i + 1);
        if sets > SETS_MAX * 1000 {
            return u64::MAX;
        }
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segment = question 1 for all but two; question 0 is always the same, question 2 right half the time.
    fn people() -> (Vec<u32>, Vec<u32>, Vec<u32>) {
        let (mut truth, mut answers, mut folds) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..24u32 {
            let segment = i % 2;
            truth.push(segment);
            let told = if i == 4 || i == 9 { 1 - segment } else { segment };
            answers.extend([0, told, (i / 2) % 2]);
            folds.push(i % 3);
        }
        (truth, answers, folds)
    }

    #[test]
    fn the_telling_question_is_found() -> Result<()> {
        let (truth, answers, folds) = people();
        let answers = Answers::new(2, &truth, &[1, 2, 2], &answers)?;
        let path = forward_questions(&answers, 2, &folds, 1.0)?;
        assert_eq!((path[0].questions.clone(), path[0].correct), (vec![1], 22));
        let best = best_questions(&answers, 1, &folds, 1.0)?;
        assert_eq!(best, Chosen { questions: vec![1], correct: 22, is_exhaustive: true });
        assert_eq!(best_questions(&answers, 3, &folds, 1.0)?.questions, [0, 1, 2]);
        let honest = honest(&answers, 1, &folds, 1.0)?;
        assert_eq!(honest.iter().zip(&truth).filter(|(a, b)| a == b).count(), 22);
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused() -> Result<()> {
        let (truth, answers, folds) = people();
        let good = Answers::new(2, &truth, &[1, 2, 2], &answers)?;
        assert!(best_questions(&good, 0, &folds, 1.0).is_err() && best_questions(&good, 4, &folds, 1.0).is_err());
        assert!(cross_validated(&good, &[0], &folds[1..], 1.0).is_err());
        assert_eq!(cross_validated(&good, &[0], &[0; 24], 1.0).err(), Some(Error::NoRows));
        assert!(Answers::new(1, &truth, &[1, 2, 2], &answers).is_err());
        assert!(Answers::new(2, &truth, &[1, 1, 2], &answers).is_err());
        assert!(Answers::new(2, &truth, &[1, 2], &answers).is_err());
        assert_eq!(Answers::new(2, &[], &[1], &[]).err(), Some(Error::NoRows));
        assert_eq!((sets(5, 2), sets(5, 5), sets(40, 20)), (10, 1, u64::MAX));
        Ok(())
    }
}
