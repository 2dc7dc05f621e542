//! Why an estimate has no standard error. Never a zero in its place.

use crate::Kind;

/// Why an estimate was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A stratum of one unit.
    #[error(
        "stratum {stratum} has one unit, so its variance is not known; merge strata, or set `singleton: certain` or `centre`"
    )]
    Singleton {
        /// The stratum.
        stratum: u32,
    },
    /// A population smaller than its sample.
    #[error("stratum {stratum} has {units} units in the sample but {population} in the population; correct the population")]
    Population {
        /// The stratum.
        stratum: usize,
        /// Units drawn.
        units: u64,
        /// Units there are.
        population: f64,
    },
    /// A cluster in two strata.
    #[error("cluster {cluster} is in the strata {first} and {second}; number clusters so that no two strata share one")]
    Cluster {
        /// The cluster.
        cluster: u32,
        /// A stratum.
        first: u32,
        /// Another.
        second: u32,
    },
    /// A part that nobody belongs to.
    #[error("nobody in wave {wave} belongs to segment {segment}, so its mean is not known; leave it out of the comparison")]
    Empty {
        /// The segment.
        segment: u32,
        /// The wave, 1 or 2.
        wave: u8,
    },
}

impl Error {
    /// Who has to act.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Cluster { .. } => Kind::Internal,
            _ => Kind::Contract,
        }
    }
}
