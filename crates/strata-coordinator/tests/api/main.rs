//! The run API as its callers meet it: a real port, a real client, a real store. Never a cluster: what the leader would do, the tests do.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed; helpers are part of tests")]

mod access;
mod create;
mod http;
mod server;
mod watch;
