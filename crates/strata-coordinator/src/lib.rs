//! The run API with Ballista's scheduler embedded. Never runs a task itself.

pub mod api;
pub mod body;
pub mod hub;
