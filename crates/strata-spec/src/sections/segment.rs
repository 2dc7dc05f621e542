//! `segments:`; the keys of a segmentation choose its kind. Never computes one.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::pipeline::{Entity, Method, Segmentation};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::{kmeans, preset, rule};
use crate::text::Name;
use crate::tree::Node;

const WAYS: &str = "write one of `rules: {label: condition}`, `by: [attribute]`, `quantile: expression` with `bins`, \
                    `method: rfm@1 | lifecycle@1 | kmeans`, or `where: condition` alone";
/// Ways that a later version will know; their other keys cannot be judged.
const LATER_WAYS: [&str; 4] = ["cluster", "preset", "sql", "watch"];
const METHODS: [&str; 3] = ["rfm@1", "lifecycle@1", "kmeans"];

/// `segments:`
pub(crate) fn segments(node: &Node, entities: &[Entity], problems: &mut Problems) -> Vec<Segmentation> {
    let entries = read::named(node, "`segments`", problems);
    entries.into_iter().filter_map(|(name, node)| segmentation(name, node, entities, problems)).collect()
}

/// `entity:`, or the first that is declared.
pub(crate) fn entity(f: &mut Fields, entities: &[Entity]) -> Name {
    let first = || entities.first().map(|e| e.name.clone());
    f.name("entity").or_else(first).unwrap_or_else(|| read::blank(f.owner))
}

fn segmentation(name: &Name, node: &Node, entities: &[Entity], problems: &mut Problems) -> Option<Segmentation> {
    let mut f = Fields::open(node, name, "segmentation", problems)?;
    let entity = entity(&mut f, entities);
    let filter = f.sql("where");
    let method = if LATER_WAYS.iter().any(|k| f.has(k)) { None } else { method(&mut f, &entity, entities) };
    f.later(&[
        ("cluster", "write `method: kmeans`"),
        ("preset", "write `method: rfm@1` or `method: lifecycle@1`"),
        ("sql", "write the expression as an attribute, and segment `by` it"),
        ("watch", "compare the segments of two runs outside"),
        ("of", "name the entity with `entity:`"),
        ("min_size", "leave it out, and use `min_cell` in the profile"),
        ("min_stability", "leave it out"),
        ("refit", "each run fits anew: leave it out"),
        ("stages", "write `rules: {label: condition}`"),
        ("cuts", "rfm@1 scores in equal groups: leave it out"),
    ]);
    if LATER_WAYS.iter().any(|k| f.has(k)) {
        f.pass_rest();
    }
    f.finish();
    Some(Segmentation { name: name.clone(), entity, filter, method: method? })
}

fn method(f: &mut Fields, entity: &Name, entities: &[Entity]) -> Option<Method> {
    let ways: Vec<&str> = ["rules", "by", "quantile", "method"].into_iter().filter(|k| f.has(k)).collect();
    match ways.as_slice() {
        ["rules"] => rules(f),
        ["by"] => {
            let by = f.names("by");
            Some(Method::By { by, others: f.name_or_null("others") })
        }
        ["quantile"] => quantile(f),
        ["method"] => preset_or_model(f, entity, entities),
        [] if f.has("where") => Some(Method::Flag),
        _ => {
            let message = match ways.as_slice() {
                [] => format!("{} does not say how it is made", f.what),
                several => format!("{} says how it is made {} times: `{}`", f.what, several.len(), several.join("`, `")),
            };
            f.p.add(Diagnostic::error(codes::CHOOSE_ONE, f.owner, message).help(WAYS));
            for key in ["rules", "by", "quantile", "method", "bins", "names", "others"] {
                f.entry(key);
            }
            None
        }
    }
}

fn rules(f: &mut Fields) -> Option<Method> {
    let rules = f.take("rules").map(|n| rule::rules(n, f.p)).unwrap_or_default();
    Some(Method::Rules { rules, others: f.name_or_null("others") })
}

fn quantile(f: &mut Fields) -> Option<Method> {
    let of = f.sql("quantile").unwrap_or_else(|| read::blank_sql(f.owner));
    let names = f.names("names");
    if !f.has("bins") && !f.has("names") {
        let message = format!("{} needs `bins`", f.what);
        f.p.add(Diagnostic::error(codes::MISSING_KEY, f.owner, message).help("write `bins: 4`, or `names: [low, middle, high]`"));
    }
    let named = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let written = f.small("bins", 2);
    let bins = written.unwrap_or(named.max(2));
    if written.is_some() && named > 0 && named != bins {
        count_mismatch(f, "names", names.len(), bins, "`bins`");
    }
    Some(Method::Quantile { of, bins, names, others: f.name_or_null("others") })
}

/// Reports a list that is not as long as another key says.
pub(crate) fn count_mismatch(f: &mut Fields, key: &str, found: usize, expected: u32, whose: &str) {
    let message = format!("`{key}` has {found} entries, {whose} says {expected}");
    f.p.add(Diagnostic::error(codes::WRONG_COUNT, f.key_span(key), message).help(format!("write {expected} of them")));
}

fn preset_or_model(f: &mut Fields, entity: &Name, entities: &[Entity]) -> Option<Method> {
    let node = f.take("method")?;
    let written = read::text(node, "`method`", "the name of a method", f.p)?.text.trim();
    match written {
        "rfm@1" => {
            let key = entities.iter().find(|e| e.name.value == entity.value).map(|e| e.key.value.as_str());
            Some(Method::Rfm(preset::rfm(f, key)))
        }
        "lifecycle@1" => Some(preset::lifecycle(f)),
        "kmeans" => kmeans::kmeans(f).map(Method::KMeans),
        other => {
            let help = match METHODS.iter().find(|m| m.strip_suffix("@1") == Some(other)) {
                Some(versioned) => format!("presets carry their version: write `{versioned}`"),
                None => f.p.known_help(other, "methods", &METHODS),
            };
            read::bad_value(codes::UNKNOWN_METHOD, node.span, format!("`{}` is not a method", shown(other)), help, f.p);
            f.pass_rest();
            None
        }
    }
}
