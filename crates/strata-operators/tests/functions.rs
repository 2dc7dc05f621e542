//! Our functions through SQL, against hand-computed values and naive oracles. Never checks an approximate value where an exact one is promised.
#![expect(clippy::disallowed_methods, reason = "tests build their own sessions")]

mod functions {
    mod aggregates;
    mod scalars;
    mod session;
    mod wire;
}
