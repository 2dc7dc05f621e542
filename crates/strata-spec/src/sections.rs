//! One file for each section of a pipeline: tree → model. Never looks at another section; `check` holds them against each other.

pub(crate) mod attribute;
pub(crate) mod column;
pub(crate) mod entity;
pub(crate) mod kmeans;
pub(crate) mod output;
pub(crate) mod panel;
pub(crate) mod preset;
pub(crate) mod profile;
pub(crate) mod rule;
pub(crate) mod segment;
pub(crate) mod source;
pub(crate) mod weights;
pub(crate) mod window;
