//! The write node of a logical plan: which folder its rows go to and in which format. It never writes: the files are made by the
//! physical operator in `strata-publish`, and only the engine makes them a table.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef, internal_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use prost::Message;
use serde::{Deserialize, Serialize};
use strata_proto::plan::v1 as wire;
use url::Url;

/// Where and how one output's rows are written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteSpec {
    /// URL of the run's folder, e.g. `file:///data/customer_360/runs/<run id>`, percent-encoded, without a slash at the end.
    pub folder: String,
    /// The file format.
    pub format: WriteFormat,
    /// Attempt token, put in by the engine: `[A-Za-z0-9-]`, 1 to 64 characters. It is part of every file name, so that two
    /// attempts never write to the same file.
    pub attempt: String,
    /// What the rows are written for.
    #[serde(default)]
    pub purpose: WritePurpose,
    /// Columns whose smallest and largest value may stand in the receipt. Empty unless the plan knows a column is not personal:
    /// a value that is not named here never leaves the file. Only numbers, dates and timestamps are ever recorded.
    #[serde(default)]
    pub bounds: Vec<String>,
    /// What becomes of text in CSV that a spreadsheet would take for a formula.
    #[serde(default)]
    pub formulas: Formulas,
}

/// What becomes of text in CSV that a spreadsheet would take for a formula: it starts with `=`, `+`, `-`, `@`, a tab or CR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Formulas {
    /// An apostrophe is written before it, and a spreadsheet shows it as text.
    #[default]
    Escape,
    /// It is written as it is: for machines that read the file.
    Keep,
}

/// What begins a formula in a spreadsheet; `-` first, as a class of a regular expression wants it.
pub const FORMULA_STARTS: [char; 6] = ['-', '=', '+', '@', '\t', '\r'];

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteFormat {
    /// Apache Parquet.
    Parquet,
    /// UTF-8 comma-separated values with a header, RFC 4180.
    Csv,
    /// UTF-8, one JSON object a line, RFC 8259.
    Jsonl,
    /// An Excel workbook (ISO 29500), as many rows as a sheet holds on each.
    Xlsx,
}

/// What rows are written for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WritePurpose {
    /// A table that others read: small, and its receipts carry a content hash.
    #[default]
    Publish,
    /// A table of the work area, read back soon and by this program: quick to write, and without a content hash.
    Work,
}

/// The logical node that writes its input and returns receipts.
///
/// Shape: any rows in; one row per written file out, as [`receipt_schema`]. Errors: `Plan` for a specification that
/// [`WriteSpec::check`] refuses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WriteNode {
    input: LogicalPlan,
    spec: WriteSpec,
    schema: DFSchemaRef,
}

/// Columns of a receipt, one row per written file, none null:
/// `path` file name relative to the folder; `rows`; `bytes`; `content` the order-free content hash of the rows in hex (zero in the work area; equal
/// multisets of rows have equal sums); `columns` JSON, per column `name`, `nulls`, and `min`/`max` where [`WriteSpec::bounds`]
/// allows.
pub fn receipt_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("rows", DataType::Int64, false),
        Field::new("bytes", DataType::Int64, false),
        Field::new("content", DataType::Utf8, false),
        Field::new("columns", DataType::Utf8, false),
    ]))
}

impl WriteSpec {
    /// Checks the folder and the attempt token.
    ///
    /// Errors: `Plan`, saying what to change: a folder that is no URL, ends in a slash or has a `key=value` segment (readers
    /// that know Hive partitions would see a column that is not there), or a token that cannot stand in a file name.
    pub fn check(&self) -> Result<()> {
        let folder = &self.folder;
        let url = match Url::parse(folder) {
            Ok(url) => url,
            Err(error) => {
                return plan_err!(
                    "the output folder `{folder}` is not a URL ({error}): write it like `file:///data/table/runs/1`"
                );
            }
        };
        if folder.ends_with('/') || url.path().is_empty() || url.query().is_some() || url.fragment().is_some() {
            return plan_err!("the output folder `{folder}` must name a folder: no slash at its end, no `?` and no `#`");
        }
        if url.path().contains('=') || url.path().to_ascii_lowercase().contains("%3d") {
            return plan_err!(
                "the output folder `{folder}` has a `key=value` segment, which readers take for a column: choose a folder without `=`"
            );
        }
        let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if self.attempt.is_empty() || self.attempt.len() > 64 || !self.attempt.bytes().all(token) {
            return plan_err!(
                "the attempt token `{}` cannot stand in a file name: use 1 to 64 letters, digits or `-`",
                self.attempt
            );
        }
        Ok(())
    }

    /// The specification on the wire: `strata.plan.v1.Write`.
    pub fn encode(&self) -> Vec<u8> {
        let format = match self.format {
            WriteFormat::Parquet => wire::WriteFormat::Parquet,
            WriteFormat::Csv => wire::WriteFormat::Csv,
            WriteFormat::Jsonl => wire::WriteFormat::Jsonl,
            WriteFormat::Xlsx => wire::WriteFormat::Xlsx,
        };
        let purpose = match self.purpose {
            WritePurpose::Publish => wire::WritePurpose::Publish,
            WritePurpose::Work => wire::WritePurpose::Work,
        };
        wire::Write {
            folder: self.folder.clone(),
            format: format.into(),
            attempt: self.attempt.clone(),
            purpose: purpose.into(),
            bounds: self.bounds.clone(),
            keeps_formulas: self.formulas == Formulas::Keep,
        }
        .encode_to_vec()
    }

    /// What [`WriteSpec::encode`] made. Errors: `Internal` for bytes of another version, `Plan` for what [`WriteSpec::check`] refuses.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let message = match wire::Write::decode(bytes) {
            Ok(message) => message,
            Err(error) => return internal_err!("a write node of another version of strata arrived: {error}"),
        };
        let format = match message.format() {
            wire::WriteFormat::Parquet => WriteFormat::Parquet,
            wire::WriteFormat::Csv => WriteFormat::Csv,
            wire::WriteFormat::Jsonl => WriteFormat::Jsonl,
            wire::WriteFormat::Xlsx => WriteFormat::Xlsx,
            wire::WriteFormat::Unspecified => return internal_err!("a write node arrived with format {}", message.format),
        };
        let purpose = match message.purpose() {
            wire::WritePurpose::Publish => WritePurpose::Publish,
            wire::WritePurpose::Work => WritePurpose::Work,
            wire::WritePurpose::Unspecified => return internal_err!("a write node arrived with purpose {}", message.purpose),
        };
        let formulas = if message.keeps_formulas { Formulas::Keep } else { Formulas::Escape };
        let wire::Write { folder, attempt, bounds, .. } = message;
        let spec = Self { folder, format, attempt, purpose, bounds, formulas };
        spec.check()?;
        Ok(spec)
    }
}

impl WriteNode {
    /// A node that writes the rows of `input` as `spec` says.
    pub fn try_new(input: LogicalPlan, spec: WriteSpec) -> Result<Self> {
        spec.check()?;
        let schema = Arc::new(DFSchema::try_from(receipt_schema())?);
        Ok(Self { input, spec, schema })
    }

    /// The plan whose rows are written.
    pub fn input(&self) -> &LogicalPlan {
        &self.input
    }

    /// Where and how they are written.
    pub fn spec(&self) -> &WriteSpec {
        &self.spec
    }

    /// The node on the wire, without its input.
    pub fn encode(&self) -> Vec<u8> {
        self.spec.encode()
    }

    /// The node that [`WriteNode::encode`] put on the wire, above `input`. Errors: as [`WriteSpec::decode`].
    pub fn decode(bytes: &[u8], input: LogicalPlan) -> Result<Self> {
        Self::try_new(input, WriteSpec::decode(bytes)?)
    }

    /// The node as a plan.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }
}

impl PartialOrd for WriteNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.spec.cmp(&other.spec) {
            Ordering::Equal => self.input.partial_cmp(&other.input),
            unequal => Some(unequal),
        }
    }
}

impl UserDefinedLogicalNodeCore for WriteNode {
    fn name(&self) -> &str {
        "Write"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Write: folder={}, format={}", self.spec.folder, self.spec.format)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (inputs.pop(), inputs.is_empty(), exprs.is_empty()) {
            (Some(input), true, true) => Self::try_new(input, self.spec.clone()),
            _ => {
                plan_err!("a write node takes one input and no expressions; this is a bug in an optimiser rule: please report it")
            }
        }
    }

    // INVARIANT: every column of the input is written, so none may be pruned, whatever the reader of the receipts asks for.
    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![(0..self.input.schema().fields().len()).collect()])
    }
}

impl fmt::Display for WriteFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Xlsx => "xlsx",
        })
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::LogicalPlanBuilder;
    use datafusion::prelude::lit;

    use super::*;

    fn spec() -> WriteSpec {
        WriteSpec {
            folder: "file:///data/customer_360/runs/r1".into(),
            format: WriteFormat::Parquet,
            attempt: "a1".into(),
            purpose: WritePurpose::Publish,
            bounds: vec![],
            formulas: Formulas::Escape,
        }
    }

    #[test]
    fn refuses_what_cannot_be_a_folder_or_a_token() {
        assert!(spec().check().is_ok());
        for folder in ["data/x", "file:///data/x/", "file:///data/v=1/x", "file:///data/v%3D1/x", "s3://b/x?y"] {
            assert!(WriteSpec { folder: folder.into(), ..spec() }.check().is_err(), "{folder}");
        }
        for attempt in ["", "a/b", "a b", "a_b", &"a".repeat(65)] {
            assert!(WriteSpec { attempt: attempt.into(), ..spec() }.check().is_err(), "{attempt}");
        }
    }

    #[test]
    fn asks_for_every_column_of_its_input() {
        let input = LogicalPlanBuilder::values(vec![vec![lit(1), lit("x"), lit(2.0)]]).unwrap().build().unwrap();
        let node = WriteNode::try_new(input, spec()).unwrap();
        assert_eq!(node.necessary_children_exprs(&[0]), Some(vec![vec![0, 1, 2]]));
        assert_eq!(node.schema().fields().len(), receipt_schema().fields().len());
    }

    #[test]
    fn the_wire_keeps_everything_and_refuses_what_it_does_not_know() {
        for format in [WriteFormat::Parquet, WriteFormat::Csv, WriteFormat::Jsonl, WriteFormat::Xlsx] {
            for purpose in [WritePurpose::Publish, WritePurpose::Work] {
                for formulas in [Formulas::Escape, Formulas::Keep] {
                    let spec = WriteSpec { format, purpose, bounds: vec!["born".into(), "".into()], formulas, ..spec() };
                    assert_eq!(WriteSpec::decode(&spec.encode()).unwrap(), spec);
                }
            }
        }
        let message = wire::Write::decode(spec().encode().as_slice()).unwrap();
        assert!(WriteSpec::decode(&wire::Write { format: 9, ..message.clone() }.encode_to_vec()).is_err());
        assert!(WriteSpec::decode(&wire::Write { attempt: "../x".into(), ..message }.encode_to_vec()).is_err());
        assert!(WriteSpec::decode(&[255]).is_err());
    }

    #[test]
    fn serde_fills_the_defaults_and_refuses_unknown_keys() {
        let text = r#"{"folder":"file:///data/customer_360/runs/r1","format":"parquet","attempt":"a1"}"#;
        assert_eq!(serde_json::from_str::<WriteSpec>(text).unwrap(), spec());
        assert!(serde_json::from_str::<WriteSpec>(&text.replace("attempt", "atempt")).is_err());
    }
}
