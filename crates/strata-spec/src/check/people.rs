//! Attributes, segments, profiles and panels. Never judges an expression.

use super::World;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::pipeline::{Method, Profile};
use crate::problems::{Problems, shown};
use crate::read::is_identifier;
use crate::text::{Name, Sql};

pub(super) fn check(world: &World, problems: &mut Problems) {
    for of in &world.pipeline.attributes {
        world.must_be_entity(&of.entity, problems);
    }
    for segmentation in &world.pipeline.segments {
        let known = world.must_be_entity(&segmentation.entity, problems);
        let entity = &segmentation.entity.value;
        match &segmentation.method {
            Method::By { by, .. } if known => by.iter().for_each(|n| world.must_be_column(n, entity, problems)),
            Method::Lifecycle(l) if known => l.cohort.iter().for_each(|n| world.must_be_column(n, entity, problems)),
            Method::KMeans(kmeans) if known => bare(&kmeans.features).for_each(|n| world.must_be_column(n, entity, problems)),
            _ => {}
        }
    }
    for profile in &world.pipeline.profiles {
        check_profile(world, profile, problems);
    }
    check_panel(world, problems);
}

/// Names that stand for themselves: `age` in `describe: [age, {net: net_cents / 100}]`.
fn bare(named: &[(Name, Sql)]) -> impl Iterator<Item = &Name> {
    named.iter().filter(|(name, sql)| name.span == sql.span && is_identifier(&name.value)).map(|(name, _)| name)
}

fn check_profile(world: &World, profile: &Profile, problems: &mut Problems) {
    let entities: Vec<&str> = world.pipeline.entities.iter().map(|e| e.name.as_str()).collect();
    if !world.columns.readable || entities.len() != world.declared.names("entities").len() {
        return;
    }
    let is_known = |name: &str| world.declared.has("segments", name) || entities.iter().any(|e| world.columns.has(e, name));
    for name in profile.of.iter().filter(|n| !is_known(n.as_str())) {
        let help = problems.known_help(&name.value, "segmentations", &world.declared.texts("segments"));
        let message = format!("there is no segmentation `{}`", shown(&name.value));
        problems.add(Diagnostic::error(codes::UNKNOWN_SEGMENTATION, name.span, message).help(help));
    }
    for name in bare(&profile.describe).filter(|n| !is_known(n.as_str())) {
        let known: Vec<&str> = entities.iter().flat_map(|e| world.columns.of_entity(e)).collect();
        let help = format!("{}; expressions are `{{name: expression}}`", problems.known_help(&name.value, "attributes", &known));
        let message = format!("there is no attribute `{}`", shown(&name.value));
        problems.add(Diagnostic::error(codes::UNKNOWN_ATTRIBUTE, name.span, message).help(help));
    }
}

fn check_panel(world: &World, problems: &mut Problems) {
    let Some(panel) = &world.pipeline.panel else { return };
    world.must_be_purpose(panel.purpose.as_ref(), problems);
    if !world.must_be_entity(&panel.entity, problems) {
        return;
    }
    for wave in &panel.waves {
        let margins = wave.weights.iter().flat_map(|w| &w.rake);
        for name in wave.strata.iter().chain(margins) {
            world.must_be_column(name, &panel.entity.value, problems);
        }
    }
}
