//! What can go wrong while a pipeline runs, by what to do about it. Never holds a secret or a person's data.

use datafusion::common::DataFusionError;
use strata_operators::cogroup::RuleBroken;

/// A failed run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pipeline file is wrong: diagnostics say where.
    #[error("the pipeline has {0} error(s)")]
    Invalid(usize),
    /// Consent or a column class forbids it: diagnostics say where.
    #[error("the pipeline breaks {0} consent or privacy rule(s)")]
    Policy(usize),
    /// The files are not as the pipeline declares: diagnostics say where.
    #[error("the files are not as declared: {0} error(s)")]
    NotAsDeclared(usize),
    /// The data break a rule.
    #[error("{step}: {message}\n  help: {help}")]
    Contract {
        /// Step that found it.
        step: String,
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
    },
    /// The run's own SQL or data failed.
    #[error("{step}: {message}")]
    Failed {
        /// Step that failed.
        step: String,
        /// What happened.
        message: String,
    },
    /// Memory or disk is short.
    #[error("{step}: not enough memory: {message}\n  help: give more with `--memory`, or fewer threads with `--threads`")]
    Exhausted {
        /// Step that failed.
        step: String,
        /// Which operator needed what.
        message: String,
    },
    /// Something outside did not answer.
    #[error("{step}: {message}\n  help: run it again; finished tables are whole")]
    Unavailable {
        /// Step that failed.
        step: String,
        /// What happened.
        message: String,
    },
    /// Another run was first.
    #[error("{step}: {message}\n  help: run it again")]
    Conflict {
        /// Step that failed.
        step: String,
        /// What happened.
        message: String,
    },
    /// A defect of Strata.
    #[error("{step}: {message}\n  help: this is a defect of Strata: please report it with this text")]
    Internal {
        /// Step that failed.
        step: String,
        /// What happened.
        message: String,
    },
}

/// Result of engine functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Invalid(_) => 2,
            Self::Policy(_) => 5,
            Self::Contract { .. } | Self::NotAsDeclared(_) => 3,
            Self::Failed { .. } | Self::Exhausted { .. } => 1,
            Self::Unavailable { .. } | Self::Conflict { .. } => 75,
            Self::Internal { .. } => 70,
        }
    }

    /// The outcome class of the run report.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Invalid(_) | Self::Failed { .. } | Self::Exhausted { .. } => "USER",
            Self::Policy(_) => "POLICY",
            Self::Contract { .. } | Self::NotAsDeclared(_) => "DATA_CHECK",
            Self::Unavailable { .. } | Self::Conflict { .. } => "TRANSIENT",
            Self::Internal { .. } => "INTERNAL",
        }
    }

    /// The same, naming the place of the step in the pipeline file.
    pub(crate) fn at(mut self, place: &str) -> Self {
        if let Self::Contract { step, .. }
        | Self::Failed { step, .. }
        | Self::Exhausted { step, .. }
        | Self::Unavailable { step, .. }
        | Self::Conflict { step, .. }
        | Self::Internal { step, .. } = &mut self
        {
            *step = format!("{step} ({place})");
        }
        self
    }

    /// What DataFusion says of a step.
    pub fn of_step(step: &str, error: DataFusionError) -> Self {
        let error = strata_runtime::store::retryable(error);
        let step = step.to_owned();
        let message = error.strip_backtrace();
        if let DataFusionError::External(e) = error.find_root()
            && let Some(broken) = e.downcast_ref::<RuleBroken>()
        {
            return Self::Contract { step, message: broken.message.clone(), help: broken.help.clone() };
        }
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Self::Exhausted { step, message },
            DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => Self::Unavailable { step, message },
            DataFusionError::Internal(_) => Self::Internal { step, message },
            _ => Self::Failed { step, message },
        }
    }

    /// What publishing says of an output.
    pub fn of_publish(step: &str, error: strata_publish::Error) -> Self {
        let (step, message) = (step.to_owned(), error.to_string());
        match error.kind() {
            strata_publish::Kind::Invalid => Self::Failed { step, message },
            strata_publish::Kind::Unavailable => Self::Unavailable { step, message },
            strata_publish::Kind::Conflict => Self::Conflict { step, message },
            strata_publish::Kind::Internal => Self::Internal { step, message },
        }
    }
}
