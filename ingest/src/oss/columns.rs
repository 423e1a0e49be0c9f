//! An object of Parquet: its columns row by row, read by ranges, so that memory holds one page of each column.

use std::borrow::Cow;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use bytes::Bytes;
use flowaudit_lake::guard::guarded;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};

use super::fetch::{Failure, Object};
use super::lines::Stopped;
use crate::decode::{Field, RawRecord, Unreadable};

/// Fewer known columns do not make a flow log.
const KNOWN_MIN: usize = 3;
/// Rows decoded at once.
const BATCH_ROWS: usize = 4096;
/// So much is fetched at once, and so many stretches are kept: one for each column and the footer.
const WINDOW_BYTES: u64 = 1 << 20;
const WINDOWS: usize = 24;
/// A page or a footer above this is taken for damage.
const READ_BYTES_MAX: usize = 64 << 20;
/// A column of a row group that unpacks to more is taken for damage.
const COLUMN_BYTES_MAX: i64 = 4 << 30;

/// What to do about an object that is damaged.
const HELP: &str = "let the shipping job write it again, or name its key under `skip` in the settings of the source: what it held becomes a gap";

/// The rows of one object.
pub(super) struct Columns {
    windows: Windows,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    /// Of the columns asked for, in order.
    fields: Vec<Field>,
    row_group: usize,
    reader: Option<ParquetRecordBatchReader>,
    /// Rows still to be passed over.
    skip: u64,
}

impl Columns {
    /// Reads the footer.
    pub(super) fn open(object: &Object, at: u64, failure: &Failure) -> Result<Columns, Stopped> {
        let windows = Windows {
            object: object.clone(),
            kept: Arc::default(),
            failure: failure.clone(),
            bytes: Arc::default(),
        };
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = guarded(|| ArrowReaderMetadata::load(&windows, options));
        let metadata = windows.settled(metadata)?;
        let large = metadata.metadata().row_groups().iter().any(|group| {
            let mut columns = group.columns().iter();
            columns.any(|column| column.uncompressed_size() > COLUMN_BYTES_MAX)
        });
        if large {
            return Err(damaged(
                "its row groups are larger than any writer makes them",
            ));
        }
        let mut fields = Vec::new();
        let mut roots = Vec::new();
        for (root, column) in metadata.schema().fields().iter().enumerate() {
            let Some(field) = Field::from_name(column.name().as_bytes()) else {
                continue;
            };
            if !is_readable(column.data_type()) {
                let message = format!(
                    "has values of type {} in its column `{}`",
                    column.data_type(),
                    column.name()
                );
                let help = "let the shipping job write the column as string or int64";
                return Err(Stopped::Object(message, help.to_owned()));
            }
            fields.push(field);
            roots.push(root);
        }
        if fields.len() < KNOWN_MIN {
            let names: Vec<&str> = metadata
                .schema()
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .take(12)
                .collect();
            let message = format!(
                "is not a flow log: its columns are `{}`",
                names.join("`, `")
            );
            let help = "let the shipping job write all fields of the flow log as columns";
            return Err(Stopped::Object(message, help.to_owned()));
        }
        Ok(Columns {
            mask: ProjectionMask::roots(metadata.parquet_schema(), roots),
            windows,
            metadata,
            fields,
            row_group: 0,
            reader: None,
            skip: at,
        })
    }

    /// The next rows; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, Stopped> {
        loop {
            if let Some(reader) = &mut self.reader {
                let next = guarded(|| reader.next().transpose());
                let next = next.map(|read| read.map_err(ParquetError::from));
                if let Some(batch) = self.windows.settled(next)? {
                    return Ok(Some(batch));
                }
                self.reader = None;
                self.row_group += 1;
            }
            let groups = self.metadata.metadata().row_groups();
            let Some(group) = groups.get(self.row_group) else {
                return Ok(None);
            };
            let rows = u64::try_from(group.num_rows())
                .map_err(|_| damaged("a row group has a negative number of rows"))?;
            if self.skip >= rows {
                self.skip -= rows;
                self.row_group += 1;
                continue;
            }
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
                self.windows.clone(),
                self.metadata.clone(),
            );
            let builder = builder
                .with_projection(self.mask.clone())
                .with_row_groups(vec![self.row_group])
                .with_offset(usize::try_from(self.skip).unwrap_or(usize::MAX))
                .with_batch_size(BATCH_ROWS);
            self.skip = 0;
            let reader = guarded(|| builder.build());
            self.reader = Some(self.windows.settled(reader)?);
        }
    }

    /// One row of a batch.
    pub(super) fn record<'b>(
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
    pub(super) fn shown(&self, batch: &RecordBatch, row: usize) -> String {
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
    pub(super) fn take_bytes(&self) -> u64 {
        self.windows.bytes.swap(0, Ordering::Relaxed)
    }
}

fn damaged(reason: &str) -> Stopped {
    Stopped::Object(format!("is damaged: {reason}"), HELP.to_owned())
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

type Kept = Arc<Mutex<Vec<(u64, Bytes)>>>;

/// An object by ranges; stretches read lately are kept.
#[derive(Clone)]
struct Windows {
    object: Object,
    /// Last used last.
    kept: Kept,
    failure: Failure,
    /// Bytes fetched.
    bytes: Arc<AtomicU64>,
}

impl Windows {
    /// The bytes from `start` on, at least `length` of them where the object has so many.
    fn window(&self, start: u64, length: u64) -> ParquetResult<Bytes> {
        let end = start.saturating_add(length).min(self.object.size);
        if start >= end {
            return Ok(Bytes::new());
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |from: u64, bytes: &Bytes| from <= start && end <= from + bytes.len() as u64;
        if let Some(at) = kept.iter().position(|(from, bytes)| holds(*from, bytes)) {
            let (from, bytes) = kept.remove(at);
            kept.push((from, bytes.clone()));
            let begin = usize::try_from(start - from).unwrap_or(usize::MAX);
            return Ok(bytes.slice(begin.min(bytes.len())..));
        }
        let until = start
            .saturating_add(length.max(WINDOW_BYTES))
            .min(self.object.size);
        let bytes = self.object.range(start..until).map_err(|error| {
            let text = error.to_string();
            self.failure.set(error);
            ParquetError::General(text)
        })?;
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if kept.len() >= WINDOWS {
            kept.remove(0);
        }
        kept.push((start, bytes.clone()));
        Ok(bytes)
    }

    /// What a decoder gave, or why it gave nothing.
    fn settled<T>(&self, result: Result<ParquetResult<T>, String>) -> Result<T, Stopped> {
        let reason = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic,
        };
        Err(match self.failure.get() {
            Some(_) => Stopped::Fetching,
            None => damaged(&reason.replace('\n', " ")),
        })
    }
}

impl Length for Windows {
    fn len(&self) -> u64 {
        self.object.size
    }
}

impl ChunkReader for Windows {
    type T = WindowRead;

    fn get_read(&self, start: u64) -> ParquetResult<WindowRead> {
        Ok(WindowRead {
            windows: self.clone(),
            at: start,
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        if length > READ_BYTES_MAX {
            return Err(ParquetError::General(format!("{length} bytes are no page")));
        }
        let bytes = self.window(start, length as u64)?;
        match bytes.len() >= length {
            true => Ok(bytes.slice(..length)),
            false => Err(ParquetError::EOF(
                "it ends before its footer says".to_owned(),
            )),
        }
    }
}

/// Reads on from a place.
struct WindowRead {
    windows: Windows,
    at: u64,
}

impl Read for WindowRead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // Page headers are asked for byte by byte.
        let bytes = self.windows.window(self.at, 1).map_err(io::Error::other)?;
        let length = bytes.len().min(into.len());
        if let (Some(into), Some(bytes)) = (into.get_mut(..length), bytes.get(..length)) {
            into.copy_from_slice(bytes);
        }
        self.at += length as u64;
        Ok(length)
    }
}
