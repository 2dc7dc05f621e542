//! YAML text → a checked [`Pipeline`], or diagnostics with spans. Never reads a file, never knows Arrow or DataFusion.

pub mod codes;
pub mod diagnostic;
pub mod load;
pub mod pipeline;
pub mod text;

mod advice;
mod check;
mod fields;
mod problems;
mod read;
mod sections;
mod tree;
mod vars;
mod yaml;

pub use codes::explain;
pub use diagnostic::{Code, Diagnostic, Kind, Severity};
pub use load::{Loaded, load};
pub use pipeline::Pipeline;
pub use text::{Located, Name, SourceText, Span, Sql};
