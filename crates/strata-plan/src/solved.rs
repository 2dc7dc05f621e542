//! What models solved from summaries: cuts, centroids, allocations, weights. Versioned artifacts of a run; never hold a person's data beyond
//! the keys that cuts fall on.

use crate::segments::Boundary;
use datafusion::common::ScalarValue;
use std::collections::BTreeMap;
use strata_spec::Pipeline;
use strata_spec::pipeline::Method;

/// Clusters that a stand-in has at most: none of them is looked at.
const CLUSTERS_TYPED: u32 = 1000;

/// Everything solved so far.
#[derive(Debug, Clone, Default)]
pub struct Solved {
    /// Cuts of each ranking, `<segmentation>` for quantiles and `<segmentation>.r|f|m` for RFM; lowest score first.
    pub cuts: BTreeMap<String, Vec<Boundary>>,
    /// Clusters of each k-means.
    pub clusters: BTreeMap<String, Clusters>,
    /// Mean intervals of each `lifecycle@2`.
    pub intervals: BTreeMap<String, Intervals>,
    /// Allocation of each wave.
    pub allocations: BTreeMap<String, Vec<Allocation>>,
    /// Weights of each wave.
    pub factors: BTreeMap<String, Vec<Factors>>,
    /// How coarsely each output with `anonymity` shows its people; of the run itself only.
    pub guards: BTreeMap<String, Guard>,
}

/// How people of an output are shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guard {
    /// One a group of people who look alike.
    pub rows: Vec<GuardRow>,
}

/// How people who look alike are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardRow {
    /// What they have in the columns of `over`, as text, and their rounded weights.
    pub key: Vec<Option<String>>,
    /// What is shown of those columns.
    pub shown: Vec<Option<String>>,
    /// What is shown of each weight.
    pub weights: Vec<Option<f64>>,
}

/// Solved k-means: features are scaled by (x − mean) / deviation, 0 where the deviation is 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    /// Mean of each feature.
    pub means: Vec<f64>,
    /// Population standard deviation of each feature.
    pub deviations: Vec<f64>,
    /// k × d, row by row.
    pub centroids: Vec<f64>,
}

/// Mean days between one purchase day and the next, and from how many of them on somebody is overdue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Intervals {
    /// Of everybody; `None` where nobody has a gap.
    pub everybody: Option<f64>,
    /// Of each cohort that has gaps, by its value as text, rising.
    pub cohorts: Vec<(String, f64)>,
    /// Slipping beyond so many intervals.
    pub slipping: f64,
    /// Lapsed beyond so many.
    pub lapsed: f64,
}

/// What a stratum gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// Values of the strata columns.
    pub stratum: Vec<ScalarValue>,
    /// Eligible members.
    pub eligible: u64,
    /// Members drawn to be asked at once.
    pub drawn: u64,
    /// Members drawn into the reserve.
    pub reserve: u64,
    /// Answers wanted of it; members drawn, where no response is expected.
    pub wanted: u64,
    /// Of draws by size: probability = size × scale, below the size from which on a member is certain.
    pub scale: f64,
    /// That size; infinite if nobody is certain.
    pub certain_from: f64,
}

/// Weight factor of a cell of margins.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// Values of the margin columns.
    pub cell: Vec<ScalarValue>,
    /// Weight = design weight × factor.
    pub factor: f64,
}

impl Solved {
    /// Stand-ins with the right shapes, so that everything can be typed before anything is solved.
    pub(crate) fn placeholder(pipeline: &Pipeline) -> Self {
        let mut out = Self::default();
        for segmentation in &pipeline.segments {
            let name = &segmentation.name.value;
            match &segmentation.method {
                Method::Quantile { .. } => {
                    out.cuts.insert(name.clone(), vec![]);
                }
                Method::Rfm(_) => {
                    ["r", "f", "m"].iter().for_each(|s| {
                        out.cuts.insert(format!("{name}.{s}"), vec![]);
                    });
                }
                Method::Lifecycle(_) => {
                    let typed = Intervals { everybody: Some(1.0), slipping: 2.0, lapsed: 4.0, ..Intervals::default() };
                    out.intervals.insert(name.clone(), typed);
                }
                Method::KMeans(k) => {
                    let d = k.features.len();
                    // Of a file that is wrong it may be any number.
                    let centroids = vec![0.0; d * k.k.min(CLUSTERS_TYPED) as usize];
                    out.clusters.insert(name.clone(), Clusters { means: vec![0.0; d], deviations: vec![1.0; d], centroids });
                }
                _ => {}
            }
        }
        out
    }
}
