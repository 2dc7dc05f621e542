//! Publishing: workers write files and return receipts; a committer makes them a table. It never decides what is published or when:
//! that is the engine's.

pub mod codec;
pub mod content;
mod csv;
mod delta;
pub mod error;
mod file;
mod folder;
mod jsonl;
mod pointer;
pub mod published;
pub mod receipt;
mod stats;
pub mod stored;
pub mod table;
pub mod unfinished;
mod upload;
pub mod write_exec;
mod xlsx;
mod zipped;

pub use codec::{decode_write, encode_write};
pub use content::{CONTENT_DEFINITION, ContentHash};
pub use error::{Error, Kind};
pub use published::{Base, Log, PublishedTable};
pub use receipt::{ColumnStats, Receipt};
pub use stored::stored_schema;
pub use table::{Column, Manifest, Mixed, Version, mixed_set};
pub use unfinished::{remove_unfinished, unfinished};
pub use write_exec::{WriteExec, WritePlanner};
