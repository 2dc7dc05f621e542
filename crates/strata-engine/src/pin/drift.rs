//! Files whose columns are not those that a source declares, and what its `drift` makes of them. Never looks at a row.

use super::files::Found;
use super::header::Header;
use super::{arrow_type, hive_parts};
use arrow::datatypes::DataType;
use strata_plan::codes::{DRIFT, FILE_COLUMNS};
use strata_spec::pipeline::contract::{Added, Drift, Dropped, Retyped};
use strata_spec::pipeline::{ColumnContract, Source};
use strata_spec::{Diagnostic, Span};

/// Files that a message names; the rest are counted.
const NAMED_MAX: usize = 3;

const DEFAULT: Drift = Drift { added: Added::Ignore, dropped: Dropped::Stop, retyped: Retyped::Stop };

/// What is not as declared; nothing where no columns are declared.
pub(super) fn found(source: &Source, files: &[Found], headers: &[Header]) -> Vec<Diagnostic> {
    if source.columns.is_empty() {
        return vec![];
    }
    let drift = source.drift.unwrap_or(DEFAULT);
    let all = || files.iter().zip(headers);
    let mut out = vec![];
    for column in &source.columns {
        let name = column.name.value.as_str();
        let in_path = |f: &Found| hive_parts(&f.file.path).any(|(k, _)| k == name);
        let without: Vec<&Found> =
            all().filter(|(f, h)| h.schema.field_with_name(name).is_err() && !in_path(f)).map(|(f, _)| f).collect();
        let is_nowhere = without.len() == files.len();
        out.extend(dropped(source, column, &without, headers.first().filter(|_| is_nowhere), drift.dropped));
        if drift.retyped == Retyped::Stop {
            out.extend(retyped(source, column, all()));
        }
    }
    let is_added = |name: &str| !source.columns.iter().any(|c| c.name.value == name);
    let mut added: Vec<&str> = headers.iter().flat_map(|h| h.schema.fields()).map(|f| f.name().as_str()).collect();
    added.retain(|name| is_added(name));
    added.sort_unstable();
    added.dedup();
    for name in added.into_iter().filter(|_| drift.added != Added::Ignore) {
        let with = all().filter(|(_, h)| h.schema.field_with_name(name).is_ok()).map(|(f, _)| f).collect::<Vec<_>>();
        let message = format!("`{name}` of `{}` is not declared and stands in {}", source.name.value, listed(&with));
        let help = format!("add `{name}` to `columns`, or let it pass: `drift: {{added: ignore}}`");
        out.push(said(drift.added == Added::Stop, source.name.span, message).help(help));
    }
    out
}

fn said(stops: bool, span: Span, message: String) -> Diagnostic {
    if stops { Diagnostic::data(DRIFT, span, message) } else { Diagnostic::warning(DRIFT, span, message) }
}

/// `nowhere` is the header of a file where no file holds the column.
fn dropped(
    source: &Source,
    column: &ColumnContract,
    without: &[&Found],
    nowhere: Option<&Header>,
    drift: Dropped,
) -> Option<Diagnostic> {
    if without.is_empty() || drift == Dropped::SetNull {
        return None;
    }
    let (name, span) = (&column.name.value, column.name.span);
    if let (Some(header), Dropped::Stop) = (nowhere, drift) {
        // Wherever one looks: more likely a slip of the pipeline than of all files.
        let has: Vec<&str> = header.schema.fields().iter().map(|f| f.name().as_str()).collect();
        let message = format!("no file of `{}` has a column `{name}`", source.name.value);
        let near = strata_spec::diagnostic::did_you_mean(name, has.iter().copied()).map(|n| format!("did you mean `{n}`? "));
        let help = format!("{}the files' columns are: {}", near.unwrap_or_default(), has.join(", "));
        return Some(Diagnostic::error(FILE_COLUMNS, span, message).help(help));
    }
    let message = format!("`{name}` of `{}` is not in {}", source.name.value, listed(without));
    let help = "if it was left out on purpose, say that it reads as null there: `drift: {dropped: set_null}`";
    Some(said(drift == Dropped::Stop, span, message).help(help))
}

fn retyped<'a>(
    source: &Source,
    column: &ColumnContract,
    files: impl Iterator<Item = (&'a Found, &'a Header)>,
) -> Option<Diagnostic> {
    let (name, declared) = (&column.name.value, arrow_type(column.kind.value));
    let mut other: Option<DataType> = None;
    let mut with = vec![];
    for (file, header) in files {
        let Ok(field) = header.schema.field_with_name(name) else { continue };
        if !widens(field.data_type(), &declared) {
            other.get_or_insert_with(|| field.data_type().clone());
            with.push(file);
        }
    }
    let message = format!("`{name}` of `{}` is declared {declared} and is {} in {}", source.name.value, other?, listed(&with));
    let help = "declare the type that the files have, or have every value cast: `drift: {retyped: cast}`";
    Some(Diagnostic::data(DRIFT, column.kind.span, message).help(help))
}

/// Whether every value of the one type is a value of the other.
fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Date32, Date64, Decimal128, Float16, Float32, Float64, Int8, Int16, Int32, Int64, Timestamp, UInt8, UInt16, UInt32,
    };
    let digits = |t: &DataType| match t {
        Int8 | UInt8 => Some(3),
        Int16 | UInt16 => Some(5),
        Int32 | UInt32 => Some(10),
        Int64 => Some(19),
        _ => None,
    };
    match (from, to) {
        (a, b) if a == b => true,
        (Int8 | Int16 | UInt8 | UInt16, Int32 | Int64) | (Int32 | UInt32, Int64) => true,
        (Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 | Float16 | Float32, Float64) => true,
        (Date64, Date32) | (Date32 | Date64, Timestamp(_, _)) => true,
        (Decimal128(p, s), Decimal128(q, t)) => t >= s && i16::from(*q) - i16::from(*t) >= i16::from(*p) - i16::from(*s),
        (whole, Decimal128(q, t)) => digits(whole).is_some_and(|n| i16::from(*q) - i16::from(*t) >= n),
        _ => false,
    }
}

fn listed(files: &[&Found]) -> String {
    let named = files.iter().take(NAMED_MAX).map(|f| format!("`{}`", f.shown)).collect::<Vec<_>>().join(", ");
    match files.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more files"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_fits_that_holds_every_value() {
        let money = |p, s| DataType::Decimal128(p, s);
        for (from, to) in [
            (DataType::Int32, DataType::Int64),
            (DataType::Int64, money(21, 2)),
            (money(10, 2), money(12, 2)),
            (money(10, 2), money(12, 4)),
            (DataType::Float32, DataType::Float64),
        ] {
            assert!(widens(&from, &to), "{from} {to}");
        }
        for (from, to) in [
            (DataType::Int64, DataType::Int32),
            (DataType::Int64, DataType::Float64),
            (DataType::Int64, money(20, 2)),
            (money(12, 2), money(10, 2)),
            (money(10, 2), money(11, 4)),
            (DataType::Utf8, DataType::Int64),
            (DataType::Float64, money(38, 10)),
        ] {
            assert!(!widens(&from, &to), "{from} {to}");
        }
    }
}
