//! What is asked of a run, as the store keeps it. Never holds a secret: those are references in the pipeline.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A run as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunBody {
    /// Text of the pipeline file.
    pub pipeline: String,
    /// Its path, for error messages.
    pub file: String,
    /// Values of `vars`, as `-p name=value` gives them.
    pub vars: BTreeMap<String, String>,
    /// RFC 3339; absent: the start of the day of creation, in the pipeline's time zone.
    pub as_of: Option<String>,
    /// The run is ended after this many seconds; absent: never.
    pub timeout_seconds: Option<u64>,
}
