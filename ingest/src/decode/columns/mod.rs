//! Parquet: the columns of an object row by row, read by ranges, so that memory holds one page of each column.
//!
//! [`thrift`] and [`header`] read what a page announces, [`pages`] unpacks it within a budget and looks it through, and
//! only then the parquet crate decodes it: that crate allocates what a header asks for.

mod header;
mod pages;
mod thrift;
mod windows;

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use flowaudit_lake::guard::guarded;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, RowSelection, RowSelector,
};
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};
use parquet::errors::{ParquetError, Result as ParquetResult};

pub use self::windows::Ranges;

use self::pages::{Budget, Group};
use self::windows::Windows;
use super::{Field, RawRecord, Unreadable};

/// Fewer known columns do not make a flow log.
const KNOWN_MIN: usize = 3;
/// Rows decoded at once.
const BATCH_ROWS: usize = 1024;
/// More rows than this for each byte are no traffic that anybody saw.
const ROWS_PER_BYTE_MAX: u64 = 256;
/// What pages may hold at least, in bytes: a page and a dictionary of each column, as writers make them by default.
const PAGES_BYTES_MIN: u64 = 64 << 20;

/// Why columns are not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    /// Bytes did not come.
    #[error("its bytes do not come")]
    Fetching,
    /// What is there cannot be understood.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// It holds something else.
    #[error("is not a flow log: its columns are `{0}`")]
    NotAFlowLog(String),
    /// A column of a type that no field of a flow log has.
    #[error("has values of type {kind} in its column `{column}`")]
    OtherType {
        /// The column.
        column: String,
        /// Its type.
        kind: String,
    },
    /// Its pages are larger than may be held.
    #[error("has pages of more than {} MiB together, all that reading may hold for them", .0 >> 20)]
    TooLarge(u64),
}

impl NotRead {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            NotRead::Fetching => "run again; nothing was lost",
            NotRead::Damaged(_) => {
                "let the shipping job write it again, or name its key under `skip` in the settings of the source: what it held becomes a gap"
            }
            NotRead::NotAFlowLog(_) => {
                "let the shipping job write all fields of the flow log as columns"
            }
            NotRead::OtherType { .. } => "let the shipping job write the column as string or int64",
            NotRead::TooLarge(_) => {
                "give the source more `memory`, or name its key under `skip` in the settings of the source: what it held becomes a gap"
            }
        }
    }
}

/// The rows of one object.
pub struct Columns {
    windows: Windows,
    metadata: ArrowReaderMetadata,
    levels: FieldLevels,
    /// Of the columns asked for, in order.
    fields: Vec<Field>,
    budget: Arc<Budget>,
    budget_bytes: u64,
    row_group: usize,
    reader: Option<ParquetRecordBatchReader>,
    /// Rows still to be passed over.
    skip: u64,
}

impl Columns {
    /// Reads the footer; rows begin with number `at`. Pages may hold `memory_bytes`, or a minimum that most files need.
    pub fn open(ranges: Arc<dyn Ranges>, at: u64, memory_bytes: u64) -> Result<Columns, NotRead> {
        let windows = Windows::new(ranges);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = guarded(|| ArrowReaderMetadata::load(&windows, options));
        let metadata = settled(&windows, None, metadata)?;
        let rows: Option<u64> = (metadata.metadata().row_groups().iter())
            .map(|group| u64::try_from(group.num_rows()).ok())
            .try_fold(0_u64, |sum, rows| sum.checked_add(rows?));
        let most = windows.size().saturating_mul(ROWS_PER_BYTE_MAX);
        if rows.is_none_or(|rows| rows > most) {
            return Err(NotRead::Damaged(
                "its footer tells of more rows than it can have".to_owned(),
            ));
        }
        let mut fields = Vec::new();
        let mut roots = Vec::new();
        for (root, column) in metadata.schema().fields().iter().enumerate() {
            let Some(field) = Field::from_name(column.name().as_bytes()) else {
                continue;
            };
            if !is_readable(column.data_type()) {
                return Err(NotRead::OtherType {
                    column: column.name().clone(),
                    kind: column.data_type().to_string(),
                });
            }
            fields.push(field);
            roots.push(root);
        }
        if fields.len() < KNOWN_MIN {
            let columns = metadata.schema().fields().iter();
            let names: Vec<&str> = columns
                .map(|field| field.name().as_str())
                .take(12)
                .collect();
            return Err(NotRead::NotAFlowLog(names.join("`, `")));
        }
        let schema = metadata.parquet_schema();
        let mask = ProjectionMask::roots(schema, roots);
        let levels = guarded(|| parquet_to_arrow_field_levels(schema, mask, None));
        let levels = settled(&windows, None, levels)?;
        let budget_bytes = memory_bytes.max(PAGES_BYTES_MIN);
        Ok(Columns {
            windows,
            levels,
            metadata,
            fields,
            budget: Arc::new(Budget::new(budget_bytes)),
            budget_bytes,
            row_group: 0,
            reader: None,
            skip: at,
        })
    }

    /// The next rows; `None` at the end.
    pub fn next_rows(&mut self) -> Result<Option<RecordBatch>, NotRead> {
        loop {
            if let Some(reader) = &mut self.reader {
                let next = guarded(|| reader.next().transpose());
                let next = next.map(|read| read.map_err(ParquetError::from));
                if let Some(batch) = self.settled(next)? {
                    return Ok(Some(batch));
                }
                self.reader = None;
                self.row_group += 1;
            }
            let groups = self.metadata.metadata().row_groups();
            let Some(group) = groups.get(self.row_group) else {
                return Ok(None);
            };
            let rows = u64::try_from(group.num_rows()).unwrap_or_default();
            if self.skip >= rows {
                self.skip -= rows;
                self.row_group += 1;
                continue;
            }
            let passed_over = std::mem::take(&mut self.skip);
            let number = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
            let selection = (passed_over > 0).then(|| {
                RowSelection::from(vec![
                    RowSelector::skip(number(passed_over)),
                    RowSelector::select(number(rows - passed_over)),
                ])
            });
            let group = Group {
                windows: self.windows.clone(),
                metadata: Arc::clone(self.metadata.metadata()),
                number: self.row_group,
                budget: Arc::clone(&self.budget),
            };
            let reader = guarded(|| {
                ParquetRecordBatchReader::try_new_with_row_groups(
                    &self.levels,
                    &group,
                    BATCH_ROWS,
                    selection,
                )
            });
            self.reader = Some(self.settled(reader)?);
        }
    }

    fn settled<T>(&self, result: Result<ParquetResult<T>, String>) -> Result<T, NotRead> {
        let exceeded = self.budget.is_exceeded().then_some(self.budget_bytes);
        settled(&self.windows, exceeded, result)
    }

    /// One row of a batch.
    pub fn record<'b>(
        &self,
        batch: &'b RecordBatch,
        row: usize,
    ) -> Result<RawRecord<'b>, Unreadable> {
        let mut record = RawRecord::default();
        for (field, column) in self.fields.iter().zip(batch.columns()) {
            if column.is_valid(row) {
                record.set(*field, cell(column.as_ref(), row)?)?;
            }
        }
        match record.is_empty() {
            true => Err(Unreadable::NoField),
            false => Ok(record),
        }
    }

    /// One row as a person would write it.
    #[must_use]
    pub fn shown(&self, batch: &RecordBatch, row: usize) -> String {
        let mut shown = serde_json::Map::new();
        for (field, column) in self.fields.iter().zip(batch.columns()) {
            let text = match column.is_valid(row) {
                true => cell(column.as_ref(), row)
                    .map_or_else(|error| error.to_string(), Cow::into_owned),
                false => continue,
            };
            shown.insert(field.name().to_owned(), text.into());
        }
        serde_json::Value::Object(shown).to_string()
    }

    /// Bytes fetched since this was last asked.
    #[must_use]
    pub fn take_bytes(&self) -> u64 {
        self.windows.take_bytes()
    }
}

/// What a decoder gave, or why it gave nothing.
fn settled<T>(
    windows: &Windows,
    exceeded: Option<u64>,
    result: Result<ParquetResult<T>, String>,
) -> Result<T, NotRead> {
    let reason = match result {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(ParquetError::General(reason))) => reason,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic,
    };
    Err(match exceeded {
        _ if windows.has_failed() => NotRead::Fetching,
        Some(bytes) => NotRead::TooLarge(bytes),
        None => NotRead::Damaged(reason.replace('\n', " ")),
    })
}

fn is_readable(kind: &DataType) -> bool {
    use DataType::{
        Binary, Boolean, Float32, Float64, Int8, Int16, Int32, Int64, LargeBinary, LargeUtf8,
        UInt8, UInt16, UInt32, UInt64, Utf8,
    };
    matches!(
        kind,
        Utf8 | LargeUtf8
            | Binary
            | LargeBinary
            | Boolean
            | Float32
            | Float64
            | Int8
            | Int16
            | Int32
            | Int64
            | UInt8
            | UInt16
            | UInt32
            | UInt64
    )
}

/// A value as text, as the other formats have it.
fn cell(column: &dyn Array, row: usize) -> Result<Cow<'_, str>, Unreadable> {
    let text = |bytes| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(error) => Err(Unreadable::NotUtf8 {
            at: error.valid_up_to(),
        }),
    };
    let number = |number: String| Ok(Cow::Owned(number));
    match column.data_type() {
        DataType::Utf8 => Ok(Cow::Borrowed(column.as_string::<i32>().value(row))),
        DataType::LargeUtf8 => Ok(Cow::Borrowed(column.as_string::<i64>().value(row))),
        DataType::Binary => text(column.as_binary::<i32>().value(row)),
        DataType::LargeBinary => text(column.as_binary::<i64>().value(row)),
        DataType::Boolean => number(column.as_boolean().value(row).to_string()),
        DataType::Int8 => number(column.as_primitive::<Int8Type>().value(row).to_string()),
        DataType::Int16 => number(column.as_primitive::<Int16Type>().value(row).to_string()),
        DataType::Int32 => number(column.as_primitive::<Int32Type>().value(row).to_string()),
        DataType::Int64 => number(column.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::UInt8 => number(column.as_primitive::<UInt8Type>().value(row).to_string()),
        DataType::UInt16 => number(column.as_primitive::<UInt16Type>().value(row).to_string()),
        DataType::UInt32 => number(column.as_primitive::<UInt32Type>().value(row).to_string()),
        DataType::UInt64 => number(column.as_primitive::<UInt64Type>().value(row).to_string()),
        // Whole numbers print without a point.
        DataType::Float32 => number(column.as_primitive::<Float32Type>().value(row).to_string()),
        _ => number(column.as_primitive::<Float64Type>().value(row).to_string()),
    }
}
