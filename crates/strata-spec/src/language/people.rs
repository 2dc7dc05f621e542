//! `entities:`, `consent:`, `identity:`, `profiles:`, `personas:`, `typing_tool:` and `personalise:`. Never decides who may be
//! used.

use super::{Form, Shape, at_least, key, word, words};

const LOG: &str = "consent is read from current flags: name a column that says who has consented now";

/// An entity.
pub(crate) static ENTITY: Shape = Shape::new(
    "entity",
    "A roster: every row of it gets one row of attributes.",
    &[
        key("from", Form::Text, "The roster: a source, or a table."),
        key("key", Form::Text, "The column that every source knows the entity by."),
        key("value", Form::Sql, "What a row is worth, for shares of value in reports."),
    ],
)
.needs(&[&["from"], &["key"]]);

/// `consent:`
pub(crate) static CONSENT: Shape = Shape::new(
    "`consent`",
    "Who may be used for which purpose.",
    &[
        key("from", Form::Text, "The source with the flags or the log."),
        key(
            "purposes",
            Form::Named(&Form::Sql),
            "Each purpose, and who consented to it: `always`, or a condition on the source.",
        ),
        key(
            "log",
            Form::Map(&CONSENT_LOG),
            "The columns of an append-only consent log; purposes are then the states that grant them.",
        )
        .later(LOG),
        key("expires", Form::Duration(true), "How long a consent holds.").later(LOG),
        key("on_merge", word(&["most_restrictive", "latest"]), "What holds when two people turn out to be one.").later(LOG),
    ],
)
.needs(&[&["from"], &["purposes"]])
.elsewhere(&[("time", "the time of a consent log is the `time` of its source")]);

/// `log:` of `consent:`
pub(crate) static CONSENT_LOG: Shape = Shape::new(
    "`log`",
    "Columns of an append-only consent log.",
    &[
        key("person", Form::Text, "Whom it is about."),
        key("purpose", Form::Text, "Which purpose."),
        key("state", Form::Text, "What was said."),
        key("channel", Form::Text, "For which channel, if consent is given by channel."),
    ],
)
.needs(&[&["person"], &["purpose"], &["state"]]);

/// `identity:` of one entity.
pub(crate) static IDENTITY: Shape = Shape::new(
    "identity",
    "Which rows of different sources are one and the same.",
    &[
        key("nodes", Form::Named(&Form::Map(&NODE)), "Identifiers, and where each stands."),
        key("fuzzy", Form::List(&Form::Map(&FUZZY)), "Pairs that are alike."),
        key("overrides", Form::Text, "A table of reviewed pairs: must link, must not link."),
        key("ids", word(&["stable"]), "Ids survive rebuilds; merges and splits are published."),
        key(
            "golden",
            Form::Named(&Form::Names),
            "Which value a merged row keeps: `newest`, `newest_verified`, `oldest`, `most_frequent`, or sources in order.",
        ),
    ],
)
.needs(&[&["nodes"]]);

/// An identifier.
pub(crate) static NODE: Shape = Shape::new(
    "identifier",
    "An identifier, and where it stands.",
    &[
        key("from", Form::Named(&Form::Text), "Sources and their columns: `{crm: email, orders: email}`."),
        key("clean", Form::Text, "`email`, `phone(CC)`, `lower`, `digits` or `trim`."),
        key("ignore", Form::Names, "Values that mean nobody; `*` stands for anything."),
        key("max_per_profile", at_least(1), "More values than this in one person: do not merge."),
        key("max_profiles", at_least(1), "More people than this with one value: ignore the value."),
        key("unique", Form::Flag, "Two values never merge."),
    ],
)
.needs(&[&["from"]]);

/// A rule for pairs that are alike.
pub(crate) static FUZZY: Shape = Shape::new(
    "a fuzzy rule",
    "Pairs that are alike.",
    &[
        key("block", Form::Either(&[Form::Sql, Form::List(&Form::Sql)]), "Only rows that agree on these are compared."),
        key(
            "score",
            Form::Named(&word(&["exact", "jaro_winkler", "levenshtein", "soundex", "days"])),
            "Columns, and how each is compared.",
        ),
        key("accept", Form::Real(0.0), "Pairs from this probability on are one."),
        key("review", Form::Real(0.0), "Pairs from this probability on are shown to people."),
    ],
)
.needs(&[&["block"], &["score"], &["accept"]]);

/// A profile.
pub(crate) static PROFILE: Shape = Shape::new(
    "profile",
    "What segments are like, as one long table.",
    &[
        key("of", Form::Names, "Segmentations."),
        key(
            "describe",
            Form::Either(&[Form::Named(&Form::Sql), Form::List(&Form::Either(&[Form::Text, Form::Named(&Form::Sql)]))]),
            "Attributes, and `{name: expression}`.",
        ),
        key("stats", Form::Either(&[STAT, Form::List(&STAT)]), "`mean` and `index` (100 × mean in the segment / mean of all)."),
        key("min_cell", at_least(0), "Smaller segments are left out."),
    ],
)
.needs(&[&["of"], &["describe"]])
.elsewhere(&[
    ("render", "publish the profile as an output: `select: NAME.*`"),
    ("from", "write `of: [segmentation]`"),
    ("by", "write `of: [segmentation]`"),
]);

/// A statistic.
pub(crate) const STAT: Form =
    words(&["mean", "index"], &["share", "lift", "z", "median", "residual"], "write `stats: [mean, index]`");

/// `personas:`
pub(crate) static PERSONAS: Shape = Shape::new(
    "`personas`",
    "Segments told as people.",
    &[
        key("from", Form::Names, "Segmentations."),
        key("describe", Form::Names, "Attributes to tell about."),
        key("min_cell", at_least(1), "Smaller groups are not shown."),
        key("render", Form::Either(&[RENDER, Form::List(&RENDER)]), "Forms to write."),
    ],
)
.needs(&[&["from"], &["describe"]]);

const RENDER: Form = word(&["markdown", "json"]);

/// `typing_tool:`
pub(crate) static TYPING_TOOL: Shape = Shape::new(
    "`typing_tool`",
    "A few questions that place a person in a segment.",
    &[
        key("for", Form::Text, "The segmentation."),
        key("questions", Form::Map(&QUESTIONS), "Where the answers are, and how many questions there may be."),
        key("method", word(&["lda", "multinomial", "naive_bayes", "tree"]), "The classifier."),
        key("min_accuracy", Form::Real(0.0), "Cross-validated, in each segment."),
        key("export", Form::Either(&[EXPORT, Form::List(&EXPORT)]), "Forms to write; all score the same."),
    ],
)
.needs(&[&["for"], &["questions"]]);

const EXPORT: Form = word(&["json", "sql", "csv"]);

/// `questions:`
pub(crate) static QUESTIONS: Shape = Shape::new(
    "`questions`",
    "Where the answers are.",
    &[key("from", Form::Text, "The source with the answers."), key("max", Form::Whole(1, 1000), "At most so many questions.")],
)
.needs(&[&["from"]]);

/// `personalise:`
pub(crate) static PERSONALISE: Shape = Shape::new(
    "`personalise`",
    "Next best items, offers, channel and time.",
    &[
        key("purpose", Form::Text, "The purpose people must have consented to."),
        key("next_best", Form::Map(&NEXT_BEST), "Items to suggest."),
        key("offers", Form::List(&Form::Map(&OFFER)), "Offers, the first that fits."),
        key("send", Form::Map(&SEND), "By which channel, and when."),
        key("limits", Form::Map(&LIMITS), "How much one person gets, and who gets nothing."),
    ],
)
.needs(&[&["purpose"]]);

/// `next_best:`
pub(crate) static NEXT_BEST: Shape = Shape::new(
    "`next_best`",
    "Items to suggest.",
    &[
        key("preset", word(&["item_cf@1"]), "The method."),
        key("from", Form::Text, "The source or table of purchases."),
        key("top", Form::Whole(1, 1000), "How many."),
        key("exclude", Form::Text, "Items to leave out, such as `bought_90d`."),
        key("fallback", Form::Text, "What to suggest to those for whom nothing is found."),
    ],
)
.needs(&[&["preset"], &["from"]]);

/// An offer.
pub(crate) static OFFER: Shape = Shape::new(
    "an offer",
    "An offer and who gets it.",
    &[key("offer", Form::Text, "Its name."), key("when", Form::Sql, "Who is eligible.")],
)
.needs(&[&["offer"], &["when"]]);

/// `send:`
pub(crate) static SEND: Shape = Shape::new(
    "`send`",
    "By which channel, and when.",
    &[key("channel", Form::Text, "An attribute with the channel."), key("at", Form::Text, "An attribute with the time.")],
);

/// `limits:`
pub(crate) static LIMITS: Shape = Shape::new(
    "`limits`",
    "How much one person gets, and who gets nothing.",
    &[
        key("per_customer", Form::Text, "At most so many in a time, such as `2/7d`."),
        key("control", Form::Share, "The permanent control group."),
    ],
);
