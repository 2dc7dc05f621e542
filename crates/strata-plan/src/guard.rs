//! People of an output who look alike: counted, and shown as coarsely as was decided. Never decides how coarsely.

use crate::Compiled;
use crate::panel::{PanelColumns, values};
use crate::solved::{Guard, Solved};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{JoinType, Result, ScalarValue, plan_err};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, case, cast, ident, lit};
use strata_operators::pinned::PinnedTable;
use strata_spec::pipeline::{Anonymity, Output, Select, WeightsShown};

/// Columns that are weights, and so tell strata apart.
const WEIGHTS: [&str; 4] =
    [PanelColumns::DESIGN_WEIGHT, PanelColumns::WEIGHT, PanelColumns::BASE_WEIGHT, PanelColumns::FINAL_WEIGHT];

/// Weights that the output shows.
pub fn weights_of(output: &Output) -> Vec<&str> {
    let selected = |name: &&str| output.select.iter().any(|s| matches!(&s.value, Select::Column(c) if c == name));
    WEIGHTS.into_iter().filter(selected).collect()
}

impl Compiled<'_> {
    /// People of an output who look alike, in order: the columns of `over` as text, with `weights: rounded` the rounded weights; `people`,
    /// and of each weight how many have one and the exact sum. `None` if the output has no `anonymity`.
    pub fn alike(&self, output: &Output, solved: &Solved) -> Result<Option<LogicalPlan>> {
        let Some(anonymity) = &output.export.anonymity else { return Ok(None) };
        let rows = self.unguarded(output, solved)?;
        let weights = weights_of(output);
        let mut by: Vec<Expr> = vec![];
        for (i, name) in anonymity.over.iter().enumerate() {
            by.push(cast(ident(&name.value), DataType::Utf8).alias(format!("#o{i}")));
        }
        for (i, weight) in weights.iter().enumerate() {
            by.extend(self.rounded(anonymity, weight)?.map(|e| cast(e, DataType::Utf8).alias(format!("#r{i}"))));
        }
        let names: Vec<Expr> = by.iter().map(|e| ident(e.schema_name().to_string())).collect();
        let mut columns = by;
        columns.extend(weights.iter().enumerate().map(|(i, w)| ident(*w).alias(format!("#w{i}"))));
        let sum = self.planner.names.aggregate("exact_sum")?;
        let mut aggregates = vec![count(lit(1i64)).alias("#people")];
        for i in 0..weights.len() {
            let weight = ident(format!("#w{i}"));
            aggregates.push(count(weight.clone()).alias(format!("#n{i}")));
            aggregates.push(sum.call(vec![weight]).alias(format!("#s{i}")));
        }
        let sort: Vec<_> = names.iter().map(|n| n.clone().sort(true, false)).collect();
        let grouped = LogicalPlanBuilder::from(rows).project(columns)?.aggregate(names, aggregates)?;
        grouped.sort(sort)?.build().map(Some)
    }

    /// A weight rounded as the output says; `None` where it is not rounded.
    fn rounded(&self, anonymity: &Anonymity, weight: &str) -> Result<Option<Expr>> {
        let WeightsShown::Rounded(to) = anonymity.weights else { return Ok(None) };
        let whole = self.planner.names.scalar("round")?.call(vec![ident(weight) / lit(to)]);
        Ok(Some(whole * lit(to)))
    }

    /// `rows` with the columns of `over` and the weights as `guard` shows them; as they are without one.
    pub(crate) fn as_shown(&self, output: &Output, guard: Option<&Guard>, rows: LogicalPlan) -> Result<LogicalPlan> {
        let (Some(anonymity), Some(guard)) = (&output.export.anonymity, guard) else { return Ok(rows) };
        let (over, weights) = (&anonymity.over, weights_of(output));
        let mut keys: Vec<Expr> = over.iter().map(|o| key_text(cast(ident(&o.value), DataType::Utf8))).collect::<Result<_>>()?;
        for weight in &weights {
            if let Some(rounded) = self.rounded(anonymity, weight)? {
                keys.push(key_text(cast(rounded, DataType::Utf8))?);
            }
        }
        let names = |letter: &str, n: usize| (0..n).map(|i| format!("#{letter}{i}")).collect::<Vec<_>>();
        let (ids, shown, means) = (names("k", keys.len()), names("o", over.len()), names("m", weights.len()));
        let text = |n: &String| Field::new(n, DataType::Utf8, true);
        let mut fields: Vec<Field> = ids.iter().chain(&shown).map(text).collect();
        fields.extend(means.iter().map(|n| Field::new(n, DataType::Float64, true)));
        let table = guard.rows.iter().map(|row| {
            let key = row.key.iter().map(|k| ScalarValue::Utf8(Some(k.as_ref().map_or("-".to_owned(), |k| format!("={k}")))));
            let shown = row.shown.iter().map(|s| ScalarValue::Utf8(s.clone()));
            let means = row.weights.iter().map(|w| ScalarValue::Float64(*w));
            key.chain(shown).chain(means).collect()
        });
        let table = values(fields, table.collect())?;
        let schema = rows.schema().as_ref().clone();
        let keyed: Vec<Expr> =
            schema.iter().map(Expr::from).chain(keys.into_iter().enumerate().map(|(i, k)| k.alias(format!("#key{i}")))).collect();
        let rows = LogicalPlanBuilder::from(rows).project(keyed)?;
        let on: Vec<Expr> = ids.iter().enumerate().map(|(i, id)| ident(format!("#key{i}")).eq(ident(id))).collect();
        let joined = rows.join_on(table, JoinType::Inner, on)?;
        let column = |(q, f): (Option<&datafusion::common::TableReference>, &std::sync::Arc<Field>)| {
            let name = f.name().as_str();
            if let Some(i) = over.iter().position(|o| o.value == name) {
                return Ok(ident(&shown[i]).alias(name));
            }
            match weights.iter().position(|w| *w == name) {
                // Who has none, in a reserve, still has none.
                Some(i) => Ok(case(lit(true)).when(Expr::from((q, f)).is_not_null(), ident(&means[i])).end()?.alias(name)),
                None => Ok(Expr::from((q, f))),
            }
        };
        let out = schema.iter().map(column).collect::<Result<Vec<Expr>>>()?;
        joined.project(out)?.build()
    }

    /// All rows of a published table, as pinned.
    pub fn published_rows(&self, table: &PinnedTable) -> Result<LogicalPlan> {
        crate::scan_work("published", table)
    }

    /// Tells the compiler the digest of the counts of earlier waves that those of this run are held against.
    pub fn hold_against(&mut self, digest: String) {
        self.catalog.held_against = digest;
    }

    /// Digest of the counts of earlier waves that those of this run are held against; empty where there are none.
    pub fn held_against(&self) -> &str {
        &self.catalog.held_against
    }

    /// A small table of given rows, in their order. Errors: a value of another type than its column.
    pub fn given(&self, schema: &Schema, rows: Vec<Vec<ScalarValue>>) -> Result<LogicalPlan> {
        if schema.fields().is_empty() {
            return plan_err!("a table needs columns");
        }
        values(schema.fields().iter().map(|f| Field::new(f.name(), f.data_type().clone(), true)).collect(), rows)
    }
}

/// A text that is never null and tells null from every text.
fn key_text(text: Expr) -> Result<Expr> {
    let there = datafusion::logical_expr::binary_expr(lit("="), datafusion::logical_expr::Operator::StringConcat, text.clone());
    case(lit(true)).when(text.is_null(), lit("-")).otherwise(there)
}
