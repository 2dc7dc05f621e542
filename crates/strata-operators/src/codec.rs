//! The one codec of a plan, logical and physical: a tag byte says which of our nodes follows, everything else is DataFusion's.
//! Never carries a file's bytes, a secret or a handle of this process.

use crate::bucket::{BucketScanExec, BucketTable};
use crate::cogroup::{CogroupExec, CogroupInput, CogroupNode, Stage};
use crate::dedup::{DedupExec, DedupNode, DedupSpec, Keep};
use crate::lookup::LookupExec;
use crate::messages::{self, wire};
use crate::numbered::{NumberedExec, NumberedNode};
use crate::owners::{OwnersExec, OwnersNode};
use crate::pinned::PinnedTable;
use crate::previous::PreviousExec;
use crate::screen::{Action, Emit, ScreenExec, ScreenNode, ScreenRule};
use crate::write::WriteNode;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, Result, TableReference, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Extension, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::from_proto::parse_expr;
use datafusion_proto::logical_plan::to_proto::serialize_expr;
use datafusion_proto::logical_plan::{AsLogicalPlan, LogicalExtensionCodec};
use datafusion_proto::physical_plan::from_proto::parse_physical_expr;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr;
use datafusion_proto::physical_plan::{AsExecutionPlan, PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf::{LogicalExprNode, LogicalPlanNode, PhysicalExprNode, PhysicalPlanNode};
use prost::Message;
use std::sync::Arc;

const SCREEN: u8 = 1;
const DEDUP: u8 = 2;
const COGROUP: u8 = 3;
const WRITE: u8 = 4;
const BUCKET_SCAN: u8 = 5;
const PINNED: u8 = 6;
const OWNERS: u8 = 7;
const NUMBERED: u8 = 8;
const LOOKUP: u8 = 9;
const PREVIOUS: u8 = 10;

/// Logical codec.
#[derive(Debug, Clone, Default)]
pub struct LogicalCodec;

/// Physical codec of the operators here.
#[derive(Debug, Clone, Default)]
pub struct PhysicalCodec;

fn put(buf: &mut Vec<u8>, tag: u8, message: &impl Message) {
    buf.push(tag);
    buf.extend(message.encode_to_vec());
}

fn split(buf: &[u8]) -> Result<(u8, &[u8])> {
    match buf.split_first() {
        Some((tag, rest)) => Ok((*tag, rest)),
        None => internal_err!("an empty node arrived"),
    }
}

impl LogicalExtensionCodec for LogicalCodec {
    fn try_decode(&self, buf: &[u8], inputs: &[LogicalPlan], ctx: &TaskContext) -> Result<Extension> {
        let (tag, body) = split(buf)?;
        let plan = |bytes: &[u8]| LogicalPlanNode::decode(bytes).map_err(wire)?.try_into_logical_plan(ctx, self);
        let first = || match inputs.first() {
            Some(input) => Ok(input.clone()),
            None => internal_err!("a node without its input arrived"),
        };
        match tag {
            SCREEN => {
                let m = messages::Screen::decode(body).map_err(wire)?;
                let of = |bytes: &[u8]| parse_expr(&LogicalExprNode::decode(bytes).map_err(wire)?, ctx, self);
                let (emit, rules) = (emit_of(m.aside), screen_rules(&m, |bytes| Ok(of(bytes)?))?);
                Ok(Extension { node: Arc::new(ScreenNode::of(emit, first()?, m.source, rules)?) })
            }
            DEDUP => {
                let m = messages::Dedup::decode(body).map_err(wire)?;
                Ok(Extension { node: Arc::new(DedupNode::of(first()?, dedup_spec(m))) })
            }
            COGROUP => {
                let m = messages::Cogroup::decode(body).map_err(wire)?;
                let stages = m
                    .stages
                    .iter()
                    .map(|s| Ok(Stage { name: s.name.clone(), plan: plan(&s.plan)?, unique: s.unique.clone() }))
                    .collect::<Result<_>>()?;
                let (result, buckets, named) = (plan(&m.result)?, m.buckets as usize, named_of(m.inputs));
                Ok(Extension { node: Arc::new(CogroupNode { inputs: inputs.to_vec(), named, stages, result, buckets }) })
            }
            WRITE => Ok(Extension { node: Arc::new(WriteNode::decode(body, first()?)?) }),
            OWNERS => {
                let m = messages::Owners::decode(body).map_err(wire)?;
                Ok(Extension { node: Arc::new(OwnersNode::try_new(first()?, m.buckets as usize)?) })
            }
            NUMBERED => {
                let m = messages::Numbered::decode(body).map_err(wire)?;
                Ok(Extension { node: Arc::new(NumberedNode::try_new(first()?, m.file)?) })
            }
            _ => internal_err!("a node of another version of strata arrived: tag {tag}"),
        }
    }

    fn try_encode(&self, node: &Extension, buf: &mut Vec<u8>) -> Result<()> {
        let any = node.node.as_any();
        let plan = |p: &LogicalPlan| Ok::<_, DataFusionError>(LogicalPlanNode::try_from_logical_plan(p, self)?.encode_to_vec());
        if let Some(n) = any.downcast_ref::<ScreenNode>() {
            let message = screen_message(&n.source, &n.rules, n.emit(), |e| Ok(serialize_expr(e, self)?.encode_to_vec()))?;
            put(buf, SCREEN, &message);
        } else if let Some(n) = any.downcast_ref::<DedupNode>() {
            put(buf, DEDUP, &dedup_message(&n.spec()));
        } else if let Some(n) = any.downcast_ref::<CogroupNode>() {
            let stages = n.stages.iter().map(|s| stage(s, plan(&s.plan)?)).collect::<Result<_>>()?;
            put(buf, COGROUP, &cogroup_message(&n.named, stages, plan(&n.result)?, n.buckets));
        } else if let Some(n) = any.downcast_ref::<WriteNode>() {
            buf.push(WRITE);
            buf.extend(n.encode());
        } else if let Some(n) = any.downcast_ref::<OwnersNode>() {
            put(buf, OWNERS, &messages::Owners { buckets: n.buckets as u64 });
        } else if let Some(n) = any.downcast_ref::<NumberedNode>() {
            put(buf, NUMBERED, &messages::Numbered { file: n.file().to_owned() });
        } else {
            return internal_err!("the node `{}` has no codec", node.node.name());
        }
        Ok(())
    }

    fn try_decode_table_provider(
        &self,
        buf: &[u8],
        _: &TableReference,
        _: SchemaRef,
        _: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        let (tag, body) = split(buf)?;
        match tag {
            PINNED => Ok(Arc::new(PinnedTable::from_message(messages::Pinned::decode(body).map_err(wire)?)?)),
            BUCKET_SCAN => {
                let m = messages::BucketScan::decode(body).map_err(wire)?;
                Ok(Arc::new(BucketTable::new(m.name, messages::decode_schema(&m.schema)?, &m.key)))
            }
            _ => internal_err!("a table of another version of strata arrived: tag {tag}"),
        }
    }

    fn try_encode_table_provider(&self, table: &TableReference, node: Arc<dyn TableProvider>, buf: &mut Vec<u8>) -> Result<()> {
        if let Some(pinned) = node.downcast_ref::<PinnedTable>() {
            put(buf, PINNED, &pinned.to_message()?);
        } else if let Some(bucket) = node.downcast_ref::<BucketTable>() {
            let schema = messages::encode_schema(&bucket.schema)?;
            let (name, key) = (bucket.name.clone(), bucket.key());
            put(buf, BUCKET_SCAN, &messages::BucketScan { name, schema, projection: vec![], key });
        } else {
            return internal_err!("the table `{table}` is not a pinned list of files: it cannot cross the wire");
        }
        Ok(())
    }
}

impl PhysicalExtensionCodec for PhysicalCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (tag, body) = split(buf)?;
        let plan = |bytes: &[u8]| PhysicalPlanNode::decode(bytes).map_err(wire)?.try_into_physical_plan(ctx, self);
        let first = || match inputs.first() {
            Some(input) => Ok(Arc::clone(input)),
            None => internal_err!("a node without its input arrived"),
        };
        match tag {
            SCREEN => {
                let m = messages::Screen::decode(body).map_err(wire)?;
                let input = first()?;
                let schema = input.schema();
                let of = |bytes: &[u8]| parse_physical_expr(&PhysicalExprNode::decode(bytes).map_err(wire)?, ctx, &schema, self);
                let (emit, rules) = (emit_of(m.aside), screen_rules(&m, of)?);
                Ok(Arc::new(ScreenExec::new(input, m.source, rules, emit)))
            }
            DEDUP => {
                let m = messages::Dedup::decode(body).map_err(wire)?;
                Ok(Arc::new(DedupExec::new(first()?, dedup_spec(m))))
            }
            COGROUP => {
                let m = messages::Cogroup::decode(body).map_err(wire)?;
                let stages = m
                    .stages
                    .iter()
                    .map(|s| Ok(Stage { name: s.name.clone(), plan: plan(&s.plan)?, unique: s.unique.clone() }))
                    .collect::<Result<_>>()?;
                let (result, buckets) = (plan(&m.result)?, m.buckets as usize);
                Ok(Arc::new(CogroupExec::try_new(inputs.to_vec(), named_of(m.inputs), stages, result, buckets)?))
            }
            BUCKET_SCAN => {
                let m = messages::BucketScan::decode(body).map_err(wire)?;
                let projection = m.projection.iter().map(|i| *i as usize).collect();
                Ok(Arc::new(BucketScanExec::try_new(m.name, messages::decode_schema(&m.schema)?, projection)?))
            }
            OWNERS => {
                let m = messages::Owners::decode(body).map_err(wire)?;
                Ok(Arc::new(OwnersExec::new(first()?, m.buckets as usize)))
            }
            NUMBERED => {
                let m = messages::Numbered::decode(body).map_err(wire)?;
                Ok(Arc::new(NumberedExec::try_new(first()?, m.file)?))
            }
            LOOKUP => {
                let m = messages::Lookup::decode(body).map_err(wire)?;
                let [left, right] = inputs else { return internal_err!("a look-up has two inputs") };
                let of = |bytes: &[u8], side: &Arc<dyn ExecutionPlan>| {
                    parse_physical_expr(&PhysicalExprNode::decode(bytes).map_err(wire)?, ctx, &side.schema(), self)
                };
                let on = m.left.iter().zip(&m.right).map(|(l, r)| Ok((of(l, left)?, of(r, right)?))).collect::<Result<_>>()?;
                let projection = m.projection.iter().map(|i| *i as usize).collect();
                Ok(Arc::new(LookupExec::try_new(Arc::clone(left), Arc::clone(right), on, projection)?))
            }
            PREVIOUS => {
                let m = messages::Previous::decode(body).map_err(wire)?;
                let input = first()?;
                let of = |all: &[Vec<u8>]| {
                    let parse = |bytes: &Vec<u8>| {
                        parse_physical_expr(
                            &PhysicalExprNode::decode(bytes.as_slice()).map_err(wire)?,
                            ctx,
                            &input.schema(),
                            self,
                        )
                    };
                    all.iter().map(parse).collect::<Result<Vec<_>>>()
                };
                let (values, by, schema) = (of(&m.values)?, of(&m.by)?, messages::decode_schema(&m.schema)?);
                Ok(Arc::new(PreviousExec::try_new(input, values, by, schema)?))
            }
            _ => internal_err!("an operator of another version of strata arrived: tag {tag}"),
        }
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, buf: &mut Vec<u8>, _: &dyn PhysicalProtoConverterExtension) -> Result<()> {
        let plan = |p: &Arc<dyn ExecutionPlan>| {
            Ok::<_, DataFusionError>(PhysicalPlanNode::try_from_physical_plan(Arc::clone(p), self)?.encode_to_vec())
        };
        if let Some(n) = node.downcast_ref::<ScreenExec>() {
            let of = |e: &_| Ok(serialize_physical_expr(e, self)?.encode_to_vec());
            put(buf, SCREEN, &screen_message(n.source(), n.rules(), n.emit(), of)?);
        } else if let Some(n) = node.downcast_ref::<DedupExec>() {
            put(buf, DEDUP, &dedup_message(n.spec()));
        } else if let Some(n) = node.downcast_ref::<CogroupExec>() {
            let stages = n.stages().iter().map(|s| stage(s, plan(&s.plan)?)).collect::<Result<_>>()?;
            put(buf, COGROUP, &cogroup_message(n.named(), stages, plan(n.result())?, n.buckets()));
        } else if let Some(n) = node.downcast_ref::<OwnersExec>() {
            put(buf, OWNERS, &messages::Owners { buckets: n.buckets() as u64 });
        } else if let Some(n) = node.downcast_ref::<NumberedExec>() {
            put(buf, NUMBERED, &messages::Numbered { file: n.file().to_owned() });
        } else if let Some(n) = node.downcast_ref::<LookupExec>() {
            let of = |e: &_| Ok::<_, DataFusionError>(serialize_physical_expr(e, self)?.encode_to_vec());
            let (left, right): (Vec<_>, Vec<_>) = n.on().iter().map(|(l, r)| (of(l), of(r))).unzip();
            let (left, right) = (left.into_iter().collect::<Result<_>>()?, right.into_iter().collect::<Result<_>>()?);
            let projection = n.projection().iter().map(|i| *i as u64).collect();
            put(buf, LOOKUP, &messages::Lookup { left, right, projection });
        } else if let Some(n) = node.downcast_ref::<PreviousExec>() {
            let of = |all: &[Arc<dyn PhysicalExpr>]| {
                all.iter().map(|e| Ok(serialize_physical_expr(e, self)?.encode_to_vec())).collect::<Result<Vec<_>>>()
            };
            let schema = messages::encode_schema(&n.schema())?;
            put(buf, PREVIOUS, &messages::Previous { values: of(n.values())?, by: of(n.by())?, schema });
        } else if let Some(n) = node.downcast_ref::<BucketScanExec>() {
            let schema = messages::encode_schema(n.table_schema())?;
            let projection = n.projection().iter().map(|i| *i as u64).collect();
            put(buf, BUCKET_SCAN, &messages::BucketScan { name: n.table().to_owned(), schema, projection, key: vec![] });
        } else {
            return internal_err!("the operator `{}` has no codec", node.name());
        }
        Ok(())
    }
}

fn emit_of(aside: bool) -> Emit {
    if aside { Emit::Quarantined } else { Emit::Kept }
}

/// The rules of a message, whose conditions `of` reads.
fn screen_rules<E>(m: &messages::Screen, of: impl Fn(&[u8]) -> Result<E>) -> Result<Vec<ScreenRule<E>>> {
    if m.labels.len() != m.rules.len() || m.labels.len() != m.actions.len() {
        return internal_err!("a screen of another version of strata arrived");
    }
    let rules = m.labels.iter().zip(&m.rules).zip(&m.actions);
    rules
        .map(|((label, rule), action)| {
            let reason = action.reason.clone();
            Ok(ScreenRule { label: label.clone(), holds: of(rule)?, action: action_of(action)?, reason })
        })
        .collect()
}

fn action_of(m: &messages::ScreenAction) -> Result<Action> {
    Ok(match m.kind {
        0 => Action::Drop,
        1 => Action::Quarantine,
        2 => Action::SetNull(m.columns.clone()),
        3 => Action::Warn,
        4 => Action::Stop,
        other => return internal_err!("a rule of another version of strata arrived: action {other}"),
    })
}

fn screen_message<E>(
    source: &str,
    rules: &[ScreenRule<E>],
    emit: Emit,
    of: impl Fn(&E) -> Result<Vec<u8>>,
) -> Result<messages::Screen> {
    let action = |rule: &ScreenRule<E>| {
        let (kind, columns) = match &rule.action {
            Action::Drop => (0, vec![]),
            Action::Quarantine => (1, vec![]),
            Action::SetNull(columns) => (2, columns.clone()),
            Action::Warn => (3, vec![]),
            Action::Stop => (4, vec![]),
        };
        messages::ScreenAction { kind, columns, reason: rule.reason.clone() }
    };
    Ok(messages::Screen {
        source: source.to_owned(),
        labels: rules.iter().map(|r| r.label.clone()).collect(),
        rules: rules.iter().map(|r| of(&r.holds)).collect::<Result<_>>()?,
        actions: rules.iter().map(action).collect(),
        aside: emit == Emit::Quarantined,
    })
}

fn dedup_message(spec: &DedupSpec) -> messages::Dedup {
    let order = match &spec.keep {
        Keep::Identical => vec![],
        Keep::First(order) => order.clone(),
    };
    let (order, descending) = order.into_iter().unzip();
    messages::Dedup {
        source: spec.source.clone(),
        key: spec.key.clone(),
        order,
        descending,
        keep_first: matches!(spec.keep, Keep::First(_)),
        buckets: spec.buckets as u64,
        spread_by: spec.spread_by.clone(),
        aside: spec.emit == Emit::Quarantined,
        carried: spec.carried.clone(),
    }
}

fn dedup_spec(m: messages::Dedup) -> DedupSpec {
    let keep = match m.keep_first {
        false => Keep::Identical,
        true => Keep::First(m.order.into_iter().zip(m.descending).collect()),
    };
    DedupSpec {
        source: m.source,
        key: m.key,
        keep,
        spread_by: m.spread_by,
        buckets: m.buckets as usize,
        emit: emit_of(m.aside),
        carried: m.carried,
    }
}

fn stage<P>(stage: &Stage<P>, plan: Vec<u8>) -> Result<messages::CogroupStage> {
    Ok(messages::CogroupStage { name: stage.name.clone(), plan, unique: stage.unique.clone() })
}

fn cogroup_message(
    named: &[CogroupInput],
    stages: Vec<messages::CogroupStage>,
    result: Vec<u8>,
    buckets: usize,
) -> messages::Cogroup {
    let input = |n: &CogroupInput| messages::CogroupInput { name: n.name.clone(), key: n.key.clone(), unique: n.unique.clone() };
    let inputs = named.iter().map(input).collect();
    messages::Cogroup { inputs, stages, result, buckets: buckets as u64 }
}

fn named_of(inputs: Vec<messages::CogroupInput>) -> Vec<CogroupInput> {
    inputs.into_iter().map(|i| CogroupInput { name: i.name, key: i.key, unique: i.unique }).collect()
}
