//! The top of a pipeline file, and its tests. Never says how a section is read.

use super::{Form, Shape, attributes, key, outputs, panel, people, segments, sources, word};

/// A pipeline file.
pub(crate) static PIPELINE: Shape = Shape::new(
    "the pipeline",
    "A Strata pipeline: everything from source tables to published tables.",
    &[
        key("version", word(&["1"]), "Version of the language: 1."),
        key("name", Form::Text, "Name of the pipeline: letters, digits, `_` and `-`."),
        key(
            "as_of",
            Form::Instant,
            "The only clock: rows at or after this instant are not used. `${run.as_of}` takes it from `--as-of`.",
        ),
        key("timezone", Form::Text, "Where days begin and hours are counted, such as `Europe/Berlin`. UTC if absent."),
        key(
            "vars",
            Form::Named(&Form::Text),
            "Variables with their defaults: `${vars.name}` stands for one, `-p name=value` sets it.",
        ),
        key("include", Form::List(&Form::Text), "Files of the same folder that belong to this pipeline.")
            .later("write everything in one file"),
        key("sources", Form::Named(&Form::Map(&sources::SOURCE)), "Input tables: where they are and what is known about them."),
        key("identity", Form::Named(&Form::Map(&people::IDENTITY)), "Which rows of different sources are one and the same.")
            .later("resolve identities beforehand, and read the result as the roster"),
        key("consent", Form::Map(&people::CONSENT), "Who may be used for which purpose; enforced at every output and panel."),
        key(
            "entities",
            Form::Named(&Form::Map(&people::ENTITY)),
            "Who or what everything is about; each row of a roster gets one row of attributes.",
        ),
        key("tables", Form::Named(&Form::Map(&sources::TABLE)), "Named SELECTs over sources and other tables."),
        key(
            "attributes",
            Form::Named(&Form::List(&attributes::BLOCK)),
            "What to know about each entity: blocks of named expressions.",
        ),
        key("segments", Form::Named(&segments::SEGMENTATION), "Families of segments; each is a column of the entity."),
        key("profiles", Form::Named(&Form::Map(&people::PROFILE)), "What segments are like: size, share, means and indices."),
        key("personas", Form::Map(&people::PERSONAS), "Segments told as people.")
            .later("write `profiles:` with `of` and `describe`"),
        key("typing_tool", Form::Map(&people::TYPING_TOOL), "A few questions that place a person in a segment.")
            .later("fit it outside from the published segments"),
        key("personalise", Form::Map(&people::PERSONALISE), "Next best items, offers, channel and time for each person.")
            .later("publish the segments, and choose offers outside"),
        key("panel", Form::Map(&panel::PANEL), "An insight community: who belongs to it, and the samples drawn from it."),
        key("outputs", Form::Map(&outputs::OUTPUTS), "The tables to publish."),
        key("tests", Form::List(&Form::Map(&TEST)), "Given rows and the values they must lead to: `strata test`."),
    ],
)
.needs(&[&["version"], &["name"], &["sources"]])
.elsewhere(&[
    ("contracts", "a contract is part of its source: write `columns` and `checks` there"),
    ("contract", "a contract is part of its source: write `columns` and `checks` there"),
    ("checks", "checks belong to a source or a table: `sources: {orders: {checks: {…}}}`"),
    ("models", "a model is an attribute: write `{model: …}` under `columns` of a block"),
    ("presets", "a preset is a block of attributes, `- preset: loyalty_core@1`, or the `method` of a segmentation"),
    ("history", "history belongs to an output: `outputs: {profile: {history: snapshot}}`"),
    ("licence", "a licence belongs to its source: `sources: {demographics: {licence: {…}}}`"),
    ("params", "parameters are variables: write `vars: {name: default}`, and set them by `-p name=value`"),
    ("parameters", "parameters are variables: write `vars: {name: default}`, and set them by `-p name=value`"),
    ("exports", "what leaves the pipeline is an output: write `outputs: {name: {to: folder, select: …}}`"),
    ("waves", "waves belong to the panel: write `panel: {waves: {…}}`"),
    ("quotas", "quotas belong to a wave: write `panel: {waves: {main: {quotas: {…}}}}`"),
    ("engine", "the engine belongs to the run, not to the pipeline: set it by flags of `strata run`"),
    ("schedule", "a pipeline does not say when it runs: that is the orchestrator's"),
    ("secrets", "credentials belong to the run, not to the pipeline"),
    ("credentials", "credentials belong to the run, not to the pipeline"),
]);

const ROWS: Form = Form::List(&Form::Named(&Form::Cell));

/// An element of `tests:`.
pub(crate) static TEST: Shape = Shape::new(
    "a test",
    "Given rows, and the values they must lead to.",
    &[
        key("name", Form::Text, "Name in the report."),
        key("entity", Form::Text, "Which entity; the first if absent."),
        key("as_of", Form::Instant, "The instant to look back from; the pipeline's if absent."),
        key("given", Form::Named(&ROWS), "Rows of sources; what is not given is empty. Times without an offset are of `timezone`. Checks are not asked of them; what puts rows aside or empties values does."),
        key(
            "expect",
            Form::Either(&[Form::Named(&Form::Cell), ROWS]),
            "Values of the one entity given, or a list of rows with their key.",
        ),
    ],
)
.needs(&[&["given"], &["expect"]]);
