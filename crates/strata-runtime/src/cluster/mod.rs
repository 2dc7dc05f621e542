//! What coordinator and workers share beyond a session: the wire codec, the engine's settings, transport security. Never runs a plan and
//! never knows a pipeline.

mod codec;
pub mod tls;

pub use codec::ClusterCodec;
pub use tls::Identity;

use crate::limits::Limits;
use crate::session as settings;
use ballista_core::ConfigProducer;
use ballista_core::config::BallistaConfig;
use ballista_core::extension::SessionConfigExt;
use ballista_core::registry::BallistaFunctionRegistry;
use datafusion::common::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{SessionConfig, SessionContext};
use std::sync::Arc;

/// The version of this process. All processes of a cluster are of one: a plan on the wire has no meaning to another.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What a worker calls itself in every request to its coordinator, before its version.
const NAME: &str = "strata/";
/// The largest message between processes: a plan with a few thousand pinned files has some megabytes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// What a task's exchange may hold before it goes to disk, where no memory budget says otherwise.
const SHUFFLE_BYTES: usize = 128 << 20;
/// Tries to fetch a piece of an exchange before its maker is taken for lost.
const FETCH_TRIES: &str = "3";
/// Pause between them: a lost worker must cost seconds, not the default's nine.
const FETCH_PAUSE_MS: &str = "300";

/// Settings for planning for, and running on, `slots` slots.
pub fn config(limits: &Limits, slots: usize, identity: Option<&Identity>) -> SessionConfig {
    let limits = Limits { threads: slots.max(1), ..limits.clone() };
    let mut config = settings::config(&limits)
        .with_option_extension(BallistaConfig::default())
        // Tasks are cut by hash exchanges; the engine removes any other exchange, so none may be planned.
        .with_round_robin_repartition(false)
        // The adaptive planner leaks slots when a worker dies while several plans run, and wedges the cluster.
        .with_ballista_adaptive_query_planner(false)
        .with_ballista_grpc_client_max_message_size(MESSAGE_BYTES_MAX)
        .with_ballista_logical_extension_codec(Arc::new(crate::LogicalCodec))
        .with_ballista_physical_extension_codec(Arc::new(ClusterCodec::default()));
    let buffered = limits.pool_bytes().map_or(SHUFFLE_BYTES, |b| (b as usize / 4).clamp(16 << 20, SHUFFLE_BYTES));
    config = config
        // A filter that one stage makes never reaches a scan of another, which would wait for it for ever. (Set by name: that also sets the
        // settings of each kind of filter.)
        .set_bool("datafusion.optimizer.enable_dynamic_filter_pushdown", false)
        // Such subqueries share their result inside one process.
        .set_bool("datafusion.optimizer.enable_physical_uncorrelated_scalar_subquery", false)
        .set_str("ballista.shuffle.sort_based.memory_limit_per_task_bytes", &buffered.to_string())
        .set_str("ballista.client.io_retries_times", FETCH_TRIES)
        .set_str("ballista.client.io_retry_wait_time_ms", FETCH_PAUSE_MS);
    match identity {
        None => config,
        Some(identity) => config
            .with_ballista_use_tls(true)
            .with_ballista_override_create_grpc_client_endpoint(tls::endpoints(identity.clone())),
    }
}

/// The same, made anew for each session.
pub fn config_producer(limits: Limits, slots: usize, identity: Option<Identity>) -> ConfigProducer {
    Arc::new(move || config(&limits, slots, identity.as_ref()))
}

/// Memory, disk and stores of a worker.
pub fn environment(limits: &Limits) -> Result<Arc<RuntimeEnv>> {
    settings::environment(limits).map(Arc::new)
}

/// The session that plans for a cluster.
pub fn session(config: SessionConfig, environment: Arc<RuntimeEnv>) -> Result<SessionContext> {
    Ok(SessionContext::new_with_state(settings::state(config, environment)?))
}

/// Every function that a plan may name.
pub fn functions() -> Result<BallistaFunctionRegistry> {
    let state = settings::state(SessionConfig::new(), Arc::new(RuntimeEnv::default()))?;
    Ok(BallistaFunctionRegistry::from(&state))
}

/// How a worker reaches its coordinator: with its version in every request and, beyond this machine, known by certificate.
pub fn to_coordinator(identity: Option<Identity>) -> tls::Endpoints {
    let secured = identity.map(tls::endpoints);
    Arc::new(move |endpoint| {
        let endpoint = match &secured {
            Some(secured) => secured(endpoint)?,
            None => endpoint,
        };
        Ok(endpoint.user_agent(format!("{NAME}{VERSION}"))?)
    })
}

/// Whether a worker that calls itself so may work for this coordinator. Errors: what is wrong and what to do, for people.
pub fn check_version(user_agent: Option<&str>) -> Result<(), String> {
    let mut words = user_agent.unwrap_or_default().split(' ');
    let what = match words.find_map(|word| word.strip_prefix(NAME)) {
        Some(VERSION) => return Ok(()),
        Some(theirs) => format!("this worker is Strata {theirs}"),
        None => "this worker does not say that it is Strata".to_owned(),
    };
    Err(format!("{what}, the coordinator is Strata {VERSION}: all processes of a cluster are of one version"))
}

/// Whether what a coordinator's port answered tells of the way to it and not of what was asked.
pub fn may_pass(answer: &tonic::Status) -> bool {
    use tonic::Code::{Cancelled, DeadlineExceeded, Unavailable, Unknown};
    matches!(answer.code(), Cancelled | DeadlineExceeded | Unavailable | Unknown)
}

/// Words of failures between processes: a connection that broke or was refused, a piece that is gone with its worker. None is of the data.
const BETWEEN: [&str; 10] = [
    "h2 protocol error",
    "error reading a body from connection",
    "broken pipe",
    "stream closed",
    "transport error",
    "tcp connect error",
    "Connection refused",
    "connection reset",
    "Connection reset",
    "Failed to open file",
];

/// Whether the text of an error tells of a failure between processes, which another try may mend.
pub fn is_between_processes(text: &str) -> bool {
    BETWEEN.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_version_is_taken() {
        assert_eq!(check_version(Some(&format!("{NAME}{VERSION} tonic/0.14.2"))), Ok(()));
        let refused = check_version(Some("strata/0.0.9 tonic/0.14.2")).unwrap_err();
        assert!(refused.contains("Strata 0.0.9") && refused.contains(&format!("Strata {VERSION}")), "{refused}");
        for foreign in [None, Some(""), Some("tonic/0.14.2"), Some("strata")] {
            assert!(check_version(foreign).unwrap_err().contains("does not say"), "{foreign:?}");
        }
    }
}
