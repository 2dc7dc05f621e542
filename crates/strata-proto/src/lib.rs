//! Messages and services generated from `proto/`, committed and checked fresh by the test `codegen`. Never edited by hand under
//! `src/generated`.

/// What a plan carries between processes.
pub mod plan {
    /// Version 1.
    pub mod v1 {
        include!("generated/strata.plan.v1.rs");
    }
}

/// The run API, version 1.
#[cfg(feature = "services")]
#[expect(clippy::allow_attributes, reason = "the generated servers hold `allow` for their types' names")]
pub mod v1 {
    include!("generated/strata.v1.rs");

    /// The files of this package and what they import, encoded; for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/strata.v1.bin");
}

#[cfg(feature = "services")]
pub mod status;
#[cfg(feature = "services")]
pub mod well_known;
