//! What a run would do and why, from what the last run on this machine left. Never runs anything.

use crate::error::Result;
use crate::files::KeptSteps;
use crate::identity::{self, MadeBy};
use crate::journal::{Artifact, damaged};
use crate::resume::take_over;
use crate::steps::{PlannedStep, planned_steps};
use std::path::Path;
use strata_plan::{Compiled, Solved};

/// A step, and whether it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreseen {
    /// The step.
    pub step: PlannedStep,
    /// Whether what an earlier run made stands for it.
    pub reused: bool,
    /// Why, for people.
    pub why: String,
}

/// The steps of a run with the state folder `state`. Errors: as the compiler says.
pub fn foresee(compiled: &mut Compiled<'_>, state: &Path) -> Result<Vec<Foreseen>> {
    let name = compiled.pipeline().name.value.clone();
    let earlier = KeptSteps::read(&state.join("steps"), &name).finished();
    let now = identity::surroundings(compiled)?;
    let (mut solved, mut made) = (Solved::default(), MadeBy::new());
    let mut waits_for: Option<String> = None;
    let mut out = vec![];
    for step in planned_steps(compiled) {
        let kept = earlier.iter().find(|f| f.step == step.label());
        let mut reused = false;
        let why = match (&waits_for, kept) {
            _ if step == PlannedStep::Commit => "outputs that are written become visible".to_owned(),
            (_, None) => "new".to_owned(),
            (Some(before), Some(_)) => format!("follows `{before}`"),
            (None, Some(kept)) => {
                let artifact: Artifact = serde_json::from_value(kept.artifact.clone()).map_err(|e| damaged(&e.to_string()))?;
                let identity = identity::of_step(compiled, &solved, &made, &step)?;
                match kept.digest == identity.digest {
                    true if artifact.secret => "a secret goes into it".to_owned(),
                    true => {
                        take_over(&artifact, &identity, compiled, &mut solved, &mut made)?;
                        reused = true;
                        format!("unchanged since run {}", artifact.run_id)
                    }
                    false => identity::changed(&artifact.surroundings, &now),
                }
            }
        };
        // A table that is written is nobody's input.
        if !reused && waits_for.is_none() && !matches!(step, PlannedStep::Write(_) | PlannedStep::Quarantine(_)) {
            waits_for = Some(step.label());
        }
        out.push(Foreseen { step, reused, why });
    }
    Ok(out)
}
