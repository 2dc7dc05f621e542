//! What is known of the inputs when a pipeline is compiled: the pinned files of each source. Never opens one.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use strata_operators::pinned::PinnedTable;

/// What earlier steps of a run have found out: swapped as a whole, never merged.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// As [`Catalog::work`].
    pub work: HashMap<String, PinnedTable>,
    /// As [`Catalog::owned`].
    pub owned: HashSet<(String, String)>,
}

/// Pinned inputs and the tables that earlier steps left in the work area, by name.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Sources.
    pub sources: HashMap<String, PinnedTable>,
    /// Tables of the work area: `attributes:<entity>`, `table:<name>`, `features:<segmentation>`, `sample:<wave>`.
    pub work: HashMap<String, PinnedTable>,
    /// (source, entity key): all rows of the source's duplicate key are known to have one entity key.
    pub owned: HashSet<(String, String)>,
    /// What pinning said of columns that are not as declared and are let pass: kept with the pins, so that every attempt says it.
    pub drift: Vec<String>,
    /// Cuts that were published, by `<segmentation>@<name>`.
    pub kept: BTreeMap<String, KeptCuts>,
    /// Digest of the published counts of earlier waves that those of this run are held against; empty where there are none.
    pub held_against: String,
}

/// Edges of a frozen RFM as they were solved once; published with the outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptCuts {
    /// The expressions of recency, frequency and money that were cut.
    pub of: [String; 3],
    /// Groups a score.
    pub bins: u32,
    /// Of recency, rising.
    #[serde(with = "exact")]
    pub r: Vec<f64>,
    /// Of frequency.
    #[serde(with = "exact")]
    pub f: Vec<f64>,
    /// Of money.
    #[serde(with = "exact")]
    pub m: Vec<f64>,
}

/// Numbers as the shortest text that gives the same bits: readers of JSON round its numbers.
mod exact {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(numbers: &[f64], to: S) -> Result<S::Ok, S::Error> {
        numbers.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|t| t.parse().map_err(|_| D::Error::custom(format!("`{t}` is not a number")))).collect()
    }
}
