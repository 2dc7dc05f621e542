//! What every store does alike: what may be stored, how runs and leases change, what a page token says. Never touches a database or a clock.

pub(crate) mod input;
pub(crate) mod lease;
pub(crate) mod page;
pub(crate) mod run;
