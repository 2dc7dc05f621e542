//! The details of a call's status: `google.rpc.Status` with one [`Problem`] in it. Never grows beyond what HTTP headers carry.

use crate::v1::Problem;
use prost::Message;

/// Bytes of details: they travel in a header, base64, and clients refuse headers of more than 16 KiB in all.
const DETAILS_BYTES_MAX: usize = 8 << 10;

/// Name of the detail's type.
const PROBLEM_TYPE: &str = "type.googleapis.com/strata.v1.Problem";

/// `google.rpc.Status`, as every client library knows it.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// The details of a status with `code` and `message`. Diagnostics that do not fit are left out; `diagnostics_total` still counts them.
pub fn encode(code: i32, message: &str, mut problem: Problem) -> Vec<u8> {
    problem.diagnostics_total = problem.diagnostics_total.max(u32::try_from(problem.diagnostics.len()).unwrap_or(u32::MAX));
    while problem.encoded_len() > DETAILS_BYTES_MAX && problem.diagnostics.pop().is_some() {}
    let value = problem.encode_to_vec();
    let detail = prost_types::Any { type_url: PROBLEM_TYPE.to_owned(), value };
    RpcStatus { code, message: message.to_owned(), details: vec![detail] }.encode_to_vec()
}

/// The problem in the details of a status. `None`: there is none, or another kind of detail.
pub fn decode(details: &[u8]) -> Option<Problem> {
    let status = RpcStatus::decode(details).ok()?;
    let detail = status.details.iter().find(|d| d.type_url == PROBLEM_TYPE)?;
    Problem::decode(detail.value.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Diagnostic;

    #[test]
    fn details_fit_a_header() {
        let one = Diagnostic { message: "x".repeat(500), ..Diagnostic::default() };
        let problem = Problem { kind: "invalid-pipeline".into(), diagnostics: vec![one; 100], ..Problem::default() };
        let bytes = encode(3, "wrong", problem);
        assert!(bytes.len() < 9 << 10, "{}", bytes.len());
        let read = decode(&bytes).unwrap();
        assert_eq!(read.diagnostics_total, 100);
        assert!(!read.diagnostics.is_empty() && read.diagnostics.len() < 100);
        assert_eq!(decode(b"\xff\xff"), None);
    }
}
