//! What is asked of a run, as the store keeps it. Never holds a secret: those are references in the pipeline.

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use strata_engine::load::{LoadOptions, clock_of};
use strata_spec::{Pipeline, SourceText};
use strata_store::{Error, Result, RunRecord};
use utoipa::ToSchema;

/// A run as it was asked for. The digest of this is what "the same request" means, so it holds nothing that was worked out afterwards.
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
    /// Name of the token that asked first. Another one that asks for the same under the same key gets the same run.
    pub created_by: String,
}

impl RunBody {
    /// The body of a stored run. Errors: `Damaged`.
    pub fn of(record: &RunRecord) -> Result<Self> {
        serde_json::from_value(record.body.clone())
            .map_err(|e| Error::Damaged(format!("the body of run `{}`: {e}", record.run_id)))
    }

    /// The text with its name, for loading and for messages.
    pub fn source(&self) -> SourceText {
        let path = if self.file.is_empty() { "pipeline.yaml".to_owned() } else { self.file.clone() };
        SourceText { path, text: self.pipeline.clone() }
    }

    /// `vars` as the loader takes them.
    pub fn vars(&self) -> Vec<(String, String)> {
        self.vars.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// How to load the pipeline of a run that was created at `created_at`. What the request left open (`as_of`) follows from what the store holds
    /// and never changes, so a run that is resumed on another day looks back from the same instant.
    pub fn load_options(&self, created_at: DateTime<Utc>) -> LoadOptions {
        let given = self.as_of.as_deref().and_then(instant);
        let checked = strata_spec::load(&self.source(), &self.vars());
        let as_of = checked.pipeline.as_ref().map(|p| as_of(p, given, created_at));
        LoadOptions { vars: self.vars(), as_of: as_of.or(given), offline: false, pins: None }
    }
}

/// The instant a run looks back from: the request's, else the pipeline's, else the start of the day of creation in the pipeline's zone.
pub fn as_of(pipeline: &Pipeline, given: Option<DateTime<Utc>>, created_at: DateTime<Utc>) -> DateTime<Utc> {
    clock_of(pipeline, given, created_at).as_of
}

/// An RFC 3339 instant, to the microsecond as everything in Strata.
pub fn instant(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.with_timezone(&Utc).trunc_subsecs(6))
}

/// The one way an instant is written in a body: two requests with the same instant are the same request.
pub fn written(at: DateTime<Utc>) -> String {
    at.trunc_subsecs(6).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPELINE: &str = "version: 1\nname: p\ntimezone: Europe/Berlin\nsources: {s: {parquet: /data/s}}\n";

    #[test]
    fn what_a_request_leaves_open_follows_from_when_it_was_made() {
        let body = RunBody { pipeline: PIPELINE.into(), ..RunBody::default() };
        let at = |text: &str| instant(text).unwrap();
        let late = body.load_options(at("2026-06-30T22:30:00Z")).as_of.unwrap();
        assert_eq!(written(late), "2026-06-30T22:00:00Z");
        let given = RunBody { as_of: Some("2026-01-01T01:00:00+01:00".into()), ..body };
        assert_eq!(written(given.load_options(late).as_of.unwrap()), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn one_instant_is_written_in_one_way() {
        for text in ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00.000000Z"] {
            assert_eq!(written(instant(text).unwrap()), "2026-01-01T00:00:00Z");
        }
        assert_eq!(instant("2026-01-01"), None);
    }
}
