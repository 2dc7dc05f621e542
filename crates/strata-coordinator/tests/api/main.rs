//! The run API as its callers meet it: a real port, a real client, a real store. Never a cluster: what the leader would do, the tests do.

mod access;
mod create;
mod http;
mod server;
mod watch;
