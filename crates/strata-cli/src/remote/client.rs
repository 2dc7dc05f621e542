//! A connection to a coordinator: address, token, certificate, and trying again. Never sends a token where others could read it.

use super::Access;
use super::failure::{Failure, may_pass};
use crate::render;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use strata_proto::v1;
use strata_proto::v1::run_service_client::RunServiceClient;
use strata_runtime::clock::Stopwatch;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a call is tried again before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer: a run report is the largest.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The calls of a coordinator.
pub(crate) type Runs = RunServiceClient<InterceptedService<Channel, Bearer>>;

/// A coordinator.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) runs: Runs,
    pub(crate) url: String,
}

/// Shows the token with every call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// How long to wait before the next try.
pub(crate) struct Backoff {
    next: Duration,
    since: Stopwatch,
    patience: Duration,
}

impl Backoff {
    pub(crate) fn start(patience: Duration) -> Self {
        Self { next: Duration::from_millis(200), since: Stopwatch::start(), patience }
    }

    /// Waits a little longer than before. `false`: it has been tried long enough.
    pub(crate) async fn pause(&mut self) -> bool {
        if self.since.elapsed() >= self.patience {
            return false;
        }
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(PAUSE_MAX);
        true
    }
}

impl Client {
    /// A coordinator at `url`. Nothing is sent yet. Errors: usage.
    pub(crate) fn of(url: &str, access: &Access) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::usage(format!("`{url}` {why}\n  help: write the coordinator's address, e.g. `http://127.0.0.1:7420`"))
        };
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| wrong("is not an address"))?;
        let (secure, host) = match (endpoint.uri().scheme_str(), endpoint.uri().host()) {
            (Some("http"), Some(host)) => (false, host.to_owned()),
            (Some("https"), Some(host)) => (true, host.to_owned()),
            _ => return Err(wrong("is not an address with `http` or `https`")),
        };
        let token = token(access)?;
        if token.is_some() && !secure && !is_loopback(&host) {
            return Err(Failure::usage(format!(
                "the token is not sent to `{host}` over plain http, where others could read it\n  help: use https with `--ca`"
            )));
        }
        let mut endpoint = endpoint
            .connect_timeout(CONNECT)
            // A coordinator that vanished without a word is noticed.
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .user_agent(concat!("strata/", env!("CARGO_PKG_VERSION")))
            .map_err(|e| Failure::usage(e.to_string()))?;
        if secure {
            let Some(ca) = &access.ca else {
                return Err(Failure::usage(
                    "https needs the certificate of the authority that signed the coordinator's\n  help: give it with `--ca FILE`",
                ));
            };
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca, "certificate")?)).domain_name(host);
            endpoint = endpoint.tls_config(tls).map_err(|e| Failure::usage(format!("`{}` cannot be used: {e}", ca.display())))?;
        }
        let channel = endpoint.connect_lazy();
        let runs = RunServiceClient::with_interceptor(channel, Bearer(token)).max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Self { runs, url: url.to_owned() })
    }

    /// Calls until it is answered, or for [`PATIENCE`]. Only for calls that may be repeated.
    pub(crate) async fn tried<T>(&self, call: impl AsyncFn(Runs) -> Result<tonic::Response<T>, Status>) -> Result<T, Status> {
        let mut backoff = Backoff::start(PATIENCE);
        let mut told = false;
        loop {
            match call(self.runs.clone()).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(failed) if !may_pass(&failed) => return Err(failed),
                Err(failed) => {
                    if !told {
                        render::line(&format!("{} does not answer ({}); trying again", self.url, short(&failed)));
                        told = true;
                    }
                    if !backoff.pause().await {
                        return Err(failed);
                    }
                }
            }
        }
    }

    /// A run as it is now.
    pub(crate) async fn get(&self, run_id: &str) -> Result<v1::Run, Status> {
        let request = v1::GetRunRequest { run_id: run_id.to_owned() };
        let response = self.tried(async |mut runs: Runs| runs.get_run(request.clone()).await).await?;
        present(response.run)
    }

    /// Asks a run to stop.
    pub(crate) async fn cancel(&self, run_id: &str, reason: &str) -> Result<v1::Run, Status> {
        let request = v1::CancelRunRequest { run_id: run_id.to_owned(), reason: reason.to_owned() };
        let response = self.tried(async |mut runs: Runs| runs.cancel_run(request.clone()).await).await?;
        present(response.run)
    }

    /// The run report, as JSON text. `None`: there is none yet.
    pub(crate) async fn report(&self, run_id: &str) -> Result<Option<String>, Status> {
        let request = v1::GetReportRequest { run_id: run_id.to_owned() };
        match self.tried(async |mut runs: Runs| runs.get_report(request.clone()).await).await {
            Ok(response) => Ok(Some(response.report_json)),
            Err(failed) if failed.code() == tonic::Code::NotFound => Ok(None),
            Err(failed) => Err(failed),
        }
    }
}

/// Why in one line.
pub(crate) fn short(failed: &Status) -> String {
    failed.message().lines().next().unwrap_or("the connection broke").to_owned()
}

/// A coordinator always sends the run; another version might not.
pub(crate) fn present(run: Option<v1::Run>) -> Result<v1::Run, Status> {
    run.ok_or_else(|| Status::unimplemented("the answer has no run in it"))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn read(path: &Path, what: &str) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::usage(format!("cannot read the {what} `{}`: {e}", path.display())))
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the token of this command")]
fn from_environment() -> Option<String> {
    std::env::var("STRATA_TOKEN").ok().filter(|t| !t.trim().is_empty())
}

fn token(access: &Access) -> Result<Option<MetadataValue<Ascii>>, Failure> {
    let text = match &access.token_file {
        Some(path) => Some(read(path, "token")?),
        None => from_environment(),
    };
    let Some(text) = text else { return Ok(None) };
    let value: Result<MetadataValue<Ascii>, _> = format!("Bearer {}", text.trim()).parse();
    let mut value = value.map_err(|_| Failure::usage("the token holds characters that no token has"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_goes_only_where_nobody_reads_it() {
        let dir = std::env::temp_dir().join(format!("strata-token-{}", std::process::id()));
        std::fs::write(&dir, "canary-secret\n").unwrap();
        let access = Access { token_file: Some(dir.clone()), ca: None };
        let of = |url: &str| Client::of(url, &access).map(|_| ()).map_err(|f| (f.code, f.message));
        assert!(of("http://127.0.0.1:7420").is_ok() && of("http://[::1]:7420").is_ok() && of("http://localhost:7420").is_ok());
        for url in ["http://10.0.0.7:7420", "http://coordinator", "https://coordinator", "coordinator:7420", "ftp://x"] {
            let (code, message) = of(url).unwrap_err();
            assert!(code == 2 && !message.contains("canary"), "{url}: {message}");
        }
        std::fs::remove_file(dir).unwrap();
    }
}
