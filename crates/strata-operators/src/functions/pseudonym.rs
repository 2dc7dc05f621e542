//! `strata_pseudonym`: a keyed hash of an export and an id, in letters and digits. Never shows a key, and never gives two exports one name
//! for a person unless they share theirs.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::common::{Result, internal_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::columnar::{each_array, expect_arity, literal_text, primitive, text_type, undictionaried};
use super::prn::{key_bytes, keyed};
use super::scalar::Scalar;

/// Name of the function; pipelines cannot call it.
pub const PSEUDONYM: &str = "strata_pseudonym";
const USAGE: &str = "strata_pseudonym('env:EXPORT_KEY', 'export', 'key id', id)";
/// Bytes of the hash that are kept: 160 bits, 32 characters.
const BYTES: usize = 20;

pub(super) fn functions() -> Vec<Scalar> {
    vec![Scalar::new(PSEUDONYM, DataType::Utf8, coerce, pseudonym)]
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    expect_arity(USAGE, types.len(), 4)?;
    let id = match undictionaried(&types[3]) {
        text @ (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => text.clone(),
        DataType::UInt64 => DataType::UInt64,
        DataType::Null => DataType::Int64,
        integer if integer.is_integer() => DataType::Int64,
        found => return plan_err!("a key is an integer or text to have a pseudonym, not {found}"),
    };
    Ok(vec![text_type(USAGE, &types[0])?, text_type(USAGE, &types[1])?, text_type(USAGE, &types[2])?, id])
}

/// The first 160 bits of HMAC-SHA256(key, export ‖ 0x1f ‖ id) in base32 (RFC 4648, without padding), the key's id and `-` before it if it has
/// one; null for a null id. Errors: as [`key_bytes`].
fn pseudonym(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let key = key_bytes(literal_text(USAGE, "the key", &args.args[0])?)?;
    let state = keyed(&key, literal_text(USAGE, "the export", &args.args[1])?)?;
    let prefix = match literal_text(USAGE, "the key id", &args.args[2])? {
        "" => String::new(),
        id => format!("{id}-"),
    };
    let of = |id: &str| format!("{prefix}{}", encoded(state.clone(), id));
    each_array(&args.args[3], |ids| {
        let out: StringArray = match ids.data_type() {
            DataType::Utf8 => ids.as_string::<i32>().iter().map(|id| id.map(of)).collect(),
            DataType::LargeUtf8 => ids.as_string::<i64>().iter().map(|id| id.map(of)).collect(),
            DataType::Utf8View => ids.as_string_view().iter().map(|id| id.map(of)).collect(),
            DataType::UInt64 => primitive::<UInt64Type>(ids)?.iter().map(|id| id.map(|id| of(&id.to_string()))).collect(),
            DataType::Int64 => primitive::<Int64Type>(ids)?.iter().map(|id| id.map(|id| of(&id.to_string()))).collect(),
            found => return internal_err!("`{PSEUDONYM}` was planned over ids of type {found}"),
        };
        Ok(Arc::new(out) as ArrayRef)
    })
}

fn encoded(mut state: Hmac<Sha256>, id: &str) -> String {
    state.update(id.as_bytes());
    data_encoding::BASE32_NOPAD.encode(&state.finalize().into_bytes()[..BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudonyms_are_those_of_an_independent_hmac() {
        // python3: base64.b32encode(hmac.new(b"k1", b"once:p/main/2026\x1f" + id, "sha256").digest()[:20])
        let of = |key: &[u8], export: &str, id: &str| encoded(keyed(key, export).unwrap(), id);
        assert_eq!(of(b"k1", "once:p/main/2026", "007"), "SEY5PZWUCN7T7B26MCWMDSQSJGUEXWKB");
        assert_eq!(of(b"k1", "once:p/main/2026", "7"), "ZPTTJ3RUJ743NJXLFZVR3V3GRNLYJBW3");
        assert_eq!(of(b"k1", "once:p/other/2026", "7"), "G77MWY2UGGQCAPHZN6UFN7U5CCSRKHMM");
        assert_eq!(of(b"k2", "once:p/main/2026", "7"), "M7VEJFBAY7QJADNLTM4GN6ZZHOFR2JSM");
    }
}
