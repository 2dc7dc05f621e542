//! What weights cost: their spread as a design effect. It never changes a weight.

use serde::{Deserialize, Serialize};

use super::CellWeights;
use crate::exact::{Moments, Sum};

/// Size and spread of weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightDiagnostics {
    /// Rows.
    pub n: i64,
    /// Σw.
    pub sum: f64,
    /// The least weight.
    pub min: f64,
    /// The greatest weight.
    pub max: f64,
    /// Kish's design effect n·Σw²/(Σw)², ≥ 1.
    pub deff: f64,
    /// The effective sample size n/deff = (Σw)²/Σw², ≤ n.
    pub ess: f64,
}

impl WeightDiagnostics {
    /// From the moments of the weights and their extremes; none if there are no weights.
    pub fn from_moments(moments: &Moments, min: f64, max: f64) -> Option<Self> {
        let n = moments.n;
        if n <= 0 {
            return None;
        }
        let sum = moments.sum.value();
        let squares = moments.squares.value();
        let deff = n as f64 * squares / (sum * sum);
        Some(WeightDiagnostics { n, sum, min, max, deff, ess: sum * sum / squares })
    }
}

/// Diagnostics of `weights`, of which cell-wise constant ones are given with their number of rows; none if there are no
/// rows. Equal whatever the order and however rows with equal weights are grouped.
pub fn weight_diagnostics(weights: impl IntoIterator<Item = (f64, u64)>) -> Option<WeightDiagnostics> {
    let mut moments = Moments::new();
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    for (weight, rows) in weights.into_iter().filter(|&(_, rows)| rows > 0) {
        let count = rows as f64;
        moments.n += rows as i64;
        moments.sum.add_product(weight, count);
        // weight² as two floats, each times the count.
        let mut square = Sum::new();
        square.add_product(weight, weight);
        for part in parts(&square) {
            moments.squares.add_product(part, count);
        }
        min = min.min(weight);
        max = max.max(weight);
    }
    WeightDiagnostics::from_moments(&moments, min, max)
}

/// Diagnostics of the weights of cells whose base weights are multiplied by a factor ≥ 0 each; none if there are no rows.
pub fn factored_diagnostics<'a>(cells: impl IntoIterator<Item = (&'a CellWeights, f64)>) -> Option<WeightDiagnostics> {
    let mut moments = Moments::new();
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    for (cell, factor) in cells.into_iter().filter(|(cell, _)| cell.rows() > 0) {
        let of_cell = cell.moments();
        moments.n += of_cell.n;
        for part in parts(&of_cell.sum) {
            moments.sum.add_product(part, factor);
        }
        let mut square = Sum::new();
        square.add_product(factor, factor);
        let square = parts(&square);
        for part in parts(&of_cell.squares) {
            square.iter().for_each(|of_factor| moments.squares.add_product(part, *of_factor));
        }
        min = min.min(cell.min() * factor);
        max = max.max(cell.max() * factor);
    }
    WeightDiagnostics::from_moments(&moments, min, max)
}

/// Floats whose exact sum it is; NaN for one that is not finite.
fn parts(sum: &Sum) -> Vec<f64> {
    sum.parts().unwrap_or_else(|| vec![f64::NAN])
}
