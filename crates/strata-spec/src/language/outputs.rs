//! `outputs:`. Never writes one.

use super::sources::{CLASSES, OUTPUT_FORMATS};
use super::{Form, Key, Shape, at_least, key, word, words};

const HISTORY: &str = "each run writes the whole table: `history: snapshot` keeps the rows of every as-of";
const CLASS: Form = word(CLASSES);

const TO: Key = key("to", Form::Text, "The folder; `{name}` stands for the output's name.");
const FORMAT: Key = key("format", OUTPUT_FORMATS, "The table's format; Delta if absent.");
const PURPOSE: Key = key("purpose", Form::Text, "Only people who consented to it.");
const CLASSES_KEY: Key =
    key("classes", Form::Either(&[CLASS, Form::List(&CLASS)]), "Classes of personal columns that it may hold.");
const WHERE: Key = key("where", Form::Sql, "Who is in it.");
const HISTORY_KEY: Key = key(
    "history",
    words(&["none", "snapshot"], &["scd2"], HISTORY),
    "`none`: the newest table; `snapshot`: the rows of every as-of, in a column `as_of`; `scd2`: from when to when a row held.",
);
const CHANGES: Key = key("changes_only", Form::Flag, "Only rows that are not as they were in the last run.").later(HISTORY);
const MIN_CELL: Key =
    key("min_cell", at_least(1), "Groups smaller than this are left out.").later("write `min_cell` in the profile");
const DROP: Key =
    key("drop", Form::Names, "Columns to leave out of what is selected.").later("list the columns you want in `select`");
const PARTITION: Key =
    key("partition_by", Form::Names, "Columns that become folders.").later("leave it out: an output is one set of files");
const PUBLISH: Key = key("publish", word(&["together", "per_table"]), "Whether all tables of a run become visible at once.")
    .later("each output is published by itself: leave it out");

/// `outputs:`
pub(crate) static OUTPUTS: Shape = Shape::new(
    "`outputs`",
    "The tables to publish.",
    &[key("defaults", Form::Map(&DEFAULTS), "What all outputs say unless they say otherwise.")],
)
.rest(&Form::Map(&OUTPUT));

/// `defaults:`
pub(crate) static DEFAULTS: Shape = Shape::new(
    "output `defaults`",
    "What all outputs say unless they say otherwise.",
    &[TO, FORMAT, PURPOSE, CLASSES_KEY, WHERE, HISTORY_KEY, CHANGES, MIN_CELL, DROP, PARTITION, PUBLISH],
)
.elsewhere(&[("select", "each output selects its own columns"), ("from", "each output says its own rows")]);

/// An output.
pub(crate) static OUTPUT: Shape = Shape::new(
    "output",
    "A table to publish.",
    &[
        key("from", Form::Text, "What its rows are: an entity, a table, a profile, or `panel.WAVE`."),
        key(
            "select",
            Form::Names,
            "Columns: a name, `source.column`, `customer.attributes`, `customer.segments` or `profile.*`.",
        ),
        TO,
        FORMAT,
        PURPOSE,
        CLASSES_KEY,
        WHERE,
        HISTORY_KEY,
        CHANGES,
        MIN_CELL,
        DROP,
        PARTITION,
        PUBLISH,
    ],
)
.needs(&[&["select"]])
.elsewhere(&[
    ("sql", "an output selects columns: write the SELECT under `tables:`, and `select: table.*`"),
    ("parquet", "write `to: folder` and `format: parquet`"),
    ("csv", "write `to: folder` and `format: csv`"),
]);
