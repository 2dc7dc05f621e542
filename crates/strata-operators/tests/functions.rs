//! Our functions through SQL, against hand-computed values and naive oracles. Never checks an approximate value where an exact one is promised.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests build their own sessions, and a test that cannot go on fails"
)]

mod functions {
    mod aggregates;
    mod cells;
    mod oracles;
    mod scalars;
    mod session;
    mod wire;
}
