//! The tables both sides share: schemas, layout, atomic commits, readers.
//!
//! A lake is a directory of plain Hive-partitioned Parquet, one folder per table, that DuckDB, Polars,
//! Spark or ClickHouse open without us. What is visible is decided by small commit records in
//! `_flowaudit/commits/`: each names the files it adds and removes and how far every source has been read, so
//! data and checkpoint are one atomic step.
//!
//! **Invariant:** a batch is visible whole or not at all, at whatever instant the process dies.
//! **Invariant:** two writers never both win; the one that loses changes nothing.
//! **Invariant:** only `cloud` opens connections, waits and asks the time.
//! **Not here:** what a flow means; policy, Kubernetes, the log service.
//!
//! ```
//! use flowaudit_lake::checkpoint::Position;
//! use flowaudit_lake::layout::Partition;
//! use flowaudit_lake::table::rejects::RejectRow;
//! use flowaudit_lake::table::Table;
//! use flowaudit_lake::{Lake, read};
//!
//! # fn main() -> Result<(), flowaudit_lake::LakeError> {
//! # let directory = tempfile::tempdir().expect("a temporary directory");
//! let lake = Lake::create_or_open(directory.path().join("lake"))?;
//! let reject = RejectRow {
//!     ingest_time_us: 1_795_507_200_000_000,
//!     raw: "not a flow".to_string(),
//!     reason: "too few fields".to_string(),
//!     source: "files".to_string(),
//!     source_position: 10,
//! };
//! let mut batch = lake.batch("ingest")?;
//! let day = Partition::date_of_us(reject.ingest_time_us);
//! batch.write(Table::Rejects, day, &RejectRow::to_batch(&[reject.clone()]))?;
//! batch.advance("files", "a.log", Position::at(0), Position::at(10));
//! batch.publish()?;
//!
//! let snapshot = lake.snapshot()?;
//! assert_eq!(read::rows::<RejectRow>(&lake, &snapshot)?, [reject]);
//! assert_eq!(snapshot.checkpoints().get("files", "a.log"), Some(&Position::at(10)));
//! # Ok(())
//! # }
//! ```

pub mod column;
pub mod table;

pub mod checkpoint;
pub mod checksum;
pub mod commit;
pub mod layout;
pub mod state;

pub mod store;

mod error;
pub mod guard;
mod lake;
mod log;
mod publish;
pub mod read;
mod recover;
mod verify;
mod write;

#[cfg(feature = "cloud")]
pub mod cloud;

pub use error::{Conflict, LakeError};
pub use lake::{Lake, Stats, TableStats};
pub use layout::{Date, Hour, Partition};
pub use publish::{Batch, Commit};
pub use state::{FileEntry, Snapshot};
pub use table::Table;
pub use verify::Problem;
