//! What is known of the inputs when a pipeline is compiled: the pinned files of each source. Never opens one.

use std::collections::{HashMap, HashSet};
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
}
