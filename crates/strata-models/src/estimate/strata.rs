//! The units of a sample by stratum and the variance between them. It never divides by a stratum of one unit unasked.

use std::collections::BTreeMap;

use super::{Error, Sample, Singleton};
use crate::{Result, exact::Sum};

/// The unit each row belongs to, and the stratum of each unit.
pub(super) struct Units {
    unit_of_row: Vec<usize>,
    stratum_of_unit: Vec<u32>,
}

impl Units {
    /// Checks the sample. Errors: `Shape`, `Value`, `NoRows`, `Cluster`.
    pub(super) fn new(sample: &Sample<'_>, values: &[f64]) -> Result<Self> {
        let rows = sample.weights.len();
        if rows == 0 {
            return Err(crate::Error::NoRows);
        }
        let given = [("values", values.len()), ("strata", sample.strata.len()), ("clusters", sample.clusters.len())];
        for (what, found) in given {
            if found != rows && (found != 0 || what == "values") {
                return Err(crate::Error::Shape { what, found, wanted: rows });
            }
        }
        if let Some((index, &value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(crate::Error::Value { what: "value", index, value, wanted: "fill or filter missing values first" });
        }
        if let Some(index) = sample.weights.iter().position(|w| !(*w > 0.0 && w.is_finite())) {
            let value = sample.weights[index];
            return Err(crate::Error::Value { what: "weight", index, value, wanted: "weights must be finite and above 0" });
        }
        let stratum = |row: usize| sample.strata.get(row).copied().unwrap_or(0);
        if sample.clusters.is_empty() {
            return Ok(Units { unit_of_row: (0..rows).collect(), stratum_of_unit: (0..rows).map(stratum).collect() });
        }
        let mut places: BTreeMap<u32, usize> = BTreeMap::new();
        let mut units = Units { unit_of_row: Vec::with_capacity(rows), stratum_of_unit: Vec::new() };
        for (row, &cluster) in sample.clusters.iter().enumerate() {
            let next = units.stratum_of_unit.len();
            let unit = *places.entry(cluster).or_insert(next);
            if unit == next {
                units.stratum_of_unit.push(stratum(row));
            }
            let (first, second) = (units.stratum_of_unit[unit], stratum(row));
            if first != second {
                return Err(Error::Cluster { cluster, first, second }.into());
            }
            units.unit_of_row.push(unit);
        }
        Ok(units)
    }

    /// Σ_h (1 − f_h)·m_h/(m_h − 1)·Σ_units (z − z̄_h)², z the sum of weight·score over a unit, m_h the units of a stratum.
    pub(super) fn variance(&self, sample: &Sample<'_>, scores: &[f64]) -> Result<f64> {
        let mut sums = vec![Sum::new(); self.stratum_of_unit.len()];
        for (row, &unit) in self.unit_of_row.iter().enumerate() {
            sums[unit].add_product(sample.weights[row], scores[row]);
        }
        let mut strata: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for (sum, &stratum) in sums.iter().zip(&self.stratum_of_unit) {
            strata.entry(stratum).or_default().push(sum.value());
        }
        let centre = mean(sums.iter().map(Sum::value));
        let mut variance = Sum::new();
        for (&stratum, units) in &strata {
            let population = population(sample, stratum, units.len())?;
            variance.add((1.0 - units.len() as f64 / population) * between(units, centre, stratum, sample.singleton)?);
        }
        Ok(variance.value().max(0.0))
    }
}

/// m/(m − 1)·Σ(z − z̄)² of the units of one stratum.
fn between(units: &[f64], centre: f64, stratum: u32, singleton: Singleton) -> Result<f64> {
    if let [only] = units {
        return match singleton {
            Singleton::Error => Err(Error::Singleton { stratum }.into()),
            Singleton::Certain => Ok(0.0),
            Singleton::Centre => Ok((only - centre) * (only - centre)),
        };
    }
    Ok(squares(units) * (units.len() as f64 / (units.len() as f64 - 1.0)))
}

/// Σ(z − z̄)².
pub(super) fn squares(values: &[f64]) -> f64 {
    let mean = mean(values.iter().copied());
    let mut sum = Sum::new();
    values.iter().for_each(|value| sum.add((value - mean) * (value - mean)));
    sum.value()
}

/// Σ(a − ā)(b − b̄).
pub(super) fn products(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a.iter().copied()), mean(b.iter().copied()));
    let mut sum = Sum::new();
    a.iter().zip(b).for_each(|(a, b)| sum.add((a - mean_a) * (b - mean_b)));
    sum.value()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (Sum::new(), 0u64);
    for value in values {
        sum.add(value);
        count += 1;
    }
    sum.value() / count as f64
}

/// Units of the stratum in the population; infinite where none is given. Errors: `Shape`, `Population`.
fn population(sample: &Sample<'_>, stratum: u32, units: usize) -> Result<f64> {
    if sample.populations.is_empty() {
        return Ok(f64::INFINITY);
    }
    let (found, stratum) = (sample.populations.len(), stratum as usize);
    let population =
        *sample.populations.get(stratum).ok_or(crate::Error::Shape { what: "populations", found, wanted: stratum + 1 })?;
    if population.is_nan() || population < units as f64 {
        return Err(Error::Population { stratum, units: units as u64, population }.into());
    }
    Ok(population)
}
