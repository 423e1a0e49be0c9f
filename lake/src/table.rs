//! The tables: for each its columns, its row, and how rows become Arrow and back.
//!
//! One file per table; each names a column once. `docs/tables.md` is written from here.

#[macro_use]
mod declare;

pub mod flows;
pub mod gaps;
pub mod rejects;

pub mod endpoints;
pub mod objects;

pub mod coverage;
pub mod edges;
pub mod findings;

mod page;

use std::fmt;
use std::str::FromStr;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::LakeError;
use crate::column::{Column, Kind};

pub use self::page::page;

/// A table of the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// One flow-log record, normalised.
    Flows,
    /// One stretch that was not seen.
    Gaps,
    /// One input that could not become a flow.
    Rejects,
    /// One holder of one address during one time.
    Endpoints,
    /// One version of one declared object.
    Objects,
    /// All one client did to one server on one port in one hour.
    Edges,
    /// One finding.
    Findings,
    /// What was and was not seen.
    Coverage,
}

/// How a table is cut into directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioning {
    /// All files lie together.
    None,
    /// One directory per day, `date=2026-11-24`.
    Date,
    /// One directory per hour, `date=2026-11-24/hour=08`.
    Hour,
}

impl Table {
    /// Every table, in the order data walks.
    pub const ALL: [Self; 8] = [
        Self::Flows,
        Self::Gaps,
        Self::Rejects,
        Self::Endpoints,
        Self::Objects,
        Self::Edges,
        Self::Findings,
        Self::Coverage,
    ];

    /// The name, which is also the folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flows => "flows",
            Self::Gaps => "gaps",
            Self::Rejects => "rejects",
            Self::Endpoints => "endpoints",
            Self::Objects => "objects",
            Self::Edges => "edges",
            Self::Findings => "findings",
            Self::Coverage => "coverage",
        }
    }

    /// How the table is cut into directories.
    pub fn partitioning(self) -> Partitioning {
        match self {
            Self::Flows | Self::Edges | Self::Coverage => Partitioning::Hour,
            Self::Gaps | Self::Rejects | Self::Findings => Partitioning::Date,
            Self::Endpoints | Self::Objects => Partitioning::None,
        }
    }

    /// The column whose smallest and largest value each file's entry carries. In tables cut by hour it also
    /// decides the partition.
    pub fn time_column(self) -> &'static str {
        match self {
            Self::Flows => "start_time",
            Self::Gaps => "from",
            Self::Rejects => "ingest_time",
            Self::Endpoints | Self::Objects => "valid_from",
            Self::Edges | Self::Coverage => "hour_start",
            Self::Findings => "last_seen",
        }
    }

    /// What one row is, in one sentence.
    pub fn doc(self) -> &'static str {
        match self {
            Self::Flows => flows::DOC,
            Self::Gaps => gaps::DOC,
            Self::Rejects => rejects::DOC,
            Self::Endpoints => endpoints::DOC,
            Self::Objects => objects::DOC,
            Self::Edges => edges::DOC,
            Self::Findings => findings::DOC,
            Self::Coverage => coverage::DOC,
        }
    }

    /// The columns, in order.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Flows => flows::COLUMNS,
            Self::Gaps => gaps::COLUMNS,
            Self::Rejects => rejects::COLUMNS,
            Self::Endpoints => endpoints::COLUMNS,
            Self::Objects => objects::COLUMNS,
            Self::Edges => edges::COLUMNS,
            Self::Findings => findings::COLUMNS,
            Self::Coverage => coverage::COLUMNS,
        }
    }

    /// The Arrow schema.
    pub fn schema(self) -> SchemaRef {
        match self {
            Self::Flows => flows::schema(),
            Self::Gaps => gaps::schema(),
            Self::Rejects => rejects::schema(),
            Self::Endpoints => endpoints::schema(),
            Self::Objects => objects::schema(),
            Self::Edges => edges::schema(),
            Self::Findings => findings::schema(),
            Self::Coverage => coverage::schema(),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Table {
    type Err = LakeError;

    fn from_str(name: &str) -> Result<Self, LakeError> {
        let table = Self::ALL.into_iter().find(|table| table.name() == name);
        table.ok_or_else(|| LakeError::UnknownTable {
            name: name.to_string(),
        })
    }
}

/// An owned row of a table.
pub trait Row: Sized {
    /// The table the row belongs to.
    const TABLE: Table;

    /// The rows as one batch with the schema of the table. All text of one batch must stay below 2 GiB;
    /// [`Batch::write_rows`](crate::Batch::write_rows) cuts longer lists.
    fn to_batch(rows: &[Self]) -> RecordBatch;

    /// The rows of a batch. Columns that may be null may be absent; columns the table does not know are left out.
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, LakeError>;

    /// Bytes of text in this row, to keep batches bounded.
    fn text_bytes(&self) -> usize;
}

/// A batch of columns that were built together.
fn batch_of(schema: SchemaRef, columns: Vec<arrow_array::ArrayRef>, rows: usize) -> RecordBatch {
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
    #[expect(
        clippy::expect_used,
        reason = "every column is built from the declaration its field comes from, one value per row"
    )]
    RecordBatch::try_new_with_options(schema, columns, &options).expect("columns follow the schema")
}

/// A reader of one column of a batch.
fn reader<'a, K: Kind>(
    table: Table,
    batch: &'a RecordBatch,
    column: &'static str,
) -> Result<K::Reader<'a>, LakeError> {
    let reader = match batch.column_by_name(column) {
        Some(array) => K::reader(array.as_ref()),
        None => K::absent(),
    };
    reader.ok_or(LakeError::ColumnMismatch {
        table,
        column: column.to_string(),
        expected: K::TYPE,
    })
}
