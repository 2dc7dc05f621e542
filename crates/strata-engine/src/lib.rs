//! Runs a pipeline: pins its inputs, executes its steps on a [`Runner`], solves its models, commits its outputs, reports. Never writes a
//! table's rows itself: workers do, and return receipts.

mod checks;
pub mod contract;
mod damage;
pub mod doctor;
mod edges;
pub mod error;
pub mod files;
mod foresee;
mod guard;
mod identity;
pub mod journal;
pub mod load;
pub mod meter;
mod moves;
mod outputs;
mod panel;
mod pin;
pub mod progress;
mod publish;
mod quarantine;
pub mod report;
mod resume;
pub mod returned;
mod rows;
mod run;
pub mod runner;
mod solve;
mod solved_wire;
mod steps;
mod trial;
pub mod unit_test;

pub use error::Error;
pub use foresee::{Foreseen, foresee};
pub use journal::{Finished, Journal};
pub use load::{Loaded, load};
pub use meter::{Meter, Reading, Tasks};
pub use moves::{SegmentMoves, moves};
pub use outputs::{OutputState, keep, outputs};
pub use progress::{Event, Progress};
pub use report::RunReport;
pub use run::{RunOptions, run};
pub use runner::{InProcessRunner, Runner, Running};
pub use steps::{PlannedStep, planned_steps};
pub use trial::Trial;
