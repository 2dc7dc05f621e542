//! `panel:`. Never draws.

use super::{Form, Shape, at_least, key, word, words};

const ONE_DRAW: &str = "a wave is one draw: leave it out, and draw another wave later";
const TRIM: &str = "weights are not trimmed: join small levels in an attribute";
const COLLAPSE: &str = "write `absent: drop_and_rescale`, or join the levels in an attribute";

/// `panel:`
pub(crate) static PANEL: Shape = Shape::new(
    "`panel`",
    "An insight community and the samples drawn from it.",
    &[
        key("entity", Form::Text, "Which entity; the first if absent."),
        key("members", Form::Map(&MEMBERS), "Who can be drawn."),
        key("seed", at_least(0), "Of the permanent random numbers; public."),
        key("key", Form::Text, "`env:NAME`: a secret in place of `seed`."),
        key("fatigue", Form::Map(&FATIGUE), "How often one person is asked.")
            .later("count contacts in an attribute, and write `members: {where: contacts_90d < 3}`"),
        key("waves", Form::Labelled(&Form::Map(&WAVE)), "Samples."),
    ],
)
.needs(&[&["members"], &["waves"]])
.elsewhere(&[
    ("exclude", "write the exclusion into `members: {where: …}`"),
    ("purpose", "write it into `members: {purpose: …}`"),
]);

/// `members:`
pub(crate) static MEMBERS: Shape = Shape::new(
    "`members`",
    "Who can be drawn.",
    &[
        key("where", Form::Sql, "A condition on attributes and segments."),
        key("rules", Form::Labelled(&Form::Sql), "Named conditions that must all hold; the report shows who drops out where."),
        key("purpose", Form::Text, "Only those who consented to it."),
        key("exclude", Form::Names, "Segments that cannot be drawn.").later("write the exclusion into `where`"),
    ],
)
.needs(&[&["where", "rules"]]);

/// `fatigue:`
pub(crate) static FATIGUE: Shape = Shape::new(
    "`fatigue`",
    "How often one person is asked.",
    &[
        key("counts", Form::Text, "The source of invitations."),
        key("invites", Form::Text, "At most so many in a time, such as `2/30d`."),
        key("rest_after_complete", Form::Duration(false), "Rest after an answer."),
        key("never", Form::Sql, "Who is not asked at all."),
    ],
)
.needs(&[&["counts"]]);

/// A wave.
pub(crate) static WAVE: Shape = Shape::new(
    "wave",
    "A sample of the members.",
    &[
        key("sample", Form::Either(&[at_least(1), Form::Share]), "How many: `4000` or `2%`."),
        key("sample_of", word(&["all", "members"]), "What a percentage is of."),
        key("strata", Form::Either(&[Form::Names, Form::Labelled(&STRATUM)]), "Attributes and segmentations, crossed."),
        key("allocate", Form::Map(&ALLOCATE), "How the sample is divided among strata."),
        key("order", Form::Sql, "Who is drawn first, in place of the permanent random number; ties by key."),
        key("weights", Form::Map(&WEIGHTS), "Weights that make the sample look like everybody."),
        key("expect_response", Form::Map(&RESPONSE), "Draws enough invitations for the answers wanted.")
            .later("raise `sample` by the response you expect"),
        key(
            "quotas",
            Form::Labelled(&Form::Labelled(&Form::Text)),
            "Targets of answers: `{gender: {f: 50% +- 3, m: 50% +- 3}}`; `\"gender, age\"` interlocks.",
        )
        .later("use `strata` and `allocate`"),
        key("refresh", Form::Share, "The share of the last wave that is rotated out.").later(ONE_DRAW),
        key("reserve", Form::Either(&[Form::Share, Form::Duration(false)]), "Who is kept in reserve.").later(ONE_DRAW),
        key("replicates", Form::Whole(1, 1000), "Into how many samples the draw is cut.").later(ONE_DRAW),
    ],
)
.needs(&[&["sample"]])
.elsewhere(&[
    ("rest", "write it into `members: {where: …}`"),
    ("size", "write `sample: 4000` or `sample: 2%`"),
    ("where", "who can be drawn is said once, in `members`"),
    ("rake", "write `weights: {rake: [region]}`"),
]);

/// What `strata: {name: …}` takes.
const STRATUM: Form = Form::Either(&[word(&["proportional", "equal"]), Form::Labelled(&Form::Text)]);

/// `expect_response:`
pub(crate) static RESPONSE: Shape = Shape::new(
    "`expect_response`",
    "How many of those invited will answer.",
    &[
        key("rate", Form::Share, "A rate for everybody."),
        key("model", word(&["past_rate"]), "From past waves."),
        key("shrink_to", Form::Text, "The segmentation whose mean rate small groups are drawn towards."),
    ],
)
.needs(&[&["rate", "model"]]);

/// `allocate:`
pub(crate) static ALLOCATE: Shape = Shape::new(
    "`allocate`",
    "How the sample is divided among strata.",
    &[
        key(
            "by",
            words(
                &["proportional"],
                &["equal", "neyman", "size_power", "bankier", "optimal", "fixed"],
                "write `by: proportional`, with `min` and `max`",
            ),
            "In proportion to the members of a stratum.",
        ),
        key(
            "rounding",
            words(
                &["largest_remainder"],
                &["nearest", "floor", "ceiling", "random"],
                "write `rounding: largest_remainder`, or leave it out",
            ),
            "How fractions become people.",
        ),
        key("min", at_least(0), "At least so many in a stratum, or all of it."),
        key("max", at_least(1), "At most so many in a stratum."),
        key("after_bounds", word(&["rebalance", "keep"]), "`rebalance`: the total stays exact; `keep`: it may change."),
    ],
);

/// `weights:`
pub(crate) static WEIGHTS: Shape = Shape::new(
    "`weights`",
    "Weights that make the sample look like everybody.",
    &[
        key("rake", Form::Names, "Margins, in order."),
        key("population", Form::Sql, "Who counts for the targets; all if absent."),
        key("scale_to", word(&["population", "sample"]), "What weights add up to."),
        key(
            "absent",
            words(&["error", "drop_and_rescale"], &["collapse"], COLLAPSE),
            "What a level without a drawn person does.",
        ),
        key("collapse", Form::Names, "The order in which levels are joined.").later(COLLAPSE),
        key("tolerance", Form::Real(0.0), "Greatest relative difference from a target (1e-6)."),
        key("max_iterations", Form::Whole(1, u32::MAX as u64), "At most so many rounds (100)."),
        key("not_converged", word(&["error", "keep"]), "`keep`: the weights are kept, flagged."),
        key("cap", Form::Real(0.0), "No weight is more than so many times the median.").later(TRIM),
        key("report", Form::Names, "Figures for the report: `deff`, `n_eff`.")
            .later("the design effect is not reported: compute it from the weights"),
    ],
)
.needs(&[&["rake"]])
.elsewhere(&[("trim", TRIM), ("calibrate", "write `rake: [margins]`"), ("margins", "write `rake: [margins]`")]);
