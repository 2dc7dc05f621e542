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
const MIN_CELL: Key = key("min_cell", at_least(1), "Of counts of a wave: smaller ones are not shown, nor what would tell them.");
const FORMULAS: Key = key(
    "formulas",
    word(&["escape", "keep"]),
    "Text in CSV that a spreadsheet would take for a formula: `escape` (the default) writes an apostrophe before it.",
);
const PSEUDONYM_KEY: Key = key("pseudonym", Form::Map(&PSEUDONYM), "What stands in place of the entity key.");
const ANONYMITY_KEY: Key = key("anonymity", Form::Map(&ANONYMITY), "Nobody stands out by columns that others could know.");
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
    &[
        TO,
        FORMAT,
        PURPOSE,
        CLASSES_KEY,
        WHERE,
        HISTORY_KEY,
        FORMULAS,
        PSEUDONYM_KEY,
        ANONYMITY_KEY,
        CHANGES,
        MIN_CELL,
        DROP,
        PARTITION,
        PUBLISH,
    ],
)
.elsewhere(&[("select", "each output selects its own columns"), ("from", "each output says its own rows")]);

/// An output.
pub(crate) static OUTPUT: Shape = Shape::new(
    "output",
    "A table to publish.",
    &[
        key(
            "from",
            Form::Text,
            "What its rows are: an entity, a table, a profile, `panel.WAVE` or a part of it such as `panel.WAVE.health`.",
        ),
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
        FORMULAS,
        PSEUDONYM_KEY,
        ANONYMITY_KEY,
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

/// `pseudonym:`
pub(crate) static PSEUDONYM: Shape = Shape::new(
    "`pseudonym`",
    "A keyed hash in place of the entity key.",
    &[
        key("key", Form::Text, "`env:NAME`: the secret; the key itself is never written in the file."),
        key("as", Form::Text, "Its column; `panelist_id` if absent."),
        key("export", Form::Text, "Outputs of this name and as-of have the same; the output's own name if absent."),
        key("shared", Form::Text, "In place of `export`: everything that says so has the same, in every run."),
        key("key_id", Form::Text, "Written before each, so that it can be told which key made it."),
    ],
)
.needs(&[&["key"]]);

/// A step of `generalise`.
const STEP: Form = Form::Either(&[word(&["all"]), Form::Labelled(&Form::Names)]);

/// `anonymity:`
pub(crate) static ANONYMITY: Shape = Shape::new(
    "`anonymity`",
    "Nobody is in a group of fewer than k who look alike.",
    &[
        key("k", Form::Whole(2, 1_000_000), "People in a group, at least (10)."),
        key("over", Form::Names, "Columns by which others could know a person."),
        key(
            "generalise",
            Form::Labelled(&Form::List(&STEP)),
            "How a column is made coarser, step by step: `{label: [values]}`, or `all`, which leaves `*`.",
        ),
        key("leave_out", Form::Share, "Of how many people these columns may be left empty; without `generalise` of all."),
        key("weights", word(&["cell_mean", "rounded"]), "What is shown of weights; the mean of those who look alike if absent."),
        key("round_to", Form::Real(0.0), "Of `weights: rounded`: multiples of this."),
    ],
)
.needs(&[&["over"]]);
