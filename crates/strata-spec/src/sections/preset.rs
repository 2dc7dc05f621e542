//! `rfm@1`, `lifecycle@1` and `lifecycle@2`. Never changes what a version of a preset means.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::segments as language;
use crate::pipeline::preset::{Lifecycle, RfmCuts};
use crate::pipeline::{Method, RecencyOrder, Rfm, RfmColumns, RfmMode, RfmOthers, Rule};
use crate::problems::{Problems, shown};
use crate::read;
use crate::text::{Located, Sql};
use crate::tree::Node;

/// The keys of `rfm@1`; `key` is the entity key, if the entity is known.
pub(crate) fn rfm(f: &mut Fields, key: Option<&str>) -> Rfm {
    f.entry("method");
    let recency = f.need_sql("r", "write `r: recency_days`; the smaller, the better");
    let frequency = f.need_sql("f", "write `f: order_count`");
    let monetary = f.need_sql("m", "write `m: net_cents`");
    let bins = f.small("bins", 2).unwrap_or(5);
    let mode = Box::new(mode(f, bins));
    ties(f, key);
    let orders = [("descending", RecencyOrder::Descending), ("reversed", RecencyOrder::Reversed)];
    let r_order = f.word("r_order", &orders).unwrap_or(RecencyOrder::Descending);
    if f.has("r_order") && *mode != RfmMode::Ntile {
        let message = "`r_order` has no meaning without `mode: ntile`".to_owned();
        let help = "leave it out: cuts and edges rise with recency, and the lowest recency has the highest score";
        f.p.add(Diagnostic::error(codes::CHOOSE_ONE, f.key_span("r_order"), message).help(help));
    }
    let columns = columns(f);
    if let (Some(name), true) = (&columns.segment, bins != 5) {
        let message = format!("named segments are of scores from 1 to 5, `bins` says {bins}");
        f.p.add(Diagnostic::error(codes::WRONG_COUNT, name.span, message).help("write `bins: 5`, or leave `segment` out"));
    }
    let others = f.take("others").filter(|n| !n.is_null()).and_then(|n| others(n, f.p));
    Rfm { recency, frequency, monetary, bins, mode, r_order, columns, others }
}

/// `mode:` and the `cuts:` that go with it.
fn mode(f: &mut Fields, bins: u32) -> RfmMode {
    let known = ["ntile", "edges", "fixed", "frozen"].map(|w| (w, w));
    let mode = f.word("mode", &known).unwrap_or("ntile");
    let Some(node) = f.take("cuts") else {
        if matches!(mode, "fixed" | "frozen") && !f.has("cuts") {
            let message = format!("{} is `{mode}`, but has no `cuts`", f.what);
            let help = match mode {
                "fixed" => "write `cuts: {r: [30, 90], f: [2, 5], m: [50, 200]}`, one number fewer than `bins`",
                _ => "write `cuts: 2026-Q3`, the name that the edges are kept under",
            };
            f.p.add(Diagnostic::error(codes::MISSING_KEY, f.key_span("mode"), message).help(help));
        }
        return if mode == "edges" { RfmMode::Edges } else { RfmMode::Ntile };
    };
    match mode {
        "fixed" => cuts(node, bins, f.p).map_or(RfmMode::Ntile, RfmMode::Fixed),
        "frozen" => read::name(node, "`cuts`", f.p).map_or(RfmMode::Ntile, RfmMode::Frozen),
        _ => {
            let message = format!("`cuts` has no meaning with `mode: {mode}`");
            let help = "write `mode: fixed` with numbers, `mode: frozen` with a name, or leave `cuts` out";
            f.p.add(Diagnostic::error(codes::CHOOSE_ONE, f.key_span("cuts"), message).help(help));
            if mode == "edges" { RfmMode::Edges } else { RfmMode::Ntile }
        }
    }
}

fn cuts(node: &Node, bins: u32, problems: &mut Problems) -> Option<RfmCuts> {
    let mut f = Fields::item(node, &language::CUTS, problems)?;
    let mut one = |key| {
        let node = f.need(key, "write numbers for each of `r`, `f` and `m`")?;
        let items = read::items(node, "`cuts`", "a list of numbers", f.p);
        let numbers: Vec<f64> = items.iter().filter_map(|n| read::real(n, "a cut", f64::MIN, f.p)).collect();
        if !items.is_empty() && u32::try_from(items.len()).is_ok_and(|n| n + 1 != bins) {
            let message = format!("`{key}` has {} cuts, `bins` says {bins}", items.len());
            let help = format!("write {} of them: one fewer than `bins`", bins - 1);
            f.p.add(Diagnostic::error(codes::WRONG_COUNT, node.span, message).help(help));
        }
        if numbers.is_sorted_by(|a, b| a < b) {
            return Some(numbers);
        }
        let message = format!("the cuts of `{key}` do not rise");
        read::bad_value(codes::BAD_NUMBER, node.span, message, "write them from the lowest to the highest", f.p);
        None
    };
    let (r, frequency, m) = (one("r"), one("f"), one("m"));
    f.finish();
    Some(RfmCuts { r: r?, f: frequency?, m: m? })
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
    let mut columns =
        RfmColumns { r: named("r_score"), f: named("f_score"), m: named("m_score"), cell: named("rfm_cell"), segment: None };
    let Some(node) = f.take("columns") else { return columns };
    let Some(mut inner) = Fields::item(node, &language::RFM_COLUMNS, f.p) else { return columns };
    let slots = [("r", &mut columns.r), ("f", &mut columns.f), ("m", &mut columns.m), ("cell", &mut columns.cell)];
    for (key, slot) in slots {
        if let Some(name) = inner.take(key).and_then(|n| read::identifier(n, "`columns`", inner.p)) {
            *slot = name;
        }
    }
    let segment = inner.take("segment").and_then(|n| read::identifier(n, "`columns`", inner.p));
    columns.segment = segment.map(Box::new);
    inner.finish();
    columns
}

fn others(node: &Node, problems: &mut Problems) -> Option<RfmOthers> {
    let mut f = Fields::item(node, &language::RFM_OTHERS, problems)?;
    let score = |f: &mut Fields, key| {
        let node = f.need(key, "write a score for each of `r`, `f`, `m` and a `cell`, or `others: null`");
        node.and_then(|n| read::whole(n, &format!("`{key}`"), &(0..=9999), f.p)).and_then(|n| i32::try_from(n).ok())
    };
    let (r, frequency, m) = (score(&mut f, "r"), score(&mut f, "f"), score(&mut f, "m"));
    let cell = f.need_name("cell", "write `cell: \"000\"`").value;
    let segment = f.name("segment").map(|n| n.value);
    f.finish();
    Some(RfmOthers { r: r?, f: frequency?, m: m?, cell, segment })
}

/// The keys of `lifecycle@1`: five stages by fixed days.
pub(crate) fn lifecycle_1(f: &mut Fields) -> Method {
    f.entry("method");
    let orders = f.need_sql("orders", "write `orders: order_count`");
    let first_days = f.need_sql("first_days", "write `first_days: days_since(first_purchase_at)`");
    let recency_days = f.need_sql("recency_days", "write `recency_days: days_since(last_purchase_at)`");
    let mut days = |key, default| f.whole(key, 1..=1_000_000).unwrap_or(default);
    let (new, active, lapsing) = (days("new", 60), days("active", 120), days("lapsing", 365));
    let unread = ["active", "lapsing"].into_iter().any(|k| f.refused(k));
    if lapsing <= active && !unread {
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

/// The keys of `lifecycle@2`: stages by each one's own interval.
pub(crate) fn lifecycle_2(f: &mut Fields) -> Lifecycle {
    f.entry("method");
    let substates = f.names("substates");
    for name in substates.iter().filter(|n| !matches!(n.as_str(), "prospect" | "reactivated")) {
        let help = f.p.known_help(&name.value, "allowed", &["prospect", "reactivated"]);
        read::bad_value(codes::BAD_VALUE, name.span, format!("`{}` is not a substate", shown(&name.value)), help, f.p);
    }
    let made = Lifecycle {
        purchase_days: f.need_sql("purchase_days", "write `purchase_days: active_days`"),
        recency_days: f.need_sql("recency_days", "write `recency_days: days_since(last_purchase_at)`"),
        gap_days: f.need_sql("gap_days", "write `gap_days: total(gap)`, as an attribute of a table of gaps"),
        gaps: f.need_sql("gaps", "write `gaps: count(gap)`, as an attribute of a table of gaps"),
        last_gap: f.sql("last_gap"),
        cohort: f.name("cohort"),
        prior_gaps: f.real("prior_gaps", 0.0).unwrap_or(4.0),
        new_until: f.whole("new_until", 1..=1000).and_then(|n| u32::try_from(n).ok()).unwrap_or(3),
        slipping: f.real("slipping", 0.0),
        back: f.real("back", 0.0),
        lapsed: f.real("lapsed", 0.0),
        cap_days: f.whole("cap_days", 1..=1_000_000),
        prospect: substates.iter().any(|n| n.value == "prospect"),
        reactivated: substates.iter().any(|n| n.value == "reactivated"),
        state: f.take("state").and_then(|n| read::path(n, "`state`", f.p)),
        others: f.name_or_null("others"),
    };
    if made.state.is_none() && !f.has("state") {
        let needing = if made.reactivated { Some("substates") } else { Some("back").filter(|k| f.has(k)) };
        if let Some(key) = needing {
            let message =
                format!("`{key}` looks back at the stages of an earlier run, and {} does not say where they are", f.what);
            let help = "write `state: \"${vars.out}/profile\"`, the folder of an output that selects the entity's key and this segmentation";
            f.p.add(Diagnostic::error(codes::MISSING_KEY, f.key_span(key), message).help(help));
        }
    }
    cut_offs(f, &made);
    made
}

/// Stages follow each other.
fn cut_offs(f: &mut Fields, made: &Lifecycle) {
    let found = made.last_gap.is_some();
    if found && made.slipping.is_none() && made.back.is_some() {
        let message = "`back` is three quarters of `slipping` where `last_gap` says what that is".to_owned();
        read::bad_value(codes::BAD_NUMBER, f.key_span("back"), message, "leave `back` out, or give `slipping` as well", f.p);
    }
    if found && made.slipping.is_some() && made.lapsed.is_some() {
        let message = "`last_gap` says what `slipping` and `lapsed` are, and both are given".to_owned();
        let problem = Diagnostic::error(codes::CHOOSE_ONE, f.key_span("last_gap"), message);
        f.p.add(problem.help("leave out `last_gap`, or one of the two"));
    }
    // What is found is held against what is given once it is known.
    let slipping = made.slipping.or((!found).then_some(Lifecycle::SLIPPING));
    let back = made.back.or(slipping.map(|_| Lifecycle::BACK));
    let lapsed = made.lapsed.or((!found).then_some(Lifecycle::LAPSED));
    for (low, high, below, above) in [("back", "slipping", back, slipping), ("slipping", "lapsed", slipping, lapsed)] {
        if let (Some(below), Some(above)) = (below, above)
            && below > above
        {
            let message = format!("`{low}` ({below}) must not be more than `{high}` ({above})");
            let at = if f.has(low) { f.key_span(low) } else { f.key_span(high) };
            read::bad_value(codes::BAD_NUMBER, at, message, "stages follow each other: `back` <= `slipping` <= `lapsed`", f.p);
        }
    }
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
