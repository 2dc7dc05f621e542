//! The arithmetic of waves: rotation groups, who is in both of two waves, what is lost and why, what is to be topped up. It
//! never draws anybody.

mod attrition;
mod overlap;
mod rotation;

pub use attrition::{Attrition, Lost, TopUp, attrition, retained_after, top_up};
pub use overlap::{Overlap, overlap, overlap_of};
pub use rotation::{Rotation, rotation_group};
