//! `attributes:` blocks of row expressions and aggregates. Never asks whether a name is known; `check` does.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::attributes as language;
use crate::pipeline::{
    AggregateAttribute, AttributeModel, AttributePreset, Block, EntityAttributes, FromBlock, RowAttribute, RowValue, Terms,
};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::column::CLASSES;
use crate::sections::{attribute_preset, rule, window};
use crate::text::{Located, Name, Sql};
use crate::tree::{Node, Value};

/// Presets that are blocks of attributes.
pub(crate) const PRESETS: [&str; 2] = ["loyalty_core@1", "preferred_time@1"];

const UNDER_ENTITY: &str = "write the name of an entity, and under it blocks: `customer: [{row: …}, {from: orders, columns: …}]`";

/// `attributes:`, and whether every name in it could be read.
pub(crate) fn attributes(node: &Node, problems: &mut Problems) -> (Vec<EntityAttributes>, bool) {
    let mut readable = true;
    let mut all = Vec::new();
    for (entity, node) in read::named(node, "`attributes`", problems) {
        if ["use", "columns", "tests", "row", "from"].contains(&entity.value.as_str()) {
            let message = format!("`{}` stands right under `attributes`, where the names of entities stand", entity.value);
            problems.add(Diagnostic::error(codes::UNKNOWN_KEY, entity.span, message).help(UNDER_ENTITY));
            readable = false;
            continue;
        }
        let what = format!("attributes of `{}`", shown(&entity.value));
        let mut made = EntityAttributes { entity: entity.clone(), blocks: vec![], presets: vec![], models: vec![] };
        for node in read::items(node, &what, "a list of blocks, each `- row:` or `- from:`", problems) {
            readable &= block(node, &mut made, problems);
        }
        readable &= matches!(node.value, Value::List(_));
        all.push(made);
    }
    (all, readable)
}

/// Adds what a block makes; false if the names it makes are not known.
fn block(node: &Node, made: &mut EntityAttributes, problems: &mut Problems) -> bool {
    let Some(mut f) = Fields::item(node, &language::EITHER, problems) else { return false };
    let kinds: Vec<&str> = ["row", "from", "preset"].into_iter().filter(|k| f.has(k)).collect();
    match kinds.as_slice() {
        ["row"] => {
            f.becomes(&language::ROW);
            made.blocks.extend(f.take("row").map(|n| Block::Row(row(n, f.p))));
        }
        ["from"] => {
            f.becomes(&language::FROM);
            let block = from(&mut f, &mut made.models);
            made.blocks.push(Block::From(block));
        }
        [.., "preset"] => {
            let found = preset(&mut f, made.blocks.len());
            let known = found.is_some() && !["from", "prefix", "windows", "by"].into_iter().any(|k| f.knows(k) && f.refused(k));
            made.presets.extend(found);
            f.finish();
            return known;
        }
        _ => {
            let message = match kinds.as_slice() {
                [] => "a block has neither `row` nor `from`",
                _ => "a block has both `row` and `from`",
            };
            let help =
                "write `- row:` for expressions over the entity's own row, `- from: source` with `columns:` for aggregates";
            f.p.add(Diagnostic::error(codes::CHOOSE_ONE, node.span, message).help(help));
            for key in ["row", "from", "where", "columns"] {
                f.entry(key);
            }
            f.finish();
            return false;
        }
    }
    let readable = !["row", "from", "columns"].into_iter().any(|k| f.refused(k));
    f.finish();
    readable
}

fn preset(f: &mut Fields, place: usize) -> Option<AttributePreset> {
    let node = f.take("preset")?;
    let name = read::name(node, "`preset`", f.p)?;
    let reader: fn(&mut Fields, usize) -> Option<AttributePreset> = match name.as_str() {
        "loyalty_core@1" => attribute_preset::loyalty,
        "preferred_time@1" => attribute_preset::preferred_time,
        other => {
            let known = PRESETS;
            let help = match known.iter().find(|k| k.strip_suffix("@1") == Some(other)) {
                Some(versioned) => format!("presets carry their version: write `{versioned}`"),
                None => f.p.known_help(other, "presets", &known),
            };
            read::bad_value(codes::UNKNOWN_METHOD, node.span, format!("`{}` is not a preset", shown(other)), help, f.p);
            f.pass_rest();
            return None;
        }
    };
    let made = reader(f, place);
    if made.is_none() {
        f.pass_rest();
    }
    made
}

fn row(node: &Node, problems: &mut Problems) -> Vec<RowAttribute> {
    let mut all = Vec::new();
    for (name, node) in read::named(node, "`row`", problems) {
        let (value, terms) = row_value(name, node, problems);
        all.push(RowAttribute { name: name.clone(), value, terms });
    }
    all
}

fn row_value(name: &Name, node: &Node, problems: &mut Problems) -> (RowValue, Terms) {
    let what = format!("attribute `{}`", shown(&name.value));
    let blank = || RowValue::Sql(read::blank_sql(node.span));
    if !matches!(node.value, Value::Map(_)) {
        return (read::sql(node, &what, problems).map_or_else(blank, RowValue::Sql), Terms::default());
    }
    let Some(mut f) = Fields::open(node, name, &language::ROW_VALUE, problems) else { return (blank(), Terms::default()) };
    let sql = f.sql("sql");
    let rules = f.take("rules").map(|n| rule::rules(n, f.p));
    if f.has("sql") == f.has("rules") {
        let message = format!("{what} needs one of `sql` and `rules`");
        f.p.add(
            Diagnostic::error(codes::CHOOSE_ONE, name.span, message)
                .help("write an expression, or `rules: {label: condition, other: else}`"),
        );
    }
    let terms = terms(&mut f);
    f.finish();
    let value = match (rules, sql) {
        (Some(rules), _) => RowValue::Rules(rules),
        (None, sql) => sql.map_or_else(blank, RowValue::Sql),
    };
    (value, terms)
}

fn terms(f: &mut Fields) -> Terms {
    let purpose = f.name("purpose");
    let fresh = f.take("fresh").and_then(|n| window::distance(n, "`fresh`", f.p));
    let labels = ["own", "third_party", "modelled", "stated"].map(|w| (w, w));
    let label = f.word("label", &labels).map(|w| Located::new(w.to_owned(), f.value_span("label")));
    Terms { purpose, fresh, label, class: f.word("class", CLASSES) }
}

fn from(f: &mut Fields, models: &mut Vec<AttributeModel>) -> FromBlock {
    let from = f.take("from").and_then(|n| read::name(n, "`from`", f.p)).unwrap_or_else(|| read::blank(f.owner));
    let filter = f.sql("where");
    let mut block = FromBlock { from, filter, columns: Vec::new() };
    let node = f.need("columns", "write `columns: {order_count: count(*)}`");
    for (name, node) in node.map(|n| read::named(n, "`columns`", f.p)).unwrap_or_default() {
        aggregate(name, node, &mut block, models, f.p);
    }
    block
}

/// Adds the aggregate, once for each of its `windows:`, or the model.
fn aggregate(name: &Name, node: &Node, block: &mut FromBlock, models: &mut Vec<AttributeModel>, problems: &mut Problems) {
    let what = format!("attribute `{}`", shown(&name.value));
    if !matches!(node.value, Value::Map(_)) {
        let sql = read::sql(node, &what, problems).unwrap_or_else(|| read::blank_sql(node.span));
        block.columns.push(AggregateAttribute { name: name.clone(), sql, window: None, terms: Terms::default() });
        return;
    }
    let Some(mut f) = Fields::open(node, name, &language::AGGREGATE, problems) else { return };
    if f.has("model") {
        f.becomes(&language::MODEL);
        models.extend(model(name, block, &mut f));
        f.finish();
        return;
    }
    let sql = f.need_sql("sql", "write `{sql: count(*), window: 90d}`");
    let terms = terms(&mut f);
    if f.has("window") && f.has("windows") {
        let message = format!("{what} has both `window` and `windows`");
        f.p.add(Diagnostic::error(codes::CHOOSE_ONE, f.key_span("windows"), message).help("keep one of them"));
    }
    let made = |name: Name, sql: &Sql, window| AggregateAttribute { name, sql: sql.clone(), window, terms: terms.clone() };
    let single = f.take("window").and_then(|n| window::window(n, f.p)).flatten();
    let several = f.take("windows").map(|n| read::items(n, "`windows`", "a list such as `[90d, 365d]`", f.p)).unwrap_or_default();
    for node in several {
        if let Some(window) = window::window(node, f.p) {
            let spread = Located::new(format!("{}_{}", name.value, window::suffix(node)), name.span);
            block.columns.push(made(spread, &sql, window));
        }
    }
    if !f.has("windows") {
        block.columns.push(made(name.clone(), &sql, single));
    }
    f.finish();
}

/// `{model: bg_nbd_gamma@1, horizon: 12mo, holdout: 90d}`
fn model(name: &Name, block: &FromBlock, f: &mut Fields) -> Option<AttributeModel> {
    let known = ["bg_nbd_gamma@1", "mbg_nbd_gamma@1", "pareto_nbd_gamma@1"].map(|w| (w, w));
    let model = f.word("model", &known).map(|w| Located::new(w.to_owned(), f.value_span("model")));
    let horizon = f.take("horizon").and_then(|n| window::distance(n, "`horizon`", f.p));
    let holdout = f.take("holdout").and_then(|n| window::distance(n, "`holdout`", f.p));
    Some(AttributeModel {
        name: name.clone(),
        model: model?,
        from: block.from.clone(),
        filter: block.filter.clone(),
        horizon,
        holdout,
    })
}
