//! The physical codec of a whole plan: the operators' and the writer's. Never carries a handle of this process.

use datafusion::common::{Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use std::sync::Arc;
use strata_operators::codec::PhysicalCodec as Operators;
use strata_publish::{WriteExec, decode_write, encode_write};

/// Tag of the writer; those of the operators are smaller.
const WRITE: u8 = 100;

/// Codec of every operator of ours.
#[derive(Debug, Clone, Default)]
pub struct PhysicalCodec;

impl PhysicalExtensionCodec for PhysicalCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (buf.split_first(), inputs) {
            (Some((&WRITE, body)), [input]) => Ok(Arc::new(decode_write(body, Arc::clone(input))?)),
            (Some((&WRITE, _)), _) => internal_err!("a write has one input"),
            _ => Operators.try_decode(buf, inputs, ctx, converter),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        match node.downcast_ref::<WriteExec>() {
            Some(write) => {
                buf.push(WRITE);
                buf.extend(encode_write(write));
                Ok(())
            }
            None => Operators.try_encode(node, buf, converter),
        }
    }
}
