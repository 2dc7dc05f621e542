//! What a plan failed with, from the words that are all a worker sends of it. Never shows a value of the data that the worker did not.

use datafusion::common::{DataFusionError, internal_datafusion_err};
use strata_operators::cogroup::RuleBroken;
use strata_runtime::cluster::is_between_processes;

/// Words of failures that another try may mend: each is of the engine, about a worker.
const PASSING: [&str; 10] = [
    "FetchPartition",
    "task could not be prepared or was rejected",
    "all executors were lost",
    "executor lost",
    "ExecutorLost",
    "FetchFailed",
    "GrpcConnectionError",
    "GrpcActionError",
    "IO error",
    "IoError",
];

/// The error of a failed plan.
pub(crate) fn of_text(text: &str) -> DataFusionError {
    if let Some(broken) = RuleBroken::of_text(text) {
        return DataFusionError::External(Box::new(broken));
    }
    let has = |words: &str| text.contains(words);
    if has("Resources exhausted") || has("ResourcesExhausted") {
        return DataFusionError::ResourcesExhausted(text.to_owned());
    }
    if has("panicked") {
        return internal_datafusion_err!("a task died: {text}");
    }
    if PASSING.iter().any(|p| has(p)) || is_between_processes(text) || has("Object Store error") {
        return passing(text);
    }
    if has("Internal error: ") || has("Internal Ballista error: ") {
        return internal_datafusion_err!("{text}");
    }
    DataFusionError::Execution(text.to_owned())
}

/// A failure that another try may mend.
pub(crate) fn passing(text: &str) -> DataFusionError {
    DataFusionError::IoError(std::io::Error::other(text.to_owned()))
}

/// Whether another try may mend it.
pub(crate) fn is_passing(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::IoError(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_rule_comes_back_whole() {
        let broken = RuleBroken { message: "`orders` has 2 rows, \"too\" many".into(), help: "group by the key".into() };
        let text = format!("Job failed due to stage 3 failed: task failed: DataFusionError(External error: {broken})\nbacktrace");
        let error = of_text(&text);
        let DataFusionError::External(e) = &error else { panic!("{error}") };
        let back = e.downcast_ref::<RuleBroken>().unwrap();
        assert_eq!((&back.message, &back.help), (&broken.message, &broken.help));
    }

    #[test]
    fn failures_are_sorted_by_what_to_do() {
        assert!(is_passing(&of_text("all executors were lost and no executor re-registered within 10s")));
        let broken = "IpcError(\"Arrow error: Ipc error: code: 'Unknown error', message: \\\"h2 protocol error: error reading a body from connection\\\"";
        assert!(is_passing(&of_text(broken)));
        assert!(matches!(of_text("Resources exhausted: Failed to allocate"), DataFusionError::ResourcesExhausted(_)));
        assert!(matches!(of_text("Arrow error: Divide by zero"), DataFusionError::Execution(_)));
        let panicked = "DataFusion error: Internal error: a task panicked: index out of bounds";
        for defect in [panicked, "Join Error\ncaused by\ntask 7 panicked", "DataFusion error: Internal error: no such column"] {
            assert!(matches!(of_text(defect), DataFusionError::Internal(_)), "{defect}");
        }
    }
}
