//! Tests of publishing through its public API: writes through DataFusion, the pointer protocol under faults. Never needs a network.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]

mod faults;
mod local;
mod simulation;
mod write;
