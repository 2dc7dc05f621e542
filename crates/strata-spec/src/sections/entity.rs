//! `entities:`, `consent:` and `tables:`. Never decides who may be used; it only says what was declared.

use crate::fields::Fields;
use crate::pipeline::{Consent, Entity, Purpose, Table};
use crate::problems::{Problems, shown};
use crate::read;
use crate::text::{Located, Name};
use crate::tree::Node;

/// `entities:`
pub(crate) fn entities(node: &Node, problems: &mut Problems) -> Vec<Entity> {
    let entries = read::named(node, "`entities`", problems);
    entries.into_iter().filter_map(|(name, node)| entity(name, node, problems)).collect()
}

fn entity(name: &Name, node: &Node, problems: &mut Problems) -> Option<Entity> {
    let mut f = Fields::open(node, name, "entity", problems)?;
    let from = f.need_name("from", "write `from: source`, the roster of all of them");
    let key = f.need_name("key", "write `key: column`, the column that every source knows the entity by");
    let value = f.sql("value");
    f.finish();
    Some(Entity { name: name.clone(), from, key, value })
}

/// `consent:`
pub(crate) fn consent(node: &Node, problems: &mut Problems) -> Option<Consent> {
    let owner = Located::new(String::new(), node.span);
    let mut f = Fields::open(node, &owner, "`consent`", problems)?;
    let from = f.need_name("from", "write `from: source`, the source with the flags");
    let purposes =
        f.need("purposes", "write `purposes: {research: research_opt_in}`").map(|n| purposes(n, f.p)).unwrap_or_default();
    let log = "consent is read from current flags: name a column that says who has consented now";
    f.later(&[("expires", log), ("on_merge", log), ("log", log), ("time", log)]);
    f.finish();
    Some(Consent { from, purposes })
}

fn purposes(node: &Node, problems: &mut Problems) -> Vec<(Name, Purpose)> {
    let mut all = Vec::new();
    for (name, node) in read::named(node, "`purposes`", problems) {
        let always = node.text().is_some_and(|t| t.text.trim() == "always");
        let purpose = match always {
            true => Purpose::Always,
            false => Purpose::Flag(
                read::sql(node, &format!("purpose `{}`", shown(&name.value)), problems)
                    .unwrap_or_else(|| read::blank_sql(node.span)),
            ),
        };
        all.push((name.clone(), purpose));
    }
    all
}

/// `tables:`
pub(crate) fn tables(node: &Node, problems: &mut Problems) -> Vec<Table> {
    let entries = read::named(node, "`tables`", problems);
    entries.into_iter().filter_map(|(name, node)| table(name, node, problems)).collect()
}

fn table(name: &Name, node: &Node, problems: &mut Problems) -> Option<Table> {
    let mut f = Fields::open(node, name, "table", problems)?;
    let key = f
        .need("key", "write `key: column` or `key: [a, b]`: what is unique in the result")
        .map(|n| read::names(n, "`key`", f.p))
        .unwrap_or_default();
    let time = f.name("time");
    let sql = f.need_sql("sql", "write `sql: |` and a SELECT below it");
    f.later(&[("checks", "drop bad rows with `where` in the SELECT")]);
    f.finish();
    Some(Table { name: name.clone(), key, time, sql })
}
