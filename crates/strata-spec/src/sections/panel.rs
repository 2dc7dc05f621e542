//! `panel:` its members, numbers and waves. Never draws, and never holds a secret: keys are names of them.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::pipeline::{AfterBounds, Allocate, Entity, Numbers, Panel, Sample, SampleOf, Wave};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::{rule, segment, weights};
use crate::text::{Located, Name, Span, Sql};
use crate::tree::{Node, Value};

const BY_LATER: [&str; 8] = ["equal", "neyman", "size_power", "bankier", "optimal", "fixed", "power", "cost"];

/// `panel:`
pub(crate) fn panel(node: &Node, entities: &[Entity], problems: &mut Problems) -> Option<Panel> {
    let owner = read::blank(node.span);
    let mut f = Fields::open(node, &owner, "`panel`", problems)?;
    let entity = segment::entity(&mut f, entities);
    let members = f.need("members", "write `members: {where: condition, purpose: research}`");
    let (rules, purpose) = members.map(|n| members_of(n, f.p)).unwrap_or_default();
    let numbers = numbers(&mut f);
    let waves =
        f.need("waves", "write `waves: {main: {sample: 2%, strata: [region]}}`").map(|n| waves(n, f.p)).unwrap_or_default();
    f.later(&[
        ("fatigue", "count contacts in an attribute, and write `members: {where: contacts_90d < 3}`"),
        ("exclude", "write the exclusion into `members: {where: …}`"),
    ]);
    f.finish();
    Some(Panel { entity, rules, purpose, numbers, waves })
}

fn members_of(node: &Node, problems: &mut Problems) -> (Vec<(Name, Sql)>, Option<Name>) {
    let owner = read::blank(node.span);
    let Some(mut f) = Fields::open(node, &owner, "`members`", problems) else { return Default::default() };
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
    f.later(&[("exclude", "write the exclusion into `where`")]);
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
    (all, purpose)
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
        None => {
            let help = "write `key: env:NAME`; the key itself is never written in the file";
            read::bad_value(codes::BAD_VALUE, key.span, "`key` must name an environment variable".to_owned(), help, f.p);
            Numbers::Seed(0)
        }
    }
}

fn waves(node: &Node, problems: &mut Problems) -> Vec<Wave> {
    let entries = read::entries(node, "`waves`", problems);
    entries.iter().filter_map(|e| wave(&e.key, &e.value, problems)).collect()
}

fn wave(name: &Name, node: &Node, problems: &mut Problems) -> Option<Wave> {
    if !name.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let message = format!("`{}` cannot be the name of a wave", shown(&name.value));
        problems.add(Diagnostic::error(codes::NOT_A_NAME, name.span, message).help("names of waves are letters, digits and `_`"));
    }
    let mut f = Fields::open(node, name, "wave", problems)?;
    let sample = f.need("sample", "write `sample: 2%` or `sample: 4000`").and_then(|n| sample(n, f.p));
    let sample_of = f.word("sample_of", &[("all", SampleOf::All), ("members", SampleOf::Members)]).unwrap_or(SampleOf::All);
    let strata = f.take("strata").map(|n| strata(n, f.p)).unwrap_or_default();
    let allocate = f.take("allocate").and_then(|n| allocate(n, f.p));
    let order = f.sql("order");
    let weights = f.take("weights").and_then(|n| weights::weights(n, f.p));
    let one_draw = "a wave is one draw: leave it out, and draw another wave later";
    f.later(&[
        ("expect_response", "raise `sample` by the response you expect"),
        ("quotas", "use `strata` and `allocate`"),
        ("refresh", one_draw),
        ("reserve", one_draw),
        ("replicates", one_draw),
        ("rest", "write it into `members: {where: …}`"),
    ]);
    f.finish();
    let sample = sample.unwrap_or(Located::new(Sample::Count(1), name.span));
    let allocate = allocate.unwrap_or(Allocate { min: 0, max: None, after_bounds: AfterBounds::Rebalance });
    Some(Wave { name: name.clone(), sample, sample_of, strata, allocate, order, weights })
}

/// `2%`, `0.5%` or a number.
fn sample(node: &Node, problems: &mut Problems) -> Option<Located<Sample>> {
    let written = read::text(node, "`sample`", "`2%` or a whole number", problems)?.text.trim();
    let Some(percent) = written.strip_suffix('%') else {
        let count = read::whole(node, "`sample`", &(1..=u64::MAX), problems)?;
        return Some(Located::new(Sample::Count(count), node.span));
    };
    match parts_per_million(percent.trim()) {
        Some(parts) => Some(Located::new(Sample::PartsPerMillion(parts), node.span)),
        None => {
            let help = "write more than 0% and at most 100%, with at most four decimals";
            read::bad_value(codes::BAD_NUMBER, node.span, format!("`sample` cannot be `{}`", shown(written)), help, problems);
            None
        }
    }
}

/// Exact, without floats: `0.5` is 5,000.
fn parts_per_million(percent: &str) -> Option<u64> {
    let (whole, decimals) = percent.split_once('.').unwrap_or((percent, "0"));
    let digits = |t: &str| !t.is_empty() && t.len() <= 4 && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return None;
    }
    let parts = whole.parse::<u64>().ok()? * 10_000 + format!("{decimals:0<4}").parse::<u64>().ok()?;
    (1..=1_000_000).contains(&parts).then_some(parts)
}

fn strata(node: &Node, problems: &mut Problems) -> Vec<Name> {
    if matches!(node.value, Value::Map(_)) {
        problems.not_yet(
            node.span,
            "an allocation for each of the `strata`",
            "list the names, `strata: [lifecycle, region]`, and use `allocate`",
        );
        return Vec::new();
    }
    read::names(node, "`strata`", problems)
}

fn allocate(node: &Node, problems: &mut Problems) -> Option<Allocate> {
    let owner = read::blank(node.span);
    let mut f = Fields::open(node, &owner, "`allocate`", problems)?;
    f.word_or_later("by", &[("proportional", ())], &BY_LATER, "write `by: proportional`, with `min` and `max`");
    let rounding = "write `rounding: largest_remainder`, or leave it out";
    f.word_or_later("rounding", &[("largest_remainder", ())], &["nearest", "floor", "ceiling", "random"], rounding);
    let min = f.whole("min", 0..=u64::MAX).unwrap_or(0);
    let max = f.whole("max", 1..=u64::MAX);
    let bounds = [("rebalance", AfterBounds::Rebalance), ("keep", AfterBounds::Keep)];
    let after_bounds = f.word("after_bounds", &bounds).unwrap_or(AfterBounds::Rebalance);
    if max.is_some_and(|max| max < min) {
        let span: Span = f.key_span("max");
        read::bad_value(codes::BAD_NUMBER, span, "`max` is less than `min`".to_owned(), "raise `max` or lower `min`", f.p);
    }
    f.finish();
    Some(Allocate { min, max, after_bounds })
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
