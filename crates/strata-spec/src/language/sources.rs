//! `sources:` and `tables:`. Never opens one.

use super::{Form, Shape, key, word, words};

const FORMATS_LATER: &str = "write the table as Parquet or CSV and read that: `parquet: path`";

/// Words of column classes.
pub(crate) const CLASSES: &[&str] = &["direct_id", "quasi_id", "sensitive", "none"];
/// What becomes of rows that fail a check.
pub(crate) const ON_FAIL: &[&str] = &["stop", "quarantine", "set_null", "warn"];
/// Formats of text that checks know.
pub(crate) const TEXT_FORMATS: &[&str] = &["email", "phone", "url", "uuid"];

/// A source.
pub(crate) static SOURCE: Shape = Shape::new(
    "source",
    "An input table.",
    &[
        key("parquet", Form::Text, "A Parquet file, a folder of them, or a glob (`*`, `**`, `?`)."),
        key("csv", Form::Text, "A CSV file with a header line, a folder of them, or a glob. Needs `columns`."),
        key("delta", Form::Text, "A Delta table.").later(FORMATS_LATER),
        key("iceberg", Form::Text, "An Iceberg table.").later(FORMATS_LATER),
        key("jsonl", Form::Text, "Files with one JSON object a line.").later(FORMATS_LATER),
        key("xlsx", Form::Text, "An Excel workbook.").later(FORMATS_LATER),
        key("postgres", Form::Text, "A table of a PostgreSQL database.").later(FORMATS_LATER),
        key("time", Form::Text, "When it happened: rows at or after `as_of` are not used."),
        key(
            "mode",
            word(&["append", "mutable"]),
            "`append`: rows are only added (needs `time`). `mutable`: rows change in place.",
        ),
        key("history", Form::Map(&HISTORY), "Columns that say from when to when a row held, so that the past can be rebuilt.")
            .later("leave it out: a mutable source is read as it is now"),
        key("late", Form::Duration(false), "How much later than its `time` a row may arrive."),
        key(
            "learned_later",
            Form::Labelled(&Form::Names),
            "Columns that read as null while their own time is at or after `as_of`: `{responded_at: [answer]}`.",
        ),
        key("key", Form::Names, "What is unique in the table."),
        key(
            "duplicates",
            Form::Either(&[Form::Text, Form::Map(&KEEP)]),
            "`identical` (any copy will do; copies that differ are quarantined), or `{keep: latest by …}`.",
        ),
        key("keep", Form::Text, "`latest by <order>`: the first row of that order wins."),
        key("where", Form::Sql, "Rows that are used; the others are counted as filtered."),
        key(
            "references",
            Form::Either(&[Form::Labelled(&Form::Text), Form::List(&Form::Map(&REFERENCE))]),
            "Look-ups by the other's key: `{item_id: products}`, `{store_id: stores as home_store}`.",
        ),
        key("derive", Form::Named(&Form::Sql), "Columns of our own, top to bottom."),
        key(
            "columns",
            Form::Named(&Form::Either(&[Form::Text, Form::Map(&COLUMN)])),
            "The declared columns: `{id: string!, amount: \"decimal(12,2)\"}`; `!` means never null.",
        ),
        key("classes", Form::Named(&word(CLASSES)), "How personal columns are."),
        key(
            "checks",
            Form::Named(&Form::Map(&CHECK)),
            "Rules for the rows that `as_of` and `where` leave, in order after those of `columns`, and what a bad row gets.",
        ),
        key("drift", Form::Map(&DRIFT), "What to do when files do not hold the declared columns. Their order never matters."),
        key("licence", Form::Map(&LICENCE), "Under which terms third-party data may be used.")
            .later("keep the licence beside the data"),
    ],
)
.needs(&[&["parquet", "csv", "delta", "iceberg", "jsonl", "xlsx", "postgres"]])
.elsewhere(&[
    ("fields", "declare `columns`"),
    ("contract", "declare `columns` and `checks`"),
    ("rules", "rules for rows are `checks`"),
    ("freshness", "write it as a check: `checks: {fresh: {freshness: 26h}}`"),
    ("volume", "write it as a check: `checks: {volume: {volume: {of: 7d, min: 0.5, max: 2}}}`"),
    ("sql", "a source is files: write the SELECT under `tables:`"),
    ("select", "a source is read whole: name what you use in attributes, or write a SELECT under `tables:`"),
]);

/// `duplicates: {keep: …}`
pub(crate) static KEEP: Shape =
    Shape::new("`duplicates`", "Which of several rows of one key is kept.", &[key("keep", Form::Text, "`latest by <order>`.")])
        .needs(&[&["keep"]]);

/// A reference in a list.
pub(crate) static REFERENCE: Shape = Shape::new(
    "a reference",
    "A left join on another source's key.",
    &[
        key("columns", Form::Names, "Own columns, one for each of the other's key."),
        key("source", Form::Text, "The other source."),
        key("as", Form::Text, "The name its columns are known by."),
    ],
)
.needs(&[&["columns"], &["source"]]);

/// A declared column.
pub(crate) static COLUMN: Shape = Shape::new(
    "column",
    "A declared column.",
    &[
        key(
            "type",
            Form::Text,
            "string, int, bigint, double, boolean, date, timestamp, decimal(p,s) or enum(a,b); `!` behind it: never null.",
        ),
        key("nullable", Form::Flag, "Whether it may be null."),
        key("enum", Form::Names, "The values allowed."),
        key("class", word(CLASSES), "How personal it is."),
        key("min", Form::Sql, "The least value allowed; null passes."),
        key("max", Form::Sql, "The greatest value allowed; null passes."),
        key("format", word(TEXT_FORMATS), "What its text must look like; null passes."),
        key(
            "on_fail",
            word(ON_FAIL),
            "What a row gets whose value is not as declared: `stop` (default), `quarantine`, `set_null` or `warn`.",
        ),
    ],
)
.needs(&[&["type"]])
.elsewhere(&[
    ("check", "write `format`, `min` and `max`, or a rule under the source's `checks`"),
    ("checks", "write `format`, `min` and `max`, or a rule under the source's `checks`"),
    (
        "references",
        "write it under the source's `references`, or as a check: `checks: {known: {references: stores, columns: [store_id]}}`",
    ),
]);

/// A check.
pub(crate) static CHECK: Shape = Shape::new(
    "check",
    "A rule for rows or for a whole table, and what becomes of what fails it.",
    &[
        key("sql", Form::Sql, "A row is bad where this is false; null passes. With aggregates (`count(*) > 0`), the whole source is."),
        key("not_null", Form::Names, "Columns that must not be null."),
        key("unique", Form::Names, "Columns that are unique together, before duplicates are removed; null passes. `quarantine` puts all rows aside that repeat."),
        key("column", Form::Text, "The column that `min`, `max`, `enum` and `format` are about, or that `set_null` empties."),
        key("min", Form::Sql, "The least value allowed."),
        key("max", Form::Sql, "The greatest value allowed."),
        key("enum", Form::Names, "The values allowed."),
        key("format", word(TEXT_FORMATS), "What the text must look like."),
        key("references", Form::Text, "A source whose key must hold the value of `columns`, among its rows that `as_of` and its `where` leave; null passes."),
        key("columns", Form::Names, "The columns of `references`."),
        key("freshness", Form::Duration(false), "The newest row must not be older, counted back from `as_of`."),
        key("volume", Form::Map(&VOLUME), "Rows of the 24 hours before `as_of` against those of the days before."),
        key("on_fail", word(ON_FAIL), "`stop` (default), `quarantine`, `set_null` or `warn`."),
    ],
)
.needs(&[&["sql", "not_null", "unique", "min", "max", "enum", "format", "references", "freshness", "volume"]]);

/// A check of a table.
pub(crate) static TABLE_CHECK: Shape = Shape::new(
    "check",
    "A rule for the rows of a table, or for all of them, and what the run gets where it fails.",
    &[
        key(
            "sql",
            Form::Sql,
            "A row is bad where this is false; null passes. With aggregates (`count(*) > 0`), the whole table is.",
        ),
        key("not_null", Form::Names, "Columns that must not be null."),
        key("unique", Form::Names, "Columns that are unique together; null passes."),
        key("column", Form::Text, "The column that `min`, `max`, `enum` and `format` are about."),
        key("min", Form::Sql, "The least value allowed."),
        key("max", Form::Sql, "The greatest value allowed."),
        key("enum", Form::Names, "The values allowed."),
        key("format", word(TEXT_FORMATS), "What the text must look like."),
        key("references", Form::Text, "A source whose key must hold the value of `columns`; null passes."),
        key("columns", Form::Names, "The columns of `references`."),
        key("freshness", Form::Duration(false), "The newest row must not be older, counted back from `as_of`."),
        key("volume", Form::Map(&VOLUME), "Rows of the 24 hours before `as_of` against those of the days before."),
        key("on_fail", word(&["stop", "warn"]), "`stop` (default) or `warn`."),
    ],
)
.needs(&[&["sql", "not_null", "unique", "min", "max", "enum", "format", "references", "freshness", "volume"]]);

/// `volume:` of a check.
pub(crate) static VOLUME: Shape = Shape::new(
    "`volume`",
    "Rows of the 24 hours before `as_of` against the mean of the days before.",
    &[
        key("of", Form::Duration(false), "How many days before; 7d if absent."),
        key("min", Form::Real(0.0), "At least so many times their mean."),
        key("max", Form::Real(0.0), "At most so many times their mean."),
    ],
)
.needs(&[&["min", "max"]]);

/// `drift:`
pub(crate) static DRIFT: Shape = Shape::new(
    "`drift`",
    "What to do when the files' columns are not as declared.",
    &[
        key("added", word(&["ignore", "warn", "stop"]), "A column that is not declared (`ignore`)."),
        key("dropped", word(&["stop", "warn", "set_null"]), "A declared column that some files, or all, do not hold (`stop`)."),
        key(
            "retyped",
            word(&["stop", "cast"]),
            "A declared column of a type that does not fit without loss (`stop`); `cast` stops at a value that cannot be cast.",
        ),
    ],
);

/// `history:` of a mutable source.
pub(crate) static HISTORY: Shape = Shape::new(
    "`history`",
    "From when to when a row held.",
    &[
        key("valid_from", Form::Text, "The column with the first instant."),
        key("valid_to", Form::Text, "The column with the instant at which it ended; null: it still holds."),
    ],
)
.needs(&[&["valid_from"]]);

/// `licence:`
pub(crate) static LICENCE: Shape = Shape::new(
    "`licence`",
    "Terms of third-party data.",
    &[
        key("supplier", Form::Text, "Whose data it is."),
        key("expires", Form::Instant, "The day after which it must not be used."),
        key("not_for", Form::Names, "Purposes it must not be used for."),
    ],
)
.needs(&[&["supplier"]]);

/// A table.
pub(crate) static TABLE: Shape = Shape::new(
    "table",
    "A named SELECT over sources and other tables.",
    &[
        key("key", Form::Names, "What is unique in the result; checked."),
        key("time", Form::Text, "When a row happened, for windows over it."),
        key("sql", Form::Sql, "One SELECT."),
        key(
            "checks",
            Form::Named(&Form::Map(&TABLE_CHECK)),
            "Rules for its rows and for all of them: `stop` (default) or `warn`.",
        ),
    ],
)
.needs(&[&["key"], &["sql"]])
.elsewhere(&[
    ("where", "write it into the SELECT"),
    ("from", "write it into the SELECT: `sql: select … from …`"),
    ("columns", "write them into the SELECT"),
]);

/// Formats that outputs can have later.
pub(crate) const OUTPUT_FORMATS: Form = words(
    &["delta", "parquet", "csv", "jsonl", "xlsx"],
    &["iceberg", "postgres"],
    "write `format: delta`, `parquet`, `csv`, `jsonl` or `xlsx`",
);
