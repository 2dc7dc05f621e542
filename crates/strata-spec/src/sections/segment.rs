//! `segments:`; the keys of a segmentation choose its kind. Never computes one.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::{Shape, segments as language};
use crate::pipeline::preset::{PlannedMethod, Watch};
use crate::pipeline::{Entity, Method, Segmentation};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::{kmeans, preset, rule};
use crate::text::{Located, Name};
use crate::tree::Node;

const WAYS: &str = "write one of `rules: {label: condition}`, `by: [attribute]`, `quantile: expression` with `bins`, \
                    `method: rfm@1 | lifecycle@1 | lifecycle@2 | kmeans`, or `where: condition` alone";
/// Keys that people write in place of `method`.
const OTHER_WORDS: [&str; 3] = ["preset", "cluster", "type"];
const WAYS_KEYS: [&str; 6] = ["rules", "by", "quantile", "method", "sql", "watch"];
pub(crate) const METHODS: [&str; 4] = ["rfm@1", "lifecycle@1", "lifecycle@2", "kmeans"];
/// Methods that a later version will know; their keys cannot be judged.
const METHODS_LATER: [&str; 3] = ["gmm", "lca", "kprototypes"];

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
    let mut f = Fields::open(node, name, &language::UNKNOWN, problems)?;
    let ways: Vec<&str> = WAYS_KEYS.into_iter().filter(|k| f.has(k)).collect();
    f.becomes(match ways.as_slice() {
        ["rules"] => &language::RULES,
        ["by"] => &language::BY,
        ["quantile"] => &language::QUANTILE,
        ["sql"] => &language::SQL,
        ["watch"] => &language::WATCH,
        ["method"] => of_method(&f),
        [] if f.has("where") => &language::FLAG,
        _ => &language::UNKNOWN,
    });
    if let (true, Some(other)) = (ways.is_empty(), OTHER_WORDS.into_iter().find(|k| f.has(k))) {
        f.only_unknown(other);
        return None;
    }
    let entity = entity(&mut f, entities);
    let filter = if ways == ["watch"] { None } else { f.sql("where") };
    let min_size = if f.knows("min_size") { f.whole("min_size", 1..=u64::MAX) } else { None };
    let made = made(&mut f, &ways, &entity, entities);
    f.finish();
    let (method, planned) = made?;
    Some(Segmentation { name: name.clone(), entity, filter, method, planned, min_size })
}

/// How a segmentation is made by this version, or later.
type Made = (Method, Option<PlannedMethod>);

fn now(method: Method) -> Made {
    (method, None)
}

fn later(planned: PlannedMethod) -> Made {
    (Method::Flag, Some(planned))
}

fn of_method(f: &Fields) -> &'static Shape {
    let is = |word: &str| f.key_value_is("method", word);
    let shapes = [
        ("rfm@1", &language::RFM),
        ("lifecycle@1", &language::LIFECYCLE_1),
        ("lifecycle@2", &language::LIFECYCLE_2),
        ("kmeans", &language::KMEANS),
    ];
    shapes.into_iter().find(|(word, _)| is(word)).map_or(&language::UNKNOWN, |(_, shape)| shape)
}

fn made(f: &mut Fields, ways: &[&str], entity: &Name, entities: &[Entity]) -> Option<Made> {
    match ways {
        ["rules"] => rules(f).map(now),
        ["by"] => {
            let by = f.names("by");
            Some(now(Method::By { by, others: f.name_or_null("others") }))
        }
        ["quantile"] => quantile(f).map(now),
        ["method"] => preset_or_model(f, entity, entities),
        ["sql"] => {
            let (sql, others) = (f.sql("sql"), f.name_or_null("others"));
            Some(later(PlannedMethod::Sql { sql: sql?, others }))
        }
        ["watch"] => watch(f).map(|w| later(PlannedMethod::Watch(w))),
        [] if f.has("where") => Some(now(Method::Flag)),
        several => {
            let message = match several {
                [] => format!("{} does not say how it is made", f.what),
                _ => format!("{} says how it is made {} times: `{}`", f.what, several.len(), several.join("`, `")),
            };
            f.p.add(Diagnostic::error(codes::CHOOSE_ONE, f.owner, message).help(WAYS));
            f.pass_known();
            None
        }
    }
}

fn watch(f: &mut Fields) -> Option<Watch> {
    let of = f.take("watch").map(|n| read::names(n, "`watch`", f.p));
    let (psi_warn, psi_stop) = (f.real("psi_warn", 0.0), f.real("psi_stop", 0.0));
    let runs = ["run", "monthly", "quarterly"].map(|w| (w, w));
    let migration = f.word("migration", &runs).map(|w| Located::new(w.to_owned(), f.value_span("migration")));
    Some(Watch { of: of?, psi_warn, psi_stop, migration })
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

fn preset_or_model(f: &mut Fields, entity: &Name, entities: &[Entity]) -> Option<Made> {
    let node = f.take("method")?;
    let Some(written) = read::text(node, "`method`", "the name of a method", f.p) else {
        f.pass_rest();
        return None;
    };
    let written = written.text.trim();
    match written {
        "rfm@1" => {
            let key = entities.iter().find(|e| e.name.value == entity.value).map(|e| e.key.value.as_str());
            let key = key.filter(|k| !k.is_empty());
            Some(now(Method::Rfm(preset::rfm(f, key))))
        }
        "lifecycle@1" => Some(now(preset::lifecycle_1(f))),
        "lifecycle@2" => Some(now(Method::Lifecycle(Box::new(preset::lifecycle_2(f))))),
        "kmeans" => kmeans::kmeans(f).map(|k| now(Method::KMeans(k))),
        other if METHODS_LATER.contains(&other) => {
            f.p.not_yet(node.span, &format!("`method: {other}`"), "write `method: kmeans`");
            f.pass_rest();
            None
        }
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
