//! `panel:`. Never draws.

use super::{Form, Shape, at_least, key, word};

const TRIM: &str = "write `cap: 5`: no weight is more than so many times the median";

/// `panel:`
pub(crate) static PANEL: Shape = Shape::new(
    "`panel`",
    "An insight community and the samples drawn from it.",
    &[
        key("entity", Form::Text, "Which entity; the first if absent."),
        key("members", Form::Map(&MEMBERS), "Who can be drawn."),
        key("numbers", Form::Text, "The name of the permanent random numbers; studies of one name and key share them."),
        key("seed", at_least(0), "Of the permanent random numbers; public."),
        key("key", Form::Text, "`env:NAME`: a secret in place of `seed`."),
        key("fatigue", Form::Map(&FATIGUE), "How often one person is asked."),
        key("state", Form::Text, "The folder where a drawn wave is published; `{wave}` stands for its name."),
        key("waves", Form::Labelled(&Form::Map(&WAVE)), "Samples."),
    ],
)
.needs(&[&["members"], &["waves"]])
.elsewhere(&[
    ("exclude", "write it into `members: {exclude: [segment]}`"),
    ("eligible", "write `members: {rules: {name: condition}}`"),
    ("rules", "write `members: {rules: {name: condition}}`"),
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
        key("exclude", Form::Names, "Segments that cannot be drawn: each is true of whom it leaves out."),
    ],
)
.needs(&[&["where", "rules"]]);

/// `fatigue:`
pub(crate) static FATIGUE: Shape = Shape::new(
    "`fatigue`",
    "How often one person is asked.",
    &[
        key("counts", Form::Names, "Sources or tables of contacts; what follows is said of the rows of the first."),
        key("where", Form::Sql, "Which rows of the first are contacts; reminders count unless this leaves them out."),
        key("invites", Form::Text, "Fewer than so many contacts in a time, such as `2/30d`."),
        key("rest", Form::Duration(false), "Rest after any contact."),
        key("complete", Form::Sql, "Which rows of the first are answers."),
        key("rest_after_complete", Form::Duration(false), "Rest after an answer; needs `complete`."),
        key("in_field", Form::Sql, "Which rows of the first say that somebody is being asked now, here or elsewhere."),
        key("burden", Form::Map(&BURDEN), "At most so many minutes in a time."),
        key("never", Form::Sql, "Who is not asked at all."),
    ],
)
.needs(&[&["counts"]])
.elsewhere(&[("reminders", "write `where: kind <> 'reminder'` to leave them out")]);

/// `burden:`
pub(crate) static BURDEN: Shape = Shape::new(
    "`burden`",
    "At most so many minutes in a time.",
    &[
        key("minutes", Form::Sql, "Minutes of a contact."),
        key("most", Form::Text, "Minutes in a time, this survey included, such as `60/90d`."),
        key("this", at_least(0), "Minutes of this survey; 0 if absent."),
    ],
)
.needs(&[&["minutes"], &["most"]]);

/// A wave.
pub(crate) static WAVE: Shape = Shape::new(
    "wave",
    "A sample of the members.",
    &[
        key("sample", Form::Either(&[at_least(1), Form::Share]), "How many: `4000` or `2%`."),
        key("sample_of", word(&["all", "members"]), "What a percentage is of."),
        key(
            "strata",
            Form::Either(&[Form::Names, Form::Labelled(&STRATUM)]),
            "Attributes and segmentations, crossed; `{region: {min: 50}, gender: equal}` says of each how its levels share the sample.",
        ),
        key("allocate", Form::Map(&ALLOCATE), "How the sample is divided among strata."),
        key("draw", Form::Map(&DRAW), "How people are drawn; the least permanent random numbers of each stratum if absent."),
        key("order", Form::Sql, "Who is drawn first, in place of the permanent random number; ties by key."),
        key("weights", Form::Map(&WEIGHTS), "Weights that make the sample look like everybody."),
        key("expect_response", Form::Map(&RESPONSE), "Draws enough invitations for the answers wanted."),
        key(
            "quotas",
            Form::Labelled(&Form::Labelled(&Form::Text)),
            "Targets of answers: `{gender: {f: 50% +- 3, m: 50% +- 3}}`; `\"gender, age\"` interlocks.",
        ),
        key("not_in", Form::Names, "Waves whose people are left out; they are read from `state`."),
        key("after", Form::Text, "The wave before, whose people stay in first; it is read from `state`."),
        key("refresh", Form::Share, "The share of the wave before that is rotated out; the rest stays."),
        key(
            "reserve",
            Form::Either(&[Form::Share, Form::Duration(false)]),
            "A share: drawn besides, to be asked where others do not answer. A time, such as `30d`: no other wave asks who is drawn.",
        ),
        key("replicates", Form::Whole(1, 1000), "Into how many samples the draw is cut."),
    ],
)
.elsewhere(&[
    ("rest", "write `rest` into `fatigue: {…}` of the panel"),
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
        key("model", word(&["past_rate"]), "From the past of each stratum: answers of contacts, as `fatigue` counts them."),
        key("base", at_least(0), "Contacts that the panel's own rate counts for in a stratum's (50)."),
        key("incidence", Form::Share, "Of those who answer, who is wanted; all if absent."),
        key("rejected", Form::Share, "Of the answers wanted, those that turn out bad; none if absent."),
        key(
            "shrink_to",
            Form::Text,
            "One of the strata, a segmentation: small groups are drawn towards the rate of its segment.",
        ),
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
            word(&["proportional", "equal", "neyman", "size_power", "bankier", "optimal", "fixed"]),
            "To the members of a stratum, each the same, or a rule of survey sampling.",
        ),
        key("measure", Form::Sql, "What `neyman`, `optimal` and `bankier` are to measure well; a number."),
        key("cost", Form::Sql, "What asking one costs; 1 if absent."),
        key("budget", Form::Real(0.0), "As many as this pays for, in place of `sample`; needs `cost`."),
        key("power", Form::Real(0.0), "Exponent of `size_power` and `bankier` (0.5)."),
        key("rows", Form::Labelled(&at_least(0)), "Of `fixed`: how many of each stratum, such as `{\"active, north\": 20}`."),
        key(
            "rounding",
            word(&["largest_remainder", "nearest", "floor", "ceiling", "random"]),
            "How fractions become people: `largest_remainder` and `random` (by the seed) keep the total, the others do not.",
        ),
        key("min", at_least(0), "At least so many in a stratum, or all of it."),
        key("max", at_least(1), "At most so many in a stratum."),
        key("after_bounds", word(&["rebalance", "keep"]), "`rebalance`: the total stays exact; `keep`: it may change."),
    ],
);

/// `draw:`
pub(crate) static DRAW: Shape = Shape::new(
    "`draw`",
    "How people are drawn.",
    &[
        key(
            "by",
            word(&["srs", "systematic", "poisson", "sequential_poisson", "pareto", "sampford"]),
            "The design; `srs`, the least numbers of each stratum, if absent.",
        ),
        key("size", Form::Sql, "A number, not negative: who is larger is drawn more often."),
        key("along", Form::Sql, "Of `systematic`: the order in which people are passed; the key if absent."),
        key(
            "shift",
            Form::Real(0.0),
            "Where this wave starts on the circle of numbers, below 1: another start asks other people.",
        ),
    ],
);

/// `nonresponse:`
pub(crate) static NONRESPONSE: Shape = Shape::new(
    "`nonresponse`",
    "Those who answered stand for those who did not, in cells.",
    &[
        key("cells", Form::Names, "Attributes and segmentations, crossed; the coarsest first."),
        key("most", Form::Real(1.0), "Nobody stands for more than so many times the own weight (3)."),
        key("least", at_least(1), "Answers in a cell (1)."),
        key("collapse", word(&["error", "neighbours"]), "What a cell that breaks a rule does."),
        key("unknown", word(&["as_known", "eligible"]), "For whom people count of whom nothing is known."),
    ],
)
.needs(&[&["cells"]]);

/// `calibrate:`
pub(crate) static CALIBRATE: Shape = Shape::new(
    "`calibrate`",
    "Weights as near as can be to those before that meet the margins.",
    &[
        key("distance", word(&["linear", "raking", "logit"]), "`linear` is the regression estimator (GREG)."),
        key("least", Form::Real(0.0), "No weight is less than so many times the one before."),
        key("most", Form::Real(1.0), "No weight is more than so many times the one before."),
    ],
)
.needs(&[&["distance"]]);

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
            word(&["error", "drop_and_rescale", "collapse"]),
            "What a level without a drawn person does; `collapse` joins it with its neighbour.",
        ),
        key("collapse", Form::Names, "Of `absent: collapse`: the margins whose levels may be joined; all if absent."),
        key("tolerance", Form::Real(0.0), "Greatest relative difference from a target (1e-6)."),
        key("max_iterations", Form::Whole(1, u32::MAX as u64), "At most so many rounds (100)."),
        key("not_converged", word(&["error", "keep"]), "`keep`: the weights are kept, flagged."),
        key("cap", Form::Real(1.0), "No weight is more than so many times the median; the margins still hold."),
        key("report", Form::Names, "Figures for the report: `deff`, `n_eff`, `cap_curve`."),
        key("nonresponse", Form::Map(&NONRESPONSE), "Of `strata weights`: those who answered stand for those who did not."),
        key("calibrate", Form::Map(&CALIBRATE), "Of `strata weights`: in place of raking, to the same margins."),
    ],
)
.needs(&[&["rake"]])
.elsewhere(&[("trim", TRIM), ("margins", "write `rake: [margins]`")]);
