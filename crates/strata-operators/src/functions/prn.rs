//! `prn`: permanent random numbers, a keyed hash of a panel and an id. Never shows a key, and never reads the environment itself.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::common::{Result, exec_err, internal_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::columnar::{each_array, expect_arity, literal_text, primitive, text_type, undictionaried};
use super::scalar::Scalar;

const USAGE: &str = "prn('env:PANEL_KEY', 'panel', id)";
/// Between the panel and the id, so that no other pair gives the same bytes.
const SEPARATOR: char = '\u{1f}';

/// Finds the value of a secret by its name, or `None`.
pub type SecretResolver = fn(&str) -> Option<String>;

static RESOLVER: OnceLock<SecretResolver> = OnceLock::new();

/// Says how this process finds the secrets that `env:NAME` keys refer to. The first call counts; returns whether this was it.
pub fn set_secret_resolver(resolver: SecretResolver) -> bool {
    RESOLVER.set(resolver).is_ok()
}

/// The bytes of a key reference: `seed:…` is its own text, `env:NAME` the value of a secret. Errors: `Plan` for any other reference (which is not repeated: it may
/// be a secret by mistake), `Execution` naming the variable when it has no value here.
pub fn key_bytes(reference: &str) -> Result<Vec<u8>> {
    if reference.starts_with("seed:") {
        return Ok(reference.as_bytes().to_vec());
    }
    let Some(name) = reference.strip_prefix("env:") else {
        return plan_err!("the key of `{USAGE}` is a reference: write `seed:42` or `env:PANEL_KEY`, never the key itself");
    };
    match RESOLVER.get().and_then(|resolve| resolve(name)).filter(|secret| !secret.is_empty()) {
        Some(secret) => Ok(secret.into_bytes()),
        None => exec_err!("the secret `{name}` has no value in this process: set it wherever plans are executed"),
    }
}

/// The permanent random number of one id: (⌊HMAC-SHA256(key, panel ‖ 0x1f ‖ id)/2^203⌋ + ½)/2^53, in (0, 1). Source: the panel method.
/// Errors: `Plan` when the panel's name contains the separator.
pub fn permanent_random_number(key: &[u8], panel: &str, id: &str) -> Result<f64> {
    Ok(number(keyed(key, panel)?, id.as_bytes()))
}

pub(super) fn functions() -> Vec<Scalar> {
    vec![Scalar::new("prn", DataType::Float64, coerce, prn)]
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    expect_arity(USAGE, types.len(), 3)?;
    let id = match undictionaried(&types[2]) {
        text @ (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => text.clone(),
        DataType::UInt64 => DataType::UInt64,
        DataType::Null => DataType::Int64,
        integer if integer.is_integer() => DataType::Int64,
        found => {
            return plan_err!("the id of `{USAGE}` is an integer or text, not {found}: write `cast(id as varchar)`");
        }
    };
    Ok(vec![text_type(USAGE, &types[0])?, text_type(USAGE, &types[1])?, id])
}

/// The permanent random number of each id in a panel, a function of key, panel and the id's text only. `Float64` in (0, 1), null for a null id.
/// Errors: as [`key_bytes`]. Source: the panel method.
fn prn(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let key = key_bytes(literal_text(USAGE, "the key", &args.args[0])?)?;
    let state = keyed(&key, literal_text(USAGE, "the panel", &args.args[1])?)?;
    each_array(&args.args[2], |ids| {
        let numbers: Float64Array = match ids.data_type() {
            DataType::Utf8 => ids.as_string::<i32>().iter().map(|id| of_text(&state, id)).collect(),
            DataType::LargeUtf8 => ids.as_string::<i64>().iter().map(|id| of_text(&state, id)).collect(),
            DataType::Utf8View => ids.as_string_view().iter().map(|id| of_text(&state, id)).collect(),
            DataType::UInt64 => primitive::<UInt64Type>(ids)?.unary(|id| of_integer(&state, id, false)),
            DataType::Int64 => primitive::<Int64Type>(ids)?.unary(|id| of_integer(&state, id.unsigned_abs(), id < 0)),
            found => return internal_err!("`prn` was planned over ids of type {found}"),
        };
        Ok(Arc::new(numbers) as ArrayRef)
    })
}

/// The hash with the key and the panel already taken in.
pub(super) fn keyed(key: &[u8], panel: &str) -> Result<Hmac<Sha256>> {
    if panel.contains(SEPARATOR) {
        return plan_err!("the panel's name contains the character U+001F: name it otherwise");
    }
    let Ok(mut state) = Hmac::<Sha256>::new_from_slice(key) else {
        return internal_err!("HMAC takes keys of any length");
    };
    state.update(panel.as_bytes());
    state.update(&[SEPARATOR as u8]);
    Ok(state)
}

fn of_text(state: &Hmac<Sha256>, id: Option<&str>) -> Option<f64> {
    id.map(|id| number(state.clone(), id.as_bytes()))
}

fn of_integer(state: &Hmac<Sha256>, magnitude: u64, negative: bool) -> f64 {
    let mut digits = [0_u8; 20];
    let mut rest = magnitude;
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let mut state = state.clone();
    if negative {
        state.update(b"-");
    }
    number(state, &digits[start..])
}

fn number(mut state: Hmac<Sha256>, id: &[u8]) -> f64 {
    state.update(id);
    let hash = state.finalize().into_bytes();
    let top = hash[..8].iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)) >> 11;
    // Of the 2^53 values only the last would round up to 1: it stays below.
    let below_one = 1.0 - f64::EPSILON / 2.0;
    ((top as f64 + 0.5) / 9_007_199_254_740_992.0).min(below_one)
}
