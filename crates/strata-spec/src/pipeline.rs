//! The checked pipeline: what a file says once every rule that needs no data has been held against it.
//! Never holds raw YAML, and never an Arrow or SQL type: SQL stays text with its place.

use crate::text::{Located, Name, Span, Sql};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

pub mod contract;
pub mod export;
pub mod identity;
pub mod people;
pub mod preset;
pub mod test;
pub mod wave;

pub use contract::{Check, Drift, Licence, RowHistory};
pub use export::{Anonymity, Export, LadderStep, Pseudonym, PseudonymOf, WeightsShown};
pub use identity::{ConsentLog, Identity, OnMerge};
pub use people::{Personalise, Personas, TypingTool};
pub use preset::{AttributeModel, AttributePreset, KMeansPlanned, PlannedMethod, RfmMode, Terms};
pub use test::UnitTest;
pub use wave::{AllocateBy, AllocateRule, Design, Draw, Fatigue, Further, WavePart};

/// A whole pipeline file.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// `name:`
    pub name: Name,
    /// `as_of:`
    pub as_of: AsOf,
    /// `timezone:` (UTC if absent): days, hours and calendar windows are counted in it.
    pub timezone: Tz,
    /// `vars:` after `-p`; already replaced in every string.
    pub vars: Vec<(String, String)>,
    /// `sources:`
    pub sources: Vec<Source>,
    /// `entities:`
    pub entities: Vec<Entity>,
    /// `consent:`
    pub consent: Option<Consent>,
    /// `tables:`
    pub tables: Vec<Table>,
    /// `attributes:`, one an entity.
    pub attributes: Vec<EntityAttributes>,
    /// `segments:`
    pub segments: Vec<Segmentation>,
    /// `profiles:`
    pub profiles: Vec<Profile>,
    /// `panel:`
    pub panel: Option<Panel>,
    /// `outputs:` without `defaults`, which are already applied.
    pub outputs: Vec<Output>,
    /// `tests:`
    pub tests: Vec<UnitTest>,
    /// `include:` files of the same folder.
    pub include: Vec<Name>,
    /// `identity:`
    pub identity: Vec<Identity>,
    /// `personas:`
    pub personas: Option<Personas>,
    /// `typing_tool:`
    pub typing_tool: Option<TypingTool>,
    /// `personalise:`
    pub personalise: Option<Personalise>,
}

/// The pipeline's only clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsOf {
    /// `${run.as_of}` or absent: from `--as-of`, else the start of today in the time zone.
    Run,
    /// An instant in the file.
    Literal(Located<DateTime<Utc>>),
}

/// File formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFormat {
    /// Parquet.
    Parquet,
    /// CSV with a header line, UTF-8, RFC 4180. Its columns must be declared.
    Csv,
}

/// Whether rows are only ever added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Rows are added and never change.
    Append,
    /// Rows change in place; the past cannot be rebuilt.
    Mutable,
}

/// An input table.
#[derive(Debug, Clone)]
pub struct Source {
    /// Key under `sources:`.
    pub name: Name,
    /// `parquet:` or `csv:`
    pub format: ReadFormat,
    /// A file, a folder (every file of the format below it) or a glob (`*`, `**`, `?`, `[..]`).
    pub path: Name,
    /// `mode:` (append if there is a `time:`, else mutable).
    pub mode: Mode,
    /// `time:` the event time; rows at or after `as_of` are not used.
    pub time: Option<Name>,
    /// `late:` how late rows may arrive, in microseconds.
    pub late_us: Option<i64>,
    /// `learned_later:` columns that read as null while their own time is at or after `as_of`.
    pub learned_later: Vec<LearnedLater>,
    /// `key:`
    pub key: Vec<Name>,
    /// `duplicates:` what to do with rows of one key.
    pub duplicates: Option<Duplicates>,
    /// `where:` over the source's own columns; rows that fail it are counted as filtered.
    pub filter: Option<Sql>,
    /// `references:` left joins on the other source's declared key.
    pub references: Vec<Reference>,
    /// `derive:` row columns, top to bottom.
    pub derive: Vec<(Name, Sql)>,
    /// `columns:` the contract, if declared. Empty: types are read from the files.
    pub columns: Vec<ColumnContract>,
    /// `classes:` and the classes inside `columns:`.
    pub classes: Vec<(Name, Class)>,
    /// `checks:` and what `columns:` says of values.
    pub checks: Vec<Check>,
    /// `drift:`
    pub drift: Option<Drift>,
    /// `history:`
    pub history: Option<RowHistory>,
    /// `licence:`
    pub licence: Option<Licence>,
    /// A format that this version cannot read; `format` means nothing then.
    pub planned_format: Option<Name>,
}

/// Columns known only from a later moment on.
#[derive(Debug, Clone)]
pub struct LearnedLater {
    /// Time column.
    pub time: Name,
    /// Columns that read as null before it.
    pub columns: Vec<Name>,
}

/// `duplicates:`
#[derive(Debug, Clone)]
pub enum Duplicates {
    /// Copies are identical: any one is kept; keys whose copies differ are quarantined, all copies.
    Identical(Span),
    /// `keep: latest by <order>`: the first row of the order is kept.
    KeepLatest(Sql),
}

/// A left join on another source's declared key.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Own columns, as many as the other's key has.
    pub columns: Vec<Name>,
    /// The other source.
    pub source: Name,
    /// The name its columns are known by (`stores as home_store`); the source's own name if not said.
    pub alias: Name,
}

/// One declared column.
#[derive(Debug, Clone)]
pub struct ColumnContract {
    /// Name.
    pub name: Name,
    /// Type as written, lower case, without `!`: `string`, `int`, `bigint`, `double`, `boolean`, `date`, `timestamp`,
    /// `decimal(p,s)`.
    pub kind: Located<ColumnKind>,
    /// False if the type ends in `!`.
    pub nullable: bool,
    /// `enum(a,b)`: the values allowed.
    pub allowed: Vec<String>,
    /// `on_fail:` what a row gets whose value is null, or not allowed, against this declaration.
    pub on_fail: Option<Located<contract::OnFail>>,
}

/// Column types that a contract can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// UTF-8 text.
    String,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Bigint,
    /// IEEE double.
    Double,
    /// True or false.
    Boolean,
    /// Calendar day.
    Date,
    /// Microseconds, UTC.
    Timestamp,
    /// Exact decimal: precision, scale.
    Decimal(u8, i8),
}

/// How personal a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Names a person by itself.
    DirectId,
    /// Names a person together with others.
    QuasiId,
    /// Special categories.
    Sensitive,
    /// Not personal.
    None,
}

/// `entities:` a roster; every row of it gets a row of attributes.
#[derive(Debug, Clone)]
pub struct Entity {
    /// Key under `entities:`.
    pub name: Name,
    /// The roster source.
    pub from: Name,
    /// Entity key: a column of the roster, and of each source and table that knows the entity.
    pub key: Name,
    /// `value:` an attribute that says what a row is worth, for shares in reports.
    pub value: Option<Sql>,
}

/// `consent:` by current flags on the roster.
#[derive(Debug, Clone)]
pub struct Consent {
    /// Source with the flags.
    pub from: Name,
    /// Purposes in order.
    pub purposes: Vec<(Name, Purpose)>,
    /// `log:` the source is a log of what was said; purposes are then the states that grant them.
    pub log: Option<ConsentLog>,
    /// `expires:`
    pub expires: Option<Located<Ago>>,
    /// `on_merge:`
    pub on_merge: Option<OnMerge>,
}

/// Who may be used for a purpose.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// `always`
    Always,
    /// Where the expression over the consent source is true.
    Flag(Sql),
}

/// `tables:` a named SELECT.
#[derive(Debug, Clone)]
pub struct Table {
    /// Key under `tables:`.
    pub name: Name,
    /// `key:` unique in the result; checked.
    pub key: Vec<Name>,
    /// `time:` for windows over it.
    pub time: Option<Name>,
    /// `sql:`
    pub sql: Sql,
    /// `checks:`
    pub checks: Vec<Check>,
}

/// `attributes:` of one entity.
#[derive(Debug, Clone)]
pub struct EntityAttributes {
    /// Which entity.
    pub entity: Name,
    /// Blocks as written.
    pub blocks: Vec<Block>,
    /// `- preset:` blocks.
    pub presets: Vec<AttributePreset>,
    /// `{model: …}` in `- from:` blocks.
    pub models: Vec<AttributeModel>,
}

/// A block of attributes.
#[derive(Debug, Clone)]
pub enum Block {
    /// `row:` expressions over the entity's own row and other attributes.
    Row(Vec<RowAttribute>),
    /// `from:` aggregates over a source or table, by the entity key.
    From(FromBlock),
}

/// One row expression.
#[derive(Debug, Clone)]
pub struct RowAttribute {
    /// Name; `_name` is not published.
    pub name: Name,
    /// What it is.
    pub value: RowValue,
    /// What else is said of it.
    pub terms: Terms,
}

/// What a row attribute or segmentation computes.
#[derive(Debug, Clone)]
pub enum RowValue {
    /// An expression.
    Sql(Sql),
    /// `rules:` the first label whose condition holds.
    Rules(Vec<Rule>),
}

/// `label: condition`.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The label given.
    pub label: Name,
    /// Condition; `None` is `else`.
    pub when: Option<Sql>,
}

/// Aggregates over one source or table.
#[derive(Debug, Clone)]
pub struct FromBlock {
    /// Source or table.
    pub from: Name,
    /// `where:`
    pub filter: Option<Sql>,
    /// Aggregates; those with `windows:` are already spread, one an element.
    pub columns: Vec<AggregateAttribute>,
}

/// One aggregate.
#[derive(Debug, Clone)]
pub struct AggregateAttribute {
    /// Name; `_name` is not published.
    pub name: Name,
    /// Aggregate expression.
    pub sql: Sql,
    /// Trailing window; `None` is `life`.
    pub window: Option<Located<Window>>,
    /// What else is said of it.
    pub terms: Terms,
}

/// A trailing window, half open: `[as_of − from, as_of − to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Distance of its start.
    pub from: Ago,
    /// Distance of its end; zero for a plain `90d`.
    pub to: Ago,
}

/// A distance back from `as_of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ago {
    /// Exact, in microseconds (`90d` is 90 × 24 h).
    Micros(i64),
    /// Calendar months in the time zone.
    Months(u32),
}

/// `segments:` one segmentation.
#[derive(Debug, Clone)]
pub struct Segmentation {
    /// Key under `segments:`.
    pub name: Name,
    /// Which entity (the first if not said).
    pub entity: Name,
    /// `where:` who takes part. For a plain `where` segmentation this is the segment itself.
    pub filter: Option<Sql>,
    /// How.
    pub method: Method,
    /// How, if this version cannot.
    pub planned: Option<PlannedMethod>,
    /// `min_size:`
    pub min_size: Option<u64>,
}

/// How a segmentation is made.
#[derive(Debug, Clone)]
pub enum Method {
    /// `rules:` first label that holds; `others` outside `where` (null if absent).
    Rules {
        /// In order.
        rules: Vec<Rule>,
        /// Label outside `where`.
        others: Option<Name>,
    },
    /// `where:` alone: true or false.
    Flag,
    /// `by:` the crossed values of attributes, joined with ` · `.
    By {
        /// Attributes.
        by: Vec<Name>,
        /// Label outside `where`.
        others: Option<Name>,
    },
    /// `quantile:` equal groups by (value, key), 1 to `bins`, or their `names`.
    Quantile {
        /// Value.
        of: Sql,
        /// Number of groups.
        bins: u32,
        /// Names from the lowest group up; empty: numbers.
        names: Vec<Name>,
        /// Label outside `where`.
        others: Option<Name>,
    },
    /// `method: rfm@1`
    Rfm(Rfm),
    /// `method: kmeans`
    KMeans(KMeans),
    /// `method: lifecycle@2`
    Lifecycle(Box<preset::Lifecycle>),
}

/// `rfm@1`
#[derive(Debug, Clone)]
pub struct Rfm {
    /// Recency: the smaller, the better.
    pub recency: Sql,
    /// Frequency.
    pub frequency: Sql,
    /// Monetary value.
    pub monetary: Sql,
    /// Groups a score (5).
    pub bins: u32,
    /// `mode:`
    pub mode: Box<RfmMode>,
    /// `r_order:` of `ntile`; descending (default): over recency descending then key; reversed: bins + 1 − ntile ascending.
    pub r_order: RecencyOrder,
    /// Column names (`r_score`, `f_score`, `m_score`, `rfm_cell`).
    pub columns: RfmColumns,
    /// Values outside `where`; `None`: null.
    pub others: Option<RfmOthers>,
}

/// Names of the columns that `rfm@1` makes.
#[derive(Debug, Clone)]
pub struct RfmColumns {
    /// Recency score.
    pub r: Name,
    /// Frequency score.
    pub f: Name,
    /// Monetary score.
    pub m: Name,
    /// The three digits.
    pub cell: Name,
    /// `segment:` the named segment.
    pub segment: Option<Box<Name>>,
}

/// Values of the `rfm@1` columns outside `where`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RfmOthers {
    /// Recency score.
    pub r: i32,
    /// Frequency score.
    pub f: i32,
    /// Monetary score.
    pub m: i32,
    /// Cell.
    pub cell: String,
    /// Named segment.
    pub segment: Option<String>,
}

/// Direction of the recency score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecencyOrder {
    /// ntile over recency descending, then key.
    Descending,
    /// bins + 1 − ntile over recency ascending, then key.
    Reversed,
}

/// `method: kmeans`
#[derive(Debug, Clone)]
pub struct KMeans {
    /// Number of clusters.
    pub k: u32,
    /// Named expressions.
    pub features: Vec<(Name, Sql)>,
    /// `scale:`
    pub scale: Scale,
    /// `init:`
    pub init: Init,
    /// `iterations:` at most.
    pub iterations: u32,
    /// `tolerance:` squared shift below which it stops, as a share of the mean variance; 0: until no assignment changes.
    pub tolerance: f64,
    /// `empty:`
    pub empty: EmptyCluster,
    /// `names:` of clusters 0..k; empty: numbers, and the column is an integer.
    pub names: Vec<Name>,
    /// Settings that this version cannot run.
    pub planned: KMeansPlanned,
    /// Label outside `where`.
    pub others: Option<Name>,
}

/// How features are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Mean and population standard deviation; 0 where that is 0.
    Standard,
    /// As they are.
    None,
}

/// Where centroids start.
#[derive(Debug, Clone)]
pub enum Init {
    /// The first k rows by an expression, ties by key.
    FirstBy(Sql),
    /// Given, k rows of one number a feature, on the scaled features.
    Centroids(Vec<Vec<f64>>),
}

/// What an empty cluster does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyCluster {
    /// Its centroid stays where it was.
    Stays,
    /// It moves to the farthest point.
    Farthest,
}

/// `profiles:` one long table over segmentations.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Key under `profiles:`.
    pub name: Name,
    /// Segmentations.
    pub of: Vec<Name>,
    /// Named expressions to describe.
    pub describe: Vec<(Name, Sql)>,
    /// `stats:` (mean, index).
    pub stats: Vec<Stat>,
    /// `min_cell:` segments smaller than this are left out.
    pub min_cell: Option<u64>,
}

/// A statistic of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stat {
    /// `mean_x`
    Mean,
    /// `index_x` = 100 × mean in segment / mean of all.
    Index,
}

/// `panel:`
#[derive(Debug, Clone)]
pub struct Panel {
    /// Which entity.
    pub entity: Name,
    /// `members.where` or `members.rules`, in order; a single `where` is one rule named by its text.
    pub rules: Vec<(Name, Sql)>,
    /// `members.purpose`
    pub purpose: Option<Name>,
    /// `members.exclude` segments that cannot be drawn.
    pub exclude: Vec<Name>,
    /// `fatigue:`
    pub fatigue: Option<Fatigue>,
    /// What exclusions, fatigue and earlier waves add to the rules.
    pub made: Vec<wave::MadeRule>,
    /// `numbers:` the name of the permanent random numbers; the pipeline's if absent.
    pub numbers_of: Option<Name>,
    /// Source of the permanent random numbers.
    pub numbers: Numbers,
    /// `state:` where a drawn wave is published, `{wave}` in place of its name.
    pub state: Option<Name>,
    /// `waves:`
    pub waves: Vec<Wave>,
}

/// Key of the permanent random numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Numbers {
    /// `seed:` public; anybody with the file can repeat the draw. 0 if nothing is said.
    Seed(u64),
    /// `key: env:NAME` a secret, resolved where it is used.
    Env(Name),
}

/// One wave.
#[derive(Debug, Clone)]
pub struct Wave {
    /// Key under `waves:`.
    pub name: Name,
    /// `sample:`
    pub sample: Located<Sample>,
    /// `sample_of:` what a percentage is of.
    pub sample_of: SampleOf,
    /// `strata:` attributes and segmentations, crossed.
    pub strata: Vec<Name>,
    /// `allocate:`
    pub allocate: Allocate,
    /// `order:` replaces the permanent random number; ties by key.
    pub order: Option<Sql>,
    /// `weights:`
    pub weights: Option<Weights>,
    /// What else it says.
    pub further: Further,
}

/// How many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// That many.
    Count(u64),
    /// Parts per million of the base, rounded down (2 % = 20,000).
    PartsPerMillion(u64),
}

/// What a percentage is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleOf {
    /// Everyone on the roster.
    All,
    /// Eligible members.
    Members,
}

/// `allocate: {by: proportional, ..}`
#[derive(Debug, Clone)]
pub struct Allocate {
    /// `by:` and what goes with it.
    pub by: AllocateBy,
    /// `min:` at least so many a stratum (or all of it).
    pub min: u64,
    /// `max:` at most so many a stratum.
    pub max: Option<u64>,
    /// `rounding:`
    pub rounding: Rounding,
    /// `after_bounds:`
    pub after_bounds: AfterBounds,
}

/// How fractions of people become people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rounding {
    /// Down, and what is left over to the greatest remainders; the total is exact.
    #[default]
    LargestRemainder,
    /// To the nearest, halves up; the total may change.
    Nearest,
    /// Down; the total may fall.
    Floor,
    /// Up; the total may rise.
    Ceiling,
    /// Up or down by chance, on average what it should be; the total is exact.
    Random,
}

/// Whether bounds may change the total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterBounds {
    /// The total stays exact: the other strata give or take.
    Rebalance,
    /// The bounds are applied once and the total may change.
    Keep,
}

/// `weights:`
#[derive(Debug, Clone)]
pub struct Weights {
    /// `rake:` margins in order.
    pub rake: Vec<Name>,
    /// `population:` who counts for the targets (all if absent).
    pub population: Option<Sql>,
    /// `scale_to:`
    pub scale_to: ScaleTo,
    /// `absent:` what a level without a sampled row does.
    pub absent: Absent,
    /// `tolerance:` greatest relative difference.
    pub tolerance: f64,
    /// `max_iterations:`
    pub max_iterations: u32,
    /// `not_converged:` true: keep the weights, flagged.
    pub keep_not_converged: bool,
    /// `absent: collapse`, and `collapse:`: the margins whose levels may be joined; all if there are none.
    pub collapse: Option<Vec<Name>>,
    /// `cap:` no weight is more than so many times the median.
    pub cap: Option<f64>,
    /// `report:`
    pub report: Vec<Name>,
    /// `nonresponse:`
    pub nonresponse: Option<wave::Nonresponse>,
    /// `calibrate:`
    pub calibrate: Option<wave::Calibrate>,
}

/// What raked weights add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleTo {
    /// The population.
    Population,
    /// The sample size.
    Sample,
}

/// What a level of a margin without a sampled row does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// No weights; the level is named.
    Error,
    /// The level is dropped and the margin's targets rescaled.
    DropAndRescale,
    /// The level is joined with the nearest before it that somebody has, or else behind it.
    Collapse,
}

/// Formats that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFormat {
    /// Parquet behind the atomic pointer.
    Parquet,
    /// CSV behind the atomic pointer.
    Csv,
    /// A Delta table.
    Delta,
    /// JSON lines behind the atomic pointer.
    Jsonl,
    /// An Excel workbook behind the atomic pointer.
    Xlsx,
}

/// What an output keeps of earlier runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum History {
    /// The newest rows take the place of all before them.
    #[default]
    None,
    /// The rows of each as-of stay, under a column `as_of`; a run at the same as-of takes their place.
    Snapshot,
}

/// `outputs:` one declared table.
#[derive(Debug, Clone)]
pub struct Output {
    /// Key under `outputs:`.
    pub name: Name,
    /// Folder, `{name}` already replaced.
    pub to: Name,
    /// `format:`
    pub format: WriteFormat,
    /// `history:`
    pub history: Located<History>,
    /// What the rows are.
    pub from: Rows,
    /// `select:` as written.
    pub select: Vec<Located<Select>>,
    /// `purpose:` only people who consented to it.
    pub purpose: Option<Name>,
    /// `classes:` column classes this output may hold.
    pub classes: Vec<Class>,
    /// `where:` over attributes and segments.
    pub filter: Option<Sql>,
    /// How it guards the people in it.
    pub export: Export,
    /// What it says that this version cannot do.
    pub planned: OutputPlanned,
}

/// What an output says that this version cannot do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputPlanned {
    /// `format:`; `Output::format` means nothing then.
    pub format: Option<String>,
    /// `history:` `scd2`.
    pub history: Option<String>,
    /// `changes_only:`
    pub changes_only: Option<bool>,
    /// `min_cell:`
    pub min_cell: Option<u64>,
    /// `drop:`
    pub drop: Option<Vec<Name>>,
    /// `partition_by:`
    pub partition_by: Option<Vec<Name>>,
    /// `publish:` `together` or `per_table`.
    pub publish: Option<String>,
}

/// What an output's rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// One row an entity.
    Entity(Name),
    /// A wave: one row a drawn panelist.
    Wave(Name),
    /// Another part of a wave.
    WavePart(Name, WavePart),
    /// A profile.
    Profile(Name),
    /// A table under `tables:`.
    Table(Name),
}

/// One thing selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    /// A bare name: attribute, segment column, entity key or a column of the wave.
    Column(String),
    /// `customers.email`: a column of the roster source.
    Source(String, String),
    /// `customer.attributes`: the key and every published attribute.
    Attributes(String),
    /// `customer.segments`: every segment column.
    Segments(String),
    /// `x.*`: every column of a profile or table.
    All(String),
}

impl Pipeline {
    /// The source of that name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|s| s.name.value == name)
    }

    /// The table of that name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|t| t.name.value == name)
    }

    /// The entity of that name.
    pub fn entity(&self, name: &str) -> Option<&Entity> {
        self.entities.iter().find(|e| e.name.value == name)
    }

    /// The segmentation of that name.
    pub fn segmentation(&self, name: &str) -> Option<&Segmentation> {
        self.segments.iter().find(|s| s.name.value == name)
    }

    /// The wave of that name.
    pub fn wave(&self, name: &str) -> Option<&Wave> {
        self.panel.as_ref()?.waves.iter().find(|w| w.name.value == name)
    }
}

impl Segmentation {
    /// The columns this segmentation makes, in order; the first is the one profiles and strata mean by its name.
    pub fn columns(&self) -> Vec<&str> {
        match &self.method {
            Method::Rfm(r) => {
                let digits = [&r.columns.cell, &r.columns.r, &r.columns.f, &r.columns.m];
                digits.into_iter().chain(r.columns.segment.as_deref()).map(|n| n.value.as_str()).collect()
            }
            _ if matches!(self.planned, Some(PlannedMethod::Watch(_))) => Vec::new(),
            _ => vec![&self.name.value],
        }
    }
}
