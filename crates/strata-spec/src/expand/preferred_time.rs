//! `preferred_time@1`. Never prefers a part of time to which everybody's lift does not point.

use super::{Made, Part, Surroundings};
use crate::pipeline::preset::{PreferredTime, TimePart};
use crate::pipeline::{Ago, Window};
use crate::text::Sql;

pub(super) fn made(preset: &PreferredTime, around: Surroundings) -> Made {
    let mut made = Made::default();
    for part in &preset.by {
        one(preset, *part, &around, &mut made);
    }
    made
}

/// Events by part of each person → everybody's shares → the smoothed share of each person and part → the part with the highest.
fn one(preset: &PreferredTime, part: TimePart, around: &Surroundings, made: &mut Made) {
    let (word, of_time) = match part {
        TimePart::Daypart => ("daypart", "daypart({time})"),
        TimePart::Weekday => ("weekday", "isodow({time})"),
        TimePart::Hour => ("hour", "hour({time})"),
    };
    let time = around.time(&preset.from);
    let (from, within) = (super::quoted(&preset.from.value), within(&time, preset));
    let yes = Sql { text: "true".to_owned(), span: around.span, line_starts: vec![Sql::NOWHERE] };
    let [events, shares, scores] = ["events", "shares", "scores"].map(|n| around.table_name(&format!("{word}_{n}")));
    let (smoothing, z) = (format!("{:?}", preset.smoothing), format!("{:?}", normal_quantile((1.0 + preset.confidence) / 2.0)));
    let others = [
        ("from", Part::Text(&from)),
        ("time", Part::Text(&time)),
        ("within", Part::Text(&within)),
        ("filter", Part::Users(preset.filter.as_ref().unwrap_or(&yes))),
        ("events", Part::Text(&events)),
        ("shares", Part::Text(&shares)),
        ("smoothing", Part::Text(&smoothing)),
        ("z", Part::Text(&z)),
    ];
    let counted = format!(
        "select {{key}}, part, count(*) as n from (select {{key}}, {of_time} as part from {{from}} \
         where {{key}} is not null and {{time}} is not null{{within}} and {{filter}}) as e group by {{key}}, part"
    );
    let key = around.entity_key;
    let table = |name: &str, key: &[&str], text: &str| around.table(&format!("{word}_{name}"), key, around.sql(text, &others));
    made.tables.push(table("events", &[key, "part"], &counted));
    made.tables.push(table("shares", &["part"], SHARES));
    made.tables.push(table("scores", &[key, "part"], SCORES));
    let columns = [
        ("events", "max(n)"),
        ("part", "first(cast(part as varchar) order by share desc, part)"),
        ("low", "first(low order by share desc, part)"),
        ("base", "first(base order by share desc, part)"),
    ];
    let columns = columns.map(|(n, text)| (format!("_{word}_{n}"), around.sql(text, &[])));
    let aggregates = columns.iter().map(|(n, sql)| (n.as_str(), sql.clone())).collect();
    made.blocks.push(around.from(around.name(&scores), aggregates));
    let chosen = format!(
        "case when {{@_{word}_events}} >= {} and {{@_{word}_low}} > {{@_{word}_base}} then {{@_{word}_part}} else 'none' end",
        preset.min_events
    );
    made.blocks.push(around.row(vec![(&format!("preferred_{word}"), around.sql(&chosen, &[]))]));
}

/// π: the share of each part in everybody's events.
const SHARES: &str = "select part, n / sum(n) over () as base from (select part, sum(n) as n from {events} group by part) as s";
/// (n_c + κ π_c) / (n + κ), and the lower end of Wilson's interval of that share over n + κ events.
const SCORES: &str = "select {key}, part, n, base, share, (share + {z} * {z} / (2.0 * size) \
    - {z} * sqrt(share * (1.0 - share) / size + {z} * {z} / (4.0 * size * size))) / (1.0 + {z} * {z} / size) as low \
    from (select p.{key}, b.part, p.n, b.base, p.n + {smoothing} as size, \
    (coalesce(e.n, 0) + {smoothing} * b.base) / (p.n + {smoothing}) as share \
    from (select {key}, sum(n) as n from {events} group by {key}) as p cross join {shares} as b \
    left join {events} as e on e.{key} = p.{key} and e.part = b.part) as s";

fn within(time: &str, preset: &PreferredTime) -> String {
    let Some(window) = &preset.window else { return String::new() };
    let Window { from, to } = window.value;
    match (from, to) {
        (Ago::Micros(from), Ago::Micros(to)) => format!(
            " and {time} >= as_of - interval '{} hours' and {time} < as_of - interval '{} hours'",
            from / HOUR_US,
            to / HOUR_US
        ),
        // Refused where it is read.
        _ => String::new(),
    }
}

const HOUR_US: i64 = 3_600_000_000;

/// The standard normal quantile of `p` ≥ 0.5, by bisection of the distribution function.
fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..200 {
        let middle: f64 = (low + high) / 2.0;
        if normal(middle) < p { low = middle } else { high = middle }
    }
    low
}

/// The standard normal distribution function for x ≥ 0, by its series around 0, and 1 beyond 8.
fn normal(x: f64) -> f64 {
    if x > 8.0 {
        return 1.0;
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term > sum * 1e-17 {
        term *= x * x / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_quantiles_are_those_of_the_tables() {
        for (p, z) in [(0.975, 1.959_963_984_540_054), (0.95, 1.644_853_626_951_472_7), (0.995, 2.575_829_303_548_900_4)] {
            assert!((normal_quantile(p) - z).abs() < 1e-12, "{p}: {}", normal_quantile(p));
        }
        assert!(normal_quantile(0.5) < 1e-12);
    }
}
