//! `segments:`; the keys choose the kind. Never computes one.

use super::{Form, Key, Shape, at_least, key, word, words};

const MIN_SIZE: &str = "leave it out, and use `min_cell` in the profile";

/// A segmentation.
pub(crate) const SEGMENTATION: Form = Form::Either(&[
    Form::Map(&RULES),
    Form::Map(&FLAG),
    Form::Map(&BY),
    Form::Map(&QUANTILE),
    Form::Map(&RFM),
    Form::Map(&LIFECYCLE_1),
    Form::Map(&LIFECYCLE_2),
    Form::Map(&KMEANS),
    Form::Map(&SQL),
    Form::Map(&WATCH),
]);

const ENTITY: Key = key("entity", Form::Text, "Which entity; the first if absent.");
const WHERE: Key = key("where", Form::Sql, "Who takes part.");
const OTHERS: Key = key("others", Form::Either(&[Form::Null, Form::Text]), "The label of those outside `where`; null if absent.");
const SMALL: Key = key("min_size", at_least(1), "Smaller segments are joined to `others`.").later(MIN_SIZE);

/// Words that people look for in a segmentation.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cluster", "write `method: kmeans`"),
    ("preset", "write `method: rfm@1` or `method: lifecycle@1`"),
    ("type", "write `method: rfm@1`, `lifecycle@1` or `kmeans`"),
    ("of", "name the entity with `entity:`"),
    ("when", "write `where: condition`"),
];

/// `rules:`
pub(crate) static RULES: Shape = Shape::new(
    "segmentation",
    "The first rule that holds gives the segment.",
    &[key("rules", Form::Labelled(&Form::Sql), "`label: condition`; `else` comes last."), ENTITY, WHERE, OTHERS, SMALL],
)
.needs(&[&["rules"]])
.elsewhere(ELSEWHERE);

/// `where:` alone.
pub(crate) static FLAG: Shape =
    Shape::new("segmentation", "One segment: true or false.", &[key("where", Form::Sql, "Who is in it."), ENTITY])
        .needs(&[&["where"]])
        .elsewhere(ELSEWHERE);

/// `by:`
pub(crate) static BY: Shape = Shape::new(
    "segmentation",
    "One segment for each combination of values.",
    &[key("by", Form::Names, "Attributes and segmentations."), ENTITY, WHERE, OTHERS, SMALL],
)
.needs(&[&["by"]])
.elsewhere(ELSEWHERE);

/// `quantile:`
pub(crate) static QUANTILE: Shape = Shape::new(
    "segmentation",
    "Equal groups from the lowest value to the highest.",
    &[
        key("quantile", Form::Sql, "The value."),
        key("bins", Form::Whole(2, u32::MAX as u64), "How many groups."),
        key("names", Form::Names, "Their names from the lowest up; numbers if absent."),
        ENTITY,
        WHERE,
        OTHERS,
    ],
)
.needs(&[&["quantile"], &["bins", "names"]])
.elsewhere(ELSEWHERE);

/// `sql:`
pub(crate) static SQL: Shape = Shape::new(
    "segmentation",
    "The value of an expression is the segment.",
    &[
        key("sql", Form::Sql, "An expression over attributes and segments.")
            .later("write the expression as an attribute, and segment `by` it"),
        ENTITY,
        WHERE,
        OTHERS,
        SMALL,
    ],
)
.needs(&[&["sql"]])
.elsewhere(ELSEWHERE);

/// `method: rfm@1`
pub(crate) static RFM: Shape = Shape::new(
    "segmentation",
    "Recency, frequency and money, scored; the highest is best.",
    &[
        key("method", word(&["rfm@1"]), "The preset and its version."),
        ENTITY,
        WHERE,
        key("r", Form::Sql, "Recency: the smaller, the better."),
        key("f", Form::Sql, "Frequency."),
        key("m", Form::Sql, "Money."),
        key("bins", Form::Whole(2, u32::MAX as u64), "Groups of each score (5)."),
        key(
            "mode",
            word(&["ntile", "edges", "fixed", "frozen"]),
            "`ntile`: equal groups; `edges`: at quantiles, ties stay together; `fixed`: at `cuts`; `frozen`: at kept edges.",
        ),
        key(
            "cuts",
            Form::Either(&[Form::Text, Form::Map(&CUTS)]),
            "`fixed`: lists of numbers; `frozen`: the name the edges are kept under.",
        ),
        key("ties", Form::Text, "By what equal values are ordered: the entity's key."),
        key(
            "r_order",
            word(&["descending", "reversed"]),
            "Of `ntile`; `descending`: groups over recency descending; `reversed`: bins + 1 - group ascending.",
        ),
        key("columns", Form::Map(&RFM_COLUMNS), "Names of the columns it makes."),
        key("others", Form::Either(&[Form::Null, Form::Map(&RFM_OTHERS)]), "Values of those outside `where`; null if absent."),
    ],
)
.needs(&[&["method"], &["r"], &["f"], &["m"]])
.elsewhere(ELSEWHERE);

/// `cuts:` of `rfm@1`
pub(crate) static CUTS: Shape = Shape::new(
    "`cuts`",
    "Where scores change: one number fewer than `bins`, ascending.",
    &[key("r", CUT, "Of recency."), key("f", CUT, "Of frequency."), key("m", CUT, "Of money.")],
)
.needs(&[&["r"], &["f"], &["m"]]);

const CUT: Form = Form::List(&Form::Real(f64::MIN));

/// `columns:` of `rfm@1`
pub(crate) static RFM_COLUMNS: Shape = Shape::new(
    "`columns`",
    "Names of the columns that `rfm@1` makes.",
    &[
        key("r", Form::Text, "Recency score (`r_score`)."),
        key("f", Form::Text, "Frequency score (`f_score`)."),
        key("m", Form::Text, "Money score (`m_score`)."),
        key("cell", Form::Text, "The three digits (`rfm_cell`)."),
        key("segment", Form::Text, "The named segment, such as `Champions`; not made if absent."),
    ],
);

/// `others:` of `rfm@1`
pub(crate) static RFM_OTHERS: Shape = Shape::new(
    "`others`",
    "Values of those outside `where`.",
    &[
        key("r", Form::Whole(0, 9999), "Recency score."),
        key("f", Form::Whole(0, 9999), "Frequency score."),
        key("m", Form::Whole(0, 9999), "Money score."),
        key("cell", Form::Text, "The three digits."),
        key("segment", Form::Text, "The named segment; null if absent."),
    ],
)
.needs(&[&["r"], &["f"], &["m"], &["cell"]]);

/// `method: lifecycle@1`
pub(crate) static LIFECYCLE_1: Shape = Shape::new(
    "segmentation",
    "prospect, new, active, lapsing, lapsed, by fixed days.",
    &[
        key("method", word(&["lifecycle@1"]), "The preset and its version."),
        ENTITY,
        WHERE,
        OTHERS,
        key("orders", Form::Sql, "How many orders."),
        key("first_days", Form::Sql, "Days since the first."),
        key("recency_days", Form::Sql, "Days since the last."),
        key("new", DAYS, "First order at most so many days ago (60)."),
        key("active", DAYS, "Else, last order at most so many days ago (120)."),
        key("lapsing", DAYS, "Else, last order at most so many days ago (365)."),
    ],
)
.needs(&[&["method"], &["orders"], &["first_days"], &["recency_days"]])
.elsewhere(&[
    ("stages", "other stages are `rules: {label: condition}`"),
    ("rules", "`lifecycle@1` has its own rules: set `new`, `active` and `lapsing`"),
]);

const DAYS: Form = Form::Whole(1, 1_000_000);

/// `method: lifecycle@2`
pub(crate) static LIFECYCLE_2: Shape = Shape::new(
    "segmentation",
    "new, active, slipping, lapsed, by each one's own interval between purchases.",
    &[
        key("method", word(&["lifecycle@2"]), "The preset and its version."),
        ENTITY,
        WHERE,
        OTHERS,
        key("purchase_days", Form::Sql, "Days on which something was bought."),
        key("recency_days", Form::Sql, "Days since the last of them."),
        key("gap_days", Form::Sql, "The sum of the days between one and the next."),
        key("gaps", Form::Sql, "How many such gaps there are."),
        key(
            "last_gap",
            Form::Sql,
            "Days of the last of them: `slipping` and `lapsed` are then the 80th and the 95th percentile of what it was in intervals, where they are not given.",
        ),
        key("cohort", Form::Text, "The attribute whose mean interval stands in for missing gaps; everybody's if absent."),
        key("prior_gaps", Form::Real(0.0), "How many gaps that mean counts for (4)."),
        key("new_until", Form::Whole(1, 1000), "At most so many purchase days are new (3)."),
        key("slipping", Form::Real(0.0), "Slipping when recency is more than so many intervals (2)."),
        key("back", Form::Real(0.0), "Who was slipping, or lapsed, and bought nothing since leaves slipping below so many intervals (1.5, or three quarters of a `slipping` that is found); needs `state`."),
        key("lapsed", Form::Real(0.0), "Lapsed when recency is more than so many intervals (4)."),
        key("cap_days", DAYS, "Lapsed after more than so many days, whatever the interval."),
        key(
            "substates",
            Form::Either(&[SUBSTATE, Form::List(&SUBSTATE)]),
            "`prospect` and `reactivated` as stages of their own; the latter needs `state`.",
        ),
        key(
            "state",
            Form::Text,
            "The folder of an output with the entity's key and this segmentation: its newest version of an earlier `as_of` says who was what.",
        ),
    ],
)
.needs(&[&["method"], &["purchase_days"], &["recency_days"], &["gap_days"], &["gaps"]]);

const SUBSTATE: Form = word(&["prospect", "reactivated"]);

/// `method: kmeans`
pub(crate) static KMEANS: Shape = Shape::new(
    "segmentation",
    "Clusters of those who resemble each other.",
    &[
        key("method", word(&["kmeans"]), "The method."),
        ENTITY,
        WHERE,
        OTHERS,
        key("k", Form::Either(&[Form::Whole(1, 10_000), Form::Text]), "How many clusters."),
        key("features", Form::Either(&[Form::Named(&Form::Sql), Form::Names]), "Named expressions, or attributes."),
        key(
            "scale",
            words(&["standard", "none"], &["robust"], "write `scale: standard`, and `ln(1 + x)` on skewed features"),
            "`standard`: mean and population standard deviation; `robust`: median and quartiles; `none`.",
        ),
        key("init", Form::Either(&[Form::Map(&INIT), word(&["kmeans_parallel"])]), "Where the search begins."),
        key("iterations", Form::Whole(1, u32::MAX as u64), "At most so many passes (50)."),
        key("tolerance", Form::Real(0.0), "Stops when centroids move less (1e-6); 0: when no one changes."),
        key("empty", word(&["farthest", "stays"]), "What an empty cluster does."),
        key("nulls", words(&["error"], &["median"], "write `coalesce(x, …)` in the feature"), "What a missing feature does."),
        key(
            "outliers",
            words(&["none"], &["p99_5"], "limit the feature yourself: `least(x, 1000)`"),
            "Who is left out as unlike everybody.",
        ),
        key(
            "names",
            Form::Either(&[word(&["number"]), Form::List(&Form::Text), Form::Labelled(&Form::Text)]),
            "`number`, a list, or `{0: a, 1: b}`.",
        ),
        key(
            "refit",
            word(&["always", "monthly", "quarterly", "yearly"]),
            "How often it is fitted anew; it is scored in between.",
        )
        .later("each run fits anew: leave it out"),
        key("min_stability", Form::Real(0.0), "Less agreement between refits stops the run.").later("leave it out"),
    ],
)
.needs(&[&["method"], &["k"], &["features"]])
.elsewhere(ELSEWHERE);

/// `init:`
pub(crate) static INIT: Shape = Shape::new(
    "`init`",
    "Where the search for clusters begins.",
    &[
        key("first_by", Form::Sql, "The first k rows by this expression, ties by key."),
        key("centroids", Form::List(&CUT), "k rows of one number a feature, on the scaled features."),
    ],
)
.needs(&[&["first_by", "centroids"]]);

/// `watch:`
pub(crate) static WATCH: Shape = Shape::new(
    "segmentation",
    "How segments move between runs.",
    &[
        key("watch", Form::Names, "Segmentations.").later("compare the segments of two runs outside"),
        ENTITY,
        key("psi_warn", Form::Real(0.0), "Warns from this population stability index on."),
        key("psi_stop", Form::Real(0.0), "Stops from this population stability index on."),
        key("migration", word(&["run", "monthly", "quarterly"]), "Between which runs moves are counted."),
    ],
)
.needs(&[&["watch"]]);

/// A segmentation of which it cannot be told what it is.
pub(crate) static UNKNOWN: Shape = Shape::new(
    "segmentation",
    "A family of segments.",
    &[
        key("rules", Form::Labelled(&Form::Sql), "Labels and conditions."),
        key("by", Form::Names, "Attributes."),
        key("quantile", Form::Sql, "The value."),
        key("method", Form::Text, "A preset or model."),
        ENTITY,
        WHERE,
        OTHERS,
        key("bins", Form::Whole(2, u32::MAX as u64), "How many groups."),
        key("names", Form::Names, "Their names."),
    ],
)
.elsewhere(ELSEWHERE);
