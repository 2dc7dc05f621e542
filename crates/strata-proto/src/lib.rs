//! Messages and services generated from `proto/`, committed and checked fresh by the test `codegen`. Never edited by hand under
//! `src/generated`.

/// What a plan carries between processes.
pub mod plan {
    /// Version 1.
    pub mod v1 {
        include!("generated/strata.plan.v1.rs");
    }
}
