//! Solved models as JSON, exactly: numbers as their bits, values of columns as the engine's own messages. Never rounds.

use crate::error::Result;
use crate::journal::damaged;
use datafusion::common::ScalarValue;
use datafusion_proto::protobuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use strata_plan::{Allocation, Boundary, Clusters, Factors, Intervals, Solved};

/// Names that are solved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    cuts: BTreeSet<String>,
    clusters: BTreeSet<String>,
    intervals: BTreeSet<String>,
    allocations: BTreeSet<String>,
    factors: BTreeSet<String>,
}

impl Names {
    pub(crate) fn of(solved: &Solved) -> Self {
        Self {
            cuts: solved.cuts.keys().cloned().collect(),
            clusters: solved.clusters.keys().cloned().collect(),
            intervals: solved.intervals.keys().cloned().collect(),
            allocations: solved.allocations.keys().cloned().collect(),
            factors: solved.factors.keys().cloned().collect(),
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Wire {
    cuts: BTreeMap<String, Vec<(String, Option<String>)>>,
    clusters: BTreeMap<String, [Vec<String>; 3]>,
    intervals: BTreeMap<String, (Option<String>, Vec<(String, String)>, [String; 2])>,
    allocations: BTreeMap<String, Vec<(Vec<String>, [u64; 4], [String; 2])>>,
    factors: BTreeMap<String, Vec<(Vec<String>, String)>>,
}

/// What is in `solved` and not in `before`.
pub(crate) fn added(solved: &Solved, before: &Names) -> Result<Value> {
    let mut wire = Wire::default();
    for (name, cuts) in solved.cuts.iter().filter(|(n, _)| !before.cuts.contains(*n)) {
        let cuts = cuts.iter().map(|b| Ok((scalar_text(&b.value)?, b.key.as_ref().map(scalar_text).transpose()?)));
        wire.cuts.insert(name.clone(), cuts.collect::<Result<_>>()?);
    }
    for (name, c) in solved.clusters.iter().filter(|(n, _)| !before.clusters.contains(*n)) {
        wire.clusters.insert(name.clone(), [bits(&c.means), bits(&c.deviations), bits(&c.centroids)]);
    }
    for (name, i) in solved.intervals.iter().filter(|(n, _)| !before.intervals.contains(*n)) {
        let cohorts = i.cohorts.iter().map(|(cohort, mean)| (cohort.clone(), bit(*mean)));
        wire.intervals.insert(name.clone(), (i.everybody.map(bit), cohorts.collect(), [bit(i.slipping), bit(i.lapsed)]));
    }
    for (name, all) in solved.allocations.iter().filter(|(n, _)| !before.allocations.contains(*n)) {
        let all = all.iter().map(|a| {
            let counts = [a.eligible, a.drawn, a.reserve, a.wanted];
            Ok((scalar_texts(&a.stratum)?, counts, [bit(a.scale), bit(a.certain_from)]))
        });
        wire.allocations.insert(name.clone(), all.collect::<Result<_>>()?);
    }
    for (name, all) in solved.factors.iter().filter(|(n, _)| !before.factors.contains(*n)) {
        let all = all.iter().map(|f| Ok((scalar_texts(&f.cell)?, bit(f.factor))));
        wire.factors.insert(name.clone(), all.collect::<Result<_>>()?);
    }
    serde_json::to_value(wire).map_err(|e| damaged(&e.to_string()))
}

/// Puts back what [`added`] gave.
pub(crate) fn restore(value: &Value, solved: &mut Solved) -> Result<()> {
    let wire: Wire = serde_json::from_value(value.clone()).map_err(|e| damaged(&e.to_string()))?;
    for (name, cuts) in wire.cuts {
        let cuts = cuts.iter().map(|(v, k)| Ok(Boundary { value: scalar_of(v)?, key: k.as_deref().map(scalar_of).transpose()? }));
        solved.cuts.insert(name, cuts.collect::<Result<_>>()?);
    }
    for (name, [means, deviations, centroids]) in wire.clusters {
        let clusters = Clusters { means: floats(&means)?, deviations: floats(&deviations)?, centroids: floats(&centroids)? };
        solved.clusters.insert(name, clusters);
    }
    for (name, (everybody, cohorts, [slipping, lapsed])) in wire.intervals {
        let cohorts = cohorts.into_iter().map(|(cohort, mean)| Ok((cohort, float(&mean)?))).collect::<Result<_>>()?;
        let everybody = everybody.as_deref().map(float).transpose()?;
        solved.intervals.insert(name, Intervals { everybody, cohorts, slipping: float(&slipping)?, lapsed: float(&lapsed)? });
    }
    for (name, all) in wire.allocations {
        let all = all.iter().map(|(s, [eligible, drawn, reserve, wanted], [scale, certain_from])| {
            Ok(Allocation {
                stratum: scalars_of(s)?,
                eligible: *eligible,
                drawn: *drawn,
                reserve: *reserve,
                wanted: *wanted,
                scale: float(scale)?,
                certain_from: float(certain_from)?,
            })
        });
        solved.allocations.insert(name, all.collect::<Result<_>>()?);
    }
    for (name, all) in wire.factors {
        let all = all.iter().map(|(c, f)| Ok(Factors { cell: scalars_of(c)?, factor: float(f)? }));
        solved.factors.insert(name, all.collect::<Result<_>>()?);
    }
    Ok(())
}

fn scalar_text(value: &ScalarValue) -> Result<String> {
    let message = protobuf::ScalarValue::try_from(value).map_err(|e| damaged(&e.to_string()))?;
    Ok(hex(&prost::Message::encode_to_vec(&message)))
}

fn scalar_texts(values: &[ScalarValue]) -> Result<Vec<String>> {
    values.iter().map(scalar_text).collect()
}

fn scalar_of(text: &str) -> Result<ScalarValue> {
    let bytes = unhex(text).ok_or_else(|| damaged("not hexadecimal"))?;
    let message: protobuf::ScalarValue = prost::Message::decode(bytes.as_slice()).map_err(|e| damaged(&e.to_string()))?;
    ScalarValue::try_from(&message).map_err(|e| damaged(&e.to_string()))
}

fn scalars_of(texts: &[String]) -> Result<Vec<ScalarValue>> {
    texts.iter().map(|t| scalar_of(t)).collect()
}

fn bit(value: f64) -> String {
    format!("{:016x}", value.to_bits())
}

fn bits(values: &[f64]) -> Vec<String> {
    values.iter().map(|v| bit(*v)).collect()
}

fn float(text: &str) -> Result<f64> {
    u64::from_str_radix(text, 16).map(f64::from_bits).map_err(|e| damaged(&e.to_string()))
}

fn floats(texts: &[String]) -> Result<Vec<f64>> {
    texts.iter().map(|t| float(t)).collect()
}

/// Bytes as hexadecimal text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// What [`hex`] was given.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    (text.len().is_multiple_of(2) && text.is_ascii())
        .then(|| (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_solved_comes_back_bit_for_bit() {
        let mut solved = Solved::default();
        let text = |t: &str| ScalarValue::Utf8(Some(t.into()));
        let cut = Boundary { value: ScalarValue::Decimal128(Some(12345), 38, 2), key: Some(text("C-1")) };
        solved.cuts.insert("rfm.r".into(), vec![cut, Boundary { value: ScalarValue::Float64(Some(0.1 + 0.2)), key: None }]);
        let odd = vec![0.1 + 0.2, f64::MIN_POSITIVE, -0.0, 1e300, f64::NAN];
        solved.clusters.insert("k".into(), Clusters { means: odd.clone(), deviations: odd.clone(), centroids: odd });
        let stratum = vec![ScalarValue::Utf8(None), ScalarValue::Int64(Some(-7)), ScalarValue::Boolean(Some(true))];
        solved.allocations.insert(
            "w".into(),
            vec![Allocation {
                stratum: stratum.clone(),
                eligible: 9,
                drawn: 3,
                reserve: 1,
                wanted: 2,
                scale: 0.1,
                certain_from: f64::INFINITY,
            }],
        );
        let means =
            Intervals { everybody: Some(0.1 + 0.2), cohorts: vec![("a \" b".into(), 1.0 / 3.0)], slipping: 1.7, lapsed: 0.3 };
        solved.intervals.insert("l".into(), means);
        solved.intervals.insert("nobody".into(), Intervals::default());
        solved.factors.insert("w".into(), vec![Factors { cell: stratum, factor: 1.0 / 3.0 }]);
        let value = added(&solved, &Names::default()).unwrap();
        let mut back = Solved::default();
        restore(&serde_json::from_str(&value.to_string()).unwrap(), &mut back).unwrap();
        assert_eq!(format!("{:?}", back.cuts), format!("{:?}", solved.cuts));
        assert_eq!(back.allocations, solved.allocations);
        assert_eq!(back.factors, solved.factors);
        assert_eq!(back.intervals, solved.intervals);
        let bits_of =
            |c: &Clusters| c.means.iter().chain(&c.deviations).chain(&c.centroids).map(|f| f.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits_of(&back.clusters["k"]), bits_of(&solved.clusters["k"]));
        assert_eq!(added(&solved, &Names::of(&solved)).unwrap(), serde_json::to_value(Wire::default()).unwrap());
    }

    #[test]
    fn hexadecimal_text_that_is_cut_short_is_refused() {
        assert_eq!(unhex("0aff"), Some(vec![10, 255]));
        assert_eq!(unhex("0af"), None);
        assert_eq!(unhex("zz"), None);
        assert_eq!(unhex("é"), None);
    }
}
