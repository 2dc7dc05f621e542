//! What can go wrong between this command and a coordinator, and the exit code it leads to. Never guesses that a run failed because a call did.

use strata_proto::{status, v1};
use tonic::{Code, Status};

/// Usage, or a pipeline that is wrong.
const USAGE: u8 = 2;
/// Consent or a column class forbids it.
const POLICY: u8 = 5;
/// No valid token, or not allowed.
const AUTH: u8 = 6;
/// A defect.
const INTERNAL: u8 = 70;
/// Something did not answer.
const TRANSIENT: u8 = 75;

/// Why the command ends without doing what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// For people.
    pub(crate) message: String,
}

impl Failure {
    /// A mistake of the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into() }
    }
}

impl From<Status> for Failure {
    fn from(failed: Status) -> Self {
        let problem = status::decode(failed.details());
        let code = match failed.code() {
            _ if may_pass(&failed) => TRANSIENT,
            Code::Unauthenticated | Code::PermissionDenied => AUTH,
            _ if problem.as_ref().is_some_and(|p| p.class() == v1::OutcomeClass::Policy) => POLICY,
            Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition | Code::OutOfRange => USAGE,
            Code::Unimplemented => USAGE,
            _ => INTERNAL,
        };
        let message = match (failed.code(), problem) {
            (_, Some(problem)) => problem.detail,
            (Code::Unimplemented, None) => "this coordinator does not know this call: it is of another version".to_owned(),
            (_, None) if code == TRANSIENT => {
                format!("{}\n  help: is a coordinator listening there, and can this machine reach it?", failed.message())
            }
            (_, None) => failed.message().to_owned(),
        };
        Self { code, message }
    }
}

/// Whether the same call may succeed in a moment. What a coordinator itself has to say carries a problem; a status without one is the connection's.
pub(crate) fn may_pass(failed: &Status) -> bool {
    match status::decode(failed.details()) {
        Some(problem) => problem.retryable,
        None => matches!(
            failed.code(),
            Code::Unavailable
                | Code::Unknown
                | Code::Internal
                | Code::Cancelled
                | Code::Aborted
                | Code::DeadlineExceeded
                | Code::DataLoss
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_say_what_to_do() {
        let said = |code: Code, class: v1::OutcomeClass, retryable: bool| {
            let problem = v1::Problem { class: class.into(), retryable, detail: "why".into(), ..v1::Problem::default() };
            Failure::from(Status::with_details(code, "m", status::encode(code.into(), "m", problem).into())).code
        };
        assert_eq!(said(Code::InvalidArgument, v1::OutcomeClass::User, false), 2);
        assert_eq!(said(Code::InvalidArgument, v1::OutcomeClass::Policy, false), 5);
        assert_eq!(said(Code::Unauthenticated, v1::OutcomeClass::User, false), 6);
        assert_eq!(said(Code::Internal, v1::OutcomeClass::Internal, false), 70);
        assert_eq!(said(Code::ResourceExhausted, v1::OutcomeClass::Transient, true), 75);
        // A broken connection says nothing of the run.
        assert_eq!(Failure::from(Status::unknown("h2 protocol error")).code, 75);
    }
}
