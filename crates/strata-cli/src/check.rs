//! `strata check`: everything that is wrong with a pipeline, in the form that is asked for. Never runs anything, never needs
//! data.

use crate::args::{Findings, Given};
use crate::{render, verbs};
use serde_json::json;
use strata_engine::load::verdict;
use strata_spec::{Diagnostic, formats};

/// Checks, says what was found, gives the exit code.
pub(crate) async fn check(given: &Given, output: Findings) -> u8 {
    let loaded = match verbs::load(given, true).await {
        Ok(loaded) => loaded,
        Err(e) => return verbs::failed(&e),
    };
    let (_, found) = verbs::compiled(&loaded);
    let verdict = verdict(&found);
    // Of a pipeline that is wrong there is enough to say.
    let hints = match (&loaded.pipeline, &verdict) {
        (Some(pipeline), Ok(())) => strata_spec::hints(pipeline),
        _ => vec![],
    };
    let all = || found.iter().chain(&hints).cloned().collect::<Vec<Diagnostic>>();
    match output {
        Findings::Text => {
            render::diagnostics(&loaded.source, &found);
            render::notes(&loaded.source, &hints);
            if verdict.is_ok() {
                render::line(&format!("{}: no errors", loaded.source.path));
            }
        }
        Findings::Json => render::data(&json!({"diagnostics": formats::json(&loaded.source, &all())}).to_string()),
        Findings::Sarif => {
            render::data(&serde_json::to_string_pretty(&formats::sarif(&loaded.source, &all())).unwrap_or_default())
        }
        Findings::Github => {
            let text = formats::github(&loaded.source, &all());
            if !text.is_empty() {
                render::data(text.trim_end());
            }
        }
    }
    verdict.map_or_else(|e| e.exit_code(), |()| 0)
}
