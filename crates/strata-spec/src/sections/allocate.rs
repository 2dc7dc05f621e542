//! `allocate:` and `draw:` of a wave. Never draws.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::language::panel as language;
use crate::pipeline::{AfterBounds, Allocate, AllocateBy, AllocateRule, Design, Draw, Rounding};
use crate::problems::{Problems, shown};
use crate::read;
use crate::text::{Name, Span};
use crate::tree::Node;

/// `allocate:`
pub(crate) fn allocate(node: &Node, problems: &mut Problems) -> Option<Allocate> {
    let mut f = Fields::item(node, &language::ALLOCATE, problems)?;
    let rules = [
        ("proportional", AllocateRule::Proportional),
        ("equal", AllocateRule::Equal),
        ("neyman", AllocateRule::Neyman),
        ("size_power", AllocateRule::SizePower),
        ("bankier", AllocateRule::Bankier),
        ("optimal", AllocateRule::Optimal),
        ("fixed", AllocateRule::Fixed),
    ];
    let rule = f.word("by", &rules).unwrap_or_default();
    let roundings = [
        ("largest_remainder", Rounding::LargestRemainder),
        ("nearest", Rounding::Nearest),
        ("floor", Rounding::Floor),
        ("ceiling", Rounding::Ceiling),
        ("random", Rounding::Random),
    ];
    let rounding = f.word("rounding", &roundings).unwrap_or_default();
    let rows = f.take("rows").map(|n| rows(n, f.p)).unwrap_or_default();
    let by = AllocateBy {
        rule,
        measure: f.sql("measure"),
        cost: f.sql("cost"),
        budget: f.real("budget", 0.0),
        power: f.real("power", 0.0).unwrap_or(0.5),
        rows,
    };
    let min = f.whole("min", 0..=u64::MAX).unwrap_or(0);
    let max = f.whole("max", 1..=u64::MAX);
    let bounds = [("rebalance", AfterBounds::Rebalance), ("keep", AfterBounds::Keep)];
    let after_bounds = f.word("after_bounds", &bounds).unwrap_or(AfterBounds::Rebalance);
    if max.is_some_and(|max| max < min) {
        let span: Span = f.key_span("max");
        read::bad_value(codes::BAD_NUMBER, span, "`max` is less than `min`".to_owned(), "raise `max` or lower `min`", f.p);
    }
    fits(&mut f, rule, after_bounds, rounding);
    f.finish();
    Some(Allocate { by, min, max, rounding, after_bounds })
}

/// What a rule needs is there, and what it does not use is not.
fn fits(f: &mut Fields, rule: AllocateRule, after_bounds: AfterBounds, rounding: Rounding) {
    let measured = matches!(rule, AllocateRule::Neyman | AllocateRule::Optimal | AllocateRule::Bankier);
    let word = match rule {
        AllocateRule::Neyman => "neyman",
        AllocateRule::Optimal => "optimal",
        AllocateRule::Bankier => "bankier",
        AllocateRule::Fixed => "fixed",
        AllocateRule::SizePower => "size_power",
        AllocateRule::Equal => "equal",
        AllocateRule::Proportional => "proportional",
    };
    let needs = [
        (measured, "measure", "write `measure: spend_365d`, a number of each member"),
        (rule == AllocateRule::Optimal, "cost", "write `cost: 1.5`, or an expression"),
        (rule == AllocateRule::Fixed, "rows", "write `rows: {north: 20, south: 30}`"),
        (f.has("budget"), "cost", "write `cost: 1.5`, or an expression"),
    ];
    for (needed, key, help) in needs {
        if needed && !f.has(key) {
            let message = format!("`by: {word}` needs `{key}`");
            f.p.add(Diagnostic::error(codes::MISSING_KEY, f.owner, message).help(help));
        }
    }
    let unused = [
        ("measure", measured, "neyman`, `optimal` or `bankier"),
        ("rows", rule == AllocateRule::Fixed, "fixed"),
        ("power", matches!(rule, AllocateRule::SizePower | AllocateRule::Bankier), "size_power` or `bankier"),
    ];
    for (key, used, by) in unused {
        if f.has(key) && !used {
            let message = format!("`by: {word}` does not use `{key}`");
            let span = f.key_span(key);
            f.p.add(Diagnostic::error(codes::CHOOSE_ONE, span, message).help(format!("remove it, or write `by: {by}`")));
        }
    }
    let integers = matches!(rule, AllocateRule::Proportional | AllocateRule::Equal) && !f.has("budget");
    let only = [
        (after_bounds == AfterBounds::Keep, "after_bounds", "after_bounds: keep"),
        (rounding != Rounding::LargestRemainder, "rounding", "rounding"),
    ];
    for (_, key, what) in only.into_iter().filter(|(said, ..)| *said && !integers) {
        let span = f.key_span(key);
        let message = format!("`{what}` does not go with `by: {word}`");
        let help = "leave it out: the total stays exact, or write `by: proportional` without a budget";
        f.p.add(Diagnostic::error(codes::CHOOSE_ONE, span, message).help(help));
    }
}

fn rows(node: &Node, problems: &mut Problems) -> Vec<(Name, u64)> {
    let entries = read::entries(node, "`rows`", problems);
    let one = |e: &crate::tree::Entry, p: &mut Problems| {
        let what = format!("the rows of `{}`", shown(&e.key.value));
        read::whole(&e.value, &what, &(0..=u64::MAX), p).map(|n| (e.key.clone(), n))
    };
    entries.iter().filter_map(|e| one(e, problems)).collect()
}

/// `draw:`
pub(crate) fn draw(node: &Node, problems: &mut Problems) -> Option<Draw> {
    let mut f = Fields::item(node, &language::DRAW, problems)?;
    let designs = [
        ("srs", Design::Srs),
        ("systematic", Design::Systematic),
        ("poisson", Design::Poisson),
        ("sequential_poisson", Design::SequentialPoisson),
        ("pareto", Design::Pareto),
        ("sampford", Design::Sampford),
    ];
    let by = f.word("by", &designs).unwrap_or_default();
    let (size, along) = (f.sql("size"), f.sql("along"));
    let shift = f.real("shift", 0.0).unwrap_or(0.0);
    if shift >= 1.0 {
        let span = f.value_span("shift");
        let help = "write where the wave starts on the circle, such as `shift: 0.25`";
        read::bad_value(codes::BAD_NUMBER, span, format!("`shift` cannot be `{shift}`: the circle ends at 1"), help, f.p);
    }
    if matches!(by, Design::SequentialPoisson | Design::Pareto | Design::Sampford) && !f.has("size") {
        f.p.add(
            Diagnostic::error(codes::MISSING_KEY, f.owner, "this design draws by size, and `size` is missing")
                .help("write `size: spend_365d`, or `by: srs`"),
        );
    }
    for (key, used, instead) in [
        ("size", by != Design::Srs, "remove it, or write `by: pareto`"),
        ("along", by == Design::Systematic, "remove it, or write `by: systematic`"),
    ] {
        if f.has(key) && !used {
            let (span, message) = (f.key_span(key), format!("this design does not use `{key}`"));
            f.p.add(Diagnostic::error(codes::CHOOSE_ONE, span, message).help(instead));
        }
    }
    f.finish();
    Some(Draw { by, size, along, shift: if shift < 1.0 { shift } else { 0.0 } })
}
