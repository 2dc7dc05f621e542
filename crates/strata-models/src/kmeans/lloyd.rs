//! Lloyd's step from per-cluster sums, when to stop, and the whole iteration over points in memory. It never lets the
//! order of the points into a sum.

use serde::{Deserialize, Serialize};

use super::Centroids;
use crate::{Error, Result, exact, exact::Moments, exact::Sum, reader};

/// What becomes of a cluster without members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Empty {
    /// Its centroid stays where it is.
    Stays,
    /// It takes the point farthest from its own centroid.
    Farthest,
}

/// How to iterate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// At most so many steps (assign, then move).
    pub iterations_max: u32,
    /// Stop once the squared shifts of all centroids together are at most tolerance · mean variance of the features; 0:
    /// once no assignment changes.
    pub tolerance: f64,
    /// What becomes of a cluster without members.
    pub empty: Empty,
}

/// The mergeable state of one step: members, and the exact sum of every feature, of each cluster.
#[derive(Debug, Clone)]
pub struct ClusterSums {
    features: usize,
    counts: Vec<i64>,
    sums: Vec<Sum>,
    inertia: Sum,
}

/// A point far from its centroid, a candidate for an empty cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Far {
    /// The cluster the point was assigned to.
    pub cluster: usize,
    /// The point, d values.
    pub point: Vec<f64>,
}

/// The centroids after a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Where they are now.
    pub centroids: Centroids,
    /// Sum over the centroids of the squared distance each moved.
    pub shift_squared: f64,
    /// Whether no centroid changed a bit: then no assignment can change any more.
    pub is_still: bool,
    /// Clusters without members that stayed where they were.
    pub empty: Vec<usize>,
}

/// The answer of [`lloyd`].
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Final centroids.
    pub centroids: Centroids,
    /// The nearest final centroid of each point.
    pub labels: Vec<u32>,
    /// Sum of squared distances to it.
    pub inertia: f64,
    /// Steps made.
    pub iterations: u32,
    /// Whether a stop rule held (not just the steps ran out).
    pub converged: bool,
}

const WHAT: &str = "cluster sums";

impl ClusterSums {
    /// Nothing added yet, for k clusters of d features.
    pub fn new(clusters: usize, features: usize) -> Self {
        ClusterSums { features, counts: vec![0; clusters], sums: vec![Sum::new(); clusters * features], inertia: Sum::new() }
    }

    /// From members and the exactly rounded sum of every feature, cluster by cluster. Errors: `Shape` if they do not fit.
    pub fn from_parts(counts: Vec<i64>, sums: &[f64]) -> Result<Self> {
        let features = sums.len() / counts.len().max(1);
        if features * counts.len() != sums.len() {
            return Err(Error::Shape { what: WHAT, found: sums.len(), wanted: features * counts.len() });
        }
        let exact = |x: &f64| {
            let mut sum = Sum::new();
            sum.add(*x);
            sum
        };
        Ok(ClusterSums { features, counts, sums: sums.iter().map(exact).collect(), inertia: Sum::new() })
    }

    /// Adds a point of d values to `cluster`, at `distance_squared` from its centroid.
    #[inline]
    pub fn add(&mut self, cluster: usize, point: &[f64], distance_squared: f64) {
        self.counts[cluster] += 1;
        self.inertia.add(distance_squared);
        for (sum, &x) in self.sums[cluster * self.features..][..self.features].iter_mut().zip(point) {
            sum.add(x);
        }
    }

    /// Takes a point of d values out of `cluster`, to which it was added.
    fn take(&mut self, cluster: usize, point: &[f64]) {
        self.counts[cluster] -= 1;
        for (sum, &x) in self.sums[cluster * self.features..][..self.features].iter_mut().zip(point) {
            sum.add(-x);
        }
    }

    /// Adds everything that was added to `other`. Errors: `Shape` if k or d differ.
    pub fn merge(&mut self, other: &ClusterSums) -> Result<()> {
        let (found, wanted) = (other.sums.len(), self.sums.len());
        if found != wanted || other.counts.len() != self.counts.len() {
            return Err(Error::Shape { what: WHAT, found, wanted });
        }
        self.inertia.merge(&other.inertia);
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.sums.iter_mut().zip(&other.sums).for_each(|(mine, theirs)| mine.merge(theirs));
        Ok(())
    }

    /// Members of each cluster.
    pub fn counts(&self) -> &[i64] {
        &self.counts
    }

    /// Sum of the squared distances added.
    pub fn inertia(&self) -> f64 {
        self.inertia.value()
    }

    /// Appends the state; equal sums give equal bytes.
    pub fn to_bytes(&self, bytes: &mut Vec<u8>) {
        for length in [self.counts.len(), self.features] {
            bytes.extend_from_slice(&(length as u32).to_le_bytes());
        }
        for count in &self.counts {
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        self.inertia.to_bytes(bytes);
        self.sums.iter().for_each(|sum| sum.to_bytes(bytes));
    }

    /// Reads the state that [`ClusterSums::to_bytes`] wrote. Errors: `Corrupt` if it is not exactly one state.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self> {
        let bytes = &mut bytes;
        let clusters = u32::from_le_bytes(reader::take(bytes, WHAT)?) as usize;
        let features = u32::from_le_bytes(reader::take(bytes, WHAT)?) as usize;
        // Every sum takes at least a byte: a length beyond the bytes is garbage, not a reason to allocate.
        if clusters.saturating_mul(features.saturating_add(8)) > bytes.len() {
            return Err(Error::Corrupt { what: WHAT, detail: "it ends too early" });
        }
        let counts = (0..clusters).map(|_| reader::take_i64(bytes, WHAT)).collect::<Result<_>>()?;
        let inertia = Sum::read(bytes)?;
        let sums = (0..clusters * features).map(|_| Sum::read(bytes)).collect::<Result<_>>()?;
        reader::end(bytes, WHAT)?;
        Ok(ClusterSums { features, counts, sums, inertia })
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let sums: usize = self.sums.iter().chain([&self.inertia]).map(Sum::heap_bytes).sum();
        sums + self.counts.capacity() * size_of::<i64>() + self.sums.capacity() * size_of::<Sum>()
    }

    /// Moves a point to an empty cluster, unless its own would be empty then.
    fn move_to(&mut self, empty: usize, far: &Far) -> bool {
        if self.counts[far.cluster] < 2 {
            return false;
        }
        self.counts[far.cluster] -= 1;
        self.counts[empty] += 1;
        for (feature, &x) in far.point.iter().enumerate() {
            self.sums[far.cluster * self.features + feature].add(-x);
            self.sums[empty * self.features + feature].add(x);
        }
        true
    }
}

/// Moves every centroid to the mean of its members. A cluster without members takes the next of `farthest` and leaves its
/// old cluster without it (the lowest empty number first; a point whose cluster has no other member is passed over), or
/// stays if there is none. For [`Empty::Stays`] give no `farthest`; for [`Empty::Farthest`] the points in descending
/// squared distance, ties by key: k of them always suffice.
///
/// Errors: `Shape` if sums and centroids do not fit, `Feature` if a mean is not finite.
pub fn update(current: &Centroids, mut sums: ClusterSums, farthest: &[Far]) -> Result<Step> {
    let features = current.features();
    let (found, wanted) = (sums.sums.len(), current.values().len());
    if found != wanted || sums.features != features {
        return Err(Error::Shape { what: WHAT, found, wanted });
    }
    let without: Vec<usize> = (0..current.clusters()).filter(|&cluster| sums.counts[cluster] == 0).collect();
    let mut candidates = farthest.iter();
    for &cluster in &without {
        candidates.by_ref().find(|far| sums.move_to(cluster, far));
    }
    let mut values = current.values().to_vec();
    let mut shift = Sum::new();
    for (at, (value, sum)) in values.iter_mut().zip(&sums.sums).enumerate() {
        let n = sums.counts[at / features];
        if n > 0 {
            let mean = exact::mean(sum, n);
            shift.add((mean - *value) * (mean - *value));
            *value = mean;
        }
    }
    let is_still = values.iter().zip(current.values()).all(|(new, old)| new.to_bits() == old.to_bits());
    let empty = without.into_iter().filter(|&cluster| sums.counts[cluster] == 0).collect();
    Ok(Step { centroids: Centroids::new(features, values)?, shift_squared: shift.value(), is_still, empty })
}

impl Options {
    /// Whether to stop after `step`. `mean_variance` is the mean of the features' population variances.
    pub fn is_done(&self, step: &Step, mean_variance: f64) -> bool {
        step.is_still || (self.tolerance > 0.0 && step.shift_squared <= self.tolerance * mean_variance)
    }
}

/// Lloyd's iteration over points in memory, row-major: assign each point to its nearest centroid, move the centroids,
/// until a stop rule holds or the steps run out; then one last assignment. Ties go to the lowest centroid; an empty
/// cluster takes the farthest point, ties to the first.
///
/// Errors: `Shape` if points and centroids do not fit, `Feature` if a value is not finite, `TooFewPoints`, `Parameter`.
///
/// Source: Lloyd 1982; the tolerance is that of scikit-learn.
pub fn lloyd(points: &[f64], initial: &Centroids, options: &Options) -> Result<Fit> {
    let features = initial.features();
    let rows = points.len() / features;
    check(points, initial, options)?;
    let mean_variance = mean_variance(points, features);
    let mut centroids = initial.clone();
    let (mut labels, mut distances) = (vec![0; rows], vec![0.0; rows]);
    let (mut iterations, mut converged) = (0, false);
    while iterations < options.iterations_max && !converged {
        centroids.assign(points, &mut labels, &mut distances)?;
        let sums = sums_of(points, &centroids, &labels, &distances);
        let is_needed = options.empty == Empty::Farthest && sums.counts.contains(&0);
        let far = if is_needed { farthest(points, &centroids, &labels, &distances) } else { Vec::new() };
        let step = update(&centroids, sums, &far)?;
        iterations += 1;
        converged = options.is_done(&step, mean_variance);
        centroids = step.centroids;
    }
    centroids.assign(points, &mut labels, &mut distances)?;
    let inertia = sums_of(points, &centroids, &labels, &distances).inertia();
    Ok(Fit { centroids, labels, inertia, iterations, converged })
}

/// Points in memory, row-major, and the cluster that each is a member of: a step adds what came to a cluster and takes away what left it, which
/// gives the bits of a sum over all members. The same bits for any number of threads.
#[derive(Debug)]
pub struct Members {
    points: Vec<f64>,
    labels: Vec<u32>,
    sums: Option<ClusterSums>,
}

impl Members {
    /// Of points that are members of no cluster yet.
    pub fn new(points: Vec<f64>) -> Self {
        Self { points, labels: vec![], sums: None }
    }

    /// Makes each point a member of its nearest centroid and gives the sums of all clusters, without inertia.
    /// Errors: `Shape` if points and centroids do not fit.
    pub fn assign(&mut self, centroids: &Centroids, threads: usize) -> Result<&ClusterSums> {
        let features = centroids.features();
        let rows = self.points.len() / features;
        let is_first = self.sums.is_none();
        self.labels.resize(rows, 0);
        let moved = |points: &[f64], labels: &mut [u32]| -> Result<ClusterSums> {
            let (mut nearest, mut distances) = (vec![0; labels.len()], vec![0.0; labels.len()]);
            centroids.assign(points, &mut nearest, &mut distances)?;
            let mut moved = ClusterSums::new(centroids.clusters(), features);
            for ((point, label), nearest) in points.chunks_exact(features).zip(labels).zip(nearest) {
                if is_first {
                    moved.add(nearest as usize, point, 0.0);
                } else if *label != nearest {
                    moved.take(*label as usize, point);
                    moved.add(nearest as usize, point, 0.0);
                }
                *label = nearest;
            }
            Ok(moved)
        };
        let each = rows.div_ceil(threads.max(1)).max(1);
        let moved = &moved;
        let parts = std::thread::scope(|scope| {
            let chunks = self.points.chunks(each * features).zip(self.labels.chunks_mut(each));
            let working: Vec<_> = chunks.map(|(points, labels)| scope.spawn(move || moved(points, labels))).collect();
            working.into_iter().map(|w| joined(w.join(), rows)).collect::<Result<Vec<_>>>()
        })?;
        let sums = self.sums.get_or_insert_with(|| ClusterSums::new(centroids.clusters(), features));
        parts.iter().try_for_each(|part| sums.merge(part))?;
        Ok(sums)
    }

    /// Sum of the squared distances of all points to their nearest centroids. Errors: as [`Members::assign`].
    pub fn inertia(&self, centroids: &Centroids, threads: usize) -> Result<f64> {
        let features = centroids.features();
        let rows = self.points.len() / features;
        let far = |points: &[f64]| -> Result<Sum> {
            let n = points.len() / features;
            let (mut labels, mut distances) = (vec![0; n], vec![0.0; n]);
            centroids.assign(points, &mut labels, &mut distances)?;
            let mut sum = Sum::new();
            distances.into_iter().for_each(|d| sum.add(d));
            Ok(sum)
        };
        let (each, far) = (rows.div_ceil(threads.max(1)).max(1), &far);
        let parts = std::thread::scope(|scope| {
            let working: Vec<_> = self.points.chunks(each * features).map(|points| scope.spawn(move || far(points))).collect();
            working.into_iter().map(|w| joined(w.join(), rows)).collect::<Result<Vec<_>>>()
        })?;
        let mut all = Sum::new();
        parts.iter().for_each(|part| all.merge(part));
        Ok(all.value())
    }
}

/// What a thread found.
fn joined<T>(found: std::thread::Result<Result<T>>, wanted: usize) -> Result<T> {
    found.unwrap_or(Err(Error::Shape { what: WHAT, found: 0, wanted }))
}

fn check(points: &[f64], initial: &Centroids, options: &Options) -> Result<()> {
    let features = initial.features();
    let rows = points.len() / features;
    if !points.len().is_multiple_of(features) {
        return Err(Error::Shape { what: "point values", found: points.len(), wanted: rows * features });
    }
    if rows < initial.clusters() {
        return Err(Error::TooFewPoints { clusters: initial.clusters(), points: rows });
    }
    if let Some(at) = points.iter().position(|x| !x.is_finite()) {
        return Err(Error::Feature { point: at / features, feature: at % features, value: points[at] });
    }
    if options.tolerance.is_nan() || options.tolerance < 0.0 {
        let wanted = "it must be 0 or above";
        return Err(Error::Parameter { name: "tolerance", value: options.tolerance, wanted });
    }
    Ok(())
}

/// Mean over the features of their population variances.
fn mean_variance(points: &[f64], features: usize) -> f64 {
    let mut moments = vec![Moments::new(); features];
    for point in points.chunks_exact(features) {
        moments.iter_mut().zip(point).for_each(|(moments, &x)| moments.add(x));
    }
    let mut sum = Sum::new();
    moments.iter().filter_map(Moments::variance_population).for_each(|variance| sum.add(variance));
    sum.value() / features as f64
}

fn sums_of(points: &[f64], centroids: &Centroids, labels: &[u32], distances: &[f64]) -> ClusterSums {
    let mut sums = ClusterSums::new(centroids.clusters(), centroids.features());
    for ((point, &label), &distance) in points.chunks_exact(centroids.features()).zip(labels).zip(distances) {
        sums.add(label as usize, point, distance);
    }
    sums
}

/// The k points farthest from their centroids, the farthest first, ties in the order of the points.
fn farthest(points: &[f64], centroids: &Centroids, labels: &[u32], distances: &[f64]) -> Vec<Far> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|&a, &b| distances[b].total_cmp(&distances[a]));
    let far = |&row: &usize| Far {
        cluster: labels[row] as usize,
        point: points[row * centroids.features()..][..centroids.features()].to_vec(),
    };
    order.iter().take(centroids.clusters()).map(far).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(tolerance: f64, empty: Empty) -> Options {
        Options { iterations_max: 50, tolerance, empty }
    }

    #[test]
    fn two_groups_are_found_and_the_end_is_seen() -> Result<()> {
        let points = [0.0, 1.0, 2.0, 10.0, 11.0, 12.0];
        let fit = lloyd(&points, &Centroids::new(1, vec![0.0, 1.0])?, &options(0.0, Empty::Stays))?;
        assert_eq!(fit.labels, [0, 0, 0, 1, 1, 1]);
        assert_eq!(fit.centroids.values(), [1.0, 11.0]);
        assert_eq!(fit.inertia, 4.0);
        assert!(fit.converged);
        let cut = Options { iterations_max: 1, ..options(0.0, Empty::Stays) };
        let cut = lloyd(&points, &Centroids::new(1, vec![0.0, 1.0])?, &cut)?;
        assert_eq!((cut.iterations, cut.converged), (1, false));
        assert_eq!(cut.centroids.values(), [0.0, 7.2]);
        assert_eq!(cut.labels, [0, 0, 0, 1, 1, 1]);
        Ok(())
    }

    #[test]
    fn neither_threads_nor_the_steps_before_change_a_bit() -> Result<()> {
        let points: Vec<f64> = (0..303u64).map(|i| (i * 7919 % 101) as f64 * 0.37 + 1e9 * (i % 3) as f64).collect();
        for threads in [1, 2, 3, 7, 500] {
            let mut members = Members::new(points.clone());
            let mut centroids = Centroids::new(3, points[..12].to_vec())?;
            let mut moved = 0;
            for step in 0..6 {
                let n = points.len() / 3;
                let (mut labels, mut distances) = (vec![0; n], vec![0.0; n]);
                centroids.assign(&points, &mut labels, &mut distances)?;
                let whole = sums_of(&points, &centroids, &labels, &distances);
                assert_eq!(members.inertia(&centroids, threads)?, whole.inertia());
                let before = members.labels.clone();
                let sums = members.assign(&centroids, threads)?.clone();
                moved += before.iter().zip(&labels).filter(|(a, b)| a != b).count();
                assert_eq!(sums.counts(), whole.counts(), "step {step}");
                let next = update(&centroids, sums, &[])?;
                assert_eq!(next, update(&centroids, whole, &[])?);
                centroids = next.centroids;
            }
            assert!(moved > 0, "nothing ever moved");
        }
        Ok(())
    }

    #[test]
    fn the_order_of_the_points_changes_no_bit() -> Result<()> {
        let point = |i: u64| [(i * 7919 % 101) as f64 * 0.37, (i * 104_729 % 89) as f64 * 1e3, (i % 5) as f64 - 2.0];
        let forward: Vec<f64> = (0..200).flat_map(point).collect();
        let backward: Vec<f64> = (0..200).rev().flat_map(point).collect();
        let initial = Centroids::new(3, forward[..12].to_vec())?;
        let a = lloyd(&forward, &initial, &options(1e-6, Empty::Stays))?;
        let mut b = lloyd(&backward, &initial, &options(1e-6, Empty::Stays))?;
        b.labels.reverse();
        assert_eq!(a, b);
        Ok(())
    }

    #[test]
    fn an_empty_cluster_stays_or_takes_the_farthest_point() -> Result<()> {
        let points = [0.0, 1.0, 2.0, 9.0];
        let initial = Centroids::new(1, vec![0.0, 1.0, 1000.0])?;
        let stays = lloyd(&points, &initial, &options(0.0, Empty::Stays))?;
        assert_eq!(stays.centroids.values()[2], 1000.0);
        assert!(!stays.labels.contains(&2));
        let farthest = lloyd(&points, &initial, &options(0.0, Empty::Farthest))?;
        assert_eq!(farthest.labels, [0, 1, 1, 2]);
        assert_eq!(farthest.centroids.values(), [0.0, 1.5, 9.0]);
        Ok(())
    }

    #[test]
    fn a_lone_point_does_not_leave_its_cluster() -> Result<()> {
        let current = Centroids::new(1, vec![0.0, 5.0, 100.0])?;
        let mut sums = ClusterSums::new(3, 1);
        sums.add(0, &[1.0], 1.0);
        sums.add(0, &[0.5], 0.25);
        sums.add(1, &[9.0], 16.0);
        let far = [Far { cluster: 1, point: vec![9.0] }, Far { cluster: 0, point: vec![1.0] }];
        let step = update(&current, sums, &far)?;
        assert_eq!(step.centroids.values(), [0.5, 9.0, 1.0]);
        assert_eq!(step.shift_squared, 0.25 + 16.0 + 99.0 * 99.0);
        assert!(step.empty.is_empty() && !step.is_still);
        Ok(())
    }

    #[test]
    fn sums_survive_bytes_and_merges() -> Result<()> {
        let (mut whole, mut left, mut right) = (ClusterSums::new(2, 2), ClusterSums::new(2, 2), ClusterSums::new(2, 2));
        for i in 0..100usize {
            let point = [i as f64 * 0.1, 1e10 / (i + 1) as f64];
            whole.add(i % 2, &point, i as f64);
            if i < 37 { &mut left } else { &mut right }.add(i % 2, &point, i as f64);
        }
        right.merge(&left)?;
        let (mut expected, mut merged) = (Vec::new(), Vec::new());
        whole.to_bytes(&mut expected);
        right.to_bytes(&mut merged);
        assert_eq!(expected, merged);
        let read = ClusterSums::from_bytes(&merged)?;
        assert_eq!((read.counts(), read.inertia()), (whole.counts(), whole.inertia()));
        assert!(ClusterSums::from_bytes(&merged[1..]).is_err());
        assert!(ClusterSums::from_bytes(&[255; 40]).is_err());
        assert!(right.merge(&ClusterSums::new(3, 2)).is_err());
        Ok(())
    }

    #[test]
    fn bad_input_is_named() -> Result<()> {
        let initial = Centroids::new(2, vec![0.0; 4])?;
        let run = |points: &[f64], options: Options| lloyd(points, &initial, &options).err();
        let good = options(0.0, Empty::Stays);
        assert!(matches!(run(&[0.0; 3], good), Some(Error::Shape { .. })));
        assert!(matches!(run(&[0.0; 2], good), Some(Error::TooFewPoints { clusters: 2, points: 1 })));
        assert!(matches!(run(&[0.0, 0.0, 1.0, f64::NAN], good), Some(Error::Feature { point: 1, feature: 1, .. })));
        assert!(matches!(run(&[0.0; 4], options(f64::NAN, Empty::Stays)), Some(Error::Parameter { .. })));
        Ok(())
    }
}
