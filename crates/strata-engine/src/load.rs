//! From a path to a compiled pipeline: text → checked → pinned → compiled. Never runs anything.

use crate::error::{Error, Result};
use crate::{checks, confine, pin};
use chrono::{DateTime, NaiveTime, TimeZone, Utc};
use std::path::Path;
use strata_operators::pinned::PinnedTable;
use strata_plan::{Catalog, Clock};
use strata_spec::pipeline::{AsOf, Entity, Source};
use strata_spec::{Diagnostic, Kind, Lost, Pipeline, Severity, SourceText};

/// A pipeline that can be compiled.
pub struct Loaded {
    /// The file.
    pub source: SourceText,
    /// Values of its variables, as given.
    pub vars: Vec<(String, String)>,
    /// The checked pipeline; absent if the file is wrong.
    pub pipeline: Option<Pipeline>,
    /// Pinned inputs.
    pub catalog: Catalog,
    /// The clock.
    pub clock: Clock,
    /// What is wrong or worth saying so far.
    pub diagnostics: Vec<Diagnostic>,
}

/// Options of loading.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// `-p k=v`.
    pub vars: Vec<(String, String)>,
    /// `--as-of`.
    pub as_of: Option<DateTime<Utc>>,
    /// Check with declared columns where no file is there.
    pub offline: bool,
    /// Files that an earlier attempt of the run pinned: these, not what is there now.
    pub pins: Option<Catalog>,
}

/// Loads a pipeline file, or the `pipeline.yaml` of a folder, and pins its sources. Errors: `Unavailable` if it cannot be read.
pub async fn load(path: &Path, options: &LoadOptions) -> Result<Loaded> {
    let file = if path.is_dir() { path.join("pipeline.yaml") } else { path.to_owned() };
    let text = std::fs::read_to_string(&file).map_err(|e| Error::Failed {
        step: "load".into(),
        message: format!(
            "cannot read `{}`: {e}\n  help: give a pipeline file, or a folder with a `pipeline.yaml`",
            file.display()
        ),
    })?;
    Ok(load_text(SourceText { path: file.display().to_string(), text }, options).await)
}

/// The same from text that is already there, e.g. sent to a coordinator. Errors: none; what is wrong is in the diagnostics.
pub async fn load_text(source: SourceText, options: &LoadOptions) -> Loaded {
    let checked = strata_spec::load(&source, &options.vars);
    let mut diagnostics = checked.diagnostics;
    if let Some(draft) = &checked.draft {
        let found = draft_errors(draft, checked.lost, options).await;
        let more: Vec<Diagnostic> = found.into_iter().filter(|d| !is_said(d, &diagnostics, &source)).collect();
        diagnostics.extend(more);
    }
    let mut catalog = Catalog::default();
    let mut clock = Clock { as_of: DateTime::UNIX_EPOCH, timezone: chrono_tz::Tz::UTC };
    if let Some(pipeline) = &checked.pipeline {
        clock = clock_of(pipeline, options.as_of, strata_runtime::clock::now());
        let pins = options.pins.clone().unwrap_or_default();
        for source in &pipeline.sources {
            if let Some(pinned) = pins.sources.get(&source.name.value) {
                catalog.sources.insert(source.name.value.clone(), pinned.clone());
                continue;
            }
            if is_of_ours(source) {
                match of_ours(pipeline, source, &catalog, clock).await {
                    Ok(Some(pinned)) => {
                        catalog.sources.insert(source.name.value.clone(), pinned);
                    }
                    Ok(None) => diagnostics.push(not_typed(source)),
                    Err(wrong) => diagnostics.push(*wrong),
                }
                continue;
            }
            match pin::pin(source, &mut diagnostics).await {
                Ok(pinned) => {
                    catalog.sources.insert(source.name.value.clone(), pinned);
                }
                Err(wrong) if !options.offline => diagnostics.push(*wrong),
                Err(_) => match pin::unpinned(source) {
                    Some(table) => {
                        catalog.sources.insert(source.name.value.clone(), table);
                    }
                    None => diagnostics.push(not_typed(source)),
                },
            }
        }
    }
    catalog.drift = match &options.pins {
        Some(pins) => pins.drift.clone(),
        None => checks::drifted(&diagnostics).collect(),
    };
    if let Some(pipeline) = &checked.pipeline {
        diagnostics.extend(confine::outside(pipeline));
    }
    diagnostics.sort_by_key(|d| d.span);
    Loaded { source, vars: options.vars.clone(), pipeline: checked.pipeline, catalog, clock, diagnostics }
}

/// Whether an error marks the same place, or the line of an SQL text that was put together of what stands there.
fn is_said(found: &Diagnostic, said: &[Diagnostic], source: &SourceText) -> bool {
    let line = |d: &Diagnostic| source.line_column(d.span.start).0;
    let syntax = found.code == strata_plan::codes::SQL_SYNTAX;
    let touches = |d: &Diagnostic| d.span.start <= found.span.end && found.span.start <= d.span.end;
    let errors = said.iter().filter(|d| d.severity == Severity::Error);
    errors.into_iter().any(|d| touches(d) || syntax && line(d) == line(found))
}

/// What is wrong with the SQL of a file that could not be read whole. Files that are not as declared are looked at when it can.
async fn draft_errors(draft: &Pipeline, mut lost: Lost, options: &LoadOptions) -> Vec<Diagnostic> {
    let clock = clock_of(draft, options.as_of, strata_runtime::clock::now());
    let mut catalog = Catalog::default();
    for source in draft.sources.iter().filter(|s| !s.path.value.is_empty() && s.planned_format.is_none()) {
        let unsaid = &mut vec![];
        let pinned = match is_of_ours(source) {
            true => of_ours(draft, source, &catalog, clock).await.ok().flatten(),
            false => pin::pin(source, unsaid).await.ok().or_else(|| pin::unpinned(source)),
        };
        if let Some(pinned) = pinned {
            catalog.sources.insert(source.name.value.clone(), pinned);
        }
    }
    for source in draft.sources.iter().filter(|s| !catalog.sources.contains_key(&s.name.value)) {
        lost.add(&source.name.value);
    }
    strata_plan::look_through(draft, lost, clock, catalog)
}

/// Whether a source stands for what an earlier run published.
fn is_of_ours(source: &Source) -> bool {
    strata_spec::is_published_wave(&source.name.value) || strata_spec::published_stages(&source.name.value).is_some()
}

/// What an earlier run published; such sources come after all others. `None` if no source has the key of the people.
async fn of_ours(
    pipeline: &Pipeline,
    source: &Source,
    catalog: &Catalog,
    clock: Clock,
) -> Result<Option<PinnedTable>, Box<Diagnostic>> {
    match strata_spec::published_stages(&source.name.value).and_then(|name| pipeline.segmentation(name)) {
        None => {
            let entity = pipeline.panel.as_ref().and_then(|p| pipeline.entity(&p.entity.value));
            let published = pin::pin_wave(source).await?;
            Ok(published.or_else(|| nobody(pipeline, entity, catalog)))
        }
        Some(segmentation) => {
            let entity = pipeline.entity(&segmentation.entity.value);
            match nobody(pipeline, entity, catalog) {
                Some(nobody) => pin::pin_stages(source, &segmentation.name.value, nobody, clock.as_of).await.map(Some),
                None => Ok(None),
            }
        }
    }
}

/// A table without people, with the key of the roster. `None` if no source has it.
fn nobody(pipeline: &Pipeline, entity: Option<&Entity>, catalog: &Catalog) -> Option<PinnedTable> {
    // The roster may be a table: then its key is that of a source below it.
    let table = |key: &str| {
        let named = pipeline.sources.iter().filter_map(|s| catalog.sources.get(&s.name.value));
        named.into_iter().find_map(|t| pin::unpublished_wave(t, key))
    };
    entity.and_then(|e| {
        let roster = catalog.sources.get(&e.from.value).and_then(|t| pin::unpublished_wave(t, &e.key.value));
        roster.or_else(|| table(&e.key.value))
    })
}

/// Without files and without declared columns there is nothing to hold SQL against.
fn not_typed(source: &strata_spec::pipeline::Source) -> Diagnostic {
    let name = &source.name.value;
    let text = format!("the columns of `{name}` are not declared and its files are not there, so no SQL was checked");
    Diagnostic::warning(strata_plan::codes::FILE_COLUMNS, source.path.span, text)
        .help(format!("set the variables of its path with `-p`, or declare `columns:` for `{name}`"))
}

/// `as_of`: `--as-of`, else the file's, else the start of the day of `now` in the pipeline's zone.
pub fn clock_of(pipeline: &Pipeline, given: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Clock {
    let timezone = pipeline.timezone;
    let as_of = match (&pipeline.as_of, given) {
        (AsOf::Literal(at), None) => at.value,
        (_, Some(at)) => at,
        (AsOf::Run, None) => {
            let today = now.with_timezone(&timezone).date_naive();
            let start = today.and_time(NaiveTime::MIN);
            timezone
                .from_local_datetime(&start)
                .earliest()
                .map_or_else(|| Utc.from_utc_datetime(&start), |t| t.with_timezone(&Utc))
        }
    };
    Clock { as_of, timezone }
}

/// The error that a list of diagnostics amounts to.
pub fn verdict(diagnostics: &[Diagnostic]) -> Result<()> {
    let errors: Vec<&Diagnostic> = diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    if let Some(lost) = errors.iter().find(|d| strata_runtime::store::is_unanswered(&d.message)) {
        // Nothing is wrong with the file.
        return Err(Error::Unavailable { step: "load".into(), message: lost.message.clone() });
    }
    let count = |kind| errors.iter().filter(|d| d.kind == kind).count();
    match (count(Kind::Invalid), count(Kind::Policy), errors.len()) {
        (0, 0, 0) => Ok(()),
        (0, 0, data) => Err(Error::NotAsDeclared(data)),
        (0, policy, _) => Err(Error::Policy(policy)),
        (_, _, all) => Err(Error::Invalid(all)),
    }
}
