//! What a run did, for people and machines. Never holds a person's data: counts, names of columns and segments, paths.

use serde::{Deserialize, Serialize};

/// A run report; written as JSON beside the run, and again at each change of its outputs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RunReport {
    /// Version of this format.
    pub format: u32,
    /// Run id.
    pub run_id: String,
    /// Pipeline name.
    pub pipeline: String,
    /// Pipeline file.
    pub file: String,
    /// `as_of`, RFC 3339.
    pub as_of: String,
    /// Time zone of days and hours.
    pub timezone: String,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// `running`, `committing`, `succeeded` or `failed`.
    pub state: String,
    /// `USER`, `DATA_CHECK`, `POLICY`, `TRANSIENT` or `INTERNAL` if it failed.
    pub class: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// Outputs were found at versions of different runs before this one: an earlier run was stopped between its commits.
    pub mixed_before: Option<MixedSet>,
    /// Rows of each source.
    pub sources: Vec<SourceRows>,
    /// Steps in order.
    pub steps: Vec<StepReport>,
    /// Segmentations and their sizes.
    pub segments: Vec<SegmentReport>,
    /// k-means models.
    pub models: Vec<ModelReport>,
    /// Waves of the panel.
    pub panel: Vec<WaveReport>,
    /// Outputs in the order they are committed.
    pub outputs: Vec<OutputReport>,
    /// Which attempt at the run this is, from 1.
    #[serde(default)]
    pub attempt: u32,
    /// Seconds in all.
    pub seconds: f64,
    /// Warnings worth reading.
    pub warnings: Vec<String>,
}

/// Outputs at different versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MixedSet {
    /// Output with the oldest version, and its run.
    pub oldest: (String, String),
    /// Output with the newest version, and its run.
    pub newest: (String, String),
    /// Outputs that were never published.
    pub missing: Vec<String>,
}

/// Rows of a source: `in_files` = `used` + `deduplicated` + `quarantined` + `filtered` + `after_as_of`, where the source was read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SourceRows {
    /// Source.
    pub source: String,
    /// Pinned files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Rows in the files; counted while reading where the format does not tell.
    pub in_files: u64,
    /// False if nothing needed it.
    pub read: bool,
    /// Rows that went on.
    pub used: u64,
    /// Rows of which another copy was used.
    pub deduplicated: u64,
    /// Rows that are put aside: a rule says so, or their copies disagree.
    pub quarantined: u64,
    /// Rows that `where` or a missing key left out.
    pub filtered: u64,
    /// Rows at or after `as_of`.
    pub after_as_of: u64,
    /// What the contract's rules found, in order. Rows that are put aside are counted in `quarantined` as well; the others are used.
    #[serde(default)]
    pub rules: Vec<RuleRows>,
}

/// A rule of a contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRows {
    /// Its name: a check, or `column.not_null` and the like.
    pub rule: String,
    /// `stop`, `quarantine`, `set_null` or `warn`.
    pub on_fail: String,
    /// What is wrong with a row that fails it.
    pub reason: String,
    /// Rows that fail it and no earlier one that puts them aside.
    pub rows: u64,
}

/// One step.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StepReport {
    /// What it did.
    pub label: String,
    /// Seconds.
    pub seconds: f64,
    /// What came of it.
    pub detail: String,
    /// Bytes spilled to disk.
    pub spilled_bytes: u64,
    /// Bytes that tasks handed to other tasks of a cluster.
    #[serde(default)]
    pub shuffled_bytes: u64,
    /// Done by an earlier attempt of the run, not again.
    #[serde(default)]
    pub reused: bool,
}

/// A segmentation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SegmentReport {
    /// Segmentation.
    pub segmentation: String,
    /// What value shares are of.
    pub value_of: Option<String>,
    /// Its segments.
    pub segments: Vec<SegmentSize>,
}

/// A segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SegmentSize {
    /// Label; `None` is nobody's segment.
    pub segment: Option<String>,
    /// Members.
    pub rows: u64,
    /// Share of all.
    pub share: f64,
    /// Share of all value.
    pub value_share: Option<f64>,
}

/// A solved k-means.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelReport {
    /// Segmentation.
    pub segmentation: String,
    /// Rows it was solved on.
    pub rows: u64,
    /// Lloyd iterations.
    pub iterations: u32,
    /// Whether it stopped by itself.
    pub settled: bool,
    /// Sum of squared distances to the nearest centroid, on scaled features.
    pub inertia: f64,
}

/// A wave.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct WaveReport {
    /// Wave.
    pub wave: String,
    /// Everyone on the roster.
    pub roster: u64,
    /// (rule, how many failed it first), in order.
    pub waterfall: Vec<(String, u64)>,
    /// The same by stratum.
    #[serde(default)]
    pub by_stratum: Vec<StratumWaterfall>,
    /// Members left.
    pub eligible: u64,
    /// Sample asked for; answers, where a response is expected.
    pub asked: u64,
    /// Members that cannot be had of those asked for: the strata have no more.
    #[serde(default)]
    pub shortfall: u64,
    /// Members to invite.
    #[serde(default)]
    pub invited: u64,
    /// Members to draw into the reserve.
    #[serde(default)]
    pub reserve: u64,
    /// Answers fewer than wanted that are expected.
    #[serde(default)]
    pub expected_shortfall: Option<f64>,
    /// Cost of asking the sample, if a cost is stated.
    #[serde(default)]
    pub cost: Option<f64>,
    /// Standard error of the mean of what is to be measured, if that is stated.
    #[serde(default)]
    pub standard_error: Option<f64>,
    /// Members drawn, to be asked at once.
    pub drawn: u64,
    /// Strata.
    pub strata: Vec<StratumReport>,
    /// Quotas.
    #[serde(default)]
    pub quotas: Vec<QuotaReport>,
    /// Earlier waves that this one looks back at.
    #[serde(default)]
    pub overlaps: Vec<OverlapReport>,
    /// Weights, if the wave has any.
    pub weights: Option<WeightReport>,
    /// What the draw follows from: with the same, the same people are drawn.
    #[serde(default)]
    pub record: Option<DrawRecord>,
}

/// What a draw follows from, and how many it drew; the manifests of a wave's outputs keep it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawRecord {
    /// `as_of`, RFC 3339.
    pub as_of: String,
    /// SHA-256 of the pipeline as it was read, variables and presets in place, without comments and places.
    pub pipeline: String,
    /// SHA-256 of what decides who is drawn for the wave.
    pub wave: String,
    /// The name of the permanent random numbers.
    pub numbers: String,
    /// Their seed; none where a secret key makes them.
    pub seed: Option<u64>,
    /// SHA-256 of the pinned files of each source: path, size, time and tag.
    pub frame: std::collections::BTreeMap<String, String>,
    /// Everyone on the roster.
    pub roster: u64,
    /// Members left by the rules.
    pub eligible: u64,
    /// Members drawn, to be asked at once.
    pub drawn: u64,
    /// Members drawn into the reserve.
    pub reserve: u64,
    /// SHA-256 of the allocation: of each stratum how many are eligible, wanted, drawn and in reserve.
    #[serde(default)]
    pub allocation: String,
}

/// Who fails which rule first in one stratum.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StratumWaterfall {
    /// Values of the strata columns.
    pub stratum: Vec<String>,
    /// How many fail each rule first, in the order of the waterfall.
    pub failed: Vec<u64>,
    /// Members left.
    pub eligible: u64,
}

/// A quota.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QuotaReport {
    /// Its columns.
    pub quota: String,
    /// Its level.
    pub level: String,
    /// People wanted.
    pub target: u64,
    /// Eligible people.
    pub eligible: u64,
    /// People that the plan gives it.
    pub planned: u64,
}

/// An earlier wave as a wave sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OverlapReport {
    /// The earlier wave.
    pub before: String,
    /// Its people who are still on the roster.
    pub people: u64,
    /// Those who are eligible now.
    pub due: u64,
    /// Those who are drawn again.
    pub both: u64,
    /// (rule, how many of the others fail it first), in order.
    pub lost: Vec<(String, u64)>,
}

/// What a cap on weights costs and buys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CapReport {
    /// The cap, in median weights.
    pub times_median: f64,
    /// The cap, in weight.
    pub cap: f64,
    /// Rows above it.
    pub cut_rows: u64,
    /// Design effect after cutting alone; none if the cap cannot carry the weights.
    pub deff_trimmed: Option<f64>,
    /// The greatest relative miss of a margin after cutting alone.
    pub missed: Option<f64>,
    /// Design effect of weights within the cap that meet every margin; none if there are none.
    pub deff_within: Option<f64>,
}

/// A stratum.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StratumReport {
    /// Values of the strata columns.
    pub stratum: Vec<String>,
    /// Eligible members.
    pub eligible: u64,
    /// Members drawn, to be asked at once.
    pub drawn: u64,
    /// Answers wanted; members, where no response is expected.
    #[serde(default)]
    pub wanted: u64,
    /// Members drawn into the reserve.
    #[serde(default)]
    pub reserve: u64,
    /// Response rate expected.
    #[serde(default)]
    pub response: Option<f64>,
    /// Answers expected.
    #[serde(default)]
    pub expected: Option<f64>,
}

/// Weights of a wave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WeightReport {
    /// Margins.
    pub rake: Vec<String>,
    /// Sweeps over the margins.
    pub iterations: u32,
    /// Whether every target was met.
    pub converged: bool,
    /// Greatest relative miss of a target.
    pub worst: f64,
    /// Sum of the weights.
    pub sum: f64,
    /// Smallest weight.
    pub min: f64,
    /// Largest weight.
    pub max: f64,
    /// Design effect of weighting, n Σw² / (Σw)².
    pub deff: f64,
    /// Effective sample size, n / deff.
    pub ess: f64,
    /// What caps on weights would cost and buy, if that is asked for.
    #[serde(default)]
    pub caps: Vec<CapReport>,
    /// Levels of margins that nobody in the sample has.
    pub dropped: Vec<String>,
    /// Such levels that were joined with another, and with which.
    #[serde(default)]
    pub joined: Vec<String>,
}

/// An output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutputReport {
    /// Output.
    pub name: String,
    /// Table folder.
    pub table: String,
    /// What readers open: the folder of the files, of a Delta table its own.
    pub path: String,
    /// The run whose files they are.
    #[serde(default)]
    pub run_id: String,
    /// Format.
    pub format: String,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// Whether readers see it.
    pub committed: bool,
    /// What guarding the people in it cost, where it does.
    #[serde(default)]
    pub guard: Option<GuardReport>,
}

/// What it cost that nobody in an output stands out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GuardReport {
    /// Output.
    pub output: String,
    /// People in a group, at least.
    pub k: u64,
    /// People in the output, or in its counts.
    pub people: u64,
    /// Groups of people who look alike.
    pub groups: u64,
    /// People in the smallest.
    pub smallest: Option<u64>,
    /// People whose columns are left empty.
    pub left_empty: u64,
    /// (column, the step of its ladder that was taken).
    pub steps: Vec<(String, u64)>,
    /// Mean over columns of the step taken over the steps there are.
    pub loss: f64,
    /// Counts that are not shown.
    pub hidden_cells: u64,
    /// Of counts: earlier waves whose published counts these were held against, each with its as-of.
    #[serde(default)]
    pub held_against: Vec<(String, String)>,
    /// Of counts: counts and sums that differ by 1 to k − 1 people from those of an earlier wave, and so are not told.
    #[serde(default)]
    pub apart: u64,
}

impl SourceRows {
    /// Rows accounted for.
    pub fn accounted(&self) -> u64 {
        self.used + self.deduplicated + self.quarantined + self.filtered + self.after_as_of
    }
}
