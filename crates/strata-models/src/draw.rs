//! Who is drawn, from permanent random numbers: inclusion probabilities, the draw itself, and the parts a draw is released
//! in. Everything is a function of the numbers given: it never makes a random number, and a person added or removed
//! changes only who stands at an edge.
//!
//! Arrays hold one entry a person, in the order of their keys: ties go to the earlier.

mod error;
mod inclusion;
mod joint;
mod release;
mod response;
mod sampford;
mod select;

pub use error::Error;
pub use inclusion::{equal_probability, proportional_to_size};
pub use joint::{joint_sampford, joint_srs, joint_systematic};
pub use release::{Part, parts, probability_released, replicates};
pub use response::{Response, invites, response_rate};
pub use sampford::sampford;
pub use select::{PoissonSize, Ranking, order_sample, poisson, poisson_size, rank, srs, systematic};
