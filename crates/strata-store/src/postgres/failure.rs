//! What PostgreSQL's errors mean for a caller. Never shows an error's detail: it may quote values.

use crate::error::Error;
use deadpool_postgres::PoolError;
use std::error::Error as _;
use tokio_postgres::error::SqlState;

/// Why an attempt came to nothing.
pub(super) enum Failure {
    /// Nothing happened, and beginning again may help at once.
    Again(Error),
    Final(Error),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Final(e)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(e: tokio_postgres::Error) -> Self {
        match e.code() {
            Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED) => {
                Self::Again(Error::Unavailable(described(&e)))
            }
            // Too big or not a text: the caller's.
            Some(code) if ["22", "54"].iter().any(|class| code.code().starts_with(class)) => {
                Self::Final(Error::Invalid(format!("the run store cannot hold a value: {}", described(&e))))
            }
            // Missing tables or columns, violated constraints: not as this program made it.
            Some(code)
                if code != &SqlState::INSUFFICIENT_PRIVILEGE
                    && ["23", "42"].iter().any(|class| code.code().starts_with(class)) =>
            {
                Self::Final(Error::Damaged(described(&e)))
            }
            _ => Self::Final(Error::Unavailable(described(&e))),
        }
    }
}

impl From<PoolError> for Failure {
    fn from(e: PoolError) -> Self {
        match e {
            PoolError::Backend(e) => e.into(),
            other => Self::Final(Error::Unavailable(other.to_string())),
        }
    }
}

/// What the server said, without its detail, which may quote values.
pub(super) fn described(e: &tokio_postgres::Error) -> String {
    match e.as_db_error() {
        Some(said) => format!("{} (SQLSTATE {})", said.message(), said.code().code()),
        None => match e.source() {
            Some(cause) => format!("{e}: {cause}"),
            None => e.to_string(),
        },
    }
}
