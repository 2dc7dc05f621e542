//! `strata diff`: who would move between segments if this file were published. Never publishes, and never names anybody
//! unless asked to.

use crate::args::{Given, Output};
use crate::{render, summary, table, verbs};
use chrono::DateTime;
use std::collections::BTreeSet;
use strata_engine::{Error, InProcessRunner, Loaded, SegmentMoves};
use strata_runtime::Limits;
use strata_spec::pipeline::AsOf;

/// Compares; with the first `keys` keys of those who move.
pub(crate) async fn run(given: &Given, keys: usize, output: Output) -> u8 {
    let loaded = match at_published(given).await {
        Ok(loaded) => loaded,
        Err(e) => return verbs::failed(&e),
    };
    let (outcome, found) = verbs::compiled(&loaded);
    if outcome.is_none_or(|o| o.compiled.is_none()) || strata_engine::load::verdict(&found).is_err() {
        return verbs::say(&loaded, &found, output);
    }
    match compared(&loaded, keys).await {
        Err(e) => verbs::failed(&e),
        Ok(all) if output == Output::Json => {
            let answer = serde_json::json!({"as_of": loaded.clock.as_of.to_rfc3339(), "segmentations": all});
            render::data(&answer.to_string());
            0
        }
        Ok(all) => {
            render::data(&format!("as of {}", loaded.clock.as_of.to_rfc3339()));
            all.iter().for_each(say);
            0
        }
    }
}

/// The pipeline as of the instant of what is published, unless the file or the command says another: then only what it says
/// differs.
async fn at_published(given: &Given) -> Result<Loaded, Error> {
    let loaded = verbs::load(given, false).await?;
    let Some(pipeline) = loaded.pipeline.as_ref().filter(|p| p.as_of == AsOf::Run && given.as_of.is_none()) else {
        return Ok(loaded);
    };
    let (states, _) = strata_engine::outputs(pipeline).await?;
    let published = states.iter().filter_map(|s| s.as_of.as_deref()).filter_map(|t| DateTime::parse_from_rfc3339(t).ok()).max();
    match published {
        Some(at) => verbs::load(&Given { as_of: Some(at.to_utc()), ..given.clone() }, false).await,
        None => Ok(loaded),
    }
}

async fn compared(loaded: &Loaded, keys: usize) -> Result<Vec<SegmentMoves>, Error> {
    let runner = InProcessRunner::new(&Limits::default()).map_err(|e| Error::of_step("start", e))?;
    let work = verbs::scratch()?;
    strata_engine::moves(loaded, &runner, work.path(), keys).await
}

fn say(moves: &SegmentMoves) {
    let name = &moves.segmentation;
    if let Some(why) = &moves.why_not {
        render::data(&format!("\n{name}: nothing to compare: {why}"));
        return;
    }
    let moved: u64 = moves.counts.iter().filter(|(from, to, _)| from != to).map(|(_, _, n)| n).sum();
    let all: u64 = moves.counts.iter().map(|(_, _, n)| n).sum();
    let since = format!("`{}` of run {}", moves.output.as_deref().unwrap_or(""), moves.run_id.as_deref().unwrap_or(""));
    if moved == 0 {
        render::data(&format!("\n{name}: nobody of {} moves, compared with {since}", summary::number(all)));
        return;
    }
    render::data(&format!("\n{name}: {} of {} move, compared with {since}", summary::number(moved), summary::number(all)));
    let table = matrix(moves).unwrap_or_else(|| longest(moves));
    let numeric: Vec<bool> = table.first().iter().flat_map(|h| h.iter()).enumerate().map(|(c, h)| c > 0 && h != "to").collect();
    render::data(&table::text(&table, &numeric));
    if !moves.keys.is_empty() {
        let head = ["key", "from", "to"].map(str::to_owned).to_vec();
        let rows = moves.keys.iter().map(|(key, from, to)| vec![key.clone(), from.clone(), to.clone()]);
        render::data(&format!("\n{}", table::text(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), &[])));
    }
}

/// More segments than this do not stand beside one another.
const ACROSS_MAX: usize = 10;
/// Moves listed where there are too many segments for a matrix.
const LISTED_MAX: usize = 20;

/// From down, to across; `.` is nobody. `None` where it would be too wide.
fn matrix(moves: &SegmentMoves) -> Option<Vec<Vec<String>>> {
    let from: BTreeSet<&String> = moves.counts.iter().map(|(from, _, _)| from).collect();
    let to: BTreeSet<&String> = moves.counts.iter().map(|(_, to, _)| to).collect();
    if to.len() > ACROSS_MAX || from.len() > 2 * ACROSS_MAX {
        return None;
    }
    let rows = |from: &String, to: &String| {
        let found = moves.counts.iter().find(|(f, t, _)| f == from && t == to);
        found.map_or_else(|| ".".to_owned(), |(_, _, n)| summary::number(*n))
    };
    let head = std::iter::once("from \\ to".to_owned()).chain(to.iter().map(|t| (*t).clone())).collect();
    let body = from.iter().map(|f| std::iter::once((*f).clone()).chain(to.iter().map(|t| rows(f, t))).collect());
    Some(std::iter::once(head).chain(body).collect())
}

/// The moves that most rows make.
fn longest(moves: &SegmentMoves) -> Vec<Vec<String>> {
    let mut all: Vec<_> = moves.counts.iter().filter(|(from, to, _)| from != to).collect();
    all.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| (&a.0, &a.1).cmp(&(&b.0, &b.1))));
    let more = all.len().saturating_sub(LISTED_MAX);
    let head = ["from", "to", "rows"].map(str::to_owned).to_vec();
    let rows = all.iter().take(LISTED_MAX).map(|(from, to, n)| vec![from.clone(), to.clone(), summary::number(*n)]);
    let rest = (more > 0).then(|| vec![format!("and {more} more"), String::new(), String::new()]);
    std::iter::once(head).chain(rows).chain(rest).collect()
}
