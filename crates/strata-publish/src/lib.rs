//! strata-publish
