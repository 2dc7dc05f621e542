//! Who may call: tokens with names and roles. Never holds a token, only its digest, and never says or logs what was sent.

use crate::api::Api;
use crate::api::error::{Error, Result};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use tonic::Status;

/// Bytes of a token that is looked at.
const TOKEN_BYTES_MAX: usize = 4096;

/// What somebody may do; each may what those before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks: get, list, wait, watch, logs, report, explain.
    Viewer,
    /// Also creates, cancels and resumes runs, checks and plans pipelines.
    Runner,
    /// Also whatever only an operator may.
    Admin,
}

impl Role {
    /// Its name in the tokens file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Runner => "runner",
            Self::Admin => "admin",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Runner, Self::Admin].into_iter().find(|r| r.name() == name)
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    pub(crate) name: Arc<str>,
    role: Role,
}

impl Actor {
    /// Whether this one may do what `needs` may. Errors: `Denied`.
    pub(crate) fn may(&self, needs: Role) -> Result<()> {
        match self.role >= needs {
            true => Ok(()),
            false => Err(Error::Denied { name: self.name.to_string(), has: self.role, needs }),
        }
    }
}

/// Who is admitted.
#[derive(Debug)]
pub struct Auth {
    /// `None`: everybody who reaches the port.
    tokens: Option<Vec<Token>>,
}

#[derive(Debug)]
struct Token {
    actor: Actor,
    digest: [u8; 32],
}

/// Why a tokens file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the tokens file `{path}`: {error}\n  help: check the path and its permissions")]
    Read {
        /// The path.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// A line is wrong. Never quotes the line: somebody may have written a token there.
    #[error(
        "line {line} of the tokens file: {what}\n  help: write `NAME ROLE SHA256`, e.g. `airflow runner 9f86d0…`; `printf %s TOKEN | sha256sum` makes the last"
    )]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// There is no token in it.
    #[error("the tokens file names nobody\n  help: write at least one line `NAME ROLE SHA256`")]
    Empty,
}

/// The SHA-256 of a token as the tokens file has it, 64 hex digits.
pub fn digest_hex(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

impl Auth {
    /// Everybody who reaches the port, as `local` with every role: only for loopback. Pages of other sites are refused.
    pub fn open() -> Self {
        Self { tokens: None }
    }

    /// Whether no token is needed.
    pub fn is_open(&self) -> bool {
        self.tokens.is_none()
    }

    /// Those in a tokens file. Errors: [`FileError`].
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path).map_err(|error| FileError::Read { path: path.display().to_string(), error })?;
        Self::parse(&text)
    }

    /// Those in the text of a tokens file: lines `NAME ROLE SHA256`, empty lines, and comments after `#`. Errors: [`FileError`].
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let mut tokens: Vec<Token> = vec![];
        for (i, line) in text.lines().enumerate() {
            let wrong = |what| FileError::Line { line: i + 1, what };
            let fields: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            let (name, role, digest) = match fields.as_slice() {
                [] => continue,
                [name, role, digest] => (*name, *role, *digest),
                _ => return Err(wrong("three words are needed")),
            };
            let named = name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c));
            if !named {
                return Err(wrong("a name is at most 64 letters, digits and `-_.@`"));
            }
            let role = Role::of_name(role).ok_or_else(|| wrong("the role is none of `viewer`, `runner`, `admin`"))?;
            let digest = unhex(digest).ok_or_else(|| wrong("the third word is not a SHA-256: 64 hex digits"))?;
            if tokens.iter().any(|t| *t.actor.name == *name || t.digest == digest) {
                return Err(wrong("the name or the token stands there twice"));
            }
            tokens.push(Token { actor: Actor { name: name.into(), role }, digest });
        }
        if tokens.is_empty() { Err(FileError::Empty) } else { Ok(Self { tokens: Some(tokens) }) }
    }

    /// Who sent these headers. Errors: `Unauthenticated`, `Foreign`.
    pub(crate) fn actor(&self, headers: &HeaderMap, host: Option<&str>) -> Result<Actor> {
        let Some(tokens) = &self.tokens else { return local(headers, host) };
        let sent = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(bearer);
        let digest: [u8; 32] = Sha256::digest(sent.unwrap_or_default().as_bytes()).into();
        // Every token is compared, whichever fits: how long it takes tells nothing.
        let mut found = None;
        for token in tokens {
            if equal(&token.digest, &digest) {
                found = Some(token.actor.clone());
            }
        }
        match (sent, found) {
            (Some(_), Some(actor)) => Ok(actor),
            _ => Err(Error::Unauthenticated),
        }
    }
}

/// Without tokens a browser on this machine could be made to call: pages of other sites, and names that were turned to this address, are refused.
fn local(headers: &HeaderMap, host: Option<&str>) -> Result<Actor> {
    let loopback = |authority: &str| {
        let bare =
            authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(authority, |(h, _)| h);
        let bare = bare.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    };
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let host = host.or_else(|| text(header::HOST));
    let own_page = text(header::ORIGIN).is_none_or(|origin| origin.split_once("://").is_some_and(|(_, o)| Some(o) == host));
    match host.is_some_and(loopback) && own_page {
        true => Ok(Actor { name: "local".into(), role: Role::Admin }),
        false => Err(Error::Foreign),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

/// Takes as long whether they differ early, late or not at all.
fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let differ = a.iter().zip(b).fold(0u8, |all, (x, y)| std::hint::black_box(all | (x ^ y)));
    std::hint::black_box(differ) == 0
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut out = [0; 32];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(out)
}

/// What the gate needs.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) auth: Arc<Auth>,
    pub(crate) api: Arc<Api>,
}

/// Lets a call in with its [`Actor`], or answers it. What load balancers and readers of documentation ask is open to everybody.
pub(crate) async fn admit(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let grpc = request.headers().get(header::CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"));
    let path = request.uri().path();
    let public = matches!(path, "/healthz" | "/readyz" | "/v1/openapi.json") || path.starts_with("/grpc.health.v1.Health/");
    // Whether the coordinator lives is answered even when it is busy.
    let mut seat = None;
    if !public {
        let host = request.uri().authority().map(|a| a.as_str().to_owned());
        let admitted = gate.auth.actor(request.headers(), host.as_deref());
        match admitted.and_then(|actor| gate.api.seats.call().map(|seat| (actor, seat))) {
            Ok((actor, taken)) => {
                request.extensions_mut().insert(actor);
                seat = Some(taken);
            }
            Err(error) => return refused(error, grpc),
        }
    }
    let mut response = next.run(request).await;
    drop(seat);
    if !grpc {
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    response
}

fn refused(error: Error, grpc: bool) -> Response {
    match grpc {
        true => Status::from(error).into_http::<axum::body::Body>().into_response(),
        false => error.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (header::HeaderName::from_static(k), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn only_the_tokens_of_the_file_are_admitted() {
        let text = format!(
            "# people\nann viewer {}\nbot runner {} # night\n\n",
            digest_hex("a-token"),
            digest_hex("b-token").to_uppercase()
        );
        let auth = Auth::parse(&text).unwrap();
        let who = |value: &str| auth.actor(&headers(&[("authorization", value)]), None).map(|a| (a.name.to_string(), a.role));
        assert_eq!(who("Bearer a-token").unwrap(), ("ann".into(), Role::Viewer));
        assert_eq!(who("bearer  b-token").unwrap(), ("bot".into(), Role::Runner));
        for wrong in ["Bearer c-token", "Basic a-token", "Bearer ", "a-token", &format!("Bearer {}", digest_hex("a-token"))] {
            assert!(matches!(who(wrong), Err(Error::Unauthenticated)), "{wrong}");
        }
        assert!(auth.actor(&HeaderMap::new(), None).is_err());
        assert!(!format!("{auth:?}").contains("a-token"));
    }

    #[test]
    fn a_wrong_line_is_named_and_not_quoted() {
        for (text, line) in [
            ("ann viewer canary-secret", 1),
            ("\nann canary-secret", 2),
            ("ann canary-secret 00", 1),
            (&*format!("a viewer {0}\nb viewer {0}", digest_hex("x")), 2),
        ] {
            let error = Auth::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line}")) && !error.contains("canary-secret"), "{error}");
        }
        assert!(matches!(Auth::parse("# nobody\n"), Err(FileError::Empty)));
    }

    #[test]
    fn without_tokens_other_sites_are_refused() {
        let auth = Auth::open();
        let may = |pairs: &[(&'static str, &str)]| auth.actor(&headers(pairs), None).is_ok();
        assert!(may(&[("host", "127.0.0.1:7400")]) && may(&[("host", "localhost")]) && may(&[("host", "[::1]:7400")]));
        assert!(may(&[("host", "localhost:7400"), ("origin", "http://localhost:7400")]));
        assert!(!may(&[("host", "localhost:7400"), ("origin", "http://evil.example")]));
        assert!(!may(&[("host", "localhost:7400"), ("origin", "null")]));
        assert!(!may(&[("host", "evil.example:7400")]) && !may(&[]));
    }
}
