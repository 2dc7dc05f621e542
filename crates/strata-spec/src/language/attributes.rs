//! `attributes:`. Never asks whether a name is known.

use super::sources::CLASSES;
use super::{Form, Shape, key, word, words};

const MODEL_LATER: &str = "write an expression, or join a table of scores made elsewhere";
const LABELS: &[&str] = &["own", "third_party", "modelled", "stated"];

/// A block of attributes.
pub(crate) const BLOCK: Form = Form::Either(&[Form::Map(&ROW), Form::Map(&FROM), Form::Map(&LOYALTY), Form::Map(&TIME)]);

/// `- row:`
pub(crate) static ROW: Shape = Shape::new(
    "a block of attributes",
    "Expressions over the entity's own row and other attributes.",
    &[key(
        "row",
        Form::Named(&Form::Either(&[Form::Sql, Form::Map(&ROW_VALUE)])),
        "Named expressions; names with a leading `_` are not published.",
    )],
)
.needs(&[&["row"]]);

/// `- from:`
pub(crate) static FROM: Shape = Shape::new(
    "a block of attributes",
    "Aggregates over a source or table, by the entity's key.",
    &[
        key("from", Form::Text, "A source or table that knows the entity's key."),
        key("where", Form::Sql, "Rows that count."),
        key(
            "columns",
            Form::Named(&Form::Either(&[Form::Sql, Form::Map(&AGGREGATE), Form::Map(&MODEL)])),
            "Named aggregates: `order_count: count(*)`.",
        ),
    ],
)
.needs(&[&["from"], &["columns"]]);

/// A block that has keys of both kinds, or of none.
pub(crate) static EITHER: Shape = Shape::new(
    "a block of attributes",
    "A `row:` or a `from:` block.",
    &[
        key("row", Form::Named(&Form::Sql), "Named expressions."),
        key("from", Form::Text, "A source or table."),
        key("where", Form::Sql, "Rows that count."),
        key("columns", Form::Named(&Form::Sql), "Named aggregates."),
        key("preset", Form::Text, "A preset."),
    ],
)
.elsewhere(&[
    ("use", "write a preset as a block of its own: `- preset: loyalty_core@1`"),
    ("model", "a model is one attribute: write `columns: {score: {model: …}}` in a `- from:` block"),
    ("tests", "tests stand at the top of the file: `tests: [{given: …, expect: …}]`"),
    ("sql", "give the expression a name: `row: {name: expression}`"),
]);

/// An attribute of a row, written as a mapping.
pub(crate) static ROW_VALUE: Shape = Shape::new(
    "attribute",
    "An attribute of the entity's own row.",
    &[
        key("sql", Form::Sql, "An expression."),
        key("rules", Form::Labelled(&Form::Sql), "The first rule that holds gives the label; `else` comes last."),
        key("purpose", Form::Text, "The only purpose it may be used for.").later("give the output a `purpose`"),
        key("fresh", Form::Duration(true), "Values older than this are null.").later("use a window"),
        key("label", word(LABELS), "Where the value comes from.").later("remove the key"),
        key("class", word(CLASSES), "How personal it is.").later("give the source's column its class: it follows the value"),
    ],
)
.elsewhere(&[
    ("window", "windows belong to aggregates: write the attribute in a `- from:` block"),
    ("windows", "windows belong to aggregates: write the attribute in a `- from:` block"),
    ("join", "declare `references` on the roster source, and write `source.column`"),
    ("model", "a model reads a table: write it in a `- from:` block"),
]);

/// An aggregate, written as a mapping.
pub(crate) static AGGREGATE: Shape = Shape::new(
    "attribute",
    "An aggregate over the rows of the block.",
    &[
        key("sql", Form::Sql, "An aggregate."),
        key("window", Form::Window, "Only rows of this time before `as_of`: `90d`, `730d..365d`, `12mo`, `life`."),
        key("windows", Form::List(&Form::Window), "One attribute for each: `name_90d`, `name_365d`."),
        key("purpose", Form::Text, "The only purpose it may be used for.").later("give the output a `purpose`"),
        key("fresh", Form::Duration(true), "Values older than this are null.").later("use a window"),
        key("label", word(LABELS), "Where the value comes from.").later("remove the key"),
        key("class", word(CLASSES), "How personal it is.").later("give the source's column its class: it follows the value"),
    ],
)
.needs(&[&["sql"]])
.elsewhere(&[
    ("join", "declare `references` on the source, and write `source.column`"),
    ("where", "write `filter (where …)` behind the aggregate, or `where` in the block"),
    ("filter", "write `filter (where …)` behind the aggregate, or `where` in the block"),
    ("rules", "rules belong to `row:` blocks"),
]);

/// An attribute that a model makes.
pub(crate) static MODEL: Shape = Shape::new(
    "attribute",
    "What a model expects of the entity.",
    &[
        key(
            "model",
            words(&[], &["bg_nbd_gamma@1", "mbg_nbd_gamma@1", "pareto_nbd_gamma@1"], MODEL_LATER),
            "The model and its version.",
        ),
        key("horizon", Form::Duration(true), "How far the model looks ahead."),
        key("holdout", Form::Duration(true), "The time kept back to test the model."),
    ],
)
.needs(&[&["model"]])
.elsewhere(&[
    ("sql", "an attribute is an aggregate, `sql`, or a `model`: keep one of them"),
    ("window", "a model looks ahead: write `horizon`"),
    ("windows", "a model looks ahead: write `horizon`"),
]);

/// `preset: loyalty_core@1`
pub(crate) static LOYALTY: Shape = Shape::new(
    "preset `loyalty_core@1`",
    "Recency, frequency, money, tenure, channel and pattern attributes of buyers.",
    &[
        key("preset", word(&["loyalty_core@1"]), "The preset and its version."),
        key("from", Form::Text, "A source or table with a `time`: one row an order, with the entity's key."),
        key("amount", Form::Sql, "What was paid for the order."),
        key("discount", Form::Sql, "What was taken off."),
        key("returned", Form::Sql, "What was given back, as a positive amount."),
        key("lines", Form::Sql, "Lines of the order."),
        key("category", Form::Text, "A table with one row an entity and category, and a column `spend`."),
        key("channel", Form::Sql, "By which channel."),
        key("engagement", Form::Names, "Sources and tables with a `time` in which any row is an engagement."),
        key("windows", Form::List(&Form::Window), "Windows of the counts and amounts; `[365d]` if absent."),
        key("prefix", Form::Text, "Put before every name it makes."),
    ],
)
.needs(&[&["preset"], &["from"], &["amount"]]);

/// `preset: preferred_time@1`
pub(crate) static TIME: Shape = Shape::new(
    "preset `preferred_time@1`",
    "The part of the day, and the day of the week, in which a person is active more than others.",
    &[
        key("preset", word(&["preferred_time@1"]), "The preset and its version."),
        key("from", Form::Text, "A source or table with a `time`."),
        key("where", Form::Sql, "Rows that count."),
        key("by", Form::Either(&[BY, Form::List(&BY)]), "`daypart`, `weekday` and `hour`; the first two if absent."),
        key("min_events", Form::Whole(1, 1_000_000), "Fewer events: `none` (5)."),
        key("smoothing", Form::Real(0.0), "Weight of everybody's shares, in events (10)."),
        key("confidence", Form::Real(0.0), "Of the interval that must exclude a lift of 1 (0.95)."),
        key("window", Form::Window, "Only rows of this time before `as_of`."),
        key("prefix", Form::Text, "Put before every name it makes."),
    ],
)
.needs(&[&["preset"], &["from"]]);

const BY: Form = word(&["daypart", "weekday", "hour"]);
