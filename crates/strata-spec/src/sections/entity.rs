//! `entities:` and `tables:`. Never opens a source.

use crate::fields::Fields;
use crate::language::{people, sources};
use crate::pipeline::{Entity, Table};
use crate::problems::Problems;
use crate::read;
use crate::sections::checks;
use crate::text::Name;
use crate::tree::Node;

/// `entities:`
pub(crate) fn entities(node: &Node, problems: &mut Problems) -> Vec<Entity> {
    let entries = read::named(node, "`entities`", problems);
    entries.into_iter().map(|(name, node)| entity(name, node, problems)).collect()
}

fn entity(name: &Name, node: &Node, problems: &mut Problems) -> Entity {
    let Some(mut f) = Fields::open(node, name, &people::ENTITY, problems) else {
        // It is there, whatever it says: nothing that names it is wrong.
        let blank = read::blank(node.span);
        return Entity { name: name.clone(), from: blank.clone(), key: blank, value: None };
    };
    let from = f.need_name("from", "write `from: source`, the roster of all of them");
    let key = f.need_name("key", "write `key: column`, the column that every source knows the entity by");
    let value = f.sql("value");
    f.finish();
    Entity { name: name.clone(), from, key, value }
}

/// `tables:`
pub(crate) fn tables(node: &Node, problems: &mut Problems) -> Vec<Table> {
    let entries = read::named(node, "`tables`", problems);
    entries.into_iter().filter_map(|(name, node)| table(name, node, problems)).collect()
}

fn table(name: &Name, node: &Node, problems: &mut Problems) -> Option<Table> {
    let mut f = Fields::open(node, name, &sources::TABLE, problems)?;
    let key = f
        .need("key", "write `key: column` or `key: [a, b]`: what is unique in the result")
        .map(|n| read::names(n, "`key`", f.p))
        .unwrap_or_default();
    let time = f.name("time");
    let sql = f.need_sql("sql", "write `sql: |` and a SELECT below it");
    let checks = f.take("checks").map(|n| checks::checks_of_table(n, f.p)).unwrap_or_default();
    f.finish();
    Some(Table { name: name.clone(), key, time, sql, checks })
}
