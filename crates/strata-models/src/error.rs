//! The one error of this crate, and what kind of thing is to be done about it; larger solvers spell out their own
//! refusals, which it holds. It never carries a wrapped message of another library.

/// What a solver returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Who has to act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The pipeline asks for something that cannot be: fix the pipeline.
    Invalid,
    /// The data break what the method needs: fix the data (or let the pipeline allow it).
    Contract,
    /// The caller broke this crate's rules: report it.
    Internal,
}

/// Why a solver gave no answer. Text of the user's (margins, levels) is in backticks.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes that are not the state they were said to be.
    #[error("the stored state of {what} cannot be read: {detail}; delete it and run again to rebuild it")]
    Corrupt {
        /// Which state was read.
        what: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Arrays whose lengths do not fit together.
    #[error("{what}: {found} given, {wanted} needed")]
    Shape {
        /// Which array.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length it must have.
        wanted: usize,
    },
    /// Equal groups need at least one group.
    #[error("0 equal groups asked for; ask for at least 1")]
    NoTiles,
    /// The counts pushed do not add up to the total given first.
    #[error("equal groups over {declared} rows were given the counts of {pushed} rows")]
    TileTotal {
        /// The total the solver was made with.
        declared: u64,
        /// The sum of the counts.
        pushed: u64,
    },
    /// A sample of nobody.
    #[error("the sample size is 0; raise `sample`")]
    EmptySample,
    /// Bounds that exclude each other.
    #[error("the minimum of {min} rows a stratum is above the maximum of {max}; lower `min` or raise `max`")]
    Bounds {
        /// The minimum asked for.
        min: u64,
        /// The maximum asked for.
        max: u64,
    },
    /// The minima alone need more than the sample.
    #[error(
        "a minimum of {min} in each of {strata} strata needs {minima} rows but the sample is {sample}; \
         raise `sample`, lower `min` or merge strata"
    )]
    Minima {
        /// The minimum asked for.
        min: u64,
        /// Strata with at least one row.
        strata: usize,
        /// Sum over the strata of min(minimum, rows of the stratum).
        minima: u64,
        /// The sample size.
        sample: u64,
    },
    /// More rows than a 64-bit count.
    #[error("the strata hold more than 2^64 rows together")]
    TooManyRows,
    /// A share that is no share.
    #[error("share {index} is {value}; shares must be finite, not negative, and not all 0")]
    Share {
        /// Position of the share.
        index: usize,
        /// The share.
        value: f64,
    },
    /// No margins to rake to.
    #[error("raking needs at least one margin; add one to `rake`")]
    NoMargins,
    /// A parameter outside its range.
    #[error("`{name}` is {value}; {wanted}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What it must be.
        wanted: &'static str,
    },
    /// Raking of nobody.
    #[error("there are no rows to weight")]
    NoRows,
    /// A target that is no count.
    #[error("the target of level `{level}` of margin `{margin}` is {target}; targets must be finite and not negative")]
    Target {
        /// The margin.
        margin: String,
        /// The level.
        level: String,
        /// Its target.
        target: f64,
    },
    /// Margins of different populations.
    #[error(
        "the targets of margin `{margin}` add up to {total} but those of `{first}` to {first_total}; \
         make them describe the same population, or ask for rescaling"
    )]
    MarginTotals {
        /// The margin that disagrees.
        margin: String,
        /// The sum of its targets.
        total: f64,
        /// The first margin.
        first: String,
        /// The sum of the first margin's targets.
        first_total: f64,
    },
    /// A level of the population that no row has.
    #[error(
        "no row has level `{level}` of margin `{margin}`, whose target is {target}; \
         merge the level with another, or set `absent: drop_and_rescale`"
    )]
    AbsentLevel {
        /// The margin.
        margin: String,
        /// The level.
        level: String,
        /// Its target.
        target: f64,
    },
    /// Rows at a level the population does not have.
    #[error(
        "{rows} rows have level `{level}` of margin `{margin}`, whose target is 0; remove them from the sample or merge the level"
    )]
    ZeroTarget {
        /// The margin.
        margin: String,
        /// The level.
        level: String,
        /// Rows at the level.
        rows: u64,
    },
    /// Rows without a level.
    #[error("{rows} rows have no value for margin `{margin}`; give them a level of their own or fill them in")]
    NullLevel {
        /// The margin.
        margin: String,
        /// Rows without a level.
        rows: u64,
    },
    /// Rows at a level without a target.
    #[error("{rows} rows have level `{level}` of margin `{margin}`, which has no target; add a target or merge the level")]
    UntargetedLevel {
        /// The margin.
        margin: String,
        /// The level.
        level: String,
        /// Rows at the level.
        rows: u64,
    },
    /// A base weight that is no weight.
    #[error("the base weights of {rows} rows (cell {cell}) add up to {weight}; base weights must be finite and above 0")]
    BaseWeight {
        /// Position of the cell.
        cell: usize,
        /// Sum of its base weights.
        weight: f64,
        /// Rows of the cell.
        rows: u64,
    },
    /// Raking that came to no end.
    #[error(
        "raking did not converge in {iterations} iterations: level `{level}` of margin `{margin}` is at {achieved} \
         for a target of {target} ({relative:.2e} off); merge small levels, raise `max_iterations`, \
         or set `not_converged: keep`"
    )]
    NotConverged {
        /// Sweeps made.
        iterations: u32,
        /// The margin of the worst level.
        margin: String,
        /// The worst level.
        level: String,
        /// Its target.
        target: f64,
        /// The sum of its weights.
        achieved: f64,
        /// |achieved − target| / target.
        relative: f64,
    },
    /// Margins that no weights within limits meet.
    #[error(
        "no weights within the limits meet the margins: at best level `{level}` of margin `{margin}` is at {achieved} \
         for a target of {target} ({relative:.2e} off); widen the limits or merge small levels"
    )]
    MarginsInfeasible {
        /// The margin of the level with the greatest relative miss.
        margin: String,
        /// The level.
        level: String,
        /// Its target.
        target: f64,
        /// What comes nearest.
        achieved: f64,
        /// The least possible greatest relative miss.
        relative: f64,
    },
    /// A feature that is NaN or infinite.
    #[error("feature {feature} of point {point} is {value}; features must be finite: fill or filter nulls first")]
    Feature {
        /// Position of the point.
        point: usize,
        /// Position of the feature.
        feature: usize,
        /// Its value.
        value: f64,
    },
    /// Too few points for the clusters.
    #[error("{clusters} clusters asked for but there are {points} points; lower `k`")]
    TooFewPoints {
        /// Clusters asked for.
        clusters: usize,
        /// Points there are.
        points: usize,
    },
    /// People who stay in groups that are too small.
    #[error(
        "{people} people stay in groups of fewer than {k} even after the coarsest step of every ladder, and at most {most} \
         may be left out; declare coarser steps, export fewer columns, or raise `suppress_max`"
    )]
    Anonymity {
        /// The least size of a group.
        k: u64,
        /// The fewest people below it over all coarsenings.
        people: u64,
        /// People who may be left out.
        most: u64,
    },
    /// A number of an array outside its range.
    #[error("{what} {index} is {value}; {wanted}")]
    Value {
        /// What the array holds.
        what: &'static str,
        /// Position in the array.
        index: usize,
        /// The number.
        value: f64,
        /// What it must be.
        wanted: &'static str,
    },
    /// A computation that comes to no end.
    #[error("{what} came to no end in {steps} steps; report it with the numbers that were given")]
    Stuck {
        /// What was computed.
        what: &'static str,
        /// Steps made.
        steps: usize,
    },
    /// Strata could not be allocated.
    #[error(transparent)]
    Allocate(#[from] crate::allocate::Error),
    /// Weights could not be calibrated.
    #[error(transparent)]
    Calibrate(#[from] crate::calibrate::Error),
    /// Nobody could be drawn.
    #[error(transparent)]
    Draw(#[from] crate::draw::Error),
    /// An estimate has no standard error.
    #[error(transparent)]
    Estimate(#[from] crate::estimate::Error),
    /// Quotas that make no sense.
    #[error(transparent)]
    Quota(#[from] crate::quota::Error),
    /// Weights could not be adjusted or trimmed.
    #[error(transparent)]
    Weights(#[from] crate::weights::Error),
    /// A score that RFM does not have.
    #[error("the RFM score {r}{f}{m} is outside 1 to 5")]
    Score {
        /// Recency score.
        r: u8,
        /// Frequency score.
        f: u8,
        /// Monetary score.
        m: u8,
    },
}

impl Error {
    /// Who has to act.
    pub fn kind(&self) -> Kind {
        match self {
            Error::NoTiles
            | Error::EmptySample
            | Error::Bounds { .. }
            | Error::Minima { .. }
            | Error::Share { .. }
            | Error::NoMargins
            | Error::Parameter { .. }
            | Error::Target { .. }
            | Error::MarginTotals { .. }
            | Error::TooFewPoints { .. } => Kind::Invalid,
            Error::Allocate(error) => error.kind(),
            Error::Calibrate(error) => error.kind(),
            Error::Draw(error) => error.kind(),
            Error::Estimate(error) => error.kind(),
            Error::Quota(error) => error.kind(),
            Error::Weights(error) => error.kind(),
            Error::NoRows
            | Error::Value { .. }
            | Error::Anonymity { .. }
            | Error::AbsentLevel { .. }
            | Error::ZeroTarget { .. }
            | Error::NullLevel { .. }
            | Error::UntargetedLevel { .. }
            | Error::BaseWeight { .. }
            | Error::NotConverged { .. }
            | Error::MarginsInfeasible { .. }
            | Error::Feature { .. } => Kind::Contract,
            Error::Corrupt { .. }
            | Error::Shape { .. }
            | Error::TileTotal { .. }
            | Error::Stuck { .. }
            | Error::TooManyRows
            | Error::Score { .. } => Kind::Internal,
        }
    }
}
