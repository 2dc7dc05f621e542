//! The way in: a file's text → a checked pipeline, or everything that is wrong with it. Never reads the file, the clock or the
//! environment.

use crate::check;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::expand;
use crate::fields::Fields;
use crate::language;
use crate::lost::{self, Lost};
use crate::pipeline::{AsOf, Pipeline};
use crate::problems::{Problems, Reach, shown};
use crate::read;
use crate::recover;
use crate::sections::{attribute, consent, entity, identity, output, panel, people, profile, segment, source, test};
use crate::text::{Located, Name, SourceText, Span};
use crate::tree::{Node, Value};
use crate::vars;
use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// What reading a file gave.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The pipeline: there if and only if no diagnostic is an error.
    pub pipeline: Option<Pipeline>,
    /// The same as far as it could be read, if something is an error: to look for more that is wrong, never to run. Names and
    /// texts that could not be read are empty.
    pub draft: Option<Pipeline>,
    /// Names that are written in the file and that the draft lacks.
    pub lost: Lost,
    /// Everything that is wrong, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a pipeline. `vars` are the values given with `-p name=value`; they must be declared under `vars:` and replace the
/// defaults there. Errors: none; what is wrong with the file is in the diagnostics, all of it.
pub fn load(source: &SourceText, vars: &[(String, String)]) -> Loaded {
    load_within(source, vars, Reach::Version)
}

/// The same for as much of the language as `reach` says. What this version cannot run is typed, but a pipeline that holds any of
/// it must not be run. Errors: none, as `load`.
pub fn load_within(source: &SourceText, vars: &[(String, String)], reach: Reach) -> Loaded {
    let mut problems = Problems::new(reach);
    let made = recover::tree(&source.text, &mut problems).and_then(|root| pipeline(root, vars, &mut problems));
    let failed = problems.has_errors();
    let mut diagnostics = problems.into_sorted();
    for found in &mut diagnostics {
        found.span = source.held(found.span);
        found.also.iter_mut().for_each(|(span, _)| *span = source.held(*span));
    }
    match made {
        Some((mut draft, attributes_are_known)) if failed => {
            let lost = lost::of(&source.text, &mut draft, &diagnostics, !attributes_are_known);
            Loaded { pipeline: None, draft: Some(draft), lost, diagnostics }
        }
        made => Loaded { pipeline: made.map(|(p, _)| p), draft: None, lost: Lost::default(), diagnostics },
    }
}

/// The pipeline, and whether the names of all its attributes are known.
fn pipeline(mut root: Node, given: &[(String, String)], problems: &mut Problems) -> Option<(Pipeline, bool)> {
    if !matches!(root.value, Value::Map(_)) {
        read::wrong_kind(&root, "a pipeline", "a mapping that starts with `version: 1` and `name: …`", problems);
        return None;
    }
    let vars = vars::apply(&mut root, given, problems);
    let top = Span::new(root.span.start, root.span.start);
    let mut f = Fields::open(&root, &Located::new(String::new(), top), &language::root::PIPELINE, problems)?;
    version(&mut f);
    let name = f.need_name("name", "write `name: my_pipeline`");
    check_name(&name, &mut f);
    let timezone = f.take("timezone").and_then(|n| timezone(n, f.p)).unwrap_or(Tz::UTC);
    let as_of = f.take("as_of").and_then(|n| as_of(n, timezone, f.p)).unwrap_or(AsOf::Run);
    f.entry("vars");
    let include = f.take("include").map(|n| read::names(n, "`include`", f.p)).unwrap_or_default();
    let sources = f
        .need("sources", "write `sources: {orders: {parquet: path, time: ordered_at}}`")
        .map(|n| source::all(n, f.p))
        .unwrap_or_default();
    let entities = f.take("entities").map(|n| entity::entities(n, f.p)).unwrap_or_default();
    let identity = f.take("identity").map(|n| identity::identities(n, f.p)).unwrap_or_default();
    let consent = f.take("consent").and_then(|n| consent::consent(n, f.p));
    let tables = f.take("tables").map(|n| entity::tables(n, f.p)).unwrap_or_default();
    let (attributes, attributes_readable) = f.take("attributes").map_or((Vec::new(), true), |n| attribute::attributes(n, f.p));
    let segments = f.take("segments").map(|n| segment::segments(n, &entities, f.p)).unwrap_or_default();
    let profiles = f.take("profiles").map(|n| profile::profiles(n, f.p)).unwrap_or_default();
    let personas = f.take("personas").and_then(|n| people::personas(n, f.p));
    let typing_tool = f.take("typing_tool").and_then(|n| people::typing_tool(n, f.p));
    let personalise = f.take("personalise").and_then(|n| people::personalise(n, f.p));
    let panel = f.take("panel").and_then(|n| panel::panel(n, &entities, f.p));
    let tests = f.take("tests").map(|n| test::tests(n, &entities, timezone, f.p)).unwrap_or_default();
    let mut declared = check::Declared::of(&root, attributes_readable);
    let names = output::RowNames {
        entity: entities.first().map(|e| &e.name),
        profiles: declared.texts("profiles"),
        tables: declared.texts("tables"),
    };
    let outputs = f.take("outputs").map(|n| output::outputs(n, &names, f.p)).unwrap_or_default();
    needs_entities(&mut f);
    f.finish();
    let mut pipeline = Pipeline {
        name,
        as_of,
        timezone,
        vars,
        sources,
        entities,
        consent,
        tables,
        attributes,
        segments,
        profiles,
        panel,
        outputs,
        tests,
        include,
        identity,
        personas,
        typing_tool,
        personalise,
    };
    let presets = expand::expand(&mut pipeline);
    expand::stages::expand(&mut pipeline);
    if !(expand::panel::expand(&mut pipeline) && presets) {
        declared.attributes_are_unknown();
    }
    check::check(&pipeline, &declared, problems);
    Some((pipeline, declared.attributes_are_known()))
}

fn version(f: &mut Fields) {
    let Some(node) = f.need("version", "write `version: 1`") else { return };
    if !matches!(node.value, Value::Refused) && node.text().is_none_or(|t| t.text.trim() != "1") {
        let found = node.text().map_or(node.found().to_owned(), |t| format!("`{}`", shown(&t.text)));
        f.p.add(
            Diagnostic::error(codes::WRONG_VERSION, node.span, format!("the language version cannot be {found}"))
                .help("write `version: 1`"),
        );
    }
}

fn check_name(name: &Name, f: &mut Fields) {
    if !name.value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
        let message = format!("`{}` cannot be the name of a pipeline", shown(&name.value));
        f.p.add(
            Diagnostic::error(codes::NOT_A_NAME, name.span, message).help("names of pipelines are letters, digits, `_` and `-`"),
        );
    }
}

fn needs_entities(f: &mut Fields) {
    let needing = ["attributes", "segments", "panel"].into_iter().find(|k| f.has(k));
    if let (Some(section), false) = (needing, f.has("entities")) {
        let message = format!("`{section}` needs `entities`");
        let help = "write `entities: {customer: {from: customers, key: customer_id}}`";
        f.p.add(Diagnostic::error(codes::MISSING_KEY, f.key_span(section), message).help(help));
    }
}

fn timezone(node: &Node, problems: &mut Problems) -> Option<Tz> {
    let written = read::text(node, "`timezone`", "a time zone such as `Europe/Berlin`", problems)?.text.trim();
    if let Ok(zone) = written.parse::<Tz>() {
        return Some(zone);
    }
    let city = format!("/{}", written.to_lowercase().replace(' ', "_"));
    let by_city = chrono_tz::TZ_VARIANTS.iter().map(|z| z.name()).find(|z| z.to_lowercase().ends_with(&city));
    let near =
        by_city.or_else(|| crate::diagnostic::did_you_mean(&shown(written), chrono_tz::TZ_VARIANTS.iter().map(|z| z.name())));
    let near = near.map(|z| format!("did you mean `{z}`? ")).unwrap_or_default();
    let help = format!("{near}time zones have names such as `UTC` and `Europe/Berlin`");
    read::bad_value(codes::UNKNOWN_TIMEZONE, node.span, format!("`{}` is not a time zone", shown(written)), help, problems);
    None
}

/// `${run.as_of}`, a day (its start in the zone), a local moment, or a moment with an offset.
pub(crate) fn as_of(node: &Node, zone: Tz, problems: &mut Problems) -> Option<AsOf> {
    let written = read::text(node, "`as_of`", "`${run.as_of}` or an instant", problems)?.text.trim();
    if written == vars::RUN_AS_OF {
        return Some(AsOf::Run);
    }
    if let Some(instant) = instant(written, zone) {
        return Some(AsOf::Literal(Located::new(instant.trunc_subsecs(6), node.span)));
    }
    let (message, help) = match moment(written) {
        Some(_) => (
            format!("`{}` does not exist in {}: clocks skip it", shown(written), zone.name()),
            "write a moment that exists, or one with an offset, such as `2026-01-15T00:00:00Z`",
        ),
        None => {
            (format!("`{}` is not an instant", shown(written)), "write `${run.as_of}`, `2026-01-15`, or `2026-01-15T00:00:00Z`")
        }
    };
    read::bad_value(codes::BAD_INSTANT, node.span, message, help, problems);
    None
}

/// An instant as people write it: with an offset, or a day or a local moment of the zone. `None` for what is none, or does not exist there.
pub fn instant(written: &str, zone: Tz) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(written).ok().map(|t| t.with_timezone(&Utc)).or_else(|| local(written, zone))
}

fn local(written: &str, zone: Tz) -> Option<DateTime<Utc>> {
    if let Ok(day) = NaiveDate::parse_from_str(written, "%Y-%m-%d") {
        return start_of_day(day, zone);
    }
    zone.from_local_datetime(&moment(written)?).earliest().map(|t| t.with_timezone(&Utc))
}

/// A local moment.
fn moment(written: &str) -> Option<NaiveDateTime> {
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    forms.iter().find_map(|form| NaiveDateTime::parse_from_str(written, form).ok())
}

/// The first instant of a day; some days have no midnight.
fn start_of_day(day: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
    day.checked_add_days(Days::new(1))?;
    let midnight = day.and_time(NaiveTime::MIN);
    let moments = (0..96).map(|quarter| midnight + TimeDelta::minutes(15 * quarter));
    moments.into_iter().find_map(|m| zone.from_local_datetime(&m).earliest()).map(|t| t.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_starts_when_its_clock_does() {
        let start = |day: &str, zone: &str| local(day, zone.parse().unwrap()).unwrap().to_rfc3339();
        assert_eq!(start("2026-01-15", "UTC"), "2026-01-15T00:00:00+00:00");
        assert_eq!(start("2026-01-15", "Australia/Sydney"), "2026-01-14T13:00:00+00:00");
        // Sao Paulo skipped from midnight to one o'clock that day.
        assert_eq!(start("2018-11-04", "America/Sao_Paulo"), "2018-11-04T03:00:00+00:00");
        assert!(local("2026-03-29T02:30:00", Tz::Europe__Berlin).is_none());
    }
}
