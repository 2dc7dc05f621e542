//! Scaling and Lloyd's iteration against scikit-learn.

use serde_json::Value;
use strata_models::exact::Moments;
use strata_models::kmeans::{Centroids, Empty, Options, Scaling, lloyd};

use super::{Outcome, floats, integers, json, parquet, reference, rows};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

fn names(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Winsorised at the given percentiles, log1p where said, then scaled by this crate.
#[test]
fn standard_scaling() -> Outcome {
    let Some(folder) = reference("segmentation/kmeans_complete_journey") else {
        return Ok(());
    };
    let prep = json(folder.join("expected_prep.json"))?;
    let (raw, scaled) = (parquet(folder.join("raw_features.parquet"))?, parquet(folder.join("scaled.parquet"))?);
    let columns = names(&prep["columns"]);
    let (low, high, logs) = (numbers(&prep["p01"]), numbers(&prep["p99"]), names(&prep["log1p"]));
    assert_eq!(columns.len(), 11);
    let mut moments = vec![Moments::new(); columns.len()];
    let mut prepared = Vec::new();
    for (feature, name) in columns.iter().enumerate() {
        let is_log = logs.contains(name);
        let values = floats(&raw, name)?.into_iter().map(|x| x.clamp(low[feature], high[feature]));
        let values: Vec<f64> = values.map(|x| if is_log { x.ln_1p() } else { x }).collect();
        values.iter().for_each(|&x| moments[feature].add(x));
        prepared.push(values);
    }
    let scaling = Scaling::from_moments(&moments)?;
    for (feature, name) in columns.iter().enumerate() {
        let (mean, deviation) = (numbers(&prep["mean"])[feature], numbers(&prep["std_population"])[feature]);
        assert!((scaling.means[feature] - mean).abs() < 1e-9, "{name}");
        assert!((scaling.deviations[feature] - deviation).abs() < 1e-9, "{name}");
        for (&x, wanted) in prepared[feature].iter().zip(floats(&scaled, name)?) {
            assert!((scaling.apply(feature, x) - wanted).abs() < 1e-9, "{name}: {x}");
        }
    }
    Ok(())
}

#[test]
fn lloyd_from_given_rows() -> Outcome {
    let Some(folder) = reference("segmentation/kmeans_complete_journey") else {
        return Ok(());
    };
    let columns = names(&json(folder.join("expected_prep.json"))?["columns"]);
    let (scaled, labels) = (parquet(folder.join("scaled.parquet"))?, parquet(folder.join("expected_labels.parquet"))?);
    let metrics = json(folder.join("expected_metrics.json"))?;
    let initial = rows(folder.join("initial_centroids.csv"))?;
    let ids = integers(&scaled, "customer_id")?;
    assert_eq!(ids, integers(&labels, "customer_id")?);
    let features = columns.iter().map(|name| floats(&scaled, name)).collect::<Outcome<Vec<_>>>()?;
    let points: Vec<f64> = (0..ids.len()).flat_map(|row| features.iter().map(move |column| column[row])).collect();
    for k in [3, 4, 5, 6, 8] {
        let first = initial.iter().filter(|row| row["k"] == k.to_string());
        let mut centroids = Vec::new();
        for row in first {
            let id: i64 = row["customer_id"].parse()?;
            let at = ids.iter().position(|&other| other == id).ok_or("an unknown customer")?;
            centroids.extend_from_slice(&points[at * columns.len()..][..columns.len()]);
        }
        let centroids = Centroids::new(columns.len(), centroids)?;
        assert_eq!(centroids.clusters(), k);
        let fit = lloyd(&points, &centroids, &Options { iterations_max: 1000, tolerance: 0.0, empty: Empty::Farthest })?;
        let wanted = integers(&labels, &format!("k{k}"))?;
        let differing = fit.labels.iter().zip(wanted).filter(|&(&label, wanted)| i64::from(label) != wanted).count();
        assert_eq!(differing, 0, "k = {k}");
        let wanted = &metrics[k.to_string()];
        let inertia = wanted["inertia"].as_f64().ok_or("no inertia")?;
        assert!((fit.inertia - inertia).abs() <= 1e-8 * inertia, "k = {k}: {} {inertia}", fit.inertia);
        for (cluster, centre) in wanted["centers"].as_array().into_iter().flatten().enumerate() {
            for (found, wanted) in fit.centroids.centroid(cluster).iter().zip(numbers(centre)) {
                assert!((found - wanted).abs() < 1e-6);
            }
        }
        assert!(fit.converged);
        assert_eq!(Some(u64::from(fit.iterations)), wanted["iterations"].as_u64(), "k = {k}");
    }
    Ok(())
}
