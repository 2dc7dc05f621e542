//! Typing tools: a few questions that put a new person into a segment, by naive Bayes or by linear discriminants, the choice of
//! the questions, and honest accuracy. It never judges a tool by the people it was made from without saying so.

mod bayes;
mod discriminant;
mod questions;

use serde::{Deserialize, Serialize};

pub use bayes::NaiveBayes;
pub use discriminant::{Discriminant, Numeric};
pub use questions::{Answers, Chosen, best_questions, cross_validated, forward_questions, honest};

use crate::{Error, Result};

/// How predicted segments agree with the true ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// People by true segment (row) and predicted segment (column), row by row.
    pub counts: Vec<u64>,
    /// Segments.
    pub segments: usize,
}

impl Confusion {
    /// Of pairs of true and predicted segments. Errors: `Shape` for a segment out of range or arrays of different lengths.
    pub fn new(segments: usize, truth: &[u32], predicted: &[u32]) -> Result<Self> {
        if truth.len() != predicted.len() {
            return Err(Error::Shape { what: "predicted segments", found: predicted.len(), wanted: truth.len() });
        }
        let mut counts = vec![0; segments * segments];
        for (&t, &p) in truth.iter().zip(predicted) {
            if t.max(p) as usize >= segments {
                return Err(Error::Shape { what: "segments", found: segments, wanted: t.max(p) as usize + 1 });
            }
            counts[t as usize * segments + p as usize] += 1;
        }
        Ok(Confusion { counts, segments })
    }

    fn people(&self, truth: usize) -> u64 {
        self.counts[truth * self.segments..(truth + 1) * self.segments].iter().sum()
    }

    /// People in their true segment.
    pub fn correct(&self) -> u64 {
        (0..self.segments).map(|at| self.counts[at * self.segments + at]).sum()
    }

    /// Their part of all; none of nobody.
    pub fn accuracy(&self) -> Option<f64> {
        let all: u64 = self.counts.iter().sum();
        (all > 0).then(|| self.correct() as f64 / all as f64)
    }

    /// The mean over the segments that have people of the part that is right; none of nobody.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        let parts: Vec<f64> = (0..self.segments)
            .filter(|&at| self.people(at) > 0)
            .map(|at| self.counts[at * self.segments + at] as f64 / self.people(at) as f64)
            .collect();
        (!parts.is_empty()).then(|| parts.iter().sum::<f64>() / parts.len() as f64)
    }

    /// The accuracy of calling everybody the largest segment; none of nobody.
    pub fn baseline(&self) -> Option<f64> {
        let all: u64 = self.counts.iter().sum();
        let most = (0..self.segments).map(|at| self.people(at)).max();
        most.filter(|_| all > 0).map(|most| most as f64 / all as f64)
    }
}

/// The position of the greatest, the first of equals.
fn greatest(values: &[f64]) -> u32 {
    let mut at = 0;
    for i in 1..values.len() {
        if values[i] > values[at] {
            at = i;
        }
    }
    at as u32
}

/// Turns logarithms into probabilities that sum to 1.
fn normalise(logs: &mut [f64]) {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logs.iter_mut().for_each(|log| *log = (*log - most).exp());
    let sum: f64 = logs.iter().sum();
    logs.iter_mut().for_each(|part| *part /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_counted() -> Result<()> {
        let found = Confusion::new(3, &[0, 0, 0, 1, 1], &[0, 0, 1, 1, 0])?;
        assert_eq!((found.counts.clone(), found.correct()), (vec![2, 1, 0, 1, 1, 0, 0, 0, 0], 3));
        assert_eq!((found.accuracy(), found.baseline()), (Some(0.6), Some(0.6)));
        assert!(found.balanced_accuracy().is_some_and(|part| (part - (2.0 / 3.0 + 0.5) / 2.0).abs() < 1e-15));
        let nobody = Confusion::new(2, &[], &[])?;
        assert_eq!((nobody.accuracy(), nobody.balanced_accuracy(), nobody.baseline()), (None, None, None));
        assert!(Confusion::new(2, &[2], &[0]).is_err() && Confusion::new(2, &[0], &[]).is_err());
        Ok(())
    }
}
