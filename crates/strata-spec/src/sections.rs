//! One file for each section of a pipeline: tree → model. Never looks at another section; `check` holds them against each other.

pub(crate) mod allocate;
pub(crate) mod attribute;
pub(crate) mod attribute_preset;
pub(crate) mod checks;
pub(crate) mod column;
pub(crate) mod consent;
pub(crate) mod entity;
pub(crate) mod export;
pub(crate) mod identity;
pub(crate) mod kmeans;
pub(crate) mod output;
pub(crate) mod panel;
pub(crate) mod people;
pub(crate) mod preset;
pub(crate) mod profile;
pub(crate) mod rule;
pub(crate) mod segment;
pub(crate) mod source;
pub(crate) mod test;
pub(crate) mod waves;
pub(crate) mod weights;
pub(crate) mod window;
