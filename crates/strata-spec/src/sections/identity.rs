//! `identity:`. Never merges anybody.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::people;
use crate::pipeline::Identity;
use crate::pipeline::identity::{Clean, Comparison, Fuzzy, Golden, Identifier};
use crate::problems::{Problems, shown};
use crate::read;
use crate::text::Name;
use crate::tree::{Node, Value};

const COMPARISONS: &[(&str, Comparison)] = &[
    ("exact", Comparison::Exact),
    ("jaro_winkler", Comparison::JaroWinkler),
    ("levenshtein", Comparison::Levenshtein),
    ("soundex", Comparison::Soundex),
    ("days", Comparison::Days),
];

/// `identity:`
pub(crate) fn identities(node: &Node, problems: &mut Problems) -> Vec<Identity> {
    let entries = read::named(node, "`identity`", problems);
    entries.into_iter().filter_map(|(name, node)| identity(name, node, problems)).collect()
}

fn identity(name: &Name, node: &Node, problems: &mut Problems) -> Option<Identity> {
    let mut f = Fields::open(node, name, &people::IDENTITY, problems)?;
    let nodes = f.need("nodes", "write `nodes: {email: {from: {crm: email, orders: email}}}`");
    let nodes = nodes.map(|n| read::named(n, "`nodes`", f.p)).unwrap_or_default();
    let nodes = nodes.into_iter().filter_map(|(name, node)| identifier(name, node, f.p)).collect();
    let fuzzy = f.take("fuzzy").map(|n| read::items(n, "`fuzzy`", "a list of rules", f.p)).unwrap_or_default();
    let fuzzy = fuzzy.iter().filter_map(|n| pairs(n, f.p)).collect();
    let overrides = f.name("overrides");
    f.word("ids", &[("stable", ())]);
    let golden = f.take("golden").map(|n| read::named(n, "`golden`", f.p)).unwrap_or_default();
    let golden = golden.into_iter().map(|(name, node)| (name.clone(), kept(node, f.p))).collect();
    f.finish();
    Some(Identity { entity: name.clone(), nodes, fuzzy, overrides, golden })
}

fn identifier(name: &Name, node: &Node, problems: &mut Problems) -> Option<Identifier> {
    let mut f = Fields::open(node, name, &people::NODE, problems)?;
    let from = f.need("from", "write `from: {source: column}`").map(|n| read::named(n, "`from`", f.p)).unwrap_or_default();
    let from = from.into_iter().filter_map(|(n, c)| Some((n.clone(), read::name(c, "a column", f.p)?))).collect();
    let clean = f.take("clean").and_then(|n| clean(n, f.p));
    let ignore = f.names("ignore").into_iter().map(|n| n.value).collect();
    let found = Identifier {
        name: name.clone(),
        from,
        clean,
        ignore,
        max_per_profile: f.whole("max_per_profile", 1..=u64::MAX),
        max_profiles: f.whole("max_profiles", 1..=u64::MAX),
        unique: f.flag("unique").unwrap_or(false),
    };
    f.finish();
    Some(found)
}

/// `email`, `phone(AU)`, `lower`, `digits`, `trim`
fn clean(node: &Node, problems: &mut Problems) -> Option<Clean> {
    let written = read::text(node, "`clean`", "a way such as `email`", problems)?.text.trim();
    let country = written.strip_prefix("phone(").and_then(|c| c.strip_suffix(')')).map(str::trim);
    let found = match (written, country) {
        (_, Some(c)) if c.len() == 2 && c.bytes().all(|b| b.is_ascii_uppercase()) => Some(Clean::Phone(c.to_owned())),
        ("email", _) => Some(Clean::Email),
        ("lower", _) => Some(Clean::Lower),
        ("digits", _) => Some(Clean::Digits),
        ("trim", _) => Some(Clean::Trim),
        _ => None,
    };
    if found.is_none() {
        let help = problems.known_help(written, "allowed", &["email", "phone(CC)", "lower", "digits", "trim"]);
        read::bad_value(codes::BAD_VALUE, node.span, format!("`clean` cannot be `{}`", shown(written)), help, problems);
    }
    found
}

fn pairs(node: &Node, problems: &mut Problems) -> Option<Fuzzy> {
    let mut f = Fields::item(node, &people::FUZZY, problems)?;
    let block = f.need("block", "write `block: [soundex(last_name), postcode]`: only rows that agree on these are compared");
    let block = block.map(|n| expressions(n, f.p)).unwrap_or_default();
    let score = f.need("score", "write `score: {last_name: jaro_winkler, dob: exact}`");
    let score = score.map(|n| read::named(n, "`score`", f.p)).unwrap_or_default();
    let compared = |(name, node): (&Name, &Node), p: &mut Problems| {
        Some((name.clone(), read::word(node, &format!("the comparison of `{}`", shown(&name.value)), COMPARISONS, p)?))
    };
    let score = score.into_iter().filter_map(|e| compared(e, f.p)).collect();
    let accept = f.need("accept", "write `accept: 0.95`").and_then(|n| read::real(n, "`accept`", 0.0, f.p));
    let review = f.real("review", 0.0);
    for (key, value) in [("accept", accept), ("review", review)] {
        if value.is_some_and(|v| v > 1.0) {
            let message = format!("`{key}` is a probability, at most 1");
            read::bad_value(codes::BAD_NUMBER, f.value_span(key), message, "write a number from 0 to 1", f.p);
        }
    }
    if let (Some(accept), Some(review)) = (accept, review)
        && review > accept
    {
        let message = "`review` is above `accept`, so no pair would be shown".to_owned();
        read::bad_value(codes::BAD_NUMBER, f.value_span("review"), message, "lower `review`, or leave it out", f.p);
    }
    f.finish();
    Some(Fuzzy { block, score, accept: accept?, review })
}

fn expressions(node: &Node, problems: &mut Problems) -> Vec<crate::text::Sql> {
    let one = |n: &Node, p: &mut Problems| read::sql(n, "an expression of `block`", p);
    match &node.value {
        Value::List(items) => items.iter().filter_map(|n| one(n, problems)).collect(),
        _ => one(node, problems).into_iter().collect(),
    }
}

fn kept(node: &Node, problems: &mut Problems) -> Golden {
    if let Value::List(_) = node.value {
        return Golden::Sources(read::names(node, "sources in `golden`", problems));
    }
    let ways = [
        ("newest", Golden::Newest),
        ("newest_verified", Golden::NewestVerified),
        ("oldest", Golden::Oldest),
        ("most_frequent", Golden::MostFrequent),
    ];
    let Some(name) = read::name(node, "a value of `golden`", problems) else { return Golden::Newest };
    if let Some((_, way)) = ways.iter().find(|(word, _)| *word == name.value) {
        return way.clone();
    }
    let words: Vec<&str> = ways.iter().map(|(word, _)| *word).collect();
    let help = format!("{}; or list sources: `[crm, orders]`", problems.known_help(&name.value, "allowed", &words));
    let message = format!("`golden` cannot be `{}`", shown(&name.value));
    problems.add(Diagnostic::error(codes::BAD_VALUE, name.span, message).help(help));
    Golden::Newest
}
