//! Settings of panels and waves: who may be asked, how people are drawn, what is wanted of answers. Never draws.

use super::people::Rate;
use crate::text::{Located, Name, Sql};

/// `fatigue:` how often one person is asked.
#[derive(Debug, Clone)]
pub struct Fatigue {
    /// Sources or tables of contacts; the rest is said of the rows of the first.
    pub counts: Vec<Name>,
    /// `where:` which rows of the first are contacts.
    pub filter: Option<Sql>,
    /// `invites: 2/30d`
    pub invites: Option<Located<Rate>>,
    /// `rest:` in microseconds.
    pub rest_us: Option<i64>,
    /// `complete:` which rows of the first are answers.
    pub complete: Option<Sql>,
    /// `rest_after_complete:` in microseconds.
    pub rest_after_complete_us: Option<i64>,
    /// `in_field:` which rows of the first say that somebody is being asked now.
    pub in_field: Option<Sql>,
    /// `burden:`
    pub burden: Option<Burden>,
    /// `never:` who is not asked at all.
    pub never: Option<Sql>,
}

/// `burden:` at most so many minutes in a time.
#[derive(Debug, Clone)]
pub struct Burden {
    /// Minutes of a contact.
    pub minutes: Sql,
    /// `most: 60/90d`, this survey included.
    pub most: Rate,
    /// Minutes of this survey.
    pub this: u64,
}

/// A rule of eligibility that the panel's settings make.
#[derive(Debug, Clone)]
pub struct MadeRule {
    /// Its name in waterfalls.
    pub label: String,
    /// Holds for whom can be drawn.
    pub sql: Sql,
    /// The wave it is for; `None`: all.
    pub wave: Option<String>,
}

/// What a wave says beyond who is drawn first.
#[derive(Debug, Clone, Default)]
pub struct Further {
    /// `strata: {name: …}` how each is allocated; this version cannot.
    pub strata: Vec<StratumRule>,
    /// `draw:`
    pub draw: Draw,
    /// `quotas:`
    pub quotas: Vec<Quota>,
    /// `expect_response:`
    pub response: Option<Response>,
    /// `not_in:` waves whose people are left out.
    pub not_in: Vec<Name>,
    /// `after:` the wave before.
    pub after: Option<Name>,
    /// `refresh:` the share of the last wave that is rotated out, in parts per million.
    pub refresh_ppm: Option<u64>,
    /// `reserve:`
    pub reserve: Option<Reserve>,
    /// `replicates:`
    pub replicates: Option<u32>,
}

/// `draw:` how people are drawn.
#[derive(Debug, Clone, Default)]
pub struct Draw {
    /// `by:`
    pub by: Design,
    /// `size:` who is larger is drawn more often.
    pub size: Option<Sql>,
    /// `along:` of `systematic`, the order in which people are passed.
    pub along: Option<Sql>,
    /// `shift:` where the wave starts on the circle of numbers, in [0, 1).
    pub shift: f64,
}

/// A design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Design {
    /// The least numbers of each stratum.
    #[default]
    Srs,
    /// Every so many along an order.
    Systematic,
    /// Each by the own number; the size of the sample varies.
    Poisson,
    /// Least number / probability.
    SequentialPoisson,
    /// Least odds of number over odds of probability.
    Pareto,
    /// Exact probabilities, small strata.
    Sampford,
}

/// `allocate: {by: …}`
#[derive(Debug, Clone, Default)]
pub struct AllocateBy {
    /// The rule.
    pub rule: AllocateRule,
    /// `measure:` what is to be measured well.
    pub measure: Option<Sql>,
    /// `cost:` of asking one.
    pub cost: Option<Sql>,
    /// `budget:`
    pub budget: Option<f64>,
    /// `power:` of `size_power` and `bankier`.
    pub power: f64,
    /// `rows:` of `fixed`: values of the strata, and how many.
    pub rows: Vec<(Name, u64)>,
}

/// A rule of allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AllocateRule {
    /// In proportion to members.
    #[default]
    Proportional,
    /// The same for each.
    Equal,
    /// In proportion to members × spread of the measure.
    Neyman,
    /// In proportion to a power of members.
    SizePower,
    /// In proportion to a power of the measure's total × its coefficient of variation.
    Bankier,
    /// In proportion to members × spread / √cost.
    Optimal,
    /// As stated.
    Fixed,
}

/// `nonresponse:`
#[derive(Debug, Clone, PartialEq)]
pub struct Nonresponse {
    /// Attributes and segmentations, crossed.
    pub cells: Vec<Name>,
    /// `most:` factor.
    pub factor_max: f64,
    /// `least:` answers in a cell.
    pub answers_min: u64,
    /// `collapse: neighbours`
    pub joins_neighbours: bool,
    /// `unknown: eligible`
    pub unknown_are_eligible: bool,
}

/// `calibrate:`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibrate {
    /// How far from the weight before a ratio is.
    pub distance: CalibrateDistance,
    /// The least ratio.
    pub ratio_min: Option<f64>,
    /// The greatest ratio.
    pub ratio_max: Option<f64>,
}

/// A distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalibrateDistance {
    /// GREG.
    Linear,
    /// e^u.
    Raking,
    /// Bounded.
    Logit,
}

/// A part of a wave that is no list of drawn people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WavePart {
    /// One row a person of the roster: whether it can be drawn, and which rule it fails first.
    Eligibility,
    /// One row a stratum and rule: how many fail there first.
    Waterfall,
    /// One row a stratum or quota cell: eligible, wanted, drawn.
    Allocation,
    /// One row a stratum and one of all: coverage, response, completion, attrition, burden, R-indicator.
    Health,
    /// One row a stratum and number of further surveys: who can still take as many.
    Burden,
    /// One row a pair of strata: people of the wave before, where they were then and are now.
    Migration,
}

impl WavePart {
    /// Every part, by the name it has behind `panel.WAVE.`.
    pub const NAMES: [(&str, WavePart); 6] = [
        ("eligibility", Self::Eligibility),
        ("waterfall", Self::Waterfall),
        ("allocation", Self::Allocation),
        ("health", Self::Health),
        ("burden", Self::Burden),
        ("migration", Self::Migration),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, p)| *p == self).map_or("", |(n, _)| n)
    }
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
    /// Invitations that the panel's own rate counts for in a stratum's.
    pub base: u64,
    /// Of those who answer, who is wanted, in parts per million.
    pub incidence_ppm: u64,
    /// Of the answers wanted, those that turn out bad, in parts per million.
    pub rejected_ppm: u64,
    /// The segmentation among the strata whose rates small groups are drawn towards.
    pub shrink_to: Option<Name>,
}

/// Who is kept in reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// A share of the sample, in parts per million.
    Share(u64),
    /// No other wave draws them for so long, in microseconds.
    For(i64),
}
