//! Solves segmentations: a summary of the data in, a few numbers out. Never holds the rows a summary was made of.

use crate::edges;
use crate::error::{Error, Result};
use crate::intervals;
use crate::progress::Event;
use crate::report::ModelReport;
use crate::run::Run;
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use strata_models::exact::Moments;
use strata_models::kmeans::{self, Centroids, ClusterSums, Empty, Far, Members, Scaling};
use strata_models::ntile::{Cut, TileCuts};
use strata_plan::{Boundary, Clusters, Ranking};
use strata_spec::pipeline::{EmptyCluster, Init, KMeans, Method, RfmMode, Scale, Segmentation};

/// Rows of an entity up to which summaries as long as the table are held in memory: 16 bytes a row, three at a time.
const HELD_ROWS_MAX: u64 = 4_000_000;
/// Features up to which k-means is iterated over points in memory instead of by a plan an iteration: 32 MB.
const HELD_FEATURES_MAX: u64 = 4_000_000;

/// Solves one segmentation; gives what to say of it.
pub(crate) async fn segmentation(run: &mut Run<'_>, name: &str) -> Result<String> {
    let Some(segmentation) = run.compiled.pipeline().segmentation(name).cloned() else { return Ok(String::new()) };
    match &segmentation.method {
        Method::KMeans(model) => k_means(run, &segmentation, model).await,
        Method::Lifecycle(lifecycle) => intervals::solve(run, &segmentation, lifecycle).await,
        Method::Rfm(rfm) if *rfm.mode != RfmMode::Ntile => edges::rfm(run, &segmentation, rfm).await,
        _ => rankings(run, &segmentation).await,
    }
}

async fn rankings(run: &mut Run<'_>, segmentation: &Segmentation) -> Result<String> {
    let step = format!("segments {}", segmentation.name.value);
    let rankings = run.planned(&step, run.compiled.rankings(segmentation, &run.solved))?;
    let (ranked, solved) = match run.made_rows(&format!("attributes:{}", segmentation.entity.value)) <= HELD_ROWS_MAX {
        true => cuts_at_once(run, &step, &rankings).await?,
        false => cuts_one_by_one(run, &step, &rankings).await?,
    };
    let bins = rankings.last().map_or(0, |r| r.bins);
    let boundaries = boundaries(run, &step, &rankings, solved).await?;
    run.solved.cuts.extend(boundaries);
    Ok(format!("{ranked} rows in {bins} groups"))
}

/// Where the groups of each ranking end, and how many rows the last one ranks.
type Cuts = (u64, Vec<Vec<Cut<ScalarValue>>>);

/// From summaries (rows by value) that are held in memory.
async fn cuts_at_once(run: &mut Run<'_>, step: &str, rankings: &[Ranking]) -> Result<Cuts> {
    let histograms = run.collect_all(step, rankings.iter().map(|r| r.histogram.clone()).collect()).await?;
    let (mut total, mut out) = (0, vec![]);
    for (ranking, histogram) in rankings.iter().zip(histograms) {
        total = histogram.iter().map(rows_of).sum();
        let mut cuts = TileCuts::new(total, ranking.bins).map_err(|e| solver(step, e))?;
        histogram.iter().try_for_each(|batch| push(&mut cuts, batch))?;
        out.push(cuts.finish().map_err(|e| solver(step, e))?);
    }
    Ok((total, out))
}

/// From summaries that are made twice, because they may be as long as the table.
async fn cuts_one_by_one(run: &mut Run<'_>, step: &str, rankings: &[Ranking]) -> Result<Cuts> {
    let (mut total, mut out) = (0, vec![]);
    for ranking in rankings {
        total = 0;
        run.each(step, ranking.histogram.clone(), &mut |batch| {
            total += rows_of(&batch);
            Ok(())
        })
        .await?;
        let mut cuts = TileCuts::new(total, ranking.bins).map_err(|e| solver(step, e))?;
        run.each(step, ranking.histogram.clone(), &mut |batch| push(&mut cuts, &batch)).await?;
        out.push(cuts.finish().map_err(|e| solver(step, e))?);
    }
    Ok((total, out))
}

pub(crate) fn rows_of(histogram: &RecordBatch) -> u64 {
    histogram.column(1).as_primitive::<Int64Type>().iter().flatten().sum::<i64>() as u64
}

fn push(cuts: &mut TileCuts<ScalarValue>, histogram: &RecordBatch) -> Result<()> {
    for row in 0..histogram.num_rows() {
        cuts.push(&scalar(histogram, 0, row)?, histogram.column(1).as_primitive::<Int64Type>().value(row) as u64);
    }
    Ok(())
}

pub(crate) fn solver(step: &str, e: strata_models::Error) -> Error {
    Error::Internal { step: step.to_owned(), message: e.to_string() }
}

/// The last row of each group: its value, and its key where rows of that value belong to both sides.
async fn boundaries(
    run: &mut Run<'_>,
    step: &str,
    rankings: &[Ranking],
    cuts: Vec<Vec<Cut<ScalarValue>>>,
) -> Result<Vec<(String, Vec<Boundary>)>> {
    let split = |ranking: &Ranking, cuts: &[Cut<ScalarValue>]| {
        let wanted = cuts.iter().filter(|c| !c.is_between_values()).map(|c| (c.value.clone(), c.rows_below));
        ranking.keys_at(wanted.collect())
    };
    let mut plans = vec![];
    for (ranking, cuts) in rankings.iter().zip(&cuts) {
        plans.extend(run.planned(step, split(ranking, cuts))?);
    }
    let mut keys = run.collect_all(step, plans).await?.into_iter();
    let mut out = vec![];
    for (ranking, cuts) in rankings.iter().zip(cuts) {
        let mut ends = vec![];
        for cut in cuts {
            let key = match cut.is_between_values() {
                true => None,
                false => Some(first_scalar(step, &keys.next().unwrap_or_default())?),
            };
            ends.push(Boundary { value: cut.value, key });
        }
        out.push((ranking.name.clone(), ends));
    }
    Ok(out)
}

async fn k_means(run: &mut Run<'_>, segmentation: &Segmentation, model: &KMeans) -> Result<String> {
    let name = segmentation.name.value.clone();
    let step = format!("segments {name}");
    let plans = run.planned(&step, run.compiled.kmeans(segmentation, model, &run.solved))?;
    let rows = run.materialise(&step, &format!("features:{name}"), plans.features.clone()).await?;
    let (scaling, mean_variance) = scaling(run, &step, &name, model, &plans.names, rows).await?;
    let invalid = |e: strata_models::Error| Error::Contract {
        step: step.clone(),
        message: e.to_string(),
        help: "look at the features: fewer clusters, or other expressions".into(),
    };
    let mut centroids = match (&model.init, plans.first) {
        (Init::Centroids(given), _) => Centroids::new(plans.names.len(), given.concat()).map_err(invalid)?,
        (Init::FirstBy(_), Some(first)) => {
            let found = run.collect(&step, first).await?;
            let mut points = points(&found, plans.names.len());
            if points.len() < model.k as usize * plans.names.len() {
                return Err(Error::Contract {
                    step,
                    message: format!("{rows} rows take part, fewer than the {} clusters", model.k),
                    help: "ask for fewer clusters, or widen `where`".into(),
                });
            }
            points.chunks_mut(plans.names.len()).for_each(|p| scaling.apply_all(p));
            Centroids::new(plans.names.len(), points).map_err(invalid)?
        }
        (Init::FirstBy(_), None) => return Err(Error::Internal { step, message: "k-means has nowhere to start".into() }),
    };
    let options = kmeans::Options {
        iterations_max: model.iterations,
        tolerance: model.tolerance,
        empty: match model.empty {
            EmptyCluster::Stays => Empty::Stays,
            EmptyCluster::Farthest => Empty::Farthest,
        },
    };
    let clusters = |c: &Centroids| Clusters {
        means: scaling.means.clone(),
        deviations: scaling.deviations.clone(),
        centroids: c.values().to_vec(),
    };
    let mut held = match rows * plans.names.len() as u64 <= HELD_FEATURES_MAX {
        true => Some(Members::new(scaled_points(run, &step, &name, &scaling).await?)),
        false => None,
    };
    let mut iterations = 0;
    let mut settled = false;
    while iterations < model.iterations && !settled {
        let sums = match held.take() {
            Some(members) => {
                let (members, sums) = off_thread(&step, members, &centroids, |m, c, n| m.assign(c, n).cloned()).await?;
                held = Some(members);
                sums
            }
            None => sums(run, &step, &name, &clusters(&centroids)).await?,
        };
        let empty = sums.counts().iter().filter(|n| **n == 0).count();
        let far = match options.empty == Empty::Farthest && empty > 0 {
            true => farthest(run, &step, segmentation, &clusters(&centroids), model.k as usize).await?,
            false => vec![],
        };
        let next = kmeans::update(&centroids, sums, &far).map_err(invalid)?;
        iterations += 1;
        settled = options.is_done(&next, mean_variance);
        centroids = next.centroids;
    }
    let solved = clusters(&centroids);
    let inertia = match held {
        Some(members) => off_thread(&step, members, &centroids, |m, c, n| m.inertia(c, n)).await?.1,
        None => {
            let plan = run.planned(&step, run.compiled.kmeans_inertia(&name, &solved))?;
            float_of(&run.collect(&step, plan).await?, 0, 0)
        }
    };
    run.solved.clusters.insert(name.clone(), solved);
    run.report.models.push(ModelReport { segmentation: name, rows, iterations, settled, inertia });
    if !settled {
        run.note(format!("{step}: stopped after {iterations} iterations, before its assignments settled"));
    }
    Ok(format!("{rows} rows, k = {}, {iterations} iterations", model.k))
}

/// The scaled features of everybody who takes part, row-major. The order of the rows has no say in any sum.
async fn scaled_points(run: &mut Run<'_>, step: &str, name: &str, scaling: &Scaling) -> Result<Vec<f64>> {
    let d = scaling.means.len();
    let plan = run.planned(step, run.compiled.kmeans_features(name, d))?;
    let found = run.collect(step, plan).await?;
    let mut points = Vec::with_capacity(found.iter().map(RecordBatch::num_rows).sum::<usize>() * d);
    for batch in &found {
        let columns: Vec<&[f64]> = batch.columns().iter().map(|c| &c.as_primitive::<Float64Type>().values()[..]).collect();
        for row in 0..batch.num_rows() {
            points.extend(columns.iter().enumerate().map(|(i, c)| scaling.apply(i, c[row])));
        }
    }
    Ok(points)
}

/// What `work` says of the members and the centroids with so many threads, where it keeps nobody waiting.
async fn off_thread<T: Send + 'static>(
    step: &str,
    mut members: Members,
    centroids: &Centroids,
    work: impl FnOnce(&mut Members, &Centroids, usize) -> strata_models::Result<T> + Send + 'static,
) -> Result<(Members, T)> {
    let centroids = centroids.clone();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let done = tokio::task::spawn_blocking(move || work(&mut members, &centroids, threads).map(|found| (members, found))).await;
    let failed = |message: String| Error::Internal { step: step.to_owned(), message };
    done.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))
}

/// Means and deviations of the features, and the mean variance of the scaled features. Errors: `Contract` if a feature is null somewhere.
async fn scaling(
    run: &mut Run<'_>,
    step: &str,
    name: &str,
    model: &KMeans,
    names: &[String],
    rows: u64,
) -> Result<(Scaling, f64)> {
    let plan = run.planned(step, run.compiled.kmeans_moments(name, names.len()))?;
    let found = run.collect(step, plan).await?;
    let mut moments = vec![];
    for (i, feature) in names.iter().enumerate() {
        let present = integer(&found, 1 + 2 * i, 0);
        if present < rows as i64 {
            return Err(Error::Contract {
                step: step.to_owned(),
                message: format!("the feature `{feature}` is null for {} of {rows} rows", rows as i64 - present),
                help: format!("give it a value, e.g. `{feature}: coalesce(…, 0)`, or leave those rows out with `where`"),
            });
        }
        let bytes = match first_scalar_at(step, &found, 2 + 2 * i)? {
            ScalarValue::Binary(Some(b)) => b,
            _ => vec![],
        };
        moments.push(Moments::from_bytes(&bytes).map_err(|e| Error::Internal { step: step.to_owned(), message: e.to_string() })?);
    }
    match model.scale {
        Scale::None => {
            let variances: f64 = moments.iter().filter_map(Moments::variance_population).sum();
            let d = names.len();
            Ok((Scaling { means: vec![0.0; d], deviations: vec![1.0; d] }, variances / d.max(1) as f64))
        }
        Scale::Standard => {
            let scaling = Scaling::from_moments(&moments).map_err(|e| Error::Contract {
                step: step.to_owned(),
                message: e.to_string(),
                help: "look at the features: every value must be a finite number".into(),
            })?;
            // Each scaled feature has variance 1, or 0 where it does not vary.
            let varying = scaling.deviations.iter().filter(|d| **d > 0.0).count();
            let mean = varying as f64 / names.len().max(1) as f64;
            Ok((scaling, mean))
        }
    }
}

async fn sums(run: &mut Run<'_>, step: &str, name: &str, clusters: &Clusters) -> Result<ClusterSums> {
    let d = clusters.means.len();
    let k = clusters.centroids.len() / d.max(1);
    let plan = run.planned(step, run.compiled.kmeans_sums(name, clusters))?;
    let found = run.collect(step, plan).await?;
    let (mut counts, mut sums) = (vec![0i64; k], vec![0f64; k * d]);
    for batch in &found {
        for row in 0..batch.num_rows() {
            let cluster = integer(std::slice::from_ref(batch), 0, row) as usize;
            counts[cluster] = integer(std::slice::from_ref(batch), 1, row);
            (0..d).for_each(|i| sums[cluster * d + i] = float(batch, 2 + i, row));
        }
    }
    ClusterSums::from_parts(counts, &sums).map_err(|e| Error::Internal { step: step.to_owned(), message: e.to_string() })
}

async fn farthest(run: &mut Run<'_>, step: &str, segmentation: &Segmentation, clusters: &Clusters, n: usize) -> Result<Vec<Far>> {
    let key = run.compiled.pipeline().entity(&segmentation.entity.value).map(|e| e.key.value.clone()).unwrap_or_default();
    let name = &segmentation.name.value;
    let plan = run.planned(step, run.compiled.kmeans_farthest(name, clusters, &key, n))?;
    let found = run.collect(step, plan).await?;
    let d = clusters.means.len();
    let mut out = vec![];
    for batch in &found {
        for row in 0..batch.num_rows() {
            let point = (0..d).map(|i| float(batch, i, row)).collect();
            out.push(Far { cluster: integer(std::slice::from_ref(batch), d, row) as usize, point });
        }
    }
    Ok(out)
}

fn points(batches: &[RecordBatch], d: usize) -> Vec<f64> {
    batches.iter().flat_map(|b| (0..b.num_rows()).flat_map(move |row| (0..d).map(move |i| float(b, i, row)))).collect()
}

impl Run<'_> {
    /// Tells people something and keeps it in the report.
    pub(crate) fn note(&mut self, text: String) {
        self.say(Event::Note(text.clone()));
        self.report.warnings.push(text);
    }
}

/// A value of a batch.
pub(crate) fn scalar(batch: &RecordBatch, column: usize, row: usize) -> Result<ScalarValue> {
    ScalarValue::try_from_array(batch.column(column), row)
        .map_err(|e| Error::Internal { step: "read a summary".into(), message: e.to_string() })
}

fn first_scalar(step: &str, batches: &[RecordBatch]) -> Result<ScalarValue> {
    first_scalar_at(step, batches, 0)
}

fn first_scalar_at(step: &str, batches: &[RecordBatch], column: usize) -> Result<ScalarValue> {
    match batches.iter().find(|b| b.num_rows() > 0) {
        Some(batch) => scalar(batch, column, 0),
        None => Err(Error::Internal { step: step.to_owned(), message: "a summary came back empty".into() }),
    }
}

/// An integer of a summary; 0 where it is null.
pub(crate) fn integer(batches: &[RecordBatch], column: usize, row: usize) -> i64 {
    let Some(batch) = batches.iter().find(|b| b.num_rows() > row) else { return 0 };
    let cast = arrow::compute::cast(batch.column(column), &DataType::Int64);
    cast.map_or(0, |a| a.as_primitive::<Int64Type>().value(row))
}

/// A double of a summary; NaN where it is null.
pub(crate) fn float(batch: &RecordBatch, column: usize, row: usize) -> f64 {
    match arrow::compute::cast(batch.column(column), &DataType::Float64) {
        Ok(a) if a.is_valid(row) => a.as_primitive::<Float64Type>().value(row),
        _ => f64::NAN,
    }
}

fn float_of(batches: &[RecordBatch], column: usize, row: usize) -> f64 {
    batches.iter().find(|b| b.num_rows() > row).map_or(f64::NAN, |b| float(b, column, row))
}
