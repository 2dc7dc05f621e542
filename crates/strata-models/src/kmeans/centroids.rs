//! Centroids, and the one nearest to a point. All ways to ask give the same bits: the squared distance is summed over the
//! features in their order, and a tie goes to the lowest number. It never reorders a sum to be faster.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// k points of d features, row-major.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Centroids {
    features: usize,
    values: Vec<f64>,
}

/// Centroids compared at once: a loop over them has no dependent sums, so it becomes vector instructions.
const LANES: usize = 8;

impl Centroids {
    /// From `values`, k·d of them, row-major. Errors: `Shape` if they are no whole number of points (or none), `Feature`
    /// if one is not finite.
    pub fn new(features: usize, values: Vec<f64>) -> Result<Self> {
        if features == 0 || values.is_empty() || !values.len().is_multiple_of(features) {
            return Err(Error::Shape { what: "centroid values", found: values.len(), wanted: features });
        }
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            return Err(Error::Feature { point: at / features, feature: at % features, value: values[at] });
        }
        Ok(Centroids { features, values })
    }

    /// k, at least 1.
    pub fn clusters(&self) -> usize {
        self.values.len() / self.features
    }

    /// d, at least 1.
    pub fn features(&self) -> usize {
        self.features
    }

    /// All values, row-major.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// One centroid.
    pub fn centroid(&self, cluster: usize) -> &[f64] {
        &self.values[cluster * self.features..][..self.features]
    }

    /// The number of the nearest centroid and the squared distance to it; the lowest number on a tie. `point` has d
    /// finite values; for one with NaN the answer is (0, ∞).
    #[inline]
    pub fn nearest(&self, point: &[f64]) -> (usize, f64) {
        let mut best = (0, f64::INFINITY);
        for (cluster, centroid) in self.values.chunks_exact(self.features).enumerate() {
            let mut distance = 0.0;
            for (x, c) in point.iter().zip(centroid) {
                distance += (x - c) * (x - c);
            }
            if distance < best.1 {
                best = (cluster, distance);
            }
        }
        best
    }

    /// [`Centroids::nearest`] of many points, row-major, into one label and one squared distance a point: several times
    /// faster. Errors: `Shape` if the lengths do not fit.
    pub fn assign(&self, points: &[f64], labels: &mut [u32], distances: &mut [f64]) -> Result<()> {
        let wanted = labels.len() * self.features;
        if points.len() != wanted {
            return Err(Error::Shape { what: "point values", found: points.len(), wanted });
        }
        if distances.len() != labels.len() {
            return Err(Error::Shape { what: "distances", found: distances.len(), wanted: labels.len() });
        }
        let lanes = self.lanes();
        for ((point, label), distance) in points.chunks_exact(self.features).zip(labels).zip(distances) {
            (*label, *distance) = nearest_in_lanes(&lanes, self.clusters(), point);
        }
        Ok(())
    }

    /// The centroids feature by feature in blocks of [`LANES`], the last block filled with zeros.
    fn lanes(&self) -> Vec<[f64; LANES]> {
        let blocks = self.clusters().div_ceil(LANES);
        let mut lanes = vec![[0.0; LANES]; blocks * self.features];
        for (cluster, centroid) in self.values.chunks_exact(self.features).enumerate() {
            for (feature, &c) in centroid.iter().enumerate() {
                lanes[cluster / LANES * self.features + feature][cluster % LANES] = c;
            }
        }
        lanes
    }
}

#[inline]
fn nearest_in_lanes(lanes: &[[f64; LANES]], clusters: usize, point: &[f64]) -> (u32, f64) {
    let mut best = (0, f64::INFINITY);
    for (block, centroids) in lanes.chunks_exact(point.len()).enumerate() {
        let mut sums = [0.0; LANES];
        for (&x, centroid) in point.iter().zip(centroids) {
            for (sum, c) in sums.iter_mut().zip(centroid) {
                *sum += (x - c) * (x - c);
            }
        }
        let first = block * LANES;
        for (lane, &distance) in sums.iter().enumerate().take(clusters - first) {
            if distance < best.1 {
                best = ((first + lane) as u32, distance);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tie_goes_to_the_lowest_number() -> Result<()> {
        let centroids = Centroids::new(1, vec![5.0, -1.0, 1.0, -1.0])?;
        assert_eq!(centroids.nearest(&[0.0]), (1, 1.0));
        assert_eq!(centroids.nearest(&[3.0]), (0, 4.0));
        assert!(Centroids::new(2, vec![1.0]).is_err());
        assert!(matches!(Centroids::new(1, vec![1.0, f64::NAN]), Err(Error::Feature { point: 1, feature: 0, .. })));
        Ok(())
    }

    proptest! {
        /// Few distinct values, so ties are common.
        #[test]
        fn many_points_at_once_have_the_same_bits(
            features in 1usize..18, clusters in 1usize..20, seed in prop::collection::vec(-4i8..5, 18 * 52),
        ) {
            let value = |at: usize| f64::from(seed[at % seed.len()]) * 0.1;
            let centroids = Centroids::new(features, (0..features * clusters).map(value).collect()).unwrap();
            let points: Vec<f64> = (0..features * 32).map(|at| value(at + features * 20)).collect();
            let (mut labels, mut distances) = (vec![0; 32], vec![0.0; 32]);
            centroids.assign(&points, &mut labels, &mut distances).unwrap();
            for (i, point) in points.chunks_exact(features).enumerate() {
                let (cluster, distance) = centroids.nearest(point);
                prop_assert_eq!((labels[i] as usize, distances[i].to_bits()), (cluster, distance.to_bits()));
            }
        }
    }
}
