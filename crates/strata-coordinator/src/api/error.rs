//! What can go wrong with a call, and the one mapping to gRPC codes and HTTP problems. Never says a secret, nor what the database said.

use crate::api::auth::Role;
use crate::api::wire;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use strata_proto::v1;
use strata_spec::{Diagnostic, Kind, Severity, SourceText};
use tonic::{Code, Status};

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The request id was used for another request.
    #[error(
        "the request id was used before with another request: it made run `{original}`\n  help: give every new request an id of its own, or send the first one again unchanged"
    )]
    KeyReused {
        /// The run it made.
        original: String,
    },
    /// The run cannot come to the state that was asked for.
    #[error("{0}")]
    Illegal(String),
    /// The pipeline is wrong.
    #[error("the pipeline has {} error(s)", errors(.found))]
    Pipeline {
        /// Its text.
        source_text: Box<SourceText>,
        /// Everything found.
        found: Vec<Diagnostic>,
    },
    /// The call cannot be understood.
    #[error("{0}")]
    Invalid(String),
    /// Who calls is not known.
    #[error("no valid token\n  help: send `authorization: Bearer TOKEN` with a token of the coordinator's tokens file")]
    Unauthenticated,
    /// Who calls may not do this.
    #[error("this needs the role `{}`; `{name}` is `{}`", .needs.name(), .has.name())]
    Denied {
        /// Who called.
        name: String,
        /// Its role.
        has: Role,
        /// The role that may.
        needs: Role,
    },
    /// A web page of another site called a coordinator without tokens.
    #[error("a coordinator without tokens answers only calls from this machine that no other site's page has made")]
    Foreign,
    /// Too many at once.
    #[error("too many {0} at once\n  help: try again in a moment")]
    Busy(&'static str),
    /// Something did not answer.
    #[error("{0}\n  help: try again in a moment")]
    Unavailable(&'static str),
    /// A defect.
    #[error("{0}\n  help: this is a defect of Strata: please report it with the coordinator's log")]
    Internal(&'static str),
}

/// Result of API functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error is called and what it leads to.
struct Shape {
    kind: &'static str,
    title: &'static str,
    http: StatusCode,
    grpc: Code,
    class: v1::OutcomeClass,
    retryable: bool,
}

fn errors(found: &[Diagnostic]) -> usize {
    found.iter().filter(|d| d.severity == Severity::Error).count()
}

impl Error {
    /// There is no such run.
    pub(crate) fn no_run(run_id: &str) -> Self {
        let shown: String = run_id.chars().filter(|c| !c.is_control()).take(64).collect();
        Self::NotFound(format!("there is no run `{shown}`\n  help: `strata runs list` shows those there are"))
    }

    fn shape(&self) -> Shape {
        use v1::OutcomeClass as Class;
        let shape = |kind, title, http, grpc, class, retryable| Shape { kind, title, http, grpc, class, retryable };
        match self {
            Self::NotFound(_) => shape("not-found", "not found", StatusCode::NOT_FOUND, Code::NotFound, Class::User, false),
            Self::KeyReused { .. } => shape(
                "request-id-reused",
                "request id used before",
                StatusCode::CONFLICT,
                Code::AlreadyExists,
                Class::User,
                false,
            ),
            Self::Illegal(_) => {
                shape("illegal-state", "not in this state", StatusCode::CONFLICT, Code::FailedPrecondition, Class::User, false)
            }
            Self::Pipeline { .. } => {
                let (http, grpc) = (StatusCode::UNPROCESSABLE_ENTITY, Code::InvalidArgument);
                shape("invalid-pipeline", "the pipeline is wrong", http, grpc, self.pipeline_class(), false)
            }
            Self::Invalid(_) => {
                shape("invalid-request", "the call is wrong", StatusCode::BAD_REQUEST, Code::InvalidArgument, Class::User, false)
            }
            Self::Unauthenticated => {
                shape("unauthenticated", "no valid token", StatusCode::UNAUTHORIZED, Code::Unauthenticated, Class::User, false)
            }
            Self::Denied { .. } | Self::Foreign => {
                shape("permission-denied", "not allowed", StatusCode::FORBIDDEN, Code::PermissionDenied, Class::User, false)
            }
            Self::Busy(_) => {
                let (http, grpc) = (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted);
                shape("busy", "too much at once", http, grpc, Class::Transient, true)
            }
            Self::Unavailable(_) => {
                let (http, grpc) = (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable);
                shape("unavailable", "no answer", http, grpc, Class::Transient, true)
            }
            Self::Internal(_) => {
                shape("internal", "a defect", StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, Class::Internal, false)
            }
        }
    }

    /// A pipeline that only breaks rules of consent or classes is no mistake of its text.
    fn pipeline_class(&self) -> v1::OutcomeClass {
        let Self::Pipeline { found, .. } = self else { return v1::OutcomeClass::User };
        let any = |kind| found.iter().any(|d| d.severity == Severity::Error && d.kind == kind);
        match (any(Kind::Invalid), any(Kind::Policy)) {
            (true, _) => v1::OutcomeClass::User,
            (_, true) => v1::OutcomeClass::Policy,
            _ => v1::OutcomeClass::DataCheck,
        }
    }

    fn run_id(&self) -> Option<String> {
        match self {
            Self::KeyReused { original } => Some(original.clone()),
            _ => None,
        }
    }

    /// As an HTTP problem, RFC 9457.
    pub(crate) fn problem(&self) -> wire::Problem {
        let shape = self.shape();
        wire::Problem {
            kind: format!("urn:strata:problem:{}", shape.kind),
            title: shape.title.to_owned(),
            status: shape.http.as_u16(),
            detail: self.to_string(),
            class: wire::class_name(shape.class).unwrap_or("INTERNAL").to_owned(),
            retryable: shape.retryable,
            run_id: self.run_id(),
            diagnostics: match self {
                Self::Pipeline { source_text, found } => wire::diagnostics(source_text, found),
                _ => vec![],
            },
        }
    }
}

impl From<strata_store::Error> for Error {
    fn from(error: strata_store::Error) -> Self {
        use strata_store::Error as Store;
        match error {
            Store::NotFound(run_id) => Self::no_run(&run_id),
            Store::KeyReused { original } => Self::KeyReused { original },
            Store::Illegal { .. } => Self::Illegal(error.to_string()),
            Store::Invalid(text) => Self::Invalid(text),
            Store::Unavailable(_) | Store::Fenced { .. } => {
                tracing::warn!(%error, "the run store did not answer");
                Self::Unavailable("the run store did not answer")
            }
            Store::Damaged(_) => {
                tracing::error!(%error, "the run store cannot be read");
                Self::Internal("the run store cannot be read")
            }
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let shape = error.shape();
        let message = error.to_string();
        let problem = v1::Problem {
            kind: shape.kind.to_owned(),
            detail: message.clone(),
            class: shape.class.into(),
            retryable: shape.retryable,
            run_id: error.run_id().unwrap_or_default(),
            diagnostics: match &error {
                Error::Pipeline { source_text, found } => crate::api::proto::diagnostics(source_text, found),
                _ => vec![],
            },
            diagnostics_total: 0,
        };
        let details = strata_proto::status::encode(shape.grpc.into(), &message, problem);
        Status::with_details(shape.grpc, message, details.into())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let shape = self.shape();
        let mut response = (shape.http, Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if shape.retryable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        if shape.http == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
