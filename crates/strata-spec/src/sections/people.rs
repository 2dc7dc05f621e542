//! `personas:`, `typing_tool:` and `personalise:`. Never shows anybody.

use crate::codes;
use crate::fields::Fields;
use crate::language::people;
use crate::pipeline::people::{NextBest, Rate};
use crate::pipeline::{Personalise, Personas, TypingTool};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::{panel, window};
use crate::text::{Name, Sql};
use crate::tree::Node;

/// `personas:`
pub(crate) fn personas(node: &Node, problems: &mut Problems) -> Option<Personas> {
    let mut f = Fields::item(node, &people::PERSONAS, problems)?;
    let of = f.need("from", "write `from: segmentation`").map(|n| read::names(n, "`from`", f.p)).unwrap_or_default();
    let describe = f.need("describe", "write `describe: [age_band, region]`").map(|n| read::names(n, "`describe`", f.p));
    let min_cell = f.whole("min_cell", 1..=u64::MAX).unwrap_or(10);
    let render = chosen(&mut f, "render", &["markdown", "json"]);
    f.finish();
    Some(Personas { of, describe: describe.unwrap_or_default(), min_cell, render })
}

/// `typing_tool:`
pub(crate) fn typing_tool(node: &Node, problems: &mut Problems) -> Option<TypingTool> {
    let mut f = Fields::item(node, &people::TYPING_TOOL, problems)?;
    let of = f.need_name("for", "write `for: segmentation`");
    let questions = f.need("questions", "write `questions: {from: survey, max: 8}`").and_then(|n| questions(n, f.p));
    let (questions, questions_max) = questions.unwrap_or((read::blank(node.span), 8));
    let method = chosen(&mut f, "method", &["lda", "multinomial", "naive_bayes", "tree"]).pop();
    let min_accuracy = f.real("min_accuracy", 0.0);
    if min_accuracy.is_some_and(|a| a > 1.0) {
        let message = "`min_accuracy` is a share, at most 1".to_owned();
        read::bad_value(codes::BAD_NUMBER, f.value_span("min_accuracy"), message, "write a number from 0 to 1", f.p);
    }
    let export = chosen(&mut f, "export", &["json", "sql", "csv"]);
    f.finish();
    Some(TypingTool { of, questions, questions_max, method, min_accuracy, export })
}

fn questions(node: &Node, problems: &mut Problems) -> Option<(Name, u32)> {
    let mut f = Fields::item(node, &people::QUESTIONS, problems)?;
    let from = f.need_name("from", "write `from: survey`, the source with the answers");
    let max = f.whole("max", 1..=1000).and_then(|n| u32::try_from(n).ok()).unwrap_or(8);
    f.finish();
    Some((from, max))
}

/// One word or a list of words.
fn chosen(f: &mut Fields, key: &'static str, known: &[&str]) -> Vec<Name> {
    let names = f.names(key);
    for name in names.iter().filter(|n| !known.contains(&n.as_str())) {
        let help = f.p.known_help(&name.value, "allowed", known);
        read::bad_value(codes::BAD_VALUE, name.span, format!("`{key}` cannot be `{}`", shown(&name.value)), help, f.p);
    }
    names
}

/// `personalise:`
pub(crate) fn personalise(node: &Node, problems: &mut Problems) -> Option<Personalise> {
    let mut f = Fields::item(node, &people::PERSONALISE, problems)?;
    let purpose = f.need_name("purpose", "write `purpose: name`, which people must have consented to");
    let next_best = f.take("next_best").and_then(|n| next_best(n, f.p));
    let offers = f.take("offers").map(|n| read::items(n, "`offers`", "a list of offers", f.p)).unwrap_or_default();
    let offers = offers.iter().filter_map(|n| offer(n, f.p)).collect();
    let (channel, at) = f.take("send").map(|n| send(n, f.p)).unwrap_or_default();
    let (per_customer, control_ppm) = f.take("limits").map(|n| limits(n, f.p)).unwrap_or_default();
    f.finish();
    Some(Personalise { purpose, next_best, offers, channel, at, per_customer, control_ppm })
}

fn next_best(node: &Node, problems: &mut Problems) -> Option<NextBest> {
    let mut f = Fields::item(node, &people::NEXT_BEST, problems)?;
    let preset = f.need("preset", "write `preset: item_cf@1`").and_then(|n| read::name(n, "`preset`", f.p));
    if let Some(name) = preset.as_ref().filter(|n| n.value != "item_cf@1") {
        let help = f.p.known_help(&name.value, "presets", &["item_cf@1"]);
        read::bad_value(codes::UNKNOWN_METHOD, name.span, format!("`{}` is not a preset", shown(&name.value)), help, f.p);
    }
    let from = f.need_name("from", "write `from: orders`, the purchases");
    let top = f.whole("top", 1..=1000).and_then(|n| u32::try_from(n).ok()).unwrap_or(5);
    let (exclude, fallback) = (f.name("exclude"), f.name("fallback"));
    f.finish();
    Some(NextBest { preset: preset?, from, top, exclude, fallback })
}

fn offer(node: &Node, problems: &mut Problems) -> Option<(Name, Sql)> {
    let mut f = Fields::item(node, &people::OFFER, problems)?;
    let offer = f.need_name("offer", "write `offer: name`");
    let when = f.need_sql("when", "write `when: condition`");
    f.finish();
    Some((offer, when))
}

fn send(node: &Node, problems: &mut Problems) -> (Option<Name>, Option<Name>) {
    let Some(mut f) = Fields::item(node, &people::SEND, problems) else { return Default::default() };
    let found = (f.name("channel"), f.name("at"));
    f.finish();
    found
}

fn limits(node: &Node, problems: &mut Problems) -> (Option<Rate>, Option<u64>) {
    let Some(mut f) = Fields::item(node, &people::LIMITS, problems) else { return Default::default() };
    let rate = f.take("per_customer").and_then(|n| rate(n, "`per_customer`", f.p));
    let control = f.take("control").and_then(|n| panel::share(n, "`control`", f.p));
    f.finish();
    (rate, control)
}

/// `2/30d`
pub(crate) fn rate(node: &Node, what: &str, problems: &mut Problems) -> Option<Rate> {
    let written = read::text(node, what, "a count and a time such as `2/30d`", problems)?.text.trim();
    let parts = written.split_once('/').and_then(|(count, within)| {
        let count = count.trim().parse::<u64>().ok().filter(|n| *n > 0)?;
        Some(Rate { count, within_us: window::micros(within)? })
    });
    if parts.is_none() {
        let message = format!("{what} cannot be `{}`", shown(written));
        read::bad_value(codes::BAD_DURATION, node.span, message, "write a count and a time, such as `2/30d`", problems);
    }
    parts
}
