//! `strata sql` and `strata preview`: how one thing of a pipeline is made, and its first rows. Never publishes anything, and never shows
//! who somebody is unless that is asked for.

use crate::args::{Given, Output};
use crate::{render, table, verbs};
use arrow::array::Array;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use strata_engine::{Error, InProcessRunner, Trial};
use strata_plan::Node;
use strata_runtime::Limits;

/// What stands for a value that names a person.
const MASKED: &str = "***";

/// How a node is made: what the file says, the plans, what it depends on.
pub(crate) async fn sql(given: &Given, node: &str, output: Output) -> u8 {
    let loaded = match verbs::load(given, true).await {
        Ok(loaded) => loaded,
        Err(e) => return verbs::failed(&e),
    };
    let (outcome, found) = verbs::compiled(&loaded);
    let Some(mut compiled) = outcome.and_then(|o| o.compiled) else { return verbs::say(&loaded, &found, output) };
    let node = match strata_plan::resolve(compiled.pipeline(), node) {
        Ok(node) => node,
        Err(e) => return usage(&e),
    };
    let written = compiled.written(&node);
    let needs = match compiled.required(&node).and_then(|r| Ok((r, compiled.explained(&node)?))) {
        Ok(needs) => needs,
        Err(e) => return verbs::failed(&Error::of_step("compile", e)),
    };
    let (required, plans) = needs;
    let place = |span| loaded.source.place(span);
    let attributes = required.attributes.iter().map(|e| format!("attributes of {e}"));
    let below: Vec<String> = attributes.chain(plans.iter().skip(1).map(|(name, _)| name.clone())).collect();
    if output == Output::Json {
        let written = written
            .iter()
            .map(|w| json!({"name": w.name.value, "sql": w.sql.as_ref().map(|s| s.text.trim()), "place": place(w.name.span)}));
        let plans = plans.iter().map(|(name, plan)| json!({"of": name, "plan": plan.display_indent().to_string()}));
        render::data(
            &json!({
                "written": written.collect::<Vec<_>>(),
                "reads": below,
                "steps": steps(&required),
                "plans": plans.collect::<Vec<_>>(),
            })
            .to_string(),
        );
        return 0;
    }
    render::data("as written");
    for w in &written {
        let text = w.sql.as_ref().map(|s| indented(s.text.trim(), 6)).unwrap_or_default();
        render::data(&format!("  {}: {}    -- {}", w.name.value, text, place(w.name.span)));
    }
    render::data(&format!("\nreads\n  {}", if below.is_empty() { "no table".to_owned() } else { below.join("\n  ") }));
    let steps = steps(&required);
    if !steps.is_empty() {
        render::data(&format!("\nafter\n  {}", steps.join("\n  ")));
    }
    if !required.solved.is_empty() {
        render::line("note: what is solved from the data (cuts, centroids) stands as a placeholder in this plan");
    }
    for (name, plan) in &plans {
        let title = if name.is_empty() { "as compiled".to_owned() } else { format!("{name}, as compiled") };
        render::data(&format!("\n{title}\n  {}", indented(&plan.display_indent().to_string(), 2)));
    }
    0
}

fn steps(required: &strata_plan::Required) -> Vec<String> {
    let tables = required.tables.iter().map(|t| format!("table {t}"));
    let attributes = required.attributes.iter().map(|e| format!("attributes of {e}"));
    let solved = required.solved.iter().map(|s| format!("segments {s}"));
    tables.chain(attributes).chain(solved).chain(required.wave.iter().map(|w| format!("panel {w}"))).collect()
}

/// Every line but the first moved to the right.
fn indented(text: &str, by: usize) -> String {
    text.replace('\n', &format!("\n{}", " ".repeat(by)))
}

/// The first rows of a node.
pub(crate) async fn preview(given: &Given, node: &str, rows: usize, show_personal: bool, output: Output) -> u8 {
    let loaded = match verbs::load(given, false).await {
        Ok(loaded) => loaded,
        Err(e) => return verbs::failed(&e),
    };
    let (outcome, found) = verbs::compiled(&loaded);
    let (Some(pipeline), true) = (&loaded.pipeline, outcome.is_some_and(|o| o.compiled.is_some())) else {
        return verbs::say(&loaded, &found, output);
    };
    if let Err(e) = strata_engine::load::verdict(&found) {
        verbs::say(&loaded, &found, output);
        return e.exit_code();
    }
    let node = match strata_plan::resolve(pipeline, node) {
        Ok(node) => node,
        Err(e) => return usage(&e),
    };
    match first_rows(&loaded, &node, rows).await {
        Ok(Looked { batches, schema, direct, notes }) => {
            let masked = if show_personal { BTreeSet::new() } else { direct };
            show(&schema, &batches, &masked, output);
            notes.iter().for_each(|note| render::line(&format!("note: {note}")));
            0
        }
        Err(e) => verbs::failed(&e),
    }
}

/// Rows of a node.
struct Looked {
    batches: Vec<RecordBatch>,
    schema: arrow::datatypes::SchemaRef,
    /// Columns that name people.
    direct: BTreeSet<String>,
    notes: Vec<String>,
}

async fn first_rows(loaded: &strata_engine::Loaded, node: &Node, rows: usize) -> Result<Looked, Error> {
    let runner = InProcessRunner::new(&Limits::default()).map_err(|e| Error::of_step("start", e))?;
    let work = verbs::scratch()?;
    let mut trial = Trial::new(loaded, &runner, work.path())?;
    let (schema, batches) = trial.first_rows(node, rows).await?;
    let direct = trial.compiled().direct_ids(node);
    Ok(Looked { batches, schema, direct, notes: trial.notes() })
}

fn show(schema: &Schema, batches: &[RecordBatch], masked: &BTreeSet<String>, output: Output) {
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let hidden: Vec<&str> = names.iter().copied().filter(|n| masked.contains(*n)).collect();
    if output == Output::Json {
        for batch in batches {
            for row in 0..batch.num_rows() {
                let cells = names.iter().enumerate().map(|(c, name)| {
                    let value = if masked.contains(*name) { json!(MASKED) } else { cell_json(batch.column(c).as_ref(), row) };
                    ((*name).to_owned(), value)
                });
                render::data(&Value::Object(cells.collect::<Map<_, _>>()).to_string());
            }
        }
        return;
    }
    let mut rows: Vec<Vec<String>> = vec![names.iter().map(|n| (*n).to_owned()).collect()];
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cell = |(c, name): (usize, &&str)| match masked.contains(*name) {
                true => MASKED.to_owned(),
                false => cell_text(batch.column(c).as_ref(), row),
            };
            rows.push(names.iter().enumerate().map(cell).collect());
        }
    }
    let numeric: Vec<bool> = schema.fields().iter().map(|f| f.data_type().is_numeric()).collect();
    render::data(&table::text(&rows, &numeric));
    if !hidden.is_empty() {
        render::line(&format!("note: {} name people and are masked; `--show-personal` shows them", hidden.join(", ")));
    }
}

fn cell_text(column: &dyn Array, row: usize) -> String {
    let options = FormatOptions::default().with_null("null");
    ArrayFormatter::try_new(column, &options).map_or_else(|_| String::new(), |f| f.value(row).to_string())
}

fn cell_json(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    let text = cell_text(column, row);
    match column.data_type() {
        DataType::Boolean => json!(text == "true"),
        k if k.is_integer() || k.is_floating() => serde_json::from_str(&text).unwrap_or(json!(text)),
        _ => json!(text),
    }
}

fn usage(message: &str) -> u8 {
    render::line(&format!("error: {message}"));
    2
}
