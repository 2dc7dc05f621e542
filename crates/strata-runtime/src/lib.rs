//! What any process needs to execute a plan: the only session constructor, object stores, limits, the codec, and the clock of run bookkeeping.
//! Never knows a pipeline.

pub mod clock;
#[cfg(feature = "cluster")]
pub mod cluster;
mod codec;
pub mod limits;
pub mod secrets;
mod session;
pub mod store;
pub mod sweep;

pub use codec::PhysicalCodec;
pub use limits::Limits;
pub use session::session;
pub use strata_operators::codec::LogicalCodec;
