//! Page tokens: where the last page ended, for this query only. Never trusts a token: it comes from outside.

use super::input::hex;
use crate::error::{Error, Result};
use crate::run::RunRecord;
use crate::store::{ListQuery, RunPage};
use sha2::{Digest, Sha256};

const PAGE_SIZE_MAX: u32 = 1000;
/// Hexadecimal digits of the checksum in front of a token.
const CHECKSUM_LEN: usize = 16;

/// The last run of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) created_ms: i64,
    pub(crate) run_id: String,
}

/// Where to go on; `None`: at the beginning. Errors: `Invalid` for a page size out of bounds and for a token that this query did not give.
pub(crate) fn cursor(query: &ListQuery) -> Result<Option<Cursor>> {
    if !(1..=PAGE_SIZE_MAX).contains(&query.page_size) {
        return Err(Error::Invalid(format!("the page size is out of bounds\n  help: ask for 1 to {PAGE_SIZE_MAX} runs a page")));
    }
    let Some(token) = &query.page_token else { return Ok(None) };
    match decode(query, token) {
        Some(cursor) => Ok(Some(cursor)),
        None => Err(Error::Invalid(
            "the page token is not of this list\n  help: give the token of the last page with the same filter and order, or none to begin anew".into(),
        )),
    }
}

/// A page of the runs that were read: one more than fits tells that there are more.
pub(crate) fn cut(query: &ListQuery, mut runs: Vec<RunRecord>) -> RunPage {
    let size = usize::try_from(query.page_size).unwrap_or(usize::MAX);
    let has_more = runs.len() > size;
    runs.truncate(size);
    let next_page_token = if has_more { runs.last().map(|last| token(query, last)) } else { None };
    RunPage { runs, next_page_token }
}

/// The token of the page after `last`.
fn token(query: &ListQuery, last: &RunRecord) -> String {
    let place = hex(format!("{}:{}", last.created_at.timestamp_millis(), last.run_id).as_bytes());
    format!("{}{place}", checksum(query, &place))
}

fn decode(query: &ListQuery, token: &str) -> Option<Cursor> {
    let (sum, place) = token.split_at_checked(CHECKSUM_LEN)?;
    if sum != checksum(query, place) {
        return None;
    }
    let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes: Option<Vec<u8>> =
        place.as_bytes().chunks(2).map(|two| Some(digit(two.first()?)? << 4 | digit(two.get(1)?)?)).collect();
    let text = String::from_utf8(bytes?).ok()?;
    let (created_ms, run_id) = text.split_once(':')?;
    Some(Cursor { created_ms: created_ms.parse().ok()?, run_id: run_id.to_owned() })
}

/// Tells a token of another query or a garbled one; it is no secret.
fn checksum(query: &ListQuery, place: &str) -> String {
    let mut states: Vec<_> = query.states.iter().map(|s| s.name()).collect();
    states.sort_unstable();
    states.dedup();
    let filter = serde_json::json!([query.pipeline, states, query.oldest_first, place]);
    let mut sum = hex(&Sha256::digest(filter.to_string().as_bytes()));
    sum.truncate(CHECKSUM_LEN);
    sum
}
