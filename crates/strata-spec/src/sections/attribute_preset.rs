//! `loyalty_core@1` and `preferred_time@1`. Never says what they compute.

use crate::codes;
use crate::fields::Fields;
use crate::language::attributes as language;
use crate::pipeline::preset::{LoyaltyCore, PreferredTime, TimePart};
use crate::pipeline::{Ago, AttributePreset, Window};
use crate::problems::shown;
use crate::read;
use crate::sections::window;
use crate::text::Located;

const DAY_US: i64 = 86_400_000_000;

/// The keys of `loyalty_core@1`.
pub(crate) fn loyalty(f: &mut Fields, place: usize) -> Option<AttributePreset> {
    f.becomes(&language::LOYALTY);
    f.word("preset", &[("loyalty_core@1", ())])?;
    let span = f.value_span("preset");
    let from = f.need_name("from", "write `from: orders`, one row an order");
    let amount = f.need_sql("amount", "write `amount: paid`, what was paid for the order");
    let windows = f.take("windows").map(|n| read::items(n, "`windows`", "a list such as `[90d, 365d]`", f.p)).unwrap_or_default();
    let read = windows.iter().filter_map(|n| Some((window::suffix(n), window::window(n, f.p)?)));
    let mut windows: Vec<_> = read.collect();
    if !f.has("windows") {
        let days = |n| Ago::Micros(n * DAY_US);
        windows.push(("365d".to_owned(), Some(Located::new(Window { from: days(365), to: days(0) }, span))));
    }
    let made = LoyaltyCore {
        place,
        span,
        from,
        amount,
        discount: f.sql("discount"),
        returned: f.sql("returned"),
        lines: f.sql("lines"),
        category: f.name("category"),
        channel: f.sql("channel"),
        engagement: f.names("engagement"),
        windows,
        prefix: prefix(f),
    };
    Some(AttributePreset::LoyaltyCore(Box::new(made)))
}

/// The keys of `preferred_time@1`.
pub(crate) fn preferred_time(f: &mut Fields, place: usize) -> Option<AttributePreset> {
    f.becomes(&language::TIME);
    f.word("preset", &[("preferred_time@1", ())])?;
    let span = f.value_span("preset");
    let from = f.need_name("from", "write `from: web_events`, a source or table with a `time`");
    let confidence = f.real("confidence", 0.0).unwrap_or(0.95);
    if confidence >= 1.0 {
        let message = "`confidence` must be below 1".to_owned();
        read::bad_value(codes::BAD_NUMBER, f.value_span("confidence"), message, "write `confidence: 0.95`", f.p);
    }
    let window = f.take("window").and_then(|n| window::window(n, f.p)).flatten();
    if let Some(w) = window.as_ref().filter(|w| matches!((w.value.from, w.value.to), (Ago::Months(_), _) | (_, Ago::Months(_)))) {
        f.p.not_yet(w.span, "a `window` of months in `preferred_time@1`", "write days, such as `window: 365d`");
    }
    let made = PreferredTime {
        place,
        span,
        from,
        filter: f.sql("where"),
        by: by(f),
        min_events: f.whole("min_events", 1..=1_000_000).and_then(|n| u32::try_from(n).ok()).unwrap_or(5),
        smoothing: f.real("smoothing", 0.0).unwrap_or(10.0),
        confidence,
        window,
        prefix: prefix(f),
    };
    Some(AttributePreset::PreferredTime(Box::new(made)))
}

fn by(f: &mut Fields) -> Vec<TimePart> {
    let parts = [("daypart", TimePart::Daypart), ("weekday", TimePart::Weekday), ("hour", TimePart::Hour)];
    let names = f.names("by");
    let mut all = Vec::new();
    for name in &names {
        match parts.iter().find(|(word, _)| *word == name.value) {
            Some((_, part)) => all.push(*part),
            None => {
                let help = f.p.known_help(&name.value, "allowed", &["daypart", "weekday", "hour"]);
                read::bad_value(codes::BAD_VALUE, name.span, format!("`by` cannot be `{}`", shown(&name.value)), help, f.p);
            }
        }
    }
    if names.is_empty() { vec![TimePart::Daypart, TimePart::Weekday] } else { all }
}

fn prefix(f: &mut Fields) -> Option<crate::text::Name> {
    f.take("prefix").and_then(|n| read::identifier(n, "`prefix`", f.p))
}
