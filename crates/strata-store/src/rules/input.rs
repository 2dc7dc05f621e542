//! What callers may hand in, checked before any database sees it. Never quotes a value back: it may be anything.

use crate::error::{Error, Result};
use crate::lease::Fence;
use crate::store::{Change, NewRun};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::time::Duration;

/// Characters of an idempotency key.
const REQUEST_ID_CHARS_MAX: usize = 128;
/// Characters of a run id.
const RUN_ID_CHARS_MAX: usize = 128;
/// Characters of any other name: pipeline, step, kind of event, lease, holder. Keys of indexes stay below PostgreSQL's 2704 bytes.
const NAME_CHARS_MAX: usize = 256;
/// Characters kept of a reason to cancel.
const REASON_CHARS_MAX: usize = 2000;
/// Levels of nesting in a JSON value; deeper ones could be written but not read again (serde_json stops at 128).
const JSON_DEPTH_MAX: usize = 100;
/// A lease that lasts longer is a mistake: nobody could follow a holder that died.
const TTL_MAX: Duration = Duration::from_secs(600);
/// The same in milliseconds.
pub(crate) const TTL_MS_MAX: i64 = TTL_MAX.as_millis() as i64;

/// Whether a run can be made of it. Errors: `Invalid`.
pub(crate) fn check_new_run(run: &NewRun) -> Result<()> {
    check_run_id(&run.run_id)?;
    check_name("pipeline", &run.pipeline)?;
    if let Some(id) = &run.request_id {
        check_text("request id", id, REQUEST_ID_CHARS_MAX)?;
    }
    check_json("body", &run.body)
}

/// Whether it can be stored, whatever the run's state. Errors: `Invalid`.
pub(crate) fn check_change(change: &Change) -> Result<()> {
    for event in &change.events {
        check_name("kind of event", &event.kind)?;
        check_json("body of an event", &event.body)?;
    }
    if let Some(step) = &change.step {
        check_name("step", &step.step)?;
        check_name("digest of a step", &step.digest)?;
        check_json("artifact of a step", &step.artifact)?;
    }
    if let Some(report) = &change.report {
        check_json("report", report)?;
    }
    Ok(())
}

/// Whether log lines can be stored. Errors: `Invalid`.
pub(crate) fn check_log(lines: &[(String, String)]) -> Result<()> {
    match lines.iter().all(|(level, _)| matches!(level.as_str(), "info" | "warn" | "error")) {
        true => Ok(()),
        false => Err(Error::Invalid("a log line has an unknown level\n  help: the levels are `info`, `warn` and `error`".into())),
    }
}

/// Names of a lease and of who wants it. Errors: `Invalid`.
pub(crate) fn check_lease(name: &str, holder: &str) -> Result<()> {
    check_name("name of a lease", name)?;
    check_name("holder of a lease", holder)
}

/// A time to live in whole milliseconds; 0: the lease has ended when it is granted. Errors: `Invalid`.
pub(crate) fn ttl_ms(ttl: Duration) -> Result<i64> {
    let too_long =
        || Error::Invalid("a lease cannot last longer than ten minutes\n  help: give a time to live of seconds".into());
    if ttl > TTL_MAX {
        return Err(too_long());
    }
    i64::try_from(ttl.as_millis()).map_err(|_| too_long())
}

/// A span in whole milliseconds, for subtracting from a time: longer than time itself counts as for ever.
pub(crate) fn span_ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// The error of a fence that does not hold.
pub(crate) fn fenced(fence: &Fence) -> Error {
    Error::Fenced { name: fence.name.clone(), epoch: fence.epoch }
}

/// Text that both databases can store: without NUL, which PostgreSQL refuses.
pub(crate) fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A reason to cancel as it is stored.
pub(crate) fn reason(text: &str) -> String {
    clean(text).chars().take(REASON_CHARS_MAX).collect()
}

/// SHA-256 of a JSON value with its keys sorted, in hexadecimal: equal for equal values, whatever the order they were written in.
pub(crate) fn digest(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    hex(&Sha256::digest(text.as_bytes()))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            write_list(('{', '}'), entries, out, |(key, value), out| {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(value, out);
            });
        }
        Value::Array(items) => write_list(('[', ']'), items, out, write_canonical),
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn write_list<T>(
    (open, close): (char, char),
    items: impl IntoIterator<Item = T>,
    out: &mut String,
    write: impl Fn(T, &mut String),
) {
    out.push(open);
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(close);
}

fn check_run_id(id: &str) -> Result<()> {
    let fits = !id.is_empty()
        && id.len() <= RUN_ID_CHARS_MAX
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    match fits {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "the run id cannot be used\n  help: give 1 to {RUN_ID_CHARS_MAX} letters, digits, `-`, `_` or `.`"
        ))),
    }
}

fn check_name(what: &str, text: &str) -> Result<()> {
    check_text(what, text, NAME_CHARS_MAX)
}

fn check_text(what: &str, text: &str, chars_max: usize) -> Result<()> {
    match !text.is_empty() && text.chars().count() <= chars_max && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "the {what} cannot be used\n  help: give 1 to {chars_max} characters, none of them a control character"
        ))),
    }
}

fn check_json(what: &str, value: &Value) -> Result<()> {
    match is_shallow(value, JSON_DEPTH_MAX) {
        true => Ok(()),
        false => {
            Err(Error::Invalid(format!("the {what} is nested more than {JSON_DEPTH_MAX} levels deep\n  help: make it flatter")))
        }
    }
}

fn is_shallow(value: &Value, levels: usize) -> bool {
    match value {
        Value::Object(map) => levels > 0 && map.values().all(|v| is_shallow(v, levels - 1)),
        Value::Array(items) => levels > 0 && items.iter().all(|v| is_shallow(v, levels - 1)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_values_have_equal_digests_whatever_their_order() {
        let a: Value = serde_json::from_str(r#"{"b": [1, {"y": null, "x": "é\n"}], "a": 1.5}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"a":1.5,"b":[1,{"x":"é\n","y":null}]}"#).unwrap();
        assert_eq!(digest(&a), digest(&b));
        // printf '{"a":1.5,"b":[1,{"x":"é\\n","y":null}]}' | sha256sum
        assert_eq!(digest(&a), "d4215cc6adb18e67c51e6f6f466cdf9efea6525a319299f27df1bfd2f82c0f08");
        assert_ne!(digest(&json!([1, 2])), digest(&json!([2, 1])));
        assert_ne!(digest(&json!({"a": 1})), digest(&json!({"a": "1"})));
    }

    #[test]
    fn what_could_not_be_read_again_is_refused() {
        let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert!(check_json("body", &nested(JSON_DEPTH_MAX)).is_ok());
        assert!(check_json("body", &nested(JSON_DEPTH_MAX + 1)).is_err());
        assert!(serde_json::from_str::<Value>(&nested(JSON_DEPTH_MAX).to_string()).is_ok());
    }

    #[test]
    fn spans_and_times_to_live_have_bounds() {
        assert_eq!(ttl_ms(Duration::from_millis(1500)).unwrap(), 1500);
        assert!(ttl_ms(Duration::MAX).is_err());
        assert_eq!(span_ms(Duration::MAX), i64::MAX);
    }
}
