//! The overlap of waves against svy.

use std::collections::BTreeMap;

use strata_models::waves::overlap;

use super::{Outcome, json, reference, rows};

#[test]
fn overlaps() -> Outcome {
    let Some(folder) = reference("panel") else {
        return Ok(());
    };
    let case = json(folder.join("cases/wave_overlap.json"))?;
    let data = rows(folder.join("data/panel_waves.csv"))?;
    assert_eq!(Some(data.len() as u64), case["expected"]["rows"].as_u64());
    let mut waves: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for row in &data {
        waves.entry(row["wave"].parse()?).or_default().push(&row["case_id"]);
    }
    waves.values_mut().for_each(|keys| keys.sort_unstable());
    let pairs = case["expected"]["pairs"].as_array().ok_or("no pairs")?;
    assert_eq!(pairs.len(), 3);
    for pair in pairs {
        let number = |key: &str| pair[key].as_u64().ok_or_else(|| format!("no {key}"));
        let found = overlap(&waves[&number("prev")?], &waves[&number("wave")?])?;
        assert_eq!((found.common, found.lost, found.new), (number("common")?, number("lost")?, number("new")?));
    }
    Ok(())
}
