//! `rfm@1` and `lifecycle@1`. Never changes what a version of a preset means.

use crate::codes;
use crate::fields::Fields;
use crate::pipeline::{Method, RecencyOrder, Rfm, RfmColumns, RfmOthers, Rule};
use crate::problems::{Problems, shown};
use crate::read;
use crate::text::{Located, Sql};
use crate::tree::Node;

/// The keys of `rfm@1`; `key` is the entity key, if the entity is known.
pub(crate) fn rfm(f: &mut Fields, key: Option<&str>) -> Rfm {
    let recency = f.need_sql("r", "write `r: recency_days`; the smaller, the better");
    let frequency = f.need_sql("f", "write `f: order_count`");
    let monetary = f.need_sql("m", "write `m: net_cents`");
    let bins = f.small("bins", 2).unwrap_or(5);
    f.word_or_later(
        "mode",
        &[("ntile", ())],
        &["edges", "fixed", "frozen"],
        "write `mode: ntile`, equal groups by value and key",
    );
    ties(f, key);
    let orders = [("descending", RecencyOrder::Descending), ("reversed", RecencyOrder::Reversed)];
    let r_order = f.word("r_order", &orders).unwrap_or(RecencyOrder::Descending);
    let columns = columns(f);
    let others = f.take("others").filter(|n| !n.is_null()).and_then(|n| others(n, f.p));
    Rfm { recency, frequency, monetary, bins, r_order, columns, others }
}

/// `ties:` can only say what holds anyway: ties go by the entity key.
fn ties(f: &mut Fields, key: Option<&str>) {
    let Some(node) = f.take("ties") else { return };
    let Some(text) = read::text(node, "`ties`", "the entity key", f.p) else { return };
    let known = text.text == "key" || key.is_none_or(|k| k == text.text);
    if !known {
        let what = format!("`ties: {}`", shown(&text.text));
        f.p.not_yet(
            node.span,
            &what,
            &format!("ties go by the entity key: write `ties: {}`, or leave it out", key.unwrap_or("key")),
        );
    }
}

fn columns(f: &mut Fields) -> RfmColumns {
    let owner = f.owner;
    let named = |text: &str| Located::new(text.to_owned(), owner);
    let mut columns = RfmColumns { r: named("r_score"), f: named("f_score"), m: named("m_score"), cell: named("rfm_cell") };
    let Some(node) = f.take("columns") else { return columns };
    let name = read::blank(node.span);
    let Some(mut inner) = Fields::open(node, &name, "`columns`", f.p) else { return columns };
    let slots = [("r", &mut columns.r), ("f", &mut columns.f), ("m", &mut columns.m), ("cell", &mut columns.cell)];
    for (key, slot) in slots {
        if let Some(name) = inner.take(key).and_then(|n| read::identifier(n, "`columns`", inner.p)) {
            *slot = name;
        }
    }
    inner.finish();
    columns
}

fn others(node: &Node, problems: &mut Problems) -> Option<RfmOthers> {
    let owner = read::blank(node.span);
    let mut f = Fields::open(node, &owner, "`others`", problems)?;
    let score = |f: &mut Fields, key| {
        let node = f.need(key, "write a score for each of `r`, `f`, `m` and a `cell`, or `others: null`");
        node.and_then(|n| read::whole(n, &format!("`{key}`"), &(0..=9999), f.p)).and_then(|n| i32::try_from(n).ok())
    };
    let (r, frequency, m) = (score(&mut f, "r"), score(&mut f, "f"), score(&mut f, "m"));
    let cell = f.need_name("cell", "write `cell: \"000\"`").value;
    f.finish();
    Some(RfmOthers { r: r?, f: frequency?, m: m?, cell })
}

/// The keys of `lifecycle@1`: five stages by fixed days.
pub(crate) fn lifecycle(f: &mut Fields) -> Method {
    let orders = f.need_sql("orders", "write `orders: order_count`");
    let first_days = f.need_sql("first_days", "write `first_days: days_since(first_purchase_at)`");
    let recency_days = f.need_sql("recency_days", "write `recency_days: days_since(last_purchase_at)`");
    let mut days = |key, default| f.whole(key, 1..=1_000_000).unwrap_or(default);
    let (new, active, lapsing) = (days("new", 60), days("active", 120), days("lapsing", 365));
    if lapsing <= active {
        let message = format!("`lapsing` ({lapsing} days) must be more than `active` ({active} days)");
        let at = if f.has("lapsing") { f.key_span("lapsing") } else { f.key_span("active") };
        read::bad_value(codes::BAD_NUMBER, at, message, "nobody could be lapsing: raise `lapsing` or lower `active`", f.p);
    }
    let rule = |label: &str, when: Option<Sql>| Rule {
        label: Located::new(label.to_owned(), when.as_ref().map_or(f.owner, |w| w.span)),
        when,
    };
    let rules = vec![
        rule("prospect", Some(compared(&orders, "= 0"))),
        rule("new", Some(compared(&first_days, &format!("<= {new}")))),
        rule("active", Some(compared(&recency_days, &format!("<= {active}")))),
        rule("lapsing", Some(compared(&recency_days, &format!("<= {lapsing}")))),
        rule("lapsed", None),
    ];
    Method::Rules { rules, others: f.name_or_null("others") }
}

/// `(<sql>) <comparison>` at the user's own place. A `--` comment in the expression must not swallow the bracket.
fn compared(sql: &Sql, comparison: &str) -> Sql {
    let mut line_starts = sql.line_starts.clone();
    if let Some(first) = line_starts.first_mut() {
        *first = first.saturating_sub(1);
    }
    let comment = sql.text.contains("--");
    if comment {
        line_starts.push(sql.span.end);
    }
    Sql { text: format!("({}{}) {comparison}", sql.text, if comment { "\n" } else { "" }), span: sql.span, line_starts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Span;

    #[test]
    fn a_comment_does_not_swallow_the_bracket() {
        let sql = Sql { text: "a -- b".to_owned(), span: Span::new(10, 16), line_starts: vec![10] };
        let made = compared(&sql, "= 0");
        assert_eq!(made.text, "(a -- b\n) = 0");
        assert_eq!(made.line_starts, vec![9, 16]);
        assert_eq!(made.span_at(1, 2, 1), Span::new(10, 11));
    }
}
