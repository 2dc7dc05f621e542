//! `strata draw` and `strata weights`: what a wave would be, and what its answers count for. Never publishes anything, and
//! never shows a
//! person.

use crate::args::{Given, Output};
use crate::{render, summary, verbs};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use strata_engine::load::Loaded;
use strata_engine::report::WaveReport;
use strata_engine::returned::{ReturnReport, Returned, Weighed};
use strata_engine::{Error, InProcessRunner, Replay, Trial};
use strata_runtime::Limits;

/// A draw done again is not what was published: as for data that are not as they should be.
const DIFFERS: u8 = 3;

/// Eligibility, allocation and expected response of waves, and the same after the changes `what_if`. Draws nobody.
pub(crate) async fn draw(given: &Given, wave: Option<&str>, what_if: &[(String, String)], output: Output) -> u8 {
    let loaded = match verbs::load(given, false).await {
        Ok(loaded) => loaded,
        Err(e) => return verbs::failed(&e),
    };
    if let Some(code) = wrong(&loaded, output) {
        return code;
    }
    let changed = match what_if.is_empty() {
        true => None,
        false => match changed(given, what_if).await {
            Ok(Ok(loaded)) => Some(loaded),
            Ok(Err(message)) => return usage(&message),
            Err(e) => return verbs::failed(&e),
        },
    };
    if let Some(code) = changed.as_ref().and_then(|c| wrong(c, output)) {
        return code;
    }
    let now = match planned(&loaded, wave).await {
        Ok(now) => now,
        Err(e) => return verbs::failed(&e),
    };
    let then = match &changed {
        None => None,
        Some(loaded) => match planned(loaded, wave).await {
            Ok(then) => Some(then),
            Err(e) => return verbs::failed(&e),
        },
    };
    if output == Output::Json {
        let of = |all: &[(WaveReport, Vec<String>)]| {
            all.iter().map(|(w, notes)| json!({"wave": w, "warnings": notes})).collect::<Vec<_>>()
        };
        let answer = json!({
            "as_of": loaded.clock.as_of.to_rfc3339(),
            "waves": of(&now),
            "what_if": what_if.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
            "then": then.as_deref().map(of),
        });
        render::data(&answer.to_string());
        return 0;
    }
    render::data(&format!("as of {} ({}); nobody is drawn", loaded.clock.as_of.to_rfc3339(), loaded.clock.timezone.name()));
    for (at, (report, notes)) in now.iter().enumerate() {
        let mut out = String::new();
        summary::plan_of_wave(&mut out, report, then.as_ref().and_then(|t| t.get(at)).map(|(r, _)| r));
        notes.iter().for_each(|n| {
            let _ = writeln!(out, "  note: {n}");
        });
        render::data(out.trim_end());
    }
    if !what_if.is_empty() {
        let changes: Vec<String> = what_if.iter().map(|(k, v)| format!("{k}={v}")).collect();
        render::data(&format!("\nwhat if: {}", changes.join(", ")));
    }
    0
}

/// Draws a published wave again, as of its own instant; exit code 3 where other rows come out.
pub(crate) async fn replay(given: &Given, manifest: &str, output: Output) -> u8 {
    let then = match strata_engine::published_draw(manifest).await {
        Ok(then) => then,
        Err(e) => return verbs::failed(&e),
    };
    let Ok(as_of) = chrono::DateTime::parse_from_rfc3339(&then.record.as_of) else {
        return usage(&format!("the manifest is as of `{}`, which is no instant", then.record.as_of));
    };
    let given = Given { as_of: Some(as_of.to_utc()), ..given.clone() };
    let loaded = match verbs::load(&given, false).await {
        Ok(loaded) => loaded,
        Err(e) => return verbs::failed(&e),
    };
    if let Some(code) = wrong(&loaded, output) {
        return code;
    }
    let found = match replayed(&loaded, &then).await {
        Ok(found) => found,
        Err(e) => return verbs::failed(&e),
    };
    match output {
        Output::Json => render::data(&serde_json::to_string_pretty(&found).unwrap_or_default()),
        Output::Text => render::data(&compared(&found)),
    }
    if found.same { 0 } else { DIFFERS }
}

async fn replayed(loaded: &Loaded, then: &strata_engine::PublishedDraw) -> Result<Replay, Error> {
    let runner = InProcessRunner::new(&Limits::default()).map_err(|e| Error::of_step("start", e))?;
    let work = verbs::scratch()?;
    Trial::new(loaded, &runner, work.path())?.replay(then).await
}

fn compared(r: &Replay) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "wave {} as of {}, published as `{}` by run {}", r.wave, r.as_of, r.output, r.run_id);
    let rows = summary::number(r.rows.0);
    let _ = match r.same {
        true => writeln!(out, "the same people come out: {rows} rows, content {}", r.content.0),
        false => writeln!(
            out,
            "NOT the same: {rows} rows of content {} then, {} of content {} now",
            r.content.0,
            summary::number(r.rows.1),
            r.content.1
        ),
    };
    if let Some((both, then, now)) = r.people.map(|(a, b, c)| (summary::number(a), summary::number(b), summary::number(c))) {
        let _ = writeln!(out, "people in both: {both}; only then: {then}; only now: {now}");
    }
    if !r.differs.is_empty() {
        let mut table = vec![["what differs", "then", "now"].map(str::to_owned).to_vec()];
        table.extend(r.differs.iter().map(|(what, then, now)| vec![what.clone(), then.clone(), now.clone()]));
        summary::grid(&mut out, &table);
    } else if !r.same {
        let _ =
            writeln!(out, "nothing that the manifest keeps differs: was it another secret key, or another version of Strata?");
    }
    out.trim_end().to_owned()
}

/// The same pipeline with its panel changed; the inner error is one of usage.
async fn changed(given: &Given, what_if: &[(String, String)]) -> Result<Result<Loaded, String>, Error> {
    let mut loaded = verbs::load(given, false).await?;
    if let Some(pipeline) = &mut loaded.pipeline
        && let Err(message) = strata_spec::what_if(pipeline, what_if)
    {
        return Ok(Err(message));
    }
    Ok(Ok(loaded))
}

/// Says what is wrong with the file; the exit code, if anything is.
fn wrong(loaded: &Loaded, output: Output) -> Option<u8> {
    let (outcome, found) = verbs::compiled(loaded);
    match outcome.is_some_and(|o| o.compiled.is_some()) && strata_engine::load::verdict(&found).is_ok() {
        true => None,
        false => Some(verbs::say(loaded, &found, output)),
    }
}

async fn planned(loaded: &Loaded, wave: Option<&str>) -> Result<Vec<(WaveReport, Vec<String>)>, Error> {
    let runner = InProcessRunner::new(&Limits::default()).map_err(|e| Error::of_step("start", e))?;
    let work = verbs::scratch()?;
    let mut trial = Trial::new(loaded, &runner, work.path())?;
    let panel = loaded.pipeline.as_ref().and_then(|p| p.panel.as_ref());
    let names: Vec<String> = match (wave, panel) {
        (Some(name), _) => vec![name.to_owned()],
        (None, Some(panel)) => panel.waves.iter().map(|w| w.name.value.clone()).collect(),
        (None, None) => vec![String::new()],
    };
    let mut out = vec![];
    for name in names {
        out.push(trial.planned_wave(&name).await?);
    }
    Ok(out)
}

/// Where the weights of answers go.
pub(crate) struct Places {
    /// CSV of the weights.
    pub(crate) out: Option<PathBuf>,
    /// JSON of the report.
    pub(crate) report: Option<PathBuf>,
}

/// Weighs what came back of a wave.
pub(crate) async fn weights(given: &Given, wave: &str, returned: &Returned, places: &Places, output: Output) -> u8 {
    let loaded = match verbs::load(given, false).await {
        Ok(loaded) => loaded,
        Err(e) => return verbs::failed(&e),
    };
    if let Some(code) = wrong(&loaded, output) {
        return code;
    }
    let (report, weighed) = match weighed(&loaded, wave, returned).await {
        Ok(found) => found,
        Err(e) => return verbs::failed(&e),
    };
    let key = loaded.pipeline.as_ref().and_then(|p| p.entity(&p.panel.as_ref()?.entity.value)).map(|e| e.key.value.clone());
    let csv = places.out.as_ref().map(|path| (path, csv(&key.unwrap_or_default(), returned, &weighed)));
    let text = serde_json::to_string_pretty(&report).unwrap_or_default();
    let written = csv.into_iter().chain(places.report.as_ref().map(|path| (path, text.clone())));
    for (path, text) in written {
        if let Err(e) = written_whole(path, &text) {
            return verbs::failed(&Error::Failed {
                step: "weights".into(),
                message: format!("cannot write `{}`: {e}\n  help: name a file in a folder that is there", path.display()),
            });
        }
    }
    match output {
        Output::Json => render::data(&text),
        Output::Text => render::data(&said(&report)),
    }
    0
}

async fn weighed(loaded: &Loaded, wave: &str, returned: &Returned) -> Result<(ReturnReport, Vec<Weighed>), Error> {
    let runner = InProcessRunner::new(&Limits::default()).map_err(|e| Error::of_step("start", e))?;
    let work = verbs::scratch()?;
    let mut trial = Trial::new(loaded, &runner, work.path())?;
    trial.weighed(wave, returned).await
}

/// A file that is there whole or not at all.
fn written_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, text)?;
    std::fs::rename(&part, path)
}

/// The weights as CSV, in key order.
fn csv(key: &str, returned: &Returned, weighed: &[Weighed]) -> String {
    let head = [key, "stratum"].into_iter().chain(returned.by.iter().map(String::as_str));
    let head = head.chain(["base_weight", "nonresponse_factor", "weight"]).chain(returned.measures.iter().map(String::as_str));
    let mut out = head.map(cell).collect::<Vec<_>>().join(",");
    out.push('\n');
    for w in weighed {
        let texts = [&w.key, &w.stratum].into_iter().chain(&w.by).map(|t| cell(t));
        let numbers = [w.base_weight, w.nonresponse_factor, w.weight].into_iter().chain(w.values.iter().copied());
        let numbers = numbers.map(|n| if n.is_finite() { n.to_string() } else { String::new() });
        out.push_str(&texts.chain(numbers).collect::<Vec<_>>().join(","));
        out.push('\n');
    }
    out
}

/// A cell of CSV that no spreadsheet takes for a formula, on one line.
fn cell(text: &str) -> String {
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.starts_with(['=', '+', '-', '@']) && text.parse::<f64>().is_err() {
        text.insert(0, '\'');
    }
    match text.contains([',', '"']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

fn said(r: &ReturnReport) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "wave {} as of {}: {} invited", r.wave, r.as_of, summary::number(r.invited));
    let table: Vec<Vec<String>> = r.dispositions.iter().map(|(word, n)| vec![word.clone(), summary::number(*n)]).collect();
    summary::grid(&mut out, &table);
    if r.not_in_file > 0 {
        let _ = writeln!(out, "  ({} of them are not in the file and count as no_answer)", summary::number(r.not_in_file));
    }
    if let Some(rate) = r.response_rate {
        let _ = writeln!(out, "response rate {:.1} %, weighted by the draw", 100.0 * rate);
    }
    if !r.cells.is_empty() {
        let _ = writeln!(out, "\nnon-response cells");
        let mut table = vec![["cell", "invited", "answers", "one stands for", "group"].map(str::to_owned).to_vec()];
        for c in &r.cells {
            let group = (c.group + 1).to_string();
            let counts = [c.invited, c.answers].map(summary::number);
            table.push(std::iter::once(c.cell.clone()).chain(counts).chain([format!("{:.3}", c.factor), group]).collect());
        }
        summary::grid(&mut out, &table);
    }
    let state = if r.converged { "met" } else { "NOT met, kept as the pipeline says" };
    let _ = writeln!(
        out,
        "\nweights {} to {}: margins {state} (worst {:.1e}) after {} iterations; from {:.3} to {:.3}, sum {:.1}, design effect {:.2}, effective sample {:.0}",
        r.method,
        r.margins.join(", "),
        r.worst,
        r.iterations,
        r.min,
        r.max,
        r.sum,
        r.deff,
        r.ess
    );
    for d in &r.dropped {
        let _ = writeln!(out, "  nobody who answered has {d}: dropped");
    }
    for joined in &r.joined {
        let _ = writeln!(out, "  nobody who answered has a level of a margin, joined: {joined}");
    }
    summary::caps(&mut out, &r.caps);
    let part = |of: &Option<(String, String)>| of.as_ref().map_or_else(|| "everybody".to_owned(), |(c, v)| format!("{c} = {v}"));
    if !r.estimates.is_empty() {
        let _ = writeln!(out, "\nestimates");
        let mut table = vec![["measure", "of", "answers", "mean", "standard error"].map(str::to_owned).to_vec()];
        for e in &r.estimates {
            let numbers = [format!("{:.4}", e.mean), format!("{:.4}", e.standard_error)];
            table.push([e.measure.clone(), part(&e.of), summary::number(e.answers)].into_iter().chain(numbers).collect());
        }
        summary::grid(&mut out, &table);
    }
    if !r.movements.is_empty() {
        let _ = writeln!(out, "\nmovement since the wave before (* more than 1.96 standard errors)");
        let head = ["measure", "of", "before", "now", "change", "standard error", "asked twice", ""];
        let mut table = vec![head.map(str::to_owned).to_vec()];
        for m in &r.movements {
            let numbers = [m.means.0, m.means.1, m.change, m.standard_error].map(|n| format!("{n:.4}"));
            let mut row = vec![m.measure.clone(), part(&m.of)];
            row.extend(numbers);
            row.extend([summary::number(m.answers.2), if m.is_clear { "*".to_owned() } else { String::new() }]);
            table.push(row);
        }
        summary::grid(&mut out, &table);
    }
    for warning in &r.warnings {
        let _ = writeln!(out, "note: {warning}");
    }
    out.trim_end().to_owned()
}

fn usage(message: &str) -> u8 {
    render::line(&format!("error: {message}"));
    2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_or_breaks_its_line() {
        assert_eq!(cell("=1+1"), "'=1+1");
        assert_eq!(cell("@sum"), "'@sum");
        assert_eq!((cell("-5"), cell("007")), ("-5".to_owned(), "007".to_owned()));
        assert_eq!(cell("a,\"b\"\nc"), "\"a,\"\"b\"\" c\"");
    }
}
