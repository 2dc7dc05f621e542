//! `profiles:`. Never describes a segment itself.

use crate::fields::Fields;
use crate::language::people;
use crate::pipeline::{Profile, Stat};
use crate::problems::Problems;
use crate::read;
use crate::sections::source::named_sql;
use crate::text::{Name, Sql};
use crate::tree::{Node, Value};

/// Statistics that this version only knows.
const LATER: [&str; 5] = ["share", "lift", "z", "median", "residual"];

/// `profiles:`
pub(crate) fn profiles(node: &Node, problems: &mut Problems) -> Vec<Profile> {
    let entries = read::named(node, "`profiles`", problems);
    entries.into_iter().filter_map(|(name, node)| profile(name, node, problems)).collect()
}

fn profile(name: &Name, node: &Node, problems: &mut Problems) -> Option<Profile> {
    let mut f = Fields::open(node, name, &people::PROFILE, problems)?;
    let of = f.need("of", "write `of: [segmentation]`").map(|n| read::names(n, "`of`", f.p)).unwrap_or_default();
    let describe =
        f.need("describe", "write `describe: [age, {net: net_cents / 100}]`").map(|n| describe(n, f.p)).unwrap_or_default();
    let stats = f.take("stats").map(|n| stats(n, f.p)).unwrap_or_else(|| vec![Stat::Mean, Stat::Index]);
    let min_cell = f.whole("min_cell", 0..=u64::MAX);
    f.finish();
    Some(Profile { name: name.clone(), of, describe, stats, min_cell })
}

/// `[attribute, {name: expression}]`, or a mapping of names.
fn describe(node: &Node, problems: &mut Problems) -> Vec<(Name, Sql)> {
    if matches!(node.value, Value::Map(_)) {
        return named_sql(node, "`describe`", problems);
    }
    let mut all = Vec::new();
    for item in read::items(node, "`describe`", "a list of attributes or `{name: expression}`", problems) {
        if matches!(item.value, Value::Map(_)) {
            all.extend(named_sql(item, "`describe`", problems));
        } else if let Some(name) = read::name(item, "a name in `describe`", problems) {
            if !read::is_identifier(&name.value) {
                let message = format!("`{}` in `describe` needs a name", crate::problems::shown(&name.value));
                read::bad_value(crate::codes::NOT_A_NAME, name.span, message, "write `{net: net_cents / 100}`", problems);
            }
            all.push((name.clone(), read::name_as_sql(&name)));
        }
    }
    let names: Vec<Name> = all.iter().map(|(name, _)| name.clone()).collect();
    read::once_each(&names, "`describe`", problems);
    all
}

fn stats(node: &Node, problems: &mut Problems) -> Vec<Stat> {
    let known = [("mean", Stat::Mean), ("index", Stat::Index)];
    let mut all = Vec::new();
    for name in read::names(node, "`stats`", problems) {
        match known.iter().find(|(word, _)| *word == name.value) {
            Some((_, stat)) => all.push(*stat),
            None if LATER.contains(&name.value.as_str()) => {
                problems.not_yet(name.span, &format!("the statistic `{}`", name.value), "write `stats: [mean, index]`");
            }
            None => {
                let help = problems.known_help(&name.value, "statistics", &["mean", "index"]);
                let message = format!("`{}` is not a statistic", crate::problems::shown(&name.value));
                read::bad_value(crate::codes::BAD_VALUE, name.span, message, help, problems);
            }
        }
    }
    all
}
