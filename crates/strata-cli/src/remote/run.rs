//! `strata run --to`: sends the pipeline's text, follows the run, ends with its exit code. Never reads a source or writes a table.

use super::client::{Client, Runs, present, short};
use super::failure::Failure;
use super::follow::{Ended, Signals, detached, follow};
use super::{OK, RunTo, shown};
use crate::args::{Output, Pipeline};
use crate::bars::Bars;
use crate::render;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use strata_proto::well_known::{Duration, Timestamp};
use strata_proto::{status, v1};
use strata_spec::{Code, Diagnostic, Kind, Severity, SourceText, Span};
use tonic::Status;

pub(crate) async fn run(pipeline: &Pipeline, to: &str, asked: &RunTo, report: Option<&PathBuf>) -> Result<u8, Failure> {
    let client = Client::of(to, &asked.access)?;
    let source = text(&pipeline.given.path)?;
    let spec = v1::RunSpec {
        pipeline: source.text.clone(),
        file: source.path.clone(),
        vars: vars(pipeline),
        as_of: pipeline.given.as_of.map(|at| Timestamp { seconds: at.timestamp(), nanos: at.timestamp_subsec_nanos() as i32 }),
        timeout: asked.timeout.map(|s| Duration { seconds: s as i64, nanos: 0 }),
    };
    // A key even if none was given: a call whose answer was lost is repeated, and must not make a second run.
    let request_id = asked.request_id.clone().unwrap_or_else(|| format!("cli-{}", strata_runtime::clock::run_id()));
    let request = v1::CreateRunRequest { spec: Some(spec), request_id, validate_only: false };
    let created = match client.tried(async |mut runs: Runs| runs.create_run(request.clone()).await).await {
        Ok(created) => created,
        Err(failed) => return refused(&client, request, &source, failed, pipeline.output).await,
    };
    let run = present(created.run)?;
    let which = if created.existing { "made before by this request id" } else { "accepted" };
    render::line(&format!("run {} on {to}: {which}", run.run_id));
    if asked.detach {
        match pipeline.output {
            Output::Text => render::data(&run.run_id),
            Output::Json => render::data(&shown::json(&run).to_string()),
        }
        detached(&run.run_id, to);
        return Ok(OK);
    }
    let bars = Bars::new(pipeline.output == Output::Json);
    let ended = follow(&client, &run.run_id, &bars, Signals::StopTheRun).await?;
    end(&client, ended, report, pipeline.output).await
}

/// Says how a run ended and gives the exit code.
pub(crate) async fn end(client: &Client, ended: Ended, save: Option<&PathBuf>, output: Output) -> Result<u8, Failure> {
    // How the run ended is known; a report that cannot be fetched changes nothing of it.
    let report = client.report(&ended.run.run_id).await.unwrap_or_else(|failed| {
        render::line(&format!("warning: the run report cannot be fetched: {}", short(&failed)));
        None
    });
    if let (Some(path), Some(report)) = (save, &report) {
        std::fs::write(path, report)
            .map_err(|e| Failure { code: 1, message: format!("cannot write the report to `{}`: {e}", path.display()) })?;
    }
    let code = shown::ended(&ended.run, report.as_deref(), output);
    Ok(ended.signal.unwrap_or(code))
}

fn text(path: &Path) -> Result<SourceText, Failure> {
    let file = if path.is_dir() { path.join("pipeline.yaml") } else { path.to_owned() };
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(SourceText { path: file.display().to_string(), text }),
        Err(e) => Err(Failure::usage(format!(
            "cannot read `{}`: {e}\n  help: give a pipeline file, or a folder with a `pipeline.yaml`",
            file.display()
        ))),
    }
}

/// A cluster has no current folder: what is a path here is sent as the whole path.
fn vars(pipeline: &Pipeline) -> BTreeMap<String, String> {
    let sent = |(name, value): &(String, String)| {
        let whole = absolute(value);
        if let Some(whole) = &whole {
            render::line(&format!("note: `{name}` is sent as `{whole}`, which every worker must reach"));
        }
        (name.clone(), whole.unwrap_or_else(|| value.clone()))
    };
    pipeline.given.vars.iter().map(sent).collect()
}

/// `None` for what is no relative path.
fn absolute(value: &str) -> Option<String> {
    let path = Path::new(value);
    let dotted = value == "." || value == ".." || value.starts_with("./") || value.starts_with("../");
    if value.is_empty() || value.contains("://") || path.is_absolute() || !(dotted || path.exists()) {
        return None;
    }
    let mut out = PathBuf::new();
    for part in std::path::absolute(path).ok()?.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            other => out.push(other),
        }
    }
    Some(out.display().to_string())
}

/// A run that was not accepted: what is wrong with the pipeline is shown in the user's own lines.
async fn refused(
    client: &Client,
    request: v1::CreateRunRequest,
    source: &SourceText,
    failed: Status,
    output: Output,
) -> Result<u8, Failure> {
    let problem = status::decode(failed.details()).unwrap_or_default();
    let failure = Failure::from(failed);
    if problem.diagnostics.is_empty() {
        return Err(failure);
    }
    let mut found = problem.diagnostics;
    if (found.len() as u64) < u64::from(problem.diagnostics_total) {
        // A status has room for some; an answer has room for all.
        let all = v1::CreateRunRequest { validate_only: true, ..request };
        found = client.tried(async |mut runs: Runs| runs.create_run(all.clone()).await).await?.diagnostics;
    }
    let found: Vec<Diagnostic> = found.iter().map(diagnostic).collect();
    match output {
        Output::Text => render::diagnostics(source, &found),
        Output::Json => render::data(&json!({"diagnostics": render::diagnostics_json(source, &found)}).to_string()),
    }
    Ok(failure.code)
}

fn diagnostic(sent: &v1::Diagnostic) -> Diagnostic {
    Diagnostic {
        code: known(&sent.code),
        severity: if sent.severity() == v1::Severity::Warning { Severity::Warning } else { Severity::Error },
        kind: match sent.class() {
            v1::OutcomeClass::Policy => Kind::Policy,
            v1::OutcomeClass::DataCheck => Kind::Data,
            _ => Kind::Invalid,
        },
        message: sent.message.clone(),
        span: span(sent.place.as_ref()),
        label: sent.label.clone(),
        help: Some(sent.help.clone()).filter(|h| !h.is_empty()),
        also: sent.also.iter().map(|r| (span(r.place.as_ref()), r.text.clone())).collect(),
    }
}

fn span(place: Option<&v1::Place>) -> Span {
    place.map_or_else(Span::default, |p| Span::new(p.start as usize, p.end as usize))
}

/// A coordinator of a later version may know codes that this command does not.
fn known(code: &str) -> Code {
    strata_spec::codes::all().find(|c| c.0 == code).unwrap_or(Code("S????"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_sent_whole() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute("./data/../x"), Some(here.join("x").display().to_string()));
        assert_eq!(absolute("src"), here.join("src").exists().then(|| here.join("src").display().to_string()));
        for value in ["", "/data", "s3://bucket/x", "2026-01-01", "not/there"] {
            assert_eq!(absolute(value), None, "{value}");
        }
    }

    #[test]
    fn diagnostics_come_back_as_they_were() {
        let place = Some(v1::Place { line: 2, column: 3, start: 10, end: 14 });
        let sent = v1::Diagnostic { code: "S0302".into(), place, message: "m".into(), ..v1::Diagnostic::default() };
        let read = diagnostic(&sent);
        assert_eq!((read.code.0, read.span, read.kind, read.help), ("S0302", Span::new(10, 14), Kind::Invalid, None));
        assert_eq!(known("S0115").0, "S0115");
    }
}
