//! The physical codec on the wire between coordinator and workers: our operators, or the distributed engine's own. Never guesses which:
//! the first byte says.

use crate::PhysicalCodec;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::common::{Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use std::sync::Arc;

const OURS: u8 = 1;
const ENGINE: u8 = 2;

/// Codec of everything that crosses.
#[derive(Debug, Default)]
pub struct ClusterCodec {
    ours: PhysicalCodec,
    engine: BallistaPhysicalExtensionCodec,
}

impl PhysicalExtensionCodec for ClusterCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match buf.split_first() {
            Some((&OURS, body)) => self.ours.try_decode(body, inputs, ctx, converter),
            Some((&ENGINE, body)) => self.engine.try_decode(body, inputs, ctx, converter),
            _ => internal_err!("an operator of another version of Strata: all processes of a cluster are of one version"),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let mut body = vec![];
        let tag = match self.ours.try_encode(Arc::clone(&node), &mut body, converter) {
            Ok(()) => OURS,
            Err(_) => {
                body.clear();
                self.engine.try_encode(node, &mut body, converter)?;
                ENGINE
            }
        };
        buf.push(tag);
        buf.extend(body);
        Ok(())
    }
}
