//! Reading fixed-width little-endian fields from the front of a byte slice. Never panics on short input.

use crate::{Error, Result};

/// Takes the first `N` bytes off `bytes`. Errors: `Corrupt` if there are fewer.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8], what: &'static str) -> Result<[u8; N]> {
    let (head, tail) = bytes.split_first_chunk::<N>().ok_or(Error::Corrupt { what, detail: "it ends too early" })?;
    *bytes = tail;
    Ok(*head)
}

/// Takes an `i64` off `bytes`. Errors: `Corrupt` if there are fewer than 8 bytes.
pub(crate) fn take_i64(bytes: &mut &[u8], what: &'static str) -> Result<i64> {
    Ok(i64::from_le_bytes(take(bytes, what)?))
}

/// Checks that nothing is left. Errors: `Corrupt`.
pub(crate) fn end(bytes: &[u8], what: &'static str) -> Result<()> {
    if bytes.is_empty() { Ok(()) } else { Err(Error::Corrupt { what, detail: "bytes are left over" }) }
}
