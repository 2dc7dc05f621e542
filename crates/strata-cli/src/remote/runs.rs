//! `strata runs`: looks at runs and asks them to stop or go on. Never waits unless told to.

use super::client::{Client, Runs, present};
use super::failure::Failure;
use super::follow::{Signals, detached, follow};
use super::run::end;
use super::{Access, OK, RunsArgs, What, shown};
use crate::args::Output;
use crate::bars::Bars;
use crate::{render, summary};
use serde_json::{Value, json};
use strata_engine::RunReport;
use strata_proto::v1;

/// Runs or lines asked for at once.
const PAGE: u32 = 200;
/// Nothing there.
const USAGE: u8 = 2;

pub(crate) async fn run(args: RunsArgs) -> Result<u8, Failure> {
    let RunsArgs { what, to, token_file, ca, output } = args;
    let client = Client::of(&to, &Access { token_file, ca })?;
    match what {
        What::List { pipeline, state, limit } => list(&client, pipeline, state, limit, output).await,
        What::Get { run } => Ok(show(&client.get(&run).await?, output)),
        What::Watch { run } => watch(&client, &run, output).await,
        What::Logs { run } => logs(&client, &run, output).await,
        What::Report { run } => report(&client, &run, output).await,
        What::Cancel { run, reason } => Ok(show(&client.cancel(&run, &reason).await?, output)),
        What::Resume { run, wait } => resume(&client, &run, wait, output).await,
    }
}

fn show(run: &v1::Run, output: Output) -> u8 {
    match output {
        Output::Text => render::data(&shown::text(run)),
        Output::Json => render::data(&shown::json(run).to_string()),
    }
    OK
}

async fn list(
    client: &Client,
    pipeline: Option<String>,
    states: Vec<v1::RunState>,
    limit: u32,
    output: Output,
) -> Result<u8, Failure> {
    let mut request = v1::ListRunsRequest {
        pipeline: pipeline.unwrap_or_default(),
        states: states.into_iter().map(i32::from).collect(),
        ..v1::ListRunsRequest::default()
    };
    let mut found: Vec<v1::Run> = vec![];
    while (found.len() as u64) < u64::from(limit) {
        request.page_size = (limit - found.len() as u32).min(PAGE);
        let page = client.tried(async |mut runs: Runs| runs.list_runs(request.clone()).await).await?;
        found.extend(page.runs);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    match output {
        Output::Text if found.is_empty() => render::line("no runs"),
        Output::Text => render::data(&shown::table(&found)),
        Output::Json => render::data(&Value::Array(found.iter().map(shown::json).collect()).to_string()),
    }
    Ok(OK)
}

async fn watch(client: &Client, run_id: &str, output: Output) -> Result<u8, Failure> {
    let bars = Bars::new(output == Output::Json);
    let ended = follow(client, run_id, &bars, Signals::LookAway).await?;
    end(client, ended, None, output).await
}

async fn logs(client: &Client, run_id: &str, output: Output) -> Result<u8, Failure> {
    let mut request = v1::ListLogsRequest { run_id: run_id.to_owned(), after_seq: 0, page_size: PAGE };
    loop {
        let page = client.tried(async |mut runs: Runs| runs.list_logs(request.clone()).await).await?;
        for line in &page.lines {
            let at = shown::time(line.at).unwrap_or_default();
            match output {
                Output::Text => render::data(&format!("{at} {:<5} {}", line.level, line.message)),
                Output::Json => {
                    render::data(&json!({"seq": line.seq, "at": at, "level": line.level, "message": line.message}).to_string());
                }
            }
        }
        match page.lines.last() {
            Some(last) if page.lines.len() as u32 == PAGE => request.after_seq = last.seq,
            _ => return Ok(OK),
        }
    }
}

async fn report(client: &Client, run_id: &str, output: Output) -> Result<u8, Failure> {
    let run = client.get(run_id).await?;
    let Some(report) = client.report(run_id).await? else {
        let message = format!("run `{run_id}` has no report yet: it is {}", shown::state(&run));
        return Err(Failure { code: USAGE, message });
    };
    match (output, serde_json::from_str::<RunReport>(&report)) {
        (Output::Text, Ok(report)) => render::data(&summary::text(&report)),
        _ => render::data(&report),
    }
    Ok(OK)
}

async fn resume(client: &Client, run_id: &str, wait: bool, output: Output) -> Result<u8, Failure> {
    let request = v1::ResumeRunRequest { run_id: run_id.to_owned() };
    let response = client.tried(async |mut runs: Runs| runs.resume_run(request.clone()).await).await?;
    let run = present(response.run)?;
    if wait {
        return watch(client, run_id, output).await;
    }
    show(&run, output);
    detached(run_id, &client.url);
    Ok(OK)
}
