//! `panel:` its members, numbers and waves. Never draws, and never holds a secret: keys are names of them.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::panel as language;
use crate::pipeline::wave::{Further, StratumRule};
use crate::pipeline::{AfterBounds, Allocate, AllocateBy, Entity, Numbers, Panel, Rounding, Sample, SampleOf, Wave};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::{allocate, rule, segment, waves, weights};
use crate::text::{Located, Name, Sql};
use crate::tree::{Node, Value};

/// `panel:`
pub(crate) fn panel(node: &Node, entities: &[Entity], problems: &mut Problems) -> Option<Panel> {
    let mut f = Fields::item(node, &language::PANEL, problems)?;
    let entity = segment::entity(&mut f, entities);
    let members = f.need("members", "write `members: {where: condition, purpose: research}`");
    let Members { rules, purpose, exclude } = members.map(|n| members_of(n, f.p)).unwrap_or_default();
    let numbers_of = f.name("numbers");
    let numbers = numbers(&mut f);
    let state = f.name("state");
    if let Some(state) = state.as_ref().filter(|s| !s.value.is_empty() && !s.value.contains("{wave}")) {
        let message = format!("`state: {}` is one place for every wave", shown(&state.value));
        f.p.add(
            Diagnostic::error(codes::BAD_PLACEHOLDER, state.span, message)
                .help("write `{wave}` where the name of a wave stands, as in `state: \"${vars.out}/{wave}\"`"),
        );
    }
    let waves = f.need("waves", "write `waves: {main: {sample: 2%, strata: [region]}}`");
    let waves = waves.map(|n| all(n, f.p)).unwrap_or_default();
    let fatigue = f.take("fatigue").and_then(|n| waves::fatigue(n, f.p));
    f.finish();
    Some(Panel { entity, rules, purpose, exclude, fatigue, made: Vec::new(), numbers_of, numbers, state, waves })
}

#[derive(Default)]
struct Members {
    rules: Vec<(Name, Sql)>,
    purpose: Option<Name>,
    exclude: Vec<Name>,
}

fn members_of(node: &Node, problems: &mut Problems) -> Members {
    let Some(mut f) = Fields::item(node, &language::MEMBERS, problems) else { return Members::default() };
    let purpose = f.name("purpose");
    let filter = f.sql("where");
    let rules = f.take("rules").map(|n| rule::rules(n, f.p));
    if f.has("where") == f.has("rules") {
        let message = "`members` needs one of `where` and `rules`";
        f.p.add(
            Diagnostic::error(codes::CHOOSE_ONE, node.span, message)
                .help("write `where: condition`, or `rules: {adult: age >= 18}`"),
        );
    }
    let exclude = f.names("exclude");
    let mut all = Vec::new();
    for rule in rules.unwrap_or_default() {
        match rule.when {
            Some(sql) => all.push((rule.label, sql)),
            None => {
                let message = format!("member rule `{}` cannot be `else`", shown(&rule.label.value));
                let help = "every rule must hold for a member: remove it, or write a condition";
                f.p.add(Diagnostic::error(codes::ELSE_PLACE, rule.label.span, message).help(help));
            }
        }
    }
    f.finish();
    all.extend(filter.map(|sql| (Located::new(sql.text.clone(), sql.span), sql)));
    Members { rules: all, purpose, exclude }
}

fn numbers(f: &mut Fields) -> Numbers {
    let seed = f.whole("seed", 0..=u64::MAX);
    let key = f.name("key");
    if f.has("seed") && f.has("key") {
        f.p.add(
            Diagnostic::error(codes::CHOOSE_ONE, f.key_span("key"), "the panel has both `seed` and `key`")
                .help("keep one of them"),
        );
    }
    let Some(key) = key else { return Numbers::Seed(seed.unwrap_or(0)) };
    let named = key.value.strip_prefix("env:").map(str::trim).filter(|n| read::is_identifier(n)).map(str::to_owned);
    match named {
        Some(name) => Numbers::Env(Located::new(name, key.span)),
        None if key.value.is_empty() => Numbers::Seed(0),
        None => {
            let help = "write `key: env:NAME`; the key itself is never written in the file";
            read::bad_value(codes::BAD_VALUE, key.span, "`key` must name an environment variable".to_owned(), help, f.p);
            Numbers::Seed(0)
        }
    }
}

fn all(node: &Node, problems: &mut Problems) -> Vec<Wave> {
    let entries = read::entries(node, "`waves`", problems);
    entries.iter().filter_map(|e| wave(&e.key, &e.value, problems)).collect()
}

fn wave(name: &Name, node: &Node, problems: &mut Problems) -> Option<Wave> {
    if !name.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let message = format!("`{}` cannot be the name of a wave", shown(&name.value));
        problems.add(Diagnostic::error(codes::NOT_A_NAME, name.span, message).help("names of waves are letters, digits and `_`"));
    }
    let mut f = Fields::open(node, name, &language::WAVE, problems)?;
    let sample_of = f.word("sample_of", &[("all", SampleOf::All), ("members", SampleOf::Members)]).unwrap_or(SampleOf::All);
    let (strata, each) = f.take("strata").map(|n| strata(n, f.p)).unwrap_or_default();
    let allocate = f.take("allocate").and_then(|n| allocate::allocate(n, f.p));
    let asked = f.take("sample").and_then(|n| sample(n, f.p));
    let budget = allocate.as_ref().is_some_and(|a| a.by.budget.is_some() || !a.by.rows.is_empty());
    if !f.has("sample") && !budget {
        let message = format!("{} needs `sample`", f.what);
        f.p.add(Diagnostic::error(codes::MISSING_KEY, f.owner, message).help("write `sample: 2%` or `sample: 4000`"));
    }
    let order = f.sql("order");
    let weights = f.take("weights").and_then(|n| weights::weights(n, f.p));
    let draw = f.take("draw").and_then(|n| allocate::draw(n, f.p)).unwrap_or_default();
    let further = Further { strata: each, draw, ..waves::further(&mut f) };
    waves::together(&mut f, &further);
    f.finish();
    let sample = asked.unwrap_or(Located::new(Sample::Count(1), name.span));
    let by = AllocateBy::default();
    let allocate = allocate.unwrap_or(Allocate {
        by,
        min: 0,
        max: None,
        rounding: Rounding::default(),
        after_bounds: AfterBounds::Rebalance,
    });
    Some(Wave { name: name.clone(), sample, sample_of, strata, allocate, order, weights, further })
}

/// `2%`, `0.5%` or a number.
fn sample(node: &Node, problems: &mut Problems) -> Option<Located<Sample>> {
    let written = read::text(node, "`sample`", "`2%` or a whole number", problems)?.text.trim();
    let Some(percent) = written.strip_suffix('%') else {
        let count = read::whole(node, "`sample`", &(1..=u64::MAX), problems)?;
        return Some(Located::new(Sample::Count(count), node.span));
    };
    let parts = parts_per_million(percent.trim());
    if parts.is_none() {
        not_a_share(node, "`sample`", written, problems);
    }
    parts.map(|parts| Located::new(Sample::PartsPerMillion(parts), node.span))
}

/// `2%` in parts per million.
pub(crate) fn share(node: &Node, what: &str, problems: &mut Problems) -> Option<u64> {
    let written = read::text(node, what, "a share such as `5%`", problems)?.text.trim();
    let parts = written.strip_suffix('%').and_then(|p| parts_per_million(p.trim()));
    if parts.is_none() {
        not_a_share(node, what, written, problems);
    }
    parts
}

fn not_a_share(node: &Node, what: &str, written: &str, problems: &mut Problems) {
    let help = "write more than 0% and at most 100%, with at most four decimals";
    read::bad_value(codes::BAD_NUMBER, node.span, format!("{what} cannot be `{}`", shown(written)), help, problems);
}

/// Exact, without floats: `0.5` is 5,000.
pub(crate) fn parts_per_million(percent: &str) -> Option<u64> {
    let (whole, decimals) = percent.split_once('.').unwrap_or((percent, "0"));
    let digits = |t: &str| !t.is_empty() && t.len() <= 4 && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return None;
    }
    let parts = whole.parse::<u64>().ok()? * 10_000 + format!("{decimals:0<4}").parse::<u64>().ok()?;
    (1..=1_000_000).contains(&parts).then_some(parts)
}

/// A list of names, or a mapping from names to how each is allocated.
fn strata(node: &Node, problems: &mut Problems) -> (Vec<Name>, Vec<StratumRule>) {
    if !matches!(node.value, Value::Map(_)) {
        return (read::names(node, "`strata`", problems), Vec::new());
    }
    let entries = read::entries(node, "`strata`", problems);
    let each = entries.iter().map(|e| waves::stratum(&e.key, &e.value, problems)).collect();
    (entries.iter().map(|e| e.key.clone()).collect(), each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_exact() {
        assert_eq!(parts_per_million("2"), Some(20_000));
        assert_eq!(parts_per_million("0.5"), Some(5_000));
        assert_eq!(parts_per_million("0.0001"), Some(1));
        assert_eq!(parts_per_million("100"), Some(1_000_000));
        for bad in ["", "0", "100.1", "1.23456", "-1", ".5", "2.", "1e2"] {
            assert_eq!(parts_per_million(bad), None, "{bad}");
        }
    }
}
