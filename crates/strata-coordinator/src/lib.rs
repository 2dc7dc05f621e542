//! The run API with Ballista's scheduler embedded. Never runs a task itself.

mod ages;
pub mod api;
pub mod body;
pub mod cluster;
mod distribute;
mod failure;
pub mod hub;
mod leader;
mod ledger;
mod runner;
pub mod serve;
mod slots;
mod small;

pub use api::{Auth, AuthError};
pub use runner::ClusterRunner;
