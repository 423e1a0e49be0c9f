//! What a column is: name, type, unit, what null means, one sentence; and how values enter and leave it.
//!
//! The kinds below are the only column types of the lake. Each is a type without values that says how a Rust
//! value becomes an Arrow array and back, so that a table's file names a column once and everything else
//! (schema, row struct, builders, `docs/tables.md`) follows.

mod key;
mod kind;

use arrow_schema::{DataType, Field, TimeUnit};

pub use self::key::KeyBuilder;
pub use self::kind::{Count, Flag, Int, Json, Key, Kind, Nullable, Text, Time, Values};

/// One column, said once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The name in Parquet and SQL.
    pub name: &'static str,
    /// The type.
    pub ty: ColumnType,
    /// The unit of a number, empty where the type already says it.
    pub unit: &'static str,
    /// What null means; `None` when the column is never null.
    pub null: Option<&'static str>,
    /// What the column holds, in one sentence.
    pub doc: &'static str,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Text with few distinct values; dictionary-encoded, and read back as keys (Arrow `Dictionary(Int32, Utf8)`).
    Key,
    /// Text (Arrow `Utf8`).
    Text,
    /// Text that holds a JSON value (Arrow `Utf8`).
    Json,
    /// An instant in UTC with microseconds (Arrow `Timestamp(Microsecond, "UTC")`; `i64` since the epoch in Rust).
    Time,
    /// A small number (Arrow `Int32`; unsigned types turn odd in Spark).
    Int,
    /// A counter (Arrow `Int64`; unsigned 64-bit turns into decimals in Spark).
    Count,
    /// True or false (Arrow `Boolean`).
    Flag,
}

impl Column {
    /// The Arrow field of this column.
    pub fn field(&self) -> Field {
        Field::new(self.name, self.ty.arrow(), self.null.is_some())
    }
}

impl ColumnType {
    /// The Arrow type of this column type.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Key => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            Self::Text | Self::Json => DataType::Utf8,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Int => DataType::Int32,
            Self::Count => DataType::Int64,
            Self::Flag => DataType::Boolean,
        }
    }

    /// The type as SQL users know it.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Key | Self::Text => "text",
            Self::Json => "text (JSON)",
            Self::Time => "timestamp (UTC)",
            Self::Int => "int32",
            Self::Count => "int64",
            Self::Flag => "boolean",
        }
    }
}
