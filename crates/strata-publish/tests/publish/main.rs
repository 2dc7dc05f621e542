//! Tests of publishing through its public API: writes through DataFusion, the pointer protocol under faults. Never needs a network.

mod faults;
mod local;
mod simulation;
mod write;
