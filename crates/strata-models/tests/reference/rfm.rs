//! Equal-group RFM scores against DuckDB.

use std::collections::BTreeMap;

use strata_models::ntile::{TileCuts, tile_of};

use super::{Outcome, integers, parquet, reference, rows};

/// 2017-12-31 in days since 1970.
const LAST_DAY: i64 = 17_531;

/// Scores of (value, key) as two passes would give them: counts of the distinct values, cuts, keys at the cuts, scores.
fn scores(values: &[(i64, i64)]) -> Outcome<Vec<u32>> {
    let mut keys_of: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for &(value, key) in values {
        keys_of.entry(value).or_default().push(key);
    }
    keys_of.values_mut().for_each(|keys| keys.sort_unstable());
    let mut cuts = TileCuts::new(values.len() as u64, 5)?;
    for (value, keys) in &keys_of {
        cuts.push(value, keys.len() as u64);
    }
    let cuts: Vec<(i64, i64)> =
        cuts.finish()?.iter().map(|cut| (cut.value, keys_of[&cut.value][cut.rows_below as usize - 1])).collect();
    Ok(values.iter().map(|row| tile_of(&cuts, |cut| row > cut)).collect())
}

#[test]
fn ntile_scores() -> Outcome {
    let Some(folder) = reference("segmentation/rfm_complete_journey") else {
        return Ok(());
    };
    let orders = parquet(folder.join("orders.parquet"))?;
    let per_day = match orders.schema().field_with_name("ts")?.data_type() {
        arrow::datatypes::DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, _) => 86_400_000,
        arrow::datatypes::DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _) => 86_400_000_000,
        other => return Err(format!("ts is {other}").into()),
    };
    let times = integers(&orders, "ts")?;
    let amounts = super::floats(&orders, "amount")?;
    // Recency in days, orders, spend in millionths.
    let mut customers: BTreeMap<i64, (i64, i64, i64)> = BTreeMap::new();
    for ((id, ts), amount) in integers(&orders, "customer_id")?.into_iter().zip(times).zip(amounts) {
        let customer = customers.entry(id).or_insert((i64::MAX, 0, 0));
        customer.0 = customer.0.min(LAST_DAY - ts.div_euclid(per_day));
        customer.1 += 1;
        customer.2 += (amount * 1e6).round() as i64;
    }
    let expected = rows(folder.join("expected_quintile_scores.csv"))?;
    assert_eq!(expected.len(), customers.len());
    let scored = |value: fn(&(i64, i64, i64)) -> i64| {
        scores(&customers.iter().map(|(&id, customer)| (value(customer), id)).collect::<Vec<_>>())
    };
    let (r, f, m) = (scored(|c| c.0)?, scored(|c| c.1)?, scored(|c| c.2)?);
    for (i, ((id, customer), row)) in customers.iter().zip(&expected).enumerate() {
        assert_eq!(id.to_string(), row["customer_id"]);
        assert_eq!((customer.0.to_string(), customer.1.to_string()), (row["r_days"].clone(), row["f_orders"].clone()));
        assert!((customer.2 as f64 / 1e6 - row["m_total"].parse::<f64>()?).abs() < 1e-6);
        let found = [6 - r[i], f[i], m[i]].map(|score| score.to_string());
        assert_eq!(found, ["ntile_r", "ntile_f", "ntile_m"].map(|name| row[name].clone()), "customer {id}");
    }
    Ok(())
}
