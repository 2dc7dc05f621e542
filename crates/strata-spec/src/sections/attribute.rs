//! `attributes:` blocks of row expressions and aggregates. Never asks whether a name is known; `check` does.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::pipeline::{AggregateAttribute, Block, EntityAttributes, FromBlock, RowAttribute, RowValue};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::{rule, window};
use crate::text::{Located, Name};
use crate::tree::{Node, Value};

const PRESET_LATER: &str = "write the aggregates out: `- from: orders` with `columns: {order_count: count(*)}`";
const UNDER_ENTITY: &str = "write the name of an entity, and under it blocks: `customer: [{row: …}, {from: orders, columns: …}]`";
const MODEL_LATER: &str = "write an expression, or join a table of scores made elsewhere";

/// `attributes:`, and whether every name in it could be read.
pub(crate) fn attributes(node: &Node, problems: &mut Problems) -> (Vec<EntityAttributes>, bool) {
    let mut readable = true;
    let mut all = Vec::new();
    for (entity, node) in read::named(node, "`attributes`", problems) {
        if ["use", "columns", "tests", "row", "from"].contains(&entity.value.as_str()) {
            problems.not_yet(entity.span, &format!("`{}` right under `attributes`", entity.value), UNDER_ENTITY);
            readable = false;
            continue;
        }
        let what = format!("attributes of `{}`", shown(&entity.value));
        let blocks = read::items(node, &what, "a list of blocks, each `- row:` or `- from:`", problems);
        let blocks: Vec<Option<Block>> = blocks.iter().map(|b| block(b, problems)).collect();
        readable &= matches!(node.value, Value::List(_)) && blocks.iter().all(Option::is_some);
        all.push(EntityAttributes { entity: entity.clone(), blocks: blocks.into_iter().flatten().collect() });
    }
    (all, readable)
}

fn block(node: &Node, problems: &mut Problems) -> Option<Block> {
    let owner = read::blank(node.span);
    let mut f = Fields::open(node, &owner, "a block of attributes", problems)?;
    f.later(&[
        ("preset", PRESET_LATER),
        ("use", PRESET_LATER),
        ("model", MODEL_LATER),
        ("tests", "compare the outputs in a test of your own"),
    ]);
    let later = f.has("preset") || f.has("use") || f.has("model");
    if later {
        f.pass_rest();
        f.finish();
        return None;
    }
    let block = match (f.has("row"), f.has("from")) {
        (true, false) => f.take("row").map(|n| Block::Row(row(n, f.p))),
        (false, true) => from(&mut f).map(Block::From),
        (both, _) => {
            f.entry("row");
            from(&mut f);
            let message = if both { "a block has both `row` and `from`" } else { "a block has neither `row` nor `from`" };
            let help =
                "write `- row:` for expressions over the entity's own row, `- from: source` with `columns:` for aggregates";
            f.p.add(Diagnostic::error(codes::CHOOSE_ONE, node.span, message).help(help));
            None
        }
    };
    f.finish();
    block
}

fn row(node: &Node, problems: &mut Problems) -> Vec<RowAttribute> {
    let entries = read::named(node, "`row`", problems);
    entries.into_iter().map(|(name, node)| RowAttribute { name: name.clone(), value: row_value(name, node, problems) }).collect()
}

fn row_value(name: &Name, node: &Node, problems: &mut Problems) -> RowValue {
    let what = format!("attribute `{}`", shown(&name.value));
    if !matches!(node.value, Value::Map(_)) {
        return RowValue::Sql(read::sql(node, &what, problems).unwrap_or_else(|| read::blank_sql(node.span)));
    }
    let Some(mut f) = Fields::open(node, name, "attribute", problems) else { return RowValue::Sql(read::blank_sql(node.span)) };
    let sql = f.sql("sql");
    let rules = f.take("rules").map(|n| rule::rules(n, f.p));
    if f.has("sql") == f.has("rules") && !f.has("model") {
        let message = format!("{what} needs one of `sql` and `rules`");
        f.p.add(
            Diagnostic::error(codes::CHOOSE_ONE, name.span, message)
                .help("write an expression, or `rules: {label: condition, other: else}`"),
        );
    }
    f.later(&[("window", "windows belong to aggregates: write the attribute in a `- from:` block"), ("model", MODEL_LATER)]);
    later_keys(&mut f);
    f.finish();
    match (rules, sql) {
        (Some(rules), _) => RowValue::Rules(rules),
        (None, sql) => RowValue::Sql(sql.unwrap_or_else(|| read::blank_sql(node.span))),
    }
}

fn later_keys(f: &mut Fields) {
    f.later(&[
        ("purpose", "give the output a `purpose`"),
        ("fresh", "use a window"),
        ("label", "remove the key"),
        ("join", "declare `references` on the roster source, and write `source.column`"),
    ]);
}

fn from(f: &mut Fields) -> Option<FromBlock> {
    let from = f.take("from").and_then(|n| read::name(n, "`from`", f.p));
    let filter = f.sql("where");
    let has_from = f.has("from");
    let node = if has_from { f.need("columns", "write `columns: {order_count: count(*)}`") } else { f.take("columns") };
    let mut columns = Vec::new();
    for (name, node) in node.map(|n| read::named(n, "`columns`", f.p)).unwrap_or_default() {
        aggregate(name, node, &mut columns, f.p);
    }
    let from = from.unwrap_or_else(|| read::blank(f.owner));
    has_from.then_some(FromBlock { from, filter, columns })
}

/// Adds the aggregate, once for each of its `windows:`.
fn aggregate(name: &Name, node: &Node, columns: &mut Vec<AggregateAttribute>, problems: &mut Problems) {
    let what = format!("attribute `{}`", shown(&name.value));
    if !matches!(node.value, Value::Map(_)) {
        let sql = read::sql(node, &what, problems).unwrap_or_else(|| read::blank_sql(node.span));
        columns.push(AggregateAttribute { name: name.clone(), sql, window: None });
        return;
    }
    let Some(mut f) = Fields::open(node, name, "attribute", problems) else { return };
    let model = f.has("model");
    f.later(&[("model", MODEL_LATER), ("horizon", MODEL_LATER), ("holdout", MODEL_LATER)]);
    later_keys(&mut f);
    let sql = if model { f.sql("sql") } else { Some(f.need_sql("sql", "write `{sql: count(*), window: 90d}`")) };
    let sql = sql.unwrap_or_else(|| read::blank_sql(node.span));
    if f.has("window") && f.has("windows") {
        let message = format!("{what} has both `window` and `windows`");
        f.p.add(Diagnostic::error(codes::CHOOSE_ONE, f.key_span("windows"), message).help("keep one of them"));
    }
    let single = f.take("window").and_then(|n| window::window(n, f.p)).flatten();
    let several = f.take("windows").map(|n| read::items(n, "`windows`", "a list such as `[90d, 365d]`", f.p)).unwrap_or_default();
    for node in several {
        if let Some(window) = window::window(node, f.p) {
            let spread = Located::new(format!("{}_{}", name.value, window::suffix(node)), name.span);
            columns.push(AggregateAttribute { name: spread, sql: sql.clone(), window });
        }
    }
    if !f.has("windows") {
        columns.push(AggregateAttribute { name: name.clone(), sql, window: single });
    }
    f.finish();
}
