//! Whole pipelines on the real engine, compared with an independent answer. Never mocks a part that runs here.

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
