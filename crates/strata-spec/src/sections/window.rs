//! Durations and trailing windows: `90d`, `26h`, `12mo`, `730d..365d`, `life`. Never asks what day it is.

use crate::codes;
use crate::pipeline::{Ago, Window};
use crate::problems::{Problems, shown};
use crate::read;
use crate::text::Located;
use crate::tree::Node;

const HOUR_US: i64 = 3_600_000_000;

/// A window; `Some(None)` is `life`.
pub(crate) fn window(node: &Node, problems: &mut Problems) -> Option<Option<Located<Window>>> {
    let written = read::text(node, "a window", "a window such as `90d`", problems)?.text.trim();
    if written == "life" {
        return Some(None);
    }
    let (from, to) = written.split_once("..").unwrap_or((written, ""));
    let from = ago(from);
    let to =
        if written.contains("..") { ago(to).or((to.trim() == "0d").then_some(Ago::Micros(0))) } else { Some(Ago::Micros(0)) };
    match (from, to) {
        (Some(from), Some(to)) if !is_reversed(from, to) => Some(Some(Located::new(Window { from, to }, node.span))),
        (Some(_), Some(_)) => {
            let help = "write the end that lies further back first, such as `730d..365d`";
            read::bad_value(codes::BAD_DURATION, node.span, format!("the window `{}` is empty", shown(written)), help, problems);
            None
        }
        _ => {
            let help = "write `90d`, `26h`, `12mo`, `730d..365d` or `life`";
            read::bad_value(codes::BAD_DURATION, node.span, format!("`{}` is not a window", shown(written)), help, problems);
            None
        }
    }
}

/// An exact duration in microseconds.
pub(crate) fn exact_us(node: &Node, what: &str, problems: &mut Problems) -> Option<i64> {
    let written = read::text(node, what, "a duration such as `7d`", problems)?.text.trim();
    match ago(written) {
        Some(Ago::Micros(us)) => Some(us),
        Some(Ago::Months(_)) => {
            let message = format!("{what} cannot be `{}`: months have no fixed length", shown(written));
            read::bad_value(codes::BAD_DURATION, node.span, message, "write days or hours, such as `30d`", problems);
            None
        }
        None => {
            let help = "write days or hours, such as `7d` or `26h`";
            read::bad_value(codes::BAD_DURATION, node.span, format!("`{}` is not a duration", shown(written)), help, problems);
            None
        }
    }
}

/// A distance back in time; months have a meaning.
pub(crate) fn distance(node: &Node, what: &str, problems: &mut Problems) -> Option<Located<Ago>> {
    let written = read::text(node, what, "a time such as `90d`", problems)?.text.trim();
    let found = ago(written).map(|a| Located::new(a, node.span));
    if found.is_none() {
        let help = "write `26h`, `90d` or `12mo`";
        read::bad_value(codes::BAD_DURATION, node.span, format!("`{}` is not a duration", shown(written)), help, problems);
    }
    found
}

/// An exact duration in microseconds, from text.
pub(crate) fn micros(written: &str) -> Option<i64> {
    match ago(written) {
        Some(Ago::Micros(us)) => Some(us),
        _ => None,
    }
}

/// What a window adds to an attribute's name in `windows:`.
pub(crate) fn suffix(node: &Node) -> String {
    node.text().map(|t| t.text.trim().replace("..", "_")).unwrap_or_default()
}

fn ago(written: &str) -> Option<Ago> {
    let written = written.trim();
    let digits = written.len() - written.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let count: i64 = written[..digits].parse().ok().filter(|n| *n > 0)?;
    match &written[digits..] {
        "d" => count.checked_mul(24 * HOUR_US).map(Ago::Micros),
        "h" => count.checked_mul(HOUR_US).map(Ago::Micros),
        // 12,000 months are a thousand years: more is a slip, and calendar arithmetic stays in range.
        "mo" => u32::try_from(count).ok().filter(|n| *n <= 12_000).map(Ago::Months),
        _ => None,
    }
}

/// True if the window certainly ends before it starts. Months against days are left to the calendar.
fn is_reversed(from: Ago, to: Ago) -> bool {
    match (from, to) {
        (Ago::Micros(from), Ago::Micros(to)) => from <= to,
        (Ago::Months(from), Ago::Months(to)) => from <= to,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact_and_bounded() {
        assert_eq!(ago("90d"), Some(Ago::Micros(90 * 24 * HOUR_US)));
        assert_eq!(ago("26h"), Some(Ago::Micros(26 * HOUR_US)));
        assert_eq!(ago("12mo"), Some(Ago::Months(12)));
        for bad in ["", "d", "0d", "-1d", "90", "90 d", "1y", "999999999999999999d", "12001mo", "9d9"] {
            assert_eq!(ago(bad), None, "{bad}");
        }
    }
}
