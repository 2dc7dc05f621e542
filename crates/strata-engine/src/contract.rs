//! What files hold, as a contract that a source could declare: types, nullability, few-valued texts, keys. Never lists a value that fewer
//! than [`SHOWN_ROWS_MIN`] rows have.

use crate::error::{Error, Result};
use crate::pin;
use crate::runner::Runner;
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use futures::StreamExt;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use strata_operators::pinned::PinnedFormat;

/// Rows that are looked at.
pub const ROWS_MAX: u64 = 1_000_000;
/// A text column with more values than this is no enum.
const ENUM_VALUES_MAX: usize = 12;
/// A value that fewer rows have may be about a person.
pub const SHOWN_ROWS_MIN: u64 = 5;
/// Digits after the point up to which numbers of a CSV are taken for decimals.
const SCALE_MAX: usize = 4;

/// What files hold.
#[derive(Debug, Clone)]
pub struct Inferred {
    /// How many files.
    pub files: usize,
    /// Rows that were looked at.
    pub rows: u64,
    /// Whether these are all.
    pub is_all: bool,
    /// Columns, in the order of the files.
    pub columns: Vec<InferredColumn>,
    /// Columns that are never null and never the same twice.
    pub keys: Vec<String>,
}

/// A column.
#[derive(Debug, Clone)]
pub struct InferredColumn {
    /// Name.
    pub name: String,
    /// Type as `columns:` writes it, without `!`; `Err` names a type that cannot be declared.
    pub kind: std::result::Result<String, String>,
    /// Whether any row has none.
    pub nullable: bool,
    /// What every text looks like, as `format:` names it.
    pub format: Option<&'static str>,
}

/// Looks at the files that an address names. Errors: `Failed` where there are none, or they cannot be read.
pub async fn infer(address: &str, runner: &dyn Runner) -> Result<Inferred> {
    let failed = |message: String| Error::Failed { step: format!("read {address}"), message };
    let pinned = pin::pin_address(address).await.map_err(failed)?;
    let (files, is_csv, known) = (pinned.files.len(), pinned.format == PinnedFormat::Csv, pinned.rows());
    let mut columns: Vec<Seen> = pinned.schema.fields().iter().map(|f| Seen::new(f.name(), f.data_type(), is_csv)).collect();
    let of_plan = |e| Error::of_step(&format!("read {address}"), e);
    let scan = LogicalPlanBuilder::scan("files", provider_as_source(Arc::new(pinned)), None).map_err(of_plan)?;
    let plan = scan.limit(0, Some(ROWS_MAX as usize + 1)).and_then(LogicalPlanBuilder::build).map_err(of_plan)?;
    let mut running = runner.start("contract", plan).await.map_err(of_plan)?;
    let mut rows = 0;
    while let Some(batch) = running.rows.next().await {
        let batch = batch.map_err(of_plan)?;
        let batch = batch.slice(0, batch.num_rows().min((ROWS_MAX - rows) as usize));
        rows += batch.num_rows() as u64;
        look(&mut columns, &batch).map_err(|e| failed(e.to_string()))?;
    }
    let keys = columns.iter().filter(|c| rows > 0 && c.nulls == 0 && c.once.is_some()).map(|c| c.name.clone()).collect();
    let is_all = known.map_or(rows < ROWS_MAX, |k| k == rows);
    let columns = columns.iter().map(|c| c.inferred(rows)).collect();
    Ok(Inferred { files, rows, is_all, columns, keys })
}

fn look(columns: &mut [Seen], batch: &RecordBatch) -> std::result::Result<(), arrow::error::ArrowError> {
    for (seen, column) in columns.iter_mut().zip(batch.columns()) {
        seen.look(column.as_ref())?;
    }
    Ok(())
}

/// What was seen of a column.
struct Seen {
    name: String,
    data_type: DataType,
    nulls: u64,
    /// Rows by value, while they are few; of texts.
    values: Option<BTreeMap<String, u64>>,
    /// Hashes of values, while none came twice.
    once: Option<HashSet<u64>>,
    /// What the texts of a CSV could be.
    written: Option<Written>,
    /// What every text so far looks like.
    format: Option<&'static str>,
    /// Whether a text was seen.
    any: bool,
}

impl Seen {
    fn new(name: &str, data_type: &DataType, is_csv: bool) -> Self {
        let is_text = matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
        let may_be_key = is_text || data_type.is_integer() || matches!(data_type, DataType::Date32 | DataType::Timestamp(..));
        Self {
            name: name.to_owned(),
            data_type: data_type.clone(),
            nulls: 0,
            values: is_text.then(BTreeMap::new),
            once: may_be_key.then(HashSet::new),
            written: (is_csv && is_text).then(Written::default),
            format: None,
            any: false,
        }
    }

    fn look(&mut self, column: &dyn Array) -> std::result::Result<(), arrow::error::ArrowError> {
        if self.values.is_none() && self.once.is_none() && self.written.is_none() && (self.any && self.format.is_none()) {
            self.nulls += column.null_count() as u64;
            return Ok(());
        }
        let texts = cast(column, &DataType::Utf8)?;
        for text in texts.as_string::<i32>() {
            let Some(text) = text.filter(|t| self.written.is_none() || !t.is_empty()) else {
                self.nulls += 1;
                continue;
            };
            if !self.any {
                (self.any, self.format) = (true, format_of(text));
            }
            self.format = self.format.filter(|f| format_of(text) == Some(*f));
            if let Some(once) = &mut self.once {
                let mut hash = DefaultHasher::new();
                text.hash(&mut hash);
                if !once.insert(hash.finish()) {
                    self.once = None;
                }
            }
            if let Some(values) = &mut self.values {
                let is_full = values.len() == ENUM_VALUES_MAX;
                match values.get_mut(text) {
                    Some(rows) => *rows += 1,
                    None if is_full => self.values = None,
                    None => drop(values.insert(text.to_owned(), 1)),
                }
            }
            if let Some(written) = &mut self.written {
                written.look(text);
            }
        }
        Ok(())
    }

    fn inferred(&self, rows: u64) -> InferredColumn {
        let kind = match &self.written {
            Some(written) if self.nulls < rows => Ok(written.kind()),
            _ => declared(&self.data_type),
        };
        let kind = match (kind, self.enum_values()) {
            (Ok(kind), Some(values)) if kind == "string" => Ok(format!("enum({})", values.join(","))),
            (kind, _) => kind,
        };
        let format = self.format.filter(|_| self.nulls < rows && kind.as_deref() == Ok("string"));
        InferredColumn { name: self.name.clone(), kind, nullable: self.nulls > 0 || rows == 0, format }
    }

    /// Values that stand in enough rows to be a closed list, where each can be written in one.
    fn enum_values(&self) -> Option<Vec<&str>> {
        let values = self.values.as_ref().filter(|v| v.len() > 1)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let fits = |(text, rows): (&String, &u64)| *rows >= SHOWN_ROWS_MIN && !text.is_empty() && text.chars().all(plain);
        values.iter().all(fits).then(|| values.keys().map(String::as_str).collect())
    }
}

/// The format that a text has, if it is one of those that checks know and people write in one way only.
fn format_of(text: &str) -> Option<&'static str> {
    let plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-'));
    let groups = || text.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    if groups() && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        return Some("uuid");
    }
    let labels = |host: &str| host.split('.').all(|l| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-'));
    match text.split_once('@') {
        Some((name, host)) if plain(name) && plain(host) && !host.contains(['_', '+']) && host.contains('.') && labels(host) => {
            Some("email")
        }
        _ => None,
    }
}

/// A type as `columns:` writes it.
fn declared(kind: &DataType) -> std::result::Result<String, String> {
    Ok(match kind {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "string".into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => "int".into(),
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "bigint".into(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "double".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Decimal128(p, s) => format!("decimal({p},{s})"),
        other => return Err(other.to_string()),
    })
}

/// What every text so far could be.
#[derive(Debug, Clone)]
struct Written {
    is_int: bool,
    is_bigint: bool,
    is_number: bool,
    is_boolean: bool,
    is_date: bool,
    is_time: bool,
    /// Digits before and after the point; `None` where a number is no plain decimal.
    digits: Option<(usize, usize)>,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            is_int: true,
            is_bigint: true,
            is_number: true,
            is_boolean: true,
            is_date: true,
            is_time: true,
            digits: Some((1, 0)),
        }
    }
}

impl Written {
    fn look(&mut self, text: &str) {
        let digits = text.strip_prefix('-').unwrap_or(text);
        // `007` is a name, not a number.
        let padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        self.is_int &= !padded && text.parse::<i32>().is_ok();
        self.is_bigint &= !padded && text.parse::<i64>().is_ok();
        self.is_number &= !padded && text.parse::<f64>().is_ok_and(f64::is_finite);
        self.is_boolean &= matches!(text, "true" | "false" | "True" | "False" | "TRUE" | "FALSE");
        self.is_date &= NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok();
        self.is_time &= is_time(text);
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        self.digits = match self.digits {
            Some((w, p)) if plain(whole) && plain(part) && !whole.is_empty() => Some((w.max(whole.len()), p.max(part.len()))),
            _ => None,
        };
    }

    fn kind(&self) -> String {
        match self {
            Self { is_int: true, .. } => "int".into(),
            Self { is_bigint: true, .. } => "bigint".into(),
            Self { is_number: true, digits: Some((whole, part)), .. } if *part <= SCALE_MAX && whole + part <= 15 => {
                format!("decimal({},{part})", (whole + part).max(10))
            }
            Self { is_number: true, .. } => "double".into(),
            Self { is_boolean: true, .. } => "boolean".into(),
            Self { is_date: true, .. } => "date".into(),
            Self { is_time: true, .. } => "timestamp".into(),
            _ => "string".into(),
        }
    }
}

fn is_time(text: &str) -> bool {
    let local = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
    DateTime::parse_from_rfc3339(text).is_ok() || local.iter().any(|form| NaiveDateTime::parse_from_str(text, form).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_told_where_a_text_has_only_one() {
        for (text, format) in [
            ("a.b+c@mail.example.org", Some("email")),
            ("a@b", None),
            ("a@b.c@d.e", None),
            ("a b@c.de", None),
            ("a@-b.de", None),
            ("123e4567-e89b-12d3-a456-426614174000", Some("uuid")),
            ("123e4567-e89b-12d3-a456-42661417400x", None),
            ("", None),
        ] {
            assert_eq!(format_of(text), format, "{text}");
        }
    }

    #[test]
    fn texts_of_a_csv_are_what_all_of_them_could_be() {
        for (texts, kind) in [
            (&["1", "-20"][..], "int"),
            (&["1", "3000000000"], "bigint"),
            (&["1.50", "20", "-3.2"], "decimal(10,2)"),
            (&["1e5", "2"], "double"),
            (&["0.123456", "2"], "double"),
            (&["007", "123"], "string"),
            (&["true", "FALSE"], "boolean"),
            (&["2026-01-31"], "date"),
            (&["2026-01-31 10:00:00", "2026-01-31T10:00:00Z"], "timestamp"),
            (&["2026-01-31", "x"], "string"),
        ] {
            let mut written = Written::default();
            texts.iter().for_each(|t| written.look(t));
            assert_eq!(written.kind(), kind, "{texts:?}");
        }
    }
}
