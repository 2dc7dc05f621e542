//! The least coarsening of quasi-identifiers after which groups are large enough. It never coarsens more than the declared
//! ladders, and says how many people it leaves out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::groups::check_k;
use crate::{Error, Result};

/// The steps of one quasi-identifier: `steps[s][code]` is the coarser code of a code at step s; step 0 is the code itself and
/// is not listed. Each step is a function of the one before (city → region → country).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder {
    /// Its name, for messages.
    pub name: String,
    /// The steps, coarsest last; none if it can only stay as it is.
    pub steps: Vec<Vec<u32>>,
}

/// People with equal quasi-identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// Their codes, one a ladder.
    pub codes: Vec<u32>,
    /// How many they are.
    pub people: u64,
}

/// A coarsening.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generalised {
    /// The step taken on each ladder, 0 for none.
    pub steps: Vec<usize>,
    /// Whether each class is left out, in their order, because even so its group is too small.
    pub suppressed: Vec<bool>,
    /// People left out.
    pub people_suppressed: u64,
    /// The mean over ladders of the step taken over the steps there are: 0 nothing lost, 1 all.
    pub loss: f64,
}

/// Coarsenings tried at most.
const NODES_MAX: usize = 10_000;

/// The coarsening of least loss after which at most `suppress_max` (a part of the people) are in groups below k, who are left
/// out. Among equal losses the one that leaves out fewer people, then the one with fewer steps on the earlier ladders. All
/// combinations of steps are tried.
///
/// Errors: `Parameter` for k = 0, a part outside 0 to 1, or more than 10,000 combinations; `Shape` if codes and ladders do not
/// fit; `Anonymity` if even the coarsest groups are too small.
///
/// Source: Samarati 2001.
pub fn generalise(classes: &[Class], ladders: &[Ladder], k: u64, suppress_max: f64) -> Result<Generalised> {
    check(classes, ladders, k, suppress_max)?;
    let people = classes.iter().try_fold(0u64, |sum, class| sum.checked_add(class.people)).ok_or(Error::TooManyRows)?;
    let mut best: Option<Generalised> = None;
    let mut steps = vec![0; ladders.len()];
    let mut fewest = people;
    loop {
        let found = apply(classes, ladders, &steps, k);
        fewest = fewest.min(found.people_suppressed);
        let is_enough = found.people_suppressed as f64 <= suppress_max * people as f64;
        let key = |found: &Generalised| (found.loss, found.people_suppressed);
        if is_enough && best.as_ref().is_none_or(|best| key(&found) < key(best)) {
            best = Some(found);
        }
        // The next combination, the last ladder fastest.
        let Some(at) = (0..ladders.len()).rev().find(|&at| steps[at] < ladders[at].steps.len()) else {
            return best.ok_or(Error::Anonymity { k, people: fewest, most: (suppress_max * people as f64) as u64 });
        };
        steps[at] += 1;
        steps[at + 1..].fill(0);
    }
}

fn check(classes: &[Class], ladders: &[Ladder], k: u64, suppress_max: f64) -> Result<()> {
    check_k(k)?;
    if !(0.0..=1.0).contains(&suppress_max) {
        let wanted = "it must lie between 0 and 1";
        return Err(Error::Parameter { name: "suppress_max", value: suppress_max, wanted });
    }
    let nodes = ladders.iter().fold(1usize, |product, ladder| product.saturating_mul(ladder.steps.len() + 1));
    if nodes > NODES_MAX {
        let wanted = "at most 10,000 combinations are tried: declare fewer steps";
        return Err(Error::Parameter { name: "combinations of steps", value: nodes as f64, wanted });
    }
    for class in classes {
        if class.codes.len() != ladders.len() {
            return Err(Error::Shape { what: "codes of a class", found: class.codes.len(), wanted: ladders.len() });
        }
        for (ladder, &code) in ladders.iter().zip(&class.codes) {
            if let Some(step) = ladder.steps.iter().find(|step| step.len() <= code as usize) {
                return Err(Error::Shape { what: "codes of a ladder", found: step.len(), wanted: code as usize + 1 });
            }
        }
    }
    Ok(())
}

fn apply(classes: &[Class], ladders: &[Ladder], steps: &[usize], k: u64) -> Generalised {
    let coarse = |class: &Class| -> Vec<u32> {
        let code = |(at, &code): (usize, &u32)| match steps[at].checked_sub(1) {
            Some(step) => ladders[at].steps[step][code as usize],
            None => code,
        };
        class.codes.iter().enumerate().map(code).collect()
    };
    let mut groups: BTreeMap<Vec<u32>, u64> = BTreeMap::new();
    classes.iter().for_each(|class| *groups.entry(coarse(class)).or_default() += class.people);
    let is_small = |class: &Class| class.people > 0 && groups[&coarse(class)] < k;
    let suppressed: Vec<bool> = classes.iter().map(is_small).collect();
    let people_suppressed = classes.iter().zip(&suppressed).filter(|(_, gone)| **gone).map(|(class, _)| class.people).sum();
    let taken: f64 = steps.iter().zip(ladders).map(|(&step, ladder)| step as f64 / ladder.steps.len().max(1) as f64).sum();
    let loss = if ladders.is_empty() { 0.0 } else { taken / ladders.len() as f64 };
    Generalised { steps: steps.to_vec(), suppressed, people_suppressed, loss }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(codes: &[u32], people: u64) -> Class {
        Class { codes: codes.to_vec(), people }
    }

    /// Four towns in two regions; three ages, or none.
    fn ladders() -> [Ladder; 2] {
        let town = Ladder { name: "town".to_owned(), steps: vec![vec![0, 0, 1, 1], vec![0; 4]] };
        [town, Ladder { name: "age".to_owned(), steps: vec![vec![0; 3]] }]
    }

    #[test]
    fn the_least_coarsening_is_taken() -> Result<()> {
        let classes = [class(&[0, 0], 8), class(&[1, 0], 4), class(&[2, 1], 20), class(&[3, 2], 11), class(&[0, 2], 0)];
        // Regions make 12 of the 8 and 4: half of one ladder of two.
        let found = generalise(&classes, &ladders(), 10, 0.0)?;
        assert_eq!((found.steps, found.people_suppressed, found.loss), (vec![1, 0], 0, 0.25));
        // With a third of the people to spare nothing is coarsened.
        let spared = generalise(&classes, &ladders(), 10, 0.3)?;
        assert_eq!((spared.steps, spared.people_suppressed, spared.loss), (vec![0, 0], 12, 0.0));
        assert_eq!(spared.suppressed, [true, true, false, false, false]);
        // Only everybody together are 40.
        assert_eq!(generalise(&classes, &ladders(), 40, 0.0)?.steps, [2, 1]);
        assert_eq!(generalise(&classes, &ladders(), 44, 0.0).err(), Some(Error::Anonymity { k: 44, people: 43, most: 0 }));
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(matches!(generalise(&[class(&[0], 8)], &ladders(), 10, 0.0), Err(Error::Shape { .. })));
        assert!(matches!(generalise(&[class(&[4, 0], 8)], &ladders(), 10, 0.0), Err(Error::Shape { .. })));
        assert!(generalise(&[], &ladders(), 0, 0.0).is_err() && generalise(&[], &ladders(), 10, 1.5).is_err());
        let steep = Ladder { name: "x".to_owned(), steps: vec![vec![]; 200] };
        assert!(matches!(generalise(&[], &[steep.clone(), steep], 10, 0.0), Err(Error::Parameter { .. })));
    }
}
