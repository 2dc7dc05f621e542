//! What contracts find: questions about whole sources before anything else is done, and what the rules counted where rows were read. Never
//! names a value.

use crate::error::{Error, Result};
use crate::progress::Event;
use crate::report::{RuleRows, SourceRows};
use crate::rows::{QUARANTINE, STOP};
use crate::run::Run;
use crate::solve;
use arrow::array::{AsArray, RecordBatch};
use datafusion::common::ScalarValue;
use std::collections::BTreeSet;
use strata_plan::{Asks, TableCheck};
use strata_spec::{Diagnostic, Severity};

/// Files that a message names; the rest are counted.
const NAMED_MAX: usize = 5;
const HOUR_US: f64 = 3_600_000_000.0;
const DAY_US: f64 = 24.0 * HOUR_US;

impl Run<'_> {
    /// Asks what the checks of a source ask about all of its rows. Errors: `Contract` where one that stops fails.
    pub(crate) async fn check_source(&mut self, source: &str) -> Result<String> {
        let checks = self.compiled.table_checks(source).to_vec();
        self.ask(&format!("check {source}"), source, &checks).await
    }

    /// Asks what the checks of a table ask of the rows that its step made. Errors: as above.
    pub(crate) async fn check_table(&mut self, step: &str, table: &str) -> Result<String> {
        let checks = self.planned(step, self.compiled.rules_of_table(table))?;
        if checks.is_empty() || !self.asks {
            return Ok(String::new());
        }
        self.ask(step, table, &checks).await.map(|said| format!(", checks: {said}"))
    }

    async fn ask(&mut self, step: &str, source: &str, checks: &[TableCheck]) -> Result<String> {
        let answers = self.collect_all(step, checks.iter().map(|c| c.plan.clone()).collect()).await?;
        let mut failed = 0;
        for (check, answer) in checks.iter().zip(&answers) {
            let Some(wrong) = wrong(check, answer, self.compiled.clock().as_of.timestamp_micros())? else { continue };
            let message = format!("check `{}` of `{source}`: {wrong}", check.name);
            if check.stops {
                let help = "mend the data, or let it pass for now: `on_fail: warn`".to_owned();
                return Err(Error::Contract { step: step.to_owned(), message, help });
            }
            failed += 1;
            self.warn(message);
        }
        Ok(match failed {
            0 => format!("{} as they should be", checks.len()),
            n => format!("{n} of {} are not as they should be", checks.len()),
        })
    }

    /// What the rules of sources found in the rows that were read so far, where nothing is held against them: a trial says what a run would do.
    pub(crate) fn failing_rows(&self) -> Vec<String> {
        let mut out = vec![];
        for source in self.source_rows().iter().filter(|s| s.read) {
            for rule in source.rules.iter().filter(|r| r.rows > 0) {
                let stops = if rule.on_fail == STOP { "; a run stops here" } else { "" };
                out.push(format!("{}{stops}", found(&source.source, rule)));
            }
        }
        out
    }

    fn warn(&mut self, text: String) {
        self.progress.event(Event::Note(text.clone()));
        self.report.warnings.push(text);
    }

    /// Holds what was counted of each source that the step was the first to read against what its rules say. Errors: `Contract` where rows fail
    /// a rule that stops, with the files they stand in.
    pub(crate) async fn hold_rows(&mut self, step: &str, known: &BTreeSet<String>) -> Result<()> {
        let read: Vec<SourceRows> = self.source_rows().into_iter().filter(|s| s.read && !known.contains(&s.source)).collect();
        for source in &read {
            let failed = || source.rules.iter().filter(|r| r.rows > 0);
            if let Some(stop) = failed().find(|r| r.on_fail == STOP) {
                return Err(self.stopped(step, &source.source, stop).await);
            }
            for rule in failed() {
                self.warn(found(&source.source, rule));
            }
            let by_rules: u64 = failed().filter(|r| r.on_fail == QUARANTINE).map(|r| r.rows).sum();
            let differ = source.quarantined.saturating_sub(by_rules);
            if differ > 0 {
                let name = &source.source;
                self.warn(format!("{differ} rows of `{name}` were quarantined: rows of one key differ, so none of them is used"));
            }
        }
        Ok(())
    }

    async fn stopped(&mut self, step: &str, source: &str, rule: &RuleRows) -> Error {
        let files = match self.failing(step, source, rule).await {
            Ok(files) => files,
            Err(e) => return e,
        };
        let rows = if rule.rows == 1 { "1 row fails".to_owned() } else { format!("{} rows fail", rule.rows) };
        Error::Contract {
            step: step.to_owned(),
            message: format!("`{source}`: {rows} the rule `{}`: {}; {files}", rule.rule, rule.reason),
            help: "mend the files, or say what such a row gets: `on_fail: quarantine`, `set_null` or `warn`".to_owned(),
        }
    }

    /// The files with rows that fail a rule, as a message names them.
    async fn failing(&mut self, step: &str, source: &str, rule: &RuleRows) -> Result<String> {
        let Some(plan) = self.planned(step, self.compiled.failing_files(source, &rule.rule))? else { return Ok(String::new()) };
        let mut files = vec![];
        for batch in self.collect(step, plan).await? {
            for row in 0..batch.num_rows() {
                if let ScalarValue::Utf8(Some(file)) = solve::scalar(&batch, 0, row)? {
                    files.push(format!("{} in `{file}`", solve::integer(std::slice::from_ref(&batch), 1, row)));
                }
            }
        }
        let more = files.len().saturating_sub(NAMED_MAX);
        files.truncate(NAMED_MAX);
        let more = if more > 0 { format!(" and in {more} more files") } else { String::new() };
        Ok(format!("{}{more}", files.join(", ")))
    }
}

/// What pinning said of columns that are not as declared and are let pass.
pub(crate) fn drifted(diagnostics: &[Diagnostic]) -> impl Iterator<Item = String> + '_ {
    diagnostics
        .iter()
        .filter(|d| d.code == strata_plan::codes::DRIFT && d.severity == Severity::Warning)
        .map(|d| d.message.clone())
}

fn found(source: &str, rule: &RuleRows) -> String {
    let rows = if rule.rows == 1 { "1 row".to_owned() } else { format!("{} rows", rule.rows) };
    let became = match rule.on_fail.as_str() {
        QUARANTINE => " put aside",
        "set_null" => ", read as null",
        _ => "",
    };
    format!("{rows} of `{source}`{became}: `{}`, {}", rule.rule, rule.reason)
}

/// What is wrong, if something is.
fn wrong(check: &TableCheck, answer: &[RecordBatch], as_of_us: i64) -> Result<Option<String>> {
    let number = |column| solve::integer(answer, column, 0);
    let is_null = answer.iter().find(|b| b.num_rows() > 0).is_none_or(|b| b.column(0).is_null(0));
    Ok(match &check.asks {
        Asks::Repeats(columns) => match (is_null, number(0)) {
            (true, _) | (_, 0) => None,
            (_, n) => {
                Some(format!("{n} rows repeat {}", columns.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ")))
            }
        },
        Asks::Fails(reason) => match number(0) {
            0 => None,
            1 => Some(format!("1 row fails: {reason}")),
            n => Some(format!("{n} rows fail: {reason}")),
        },
        Asks::Newest(_) if is_null => Some("it has no row before `as_of`".to_owned()),
        Asks::Newest(limit) => {
            let age = as_of_us.saturating_sub(number(0));
            let said = || format!("its newest row is {} old, at most {} are allowed", span(age), span(*limit));
            (age > *limit).then(said)
        }
        Asks::Rows(volume) => {
            let days = volume.of_us as f64 / DAY_US;
            let (last, mean) = (number(0) as f64, number(1) as f64 / days);
            let little = volume.min.is_some_and(|min| last < min * mean);
            let much = volume.max.is_some_and(|max| last > max * mean);
            (little || much).then(|| format!("the last 24 hours hold {last} rows, the days before hold {mean:.1} a day"))
        }
        Asks::Holds(text) => {
            let holds = answer.iter().find(|b| b.num_rows() > 0).and_then(|b| b.column(0).as_boolean_opt().map(|c| c.value(0)));
            (!is_null && holds == Some(false)).then(|| format!("`{text}` is false"))
        }
    })
}

/// Microseconds as people read them.
fn span(us: i64) -> String {
    match us as f64 {
        us if us >= 2.0 * DAY_US => format!("{:.1} days", us / DAY_US),
        us => format!("{:.1} hours", us / HOUR_US),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, BooleanArray, Int64Array};
    use datafusion::logical_expr::LogicalPlanBuilder;
    use std::sync::Arc;
    use strata_spec::pipeline::contract::Volume;

    fn said(asks: Asks, columns: Vec<ArrayRef>) -> Option<String> {
        let named = columns.into_iter().enumerate().map(|(i, c)| (format!("c{i}"), c));
        let batch = RecordBatch::try_from_iter_with_nullable(named.map(|(n, c)| (n, c, true))).unwrap();
        let plan = LogicalPlanBuilder::empty(false).build().unwrap();
        wrong(&TableCheck { name: "c".into(), stops: true, asks, plan }, &[batch], 100 * 86_400_000_000).unwrap()
    }

    fn number(n: Option<i64>) -> ArrayRef {
        Arc::new(Int64Array::from(vec![n]))
    }

    #[test]
    fn bounds_hold_on_their_edges() {
        let (day, hour) = (86_400_000_000, 3_600_000_000);
        assert_eq!(said(Asks::Newest(26 * hour), vec![number(Some(100 * day - 26 * hour))]), None);
        assert!(said(Asks::Newest(26 * hour), vec![number(Some(100 * day - 27 * hour))]).unwrap().contains("27.0 hours"));
        assert!(said(Asks::Newest(26 * hour), vec![number(None)]).is_some());
        let volume = |last, before| {
            let bounds = Volume { of_us: 7 * day, min: Some(0.5), max: Some(2.0) };
            said(Asks::Rows(bounds), vec![number(Some(last)), number(Some(before))])
        };
        assert_eq!((volume(5, 70), volume(20, 70), volume(0, 0)), (None, None, None));
        assert!(volume(4, 70).is_some() && volume(21, 70).is_some() && volume(1, 0).is_some());
        let repeats = |n| said(Asks::Repeats(vec!["a".into()]), vec![number(n)]);
        assert!(repeats(None).is_none() && repeats(Some(0)).is_none() && repeats(Some(2)).unwrap().contains("2 rows"));
        let fails = |n| said(Asks::Fails("why".into()), vec![number(Some(n))]);
        assert!(fails(0).is_none() && fails(1).unwrap().starts_with("1 row fails") && fails(2).unwrap().contains("2 rows"));
        let holds = |v| said(Asks::Holds("x".into()), vec![Arc::new(BooleanArray::from(vec![v])) as ArrayRef]);
        assert!(holds(Some(true)).is_none() && holds(None).is_none() && holds(Some(false)).is_some());
    }
}
