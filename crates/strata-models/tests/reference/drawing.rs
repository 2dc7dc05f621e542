//! Inclusion probabilities, draws from permanent random numbers and joint probabilities against R sampling.

use std::collections::BTreeMap;

use strata_models::draw::{
    Ranking, equal_probability, joint_sampford, joint_systematic, order_sample, poisson, proportional_to_size, systematic,
};

use super::{Outcome, is_close, json, numbers, reference, rows};

struct Case {
    case: serde_json::Value,
    probabilities: Vec<f64>,
    expected: Vec<std::collections::HashMap<String, String>>,
}

/// A case and the probabilities proportional to its size measure; none where there are no vectors.
fn case(name: &str) -> Outcome<Option<Case>> {
    let Some(folder) = reference("panel") else {
        return Ok(None);
    };
    let case = json(folder.join(format!("cases/{name}.json")))?;
    let data = rows(folder.join(case["data"].as_str().ok_or("no data")?))?;
    let sizes = numbers(&data, case["params"]["size"].as_str().ok_or("no size")?)?;
    let probabilities = proportional_to_size(&sizes, case["params"]["n"].as_u64().ok_or("no n")?)?;
    let expected = rows(folder.join(format!("expected/{name}.csv")))?;
    Ok(Some(Case { case, probabilities, expected }))
}

#[test]
fn probabilities_proportional_to_size() -> Outcome {
    for name in ["pps_pik_be_n20", "pps_pik_be_n100", "pps_pik_be_n250"] {
        let Some(Case { case, probabilities, expected }) = case(name)? else {
            return Ok(());
        };
        assert_eq!(probabilities.len(), expected.len());
        for (&found, wanted) in probabilities.iter().zip(numbers(&expected, "pik")?) {
            assert!(is_close(&case, found, wanted), "{name} {found} {wanted}");
        }
        let certain = probabilities.iter().filter(|&&p| p == 1.0).count();
        assert_eq!(Some(certain as u64), case["expected"]["certainties"].as_u64(), "{name}");
    }
    Ok(())
}

#[test]
fn probabilities_in_strata() -> Outcome {
    let Some(folder) = reference("panel") else {
        return Ok(());
    };
    let case = json(folder.join("cases/srs_pik_be_strata.json"))?;
    let data = rows(folder.join("data/belgianmunicipalities.csv"))?;
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    data.iter().for_each(|row| *sizes.entry(&row["Province"]).or_default() += 1);
    let expected = numbers(&rows(folder.join("expected/srs_pik_be_strata.csv"))?, "pik")?;
    assert_eq!(expected.len(), data.len());
    for (row, wanted) in data.iter().zip(expected) {
        let sample = case["params"]["nh"][&row["Province"]].as_u64().ok_or("no n_h")?;
        let found = equal_probability(sample, sizes[row["Province"].as_str()])?;
        assert!(is_close(&case, found, wanted), "{found} {wanted}");
    }
    Ok(())
}

#[test]
fn draws() -> Outcome {
    for name in ["pps_sequential_poisson_be", "pps_pareto_be", "pps_poisson_prn_be", "pps_systematic_be"] {
        let Some(Case { case, probabilities, expected }) = case(name)? else {
            return Ok(());
        };
        let mut drawn = match name {
            "pps_systematic_be" => systematic(&probabilities, case["params"]["start_u"].as_f64().ok_or("no start")?)?,
            "pps_poisson_prn_be" => poisson(&numbers(&expected, "prn")?, &probabilities)?,
            "pps_pareto_be" => order_sample(Ranking::Pareto, &numbers(&expected, "prn")?, &probabilities, 100)?,
            _ => order_sample(Ranking::SequentialPoisson, &numbers(&expected, "prn")?, &probabilities, 100)?,
        };
        drawn.sort_unstable();
        let wanted: Vec<usize> = (0..expected.len()).filter(|&row| expected[row]["selected"] == "1").collect();
        assert_eq!(drawn, wanted, "{name}");
        assert_eq!(Some(drawn.len() as u64), case["expected"]["n"].as_u64());
    }
    Ok(())
}

#[test]
fn joint_probabilities() -> Outcome {
    for name in ["pps_sampford_pi2_be9", "pps_systematic_pi2_be9"] {
        let Some(Case { case, probabilities, expected }) = case(name)? else {
            return Ok(());
        };
        // The vector of Sampford's design leaves certainties out.
        let is_sampford = name.starts_with("pps_sampford");
        let probabilities: Vec<f64> = probabilities.into_iter().filter(|&p| !is_sampford || p < 1.0).collect();
        let joint = if is_sampford { joint_sampford(&probabilities)? } else { joint_systematic(&probabilities)? };
        let count = probabilities.len();
        assert_eq!(count, expected.len());
        for (row, (found, wanted)) in joint[..count].iter().zip(numbers(&expected, "first_joint")?).enumerate() {
            assert!(is_close(&case, *found, wanted), "{name} {row}: {found} {wanted}");
        }
        if is_sampford {
            for (row, wanted) in numbers(&expected, "row_sum_joint")?.into_iter().enumerate() {
                let sum: f64 = joint[row * count..(row + 1) * count].iter().sum();
                // The vector's sum leaves the row itself out.
                assert!(is_close(&case, sum - probabilities[row], wanted), "{name} {row}: {sum} {wanted}");
            }
        }
        let norm = joint.iter().map(|joint| joint * joint).sum::<f64>().sqrt();
        let wanted = case["expected"]["frobenius"].as_f64().ok_or("no norm")?;
        assert!(is_close(&case, norm, wanted), "{name}: {norm} {wanted}");
    }
    Ok(())
}
