//! What can go wrong with the store, by what to do about it. Never holds a body of a run.

/// An error of the run store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such run.
    #[error("there is no run `{0}`")]
    NotFound(String),
    /// The key was used for something else.
    #[error(
        "the request id was used before with another request: it made run `{original}`\n  help: give every new request an id of its own"
    )]
    KeyReused {
        /// The run it made.
        original: String,
    },
    /// The state cannot be reached.
    #[error("run `{run_id}` is {from} and cannot become {to}")]
    Illegal {
        /// The run.
        run_id: String,
        /// Where it is.
        from: &'static str,
        /// What was asked.
        to: &'static str,
    },
    /// Another coordinator took over.
    #[error("the lease `{name}` is no longer held under epoch {epoch}: another coordinator took over")]
    Fenced {
        /// What the lease is on.
        name: String,
        /// The epoch that was presented.
        epoch: u64,
    },
    /// What was given cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// The database did not answer or refused; trying again may help.
    #[error("the run store did not answer: {0}")]
    Unavailable(String),
    /// What the database holds cannot be read.
    #[error("the run store is damaged or of another version: {0}")]
    Damaged(String),
}

/// Result of store functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
