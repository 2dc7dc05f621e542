//! What a wave sees of earlier ones: whether they are published, who of them stays, and why others do not. Never reads a wave
//! that this run
//! draws anew.

use super::broken;
use crate::error::{Error, Result};
use crate::identity::without_places;
use crate::journal::{damaged, text_of};
use crate::report::{DrawRecord, OverlapReport, WaveReport};
use crate::run::Run;
use crate::solve::integer;
use crate::solved_wire::hex;
use sha2::{Digest, Sha256};
use strata_publish::PublishedTable;
use strata_runtime::store;
use strata_spec::pipeline::{Numbers, Output, Rows, Wave};
use strata_spec::{Name, Pipeline};

/// Where a published wave keeps the digest of its settings, in its manifest.
fn kept_name(wave: &str) -> String {
    format!("wave:{wave}")
}

/// Errors: `Contract` if a wave that this one looks back at is not published, or is drawn by the same run.
pub(super) async fn check(run: &Run<'_>, step: &str, wave: &Wave) -> Result<()> {
    let pipeline = run.compiled.pipeline();
    let reserving: Vec<&Name> = pipeline.panel.iter().flat_map(|p| strata_spec::reserving(p, wave)).map(|(n, _)| n).collect();
    for name in wave.further.not_in.iter().chain(&wave.further.after).chain(reserving) {
        let also = pipeline.outputs.iter().find(|o| matches!(&o.from, Rows::Wave(w) if w.value == name.value));
        if let Some(output) = also {
            let message = format!(
                "`{}` looks back at `{}`, which the output `{}` draws anew in the same run",
                wave.name.value, name.value, output.name.value
            );
            return Err(broken(step, message, "publish one wave a run: `from: panel.${vars.wave}`, and `-p wave=…`"));
        }
        // Nobody is reserved for a wave that was never drawn, and by which settings they were drawn does not matter.
        if !wave.further.not_in.iter().chain(&wave.further.after).any(|n| n.value == name.value) {
            continue;
        }
        let published = run.compiled.published_wave(&name.value).is_some_and(|t| !t.files.is_empty());
        if !published {
            let message =
                format!("`{}` looks back at `{}`, which is not published where `state` says", wave.name.value, name.value);
            return Err(broken(step, message, "run that wave first, into the folder that `state` names, as Parquet"));
        }
        let drawn_by = published_definition(run, step, &name.value).await?;
        let now = pipeline.wave(&name.value).map(definition);
        if drawn_by.is_some() && drawn_by != now {
            let message = format!(
                "`{}` was drawn by other settings than the file has now, and `{}` looks back at it",
                name.value, wave.name.value
            );
            return Err(broken(step, message, "put its settings back, or run that wave again before this one"));
        }
    }
    Ok(())
}

/// What the manifest of a wave's output keeps: by which settings it was drawn, and what the draw follows from.
pub(crate) fn kept(pipeline: &Pipeline, output: &Output, waves: &[WaveReport]) -> Result<Vec<(String, serde_json::Value)>> {
    let Rows::Wave(name) = &output.from else { return Ok(vec![]) };
    let drawn_by = pipeline.wave(&name.value).map(|wave| (kept_name(&name.value), definition(wave).into()));
    let record = waves.iter().find(|w| w.wave == name.value).and_then(|w| w.record.as_ref());
    let record = record.map(|r| serde_json::to_value(r).map_err(|e| damaged(&e.to_string()))).transpose()?;
    Ok(drawn_by.into_iter().chain(record.map(|r| (format!("draw:{}", name.value), r))).collect())
}

/// What the draw of a wave follows from. Errors: as the pins'.
pub(super) fn record(run: &Run<'_>, step: &str, wave: &Wave, report: &WaveReport) -> Result<DrawRecord> {
    let compiled = &run.compiled;
    let pipeline = compiled.pipeline();
    let Some(panel) = &pipeline.panel else {
        return Err(Error::Internal { step: step.to_owned(), message: "a wave without a panel".into() });
    };
    let text = without_places(&format!("{pipeline:?}"));
    let mut frame = std::collections::BTreeMap::new();
    for (name, pinned) in compiled.pinned_sources() {
        frame.insert(name.to_owned(), hex(&Sha256::digest(text_of(pinned)?.as_bytes())));
    }
    Ok(DrawRecord {
        as_of: compiled.clock().as_of.to_rfc3339(),
        pipeline: hex(&Sha256::digest(text.as_bytes())),
        wave: definition(wave),
        numbers: panel.numbers_of.as_ref().unwrap_or(&pipeline.name).value.clone(),
        seed: match &panel.numbers {
            Numbers::Seed(seed) => Some(*seed),
            Numbers::Env(_) => None,
        },
        frame,
        roster: report.roster,
        eligible: report.eligible,
        drawn: report.drawn,
        reserve: report.reserve,
        allocation: allocation(run, wave),
    })
}

/// Digest of what each stratum gives.
fn allocation(run: &Run<'_>, wave: &Wave) -> String {
    let all = run.solved.allocations.get(&wave.name.value).map(Vec::as_slice).unwrap_or_default();
    let row = |a: &strata_plan::Allocation| {
        format!("{}\u{1f}{}\u{1f}{}\u{1f}{}\u{1f}{}", super::label(&a.stratum), a.eligible, a.wanted, a.drawn, a.reserve)
    };
    hex(&Sha256::digest(all.iter().map(row).collect::<Vec<_>>().join("\u{1e}").as_bytes()))
}

/// Digest of what decides who is drawn for a wave, weights apart.
fn definition(wave: &Wave) -> String {
    let drawn = Wave { weights: None, ..wave.clone() };
    hex(&Sha256::digest(without_places(&format!("{drawn:?}")).as_bytes()))
}

/// The digest that a published wave was drawn by; `None` if it says none.
async fn published_definition(run: &Run<'_>, step: &str, wave: &str) -> Result<Option<String>> {
    let pipeline = run.compiled.pipeline();
    let source = pipeline.sources.iter().find(|s| s.name.value == format!("__wave_{wave}"));
    let Some(source) = source else { return Ok(None) };
    let failed = |message: String| Error::Failed { step: step.to_owned(), message };
    let place = store::place(&source.path.value).map_err(|e| failed(e.to_string()))?;
    let unread = |e| Error::of_publish(step, e);
    let table = PublishedTable::open(place.store.clone(), place.path.clone()).await.map_err(unread)?;
    let Some(version) = table.current().await.map_err(unread)? else { return Ok(None) };
    let manifest = table.manifest(&version).await.map_err(|e| Error::of_publish(step, e))?;
    Ok(manifest.kept.get(&kept_name(wave)).and_then(|v| v.as_str()).map(str::to_owned))
}

/// How many of each earlier wave are drawn again, and why the others are not.
pub(super) async fn overlaps(run: &mut Run<'_>, step: &str, wave: &Wave) -> Result<Vec<OverlapReport>> {
    let mut out = vec![];
    let mut names: Vec<String> = wave.further.after.iter().chain(&wave.further.not_in).map(|n| n.value.clone()).collect();
    names.dedup();
    for before in names {
        let plans = run.planned(step, run.compiled.overlap(wave, &before, &run.solved))?;
        let counts = run.collect(step, plans.failing).await?;
        let mut lost: Vec<(String, u64)> = plans.rules.iter().map(|r| (r.clone(), 0)).collect();
        let (mut people, mut due) = (0, 0);
        for batch in &counts {
            for row in 0..batch.num_rows() {
                let one = std::slice::from_ref(batch);
                let (rule, rows) = (integer(one, 0, row), integer(one, 1, row).max(0) as u64);
                people += rows;
                match usize::try_from(rule).ok().and_then(|i| lost.get_mut(i)) {
                    Some((_, n)) => *n += rows,
                    None => due += rows,
                }
            }
        }
        let both = super::draw::one_count(&run.collect(step, plans.both).await?);
        lost.retain(|(_, n)| *n > 0);
        out.push(OverlapReport { before, people, due, both, lost });
    }
    Ok(out)
}
