//! S3 and the stores that speak like it. Never reads a setting itself: it is given them, and a process gives its own environment.

use super::Error;
use super::layer::Layer;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};
use std::sync::Arc;
use std::time::Duration;

/// How patient a client is, and how busy.
#[derive(Debug, Clone, PartialEq)]
pub struct S3Options {
    /// A request with its whole answer. A body that breaks off or stalls is read on from where it stopped.
    pub timeout: Duration,
    /// Making a connection.
    pub connect_timeout: Duration,
    /// Tries of one request after the first, while the store answers 5xx or 429 or not at all.
    pub retries_max: usize,
    /// No retry begins later than this after the request's start. Below the five minutes that a signature is good for.
    pub retry_time_max: Duration,
    /// The longest pause between two tries; the first is 100 ms, each later one random and up to twice the one before.
    pub pause_max: Duration,
    /// Requests waiting for an answer at the same time, of a process to a bucket.
    pub requests_max: usize,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(10),
            retries_max: 10,
            retry_time_max: Duration::from_secs(180),
            pause_max: Duration::from_secs(10),
            requests_max: 64,
        }
    }
}

/// The environment of this process as settings.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The store of a bucket. `settings` are `AWS_*` names and values as in an environment: `AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP` and whatever else
/// object_store knows; without keys the machine's or the pod's role is asked. They win over `options` (`AWS_TIMEOUT`,
/// `AWS_CONNECT_TIMEOUT`). Errors: `Settings`.
pub fn s3(
    bucket: &str,
    settings: impl IntoIterator<Item = (String, String)>,
    options: &S3Options,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let client = AmazonS3ConfigKey::Client;
    let mut builder = AmazonS3Builder::new()
        .with_config(client(ClientConfigKey::Timeout), written(options.timeout))
        .with_config(client(ClientConfigKey::ConnectTimeout), written(options.connect_timeout))
        .with_retry(RetryConfig {
            backoff: BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: options.pause_max, base: 2.0 },
            max_retries: options.retries_max,
            retry_timeout: options.retry_time_max,
        });
    for (name, value) in settings {
        let name = name.to_ascii_lowercase();
        if let Some(key) = name.starts_with("aws_").then(|| name.parse().ok()).flatten() {
            builder = builder.with_config(key, value);
        }
    }
    let wrong = |why: String| Error::Settings(format!("s3://{bucket}"), why);
    let setting = |key| builder.get_config_value(&key);
    let endpoint = setting(AmazonS3ConfigKey::S3Endpoint).or_else(|| setting(AmazonS3ConfigKey::Endpoint));
    let may_be_plain = setting(client(ClientConfigKey::AllowHttp))
        .is_some_and(|v| matches!(v.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "y" | "on"));
    if let Some(endpoint) = endpoint.filter(|e| e.starts_with("http://") && !may_be_plain) {
        return Err(wrong(format!("`{endpoint}` is not encrypted; where that is meant, set AWS_ALLOW_HTTP=true")));
    }
    // Committing is a conditional put, whatever the environment says: without it two runs could overwrite each other.
    let store = builder.with_bucket_name(bucket).with_conditional_put(S3ConditionalPut::ETagMatch).build();
    let store = store.map_err(|e| wrong(e.to_string()))?;
    Ok(Arc::new(Layer::remote(Arc::new(store), options.requests_max)))
}

/// A duration as object_store reads it.
fn written(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
