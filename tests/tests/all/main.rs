//! Whole pipelines on the real engine, compared with an independent answer. Never mocks a part that runs here.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, helpers are part of tests, and a stop watch is theirs"
)]

mod c360;
mod cases;
mod cluster;
mod contracts;
mod damaged;
mod delta;
mod exports;
mod faults;
mod fuzz;
mod hostile;
mod journey;
mod kill;
mod panel;
mod presets;
mod reuse;
mod s3;
mod scale;
mod security;
mod takeover;
mod two_waves;
mod usage;
mod verbs;
