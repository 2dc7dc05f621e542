//! Whole pipelines on the real engine, compared with an independent answer. Never mocks a part that runs here.

mod c360;
mod cases;
mod cluster;
mod journey;
mod kill;
mod s3;
mod security;
mod usage;
