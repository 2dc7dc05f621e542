//! What our operators look like on the wire. Never changes the meaning of a field number.

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result};
use prost::Message;
use std::sync::Arc;

/// Message of a pinned table.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Pinned {
    #[prost(string, tag = "1")]
    pub(crate) store: String,
    #[prost(bool, tag = "2")]
    pub(crate) csv: bool,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) schema: Vec<u8>,
    #[prost(uint64, tag = "4")]
    pub(crate) hive: u64,
    #[prost(message, repeated, tag = "5")]
    pub(crate) files: Vec<PinnedFile>,
    #[prost(string, repeated, tag = "6")]
    pub(crate) complete: Vec<String>,
    #[prost(bool, tag = "7")]
    pub(crate) own: bool,
}

/// Message of one pinned file.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PinnedFile {
    #[prost(string, tag = "1")]
    pub(crate) path: String,
    #[prost(uint64, tag = "2")]
    pub(crate) size: u64,
    #[prost(int64, tag = "3")]
    pub(crate) modified_us: i64,
    #[prost(string, optional, tag = "4")]
    pub(crate) etag: Option<String>,
    #[prost(uint64, optional, tag = "5")]
    pub(crate) rows: Option<u64>,
    #[prost(string, repeated, tag = "6")]
    pub(crate) hive_values: Vec<String>,
    #[prost(string, repeated, tag = "7")]
    pub(crate) columns: Vec<String>,
}

/// Message of a screen.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Screen {
    #[prost(string, tag = "1")]
    pub(crate) source: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) labels: Vec<String>,
    /// `LogicalExprNode` or `PhysicalExprNode`, one a label.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(crate) rules: Vec<Vec<u8>>,
    /// One a label.
    #[prost(message, repeated, tag = "4")]
    pub(crate) actions: Vec<ScreenAction>,
    /// The rows that are put aside come out.
    #[prost(bool, tag = "5")]
    pub(crate) aside: bool,
}

/// Message of what a screen's rule does.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ScreenAction {
    /// 0 drop, 1 quarantine, 2 set null, 3 warn, 4 stop.
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    #[prost(string, repeated, tag = "2")]
    pub(crate) columns: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
}

/// Message of a count of a file's rows.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Numbered {
    #[prost(string, tag = "1")]
    pub(crate) file: String,
}

/// Message of a duplicate filter.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Dedup {
    #[prost(string, tag = "1")]
    pub(crate) source: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) key: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub(crate) order: Vec<String>,
    #[prost(bool, repeated, tag = "4")]
    pub(crate) descending: Vec<bool>,
    #[prost(bool, tag = "5")]
    pub(crate) keep_first: bool,
    #[prost(uint64, tag = "6")]
    pub(crate) buckets: u64,
    #[prost(string, repeated, tag = "7")]
    pub(crate) spread_by: Vec<String>,
    /// The rows that are put aside come out.
    #[prost(bool, tag = "8")]
    pub(crate) aside: bool,
    #[prost(string, repeated, tag = "9")]
    pub(crate) carried: Vec<String>,
}

/// Message of a count of keys with several owners.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Owners {
    #[prost(uint64, tag = "1")]
    pub(crate) buckets: u64,
}

/// Message of a look-up.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Lookup {
    /// `PhysicalExprNode` over the rows that look, as many as `right`.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) left: Vec<Vec<u8>>,
    /// `PhysicalExprNode` over the table.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) right: Vec<Vec<u8>>,
    #[prost(uint64, repeated, tag = "3")]
    pub(crate) projection: Vec<u64>,
}

/// Message of an operator that takes values from the row before.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Previous {
    /// `PhysicalExprNode` over the input.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) values: Vec<Vec<u8>>,
    /// `PhysicalExprNode` over the input.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) by: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) schema: Vec<u8>,
}

/// Message of a cogroup.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Cogroup {
    #[prost(message, repeated, tag = "1")]
    pub(crate) inputs: Vec<CogroupInput>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) stages: Vec<CogroupStage>,
    /// Plan node of the result.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) result: Vec<u8>,
    #[prost(uint64, tag = "4")]
    pub(crate) buckets: u64,
}

/// Message of one input of a cogroup.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CogroupInput {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// Absent: every bucket sees all of it.
    #[prost(string, optional, tag = "2")]
    pub(crate) key: Option<String>,
    /// Columns in which no two rows may agree.
    #[prost(string, repeated, tag = "3")]
    pub(crate) unique: Vec<String>,
}

/// Message of one named table inside a cogroup.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CogroupStage {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) plan: Vec<u8>,
    #[prost(string, repeated, tag = "3")]
    pub(crate) unique: Vec<String>,
}

/// Message of a scan of a bucket's table.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BucketScan {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) schema: Vec<u8>,
    #[prost(uint64, repeated, tag = "3")]
    pub(crate) projection: Vec<u64>,
    /// Columns in which no two rows agree.
    #[prost(string, repeated, tag = "4")]
    pub(crate) key: Vec<String>,
}

/// An Arrow schema from DataFusion's message of it.
pub(crate) fn decode_schema(bytes: &[u8]) -> Result<SchemaRef> {
    let message = datafusion_proto::protobuf::Schema::decode(bytes).map_err(wire)?;
    let schema: Schema = (&message).try_into()?;
    Ok(Arc::new(schema))
}

/// DataFusion's message of an Arrow schema.
pub(crate) fn encode_schema(schema: &Schema) -> Result<Vec<u8>> {
    let message: datafusion_proto::protobuf::Schema = schema.try_into()?;
    Ok(message.encode_to_vec())
}

/// A message that cannot be read is a version mismatch between nodes.
pub(crate) fn wire(e: prost::DecodeError) -> DataFusionError {
    DataFusionError::Internal(format!("a plan of another version of strata arrived: {e}"))
}
