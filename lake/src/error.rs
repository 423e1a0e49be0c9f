//! What can go wrong with a lake.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::checkpoint::StaleDelta;
use crate::column::ColumnType;
use crate::commit::FormatError;
use crate::layout::Partition;
use crate::store::StoreError;
use crate::table::{Partitioning, Table};

/// What can go wrong with a lake. [`help`](Self::help) says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The place holds nothing.
    #[error("there is no lake at `{root}`")]
    NoLake {
        /// The place.
        root: String,
    },
    /// The place holds something else.
    #[error("`{root}` is not a lake: it has no `_flowaudit/lake.json`, and it is not empty")]
    Foreign {
        /// The place.
        root: String,
    },
    /// The root is a file.
    #[error("`{root}` is a file, a lake is a directory", root = root.display())]
    RootIsFile {
        /// The path.
        root: PathBuf,
    },
    /// One of our own files is not what we write.
    #[error("cannot use `{key}`")]
    Format {
        /// The key of the file.
        key: String,
        /// What is wrong with it.
        #[source]
        cause: FormatError,
    },
    /// The log has a hole.
    #[error("commit record `{key}` is missing, though later ones exist")]
    HoleInLog {
        /// The key of the missing record.
        key: String,
    },
    /// A record does not follow from those before it.
    #[error("commit record `{key}` contradicts those before it: {reason}")]
    Inconsistent {
        /// The key of the record.
        key: String,
        /// What contradicts.
        reason: String,
    },
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),

    /// Another writer published what this batch contradicts. Nothing was changed.
    #[error("cannot publish batch `{batch}`")]
    Refused {
        /// The batch.
        batch: String,
        /// What contradicts.
        #[source]
        cause: Conflict,
    },
    /// Whether the record was created is not known; the next open settles it.
    #[error("publishing batch `{batch}` was interrupted")]
    Interrupted {
        /// The batch.
        batch: String,
        /// What failed.
        #[source]
        cause: StoreError,
    },
    /// An earlier write of the batch failed, so it cannot be published.
    #[error("batch `{batch}` is incomplete: an earlier write failed")]
    Incomplete {
        /// The batch.
        batch: String,
    },

    /// A table that does not exist.
    #[error("there is no table `{name}`")]
    UnknownTable {
        /// The name.
        name: String,
    },
    /// A column that the table does not have.
    #[error("table {table} has no column `{column}`")]
    UnknownColumn {
        /// The table.
        table: Table,
        /// The column.
        column: String,
    },
    /// A column is absent or has another type.
    #[error("column `{column}` of {table} is absent or not {}", expected.sql())]
    ColumnMismatch {
        /// The table.
        table: Table,
        /// The column.
        column: String,
        /// The type it should have.
        expected: ColumnType,
    },
    /// A column that is never null holds one.
    #[error("column `{column}` of {table} holds a null, which has no meaning there")]
    UnexpectedNull {
        /// The table.
        table: Table,
        /// The column.
        column: &'static str,
    },
    /// Rows were written to a partition of the wrong kind.
    #[error("table {table} is cut by {wanted:?}, `{partition}` is not such a partition")]
    WrongPartition {
        /// The table.
        table: Table,
        /// The partition given.
        partition: Partition,
        /// How the table is cut.
        wanted: Partitioning,
    },
    /// Rows do not belong into the partition they were written to.
    #[error(
        "rows from {from_us} to {to_us} µs do not belong into partition `{partition}` of {table}"
    )]
    OutsidePartition {
        /// The table.
        table: Table,
        /// The partition.
        partition: Partition,
        /// The smallest time.
        from_us: i64,
        /// The largest time.
        to_us: i64,
    },
    /// No directory can be named for this time.
    #[error("`{partition}` lies outside the years 0 to 9999")]
    TimeOutOfRange {
        /// The partition.
        partition: Partition,
    },
    /// A file could not be written as Parquet.
    #[error("cannot write `{key}`")]
    Encode {
        /// The key of the file.
        key: String,
        /// What failed.
        #[source]
        cause: parquet::errors::ParquetError,
    },

    /// A newer commit removed the file; a new snapshot has what took its place.
    #[error("`{key}` was replaced by a newer commit while it was being read")]
    Stale {
        /// The key of the file.
        key: String,
    },
    /// A file the log names is not there.
    #[error("data file `{key}` is missing")]
    Missing {
        /// The key of the file.
        key: String,
    },
    /// A data file cannot be read.
    #[error("data file `{key}` is damaged: {reason}")]
    Damaged {
        /// The key of the file.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

/// Why a batch was refused.
#[derive(Debug, thiserror::Error)]
pub enum Conflict {
    /// The records were read by another writer.
    #[error(transparent)]
    Checkpoint(#[from] StaleDelta),
    /// A partition changed that the batch replaces or relies on.
    #[error(
        "partition `{partition}` of {table} was changed by commit {by}, after the batch began at {base}"
    )]
    Partition {
        /// The table.
        table: Table,
        /// The partition.
        partition: Partition,
        /// The commit that changed it.
        by: u64,
        /// The commit the batch started from.
        base: u64,
    },
    /// The batch took so long that another writer took this one for dead and removed its files.
    #[error("it was given up by another writer, which took this one for dead")]
    Abandoned,
    /// A file that the batch removes was removed already.
    #[error("`{key}` was removed already")]
    Removed {
        /// The key of the file.
        key: String,
    },
}

impl LakeError {
    /// Whether the storage failed, which somebody may mend while a program waits: there is no room, no right, no answer. Nothing is
    /// wrong with what lies there.
    #[must_use]
    pub fn is_of_storage(&self) -> bool {
        match self {
            Self::Store(error) => !matches!(
                error.kind(),
                ErrorKind::Unsupported | ErrorKind::FileTooLarge | ErrorKind::InvalidInput
            ),
            Self::Interrupted { .. } | Self::Encode { .. } => true,
            _ => false,
        }
    }

    /// What the reader of the message can do.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::NoLake { .. } => "check `--lake`, or let `flowaudit ingest` create it",
            Self::Foreign { .. } => {
                "name an empty or new directory, so that nothing of yours is mixed with the lake"
            }
            Self::RootIsFile { .. } => "name a directory",
            Self::Format {
                cause: FormatError::Newer { .. },
                ..
            } => "a newer flowaudit wrote this lake; use that version or a later one",
            Self::Format { .. } | Self::HoleInLog { .. } | Self::Inconsistent { .. } => {
                "restore the file from a copy of the lake; nothing else was changed"
            }
            Self::Store(error) => return error.help(),
            Self::Interrupted { cause, .. } => {
                let first = "nothing was lost: run the command again, which first settles what was interrupted";
                let second = cause
                    .help()
                    .map_or(String::new(), |help| format!("; {help}"));
                return Some(format!("{first}{second}"));
            }
            Self::Refused {
                cause: Conflict::Checkpoint(StaleDelta::Backwards { .. }),
                ..
            } => "nothing was changed; the source reports positions that go backwards",
            Self::Refused { .. } => {
                "nothing was changed and nothing was lost; run the command again, or find the second writer"
            }
            Self::Stale { .. } => "run the command again",
            Self::Missing { .. } | Self::Damaged { .. } => {
                "restore the file from a copy, or ingest its hours again; `flowaudit lake verify` lists all that is damaged"
            }
            Self::TimeOutOfRange { .. } => {
                "check the times in the source: their unit may not be seconds"
            }
            Self::UnknownTable { .. } => {
                let names: Vec<_> = Table::ALL.iter().map(|table| table.name()).collect();
                return Some(format!("the tables are {}", names.join(", ")));
            }
            Self::UnknownColumn { table, .. } => {
                let names: Vec<_> = table.columns().iter().map(|column| column.name).collect();
                return Some(format!("its columns are {}", names.join(", ")));
            }
            Self::Incomplete { .. } => "nothing was changed; run the command again",
            Self::Encode { .. } => {
                "see that there is space left, then run the command again; nothing was lost"
            }
            Self::ColumnMismatch { .. }
            | Self::UnexpectedNull { .. }
            | Self::WrongPartition { .. }
            | Self::OutsidePartition { .. } => return None,
        };
        Some(text.to_string())
    }
}
