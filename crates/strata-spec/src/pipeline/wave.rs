//! Settings of panels and waves that this version reads but cannot run. Never draws.

use super::people::Rate;
use crate::text::{Located, Name, Sql};

/// `fatigue:` how often one person is asked.
#[derive(Debug, Clone)]
pub struct Fatigue {
    /// The source of invitations.
    pub counts: Name,
    /// `invites: 2/30d`
    pub invites: Option<Located<Rate>>,
    /// `rest_after_complete:` in microseconds.
    pub rest_us: Option<i64>,
    /// `never:` who is not asked at all.
    pub never: Option<Sql>,
}

/// What a wave says beyond one draw.
#[derive(Debug, Clone, Default)]
pub struct WavePlanned {
    /// `strata: {name: …}` how each is allocated.
    pub strata: Vec<StratumRule>,
    /// `quotas:`
    pub quotas: Vec<Quota>,
    /// `expect_response:`
    pub response: Option<Response>,
    /// `refresh:` the share of the last wave that is rotated out, in parts per million.
    pub refresh_ppm: Option<u64>,
    /// `reserve:`
    pub reserve: Option<Reserve>,
    /// `replicates:`
    pub replicates: Option<u32>,
}

/// How one of the strata is allocated.
#[derive(Debug, Clone)]
pub struct StratumRule {
    /// Attribute or segmentation.
    pub name: Name,
    /// How.
    pub how: StratumShare,
}

/// A way to allocate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StratumShare {
    /// In proportion to members.
    Proportional,
    /// The same for each.
    Equal,
    /// In proportion, within bounds.
    Bounds {
        /// At least.
        min: Option<u64>,
        /// At most.
        max: Option<u64>,
    },
    /// Given shares, in parts per million; the rest in proportion.
    Shares(Vec<(String, u64)>),
}

/// Targets of answers.
#[derive(Debug, Clone)]
pub struct Quota {
    /// One column: a margin. Several: interlocked.
    pub columns: Vec<Name>,
    /// Levels (one value a column) and their targets.
    pub cells: Vec<(Vec<String>, Target)>,
}

/// How many answers a cell needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// A count, or parts per million of the sample.
    pub of: super::Sample,
    /// How far it may be missed, in the same unit.
    pub tolerance: u64,
}

/// How many of those invited will answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// A rate for everybody in parts per million; `None`: from past waves.
    pub rate_ppm: Option<u64>,
    /// The segmentation whose mean rate small groups are drawn towards.
    pub shrink_to: Option<Name>,
}

/// Who is kept in reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// A share of the sample, in parts per million.
    Share(u64),
    /// For so long, in microseconds.
    For(i64),
}
