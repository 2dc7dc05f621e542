//! The physical write on the wire. Never carries its input: that is encoded beside it. The logical node is encoded by
//! `strata_operators::write::WriteNode`; both are the message `strata.plan.v1.Write`.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use strata_operators::write::WriteSpec;

use crate::write_exec::WriteExec;

/// `node` on the wire, without its input.
pub fn encode_write(node: &WriteExec) -> Vec<u8> {
    node.spec().encode()
}

/// The node that [`encode_write`] put on the wire, above `input`.
///
/// Errors: `Internal` for bytes of another version, `Plan` for a specification or an input that cannot be written.
pub fn decode_write(bytes: &[u8], input: Arc<dyn ExecutionPlan>) -> Result<WriteExec> {
    WriteExec::try_new(input, WriteSpec::decode(bytes)?)
}
