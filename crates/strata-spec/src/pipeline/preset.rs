//! Presets and the settings of methods that this version reads but cannot run. Never says what a preset computes.

use super::{Ago, Window};
use crate::text::{Located, Name, Span, Sql};

/// A block of attributes that a preset makes.
#[derive(Debug, Clone)]
pub enum AttributePreset {
    /// `loyalty_core@1`
    LoyaltyCore(Box<LoyaltyCore>),
    /// `preferred_time@1`
    PreferredTime(Box<PreferredTime>),
}

/// `loyalty_core@1`: attributes that need an input that is absent are not made.
#[derive(Debug, Clone)]
pub struct LoyaltyCore {
    /// How many blocks stand before it.
    pub place: usize,
    /// Where it is named.
    pub span: Span,
    /// One row an order, with the entity's key.
    pub from: Name,
    /// What was paid for the order.
    pub amount: Sql,
    /// What was taken off.
    pub discount: Option<Sql>,
    /// What was given back.
    pub returned: Option<Sql>,
    /// Lines of the order.
    pub lines: Option<Sql>,
    /// A table of spend by entity and category.
    pub category: Option<Name>,
    /// By which channel.
    pub channel: Option<Sql>,
    /// Sources and tables in which any row is an engagement.
    pub engagement: Vec<Name>,
    /// Windows of counts and amounts, as attributes end in them; `None` is `life`.
    pub windows: Vec<(String, Option<Located<Window>>)>,
    /// Put before every name.
    pub prefix: Option<Name>,
}

/// `preferred_time@1`
#[derive(Debug, Clone)]
pub struct PreferredTime {
    /// How many blocks stand before it.
    pub place: usize,
    /// Where it is named.
    pub span: Span,
    /// A source or table with a `time`.
    pub from: Name,
    /// `where:`
    pub filter: Option<Sql>,
    /// `by:` (daypart, weekday)
    pub by: Vec<TimePart>,
    /// `min_events:` (5)
    pub min_events: u32,
    /// `smoothing:` weight of everybody's shares, in events (10).
    pub smoothing: f64,
    /// `confidence:` of the interval that must exclude a lift of 1 (0.95).
    pub confidence: f64,
    /// `window:` of days or hours; `None` is `life`.
    pub window: Option<Located<Window>>,
    /// Put before every name.
    pub prefix: Option<Name>,
}

/// Parts of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimePart {
    /// Night, morning, afternoon, evening.
    Daypart,
    /// Monday (1) to Sunday (7).
    Weekday,
    /// 0 to 23.
    Hour,
}

/// An attribute that a model makes.
#[derive(Debug, Clone)]
pub struct AttributeModel {
    /// Name of the attribute.
    pub name: Name,
    /// The model and its version.
    pub model: Name,
    /// The block's source or table.
    pub from: Name,
    /// The block's `where:`.
    pub filter: Option<Sql>,
    /// `horizon:`
    pub horizon: Option<Located<Ago>>,
    /// `holdout:`
    pub holdout: Option<Located<Ago>>,
}

/// What else is said of an attribute.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// `purpose:` the only one it may be used for.
    pub purpose: Option<Name>,
    /// `fresh:` older values are null.
    pub fresh: Option<Located<Ago>>,
    /// `label:` where the value comes from.
    pub label: Option<Name>,
    /// `class:` how personal it is.
    pub class: Option<super::Class>,
}

/// How `rfm@1` scores.
#[derive(Debug, Clone, PartialEq)]
pub enum RfmMode {
    /// Equal groups by value and key.
    Ntile,
    /// At linearly interpolated quantiles, right-closed, equal edges dropped.
    Edges,
    /// At given cuts.
    Fixed(RfmCuts),
    /// At the cuts of an earlier run, kept under a name.
    Frozen(Name),
}

/// Where scores change: ascending, one fewer than `bins`.
#[derive(Debug, Clone, PartialEq)]
pub struct RfmCuts {
    /// Of recency.
    pub r: Vec<f64>,
    /// Of frequency.
    pub f: Vec<f64>,
    /// Of money.
    pub m: Vec<f64>,
}

/// How a segmentation is made that this version cannot make; its `method` is `Method::Flag` then, and means nothing.
#[derive(Debug, Clone)]
pub enum PlannedMethod {
    /// `sql:` the value is the segment.
    Sql {
        /// Expression.
        sql: Sql,
        /// Label outside `where`.
        others: Option<Name>,
    },
    /// `watch:` how segments move between runs.
    Watch(Watch),
}

/// `lifecycle@2`: stages by each one's own interval between purchases.
/// Who bought on no day has no stage, or is a prospect. τ = (gap_days + prior_gaps × mean interval of the cohort) / (gaps + prior_gaps); overdue = recency_days / τ.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    /// Days on which something was bought.
    pub purchase_days: Sql,
    /// Days since the last of them.
    pub recency_days: Sql,
    /// Sum of the days between one and the next.
    pub gap_days: Sql,
    /// Number of such gaps.
    pub gaps: Sql,
    /// Days of the last such gap; with it, the cut-offs that are not given follow from it.
    pub last_gap: Option<Sql>,
    /// Attribute whose mean interval stands in for missing gaps; `None`: everybody's.
    pub cohort: Option<Name>,
    /// How many gaps that mean counts for (4).
    pub prior_gaps: f64,
    /// At most so many purchase days are new (3).
    pub new_until: u32,
    /// Slipping beyond this; 2, or found from `last_gap`.
    pub slipping: Option<f64>,
    /// Who was slipping or lapsed and bought nothing since leaves slipping below this; 1.5, or three quarters of a `slipping` that is found.
    pub back: Option<f64>,
    /// Lapsed beyond this; 4, or found from `last_gap`.
    pub lapsed: Option<f64>,
    /// Lapsed after so many days, whatever the interval.
    pub cap_days: Option<u64>,
    /// `prospect` is a stage of its own.
    pub prospect: bool,
    /// `reactivated` is a stage of its own.
    pub reactivated: bool,
    /// Folder of the published table with the stages of earlier runs.
    pub state: Option<Name>,
    /// Label outside `where`.
    pub others: Option<Name>,
}

impl Lifecycle {
    /// `slipping` where nothing says what it is.
    pub const SLIPPING: f64 = 2.0;
    /// `lapsed` where nothing says what it is.
    pub const LAPSED: f64 = 4.0;
    /// `back` where `slipping` is not found.
    pub const BACK: f64 = 1.5;

    /// `back`, where slipping is beyond `slipping`.
    pub fn back(&self, slipping: f64) -> f64 {
        let is_found = self.slipping.is_none() && self.last_gap.is_some();
        self.back.unwrap_or(if is_found { 0.75 * slipping } else { Self::BACK })
    }
}

/// How segments move between runs.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Segmentations.
    pub of: Vec<Name>,
    /// Warns from this population stability index on.
    pub psi_warn: Option<f64>,
    /// Stops from this population stability index on.
    pub psi_stop: Option<f64>,
    /// Between which runs moves are counted: `run`, `monthly`, `quarterly`.
    pub migration: Option<Name>,
}

/// Settings of `kmeans` that this version cannot run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KMeansPlanned {
    /// `k: 4..9`
    pub k_from: Option<(u32, u32)>,
    /// `scale: robust`
    pub robust: bool,
    /// `init: kmeans_parallel`; `KMeans::init` is empty then.
    pub parallel_init: bool,
    /// `nulls: median`
    pub median_for_nulls: bool,
    /// `outliers: p99_5`
    pub leave_out_p99_5: bool,
    /// `refit:`
    pub refit: Option<String>,
    /// `min_stability:`
    pub min_stability: Option<f64>,
}
