//! What panels and waves say beyond one draw: fatigue, quotas, replicates, response. Never draws.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::panel;
use crate::pipeline::wave::{Burden, Fatigue, Further, Quota, Reserve, Response, StratumRule, StratumShare, Target};
use crate::pipeline::{Design, Draw, Sample};
use crate::problems::{Problems, shown};
use crate::read;
use crate::sections::panel::{parts_per_million, share};
use crate::sections::{people, window};
use crate::text::{Located, Name};
use crate::tree::{Entry, Node, Value};

/// `fatigue:`
pub(crate) fn fatigue(node: &Node, problems: &mut Problems) -> Option<Fatigue> {
    let mut f = Fields::item(node, &panel::FATIGUE, problems)?;
    let counts = f.need("counts", "write `counts: invites`, the source of invitations");
    let counts = counts.map(|n| read::names(n, "`counts`", f.p)).unwrap_or_default();
    let invites = f.take("invites").and_then(|n| people::rate(n, "`invites`", f.p).map(|r| Located::new(r, n.span)));
    let found = Fatigue {
        counts,
        filter: f.sql("where"),
        invites,
        rest_us: f.take("rest").and_then(|n| window::exact_us(n, "`rest`", f.p)),
        complete: f.sql("complete"),
        rest_after_complete_us: f.take("rest_after_complete").and_then(|n| window::exact_us(n, "`rest_after_complete`", f.p)),
        in_field: f.sql("in_field"),
        burden: f.take("burden").and_then(|n| burden(n, f.p)),
        never: f.sql("never"),
    };
    if f.has("rest_after_complete") && !f.has("complete") {
        let span = f.key_span("rest_after_complete");
        let message = "`rest_after_complete` needs `complete`: which contacts are answers";
        let help = "write `complete: status = 'complete'`, a condition on the rows of the first of `counts`";
        f.p.add(Diagnostic::error(codes::MISSING_KEY, span, message).help(help));
    }
    f.finish();
    Some(found)
}

fn burden(node: &Node, problems: &mut Problems) -> Option<Burden> {
    let mut f = Fields::item(node, &panel::BURDEN, problems)?;
    let minutes = f.need_sql("minutes", "write `minutes: length_minutes`");
    let most = f.need("most", "write `most: 60/90d`").and_then(|n| people::rate(n, "`most`", f.p));
    let this = f.whole("this", 0..=u64::MAX).unwrap_or(0);
    f.finish();
    Some(Burden { minutes, most: most?, this })
}

/// What a wave says beyond who is drawn first; its strata and draw are read elsewhere.
pub(crate) fn further(f: &mut Fields) -> Further {
    Further {
        strata: Vec::new(),
        draw: Draw::default(),
        response: f.take("expect_response").and_then(|n| response(n, f.p)),
        quotas: f.take("quotas").map(|n| quotas(n, f.p)).unwrap_or_default(),
        not_in: f.names("not_in"),
        after: f.name("after"),
        refresh_ppm: f.take("refresh").and_then(|n| share(n, "`refresh`", f.p)),
        reserve: f.take("reserve").and_then(|n| reserve(n, f.p)),
        replicates: f.whole("replicates", 1..=1000).and_then(|n| u32::try_from(n).ok()),
    }
}

/// Keys of a wave that exclude or need each other.
pub(crate) fn together(f: &mut Fields, further: &Further) {
    let plain = matches!(further.draw.by, Design::Srs);
    let cuts = f.has("replicates") || matches!(further.reserve, Some(Reserve::Share(_)));
    let wrong = [
        (
            f.has("quotas") && f.has("strata"),
            "quotas",
            "the wave has both `quotas` and `strata`",
            "keep one of them: quotas are cells of their own",
        ),
        (
            f.has("quotas") && f.has("allocate"),
            "allocate",
            "quotas say how many of each cell: `allocate` is not used",
            "remove one of them",
        ),
        (
            f.has("allocate") && !further.strata.is_empty(),
            "allocate",
            "each of the `strata` says how it is allocated: `allocate` is not used",
            "remove it, or list the names: `strata: [lifecycle, region]`",
        ),
        (
            f.has("quotas") && !plain,
            "draw",
            "quotas are filled by the least numbers: `draw: {by: …}` is not used",
            "remove one of them",
        ),
        (
            f.has("order") && (!plain || further.draw.shift > 0.0),
            "order",
            "`order` says who is drawn first, and so does `draw`",
            "keep one of them",
        ),
        (
            cuts && !plain,
            "draw",
            "only a simple draw is cut into replicates and a reserve",
            "write `draw: {by: srs}`, or remove `replicates` and `reserve`",
        ),
        (
            f.has("after") && (!plain || f.has("order")),
            "after",
            "people of the wave before stay in first only in a simple draw by number",
            "remove `order` and `draw: {by: …}`, or `after`",
        ),
        (
            f.has("refresh") && !f.has("after"),
            "refresh",
            "`refresh` rotates people of a wave before out, and `after` names none",
            "write `after: wave`",
        ),
    ];
    for (is_wrong, key, message, help) in wrong {
        if is_wrong {
            let span = f.key_span(key);
            f.p.add(Diagnostic::error(codes::CHOOSE_ONE, span, message).help(help));
        }
    }
}

fn response(node: &Node, problems: &mut Problems) -> Option<Response> {
    let mut f = Fields::item(node, &panel::RESPONSE, problems)?;
    let rate_ppm = f.take("rate").and_then(|n| share(n, "`rate`", f.p));
    f.word("model", &[("past_rate", ())]);
    let base = f.whole("base", 0..=u64::MAX).unwrap_or(50);
    let incidence_ppm = f.take("incidence").and_then(|n| share(n, "`incidence`", f.p)).unwrap_or(1_000_000);
    let rejected_ppm = f.take("rejected").and_then(|n| share(n, "`rejected`", f.p)).unwrap_or(0);
    let shrink_to = f.name("shrink_to");
    if f.has("rate") == f.has("model") {
        let message = "`expect_response` needs one of `rate` and `model`";
        let help = "write `rate: 30%`, or `model: past_rate`";
        f.p.add(Diagnostic::error(codes::CHOOSE_ONE, node.span, message).help(help));
    }
    if rejected_ppm >= 1_000_000 {
        let span = f.value_span("rejected");
        read::bad_value(codes::BAD_NUMBER, span, "all answers are rejected".to_owned(), "write less than 100%", f.p);
    }
    f.finish();
    Some(Response { rate_ppm, base, incidence_ppm, rejected_ppm, shrink_to })
}

fn reserve(node: &Node, problems: &mut Problems) -> Option<Reserve> {
    let percent = node.text().is_some_and(|t| t.text.trim().ends_with('%'));
    if percent {
        share(node, "`reserve`", problems).map(Reserve::Share)
    } else {
        window::exact_us(node, "`reserve`", problems).map(Reserve::For)
    }
}

/// `{gender: {f: 50% +- 3, m: 50% +- 3}}`; `"gender, age": {"f, young": 20}` interlocks.
fn quotas(node: &Node, problems: &mut Problems) -> Vec<Quota> {
    let entries = read::entries(node, "`quotas`", problems);
    let mut all = Vec::with_capacity(entries.len());
    for entry in entries {
        let columns: Vec<Name> = parts(&entry.key.value).map(|c| Located::new(c, entry.key.span)).collect();
        let what = format!("the quota of `{}`", shown(&entry.key.value));
        let mut cells = Vec::new();
        for cell in read::entries(&entry.value, &what, problems) {
            cells.extend(quota_cell(cell, columns.len(), problems));
        }
        all.push(Quota { columns, cells });
    }
    all
}

fn quota_cell(cell: &Entry, columns: usize, problems: &mut Problems) -> Option<(Vec<String>, Target)> {
    let levels: Vec<String> = parts(&cell.key.value).collect();
    if levels.len() != columns {
        let message = format!("`{}` names {} values, the quota has {columns} columns", shown(&cell.key.value), levels.len());
        let wrong = Diagnostic::error(codes::WRONG_COUNT, cell.key.span, message);
        problems.add(wrong.help("write one value a column, such as `\"f, young\": 20`"));
    }
    let written = read::text(&cell.value, "a target", "`50%`, `50% +- 3` or a whole number", problems)?.text.trim();
    let target = target(written);
    if target.is_none() {
        let message = format!("a target cannot be `{}`", shown(written));
        read::bad_value(codes::BAD_NUMBER, cell.value.span, message, "write `50%`, `50% +- 3` or a whole number", problems);
    }
    target.map(|t| (levels, t))
}

/// `50% +- 3` is 47 % to 53 %; `120 +- 10` is 110 to 130.
fn target(written: &str) -> Option<Target> {
    let (amount, tolerance) = written.split_once("+-").map_or((written, None), |(a, t)| (a.trim(), Some(t.trim())));
    match amount.strip_suffix('%') {
        Some(percent) => {
            let of = Sample::PartsPerMillion(parts_per_million(percent.trim())?);
            let tolerance = tolerance.map_or(Some(0), |t| parts_per_million(t.trim_end_matches('%').trim()))?;
            Some(Target { of, tolerance })
        }
        None => {
            let of = Sample::Count(amount.parse().ok()?);
            Some(Target { of, tolerance: tolerance.map_or(Some(0), |t| t.parse().ok())? })
        }
    }
}

fn parts(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(',').map(|p| p.trim().to_owned())
}

/// `proportional`, `equal`, `{min: 150, max: 400}` or `{top: 25%}`
pub(crate) fn stratum(name: &Name, node: &Node, problems: &mut Problems) -> StratumRule {
    let what = format!("the allocation of `{}`", shown(&name.value));
    let how = match &node.value {
        Value::Map(_) => shares(node, &what, problems),
        _ => read::word(node, &what, &[("proportional", StratumShare::Proportional), ("equal", StratumShare::Equal)], problems),
    };
    StratumRule { name: name.clone(), how: how.unwrap_or(StratumShare::Proportional) }
}

fn shares(node: &Node, what: &str, problems: &mut Problems) -> Option<StratumShare> {
    let entries = read::entries(node, what, problems);
    let whole = |e: &Entry, p: &mut Problems| read::whole(&e.value, &format!("`{}`", e.key.value), &(0..=u64::MAX), p);
    if entries.iter().all(|e| matches!(e.key.as_str(), "min" | "max")) {
        let mut bounds = (None, None);
        for entry in entries {
            let value = whole(entry, problems);
            if entry.key.value == "min" { bounds.0 = value } else { bounds.1 = value }
        }
        if bounds.0.zip(bounds.1).is_some_and(|(min, max)| max < min) {
            let message = format!("{what} has a `max` less than its `min`");
            read::bad_value(codes::BAD_NUMBER, node.span, message, "raise `max` or lower `min`", problems);
        }
        return Some(StratumShare::Bounds { min: bounds.0, max: bounds.1 });
    }
    let mut all = Vec::new();
    for entry in entries {
        all.extend(
            share(&entry.value, &format!("`{}`", shown(&entry.key.value)), problems).map(|s| (entry.key.value.clone(), s)),
        );
    }
    if all.iter().map(|(_, s)| s).sum::<u64>() > 1_000_000 {
        let message = format!("{what} adds up to more than 100%");
        read::bad_value(codes::BAD_NUMBER, node.span, message, "lower the shares; what is left is in proportion", problems);
    }
    Some(StratumShare::Shares(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_a_tolerance_in_their_own_unit() {
        let percent = |of, tolerance| Some(Target { of: Sample::PartsPerMillion(of), tolerance });
        assert_eq!(target("50% +- 3"), percent(500_000, 30_000));
        assert_eq!(target("12.5%"), percent(125_000, 0));
        assert_eq!(target("120 +- 10"), Some(Target { of: Sample::Count(120), tolerance: 10 }));
        for bad in ["", "half", "50 %%", "50% +-", "120 +- x", "-1"] {
            assert_eq!(target(bad), None, "{bad}");
        }
    }
}
