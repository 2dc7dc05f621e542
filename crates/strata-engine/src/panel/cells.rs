//! The cells of a drawn sample: what its rows have in common, and the weights they start from. Never weighs.

use super::values;
use crate::error::{Error, Result};
use crate::solve::{float, integer, scalar};
use arrow::array::{Array, AsArray};
use arrow::record_batch::RecordBatch;
use datafusion::common::{DataFusionError, ScalarValue, internal_datafusion_err};
use strata_models::rake::{Cell, CellWeights, TableWeights};
use strata_plan::weighing::CellBy;

/// A sample as raking takes it.
#[derive(Default)]
pub(super) struct Sample {
    /// Its cells, in the order of their values.
    pub(super) cells: Vec<Cell>,
    /// What the rows of each have in common.
    pub(super) keys: Vec<Vec<ScalarValue>>,
    /// The weights of the rows of each; none where rows of one weight are a cell.
    pub(super) weights: Vec<CellWeights>,
}

/// How the cells of a sample stand in rows of a plan's result.
pub(super) struct Cells<'a> {
    /// Values of each margin's levels.
    pub(super) levels: &'a [Vec<ScalarValue>],
    /// What tells them apart.
    pub(super) by: &'a CellBy,
}

fn internal(error: DataFusionError) -> Error {
    Error::of_step("weights", error)
}

/// The bytes of a column; nothing where it is null.
fn bytes(batch: &RecordBatch, column: usize, row: usize) -> Result<Option<&[u8]>> {
    match batch.column(column).as_binary_opt::<i32>() {
        Some(found) => Ok(found.is_valid(row).then(|| found.value(row))),
        None => Err(internal(internal_datafusion_err!("weights are `{}`, not bytes", batch.column(column).data_type()))),
    }
}

impl Cells<'_> {
    /// The values of the cell of a number.
    fn numbered(&self, number: usize) -> Vec<ScalarValue> {
        let (mut rest, mut key) = (number, Vec::with_capacity(self.levels.len()));
        for levels in self.levels.iter().rev() {
            key.push(levels[rest % levels.len()].clone());
            rest /= levels.len();
        }
        key.reverse();
        key
    }

    fn codes(&self, key: &[ScalarValue]) -> Vec<Option<u32>> {
        key.iter().zip(self.levels).map(|(v, l)| l.iter().position(|x| x == v).map(|i| i as u32)).collect()
    }

    /// From the weights of each cell; none where cells have numbers and a row lies in none.
    pub(super) fn of_weights(&self, found: &[RecordBatch]) -> Result<Option<Sample>> {
        let mut out = Sample::default();
        for (batch, row) in found.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row))) {
            match self.by {
                CellBy::Columns(margins) => {
                    let key = values(batch, margins.len(), row)?;
                    let weights = match bytes(batch, margins.len(), row)? {
                        Some(bytes) => {
                            CellWeights::from_bytes(bytes).map_err(|e| internal(DataFusionError::External(e.into())))?
                        }
                        None => CellWeights::new(),
                    };
                    self.push(&mut out, key, weights);
                }
                CellBy::Number(_) => {
                    let Some(bytes) = bytes(batch, 0, row)? else { continue };
                    let table = TableWeights::from_bytes(bytes).map_err(|e| internal(DataFusionError::External(e.into())))?;
                    if table.outside() > 0 {
                        return Ok(None);
                    }
                    for (number, weights) in table.cells() {
                        self.push(&mut out, self.numbered(number), weights);
                    }
                }
            }
        }
        Ok(Some(out))
    }

    fn push(&self, sample: &mut Sample, key: Vec<ScalarValue>, weights: CellWeights) {
        let (weight, rows) = (weights.moments().sum.value(), weights.rows().unsigned_abs());
        sample.cells.push(Cell { codes: self.codes(&key), weight, rows });
        sample.keys.push(key);
        sample.weights.push(weights);
    }

    /// From distinct weights in cells: rows of different weights are cells of their own. None where cells have numbers and a row lies in none.
    pub(super) fn by_weight(&self, found: &[RecordBatch]) -> Result<Option<Sample>> {
        let mut out = Sample::default();
        for batch in found {
            let m = match self.by {
                CellBy::Columns(margins) => margins.len(),
                CellBy::Number(_) if batch.column(0).null_count() > 0 => return Ok(None),
                CellBy::Number(_) => 1,
            };
            for row in 0..batch.num_rows() {
                let mut key = match self.by {
                    CellBy::Columns(_) => values(batch, m, row)?,
                    CellBy::Number(_) => self.numbered(integer(std::slice::from_ref(batch), 0, row) as usize),
                };
                let (codes, rows) = (self.codes(&key), integer(std::slice::from_ref(batch), m + 1, row) as u64);
                out.cells.push(Cell { codes, weight: float(batch, m, row) * rows as f64, rows });
                key.push(scalar(batch, m, row)?);
                out.keys.push(key);
            }
        }
        Ok(Some(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panel::text;
    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::Float64Type;
    use datafusion::logical_expr::{LogicalPlan, ident};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use strata_models::rake::{self, Level, Margin, Options};
    use strata_plan::{Factors, weighing};

    /// Rows of a sample in memory: four margins of 6, 2, 9 and 5 levels, as codes or as text, and a weight of `distinct` possible ones.
    fn frame(rows: u64, text: bool, distinct: u64) -> Vec<RecordBatch> {
        let mut n = 20_261_122_u64;
        let mut below = |m: u64| {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (n >> 33) % m
        };
        let mut out = vec![];
        for start in (0..rows).step_by(8192) {
            let mut columns: Vec<Vec<u64>> = vec![vec![]; 4];
            let mut base = vec![];
            for _ in start..rows.min(start + 8192) {
                let age = below(6).min(below(6));
                let levels = [age, below(2).max(u64::from(age == 0)), below(9).min(below(9)), below(5).max(below(5))];
                columns.iter_mut().zip(levels).for_each(|(c, level)| c.push(level));
                base.push(0.5 + below(distinct) as f64 / distinct as f64);
            }
            let array = |(name, codes): (&&str, &Vec<u64>)| -> ArrayRef {
                match text {
                    true => Arc::new(StringArray::from_iter_values(codes.iter().map(|c| format!("{name}{c}")))),
                    false => Arc::new(Int64Array::from_iter_values(codes.iter().map(|c| *c as i64))),
                }
            };
            let mut arrays: Vec<(&str, ArrayRef)> = MARGINS.iter().zip(&columns).map(|(m, c)| (*m, array((m, c)))).collect();
            arrays.push((strata_plan::PanelColumns::DESIGN_WEIGHT, Arc::new(Float64Array::from(base))));
            out.push(RecordBatch::try_from_iter(arrays).unwrap());
        }
        out
    }

    const MARGINS: [&str; 4] = ["age", "sex", "region", "segment"];
    const LEVELS: [u64; 4] = [6, 2, 9, 5];

    /// Processor time of this process so far, in hundredths of a second (Linux: user and system).
    fn processor() -> f64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<f64> = stat.rsplit(')').next().unwrap_or("").split_whitespace().filter_map(|f| f.parse().ok()).collect();
        // After the name and the state: the 14th and 15th of all.
        fields.get(10).zip(fields.get(11)).map_or(0.0, |(user, system)| user + system)
    }

    /// Cells, factors and the weight of every row from rows in memory, as a wave has them; the greatest relative miss of a margin.
    async fn weighed(context: &datafusion::prelude::SessionContext, frame: Vec<RecordBatch>, texts: bool) -> f64 {
        let margins: Vec<String> = MARGINS.map(str::to_owned).to_vec();
        let (base, rows) = (ident(strata_plan::PanelColumns::DESIGN_WEIGHT), context.read_batches(frame).unwrap());
        let run = async |plan: LogicalPlan| context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
        let sample = rows.logical_plan().clone();
        let levels: Vec<Vec<ScalarValue>> = MARGINS
            .iter()
            .zip(LEVELS)
            .map(|(name, n)| {
                let value = |code: u64| if texts { format!("{name}{code}").as_str().into() } else { (code as i64).into() };
                (0..n).map(value).collect()
            })
            .collect();
        let from = processor();
        let by = CellBy::numbers(sample.schema(), &margins, &levels).unwrap();
        assert_eq!(matches!(by, CellBy::Number(_)), !texts);
        let found = run(weighing::cell_weights(sample.clone(), &by, base.clone()).unwrap()).await;
        let sample_of = Cells { levels: &levels, by: &by }.of_weights(&found).unwrap().unwrap();
        let everybody = 1e6;
        let level = |l: &ScalarValue, of: usize| Level { name: text(l), target: Some(everybody / of as f64) };
        let targets: Vec<Margin> = MARGINS
            .iter()
            .zip(&levels)
            .map(|(m, of)| Margin { name: (*m).to_owned(), levels: of.iter().map(|l| level(l, of.len())).collect() })
            .collect();
        let raked = rake::rake(&targets, &sample_of.cells, &Options::default()).unwrap();
        let diagnostics = rake::factored_diagnostics(sample_of.weights.iter().zip(raked.factors.iter().copied())).unwrap();
        let factors: Vec<Factors> = sample_of
            .keys
            .iter()
            .zip(&raked.factors)
            .map(|(cell, factor)| Factors { cell: cell.clone(), factor: *factor })
            .collect();
        let plan = weighing::multiplied(sample, &margins, base, false, &factors).unwrap();
        let weighed = run(plan).await;
        println!("cells, factors, weights of rows: {:.2} processor seconds", (processor() - from) / 100.0);
        let (mut sums, mut all, mut squares): (BTreeMap<(usize, String), f64>, f64, f64) = (BTreeMap::new(), 0.0, 0.0);
        for batch in &weighed {
            let weights = batch.column_by_name(strata_plan::PanelColumns::WEIGHT).unwrap().as_primitive::<Float64Type>().clone();
            for row in 0..batch.num_rows() {
                all += weights.value(row);
                squares += weights.value(row) * weights.value(row);
                for m in 0..4 {
                    *sums.entry((m, text(&scalar(batch, m, row).unwrap()))).or_default() += weights.value(row);
                }
            }
        }
        assert!((diagnostics.sum / all - 1.0).abs() < 1e-9 && (diagnostics.ess / (all * all / squares) - 1.0).abs() < 1e-9);
        let miss = |((m, _), sum): (&(usize, String), &f64)| (sum / (everybody / levels[*m].len() as f64) - 1.0).abs();
        sums.iter().map(miss).fold(0.0, f64::max)
    }

    /// With `STRATA_RAKING_ROWS` it says what weighing so many rows in memory takes; few rows show that the weights are right.
    #[test]
    fn rows_in_memory_have_weights_that_meet_the_margins() {
        let rows = std::env::var_os("STRATA_RAKING_ROWS").and_then(|n| n.to_str()?.parse().ok()).unwrap_or(20_000);
        let context = strata_runtime::session(&strata_runtime::Limits::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        for (text, by_size) in [(false, false), (false, true), (true, false), (true, true)] {
            // Drawn by size everybody has a weight of their own.
            let frame = frame(rows, text, if by_size { 1 << 30 } else { 5 });
            println!(
                "{rows} rows, {}, weights {}",
                if text { "text" } else { "codes" },
                if by_size { "by size" } else { "by stratum" }
            );
            let miss = runtime.block_on(weighed(&context, frame, text));
            assert!(miss < 2e-6, "text {text}, by size {by_size}: {miss}");
        }
    }
}
