//! A file that cannot be read is named: what readers say of a page or a value does not tell whose it was, so each is read by itself. Never
//! repeats a value.

use crate::Error;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use std::sync::Arc;
use strata_operators::pinned::{PinnedFormat, PinnedTable};

/// Files that a message names; the rest are counted.
const NAMED_MAX: usize = 8;

/// Files that are read once more, each by itself, to find the one at fault.
const SUSPECTS_MAX: usize = 1000;

/// Every file that `plans` read, and a plan that reads what they read of it alone, where the error is of what a file holds and there are
/// several; nothing where there are too many.
pub(crate) fn suspects(error: &DataFusionError, plans: &[LogicalPlan]) -> Vec<(PinnedTable, LogicalPlan)> {
    let said = error.strip_backtrace();
    if unfit(&said).is_none() && !is_damage(&said) {
        return vec![];
    }
    let mut out: Vec<(PinnedTable, LogicalPlan)> = vec![];
    for plan in plans {
        let _ = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Ok(provider) = source_as_provider(&scan.source)
                && let Some(table) = provider.downcast_ref::<PinnedTable>()
            {
                for file in table.files.iter().take(SUSPECTS_MAX + 1) {
                    let alone = PinnedTable { files: vec![file.clone()], ..table.clone() };
                    if let Ok(plan) = counted(&alone, scan.projection.as_ref()) {
                        out.push((alone, plan));
                    }
                }
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }
    if out.len() > SUSPECTS_MAX || out.len() < 2 { vec![] } else { out }
}

/// How many values the columns of a table have: every page of them is read.
fn counted(table: &PinnedTable, projection: Option<&Vec<usize>>) -> Result<LogicalPlan, DataFusionError> {
    let scan = LogicalPlanBuilder::scan("file", provider_as_source(Arc::new(table.clone())), projection.cloned())?;
    let columns: Vec<Expr> = scan.schema().iter().map(|(q, f)| count(Expr::from((q, f)))).collect();
    if columns.is_empty() {
        return scan.build();
    }
    scan.aggregate(Vec::<Expr>::new(), columns)?.build()
}

/// What DataFusion says of the only file of a table; `None` where it is not of what the file holds.
pub(crate) fn of_file(step: &str, error: &DataFusionError, table: &PinnedTable) -> Option<Error> {
    let said = error.strip_backtrace();
    let files: Vec<String> = table.files.iter().map(|f| table.shown(f)).collect();
    match unfit(&said) {
        Some(unfit) => Some(unfit_in(step, &unfit, &files)),
        None => is_damage(&said).then(|| damaged_in(step, &said, &files)),
    }
}

fn is_damage(said: &str) -> bool {
    said.contains("Parquet error") || said.contains("Parquet argument error")
}

fn unfit_in(step: &str, unfit: &str, files: &[String]) -> Error {
    let from = if files.is_empty() { String::new() } else { format!("; it comes from {}", listed(files)) };
    Error::Contract {
        step: step.to_owned(),
        message: format!("{unfit}{from}"),
        help: "mend the file; or read the column as `string`, and cast what can be cast: `case when … then cast(x as int) end`"
            .to_owned(),
    }
}

fn damaged_in(step: &str, said: &str, files: &[String]) -> Error {
    Error::Contract {
        step: step.to_owned(),
        message: format!("{} cannot be read: {said}", listed(files)),
        help: "is the file whole? copy it again from where it came, or leave it out".to_owned(),
    }
}

/// What DataFusion says of a step that ran `plans`. `Contract`, with the files it may be, where the bytes of a file are not what its format
/// says, or a value is not of the type that is asked for.
pub(crate) fn of_plans(step: &str, error: DataFusionError, plans: &[LogicalPlan]) -> Error {
    let said = error.strip_backtrace();
    if let Some(unfit) = unfit(&said) {
        return unfit_in(step, &unfit, &files(plans, |_| true));
    }
    // A store that fails while a page is read says so through the Parquet reader: what has a class of its own keeps it.
    match (Error::of_step(step, error), files(plans, |format| format == PinnedFormat::Parquet)) {
        (Error::Failed { .. }, files) if is_damage(&said) && !files.is_empty() => damaged_in(step, &said, &files),
        (other, _) => other,
    }
}

fn listed(files: &[String]) -> String {
    let named = files.iter().take(NAMED_MAX).map(|f| format!("`{f}`")).collect::<Vec<_>>().join(", ");
    match files.len() {
        1 => named,
        n if n <= NAMED_MAX => format!("one of {named}"),
        n => format!("one of {named} and {} more", n - NAMED_MAX),
    }
}

/// What a value is not, where readers say that one does not fit; they quote it, and what surrounds it.
fn unfit(said: &str) -> Option<String> {
    let after = |words: &str| said.split_once(words).map(|(_, rest)| rest);
    if let Some(rest) = after("Error while parsing value '") {
        let (_, rest) = rest.rsplit_once("' as type '")?;
        let (kind, rest) = rest.split_once("' for column ")?;
        let (column, rest) = rest.split_once(" at line ")?;
        let row: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let column = column.parse::<u64>().ok()? + 1;
        let kind = Some(kind).filter(|k| is_type(k)).unwrap_or("asked for");
        return Some(format!("the value of column {column} in row {row} of a file is not of the type {kind}"));
    }
    if let Some(rest) = after("Cast error: Cannot cast ") {
        let kind = rest.rsplit_once("' to value of ").map(|(_, kind)| kind.split(" type").next().unwrap_or(kind));
        return Some(match kind {
            Some(kind) if is_type(kind) => format!("a text cannot be read as {kind}"),
            _ => "a value cannot be cast to the type asked for".to_owned(),
        });
    }
    after("Cast error: ").map(|_| "a value cannot be cast to the type asked for".to_owned())
}

/// Whether a word can be the name of a type; it may be a part of a value that looks like the words around it.
fn is_type(word: &str) -> bool {
    word.len() <= 40 && word.starts_with(|c: char| c.is_ascii_uppercase()) && !word.contains(['\'', '"'])
}

fn files(plans: &[LogicalPlan], of: impl Fn(PinnedFormat) -> bool) -> Vec<String> {
    let mut out = vec![];
    for plan in plans {
        files_of(plan, &of, &mut out);
    }
    out.sort();
    out.dedup();
    out
}

fn files_of(plan: &LogicalPlan, of: &impl Fn(PinnedFormat) -> bool, out: &mut Vec<String>) {
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = provider.downcast_ref::<PinnedTable>()
            && of(table.format)
        {
            out.extend(table.files.iter().map(|f| table.shown(f)));
        }
        Ok(TreeNodeRecursion::Continue)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_value_is_not_is_said_without_it() {
        for (said, wanted) in [
            (
                "Arrow error: Parser error: Error while parsing value 'secret' as type 'Int32' for column 1 at line 2. Row data: '[2,secret]'",
                Some("the value of column 2 in row 2 of a file is not of the type Int32"),
            ),
            (
                "Arrow error: Cast error: Cannot cast string 'it' to value of ' to value of Int32 type",
                Some("a text cannot be read as Int32"),
            ),
            ("Cast error: Can't cast value 12345 to type Int8", Some("a value cannot be cast to the type asked for")),
            ("Execution error: something else", None),
        ] {
            assert_eq!(unfit(said).as_deref(), wanted);
        }
    }
}
