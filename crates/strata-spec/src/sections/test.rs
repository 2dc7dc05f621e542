//! `tests:`. Never runs one.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::root;
use crate::load;
use crate::pipeline::test::{Cell, Expect, Row, UnitTest};
use crate::pipeline::{AsOf, Entity};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::segment;
use crate::text::Name;
use crate::tree::{Node, Value};
use chrono_tz::Tz;

/// `tests:`
pub(crate) fn tests(node: &Node, entities: &[Entity], zone: Tz, problems: &mut Problems) -> Vec<UnitTest> {
    let items = read::items(node, "`tests`", "a list of tests, each with `given` and `expect`", problems);
    items.iter().filter_map(|n| test(n, entities, zone, problems)).collect()
}

fn test(node: &Node, entities: &[Entity], zone: Tz, problems: &mut Problems) -> Option<UnitTest> {
    let mut f = Fields::item(node, &root::TEST, problems)?;
    let name = f.name("name");
    let entity = segment::entity(&mut f, entities);
    let as_of = f.take("as_of").and_then(|n| load::as_of(n, zone, f.p).map(|at| (at, n.span)));
    if let Some((AsOf::Run, span)) = as_of {
        let message = "a test looks back from one instant, whatever the run's".to_owned();
        read::bad_value(codes::BAD_INSTANT, span, message, "write a day such as `2026-01-15`", f.p);
    }
    let given = f.need("given", "write `given: {orders: [{customer_id: a, amount: 40}]}`");
    let given = given.map(|n| read::named(n, "`given`", f.p)).unwrap_or_default();
    let given = given.into_iter().map(|(source, node)| (source.clone(), rows(source, node, f.p))).collect();
    let expect = f.need("expect", "write `expect: {attribute: value}`").map(|n| expect(n, f.p));
    f.finish();
    Some(UnitTest { name, span: node.span, entity, as_of: as_of.map(|(at, _)| at), given, expect: expect? })
}

fn rows(source: &Name, node: &Node, problems: &mut Problems) -> Vec<Row> {
    let what = format!("rows of `{}`", shown(&source.value));
    let Value::List(items) = &node.value else {
        read::wrong_kind(node, &what, "a list of rows, each `{column: value}`", problems);
        return Vec::new();
    };
    items.iter().map(|n| row(n, &what, problems)).collect()
}

fn row(node: &Node, what: &str, problems: &mut Problems) -> Row {
    let mut cells = Vec::new();
    for (column, node) in read::named(node, what, problems) {
        match &node.value {
            Value::Text(t) => {
                let text = (!node.is_null()).then(|| t.text.clone());
                cells.push(Cell { column: column.clone(), span: node.span, text });
            }
            _ => {
                let message = format!("`{}` must be one value", shown(&column.value));
                let wrong = Diagnostic::error(codes::WRONG_KIND, node.span, message);
                problems.add(wrong.help("write a number, a text, a time, `true`, `false` or `null`"));
            }
        }
    }
    Row { span: node.span, cells }
}

fn expect(node: &Node, problems: &mut Problems) -> Expect {
    match &node.value {
        Value::List(items) => Expect::ByKey(items.iter().map(|n| row(n, "`expect`", problems)).collect()),
        _ => Expect::One(row(node, "`expect`", problems)),
    }
}
