//! YAML text → a checked [`Pipeline`], or diagnostics with spans. Never reads a file, never knows Arrow or DataFusion.

pub mod codes;
pub mod diagnostic;
pub mod formats;
pub mod load;
pub mod pipeline;
pub mod presets;
pub mod text;

mod advice;
mod check;
mod expand;
mod fields;
mod fmt;
mod hints;
mod language;
mod lost;
mod places;
mod problems;
mod read;
mod recover;
mod schema;
mod sections;
mod similar;
mod tree;
mod vars;
mod what_if;
mod yaml;

pub use codes::explain;
pub use diagnostic::{Code, Diagnostic, Kind, Severity};
pub use expand::panel::{is_published_wave, reserving, was};
pub use expand::stages::{PUBLISHED_AS_OF, published_stages, stage_helpers};
pub use fmt::fmt;
pub use hints::hints;
pub use load::{Loaded, instant, load, load_within};
pub use lost::Lost;
pub use pipeline::Pipeline;
pub use presets::{Preset, presets};
pub use problems::Reach;
pub use schema::{MODELINE, schema};
pub use text::{Located, Name, SourceText, Span, Sql};
pub use what_if::what_if;
