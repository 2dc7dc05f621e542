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
#[expect(clippy::disallowed_methods, reason = "the same state as every session; only its settings are a cluster's")]
pub fn session(config: SessionConfig, environment: Arc<RuntimeEnv>) -> Result<SessionContext> {
    Ok(SessionContext::new_with_state(settings::state(config, environment)?))
}

/// Every function that a plan may name.
pub fn functions() -> Result<BallistaFunctionRegistry> {
    let state = settings::state(SessionConfig::new(), Arc::new(RuntimeEnv::default()))?;
    Ok(BallistaFunctionRegistry::from(&state))
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
