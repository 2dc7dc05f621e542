//! What can go wrong when a table is published. Every message says what to do next; none carries a row's value.

use thiserror::Error;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Change the pipeline or the configuration.
    Invalid,
    /// Run again: the store did not answer, or it is not known what it did.
    Unavailable,
    /// Run again: somebody else published first.
    Conflict,
    /// Report it: this should not happen.
    Internal,
}

/// An error of publishing.
#[derive(Debug, Error)]
pub enum Error {
    /// The store refused or did not answer.
    #[error("could not {action} `{path}`: {source}; {}", what_next(source))]
    Store {
        /// What was tried, e.g. `read`.
        action: &'static str,
        /// The object.
        path: String,
        /// The store's own error.
        source: object_store::Error,
    },
    /// A conditional write whose outcome cannot be known.
    #[error("it is not known whether `{path}` was written: {source}; run again, which is safe: a run is published once")]
    Unknown {
        /// The object.
        path: String,
        /// The store's own error.
        source: object_store::Error,
    },
    /// The store overwrites where it was told to create.
    #[error(
        "the store does not honour create-if-absent (`{path}` was created twice): two runs could overwrite each other; publish to a \
         store with conditional writes"
    )]
    Unconditional {
        /// The probe object.
        path: String,
    },
    /// Another run published the version this run was going to be.
    #[error(
        "`{table}`: run `{winner}` published version {seq} while run `{run_id}` was working; run again to publish on top of it"
    )]
    Conflict {
        /// Folder of the table.
        table: String,
        /// The version both wanted.
        seq: u64,
        /// The run that has it.
        winner: String,
        /// The run that lost.
        run_id: String,
    },
    /// The run's folder already has a manifest with other rows.
    #[error("`{table}`: run `{run_id}` already has a manifest with {difference}; start a new run: a run's tables never change")]
    RunReused {
        /// Folder of the table.
        table: String,
        /// The run.
        run_id: String,
        /// What differs.
        difference: String,
    },
    /// A file of the manifest is not in the run's folder.
    #[error(
        "`{path}` is in the receipts but {found}; check that every worker writes to the storage that the engine reads, then run again"
    )]
    FileMissing {
        /// The file.
        path: String,
        /// What was found instead.
        found: String,
    },
    /// A name that cannot be a folder or a file.
    #[error("{what} `{name}` cannot stand in a path: use letters, digits, `-`, `.` and `_`, beginning with a letter or digit")]
    Name {
        /// What it names.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An object of the table cannot be read as what it should be.
    #[error("`{path}` is damaged or of a later version of strata: {detail}; upgrade, or restore it from a backup")]
    Damaged {
        /// The object.
        path: String,
        /// What is wrong.
        detail: String,
    },
    /// The folder holds a table of another format.
    #[error(
        "`{table}` was published with another format: it has a `{found}`, and this output writes a `{wanted}`; give the output another \
         folder, or remove the table"
    )]
    OtherLog {
        /// Folder of the table.
        table: String,
        /// Folder of the log that is there.
        found: &'static str,
        /// Folder of the log that is to be written.
        wanted: &'static str,
    },
    /// A Delta table that this version cannot write.
    #[error("the Delta table `{table}` cannot be written: {why}")]
    Unsupported {
        /// Folder of the table.
        table: String,
        /// What is in the way, and what to do.
        why: String,
    },
    /// A column that the table cannot have.
    #[error("the Delta table `{table}` cannot have the column `{column}`: {why}")]
    Column {
        /// Folder of the table.
        table: String,
        /// The column.
        column: String,
        /// What is in the way, and what to do.
        why: String,
    },
    /// Others write the table all the time.
    #[error("`{table}`: others wrote the next version of the table {tries} times before this run could; run again")]
    Busy {
        /// Folder of the table.
        table: String,
        /// How often it was tried.
        tries: usize,
    },
    /// A receipt that no write task makes.
    #[error(
        "a write task returned something that is no receipt: {detail}; all workers must run the same version: please report it"
    )]
    Receipt {
        /// What is wrong.
        detail: String,
    },
}

impl Error {
    /// What to do about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store { source, .. } | Self::Unknown { source, .. } => store_kind(source),
            Self::Unconditional { .. } | Self::Name { .. } => Kind::Invalid,
            Self::OtherLog { .. } | Self::Unsupported { .. } | Self::Column { .. } => Kind::Invalid,
            Self::Conflict { .. } | Self::RunReused { .. } | Self::Busy { .. } => Kind::Conflict,
            Self::FileMissing { .. } => Kind::Unavailable,
            Self::Damaged { .. } | Self::Receipt { .. } => Kind::Internal,
        }
    }

    pub(crate) fn receipt(detail: String) -> Self {
        Self::Receipt { detail }
    }
}

pub(crate) fn store_kind(error: &object_store::Error) -> Kind {
    use object_store::Error as E;
    match error {
        E::InvalidPath { .. } | E::NotSupported { .. } | E::NotImplemented { .. } | E::UnknownConfigurationKey { .. } => {
            Kind::Invalid
        }
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => Kind::Invalid,
        _ => Kind::Unavailable,
    }
}

fn what_next(error: &object_store::Error) -> &'static str {
    use object_store::Error as E;
    match error {
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => "give the connection's credentials the right to do it",
        _ if store_kind(error) == Kind::Invalid => "choose a store and a path that can do it",
        _ => "run again when the store answers",
    }
}
