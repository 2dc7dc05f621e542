//! `strata contract infer`: the `columns:` that a source over these files could declare. Never writes a file.

use crate::render;
use crate::verbs;
use strata_engine::contract::{InferredColumn, infer};
use strata_engine::{Error, InProcessRunner};
use strata_runtime::Limits;

/// Prints a block for each address.
pub(crate) async fn run(paths: &[String]) -> u8 {
    let runner = match InProcessRunner::new(&Limits::default()) {
        Ok(runner) => runner,
        Err(e) => return verbs::failed(&Error::of_step("start", e)),
    };
    let mut code = 0;
    for path in paths {
        match infer(path, &runner).await {
            Err(e) => code = code.max(verbs::failed(&e)),
            Ok(found) => {
                let all = if found.is_all { "all rows" } else { "the first rows only: nulls and repeats may come later" };
                let rows = crate::summary::number(found.rows);
                render::data(&format!("# {path}: {} file{}, {rows} rows, {all}", found.files, render::plural(found.files)));
                if !found.keys.is_empty() {
                    render::data(&format!("# could be the key: {}", found.keys.join(", ")));
                }
                render::data("columns:");
                found.columns.iter().for_each(|c| render::data(&line(c)));
            }
        }
    }
    code
}

fn line(column: &InferredColumn) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = match column.name.chars().all(plain) && !column.name.starts_with(|c: char| c.is_ascii_digit()) {
        true => column.name.clone(),
        false => serde_json::to_string(&column.name).unwrap_or_default(),
    };
    match &column.kind {
        Ok(kind) => {
            let kind = format!("{kind}{}", if column.nullable { "" } else { "!" });
            if let Some(format) = column.format {
                // What such a column holds names a person more often than not.
                let class = if format == "email" { ", class: direct_id" } else { "" };
                return format!("  {name}: {{type: {kind}{class}, format: {format}}}");
            }
            // A comma or a bracket ends a plain value inside `{…}`.
            if kind.contains(',') { format!("  {name}: \"{kind}\"") } else { format!("  {name}: {kind}") }
        }
        Err(kind) => format!("  # {name}: {kind} cannot be declared"),
    }
}
